/* SPDX-License-Identifier: ISC */

/*
 * Control files of arbitrary bytes: one line, a number, a list, all files that
 * qmail-remote reads, and the list of our own addresses.
 */

#define _DEFAULT_SOURCE

#include <errno.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "io/fdio.h"

static int read_virtual(const char *path, size_t limit, struct buf *);
static int no_interfaces(struct ifaddrs **);

#define fdio_read_file read_virtual
#define getifaddrs no_interfaces
#define freeifaddrs(list) ((void)(list))
#include "qmail/control.c"
#undef _DEFAULT_SOURCE
#include "qmail/ipme.c"
#undef fdio_read_file

#include "fuzz.h"

/* The files, in the order in which the input has them. */
static const char *const names[] = {
	"control/me",
	"control/helohost",
	"control/timeoutremote",
	"control/timeoutconnect",
	"control/timeoutdns",
	"control/trustanchors",
	"control/clientcert",
	"control/clientkey",
	"control/tlsstrictness",
	"control/ipme",
	"control/dane",
	"control/mtasts",
	"control/tlsrequired",
	"control/tlsrptsocket",
};

#define NFILE (sizeof names / sizeof names[0])

/* The list of addresses, and a file that may be unreadable. */
enum { IPME = 9, TLSRPTSOCKET = 13 };

static struct {
	const char *data;
	size_t len;
	int error;
} files[NFILE];

static int
read_virtual(const char *path, size_t limit, struct buf *b)
{
	for (size_t i = 0; i < NFILE; i++) {
		if (strcmp(path, names[i]) != 0)
			continue;
		errno = files[i].error;
		if (!errno && files[i].len > limit)
			errno = EFBIG;
		if (errno)
			return -1;
		buf_append(b, files[i].data, files[i].len);
		return 0;
	}
	errno = ENOENT;
	return -1;
}

static int
no_interfaces(struct ifaddrs **list)
{
	*list = NULL;
	return 0;
}

/* A file ends at a byte of 0xff; 0xfe and 0xfd mean that it cannot be read. */
static void
take_files(struct fuzz_input *in)
{
	for (size_t i = 0; i < NFILE; i++) {
		bool is_there = in->left > 0;

		files[i].data = fuzz_part(in, 0xff, &files[i].len);
		files[i].error = is_there ? 0 : ENOENT;
		if (files[i].len == 1 && files[i].data[0] == '\xfe')
			files[i].error = EIO;
		if (files[i].len == 1 && files[i].data[0] == '\xfd')
			files[i].error = ENOENT;
	}
}

static size_t
trimmed_length(const char *s, size_t n)
{
	while (n > 0 && strchr(" \t\r", s[n - 1]) && s[n - 1])
		n--;
	return n;
}

static size_t
mark_length(size_t i)
{
	return files[i].len >= 3 && !memcmp(files[i].data, "\xef\xbb\xbf", 3)
		   ? 3
		   : 0;
}

static void
check_line(size_t i)
{
	struct buf line = { 0 };
	enum control_result result = control_line(names[i], &line);
	size_t mark = mark_length(i), n = 0;
	const char *s = files[i].data + mark;

	if (files[i].error) {
		CHECK(result == (files[i].error == ENOENT
					? CONTROL_MISSING
					: CONTROL_UNREADABLE));
		CHECK(line.len == 0);
	} else {
		while (n < files[i].len - mark && s[n] != '\n')
			n++;
		n = trimmed_length(s, n);
		CHECK(result == CONTROL_FOUND && line.len == n);
		CHECK(memcmp(buf_text(&line), s, n) == 0);
	}
	buf_finish(&line);
}

static void
check_number(size_t i)
{
	static const struct control_range range = { 2, 5000, 77 };
	unsigned long value = 1, expected = 0;
	enum control_result result = control_number(names[i], range, &value);
	size_t mark = mark_length(i), k;

	if (result == CONTROL_UNREADABLE) {
		CHECK(value == 1);
		return;
	}
	for (k = 0; result == CONTROL_FOUND && k < files[i].len - mark; k++) {
		char c = files[i].data[mark + k];

		if (c < '0' || c > '9')
			break;
		expected = expected * 10 + (unsigned long)(c - '0');
		expected = expected > 5000 ? 5000 : expected;
	}
	if (k == 0 || result != CONTROL_FOUND)
		expected = 77;
	CHECK(value == (expected < 2 ? 2 : expected));
}

/* The reference for control_next(). */
static void
check_list(size_t i)
{
	const char *at = files[i].data, *end = at + files[i].len;
	const char *line, *start = at;
	size_t n;

	while (start < end) {
		const char *lf = memchr(start, '\n', (size_t)(end - start));
		const char *stop = lf ? lf : end;
		size_t len = trimmed_length(start, (size_t)(stop - start));

		if (len > 0 && *start != '#' && *start != '\0') {
			CHECK(control_next(&at, end, &line, &n));
			CHECK(line == start && n == len);
		}
		start = lf ? lf + 1 : end;
	}
	CHECK(!control_next(&at, end, &line, &n) && at == end);
}

static void
check_path(const struct buf *path)
{
	CHECK(strlen(buf_text(path)) == path->len);
}

static void
check_control(void)
{
	struct control c = { 0 };
	struct dsn why = { 0 };

	if (control_read(&c, &why) == -1) {
		CHECK(strcmp(why.status, "4.3.0") == 0 && why.detail[0]);
	} else {
		CHECK(c.timeoutremote >= 1 && c.timeoutremote <= 604800);
		CHECK(c.timeoutconnect >= 1 && c.timeoutconnect <= 86400);
		CHECK(c.timeoutdns <= 86400 && c.tlsstrictness <= 2);
		CHECK(c.helohost.len >= 1 && c.helohost.len <= 255);
		for (size_t i = 0; i < c.helohost.len; i++)
			CHECK(c.helohost.data[i] > ' ' &&
			      c.helohost.data[i] <= '~');
		check_path(&c.trustanchors);
		check_path(&c.clientcert);
		check_path(&c.clientkey);
		check_path(&c.tlsrptsocket);
		CHECK(c.dane <= 1 && c.mtasts <= 600 && c.tlsrequired <= 2);
		for (size_t i = 0; i < NFILE; i++)
			CHECK(files[i].error != EIO || i == IPME ||
			      i == TLSRPTSOCKET);
	}
	control_finish(&c);
}

static void
check_ipme(void)
{
	struct ipme me = { 0 };
	struct dsn why = { 0 };
	const size_t i = IPME;

	if (ipme_read(&me, names[i], true, &why) == -1) {
		CHECK(strcmp(why.status, "4.3.0") == 0 && why.detail[0]);
		CHECK(files[i].error == EIO ||
		      strstr(why.detail, "not an address: "));
	}
	for (size_t k = 0; k < me.nlisted; k++) {
		CHECK(me.listed[k].bits >= 1 && me.listed[k].bits <= 128);
		if (me.listed[k].bits >= 96 || !ip_is_v4(&me.listed[k].ip))
			CHECK(ipme_kind(&me, &me.listed[k].ip) == IPME_LISTED);
	}
	ipme_finish(&me);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };

	take_files(&in);
	for (size_t i = 0; i < NFILE; i++) {
		check_line(i);
		check_number(i);
		check_list(i);
	}
	check_control();
	check_ipme();
	return 0;
}
