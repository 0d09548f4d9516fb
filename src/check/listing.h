/* SPDX-License-Identifier: ISC */
#ifndef CHECK_LISTING_H
#define CHECK_LISTING_H

#include <stdbool.h>

#include "check/held.h"
#include "check/installed.h"
#include "check/view.h"
#include "delivery/setup.h"

/*
 * Show all that a delivery depends on and that does not depend on its
 * destination, with a warning for what does not do what it seems to.
 */
struct listing {
	const struct setup_files *files;
	struct view *view;
	const struct installed *installed;
	const struct held *held;
};

/* Returns whether there was no warning. */
bool listing_run(const struct listing *);

#endif
