"""The program as a process: odd descriptors, signals, users, missing parts, memory."""

import hashlib
import os
import resource
import signal
import threading

import pytest

from expect import accepted, check
from smtpd import RESET, Call, Read, Until
from test_stock import one_user

IP = "192.0.2.1"


@pytest.mark.parametrize("closed", [(0,), (0, 1), (0, 2), (0, 1, 2)])
def test_no_message(home, relay, closed):
    """Stock, with fd 0 closed, took the socket for the message."""
    server = relay()
    run = home.run(closed=closed, timeout=10, valid=False)
    assert run.exit_code == 0 and server.mails == []
    if 1 not in closed:
        assert run.letters[-1] == "Z", run


@pytest.mark.parametrize("closed", [(1,), (1, 2), (2,)])
def test_report_never_enters_the_dialogue(home, relay, closed):
    """The socket must not become descriptor 1 or 2."""
    server = relay()
    run = home.run(closed=closed, timeout=10, valid=False)
    assert run.exit_code == 0
    assert b"accepted message" not in server.log and b"\0" not in server.log
    if closed == (2,):
        check(run, "r", accepted())


def test_message_descriptor_not_readable(home, relay):
    server = relay()
    fd = os.open("/dev/null", os.O_WRONLY)
    run = home.run(message=fd)
    os.close(fd)
    assert run.letters[-1] == "Z" and server.mails == []


@pytest.mark.parametrize("kind", ["read-only", "socket-closed"])
def test_odd_stdout(home, relay, kind):
    import socket
    relay()
    if kind == "read-only":
        fd = os.open("/dev/null", os.O_RDONLY)
        run = home.run(stdout=fd, valid=False)
        os.close(fd)
    else:
        a, b = socket.socketpair()
        b.close()
        run = home.run(stdout=a.fileno(), valid=False)
        a.close()
    assert run.exit_code == 0


def test_report_into_a_slow_pipe(home, relay):
    """A report larger than a pipe holds is written completely, also when it is read late."""
    gate = threading.Event()
    count = 300
    relay(RCPT=b"550-" + b"x" * 990 + b"\r\n550 no\r\n", QUIT=Until(gate))
    run = home.run(recipients=[f"u{n}@d" for n in range(count)])
    gate.set()
    assert run.letters == "h" * count + "D"
    assert run.records[0].text.count(b"x") == 990
    assert len(run.report) > 65536


def test_server_that_closes_early_is_no_signal(home, relay):
    """Writing to a connection that was reset is an error like any other."""
    relay(DATA=("354 go", Read(10000), RESET))
    run = home.run(message=b"line\n" * 1000000)
    assert run.letters == "rZ"


@pytest.mark.parametrize("name", ["RES_OPTIONS", "LOCALDOMAIN", "HOSTALIASES", "OPENSSL_CONF", "TMPDIR"])
def test_environment_does_not_matter(home, relay, name):
    relay()
    check(home.run(env={name: "/nonexistent"}), "r", accepted())


@pytest.mark.parametrize("host", ["-h", "--help", "--version", "--", "-"])
def test_no_options(home, relay, host):
    server = relay()
    check(home.run(host, sender="-s", recipients="-r@d"), "r", accepted())
    assert server.mail.sender == b"<-s>" and server.mail.recipients == [b"<-r@d>"]


@one_user
def test_as_another_user(home, relay):
    server = relay()
    os.chown(home.run_path, 4711, 4712)
    check(home.run(uid=4711, gid=4712), "r", accepted())
    assert len(server.mails) == 1
    assert all(os.stat(f"{home.run_path}/{n}").st_uid == 4711 for n in os.listdir(home.run_path))


@pytest.mark.parametrize("trouble", ["missing", "directory", "not-executable", "empty"])
def test_second_program_unusable(home, relay, trouble):
    """An installation that is not whole defers mail and bounces none."""
    server = relay()
    path = f"{home.path}/bin/qmail-remote-io"
    os.unlink(path)
    if trouble == "directory":
        os.mkdir(path)
    elif trouble != "missing":
        with open(path, "wb"):
            pass
        os.chmod(path, 0o755 if trouble == "empty" else 0o644)
    run = home.run()
    assert run.letters == "Z" and not server.mails, run


def test_descriptors_at_the_limit(home, relay):
    relay()
    run = home.run(limits={resource.RLIMIT_NOFILE: 20})
    check(run, "r", accepted())


@pytest.mark.parametrize("count", [1, 3, 4, 5, 6, 7, 8])
def test_too_few_descriptors(home, relay, count):
    relay()
    with open(f"{home.path}/bin/qmail-remote", "rb") as f:
        if count < 6 and b"/ld-" in f.read(4096):
            pytest.skip("the loader of a dynamic program needs more")
    run = home.run(limits={resource.RLIMIT_NOFILE: count})
    assert run.letters in ("Z", "rK", "rZ"), run


def test_killed_is_a_crash_for_rspawn(home, relay):
    gate = threading.Event()
    server = relay(greeting=Until(gate))
    process = home.start()
    server.wait_session()
    os.kill(process.pid, signal.SIGTERM)
    run = process.finish()
    gate.set()
    assert run.rspawn == b"Zqmail-remote crashed.\n"


def test_one_process_does_it_all(home, relay):
    """In clear text there is no child, and the program that carries the message keeps the process id."""
    names = []

    def note(session):
        with open(f"/proc/{process.pid}/comm", encoding="ascii") as f, \
                open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as g:
            names.append((f.read().strip(), g.read()))
        return "250 ok"

    relay(EHLO=Call(note), MAIL=Call(note))
    process = home.start()
    check(process.finish(), "r", accepted())
    assert names == [("qmail-remote", ""), ("qmail-remote-io", "")]


# Large messages.

def _big(home, relay, size, newline_every=None, fill=b"x"):
    path = f"{home.path}/queue/mess/big"
    digest, sent = hashlib.sha256(), 0
    block = fill * (1 << 20) if newline_every is None else \
        ((fill * (newline_every - 1) + b"\n") * ((1 << 20) // newline_every))
    with open(path, "wb") as f:
        if fill == b"\0":
            f.truncate(size)
        while sent < size:
            piece = block[:size - sent]
            if fill != b"\0":
                f.write(piece)
            digest.update(piece.replace(b"\n", b"\r\n"))
            sent += len(piece)
            last = piece[-1:]
    digest.update(b"" if last == b"\n" else b"\r\n")
    digest.update(b".\r\n")
    peak = []

    def note(session):
        peak.append(process.status_of("VmHWM"))
        return "250 got it"

    server = relay(keep=False, END=Call(note))
    home.control("timeoutremote", "300\n")
    process = home.start(message=path)
    run = process.finish(timeout=600)
    os.unlink(path)
    check(run, "r", accepted())
    assert server.mail.sha256 == digest.hexdigest()
    return peak[0]


def test_30_megabytes(home, relay):
    assert _big(home, relay, 30 << 20, newline_every=64) < 16384


def test_100_megabyte_line(home, relay):
    assert _big(home, relay, 100 << 20) < 16384


@pytest.mark.long
def test_5_gigabytes(home, relay):
    assert _big(home, relay, 5 << 30, fill=b"\0") < 16384
