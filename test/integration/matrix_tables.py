"""The tables of the outcome matrix: what a server may do at each step, and the script that does it.

STEPS of matrix_rules.py times the behaviours below, times transport, strictness, what the server offers
and whether there is another one: cells() gives them all, sample() each step with each behaviour once. Before MAIL
they are there again for each pair of TLSA records and MTA-STS policy.
"""

import itertools
import re
import socket
import ssl
import time
import zlib
from dataclasses import dataclass

import matrix_rules as rules
import smtpd
import world
from matrix_rules import Saw, Scene, WANTED
from smtpd import CLOSE, CLOSE_NOTIFY, DEAF, RESET, TLS, Action, As, Call, Delay, Drip, Plain, Read


# What servers do.

class _AtOnce(Action):
    """From here on nothing waits in the server for an acknowledgement, to be lost with a reset."""

    def play(self, session):
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


AT_ONCE = _AtOnce()


class Pieces(Action):
    """Send pieces, each in a segment of its own."""

    def __init__(self, pieces, gap=0.001):
        self.pieces, self.gap = pieces, gap

    def play(self, session):
        for piece in self.pieces:
            session.send(piece)
            time.sleep(self.gap)


class Flood(Action):
    """Send the same for ever, some 30 MB a second."""

    def __init__(self, data):
        self.data = data * max(1, (1 << 16) // len(data))

    def play(self, session):
        end = time.monotonic() + smtpd.PATIENCE
        while time.monotonic() < end and not session.server.stopping:
            try:
                session.sock.sendall(self.data)
            except OSError:
                session.end = session.end or "rst"
                raise smtpd._End from None
            time.sleep(0.002)


class Patient(Action):
    """Send, and read all that comes until the client goes."""

    def __init__(self, *step):
        self.step = step

    def play(self, session):
        session.play(self.step)
        session.keep = False
        while True:
            session.fill()
            session.buffer.clear()


def reply(code, lines, end=b"\r\n"):
    lines = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return b"".join(b"%03d%s%s%s" % (code, b"-" if n < len(lines) - 1 else b" ", line, end)
                    for n, line in enumerate(lines))


def other_2yz(wanted):
    return {220: 250, 250: 252, 354: 250, 221: 250}[wanted]


@dataclass(frozen=True)
class Behaviour:
    """`saw` tells the rule, `step` makes the server's part: functions of the wanted code, and of its lines.

    Timed ones take a time-out to run out; `step` is then told how long that is.
    """
    name: str
    saw: object
    step: object
    timed: bool = False
    tls: bool = False           # makes sense in TLS only
    certificate: str = "good"
    versions: object = None


def _whole(name, step, **saw):
    return Behaviour(name, lambda w: Saw("whole", w, **saw), step)


def _code(name, code, *then, **saw):
    choose = code if callable(code) else lambda w: code
    return Behaviour(name, lambda w: Saw("whole", choose(w), **saw),
                     lambda w, lines: (reply(choose(w), lines), *then))


def _broken(name, step):
    return Behaviour(name, lambda w: Saw("broken"), step)


def _skipped(name, line):
    """A line that has no code, and then the reply."""
    return _whole(f"{name} in a line before", lambda w, lines: As(str(w)[0], line(w) + b"\r\n" + reply(w, lines)))


def _lost(name, step, **more):
    return Behaviour(name, lambda w: Saw("lost"), step, **more)


def _late(name, step, kind="late", **more):
    return Behaviour(name, lambda w: Saw(kind), step, timed=True, **more)


def _first(lines, text):
    return [text, *lines[1:]] if len(lines) > 1 else [text]


_BINARY = bytes(c for c in range(128, 256)) + b"\xe2\x80\xae\xc0\xaf"

# What may happen where a reply is due.
REPLIES = (
    _whole("as wanted", lambda w, lines: reply(w, lines)),
    _whole("two lines", lambda w, lines: reply(w, ["first", *lines])),
    _whole("100 lines", lambda w, lines: reply(w, ["x" * 40] * 99 + lines)),
    _whole("no text", lambda w, lines: b"%d\r\n" % w, bare=True),
    _whole("blank for text", lambda w, lines: b"%d \r\n" % w, bare=True),
    _whole("LF alone", lambda w, lines: reply(w, lines, b"\n")),
    _whole("byte by byte", lambda w, lines: As(str(w)[0], Pieces([bytes([c]) for c in reply(w, lines)]))),
    _whole("CR and LF apart", lambda w, lines: As(str(w)[0], Pieces(re.split(rb"(?<=\r)", reply(w, lines)), 0.02))),
    _whole("a moment later", lambda w, lines: (Delay(0.2), reply(w, lines))),
    _whole("control bytes", lambda w, lines: reply(w, _first(lines, b"\0 \x1b[2J \x07\x08\x7f\x0b\x0c ok"))),
    _whole("forged record", lambda w, lines: reply(w, _first(lines, b"\0Kforged\0Dforged\0"))),
    _whole("8-bit text", lambda w, lines: reply(w, _first(lines, _BINARY))),
    _whole("line of 2 000", lambda w, lines: reply(w, _first(lines, "x" * 2000))),
    _whole("line of 60 000", lambda w, lines: reply(w, _first(lines, "x" * 60000))),
    _code("other 2yz", other_2yz),
    _code("1yz", 150),
    _code("3yz", lambda w: 354 if w != 354 else 334),
    _code("4yz", 451),
    _code("4yz, FIN", 451, CLOSE, then="fin"),
    _code("421", 421),
    _code("421, FIN", 421, CLOSE, then="fin"),
    _code("421, RST", 421, RESET, then="rst"),
    _code("5yz", 554),
    Behaviour("5yz, two lines", lambda w: Saw("whole", 554), lambda w, lines: reply(554, ["no", "no"])),
    _code("5yz, FIN", 554, CLOSE, then="fin"),
    _code("6yz", 650),
    _code("0yz", 20),
    _skipped("letter for digit", lambda w: b"%dx%d ok" % (w // 100, w % 10)),
    _skipped("no digits", lambda w: b"hello"),
    _skipped("two digits", lambda w: b"%d ok" % (w // 10)),
    _skipped("leading blank", lambda w: b" %d ok" % w),
    _skipped("empty line", lambda w: b""),
    _whole("tab for blank", lambda w, lines: reply(w, lines)[:-2].replace(b"%d " % w, b"%d\t" % w) + b"\r\n"),
    _whole("no code in line 2", lambda w, lines: b"%d-a\r\nb\r\n" % w + reply(w, lines)),
    _broken("four digits", lambda w, lines: b"%d0 ok\r\n" % w),
    _broken("yes, then no", lambda w, lines: reply(w, [*lines, "x"])[:-len("220 x\r\n")] + b"554 no\r\n"),
    _broken("no, then yes", lambda w, lines: b"554-no\r\n" + reply(w, lines)),
    _broken("another yes in line 2", lambda w, lines: b"%d-a\r\n%d b\r\n" % (w, w + 1)),
    _lost("FIN", lambda w, lines: CLOSE),
    _lost("RST", lambda w, lines: RESET),
    _lost("half a code, FIN", lambda w, lines: (b"%d" % (w // 10), CLOSE)),
    _lost("half a code, RST", lambda w, lines: (b"%d" % (w // 10), RESET)),
    _lost("line without end, FIN", lambda w, lines: (reply(w, lines)[:-2], CLOSE)),
    _lost("first of two lines, FIN", lambda w, lines: (b"%d-ok\r\n" % w, CLOSE)),
    Behaviour("then FIN", lambda w: Saw("whole", w, then="fin"), lambda w, lines: (reply(w, lines), CLOSE)),
    Behaviour("then RST", lambda w: Saw("whole", w, then="rst"), lambda w, lines: (reply(w, lines), RESET)),
    Behaviour("and once more", lambda w: Saw("whole", w, more=w), lambda w, lines: reply(w, lines) + b"%d x\r\n" % w),
    Behaviour("and a no", lambda w: Saw("whole", w, more=550), lambda w, lines: reply(w, lines) + b"550 x\r\n"),
    Behaviour("and half a line", lambda w: Saw("whole", w, more=1), lambda w, lines: reply(w, lines) + b"2"),
    Behaviour("too early", lambda w: Saw("early"), None),
    _late("silence", lambda w, lines, t: DEAF),
    _late("lines without a code, silence", lambda w, lines, t: (b"hello\r\n\r\n", DEAF)),
    _late("half a line, silence", lambda w, lines, t: (reply(w, lines)[:-2], DEAF)),
    _late("first of two lines, silence", lambda w, lines, t: (b"%d-ok\r\n" % w, DEAF)),
    _late("a byte at a time", lambda w, lines, t: Drip(reply(w, lines + ["x" * 80]), t * 0.4)),
    _late("a line at a time", lambda w, lines, t: Drip(b"%d-ok\r\n" % w * 20, t * 0.4, 8)),
    _late("endless line", lambda w, lines, t: (b"%d " % w, Flood(b"x")), kind="flood"),
    _late("endless lines", lambda w, lines, t: Flood(b"%d-x\r\n" % w), kind="flood"),
    _lost("close_notify, FIN", lambda w, lines: (CLOSE_NOTIFY, CLOSE), tls=True),
    _lost("reply in clear text", lambda w, lines: As(str(w)[0], Plain(reply(w, lines))), tls=True),
    _lost("close_notify, reply in clear text",
          lambda w, lines: As(str(w)[0], CLOSE_NOTIFY, Plain(reply(w, lines))), tls=True),
)

_HELLO = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + b"r" * 32
_OLD = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)


def _handshake(name, kind, *step, **more):
    return Behaviour(name, lambda w: Saw(kind), lambda w, lines: ("220 go", *step), **more)


HANDSHAKES = (
    _handshake("as wanted", "whole", TLS),
    _handshake("chain to another root", "certificate", TLS, certificate="untrusted"),
    _handshake("self-signed", "certificate", TLS, certificate="self-signed"),
    _handshake("expired", "certificate", TLS, certificate="expired"),
    _handshake("not yet valid", "certificate", TLS, certificate="early"),
    _handshake("another name", "certificate", TLS, certificate="wrong-name"),
    _handshake("no intermediate", "certificate", TLS, certificate="no-intermediate"),
    _handshake("TLS 1.1 only", "old", TLS, versions=_OLD),
    _handshake("FIN", "lost", CLOSE),
    _handshake("RST", "lost", RESET),
    _handshake("FIN after ClientHello", "lost", Read(50), CLOSE),
    _handshake("RST after ClientHello", "lost", Read(50), RESET),
    _handshake("alert", "lost", Read(50), b"\x15\x03\x03\x00\x02\x02\x28", CLOSE),
    _handshake("alert, open", "lost", Read(50), b"\x15\x03\x03\x00\x02\x02\x28", DEAF),
    _handshake("half a ServerHello, FIN", "lost", Read(50), _HELLO, CLOSE),
    _handshake("clear text", "lost", Read(50), b"250-hi\r\n250 PIPELINING\r\n", DEAF),
    _handshake("noise", "lost", Read(50), bytes(range(256)) * 40, DEAF),
    Behaviour("silence", lambda w: Saw("late"), lambda w, lines, t: ("220 go", DEAF), timed=True),
    Behaviour("half a ServerHello", lambda w: Saw("late"), lambda w, lines, t: ("220 go", Read(50), _HELLO, DEAF),
              timed=True),
    Behaviour("a byte at a time", lambda w: Saw("late"),
              lambda w, lines, t: ("220 go", Read(50), Drip(_HELLO, t * 0.4)), timed=True),
    Behaviour("endless records", lambda w: Saw("flood"),
              lambda w, lines, t: ("220 go", Read(50), Flood(b"\x16\x03\x03\x40\x00\x0b\x00\xff\xff" + bytes(16380))),
              timed=True),
)


def _data(name, saw, *step, **more):
    timed = more.pop("timed", False)
    make = (lambda w, lines, t: (Read(20000), *step)) if timed else (lambda w, lines: (Read(20000), *step))
    return Behaviour(name, lambda w: saw, make, timed=timed, **more)


MAIL_DATA = (
    Behaviour("reads late", lambda w: Saw("slow"), lambda w, lines: Delay(0.5)),
    _data("FIN", Saw("lost", then="fin"), CLOSE),
    _data("RST", Saw("lost"), RESET),
    _data("4yz, FIN", Saw("whole", 452, then="fin"), b"452 full\r\n", CLOSE),
    _data("421, FIN", Saw("whole", 421, then="fin"), b"421 bye\r\n", CLOSE),
    _data("5yz, FIN", Saw("whole", 552, then="fin"), b"552 too big\r\n", CLOSE),
    _data("4yz, reads on", Saw("whole", 452), Patient(b"452 full\r\n")),
    _data("5yz, reads on", Saw("whole", 552), Patient(b"552 too big\r\n")),
    _data("2yz, reads on", Saw("whole", 250), Patient(b"250 got it\r\n"), timed=True),
    _data("no digits, reads on", Saw("mute"), Patient(b"hello\r\n"), timed=True),
    _data("close_notify, FIN", Saw("lost", then="fin"), CLOSE_NOTIFY, CLOSE, tls=True),
    _data("reads no more", Saw("late"), DEAF, timed=True),
)

CONNECTS = (
    Behaviour("refused", lambda w: Saw("lost"), None),
    Behaviour("unreachable", lambda w: Saw("lost"), world.UNREACHABLE4),
    Behaviour("no route", lambda w: Saw("lost"), world.NOROUTE4),
    Behaviour("packets vanish", lambda w: Saw("late"), world.HOLE4, timed=True),
)

BEHAVIOURS = {"connect": CONNECTS, "handshake": HANDSHAKES, "mail data": MAIL_DATA}

# Where a reply can be too early: the step that its bytes follow.
_PREVIOUS = {"EHLO": "greeting", "STARTTLS": "EHLO", "EHLO in TLS": "STARTTLS", "MAIL": "EHLO", "RCPT": "MAIL",
             "DATA": "RCPT", "end of data": "DATA", "QUIT": "end of data"}

OFFERS = {"none": (), "PIPELINING": ("PIPELINING",)}
TRANSPORTS = ("clear", "TLSv1.2", "TLSv1.3")
VERSIONS = {"TLSv1.2": (ssl.TLSVersion.TLSv1_2,) * 2, "TLSv1.3": (ssl.TLSVersion.TLSv1_3,) * 2}


@dataclass(frozen=True)
class Cell:
    """One session."""
    number: int
    scene: Scene
    behaviour: Behaviour

    @property
    def timed(self):
        return self.behaviour.timed and self.scene.step != "QUIT"

    @property
    def name(self):
        s = self.scene
        return (f"{s.step}: {self.behaviour.name}, {s.transport}, strictness {s.strictness}, offers {s.offer}"
                f"{', another host with ' + s.second if s.second else ''}"
                f"{f', TLSA {s.dane}, MTA-STS {s.sts}' if s.has_policies else ''}")


def _dimensions(step, behaviour, turn):
    """Ways in which a step and a behaviour meet: (transport, strictness, offer, second host).

    All transports and strictnesses; offers and second hosts where they matter, and in turn where they
    hardly do.
    """
    in_tls_only = step in ("STARTTLS", "handshake", "EHLO in TLS") or behaviour.tls
    transports = TRANSPORTS[1:] if in_tls_only else TRANSPORTS[:1] if step == "connect" else TRANSPORTS
    offers = tuple(OFFERS) if step in ("MAIL", "RCPT", "DATA", "mail data", "end of data") else ("PIPELINING",)
    for n, (transport, strictness) in enumerate(itertools.product(transports, (0, 1, 2)), turn):
        hosts = (("", "tls"), ("", "tls", "clear"), ("", "tls"))[strictness]
        if step in rules.BEFORE:
            if transport != "clear" and step in ("greeting", "EHLO"):
                hosts = hosts[:1] if transport == "TLSv1.2" else hosts[1:]
            for host in hosts:
                yield transport, strictness, offers[0], host
        elif transport == "clear" and strictness == 2:
            if behaviour.name in ("as wanted", "5yz", "FIN"):       # the others would never be seen
                for host in hosts:
                    yield transport, strictness, offers[0], host
        elif transport == "clear":
            for m, offer in enumerate(offers, n):
                yield transport, strictness, offer, ("", "tls" if strictness == 0 else "clear")[m % 2]
        else:
            yield transport, strictness, offers[n % len(offers)], ("", "tls")[n // 2 % 2]


POLICIES = tuple(p for p in itertools.product(rules.DANE, rules.STS) if p != ("none", "none"))


def _with_policies(step, behaviour, ways):
    """The ways in which a step and a behaviour meet under each pair of policies: one, and one for each strictness where
    the certificate matters."""
    for dane, sts in POLICIES:
        for part in [[w for w in ways if w[1] == s] for s in (0, 1, 2)] if step == "handshake" else [ways]:
            yield *part[zlib.crc32(repr((step, behaviour.name, dane, sts)).encode()) % len(part)], dane, sts


def cells():
    """The whole matrix."""
    found = []
    for step in rules.STEPS:
        for turn, behaviour in enumerate(BEHAVIOURS.get(step, REPLIES)):
            if behaviour.name == "too early" and step not in _PREVIOUS:
                continue
            if behaviour.tls and step in ("greeting", "EHLO", "STARTTLS", "QUIT"):
                continue
            ways = list(_dimensions(step, behaviour, turn))
            for way in ways + (list(_with_policies(step, behaviour, ways)) if step in rules.BEFORE else []):
                scene = Scene(step, behaviour.saw(WANTED.get(step)), *way)
                found.append(Cell(len(found), scene, behaviour))
    return found


def sample(all_cells):
    """Each step with each behaviour once, and each combination of the rest about as often as the others; each pair of
    policies with each step and kind of behaviour that takes no time."""
    found = {}
    for cell in all_cells:
        scene = cell.scene
        key = (scene.step, cell.behaviour.name)
        if scene.has_policies:
            if scene.step == "connect" or scene.saw.kind == "broken" or cell.timed:
                continue
            key = (scene.step, scene.saw.kind, scene.dane, scene.sts)
        found.setdefault(key, []).append(cell)
    return [options[zlib.crc32(repr(key).encode()) % len(options)] for key, options in found.items()]


# The server's part of a session.

def _ehlo_lines(scene, inside):
    lines = ["hi", *OFFERS[scene.offer]]
    if scene.tls and not inside:
        lines.append("STARTTLS")
    return lines


def _end(session):
    return "250 got it" if session.mails[-1].recipients else "554 no valid recipients"


def script(cell, timeout):
    """What the first server says, as smtpd wants it."""
    scene = cell.scene
    lines = {
        "EHLO": _ehlo_lines(scene, False), "EHLO in TLS": _ehlo_lines(scene, True),
        "greeting": ["hi"], "STARTTLS": ["go"], "end of data": ["got it"],
    }
    out = {
        "greeting": "220 hi",
        "EHLO": [reply(250, lines["EHLO"]), reply(250, lines["EHLO in TLS"])],
        "STARTTLS": ("220 go", TLS) if scene.tls else "502 what",
        "END": Call(_end),
    }
    if scene.saw.kind == "early":
        _too_early(scene, lines, out)
    else:
        _at_step(cell, timeout, lines, out)
    out["greeting"] = (AT_ONCE, out["greeting"])
    return out


def _at_step(cell, timeout, lines, out):
    scene, behaviour, step = cell.scene, cell.behaviour, cell.scene.step

    def play(wanted, text):
        return behaviour.step(wanted, text, timeout or 1) if behaviour.timed else behaviour.step(wanted, text)

    wanted = WANTED.get(step)
    here = play(wanted, lines.get(step, ["ok"]))
    if step == "EHLO":
        out["EHLO"][0] = here
    elif step == "EHLO in TLS":
        out["EHLO"][1] = here
    elif step == "STARTTLS":
        goes_on = scene.saw.kind == "whole" and scene.saw.code == 220 and not scene.saw.then
        out["STARTTLS"] = (here, TLS) if goes_on else here
    elif step == "handshake":
        out["STARTTLS"] = here
    elif step == "mail data":
        out["DATA"] = ("354 go", here) if scene.saw.kind != "slow" else As(3, "354 go", here)
    elif step == "end of data":
        out["END"] = here
    else:
        out[step] = here


def _too_early(scene, lines, out):
    """The reply to this step, behind the reply to the one before."""
    step = scene.step
    before = _PREVIOUS[step]
    inside = step == "MAIL" and scene.tls
    early = reply(WANTED[step], lines.get(step, ["ok"]))
    both = reply(WANTED[before], lines["EHLO in TLS" if inside else before] if before in lines else ["ok"]) + early
    nothing = {"EHLO": None, "DATA": As(3), "MAIL": As(2), "RCPT": As(2)}.get(step)
    if step == "EHLO":
        out["EHLO"][0] = nothing
    elif step == "EHLO in TLS":
        out["EHLO"][1] = nothing
    elif step != "STARTTLS":
        out["END" if step == "end of data" else step] = nothing
    else:
        out["STARTTLS"] = TLS
    if before == "EHLO":
        out["EHLO"][1 if inside else 0] = both
    elif before == "STARTTLS":
        out["STARTTLS"] = (both, TLS)
    else:
        out["END" if before == "end of data" else before] = both
    for key in ("MAIL", "RCPT", "DATA"):
        if isinstance(out.get(key), bytes):
            out[key] = As(out[key][:1].decode(), out[key])
