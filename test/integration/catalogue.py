"""The catalogue of adversarial and fault cases: its groups, its judge, its table.

A case has the id of the catalogue and a name of its own: `H9-dot-5yz`. It says what the server does, how
mail is to leave (`over`, see WAYS), and what qmail-rspawn is to make of the report (`want`). Whatever a
case is about, the judge looks at everything: the report and how qmail-rspawn reads it, the exit status,
what each server saw, what went over the wire in clear text, time and memory.

`pytest_terminal_summary` prints how many cases of each group hold; with -v also what was decided where
the catalogue leaves a choice, and for what reason a case cannot be run.
"""

import os
import re
import resource
import socket
import ssl
import struct
import subprocess
import threading

import pytest

import rspawn
from smtpd import Action
from tlssite import gone

ONE, TWO = "192.0.2.1", "192.0.2.2"
SIX, SIX_TWO = "2001:db8::1", "2001:db8::2"

CATALOGUE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "doc", "CATALOGUE.md")


def read_groups():
    """Title and number of cases of each group, as doc/CATALOGUE.md has them; the ids of a group are without a gap."""
    groups = {}
    with open(CATALOGUE, encoding="utf-8") as f:
        for line in f:
            title = re.match(r"## ([A-Z]): (.+)", line)
            if title:
                letter, groups[title.group(1)] = title.group(1), (title.group(2), 0)
            case = re.match(r"\| ([A-Z])(\d+)(?:-[A-Z](\d+))? \|", line)
            if case:
                first, last = int(case.group(2)), int(case.group(3) or case.group(2))
                assert case.group(1) == letter and first == groups[letter][1] + 1, line
                groups[letter] = (groups[letter][0], last)
    return groups


GROUPS = read_groups()

MESSAGE = b"Subject: catalogue\n\nthis is the body\n"
BIG = b"Subject: catalogue\n\n" + b"this is the body, and it is a long one\n" * 130000     # 5 MB

# What tells of the mail, wherever it is seen. Names of MX hosts are not part of it.
TELLTALE = re.compile(rb"MAIL FROM|RCPT TO|src\.example|dst\.example|catalogue|the body", re.IGNORECASE)

VERBS = {"EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "DATA", "RSET", "QUIT"}

def _cares_parses():
    """Since 1.26 c-ares hands on only messages that it has read and written again itself."""
    said = subprocess.run(["pkg-config", "--modversion", "libcares"], stdout=subprocess.PIPE, check=False).stdout
    return tuple(int(n) for n in said.split(b".")[:2]) >= (1, 26)


CARES_PARSES = _cares_parses()

# Peak resident memory in kB; with sanitizers it says nothing.
MEMORY, MEMORY_TLS = 6 << 10, 24 << 10


class Way:
    """How mail leaves: strictness (None: no trust anchors), TLS versions, what the server offers."""

    def __init__(self, strictness, versions, *ehlo):
        self.strictness, self.versions, self.ehlo = strictness, versions, ehlo


V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
WAYS = {
    "clear": Way(None, None),
    "pipe": Way(None, None, "PIPELINING"),
    "tls12": Way(2, (V12, V12), "PIPELINING"),
    "tls13": Way(2, (V13, V13), "PIPELINING"),
    "opp": Way(0, (V12, V13)),
    "opp12": Way(0, (V12, V12)),
    "opp13": Way(0, (V13, V13)),
    "enc": Way(1, (V12, V13)),
    "ver": Way(2, (V12, V13)),
    "ver12": Way(2, (V12, V12)),
    "ver13": Way(2, (V13, V13)),
}


class Case:
    """One line of a table.

    want        letters that qmail-rspawn may make of it; or a dict of them by way ("opp" covers opp12 too)
    server      script of the MX host; None: nobody listens
    over        ways
    next        there is a second variant, in which a healthy second MX host gets the mail; "only": just that one
    unused      there is a second MX host, and nobody may connect to it
    cert        what the server shows in TLS; None: it offers none
    control     control files; zone: more DNS records, or None for no MX at all
    start       arguments of the delivery: message, recipients, limits, ...
    records     the letters of all records
    within      seconds; see is_timed
    prepare     function of the stage, before the delivery starts
    check       function of the stage, after the judge was content
    play        function of the stage that does it all, up to calling stage.deliver() itself
    says        what was decided
    defect      what is wrong in the program until it is mended
    plain       only a static program without sanitizers can be expected to do it
    cannot      why it is not run at all
    """

    def __init__(self, name, want="Z", server=(), *, over=("clear",), next=False, unused=False, cert="good",
                 control=(), zone="", start=(), records=None, within=None, timeout=None, prepare=None, check=None,
                 play=None, says=None, defect=None, cannot=None, several=False, report=12000, blank=False, memory=None,
                 plain=False, valid=True, verbs=True, marks=(), host="m1.example", address=ONE, body=True, second=None):
        self.name, self.want = name, want
        self.id = name.partition("-")[0]
        self.server = None if server is None else dict(server)
        self.over = (over,) if isinstance(over, str) else tuple(over)
        self.next, self.unused, self.cert, self.host, self.address = next, unused, cert, host, address
        self.control, self.zone, self.start = dict(control), zone, dict(start)
        if timeout is not None:
            self.control.setdefault("timeoutremote", f"{timeout}\n")
        self.records, self.within, self.report, self.memory = records, within, report, memory
        self.prepare, self.check, self.play = prepare, check, play
        self.says, self.defect, self.cannot = says, defect, cannot
        self.several, self.valid, self.verbs, self.body, self.blank = several, valid, verbs, body, blank
        self.second, self.plain = dict(second or ()), plain
        self.marks = list(marks)
        assert self.id[0] in GROUPS and 1 <= int(self.id[1:]) <= GROUPS[self.id[0]][1], name

    def letters(self, way):
        if isinstance(self.want, str):
            return self.want
        return self.want.get(way) or self.want[way.rstrip("0123456789")]


def is_timed(case, way, to_next):
    """Whether this variant is held to its seconds: where the group is about time, and one way is enough."""
    return case.within is not None and case.id[0] in "AJ" and way == case.over[0] and not to_next


def _variants(case):
    for way in case.over:
        if case.next != "only":
            yield way, False
        if case.next:
            yield way, True


def table(cases):
    """Parametrizes test_catalogue(stage, case) with all variants of all cases."""
    params = []
    for case in cases:
        for way, to_next in _variants(case):
            name = case.name + ("" if way == "clear" else f"-{way}") + ("-next" if to_next else "")
            marks = list(case.marks)
            if case.defect:
                marks.append(pytest.mark.xfail(strict=True, reason=case.defect))
            if is_timed(case, way, to_next):
                marks.append(pytest.mark.timed)
            params.append(pytest.param((case, way, to_next), id=name, marks=marks))
    names = [p.id for p in params]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    return pytest.mark.parametrize("case", params)


class As(Action):
    """Play a step, and go on as if the reply had begun with this digit."""

    def __init__(self, digit, *step):
        self.digit, self.step = digit.encode(), step

    def play(self, session):
        session.play(self.step)
        session.last = self.digit


# What went over the wire.

class Wire:
    """All that goes through the loopback interface, to be searched afterwards."""

    SO_RCVBUFFORCE = 33
    OUTGOING = 4

    def __init__(self):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sock.bind(("lo", 0))
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, self.SO_RCVBUFFORCE, 32 << 20)
        except OSError:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 20)
        self.sock.setblocking(False)

    def streams(self):
        """{(address, port) it went to: bytes}, TCP only."""
        found = {}
        while True:
            try:
                data, where = self.sock.recvfrom(1 << 17)
            except BlockingIOError:
                self.sock.close()
                return found
            if where[2] == self.OUTGOING or not data:
                continue
            if data[0] >> 4 == 4 and data[9] == 6:
                address, tcp = socket.inet_ntop(socket.AF_INET, data[16:20]), data[(data[0] & 15) * 4:]
            elif data[0] >> 4 == 6 and data[6] == 6:
                address, tcp = socket.inet_ntop(socket.AF_INET6, data[24:40]), data[40:]
            else:
                continue
            port, = struct.unpack_from("!H", tcp, 2)
            found.setdefault((address, port), bytearray()).extend(tcp[(tcp[12] >> 4) * 4:])


class Peak(threading.Thread):
    """The largest resident size of a process and of its children, in kB."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.over = pid, threading.Event()
        self.own = self.helper = 0
        self.start()

    @staticmethod
    def _size(pid):
        try:
            with open(f"/proc/{pid}/status", encoding="latin-1") as f:
                text = f.read()
        except OSError:
            return 0
        name, size = text.split("\n", 1)[0], re.search(r"^VmHWM:\s*(\d+)", text, re.MULTILINE)
        return int(size.group(1)) if size and "qmail-remote" in name else 0

    def look(self):
        self.own = max(self.own, self._size(self.pid))
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as f:
                children = f.read().split()
        except OSError:
            children = []
        for pid in children:
            self.helper = max(self.helper, self._size(pid))

    def run(self):
        pause = 0.005
        while not self.over.wait(pause):
            self.look()
            pause = min(0.1, pause * 1.5)

    def stop(self):
        self.over.set()
        self.join()


def stored(message):
    """The message as a server ought to store it: CR before LF belongs to the line end, others are blanks."""
    text = message.replace(b"\r\n", b"\n").replace(b"\r", b" ")
    return text if not text or text.endswith(b"\n") else text + b"\n"


_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class Stage:
    """What a case is played on; after the delivery also what came of it."""

    def __init__(self, home, smtp, dns, certs, notes):
        self.home, self.smtp, self.dns, self.certs = home, smtp, dns, certs
        self.servers = []
        self.first = self.second = None
        self.case = self.way = None
        self.run = self.peak = None
        self.notes = notes
        self.sanitized, self.dynamic, self.musl = (k in home.kind for k in ("sanitizer", "loader", "musl"))

    # Setting up.

    def server(self, address=ONE, cert=False, host="m1.example", context=None, **script):
        """A server that offers what this way of delivery needs."""
        if cert is False:
            cert = self.case.cert
        if context is None and cert is not None and self.way.versions:
            low, high = self.way.versions
            leaf = self.certs.leaf(cert, host) if isinstance(cert, str) else cert
            context = self.certs.context(leaf, minimum=low, maximum=high)
        script.setdefault("ehlo", self.way.ehlo)
        server = self.smtp(address, tls=context, **script)
        self.servers.append(server)
        return server

    def demand(self, strictness, anchors=None):
        self.home.control("trustanchors", f"{anchors or self.certs.bundle}\n")
        self.home.control("tlsstrictness", f"{strictness}\n")

    def set_up(self, case, way, to_next):
        self.case, self.way = case, WAYS[way]
        # Beside other tests a delivery may take long; one that waits for a time-out too many takes longer.
        within = case.within or 5
        self.within = within if is_timed(case, way, to_next) and rspawn.TIMED else 3 * within + 10
        self.wanted = "K" if to_next else case.letters(way)
        self.home.control("timeoutconnect", "2\n")
        self.home.control("timeoutremote", "5\n")
        if self.way.strictness is not None:
            self.demand(self.way.strictness)
        for name, text in case.control.items():
            self.home.control(name, text)
        if case.zone is not None:
            self.dns.zone(case.zone)
            if not re.search(r"^\s*dst\.example\s", case.zone, re.MULTILINE):
                kind = "AAAA" if ":" in case.address else "A"
                self.dns.zone(f"dst.example MX 10 {case.host}.\n{case.host} {kind} {case.address}")
            if to_next or case.unused:
                self.dns.zone(f"dst.example MX 20 m2.example.\nm2.example A {TWO}")
        if case.server is not None:
            self.first = self.server(case.address, host=case.host, **case.server)
        if to_next or case.unused:
            self.second = self.server(TWO, cert="good", host="m2.example", **case.second)

    # The delivery.

    @property
    def is_demanded(self):
        return self.way.strictness == 2

    def begin(self, **how):
        how = {"message": MESSAGE, **self.case.start, **how}
        tight = {resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_STACK} & set(how.get("limits") or ())
        if self.sanitized and (tight or "strace" in how.get("program", "")):
            self.cannot("sanitizers need memory, and not to be traced")
        if self.case.plain and (self.sanitized or self.dynamic):
            self.cannot("what a loader or a sanitizer does before our time is not ours")
        return self.home.start(**how)

    def deliver(self, process=None, within=None, **how):
        """A whole delivery; its run is not judged yet."""
        if process is None:
            process = self.begin(**how)
        self.peak = Peak(process.pid)
        try:
            self.run = process.finish(timeout=(within or self.within) + 20)
        finally:
            self.peak.stop()
        return self.run

    @property
    def sessions(self):
        for server in self.servers:
            server.settle()
        return [s for server in self.servers for s in server.sessions]

    @property
    def mails(self):
        """Complete ones that had a recipient."""
        return [m for s in self.sessions for m in s.mails if m.complete and m.recipients]

    # The judge.

    def _report_faults(self):
        case, run = self.case, self.run
        letter = run.rspawn[:1].decode()
        if letter not in self.wanted:
            yield f"qmail-rspawn makes {letter} of it, not {self.wanted}"
        if not case.valid:
            return
        if run.status != 0:
            yield f"wait status {run.status}"
        try:
            records = run.records
        except rspawn.Malformed as e:
            yield str(e)
            return
        if case.records is not None and self.wanted == case.letters_here and run.letters != case.records:
            yield f"records {run.letters}, not {case.records}"
        for r in records:
            if _CONTROL.search(r.text):
                yield f"control bytes in {r}"
            if b"\n\n" in r.text and not case.blank:
                yield f"an empty line in {r}"
        if len(run.report) > case.report:
            yield f"{len(run.report)} bytes of report"
        if run.held >= 0.5:
            yield f"something held the report pipe {run.held:.1f} s longer"

    def _delivery_faults(self):
        """Nothing lost, nothing twice."""
        case, mails = self.case, self.mails
        letter = self.run.rspawn[:1]
        if letter == b"K" and not mails:
            yield "K, and no server has the message"
        told = re.search(rb"Possible duplicate|Remote host said: [45]", self.run.report)
        if letter != b"K" and mails and not case.several and not told:
            yield "a server has the message, and nothing tells of it"
        if len(mails) > 1 and not case.several:
            yield f"{len(mails)} messages"
        if self.second is not None and case.unused and self.second.connections:
            yield "the second host was tried"
        if self.second is not None and not case.unused and not self.second.mails:
            yield "the second host did not get the message"

    def _message_faults(self):
        message = self.case.start.get("message", MESSAGE)
        for s in self.sessions:
            for m in s.mails:
                if not (m.complete and m.recipients and s.server.keep and self.case.body):
                    continue
                if _BARE.search(m.wire):
                    yield f"a bare CR or LF on the wire: {m.wire[:200]!r}"
                if isinstance(message, bytes) and m.text != stored(message):
                    yield f"another message: {m.text[:200]!r}"

    def _dialogue_faults(self):
        for s in self.sessions:
            odd = set(s.verbs) - VERBS
            if odd and self.case.verbs:
                yield f"odd commands {sorted(odd)[:5]} at {s.server.address}"
            if s.early:
                yield f"{s.early!r} behind STARTTLS"
            if s.tls and TELLTALE.search(bytes(s.clear)):
                yield "the mail was told before TLS"

    def _wire_faults(self):
        for s in self.sessions:
            if TELLTALE.search(bytes(s.clear)):
                yield f"told in clear text to {s.server.address}: {bytes(s.clear)!r}"
        for where, data in self.wire.streams().items():
            if where[1] != 53 and TELLTALE.search(data):
                yield f"seen in clear text on its way to {where}"

    def _cost_faults(self):
        case, run = self.case, self.run
        if run.wall > self.within:
            yield f"{run.wall:.1f} s, more than {self.within}"
        if self.sanitized:
            return
        if self.peak.own > (case.memory or MEMORY):
            yield f"{self.peak.own} kB resident"
        if self.peak.helper > MEMORY_TLS:
            yield f"{self.peak.helper} kB resident in qmail-remote-tls"

    def judge(self, with_wire=True):
        """The wire can be searched once; a case of several deliveries judges the others without."""
        self.case.letters_here = self.wanted if self.second is None or self.case.unused else None
        finders = [self._report_faults, self._delivery_faults, self._message_faults, self._dialogue_faults,
                   self._cost_faults]
        if with_wire and self.is_demanded:
            finders.append(self._wire_faults)
        faults = [f for find in finders for f in find()]
        assert not faults, "\n".join([*faults, repr(self.run)[:3000]])
        if self.way.strictness is not None:
            gone()

    def hold(self, param):
        """Play one variant of a case and judge it."""
        case, way, to_next = param
        self.notes.append(("catalogue", case.id))
        if case.says:
            self.notes.append(("decision", case.says))
        if case.defect:
            self.notes.append(("defect", case.defect))
        if case.cannot:
            self.notes.append(("cannot", case.cannot))
            pytest.skip(f"cannot: {case.cannot}")
        self.set_up(case, way, to_next)
        if self.is_demanded:
            self.wire = Wire()
        if case.prepare:
            case.prepare(self)
        if case.play:
            case.play(self)
        else:
            self.deliver()
        if self.run is not None:
            self.judge()
        if case.check and not to_next:
            case.check(self)

    # For the checks of single cases.

    def cannot(self, why):
        self.notes.append(("cannot", why))
        pytest.skip(f"cannot: {why}")


@pytest.fixture
def stage(home, smtp, dns, certs, request):
    return Stage(home, smtp, dns, certs, request.node.user_properties)


# The table of a test run.

class _Row:
    def __init__(self):
        self.outcomes = set()
        self.notes = {}

    @property
    def state(self):
        if "failed" in self.outcomes:
            return "fails"
        if "defect" in self.outcomes:
            return "known defect"
        return "holds" if "passed" in self.outcomes else "cannot"


def _gather(reporter):
    rows = {}
    for outcome in ("passed", "failed", "error", "skipped", "xfailed", "xpassed"):
        for report in reporter.stats.get(outcome, ()):
            notes = list(getattr(report, "user_properties", ()))
            for key, name in notes:
                if key != "catalogue":
                    continue
                row = rows.setdefault(name, _Row())
                row.outcomes.add({"xfailed": "defect", "error": "failed", "xpassed": "failed"}.get(outcome, outcome))
                for kind, text in notes:
                    if kind != "catalogue":
                        row.notes.setdefault(kind, set()).add(text)
    return rows


def _print_group(write, letter, rows):
    title, total = GROUPS[letter]
    here = {name: row for name, row in rows.items() if name[0] == letter}
    count = {}
    for row in here.values():
        count[row.state] = count.get(row.state, 0) + 1
    rest = [f"{n} {what}" for what, n in sorted(count.items()) if what != "holds"]
    if len(here) < total:
        rest.append(f"{total - len(here)} not run")
    write(f"{letter}  {title:42}{count.get('holds', 0):4} of {total:3}  {', '.join(rest)}".rstrip())


def pytest_terminal_summary(terminalreporter):
    rows = _gather(terminalreporter)
    if not rows:
        return
    write = terminalreporter.write_line
    terminalreporter.write_sep("=", "catalogue: cases that hold")
    for letter in sorted({name[0] for name in rows}):
        _print_group(write, letter, rows)
    held = sum(row.state == "holds" for row in rows.values())
    total = sum(GROUPS[letter][1] for letter in {name[0] for name in rows})
    write(f"   {'all of these groups':42}{held:4} of {total:3}")
    for name, row in sorted(rows.items(), key=lambda item: (item[0][0], int(item[0][1:]))):
        if row.state == "fails":
            write(f"{name} fails")
        kinds = ("defect", "cannot", "decision") if terminalreporter.verbosity > 0 else ("defect", "cannot")
        for kind in kinds:
            for text in sorted(row.notes.get(kind, ())):
                write(f"{name} {kind}: {text}")
