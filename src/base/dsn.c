/* SPDX-License-Identifier: ISC */
#include "base/dsn.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/str.h"

static void
clean(char *s)
{
	for (; *s; s++)
		if ((*s < ' ' || *s > '~') && *s != '\n')
			*s = '?';
}

int
dsn_set(struct dsn *why, const char *status, const char *fmt, ...)
{
	va_list args;

	str_copy(why->status, sizeof why->status, status);
	va_start(args, fmt);
	if (vsnprintf(why->text, sizeof why->text, fmt, args) < 0)
		why->text[0] = '\0';
	va_end(args);
	clean(why->text);
	why->detail[0] = '\0';
	return -1;
}

int
dsn_detail(struct dsn *why, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (vsnprintf(why->detail, sizeof why->detail, fmt, args) < 0)
		why->detail[0] = '\0';
	va_end(args);
	clean(why->detail);
	return -1;
}

bool
dsn_is_temporary(const struct dsn *why)
{
	return why->status[0] != '5';
}
