/* SPDX-License-Identifier: ISC */
#ifndef DELIVERY_ATTEMPT_H
#define DELIVERY_ATTEMPT_H

#include <sys/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/credentials.h"
#include "base/ip.h"
#include "delivery/cleartext.h"
#include "delivery/failure.h"
#include "smtp/session.h"
#include "tls/helper.h"
#include "tls/policy.h"
#include "tls/status.h"

/*
 * Make one connected server ready for MAIL: greeting, EHLO, STARTTLS, the
 * handshake, and EHLO in TLS; or the handshake first (RFC 8314 section 3.3),
 * then greeting and EHLO in TLS.  Then AUTH, if there are credentials.
 *
 * Only this module decides what a failure before MAIL means for the delivery.
 */

/* The phases of an attempt, in order; with implicit TLS from HANDSHAKE on. */
enum attempt_phase {
	ATTEMPT_IN_GREETING,
	ATTEMPT_IN_HELLO, /* EHLO or HELO */
	ATTEMPT_IN_STARTTLS,
	ATTEMPT_IN_HANDSHAKE,
	ATTEMPT_IN_GREETING_TLS, /* only with implicit TLS */
	ATTEMPT_IN_HELLO_TLS,
	ATTEMPT_IN_AUTH
};

/* Why MTA-STS in testing mode would not have used a session. */
enum attempt_fault {
	ATTEMPT_FAULT_NONE,     /* it would, or nothing is known */
	ATTEMPT_FAULT_UNLISTED, /* the policy does not list the host */
	ATTEMPT_FAULT_VERSION,  /* TLS 1.0 or 1.1: enough where clear text is */
	ATTEMPT_FAULT_CERTIFICATE
};

struct attempt_test {
	enum attempt_fault fault;
	enum tls_cause cause;     /* of ATTEMPT_FAULT_CERTIFICATE */
	char text[TLS_TEXT_SIZE]; /* the same for people; "": no fault */
};

/* What became of one connection. */
struct attempt {
	size_t address;   /* its place in the plan */
	const char *host; /* the server's name; NULL for a literal */
	struct ip ip;
	struct ip own;            /* our address, if it was asked for */
	const char *helohost;     /* our name in EHLO */
	int connect_ms;           /* how long it took to connect */
	enum attempt_phase phase; /* the last one that was begun */
	enum failure_cause cause; /* FAILURE_NONE: the server is ready */
	bool is_local;            /* it is ours, no other server would help */
	bool used_helo;           /* no EHLO was sent on this connection */
	enum smtp_mechanism mechanism; /* of AUTH, if that was sent */
	char *reply; /* the lines that decided; owned, or NULL */
	size_t nreply;

	/* TLS_STATUS_NONE: no handshake was begun, or nothing came of it. */
	struct tls_result tls;
	struct cleartext cleartext; /* why there was no TLS */

	/* Of the policy, or of what holds in place of its TLSA records. */
	enum tls_source source;
	struct attempt_test test; /* if that is MTA-STS in testing mode */
};

enum attempt_result {
	ATTEMPT_READY,  /* MAIL can be sent */
	ATTEMPT_NEXT,   /* not this address: try the next one */
	ATTEMPT_NO_TLS, /* the same; the only reason is that it has no TLS */
	ATTEMPT_NO_SMTPUTF8, /* the same; it only does not offer SMTPUTF8 */
	ATTEMPT_AGAIN,       /* this address once more, as the mode now says */
	ATTEMPT_LOCAL        /* our own failure: no other server would help */
};

struct server;

/*
 * Functions that are called before an attempt, when a phase of it has ended,
 * and after it.  data is passed to them; the other pointers are valid during
 * the call only.  reply has the n bytes that the server said in this phase;
 * none in a handshake, where facts has what is known of the certificates.
 */
struct attempt_observer {
	void (*begins)(void *data, const struct attempt *);
	void (*phase_has_ended)(void *data, const struct attempt *,
	    const char *reply, size_t n, const struct tls_facts *facts);
	void (*has_ended)(void *data, const struct attempt *,
	    enum attempt_result, const struct server *);
	void *data;
};

/*
 * The same for every server.  What a server says that has something of the
 * credentials in it is masked before it is kept or told to anybody.
 */
struct attempt_config {
	const struct attempt_observer *observer; /* or NULL */
	unsigned long timeout_s; /* timeoutremote: for one whole reply */
	const char *helper;      /* the program qmail-remote-tls */
	tls_helper_pass *pass;   /* as in struct tls_helper; or NULL */
	void *pass_data;
	unsigned long timeout_handshake_s;
	const char *anchors;    /* control/trustanchors */
	const char *state;      /* directory for compiled anchors */
	const char *clientcert; /* both, or NULL */
	const char *clientkey;

	/*
	 * To authenticate with, or NULL.  They are sent to a server that is
	 * verified, or that a line of encrypt in control/tlspolicy is about;
	 * the policies of the plan have to demand it.
	 */
	const struct credentials *credentials;
};

/*
 * How the next connection to an address is used: as the plan says, and as the
 * connections before it make necessary.
 */
struct attempt_mode {
	struct tls_policy policy;
	bool only_helo;             /* do not send EHLO */
	bool needs_smtputf8;        /* do not use a server without it */
	struct cleartext cleartext; /* why TLS is not tried any more */
};

/* A server that is ready. */
struct server {
	int fd; /* clear text */
	struct smtp_ehlo ehlo;

	/* In TLS: of qmail-remote-tls, as in struct tls_start.  Else 0. */
	int status;
	pid_t helper;
};

/*
 * Uses a connection: greeting, EHLO and what the mode asks for.
 *
 * The connection is owned by *server afterwards if the result is READY, and is
 * closed otherwise, after QUIT if no reply is outstanding.  The session is only
 * working memory of the caller; its contents do not matter.  In *attempt the
 * caller has set address, host, ip, own, helohost and connect_ms, and zeroed
 * the rest; the other members describe what happened.  For AGAIN, *mode is
 * changed.
 */
enum attempt_result attempt_make(const struct attempt_config *,
    struct smtp_session *, struct attempt_mode *, int connection,
    struct attempt *, struct server *);

/*
 * Writes the text of the report's line on TLS: what TLS this connection has, or
 * why it has none.  "" if there is no such line.
 */
void attempt_describe_tls(const struct attempt *,
    char sentence[TLS_SENTENCE_SIZE]);

/* The same for its TLS session, whatever became of the connection. */
void attempt_describe_session(const struct attempt *,
    char sentence[TLS_SENTENCE_SIZE]);

/* Frees what the attempt owns. */
void attempt_finish(struct attempt *);

#endif
