"""smtproutes and its compiled form: always what the file says now, whatever happened to it."""

import fcntl
import os
import threading
import time

import pytest

import forgery
from expect import CONTROL, DNS_SOFT, NO_CONNECTION, accepted, check
from qmailhome import FILLER
from test_stock import one_user

A, B = "192.0.2.11", "192.0.2.12"
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _long(request):
    """The routes are compiled."""
    if "home" in request.fixturenames:
        request.getfixturevalue("home").filler = FILLER


@pytest.fixture
def two(smtp):
    return {A: smtp(A), B: smtp(B)}


def goes_to(home, ip, **kw):
    check(home.run(**kw), "r", accepted(ip))


def compiled(home, ip, text=None):
    """These routes, in force and compiled: by the first delivery after the change."""
    home.control("smtproutes", f":{ip}\n" if text is None else text)
    if os.path.exists(home.cdb_path):
        os.unlink(home.cdb_path)
    goes_to(home, ip)
    assert os.path.getsize(home.cdb_path) > 2048


def test_the_index_appears_and_is_used_as_it_is(home, two):
    """It appears, alone, and is used as it is from then on."""
    compiled(home, A)
    assert set(os.listdir(home.run_path)) <= {"smtproutes.cdb", "smtproutes.lock", "tcpto6", "addresses"}
    assert os.stat(home.cdb_path).st_mode & 0o022 == 0
    before = os.stat(home.cdb_path)
    goes_to(home, A)
    after = os.stat(home.cdb_path)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_short_file_needs_no_index(home, two):
    home.filler = ""
    text = f"#{'-' * 4060}\ndst.example:"
    home.control("smtproutes", (text + A).ljust(4095) + "\n")
    goes_to(home, A)
    assert not os.path.exists(home.cdb_path)
    home.control("smtproutes", (text + B).ljust(4096) + "\n")
    goes_to(home, B)
    assert os.path.exists(home.cdb_path)
    home.control("smtproutes", text + A)
    goes_to(home, A)


def test_a_change_in_the_same_second_counts_at_once(home, two):
    """Same size, same mtime, same inode; each time with the compiled form of the state before at hand."""
    for ip in (A, B, A, B):
        home.route(f":{ip}")
        os.utime(f"{home.path}/control/smtproutes", ns=(10**18, 10**18))
        goes_to(home, ip)
    compiled(home, A)
    for ip in (B, A, B):
        home.route(f":{ip}")
        os.utime(f"{home.path}/control/smtproutes", ns=(10**18, 10**18))
        goes_to(home, ip)


@pytest.mark.parametrize("mtime", [1000, 2**31 + 5, None], ids=["older", "future", "kept"])
def test_a_change_counts_whatever_the_time_of_the_file(home, two, mtime):
    compiled(home, A)
    path = f"{home.path}/control/smtproutes"
    old = os.stat(path).st_mtime_ns
    home.route(f":{B}")
    os.utime(path, ns=(old, old) if mtime is None else (mtime * 10**9, mtime * 10**9))
    goes_to(home, B)


@pytest.mark.parametrize("how", ["rename", "rename-with-times"])
def test_a_file_that_is_renamed_into_place_counts_at_once(home, two, how):
    compiled(home, A)
    path = f"{home.path}/control/smtproutes"
    home.control("new", f":{B}\n")
    if how == "rename-with-times":
        old = os.stat(path).st_mtime_ns
        os.utime(f"{home.path}/control/new", ns=(old, old))
    os.rename(f"{home.path}/control/new", path)
    goes_to(home, B)


def test_a_file_that_is_removed_or_emptied_counts_at_once(home, two, dns):
    dns.zone(f"dst.example A {B}")
    compiled(home, A)
    for text in (None, "", "\n", "# nothing\n"):
        home.control("smtproutes", text)
        goes_to(home, B)
        goes_to(home, B)
        home.route(f":{A}")
        goes_to(home, A)


ROUTES = f"#dst.example:{B}\nx.dst.example:{B}\nother.example:{B}\ndst.example:{A}\nlast.example:{B}\n"


@pytest.mark.parametrize("piece", [
    f"dst.example:{B}", f"#dst.example:{B}", f"x.dst.example:{B}", f"other.example:{B}", f"dst.example:{A[:-1]}",
    f"dst.example:{A}\nlast.example:{B}", f"example:{A}", "", None,
], ids=["comment", "comment-line", "longer-key", "other-key", "cut", "two-lines", "tail-of-a-line", "empty", "outside"])
def test_a_forged_index_leads_nowhere(home, two, piece):
    """What an index says is looked up in the routes; where it is wrong they are read themselves."""
    home.control("smtproutes", ROUTES)
    source = f"{home.path}/control/smtproutes"
    key = b"dst.example"
    if piece is None:
        place = (len(ROUTES), 20)
    else:
        place = (ROUTES.index(piece), len(piece))
    _spoil(home, forgery.index(source, [(key, *place)]))
    goes_to(home, A)


def test_an_index_that_leaves_routes_out_leads_to_a_host_of_the_dns_or_of_the_file(home, two, dns):
    """That cannot be noticed; doc/SECURITY.md says so.  Mail goes nowhere that is not in the file or the DNS."""
    dns.zone(f"dst.example A {B}")
    home.control("smtproutes", f"dst.example:192.0.2.99\ndst.example:{A}\n")
    source = f"{home.path}/control/smtproutes"
    _spoil(home, forgery.index(source, []))
    goes_to(home, B)
    _spoil(home, forgery.index(source, [(b"dst.example", *forgery.place(source, f"dst.example:{A}".encode()))]))
    goes_to(home, A)


@pytest.mark.parametrize("kind", ["fifo", "link", "device", "directory", "huge"])
def test_odd_things_in_place_of_the_index_are_done_without(home, two, kind):
    home.route(f":{A}")
    path = home.cdb_path
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "huge":
        _spoil(home, forgery.index(f"{home.path}/control/smtproutes", []))
        os.truncate(path, 1 << 32)
    else:
        os.symlink("/dev/zero" if kind == "device" else f"{home.path}/control/smtproutes", path)
    check(home.run(timeout=60), "r", accepted(A))


def test_routes_that_cannot_be_read_are_temporary_in_spite_of_an_index(home, two):
    compiled(home, A)
    home.control("smtproutes", None)
    os.mkdir(f"{home.path}/control/smtproutes")
    check(home.run(), CONTROL)


def _spoil(home, data):
    with open(home.cdb_path, "wb") as f:
        f.write(data)


def test_a_truncated_index_is_done_without(home, two):
    compiled(home, A, "".join(f"h{n}.example:192.0.2.99\n" for n in range(50)) + f":{A}\n")
    with open(home.cdb_path, "rb") as f:
        good = f.read()
    for size in (0, 1, 7, 100, 2047, 2048, 2049, len(good) // 2, len(good) - 30, len(good) - 8, len(good) - 1):
        _spoil(home, good[:size])
        goes_to(home, A)


def test_a_corrupt_index_is_done_without(home, two):
    compiled(home, A)
    for garbage in (b"\0" * 4096, b"\xff" * 4096, b"garbage" * 1000):
        _spoil(home, garbage)
        goes_to(home, A)


def test_a_flipped_byte_of_the_index_leads_past_no_route(home, two, dns):
    """No damage leads to a crash, nor past the route."""
    dns.zone(f"dst.example A {B}")
    compiled(home, A, f"dst.example:{A}\n")
    with open(home.cdb_path, "rb") as f:
        good = f.read()
    places = list(range(0, 2048, 41)) + list(range(2048, 2200, 5)) + list(range(2200, len(good), 101)) + \
        list(range(len(good) - 60, len(good), 3))
    for at in places:
        _spoil(home, good[:at] + bytes([good[at] ^ 0xff]) + good[at + 1:])
        goes_to(home, A)


def test_an_index_that_was_copied_from_elsewhere_is_not_used(home, two):
    """A compiled file that was copied here says that it is of another file."""
    compiled(home, A)
    with open(home.cdb_path, "rb") as f:
        foreign = f.read()
    home.control("smtproutes", None)
    home.control("smtproutes.x", "x\n")
    home.control("smtproutes", f":{B}\n")
    _spoil(home, foreign)
    goes_to(home, B)


@pytest.mark.parametrize("what", ["missing", "file", "parent-missing"])
def test_a_missing_state_directory_is_done_without(home, two, what):
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
def test_a_state_directory_that_cannot_be_written_is_done_without(home, two):
    os.chmod(home.run_path, 0o555)
    for ip in (A, B):
        home.route(f":{ip}")
        goes_to(home, ip, uid=4711, gid=4711)
    assert os.listdir(home.run_path) == []


@one_user
def test_a_stale_index_that_cannot_be_replaced_is_not_used(home, two):
    compiled(home, A)
    for name in os.listdir(home.run_path):
        os.chmod(f"{home.run_path}/{name}", 0o444)
    os.chmod(home.run_path, 0o555)
    home.route(f":{B}")
    goes_to(home, B, uid=4711, gid=4711)


@pytest.mark.timed
def test_a_lock_held_by_another_is_not_waited_for(home, two):
    """While one compiles, the others do not wait: they read the text."""
    compiled(home, A)
    with open(f"{home.run_path}/smtproutes.lock", "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        fcntl.lockf(f, fcntl.LOCK_EX)
        home.route(f":{B}")
        run = home.run(timeout=10)
        check(run, "r", accepted(B))
        assert run.lasted(2)
        assert not any(name.endswith(".new") for name in os.listdir(home.run_path))


def test_little_is_read_of_200000_routes(home, two):
    """Of the text only the line, and a few pages of the compiled form."""
    if "sanitizer" in home.kind:
        pytest.skip("sanitizers do not work below strace")
    lines = [f"host{n}.example:192.0.2.99\n" for n in range(200000)]
    lines[150000] = f"dst.example:{A}\n"
    compiled(home, A, "".join(lines))
    assert 0 < home.bytes_read(f"{home.path}/control/smtproutes") < 1000
    assert 0 < home.bytes_read(home.cdb_path) < 50000
    os.unlink(home.cdb_path)
    assert home.bytes_read(f"{home.path}/control/smtproutes") > 200000


def test_a_line_of_a_million_bytes_is_read(home, two):
    home.control("smtproutes", "x" * 1000000 + ":192.0.2.99\n" + f"dst.example:{A}\n")
    goes_to(home, A)


def test_each_of_fifty_runs_uses_one_state_of_the_routes(home, two):
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
    leftovers = set(os.listdir(home.run_path)) - {"smtproutes.cdb", "smtproutes.lock", "tcpto6", "addresses"}
    assert not leftovers


# Lines that cannot be used.

FOREIGN = [f"{A}:587|{SECRET}", f"{A}:587||{SECRET}", f"{A};587 user {SECRET}", f"{A}:587 user {SECRET}",
           f"{A}:587:user:{SECRET}", f"{A}:25:foo", f"{A}:25x", f"{A} user {SECRET}", f"{A}:587 |user|{SECRET}",
           f"[2001:db8::1]:587 user {SECRET}", f"user:{SECRET}@{A}:587", f"smtp:[{A}]:587", f"{A}/587", f"{A},{B}",
           f"{A}:25,{B}:25", f"{A}:|user|{SECRET}", f"|user|{SECRET}", f":587|user|{SECRET}"]


@pytest.mark.parametrize("value", FOREIGN, ids=range(len(FOREIGN)))
def test_relays_in_the_syntax_of_other_programs_are_temporary_and_show_no_password(home, two, smtp, dns, value):
    """Deferred, nobody connected to, the file named, and nothing shown of what follows the relay's name."""
    others = [smtp(A, port=587), smtp("2001:db8::1", port=587)]
    dns.zone(f"r.example A {A}\nuser A {A}\nsmtp A {A}\ndst.example A {A}")
    home.route(f"dst.example:{value}")
    run = home.run()
    check(run, NO_CONNECTION)
    line = run.message.text.decode().splitlines()[1]
    assert line.startswith("control/smtproutes: ") and "dst.example:" in line, run
    assert SECRET.encode() not in run.report
    assert not any(s.connections for s in [*two.values(), *others])


@pytest.mark.parametrize("zone", ["", "r.example TXT x", "r.example CNAME s.example.\ns.example TXT x"],
                         ids=["nxdomain", "no-data", "alias-of-nothing"])
def test_a_relay_that_the_dns_denies_is_temporary(home, dns, zone):
    """Our own configuration: deferred, with the file and the relay's name."""
    dns.zone(zone)
    home.route(":r.example:2525")
    run = home.run()
    check(run, DNS_SOFT)
    assert run.message.text.decode().splitlines()[1:] == ["control/smtproutes: the DNS has no relay r.example"], run


def test_a_comment_behind_a_port_is_cut(home, two):
    for comment in (" # smart host", "\t#", " #"):
        home.route(f":{A}:25{comment}")
        goes_to(home, A)
