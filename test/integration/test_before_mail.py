"""Sessions that fail before MAIL go on to the next address and host. The catalogue, group H, has those that fail later."""

import socket

import pytest

from expect import accepted, check, died
from smtpd import CLOSE, RESET, Call

ONE, TWO = "192.0.2.1", "192.0.2.2"


def last_words(reply):
    """A reply and the end of the connection, in one segment."""
    def play(session):
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        return reply, CLOSE
    return Call(play)


# What the first server does, and whether it takes about a second (timeoutremote is 1).
BEFORE = {
    "reset": dict(greeting=RESET),
    "closed": dict(greeting=CLOSE),
    "silent": dict(greeting=None),
    "half": dict(greeting=(b"220-hi\r\n220", CLOSE)),
    "421": dict(greeting="421 busy"),
    "554": dict(greeting="554 never"),
    "malformed": dict(greeting=b"SSH-2.0-x\r\n"),
    "mixed": dict(greeting=b"220-a\r\n554 b\r\n"),
    "early": dict(greeting=b"220 hi\r\n250 early\r\n"),
    "ehlo-421": dict(EHLO="421 busy"),
    "ehlo-251": dict(EHLO="251 hm", HELO=CLOSE),
    "ehlo-closed": dict(EHLO=CLOSE, HELO=CLOSE),
    "ehlo-reset": dict(EHLO=RESET, HELO=RESET),
    "ehlo-silent": dict(EHLO=None, HELO=None),
    "ehlo-mixed": dict(EHLO=b"250-a\r\n550 b\r\n", HELO="550 b"),
    "ehlo-last": dict(EHLO=last_words("250 hi")),
    "ehlo-and-421": dict(EHLO=b"250 hi\r\n421 busy\r\n"),
    "ehlo-500-closed": dict(EHLO=("554 5.7.1 blocked", CLOSE), HELO=CLOSE),
    "helo-last": dict(EHLO="500 what", HELO=last_words("250 hi")),
    "helo-500": dict(EHLO="500 what", HELO="500 what"),
    "helo-421": dict(EHLO="500 what", HELO="421 busy"),
    "helo-closed": dict(EHLO="500 what", HELO=CLOSE),
    "helo-silent": dict(EHLO="500 what", HELO=None),
    "quit-silent": dict(greeting="421 busy", QUIT=None),
}


# HELO on a connection of its own, where EHLO, or HELO behind it, left the first one of no use.
TWICE = {"ehlo-251", "ehlo-closed", "ehlo-reset", "ehlo-silent", "ehlo-mixed", "ehlo-500-closed",
         "helo-closed", "helo-silent"}


def connections(case):
    return 2 if case in TWICE else 1


@pytest.fixture
def two_mx(home, smtp, dns):
    """A better and a worse host; the second is polite."""
    home.control("timeoutremote", "1\n")
    dns.zone(f"""
        dst.example MX 5 one.example.
        dst.example MX 9 two.example.
        one.example A {ONE}
        two.example A {TWO}
    """)

    def make(**script):
        return (smtp(ONE, **script) if script else None), smtp(TWO)
    return make


@pytest.mark.parametrize("case", ["refused", *BEFORE])
def test_next_host_gets_the_mail(home, two_mx, case):
    first, second = two_mx(**BEFORE.get(case, {}))
    run = home.run()
    check(run, "r", accepted(TWO))
    assert run.wall < 15
    assert len(second.mails) == 1
    if first:
        assert first.connections == connections(case) and not first.mails
        assert not any("MAIL" in session.verbs for session in first.sessions)


@pytest.mark.parametrize("case", ["421", "closed", "ehlo-reset", "helo-500"])
def test_next_address_of_the_same_host_gets_the_mail(home, smtp, dns, case):
    dns.zone(f"dst.example MX 5 m.example.\nm.example AAAA 2001:db8::1\nm.example A {TWO}")
    first, _ = smtp("2001:db8::1", **BEFORE[case]), smtp(TWO)
    check(home.run(), "r", accepted(TWO))
    assert first.connections == connections(case)


@pytest.mark.parametrize("case", ["421", "closed", "ehlo-reset", "helo-500"])
def test_next_address_of_a_relay_gets_the_mail(home, smtp, dns, case):
    dns.zone(f"r.example AAAA 2001:db8::1\nr.example A {TWO}")
    home.route(":r.example:2525")
    smtp("2001:db8::1", port=2525, **BEFORE[case])
    smtp(TWO, port=2525)
    check(home.run(), "r", accepted(TWO))


@pytest.mark.parametrize("case, said", [
    ("421", b"421 busy"), ("554", b"554 never"), ("ehlo-421", b"421 busy"),
    ("ehlo-251", b"251 hm"), ("helo-500", b"500 what"), ("helo-closed", b"500 what"),
    ("ehlo-500-closed", b"554 5.7.1 blocked"),
])
@pytest.mark.parametrize("other", ["refused", "closed"])
def test_the_report_is_of_the_server_that_replied(home, smtp, dns, case, said, other):
    home.control("timeoutremote", "1\n")
    dns.zone(f"dst.example MX 5 one.example.\ndst.example MX 9 two.example.\none.example A {ONE}\ntwo.example A {TWO}")
    smtp(ONE, **BEFORE[case])
    if other == "closed":
        smtp(TWO, greeting=CLOSE)
    run = home.run()
    assert run.letters == "Z" and b"\nRemote host said: " + said + b"\n" in run.message.text, run


def test_the_report_is_of_the_last_server_that_replied(home, smtp, dns):
    dns.zone(f"dst.example MX 5 one.example.\ndst.example MX 9 two.example.\none.example A {ONE}\ntwo.example A {TWO}")
    smtp(ONE, greeting="554 first")
    smtp(TWO, EHLO="421 second")
    check(home.run(), ("Z", f"Connected to {TWO} but my name was rejected.", "421 second"))


def test_servers_that_only_hung_up_are_reported_as_died(home, smtp, dns):
    dns.zone(f"dst.example MX 5 one.example.\ndst.example MX 9 two.example.\none.example A {ONE}\ntwo.example A {TWO}")
    smtp(ONE, greeting=CLOSE)
    smtp(TWO, EHLO=RESET, HELO=RESET)
    run = home.run()
    assert run.letters == "Z" and run.message.first.decode() in (died(ONE)[1], died(TWO)[1]), run


def test_hosts_are_tried_in_order_of_preference(home, smtp, dns):
    order = []

    def note(session):
        order.append(session.server.address)
        return "450 no"

    for n in range(1, 8):
        smtp(f"192.0.2.{n}", greeting=Call(note))
        dns.zone(f"dst.example MX {100 - n} m{n}.example.\nm{n}.example A 192.0.2.{n}")
    assert home.run().letters == "Z"
    assert order == [f"192.0.2.{n}" for n in range(7, 0, -1)]


def test_a_server_that_refuses_us_is_told_quit(home, two_mx):
    first, _ = two_mx(greeting="421 busy", QUIT=None)
    check(home.run(), "r", accepted(TWO))
    assert first.log == b"QUIT\r\n" and first.session.end == "fin"


def test_extensions_of_a_server_that_failed_are_not_used_with_the_next(home, smtp, dns):
    dns.zone(f"dst.example MX 5 one.example.\ndst.example MX 9 two.example.\none.example A {ONE}\ntwo.example A {TWO}")
    smtp(ONE, EHLO=b"250-hi\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 10\r\n250 STARTTLS\r\n550 no\r\n")
    second = smtp(TWO)
    run = home.run()
    check(run, "r", accepted(TWO))
    data = [c for c in second.session.chunks]
    assert [c.split(b" ")[0].split(b"\r")[0] for c in data[:4]] == [b"EHLO", b"MAIL", b"RCPT", b"DATA"]
