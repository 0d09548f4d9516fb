/* SPDX-License-Identifier: ISC */
#include "delivery/lesson.h"

/*
 * The replies to a group of commands did not all come, or were out of step,
 * before there was mail data: one by one the server might have taken them.
 */
static bool
has_broken_pipelining(const struct lesson *l)
{
	const struct smtp_result *r = l->result;

	if (!l->was_pipelined || r->outcome == SMTP_DONE ||
	    r->outcome == SMTP_REFUSED)
		return false;
	return r->end == SMTP_END_MAIL || r->end == SMTP_END_RCPT ||
	       r->end == SMTP_END_NONE_ACCEPTED || r->end == SMTP_END_DATA;
}

/*
 * Mail data did not get through in time, or no reply to its end came: large
 * packets may be lost on the way.  A reset amid mail data is no such sign.
 */
static bool
has_stalled(const struct lesson *l)
{
	const struct smtp_result *r = l->result;

	return r->end == SMTP_END_MAIL_DATA && r->outcome == SMTP_DIED &&
	       (r->in_doubt || !l->has_ended);
}

bool
lesson_has(const struct lesson *l, enum memory_kind kind)
{
	if (kind == MEMORY_PIPELINING)
		return has_broken_pipelining(l);
	if (kind == MEMORY_STALL)
		return has_stalled(l);
	return kind == MEMORY_EHLO && l->used_helo &&
	       l->result->end == SMTP_END_MAIL_DATA &&
	       l->result->outcome == SMTP_DONE;
}
