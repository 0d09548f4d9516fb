/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE /* memmem() */

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

#include "base/idn.h"
#include "base/utf8.h"
#include "io/compiled.h"
#include "io/fdio.h"
#include "qmail/table.h"

#include "listfile.h"
#include "place.h"

static char home[] = "/tmp/test_table.XXXXXX";

#define FILES(name) \
	{ \
		.text = name, .index = name ".cdb", .lock = name ".lock" \
	}

static const struct table_files files = FILES("list");

/* Old enough for an index to be made at once. */
static const struct table_files forged = FILES("forged");
static const struct table_files marked = FILES("bom");
static const struct table_files nul = FILES("nul");
static const struct table_files lonely = FILES("lonely");
static const struct table_files damaged = FILES("damaged");
static const struct table_files many = FILES("many");
static const struct table_files same = FILES("same");
static const struct table_files wide = FILES("wide");
static const struct table_files secret = FILES("secret");
struct table_case {
	const char *text;
	const char *host;
	const char *value; /* NULL: none */
};

/* Keys in UTF-8, which are the same as A-labels. */
#define U_KEYS \
	"b\xc3\xbc" \
	"cher.example:s\n.xn--bcher-kva.example:t\n" \
	".B\xc3\x9c" \
	"CHER.example:r\n.\xc3\xa9:u\nu\xcc\x88:v\n\xe2\x98\xba:w\n"

static const struct table_case cases[] = {
	/* Matching. */
	{ "dst.example:127.0.0.1:26", "dst.example", "127.0.0.1:26" },
	{ "DST.eXample:r:26", "dSt.ExAmple", "r:26" },
	{ ".example:r:26", "dst.example", "r:26" },
	{ ".example:r:26", "a.b.example", "r:26" },
	{ ".EXAMPLE:r:26", "a.b.example", "r:26" },
	{ ".example:r:26", "example", NULL },
	{ "example:r:26", "dst.example", NULL },
	{ ".dst.example:r:26", "dst.example", NULL },
	{ "xdst.example:r:26", "dst.example", NULL },
	{ "st.example:r:26", "dst.example", NULL },
	{ ":r:26", "dst.example", "r:26" },
	{ ":r:26", "", "r:26" },
	{ ".:r:26", "", NULL },
	{ "a:r:26", "", NULL },
	{ ".example:\n:r:26\n", "dst.example", "" },
	{ ".example:s\ndst.example:r\n", "dst.example", "r" },
	{ "dst.example:r\n.example:s\n:t\n", "dst.example", "r" },
	{ ":t\n.example:s\n.b.example:r\n", "a.b.example", "r" },
	{ ".b.example:r\n.example:s\n:t\n", "a.b.example", "r" },
	{ "a:r\na:s\n", "a", "s" },
	{ "a:r\nA:s\n", "a", "s" },
	{ "a:r\nb:t\nA:s\nb:u\n", "a", "s" },
	{ ".a:r\n.a:s\nb.a:t\nc:u\n", "x.a", "s" },
	{ ":r\n:s\n", "a", "s" },
	{ "[1.2.3.4]:r:26", "[1.2.3.4]", "r:26" },
	{ ".4]:r:26", "[1.2.3.4]", "r:26" },
	{ ".2.3.4]:r:26", "[1.2.3.4]", "r:26" },
	{ ":r:26", "[1.2.3.4]", "r:26" },
	{ "dst.example:r:26", "dst.example.", NULL },
	{ ".:r:26", "dst.example.", "r:26" },
	{ ".example:r", ".example", "r" },
	{ "..example:r", "a..example", "r" },
	/* Keys in UTF-8, if this build can convert them. */
	{ U_KEYS, "xn--bcher-kva.example", "s" },
	{ U_KEYS, "XN--Bcher-KVA.Example", "s" },
	{ U_KEYS, "a.xn--bcher-kva.example", "r" },
	{ U_KEYS, "a.b.xn--9ca", "u" },
	{ U_KEYS, "xn--9ca", NULL },
	{ U_KEYS, "xn--tda", "v" },
	{ U_KEYS, "xn--74h", NULL },
	{ U_KEYS, "cher.example", NULL },
	{ U_KEYS,
	    "b\xc3\xbc"
	    "cher.example",
	    NULL },
	{ U_KEYS, "\xe2\x98\xba", "w" },
	{ "\xc3\xa9:r\nxn--9ca:s\n", "xn--9ca", "s" },
	{ "xn--9ca:s\n\xc3\xa9:r\n", "xn--9ca", "r" },
	{ "\xc3\xa9:r\nfoo.\xc3\xa9:s\n:t\n", "bar.xn--9ca", "t" },
	/* Bytes that are not UTF-8. */
	{ "\xc9:r", "\xc9", "r" },
	{ "\xc9:r", "\xe9", NULL },
	{ "\xc9:r", "xn--9ca", NULL },
	/* Lines. */
	{ "", "a", NULL },
	{ "\n\n\n", "a", NULL },
	{ "#:s:1\n\n  \n:r:26", "a", "r:26" },
	{ "#a:s\n", "#a", NULL },
	{ "x#a:s\n", "x#a", "s" },
	{ "a\n:r:26", "a", "r:26" },
	{ " a:s\n", "a", NULL },
	{ "a :s\n", "a", NULL },
	{ "a:r \t \n", "a", "r" },
	{ "a:r:26 \t \n", "a", "r:26" },
	/* CR LF, and a byte order mark. */
	{ "a:r\r\n", "a", "r" },
	{ "a:\r\n", "a", "" },
	{ "a:r \r \t\r\n", "a", "r" },
	{ "#a:s\r\n\r\na:r\r\n", "a", "r" },
	{ "\xef\xbb\xbf"
	  "a:r\n",
	    "a", "r" },
	{ "\xef\xbb\xbf"
	  "#a:r\n",
	    "a", NULL },
	{ "\xef\xbb\xbf:r\r\nb:s", "a", "r" },
	{ "\xef\xbb\xbf", "a", NULL },
	{ "a:s\n\xef\xbb\xbf"
	  "a:r\n",
	    "a", "s" },
	/* Address literals with colons of their own. */
	{ "[2001:db8::1]:r:26", "[2001:db8::1]", "r:26" },
	{ "[2001:DB8::1]:[::1]:26", "[2001:db8::1]", "[::1]:26" },
	{ "[IPv6:2001:db8::1]:r", "[ipv6:2001:db8::1]", "r" },
	{ "[2001:db8::1]:r:26", "[2001", NULL },
	{ "[2001:db8::1]::26", "[2001:db8::1]", ":26" },
	{ "[2001:db8::1]:", "[2001:db8::1]", "" },
	{ "[2001:db8::1]", "[2001:db8::1]", NULL },
	{ "[foo:r:26", "[foo", "r:26" },
	{ "[2001:r", "[2001", "r" },
	{ ".4]:r:26", "[::1.2.3.4]", "r:26" },
};

static struct table_files case_files[COUNT(cases)];

/* A list with every kind of place that an index could refer to. */
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
write_large_files(void)
{
	struct buf text = { 0 };

	for (int i = 0; i < 200000; i++)
		buf_printf(&text, "domain%d.example:relay%d:%d\n", i, i % 100,
		    i % 60000 + 1);
	put(many.text, text.data, text.len);
	buf_cut(&text, 0);
	for (int i = 0; i < 200000; i++)
		buf_printf(&text, ".Example:relay%d\n", i);
	put(same.text, text.data, text.len);
	buf_cut(&text, 0);
	for (int i = 0; i < 200000; i++)
		buf_printf(&text, "domain%d.example:relay:587|user|hunter%d\n",
		    i, i);
	buf_puts(&text, "relay|user|hunter2:x\n"
			"a.example relay user hunter2:x\n"
			"a.example\tuser:hunter2\n");
	put(secret.text, text.data, text.len);
	buf_cut(&text, 0);
	buf_puts(&text, "a:r\n:");
	memset(buf_reserve(&text, 1 << 20), 'x', 1 << 20);
	text.len += 1 << 20;
	buf_puts(&text, "\n");
	memset(buf_reserve(&text, 1 << 20), 'x', 1 << 20);
	text.len += 1 << 20;
	buf_puts(&text, ":y\nb:s");
	put(wide.text, text.data, text.len);
	buf_finish(&text);
}

static void
write_case_files(void)
{
	static char name[COUNT(cases)][3][24];

	for (size_t i = 0; i < COUNT(cases); i++) {
		snprintf(name[i][0], sizeof name[i][0], "%zu", i);
		snprintf(name[i][1], sizeof name[i][1], "%zu.cdb", i);
		snprintf(name[i][2], sizeof name[i][2], "%zu.lock", i);
		case_files[i].text = name[i][0];
		case_files[i].index = name[i][1];
		case_files[i].lock = name[i][2];
		put(name[i][0], cases[i].text, strlen(cases[i].text));
	}
}

static int
enter_home(void **state)
{
	static const char nuls[] = "a:r\0b:s\0c:t\n"
				   "#d:u\0e:v\n"
				   "\0f:w\0\n"
				   "g:x \0g:y\0no colon\n"
				   "h:z\0:26";
	static const char routes[] = ":t\n.example:s\na.example:r\n";

	(void)state;
	alarm(120);
	if (!mkdtemp(home) || chdir(home) == -1)
		return -1;
	write_large_files();
	put(forged.text, list, sizeof list - 1);
	put(marked.text, bom_list, sizeof bom_list - 1);
	put(nul.text, nuls, sizeof nuls - 1);
	put(lonely.text, ":r\n", 3);
	put(damaged.text, routes, sizeof routes - 1);
	write_case_files();
	nap(2050);
	return stat(forged.text, &list_stat) == -1 ||
	       stat(marked.text, &bom_stat) == -1;
}

static int
clear_home(void **state)
{
	(void)state;
	if (unlink(files.text) == -1 && errno != ENOENT)
		rmdir(files.text);
	remove_files(&files);
	unlink(forged.index);
	unlink(forged.lock);
	unlink(marked.index);
	unlink(marked.lock);
	return 0;
}

static int
leave_home(void **state)
{
	static const struct table_files *const all[] = { &forged, &marked, &nul,
		&lonely, &damaged, &many, &same, &wide, &secret };

	clear_home(state);
	for (size_t i = 0; i < COUNT(all); i++)
		remove_files(all[i]);
	for (size_t i = 0; i < COUNT(cases); i++)
		remove_files(&case_files[i]);
	return chdir("/") == -1 || rmdir(home) == -1;
}

/* The value for a host, or "(none)". */
static const char *
find_with(const struct table_files *f, const char *host)
{
	static char text[64];
	struct table_entry e = { 0 };

	if (table_find(f, host, &e) == -1)
		snprintf(text, sizeof text, "%s", strerror(errno));
	else
		snprintf(text, sizeof text, "%s",
		    e.found ? buf_text(&e.value) : "(none)");
	table_entry_finish(&e);
	return text;
}

static const char *
find(const char *host)
{
	return find_with(&files, host);
}

static void
put_text(const char *text)
{
	put(files.text, text, strlen(text));
}

static bool
is_compiled(void)
{
	return access(files.index, F_OK) == 0;
}

/* That the entry is where it says, in the file or by the index. */
static void
check_offset(const struct table_files *f, const char *host)
{
	struct table_entry e = { 0 };

	assert_int_equal(table_find(f, host, &e), 0);
	if (e.found)
		check_place(f->text, &e.version, e.offset, buf_text(&e.key),
		    e.key.len);
	table_entry_finish(&e);
}

static void
check(const struct table_case *c, const struct table_files *f)
{
	const char *got = find_with(f, c->host);

	check_offset(f, c->host);
	if (strcmp(got, c->value ? c->value : "(none)") != 0)
		fail_msg("%s, %s: %s", c->text, c->host, got);
}

/* By the text only, by the text while the index is made, and by the index. */
static void
finds_the_entry_that_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct table_files alone = case_files[i];
		bool empty = cases[i].text[0] == '\0';

		if (!idn_is_supported() &&
		    !utf8_is_ascii(cases[i].text, strlen(cases[i].text)))
			continue;
		alone.index = "no/cdb";
		check(&cases[i], &alone);
		check(&cases[i], &case_files[i]);
		if ((access(case_files[i].index, F_OK) == -1) != empty)
			fail_msg("%s: %s", cases[i].text,
			    empty ? "compiled" : "not compiled");
		check(&cases[i], &case_files[i]);
	}
}

static void
separates_at_a_nul(void **state)
{
	static const struct table_case want[] = {
		{ "first", "a", "r" },
		{ "second", "b", "s" },
		{ "last", "c", "t" },
		{ "comment", "d", "26" },
		{ "beyond a comment", "e", "26" },
		{ "in a line that begins with a NUL", "f", "26" },
		{ "the later of two", "g", "y" },
		{ "not a part of the value", "h", "z" },
	};

	(void)state;
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < COUNT(want); i++)
			check(&want[i], &nul);
	assert_int_equal(access(nul.index, F_OK), 0);
}

static void
may_be_missing_or_empty(void **state)
{
	static const struct table_files nowhere = {
		.text = "no/list", .index = "no/cdb", .lock = "no/lock"
	};

	(void)state;
	assert_string_equal(find("a"), "(none)");
	assert_string_equal(find_with(&nowhere, "a"), "(none)");
	assert_false(is_compiled());
	assert_int_equal(symlink("/dev/null", files.text), 0);
	assert_string_equal(find("a"), "(none)");
	assert_false(is_compiled());
}

static void
refuses_what_it_cannot_read(void **state)
{
	static const struct table_files below = {
		.text = "list/x", .index = "x.cdb", .lock = "x.lock"
	};
	int fd;

	assert_int_equal(mkdir(files.text, 0700), 0);
	assert_string_equal(find("a"), "Is a directory");
	clear_home(state);
	assert_int_equal(mkfifo(files.text, 0600), 0);
	assert_string_equal(find("a"), "Invalid argument");
	clear_home(state);
	fd = open(files.text, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, ((off_t)1 << 30) + 1), 0);
	assert_int_equal(close(fd), 0);
	assert_string_equal(find("a"), "File too large");
	put_text("");
	assert_string_equal(find_with(&below, "a"), "Not a directory");
	if (geteuid() == 0)
		return;
	put_text(":r\n");
	assert_string_equal(find("a"), "r");
	assert_true(is_compiled());
	assert_int_equal(chmod(files.text, 0), 0);
	assert_string_equal(find("a"), "Permission denied");
}

/* Also if only the bytes differ: the times show it. */
static void
a_small_file_needs_no_index(void **state)
{
	struct table_files small = files;
	struct table_entry entry = { 0 };

	(void)state;
	small.small = 6;
	put(small.text, ":fits\n", 6);
	assert_int_equal(table_find(&small, "a", &entry), 0);
	assert_string_equal(buf_text(&entry.value), "fits");
	assert_int_equal(access(small.index, F_OK), -1);
	table_entry_finish(&entry);
	entry = (struct table_entry){ 0 };
	put(small.text, ":large\n", 7);
	assert_int_equal(table_find(&small, "a", &entry), 0);
	assert_string_equal(buf_text(&entry.value), "large");
	assert_int_equal(access(small.index, F_OK), 0);
	table_entry_finish(&entry);
}

static void
sees_every_change(void **state)
{
	static const struct timespec old[2] = { { 1000000000, 0 },
		{ 1000000000, 0 } };

	(void)state;
	put_text(":one\n");
	assert_string_equal(find("a"), "one");
	assert_true(is_compiled());
	put_text(":two\n");
	assert_string_equal(find("a"), "two");
	put_text(":six\n");
	assert_string_equal(find("a"), "six");
	assert_string_equal(find("a"), "six");
	assert_string_equal(find("a"), "six");

	/* An older time, then another file with the same time and size. */
	put_text(":old\n");
	assert_int_equal(utimensat(AT_FDCWD, files.text, old, 0), 0);
	assert_string_equal(find("a"), "old");
	put("new", ":new\n", 5);
	assert_int_equal(utimensat(AT_FDCWD, "new", old, 0), 0);
	assert_string_equal(find("a"), "old");
	assert_string_equal(find("a"), "old");
	assert_int_equal(rename("new", files.text), 0);
	assert_string_equal(find("a"), "new");
	assert_string_equal(find("a"), "new");
	assert_string_equal(find("a"), "new");

	put_text("");
	assert_string_equal(find("a"), "(none)");
	assert_int_equal(unlink(files.text), 0);
	assert_string_equal(find("a"), "(none)");
	assert_true(is_compiled());
	put_text(":new\n");
	assert_string_equal(find("a"), "new");
}

static void
works_without_write_permission(void **state)
{
	static const struct table_files nowhere = {
		.text = "lonely", .index = "no/cdb", .lock = "no/lock"
	};
	static const struct table_files read_only = {
		.text = "lonely",
		.index = "lonely.cdb",
		.lock = "lonely.lock",
		.is_read_only = true,
	};
	struct stat st;
	struct compiling *c;
	int fd;

	(void)state;
	assert_string_equal(find_with(&nowhere, "a"), "r");
	assert_string_equal(find_with(&read_only, "a"), "r");
	assert_int_equal(access(lonely.index, F_OK), -1);
	assert_int_equal(mkdir(lonely.index, 0700), 0);
	assert_string_equal(find_with(&lonely, "a"), "r");
	assert_int_equal(rmdir(lonely.index), 0);
	put(lonely.index, "garbage", 7);
	assert_int_equal(chmod(lonely.index, 0), 0);
	assert_string_equal(find_with(&lonely, "a"), "r");
	assert_int_equal(stat(lonely.index, &st), 0);
	assert_true(st.st_size > 2048);
	assert_int_equal(unlink(lonely.index), 0);

	/* Another process holds the lock. */
	fd = fdio_open_file(lonely.text, &st);
	c = compiling_begin(lonely.index, lonely.lock, fd, &st);
	assert_non_null(c);
	close(fd);
	assert_string_equal(find_with(&lonely, "a"), "r");
	assert_int_equal(access(lonely.index, F_OK), -1);
	compiling_abort(c);
	assert_string_equal(find_with(&lonely, "a"), "r");
	assert_int_equal(access(lonely.index, F_OK), 0);
}

/*
 * Whichever byte is damaged, the result is right and the index is made again.
 */
static void
survives_damage(void **state)
{
	struct buf good = { 0 }, now = { 0 };

	(void)state;
	assert_string_equal(find_with(&damaged, "a.example"), "r");
	assert_int_equal(fdio_read_file(damaged.index, 1 << 20, &good), 0);
	for (size_t i = 0; i < good.len; i += i < 4096 ? 127 : 3) {
		good.data[i] ^= 0x10;
		put(damaged.index, good.data, good.len);
		good.data[i] ^= 0x10;
		if (strcmp(find_with(&damaged, "a.example"), "r") != 0 ||
		    strcmp(find_with(&damaged, "b.example"), "s") != 0 ||
		    strcmp(find_with(&damaged, "b"), "t") != 0)
			fail_msg("damage at %zu", i);
	}
	put(damaged.index, good.data, 3000);
	assert_string_equal(find_with(&damaged, "b"), "t");
	assert_int_equal(fdio_read_file(damaged.index, 1 << 20, &now), 0);
	assert_int_equal(now.len, good.len);
	assert_memory_equal(now.data, good.data, good.len);
	buf_finish(&good);
	buf_finish(&now);
}

static void
look_up_for_ever(void)
{
	for (;;) {
		const char *got = find("a.example");

		if (strcmp(got, "one") != 0 && strcmp(got, "two") != 0)
			_exit(1);
	}
}

/*
 * Many processes look up while the file is replaced: each sees one of the two.
 */
static void
serves_many_at_once(void **state)
{
	pid_t pid[8];

	(void)state;
	put_text(".example:one\n");
	for (size_t i = 0; i < COUNT(pid); i++) {
		pid[i] = fork();
		assert_true(pid[i] != -1);
		if (pid[i] == 0)
			look_up_for_ever();
	}
	for (int i = 0; i < 40; i++) {
		put("new", i % 2 ? ".example:one\n" : ".example:two\n", 13);
		assert_int_equal(rename("new", files.text), 0);
		nap(5);
		assert_string_equal(find("x.example"), i % 2 ? "one" : "two");
	}
	for (size_t i = 0; i < COUNT(pid); i++) {
		int status;

		assert_int_equal(kill(pid[i], SIGKILL), 0);
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);
	}
	assert_string_equal(find("a.example"), "one");
	unlink("list.cdb.new");
}

static void
holds_very_many(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_string_equal(find_with(&many, "domain123456.example"),
		    "relay56:3457");
		assert_string_equal(find_with(&many, "domain0.example"),
		    "relay0:1");
		assert_string_equal(find_with(&many, "domain199999.example"),
		    "relay99:20000");
		assert_string_equal(find_with(&many, "a.b.c.d.e.example"),
		    "(none)");
		assert_int_equal(access(many.index, F_OK), 0);
		/* The same line many times is no problem. */
		assert_string_equal(find_with(&same, "a.example"),
		    "relay199999");
		assert_int_equal(access(same.index, F_OK), 0);
	}
}

/* Before and after there is one. */
static void
finds_keys_that_are_in_no_index(void **state)
{
	(void)state;
	put_text("a|b:r\na b:s\na\tb:t\n.c:u\n:v\n");
	for (int i = 0; i < 2; i++) {
		assert_string_equal(find("a|b"), "r");
		assert_string_equal(find("a b"), "s");
		assert_string_equal(find("a\tb"), "t");
		assert_string_equal(find("x|y.c"), "u");
		assert_string_equal(find("b"), "v");
		assert_true(is_compiled());
	}
}

/* Also of lines that are written as other programs have them. */
static void
keeps_no_password_in_the_index(void **state)
{
	struct buf index = { 0 };

	(void)state;
	assert_string_equal(find_with(&secret, "domain77.example"),
	    "relay:587|user|hunter77");
	assert_int_equal(fdio_read_file(secret.index, 1 << 28, &index), 0);
	assert_non_null(memmem(index.data, index.len, "domain77.example", 16));
	assert_null(memmem(index.data, index.len, "hunter", 6));
	buf_finish(&index);
	assert_string_equal(find_with(&secret, "domain77.example"),
	    "relay:587|user|hunter77");
}

static void
holds_very_long_lines(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct table_entry e = { 0 };

		assert_string_equal(find_with(&wide, "a"), "r");
		assert_string_equal(find_with(&wide, "b"), "s");
		assert_int_equal(table_find(&wide, "c", &e), 0);
		assert_int_equal(e.value.len, 1 << 20);
		assert_int_equal(access(wide.index, F_OK), 0);
		table_entry_finish(&e);
	}
}

/* The place of a text that occurs once in the list. */
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
uses_only_lines_with_the_key(void **state)
{
	static const struct {
		const char *piece;
		size_t n;
		const char *value;
	} forgeries[] = {
		/* Places that are right. */
		{ PIECE("a:last"), "last" },
		{ PIECE("a:first"), "first" },
		{ PIECE("b:other\0a:piece"), "piece" },
		/* Not the start, or not the end, of a line. */
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
		/* Lines that are not entries, or have another key. */
		{ PIECE("#a:comment"), "last" },
		{ PIECE("x.a:suffix"), "last" },
		{ PIECE("\0a:nul"), "last" },
		{ PIECE("no colon a"), "last" },
		{ PIECE("c:end"), "last" },
	};

	enum { RIGHT = 3 }; /* of these places */

	for (size_t i = 0; i < COUNT(forgeries); i++) {
		struct compiled_place place =
		    place_of(forgeries[i].piece, forgeries[i].n);

		forge_with(&forged, &list_stat, "a", &place);
		if (strcmp(find_with(&forged, "a"), forgeries[i].value) != 0)
			fail_msg("%s: %s", forgeries[i].piece,
			    find_with(&forged, "a"));
		/* An index that was found to be wrong has been replaced. */
		if (i >= RIGHT && strcmp(find_with(&forged, "c"), "end") != 0)
			fail_msg("%s: not replaced", forgeries[i].piece);
		clear_home(state);
	}
}

static void
reads_nothing_outside_the_list(void **state)
{
	static const struct compiled_place places[] = {
		{ sizeof list - 1, 0 },
		{ sizeof list - 1, 1 },
		{ sizeof list - 2, 3 },
		{ sizeof list + 4000, 10 },
		{ UINT64_MAX, 1 },
		{ UINT64_MAX - 1, 3 },
		{ 0, COMPILED_LENGTH_MAX },
		{ (uint64_t)1 << 63, 7 },
	};

	for (size_t i = 0; i < COUNT(places); i++) {
		forge_with(&forged, &list_stat, "a", &places[i]);
		if (strcmp(find_with(&forged, "a"), "last") != 0)
			fail_msg("place %zu: %s", i, find_with(&forged, "a"));
		clear_home(state);
	}
}

/* As doc/SECURITY.md says, an entry missing from the index is not noticed. */
static void
does_not_miss_what_is_left_out(void **state)
{
	struct compiled_place one = place_of(PIECE(":hidden"));

	(void)state;
	forge_with(&forged, &list_stat, "", NULL);
	assert_string_equal(find_with(&forged, "a"), "(none)");

	/* With an index, each dot of this host would need a look-up. */
	struct buf host = { 0 };
	for (int i = 0; i < COMPILED_KEY_MAX + 1; i++)
		buf_putc(&host, '.');
	forge_with(&forged, &list_stat, "", &one);
	assert_string_equal(find_with(&forged, buf_text(&host)), "default");
	buf_cut(&host, COMPILED_KEY_MAX);
	assert_string_equal(find_with(&forged, buf_text(&host)), "hidden");
	buf_finish(&host);
}

static void
skips_a_byte_order_mark(void **state)
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

/* Other kinds of files in place of the index. */
static void
works_without_an_index(void **state)
{
	int fd;

	assert_int_equal(mkfifo(forged.index, 0600), 0);
	assert_string_equal(find_with(&forged, "a"), "last");
	clear_home(state);
	assert_int_equal(symlink("forged", forged.index), 0);
	assert_string_equal(find_with(&forged, "a"), "last");
	clear_home(state);
	assert_int_equal(symlink("/dev/zero", forged.index), 0);
	assert_string_equal(find_with(&forged, "a"), "last");
	clear_home(state);
	assert_int_equal(link("forged", forged.index), 0);
	assert_string_equal(find_with(&forged, "a"), "last");
	clear_home(state);
	fd = open(forged.index, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	assert_int_equal(close(fd), 0);
	assert_string_equal(find_with(&forged, "a"), "last");
	clear_home(state);
	/* The mode of an existing file is never changed. */
	assert_int_equal(link("forged", forged.lock), 0);
	assert_string_equal(find_with(&forged, "a"), "last");
	assert_int_equal(stat("forged", &list_stat), 0);
	assert_int_equal(list_stat.st_mode & 07777, 0600);
	clear_home(state);
	assert_int_equal(mkfifo(forged.lock, 0600), 0);
	assert_string_equal(find_with(&forged, "a"), "last");
}

static void
forge_for_ever(const struct buf *image)
{
	int fd = open(forged.index, O_WRONLY);

	srand((unsigned)getpid());
	for (;;) {
		size_t at = (size_t)rand() % image->len;
		unsigned char c = (unsigned char)rand();

		if (pwrite(fd, &c, 1, (off_t)at) != 1 ||
		    pwrite(fd, image->data + at, 1, (off_t)at) != 1)
			_exit(1);
	}
}

/* Another process writes it while it is read. */
static void
survives_an_index_that_changes(void **state)
{
	struct compiled_place place = place_of(PIECE("a:first"));
	struct buf image = { 0 };
	pid_t pid;

	(void)state;
	assert_int_equal(stat(forged.text, &list_stat), 0);
	forge_with(&forged, &list_stat, "a", &place);
	assert_int_equal(fdio_read_file(forged.index, 1 << 20, &image), 0);
	pid = fork();
	assert_true(pid != -1);
	if (pid == 0)
		forge_for_ever(&image);
	for (int i = 0; i < 20000; i++) {
		const char *got = find_with(&forged, "a");

		if (strcmp(got, "first") != 0 && strcmp(got, "last") != 0)
			fail_msg("%s", got);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	buf_finish(&image);
}

static void
goes_through_all_entries(void **state)
{
	static const char text[] = "\xef\xbb\xbf"
				   "a:b:c \n# no\n\nd\ne:f\0g\0h:i\n:j";
	struct walked w = { .n = 0 };

	(void)state;
	assert_int_equal(table_walk(&files, walk, &w), 0);
	assert_int_equal(w.n, 0);
	put(files.text, text, sizeof text - 1);
	assert_int_equal(table_walk(&files, walk, &w), 0);
	assert_string_equal(w.text, "<a|b:c><d|-><e|f><g|-><h|i><|j>");
	assert_int_equal(unlink(files.text), 0);
	assert_int_equal(mkdir(files.text, 0700), 0);
	assert_int_equal(table_walk(&files, walk, &w), -1);
	assert_int_equal(errno, EISDIR);
	assert_int_equal(rmdir(files.text), 0);
}

#define TEST(name) cmocka_unit_test_teardown(name, clear_home)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(finds_the_entry_that_counts),
		TEST(separates_at_a_nul),
		TEST(may_be_missing_or_empty),
		TEST(refuses_what_it_cannot_read),
		TEST(a_small_file_needs_no_index),
		TEST(sees_every_change),
		TEST(works_without_write_permission),
		TEST(survives_damage),
		TEST(serves_many_at_once),
		TEST(holds_very_many),
		TEST(finds_keys_that_are_in_no_index),
		TEST(keeps_no_password_in_the_index),
		TEST(holds_very_long_lines),
		TEST(uses_only_lines_with_the_key),
		TEST(reads_nothing_outside_the_list),
		TEST(does_not_miss_what_is_left_out),
		TEST(skips_a_byte_order_mark),
		TEST(survives_an_index_that_changes),
		TEST(works_without_an_index),
		TEST(goes_through_all_entries),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
