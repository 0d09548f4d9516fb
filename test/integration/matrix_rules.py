"""What must become of a delivery when one step of the dialogue goes in a certain way.

Written from the RFCs and from qmail's contract, and from nothing in the program: that is its worth. A Scene
says what the client gets to see; expect() says what it has to make of it.

The dialogue has two parts. Before MAIL whatever fails leads to another server. From MAIL on one server
decides, and what is told of the mail depends on whether the end of the mail data may have left.
"""

from dataclasses import dataclass, replace

BEFORE = ("connect", "greeting", "EHLO", "STARTTLS", "handshake", "EHLO in TLS")
AFTER = ("MAIL", "RCPT", "DATA", "mail data", "end of data", "QUIT")
STEPS = BEFORE + AFTER

# The reply that the step is there for.
WANTED = {"greeting": 220, "EHLO": 250, "STARTTLS": 220, "EHLO in TLS": 250, "MAIL": 250, "RCPT": 250,
          "DATA": 354, "end of data": 250, "QUIT": 221}


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

    @property
    def tls(self):
        return self.transport != "clear"


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
    either: object = None       # another Outcome that is as good: which of them it is depends on timing


DIED = "Connected to {ip} but connection died. (#4.4.2)"
DOUBT = "Connected to {ip} but connection died. Possible duplicate! (#4.4.2)"
REJECTED = "Connected to {ip} but my name was rejected."
TOOK = "{ip} accepted message."


# Before MAIL.

READY = "ready"             # this server, on this connection
NEXT = "next"               # the next address
NO_TLS = "no TLS"           # the next address, for want of TLS
AGAIN = "again"             # the same address in clear text, once


@dataclass(frozen=True)
class Verdict:
    what: str
    secure: bool = False
    quit: object = None
    first: str = ""
    waits: int = 0


def _is_refusal(saw):
    """A well-formed no, or any other answer in place of the wanted one, of a server that stays."""
    return saw.kind == "whole" and saw.code != 421 and saw.clean


def _failed(saw, first=""):
    """The server is of no use at this step."""
    quit = True if _is_refusal(saw) else None
    if saw.kind in ("lost", "late"):
        first = DIED if first else ""
    elif saw.kind != "whole":
        first = ""
    return Verdict(NEXT, quit=quit, first=first, waits=saw.kind in ("late", "flood"))


def _without_tls(scene):
    """STARTTLS is not offered, or refused: the connection is still good, as far as one can see."""
    if scene.strictness == 0:
        return Verdict(READY)
    return Verdict(NO_TLS if scene.strictness == 1 else NEXT, quit=None if scene.saw.then else True)


def _tls_failed(scene, waits=0):
    """TLS was begun and did not come about: the connection is not good for anything."""
    return Verdict((AGAIN, NO_TLS, NEXT)[scene.strictness], waits=waits)


def _connect(scene):
    return Verdict(NEXT, first="Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)",
                   waits=scene.saw.kind == "late")


def _greeting(scene, saw):
    if saw.kind == "whole" and saw.code == 220:
        return None if saw.clean else Verdict(NEXT)
    return _failed(saw, "Connected to {ip} but greeting failed.")


def _ehlo(scene, saw):
    waits = saw.kind in ("late", "flood")
    if saw.kind == "whole" and saw.code == 250:
        if saw.more:
            return Verdict(NEXT)
        if saw.bare or not scene.tls:
            return _without_tls(scene)
        return _tls_failed(scene) if saw.then else None
    if saw.kind == "early" or saw.code == 421 or scene.strictness == 2:
        return _failed(saw, REJECTED)
    if scene.strictness == 1:
        return Verdict(NO_TLS, quit=True if _is_refusal(saw) else None, waits=waits)
    if _is_refusal(saw):
        return Verdict(READY)                   # HELO, which offers nothing
    return Verdict(AGAIN, waits=waits)          # HELO on a new connection


def _starttls(scene, saw):
    if saw.kind == "early":
        return Verdict(NEXT)                    # two answers to EHLO
    if saw.kind == "whole" and saw.code == 220 and saw.clean:
        return None
    if saw.digit in (4, 5) and saw.code not in (421, 554) and saw.clean:
        return _without_tls(scene)
    # Whatever else it is, also that somebody speaks for the server: there is no TLS, and no session to go on with.
    return _tls_failed(scene, waits=saw.kind in ("late", "flood"))


def _handshake(scene, saw):
    if saw.kind == "whole":
        return None
    if saw.kind == "certificate":               # a good handshake, and a name or chain to be doubted
        return None if scene.strictness < 2 else Verdict(NEXT, quit=False)
    return _tls_failed(scene, waits=saw.kind in ("late", "flood"))


def _ehlo_in_tls(scene, saw):
    if saw.kind == "whole" and saw.code == 250:
        return Verdict(NEXT) if saw.more else Verdict(READY, secure=True)
    if _is_refusal(saw):
        return Verdict(READY, secure=True)      # HELO inside TLS
    # In TLS 1.3 the server's last word on the handshake comes here, and the first that it cannot answer.
    return _tls_failed(scene, waits=saw.kind in ("late", "flood"))


def before_mail(scene):
    """What becomes of the first server until MAIL."""
    if scene.step == "connect":
        return _connect(scene)
    for step, rule in (("greeting", _greeting), ("EHLO", _ehlo)):
        if scene.step == step:
            verdict = rule(scene, scene.saw)
            if verdict:
                return verdict
    too_early = scene.step == "MAIL" and scene.saw.kind == "early"
    if not scene.tls:
        return Verdict(NEXT) if too_early else _without_tls(scene)
    for step, rule in (("STARTTLS", _starttls), ("handshake", _handshake), ("EHLO in TLS", _ehlo_in_tls)):
        if scene.step == step:
            verdict = rule(scene, scene.saw)
            if verdict:
                return verdict
    return Verdict(NEXT) if too_early else Verdict(READY, secure=True)


# From MAIL on.

def _result(letters, first="", **more):
    return Outcome(letters, first=first, other=False, **more)


def _trouble(saw, doubt=False):
    """No reply to be had: protocol error, end of connection, time-out."""
    first = {False: DIED, True: DOUBT, None: ""}[doubt] if saw.kind in ("lost", "late") else ""
    return _result("Z", first, duplicate=doubt, waits=saw.kind in ("late", "flood"))


def _refused(saw, first):
    return _result("D" if saw.digit == 5 else "Z", first, quit=True if saw.code != 421 and saw.clean else None)


def _mail_or_rcpt(scene, saw, good, refused):
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
        found = _refused(saw, refused)
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
        return _refused(saw, "{ip} failed on DATA command.")
    return _trouble(saw)


def _mail_data(scene, saw, good):
    """A long message, of which the end cannot have left when something happens."""
    if saw.kind == "slow":
        return good
    if saw.kind == "mute":
        return _trouble(Saw("late"), True)
    if saw.digit in (4, 5):
        return replace(_refused(saw, "" if scene.tls else "{ip} failed after I sent the message."), quit=None)
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
        return _refused(saw, "{ip} failed after I sent the message.")
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
    if step == "MAIL":
        found = _mail_or_rcpt(scene, saw, good, "Connected to {ip} but sender was rejected.")
    elif step == "RCPT":
        found = _mail_or_rcpt(scene, saw, good, "Giving up on {ip}.")
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


def expect(scene):
    verdict = before_mail(scene)
    if verdict.what == READY:
        found = from_mail(scene, verdict.secure)
        if scene.step in BEFORE:
            found = replace(found, waits=found.waits + verdict.waits)
        return _or_sooner(scene, found)
    if verdict.what == AGAIN:
        return _or_sooner(scene, replace(from_mail(scene, False, again=True), waits=verdict.waits), again=True)
    return _elsewhere(scene, verdict)


def _or_sooner(scene, found, again=False):
    """The end of the connection may be seen before MAIL already, when there still is another host to ask."""
    if not (scene.second and _is_closed_at_mail(scene, again)):
        return found
    return replace(found, either=replace(_elsewhere(scene, Verdict(NEXT)), waits=found.waits))


def _elsewhere(scene, verdict):
    """What becomes of the mail when the first host will not do."""
    if scene.second == "tls" or (scene.second and scene.strictness == 0):
        return Outcome("K", mail="second", secure=scene.second == "tls", other=True, clear=scene.second != "tls",
                       quit=verdict.quit, first=TOOK, waits=verdict.waits)
    if verdict.what == NO_TLS:
        # Nobody has TLS: all over again, without.
        found = replace(from_mail(scene, False, again=True), other=bool(scene.second), waits=2 * verdict.waits)
        return _or_sooner(scene, found, again=True)
    if scene.second and scene.strictness == 1:
        return Outcome("K", mail="second", other=True, clear=True, quit=None, first=TOOK, waits=verdict.waits * 2)
    return Outcome("Z", other=bool(scene.second), quit=None if scene.second else verdict.quit,
                   first="" if scene.second else verdict.first, waits=verdict.waits * 2)
