"""The deliveries that everybody makes, each as a whole.

Nothing here depends on time: tools/analyse.sh runs all of it below valgrind.
"""

import os

import pytest

import rspawn
from expect import accepted, check
from qmailhome import MESSAGE
from smtpd import RESET
from tlssite import age, tls_line, verified

ONE, TWO = "192.0.2.1", "192.0.2.2"
LARGE = b"a line of some length, as most of them are\n" * 30000


@pytest.fixture(autouse=True)
def _everybody_has_ended(home):
    """Also what outlives qmail-remote has something to say, but nothing that an earlier test has left."""
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass
    yield
    try:
        while True:
            assert os.waitpid(-1, 0)[1] == 0
    except ChildProcessError:
        pass
    rspawn.sanitizer_logs()


@pytest.mark.parametrize("message", [MESSAGE, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("ehlo", [(), ("PIPELINING", "SIZE", "8BITMIME")], ids=["one-by-one", "group"])
def test_a_message_in_clear_text_is_delivered(home, relay, ehlo, message):
    server = relay(ehlo=ehlo)
    check(home.run(message=message, timeout=120), "r", accepted())
    assert server.mail.wire.replace(b"\r\n", b"\n").removesuffix(b".\n") == message


def test_a_hundred_recipients_in_three_transactions_are_delivered(home, relay):
    server = relay(ehlo=("PIPELINING", "LIMITS RCPTMAX=40"))
    run = home.run(recipients=[f"r{n}@dst.example" for n in range(100)], timeout=120)
    check(run, *"r" * 100, accepted())
    assert [len(m.recipients) for m in server.mails] == [40, 40, 20]


def test_a_refused_recipient_is_reported(home, relay):
    relay(ehlo=("PIPELINING",), RCPT="550 nobody")
    check(home.run(timeout=60), ("h", f"{ONE} does not like recipient.", "550 nobody"), ("D", f"Giving up on {ONE}."))


@pytest.mark.parametrize("steps", [("greeting",), ("EHLO", "HELO"), ("MAIL",), ("DATA",), ("END",)], ids="-".join)
def test_a_reset_at_each_step_is_temporary(home, relay, steps):
    relay(**{step: RESET for step in steps})
    assert home.run(timeout=60).letters.endswith("Z")


def test_a_reset_at_ehlo_leads_to_helo(home, relay):
    server = relay(EHLO=RESET)
    check(home.run(timeout=60), "r", accepted())
    assert server.connections == 2 and len(server.mails) == 1


def test_a_dead_first_host_leads_to_the_second(home, smtp, dns):
    server = smtp(TWO)
    dns.zone(f"dst.example MX 5 one.example.\ndst.example MX 9 two.example.\none.example A {ONE}\ntwo.example A {TWO}")
    check(home.run(timeout=60), "r", accepted(TWO))
    assert len(server.mails) == 1


def test_changed_routes_are_indexed(home, relay):
    server = relay()
    home.route("\n".join(f"d{n}.example:[192.0.2.{n % 200}]" for n in range(1000)) + f"\ndst.example:{ONE}")
    age(f"{home.path}/control/smtproutes")
    for _ in range(2):
        check(home.run(timeout=60), "r", accepted())
    assert len(server.mails) == 2


@pytest.mark.parametrize("strictness", [0, 1, 2])
@pytest.mark.parametrize("anchors", ["bundle", "directory"])
def test_a_message_in_tls_is_delivered(site, strictness, anchors):
    site.want(strictness, getattr(site.certs, anchors))
    site.mx()
    site.home.control("timeoutconnect", "60\n")
    server = site.server(ehlo=("PIPELINING",))
    for _ in range(2):
        run = site.run(timeout=120)
        check(run, "r", accepted())
        assert (tls_line(run) == verified("m1.example")) == (strictness == 2)
    assert len(server.mails) == 2


@pytest.mark.parametrize("strictness, letters", [(0, "rK"), (1, "rK"), (2, "Z")])
def test_without_usable_tls_each_strictness_does_its_own(site, strictness, letters):
    site.want(strictness)
    site.mx()
    site.home.control("timeoutconnect", "60\n")
    site.server(cert="wrong-name" if strictness == 2 else None)
    assert site.run(timeout=120).letters == letters
