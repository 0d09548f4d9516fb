# SPDX-License-Identifier: ISC
"""Measure qmail-remote; started by ./bench."""

import argparse
import os
import shlex
import sys
import xml.sax.saxutils

import clients
import measure
import scale
import streams
import workloads

import svg
import world

PLOTS = f"{measure.BUILD}/plots"

NOTES = """\
Figures are medians for one delivery; wall is for all deliveries together, until the last report is complete.
  CPU         user and system time of all processes of a delivery, also of those that end after qmail-remote
  private     kB of anonymous memory that only its processes have, with another delivery at the same time, while
              the reply to the end of mail data is held back
  PSS         the same, plus its share of memory that other processes have too
  calls       system calls of all processes
  bytes, pkts in both directions, with headers, acknowledgements and DNS, with an MTU of 1500
  waits       groups of replies that the client had to wait for; DNS: questions
  sink        CPU of the server for a message of this program; the server is on the same machine
  x floor     our CPU divided by the floor's, in runs next to each other
  ratio       median of the ratios of runs next to each other; CPU A to B: where it is with a probability of 95 %
  floor       CPU of: empty (an empty static program), copy A P (message read, copied and sent),
              handshake A P (OpenSSL started, one handshake, no mail),
              without (the same delivery without the control files that the row is about)
"""

HEAD = (f"{'':40}{'CPU ms':>8}{'wall ms':>9}{'private':>9}{'PSS':>8}{'calls':>7}"
        f"{'bytes':>10}{'pkts':>7}{'waits':>6}{'DNS':>5}{'sink ms':>8}{'x floor':>8}  floor ms")


def cpu(r):
    return r.user + r.system


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="bench", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measure qmail-remote in a private network, with its own server.",
        epilog="The program of --against must be compiled for the home /srv/qmail, or --against-home must name the\n"
               "home that it was compiled for (such as /var/qmail). It takes turns with ours, in random order, in the\n"
               "same home; programs qmail-remote-* in its directory are copied with it.\n\n" + NOTES)
    parser.add_argument("--against", metavar="PROGRAM", help="measure this qmail-remote too and print the ratios")
    parser.add_argument("--against-home", metavar="DIR", help="the home that PROGRAM was compiled for")
    parser.add_argument("--only", metavar="TEXT", help="only the workload of this name, or all with this in their name")
    parser.add_argument("--turns", metavar="N", type=int, help="turns of each program, in place of the workload's number")
    parser.add_argument("--list", action="store_true", help="list the workloads")
    parser.add_argument("--plot", action="store_true", help=f"draw growth curves into {os.path.relpath(PLOTS, measure.TOP)}")
    parser.add_argument("--under", metavar="COMMAND",
                        help="deliver under this command, such as 'strace -f -c', and show its output")
    parser.add_argument("--deliveries", metavar="N", type=int, default=1, help="with --under: number of them (1)")
    parser.add_argument("--clients", action="store_true",
                        help="compare with the SMTP clients of Postfix and Exim; as root, about a minute")
    parser.add_argument("--scale", action="store_true", help="the figures of doc/SCALE.md; about four minutes, as root")
    parser.add_argument("--short", action="store_true",
                        help="check everything except times: waits, system calls, memory; less than 20 s")
    parser.add_argument("--junitxml", metavar="FILE", help="with --short: write the results there")
    parser.add_argument("--from", dest="origin", default=".", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not selected(arguments.only) and not streams.selected(arguments.only):
        parser.error(f"no workload has '{arguments.only}' in its name; --list names them")
    if arguments.turns is not None and arguments.turns < 1:
        parser.error("--turns is a positive whole number")
    for name in ("against", "junitxml"):
        if getattr(arguments, name):
            setattr(arguments, name, os.path.join(arguments.origin, getattr(arguments, name)))
    return arguments


# The table.

class Row:
    """All measurements of one program with one workload."""

    def __init__(self, times, w, workload, program, delivery):
        self.times = times
        self.at_once = workload.at_once
        self.memory = self.calls = self.wire = self.locks = None
        if not workload.details:
            return
        program.use()
        self.memory = measure.memory(program, delivery, w.sink)
        if workload.at_once == 1:
            self.calls = sum(measure.system_calls(program, delivery).values())
            self.wire = measure.wire(program, delivery, w, workload.quiet)
            self.fell_back = workload.tls and self.wire.tls == 0
        else:
            self.locks = measure.locks(program, delivery)

    def ms(self, value):
        return self.times.median(value) / 1000

    def text(self, floor):
        n = self.at_once
        out = f"{self.ms(cpu) / n:8.2f}{self.ms(lambda r: r.wall):9.2f}"
        out += f"{self.memory.private:9.0f}{self.memory.pss:8.0f}" if self.memory else f"{'':17}"
        if self.calls is None:
            out += f"{'':35}"
        else:
            out += f"{self.calls:7}{self.wire.bytes:10}{self.wire.packets:7}{self.wire.waits:6}{self.wire.questions:5}"
        sink_ms = self.times.sink_ms()
        out += f"{sink_ms:8.2f}" if sink_ms is not None else f"{'':8}"
        if floor:
            digits = 2 if floor[0] == "without" else 1
            out += f"{self.times.ratio(floor[1], cpu):8.{digits}f}{floor[1].median(cpu) / 1000 / n:7.2f} {floor[0]}"
        if self.calls is not None and self.fell_back:
            out += "  (no TLS!)"
        if self.locks:
            out += f"  ({self.locks[1]} of {self.locks[0]} locks were taken)"
        return out.rstrip()


def ratios(ours, other):
    """Ours divided by the other's: below 1 ours is better."""
    def quotient(a, b, width):
        return f"{a / b:{width}.2f}" if a is not None and b else f"{'':{width}}"

    def part(row, name):
        return getattr(row, name, None)

    out = f"{ours.times.ratio(other.times, cpu):8.2f}{ours.times.ratio(other.times, lambda r: r.wall):9.2f}"
    out += quotient(part(ours.memory, "private"), part(other.memory, "private"), 9)
    out += quotient(part(ours.memory, "pss"), part(other.memory, "pss"), 8)
    out += quotient(ours.calls, other.calls, 7)
    for name, width in (("bytes", 10), ("packets", 7), ("waits", 6)):
        out += quotient(part(ours.wire, name), part(other.wire, name), width)
    sure = measure.interval(ours.times.ratios(other.times, cpu))
    return out + (f"  CPU {sure[0]:.2f} to {sure[1]:.2f}" if sure else "")


def measure_workload(w, workload, programs, turns):
    delivery = workload.set_up(w)
    below = workload.floor
    if workload.files:
        below = measure.Switched(programs[0], w.home, dict.fromkeys(workload.files), "without")
        programs = [measure.Switched(p, w.home, workload.files) for p in programs]
    times = measure.in_turns([*programs, below], delivery, turns or workload.batches, workload.rounds, w.sink)
    floor = below.name.replace(measure.SERVER + " 25", "A P"), times[-1]
    rows = [Row(t, w, workload, p, delivery) for t, p in zip(times, programs)]
    print(f"{workload.name:40}{rows[0].text(floor)}")
    if len(rows) > 1:
        print(f"{'    the other':40}{rows[1].text(None)}")
        print(f"{'    ratio':40}{ratios(*rows)}")
    sys.stdout.flush()


def try_workload(w, workload, programs, turns):
    try:
        measure_workload(w, workload, programs, turns)
    except measure.Failed as e:
        print(f"{workload.name:40}{str(e).strip()}", flush=True)


# Waits, and the short form.

def count_waits(w, program, tls, dialogue, recipients):
    """None for a program that does something else, for example delivers without TLS.

    A client that is kept from running for long looks as if it waited: so a few too many are counted again.
    """
    workload = workloads.waits(tls, dialogue, recipients)
    expected = workloads.expected_waits(tls, dialogue, recipients)
    delivery = workload.set_up(w)
    program.use()
    counts = []
    while len(counts) < 3 and (not counts or expected < counts[-1] <= expected + 3):
        try:
            found = measure.wire(program, delivery, w, workload.quiet)
        except measure.Failed as e:
            print(str(e).strip())
            return None
        if found.recipients != recipients or found.messages != 1 or found.tls != tls:
            return None
        counts.append(found.waits)
    return min(counts)


def print_waits(w, programs):
    """The table of waits; yields name, count and expected count for the first program."""
    for tls in (False, True):
        for dialogue in workloads.DIALOGUES:
            for recipients in (1, 1000):
                counts = [count_waits(w, p, tls, dialogue, recipients) for p in programs]
                expected = workloads.expected_waits(tls, dialogue, recipients)
                name = f"{'TLS 1.3' if tls else 'clear'}, {dialogue}, {recipients} recipient{'s'[:recipients > 1]}"
                print(f"{name:40}" + "".join(f"{'-' if n is None else n:>8}" for n in counts) + f"{expected:10}", flush=True)
                yield name, counts[0], expected


def show_waits(w, programs):
    print(f"\n{'waits for the server':40}" + "".join(f"{p.name:>8}" for p in programs) + f"{'expected':>10}")
    return list(print_waits(w, programs))


def check_limits(w, program):
    print(f"\n{'':40}{'calls':>8}{'limit':>8}{'private':>9}{'limit':>8}")
    for workload in workloads.TABLE:
        if workload.name not in workloads.LIMITS:
            continue
        most_calls, most_memory = workloads.LIMITS[workload.name]
        delivery = workload.set_up(w)
        program.use()
        calls = sum(measure.system_calls(program, delivery).values())
        private = measure.memory(program, delivery, w.sink).private
        print(f"{workload.name:40}{calls:8}{most_calls:8}{private:9.0f}{most_memory:8}", flush=True)
        yield f"system calls: {workload.name}", calls <= most_calls, f"{calls}, allowed are {most_calls}"
        yield f"private kB: {workload.name}", private <= most_memory, f"{private}, allowed are {most_memory}"


def check_protected(w, program):
    """TLSA records, policies: the same waits as without."""
    expected = workloads.expected_waits(True, "PIPELINING", 1)
    print(f"\n{'':40}{'waits':>8}{'expected':>10}{'DNS':>5}{'expected':>10}")
    for workload in workloads.TABLE:
        if workload.name not in workloads.PROTECTED:
            continue
        delivery = workload.set_up(w)
        measure.Switched(program, w.home, workload.files or {}).use()
        found = measure.wire(program, delivery, w, workload.quiet)
        if found.waits > expected:      # as in count_waits()
            found = measure.wire(program, delivery, w, workload.quiet)
        questions = workloads.PROTECTED[workload.name]
        print(f"{workload.name:40}{found.waits:8}{expected:10}{found.questions:5}{questions:10}", flush=True)
        yield f"waits: {workload.name}", found.tls == 1 and found.waits == expected, f"{found.waits}, not {expected}"
        yield f"questions: {workload.name}", found.questions == questions, f"{found.questions}, not {questions}"


def check(w, program):
    results = [(f"waits: {name}", count == expected, f"{count}, not {expected}")
               for name, count, expected in show_waits(w, [program])]
    results += list(check_protected(w, program))
    if streams.may():
        results += streams.check_reused(w, program)
    return results + list(check_limits(w, program))


def write_junit(path, results):
    quote = xml.sax.saxutils.quoteattr
    with open(path, "w", encoding="utf-8") as f:
        f.write('<testsuites><testsuite name="bench">\n')
        for name, passed, failure_text in results:
            failure = "" if passed else f"<failure message={quote(failure_text)}/>"
            f.write(f'<testcase classname="bench" name={quote(name)}>{failure}</testcase>\n')
        f.write("</testsuite></testsuites>\n")


def short(w, program, path):
    results = check(w, program)
    failed = [f"{name}: {failure_text}" for name, passed, failure_text in results if not passed]
    if path:
        write_junit(path, results)
    print()
    for line in failed:
        print(f"FAILED {line}")
    print(f"{len(results) - len(failed)} of {len(results)} as expected")
    return 1 if failed else 0


# Growth curves.

def curves():
    """File name, title, the variable, and the workload for a value of it."""
    def load(prepare=workloads.relay, **how):
        return workloads.Workload("", prepare, batches=3, rounds=3, **how)

    return [
        ("recipients", "Number of recipients", "recipients", (1, 3, 10, 30, 100, 300, 1000, 3000, 10000), [
            ("clear", lambda n: load(recipients=n)),
            ("TLS", lambda n: load(recipients=n, tls=True))]),
        ("size", "Size of the message", "bytes", (1000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000), [
            ("clear", lambda n: load(size=n)),
            ("TLS", lambda n: load(size=n, tls=True))]),
        ("routes", "Number of smtproutes", "routes", (1, 10, 100, 1000, 10_000, 200_000), [
            ("clear", lambda n: load(workloads.routes(n)))]),
        ("mx", "Number of MX hosts (each DNS answer takes 20 ms)", "MX hosts", (1, 2, 5, 10, 20, 40), [
            ("clear", lambda n: load(workloads.mx(n, 0.02)))]),
        ("parallel", "Deliveries at once (time until all are done)", "deliveries", (1, 2, 5, 10, 20, 50, 100, 200), [
            ("clear", lambda n: load(at_once=n)),
            ("TLS", lambda n: load(at_once=n, tls=True))]),
    ]


def plot(w, programs):
    os.makedirs(PLOTS, exist_ok=True)
    for file, title, across, values, kinds in curves():
        series = []
        for kind, workload_of in kinds:
            points = {p.name: ([], []) for p in programs}
            for n in values:
                workload = workload_of(n)
                delivery = workload.set_up(w)
                for program, times in zip(programs, measure.in_turns(
                        programs, delivery, workload.batches, workload.rounds, w.sink)):
                    points[program.name][0].append((n, times.median(lambda r: r.wall) / 1000))
                    points[program.name][1].append((n, times.median(cpu) / 1000))
            for name, (wall, used) in points.items():
                of = f", {name}" if len(programs) > 1 else ""
                series += [(f"{kind}, wall{of}", wall), (f"{kind}, CPU{of}", used)]
        with open(f"{PLOTS}/{file}.svg", "w", encoding="utf-8") as f:
            f.write(svg.chart(title, across, "milliseconds", series))
        print(f"{PLOTS}/{file}.svg", flush=True)


def make_world(arguments):
    """The private world, and the programs to be measured in it."""
    files = {"ours": measure.read_programs(f"{measure.BUILD}/qmail-remote")}
    if arguments.against:
        files["other"] = measure.read_programs(arguments.against)
    w = measure.World()
    programs = [measure.Program(name, content) for name, content in files.items()]
    if arguments.against_home:
        w.add_home(os.path.abspath(arguments.against_home))
    return w, programs


def selected(only):
    exact = [workload for workload in workloads.TABLE if workload.name == only]
    if only in streams.names():
        return []
    return exact or [workload for workload in workloads.TABLE if not only or only in workload.name]


def show_table(w, programs, only, turns):
    if selected(only):
        print(NOTES)
        print(HEAD)
    for workload in selected(only):
        try_workload(w, workload, programs, turns)
    if not only:
        show_waits(w, programs)
    if streams.selected(only):
        streams.show(w, programs, streams.selected(only), turns)


def run_under(w, program, arguments):
    """One delivery first, so that caches and compiled files exist."""
    for workload in selected(arguments.only):
        delivery = workload.set_up(w)
        measure.Switched(program, w.home, workload.files or {}).use()
        measure.run(program, delivery)
        measure.run_under(shlex.split(arguments.under), program, delivery, arguments.deliveries)


def main():
    arguments = parse_arguments()
    if arguments.list:
        print("\n".join([workload.name for workload in workloads.TABLE] + streams.names()))
        return 0
    try:
        w, programs = make_world(arguments)
    except world.Unavailable as e:
        sys.exit(f"bench: I need root, or private namespaces for users: {e}")
    except OSError as e:
        sys.exit(f"bench: {e}")
    try:
        if arguments.short:
            return short(w, programs[0], arguments.junitxml)
        if arguments.scale or arguments.clients:
            if not streams.may():
                sys.exit("bench: this needs real root, to deliver as another user")
            (scale if arguments.scale else clients).show(w, programs[0])
        elif arguments.under:
            run_under(w, programs[0], arguments)
        elif arguments.plot:
            plot(w, programs)
        else:
            show_table(w, programs, arguments.only, arguments.turns)
        return 0
    finally:
        w.stop()


if __name__ == "__main__":
    sys.exit(main())
