/* SPDX-License-Identifier: ISC */
#ifndef PROG_ATTEMPT_H
#define PROG_ATTEMPT_H

#include <sys/types.h>
#include <stdbool.h>

#include "base/ip.h"
#include "smtp/session.h"
#include "tls/helper.h"
#include "tls/policy.h"

/*
 * Make one connected server ready for MAIL: greeting, EHLO, STARTTLS.
 *
 * Only this module decides what a failure before MAIL means.
 */

enum attempt_result {
	ATTEMPT_READY,  /* MAIL can be sent */
	ATTEMPT_NEXT,   /* not this address: try the next one */
	ATTEMPT_NO_TLS, /* the same; the only reason is that it has no TLS */
	ATTEMPT_AGAIN,  /* this address once more, as the attempt now says */
	ATTEMPT_STOP    /* our own failure: no other server would help */
};

/* What the report will say if no server becomes ready. */
struct trouble {
	enum {
		TROUBLE_NONE,
		TROUBLE_MUTE,  /* connected, but without any reply */
		TROUBLE_SPOKE, /* the last server that replied is reported */
		TROUBLE_OURS
	} rank;
	char address[IP_TEXT_SIZE];
	const char *host; /* the server's name, or NULL */
	const char *text; /* what follows the address, or all of it */
	char tls[TLS_SENTENCE_SIZE]; /* the report's line on TLS, or "" */
	struct smtp_reply reply;     /* its text may be empty */
};

struct attempt {
	const char *helohost;
	const char *host;        /* the server's name; NULL for a literal */
	unsigned long timeout_s; /* timeoutremote */
	struct tls_policy policy;
	struct tls_helper helper; /* name is that of this server */
	struct ip ip;

	/* From an earlier connection to this address. */
	bool only_helo;                 /* do not send EHLO */
	bool is_tls_left_out;           /* no_tls says why it is not tried */
	char no_tls[TLS_SENTENCE_SIZE]; /* why TLS failed, or "" */

	/* What is to be remembered of it. */
	bool has_hung; /* the handshake did, until its time was over */
};

/* A server that is ready. */
struct server {
	int fd; /* clear text */
	struct ip ip;
	const char *host; /* its name, or NULL */
	struct smtp_ehlo ehlo;
	char tls[TLS_SENTENCE_SIZE]; /* for the report, or "" */

	/* In TLS: of qmail-remote-tls, as in struct tls_start.  Else 0. */
	int status;
	pid_t helper;
};

/*
 * Takes over the connection: it is in *server when the result is READY, and
 * closed otherwise, after QUIT if no reply is outstanding.  *trouble keeps the
 * failure of higher rank: the one that it contains or the one here.
 */
enum attempt_result attempt_server(struct attempt *, int connection,
    struct server *, struct trouble *);

#endif
