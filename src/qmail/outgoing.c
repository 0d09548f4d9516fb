/* SPDX-License-Identifier: ISC */
#include "qmail/outgoing.h"

#include <errno.h>
#include <string.h>

#include "qmail/control.h"

/* 0.0.0.0, ::. */
static bool
is_unspecified(const struct ip *ip)
{
	static const unsigned char zeros[sizeof ip->byte];

	return ip_is_v4(ip) ? memcmp(ip->byte + 12, zeros, 4) == 0
			    : memcmp(ip->byte, zeros, sizeof ip->byte) == 0;
}

/* 224.0.0.0 and above, which has the broadcast address too; ff00::/8. */
static bool
is_multicast(const struct ip *ip)
{
	return ip_is_v4(ip) ? ip->byte[12] >= 224 : ip->byte[0] == 0xff;
}

/* fe80::/10; it means nothing without an interface (RFC 4007). */
static bool
is_link_local_v6(const struct ip *ip)
{
	return ip->byte[0] == 0xfe && (ip->byte[1] & 0xc0) == 0x80;
}

static const char *
fault_of(const struct ip *ip, bool is_v4)
{
	if (ip_is_v4(ip) != is_v4)
		return is_v4 ? "not an IPv4 address" : "not an IPv6 address";
	if (is_multicast(ip))
		return "a multicast or broadcast address";
	if (is_link_local_v6(ip))
		return "a link-local address";
	return NULL;
}

const char *
outgoing_parse(const char *value, size_t n, bool is_v4, struct ip *ip,
    bool *is_given)
{
	size_t word = 0;

	while (word < n && control_blank_length(value + word, 1) == 0)
		word++;
	if (!ip_parse(value, word, ip) && !ip_parse_literal(value, word, ip))
		return "not an address";
	if (!control_is_comment(value + word, n - word))
		return "text behind the address";
	*is_given = !is_unspecified(ip);
	return fault_of(ip, is_v4);
}

int
outgoing_find(struct outgoing *o, const struct table_files *files, bool is_v4,
    const char *next_hop, struct dsn *why)
{
	struct table_entry e = { 0 };
	const char *fault = NULL;
	int result = 0;

	if (table_find_next_hop(files, next_hop, &e) == -1)
		result = control_refuse(files->text, strerror(errno), why);
	else if (e.found) {
		table_entry_line(&e, &o->line);
		fault = outgoing_parse(buf_text(&e.value), e.value.len, is_v4,
		    &o->ip, &o->is_given);
	}
	if (fault)
		result = control_refuse_line(files->text, fault,
		    buf_text(&o->line), o->line.len, why);
	table_entry_finish(&e);
	return result;
}

void
outgoing_finish(struct outgoing *o)
{
	buf_finish(&o->line);
}
