/* SPDX-License-Identifier: ISC */
#include "cache/message.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/keyword.h"
#include "base/str.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#define KEYWORDS 12 /* of one kind, at most */
#define CANDIDATE 3 /* words of a candidate: key, limit, n */

/* Kind, keywords, the end of the keywords, candidates. */
#define WORDS (1 + KEYWORDS + 1 + CANDIDATE * CACHE_CANDIDATES)

static const char end_of_keywords[] = "--";

static const char *const kinds[] = {
	[CACHE_ASK] = "ask",
	[CACHE_CHOOSE] = "choose",
	[CACHE_GONE] = "gone",
	[CACHE_READY] = "ready",
	[CACHE_KEEP] = "keep",
	[CACHE_LIST] = "list",
	[CACHE_TLS] = "tls",
	[CACHE_HIT] = "hit",
	[CACHE_MISS] = "miss",
	[CACHE_PLACE] = "place",
	[CACHE_QUEUED] = "queued",
	[CACHE_FULL] = "full",
	[CACHE_ENTRY] = "entry",
	[CACHE_LIMIT] = "limit",
	[CACHE_COUNTERS] = "counters",
};

/* Sets of kinds. */
#define IN(kind) (1U << (kind))
#define ANSWERS (~(IN(CACHE_HIT) - 1))
#define SESSIONS (IN(CACHE_READY) | IN(CACHE_HIT) | IN(CACHE_ENTRY))

/* A keyword, and the kinds that have it. */
struct member {
	unsigned kinds;
	struct keyword keyword;
};

static struct keyword
optional(const char *key, const char **text)
{
	return (struct keyword){ key, .text = text };
}

static struct keyword
required(const char *key, const char **text)
{
	return (struct keyword){ key, .text = text, .is_required = true };
}

static struct keyword
number(const char *key, unsigned long *place, unsigned long limit)
{
	return (struct keyword){ key, .number = place, limit,
		.is_required = true };
}

static struct keyword
total(const char *key, unsigned long *place)
{
	return number(key, place, ULONG_MAX);
}

/* Those of one set that belong to the kind; returns how many there are now. */
static size_t
choose(enum cache_kind kind, const struct member *m, size_t n,
    struct keyword k[KEYWORDS], size_t nkeyword)
{
	for (size_t i = 0; i < n; i++) {
		if ((m[i].kinds & IN(kind)) == 0)
			continue;
		assert(nkeyword < KEYWORDS);
		k[nkeyword++] = m[i].keyword;
	}
	return nkeyword;
}

static size_t
describe_session(struct cache_message *m, struct keyword k[KEYWORDS])
{
	struct cache_session *s = &m->session;
	const struct member members[] = {
		{ ANSWERS, optional("version", &m->version) },
		{ IN(CACHE_ASK), required("key1", &s->key1) },
		{ SESSIONS, optional("key1", &s->key1) },
		{ SESSIONS, optional("key2", &s->key2) },
		{ SESSIONS, required("address", &s->address) },
		{ SESSIONS, optional("host", &s->host) },
		{ SESSIONS, optional("extensions", &s->extensions) },
		{ SESSIONS, optional("tls", &s->tls) },
		{ SESSIONS | IN(CACHE_KEEP), total("used", &s->used) },
		{ SESSIONS, total("lives", &s->lives) },
		{ IN(CACHE_READY),
		    { "mailmax", .number = &s->mailmax, ULONG_MAX } },
	};

	return choose(m->kind, members, COUNT(members), k, 0);
}

static size_t
describe_place(struct cache_message *m, struct keyword k[KEYWORDS], size_t n)
{
	const struct member members[] = {
		{ IN(CACHE_MISS), optional("keys", &m->keys) },
		{ IN(CACHE_CHOOSE), number("wait", &m->wait, CACHE_WAIT_MAX) },
		{ IN(CACHE_HIT) | IN(CACHE_PLACE),
		    number("chosen", &m->chosen, CACHE_CANDIDATES - 1) },
		{ IN(CACHE_ENTRY), total("seconds", &m->seconds) },
		{ IN(CACHE_LIMIT) | IN(CACHE_FULL),
		    required("limit", &m->limit) },
		{ IN(CACHE_LIMIT), total("n", &m->n) },
		{ IN(CACHE_LIMIT), total("waiting", &m->waiting) },
	};

	return choose(m->kind, members, COUNT(members), k, n);
}

static size_t
describe_counters(struct cache_counters *c, struct keyword k[KEYWORDS],
    size_t n)
{
	const struct keyword counters[] = {
		total("hits", &c->hits),
		total("misses", &c->misses),
		total("kept", &c->kept),
		total("server", &c->by_server),
		total("idleness", &c->by_idleness),
		total("age", &c->by_age),
		total("use", &c->by_use),
		total("room", &c->by_room),
		total("limit", &c->by_limit),
		total("unwanted", &c->unwanted),
	};

	assert(n + COUNT(counters) <= KEYWORDS);
	memcpy(k + n, counters, sizeof counters);
	return n + COUNT(counters);
}

/* The keywords of this kind of message. */
static size_t
describe(struct cache_message *m, struct keyword k[KEYWORDS])
{
	size_t n = describe_session(m, k);

	n = describe_place(m, k, n);
	if (m->kind == CACHE_COUNTERS)
		n = describe_counters(&m->counters, k, n);
	return n;
}

/* The bytes that were written, and whether all had room. */
struct out {
	char *bytes;
	size_t n;
	bool is_complete;
};

static void
put_bytes(struct out *out, const char *bytes, size_t n)
{
	if (n > CACHE_MESSAGE_MAX - out->n) {
		out->is_complete = false;
		return;
	}
	memcpy(out->bytes + out->n, bytes, n);
	out->n += n;
}

static void
put(struct out *out, const char *word)
{
	put_bytes(out, word, strlen(word) + 1);
}

static void
put_keyword(struct out *out, const struct keyword *k)
{
	size_t left = CACHE_MESSAGE_MAX - out->n;
	size_t size = keyword_write(k, out->bytes + out->n, left);

	if (size > left)
		out->is_complete = false;
	else
		out->n += size;
}

static bool
may_have_candidates(enum cache_kind kind)
{
	return kind == CACHE_CHOOSE || kind == CACHE_READY;
}

static void
put_candidates(struct out *out, const struct cache_message *m)
{
	assert(m->ncandidate > 0 && m->ncandidate <= CACHE_CANDIDATES);
	put(out, end_of_keywords);
	for (size_t i = 0; i < m->ncandidate; i++) {
		const struct cache_candidate *c = &m->candidate[i];
		char n[24];

		snprintf(n, sizeof n, "%lu", c->n);
		put(out, c->key);
		put(out, c->limit);
		put(out, n);
	}
}

static void
put_request(struct out *out, const struct cache_message *m)
{
	assert(m->nrequest > 0);
	put_bytes(out, m->request, m->nrequest);
}

size_t
cache_message_format(const struct cache_message *message,
    char bytes[CACHE_MESSAGE_MAX])
{
	struct cache_message m = *message;
	struct out out = { bytes, 0, true };
	struct keyword k[KEYWORDS];
	size_t n = describe(&m, k);

	put(&out, kinds[m.kind]);
	for (size_t i = 0; i < n; i++)
		if (keyword_is_set(&k[i]))
			put_keyword(&out, &k[i]);
	if (m.kind == CACHE_CHOOSE ||
	    (m.kind == CACHE_READY && m.ncandidate > 0))
		put_candidates(&out, &m);
	if (m.kind == CACHE_TLS)
		put_request(&out, &m);
	return out.is_complete ? out.n : 0;
}

/* Returns the number of words; 0 if they are too many, or not ended. */
static size_t
split(char *bytes, size_t n, char *words[WORDS])
{
	size_t nword = 0;

	if (n == 0 || bytes[n - 1] != '\0')
		return 0;
	for (size_t i = 0; i < n; i += strlen(bytes + i) + 1) {
		if (nword == WORDS)
			return 0;
		words[nword++] = bytes + i;
	}
	return nword;
}

static bool
parse_kind(const char *word, enum cache_kind *kind)
{
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (strcmp(word, kinds[i]) == 0) {
			*kind = (enum cache_kind)i;
			return true;
		}
	return false;
}

/* There is a limit if, and only if, there is a number of sessions. */
static bool
parse_candidate(struct cache_candidate *c, char *const *word)
{
	size_t n = strlen(word[2]);

	c->key = word[0];
	c->limit = word[1];
	return n > 0 && str_number(word[2], n, ULONG_MAX, &c->n) == n &&
	       (c->limit[0] != '\0') == (c->n != 0);
}

static bool
parse_candidates(struct cache_message *m, char *const *words, size_t n)
{
	if (n == 0 || n % CANDIDATE != 0 || n / CANDIDATE > CACHE_CANDIDATES)
		return false;
	m->ncandidate = n / CANDIDATE;
	for (size_t i = 0; i < m->ncandidate; i++)
		if (!parse_candidate(&m->candidate[i], words + i * CANDIDATE))
			return false;
	return true;
}

bool
cache_message_parse(struct cache_message *m, char *bytes, size_t n)
{
	struct keyword k[KEYWORDS];
	char *words[WORDS];
	size_t nword = split(bytes, n, words), end = 1;

	memset(m, 0, sizeof *m);
	if (nword == 0 || !parse_kind(words[0], &m->kind))
		return false;
	if (m->kind == CACHE_TLS) {
		m->request = bytes + strlen(bytes) + 1;
		m->nrequest = n - (size_t)(m->request - bytes);
		return nword > 1;
	}
	if (!may_have_candidates(m->kind))
		end = nword;
	while (end < nword && strcmp(words[end], end_of_keywords) != 0)
		end++;
	if (!keyword_parse(k, describe(m, k), words + 1, end - 1))
		return false;
	if (end == nword)
		return m->kind != CACHE_CHOOSE;
	return parse_candidates(m, words + end + 1, nword - end - 1);
}

bool
cache_is_session(const int *fd, size_t nfd)
{
	if (nfd == 1)
		return pass_is_tcp_stream(fd[CACHE_FD_SESSION]);
	return nfd == 2 && pass_is_local_stream(fd[CACHE_FD_SESSION]) &&
	       pass_is_local_stream(fd[CACHE_FD_STATUS]);
}

bool
cache_is_tls_start(const int *fd, size_t nfd)
{
	return nfd == 3 && pass_is_tcp_stream(fd[0]) &&
	       pass_is_local_stream(fd[1]) && pass_is_local_stream(fd[2]);
}
