/* SPDX-License-Identifier: ISC */
#ifndef CHECK_SURROUNDINGS_H
#define CHECK_SURROUNDINGS_H

#include <stdbool.h>

#include "check/held.h"
#include "check/installed.h"
#include "check/view.h"
#include "delivery/setup.h"

/*
 * Show what a delivery depends on besides the control files: the resolver, the
 * state directory, the programs and whether they can start, the limits of
 * qmail-rspawn, and qmail-remote-cache if it runs.
 */
struct surroundings {
	const struct setup_files *files;
	const struct control *control; /* NULL: it cannot be read */
	const struct installed *installed;
	const struct held *held;
};

/* Returns whether there was no warning. */
bool surroundings_show(const struct surroundings *, struct view *);

#endif
