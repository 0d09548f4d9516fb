/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "qmail/control.h"
#include "qmail/tlsrequired.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct tlsrequired
parse(const char *text, bool is_whole)
{
	struct tlsrequired r = { true, true };

	tlsrequired_parse(&r, text, strlen(text), is_whole);
	return r;
}

/* The same with CRLF as line end. */
static struct tlsrequired
parse_crlf(const char *text)
{
	struct tlsrequired r;
	struct buf b = { 0 };

	for (; *text; text++) {
		if (*text == '\n')
			buf_putc(&b, '\r');
		buf_putc(&b, *text);
	}
	r = parse(buf_text(&b), true);
	buf_finish(&b);
	return r;
}

static void
finds_the_field(void **state)
{
	static const struct {
		const char *text;
		bool is_no;
	} cases[] = {
		{ "TLS-Required: No\n", true },
		{ "TLS-Required: no\n\nbody\n", true },
		{ "tls-required:NO", true },
		{ "TLS-REQUIRED:  nO  \n\n", true },
		{ "Subject: x\nTLS-Required: no\nTo: y\n\n", true },
		{ "TLS-Required: no\nTLS-Required: yes\n", true },
		{ "TLS-Required: yes\nTLS-Required: no\n", true },
		/* Blanks, folding, comments (RFC 5322 sections 2.2.3, 3.2.2) */
		{ "TLS-Required \t: no\n", true },
		{ "TLS-Required:\n no\n", true },
		{ "TLS-Required:\n \n\tno\n \n\n", true },
		{ "TLS-Required: (a comment) no (another)\n", true },
		{ "TLS-Required: (a (nested) comment)no(x)\n", true },
		{ "TLS-Required: (\\) \\( folded\n ) no\n", true },
		{ "TLS-Required: (1)(2) no\n", true },
		{ "Subject: a\n TLS-Required: no\n b\n", false },
		/* Other values. */
		{ "TLS-Required:\n", false },
		{ "TLS-Required: yes\n", false },
		{ "TLS-Required: not\n", false },
		{ "TLS-Required: na\n", false },
		{ "TLS-Required: no\177\n", false },
		{ "TLS-Required: n\n", false },
		{ "TLS-Required: no.\n", false },
		{ "TLS-Required: no no\n", false },
		{ "TLS-Required: no; really\n", false },
		{ "TLS-Required: \"no\"\n", false },
		{ "TLS-Required: n(x)o\n", false },
		{ "TLS-Required: n\n o\n", false },
		{ "TLS-Required: (no)\n", false },
		{ "TLS-Required: no (unfinished\n", false },
		{ "TLS-Required: no )\n", false },
		{ "TLS-Required: (no\\", false },
		{ "TLS-Required: no\xc3\xa9\n", false },
		/* Other fields. */
		{ "X-TLS-Required: no\n", false },
		{ "TLS-Required-: no\n", false },
		{ "TLS-Require: no\n", false },
		{ "TLS Required: no\n", false },
		{ "Subject: TLS-Required: no\n", false },
		/* Not in the header section. */
		{ "", false },
		{ "\nTLS-Required: no\n", false },
		{ "Subject: x\n\nTLS-Required: no\n", false },
		{ "From a@example today\nTLS-Required: no\n", false },
		{ "no field\nTLS-Required: no\n", false },
		{ ": x\nTLS-Required: no\n", false },
		{ " x\nTLS-Required: no\n", false },
		{ " : x\nTLS-Required: no\n", false },
		{ "S\x01: x\nTLS-Required: no\n", false },
		{ "S\177: x\nTLS-Required: no\n", false },
		{ "S\xc3\xa9: x\nTLS-Required: no\n", false },
		{ "TLS-Required\n : no\n", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct tlsrequired r = parse(cases[i].text, true);

		if (r.is_no != cases[i].is_no || r.is_report)
			fail_msg("%s: %d", cases[i].text, r.is_no);
		r = parse_crlf(cases[i].text);
		if (r.is_no != cases[i].is_no || r.is_report)
			fail_msg("CRLF: %s: %d", cases[i].text, r.is_no);
	}
}

/* A field whose end is not there may have another value. */
static void
ignores_an_unfinished_field(void **state)
{
	(void)state;
	assert_false(parse("TLS-Required: no", false).is_no);
	assert_false(parse("TLS-Required: no\n", false).is_no);
	assert_false(parse("TLS-Required: no\n (", false).is_no);
	assert_true(parse("TLS-Required: no\nS", false).is_no);
	assert_true(parse("TLS-Required: no\n\n", false).is_no);
	assert_true(parse("TLS-Required: no\r\n\r", false).is_no);
}

#define DOMAIN "TLS-Report-Domain: example.net\n"
#define SUBMITTER "TLS-Report-Submitter: mail.example.org\n"
#define FIELDS DOMAIN SUBMITTER

static void
recognises_a_report(void **state)
{
	static const struct {
		const char *text;
		bool is_report;
	} cases[] = {
		{ FIELDS "Content-Type: multipart/report; "
			 "report-type=\"tlsrpt\"; boundary=\"x\"\n\n",
		    true },
		{ "Content-Type: multipart/report; boundary=\"x\";\n"
		  "\treport-type=tlsrpt\n" FIELDS,
		    true },
		{ SUBMITTER "content-type: Multipart/REPORT;"
			    "Report-Type=TLSRPT\n" DOMAIN,
		    true },
		{ FIELDS "Content-Type: multipart (a) / (b) report (c) ; (d)\n"
			 " report-type (e) = (f) \"tlsrpt\" (g)\n",
		    true },
		{ FIELDS "Content-Type: multipart/report; "
			 "report-type=\"\\tls\\rpt\"\n",
		    true },
		{ FIELDS "Content-Type: multipart/report;"
			 " boundary=\"; report-type=x \\\" \\\\\";"
			 " report-type=tlsrpt\n",
		    true },
		{ FIELDS "Content-Type: multipart/report; (; x=) a=b;;"
			 "report-type=tlsrpt;\n",
		    true },
		/* Not all of the three fields. */
		{ "", false },
		{ FIELDS, false },
		{ DOMAIN "Content-Type: multipart/report;"
			 "report-type=tlsrpt\n",
		    false },
		{ SUBMITTER "Content-Type: multipart/report;"
			    "report-type=tlsrpt\n",
		    false },
		{ DOMAIN "Content-Type: multipart/report;"
			 "report-type=tlsrpt\n\n" SUBMITTER,
		    false },
		/* Another type, or not one. */
		{ FIELDS "Content-Type: multipart/report;"
			 "report-type=tlsrpt\n"
			 "Content-Type: multipart/report;"
			 "report-type=tlsrpt\n",
		    false },
		{ FIELDS "Content-Type: text/plain\n"
			 "Content-Type: multipart/report;"
			 "report-type=tlsrpt\n",
		    false },
		{ FIELDS "Content-Type:\n", false },
		{ FIELDS "Content-Type: text/plain; report-type=tlsrpt\n",
		    false },
		{ FIELDS "Content-Type: multipart\n", false },
		{ FIELDS "Content-Type: multipart/mixed;"
			 "report-type=tlsrpt\n",
		    false },
		{ FIELDS "Content-Type: multipart/report\n", false },
		{ FIELDS "Content-Type: multipart/report;\n", false },
		{ FIELDS "Content-Type: multipart/report report-type=tlsrpt\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "report-type=delivery-status\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "report-type=delivery-status;report-type=tlsrpt\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "report-type=tlsrpt2\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;report-type\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;report-type=\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "report-type=\"tlsrpt\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "report-type=\"tlsrpt2\"\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "report-type=\"tlsrp\"\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "report-type=\"tls\n rpt\"\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "report-type=\"tlsrpt\\",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "a=\"unfinished;report-type=tlsrpt\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "a=\"unfinished\\",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "a(unfinished;report-type=tlsrpt\n",
		    false },
		{ FIELDS "Content-Type: multipart/report x;"
			 "report-type=tlsrpt\n",
		    false },
		{ FIELDS "Content-Type: multipart/report;"
			 "xreport-type=tlsrpt\n",
		    false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct tlsrequired r = parse(cases[i].text, true);

		if (r.is_report != cases[i].is_report || r.is_no)
			fail_msg("%s: %d", cases[i].text, r.is_report);
		r = parse_crlf(cases[i].text);
		if (r.is_report != cases[i].is_report || r.is_no)
			fail_msg("CRLF: %s: %d", cases[i].text, r.is_report);
	}
}

static void
is_obeyed_as_control_says(void **state)
{
	static const struct tlsrequired neither = { false, false };
	static const struct tlsrequired report = { false, true };
	static const struct tlsrequired no = { true, false };
	static const struct tlsrequired both = { true, true };

	(void)state;
	for (unsigned long setting = 0; setting <= 2; setting++) {
		assert_false(tlsrequired_is_obeyed(&neither, setting));
		assert_false(tlsrequired_is_obeyed(&report, setting));
		assert_int_equal(tlsrequired_is_obeyed(&no, setting),
		    setting == CONTROL_TLSREQUIRED_OBEYED);
		assert_int_equal(tlsrequired_is_obeyed(&both, setting),
		    setting != CONTROL_TLSREQUIRED_IGNORED);
	}
}

/* A message in an unlinked file, with its offset behind the first bytes. */
static int
make_message(const char *before, const char *text, size_t n)
{
	char path[] = "/tmp/test_tlsrequired.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd != -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(write(fd, before, strlen(before)), strlen(before));
	assert_int_equal(write(fd, text, n), n);
	assert_int_equal(lseek(fd, (off_t)strlen(before), SEEK_SET),
	    strlen(before));
	return fd;
}

static bool
reads_no(const char *before, const char *text, size_t n)
{
	int fd = make_message(before, text, n);
	struct tlsrequired r = { false, true };

	tlsrequired_read(&r, fd);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), strlen(before));
	assert_int_equal(close(fd), 0);
	return r.is_no && !r.is_report;
}

static void
reads_from_the_offset_on(void **state)
{
	static const char no[] = "TLS-Required: no";

	(void)state;
	assert_true(reads_no("", no, sizeof no - 1));
	assert_true(reads_no("\nenvelope\n\n", no, sizeof no - 1));
	assert_true(reads_no("", "TLS-Required: no\r\n\r\nbody", 24));
	assert_true(reads_no("",
	    "S: x\n\tTLS-Required: no\r\nTLS-Required: "
	    "no\r\n",
	    42));
	assert_false(reads_no("", "S: x\r\n\r\nTLS-Required: no\r\n", 26));
	assert_false(reads_no("TLS-Required: no\n", "S: x", 4));
	assert_false(reads_no("", "", 0));
}

/*
 * The header section ends at each place around the ends of pieces; the field is
 * its first or its last one, or the start of the body.
 */
static void
reads_headers_of_any_length(void **state)
{
	static const char field[] = "TLS-Required: no\n";
	static const size_t around[] = { 8192, 16384, 65536 };

	(void)state;
	for (size_t i = 0; i < COUNT(around); i++)
		for (size_t n = around[i] - 40; n < around[i] + 4; n++) {
			bool is_beyond = n + 1 > TLSREQUIRED_HEADER_MAX;
			struct buf b = { 0 };

			buf_puts(&b, "S: ");
			while (b.len + sizeof field < n)
				buf_putc(&b, 'x');
			buf_puts(&b, "\n");
			buf_puts(&b, field);
			assert_int_equal(b.len, n);
			assert_true(reads_no("", b.data, b.len) ||
				    n > TLSREQUIRED_HEADER_MAX);
			buf_puts(&b, "\nbody\n\n");
			if (reads_no("12345", b.data, b.len) == is_beyond)
				fail_msg("%zu bytes", n);
			b.data[n - sizeof field] = 'x';
			buf_cut(&b, n - sizeof field + 1);
			buf_puts(&b, "\n\n");
			buf_puts(&b, field);
			assert_false(reads_no("", b.data, b.len));
			buf_finish(&b);
		}
}

static void
does_not_read_what_is_not_a_file(void **state)
{
	struct tlsrequired r = { true, true };
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], "TLS-Required: no\n\n", 18), 18);
	tlsrequired_read(&r, fd[0]);
	assert_false(r.is_no || r.is_report);
	assert_int_equal(close(fd[0]), 0);
	assert_int_equal(close(fd[1]), 0);

	r = (struct tlsrequired){ true, true };
	tlsrequired_read(&r, fd[0]);
	assert_false(r.is_no || r.is_report);

	/* One that cannot be read, and one that ends before its offset. */
	fd[0] = open("/dev/null", O_WRONLY);
	tlsrequired_read(&r, fd[0]);
	assert_int_equal(close(fd[0]), 0);
	fd[0] = make_message("", "TLS-Required: no\n\n", 18);
	assert_int_equal(lseek(fd[0], 100, SEEK_SET), 100);
	tlsrequired_read(&r, fd[0]);
	assert_false(r.is_no || r.is_report);
	assert_int_equal(close(fd[0]), 0);
}

static void
finds_nothing_in_an_unreadable_file(void **state)
{
	char path[] = "/tmp/test_tlsrequired.XXXXXX";
	struct tlsrequired r = { true, true };
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd != -1);
	assert_int_equal(write(fd, "TLS-Required: no\n\n", 18), 18);
	assert_int_equal(close(fd), 0);
	fd = open(path, O_WRONLY);
	assert_int_equal(unlink(path), 0);
	tlsrequired_read(&r, fd);
	assert_false(r.is_no || r.is_report);
	assert_int_equal(close(fd), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_field),
		cmocka_unit_test(ignores_an_unfinished_field),
		cmocka_unit_test(recognises_a_report),
		cmocka_unit_test(is_obeyed_as_control_says),
		cmocka_unit_test(reads_from_the_offset_on),
		cmocka_unit_test(reads_headers_of_any_length),
		cmocka_unit_test(does_not_read_what_is_not_a_file),
		cmocka_unit_test(finds_nothing_in_an_unreadable_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
