/* SPDX-License-Identifier: ISC */
/* getifaddrs() is everywhere but in POSIX. */
#define _DEFAULT_SOURCE

#include "qmail/ipme.h"

#include <sys/socket.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "base/mem.h"
#include "qmail/control.h"

#define LIST_SIZE_MAX ((size_t)1 << 20)

static void
add(struct ip **list, size_t *n, struct ip ip)
{
	*list = mem_resize(*list, *n + 1, sizeof **list);
	(*list)[(*n)++] = ip;
}

/* A line end of another system's editor must not hide an address. */
static bool
parse_line(const char *line, size_t n, struct ip *ip)
{
	if (n > 0 && line[n - 1] == '\r')
		n--;
	return ip_parse(line, n, ip) || ip_parse_literal(line, n, ip);
}

static int
read_list(struct ipme *me, const char *path, struct dsn *why)
{
	struct buf text = { 0 };
	const char *at, *line;
	size_t len;
	struct ip ip;

	if (fdio_read_file(path, LIST_SIZE_MAX, &text) == -1) {
		int error = errno;

		buf_finish(&text);
		if (error == ENOENT)
			return 0;
		dsn_set(why, "4.3.0", "Unable to read control files.");
		return dsn_detail(why, "%s: %s", path, strerror(error));
	}
	at = buf_text(&text);
	while (control_next(&at, buf_text(&text) + text.len, &line, &len))
		if (parse_line(line, len, &ip))
			add(&me->listed, &me->nlisted, ip);
	buf_finish(&text);
	return 0;
}

/* Of an interface address that may be of another family or none at all. */
static bool
from_sockaddr(const struct sockaddr *sa, struct ip *ip)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (sa && sa->sa_family == AF_INET) {
		memcpy(&v4, sa, sizeof v4);
		*ip = ip_from_v4((const unsigned char *)&v4.sin_addr);
		return true;
	}
	if (sa && sa->sa_family == AF_INET6) {
		memcpy(&v6, sa, sizeof v6);
		*ip = ip_from_v6((const unsigned char *)&v6.sin6_addr);
		return true;
	}
	return false;
}

static int
read_interfaces(struct ipme *me, struct dsn *why)
{
	static const unsigned char unspecified[16];
	struct ifaddrs *all;
	struct ip ip;

	if (getifaddrs(&all) == -1) {
		const char *reason = strerror(errno);

		dsn_set(why, "4.3.0",
		    "System resources temporarily unavailable.");
		return dsn_detail(why, "own addresses: %s", reason);
	}
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		if (i->ifa_flags & IFF_UP && from_sockaddr(i->ifa_addr, &ip))
			add(&me->interface, &me->ninterface, ip);
	freeifaddrs(all);
	/* Connecting to these reaches this machine too. */
	add(&me->interface, &me->ninterface, ip_from_v4(unspecified));
	add(&me->interface, &me->ninterface, ip_from_v6(unspecified));
	return 0;
}

int
ipme_read(struct ipme *me, const char *path, bool wants_interfaces,
    struct dsn *why)
{
	if (read_list(me, path, why) == -1)
		return -1;
	return wants_interfaces ? read_interfaces(me, why) : 0;
}

static bool
contains(const struct ip *list, size_t n, const struct ip *ip)
{
	for (size_t i = 0; i < n; i++)
		if (ip_equal(&list[i], ip))
			return true;
	return false;
}

enum ipme_kind
ipme_kind(const struct ipme *me, const struct ip *ip)
{
	if (contains(me->listed, me->nlisted, ip))
		return IPME_LISTED;
	if (contains(me->interface, me->ninterface, ip))
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
