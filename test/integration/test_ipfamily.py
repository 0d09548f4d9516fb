"""control/ipfamily: by which addresses a destination is reached, and which come first."""

import os

import pytest

from expect import CONTROL, DNS_SOFT, ITS_ME, NO_CONNECTION, accepted, check

V4, V6 = "192.0.2.1", "2001:db8::1"


@pytest.fixture
def both(smtp, dns):
    """dst.example and other.example have both; a relay too."""
    dns.zone("".join(f"{name} A {V4}\n{name} AAAA {V6}\n" for name in ("dst.example", "other.example", "r.example")))
    return {V4: smtp(V4), V6: smtp(V6)}


def goes_to(home, ip, host="dst.example"):
    check(home.run(host), "r", accepted(ip))


@pytest.mark.parametrize("text, ip", [
    (None, V6), ("", V6), ("dst.example:4\n", V4), ("dst.example:6\n", V6), ("dst.example:46\n", V4), ("dst.example:64\n", V6),
    (":4\n", V4), (".example:4\n", V4), (":4\ndst.example:64\n", V6), ("dst.example:4\r\n", V4), ("DST.Example:4\n", V4),
    ("\xef\xbb\xbf".encode("latin-1") + b"dst.example:4\n", V4), ("dst.example:4 # no reverse name\n", V4),
    ("example:4\n", V6), ("other.example:4\n", V6), ("dst.example:6\ndst.example:4\n", V4), ("other.example:nonsense\n", V6),
], ids=range(17))
def test_the_line_that_fits_decides_the_family(home, both, text, ip):
    home.control("ipfamily", text)
    goes_to(home, ip)


def test_other_family_is_not_even_tried(home, smtp, dns):
    server = smtp(V6)
    dns.zone(f"dst.example A 192.0.2.98\ndst.example AAAA {V6}")
    home.control("ipfamily", "dst.example:4\n")
    run = home.run()
    check(run, NO_CONNECTION)
    assert run.message.text.decode().splitlines()[1:] == ["192.0.2.98: Connection refused"], run
    assert server.connections == 0


@pytest.mark.parametrize("family, ip", [("46", V6), ("64", V4)])
def test_the_other_family_comes_second(home, smtp, dns, family, ip):
    other = "192.0.2.98" if family == "46" else "2001:db8::98"
    smtp(ip)
    dns.zone("".join(f"dst.example {'AAAA' if ':' in a else 'A'} {a}\n" for a in (ip, other)))
    home.control("ipfamily", f":{family}\n")
    goes_to(home, ip)


def test_next_hop_is_the_relay(home, both):
    """Where a route gives one, the host does not count."""
    home.control("ipfamily", "dst.example:4\n")
    home.route(":r.example")
    goes_to(home, V6)
    home.control("ipfamily", "r.example:4\n")
    goes_to(home, V4)
    home.route("dst.example::25")
    goes_to(home, V6)


def test_an_address_as_next_hop_has_no_brackets_in_its_key(home, both):
    """Its key has no brackets; one of IPv6 has only the empty key."""
    home.control("ipfamily", f"{V4}:6\n")
    run = home.run(f"[{V4}]")
    check(run, NO_CONNECTION)
    assert run.message.text.decode().splitlines()[1:] == ["control/ipfamily leaves no address."], run
    home.control("ipfamily", f"[{V4}]:6\n")
    goes_to(home, V4, f"[{V4}]")
    home.control("ipfamily", ":4\n")
    check(home.run(f"[IPv6:{V6}]"), NO_CONNECTION)


def test_no_address_of_the_family_is_no_bounce(home, smtp, dns):
    """Our own configuration leaves nobody to connect to."""
    smtp(V6)
    dns.zone(f"dst.example MX 5 a.example.\na.example AAAA {V6}")
    home.control("ipfamily", ":4\n")
    run = home.run()
    check(run, NO_CONNECTION)
    assert run.message.text.decode().splitlines()[1:] == ["control/ipfamily leaves no address."], run


def test_own_addresses_are_known_in_any_family(home, smtp, dns):
    """An MX host that is this machine by IPv6 still ends the list."""
    server = smtp("192.0.2.7")
    dns.zone("dst.example MX 5 me.example.\ndst.example MX 6 worse.example.\nme.example AAAA fd00:99::1\n"
             "worse.example A 192.0.2.7")
    home.control("ipfamily", ":4\n")
    check(home.run(), ITS_ME)
    assert server.connections == 0


NONSENSE = ["", "5", "44", "ipv4", "4x", " 4", "4 6", "4:6", "4#x", "v4"]


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_in_the_line_that_fits_is_temporary(home, both, value):
    home.control("ipfamily", f"other.example:4\ndst.example:{value}\n")
    run = home.run()
    check(run, CONTROL)
    assert run.message.text.decode().splitlines()[1] == f"control/ipfamily: not an address family: dst.example:{value}", run
    goes_to(home, V4, "other.example")


def test_an_ipfamily_that_cannot_be_read_is_temporary(home, both):
    os.mkdir(f"{home.path}/control/ipfamily")
    check(home.run(), CONTROL)


def test_a_failure_of_the_lookup_is_temporary_whatever_the_family(home, dns):
    home.control("ipfamily", ":4\n")
    dns.rule("dst.example", rcode="SERVFAIL")
    check(home.run(), DNS_SOFT)
