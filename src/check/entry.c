/* SPDX-License-Identifier: ISC */
#include "check/entry.h"

#include <string.h>

void
entry_warn_bytes(struct entry *e, const char *text, size_t n)
{
	if (e->nwarning++ >= ENTRY_WARNINGS_MAX)
		return;
	if (e->warnings.len > 0)
		buf_putc(&e->warnings, '\n');
	buf_append(&e->warnings, text, n);
}

void
entry_warn(struct entry *e, const char *text)
{
	entry_warn_bytes(e, text, strlen(text));
}

bool
entry_show(struct entry *e, struct view *view, const char *name)
{
	struct check_entry shown = { .name = name };

	if (e->nwarning > ENTRY_WARNINGS_MAX)
		buf_printf(&e->warnings, "\nand %zu more",
		    e->nwarning - ENTRY_WARNINGS_MAX);
	shown.value = buf_text(&e->value);
	shown.source = buf_text(&e->source);
	shown.warnings = buf_text(&e->warnings);
	if (view->entry)
		view->entry(view, &shown);
	buf_finish(&e->value);
	buf_finish(&e->source);
	buf_finish(&e->warnings);
	return e->nwarning == 0;
}
