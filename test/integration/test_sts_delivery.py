"""MTA-STS as a part of deliveries (RFC 8461): what is sent where, and what is found out on the way."""

import os
import subprocess
import threading

import pytest

import stssite
from expect import ANY, CONTROL, accepted, check
from expect_tls import FAILED_SENTENCE, NOT_OFFERED_SENTENCE
from httpsd import DEAF, Until, reply
from smtpd import Call
from stssite import (DOMAIN, ENFORCED, NO_HANDSHAKE, NO_HOST, STATE, TESTED, UNLISTED, failed_test, make_older, policy,
                     wait_for)
from tlssite import NOT_VERIFIED, gone, told_nothing, tls_line, verified

ONE, TWO = "192.0.2.1", "192.0.2.2"
BOTH = policy("m1.example", "m2.example")

# A certificate that does not verify, and how the report says so.
BAD = {"wrong-name": "name mismatch", "expired": "certificate has expired", "self-signed": "self",
       "untrusted": "unable to get local issuer certificate"}


def delivered(sts, run, server, line):
    """The mail is there, in TLS, and the last line says how."""
    check(run, "r", accepted(server.address))
    # A server of the DNS may write a name as the question did.
    assert tls_line(run).lower() == line.lower(), run
    told_nothing(*sts.sessions)
    mail, = [m for s in sts.sessions for m in s.mails]
    assert mail.complete


def in_clear_text(sts, run, server):
    check(run, "r", accepted(server.address))
    session = server.sessions[-1]
    assert session.mails and not session.tls, session.clear


def deferred(sts, run, first, *lines):
    """Nobody was told of the mail, and the report has these lines."""
    check(run, ("Z", first, ANY))
    text = run.message.text.decode().split("\n")
    for line in lines:
        assert any(t.startswith(line) for t in text), (line, text)
    sts.unsent()


# A policy in mode enforce.

def test_listed_host(sts):
    sts.mx()
    server = sts.server()
    host = sts.publish(policy("m1.example"))
    for _ in range(2):
        delivered(sts, sts.run(), server, ENFORCED + "m1.example")
    assert len(host.requests) == 1 and server.sessions[0].tls["sni"] == "m1.example"
    gone()


@pytest.mark.parametrize("pattern, name, is_listed", [
    ("*.example", "m1.example", True), ("*.EXAMPLE", "M1.example", True), ("M1.Example", "m1.example", True),
    ("*.dst.example", "mx.dst.example", True), ("*.dst.example", "a.mx.dst.example", False),
    ("*.dst.example", "dst.example", False), ("example", "m1.example", False)])
def test_patterns(sts, pattern, name, is_listed):
    sts.dns.zone(f"dst.example MX 10 {name}.\n{name} A {ONE}")
    server = sts.server(cert=sts.leaf(names=[name]))
    sts.publish(policy(pattern))
    run = sts.run()
    if is_listed:
        delivered(sts, run, server, ENFORCED + name)
    else:
        deferred(sts, run, NO_HOST, f"{name}: {UNLISTED}")
        assert sts.sessions == []


def test_unlisted_host_is_left_out(sts):
    sts.mx(ONE, TWO)
    sts.server(ONE)
    server = sts.server(TWO, host="m2.example")
    sts.publish(policy("m2.example"))
    run = sts.run()
    delivered(sts, run, server, ENFORCED + "m2.example")
    assert f"\nTried before: m1.example ({ONE}): {UNLISTED}\n".encode() in run.report
    assert len(sts.sessions) == 1


def test_one_address_under_a_listed_and_an_unlisted_name(sts):
    sts.mx(ONE, ONE)
    server = sts.server(ONE, host="m2.example")
    sts.publish(policy("m2.example"))
    delivered(sts, sts.run(), server, ENFORCED + "m2.example")


def test_no_host_is_listed(sts):
    sts.mx(ONE, TWO)
    sts.server(ONE)
    sts.server(TWO, host="m2.example")
    host = sts.publish(policy("other.example"))
    deferred(sts, sts.run(), NO_HOST, f"m1.example: {UNLISTED}", f"m2.example: {UNLISTED}")
    assert sts.sessions == [] and len(host.requests) == 1


def test_the_name_of_the_mx_record_counts(sts):
    """Not that of which it is an alias: neither for the policy nor for the certificate."""
    sts.dns.zone(f"dst.example MX 10 m1.example.\nm1.example CNAME real.example.\nreal.example A {ONE}")
    server = sts.server(host="m1.example")
    sts.publish(policy("m1.example"))
    delivered(sts, sts.run(), server, ENFORCED + "m1.example")


@pytest.mark.parametrize("cert", BAD)
def test_certificate_that_does_not_verify(sts, cert):
    sts.mx(ONE, TWO)
    sts.server(ONE, cert=cert)
    second = sts.server(TWO, host="m2.example")
    sts.publish(BOTH)
    run = sts.run()
    delivered(sts, run, second, ENFORCED + "m2.example")
    assert f"\nTried before: m1.example ({ONE}): TLS failed: certificate verify failed: ".encode() in run.report
    assert BAD[cert].encode() in run.report
    assert sts.servers[0].session.secret == b""


@pytest.mark.parametrize("cert", BAD)
def test_no_certificate_verifies(sts, cert):
    sts.mx(ONE, TWO)
    sts.server(ONE, cert=cert)
    sts.server(TWO, cert=cert, host="m2.example")
    sts.publish(BOTH)
    run = sts.run()
    deferred(sts, run, f"Connected to {TWO} {FAILED_SENTENCE}",
             f"Also tried: m1.example ({ONE}): TLS failed: certificate verify failed: ",
             "Server: m2.example", "TLS: certificate verify failed: ")
    assert run.report.decode().count(BAD[cert]) == 2, run
    assert [s.connections for s in sts.servers] == [1, 1]
    assert all(s.secret == b"" for s in sts.sessions)


def test_each_host_fails_in_another_way(sts):
    """Three hosts, three reasons, a line for each."""
    sts.mx(ONE, TWO, "192.0.2.3")
    sts.server(ONE)
    sts.server(TWO, cert="expired", host="m2.example")
    sts.server("192.0.2.3", cert=None)
    sts.publish(policy("m2.example", "m3.example"))
    deferred(sts, sts.run(), f"Connected to 192.0.2.3 {NOT_OFFERED_SENTENCE}",
             f"Also tried: m1.example ({ONE}): {UNLISTED}",
             f"Also tried: m2.example ({TWO}): TLS failed: certificate verify failed: certificate has expired",
             "Server: m3.example")


@pytest.mark.parametrize("script, sentence", [
    ({"cert": None}, NOT_OFFERED_SENTENCE),
    ({"STARTTLS": "454 not now"}, "but STARTTLS was refused. (#4.7.4)"),
    ({"STARTTLS": NO_HANDSHAKE}, FAILED_SENTENCE)],
    ids=["not-offered", "refused", "no-handshake"])
def test_host_without_tls(sts, script, sentence):
    sts.mx()
    sts.server(**script)
    sts.publish(policy("m1.example"))
    run = sts.run()
    deferred(sts, run, f"Connected to {ONE} {sentence}")
    assert sts.servers[0].connections == 1


# A policy in mode testing, or none.

@pytest.mark.parametrize("strictness", [0, 1])
@pytest.mark.parametrize("cert, reason", [("good", None), *BAD.items()])
def test_testing_records_the_verdict(sts, strictness, cert, reason):
    sts.home.control("tlsstrictness", f"{strictness}\n")
    sts.mx()
    server = sts.server(cert=cert)
    sts.publish(policy("m1.example", mode="testing"))
    run = sts.run()
    check(run, "r", accepted())
    line = tls_line(run)
    if reason is None:
        assert line == TESTED + "m1.example"
    else:
        head, tail = failed_test("\0").split("\0")
        assert line.startswith(head) and line.endswith(tail) and reason in line, run
    assert server.session.tls and len(server.mails) == 1


def test_testing_and_an_unlisted_host(sts):
    sts.mx()
    server = sts.server()
    sts.publish(policy("other.example", mode="testing"))
    delivered(sts, sts.run(), server, failed_test(UNLISTED))


def test_testing_and_strictness_2(sts):
    sts.want(2)
    sts.mx(ONE, TWO)
    sts.server(ONE, cert="expired")
    server = sts.server(TWO, host="m2.example")
    sts.publish(policy("other.example", mode="testing"))
    run = sts.run()
    check(run, "r", accepted(TWO))
    assert tls_line(run) == failed_test(UNLISTED).replace("not verified", "verified for m2.example"), run
    assert server.mails and sts.servers[0].session.secret == b""


@pytest.mark.parametrize("script, line", [
    ({"cert": None}, None),
    ({"STARTTLS": "454 not now"}, "STARTTLS refused (454), sent in clear text"),
    ({"sessions": [{"STARTTLS": NO_HANDSHAKE}, {}]}, "handshake failed (")],
    ids=["not-offered", "refused", "no-handshake"])
def test_testing_and_a_host_without_tls(sts, script, line):
    """As with strictness 0, because that is what there is."""
    sts.mx()
    server = sts.server(**script)
    sts.publish(policy("m1.example", mode="testing"))
    run = sts.run()
    in_clear_text(sts, run, server)
    assert (tls_line(run) or "").startswith(line or "") and (line is None) == (tls_line(run) is None), run


@pytest.mark.parametrize("text", [policy(mode="none"), None], ids=["mode-none", "no-record"])
def test_no_policy(sts, text):
    sts.mx()
    sts.server(cert="self-signed")
    if text:
        sts.publish(text)
    delivered(sts, sts.run(), sts.servers[0], NOT_VERIFIED)
    gone(timeout=12)
    assert sts.has_entry() == bool(text)


# The first fetch.

def test_a_delivery_waits_for_the_first_fetch(sts):
    gate = threading.Event()
    sts.mx()
    server = sts.server()
    host = sts.publish(Until(gate), policy("m1.example"))
    process = sts.home.start()
    wait_for(lambda: host.requests)
    assert server.connections == 0
    gate.set()
    delivered(sts, process.finish(), server, ENFORCED + "m1.example")


def test_a_fetch_that_is_too_slow(sts):
    """It goes without a policy; the next one has it."""
    gate = threading.Event()
    sts.home.control("mtasts", "1\n")
    sts.mx()
    server = sts.server(cert="self-signed")
    host = sts.publish(Until(gate), policy("m1.example"))
    run = sts.run()
    assert run.wall >= 1
    delivered(sts, run, server, NOT_VERIFIED)
    assert not sts.has_entry()
    # Another one does not wait for it: it has been under way for too long.
    run = sts.run()
    delivered(sts, run, server, NOT_VERIFIED)
    gate.set()
    wait_for(sts.has_entry)
    deferred(sts, sts.run(), f"Connected to {ONE} {FAILED_SENTENCE}", "TLS: certificate verify failed: ")
    assert len(host.requests) == 1
    gone()


@pytest.mark.timed
def test_a_fetch_that_is_too_slow_holds_no_longer_than_mtasts(sts):
    sts.home.control("mtasts", "1\n")
    sts.mx()
    sts.server()
    sts.publish(DEAF)
    run = sts.run()
    assert run.lasted(2.5, least=1), run


@pytest.mark.parametrize("script, leaf", [([reply("", "404 x")], "good"), ([reply("<html>")], "good"),
                                          ([policy("m1.example")], "self-signed")], ids=["404", "html", "certificate"])
def test_a_fetch_that_fails(sts, script, leaf):
    """The mail goes without; it is not tried again at once."""
    sts.mx()
    server = sts.server(cert="self-signed")
    host = sts.publish(*script, leaf=leaf)
    for _ in range(2):
        delivered(sts, sts.run(), server, NOT_VERIFIED)
    assert len(host.sessions) == 1
    host.tls = sts.certs.context(sts.certs.leaf("good", "mta-sts.dst.example"))
    host.script = [reply(policy("m1.example"))]
    make_older(400)
    deferred(sts, sts.run(), f"Connected to {ONE} {FAILED_SENTENCE}")


def test_a_policy_host_that_is_not_there(sts):
    sts.mx()
    server = sts.server()
    sts.record()
    sts.dns.zone("mta-sts.dst.example A 192.0.2.81")
    delivered(sts, sts.run(), server, NOT_VERIFIED)


def test_the_record_is_not_answered(sts):
    """Two seconds are waited for it where no policy is known, and the mail goes."""
    sts.mx()
    server = sts.server()
    sts.dns.rule("_mta-sts.dst.example", "TXT", drop=True)
    run = sts.run()
    delivered(sts, run, server, NOT_VERIFIED)
    assert 1.9 <= run.wall < 15, run


# A policy in the cache.

@pytest.fixture
def cached(sts):
    """An enforced policy in the cache, and a host whose certificate does not verify: mail is deferred."""
    sts.mx()
    server = sts.server()
    sts.policy_host = sts.publish(policy("m1.example"))
    delivered(sts, sts.run(), server, ENFORCED + "m1.example")
    gone(timeout=12)
    server.tls = sts.certs.context(sts.certs.leaf("self-signed", "m1.example"))
    return sts


def still_enforced(sts):
    run = sts.run()
    deferred(sts, run, f"Connected to {ONE} {FAILED_SENTENCE}", "TLS: certificate verify failed: ")
    return run


@pytest.mark.parametrize("kind", ["gone", "two", "malformed", "NXDOMAIN", "SERVFAIL", "silent", "cut"])
def test_the_record_is_gone(cached, kind):
    name = "_mta-sts.dst.example"
    if kind == "gone":
        cached.record(None)
    elif kind == "two":
        cached.dns.zone(f'{name} TXT "v=STSv1; id=2;"')
    elif kind == "malformed":
        cached.record("not-an-id")
    elif kind == "silent":
        cached.dns.rule(name, drop=True)
    elif kind == "cut":
        cached.dns.rule(name, raw=b"\0")
    else:
        cached.dns.rule(name, rcode=kind)
    run = still_enforced(cached)
    assert run.wall < 15, run
    assert len(cached.policy_host.requests) == 1


@pytest.mark.timed
def test_a_silent_name_server_delays_nothing(cached):
    """Nothing about the record is waited for where a policy is known."""
    cached.dns.rule("_mta-sts.dst.example", drop=True)
    assert still_enforced(cached).lasted(1)


def test_the_policy_has_expired(cached):
    """What cannot be fetched again then is as if it had never been there."""
    make_older(604801)
    cached.policy_host.script = [reply("", "404 x")]
    delivered(cached, cached.run(), cached.servers[0], NOT_VERIFIED)


@pytest.mark.parametrize("kind", ["404", "dead", "invalid"])
def test_new_id_and_no_new_policy(cached, kind):
    cached.record("2")
    if kind == "dead":
        cached.stop()
        cached.hosts.clear()
    else:
        cached.policy_host.script = [reply("", "404 x")] if kind == "404" else [reply("mode: none\n")]
    still_enforced(cached)
    still_enforced(cached)
    assert len(cached.policy_host.requests) == (1 if kind == "dead" else 2)


def test_new_id_and_a_new_policy(cached):
    cached.record("2")
    cached.policy_host.script = [reply(policy(mode="none"))]
    delivered(cached, cached.run(), cached.servers[0], NOT_VERIFIED)
    assert len(cached.policy_host.requests) == 2


def test_a_refresh_delays_nothing(cached):
    """It goes on behind the delivery, which has the old policy."""
    gate = threading.Event()
    cached.policy_host.script = [Until(gate), reply(policy(mode="none"))]
    make_older(90000)
    # They would wait for 20 seconds, or for longer.
    assert still_enforced(cached).wall < 15
    wait_for(lambda: len(cached.policy_host.requests) == 2)
    assert still_enforced(cached).wall < 15
    gate.set()
    gone(timeout=12)
    delivered(cached, cached.run(), cached.servers[0], NOT_VERIFIED)
    assert len(cached.policy_host.requests) == 2


def test_damaged_entry(cached):
    with open(stssite.path_of(), "w", encoding="ascii") as f:
        f.write("garbage\n")
    still_enforced(cached)
    assert len(cached.policy_host.requests) == 2


# All hosts unlisted.

@pytest.fixture
def moved(sts):
    """The domain has another MX host than the policy in the cache."""
    sts.mx()
    sts.server()
    sts.policy_host = sts.publish(policy("old.example"))
    deferred(sts, sts.run(), NO_HOST, f"m1.example: {UNLISTED}")
    gone(timeout=12)
    return sts


def test_a_young_policy_is_not_fetched_again(moved):
    moved.policy_host.script = [reply(policy("m1.example"))]
    deferred(moved, moved.run(), NO_HOST)
    assert len(moved.policy_host.requests) == 1


def test_an_older_policy_is_fetched_again(moved):
    moved.policy_host.script = [reply(policy("m1.example"))]
    make_older(301)
    delivered(moved, moved.run(), moved.servers[0], ENFORCED + "m1.example")
    assert len(moved.policy_host.requests) == 2


@pytest.mark.parametrize("script", [[policy("older.example")], [reply("", "500 x")]], ids=["unlisted", "failed"])
def test_once(moved, script):
    moved.policy_host.script = [reply(s) if isinstance(s, str) else s for s in script]
    make_older(301)
    for _ in range(2):
        deferred(moved, moved.run(), NO_HOST, f"m1.example: {UNLISTED}")
    assert len(moved.policy_host.requests) == 2


# Many at once.

def test_a_hundred_deliveries_at_once(sts):
    """Few fetches, nothing in clear text, and all under the policy."""
    count = 20 if "sanitizer" in sts.home.kind else 100
    sts.home.control("mtasts", "60\n")
    sts.home.control("timeoutconnect", "60\n")
    sts.mx()
    gate = threading.Event()
    server = sts.server(sessions=[{"greeting": (Call(lambda s: None), "220 hi")}])
    host = sts.publish(Until(gate), policy("m1.example"))
    started = [sts.home.start() for _ in range(count)]
    wait_for(lambda: host.requests)
    gate.set()
    for process in started:
        run = process.finish(timeout=120)
        check(run, "r", accepted())
        assert tls_line(run) == ENFORCED + "m1.example", run
    assert 1 <= len(host.requests) <= 3
    assert server.connections == count and len(server.mails) == count
    told_nothing(*server.sessions)


# The state directory.

def remount(*options):
    subprocess.run(["mount", *options, STATE], check=True)


@pytest.fixture
def own_state(sts):
    """own_state(options): another state directory."""
    def make(*options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=2750", "none", STATE], check=True)
        for option in options:
            remount("-o", f"remount,{option}")
    yield make
    sts.stop()
    sts.hosts.clear()
    gone(timeout=12)
    for process in sts.home.processes:
        process.kill()
    subprocess.run(["umount", STATE], check=True)


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_state_directory_that_takes_nothing(sts, own_state, kind):
    """The delivery that has fetched the policy uses it."""
    own_state(*(["ro"] if kind == "read-only" else []))
    if kind == "full":
        with open(f"{STATE}/filler", "wb", buffering=0) as f:
            with pytest.raises(OSError):
                while True:
                    f.write(b"x" * 4096)
    sts.mx()
    server = sts.server()
    host = sts.publish(policy("m1.example"))
    for _ in range(2):
        delivered(sts, sts.run(), server, ENFORCED + "m1.example")
    assert len(host.requests) == 2 and not sts.has_entry()


def test_without_a_state_directory(sts):
    """qmail-remote-sts does not know whom to become: no policy, and the mail goes."""
    sts.mx()
    server = sts.server()
    sts.publish(policy("m1.example"))
    os.rename(STATE, f"{STATE}.away")
    run = sts.run()
    os.rename(f"{STATE}.away", STATE)
    assert run.letters == "rK" and server.session.tls, run


def test_without_qmail_remote_sts(sts):
    sts.mx()
    server = sts.server()
    sts.publish(policy("m1.example"))
    os.unlink(f"{sts.home.path}/bin/qmail-remote-sts")
    delivered(sts, sts.run(), server, NOT_VERIFIED)


# Beside other control files.

@pytest.mark.parametrize("level, line", [("none", None), ("may", NOT_VERIFIED), ("encrypt", NOT_VERIFIED)])
def test_a_line_of_tlspolicy_beats_it(sts, level, line):
    sts.home.control("tlspolicy", f"dst.example:{level}\n")
    sts.mx()
    server = sts.server(cert="self-signed")
    host = sts.publish(policy("other.example"))
    run = sts.run()
    check(run, "r", accepted())
    assert tls_line(run) == line and bool(server.session.tls) == bool(line), run
    assert sts.asked_for_policies() == [] and host.requests == []


def test_strictness_2(sts):
    """It demands no more than the policy, and the policy more than it."""
    sts.want(2)
    sts.mx(ONE, TWO)
    sts.server(ONE)
    second = sts.server(TWO, host="m2.example")
    sts.publish(policy("m2.example"))
    delivered(sts, sts.run(), second, ENFORCED + "m2.example")
    assert len(sts.sessions) == 1


def test_strictness_2_and_no_policy(sts):
    sts.want(2)
    sts.mx()
    server = sts.server()
    delivered(sts, sts.run(), server, verified("m1.example"))


def test_strictness_1_has_no_second_round(sts):
    """Not for hosts that the policy is about."""
    sts.want(1)
    sts.mx(ONE, TWO)
    sts.server(ONE, cert=None)
    sts.server(TWO, host="m2.example", cert="expired")
    sts.publish(BOTH)
    deferred(sts, sts.run(), f"Connected to {TWO} {FAILED_SENTENCE}",
             f"Also tried: m1.example ({ONE}): it does not offer STARTTLS")
    assert [s.connections for s in sts.servers] == [1, 1]


def test_the_relay_is_the_policy_domain(sts):
    sts.home.route("dst.example:relay.example")
    sts.dns.zone(f"relay.example A {ONE}")
    server = sts.server(host="relay.example")
    sts.publish(policy("other.example"))
    host = sts.publish(policy("relay.example"), domain="relay.example", address="192.0.2.82")
    delivered(sts, sts.run(), server, ENFORCED + "relay.example")
    gone(timeout=12)
    assert len(host.requests) == 1
    assert sts.dns.asked("_mta-sts.dst.example") == [] and not sts.has_entry() and sts.has_entry("relay.example")


def test_a_relay_that_its_policy_does_not_list(sts):
    sts.home.route(":relay.example")
    sts.dns.zone(f"relay.example A {ONE}")
    sts.server(host="relay.example")
    sts.publish(policy("*.relay.example"), domain="relay.example")
    deferred(sts, sts.run(), NO_HOST, f"relay.example: {UNLISTED}")


@pytest.mark.parametrize("route, host", [(f":[{ONE}]", "dst.example"), (f":{ONE}", "dst.example"), (None, f"[{ONE}]"),
                                         (":[2001:db8::1]", "dst.example"), (None, "[IPv6:2001:db8::1]")])
def test_literals_have_no_policy(sts, route, host):
    if route:
        sts.home.route(route)
    server = sts.server("2001:db8::1" if "db8" in (route or host) else ONE)
    delivered(sts, sts.run(host=host), server, NOT_VERIFIED)
    assert sts.dns.questions == []


@pytest.mark.parametrize("missing", ["trustanchors", "mtasts"])
def test_switched_off(sts, missing):
    sts.home.control(missing, None)
    sts.mx()
    server = sts.server()
    host = sts.publish(policy("other.example"))
    run = sts.run()
    check(run, "r", accepted())
    assert tls_line(run) == (NOT_VERIFIED if missing == "mtasts" else None)
    assert sts.asked_for_policies() == [] and host.requests == [] and not sts.has_entry()
    assert server.mails


def test_mtasts_0(sts):
    sts.home.control("mtasts", "0\n")
    sts.mx()
    sts.server()
    sts.publish(policy("other.example"))
    delivered(sts, sts.run(), sts.servers[0], NOT_VERIFIED)
    assert sts.asked_for_policies() == []


@pytest.mark.parametrize("text", ["x\n", "-1\n", "#\n"])
def test_nonsense_in_mtasts(sts, text):
    sts.home.control("mtasts", text)
    sts.mx()
    sts.server()
    run = sts.run()
    check(run, CONTROL)
    assert b"\ncontrol/mtasts" in run.report, run
    assert sts.dns.questions == []


def test_a_domain_as_it_is_written(sts):
    """In upper case, and with a last dot: the same policy."""
    sts.mx()
    server = sts.server()
    host = sts.publish(policy("m1.example"))
    for name in (DOMAIN, "DST.Example", "dst.example."):
        delivered(sts, sts.run(host=name), server, ENFORCED + "m1.example")
    assert len(host.requests) == 1
