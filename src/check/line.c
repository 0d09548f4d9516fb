/* SPDX-License-Identifier: ISC */
/* What is found, as one line for each destination. */
#include "check/view.h"

#include <stdio.h>
#include <string.h>

static void
begin(struct view *v, const char *host)
{
	v->host = host;
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
	.result = result,
};
