"""control/tlspolicy, tlshosts and notlshosts in deliveries: which line counts, and what becomes of the mail."""

import os

import pytest

import world
from expect import ANY, CONTROL, accepted, check
from expect_tls import FAILED_SENTENCE, NOT_OFFERED_SENTENCE
from stssite import NO_HANDSHAKE, NO_HOST
from test_dns import another_server
from tlssite import NOT_VERIFIED, age, gone, told_nothing, tls_line, verified

ONE, TWO = "192.0.2.1", "192.0.2.2"
SETUP = "but TLS is not set up. (#4.3.5)"
NO_ANCHORS = "m1.example: its certificate has to be verified, and there are no trust anchors"
NO_TLSA = "m1.example: control/tlspolicy demands DANE, and it has no secure TLSA records"
NO_RESOLVER = "m1.example: control/tlspolicy demands DANE, and no resolver is trusted"


@pytest.fixture
def policy(site):
    """policy(lines...): the file; trust anchors are there, and one MX host."""
    site.want(0)
    site.mx()

    def make(*lines):
        return site.home.control("tlspolicy", "".join(f"{line}\n" for line in lines))
    return make


# What becomes of mail for m1.example: the line on TLS of what is delivered in TLS, CLEAR, or how the report begins.
CLEAR, AGAIN = "clear text", "handshake failed"


def comes_to(site, run, result):
    server, = site.servers
    if result in (CLEAR, AGAIN) or result.startswith("TLSv"):
        check(run, "r", accepted())
        line = tls_line(run)
        assert line == (None if result == CLEAR else line if result == AGAIN and line.startswith(AGAIN) else result), run
        session = server.sessions[-1]
        assert session.mails and bool(session.tls) == result.startswith("TLSv")
        if session.tls:
            told_nothing(*server.sessions)
        return
    first, _, line = result.partition("\n")
    check(run, ("Z", first, ANY))
    assert line.encode() in run.report, run
    told_nothing(*site.sessions)
    assert not any(b"MAIL" in s.secret for s in site.sessions)


def given_up(sentence):
    return f"Connected to {ONE} {sentence}"


SERVERS = {
    "good": {}, "bad": {"cert": "self-signed"}, "no-tls": {"cert": None},
    "no-handshake": {"sessions": [{"STARTTLS": NO_HANDSHAKE}, {}]},
}

OTHERS = [given_up(NOT_OFFERED_SENTENCE), given_up(FAILED_SENTENCE)]
NOT_LEFT = f"{NO_HOST}\n"

# For each of SERVERS.
LEVELS = {
    "none": [CLEAR] * 4,
    "may": [NOT_VERIFIED, NOT_VERIFIED, CLEAR, AGAIN],
    "encrypt": [NOT_VERIFIED, NOT_VERIFIED, *OTHERS],
    "verify": [verified("m1.example"), given_up(FAILED_SENTENCE), *OTHERS],
    # Without records: as if the line were not there.
    "dane": [NOT_VERIFIED, NOT_VERIFIED, CLEAR, AGAIN],
    "dane-only": [NOT_LEFT + NO_TLSA] * 4,
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("level", LEVELS)
def test_levels(site, policy, level, server):
    policy(f"dst.example:{level}")
    site.server(**SERVERS[server])
    comes_to(site, site.run(), LEVELS[level][list(SERVERS).index(server)])


@pytest.mark.parametrize("level", LEVELS)
def test_levels_without_trust_anchors(site, policy, level):
    """Only verification needs them."""
    policy(f"dst.example:{level}")
    site.home.control("trustanchors", None)
    site.server(cert="self-signed")
    wanted = LEVELS[level][1] if level != "verify" else NOT_LEFT + NO_ANCHORS
    comes_to(site, site.run(), wanted)


@pytest.mark.parametrize("level", ["none", "may", "encrypt"])
def test_a_line_weakens_strictness_2(site, policy, level):
    site.want(2)
    policy(f"dst.example:{level}")
    site.server(cert="expired")
    comes_to(site, site.run(), LEVELS[level][1])


@pytest.mark.parametrize("level", ["encrypt", "verify"])
def test_what_is_demanded_has_no_second_round(site, policy, level):
    """Not at strictness 1 either: the next host, then Z."""
    site.want(1)
    policy(f"dst.example:{level}")
    site.mx(ONE, TWO)
    site.server(cert=None)
    site.server(TWO, cert=None, host="m2.example")
    run = site.run()
    check(run, ("Z", f"Connected to {TWO} {NOT_OFFERED_SENTENCE}", ANY))
    assert f"\nAlso tried: m1.example ({ONE}): it does not offer STARTTLS\n".encode() in run.report
    assert [s.connections for s in site.servers] == [1, 1]


@pytest.mark.parametrize("level", ["dane", "dane-only"])
def test_dane_needs_a_trusted_resolver(site, policy, level):
    policy(f"dst.example:{level}")
    site.server()
    another_server("192.0.2.53").zone(f"dst.example MX 10 m1.example.\nm1.example A {ONE}")
    world.resolv_conf("nameserver 192.0.2.53\n")
    run = site.run()
    comes_to(site, run, NOT_LEFT + NO_RESOLVER)
    assert site.servers[0].connections == 0
    world.resolv_conf("nameserver 192.0.2.53\noptions trust-ad\n")
    comes_to(site, site.run(), LEVELS[level][0])


# Attributes.

@pytest.mark.parametrize("match, cert, result", [
    ("other.example", ["other.example"], verified("other.example")),
    ("other.example", ["m1.example"], None),
    ("a.example,other.example", ["other.example"], verified("other.example")),
    ("OTHER.example", ["other.example"], verified("OTHER.example")),
    (".other.example", ["mx7.other.example"], verified("mx7.other.example")),
    (".other.example", ["a.mx7.other.example"], None),
    (".other.example", ["other.example"], None),
    (".other.example", ["*.other.example"], verified("*.other.example")),
])
def test_match(site, policy, match, cert, result):
    policy(f"dst.example:verify:match={match}")
    server = site.server(cert=site.leaf(names=cert))
    run = site.run()
    if result:
        check(run, "r", accepted())
        assert tls_line(run).lower() == result.lower(), run
    else:
        comes_to(site, run, given_up(FAILED_SENTENCE))
        assert b"name mismatch" in run.report
    assert server.sessions[0].tls is None or server.sessions[0].tls["sni"] == "m1.example"


def test_anchors(site, policy, certs):
    """They are those of this line only; both attributes, in any order."""
    server = site.server(cert="untrusted")
    policy(f"dst.example:verify:anchors={certs.other_bundle}")
    comes_to(site, site.run(), verified("m1.example"))
    site.home.control("trustanchors", None)
    comes_to(site, site.run(), verified("m1.example"))
    for attributes in (f"anchors={certs.other_directory}:match=m1.example",
                       f"match=m1.example:anchors={certs.other_directory}"):
        policy(f"dst.example:verify:{attributes}")
        comes_to(site, site.run(), verified("m1.example"))
    server.tls = certs.context("good")
    comes_to(site, site.run(), given_up(FAILED_SENTENCE))


def test_anchors_that_are_not_there(site, policy):
    policy("dst.example:verify:anchors=/srv/none.pem")
    site.server()
    comes_to(site, site.run(), given_up(SETUP) + "\ncannot read trust anchors in /srv/none.pem")


# Which line counts.

@pytest.mark.parametrize("lines, level", [
    (["dst.example:encrypt"], "encrypt"),
    (["DST.Example:encrypt"], "encrypt"),
    (["  dst.example:encrypt  # why"], "encrypt"),
    ([".example:encrypt"], "encrypt"),
    ([":encrypt"], "encrypt"),
    ([":none", ".example:none", "dst.example:encrypt"], "encrypt"),
    (["dst.example:encrypt", ".example:none", ":none"], "encrypt"),
    (["dst.example:none", "dst.example:encrypt"], "encrypt"),
    (["# dst.example:encrypt", "", "x.example:encrypt", ".dst.example:encrypt"], None),
    (["m1.example:encrypt"], None),
    (["x.example:nonsense", "nothing at all", ".x.example:verify:bogus=1"], None),
])
def test_keys(site, policy, lines, level):
    policy(*lines)
    site.server(cert=None)
    comes_to(site, site.run(), LEVELS[level][2] if level else CLEAR)


def test_the_relay_is_the_next_hop(site, policy):
    site.home.route(":relay.example")
    site.dns.zone(f"relay.example A {ONE}")
    site.server(cert=None, host="relay.example")
    policy("dst.example:encrypt")
    comes_to(site, site.run(), CLEAR)
    policy("dst.example:none", "relay.example:encrypt")
    comes_to(site, site.run(), given_up(NOT_OFFERED_SENTENCE))


@pytest.mark.parametrize("route, host", [(f":[{ONE}]", "dst.example"), (None, f"[{ONE}]")])
def test_literals_are_keys_without_brackets(site, policy, route, host):
    if route:
        site.home.route(route)
    site.server(cert=None)
    policy(f"{ONE}:encrypt")
    comes_to(site, site.run(host=host), given_up(NOT_OFFERED_SENTENCE))


def test_an_empty_file(site, policy):
    policy()
    site.server()
    comes_to(site, site.run(), NOT_VERIFIED)


# Nonsense.

@pytest.mark.parametrize("line, fault", [
    ("dst.example:", "unknown level"),
    ("dst.example:secure", "unknown level"),
    ("dst.example:Encrypt", "unknown level"),
    ("dst.example: encrypt", "text behind the policy"),
    ("dst.example:encrypted", "unknown level"),
    ("dst.example", "no colon behind the next hop"),
    ("dst.example encrypt", "no colon behind the next hop"),
    ("dst.example :encrypt", "no colon behind the next hop"),
    ("dst.example:encrypt now", "text behind the policy"),
    ("dst.example:verify:", "unknown attribute"),
    ("dst.example:verify:sni=x", "unknown attribute"),
    ("dst.example:verify:match", "attribute without a value"),
    ("dst.example:verify:match=", "attribute without a value"),
    ("dst.example:verify:match=a b", "text behind the policy"),
    ("dst.example:verify:match=a,,b", "not a list of names"),
    ("dst.example:verify:match=*.example", "not a list of names"),
    ("dst.example:verify:match=a:match=b", "attribute given twice"),
    ("dst.example:encrypt:match=a", "attribute that this level does not use"),
    ("dst.example:dane:anchors=/x", "attribute that this level does not use"),
    (":what", "unknown level"),
    (".example:what", "unknown level"),
])
def test_nonsense(site, policy, line, fault):
    """It was meant to be a policy: nothing is sent, and the report has the line."""
    policy(":none", line)
    site.server()
    run = site.run()
    check(run, CONTROL)
    assert f"\ncontrol/tlspolicy: {fault}: {line}".encode() in run.report, run
    assert site.servers[0].connections == 0 and site.dns.questions == []


@pytest.mark.parametrize("make", [os.mkdir, lambda path: os.symlink(path, path)], ids=["directory", "loop"])
def test_unreadable(site, policy, make):
    make(f"{site.home.path}/control/tlspolicy")
    site.server()
    run = site.run()
    check(run, CONTROL)
    assert b"\ncontrol/tlspolicy: " in run.report, run


# Many lines.

def many(policy, *lines):
    half = [f"host{n}.example.org:none" for n in range(100000)]
    other = [f"host{n}.example.net:verify" for n in range(100000)]
    return policy(*half, *lines, *other)


def test_many_lines(site, policy):
    """Read as text, then looked up; the same line counts."""
    path = many(policy, "dst.example:encrypt", ":none")
    server = site.server(cert=None)
    comes_to(site, site.run(), given_up(NOT_OFFERED_SENTENCE))
    age(path)
    for _ in range(2):
        comes_to(site, site.run(), given_up(NOT_OFFERED_SENTENCE))
    assert os.path.exists(f"{site.home.run_path}/tlspolicy.cdb")
    site.dns.zone("other.example MX 10 m1.example.")
    check(site.run(host="other.example"), "r", accepted())
    many(policy, "dst.example:none")
    before = len(server.mails)
    comes_to(site, site.run(), CLEAR)
    assert len(server.mails) == before + 1


def test_nonsense_among_many_lines(site, policy):
    path = many(policy, "dst.example:what")
    site.server()
    for _ in range(2):
        run = site.run()
        check(run, CONTROL)
        assert b"\ncontrol/tlspolicy: unknown level: dst.example:what\n" in run.report, run
        age(path)


def test_little_is_read_of_many_lines(site, policy):
    """Of the text only the line, and a few pages of the compiled form."""
    if "sanitizer" in site.home.kind:
        pytest.skip("sanitizers do not work below strace")
    site.server()
    path = many(policy, "dst.example:encrypt")
    age(path)
    assert site.home.bytes_read(path) > 200000
    assert 0 < site.home.bytes_read(path) < 1000
    assert 0 < site.home.bytes_read(f"{site.home.run_path}/tlspolicy.cdb") < 50000


# The files of the widespread TLS patch.

def add(site, folder, name, text=""):
    path = f"{site.home.path}/control/{folder}"
    os.makedirs(path, exist_ok=True)
    with open(f"{path}/{name}", "wb") as f:
        f.write(text.encode() if isinstance(text, str) else text)
    return f"{path}/{name}"


@pytest.mark.parametrize("name", ["m1.example", "M1.EXAMPLE", "dst.example"])
def test_notlshosts(site, policy, name):
    """By the name of the MX host, in lower case or as the DNS has it."""
    site.server()
    add(site, "notlshosts", name)
    comes_to(site, site.run(), CLEAR if name == "m1.example" else NOT_VERIFIED)


def test_notlshosts_and_strictness_2(site):
    site.one(2, cert="expired")
    add(site, "notlshosts", "m1.example")
    comes_to(site, site.run(), CLEAR)


def test_notlshosts_is_for_one_host(site):
    site.want(2)
    site.mx(ONE, TWO)
    first = site.server(cert=None)
    add(site, "notlshosts", "m2.example")
    second = site.server(TWO, host="m2.example")
    check(site.run(), "r", accepted(TWO))
    assert second.session.tls is None and first.session.verbs == ["EHLO", "QUIT"]


@pytest.mark.parametrize("server, result", [
    ("untrusted", verified("m1.example")), ("good", given_up(FAILED_SENTENCE)), (None, given_up(NOT_OFFERED_SENTENCE))])
@pytest.mark.parametrize("anchors", [True, False], ids=["anchors", "no-anchors"])
def test_tlshosts(site, policy, certs, server, result, anchors):
    """Verified with these certificates, and with no others."""
    if not anchors:
        site.home.control("trustanchors", None)
    site.server(cert=server)
    add(site, "tlshosts", "m1.example.pem", certs.other_root.pem)
    add(site, "notlshosts", "m1.example")
    comes_to(site, site.run(), result)


def test_tlshosts_in_upper_case(site, policy, certs):
    site.dns.forget("dst.example")
    site.dns.zone("dst.example MX 10 M1.Example.")
    site.server(cert="untrusted")
    add(site, "tlshosts", "m1.example.pem", certs.other_root.pem)
    check(site.run(), "r", accepted())


@pytest.mark.parametrize("server, result", [("self-signed", NOT_VERIFIED), (None, given_up(NOT_OFFERED_SENTENCE))])
def test_empty_pem(site, policy, server, result):
    site.server(cert=server)
    add(site, "tlshosts", "m1.example.pem")
    comes_to(site, site.run(), result)


@pytest.mark.parametrize("text", ["garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_pem_that_cannot_be_loaded(site, policy, text):
    site.server()
    add(site, "tlshosts", "m1.example.pem", text)
    comes_to(site, site.run(), given_up(SETUP) + "\ncannot read trust anchors in ")


def test_pem_that_cannot_be_opened(site, policy):
    site.server()
    os.makedirs(f"{site.home.path}/control/tlshosts/m1.example.pem")
    run = site.run()
    check(run, CONTROL)
    assert b"\ncontrol/tlshosts/m1.example.pem: " in run.report, run


def test_exhaustivelist(site):
    """No TLS with hosts that have no .pem; it stands in the place of tlsstrictness."""
    site.want(2)
    site.mx(ONE, TWO)
    first = site.server(cert="expired")
    add(site, "tlshosts", "exhaustivelist")
    check(site.run(), "r", accepted())
    assert first.session.tls is None
    add(site, "tlshosts", "m1.example.pem")
    check(site.run(), "r", accepted())
    assert first.sessions[-1].tls


def test_exhaustivelist_leaves_mta_sts(sts):
    sts.mx()
    server = sts.server()
    sts.publish("version: STSv1\nmode: enforce\nmx: m1.example\nmax_age: 86400\n")
    add(sts, "tlshosts", "exhaustivelist")
    check(sts.run(), "r", accepted())
    assert server.session.tls
    gone()


def test_a_name_that_could_be_a_path(site):
    """Names of MX hosts come from the DNS; no file is looked for under such a one."""
    site.want(0)
    site.dns.zone(f"dst.example MX 10 a/b.example.\na/b.example A {ONE}")
    add(site, "tlshosts/a", "b.example.pem", "garbage")
    add(site, "notlshosts/a", "b.example")
    server = site.server()
    run = site.run()
    check(run, "r", accepted())
    assert server.session.tls, run


def test_a_line_of_tlspolicy_beats_the_files(site, policy, certs):
    policy("dst.example:may")
    site.server(cert="self-signed")
    add(site, "tlshosts", "m1.example.pem", certs.other_root.pem)
    add(site, "notlshosts", "m1.example")
    comes_to(site, site.run(), NOT_VERIFIED)
