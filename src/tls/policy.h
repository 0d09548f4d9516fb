/* SPDX-License-Identifier: ISC */
#ifndef TLS_POLICY_H
#define TLS_POLICY_H

#include <stdbool.h>

#include "base/tlsa.h"

/*
 * Decide which TLS is required for one MX host.  Pure: no I/O, no state.
 *
 * It is called again for every MX host, so a decision for one host never
 * applies to another.
 *
 * The first that applies decides:
 *
 * 1. the line of control/tlspolicy for the next hop; without one, the host's
 *    file in control/notlshosts or control/tlshosts.  A line of dane or
 *    dane-only goes on with 2.
 * 2. DANE (RFC 7672)
 * 3. MTA-STS (RFC 8461)
 * 4. control/tlsstrictness, or control/tlshosts/exhaustivelist in its place
 *
 * "TLS-Required: no" (RFC 8689) switches 2 and 3 off, but not a line of dane.
 * If no TLSA record is usable, TLS is mandatory, and 3 and 4 may demand more.
 *
 * What the first that applies decides is then raised: to TLS_LEVEL_ENCRYPT by
 * TLS from the first byte (RFC 8314), and to a verified certificate or DANE by
 * credentials, which "TLS-Required: no" does not switch off.  Only a line of
 * encrypt lets credentials go to a server that is not verified.  A line of none
 * or may, or a file in control/notlshosts, asks for what credentials must not
 * do: such a host is not used.
 */

enum tls_level {
	TLS_LEVEL_NONE,    /* clear text; STARTTLS is not tried */
	TLS_LEVEL_MAY,     /* opportunistic (RFC 7435) */
	TLS_LEVEL_ENCRYPT, /* mandatory, with any certificate */
	TLS_LEVEL_VERIFY,  /* mandatory, with a verified certificate */
	TLS_LEVEL_DANE     /* mandatory, authenticated by TLSA records */
};

/* The level of a line in control/tlspolicy. */
enum tls_rule {
	TLS_RULE_ABSENT, /* there is no such line */
	TLS_RULE_NONE,
	TLS_RULE_MAY,
	TLS_RULE_ENCRYPT,
	TLS_RULE_VERIFY,
	TLS_RULE_DANE,
	TLS_RULE_DANE_ONLY
};

/* The host's file in control/notlshosts or control/tlshosts. */
enum tls_hostfile {
	TLS_HOSTFILE_ABSENT,
	TLS_HOSTFILE_CLEAR,   /* in control/notlshosts */
	TLS_HOSTFILE_ENCRYPT, /* an empty .pem */
	TLS_HOSTFILE_VERIFY   /* a .pem with certificates */
};

/* What is known of the host's TLSA records. */
enum tls_dane {
	TLS_DANE_OFF,      /* nobody asked for them */
	TLS_DANE_ABSENT,   /* DANE does not apply to this host */
	TLS_DANE_USABLE,   /* there are records, and at least one can be used */
	TLS_DANE_UNUSABLE, /* there are records, but none can be used */
	TLS_DANE_FAILED    /* the lookup failed, or an answer is bogus */
};

/* The MTA-STS policy of the next hop. */
enum tls_sts { TLS_STS_NONE, TLS_STS_TESTING, TLS_STS_ENFORCE };

/*
 * Everything that the decision depends on.  What is zero is switched off.  All
 * text is borrowed, and so is the set of records.
 */
struct tls_situation {
	bool has_anchors;         /* control/trustanchors is not empty */
	unsigned long strictness; /* control/tlsstrictness */
	const char *name;         /* the MX host's, or an address literal */

	enum tls_rule rule;
	const char *match;   /* of a rule of verify; NULL: not given */
	const char *anchors; /* of a rule of verify; NULL: not given */

	enum tls_hostfile hostfile;
	const char *pem;    /* the path of TLS_HOSTFILE_VERIFY */
	bool is_exhaustive; /* control/tlshosts/exhaustivelist is there */

	bool is_not_required; /* TLS-Required: no, and it is obeyed */

	bool is_trusted; /* the resolver: its AD bit says what is secure */
	enum tls_dane dane;
	const char *tlsa_base;  /* the TLSA base domain (RFC 7672 2.2.2) */
	const char *tlsa_names; /* reference identifiers (RFC 7672 3.2.2), */
				/* separated by commas; NULL: the base only */
	const struct tlsa_set *tlsa;

	enum tls_sts sts;
	bool is_listed; /* the MTA-STS policy has the MX host's name */

	bool is_implicit;     /* TLS from the first byte: port 465 */
	bool has_credentials; /* a password or token will be sent */
};

/* Which of the steps decided. */
enum tls_source {
	TLS_FROM_STRICTNESS,
	TLS_FROM_RULE,
	TLS_FROM_HOSTFILE, /* or exhaustivelist */
	TLS_FROM_DANE,
	TLS_FROM_STS_ENFORCE,

	/*
	 * The level is that of control/tlsstrictness, or what it was raised to.
	 * The certificate is verified all the same, and the result recorded.
	 */
	TLS_FROM_STS_TESTING,

	TLS_FROM_PORT,       /* raised because TLS is implicit */
	TLS_FROM_CREDENTIALS /* raised because there are credentials */
};

/* Why a host must not be used, though others of the next hop may be. */
enum tls_skip {
	TLS_SKIP_NOT,           /* it may be used */
	TLS_SKIP_RESOLVER,      /* a rule demands DANE without a trusted one */
	TLS_SKIP_DANE_FAILED,   /* TLS_DANE_FAILED */
	TLS_SKIP_DANE_ABSENT,   /* dane-only without TLSA records */
	TLS_SKIP_DANE_UNUSABLE, /* dane-only, and no record can be used */
	TLS_SKIP_STS,           /* the MTA-STS policy does not list it */
	TLS_SKIP_ANCHORS,       /* verification without trust anchors */
	TLS_SKIP_CREDENTIALS,   /* credentials, and a rule without TLS */
	TLS_SKIP_UNVERIFIED     /* credentials without trust anchors */
};

/*
 * What holds in place of TLS_LEVEL_DANE if OpenSSL finds that it can use none
 * of the records (RFC 7672 section 2.2).
 */
struct tls_unusable {
	enum tls_level level; /* TLS_LEVEL_ENCRYPT or TLS_LEVEL_VERIFY */
	enum tls_source source;
	enum tls_skip skip; /* not TLS_SKIP_NOT: the connection is given up */
	const char *name;   /* to verify, with control/trustanchors */
};

struct tls_policy {
	enum tls_level level;
	const char *name; /* for SNI, and what the certificate has to prove */

	/*
	 * In place of the name one of these, separated by commas; a dot at the
	 * start stands for any one label and that dot.  NULL: the name.
	 */
	const char *names;
	const char *anchors;         /* NULL: those of control/trustanchors */
	const struct tlsa_set *tlsa; /* only for TLS_LEVEL_DANE */
	enum tls_source source;
	enum tls_skip skip; /* if not TLS_SKIP_NOT, the host is not used */
	bool is_implicit;   /* TLS from the first byte, without STARTTLS */

	/*
	 * There are TLSA records, and none can be used, as was seen without
	 * OpenSSL: this is what holds in their place.
	 */
	bool is_without_usable;
	struct tls_unusable unusable; /* only for TLS_LEVEL_DANE */

	/*
	 * Where TLS_FROM_STS_TESTING holds, also in place of TLSA records:
	 * MTA-STS does not list the host, and would not use it at all.
	 */
	bool is_unlisted;
};

/* The policy borrows what is in the situation. */
struct tls_policy tls_policy_choose(const struct tls_situation *);

/*
 * The state of a set of TLSA records that were found, as far as it can be seen
 * without OpenSSL.
 */
enum tls_dane tls_dane_state(const struct tlsa_set *);

/*
 * Whether TLS is tried at all; whether TLS is mandatory; whether the
 * server must be authenticated, by its certificate's chain or by TLSA records.
 */
bool tls_policy_tries(const struct tls_policy *);
bool tls_policy_requires(const struct tls_policy *);
bool tls_policy_verifies(const struct tls_policy *);

/*
 * OpenSSL's security level.  0, with TLS from 1.0 on, where clear text is
 * allowed, because any encryption is better than none; 1, with TLS 1.2 or
 * later, where TLS is mandatory; 2 (112 bits, no SHA-1) where a chain is
 * verified.  1 for DANE: a TLSA record that matches is enough (RFC 7672 section
 * 3.1.1), also for a key of 1024 bits.
 */
unsigned long tls_policy_security(const struct tls_policy *);

/* Whether, after TLS failed, the same address is tried once in clear text. */
bool tls_policy_falls_back(const struct tls_policy *);

/*
 * Whether mail may go to this host in clear text in the end: at strictness 1
 * only if no host of the next hop has TLS.
 */
bool tls_policy_allows_clear(const struct tls_policy *);

/*
 * The reason for a report, after the host's name and a colon; not for
 * TLS_SKIP_NOT.
 */
const char *tls_skip_text(enum tls_skip);

#endif
