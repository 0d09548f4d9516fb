/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/compiled.h"
#include "base/fdio.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define CDB "x.cdb"
#define LOCK "x.lock"
#define TEMPORARY "x.cdb.new"

static char home[] = "/tmp/test_compiled.XXXXXX";
static int source = -1; /* old enough to be compiled */
static struct stat source_stat;

static void
nap(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&t, &t) == -1 && errno == EINTR)
		;
}

static int
enter_home(void **state)
{
	(void)state;
	if (!mkdtemp(home) || chdir(home) == -1)
		return -1;
	source = open("source", O_RDWR | O_CREAT, 0600);
	nap(2050);
	return source == -1 ? -1 : fstat(source, &source_stat);
}

static int
clear_home(void **state)
{
	(void)state;
	if (unlink(CDB) == -1 && errno != ENOENT)
		rmdir(CDB);
	unlink(LOCK);
	unlink(TEMPORARY);
	return 0;
}

static int
leave_home(void **state)
{
	clear_home(state);
	return close(source) == -1 || unlink("source") == -1 ||
	       chdir("/") == -1 || rmdir(home) == -1;
}

static struct compiling *
begin(void)
{
	return compiling_begin(CDB, LOCK, &source_stat);
}

static struct compiled *
reopen(void)
{
	return compiled_open(CDB, &source_stat);
}

static void
add(struct compiling *c, const char *key, const char *value)
{
	compiling_add(c, key, strlen(key), value, strlen(value));
}

/* The n-th value as text, "(absent)" or "(damaged)". */
static const char *
find(struct compiled *c, const char *key, unsigned n)
{
	static char text[64];
	const void *value;
	size_t len;

	switch (compiled_find(c, key, strlen(key), n, &value, &len)) {
	case COMPILED_ABSENT:
		return "(absent)";
	case COMPILED_DAMAGED:
		return "(damaged)";
	case COMPILED_FOUND:
		break;
	}
	snprintf(text, sizeof text, "%.*s", (int)len, (const char *)value);
	return text;
}

static void
compile_one(const char *key, const char *value)
{
	struct compiling *c = begin();

	assert_non_null(c);
	add(c, key, value);
	assert_int_equal(compiling_end(c, source), 0);
}

static void
expect_one(const char *key, const char *value)
{
	struct compiled *c = reopen();

	assert_non_null(c);
	assert_string_equal(find(c, key, 0), value);
	compiled_close(c);
	assert_int_equal(access(TEMPORARY, F_OK), -1);
}

static void
finds_what_was_added(void **state)
{
	static const struct {
		const char *key;
		unsigned n;
		const char *value;
	} cases[] = {
		{ "a", 0, "one" },
		{ "a", 1, "two" },
		{ "a", 2, "one" },
		{ "a", 3, "(absent)" },
		{ "", 0, "empty key" },
		{ "", 1, "(absent)" },
		{ "empty", 0, "" },
		{ "source", 0, "mine" },
		{ "source", 1, "(absent)" },
		{ "b", 0, "(absent)" },
		{ "=a", 0, "(absent)" },
	};
	struct compiling *c = begin();
	struct compiled *r;

	(void)state;
	assert_non_null(c);
	add(c, "a", "one");
	add(c, "", "empty key");
	add(c, "a", "two");
	add(c, "empty", "");
	add(c, "source", "mine");
	add(c, "a", "one");
	assert_int_equal(compiling_end(c, source), 0);
	r = reopen();
	assert_non_null(r);
	for (size_t i = 0; i < COUNT(cases); i++)
		if (strcmp(find(r, cases[i].key, cases[i].n), cases[i].value))
			fail_msg("%s, %u: %s", cases[i].key, cases[i].n,
			    find(r, cases[i].key, cases[i].n));
	compiled_close(r);
}

static void
keeps_bytes_of_any_kind(void **state)
{
	static const char key[] = "k\0\n=", other[] = "k\0\n+";
	static char large[100001];
	struct compiling *c = begin();
	struct compiled *r;
	const void *first, *second;
	size_t len1, len2;

	(void)state;
	memset(large, '\xff', sizeof large);
	large[7] = '\0';
	assert_non_null(c);
	compiling_add(c, key, sizeof key, large, sizeof large);
	compiling_add(c, large, sizeof large, key, sizeof key);
	assert_int_equal(compiling_end(c, source), 0);
	r = reopen();
	assert_non_null(r);
	assert_int_equal(compiled_find(r, key, sizeof key, 0, &first, &len1),
	    COMPILED_FOUND);
	assert_int_equal(compiled_find(r, large, sizeof large, 0, &second,
			     &len2),
	    COMPILED_FOUND);
	assert_int_equal(len1, sizeof large);
	assert_memory_equal(first, large, len1);
	assert_int_equal(len2, sizeof key);
	assert_memory_equal(second, key, len2);
	assert_int_equal(compiled_find(r, other, sizeof other, 0, &first,
			     &len1),
	    COMPILED_ABSENT);
	compiled_close(r);
}

static void
holds_many(void **state)
{
	struct compiling *c = begin();
	struct compiled *r;
	char key[16], value[16];

	(void)state;
	assert_non_null(c);
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(key, sizeof key, "k%u", i);
		snprintf(value, sizeof value, "v%u", i * 3);
		add(c, key, value);
	}
	assert_int_equal(compiling_end(c, source), 0);
	r = reopen();
	assert_non_null(r);
	for (unsigned i = 0; i < 20000; i += 7) {
		snprintf(key, sizeof key, "k%u", i);
		snprintf(value, sizeof value, "v%u", i * 3);
		assert_string_equal(find(r, key, 0), value);
		snprintf(key, sizeof key, "k%u", i + 20000);
		assert_string_equal(find(r, key, 0), "(absent)");
	}
	compiled_close(r);
}

static void
may_be_empty(void **state)
{
	(void)state;
	assert_int_equal(compiling_end(begin(), source), 0);
	expect_one("a", "(absent)");
}

static void
belongs_to_one_source(void **state)
{
	struct stat st = source_stat;
	struct compiled *c;

	(void)state;
	compile_one("a", "b");
#define OTHER(field) \
	do { \
		st.field++; \
		c = compiled_open(CDB, &st); \
		st.field--; \
		if (c) \
			fail_msg("another " #field " went unseen"); \
	} while (0)
	OTHER(st_dev);
	OTHER(st_ino);
	OTHER(st_size);
	OTHER(st_mtim.tv_sec);
	OTHER(st_mtim.tv_nsec);
	OTHER(st_ctim.tv_sec);
	OTHER(st_ctim.tv_nsec);
#undef OTHER
	expect_one("a", "b");
}

static void
waits_until_the_source_is_cold(void **state)
{
	struct stat st = source_stat;
	struct timespec now;

	(void)state;
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
	st.st_ctim = now;
	assert_null(compiling_begin(CDB, LOCK, &st));
	st.st_ctim.tv_sec = now.tv_sec - 1;
	assert_null(compiling_begin(CDB, LOCK, &st));
	st.st_ctim.tv_sec = now.tv_sec + 1;
	assert_null(compiling_begin(CDB, LOCK, &st));
	/* From before the clock was set back. */
	st.st_ctim.tv_sec = now.tv_sec + 3600;
	compiling_abort(compiling_begin(CDB, LOCK, &st));
}

static void
gives_up_when_the_source_changes(void **state)
{
	struct compiling *c;
	int fd = open("other", O_RDWR | O_CREAT, 0600);
	struct stat st;

	(void)state;
	compile_one("a", "old");
	nap(2050);
	assert_int_equal(fstat(fd, &st), 0);
	c = compiling_begin(CDB, LOCK, &st);
	assert_non_null(c);
	add(c, "a", "new");
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(compiling_end(c, fd), -1);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink("other"), 0);
	expect_one("a", "old");
	/* A descriptor of another file is a change as well. */
	c = begin();
	assert_non_null(c);
	assert_int_equal(compiling_end(c, 0), -1);
	expect_one("a", "old");
}

static void
compiles_one_at_a_time(void **state)
{
	struct compiling *c = begin();

	(void)state;
	assert_non_null(c);
	assert_null(begin());
	add(c, "a", "b");
	assert_int_equal(compiling_end(c, source), 0);
	expect_one("a", "b");
	c = begin();
	assert_non_null(c);
	compiling_abort(c);
	expect_one("a", "b");
	compile_one("a", "c");
	expect_one("a", "c");
}

static void
removes_what_was_left(void **state)
{
	int fd = open(TEMPORARY, O_WRONLY | O_CREAT, 0400);

	(void)state;
	assert_int_equal(write(fd, "junk", 4), 4);
	assert_int_equal(close(fd), 0);
	compile_one("a", "b");
	expect_one("a", "b");
	/* Never through a link that somebody put there. */
	assert_int_equal(symlink("source", TEMPORARY), 0);
	compile_one("a", "c");
	expect_one("a", "c");
	assert_int_equal(fstat(source, &source_stat), 0);
	assert_int_equal(source_stat.st_size, 0);
}

static void
is_for_the_group_too(void **state)
{
	mode_t mask = umask(077);
	struct stat st;

	(void)state;
	compile_one("a", "b");
	umask(mask);
	assert_int_equal(stat(CDB, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(stat(LOCK, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void
needs_a_place_to_write(void **state)
{
	(void)state;
	assert_null(compiling_begin("no/" CDB, "no/" LOCK, &source_stat));
	assert_null(compiling_begin("no/" CDB, LOCK, &source_stat));
	assert_null(compiling_begin(CDB, "no/" LOCK, &source_stat));
	assert_null(compiling_begin(CDB, ".", &source_stat));
	assert_null(compiled_open("no/" CDB, &source_stat));
	assert_int_equal(mkdir(CDB, 0700), 0);
	assert_null(begin());
	assert_null(reopen());
	assert_int_equal(access(TEMPORARY, F_OK), -1);
}

/* A full disk, as near as one gets to it without being root. */
static void
survives_a_full_disk(void **state)
{
	static const rlim_t limits[] = { 0, 1, 2048, 4000, 4096, 4300, 8192,
		100000 };
	struct rlimit rl, saved;
	char key[16];

	(void)state;
	compile_one("a", "old");
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
	rl = saved;
	for (size_t i = 0; i < COUNT(limits); i++) {
		struct compiling *c = begin();
		int result;

		assert_non_null(c);
		rl.rlim_cur = limits[i];
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &rl), 0);
		for (unsigned k = 0; k < 5000; k++) {
			snprintf(key, sizeof key, "%u", k);
			add(c, key, key);
		}
		result = compiling_end(c, source);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
		if (result != -1)
			fail_msg("no failure at %zu", i);
		expect_one("a", "old");
	}
	assert_true(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
}

static void
put(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd != -1);
	assert_int_equal(write(fd, data, n), n);
	assert_int_equal(close(fd), 0);
}

static void
refuses_what_is_no_cdb(void **state)
{
	static char zeros[10000];

	assert_null(reopen());
	put(CDB, "", 0);
	assert_null(reopen());
	put(CDB, zeros, sizeof zeros);
	assert_null(reopen());
	memset(zeros, 'x', sizeof zeros);
	put(CDB, zeros, sizeof zeros);
	assert_null(reopen());
	clear_home(state);
	assert_int_equal(mkfifo(CDB, 0600), 0);
	assert_null(reopen());
	clear_home(state);
	compile_one("a", "b");
	assert_int_equal(rename(CDB, "target"), 0);
	assert_int_equal(symlink("target", CDB), 0);
	assert_null(reopen());
	assert_int_equal(unlink("target"), 0);
	clear_home(state);
	assert_int_equal(symlink("/dev/zero", CDB), 0);
	assert_null(reopen());
}

static const char *const words[] = { "", "a", "b", "c.example", ".example",
	"mx", "zz", "source" };

/* Values differ from key to key, so that a mix-up shows. */
static void
compile_words(struct buf *image)
{
	struct compiling *c = begin();

	assert_non_null(c);
	for (size_t i = 0; i < COUNT(words); i++) {
		char value[32];

		snprintf(value, sizeof value, "value of %s", words[i]);
		add(c, words[i], value);
		add(c, words[i], "second");
	}
	assert_int_equal(compiling_end(c, source), 0);
	assert_int_equal(fdio_read_file(CDB, 1 << 20, image), 0);
}

/*
 * However the file is damaged, an answer is the right one or none.  Returns
 * whether the damage was seen.
 */
static bool
never_lies(const char *what, size_t where)
{
	static const char *const absent[] = { "d", ".c.example", "=", "bb" };
	struct compiled *c = reopen();
	bool seen = false;

	if (!c)
		return true;
	for (size_t i = 0; i < COUNT(words); i++) {
		char want[32];
		const char *got = find(c, words[i], 0);

		snprintf(want, sizeof want, "value of %s", words[i]);
		if (strcmp(got, "(damaged)") == 0)
			seen = true;
		else if (strcmp(got, want) != 0)
			fail_msg("%s at %zu: %s", what, where, got);
		got = find(c, words[i], 1);
		if (strcmp(got, "(damaged)") == 0)
			seen = true;
		else if (strcmp(got, "second") != 0)
			fail_msg("%s at %zu: %s", what, where, got);
	}
	for (size_t i = 0; i < COUNT(absent); i++) {
		const char *got = find(c, absent[i], 0);

		if (strcmp(got, "(damaged)") == 0)
			seen = true;
		else if (strcmp(got, "(absent)") != 0)
			fail_msg("%s at %zu: %s", what, where, got);
	}
	compiled_close(c);
	return seen;
}

static void
never_lies_about_a_flipped_bit(void **state)
{
	struct buf image = { 0 };
	size_t unseen = 0;

	(void)state;
	compile_words(&image);
	assert_false(never_lies("nothing", 0));
	for (size_t i = 0; i < image.len; i++) {
		image.data[i] = (char)(image.data[i] ^ 1 << i % 8);
		put(CDB, image.data, image.len);
		image.data[i] = (char)(image.data[i] ^ 1 << i % 8);
		unseen += !never_lies("bit", i);
	}
	/* Two slots of a hash table are for the stamp alone: no key's. */
	assert_int_equal(unseen, 16);
	buf_finish(&image);
}

static void
never_lies_about_a_cut(void **state)
{
	struct buf image = { 0 };

	(void)state;
	compile_words(&image);
	for (size_t n = 0; n < image.len; n += 1 + n % 7) {
		put(CDB, image.data, n);
		assert_null(reopen());
		/* Cut while it is open: as long as the front was read. */
		put(CDB, image.data, image.len);
		struct compiled *c = reopen();
		assert_non_null(c);
		assert_int_equal(truncate(CDB, (off_t)n), 0);
		assert_string_not_equal(find(c, "a", 0), "(absent)");
		assert_string_not_equal(find(c, "d", 0), "value of d");
		compiled_close(c);
	}
	put(CDB, image.data, image.len);
	assert_int_equal(truncate(CDB, (off_t)image.len + 1), 0);
	assert_null(reopen());
	buf_finish(&image);
}

/* COMPILED_TRIALS asks for more than what suits every day. */
static void
never_lies_about_any_damage(void **state)
{
	const char *wanted = getenv("COMPILED_TRIALS");
	long trials = wanted ? atol(wanted) : 5000;
	struct buf image = { 0 }, bad = { 0 };

	(void)state;
	compile_words(&image);
	srand(1);
	for (long i = 0; i < trials; i++) {
		size_t n = (size_t)rand() % 8 + 1;

		buf_cut(&bad, 0);
		buf_append(&bad, image.data, image.len);
		while (n-- > 0) {
			/* Beyond the front as often as in it. */
			size_t from = rand() % 2 ? 4200 : 0;
			size_t at = from + (size_t)rand() % (image.len - from);

			bad.data[at] = (char)rand();
			if (rand() % 4 == 0)
				memset(bad.data + at, 0,
				    image.len - at < 8 ? image.len - at : 8);
		}
		put(CDB, bad.data, image.len);
		never_lies("trial", (size_t)i);
	}
	buf_finish(&image);
	buf_finish(&bad);
}

static void
expect_old(void)
{
	struct compiled *c = reopen();

	assert_non_null(c);
	assert_string_equal(find(c, "a", 0), "old");
	compiled_close(c);
}

/* A process killed at any moment leaves nothing that is believed. */
static void
survives_a_killed_compiler(void **state)
{
	(void)state;
	compile_one("a", "old");
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		assert_true(pid != -1);
		if (pid == 0) {
			for (;;) {
				struct compiling *c = begin();
				char key[16];

				for (unsigned k = 0; c && k < 500; k++) {
					snprintf(key, sizeof key, "%u", k);
					add(c, key, key);
				}
				if (c)
					add(c, "a", "old");
				if (c && compiling_end(c, source) != 0)
					_exit(1);
			}
		}
		nap(1 + i % 5);
		expect_old();
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		expect_old();
	}
	compile_one("a", "new");
	expect_one("a", "new");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(finds_what_was_added, clear_home),
		cmocka_unit_test_teardown(keeps_bytes_of_any_kind, clear_home),
		cmocka_unit_test_teardown(holds_many, clear_home),
		cmocka_unit_test_teardown(may_be_empty, clear_home),
		cmocka_unit_test_teardown(belongs_to_one_source, clear_home),
		cmocka_unit_test_teardown(waits_until_the_source_is_cold,
		    clear_home),
		cmocka_unit_test_teardown(gives_up_when_the_source_changes,
		    clear_home),
		cmocka_unit_test_teardown(compiles_one_at_a_time, clear_home),
		cmocka_unit_test_teardown(removes_what_was_left, clear_home),
		cmocka_unit_test_teardown(is_for_the_group_too, clear_home),
		cmocka_unit_test_teardown(needs_a_place_to_write, clear_home),
		cmocka_unit_test_teardown(survives_a_full_disk, clear_home),
		cmocka_unit_test_teardown(refuses_what_is_no_cdb, clear_home),
		cmocka_unit_test_teardown(never_lies_about_a_flipped_bit,
		    clear_home),
		cmocka_unit_test_teardown(never_lies_about_a_cut, clear_home),
		cmocka_unit_test_teardown(never_lies_about_any_damage,
		    clear_home),
		cmocka_unit_test_teardown(survives_a_killed_compiler,
		    clear_home),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
