"""qmail-remote-tcpto: what is remembered of addresses, printed and forgotten."""

import os
import re
import struct
import subprocess
import time

import pytest

from qmailhome import pack4, pack6, read4, read6, show4, used
from rspawn import sanitizer_logs
from world import HOLE4, HOLE6

ONE, TWO, SIX = "192.0.2.1", "198.51.100.1", "2001:db8::1"
ADDRESSES = "/srv/qmail/run/qmail-remote/addresses"
PIPELINING, STALL, EHLO, TLS = range(4)


@pytest.fixture
def tool(pytestconfig):
    def run(*args):
        done = subprocess.run([f"{pytestconfig.option.build}/qmail-remote-tcpto", *args], capture_output=True,
                              text=True, timeout=30, check=False)
        sanitizer_logs()
        return done
    return run


def write6(home, *records):
    with open(home.tcpto6_path, "wb") as f:
        f.write(b"".join(records).ljust(2048, b"\0"))


def write_addresses(*notes):
    """Notes are (address as ::ffff:192.0.2.1, {kind: when})."""
    import socket
    data = b""
    for address, times in notes:
        data += socket.inet_pton(socket.AF_INET6, address)
        data += struct.pack("<4I", *(int(times.get(kind, 0)) for kind in range(4)))
    with open(ADDRESSES, "wb") as f:
        f.write(data.ljust(8192, b"\0"))


def without_seconds(text):
    return re.sub(r"\d+ seconds", "N seconds", text).splitlines()


def test_nothing_remembered_prints_nothing(home, tool):
    done = tool()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert os.listdir(home.run_path) == []      # nor is a file made


def test_ipv4_lines_are_those_of_qmail_tcpto(home, tool):
    now = time.time()
    home.tcpto(pack4(ONE, 2, now - 30) + pack4("203.0.113.9", 0, now) + pack4(TWO, 11, now - 100000))
    before, done, after = show4(), tool(), show4()
    assert done.stdout in (before, after) and len(done.stdout.splitlines()) == 2


def test_ipv6_lines_have_the_same_words(home, tool):
    write6(home, pack6(SIX, 3, time.time() - 50))
    assert without_seconds(tool().stdout) == [f"{SIX} timed out N seconds ago; # recent timeouts: 3"]


def test_records_from_before_qmail_tcpok_are_not_printed(home, tool):
    now = time.time()
    write6(home, pack6(SIX, 3, now - 50), pack6("2001:db8::2", 1, now - 5))
    write_addresses((SIX, {TLS: now - 50}), ("2001:db8::2", {TLS: now - 5}))
    home.tcpto(b"", when=now - 20)
    assert without_seconds(tool().stdout) == [
        "2001:db8::2 timed out N seconds ago; # recent timeouts: 1",
        "2001:db8::2 hung in the TLS handshake N seconds ago; remembered for N seconds"]


def test_each_kind_of_failure_has_its_words(home, tool):
    now = int(time.time())
    write_addresses((f"::ffff:{ONE}", {PIPELINING: now - 10, STALL: now - 20}), (SIX, {EHLO: now - 30, TLS: now - 40}),
                    ("2001:db8::2", {TLS: now - 1801}))
    lines = tool().stdout.splitlines()
    assert without_seconds("\n".join(lines)) == [
        f"{ONE} failed with PIPELINING N seconds ago; remembered for N seconds",
        f"{ONE} stalled in mail data N seconds ago; remembered for N seconds",
        f"{SIX} failed at EHLO N seconds ago; remembered for N seconds",
        f"{SIX} hung in the TLS handshake N seconds ago; remembered for N seconds"]
    ago, left = map(int, re.findall(r"(\d+) seconds", lines[0]))
    assert ago + left == 4 * 3600 and 10 <= ago < 40


def test_time_outs_of_deliveries_are_printed(home, tool):
    home.control("timeoutconnect", "1\n")
    for address in (HOLE4, HOLE6):
        home.route(f":[{address}]" if ":" in address else f":{address}")
        home.run()
    assert without_seconds(tool().stdout) == [
        f"{HOLE4} timed out N seconds ago; # recent timeouts: 1",
        f"{HOLE6} timed out N seconds ago; # recent timeouts: 1"]


def test_forgotten_address_is_in_no_file(home, tool):
    now = time.time()
    home.tcpto(pack4(TWO, 1, now) + pack4(ONE, 2, now))
    write6(home, pack6(SIX, 1, now), pack6("2001:db8::2", 1, now))
    write_addresses((f"::ffff:{ONE}", {STALL: now}), (SIX, {TLS: now}))
    for address in (ONE, SIX):
        done = tool("-d", address)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [r.address for r in used(read4())] == [TWO]
    assert [r.address for r in used(read6())] == ["2001:db8::2"]
    # Zeroed in place: other records stay where they are.
    assert read4()[1].address == "0.0.0.0" and read6()[1].address == "2001:db8::2"
    with open(ADDRESSES, "rb") as f:
        assert f.read() == b"\0" * 8192
    assert without_seconds(tool().stdout) == [
        f"{TWO} timed out N seconds ago; # recent timeouts: 1",
        "2001:db8::2 timed out N seconds ago; # recent timeouts: 1"]


def test_forgotten_address_is_tried_again(home, smtp, tool):
    smtp(ONE)
    home.tcpto(pack4(ONE, 2, time.time()))
    home.route(f":{ONE}")
    assert home.run().letters == "Z"
    assert tool("-d", ONE).returncode == 0
    assert home.run().letters == "rK"


@pytest.mark.parametrize("address", [ONE, SIX, "0.0.0.0", "::"])
def test_exit_status_is_1_where_there_was_no_record(home, tool, address):
    home.tcpto(pack4(TWO, 1, time.time()))
    write_addresses()
    done = tool("-d", address)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert [r.address for r in used(read4())] == [TWO]


@pytest.mark.parametrize("args", [["-d"], ["-d", "x.example"], ["-d", f"[{ONE}]"], ["-d", f"{ONE}/24"], [ONE],
                                  ["-d", ONE, TWO], ["-x", ONE]])
def test_wrong_arguments_are_usage(home, tool, args):
    done = tool(*args)
    assert done.returncode == 3 and done.stderr == "usage: qmail-remote-tcpto [-d ADDRESS]\n" and done.stdout == ""


@pytest.mark.parametrize("path, args", [
    ("queue/lock/tcpto", []), ("queue/lock/tcpto", ["-d", ONE]),
    ("run/qmail-remote/tcpto6", []), ("run/qmail-remote/tcpto6", ["-d", SIX]),
    ("run/qmail-remote/addresses", []), ("run/qmail-remote/addresses", ["-d", SIX])])
def test_unusable_file_is_named(home, tool, path, args):
    full = f"{home.path}/{path}"
    if os.path.exists(full):
        os.unlink(full)
    os.mkdir(full)
    done = tool(*args)
    assert done.returncode == 111 and path in done.stderr and done.stderr.startswith("qmail-remote-tcpto: fatal: ")


def test_missing_tcpto_is_fatal_as_for_qmail_tcpto(home, tool):
    os.unlink(home.tcpto_path)
    done = tool()
    assert done.returncode == 111 and "queue/lock/tcpto: No such file or directory" in done.stderr


def test_full_standard_output_is_an_error(home, pytestconfig):
    home.tcpto(pack4(ONE, 2, time.time()))
    with open("/dev/full", "wb") as full:
        done = subprocess.run([f"{pytestconfig.option.build}/qmail-remote-tcpto"], stdout=full, stderr=subprocess.PIPE,
                              timeout=30, check=False)
    assert done.returncode == 111 and b"standard output" in done.stderr


def test_version_is_printed(tool):
    assert re.fullmatch(r"qmail-remote-tcpto \d+\.\d+\.\d+\n", tool("--version").stdout)
