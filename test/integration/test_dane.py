"""DANE in real life: deliveries to the names of a signed DNS (signed.py), compared with posttls-finger's verdicts.

What posttls-finger does otherwise, on purpose: with `-M may` it leaves MX hosts alone whose MX record is not signed, as we
do always; it uses TLSA records where the absence of an MX record is not proven; it goes on where `dane-only` finds no
records; and a server without STARTTLS is no failure for it.
"""

import os
import re
import threading

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

import judge
import realservers
import signed
import world
from catalogue import MESSAGE
from expect import accepted, check
from realservers import added
from signed import BY_KEY, CLEAR, ERROR, MATCH, MISMATCH, NAMES, NONE, RESOLVER, UNUSABLE, DanePostfix, tlsa
from stage import Wire
from tlssite import told_nothing, tls_line

IP = "192.0.2.1"

each_name = pytest.mark.parametrize("name", NAMES, ids=str)


@pytest.fixture(scope="session")
def all_zones(certs):
    yield signed.World(certs)
    realservers.stop_all()


@pytest.fixture
def zones(all_zones):
    """The validating resolver is the only one."""
    world.resolv_conf(f"nameserver {RESOLVER}\n")
    yield all_zones
    world.resolv_conf()


class Delivery:
    """A delivery to a name, and what came of it; `sessions` are those of the scripted server, if the name has one."""

    def __init__(self, run, sessions=()):
        self.run, self.sessions = run, sessions
        self.delivered = run.rspawn[:1] == b"K"
        self.line = tls_line(run)

    @property
    def verdict(self):
        """As signed.Verdict has it."""
        if not self.delivered:
            return MISMATCH if self.run.message.first.startswith(b"Connected to ") else ERROR
        if not self.line:
            return CLEAR
        if ", DANE (" in self.line:
            return MATCH
        return UNUSABLE if ", DANE records unusable, " in self.line else NONE


class Mailer:
    """Deliveries to names. What must hold for all of them is looked at each time."""

    def __init__(self, home, zones, smtp, certs):
        self.home, self.zones, self.smtp, self.certs = home, zones, smtp, certs
        self.servers = {}

    def want(self, dane=None, strictness=0, anchors=True, policy=None):
        self.home.control("dane", dane)
        self.home.control("tlsstrictness", f"{strictness}\n")
        self.home.control("trustanchors", f"{self.certs.bundle}\n" if anchors else None)
        self.home.control("tlspolicy", policy)

    def serve(self, name):
        """The server of a name."""
        if name.is_real:
            return self.zones.start(name.where[0])
        if name.key not in self.servers:
            (_, address), = self.zones.zones.addresses(name)
            context = name.server.context(self.certs, self.zones.zones.leaf[name.key])
            self.servers[name.key] = self.smtp(address, port=name.port or 25, tls=context, **name.server.script)
        return self.servers[name.key]

    def to_real(self, domain, server=None, message=MESSAGE):
        """A delivery to a domain whose hosts are all one real server; without one it is Postfix."""
        server = server or self.zones.start(DanePostfix)
        boxes = self.zones.boxes.setdefault(server, [])
        box = boxes.pop() if boxes else server.mailbox()
        wire = Wire()
        done = Delivery(self.home.run(host=domain, message=message,
                                      recipients=[f"{box.user}@{server.domain('tls', 4)}"]))
        if done.delivered:
            head = added(box.take(), message)
            assert bool(re.search(" with ESMTPS ", head, re.IGNORECASE)) == bool(done.line), (head, done.run)
        assert box.count() == 0, done.run
        self._keeps_secret(done, wire)
        boxes.append(box)
        return done

    def to_scripted(self, domain, server, message=MESSAGE):
        before = server.connections
        wire = Wire()
        run = self.home.run(host=domain, message=message)
        server.settle()
        done = Delivery(run, server.sessions[before:])
        assert sum(len(s.mails) for s in done.sessions) == done.delivered, run
        for session in done.sessions:
            assert done.delivered or not judge.TELLTALE.search(bytes(session.secret)), session.secret
        self._keeps_secret(done, wire)
        return done

    @staticmethod
    def _keeps_secret(done, wire):
        """Nothing was told in clear text, unless it was delivered so."""
        if done.delivered and not done.line:
            return
        told_nothing(*done.sessions)
        for where, data in wire.streams().items():
            assert where[1] == 53 or not judge.TELLTALE.search(data), f"seen in clear text on its way to {where}"

    def to(self, name, is_weak=False, message=MESSAGE):
        """A delivery to this name, of which the DNS and the server are looked at unless `is_weak`."""
        server = self.serve(name)
        self.home.control("smtproutes", f"{name.domain}:{name.host}:{name.port}\n" if name.port else None)
        done = (self.to_real if name.is_real else self.to_scripted)(name.domain, server, message)
        if is_weak:
            return done
        if name.verdict is ERROR:
            assert not done.sessions, done.sessions
        if name.verdict in (MATCH, MISMATCH):
            assert all(s.tls["sni"] == name.base for s in done.sessions if s.tls), done.sessions
        return done


@pytest.fixture
def mailer(home, zones, smtp, certs):
    return Mailer(home, zones, smtp, certs)


NOT_VERIFIED = "certificate not verified"
DANE_311 = r"DANE \(3 1 1\)"


def expected(name, strictness=0, anchors=True, level=None):
    """The letter, and a pattern for the end of the report's last line; None: there is none.

    `level` is that of control/tlspolicy.
    """
    verified = f"certificate verified for {re.escape(name.host)}"
    verdict = name.verdict
    if verdict is MATCH:
        return "K", rf"DANE \({name.proof}\)"
    if verdict in (MISMATCH, ERROR) or level == "dane-only":
        return "Z", None
    if verdict is UNUSABLE:
        if strictness < 2:
            return "K", f"DANE records unusable, {NOT_VERIFIED}"
        return ("K", f"DANE records unusable, {verified}") if anchors and name.verifies else ("Z", None)
    if not anchors and level is None:
        return "K", None
    if strictness == 2:
        return ("K", verified) if verdict is NONE and name.verifies else ("Z", None)
    return "K", NOT_VERIFIED if verdict is NONE else None


FAILED = re.compile(rb"\(#4\.7\.\d\)$")

# These fail before DANE has a say.
UNRESOLVED = ("bogus-mx", "bogus-address")


def check_done(done, letter, end=None, has_code=True):
    assert done.run.rspawn[:1].decode() == letter, done.run
    if letter == "Z":
        assert done.run.letters == "Z" and (not has_code or FAILED.search(done.run.message.first)), done.run
    elif end is None:
        assert done.line is None, done.run
    else:
        assert re.fullmatch(rf"TLSv1\.[23] [A-Z0-9_-]+ X25519, {end}", done.line or ""), done.run


# The premises.

@pytest.mark.parametrize("name, kind, is_secure", [
    ("ee.sig", "MX", True), ("mx.ee.sig", "A", True), ("_25._tcp.mx.ee.sig", "TLSA", True),
    ("_25._tcp.mx.none.sig", "TLSA", True), ("no-mx.sig", "MX", True), ("nothing.sig", "MX", True),
    ("uns.uns", "MX", False), ("mx.uns.uns", "A", False), ("no-mx-uns.uns", "MX", False), ("nothing.uns", "A", False),
    ("mx.alias.sig", "A", True), ("mx.alias-to-uns.sig", "A", False), ("mx.alias-to-uns.sig", "CNAME", True),
    ("_25._tcp.mx.tlsa-alias-to-uns.sig", "TLSA", False), ("_25._tcp.mx.tlsa-dname.sig", "TLSA", True),
    ("opt.opt", "MX", True), ("_25._tcp.mx.opt.opt", "TLSA", True), ("_25._tcp.mx.opt-none.opt", "TLSA", False),
    ("opt-no-mx.opt", "MX", True), ("any.opt-wildcard.opt", "MX", False), ("opt-delegated.sub.opt", "MX", False),
    ("bogus-mx.sig", "MX", None), ("_25._tcp.mx.bogus.sig", "TLSA", None), ("_25._tcp.mx.fail.sig", "TLSA", None),
    ("mx.bogus-denial-of-aaaa.sig", "AAAA", None), ("mx.bogus-denial-of-aaaa.sig", "A", True),
])
def test_unbound_says_what_is_secure(zones, name, kind, is_secure):
    """Asked as we ask, with AD and without DO. None: SERVFAIL."""
    question = dns.message.make_query(name, kind)
    question.flags |= dns.flags.AD
    reply = dns.query.udp_with_fallback(question, RESOLVER, timeout=20)[0]
    assert (reply.rcode() == dns.rcode.SERVFAIL) == (is_secure is None), reply
    assert bool(reply.flags & dns.flags.AD) == bool(is_secure), reply


# The verdicts.

@each_name
def test_posttls_finger_has_the_same_verdict(mailer, zones, name):
    mailer.serve(name)
    mailer.want("1\n")
    theirs, said = zones.start(DanePostfix).finger(name.destination)
    ours = mailer.to(name)
    assert (ours.verdict, theirs) == (name.verdict, name.finger), (ours.run, said)


@pytest.mark.parametrize("strictness, anchors", [
    (0, True), (2, True), *(pytest.param(n, False, marks=pytest.mark.long) for n in (0, 2))],
    ids=["0", "2", "0-no-anchors", "2-no-anchors"])
@each_name
def test_a_delivery_does_what_the_verdict_demands(mailer, name, strictness, anchors):
    mailer.want("1\n", strictness, anchors)
    check_done(mailer.to(name), *expected(name, strictness, anchors), name.key not in UNRESOLVED)


@pytest.mark.parametrize("level, anchors", [
    pytest.param("dane", False, marks=pytest.mark.long), ("dane-only", True), pytest.param("dane", True, marks=pytest.mark.long),
    pytest.param("dane-only", False, marks=pytest.mark.long)], ids=["dane-no-anchors", "dane-only", "dane", "dane-only-no-anchors"])
@each_name
def test_tlspolicy_can_demand_it(mailer, name, level, anchors):
    """Without control/dane; the key is the next hop."""
    mailer.want(None, 0, anchors, policy=f"{next_hop(name)}:{level}\n")
    check_done(mailer.to(name), *expected(name, 0, anchors, level), name.key not in UNRESOLVED)


@pytest.mark.parametrize("key", ["ee-wrong", "ta-wrong-name", "strong-wrong", "bogus", "fail", "alias-both", "relay-wrong"])
def test_tlspolicy_can_weaken_it(mailer, key):
    """TLSA records are not asked for then."""
    before = mailer.zones.unbound.asked("TLSA")
    mailer.want("1\n", policy=f"{next_hop(BY_KEY[key])}:encrypt\n")
    check_done(mailer.to(BY_KEY[key], is_weak=True), "K", NOT_VERIFIED)
    assert mailer.zones.unbound.asked("TLSA") == before


@pytest.mark.parametrize("file, text, end", [
    ("notlshosts/{}", "", None), ("tlshosts/{}.pem", "", NOT_VERIFIED), ("tlshosts/{}.pem", "root", "certificate verified for .*"),
    ("tlshosts/exhaustivelist", "", "Z")], ids=["notlshosts", "empty", "pem", "exhaustivelist"])
def test_files_of_the_tls_patch_weaken_it(mailer, file, text, end):
    """But exhaustivelist stands for the strictness only."""
    name = BY_KEY["ee-wrong"]
    path = f"{mailer.home.path}/control/{file.format(name.host)}"
    os.mkdir(os.path.dirname(path), 0o755)
    with open(path, "wb") as f:
        f.write(mailer.certs.root.pem if text else b"")
    mailer.want("1\n")
    check_done(mailer.to(name, is_weak=True), "Z" if end == "Z" else "K", end)


@pytest.mark.parametrize("required, letter", [(None, "Z"), ("0\n", "Z"), ("1\n", "K"), ("2\n", "Z")])
def test_tls_required_no_switches_it_off_where_it_is_obeyed(mailer, required, letter):
    before = mailer.zones.unbound.asked("TLSA")
    mailer.want("1\n")
    mailer.home.control("tlsrequired", required)
    check_done(mailer.to(BY_KEY["ee-wrong"], is_weak=True, message=b"TLS-Required: No\n" + MESSAGE), letter, NOT_VERIFIED)
    assert (mailer.zones.unbound.asked("TLSA") == before) == (letter == "K")


def next_hop(name):
    return name.host if name.port else name.domain


def test_without_dane_no_tlsa_record_is_asked_for(mailer):
    before = mailer.zones.unbound.asked("TLSA")
    for control in (None, "0\n"):
        for key in ("ee", "ee-wrong", "uns", "no-mx"):
            mailer.want(control)
            check_done(mailer.to(BY_KEY[key], is_weak=True), "K", NOT_VERIFIED)
    assert mailer.zones.unbound.asked("TLSA") == before
    mailer.want("1\n")
    check_done(mailer.to(BY_KEY["ee"]), "K", DANE_311)
    assert mailer.zones.unbound.asked("TLSA") == before + 1


# Several hosts.

@pytest.mark.parametrize("strictness", [0, 2])
@pytest.mark.parametrize("domain, end", [
    ("wrong-then-right.sig", DANE_311), ("wrong-then-none.sig", None), ("bogus-then-right.sig", DANE_311),
    ("fail-then-none.sig", None), ("no-starttls-then-right.sig", DANE_311)])
def test_the_next_host_is_tried(mailer, domain, end, strictness):
    mailer.want("1\n", strictness)
    verified = "certificate verified for mx.none.sig" if strictness else NOT_VERIFIED
    check_done(mailer.to_real(domain), "K", end or verified)


@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_no_host_left_is_temporary(mailer, strictness):
    mailer.want("1\n", strictness)
    check_done(mailer.to_real("all-wrong.sig"), "Z")


@pytest.mark.parametrize("domain", ["all-without-lookup.sig", "lookup-and-nobody.sig"])
def test_a_host_that_could_not_be_looked_up_is_named(mailer, domain):
    mailer.want("1\n")
    done = mailer.to_real(domain)
    check_done(done, "Z", has_code=domain.startswith("all"))
    for key in signed.SEVERAL[domain][:1 if domain.startswith("lookup") else 2]:
        assert re.search(rb"\n(%s|[0-9.]+): .*TLSA" % re.escape(BY_KEY[key].host).encode(), done.run.report), done.run


# Resolvers.

@pytest.mark.parametrize("text", [
    f"nameserver {RESOLVER}\noptions edns0\n", f"nameserver {RESOLVER}\noptions use-vc\n",
    f"search sig\nnameserver {RESOLVER}\n", f"nameserver {RESOLVER}\nnameserver 127.0.0.99\n",
    f"nameserver {RESOLVER}\nnameserver 192.0.2.53\noptions trust-ad\n",
], ids=["edns0", "use-vc", "search", "two", "trust-ad"])
def test_a_resolver_is_trusted(mailer, text):
    world.resolv_conf(text)
    mailer.want("1\n")
    check_done(mailer.to(BY_KEY["ee"]), "K", DANE_311)


@pytest.mark.parametrize("level, letter", [(None, "K"), ("dane", "Z"), ("dane-only", "Z")])
def test_a_resolver_that_is_not_on_loopback_is_not_trusted(mailer, level, letter):
    """One is enough, though the answers come from the other."""
    world.resolv_conf(f"nameserver {RESOLVER}\nnameserver 192.0.2.53\n")
    mailer.want("1\n", policy=level and f"ee-wrong.sig:{level}\n")
    done = mailer.to(BY_KEY["ee-wrong"], is_weak=True)
    check_done(done, letter, NOT_VERIFIED)
    assert letter == "K" or b"resolver" in done.run.report, done.run


# When questions are asked: the scripted DNS server.

def scripted(site, *names):
    """One MX host; these names are signed."""
    site.home.control("dane", "1\n")
    site.dns.sign(*names)
    return site.one(0)


def test_tlsa_is_asked_for_in_the_wave_of_the_addresses(site):
    """The addresses are not answered before it is."""
    server = scripted(site, "dst.example", "m1.example")
    site.dns.zone("_25._tcp.m1.example TLSA " + tlsa("3 1 1", site.certs, site.certs.leaf("good", "m1.example")))
    gate = threading.Event()
    site.dns.rule("m1.example", hold=gate)
    process = site.home.start()
    site.dns.wait_questions(1 + 3)
    gate.set()
    run = process.finish()
    check(run, "r", accepted())
    assert tls_line(run).endswith(", DANE (3 1 1)") and len(server.mails) == 1
    assert len(site.dns.questions) == 4, site.dns.questions


def test_hosts_that_are_not_signed_are_not_kept_waiting(site):
    """Their name servers may not answer a question for TLSA at all."""
    server = scripted(site, "dst.example")
    site.dns.rule("_25._tcp.m1.example", drop=True)
    run = site.run()
    check(run, "r", accepted())
    assert tls_line(run).endswith(NOT_VERIFIED) and len(server.mails) == 1
    assert run.wall < 10, run


def test_a_domain_that_is_not_signed_is_asked_nothing_about_dane(site):
    server = scripted(site, "m1.example")
    site.dns.zone("_25._tcp.m1.example TLSA 3 1 1 " + "00" * 32)
    run = site.run()
    check(run, "r", accepted())
    assert tls_line(run).endswith(NOT_VERIFIED) and len(server.mails) == 1
    assert not site.dns.asked("_25._tcp.m1.example"), site.dns.questions


def test_an_address_has_no_tlsa_records(site):
    site.home.control("dane", "1\n")
    site.dns.sign(".")
    site.want(0)
    site.server()
    check(site.run(host=f"[{IP}]"), "r", accepted())
    assert site.dns.questions == []


@pytest.mark.parametrize("record, end", [("3 1 1", ", DANE (3 1 1)"), ("3 1 1 other", None), (None, ", " + NOT_VERIFIED)],
                         ids=["right", "wrong", "none"])
def test_connections_that_race_keep_the_policy_of_their_own_host(site, record, end):
    """One host does not answer, the other has other records; which comes first is left to chance."""
    site.home.control("dane", "1\n")
    site.dns.sign(".")
    site.want(0)
    for number, address in ((1, world.HOLE4), (2, "192.0.2.2")):
        site.dns.zone(f"dst.example MX 10 m{number}.example.\nm{number}.example A {address}")
    site.home.control("timeoutconnect", "2\n")
    server = site.server("192.0.2.2", host="m2.example")
    if record:
        site.dns.zone("_25._tcp.m2.example TLSA " + tlsa(record, site.certs, site.certs.leaf("good", "m2.example")))
    else:
        site.dns.zone("_25._tcp.m1.example TLSA " + tlsa("3 1 1 other", site.certs, None))
    run = site.run()
    assert run.letters == ("rK" if end else "Z"), run
    assert not end or tls_line(run).endswith(end), run
    assert len(server.mails) == bool(end)


@pytest.mark.parametrize("text", ["2\n", "-1\n", "yes\n", "99999999999999999999\n"])
def test_nonsense_in_dane_is_temporary(site, text):
    server = scripted(site, "dst.example")
    site.home.control("dane", text)
    run = site.home.run()
    assert run.letters == "Z" and b"control/dane" in run.report and server.connections == 0, run
