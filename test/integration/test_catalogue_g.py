"""The catalogue, group G: MTA-STS, TLS reports, TLS-Required.

The policy host is scripted (httpsd.py); its certificate is good unless a case says otherwise. Where a policy is cached,
qmail-remote-sts has fetched it before the delivery. At strictness 0 an enforced policy shows in that nothing goes in clear
text or to a server that does not verify, and a policy that is not there in that it does.
"""

import functools
import re
import threading

from catalogue import ONE, TWO, Case, Setup, Start, Want, not_connected, table
from expect import ANY
from httpsd import CUT, DEAF, Drip, Until, chunked, reply
from stssite import DOMAIN, NO_HANDSHAKE, POLICY_HOST, UNLISTED, make_older, path_of, policy, wait_for
from test_catalogue_e import not_a_byte
from test_tlsrequired import FIELD, REPORT
from test_tlsrpt import COLLECTORS, RECORD, SOCKET, Collector
from tlssite import gone, told_nothing

BOTH = ("opp12", "opp13", "ver13")
GOOD = policy("m1.example")
MX = "_mta-sts.dst.example"


# What must come of it.

def enforced(host="m1.example", check=None):
    return Want("K", proof=f"MTA-STS, certificate verified for {re.escape(host)}", secret=True, check=check)


def fails(*texts, connected=True):
    """Temporary, and no server has learnt anything."""
    def check(stage):
        not_a_byte(stage)
        assert stage.run.letters == "Z" and re.search(rb"\(#4\.7\.\d\)\n", stage.run.report), stage.run
        for text in texts:
            assert text.encode() in stage.run.report, stage.run
        if not connected:
            not_connected(stage)

    return Want("Z", secret=True, check=check)


STANDS = fails("but TLS failed. (#4.7.5)\n", "certificate verify failed: ")


def without(check=None, **how):
    """Delivered as if there were no MTA-STS."""
    return Want("K", check=check, **how)


def in_testing_mode(reason, check=None):
    return Want("K", proof=f"MTA-STS testing: {reason}, certificate not verified", check=check)


def fetched(times):
    def check(stage):
        host, = stage.sts.hosts
        assert len(host.requests) == times, host.requests
    return check


# Cases.

def g(name, want, *script, prepare=None, over="opp13", cert="good", leaf="good", control=(), says=None, start=None,
      within=None, **setup):
    """A case with this policy host; without a script there is no record either."""
    def set_up(stage):
        if script:
            stage.sts.publish(*script, leaf=leaf)
        if prepare:
            prepare(stage)

    if within:
        want.within = within
    return Case(name, Setup(prepare=set_up, cert=cert, control=control, **setup), want, start, over=over, says=says)


def fetch(stage):
    """Put the policy into the cache."""
    program = f"{stage.home.path}/bin/qmail-remote-sts"
    done = stage.home.start(args=[DOMAIN], program=program, argv0="qmail-remote-sts", message=b"").finish()
    assert done.exit_code == 0, done
    gone()


def cached(name, want, change, *, then=None, cert="self-signed", **how):
    """A case in which a policy is cached, and something changes; then the policy host says something else."""
    def prepare(stage):
        fetch(stage)
        if then:
            stage.sts.hosts[0].script = list(then)
        change(stage)

    return g(name, want, GOOD, prepare=prepare, cert=cert, **how)


def second(stage, cert="good"):
    stage.dns.zone(f"dst.example MX 20 m2.example.\nm2.example A {TWO}")
    stage.server(TWO, cert=cert, host="m2.example")


def enforce_cases():
    yield g("G1-first", enforced(check=fetched(1)), GOOD, over=(*BOTH, "enc"))
    yield cached("G1-cached", enforced(check=fetched(1)), lambda stage: None, cert="good", over=BOTH)
    yield g("G2-unlisted", fails(f"m1.example: {UNLISTED}\n", connected=False), policy("other.example"), over=BOTH)
    yield g("G2-next", enforced("m2.example"), policy("m2.example"), prepare=second, over=BOTH)
    yield g("G2-all", fails(f"m1.example: {UNLISTED}\n", f"m2.example: {UNLISTED}\n", connected=False),
            policy("other.example"), prepare=second)
    for cert in ("self-signed", "untrusted", "expired", "early", "wrong-name", "cn-only", "no-intermediate"):
        yield g(f"G3-{cert}", fails("but TLS failed. (#4.7.5)\n"), GOOD, cert=cert, over=BOTH)
    yield g("G3-next", enforced("m2.example"), policy("m1.example", "m2.example"), prepare=second, cert="expired", over=BOTH)
    yield g("G3-all", fails(f"Also tried: m1.example ({ONE}): TLS failed: "), policy("*.example"), cert="expired",
            prepare=lambda stage: second(stage, "wrong-name"))
    yield g("G3-not-offered", fails("but it does not offer STARTTLS. (#4.7.4)\n"), GOOD, cert=None, over=("opp13", "ver13"))
    yield g("G3-refused", fails("but STARTTLS was refused. (#4.7.4)\n"), GOOD, STARTTLS="454 not now", over=BOTH)
    yield g("G3-no-handshake", fails("but TLS failed. (#4.7.5)\n"), GOOD, STARTTLS=NO_HANDSHAKE, over=BOTH)


def mode_cases():
    def counted(stage):
        """The collector is told of a failed session."""
        data, = stage.collector.datagrams()
        stage.collector.close()
        assert b'"policy-type":2' in data and data.endswith(b',"t":1,"f":1}]}'), data

    def collect(stage):
        stage.collector = Collector()
        stage.dns.zone(f'_smtp._tls.{DOMAIN} TXT "{RECORD}"')

    for cert, why in (("self-signed", "self-signed certificate"), ("expired", "certificate has expired"),
                      ("wrong-name", "name mismatch"), ("untrusted", "unable to get local issuer certificate")):
        yield g(f"G4-{cert}", in_testing_mode(why, counted), policy("m1.example", mode="testing"), cert=cert,
                prepare=collect, control={"tlsrptsocket": f"{SOCKET}\n"}, over=("opp12", "opp13"))
    yield g("G4-unlisted", in_testing_mode(UNLISTED, counted), policy("other.example", mode="testing"), prepare=collect,
            control={"tlsrptsocket": f"{SOCKET}\n"})
    yield g("G4-good", Want("K", proof="MTA-STS testing, certificate verified for m1.example"),
            policy("m1.example", mode="testing"), over=BOTH)
    yield g("G4-not-offered", without(counted), policy("m1.example", mode="testing"), cert=None, prepare=collect,
            control={"tlsrptsocket": f"{SOCKET}\n"}, over="opp")
    yield g("G4-no-handshake", without(), policy("m1.example", mode="testing"), over="opp",
            sessions=[{"STARTTLS": NO_HANDSHAKE}, {}])
    yield g("G5-none", without(fetched(1)), policy(mode="none"), cert="self-signed", over=("opp12", "opp13"))
    yield g("G5-no-record", without(), cert="self-signed")
    yield g("G5-no-answer", without(), cert="self-signed", prepare=lambda stage: stage.dns.rule(MX, "TXT", rcode="SERVFAIL"))
    yield g("G5-clear-text", without(), policy(mode="none"), cert=None, over="opp")


MALFORMED = {
    "id-first": "id=1; v=STSv1", "STSv12": "v=STSv12; id=1", "no-id": "v=STSv1;", "empty-id": "v=STSv1; id=",
    "long-id": f"v=STSv1; id={'x' * 33}", "odd-id": "v=STSv1; id=a-b", "two-semicolons": "v=STSv1;; id=1",
    "lower-case": "v=stsv1; id=1",
}


def set_record(stage, *records):
    stage.dns.forget(MX)
    for record in records:
        stage.dns.zone(f'{MX} TXT "{record}"')


def record_cases():
    yield cached("G6-gone", STANDS, set_record)
    for rcode in ("NXDOMAIN", "SERVFAIL"):
        yield cached(f"G6-{rcode}", STANDS, lambda stage, r=rcode: stage.dns.rule(MX, rcode=r))
    yield cached("G6-silent", STANDS, lambda stage: stage.dns.rule(MX, drop=True))
    yield cached("G6-expired", without(), lambda stage: (set_record(stage), make_older(604801)),
                 says="what has expired, and is not published any more, is forgotten")
    twice = ("v=STSv1; id=2;", "v=STSv1; id=3;")
    yield cached("G7-cached", STANDS, lambda stage: set_record(stage, *twice))
    yield g("G7-first", without(fetched(0)), GOOD, cert="self-signed", prepare=lambda stage: set_record(stage, *twice))
    for kind, record in MALFORMED.items():
        yield cached(f"G8-{kind}-cached", STANDS, lambda stage, r=record: set_record(stage, r))
        yield g(f"G8-{kind}", without(fetched(0)), GOOD, cert="self-signed",
                prepare=lambda stage, r=record: set_record(stage, r))
    yield g("G8-among-others", enforced(), GOOD, prepare=lambda stage: set_record(stage, "v=spf1 -all", "v=STSv1; id=1"))


def release(stage):
    """A delivery that goes on without the policy host; which is let go then."""
    stage.deliver()
    stage.sts.stop()
    stage.sts.hosts.clear()


SLOW = {"mtasts": "1\n"}


def fetch_cases():
    def renew(stage):
        set_record(stage, "v=STSv1; id=2;")

    def weak(stage):
        renew(stage)
        stage.sts.hosts[0].tls = stage.certs.context(stage.certs.leaf("self-signed", "mta-sts.dst.example"))

    for status in ("301 Moved", "302 Found", "404 Not Found", "500 x"):
        wrong = reply(policy(mode="none"), status, Location="https://mta-sts.dst.example/.well-known/mta-sts.txt")
        yield cached(f"G9-{status[:3]}-cached", STANDS, renew, then=[wrong])
        yield g(f"G9-{status[:3]}", without(fetched(1)), wrong, cert="self-signed")
    yield cached("G9-time-out-cached", STANDS, renew, then=[DEAF], control=SLOW, start=Start(play=release))
    yield g("G9-time-out", without(), DEAF, cert="self-signed", control=SLOW, start=Start(play=release))
    yield cached("G9-tls-cached", STANDS, weak, then=[reply(policy(mode="none"))])
    yield cached("G9-expired", without(), lambda stage: (renew(stage), make_older(604801)), then=[reply("", "404 x")])
    for leaf in ("self-signed", "untrusted", "expired", "early", "wrong-name", "cn-only", "no-intermediate"):
        yield g(f"G10-{leaf}", without(fetched(0)), GOOD, leaf=leaf, cert="self-signed")
    yield g("G10-address", without(fetched(0)), GOOD, cert="self-signed", prepare=_address_only)
    for name, text in (("64-kB-and-1", GOOD + "#" * (65537 - len(GOOD))), ("1-MB", GOOD + "#" * 1000000)):
        yield g(f"G11-{name}", without(), text, cert="self-signed")
    yield g("G11-64-kB", enforced(), GOOD + "#" * (65536 - len(GOOD)))
    yield g("G11-endless", without(), reply(GOOD, length=False), b"#" * 10000000, cert="self-signed")
    yield g("G11-drip", without(), Drip(reply(GOOD), 1), cert="self-signed", control=SLOW, start=Start(play=release),
            says="the fetch goes on for a minute at most, the delivery without it after mtasts seconds")


def _address_only(stage):
    leaf = stage.certs.leaf("address", "mta-sts.dst.example", addresses=(POLICY_HOST,))
    stage.sts.hosts[0].tls = stage.certs.context(leaf)


def body_cases():
    for name, text in {
            "crlf": GOOD.replace("\n", "\r\n"), "mixed": GOOD.replace("\n", "\r\n", 2), "bom": "\ufeff" + GOOD,
            "junk": GOOD + "junk\n:\n\n: x\n", "unknown": "x: y\n" + GOOD, "no-last-line-end": GOOD[:-1],
            "repeated": GOOD + "version: STSv2\nmode: none\nmax_age: 0\n", "blanks": GOOD.replace(": ", ": \t "),
    }.items():
        yield g(f"G12-{name}", enforced(), text, over=("opp13", "ver13"))
    yield g("G12-first-counts", without(), policy("m1.example", mode="none") + "mode: enforce\n", cert="self-signed")
    for name, text in {
            "no-version": GOOD.replace("version", "x"), "version-2": GOOD.replace("STSv1", "STSv2"),
            "no-mode": GOOD.replace("mode", "x"), "mode-doubt": GOOD.replace("enforce", "doubt"),
            "no-max-age": GOOD.replace("max_age", "x"), "negative": GOOD.replace("604800", "-1"),
            "11-digits": GOOD.replace("604800", "10000000000"), "no-mx": policy(), "nmx": GOOD.replace("mx:", "nmx:"),
            "mx-address": policy("192.0.2.1"), "empty": "\n", "html": "<html></html>",
    }.items():
        yield g(f"G13-{name}", without(fetched(1)), text, cert="self-signed")
        yield cached(f"G13-{name}-cached", STANDS, lambda stage: set_record(stage, "v=STSv1; id=2;"), then=[reply(text)])
    yield g("G13-10-digits", enforced(), policy("m1.example", age=9999999999),
            says="a max_age over 31557600 is taken as 31557600")
    for kind in ("text/html", "application/octet-stream", "text/plainer", None):
        yield g(f"G14-{kind}", without(), reply(GOOD, kind=kind), cert="self-signed")
    yield g("G14-parameters", enforced(), reply(GOOD, kind="TEXT/plain ; charset=utf-8"))
    for name, script in {
            "short": [reply(GOOD)[:-1]], "no-last-chunk": [chunked(GOOD.encode(), end=b"")],
            "half-a-chunk": [chunked(GOOD.encode())[:-20], CUT], "cut": [reply(GOOD, length=False), CUT],
            "cut-header": [b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n", CUT], "nothing": [CUT],
    }.items():
        yield g(f"G15-{name}", without(), *script, cert="self-signed")
    yield g("G15-chunks", enforced(), chunked(GOOD[:20].encode(), GOOD[20:].encode()))


def name_cases():
    for name, is_listed in (("a.mail.example", True), ("a.b.mail.example", False), ("mail.example", False)):
        yield g(f"G16-{name}", enforced(name) if is_listed else fails(f"{name}: {UNLISTED}\n", connected=False),
                policy("*.mail.example"), host=name, over=BOTH)
    yield g("G17-upper", enforced(), policy("M1.EXAMPLE"), over=("opp13", "ver13"))
    yield g("G17-upper-wildcard", enforced(), policy("*.EXAMPLE"))
    yield g("G17-dot", enforced(), policy("m1.example."))
    yield g("G17-u-label", fails(UNLISTED, connected=False), policy("b\u00fccher.example", "other.example"),
            host="xn--bcher-kva.example", says="A-labels only; a pattern that is no name matches nothing")
    yield g("G17-u-label-only", without(), policy("b\u00fccher.example"), cert="self-signed", host="xn--bcher-kva.example",
            says="a policy without any valid pattern is no policy")
    yield g("G17-a-label", enforced("xn--bcher-kva.example"), policy("xn--bcher-kva.example"), host="xn--bcher-kva.example")
    alias = f"dst.example MX 10 m1.example.\nm1.example CNAME real.example.\nreal.example A {ONE}"
    yield g("G18-alias", enforced(), GOOD, zone=alias)
    yield g("G18-target-listed", fails(UNLISTED, connected=False), policy("real.example"), zone=alias)
    a_label = "xn--bcher-kva.example"
    yield g("G19-a-label", enforced(check=lambda stage: _asked(stage, a_label)), prepare=_publish_for(a_label),
            start=Start(host=a_label))


def _publish_for(domain):
    def prepare(stage):
        stage.dns.zone(f"{domain} MX 10 m1.example.")
        stage.sts.publish(GOOD, domain=domain)
    return prepare


def _asked(stage, domain):
    assert stage.dns.asked(f"_mta-sts.{domain}") == ["TXT"] and stage.sts.has_entry(domain)
    assert stage.sts.hosts[0].sessions[0].name == f"mta-sts.{domain}"


def damage(change):
    def prepare(stage):
        with open(path_of(), "rb") as f:
            text = f.read()
        with open(path_of(), "wb") as f:
            f.write(change(text))
    return prepare


def cache_cases():
    kinds = {"truncated": lambda text: text[:-10], "half": lambda text: text[:40], "garbage": lambda _: b"\xff\0" * 5000,
             "empty": lambda _: b"", "1-MB": lambda text: text[:-4] + b"x" * 1000000, "other-domain":
             lambda text: text.replace(DOMAIN.encode(), b"etc.example", 1)}
    for name, change in kinds.items():
        yield cached(f"G20-{name}", enforced(check=fetched(2)), damage(change), cert="good")
        yield cached(f"G20-{name}-no-host", without(), damage(change), then=[reply("", "404 x")])
    for name, seconds in (("hour", 3700), ("future", 100000000)):
        yield cached(f"G20-clock-{name}-back", STANDS, lambda stage, s=seconds: make_older(-s), then=[reply("", "404 x")],
                     says="an entry from the future is used, and fetched anew in the background")
    yield Case("G21-hundred", Setup(), Want("K", proof=enforced().proof(0), secret=True, several=True, within=60),
               Start(play=_hundred), over="opp13")
    for address in ("127.0.0.1", "10.99.0.1", "fd00:99::1", "::1", "169.254.1.1", "192.168.1.1", "0.0.0.0"):
        yield g(f"G22-{address}", without(lambda stage: _unvisited(stage)), cert="self-signed",
                prepare=functools.partial(_local, address))


def _hundred(stage):
    """Processes that miss the cache at once; one of them is judged, and the others have come to the same."""
    count = 20 if stage.sanitized else 100
    gate = threading.Event()
    for name in ("mtasts", "timeoutconnect", "timeoutremote"):
        stage.home.control(name, "60\n")
    host = stage.sts.publish(Until(gate), GOOD)
    started = [stage.begin() for _ in range(count)]
    wait_for(lambda: host.requests)
    gate.set()
    runs = [process.finish(timeout=120) for process in started[1:]]
    stage.deliver(started[0], within=120)
    assert all(re.search(rb"MTA-STS, certificate verified for m1\.example\n\0$", run.report) for run in runs), runs
    assert 1 <= len(host.requests) <= 3 and len(stage.mails) == count
    told_nothing(*stage.sessions)


def _local(address, stage):
    stage.sts.record()
    stage.dns.zone(f"mta-sts.dst.example {'AAAA' if ':' in address else 'A'} {address}")
    stage.listener = None
    if address in ("127.0.0.1", "::1", "10.99.0.1", "fd00:99::1"):
        stage.listener = stage.smtp(address, port=443)


def _unvisited(stage):
    assert stage.listener is None or stage.listener.connections == 0
    assert not stage.sts.hosts


def http_cases():
    for name, script in {
            "header-1-MB": [b"HTTP/1.1 200 OK\r\n", b"X: x\r\n" * 170000],
            "line-1-MB": [b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000000],
            "continue": [b"HTTP/1.1 100 Continue\r\n\r\n" * 100000, reply(GOOD)],
            "gzip": [reply(GOOD, Content_Encoding="gzip")], "http-0.9": [GOOD.encode()],
            "http-2": [b"HTTP/2 200 OK\r\nContent-Type: text/plain\r\n\r\n" + GOOD.encode()],
            "nul": [reply(GOOD).replace(b"OK", b"O\0K\0")[:30] + b"\0" * 1000],
    }.items():
        yield g(f"G23-{name}", without(), *script, cert="self-signed")


def report_cases():
    for make in COLLECTORS:
        def prepare(stage, m=make):
            stage.kept = []
            stage.home.control("tlsrptsocket", m(stage.kept) + "\n")
            stage.dns.zone(f'_smtp._tls.{DOMAIN} TXT "{RECORD}"')

        def check(stage):
            for sock in stage.kept:
                sock.close()

        yield g(f"G24-{make.__name__.replace('_', '-')}", without(check), prepare=prepare, over=("opp13", "enc"))

    def slow(stage):
        assert len(stage.collector.datagrams()) == 1
        stage.collector.close()

    yield g("G24-slow", without(slow), prepare=_collect_later, control={"tlsrptsocket": f"{SOCKET}\n"})


def _collect_later(stage):
    stage.collector = Collector()
    stage.dns.zone(f'_smtp._tls.{DOMAIN} TXT "{RECORD}"')


def required_cases():
    for setting, message, is_obeyed in (("0", FIELD, False), ("1", FIELD, True), ("2", FIELD, False), ("2", REPORT, True),
                                        ("0", REPORT, False)):
        kind = "report" if message is REPORT else "mail"
        yield g(f"G25-{kind}-{setting}", without() if is_obeyed else STANDS, GOOD, cert="self-signed",
                control={"tlsrequired": f"{setting}\n"}, start=Start(message=message), over=("opp12", "opp13"))
    yield g("G25-unlisted", without(), policy("other.example"), control={"tlsrequired": "1\n"}, start=Start(message=FIELD))
    yield g("G25-clear-text", without(), GOOD, cert=None, control={"tlsrequired": "1\n"}, start=Start(message=FIELD),
            over="opp")
    yield g("G25-strictness-2", Want([("Z", f"Connected to {ONE} but TLS failed. (#4.7.5)", ANY)], secret=True), GOOD,
            cert="self-signed", control={"tlsrequired": "1\n"}, start=Start(message=FIELD), over="ver13",
            says="the field weakens what the domain demands, not what the administrator does")
    yield Case("G25-requiretls", Setup(), "K", over="opp13",
               cannot="qmail-smtpd drops the parameters of MAIL, so no message can demand TLS: there is no REQUIRETLS")


CASES = [*enforce_cases(), *mode_cases(), *record_cases(), *fetch_cases(), *body_cases(), *name_cases(), *cache_cases(),
         *http_cases(), *report_cases(), *required_cases()]


@table(CASES)
def test_catalogue(stage, sts, variant):
    stage.sts = sts
    stage.hold(variant)
