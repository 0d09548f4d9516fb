"""Little of everything: memory, descriptors, disk, file size, stack, time; and odd places for the report.

Whatever is short, mail is delivered and called so, or deferred; the report is whole.
"""

import fcntl
import os
import resource
import threading

import pytest

import qmailhome
import rspawn
import world
from expect import accepted, check
from tlssite import age, told_nothing

ONE, TWO = "192.0.2.1", "192.0.2.2"
MB = 1 << 20

MS_RDONLY, MS_REMOUNT, MNT_DETACH = 1, 32, 2

SESSIONS = ("clear", "tls", "verified")


@pytest.fixture
def session(site):
    """One MX host: session("verified") gives its server."""
    def make(kind):
        site.home.control("timeoutdns", "2\n")
        if kind == "clear":
            site.mx()
            return site.smtp(ONE)
        return site.one(2 if kind == "verified" else 0)
    return make


def holds(run, server, kind="clear", *, may_crash=False):
    """Delivered and reported so, or deferred."""
    if may_crash and rspawn.ended_before_main(run):
        assert server.mails == []
        return b"Z"
    if os.WIFSIGNALED(run.status):
        assert may_crash, run
    else:
        assert run.status == 0, run
        records = rspawn.decode(run.report)
        assert all(r.letter in "rs" for r in records[:-1]), run
    assert run.rspawn[:1] in b"KZ", run
    assert len(server.mails) <= 1
    if run.rspawn[:1] == b"K":
        assert len(server.mails) == 1
    if kind == "verified":
        told_nothing(*server.sessions)
    return run.rspawn[:1]


def is_dynamic(home):
    with open(f"{home.path}/bin/qmail-remote", "rb") as f:
        return b"/ld-" in f.read(4096)


@pytest.fixture
def static(home):
    """The loader of a dynamic program, and sanitizers, need more than there is."""
    if is_dynamic(home):
        pytest.skip("only what is linked statically can say anything where the loader already fails")


def unmount(path):
    world._libc.umount2(path.encode(), MNT_DETACH)


# Memory.

@pytest.mark.parametrize("kind", SESSIONS)
def test_too_little_address_space_delivers_once_or_not_at_all(session, home, static, kind):
    """From 1 MB up to where nothing is short any more. Before main() the kernel may kill: that is a crash."""
    server = session(kind)
    letters = []
    for kb in [*range(1024, 8192, 512), *range(8192, 65536, 4096), 131072, 524288]:
        del server.sessions[:]
        run = home.run(limits={resource.RLIMIT_AS: kb << 10}, valid=False)
        letters.append(holds(run, server, kind, may_crash=kb < 2048))
    assert letters[-1] == b"K", letters


@pytest.mark.parametrize("what", [resource.RLIMIT_DATA, resource.RLIMIT_STACK])
@pytest.mark.parametrize("kind", SESSIONS)
def test_too_little_data_or_stack_delivers_once_or_not_at_all(session, home, static, kind, what):
    """Where there is not even room for the program's own data the kernel kills it before main()."""
    server = session(kind)
    for kb in (64, 128, 256, 512, 1024, 4096, 16384):
        del server.sessions[:]
        run = home.run(limits={what: kb << 10}, valid=False)
        letter = holds(run, server, kind, may_crash=what == resource.RLIMIT_DATA and kb < 1024)
        assert letter == b"K" or what != resource.RLIMIT_STACK, (kb, run)


# Descriptors.

@pytest.mark.parametrize("count", range(3, 13))
@pytest.mark.parametrize("kind", SESSIONS)
def test_too_few_descriptors_deliver_once_or_not_at_all(session, home, static, kind, count):
    server = session(kind)
    run = home.run(limits={resource.RLIMIT_NOFILE: count})
    letter = holds(run, server, kind)
    if count == 12:
        assert letter == b"K", run


@pytest.mark.parametrize("closed", [[fd for fd in range(3) if bits >> fd & 1] for bits in range(8)],
                         ids=lambda fds: "".join(map(str, fds)) or "none")
@pytest.mark.parametrize("kind", ["clear", "verified"])
def test_closed_descriptors_deliver_only_what_can_be_reported(session, home, kind, closed):
    """Without a message there is nothing to deliver, and what cannot be reported is not delivered."""
    server = session(kind)
    run = home.run(closed=closed, valid=False)
    assert run.status == 0, run
    assert b"accepted message" not in server.log and b"\0" not in server.log
    if 1 in closed:
        assert run.report == b"" and server.mails == []
    elif 0 in closed:
        assert holds(run, server, kind) == b"Z" and server.mails == []
    else:
        assert holds(run, server, kind) == b"K"


# Files.

@pytest.fixture
def state(home, dns, smtp):
    """A delivery that wants to write each state file: routes are new, the first host times out."""
    home.control("timeoutconnect", "1\n")
    home.filler = qmailhome.FILLER
    age(home.control("smtproutes", "x.example:y.example\n"))
    dns.zone(f"dst.example MX 1 m1.example.\nm1.example A {world.HOLE4}\nm1.example AAAA {world.HOLE6}\n"
             f"dst.example MX 2 m2.example.\nm2.example A {TWO}\n")
    return smtp(TWO)


def _delivers(home, server, **how):
    check(home.run(**how), "r", accepted(TWO))
    assert len(server.mails) == 1
    del server.sessions[:]


def test_state_is_written_where_nothing_is_short(home, state):
    _delivers(home, state)
    assert qmailhome.used(qmailhome.read4()) and qmailhome.used(qmailhome.read6())
    assert os.path.exists(home.cdb_path)


@pytest.mark.parametrize("size", [0, 1, 100, 1024, 4096])
def test_a_limit_on_file_sizes_is_no_condition_for_mail(home, state, size):
    """RLIMIT_FSIZE is no condition for mail; tables are of their size or not there."""
    _delivers(home, state, limits={resource.RLIMIT_FSIZE: size})
    assert os.stat(home.tcpto_path).st_size == 1024
    if os.path.exists(home.tcpto6_path):
        assert os.stat(home.tcpto6_path).st_size in (0, 2048)
    assert not [n for n in os.listdir(home.run_path) if n.endswith(".new")]
    home.tcpto(b"")
    _delivers(home, state)
    assert os.path.exists(home.cdb_path) and os.stat(home.tcpto6_path).st_size == 2048


def test_a_full_disk_is_no_condition_for_mail(home, state):
    world._mount("none", home.run_path, "tmpfs", 0, "mode=2750,size=64k")
    try:
        with open(f"{home.run_path}/filler", "wb", buffering=0) as f:
            try:
                while f.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        _delivers(home, state)
        assert not os.path.exists(home.cdb_path)
        assert not [n for n in os.listdir(home.run_path) if n.endswith(".new")]
        os.unlink(f"{home.run_path}/filler")
        home.tcpto(b"")
        _delivers(home, state)
        assert os.path.exists(home.cdb_path) and os.stat(home.tcpto6_path).st_size == 2048
    finally:
        unmount(home.run_path)


@pytest.mark.parametrize("what", ["run", "all"])
def test_a_read_only_file_system_is_no_condition_for_mail(home, state, what):
    path = home.run_path if what == "run" else home.path
    message = home.message(qmailhome.MESSAGE)
    world._mount(path, path, None, world.MS_BIND)
    try:
        world._mount(path, path, None, world.MS_BIND | MS_REMOUNT | MS_RDONLY)
        _delivers(home, state, message=message)
        assert not os.listdir(home.run_path)
        if what == "all":
            assert not qmailhome.used(qmailhome.read4())
    finally:
        unmount(path)


def test_anchors_verify_where_their_index_cannot_be_written(session, home):
    """The compiled form of the trust anchors cannot be kept."""
    server = session("verified")
    age("/srv/pki/anchors.pem")
    message = home.message(qmailhome.MESSAGE)
    world._mount(home.path, home.path, None, world.MS_BIND)
    try:
        world._mount(home.path, home.path, None, world.MS_BIND | MS_REMOUNT | MS_RDONLY)
        run = home.run(message=message)
        assert holds(run, server, "verified") == b"K"
    finally:
        unmount(home.path)


# Time.

@pytest.mark.parametrize("kind", SESSIONS)
def test_one_second_of_processor_time_is_enough(session, home, kind):
    server = session(kind)
    assert holds(home.run(limits={resource.RLIMIT_CPU: 1}), server, kind) == b"K"


@pytest.mark.long
def test_processor_time_that_ends_amid_the_mail_data_is_a_crash(home, relay):
    """Killed in the middle of the mail data: a crash for qmail-rspawn, half a message for the server."""
    server = relay(keep=False)
    path = f"{home.path}/queue/mess/large"
    with open(path, "wb") as f:
        f.truncate(64 << 30)
    run = home.run(message=path, limits={resource.RLIMIT_CPU: 1}, valid=False, timeout=300)
    os.unlink(path)
    assert run.rspawn == b"Zqmail-remote crashed.\n" and server.mails == []


# The report.

FILLER = 4096


class _Drain(threading.Thread):
    """Reads a pipe piece by piece, each only when the writer had time to fill the room of the one before."""

    def __init__(self, fd, pause):
        super().__init__(daemon=True)
        self.fd, self.pause, self.data = fd, pause, bytearray()
        self.start()

    def run(self):
        while True:
            piece = os.read(self.fd, 1000)
            if not piece:
                return
            self.data += piece
            threading.Event().wait(self.pause)


@pytest.mark.parametrize("recipients", [1, 200])
@pytest.mark.parametrize("kind", SESSIONS)
def test_a_report_into_a_full_pipe_is_written_whole_and_once(site, home, kind, recipients):
    """Full from the start, not blocking, and read in small pieces: nothing is lost and nothing repeated."""
    refuse = b"550-" + b"x" * 400 + b"\r\n550 no\r\n"
    script = {"RCPT": [b"250 ok\r\n"] + [refuse] * recipients}
    if kind == "clear":
        site.mx()
        server = site.smtp(ONE, **script)
    else:
        server = site.one(2 if kind == "verified" else 0, **script)
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, FILLER)
    os.set_blocking(write, False)
    assert os.write(write, b"." * (2 * FILLER)) == FILLER
    process = home.start(recipients=[f"u{n}@dst.example" for n in range(recipients)], stdout=write)
    os.close(write)
    drain = _Drain(read, 0.002)
    run = process.finish()
    drain.join(10)
    os.close(read)
    assert run.status == 0
    data = bytes(drain.data)
    assert data[:FILLER] == b"." * FILLER
    run.report = data[FILLER:]
    assert run.letters == "r" + "h" * (recipients - 1) + "K", run
    assert len(server.mails) == 1


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_report_into_a_full_disk_is_a_deferral(session, home, kind):
    """A full disk where the report goes: it is lost, which qmail-rspawn takes for a deferral."""
    session(kind)
    fd = os.open("/dev/full", os.O_WRONLY)
    run = home.run(stdout=fd, valid=False)
    os.close(fd)
    assert run.status == 0 and run.report == b""
    assert run.rspawn[:1] == b"Z"
