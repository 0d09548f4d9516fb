/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_SETUP_H
#define DELIVERY_SETUP_H

#include <stdint.h>

#include "delivery/envelope.h"
#include "delivery/plan.h"
#include "delivery/search.h"
#include "delivery/situation.h"
#include "qmail/control.h"
#include "qmail/concurrencyhosts.h"
#include "qmail/helohosts.h"
#include "qmail/outgoing.h"
#include "qmail/relay.h"

/*
 * From a host, the control files and the DNS to a plan.  All paths are relative
 * to QMAIL_HOME, the current directory.
 */
struct setup_files {
	const char *state;  /* directory for state files */
	const char *helper; /* the program qmail-remote-tls */
	const char *sts;    /* the program qmail-remote-sts */
	struct relay_files relays;
	struct table_files families, policies;
	struct table_files sources[2]; /* IPv6, IPv4 */
	struct tcpto tcpto;
	const char *memory; /* of addresses */

	/*
	 * Nothing is written: no index is compiled, and nothing about servers
	 * is recorded.
	 */
	bool are_read_only;
};

/* Starts with files, host, sender and message set, and the rest zero. */
struct setup {
	const struct setup_files *files;
	const char *host;   /* a domain, or an address literal */
	const char *sender; /* of the envelope; NULL: not known */
	int message;        /* descriptor of the message, or -1 */

	/* Known after setup_read_envelope(). */
	struct envelope envelope;

	/* Known after setup_read(). */
	struct control control;
	struct buf domain; /* the host, with A-labels */
	struct route route;
	enum ipfamily family;
	struct outgoing outgoing[2]; /* our address: IPv6, IPv4 */
	struct buf source_fault[2];  /* why it cannot be used; or empty */
	struct helohosts helohosts;
	const struct concurrencyhosts *limits; /* the caller's; for keys */
	struct dns_config dns;
	struct situation_config situation_config;
	struct situation situation;

	/* Known after setup_read_own(). */
	struct ipme ipme;

	/* Known after setup_plan(). */
	int64_t asked; /* when the DNS was; seconds since 1970 */
	struct mx_list list;
	struct plan plan;
	int notes; /* the memory of addresses, to write to; -1: none */
};

/* Whether the route has a relay, which stands for the host then. */
bool setup_is_relayed(const struct setup *);

/* The relay, or else the host with A-labels: what is looked up. */
const char *setup_next_hop(const struct setup *);

/*
 * Reads the control files.  -1 with a reason if one cannot be used: see
 * control_read(), relay_find(), ipfamily_find(), outgoing_find(),
 * helohosts_read() and situation_read(); or with 5.1.3 if the host is not a
 * domain that IDNA2008 allows.  That an address of ours cannot be used is no
 * failure yet: it concerns one address family.
 */
int setup_read(struct setup *, struct dsn *why);

/* Reads sender, recipients, NULL: envelope_read(). */
int setup_read_envelope(struct setup *, char *const *envelope, struct dsn *why);

/*
 * Finds our own addresses, for setup_plan().  The kernel takes some time to
 * list them, and a message on a connection that is there does not need them.
 * -1 with a reason: ipme_read().
 */
int setup_read_own(struct setup *, struct dsn *why);

/*
 * Looks the hosts up in the DNS (lookup_hosts()), finds what their TLS depends
 * on (situation_find()), and makes a plan (plan_make()).  -1 with a reason if
 * there is no address to connect to; the plan may tell more.
 */
int setup_plan(struct setup *, struct dsn *why);

/* What search_server() needs; borrowed from the setup. */
struct search_config setup_search_config(const struct setup *);

#endif
