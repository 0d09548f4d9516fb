"""What becomes of mail for a server with which TLS comes about, or does not: one table for all tests.

A Fate is what must come of one thing that a server may do between EHLO and the EHLO in TLS, at each `tlsstrictness`.
Tests say which it is, and have their expectation from here.
"""

import re
from dataclasses import dataclass, replace

from expect import accepted, check
from tlssite import told_nothing, tls_line

NAME = "but my name was rejected."
DIED = "but connection died. (#4.4.2)"
NOT_OFFERED_SENTENCE = "but it does not offer STARTTLS. (#4.7.4)"
REFUSED_SENTENCE = "but STARTTLS was refused. (#4.7.4)"
FAILED_SENTENCE = "but TLS failed. (#4.7.5)"


@dataclass(frozen=True)
class Fate:
    """What becomes of the mail at strictness 0, 1 and 2, in this order.

    tls     it is delivered in TLS, on the first connection
    same    it is delivered in clear text, on the first connection
    helo    the same, after HELO
    again   it is delivered in clear text, on another connection; at strictness 1 only if no other host does TLS
    anew    the same, after HELO in place of EHLO
    next    the server is given up

    sentence    how the report begins if it is given up and there is no other, behind "Connected to IP "
    said        the server's reply in that report
    line        how the last line of that report, on TLS, begins
    reason      how that line begins where the mail goes in clear text at strictness 0; "" if there is none
    """
    outcomes: str
    sentence: str = ""
    reason: str = ""
    line: str = ""
    said: object = None

    def at(self, strictness):
        """`strictness` is None where no trust anchors are configured: then TLS is not tried."""
        return self.outcomes.split()[strictness or 0]

    def delivers(self, strictness):
        """Whether the mail arrives, if there is no other host."""
        return self.at(strictness) != "next"

    def keeps_others_out(self, strictness):
        """Whether another host is not asked."""
        return self.at(strictness) == "tls" or not strictness and self.delivers(strictness)

    def but(self, **how):
        """The same with other words."""
        return replace(self, **how)


#                              strictness 0     1     2
IN_TLS = Fate("                           tls   tls   tls")
UNVERIFIED = Fate("                       tls   tls   next", FAILED_SENTENCE, line="certificate verify failed: ")
NOT_OFFERED = Fate("                      same  again next", NOT_OFFERED_SENTENCE)
# 4yz or 5yz but 421 and 554: the session goes on.
REFUSED = Fate("                          same  again next", REFUSED_SENTENCE, "STARTTLS refused (")
# 421, 554, and any other reply in place of 220: it does not.
REFUSED_AND_OVER = Fate("                 again again next", REFUSED_SENTENCE, "STARTTLS refused (")
# Lines that contradict each other, and more bytes behind the 220: who can add them can also hide STARTTLS.
MALFORMED = Fate("                        again again next", REFUSED_SENTENCE, "no valid reply to STARTTLS")
NO_REPLY = Fate("                         again again next", DIED, "no reply to STARTTLS")
NO_HANDSHAKE = Fate("                     again again next", FAILED_SENTENCE, "handshake failed (")
# What TLS 1.3 does not tell before the first reply in TLS.
NO_SESSION = Fate("                       again again next", FAILED_SENTENCE, "handshake failed (",
                  line="the connection died after the handshake")
# EHLO and HELO are refused in TLS, or EHLO has no well-formed reply there.
UNWELCOME = Fate("                        again again next", NAME, "EHLO refused after the handshake")
# EHLO is refused, but not by 421: HELO is sent, and knows no STARTTLS.
NO_EHLO = Fate("                          helo  again next", NAME)
# The connection is of no use after EHLO: HELO on another one.
LOST_EHLO = Fate("                        anew  anew  next", DIED)
# 421, more than was asked for, a bad greeting: whatever there is of TLS is not known.
USELESS = Fate("                          next  next  next", NAME)


# Whether it came so.

def check_delivery(run, fate, strictness, server, *, name="m1.example"):
    """The mail is at this server, in the way that its fate says."""
    outcome = fate.at(strictness)
    check(run, "r", accepted(server.address))
    line = tls_line(run)
    if outcome == "tls":
        got_secret(server)
        version = server.session.tls["version"]
        words = f"certificate {'verified for ' + name if strictness == 2 else 'not verified'}"
        assert re.fullmatch(f"{version} [A-Z0-9_-]+ X25519, {re.escape(words)}", line or "", re.IGNORECASE), run
        return
    if outcome == "anew":
        got_clear(server, 3 if strictness else 2)
        assert [s.verbs[0] for s in server.sessions] == ["EHLO"] * (2 if strictness else 1) + ["HELO"], server.sessions
    else:
        got_clear(server, 2 if outcome == "again" else 1)
    if outcome == "helo":
        assert server.session.verbs[:2] == ["EHLO", "HELO"], server.session.verbs
    if strictness == 0 and fate.reason:
        assert line.startswith(fate.reason) and line.endswith(", sent in clear text"), run
    else:
        assert line is None, run


def check_given_up(run, fate, server):
    """It was the only server, and the report tells of it."""
    sentence = f"Connected to {server.address} {fate.sentence}"
    if fate.said:
        check(run, ("Z", sentence, fate.said))
    else:
        assert run.letters == "Z" and run.message.first == sentence.encode(), run
    assert (tls_line(run) or "").startswith(fate.line), run
    got_nothing(server)
    if fate.line == UNVERIFIED.line:
        assert server.session.secret == b"", server.session.secret


def got_clear(server, connections):
    """The mail came in clear text, in the last of so many connections; TLS was not tried in that one."""
    assert server.connections == connections and len(server.mails) == 1, server.sessions
    *before, last = server.sessions
    told_nothing(*before)
    assert last.mails and not last.tls and not last.secret, last.clear
    if before:
        assert "STARTTLS" not in last.verbs, last.verbs


def got_secret(server, connections=1):
    assert server.connections == connections and len(server.mails) == 1, server.sessions
    told_nothing(*server.sessions)
    last = server.sessions[-1]
    assert last.tls and last.mails and last.log.endswith(b"STARTTLS\r\n"), last.clear
    assert last.verbs[-1] == "QUIT" and last.end == "fin", (last.verbs, last.end)


def got_nothing(server, connections=1):
    """So many connections, and nothing of the mail in them."""
    assert server.connections == connections, server.sessions
    told_nothing(*server.sessions)
    for session in server.sessions:
        assert not {"MAIL", "RCPT", "DATA"} & set(session.verbs), session.verbs
