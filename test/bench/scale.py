# SPDX-License-Identifier: ISC
"""What one machine carries, and how that grows: the figures of doc/SCALE.md, started by ./bench --scale."""

import os
import subprocess
import time

import measure
import streams
import workloads

CROWDS = (500, 2000)
CROWD_DELAY = 20            # milliseconds
CROWD_MESSAGES = 4000
MANY = "60\n1000\n"         # timeoutidle: as many connections as there may be
WAITS = {False: 4, True: 7}     # clear and TLS 1.3, on a new connection

CROWD_NOTES = f"""\
Many deliveries at once, to one relay, which takes {CROWD_DELAY} ms for each reply; {CROWD_MESSAGES} messages.
  wall, CPU   as in the rows "stream" of ./bench
  processes, memory, descriptors
              of all deliveries, qmail-remote-cache and helpers, while all of them wait for the reply to the end of
              mail data, with reuse on connections that were used before; memory is MB of PSS, which counts shared
              pages once, and what is anonymous of it
  most        descriptors of the one process that has the most
"""

CROWD_HEAD = (f"{'':40}{'wall s':>8}{'msg/s':>8}{'CPU ms':>8}{'connections':>12}{'processes':>11}{'MB':>8}"
              f"{'anon.':>8}{'descriptors':>12}{'most':>6}")

MODEL_NOTES = """\
The model: with c deliveries at a time, replies after r ms, w waits for a message, `alone` ms for one delivery with
nothing else running and no delay, `cpu` ms of CPU for it (the server's included, which is on this machine), p processors:
    messages in a second = least of  c * 1000 / (alone + w * r)  and  p * 1000 / cpu
The first c messages with reuse are as those without. `alone` and `cpu` are measured at r = 0, the rest follows.
"""

MODEL_HEAD = f"{'':40}{'measured':>10}{'model':>10}{'ratio':>8}   limit"

DESTINATIONS_NOTES = """\
400 messages, 20 at a time, TLS, replies after 20 ms, to one destination or several in turn; the model of connections
with reuse: at least 20, and two for each destination, of which nobody has asked for the first one in time; without, or
where there are more destinations than idle connections: one for each message.
"""

DESTINATIONS_HEAD = f"{'':40}{'wall s':>8}{'CPU ms':>8}{'connections':>12}{'model':>8}"


def relayed(w, tls, delay, at_once, total, connections=streams.CONNECTIONS):
    """Everything goes to one address, without DNS."""
    streams.serve(w, tls, delay, connections)
    workloads.relay(w)
    return measure.Delivery(w.message(workloads.SMALL), at_once=at_once, total=total)


def variant(w, program, tls, idle):
    files = {"timeoutidle": idle}
    return streams.Variant("with reuse" if idle else "without", program, w, files if tls else {**files, "trustanchors": None})


def kind(tls, idle):
    return f"{'TLS' if tls else 'clear'}, {'with reuse' if idle else 'without'}"


# Many at once.

def await_least(sink, name, value):
    end = time.monotonic() + measure.PATIENCE
    while sink.counters()[name] < value:
        if time.monotonic() > end:
            raise measure.Failed(f"the sink never had {name} {value}")
        time.sleep(0.005)


def kilobytes(pid):
    """PSS, and what is anonymous of it; nothing of a process that has ended, a helper of an earlier delivery."""
    found = {"Pss:": 0, "Pss_Anon:": 0}
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            for line in f:
                words = line.split()
                if words[-1] == "kB":
                    found[words[0]] = int(words[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found["Pss:"], found["Pss_Anon:"]


def descriptor_count(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def held(w, mailer, delivery, used):
    """Processes, MB, MB of them anonymous, descriptors, and the most of one process, while all are kept waiting."""
    mailer.use()
    sink = w.sink
    sink.await_counter("open", 0)
    before = sink.counters()["messages"]
    if not used:
        sink.say("hold")
    with subprocess.Popen(measure.runner(mailer, delivery, 1), env=measure.ENVIRONMENT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            if used:
                await_least(sink, "messages", before + delivery.total // 2)
                sink.say("hold")
            sink.await_counter("held", delivery.at_once, process)
            pids = measure.descendants(process.pid)
            memory = [kilobytes(pid) for pid in pids]
            descriptors = [descriptor_count(pid) for pid in pids]
        finally:
            sink.say("release")
        output, errors = process.communicate()
    if errors:
        raise measure.Failed(f"{mailer.name}: {errors[:2000]}")
    measure.parse(output, mailer, delivery)
    return (len(pids), sum(m[0] for m in memory) / 1024, sum(m[1] for m in memory) / 1024, sum(descriptors),
            max(descriptors))


def show_crowd(w, program, n, tls, idle):
    delivery = relayed(w, tls, CROWD_DELAY, n, CROWD_MESSAGES, n + n // 10)
    mailer = variant(w, program, tls, idle)
    its = streams.run(mailer, delivery, w)
    delivery.total = 4 * n if idle else n
    found = held(w, mailer, delivery, idle is not None)
    print(f"{f'{n} at once, {kind(tls, idle)}':40}{its.wall:8.2f}{its.rate:8.0f}{its.cpu:8.2f}{its.sessions:12}"
          f"{found[0]:11}{found[1]:8.0f}{found[2]:8.0f}{found[3]:12}{found[4]:6}", flush=True)


def show_crowds(w, program):
    print(CROWD_NOTES)
    print(CROWD_HEAD)
    for n in CROWDS:
        for tls in (False, True):
            for idle in (None, MANY):
                streams.try_show(lambda n=n, tls=tls, idle=idle: show_crowd(w, program, n, tls, idle),
                                 f"{n} at once, {kind(tls, idle)}")


# Rate and round trip.

class Base:
    """What the model knows of a kind of delivery: from runs without delay."""

    def __init__(self, w, program, tls, idle):
        mailer = variant(w, program, tls, idle)
        streams.run(mailer, relayed(w, tls, 0, 1, 2), w)
        alone = streams.run(mailer, relayed(w, tls, 0, 1, 100), w)
        crowd = streams.run(mailer, relayed(w, tls, 0, 20, 400), w)
        self.alone, self.cpu = alone.wall * 10, crowd.cpu + crowd.sink
        self.waits = streams.WAITS if idle else WAITS[tls]

    def rate(self, c, r):
        """Messages in a second, and what limits them."""
        by_waits = c * 1000 / (self.alone + self.waits * r)
        by_cpu = processors() * 1000 / self.cpu
        return min((by_waits, "waits"), (by_cpu, "CPU"))


def processors():
    return len(os.sched_getaffinity(0))


def model(base, fresh, n, c, r):
    """Seconds for n messages, and what limits them. fresh: the kind of the first c; None: all are the same."""
    rate, limit = base.rate(c, r)
    if fresh is None:
        return n / rate, limit
    first, _ = fresh.rate(c, r)
    return c / first + (n - c) / rate, limit


def show_model(w, program):
    print(MODEL_NOTES)
    bases = {}
    for tls in (False, True):
        for idle in (None, MANY):
            base = bases[tls, idle] = Base(w, program, tls, idle)
            print(f"{kind(tls, idle):40}alone {base.alone:.2f} ms, CPU {base.cpu:.2f} ms, {base.waits} waits", flush=True)
    print(f"\n{MODEL_HEAD}")
    for (tls, idle), base in bases.items():
        for c in (1, 20, 100):
            for r in (20, 100):
                n = 20 if c == 1 else 10 * c if c < 100 else 5 * c
                its = streams.run(variant(w, program, tls, idle), relayed(w, tls, r, c, n), w)
                wall, limit = model(base, bases[tls, None] if idle else None, n, c, r)
                name = f"{kind(tls, idle)}, {c} at a time, {r} ms"
                print(f"{name:40}{its.rate:10.0f}{n / wall:10.0f}{its.rate * wall / n:8.2f}   {limit}", flush=True)


# Destinations.

def show_destinations(w, program):
    print(DESTINATIONS_NOTES)
    print(DESTINATIONS_HEAD)
    for d in (1, 10, 100, 400):
        for idle, text in ((None, "without"), ("60\n", "with reuse"), (MANY, "with reuse, 1000 idle")):
            row = streams.Stream("", n=400, tls=True, delay=20, destinations=d)
            delivery = row.set_up(w)
            its = streams.run(variant(w, program, True, idle), delivery, w)
            room = 0 if idle is None else 20 if idle == "60\n" else 1000
            expected = min(row.n, max(row.at_once, 2 * d)) if d <= room else row.n
            print(f"{f'{d} destinations, {text}':40}{its.wall:8.2f}{its.cpu:8.2f}{its.sessions:12}{expected:8}", flush=True)


def show(w, program):
    streams.own_state(w, [program])
    began = time.monotonic()
    for part in (show_crowds, show_model, show_destinations):
        print()
        streams.try_show(lambda part=part: part(w, program), part.__name__)
    print(f"\n{time.monotonic() - began:.0f} s; {processors()} processors")
