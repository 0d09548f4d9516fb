"""The DNS as unbound answers it, which asks NSD for nsd.example."""

import dns.message
import dns.query
import pytest

import realservers
import world
from expect import DNS_SOFT, NO_ADDRESS, accepted, check, no_host
from realservers import RESOLVER, RESOLVER6

IP, IP2, IP6 = "192.0.2.1", "192.0.2.2", "2001:db8::1"
MANY = 79       # addresses of a host at which nobody listens


def _hosts(domain, count):
    """So many MX hosts of which only the worst exists: who does not read to the end does not find it."""
    return [f"{domain} MX {n} m{n}-{'x' * 50}.{domain}" for n in range(count)] + [
        f"{domain} MX {count} last.{domain}", f"last.{domain} A {IP}"]


RECORDS = "\n".join([
    "plain MX 10 m.plain", f"m.plain A {IP}",
    "six MX 10 m.six", f"m.six AAAA {IP6}",
    f"no-mx A {IP}",
    "alias CNAME plain",
    "alias2 CNAME alias3", "alias3 CNAME alias",
    "far-alias CNAME plain.far.example.",
    "alias-host MX 10 m.alias-host", "m.alias-host CNAME m.plain",
    "loop CNAME loop2", "loop2 CNAME loop",
    "dangling CNAME nothing",
    'text TXT "no mail here"',
    "null MX 0 .", f"null A {IP}",
    "unknown-hosts MX 10 nobody1", "unknown-hosts MX 20 nobody2",
    "one-unknown MX 10 nobody1", "one-unknown MX 20 m.plain",
    "empty-host MX 10 text", "one-empty MX 10 text", "one-empty MX 20 m.plain",
    "dead-host MX 10 m.dead.example.",
    "one-dead MX 10 m.dead.example.", "one-dead MX 20 m.plain",
    "*.wild MX 10 m.plain",
    *_hosts("over-512", 10), *_hosts("over-1232", 40), *_hosts("over-4096", 90),
    "crowd MX 10 m.crowd", *(f"m.crowd A 198.51.100.{n}" for n in range(100, 100 + MANY)), f"m.crowd A {IP}",
    "crowd6 MX 10 m.crowd6", *(f"m.crowd6 AAAA 2001:db8::6:{n}" for n in range(MANY)), f"m.crowd6 AAAA {IP6}",
]) + "\n"


@pytest.fixture(scope="session", autouse=True)
def _stop():
    yield
    realservers.stop_all()


@pytest.fixture
def unbound():
    realservers.start(realservers.Nsd, RECORDS)
    unbound = realservers.start(realservers.Unbound)
    world.resolv_conf(f"nameserver {RESOLVER}\n")
    yield unbound
    world.resolv_conf()


@pytest.mark.parametrize("name, address", [
    ("plain", IP), ("six", IP6), ("no-mx", IP), ("alias", IP), ("alias2", IP), ("far-alias", IP), ("alias-host", IP),
    ("one-unknown", IP), ("one-empty", IP), ("one-dead", IP), ("any.wild", IP), ("PLAIN", IP), ("plain.nsd.example.", IP),
])
def test_hosts_are_found_through_unbound(home, smtp, unbound, name, address):
    server = smtp(address)
    host = name if name.endswith(".") else f"{name}.nsd.example"
    check(home.run(host=host), "r", accepted(address))
    assert len(server.mails) == 1


@pytest.mark.parametrize("name, expected", [
    ("nothing", no_host("nothing.nsd.example")), ("dangling", no_host("dangling.nsd.example")),
    ("text", no_host("text.nsd.example")), ("empty-host", NO_ADDRESS), ("unknown-hosts", NO_ADDRESS),
    ("dead-host", DNS_SOFT), ("loop", DNS_SOFT),
])
def test_names_that_do_not_exist_are_permanent(home, smtp, unbound, name, expected):
    server = smtp(IP)
    check(home.run(host=f"{name}.nsd.example"), expected)
    assert server.connections == 0


def test_a_null_mx_is_permanent(home, smtp, unbound):
    server = smtp(IP)
    run = home.run(host="null.nsd.example")
    assert run.letters == "D" and server.connections == 0, run


def test_a_servfail_of_unbound_is_temporary(home, unbound):
    check(home.run(host="dead.example"), DNS_SOFT)
    assert unbound.count("num.answer.rcode.SERVFAIL") > 0


def _size(name, kind):
    """How big unbound's whole answer is."""
    return len(dns.query.tcp(dns.message.make_query(name, kind), RESOLVER, timeout=10).to_wire())


@pytest.mark.parametrize("name, least, most", [
    ("over-512", 513, 1232), ("over-1232", 1233, 4096), ("over-4096", 4097, 65535)])
def test_large_mx_answers_are_read(home, smtp, unbound, name, least, most):
    server = smtp(IP)
    assert least <= _size(f"{name}.nsd.example", "MX") <= most
    before = unbound.count("num.query.tcp")
    check(home.run(host=f"{name}.nsd.example"), "r", accepted())
    assert len(server.mails) == 1
    if least > 1232:
        assert unbound.count("num.query.tcp") > before


@pytest.mark.parametrize("name, kind, address", [("crowd", "A", IP), ("crowd6", "AAAA", IP6)])
def test_large_address_answers_are_read_by_tcp(home, smtp, unbound, name, kind, address):
    server = smtp(address)
    assert _size(f"m.{name}.nsd.example", kind) > 1232
    before = unbound.count("num.query.tcp")
    check(home.run(host=f"{name}.nsd.example"), "r", accepted(address))
    assert len(server.mails) == 1
    assert unbound.count("num.query.tcp") > before


@pytest.mark.parametrize("text", [
    f"nameserver {RESOLVER6}\n",
    f"nameserver {realservers.DEAD}\nnameserver {RESOLVER}\noptions timeout:1\n",
    f"nameserver {RESOLVER}\noptions edns0 trust-ad\n",
    f"nameserver {RESOLVER}\noptions use-vc\n",
    f"search nsd.example\nnameserver {RESOLVER}\n",
], ids=["ipv6", "second", "edns0", "use-vc", "search"])
def test_each_kind_of_resolv_conf_works(home, smtp, unbound, text):
    world.resolv_conf(text)
    smtp(IP)
    check(home.run(host="plain.nsd.example"), "r", accepted())


def test_a_relay_is_looked_up(home, smtp, unbound):
    smtp(IP)
    home.route(":m.plain.nsd.example")
    check(home.run(host="nothing.nsd.example"), "r", accepted())
