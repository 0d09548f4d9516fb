/* SPDX-License-Identifier: ISC */
#ifndef CHECK_LIMITS_H
#define CHECK_LIMITS_H

#include <stdbool.h>

#include "base/buf.h"

/*
 * Show what control/timeoutidle and control/concurrencyhosts say, and warn of
 * what does not do what it seems to.
 *
 * Each function appends what the file means, calls the function for each
 * warning, and returns whether the file is there.
 */
typedef void limits_warn(void *data, const char *text);

bool limits_check_idle(struct buf *what, limits_warn *, void *data);

/*
 * Deliveries that wait for a place are deliveries for qmail-send too, as many
 * as there are places.  So there is a warning if control/concurrencyremote
 * allows no more than these limits can hold.
 */
bool limits_check_hosts(struct buf *what, limits_warn *, void *data);

#endif
