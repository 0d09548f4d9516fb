"""control/outgoingip, outgoingip6 and helohosts: which address of ours a connection comes from, and under which name."""

import os

import pytest

from expect import ANY, CONTROL, NO_CONNECTION, accepted, check
from qmailhome import read4, read6, used
from smtpd import CLOSE
from stssite import POLICY_HOST, policy
from tlssite import gone
from world import OWN4, OWN6

V4, V6 = "192.0.2.1", "2001:db8::1"
# Every address of these networks is on this machine, and so is OWN4 and OWN6.
FROM4, OTHER4 = "198.51.100.7", "198.51.100.8"
FROM6, OTHER6 = "2001:db8::7", "2001:db8::8"
ABSENT4, ABSENT6 = "10.99.0.9", "fd00:99::9"
# What the system chooses.
ANY4, ANY6 = V4, OWN6


@pytest.fixture
def both(smtp, dns):
    """dst.example has both, and so has other.example, and a relay."""
    dns.zone("".join(f"{name} A {V4}\n{name} AAAA {V6}\n" for name in ("dst.example", "other.example", "r.example")))
    return {V4: smtp(V4), V6: smtp(V6)}


def seen(server):
    """Where the last connection came from, and the name that was said."""
    server.settle()
    session = server.sessions[-1]
    names = {line.split(b" ")[1].decode() for _, line in session.commands if line[:5] in (b"EHLO ", b"HELO ")}
    assert len(names) <= 1, names
    return session.peer[0], *names


def lines(run):
    return run.message.text.decode().splitlines()[1:]


# The files, the host that mail is for, the server, and what it sees.
LINES = {
    "no-file": ({}, "dst.example", V4, ANY4),
    "one-address": ({"outgoingip": f"{FROM4}\n"}, "dst.example", V4, FROM4),
    "one-address-6": ({"outgoingip6": f"{FROM6}\n"}, "dst.example", V6, FROM6),
    "other-family": ({"outgoingip": f"{FROM4}\n"}, "dst.example", V6, ANY6),
    "both-families": ({"outgoingip": f"{FROM4}\n", "outgoingip6": f"[{FROM6}]\n"}, "dst.example", V6, FROM6),
    "line": ({"outgoingip": f"{OTHER4}\ndst.example:{FROM4}\n"}, "dst.example", V4, FROM4),
    "other-line": ({"outgoingip": f"{FROM4}\nother.example:{OTHER4}\n"}, "dst.example", V4, FROM4),
    "no-default": ({"outgoingip": f"other.example:{FROM4}\n"}, "dst.example", V4, ANY4),
    "suffix": ({"outgoingip6": f"{OTHER6}\n.EXAMPLE.:{FROM6} # x\r\n"}, "dst.example", V6, FROM6),
    "empty-key": ({"outgoingip6": f":{FROM6}\n"}, "dst.example", V6, FROM6),
    "unspecified": ({"outgoingip": f"{FROM4}\ndst.example:0.0.0.0\n"}, "dst.example", V4, ANY4),
    "unspecified-6": ({"outgoingip6": f"{FROM6}\ndst.example:::\n"}, "dst.example", V6, ANY6),
    "literal": ({"outgoingip": f"{OTHER4}\n{V4}:{FROM4}\n"}, f"[{V4}]", V4, FROM4),
    "literal-6": ({"outgoingip6": f"{FROM6}\n{V4}:{OTHER6}\n"}, f"[IPv6:{V6}]", V6, FROM6),
    "dot": ({"outgoingip": f"dst.example:{FROM4}\n"}, "dst.example.", V4, FROM4),
    "mapped": ({"outgoingip": f"::ffff:{FROM4}\n"}, "dst.example", V4, FROM4),
    "mark": ({"outgoingip": b"\xef\xbb\xbf" + FROM4.encode()}, "dst.example", V4, FROM4),
    "nonsense-for-others": ({"outgoingip": f"{FROM4}\nother.example:eth0\n.org 192.0.2.9 # no\n{FROM4}\n"},
                            "dst.example", V4, FROM4),
    "nonsense-for-the-family-that-is-not-used": ({"outgoingip6": "eth0\n"}, "dst.example", V4, ANY4),
    "long": ({"outgoingip": "".join(f"d{n}.example:{OTHER4}\n" for n in range(4000)) + f"dst.example:{FROM4}\n{OTHER4}\n"},
             "dst.example", V4, FROM4),
}


@pytest.mark.parametrize("name", LINES)
def test_the_line_that_applies_decides_where_we_come_from(home, both, name):
    files, host, server, address = LINES[name]
    for file, text in files.items():
        home.control(file, text)
    if server == V4 and not host.startswith("["):
        home.control("ipfamily", ":4\n")
    for _ in range(2 if name == "long" else 1):    # by the text, then by the index
        check(home.run(host), "r", accepted(server))
        assert seen(both[server]) == (address, "me.example")
    assert os.path.exists(f"{home.run_path}/outgoingip.cdb") == (name == "long")


def test_next_hop_is_the_relay(home, both):
    home.control("ipfamily", ":4\n")
    home.control("outgoingip", f"dst.example:{OTHER4}\nr.example:{FROM4}\n")
    home.route(":r.example")
    check(home.run(), "r", accepted(V4))
    assert seen(both[V4])[0] == FROM4


NONSENSE = {
    "outgoingip": {"eth0": "not an address", "192.0.2.300": "not an address", f"{FROM4}/24": "not an address",
                   f"{FROM4} {OTHER4}": "text behind the address", "dst.example:": "not an address",
                   f"dst.example: {FROM4}": "not an address", f"other.example {FROM4}": "not an address",
                   FROM6: "not an IPv4 address", "224.0.0.1": "a multicast or broadcast address"},
    "outgoingip6": {f"{FROM6}/64": "not an address", "fe80::1": "a link-local address", "fe80::1%lo": "not an address",
                    FROM4: "not an IPv6 address", f".example:{FROM4}": "not an IPv6 address"},
}


@pytest.mark.parametrize("file, line, fault", [(f, text, fault) for f in NONSENSE for text, fault in NONSENSE[f].items()])
def test_nonsense_in_the_line_that_applies_is_temporary_and_shown(home, both, file, line, fault):
    home.control(file, f"{line}\nother.test:127.0.0.1\n")
    run = home.run()
    check(run, CONTROL)
    assert lines(run) == [f"control/{file}: {fault}: {line}"]
    assert not any(s.connections for s in both.values())


@pytest.mark.parametrize("file", ["outgoingip", "outgoingip6", "helohosts"])
@pytest.mark.parametrize("kind", ["directory", "fifo", "loop", "too-large", "unreadable"])
def test_a_file_that_cannot_be_read_is_temporary(home, both, file, kind):
    path = f"{home.path}/control/{file}"
    if kind == "directory":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        os.symlink(file, path)
    elif kind == "unreadable":
        os.symlink("/proc/self/mem", path)
    else:
        home.control(file, "")
        os.truncate(path, (1 << 30) + 1)
    run = home.run()
    check(run, CONTROL)
    assert lines(run)[0].startswith(f"control/{file}: ")
    assert not any(s.connections for s in both.values())


# An address that this machine does not have.

def test_a_family_whose_address_is_not_here_is_left_out(home, both, only_local):
    only_local()
    home.control("outgoingip6", f".example:{ABSENT6}\n")
    check(home.run(), "r", accepted(V4))
    assert both[V6].connections == 0
    assert used(read4()) == [] and not (os.path.exists(home.tcpto6_path) and used(read6()))


@pytest.mark.parametrize("zone, files, told", [
    ("A AAAA", {"outgoingip": f"{ABSENT4} # x", "outgoingip6": f".example:{ABSENT6}"},
     [f"control/outgoingip6: not an address of this machine: .example:{ABSENT6}",
      f"control/outgoingip: not an address of this machine: {ABSENT4} # x"]),
    ("AAAA", {"outgoingip": OWN4, "outgoingip6": ABSENT6},
     [f"control/outgoingip6: not an address of this machine: {ABSENT6}"]),
    ("A AAAA", {"outgoingip": ABSENT4, "ipfamily": ":4"}, [f"control/outgoingip: not an address of this machine: {ABSENT4}"]),
    ("A", {"outgoingip": ABSENT4}, [f"control/outgoingip: not an address of this machine: {ABSENT4}"]),
], ids=["both", "the-one-it-has", "by-ipfamily", "only-one"])
def test_no_family_left_is_temporary_and_shows_the_line(home, smtp, dns, only_local, zone, files, told):
    servers = [smtp(V4), smtp(V6)]
    dns.zone("".join(f"dst.example {kind} {V6 if kind == 'AAAA' else V4}\n" for kind in zone.split()))
    for name, text in files.items():
        home.control(name, f"{text}\n")
    only_local()
    run = home.run()
    check(run, NO_CONNECTION)
    assert lines(run) == told
    assert not any(s.connections for s in servers)
    assert used(read4()) == [] and not (os.path.exists(home.tcpto6_path) and used(read6()))


def test_what_is_left_out_stands_beside_what_has_failed(home, dns, only_local):
    only_local()
    dns.zone(f"dst.example A 192.0.2.98\ndst.example AAAA {V6}")
    home.control("outgoingip6", f"{ABSENT6}\n")
    run = home.run()
    check(run, NO_CONNECTION)
    assert lines(run) == [f"{V6}: control/outgoingip6: not an address of this machine: {ABSENT6}",
                          "192.0.2.98: Connection refused"]


def test_a_failed_connection_is_told_with_our_address(home, dns):
    dns.zone("dst.example A 192.0.2.98\ndst.example AAAA 2001:db8::98")
    home.control("outgoingip", f"{FROM4}\n")
    run = home.run()
    check(run, NO_CONNECTION)
    assert lines(run) == ["2001:db8::98: Connection refused", f"192.0.2.98: Connection refused (from {FROM4})"]


# The name.

@pytest.mark.parametrize("files, peer, name", [
    ({}, (V6, ANY6), "helo.example"),
    ({"helohosts": f"{FROM4}:four.example\n[{FROM6}]:six.example\n", "outgoingip6": FROM6}, (V6, FROM6), "six.example"),
    ({"helohosts": f"{FROM4}:four.example\n{FROM6}:six.example\n", "outgoingip6": OTHER6}, (V6, OTHER6), "helo.example"),
    ({"helohosts": f"{FROM4}:four.example\n", "outgoingip": FROM4, "ipfamily": ":4"}, (V4, FROM4), "four.example"),
    # The system has chosen it.
    ({"helohosts": f"{ANY6}:system.example\n"}, (V6, ANY6), "system.example"),
    ({"helohosts": f"{ANY4}:[{V4}]\n", "ipfamily": ":4"}, (V4, ANY4), f"[{V4}]"),
    # The last line counts.
    ({"helohosts": f"{ANY6}:a\n# x\n[IPv6:{ANY6}]:b # y\n"}, (V6, ANY6), "b"),
], ids=range(7))
def test_the_name_goes_with_the_address(home, both, files, peer, name):
    home.control("helohost", "helo.example\n")
    for file, text in files.items():
        home.control(file, text)
    server, address = peer
    check(home.run(), "r", accepted(server))
    assert seen(both[server]) == (address, name)


def test_each_connection_has_the_name_of_its_address(home, smtp, dns):
    """Also the second one to the same address, and HELO in it."""
    dns.zone(f"dst.example A {V4}\ndst.example AAAA {V6}")
    servers = [smtp(V6, greeting="421 busy"), smtp(V4, EHLO=CLOSE)]
    home.control("outgoingip", f"{FROM4}\n")
    home.control("helohosts", f"{FROM4}:four.example\n{ANY6}:six.example\n")
    check(home.run(), "r", accepted(V4))
    assert [line for s in servers[1].sessions for _, line in s.commands if b"HELO" in line or b"EHLO" in line] == [
        b"EHLO four.example", b"HELO four.example"]


def test_name_in_tls_is_the_same_and_sni_is_that_of_the_server(site, home):
    server = site.one(2)
    home.control("outgoingip", f"{FROM4}\n")
    home.control("helohosts", f"{FROM4}:four.example\n")
    check(home.run(), "r", accepted(V4))
    assert seen(server) == (FROM4, "four.example")
    assert server.session.tls["sni"] == "m1.example" and server.session.verbs.count("EHLO") == 2


BAD_NAMES = {"four.example": "no colon behind the address", f"{FROM4} four.example": "text behind the name",
             "four.example:198.51.100.7": "not an address", f"{FROM4}:": "not a host name",
             f"{FROM4}:four example": "text behind the name", "198.51.100.0/24:four.example": "not an address"}


@pytest.mark.parametrize("line", BAD_NAMES)
def test_nonsense_in_helohosts_is_temporary_and_shown(home, both, line):
    home.control("helohosts", f"{V6}:six.example\n{line}\n")
    run = home.run()
    check(run, CONTROL)
    assert lines(run) == [f"control/helohosts: {BAD_NAMES[line]}: {line}"]
    assert not any(s.connections for s in both.values())


# What else has to do with addresses.

def test_our_own_address_is_still_ours(home, smtp, dns):
    """An MX host that is this machine ends the list, wherever we would connect from."""
    server = smtp("192.0.2.7")
    dns.zone("dst.example MX 5 me.example.\ndst.example MX 6 worse.example.\nme.example A 10.99.0.1\nworse.example A 192.0.2.7")
    home.control("outgoingip", f"{OWN4}\n")
    run = home.run()
    assert run.letters == "D" and b"(#5.4.6)" in run.message.text
    assert server.connections == 0


def test_policies_are_fetched_from_any_address(sts, home):
    sts.mx()
    server = sts.server()
    host = sts.publish(policy("m1.example"))
    home.control("outgoingip", f"{FROM4}\n")
    check(home.run(), "r", accepted(V4, ANY))
    gone()
    assert seen(server)[0] == FROM4
    assert [s.peer[0] for s in host.sessions] == [POLICY_HOST]
