"""A DNS server on 127.0.0.1 that answers from a few lines of zone text, and misbehaves where told.

    dns.zone('''
        dst.example  MX 10 m1.example.
        m1.example   A 192.0.2.1
    ''')
    dns.rule("dst.example", "MX", rcode="SERVFAIL")
    dns.rule("m1.example", delay=0.3)
    dns.sign("dst.example", "m1.example")       it is a resolver that validates: these answers have AD
"""

import socket
import struct
import threading
import time

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

_SOA = dns.rdata.from_text("IN", "SOA", "ns.example. root.example. 1 60 60 60 60")
_ANY = dns.rdatatype.ANY
_CNAME = dns.rdatatype.CNAME


class Question:
    def __init__(self, when, name, kind, proto, edns, flags, number):
        self.when, self.name, self.kind, self.proto = when, name, kind, proto
        self.edns, self.flags, self.number = edns, flags, number

    def __repr__(self):
        return f"{self.name} {self.kind}/{self.proto}"


class Rule:
    """How to answer: rcode, delay in seconds, drop, truncate (over UDP), empty, raw, ad, hold, drip.

    `ad`: whether AD is set, whatever is signed.

    `close`: TCP connections end without an answer; `once`: after the first one.
    `raw` is bytes, or a function of query and reply; a list of several answers goes out one by one. The query
    has a `proto`, "udp" or "tcp".
    """

    def __init__(self, rcode=None, delay=0, drop=False, truncate=False, empty=False,
                 raw=None, ad=None, hold=None, close=False, once=False, drip=0):
        self.rcode = dns.rcode.from_text(rcode) if rcode else None
        self.delay, self.drop, self.truncate, self.empty = delay, drop, truncate, empty
        self.raw, self.ad, self.hold, self.drip = raw, ad, hold, drip
        self.close, self.once = close, once


def _name(text):
    return dns.name.from_text(text)


def _data(kind, text):
    if text.startswith("\\# "):
        return dns.rdata.GenericRdata(dns.rdataclass.IN, kind, bytes.fromhex("".join(text.split()[2:])))
    return dns.rdata.from_text("IN", kind, text, origin=dns.name.root, relativize=False)


class Server:
    def __init__(self, address="127.0.0.1", port=53):
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.reset()
        # With the zone of a link-local address, as in fe80::1%eth0.
        family, _, _, _, here = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0]
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind(here)
        self.tcp = socket.socket(family, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(here)
        self.tcp.listen(64)
        for target in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=target, daemon=True).start()

    # For the tests.

    def reset(self):
        """Forget everything: an empty zone in which no name exists."""
        with self.lock:
            self.records = {}
            self.rules = {}
            self.signed = set()
            self.default = Rule()
            self.ttl = 60
            self.log = []

    def zone(self, text):
        """Add records, one a line: NAME TYPE RDATA; RDATA as in RFC 3597, "\\# 2 0301", may be of any form."""
        with self.lock:
            for line in text.splitlines():
                words = line.split(None, 2)
                if not words or words[0].startswith("#"):
                    continue
                kind = dns.rdatatype.from_text(words[1])
                self.records.setdefault(_name(words[0]), {}).setdefault(kind, []).append(_data(kind, words[2]))

    def sign(self, *names):
        """These names, and all below them, are signed; an answer has AD if all names that it depends on are."""
        with self.lock:
            self.signed.update(_name(n) for n in names)

    def forget(self, name):
        """Remove the records of a name."""
        with self.lock:
            self.records.pop(_name(name), None)

    def rule(self, name=None, kind=None, **how):
        """How questions for this name (and type) are answered; without a name: all of them."""
        with self.lock:
            if name is None:
                self.default = Rule(**how)
            else:
                self.rules[_name(name), dns.rdatatype.from_text(kind) if kind else None] = Rule(**how)

    @property
    def questions(self):
        """Each question once, however often it was repeated."""
        with self.lock:
            seen = []
            for q in self.log:
                if (q.name, q.kind) not in seen:
                    seen.append((q.name, q.kind))
            return seen

    def asked(self, name, kind=None):
        name = name.rstrip(".").lower() or "."
        return [k for n, k in self.questions if n == name and kind in (None, k)]

    def wait_questions(self, count, timeout=10):
        """Wait until so many different questions have been asked."""
        end = time.monotonic() + timeout
        while len(self.questions) < count:
            assert time.monotonic() < end, f"only {self.questions}"
            time.sleep(0.002)

    # The server.

    def _rule(self, name, kind):
        for key in ((name, kind), (name, None)):
            if key in self.rules:
                return self.rules[key]
        return self.default

    def _answer(self, query, proto):
        """The wire form of the answer and the rule that was used."""
        query.proto = proto
        question = query.question[0]
        name, kind = question.name, question.rdtype
        with self.lock:
            self.log.append(Question(
                time.monotonic(), name.to_text().rstrip(".").lower() or ".", dns.rdatatype.to_text(kind),
                proto, query.payload if query.edns >= 0 else None, query.flags, query.id))
            rule = self._rule(name, kind)
            reply = dns.message.make_response(query, recursion_available=True)
            names = set()
            if rule.rcode is not None:
                reply.set_rcode(rule.rcode)
            elif not rule.empty:
                names = self._fill(reply, name, kind)
            else:
                names = {name}
            if self._is_secure(names) if rule.ad is None else rule.ad:
                reply.flags |= dns.flags.AD
        if rule.raw is not None:
            data = rule.raw(query, reply) if callable(rule.raw) else rule.raw
            if data is None:
                return None, rule
            return data, rule
        if proto == "udp":
            limit = query.payload if query.edns >= 0 and query.payload >= 512 else 512
            if rule.truncate:
                return self._truncated(reply), rule
            data = reply.to_wire(max_size=65535, want_shuffle=False)
            if len(data) > limit:
                data = self._truncated(reply)
            return data, rule
        return reply.to_wire(max_size=65535, want_shuffle=False), rule

    @staticmethod
    def _truncated(reply):
        reply.answer, reply.authority, reply.additional = [], [], []
        reply.flags |= dns.flags.TC
        return reply.to_wire()

    def _is_secure(self, names):
        return bool(names) and all(any(n.is_subdomain(s) for s in self.signed) for n in names)

    def _fill(self, reply, name, kind):
        """Returns the names that the answer depends on."""
        names = set()
        for _ in range(12):
            names.add(name)
            here = self.records.get(name)
            if here is None:
                if not any(other.is_subdomain(name) for other in self.records):
                    reply.set_rcode(dns.rcode.NXDOMAIN)
                break
            if kind in here or kind == _ANY:
                for k, data in here.items():
                    if k == kind or kind == _ANY:
                        self._add(reply, name, k, data)
                return names
            if _CNAME in here:
                self._add(reply, name, _CNAME, here[_CNAME])
                name = here[_CNAME][0].target
                continue
            break
        reply.authority.append(dns.rrset.from_rdata(dns.name.root, 60, _SOA))
        return names

    def _add(self, reply, name, kind, data):
        rrset = dns.rrset.RRset(name, dns.rdataclass.IN, kind)
        rrset.ttl = self.ttl
        for d in data:
            rrset.items[d] = None
        reply.answer.append(rrset)

    def _later(self, rule, function):
        if rule.drop:
            return
        if rule.hold is not None:
            def wait():
                rule.hold.wait(60)
                function()
            threading.Thread(target=wait, daemon=True).start()
        elif rule.delay:
            timer = threading.Timer(rule.delay, function)
            timer.daemon = True
            timer.start()
        else:
            function()

    def _serve_udp(self):
        while True:
            data, peer = self.udp.recvfrom(65535)
            try:
                query = dns.message.from_wire(data)
                query.peer = peer
                reply, rule = self._answer(query, "udp")
            except dns.exception.DNSException:
                continue
            if reply is not None:
                self._later(rule, lambda r=reply, p=peer: self._send_udp(r, p))

    def _send_udp(self, data, peer):
        for one in data if isinstance(data, list) else [data]:
            try:
                self.udp.sendto(one, peer)
            except OSError:
                pass        # the client may be gone

    def _serve_tcp(self):
        while True:
            sock, _ = self.tcp.accept()
            threading.Thread(target=self._tcp_client, args=(sock,), daemon=True).start()

    def _tcp_client(self, sock):
        sock.settimeout(60)
        lock = threading.Lock()

        def send(data, drip):
            with lock:
                whole = b"".join(struct.pack("!H", len(d)) + d for d in (data if isinstance(data, list) else [data]))
                try:
                    for at in range(0, len(whole), 1 if drip else len(whole)):
                        sock.sendall(whole[at:at + 1] if drip else whole)
                        time.sleep(drip)
                except OSError:
                    pass

        def read(count):
            got = b""
            while len(got) < count:
                more = sock.recv(count - len(got))
                if not more:
                    raise EOFError
                got += more
            return got

        try:
            while True:
                size, = struct.unpack("!H", read(2))
                reply, rule = self._answer(dns.message.from_wire(read(size)), "tcp")
                if rule.close:
                    return
                if reply is not None:
                    self._later(rule, lambda r=reply, d=rule.drip: send(r, d))
                if rule.once:
                    return
        except (OSError, EOFError, dns.exception.DNSException):
            pass
        finally:
            sock.close()
