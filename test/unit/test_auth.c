/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdbool.h>

#include "smtp/auth.h"

#include "peer.h"

#define PLAIN SMTP_MECHANISM_PLAIN
#define LOGIN SMTP_MECHANISM_LOGIN
#define BEARER SMTP_MECHANISM_OAUTHBEARER
#define XOAUTH2 SMTP_MECHANISM_XOAUTH2
#define PASSWORD CREDENTIALS_PASSWORD
#define TOKEN CREDENTIALS_TOKEN

static struct smtp_session session;

static struct credentials
make(enum credentials_kind kind, const char *user, const char *secret)
{
	struct credentials c = { .kind = kind };

	buf_puts(&c.user, user);
	buf_puts(&c.secret, secret);
	return c;
}

static void
chooses_the_first_mechanism_in_common(void **state)
{
	static const struct {
		unsigned offered;
		enum credentials_kind kind;
		enum smtp_mechanism want;
	} cases[] = {
		{ 0, PASSWORD, 0 },
		{ 0, TOKEN, 0 },
		{ PLAIN | LOGIN | BEARER | XOAUTH2, PASSWORD, PLAIN },
		{ PLAIN | LOGIN | BEARER | XOAUTH2, TOKEN, BEARER },
		{ LOGIN | XOAUTH2, PASSWORD, LOGIN },
		{ LOGIN | XOAUTH2, TOKEN, XOAUTH2 },
		{ PLAIN | LOGIN, TOKEN, 0 },
		{ BEARER | XOAUTH2, PASSWORD, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct smtp_ehlo e = { .mechanisms = cases[i].offered };

		assert_int_equal(smtp_auth_choose(&e, cases[i].kind),
		    cases[i].want);
	}
}

/* "user", "secret": AHVzZXIAc2VjcmV0, dXNlcg==, c2VjcmV0. */
#define AUTH_PLAIN "<AUTH PLAIN AHVzZXIAc2VjcmV0\r\n"
#define AUTH_LOGIN "<AUTH LOGIN\r\n"
#define USER "<dXNlcg==\r\n"
#define SECRET "<c2VjcmV0\r\n"
/* n,a=user,^Aauth=Bearer secret^A^A */
#define AUTH_BEARER \
	"<AUTH OAUTHBEARER bixhPXVzZXIsAWF1dGg9QmVhcmVyIHNlY3JldAEB\r\n"
/* user=user^Aauth=Bearer secret^A^A */
#define AUTH_XOAUTH2 \
	"<AUTH XOAUTH2 dXNlcj11c2VyAWF1dGg9QmVhcmVyIHNlY3JldAEB\r\n"
#define YES ">235 2.7.0 welcome\r\n"
#define NO ">535 5.7.8 no\r\n"
#define REASON ">334 eyJzdGF0dXMiOiI0MDEifQ==\r\n"

static const struct {
	const char *name;
	enum smtp_mechanism mechanism;
	const char *script[8];
	enum smtp_outcome want;
	int code; /* of the reply that is left; -1: any */
} dialogues[] = {
	{ "PLAIN", PLAIN, { AUTH_PLAIN, YES }, SMTP_DONE, 235 },
	{ "PLAIN, 250", PLAIN, { AUTH_PLAIN, ">250 ok\r\n" }, SMTP_DONE, 250 },
	{ "PLAIN, several lines", PLAIN, { AUTH_PLAIN, ">235-a\r\n235 b\r\n" },
	    SMTP_DONE, 235 },
	{ "PLAIN refused", PLAIN, { AUTH_PLAIN, NO }, SMTP_REFUSED, 535 },
	{ "PLAIN for now", PLAIN, { AUTH_PLAIN, ">454 later\r\n" },
	    SMTP_REFUSED, 454 },
	{ "PLAIN, a challenge all the same", PLAIN,
	    { AUTH_PLAIN, ">334 \r\n", "/" }, SMTP_MALFORMED, 334 },
	{ "PLAIN, no reply", PLAIN, { AUTH_PLAIN, "!" }, SMTP_DIED, -1 },
	{ "PLAIN, half a reply", PLAIN, { AUTH_PLAIN, ">235 2.7", "!" },
	    SMTP_DIED, -1 },
	{ "PLAIN, another protocol", PLAIN, { AUTH_PLAIN, ">2355 x\r\n" },
	    SMTP_MALFORMED, -1 },
	{ "PLAIN, another class", PLAIN, { AUTH_PLAIN, ">135 x\r\n" },
	    SMTP_MALFORMED, 135 },
	{ "LOGIN", LOGIN,
	    { AUTH_LOGIN, ">334 VXNlcm5hbWU6\r\n", USER,
		">334 UGFzc3dvcmQ6\r\n", SECRET, YES },
	    SMTP_DONE, 235 },
	{ "LOGIN, challenges that are none", LOGIN,
	    { AUTH_LOGIN, ">334\r\n", USER, ">334 ***\r\n", SECRET, YES },
	    SMTP_DONE, 235 },
	{ "LOGIN, the mechanism refused", LOGIN,
	    { AUTH_LOGIN, ">504 what\r\n" }, SMTP_REFUSED, 504 },
	{ "LOGIN, the user refused", LOGIN,
	    { AUTH_LOGIN, ">334 \r\n", USER, NO }, SMTP_REFUSED, 535 },
	{ "LOGIN, the password refused", LOGIN,
	    { AUTH_LOGIN, ">334 \r\n", USER, ">334 \r\n", SECRET, NO },
	    SMTP_REFUSED, 535 },
	{ "LOGIN, one challenge too many", LOGIN,
	    { AUTH_LOGIN, ">334 \r\n", USER, ">334 \r\n", SECRET, ">334 \r\n",
		"/" },
	    SMTP_MALFORMED, 334 },
	{ "LOGIN, accepted unseen", LOGIN, { AUTH_LOGIN, YES }, SMTP_MALFORMED,
	    235 },
	{ "LOGIN, accepted without the password", LOGIN,
	    { AUTH_LOGIN, ">334 \r\n", USER, YES }, SMTP_MALFORMED, 235 },
	{ "LOGIN, closed amid", LOGIN, { AUTH_LOGIN, ">334 \r\n", USER, "!" },
	    SMTP_DIED, -1 },
	{ "LOGIN, two replies at once", LOGIN,
	    { AUTH_LOGIN, ">334 \r\n235 ok\r\n", "/" }, SMTP_MALFORMED, 235 },
	{ "OAUTHBEARER", BEARER, { AUTH_BEARER, YES }, SMTP_DONE, 235 },
	{ "OAUTHBEARER, refused at once", BEARER, { AUTH_BEARER, NO },
	    SMTP_REFUSED, 535 },
	{ "OAUTHBEARER, refused with a reason", BEARER,
	    { AUTH_BEARER, REASON, "<AQ==\r\n", NO }, SMTP_REFUSED, 535 },
	{ "OAUTHBEARER, reasons without end", BEARER,
	    { AUTH_BEARER, REASON, "<AQ==\r\n", REASON, "/" }, SMTP_MALFORMED,
	    334 },
	{ "XOAUTH2", XOAUTH2, { AUTH_XOAUTH2, YES }, SMTP_DONE, 235 },
	{ "XOAUTH2, refused with a reason", XOAUTH2,
	    { AUTH_XOAUTH2, REASON, "<\r\n", NO }, SMTP_REFUSED, 535 },
	{ "XOAUTH2, refused for now", XOAUTH2,
	    { AUTH_XOAUTH2, REASON, "<\r\n", ">421 x\r\n" }, SMTP_REFUSED,
	    421 },
};

static void
speaks_each_mechanism(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof dialogues / sizeof *dialogues; i++) {
		bool has_password = dialogues[i].mechanism == PLAIN ||
				    dialogues[i].mechanism == LOGIN;
		struct credentials c =
		    make(has_password ? PASSWORD : TOKEN, "user", "secret");
		struct peer p = peer_start(peer_play, dialogues[i].script, 0);
		struct buf heard = { 0 };
		enum smtp_outcome got;

		smtp_session_init(&session, p.fd, 30);
		got = smtp_auth(&session, dialogues[i].mechanism, &c);
		if (got != dialogues[i].want ||
		    (dialogues[i].code != -1 &&
			session.reply.code != dialogues[i].code))
			fail_msg("%s: %d, code %d", dialogues[i].name, got,
			    session.reply.code);
		/* Nothing of it is left in the output buffer. */
		for (size_t k = 0; k < sizeof session.stream.out; k++)
			assert_int_equal(session.stream.out[k], '\0');
		if (peer_end(&p, &heard) != 0)
			fail_msg("%s: said %s", dialogues[i].name,
			    buf_text(&heard));
		buf_finish(&heard);
		credentials_finish(&c);
	}
}

/* A reply that comes before AUTH is sent is not its reply. */
static void
does_not_take_an_early_reply(void **state)
{
	static const char *const script[] = { ">235 ok\r\n", NULL };
	struct credentials c = make(PASSWORD, "user", "secret");
	struct peer p = peer_start(peer_play, script, 0);
	struct pollfd ready = { .fd = p.fd, .events = POLLIN };
	struct buf heard = { 0 };

	(void)state;
	smtp_session_init(&session, p.fd, 30);
	poll(&ready, 1, -1);
	assert_int_equal(smtp_auth(&session, PLAIN, &c), SMTP_MALFORMED);
	assert_int_equal(peer_end(&p, &heard), 0);
	assert_int_equal(heard.len, 0);
	credentials_finish(&c);
}

/* A text of n bytes. */
static const char *
fill(char *text, char c, size_t n)
{
	memset(text, c, n);
	text[n] = '\0';
	return text;
}

/*
 * The line with the first response has at most 512 octets; one more, and the
 * response is sent after a challenge.
 */
static void
sends_a_long_response_after_a_challenge(void **state)
{
	static char text[CREDENTIALS_SECRET_MAX + 1];
	/*
	 * "AUTH PLAIN " has 11 octets, the line end 2: 499 are left, so the
	 * response has 496, of 372 bytes.
	 */
	static const struct {
		size_t secret;
		bool is_initial;
	} cases[] = {
		{ 372 - 6, true },
		{ 373 - 6, false },
		{ CREDENTIALS_SECRET_MAX, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct credentials c =
		    make(PASSWORD, "user", fill(text, 's', cases[i].secret));
		const char *at_once[] = { "<AUTH PLAIN A", YES, NULL };
		const char *later[] = { "<AUTH PLAIN\r\n", ">334 \r\n", "<A",
			YES, NULL };
		struct peer p = peer_start(peer_play,
		    cases[i].is_initial ? at_once : later, 0);
		struct buf heard = { 0 };

		smtp_session_init(&session, p.fd, 30);
		assert_int_equal(smtp_auth(&session, PLAIN, &c), SMTP_DONE);
		assert_int_equal(peer_end(&p, &heard), 0);
		assert_int_equal(strncmp(heard.data, "AUTH PLAIN A", 12) == 0,
		    cases[i].is_initial);
		if (cases[i].is_initial)
			assert_int_equal(heard.len, 509);
		buf_finish(&heard);
		credentials_finish(&c);
	}
}

/* The longest that a file can have makes no line of more than 12288 octets. */
static void
sends_the_longest_credentials(void **state)
{
	static char user[CREDENTIALS_USER_MAX + 1];
	static char secret[CREDENTIALS_SECRET_MAX + 1];
	static const enum smtp_mechanism mechanisms[] = { BEARER, XOAUTH2 };
	static const char *const scripts[][5] = {
		{ "<AUTH OAUTHBEARER\r\n", ">334 \r\n", "<bix", YES },
		{ "<AUTH XOAUTH2\r\n", ">334 \r\n", "<dXN", YES },
	};

	(void)state;
	/* Each comma becomes three bytes. */
	for (size_t i = 0; i < 2; i++) {
		struct credentials c =
		    make(TOKEN, fill(user, ',', sizeof user - 1),
			fill(secret, 's', sizeof secret - 1));
		struct peer p = peer_start(peer_play, scripts[i], 0);
		struct buf heard = { 0 };
		const char *line;

		smtp_session_init(&session, p.fd, 30);
		assert_int_equal(smtp_auth(&session, mechanisms[i], &c),
		    SMTP_DONE);
		assert_int_equal(peer_end(&p, &heard), 0);
		line = strchr(heard.data, '\n') + 1;
		assert_in_range(strlen(line), 11000, 12288);
		buf_finish(&heard);
		credentials_finish(&c);
	}
}

/* RFC 5801 section 4: a comma or an equals sign in the user's name. */
static void
escapes_the_name_of_oauthbearer(void **state)
{
	/* n,a=a=2Cb=3D,^Aauth=Bearer t^A^A */
	static const char *const script[] = {
		"<AUTH OAUTHBEARER bixhPWE9MkNiPTNELAFhdXRoPUJlYXJlciB0AQE="
		"\r\n",
		YES, NULL
	};
	struct credentials c = make(TOKEN, "a,b=", "t");
	struct peer p = peer_start(peer_play, script, 0);
	struct buf heard = { 0 };

	(void)state;
	smtp_session_init(&session, p.fd, 30);
	assert_int_equal(smtp_auth(&session, BEARER, &c), SMTP_DONE);
	assert_int_equal(peer_end(&p, &heard), 0);
	buf_finish(&heard);
	credentials_finish(&c);
}

/* Whatever line of ours a server repeats, nothing of the secret is left. */
static void
hides_all_that_is_sent(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof dialogues / sizeof *dialogues; i++) {
		bool has_password = dialogues[i].mechanism == PLAIN ||
				    dialogues[i].mechanism == LOGIN;
		struct credentials c =
		    make(has_password ? PASSWORD : TOKEN, "user", "secret");
		struct mask mask = { 0 };

		smtp_auth_hide(&c, &mask);
		for (size_t k = 0; dialogues[i].script[k]; k++) {
			const char *line = dialogues[i].script[k] + 1;
			const char *last = strrchr(line, ' ');
			char text[200];
			size_t n;

			if (dialogues[i].script[k][0] != '<' ||
			    strcmp(line, &AUTH_LOGIN[1]) == 0 ||
			    strcmp(line, "AQ==\r\n") == 0 || *line == '\r')
				continue;
			n = strlen(line);
			memcpy(text, line, n);
			n = mask_apply(&mask, text, n);
			text[n] = '\0';
			last = strrchr(text, ' ');
			assert_string_equal(last ? last + 1 : text, "*\r\n");
		}
		mask_finish(&mask);
		credentials_finish(&c);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chooses_the_first_mechanism_in_common),
		cmocka_unit_test(speaks_each_mechanism),
		cmocka_unit_test(does_not_take_an_early_reply),
		cmocka_unit_test(sends_a_long_response_after_a_challenge),
		cmocka_unit_test(sends_the_longest_credentials),
		cmocka_unit_test(escapes_the_name_of_oauthbearer),
		cmocka_unit_test(hides_all_that_is_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
