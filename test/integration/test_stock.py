"""The numbered behaviours of stock qmail-remote, each under its number: interface, control files, routes, DNS.

Where the design of this program differs from stock, the test says what the design says.
"""

import os
import shutil
import time

import pytest

from expect import (CONTROL, DNS_SOFT, ITS_ME, NO_ADDRESS, NO_CONNECTION, accepted, check, died, no_host)
from qmailhome import pack4, read4, used
from smtpd import Delay, Drip
from world import HOLE4, NOROUTE4, OWN4, OWN6, UNREACHABLE4

BODY = b"Subject: x\r\n\r\nhi\r\n.\r\n"

one_user = pytest.mark.skipif(
    open("/proc/self/uid_map", encoding="ascii").read().split() != ["0", "0", "4294967295"],
    reason="needs a second uid, so real root")


# Invocation and control files.

def test_delivered_with_the_words_of_the_server(home, relay):
    server = relay(QUIT=None)
    run = home.run()
    assert run.report == b"r\0K192.0.2.1 accepted message.\nRemote host said: 250 got it\n\0"
    assert server.log == (b"EHLO me.example\r\nMAIL FROM:<a@src.example>\r\nRCPT TO:<b@dst.example>\r\nDATA\r\n"
                          + BODY + b"QUIT\r\n")
    assert server.session.end == "fin"
    assert run.rspawn == b"K192.0.2.1 accepted message.\nRemote host said: 250 got it\n"


@pytest.mark.parametrize("args", [[], ["x"], ["x", "y"]])
def test_too_few_arguments_are_an_improper_invocation(home, relay, args):
    server = relay()
    run = home.run(args=args)
    assert run.report == b"DI (qmail-remote) was invoked improperly. (#5.3.5)\n\0"
    assert server.connections == 0


def test_an_improper_invocation_is_told_without_an_installation(home):
    shutil.rmtree(home.path)
    os.makedirs(home.path + "/queue/mess")
    run = home.run(args=["x"], program="/srv/programs/qmail-remote")
    assert run.report == b"DI (qmail-remote) was invoked improperly. (#5.3.5)\n\0"


def test_a_missing_home_is_temporary(home):
    message = os.open(home.message(b"x\n"), os.O_RDONLY)
    shutil.rmtree(home.path)
    run = home.run(program="/srv/programs/qmail-remote", cwd="/", message=message)
    check(run, ("Z", "Unable to switch to home directory. (#4.3.0)"))
    os.close(message)


def test_without_me_and_helohost_nothing_is_sent(home, relay):
    server = relay()
    home.control("me", None)
    check(home.run(), CONTROL)
    assert server.connections == 0


@pytest.mark.parametrize("me, helohost, name", [
    pytest.param(None, "h.example  \t\n", b"h.example", id="005"),
    pytest.param("me.example\n", "a.example\nb.example\n", b"a.example", id="008"),
    pytest.param("me.example\n", "#c\n", b"#c", id="010"),
    pytest.param("me.example\n", "h.example", b"h.example", id="no-line-end"),
])
def test_helohost_beats_me(home, relay, me, helohost, name):
    server = relay(QUIT=None)
    home.control("me", me)
    home.control("helohost", helohost)
    check(home.run(), "r", accepted())
    assert server.log.startswith(b"EHLO " + name + b"\r\n")


def test_helohost_is_never_looked_up(home, relay, dns):
    relay()
    home.control("helohost", "helo.example\n")
    check(home.run(), "r", accepted())
    assert dns.questions == []


CONTROLS = ("me", "helohost", "timeoutremote", "timeoutconnect", "smtproutes", "timeoutdns", "ipme",
            "trustanchors", "clientcert", "clientkey", "tlsstrictness")


@one_user
@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_file_that_cannot_be_read_is_temporary(home, smtp, name):
    server = smtp()
    home.route(":192.0.2.1")
    os.chmod(home.control(name, "1\n"), 0)
    check(home.run(uid=4711, gid=4711), CONTROL)
    assert server.connections == 0


@pytest.mark.parametrize("text", ["1\n", "1x\n", "1 \t\n", "1\r\n", "1", "0\n", "01\n"])
def test_the_number_in_timeoutremote_is_the_limit(home, relay, text):
    server = relay(greeting=None)
    home.control("timeoutremote", text)
    run = home.run()
    check(run, died())
    assert 0.9 < run.wall < 10
    assert server.log == b""


@pytest.mark.parametrize("text", [
    " 1\n", "-1\n", "\n", "", "abc\n", "#5\n", "2147483648\n", "4294967297\n", "99999999999999999999999\n",
])
def test_nonsense_in_timeoutremote_is_the_default(home, relay, text):
    relay(greeting=(Delay(1.3), "220 hi"))
    home.control("timeoutremote", text)
    check(home.run(), "r", accepted())


@pytest.mark.parametrize("moment", ["greeting", "EHLO", "MAIL", "RCPT", "DATA"])
def test_deadline_is_for_the_whole_reply(home, relay, moment):
    """Stock's limit is for each read; here no drip holds a delivery. Who waited for its end would deliver."""
    code = {"greeting": b"220", "DATA": b"354"}.get(moment, b"250")
    steps = ("EHLO", "HELO") if moment == "EHLO" else (moment,)
    relay(**{step: Drip(code + b" one two three four\r\n", 0.4, 4) for step in steps})
    home.control("timeoutremote", "1\n")
    run = home.run()
    assert run.records[-1] == ("Z", b"Connected to 192.0.2.1 but connection died. (#4.4.2)\n") or \
        run.message.first == b"Connected to 192.0.2.1 but connection died. (#4.4.2)", run
    assert run.wall > 0.9


@pytest.mark.timed
def test_the_deadline_for_the_last_reply_ends_in_a_possible_duplicate(home, relay):
    relay(END=Drip(b"250 one two three four\r\n", 0.4, 4))
    home.control("timeoutremote", "1\n")
    run = home.run()
    check(run, "r", ("Z", "Connected to 192.0.2.1 but connection died. Possible duplicate! (#4.4.2)"))
    assert run.lasted(2.5)


@pytest.mark.parametrize("moment, code", [("greeting", b"220"), ("EHLO", b"250"), ("END", b"250")])
def test_a_reply_that_is_slow_but_in_time_counts(home, relay, moment, code):
    relay(**{moment: Drip(code + b" a b c d\r\n", 0.08)})
    home.control("timeoutremote", "10\n")
    assert home.run().letters == "rK"


# Routing.

@pytest.fixture
def routed(home, smtp, dns):
    """Deliver with these routes; tells who got the mail, the relay at port 2525 or the domain's own server."""
    relay, mx = smtp("192.0.2.1", port=2525), smtp("192.0.2.2")

    def go(routes, host="dst.example", **kw):
        name = host.strip("[]") if host.startswith("[") else host
        if not host.startswith("["):
            dns.zone(f"{name.rstrip('.')}. A 192.0.2.2")
        home.control("smtproutes", routes)
        run = home.run(host, **kw)
        assert run.letters == "rK", run
        assert len(relay.mails) + len(mx.mails) == 1
        return "relay" if relay.mails else "mx"
    return go


@pytest.mark.parametrize("number, routes, host, got", [
    ("016", "dst.example:192.0.2.1:2525\n", "dst.example", "relay"),
    ("016-case", "DST.eXample:192.0.2.1:2525\n", "dSt.ExAmple", "relay"),
    ("017", ".example:192.0.2.1:2525\n", "dst.example", "relay"),
    ("017-deeper", ".example:192.0.2.1:2525\n", "a.b.example", "relay"),
    ("017-no-dot", "example:192.0.2.1:2525\n", "dst.example", "mx"),
    ("017-own-dot", ".dst.example:192.0.2.1:2525\n", "dst.example", "mx"),
    ("017-longest", ".example:198.18.0.1\n.b.example:192.0.2.1:2525\n", "a.b.example", "relay"),
    ("017-whole", ".example:198.18.0.1\na.example:192.0.2.1:2525\n", "a.example", "relay"),
    ("018", ".example:\n:192.0.2.1:2525\n", "dst.example", "mx"),
    ("019", "dst.example:198.18.0.1\ndst.example:192.0.2.1:2525\n", "dst.example", "relay"),
    ("019-case", "dst.example:198.18.0.1\nDST.example:192.0.2.1:2525\n", "dst.example", "relay"),
    ("020", ":192.0.2.1:2525\n", "[1.2.3.4]", "relay"),
    ("020-whole", "[1.2.3.4]:192.0.2.1:2525\n", "[1.2.3.4]", "relay"),
    ("020-suffix", ".4]:192.0.2.1:2525\n", "[1.2.3.4]", "relay"),
    ("021", ":[192.0.2.1]:2525\n", "dst.example", "relay"),
    ("022", "#:198.18.0.1:1\n\n  \n:192.0.2.1:2525", "dst.example", "relay"),
    ("022-hash-later", "#x:198.18.0.1\n:192.0.2.1:2525 # x\n", "dst.example", "relay"),
    ("023", "dst.example\n:192.0.2.1:2525\n", "dst.example", "relay"),
    ("024", " dst.example:192.0.2.1:2525\n", "dst.example", "mx"),
    ("025-blank", ":192.0.2.1:2525 # hi\n", "dst.example", "relay"),
    ("025-cr", ":192.0.2.1:2525\r\n", "dst.example", "relay"),
    ("025-trailing", ":192.0.2.1:2525 \t\n", "dst.example", "relay"),
    ("032", "dst.example:192.0.2.1:2525\n", "dst.example.", "mx"),
    ("032-dot", ".:192.0.2.1:2525\n", "dst.example.", "relay"),
    ("nul", "x\0:192.0.2.1:2525\n", "dst.example", "relay"),
    ("v6-relay-unused", ".other:[2001:db8::9]\n", "dst.example", "mx"),
], ids=lambda v: v if isinstance(v, str) and v[0].isalnum() and "\n" not in v and "." not in v else "")
def test_routes_are_found_as_in_stock(routed, number, routes, host, got):
    assert routed(routes, host) == got


@pytest.mark.parametrize("port", ["", "abc", "0", "-1", "65536", "65561", "99999999999999999999", "4294967321"])
def test_a_route_with_a_nonsense_port_leads_nowhere(home, smtp, port):
    at25 = smtp("192.0.2.1")
    home.route(f":192.0.2.1:{port}")
    run = home.run()
    assert run.letters == "Z", run
    assert at25.connections == 0


def test_a_route_with_a_nonsense_port_is_reported_as_no_connection(home, smtp):
    home.route(":192.0.2.1:abc")
    check(home.run(), NO_CONNECTION)


def test_a_route_without_a_relay_changes_the_port_of_the_mx_hosts(home, smtp, dns):
    """Stock looks for a host without a name."""
    server = smtp("192.0.2.2", port=26)
    dns.zone("dst.example MX 5 m.example.\nm.example A 192.0.2.2")
    home.route("dst.example::26")
    check(home.run(), "r", accepted("192.0.2.2"))
    assert server.mail.wire == BODY


def test_a_relay_that_does_not_exist_is_temporary(home, dns):
    """Stock bounces the mail for a mistake of ours."""
    home.route(":r.example")
    run = home.run()
    check(run, DNS_SOFT)
    assert run.message.text.endswith(b"\ncontrol/smtproutes: the DNS has no relay r.example\n"), run
    assert dns.asked("r.example", "MX") == [] and dns.asked("r.example", "A") == ["A"]
    assert dns.asked("dst.example") == []


def test_mx_records_of_a_relay_do_not_count(home, smtp, dns):
    smtp("192.0.2.2")
    dns.zone("r.example MX 5 m.example.\nr.example A 192.0.2.2\nm.example A 192.0.2.3")
    home.route(":r.example")
    check(home.run(), "r", accepted("192.0.2.2"))
    assert dns.asked("r.example", "MX") == []


def test_a_relay_without_an_address_is_temporary(home, dns):
    dns.zone("r.example CNAME s.example.\ns.example TXT x")
    home.route(":r.example")
    check(home.run(), DNS_SOFT)


@pytest.mark.parametrize("address", ["127.0.0.1", OWN4, "::1", OWN6])
def test_a_relay_may_be_this_machine(home, smtp, dns, address):
    server = smtp(address)
    dns.zone(f"r.example {'AAAA' if ':' in address else 'A'} {address}")
    home.route(":r.example")
    check(home.run(), "r", accepted(address))
    assert server.connections == 1


# DNS.

def test_a_domain_without_mx_records_is_its_own_host(home, smtp, dns):
    server = smtp("192.0.2.2")
    dns.zone("dst.example A 192.0.2.2")
    check(home.run(), "r", accepted("192.0.2.2"))
    assert server.mail.wire == BODY
    assert dns.questions[0] == ("dst.example", "MX")
    assert set(dns.asked("dst.example")) == {"MX", "A", "AAAA"}


def test_the_mx_host_with_the_lowest_preference_gets_the_mail(home, smtp, dns):
    m2, m3 = smtp("192.0.2.2"), smtp("192.0.2.3")
    dns.zone("dst.example MX 10 m2.example.\ndst.example MX 5 m3.example.\n"
             "m2.example A 192.0.2.2\nm3.example A 192.0.2.3")
    check(home.run(), "r", accepted("192.0.2.3"))
    assert m2.connections == 0
    asked = [q.when for q in dns.log if q.name in ("m2.example", "m3.example") and q.kind == "A"]
    assert len(asked) == 2 and max(asked) < m3.session.accepted


@pytest.mark.parametrize("zone", ["", "dst.example TXT x", "sub.dst.example A 192.0.2.2"],
                         ids=["nxdomain", "nodata", "empty-non-terminal"])
def test_a_domain_that_does_not_exist_is_permanent(home, dns, zone):
    dns.zone(zone)
    check(home.run(), no_host())


def test_a_host_with_odd_bytes_is_shown_with_question_marks(home, dns):
    check(home.run("a bé.example"), no_host("a?b??.example"))


@pytest.mark.parametrize("how", [
    {"rcode": "SERVFAIL"}, {"rcode": "REFUSED"}, {"rcode": "NOTIMP"}, {"rcode": "FORMERR"}, {"rcode": "YXDOMAIN"},
    {"drop": True},
], ids=lambda v: str(next(iter(v.values()))))
def test_a_failure_of_the_mx_lookup_is_temporary(home, smtp, dns, how):
    import world
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    server = smtp("192.0.2.2")
    home.control("timeoutdns", "3\n")
    dns.zone("dst.example A 192.0.2.2")
    dns.rule("dst.example", "MX", **how)
    check(home.run(), DNS_SOFT)
    assert server.connections == 0


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR"])
def test_a_failure_of_the_address_lookup_is_temporary(home, dns, rcode):
    dns.zone("dst.example TXT x")
    dns.rule("dst.example", "A", rcode=rcode)
    dns.rule("dst.example", "AAAA", rcode=rcode)
    check(home.run(), DNS_SOFT)


def test_an_mx_host_that_does_not_exist_is_permanent(home, dns):
    dns.zone("dst.example MX 5 none.example.")
    check(home.run(), NO_ADDRESS)


def test_a_failure_of_the_lookup_of_the_only_mx_host_is_temporary(home, dns):
    dns.zone("dst.example MX 5 m.example.")
    dns.rule("m.example", rcode="SERVFAIL")
    check(home.run(), DNS_SOFT)


def test_an_unknown_mx_host_beside_one_that_does_not_exist_is_temporary(home, dns):
    dns.zone("dst.example MX 5 m.example.\ndst.example MX 5 none.example.")
    dns.rule("m.example", rcode="SERVFAIL")
    check(home.run(), DNS_SOFT)


@pytest.mark.parametrize("first, second", [(5, 10), (10, 5), (5, 5)])
def test_an_unknown_mx_host_does_not_spoil_a_good_one(home, smtp, dns, first, second):
    smtp("192.0.2.2")
    dns.zone(f"dst.example MX {first} m.example.\ndst.example MX {second} good.example.\n"
             "good.example A 192.0.2.2")
    dns.rule("m.example", rcode="SERVFAIL")
    check(home.run(), "r", accepted("192.0.2.2"))


def test_a_null_mx_is_permanent(home, smtp, dns):
    server = smtp("192.0.2.2")
    dns.zone("dst.example MX 0 .\ndst.example A 192.0.2.2")
    run = home.run()
    assert run.letters == "D" and (b"(#5.1.10)" in run.report or b"(#5.4.4)" in run.report), run
    assert server.connections == 0


def test_the_root_is_not_asked_about_a_null_mx(home, dns):
    dns.zone("dst.example MX 0 .")
    dns.rule(".", rcode="SERVFAIL")
    assert home.run().letters == "D"


def test_an_alias_with_an_address_is_followed(home, smtp, dns):
    server = smtp("192.0.2.2")
    dns.zone("dst.example CNAME real.example.\nreal.example A 192.0.2.2")
    check(home.run(), "r", accepted("192.0.2.2"))
    assert server.mail.recipients == [b"<b@dst.example>"]


def test_an_alias_with_mx_records_is_followed(home, smtp, dns):
    server = smtp("192.0.2.3")
    dns.zone("dst.example CNAME real.example.\nreal.example MX 5 m.example.\nm.example A 192.0.2.3")
    check(home.run(), "r", accepted("192.0.2.3"))
    assert server.mail.recipients == [b"<b@dst.example>"]


@pytest.mark.parametrize("kind", ["ANY", "CNAME"])
def test_cname_and_any_are_not_asked_for(home, smtp, dns, kind):
    smtp("192.0.2.2")
    dns.zone("dst.example A 192.0.2.2")
    dns.rule("dst.example", kind, rcode="SERVFAIL")
    check(home.run(), "r", accepted("192.0.2.2"))
    assert kind not in dns.asked("dst.example")


@pytest.mark.timed
def test_a_loop_of_aliases_is_temporary(home, dns):
    dns.zone("dst.example CNAME c.example.\nc.example CNAME dst.example.")
    run = home.run()
    assert run.letters == "Z" and run.lasted(5), run


@pytest.mark.parametrize("host", ["[192.0.2.2]", "192.0.2.2", "[192.000.002.002]"])
def test_an_address_as_host_is_connected_to_without_dns(home, smtp, dns, host):
    smtp("192.0.2.2")
    check(home.run(host), "r", accepted("192.0.2.2"))
    assert dns.questions == []


@pytest.mark.parametrize("host", [
    "[192.0.2.2]x", "[448.0.2.2]", "448.0.2.2", "192.0.2", "[192.0.2]", "[192.0.2.2", "192.0.2.2]",
])
def test_what_is_no_address_literal_is_a_host_that_does_not_exist(home, smtp, dns, host):
    servers = [smtp("192.0.2.2")]
    check(home.run(host), no_host(host))
    assert servers[0].connections == 0


@pytest.mark.parametrize("host", ["[127.0.0.1]", "127.0.0.1", "[0.0.0.0]", f"[{OWN4}]", "[IPv6:::1]", f"[IPv6:{OWN6}]"])
def test_an_address_of_this_machine_as_host_is_refused(home, smtp, host):
    servers = [smtp(a) for a in ("127.0.0.1", OWN4, "::1", OWN6)]
    check(home.run(host), ITS_ME)
    assert not any(s.connections for s in servers)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", OWN4, "::1", OWN6, "::"])
def test_a_host_with_an_address_of_this_machine_is_refused(home, smtp, dns, address):
    servers = [smtp(a) for a in ("127.0.0.1", OWN4, "::1", OWN6)]
    dns.zone(f"dst.example {'AAAA' if ':' in address else 'A'} {address}")
    check(home.run(), ITS_ME)
    assert not any(s.connections for s in servers)


THIS_MACHINE = ["127.0.0.2", "127.255.255.254", "0.0.0.9", "0.1.2.3", "::ffff:127.0.0.2", "::ffff:127.9.9.9", "::ffff:0.0.0.9"]


@pytest.mark.parametrize("address", THIS_MACHINE)
def test_a_host_in_127_or_0_is_refused(home, smtp, dns, address):
    """Stock connects to them, and the mail goes round in this machine.

    No server listens at all addresses: where another one has the port at one of them, that is refused. At 0.0.0.9
    none can listen; what is reported tells enough.
    """
    four = address.rpartition(":")[2]
    servers = [smtp(four)] if four.startswith("127.") else []
    dns.zone(f"dst.example {'AAAA' if ':' in address else 'A'} {address}")
    check(home.run(), ITS_ME)
    check(home.run(f"[{'IPv6:' if ':' in address else ''}{address}]"), ITS_ME)
    assert not any(s.connections for s in servers)


@pytest.mark.parametrize("relay", ["127.0.0.2", "[127.0.0.2]", "[::ffff:127.0.0.2]", "r.example"])
def test_a_relay_may_be_127_0_0_2(home, smtp, dns, relay):
    """Unless an administrator names it."""
    smtp("127.0.0.2")
    dns.zone("r.example A 127.0.0.2")
    home.route(f":{relay}")
    check(home.run(), "r", accepted("127.0.0.2"))


def test_a_host_with_127_0_0_2_beside_another_address_is_refused(home, smtp, dns):
    """The exception for :: and ::1 is for these two: they stand in the DNS for want of an IPv6 address."""
    server = smtp("192.0.2.2")
    dns.zone("dst.example A 192.0.2.2\ndst.example A 127.0.0.2\nother.example A 192.0.2.2\nother.example AAAA ::1")
    check(home.run(), ITS_ME)
    assert server.connections == 0
    check(home.run("other.example"), "r", accepted("192.0.2.2"))


def test_hosts_of_our_own_preference_are_left_out(home, smtp, dns):
    servers = [smtp("192.0.2.2"), smtp("192.0.2.3")]
    dns.zone(f"""
        dst.example    MX 5 other.example.
        dst.example    MX 5 me.example.
        dst.example    MX 9 third.example.
        other.example  A 192.0.2.2
        me.example     A {OWN4}
        third.example  A 192.0.2.3
    """)
    check(home.run(), ITS_ME)
    assert not any(s.connections for s in servers)


@pytest.mark.parametrize("me", [OWN4, OWN6])
def test_hosts_of_a_worse_preference_than_ours_are_left_out(home, smtp, dns, me):
    third = smtp("192.0.2.3")
    dns.zone(f"""
        dst.example    MX 5 other.example.
        dst.example    MX 7 me.example.
        dst.example    MX 9 third.example.
        other.example  A 192.0.2.2
        me.example     {'AAAA' if ':' in me else 'A'} {me}
        third.example  A 192.0.2.3
    """)
    check(home.run(), NO_CONNECTION)
    assert third.connections == 0


def test_an_mx_host_that_is_an_address_is_connected_to(home, smtp, dns):
    smtp("192.0.2.2")
    dns.zone("dst.example MX 5 192.0.2.2.")
    check(home.run(), "r", accepted("192.0.2.2"))
    assert dns.asked("192.0.2.2") == []


def test_a_large_mx_answer_is_read(home, smtp, dns):
    smtp("192.0.2.2")
    for n in range(20):
        dns.zone(f"dst.example MX {n + 1} a-rather-long-name-for-server-{n}.mail.example.")
    dns.zone("a-rather-long-name-for-server-19.mail.example A 192.0.2.2")
    check(home.run(), "r", accepted("192.0.2.2"))


def test_all_of_100_addresses_are_tried(home, smtp, dns):
    smtp("198.51.100.7")
    dns.zone("\n".join(f"dst.example A 192.0.2.{n}" for n in range(100, 200)))
    dns.zone("dst.example A 198.51.100.7")
    check(home.run(), "r", accepted("198.51.100.7"))


@pytest.mark.parametrize("host", ["a..example", "x" * 64 + ".example", ".example", "a." * 127 + "a"])
def test_a_name_that_cannot_exist_is_permanent_without_a_question(home, dns, host):
    dns.rule(rcode="SERVFAIL")
    check(home.run(host), no_host(host))
    assert dns.questions == []


def test_the_domain_of_the_recipient_does_not_matter(home, smtp, dns):
    server = smtp("192.0.2.2")
    dns.zone("dst.example A 192.0.2.2")
    check(home.run(recipients="b@other.example"), "r", accepted("192.0.2.2"))
    assert server.mail.recipients == [b"<b@other.example>"]
    assert dns.asked("other.example") == []


# Connections and the table of time-outs.

def test_addresses_that_refuse_are_followed_by_one_that_accepts(home, smtp, dns):
    smtp("192.0.2.4")
    dns.zone("dst.example A 192.0.2.98\ndst.example A 192.0.2.99\ndst.example A 192.0.2.4")
    check(home.run(), "r", accepted("192.0.2.4"))


def test_addresses_that_refuse_are_not_noted_in_tcpto(home, dns):
    dns.zone("dst.example A 192.0.2.98\ndst.example A 192.0.2.99")
    check(home.run(), NO_CONNECTION)
    with open(home.tcpto_path, "rb") as f:
        assert f.read() == bytes(1024)


def _hole(home, seconds=1):
    home.control("timeoutconnect", f"{seconds}\n")
    home.route(f":{HOLE4}")


@pytest.mark.timed
def test_a_time_out_is_noted_in_tcpto(home):
    _hole(home)
    before = int(time.time())
    run = home.run()
    check(run, NO_CONNECTION)
    assert run.lasted(2.5, least=0.9)
    records = read4()
    assert len(records) == 64 and records[0].address == HOLE4 and records[0].count == 1
    assert before <= records[0].when <= time.time() and len(used(records)) == 1


def test_a_second_time_out_within_120_seconds_changes_nothing(home):
    _hole(home)
    now = int(time.time())
    home.tcpto(pack4(HOLE4, 1, now - 60))
    check(home.run(), NO_CONNECTION)
    assert (read4()[0].count, read4()[0].when) == (1, now - 60)


def test_a_second_time_out_later_counts(home):
    _hole(home)
    now = int(time.time())
    home.tcpto(pack4(HOLE4, 1, now - 130))
    check(home.run(), NO_CONNECTION)
    assert read4()[0].count == 2 and read4()[0].when >= now


def _good(home, smtp, record):
    """A good server for which the table holds this record."""
    home.route(":192.0.2.1")
    home.tcpto(record)
    return smtp("192.0.2.1")


def test_an_address_that_timed_out_twice_is_skipped(home, smtp):
    record = pack4("192.0.2.1", 2, time.time() - 3000)
    server = _good(home, smtp, record)
    run = home.run()
    check(run, NO_CONNECTION)
    assert server.connections == 0
    with open(home.tcpto_path, "rb") as f:
        assert f.read() == record.ljust(1024, b"\0")


def test_a_record_that_is_too_old_skips_nothing_and_is_cleared(home, smtp):
    then = int(time.time()) - 5900
    _good(home, smtp, pack4("192.0.2.1", 2, then))
    check(home.run(), "r", accepted())
    assert (read4()[0].count, read4()[0].when) == (0, then)


def test_a_connection_clears_the_record(home, smtp):
    then = int(time.time()) - 30
    _good(home, smtp, pack4("192.0.2.1", 1, then))
    check(home.run(), "r", accepted())
    assert (read4()[0].count, read4()[0].when) == (0, then)


def test_a_refusal_clears_the_record(home):
    home.route(":192.0.2.77")
    home.tcpto(pack4("192.0.2.77", 1, time.time() - 30))
    check(home.run(), NO_CONNECTION)
    assert read4()[0].address == "192.0.2.77" and read4()[0].count == 0


def test_the_counter_ends_at_ten(home):
    _hole(home)
    now = int(time.time())
    home.tcpto(pack4(HOLE4, 10, now - 6000))
    check(home.run(), NO_CONNECTION)
    assert read4()[0].count == 10 and read4()[0].when >= now


def test_the_oldest_record_is_replaced(home):
    _hole(home)
    now = int(time.time())
    home.tcpto(b"".join(pack4(f"10.0.0.{n}", 1, now - 300 - (500 if n == 37 else n)) for n in range(64)))
    check(home.run(), NO_CONNECTION)
    records = read4()
    assert [n for n, r in enumerate(records) if r.address == HOLE4] == [37]
    assert records[37].count == 1 and records[37].when >= now


def test_a_record_with_a_low_counter_goes_before_an_older_one(home):
    """Counter 3 and 2100 s old against counter 1 and 200 s old: the second one goes."""
    _hole(home)
    now = int(time.time())
    records = [pack4(f"10.0.0.{n}", 10, now) for n in range(64)]
    records[5], records[9] = pack4("10.0.0.5", 3, now - 2100), pack4("10.0.0.9", 1, now - 200)
    home.tcpto(b"".join(records))
    check(home.run(), NO_CONNECTION)
    assert [n for n, r in enumerate(read4()) if r.address == HOLE4] == [9]


def test_a_free_record_is_used_first(home):
    _hole(home)
    now = int(time.time())
    records = [pack4(f"10.0.0.{n}", 1, now - 9000) for n in range(64)]
    records[40] = pack4("10.0.0.40", 0, now)
    home.tcpto(b"".join(records))
    check(home.run(), NO_CONNECTION)
    assert [n for n, r in enumerate(read4()) if r.address == HOLE4] == [40]


def test_a_record_from_the_near_future_skips(home, smtp):
    server = _good(home, smtp, pack4("192.0.2.1", 2, time.time() + 3000))
    check(home.run(), NO_CONNECTION)
    assert server.connections == 0


@pytest.mark.parametrize("size", [None, 0, 15])
def test_a_missing_or_short_tcpto_is_left_alone(home, size):
    _hole(home)
    if size is None:
        os.unlink(home.tcpto_path)
    else:
        home.tcpto(b"", size=size)
    check(home.run(), NO_CONNECTION)
    if size is None:
        assert not os.path.exists(home.tcpto_path)
    else:
        assert os.path.getsize(home.tcpto_path) == size


def test_a_short_tcpto_is_not_made_longer(home):
    _hole(home)
    now = int(time.time())
    home.tcpto(pack4("10.0.0.1", 1, now - 10) + pack4("10.0.0.2", 1, now - 20) + b"12345678", size=40)
    check(home.run(), NO_CONNECTION)
    with open(home.tcpto_path, "rb") as f:
        data = f.read()
    assert len(data) == 40 and data[32:] == b"12345678"
    assert data[:16] == pack4("10.0.0.1", 1, now - 10) and data[16:20] == pack4(HOLE4, 1, 0)[:4]


def test_what_is_beyond_1024_bytes_of_tcpto_stays(home):
    """What is beyond 1024 bytes belongs to nobody and stays."""
    _hole(home)
    home.tcpto(bytes(1024) + b"beyond")
    check(home.run(), NO_CONNECTION)
    with open(home.tcpto_path, "rb") as f:
        data = f.read()
    assert data[4] == 1 and data[1024:] == b"beyond"


def test_an_address_beside_a_skipped_one_gets_the_mail(home, smtp, dns):
    skipped, good = smtp("192.0.2.1"), smtp("192.0.2.2")
    home.tcpto(pack4("192.0.2.1", 2, time.time() - 100))
    dns.zone("dst.example A 192.0.2.1\ndst.example A 192.0.2.2")
    for _ in range(4):
        check(home.run(), "r", accepted("192.0.2.2"))
    assert skipped.connections == 0 and good.connections == 4


@pytest.mark.timed
@pytest.mark.parametrize("address", [UNREACHABLE4, NOROUTE4])
def test_an_unreachable_address_is_no_time_out(home, address):
    home.route(f":{address}")
    home.tcpto(pack4(address, 1, time.time() - 100))
    run = home.run()
    check(run, NO_CONNECTION)
    assert read4()[0].address == address and read4()[0].count == 0 and run.lasted(2)
