/* SPDX-License-Identifier: ISC */
/* getifaddrs() is not in POSIX. */
#define _DEFAULT_SOURCE

#include "qmail/ipme.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "io/fdio.h"
#include "base/mem.h"
#include "qmail/control.h"

#define LIST_SIZE_MAX ((size_t)1 << 20)

static void
add_listed(struct ipme *me, const struct ip_net *net)
{
	me->listed =
	    mem_resize(me->listed, me->nlisted + 1, sizeof *me->listed);
	me->listed[me->nlisted++] = *net;
}

static void
add_interface(struct ipme *me, const struct ip *ip)
{
	me->interface = mem_resize(me->interface, me->ninterface + 1,
	    sizeof *me->interface);
	me->interface[me->ninterface++] = *ip;
}

static bool
is_separator(char c)
{
	return c == ' ' || c == '\t' || c == ',';
}

/* False if something in the line is not an address. */
static bool
read_line(struct ipme *me, const char *at, size_t n)
{
	const char *comment = memchr(at, '#', n);
	const char *end = comment ? comment : at + n;

	while (at < end) {
		const char *word = at;
		struct ip_net net;

		while (at < end && !is_separator(*at))
			at++;
		if (at > word) {
			if (!ip_parse_net(word, (size_t)(at - word), &net))
				return false;
			add_listed(me, &net);
		}
		while (at < end && is_separator(*at))
			at++;
	}
	return true;
}

/*
 * An invalid line is an error: it was meant to keep mail away from an address.
 */
static int
read_list(struct ipme *me, const char *path, struct dsn *why)
{
	struct buf text = { 0 };
	const char *at, *line;
	size_t n;
	int result = 0;

	if (fdio_read_file(path, LIST_SIZE_MAX, &text) == -1) {
		if (errno != ENOENT)
			result = control_refuse(path, strerror(errno), why);
		buf_finish(&text);
		return result;
	}
	at = buf_text(&text);
	at += control_bom_length(at, text.len);
	while (result == 0 &&
	       control_next(&at, buf_text(&text) + text.len, &line, &n))
		if (!read_line(me, line, n))
			result = control_refuse_line(path, "not an address",
			    line, n, why);
	buf_finish(&text);
	return result;
}

/*
 * If the system does not tell them (a service manager may forbid netlink
 * sockets), mail is sent all the same.  A mail loop through this machine is
 * then found by the programs that count hops.
 */
static void
read_interfaces(struct ipme *me)
{
	struct ifaddrs *all;
	struct ip ip;

	if (getifaddrs(&all) == -1)
		return;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		if (i->ifa_flags & IFF_UP && ip_from_sockaddr(i->ifa_addr, &ip))
			add_interface(me, &ip);
	freeifaddrs(all);
}

int
ipme_read(struct ipme *me, const char *path, bool wants_interfaces,
    struct dsn *why)
{
	if (read_list(me, path, why) == -1)
		return -1;
	if (wants_interfaces)
		read_interfaces(me);
	return 0;
}

static bool
is_listed(const struct ipme *me, const struct ip *ip)
{
	for (size_t i = 0; i < me->nlisted; i++)
		if (ip_is_in_net(ip, &me->listed[i]))
			return true;
	return false;
}

static bool
is_interface(const struct ipme *me, const struct ip *ip)
{
	for (size_t i = 0; i < me->ninterface; i++)
		if (ip_equal(&me->interface[i], ip))
			return true;
	return false;
}

/*
 * Addresses that lead to this machine wherever it is: 0.0.0.0/8 (RFC 1122
 * section 3.2.1.3: this host), 127.0.0.0/8, :: and ::1.
 */
static bool
is_always_own(const struct ip *ip)
{
	static const unsigned char zeros[sizeof ip->byte - 1];
	unsigned char first = ip->byte[12];

	if (ip_is_v4(ip))
		return first == 0 || first == 127;
	return memcmp(ip->byte, zeros, sizeof zeros) == 0 &&
	       ip->byte[sizeof zeros] <= 1;
}

enum ipme_kind
ipme_kind(const struct ipme *me, const struct ip *ip)
{
	if (is_listed(me, ip))
		return IPME_LISTED;
	if (is_always_own(ip) || is_interface(me, ip))
		return IPME_INTERFACE;
	return IPME_NOT;
}

void
ipme_finish(struct ipme *me)
{
	free(me->listed);
	free(me->interface);
	*me = (struct ipme){ 0 };
}
