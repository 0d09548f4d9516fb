/* SPDX-License-Identifier: ISC */
#include "delivery/envelope.h"

#include <stdlib.h>
#include <string.h>

#include "base/idn.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "dns/name.h"
#include "qmail/quote.h"
#include "smtp/transaction.h"

/* What is copied is looked up, or refused, as from stock. */
static bool
is_for_idna(const char *domain)
{
	size_t n = strlen(domain);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)domain[i] <= ' ' || domain[i] == 0x7f)
			return false;
	return utf8_is_international(domain, n);
}

int
envelope_append_domain(struct buf *ascii, const char *domain,
    enum failure_cause cause, struct dsn *why)
{
	const size_t before = ascii->len;
	const char *fault;

	if (!is_for_idna(domain)) {
		buf_puts(ascii, domain);
		return 0;
	}
	fault = idn_to_ascii(ascii, domain, strlen(domain));
	if (!fault && !dns_name_is_valid(buf_text(ascii) + before)) {
		buf_cut(ascii, before);
		fault = "no domain name";
	}
	if (!fault)
		return 0;
	failure_set(why, cause, "");
	return dsn_detail(why, "%s: %s", domain, fault);
}

/* Whether the address can be in a command, whatever the server knows. */
static bool
is_deliverable(const char *address,
    int (*quote)(struct buf *, const char *, bool))
{
	struct buf path = { 0 };
	bool ok =
	    quote(&path, address, false) == 0 && path.len <= SMTP_PATH_MAX;

	buf_finish(&path);
	return ok;
}

/* The address with A-labels, allocated; or the given one, if it needs none. */
static int
convert(char **address, char *given, enum failure_cause cause, struct dsn *why)
{
	const char *at = strrchr(given, '@');
	struct buf converted = { 0 };

	*address = given;
	if (!at || !is_for_idna(at))
		return 0;
	buf_append(&converted, given, (size_t)(at + 1 - given));
	if (envelope_append_domain(&converted, at + 1, cause, why) == -1) {
		buf_finish(&converted);
		return -1;
	}
	*address = converted.data;
	return 0;
}

/* -1 with this cause if the address cannot be sent. */
static int
read_address(struct envelope *e, size_t i, enum failure_cause cause,
    struct dsn *why)
{
	bool is_sender = cause == FAILURE_SENDER_UNSENDABLE;

	if (convert(&e->address[i], e->given[i], cause, why) == -1)
		return -1;
	if (!is_deliverable(e->address[i],
		is_sender ? quote_sender : quote_mailbox))
		return failure_set(why, cause, "");
	if (quote_needs_smtputf8(e->address[i]))
		e->needs_smtputf8 = true;
	return 0;
}

int
envelope_read(struct envelope *e, char *const *given, struct dsn *why)
{
	int result = -1;
	size_t n = 0;

	while (given[n])
		n++;
	*e = (struct envelope){ .given = given };
	e->address = mem_alloc(n + 1, sizeof *e->address);
	if (read_address(e, 0, FAILURE_SENDER_UNSENDABLE, why) == -1)
		return -1;
	for (size_t i = 1; i < n; i++)
		if (read_address(e, i, FAILURE_RECIPIENT_UNSENDABLE, why) == 0)
			result = 0;
	return result;
}

void
envelope_finish(struct envelope *e)
{
	for (size_t i = 0; e->address && e->given[i]; i++)
		if (e->address[i] != e->given[i])
			free(e->address[i]);
	free(e->address);
	*e = (struct envelope){ 0 };
}
