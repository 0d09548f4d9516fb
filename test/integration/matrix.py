"""The outcome matrix: plays its sessions, judges them, and prints a table of those that hold.

Each session is a delivery to a domain of its own, to servers of its own. Those with the same control files
share a home and run side by side, in lanes.
"""

import contextlib
import ctypes
import hashlib
import itertools
import json
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from cryptography.hazmat.primitives import serialization

import matrix_rules as rules
import rspawn
import smtpd
import world
from judge import VERBS, faults_of_report
from matrix_rules import WANTED
from matrix_tables import AT_ONCE, BEHAVIOURS, REPLIES, VERSIONS, script
from spawner import Spawner

SENDER = "s@from.matrix.example"
MESSAGE = b"Subject: matrix\n\nthis is the body\n.\n"
LONG = b"Subject: matrix\n\n" + b"this is the body, and it is a long one\n" * 130000       # 5 MB
TELLTALE = re.compile(rb"MAIL FROM|RCPT TO|from\.matrix|to\.matrix|Subject|the body", re.IGNORECASE)

# Bounds. Memory in kB, of the largest process; it begins at what the process that forks it has.
MEMORY = {"clear": 14 << 10, "TLSv1.2": 26 << 10, "TLSv1.3": 26 << 10}
SLACK = 15.0            # seconds, on a busy machine; a time-out that is not expected is longer


# The wire.

class Capture(threading.Thread):
    """All that clients send to port 25 on the loopback interface, searched for what must not be seen."""

    SO_ATTACH_FILTER = 26
    SO_RCVBUFFORCE = 33
    OUTGOING = 4

    def __init__(self):
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        code = [(0xb1, 0, 0, 0), (0x48, 0, 0, 2), (0x15, 0, 1, 25), (0x6, 0, 0, 0xffff), (0x6, 0, 0, 0)]
        program = b"".join(struct.pack("HBBI", *line) for line in code)
        self.program = ctypes.create_string_buffer(program)
        self.sock.setsockopt(socket.SOL_SOCKET, self.SO_ATTACH_FILTER,
                             struct.pack("HL", len(code), ctypes.addressof(self.program)))
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, self.SO_RCVBUFFORCE, 64 << 20)
        except OSError:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self.sock.bind(("lo", 0))
        self.sock.settimeout(0.2)
        self.found = []
        self.packets = 0
        self.over = False
        self.start()

    def run(self):
        while True:
            try:
                data, where = self.sock.recvfrom(1 << 17)
            except TimeoutError:
                if self.over:
                    return
                continue
            if where[2] == self.OUTGOING:
                continue
            self.packets += 1
            tcp = data[(data[0] & 15) * 4:]
            payload = tcp[(tcp[12] >> 4) * 4:]
            if TELLTALE.search(payload):
                self.found.append(f"to {socket.inet_ntop(socket.AF_INET, data[16:20])}: {payload[:80]!r}")

    def stop(self):
        self.over = True
        self.join()
        self.sock.close()


# One session.

class Run(rspawn.Run):
    def __init__(self, report, status, started, exited, eof, peak):
        self.report, self.status, self.peak = report, status, peak
        self.wall, self.held = exited - started, max(0.0, eof - exited)


class Lane:
    """Addresses and TLS contexts of sessions that come one after the other."""

    def __init__(self, number, certs, lock):
        self.first, self.second = f"192.0.2.{number + 1}", f"198.51.100.{number + 1}"
        self.certs, self.contexts, self.lock = certs, {}, lock

    def leaf(self, certificate):
        with self.lock:
            return self.certs.leaf(certificate, _LEAF_NAMES.get(certificate, "*.mx.example"))

    def context(self, which, certificate, versions):
        key = (which, certificate, versions)
        if key not in self.contexts:
            leaf = self.leaf(certificate)
            with self.lock:
                low, high = versions
                self.contexts[key] = self.certs.context(leaf, minimum=low, maximum=high)
        return self.contexts[key]


_LEAF_NAMES = {"wrong-name": "elsewhere.example"}


class Played:
    """A session when it is over, and what qmail-remote-check said of the like."""

    def __init__(self, cell, run, first, second, ip):
        self.cell, self.run, self.first, self.second, self.ip = cell, run, first, second, ip
        self.foretold = None

    @property
    def servers(self):
        return [s for s in (self.first, self.second) if s]


class Theatre:
    """A home, a DNS server and a spawner, and lanes for sessions that share them."""

    def __init__(self, home, dns, certs, check):
        self.home, self.dns, self.certs, self.check = home, dns, certs, check
        self.spawner = Spawner()
        self.files = {}
        for name, text in (("short", MESSAGE), ("long", LONG)):
            self.files[name] = f"{home.path}/queue/mess/{name}"
            with open(self.files[name], "wb") as f:
                f.write(text)
        self.sanitized = "sanitizer" in home.kind
        self.numbers, self.holes = itertools.count(1), itertools.count(1)
        self.lock = threading.Lock()

    def set_up(self, strictness, timeout, has_policies=False):
        self.home.control("dane", "1\n" if has_policies else None)
        self.home.control("mtasts", "5\n" if has_policies else None)
        self.dns.rule(ad=has_policies)
        # The second try ends a question that the server does not answer.
        world.resolv_conf("nameserver 127.0.0.1\noptions timeout:5 attempts:1\n" if has_policies
                          else world.DEFAULT_RESOLV_CONF)
        self.home.control("trustanchors", f"{self.certs.bundle}\n")
        self.home.control("tlsstrictness", f"{strictness}\n")
        self.home.control("timeoutconnect", f"{timeout or 20}\n")
        self.home.control("timeoutremote", f"{timeout or 20}\n")
        # Sessions share addresses, so nothing may be remembered of them: a directory is no memory.
        os.makedirs(f"{self.home.run_path}/addresses", exist_ok=True)

    def deliver(self, cell, lane, timeout):
        """A delivery, and the same again for qmail-remote-check, with other servers."""
        with self._stage(cell, lane, timeout) as (domain, first, second, address):
            played = Played(cell, self._run(cell, domain, timeout), first, second, address)
            # A server that does not read what came does not see the end of it either.
            for server in (second,) if cell.scene.saw.kind == "late" and cell.scene.step == "mail data" \
                    else (first, second):
                if server:
                    server.settle(30)
        with self._stage(cell, lane, timeout) as (domain, _, _, _):
            done = subprocess.run([self.check, "--json", domain], capture_output=True, check=False,
                                  timeout=60 + (timeout or 0) * 4)
        played.foretold = (done.returncode, json.loads(done.stdout)["result"])
        return played

    @contextlib.contextmanager
    def _stage(self, cell, lane, timeout):
        """Servers and DNS records of a session."""
        n, scene = next(self.numbers), cell.scene
        with contextlib.ExitStack() as servers:
            def serve(address, **how):
                server = smtpd.Server(address, **how)
                servers.callback(server.stop)
                return server

            first = second = None
            address = lane.first
            if scene.step != "connect":
                versions = cell.behaviour.versions or VERSIONS.get(scene.transport)
                context = lane.context(1, cell.behaviour.certificate, versions) if scene.tls else None
                rcvbuf = 1 << 16 if scene.step == "mail data" else None
                first = serve(lane.first, tls=context, rcvbuf=rcvbuf, ehlo=(), **script(cell, timeout))
            elif cell.behaviour.name == "packets vanish":
                address = world.HOLE4.rpartition(".")[0] + f".{next(self.holes) % 250 + 1}"
            else:
                address = cell.behaviour.step or lane.first
            self.dns.zone(f"d{n}.to.matrix.example MX 10 a{n}.mx.example.\na{n}.mx.example A {address}")
            if scene.has_policies:
                self._publish(n, scene, lane.leaf(cell.behaviour.certificate))
            if scene.second:
                context = lane.context(2, "good", VERSIONS["TLSv1.3"]) if scene.second == "tls" else None
                second = serve(lane.second, tls=context, ehlo=("PIPELINING",), greeting=(AT_ONCE, "220 hi"))
                self.dns.zone(f"d{n}.to.matrix.example MX 20 b{n}.mx.example.\nb{n}.mx.example A {lane.second}")
            yield f"d{n}.to.matrix.example", first, second, address

    def _publish(self, n, scene, leaf):
        """TLSA records; the policy is in the cache already."""
        name = f"_25._tcp.a{n}.mx.example"
        if scene.dane == "failed":
            self.dns.rule(name, "TLSA", rcode="SERVFAIL")
        elif scene.dane != "none":
            key = leaf.cert.public_key().public_bytes(serialization.Encoding.DER,
                                                      serialization.PublicFormat.SubjectPublicKeyInfo)
            data = hashlib.sha256(key if scene.dane != "another" else b"another key").hexdigest()
            numbers = ("1 1 1", "3 1 9")[n % 2] if scene.dane == "unusable" else "3 1 1"
            self.dns.zone(f"{name} TLSA {numbers} {data}")
        if scene.sts == "none":
            return
        domain, now = f"d{n}.to.matrix.example", int(time.time())
        self.dns.zone(f'_mta-sts.{domain} TXT "v=STSv1; id=1;"')
        hosts = [f"b{n}.mx.example"] + [f"a{n}.mx.example"] * (scene.sts != "unlisted")
        mode = "testing" if scene.sts == "testing" else "enforce"
        lines = "".join(f"mx {h}\n" for h in hosts)
        text = f"version: STSv1\nmode: {mode}\n" + "".join(f"mx: {h}\n" for h in hosts) + "max_age: 86400\n"
        with open(f"{self.home.run_path}/sts-{domain}", "w", encoding="ascii") as f:
            f.write(f"qmail-remote-sts 1\ndomain {domain}\nid 1\nfetched {now}\ntried {now} 0\nused {now}\n"
                    f"max-age 86400\nmode {mode}\n{lines}"
                    + "".join(f"text {line}\n" for line in text.splitlines()) + "end\n")

    def _run(self, cell, domain, timeout):
        fd = os.open(self.files["long" if cell.scene.step == "mail data" else "short"], os.O_RDONLY)
        started = time.monotonic()
        pid, pipe = self.spawner.start(self.home.path, [domain, SENDER, f"r@{domain}"], fd)
        os.close(fd)
        limit = started + 60 + (timeout or 0) * 4
        report, eof = b"", None
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        try:
            while eof is None:
                assert poll.poll(max(0, limit - time.monotonic()) * 1000), f"{cell.name}: still running"
                data = os.read(pipe, 65536)
                report += data
                if not data:
                    eof = time.monotonic()
            ended = self.spawner.wait(pid, 10)
            assert ended, f"{cell.name}: closed its report and runs"
        except AssertionError:
            os.killpg(pid, 9)
            raise
        finally:
            os.close(pipe)
        status, peak, exited = ended
        return Run(report, status, started, exited, eof, peak)


# The judge.

def mails(server):
    """Complete messages that had a recipient."""
    return [(s, m) for s in server.sessions for m in s.mails if m.complete and m.recipients] if server else []


def _report_faults(played, want):
    run = played.run
    letter = run.rspawn[:1].decode()
    if letter not in want.letters:
        yield f"qmail-rspawn makes {letter} of it, not {' or '.join(want.letters)}"
    found = list(faults_of_report(run))
    yield from found
    if found:
        return
    records = run.records
    ip = played.second.address if played.second and want.mail == "second" else played.ip
    first = want.first.format(ip=ip).encode()
    # A reset at once can be seen before the connection is.
    unseen = played.cell.scene.step == "greeting" and played.cell.behaviour.name == "RST" and \
        records[-1].first == rules.NO_CONNECTION.encode()
    if want.first and records[-1].first != first and not unseen:
        yield f"the message record begins {records[-1].first!r}, not {first!r}"
    told = b"Possible duplicate!" in run.report
    if want.duplicate in (True, False) and told != want.duplicate:
        yield "says Possible duplicate!" if told else "does not say Possible duplicate!"
    if want.duplicate is None and letter != "K" and not told and mails(played.first):
        yield "the server has the message, and the report does not say Possible duplicate!"
    yield from _tls_line_faults(played, want, records[-1])


def _tls_line_faults(played, want, record):
    if not want.mail or "K" != want.letters:
        return
    lines = record.text.split(b"\n")
    last = lines[-2] if len(lines) > 1 else b""
    scene = played.cell.scene
    version = "TLSv1.3" if want.mail == "second" else scene.transport
    if want.mail == "first" and scene.step == "handshake" and scene.saw.kind == "old":
        version = "TLSv1.1"
    if not want.secure:
        # Only where TLS was begun, and clear text would do.
        tried = scene.strictness == 0 and want.mail == "first" and scene.step in ("STARTTLS", "handshake", "EHLO in TLS")
        if b"TLS:" in record.text and not (tried and last.startswith(b"TLS: ") and
                                           last.endswith(b", sent in clear text")):
            yield f"clear text, and the report says {last!r}"
    elif not last.startswith(f"TLS: {version} ".encode()):
        yield f"{version}, and the report ends {last!r}"
    elif want.proof:
        if not re.search(f"[A-Z0-9], {want.proof}$", last.decode()):
            yield f"the report ends {last!r}, not {want.proof!r}"
    elif (b"certificate verified for" in last) != (scene.strictness == 2):
        yield f"strictness {scene.strictness}, and the report ends {last!r}"


def _server_faults(played, want):
    first, second = mails(played.first), mails(played.second)
    if not want.asked and played.first and played.first.sessions:
        yield "the first host was tried"
    if played.second:
        asked = bool(played.second.sessions)
        if asked != want.other:
            yield "the second host was tried" if asked else "the second host was not tried"
    if len(first) + len(second) > 1:
        yield f"{len(first)} messages at the first host, {len(second)} at the second"
    if second and want.mail != "second":
        yield "the second host has the message"
    if want.mail and want.letters == "K":
        got = {"first": first, "second": second}[want.mail]
        if len(got) != 1:
            yield f"the {want.mail} host has {len(got)} messages"
            return
        session, mail = got[0]
        if bool(session.tls) != want.secure:
            yield f"the message went {'in TLS' if session.tls else 'in clear text'}"
        long = played.cell.scene.step == "mail data"
        if mail.text != (LONG if long else MESSAGE):
            yield f"another message: {mail.text[:100]!r}"
    if want.letters == "K" and not want.mail:
        yield "the rule is at fault: K, and nobody has the message"


def _dialogue_faults(played, want):
    for server in played.servers:
        for s in server.sessions:
            odd = set(s.verbs) - VERBS
            if odd:
                yield f"odd commands {sorted(odd)[:3]}"
            if s.early:
                yield f"{s.early!r} behind STARTTLS"
            if (s.tls or not want.clear or (want.guarded and server is played.first)) and TELLTALE.search(bytes(s.clear)):
                yield f"told in clear text to {server.address}: {bytes(s.clear)[:200]!r}"
    yield from _offer_faults(played)
    if want.quit is not None and played.first and played.first.sessions:
        last = played.first.sessions[-1].verbs[-1:]
        if (last == ["QUIT"]) != want.quit:
            yield f"the first host's last command is {last}"


def _offer_faults(played):
    """What the first host offers is used, and nothing else."""
    offer = played.cell.scene.offer
    for s in played.first.sessions if played.first and played.cell.scene.step != "EHLO in TLS" else ():
        grouped = any(c.startswith(b"MAIL") and b"\nRCPT" in c for c in s.chunks)
        told = "HELO" not in s.verbs and not played.cell.scene.saw.bare
        if "RCPT" in s.verbs and told and grouped != (offer != "none"):
            yield f"offers {offer}, and {'a group' if grouped else 'no group'} came"


VERDICTS = {"K": (0, "delivered"), "Z": (1, "deferred"), "D": (2, "bounced")}


def _foretold_faults(played):
    """qmail-remote-check goes as far as MAIL: it says the same of everything before."""
    if rules.is_over_before_mail(played.cell.scene):
        return
    code, result = played.foretold
    took = [(server, s) for server in played.servers for s in server.sessions if "MAIL" in s.verbs]
    letter = "K" if took else played.run.rspawn[:1].decode()
    if (code, result["verdict"]) != VERDICTS[letter]:
        yield f"qmail-remote-check ends with {code}, {result}"
    elif took:
        server, session = took[-1]
        scene = played.cell.scene
        proof = rules.proof(scene, "first" if server is played.first else "second")
        level = "clear text" if not session.tls else \
            f"TLS, certificate {'not ' if 'not verified' in proof else ''}verified"
        if (result["address"], result["protection"]) != (server.address, level):
            yield f"qmail-remote-check says {result}"


def faults(played, timeout, sanitized):
    """All that is not as it must be."""
    want = rules.expect(played.cell.scene)
    found = _faults(played, want, timeout, sanitized)
    if want.either and not _faults(played, want.either, timeout, sanitized):
        found = []
    return found + list(_foretold_faults(played))


def _faults(played, want, timeout, sanitized):
    found = [f for find in (_report_faults, _server_faults, _dialogue_faults) for f in find(played, want)]
    bound = want.waits * (timeout or 0) + SLACK
    if played.run.wall > bound:
        found.append(f"{played.run.wall:.1f} s, more than {bound:.0f}")
    if not sanitized and played.run.peak > MEMORY[played.cell.scene.transport]:
        found.append(f"{played.run.peak} kB resident")
    return found


def describe(played):
    seen = "; ".join(
        f"{server.address} " + " | ".join(" ".join(s.verbs) + (f" [{s.tls['version']}]" if s.tls else "") + f" {s.end}"
                                          for s in server.sessions)
        for server in played.servers)
    return f"    {played.run.report[:400]!r} {played.run.wall:.1f} s\n    {seen}"


class Result:
    def __init__(self):
        self.cells = {}         # (step, behaviour): [held, played]
        self.disagreements = []
        self.repeated = 0
        self.peak = 0

    def note(self, cell, found, played):
        count = self.cells.setdefault((cell.scene.step, cell.behaviour.name), [0, 0])
        count[0] += not found
        count[1] += 1
        if played:
            self.peak = max(self.peak, played.run.peak)
        if found:
            text = "\n    ".join(found)
            self.disagreements.append(f"{cell.name}\n    {text}\n{describe(played) if played else ''}".rstrip())


def play(theatre, some, strictness, timeout, lanes):
    """All these sessions, in lanes; a Result. Policies are on for all of them or for none."""
    has_policies = some[0].scene.has_policies
    theatre.set_up(strictness, timeout, has_policies)
    result = Result()
    free = [Lane(n, theatre.certs, theatre.lock) for n in range(lanes)]

    def one(cell, timeout=timeout):
        lane = free.pop()
        played = None
        try:
            played = theatre.deliver(cell, lane, timeout)
            return cell, faults(played, timeout, theatre.sanitized), played
        except Exception as e:      # one session must not hide the others
            return cell, [f"{type(e).__name__}: {e}"], played
        finally:
            free.append(lane)

    again = []
    with ThreadPoolExecutor(lanes) as pool:
        for cell, found, played in pool.map(one, some):
            if found and timeout:
                again.append(cell)      # a second is short on a busy machine
            else:
                result.note(cell, found, played)
    if again:
        longer = timeout * 3
        theatre.set_up(strictness, longer, has_policies)
        result.repeated = len(again)
        with ThreadPoolExecutor(max(1, lanes // 4)) as pool:
            for cell, found, played in pool.map(lambda cell: one(cell, longer), again):
                result.note(cell, found, played)
    return result


# The table of a test run.

def to_json(result, wall):
    return json.dumps({
        "cells": [[*key, *count] for key, count in result.cells.items()], "repeated": result.repeated,
        "wall": wall, "peak": result.peak})


def _add(counts, key, held, played):
    count = counts.setdefault(key, [0, 0])
    count[0] += held
    count[1] += played


def _show(count):
    if not count:
        return ""
    return str(count[1]) if count[0] == count[1] else f"{count[0]}/{count[1]}"


class Summary:
    """A plugin of pytest: how many sessions hold, by step and behaviour."""

    def pytest_terminal_summary(self, terminalreporter):
        parts = [json.loads(text) for outcome in ("passed", "failed")
                 for report in terminalreporter.stats.get(outcome, ())
                 for key, text in getattr(report, "user_properties", ()) if key == "matrix"]
        if not parts:
            return
        counts = {}
        for part in parts:
            for step, name, held, played in part["cells"]:
                _add(counts, (step, name), held, played)
                _add(counts, (step, None), held, played)
                _add(counts, None, held, played)
        write = terminalreporter.write_line
        terminalreporter.write_sep("=", "outcome matrix: sessions that hold")
        replying = [step for step in rules.STEPS if step in WANTED]
        self._table(write, counts, replying, [b.name for b in REPLIES])
        for step, behaviours in BEHAVIOURS.items():
            write("")
            self._table(write, counts, [step], [b.name for b in behaviours])
        write("")
        repeated, seconds = sum(p["repeated"] for p in parts), sum(p["wall"] for p in parts)
        write(f"{_show(counts[None])} sessions{' hold' if counts[None][0] == counts[None][1] else ' held'}, "
              f"{repeated} of them on the second try, with more time; "
              f"{seconds:.0f} s in all processes; the largest process {max(p['peak'] for p in parts)} kB")

    @staticmethod
    def _table(write, counts, steps, names):
        short = {"EHLO in TLS": "in TLS", "end of data": "end"}
        width = max(map(len, names)) + 2
        write(" " * width + "".join(f"{short.get(step, step):>10}" for step in steps))
        for name in names:
            if any((step, name) in counts for step in steps):
                write(f"{name:{width}}" + "".join(f"{_show(counts.get((step, name))):>10}" for step in steps))
        if len(steps) > 1:
            write(f"{'together':{width}}" + "".join(f"{_show(counts.get((step, None))):>10}" for step in steps))
