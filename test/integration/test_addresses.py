"""IPv4 and IPv6: which address is tried, when, and how it is named."""

import resource
import time

import pytest

import rspawn
from expect import ITS_ME, NO_CONNECTION, accepted, check, no_host
from qmailhome import pack4, pack6, read4, read6, used
from smtpd import CLOSE
import world
from world import HOLE4, HOLE6, UNREACHABLE6

V4, V6 = "192.0.2.1", "2001:db8::1"


def _records(name, *addresses):
    return "".join(f"{name} {'AAAA' if ':' in a else 'A'} {a}\n" for a in addresses)


@pytest.mark.parametrize("addresses, got", [((V4,), V4), ((V6,), V6), ((V4, V6), V6)], ids=["v4", "v6", "both"])
@pytest.mark.parametrize("mx", [True, False], ids=["mx", "no-mx"])
def test_ipv6_is_preferred_where_both_are_there(home, smtp, dns, addresses, got, mx):
    for a in addresses:
        smtp(a)
    dns.zone(("dst.example MX 5 m.example.\n" if mx else "") + _records("m.example" if mx else "dst.example", *addresses))
    check(home.run(), "r", accepted(got))


@pytest.mark.parametrize("host, ip", [
    ("[192.0.2.1]", V4), ("[IPv6:2001:db8::1]", V6), ("[ipv6:2001:DB8:0:0::1]", V6),
    ("[IPv6:2001:0db8:0000:0000:0000:0000:0000:0001]", V6), ("[IPV6:2001:db8::0.0.0.1]", V6),
])
def test_an_address_literal_is_connected_to_without_dns(home, smtp, dns, host, ip):
    server = smtp(ip)
    check(home.run(host, recipients=f"b@{host}"), "r", accepted(ip))
    assert server.mail.recipients == [f"<b@{host}>".encode()]
    assert dns.questions == []


@pytest.mark.parametrize("host", ["[IPv6:2001:db8::g]", "[IPv6:]", "[IPv6:1:2:3]", "[IPv6:2001:db8::1", "[IPv6:2001:db8::1]x",
                                  "[IPv6:192.0.2.1]", "[]", "[IPv6:2001:db8::1%lo]"])
def test_what_is_no_address_literal_is_a_host_that_does_not_exist(home, smtp, dns, host):
    servers = [smtp(V4), smtp(V6)]
    check(home.run(host), no_host(host))
    assert not any(s.connections for s in servers)


@pytest.mark.parametrize("relay, ip, port", [
    ("[2001:db8::1]", V6, 25), ("[2001:db8::1]:2525", V6, 2525), ("[192.0.2.1]:2525", V4, 2525), ("192.0.2.1", V4, 25),
    ("[IPv6:2001:db8::1]", V6, 25), ("[IPv6:2001:db8::1]:2525", V6, 2525), ("[2001:DB8:0::1]:2525 # x", V6, 2525),
    ("[192.0.2.1]", V4, 25),
])
def test_an_address_literal_with_a_port_is_a_relay(home, smtp, relay, ip, port):
    smtp(ip, port=port)
    home.route(f":{relay}")
    check(home.run(), "r", accepted(ip))


@pytest.mark.parametrize("relay", ["[2001:db8::1", "[2001:db8::1]x", "[2001:db8::1]:", "[2001:db8::1]:0", "[2001:db8::1]:x",
                                   "2001:db8::1", "[]", "[", "[]:25", "[::g]:25"])
def test_nonsense_relay_is_no_bounce_and_no_delivery(home, smtp, dns, relay):
    """Stock takes `[` for the relay and 0 for the port: it never delivers. A typing error must not go elsewhere."""
    servers = [smtp(V6), smtp("0.0.0.0")]
    home.route(f":{relay}")
    run = home.run()
    assert run.letters in ("Z", "D") and not any(s.connections for s in servers), run


def test_ipv6_first_and_ipv4_after_it(home, smtp, dns):
    """All addresses of a host are tried, IPv6 and IPv4 in turn."""
    order = []
    from smtpd import Call

    def note(session):
        order.append(session.server.address)
        return "421 no"

    addresses = ["2001:db8::11", "2001:db8::12", "192.0.2.11", "192.0.2.12"]
    for a in addresses:
        smtp(a, greeting=Call(note))
    dns.zone("dst.example MX 5 m.example.\n" + _records("m.example", *addresses))
    run = home.run()
    assert run.letters == "Z" and sorted(order) == sorted(addresses), run
    assert [":" in a for a in order] == [True, False, True, False], order


@pytest.mark.timed
def test_dead_ipv6_costs_a_quarter_of_a_second(home, smtp, dns):
    """RFC 8305: from the last answer of the DNS to the connection by IPv4."""
    server = smtp(V4)
    home.control("timeoutconnect", None)
    dns.zone("dst.example MX 5 m.example.\n" + _records("m.example", HOLE6, V4))
    check(home.run(), "r", accepted(V4))
    assert 0.24 < server.session.accepted - max(q.when for q in dns.log) < 0.95


@pytest.mark.timed
def test_dead_addresses_among_several_cost_little(home, smtp, dns):
    smtp(V4)
    home.control("timeoutconnect", None)
    dns.zone("dst.example MX 5 m.example.\ndst.example MX 5 n.example.\n" + _records("m.example", HOLE6, HOLE4)
             + _records("n.example", "2001:db8:dead::2", V4))
    run = home.run()
    check(run, "r", accepted(V4))
    assert run.lasted(4.5)


def test_loser_of_the_race_is_not_marked(home, smtp, dns):
    smtp(V4)
    dns.zone(_records("dst.example", HOLE4, HOLE6, V4))
    check(home.run(), "r", accepted(V4))
    assert used(read4()) == []


@pytest.mark.timed
@pytest.mark.parametrize("bad", ["2001:db8::99", UNREACHABLE6, "2001:db9::1"], ids=["refused", "unreachable", "no-route"])
def test_an_ipv6_address_that_fails_at_once_costs_nothing(home, smtp, dns, bad):
    smtp(V4)
    dns.zone(_records("dst.example", bad, V4))
    run = home.run()
    check(run, "r", accepted(V4))
    assert run.lasted(0.9)


@pytest.mark.timed
def test_worse_preference_waits_for_the_better(home, smtp, dns):
    """A worse MX is not raced against a better one; timeoutconnect bounds each attempt."""
    smtp(V4)
    home.control("timeoutconnect", "2\n")
    dns.zone("dst.example MX 5 m.example.\ndst.example MX 9 n.example.\n" + _records("m.example", HOLE4)
             + _records("n.example", V4))
    run = home.run()
    check(run, "r", accepted(V4))
    assert run.lasted(3.5, least=1.9)
    assert used(read4())[0].address == HOLE4


def test_of_several_addresses_one_gets_the_mail_and_the_others_nothing(home, smtp, dns):
    """Of two that connect in the end, one gets the mail and the other nothing at all."""
    servers = [smtp(a) for a in (V4, V6, "192.0.2.2")]
    dns.zone(_records("dst.example", V4, V6, "192.0.2.2"))
    check(home.run(), "r", accepted(V6))
    assert [s.connections for s in servers] == [0, 1, 0]


def test_equal_preferences_are_shuffled(home, smtp, dns):
    a, b = smtp("192.0.2.11"), smtp("192.0.2.12")
    dns.zone("dst.example MX 5 a.example.\ndst.example MX 5 b.example.\n" + _records("a.example", "192.0.2.11")
             + _records("b.example", "192.0.2.12"))
    for _ in range(24):
        assert home.run().letters == "rK"
    assert a.connections + b.connections == 24 and a.connections and b.connections


def test_an_address_of_two_hosts_is_tried_once(home, smtp, dns):
    server = smtp(V4, greeting="421 no")
    dns.zone("dst.example MX 5 a.example.\ndst.example MX 5 b.example.\ndst.example MX 7 a.example.\n"
             + _records("a.example", V4) + _records("b.example", V4))
    assert home.run().letters == "Z"
    assert server.connections == 1


@pytest.mark.parametrize("address", ["::ffff:127.0.0.1", "::ffff:10.99.0.1", "::ffff:0.0.0.0"])
def test_mapped_address_is_me_too(home, smtp, dns, address):
    servers = [smtp("127.0.0.1"), smtp("10.99.0.1")]
    dns.zone(f"dst.example AAAA {address}")
    run = home.run()
    assert run.letters in ("D", "Z") and not any(s.connections for s in servers), run


def test_mapped_literal_is_me_too(home, smtp):
    server = smtp("127.0.0.1")
    assert home.run("[IPv6:::ffff:127.0.0.1]").letters in ("D", "Z")
    assert server.connections == 0


@pytest.mark.timed
def test_addresses_that_all_fail_are_no_connection(home, dns):
    dns.zone(_records("dst.example", "192.0.2.98", "2001:db8::98", UNREACHABLE6))
    run = home.run()
    check(run, NO_CONNECTION)
    assert run.lasted(2)


def test_our_own_ipv6_address_leaves_out_worse_hosts_of_ipv4(home, smtp, dns):
    """My own address as a better MX of the other family ends the list too."""
    server = smtp(V4)
    dns.zone("dst.example MX 5 me.example.\ndst.example MX 7 m.example.\n" + _records("me.example", "::1")
             + _records("m.example", V4))
    check(home.run(), ITS_ME)
    assert server.connections == 0


@pytest.mark.timed
def test_a_refusal_and_a_hang_up_lead_to_the_third_host(home, smtp, dns):
    smtp("2001:db8::2", greeting=CLOSE)
    smtp("192.0.2.2")
    dns.zone("dst.example MX 1 a.example.\ndst.example MX 2 b.example.\ndst.example MX 3 c.example.\n"
             + _records("a.example", "2001:db8::99") + _records("b.example", "2001:db8::2")
             + _records("c.example", "192.0.2.2"))
    start = time.monotonic()
    check(home.run(), "r", accepted("192.0.2.2"))
    assert rspawn.in_time(time.monotonic() - start, 2)


def test_each_address_is_told_with_its_cause(home, dns):
    """Below the sentence of stock, each address and why it was not to be had."""
    dns.zone(_records("dst.example", "192.0.2.98", "2001:db8::98", UNREACHABLE6))
    lines = home.run().message.text.decode().splitlines()[1:]
    *refused, unreachable = sorted(lines)
    assert refused == ["192.0.2.98: Connection refused", "2001:db8::98: Connection refused"]
    # In the words of glibc, or of musl.
    assert unreachable in (f"{UNREACHABLE6}: No route to host", f"{UNREACHABLE6}: Host is unreachable")


# Refused by this machine: a firewall of our own, no ports or descriptors left, an address family that is not there.

PROHIBITED4, PROHIBITED6, BLACKHOLE4 = "198.18.1.1", "2001:db8:f00::1", "198.18.2.1"


@pytest.fixture
def refusing():
    """connect() to these ends at once in EACCES, EACCES and EINVAL."""
    routes = ["prohibit 198.18.1.0/24", "prohibit 2001:db8:f00::/48", "blackhole 198.18.2.0/24"]
    world.ip(*(f"route add {r}" for r in routes))
    yield
    world.ip(*(f"route del {r}" for r in routes))


@pytest.mark.parametrize("address", [PROHIBITED4, PROHIBITED6, BLACKHOLE4])
def test_refused_by_this_machine_costs_that_address_alone(home, smtp, dns, refusing, address):
    smtp(V4)
    dns.zone("dst.example MX 5 m.example.\ndst.example MX 6 n.example.\n" + _records("m.example", address)
             + _records("n.example", V4))
    check(home.run(), "r", accepted(V4))
    dns.zone(_records("dst.example", address, V4))
    check(home.run(), "r", accepted(V4))


def test_refused_by_this_machine_is_told_and_not_noted(home, dns, refusing):
    """The system's own words for each; what tcpto knows of them stays."""
    now = int(time.time()) - 100
    home.tcpto(pack4("10.0.0.1", 3, now) + pack4(PROHIBITED4, 1, now) + pack4(BLACKHOLE4, 1, now))
    with open(home.tcpto6_path, "wb") as f:
        f.write(pack6(PROHIBITED6, 1, now).ljust(2048, b"\0"))
    dns.zone(_records("dst.example", PROHIBITED4, PROHIBITED6, BLACKHOLE4))
    run = home.run()
    check(run, NO_CONNECTION)
    assert sorted(run.message.text.decode().splitlines()[1:]) == [
        f"{PROHIBITED4}: Permission denied", f"{BLACKHOLE4}: Invalid argument", f"{PROHIBITED6}: Permission denied"], run
    assert [(r.address, r.count) for r in used(read4())] == [("10.0.0.1", 3), (PROHIBITED4, 1), (BLACKHOLE4, 1)]
    assert [(r.address, r.count) for r in used(read6())] == [(PROHIBITED6, 1)]


def test_attempts_under_way_go_on(home, dns):
    """Two wait, no descriptor is left for the third: they still get all their time."""
    home.control("timeoutconnect", "3\n")
    dns.zone(_records("dst.example", HOLE6, HOLE4, "2001:db8:dead::3"))
    run = home.run(limits={resource.RLIMIT_NOFILE: 6})
    check(run, NO_CONNECTION)
    lines = run.message.text.decode().splitlines()[1:]
    assert len(lines) == 3 and sum(line.endswith("timed out") for line in lines) == 2, run
    # In the words of glibc, or of musl.
    assert any(line.endswith(("Too many open files", "No file descriptors available")) for line in lines), run
    assert len(used(read4())) + len(used(read6())) == 2
