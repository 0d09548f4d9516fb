/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_PRESTART_H
#define DELIVERY_PRESTART_H

#include <stdbool.h>
#include <stddef.h>

#include "tls/helper.h"

/*
 * Pass the start of a TLS session on to the qmail-remote-tls that the broker
 * has started: a tls_helper_pass, whose data is the struct cache_client.
 *
 * False if there is no broker, or if the request is too long for its messages.
 * True says only that the broker was asked.
 */
bool prestart_pass(void *client, const char *request, size_t n,
    const int fd[TLS_FDS]);

#endif
