/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/history.h"

/* 192.0.2.N */
static struct ip
ip(int n)
{
	struct ip ip = { .byte = { [10] = 0xff, 0xff, 192, 0, 2 } };

	ip.byte[15] = (unsigned char)n;
	return ip;
}

static void
add_attempt(struct history *h, size_t address, enum attempt_phase phase,
    enum failure_cause cause, const char *reply)
{
	struct attempt *a = history_add(h);

	a->address = address;
	a->ip = ip((int)address);
	a->phase = phase;
	a->cause = cause;
	a->is_local = cause == FAILURE_TLS_SETUP;
	a->tls.status = TLS_STATUS_NONE;
	a->nreply = strlen(reply);
	a->reply = a->nreply > 0 ? strdup(reply) : NULL;
}

#define IN_GREETING ATTEMPT_IN_GREETING, FAILURE_CONNECTION_DIED, ""
#define IN_HELLO ATTEMPT_IN_HELLO, FAILURE_CONNECTION_DIED, ""
#define REFUSED ATTEMPT_IN_HELLO, FAILURE_HELLO, "550 no\n"
#define NOT_GREETED ATTEMPT_IN_GREETING, FAILURE_GREETING, "421 no\n"
#define LOCAL ATTEMPT_IN_HANDSHAKE, FAILURE_TLS_SETUP, ""
#define READY ATTEMPT_IN_HELLO, FAILURE_NONE, ""

static void
reports_the_last_server_that_replied(void **state)
{
	static const struct {
		struct {
			size_t address;
			enum attempt_phase phase;
			enum failure_cause cause;
			const char *reply;
			bool used_helo;
		} a[3];
		int decisive; /* -1: none */
	} cases[] = {
		{ { { 1, READY, false } }, -1 },
		{ { { 1, REFUSED, false } }, 0 },
		{ { { 1, REFUSED, false }, { 2, NOT_GREETED, false } }, 1 },
		{ { { 1, REFUSED, false }, { 2, IN_HELLO, false } }, 1 },
		{ { { 1, REFUSED, false }, { 2, IN_GREETING, false } }, 0 },
		{ { { 1, IN_GREETING, false }, { 2, IN_GREETING, false } }, 1 },
		{ { { 1, IN_GREETING, false }, { 2, REFUSED, false } }, 1 },
		{ { { 1, REFUSED, false }, { 2, LOCAL, false } }, 1 },
		/* HELO on another connection, which died. */
		{ { { 1, REFUSED, false }, { 1, IN_HELLO, true } }, 0 },
		{ { { 1, REFUSED, false }, { 1, IN_HELLO, false } }, 1 },
		{ { { 1, REFUSED, false }, { 1, REFUSED, true } }, 1 },
		{ { { 1, REFUSED, false }, { 2, IN_HELLO, true } }, 1 },
		{ { { 1, IN_HELLO, false }, { 1, IN_HELLO, true } }, 1 },
		{ { { 1, REFUSED, false }, { 1, READY, false } }, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct attempt *decisive;
		struct history h = { 0 };

		for (int k = 0; k < 3 && cases[i].a[k].address; k++) {
			add_attempt(&h, cases[i].a[k].address,
			    cases[i].a[k].phase, cases[i].a[k].cause,
			    cases[i].a[k].reply);
			h.attempt[k].used_helo = cases[i].a[k].used_helo;
		}
		decisive = history_decisive(&h);
		if (decisive != (cases[i].decisive == -1
					? NULL
					: h.attempt + cases[i].decisive))
			fail_msg("case %zu", i);
		history_finish(&h);
	}
}

#define ADDRESSES 8

/* The results of the addresses of a plan, as letters: see below. */
struct world {
	struct plan plan;
	struct plan_host host[ADDRESSES];
	struct plan_address address[ADDRESSES];
	struct dial_target target[ADDRESSES];
	struct connector connector;
	struct history history;
};

/*
 * One word for each address: the host's name, and r: the connection was
 * refused, t: tcpto says that it is to be skipped, u: nothing was tried, g: the
 * greeting failed, h: EHLO was refused in the pass before, +: it is ready, e:
 * after EHLO was refused, d: no TLS, x: the connection died, w: it died at HELO
 * after EHLO was refused.
 */
static void
begin(struct world *w, const char *text)
{
	static const char names[][2] = { "a", "b", "c" };

	memset(w, 0, sizeof *w);
	w->plan = (struct plan){
		.host = w->host, .nhost = 3, .address = w->address, .port = 25
	};
	w->connector.plan = &w->plan;
	w->connector.target = w->target;
	for (size_t i = 0; i < 3; i++)
		w->host[i].name = names[i];
	for (; *text; text += 2 + (text[2] == ' ')) {
		size_t i = w->plan.naddress++;

		w->address[i].host = (size_t)(text[0] - 'a');
		w->address[i].ip = ip((int)i);
		w->target[i].state = strchr("ghdexw+", text[1]) ? DIAL_CONNECTED
				     : text[1] == 'r'           ? DIAL_FAILED
								: DIAL_UNTRIED;
		w->target[i].error = ECONNREFUSED;
		if (text[1] == 't')
			w->address[i].use = PLAN_TIMED_OUT;
		if (text[1] == 'h')
			add_attempt(&w->history, i, REFUSED);
		history_begin_pass(&w->history);
	}
}

static void
play(struct world *w, const char *text)
{
	for (size_t i = 0; *text; text += 2 + (text[2] == ' '), i++) {
		if (text[1] == 'g')
			add_attempt(&w->history, i, NOT_GREETED);
		if (text[1] == 'x')
			add_attempt(&w->history, i, IN_GREETING);
		if (text[1] == 'w') {
			add_attempt(&w->history, i, REFUSED);
			add_attempt(&w->history, i, IN_HELLO);
			w->history.attempt[w->history.n - 1].used_helo = true;
		}
		if (text[1] == 'e')
			add_attempt(&w->history, i, REFUSED);
		if (text[1] == 'd')
			add_attempt(&w->history, i, ATTEMPT_IN_HANDSHAKE,
			    FAILURE_TLS, "");
		if (text[1] == 'e' || text[1] == '+')
			add_attempt(&w->history, i, READY);
		if (text[1] == 'd') {
			struct attempt *a =
			    &w->history.attempt[w->history.n - 1];

			a->tls.status = TLS_STATUS_FAILED;
			strcpy(a->tls.text, "expired");
		}
	}
}

/* For the last address. */
static void
lists_what_failed_before(void **state)
{
	static const struct {
		const char *plan;
		const char *lines;
	} cases[] = {
		{ "a+", "" },
		{ "ae", "" },
		{ "ar a+", "" },
		{ "ar b+", "a (192.0.2.0): Connection refused" },
		{ "at b+", "a (192.0.2.0): skipped, it timed out lately" },
		{ "au b+", "" },
		{ "ag b+", "a (192.0.2.0): greeting failed: 421 no" },
		{ "ag be", "a (192.0.2.0): greeting failed: 421 no" },
		{ "ax b+", "a (192.0.2.0): connection died" },
		{ "aw b+", "a (192.0.2.0): my name was rejected: 550 no" },
		{ "ad b+", "a (192.0.2.0): TLS failed: expired" },
		/* Results of the pass before do not count. */
		{ "ah b+", "" },
		{ "au br c+", "b (192.0.2.1): Connection refused" },
		{ "ar br b+", "a (192.0.2.0): Connection refused\n"
			      "b (192.0.2.1): Connection refused" },
		{ "ar ar ar ar ar ag b+",
		    "a (192.0.2.1): Connection refused\n"
		    "a (192.0.2.2): Connection refused\n"
		    "a (192.0.2.3): Connection refused\n"
		    "a (192.0.2.4): Connection refused\n"
		    "a (192.0.2.5): greeting failed: 421 no" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf lines = { 0 };
		struct world w;

		begin(&w, cases[i].plan);
		play(&w, cases[i].plan);
		history_append_lines(&w.history, &w.connector,
		    w.plan.naddress - 1, &lines);
		assert_int_equal(history_has_lines(&w.history, &w.connector,
				     w.plan.naddress - 1),
		    cases[i].lines[0] != '\0');
		if (strcmp(buf_text(&lines), cases[i].lines) != 0)
			fail_msg("%s: %s", cases[i].plan, buf_text(&lines));
		buf_finish(&lines);
		history_finish(&w.history);
	}
}

static void
lists_a_literal_without_a_name(void **state)
{
	struct buf lines = { 0 };
	struct world w;

	(void)state;
	begin(&w, "ar b+");
	w.host[0].is_literal = true;
	history_append_lines(&w.history, &w.connector, 1, &lines);
	assert_string_equal(buf_text(&lines), "192.0.2.0: Connection refused");
	buf_finish(&lines);
}

static void
lists_only_the_first_line_of_a_reply(void **state)
{
	struct buf lines = { 0 };
	struct world w;

	(void)state;
	begin(&w, "ag b+");
	add_attempt(&w.history, 0, ATTEMPT_IN_GREETING, FAILURE_GREETING,
	    "554-no\n554 mail\n");
	history_append_lines(&w.history, &w.connector, 1, &lines);
	assert_string_equal(buf_text(&lines),
	    "a (192.0.2.0): greeting failed: 554-no");
	buf_cut(&lines, 0);
	add_attempt(&w.history, 0, ATTEMPT_IN_GREETING, FAILURE_GREETING, "55");
	history_append_lines(&w.history, &w.connector, 1, &lines);
	assert_string_equal(buf_text(&lines),
	    "a (192.0.2.0): greeting failed: 55");
	buf_finish(&lines);
	history_finish(&w.history);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reports_the_last_server_that_replied),
		cmocka_unit_test(lists_what_failed_before),
		cmocka_unit_test(lists_a_literal_without_a_name),
		cmocka_unit_test(lists_only_the_first_line_of_a_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
