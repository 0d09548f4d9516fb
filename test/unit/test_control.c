/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmail/control.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char *const files[] = { "me", "helohost", "timeoutremote",
	"timeoutconnect", "timeoutdns", "trustanchors", "clientcert",
	"clientkey", "tlsstrictness", "dane", "mtasts", "tlsrequired",
	"tlsrptsocket" };

static char home[] = "/tmp/test_control.XXXXXX";

static int
enter_home(void **state)
{
	(void)state;
	if (!mkdtemp(home) || chdir(home) == -1)
		return -1;
	return mkdir("control", 0700);
}

static const char *
path_of(const char *name)
{
	static char path[64];

	strcpy(path, "control/");
	return strcat(path, name);
}

static void
clear_home(void)
{
	for (size_t i = 0; i < COUNT(files); i++)
		if (unlink(path_of(files[i])) == -1)
			rmdir(path_of(files[i]));
}

static int
leave_home(void **state)
{
	(void)state;
	clear_home();
	return rmdir("control") == -1 || chdir("/") == -1 || rmdir(home) == -1;
}

static void
put(const char *name, const char *data, size_t n)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd != -1);
	assert_int_equal(write(fd, data, n), n);
	assert_int_equal(close(fd), 0);
}

static void
put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

static void
reads_first_lines(void **state)
{
	static const struct {
		const char *in;
		const char *out;
	} cases[] = {
		{ "name\n", "name" },
		{ "name", "name" },
		{ "name  \t \nmore\n", "name" },
		{ "a.example\nb.example\n", "a.example" },
		{ "\nb.example\n", "" },
		{ " \t\nb\n", "" },
		{ "", "" },
		{ "\n", "" },
		{ " lead", " lead" },
		{ "#c\n", "#c" },
		{ "name\r\n", "name" },
		{ "name\r", "name" },
		{ "name \r\t\r \r\nmore\r\n", "name" },
		{ "\r\n", "" },
		{ "na\rme\n", "na\rme" },
		{ "\rname\n", "\rname" },
		{ "in ner\n", "in ner" },
		{ "\xef\xbb\xbfname\n", "name" },
		{ "\xef\xbb\xbf\xef\xbb\xbfname\n", "\xef\xbb\xbfname" },
		{ "\xef\xbb\xbf", "" },
		{ "\xef\xbb\xbf\nname\n", "" },
		{ "\xef\xbb", "\xef\xbb" },
		{ "\xef\xbbname\n", "\xef\xbbname" },
		{ "name\n\xef\xbb\xbf", "name" },
	};
	struct buf line = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		put_text("me", cases[i].in);
		assert_int_equal(control_line("control/me", &line),
		    CONTROL_FOUND);
		if (strcmp(buf_text(&line), cases[i].out) != 0)
			fail_msg("%s: %s", cases[i].in, buf_text(&line));
	}
	clear_home();
	assert_int_equal(symlink("/dev/null", "control/me"), 0);
	assert_int_equal(control_line("control/me", &line), CONTROL_FOUND);
	assert_int_equal(line.len, 0);
	clear_home();
	assert_int_equal(control_line("control/me", &line), CONTROL_MISSING);
	assert_int_equal(line.len, 0);
	assert_int_equal(control_line("nowhere/me", &line), CONTROL_MISSING);
	buf_finish(&line);
}

static void
distinguishes_unreadable_from_missing(void **state)
{
	struct buf line = { 0 };
	int fd;

	(void)state;
	assert_int_equal(mkdir("control/me", 0700), 0);
	assert_int_equal(control_line("control/me", &line), CONTROL_UNREADABLE);
	assert_int_equal(errno, EISDIR);
	clear_home();
	assert_int_equal(mkfifo("control/me", 0600), 0);
	assert_int_equal(control_line("control/me", &line), CONTROL_UNREADABLE);
	clear_home();
	assert_int_equal(symlink("me", "control/me"), 0);
	assert_int_equal(control_line("control/me", &line), CONTROL_UNREADABLE);
	assert_int_equal(errno, ELOOP);
	clear_home();
	put_text("me", "x\n");
	assert_int_equal(control_line("control/me/x", &line),
	    CONTROL_UNREADABLE);
	if (geteuid() != 0) {
		assert_int_equal(chmod("control/me", 0), 0);
		assert_int_equal(control_line("control/me", &line),
		    CONTROL_UNREADABLE);
		assert_int_equal(errno, EACCES);
	}
	clear_home();
	fd = open("control/me", O_WRONLY | O_CREAT, 0600);
	assert_true(fd != -1);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(control_line("control/me", &line), CONTROL_UNREADABLE);
	assert_int_equal(errno, EFBIG);
	clear_home();
	buf_finish(&line);
}

static void
reads_numbers(void **state)
{
	static const struct {
		const char *in;
		unsigned long out;
	} cases[] = {
		{ "1\n", 5 },
		{ "5\n", 5 },
		{ "6\n", 6 },
		{ "6x\n", 6 },
		{ "6 \t\n", 6 },
		{ "6\r\n", 6 },
		{ "\xef\xbb\xbf"
		  "6\r\n",
		    6 },
		{ "0006", 6 },
		{ "6\n7\n", 6 },
		{ "100", 100 },
		{ "101", 100 },
		{ "0", 5 },
		{ "2147483648", 100 },
		{ "4294967297", 100 },
		{ "18446744073709551622", 100 },
		{ " 6\n", 42 },
		{ "-6\n", 42 },
		{ "+6\n", 42 },
		{ "\n6\n", 42 },
		{ "", 42 },
		{ "abc\n", 42 },
		{ "#6\n", 42 },
	};
	static const struct control_range range = { 5, 100, 42 };
	unsigned long n = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		put_text("timeoutdns", cases[i].in);
		assert_int_equal(control_number("control/timeoutdns", range,
				     &n),
		    CONTROL_FOUND);
		if (n != cases[i].out)
			fail_msg("%s: %lu", cases[i].in, n);
	}
	clear_home();
	assert_int_equal(control_number("control/timeoutdns", range, &n),
	    CONTROL_MISSING);
	assert_int_equal(n, 42);
	assert_int_equal(mkdir("control/timeoutdns", 0700), 0);
	n = 7;
	assert_int_equal(control_number("control/timeoutdns", range, &n),
	    CONTROL_UNREADABLE);
	assert_int_equal(errno, EISDIR);
	assert_int_equal(n, 7);
	clear_home();
}

static void
steps_through_lists(void **state)
{
	static const struct {
		const char *in;
		const char *out; /* the lines with '|' after each */
	} cases[] = {
		{ "", "" },
		{ "\n", "" },
		{ "a", "a|" },
		{ "a\n", "a|" },
		{ "a\n\n  \n\t\nb", "a|b|" },
		{ "#a\n #b\nc#\n", " #b|c#|" },
		{ "a \t\r\n\r\n \r\nb\r", "a|b|" },
		{ "a\rb\r\n\rc\n", "a\rb|\rc|" },
		{ "\r", "" },
		{ "  a  \n", "  a|" },
		{ "#", "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *at = cases[i].in;
		const char *end = at + strlen(at);
		const char *line;
		size_t len;
		struct buf out = { 0 };

		while (control_next(&at, end, &line, &len)) {
			buf_append(&out, line, len);
			buf_putc(&out, '|');
		}
		if (strcmp(buf_text(&out), cases[i].out) != 0)
			fail_msg("%s: %s", cases[i].in, buf_text(&out));
		buf_finish(&out);
	}
}

/* As qmail does; a NUL inside a line is part of it. */
static void
leaves_out_lines_that_begin_with_a_nul(void **state)
{
	static const char list[] = "\0\n\0a\nb\0c\n\0";
	const char *at = list, *end = list + sizeof list - 1, *line;
	size_t len;

	(void)state;
	assert_true(control_next(&at, end, &line, &len));
	assert_int_equal(len, 3);
	assert_memory_equal(line, "b\0c", 3);
	assert_false(control_next(&at, end, &line, &len));
}

static void
finds_a_byte_order_mark(void **state)
{
	(void)state;
	assert_int_equal(control_bom_length("\xef\xbb\xbf", 3), 3);
	assert_int_equal(control_bom_length("\xef\xbb\xbfx", 4), 3);
	assert_int_equal(control_bom_length("\xef\xbb\xbf", 2), 0);
	assert_int_equal(control_bom_length("\xfe\xff", 2), 0);
	assert_int_equal(control_bom_length("x\xef\xbb\xbf", 4), 0);
	assert_int_equal(control_bom_length("", 0), 0);
}

static void
has_defaults(void **state)
{
	struct control c = { 0 };
	struct dsn why = { 0 };

	(void)state;
	put_text("me", "me.example\n");
	assert_int_equal(control_read(&c, &why), 0);
	assert_string_equal(buf_text(&c.helohost), "me.example");
	assert_int_equal(c.timeoutconnect, 60);
	assert_int_equal(c.timeoutremote, 1200);
	assert_int_equal(c.timeoutdns, 0);
	assert_int_equal(c.tlsstrictness, 0);
	assert_string_equal(buf_text(&c.trustanchors), "");
	assert_string_equal(buf_text(&c.clientcert), "");
	assert_string_equal(buf_text(&c.clientkey), "");
	assert_int_equal(c.dane, 0);
	assert_int_equal(c.mtasts, 0);
	assert_int_equal(c.tlsrequired, CONTROL_TLSREQUIRED_REPORTS);
	assert_string_equal(buf_text(&c.tlsrptsocket), "");
	control_finish(&c);
	clear_home();
}

static void
reads_all_files(void **state)
{
	struct control c = { 0 };
	struct dsn why = { 0 };

	(void)state;
	put_text("me", "me.example\n");
	put_text("helohost", "h.example \t\n");
	put_text("timeoutconnect", "86401\n");
	put_text("timeoutremote", "604801\n");
	put_text("timeoutdns", "86401\n");
	put_text("trustanchors", "/etc/ssl/certs/\n");
	put_text("clientcert", "cert.pem\nx\n");
	put_text("clientkey", "key.pem");
	put_text("tlsstrictness", "1 # maybe\n");
	put_text("dane", "1\n");
	put_text("mtasts", "5\n");
	put_text("tlsrequired", "1\n");
	put_text("tlsrptsocket", "/run/tlsrpt.sock\n");
	assert_int_equal(control_read(&c, &why), 0);
	assert_string_equal(buf_text(&c.helohost), "h.example");
	assert_int_equal(c.timeoutconnect, 86400);
	assert_int_equal(c.timeoutremote, 604800);
	assert_int_equal(c.timeoutdns, 86400);
	assert_int_equal(c.tlsstrictness, 1);
	assert_string_equal(buf_text(&c.trustanchors), "/etc/ssl/certs/");
	assert_string_equal(buf_text(&c.clientcert), "cert.pem");
	assert_string_equal(buf_text(&c.clientkey), "key.pem");
	assert_int_equal(c.dane, 1);
	assert_int_equal(c.mtasts, 5);
	assert_int_equal(c.tlsrequired, CONTROL_TLSREQUIRED_OBEYED);
	assert_string_equal(buf_text(&c.tlsrptsocket), "/run/tlsrpt.sock");
	control_finish(&c);

	put_text("timeoutconnect", "0\n");
	put_text("timeoutremote", "0\n");
	put_text("timeoutdns", "0\n");
	c = (struct control){ 0 };
	assert_int_equal(control_read(&c, &why), 0);
	assert_int_equal(c.timeoutconnect, 1);
	assert_int_equal(c.timeoutremote, 1);
	assert_int_equal(c.timeoutdns, 0);
	control_finish(&c);
	clear_home();
}

static void
chooses_the_name(void **state)
{
	static char long_name[257];
	static const struct {
		const char *name;
		const char *me;       /* NULL: missing */
		const char *helohost; /* NULL: missing */
		const char *out;      /* NULL: refused */
	} cases[] = {
		{ "neither", NULL, NULL, NULL },
		{ "me", "me\n", NULL, "me" },
		{ "helohost alone", NULL, "h\n", "h" },
		{ "helohost beats me", "me\n", "h\n", "h" },
		{ "empty helohost", "me\n", "", NULL },
		{ "blank helohost", "me\n", " \t\r\n", NULL },
		{ "helohost with an empty first line", "me\n", "\nh\n", NULL },
		{ "empty me", "", NULL, NULL },
		{ "blank me", "  \n", NULL, NULL },
		{ "a byte order mark alone", "\xef\xbb\xbf\r\n", NULL, NULL },
		{ "empty me that does not matter", "", "h\n", "h" },
		{ "byte order mark", NULL, "\xef\xbb\xbfh\n", "h" },
		{ "a comment is a name", NULL, "#c\n", "#c" },
		{ "literal", NULL, "[192.0.2.1]\n", "[192.0.2.1]" },
		{ "blank", NULL, "a b\n", NULL },
		{ "leading blank", NULL, " a\n", NULL },
		{ "CR at the end", NULL, "a\r\n", "a" },
		{ "CR at the end of me", "a\r\n", NULL, "a" },
		{ "CR inside", NULL, "a\rb\n", NULL },
		{ "CR in a me that does not matter", "a\rb\n", "h", "h" },
		{ "escape", NULL, "a\033b", NULL },
		{ "DEL", NULL, "a\177b", NULL },
		{ "8-bit", NULL, "h\xc3\xa9", NULL },
		{ "255 bytes", NULL, long_name + 1, long_name + 1 },
		{ "256 bytes", NULL, long_name, NULL },
	};

	(void)state;
	memset(long_name, 'a', sizeof long_name - 1);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct control c = { 0 };
		struct dsn why = { 0 };
		int result;

		if (cases[i].me)
			put_text("me", cases[i].me);
		if (cases[i].helohost)
			put_text("helohost", cases[i].helohost);
		result = control_read(&c, &why);
		if (result != (cases[i].out ? 0 : -1))
			fail_msg("%s: returned %d", cases[i].name, result);
		if (cases[i].out &&
		    strcmp(buf_text(&c.helohost), cases[i].out) != 0)
			fail_msg("%s: %s", cases[i].name,
			    buf_text(&c.helohost));
		if (!cases[i].out)
			assert_string_equal(why.status, "4.3.0");
		control_finish(&c);
		clear_home();
	}
	put("helohost", "a\0b", 3);
	struct control c = { 0 };
	struct dsn why = { 0 };
	assert_int_equal(control_read(&c, &why), -1);
	control_finish(&c);
	clear_home();
}

static void
says_which_name_is_empty(void **state)
{
	struct control c = { 0 };
	struct dsn why = { 0 };

	(void)state;
	put_text("me", "\r\n");
	assert_int_equal(control_read(&c, &why), -1);
	assert_string_equal(why.text, "Unable to read control files.");
	assert_string_equal(why.detail, "control/me: empty");
	control_finish(&c);
	assert_int_equal(symlink("/dev/null", "control/helohost"), 0);
	c = (struct control){ 0 };
	assert_int_equal(control_read(&c, &why), -1);
	assert_string_equal(why.detail, "control/helohost: empty");
	control_finish(&c);
	clear_home();
}

static void
never_weakens_strictness(void **state)
{
	static const struct {
		const char *in;
		int out; /* -1: refused */
	} cases[] = {
		{ "0", 0 },
		{ "1\n", 1 },
		{ "2\n", 2 },
		{ "3\n", 2 },
		{ "10\n", 2 },
		{ "99999999999999999999\n", 2 },
		{ "2x\n", 2 },
		{ "02\r\n", 2 },
		{ "\xef\xbb\xbf"
		  "2\n",
		    2 },
		{ "", 0 },
		{ "\n", 0 },
		{ " \t\n", 0 },
		{ " 2\n", -1 },
		{ "-1\n", -1 },
		{ "high\n", -1 },
		{ "\r\n", 0 },
		{ "#2\n", -1 },
	};

	(void)state;
	put_text("me", "me.example\n");
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct control c = { 0 };
		struct dsn why = { 0 };
		int result;

		put_text("tlsstrictness", cases[i].in);
		result = control_read(&c, &why);
		if (result != (cases[i].out == -1 ? -1 : 0))
			fail_msg("%s: returned %d", cases[i].in, result);
		if (result == 0 &&
		    c.tlsstrictness != (unsigned long)cases[i].out)
			fail_msg("%s: %lu", cases[i].in, c.tlsstrictness);
		if (result == -1) {
			assert_string_equal(why.status, "4.3.0");
			assert_string_equal(why.detail,
			    "control/tlsstrictness: not a number");
		}
		control_finish(&c);
	}
	clear_home();
}

static unsigned long
policy_of(const struct control *c, const char *name)
{
	if (strcmp(name, "dane") == 0)
		return c->dane;
	return strcmp(name, "mtasts") == 0 ? c->mtasts : c->tlsrequired;
}

/* What has no meaning is an error, and so is what is no number. */
static void
never_guesses_a_policy(void **state)
{
	static const struct {
		const char *name;
		const char *in;
		int out; /* -1: refused */
		const char *reason;
	} cases[] = {
		{ "dane", "0\n", 0, "" },
		{ "dane", "1\n", 1, "" },
		{ "dane", "01 # x\r\n", 1, "" },
		{ "dane", "", 0, "" },
		{ "dane", " \t\n", 0, "" },
		{ "dane", "2\n", -1, "no such choice" },
		{ "dane", "10\n", -1, "no such choice" },
		{ "dane", "18446744073709551617\n", -1, "no such choice" },
		{ "dane", "on\n", -1, "not a number" },
		{ "dane", "-1\n", -1, "not a number" },
		{ "dane", " 1\n", -1, "not a number" },
		{ "dane", "0x1\n", -1, "not a number" },
		{ "dane", "1yes\n", -1, "not a number" },
		{ "mtasts", "0\n", 0, "" },
		{ "mtasts", "600\n", 600, "" },
		{ "mtasts", "601\n", 600, "" },
		{ "mtasts", "99999999999999999999\n", 600, "" },
		{ "mtasts", "5s\n", -1, "not a number" },
		{ "mtasts", "1x\n", -1, "not a number" },
		{ "mtasts", "5 s\n", -1, "not a number" },
		{ "mtasts", "5#\n", -1, "not a number" },
		{ "mtasts", "1,5\n", -1, "not a number" },
		{ "mtasts", "5\t# seconds\n", 5, "" },
		{ "mtasts", "5 \r\n7s\n", 5, "" },
		{ "mtasts", "\n", 0, "" },
		{ "mtasts", "yes\n", -1, "not a number" },
		{ "tlsrequired", "0\n", CONTROL_TLSREQUIRED_IGNORED, "" },
		{ "tlsrequired", "1\n", CONTROL_TLSREQUIRED_OBEYED, "" },
		{ "tlsrequired", "2\n", CONTROL_TLSREQUIRED_REPORTS, "" },
		{ "tlsrequired", "\n", CONTROL_TLSREQUIRED_REPORTS, "" },
		{ "tlsrequired", "3\n", -1, "no such choice" },
		{ "tlsrequired", "no\n", -1, "not a number" },
		{ "tlsrequired", "0-no\n", -1, "not a number" },
	};
	struct buf want = { 0 };

	(void)state;
	put_text("me", "me.example\n");
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct control c = { 0 };
		struct dsn why = { 0 };
		int result;

		put_text(cases[i].name, cases[i].in);
		result = control_read(&c, &why);
		if (result != (cases[i].out == -1 ? -1 : 0))
			fail_msg("%s %s: returned %d", cases[i].name,
			    cases[i].in, result);
		if (result == 0 &&
		    policy_of(&c, cases[i].name) != (unsigned long)cases[i].out)
			fail_msg("%s %s: %lu", cases[i].name, cases[i].in,
			    policy_of(&c, cases[i].name));
		if (result == -1) {
			assert_string_equal(why.status, "4.3.0");
			buf_cut(&want, 0);
			buf_printf(&want, "control/%s: %s", cases[i].name,
			    cases[i].reason);
			assert_string_equal(why.detail, want.data);
		}
		assert_int_equal(unlink(path_of(cases[i].name)), 0);
		control_finish(&c);
	}
	buf_finish(&want);
	clear_home();
}

/* It never concerns the mail. */
static void
passes_over_an_unusable_tlsrptsocket(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct control c = { 0 };
		struct dsn why = { 0 };

		put_text("me", "me.example\n");
		if (i == 0)
			put("tlsrptsocket", "a\0b\n", 4);
		else
			assert_int_equal(i == 1
					     ? mkdir(path_of("tlsrptsocket"),
						   0700)
					     : mkfifo(path_of("tlsrptsocket"),
						   0600),
			    0);
		assert_int_equal(control_read(&c, &why), 0);
		assert_string_equal(buf_text(&c.tlsrptsocket), "");
		control_finish(&c);
		clear_home();
	}
}

static void
recognises_a_comment(void **state)
{
	static const struct {
		const char *text;
		size_t blanks;
		bool is_comment;
	} cases[] = {
		{ "", 0, true },
		{ " ", 1, true },
		{ "\t  ", 3, true },
		{ " #", 1, true },
		{ " \t # x", 3, true },
		{ "#", 0, false },
		{ "# x", 0, false },
		{ "x", 0, false },
		{ " x", 1, false },
		{ " x #", 1, false },
		{ "\r#", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t n = strlen(cases[i].text);

		assert_int_equal(control_blank_length(cases[i].text, n),
		    cases[i].blanks);
		if (control_is_comment(cases[i].text, n) != cases[i].is_comment)
			fail_msg("'%s'", cases[i].text);
	}
}

/* Each file in turn as a directory and as a FIFO; the last one is optional. */
static void
refuses_what_it_cannot_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * (COUNT(files) - 1); i++) {
		const char *name = files[i / 2];
		struct control c = { 0 };
		struct dsn why = { 0 };

		put_text("me", "me.example\n");
		unlink(path_of(name));
		assert_int_equal(i % 2 ? mkdir(path_of(name), 0700)
				       : mkfifo(path_of(name), 0600),
		    0);
		if (control_read(&c, &why) != -1)
			fail_msg("%s: went on", name);
		assert_string_equal(why.status, "4.3.0");
		assert_string_equal(why.text, "Unable to read control files.");
		if (strncmp(why.detail, path_of(name), strlen(path_of(name))))
			fail_msg("%s: %s", name, why.detail);
		control_finish(&c);
		clear_home();
	}
}

static void
refuses_a_nul_in_a_path(void **state)
{
	struct control c = { 0 };
	struct dsn why = { 0 };

	(void)state;
	put_text("me", "me.example\n");
	put("trustanchors", "/etc\0/x\n", 8);
	assert_int_equal(control_read(&c, &why), -1);
	assert_string_equal(why.detail, "control/trustanchors: not a path");
	control_finish(&c);
	clear_home();
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_first_lines),
		cmocka_unit_test(distinguishes_unreadable_from_missing),
		cmocka_unit_test(reads_numbers),
		cmocka_unit_test(steps_through_lists),
		cmocka_unit_test(leaves_out_lines_that_begin_with_a_nul),
		cmocka_unit_test(finds_a_byte_order_mark),
		cmocka_unit_test(has_defaults),
		cmocka_unit_test(reads_all_files),
		cmocka_unit_test(chooses_the_name),
		cmocka_unit_test(says_which_name_is_empty),
		cmocka_unit_test(never_weakens_strictness),
		cmocka_unit_test(never_guesses_a_policy),
		cmocka_unit_test(passes_over_an_unusable_tlsrptsocket),
		cmocka_unit_test(recognises_a_comment),
		cmocka_unit_test(refuses_what_it_cannot_read),
		cmocka_unit_test(refuses_a_nul_in_a_path),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
