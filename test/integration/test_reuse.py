"""Connections that are left for the next message."""

import json
import os
import resource
import signal
import threading

import pytest

from catalogue import BIG
from expect import accepted, check, duplicate, wire
from reuse import Reuse, brokers, is_listening, running, wait_until
from smtpd import As, Call, Read, Until
from test_stock import one_user
from test_tlsrpt import Collector
from tlssite import NOT_VERIFIED, children_of, programs, tls_line

pytestmark = one_user


@pytest.fixture
def reuse(home):
    reuse = Reuse(home).serve()
    yield reuse
    reuse.stop()


def deliveries(server):
    """How many mails each connection has brought."""
    return [len(session.mails) for session in server.sessions]


def test_the_second_leaves_its_connection_to_the_third(reuse, dns, smtp):
    """A single mail leaves none."""
    dns.zone("dst.example A 192.0.2.1")
    server = smtp()
    for _ in range(2):
        check(reuse.run(), "r", accepted())
    asked = len(dns.questions)
    for _ in range(3):
        check(reuse.run(), "r", accepted())
    assert deliveries(server) == [1, 4] and len(dns.questions) == asked


def test_started_by_a_delivery(home, dns, smtp):
    """One of several that come at once; and none of them waits for it."""
    dns.zone("dst.example A 192.0.2.1")
    smtp()
    reuse = Reuse(home)
    try:
        for process in [reuse.start() for _ in range(5)]:
            check(process.finish(), "r", accepted())
        wait_until(lambda: [is_listening(pid) for pid in brokers()] == [True])
        assert os.stat(reuse.path).st_mode & 0o777 == 0o600
        check(reuse.run(), "r", accepted())
    finally:
        reuse.stop()


def test_in_tls(reuse, site):
    server = site.one(0)
    for _ in range(4):
        run = reuse.run()
        check(run, "r", accepted())
        assert tls_line(run) == NOT_VERIFIED
    assert deliveries(server) == [1, 3]


def test_a_connection_that_was_closed_is_not_used(reuse, dns, smtp):
    dns.zone("dst.example A 192.0.2.1")
    server = smtp(EHLO=["250 me", "250 me"], QUIT="221 bye")
    for _ in range(2):
        check(reuse.run(), "r", accepted())
    server.sessions[1].sock.close()
    wait_until(lambda: server.sessions[1])
    check(reuse.run(), "r", accepted())
    assert deliveries(server) == [1, 1, 1]


@pytest.mark.parametrize("reply", ["421 too many", "452 too many", "nonsense", "250 one\n250 two"])
def test_refused_on_a_connection_that_was_used(reuse, dns, smtp, reply):
    """The mail goes over a new one, and nobody is told."""
    dns.zone("dst.example A 192.0.2.1")
    server = smtp(MAIL=["250 ok", "250 ok", reply, "250 ok"])
    for _ in range(3):
        check(reuse.run(), "r", accepted())
    assert sum(deliveries(server)) == 3


def test_killed_while_it_sends_the_message(reuse, dns, smtp):
    """qmail-remote-io ends with qmail-remote: the message is tried again, and this connection must not bring it, too."""
    dns.zone("dst.example A 192.0.2.1")
    gate, there = threading.Event(), threading.Event()

    def wait(_):
        there.set()
        return Until(gate)
    server = smtp(DATA=["354 go", ("354 go", Read(20000), Call(wait), As(3))])
    reuse.warm()
    process = reuse.start(message=BIG)
    assert there.wait(20)
    os.kill(process.pid, signal.SIGKILL)
    assert process.finish().rspawn == b"Zqmail-remote crashed.\n"
    gate.set()
    wait_until(lambda: server.sessions[1].done)
    assert [m.complete for m in server.sessions[1].mails] == [True, False]


def victim(who, reuse, delivery):
    """A process of a delivery over a connection in TLS that was used before, or what would start its next session."""
    service = children_of(reuse.process.pid)

    def found():
        if who == "qmail-remote":
            return [delivery.pid]
        if who == "qmail-remote-io":
            return children_of(delivery.pid)
        return service if who == "service" else [p for p in programs("qmail-remote-tls") if p not in service]
    wait_until(lambda: len(found()) == 1)
    return found()[0]


# What becomes of a delivery one of whose processes gets SIGTERM while this is outstanding.
UNFINISHED = ("Z", "Unable to run qmail-remote-io. (#4.3.0)")
CRASHED = b"Zqmail-remote crashed.\n"
MOMENTS = {"MAIL": "250 ok", "DATA": "354 go", "END": "250 got it"}
ENDS = {"qmail-remote": [CRASHED] * 3, "qmail-remote-io": [[UNFINISHED], [UNFINISHED], [duplicate()]],
        "session": [["r", accepted()], ["r", accepted()], ["r", duplicate()]], "service": [["r", accepted()]] * 3}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("who", ENDS)
def test_a_process_of_a_delivery_on_a_used_connection_ends(reuse, site, who, moment):
    """Reported as delivered is what was, once; what was not is sent over a new connection, or left for the next time."""
    gate, there, good = threading.Event(), threading.Event(), MOMENTS[moment]

    def wait(_):
        there.set()
        return Until(gate)
    server = site.one(0, sessions=[{}, {moment: [good, (Call(wait), good)]}, {}])
    reuse.warm()
    process = reuse.start()
    assert there.wait(20)
    os.kill(victim(who, reuse, process), signal.SIGTERM)
    if who != "service":
        # The connection is not used any more.
        wait_until(lambda: server.sessions[1].done)
    gate.set()
    run, expected = process.finish(), ENDS[who][list(MOMENTS).index(moment)]
    if expected is CRASHED:
        assert run.rspawn == CRASHED
    else:
        check(run, *expected)
    wait_until(lambda: not running("qmail-remote-io"))
    arrived = sum(m.complete for s in server.sessions for m in s.mails) - 2
    assert arrived == (1 if moment == "END" else run.rspawn[:1] == b"K"), server.sessions
    check(reuse.run(), "r", accepted())


def test_nothing_and_much_over_a_used_connection(reuse, site):
    """An empty message; and one of many pieces, none of which is in the next one."""
    server = site.one(0)
    reuse.warm()
    for text in (b"", BIG, b"", b".\n"):
        check(reuse.run(message=text), "r", accepted())
        assert server.sessions[1].mails[-1].wire == wire(text)
    assert deliveries(server) == [1, 5]


@pytest.mark.parametrize("tls", [True, False])
def test_a_broker_that_stops_during_a_delivery(reuse, site, tls):
    """It is asked to start TLS, and to keep the connection, and does neither."""
    greeted, gate = threading.Event(), threading.Event()

    def wait(_):
        greeted.set()
        return Until(gate)
    server = site.one(0, cert="good" if tls else None, sessions=[{"greeting": (Call(wait), "220 hi")}, {}])
    process = reuse.start()
    assert greeted.wait(20)
    reuse.process.send_signal(signal.SIGSTOP)
    gate.set()
    check(process.finish(), "r", accepted())
    reuse.process.send_signal(signal.SIGCONT)
    reuse.warm()
    assert sum(deliveries(server)) == 3


@pytest.mark.timed
def test_a_broker_that_is_stopped_costs_nearly_nothing(reuse, dns, smtp):
    dns.zone("dst.example A 192.0.2.1")
    smtp()
    reuse.warm()
    os.kill(reuse.process.pid, signal.SIGSTOP)
    run = reuse.run()
    check(run, "r", accepted())
    assert run.lasted(0.5)


@pytest.fixture
def collector(reuse, site):
    """Of reports on TLS, which dst.example publishes that it wants."""
    site.dns.zone('_smtp._tls.dst.example TXT "v=TLSRPTv1;rua=mailto:reports@dst.example"')
    collector = Collector()
    reuse.home.control("tlsrptsocket", f"{collector.path}\n")
    yield collector
    collector.close()


def test_a_collector_of_reports_is_told_of_new_connections_only(reuse, site, collector):
    site.one(0)
    reuse.warm()
    assert len(collector.datagrams()) == 2
    check(reuse.run(), "r", accepted())
    # By the address, after the DNS was asked.
    site.dns.zone("other.example MX 10 m1.example.")
    check(reuse.run(host="other.example"), "r", accepted())
    assert reuse.shown()[2]["hits"] == 2 and not collector.datagrams()


def test_a_collector_of_reports_is_told_of_a_better_host_that_failed(reuse, site, collector):
    """And not of the session with the next one, which another delivery has told of."""
    site.want(2)
    site.mx("192.0.2.1", "192.0.2.2")
    site.server(cert="wrong-name")
    second = site.server("192.0.2.2", host="m2.example")
    reuse.warm()
    assert len(collector.datagrams()) == 2
    check(reuse.run(), "r", accepted("192.0.2.2"))
    said, = collector.datagrams()
    policy, = json.loads(said)["policies"]
    assert [f["n"] for f in policy["failure-details"]] == ["m1.example"], policy
    assert deliveries(second) == [1, 2]


def test_off(home, dns, smtp):
    dns.zone("dst.example A 192.0.2.1")
    server = smtp()
    for _ in range(3):
        check(home.run(uid=4711, gid=4711), "r", accepted())
    assert deliveries(server) == [1, 1, 1] and not brokers()


def test_a_better_host_that_the_dns_did_not_tell_of_is_asked_for(reuse, dns, smtp):
    """By its next hop nobody finds a session with a worse one."""
    dns.zone("dst.example MX 10 m1.example.\ndst.example MX 20 m2.example.\n"
             "m1.example A 192.0.2.1\nm2.example A 192.0.2.2")
    dns.rule("m1.example", rcode="SERVFAIL")
    reuse.home.control("timeoutdns", "1\n")
    better, worse = smtp(), smtp("192.0.2.2")
    check(reuse.warm(), "r", accepted("192.0.2.2"))
    dns.rule("m1.example")
    check(reuse.run(), "r", accepted())
    assert deliveries(better) == [1] and deliveries(worse) == [1, 1]


@pytest.mark.parametrize("count", range(5, 11))
def test_too_few_descriptors_for_a_child_are_enough_for_a_new_connection(reuse, dns, smtp, count):
    if "loader" in reuse.home.kind:
        pytest.skip("the loader needs descriptors, too")
    dns.zone("dst.example A 192.0.2.1")
    server = smtp()
    limits = {resource.RLIMIT_NOFILE: count}
    reuse.warm()
    run = reuse.run(limits=limits)
    reuse.home.control("timeoutidle", None)
    new = reuse.run(limits=limits)
    assert run.rspawn[:1] == new.rspawn[:1], (run, new)
    assert sum(deliveries(server)) == 2 + 2 * (run.rspawn[:1] == b"K")


def test_long_keys_and_many_addresses(reuse, dns, smtp):
    """All of them are longer than a message to the broker."""
    dns.zone("\n".join(f"dst.example A 192.0.2.{n}" for n in range(1, 25)))
    reuse.home.control("clientcert", f"{1500 * './'}control/me\n")
    reuse.home.control("concurrencyhosts", "dst.example:1\n")
    servers = [smtp(f"192.0.2.{n}") for n in range(1, 25)]
    reuse.warm()
    assert reuse.run().letters == "rK"
    assert sorted(n for s in servers for n in deliveries(s)) == [1, 2]
