/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "qmail/report.h"

/* A fake of the report. */
static void fake_message(enum report_message);
static void fake_puts(const char *);
static void fake_line(const char *, const char *);
static void fake_reply(const char *, size_t);

#define report_message(kind) fake_message(kind)
#define report_puts fake_puts
#define report_line fake_line
#define report_reply fake_reply
#include "delivery/noserver.c"

#define ADDRESSES 12

static char written[4000];

static void
fake_puts(const char *s)
{
	size_t n = strlen(written);

	snprintf(written + n, sizeof written - n, "%s", s);
}

static void
fake_message(enum report_message kind)
{
	written[0] = '\0';
	fake_puts(kind == REPORT_TEMPORARY ? "temporary: " : "other: ");
}

static void
fake_line(const char *label, const char *s)
{
	fake_puts(label);
	fake_puts(s);
	fake_puts("\n");
}

static void
fake_reply(const char *s, size_t n)
{
	char text[100];

	snprintf(text, sizeof text, "said: %.*s", (int)n, s);
	if (n > 0)
		fake_puts(text);
}

static void
reports_the_attempt_that_decides(void **state)
{
	static char reply[] = "554 no\n";
	struct attempt a = { .host = "mx.example",
		.ip = { .byte = { [10] = 0xff, 0xff, 192, 0, 2, 1 } },
		.cause = FAILURE_GREETING,
		.reply = reply,
		.nreply = sizeof reply - 1,
		.tls = { .status = TLS_STATUS_NONE },
		.cleartext = { .reason = CLEARTEXT_NO_REPLY } };
	struct plan plan = { .naddress = 0 };
	struct search s = { .history = { &a, 1, 0 },
		.connector = { .plan = &plan } };

	(void)state;
	noserver_record(&s);
	assert_string_equal(written,
	    "temporary: Connected to 192.0.2.1 but greeting failed.\n"
	    "said: 554 no\n"
	    "Server: mx.example\n"
	    "TLS: no reply to STARTTLS\n");
	a.host = NULL;
	a.nreply = 0;
	a.cleartext.reason = CLEARTEXT_NO_REASON;
	noserver_record(&s);
	assert_string_equal(written,
	    "temporary: Connected to 192.0.2.1 but greeting failed.\n");
}

static void
reports_addresses_that_do_not_connect(void **state)
{
	struct plan_address addresses[ADDRESSES] = { 0 };
	struct dial_target targets[ADDRESSES] = { 0 };
	struct plan plan = { .address = addresses, .naddress = 4 };
	struct search s = { .connector = { .plan = &plan, .target = targets } };

	(void)state;
	for (size_t i = 0; i < ADDRESSES; i++) {
		addresses[i].ip.byte[15] = (unsigned char)i;
		targets[i].state = DIAL_FAILED;
		targets[i].error = ECONNREFUSED;
	}
	addresses[1].use = PLAN_OWN;
	addresses[2].use = PLAN_TIMED_OUT;
	targets[2].state = DIAL_SKIPPED;
	noserver_record(&s);
	assert_string_equal(written,
	    "temporary: Sorry, I wasn't able to establish an SMTP connection. "
	    "(#4.4.1)\n"
	    "::: Connection refused\n"
	    "::2: skipped, it timed out lately\n"
	    "::3: Connection refused\n");
	/* From an address that was chosen; nothing was tried from there. */
	plan.source[0].ip = &addresses[5].ip;
	noserver_record(&s);
	assert_non_null(strstr(written, "::: Connection refused (from ::5)\n"));
	assert_non_null(strstr(written, "::2: skipped, it timed out lately\n"));
	plan.naddress = ADDRESSES;
	noserver_record(&s);
	assert_non_null(strstr(written, "::a: "));
	assert_null(strstr(written, "::b: "));
}

/*
 * By control/tlspolicy, MTA-STS or control/outgoingip6, beside others that were
 * tried.
 */
static void
reports_addresses_that_are_left_out(void **state)
{
	struct plan_host hosts[] = {
		{ .name = "a", .policy = { .skip = TLS_SKIP_STS } },
		{ .name = "b" },
		{ .name = "c", .policy = { .skip = TLS_SKIP_DANE_FAILED } },
	};
	struct plan_address addresses[] = {
		{ .host = 0, .use = PLAN_POLICY },
		{ .host = 1, .use = PLAN_USED },
		{ .host = 2, .use = PLAN_FAMILY },
		{ .host = 2, .use = PLAN_POLICY },
		{ .host = 1, .use = PLAN_SOURCE },
	};
	struct dial_target targets[5] = {
		[0] = { .state = DIAL_SKIPPED },
		[1] = { .state = DIAL_FAILED, .error = ECONNREFUSED },
	};
	struct plan plan = {
		.host = hosts,
		.nhost = 3,
		.address = addresses,
		.naddress = 5,
		.source = { { .fault = "control/outgoingip6: x" } },
	};
	struct search s = { .connector = { .plan = &plan, .target = targets } };

	(void)state;
	for (size_t i = 0; i < 5; i++)
		addresses[i].ip.byte[15] = (unsigned char)i;
	noserver_record(&s);
	assert_string_equal(written,
	    "temporary: Sorry, I wasn't able to establish an SMTP connection. "
	    "(#4.4.1)\n"
	    "::: the MTA-STS policy of the domain does not list it\n"
	    "::1: Connection refused\n"
	    "::3: its TLSA records could not be looked up\n"
	    "::4: control/outgoingip6: x\n");
}

/* By MTA-STS; then at strictness 1, where clear text is next. */
static void
reports_the_others_where_tls_is_demanded(void **state)
{
	struct attempt attempts[] = {
		{ .address = 0,
		    .host = "a",
		    .cause = FAILURE_TLS,
		    .tls = { .status = TLS_STATUS_FAILED, .text = "expired" } },
		{ .address = 2,
		    .host = "c",
		    .cause = FAILURE_STARTTLS_NOT_OFFERED,
		    .tls = { .status = TLS_STATUS_NONE } },
	};
	struct plan_host hosts[] = {
		{ .name = "a", .policy = { .level = TLS_LEVEL_VERIFY } },
		{ .name = "b",
		    .policy = { .level = TLS_LEVEL_VERIFY,
			.skip = TLS_SKIP_STS } },
		{ .name = "c", .policy = { .level = TLS_LEVEL_VERIFY } },
	};
	struct plan_address addresses[] = { { .host = 0 },
		{ .host = 1, .use = PLAN_POLICY }, { .host = 2 } };
	struct dial_target targets[3] = {
		[0] = { .state = DIAL_CONNECTED },
		[2] = { .state = DIAL_CONNECTED },
	};
	struct plan plan = {
		.host = hosts, .nhost = 3, .address = addresses, .naddress = 3
	};
	struct search s = {
		.history = { attempts, 2, 0 },
		.connector = { .plan = &plan, .target = targets },
	};

	(void)state;
	noserver_record(&s);
	assert_string_equal(written,
	    "temporary: Connected to :: but it does not offer STARTTLS. "
	    "(#4.7.4)\n"
	    "Server: c\n"
	    "Also tried: a (::): TLS failed: expired\n"
	    "Also tried: b (::): the MTA-STS policy of the domain does not "
	    "list it\n");
	s.history.n = 1;
	plan.nhost = plan.naddress = 1;
	noserver_record(&s);
	assert_string_equal(written,
	    "temporary: Connected to :: but TLS failed. (#4.7.5)\n"
	    "Server: a\n"
	    "TLS: expired\n");
	plan.nhost = plan.naddress = 3;
	for (size_t i = 0; i < 3; i++)
		hosts[i].policy =
		    (struct tls_policy){ .level = TLS_LEVEL_ENCRYPT };
	noserver_record(&s);
	assert_null(strstr(written, "Also tried"));
}

/* Whatever failed before: that there is no place is why it is tried again. */
static void
reports_that_the_gate_was_closed(void **state)
{
	struct attempt a = { .host = "a",
		.cause = FAILURE_GREETING,
		.tls = { .status = TLS_STATUS_NONE } };
	struct plan_host hosts[] = { { .name = "a" }, { .name = "b" } };
	struct plan_address addresses[] = { { .host = 0 }, { .host = 1 },
		{ .host = 1 } };
	struct dial_target targets[3] = {
		[0] = { .state = DIAL_CONNECTED },
		[1] = { .state = DIAL_FAILED, .error = ECONNREFUSED },
	};
	struct plan plan = {
		.host = hosts, .nhost = 2, .address = addresses, .naddress = 3
	};
	struct search s = {
		.connector = { .plan = &plan,
		    .target = targets,
		    .answer = GATE_CLOSED,
		    .why = ".b.example:1" },
	};

	(void)state;
	targets[1].state = DIAL_UNTRIED;
	noserver_record(&s);
	assert_string_equal(written,
	    "temporary: Too many connections at the same time "
	    "(control/concurrencyhosts: .b.example:1). (#4.4.5)\n");
	targets[1].state = DIAL_FAILED;
	s.history = (struct history){ &a, 1, 0 };
	noserver_record(&s);
	assert_string_equal(written,
	    "temporary: Too many connections at the same time "
	    "(control/concurrencyhosts: .b.example:1). (#4.4.5)\n"
	    "Also tried: a (::): greeting failed\n"
	    "Also tried: b (::): Connection refused\n");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(reports_the_attempt_that_decides),
		cmocka_unit_test(reports_addresses_that_do_not_connect),
		cmocka_unit_test(reports_addresses_that_are_left_out),
		cmocka_unit_test(reports_the_others_where_tls_is_demanded),
		cmocka_unit_test(reports_that_the_gate_was_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
