"""The program as a process: odd descriptors, signals, users, missing parts, memory."""

import hashlib
import os
import signal
import struct
import threading

import pytest

from expect import accepted, check
from smtpd import RESET, Call, Read, Until
from test_stock import one_user



def test_a_message_that_cannot_be_read_is_temporary(home, relay):
    server = relay()
    fd = os.open("/dev/null", os.O_WRONLY)
    run = home.run(message=fd)
    os.close(fd)
    assert run.letters[-1] == "Z" and server.mails == []


@pytest.mark.parametrize("kind", ["read-only", "socket-closed"])
def test_a_descriptor_1_that_cannot_be_written_ends_in_exit_code_0(home, relay, kind):
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


def test_a_report_larger_than_its_pipe_is_written_whole(home, relay):
    """A report larger than a pipe holds is written completely, also when it is read late."""
    gate = threading.Event()
    count = 300
    relay(RCPT=b"550-" + b"x" * 990 + b"\r\n550 no\r\n", QUIT=Until(gate))
    run = home.run(recipients=[f"u{n}@d" for n in range(count)])
    gate.set()
    assert run.letters == "h" * count + "D"
    assert run.records[0].text.count(b"x") == 990
    assert len(run.report) > 65536


def test_a_connection_reset_amid_the_mail_data_is_no_signal(home, relay):
    """Writing to a connection that was reset is an error like any other."""
    relay(DATA=("354 go", Read(10000), RESET))
    run = home.run(message=b"line\n" * 1000000)
    assert run.letters == "rZ"


def loaded_segments(program):
    """How many parts of an ELF file are mapped."""
    with open(program, "rb") as f:
        data = f.read(4096)
    has_64_bits = data[4] == 2
    at, = struct.unpack_from("<Q", data, 32) if has_64_bits else struct.unpack_from("<I", data, 28)
    size, n = struct.unpack_from("<HH", data, 54 if has_64_bits else 42)
    return sum(struct.unpack_from("<I", data, at + i * size)[0] == 1 for i in range(n))


@pytest.mark.parametrize("step", ["EHLO", "MAIL"])
def test_what_relocation_has_written_cannot_be_written_any_more(home, relay, step):
    """Of qmail-remote and of qmail-remote-io: a part of the last segment can only be read (RELRO)."""
    found = []

    def look(session):
        program = os.readlink(f"/proc/{process.pid}/exe")
        with open(f"/proc/{process.pid}/maps", encoding="ascii") as f:
            found.append(([line.split()[1] for line in f if line.endswith(f" {program}\n")], loaded_segments(program)))
        return "250 ok"

    relay(**{step: Call(look)})
    process = home.start()
    check(process.finish(), "r", accepted())
    (rights, segments), = found
    assert rights[-2:] == ["r--p", "rw-p"] and len(rights) == segments + 1, (rights, segments)


@pytest.mark.parametrize("host", ["-h", "--help", "--version", "--", "-"])
def test_arguments_that_look_like_options_are_none(home, relay, host):
    server = relay()
    check(home.run(host, sender="-s", recipients="-r@d"), "r", accepted())
    assert server.mail.sender == b"<-s>" and server.mail.recipients == [b"<-r@d>"]


@one_user
def test_state_is_written_as_the_user_that_runs_it(home, relay):
    server = relay()
    os.chown(home.run_path, 4711, 4712)
    check(home.run(uid=4711, gid=4712), "r", accepted())
    assert len(server.mails) == 1
    assert all(os.stat(f"{home.run_path}/{n}").st_uid == 4711 for n in os.listdir(home.run_path))


@pytest.mark.parametrize("trouble", ["missing", "directory", "not-executable", "empty"])
def test_a_second_program_that_cannot_run_is_temporary(home, relay, trouble):
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


def test_death_by_a_signal_is_a_crash_for_qmail_rspawn(home, relay):
    gate = threading.Event()
    server = relay(greeting=Until(gate))
    process = home.start()
    server.wait_session()
    os.kill(process.pid, signal.SIGTERM)
    run = process.finish()
    gate.set()
    assert run.rspawn == b"Zqmail-remote crashed.\n"


def test_in_clear_text_one_process_does_it_all(home, relay):
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


def test_30_megabytes_need_16_mb_of_memory_at_most(home, relay):
    assert _big(home, relay, 30 << 20, newline_every=64) < 16384


def test_a_line_of_100_megabytes_needs_16_mb_of_memory_at_most(home, relay):
    assert _big(home, relay, 100 << 20) < 16384


@pytest.mark.long
def test_5_gigabytes_need_16_mb_of_memory_at_most(home, relay):
    assert _big(home, relay, 5 << 30, fill=b"\0") < 16384
