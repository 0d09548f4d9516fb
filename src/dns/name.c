/* SPDX-License-Identifier: ISC */
#include "dns/name.h"

#include <string.h>

#include "base/str.h"

#define LABEL_MAX 63
#define TEXT_MAX 253

/*
 * A name of 255 bytes has at most this many labels: more pointers are useless.
 */
#define POINTER_MAX 127

bool
dns_name_from_text(struct dns_name *name, const char *text)
{
	size_t len = strlen(text), n;

	if (len > 0 && text[len - 1] == '.')
		len--;
	if (len > TEXT_MAX)
		return false;
	name->len = 0;
	/* "" is the root; a single dot is an empty label. */
	while (text[0] != '\0') {
		for (n = 0; n < len && text[n] != '.'; n++)
			;
		if (n == 0 || n > LABEL_MAX)
			return false;
		name->byte[name->len++] = (unsigned char)n;
		memcpy(name->byte + name->len, text, n);
		name->len += n;
		if (n == len)
			break;
		text += n + 1;
		len -= n + 1;
	}
	name->byte[name->len++] = 0;
	return true;
}

static size_t
escape(char *out, unsigned char c)
{
	if (c == '.' || c == '\\') {
		out[0] = '\\';
		out[1] = (char)c;
		return 2;
	}
	if (c > 32 && c < 127) {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '\\';
	out[1] = (char)('0' + c / 100);
	out[2] = (char)('0' + c / 10 % 10);
	out[3] = (char)('0' + c % 10);
	return 4;
}

void
dns_name_to_text(const struct dns_name *name, char *text)
{
	char whole[4 * sizeof name->byte];
	const unsigned char *label = name->byte;
	size_t n = 0, i;

	for (; label[0] != 0; label += label[0] + 1) {
		if (n > 0)
			whole[n++] = '.';
		for (i = 1; i <= label[0]; i++)
			n += escape(whole + n, label[i]);
	}
	whole[n] = '\0';
	/* A name that was cut could be taken for another one. */
	(void)str_copy(text, DNS_NAME_SIZE, n < DNS_NAME_SIZE ? whole : "?");
}

/* Label lengths are below all letters, so they have no case. */
bool
dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
	return a->len == b->len && str_case_equal((const char *)a->byte,
				       (const char *)b->byte, a->len);
}

bool
dns_name_is_within(const struct dns_name *name, const struct dns_name *zone)
{
	size_t at = 0;

	while (name->len - at > zone->len)
		at += name->byte[at] + 1u;
	return name->len - at == zone->len &&
	       str_case_equal((const char *)name->byte + at,
		   (const char *)zone->byte, zone->len);
}

/*
 * Follows a compression pointer.  It must point to a place before the start of
 * the labels that were read so far, so every chain of pointers ends.
 */
static void
jump(struct wire *w, size_t offset, const unsigned char **began)
{
	if (w->bad || offset < DNS_HEADER_SIZE ||
	    offset >= (size_t)(*began - w->start)) {
		w->bad = true;
		return;
	}
	*began = w->at = w->start + offset;
}

/* Appends a label of n bytes if there is room for the root label after it. */
static void
read_label(struct wire *w, struct dns_name *name, size_t n)
{
	const unsigned char *label = wire_bytes(w, n);

	if (label == NULL || n > LABEL_MAX ||
	    name->len + 1 + n + 1 > sizeof name->byte) {
		w->bad = true;
		return;
	}
	name->byte[name->len++] = (unsigned char)n;
	memcpy(name->byte + name->len, label, n);
	name->len += n;
}

void
dns_name_read(struct wire *w, struct dns_name *name)
{
	const unsigned char *began = w->at, *after = NULL;
	unsigned n, offset, pointers = 0;

	name->len = 0;
	while ((n = wire_u8(w)) != 0) {
		if ((n & 0xc0) == 0xc0) {
			offset = (n & 0x3f) << 8 | wire_u8(w);
			if (after == NULL)
				after = w->at;
			jump(w, offset, &began);
			if (++pointers > POINTER_MAX)
				w->bad = true;
		} else {
			read_label(w, name, n);
		}
	}
	/* After a bad read n is 0: the loop ends, and the name is complete. */
	name->byte[name->len++] = 0;
	if (after != NULL && !w->bad)
		w->at = after;
}

bool
dns_name_is_valid(const char *text)
{
	struct dns_name name;

	return dns_name_from_text(&name, text);
}

bool
dns_name_is_askable(const char *name)
{
	size_t i;

	for (i = 0; name[i] != '\0'; i++)
		if (!str_is_alnum(name[i]) && strchr("-_./*", name[i]) == NULL)
			return false;
	return i > 0;
}
