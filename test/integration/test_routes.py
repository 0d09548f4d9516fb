"""smtproutes and its compiled form: always what the file says now, whatever happened to it."""

import fcntl
import os
import threading
import time

import pytest

from expect import CONTROL, accepted, check
from test_stock import one_user

A, B = "192.0.2.11", "192.0.2.12"


@pytest.fixture
def two(smtp):
    return {A: smtp(A), B: smtp(B)}


def goes_to(home, ip, **kw):
    check(home.run(**kw), "r", accepted(ip))


def test_compiled_file_appears(home, two):
    home.route(f":{A}")
    goes_to(home, A)
    assert os.path.getsize(home.cdb_path) > 2048
    assert set(os.listdir(home.run_path)) <= {"smtproutes.cdb", "smtproutes.lock", "tcpto6"}
    assert os.stat(home.cdb_path).st_mode & 0o7777 & 0o022 == 0


def test_compiled_file_is_used_and_kept(home, two):
    home.route(f":{A}")
    goes_to(home, A)
    before = os.stat(home.cdb_path)
    goes_to(home, A)
    after = os.stat(home.cdb_path)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_change_in_the_same_second(home, two):
    """Same size, same mtime, same inode."""
    for ip in (A, B, A, B):
        home.route(f":{ip}")
        os.utime(f"{home.path}/control/smtproutes", ns=(10**18, 10**18))
        goes_to(home, ip)


def test_older_mtime(home, two):
    home.route(f":{A}")
    goes_to(home, A)
    home.route(f":{B}")
    os.utime(f"{home.path}/control/smtproutes", (1000, 1000))
    goes_to(home, B)


def test_mtime_in_the_future(home, two):
    for ip in (A, B):
        home.route(f":{ip}")
        os.utime(f"{home.path}/control/smtproutes", (2**31 + 5, 2**31 + 5))
        goes_to(home, ip)


def test_replaced_by_rename(home, two):
    home.route(f":{A}")
    goes_to(home, A)
    home.control("new", f":{B}\n")
    os.rename(f"{home.path}/control/new", f"{home.path}/control/smtproutes")
    goes_to(home, B)


@pytest.mark.parametrize("text", [None, "", "\n", "# nothing\n"])
def test_removed_or_emptied(home, two, dns, text):
    dns.zone(f"dst.example A {B}")
    home.route(f":{A}")
    goes_to(home, A)
    home.control("smtproutes", text)
    goes_to(home, B)
    home.route(f":{A}")
    goes_to(home, A)


def test_unreadable_in_spite_of_compiled(home, two):
    home.route(f":{A}")
    goes_to(home, A)
    home.control("smtproutes", None)
    os.mkdir(f"{home.path}/control/smtproutes")
    check(home.run(), CONTROL)


@pytest.mark.parametrize("size", [0, 1, 7, 100, 2047, 2048, 2049, -1, -8, -30])
def test_truncated_compiled_file(home, two, size):
    home.control("smtproutes", "".join(f"h{n}.example:192.0.2.99\n" for n in range(50)) + f":{A}\n")
    goes_to(home, A)
    os.truncate(home.cdb_path, size if size >= 0 else os.path.getsize(home.cdb_path) + size)
    goes_to(home, A)


@pytest.mark.parametrize("garbage", [b"\0" * 4096, b"\xff" * 4096, b"garbage" * 1000], ids=["zero", "ones", "text"])
def test_corrupt_compiled_file(home, two, garbage):
    home.route(f":{A}")
    goes_to(home, A)
    with open(home.cdb_path, "wb") as f:
        f.write(garbage)
    goes_to(home, A)


def test_every_byte_of_the_tables_flipped(home, two):
    """No pointer in the compiled file leads to a crash."""
    home.route(f"dst.example:{A}")
    goes_to(home, A)
    with open(home.cdb_path, "rb") as f:
        good = f.read()
    for at in list(range(0, 64, 3)) + list(range(2048, len(good), 5)):
        with open(home.cdb_path, "wb") as f:
            f.write(good[:at] + bytes([good[at] ^ 0xff]) + good[at + 1:])
        home.control("timeoutconnect", "1\n")
        assert home.run().letters[-1] in "KZD"


@pytest.mark.parametrize("what", ["missing", "file", "parent-missing"])
def test_no_run_directory(home, two, what):
    os.rmdir(home.run_path)
    if what == "file":
        with open(home.run_path, "wb"):
            pass
    if what == "parent-missing":
        os.rmdir(os.path.dirname(home.run_path))
    for ip in (A, B):
        home.route(f":{ip}")
        goes_to(home, ip)


@one_user
def test_unwritable_run_directory(home, two):
    os.chmod(home.run_path, 0o555)
    for ip in (A, B):
        home.route(f":{ip}")
        goes_to(home, ip, uid=4711, gid=4711)
    assert os.listdir(home.run_path) == []


@one_user
def test_stale_compiled_file_in_unwritable_directory(home, two):
    home.route(f":{A}")
    goes_to(home, A)
    for name in os.listdir(home.run_path):
        os.chmod(f"{home.run_path}/{name}", 0o444)
    os.chmod(home.run_path, 0o555)
    home.route(f":{B}")
    goes_to(home, B, uid=4711, gid=4711)


def test_lock_held_by_another(home, two):
    """While one compiles, the others do not wait: they read the text."""
    home.route(f":{A}")
    goes_to(home, A)
    with open(f"{home.run_path}/smtproutes.lock", "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        fcntl.lockf(f, fcntl.LOCK_EX)
        home.route(f":{B}")
        run = home.run(timeout=10)
        check(run, "r", accepted(B))
        assert run.wall < 2


def test_many_routes(home, two):
    lines = [f"host{n}.example:192.0.2.99\n" for n in range(200000)]
    lines[150000] = f"dst.example:{A}\n"
    home.control("smtproutes", "".join(lines))
    goes_to(home, A)
    walls = []
    for _ in range(3):
        run = home.run()
        check(run, "r", accepted(A))
        walls.append(run.cpu)
    assert min(walls) < 0.03, walls


def test_long_line(home, two):
    home.control("smtproutes", "x" * 1000000 + ":192.0.2.99\n" + f"dst.example:{A}\n")
    goes_to(home, A)


def test_changes_while_fifty_run(home, two):
    """Each run uses one state of the file, all of it; afterwards the last one holds."""
    stop = threading.Event()
    filler = "".join(f"host{n}.example:192.0.2.99\n" for n in range(2000))

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            home.control("next", filler + f"dst.example:{(A, B)[n % 2]}\n")
            os.rename(f"{home.path}/control/next", f"{home.path}/control/smtproutes")
            time.sleep(0.003)

    home.control("smtproutes", filler + f"dst.example:{A}\n")
    changer = threading.Thread(target=change)
    changer.start()
    try:
        processes = [home.start() for _ in range(50)]
        runs = [p.finish(60) for p in processes]
    finally:
        stop.set()
        changer.join()
    assert all(r.status == 0 and r.letters == "rK" for r in runs), [r for r in runs if r.letters != "rK"]
    assert len(two[A].mails) + len(two[B].mails) == 50
    for ip in (A, B):
        home.control("smtproutes", filler + f"dst.example:{ip}\n")
        goes_to(home, ip)
    leftovers = set(os.listdir(home.run_path)) - {"smtproutes.cdb", "smtproutes.lock", "tcpto6"}
    assert not leftovers
