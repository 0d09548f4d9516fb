/* SPDX-License-Identifier: ISC */
#ifndef TEST_TRANSACT_H
#define TEST_TRANSACT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "smtp/transaction.h"

#include "peer.h"

/* A transaction with a scripted peer, and its result. */

static const char *const outcome_name[] = {
	[SMTP_DIED] = "DIED",
	[SMTP_MALFORMED] = "MALFORMED",
	[SMTP_UNSOLICITED] = "UNSOLICITED",
	[SMTP_STALE] = "STALE",
	[SMTP_REFUSED] = "REFUSED",
	[SMTP_DONE] = "DONE",
};
static const char *const end_name[] = { "RCPT", "TOO_LARGE", "LIMIT", "MAIL",
	"NONE_ACCEPTED", "DATA", "MESSAGE", "MAIL_DATA" };

static const char message[] = "Subject: x\n\n.dot\n.\nend";
static const char mail_data[] = "Subject: x\r\n\r\n..dot\r\n..\r\nend\r\n.\r\n";

#define DONE SMTP_DONE
#define PIPE SMTP_EXT_PIPELINING
#define REFUSED SMTP_REFUSED
#define BAD SMTP_MALFORMED
#define DIED SMTP_DIED
#define STALE SMTP_STALE

static struct smtp_session session;
static struct smtp_message mail;

/* Outcomes of recipients in order: 2 accepted, 4, 5, and ? for malformed. */
struct verdicts {
	size_t n;
	bool is_in_order;
	char seen[16]; /* of the first few recipients */
};

static inline void
see_verdict(void *context, size_t i, enum smtp_outcome outcome,
    const struct smtp_reply *reply)
{
	struct verdicts *v = context;
	int class = smtp_reply_class(reply);

	v->is_in_order = v->is_in_order && i == v->n;
	if (v->n < sizeof v->seen - 1)
		v->seen[v->n] =
		    outcome == SMTP_MALFORMED ? '?' : (char)('0' + class);
	if ((outcome == SMTP_DONE && class != 2) ||
	    (outcome == SMTP_REFUSED && class != 4 && class != 5))
		v->is_in_order = false;
	v->n++;
}

static inline int
make_file(const void *p, size_t n)
{
	FILE *f = tmpfile();
	int fd;

	if (!f || fwrite(p, 1, n, f) != n || fflush(f) != 0 ||
	    (fd = dup(fileno(f))) == -1)
		peer_die("tmpfile");
	fclose(f);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* In the session as it is. */
static inline struct smtp_result
transact_on(size_t nrecipient, int fd, struct verdicts *v)
{
	char(*text)[32] = mem_alloc(nrecipient, sizeof *text);
	const char **path = mem_alloc(nrecipient, sizeof *path);
	struct smtp_envelope e = { .reverse_path = "s@x",
		.forward_path = path,
		.nrecipient = nrecipient,
		.verdict = see_verdict,
		.context = v };
	struct smtp_result r;

	for (size_t i = 0; i < nrecipient; i++) {
		snprintf(text[i], sizeof text[i], "%zu@x", i);
		path[i] = text[i];
	}
	*v = (struct verdicts){ .is_in_order = true };
	smtp_message_open(&mail, fd, smtp_transaction_measures(&session.ehlo));
	r = smtp_transaction(&session, &e, &mail);
	free(path);
	free(text);
	return r;
}

static inline struct smtp_result
transact_with(struct peer *p, unsigned extensions, size_t nrecipient, int fd,
    unsigned long timeout_s, struct verdicts *v)
{
	smtp_session_init(&session, p->fd, timeout_s);
	session.ehlo.extensions = extensions;
	return transact_on(nrecipient, fd, v);
}

static inline struct smtp_result
transact(struct peer *p, bool pipelined, size_t nrecipient, int fd,
    unsigned long timeout_s, struct verdicts *v)
{
	return transact_with(p, pipelined ? SMTP_EXT_PIPELINING : 0, nrecipient,
	    fd, timeout_s, v);
}

static inline bool
is_delivered(const struct smtp_result *r)
{
	return r->end == SMTP_END_MAIL_DATA && r->outcome == SMTP_DONE;
}

static inline bool
hear_line(int fd, int record)
{
	char c = 0;

	while (c != '\n')
		if (peer_hear(fd, record, &c, 1) != 1)
			return false;
	return true;
}

static inline char *
make_message(size_t n)
{
	char *text = mem_alloc(n + 1, 1);

	for (size_t i = 0; i < n; i++)
		text[i] = i % 50 == 49 ? '\n' : (char)('a' + i % 26);
	return text;
}

#endif
