/* SPDX-License-Identifier: ISC */
#include "sts/failure.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[] = {
	[STS_CAUSE_NONE] = "none",
	[STS_CAUSE_LOCAL] = "local",
	[STS_CAUSE_FETCH] = "sts-policy-fetch-error",
	[STS_CAUSE_INVALID] = "sts-policy-invalid",
	[STS_CAUSE_WEBPKI] = "sts-webpki-invalid",
};

int
sts_failure_set(struct sts_failure *f, enum sts_cause cause, const char *fmt,
    ...)
{
	va_list args;

	f->cause = cause;
	va_start(args, fmt);
	if (vsnprintf(f->reason, sizeof f->reason, fmt, args) < 0)
		f->reason[0] = '\0';
	va_end(args);
	for (char *c = f->reason; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return -1;
}

const char *
sts_cause_name(enum sts_cause cause)
{
	return names[cause];
}

bool
sts_cause_parse(enum sts_cause *cause, struct sts_text name)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!sts_text_is(name, names[i]))
			continue;
		*cause = (enum sts_cause)i;
		return true;
	}
	return false;
}
