"""Deliveries that are killed, or fail, at each of their system calls and allocations.

A part is one session of one program with one kind of failure: "kill tls helper". Its points are tried one after the
other. Whatever happens, these things must hold; `Stage.check` checks them:

    the report is K only if a server has replied 250 to a complete message; at most one message is delivered
    never D, and no recipient refused: no failure here is permanent
    exit status 0, no signal except ours; a complete report, unless writing the report failed
    after the report, nothing changes it
    no envelope in clear text where TLS is required, or because we ran out of memory or descriptors; TLS is required
    by control/tlsstrictness, TLSA records, an MTA-STS policy or credentials
    the password is in no report, and is sent in TLS only
    a delivery under TLSA records or a policy in the cache says in its report that these have authenticated the server
    each state file is as before or as it should be, and none prevents the next delivery

Works in the private world of the integration tests.
"""

import collections
import errno
import fcntl
import functools
import hashlib
import mmap
import os
import platform
import re
import struct
import subprocess
import sys
import time

from cryptography.hazmat.primitives import serialization

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "test", "integration"))

import httpsd       # noqa: E402
import qmailhome    # noqa: E402
import reuse        # noqa: E402
import rspawn       # noqa: E402
import tlssite      # noqa: E402
import world        # noqa: E402

BUILD = os.path.join(TOP, "build", "sweep")
TOOLS = "/srv/sweep"
ALLOC = f"{qmailhome.Home.run_path}/sweep-alloc"     # where the programs may write
PR_SET_NO_NEW_PRIVS = 38
LATE_S = 20         # seconds: limit for a delivery

ONE, TWO, SIX = "192.0.2.1", "192.0.2.2", "2001:db8::1"
ROUTES = 300

USER, PASSWORD = "relay-user", "correct-horse"

POLICY = "version: STSv1\nmode: enforce\nmx: m1.example\nmax_age: 604800\n"
DAY_S = 86400


def unusable():
    """Why the sweeps cannot run here, or None."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "the tool knows the registers of x86_64 Linux only"
    return None


# The tools.

def compile_killer():
    os.makedirs(TOOLS, exist_ok=True)
    target = f"{TOOLS}/killer"
    if not os.path.exists(target):
        subprocess.run(["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-o", target, f"{HERE}/killer.c"],
                       check=True)
    return target


def build_alloc():
    """Dynamic programs linked with alloc.c: built once, then kept up to date."""
    os.makedirs(BUILD, exist_ok=True)
    with open(f"{BUILD}/.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shim, source = f"{BUILD}/alloc.so", f"{HERE}/alloc.c"
        if not os.path.exists(shim) or os.stat(shim).st_mtime < os.stat(source).st_mtime:
            subprocess.run(["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-o", shim + ".new",
                            source], check=True)
            os.rename(shim + ".new", shim)
        programs = f"{BUILD}/programs"
        quiet = dict(check=True, cwd=TOP, stdout=subprocess.DEVNULL)
        if not os.path.exists(f"{programs}/build.ninja"):
            subprocess.run(["meson", "setup", programs, "-Dqmail_home=/srv/qmail", "-Dstatic=disabled",
                            "-Dtests=disabled", "-Doptimization=0", f"-Dc_link_args={shim}"], **quiet)
        subprocess.run(["ninja", "-C", programs, *qmailhome.PROGRAMS], **quiet)
    return programs


@functools.lru_cache(maxsize=None)
def call_names():
    """The system calls by number."""
    names = {}
    for folder in ("/usr/include/x86_64-linux-gnu/asm", "/usr/include/asm"):
        path = f"{folder}/unistd_64.h"
        if os.path.exists(path):
            with open(path, encoding="ascii") as f:
                for name, number in re.findall(r"#define __NR_(\w+) (\d+)", f.read()):
                    names[int(number)] = name
    return names


# Plausible errors of each call. 0: it transfers only one byte.

_FILE = ("EACCES", "EIO", "EMFILE", "ENFILE", "ENOMEM", "EINTR")
_DISK = ("EROFS", "ENOSPC", "EIO", "EACCES")
_SOME = ("ENOMEM", "ENOBUFS")
_LANDLOCK = ("ENOSYS", "EOPNOTSUPP", "EMFILE", "ENOMEM")

FAULTS = {
    "read": ("EIO", "EINTR", "ECONNRESET", 0), "pread64": ("EIO", "EINTR", 0),
    "readv": ("EIO", "EINTR", "ECONNRESET"),
    "write": ("EPIPE", "ENOSPC", "EIO", "EINTR", 0), "pwrite64": ("ENOSPC", "EIO", "EINTR", 0),
    "writev": ("EPIPE", "ENOSPC", "EIO"),
    "recvfrom": ("ECONNREFUSED", "ECONNRESET", "EINTR", "ENOMEM"),
    "sendto": ("ECONNREFUSED", "ENETUNREACH", "EPERM", "EPIPE", "EINTR", "ENOBUFS"),
    "recvmsg": ("ECONNRESET", "ENOMEM", "EINTR"), "sendmsg": ("EPIPE", "ENOBUFS", "EINTR"),
    "sendmmsg": ("ECONNREFUSED", "ENETUNREACH", "EPERM"),
    "openat": _FILE, "open": _FILE,
    "close": ("EIO", "EINTR"), "lseek": ("EIO",),
    "fstat": ("EIO", "ENOMEM"), "newfstatat": ("EIO", "EACCES", "ENOMEM"), "stat": ("EIO", "EACCES", "ENOMEM"),
    "lstat": ("EIO", "EACCES", "ENOMEM"), "statx": ("EIO", "EACCES", "ENOMEM"),
    "access": ("ENOENT", "EACCES"), "faccessat": ("ENOENT", "EACCES"),
    "readlink": ("ENOENT", "EACCES"), "readlinkat": ("ENOENT", "EACCES"), "getdents64": ("EIO", "ENOMEM"),
    "socket": ("EMFILE", "ENFILE", "ENOBUFS", "EACCES", "EAFNOSUPPORT"),
    "socketpair": ("EMFILE", "ENFILE", "ENOMEM"), "pipe": ("EMFILE", "ENFILE"), "pipe2": ("EMFILE", "ENFILE"),
    "connect": ("ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EADDRNOTAVAIL", "EINTR", "EACCES"),
    "bind": ("EADDRINUSE",) + _SOME, "setsockopt": ("ENOPROTOOPT",) + _SOME, "getsockopt": _SOME,
    "getsockname": _SOME, "getpeername": ("ENOTCONN",) + _SOME, "shutdown": ("ENOTCONN",), "ioctl": ("ENODEV",),
    "poll": ("EINTR", "ENOMEM"), "ppoll": ("EINTR", "ENOMEM"), "select": ("EINTR", "ENOMEM"),
    "epoll_create1": ("EMFILE", "ENOMEM"), "epoll_ctl": ("ENOMEM",), "epoll_wait": ("EINTR",),
    "mmap": ("ENOMEM",), "brk": ("ENOMEM",), "mremap": ("ENOMEM",), "munmap": ("ENOMEM",),
    # If it fails before main(), glibc ends with 127. It fails only when the
    # kernel itself has no memory: not tried.
    "mprotect": (),
    "madvise": ("ENOMEM",),
    "execve": ("E2BIG", "ENOMEM", "ENOENT", "EACCES"),
    "clone": ("EAGAIN", "ENOMEM"), "clone3": ("EAGAIN", "ENOMEM"), "vfork": ("EAGAIN", "ENOMEM"),
    "wait4": ("ECHILD", "EINTR"), "waitid": ("ECHILD", "EINTR"), "kill": ("ESRCH", "EPERM"),
    "fcntl": ("EBADF",), "dup": ("EMFILE",), "dup2": ("EBUSY", "EMFILE"), "dup3": ("EBUSY", "EMFILE"),
    "flock": ("EWOULDBLOCK", "ENOLCK", "EINTR"),
    "rename": _DISK, "unlink": _DISK + ("EBUSY",), "ftruncate": _DISK, "fsync": ("EIO", "ENOSPC", "EROFS"),
    "fchmod": ("EPERM", "EROFS"), "chdir": ("EACCES", "EIO", "ENOMEM"),
    "getrandom": ("EINTR", "ENOSYS"), "prctl": ("EINVAL",), "prlimit64": ("EPERM",), "getrlimit": ("EPERM",),
    "setrlimit": ("EPERM",), "seccomp": ("ENOSYS", "EINVAL", "ENOMEM"), "sysinfo": ("EPERM",),
    "landlock_create_ruleset": _LANDLOCK, "landlock_add_rule": _LANDLOCK, "landlock_restrict_self": _LANDLOCK,
    "rt_sigaction": ("EINVAL",), "rt_sigprocmask": ("EINVAL",), "rseq": ("ENOSYS", "EINVAL"),
}

# Never caused by the server: a delivery that fails with one of these is deferred, whatever TLS is required.
LACKS = ("ENOMEM", "ENOBUFS", "EMFILE", "ENFILE")

# Cannot fail, or only at the start of the C library, on a kernel that is not Linux.
INFALLIBLE = {
    "exit_group", "exit", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "arch_prctl",
    "set_tid_address", "set_robust_list", "clock_gettime", "gettimeofday", "time", "uname", "futex", "setsid",
    "sched_yield", "restart_syscall", "rt_sigreturn", "umask", "getppid", "alarm",
}

# Files that may be missing: then a delivery is as in an installation without them.
_STATE = ("run/qmail-remote/", "queue/lock/tcpto")


class Call:
    """One system call of the reference run."""

    def __init__(self, line):
        words = line.split(" ", 8)
        self.n, self.pid, self.program, number = int(words[1]), int(words[2]), words[3], int(words[4])
        self.number, self.occurrence = number, int(words[5])
        self.name = call_names().get(number, f"call {number}")
        self.argument, self.result, self.path = int(words[6]), int(words[7]), words[8]
        self.is_ours = True     # False: of the loader, or of the C library before main()

    def errors(self):
        errors = FAULTS.get(self.name, ())
        if self.name in ("openat", "open", "stat", "newfstatat") and any(s in self.path for s in _STATE):
            errors += ("ENOENT",)
        return errors

    def __str__(self):
        said = f" {self.path}" if self.path else f"({self.argument})"
        return f"#{self.n} {self.program}: {self.name}{said} = {self.result}"


class Outcome:
    """The outcome of one delivery, as seen from outside."""

    def __init__(self, report, said):
        self.report = report
        self.calls, self.children = [], []
        self.killed = False
        self.failed = {}        # number of the call: its argument, writes to the report so far
        self.late = False
        self.status = self.count = None
        for line in said.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "call":
                self.calls.append(Call(line))
            elif kind == "killed":
                self.killed = True
            elif kind == "failed":
                *_, number, argument, reported = rest.split(" ")
                self.failed.setdefault(int(number), (int(argument), int(reported)))
            elif kind == "child":
                self.children.append(int(rest))
            elif kind == "late":
                self.late = True
            elif kind == "main":
                self.status, self.count = (int(word) for word in rest.split())
        self.rspawn = rspawn.rspawn_result(report, self.status)
        self.letter = self.rspawn[:1].decode()


class Plan:
    """The file that alloc.c reads and writes."""

    _LAYOUT = "16sQQQQ208s"
    SIZE = struct.calcsize(_LAYOUT)

    def __init__(self):
        with open(ALLOC, "w+b") as f:
            f.truncate(self.SIZE)
            self.map = mmap.mmap(f.fileno(), self.SIZE)

    def set(self, program, fail=0, persist=False):
        self.map[:] = struct.pack(self._LAYOUT, program[:15].encode(), fail, persist, 0, 0, b"")

    @property
    def count(self):
        return struct.unpack(self._LAYOUT, self.map)[3]

    @property
    def failed(self):
        return struct.unpack(self._LAYOUT, self.map)[4]

    @property
    def where(self):
        return struct.unpack(self._LAYOUT, self.map)[5].rstrip(b"\0").decode("latin-1")


class Result:
    """The result of a part, or of a slice of it."""

    def __init__(self, part):
        self.part = part
        self.points = self.calls = self.slices = 0
        self.letters = collections.Counter()
        self.clear = collections.Counter()      # delivered in clear text although the server offers TLS: point
        self.twice = {}                         # delivered, not reported as delivered: number of the call
        self.defects = []
        self.unknown = set()                    # calls that are in neither table

    def add(self, other):
        self.points += other.points
        self.calls = max(self.calls, other.calls)
        self.letters += other.letters
        self.clear += other.clear
        self.twice.update(other.twice)
        self.defects += other.defects
        self.unknown |= other.unknown
        return self


class Session:
    """`dane`: usage, selector and matching type of the TLSA record. `sts`: the policy is to be fetched ("first"), or is
    in the cache, so old that it is fetched again ("refresh"), or not ("cached"). `login`: through a relay, on port 465
    and with a password. `used`: on a connection that another delivery has left."""

    def __init__(self, *, host="dst.example", strictness=None, hosts=(ONE,), routes=False, tcpto=False,
                 bundle=False, timeouts=0, dane=None, sts=None, login=False, used=False):
        self.host, self.strictness, self.hosts = host, strictness, hosts
        self.routes, self.tcpto, self.bundle, self.timeouts = routes, tcpto, bundle, timeouts
        self.dane, self.sts = dane, sts
        self.login, self.used = login, used

    @property
    def has_tls(self):
        return self.strictness is not None or self.dane is not None

    @property
    def demands_tls(self):
        return self.strictness == 2 or bool(self.dane or self.sts or self.login)

    @property
    def proof(self):
        """What the report of a delivery must say of TLS."""
        if self.dane:
            return f", DANE ({self.dane})"
        if self.login:
            return ", certificate verified for m1.example"
        return ", MTA-STS, certificate verified for m1.example" if self.sts in ("refresh", "cached") else ""


_LITERAL = f"[{ONE}]"

SESSIONS = {
    "clear": Session(),
    "tls": Session(host=_LITERAL, strictness=0),
    "tls-1": Session(host=_LITERAL, strictness=1),
    "tls-2": Session(host=_LITERAL, strictness=2),
    # The index of the trust anchors has to be made.
    "anchors": Session(host=_LITERAL, strictness=2, bundle=True),
    # The first MX host refuses connections on both of its addresses, and has timed out once before.
    "mx": Session(hosts=(f"{ONE} {SIX}", TWO), tcpto=True),
    # The same, but it times out now (by injection).
    "timeout": Session(hosts=(f"{ONE} {SIX}", TWO), timeouts=2),
    # smtproutes has just been changed.
    "routes": Session(routes=True),
    # Nothing but the TLSA record demands TLS: there are no trust anchors.
    "dane": Session(dane="3 1 1"),
    "dane-ta": Session(dane="2 0 1"),
    # Without the policy, TLS would be opportunistic.
    "sts": Session(strictness=0, sts="first"),
    "refresh": Session(strictness=0, sts="refresh"),
    "cached": Session(strictness=0, sts="cached"),
    # Without the credentials, TLS would not be verified.
    "login": Session(strictness=0, login=True),
    # qmail-remote is the parent of qmail-remote-io.
    "used": Session(used=True),
}


class Stage:
    """A session that can be repeated: qmail's home, the servers, and the files that are restored before each run."""

    def __init__(self, name, programs, dns, smtp, certs):
        self.name, self.session = name, SESSIONS[name]
        self.killer = compile_killer()
        self.home = home = qmailhome.Home(programs)
        self.certs = certs
        session = self.session
        home.control("timeoutconnect", "2\n")
        home.control("timeoutremote", "3\n")
        home.control("timeoutdns", "1\n")
        world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        by_name = session.dane or session.sts or session.login
        leaf = certs.leaf("good") if by_name else certs.leaf("address", addresses=(ONE,))
        context = certs.context(leaf) if session.has_tls else None
        if session.strictness is not None:
            anchors = certs.bundle
            if session.bundle:
                anchors = certs.big_bundle(3)
            home.control("trustanchors", anchors + "\n")
            home.control("tlsstrictness", f"{session.strictness}\n")
            tlssite.age(anchors)
        for n, addresses in enumerate(session.hosts, 1):
            dns.zone(f"dst.example MX {10 * n} m{n}.example.")
            for a in addresses.split():
                dns.zone(f"m{n}.example {'AAAA' if ':' in a else 'A'} {a}")
        how = {"ehlo": ["PIPELINING", "8BITMIME", "SIZE 1000000"]}
        if session.login:
            home.route(":m1.example:465")
            home.control("smtpauth", f"m1.example|{USER}|{PASSWORD}\n")
            how["ehlo"].append("AUTH PLAIN")
            how.update(port=465, implicit=True, users={USER: PASSWORD})
        self.server = smtp(session.hosts[-1], tls=context, **how)
        self.policy_host, self.entry, self.lender = None, None, None
        if session.used:
            self._prepare_lender(programs)
        if session.dane:
            self._prepare_dane(dns, leaf)
        if session.sts:
            self._prepare_sts(dns)
        self.message = home.message(qmailhome.MESSAGE)
        self.faults = []
        self.stale = {}
        self.fresh = {}
        if session.routes:
            self._prepare_routes()
        self._warm_up()

    def _prepare_dane(self, dns, leaf):
        key = leaf.cert.public_key().public_bytes(serialization.Encoding.DER,
                                                  serialization.PublicFormat.SubjectPublicKeyInfo)
        of = {"3 1 1": key, "2 0 1": self.certs.intermediate.der}[self.session.dane]
        dns.zone(f"_25._tcp.m1.example TLSA {self.session.dane} {hashlib.sha256(of).hexdigest()}")
        dns.rule(ad=True)
        self.home.control("dane", "1\n")

    def _prepare_sts(self, dns):
        """The first delivery fetches the policy; the entry that it leaves is what is in the cache from then on."""
        dns.zone(f'_mta-sts.dst.example TXT "v=STSv1; id=1;"\nmta-sts.dst.example A {TWO}')
        self.policy_host = httpsd.Server(TWO, tls=self.certs.context(self.certs.leaf("good", "mta-sts.dst.example")),
                                         script=[httpsd.reply(POLICY)])
        self.home.control("mtasts", "5\n")
        self.sts_path = f"{self.home.run_path}/sts-dst.example"
        self.message = self.home.message(qmailhome.MESSAGE)
        self.faults, self.stale = [], {}
        run = self.deliver()
        assert run.letter == "K", run.report
        if self.session.sts != "first":
            with open(self.sts_path, encoding="ascii") as f:
                self.entry = f.read()

    def _prepare_lender(self, programs):
        said = subprocess.run([f"{programs}/qmail-remote-cache", "--version"], stdout=subprocess.PIPE, check=True)
        version = said.stdout.decode().split()[1]
        self.home.control("timeoutidle", "60\n")
        self.lender = reuse.Lender(f"{self.home.run_path}/cache.sock", self.server, version)

    def stop(self):
        if self.lender:
            self.lender.stop()
        self.server.settle()
        if self.policy_host:
            self.policy_host.stop()

    def _prepare_routes(self):
        lines = "".join(f"r{n}.example:relay{n}.example\n" for n in range(ROUTES))
        tlssite.age(self.home.control("smtproutes", lines))
        self.deliver()
        with open(self.home.cdb_path, "rb") as f:
            self.stale[self.home.cdb_path] = f.read()
        tlssite.age(self.home.control("smtproutes", lines + "dst.example:\n"))

    def _warm_up(self):
        """Deliver until the state files do not change any more."""
        if self.session.bundle:
            path = f"{self.home.run_path}/trustanchors.cdb"
            self.stale[path] = b"\0" * 5000
        for path, data in self.stale.items():
            self._put(path, data)
        if self.session.timeouts:
            listed = self.deliver("-l").calls
            connects = [c for c in listed if c.name == "connect" and c.result == -errno.EINPROGRESS]
            connects += [c for c in listed if c.name == "connect" and c.result == -errno.ECONNREFUSED]
            for c in sorted(connects, key=lambda c: c.n)[:self.session.timeouts]:
                self.faults += ["-e", f"{c.number}:{c.occurrence}:{errno.ETIMEDOUT}"]
        for _ in range(2):
            run = self.deliver()
            if run.letter != "K":
                raise AssertionError(f"{self.name}: a delivery without a failure: {run.report!r}")
        for path in self.stale:
            with open(path, "rb") as f:
                self.fresh[path] = f.read()
            assert self.fresh[path] != self.stale[path], f"{path} was not compiled"

    @staticmethod
    def _put(path, data):
        with open(path + ".put", "wb") as f:
            f.write(data)
        os.rename(path + ".put", path)

    def restore(self):
        for path, data in self.stale.items():
            self._put(path, data)
        # What an injected error at EHLO or in the handshake has left there would change the next delivery.
        self._put(f"{self.home.run_path}/addresses", bytes(8192))
        if self.session.tcpto:
            self.home.tcpto(qmailhome.pack4(ONE, 1, 1000))
            self._put(self.home.tcpto6_path, qmailhome.pack6(SIX, 1, 1000).ljust(2048, b"\0"))
        if self.session.sts:
            self._restore_policy()
        if self.session.timeouts:
            self.home.tcpto(b"")
            if os.path.exists(self.home.tcpto6_path):
                os.unlink(self.home.tcpto6_path)

    def _restore_policy(self):
        """The entry, as it was some seconds or two days ago; its leftovers stay."""
        self.began = int(time.time())
        if self.entry:
            self.fetched = self.began - (2 * DAY_S if self.session.sts == "refresh" else 10)
            entry = re.sub(r"^(fetched|tried|used) \d+", rf"\1 {self.fetched}", self.entry, flags=re.MULTILINE)
            self._put(self.sts_path, entry.encode())
        elif os.path.exists(self.sts_path):
            os.unlink(self.sts_path)

    def deliver(self, *options):
        """One delivery under killer; all its processes have ended when this returns."""
        self.server.settle()
        del self.server.sessions[:]
        self.server.threads[1:] = []
        self.restore()
        if self.lender:
            self.lender.prepare()
        log = os.memfd_create("killer", 0)
        with open(self.message, "rb") as message:
            process = subprocess.Popen(
                [self.killer, "-t", str(LATE_S), *self.faults, *options, str(log),
                 f"{self.home.path}/bin/qmail-remote", self.session.host, "a@src.example", "b@dst.example"],
                stdin=message, stdout=subprocess.PIPE, cwd=f"{self.home.path}/queue/mess", pass_fds=(log,))
        report = process.stdout.read()
        process.stdout.close()
        code = process.wait()
        with open(log, "r", encoding="latin-1") as f:
            f.seek(0)
            said = f.read()
        if code != 0:
            raise AssertionError(f"killer: {code}: {said}")
        run = Outcome(report, said)
        if self.lender:
            self.lender.forget()
        self.server.settle()
        run.sessions = list(self.server.sessions)
        run.stored = sum(m.complete for s in run.sessions for m in s.mails)
        run.said = sum(bytes(s.sent).count(b"250 got it") for s in run.sessions)
        run.in_clear = any(m.complete and not s.inside for s in run.sessions for m in s.mails)
        return run

    # Checks.

    def check(self, run, *, killed=False, report_may_fail=False, after_report=False, may_crash=False, lacks=False):
        """What does not hold, in words. `may_crash`: main() had not begun, and a crash is a deferral. `lacks`: this
        machine ran out of memory or another resource."""
        faults = []
        killed = killed or (may_crash and os.WIFSIGNALED(run.status))
        if run.late:
            faults.append(f"not over after {LATE_S} s")
        if os.WIFSIGNALED(run.status) and not killed and not run.late:
            faults.append(f"killed by signal {os.WTERMSIG(run.status)}")
        if os.WIFEXITED(run.status) and os.WEXITSTATUS(run.status) != 0:
            faults.append(f"exit {os.WEXITSTATUS(run.status)}")
        for status in run.children:
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) != 9 and not may_crash:
                faults.append(f"a helper was killed by signal {os.WTERMSIG(status)}")
        if run.letter == "D":
            faults.append(f"reads as D: {run.rspawn!r}")
        if not killed and not (report_may_fail and not run.report.endswith(b"\0")):
            try:
                if any(r.letter in "h" for r in rspawn.decode(run.report)):
                    faults.append(f"a recipient refused: {run.report!r}")
            except rspawn.Malformed as e:
                faults.append(f"report: {e}")
        if run.letter == "K" and (run.stored == 0 or run.said == 0):
            faults.append("K, and no server said so")
        if run.stored > 1:
            faults.append(f"delivered {run.stored} times")
        if self.session.used and not killed and not report_may_fail and run.stored and run.letter != "K" and \
                b"Possible duplicate" not in run.report:
            faults.append(f"delivered, and nothing says so: {run.report!r}")
        if after_report and run.letter != "K":
            faults.append(f"not K after the report was written: {run.rspawn!r}")
        if self.session.demands_tls:
            faults += self._told()
        if self.session.login and PASSWORD.encode() in run.report:
            faults.append(f"the password is in the report: {run.report!r}")
        if lacks and run.in_clear and self.session.has_tls:
            faults.append("in clear text, because of a failure of ours")
        if run.letter == "K" and self.session.proof.encode() not in run.report:
            faults.append(f"not authenticated: {run.report!r}")
        return faults + self.state_faults() + (self._policy_faults() if self.session.sts else [])

    def _told(self):
        for s in self.server.sessions:
            try:
                tlssite.told_nothing(s)
                assert b"AUTH" not in s.clear
            except AssertionError:
                return [f"in clear text: {bytes(s.clear)!r}"]
        return []

    def state_faults(self):
        faults = []
        for path in self.stale:
            if not os.path.exists(path):
                continue
            with open(path, "rb") as f:
                data = f.read()
            if data not in (self.stale[path], self.fresh[path]):
                faults.append(f"{path} is neither the old nor the new one")
        try:
            if os.stat(self.home.tcpto_path).st_size != 1024:
                faults.append(f"tcpto has {os.stat(self.home.tcpto_path).st_size} bytes")
            qmailhome.read4()
            if os.path.exists(self.home.tcpto6_path):
                # Empty: the process was killed after creating it; the next one fills it.
                if os.stat(self.home.tcpto6_path).st_size not in (0, 2048):
                    faults.append(f"tcpto6 has {os.stat(self.home.tcpto6_path).st_size} bytes")
                qmailhome.read6()
        except AssertionError as e:
            faults.append(f"tcpto: {e}")
        return faults

    def _policy_faults(self):
        """The entry is whole, and what it says of the policy is right; one that was there is still there."""
        found = {n for n in os.listdir(self.home.run_path) if n.startswith("sts")}
        odd = {n for n in found if not re.fullmatch(r"sts(-|\.new-)dst\.example|sts\.lock\.\d", n)}
        if odd:
            return [f"files {odd}"]
        if "sts-dst.example" not in found:
            return ["the policy is no longer in the cache"] if self.entry else []
        with open(self.sts_path, encoding="ascii") as f:
            text = f.read()
        times = "fetched (?P<fetched>[0-9]+)\n"
        tried = "tried [0-9]+ [0-9]+\nused [0-9]+\n(failed [^\n]+\n)?"
        policy = "max-age 604800\nmode enforce\nmx m1.example\n" + "".join(
            f"text {line}\n" for line in POLICY.splitlines())
        head = "qmail-remote-sts 1\ndomain dst.example\n"
        whole = re.fullmatch(f"{head}id 1\n{times}{tried}{policy}end\n", text)
        if whole:
            fetched = int(whole["fetched"])
            if fetched >= self.began or (self.entry and fetched == self.fetched):
                return []
        elif not self.entry and re.fullmatch(f"{head}tried [0-9]+ [1-9][0-9]*\nused [0-9]+\nfailed [^\n]+\nend\n", text):
            return []
        return [f"the cache has {text!r}"]

    def _follow_up_policy(self):
        faults = []
        with open(self.sts_path, encoding="ascii") as f:
            fetched = int(re.search(r"^fetched (\d+)$", f.read(), re.MULTILINE)[1])
        if self.session.sts != "cached" and fetched < self.began:
            faults.append("the next delivery does not fetch the policy")
        left = {n for n in os.listdir(self.home.run_path) if n.startswith("sts.new")}
        if left:
            faults.append(f"the next delivery leaves {left}")
        return faults

    def follow_up(self):
        """Leftovers do not prevent the next delivery, which removes them."""
        found = set(os.listdir(self.home.run_path))
        run = self.deliver()
        faults = [f"the next delivery: {f}" for f in self.check(run)]
        if run.letter != "K":
            faults.append(f"the next delivery: {run.rspawn!r}")
        for path in self.stale:
            with open(path, "rb") as f:
                if f.read() != self.fresh[path]:
                    faults.append(f"the next delivery does not compile {path}, with {found}")
        left = {n for n in os.listdir(self.home.run_path) if n.endswith(".new")}
        if left:
            faults.append(f"the next delivery leaves {left}")
        if self.session.sts and not faults:
            faults += self._follow_up_policy()
        if self.session.timeouts and os.stat(self.home.tcpto6_path).st_size != 2048:
            faults.append("the next delivery does not make tcpto6")
        return faults


# The three sweeps.

_PROGRAM = {"remote": "qmail-remote", "io": "qmail-remote-io", "helper": "qmail-remote-tls", "sts": "qmail-remote-sts"}


def _role(part):
    """Whose calls: of the program itself, or of the programs of a name that it, or one of these, has started."""
    _, session, *of = part.split()
    if not of:
        return []
    return ["-c", "-p", _PROGRAM[of[0]][:15]] if SESSIONS[session].sts else ["-c"]


def _listed(stage, part, result):
    """The calls of a run without a failure."""
    calls = stage.deliver(*_role(part), "-l").calls
    result.calls = len(calls)
    seen, begun = set(), set()
    for c in calls:
        process = (c.pid, c.program)
        # A process that begins otherwise than a program does has been forked: its calls are ours.
        if process not in seen and c.name != "execve" and (c.name, c.argument) != ("brk", 0):
            begun.add(process)
        seen.add(process)
        # The first call of main() in each program.
        if (c.name, c.argument) in (("fcntl", 1), ("prctl", PR_SET_NO_NEW_PRIVS)):
            begun.add(process)
        c.is_ours = process in begun
    return calls


def _choose(points, select):
    first, step = select
    if first == "sample":
        step = max(1, len(points) // step)
        first = step // 2
    return points[first::step]


EVERY = 25      # points between two deliveries that must succeed

# Which points: (first, step), or about this many of all.
ALL = (0, 1)
SAMPLE = ("sample", 12)
SHORT = ("short", 0)    # only the transfers of one byte
WRITES = ("writes", 0)  # only kills around the calls that change a file


def _check_often(stage, result, count, what):
    if count % EVERY == 0:
        result.defects += [f"{result.part}: after {what}: {f}" for f in stage.follow_up()]


def kill_sweep(stage, part, select):
    """SIGKILL before and after each call."""
    result = Result(part)
    calls = _listed(stage, part, result)
    points = [(c, option) for c in calls for option in ("-k", "-K") if (option, c.name) != ("-K", "exit_group")]
    if select == WRITES:
        points, select = [p for p in points if p[0].name in ("ftruncate", "write", "fsync", "rename")], ALL
    of_helper = bool(_role(part))
    for count, (call, option) in enumerate(_choose(points, select), 1):
        what = f"killed {'before' if option == '-k' else 'after'} {call}"
        run = stage.deliver(*_role(part), option, str(call.n))
        if not run.killed:
            continue        # this run had fewer calls
        result.points += 1
        result.letters[run.letter] += 1
        if run.stored and run.letter != "K":
            result.twice[(call.n, option == "-K")] = what
            if not run.said:
                result.defects.append(f"{part}: {what}: delivered without a 250")
        if run.in_clear and stage.session.has_tls:
            result.clear[what] += 1
        for fault in stage.check(run, killed=not of_helper):
            result.defects.append(f"{part}: {what}: {fault}")
        _check_often(stage, result, count, what)
    result.defects += [f"{part}: at the end: {f}" for f in stage.follow_up()]
    return result


def _page_end(address):
    return -(-address // 4096)


def _may_fail(calls):
    """All calls except brk() that needs no memory: a query, or within the current page."""
    broken = {}
    for c in calls:
        if c.name != "brk":
            yield c
            continue
        if c.argument and _page_end(c.argument) != _page_end(broken.get(c.program, 0)):
            yield c
        broken[c.program] = c.result


def fault_sweep(stage, part, select):
    """Each plausible error of each call."""
    result = Result(part)
    calls = _listed(stage, part, result)
    points = [(c, e) for c in _may_fail(calls) for e in c.errors()]
    if select == SHORT:
        points, select = [(c, e) for c, e in points if not e], ALL
    result.unknown = {c.name for c in calls if c.name not in FAULTS and c.name not in INFALLIBLE}
    for count, (call, error) in enumerate(_choose(points, select), 1):
        number = getattr(errno, error) if error else 0
        what = f"{error or 'one byte'} for {call}"
        run = stage.deliver(*_role(part), "-e", f"{call.number}:{call.occurrence}:{number}")
        if call.number not in run.failed:
            continue
        result.points += 1
        result.letters[run.letter] += 1
        argument, reported = run.failed[call.number]
        of_report = not _role(part) and argument == 1 and call.name in ("write", "fcntl")
        if run.stored and run.letter != "K":
            result.twice[(call.n, True)] = what
        if run.in_clear and stage.session.has_tls:
            result.clear[f"{call.program}: {call.name}: {error}"] += 1
        faults = stage.check(run, report_may_fail=of_report, after_report=reported > 0,
                             may_crash=not call.is_ours, lacks=error in LACKS)
        result.defects += [f"{part}: {what}: {f} [{run.rspawn!r}]" for f in faults]
        _check_often(stage, result, count, what)
    result.defects += [f"{part}: at the end: {f}" for f in stage.follow_up()]
    return result


# OpenSSL allocates more than ten thousand times: in similar sessions only one of this many is tried.
SPARSE = 10
ALIKE = ("alloc tls-1 helper", "alloc dane-ta helper", "alloc sts helper")


def alloc_sweep(stage, part, select):
    """Each allocation fails; then that one and all that follow."""
    result = Result(part)
    program = _PROGRAM[part.split()[-1]]
    plan = Plan()
    plan.set(program)
    stage.deliver()
    result.calls = plan.count
    step = SPARSE if part.endswith("helper") else 1
    points = [(n, False) for n in range(1, plan.count + 1, step if part in ALIKE else 1)]
    points += [(n, True) for n in range(1, plan.count + 1, step)]
    for n, persist in _choose(points, select):
        plan.set(program, n, persist)
        run = stage.deliver()
        if not plan.failed:
            continue
        what = f"no memory {'from' if persist else 'at'} allocation {n} of {program} ({plan.where})"
        result.points += 1
        result.letters[run.letter] += 1
        if run.stored and run.letter != "K":
            result.twice[(n, persist)] = what
        if run.in_clear and stage.session.has_tls:
            result.clear[plan.where.rsplit("/", 1)[-1]] += 1
        result.defects += [f"{part}: {what}: {f} [{run.rspawn!r}]" for f in stage.check(run, lacks=True)]
    plan.set("")
    result.defects += [f"{part}: at the end: {f}" for f in stage.follow_up()]
    return result


# Parts: the first row of each kind has failures in qmail-remote and qmail-remote-io.

PARTS = (
    [f"kill {s}" for s in ("clear", "tls", "tls-2", "mx", "timeout", "routes")] +
    [f"kill {s} helper" for s in ("tls", "tls-2", "anchors")] +
    [f"fault {s}" for s in ("clear", "tls", "tls-1", "tls-2", "mx", "timeout", "routes")] +
    [f"fault {s} helper" for s in ("tls", "tls-1", "tls-2", "anchors")] +
    [f"alloc {s} {p}" for s in ("clear", "mx", "routes") for p in ("remote", "io")] +
    [f"alloc {s} {p}" for s in ("tls", "tls-1", "tls-2", "anchors") for p in ("remote", "io", "helper")] +
    [f"kill {s}" for s in ("dane", "sts", "refresh", "cached")] +
    [f"kill {s}" for s in ("dane helper", "sts helper", "sts sts", "refresh helper", "refresh sts")] +
    [f"fault {s}" for s in ("dane", "sts", "refresh", "cached")] +
    [f"fault {s}" for s in ("dane helper", "dane-ta helper", "sts helper", "sts sts", "refresh sts")] +
    [f"alloc {s} remote" for s in ("dane", "sts", "refresh", "cached")] +
    [f"alloc {s}" for s in ("dane helper", "dane-ta helper", "sts helper", "sts sts", "refresh sts")] +
    ["kill login", "fault login", "fault login helper", "alloc login remote", "alloc login io"] +
    ["kill used", "kill used io", "fault used", "fault used io", "alloc used remote", "alloc used io"]
)

# The tests run a sample of these.
QUICK_PARTS = (
    "kill clear", "kill tls", "kill mx", "kill routes", "kill tls helper", "kill anchors helper",
    "fault clear", "fault tls-2", "fault mx", "fault timeout", "fault routes",
    "fault tls-2 helper", "fault anchors helper",
    "alloc routes remote", "alloc clear io", "alloc tls helper", "alloc tls-2 helper",
    "kill dane", "kill sts sts", "kill refresh sts", "fault dane", "fault sts", "fault refresh sts", "fault cached",
    "fault dane-ta helper", "alloc dane helper", "alloc sts sts", "alloc refresh remote",
    "kill login", "fault login", "alloc login io",
    "kill used", "kill used io", "fault used", "fault used io",
)

_KINDS = {"kill": kill_sweep, "fault": fault_sweep, "alloc": alloc_sweep}


def run_part(part, select, programs, dns, smtp, certs):
    """`select` says which points: ALL, SAMPLE, SHORT, WRITES or (first, step)."""
    kind, session, *_ = part.split()
    stage = Stage(session, programs, dns, smtp, certs)
    try:
        return _KINDS[kind](stage, part, select)
    finally:
        stage.stop()
        world.resolv_conf()
