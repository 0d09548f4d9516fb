# SPDX-License-Identifier: ISC
"""The private world for benchmarks, and the measurements of one delivery."""

import collections
import copy
import hashlib
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import time

from cryptography.hazmat.primitives import serialization

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, f"{TOP}/test/integration")

import pki          # noqa: E402
import qmailhome    # noqa: E402
import world        # noqa: E402

import fastdns      # noqa: E402

BUILD = f"{TOP}/build/bench"
TOOLS = f"{BUILD}/tools"
HOME = qmailhome.HOME
SERVER = "192.0.2.1"
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
PATIENCE = 60           # seconds: limit for what should take no time
QUIET_MS = 20           # silence after which a client is assumed to wait

ENVIRONMENT = {"PATH": f"{HOME}/bin:/usr/local/bin:/usr/bin:/bin"}

Round = collections.namedtuple("Round", "wall user system rss processes delivered accepted")
Memory = collections.namedtuple("Memory", "private pss")
Wire = collections.namedtuple("Wire", "bytes packets waits questions tls recipients messages")


class Failed(Exception):
    """A delivery did not do what it should."""


class Sink:
    """The server, sink.c."""

    def __init__(self, extensions=(), pem=None, options=()):
        command = [f"{TOOLS}/sink", *options]
        for line in extensions:
            command += ["-e", line]
        if pem:
            command += ["-t", pem]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise Failed("the sink does not start")

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def counters(self):
        self.say("counters")
        words = self.process.stdout.readline().split()
        return dict(zip(words[::2], map(int, words[1::2])))

    def await_counter(self, name, value, process=None):
        """Wait until it has this value; fails if the process that should change it has ended."""
        end = time.monotonic() + PATIENCE
        while self.counters()[name] != value:
            if time.monotonic() > end or (process and process.poll() is not None):
                raise Failed(f"the sink never had {name} {value}")
            time.sleep(0.002)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Program:
    """A qmail-remote with its helpers; use() puts it into the home, with its own state directory."""

    def __init__(self, name, files):
        self.name = name
        self.folder = f"/srv/{name}"
        os.makedirs(f"{self.folder}/bin")
        os.makedirs(f"{self.folder}/run/qmail-remote")
        for part in ("", "/bin", "/run"):
            os.chmod(self.folder + part, 0o755)
        os.chmod(f"{self.folder}/run/qmail-remote", 0o2750)
        for file, data in files.items():
            path = f"{self.folder}/bin/{file}"
            with open(path, "wb") as f:
                f.write(data)
            os.chmod(path, 0o755)

    def use(self):
        for name in ("bin", "run"):
            path = f"{HOME}/{name}"
            if os.path.islink(path):
                os.unlink(path)
            else:
                shutil.rmtree(path)
            os.symlink(f"{self.folder}/{name}", path)

    def command(self, delivery):
        return [f"{HOME}/bin/qmail-remote", delivery.host, delivery.sender, *delivery.recipients]

    options = ()        # of the runner
    is_mailer = True


class Floor:
    """A program that does only what is unavoidable; see empty.c, copy.c, handshake.c."""

    options = ("-x",)
    is_mailer = False

    def __init__(self, name, *arguments):
        self.name = " ".join([name, *arguments])
        self.line = [f"{TOOLS}/{name}", *arguments]

    def use(self):
        pass

    def command(self, _):
        return self.line


class Switched:
    """A program with control files of its own; None: without them."""

    def __init__(self, program, home, files, name=None):
        self.program, self.home, self.files = program, home, files
        self.name, self.options, self.command = name or program.name, program.options, program.command
        self.is_mailer = program.is_mailer

    def use(self):
        self.program.use()
        for name, text in self.files.items():
            self.home.control(name, text)


class Delivery:
    """One; or `at_once` at the same time; or `total` of them, of which so many are under way."""

    def __init__(self, message, recipients=1, host="dst.example", sender="a@src.example", at_once=1, total=None,
                 destinations=None):
        self.message, self.host, self.sender, self.at_once = message, host, sender, at_once
        self.total = total
        self.destinations = destinations    # "%" in the host is the number of the delivery, modulo this
        self.recipients = [f"recipient{n}@dst.example" for n in range(recipients)]


def read_programs(path):
    """A qmail-remote and the programs that it may need from its directory, by name."""
    files = {}
    folder = os.path.dirname(path)
    for name in sorted(os.listdir(folder)):
        if name.startswith("qmail-remote") and os.path.isfile(f"{folder}/{name}"):
            with open(f"{folder}/{name}", "rb") as f:
                files[name] = f.read()
    with open(path, "rb") as f:
        files["qmail-remote"] = f.read()
    return files


class World:
    """Network, home, DNS, certificates and messages. Must be created before the first thread."""

    def __init__(self):
        world.enter()
        world.resolv_conf()
        self.home = qmailhome.Home("/nonexistent")
        self.dns = fastdns.Server()
        self.certificates = pki.Pki("/srv/pki")
        self.pem = self._server_pem()
        self.messages = {}
        self.sink = None
        self.sink_kind = None
        os.chdir(f"{HOME}/queue/mess")
        os.umask(0o077)

    def _server_pem(self):
        leaf = self.certificates.leaf("good", "m1.example")
        return self.certificates.write("server.pem", leaf.key_pem + leaf.chain_pem)

    def add_home(self, path):
        """Make the home available under another name, for a program compiled for that."""
        parent = path
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        if parent != path:
            for name in ("upper", "work"):
                os.makedirs(f"/srv/overlay/{name}", exist_ok=True)
            subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                            f"lowerdir={parent},upperdir=/srv/overlay/upper,workdir=/srv/overlay/work", parent],
                           check=True)
            os.makedirs(path)
        subprocess.run(["mount", "--bind", HOME, path], check=True)

    def message(self, size):
        """A message of this size: a header, then lines like those of an attachment."""
        if size not in self.messages:
            path = f"{HOME}/queue/mess/{size}"
            header = b"From: a@src.example\nTo: b@dst.example\nSubject: a message to measure with\n\n"
            line = b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\n"
            body = line * ((size - len(header)) // len(line) + 1)
            with open(path, "wb") as f:
                f.write((header + body)[:size - 1] + b"\n")
            os.chmod(path, 0o644)
            self.messages[size] = path
        return self.messages[size]

    def clear(self):
        """As after an installation: only the control files me and the time-outs, an empty zone."""
        for name in os.listdir(f"{HOME}/control"):
            os.unlink(f"{HOME}/control/{name}")
        self.home.control("me", "me.example\n")
        self.home.control("timeoutconnect", "5\n")
        self.home.control("timeoutremote", "60\n")
        self.forget_timeouts()
        for path in list(self._state("sts-dst.example")):
            if os.path.exists(path):
                os.unlink(path)
        self.dns.reset()

    @staticmethod
    def _state(name):
        """This file, in the state directory of each program."""
        for entry in os.scandir("/srv"):
            folder = f"{entry.path}/run/qmail-remote"
            if os.path.isdir(folder):
                yield f"{folder}/{name}"

    def publish(self):
        """All names are signed. The host has a TLSA record; the domain has an MTA-STS policy, which is in the cache."""
        key = self.certificates.leaf("good", "m1.example").cert.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.dns.rule(ad=True)
        self.dns.zone(f"_25._tcp.m1.example TLSA 3 1 1 {hashlib.sha256(key).hexdigest()}\n"
                      '_mta-sts.dst.example TXT "v=STSv1; id=1;"')
        now = int(time.time())
        entry = (f"qmail-remote-sts 1\ndomain dst.example\nid 1\nfetched {now}\ntried {now} 0\nused {now}\n"
                 "max-age 604800\nmode enforce\nmx *.example\ntext version: STSv1\ntext mode: enforce\n"
                 "text mx: *.example\ntext max_age: 604800\nend\n")
        for path in self._state("sts-dst.example"):
            with open(path, "w", encoding="ascii") as f:
                f.write(entry)

    def forget_timeouts(self, known=b""):
        self.home.tcpto(known)
        for entry in os.scandir("/srv"):
            path = f"{entry.path}/run/qmail-remote/tcpto6"
            if os.path.exists(path):
                os.unlink(path)

    def serve(self, extensions, tls=False, options=()):
        """Start a sink of this kind on port 25 of all addresses."""
        kind = (tuple(extensions), tls, tuple(options))
        if kind == self.sink_kind:
            return
        self.stop()
        self.sink = Sink(extensions, self.pem if tls else None, options)
        self.sink_kind = kind

    def stop(self):
        if self.sink:
            self.sink.stop()
        self.sink = self.sink_kind = None


# Measurements. program.use() must have been called.

def runner(program, delivery, rounds):
    options = [*program.options]
    if delivery.total:
        options += ["-n", str(delivery.total)]
    if delivery.destinations:
        options += ["-d", str(delivery.destinations)]
    return [f"{TOOLS}/runner", "-c", str(delivery.at_once), "-r", str(rounds), *options,
            delivery.message, *program.command(delivery)]


def parse(output, program, delivery):
    result = [Round(*map(int, line.split())) for line in output.splitlines()]
    expected = delivery.total or delivery.at_once
    for one in result:
        if program.is_mailer and one.delivered != expected:
            raise Failed(f"{program.name}: {expected - one.delivered} not delivered")
    return result


def run(program, delivery, rounds=1):
    """Measure this number of rounds of deliveries."""
    done = subprocess.run(runner(program, delivery, rounds), env=ENVIRONMENT, check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0 or (done.stderr and program.is_mailer):
        raise Failed(f"{program.name}: {done.stderr[:2000]}")
    return parse(done.stdout, program, delivery)


def run_under(command, program, delivery, rounds):
    """The same with the runner under another command, whose output is shown."""
    subprocess.run([*command, *runner(program, delivery, rounds)], env=ENVIRONMENT, check=True)


def descendants(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
            children = [int(word) for word in f.read().split()]
        for child in children:
            found += [child, *descendants(child)]
    return found


def _memory_of(pid):
    """Only anonymous pages are private: pages of a program file may be mapped by any number of processes."""
    private = pss = 0
    mapping = {}
    with open(f"/proc/{pid}/smaps", encoding="ascii") as f:
        for line in f:
            words = line.split()
            if words[-1] == "kB":
                mapping[words[0]] = int(words[1])
            if words[0] == "Anonymous:":
                private += min(mapping["Anonymous:"], mapping["Private_Clean:"] + mapping["Private_Dirty:"])
                pss += mapping["Pss:"]
    return Memory(private, pss)


def memory(program, delivery, sink):
    """Kilobytes of all processes, per delivery, while they wait for the last reply.

    At least two deliveries: memory that all deliveries share, such as the text of the programs, is not private.
    """
    delivery = copy.copy(delivery)
    delivery.at_once = max(2, delivery.at_once)
    sink.say("hold")
    with subprocess.Popen(runner(program, delivery, 1), env=ENVIRONMENT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            sink.await_counter("held", delivery.at_once, process)
            parts = [_memory_of(pid) for pid in descendants(process.pid)]
        finally:
            sink.say("release")
        output, errors = process.communicate()
    if errors:
        raise Failed(f"{program.name}: {errors}")
    parse(output, program, delivery)
    return Memory(sum(p.private for p in parts) / delivery.at_once, sum(p.pss for p in parts) / delivery.at_once)


def _traced(command, *options, **how):
    """Run a command under strace; returns its output, and (calls, errors) by name."""
    done = subprocess.run(["strace", "-f", "-c", "-o", "/srv/strace", *options, *command], env=ENVIRONMENT,
                          check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
    calls = {}
    with open("/srv/strace", encoding="ascii") as f:
        for line in f:
            words = line.split()
            if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                calls[words[-1]] = int(words[3]), int(words[4]) if len(words) == 6 else 0
    return done.stdout, calls


def system_calls(program, delivery, repeat=3):
    """The number of each call, in the run with the fewest: it depends a little on how replies arrive."""
    best = None
    for _ in range(repeat):
        with open(delivery.message, "rb") as message:
            output, calls = _traced(program.command(delivery), stdin=message)
        if b"K" not in output and program.is_mailer:
            raise Failed(f"{program.name}: {output[:2000]}")
        calls = {name: n for name, (n, _) in calls.items()}
        if best is None or sum(calls.values()) < sum(best.values()):
            best = calls
    return best


def locks(program, delivery):
    """Attempts to lock a file by simultaneous deliveries, and how many found it locked."""
    _, calls = _traced(runner(program, delivery, 1), "--seccomp-bpf", "-e", "trace=flock")
    return calls.get("flock", (0, 0))


def _lo():
    with open("/proc/net/dev", encoding="ascii") as f:
        for line in f:
            name, _, rest = line.partition(":")
            if name.strip() == "lo":
                words = rest.split()
                return int(words[8]), int(words[9])
    raise Failed("no device lo")


def wire(program, delivery, w, quiet=QUIET_MS):
    """The traffic, in packets of a usual size, and how often the client waited."""
    sink = w.sink
    world.ip("link set lo mtu 1500", "link set lo gso_max_segs 1")
    try:
        sink.await_counter("open", 0)
        sink.say(f"quiet {quiet}")
        questions = w.dns.asked_for
        before, (size, packets) = sink.counters(), _lo()
        run(program, delivery)
        sink.await_counter("open", 0)
        time.sleep(0.02)
        after, (size_after, packets_after) = sink.counters(), _lo()
    finally:
        sink.say("quiet 0")
        world.ip("link set lo mtu 65536", "link set lo gso_max_segs 65535")
    n = {key: after[key] - before[key] for key in after}
    return Wire(size_after - size, packets_after - packets, n["waits"], w.dns.asked_for - questions,
                n["tls"], n["recipients"], n["messages"])


def interval(values):
    """Where the median is with a probability of 95 %, as (least, greatest); None for fewer than six values.

    It needs no assumption about the values: each one is as likely to be below the median as above it.
    """
    n, outside, probability = len(values), 0, 0.5 ** len(values)
    while probability <= 0.025:
        outside += 1
        probability += math.comb(n, outside) * 0.5 ** n
    ordered = sorted(values)
    return (ordered[outside - 1], ordered[n - outside]) if outside else None


class Times:
    """Rounds of one program, in batches that alternate with those of others."""

    def __init__(self):
        self.batches = []
        self.sink_us = self.messages = 0

    def sink_ms(self):
        """CPU time of the server for one of its messages."""
        return self.sink_us / 1000 / self.messages if self.messages else None

    def median(self, value):
        return statistics.median(value(r) for batch in self.batches for r in batch)

    def ratios(self, other, value):
        """Of neighbouring batches."""
        ratios = []
        for mine, theirs in zip(self.batches, other.batches):
            below = statistics.median(map(value, theirs))
            if below > 0:
                ratios.append(statistics.median(map(value, mine)) / below)
        return ratios

    def ratio(self, other, value):
        """The median of the ratios of neighbouring batches."""
        ratios = self.ratios(other, value)
        return statistics.median(ratios) if ratios else float("nan")


def _idle_counters(sink):
    """The counters of the sink after all sessions have ended."""
    sink.await_counter("open", 0)
    return sink.counters()


def shuffled(things):
    things = list(things)
    return random.sample(things, len(things))


def in_turns(programs, delivery, batches, rounds, sink):
    """Times of each program, in turns in random order, after one delivery of each that does not count."""
    times = [Times() for _ in programs]
    for batch in range(batches + 1):
        for program, its in shuffled(zip(programs, times)):
            program.use()
            before = _idle_counters(sink)
            result = run(program, delivery, rounds if batch else 1)
            after = _idle_counters(sink)
            if batch:
                its.batches.append(result)
                its.sink_us += after["cpu_us"] - before["cpu_us"]
                its.messages += after["messages"] - before["messages"]
    return times
