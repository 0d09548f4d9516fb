/* SPDX-License-Identifier: ISC */
#include "qmail/report.h"

#include <string.h>

#include "io/fdio.h"

#define REPORT_FD 1

/*
 * How long the reader may read nothing.  qmail-rspawn always reads; a report
 * that nobody reads for longer is lost.
 */
#define STALL_MS (300 * 1000)

/*
 * Limit on remote text in all recipient records, in bytes.  qmail-send keeps
 * 10000 bytes of a report; with many recipients the later records have only
 * their sentence.
 */
#define REPLIES_MAX 65536

static const char recipient_letter[] = {
	[REPORT_ACCEPTED] = 'r',
	[REPORT_DEFERRED] = 's',
	[REPORT_REFUSED] = 'h',
};

static const char message_letter[] = {
	[REPORT_DELIVERED] = 'K',
	[REPORT_TEMPORARY] = 'Z',
	[REPORT_PERMANENT] = 'D',
};

/* There is one report for each process. */
static struct {
	bool in_record;
	bool has_message;
	bool is_lost;   /* it could not be written */
	bool in_line;   /* the last byte was not a line end */
	size_t replies; /* bytes of remote text so far */
	const struct mask *mask;
	size_t len;
	char data[8192];
} report;

void
report_begin(void)
{
	memset(&report, 0, sizeof report);
}

static void
flush(void)
{
	if (!report.is_lost &&
	    fdio_write_all(REPORT_FD, report.data, report.len, STALL_MS) == -1)
		report.is_lost = true;
	report.len = 0;
}

static void
put(char c)
{
	if (report.len == sizeof report.data)
		flush();
	report.data[report.len++] = c;
	report.in_line = c != '\n';
}

static void
end_record(void)
{
	if (report.in_record)
		put('\0');
	report.in_record = false;
}

static void
begin_record(char letter)
{
	end_record();
	report.in_record = true;
	put(letter);
	report.in_line = false;
}

void
report_recipient(enum report_recipient outcome)
{
	if (!report.has_message)
		begin_record(recipient_letter[outcome]);
}

void
report_message(enum report_message outcome)
{
	if (!report.has_message)
		begin_record(message_letter[outcome]);
	report.has_message = true;
}

static char
clean(char c)
{
	bool is_control = (unsigned char)c < ' ' || c == 0x7f;

	return is_control && c != '\n' ? '?' : c;
}

void
report_mask(const struct mask *mask)
{
	report.mask = mask;
}

void
report_text(const char *s, size_t n)
{
	for (size_t i = 0; i < n && report.in_record; i++)
		put(clean(s[i]));
}

static void
put_masked(const char *s, size_t n)
{
	static const struct mask none;
	const struct mask *mask = report.mask != NULL ? report.mask : &none;
	size_t start, end = 0, from = 0;

	while (mask_next(mask, s, n, &start, &end)) {
		report_text(s + from, start - from);
		report_text("*", 1);
		from = end;
	}
	report_text(s + from, n - from);
}

void
report_puts(const char *s)
{
	report_text(s, strlen(s));
}

void
report_line(const char *label, const char *s)
{
	if (report.in_line)
		report_puts("\n");
	report_puts(label);
	report_puts(s);
	report_puts("\n");
}

void
report_reply(const char *s, size_t n)
{
	if (n > REPORT_REPLY_MAX)
		n = REPORT_REPLY_MAX;
	if (n == 0)
		return;
	if (!report.has_message) {
		if (n > REPLIES_MAX - report.replies)
			return;
		report.replies += n;
	}
	report_puts("Remote host said: ");
	put_masked(s, n);
	/* A truncated reply has no final line end. */
	if (n < REPORT_REPLY_MAX && report.in_line)
		report_puts("\n");
}

void
report_failure(const struct dsn *why)
{
	report_message(dsn_is_temporary(why) ? REPORT_TEMPORARY
					     : REPORT_PERMANENT);
	report_puts(why->text);
	report_puts(" (#");
	report_puts(why->status);
	report_puts(")\n");
	if (why->detail[0])
		report_line("", why->detail);
}

void
report_end(void)
{
	if (!report.has_message) {
		struct dsn why = { 0 };

		dsn_set(&why, "4.3.0", "I ended without a report.");
		report_failure(&why);
	}
	end_record();
	flush();
}

static bool
is_letter_of(char c, const char *letters, size_t n)
{
	return memchr(letters, c, n) != NULL;
}

bool
report_is_whole(const char *s, size_t n)
{
	const char *end = s + n, *nul;

	for (; s < end; s = nul + 1) {
		nul = memchr(s, '\0', (size_t)(end - s));
		if (nul == NULL)
			return false;
		if (is_letter_of(*s, message_letter, sizeof message_letter))
			return nul + 1 == end;
		if (!is_letter_of(*s, recipient_letter,
			sizeof recipient_letter))
			return false;
	}
	return false;
}

void
report_forward(const char *s, size_t n)
{
	(void)fdio_write_all(REPORT_FD, s, n, STALL_MS);
}
