/* SPDX-License-Identifier: ISC */
#include "check/held.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/mem.h"
#include "delivery/sessionkey.h"
#include "qmail/concurrencyhosts.h"

static char *
copy(const char *text, size_t max)
{
	size_t n;
	char *copied;

	if (!text)
		return NULL;
	n = strnlen(text, max);
	copied = mem_alloc(n + 1, 1);
	memcpy(copied, text, n);
	copied[n] = '\0';
	return copied;
}

static enum held_state
state_of(int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		return HELD_NO_BROKER;
	case EACCES:
		return HELD_NOT_ALLOWED;
	case EPERM:
		return HELD_OF_ANOTHER_USER;
	default:
		return HELD_NO_ANSWER;
	}
}

void
held_join(struct held *h, const char *socket)
{
	h->state = HELD_NO_ANSWER;
	if (cache_client_join(&h->client, socket) == -1)
		h->state = state_of(errno);
}

static void
add_connection(struct held *h, const struct cache_message *m)
{
	const struct cache_session *s = &m->session;

	h->connection = mem_resize(h->connection, h->nconnection + 1,
	    sizeof *h->connection);
	h->connection[h->nconnection++] = (struct held_connection){
		.address = copy(s->address, HELD_TEXT_MAX),
		.host = copy(s->host, HELD_TEXT_MAX),
		.tls = copy(s->tls, HELD_TEXT_MAX),
		.key1 = copy(s->key1, SESSIONKEY_MAX),
		.messages = s->used,
		.idle_s = m->seconds,
		.lives_s = s->lives,
	};
}

/* Of several lines with the same key the last one counts. */
static unsigned long
allowed_by(const struct concurrencyhosts *c, const char *key)
{
	for (size_t i = c->nline; i > 0; i--)
		if (strcmp(c->line[i - 1].key, key) == 0)
			return c->line[i - 1].n;
	return 0;
}

static void
add_limit(struct held *h, const struct cache_message *m,
    const struct concurrencyhosts *c)
{
	h->limit = mem_resize(h->limit, h->nlimit + 1, sizeof *h->limit);
	h->limit[h->nlimit++] = (struct held_limit){
		.key = copy(m->limit, HELD_TEXT_MAX),
		.sessions = m->n,
		.waiting = m->waiting,
		.allowed = allowed_by(c, m->limit),
	};
}

/* False if the last answer, the counters, has not come. */
static bool
read_answers(struct held *h, const struct concurrencyhosts *c)
{
	static const struct cache_message list = { .kind = CACHE_LIST };
	struct deadline until = deadline_in(HELD_MS);
	const struct cache_message *m = &h->client.answer;
	int none[PASS_MAX];

	if (!cache_client_ask(&h->client, &list, none))
		return false;
	for (size_t n = 0; n < HELD_ANSWERS; n++) {
		if (m->kind == CACHE_COUNTERS)
			return true;
		if (m->kind == CACHE_ENTRY)
			add_connection(h, m);
		else
			add_limit(h, m, c);
		if (deadline_passed(until) || !cache_client_next(&h->client))
			return false;
	}
	return false;
}

void
held_read(struct held *h)
{
	struct concurrencyhosts c = { .nline = 0 };
	struct dsn why;

	if (h->client.fd == -1)
		return;
	/* Without it, what is allowed is not known. */
	(void)concurrencyhosts_read(&c, "control/concurrencyhosts", &why);
	if (read_answers(h, &c)) {
		h->counters = h->client.answer.counters;
		h->state = HELD_KNOWN;
	}
	cache_client_close(&h->client);
	concurrencyhosts_finish(&c);
}

size_t
held_count(const struct held *h, const char *key1)
{
	size_t n = 0;

	for (size_t i = 0; i < h->nconnection; i++) {
		const char *key = h->connection[i].key1;

		n += key != NULL && strcmp(key, key1) == 0;
	}
	return n;
}

void
held_finish(struct held *h)
{
	for (size_t i = 0; i < h->nconnection; i++) {
		free(h->connection[i].address);
		free(h->connection[i].host);
		free(h->connection[i].tls);
		free(h->connection[i].key1);
	}
	for (size_t i = 0; i < h->nlimit; i++)
		free(h->limit[i].key);
	free(h->connection);
	free(h->limit);
	cache_client_close(&h->client);
}
