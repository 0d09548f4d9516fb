/* SPDX-License-Identifier: ISC */
#include "tlsd/anchors.h"

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

#include "io/compiled.h"
#include "io/fdio.h"
#include "testcert.h"

#define ROOTS 5
#define SAME 5000 /* certificates of one name in an index */

static struct testcert roots[ROOTS]; /* the last two share their name */
static struct testcert leaves[ROOTS];
static struct testcert stranger;
static char *dir;

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
verifies(struct tlsd_anchors *a, const struct testcert *leaf)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool ok;

	assert_non_null(ctx);
	assert_int_equal(X509_STORE_CTX_init(ctx, tlsd_anchors_store(a),
			     leaf->cert, NULL),
	    1);
	ok = tlsd_anchors_verify(ctx, a) == 1;
	/* The result that a session sees, by either way of verifying. */
	assert_true(ok == (X509_STORE_CTX_get_error(ctx) == X509_V_OK));
	assert_true(!ok || sk_X509_num(X509_STORE_CTX_get0_chain(ctx)) == 2);
	X509_STORE_CTX_free(ctx);
	return ok;
}

/* The same for a context that has no anchors, and was used. */
static bool
verifies_copy(struct tlsd_anchors *a, const struct testcert *leaf)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_STORE *empty = X509_STORE_new();
	long result;
	int error;

	assert_non_null(ctx);
	assert_int_equal(X509_STORE_CTX_init(ctx, empty, leaf->cert, NULL), 1);
	assert_int_not_equal(X509_verify_cert(ctx), 1);
	error = X509_STORE_CTX_get_error(ctx);
	result =
	    tlsd_anchors_verify_copy(a, ctx, X509_STORE_CTX_get0_param(ctx));
	assert_int_equal(X509_STORE_CTX_get_error(ctx), error);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(empty);
	return result == X509_V_OK;
}

/*
 * Opens the anchors and verifies all leaves, twice: the second time from the
 * store.  Then again with other anchors in the context.
 */
static void
check_all(const char *path, const char *statedir, size_t n)
{
	struct dsn why = { 0 };
	struct tlsd_anchors *a = tlsd_anchors_open(path, statedir, &why);
	size_t i;

	if (a == NULL)
		fail_msg("%s: %s", path, why.text);
	for (i = 0; i < 2 * ROOTS; i++)
		if (verifies(a, &leaves[i % ROOTS]) != (i % ROOTS < n))
			fail_msg("%s: leaf %zu of %zu", path, i, n);
	assert_false(verifies(a, &stranger));
	assert_null(tlsd_anchors_failure(a));
	tlsd_anchors_close(a);

	a = tlsd_anchors_open(path, statedir, &why);
	assert_non_null(a);
	for (i = 0; i < 2 * ROOTS; i++)
		if (verifies_copy(a, &leaves[i % ROOTS]) != (i % ROOTS < n))
			fail_msg("%s: leaf %zu of %zu in a copy", path, i, n);
	assert_false(verifies_copy(a, &stranger));
	assert_null(tlsd_anchors_failure(a));
	tlsd_anchors_close(a);
}

static void
check_fails(const char *path, const char *statedir, const char *text)
{
	struct dsn why = { 0 };

	assert_null(tlsd_anchors_open(path, statedir, &why));
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

/* Makes the file old: a new one is not compiled. */
static void
let_it_age(const char *path)
{
	struct timespec t[2] = { { .tv_sec = time(NULL) - 3600 },
		{ .tv_sec = time(NULL) - 3600 } };

	assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
	/* Its ctime is now, whatever its mtime is. */
	sleep(3);
}

static void
test_bundle_as_it_is(void **state)
{
	(void)state;
	make_bundle(testcert_file(dir, "plain.pem"), ROOTS);
	check_all(testcert_file(dir, "plain.pem"), NULL, ROOTS);
	make_bundle(testcert_file(dir, "plain.pem"), 2);
	check_all(testcert_file(dir, "plain.pem"), NULL, 2);
	/* A missing state directory does not matter. */
	check_all(testcert_file(dir, "plain.pem"), "/nonexistent", 2);
}

static void
append_trusted(const char *path, const struct testcert *c)
{
	FILE *f = fopen(path, "a");

	assert_non_null(f);
	assert_int_equal(PEM_write_X509_AUX(f, c->cert), 1);
	fclose(f);
}

#define BEGIN "-----BEGIN CERTIFICATE-----\n"
#define END "-----END CERTIFICATE-----\n"

/* Complete blocks that are not certificates are skipped. */
static void
test_bundle_with_other_things(void **state)
{
	const char *path = testcert_file(dir, "other.pem");

	(void)state;
	testcert_append_text(path, "# a comment\nsubject=/CN=x\n\xff\xfe\r\n");
	testcert_append_text(path, "# -----BEGIN CERTIFICATE-----\n");
	testcert_append_text(path, BEGIN "AAAA\n" END);
	testcert_append_text(path, BEGIN END);
	testcert_append_cert(path, &roots[0]);
	testcert_append_text(path,
	    BEGIN "Proc-Type: 4,ENCRYPTED\n\nAAAA\n" END);
	testcert_append_key(path, &roots[1], NULL);
	testcert_append_key(path, &roots[1], "secret");
	append_trusted(path, &roots[1]);
	testcert_append_text(path,
	    "-----BEGIN X509 CRL-----\nno base64!\n-----END X509 CRL-----\n");
	testcert_append_cert(path, &roots[2]);
	check_all(path, NULL, 3);
}

/* The text of the file without its last line end. */
static void
cut_line_end(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - 1), 0);
}

static void
test_bundle_joined(void **state)
{
	const char *path = testcert_file(dir, "joined.pem");
	size_t i;

	(void)state;
	testcert_append_text(path, "\xef\xbb\xbf");
	for (i = 0; i < ROOTS; i++) {
		testcert_append_cert(path, &roots[i]);
		cut_line_end(path);
	}
	check_all(path, NULL, ROOTS);
}

/* If a certificate may be lost, nothing is verified with the others. */
static void
test_bundle_damaged(void **state)
{
	static const struct {
		const char *name, *text, *why;
	} cases[] = {
		{ "no-end.pem", BEGIN "AAAA\n", "line 3: a block without END" },
		{ "begin.pem", BEGIN "AAAA\n" BEGIN "AAAA\n" END,
		    "line 3: a block without END" },
		{ "base64.pem", BEGIN "AAAA\nAA!A\n" END,
		    "line 5: broken base64" },
		{ "cut.pem", BEGIN "AAAA\nAAA\n" END, "line 3: broken base64" },
		{ "other.pem", BEGIN "AAAA\n-----END X509 CRL-----\n",
		    "line 5: END of another block" },
		{ "end.pem", "AAAA\n" END, "line 4: END without BEGIN" },
		{ "key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n",
		    "line 3: a block without END" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		char why[100];
		const char *path = testcert_file(dir, cases[i].name);

		unlink(path);
		testcert_append_text(path, "first\nsecond\n");
		testcert_append_text(path, cases[i].text);
		testcert_append_cert(path, &roots[0]);
		snprintf(why, sizeof why, "%s: %s", cases[i].name,
		    cases[i].why);
		check_fails(path, NULL, why);
		check_fails(path, dir, why);
	}
}

static void
test_bundle_unusable(void **state)
{
	const char *path = testcert_file(dir, "bad.pem");

	(void)state;
	check_fails(testcert_file(dir, "gone.pem"), NULL,
	    "gone.pem: No such file");
	check_fails(testcert_file(dir, "gone.pem"), dir,
	    "gone.pem: No such file");
	check_fails("", NULL, "No such file");
	check_fails(dir, NULL, "Is a directory");
	check_fails("/dev/null", NULL, "no certificate");
	check_fails("/dev/zero", NULL, "Invalid argument");
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
	assert_int_equal(access(testcert_file(dir, "trustanchors.cdb"), F_OK),
	    -1);
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

/* Whatever the index contains, the results are those of the bundle. */
static void
check_four(const char *path)
{
	struct dsn why = { 0 };
	struct tlsd_anchors *a = tlsd_anchors_open(path, dir, &why);

	assert_non_null(a);
	assert_true(verifies(a, &leaves[1]));
	assert_true(verifies(a, &leaves[3]));
	assert_true(verifies(a, &leaves[0]));
	assert_false(verifies(a, &leaves[4]));
	assert_false(verifies(a, &stranger));
	assert_null(tlsd_anchors_failure(a));
	tlsd_anchors_close(a);
}

static void
test_bundle_compiled(void **state)
{
	const char *path = testcert_file(dir, "bundle.pem");
	const char *cdb = testcert_file(dir, "trustanchors.cdb");
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

	/* Damaged at any place. */
	for (i = 0; i < (size_t)after.st_size; i += 61) {
		flip_byte(cdb, (off_t)i % after.st_size);
		check_four(path);
		assert_int_equal(stat(cdb, &after), 0);
	}
	/* The bundle has changed, so the index is ignored. */
	make_bundle(path, ROOTS);
	check_all(path, dir, ROOTS);
	make_bundle(path, 1);
	check_all(path, dir, 1);
	unlink(path);
	check_fails(path, dir, "No such file");
}

/*
 * A bundle, and an index of it made by an attacker: everything is valid except
 * what it says.
 */
struct forgery {
	char *path;
	struct stat st;
	struct buf text;
};

static void
forge(const struct forgery *f, const struct testcert *name,
    const struct compiled_place *place, size_t n)
{
	int fd = open(f->path, O_RDONLY);
	struct compiling *c =
	    compiling_begin(testcert_file(dir, "trustanchors.cdb"),
		testcert_file(dir, "trustanchors.lock"), fd, &f->st);
	char key[9];

	assert_non_null(c);
	snprintf(key, sizeof key, "%08lx",
	    X509_NAME_hash_ex(X509_get_subject_name(name->cert), NULL, NULL,
		NULL));
	for (size_t i = 0; i < n; i++)
		compiling_add(c, key, 8, &place[i]);
	assert_int_equal(compiling_end(c, fd), 0);
	close(fd);
}

/* The place of a certificate in the bundle. */
static struct compiled_place
place_in(const struct forgery *f, const struct testcert *c)
{
	struct compiled_place place = { 0 };
	BIO *bio = BIO_new(BIO_s_mem());
	const char *found;
	char *pem;
	long n;

	assert_int_equal(PEM_write_bio_X509(bio, c->cert), 1);
	n = BIO_get_mem_data(bio, &pem) - 1;
	for (found = f->text.data; memcmp(found, pem, (size_t)n) != 0; found++)
		assert_true(found + n < f->text.data + f->text.len);
	place.offset = (uint64_t)(found - f->text.data);
	place.length = (uint64_t)n;
	BIO_free(bio);
	return place;
}

static void
expect_verdicts(const struct forgery *f, const char *what)
{
	struct dsn why = { 0 };
	struct tlsd_anchors *a;
	size_t i;

	for (i = 0; i < ROOTS; i++) {
		a = tlsd_anchors_open(f->path, dir, &why);
		assert_non_null(a);
		if (verifies(a, &leaves[i]) != (i != 1))
			fail_msg("%s: leaf %zu", what, i);
		assert_null(tlsd_anchors_failure(a));
		tlsd_anchors_close(a);
		a = tlsd_anchors_open(f->path, dir, &why);
		assert_non_null(a);
		if (verifies_copy(a, &leaves[i]) != (i != 1))
			fail_msg("%s: leaf %zu in a copy", what, i);
		tlsd_anchors_close(a);
	}
	a = tlsd_anchors_open(f->path, dir, &why);
	assert_non_null(a);
	assert_false(verifies(a, &stranger));
	tlsd_anchors_close(a);
}

/*
 * A bundle of all roots but one.  That one is in the bundle too, but not as a
 * certificate: in a comment, in a line with other text.  No index makes it an
 * anchor, and none hides the others.
 */
static void
test_bundle_forged_index(void **state)
{
	struct forgery f = { .path = strdup(testcert_file(dir, "forged.pem")) };
	struct compiled_place place, many[SAME], odd;
	struct testcert *impostor = &roots[1];
	size_t i;

	(void)state;
	unlink(f.path);
	testcert_append_text(f.path, "# ");
	testcert_append_cert(f.path, impostor);
	check_fails(f.path, NULL, "END without BEGIN");
	cut_line_end(f.path);
	testcert_append_text(f.path, " is the old one.\n");
	for (i = 0; i < ROOTS; i++)
		if (i != 1)
			testcert_append_cert(f.path, &roots[i]);
	let_it_age(f.path);
	assert_int_equal(stat(f.path, &f.st), 0);
	assert_int_equal(fdio_read_file(f.path, 1 << 20, &f.text), 0);
	expect_verdicts(&f, "no index");

	place = place_in(&f, impostor);
	forge(&f, impostor, &place, 1);
	expect_verdicts(&f, "not at the beginning of a line");
	forge(&f, &roots[0], &place, 1);
	expect_verdicts(&f, "another name");
	odd = place_in(&f, &roots[0]);
	forge(&f, impostor, &odd, 1);
	expect_verdicts(&f, "a certificate of another name");
	odd.length--;
	forge(&f, &roots[0], &odd, 1);
	expect_verdicts(&f, "cut");
	odd.length += 3;
	forge(&f, &roots[0], &odd, 1);
	expect_verdicts(&f, "more than a block");
	odd.offset = 0;
	forge(&f, &roots[0], &odd, 1);
	expect_verdicts(&f, "no block");
	odd.length = f.text.len;
	forge(&f, impostor, &odd, 1);
	expect_verdicts(&f, "all");
	odd.offset = UINT64_MAX;
	odd.length = 2;
	forge(&f, impostor, &odd, 1);
	expect_verdicts(&f, "outside");
	forge(&f, impostor, NULL, 0);
	expect_verdicts(&f, "nothing");
	/* One of two with the same name. */
	odd = place_in(&f, &roots[3]);
	forge(&f, &roots[3], &odd, 1);
	expect_verdicts(&f, "half");
	for (i = 0; i < SAME; i++)
		many[i] = place;
	forge(&f, impostor, many, SAME);
	expect_verdicts(&f, "many");
	buf_finish(&f.text);
	free(f.path);
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

		/* two with the same hash: .0 and .1 */
		snprintf(link, sizeof link, "%08lx.%d",
		    X509_NAME_hash_ex(X509_get_subject_name(roots[i].cert),
			NULL, NULL, NULL),
		    i == 4);
		testcert_append_cert(testcert_file(dir, link), &roots[i]);
	}
	check_all(name, NULL, ROOTS);
	check_all(name, dir, ROOTS);
	check_fails("/nonexistent/", NULL, "No such file");
	check_fails("/dev/null/", NULL, "Not a directory");
}

/* A file that cannot be used is a failure of ours, if it is needed. */
static void
test_directory_damaged(void **state)
{
	struct dsn why = { 0 };
	char name[4096], link[64], *damaged;
	struct tlsd_anchors *a;

	(void)state;
	snprintf(name, sizeof name, "%s/", dir);
	snprintf(link, sizeof link, "%08lx.0",
	    X509_NAME_hash_ex(X509_get_subject_name(roots[1].cert), NULL, NULL,
		NULL));
	damaged = strdup(testcert_file(dir, link));
	assert_int_equal(unlink(damaged), 0);
	testcert_append_text(damaged, "first\n" BEGIN "AAAA\n");

	a = tlsd_anchors_open(name, NULL, &why);
	assert_non_null(a);
	assert_true(verifies(a, &leaves[0]));
	assert_null(tlsd_anchors_failure(a));
	assert_false(verifies(a, &leaves[1]));
	assert_non_null(tlsd_anchors_failure(a));
	assert_string_equal(tlsd_anchors_failure(a)->status, "4.3.5");
	assert_non_null(strstr(tlsd_anchors_failure(a)->text, link));
	assert_non_null(strstr(tlsd_anchors_failure(a)->text,
	    "line 2: a block without END"));
	tlsd_anchors_close(a);

	/* A FIFO does not block; a dangling link is skipped. */
	assert_int_equal(unlink(damaged), 0);
	assert_int_equal(mkfifo(damaged, 0600), 0);
	a = tlsd_anchors_open(name, NULL, &why);
	assert_false(verifies(a, &leaves[1]));
	assert_non_null(tlsd_anchors_failure(a));
	tlsd_anchors_close(a);
	assert_int_equal(unlink(damaged), 0);
	assert_int_equal(symlink("nowhere", damaged), 0);
	a = tlsd_anchors_open(name, NULL, &why);
	assert_false(verifies(a, &leaves[1]));
	assert_null(tlsd_anchors_failure(a));
	tlsd_anchors_close(a);
	damaged[strlen(damaged) - 1] = '1';
	testcert_append_cert(damaged, &roots[1]);
	a = tlsd_anchors_open(name, NULL, &why);
	assert_true(verifies(a, &leaves[1]));
	tlsd_anchors_close(a);
	free(damaged);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bundle_as_it_is),
		cmocka_unit_test(test_bundle_with_other_things),
		cmocka_unit_test(test_bundle_joined),
		cmocka_unit_test(test_bundle_damaged),
		cmocka_unit_test(test_bundle_unusable),
		cmocka_unit_test(test_bundle_compiled),
		cmocka_unit_test(test_bundle_forged_index),
		cmocka_unit_test(test_directory),
		cmocka_unit_test(test_directory_damaged),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
