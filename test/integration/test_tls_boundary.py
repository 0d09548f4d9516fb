"""Where clear text ends and TLS begins and ends: nothing is carried over, nothing is taken for a reply."""

import hashlib
import random
import socket
import ssl

import pytest

import rspawn
from expect import accepted, check, wire
from smtpd import CLOSE, CLOSE_NOTIFY, DEAF, TLS, Action, Call, Delay
from tlssite import gone, told_nothing

IP = "192.0.2.1"
HELLO = b"EHLO me.example\r\nSTARTTLS\r\n"
OFFER = "250-hi\n250 STARTTLS"


def in_tls(step, otherwise=None):
    """A step for EHLO: STARTTLS is offered in clear text, and then this is said in TLS."""
    return Call(lambda session: step if session.inside else otherwise or OFFER)


@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_ehlo_that_is_answered_twice_in_two_segments_ends_in_no_delivery_in_tls(site, strictness):
    """STARTTLS may have gone out by then: the early 220 and the server's own are two."""
    server = site.one(strictness, EHLO=in_tls("250 hi", (b"250-hi\r\n250 STARTTLS\r\n", Delay(0.02), b"220 go\r\n")))
    run = site.home.run()
    server.settle()
    told_nothing(server.sessions[0])
    assert server.sessions[0].secret == b"" and not server.mails
    assert run.message.letter == "Z" and (strictness < 2 or run.letters == "Z"), run


def test_ehlo_in_tls_has_the_same_name(site):
    site.home.control("helohost", "other.example\n")
    server = site.one(2)
    check(site.run(), "r", accepted())
    assert server.session.log == b"EHLO other.example\r\nSTARTTLS\r\n"
    assert bytes(server.session.secret).startswith(b"EHLO other.example\r\nMAIL FROM:<a@src.example>")


@pytest.mark.parametrize("strictness", [0, 2])
def test_a_reply_in_tls_that_nobody_asked_for_ends_in_no_delivery_in_tls(site, strictness):
    """One reply too many puts the two out of step."""
    server = site.one(strictness, STARTTLS=("220 go", TLS, "250 early"))
    run = site.run()
    told_nothing(server.sessions[0])
    assert not any(mail.complete for mail in server.sessions[0].mails)
    if strictness == 2:
        assert run.message.letter == "Z" and server.connections == 1, run
    elif run.message.letter == "K":
        check(run, "r", accepted())
        assert server.connections == 2 and "STARTTLS" not in server.sessions[1].verbs


# Records of one segment: what is behind a reply is seen, every time.

class Together(Action):
    """Send each part in a TLS record of its own, all of them in one segment."""

    def __init__(self, *parts):
        self.parts = parts

    def play(self, session):
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for part in self.parts:
            session.play(part)
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


each_version = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


@each_version
def test_a_reply_behind_354_is_no_reply_to_the_end_of_the_mail_data(site, version):
    """Which the server refuses."""
    site.want(2)
    site.mx(IP)
    context = site.certs.context("good", minimum=version, maximum=version)
    site.server(context=context, DATA=Together("354 go", "250 false"), END="550 no")
    for _ in range(10):
        run = site.run()
        check(run, "r", ("Z", f"{IP} failed on DATA command.", "250 false"))


@each_version
def test_421_behind_the_reply_to_ehlo_leads_to_the_next_host(site, version):
    site.want(0)
    site.mx(IP, "192.0.2.2")
    context = site.certs.context("good", minimum=version, maximum=version)
    first = site.server(context=context, EHLO=in_tls(Together("250 hi", "421 so long")))
    second = site.server("192.0.2.2", host="m2.example")
    for _ in range(10):
        check(site.run(), "r", accepted("192.0.2.2"))
    assert len(second.mails) == 10 and not first.mails
    told_nothing(*first.sessions)


@pytest.mark.timed
@pytest.mark.parametrize("step", [DEAF, (CLOSE_NOTIFY, CLOSE)], ids=["deaf", "close-notify"])
def test_quit_is_said_in_tls_and_not_waited_for(site, step):
    server = site.one(0, QUIT=step)
    run = site.run()
    check(run, "r", accepted())
    assert run.lasted(2) and rspawn.in_time(run.held, 0.3)
    gone(timeout=3)
    assert "QUIT" in server.session.verbs and bytes(server.session.clear) == HELLO


# The message.

@pytest.fixture(scope="module")
def ten_megabytes():
    """Lines of all lengths, many with dots at the start, of all bytes but CR."""
    chance = random.Random(7)
    text = chance.randbytes(10_100_000).replace(b"\r", b"\n..").replace(b"\0", b"\n") + b"\n"
    assert text.count(b"\n..") > 30000
    return text


@pytest.mark.parametrize("version, ehlo", [
    ("TLSv1_2", ()), ("TLSv1_3", ()), ("TLSv1_3", ("PIPELINING", "8BITMIME", "SIZE 100000000")),
])
def test_ten_megabytes_arrive_byte_for_byte(site, ten_megabytes, version, ehlo):
    version = getattr(ssl.TLSVersion, version)
    site.want(2)
    site.mx()
    server = site.server(context=site.certs.context("good", minimum=version, maximum=version), ehlo=ehlo)
    run = site.run(message=ten_megabytes, timeout=60)
    check(run, "r", accepted())
    out = wire(ten_megabytes)
    assert server.mail.size == len(out) and server.mail.sha256 == hashlib.sha256(out).hexdigest()
    assert bytes(server.session.clear) == HELLO


def test_a_server_that_reads_slowly_gets_all_of_the_message(site):
    server = site.server(rcvbuf=4096, DATA=("354 go", Delay(0.5)))
    site.want(2)
    site.mx()
    text = b"0123456789 line\n" * 60000
    check(site.run(message=text), "r", accepted())
    assert server.mail.sha256 == hashlib.sha256(wire(text)).hexdigest()
