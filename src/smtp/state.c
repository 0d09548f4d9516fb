/* SPDX-License-Identifier: ISC */
#include "smtp/state.h"

#include <assert.h>

void
smtp_state_sent(struct smtp_state *s, enum smtp_command command)
{
	assert(command < SMTP_COMMAND_NONE);
	s->outstanding[command]++;
	if (s->phase == SMTP_PHASE_MAIL_DATA)
		s->phase = SMTP_PHASE_OPEN;
}

enum smtp_command
smtp_state_oldest(const struct smtp_state *s)
{
	int command = SMTP_COMMAND_MAIL;

	while (command < SMTP_COMMAND_NONE && s->outstanding[command] == 0)
		command++;
	return (enum smtp_command)command;
}

size_t
smtp_state_count(const struct smtp_state *s)
{
	size_t n = 0;

	for (int command = 0; command < SMTP_COMMAND_NONE; command++)
		n += s->outstanding[command];
	return n;
}

static enum smtp_phase
next_phase(enum smtp_phase phase, enum smtp_command command, int code)
{
	bool is_positive = code / 100 == 2;

	switch (command) {
	case SMTP_COMMAND_MAIL:
		return is_positive ? SMTP_PHASE_OPEN : SMTP_PHASE_READY;
	case SMTP_COMMAND_DATA:
		return code == 354 ? SMTP_PHASE_MAIL_DATA : phase;
	case SMTP_COMMAND_END:
		return is_positive ? SMTP_PHASE_READY : phase;
	case SMTP_COMMAND_RSET:
		return code == 250 ? SMTP_PHASE_READY : SMTP_PHASE_LOST;
	default:
		return phase;
	}
}

void
smtp_state_replied(struct smtp_state *s, int code)
{
	enum smtp_command command = smtp_state_oldest(s);

	assert(command < SMTP_COMMAND_NONE);
	s->outstanding[command]--;
	if (s->phase != SMTP_PHASE_LOST)
		s->phase = next_phase(s->phase, command, code);
}

void
smtp_state_lost(struct smtp_state *s)
{
	s->phase = SMTP_PHASE_LOST;
}

bool
smtp_state_takes_commands(const struct smtp_state *s)
{
	return s->phase == SMTP_PHASE_READY || s->phase == SMTP_PHASE_OPEN;
}

bool
smtp_state_is_in_doubt(const struct smtp_state *s)
{
	return s->outstanding[SMTP_COMMAND_END] > 0;
}
