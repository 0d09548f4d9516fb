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
 * The one place that decides what a failure before MAIL means.
 */

enum attempt_result {
	ATTEMPT_READY,  /* the session is fit for MAIL */
	ATTEMPT_NEXT,   /* not this address: try the next one */
	ATTEMPT_NO_TLS, /* likewise, for want of TLS and nothing else */
	ATTEMPT_AGAIN,  /* this address once more, as the attempt now says */
	ATTEMPT_STOP    /* trouble of ours: no other server would do better */
};

/* What the report will say if no server becomes ready. */
struct trouble {
	enum {
		TROUBLE_NONE,
		TROUBLE_MUTE,  /* connected, but the server said nothing */
		TROUBLE_SPOKE, /* the last one that spoke is the one told of */
		TROUBLE_OURS
	} rank;
	char address[IP_TEXT_SIZE];
	const char *host; /* the server's name, or NULL */
	const char *text; /* what follows the address, or all of it */
	char tls[TLS_SENTENCE_SIZE]; /* what TLS has to say of it, or "" */
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
	bool only_helo;                 /* it has no use for EHLO */
	bool is_tls_left_out;           /* no_tls says why it is not tried */
	char no_tls[TLS_SENTENCE_SIZE]; /* why TLS came to nothing, or "" */

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
 * closed otherwise, with QUIT where the peer could still understand that.
 * *trouble keeps the worse of what it holds and what happened here.
 */
enum attempt_result attempt_server(struct attempt *, int connection,
    struct server *, struct trouble *);

#endif
