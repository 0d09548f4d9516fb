# SPDX-License-Identifier: ISC
"""Many messages to the same servers, and what it saves that a connection is left for the next one."""

import os
import statistics
import subprocess
import time

import measure
import reuse
import workloads

USER = reuse.USER["uid"]
OPTIONS = ("-u", str(USER), "-e", reuse.PROGRAM)
CLEAR = {"timeoutidle": None, "trustanchors": None}
WITHOUT = {"timeoutidle": None}
LIMITED = {"concurrencyhosts": "host.invalid:1\n", "timeoutidle": "0\n"}   # a broker, which keeps nothing
COLD = dict.fromkeys(LIMITED)
CONNECTIONS = 512       # that the server takes at once
MISSES = 1000
MISS = "stream, clear, miss"

NOTES = """\
Many messages to the same servers. The deliveries are of one user, not root, and so many are under way at a time.
  wall        seconds until the last report is complete; msg/s: messages in a second
  CPU         milliseconds of user and system time of all processes for a message, qmail-remote-cache with its start
              and its end, and helpers of TLS that outlive their delivery, included
  connections that the server has seen; DNS: questions for a message
  faster, CPU x
              median of the ratios of runs next to each other: wall time of "without" divided by this one's; CPU of
              this one divided by that of "without"
  clear       the same without trustanchors, so without TLS, and without timeoutidle
  started     each message has a connection of its own, whose qmail-remote-tls is forked from one that has started;
  cold        started for it; "faster" and "CPU x" compare with this one
"""

HEAD = (f"{'':40}{'wall s':>8}{'msg/s':>8}{'CPU ms':>8}{'connections':>12}{'DNS':>6}{'sink ms':>8}{'faster':>8}{'CPU x':>7}")


class Stream:
    """A row of the table: n messages, of which at_once are under way."""

    def __init__(self, name, *, n=400, at_once=20, tls=False, delay=0, dns_delay=0, destinations=1, idle="60\n",
                 turns=3):
        self.name, self.n, self.at_once, self.tls, self.delay, self.dns_delay = name, n, at_once, tls, delay, dns_delay
        self.destinations, self.idle, self.turns = destinations, idle, turns

    def set_up(self, w):
        """The server's replies and DNS take so many milliseconds; DNS none with a name server near by that knows all."""
        serve(w, self.tls, self.delay)
        if self.destinations == 1:
            workloads.mx(delay=self.dns_delay / 1000)(w)
            w.dns.zone("dst.example MX 10 m1.example.\nm1.example A 192.0.2.1\nm1.example AAAA 2001:db8::1\n")
            host = "dst.example"
        else:
            w.home.control("smtproutes", "".join(f"dst{i}.example:[2001:db8::{i + 1:x}]\n"
                                                 for i in range(self.destinations)))
            host = "dst%.example"
        return measure.Delivery(w.message(workloads.SMALL), host=host, at_once=self.at_once, total=self.n,
                                destinations=self.destinations if self.destinations > 1 else None)

    def variants(self, w, programs):
        """What takes turns: name and program. The second is what the others are compared with."""
        found = [Variant("with reuse", programs[0], w, {"timeoutidle": self.idle}),
                 Variant("without", programs[0], w, WITHOUT)]
        if self.tls:
            found.append(Variant("clear, without", programs[0], w, CLEAR))
        found += [Variant("the other", p, w, WITHOUT) for p in programs[1:]]
        return found


class Started(Stream):
    """Each message makes its own connection; with the qmail-remote-tls of a broker, which has started."""

    def variants(self, w, programs):
        clear = {**COLD, "trustanchors": None}
        found = [Variant("started", programs[0], w, LIMITED), Variant("cold", programs[0], w, COLD),
                 Variant("clear", programs[0], w, clear)]
        return found + [Variant("started, the other", p, w, LIMITED) for p in programs[1:]]


class Variant(measure.Switched):
    """A program as the user of the mail system, with control files of its own."""

    def __init__(self, name, program, w, files):
        anchors = {"trustanchors": w.certificates.directory + "\n"}
        super().__init__(program, w.home, {**anchors, **files}, name)
        self.options = OPTIONS


def may():
    """Another user than root can be had."""
    with open("/proc/self/uid_map", encoding="ascii") as f:
        return f.read().split() == ["0", "0", "4294967295"]


def own_state(w, programs):
    """The state directories belong to the user, as after an installation."""
    for program in programs:
        os.chown(f"{program.folder}/run", 0, USER)
        os.chown(f"{program.folder}/run/qmail-remote", USER, USER)
    os.chown(w.home.tcpto_path, USER, USER)


def serve(w, tls, delay=0, connections=CONNECTIONS):
    w.clear()
    w.serve(workloads.PIPELINING, tls, ("-j", str(connections)))
    w.sink.say(f"delay {delay}")


# A delivery takes CPU in processes that end much later, so a run is measured as a whole.

class Result:
    def __init__(self, took, before, after, questions):
        n = took.delivered
        self.wall = took.wall / 1e6
        self.rate = n / self.wall
        self.cpu = (took.user + took.system) / 1000 / n
        self.sessions = after["sessions"] - before["sessions"]
        self.questions = questions / n
        self.sink = (after["cpu_us"] - before["cpu_us"]) / 1000 / n


def run(variant, delivery, w):
    variant.use()
    w.sink.await_counter("open", 0)
    before, asked = w.sink.counters(), w.dns.asked_for
    took, = measure.run(variant, delivery)
    questions = w.dns.asked_for - asked
    w.sink.await_counter("open", 0)
    return Result(took, before, w.sink.counters(), questions)


def in_turns(variants, delivery, w, turns):
    """The results of each, in turns in random order, after some deliveries that do not count."""
    first = measure.Delivery(delivery.message, host=delivery.host, at_once=1, total=2, destinations=delivery.destinations)
    results = [[] for _ in variants]
    for variant in variants:
        run(variant, first, w)
    for _ in range(turns):
        for variant, its in measure.shuffled(zip(variants, results)):
            its.append(run(variant, delivery, w))
    return results


def middle(results, name):
    return statistics.median(getattr(r, name) for r in results)


def quotients(above, below, name):
    return [getattr(a, name) / getattr(b, name) for a, b in zip(above, below)]


def line(name, its, below):
    out = (f"{name:40}{middle(its, 'wall'):8.2f}{middle(its, 'rate'):8.0f}{middle(its, 'cpu'):8.2f}"
           f"{middle(its, 'sessions'):12.0f}{middle(its, 'questions'):6.2f}{middle(its, 'sink'):8.2f}")
    if its is not below:
        out += f"{statistics.median(quotients(below, its, 'wall')):8.2f}{statistics.median(quotients(its, below, 'cpu')):7.2f}"
    return out


def show_stream(w, row, programs, turns):
    delivery = row.set_up(w)
    variants = row.variants(w, programs)
    results = in_turns(variants, delivery, w, turns or row.turns)
    print(row.name)
    for variant, its in zip(variants, results):
        print(line(f"    {variant.name}", its, results[1]), flush=True)


TABLE = [Stream(f"stream, {'TLS' if tls else 'clear'}, {delay} ms, 20 at a time", n=n, tls=tls, delay=delay, turns=turns)
         for delay, n, turns in ((0, 400, 5), (20, 400, 3), (100, 200, 1)) for tls in (False, True)]
TABLE += [
    Stream("stream, TLS, 20 ms, 1000 messages", n=1000, tls=True, delay=20, turns=2),
    Stream("stream, TLS, 20 ms, DNS too, 1000 messages", n=1000, tls=True, delay=20, dns_delay=20, turns=2),
    Stream("stream, clear, 0 ms, 1 at a time", n=100, at_once=1, turns=5),
    Stream("stream, TLS, 0 ms, 1 at a time", n=100, at_once=1, tls=True, turns=5),
    Started("small, TLS 1.3, started", n=200, at_once=1, tls=True, turns=5),
]


# One delivery: waits and questions, which do not depend on the machine.

WAITS = 2       # the group with MAIL, RCPT and DATA; the end of mail data


class One:
    """Deliveries one by one, with the same qmail-remote-cache."""

    def __init__(self, w, variant, delivery):
        self.w, self.variant, self.delivery = w, variant, delivery
        variant.use()

    def deliver(self):
        with open(self.delivery.message, "rb") as message:
            done = subprocess.run(self.variant.command(self.delivery), stdin=message, stdout=subprocess.PIPE, check=False,
                                  env=measure.ENVIRONMENT, user=USER, group=USER, extra_groups=[])
        if not done.stdout.startswith(b"r\0K"):
            raise measure.Failed(f"{self.variant.name}: {done.stdout[:2000]}")

    def count(self):
        """Waits, questions and new connections of one delivery."""
        sink, dns = self.w.sink, self.w.dns
        sink.say(f"quiet {measure.QUIET_MS}")
        before, asked = sink.counters(), dns.asked_for
        self.deliver()
        after = sink.counters()
        sink.say("quiet 0")
        return after["waits"] - before["waits"], dns.asked_for - asked, after["sessions"] - before["sessions"]

    @staticmethod
    def end():
        for pid in reuse.brokers():
            os.kill(pid, 15)
        reuse.wait_until(lambda: not reuse.brokers())


def count_reused(w, program, tls):
    """Waits, questions and new connections of a delivery that finds a connection."""
    own_state(w, [program])
    delivery = Stream("", tls=tls).set_up(w)
    one = One(w, Variant("reused", program, w, {"timeoutidle": "60\n"}), delivery)
    try:
        for _ in range(3):
            one.deliver()
        counts = [one.count()]
        if counts[0][0] > WAITS:        # a client that is kept from running for long looks as if it waited
            counts.append(one.count())
        return min(counts)
    finally:
        one.end()


def check_reused(w, program):
    """Yields name, whether it is as expected, and what is not."""
    print(f"\n{'':40}{'waits':>8}{'expected':>10}{'DNS':>5}{'expected':>10}{'connections':>12}")
    for tls in (False, True):
        name = f"{'TLS' if tls else 'clear'}, on a connection that is there"
        waits, questions, sessions = count_reused(w, program, tls)
        print(f"{name:40}{waits:8}{WAITS:10}{questions:5}{0:10}{sessions:12}", flush=True)
        yield f"waits: {name}", waits == WAITS and sessions == 0, f"{waits}, not {WAITS}"
        yield f"questions: {name}", questions == 0, f"{questions}, not 0"


# The cost of asking where there is nothing.

def show_miss(w, programs, turns):
    """Each message to another server: qmail-remote-cache is asked, holds nothing, and nobody wants the connection."""
    serve(w, False)
    delivery = measure.Delivery(w.message(workloads.SMALL), host="[IPv6:2001:db8::1:%]", at_once=20, total=MISSES,
                                destinations=MISSES)
    variants = [Variant("with", programs[0], w, {"timeoutidle": "60\n", "trustanchors": None}),
                Variant("without", programs[0], w, CLEAR)]
    its, below = in_turns(variants, delivery, w, turns or 9)
    print(f"{MISS}: {MISSES} messages to as many servers, 20 at a time")
    for name, value in (("CPU", lambda r: r.cpu), ("wall", lambda r: r.wall * 1000 / MISSES)):
        more = [value(a) - value(b) for a, b in zip(its, below)]
        text = "" if not (sure := measure.interval(more)) else f"  {sure[0]:.3f} to {sure[1]:.3f} with 95 %"
        print(f"    {name + ' of a message, without':36}{statistics.median(map(value, below)):8.3f} ms, with"
              f" {statistics.median(more):+.3f} ms{text}", flush=True)


def names():
    return [row.name for row in TABLE] + [MISS]


def selected(only):
    """The row of this name, or all with this in their name."""
    return [name for name in names() if name == only] or [name for name in names() if not only or only in name]


def show(w, programs, chosen, turns):
    """These rows."""
    if not may():
        print("\nstream: needs real root, to deliver as another user")
        return
    own_state(w, programs)
    print("\n" + NOTES)
    print(HEAD)
    for row in TABLE:
        if row.name in chosen:
            try_show(lambda row=row: show_stream(w, row, programs, turns), row.name)
    if MISS in chosen:
        try_show(lambda: show_miss(w, programs, turns), MISS)
    w.sink.say("delay 0")


def try_show(what, name):
    began = time.monotonic()
    try:
        what()
    except measure.Failed as e:
        print(f"{name:40}{str(e).strip()}  after {time.monotonic() - began:.1f} s", flush=True)
