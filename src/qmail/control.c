/* SPDX-License-Identifier: ISC */
#include "qmail/control.h"

#include <errno.h>
#include <string.h>

#include "io/fdio.h"
#include "base/str.h"

/* Only the first line is needed: a larger file is a mistake. */
#define CONTROL_SIZE_MAX ((size_t)1 << 20)

#define HELOHOST_MAX 255

/* Some editors write it at the start of a UTF-8 file. */
static const char byte_order_mark[] = "\xef\xbb\xbf";

size_t
control_bom_length(const char *text, size_t n)
{
	const size_t len = sizeof byte_order_mark - 1;

	return n >= len && memcmp(text, byte_order_mark, len) == 0 ? len : 0;
}

static bool
is_trailing(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The length of a line without blanks, tabs and CRs at its end. */
static size_t
trimmed(const char *line, size_t n)
{
	while (n > 0 && is_trailing(line[n - 1]))
		n--;
	return n;
}

enum control_result
control_line(const char *path, struct buf *line)
{
	const char *start, *newline;
	size_t n;

	buf_cut(line, 0);
	if (fdio_read_file(path, CONTROL_SIZE_MAX, line) == -1) {
		buf_cut(line, 0);
		return errno == ENOENT ? CONTROL_MISSING : CONTROL_UNREADABLE;
	}
	if (line->len == 0)
		return CONTROL_FOUND;
	n = control_bom_length(line->data, line->len);
	start = line->data + n;
	n = line->len - n;
	newline = memchr(start, '\n', n);
	n = trimmed(start, newline ? (size_t)(newline - start) : n);
	memmove(line->data, start, n);
	buf_cut(line, n);
	return CONTROL_FOUND;
}

/*
 * Parses the number at the start of the line, or uses the fallback.  Returns
 * how many digits it has.
 */
static size_t
leading_number(const struct buf *line, struct control_range range,
    unsigned long *value)
{
	unsigned long number = 0;
	size_t n =
	    str_number(buf_text(line), line->len, range.maximum, &number);

	if (n == 0)
		*value = range.fallback;
	else
		*value = number < range.minimum ? range.minimum : number;
	return n;
}

enum control_result
control_number(const char *path, struct control_range range,
    unsigned long *value)
{
	struct buf line = { 0 };
	enum control_result result = control_line(path, &line);
	int saved = errno;

	if (result != CONTROL_UNREADABLE)
		(void)leading_number(&line, range, value);
	buf_finish(&line);
	errno = saved;
	return result;
}

bool
control_next(const char **at, const char *end, const char **line, size_t *len)
{
	while (*at < end) {
		const char *start = *at;
		const char *stop = memchr(start, '\n', (size_t)(end - start));

		*at = stop ? stop + 1 : end;
		*len = trimmed(start, (size_t)((stop ? stop : end) - start));
		if (*len > 0 && *start != '#' && *start != '\0') {
			*line = start;
			return true;
		}
	}
	return false;
}

size_t
control_blank_length(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && (s[i] == ' ' || s[i] == '\t'))
		i++;
	return i;
}

bool
control_is_comment(const char *s, size_t n)
{
	size_t blanks = control_blank_length(s, n);

	return blanks == n || (blanks > 0 && s[blanks] == '#');
}

int
control_refuse(const char *path, const char *reason, struct dsn *why)
{
	dsn_set(why, "4.3.0", "Unable to read control files.");
	return dsn_detail(why, "%s: %s", path, reason);
}

int
control_refuse_line(const char *path, const char *fault, const char *line,
    size_t n, struct dsn *why)
{
	struct buf reason = { 0 };

	buf_printf(&reason, "%s: ", fault);
	buf_append(&reason, line, n);
	control_refuse(path, buf_text(&reason), why);
	buf_finish(&reason);
	return -1;
}

static int
read_number(const char *path, struct control_range range, unsigned long *value,
    struct dsn *why)
{
	if (control_number(path, range, value) == CONTROL_UNREADABLE)
		return control_refuse(path, strerror(errno), why);
	return 0;
}

/* A missing file is the same as an empty one. */
static int
read_path(const char *path, struct buf *value, struct dsn *why)
{
	if (control_line(path, value) == CONTROL_UNREADABLE)
		return control_refuse(path, strerror(errno), why);
	if (strlen(buf_text(value)) != value->len)
		return control_refuse(path, "not a path", why);
	return 0;
}

/*
 * A number that is a policy.  Anything else in the file is an error, not the
 * default: mail must not be sent under a weaker policy than was meant.
 * is_whole: so is text behind the number, but for a comment.
 */
static int
read_policy(const char *path, bool is_whole, struct control_range range,
    unsigned long *value, struct dsn *why)
{
	struct buf line = { 0 };
	int result = 0;

	if (control_line(path, &line) == CONTROL_UNREADABLE) {
		result = control_refuse(path, strerror(errno), why);
	} else if (line.len > 0) {
		size_t n = leading_number(&line, range, value);

		if (n == 0 ||
		    (is_whole &&
			!control_is_comment(buf_text(&line) + n, line.len - n)))
			result = control_refuse(path, "not a number", why);
	} else
		*value = range.fallback;
	buf_finish(&line);
	return result;
}

/* The same, where a number above the maximum has no meaning. */
static int
read_choice(const char *path, unsigned long maximum, unsigned long fallback,
    unsigned long *value, struct dsn *why)
{
	const struct control_range range = { 0, maximum + 1, fallback };

	if (read_policy(path, true, range, value, why) == -1)
		return -1;
	return *value > maximum ? control_refuse(path, "no such choice", why)
				: 0;
}

/*
 * control/tlsstrictness is older than the others, and has always been read as
 * qmail reads numbers.
 */
static int
read_policies(struct control *c, struct dsn *why)
{
	static const struct control_range strictness = { 0, 2, 0 };
	static const struct control_range fetching = { 0, 600, 0 };

	if (read_policy("control/tlsstrictness", false, strictness,
		&c->tlsstrictness, why) == -1 ||
	    read_choice("control/dane", 1, 0, &c->dane, why) == -1 ||
	    read_policy("control/mtasts", true, fetching, &c->mtasts, why) ==
		-1)
		return -1;
	return read_choice("control/tlsrequired", CONTROL_TLSREQUIRED_REPORTS,
	    CONTROL_TLSREQUIRED_REPORTS, &c->tlsrequired, why);
}

/* Reports are lost without it, but no mail. */
static void
read_tlsrptsocket(struct buf *value)
{
	if (control_line("control/tlsrptsocket", value) != CONTROL_FOUND ||
	    strlen(buf_text(value)) != value->len)
		buf_cut(value, 0);
}

/* Stock sends any name. */
bool
control_is_helohost(const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return false;
	return n > 0 && n <= HELOHOST_MAX;
}

/*
 * me was read before, as in stock.  An empty helohost has precedence over it
 * all the same, and then there is no name: a server's reply to an empty name
 * would not say what is wrong.
 */
static int
read_helohost(struct control *c, enum control_result me_result, struct buf *me,
    struct dsn *why)
{
	const char *path = "control/helohost";

	switch (control_line(path, &c->helohost)) {
	case CONTROL_UNREADABLE:
		return control_refuse(path, strerror(errno), why);
	case CONTROL_MISSING:
		path = "control/me";
		if (me_result == CONTROL_MISSING)
			return control_refuse(path, strerror(ENOENT), why);
		buf_append(&c->helohost, buf_text(me), me->len);
		break;
	case CONTROL_FOUND:
		break;
	}
	if (c->helohost.len == 0)
		return control_refuse(path, "empty", why);
	if (!control_is_helohost(c->helohost.data, c->helohost.len))
		return control_refuse(path, "not a host name", why);
	return 0;
}

static int
read_with_me(struct control *c, struct buf *me, struct dsn *why)
{
	static const struct control_range replying = { 1, 604800, 1200 };
	static const struct control_range connecting = { 1, 86400, 60 };
	static const struct control_range resolving = { 0, 86400, 0 };
	enum control_result me_result = control_line("control/me", me);

	if (me_result == CONTROL_UNREADABLE)
		return control_refuse("control/me", strerror(errno), why);
	if (read_number("control/timeoutremote", replying, &c->timeoutremote,
		why) == -1 ||
	    read_number("control/timeoutconnect", connecting,
		&c->timeoutconnect, why) == -1 ||
	    read_helohost(c, me_result, me, why) == -1 ||
	    read_number("control/timeoutdns", resolving, &c->timeoutdns, why) ==
		-1)
		return -1;
	if (read_path("control/trustanchors", &c->trustanchors, why) == -1 ||
	    read_path("control/clientcert", &c->clientcert, why) == -1 ||
	    read_path("control/clientkey", &c->clientkey, why) == -1)
		return -1;
	read_tlsrptsocket(&c->tlsrptsocket);
	return read_policies(c, why);
}

int
control_read(struct control *c, struct dsn *why)
{
	struct buf me = { 0 };
	int result = read_with_me(c, &me, why);

	buf_finish(&me);
	return result;
}

void
control_finish(struct control *c)
{
	buf_finish(&c->helohost);
	buf_finish(&c->trustanchors);
	buf_finish(&c->clientcert);
	buf_finish(&c->clientkey);
	buf_finish(&c->tlsrptsocket);
}
