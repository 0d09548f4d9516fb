"""control/ipme: addresses that are ours too, and what follows for MX lists and relays."""

import pytest

from expect import CONTROL, ITS_ME, NO_CONNECTION, accepted, check

ME4, ME6 = "192.0.2.5", "2001:db8::5"


@pytest.fixture
def mine(smtp):
    """Servers at the addresses that must never be connected to."""
    servers = [smtp(ME4), smtp(ME6)]
    yield servers
    assert [s.connections for s in servers] == [0, 0]


def _a(name, address):
    return f"{name} {'AAAA' if ':' in address else 'A'} {address}\n"


FORMS = [
    (f"{ME4}\n", ME4), (ME4, ME4), (f"{ME4} \t\n", ME4), (f"# ours\n\n{ME4}\n", ME4), (f" \t{ME4}\n", ME4),
    (f"{ME6}\n", ME6), ("2001:DB8:0:0:0:0:0:5\n", ME6), ("2001:0db8:0000:0000:0000:0000:0000:0005\n", ME6),
    ("2001:db8::0.0.0.5\n", ME6), (f"::ffff:{ME4}\n", ME4), (f"10.0.0.1\n{ME6}\n{ME4}\n", ME6), (f"10.0.0.1\n{ME6}\n{ME4}\n", ME4),
    ("10.0.0.1\n" * 5000 + ME4 + "\n", ME4),
    (f"{ME4} # the router\n", ME4), (f"{ME4}# the router\n", ME4), (f"10.0.0.1, {ME4}\n", ME4), (f"10.0.0.1,{ME4}\n", ME4),
    (f"10.0.0.1 \t{ME4} , {ME6}\n", ME6), (f"{ME4}\r\n10.0.0.1\r\n", ME4), (f"[{ME4}]\n[{ME6}]\n", ME6),
    (f"[IPv6:{ME6}]\n", ME6), ("192.0.2.5/32\n", ME4), ("192.0.2.0/29\n", ME4), ("192.0.2.7/29\n", ME4),
    ("2001:db8::ffff/112\n", ME6), ("[2001:db8::]/64\n", ME6), ("[2001:db8::/64]\n", ME6), ("0.0.0.1/1,128.0.0.0/1\n", ME4),
]


@pytest.mark.parametrize("text, address", FORMS, ids=range(len(FORMS)))
def test_each_form_of_an_address_in_ipme_is_understood(home, dns, mine, text, address):
    home.control("ipme", text)
    dns.zone(_a("dst.example", address))
    check(home.run(), ITS_ME)


@pytest.mark.parametrize("text", ["", "\n", "#\n", f"#{ME4}\n", "192.0.2.50\n", f"  # {ME4}\n", " , \n", f"\0{ME4}\n", "192.0.2.8/29\n",
                                  "192.0.2.4/32\n", "::/1\n"])
def test_lines_without_our_address_keep_no_mail_away(home, smtp, dns, text):
    smtp(ME4)
    home.control("ipme", text)
    dns.zone(_a("dst.example", ME4))
    check(home.run(), "r", accepted(ME4))


WRONG = ["nonsense", "10.0.0.256", f"{ME4}/0", f"{ME4}/33", "::/0", f"{ME6}/129", f"{ME4}/", f"{ME4} nonsense", f"[{ME4}",
         f"{ME4};10.0.0.1", f"{ME4}-9", "mail.our.example", f"{ME4}/255.255.255.0"]


@pytest.mark.parametrize("line", WRONG)
def test_a_line_that_is_no_address_is_temporary_and_shown(home, dns, mine, line):
    """It was meant to keep mail away from somewhere: deferred, with the line, whatever the others say."""
    home.control("ipme", f"10.0.0.1\n{line}\n10.0.0.2\n")
    dns.zone(_a("dst.example", ME4))
    run = home.run()
    check(run, CONTROL)
    assert run.message.text.decode().splitlines()[1] == f"control/ipme: not an address: {line}", run


@pytest.mark.parametrize("host", [f"[{ME4}]", ME4, f"[IPv6:{ME6}]", "[IPv6:2001:db8:0::5]", f"[IPv6:::ffff:{ME4}]"])
def test_an_address_in_ipme_is_refused_as_host(home, mine, host):
    home.control("ipme", f"{ME4}\n{ME6}\n")
    run = home.run(host)
    assert run.letters in ("D", "Z"), run


@pytest.mark.parametrize("relay", [ME4, f"[{ME4}]", f"[{ME6}]", "r.example", f"[{ME6}]:25"])
def test_an_address_in_ipme_is_refused_as_relay(home, dns, mine, relay):
    home.control("ipme", f"{ME4}\n{ME6}\n")
    dns.zone(_a("r.example", ME4) + _a("r.example", ME6))
    home.route(f":{relay}")
    run = home.run()
    assert run.letters in ("D", "Z"), run


def test_another_address_of_a_relay_gets_the_mail(home, smtp, dns, mine):
    smtp("192.0.2.6")
    home.control("ipme", f"{ME4}\n{ME6}\n")
    dns.zone(_a("r.example", ME4) + _a("r.example", ME6) + _a("r.example", "192.0.2.6"))
    home.route(":r.example")
    check(home.run(), "r", accepted("192.0.2.6"))


@pytest.mark.parametrize("me", [ME4, ME6])
def test_same_or_worse_preference_than_ours_is_left_out(home, smtp, dns, mine, me):
    others = [smtp("192.0.2.7"), smtp("192.0.2.8")]
    home.control("ipme", f"{me}\n")
    dns.zone("dst.example MX 5 me.example.\ndst.example MX 5 same.example.\ndst.example MX 6 worse.example.\n"
             + _a("me.example", me) + _a("same.example", "192.0.2.7") + _a("worse.example", "192.0.2.8"))
    check(home.run(), ITS_ME)
    assert not any(s.connections for s in others)


@pytest.mark.parametrize("me", [ME4, ME6])
def test_a_better_preference_than_ours_gets_the_mail(home, smtp, dns, mine, me):
    smtp("192.0.2.6")
    home.control("ipme", f"{me}\n")
    dns.zone("dst.example MX 5 better.example.\ndst.example MX 6 me.example.\ndst.example MX 7 worse.example.\n"
             + _a("better.example", "192.0.2.6") + _a("me.example", me) + _a("worse.example", "192.0.2.8"))
    check(home.run(), "r", accepted("192.0.2.6"))


def test_worse_hosts_are_left_out_also_where_the_better_one_is_down(home, smtp, dns, mine):
    worse = smtp("192.0.2.8")
    home.control("ipme", f"{ME4}\n")
    dns.zone("dst.example MX 5 better.example.\ndst.example MX 6 me.example.\ndst.example MX 7 worse.example.\n"
             + _a("better.example", "192.0.2.98") + _a("me.example", ME4) + _a("worse.example", "192.0.2.8"))
    check(home.run(), NO_CONNECTION)
    assert worse.connections == 0


def test_a_host_with_one_of_our_addresses_is_ours(home, smtp, dns, mine):
    """One of its addresses is ours, so the host is of our preference: none of it is used."""
    other = smtp("192.0.2.9")
    home.control("ipme", f"{ME4}\n")
    dns.zone("dst.example MX 5 both.example.\n" + _a("both.example", ME4) + _a("both.example", "192.0.2.9"))
    check(home.run(), ITS_ME)
    assert other.connections == 0


def test_an_unknown_better_host_beside_us_is_temporary(home, dns, mine):
    """A better host that DNS does not tell us of today may be the way: not for good."""
    home.control("ipme", f"{ME4}\n")
    dns.zone("dst.example MX 1 soft.example.\ndst.example MX 5 me.example.\n" + _a("me.example", ME4))
    dns.rule("soft.example", rcode="SERVFAIL")
    assert home.run().letters in ("Z", "D")


@pytest.mark.parametrize("error", ["EAFNOSUPPORT", "EPERM", "EMFILE"])
def test_interfaces_that_cannot_be_read_are_no_error(home, smtp, dns, error):
    """As where a service manager allows no netlink sockets: mail goes, and 127.0.0.1 still is this machine."""
    def run(address):
        dns.zone(_a("dst.example", address))
        run = home.run(program="/usr/bin/strace", args=[
            "-f", "-qq", "-o", log, "-e", "trace=socket", "-e", f"inject=socket:error={error}:when=1",
            f"{home.path}/bin/qmail-remote", "dst.example", "a@src.example", "b@dst.example"])
        with open(log, encoding="ascii") as f:
            assert "NETLINK" in f.readline()
        return run

    log = f"{home.path}/sockets"

    smtp(ME4)
    check(run(ME4), "r", accepted(ME4))
    check(run("127.0.0.1"), ITS_ME)
