"""The catalogue of adversarial and fault cases: its groups, the form of its tables, what is printed of it.

A case has the id of doc/CATALOGUE.md and a name of its own: `H9-250`. It says what is set up (Setup), how the
delivery is started (Start), what must come of it (Want), and in which ways mail is to leave (`over`, see WAYS).
Whatever a case is about, the judge (judge.py) looks at everything.

`pytest_terminal_summary` prints how many cases of each group hold; with -v also what was decided where the catalogue
leaves a choice, and for what reason a case cannot be run.
"""

import os
import re

import pytest

from expect_tls import Fate

ONE, TWO = "192.0.2.1", "192.0.2.2"
SIX = "2001:db8::1"

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


class Way:
    """How mail leaves: strictness (None: no trust anchors), TLS versions, what the server offers."""

    def __init__(self, strictness, versions, *ehlo):
        self.strictness, self.versions, self.ehlo = strictness, versions, ehlo


WAYS = {
    "clear": Way(None, None),
    "pipe": Way(None, None, "PIPELINING"),
    "tls12": Way(2, ("1.2", "1.2"), "PIPELINING"),
    "tls13": Way(2, ("1.3", "1.3"), "PIPELINING"),
    "opp": Way(0, ("1.2", "1.3")),
    "opp12": Way(0, ("1.2", "1.2")),
    "opp13": Way(0, ("1.3", "1.3")),
    "enc": Way(1, ("1.2", "1.3")),
    "ver": Way(2, ("1.2", "1.3")),
    "ver12": Way(2, ("1.2", "1.2")),
    "ver13": Way(2, ("1.3", "1.3")),
}


class Setup:
    """What is there before a delivery starts.

    script      what the MX host says, as smtpd.Server wants it
    listens     whether there is anybody
    cert        what it shows in TLS; None: it offers none
    host, address   of the MX host
    control     control files; timeout: timeoutremote
    zone        more DNS records, or None for no MX at all
    prepare     function of the stage, when all this stands
    """

    def __init__(self, *, listens=True, cert="good", host="m1.example", address=ONE, control=(), timeout=None, zone="",
                 prepare=None, **script):
        self.script, self.listens, self.cert, self.host, self.address = script, listens, cert, host, address
        self.control, self.zone, self.prepare = dict(control), zone, prepare
        if timeout is not None:
            self.control["timeoutremote"] = f"{timeout}\n"


class Start:
    """How the delivery is started: `how` as home.start() wants it: message, recipients, limits...

    play        function of the stage that does it all, up to calling stage.deliver() itself
    """

    def __init__(self, play=None, **how):
        self.play, self.how = play, how


def injecting(call, what, *options):
    """Started with a fault in a system call: see strace(1)."""
    return Start(play=lambda stage: stage.deliver_traced("-e", f"trace={call}", "-e", f"inject={call}:{what}", *options))


class Want:
    """What must come out.

    what        letters: qmail-rspawn makes one of them of the report; or a Fate of expect_tls; or records as
                expect.check() takes them, from which the letter follows
    records     the letters of all records
    check       function of the stage, when the judge is content
    within      seconds; see Variant.is_timed
    size, memory    bytes of the report and kB of memory, at most
    several     servers may have more than one message, or one of which the report tells nothing
    body        False: the message that the server has is not looked at
    blank       the report may have an empty line
    report      False: there may be none, or half of one
    proof       pattern of how the last line says that the server was authenticated, if not by strictness alone; or a
                function of the strictness that gives it
    secret      nothing of the mail may go in clear text, whatever the strictness
    """

    def __init__(self, what, *, records=None, check=None, within=None, size=12000, memory=None, several=False, body=True,
                 blank=False, report=True, proof=None, secret=False):
        self.fate = what if isinstance(what, Fate) else None
        self.exactly = what if isinstance(what, list) else None
        self._letters = what if isinstance(what, str) else None
        self.records, self.check, self.within, self.size, self.memory = records, check, within, size, memory
        self.several, self.body, self.blank, self.report = several, body, blank, report
        self._proof, self.secret = proof, secret

    def letters(self, strictness):
        if self.fate:
            return "K" if self.fate.delivers(strictness) else "Z"
        return self._letters or letter_of(self.exactly)

    def proof(self, strictness):
        if self._proof:
            return self._proof(strictness) if callable(self._proof) else self._proof
        return "certificate verified for .*" if strictness == 2 else "certificate not verified"


def letter_of(records):
    """What qmail-rspawn makes of them: a refused recipient counts more than the message."""
    letters = "".join(r[0] for r in records)
    return {"h": "D", "s": "Z"}.get(letters[0], letters[-1])


class Case:
    """One line of a table.

    over        ways
    next        there is a second variant where the mail fails, in which a healthy second MX host gets it; "only": just
                that one
    unused      there is a second MX host, and nobody may connect to it
    says        what was decided
    plain       only a static program without sanitizers can be expected to do it
    cannot      why it is not run at all
    """

    def __init__(self, name, setup=None, want=None, start=None, *, over=("clear",), next=False, unused=False, says=None,
                 plain=False, cannot=None, marks=()):
        self.name, self.id = name, name.partition("-")[0]
        self.setup, self.start = setup or Setup(), start or Start()
        self.want = want if isinstance(want, Want) else Want(want)
        self.within = self.want.within or 5
        self.over = (over,) if isinstance(over, str) else tuple(over)
        self.next, self.unused = next, unused
        self.says, self.plain, self.cannot, self.marks = says, plain, cannot, list(marks)
        assert self.id[0] in GROUPS and 1 <= int(self.id[1:]) <= GROUPS[self.id[0]][1], name

    @property
    def variants(self):
        for way in self.over:
            if self.next != "only":
                yield Variant(self, way)
            if self.next and not (self.want.fate and self.want.fate.keeps_others_out(WAYS[way].strictness)):
                yield Variant(self, way, to_next=True)


class Variant:
    """A case, a way, and whether the mail is to go to the next host."""

    def __init__(self, case, way, to_next=False):
        self.case, self.way, self.to_next = case, way, to_next
        self.name = case.name + ("" if way == "clear" else f"-{way}") + ("-next" if to_next else "")

    @property
    def strictness(self):
        return WAYS[self.way].strictness

    @property
    def letters(self):
        return "K" if self.to_next else self.case.want.letters(self.strictness)

    @property
    def has_second(self):
        fate = self.case.want.fate
        return self.to_next or self.case.unused or fate and fate.keeps_others_out(self.strictness)

    @property
    def is_timed(self):
        """Whether it is held to its seconds: where the group is about time, and one way is enough."""
        return self.case.want.within and self.case.id[0] in "AJ" and self.way == self.case.over[0] and not self.to_next


# Checks that many cases make.

def not_connected(stage):
    assert not stage.sessions, stage.sessions


def says(*texts):
    """The report has these texts."""
    def check(stage):
        for text in texts:
            assert text.encode() in stage.run.report, stage.run
    return check


def sessions(count):
    def check(stage):
        assert len(stage.sessions) == count, stage.sessions
    return check


def table(cases):
    """Parametrizes test_catalogue(stage, variant) with all variants of all cases."""
    params = []
    for variant in (v for case in cases for v in case.variants):
        marks = [*variant.case.marks, *([pytest.mark.timed] if variant.is_timed else [])]
        params.append(pytest.param(variant, id=variant.name, marks=marks))
    names = [p.id for p in params]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    return pytest.mark.parametrize("variant", params)


# The table of a test run.

class _Row:
    def __init__(self):
        self.outcomes = set()
        self.notes = {}

    @property
    def state(self):
        if "failed" in self.outcomes:
            return "fails"
        return "holds" if "passed" in self.outcomes else "cannot"


def _gather(reporter):
    rows = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in reporter.stats.get(outcome, ()):
            notes = list(getattr(report, "user_properties", ()))
            for name in (text for kind, text in notes if kind == "catalogue"):
                row = rows.setdefault(name, _Row())
                row.outcomes.add("failed" if outcome == "error" else outcome)
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
        for kind in ("cannot", "decision") if terminalreporter.verbosity > 0 else ("cannot",):
            for text in sorted(row.notes.get(kind, ())):
                write(f"{name} {kind}: {text}")
