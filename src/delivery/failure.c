/* SPDX-License-Identifier: ISC */
#include "delivery/failure.h"

#include <string.h>

#include "qmail/route.h"

enum class {
	DELIVERED,
	TEMPORARY,
	PERMANENT,
	AS_REPLIED /* permanent after 5yz, else temporary */
};

/* In a sentence '@' stands for the subject, and '#' for the sizes. */
static const struct row {
	enum class class;
	const char *status; /* or NULL */
	const char *sentence;
} table[] = {
	[FAILURE_NONE] = { DELIVERED, NULL, "@ accepted message." },

	[FAILURE_USAGE] = { PERMANENT, "5.3.5",
	    "I (qmail-remote) was invoked improperly." },
	[FAILURE_USAGE_IO] = { TEMPORARY, "4.3.5",
	    "I (qmail-remote-io) was invoked improperly." },
	[FAILURE_HOME] = { TEMPORARY, "4.3.0",
	    "Unable to switch to home directory." },
	[FAILURE_EXEC] = { TEMPORARY, "4.3.0",
	    "Unable to run qmail-remote-io." },
	[FAILURE_MEMORY] = { TEMPORARY, "4.3.0", "Out of memory." },
	[FAILURE_SENDER_UNSENDABLE] = { PERMANENT, "5.1.3",
	    "Sorry, the sender's address cannot be sent by SMTP." },
	[FAILURE_RECIPIENT_UNSENDABLE] = { PERMANENT, "5.1.3",
	    "Sorry, that address cannot be sent by SMTP." },

	[FAILURE_HOST_UNCERTAIN] = { TEMPORARY, "4.1.2",
	    "Sorry, I couldn't find any host by that name." },
	[FAILURE_HOST_UNKNOWN] = { PERMANENT, "5.1.2",
	    "Sorry, I couldn't find any host named @." },
	[FAILURE_HOST_TAKES_NO_MAIL] = { PERMANENT, "5.1.10",
	    "Sorry, @ does not accept mail." },
	[FAILURE_HOST_WITHOUT_ADDRESS] = { PERMANENT, "5.4.4",
	    "Sorry, I couldn't find a mail exchanger or IP address." },
	[FAILURE_HOST_IS_OURS] = { PERMANENT, "5.4.6",
	    "Sorry. Although I'm listed as a best-preference MX or A for that "
	    "host,\nit isn't in my control/locals file, so I don't treat it "
	    "as local." },
	[FAILURE_NOT_CONNECTED] = { TEMPORARY, ROUTE_STATUS, ROUTE_SENTENCE },
	[FAILURE_POLICY] = { TEMPORARY, "4.7.5",
	    "Sorry, no host meets the TLS policy." },
	[FAILURE_TOO_MANY_CONNECTIONS] = { TEMPORARY, "4.4.5",
	    "Too many connections at the same time "
	    "(control/concurrencyhosts: @)." },

	[FAILURE_CONNECTION_DIED] = { TEMPORARY, "4.4.2",
	    "Connected to @ but connection died." },
	[FAILURE_GREETING] = { TEMPORARY, NULL,
	    "Connected to @ but greeting failed." },
	[FAILURE_HELLO] = { TEMPORARY, NULL,
	    "Connected to @ but my name was rejected." },
	[FAILURE_STARTTLS_NOT_OFFERED] = { TEMPORARY, "4.7.4",
	    "Connected to @ but it does not offer STARTTLS." },
	[FAILURE_STARTTLS_REFUSED] = { TEMPORARY, "4.7.4",
	    "Connected to @ but STARTTLS was refused." },
	[FAILURE_TLS] = { TEMPORARY, "4.7.5",
	    "Connected to @ but TLS failed." },
	[FAILURE_TLS_SETUP] = { TEMPORARY, "4.3.5",
	    "Connected to @ but TLS is not set up." },
	[FAILURE_SMTPUTF8_NOT_OFFERED] = { TEMPORARY, "4.6.7",
	    "Connected to @ but it does not offer SMTPUTF8." },
	/*
	 * All of them are temporary, because it is our mistake, or that of the
	 * server's administrator, and not one of the mail.
	 */
	[FAILURE_AUTH_NOT_OFFERED] = { TEMPORARY, "4.7.4",
	    "Connected to @ but it does not offer AUTH." },
	[FAILURE_AUTH_MECHANISM] = { TEMPORARY, "4.7.4",
	    "Connected to @ but it offers no AUTH mechanism that I know." },
	[FAILURE_AUTH_TOKEN_WANTED] = { TEMPORARY, "4.7.4",
	    "Connected to @ but it wants an access token, and I have a "
	    "password." },
	[FAILURE_AUTH_PASSWORD_WANTED] = { TEMPORARY, "4.7.4",
	    "Connected to @ but it wants a password, and I have an access "
	    "token." },
	[FAILURE_AUTH] = { TEMPORARY, "4.7.0",
	    "Connected to @ but authentication failed." },
	[FAILURE_CREDENTIALS] = { TEMPORARY, "4.7.8",
	    "Connected to @ but my credentials were rejected." },
	[FAILURE_MEMORY_IN_SESSION] = { TEMPORARY, "4.3.0",
	    "Connected to @ but I ran out of memory." },

	[FAILURE_SENDER_REFUSED] = { AS_REPLIED, NULL,
	    "Connected to @ but sender was rejected." },
	[FAILURE_DATA_REFUSED] = { AS_REPLIED, NULL,
	    "@ failed on DATA command." },
	[FAILURE_MESSAGE_REFUSED] = { AS_REPLIED, NULL,
	    "@ failed after I sent the message." },
	[FAILURE_NONE_ACCEPTED] = { PERMANENT, NULL, "Giving up on @." },
	[FAILURE_CONNECTION_DIED_IN_DOUBT] = { TEMPORARY, "4.4.2",
	    "Connected to @ but connection died. Possible duplicate!" },
	[FAILURE_MESSAGE_UNREADABLE] = { TEMPORARY, "4.3.0",
	    "Unable to read message." },
	[FAILURE_MESSAGE_TOO_LARGE] = { PERMANENT, "5.3.4",
	    "@ takes messages of #." },
	[FAILURE_TOO_MANY_TRANSACTIONS] = { TEMPORARY, "4.5.3",
	    "@ takes no more messages on this connection." },

	[FAILURE_RECIPIENT_REFUSED] = { AS_REPLIED, NULL,
	    "@ does not like recipient." },
	[FAILURE_RECIPIENT_NOT_DELIVERED] = { AS_REPLIED, NULL,
	    "@ did not take the message." },
	[FAILURE_RECIPIENT_IN_DOUBT] = { TEMPORARY, NULL,
	    "@ may have the message. Possible duplicate!" },
};

/* A text that is being written; what does not fit is left out. */
struct line {
	char *text;
	size_t len;
};

static void
add(struct line *l, const char *s, size_t n)
{
	if (n > FAILURE_TEXT_SIZE - 1 - l->len)
		n = FAILURE_TEXT_SIZE - 1 - l->len;
	memcpy(l->text + l->len, s, n);
	l->len += n;
	l->text[l->len] = '\0';
}

static void
add_sentence(struct line *l, const char *sentence, const char *subject,
    const char *sizes)
{
	for (const char *s = sentence; *s != '\0'; s++) {
		const char *word = *s == '@' ? subject : *s == '#' ? sizes : s;

		add(l, word, word == s ? 1 : strlen(word));
	}
}

const char *
failure_line(char text[FAILURE_TEXT_SIZE], enum failure_cause cause,
    const char *subject, const char *sizes)
{
	const struct row *row = &table[cause];
	struct line l = { text, 0 };

	add_sentence(&l, row->sentence, subject, sizes);
	if (row->status != NULL) {
		add(&l, " (#", 3);
		add(&l, row->status, strlen(row->status));
		add(&l, ")", 1);
	}
	add(&l, "\n", 1);
	return text;
}

const char *
failure_brief(char text[FAILURE_TEXT_SIZE], enum failure_cause cause)
{
	static const char start[] = "Connected to @ but ";
	const char *what = table[cause].sentence + sizeof start - 1;
	struct line l = { text, 0 };

	add(&l, what, strcspn(what, "."));
	return text;
}

enum report_message
failure_message_kind(enum failure_cause cause, bool is_final)
{
	switch (table[cause].class) {
	case DELIVERED:
		return REPORT_DELIVERED;
	case PERMANENT:
		return REPORT_PERMANENT;
	case AS_REPLIED:
		return is_final ? REPORT_PERMANENT : REPORT_TEMPORARY;
	default:
		return REPORT_TEMPORARY;
	}
}

enum report_recipient
failure_recipient_kind(enum failure_cause cause, bool is_final)
{
	switch (failure_message_kind(cause, is_final)) {
	case REPORT_DELIVERED:
		return REPORT_ACCEPTED;
	case REPORT_PERMANENT:
		return REPORT_REFUSED;
	default:
		return REPORT_DEFERRED;
	}
}

int
failure_set(struct dsn *why, enum failure_cause cause, const char *subject)
{
	const struct row *row = &table[cause];
	char text[FAILURE_TEXT_SIZE];
	struct line l = { text, 0 };

	add_sentence(&l, row->sentence, subject, "");
	return dsn_set(why, row->status, "%s", text);
}
