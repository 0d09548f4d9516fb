/* SPDX-License-Identifier: ISC */
#ifndef TEST_LENDERKEYS_H
#define TEST_LENDERKEYS_H

#include "cache/lender.h"

/* The set that a lender has to have: the keys 2 of all its sessions. */
static inline void
lenderkeys_collect(const struct lender *l, struct keyset *keys)
{
	const struct store_session *s;

	keyset_init(keys);
	for (size_t i = 0; (s = store_at(l->store, i)) != NULL; i++)
		keyset_add(keys, s->key2);
	for (size_t i = 0; i < l->nclient; i++)
		if (l->client[i].session != NULL)
			keyset_add(keys, l->client[i].session->key2);
}

#endif
