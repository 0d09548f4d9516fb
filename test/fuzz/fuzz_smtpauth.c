/* SPDX-License-Identifier: ISC */

/*
 * A smtpauth and an authsenders of arbitrary bytes, for any relay and sender:
 * what is found is in one line of the file, and what is reported ends before
 * the first '|' of it.
 */
#define _GNU_SOURCE /* memmem() */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/utf8.h"
#include "qmail/authsenders.h"
#include "qmail/smtpauth.h"

#include "fuzz.h"

static const char path[] = "file";

/* A word behind the last colon and blank; the path has neither. */
static void
check_failure(const struct dsn *why)
{
	const char *word = strrchr(why->detail, ' ');

	CHECK(strcmp(why->status, "4.3.0") == 0);
	CHECK(strncmp(why->detail, "file: ", 6) == 0);
	CHECK(word != NULL && !strchr(word, '|'));
}

static void
check_login(const struct login *l, const char *text, size_t n)
{
	const struct credentials *c = &l->credentials;
	bool is_token = c->kind == CREDENTIALS_TOKEN;
	const struct buf *secret = is_token ? &l->token : &c->secret;
	struct buf written = { 0 };

	if (!login_is_given(l)) {
		CHECK(c->user.len == 0 && c->secret.len == 0);
		return;
	}
	CHECK(c->user.len > 0 && c->user.len <= CREDENTIALS_USER_MAX);
	CHECK(!memchr(c->user.data, '|', c->user.len));
	CHECK(secret->len > 0 && secret->len <= CREDENTIALS_SECRET_MAX);
	CHECK(strlen(secret->data) == secret->len);
	CHECK(is_token == (l->token.len > 0));
	buf_append(&written, c->user.data, c->user.len);
	buf_puts(&written, is_token ? "|token=" : "|");
	buf_append(&written, secret->data, secret->len);
	CHECK(memmem(text, n, written.data, written.len));
	buf_finish(&written);
}

struct walk {
	size_t last;
	bool is_faulty;
};

static void
count(void *data, size_t line, const char *fault, const char *token)
{
	struct walk *w = data;

	CHECK(line > w->last);
	CHECK(!fault || *token == '\0');
	w->last = line;
	w->is_faulty = w->is_faulty || fault;
}

static void
check_relay(const char *relay, uint16_t port, const char *text, size_t n)
{
	struct login l = { .file = NULL };
	struct dsn why = { 0 };
	struct walk w = { .last = 0 };

	CHECK(smtpauth_walk(path, count, &w) == 0);
	if (smtpauth_find(path, relay, port, &l, &why) == -1) {
		check_failure(&why);
		CHECK(w.is_faulty);
	} else
		check_login(&l, text, n);
	login_finish(&l);
}

/* In UTF-8 it may be another form of the same domain. */
static void
check_key(const struct buf *key, const char *sender)
{
	size_t n = strlen(sender);

	if (!utf8_is_ascii(buf_text(key), key->len) ||
	    !utf8_is_ascii(sender, n))
		return;
	CHECK(key->len <= n);
	CHECK(str_case_equal(buf_text(key), sender + n - key->len, key->len));
}

static void
check_sender(const char *sender, const char *text, size_t n)
{
	struct route r = { .port = 0 };
	struct dsn why = { 0 };
	struct walk w = { .last = 0 };

	CHECK(authsenders_walk(path, count, &w) == 0);
	if (authsenders_find(path, sender, &r, &why) == -1) {
		check_failure(&why);
		CHECK(w.is_faulty);
	} else {
		CHECK((r.file != NULL) == (r.port > 0));
		CHECK(r.relay.len > 0 || !r.has_port);
		check_key(&r.key, sender);
		check_login(&r.login, text, n);
	}
	route_finish(&r);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint16_t port = (uint16_t)(fuzz_byte(&in) << 8);
	size_t n, left;
	const char *part, *text;
	char *name;

	port = (uint16_t)(port | fuzz_byte(&in));
	part = fuzz_part(&in, '\n', &n);
	name = fuzz_string(part, n);
	left = in.left;
	text = fuzz_bytes(&in, &left);
	fuzz_enter_directory();
	close(fuzz_write_file(path, text, left));
	check_relay(name, port, text, left);
	check_sender(name, text, left);
	free(name);
	return 0;
}
