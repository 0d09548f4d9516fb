/* SPDX-License-Identifier: ISC */
#include "qmail/ipfamily.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "qmail/control.h"

static const struct {
	const char *text;
	enum ipfamily family;
} words[] = {
	{ "64", IPFAMILY_64 },
	{ "46", IPFAMILY_46 },
	{ "6", IPFAMILY_6 },
	{ "4", IPFAMILY_4 },
};

static bool
parse_value(const char *value, size_t n, enum ipfamily *family)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		size_t len = strlen(words[i].text);

		if (n < len || memcmp(value, words[i].text, len) != 0 ||
		    !control_is_comment(value + len, n - len))
			continue;
		*family = words[i].family;
		return true;
	}
	return false;
}

static int
refuse_entry(const char *path, const struct table_entry *e, struct dsn *why)
{
	struct buf line = { 0 };

	table_entry_line(e, &line);
	control_refuse_line(path, "not an address family", buf_text(&line),
	    line.len, why);
	buf_finish(&line);
	return -1;
}

int
ipfamily_find(enum ipfamily *family, const struct table_files *files,
    const char *next_hop, struct dsn *why)
{
	struct table_entry e = { 0 };
	int result = 0;

	*family = IPFAMILY_64;
	if (table_find_next_hop(files, next_hop, &e) == -1)
		result = control_refuse(files->text, strerror(errno), why);
	else if (e.found &&
		 !parse_value(buf_text(&e.value), e.value.len, family))
		result = refuse_entry(files->text, &e, why);
	table_entry_finish(&e);
	return result;
}

const char *
ipfamily_fault(const char *value, size_t n)
{
	enum ipfamily family;

	return parse_value(value, n, &family) ? NULL : "not an address family";
}

bool
ipfamily_has(enum ipfamily family, const struct ip *ip)
{
	return family != (ip_is_v4(ip) ? IPFAMILY_6 : IPFAMILY_4);
}

bool
ipfamily_prefers_v4(enum ipfamily family)
{
	return family == IPFAMILY_46 || family == IPFAMILY_4;
}
