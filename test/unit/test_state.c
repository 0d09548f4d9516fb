/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtp/state.h"

#define READY SMTP_PHASE_READY
#define OPEN SMTP_PHASE_OPEN
#define MAIL_DATA SMTP_PHASE_MAIL_DATA
#define LOST SMTP_PHASE_LOST

/* Each edge of the table in the header. */
static void
walks_every_edge(void **state)
{
	static const struct {
		enum smtp_phase before;
		enum smtp_command command;
		enum smtp_phase sent; /* after the command was sent */
		int code;
		enum smtp_phase after;
	} edges[] = {
		{ READY, SMTP_COMMAND_MAIL, READY, 250, OPEN },
		{ READY, SMTP_COMMAND_MAIL, READY, 299, OPEN },
		{ READY, SMTP_COMMAND_MAIL, READY, 450, READY },
		{ READY, SMTP_COMMAND_MAIL, READY, 550, READY },
		{ OPEN, SMTP_COMMAND_RCPT, OPEN, 250, OPEN },
		{ OPEN, SMTP_COMMAND_RCPT, OPEN, 550, OPEN },
		{ READY, SMTP_COMMAND_RCPT, READY, 250, READY },
		{ READY, SMTP_COMMAND_RCPT, READY, 503, READY },
		{ OPEN, SMTP_COMMAND_DATA, OPEN, 354, MAIL_DATA },
		{ OPEN, SMTP_COMMAND_DATA, OPEN, 250, OPEN },
		{ OPEN, SMTP_COMMAND_DATA, OPEN, 355, OPEN },
		{ OPEN, SMTP_COMMAND_DATA, OPEN, 554, OPEN },
		{ READY, SMTP_COMMAND_DATA, READY, 354, MAIL_DATA },
		{ READY, SMTP_COMMAND_DATA, READY, 503, READY },
		{ MAIL_DATA, SMTP_COMMAND_END, OPEN, 250, READY },
		{ MAIL_DATA, SMTP_COMMAND_END, OPEN, 299, READY },
		{ MAIL_DATA, SMTP_COMMAND_END, OPEN, 450, OPEN },
		{ MAIL_DATA, SMTP_COMMAND_END, OPEN, 554, OPEN },
		{ MAIL_DATA, SMTP_COMMAND_EMPTY_END, OPEN, 250, OPEN },
		{ MAIL_DATA, SMTP_COMMAND_EMPTY_END, OPEN, 554, OPEN },
		{ OPEN, SMTP_COMMAND_RSET, OPEN, 250, READY },
		{ OPEN, SMTP_COMMAND_RSET, OPEN, 500, LOST },
		{ LOST, SMTP_COMMAND_MAIL, LOST, 250, LOST },
		{ LOST, SMTP_COMMAND_DATA, LOST, 354, LOST },
		{ LOST, SMTP_COMMAND_END, LOST, 250, LOST },
	};

	(void)state;
	for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
		struct smtp_state s = { .phase = edges[i].before };

		assert_int_equal(smtp_state_oldest(&s), SMTP_COMMAND_NONE);
		smtp_state_sent(&s, edges[i].command);
		if (s.phase != edges[i].sent)
			fail_msg("edge %zu: %d when sent", i, s.phase);
		assert_int_equal(smtp_state_oldest(&s), edges[i].command);
		smtp_state_replied(&s, edges[i].code);
		if (s.phase != edges[i].after)
			fail_msg("edge %zu: %d when answered", i, s.phase);
		assert_int_equal(smtp_state_oldest(&s), SMTP_COMMAND_NONE);
	}
}

/* From each phase, with any reply outstanding. */
static void
can_be_lost_from_every_phase(void **state)
{
	(void)state;
	for (int phase = READY; phase <= LOST; phase++) {
		struct smtp_state s = { .phase = (enum smtp_phase)phase };

		smtp_state_sent(&s, SMTP_COMMAND_RCPT);
		smtp_state_lost(&s);
		assert_int_equal(s.phase, LOST);
		assert_int_equal(smtp_state_oldest(&s), SMTP_COMMAND_RCPT);
	}
}

/* The replies to a group come in the order in which it was sent. */
static void
matches_replies_to_the_oldest_command(void **state)
{
	static const enum smtp_command order[] = { SMTP_COMMAND_MAIL,
		SMTP_COMMAND_RCPT, SMTP_COMMAND_RCPT, SMTP_COMMAND_RCPT,
		SMTP_COMMAND_DATA };
	const size_t n = sizeof order / sizeof *order;
	struct smtp_state s = { 0 };

	(void)state;
	for (size_t i = 0; i < n; i++) {
		smtp_state_sent(&s, order[i]);
		assert_int_equal(smtp_state_oldest(&s), SMTP_COMMAND_MAIL);
	}
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(smtp_state_oldest(&s), order[i]);
		smtp_state_replied(&s, 250);
	}
	assert_int_equal(smtp_state_oldest(&s), SMTP_COMMAND_NONE);
	assert_int_equal(s.phase, OPEN);
}

static void
takes_commands_between_transactions_and_in_them(void **state)
{
	static const bool want[] = { true, true, false, false };

	(void)state;
	for (int phase = READY; phase <= LOST; phase++) {
		struct smtp_state s = { .phase = (enum smtp_phase)phase };

		assert_int_equal(smtp_state_takes_commands(&s), want[phase]);
	}
}

/* In doubt is only the end of mail data for an accepted recipient. */
static void
is_in_doubt_at_the_end_only(void **state)
{
	(void)state;
	for (int c = SMTP_COMMAND_MAIL; c < SMTP_COMMAND_NONE; c++) {
		enum smtp_command command = (enum smtp_command)c;
		struct smtp_state s = { .phase = OPEN };

		assert_false(smtp_state_is_in_doubt(&s));
		smtp_state_sent(&s, command);
		assert_int_equal(smtp_state_is_in_doubt(&s),
		    command == SMTP_COMMAND_END);
		smtp_state_lost(&s);
		assert_int_equal(smtp_state_is_in_doubt(&s),
		    command == SMTP_COMMAND_END);
		smtp_state_replied(&s, 450);
		assert_false(smtp_state_is_in_doubt(&s));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walks_every_edge),
		cmocka_unit_test(can_be_lost_from_every_phase),
		cmocka_unit_test(matches_replies_to_the_oldest_command),
		cmocka_unit_test(
		    takes_commands_between_transactions_and_in_them),
		cmocka_unit_test(is_in_doubt_at_the_end_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
