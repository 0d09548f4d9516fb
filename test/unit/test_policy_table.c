/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tls/policy.h"

/*
 * All combinations of what a policy depends on, compared with tables that were
 * written from the description in qmail-remote-control(5), not from the code.
 * The tables have no order: each combination is in exactly one row.
 *
 * Each value is a letter.  A cell of a table has the letters of the values that
 * the row is for; "*" stands for all.
 */
enum {
	LINE,     /* control/tlspolicy, see lines[] */
	FILE_,    /* of the host: - none, c notlshosts, e empty .pem, p .pem */
	LIST,     /* control/tlshosts/exhaustivelist: - no, l yes */
	REQUIRED, /* TLS-Required: no: - no, n yes */
	DANE,     /* o off, a absent, u usable, x unusable, f failed */
	RESOLVER, /* - not trusted, t trusted */
	STS,      /* -= none, tT testing, eE enforce; =TE: MX is not listed */
	STRICT,   /* 0, 1, 2, 3 */
	ANCHORS,  /* control/trustanchors: - no, y yes */
	PORT,     /* - any, i 465: TLS from the first byte */
	SECRET,   /* credentials: - no, y yes */
	DIMENSIONS
};

static const char *const letters[DIMENSIONS] = {
	"-nmevVaAdo",
	"-cep",
	"-l",
	"-n",
	"oauxf",
	"-t",
	"-=tTeE",
	"0123",
	"-y",
	"-i",
	"-y",
};

#define COMBINATIONS (10 * 4 * 2 * 2 * 5 * 2 * 6 * 4 * 2 * 2 * 2)

static const struct {
	enum tls_rule rule;
	bool has_match, has_anchors;
} lines[] = {
	{ TLS_RULE_ABSENT, false, false },
	{ TLS_RULE_NONE, false, false },
	{ TLS_RULE_MAY, false, false },
	{ TLS_RULE_ENCRYPT, false, false },
	{ TLS_RULE_VERIFY, false, false }, /* v */
	{ TLS_RULE_VERIFY, true, false },  /* V */
	{ TLS_RULE_VERIFY, false, true },  /* a */
	{ TLS_RULE_VERIFY, true, true },   /* A */
	{ TLS_RULE_DANE, false, false },
	{ TLS_RULE_DANE_ONLY, false, false },
};

/*
 * What the first table says: an outcome, or how MTA-STS and tlsstrictness are
 * looked at.
 */
enum {
	OUTCOME,
	REST = 'r', /* as usual */
	REST_TRIED = 't' /* STARTTLS is tried also without trust anchors */,
	REST_FLOOR = 'f' /* and TLS is mandatory: TLSA records, none usable */
};

struct outcome {
	enum tls_level level;
	enum tls_source source;
	enum tls_skip skip;
};

#define IS(level, source) \
	{ \
		TLS_LEVEL_##level, TLS_FROM_##source, TLS_SKIP_NOT \
	}
#define SKIP(reason, level, source) \
	{ \
		TLS_LEVEL_##level, TLS_FROM_##source, TLS_SKIP_##reason \
	}
#define GO_ON IS(NONE, STRICTNESS) /* not used */

static const struct first {
	const char *line, *file, *required, *dane, *resolver, *anchors;
	int rest;
	struct outcome outcome;
} first[] = {
	/* The line decides, whatever else there is. */
	{ "n", "*", "*", "*", "*", "*", OUTCOME, IS(NONE, RULE) },
	{ "m", "*", "*", "*", "*", "*", OUTCOME, IS(MAY, RULE) },
	{ "e", "*", "*", "*", "*", "*", OUTCOME, IS(ENCRYPT, RULE) },
	{ "aA", "*", "*", "*", "*", "*", OUTCOME, IS(VERIFY, RULE) },
	{ "vV", "*", "*", "*", "*", "y", OUTCOME, IS(VERIFY, RULE) },
	{ "vV", "*", "*", "*", "*", "-", OUTCOME, SKIP(ANCHORS, VERIFY, RULE) },

	/* A line of dane or dane-only. */
	{ "do", "*", "*", "*", "-", "*", OUTCOME, SKIP(RESOLVER, DANE, RULE) },
	{ "do", "*", "*", "u", "t", "*", OUTCOME, IS(DANE, DANE) },
	{ "do", "*", "*", "f", "t", "*", OUTCOME,
	    SKIP(DANE_FAILED, DANE, DANE) },
	{ "o", "*", "*", "oa", "t", "*", OUTCOME,
	    SKIP(DANE_ABSENT, DANE, RULE) },
	{ "o", "*", "*", "x", "t", "*", OUTCOME,
	    SKIP(DANE_UNUSABLE, DANE, RULE) },
	{ "d", "*", "*", "oa", "t", "*", REST_TRIED, GO_ON },
	{ "d", "*", "*", "x", "t", "*", REST_FLOOR, GO_ON },

	/* No line: the file of the host decides. */
	{ "-", "c", "*", "*", "*", "*", OUTCOME, IS(NONE, HOSTFILE) },
	{ "-", "e", "*", "*", "*", "*", OUTCOME, IS(ENCRYPT, HOSTFILE) },
	{ "-", "p", "*", "*", "*", "*", OUTCOME, IS(VERIFY, HOSTFILE) },

	/* No file either: DANE, if it is not switched off. */
	{ "-", "-", "n", "*", "*", "*", REST, GO_ON },
	{ "-", "-", "-", "*", "-", "*", REST, GO_ON },
	{ "-", "-", "-", "oa", "t", "*", REST, GO_ON },
	{ "-", "-", "-", "u", "t", "*", OUTCOME, IS(DANE, DANE) },
	{ "-", "-", "-", "x", "t", "*", REST_FLOOR, GO_ON },
	{ "-", "-", "-", "f", "t", "*", OUTCOME,
	    SKIP(DANE_FAILED, DANE, DANE) },
};

/*
 * unlisted: - the host has a .pem, or there is no exhaustivelist; x it has none
 * and there is.
 */
static const struct second {
	const char *rest, *unlisted, *required, *sts, *strict, *anchors;
	struct outcome outcome;
} second[] = {
	/* MTA-STS, enforce.  Without trust anchors there is no MTA-STS. */
	{ "*", "*", "-", "e", "*", "y", IS(VERIFY, STS_ENFORCE) },
	{ "*", "*", "-", "E", "*", "y", SKIP(STS, VERIFY, STS_ENFORCE) },

	/* exhaustivelist in place of the strictness. */
	{ "rt", "x", "-", "-=tT", "*", "y", IS(NONE, HOSTFILE) },
	{ "rt", "x", "n", "*", "*", "y", IS(NONE, HOSTFILE) },
	{ "rt", "x", "*", "*", "*", "-", IS(NONE, HOSTFILE) },
	{ "f", "x", "-", "-=tT", "*", "y", IS(ENCRYPT, DANE) },
	{ "f", "x", "n", "*", "*", "y", IS(ENCRYPT, DANE) },
	{ "f", "x", "*", "*", "*", "-", IS(ENCRYPT, DANE) },

	/* Strictness, without an MTA-STS policy. */
	{ "rt", "-", "-", "-=", "0", "y", IS(MAY, STRICTNESS) },
	{ "rt", "-", "-", "-=", "1", "y", IS(ENCRYPT, STRICTNESS) },
	{ "f", "-", "-", "-=", "01", "y", IS(ENCRYPT, DANE) },
	{ "*", "-", "-", "-=", "23", "y", IS(VERIFY, STRICTNESS) },

	/* The same, testing. */
	{ "rt", "-", "-", "tT", "0", "y", IS(MAY, STS_TESTING) },
	{ "rt", "-", "-", "tT", "1", "y", IS(ENCRYPT, STS_TESTING) },
	{ "f", "-", "-", "tT", "01", "y", IS(ENCRYPT, DANE) },
	{ "*", "-", "-", "tT", "23", "y", IS(VERIFY, STS_TESTING) },

	/* The same, MTA-STS switched off by TLS-Required: no. */
	{ "rt", "-", "n", "*", "0", "y", IS(MAY, STRICTNESS) },
	{ "rt", "-", "n", "*", "1", "y", IS(ENCRYPT, STRICTNESS) },
	{ "f", "-", "n", "*", "01", "y", IS(ENCRYPT, DANE) },
	{ "*", "-", "n", "*", "23", "y", IS(VERIFY, STRICTNESS) },

	/* The same, without trust anchors. */
	{ "r", "-", "*", "*", "*", "-", IS(NONE, STRICTNESS) },
	{ "t", "-", "*", "*", "0", "-", IS(MAY, STRICTNESS) },
	{ "t", "-", "*", "*", "1", "-", IS(ENCRYPT, STRICTNESS) },
	{ "t", "-", "*", "*", "23", "-", SKIP(ANCHORS, VERIFY, STRICTNESS) },
	{ "f", "-", "*", "*", "01", "-", IS(ENCRYPT, DANE) },
	{ "f", "-", "*", "*", "23", "-", SKIP(ANCHORS, VERIFY, STRICTNESS) },
};

/*
 * What port 465 and credentials make of that.
 *
 * level: the level without them, as N M E V D for none, may, encrypt, verify,
 * DANE; S: the host is left out.  testing: t the source is a testing policy of
 * MTA-STS.
 */
#define SAME IS(NONE, RULE) /* not used */

static const struct third {
	const char *secret, *port, *line, *file, *level, *testing, *anchors;
	bool is_raised;
	struct outcome outcome;
} third[] = {
	/* What is enough already, or is not used at all. */
	{ "*", "*", "*", "*", "SVD", "*", "*", false, SAME },
	{ "-", "*", "*", "*", "E", "*", "*", false, SAME },
	{ "-", "-", "*", "*", "NM", "*", "*", false, SAME },
	{ "y", "*", "e", "*", "E", "*", "*", false, SAME },

	/* The port alone. */
	{ "-", "i", "*", "*", "NM", "-", "*", true, IS(ENCRYPT, PORT) },
	{ "-", "i", "*", "*", "NM", "t", "*", true, IS(ENCRYPT, STS_TESTING) },

	/* Credentials, where the administrator does without TLS. */
	{ "y", "*", "nm", "*", "NM", "*", "*", true,
	    SKIP(CREDENTIALS, VERIFY, RULE) },
	{ "y", "*", "-", "c", "N", "*", "*", true,
	    SKIP(CREDENTIALS, VERIFY, HOSTFILE) },

	/* Credentials, and less than a verified certificate. */
	{ "y", "*", "d", "*", "NME", "-", "y", true, IS(VERIFY, CREDENTIALS) },
	{ "y", "*", "d", "*", "NME", "t", "y", true, IS(VERIFY, STS_TESTING) },
	{ "y", "*", "d", "*", "NME", "*", "-", true,
	    SKIP(UNVERIFIED, VERIFY, CREDENTIALS) },
	{ "y", "*", "-", "-e", "NME", "-", "y", true, IS(VERIFY, CREDENTIALS) },
	{ "y", "*", "-", "-e", "NME", "t", "y", true, IS(VERIFY, STS_TESTING) },
	{ "y", "*", "-", "-e", "NME", "*", "-", true,
	    SKIP(UNVERIFIED, VERIFY, CREDENTIALS) },
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* A combination: its letters, and their places. */
struct combination {
	char letter[DIMENSIONS + 1];
	size_t place[DIMENSIONS];
};

static bool
has(const char *cell, int letter)
{
	return *cell == '*' || strchr(cell, letter) != NULL;
}

/* The only row that has the combination. */
static const struct first *
find_first(const struct combination *c)
{
	const struct first *found = NULL;

	for (size_t i = 0; i < COUNT(first); i++) {
		const struct first *row = &first[i];

		if (!has(row->line, c->letter[LINE]) ||
		    !has(row->file, c->letter[FILE_]) ||
		    !has(row->required, c->letter[REQUIRED]) ||
		    !has(row->dane, c->letter[DANE]) ||
		    !has(row->resolver, c->letter[RESOLVER]) ||
		    !has(row->anchors, c->letter[ANCHORS]))
			continue;
		if (found)
			fail_msg("%s: two rows", c->letter);
		found = row;
	}
	if (!found)
		fail_msg("%s: no row", c->letter);
	return found;
}

static const struct second *
find_second(const struct combination *c, int rest)
{
	bool has_pem = has("ep", c->letter[FILE_]);
	char unlisted = c->letter[LIST] == 'l' && !has_pem ? 'x' : '-';
	const struct second *found = NULL;

	for (size_t i = 0; i < COUNT(second); i++) {
		const struct second *row = &second[i];

		if (!has(row->rest, rest) || !has(row->unlisted, unlisted) ||
		    !has(row->required, c->letter[REQUIRED]) ||
		    !has(row->sts, c->letter[STS]) ||
		    !has(row->strict, c->letter[STRICT]) ||
		    !has(row->anchors, c->letter[ANCHORS]))
			continue;
		if (found)
			fail_msg("%s: two second rows", c->letter);
		found = row;
	}
	if (!found)
		fail_msg("%s: no second row", c->letter);
	return found;
}

/* Without a port or credentials. */
static struct outcome
expected_plainly(const struct combination *c)
{
	const struct first *row = find_first(c);

	return row->rest == OUTCOME ? row->outcome
				    : find_second(c, row->rest)->outcome;
}

static const struct third *
find_third(const struct combination *c, const struct outcome *plain)
{
	char level = plain->skip != TLS_SKIP_NOT ? 'S' : "NMEVD"[plain->level];
	char testing = plain->source == TLS_FROM_STS_TESTING ? 't' : '-';
	const struct third *found = NULL;

	for (size_t i = 0; i < COUNT(third); i++) {
		const struct third *row = &third[i];

		if (!has(row->secret, c->letter[SECRET]) ||
		    !has(row->port, c->letter[PORT]) ||
		    !has(row->line, c->letter[LINE]) ||
		    !has(row->file, c->letter[FILE_]) ||
		    !has(row->level, level) || !has(row->testing, testing) ||
		    !has(row->anchors, c->letter[ANCHORS]))
			continue;
		if (found)
			fail_msg("%s: two third rows", c->letter);
		found = row;
	}
	if (!found)
		fail_msg("%s: no third row", c->letter);
	return found;
}

static struct outcome
expected(const struct combination *c)
{
	struct outcome plain = expected_plainly(c);
	const struct third *row = find_third(c, &plain);

	return row->is_raised ? row->outcome : plain;
}

/* If OpenSSL can use none of the records, they are as unusable ones. */
static struct outcome
expected_unusable(const struct combination *c)
{
	struct combination other = *c;

	other.letter[DANE] = 'x';
	return expected(&other);
}

static struct tls_situation
situation_of(const struct combination *c)
{
	static const struct tlsa_set records = { .n = 0 };
	const size_t *at = c->place;
	char sts = c->letter[STS];

	return (struct tls_situation){
		.name = "mx.example",
		.rule = lines[at[LINE]].rule,
		.match = lines[at[LINE]].has_match ? "a.example" : NULL,
		.anchors = lines[at[LINE]].has_anchors ? "a.pem" : NULL,
		.hostfile = (enum tls_hostfile)at[FILE_],
		.pem = "host.pem",
		.is_exhaustive = c->letter[LIST] == 'l',
		.is_not_required = c->letter[REQUIRED] == 'n',
		.dane = (enum tls_dane)at[DANE],
		.is_trusted = c->letter[RESOLVER] == 't',
		.tlsa_base = "base.example",
		.tlsa_names = "base.example,next-hop.example",
		.tlsa = &records,
		.sts = (enum tls_sts)(at[STS] / 2),
		.is_listed = has("-te", sts),
		.strictness = at[STRICT],
		.has_anchors = c->letter[ANCHORS] == 'y',
		.is_implicit = c->letter[PORT] == 'i',
		.has_credentials = c->letter[SECRET] == 'y',
	};
}

static void
check_outcome(const struct combination *c, const char *what,
    const struct outcome *want, enum tls_level level, enum tls_source source,
    enum tls_skip skip)
{
	if (level != want->level || source != want->source ||
	    skip != want->skip)
		fail_msg("%s%s: level %d, source %d, skip %d; "
			 "not %d, %d, %d",
		    c->letter, what, (int)level, (int)source, (int)skip,
		    (int)want->level, (int)want->source, (int)want->skip);
}

static bool
is_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What the policy borrows. */
static void
check_details(const struct combination *c, const struct tls_situation *s,
    const struct tls_policy *p)
{
	const char *name = s->name, *names = NULL, *anchors = NULL;
	const struct tlsa_set *tlsa = NULL;

	if (p->skip == TLS_SKIP_NOT && p->level == TLS_LEVEL_DANE) {
		name = s->tlsa_base;
		names = s->tlsa_names;
		tlsa = s->tlsa;
	} else if (p->skip == TLS_SKIP_NOT && has("vVaA", c->letter[LINE])) {
		names = has("VA", c->letter[LINE]) ? "a.example" : NULL;
		anchors = has("aA", c->letter[LINE]) ? "a.pem" : NULL;
	} else if (c->letter[LINE] == '-' && c->letter[FILE_] == 'p')
		anchors = "host.pem";
	if (!is_same(p->name, name) || !is_same(p->names, names) ||
	    !is_same(p->anchors, anchors) || p->tlsa != tlsa ||
	    p->is_implicit != s->is_implicit)
		fail_msg("%s: name %s", c->letter, p->name);
}

/* What is not about the session, but is to be told of it. */
static void
check_remarks(const struct combination *c, const struct tls_policy *p)
{
	bool is_used = p->skip == TLS_SKIP_NOT;
	bool is_dane = is_used && p->level == TLS_LEVEL_DANE;
	enum tls_source source =
	    is_dane ? expected_unusable(c).source : p->source;
	bool is_tested = source == TLS_FROM_STS_TESTING;

	if (p->is_without_usable !=
	    (is_used && find_first(c)->rest == REST_FLOOR))
		fail_msg("%s: is_without_usable", c->letter);
	if ((p->is_unlisted) !=
	    (is_used && is_tested && has("=TE", c->letter[STS])))
		fail_msg("%s: is_unlisted", c->letter);
}

/* The level decides, and whether it is only that of strictness 1. */
static void
check_consequences(const struct combination *c, const struct tls_policy *p)
{
	static const struct {
		bool tries, requires, verifies, falls_back;
		unsigned long security;
	} want[] = {
		[TLS_LEVEL_NONE] = { 0, 0, 0, 0, 0 },
		[TLS_LEVEL_MAY] = { 1, 0, 0, 1, 0 },
		[TLS_LEVEL_ENCRYPT] = { 1, 1, 0, 0, 1 },
		[TLS_LEVEL_VERIFY] = { 1, 1, 1, 0, 2 },
		[TLS_LEVEL_DANE] = { 1, 1, 1, 0, 1 },
	};
	bool is_soft = c->letter[STRICT] == '1' && c->letter[PORT] == '-' &&
		       (p->source == TLS_FROM_STRICTNESS ||
			   p->source == TLS_FROM_STS_TESTING);

	if (tls_policy_tries(p) != want[p->level].tries ||
	    tls_policy_requires(p) != want[p->level].requires ||
	    tls_policy_verifies(p) != want[p->level].verifies ||
	    tls_policy_falls_back(p) != want[p->level].falls_back ||
	    tls_policy_security(p) != want[p->level].security)
		fail_msg("%s: consequences of level %d", c->letter,
		    (int)p->level);
	if (tls_policy_allows_clear(p) !=
	    (!want[p->level].requires ||
		(p->level == TLS_LEVEL_ENCRYPT && is_soft)))
		fail_msg("%s: clear text in the end", c->letter);
}

static void
check(const struct combination *c)
{
	struct tls_situation s = situation_of(c);
	struct tls_policy p = tls_policy_choose(&s);
	struct outcome want = expected(c);

	check_outcome(c, "", &want, p.level, p.source, p.skip);
	check_details(c, &s, &p);
	check_consequences(c, &p);
	check_remarks(c, &p);
	if (p.level != TLS_LEVEL_DANE || p.skip != TLS_SKIP_NOT)
		return;
	want = expected_unusable(c);
	check_outcome(c, ", unusable", &want, p.unusable.level,
	    p.unusable.source, p.unusable.skip);
	assert_string_equal(p.unusable.name, "mx.example");
}

/* The next combination, in the manner of a counter; false after the last. */
static bool
next(struct combination *c)
{
	for (size_t i = DIMENSIONS; i-- > 0;) {
		if (letters[i][++c->place[i]] == '\0')
			c->place[i] = 0;
		c->letter[i] = letters[i][c->place[i]];
		if (c->place[i] > 0)
			return true;
	}
	return false;
}

static struct combination
first_combination(void)
{
	struct combination c = { .place = { 0 } };

	for (size_t i = 0; i < DIMENSIONS; i++)
		c.letter[i] = letters[i][0];
	return c;
}

static void
every_combination_is_as_described(void **state)
{
	struct combination c = first_combination();
	size_t n = 0;

	(void)state;
	do {
		check(&c);
		n++;
	} while (next(&c));
	assert_int_equal(n, COMBINATIONS);
}

/* No row of the tables is superfluous. */
static void
every_row_is_used(void **state)
{
	struct combination c = first_combination();
	bool used_first[COUNT(first)] = { false };
	bool used_second[COUNT(second)] = { false };
	bool used_third[COUNT(third)] = { false };

	(void)state;
	do {
		const struct first *row = find_first(&c);
		const struct outcome plain = expected_plainly(&c);

		used_first[row - first] = true;
		used_third[find_third(&c, &plain) - third] = true;
		if (row->rest != OUTCOME)
			used_second[find_second(&c, row->rest) - second] = true;
	} while (next(&c));
	for (size_t i = 0; i < COUNT(first); i++)
		if (!used_first[i])
			fail_msg("row %zu of the first table", i);
	for (size_t i = 0; i < COUNT(second); i++)
		if (!used_second[i])
			fail_msg("row %zu of the second table", i);
	for (size_t i = 0; i < COUNT(third); i++)
		if (!used_third[i])
			fail_msg("row %zu of the third table", i);
}

/*
 * Sentences of the description that hold for all combinations, said without the
 * tables.
 */

static bool
is_equal(const struct tls_policy *a, const struct tls_policy *b)
{
	return a->level == b->level && a->skip == b->skip;
}

/* Credentials, and who hears nothing but TLS. */
static void
keeps_secrets(const struct combination *c)
{
	struct tls_situation s = situation_of(c), other = s;
	struct tls_policy p = tls_policy_choose(&s), q;

	if (p.skip != TLS_SKIP_NOT)
		return;
	if (s.has_credentials && !tls_policy_verifies(&p) &&
	    s.rule != TLS_RULE_ENCRYPT)
		fail_msg("%s: credentials to anybody", c->letter);
	if ((s.has_credentials || s.is_implicit) &&
	    (!tls_policy_requires(&p) || tls_policy_falls_back(&p)))
		fail_msg("%s: not without TLS", c->letter);
	if ((s.has_credentials || s.is_implicit) && tls_policy_allows_clear(&p))
		fail_msg("%s: clear text in the end", c->letter);
	if (p.level == TLS_LEVEL_DANE && s.has_credentials &&
	    p.unusable.skip == TLS_SKIP_NOT &&
	    p.unusable.level != TLS_LEVEL_VERIFY)
		fail_msg("%s: credentials without usable records", c->letter);

	/* Neither ever demands less. */
	other.has_credentials = other.is_implicit = false;
	q = tls_policy_choose(&other);
	if (q.skip != TLS_SKIP_NOT || p.level < q.level)
		fail_msg("%s: weaker", c->letter);
}

static void
keeps_promises(const struct combination *c)
{
	struct tls_situation s = situation_of(c), other = s;
	struct tls_policy p = tls_policy_choose(&s), q;
	bool is_explicit =
	    s.rule != TLS_RULE_ABSENT || s.hostfile != TLS_HOSTFILE_ABSENT;
	bool is_enforced =
	    s.sts == TLS_STS_ENFORCE && s.has_anchors && !s.is_not_required;

	/* Enforced: never in clear text, never to a host not listed. */
	if (!is_explicit && is_enforced && p.skip == TLS_SKIP_NOT &&
	    (!tls_policy_verifies(&p) ||
		(p.level == TLS_LEVEL_VERIFY && !s.is_listed)))
		fail_msg("%s: enforced policy", c->letter);

	/* Testing changes nothing. */
	other.sts = TLS_STS_NONE;
	q = tls_policy_choose(&other);
	if (s.sts == TLS_STS_TESTING && !is_equal(&p, &q))
		fail_msg("%s: testing", c->letter);

	/* TLS-Required: no is as if DANE and MTA-STS were off. */
	other.dane = TLS_DANE_OFF;
	q = tls_policy_choose(&other);
	if (s.is_not_required && s.rule == TLS_RULE_ABSENT && !is_equal(&p, &q))
		fail_msg("%s: TLS-Required: no", c->letter);

	/* A failed lookup is never "no records". */
	other = s;
	other.rule = TLS_RULE_ABSENT;
	other.hostfile = TLS_HOSTFILE_ABSENT;
	other.is_not_required = false;
	other.is_trusted = true;
	other.dane = TLS_DANE_FAILED;
	q = tls_policy_choose(&other);
	if (q.skip != TLS_SKIP_DANE_FAILED)
		fail_msg("%s: lookup failed", c->letter);
}

static void
every_combination_keeps_promises(void **state)
{
	struct combination c = first_combination();

	(void)state;
	do {
		keeps_promises(&c);
		keeps_secrets(&c);
	} while (next(&c));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_combination_is_as_described),
		cmocka_unit_test(every_row_is_used),
		cmocka_unit_test(every_combination_keeps_promises),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
