"""The catalogue, group A: TCP and connecting."""

import os
import resource
import signal
import socket
import time

import qmailhome
import world
from catalogue import BIG, ONE, SIX, TWO, Case, stage, table      # noqa: F401
from smtpd import CLOSE, DEAF, RESET, Read
from world import HOLE4, HOLE6, OWN4, OWN6, UNREACHABLE4, UNREACHABLE6

ALL = ("clear", "tls13")
NO_CONNECTION = b"ZSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n"
ITS_ME = b"(#5.4.6)"
BOTH = f"m2.example A {TWO}\n"


def says(text):
    def check(stage):
        assert text in stage.run.report, stage.run
    return check


def table4(stage):
    return {r.address: r.count for r in qmailhome.used(qmailhome.read4())}


def table6(stage):
    path = stage.home.tcpto6_path
    return {r.address: r.count for r in qmailhome.used(qmailhome.read6())} if os.path.exists(path) else {}


def not_blamed(stage):
    assert not table4(stage) and not table6(stage), (table4(stage), table6(stage))


def mx(*hosts):
    """Hosts in order; each a few addresses, with blanks between them."""
    lines = []
    for n, addresses in enumerate(hosts, 1):
        lines.append(f"dst.example MX {n} h{n}.example.")
        lines += [f"h{n}.example {'AAAA' if ':' in a else 'A'} {a}" for a in addresses.split()]
    return "\n".join(lines)


def alone(name, want, *hosts, **how):
    """No server but those that the case makes itself."""
    how.setdefault("control", {}).setdefault("timeoutconnect", "1\n")
    return Case(name, want, None, zone=mx(*hosts), **how)


def with_second(stage):
    stage.server(TWO, host="h2.example")


def connect_cases():
    def refused(stage):
        assert stage.run.report.startswith(NO_CONNECTION)
        not_blamed(stage)

    yield alone("A1-one", "Z", ONE, check=refused, within=2)
    yield alone("A1-many", "Z", f"{ONE} {SIX}", TWO, "192.0.2.3 192.0.2.4", check=refused, within=2)

    def one_entry(stage):
        assert {**table4(stage), **table6(stage)} in ({HOLE4: 1}, {HOLE6: 1})

    yield alone("A2-ipv4", "Z", HOLE4, check=one_entry, within=2)
    yield alone("A2-ipv6", "Z", HOLE6, check=one_entry, within=2)
    yield alone("A3-worse", "K", HOLE4, TWO, prepare=with_second, within=3, check=one_entry)
    yield Case("A3-equal", "K", None, zone=f"dst.example MX 5 h1.example.\ndst.example MX 5 h2.example.\n"
               f"h1.example A {HOLE4}\nh2.example A {TWO}",
               prepare=with_second, within=4, control=dict(timeoutconnect="3\n"),
               says="the next address is tried after 1 s, beside the first")
    yield Case("A3-same-host", "K", None,
               zone=f"dst.example MX 5 h2.example.\nh2.example A {HOLE4}\nh2.example A {TWO}", prepare=with_second,
               within=4, control=dict(timeoutconnect="3\n"))
    for name, step in (("reset", RESET), ("closed", CLOSE)):
        yield Case(f"A4-{name}", "Z", dict(greeting=step), next=True, over=("clear", "ver"))
    for name, address in (("host", UNREACHABLE4), ("host-ipv6", UNREACHABLE6), ("no-route", "100.64.0.1"),
                          ("no-route-ipv6", "2001:db9::1"),
                          ("port", ONE)):
        yield alone(f"A5-{name}", "Z", address, check=refused, within=2)
        yield alone(f"A5-{name}-next", "K", address, TWO, prepare=with_second, within=2)

    def prohibited(stage):
        world.ip("route replace prohibit 198.18.7.0/24")

    yield alone("A5-prohibited", "Z", "198.18.7.1", prepare=prohibited, check=refused, within=2)
    dead = [" ".join(f"192.0.2.{20 + (n * 20 + k) % 200}" for k in range(20)) for n in range(100)]
    yield alone("A6-refused", "Z", *dead, within=8, says="addresses that fail at once cost nothing; each is tried once")
    unreachable = [" ".join(f"198.18.0.{(n * 20 + k) % 250 + 1}" for k in range(20)) for n in range(100)]
    yield alone("A6-unreachable", "Z", *unreachable, within=8)
    many = [" ".join(f"192.0.2.{20 + n * 16 + k}" for k in range(16)) for n in range(8)]
    for name, want, worse in (("the-last-tried", "K", [*many[:7], many[7].rpartition(" ")[0], TWO]),
                              ("one-too-many", "Z", [*many, TWO])):
        yield alone(f"A6-{name}", want, *worse, prepare=lambda stage: stage.server(TWO, host="h9.example"), within=8,
                    says="128 addresses are tried, the best ones")
    holes = [f"203.0.113.{n}" for n in range(1, 31)]
    yield alone("A6-black-holes", "Z", *holes, within=14, timeout=1,
                says="no preference is begun after timeoutremote and ten times timeoutconnect")
    yield alone("A7-no-ipv6", "Z", "2001:db9::1", check=refused, within=2)
    yield alone("A7-no-ipv6-next", "K", "2001:db9::1", TWO, prepare=with_second, within=2)
    yield alone("A7-no-ipv6-at-all", "Z", SIX, play=_without_ipv6, within=3)

    def only_six(stage):
        assert not table4(stage) and set(table6(stage)) <= {HOLE6}

    yield Case("A8-dead-ipv6", "K", None,
               zone=f"dst.example MX 5 h2.example.\nh2.example AAAA {HOLE6}\nh2.example A {TWO}", prepare=with_second,
               within=2.5, control=dict(timeoutconnect="5\n"), check=only_six,
               says="IPv4 starts 0.25 s after IPv6, beside it")


def _without_ipv6(stage):
    """As on a machine without a route for IPv6."""
    world.ip("route del local 2001:db8::/64 dev lo")
    try:
        stage.deliver()
    finally:
        world.ip("route add local 2001:db8::/64 dev lo")
    assert not stage.sessions


def own_cases():
    def me(stage):
        assert ITS_ME in stage.run.report and not stage.sessions

    for name, address in (("ipv4", OWN4), ("ipv6", OWN6), ("loopback", "127.0.0.1"), ("loopback-ipv6", "::1"),
                          ("mapped", f"::ffff:{OWN4}")):
        yield alone(f"A9-{name}", "D", address, check=me)
        yield alone(f"A9-{name}-and-worse", "D", address, TWO, prepare=with_second, check=me)
    yield Case("A9-better-one-down", "Z", None, zone=mx(ONE, OWN4, TWO),
               prepare=lambda s: s.server(TWO, host="h3.example"),
               check=lambda s: not s.sessions or 1 / 0, says="hosts that are worse than we are are never tried")
    own = "interface addresses, all of 127/8 and 0/8, :: and ::1 are \"me\": D 5.4.6; stock connects to 127.0.0.2"
    yield alone("A10-unspecified", "D", "0.0.0.0", prepare=_listen_everywhere, check=me, says=own)
    yield alone("A10-unspecified-ipv6", "D", "::", prepare=_listen_everywhere, check=me, says=own)
    yield alone("A10-mapped-unspecified", "D", "::ffff:0.0.0.0", prepare=_listen_everywhere, check=me, says=own)
    yield alone("A10-mapped-loopback", "D", "::ffff:127.0.0.1", prepare=_listen_everywhere, check=me, says=own)
    for name, address in (("link-local", "169.254.1.1"), ("multicast", "224.0.0.1"), ("broadcast", "255.255.255.255"),
                          ("class-e", "240.0.0.1"),
                          ("link-local-ipv6", "fe80::1"), ("multicast-ipv6", "ff02::1"),
                          ("mapped-broadcast", "::ffff:255.255.255.255")):
        yield alone(f"A10-{name}", "Z", address, check=lambda s: not s.sessions or 1 / 0, within=2,
                    says="what cannot be connected to fails as any other address: Z")
        yield alone(f"A10-{name}-next", "K", address, TWO, prepare=with_second, within=2)
    for name, address in (("127-0-0-2", "127.0.0.2"), ("mapped-127-0-0-2", "::ffff:127.0.0.2"), ("0-0-0-9", "0.0.0.9")):
        yield alone(f"A10-{name}", "D", address, prepare=_listen_everywhere, check=me, says=own)
        yield alone(f"A10-{name}-and-worse", "D", address, TWO, prepare=with_second, check=me)
    yield Case("A10-127-0-0-2-relay", "K", {}, prepare=lambda s: s.server("127.0.0.2", host="h1.example"),
               control=dict(smtproutes=":127.0.0.2\n"), says="a local relay may be meant")


def _listen_everywhere(stage):
    for address in ("127.0.0.1", "127.0.0.2", "::1"):
        stage.server(address, host="h1.example")


def resource_cases():
    yield Case("A11-source-address", cannot="no source address can be configured")

    def one_port_taken(stage):
        path = "/proc/sys/net/ipv4/ip_local_port_range"
        with open(path, encoding="ascii") as f:
            before = f.read()
        with open(path, "w", encoding="ascii") as f:
            f.write("61000 61000")
        held = socket.create_connection((ONE, 25))
        try:
            stage.deliver()
        finally:
            held.close()
            with open(path, "w", encoding="ascii") as f:
                f.write(before)

    yield Case("A12-no-port-left", "Z", {}, play=one_port_taken, check=not_blamed, zone=mx(ONE), within=3,
               control=dict(smtproutes=f":{ONE}\n"))
    for call, error in (("socket", "EMFILE"), ("socket", "ENFILE"), ("socket", "ENOMEM"), ("socket", "ENOBUFS"),
                        ("connect", "ENOBUFS"),
                        ("connect", "EADDRNOTAVAIL"), ("connect", "EACCES")):
        def injected(stage, call=call, error=error):
            stage.deliver(program="/usr/bin/strace", args=[
                "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={error}",
                f"{stage.home.path}/bin/qmail-remote", "dst.example", "a@src.example", "b@dst.example"])
        number = "A13" if error in ("EMFILE", "ENFILE", "ENOMEM") else "A12"
        yield Case(f"{number}-{call}-{error}", "Z", {}, play=injected, check=not_blamed,
                   control=dict(smtproutes=f":{ONE}\n"), within=8)
    for limit in (3, 4, 5, 6):
        yield Case(f"A13-nofile-{limit}", "ZK", {}, start=dict(limits={resource.RLIMIT_NOFILE: limit}), plain=limit < 6)
    # connect() itself is not in the list: an injected error leaves it undone, a real EINTR does not.
    for call in ("poll", "socket"):
        def interrupted(stage, call=call):
            stage.deliver(program="/usr/bin/strace", args=[
                "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error=EINTR:when=1+2",
                f"{stage.home.path}/bin/qmail-remote", "dst.example", "a@src.example", "b@dst.example"])

        def once(stage):
            assert len(stage.sessions) <= 1
        yield Case(f"A14-eintr-{call}", "KZ" if call == "socket" else "K", {}, play=interrupted, check=once, within=8,
                   control=dict(smtproutes=f":{ONE}\n"))

    def stopped(stage):
        """Stopped and continued again and again while it connects."""
        process = stage.begin()
        for _ in range(40):
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(0.005)
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(0.005)
        stage.deliver(process)

    yield alone("A14-stop-and-go", "K", HOLE4, TWO, prepare=with_second, play=stopped, within=5)
    for moment in ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "END"):
        over = "clear" if moment in ("greeting", "EHLO") else ALL
        step = ("354 go", Read(100), DEAF) if moment == "DATA" else DEAF
        # HELO follows EHLO, on a connection of its own.
        helo = dict(HELO=DEAF) if moment == "EHLO" else {}
        yield Case(f"A15-{moment.lower()}", "Z", {moment: step, **helo}, over=over, timeout=1, within=6,
                   start=dict(message=BIG) if moment == "DATA" else (), unused=moment not in ("greeting", "EHLO"),
                   play=_let_go)
    yield Case("A15-starttls", "Z", dict(STARTTLS=DEAF), over="ver", timeout=1, within=4)
    yield Case("A15-handshake", "Z", dict(STARTTLS=("220 go", DEAF)), over="ver", within=4,
               control=dict(timeoutconnect="1\n"))
    for size in (0, 10, 100000):
        yield Case(f"A16-from-{size}", "Z", dict(rcvbuf=4096, DATA=("354 go", Read(size), DEAF)), over=ALL, timeout=1,
                   within=5, unused=True,
                   start=dict(message=BIG), play=_let_go, check=lambda s: not s.mails or 1 / 0)
    yield Case("A17-wall-clock", cannot="the wall clock is one for the whole machine; "
               "deadlines use CLOCK_MONOTONIC (src/base/deadline.c)")
    now = time.time()

    def table_of(*records, v6=()):
        def prepare(stage):
            stage.home.tcpto(b"".join(qmailhome.pack4(*r) for r in records))
            if v6:
                with open(stage.home.tcpto6_path, "wb") as f:
                    f.write(b"".join(qmailhome.pack6(*r) for r in v6).ljust(2048, b"\0"))
        return prepare

    def nobody(stage):
        assert not stage.sessions and b"skipped, it timed out lately" in stage.run.report

    yield Case("A18-all-dead", "Z", {}, prepare=table_of((ONE, 10, now)), check=nobody, within=1)
    yield Case("A18-all-dead-ipv6", "Z", {}, address=SIX, prepare=table_of(v6=[(SIX, 10, now)]), check=nobody, within=1)
    yield Case("A18-one-dead", "K", {}, zone=mx(HOLE4, ONE), prepare=table_of((HOLE4, 10, now)), within=1.5)
    yield Case("A18-stale", "K", {}, prepare=table_of((ONE, 10, now - 100 * 64)))
    yield Case("A18-future", "K", {}, prepare=table_of((ONE, 10, now + 10 ** 6)))
    yield Case("A18-year-2106", "K", {}, prepare=table_of((ONE, 10, 0xffffffff)))
    yield Case("A18-once-only", "K", {}, prepare=table_of((ONE, 1, now)))


def _let_go(stage):
    """A server that reads nothing does not see that the client has gone: it is stopped."""
    stage.deliver()
    with stage.first.changed:
        stage.first.stopping = True


CASES = [*connect_cases(), *own_cases(), *resource_cases()]


@table(CASES)
def test_catalogue(stage, case):      # noqa: F811
    stage.hold(case)
