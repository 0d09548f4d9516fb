/* SPDX-License-Identifier: ISC */
#include "base/idn.h"

#include <idn2.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>

#include "base/mem.h"
#include "base/utf8.h"

static const char not_utf8[] = "not UTF-8";

/*
 * IDNA2008 allows letters that case folding does not change.  Of all scripts
 * with two cases only the Cherokee folds to its capitals.
 */
static bool
is_cherokee_capital(uint32_t c)
{
	return c >= 0x13a0 && c <= 0x13f5;
}

static uint32_t
small_form(uint32_t c)
{
	return is_cherokee_capital(c) ? c : uc_tolower(c);
}

/* Appends a label in small letters.  Returns what is wrong with it, or NULL. */
static const char *
append_small(struct buf *small, const char *label, size_t n)
{
	for (size_t i = 0, len; i < n; i += len) {
		char out[4];
		uint32_t c, to;

		len = utf8_read(label + i, n - i, &c);
		if (len == 0)
			return not_utf8;
		to = small_form(c);
		if (c > 127 && to < 128)
			return "a character that is no ASCII letter, but has "
			       "one as its small form";
		buf_append(small, out, utf8_write(out, to));
	}
	return NULL;
}

/*
 * Two conditions for labels that are written from right to left (RFC 5893
 * section 2) that the library does not check in full: the third, how they end,
 * and the fourth, that digits are of one kind.
 */
static bool
breaks_bidi_rule(const char *label)
{
	bool is_rtl = false, has_en = false, has_an = false;
	int last = UC_BIDI_L;
	uint32_t c;

	for (size_t n = strlen(label), len; n > 0; n -= len, label += len) {
		int class;

		len = utf8_read(label, n, &c);
		class = uc_bidi_class(c);
		is_rtl = is_rtl || class == UC_BIDI_R || class == UC_BIDI_AL ||
			 class == UC_BIDI_AN;
		has_en = has_en || class == UC_BIDI_EN;
		has_an = has_an || class == UC_BIDI_AN;
		if (class != UC_BIDI_NSM)
			last = class;
	}
	return is_rtl && ((has_en && has_an) ||
			     (last != UC_BIDI_R && last != UC_BIDI_AL &&
				 last != UC_BIDI_EN && last != UC_BIDI_AN));
}

/* Appends the A-label for a label in small letters, which ends with a NUL. */
static const char *
append_a_label(struct buf *ascii, const char *label)
{
	const uint8_t *u_label = (const uint8_t *)label;
	uint8_t *a_label = NULL;
	int result = idn2_register_u8(u_label, NULL, &a_label, IDN2_NFC_INPUT);
	const char *fault = NULL;

	if (result == IDN2_MALLOC)
		mem_exhausted();
	if (result != IDN2_OK)
		return idn2_strerror(result);
	/* Whatever the library thinks of it: NFC may have made it ASCII. */
	if (strncmp((const char *)a_label, "xn--", 4) == 0)
		buf_puts(ascii, (const char *)a_label);
	else
		fault = "characters that are ASCII in NFC";
	idn2_free(a_label);
	return fault;
}

static const char *
append_label(struct buf *ascii, const char *label, size_t n)
{
	struct buf small = { 0 };
	const char *fault;

	if (utf8_is_ascii(label, n)) {
		buf_append(ascii, label, n);
		return NULL;
	}
	/* The library takes text up to a NUL. */
	if (memchr(label, '\0', n))
		return not_utf8;
	fault = append_small(&small, label, n);
	if (!fault && breaks_bidi_rule(buf_text(&small)))
		fault = "not allowed from right to left";
	if (!fault)
		fault = append_a_label(ascii, buf_text(&small));
	buf_finish(&small);
	return fault;
}

const char *
idn_to_ascii(struct buf *ascii, const char *domain, size_t n)
{
	const size_t before = ascii->len;
	const char *fault = NULL;

	for (size_t at = 0, len; !fault && at <= n; at += len + 1) {
		const char *dot = memchr(domain + at, '.', n - at);

		len = dot ? (size_t)(dot - domain) - at : n - at;
		if (at > 0)
			buf_putc(ascii, '.');
		fault = append_label(ascii, domain + at, len);
	}
	if (fault)
		buf_cut(ascii, before);
	return fault;
}

bool
idn_is_supported(void)
{
	return true;
}

void
idn_on_need(void (*hook)(void))
{
	(void)hook;
}
