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

#include "io/compiled.h"
#include "io/fdio.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define CDB "x.cdb"
#define LOCK "x.lock"
#define TEMPORARY "x.cdb.new"

static char home[] = "/tmp/test_compiled.XXXXXX";
#define SOURCE_SIZE 1000000

static int source = -1; /* old enough to be compiled at once */
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
	if (source == -1 || ftruncate(source, SOURCE_SIZE) == -1)
		return -1;
	nap(2050);
	return fstat(source, &source_stat);
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

static int64_t
monotonic_ms(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct compiling *
begin_at(const char *path, const char *lock)
{
	return compiling_begin(path, lock, source, &source_stat);
}

static struct compiling *
begin(void)
{
	return begin_at(CDB, LOCK);
}

static struct compiled *
reopen(void)
{
	return compiled_open(CDB, &source_stat);
}

/* What find() returns if there is no place. */
enum { ABSENT = -1, DAMAGED = -2 };

/* The length is the offset less one, so that a mix-up shows. */
static void
add(struct compiling *c, const char *key, int offset)
{
	struct compiled_place place = { (uint64_t)offset,
		(uint64_t)offset - 1 };

	compiling_add(c, key, strlen(key), &place);
}

/* The offset of the n-th place. */
static int
find(struct compiled *c, const char *key, unsigned n)
{
	struct compiled_place place = { 0 };

	switch (compiled_find(c, key, strlen(key), n, &place)) {
	case COMPILED_ABSENT:
		return ABSENT;
	case COMPILED_DAMAGED:
		return DAMAGED;
	case COMPILED_FOUND:
		break;
	}
	assert_int_equal(place.length, place.offset - 1);
	return (int)place.offset;
}

static void
compile_one(const char *key, int offset)
{
	struct compiling *c = begin();

	assert_non_null(c);
	add(c, key, offset);
	assert_int_equal(compiling_end(c, source), 0);
}

static void
expect_one(const char *key, int offset)
{
	struct compiled *c = reopen();

	assert_non_null(c);
	assert_int_equal(find(c, key, 0), offset);
	compiled_close(c);
	assert_int_equal(access(TEMPORARY, F_OK), -1);
}

static void
finds_what_was_added(void **state)
{
	static const struct {
		const char *key;
		unsigned n;
		int offset;
	} cases[] = {
		{ "a", 0, 10 },
		{ "a", 1, 20 },
		{ "a", 2, 60 },
		{ "a", 3, ABSENT },
		{ "", 0, 30 },
		{ "", 1, ABSENT },
		{ "source", 0, 50 },
		{ "source", 1, ABSENT },
		{ "b", 0, ABSENT },
		{ "=a", 0, ABSENT },
	};
	struct compiling *c = begin();
	struct compiled *r;

	(void)state;
	assert_non_null(c);
	add(c, "a", 60);
	add(c, "", 30);
	add(c, "a", 20);
	add(c, "source", 50);
	add(c, "a", 10);
	assert_int_equal(compiling_end(c, source), 0);
	r = reopen();
	assert_non_null(r);
	for (size_t i = 0; i < COUNT(cases); i++)
		if (find(r, cases[i].key, cases[i].n) != cases[i].offset)
			fail_msg("%s, %u: %d", cases[i].key, cases[i].n,
			    find(r, cases[i].key, cases[i].n));
	compiled_close(r);
}

static void
accepts_any_bytes(void **state)
{
	static const char key[] = "k\0\n=", other[] = "k\0\n+";
	static char large[COMPILED_KEY_MAX + 1];
	static const struct compiled_place one = { 1, 2 }, two = { 3, 0 };
	struct compiling *c = begin();
	struct compiled_place place;
	struct compiled *r;

	(void)state;
	memset(large, '\xff', sizeof large);
	large[7] = '\0';
	assert_non_null(c);
	compiling_add(c, key, sizeof key, &one);
	compiling_add(c, large, COMPILED_KEY_MAX, &two);
	/* This key cannot be looked up. */
	compiling_add(c, large, COMPILED_KEY_MAX + 1, &one);
	assert_int_equal(compiling_end(c, source), 0);
	r = reopen();
	assert_non_null(r);
	assert_int_equal(compiled_find(r, key, sizeof key, 0, &place),
	    COMPILED_FOUND);
	assert_int_equal(place.offset, 1);
	assert_int_equal(place.length, 2);
	assert_int_equal(compiled_find(r, large, COMPILED_KEY_MAX, 0, &place),
	    COMPILED_FOUND);
	assert_int_equal(place.offset, 3);
	assert_int_equal(place.length, 0);
	assert_int_equal(compiled_find(r, other, sizeof other, 0, &place),
	    COMPILED_ABSENT);
	assert_int_equal(compiled_find(r, large, COMPILED_KEY_MAX + 1, 0,
			     &place),
	    COMPILED_DAMAGED);
	compiled_close(r);
}

/* A place outside the source is damage and is never read. */
static void
never_leaves_the_source(void **state)
{
	static const struct {
		struct compiled_place place;
		enum compiled_result result;
	} cases[] = {
		{ { 0, 0 }, COMPILED_FOUND },
		{ { 0, SOURCE_SIZE }, COMPILED_FOUND },
		{ { SOURCE_SIZE, 0 }, COMPILED_FOUND },
		{ { 0, SOURCE_SIZE + 1 }, COMPILED_DAMAGED },
		{ { 1, SOURCE_SIZE }, COMPILED_DAMAGED },
		{ { SOURCE_SIZE + 1, 0 }, COMPILED_DAMAGED },
		{ { UINT64_MAX, 1 }, COMPILED_DAMAGED },
		{ { UINT64_MAX, COMPILED_LENGTH_MAX }, COMPILED_DAMAGED },
	};
	struct compiling *c = begin();
	struct compiled_place place;
	struct compiled *r;
	unsigned char key;

	(void)state;
	assert_non_null(c);
	for (key = 0; key < COUNT(cases); key++)
		compiling_add(c, &key, 1, &cases[key].place);
	assert_int_equal(compiling_end(c, source), 0);
	r = reopen();
	assert_non_null(r);
	for (key = 0; key < COUNT(cases); key++)
		if (compiled_find(r, &key, 1, 0, &place) != cases[key].result)
			fail_msg("place %u", key);
	compiled_close(r);

	/* Too long to be read with bounded memory. */
	c = begin();
	assert_non_null(c);
	place = (struct compiled_place){ 0, COMPILED_LENGTH_MAX + 1 };
	compiling_add(c, "a", 1, &place);
	assert_int_equal(compiling_end(c, source), -1);
}

/*
 * In a hash table of one key every look-up walks past all other records of it.
 */
static void
holds_one_key_very_often(void **state)
{
	struct compiling *c = begin();
	struct compiled *r;
	struct stat st;

	(void)state;
	assert_non_null(c);
	for (int i = 0; i < 200000; i++)
		add(c, i % 2 ? "a" : "b", 2 + i);
	add(c, "c", 1);
	assert_int_equal(compiling_end(c, source), 0);
	assert_int_equal(stat(CDB, &st), 0);
	r = reopen();
	assert_non_null(r);
	assert_int_equal(find(r, "b", 0), 200000);
	assert_int_equal(find(r, "a", 0), 200001);
	assert_int_equal(find(r, "a", 63), 200001 - 2 * 63);
	assert_int_equal(find(r, "a", 64), DAMAGED);
	assert_int_equal(find(r, "c", 0), 1);
	compiled_close(r);
}

static void
holds_many(void **state)
{
	struct compiling *c = begin();
	struct compiled *r;
	char key[16];

	(void)state;
	assert_non_null(c);
	for (int i = 0; i < 20000; i++) {
		snprintf(key, sizeof key, "k%d", i);
		add(c, key, i * 3 + 1);
	}
	assert_int_equal(compiling_end(c, source), 0);
	r = reopen();
	assert_non_null(r);
	for (int i = 0; i < 20000; i += 7) {
		snprintf(key, sizeof key, "k%d", i);
		assert_int_equal(find(r, key, 0), i * 3 + 1);
		snprintf(key, sizeof key, "k%d", i + 20000);
		assert_int_equal(find(r, key, 0), ABSENT);
	}
	compiled_close(r);
}

static void
may_be_empty(void **state)
{
	(void)state;
	assert_int_equal(compiling_end(begin(), source), 0);
	expect_one("a", ABSENT);
}

static void
belongs_to_one_source(void **state)
{
	struct stat st = source_stat;
	struct compiled *c;

	(void)state;
	compile_one("a", 5);
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
	expect_one("a", 5);
}

/*
 * Milliseconds that compiling_begin() takes for a source that has just changed;
 * -1 if it returns NULL.
 */
static int64_t
time_to_begin(int fd, const struct stat *st)
{
	int64_t start = monotonic_ms();
	struct compiling *c = compiling_begin(CDB, LOCK, fd, st);

	if (!c)
		return -1;
	compiling_abort(c);
	return monotonic_ms() - start;
}

/* Two changes within a tick have the same times. */
static void
waits_for_the_tick_of_the_last_change(void **state)
{
	int fd = open("other", O_RDWR | O_CREAT, 0600);
	struct stat st, changed;

	(void)state;
	/* The fraction may be zero by chance. */
	do
		assert_int_equal(write(fd, "x", 1), 1);
	while (fstat(fd, &st) == 0 && st.st_ctim.tv_nsec == 0);
	assert_true(time_to_begin(fd, &st) >= 50);
	changed = st;
	changed.st_size++;
	assert_int_equal(time_to_begin(fd, &changed), -1);
	/* On a file system without fractions. */
	st.st_ctim.tv_nsec = 0;
	assert_int_equal(time_to_begin(fd, &st), -1);
	/* On a file server whose clock is a little ahead. */
	st.st_ctim.tv_sec++;
	assert_int_equal(time_to_begin(fd, &st), -1);
	/* Before the clock was set back. */
	st.st_ctim.tv_sec += 3600;
	assert_true(time_to_begin(fd, &st) >= 0);
	st.st_ctim.tv_sec -= 7200;
	assert_true(time_to_begin(fd, &st) >= 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink("other"), 0);
}

static void
gives_up_when_the_source_changes(void **state)
{
	struct compiling *c;
	int fd = open("other", O_RDWR | O_CREAT, 0600);
	struct stat st;

	(void)state;
	compile_one("a", 7);
	assert_int_equal(fstat(fd, &st), 0);
	c = compiling_begin(CDB, LOCK, fd, &st);
	assert_non_null(c);
	add(c, "a", 8);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(compiling_end(c, fd), -1);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink("other"), 0);
	expect_one("a", 7);
	/* A descriptor of another file counts as a change. */
	c = begin();
	assert_non_null(c);
	assert_int_equal(compiling_end(c, 0), -1);
	expect_one("a", 7);
}

static void
compiles_one_at_a_time(void **state)
{
	struct compiling *c = begin();

	(void)state;
	assert_non_null(c);
	assert_null(begin());
	add(c, "a", 5);
	assert_int_equal(compiling_end(c, source), 0);
	expect_one("a", 5);
	c = begin();
	assert_non_null(c);
	compiling_abort(c);
	expect_one("a", 5);
	compile_one("a", 6);
	expect_one("a", 6);
}

static void
removes_an_old_temporary_file(void **state)
{
	int fd = open(TEMPORARY, O_WRONLY | O_CREAT, 0400);

	(void)state;
	assert_int_equal(write(fd, "junk", 4), 4);
	assert_int_equal(close(fd), 0);
	compile_one("a", 5);
	expect_one("a", 5);
	/* Never through a link. */
	assert_int_equal(symlink("source", TEMPORARY), 0);
	compile_one("a", 6);
	expect_one("a", 6);
	assert_int_equal(fstat(source, &source_stat), 0);
	assert_int_equal(source_stat.st_size, SOURCE_SIZE);
}

static void
gives_the_group_access(void **state)
{
	mode_t mask = umask(077);
	struct stat st;

	(void)state;
	compile_one("a", 5);
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
	assert_null(begin_at("no/" CDB, "no/" LOCK));
	assert_null(begin_at("no/" CDB, LOCK));
	assert_null(begin_at(CDB, "no/" LOCK));
	assert_null(begin_at(CDB, "."));
	assert_null(compiled_open("no/" CDB, &source_stat));
	assert_int_equal(mkdir(CDB, 0700), 0);
	assert_null(begin());
	assert_null(reopen());
	assert_int_equal(access(TEMPORARY, F_OK), -1);
}

/* As on a full disk, by a limit on file sizes. */
static void
survives_a_full_disk(void **state)
{
	static const rlim_t limits[] = { 0, 1, 2048, 4000, 4096, 4300, 8192,
		100000 };
	struct rlimit rl, saved;
	char key[16];

	(void)state;
	compile_one("a", 7);
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
			add(c, key, (int)k + 1);
		}
		result = compiling_end(c, source);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
		if (result != -1)
			fail_msg("no failure at %zu", i);
		expect_one("a", 7);
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
refuses_invalid_files(void **state)
{
	static char zeros[10000];

	assert_null(reopen());
	put(CDB, "", 0);
	assert_null(reopen());
	/* Larger than any index of this source. */
	compile_one("a", 5);
	assert_int_equal(truncate(CDB, 2000000000), 0);
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
	compile_one("a", 5);
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

static void
compile_words(struct buf *image)
{
	struct compiling *c = begin();

	assert_non_null(c);
	for (size_t i = 0; i < COUNT(words); i++) {
		add(c, words[i], 200);
		add(c, words[i], 100 + (int)i);
	}
	assert_int_equal(compiling_end(c, source), 0);
	assert_int_equal(fdio_read_file(CDB, 1 << 20, image), 0);
}

/*
 * However the file is damaged, the result is right or an error.  Returns
 * whether the damage was noticed.
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
		int got = find(c, words[i], 0);

		if (got == DAMAGED)
			seen = true;
		else if (got != 100 + (int)i)
			fail_msg("%s at %zu: %d", what, where, got);
		got = find(c, words[i], 1);
		if (got == DAMAGED)
			seen = true;
		else if (got != 200)
			fail_msg("%s at %zu: %d", what, where, got);
	}
	for (size_t i = 0; i < COUNT(absent); i++) {
		int got = find(c, absent[i], 0);

		if (got == DAMAGED)
			seen = true;
		else if (got != ABSENT)
			fail_msg("%s at %zu: %d", what, where, got);
	}
	compiled_close(c);
	return seen;
}

static void
is_right_or_fails_after_a_flipped_bit(void **state)
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
	/* Two slots of a hash table belong to the stamp, not to a key. */
	assert_int_equal(unseen, 16);
	buf_finish(&image);
}

static void
is_right_or_fails_after_truncation(void **state)
{
	struct buf image = { 0 };

	(void)state;
	compile_words(&image);
	for (size_t n = 0; n < image.len; n += 1 + n % 7) {
		put(CDB, image.data, n);
		assert_null(reopen());
		/* Truncated while it is open, after the front was read. */
		put(CDB, image.data, image.len);
		struct compiled *c = reopen();
		assert_non_null(c);
		assert_int_equal(truncate(CDB, (off_t)n), 0);
		assert_int_not_equal(find(c, "a", 0), ABSENT);
		assert_true(find(c, "d", 0) < 0);
		compiled_close(c);
	}
	put(CDB, image.data, image.len);
	assert_int_equal(truncate(CDB, (off_t)image.len + 1), 0);
	assert_null(reopen());
	buf_finish(&image);
}

/* The variable COMPILED_TRIALS asks for more trials. */
static void
is_right_or_fails_after_any_damage(void **state)
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
			/* After the front as often as inside it. */
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
	assert_int_equal(find(c, "a", 0), 7);
	compiled_close(c);
}

/* A process killed at any moment leaves no file that is used. */
static void
survives_a_killed_compiler(void **state)
{
	(void)state;
	compile_one("a", 7);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		assert_true(pid != -1);
		if (pid == 0) {
			for (;;) {
				struct compiling *c = begin();
				char key[16];

				for (unsigned k = 0; c && k < 500; k++) {
					snprintf(key, sizeof key, "%u", k);
					add(c, key, (int)k + 1);
				}
				if (c)
					add(c, "a", 7);
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
	compile_one("a", 8);
	expect_one("a", 8);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(finds_what_was_added, clear_home),
		cmocka_unit_test_teardown(accepts_any_bytes, clear_home),
		cmocka_unit_test_teardown(never_leaves_the_source, clear_home),
		cmocka_unit_test_teardown(holds_one_key_very_often, clear_home),
		cmocka_unit_test_teardown(holds_many, clear_home),
		cmocka_unit_test_teardown(may_be_empty, clear_home),
		cmocka_unit_test_teardown(belongs_to_one_source, clear_home),
		cmocka_unit_test_teardown(waits_for_the_tick_of_the_last_change,
		    clear_home),
		cmocka_unit_test_teardown(gives_up_when_the_source_changes,
		    clear_home),
		cmocka_unit_test_teardown(compiles_one_at_a_time, clear_home),
		cmocka_unit_test_teardown(removes_an_old_temporary_file,
		    clear_home),
		cmocka_unit_test_teardown(gives_the_group_access, clear_home),
		cmocka_unit_test_teardown(needs_a_place_to_write, clear_home),
		cmocka_unit_test_teardown(survives_a_full_disk, clear_home),
		cmocka_unit_test_teardown(refuses_invalid_files, clear_home),
		cmocka_unit_test_teardown(is_right_or_fails_after_a_flipped_bit,
		    clear_home),
		cmocka_unit_test_teardown(is_right_or_fails_after_truncation,
		    clear_home),
		cmocka_unit_test_teardown(is_right_or_fails_after_any_damage,
		    clear_home),
		cmocka_unit_test_teardown(survives_a_killed_compiler,
		    clear_home),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
