"""STARTTLS: what each strictness makes of each server."""

import ssl

import pytest

import pki
from expect import NO_CONNECTION, accepted, check
from smtpd import CLOSE, CLOSE_NOTIFY, DEAF, RESET, TLS, Drip, Plain, Read
from tlssite import NOT_VERIFIED, V10, V12, V13, gone, server_line, tls_line, told_nothing, verified

ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"
SIX = "2001:db8::1"

HELLO = Read(5)     # the head of a TLS record: the client has begun its handshake

V1_0, V1_2, V1_3 = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

NOT_OFFERED = "but it does not offer STARTTLS. (#4.7.4)"
REFUSED = "but STARTTLS was refused. (#4.7.4)"
FAILED = "but TLS failed. (#4.7.5)"
DIED = "but connection died. (#4.4.2)"
NAME = "but my name was rejected."

LATE = "the connection died after the handshake"


class Cell:
    """A server's behaviour, and what becomes of the mail at strictness 0, 1 and 2.

    tls     it is delivered in TLS, in the first connection
    same    it is delivered in clear text, in the first connection
    again   it is delivered in clear text, in a second connection
    next    the server is given up

    `reason` is how the last line of the report begins where TLS came to nothing and the mail went in clear text
    at strictness 0.
    """

    def __init__(self, outcomes, sentence=None, *, tls=None, said=None, cert="good", version=None,
                 client=False, version_said=V13, stalls=False, reason=None, **script):
        self.outcomes = outcomes.split()
        self.reason = reason
        self.sentence, self.tls, self.said = sentence, tls, said
        self.cert, self.version, self.client = cert, version, client
        self.version_said = version_said
        self.stalls = stalls
        self.script = script

    def server(self, site, address=ONE):
        context = None
        if self.cert is not None:
            low, high = self.version or (V1_2, V1_3)
            context = site.certs.context(self.cert, minimum=low, maximum=high, want_client=self.client)
        if self.stalls:
            site.home.control("timeoutconnect", "1\n")
            site.home.control("timeoutremote", "1\n")
        return site.server(address, cert=None, context=context, **self.script)


def refused(reply, outcomes="same again next"):
    return Cell(outcomes, REFUSED, said=reply, STARTTLS=reply, reason=f"STARTTLS refused ({reply[:3]})")


def nonsense(reply):
    """STARTTLS, and something that is no reply."""
    return Cell("again again next", REFUSED, STARTTLS=reply, reason="no valid reply to STARTTLS")


def ended(*step, stalls=False):
    """STARTTLS, no reply that counts, and the end."""
    return Cell("again again next", DIED, STARTTLS=step, stalls=stalls, reason="no reply to STARTTLS")


def broken(*step, tls=None, stalls=False, **how):
    """220, and no handshake."""
    return Cell("again again next", FAILED, tls=tls, STARTTLS=("220 go", *step), stalls=stalls,
                reason=f"handshake failed ({tls or ''}", **how)


def late(*step, tls=LATE, **how):
    """A handshake, and no reply in TLS."""
    return Cell("again again next", FAILED, tls=tls, STARTTLS=("220 go", TLS, *step),
                reason=f"handshake failed ({tls}", **how)


def unwelcome(said, reason, **script):
    """A session, and EHLO is refused in it."""
    return Cell("again again next", NAME, said=said, reason=f"{reason} after the handshake", **script)


CELLS = {
    # TLS is there.
    "offered": Cell("tls tls tls"),
    "lower-case": Cell("tls tls tls", EHLO=["250-hi\n250 starttls", "250 hi"]),
    "long-220": Cell("tls tls tls", STARTTLS=("220-go\n220-on\n220 now", TLS)),
    "tls-1.2": Cell("tls tls tls", version=(V1_2, V1_2), version_said=V12),
    "tls-1.3": Cell("tls tls tls", version=(V1_3, V1_3)),
    "helo-in-tls": Cell("tls tls tls", EHLO=["250-hi\n250 STARTTLS", "500 what"]),
    "bare-ehlo-in-tls": Cell("tls tls tls", EHLO=["250-hi\n250 STARTTLS", "250 ok"]),

    # Only whoever wants proof minds.
    "untrusted": Cell("tls tls next", FAILED, tls="certificate verify failed: ", cert="untrusted"),
    "wrong-name": Cell("tls tls next", FAILED, tls="certificate verify failed: name mismatch", cert="wrong-name"),
    "tls-1.2-untrusted": Cell("tls tls next", FAILED, tls="certificate verify failed: ", cert="untrusted",
                              version=(V1_2, V1_2), version_said=V12),
    "tls-1.2-wrong-name": Cell("tls tls next", FAILED, tls="certificate verify failed: name mismatch",
                               cert="wrong-name", version=(V1_2, V1_2), version_said=V12),

    # Not offered.
    "not-offered": Cell("same again next", NOT_OFFERED, cert=None),
    "other-words": Cell("same again next", NOT_OFFERED, cert=None,
                        EHLO="250-STARTTLS\n250-STARTTLSX\n250-XSTARTTLS\n250-STARTTLS=1\n250-X STARTTLS\n250 TLS"),
    "helo-only": Cell("same again next", NAME, said="500 what", cert=None, EHLO="500 what"),

    # Refused.
    "454": refused("454 no"),
    "450": refused("450 no"),
    "500": refused("500 what"),
    "501": refused("501 no"),
    "502": refused("502 what"),
    "530": refused("530 no"),
    "550-lines": refused("550-no\n550 never"),
    "554": refused("554 no", "again again next"),
    "554-closed": Cell("again again next", REFUSED, said="554 no", STARTTLS=("554 no", CLOSE),
                       reason="STARTTLS refused (554)"),
    "421": refused("421 busy", "again again next"),
    "421-closed": Cell("again again next", REFUSED, said="421 busy", STARTTLS=("421 busy", CLOSE),
                       reason="STARTTLS refused (421)"),

    # Neither refused nor accepted.
    "200": refused("200 ok", "again again next"),
    "221": refused("221 go", "again again next"),
    "250": refused("250 go", "again again next"),
    "299": refused("299 go", "again again next"),
    "334": refused("334 go", "again again next"),
    "354": refused("354 go", "again again next"),
    "no-reply": ended(b"hello\r\n", stalls=True),
    "no-code": ended(b"22 go\r\n", stalls=True),
    "four-digits": nonsense(b"2200 go\r\n"),
    "mixed": nonsense(b"220-go\r\n250 go\r\n"),
    "closed": ended(CLOSE),
    "reset": ended(RESET),
    "half-closed": ended(b"220 g", CLOSE),
    "silent": ended(DEAF, stalls=True),

    # Accepted, and no handshake.
    "220-closed": broken(CLOSE, tls="connection closed"),
    "220-reset": broken(RESET),
    "220-silent": broken(DEAF, tls="timed out", stalls=True),
    "220-dripping": broken(HELLO, Drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f" + b"\0" * 100, 0.15), DEAF,
                           tls="timed out", stalls=True),
    "hello-closed": broken(HELLO, CLOSE),
    "hello-reset": broken(HELLO, RESET),
    "hello-silent": broken(HELLO, DEAF, tls="timed out", stalls=True),
    "hello-garbage": broken(HELLO, b"garbage\r\n" * 10, CLOSE),
    "hello-reply": broken(HELLO, b"500 what is this\r\n", CLOSE),
    "hello-zeros": broken(HELLO, b"\0" * 100, CLOSE),
    "hello-ssl2": broken(HELLO, b"\x80\x2e\x04\x00\x01\x00\x02" + b"x" * 100, CLOSE),
    "hello-alert": broken(HELLO, b"\x15\x03\x03\x00\x02\x02\x28", CLOSE, tls="the server says: handshake failure"),
    "hello-alert-name": broken(HELLO, b"\x15\x03\x03\x00\x02\x02\x70", CLOSE),
    "hello-early-data": broken(HELLO, b"\x17\x03\x03\x00\x08250 ok\r\n", CLOSE),
    "hello-huge-record": broken(HELLO, b"\x16\x03\x03\xff\xff" + b"x" * 70000, CLOSE),
    "tls-1.0": Cell("tls again next", FAILED, tls="no TLS version in common", version=(V1_0, V1_0), version_said=V10),
    "tls-1.2-demands-certificate": broken(TLS, client=True, version=(V1_2, V1_2)),

    # A handshake, and then no session.
    "demands-certificate": late(client=True),
    "tls-closed": late(CLOSE),
    "tls-reset": late(RESET),
    "tls-close-notify": late(CLOSE_NOTIFY, CLOSE),
    "tls-plaintext": late(Plain(b"250 in clear text\r\n"), DEAF),
    "tls-ehlo-closed": late(EHLO=["250-hi\n250 STARTTLS", CLOSE]),
    "tls-ehlo-half": late(EHLO=["250-hi\n250 STARTTLS", (b"250-hi\r\n250 o", CLOSE_NOTIFY, CLOSE)]),
    "tls-ehlo-plaintext": late(EHLO=["250-hi\n250 STARTTLS", (Plain(b"250 in clear text\r\n"), DEAF)]),
    "tls-ehlo-silent": late(EHLO=["250-hi\n250 STARTTLS", DEAF], stalls=True,
                            tls="no reply to EHLO after the handshake"),

    # A session, and no welcome.
    "tls-ehlo-421": unwelcome("421 busy", "EHLO refused", EHLO=["250-hi\n250 STARTTLS", "421 busy"]),
    "tls-ehlo-450-helo": Cell("tls tls tls", EHLO=["250-hi\n250 STARTTLS", "450 no"]),
    "tls-helo-450": unwelcome("450 no", "EHLO refused", HELO="450 no", EHLO=["250-hi\n250 STARTTLS", "450 no"]),
    "tls-helo-550": unwelcome("550 no", "EHLO refused", HELO="550 no", EHLO=["250-hi\n250 STARTTLS", "500 what"]),
    "tls-ehlo-554-closed": late(EHLO=["250-hi\n250 STARTTLS", ("554 no", CLOSE)]),
    "tls-ehlo-mixed": unwelcome("250-hi\n550 no", "no valid reply to EHLO",
                                EHLO=["250-hi\n250 STARTTLS", b"250-hi\r\n550 no\r\n"]),
}


def each_cell(test):
    test = pytest.mark.parametrize("strictness", [0, 1, 2])(test)
    return pytest.mark.parametrize("case", CELLS)(test)


def got_clear(server, connections):
    """The mail came in clear text, in the last of so many connections; TLS was not tried in that one."""
    assert server.connections == connections and len(server.mails) == 1
    *before, last = server.sessions
    told_nothing(*before)
    assert last.mails and not last.tls and not last.secret
    if before:
        assert "STARTTLS" not in last.verbs


def got_secret(server, connections=1):
    assert server.connections == connections and len(server.mails) == 1
    told_nothing(*server.sessions)
    last = server.sessions[-1]
    assert last.tls and last.mails and last.log.endswith(b"STARTTLS\r\n")
    assert last.verbs[-1] == "QUIT" and last.end == "fin"


def got_nothing(server):
    told_nothing(*server.sessions)
    assert not any(s.mails for s in server.sessions)
    for session in server.sessions:
        assert not {"MAIL", "RCPT", "DATA"} & set(session.verbs)


def expect_delivery(run, server, cell, strictness, outcome):
    check(run, "r", accepted(server.address))
    if outcome == "tls":
        got_secret(server)
        assert tls_line(run) == cell.version_said + ("verified for m1.example" if strictness == 2 else "not verified")
    else:
        got_clear(server, 2 if outcome == "again" else 1)
        if strictness == 0 and cell.reason:
            assert tls_line(run).startswith(cell.reason) and tls_line(run).endswith(", sent in clear text"), run
        else:
            assert tls_line(run) is None


@each_cell
def test_one_host(site, case, strictness):
    cell = CELLS[case]
    outcome = cell.outcomes[strictness]
    site.want(strictness)
    site.mx()
    server = cell.server(site)
    run = site.run()
    if outcome == "next":
        sentence = f"Connected to {ONE} {cell.sentence}"
        if cell.said:
            site.deferred(run, sentence, cell.tls, cell.said)
        else:
            assert run.letters == "Z" and run.message.first == sentence.encode(), run
            assert cell.tls is None or tls_line(run).startswith(cell.tls), run
        assert server.connections == 1
        got_nothing(server)
    else:
        expect_delivery(run, server, cell, strictness, outcome)
    if cell.tls and "certificate verify" in cell.tls and strictness == 2:
        assert server.session.secret == b""
    # A time-out that is not expected takes longer.
    assert run.wall < 15
    gone()


@each_cell
def test_better_of_two_hosts(site, case, strictness):
    """What the first host cannot do the second does, where that is demanded."""
    cell = CELLS[case]
    outcome = cell.outcomes[strictness]
    site.want(strictness)
    site.mx(ONE, TWO)
    first, second = cell.server(site, ONE), site.server(TWO, host="m2.example")
    run = site.run()
    if strictness > 0 and outcome != "tls":
        outcome = "next"
    if outcome == "next":
        check(run, "r", accepted(TWO))
        got_secret(second)
        assert tls_line(run) == (verified("m2.example") if strictness == 2 else NOT_VERIFIED)
        assert first.connections == 1
        got_nothing(first)
    else:
        expect_delivery(run, first, cell, strictness, outcome)
        assert second.connections == 0


@pytest.mark.parametrize("case", [name for name, cell in CELLS.items() if cell.outcomes[2] == "next"])
def test_demanded_of_ipv6_then_ipv4(site, case):
    """Both addresses of one host; the first is no good for a verified session, the second is."""
    cell = CELLS[case]
    site.want(2)
    site.mx(f"{SIX} {TWO}")
    first, second = cell.server(site, SIX), site.server(TWO)
    run = site.run()
    check(run, "r", accepted(TWO))
    got_secret(second)
    got_nothing(first)
    assert tls_line(run) == verified("m1.example") and first.connections == 1


# Several hosts.

WITHOUT = [name for name, cell in CELLS.items() if cell.outcomes[1] == "again" and not cell.stalls]


@pytest.mark.parametrize("case", WITHOUT)
def test_starting_over(site, case):
    """Strictness 1, and no host does TLS: the best one again, in clear text."""
    site.want(1)
    site.mx(ONE, TWO)
    first, second = CELLS[case].server(site, ONE), CELLS[case].server(site, TWO)
    run = site.run()
    check(run, "r", accepted(ONE))
    got_clear(first, 2)
    got_nothing(second)
    assert second.connections == 1 and tls_line(run) is None


def test_starting_over_from_one_to_the_next(site):
    """The second round takes what it can get too."""
    site.want(1)
    site.mx(ONE, TWO, THREE)
    one = site.server(ONE, cert=None, sessions=[{}, dict(greeting="421 busy")])
    two = site.server(TWO, cert=None, sessions=[{}, dict(greeting=CLOSE)])
    three = site.server(THREE, STARTTLS="454 no")
    check(site.run(), "r", accepted(THREE))
    assert [s.connections for s in (one, two, three)] == [2, 2, 2]
    got_nothing(one)
    got_nothing(two)
    got_clear(three, 2)


@pytest.mark.parametrize("strictness, connections", [(1, 2), (2, 1)])
def test_starting_over_only_once(site, strictness, connections):
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
def test_starting_over_leaves_out_the_dead(site, case):
    """Only hosts that failed for want of TLS are asked again."""
    site.want(1)
    site.mx(ONE, TWO)
    first, second = site.server(ONE, **DEAD[case]), site.server(TWO, cert=None)
    run = site.run()
    check(run, "r", accepted(TWO))
    assert first.connections == 1
    got_nothing(first)
    got_clear(second, 2)


def test_starting_over_after_hosts_that_cannot_be_reached(site):
    site.want(1)
    site.mx("192.0.2.99", "198.18.0.1", ONE)
    server = site.server(cert=None)
    check(site.run(), "r", accepted(ONE))
    got_clear(server, 2)


def test_no_starting_over_for_the_dead_alone(site):
    site.want(1)
    site.mx(ONE)
    server = site.server(greeting="421 busy")
    assert site.run().letters == "Z"
    assert server.connections == 1


@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_offered_by_the_worse_host_only(site, strictness):
    site.want(strictness)
    site.mx(ONE, TWO)
    first, second = site.server(ONE, cert=None), site.server(TWO, host="m2.example")
    run = site.run()
    if strictness == 0:
        check(run, "r", accepted(ONE))
        got_clear(first, 1)
        assert second.connections == 0
    else:
        check(run, "r", accepted(TWO))
        got_secret(second)
        got_nothing(first)


@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_offered_by_the_better_host_only(site, strictness):
    site.want(strictness)
    site.mx(ONE, TWO)
    first, second = site.server(ONE), site.server(TWO, cert=None)
    check(site.run(), "r", accepted(ONE))
    got_secret(first)
    assert second.connections == 0


@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_equal_hosts_one_offers(site, strictness):
    """In whatever order they are tried."""
    site.want(strictness)
    site.dns.zone(f"dst.example MX 5 m1.example.\ndst.example MX 5 m2.example.\n"
                  f"m1.example A {ONE}\nm2.example A {TWO}")
    plain, secret = site.server(ONE, cert=None), site.server(TWO, host="m2.example")
    for _ in range(6):
        assert site.run().letters == "rK"
    if strictness:
        assert len(secret.mails) == 6
        got_nothing(plain)


@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_fallback_for_one_host_is_not_for_the_next(site, strictness):
    """The first host fails in the handshake and again in clear text; the second one does TLS."""
    site.want(strictness)
    site.mx(ONE, TWO)
    first = site.server(ONE, sessions=[dict(STARTTLS=("220 go", CLOSE)), dict(greeting="421 busy")])
    second = site.server(TWO, host="m2.example")
    run = site.run()
    check(run, "r", accepted(TWO))
    assert first.connections == (2 if strictness == 0 else 1)
    got_secret(second)


def test_clear_text_only_once(site):
    """Strictness 0: not a third connection."""
    site.want(0)
    site.mx(ONE)
    server = site.server(STARTTLS=("220 go", CLOSE), MAIL=CLOSE)
    run = site.run()
    assert run.letters == "Z" and b"connection died" in run.message.first
    assert server.connections == 2


@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_flapping(site, strictness):
    """Offered in one connection and not in the other, both ways."""
    site.want(strictness)
    site.mx(ONE, TWO)
    offers, hides = dict(STARTTLS=("220 go", CLOSE)), dict(EHLO="250 hi")
    first = site.server(ONE, sessions=[offers, hides, offers])
    second = site.server(TWO, sessions=[hides, offers, hides])
    run = site.run()
    if strictness == 2:
        site.deferred(run, f"Connected to {TWO} {NOT_OFFERED}")
        assert (first.connections, second.connections) == (1, 1)
    else:
        check(run, "r", accepted(ONE))
        got_clear(first, 2)
        assert second.connections == (0 if strictness == 0 else 1)


@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_flapping_between_deliveries(site, strictness):
    """What was learnt of a server in one delivery means nothing in the next."""
    server = site.one(strictness, sessions=[{}, dict(EHLO="250 hi"), dict(EHLO="250 hi")])
    first, second = site.run(), site.run()
    assert first.letters == "rK" and tls_line(first)
    if strictness == 2:
        assert second.letters == "Z" and len(server.mails) == 1
    else:
        assert second.letters == "rK" and not tls_line(second)


@pytest.mark.timed
@pytest.mark.parametrize("strictness", [1, 2])
def test_handshake_time_out_then_the_next_host(site, strictness):
    """A time-out in the handshake is no time-out of a connection: the table of those does not have it."""
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
@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_dead_ipv6_then_tls(site, strictness):
    site.want(strictness)
    site.mx(f"2001:db8:dead::1 {ONE}")
    server = site.server()
    run = site.run()
    check(run, "r", accepted(ONE))
    got_secret(server)
    assert run.lasted(2.5)


@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_over_ipv6(site, strictness):
    site.want(strictness)
    site.mx(SIX)
    server = site.server(SIX)
    run = site.run()
    check(run, "r", accepted(SIX))
    got_secret(server)
    assert tls_line(run) == (verified("m1.example") if strictness == 2 else NOT_VERIFIED)


def test_policy_is_made_anew_for_each_host(site):
    """Names, addresses and fallbacks of five hosts do not mix."""
    site.want(2)
    site.mx(*(f"192.0.2.{n}" for n in range(1, 6)))
    site.server("192.0.2.1", cert="untrusted")
    site.server("192.0.2.2", host="m1.example")
    site.server("192.0.2.3", cert=None)
    site.server("192.0.2.4", STARTTLS="454 no")
    last = site.server("192.0.2.5", host="m5.example")
    run = site.run()
    check(run, "r", accepted("192.0.2.5"))
    assert tls_line(run) == verified("m5.example")
    got_secret(last)
    told_nothing(*site.sessions)
    assert [s.tls["sni"] for s in site.sessions if s.tls] == ["m5.example"]


def test_report_is_of_the_last_that_spoke(site):
    site.want(2)
    site.mx(ONE, TWO, "192.0.2.99", THREE)
    site.server(ONE, cert="wrong-name")
    site.server(TWO, STARTTLS="454-busy\n454 later")
    site.server(THREE, greeting=CLOSE)
    site.deferred(site.run(), f"Connected to {TWO} {REFUSED}", said="454-busy\n454 later")


def test_same_address_by_another_name(site):
    """It is the name that is verified: an address that several hosts share has several chances."""
    site.want(2)
    site.mx(ONE, ONE)
    server = site.server(ONE, host="m2.example")
    run = site.run()
    check(run, "r", accepted(ONE))
    assert tls_line(run) == verified("m2.example")
    assert len(site.sessions) == 2 and len(server.mails) == 1


def test_nobody_answers(site):
    site.want(2)
    site.mx("192.0.2.98")
    check(site.run(), NO_CONNECTION)


# Where TLS is not wanted.

@pytest.mark.parametrize("strictness", [0, 1, 2])
@pytest.mark.parametrize("text", [None, "", "\n", " \t\n", "\n/srv/pki/anchors.pem\n"])
def test_no_anchors_no_tls(site, strictness, text):
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
def test_strictness_text(site, text, means):
    server = site.one(means, EHLO="250 hi")
    site.home.control("tlsstrictness", text)
    run = site.run()
    if means == 2:
        site.deferred(run, f"Connected to {ONE} {NOT_OFFERED}")
    else:
        check(run, "r", accepted(ONE))
        got_clear(server, means + 1)


@pytest.mark.parametrize("text", ["x\n", "-1\n", "yes\n", "verify\n", " 2\n", "\0\n"])
def test_strictness_nonsense_is_not_clear_text(site, text):
    server = site.one(2)
    site.home.control("tlsstrictness", text)
    run = site.run()
    assert run.letters == "Z" and b"Unable to read control files. (#4.3.0)" in run.message.first
    assert server.connections == 0


# The last line of the report.

def test_line_of_success(site):
    site.one(2)
    report = site.run().report.replace(b"X25519MLKEM768", b"X25519")
    assert report == (b"r\0K192.0.2.1 accepted message.\nRemote host said: 250 got it\nServer: m1.example\n"
                      b"TLS: TLSv1.3 TLS_AES_256_GCM_SHA384 X25519, certificate verified for m1.example\n\0")


AFTER = {
    "mail-450": (dict(MAIL="450 no"), "Z"),
    "mail-550": (dict(MAIL="550 no"), "D"),
    "mail-closed": (dict(MAIL=CLOSE), "Z"),
    "mail-no-reply": (dict(MAIL=b"hello\r\n"), "Z"),
    "rcpt-450": (dict(RCPT="450 no"), "sD"),
    "rcpt-550": (dict(RCPT="550 no"), "hD"),
    "rcpt-closed": (dict(RCPT=CLOSE), "Z"),
    "data-451": (dict(DATA="451 no"), "rZ"),
    "data-554": (dict(DATA="554 no"), "rD"),
    "data-reset": (dict(DATA=RESET), "rZ"),
    "end-451": (dict(END="451 no"), "rZ"),
    "end-554": (dict(END="554-no\n554 never"), "rD"),
    "end-closed": (dict(END=CLOSE), "rZ"),
    "end-reset": (dict(END=RESET), "rZ"),
    "accepted": ({}, "rK"),
    "long-reply": (dict(END=b"".join(b"554-" + b"x" * 90 + b"\r\n" for _ in range(80)) + b"554 x\r\n"), "rD"),
}


@pytest.mark.parametrize("strictness", [0, 2])
@pytest.mark.parametrize("case", AFTER)
def test_line_of_each_ending(site, case, strictness):
    """After MAIL no other server is tried and no clear text, and the report tells of TLS."""
    script, letters = AFTER[case]
    site.want(strictness)
    site.mx(ONE, TWO)
    first, second = site.server(ONE, **script), site.server(TWO, host="m2.example")
    run = site.run()
    assert run.letters == letters, run
    assert tls_line(run) == (verified("m1.example") if strictness == 2 else NOT_VERIFIED)
    assert first.connections == 1 and second.connections == 0
    told_nothing(*site.sessions)


def test_line_with_several_recipients(site):
    """It belongs to the message record alone."""
    site.one(0, RCPT=["250 ok", "550 no", "450 no", "250 ok"])
    run = site.run(recipients=[f"u{n}@dst.example" for n in range(4)])
    assert run.letters == "rhsrK" and tls_line(run) == NOT_VERIFIED
    assert run.message.first == b"192.0.2.1 accepted message."


def test_reply_that_looks_like_the_line(site):
    """What a server says cannot pass for our own word at the end."""
    site.one(0, END="250-ok\n250 TLS: TLSv1.3 X, certificate verified for you")
    run = site.run()
    assert tls_line(run) == NOT_VERIFIED and run.letters == "rK"


def test_certificate_text_is_not_shown(site):
    """A certificate says what it likes; the framing of the report stays."""
    name = "evil\n\0KOK\r\nTLS: verified"
    leaf = pki.make(name, names=["x.example"])
    site.want(2)
    site.mx()
    site.server(cert=leaf)
    run = site.run()
    assert run.letters == "Z" and b"KOK" not in run.report
    assert tls_line(run).startswith("certificate verify failed: ")


# SNI.

@pytest.mark.parametrize("strictness", [0, 1, 2])
@pytest.mark.parametrize("how, sni", [
    ("mx", "m1.example"), ("mx-upper", "m1.example"), ("implicit", "dst.example"), ("relay", "m1.example"),
    ("relay-dot", "m1.example"), ("alias", "m1.example"), ("literal", None), ("literal6", None),
    ("relay-literal", None), ("relay-literal6", None),
])
def test_server_name(site, strictness, how, sni):
    """The name that is sent is the one that the certificate must have; an address is never sent."""
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


@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_name_that_no_certificate_can_have(site, strictness):
    """It is the DNS's: the next host is tried as after any other failure of TLS."""
    site.want(strictness)
    site.dns.zone("dst.example MX 5 a/b.example.\na/b.example A 192.0.2.9")
    site.mx()
    odd, good = site.server("192.0.2.9"), site.server()
    run = site.run()
    check(run, "r", accepted("192.0.2.1" if strictness == 2 else "192.0.2.9"))
    odd.settle()
    good.settle()
    assert odd.connections == 1 and good.connections == (strictness == 2)


# EHLO is not what the server is used to.

NO_EHLO = {
    "closed": CLOSE,
    "reset": RESET,
    "451": "451 later",
    "500": "500 what",
    "554": "554 no",
    "554-closed": ("554 no", CLOSE),
    "220": "220 hi",
    "mixed": b"250-hi\r\n550 no\r\n",
    "half-closed": (b"250-hi\r\n250 o", CLOSE),
    "silent": DEAF,
}

# After these HELO is sent in the same connection.
IN_STEP = ("451", "500", "554", "220")


def hides(case):
    """No EHLO is possible, HELO is; and what the server would say to STARTTLS is not asked."""
    return dict(EHLO=NO_EHLO[case], cert=None)


def impatient(site, case):
    if case == "silent":
        site.home.control("timeoutremote", "1\n")


@pytest.mark.parametrize("case", NO_EHLO)
def test_helo_where_ehlo_fails(site, case):
    """A plain client would have got through, so it is what we are then; in clear text."""
    impatient(site, case)
    server = site.one(0, **hides(case))
    check(site.run(), "r", accepted())
    if case in IN_STEP:
        assert server.session.verbs[:2] == ["EHLO", "HELO"]
    else:
        assert [s.verbs[0] for s in server.sessions] == ["EHLO", "HELO"]


@pytest.mark.parametrize("strictness, connections", [(0, 1), (1, 1), (2, 1)])
def test_no_helo_after_421(site, strictness, connections):
    """A server that goes away is taken at its word."""
    server = site.one(strictness, EHLO="421 busy")
    run = site.run()
    check(run, ("Z", f"Connected to {ONE} {NAME}", "421 busy"))
    assert server.connections == connections and "HELO" not in server.session.verbs


@pytest.mark.parametrize("case", NO_EHLO)
def test_no_helo_where_tls_is_demanded(site, case):
    """Strictness 2: HELO knows no STARTTLS."""
    impatient(site, case)
    server = site.one(2, **hides(case))
    assert site.run().letters == "Z"
    assert server.connections == 1 and "HELO" not in server.session.verbs
    got_nothing(server)


@pytest.mark.parametrize("case", NO_EHLO)
def test_helo_in_the_second_pass(site, case):
    """Strictness 1: the next host is asked for TLS first; when it has none either, HELO will do."""
    impatient(site, case)
    site.want(1)
    site.mx(ONE, TWO)
    first, second = site.server(ONE, **hides(case)), site.server(TWO, cert=None)
    check(site.run(), "r", accepted(ONE))
    assert second.connections == 1
    got_nothing(second)
    assert "HELO" not in first.sessions[0].verbs and "HELO" in first.sessions[-1].verbs


@pytest.mark.parametrize("strictness", [0, 1])
def test_tls_of_the_next_host_before_helo(site, strictness):
    site.want(strictness)
    site.mx(ONE, TWO)
    first, second = site.server(ONE, **hides("closed")), site.server(TWO, host="m2.example")
    run = site.run()
    if strictness == 0:
        check(run, "r", accepted(ONE))
    else:
        check(run, "r", accepted(TWO))
        got_secret(second)
        got_nothing(first)


@pytest.mark.parametrize("helo, said", [(CLOSE, "554 go away"), (RESET, "554 go away"), ("550 no", "550 no")],
                         ids=["closed", "reset", "550"])
def test_words_of_the_refusal_stay(site, helo, said):
    """That HELO ends in a hang-up hides nothing of what was said to EHLO."""
    server = site.one(0, EHLO=("554 go away", CLOSE), HELO=helo, cert=None)
    run = site.run()
    check(run, ("Z", f"Connected to {ONE} {NAME}", said))
    assert server.connections == 2


def test_three_connections_at_most(site):
    """TLS comes to nothing, then EHLO does: clear text with HELO, and not a fourth one."""
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
def test_line_after_a_failed_handshake(site, letters, script):
    """The last one of the report, whatever became of the mail."""
    site.one(0, sessions=[BROKEN_TLS, script])
    run = site.run()
    assert run.letters == letters and tls_line(run) == SENT_IN_CLEAR, run
    assert server_line(run) == "m1.example"


@pytest.mark.parametrize("script", [dict(greeting="421 busy"), dict(EHLO="421 busy")], ids=["greeting", "EHLO"])
def test_line_of_a_server_that_then_was_no_good(site, script):
    """Nothing was sent, and nothing is said to have been."""
    site.one(0, sessions=[BROKEN_TLS, script])
    run = site.run()
    assert run.letters == "Z" and tls_line(run) == "handshake failed (connection closed)", run
    assert server_line(run) == "m1.example"


def test_line_with_the_servers_name(site):
    """Of an MX host, of a relay, and none for an address."""
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
def test_name_of_a_server_that_was_no_good(site, script):
    site.one(0, **script)
    run = site.run()
    assert run.letters == "Z" and server_line(run) == "m1.example", run


def test_name_of_the_server_that_took_it(site):
    site.want(0)
    site.mx(ONE, TWO)
    site.server(ONE, greeting="421 busy")
    site.server(TWO, host="m2.example")
    assert server_line(site.run()) == "m2.example"
