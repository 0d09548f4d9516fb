"""The tables of addresses that timed out: stock's for IPv4, tcpto6 beside it for IPv6."""

import fcntl
import os
import threading
import time

import pytest

from expect import NO_CONNECTION, accepted, check
from qmailhome import pack4, pack6, read4, read6, show4, used
from world import HOLE4, HOLE6

V6 = "2001:db8::1"


def _hole(home, address=HOLE6, **controls):
    home.control("timeoutconnect", "1\n")
    home.route(f":[{address}]")


def _write6(home, data, size=2048):
    with open(home.tcpto6_path, "wb") as f:
        f.write(data.ljust(size, b"\0"))


def test_stock_can_read_the_records(home):
    """What stock's qmail-tcpto shows after two deliveries."""
    _hole(home, HOLE4)
    home.tcpto(pack4("10.0.0.1", 0, 77) + pack4(HOLE4, 1, time.time() - 130))
    home.run()
    home.route(":203.0.113.7")
    home.run()
    lines = show4().splitlines()
    assert len(lines) == 2 and os.path.getsize(home.tcpto_path) == 1024
    assert lines[0].startswith("203.0.113.7 timed out ") and lines[0].endswith(" # recent timeouts: 1")
    assert lines[1].startswith(f"{HOLE4} timed out ") and lines[1].endswith(" # recent timeouts: 2")


def test_a_time_out_of_ipv6_is_noted_in_tcpto6(home):
    _hole(home)
    before = int(time.time())
    check(home.run(), NO_CONNECTION)
    records = read6()
    assert len(records) == 64 and records[0].address == HOLE6 and records[0].count == 1
    assert before <= records[0].when <= time.time() and len(used(records)) == 1
    assert used(read4()) == []


def test_a_time_out_of_ipv4_is_not_noted_in_tcpto6(home):
    _hole(home, HOLE4)
    check(home.run(), NO_CONNECTION)
    assert not os.path.exists(home.tcpto6_path) or used(read6()) == []


@pytest.mark.parametrize("count, age, after", [
    (1, 60, (1, 60)),       # again within 120 s: nothing changes
    (1, 130, (2, 0)),
    (2, 6000, (3, 0)),
    (10, 6000, (10, 0)),
    (0, 30, (1, 0)),
])
def test_time_outs_of_ipv6_are_counted_as_those_of_ipv4(home, count, age, after):
    _hole(home)
    now = int(time.time())
    _write6(home, pack6(HOLE6, count, now - age))
    check(home.run(), NO_CONNECTION)
    record = read6()[0]
    assert record.address == HOLE6 and record.count == after[0]
    assert record.when == now - age if after[1] else record.when >= now


@pytest.mark.parametrize("count, age, contacted", [
    (2, 100, False), (2, 3000, False), (2, 3800, False), (10, 3000, False), (2, 5900, True), (1, 100, True), (10, 5900, True),
    (2, 86400 * 400, True),
    (2, -10000, True),      # not stock's rule: a clock that was set back does not block a host
])
def test_an_ipv6_address_is_skipped_as_one_of_ipv4(home, smtp, count, age, contacted):
    server = smtp(V6)
    home.route(f":[{V6}]")
    _write6(home, pack6("2001:db8::77", 3, time.time()) + pack6(V6, count, time.time() - age))
    run = home.run()
    if contacted:
        check(run, "r", accepted(V6))
        assert read6()[1].count == 0 and read6()[0].count == 3
    else:
        check(run, NO_CONNECTION)
        assert server.connections == 0 and read6()[1].count == count


def test_a_refusal_clears_the_record_of_ipv6(home):
    home.route(":[2001:db8::99]")
    _write6(home, pack6("2001:db8::99", 1, time.time() - 30))
    check(home.run(), NO_CONNECTION)
    assert read6()[0].address == "2001:db8::99" and read6()[0].count == 0


def test_the_oldest_record_of_ipv6_is_replaced(home):
    _hole(home)
    now = int(time.time())
    _write6(home, b"".join(pack6(f"2001:db8:1::{n:x}", 1, now - 300 - (500 if n == 37 else n)) for n in range(64)))
    check(home.run(), NO_CONNECTION)
    assert [n for n, r in enumerate(read6()) if r.address == HOLE6] == [37]


@pytest.mark.parametrize("data", [b"", b"x" * 10, b"\0" * 40, b"\xff" * 5000, b"\xff" * 2048], ids=["empty", "10", "40", "5000", "ones"])
def test_whatever_is_in_tcpto6_is_no_condition_for_mail(home, smtp, data):
    """No content of the file keeps a delivery from working."""
    with open(home.tcpto6_path, "wb") as f:
        f.write(data)
    smtp(V6)
    home.route(f":[{V6}]")
    check(home.run(), "r", accepted(V6))
    _hole(home)
    check(home.run(), NO_CONNECTION)


@pytest.mark.parametrize("what", ["missing", "directory"])
def test_a_missing_tcpto6_is_no_condition_for_mail(home, smtp, what):
    smtp(V6)
    if what == "missing":
        os.rmdir(home.run_path)
    else:
        os.mkdir(home.tcpto6_path)
    _hole(home)
    check(home.run(), NO_CONNECTION)
    home.route(f":[{V6}]")
    check(home.run(), "r", accepted(V6))


@pytest.mark.parametrize("data", [b"\xff" * 1024, b"\xff" * 10, b"\x7f" * 5000], ids=["ones", "10", "5000"])
def test_whatever_is_in_tcpto_is_no_condition_for_mail(home, smtp, data):
    smtp("192.0.2.1")
    home.tcpto(data, size=len(data))
    home.route(":192.0.2.1")
    check(home.run(), "r", accepted())
    with open(home.tcpto_path, "rb") as f:
        assert f.read() == data


def test_a_directory_in_place_of_tcpto_is_no_condition_for_mail(home, smtp):
    smtp("192.0.2.1")
    os.unlink(home.tcpto_path)
    os.mkdir(home.tcpto_path)
    home.route(":192.0.2.1")
    check(home.run(), "r", accepted())


@pytest.mark.parametrize("family", [4, 6])
def test_fifty_at_once_to_fifty_addresses_are_all_noted(home, family):
    """Each to an address of its own: every one is noted, none is written over."""
    hole = "203.0.113.{}" if family == 4 else "2001:db8:dead::{:x}"
    home.control("timeoutconnect", "1\n")
    processes = []
    for n in range(1, 51):
        processes.append(home.start(host=f"[{'IPv6:' if family == 6 else ''}{hole.format(n)}]"))
    runs = [p.finish(60) for p in processes]
    assert all(r.letters == "Z" and r.status == 0 for r in runs)
    records = used(read4() if family == 4 else read6())
    assert sorted(r.address for r in records) == sorted(hole.format(n) for n in range(1, 51))
    assert all(r.count == 1 for r in records)
    assert os.path.getsize(home.tcpto_path) == 1024


def test_fifty_at_once_to_one_address_count_as_one(home):
    _hole(home, HOLE4)
    runs = [p.finish(60) for p in [home.start() for _ in range(50)]]
    assert all(r.letters == "Z" and r.status == 0 for r in runs)
    assert [(r.address, r.count) for r in used(read4())] == [(HOLE4, 1)]


def test_the_lock_of_stock_is_waited_for(home, smtp):
    """Whoever holds flock() on the file is not read or written behind his back."""
    server = smtp("192.0.2.1")
    then = int(time.time()) - 100
    home.tcpto(pack4("192.0.2.1", 1, then))
    home.route(":192.0.2.1")
    with open(home.tcpto_path, "rb+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        process = home.start()
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            assert read4()[0].count == 1, "written while another held the lock"
            time.sleep(0.02)
        fcntl.flock(f, fcntl.LOCK_UN)
    check(process.finish(), "r", accepted())
    assert server.connections == 1


@pytest.mark.timed
def test_a_good_address_beside_skipped_ones_gets_the_mail_at_once(home, smtp, dns):
    """A host with one marked and one good address is delivered to at once."""
    smtp("192.0.2.2")
    home.tcpto(pack4(HOLE4, 3, time.time() - 200))
    _write6(home, pack6(HOLE6, 3, time.time() - 200))
    dns.zone(f"dst.example A {HOLE4}\ndst.example AAAA {HOLE6}\ndst.example A 192.0.2.2")
    run = home.run()
    check(run, "r", accepted("192.0.2.2"))
    assert run.lasted(0.9)


def test_readers_see_whole_records_while_fifty_write(home):
    """Read by another while fifty write: every record is sound at any time."""
    home.control("timeoutconnect", "1\n")
    stop, seen = threading.Event(), []

    def look():
        while not stop.is_set():
            with open(home.tcpto_path, "rb") as f:
                fcntl.flock(f, fcntl.LOCK_SH)
                seen.append(used(read4()))
            time.sleep(0.01)

    thread = threading.Thread(target=look)
    thread.start()
    processes = [home.start(host=f"[203.0.113.{n}]") for n in range(1, 21)]
    for p in processes:
        p.finish(60)
    stop.set()
    thread.join()
    assert all(r.count == 1 and r.address.startswith("203.0.113.") for rs in seen for r in rs)
    assert len(used(read4())) == 20


@pytest.mark.parametrize("records, age, contacted", [(b"", 50, True), (b"", 150, False), (pack4("10.0.0.1", 1, 77), 50, False)],
                         ids=["cleared", "cleared-before", "in-use"])
def test_clearing_tcpto_clears_tcpto6(home, smtp, records, age, contacted):
    """qmail-tcpok, and qmail-rspawn as qmail starts, write zeros over tcpto; neither knows of tcpto6."""
    now = time.time()
    server = smtp(V6)
    home.route(f":[{V6}]")
    _write6(home, pack6(V6, 3, now - 100))
    home.tcpto(records, when=now - age)
    run = home.run()
    assert run.letters == ("rK" if contacted else "Z"), run
    assert server.connections == contacted


def test_restart_of_qmail_clears_tcpto6(home, smtp):
    """What qmail-rspawn does at its start, in a process of its own; then the first time-out counts as one."""
    _hole(home)
    _write6(home, pack6(HOLE6, 9, time.time() - 10))
    assert home.run().message.text.decode().splitlines()[1] == f"{HOLE6}: skipped, it timed out lately"
    with open(home.tcpto_path, "rb+") as f:
        f.write(b"\0" * 1024)
    run = home.run()
    assert run.message.text.decode().splitlines()[1].endswith("timed out"), run
    assert [(r.address, r.count) for r in used(read6())] == [(HOLE6, 1)]
