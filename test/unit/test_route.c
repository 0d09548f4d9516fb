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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/compiled.h"
#include "base/fdio.h"
#include "qmail/route.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static char home[] = "/tmp/test_route.XXXXXX";

#define FILES(name) \
	{ \
		name, name ".cdb", name ".lock" \
	}

static const struct table_files files = FILES("smtproutes");

/*
 * A file is compiled only when it has not changed for two seconds.  These
 * are written before the first test, so that they wait together.
 */
static const struct table_files nul = FILES("nul");
static const struct table_files lonely = FILES("lonely");
static const struct table_files damaged = FILES("damaged");
static const struct table_files many = FILES("many");
static const struct table_files same = FILES("same");
static const struct table_files wide = FILES("wide");

struct route_case {
	const char *text;
	const char *host;
	const char *relay; /* NULL: refused */
	int port;
};

static const struct route_case cases[] = {
	/* Matching. */
	{ "dst.example:127.0.0.1:26", "dst.example", "127.0.0.1", 26 },
	{ "DST.eXample:r:26", "dSt.ExAmple", "r", 26 },
	{ ".example:r:26", "dst.example", "r", 26 },
	{ ".example:r:26", "a.b.example", "r", 26 },
	{ ".EXAMPLE:r:26", "a.b.example", "r", 26 },
	{ ".example:r:26", "example", "", 25 },
	{ "example:r:26", "dst.example", "", 25 },
	{ ".dst.example:r:26", "dst.example", "", 25 },
	{ "xdst.example:r:26", "dst.example", "", 25 },
	{ "st.example:r:26", "dst.example", "", 25 },
	{ ":r:26", "dst.example", "r", 26 },
	{ ":r:26", "", "r", 26 },
	{ ".:r:26", "", "", 25 },
	{ "a:r:26", "", "", 25 },
	{ ".example:\n:r:26\n", "dst.example", "", 25 },
	{ ".example:s\ndst.example:r\n", "dst.example", "r", 25 },
	{ "dst.example:r\n.example:s\n:t\n", "dst.example", "r", 25 },
	{ ":t\n.example:s\n.b.example:r\n", "a.b.example", "r", 25 },
	{ ".b.example:r\n.example:s\n:t\n", "a.b.example", "r", 25 },
	{ "a:r\na:s\n", "a", "s", 25 },
	{ "a:r\nA:s\n", "a", "s", 25 },
	{ "a:r\nb:t\nA:s\nb:u\n", "a", "s", 25 },
	{ ".a:r\n.a:s\nb.a:t\nc:u\n", "x.a", "s", 25 },
	{ ":r\n:s\n", "a", "s", 25 },
	{ "[1.2.3.4]:r:26", "[1.2.3.4]", "r", 26 },
	{ ".4]:r:26", "[1.2.3.4]", "r", 26 },
	{ ".2.3.4]:r:26", "[1.2.3.4]", "r", 26 },
	{ ":r:26", "[1.2.3.4]", "r", 26 },
	{ "dst.example:r:26", "dst.example.", "", 25 },
	{ ".:r:26", "dst.example.", "r", 26 },
	{ ".example:r", ".example", "r", 25 },
	{ "..example:r", "a..example", "r", 25 },
	{ "\xc3\x89:r", "\xc3\x89", "r", 25 },
	{ "\xc3\x89:r", "\xc3\xa9", "", 25 },
	/* Lines. */
	{ "", "a", "", 25 },
	{ "\n\n\n", "a", "", 25 },
	{ "#:s:1\n\n  \n:r:26", "a", "r", 26 },
	{ "#a:s\n", "#a", "", 25 },
	{ "x#a:s\n", "x#a", "s", 25 },
	{ "a\n:r:26", "a", "r", 26 },
	{ " a:s\n", "a", "", 25 },
	{ "a :s\n", "a", "", 25 },
	{ "a:r \t \n", "a", "r", 25 },
	{ "a:r:26 \t \n", "a", "r", 26 },
	/* Ports. */
	{ ":r:26 # hi", "a", "r", 26 },
	{ ":r:26\t#", "a", "r", 26 },
	{ ":[::1]:26 # hi", "a", "[::1]", 26 },
	{ "a::26 # hi", "a", "", 26 },
	{ ":r:00026", "a", "r", 26 },
	{ ":r:65535", "a", "r", 65535 },
	{ ":r:65536", "a", NULL, 0 },
	{ ":r:65561", "a", NULL, 0 },
	{ ":r:4294967321", "a", NULL, 0 },
	{ ":r:18446744073709551641", "a", NULL, 0 },
	{ ":r:0", "a", NULL, 0 },
	{ ":r:", "a", NULL, 0 },
	{ ":r:smtp", "a", NULL, 0 },
	{ ":r: 26", "a", NULL, 0 },
	{ ":r:-1", "a", NULL, 0 },
	{ ":r:+26", "a", NULL, 0 },
	{ ":r::26", "a", NULL, 0 },
	{ "b:r:\na:s\n", "a", "s", 25 },
	{ "a::26", "a", "", 26 },
	{ "a::", "a", NULL, 0 },
	{ "a:::26", "a", NULL, 0 },
	/* A file with CR LF. */
	{ "a:r\r\n", "a", "r", 25 },
	{ "a:r:26\r\n", "a", "r", 26 },
	{ "a:\r\n", "a", "", 25 },
	{ "a::26\r\n", "a", "", 26 },
	{ "a:r \r\n", "a", "r", 25 },
	{ "a:[::1]\r\n", "a", "[::1]", 25 },
	{ "a:r:\r\n", "a", NULL, 0 },
	{ "#a:s\r\n\r\na:r\r\n", "a", "r", 25 },
	{ "a:r \r \t\r\n", "a", "r", 25 },
	{ "a:r:26 # hi\r\n", "a", "r", 26 },
	/* A byte order mark. */
	{ "\xef\xbb\xbf"
	  "a:r\n",
	    "a", "r", 25 },
	{ "\xef\xbb\xbf"
	  "#a:r\n",
	    "a", "", 25 },
	{ "\xef\xbb\xbf:r\r\nb:s", "a", "r", 25 },
	{ "\xef\xbb\xbf", "a", "", 25 },
	{ "a:s\n\xef\xbb\xbf"
	  "a:r\n",
	    "a", "s", 25 },
	/* Address literals. */
	{ ":[127.0.0.1]:26", "a", "[127.0.0.1]", 26 },
	{ ":[127.0.0.1]", "a", "[127.0.0.1]", 25 },
	{ ":[::1]:26", "a", "[::1]", 26 },
	{ ":[::1]", "a", "[::1]", 25 },
	{ ":[2001:DB8::1]:26", "a", "[2001:DB8::1]", 26 },
	{ ":[IPv6:2001:db8::1]:26", "a", "[IPv6:2001:db8::1]", 26 },
	{ ":[ipv6:2001:db8::1]", "a", "[ipv6:2001:db8::1]", 25 },
	{ ":[::1]:", "a", NULL, 0 },
	{ ":[::1]26", "a", NULL, 0 },
	{ ":[2001:470::1]x:25", "a", NULL, 0 },
	{ ":[2001:470::1", "a", NULL, 0 },
	{ ":[1.2.3.4:25", "a", NULL, 0 },
	{ ":[1.2.3.256]:25", "a", NULL, 0 },
	{ ":1.2.3.256:25", "a", NULL, 0 },
	{ ":448.0.2.1", "a", NULL, 0 },
	{ ":1.2.3", "a", "1.2.3", 25 },
	{ ":1.2.3.4x", "a", "1.2.3.4x", 25 },
	{ ":2001:db8::1", "a", NULL, 0 },
	{ ":2001:470::1", "a", NULL, 0 },
	{ ":::1", "a", NULL, 0 },
	{ "[2001:db8::1]:r:26", "[2001:db8::1]", "r", 26 },
	{ "[2001:DB8::1]:[::1]:26", "[2001:db8::1]", "[::1]", 26 },
	{ "[IPv6:2001:db8::1]:r", "[ipv6:2001:db8::1]", "r", 25 },
	{ "[2001:db8::1]:r:26", "[2001", "", 25 },
	{ "[2001:db8::1]::26", "[2001:db8::1]", "", 26 },
	{ "[2001:db8::1]:", "[2001:db8::1]", "", 25 },
	{ "[2001:db8::1]", "[2001:db8::1]", "", 25 },
	{ "[foo:r:26", "[foo", "r", 26 },
	{ "[foo:[1.2.3.4]:26", "[foo", "[1.2.3.4]", 26 },
	{ "[2001:r", "[2001", "r", 25 },
	{ ".4]:r:26", "[::1.2.3.4]", "r", 26 },
	/* What other programs have behind a relay or its port. */
	{ ":r:587|user|pass", "a", NULL, 0 },
	{ ":r|user|pass", "a", NULL, 0 },
	{ ":r|user|pa:ss", "a", NULL, 0 },
	{ ":r;587", "a", NULL, 0 },
	{ ":r;587|user|pass", "a", NULL, 0 },
	{ ":r:587 user pass", "a", NULL, 0 },
	{ ":r:587\tuser pass # x", "a", NULL, 0 },
	{ ":r:587:user:pass", "a", NULL, 0 },
	{ ":r:587:", "a", NULL, 0 },
	{ ":r:587/ssl", "a", NULL, 0 },
	{ ":r:587#hi", "a", NULL, 0 },
	{ ":r:587tls", "a", NULL, 0 },
	{ ":r:587,s:25", "a", NULL, 0 },
	{ ":r,s", "a", NULL, 0 },
	{ ":r/587", "a", NULL, 0 },
	{ ":user:pass@r", "a", NULL, 0 },
	{ ":user@r", "a", NULL, 0 },
	{ ":smtp:[r]:587", "a", NULL, 0 },
	{ ":[r]:587", "a", NULL, 0 },
	{ ":[1.2.3.4]:587|user|pass", "a", NULL, 0 },
	{ ":[1.2.3.4];587", "a", NULL, 0 },
	{ ":[::1]|user|pass", "a", NULL, 0 },
	{ "a::587|user|pass", "a", NULL, 0 },
	{ ":\"r\"", "a", NULL, 0 },
	{ ":*", "a", NULL, 0 },
	/* What stock would bounce the mail for. */
	{ ":r\xc3\xa9", "a", NULL, 0 },
	{ ":r # hi", "a", NULL, 0 },
	{ ": r:26", "a", NULL, 0 },
	{ ":r\rx", "a", NULL, 0 },
};

static void
nap(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&t, &t) == -1 && errno == EINTR)
		;
}

/* Until what was written before may be compiled. */
static void
cool_down(void)
{
	nap(2050);
}

static int64_t
monotonic_us(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int
clear_home(void **state)
{
	(void)state;
	if (unlink(files.text) == -1 && errno != ENOENT)
		rmdir(files.text);
	unlink(files.lock);
	if (unlink(files.index) == -1 && errno != ENOENT)
		rmdir(files.index);
	return 0;
}

static void
put(const char *path, const char *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd != -1);
	assert_int_equal(fdio_write_all(fd, data, n, 1000), 0);
	assert_int_equal(close(fd), 0);
}

static void
put_text(const char *text)
{
	put(files.text, text, strlen(text));
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

static struct table_files case_files[COUNT(cases)];

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
	if (!mkdtemp(home) || chdir(home) == -1)
		return -1;
	write_large_files();
	put(nul.text, nuls, sizeof nuls - 1);
	put(lonely.text, ":r\n", 3);
	put(damaged.text, routes, sizeof routes - 1);
	write_case_files();
	return 0;
}

static void
remove_files(const struct table_files *f)
{
	unlink(f->text);
	unlink(f->index);
	unlink(f->lock);
}

static int
leave_home(void **state)
{
	static const struct table_files *const all[] = { &nul, &lonely,
		&damaged, &many, &same, &wide };

	clear_home(state);
	for (size_t i = 0; i < COUNT(all); i++)
		remove_files(all[i]);
	for (size_t i = 0; i < COUNT(cases); i++)
		remove_files(&case_files[i]);
	return chdir("/") == -1 || rmdir(home) == -1;
}

/* "relay port", or the status and detail of the failure. */
static const char *
find_with(const struct table_files *f, const char *host)
{
	static char text[600];
	struct route r = { 0 };
	struct dsn why = { 0 };

	if (route_find(host, f, &r, &why) == 0)
		snprintf(text, sizeof text, "%s %d", buf_text(&r.relay),
		    (int)r.port);
	else
		snprintf(text, sizeof text, "%s %s", why.status, why.detail);
	route_finish(&r);
	return text;
}

static const char *
find(const char *host)
{
	return find_with(&files, host);
}

static bool
is_compiled(void)
{
	return access(files.index, F_OK) == 0;
}

static void
check(const struct route_case *c, const struct table_files *f)
{
	const char *got = find_with(f, c->host);
	char want[100];

	snprintf(want, sizeof want, "4.4.1 %s: ", f->text);
	if (c->relay)
		snprintf(want, sizeof want, "%s %d", c->relay, c->port);
	if (strncmp(got, want, strlen(want)) != 0 ||
	    (c->relay && strcmp(got, want) != 0))
		fail_msg("%s, %s: %s", c->text, c->host, got);
}

/* The first to run: the files are too new to be compiled. */
static void
routes_by_the_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		check(&cases[i], &case_files[i]);
	cool_down();
}

/* By the text once more, which is compiled; then by what was compiled. */
static void
routes_by_the_compiled(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		bool empty = cases[i].text[0] == '\0';

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
	/* ":26" is an entry of its own: its relay is "26". */
	static const struct route_case want[] = {
		{ "first", "a", "r", 25 },
		{ "second", "b", "s", 25 },
		{ "last", "c", "t", 25 },
		{ "comment", "d", "26", 25 },
		{ "beyond a comment", "e", "26", 25 },
		{ "in a line that begins with a NUL", "f", "26", 25 },
		{ "the later of two", "g", "y", 25 },
		{ "not a port", "h", "z", 25 },
	};

	(void)state;
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < COUNT(want); i++)
			check(&want[i], &nul);
	assert_int_equal(access(nul.index, F_OK), 0);
}

static void
names_the_line(void **state)
{
	static const struct {
		const char *text;
		const char *detail;
	} lines[] = {
		{ "A.example:relay.example:x",
		    "no usable port: A.example:relay.example" },
		{ ".example:::1", "IPv6 address without brackets: .example:" },
		{ ".example:2001:db8::1",
		    "IPv6 address without brackets: .example:2001" },
		{ ":[::1", "not an address: :[" },
		{ ":1.2.3.256", "not an address: :1.2.3.256" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		char want[200];

		put_text(lines[i].text);
		snprintf(want, sizeof want, "4.4.1 smtproutes: %s",
		    lines[i].detail);
		assert_string_equal(find("a.example"), want);
	}
}

/* Wherever it stands; what comes before it may be told. */
static void
keeps_passwords_to_itself(void **state)
{
	static const char *const values[] = { "relay:587|user|hunter2",
		"relay|user|hunter2", "relay|us:er|hunter2",
		"relay;587|hunter2", "relay:587 user hunter2",
		"relay:587:user:hunter2", "relay:hunter2", "relay:hunter2@x",
		"relay hunter2", "relay\thunter2", "[relay|hunter2]:587",
		"[relay]:587|hunter2", "[1.2.3.4]:587|user|hunter2",
		"[1.2.3.4]hunter2", "[::1]:587 hunter2", "[::1 hunter2",
		":587|user|hunter2", "|hunter2", "\"hunter2\"", "relay/hunter2",
		"relay#hunter2", "relay:587 # hunter2|\r" };

	(void)state;
	for (size_t i = 0; i < COUNT(values); i++) {
		char text[100];
		const char *got;

		snprintf(text, sizeof text, ".example:%s\n", values[i]);
		put_text(text);
		got = find("a.example");
		if (strstr(got, "hunter"))
			fail_msg("%s: %s", values[i], got);
		if (!strstr(values[i], " # ") &&
		    !strstr(got, "4.4.1 smtproutes: "))
			fail_msg("%s: %s", values[i], got);
	}
}

static void
is_empty_as_a_link_to_the_null_device(void **state)
{
	(void)state;
	assert_int_equal(symlink("/dev/null", files.text), 0);
	assert_string_equal(find("a"), " 25");
	assert_false(is_compiled());
}

static void
may_be_missing(void **state)
{
	static const struct table_files nowhere = { "no/smtproutes", "no/cdb",
		"no/lock" };

	(void)state;
	assert_string_equal(find("a"), " 25");
	assert_string_equal(find_with(&nowhere, "a"), " 25");
	assert_false(is_compiled());
}

static void
refuses_what_it_cannot_read(void **state)
{
	static const struct table_files below = { "smtproutes/x", "x.cdb",
		"x.lock" };
	int fd;

	assert_int_equal(mkdir(files.text, 0700), 0);
	assert_string_equal(find("a"), "4.3.0 smtproutes: Is a directory");
	clear_home(state);
	assert_int_equal(mkfifo(files.text, 0600), 0);
	assert_string_equal(find("a"), "4.3.0 smtproutes: Invalid argument");
	clear_home(state);
	fd = open(files.text, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, ((off_t)1 << 30) + 1), 0);
	assert_int_equal(close(fd), 0);
	assert_string_equal(find("a"), "4.3.0 smtproutes: File too large");
	put_text("");
	assert_string_equal(find_with(&below, "a"),
	    "4.3.0 smtproutes/x: Not a directory");
	if (geteuid() == 0)
		return;
	put_text(":r\n");
	cool_down();
	assert_string_equal(find("a"), "r 25");
	assert_true(is_compiled());
	assert_int_equal(chmod(files.text, 0), 0);
	assert_string_equal(find("a"), "4.3.0 smtproutes: Permission denied");
	assert_int_equal(unlink(files.text), 0);
	put_text("");
	assert_int_equal(chmod(files.text, 0), 0);
	assert_string_equal(find("a"), "4.3.0 smtproutes: Permission denied");
}

/* Also when nothing but the bytes differ: the kernel's times tell. */
static void
sees_every_change(void **state)
{
	static const struct timespec old[2] = { { 1000000000, 0 },
		{ 1000000000, 0 } };

	(void)state;
	put_text(":one\n");
	cool_down();
	assert_string_equal(find("a"), "one 25");
	assert_true(is_compiled());
	put_text(":two\n");
	assert_string_equal(find("a"), "two 25");
	put_text(":six\n");
	assert_string_equal(find("a"), "six 25");
	cool_down();
	assert_string_equal(find("a"), "six 25");
	assert_string_equal(find("a"), "six 25");

	/* An older time, then another file with the same time and size. */
	put_text(":old\n");
	assert_int_equal(utimensat(AT_FDCWD, files.text, old, 0), 0);
	assert_string_equal(find("a"), "old 25");
	put("new", ":new\n", 5);
	assert_int_equal(utimensat(AT_FDCWD, "new", old, 0), 0);
	cool_down();
	assert_string_equal(find("a"), "old 25");
	assert_string_equal(find("a"), "old 25");
	assert_int_equal(rename("new", files.text), 0);
	assert_string_equal(find("a"), "new 25");
	cool_down();
	assert_string_equal(find("a"), "new 25");
	assert_string_equal(find("a"), "new 25");

	put_text("");
	assert_string_equal(find("a"), " 25");
	assert_int_equal(unlink(files.text), 0);
	assert_string_equal(find("a"), " 25");
	assert_true(is_compiled());
	put_text(":new\n");
	assert_string_equal(find("a"), "new 25");
}

static void
goes_on_without_compiled_routes(void **state)
{
	static const struct table_files nowhere = { "lonely", "no/cdb",
		"no/lock" };
	struct stat st;
	struct compiling *c;

	(void)state;
	assert_string_equal(find_with(&nowhere, "a"), "r 25");
	assert_int_equal(mkdir(lonely.index, 0700), 0);
	assert_string_equal(find_with(&lonely, "a"), "r 25");
	assert_int_equal(rmdir(lonely.index), 0);
	put(lonely.index, "garbage", 7);
	assert_int_equal(chmod(lonely.index, 0), 0);
	assert_string_equal(find_with(&lonely, "a"), "r 25");
	assert_int_equal(stat(lonely.index, &st), 0);
	assert_true(st.st_size > 2048);
	assert_int_equal(unlink(lonely.index), 0);

	/* Somebody compiles and does not get on. */
	assert_int_equal(stat(lonely.text, &st), 0);
	c = compiling_begin(lonely.index, lonely.lock, &st);
	assert_non_null(c);
	assert_string_equal(find_with(&lonely, "a"), "r 25");
	assert_int_equal(access(lonely.index, F_OK), -1);
	compiling_abort(c);
	assert_string_equal(find_with(&lonely, "a"), "r 25");
	assert_int_equal(access(lonely.index, F_OK), 0);
}

/* Whichever byte is damaged, the answer is right and the file made anew. */
static void
survives_damage(void **state)
{
	struct buf good = { 0 }, now = { 0 };

	(void)state;
	assert_string_equal(find_with(&damaged, "a.example"), "r 25");
	assert_int_equal(fdio_read_file(damaged.index, 1 << 20, &good), 0);
	for (size_t i = 0; i < good.len; i += i < 4096 ? 127 : 3) {
		good.data[i] ^= 0x10;
		put(damaged.index, good.data, good.len);
		good.data[i] ^= 0x10;
		if (strcmp(find_with(&damaged, "a.example"), "r 25") != 0 ||
		    strcmp(find_with(&damaged, "b.example"), "s 25") != 0 ||
		    strcmp(find_with(&damaged, "b"), "t 25") != 0)
			fail_msg("damage at %zu", i);
	}
	put(damaged.index, good.data, 3000);
	assert_string_equal(find_with(&damaged, "b"), "t 25");
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

		if (strcmp(got, "one 25") != 0 && strcmp(got, "two 25") != 0)
			_exit(1);
	}
}

/* Many look up while the file is replaced: all see one of the two. */
static void
serves_many_at_once(void **state)
{
	pid_t pid[20];

	(void)state;
	put_text(".example:one\n");
	for (size_t i = 0; i < COUNT(pid); i++) {
		pid[i] = fork();
		assert_true(pid[i] != -1);
		if (pid[i] == 0)
			look_up_for_ever();
	}
	for (int i = 0; i < 100; i++) {
		put("new", i % 2 ? ".example:one\n" : ".example:two\n", 13);
		assert_int_equal(rename("new", files.text), 0);
		nap(i % 50 == 0 ? 2200 : 5);
		assert_string_equal(find("x.example"),
		    i % 2 ? "one 25" : "two 25");
	}
	for (size_t i = 0; i < COUNT(pid); i++) {
		int status;

		assert_int_equal(kill(pid[i], SIGKILL), 0);
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);
	}
	assert_string_equal(find("a.example"), "one 25");
	unlink("smtproutes.cdb.new");
}

/* Microseconds for each of some look-ups. */
static int64_t
time_of(const char *host, const char *want)
{
	int64_t start = monotonic_us();

	for (int i = 0; i < 100; i++)
		assert_string_equal(find_with(&many, host), want);
	return (monotonic_us() - start) / 100;
}

static void
holds_very_many(void **state)
{
	int64_t start = monotonic_us();

	(void)state;
	assert_string_equal(find_with(&many, "domain123456.example"),
	    "relay56 3457");
	assert_in_range(monotonic_us() - start, 0, 20000000);
	print_message("# compiled in %ld ms\n",
	    (long)(monotonic_us() - start) / 1000);
	assert_int_equal(access(many.index, F_OK), 0);
	assert_string_equal(find_with(&many, "domain0.example"), "relay0 1");
	assert_string_equal(find_with(&many, "domain199999.example"),
	    "relay99 20000");
	assert_in_range(time_of("domain123456.example", "relay56 3457"), 0,
	    5000);
	assert_in_range(time_of("a.b.c.d.e.example", " 25"), 0, 5000);

	/* The same line over and over is no trap. */
	start = monotonic_us();
	assert_string_equal(find_with(&same, "a.example"), "relay199999 25");
	assert_in_range(monotonic_us() - start, 0, 5000000);
	assert_int_equal(access(same.index, F_OK), 0);
	assert_string_equal(find_with(&same, "a.example"), "relay199999 25");
}

static void
holds_very_long_lines(void **state)
{
	struct route r = { 0 };
	struct dsn why = { 0 };

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_string_equal(find_with(&wide, "a"), "r 25");
		assert_string_equal(find_with(&wide, "b"), "s 25");
		assert_int_equal(route_find("c", &wide, &r, &why), 0);
		assert_int_equal(r.relay.len, 1 << 20);
		assert_int_equal(access(wide.index, F_OK), 0);
	}
	route_finish(&r);
}

#define TEST(name) cmocka_unit_test_teardown(name, clear_home)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(routes_by_the_text),
		TEST(routes_by_the_compiled),
		TEST(separates_at_a_nul),
		TEST(names_the_line),
		TEST(keeps_passwords_to_itself),
		TEST(is_empty_as_a_link_to_the_null_device),
		TEST(may_be_missing),
		TEST(refuses_what_it_cannot_read),
		TEST(sees_every_change),
		TEST(goes_on_without_compiled_routes),
		TEST(survives_damage),
		TEST(serves_many_at_once),
		TEST(holds_very_many),
		TEST(holds_very_long_lines),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
