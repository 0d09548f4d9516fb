/* SPDX-License-Identifier: ISC */

/*
 * Whatever is added to a report, and in whatever order, it is one report:
 * recipient records, then exactly one message record, each ended by a NUL.
 */

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "io/fdio.h"

static int keep_output(int fd, const void *, size_t, int64_t stall_ms);

/* Includes the module, because its state must be reset. */
#define fdio_write_all keep_output
#include "qmail/report.c"
#undef fdio_write_all

#include "fuzz.h"

static struct buf output;

static int
keep_output(int fd, const void *data, size_t n, int64_t stall)
{
	CHECK(fd == 1 && stall > 0);
	buf_append(&output, data, n);
	return 0;
}

static void
put_failure(const char *text, bool is_temporary)
{
	struct dsn why = { 0 };

	dsn_set(&why, is_temporary ? "4.4.1" : "5.1.2", "%s", text);
	dsn_detail(&why, "%s", text);
	report_failure(&why);
}

/*
 * What the report must have: recipient records, and the letter of the message.
 */
struct expected {
	char recipient[256];
	size_t nrecipient;
	char message;
};

static void
note_recipient(struct expected *e, char letter)
{
	if (!e->message)
		e->recipient[e->nrecipient++ % sizeof e->recipient] = letter;
}

static void
note_message(struct expected *e, char letter)
{
	if (!e->message)
		e->message = letter;
}

static void
step(unsigned char what, const char *text, size_t n, struct expected *e)
{
	char *s = fuzz_string(text, n);

	switch (what & 15) {
	case 0:
	case 1:
	case 2:
		report_recipient((enum report_recipient)(what & 15));
		note_recipient(e, "rsh"[what & 15]);
		report_text(text, n);
		break;
	case 3:
	case 4:
	case 5:
		report_message((enum report_message)((what & 15) - 3));
		note_message(e, "KZD"[(what & 15) - 3]);
		report_text(text, n);
		break;
	case 6:
		report_puts(s);
		break;
	case 7:
		report_line("TLS: ", s);
		break;
	case 8:
	case 9:
		put_failure(s, what & 1);
		note_message(e, what & 1 ? 'Z' : 'D');
		break;
	case 10:
		/* More than the limit on replies in a report. */
		for (size_t i = 0; i < what; i++)
			report_reply(text, n);
		break;
	default:
		report_reply(text, n);
	}
	free(s);
}

static void
check_text(const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		CHECK((c >= ' ' && c != 0x7f) || c == '\n');
	}
}

static void
check_report(const struct expected *e)
{
	const char *at = buf_text(&output), *end = at + output.len;

	CHECK(output.len > 0 && end[-1] == '\0');
	for (size_t i = 0; i < e->nrecipient; i++) {
		CHECK(at < end);
		if (e->nrecipient <= sizeof e->recipient)
			CHECK(*at == e->recipient[i]);
		CHECK(*at && strchr("rhs", *at));
		check_text(at);
		at += strlen(at) + 1;
	}
	CHECK(at < end && *at == (e->message ? e->message : 'Z'));
	check_text(at);
	CHECK(at + strlen(at) + 1 == end);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct expected e = { 0 };

	memset(&report, 0, sizeof report);
	buf_cut(&output, 0);
	while (in.left > 0) {
		unsigned char what = fuzz_byte(&in);
		size_t n;
		const char *text;

		if (what & 0x80) {
			n = fuzz_byte(&in);
			text = fuzz_bytes(&in, &n);
		} else {
			text = fuzz_part(&in, '\n', &n);
		}
		step(what & 0x7f, text, n, &e);
	}
	report_end();
	check_report(&e);
	return 0;
}
