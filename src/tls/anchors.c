/* SPDX-License-Identifier: ISC */
#include "tls/anchors.h"

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
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
#include "base/compiled.h"
#include "base/fdio.h"
#include "base/mem.h"
#include "tls/trouble.h"

#define CODE "4.3.5"           /* RFC 3463: system incorrectly configured */
#define BUNDLE_LIMIT (1 << 24) /* bytes */
#define KEY_SIZE 9             /* eight digits of the subject's hash, NUL */

struct tls_anchors {
	X509_STORE *store;
	X509_LOOKUP_METHOD *method;
	struct compiled *compiled;
	/*
	 * The bundle stays open, for the case that a record of the compiled
	 * form turns out damaged when no file can be opened any more.
	 */
	int fd;
	bool failed;
};

/*
 * The compiled form: under the hash of the canonical subject name, as
 * "openssl x509 -hash" prints it, the DER of each certificate with it.
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

/*
 * The bundle.
 */

/*
 * A TRUSTED CERTIFICATE block is a certificate with the uses that it is
 * trusted for appended; one decoder reads both, and the store heeds them.
 */
static X509 *
decode(const void *der, size_t n)
{
	const unsigned char *p = der;

	return n <= LONG_MAX ? d2i_X509_AUX(NULL, &p, (long)n) : NULL;
}

static bool
is_certificate(const char *type)
{
	return strcmp(type, PEM_STRING_X509) == 0 ||
	       strcmp(type, PEM_STRING_X509_OLD) == 0 ||
	       strcmp(type, PEM_STRING_X509_TRUSTED) == 0;
}

/* One certificate into the store and, if there is one, the compiled form. */
static int
take_certificate(struct tls_anchors *a, const unsigned char *der, long n,
    struct compiling *out)
{
	X509 *cert = decode(der, (size_t)n);
	char key[KEY_SIZE];
	int result = -1;

	if (cert == NULL)
		return -1;
	if (subject_key(X509_get_subject_name(cert), key) == -1 ||
	    X509_STORE_add_cert(a->store, cert) != 1)
		goto out;
	if (out != NULL)
		compiling_add(out, key, KEY_SIZE - 1, der, (size_t)n);
	result = 0;

out:
	X509_free(cert);
	return result;
}

/*
 * All certificates of a bundle's text; what else is in there is skipped.
 * Returns how many there were.
 */
static size_t
take_bundle(struct tls_anchors *a, const struct buf *text,
    struct compiling *out)
{
	BIO *bio = BIO_new_mem_buf(buf_text(text), (int)text->len);
	size_t count = 0;

	while (bio != NULL && !BIO_eof(bio)) {
		char *type = NULL;
		char *header = NULL;
		unsigned char *der = NULL;
		long n = 0;

		/* A block that cannot be decoded has been passed over too. */
		if (PEM_read_bio(bio, &type, &header, &der, &n) == 1 &&
		    is_certificate(type) &&
		    take_certificate(a, der, n, out) == 0)
			count++;
		OPENSSL_free(type);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	BIO_free(bio);
	ERR_clear_error();
	return count;
}

static int
read_text(int fd, struct buf *text)
{
	ssize_t got;

	if (lseek(fd, 0, SEEK_SET) == -1)
		return -1;
	do {
		const size_t piece = 1 << 18;

		got = fdio_read(fd, buf_reserve(text, piece), piece);
		if (got == -1)
			return -1;
		text->len += (size_t)got;
		text->data[text->len] = '\0';
		if (text->len > BUNDLE_LIMIT) {
			errno = EFBIG;
			return -1;
		}
	} while (got > 0);
	return 0;
}

/* 0, or -1 with errno; 0 in errno means that there was no certificate. */
static int
read_bundle(struct tls_anchors *a, struct compiling *out)
{
	struct buf text = { 0 };
	int result = read_text(a->fd, &text);

	if (result == 0 && take_bundle(a, &text, out) == 0) {
		errno = 0;
		result = -1;
	}
	/* A certificate may have been lost: not to be used, nor compiled. */
	if (result == 0 && tls_trouble_is_out_of_memory()) {
		errno = ENOMEM;
		result = -1;
	}
	buf_finish(&text);
	return result;
}

/*
 * Looking up, while a chain is built.
 */

/*
 * Puts all compiled anchors of that name into the store.  *found is the
 * first of them, owned by the caller too.  -1: the record is damaged.
 */
static int
add_compiled(struct tls_anchors *a, const X509_NAME *name, X509 **found)
{
	enum compiled_result result;
	char key[KEY_SIZE];
	unsigned i;

	if (subject_key(name, key) == -1)
		return -1;
	for (i = 0;; i++) {
		const void *der;
		size_t n;
		X509 *cert;

		result =
		    compiled_find(a->compiled, key, KEY_SIZE - 1, i, &der, &n);
		if (result != COMPILED_FOUND)
			break;
		cert = decode(der, n);
		if (cert == NULL)
			return -1;
		/* Different names may have the same hash. */
		if (X509_NAME_cmp(X509_get_subject_name(cert), name) == 0 &&
		    X509_STORE_add_cert(a->store, cert) == 1 && *found == NULL)
			*found = cert;
		else
			X509_free(cert);
	}
	return result == COMPILED_DAMAGED ? -1 : 0;
}

/* The same from the whole bundle, whose certificates are all in the store. */
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

static X509 *
find(struct tls_anchors *a, const X509_NAME *name)
{
	X509 *found = NULL;

	if (a->compiled == NULL || add_compiled(a, name, &found) == 0)
		return found;
	/*
	 * The compiled form cannot be made anew from here: it would take
	 * files.  It goes on to cost time until the bundle changes.
	 */
	X509_free(found);
	compiled_close(a->compiled);
	a->compiled = NULL;
	if (read_bundle(a, NULL) == -1)
		a->failed = true;
	return find_stored(a->store, name);
}

static int
get_by_subject(X509_LOOKUP *lookup, X509_LOOKUP_TYPE type,
    const X509_NAME *name, X509_OBJECT *object)
{
	X509 *cert;
	int ok;

	if (type != X509_LU_X509)
		return 0;
	cert = find(X509_LOOKUP_get_method_data(lookup), name);
	if (cert == NULL)
		return 0;
	/*
	 * The object's own reference is never released by the library: it
	 * takes another one for whoever asked (X509_LOOKUP_meth_new(3)).
	 */
	ok = X509_OBJECT_set1_X509(object, cert);
	if (ok)
		X509_free(cert);
	X509_free(cert);
	return ok;
}

/*
 * Opening.
 */

static int
use_lookup(struct tls_anchors *a, struct dsn *why)
{
	X509_LOOKUP *lookup;

	a->method = X509_LOOKUP_meth_new("compiled trust anchors");
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
open_directory(struct tls_anchors *a, const char *path, struct dsn *why)
{
	X509_LOOKUP *lookup;

	/* The '/' at its end makes this fail for whatever is no directory. */
	if (access(path, X_OK) == -1)
		return dsn_set(why, CODE, "cannot read trust anchors in %s: %s",
		    path, strerror(errno));
	/* The library would read it as a list of directories. */
	if (strchr(path, ':') != NULL)
		return dsn_set(why, CODE,
		    "cannot read trust anchors in %s: colon in the name", path);
	lookup = X509_STORE_add_lookup(a->store, X509_LOOKUP_hash_dir());
	if (lookup == NULL ||
	    X509_LOOKUP_add_dir(lookup, path, X509_FILETYPE_PEM) != 1)
		return dsn_set(why, CODE, "cannot read trust anchors in %s",
		    path);
	return 0;
}

static int
open_file(const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd == -1)
		return -1;
	if (fstat(fd, st) == 0) {
		if (S_ISREG(st->st_mode))
			return fd;
		errno = S_ISDIR(st->st_mode) ? EISDIR : EINVAL;
	}
	close(fd);
	return -1;
}

/* Reads the bundle, compiling it on the way where that can be done. */
static int
parse_bundle(struct tls_anchors *a, const char *cdb, const char *lock,
    const struct stat *st)
{
	struct compiling *out = NULL;
	int saved;

	if (cdb != NULL)
		out = compiling_begin(cdb, lock, st);
	if (read_bundle(a, out) == 0) {
		if (out != NULL)
			(void)compiling_end(out, a->fd);
		return 0;
	}
	saved = errno;
	if (out != NULL)
		compiling_abort(out);
	errno = saved;
	return -1;
}

static int
load_bundle(struct tls_anchors *a, const char *statedir, const struct stat *st)
{
	struct buf cdb = { 0 };
	struct buf lock = { 0 };
	int result = 0;

	if (statedir == NULL)
		return parse_bundle(a, NULL, NULL, st);
	buf_printf(&cdb, "%s/trustanchors.cdb", statedir);
	buf_printf(&lock, "%s/trustanchors.lock", statedir);
	a->compiled = compiled_open(cdb.data, st);
	if (a->compiled == NULL)
		result = parse_bundle(a, cdb.data, lock.data, st);
	buf_finish(&cdb);
	buf_finish(&lock);
	return result;
}

static int
open_bundle(struct tls_anchors *a, const char *path, const char *statedir,
    struct dsn *why)
{
	struct stat st;

	a->fd = open_file(path, &st);
	if (a->fd == -1 || load_bundle(a, statedir, &st) == -1)
		return dsn_set(why, CODE, "cannot read trust anchors in %s: %s",
		    path, errno != 0 ? strerror(errno) : "no certificate");
	return a->compiled != NULL ? use_lookup(a, why) : 0;
}

struct tls_anchors *
tls_anchors_open(const char *path, const char *statedir, struct dsn *why)
{
	struct tls_anchors *a = mem_alloc(1, sizeof *a);
	size_t n = strlen(path);
	int result;

	a->fd = -1;
	a->store = X509_STORE_new();
	if (a->store == NULL)
		result = dsn_set(why, "4.3.0", "out of memory");
	else if (n > 0 && path[n - 1] == '/')
		result = open_directory(a, path, why);
	else
		result = open_bundle(a, path, statedir, why);
	if (result == 0)
		return a;
	tls_anchors_close(a);
	return NULL;
}

void
tls_anchors_close(struct tls_anchors *a)
{
	if (a == NULL)
		return;
	X509_STORE_free(a->store);
	X509_LOOKUP_meth_free(a->method);
	compiled_close(a->compiled);
	if (a->fd != -1)
		close(a->fd);
	free(a);
}

X509_STORE *
tls_anchors_store(const struct tls_anchors *a)
{
	return a->store;
}

bool
tls_anchors_failed(const struct tls_anchors *a)
{
	return a->failed;
}
