"""What the server at an address could not bear is left out for some hours; and what failed before is told."""

import os
import re
import socket
import struct
import time

import pytest

from expect import accepted, check, died
from smtpd import CLOSE, DEAF, RESET, Call
from tlssite import tls_line

ONE, TWO, SIX = "192.0.2.1", "192.0.2.2", "2001:db8::1"
KINDS = ("pipelining", "stall", "ehlo", "tls")


def path(home):
    return f"{home.run_path}/addresses"


def _bytes(address):
    return socket.inet_pton(socket.AF_INET6, address if ":" in address else f"::ffff:{address}")


def remembered(home):
    """What the file says, as its format is written down: address and kind."""
    with open(path(home), "rb") as f:
        data = f.read()
    assert len(data) == 8192
    found = {}
    for at in range(0, len(data), 32):
        times = struct.unpack_from("<4I", data, at + 16)
        for kind, when in zip(KINDS, times):
            if when:
                found[data[at:at + 16], kind] = when
    return found


def notes(home):
    return {(address, kind) for address in (ONE, TWO, SIX) for kind in KINDS if (_bytes(address), kind) in remembered(home)}


def remember(home, address, kind, age):
    times = [0] * 4
    times[KINDS.index(kind)] = int(time.time()) - age
    with open(path(home), "wb") as f:
        f.write((_bytes(address) + struct.pack("<4I", *times)).ljust(8192, b"\0"))


def lines(run):
    return run.message.text.decode().splitlines()


# PIPELINING.

OFFERED = "250-mx\n250 PIPELINING"


@pytest.mark.parametrize("how", [dict(RCPT="503 bad sequence"), dict(RCPT=CLOSE), dict(RCPT=DEAF), dict(MAIL=RESET)],
                         ids=["503", "closed", "silent", "reset"])
def test_broken_pipelining_is_remembered(home, relay, how):
    """The next delivery goes one by one, for four hours; not on the same connection."""
    relay(EHLO=OFFERED, **how)
    home.control("timeoutremote", "1\n")
    run = home.run()
    assert run.message.letter == "Z", run
    assert notes(home) == {(ONE, "pipelining")}


@pytest.mark.parametrize("age, together", [(None, True), (60, False), (4 * 3600 - 60, False), (4 * 3600 + 60, True)])
def test_after_broken_pipelining_commands_go_one_by_one_for_four_hours(home, relay, age, together):
    """Before it has replied to MAIL a server has RCPT, or it has not."""
    seen = []

    def look(session):
        seen.append(b"RCPT" in session.buffer)
        return "250 ok"

    relay(EHLO=OFFERED, MAIL=Call(look))
    if age is not None:
        remember(home, ONE, "pipelining", age)
    check(home.run(), "r", accepted())
    assert seen == [together]


def test_a_refusal_is_not_remembered(home, relay):
    relay(EHLO=OFFERED, RCPT="550 no such user")
    home.run()
    assert notes(home) == set()


# Mail data.

@pytest.mark.parametrize("how, kept", [(dict(END=DEAF), True), (dict(END=CLOSE), True), (dict(DATA=("354 go", RESET)), False)],
                         ids=["no-reply", "closed", "reset"])
def test_stalled_mail_data_is_remembered(home, relay, how, kept):
    relay(**how)
    home.control("timeoutremote", "1\n")
    run = home.run(message=(b"x" * 76 + b"\n") * (100 if kept else 100000))
    assert run.letters == "rZ", run
    assert notes(home) == ({(ONE, "stall")} if kept else set())


def test_mail_data_that_the_network_swallows_is_remembered(home, relay):
    relay(DATA=("354 go", DEAF))
    home.control("timeoutremote", "1\n")
    run = home.run(message=(b"x" * 76 + b"\n") * 200000, timeout=60)
    assert run.letters == "rZ" and b"Possible duplicate" not in run.report, run
    assert notes(home) == {(ONE, "stall")}


def test_stalled_address_goes_behind_the_others_of_its_host(home, smtp, dns):
    """A black hole for large packets on IPv6 alone: the second try goes by IPv4."""
    hole = smtp(SIX, END=DEAF)
    smtp(ONE)
    dns.zone(f"dst.example MX 5 m1.example.\nm1.example A {ONE}\nm1.example AAAA {SIX}")
    home.control("timeoutremote", "1\n")
    run = home.run()
    check(run, "r", ("Z", f"Connected to {SIX} but connection died. Possible duplicate! (#4.4.2)"))
    check(home.run(), "r", accepted(ONE))
    assert hole.connections == 1
    remember(home, SIX, "stall", 4 * 3600 + 60)
    home.run()
    assert hole.connections == 2


# EHLO.

def test_ehlo_that_was_answered_by_a_hang_up_is_left_out_next_time(home, relay):
    """HELO at once, for half an hour, in one connection instead of two."""
    server = relay(EHLO=CLOSE)
    check(home.run(), "r", accepted())
    assert notes(home) == {(ONE, "ehlo")} and server.connections == 2
    when = remembered(home)
    check(home.run(), "r", accepted())
    assert server.connections == 3 and server.sessions[-1].commands[0][1].startswith(b"HELO")
    assert remembered(home) == when, "a note that was heeded is not renewed"
    remember(home, ONE, "ehlo", 1801)
    check(home.run(), "r", accepted())
    assert server.connections == 5


def test_ehlo_is_not_remembered_without_a_delivery(home, relay):
    relay(EHLO=CLOSE, RCPT="550 no")
    home.run()
    assert notes(home) == set()


@pytest.mark.parametrize("strictness", [1, 2])
def test_ehlo_is_sent_in_spite_of_the_memory_where_tls_is_demanded(site, strictness):
    """What is remembered takes nothing away from what is demanded."""
    server = site.one(strictness)
    remember(site.home, ONE, "ehlo", 60)
    check(site.run(), "r", accepted())
    assert [bool(s.tls) for s in server.sessions] == [True] and notes(site.home) == {(ONE, "ehlo")}


def test_ehlo_left_out_is_told(site):
    site.one(0)
    remember(site.home, ONE, "ehlo", 60)
    run = site.home.run()
    check(run, "r", accepted())
    assert re.fullmatch(r"not tried, EHLO had no usable reply at \d\d:\d\d", tls_line(run)), run


# TLS.

def test_a_handshake_that_hung_is_left_out_for_half_an_hour(site):
    """For half an hour clear text at once, and the report says so."""
    server = site.one(0, STARTTLS=("220 go", DEAF))
    site.home.control("timeoutconnect", "1\n")
    run = site.home.run()
    check(run, "r", accepted())
    assert notes(site.home) == {(ONE, "tls")}, run
    when = remembered(site.home)
    before = server.connections
    run = site.home.run()
    check(run, "r", accepted())
    assert server.connections == before + 1
    assert re.fullmatch(r"not tried, the handshake hung at \d\d:\d\d", tls_line(run)), run
    assert remembered(site.home) == when
    remember(site.home, ONE, "tls", 1801)
    site.home.run()
    assert server.connections == before + 3


def test_a_handshake_that_failed_at_once_is_not_remembered(site):
    site.one(0, STARTTLS=("220 go", b"nonsense\r\n" * 10, CLOSE))
    check(site.home.run(), "r", accepted())
    assert notes(site.home) == set()


@pytest.mark.parametrize("strictness", [1, 2])
def test_a_handshake_is_tried_in_spite_of_the_memory_where_it_is_demanded(site, strictness):
    server = site.one(strictness)
    remember(site.home, ONE, "tls", 60)
    check(site.run(), "r", accepted())
    assert [bool(s.tls) for s in server.sessions] == [True]


@pytest.mark.parametrize("strictness", [1, 2])
def test_a_handshake_that_hung_is_not_remembered_where_it_was_demanded(site, strictness):
    site.one(strictness, STARTTLS=("220 go", DEAF))
    site.home.control("timeoutconnect", "1\n")
    site.home.run()
    assert notes(site.home) == set()


# The file.

@pytest.mark.parametrize("data", [b"", b"x" * 10, b"\xff" * 8192, b"\xff" * 20000], ids=["empty", "10", "ones", "long"])
def test_whatever_is_in_the_file_is_no_condition_for_mail(home, relay, data):
    relay(EHLO=OFFERED)
    with open(path(home), "wb") as f:
        f.write(data)
    check(home.run(), "r", accepted())
    assert os.path.getsize(path(home)) == 8192


@pytest.mark.parametrize("what", ["directory", "link", "no-state-directory", "locked"])
def test_a_memory_that_cannot_be_written_is_no_condition_for_mail(home, relay, what):
    import fcntl
    relay(EHLO=OFFERED, RCPT="503 bad sequence")
    lock = None
    if what == "directory":
        os.mkdir(path(home))
    elif what == "link":
        os.symlink("/srv/elsewhere", path(home))
    elif what == "no-state-directory":
        os.rmdir(home.run_path)
    else:
        lock = os.open(path(home), os.O_RDWR | os.O_CREAT, 0o660)
        fcntl.flock(lock, fcntl.LOCK_EX)
    for _ in range(2):
        run = home.run()
        assert run.letters == "sZ", run
    assert not os.path.exists("/srv/elsewhere")
    if lock is not None:
        os.close(lock)
        assert notes(home) == set()


def test_clearing_tcpto_clears_the_memory(home, relay):
    """As tcpto6: qmail-tcpok, or a restart of qmail, means all that is known of addresses."""
    server = relay(EHLO=CLOSE)
    remember(home, ONE, "ehlo", 60)
    home.tcpto(b"", when=time.time() - 30)
    check(home.run(), "r", accepted())
    assert server.connections == 2


def test_fifty_at_once_leave_a_note_each(home, smtp):
    """Each leaves its note, and takes none away."""
    servers = [smtp(f"192.0.2.{n}", EHLO=OFFERED, RCPT="503 bad sequence") for n in range(1, 51)]
    runs = [p.finish(60) for p in [home.start(host=f"[{s.address}]") for s in servers]]
    assert all(r.message.letter == "Z" for r in runs)
    assert {k[0] for k in remembered(home)} == {_bytes(s.address) for s in servers}


# What failed before.

def before(run):
    return [line[len("Tried before: "):] for line in lines(run) if line.startswith("Tried before: ")]


def test_hosts_that_failed_before_are_told(home, smtp, dns):
    """Host, address and reason; behind the server's name."""
    smtp(ONE, greeting="421 too busy")
    smtp(TWO)
    dns.zone(f"""
        dst.example MX 5 m1.example.
        dst.example MX 6 m2.example.
        dst.example MX 7 m3.example.
        m1.example A 192.0.2.98
        m2.example A {ONE}
        m3.example A {TWO}
    """)
    run = home.run()
    check(run, "r", accepted(TWO))
    assert before(run) == ["m1.example (192.0.2.98): Connection refused", f"m2.example ({ONE}): greeting failed: 421 too busy"]
    assert lines(run)[2:] == ["Server: m3.example", *lines(run)[3:]] and lines(run)[3].startswith("Tried before: "), run


def test_another_address_of_the_first_host_is_no_news(home, smtp, dns):
    smtp(ONE)
    dns.zone(f"dst.example MX 5 m1.example.\nm1.example A {ONE}\nm1.example AAAA 2001:db8::98")
    run = home.run()
    check(run, "r", accepted(ONE))
    assert before(run) == []


def test_the_last_five_are_told(home, smtp, dns):
    smtp(TWO)
    dns.zone(f"dst.example MX 90 last.example.\nlast.example A {TWO}")
    for n in range(1, 8):
        dns.zone(f"dst.example MX {n} m{n}.example.\nm{n}.example A 192.0.2.{100 + n}")
    run = home.run()
    check(run, "r", accepted(TWO))
    assert before(run) == [f"m{n}.example (192.0.2.{100 + n}): Connection refused" for n in range(3, 8)]


@pytest.mark.parametrize("how, reason", [
    (dict(greeting=CLOSE), "connection died"), (dict(greeting="554-go\n554 away"), "greeting failed: 554-go"),
    (dict(EHLO="421 closing"), "my name was rejected: 421 closing"),
])
def test_the_reason_of_each_host_that_failed_is_told(home, smtp, dns, how, reason):
    smtp(ONE, **how)
    smtp(TWO)
    dns.zone(f"dst.example MX 5 m1.example.\ndst.example MX 6 m2.example.\nm1.example A {ONE}\nm2.example A {TWO}")
    run = home.run()
    check(run, "r", accepted(TWO))
    assert before(run) == [f"m1.example ({ONE}): {reason}"], run


def test_a_reply_forges_no_line(home, smtp, dns):
    smtp(ONE, greeting=b"554 a\x1b[2J\0b\r\n")
    smtp(TWO)
    dns.zone(f"dst.example MX 5 m1.example.\ndst.example MX 6 m2.example.\nm1.example A {ONE}\nm2.example A {TWO}")
    run = home.run()
    check(run, "r", accepted(TWO))
    assert len(before(run)) == 1 and before(run)[0].startswith(f"m1.example ({ONE}): greeting failed: 554 a"), run
    assert b"\x1b" not in run.report


def test_died_is_told_without_them(home, relay):
    relay(greeting=CLOSE)
    run = home.run()
    check(run, died())
    assert before(run) == []
