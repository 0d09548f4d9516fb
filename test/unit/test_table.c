/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
#include "qmail/table.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static char home[] = "/tmp/test_table.XXXXXX";

static const struct table_files files = { "list", "list.cdb", "list.lock" };
static const struct table_files marked = { "bom", "bom.cdb", "bom.lock" };

/* A list with everything in it that an index could point at. */
static const char list[] = "#a:comment\n"
			   "x.a:suffix\n"
			   "a:first\n"
			   "b:other\0a:piece\n"
			   "\n"
			   "a:last\n"
			   "\0a:nul\n"
			   "no colon a\n"
			   ":hidden\n"
			   ":default\n"
			   "c:end";
static const char bom_list[] = "\xef\xbb\xbf"
			       "a:first\na:last\n";

static struct stat list_stat, bom_stat;

static void
nap(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&t, &t) == -1 && errno == EINTR)
		;
}

static void
put(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd != -1);
	assert_int_equal(fdio_write_all(fd, data, n, 1000), 0);
	assert_int_equal(close(fd), 0);
}

static int
enter_home(void **state)
{
	(void)state;
	alarm(120);
	if (!mkdtemp(home) || chdir(home) == -1)
		return -1;
	put(files.text, list, sizeof list - 1);
	put(marked.text, bom_list, sizeof bom_list - 1);
	/* Until an index of them may be made. */
	nap(2050);
	return stat(files.text, &list_stat) == -1 ||
	       stat(marked.text, &bom_stat) == -1;
}

static int
clear_home(void **state)
{
	(void)state;
	unlink(files.index);
	unlink(files.lock);
	unlink(marked.index);
	unlink(marked.lock);
	return 0;
}

static int
leave_home(void **state)
{
	clear_home(state);
	unlink(files.text);
	unlink(marked.text);
	unlink("list.cdb.new");
	return chdir("/") == -1 || rmdir(home) == -1;
}

/* The value for a host; "(none)" where there is none. */
static const char *
find_with(const struct table_files *f, const char *host)
{
	static char text[64];
	struct table_entry e = { 0 };

	if (table_find(f, host, &e) == -1)
		snprintf(text, sizeof text, "%s", strerror(errno));
	else
		snprintf(text, sizeof text, "%s",
		    e.any ? buf_text(&e.value) : "(none)");
	table_entry_finish(&e);
	return text;
}

/*
 * An index that says whatever it likes, with everything else as it must be:
 * that can be made by whoever may write it.
 */
static void
forge_with(const struct table_files *f, const struct stat *st, const char *key,
    const struct compiled_place *place)
{
	struct compiling *c = compiling_begin(f->index, f->lock, st);
	int fd = open(f->text, O_RDONLY);

	assert_non_null(c);
	if (place)
		compiling_add(c, key, strlen(key), place);
	assert_int_equal(compiling_end(c, fd), 0);
	assert_int_equal(close(fd), 0);
}

/* Where a piece of the list is, that occurs once. */
static struct compiled_place
place_of(const char *piece, size_t n)
{
	for (size_t i = 0; i + n <= sizeof list - 1; i++)
		if (memcmp(list + i, piece, n) == 0)
			return (struct compiled_place){ i, n };
	fail_msg("%s is not in the list", piece);
	return (struct compiled_place){ 0 };
}

static void
believes_only_lines_with_the_key(void **state)
{
#define PIECE(s) s, sizeof(s) - 1
	static const struct {
		const char *piece;
		size_t n;
		const char *value;
	} cases[] = {
		/* What is right, as far as anybody can see. */
		{ PIECE("a:last"), "last" },
		{ PIECE("a:first"), "first" },
		{ PIECE("b:other\0a:piece"), "piece" },
		/* Not the beginning, or not the end, of a line. */
		{ PIECE("a:comment"), "last" },
		{ PIECE("a:suffix"), "last" },
		{ PIECE("a:piece"), "last" },
		{ PIECE("a:nul"), "last" },
		{ PIECE("a:fir"), "last" },
		{ PIECE("a:first\n"), "last" },
		{ PIECE("a:first\nb:other\0a:piece"), "last" },
		{ PIECE("\na:first"), "last" },
		{ PIECE("b:other"), "last" },
		{ PIECE("a"), "last" },
		{ PIECE(""), "last" },
		/* Lines that are no entry, or of another key. */
		{ PIECE("#a:comment"), "last" },
		{ PIECE("x.a:suffix"), "last" },
		{ PIECE("\0a:nul"), "last" },
		{ PIECE("no colon a"), "last" },
		{ PIECE("c:end"), "last" },
	};

	enum { RIGHT = 3 }; /* of the cases */

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct compiled_place place =
		    place_of(cases[i].piece, cases[i].n);

		forge_with(&files, &list_stat, "a", &place);
		if (strcmp(find_with(&files, "a"), cases[i].value) != 0)
			fail_msg("%s: %s", cases[i].piece,
			    find_with(&files, "a"));
		/* One that was seen to be wrong has been replaced. */
		if (i >= RIGHT && strcmp(find_with(&files, "c"), "end") != 0)
			fail_msg("%s: not replaced", cases[i].piece);
		clear_home(state);
	}
}

static void
reads_nothing_outside_the_list(void **state)
{
	static const struct compiled_place cases[] = {
		{ sizeof list - 1, 0 },
		{ sizeof list - 1, 1 },
		{ sizeof list - 2, 3 },
		{ sizeof list + 4000, 10 },
		{ UINT64_MAX, 1 },
		{ UINT64_MAX - 1, 3 },
		{ 0, COMPILED_LENGTH_MAX },
		{ (uint64_t)1 << 63, 7 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		forge_with(&files, &list_stat, "a", &cases[i]);
		if (strcmp(find_with(&files, "a"), "last") != 0)
			fail_msg("place %zu: %s", i, find_with(&files, "a"));
		clear_home(state);
	}
}

/* As doc/SECURITY.md says: what an index leaves out is not missed. */
static void
does_not_miss_what_is_left_out(void **state)
{
	struct compiled_place one = place_of(PIECE(":hidden"));

	(void)state;
	forge_with(&files, &list_stat, "", NULL);
	assert_string_equal(find_with(&files, "a"), "(none)");

	/* There would be a look-up for each dot of this host. */
	struct buf host = { 0 };
	for (int i = 0; i < COMPILED_KEY_MAX + 1; i++)
		buf_putc(&host, '.');
	forge_with(&files, &list_stat, "", &one);
	assert_string_equal(find_with(&files, buf_text(&host)), "default");
	buf_cut(&host, COMPILED_KEY_MAX);
	assert_string_equal(find_with(&files, buf_text(&host)), "hidden");
	buf_finish(&host);
}

static void
passes_over_a_byte_order_mark(void **state)
{
	static const struct compiled_place with = { 0, 10 }, without = { 3, 7 };

	(void)state;
	assert_string_equal(find_with(&marked, "a"), "last");
	forge_with(&marked, &bom_stat, "a", &without);
	assert_string_equal(find_with(&marked, "a"), "first");
	forge_with(&marked, &bom_stat, "a", &with);
	assert_string_equal(find_with(&marked, "a"), "last");
	assert_string_equal(find_with(&marked, "\xef\xbb\xbf"
					       "a"),
	    "(none)");
}

/* Whatever is there in place of the index. */
static void
goes_on_without_an_index(void **state)
{
	int fd;

	assert_int_equal(mkfifo(files.index, 0600), 0);
	assert_string_equal(find_with(&files, "a"), "last");
	clear_home(state);
	assert_int_equal(symlink("list", files.index), 0);
	assert_string_equal(find_with(&files, "a"), "last");
	clear_home(state);
	assert_int_equal(symlink("/dev/zero", files.index), 0);
	assert_string_equal(find_with(&files, "a"), "last");
	clear_home(state);
	assert_int_equal(link("list", files.index), 0);
	assert_string_equal(find_with(&files, "a"), "last");
	clear_home(state);
	fd = open(files.index, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	assert_int_equal(close(fd), 0);
	assert_string_equal(find_with(&files, "a"), "last");
	clear_home(state);
	/* It is not the lock file of anybody else's that gets a new mode. */
	assert_int_equal(link("list", files.lock), 0);
	assert_string_equal(find_with(&files, "a"), "last");
	assert_int_equal(stat("list", &list_stat), 0);
	assert_int_equal(list_stat.st_mode & 07777, 0600);
	clear_home(state);
	assert_int_equal(mkfifo(files.lock, 0600), 0);
	assert_string_equal(find_with(&files, "a"), "last");
}

static void
forge_for_ever(const struct buf *image)
{
	int fd = open(files.index, O_WRONLY);

	srand((unsigned)getpid());
	for (;;) {
		size_t at = (size_t)rand() % image->len;
		unsigned char c = (unsigned char)rand();

		if (pwrite(fd, &c, 1, (off_t)at) != 1 ||
		    pwrite(fd, image->data + at, 1, (off_t)at) != 1)
			_exit(1);
	}
}

/* Somebody writes it while it is read. */
static void
bears_an_index_that_changes(void **state)
{
	struct compiled_place place = place_of(PIECE("a:first"));
	struct buf image = { 0 };
	pid_t pid;

	(void)state;
	assert_int_equal(stat(files.text, &list_stat), 0);
	forge_with(&files, &list_stat, "a", &place);
	assert_int_equal(fdio_read_file(files.index, 1 << 20, &image), 0);
	pid = fork();
	assert_true(pid != -1);
	if (pid == 0)
		forge_for_ever(&image);
	for (int i = 0; i < 20000; i++) {
		const char *got = find_with(&files, "a");

		if (strcmp(got, "first") != 0 && strcmp(got, "last") != 0)
			fail_msg("%s", got);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	buf_finish(&image);
}

#define TEST(name) cmocka_unit_test_teardown(name, clear_home)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(believes_only_lines_with_the_key),
		TEST(reads_nothing_outside_the_list),
		TEST(does_not_miss_what_is_left_out),
		TEST(passes_over_a_byte_order_mark),
		TEST(bears_an_index_that_changes),
		TEST(goes_on_without_an_index),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
