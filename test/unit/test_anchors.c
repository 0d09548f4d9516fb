/* SPDX-License-Identifier: ISC */
#include "tls/anchors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "testcert.h"

#define ROOTS 5

static struct testcert roots[ROOTS]; /* the last two share their name */
static struct testcert leaves[ROOTS];
static struct testcert stranger;
static char *dir;

static const char *
file(const char *name)
{
	static char paths[4][4096];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

static int
set_up(void **state)
{
	size_t i;

	(void)state;
	dir = testcert_mkdir();
	for (i = 0; i < ROOTS; i++) {
		char cn[32];

		snprintf(cn, sizeof cn, "Root %zu", i < 4 ? i : 3);
		roots[i] = testcert_make(&(struct testcert_spec){
		    .cn = cn, .is_ca = true });
		leaves[i] = testcert_make(&(struct testcert_spec){
		    .cn = "x", .issuer = &roots[i] });
	}
	stranger = testcert_make(&(struct testcert_spec){ .cn = "x" });
	return 0;
}

static int
tear_down(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ROOTS; i++) {
		testcert_free(&roots[i]);
		testcert_free(&leaves[i]);
	}
	testcert_free(&stranger);
	testcert_rmdir(dir);
	return 0;
}

static bool
verifies(const struct tls_anchors *a, const struct testcert *leaf)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool ok;

	assert_non_null(ctx);
	assert_int_equal(X509_STORE_CTX_init(ctx, tls_anchors_store(a),
			     leaf->cert, NULL),
	    1);
	ok = X509_verify_cert(ctx) == 1;
	X509_STORE_CTX_free(ctx);
	return ok;
}

/* Opens, verifies all leaves (twice: the second time from the store). */
static void
check_all(const char *path, const char *statedir, size_t n)
{
	struct dsn why = { 0 };
	struct tls_anchors *a = tls_anchors_open(path, statedir, &why);
	size_t i;

	if (a == NULL)
		fail_msg("%s: %s", path, why.text);
	for (i = 0; i < 2 * ROOTS; i++)
		if (verifies(a, &leaves[i % ROOTS]) != (i % ROOTS < n))
			fail_msg("%s: leaf %zu of %zu", path, i, n);
	assert_false(verifies(a, &stranger));
	assert_false(tls_anchors_failed(a));
	tls_anchors_close(a);
}

static void
check_fails(const char *path, const char *statedir, const char *text)
{
	struct dsn why = { 0 };

	assert_null(tls_anchors_open(path, statedir, &why));
	if (strstr(why.text, text) == NULL)
		fail_msg("%s: \"%s\"", path, why.text);
}

static void
make_bundle(const char *path, size_t n)
{
	size_t i;

	unlink(path);
	for (i = 0; i < n; i++)
		testcert_append_cert(path, &roots[i]);
}

/* As if it had been written long ago: a fresh file is not compiled. */
static void
let_it_age(const char *path)
{
	struct timespec t[2] = { { .tv_sec = time(NULL) - 3600 },
		{ .tv_sec = time(NULL) - 3600 } };

	assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
	/* The ctime is of now, whatever the mtime says. */
	sleep(3);
}

static void
test_bundle_as_it_is(void **state)
{
	(void)state;
	make_bundle(file("plain.pem"), ROOTS);
	check_all(file("plain.pem"), NULL, ROOTS);
	make_bundle(file("plain.pem"), 2);
	check_all(file("plain.pem"), NULL, 2);
	/* A state directory that is not there is no obstacle. */
	check_all(file("plain.pem"), "/nonexistent", 2);
}

static void
test_bundle_with_garbage(void **state)
{
	const char *path = file("garbage.pem");
	FILE *f;

	(void)state;
	testcert_append_text(path, "# a comment\nsubject=/CN=x\n\xff\xfe\r\n");
	testcert_append_text(path,
	    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	testcert_append_cert(path, &roots[0]);
	testcert_append_text(path,
	    "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
	testcert_append_key(path, &roots[1], NULL);
	f = fopen(path, "a");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509_AUX(f, roots[1].cert), 1);
	fclose(f);
	testcert_append_text(path, "-----BEGIN CERTIFICATE-----\nMIIB\n");
	testcert_append_text(path, "-----END X509 CRL-----\n");
	testcert_append_cert(path, &roots[2]);
	testcert_append_text(path, "-----BEGIN CERTIFICATE-----\nMIIB");
	check_all(path, NULL, 3);
}

static void
test_bundle_unusable(void **state)
{
	const char *path = file("bad.pem");

	(void)state;
	check_fails(file("gone.pem"), NULL, "gone.pem: No such file");
	check_fails(file("gone.pem"), dir, "gone.pem: No such file");
	check_fails("", NULL, "No such file");
	check_fails(dir, NULL, "Is a directory");
	check_fails("/dev/null", NULL, "Invalid argument");
	testcert_append_text(path, "");
	check_fails(path, NULL, "bad.pem: no certificate");
	testcert_append_text(path, "nothing here\n");
	check_fails(path, NULL, "bad.pem: no certificate");
	check_fails(path, dir, "bad.pem: no certificate");
	testcert_append_key(path, &roots[0], NULL);
	check_fails(path, NULL, "bad.pem: no certificate");
	if (geteuid() != 0) {
		assert_int_equal(chmod(path, 0), 0);
		check_fails(path, NULL, "bad.pem: Permission denied");
		assert_int_equal(chmod(path, 0600), 0);
	}
	let_it_age(path);
	check_fails(path, dir, "bad.pem: no certificate");
	assert_int_equal(access(file("trustanchors.cdb"), F_OK), -1);
}

static void
flip_byte(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	char c;

	assert_int_not_equal(fd, -1);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 0x20;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

/* Where the certificate is in the compiled form. */
static off_t
place_of(const char *path, const struct testcert *c)
{
	static char data[1 << 16];
	unsigned char *der = NULL;
	int n = i2d_X509(c->cert, &der);
	int fd = open(path, O_RDONLY);
	ssize_t size = read(fd, data, sizeof data);
	ssize_t i;

	close(fd);
	assert_true(n > 0 && size > n);
	for (i = 0; i + n <= size; i++)
		if (memcmp(data + i, der, (size_t)n) == 0)
			break;
	assert_true(i + n <= size);
	OPENSSL_free(der);
	return (off_t)i;
}

/* Whatever the compiled form is like, the answers are those of the bundle. */
static void
check_four(const char *path)
{
	struct dsn why = { 0 };
	struct tls_anchors *a = tls_anchors_open(path, dir, &why);

	assert_non_null(a);
	assert_true(verifies(a, &leaves[1]));
	assert_true(verifies(a, &leaves[3]));
	assert_true(verifies(a, &leaves[0]));
	assert_false(verifies(a, &leaves[4]));
	assert_false(verifies(a, &stranger));
	assert_false(tls_anchors_failed(a));
	tls_anchors_close(a);
}

static void
test_bundle_compiled(void **state)
{
	const char *path = file("bundle.pem");
	const char *cdb = file("trustanchors.cdb");
	struct stat before, after;
	size_t i;

	(void)state;
	make_bundle(path, 4);
	let_it_age(path);
	check_all(path, dir, 4); /* compiles */
	assert_int_equal(stat(cdb, &before), 0);
	check_all(path, dir, 4); /* looks up */
	assert_int_equal(stat(cdb, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);

	/* Damaged, in a certificate's name, key and signature. */
	for (i = 20; i < 300; i += 40) {
		off_t at = place_of(cdb, &roots[1]) + (off_t)i;

		flip_byte(cdb, at);
		check_four(path);
		flip_byte(cdb, at);
	}
	assert_int_equal(stat(cdb, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);

	/* Damaged anywhere. */
	for (i = 0; i < (size_t)after.st_size; i += 61) {
		flip_byte(cdb, (off_t)i % after.st_size);
		check_four(path);
		assert_int_equal(stat(cdb, &after), 0);
	}
	/* Changed: what was compiled does not count any more. */
	make_bundle(path, ROOTS);
	check_all(path, dir, ROOTS);
	make_bundle(path, 1);
	check_all(path, dir, 1);
	unlink(path);
	check_fails(path, dir, "No such file");
}

static void
test_directory(void **state)
{
	char name[4096];
	size_t i;

	(void)state;
	snprintf(name, sizeof name, "%s/", dir);
	for (i = 0; i < ROOTS; i++) {
		char link[64];

		/* Two of the same hash: .0 and .1 */
		snprintf(link, sizeof link, "%08lx.%d",
		    X509_NAME_hash_ex(X509_get_subject_name(roots[i].cert),
			NULL, NULL, NULL),
		    i == 4);
		testcert_append_cert(file(link), &roots[i]);
	}
	check_all(name, NULL, ROOTS);
	check_all(name, dir, ROOTS);
	check_fails("/nonexistent/", NULL, "No such file");
	check_fails("/dev/null/", NULL, "Not a directory");
	check_fails("/:/", NULL, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bundle_as_it_is),
		cmocka_unit_test(test_bundle_with_garbage),
		cmocka_unit_test(test_bundle_unusable),
		cmocka_unit_test(test_bundle_compiled),
		cmocka_unit_test(test_directory),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
