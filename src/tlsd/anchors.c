/* SPDX-License-Identifier: ISC */
#include "tlsd/anchors.h"

#include <sys/stat.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include "base/buf.h"
#include "io/compiled.h"
#include "io/fdio.h"
#include "base/mem.h"
#include "tlsd/pem.h"
#include "tlsd/error.h"

#define CODE "4.3.5" /* RFC 3463: system incorrectly configured */
#define BUNDLE_LIMIT ((size_t)1 << 24) /* bytes */
#define KEY_SIZE 9                     /* the subject's hash in hex, NUL */

/* Limit on certificates with the same name; more than anybody has. */
#define SAME_NAME_MAX 64

struct tlsd_anchors {
	X509_STORE *store;
	X509_LOOKUP_METHOD *method;
	struct buf path;
	bool is_directory;
	/*
	 * The bundle, which stays open: when it is read later, the sandbox
	 * allows no open().
	 */
	int fd;
	struct stat st;
	struct compiled *index; /* NULL: all anchors are in the store */
	struct dsn failure;     /* of a look-up; empty status: none */
};

/*
 * The key of the index: the hash of the canonical subject name, as "openssl
 * x509 -hash" prints it.  Its places are the certificates with that name.
 */
static int
subject_key(const X509_NAME *name, char key[KEY_SIZE])
{
	int ok = 0;
	unsigned long hash = X509_NAME_hash_ex(name, NULL, NULL, &ok);

	if (!ok)
		return -1;
	snprintf(key, KEY_SIZE, "%08lx", hash & 0xffffffffUL);
	return 0;
}

/* Always -1. */
static int
fail(const char *path, const char *reason, struct dsn *why)
{
	return dsn_set(why, CODE, "cannot read trust anchors in %s: %s", path,
	    reason);
}

/*
 * Reading files of certificates.
 */

/*
 * A TRUSTED CERTIFICATE block is a certificate followed by the uses that it is
 * trusted for.  One decoder reads both kinds, and the store respects the uses.
 */
static X509 *
parse_certificate(const struct buf *der)
{
	const unsigned char *p = (const unsigned char *)buf_text(der);

	return der->len <= LONG_MAX ? d2i_X509_AUX(NULL, &p, (long)der->len)
				    : NULL;
}

static bool
is_certificate(const struct pem_block *b)
{
	return pem_has_label(b, PEM_STRING_X509) ||
	       pem_has_label(b, PEM_STRING_X509_OLD) ||
	       pem_has_label(b, PEM_STRING_X509_TRUSTED);
}

/*
 * Only if the block begins a line: otherwise a reader could not check its start
 * by the byte before it.
 */
static void
index_certificate(struct compiling *index, const X509 *cert,
    const struct pem *p, const struct pem_block *b)
{
	struct compiled_place place = {
		.offset = (uint64_t)(b->start - p->text),
		.length = b->len,
	};
	char key[KEY_SIZE];

	if (b->start > p->text && b->start[-1] != '\n')
		return;
	if (subject_key(X509_get_subject_name(cert), key) == 0)
		compiling_add(index, key, KEY_SIZE - 1, &place);
}

/* 1 when it is in the store now, 0 when it is no certificate, -1 in errno. */
static int
add_certificate(struct tlsd_anchors *a, const struct pem *p,
    const struct pem_block *b, const struct buf *der, struct compiling *index)
{
	X509 *cert = parse_certificate(der);
	int ok;

	if (cert == NULL)
		return 0;
	ok = X509_STORE_add_cert(a->store, cert);
	if (ok == 1 && index != NULL)
		index_certificate(index, cert, p, b);
	X509_free(cert);
	return ok == 1;
}

/* Always -1: the file is damaged, and certificates may be lost. */
static int
fail_at(const struct pem *p, const char *path, struct dsn *why)
{
	char reason[80];

	snprintf(reason, sizeof reason, "line %zu: %s", pem_fault_line(p),
	    p->fault);
	return fail(path, reason, why);
}

/*
 * Adds all certificates of a text to the store and, if index is not NULL, to
 * the index.  Other blocks are skipped.  -1 with why if there is no
 * certificate, or if one may be lost.
 */
static int
add_text(struct tlsd_anchors *a, const struct buf *text, const char *path,
    struct compiling *index, struct dsn *why)
{
	struct pem_block b;
	struct pem p;
	struct buf der = { 0 };
	enum pem_result result;
	int count = 0;

	pem_init(&p, buf_text(text), text->len);
	while ((result = pem_next(&p, &b)) == PEM_BLOCK) {
		if (!is_certificate(&b))
			continue;
		if (!pem_decode(&p, &b, &der)) {
			result = PEM_DAMAGED;
			break;
		}
		count += add_certificate(a, &p, &b, &der, index);
	}
	buf_finish(&der);
	ERR_clear_error();
	if (result == PEM_DAMAGED)
		return fail_at(&p, path, why);
	return count > 0 ? 0 : fail(path, "no certificate", why);
}

static int
add_file(struct tlsd_anchors *a, int fd, const struct stat *st,
    const char *path, struct compiling *index, struct dsn *why)
{
	struct buf text = { 0 };
	int result;

	if (fdio_read_to_end(fd, st, BUNDLE_LIMIT, &text) == -1)
		result = fail(path, strerror(errno), why);
	else
		result = add_text(a, &text, path, index, why);
	buf_finish(&text);
	return result;
}

/* Look-up by the index. */

/*
 * Reads the certificate at a place of the bundle; NULL if there is no block, or
 * it is not a certificate.
 */
static X509 *
read_certificate(const struct tlsd_anchors *a,
    const struct compiled_place *place)
{
	size_t before = place->offset > 0;
	size_t n = before + (size_t)place->length;
	struct buf text = { 0 }, der = { 0 };
	struct pem_block b;
	struct pem p;
	X509 *cert = NULL;

	if (fdio_read_at(a->fd, place->offset - before, buf_reserve(&text, n),
		n) == -1)
		goto out;
	text.len = n;
	pem_init(&p, text.data + before, n - before);
	if ((before == 0 || text.data[0] == '\n') &&
	    pem_next(&p, &b) == PEM_BLOCK && b.start == p.text &&
	    b.len == place->length && is_certificate(&b) &&
	    pem_decode(&p, &b, &der))
		cert = parse_certificate(&der);

out:
	buf_finish(&text);
	buf_finish(&der);
	return cert;
}

/*
 * Adds the anchors with this name in the index to the store.  They are in the
 * bundle, whatever the index says.  If the index is wrong or incomplete, the
 * chain does not verify.
 */
static void
add_indexed(struct tlsd_anchors *a, const X509_NAME *name)
{
	struct compiled_place place;
	char key[KEY_SIZE];
	unsigned i;

	if (subject_key(name, key) == -1)
		return;
	for (i = 0;
	     i < SAME_NAME_MAX && compiled_find(a->index, key, KEY_SIZE - 1, i,
				      &place) == COMPILED_FOUND;
	     i++) {
		X509 *cert = read_certificate(a, &place);

		/* Different names may have the same hash. */
		if (cert != NULL &&
		    X509_NAME_cmp(X509_get_subject_name(cert), name) == 0)
			(void)X509_STORE_add_cert(a->store, cert);
		X509_free(cert);
	}
	ERR_clear_error();
}

/*
 * Look-up in a hashed directory: in files named by the name's hash, ".0" and so
 * on, until one is missing.
 */

static bool
is_dangling(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* False if there is no such file. */
static bool
add_hashed_file(struct tlsd_anchors *a, const char *path)
{
	struct stat st;
	int fd = fdio_open_file(path, &st);

	if (fd != -1) {
		(void)add_file(a, fd, &st, path, NULL, &a->failure);
		close(fd);
	} else if (errno == ENOENT) {
		return is_dangling(path);
	} else {
		(void)fail(path, strerror(errno), &a->failure);
	}
	return true;
}

static void
add_hashed(struct tlsd_anchors *a, const X509_NAME *name)
{
	struct buf path = { 0 };
	char key[KEY_SIZE];
	unsigned i = 0;
	bool any;

	if (subject_key(name, key) == -1)
		return;
	do {
		buf_cut(&path, 0);
		buf_printf(&path, "%s%s.%u", a->path.data, key, i++);
		any = add_hashed_file(a, path.data);
	} while (any && i < SAME_NAME_MAX);
	buf_finish(&path);
}

/* Look-up while a chain is built. */

/* A certificate that is in the store now; owned by the caller. */
static X509 *
find_stored(X509_STORE *store, const X509_NAME *name)
{
	STACK_OF(X509) *all = X509_STORE_get1_all_certs(store);
	X509 *found = NULL;
	int i;

	for (i = 0; i < sk_X509_num(all) && found == NULL; i++) {
		X509 *cert = sk_X509_value(all, i);

		if (X509_NAME_cmp(X509_get_subject_name(cert), name) == 0 &&
		    X509_up_ref(cert) == 1)
			found = cert;
	}
	sk_X509_pop_free(all, X509_free);
	return found;
}

/* Called for a name that is not in the store. */
static int
get_by_subject(X509_LOOKUP *lookup, X509_LOOKUP_TYPE type,
    const X509_NAME *name, X509_OBJECT *object)
{
	struct tlsd_anchors *a = X509_LOOKUP_get_method_data(lookup);
	X509 *cert;
	int ok;

	if (type != X509_LU_X509)
		return 0;
	if (a->is_directory)
		add_hashed(a, name);
	else if (a->index != NULL)
		add_indexed(a, name);
	cert = find_stored(a->store, name);
	if (cert == NULL)
		return 0;
	/*
	 * The library never releases the object's own reference; it takes
	 * another one for the caller (X509_LOOKUP_meth_new(3)).
	 */
	ok = X509_OBJECT_set1_X509(object, cert);
	if (ok)
		X509_free(cert);
	X509_free(cert);
	return ok;
}

/*
 * Verifying.
 */

/*
 * A copy of ctx as it was set up, with these parameters, because a context can
 * be used only once (X509_verify_cert(3)).
 */
static X509_STORE_CTX *
copy_context(X509_STORE_CTX *ctx, X509_STORE *store,
    const X509_VERIFY_PARAM *from)
{
	X509_STORE_CTX *copy = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param = X509_VERIFY_PARAM_new();

	if (copy == NULL || param == NULL ||
	    X509_VERIFY_PARAM_set1(param, from) != 1 ||
	    X509_STORE_CTX_init(copy, store, X509_STORE_CTX_get0_cert(ctx),
		X509_STORE_CTX_get0_untrusted(ctx)) != 1) {
		X509_VERIFY_PARAM_free(param);
		X509_STORE_CTX_free(copy);
		return NULL;
	}
	X509_STORE_CTX_set0_param(copy, param);
	return copy;
}

static int
verify_again(X509_STORE_CTX *ctx, const struct tlsd_anchors *a)
{
	X509_STORE_CTX *again =
	    copy_context(ctx, a->store, X509_STORE_CTX_get0_param(ctx));
	int ok;

	if (again == NULL)
		return 0;
	ok = X509_verify_cert(again);
	X509_STORE_CTX_set_error(ctx, X509_STORE_CTX_get_error(again));
	X509_STORE_CTX_set_error_depth(ctx,
	    X509_STORE_CTX_get_error_depth(again));
	X509_STORE_CTX_set0_verified_chain(ctx,
	    X509_STORE_CTX_get1_chain(again));
	X509_STORE_CTX_free(again);
	return ok;
}

/* Reads the whole bundle; the index is not used any more. */
static int
read_bundle(struct tlsd_anchors *a, struct compiling *index, struct dsn *why)
{
	compiled_close(a->index);
	a->index = NULL;
	if (lseek(a->fd, 0, SEEK_SET) == -1)
		return fail(a->path.data, strerror(errno), why);
	return add_file(a, a->fd, &a->st, a->path.data, index, why);
}

int
tlsd_anchors_verify(X509_STORE_CTX *ctx, void *anchors)
{
	struct tlsd_anchors *a = anchors;
	int ok = X509_verify_cert(ctx);

	if (ok != 1 && a->index != NULL &&
	    read_bundle(a, NULL, &a->failure) == 0)
		ok = verify_again(ctx, a);
	return ok == 1;
}

static long
verify_copy(const struct tlsd_anchors *a, X509_STORE_CTX *ctx,
    const X509_VERIFY_PARAM *param)
{
	X509_STORE_CTX *copy = copy_context(ctx, a->store, param);
	long result = X509_V_ERR_OUT_OF_MEM;

	if (copy != NULL)
		result = X509_verify_cert(copy) == 1
			     ? X509_V_OK
			     : X509_STORE_CTX_get_error(copy);
	X509_STORE_CTX_free(copy);
	return result;
}

long
tlsd_anchors_verify_copy(struct tlsd_anchors *a, X509_STORE_CTX *ctx,
    const X509_VERIFY_PARAM *param)
{
	long result = verify_copy(a, ctx, param);

	if (result != X509_V_OK && a->index != NULL &&
	    read_bundle(a, NULL, &a->failure) == 0)
		result = verify_copy(a, ctx, param);
	return result;
}

/*
 * Opening.
 */

static int
use_lookup(struct tlsd_anchors *a, struct dsn *why)
{
	X509_LOOKUP *lookup;

	a->method = X509_LOOKUP_meth_new("trust anchors");
	if (a->method == NULL ||
	    !X509_LOOKUP_meth_set_get_by_subject(a->method, get_by_subject))
		goto fail;
	lookup = X509_STORE_add_lookup(a->store, a->method);
	if (lookup == NULL || !X509_LOOKUP_set_method_data(lookup, a))
		goto fail;
	return 0;

fail:
	return dsn_set(why, CODE, "cannot look up trust anchors");
}

static int
open_directory(struct tlsd_anchors *a, struct dsn *why)
{
	/*
	 * Because of the '/' at its end this fails for anything but a
	 * directory.
	 */
	if (access(a->path.data, X_OK) == -1)
		return fail(a->path.data, strerror(errno), why);
	a->is_directory = true;
	return use_lookup(a, why);
}

/* Reads the bundle, and makes an index of it if possible. */
static int
parse_bundle(struct tlsd_anchors *a, const char *cdb, const char *lock,
    struct dsn *why)
{
	struct compiling *index = compiling_begin(cdb, lock, a->fd, &a->st);
	int result = read_bundle(a, index, why);

	if (index != NULL && result == 0)
		(void)compiling_end(index, a->fd);
	else if (index != NULL)
		compiling_abort(index);
	return result;
}

static int
load_bundle(struct tlsd_anchors *a, const char *statedir, struct dsn *why)
{
	struct buf cdb = { 0 };
	struct buf lock = { 0 };
	int result = 0;

	buf_printf(&cdb, "%s/trustanchors.cdb", statedir);
	buf_printf(&lock, "%s/trustanchors.lock", statedir);
	a->index = compiled_open(cdb.data, &a->st);
	if (a->index == NULL)
		result = parse_bundle(a, cdb.data, lock.data, why);
	buf_finish(&cdb);
	buf_finish(&lock);
	return result;
}

static int
open_bundle(struct tlsd_anchors *a, const char *statedir, struct dsn *why)
{
	int result;

	a->fd = fdio_open_file(a->path.data, &a->st);
	if (a->fd == -1)
		return fail(a->path.data, strerror(errno), why);
	result = statedir != NULL ? load_bundle(a, statedir, why)
				  : read_bundle(a, NULL, why);
	return result == 0 && a->index != NULL ? use_lookup(a, why) : result;
}

struct tlsd_anchors *
tlsd_anchors_open(const char *path, const char *statedir, struct dsn *why)
{
	struct tlsd_anchors *a = mem_alloc(1, sizeof *a);
	size_t n = strlen(path);
	int result;

	a->fd = -1;
	buf_append(&a->path, path, n);
	a->store = X509_STORE_new();
	if (a->store == NULL)
		result = dsn_set(why, "4.3.0", "out of memory");
	else if (n > 0 && path[n - 1] == '/')
		result = open_directory(a, why);
	else
		result = open_bundle(a, statedir, why);
	if (result == 0)
		return a;
	tlsd_anchors_close(a);
	return NULL;
}

void
tlsd_anchors_close(struct tlsd_anchors *a)
{
	if (a == NULL)
		return;
	X509_STORE_free(a->store);
	X509_LOOKUP_meth_free(a->method);
	compiled_close(a->index);
	if (a->fd != -1)
		close(a->fd);
	buf_finish(&a->path);
	free(a);
}

X509_STORE *
tlsd_anchors_store(const struct tlsd_anchors *a)
{
	return a->store;
}

const struct dsn *
tlsd_anchors_failure(const struct tlsd_anchors *a)
{
	return a->failure.status[0] != '\0' ? &a->failure : NULL;
}
