"""What must become of a delivery when one step of the dialogue goes in a certain way.

Written from the RFCs and from qmail's contract, and from nothing in the program: that is its worth. A Scene says what
the client gets to see; expect() says what it has to make of it. What that means for the mail and the report stands in
the two tables that all tests have: until MAIL a fate of expect_tls, from there on expect_dialogue.

Before MAIL whatever fails leads to another server. From MAIL on one server decides, and what is told of the mail depends
on whether the end of the mail data may have left.

What a domain publishes, TLSA records of its first host and an MTA-STS policy, comes before the strictness of this
machine: Scene.dane and Scene.sts, and demand() for what they demand of that host.
"""

from dataclasses import dataclass, replace

from expect_dialogue import GIVING_UP, SENTENCES, WANTED as REPLIES, is_permanent
from expect_tls import (IN_TLS, LOST_EHLO, MALFORMED, NO_EHLO, NO_HANDSHAKE, NO_REPLY, NO_SESSION, NOT_OFFERED,
                        REFUSED, REFUSED_AND_OVER, UNVERIFIED, UNWELCOME, USELESS)

BEFORE = ("connect", "greeting", "EHLO", "STARTTLS", "handshake", "EHLO in TLS")
AFTER = ("MAIL", "RCPT", "DATA", "mail data", "end of data", "QUIT")
STEPS = BEFORE + AFTER

# The reply that the step is there for.
WANTED = {**REPLIES, "STARTTLS": 220, "EHLO in TLS": 250, "end of data": REPLIES["END"]}


@dataclass(frozen=True)
class Saw:
    """What the client sees at the step.

    kind    whole   one well-formed reply: code
            broken  lines that contradict each other
            lost    the connection ends before a reply is whole
            late    no whole reply within the time-out
            flood   no end of a line, or of lines
            mute    no reply to the end of the mail data, after all of it was read
            early   the reply came behind the one before, when the command had not been sent
            old     TLS 1.1, which is enough where clear text would do
            others belong to the handshake and to the mail data
    more    code of a reply that nobody asked for, in the same segment
    then    "fin" or "rst" behind it
    bare    a reply without any text: no extension in it
    """
    kind: str
    code: int = 0
    more: int = 0
    then: str = ""
    bare: bool = False

    @property
    def digit(self):
        return self.code // 100 if self.kind == "whole" else 0

    @property
    def clean(self):
        return not self.more and not self.then


@dataclass(frozen=True)
class Scene:
    step: str
    saw: Saw
    transport: str      # "clear", "TLSv1.2" or "TLSv1.3": what the server can do
    strictness: int
    offer: str          # "none" or "PIPELINING"
    second: str         # another MX host: "", "clear" or "tls"
    dane: str = ""      # TLSA records of the first host: one of DANE; "": DANE and MTA-STS are off
    sts: str = ""       # the domain's MTA-STS policy, and whether it lists the first host: one of STS

    @property
    def tls(self):
        return self.transport != "clear"

    @property
    def has_policies(self):
        return self.dane != ""


# matches: one of usage 3 that is the server's key, whatever else its certificate says. failed: the question for them
# has no answer, or one of an error.
DANE = ("none", "matches", "another", "failed", "unusable")
# The second host is in each policy, and has no TLSA records.
STS = ("none", "testing", "listed", "unlisted")


@dataclass(frozen=True)
class Outcome:
    letters: str                # what qmail-rspawn may make of the report
    mail: str = ""              # who has the message: "first", "second", or nobody
    secure: bool = False        # and whether it got there in TLS
    other: bool = False         # the second host is asked
    clear: bool = False         # the mail may be told in clear text
    duplicate: object = False   # "Possible duplicate!": True, False; None: if a server has it; "any": nobody can know
    quit: object = None         # the last connection to the first host ends with QUIT; None: either way
    first: str = ""             # the message record's first line, where stock's is known
    waits: int = 0              # time-outs that run out
    asked: bool = True          # the first host is connected to
    guarded: bool = False       # the first host is never told of the mail in clear text, whatever others may be
    proof: str = ""             # the end of the report's last line, a pattern, where policies are on
    either: object = None       # another Outcome that is as good: which of them it is depends on timing


DIED = "Connected to {ip} but connection died. (#4.4.2)"
DOUBT = "Connected to {ip} but connection died. Possible duplicate! (#4.4.2)"
TOOK = "{ip} accepted message."
NO_CONNECTION = "Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)"


# Before MAIL.

@dataclass(frozen=True)
class Verdict:
    """The fate of the first server, and what else is to be seen of it."""
    fate: object
    quit: object = None
    first: str = ""
    waits: int = 0


def _is_refusal(saw):
    """A well-formed no, or any other answer in place of the wanted one, of a server that stays."""
    return saw.kind == "whole" and saw.code != 421 and saw.clean


def _waits(saw):
    return saw.kind in ("late", "flood")


def _failed(fate, saw, first=""):
    """The server is of no use at this step."""
    if saw.kind in ("lost", "late"):
        first = DIED if first else ""
    elif saw.kind != "whole":
        first = ""
    return Verdict(fate, True if _is_refusal(saw) else None, first, _waits(saw))


def _connect(saw):
    return Verdict(USELESS, first=NO_CONNECTION,
                   waits=saw.kind == "late")


def _greeting(scene, saw):
    if saw.kind == "whole" and saw.code == 220:
        return None if saw.clean else Verdict(USELESS)
    return _failed(USELESS, saw, SENTENCES["greeting"])


def _ehlo(scene, saw):
    if saw.kind == "whole" and saw.code == 250:
        if saw.more:
            return Verdict(USELESS)
        if saw.bare or not scene.tls:
            return Verdict(NOT_OFFERED, quit=None if saw.then else True)
        return Verdict(NO_REPLY) if saw.then else None
    if saw.kind == "early" or saw.code == 421:
        fate = USELESS
    else:
        fate = NO_EHLO if _is_refusal(saw) else LOST_EHLO
    return _failed(fate, saw, SENTENCES["HELO"])


def _starttls(scene, saw):
    if saw.kind == "early":
        return Verdict(USELESS)                 # two answers to EHLO
    if saw.kind == "whole" and saw.code == 220 and saw.clean:
        return None
    if saw.digit in (4, 5) and saw.code not in (421, 554) and saw.clean:
        return Verdict(REFUSED, quit=True)
    if saw.kind in ("lost", "late"):
        return Verdict(NO_REPLY, waits=_waits(saw))
    return Verdict(REFUSED_AND_OVER if saw.digit and saw.code != 220 else MALFORMED, waits=_waits(saw))


def _handshake(scene, saw):
    if saw.kind == "whole" or (saw.kind == "old" and scene.strictness == 0):
        return None
    if saw.kind == "certificate":               # a good handshake, and a name or chain to be doubted
        return Verdict(UNVERIFIED, quit=False)
    return Verdict(NO_HANDSHAKE, waits=_waits(saw))


def _ehlo_in_tls(scene, saw):
    if saw.kind == "whole" and saw.code == 250:
        return Verdict(USELESS if saw.more else IN_TLS)
    if _is_refusal(saw):
        return Verdict(IN_TLS)                  # HELO inside TLS
    # In TLS 1.3 the server's last word on the handshake comes here, and the first that it cannot answer.
    return Verdict(NO_SESSION if saw.kind in ("lost", "late") else UNWELCOME, waits=_waits(saw))


def before_mail(scene):
    """What becomes of the first server until MAIL."""
    if scene.step == "connect":
        return _connect(scene.saw)
    for step, rule in (("greeting", _greeting), ("EHLO", _ehlo), ("STARTTLS", _starttls), ("handshake", _handshake),
                       ("EHLO in TLS", _ehlo_in_tls)):
        if step == "STARTTLS" and not scene.tls:
            break
        verdict = rule(scene, scene.saw) if scene.step == step else None
        if verdict:
            return verdict
    if scene.step == "MAIL" and scene.saw.kind == "early":
        return Verdict(USELESS)
    return Verdict(IN_TLS) if scene.tls else Verdict(NOT_OFFERED, quit=True)


# From MAIL on.

def _result(letters, first="", **more):
    return Outcome(letters, first=first, other=False, **more)


def _trouble(saw, doubt=False):
    """No reply to be had: protocol error, end of connection, time-out."""
    first = {False: DIED, True: DOUBT, None: ""}[doubt] if saw.kind in ("lost", "late") else ""
    return _result("Z", first, duplicate=doubt, waits=saw.kind in ("late", "flood"))


def _refused(step, saw, first=None):
    return _result("D" if is_permanent(step, saw.code) else "Z", SENTENCES[step] if first is None else first,
                   quit=True if saw.code != 421 and saw.clean else None)


def _mail_or_rcpt(scene, saw, good):
    grouped = scene.offer != "none"
    if saw.kind == "early":
        # To a group the replies may come together; a command that waits for its turn has no reply yet.
        return good if grouped else _trouble(saw)
    if saw.digit == 2:
        if saw.then:
            return replace(_trouble(Saw("lost")), first="")
        if saw.more and grouped:
            return _shifted(scene, saw)
        return good if saw.clean else _trouble(saw)
    if saw.digit in (4, 5):
        found = _refused(scene.step, saw, GIVING_UP if scene.step == "RCPT" else None)
        if not grouped:
            return found
        # The rest of the group is answered too, or lost with the connection.
        return replace(found, quit=None,
                       first="" if saw.then and scene.step == "RCPT" else found.first)
    return _trouble(saw)


def _shifted(scene, saw):
    """A reply too many in a group: from there on each reply stands in the place of the next."""
    if scene.step == "RCPT" and saw.more // 100 == 5:
        # Nothing tells it from a refusal of the message until the next reply is there.
        return _result("ZD")
    return _result("Z")


def _data(scene, saw, good):
    if saw.kind == "early":
        return good if scene.offer == "PIPELINING" else _trouble(saw)
    if saw.code == 354 and saw.kind == "whole":
        if saw.clean:
            return good
        return _result("Z", duplicate=None, waits=1 if saw.more else 0)
    if saw.digit in (4, 5):
        return _refused("DATA", saw)
    return _trouble(saw)


def _mail_data(scene, saw, good):
    """A long message, of which the end cannot have left when something happens."""
    if saw.kind == "slow":
        return good
    if saw.kind == "mute":
        return _trouble(Saw("late"), True)
    if saw.digit in (4, 5):
        return replace(_refused("END", saw, "" if scene.tls else None), quit=None)
    if saw.digit:
        return _result("Z", duplicate=None, waits=1)
    if saw.then:
        # Who closes for writing may read on, and the end of the mail data with it.
        return _result("Z", duplicate="any")
    return _trouble(saw)


def _end_of_data(scene, saw, good):
    if saw.kind == "early":
        return _result("Z", duplicate=None, waits=1)
    if saw.digit == 2:
        return good if saw.clean else replace(good, quit=None)
    if saw.digit in (4, 5):
        return _refused("END", saw)
    return _trouble(saw, True)


def _is_closed_at_mail(scene, again):
    """The reply to the command before MAIL was good, and the connection ended behind it.

    On a second connection, in clear text from the beginning, EHLO is the only command before MAIL.
    """
    if not scene.saw.then:
        return False
    if scene.step == "EHLO":
        return scene.saw.code == 250
    return not again and scene.step in ("STARTTLS", "EHLO in TLS")


def from_mail(scene, secure, again=False):
    """What becomes of the mail once the first server is ready for it."""
    good = _result("K", TOOK, mail="first", quit=True)
    saw, step = scene.saw, scene.step
    if step in ("MAIL", "RCPT"):
        found = _mail_or_rcpt(scene, saw, good)
    elif step == "DATA":
        found = _data(scene, saw, good)
    elif step == "mail data":
        found = _mail_data(scene, saw, good)
    elif step == "end of data":
        found = _end_of_data(scene, saw, good)
    elif _is_closed_at_mail(scene, again):
        found = _trouble(Saw("lost"))
    else:
        found = good            # QUIT, or all went well before MAIL
    return replace(found, secure=secure, clear=not secure)


# What the domain demands of the first host (RFC 7672 section 2.2, RFC 8461 section 5).

def demand(scene):
    """host not used: "nothing can do"; TLS with "this key", "another key", "a certificate" that verifies, "any
    certificate"; or "": what the strictness demands."""
    if scene.dane in ("matches", "another", "failed"):
        return {"matches": "this key", "another": "another key", "failed": "nothing can do"}[scene.dane]
    # An MTA-STS policy is never overruled by records that say nothing.
    if scene.sts in ("listed", "unlisted"):
        return "a certificate" if scene.sts == "listed" else "nothing can do"
    if scene.dane == "unusable":
        return "a certificate" if scene.strictness == 2 else "any certificate"
    return ""


_SHOWN = "certificate verified for [a-z0-9]+[.]mx[.]example"


def proof(scene, mail):
    """What the last line says of the server's authentication, if this host takes the mail in TLS."""
    first = mail == "first"
    dane = scene.dane if first else "none"
    records = "DANE records unusable, " if dane == "unusable" else ""
    if dane == "matches":
        return r"DANE \(3 1 1\)"
    if scene.sts in ("listed", "unlisted"):
        return f"MTA-STS, {records}{_SHOWN}"
    if records and scene.strictness < 2:
        return f"{records}certificate not verified"
    if scene.sts == "testing":
        if first and scene.step == "handshake" and scene.saw.kind != "whole" and scene.strictness < 2:
            return "MTA-STS testing: .+, certificate not verified"
        return f"MTA-STS testing, {records}{_SHOWN}"
    return records + (_SHOWN if scene.strictness == 2 else "certificate not verified")


def _with_policy(scene, needs):
    """The first server's verdict where TLS is demanded, and no clear text will do."""
    verdict = before_mail(replace(scene, strictness=2))
    reaches_tls = verdict.fate in (IN_TLS, UNVERIFIED) or scene.step == "EHLO in TLS"
    if needs == "another key" and reaches_tls:
        return Verdict(UNVERIFIED, quit=None if scene.saw.kind == "early" else False)
    if needs in ("this key", "any certificate") and verdict.fate is UNVERIFIED:
        return Verdict(IN_TLS)
    return verdict


def _expect_with_policies(scene):
    needs = demand(scene)
    if not needs:
        return _expect(scene)
    if needs == "nothing can do":
        return replace(_elsewhere(scene, Verdict(USELESS)), asked=False, guarded=True)
    verdict = _with_policy(scene, needs)
    if verdict.fate.at(2) == "next":
        return replace(_elsewhere(scene, verdict), guarded=True)
    found = from_mail(scene, True)
    return replace(_or_sooner(scene, replace(found, waits=found.waits + verdict.waits)), guarded=True)


def _with_proof(scene, found):
    return replace(found, proof=proof(scene, found.mail) if found.mail else "",
                   either=_with_proof(scene, found.either) if found.either else None)


def expect(scene):
    if not scene.has_policies:
        return _expect(scene)
    return _with_proof(scene, _expect_with_policies(scene))


def _expect(scene):
    verdict = before_mail(scene)
    outcome = verdict.fate.at(scene.strictness)
    if outcome == "next":
        return _elsewhere(scene, verdict)
    if outcome in ("again", "anew"):
        return _later(scene, verdict)
    found = from_mail(scene, outcome == "tls")
    if scene.step in BEFORE:
        found = replace(found, waits=found.waits + verdict.waits)
    return _or_sooner(scene, found)


def _later(scene, verdict):
    """In clear text, on another connection; at strictness 1 when no host has TLS."""
    if scene.strictness == 0:
        found = _or_sooner(scene, replace(from_mail(scene, False, again=True), waits=verdict.waits), again=True)
        if _is_refused_and_closed(scene):
            # If the end comes a moment later, it is seen at MAIL.
            found = replace(found, either=replace(_trouble(Saw("lost")), clear=True))
        return found
    if scene.second == "tls":
        return _second(scene, verdict)
    found = replace(from_mail(scene, False, again=True), other=bool(scene.second), waits=2 * verdict.waits)
    return _or_sooner(scene, found, again=True)


def _is_refused_and_closed(scene):
    """STARTTLS is refused in a way that leaves the session as it was, and then it ends."""
    saw = scene.saw
    return scene.step == "STARTTLS" and saw.then and saw.digit in (4, 5) and saw.code not in (421, 554)


def is_over_before_mail(scene):
    """The server ends the connection where MAIL is due: when that is seen depends on timing."""
    return _is_closed_at_mail(scene, False) or _is_refused_and_closed(scene)


def _or_sooner(scene, found, again=False):
    """The end of the connection may be seen before MAIL already, when there still is another host to ask."""
    if not (scene.second and _is_closed_at_mail(scene, again)):
        return found
    return replace(found, either=replace(_elsewhere(scene, Verdict(USELESS)), waits=found.waits))


def _second(scene, verdict):
    return Outcome("K", mail="second", secure=scene.second == "tls", other=True, clear=scene.second != "tls",
                   quit=verdict.quit, first=TOOK, waits=verdict.waits)


def _elsewhere(scene, verdict):
    """What becomes of the mail when the first host will not do."""
    if scene.second == "clear" and scene.sts in ("listed", "unlisted"):
        return Outcome("Z", other=True, waits=verdict.waits * 2)
    if scene.second == "tls" or (scene.second and scene.strictness == 0):
        return _second(scene, verdict)
    if scene.second and scene.strictness == 1:
        return replace(_second(scene, verdict), quit=None, waits=verdict.waits * 2)
    return Outcome("Z", other=bool(scene.second), quit=None if scene.second else verdict.quit,
                   first="" if scene.second else verdict.first, waits=verdict.waits * 2)
