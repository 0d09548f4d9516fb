"""What a program that has been taken over cannot do.

The programs with -planted in their name are the real ones and an exploit: "planted-NAME" in what they read
makes them try the deed of that name (test/sandbox/planted.c).
"""

import ctypes
import errno
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time

import pytest

import httpsd
import rspawn
import test_sts
from conftest import PROGRAMS
from expect import accepted, check
from reuse import Reuse
from smtpd import Call, Until
from test_stock import one_user
from tlssite import programs, tls_line

PLANTED = "/srv/qmail/run/qmail-remote/planted"
KILLED = signal.SIGSYS

_libc = ctypes.CDLL(None, use_errno=True)

# What is nobody's business once a server is listened to: acting on other processes of the same user (the parent)
# and on the machine.  qmail-remote cannot do it either.
HARMFUL = dict.fromkeys((
    "queue-signal", "pidfd", "vm", "nice", "ioprio", "affinity", "scheduler", "prlimit", "chmod", "namespace", "mount",
    "host-name", "ipc", "keys", "bpf", "perf", "userfault", "memfd"), KILLED)
# Deeds that no program may do that moves bytes; errno: the attempt fails, nobody is killed.
DEEDS = {
    "read-queue": KILLED, "read-etc": KILLED, "write": KILLED, "create": KILLED, "state": KILLED,
    "truncate": KILLED, "unlink": KILLED, "mkdir": KILLED,
    "connect": KILLED, "unix": KILLED, "datagram": KILLED, "exec": KILLED, "fork": KILLED, "ptrace": KILLED, "kill": KILLED,
    "option": KILLED, "map-code": KILLED, "map-file": KILLED, "make-code": KILLED, "uring": KILLED, "x32": KILLED,
    "int80": KILLED, "dup": KILLED, "pass": KILLED, "limit": KILLED, "dumpable": KILLED, "newer": KILLED,
    "memory": errno.ENOMEM,
}
# OpenSSL may look for a file, and after an update of the C library for a system call.
TLS = {
    **dict.fromkeys(("read-queue", "read-etc", "write", "create", "state"), errno.EACCES),
    **dict.fromkeys(("dup", "pass", "limit", "dumpable", "newer"), errno.ENOSYS),
}
# Trust anchors in a directory are read until the handshake is done.
READING = {**TLS, "read-etc": None}
# It writes state, connects and starts programs; its parent, qmail-rspawn, has the same user.
REMOTE = {
    **HARMFUL, "owner": KILLED, "ptrace": KILLED, "kill": KILLED, "uring": KILLED, "x32": KILLED, "int80": KILLED,
    "write": errno.EACCES, "create": errno.EACCES, "truncate": errno.EACCES, "unlink": errno.EACCES,
    "mkdir": errno.EACCES, "state": None, "unix": errno.EAFNOSUPPORT, "alg": errno.EAFNOSUPPORT,
    "newer": errno.ENOSYS, "limit": None,
}
# Where Landlock has learnt that late, by version.
LANDLOCK = {"write": 1, "create": 1, "truncate": 3, "unlink": 1, "mkdir": 1}


def landlock():
    """Its version in this kernel, or 0."""
    return max(0, _libc.syscall(444, None, ctypes.c_size_t(0), 1))


def skip_without_sandbox(request):
    with open(f"{request.config.option.build}/config.h", encoding="ascii") as f:
        if "#define USE_SECCOMP" not in f.read():
            pytest.skip("programs without a sandbox")
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("no filter for this machine")


@pytest.fixture(autouse=True)
def sandbox(request):
    skip_without_sandbox(request)


@pytest.fixture
def plant(request, home):
    """plant(name): from now on the planted program of that name; nothing was told."""
    def do(name):
        path = f"{home.path}/bin/{name}"
        os.unlink(path)
        os.symlink(f"{request.config.option.build}/test/sandbox/{name}-planted", path)
        if os.path.exists(PLANTED):
            os.unlink(PLANTED)
    return do


def told():
    with open(PLANTED, encoding="ascii") as f:
        return f.read()


def was_stopped(deed, expected):
    """As far as it can be seen from what was told; a missing word after the attempt is a death."""
    after = {KILLED: "", None: f"{deed} done\n"}.get(expected, f"{deed} errno {expected}\n")
    assert told() == f"try {deed}\n{after}"


def orphans(timeout=5):
    """How the processes ended that a delivery left behind; mail servers of other tests may be there, too."""
    statuses, end = [], time.monotonic() + timeout
    for pid in rspawn.children("qmail-remote-tl"):
        ended = 0
        while not ended and time.monotonic() < end:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                statuses.append(status)
            else:
                time.sleep(0.01)
    return statuses


def needs(deed):
    if deed == "int80" and os.uname().machine != "x86_64":
        pytest.skip("no other interface")


def was_killed(deed, statuses, text=b""):
    """
    By the sandbox; by the kernel itself where it has no interface for 32-bit programs.  The text is that of a report:
    who has waited for the process says there how it ended.
    """
    wanted = {KILLED, signal.SIGSEGV} if deed == "int80" else {KILLED}
    return not wanted.isdisjoint(statuses) or any(b"killed by signal %d" % number in text for number in wanted)


# qmail-remote-io. Its sandbox is entered once, before anything is read: one deed of each kind is tried again later.

IO_STAGES = ["start", "mail", "data", "end"]
AGAIN = ("create", "connect", "exec", "memory")


def io_run(home, relay, stage, word):
    script = {
        "start": {"ehlo": ["SIZE 1000000"]},    # the message is measured before the first command
        "mail": {"MAIL": f"250 {word}"},
        "data": {},
        "end": {"END": f"250 {word}"},
    }[stage]
    relay(**script)
    message = f"Subject: x\n\n{word}\n".encode() if stage in ("start", "data") else b"Subject: x\n\n"
    return home.run(message=message, valid=False)


@pytest.mark.parametrize("deed, stage", [(deed, "start") for deed in {**DEEDS, **HARMFUL}]
                         + [(deed, stage) for stage in IO_STAGES[1:] for deed in AGAIN])
def test_io_is_stopped(home, relay, plant, deed, stage):
    needs(deed)
    plant("qmail-remote-io")
    run = io_run(home, relay, stage, f"planted-{deed}")
    expected = {**HARMFUL, **DEEDS}[deed]
    was_stopped(deed, expected)
    if expected == KILLED:
        assert was_killed(deed, [run.status]) and run.rspawn == b"Zqmail-remote crashed.\n"
    else:
        assert run.status == 0 and run.letters == "rK"


@pytest.mark.parametrize("stage", IO_STAGES)
def test_words_of_the_exploit_do_nothing_in_the_real_program(home, relay, stage):
    run = io_run(home, relay, stage, "planted-fork")
    check(run, "r", accepted(said="250 planted-fork" if stage == "end" else "250 got it"))


# qmail-remote-tls. A second sandbox follows the handshake only where anchors in a directory were read until then.

@pytest.mark.parametrize("deed, anchors", [
    *((deed, anchors) for anchors in ("none", "directory") for deed in DEEDS), *((deed, "bundle") for deed in AGAIN)])
def test_tls_is_stopped_in_the_handshake(site, plant, deed, anchors):
    """The word is in a certificate, which TLS 1.2 shows in clear text."""
    needs(deed)
    plant("qmail-remote-tls")
    site.want(0 if anchors == "none" else 2, anchors=site.certs.directory if anchors == "directory" else None)
    site.mx()
    leaf = site.leaf(names=["m1.example", f"planted-{deed}.example"])
    server = site.server(cert=leaf, context=site.certs.context(leaf, maximum=ssl.TLSVersion.TLSv1_2))
    if anchors == "directory" and landlock() == 0:
        pytest.skip("no Landlock")
    expected = {**DEEDS, **(READING if anchors == "directory" else TLS)}[deed]
    run = site.run()
    was_stopped(deed, expected)
    if expected == KILLED:
        # Neither in clear text: that is not for an exploit to choose.
        assert run.status == 0 and run.letters == "Z" and run.message.first.endswith(b"TLS is not set up. (#4.3.5)")
        assert server.mails == []
    else:
        assert run.letters == "rK", run


@pytest.mark.parametrize("deed, stage, anchors", [
    *((deed, "reply", "directory") for deed in {**DEEDS, **HARMFUL}),
    *((deed, "reply", "none") for deed in HARMFUL),
    *((deed, "message", anchors) for anchors in ("none", "directory") for deed in AGAIN)])
def test_tls_is_stopped_after_the_handshake(site, plant, deed, stage, anchors):
    needs(deed)
    plant("qmail-remote-tls")
    site.want(0 if anchors == "none" else 2, anchors=site.certs.directory if anchors == "directory" else None)
    site.mx()
    word = f"planted-{deed}"
    site.server(**({"MAIL": f"250 {word}"} if stage == "reply" else {}))
    expected = {**HARMFUL, **DEEDS, **TLS}[deed]
    run = site.run(message=b"Subject: x\n\n" + (word.encode() if stage == "message" else b"") + b"\n")
    was_stopped(deed, expected)
    assert run.status == 0
    if expected == KILLED:
        assert run.letters[-1] == "Z", run
        assert was_killed(deed, orphans(), run.message.text), run
    else:
        assert run.letters == "rK", run
        assert set(orphans()) <= {0}


# qmail-remote-sts: the process that talks to a policy host, from the reply on.

@pytest.fixture
def policies(home, dns, certs):
    """A domain with a policy."""
    site = test_sts.Site(home, dns, certs)
    site.zone()
    yield site
    for server in site.servers:
        server.stop()


@pytest.fixture
def policy(policies):
    """policy(word): fetches a policy, in the reply for which this word is."""
    def fetch(word):
        policies.server(httpsd.reply(test_sts.POLICY, X=word))
        return policies.run()
    return fetch


@pytest.mark.parametrize("deed", {**DEEDS, **HARMFUL})
def test_sts_is_stopped(policy, plant, deed):
    needs(deed)
    plant("qmail-remote-sts")
    run = policy(f"planted-{deed}")
    expected = {**HARMFUL, **DEEDS}[deed]
    was_stopped(deed, expected)
    if expected == KILLED:
        assert run.code == 1 and was_killed(deed, [], run.said.encode()), run.said
        assert "failed local the process that fetches: " in test_sts.read(test_sts.ENTRY)
    else:
        assert run.code == 0


@pytest.mark.parametrize("deed, expected", [
    ("datagram", errno.EAFNOSUPPORT), ("unix", errno.EAFNOSUPPORT), ("write", errno.EACCES), ("kill", KILLED)])
def test_the_other_process_of_sts_is_stopped(policies, plant, home, deed, expected):
    """It reads what the first one has made of the reply: there the word is in one piece again."""
    if deed == "datagram" and "musl" in home.kind:
        pytest.skip("that of musl may need it to know the interface of a name server")
    plant("qmail-remote-sts")
    text = test_sts.POLICY.encode()
    policies.server(httpsd.chunked(text + b"x: plan", b"ted-" + deed.encode() + b"\n"))
    run = policies.run()
    was_stopped(deed, expected)
    assert (run.code != 0) == (expected == KILLED)


def test_only_one_process_of_sts_can_open_files_during_the_reply(policies):
    gate = threading.Event()
    server = policies.server(httpsd.Until(gate), httpsd.reply(test_sts.POLICY))
    delivery = test_sts.Delivery(policies)
    test_sts.wait_for(lambda: server.requests)
    pids = programs("qmail-remote-sts")
    writes = {pid: test_sts.NEW in test_sts.files_of(pid) for pid in pids}
    limits = {pid: proc(pid)[1]["Max open files"] for pid in pids}
    gate.set()
    assert delivery.result().endswith("end\n")
    assert sorted(writes.values()) == [False, True]
    assert all((limits[pid] == "3") != writes[pid] for pid in pids)


def test_words_of_the_exploit_do_nothing_in_the_real_sts(policy):
    assert policy("planted-fork").said == test_sts.GOOD


# qmail-remote-cache: its clients are deliveries that a server may have taken over.

# It reads a control file for each connection, copies and passes descriptors, and removes its socket, nothing else. The
# descriptor that "pass" tries is its lock.
CACHE = {**DEEDS, **HARMFUL, "read-queue": None, "read-etc": None, "dup": None, "pass": errno.ENOTSOCK, "unlink": errno.EACCES}


@pytest.fixture
def broker(home):
    """broker(): starts one; returns a client of it."""
    reuse = Reuse(home)
    yield lambda: reuse.serve() and reuse.client()
    reuse.process.kill()
    reuse.process.wait()
    reuse.process.stderr.close()


@one_user
@pytest.mark.parametrize("deed", CACHE)
def test_cache_is_stopped(home, plant, broker, deed):
    needs(deed)
    if deed == "unlink" and landlock() == 0:
        pytest.skip("no Landlock")
    plant("qmail-remote-cache")
    os.chmod(f"{home.path}/control", 0o777)
    home.message(b"Subject: x\n\n")
    client = broker()
    answer = client.ask("ask", f"key1=planted-{deed}")
    if CACHE[deed] == KILLED:
        assert answer is None
    was_stopped(deed, CACHE[deed])
    assert answer is None or answer[0] == "miss"
    assert os.path.exists(f"{home.path}/control/me") and not os.path.exists(f"{home.path}/new")


@one_user
def test_words_of_the_exploit_do_nothing_in_the_real_cache(broker):
    assert broker().ask("ask", "key1=planted-fork")[0] == "miss"


# qmail-remote.

@pytest.mark.parametrize("deed", REMOTE)
def test_remote_is_stopped_whatever_the_greeting(home, relay, plant, deed):
    needs(deed)
    needed = LANDLOCK.get(deed, 0)
    if landlock() < needed:
        pytest.skip(f"no Landlock of version {needed}")
    plant("qmail-remote")
    home.control("me", "me.example\n")
    relay(greeting=f"220 planted-{deed}")
    run = home.run(message=b"Subject: x\n\n", valid=False)
    was_stopped(deed, REMOTE[deed])
    if REMOTE[deed] == KILLED:
        assert was_killed(deed, [run.status]) and run.rspawn == b"Zqmail-remote crashed.\n"
    else:
        check(run, "r", accepted())
    with open(f"{home.path}/control/me", encoding="ascii") as f:
        assert f.read() == "me.example\n"
    assert not os.path.exists(f"{home.path}/new")


# What is in force, as /proc tells.

def proc(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    with open(f"/proc/{pid}/limits", encoding="ascii") as f:
        limits = {line[:26].strip(): line[26:].split()[0] for line in f}
    return status, limits


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(n) for n in f.read().split()]


def test_no_new_privileges_filters_and_limits_are_in_force(site):
    seen = {}

    def note(session):
        seen["remote" if session.verbs[-1] == "EHLO" else "io"] = proc(process.pid)
        for child in children(process.pid):
            seen["tls"] = proc(child)
        return session.ehlo() if session.verbs[-1] == "EHLO" else "250 ok"

    site.one(2, EHLO=Call(note), MAIL=Call(note))
    process = site.home.start()
    assert process.finish().letters == "rK"
    assert set(seen) == {"remote", "io", "tls"}
    for name, (status, limits) in seen.items():
        assert status["NoNewPrivs"] == "1", name
        assert limits["Max core file size"] == "0", name
        assert status["Seccomp"] == "2", name
        # That of qmail-remote is inherited by the others.
        assert status.get("Seccomp_filters") in (None, "1" if name == "remote" else "2"), name
        if name != "remote":
            assert limits["Max open files"] == "3" and int(limits["Max address space"]) <= 256 << 20, name


def test_limits_that_are_lower_stay(home, relay):
    import resource
    limit = 48 << 20
    seen = []

    def note(session):
        seen.append(proc(process.pid)[1]["Max address space"])
        return "250 ok"

    relay(MAIL=Call(note))
    process = home.start(limits={resource.RLIMIT_AS: limit})
    check(process.finish(), "r", accepted())
    assert seen == [str(limit)]


# What must still work.

@pytest.mark.parametrize("tls", [False, True])
def test_a_delivery_that_was_stopped_goes_on(home, site, relay, tls):
    """A wait that is interrupted so is started again by a system call of its own."""
    gate = threading.Event()
    if tls:
        server = site.one(0, MAIL=("250-", Until(gate), "250 ok"))
    else:
        server = relay(MAIL=(b"250-\r\n", Until(gate), "250 ok"))
    process = home.start()
    session = server.wait_session()
    while "MAIL" not in session.verbs:
        time.sleep(0.01)
    time.sleep(0.1)
    for pid in [process.pid, *children(process.pid)]:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.05)
        os.kill(pid, signal.SIGCONT)
    time.sleep(0.1)
    gate.set()
    check(process.finish(), "r", accepted())


def test_anchors_that_are_links_to_elsewhere_can_be_read(site):
    """As Debian has them: links in the directory lead to files below /usr."""
    elsewhere, directory = "/usr/share/man", "/srv/linked"
    subprocess.run(["mount", "-t", "tmpfs", "none", elsewhere], check=True)
    try:
        os.mkdir(directory)
        for name in os.listdir(site.certs.directory):
            shutil.copy(f"{site.certs.directory}/{name}", f"{elsewhere}/{name}")
            os.symlink(f"{elsewhere}/{name}", f"{directory}/{name}")
        site.want(2, anchors=f"{directory}/")
        site.mx()
        site.server()
        run = site.run()
        check(run, "r", accepted())
        assert "verified for m1.example" in tls_line(run)
    finally:
        subprocess.run(["umount", elsewhere], check=True)
        shutil.rmtree(directory, ignore_errors=True)


def test_a_death_by_sandbox_is_noticed():
    """The harness notices a death by sandbox."""
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSYS)
    assert rspawn.is_violation(os.waitpid(pid, 0)[1])
    assert os.path.isdir(PROGRAMS)
