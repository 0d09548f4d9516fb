"""qmail-remote-tls as a process: when it ends, what it holds, and what is done without it."""

import os
import select
import signal
import threading
import time

import pytest

import rspawn
from expect import accepted, check, died, duplicate
from smtpd import CLOSE, DEAF, RESET, TLS, Call, Read, Until
from tlssite import gone, programs, tls_line, told_nothing, verified

IP = "192.0.2.1"
NOT_SET_UP = f"Connected to {IP} but TLS is not set up. (#4.3.5)"
HELPER = "qmail-remote-tls"

each_strictness = pytest.mark.parametrize("strictness", [0, 1, 2])


def put(site, script, mode=0o755):
    """Another program in the place of qmail-remote-tls; None removes it."""
    path = f"{site.home.path}/bin/{HELPER}"
    os.unlink(path)
    if script is not None:
        with open(path, "wb") as f:
            f.write(script)
        os.chmod(path, mode)
    return path


def not_set_up(site, server, why):
    """No other server is tried either: it is our own trouble."""
    second = site.server("192.0.2.2", host="m2.example")
    site.dns.zone("dst.example MX 99 m2.example.\nm2.example A 192.0.2.2")
    run = site.run()
    site.deferred(run, NOT_SET_UP, why)
    assert server.connections == 1 and second.connections == 0
    assert b"\nMAIL" not in server.log and server.session.secret == b""
    gone()
    return run


A_LIBRARY = f"{HELPER}: exit code 127: a library is missing or there is not enough memory"

BROKEN = {
    "missing": (None, 0, f"/srv/qmail/bin/{HELPER}: No such file or directory"),
    "not-executable": (b"#!/bin/sh\nexit 0\n", 0o644, f"/srv/qmail/bin/{HELPER}: Permission denied"),
    "not-a-program": (b"\0\1\2\3", 0o755, f"/srv/qmail/bin/{HELPER}: Exec format error"),
    "no-interpreter": (b"#!/nonexistent/sh\n", 0o755, f"/srv/qmail/bin/{HELPER}: No such file or directory"),
    "exits": (b"#!/bin/sh\nexit 0\n", 0o755, f"{HELPER}: no valid status"),
    "exits-1": (b"#!/bin/sh\nexit 1\n", 0o755, f"{HELPER}: exit code 1"),
    "exits-127": (b"#!/bin/sh\nexit 127\n", 0o755, A_LIBRARY),
    "kills-itself": (b"#!/bin/sh\nkill -9 $$\n", 0o755, f"{HELPER}: killed by signal 9"),
    "sandbox": (b"#!/bin/sh\nkill -SYS $$\n", 0o755, f"{HELPER}: killed by signal 31"),
}


@each_strictness
@pytest.mark.parametrize("case", BROKEN)
def test_a_helper_that_cannot_run_is_trouble_of_ours(site, case, strictness):
    """A broken installation is no reason for clear text."""
    server = site.one(strictness)
    *program, why = BROKEN[case]
    put(site, *program)
    not_set_up(site, server, why)


def acting(*lines):
    """A helper that is a shell script; its status descriptor is $fd."""
    return "\n".join(["#!/bin/sh", "for word; do case $word in status=*) fd=${word#*=};; esac; done",
                      *lines, ""]).encode()


# What it may say on its status descriptor, and then it ends.
WORDS = {
    "nothing-but-a-line-end": r"\n",
    "no-line-end": r"R a b c none -",
    "unknown-letter": r"X fine\n",
    "too-few-words": r"R a b c none\n",
    "unknown-code": r"F bad-luck fine\n",
    "the-end-at-once": r"E server \n",
    "local": r"L no luck\n",
    "nul": r"\0\n",
}


@each_strictness
@pytest.mark.parametrize("case", WORDS)
def test_a_helper_that_says_nonsense_is_trouble_of_ours(site, case, strictness):
    server = site.one(strictness)
    put(site, acting(f"eval \"printf '{WORDS[case]}' >&$fd\""))
    not_set_up(site, server, "no luck" if case == "local" else f"{HELPER}: no valid status")


@each_strictness
def test_a_helper_that_says_too_much_is_trouble_of_ours(site, strictness):
    server = site.one(strictness)
    put(site, acting('eval "head -c 100000 /dev/zero >&$fd"'))
    not_set_up(site, server, None)


READY = 'eval "echo R TLSv1.3 X Y none - >&$fd"'


@each_strictness
@pytest.mark.parametrize("seconds", [0, 0.03, 0.2, 0.5])
@pytest.mark.parametrize("end, why", [("exit 111", "exit code 111"), ("kill -9 $$", "killed by signal 9"),
                                      ("exit 0", "exit code 0")], ids=["exit", "crash", "exit-0"])
def test_a_helper_that_fails_after_the_handshake_is_trouble_of_ours(site, strictness, seconds, end, why):
    """At once or later: that is no reason for clear text, from this host or the next."""
    server = site.one(strictness)
    put(site, acting(READY, f"sleep {seconds}", end))
    not_set_up(site, server, f"{HELPER}: {why}")


@each_strictness
def test_a_helper_that_tells_of_a_failure_of_its_own_is_trouble_of_ours(site, strictness):
    server = site.one(strictness)
    put(site, acting(READY, "sleep 0.03", 'eval "echo E local out of memory >&$fd"'))
    not_set_up(site, server, "out of memory")


@each_strictness
def test_a_helper_that_tells_of_the_servers_end_is_believed(site, strictness):
    """Its word is what counts, not how it ended itself."""
    server = site.one(strictness)
    put(site, acting(READY, "sleep 0.03", 'eval "echo E broken reset >&$fd"', "exit 1"))
    run = site.run()
    line = "the connection died after the handshake: reset"
    if strictness == 2:
        site.deferred(run, f"Connected to {IP} but TLS failed. (#4.7.5)", line)
    else:
        check(run, "r", accepted())
        assert server.connections == 2
        assert strictness == 1 or tls_line(run) == f"handshake failed ({line}), sent in clear text"


@pytest.mark.parametrize("strictness", [0, 1, pytest.param(2, marks=pytest.mark.timed)])
def test_a_helper_that_hangs_is_ended(site, strictness):
    """It has a second more than the handshake may take, and would have told that the time is over."""
    site.home.control("timeoutconnect", "1\n")
    server = site.one(strictness)
    put(site, b"#!/bin/sh\nexec sleep 600\n")
    run = site.run()
    site.deferred(run, NOT_SET_UP, f"{HELPER}: no valid status")
    assert run.lasted(4, least=1) and server.connections == 1
    assert not programs("sleep")


def kill_helper(signal_number=signal.SIGKILL):
    def kill(session):
        end = time.monotonic() + 5
        while not programs(HELPER):
            assert time.monotonic() < end
            time.sleep(0.002)
        for pid in programs(HELPER):
            os.kill(pid, signal_number)
    return Call(kill)


@each_strictness
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_a_helper_killed_in_the_handshake_is_trouble_of_ours(site, strictness, number):
    server = site.one(strictness, STARTTLS=("220 go", Read(5), kill_helper(number), DEAF))
    not_set_up(site, server, f"{HELPER}: killed by signal {number.value}")


@pytest.mark.parametrize("strictness", [0, 1, pytest.param(2, marks=pytest.mark.timed)])
def test_a_helper_stopped_in_the_handshake_is_ended(site, strictness):
    """One that does not get to its end is ended; whether the server would have answered nobody knows."""
    site.home.control("timeoutconnect", "1\n")
    server = site.one(strictness, STARTTLS=("220 go", Read(5), kill_helper(signal.SIGSTOP), DEAF))
    run = site.run()
    assert run.lasted(5) and rspawn.in_time(run.held, 0.5)
    told_nothing(server.session)
    assert run.letters == "Z", run
    gone()


@pytest.mark.parametrize("strictness", [0, 2])
@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA", "END"])
def test_a_helper_killed_in_the_session_is_a_connection_that_died(site, moment, strictness):
    """As if the connection had died; the mail does not go on in another way."""
    server = site.one(strictness, **{moment: (kill_helper(), DEAF)})
    run = site.run()
    check(run, *["r"] * (moment in ("DATA", "END")), duplicate() if moment == "END" else died())
    assert server.connections == 1 and tls_line(run)
    assert f"\n{HELPER}: killed by signal 9\nServer: ".encode() in run.message.text, run
    told_nothing(server.session)
    gone()


@pytest.mark.parametrize("moment", ["MAIL", "END"])
@pytest.mark.parametrize("step", [CLOSE, RESET], ids=["closed", "reset"])
def test_a_server_that_ends_the_session_is_not_our_failure(site, moment, step):
    site.one(2, **{moment: step})
    run = site.run()
    check(run, *["r"] * (moment == "END"), duplicate() if moment == "END" else died())
    assert HELPER.encode() not in run.message.text, run


@each_strictness
def test_a_helper_killed_before_ehlo_is_trouble_of_ours(site, strictness):
    """It has not said that the session is over: so it was our own doing."""
    server = site.one(strictness,
                      EHLO=Call(lambda s: (kill_helper(), DEAF) if s.inside else "250-hi\n250 STARTTLS"))
    run = site.run()
    told_nothing(server.session)
    site.deferred(run, NOT_SET_UP, f"{HELPER}: killed by signal 9")
    gone()


# It is started while the reply to STARTTLS is under way.

def waiting(session):
    """The process id of the helper of this session, when it waits for the reply, too."""
    end = time.monotonic() + 20
    while True:
        assert time.monotonic() < end
        for pid in programs(HELPER):
            with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
                if f.read().rsplit(") ", 1)[1][0] == "S":
                    return pid
        time.sleep(0.002)


def hears(session):
    """Whether anything has come since STARTTLS."""
    return bool(select.select([session.sock], [], [], 0)[0])


@each_strictness
def test_the_helper_is_ready_before_the_reply_to_starttls(site, strictness):
    """And leaves the connection alone until then."""
    heard = []

    def reply(session):
        waiting(session)
        heard.append(hears(session))
        return "220 go", TLS

    server = site.one(strictness, STARTTLS=Call(reply))
    check(site.run(), "r", accepted())
    assert server.connections == 1 and server.session.inside and heard == [False]
    gone()


REFUSALS = {
    "4yz": "454 not now", "5yz": "502 what", "554": "554 go away", "421": "421 bye", "other": "250 fine",
    "malformed": b"220-go\r\n250 go\r\n", "more": b"220 go\r\n250 more\r\n", "closed": CLOSE, "reset": RESET,
}


@each_strictness
@pytest.mark.parametrize("case", REFUSALS)
def test_a_helper_that_is_not_needed_is_ended_first(site, case, strictness):
    """Before the next command, and before the connection ends; the next connection is in clear text, or there is none."""
    heard, left = [], []

    def refuse(session):
        waiting(session)
        heard.append(hears(session))
        return REFUSALS[case]

    def look(session):
        left.extend(programs(HELPER))
        return "250 ok"

    server = site.one(strictness, STARTTLS=Call(refuse), MAIL=Call(look))
    run = site.run()
    if strictness == 2:
        assert run.letters == "Z" and tls_line(run) is None, run
        told_nothing(*server.sessions)
    else:
        check(run, "r", accepted())
    assert HELPER.encode() not in run.report, run
    assert heard == [False] and not left and not programs(HELPER) and not rspawn.children(HELPER[:15])
    for session in server.sessions:
        assert session.secret == b"" and b"\x16\x03" not in bytes(session.clear)


@pytest.mark.parametrize("case", BROKEN)
def test_a_helper_that_cannot_run_does_not_matter_without_tls(site, case):
    """STARTTLS is refused: it would not have been needed."""
    server = site.one(0, STARTTLS="454 not now")
    put(site, *BROKEN[case][:-1])
    run = site.run()
    check(run, "r", accepted())
    assert server.connections == 1 and HELPER.encode() not in run.report
    gone()


@each_strictness
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_helper_killed_while_it_waits_is_trouble_of_ours(site, strictness, number):
    def kill(session):
        os.kill(waiting(session), number)
        gone(HELPER)
        return "220 go", DEAF

    server = site.one(strictness, STARTTLS=Call(kill))
    not_set_up(site, server, f"{HELPER}: killed by signal {number.value}")


def test_the_helper_ends_when_the_delivery_is_killed_before_the_reply(site):
    ready = threading.Event()

    def stay(session):
        waiting(session)
        ready.set()
        return DEAF

    server = site.one(0, STARTTLS=Call(stay))
    process = site.home.start()
    assert ready.wait(20)
    os.kill(process.pid, signal.SIGKILL)
    process.finish()
    gone()
    assert server.session.secret == b"" and server.session.end


# While it runs, and after.

def _open_files(pid):
    return {int(n): os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}


@pytest.mark.parametrize("moment", ["handshake", "EHLO", "MAIL", "END"])
def test_the_helper_holds_neither_report_nor_message(site, moment):
    """Neither the report pipe nor the message; /dev/null on 0, 1 and 2; one socket to the server."""
    seen = {}

    def look(session):
        if moment == "EHLO" and not session.inside:
            return "250-hi\n250 STARTTLS"
        end = time.monotonic() + 5
        while len(programs(HELPER)) != 1:
            assert time.monotonic() < end
            time.sleep(0.002)
        pid, = programs(HELPER)
        seen["files"] = _open_files(pid)
        with open(f"/proc/{pid}/environ", "rb") as f:
            seen["environ"] = f.read()
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            seen["cmdline"] = f.read()
        return TLS if moment == "handshake" else "250 ok"

    step = {"handshake": dict(STARTTLS=("220 go", Call(look)))}.get(moment, {moment: Call(look)})
    site.one(0, **step)
    run = site.run(message=b"the text\n")
    assert run.letters == "rK", run
    files = seen["files"]
    assert [files.pop(n) for n in (0, 1, 2)] == ["/dev/null"] * 3
    assert not any("mess" in f or "control" in f for f in files.values()), files
    sockets = [f for f in files.values() if f.startswith("socket:")]
    assert len(sockets) == 3 and len(files) == 3, files     # to the server, the clear text, the status
    assert seen["environ"].strip(b"\0") == b""
    assert b"dst.example" not in seen["cmdline"] and b"src.example" not in seen["cmdline"]


@pytest.mark.timed
@each_strictness
@pytest.mark.parametrize("how", ["accepted", "refused", "deaf-quit", "mail-closed", "greeting-later"])
def test_nothing_stays_behind(site, how, strictness):
    script = {
        "accepted": {}, "refused": dict(MAIL="550 no"), "deaf-quit": dict(QUIT=DEAF), "mail-closed": dict(MAIL=CLOSE),
        "greeting-later": dict(greeting=(Call(lambda s: time.sleep(0.05)), "220 hi")),
    }[how]
    site.one(strictness, **script)
    run = site.run()
    assert rspawn.in_time(run.held, 0.3)
    gone(timeout=2)


@pytest.mark.timed
@each_strictness
@pytest.mark.parametrize("script", [{}, dict(MAIL="550 no"), dict(END=CLOSE), dict(EHLO="421 busy")],
                         ids=["accepted", "refused", "died", "no-server"])
def test_the_helper_is_no_zombie(site, strictness, script):
    """In a container whose first process reaps nothing it would stay for ever. It is waited for for 20 ms."""
    site.one(strictness, **script)
    site.run()
    assert rspawn.children(HELPER[:15]) == [] or not rspawn.TIMED


@pytest.mark.timed
@pytest.mark.parametrize("case", ["reads-late", "never-reads"])
def test_a_server_that_does_not_read_at_the_end_holds_up_no_report(site, case):
    """The report does not wait for the last bytes; QUIT and close_notify still get their chance."""
    gate = threading.Event()
    server = site.one(2, END=("250 got it", Until(gate) if case == "reads-late" else DEAF))
    run = site.run()
    check(run, "r", accepted())
    assert run.lasted(2) and rspawn.in_time(run.held, 0.3)
    gate.set()
    gone(timeout=12)
    if case == "reads-late":
        assert server.session.verbs[-1] == "QUIT" and server.session.end == "fin"


def test_helpers_of_several_hosts_run_one_after_the_other(site):
    """One after the other; no more than one runs at any time, and none is a zombie at the end."""
    counts = []

    def count(session):
        counts.append(len(programs(HELPER)))

    site.want(2)
    site.mx(*(f"192.0.2.{n}" for n in range(1, 8)))
    for n in range(1, 7):
        site.server(f"192.0.2.{n}", STARTTLS=("220 go", Read(5), Call(count), CLOSE))
    site.server("192.0.2.7", host="m7.example")
    run = site.run()
    check(run, "r", accepted("192.0.2.7"))
    assert counts == [1] * 6 and tls_line(run) == verified("m7.example")
    gone()


@pytest.mark.timed
def test_the_helper_ends_when_the_delivery_is_killed(site):
    """qmail-rspawn's child is killed: the helper ends by itself, and the server is left with half a mail."""
    gate = threading.Event()
    server = site.one(2, MAIL=(Call(lambda s: gate.set()), DEAF))
    process = site.home.start()
    assert gate.wait(10)
    os.kill(process.pid, signal.SIGKILL)
    run = process.finish()
    assert os.WIFSIGNALED(run.status) and rspawn.in_time(run.held, 0.5)
    gone(timeout=12)
    assert rspawn.rspawn_result(run.report, run.status) == b"Zqmail-remote crashed.\n"
    assert server.mails == []


@each_strictness
def test_twenty_at_once_are_delivered_in_tls(site, strictness):
    server = site.one(strictness)
    started = [site.home.start(sender=f"a{n}@src.example") for n in range(20)]
    runs = [p.finish(timeout=60) for p in started]
    for run in runs:
        check(run, "r", accepted())
        assert tls_line(run).endswith("verified for m1.example" if strictness == 2 else "not verified")
    assert sorted(m.sender for m in server.mails) == sorted(f"<a{n}@src.example>".encode() for n in range(20))
    told_nothing(*server.sessions)
    gone()
