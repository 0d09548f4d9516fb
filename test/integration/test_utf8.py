"""Addresses in UTF-8: domains as A-labels (IDNA2008), local parts with SMTPUTF8 (RFC 6531)."""

import os
import re

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

import realservers
import world
from expect import accepted, check
from realservers import CLEAR
from reuse import Reuse
from test_stock import one_user
from tlssite import NOT_VERIFIED, tls_line, verified

ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"
U, A = "bücher.example", "xn--bcher-kva.example"
UTF8 = ("8BITMIME", "SMTPUTF8")
MESSAGE = "From: <pelé@src.example>\nTo: <用户@dst.example>\nSubject: Grüße\n\nhi\n".encode()


def is_supported(home, program="qmail-remote-utf8"):
    with open(f"{home.programs}/{program}", "rb") as f:
        return b"built without libidn2" not in f.read()


@pytest.fixture
def idn(home):
    """The programs know domains in UTF-8."""
    if not is_supported(home):
        pytest.skip("this build has no libidn2")


@pytest.fixture
def mx(dns, smtp):
    """The MX hosts of dst.example in order; each argument is a script of its server, or None for none."""
    def make(*scripts, domain="dst.example", **how):
        servers = []
        for n, script in enumerate(scripts, 1):
            dns.zone(f"{domain} MX {n} m{n}.example.\nm{n}.example A 192.0.2.{n}")
            if script is not None:
                servers.append(smtp(f"192.0.2.{n}", **how, **script))
        return servers
    return make


def offers(*words, **script):
    return {"ehlo": words, **script}


def commands(server):
    """MAIL and RCPT of the only session."""
    return [line for _, line in server.session.commands if line.startswith((b"MAIL", b"RCPT"))]


# Domains.

def test_a_domain_is_looked_up_and_sent_as_a_labels(home, mx, dns, idn):
    server, = mx(offers(), domain=A)
    check(home.run(host=U, sender=f"a@{U}", recipients=[f"b@{U}", "c@BÜCHER.example"]), "r", "r", accepted())
    assert commands(server) == [f"MAIL FROM:<a@{A}>".encode(), f"RCPT TO:<b@{A}>".encode(), f"RCPT TO:<c@{A}>".encode()]
    assert {name for name, _ in dns.questions} == {A, "m1.example"}


REFUSED = {"wide-dot": "a。example", "wide-letter": "ｅxample", "soft-hyphen": "ex\xadample", "joiner": "ex\u200dample",
           "kelvin": "\u212aexample", "emoji": "☺.example", "too-long": "ü" + "a" * 60 + ".example"}


@pytest.mark.parametrize("name", REFUSED)
def test_what_idna2008_does_not_allow_is_no_other_domain(home, mx, dns, name):
    """No more so as a sender's."""
    domain = REFUSED[name]
    server, = mx(offers(), domain="example")
    run = home.run(host=domain, recipients=f"b@{domain}")
    check(run, ("D", "Sorry, that address cannot be sent by SMTP. (#5.1.3)"))
    assert run.message.text.count(b"\n") == 2, run
    home.route(f":{ONE}")
    run = home.run(sender=f"a@{domain}")
    check(run, ("D", "Sorry, the sender's address cannot be sent by SMTP. (#5.1.3)"))
    assert dns.questions == [] and server.connections == 0


def test_one_bad_domain_costs_that_recipient_alone(home, relay):
    server = relay()
    run = home.run(recipients=["b@dst.example", "b@☺.example", "c@dst.example"])
    check(run, "r", ("h", "Sorry, that address cannot be sent by SMTP. (#5.1.3)"), "r", accepted())
    assert server.mail.recipients == [b"<b@dst.example>", b"<c@dst.example>"]


def test_sharp_s_is_not_ss(home, mx, idn):
    server, = mx(offers(), domain="xn--strae-oqa.example")
    check(home.run(host="straße.example", recipients="b@straße.example"), "r", accepted())
    assert server.mail.recipients == [b"<b@xn--strae-oqa.example>"]


def test_ascii_and_bytes_that_are_not_utf8_go_as_from_stock(home, relay):
    """A-labels too, whatever is in them."""
    server = relay()
    check(home.run(host="XN--A.Example", sender=b"\xe9@src.\xe9", recipients="b@XN--A.Example"), "r", accepted())
    assert commands(server) == [b"MAIL FROM:<\"\xe9\"@src.\xe9>", b"RCPT TO:<b@XN--A.Example>"]


def test_keys_of_control_files_may_be_in_utf8(home, smtp, idn):
    """Of smtproutes, tlspolicy and ipfamily; for a domain in UTF-8 as for one in A-labels."""
    servers = [smtp(ONE), smtp("2001:db8::1"), smtp(TWO)]
    home.route(f":{TWO}\n.Bücher.example:[2001:db8::1]\nbücher.example:{ONE}")
    for host in (U, A, "BU\u0308CHER.example"):
        check(home.run(host=host), "r", accepted(ONE))
    check(home.run(host=f"www.{U}"), "r", accepted("2001:db8::1"))
    check(home.run(host="cher.example"), "r", accepted(TWO))
    assert [s.connections for s in servers] == [3, 1, 1]


def test_only_domains_in_utf8_need_the_program_that_knows_them(home, relay):
    """Keys in UTF-8 do not matter to others."""
    relay()
    home.route(f"{U}:192.0.2.99\n:{ONE}")
    os.unlink(f"{home.path}/bin/qmail-remote-utf8")
    check(home.run(), "r", accepted(ONE))
    if not is_supported(home, "qmail-remote"):
        run = home.run(host=U)
        assert run.letters == "D" and b"libidn2" in run.report, run.report


def test_an_index_with_keys_in_utf8(home, smtp, idn):
    """It is made, and used, in deliveries to any domain."""
    servers = [smtp(ONE), smtp(TWO)]
    home.route("\n".join(f"n{n}.bücher.example:{ONE}" for n in range(5000)) + f"\n:{TWO}")
    os.utime(f"{home.path}/control/smtproutes", (1, 1))
    for host in ("dst.example", f"n4999.{A}", f"n4998.{U}", "dst.example"):
        check(home.run(host=host), "r", accepted(ONE if "n49" in host else TWO))
        assert os.path.getsize(home.cdb_path) > 100000
    assert [s.connections for s in servers] == [2, 2]


@one_user
@pytest.mark.parametrize("where", ["argument", "concurrencyhosts", "authsenders"])
def test_messages_to_domains_in_utf8_share_a_connection(home, dns, smtp, idn, where):
    """The program that knows such domains takes over before kept connections are looked for."""
    dns.zone(f"{A} A {ONE}\ndst.example A {ONE}")
    server = smtp()
    if where != "argument":
        home.control(where, f".{U}:5\n")
    reuse = Reuse(home).serve()
    try:
        for host in (U, A, U, A) if where == "argument" else ["dst.example"] * 4:
            check(reuse.run(host=host), "r", accepted())
        assert [len(session.mails) for session in server.sessions] == [1, 3]
    finally:
        reuse.stop()


def test_policies_may_be_for_domains_in_utf8(home, mx, dns, smtp, idn):
    server, = mx(offers(), domain=A)
    dns.zone("m1.example AAAA 2001:db8::1")
    home.control("ipfamily", f"{U}:4\n")
    home.control("outgoingip", f"BÜCHER.example:{THREE}\n")
    home.control("tlspolicy", "bücher.example:encrypt\n")
    for host in (U, A):
        check(home.run(host=host), ("Z", f"Connected to {ONE} but it does not offer STARTTLS. (#4.7.4)"))
    server.settle()
    assert [s.peer[0] for s in server.sessions] == [THREE] * 2


def test_a_certificate_has_to_be_for_the_a_labels(home, site, dns, idn):
    """Where the domain itself is the host."""
    site.want(2)
    dns.zone(f"{A} A {ONE}")
    server = site.server(cert=site.leaf(names=[A]))
    run = home.run(host=U, recipients=f"b@{U}")
    check(run, "r", accepted())
    assert tls_line(run) == verified(A) and server.session.tls["sni"] == A


# SMTPUTF8.

def test_a_local_part_in_utf8_asks_for_smtputf8(home, mx, idn):
    server, = mx(offers(*UTF8), domain=A)
    run = home.run(host=U, sender="pelé@src.example", recipients=[f"用户@{U}", f"b c.é@{U}", f"d@{U}"], message=MESSAGE)
    check(run, "r", "r", "r", accepted())
    assert commands(server) == ["MAIL FROM:<pelé@src.example> BODY=8BITMIME SMTPUTF8".encode(),
                                f"RCPT TO:<用户@{A}>".encode(), f'RCPT TO:<"b c.é"@{A}>'.encode(),
                                f"RCPT TO:<d@{A}>".encode()]
    assert server.mail.text == MESSAGE


@pytest.mark.parametrize("sender, recipient", [("a@src.example", "b@dst.example"), (b"\xe9@src.example", "b@dst.example"),
                                               ("", "b@dst.example"), ("a@bücher.example", "b@dst.example")],
                         ids=["ascii", "latin-1", "null", "domain"])
def test_nothing_else_asks_for_it(home, mx, idn, sender, recipient):
    """Nor does the header: it goes as it is."""
    servers = mx(offers("8BITMIME"), offers(*UTF8))
    check(home.run(sender=sender, recipients=recipient, message=MESSAGE), "r", accepted())
    assert b"SMTPUTF8" not in servers[0].log and servers[1].connections == 0
    assert servers[0].mail.text == MESSAGE


def test_a_server_without_it_is_left_for_one_that_offers_it(home, mx):
    """Nothing of the mail is told to the others."""
    servers = mx(offers("8BITMIME"), offers(greeting="421 busy"), offers(*UTF8))
    run = home.run(recipients="用户@dst.example")
    check(run, "r", accepted(THREE))
    assert servers[0].session.verbs == ["EHLO", "QUIT"]
    assert run.message.text.decode().split("\n")[3:5] == [
        "Tried before: m1.example (192.0.2.1): it does not offer SMTPUTF8",
        "Tried before: m2.example (192.0.2.2): greeting failed: 421 busy"], run
    assert commands(servers[2])[1] == "RCPT TO:<用户@dst.example>".encode()


@pytest.mark.parametrize("reply, letters", [("250 ok", "rK"), ("553 5.6.7 no", "hD"), ("450 later", "sD")])
def test_if_nobody_offers_it_the_best_one_decides(home, mx, reply, letters):
    """It gets the addresses as from stock."""
    servers = mx(offers("8BITMIME", RCPT=reply), None, offers())
    run = home.run(sender="pelé@src.example", recipients="用户@dst.example")
    assert run.letters == letters, run
    assert [s.connections for s in servers] == [2, 1]
    sessions = servers[0].sessions
    assert sessions[0].verbs == ["EHLO", "QUIT"]
    assert [line for _, line in sessions[1].commands][1:3] == [
        'MAIL FROM:<"pelé"@src.example>'.encode(), 'RCPT TO:<"用户"@dst.example>'.encode()]


def test_the_only_server_is_connected_to_once(home, relay):
    server = relay()
    check(home.run(recipients="é@dst.example"), "r", accepted())
    assert commands(server)[1] == 'RCPT TO:<"é"@dst.example>'.encode()


def test_a_server_that_knows_only_helo_has_no_smtputf8(home, mx):
    servers = mx(offers(EHLO="502 what"), offers(*UTF8))
    check(home.run(recipients="é@dst.example"), "r", accepted(TWO))
    assert servers[0].session.verbs == ["EHLO", "HELO", "QUIT"]


def test_servers_with_tls_come_before_those_with_smtputf8(site):
    """At strictness 1, the second gets it, which has TLS, and not the third, which has both too late, nor the first."""
    site.want(1)
    site.mx(ONE, TWO)
    site.server(ONE, cert=None, ehlo=UTF8)
    site.server(TWO, host="m2.example", ehlo=("8BITMIME",))
    run = site.run(recipients="é@dst.example")
    check(run, "r", accepted(TWO))
    assert tls_line(run) == NOT_VERIFIED
    assert [s.connections for s in site.servers] == [1, 2]


def test_what_is_offered_in_clear_text_does_not_count_in_tls(site):
    site.want(0)
    site.mx(ONE, TWO)
    first = {"EHLO": ["250-hi\n250-SMTPUTF8\n250 STARTTLS", "250 hi"]}
    site.server(ONE, **first)
    site.server(TWO, host="m2.example", ehlo=UTF8)
    run = site.run(recipients="é@dst.example")
    check(run, "r", accepted(TWO))
    assert [s.connections for s in site.servers] == [1, 1]


# Without libidn2.

def test_a_build_without_idna_refuses_domains_in_utf8(home, relay):
    if is_supported(home):
        pytest.skip("this build has libidn2")
    server = relay()
    check(home.run(host=U, recipients=f"b@{U}"), ("D", "Sorry, that address cannot be sent by SMTP. (#5.1.3)"))
    assert server.connections == 0


# Servers of others.

class Handler:
    def __init__(self):
        self.envelopes = []

    async def handle_DATA(self, server, session, envelope):
        self.envelopes.append(envelope)
        return "250 taken"


class Python(Controller):
    """aiosmtpd; it listens on port 25 of an address of the test."""

    def factory(self):
        return SMTP(self.handler, hostname="python.example", enable_SMTPUTF8=True)


@pytest.fixture
def python():
    controller = Python(Handler(), hostname=TWO, port=25)
    controller.start()
    yield controller.handler
    controller.stop()


def test_pythons_server_takes_them(home, mx, dns, python, idn):
    """Behind one that does not offer SMTPUTF8."""
    mx(offers(), domain=A)
    dns.zone(f"{A} MX 2 m2.example.\nm2.example A {TWO}")
    run = home.run(host=U, sender="pelé@src.example", recipients=[f"用户@{U}", f"b@{U}"], message=MESSAGE)
    check(run, "r", "r", accepted(TWO, "250 taken"))
    envelope, = python.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("pelé@src.example", [f"用户@{A}", f"b@{A}"])
    assert set(envelope.mail_options) == {"BODY=8BITMIME", "SMTPUTF8"} | {
        o for o in envelope.mail_options if o.startswith("SIZE=")}
    assert envelope.original_content.replace(b"\r\n", b"\n") == MESSAGE


@pytest.fixture
def postfix(home, certs):
    realservers.start(realservers.Unbound)
    server = realservers.start(realservers.Postfix, certs)
    world.resolv_conf(f"nameserver {realservers.RESOLVER}\n")
    yield server
    world.resolv_conf()
    realservers.stop_all()


def test_postfix_takes_them(home, postfix, idn):
    """It knows the domain by its A-labels, and the local part in UTF-8; without SMTPUTF8 in MAIL it would say ESMTP."""
    box = postfix.mailbox()
    name = box.user.replace("box", "boîte")
    host = "BÜCHER.postfix.example"
    for recipient, protocol in ((f"{name}@{host}", b"UTF8SMTP"), (f"{box.user}@{postfix.domain(CLEAR, 4)}", b"ESMTP")):
        sender = "a" if protocol == b"ESMTP" else "pelé"
        run = home.run(host=recipient.partition("@")[2], sender=f"{sender}@{U}", recipients=recipient, message=MESSAGE)
        assert run.letters == "rK", run
        stored = box.take()
        assert stored.endswith(MESSAGE) and f"Return-Path: <{sender}@{A}>".encode() in stored, stored
        assert re.search(rb"with (\w+) ", stored)[1] == protocol, stored
    # One that does not exist is refused by the same server, in the words of Postfix.
    run = home.run(host=host, recipients=f"nobody-é@{host}")
    assert run.letters == "hD" and b"550 5.1.1" in run.recipients[0].text, run
    box.close()
