/* SPDX-License-Identifier: ISC */
/* What is found, as one line for each destination. */
#include "check/view.h"

#include <stdio.h>
#include <string.h>

static void
begin(struct view *v, const char *host)
{
	v->host = host;
	v->domain = NULL;
}

/* The host as it was given cannot be shown if it is not ASCII. */
static void
setup(struct view *v, const struct setup *s)
{
	v->domain =
	    strcmp(s->host, buf_text(&s->domain)) != 0 ? &s->domain : NULL;
}

static void
result(struct view *v, const struct check_result *r)
{
	static const char *const words[] = {
		[CHECK_DELIVERED] = "delivered",
		[CHECK_DEFERRED] = "deferred",
		[CHECK_BOUNCED] = "bounced",
	};

	out_begin(&v->out);
	out_text(v->host);
	if (v->domain != NULL) {
		fputs(" (", stdout);
		out_text(buf_text(v->domain));
		putchar(')');
	}
	printf(": %s", words[r->verdict]);
	if (r->ready != NULL) {
		fputs(" through ", stdout);
		view_put_server(r->ready);
		printf(", in %s", view_protection(r->ready));
	} else {
		fputs(": ", stdout);
		out_bytes(r->reason, strcspn(r->reason, "\n"));
		if (*r->detail != '\0') {
			putchar(' ');
			out_bytes(r->detail, strcspn(r->detail, "\n"));
		}
	}
	out_end(&v->out);
}

const struct view view_line = {
	.begin = begin,
	.setup = setup,
	.result = result,
};
