/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_NOSERVER_H
#define DELIVERY_NOSERVER_H

#include "delivery/search.h"

/*
 * Writes the message record of a delivery that found no server: that the gate
 * was closed, and which addresses had failed before; otherwise the failure
 * that history_decisive() names, and where TLS is demanded what is wrong with
 * the others, at most HISTORY_LINES_MAX addresses; or, if no connection came
 * about, the first ten addresses and why.  The report is not ended.
 */
void noserver_record(const struct search *);

#endif
