/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_LESSON_H
#define DELIVERY_LESSON_H

#include <stdbool.h>

#include "qmail/memory.h"
#include "smtp/transaction.h"

/*
 * What a session taught of its server, for the next delivery to its address;
 * pure.
 */
struct lesson {
	const struct smtp_result *result; /* of the last transaction */
	bool was_pipelined;               /* commands were sent together */
	bool has_ended; /* the connection was closed, or it broke */
	bool used_helo; /* since EHLO had no usable reply */
};

/* Whether this is to be noted. */
bool lesson_has(const struct lesson *, enum memory_kind);

#endif
