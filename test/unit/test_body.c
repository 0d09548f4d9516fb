/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "smtp/body.h"

#define GUARD "guard"
#define GUARD_SIZE (sizeof GUARD - 1)
#define PIECE_MAX 65536

/* The reference: encodes the whole message at once. */
static size_t
reference(const char *in, size_t n, char *out)
{
	size_t len = 0;
	bool at_start = true;

	for (size_t i = 0; i < n; i++) {
		if (in[i] == '\r' && i + 1 < n && in[i + 1] == '\n')
			continue;
		if (in[i] == '.' && at_start)
			out[len++] = '.';
		if (in[i] == '\n')
			out[len++] = '\r';
		out[len++] = in[i] == '\r' ? ' ' : in[i];
		at_start = in[i] == '\n';
	}
	if (!at_start) {
		out[len++] = '\r';
		out[len++] = '\n';
	}
	return len;
}

/* A printable name for a case without one. */
static const char *
show(const char *in, size_t n)
{
	static char text[512];
	size_t len = 0;

	for (size_t i = 0; i < n && len < sizeof text - 8; i++) {
		char c = in[i];

		if (c == '\r')
			len += (size_t)sprintf(text + len, "CR ");
		else if (c == '\n')
			len += (size_t)sprintf(text + len, "LF ");
		else if (c == '\0')
			len += (size_t)sprintf(text + len, "NUL ");
		else
			len += (size_t)sprintf(text + len, "%c ", c);
	}
	text[len] = '\0';
	return text;
}

/*
 * Encodes one piece after the output so far, and checks that it stays within
 * its room.
 */
static size_t
encode(struct smtp_body *b, const char *in, size_t n, char *out)
{
	size_t len;

	memcpy(out + SMTP_BODY_OUT(n), GUARD, GUARD_SIZE);
	len = smtp_body_encode(b, in, n, out);
	if (memcmp(out + SMTP_BODY_OUT(n), GUARD, GUARD_SIZE) != 0 ||
	    len > SMTP_BODY_OUT(n))
		fail_msg("%s: wrote past its room", show(in, n));
	return len;
}

static size_t
end(struct smtp_body *b, char *out)
{
	size_t len;

	memcpy(out + 3, GUARD, GUARD_SIZE);
	len = smtp_body_end(b, out);
	if (memcmp(out + 3, GUARD, GUARD_SIZE) != 0 || len > 3)
		fail_msg("the end wrote past its room");
	return len;
}

/*
 * No CR and no LF except in CRLF, no line that is a single dot, all lines
 * ended.
 */
static bool
is_fit_for_the_wire(const char *p, size_t n)
{
	size_t start = 0;

	for (size_t i = 0; i < n; i++) {
		if ((p[i] == '\r') != (i + 1 < n && p[i + 1] == '\n'))
			return false;
		if (p[i] != '\n')
			continue;
		if (i - start == 2 && p[start] == '.')
			return false;
		start = i + 1;
	}
	return start == n;
}

static void
must_be(const char *name, const char *how, const char *got, size_t ngot,
    const char *want, size_t nwant)
{
	if (ngot != nwant || memcmp(got, want, nwant) != 0)
		fail_msg("%s: %s, gives %s", name, how, show(got, ngot));
	if (!is_fit_for_the_wire(got, ngot))
		fail_msg("%s: %s, unfit for the wire", name, how);
}

/* Encodes in pieces of the given size, the first one of a size of its own. */
static size_t
encode_pieces(const char *in, size_t n, size_t first, size_t size, char *out)
{
	struct smtp_body b = { 0 };
	size_t len = encode(&b, in, first, out);

	for (size_t i = first; i < n; i += size) {
		size_t piece = n - i < size ? n - i : size;

		len += encode(&b, in + i, piece, out + len);
	}
	return len + end(&b, out + len);
}

static void
check_every_split(const char *in, size_t n)
{
	char want[64], got[64];
	size_t nwant = reference(in, n, want);

	for (size_t first = 0; first <= n; first++) {
		size_t ngot = encode_pieces(in, n, first, n + 1, got);

		if (ngot != nwant || memcmp(got, want, nwant) != 0)
			must_be(show(in, n), "split in two", got, ngot, want,
			    nwant);
	}
	must_be(show(in, n), "byte by byte", got,
	    encode_pieces(in, n, 0, 1, got), want, nwant);
}

static void
every_short_message(void **state)
{
	static const char alphabet[] = { '\r', '\n', '.', 'x', '\0' };
	const char *wish = getenv("TEST_BODY_LENGTH");
	size_t longest = wish ? strtoul(wish, NULL, 10) : 7;
	size_t count = 1;

	(void)state;
	if (longest > 10)
		fail_msg("TEST_BODY_LENGTH is more than 10");
	for (size_t n = 0; n <= longest; n++, count *= sizeof alphabet) {
		for (size_t number = 0; number < count; number++) {
			char in[10];
			size_t rest = number;

			for (size_t i = 0; i < n; i++) {
				in[i] = alphabet[rest % sizeof alphabet];
				rest /= sizeof alphabet;
			}
			check_every_split(in, n);
		}
	}
}

#define ROW(name, in, out) \
	{ \
		name, in, sizeof in - 1, out, sizeof out - 1 \
	}

static void
encodes_each_case(void **state)
{
	static const struct {
		const char *name;
		const char *in;
		size_t nin;
		const char *out;
		size_t nout;
	} cases[] = {
		ROW("N1 bare CR", "a\rb\n", "a b\r\n"),
		ROW("N1 two bare CRs", "a\r\rb\n", "a  b\r\n"),
		ROW("N1 CR CR LF", "a\r\r\n", "a \r\n"),
		ROW("N1 CR at the end", "a\r", "a \r\n"),
		ROW("N1 CR behind LF at the end", "a\n\r", "a\r\n \r\n"),
		ROW("N1 CR alone", "\r", " \r\n"),
		ROW("N1 CRLF in the file", "a\r\nb\r\n", "a\r\nb\r\n"),
		ROW("N2 LF . LF", "a\n.\nb\n", "a\r\n..\r\nb\r\n"),
		ROW("N2 LF . CRLF", "a\n.\r\nb\n", "a\r\n..\r\nb\r\n"),
		ROW("N2 CR . CR", "a\r.\rb\n", "a . b\r\n"),
		ROW("N2 CR . LF", "a\r.\nb\n", "a .\r\nb\r\n"),
		ROW("N2 CRLF . CR", "a\r\n.\rb\n", "a\r\n.. b\r\n"),
		ROW("N2 CRLF . LF", "a\r\n.\nb\n", "a\r\n..\r\nb\r\n"),
		ROW("N2 CRLF . CR CRLF", "\r\n.\r\r\n", "\r\n.. \r\n"),
		ROW("N2 NUL before the dot", "\n\0.\n", "\r\n\0.\r\n"),
		ROW("N2 NUL behind the dot", "\n.\0\n", "\r\n..\0\r\n"),
		ROW("N2 NUL between CR and LF", "\r\0\n", " \0\r\n"),
		ROW("N2 CR before the dot", "\n\r.\n", "\r\n .\r\n"),
		ROW("N3 a lone dot", ".\n", "..\r\n"),
		ROW("N3 two dots", "..\n", "...\r\n"),
		ROW("N3 dot and text", ".x\n", "..x\r\n"),
		ROW("N3 dots inside", "x.\nx..x\n", "x.\r\nx..x\r\n"),
		ROW("N9 no last line end", "a\nb", "a\r\nb\r\n"),
		ROW("N9 a dot, no line end", ".", "..\r\n"),
		ROW("N10 empty", "", ""),
		ROW("N10 only LF", "\n", "\r\n"),
		ROW("N10 only CRLF", "\r\n", "\r\n"),
		ROW("N10 header only", "Subject: x\n\n", "Subject: x\r\n\r\n"),
		ROW("N13 commands behind a false end",
		    "a\n.\nMAIL FROM:<>\n.\nQUIT\n",
		    "a\r\n..\r\nMAIL FROM:<>\r\n..\r\nQUIT\r\n"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char got[256];

		must_be(cases[i].name, "whole", got,
		    encode_pieces(cases[i].in, cases[i].nin, cases[i].nin, 1,
			got),
		    cases[i].out, cases[i].nout);
		must_be(cases[i].name, "byte by byte", got,
		    encode_pieces(cases[i].in, cases[i].nin, 0, 1, got),
		    cases[i].out, cases[i].nout);
	}
}

/* Compares a message in pieces with the reference. */
static void
check_long(const char *name, const char *in, size_t n, size_t size)
{
	char *want = malloc(2 * n + 2);
	char *got = malloc(3 * n + 3 + SMTP_BODY_OUT(PIECE_MAX) + GUARD_SIZE);

	assert_non_null(want);
	assert_non_null(got);
	must_be(name, "in pieces", got, encode_pieces(in, n, 0, size, got),
	    want, reference(in, n, want));
	free(got);
	free(want);
}

/* N4: each kind of line end and dot at the edges of a piece. */
static void
handles_piece_edges(void **state)
{
	static const char *const around[] = { "\n.\n", "\r\n.\r\n", "\r.\r",
		"\n..x", "\r", "\n", ".", "\n.", "\r\n", "\r\r\n", "\n\r.\r\n",
		".\r\n.\r\n." };
	static const size_t edges[] = { 1024, 4096, 16384 };
	static char in[3 * 16384];

	(void)state;
	for (size_t e = 0; e < sizeof edges / sizeof *edges; e++) {
		for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
			size_t len = strlen(around[i]);

			for (size_t at = edges[e] - len - 1; at <= edges[e] + 1;
			     at++) {
				memset(in, 'x', sizeof in);
				memcpy(in + at, around[i], len);
				check_long(show(around[i], len), in,
				    3 * edges[e], edges[e]);
			}
		}
	}
}

static void
long_messages(void **state)
{
	static const struct {
		const char *name;
		const char *unit;
		size_t times;
	} cases[] = {
		{ "N3 a million lines that are a dot", ".\n", 1000000 },
		{ "N8 line of 998", "x", 998 },
		{ "N8 line of 999", "x", 999 },
		{ "N8 line of 1000", "x", 1000 },
		{ "N8 line of ten million", "x", 10000000 },
		{ "a million CRs", "\r", 1000000 },
		{ "a million LFs", "\n", 1000000 },
		{ "half a million CRLFs", "\r\n", 500000 },
		{ "dots and CRs", ".\r.\r\n", 300000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t unit = strlen(cases[i].unit);
		size_t n = unit * cases[i].times;
		char *in = malloc(n);

		assert_non_null(in);
		for (size_t at = 0; at < n; at += unit)
			memcpy(in + at, cases[i].unit, unit);
		check_long(cases[i].name, in, n, PIECE_MAX);
		check_long(cases[i].name, in, n, 4095);
		free(in);
	}
}

/* N5: bytes other than CR, LF and a leading dot are not changed. */
static void
keeps_all_other_bytes(void **state)
{
	char in[256], got[3 * 256 + 64], want[2 * 256 + 2];

	(void)state;
	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (char)i;
	for (size_t size = 1; size <= sizeof in; size++)
		must_be("N5 all 256 values", "in pieces", got,
		    encode_pieces(in, sizeof in, 0, size, got), want,
		    reference(in, sizeof in, want));
}

/* Random pieces; the seed is fixed, so that a failure can be repeated. */
static void
encodes_random_pieces(void **state)
{
	static const char alphabet[] = "\r\n.\r\n.x\0y";
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		char in[300], want[602], got[1400];
		struct smtp_body b = { 0 };
		size_t n, at = 0, len = 0;

		seed = seed * 1103515245 + 12345;
		n = (seed >> 16) % sizeof in;
		for (size_t i = 0; i < n; i++) {
			seed = seed * 1103515245 + 12345;
			in[i] = alphabet[(seed >> 16) % (sizeof alphabet - 1)];
		}
		while (at < n) {
			size_t piece;

			seed = seed * 1103515245 + 12345;
			piece = (seed >> 16) % 9;
			if (piece > n - at)
				piece = n - at;
			len += encode(&b, in + at, piece, got + len);
			at += piece;
		}
		len += end(&b, got + len);
		must_be(show(in, n), "odd pieces", got, len, want,
		    reference(in, n, want));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encodes_each_case),
		cmocka_unit_test(every_short_message),
		cmocka_unit_test(handles_piece_edges),
		cmocka_unit_test(long_messages),
		cmocka_unit_test(keeps_all_other_bytes),
		cmocka_unit_test(encodes_random_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
