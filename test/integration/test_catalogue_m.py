"""The catalogue, group M: state files and resources."""

import fcntl
import os
import resource
import socket
import subprocess
import threading
import time

import qmailhome
import rspawn
from catalogue import BIG, ONE, TWO, Case, Setup, Start, Want, injecting, table
from smtpd import Call
from test_stock import one_user
from world import HOLE4, HOLE6

NOBODY = 4711
ODD = ("missing", "empty", "odd", "gigabyte", "directory", "fifo", "dangling", "loop", "device", "unreadable")


def replace(path, what):
    """Put something else in the place of a file."""
    if os.path.lexists(path):
        os.unlink(path)
    if what == "directory":
        os.mkdir(path)
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "dangling":
        os.symlink("/srv/nowhere/at/all", path)
    elif what == "loop":
        os.symlink(path, path)
    elif what == "device":
        os.symlink("/dev/zero", path)
    elif what != "missing":
        with open(path, "wb") as f:
            f.write({"odd": b"\xff" * 1003, "empty": b"", "ones": b"\xff" * 2048}.get(what, b""))
            if what == "gigabyte":
                f.truncate(1 << 30)
        os.chmod(path, 0 if what == "unreadable" else 0o644)


def pair(stage):
    """First a host of which nothing is heard, then a good one: both tables are read and written."""
    stage.home.control("timeoutconnect", "1\n")
    stage.dns.zone(f"dst.example MX 5 hole.example.\nhole.example A {HOLE4}\nhole.example AAAA {HOLE6}\n"
                   f"dst.example MX 10 m1.example.\nm1.example A {ONE}")


def table_cases():
    for what in ODD:
        for name in ("tcpto", "tcpto6"):
            def prepare(stage, what=what, name=name):
                pair(stage)
                replace(stage.home.tcpto_path if name == "tcpto" else stage.home.tcpto6_path, what)
            yield Case(f"M1-{name}-{what}", Setup(zone="dst.example TXT x", prepare=prepare), Want("K", within=5),
                       says="without a table of dead hosts the mail goes on as if it were empty")

    def held(stage):
        pair(stage)
        stage.locks = [open(stage.home.tcpto_path, "r+b")]
        open(stage.home.tcpto6_path, "wb").close()
        stage.locks.append(open(stage.home.tcpto6_path, "r+b"))
        stage.locks.append(open(f"{stage.home.run_path}/smtproutes.lock", "wb"))
        for f in stage.locks:
            fcntl.flock(f, fcntl.LOCK_EX)
        stage.home.filler = qmailhome.FILLER
        stage.home.control("smtproutes", "other.example:192.0.2.99\n")

    def let_go(stage):
        for f in stage.locks:
            f.close()

    yield Case("M2-held", Setup(zone="dst.example TXT x", prepare=held), Want("K", check=let_go, within=8),
               says="a lock is waited for at most 0.5 s at a time, then the delivery goes on without the table")
    now = int(time.time())
    records = {"count-255": (ONE, 255, now - 10000), "future": (ONE, 5, now + 10 ** 6),
               "year-2106": (ONE, 5, 0xffffffff),
               "zero-address": ("0.0.0.0", 5, now), "zero": ("0.0.0.0", 0, 0)}
    for name, record in records.items():
        yield Case(f"M3-{name}", Setup(prepare=lambda stage, r=record: stage.home.tcpto(qmailhome.pack4(*r))), "K",
                   says="what is further in the future than any window says nothing")
    yield Case("M3-ones", Setup(prepare=lambda stage: stage.home.tcpto(b"\xff" * 1024)), "K")


def full_cases():
    """A file system of its own for the state, with nothing left on it."""
    def small(how):
        def prepare(stage):
            pair(stage)
            stage.home.control("smtproutes", "".join(f"h{n}.example:192.0.2.99\n" for n in range(2000)))
            path = stage.home.run_path
            options = {"inodes": "size=4k,nr_inodes=2", "full": "size=8k", "read-only": "ro"}[how]
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", path], check=True)
            if how == "full":
                with open(f"{path}/filler", "wb", buffering=0) as f:
                    try:
                        while True:
                            f.write(b"x" * 4096)
                    except OSError:
                        pass
        return prepare

    def unmount(stage):
        subprocess.run(["umount", stage.home.run_path], check=True)

    for how in ("full", "inodes", "read-only"):
        def play(stage):
            try:
                stage.deliver()
                stage.deliver()
            finally:
                unmount(stage)
        yield Case(f"M4-{how}", Setup(zone="dst.example TXT x", prepare=small(how)),
                   Want("K", several=True, within=6), Start(play=play))
    def routes(stage):
        pair(stage)
        stage.home.control("smtproutes", "other.example:192.0.2.99\n")

    # Of writes only those into the state directory: not the report.
    paths = [f"{qmailhome.Home.run_path}{name}" for name in ("", "/tcpto6", "/smtproutes.cdb")]
    only = [word for path in paths for word in ("-P", path)]
    for error in ("EDQUOT", "EIO", "ENOSPC", "EROFS"):
        for call in ("pwrite64", "write", "rename", "ftruncate", "fsync"):
            if call == "write" and error != "EIO":
                continue
            yield Case(f"M4-{error}-{call}", Setup(zone="dst.example TXT x", prepare=routes), Want("K", within=8),
                       injecting(call, f"error={error}", *(only if call == "write" else [])))
    yield Case("M12-spool", cannot="nothing is spooled: there is no TLSRPT and no log of our own")


def compiled_cases():
    def compile_it(stage):
        stage.home.filler = qmailhome.FILLER
        stage.home.control("smtproutes", f"x.example:192.0.2.98\ndst.example:{ONE}\n:{TWO}\n")
        stage.other = stage.server(TWO, host="m2.example")
        os.utime(f"{stage.home.path}/control/smtproutes", (1000, 1000))
        deadline = time.monotonic() + 5
        while not os.path.exists(stage.home.cdb_path) and time.monotonic() < deadline:
            stage.deliver()
            stage.first.sessions.clear()
            time.sleep(0.2)
        assert os.path.exists(stage.home.cdb_path)

    def spoiled(spoil):
        def play(stage):
            compile_it(stage)
            with open(stage.home.cdb_path, "rb") as f:
                good = f.read()
            for bad in spoil(good):
                with open(stage.home.cdb_path, "wb") as f:
                    f.write(bad)
                stage.deliver()
                assert stage.run.letters == "rK" and not stage.other.sessions, (len(bad), stage.run)
        return play

    says = "a damaged compiled list is noticed by its checksums, and the text file decides"
    for name, spoil in (
            ("truncated", lambda good: [good[:n] for n in (0, 1, 100, 2048, len(good) // 2, len(good) - 1)]),
            ("bit-flips", lambda good: [good[:n] + bytes([good[n] ^ 1 << n % 8]) + good[n + 1:]
                                        for n in range(3, len(good), len(good) // 25)]),
            ("offsets", lambda good: [b"\xff\xff\xff\x7f\xff\xff\xff\x7f" * 256 + good[2048:],
                                      b"\xf0\xff\xff\xff" * 512 + good[2048:],
                                      b"\0" * len(good)])):
        yield Case(f"M5-{name}", Setup(zone="dst.example TXT x"), Want("K", several=True), Start(play=spoiled(spoil)),
                   says=says)

    def swapped(stage):
        """Truncated and rewritten all the time while deliveries look into it."""
        compile_it(stage)
        with open(stage.home.cdb_path, "rb") as f:
            good = f.read()
        over = threading.Event()

        def spoil():
            while not over.wait(0.0002):
                with open(stage.home.cdb_path, "r+b") as f:
                    f.truncate(100)
                    f.truncate(len(good))
                    f.seek(0)
                    f.write(good)
        thread = threading.Thread(target=spoil)
        thread.start()
        try:
            for _ in range(20):
                stage.deliver()
                assert stage.run.letters == "rK" and not stage.other.sessions, stage.run
        finally:
            over.set()
            thread.join()

    yield Case("M5-under-way", Setup(zone="dst.example TXT x"), Want("K", several=True), Start(play=swapped))

    def torn(stage):
        """Killed while it compiles, at different moments; what is left behind hurts nobody."""
        lines = "".join(f"h{n}.example:192.0.2.99\n" for n in range(20000))
        stage.home.control("smtproutes", lines + f"dst.example:{ONE}\n:{TWO}\n")
        stage.other = stage.server(TWO, host="m2.example")
        os.utime(f"{stage.home.path}/control/smtproutes", (1000, 1000))
        time.sleep(2.1)
        for when in (0.002, 0.004, 0.008, 0.012, 0.016, 0.03):
            process = stage.begin()
            time.sleep(when)
            process.kill()
            process.finish()
        for _ in range(2):
            stage.first.settle()
            stage.first.sessions.clear()
            stage.deliver()
            assert stage.run.letters == "rK" and not stage.other.sessions, stage.run
        known = {"smtproutes.cdb", "smtproutes.lock", "addresses"}
        assert {n for n in os.listdir(stage.home.run_path) if "tmp" not in n and "new" not in n} <= known

    yield Case("M6-killed", Setup(zone="dst.example TXT x"), Want("K", several=True, within=6), Start(play=torn),
               says="written under another name and renamed: the old list, the new one, or none")


def call_cases():
    """Sampled: the sweep over all calls and errors is a test of its own."""
    for call, error in (("openat", "EMFILE"), ("openat", "ENFILE"), ("openat", "EIO"), ("read", "EIO"),
                        ("read", "EINTR"), ("socket", "EMFILE"), ("socket", "ENOBUFS"), ("connect", "EINTR"),
                        ("poll", "EINTR"), ("poll", "ENOMEM"), ("write", "EINTR"),
                        ("execve", "ENOMEM"), ("execve", "EIO"), ("mmap", "ENOMEM"), ("brk", "ENOMEM"),
                        ("sendto", "EIO"), ("recvfrom", "EIO")):
        for when in (1, 2, 3):
            if call in ("execve", "brk") and when != 2:
                continue
            yield Case(f"M7-{call}-{error}-{when}", Setup(control=dict(timeoutremote="2\n", timeoutdns="2\n")),
                       Want("KZ", within=10, report=call != "brk"), injecting(call, f"error={error}:when={when}"))
    for call, error, when in (("pipe2,pipe", "EMFILE", 1), ("socketpair", "EMFILE", 1),
                              ("vfork,clone,clone3", "EAGAIN", 1)):
        yield Case(f"M7-{call.split(',')[0]}-{error}-tls", Setup(), Want("KZ", within=10),
                   injecting(call, f"error={error}:when={when}"), over="ver")

    def limited(what, size):
        def play(stage):
            run = stage.deliver(limits={what: size})
            if rspawn.ended_before_main(run):
                assert stage.mails == []
                stage.cannot("glibc's own start needs more memory")
        return play

    for kilobytes in (256, 700, 1100, 1400, 1700, 2000, 2500, 4000, 8000):
        yield Case(f"M8-address-space-{kilobytes}", Setup(), Want("KZ", report=False),
                   Start(play=limited(resource.RLIMIT_AS, kilobytes << 10)))
    for kilobytes in (16, 64, 128, 200, 256, 300, 400, 600):
        yield Case(f"M8-data-{kilobytes}", Setup(), Want("KZ", report=False),
                   Start(play=limited(resource.RLIMIT_DATA, kilobytes << 10)))
    for kilobytes in (1000, 3000, 6000, 8000, 12000):
        yield Case(f"M8-tls-address-space-{kilobytes}", Setup(), Want("KZ", report=False),
                   Start(play=limited(resource.RLIMIT_AS, kilobytes << 10)), over="ver")


def message_cases():
    def with_message(change):
        """The message is changed while it is sent: at the reply to DATA a good deal of it has not been read."""
        def play(stage):
            path = f"{stage.home.path}/queue/mess/big"
            with open(path, "wb") as f:
                f.write(BIG)

            def step(session):
                change(path)
                return "354 go"
            stage.first.scripts[0]["DATA"] = Call(step)
            stage.deliver(message=path)
        return play

    def truncate(size):
        return lambda path: os.truncate(path, size)

    for name, change in (("shrinks", truncate(100000)), ("to-nothing", truncate(0)), ("to-a-line", truncate(66))):
        yield Case(f"M9-{name}", Setup(), "Z", Start(play=with_message(change)), over=("clear", "tls13"))

    def grow(path):
        with open(path, "ab") as f:
            f.write(b"and more\n" * 1000)

    yield Case("M9-grows", Setup(), "KZ", Start(play=with_message(grow)),
               says="a message that grows is Z, or goes out as it was: never cut short")

    def eio(stage, number):
        path = f"{stage.home.path}/queue/mess/big"
        with open(path, "wb") as f:
            f.write(BIG)
        stage.deliver_traced("-P", path, "-e", "trace=read,pread64", "-e",
                             f"inject=read,pread64:error=EIO:when={number}", message=path)

    for number in (1, 2, 5, 60):
        for way in ("clear", "pipe"):
            yield Case(f"M9-eio-{number}", Setup(), Want("Z", within=8),
                       Start(play=lambda stage, number=number: eio(stage, number)), over=way)

    def directory(stage):
        fd = os.open("/srv", os.O_RDONLY | os.O_DIRECTORY)
        stage.deliver(message=fd)
        os.close(fd)

    yield Case("M10-stdin-directory", Setup(), ["r", ("Z", "Unable to read message. (#4.3.0)")], Start(play=directory),
               over=("clear", "pipe"))
    yield Case("M10-stdin-closed", Setup(), "Z", Start(closed=(0,)), over=("clear", "pipe"))

    def broken_pipe(stage):
        ours, theirs = socket.socketpair()
        ours.close()
        stage.deliver(stdout=theirs.fileno())
        theirs.close()
        assert stage.run.status == 0 and stage.run.cpu < 1
        stage.run = None

    yield Case("M10-stdout-broken", Setup(), "K", Start(play=broken_pipe),
               says="the mail is gone, and qmail-rspawn, which reads nothing, makes Z of it")
    yield Case("M10-stdout-full", Setup(), "Z", Start(play=_full_device),
               says="a report that cannot be written is lost; qmail-rspawn makes Z of that")
    for closed in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        def check(stage, closed=closed):
            log = b"".join(s.log for s in stage.sessions)
            assert b"accepted" not in log and b"Remote host" not in log and b"\0" not in log
            assert not stage.mails or closed == (2,)
        yield Case(f"M11-closed-{'-'.join(map(str, closed))}", Setup(),
                   Want("K" if closed == (2,) else "Z", check=check, report=1 not in closed), Start(closed=closed),
                   says="with fd 1 closed nothing is delivered: what cannot be reported would come again")
    for name, limits, want in (("stack-64k", {resource.RLIMIT_STACK: 64 << 10}, "KZ"),
                               ("stack-16k", {resource.RLIMIT_STACK: 16 << 10}, "KZ"),
                               ("nproc-1", {resource.RLIMIT_NPROC: 1}, "KZ"), ("cpu-1", {resource.RLIMIT_CPU: 1}, "K"),
                               ("fsize-0", {resource.RLIMIT_FSIZE: 0}, "K"),
                               ("nofile-4", {resource.RLIMIT_NOFILE: 4}, "KZ")):
        yield Case(f"M13-{name}", Setup(), Want(want, report="stack" not in name), Start(limits=limits),
                   over=("clear", "ver"), plain=name == "nofile-4")
    for name in ("tcpto6", "addresses", "smtproutes.cdb", "smtproutes.lock", "smtproutes.cdb.tmp", "trustanchors.cdb",
                 "trustanchors.lock"):
        for what in ("file", "nothing"):
            def prepare(stage, name=name, what=what):
                pair(stage)
                stage.home.control("smtproutes", "other.example:192.0.2.99\n")
                stage.victim = "/srv/victim"
                if os.path.exists(stage.victim):
                    os.unlink(stage.victim)
                if what == "file":
                    with open(stage.victim, "wb") as f:
                        f.write(b"precious")
                os.symlink(stage.victim, f"{stage.home.run_path}/{name}")

            def untouched(stage, what=what):
                assert os.path.exists(stage.victim) == (what == "file")
                if what == "file":
                    with open(stage.victim, "rb") as f:
                        assert f.read() == b"precious"
                    assert os.stat(stage.victim).st_mode & 0o7777 == 0o644
            yield Case(f"M14-{name}-to-{what}", Setup(zone="dst.example TXT x", prepare=prepare),
                       Want("K", check=untouched, within=6), over="ver" if "trust" in name else "clear")

    def as_other(stage):
        os.chmod(stage.home.run_path, 0o755)
        pair(stage)
        stage.home.control("smtproutes", "other.example:192.0.2.99\n")

    yield Case("M14-not-writable", Setup(zone="dst.example TXT x", prepare=as_other), Want("K", within=6),
               Start(uid=NOBODY, gid=NOBODY), marks=[one_user])


def _full_device(stage):
    fd = os.open("/dev/full", os.O_WRONLY)
    stage.deliver(stdout=fd)
    os.close(fd)
    assert stage.run.status == 0 and stage.run.rspawn[:1] == b"Z"
    stage.run = None


CASES = [*table_cases(), *full_cases(), *compiled_cases(), *call_cases(), *message_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
