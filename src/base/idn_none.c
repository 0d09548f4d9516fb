/* SPDX-License-Identifier: ISC */
#include "base/idn.h"

#include "base/utf8.h"

/* Set once, before the first domain is converted. */
static void (*on_need)(void);

const char *
idn_to_ascii(struct buf *ascii, const char *domain, size_t n)
{
	if (!utf8_is_ascii(domain, n)) {
		if (on_need != NULL)
			on_need();
		return "this program was built without libidn2";
	}
	buf_append(ascii, domain, n);
	return NULL;
}

bool
idn_is_supported(void)
{
	return false;
}

void
idn_on_need(void (*hook)(void))
{
	on_need = hook;
}
