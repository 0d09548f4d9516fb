/* SPDX-License-Identifier: ISC */
#include "tlsd/dane.h"

#include <openssl/err.h>

#include "tlsd/error.h"
#include "tlsd/verify.h"

bool
tlsd_dane_is_certain(const struct tlsa_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		if (tlsa_is_usable(set, i) && set->record[i].matching != 0)
			return true;
	return false;
}

bool
tlsd_dane_is_possible(const struct tlsa_set *set)
{
	for (size_t i = 0; i < set->n; i++)
		if (tlsa_is_usable(set, i))
			return true;
	return false;
}

int
tlsd_dane_enable(SSL *ssl, const char *base, struct dsn *why)
{
	if (SSL_CTX_dane_enable(SSL_get_SSL_CTX(ssl)) != 1 ||
	    SSL_dane_enable(ssl, base) <= 0)
		return tlsd_error_set_local(why, "DANE");
	/* RFC 7672 section 3.1.1: names do not matter for DANE-EE. */
	(void)SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	return 0;
}

int
tlsd_dane_add(SSL *ssl, const struct tlsa_set *set, struct dsn *why)
{
	int usable = 0;

	for (size_t i = 0; i < set->n; i++) {
		const struct tlsa *r = &set->record[i];
		int result;

		/* The library would also take usages 0 and 1. */
		if (!tlsa_is_usable(set, i))
			continue;
		result = SSL_dane_tlsa_add(ssl, r->usage, r->selector,
		    r->matching, tlsa_data(set, i), r->n);
		if (result < 0)
			return tlsd_error_set_local(why, "DANE");
		usable += result > 0;
		/* Those of a record that is not usable. */
		ERR_clear_error();
	}
	return usable;
}

bool
tlsd_dane_find_match(SSL *ssl, struct tls_result *r)
{
	return tlsd_verify_is_good(ssl) &&
	       SSL_get0_dane_authority(ssl, NULL, NULL) >= 0 &&
	       SSL_get0_dane_tlsa(ssl, &r->usage, &r->selector, &r->matching,
		   NULL, NULL) >= 0;
}
