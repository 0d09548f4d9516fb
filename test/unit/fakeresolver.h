/* SPDX-License-Identifier: ISC */
#ifndef TEST_FAKERESOLVER_H
#define TEST_FAKERESOLVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dns/resolver.h"
#include "fakeclock.h"

/*
 * In place of dns/resolver: a resolver that answers from a zone, or from the
 * rows of a case, and records what it was asked.  Its clock is simulated.
 */

#define MAX 128
#define SCHEDULE_MS 60000 /* the resolver's own limit */
#define TTL 77

extern struct dns_resolver resolver;

struct asked {
	char name[DNS_NAME_SIZE + 16]; /* also of one that cannot exist */
	int type;
	struct dns_answer *into; /* NULL: it has its result */
	int64_t due_ms;
};

/*
 * The rows that a case has instead of the zone; others do not exist.  How: as
 * outcome F found, d no data, N no such name, ? failed, '-' never answered;
 * then '+' if it is secure, and the name that its alias leads to.
 */
struct row {
	const char *name;
	int type;
	const char *how;
	const char *data; /* as in the zone, or one text or TLSA record */
	int64_t delay_ms;
};

/* What a test sets, and finds afterwards. */
extern struct fakeresolver {
	struct asked question[2 * MAX];
	size_t n, waves;
	bool has_waited; /* so the next question begins a wave */
	bool backwards, knows_security;
	struct deadline until;
	void (*special)(struct dns_answer *, const char *, int);
	const struct row *row; /* ends with one without a name */
} fake;

/* Put a record into an answer; records of the type, as in the zone. */
void add_mx(struct dns_answer *a, unsigned preference, const char *name);
void add_ip(struct dns_answer *a, struct ip ip);
void fill(struct dns_answer *a, int type, const char *data);

/* The questions without an answer. */
size_t count_pending(void);

#endif
