# SPDX-License-Identifier: ISC
"""The workloads: messages, servers and settings."""

import time

import measure
import qmailhome
import world

SMALL = 2048
LARGE = 50_000_000

# What a server offers besides STARTTLS.
PLAIN = ()
PIPELINING = ("PIPELINING", "SIZE 104857600", "8BITMIME")

EMPTY = measure.Floor("empty")
COPY = measure.Floor("copy")
SEND = measure.Floor("copy", measure.SERVER, "25")
HANDSHAKE = measure.Floor("handshake", measure.SERVER, "25")


class Workload:
    """`prepare` is called with the world, which has been cleared, and sets routes, zone and control files."""

    def __init__(self, name, prepare, *, size=SMALL, recipients=1, at_once=1, extensions=PIPELINING, tls=False,
                 sink=(), floor=EMPTY, batches=11, rounds=5, quiet=measure.QUIET_MS, details=True, files=None):
        self.name, self.prepare, self.size, self.recipients = name, prepare, size, recipients
        self.at_once, self.extensions, self.tls, self.sink = at_once, extensions, tls, sink
        self.floor, self.batches, self.rounds = floor, batches, rounds
        self.quiet = quiet          # milliseconds of silence that count as a wait; less if there are many waits
        self.files = files          # control files; the floor is the same without them
        self.details = details      # measure system calls, memory and traffic, not only time

    def set_up(self, w):
        w.clear()
        w.serve(self.extensions, self.tls, self.sink)
        if self.tls:
            w.home.control("trustanchors", w.certificates.directory + "\n")
        self.prepare(w)
        return measure.Delivery(w.message(self.size), self.recipients, at_once=self.at_once)


def relay(w):
    """No DNS: all mail goes to one address."""
    w.home.route(f":{measure.SERVER}:25")


def routes(n):
    """n routes; the one that is used comes last."""
    def prepare(w):
        lines = [f"domain{i}.example:relay{i}.example\n" for i in range(n - 1)]
        w.home.control("smtproutes", "".join(lines) + f"dst.example:{measure.SERVER}:25\n")
        if n > 100:
            time.sleep(2.2)     # a file that has just been written is not compiled at once
    return prepare


def mx(n=1, delay=0.0):
    """n MX hosts, each with an IPv4 and an IPv6 address."""
    def prepare(w):
        for i in range(1, n + 1):
            w.dns.zone(f"dst.example MX {10 * i} m{i}.example.\n"
                       f"m{i}.example A 192.0.2.{i}\n"
                       f"m{i}.example AAAA 2001:db8::{i:x}\n")
        if delay:
            w.dns.rule(delay=delay)
    return prepare


def dead_family(w):
    """One MX host, whose IPv6 address is unreachable."""
    w.dns.zone(f"dst.example MX 10 m1.example.\nm1.example A {measure.SERVER}\nm1.example AAAA {world.HOLE6}\n")


def dead_host(w):
    """Neither address of the first of two MX hosts can be reached."""
    w.home.control("timeoutconnect", "2\n")
    w.dns.zone(f"dst.example MX 10 m1.example.\nm1.example A {world.HOLE4}\nm1.example AAAA {world.HOLE6}\n"
               f"dst.example MX 20 m2.example.\nm2.example A {measure.SERVER}\n")


def dead_host_known(w):
    """The same, once IPv4 is in tcpto; there is no IPv6 address."""
    w.home.control("timeoutconnect", "2\n")
    w.dns.zone(f"dst.example MX 10 m1.example.\nm1.example A {world.HOLE4}\n"
               f"dst.example MX 20 m2.example.\nm2.example A {measure.SERVER}\n")
    w.forget_timeouts(qmailhome.pack4(world.HOLE4, 5, time.time()))


def verified(anchors):
    def prepare(w):
        mx()(w)
        w.home.control("tlsstrictness", "2\n")
        w.home.control("trustanchors", anchors(w) + "\n")
    return prepare


def published(delay=0.0):
    """One MX host, with a TLSA record, and a policy of MTA-STS in the cache. The control files say whether that matters."""
    def prepare(w):
        mx(1, 0)(w)
        w.publish()
        if delay:
            w.dns.rule(ad=True, delay=delay)
    return prepare


def policies(n):
    """n lines of tlspolicy; the one that is used comes last."""
    def prepare(w):
        mx()(w)
        lines = [f"domain{i}.example:encrypt\n" for i in range(n - 1)]
        w.home.control("tlspolicy", "".join(lines) + "dst.example:encrypt\n")
        if n > 100:
            time.sleep(2.2)     # as in routes()
    return prepare


DANE, MTA_STS = {"dane": "1\n"}, {"mtasts": "5\n"}


def directory(w):
    return w.certificates.directory


def bundle(w):
    """The system's trust anchors and ours."""
    with open(measure.SYSTEM_BUNDLE, "rb") as f:
        system = f.read()
    path = w.certificates.write("bundle.pem", system + w.certificates.root.pem)
    time.sleep(2.2)
    return path


TABLE = [
    Workload("small, clear", relay),
    Workload("small, clear, no PIPELINING", relay, extensions=PLAIN),
    Workload("small, clear, by MX", mx()),
    Workload("small, TLS 1.3", relay, tls=True, floor=HANDSHAKE),
    Workload("small, TLS 1.2", relay, tls=True, sink=("-2",), floor=HANDSHAKE),
    Workload("small, TLS, server with Nagle", relay, tls=True, sink=("-n",), floor=HANDSHAKE),
    Workload("100 recipients, clear", relay, recipients=100),
    Workload("1000 recipients, clear", relay, recipients=1000),
    Workload("1000 recipients, clear, no PIPELINING", relay, recipients=1000, extensions=PLAIN, batches=5, rounds=1,
             quiet=1),
    Workload("1000 recipients, TLS", relay, recipients=1000, tls=True, floor=HANDSHAKE),
    Workload("50 MB, clear", relay, size=LARGE, floor=SEND, batches=5, rounds=1),
    Workload("50 MB, TLS", relay, size=LARGE, tls=True, floor=SEND, batches=5, rounds=1),
    Workload("1 route", routes(1)),
    Workload("200 000 routes", routes(200_000), batches=5),
    Workload("1 MX host, DNS takes 50 ms", mx(1, 0.05), batches=3, rounds=1),
    Workload("10 MX hosts, DNS takes 50 ms", mx(10, 0.05), batches=3, rounds=1),
    Workload("40 MX hosts, DNS takes 50 ms", mx(40, 0.05), batches=3, rounds=1),
    Workload("MX host with dead IPv6", dead_family, batches=3, rounds=1),
    Workload("first MX host dead (timeoutconnect 2)", dead_host, batches=2, rounds=1, details=False),
    Workload("first MX host dead, in tcpto", dead_host_known, batches=3),
    Workload("TLS by MX, not verified", mx(), tls=True, floor=HANDSHAKE),
    Workload("TLS by MX, verified, hashed directory", verified(directory), tls=True, floor=HANDSHAKE),
    Workload("TLS by MX, verified, system's bundle", verified(bundle), tls=True, floor=HANDSHAKE),
    Workload("TLS by MX, DANE (3 1 1)", published(), tls=True, files=DANE),
    Workload("TLS by MX, MTA-STS, policy cached", published(), tls=True, files=MTA_STS),
    Workload("TLS by MX, DANE, MTA-STS cached", published(), tls=True, files={**DANE, **MTA_STS}),
    Workload("TLS by MX, the same, DNS takes 50 ms", published(0.05), tls=True, files={**DANE, **MTA_STS}, batches=3,
             rounds=1),
    Workload("TLS by MX, tlspolicy of 1 line", mx(), tls=True, files={"tlspolicy": "dst.example:encrypt\n"}),
    Workload("TLS by MX, tlspolicy of 200 000 lines", policies(200_000), tls=True, floor=HANDSHAKE, batches=5),
    Workload("20 at once, clear", relay, at_once=20, batches=5, rounds=2),
    Workload("200 at once, clear", relay, at_once=200, batches=3, rounds=1),
    Workload("20 at once, TLS", relay, at_once=20, tls=True, floor=HANDSHAKE, batches=5, rounds=1),
    Workload("200 at once, TLS", relay, at_once=200, tls=True, floor=HANDSHAKE, batches=3, rounds=1),
]


# Waits: groups of replies that the client had to wait for.

DIALOGUES = {"plain": PLAIN, "PIPELINING": PIPELINING}


def expected_waits(tls, dialogue, recipients):
    """Greeting, EHLO; with TLS 1.3 also STARTTLS, handshake, EHLO; then the transaction."""
    transaction = {
        "plain": 1 + recipients + 1 + 1,    # MAIL, each RCPT, DATA, end of mail data
        "PIPELINING": 1 + 1,                # the group, end of mail data
    }
    return 2 + (3 if tls else 0) + transaction[dialogue]


def waits(tls, dialogue, recipients):
    """The workload to count them with."""
    sure = dialogue == "plain"
    return Workload(f"{'TLS' if tls else 'clear'}, {dialogue}, {recipients} recipients", relay, tls=tls,
                    recipients=recipients, extensions=DIALOGUES[dialogue], quiet=1 if sure else measure.QUIET_MS)


# What protects the mail costs questions, which are asked beside the others, and no wait for the server.
# workload: DNS questions
PROTECTED = {
    "TLS by MX, not verified": 3,
    "TLS by MX, verified, hashed directory": 3,
    "TLS by MX, DANE (3 1 1)": 4,
    "TLS by MX, MTA-STS, policy cached": 4,
    "TLS by MX, DANE, MTA-STS cached": 5,
    "TLS by MX, tlspolicy of 1 line": 3,
}


# What ./bench --short holds a delivery of a small message to.

LIMITS = {
    # workload: (system calls, kilobytes of private memory)
    "small, clear": (166, 130),             # the budget is 300
    "small, clear, by MX": (191, 130),
    "small, TLS 1.3": (385, 300 + 2560),
    "1000 recipients, clear": (188, 300),   # musl gets memory in smaller pieces than glibc
}
