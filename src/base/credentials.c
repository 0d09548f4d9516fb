/* SPDX-License-Identifier: ISC */
#include "base/credentials.h"

void
credentials_finish(struct credentials *c)
{
	buf_wipe(&c->user);
	buf_wipe(&c->secret);
	c->kind = CREDENTIALS_NONE;
}
