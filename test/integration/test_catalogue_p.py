"""The catalogue, group P: signals. What dies by a signal is `Zqmail-remote crashed` for qmail-rspawn: tried again."""

import os
import resource
import signal
import threading
import time

import rspawn
from catalogue import BIG, MESSAGE, Case, Setup, Start, Want, injecting, table
from smtpd import RESET, Call, Read, Until

ALL = ("clear", "tls13")
STEPS = ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "END", "QUIT")


def interrupt(moment, act):
    """play: start, wait until the client stands at this moment, act, let the server go on."""
    def play(stage):
        gate, reached = threading.Event(), threading.Event()
        replies = {"greeting": "220 hi", "DATA": "354 go", "END": "250 got it", "QUIT": "221 bye", "MAIL": "250 ok",
                   "RCPT": "250 ok"}

        def wait(session):
            reached.set()
            return Until(gate)
        if moment == "EHLO":
            # The first answer is that of the transport; here one without TLS will do.
            stage.first.scripts[0][moment] = (Call(wait), "250 hi") if not stage.way.strictness else [
                "250-hi\n250 STARTTLS", (Call(wait), "250 hi")]
        elif moment == "BODY":
            stage.first.scripts[0]["DATA"] = ("354 go", Read(20000), Call(wait),
                                              Call(lambda s: setattr(s, "last", b"3")))
        else:
            stage.first.scripts[0][moment] = (Call(wait), replies[moment])
        process = stage.begin(**(dict(message=BIG) if moment == "BODY" else {}))
        assert reached.wait(10)
        act(process)
        gate.set()
        stage.deliver(process)
    return play


def kill(signum):
    def act(process):
        try:
            os.kill(process.pid, signum)
        except ProcessLookupError:
            pass
        # Until it has happened: what comes afterwards is not for it.
        end = time.monotonic() + 1
        while time.monotonic() < end:
            try:
                with open(f"/proc/{process.pid}/stat", encoding="latin-1") as f:
                    if f.read().rpartition(")")[2].split()[0] == "Z":
                        return
            except FileNotFoundError:
                return
            time.sleep(0.002)
    return act


def crashed(stage):
    assert stage.run.rspawn == b"Zqmail-remote crashed.\n", stage.run
    assert b"K" not in (r[:1] for r in stage.run.report.split(b"\0")[:-1]), stage.run


def cases():
    for moment in STEPS[:-1]:
        over = "clear" if moment == "greeting" else ALL
        yield Case(f"P1-{moment.lower()}", Setup(), Want("Z", check=crashed, report=False, several=moment == "END"),
                   Start(play=interrupt(moment, kill(signal.SIGKILL))), over=over, unused=True,
                   says="the sweep over every system call is a test of its own")
        for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            yield Case(f"P2-{signum.name[3:].lower()}-{moment.lower()}", Setup(),
                       Want("Z", check=crashed, report=False, several=moment == "END"),
                       Start(play=interrupt(moment, kill(signum))), unused=True,
                       says="signals keep their meaning: they end it, and qmail-rspawn tries again")
    yield Case("P1-after-250", Setup(), Want("KZ", report=False, several=True),
               Start(play=interrupt("QUIT", kill(signal.SIGKILL))), over=ALL, unused=True,
               says="killed after the report is written: K has been said, but qmail-rspawn looks at the signal "
                   "first and makes Z of it")

    def environment(*options, **how):
        return Start(play=lambda stage: stage.deliver_below("/usr/bin/env", *options, **how))

    for name, options in (
            ("pipe-default", ["--default-signal=PIPE"]), ("pipe-ignored", ["--ignore-signal=PIPE"]),
            ("all-blocked", ["--block-signal"]),
            ("alarm-ignored", ["--ignore-signal=ALRM"]), ("child-ignored", ["--ignore-signal=CHLD"]),
            ("child-blocked", ["--block-signal=CHLD"]),
            ("all-ignored", ["--ignore-signal=HUP,INT,QUIT,PIPE,ALRM,TERM,USR1,USR2,CHLD,XFSZ"])):
        yield Case(f"P3-{name}", Setup(), "K", environment(*options), over=ALL)

    yield Case("P3-pipe-default-reset", Setup(DATA=("354 go", Read(20000), RESET)), "Z",
               environment("--default-signal=PIPE", message=BIG), over=ALL, unused=True)

    def stopped(process):
        for pid in _family(process.pid):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1.4)
        for pid in _family(process.pid):
            os.kill(pid, signal.SIGCONT)

    for moment in ("greeting", "MAIL", "BODY", "END"):
        yield Case(f"P4-{moment.lower()}", Setup(timeout=1), Want("KZ", body=moment != "BODY", within=6),
                   Start(play=interrupt(moment, stopped)),
                   over="clear" if moment == "greeting" else ALL, unused=moment != "greeting",
                   says="a stop longer than timeoutremote is either survived, or Z; never a second sending")
    yield Case("P4-short", Setup(timeout=5), Want("K", within=8), Start(play=interrupt("END", stopped)), over=ALL,
               unused=True)

    # So little processor time that it runs out while 40 MB are sent.
    yield Case("P5-cpu", Setup(), Want("ZK", report=False, body=False),
               Start(message=BIG * 8, limits={resource.RLIMIT_CPU: 0}),
               says="death by SIGXCPU, or by the kernel for want of memory: Z")
    for name, signum in (("segv", signal.SIGSEGV), ("abrt", signal.SIGABRT), ("bus", signal.SIGBUS),
                         ("xcpu", signal.SIGXCPU)):
        yield Case(f"P5-{name}", Setup(), Want("Z", check=crashed, report=False),
                   Start(play=interrupt("MAIL", kill(signum))), unused=True, plain=True)

    def helper_killed(process):
        for pid in _family(process.pid)[1:]:
            os.kill(pid, signal.SIGKILL)

    yield Case("P5-helper-ehlo", Setup(), "Z", Start(play=interrupt("EHLO", helper_killed)), over=("tls12", "tls13"),
               unused=True, says="a helper that dies is trouble of ours: no other host, and nothing in clear text")
    for moment in ("MAIL", "BODY", "END"):
        yield Case(f"P5-helper-{moment.lower()}", Setup(), Want("Z", several=moment == "END"),
                   Start(play=interrupt(moment, helper_killed)), over=("tls12", "tls13"), unused=True,
                   says="without its TLS process a session is a broken connection: Z")

    def storm(stage):
        """Stop and continue, a few thousand times a second, so that calls are interrupted everywhere."""
        process = stage.begin()
        over = threading.Event()

        def shake():
            while not over.is_set():
                try:
                    os.kill(process.pid, signal.SIGSTOP)
                    os.kill(process.pid, signal.SIGCONT)
                except ProcessLookupError:
                    return
                time.sleep(0.0003)
        thread = threading.Thread(target=shake)
        thread.start()
        try:
            stage.deliver(process)
        finally:
            over.set()
            thread.join()

    for name, message in (("small", MESSAGE), ("big", BIG)):
        yield Case(f"P6-stop-and-go-{name}", Setup(), Want("K", within=10), Start(play=storm, message=message),
                   over=ALL)

    def not_musl(stage):
        if stage.musl:
            stage.cannot("no handler, so no EINTR but an injected one, and getifaddrs() of musl does not try again")

    for calls in ("read", "write", "poll", "recvfrom,sendto"):
        for way in ALL:
            # The loader of a dynamic program does not try again.
            gives_up = (calls, way) == ("read", "tls13")
            yield Case(f"P6-eintr-{calls.replace(',', '-')}", Setup(prepare=not_musl if "recvfrom" in calls else None),
                       Want("KZ" if gives_up else "K", within=10), injecting(calls, "error=EINTR:when=1+2"), over=way)

    def half_a_report(stage):
        """Its report does not fit into the pipe, nobody reads, and it is killed in the middle of it."""
        stage.first.scripts[0]["RCPT"] = b"550-" + b"x" * 990 + b"\r\n550 no\r\n"
        process = stage.begin(recipients=[f"u{n}@dst.example" for n in range(300)])
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with open(f"/proc/{process.pid}/wchan", encoding="ascii") as f:
                if "pipe" in f.read():
                    break
            time.sleep(0.01)
        process.kill()
        stage.deliver(process)
        assert stage.run.rspawn == b"Zqmail-remote crashed.\n"
        # Even if it had ended by itself just there: no message record, so no K.
        assert rspawn.rspawn_result(stage.run.report, 0)[:1] != b"K"

    yield Case("P7-half-a-report", Setup(), Want("Z", report=False), Start(play=half_a_report))

    def cut_anywhere(stage):
        """Any beginning of a good report is no K, until the NUL behind the K is there."""
        stage.deliver()
        report = stage.run.report
        for size in range(len(report)):
            assert rspawn.rspawn_result(report[:size], signal.SIGKILL)[:1] == b"Z"
            assert rspawn.rspawn_result(report[:size], 0)[:1] != b"K", report[:size]

    yield Case("P7-cut-anywhere", Setup(), "K", Start(play=cut_anywhere), over=ALL)


def _family(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [pid, *map(int, f.read().split())]


CASES = list(cases())


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
