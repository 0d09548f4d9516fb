"""The catalogue, group A: TCP and connecting."""

import os
import resource
import signal
import socket
import time

import qmailhome
import world
from catalogue import BIG, MESSAGE, ONE, SIX, TWO, Case, Setup, Start, Want, injecting, not_connected, table
from smtpd import CLOSE, DEAF, RESET, Read
from world import HOLE4, HOLE6, OWN4, OWN6, UNREACHABLE4, UNREACHABLE6

ALL = ("clear", "tls13")
NO_CONNECTION = b"ZSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n"
ITS_ME = b"(#5.4.6)"


def table4(stage):
    return {r.address: r.count for r in qmailhome.used(qmailhome.read4())}


def table6(stage):
    path = stage.home.tcpto6_path
    return {r.address: r.count for r in qmailhome.used(qmailhome.read6())} if os.path.exists(path) else {}


def not_blamed(stage):
    assert not table4(stage) and not table6(stage), (table4(stage), table6(stage))


def not_used(stage):
    not_connected(stage)
    not_blamed(stage)


def mx(*hosts):
    """Hosts in order; each a few addresses, with blanks between them."""
    lines = []
    for n, addresses in enumerate(hosts, 1):
        lines.append(f"dst.example MX {n} h{n}.example.")
        lines += [f"h{n}.example {'AAAA' if ':' in a else 'A'} {a}" for a in addresses.split()]
    return "\n".join(lines)


def alone(name, want, *hosts, prepare=None, timeout=None, start=None, says=None):
    """No server but those that the case makes itself."""
    setup = Setup(listens=False, zone=mx(*hosts), prepare=prepare, timeout=timeout, control=dict(timeoutconnect="1\n"))
    return Case(name, setup, want, start, says=says)


def with_second(stage):
    stage.server(TWO, host="h2.example")


def connect_cases():
    def refused(stage):
        assert stage.run.report.startswith(NO_CONNECTION)
        not_blamed(stage)

    yield alone("A1-one", Want("Z", check=refused, within=2), ONE)
    yield alone("A1-many", Want("Z", check=refused, within=2), f"{ONE} {SIX}", TWO, "192.0.2.3 192.0.2.4")

    def one_entry(stage):
        assert {**table4(stage), **table6(stage)} in ({HOLE4: 1}, {HOLE6: 1})

    yield alone("A2-ipv4", Want("Z", check=one_entry, within=2), HOLE4)
    yield alone("A2-ipv6", Want("Z", check=one_entry, within=2), HOLE6)
    yield alone("A3-worse", Want("K", within=3, check=one_entry), HOLE4, TWO, prepare=with_second)
    for name, zone, says in (
            ("equal", f"dst.example MX 5 h1.example.\ndst.example MX 5 h2.example.\nh1.example A {HOLE4}\n",
             "the next address is tried after 0.25 s, beside the first"),
            ("same-host", f"dst.example MX 5 h2.example.\nh2.example A {HOLE4}\n", None)):
        yield Case(f"A3-{name}", Setup(listens=False, zone=zone + f"h2.example A {TWO}", prepare=with_second,
                                       control=dict(timeoutconnect="3\n")), Want("K", within=4), says=says)
    for name, step in (("reset", RESET), ("closed", CLOSE)):
        yield Case(f"A4-{name}", Setup(greeting=step), "Z", next=True)
    for name, address in (("host", UNREACHABLE4), ("host-ipv6", UNREACHABLE6), ("no-route", "100.64.0.1"),
                          ("no-route-ipv6", "2001:db9::1"),
                          ("port", ONE)):
        yield alone(f"A5-{name}", Want("Z", check=refused, within=2), address)
        yield alone(f"A5-{name}-next", Want("K", within=2), address, TWO, prepare=with_second)

    def prohibited(stage):
        world.ip("route replace prohibit 198.18.7.0/24")

    yield alone("A5-prohibited", Want("Z", check=refused, within=2), "198.18.7.1", prepare=prohibited)
    dead = [" ".join(f"192.0.2.{20 + (n * 20 + k) % 200}" for k in range(20)) for n in range(100)]
    yield alone("A6-refused", Want("Z", within=8), *dead,
                says="addresses that fail at once cost nothing; each is tried once")
    unreachable = [" ".join(f"198.18.0.{(n * 20 + k) % 250 + 1}" for k in range(20)) for n in range(100)]
    yield alone("A6-unreachable", Want("Z", within=8), *unreachable)
    many = [" ".join(f"192.0.2.{20 + n * 16 + k}" for k in range(16)) for n in range(8)]
    for name, want, worse in (("the-last-tried", "K", [*many[:7], many[7].rpartition(" ")[0], TWO]),
                              ("one-too-many", "Z", [*many, TWO])):
        yield alone(f"A6-{name}", Want(want, within=8), *worse,
                    prepare=lambda stage: stage.server(TWO, host="h9.example"),
                    says="128 addresses are tried, the best ones")
    holes = [f"203.0.113.{n}" for n in range(1, 31)]
    yield alone("A6-black-holes", "Z", *holes, TWO, timeout=1,
                prepare=lambda stage: stage.server(TWO, host="h31.example"),
                says="no preference is begun after timeoutremote and ten times timeoutconnect")
    yield alone("A7-no-ipv6", Want("Z", check=refused, within=2), "2001:db9::1")
    yield alone("A7-no-ipv6-next", Want("K", within=2), "2001:db9::1", TWO, prepare=with_second)
    yield alone("A7-no-ipv6-at-all", Want("Z", within=3), SIX, start=Start(play=_without_ipv6))

    def only_six(stage):
        assert not table4(stage) and set(table6(stage)) <= {HOLE6}

    yield Case("A8-dead-ipv6",
               Setup(listens=False, zone=f"dst.example MX 5 h2.example.\nh2.example AAAA {HOLE6}\nh2.example A {TWO}",
                     prepare=with_second, control=dict(timeoutconnect="5\n")), Want("K", within=2.5, check=only_six),
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
        yield alone(f"A9-{name}", Want("D", check=me), address)
        yield alone(f"A9-{name}-and-worse", Want("D", check=me), address, TWO, prepare=with_second)
    yield Case("A9-better-one-down",
               Setup(listens=False, zone=mx(ONE, OWN4, TWO), prepare=lambda s: s.server(TWO, host="h3.example")),
               Want("Z", check=not_connected),
               says="hosts that are worse than we are are never tried")
    own = "interface addresses, all of 127/8 and 0/8, :: and ::1 are \"me\": D 5.4.6; stock connects to 127.0.0.2"
    yield alone("A10-unspecified", Want("D", check=me), "0.0.0.0", prepare=_listen_everywhere, says=own)
    yield alone("A10-unspecified-ipv6", Want("D", check=me), "::", prepare=_listen_everywhere, says=own)
    yield alone("A10-mapped-unspecified", Want("D", check=me), "::ffff:0.0.0.0", prepare=_listen_everywhere, says=own)
    yield alone("A10-mapped-loopback", Want("D", check=me), "::ffff:127.0.0.1", prepare=_listen_everywhere, says=own)
    for name, address in (("link-local", "169.254.1.1"), ("multicast", "224.0.0.1"), ("broadcast", "255.255.255.255"),
                          ("class-e", "240.0.0.1"),
                          ("link-local-ipv6", "fe80::1"), ("multicast-ipv6", "ff02::1"),
                          ("mapped-broadcast", "::ffff:255.255.255.255")):
        yield alone(f"A10-{name}", Want("Z", check=not_connected, within=2), address,
                    says="what cannot be connected to fails as any other address: Z")
        yield alone(f"A10-{name}-next", Want("K", within=2), address, TWO, prepare=with_second)
    for name, address in (("127-0-0-2", "127.0.0.2"), ("mapped-127-0-0-2", "::ffff:127.0.0.2"), ("0-0-0-9", "0.0.0.9")):
        yield alone(f"A10-{name}", Want("D", check=me), address, prepare=_listen_everywhere, says=own)
        yield alone(f"A10-{name}-and-worse", Want("D", check=me), address, TWO, prepare=with_second)
    yield Case("A10-127-0-0-2-relay",
               Setup(prepare=lambda s: s.server("127.0.0.2", host="h1.example"),
                     control=dict(smtproutes=":127.0.0.2\n")), "K", says="a local relay may be meant")


def _listen_everywhere(stage):
    for address in ("127.0.0.1", "127.0.0.2", "::1"):
        stage.server(address, host="h1.example")


def resource_cases():
    yield Case("A11-source-address", Setup(control=dict(outgoingip="203.0.113.77\n")), Want("Z", check=not_used))

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

    yield Case("A12-no-port-left", Setup(zone=mx(ONE), control=dict(smtproutes=f":{ONE}\n")),
               Want("Z", check=not_blamed, within=3), Start(play=one_port_taken))
    for call, error in (("socket", "EMFILE"), ("socket", "ENFILE"), ("socket", "ENOMEM"), ("socket", "ENOBUFS"),
                        ("connect", "ENOBUFS"),
                        ("connect", "EADDRNOTAVAIL"), ("connect", "EACCES")):
        number = "A13" if error in ("EMFILE", "ENFILE", "ENOMEM") else "A12"
        yield Case(f"{number}-{call}-{error}", Setup(control=dict(smtproutes=f":{ONE}\n")),
                   Want("Z", check=not_blamed, within=8), injecting(call, f"error={error}"))
    for limit in (3, 4, 5, 6):
        yield Case(f"A13-nofile-{limit}", Setup(), "ZK", Start(limits={resource.RLIMIT_NOFILE: limit}),
                   plain=limit < 6)

    def once(stage):
        assert len(stage.sessions) <= 1

    # connect() itself is not in the list: an injected error leaves it undone, a real EINTR does not.
    for call in ("poll", "socket"):
        yield Case(f"A14-eintr-{call}", Setup(control=dict(smtproutes=f":{ONE}\n")),
                   Want("KZ" if call == "socket" else "K", check=once, within=8),
                   injecting(call, "error=EINTR:when=1+2"))

    def stopped(stage):
        """Stopped and continued again and again while it connects."""
        process = stage.begin()
        for _ in range(40):
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(0.005)
            os.kill(process.pid, signal.SIGCONT)
            time.sleep(0.005)
        stage.deliver(process)

    yield alone("A14-stop-and-go", Want("K", within=5), HOLE4, TWO, prepare=with_second, start=Start(play=stopped))
    for moment in ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "END"):
        over = "clear" if moment in ("greeting", "EHLO") else ALL
        step = ("354 go", Read(100), DEAF) if moment == "DATA" else DEAF
        # HELO follows EHLO, on a connection of its own.
        helo = dict(HELO=DEAF) if moment == "EHLO" else {}
        yield Case(f"A15-{moment.lower()}", Setup(**{moment: step, **helo}, timeout=1),
                   Want("Z", within=6) if moment in ("greeting", "END") else "Z",
                   Start(play=_let_go, message=BIG if moment == "DATA" else MESSAGE), over=over,
                   unused=moment not in ("greeting", "EHLO"))
    yield Case("A15-starttls", Setup(STARTTLS=DEAF, timeout=1), "Z", over="ver")
    yield Case("A15-handshake", Setup(STARTTLS=("220 go", DEAF), control=dict(timeoutconnect="1\n")),
               Want("Z", within=4), over="ver")

    def no_mail(stage):
        assert not stage.mails

    for size in (0, 10, 100000):
        yield Case(f"A16-from-{size}", Setup(rcvbuf=4096, DATA=("354 go", Read(size), DEAF), timeout=1),
                   Want("Z", check=no_mail, within=5 if size == 10 else None), Start(play=_let_go, message=BIG),
                   over=ALL, unused=True)
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

    yield Case("A18-all-dead", Setup(prepare=table_of((ONE, 10, now))), Want("Z", check=nobody, within=1))
    yield Case("A18-all-dead-ipv6", Setup(address=SIX, prepare=table_of(v6=[(SIX, 10, now)])),
               Want("Z", check=nobody, within=1))
    yield Case("A18-one-dead", Setup(zone=mx(HOLE4, ONE), prepare=table_of((HOLE4, 10, now))), Want("K", within=1.5))
    yield Case("A18-stale", Setup(prepare=table_of((ONE, 10, now - 100 * 64))), "K")
    yield Case("A18-future", Setup(prepare=table_of((ONE, 10, now + 10 ** 6))), "K")
    yield Case("A18-year-2106", Setup(prepare=table_of((ONE, 10, 0xffffffff))), "K")
    yield Case("A18-once-only", Setup(prepare=table_of((ONE, 1, now))), "K")


def _let_go(stage):
    """A server that reads nothing does not see that the client has gone: it is stopped."""
    stage.deliver()
    with stage.first.changed:
        stage.first.stopping = True


CASES = [*connect_cases(), *own_cases(), *resource_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
