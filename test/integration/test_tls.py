"""STARTTLS: what each strictness makes of each server."""

import pytest

from expect import NO_CONNECTION, accepted, check
from expect_tls import (IN_TLS, NO_HANDSHAKE, NOT_OFFERED, NOT_OFFERED_SENTENCE, REFUSED_SENTENCE, check_delivery,
                        got_clear, got_nothing, got_secret)
from smtpd import CLOSE, DEAF, TLS
from tlssite import NOT_VERIFIED, server_line, tls_line, told_nothing, verified

ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"
SIX = "2001:db8::1"

each_strictness = pytest.mark.parametrize("strictness", [0, 1, 2])

# One for each way in which there is no TLS; the catalogue, groups C and D, has all of them, with one host.
WITHOUT_TLS = {
    "not-offered": dict(cert=None),
    "ehlo-refused": dict(cert=None, EHLO="500 what"),
    "refused": dict(STARTTLS="454 no"),
    "refused-and-over": dict(STARTTLS="554 no"),
    "malformed": dict(STARTTLS=b"220 go\r\n250 x\r\n"),
    "no-reply": dict(STARTTLS=CLOSE),
    "no-handshake": dict(STARTTLS=("220 go", CLOSE)),
    "no-session": dict(STARTTLS=("220 go", TLS, CLOSE)),
    "unwelcome": dict(EHLO=["250-hi\n250 STARTTLS", "421 busy"]),
}


@pytest.mark.parametrize("case", [*WITHOUT_TLS, "untrusted"])
def test_the_other_address_of_a_host_is_tried_if_tls_is_demanded(site, case):
    site.want(2)
    site.mx(f"{SIX} {TWO}")
    first, second = site.server(SIX, **WITHOUT_TLS.get(case, dict(cert="untrusted"))), site.server(TWO)
    run = site.run()
    check_delivery(run, IN_TLS, 2, second)
    got_nothing(first)


@pytest.mark.parametrize("case", WITHOUT_TLS)
def test_strictness_1_delivers_in_clear_text_to_the_best_host_if_no_host_does_tls(site, case):
    site.want(1)
    site.mx(ONE, TWO)
    first, second = site.server(ONE, **WITHOUT_TLS[case]), site.server(TWO, host="m2.example", **WITHOUT_TLS[case])
    run = site.run()
    check_delivery(run, NO_HANDSHAKE, 1, first)
    got_nothing(second)


def test_the_second_pass_in_clear_text_goes_on_from_host_to_host(site):
    site.want(1)
    site.mx(ONE, TWO, THREE)
    one = site.server(ONE, cert=None, sessions=[{}, dict(greeting="421 busy")])
    two = site.server(TWO, cert=None, sessions=[{}, dict(greeting=CLOSE)])
    three = site.server(THREE, STARTTLS="454 no")
    check(site.run(), "r", accepted(THREE))
    got_nothing(one, 2)
    got_nothing(two, 2)
    got_clear(three, 2)


@pytest.mark.parametrize("strictness, connections", [(1, 2), (2, 1)])
def test_there_is_one_second_pass_at_strictness_1_and_none_at_2(site, strictness, connections):
    site.want(strictness)
    site.mx(ONE, TWO)
    servers = [site.server(a, cert=None, sessions=[{}, dict(greeting="421 busy")]) for a in (ONE, TWO)]
    assert site.run().letters == "Z"
    assert [s.connections for s in servers] == [connections] * 2
    told_nothing(*site.sessions)


DEAD = {
    "greeting-closed": dict(greeting=CLOSE),
    "greeting-421": dict(greeting="421 busy"),
    "greeting-554": dict(greeting="554 never"),
    "ehlo-421": dict(EHLO="421 busy"),
    "ehlo-answered-twice": dict(EHLO=b"250-hi\r\n250 STARTTLS\r\n250 hi\r\n"),
}


@pytest.mark.parametrize("case", DEAD)
def test_the_second_pass_is_for_hosts_that_failed_for_want_of_tls(site, case):
    site.want(1)
    site.mx(ONE, TWO)
    first, second = site.server(ONE, **DEAD[case]), site.server(TWO, cert=None)
    run = site.run()
    check(run, "r", accepted(TWO))
    got_nothing(first)
    got_clear(second, 2)


def test_the_second_pass_comes_after_hosts_that_cannot_be_reached_too(site):
    site.want(1)
    site.mx("192.0.2.99", "198.18.0.1", ONE)
    server = site.server(cert=None)
    check(site.run(), "r", accepted(ONE))
    got_clear(server, 2)


def test_there_is_no_second_pass_if_no_host_failed_for_want_of_tls(site):
    site.want(1)
    site.mx(ONE)
    server = site.server(greeting="421 busy")
    assert site.run().letters == "Z"
    assert server.connections == 1


@each_strictness
def test_the_worse_host_gets_the_mail_if_only_it_does_tls_and_tls_is_wanted(site, strictness):
    site.want(strictness)
    site.mx(ONE, TWO)
    first, second = site.server(ONE, cert=None), site.server(TWO, host="m2.example")
    run = site.run()
    if strictness == 0:
        check_delivery(run, NOT_OFFERED, 0, first)
        assert second.connections == 0
    else:
        check_delivery(run, IN_TLS, strictness, second, name="m2.example")
        got_nothing(first)


@each_strictness
def test_the_better_host_gets_the_mail_if_it_does_tls(site, strictness):
    site.want(strictness)
    site.mx(ONE, TWO)
    first, second = site.server(ONE), site.server(TWO, cert=None)
    check_delivery(site.run(), IN_TLS, strictness, first)
    assert second.connections == 0


@pytest.mark.parametrize("strictness", [1, 2])
def test_of_equal_hosts_the_one_that_does_tls_gets_all_mail(site, strictness):
    """In whatever order they are tried."""
    site.want(strictness)
    site.dns.zone(f"dst.example MX 5 m1.example.\ndst.example MX 5 m2.example.\n"
                  f"m1.example A {ONE}\nm2.example A {TWO}")
    plain, secret = site.server(ONE, cert=None), site.server(TWO, host="m2.example")
    for _ in range(6):
        assert site.run().letters == "rK"
    assert len(secret.mails) == 6
    got_nothing(plain, plain.connections)


@each_strictness
def test_clear_text_after_a_failed_handshake_is_for_that_host_alone(site, strictness):
    """The first host fails in the handshake and again in clear text; the second one does TLS."""
    site.want(strictness)
    site.mx(ONE, TWO)
    first = site.server(ONE, sessions=[dict(STARTTLS=("220 go", CLOSE)), dict(greeting="421 busy")])
    second = site.server(TWO, host="m2.example")
    run = site.run()
    check(run, "r", accepted(TWO))
    assert first.connections == (2 if strictness == 0 else 1)
    got_secret(second)


def test_there_is_no_third_connection_when_clear_text_fails_too(site):
    site.want(0)
    site.mx(ONE)
    server = site.server(STARTTLS=("220 go", CLOSE), MAIL=CLOSE)
    run = site.run()
    assert run.letters == "Z" and b"connection died" in run.message.first
    assert server.connections == 2


@each_strictness
def test_tls_that_one_connection_offers_and_the_next_does_not_is_no_tls(site, strictness):
    """Both ways."""
    site.want(strictness)
    site.mx(ONE, TWO)
    offers, hides = dict(STARTTLS=("220 go", CLOSE)), dict(EHLO="250 hi")
    first = site.server(ONE, sessions=[offers, hides, offers])
    second = site.server(TWO, sessions=[hides, offers, hides])
    run = site.run()
    if strictness == 2:
        site.deferred(run, f"Connected to {TWO} {NOT_OFFERED_SENTENCE}")
        assert (first.connections, second.connections) == (1, 1)
    else:
        check(run, "r", accepted(ONE))
        got_clear(first, 2)
        assert second.connections == (0 if strictness == 0 else 1)


@pytest.mark.timed
@pytest.mark.parametrize("strictness", [1, 2])
def test_a_handshake_that_times_out_leads_to_the_next_host_and_not_into_tcpto(site, strictness):
    """It is no time-out of a connection."""
    site.want(strictness)
    site.home.control("timeoutconnect", "1\n")
    site.mx(f"{SIX} {ONE}", TWO)
    six, one = (site.server(a, STARTTLS=("220 go", DEAF)) for a in (SIX, ONE))
    two = site.server(TWO, host="m2.example")
    run = site.run()
    check(run, "r", accepted(TWO))
    got_secret(two)
    assert run.lasted(4, least=2) and (six.connections, one.connections) == (1, 1)
    with open(site.home.tcpto_path, "rb") as f:
        assert f.read() == b"\0" * 1024


@pytest.mark.timed
def test_an_ipv6_address_that_is_dead_does_not_hold_up_tls_over_ipv4(site):
    site.want(2)
    site.mx(f"2001:db8:dead::1 {ONE}")
    server = site.server()
    run = site.run()
    check_delivery(run, IN_TLS, 2, server)
    assert run.lasted(2.5)


@pytest.mark.parametrize("strictness", [0, 2])
def test_tls_over_ipv6_is_used(site, strictness):
    site.want(strictness)
    site.mx(SIX)
    server = site.server(SIX)
    check_delivery(site.run(), IN_TLS, strictness, server)


def test_names_and_fallbacks_of_five_hosts_do_not_mix(site):
    site.want(2)
    site.mx(*(f"192.0.2.{n}" for n in range(1, 6)))
    site.server("192.0.2.1", cert="untrusted")
    site.server("192.0.2.2", host="m1.example")
    site.server("192.0.2.3", cert=None)
    site.server("192.0.2.4", STARTTLS="454 no")
    last = site.server("192.0.2.5", host="m5.example")
    run = site.run()
    check_delivery(run, IN_TLS, 2, last, name="m5.example")
    told_nothing(*site.sessions)
    assert [s.tls["sni"] for s in site.sessions if s.tls] == ["m5.example"]


def test_the_report_is_of_the_last_server_that_replied(site):
    site.want(2)
    site.mx(ONE, TWO, "192.0.2.99", THREE)
    site.server(ONE, cert="wrong-name")
    site.server(TWO, STARTTLS="454-busy\n454 later")
    site.server(THREE, greeting=CLOSE)
    site.deferred(site.run(), f"Connected to {TWO} {REFUSED_SENTENCE}", said="454-busy\n454 later")


def test_an_address_is_tried_under_each_of_its_names(site):
    """It is the name that is verified."""
    site.want(2)
    site.mx(ONE, ONE)
    server = site.server(ONE, host="m2.example")
    run = site.run()
    check(run, "r", accepted(ONE))
    assert tls_line(run) == verified("m2.example")
    assert len(site.sessions) == 2 and len(server.mails) == 1


def test_a_host_that_nobody_answers_for_is_no_failure_of_tls(site):
    site.want(2)
    site.mx("192.0.2.98")
    check(site.run(), NO_CONNECTION)


# Where TLS is not wanted.

@pytest.mark.parametrize("strictness", [0, 2])
@pytest.mark.parametrize("text", [None, "", "\n", " \t\n", "\n/srv/pki/anchors.pem\n"])
def test_without_anchors_starttls_is_not_tried(site, strictness, text):
    server = site.one(strictness)
    site.home.control("trustanchors", text)
    run = site.run()
    check(run, "r", accepted(ONE))
    got_clear(server, 1)
    assert "STARTTLS" not in server.session.verbs and tls_line(run) is None


@pytest.mark.parametrize("text, means", [
    (None, 0), ("", 0), ("\n", 0), ("0\n", 0), ("1\n", 1), ("2\n", 2), ("2", 2), ("2 \n", 2), ("02\n", 2),
    ("3\n", 2), ("99999999999999999999\n", 2), ("2x\n", 2),
])
def test_the_number_in_tlsstrictness_counts_and_more_than_2_is_2(site, text, means):
    server = site.one(means, EHLO="250 hi")
    site.home.control("tlsstrictness", text)
    run = site.run()
    if means == 2:
        site.deferred(run, f"Connected to {ONE} {NOT_OFFERED_SENTENCE}")
    else:
        check(run, "r", accepted(ONE))
        got_clear(server, means + 1)


# The last line of the report.

def test_the_report_of_a_delivery_in_tls_is_this_to_the_byte(site):
    site.one(2)
    report = site.run().report.replace(b"X25519MLKEM768", b"X25519")
    assert report == (b"r\0K192.0.2.1 accepted message.\nRemote host said: 250 got it\nServer: m1.example\n"
                      b"TLS: TLSv1.3 TLS_AES_256_GCM_SHA384 X25519, certificate verified for m1.example\n\0")


def test_the_line_on_tls_is_in_the_message_record_alone(site):
    site.one(0, RCPT=["250 ok", "550 no", "450 no", "250 ok"])
    run = site.run(recipients=[f"u{n}@dst.example" for n in range(4)])
    assert run.letters == "rhsrK" and tls_line(run) == NOT_VERIFIED
    assert run.message.first == b"192.0.2.1 accepted message."


def test_a_reply_that_looks_like_the_line_on_tls_does_not_pass_for_it(site):
    site.one(0, END="250-ok\n250 TLS: TLSv1.3 X, certificate verified for you")
    run = site.run()
    assert tls_line(run) == NOT_VERIFIED and run.letters == "rK"


# SNI.

@pytest.mark.parametrize("strictness", [0, 2])
@pytest.mark.parametrize("how, sni", [
    ("mx", "m1.example"), ("mx-upper", "m1.example"), ("implicit", "dst.example"), ("relay", "m1.example"),
    ("relay-dot", "m1.example"), ("alias", "m1.example"), ("literal", None), ("literal6", None),
    ("relay-literal", None), ("relay-literal6", None),
])
def test_the_server_name_sent_is_the_one_that_the_certificate_must_have(site, strictness, how, sni):
    """An address is never sent."""
    address = SIX if how.endswith("6") else ONE
    site.want(strictness)
    host = "dst.example"
    if how in ("mx", "mx-upper"):
        site.dns.zone(f"dst.example MX 1 {'M1.Example' if how == 'mx-upper' else 'm1.example'}.\nm1.example A {ONE}")
    elif how == "alias":
        site.dns.zone(f"dst.example MX 1 m1.example.\nm1.example CNAME real.example.\nreal.example A {ONE}")
    elif how == "implicit":
        site.dns.zone(f"dst.example A {ONE}")
    elif how in ("relay", "relay-dot"):
        site.dns.zone(f"m1.example A {ONE}")
        site.home.route(":m1.example." if how == "relay-dot" else ":m1.example")
    elif how == "literal":
        host = f"[{ONE}]"
    elif how == "literal6":
        host = f"[IPv6:{SIX}]"
    else:
        site.home.route(f":[{address}]")
    names = [sni] if sni else []
    server = site.server(address, cert=site.leaf(names=names, addresses=[] if sni else [address]))
    run = site.run(host=host, recipients=[f"b@{host}"])
    check(run, "r", accepted(address))
    said = (server.session.tls["sni"] or "").lower()
    assert said == (sni or "")
    if strictness == 2:
        assert tls_line(run).lower() == verified(sni or address).lower()


@each_strictness
def test_a_host_name_that_no_certificate_can_have_leads_to_the_next_host(site, strictness):
    """As any other failure of TLS, where a name must be verified."""
    site.want(strictness)
    site.dns.zone("dst.example MX 5 a/b.example.\na/b.example A 192.0.2.9")
    site.mx()
    odd, good = site.server("192.0.2.9"), site.server()
    run = site.run()
    check(run, "r", accepted("192.0.2.1" if strictness == 2 else "192.0.2.9"))
    odd.settle()
    good.settle()
    assert odd.connections == 1 and good.connections == (strictness == 2)


def test_there_is_no_fourth_connection_when_starttls_and_ehlo_and_helo_fail(site):
    server = site.one(0, sessions=[dict(STARTTLS=("220 go", CLOSE)), dict(EHLO=CLOSE), dict(HELO=CLOSE)])
    assert site.run().letters == "Z"
    assert [s.verbs for s in server.sessions] == [["EHLO", "STARTTLS"], ["EHLO"], ["HELO"]]


# The line that tells of TLS, and the one with the server's name.

BROKEN_TLS = dict(STARTTLS=("220 go", CLOSE))
SENT_IN_CLEAR = "handshake failed (connection closed), sent in clear text"


@pytest.mark.parametrize("letters, script", [
    ("rK", {}), ("Z", dict(MAIL="450 no")), ("hD", dict(RCPT="550 no")), ("Z", dict(MAIL=CLOSE)),
    ("rZ", dict(DATA="451 no")), ("rD", dict(END="554 no")), ("rZ", dict(END=CLOSE)),
], ids=["K", "Z-MAIL", "D-RCPT", "Z-died", "Z-DATA", "D-END", "Z-doubt"])
def test_a_handshake_that_failed_is_told_whatever_became_of_the_mail(site, letters, script):
    site.one(0, sessions=[BROKEN_TLS, script])
    run = site.run()
    assert run.letters == letters and tls_line(run) == SENT_IN_CLEAR, run
    assert server_line(run) == "m1.example"


@pytest.mark.parametrize("script", [dict(greeting="421 busy"), dict(EHLO="421 busy")], ids=["greeting", "EHLO"])
def test_nothing_is_said_to_have_been_sent_in_clear_text_if_nothing_was(site, script):
    site.one(0, sessions=[BROKEN_TLS, script])
    run = site.run()
    assert run.letters == "Z" and tls_line(run) == "handshake failed (connection closed)", run
    assert server_line(run) == "m1.example"


def test_the_name_of_an_mx_host_or_relay_is_shown_but_none_for_an_address(site):
    site.one(0)
    assert server_line(site.run()) == "m1.example"
    site.home.route(":m1.example")
    assert server_line(site.run()) == "m1.example"
    site.home.route(f":[{ONE}]")
    assert server_line(site.run()) is None
    site.home.route("")
    assert server_line(site.run(host=f"[{ONE}]")) is None


@pytest.mark.parametrize("script", [dict(greeting="554 no"), dict(greeting=CLOSE), dict(EHLO="421 busy")],
                         ids=["greeting", "silent", "EHLO"])
def test_the_name_of_a_server_that_failed_before_mail_is_shown(site, script):
    site.one(0, **script)
    run = site.run()
    assert run.letters == "Z" and server_line(run) == "m1.example", run


def test_the_name_shown_is_that_of_the_server_that_took_the_mail(site):
    site.want(0)
    site.mx(ONE, TWO)
    site.server(ONE, greeting="421 busy")
    site.server(TWO, host="m2.example")
    assert server_line(site.run()) == "m2.example"
