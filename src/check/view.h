/* SPDX-License-Identifier: ISC */
#ifndef CHECK_VIEW_H
#define CHECK_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "check/held.h"
#include "check/out.h"
#include "delivery/search.h"
#include "delivery/setup.h"
#include "qmail/concurrencyhosts.h"

/*
 * Show what is found: as text for a person, as JSON for a program, or as one
 * line for each destination.
 */

/* What would become of a message. */
enum check_verdict { CHECK_DELIVERED, CHECK_DEFERRED, CHECK_BOUNCED };

struct check_result {
	enum check_verdict verdict;
	const struct attempt *ready; /* through this server; or NULL */
	const char *reason; /* as in a report, or "" if it is delivered */
	const char *detail; /* or "" */
};

/* A phase of an attempt that has ended. */
struct check_step {
	const char *name;  /* "greeting", "EHLO", "handshake", "AUTH" ... */
	int64_t ms;        /* how long it took */
	const char *reply; /* n bytes, lines as the server sent them */
	size_t n;
	const struct tls_facts *facts; /* after a handshake; or NULL */
};

/* A control file, or something else that a delivery depends on. */
struct check_entry {
	const char *name;
	const char *value;
	const char *source;   /* "default" or the like; "": it is in the file */
	const char *warnings; /* lines, without an end of the last one */
};

/*
 * The functions, in the order in which they are called for each destination.
 * Those from setup to unconnected are called as far as the delivery gets; from
 * attempt_begins on they may be repeated.  What is passed is borrowed.  A
 * function may be NULL, and then nothing is shown.
 */
struct view {
	void (*begin)(struct view *, const char *host);
	void (*setup)(struct view *, const struct setup *);
	void (*idle)(struct view *, size_t connections);
	void (*hosts)(struct view *, const struct setup *, int64_t now);
	void (*attempt_begins)(struct view *, const struct attempt *);
	void (*step)(struct view *, const struct attempt *,
	    const struct check_step *);
	void (*attempt_ends)(struct view *, const struct attempt *,
	    enum attempt_result, const struct server *);
	void (*unconnected)(struct view *, const struct connector *, size_t i);
	void (*result)(struct view *, const struct check_result *);
	void (*end)(struct view *);

	/* Instead of these, for the control files. */
	void (*entries_begin)(struct view *);
	void (*entry)(struct view *, const struct check_entry *);
	void (*entries_end)(struct view *, const struct held *);

	struct out out;
	const char *host;         /* the destination */
	const struct buf *domain; /* with A-labels, if that differs; or NULL */
	const struct concurrencyhosts *limits; /* for a destination */
	bool is_within_attempts;               /* JSON: their array is open */
};

extern const struct view view_text, view_json, view_line;

/* Why an address of a plan is not used; "" if it is. */
const char *view_left_out(enum plan_use);

/* The level of a policy in words, and where it comes from. */
const char *view_level(enum tls_level);
const char *view_source(enum tls_source);

/*
 * What is said about DANE and MTA-STS for the destination as a whole: appends a
 * sentence, or nothing if the control files do not ask for it.
 */
void view_dane(const struct setup *, struct buf *);
void view_sts(const struct setup *, int64_t now, struct buf *);

/* Appends record i of a set: "3 1 1 0123..." */
void view_tlsa(const struct tlsa_set *, size_t i, struct buf *);

/* Whether all users of this machine can read or change a file. */
bool view_is_exposed(const char *path);

/* Appends a line for each such file with the credentials of the route. */
void view_exposed(const struct setup *, struct buf *);

/* What is remembered of an address. */
const char *view_noted(enum memory_kind);

/* "clear text", "TLS, certificate verified", "TLS, certificate not verified" */
const char *view_protection(const struct attempt *);

/* The last line of a report on the TLS of an attempt; "" if it has none. */
void view_tls(const struct attempt *, char sentence[TLS_SENTENCE_SIZE]);

/* Prints the server's name, if it has one, and its address. */
void view_put_server(const struct attempt *);

#endif
