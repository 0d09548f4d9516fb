"""Many messages over connections that are left to each other, while servers and the broker do what they like.

Each message arrives, and twice only if a report has said so; nothing is left over.
"""

import collections
import os
import random
import re
import signal
import subprocess
import threading

import pytest

import rspawn
from qmailhome import HOME
from qmailsend import Queue
from reuse import PROGRAM, USER, Reuse, brokers, is_listening, wait_until
from smtpd import CLOSE, DEAF, RESET, Call
from test_stock import one_user
from tlssite import gone

pytestmark = one_user

DOMAINS = 6         # the first half has no TLS
EACH_TIME = 60      # passes over the queue


class OfUser:
    """A home whose deliveries are those of the broker's user."""

    def __init__(self, home):
        self.home, self.path = home, home.path

    def start(self, *args):
        return self.home.start(*args, **USER)


# What servers do in place of what they should, and how often in a thousand times.
CONDUCT = {
    "greeting": ("220 hi", {"421 busy": 20, RESET: 10}),
    "MAIL": ("250 ok", {"421 too many messages": 40, ("421 too many messages", CLOSE): 40, "452 too many": 20, CLOSE: 20,
                        RESET: 20, "hello?": 5, b"250 ok\r\n250 ok\r\n": 5, "451 later": 20, DEAF: 1}),
    "RCPT": ("250 ok", {"450 later": 20, "421 later": 10, CLOSE: 5}),
    "DATA": ("354 go", {"451 later": 10, "421 later": 10, CLOSE: 5, RESET: 5}),
    "END": ("250 got it", {CLOSE: 10, RESET: 5, "451 later": 10, ("250 got it", CLOSE): 50, ("250 got it", RESET): 10,
                           ("250 got it", "421 bye", CLOSE): 50, b"250 got it\r\n250 got it\r\n": 10}),
}


def moody(chance, moment):
    usual, others = CONDUCT[moment]

    def step(session):
        if moment == "DATA" and not session.recipients:
            return "554 no valid recipients"
        if moment == "RCPT" and session.sender is None:
            return "503 MAIL first"
        at = chance.randrange(1000)
        for other, often in others.items():
            at -= often
            if at < 0:
                return other
        return usual
    return Call(step)


class Crowd:
    def __init__(self, dns, smtp, certs, seed):
        self.chance = random.Random(seed)
        self.servers = []
        for n in range(DOMAINS):
            tls = certs.context(certs.leaf("good", f"mx{n}.example")) if n >= DOMAINS // 2 else None
            script = {moment: moody(self.chance, moment) for moment in CONDUCT}
            self.servers.append(smtp(f"192.0.2.{n + 1}", tls=tls, ehlo=["PIPELINING"] if n % 2 else [], **script))
            dns.zone(f"d{n}.example MX 10 mx{n}.example.\nmx{n}.example A 192.0.2.{n + 1}")

    def arrived(self):
        """How often each recipient's message came whole, and how many connections there were."""
        count = collections.Counter()
        for server in self.servers:
            server.settle(timeout=60)
            for session in server.sessions:
                for mail in session.mails:
                    if mail.complete:
                        count[mail.recipients[0].strip(b"<>").decode()] += 1
        return count, sum(len(server.sessions) for server in self.servers)


class Restless(threading.Thread):
    """Kills the broker again and again; deliveries start another one."""

    def __init__(self, chance):
        super().__init__(daemon=True)
        self.chance, self.over, self.killed = chance, threading.Event(), 0
        self.start()

    def run(self):
        while not self.over.wait(self.chance.uniform(0, 0.1)):
            for pid in brokers():
                try:
                    os.kill(pid, self.chance.choice((signal.SIGKILL, signal.SIGTERM)))
                    self.killed += 1
                except ProcessLookupError:
                    pass

    def stop(self):
        self.over.set()
        self.join()


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def send(home, count, chance):
    """So many messages, until none waits; returns them."""
    queue = Queue(OfUser(home), concurrency=20)
    for n in range(count):
        queue.put("a@src.example", f"u{n}@d{chance.randrange(DOMAINS)}.example", f"Subject: {n}\n\nhi\n".encode())
    messages = list(queue.waiting)
    for _ in range(EACH_TIME):
        queue.run()
        if not queue.waiting:
            return messages
    raise AssertionError([m.results for m in queue.waiting])


def each_came_once(messages, arrived):
    for m in messages:
        doubts = sum(b"Possible duplicate" in result for result in m.results)
        # What was taken and then refused, or not acknowledged, is tried again.
        refused = sum(b"failed after I sent the message" in result for result in m.results)
        assert m.results[-1][:1] == b"K" and 1 <= arrived[m.recipient] <= 1 + doubts + refused, (m.results, arrived[m.recipient])


@pytest.fixture
def crowd(home, dns, smtp, certs):
    home.control("trustanchors", f"{certs.bundle}\n")
    home.control("timeoutremote", "1\n")
    return Crowd(dns, smtp, certs, 1)


COUNTS = [300, pytest.param(10000, marks=pytest.mark.long)]


@pytest.mark.parametrize("count", COUNTS)
def test_nothing_is_lost_doubled_or_left_over(home, crowd, count):
    reuse = Reuse(home, idle=1).serve()
    try:
        pid, = brokers()
        before = descriptors(pid)
        messages = send(home, count, crowd.chance)
        wait_until(lambda: not reuse.idle() and descriptors(pid) == before)
        hits = reuse.shown()[2]["hits"]
    finally:
        reuse.stop()
    gone(timeout=20)
    arrived, connections = crowd.arrived()
    each_came_once(messages, arrived)
    assert hits > count // 5 and connections < count
    assert set(os.listdir(home.run_path)) <= {"cache.lock", "addresses", "tcpto6"}


def test_nothing_is_lost_or_doubled_while_the_broker_is_killed(home, crowd):
    reuse = Reuse(home)
    restless = Restless(crowd.chance)
    try:
        messages = send(home, 300, random.Random(2))
    finally:
        restless.stop()
        reuse.stop()
    gone(timeout=20)
    assert restless.killed
    each_came_once(messages, crowd.arrived()[0])


# The broker is killed at each of its system calls.

def begin_traced(reuse, trace, *options):
    """The broker below strace(1), which becomes its user first."""
    strace = subprocess.Popen(
        ["/usr/bin/strace", "-qq", "-o", trace, *options, "setpriv", f"--reuid={USER['uid']}", f"--regid={USER['gid']}",
         "--clear-groups", f"{HOME}/bin/{PROGRAM}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    wait_until(lambda: any(map(is_listening, brokers())) or strace.poll() is not None)
    return strace


def deliver_some(reuse, server):
    """Five messages; each is delivered, and comes once."""
    for n in range(5):
        run = reuse.run(recipients=[f"u{n}@dst.example"])
        assert run.letters == "rK", run
    if brokers():
        reuse.stop()
    server.settle()
    assert sorted(m.recipients[0] for s in server.sessions for m in s.mails) == [b"<u%d@dst.example>" % n for n in range(5)]
    assert all(m.complete for s in server.sessions for m in s.mails)


def calls_of(trace):
    """(name, occurrence) of each call that the broker makes; those of setpriv count, and are left out."""
    count, calls, begun = collections.Counter(), [], 0
    with open(trace, encoding="latin-1") as f:
        for line in f:
            name = re.match(r"(\w+)\(", line)
            if not name:
                continue
            count[name[1]] += 1
            begun += name[1] == "execve"
            if begun > 1 and name[1] not in ("exit_group", "execve"):
                calls.append((name[1], count[name[1]]))
    return calls


@pytest.mark.parametrize("step", ["some", pytest.param("all", marks=pytest.mark.long)])
def test_the_broker_is_killed_at_each_of_its_calls(home, dns, smtp, step):
    if "sanitizer" in home.kind:
        pytest.skip("a sanitizer has system calls of its own, and no use for a tracer")
    dns.zone("dst.example A 192.0.2.1")
    reuse = Reuse(home)
    server, trace = smtp(), f"{HOME}/trace"
    strace = begin_traced(reuse, trace)
    deliver_some(reuse, server)
    strace.wait()
    calls = calls_of(trace)
    assert len(calls) > 50 and {"recvmsg", "sendmsg", "accept"} <= {name.rstrip("4") for name, _ in calls} | {"accept"}
    for name, occurrence in calls[::1 if step == "all" else len(calls) // 15]:
        server.sessions.clear()
        strace = begin_traced(reuse, trace, "-e", f"inject={name}:signal=SIGKILL:when={occurrence}")
        deliver_some(reuse, server)
        strace.wait()
        rspawn.reap()
