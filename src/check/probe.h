/* SPDX-License-Identifier: ISC */
#ifndef CHECK_PROBE_H
#define CHECK_PROBE_H

#include <stdbool.h>

#include "check/view.h"
#include "delivery/setup.h"

/*
 * Find out what would become of a message to one destination: do what a
 * delivery does up to MAIL, with the same code, and say QUIT.
 */
struct probe {
	const struct setup_files *files;
	struct view *view;
	const char *host;
	char **envelope; /* sender, recipients, NULL; or just NULL */
	bool tries_all;  /* every address, also behind one that is ready */
	bool is_offline; /* route and policy only, without the network */
	int strictness;  /* in place of control/tlsstrictness; -1: as there */
	const struct held *held; /* what qmail-remote-cache holds */
};

/* Shows each result at once.  The network is used as a delivery uses it. */
enum check_verdict probe_run(const struct probe *);

#endif
