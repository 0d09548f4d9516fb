"""Start qmail-remote as qmail-rspawn does, and read its report as qmail-rspawn and qmail-send do."""

import ctypes
import fcntl
import glob
import os
import select
import signal
import subprocess
import time

SANITIZER_LOGS = "/srv/san"
VIOLATIONS = "/srv/violations"
PR_SET_CHILD_SUBREAPER = 36

TIMED = True        # False with pytest --untimed: upper bounds on time do not count

_libc = ctypes.CDLL(None, use_errno=True)


class Malformed(AssertionError):
    """The report breaks the grammar."""


class Record:
    def __init__(self, letter, text):
        self.letter, self.text = letter, text

    @property
    def first(self):
        return self.text.split(b"\n")[0]

    def __eq__(self, other):
        if isinstance(other, tuple):
            return (self.letter, self.text) == other
        return NotImplemented

    def __repr__(self):
        return f"{self.letter}{self.text!r}"


def decode(report):
    """The records of a report; Malformed if it is not exactly what the grammar allows."""
    if not report.endswith(b"\0"):
        raise Malformed(f"does not end with NUL: {report!r}")
    records = []
    for raw in report[:-1].split(b"\0"):
        letter, text = raw[:1].decode("latin-1"), raw[1:]
        if not letter:
            raise Malformed(f"an empty record: {report!r}")
        if records and records[-1].letter in "KZD":
            raise Malformed(f"a record after the last: {report!r}")
        if letter not in "rhsKZD":
            raise Malformed(f"unknown letter {letter!r}: {report!r}")
        if letter == "r" and text:
            raise Malformed(f"text after r: {report!r}")
        if letter != "r" and not text.endswith(b"\n"):
            said = text.partition(b"Remote host said: ")[2]
            if len(said) < 5000:
                raise Malformed(f"text without a line end: {report!r}")
        records.append(Record(letter, text))
    if records[-1].letter not in "KZD":
        raise Malformed(f"no message record: {report!r}")
    return records


def rspawn_result(report, status):
    """What qmail-rspawn tells qmail-send: letter and text, without its NUL.

    `status` is the wait status. Where qmail-rspawn reads past its buffer there is nothing to add here.
    """
    if os.WIFSIGNALED(status):
        return b"Zqmail-remote crashed.\n"
    code = os.WEXITSTATUS(status)
    if code == 111:
        return b"ZUnable to run qmail-remote.\n"
    if code != 0:
        return b"DUnable to run qmail-remote.\n"
    if not report:
        return b"Zqmail-remote produced no output.\n"

    rank = {"D": -1, "Z": 0, "K": 1}
    ended = report.split(b"\0")[:-1]
    message = next((rank[r[:1].decode("latin-1")] for r in ended if r[:1] in (b"K", b"Z", b"D")), -1)
    overall = {b"s": 0, b"h": -1}.get(report[:1], message)

    result = {1: b"K", 0: b"Z", -1: b"D"}[overall]
    end = report.find(b"\0", 1)
    if end >= 0:
        result += report[1:end]
        second = report[end + 1:].split(b"\0")[0]
        if message <= overall and second[:1] in (b"K", b"Z", b"D"):
            result += second[1:]
    return result


def send_log_line(result, number=1):
    """The line that qmail-send logs for it."""
    words = {b"K": "success", b"Z": "deferral", b"D": "failure"}
    text = "".join(
        "/" if c == 10 else "_" if c < 33 or c > 126 or c == ord("%") else chr(c)
        for c in result[1:])
    return f"delivery {number}: {words[result[:1]]}: {text}"


def in_time(seconds, most):
    """Whether something took less than so long. A test that asks has the marker `timed`."""
    return seconds < most or not TIMED


class Run:
    """One finished delivery."""

    def __init__(self, report, status, started, exited, eof, usage):
        self.report, self.status, self.started = report, status, started
        self.wall = exited - started        # seconds until the program ended
        self.held = max(0.0, eof - exited)  # how much longer something held the report pipe
        self.cpu = usage.ru_utime + usage.ru_stime

    def lasted(self, most, least=0.0):
        """Whether it took at least and less than so many seconds; see in_time."""
        return least <= self.wall and in_time(self.wall, most)

    @property
    def exit_code(self):
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else None

    @property
    def records(self):
        return decode(self.report)

    @property
    def letters(self):
        return "".join(r.letter for r in self.records)

    @property
    def message(self):
        """The message record."""
        return self.records[-1]

    @property
    def recipients(self):
        return self.records[:-1]

    @property
    def rspawn(self):
        return rspawn_result(self.report, self.status)

    def __repr__(self):
        return f"Run({self.report!r}, status {self.status}, {self.wall:.2f} s)"


def be_subreaper():
    """Orphaned grandchildren become ours, so that a test can see them."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap():
    """Whatever a delivery left running is ours now; it must end by itself, and not by its sandbox."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            assert not is_violation(status), "killed by its sandbox"
            if pid == 0:
                break
    except ChildProcessError:
        pass
    violations()


def ended_before_main(run):
    """glibc 2.41 ends a static program so, too, where its own start finds no memory; qmail-rspawn makes D of it."""
    return run.status == 127 << 8


def children(name):
    """The processes of that name (15 bytes at most) that are ours, ended ones too."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                pid, rest = f.read().split(" (", 1)
        except OSError:
            continue
        comm, rest = rest.rsplit(") ", 1)
        if comm == name and int(rest.split()[1]) == os.getpid():
            found.append(int(pid))
    return found


def _launcher():
    """The program that starts a delivery; built if it is missing or older than its source."""
    here = os.path.dirname(os.path.abspath(__file__))
    source, program = f"{here}/launch.c", f"{here}/../../build/tools/launch"
    if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(program), exist_ok=True)
        built = f"{program}.{os.getpid()}"
        subprocess.run(["cc", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", built, source], check=True)
        os.rename(built, program)
    return program


_LAUNCHER = _launcher()


class Process:
    """A delivery under way."""

    def __init__(self, home, argv, message, *, program=None, closed=(), env=None, uid=None, gid=None,
                 limits=None, stdout=None, argv0="qmail-remote", cwd=None):
        program = program or f"{home}/bin/qmail-remote"
        self.env = {"PATH": f"{home}/bin:/usr/local/bin:/usr/bin:/bin"}
        os.makedirs(SANITIZER_LOGS, exist_ok=True)
        os.chmod(SANITIZER_LOGS, 0o1777)
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            given = os.environ.get(name, "")
            self.env[name] = f"{given}:log_path={SANITIZER_LOGS}/log:exitcode=99".lstrip(":")
        self.env.update(env or {})
        limits = ",".join(f"{what}:{limit}" for what, limit in (limits or {}).items())
        args = [_LAUNCHER, cwd or f"{home}/queue/mess", ",".join(map(str, closed)), limits,
                "-" if uid is None else str(uid), "-" if gid is None else str(gid), program, argv0, *argv]
        read, write = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, message, 0), (os.POSIX_SPAWN_DUP2, write if stdout is None else stdout, 1),
                   (os.POSIX_SPAWN_DUP2, write, 2)]
        self.pipe = read
        self.started = time.monotonic()
        self.pid = os.posix_spawn(_LAUNCHER, args, self.env, file_actions=actions, setsid=True)
        os.close(write)
        fcntl.fcntl(read, fcntl.F_SETFL, os.O_NONBLOCK)

    def status_of(self, key):
        """A number from /proc/PID/status while it runs, in its unit there (kB)."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
        raise KeyError(key)

    def kill(self):
        """Its process group, if there is a child of ours in it: after its end others may have got the number."""
        try:
            os.waitid(os.P_PGID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            os.killpg(self.pid, signal.SIGKILL)
        except (ChildProcessError, ProcessLookupError):
            pass

    def finish(self, timeout=30):
        """Wait for the end of the program and of its report; killed and failed after `timeout`."""
        deadline = self.started + timeout
        report = b""
        exited = eof = usage = status = None
        pidfd = os.pidfd_open(self.pid)
        try:
            while eof is None or exited is None:
                watch = ([self.pipe] if eof is None else []) + ([pidfd] if exited is None else [])
                ready = select.select(watch, [], [], max(0.0, deadline - time.monotonic()))[0]
                if not ready:
                    self.kill()
                    if exited is None:
                        os.wait4(self.pid, 0)
                    raise AssertionError(f"still running after {timeout} s; report so far {report!r}")
                if self.pipe in ready:
                    data = os.read(self.pipe, 65536)
                    report += data
                    if not data:
                        eof = time.monotonic()
                if pidfd in ready:
                    _, status, usage = os.wait4(self.pid, 0)
                    exited = time.monotonic()
        finally:
            os.close(pidfd)
            os.close(self.pipe)
        sanitizer_logs()
        return Run(report, status, self.started, exited, eof, usage)


def is_violation(status):
    """A process that asked for what its sandbox forbids."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS


def violations():
    """Fail if there was one; only the programs of pytest --recorded tell of those that leave no other trace."""
    if os.path.exists(VIOLATIONS):
        with open(VIOLATIONS, encoding="ascii") as f:
            said = f.read()
        os.truncate(VIOLATIONS, 0)
        assert not said, said


def sanitizer_logs():
    """Fail if a sanitizer had something to say."""
    said = ""
    for path in glob.glob(f"{SANITIZER_LOGS}/*"):
        with open(path, encoding="utf-8", errors="replace") as f:
            said += f.read()
        os.unlink(path)
    assert not said, said
