/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmail/authsenders.h"
#include "qmail/smtpauth.h"

/* The file that this user may not read; root may read all of them. */
static const char *forbidden;

static int
fake_access(const char *path, int mode)
{
	assert_int_equal(mode, R_OK);
	if (forbidden == NULL || strcmp(path, forbidden) != 0)
		return access(path, mode);
	errno = EACCES;
	return -1;
}

#define access fake_access
#include "qmail/relay.c"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static char home[] = "/tmp/test_relay.XXXXXX";

static int
enter_home(void **state)
{
	(void)state;
	return !mkdtemp(home) || chdir(home) == -1;
}

static void
remove_files(void)
{
	unlink("routes");
	unlink("senders");
	unlink("auth");
	unlink("token");
}

static int
leave_home(void **state)
{
	(void)state;
	remove_files();
	return chdir("/") == -1 || rmdir(home) == -1;
}

/* There is no directory for an index. */
static struct relay_files files = {
	.routes = { .text = "routes", .index = "no/cdb", .lock = "no/lock" },
	.senders = "senders",
	.auth = "auth",
};

static void
put(const char *path, const char *text)
{
	size_t n = text != NULL ? strlen(text) : 0;
	int fd;

	if (text == NULL)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd != -1);
	assert_int_equal(write(fd, text, n), n);
	assert_int_equal(close(fd), 0);
}

/* "relay port user secret, by file", or the detail of a failure. */
static const char *
find(const char *sender)
{
	static char text[1200];
	struct route r = { .port = 0 };
	struct dsn why = { 0 };
	const struct credentials *c = &r.login.credentials;

	if (relay_find(&files, "dst.example", sender, &r, &why) == -1)
		snprintf(text, sizeof text, "%s %s", why.status, why.detail);
	else
		snprintf(text, sizeof text, "%s:%d%s%s%s%s%s%s%s%s",
		    buf_text(&r.relay), (int)r.port,
		    login_is_given(&r.login) ? " " : "", buf_text(&c->user),
		    c->secret.len > 0 ? "|" : "", buf_text(&c->secret),
		    login_is_given(&r.login) ? ", by " : "",
		    login_is_given(&r.login) ? r.login.file : "",
		    r.unread.len > 0 ? ", without " : "", buf_text(&r.unread));
	route_finish(&r);
	return text;
}

static void
uses_the_files_in_order(void **state)
{
	static const struct {
		const char *routes, *senders, *auth, *sender, *want;
	} cases[] = {
		{ NULL, NULL, NULL, "a@b", ":25" },
		{ ":r:26", NULL, NULL, "a@b", "r:26" },
		{ ":r:26|u|p", NULL, NULL, "a@b", "r:26 u|p, by routes" },
		/* smtpauth counts before smtproutes. */
		{ ":r:26", NULL, "r|v|q", "a@b", "r:26 v|q, by auth" },
		{ ":r:26|u|p", NULL, "r|v|q", "a@b", "r:26 v|q, by auth" },
		{ ":r:26|u|p", NULL, "|v|q", "a@b", "r:26 v|q, by auth" },
		{ ":r:26|u|p", NULL, "r;27|v|q", "a@b", "r:26 u|p, by routes" },
		/* authsenders counts before both. */
		{ ":r:26", "@b:s:27|w|o", NULL, "a@b", "s:27 w|o, by senders" },
		{ ":r:26|u|p", "@b:s|w|o", "|v|q", "a@b",
		    "s:25 w|o, by senders" },
		{ ":r:26|u|p", "@b:|w|o", "|v|q", "a@b",
		    "r:26 w|o, by senders" },
		{ ":r:26|u|p", "@b:s", "s|v|q", "a@b", "s:25 v|q, by auth" },
		{ ":r:26|u|p", "@b:s", "r|v|q", "a@b", "s:25" },
		{ ":r:26|u|p", "@b:\n:s", NULL, "a@b", "r:26 u|p, by routes" },
		{ ":r:26|u|p", "@c:s", NULL, "a@b", "r:26 u|p, by routes" },
		/* A route that is not used does not matter. */
		{ ":r:0", "@b:s", NULL, "a@b", "s:25" },
		{ ":r:26", "@b:s|w|o", "s:x|v|q\ns", "a@b",
		    "s:25 w|o, by senders" },
		/* The null sender. */
		{ ":r:26|u|p", ":s|w|o", NULL, "", "r:26 u|p, by routes" },
		{ ":r:26|u|p", ":s|w|o", NULL, "#@[]", "r:26 u|p, by routes" },
		{ ":r:26|u|p", ":s|w|o", NULL, NULL, "r:26 u|p, by routes" },
		{ ":r:26|u|p", "nonsense", NULL, "", "r:26 u|p, by routes" },
		/* Never to the MX hosts of a domain. */
		{ NULL, NULL, "|v|q", "a@b", ":25" },
		{ NULL, ":|w|o", "|v|q", "a@b", ":25" },
		{ "dst.example:", ":|w|o", "|v|q", "a@b", ":25" },
		{ "dst.example::465", ":|w|o", "|v|q", "a@b", ":465" },
		{ "dst.example::587|u|p", NULL, NULL, "a@b",
		    "4.4.1 routes: credentials without a relay: dst.example:" },
		{ "dst.example:|u|p", NULL, NULL, "a@b",
		    "4.4.1 routes: credentials without a relay: dst.example:" },
		{ NULL, NULL, "nonsense", "a@b", ":25" },
		/* Failures. */
		{ ":r:0", NULL, NULL, "a@b",
		    "4.4.1 routes: no usable port: "
		    ":r" },
		{ ":r:0", ":|w|o", NULL, "a@b",
		    "4.4.1 routes: no usable port: :r" },
		{ ":r", "@b", NULL, "a@b",
		    "4.3.0 senders: no colon behind the sender: @b" },
		{ ":r|u|p", NULL, "r", "a@b",
		    "4.3.0 auth: no '|' behind the relay: r" },
		/* The token of those that count. */
		{ ":r", NULL, "r|v|token=token", "a@b", "r:25 v|t0k, by auth" },
		{ ":r|u|token=token", NULL, NULL, "a@b",
		    "r:25 u|t0k, by routes" },
		{ ":r|u|token=no", NULL, "r|v|token=token", "a@b",
		    "r:25 v|t0k, by auth" },
		{ ":r", NULL, "r|v|token=no", "a@b",
		    "4.3.0 no: No such file or directory" },
		{ ":r", ":|w|token=token", NULL, "a@b",
		    "r:25 w|t0k, by senders" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		remove_files();
		put("routes", cases[i].routes);
		put("senders", cases[i].senders);
		put("auth", cases[i].auth);
		put("token", "t0k\n");
		if (strcmp(find(cases[i].sender), cases[i].want) != 0)
			fail_msg("%zu: %s", i, find(cases[i].sender));
	}
}

/* A delivery has those rights, or is deferred; who only looks is told. */
static void
goes_on_without_passwords_that_cannot_be_read(void **state)
{
	static const char *const paths[] = { "senders", "auth", "token" };

	(void)state;
	remove_files();
	put("routes", ":r:26|u|p");
	put("senders", "@c:s");
	put("auth", "r|v|token=token");
	put("token", "t0k\n");
	for (size_t i = 0; i < COUNT(paths); i++) {
		char want[100];

		forbidden = paths[i];
		assert_string_equal(find("a@b"), "r:26 v|t0k, by auth");
		files.may_lack_rights = true;
		snprintf(want, sizeof want, "r:26, without %s", paths[i]);
		assert_string_equal(find("a@b"), want);
		forbidden = NULL;
		assert_string_equal(find("a@b"), "r:26 v|t0k, by auth");
		files.may_lack_rights = false;
	}
	/* Another failure is one for everybody. */
	unlink("auth");
	assert_int_equal(mkdir("auth", 0700), 0);
	files.may_lack_rights = true;
	assert_string_equal(find("a@b"), "4.3.0 auth: Is a directory");
	files.may_lack_rights = false;
	assert_int_equal(rmdir("auth"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uses_the_files_in_order),
		cmocka_unit_test(goes_on_without_passwords_that_cannot_be_read),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
