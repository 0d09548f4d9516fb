"""What must hold for every delivery, whatever it is about.

faults() looks at everything: the report and how qmail-rspawn reads it, the exit status, what each server saw, what went
over the wire in clear text, time and memory.
"""

import re

import expect_tls
import rspawn
from catalogue import Want
from expect import check, wire
from tlssite import gone, tls_line

VERBS = {"EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "QUIT"}

# What tells of the mail, wherever it is seen. Names of MX hosts are not part of it.
TELLTALE = re.compile(rb"MAIL FROM|RCPT TO|src\.example|dst\.example|catalogue|the body", re.IGNORECASE)

# Peak resident memory in kB; with sanitizers it says nothing.
MEMORY, MEMORY_TLS = 6 << 10, 24 << 10

_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")


def faults_of_report(run, size=12000, blank=False):
    """Of any report: its form."""
    if run.status != 0:
        yield f"wait status {run.status}"
    try:
        records = run.records
    except rspawn.Malformed as e:
        yield str(e)
        return
    for r in records:
        if _CONTROL.search(r.text):
            yield f"control bytes in {r}"
        if b"\n\n" in r.text and not blank:
            yield f"an empty line in {r}"
    if len(run.report) > size:
        yield f"{len(run.report)} bytes of report"
    if run.held >= 1:
        yield f"something held the report pipe {run.held:.1f} s longer"


def _report(stage, variant):
    want, run = variant.case.want, stage.run
    letter = run.rspawn[:1].decode()
    if letter not in variant.letters:
        yield f"qmail-rspawn makes {letter} of it, not {variant.letters}"
    if not want.report:
        return
    yield from faults_of_report(run, want.size, want.blank)
    if variant.to_next:
        return
    if want.records and run.letters != want.records:
        yield f"records {run.letters}, not {want.records}"
    if want.exactly:
        yield from told(check, run, *want.exactly)


def told(look, *arguments, **words):
    """What a function that asserts has to say."""
    try:
        look(*arguments, **words)
    except AssertionError as e:
        yield f"{look.__name__}: {e}"


def _tls(stage, variant):
    """What the report says of TLS, of the session that got as far as MAIL."""
    if not variant.case.want.report:
        return
    session = next((s for s in reversed(stage.sessions) if "MAIL" in s.verbs), None)
    if session is None:
        return
    line = tls_line(stage.run)
    if session.tls:
        want = Want("K") if variant.to_next else variant.case.want
        if not re.fullmatch(f"{session.tls['version']} [A-Za-z0-9_ -]+, {want.proof(stage.way.strictness)}", line or ""):
            yield f"sent with {session.tls['version']}, and the report says {line!r}"
    elif line and not line.endswith(", sent in clear text"):
        yield f"sent in clear text, and the report says {line!r}"


def _fate(stage, variant):
    fate, strictness = variant.case.want.fate, stage.way.strictness
    if not fate:
        return
    if variant.to_next:
        good = expect_tls.IN_TLS if stage.second.tls else expect_tls.NOT_OFFERED
        yield from told(expect_tls.check_delivery, stage.run, good, strictness, stage.second, name="m2.example")
        yield from told(expect_tls.got_nothing, stage.first)
    elif fate.delivers(strictness):
        yield from told(expect_tls.check_delivery, stage.run, fate, strictness, stage.first,
                        name=variant.case.setup.host)
    else:
        yield from told(expect_tls.check_given_up, stage.run, fate, stage.first)


def _delivery(stage, variant):
    """Nothing lost, nothing twice."""
    want, mails, second = variant.case.want, stage.mails, stage.second
    letter = stage.run.rspawn[:1]
    if letter == b"K" and not mails:
        yield "K, and no server has the message"
    says_so = re.search(rb"Possible duplicate|Remote host said: [45]", stage.run.report)
    if letter != b"K" and mails and not want.several and not says_so:
        yield "a server has the message, and nothing tells of it"
    if len(mails) > 1 and not want.several:
        yield f"{len(mails)} messages"
    if second and not variant.to_next and second.connections:
        yield "the second host was tried"
    if variant.to_next and not second.mails:
        yield "the second host did not get the message"


def _message(stage, variant):
    mails = [m for s in stage.sessions for m in s.mails if m.complete and m.recipients and s.server.keep]
    if not mails or not variant.case.want.body or not isinstance(stage.message, bytes):
        return
    wanted = wire(stage.message)
    for m in mails:
        if m.wire != wanted:
            at = next((n for n, (a, b) in enumerate(zip(m.wire, wanted)) if a != b), min(len(m.wire), len(wanted)))
            yield f"another message from byte {at} on: {m.wire[at:at + 100]!r}, not {wanted[at:at + 100]!r}"


def _dialogue(stage, _):
    for s in stage.sessions:
        odd = set(s.verbs) - VERBS
        if odd:
            yield f"odd commands {sorted(odd)[:5]} at {s.server.address}"
        if s.early:
            yield f"{s.early!r} behind STARTTLS"
        if s.tls and TELLTALE.search(bytes(s.clear)):
            yield "the mail was told before TLS"


def _wire(stage):
    """Where TLS is demanded nothing is told in clear text."""
    for s in stage.sessions:
        if TELLTALE.search(bytes(s.clear)):
            yield f"told in clear text to {s.server.address}: {bytes(s.clear)!r}"
    # A name server, and a policy host, learn the domain.
    for where, data in stage.wire.streams().items():
        if where[1] not in (53, 443) and TELLTALE.search(data):
            yield f"seen in clear text on its way to {where}"


def _cost(stage, variant):
    if stage.run.wall > stage.within:
        yield f"{stage.run.wall:.1f} s, more than {stage.within}"
    if stage.sanitized:
        return
    if stage.peak.own > (variant.case.want.memory or MEMORY):
        yield f"{stage.peak.own} kB resident"
    if stage.peak.helper > MEMORY_TLS:
        yield f"{stage.peak.helper} kB resident in qmail-remote-tls"


def judge(stage, variant, with_wire):
    found = [f for find in (_report, _fate, _tls, _delivery, _message, _dialogue, _cost) for f in find(stage, variant)]
    if with_wire and stage.is_demanded:
        found += _wire(stage)
    assert not found, "\n".join([*found, repr(stage.run)[:3000]])
    if stage.way.strictness is not None:
        gone()
