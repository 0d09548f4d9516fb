/* SPDX-License-Identifier: ISC */
#ifndef TEST_DANETEST_H
#define TEST_DANETEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/tlsa.h"
#include "tlsd/session.h"
#include "testcert.h"

/* Sessions with servers whose certificates are compared with TLSA records. */

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define NAME "mx.example"
#define WEAK "ALL:@SECLEVEL=0" /* ciphers, and everything old */
#define NO_MATCH "certificate matches no TLSA record"

/*
 * The certificates: leaf, middle, root; each leaf is signed by middle, but for
 * the one that is self-signed.
 */
enum leaf {
	GOOD,
	EXPIRED,
	EARLY,
	WRONG_NAME,
	CLIENT_ONLY,
	OF_SHA1,
	OF_RSA1024,
	SELF_SIGNED,
	LEAVES
};

extern struct testcert leaf[LEAVES], middle, root, stranger;
extern char anchors[4096]; /* the path of a file with root */

/* Make these certificates, and a directory; for cmocka. */
int set_up(void **state);
int tear_down(void **state);

/* The path of a file in that directory; valid until the next call. */
const char *file(const char *name);

/* A certificate that middle has signed; free it. */
struct testcert issue(struct testcert_spec spec);

/* Adds a record of this certificate. */
void add(struct tlsa_set *set, const struct testcert *c, int usage,
    int selector, int matching);

/*
 * Adds records as "311l 200m": three numbers, and of which certificate; any
 * other word is one of tlsa_parse().
 */
void add_all(struct tlsa_set *set, const char *words);

/* One handshake with the server, and the facts if facts is not NULL. */
struct tls_result shake_hands(struct tlsd_session_params p,
    struct testserver *server, struct tls_facts *facts);

/* The same with a server that has this leaf, and middle. */
struct tls_result verify(struct tlsd_session_params p, enum leaf l);

/*
 * Fails if the result is not this: "dane 3 1 1", "dane 2 1 1 mx.example",
 * "unusable", "pkix NAME", why not.
 */
void expect(const char *what, const struct tls_result *r, const char *want);

#endif
