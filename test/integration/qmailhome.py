"""A qmail home of its own for each test."""

import functools
import os
import re
import shutil
import struct
import time

import rspawn

HOME = "/srv/qmail"
PROGRAMS = ("qmail-remote", "qmail-remote-io", "qmail-remote-tls", "qmail-remote-sts", "qmail-remote-cache",
            "qmail-remote-utf8")
MESSAGE = b"Subject: x\n\nhi\n"
# A control file that is longer than this is compiled.
FILLER = "\n#" + 4096 * "-" + "\n"


@functools.cache
def kind_of(program):
    """What it is linked with: some of "sanitizer", "loader" (that of shared libraries) and "musl"."""
    with open(program, "rb") as f:
        text = f.read()
    kinds = {"sanitizer": b"__asan_init" in text, "loader": b"/ld-" in text[:4096],
             "musl": b"glibc" not in text.lower()}
    return {kind for kind, there in kinds.items() if there}


class Home:
    """/srv/qmail, the place that is compiled into the programs under test."""

    path = HOME
    tcpto_path = f"{HOME}/queue/lock/tcpto"
    run_path = f"{HOME}/run/qmail-remote"
    tcpto6_path = f"{run_path}/tcpto6"
    cdb_path = f"{run_path}/smtproutes.cdb"

    def __init__(self, programs):
        shutil.rmtree(HOME, ignore_errors=True)
        self.programs = programs
        for name in ("", "bin", "control", "queue", "queue/mess", "queue/lock", "run", "run/qmail-remote"):
            path = f"{HOME}/{name}".rstrip("/")
            os.mkdir(path)
            os.chmod(path, 0o2750 if name.startswith("run") else 0o755)
        for name in PROGRAMS:
            os.symlink(f"{programs}/{name}", f"{HOME}/bin/{name}")
        self.tcpto(b"")
        self.filler = ""    # behind all routes
        self.control("me", "me.example\n")
        self.control("timeoutconnect", "5\n")
        self.control("timeoutremote", "20\n")
        self.processes = []

    @property
    def kind(self):
        return kind_of(f"{self.programs}/{PROGRAMS[0]}")

    def control(self, name, text):
        """Write a control file; None removes it."""
        path = f"{HOME}/control/{name}"
        if name == "smtproutes" and text and self.filler:
            text += self.filler
        if text is None:
            if os.path.exists(path):
                os.unlink(path)
            return path
        with open(path, "wb") as f:
            f.write(text.encode() if isinstance(text, str) else text)
        os.chmod(path, 0o644)
        return path

    def route(self, line):
        self.control("smtproutes", line + "\n")

    def tcpto(self, records, size=1024, when=0):
        """Written long ago: one that is all zero clears tcpto6 of what is older."""
        data = records.ljust(size, b"\0")[:max(size, len(records))]
        with open(self.tcpto_path, "wb") as f:
            f.write(data)
        os.chmod(self.tcpto_path, 0o644)
        os.utime(self.tcpto_path, (when, when))

    def message(self, data):
        """A new file each time: another delivery may be reading the one before."""
        path = f"{HOME}/queue/mess/1"
        with open(path + ".new", "wb") as f:
            f.write(data)
        os.rename(path + ".new", path)
        return path

    def start(self, host="dst.example", sender="a@src.example", recipients=("b@dst.example",),
              message=MESSAGE, args=None, **how):
        """Start a delivery. `message` is bytes, a path, or an open descriptor."""
        if isinstance(recipients, (str, bytes)):
            recipients = [recipients]
        argv = [host, sender, *recipients] if args is None else args
        if isinstance(message, int):
            process = rspawn.Process(HOME, argv, message, **how)
        else:
            path = self.message(message) if isinstance(message, bytes) else message
            fd = os.open(path, os.O_RDONLY)
            process = rspawn.Process(HOME, argv, fd, **how)
            os.close(fd)
        self.processes.append(process)
        return process

    def run(self, *args, timeout=30, valid=True, **kw):
        """A whole delivery. Exit code 0 and a well-formed report, unless `valid` is false."""
        run = self.start(*args, **kw).finish(timeout)
        if valid:
            assert run.status == 0, f"wait status {run.status}: {run.report!r}"
            rspawn.decode(run.report)
            assert run.held < 5, f"something held the report pipe {run.held:.1f} s longer"
        return run

    def bytes_read(self, path):
        """How much of a file a delivery reads, by strace, which does not work with sanitizers."""
        trace = f"{HOME}/trace"
        self.run(program="/usr/bin/strace", args=[
            "-f", "-qq", "-o", trace, "-P", path, "-e", "trace=read,readv,pread64,preadv,mmap",
            f"{HOME}/bin/qmail-remote", "dst.example", "a@src.example", "b@dst.example"])
        with open(trace, encoding="ascii") as f:
            calls = f.read()
        assert "mmap(" not in calls, calls
        return sum(int(n) for n in re.findall(r"(?m)(?:read\w*\(|resumed>).* = (\d+)$", calls))


# The two tables of timed-out addresses, as their formats are written down.

class Tcpto:
    """One record."""

    def __init__(self, address, count, when):
        self.address, self.count, self.when = address, count, when

    def __eq__(self, other):
        return (self.address, self.count, self.when) == (other.address, other.count, other.when)

    def __repr__(self):
        return f"{self.address} x{self.count} {self.when}"


def pack4(address, count, when):
    import socket
    return socket.inet_aton(address) + struct.pack("<B3xI4x", count, int(when))


def pack6(address, count, when):
    import socket
    return socket.inet_pton(socket.AF_INET6, address) + struct.pack("<B3xI8x", count, int(when))


def _read(path, size, family, length):
    import socket
    with open(path, "rb") as f:
        data = f.read()
    assert len(data) % size == 0, f"{path}: {len(data)} bytes"
    records = []
    for at in range(0, len(data), size):
        raw = data[at:at + size]
        count, = raw[length:length + 1]
        when, = struct.unpack_from("<I", raw, length + 4)
        assert raw[length + 1:length + 4] == b"\0\0\0", raw
        assert raw[length + 8:] == b"\0" * (size - length - 8), raw
        records.append(Tcpto(socket.inet_ntop(family, raw[:length]), count, when))
    return records


def read4(path=Home.tcpto_path):
    """All records of the IPv4 table, free ones too."""
    import socket
    return _read(path, 16, socket.AF_INET, 4)


def read6(path=Home.tcpto6_path):
    import socket
    return _read(path, 32, socket.AF_INET6, 16)


def used(records):
    return [r for r in records if r.count]


def show4(path=Home.tcpto_path):
    """What stock's qmail-tcpto prints for this file."""
    with open(path, "rb") as f:
        data = f.read(1024)
    out, now = [], int(time.time())
    for at in range(0, len(data) - 15, 16):
        if data[at + 4] >= 1:
            ip = ".".join(str(b) for b in data[at:at + 4])
            when, = struct.unpack_from("<I", data, at + 8)
            out.append(f"{ip} timed out {now - when} seconds ago; # recent timeouts: {data[at + 4]}\n")
    return "".join(out)
