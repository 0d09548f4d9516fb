"""What a server does in one session of the differential test, generated from a seed.

A script is a correct server with a few deviations. A deviation has a moment (greeting, HELO, EHLO, "hello" for
both of them, MAIL, RCPT with the number of the recipient, DATA, "body", END, QUIT) and a kind:

    code        another reply, with this `code`
    split       the reply comes in pieces
    late        it comes after a short time
    noise       its text has unusual bytes, is long or has many lines
    tolerable   its form violates RFC 5321, but is understood
    broken      it is not a valid reply
    extra       an unsolicited second reply follows
    silent      no reply, and the connection stays open
    cut         no reply, or a part of one, and the connection ends
    then        the reply, then the connection ends
    parameters  MAIL is refused if it has parameters
    first only  only the first command of each packet is read
    size, recipients    limits in the reply to EHLO that this mail exceeds

Playing a script is not random: the same seed and number give the same session.
"""

import random
import socket
from dataclasses import dataclass, field

from smtpd import CLOSE, DEAF, RESET, Action, Call, Delay, Read

SENDER = "sender@src.example"
WANTED = {"greeting": 220, "hello": 250, "EHLO": 250, "HELO": 250, "MAIL": 250, "RCPT": 250, "DATA": 354,
          "END": 250, "QUIT": 221}
TRIES = 3           # deliveries of one message, as long as it is deferred
LIMITS = ("size", "recipients")
SHORT, LONG = 2, 30     # timeoutremote if a script is silent, and if it is not
PATIENT = 15            # if a busy machine was too slow for SHORT


@dataclass(frozen=True)
class Deviation:
    moment: str
    kind: str
    code: int = 0           # of the reply at this moment; 0 if there is none
    detail: str = ""
    recipient: int = -1
    enhanced: str = ""

    def __str__(self):
        words = [self.moment + (str(self.recipient) if self.recipient >= 0 else ""), self.kind]
        words += [str(self.code)] if self.code else []
        return " ".join(words + [w for w in (self.enhanced, self.detail) if w])


@dataclass
class Script:
    name: str
    deviations: list
    offers: list = field(default_factory=list)
    recipients: int = 1
    message: bytes = b""
    once: bool = False      # only the first connection has the deviations
    takes: bool = True      # a message whose final reply was lost is in the server's queue
    patient: bool = False

    @property
    def addresses(self):
        return [f"r{i}@dst.example" for i in range(self.recipients)]

    @property
    def waits(self):
        """Whether a wait may time out."""
        silent = any(d.kind in ("silent", "broken", "first only", "extra") for d in self.deviations)
        return bool(silent or self.at("DATA", "code"))

    @property
    def timeout(self):
        return LONG if not self.waits else PATIENT if self.patient else SHORT

    def at(self, moment, *kinds):
        """The deviations of a moment; only of these kinds if any are given."""
        return [d for d in self.deviations if d.moment == moment and (not kinds or d.kind in kinds)]

    def has(self, *kinds):
        return [d for d in self.deviations if d.kind in kinds]

    def offered(self, word):
        return any(o.split(" ")[0] == word for o in self.offers)

    def __str__(self):
        text = "; ".join(map(str, self.deviations)) or "polite"
        more = [" ".join(o.replace(" ", "=") for o in self.offers)] if self.offers else []
        more += ["first connection only"] if self.once else []
        more += [f"{self.recipients} recipients"] if self.recipients > 1 else []
        more += [f"{len(self.message)} bytes" + (", no line end" if self.message[-1:] != b"\n" else "")]
        return f"{text} ({', '.join(more)})"


# Parts of messages.

_LINES = [b"a line of a usual message, some 70 bytes long, as people write them", b"", b".", b"..", b".dot", b"x",
          b"caf\xe9 and \xff\x80", b"MAIL FROM:<forged@src.example>", b"QUIT", b"Subject: text", b"y" * 998,
          b"z" * 2500, b"nul \0 inside"]
_CR = [b"cr at the end\r", b"\r", b"cr \r inside", b"\r.", b".\r", b"two\r\r"]


def _message(rng):
    kind = rng.choices(("small", "empty", "medium", "large", "cr"), weights=(60, 4, 18, 8, 10))[0]
    if kind == "empty":
        return b""
    lines = [b"Subject: differential", b""]
    count = {"small": rng.randrange(1, 8), "medium": rng.randrange(50, 400), "large": 4000, "cr": 5}[kind]
    pool = _LINES + _CR * 3 if kind == "cr" else _LINES
    lines += rng.choices(pool, k=count)
    text = b"\n".join(lines)
    return text if rng.random() < 0.15 else text + b"\n"


# Replies.

_CODES = {
    "greeting": (221, 250, 354, 421, 450, 500, 520, 550, 554),
    "hello": (220, 251, 354, 421, 450, 501, 504, 550, 554),
    "EHLO": (421, 451, 500, 501, 502, 504, 550, 554),
    "HELO": (421, 451, 500, 502, 550),
    "MAIL": (251, 220, 354, 421, 450, 451, 452, 500, 501, 503, 530, 535, 550, 552, 553, 554, 555),
    "RCPT": (251, 252, 354, 421, 450, 451, 452, 500, 501, 503, 530, 550, 551, 552, 553, 554),
    "DATA": (250, 220, 421, 450, 451, 452, 500, 502, 503, 550, 554),
    "END": (251, 200, 354, 421, 450, 451, 452, 500, 503, 550, 552, 554),
    "QUIT": (221, 250, 421, 500),
}
_TOLERABLE = ("glued", "tab", "bare", "lf", "empty line before", "text before", "empty line inside", "text inside",
              "hyphen end")
_BROKEN = ("two digits", "letters", "high bit", "colon", "question mark", "four digits", "good then bad",
           "bad then good", "600", "100", "000")
_NOISE = ("controls", "nul", "8-bit", "long", "many lines", "multi-line")


def _good(code, text="ok"):
    return f"{code} {text}\r\n".encode()


def tolerable(form, code):
    return {
        "glued": f"{code}ok\r\n", "tab": f"{code}\tok\r\n", "bare": f"{code}\r\n", "lf": f"{code} ok\n",
        "empty line before": f"\r\n{code} ok\r\n", "text before": f"welcome to this server\r\n{code} ok\r\n",
        "empty line inside": f"{code}-ok\r\n\r\n{code} end\r\n",
        "text inside": f"{code}-ok\r\nand more\r\n{code} end\r\n",
        "hyphen end": f"{code}-ok\r\n{code}\r\n",
    }[form].encode()


def broken(form, code):
    digits = str(code)
    return {
        "two digits": b"25 ok\r\n", "letters": b"abc ok\r\n", "colon": b"24: queued\r\n",
        "high bit": bytes(ord(c) | 0x80 for c in digits) + b" ok\r\n", "question mark": b"1?0 ok\r\n",
        "four digits": digits.encode() + b"0 ok\r\n", "good then bad": f"{digits}-a\r\n554 b\r\n".encode(),
        "bad then good": f"554-a\r\n{digits} b\r\n".encode(),
        "600": b"600 x\r\n", "100": b"100 x\r\n", "000": b"000 x\r\n",
    }[form]


def noise(form, code):
    return {
        "controls": f"{code} a\x01b\x1b[0m\x7fc\td\r\n".encode(), "nul": f"{code} a\0b\r\n".encode(),
        "8-bit": f"{code} caf".encode() + b"\xe9\xff\r\n", "long": f"{code} {'x' * 6000}\r\n".encode(),
        "many lines": f"{code}-line\r\n".encode() * 300 + f"{code} end\r\n".encode(),
        "multi-line": f"{code}-first\r\n{code}-\r\n{code} last\r\n".encode(),
    }[form]


# Deviations.

_KINDS = {"code": 40, "split": 4, "late": 3, "noise": 8, "tolerable": 10, "broken": 8, "extra": 6, "silent": 5,
          "cut": 10, "then": 9}
_MOMENTS = {"greeting": 7, "hello": 5, "EHLO": 9, "HELO": 3, "MAIL": 15, "RCPT": 26, "DATA": 13, "body": 4,
            "END": 17, "QUIT": 4}


def _deviation(rng, moment, recipients):
    recipient = rng.randrange(recipients) if moment == "RCPT" else -1
    if moment == "body":
        return Deviation(moment, "cut", rng.choice((0, 0, 421, 452, 552, 554)), rng.choice(("fin", "rst")))
    if moment == "MAIL" and rng.random() < 0.25:
        return Deviation(moment, "parameters", rng.choice((500, 501, 502, 504, 553, 555, 550, 451)))
    if moment in ("MAIL", "RCPT") and rng.random() < 0.06:
        return Deviation(moment, "first only", WANTED[moment], recipient=recipient)
    kind = rng.choices(list(_KINDS), weights=list(_KINDS.values()))[0]
    code, detail, enhanced = WANTED[moment], "", ""
    wrong = rng.choice(_CODES[moment])
    if kind == "code":
        code = wrong
        if code >= 400 and rng.random() < 0.4:
            enhanced = f"{code // 100}.{rng.choice(('1.1', '7.1', '3.0', '5.1'))}"
    elif kind in ("tolerable", "broken", "noise"):
        detail = rng.choice({"tolerable": _TOLERABLE, "broken": _BROKEN, "noise": _NOISE}[kind])
        if kind != "broken" and rng.random() < 0.4:
            code = wrong
    elif kind == "extra":
        detail = str(rng.choice((250, 354, 450, 550)))
    elif kind == "cut":
        code, detail = 0, rng.choice(("fin", "rst", "half fin", "half rst", "lines fin", "lines rst"))
    elif kind == "then":
        detail = rng.choice(("fin", "rst"))
        if rng.random() < 0.5:
            code = wrong
    elif kind == "silent":
        code = 0
    return Deviation(moment, kind, code, detail, recipient, enhanced)


def _offers(rng, message, deviations):
    if rng.random() < 0.2:
        return []
    offers = [w for w, p in (("PIPELINING", 0.6), ("8BITMIME", 0.5), ("ENHANCEDSTATUSCODES", 0.3), ("CHUNKING", 0.2),
                             ("HELP", 0.2), ("SMTPUTF8", 0.2), ("X-ODD = 1 2", 0.1)) if rng.random() < p]
    if rng.random() < 0.5:
        kind = rng.choices(("large", "none", "zero", "small"), weights=(60, 15, 15, 10))[0]
        offers.append({"large": "SIZE 36700160", "none": "SIZE", "zero": "SIZE 0", "small": "SIZE 40"}[kind])
        # RFC 1870 counts line ends as two bytes.
        if kind == "small" and len(message) + message.count(b"\n") > 40:
            deviations.append(Deviation("EHLO", "size"))
    if rng.random() < 0.06:
        offers.append("LIMITS RCPTMAX=2")
        deviations.append(Deviation("EHLO", "recipients"))
    rng.shuffle(offers)
    return offers


def make(seed, number):
    """The script with this number."""
    rng = random.Random(f"{seed}/{number}")
    recipients = rng.choices((1, 2, 3, 5), weights=(60, 20, 12, 8))[0]
    message = _message(rng)
    count = rng.choices((0, 1, 2, 3), weights=(6, 62, 25, 7))[0]
    deviations, taken = [], set()
    for _ in range(count):
        moment = rng.choices(list(_MOMENTS), weights=list(_MOMENTS.values()))[0]
        d = _deviation(rng, moment, recipients)
        if (d.moment, d.recipient) not in taken:
            taken.add((d.moment, d.recipient))
            deviations.append(d)
    if any(d.moment == "body" for d in deviations):
        message = b"a line of a large message\n" * 40000
    offers = _offers(rng, message, deviations)
    order = list(_MOMENTS)
    deviations.sort(key=lambda d: (order.index(d.moment), d.recipient))
    return Script(f"{seed}/{number}", deviations, offers, recipients, message, rng.random() < 0.25, rng.random() < 0.7)


# The script of smtpd.

def _end(how):
    return CLOSE if how == "fin" else RESET


def _throw_away(session):
    """Discard the input after the command that was just read."""
    session.buffer.clear()
    return None


def _step(d):
    wanted = WANTED[d.moment]
    text = f"{d.enhanced} no".strip() if d.enhanced else "ok" if d.code == wanted else "what"
    if d.kind == "code":
        return _good(d.code, text)
    if d.kind == "split":
        reply = _good(d.code)
        return (reply[:2], Delay(0.02), reply[2:5], Delay(0.02), reply[5:])
    if d.kind == "late":
        return (Delay(0.15), _good(d.code))
    if d.kind in ("noise", "tolerable", "broken"):
        return {"noise": noise, "tolerable": tolerable, "broken": broken}[d.kind](d.detail, d.code)
    if d.kind == "extra":
        return _good(d.code) + _good(int(d.detail), "more")
    if d.kind == "silent":
        return DEAF
    if d.kind == "cut":
        *before, how = d.detail.split(" ")
        part = {"half": f"{wanted} o", "lines": f"{wanted}-ok\r\n"}[before[0]] if before else ""
        return (part.encode(), _end(how))
    if d.kind == "then":
        return (_good(d.code), _end(d.detail))
    if d.kind == "first only":
        return (Call(_throw_away), _good(wanted))
    assert d.kind == "parameters", d

    def answer(session):
        plain = session.commands[-1][1].endswith(b">")
        reply = _good(wanted) if plain else _good(d.code, "what")
        return Booked("MAIL", reply, reply[:1])
    return Call(answer)


def _ehlo(script):
    lines = ["server.example"] + script.offers
    return "".join(f"250{'-' if i < len(lines) - 1 else ' '}{w}\r\n" for i, w in enumerate(lines)).encode()


def _at_once(session):
    session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Booked(Action):
    """A step that records what was sent, and sets the state that the server means.

    `digit` is the first digit of the reply that the server means, b"" for none.
    """

    def __init__(self, moment, step, digit, takes=False):
        self.moment, self.step, self.digit, self.takes = moment, step, digit, takes

    def play(self, session):
        start = len(session.sent)
        try:
            session.play(self.step)
        finally:
            if self.moment == "END" and session.mails:
                session.mails[-1].said = bytes(session.sent[start:])
                session.mails[-1].taken = self.takes
        session.last = self.digit


def _odd_offer(d, whole):
    """The reply to EHLO with its deviation."""
    if d.kind == "extra":
        return whole + _good(int(d.detail), "more")
    if d.kind == "then":
        return (whole, _end(d.detail))
    return (Delay(0.15), whole) if d.kind == "late" else (whole[:2], Delay(0.02), whole[2:])


def _meant(d):
    return b"4" if d.kind == "broken" else str(d.code)[:1].encode() if d.code else b""


class Played:
    """The script of one connection: the step for each moment, as smtpd needs it."""

    def __init__(self, script, polite):
        self.script = script
        self.deviations = [] if polite else script.deviations

    def deviation(self, moment, recipient=-1):
        for d in self.deviations:
            hit = d.moment == moment or (d.moment == "hello" and moment in ("EHLO", "HELO"))
            if hit and d.recipient == recipient and d.kind not in LIMITS:
                return d
        return None

    def step(self, moment, recipient=-1):
        d = self.deviation(moment, recipient)
        if d is None:
            return None
        if d.kind == "parameters":
            return _step(d)
        takes = moment == "END" and (_meant(d) == b"2" or (d.kind in ("silent", "cut") and self.script.takes))
        step = _step(d)
        if moment == "EHLO" and d.code == 250 and d.kind in ("extra", "then", "late", "split"):
            step = _odd_offer(d, _ehlo(self.script))
        return Booked(moment, step, _meant(d), takes)

    def _rcpt(self, session):
        if session.sender is None:
            return "503 MAIL first"
        line = session.commands[-1][1]
        recipient = next((i for i, a in enumerate(self.script.addresses) if a.encode() in line), -1)
        return self.step("RCPT", recipient) or "250 ok"

    def _data(self, session):
        return self.step("DATA") if session.recipients else "554 no valid recipients"

    def steps(self):
        found = {"EHLO": _ehlo(self.script), "END": Booked("END", "250 got it", b"2", True)}
        for moment in ("greeting", "EHLO", "HELO", "MAIL", "END", "QUIT"):
            step = self.step(moment)
            if step is not None:
                found[moment] = step
        if any(d.moment == "RCPT" for d in self.deviations):
            found["RCPT"] = Call(self._rcpt)
        if any(d.moment == "DATA" for d in self.deviations):
            found["DATA"] = Call(self._data)
        for d in self.deviations:
            if d.moment == "body":
                said = _good(d.code) if d.code else b""
                step = (b"354 go\r\n", Read(100000), said, _end(d.detail))
                found["DATA"] = Call(lambda session: step if session.recipients else "554 no valid recipients")
        # So that replies sent before a reset have left, and the client has seen the connection.
        resets = any(d.moment == "greeting" and d.detail.endswith("rst") for d in self.deviations)
        found["greeting"] = (Call(_at_once), Delay(0.05 if resets else 0), found.get("greeting", "220 hi"))
        return found
