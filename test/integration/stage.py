"""What a case of the catalogue is played on: servers, a domain, a delivery, and what is seen of it."""

import re
import resource
import socket
import ssl
import struct
import threading

import pytest

import judge
import rspawn
from catalogue import MESSAGE, ONE, TWO, WAYS

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Wire:
    """All that goes through the loopback interface, to be searched afterwards."""

    SO_RCVBUFFORCE = 33
    OUTGOING = 4

    def __init__(self):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sock.bind(("lo", 0))
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, self.SO_RCVBUFFORCE, 32 << 20)
        except OSError:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 20)
        self.sock.setblocking(False)

    def streams(self):
        """{(address, port) it went to: bytes}, TCP only."""
        found = {}
        while True:
            try:
                data, where = self.sock.recvfrom(1 << 17)
            except BlockingIOError:
                self.sock.close()
                return found
            if where[2] == self.OUTGOING or not data:
                continue
            if data[0] >> 4 == 4 and data[9] == 6:
                address, tcp = socket.inet_ntop(socket.AF_INET, data[16:20]), data[(data[0] & 15) * 4:]
            elif data[0] >> 4 == 6 and data[6] == 6:
                address, tcp = socket.inet_ntop(socket.AF_INET6, data[24:40]), data[40:]
            else:
                continue
            port, = struct.unpack_from("!H", tcp, 2)
            found.setdefault((address, port), bytearray()).extend(tcp[(tcp[12] >> 4) * 4:])


class Peak(threading.Thread):
    """The largest resident size of a process and of its children, in kB."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.over = pid, threading.Event()
        self.own = self.helper = 0
        self.start()

    @staticmethod
    def _size(pid):
        try:
            with open(f"/proc/{pid}/status", encoding="latin-1") as f:
                text = f.read()
        except OSError:
            return 0
        name, size = text.split("\n", 1)[0], re.search(r"^VmHWM:\s*(\d+)", text, re.MULTILINE)
        return int(size.group(1)) if size and "qmail-remote" in name else 0

    def look(self):
        self.own = max(self.own, self._size(self.pid))
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as f:
                children = f.read().split()
        except OSError:
            children = []
        for pid in children:
            self.helper = max(self.helper, self._size(pid))

    def run(self):
        pause = 0.005
        while not self.over.wait(pause):
            self.look()
            pause = min(0.1, pause * 1.5)

    def stop(self):
        self.over.set()
        self.join()


class Stage:
    """One variant of a case, and what came of it."""

    def __init__(self, home, smtp, dns, certs, notes):
        self.home, self.smtp, self.dns, self.certs = home, smtp, dns, certs
        self.servers = []
        self.first = self.second = None
        self.variant = self.case = self.way = None
        self.run = self.peak = self.message = None
        self.notes = notes
        self.sanitized, self.dynamic, self.musl = (k in home.kind for k in ("sanitizer", "loader", "musl"))

    # Setting up.

    def context(self, leaf, **how):
        """A TLS context that shows this leaf, with the versions of this way."""
        low, high = (VERSIONS[v] for v in self.way.versions)
        return self.certs.context(leaf, **{"minimum": low, "maximum": high, **how})

    def server(self, address=ONE, cert=False, host="m1.example", **script):
        """A server that offers what this way of delivery needs."""
        if cert is False:
            cert = self.case.setup.cert
        context = None
        if cert is not None and self.way.versions:
            context = self.context(self.certs.leaf(cert, host) if isinstance(cert, str) else cert)
        script.setdefault("ehlo", self.way.ehlo)
        server = self.smtp(address, tls=context, **script)
        self.servers.append(server)
        return server

    def demand(self, strictness, anchors=None):
        self.home.control("trustanchors", f"{anchors or self.certs.bundle}\n")
        self.home.control("tlsstrictness", f"{strictness}\n")

    def set_up(self, variant):
        case, setup = variant.case, variant.case.setup
        self.variant, self.case, self.way = variant, case, WAYS[variant.way]
        # Beside other tests a delivery may take long; one that waits for a time-out too many takes longer.
        self.within = case.within if variant.is_timed and rspawn.TIMED else 3 * case.within + 10
        self.home.control("timeoutconnect", "2\n")
        self.home.control("timeoutremote", "5\n")
        if self.way.strictness is not None:
            self.demand(self.way.strictness)
        for name, text in setup.control.items():
            self.home.control(name, text)
        if setup.zone is not None:
            self.dns.zone(setup.zone)
            if not re.search(r"^\s*dst\.example\s", setup.zone, re.MULTILINE):
                kind = "AAAA" if ":" in setup.address else "A"
                self.dns.zone(f"dst.example MX 10 {setup.host}.\n{setup.host} {kind} {setup.address}")
            if variant.has_second:
                self.dns.zone(f"dst.example MX 20 m2.example.\nm2.example A {TWO}")
        if setup.listens:
            self.first = self.server(setup.address, host=setup.host, **setup.script)
        if variant.has_second:
            self.second = self.server(TWO, cert="good", host="m2.example")
        if self.is_demanded:
            self.wire = Wire()
        if setup.prepare:
            setup.prepare(self)

    # The delivery.

    @property
    def is_demanded(self):
        return self.way.strictness == 2 or self.case.want.secret

    def begin(self, **how):
        how = {"message": MESSAGE, **self.case.start.how, **how}
        tight = {resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_STACK} & set(how.get("limits") or ())
        if self.sanitized and (tight or "strace" in how.get("program", "")):
            self.cannot("sanitizers need memory, and not to be traced")
        if self.case.plain and (self.sanitized or self.dynamic):
            self.cannot("what a loader or a sanitizer does before our time is not ours")
        self.message = how["message"]
        return self.home.start(**how)

    def deliver(self, process=None, within=None, **how):
        """A whole delivery; its run is not judged yet."""
        if process is None:
            process = self.begin(**how)
        self.peak = Peak(process.pid)
        try:
            self.run = process.finish(timeout=(within or self.within) + 20)
        finally:
            self.peak.stop()
        return self.run

    def deliver_below(self, program, *options, **how):
        """A delivery that another program starts in its own place."""
        return self.deliver(program=program, args=[
            *options, f"{self.home.path}/bin/qmail-remote", "dst.example", "a@src.example", "b@dst.example"], **how)

    def deliver_traced(self, *options, trace="/dev/null", **how):
        """A delivery whose system calls strace sees, or changes."""
        return self.deliver_below("/usr/bin/strace", "-f", "-qq", "-o", trace, *options, **how)

    @property
    def sessions(self):
        for server in self.servers:
            server.settle()
        return [s for server in self.servers for s in server.sessions]

    @property
    def mails(self):
        """Complete ones that had a recipient."""
        return [m for s in self.sessions for m in s.mails if m.complete and m.recipients]

    def hold(self, variant):
        """Play one variant of a case and judge it."""
        case = variant.case
        self.notes.append(("catalogue", case.id))
        if case.says:
            self.notes.append(("decision", case.says))
        if case.cannot:
            self.cannot(case.cannot)
        self.set_up(variant)
        if case.start.play:
            case.start.play(self)
        else:
            self.deliver()
        if self.run is not None:
            self.judge()
        if case.want.check and not variant.to_next:
            case.want.check(self)

    def judge(self, with_wire=True):
        """The wire can be searched once; a case of several deliveries judges the others without."""
        judge.judge(self, self.variant, with_wire)

    def cannot(self, why):
        self.notes.append(("cannot", why))
        pytest.skip(f"cannot: {why}")
