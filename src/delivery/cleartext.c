/* SPDX-License-Identifier: ISC */
#include "delivery/cleartext.h"

#include <stdio.h>
#include <time.h>

static const char *const words[] = {
	[CLEARTEXT_REFUSED] = "STARTTLS refused",
	[CLEARTEXT_NO_REPLY] = "no reply to STARTTLS",
	[CLEARTEXT_INVALID_REPLY] = "no valid reply to STARTTLS",
	[CLEARTEXT_HANDSHAKE] = "handshake failed",
	[CLEARTEXT_HELLO_REFUSED] = "EHLO refused after the handshake",
	[CLEARTEXT_HELLO_INVALID] =
	    "no valid reply to EHLO after the handshake",
	[CLEARTEXT_AVOIDS_EHLO] = "EHLO had no usable reply",
	[CLEARTEXT_AVOIDS_HANDSHAKE] = "the handshake hung",
};

/* Local time, as in a report that is read where it was written. */
static void
describe_avoided(const struct cleartext *c, char sentence[TLS_SENTENCE_SIZE])
{
	time_t seconds = (time_t)c->when;
	struct tm local = { 0 };

	(void)localtime_r(&seconds, &local);
	snprintf(sentence, TLS_SENTENCE_SIZE, "not tried, %s at %02d:%02d",
	    words[c->reason], local.tm_hour, local.tm_min);
}

void
cleartext_describe(const struct cleartext *c, bool is_sent,
    char sentence[TLS_SENTENCE_SIZE])
{
	const char *sent = is_sent ? ", sent in clear text" : "";
	const char *what = words[c->reason];

	sentence[0] = '\0';
	if (c->reason == CLEARTEXT_NO_REASON)
		return;
	if (c->reason >= CLEARTEXT_AVOIDS_EHLO)
		describe_avoided(c, sentence);
	else if (c->code != 0)
		snprintf(sentence, TLS_SENTENCE_SIZE, "%s (%03d)%s", what,
		    c->code, sent);
	else if (c->text[0] != '\0')
		snprintf(sentence, TLS_SENTENCE_SIZE, "%s (%s)%s", what,
		    c->text, sent);
	else
		snprintf(sentence, TLS_SENTENCE_SIZE, "%s%s", what, sent);
}
