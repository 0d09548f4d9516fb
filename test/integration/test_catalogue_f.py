"""The catalogue, group F: DANE.

The scripted DNS server plays a resolver that validates; `signed` are the names whose answers have AD. What fails is Z, and
nothing was told, in TLS neither.
"""

import re
import time

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

import pki
import world
from catalogue import ONE, SIX, TWO, Case, Setup, Start, Want, not_connected, table
from signed import association, tlsa
from smtpd import CLOSE, DEAF, Call, Read
from test_catalogue_d import read_hello, swallow
from test_catalogue_e import _by_command, named, not_a_byte, show
from test_dns import another_server
from tlssite import told_nothing

ALL = ("dst.example", "m1.example", "m2.example")
OWNER = "_25._tcp.m1.example"
BOTH = ("opp12", "opp13", "ver13")
GOOD = ("m1.example",)


# What must come of it.

def dane(record, *, sni=None, check=None):
    """Delivered, authenticated by this record."""
    def look(stage):
        names = {s.tls["sni"] for s in stage.sessions if s.mails}
        assert sni is None or names == {sni}, names
        if check:
            check(stage)

    return Want("K", proof=re.escape(f"DANE ({record})"), secret=True, check=look)


def _unusable(strictness):
    verified = "certificate verified for m1.example" if strictness == 2 else "certificate not verified"
    return f"DANE records unusable, {verified}"


UNUSABLE = Want("K", proof=_unusable, secret=True)


def fails(*texts):
    """Temporary, and the server, if there was a connection, has learnt nothing."""
    def check(stage):
        not_a_byte(stage)
        assert stage.run.letters == "Z" and re.search(rb"\(#4\.7\.\d\)\n", stage.run.report), stage.run
        for text in texts:
            assert text.encode() in stage.run.report, stage.run

    return Want("Z", secret=True, check=check)


def _unreachable(stage):
    not_connected(stage)
    assert stage.run.letters == "Z" and b"TLSA" in stage.run.report, stage.run


UNREACHABLE = Want("Z", secret=True, check=_unreachable)
# The resolver asks again and again for what it cannot use.
IMPATIENT = dict(control=dict(timeoutdns="1\n"))


def not_asked(stage):
    assert not [n for n, k in stage.dns.questions if k == "TLSA"], stage.dns.questions


NO_DANE = Want("K")
NOT_ASKED = Want("K", check=not_asked)


def f(name, records, want, make=named(*GOOD), *, signed=ALL, owner=OWNER, rules=(), over="opp13", control=(), prepare=None,
      next=False, start=None, says=None, **setup):
    """A case in which there are these TLSA records, as signed.tlsa() takes them, and the server shows make(pki)."""
    def set_up(stage):
        leaf = stage.leaf = make(stage.certs) if make else None
        if leaf and stage.first and stage.first.tls:
            show(stage, stage.certs.write("shown.pem", leaf.key_pem + leaf.chain_pem))
        stage.dns.sign(*signed)
        for record in records:
            data = record if record.startswith("\\#") else tlsa(record, stage.certs, leaf)
            stage.dns.zone(f"{owner} TLSA {data}")
        for where, how in rules:
            stage.dns.rule(*where.split(), **how)
        if prepare:
            prepare(stage)

    return Case(name, Setup(prepare=set_up, control={"dane": "1\n", **dict(control)}, **setup), want, start, over=over,
                next=next, says=says)


def with_root(certs):
    return pki.make("leaf", certs.intermediate, chain=[certs.intermediate, certs.root], names=list(GOOD))


def variant(kind):
    return lambda certs: certs.leaf(kind)


def match_cases():
    for kind in ("wrong-name", "expired", "early", "self-signed", "untrusted", "cn-only", "no-intermediate"):
        yield f(f"F1-{kind}", ["3 1 1"], dane("3 1 1"), variant(kind), over=BOTH)
    yield f("F1-for-clients", ["3 1 1"], dane("3 1 1"), named(*GOOD, usages=[ExtendedKeyUsageOID.CLIENT_AUTH]))
    yield f("F1-rsa-1024", ["3 1 1"], dane("3 1 1"), over=BOTH, make=lambda certs: pki.make(
        "leaf", names=list(GOOD), key=rsa.generate_private_key(65537, 1024)),
            says="the record is enough, whatever the key")
    yield f("F1-sha1", [], dane("3 0 1"), make=None, prepare=_sha1, over=BOTH)
    for record in ("3 0 1", "3 1 2", "3 0 2", "3 0 0", "3 1 0"):
        yield f(f"F2-{record.replace(' ', '-')}", [record], dane(record), over=BOTH)
        yield f(f"F2-{record.replace(' ', '-')}-expired", [record], dane(record), variant("expired"))
    for record in ("3 1 1", "3 0 1", "3 0 0", "3 1 2"):
        yield f(f"F3-{record.replace(' ', '-')}", [f"{record} other"], fails("but TLS failed. (#4.7.5)"),
                over=BOTH, next=record == "3 1 1")
    yield f("F3-key-of-issuer", ["3 1 1 intermediate"], fails(), over=BOTH)
    yield f("F3-all-hosts", ["3 1 1 other"], Want("Z", secret=True, check=_both_tried), over=("opp13", "ver13"),
            prepare=_second_wrong)


def _sha1(stage):
    _by_command(stage, "sha1")
    with open(f"{stage.certs.folder}/sha1/leaf.pem", "rb") as pem:
        cert = x509.load_pem_x509_certificate(pem.read())
    stage.dns.zone(f"{OWNER} TLSA 3 0 1 {association(cert, 0, 1).hex()}")


def _second_wrong(stage):
    stage.dns.zone(f"dst.example MX 20 m2.example.\nm2.example A {TWO}\n"
                   f"_25._tcp.m2.example TLSA {tlsa('3 1 1 other', stage.certs, None)}")
    stage.server(TWO, cert="good", host="m2.example")


def _both_tried(stage):
    not_a_byte(stage)
    assert [s.server.address for s in stage.sessions] == [ONE, TWO], stage.sessions


def anchor_cases():
    for record in ("2 0 1", "2 1 1", "2 0 2", "2 1 2", "2 0 0", "2 1 0"):
        dashed = record.replace(" ", "-")
        yield f(f"F4-{dashed}", [f"{record} intermediate"], dane(record), over=BOTH)
        yield f(f"F4-{dashed}-root", [f"{record} root"], dane(record), with_root)
    yield f("F4-own-root", ["2 0 1 root"], dane("2 0 1"), with_root, control=dict(trustanchors="/srv/pki/other.pem\n"),
            over=("opp13", "ver13"))
    # Not with TLS 1.2, which tells the name in clear text.
    yield f("F4-domain", ["2 1 1 intermediate"], dane("2 1 1"), named("dst.example"), over=("opp13", "ver13"))
    yield f("F4-wildcard", ["2 1 1 intermediate"], dane("2 1 1"), named("*.mail.example"), over=BOTH,
            host="mx.mail.example", owner="_25._tcp.mx.mail.example", signed=["dst.example", "mail.example"])
    alias = f"dst.example CNAME real.example.\nreal.example MX 10 m1.example.\nm1.example A {ONE}"
    for name in ("dst", "real"):
        yield f(f"F4-alias-{name}", ["2 1 1 intermediate"], dane("2 1 1"), named(f"{name}.example"), zone=alias,
                signed=[*ALL, "real.example"])
    yield f("F5-root-certificate", ["2 0 0 root"], dane("2 0 0"), over=BOTH, says="a trust anchor may be in the DNS only")
    yield f("F5-root-key", ["2 1 0 root"], dane("2 1 0"))
    yield f("F5-intermediate", ["2 0 0 intermediate"], dane("2 0 0"), variant("no-intermediate"))
    yield f("F5-intermediate-key", ["2 1 0 intermediate"], dane("2 1 0"), variant("no-intermediate"))
    yield f("F5-root-digest", ["2 0 1 root"], fails())
    yield f("F5-root-name", ["2 0 0 root"], fails(), variant("wrong-name"))
    for kind in ("wrong-name", "cn-only", "expired", "early"):
        yield f(f"F6-{kind}", ["2 0 1 intermediate"], fails(), variant(kind), over=BOTH)
    yield f("F6-for-clients", ["2 0 1 intermediate"], fails(), named(*GOOD, usages=[ExtendedKeyUsageOID.CLIENT_AUTH]),
            over=BOTH)
    yield f("F6-of-server", ["2 1 1"], fails())
    yield f("F6-of-self-signed-server", ["2 0 1"], fails(), variant("self-signed"))
    yield f("F6-recipient", ["2 0 1 intermediate"], fails(), named("src.example"))
    yield f("F6-other-chain", ["2 0 1 root"], fails(), variant("untrusted"))


def unusable_cases():
    sizes = {"F9-digest-0": ("3 1 1", 0), "F9-digest-31": ("3 1 1", 31), "F9-digest-33": ("3 1 1", 33),
             "F9-digest-63": ("3 1 2", 63), "F9-digest-64-for-32": ("3 1 1", 64), "F9-digest-32-for-64": ("3 1 2", 32),
             "F9-empty-certificate": ("3 0 0", 0), "F9-empty-key": ("3 1 0", 0), "F9-garbage": ("3 0 0", 1000),
             "F9-garbage-key": ("3 1 0", 200), "F9-garbage-anchor": ("2 0 0", 1000), "F9-garbage-anchor-key": ("2 1 0", 200),
             "F9-40k": ("3 0 0", 40000)}
    kinds = {"F7-usage-0": ["0 0 1 root"], "F7-usage-1": ["1 1 1"], "F7-usages": ["0 0 1 root", "1 1 1", "1 0 1 other"],
             "F8-usage": [f"4 1 1 ={'5a' * 32}"], "F8-private-usage": [f"255 1 1 ={'5a' * 32}"],
             "F8-selector": [f"3 2 1 ={'5a' * 32}"], "F8-private-selector": [f"3 255 1 ={'5a' * 32}"],
             "F8-matching": [f"3 1 3 ={'5a' * 32}"], "F8-private-matching": [f"3 1 255 ={'5a' * 32}"],
             **{name: [rdata(numbers, size)] for name, (numbers, size) in sizes.items()}}
    for name, records in kinds.items():
        says = "TLS is demanded; nothing is authenticated, but at strictness 2 as without DANE" if name == "F7-usage-0" else None
        yield f(name, records, UNUSABLE, over=("opp13", "ver13"), says=says)
        yield f(f"{name}-clear", records, fails("but it does not offer STARTTLS. (#4.7.4)"), cert=None)
    yield f("F7-other-certificate", ["1 1 1 other"], UNUSABLE, variant("wrong-name"))
    yield f("F7-other-certificate-demanded", ["1 1 1 other"], fails(), variant("wrong-name"), over="ver13")
    yield f("F7-no-handshake", ["1 1 1 other"], fails("but TLS failed. (#4.7.5)"), STARTTLS=("220 go", CLOSE), next=True)
    yield f("F7-no-anchors", ["1 1 1 other"], UNUSABLE, control=dict(trustanchors=None))
    yield f("F7-no-anchors-demanded", ["1 1 1"], fails(), control=dict(trustanchors=None), over="ver13")
    yield f("F8-mixed", [f"4 1 1 ={'5a' * 32}", f"3 9 9 ={'5a' * 32}", "0 0 1 other", "3 1 1"], dane("3 1 1"))
    yield f("F8-mixed-wrong", [f"4 1 1 ={'5a' * 32}", "1 1 1", "3 1 1 other"], fails())
    for size in range(3):
        yield f(f"F9-{size}-bytes", [f"\\# {size} {'03 01'[:3 * size - 1]}" if size else "\\# 0"], UNREACHABLE, next=size == 2,
                says="RDATA too short for its three numbers makes the answer malformed, which is a failed lookup")
    yield f("F9-garbage-and-good", [rdata("3 0 0", 1000), rdata("3 1 1", 31), "3 1 1"], dane("3 1 1"))
    yield f("F9-garbage-and-wrong", [rdata("3 0 0", 1000), "3 1 1 other"], fails())
    yield f("F9-64k", [rdata("3 0 0", 60000)], UNREACHABLE, **IMPATIENT,
            says="more than 64 records or 48 KB are a failed lookup: without some, the others might demand less")


def rdata(numbers, size):
    usage, selector, matching = map(int, numbers.split())
    return f"\\# {size + 3} {usage:02x}{selector:02x}{matching:02x}{'5a' * size}"


def several_cases():
    yield f("F10-sha512-wrong", ["3 1 2 other", "3 1 1"], fails(), over=BOTH)
    yield f("F10-sha256-wrong", ["3 1 1 other", "3 1 2"], dane("3 1 2"), over=BOTH)
    yield f("F10-other-selector", ["3 0 2 other", "3 1 1"], dane("3 1 1"))
    yield f("F10-other-usage", ["2 1 2 other", "3 1 1"], dane("3 1 1"))
    yield f("F10-whole", ["3 1 2 other", "3 1 0"], dane("3 1 0"))
    yield f("F10-anchor", ["2 1 2 other", "2 1 1 intermediate"], fails())
    yield f("F11-old-first", ["3 1 1 other", "3 1 1"], dane("3 1 1"), over=BOTH)
    yield f("F11-new-first", ["3 1 1", "3 1 1 other"], dane("3 1 1"))
    yield f("F11-anchors", ["2 1 1 other", "2 1 1 intermediate"], dane("2 1 1"))
    yield f("F11-server-or-anchor", ["3 1 1 other", "2 0 1 intermediate"], dane("2 0 1"))
    yield f("F11-anchor-or-server", ["2 0 1 other", "3 1 1"], dane("3 1 1"), variant("expired"))
    yield f("F11-both-wrong", ["3 1 1 other", "2 1 1 other"], fails())


def lookup_cases():
    troubles = {"servfail": dict(rcode="SERVFAIL"), "refused": dict(rcode="REFUSED"), "notimp": dict(rcode="NOTIMP"),
                "servfail-ad": dict(rcode="SERVFAIL", ad=True), "silence": dict(drop=True), "noise": dict(raw=b"x" * 40),
                "cut": dict(raw=lambda query, reply: reply.to_wire()[:-9]), "no-tcp": dict(truncate=True, close=True)}
    for name, how in troubles.items():
        for number, what in ((12, "right"), (12, "wrong")):
            yield f(f"F{number}-{name}-{what}", ["3 1 1" if what == "right" else "3 1 1 other"], UNREACHABLE,
                    rules=[(f"{OWNER} TLSA", how)], control=dict(timeoutdns="1\n"), next=what == "right",
                    over="opp13" if what == "right" else ("opp13", "ver13"))
    yield f("F12-all-hosts", ["3 1 1"], UNREACHABLE, prepare=_second_wrong,
            rules=[(f"{OWNER} TLSA", dict(rcode="SERVFAIL")), ("_25._tcp.m2.example TLSA", dict(rcode="SERVFAIL"))])
    yield f("F13-nxdomain", [], NO_DANE, over=("opp13", "ver13"))
    yield f("F13-nodata", [], NO_DANE, zone=f"{OWNER} TXT x", over=("opp13", "ver13"))
    yield f("F13-clear", [], NO_DANE, cert=None)
    yield f("F13-wrong-name", [], NO_DANE, variant("wrong-name"))
    yield f("F14-not-secure", ["3 1 1 other"], NO_DANE, rules=[(f"{OWNER} TLSA", dict(ad=False))], over=("opp13", "ver13"))
    yield f("F14-right", ["3 1 1"], NO_DANE, rules=[(f"{OWNER} TLSA", dict(ad=False))])
    yield f("F15-insecure", ["3 1 1 other"], NO_DANE, signed=["dst.example", OWNER], over=("opp13", "ver13"))
    yield f("F15-not-waited-for", ["3 1 1 other"], NO_DANE, signed=["dst.example", OWNER],
            rules=[(f"{OWNER} TLSA", dict(drop=True))])
    yield f("F15-servfail", ["3 1 1 other"], NO_DANE, signed=["dst.example", OWNER],
            rules=[(f"{OWNER} TLSA", dict(rcode="SERVFAIL"))])
    one = "one secure address family is enough"
    for family, kind, how in (("AAAA", "servfail", dict(rcode="SERVFAIL")), ("AAAA", "insecure", dict(ad=False)),
                              ("A", "insecure", dict(ad=False))):
        rules = [(f"m1.example {family}", how)]
        yield f(f"F15-{family}-{kind}", ["3 1 1"], dane("3 1 1"), rules=rules, says=one)
        yield f(f"F15-{family}-{kind}-wrong", ["3 1 1 other"], fails(), rules=rules, says=one)
    for record, want in (("3 1 1", dane("3 1 1")), ("3 1 1 other", fails("but TLS failed. (#4.7.5)"))):
        yield f(f"F15-address-of-insecure-family{'-wrong' if want.letters(0) == 'Z' else ''}", [record], want, address=SIX,
                zone=f"m1.example A {ONE}", rules=[("m1.example AAAA", dict(ad=False))], says=one)
    note = "TLSA records of a host are not looked at where the MX record that leads to it is not signed"
    yield f("F16-insecure", ["3 1 1 other"], NOT_ASKED, signed=["m1.example"], over=("opp13", "ver13"), says=note)
    yield f("F16-right", ["3 1 1"], NOT_ASKED, signed=["m1.example"])
    alias = f"dst.example CNAME real.example.\nreal.example MX 10 m1.example.\nm1.example A {ONE}"
    yield f("F16-insecure-alias", ["3 1 1 other"], NOT_ASKED, signed=["real.example", "m1.example"], zone=alias)
    for name, how in (("servfail", dict(rcode="SERVFAIL")), ("silence", dict(drop=True))):
        yield f(f"F17-{name}", ["3 1 1"], Want("Z", check=not_connected, secret=True), rules=[("dst.example MX", how)],
                control=dict(timeoutdns="1\n"), prepare=_domain_is_host)


def _domain_is_host(stage):
    stage.dns.zone(f"dst.example A {ONE}")


def name_cases():
    own = "_25._tcp.no-mx.example"
    no_mx = dict(zone=f"no-mx.example A {ONE}", owner=own, start=Start(host="no-mx.example"), signed=["no-mx.example"])
    yield f("F18-right", ["3 1 1"], dane("3 1 1", sni="no-mx.example"), over=BOTH, **no_mx)
    yield f("F18-wrong", ["3 1 1 other"], fails(), over=("opp13", "ver13"), **no_mx)
    yield f("F18-anchor", ["2 1 1 intermediate"], dane("2 1 1"), named("no-mx.example"), **no_mx)
    yield f("F18-insecure", ["3 1 1 other"], NO_DANE, rules=[("no-mx.example MX", dict(ad=False))], **no_mx,
            says="without a secure answer that there is no MX record there is no DANE")
    yield f("F18-servfail", ["3 1 1"], UNREACHABLE, rules=[(f"{own} TLSA", dict(rcode="SERVFAIL"))], **no_mx)

    to = f"dst.example MX 10 m1.example.\nm1.example CNAME t.example.\nt.example A {ONE}"
    target = dict(zone=to, owner="_25._tcp.t.example")
    secure = [*ALL, "t.example"]
    yield f("F19-target", ["3 1 1"], dane("3 1 1", sni="t.example"), signed=secure, over=BOTH, **target)
    yield f("F19-target-wrong", ["3 1 1 other"], fails(), signed=secure, prepare=_own_right, **target)
    yield f("F19-target-name", ["2 1 1 intermediate"], dane("2 1 1", sni="t.example"), named("t.example"), signed=secure, **target)
    yield f("F19-alias-name", ["2 1 1 intermediate"], fails(), signed=secure, **target,
            says="the name of the alias is no name for the certificate, that of the TLSA records is")
    yield f("F19-own", ["3 1 1"], dane("3 1 1", sni="m1.example"), signed=secure, zone=to)
    yield f("F19-own-wrong", ["3 1 1 other"], fails(), signed=secure, zone=to)
    yield f("F19-neither", [], NO_DANE, signed=secure, zone=to)
    for where in ("t.example", "m1.example"):
        yield f(f"F19-servfail-{where[:-8]}", ["3 1 1"], UNREACHABLE, signed=secure, zone=to,
                owner=OWNER if where == "t.example" else "_25._tcp.nobody.example",
                rules=[(f"_25._tcp.{where} TLSA", dict(rcode="SERVFAIL"))])
    twice = f"dst.example MX 10 m1.example.\nm1.example CNAME s.example.\ns.example CNAME t.example.\nt.example A {ONE}"
    yield f("F19-twice", ["3 1 1"], dane("3 1 1", sni="t.example"), signed=[*secure, "s.example"], zone=twice,
            owner="_25._tcp.t.example")

    yield f("F20-own", ["3 1 1"], dane("3 1 1", sni="m1.example"), zone=to, over=BOTH)
    yield f("F20-own-wrong", ["3 1 1 other"], fails(), zone=to)
    yield f("F20-target-only", ["3 1 1 other"], NO_DANE, signed=[*ALL, "_25._tcp.t.example"], **target)
    yield f("F20-insecure-link", ["3 1 1 other"], NO_DANE, signed=["dst.example", OWNER, "t.example"], zone=to)
    for name, how in (("servfail", dict(rcode="SERVFAIL")), ("silence", dict(drop=True))):
        yield f(f"F20-link-{name}", ["3 1 1"], UNREACHABLE, zone=to, control=dict(timeoutdns="1\n"),
                rules=[("m1.example CNAME", how)])
        yield f(f"F20-own-{name}", ["3 1 1"], UNREACHABLE, zone=to, control=dict(timeoutdns="1\n"),
                rules=[(f"{OWNER} TLSA", how)])

    def tlsa_alias(*lines):
        return "\n".join([f"dst.example MX 10 m1.example.\nm1.example A {ONE}\n{OWNER} CNAME x.example.", *lines])

    there = dict(owner="x.example", zone=tlsa_alias())
    yield f("F21-secure", ["3 1 1"], dane("3 1 1", sni="m1.example"), signed=[*ALL, "x.example"], **there)
    yield f("F21-secure-wrong", ["3 1 1 other"], fails(), signed=[*ALL, "x.example"], **there)
    yield f("F21-insecure", ["3 1 1 other"], NO_DANE, **there)
    yield f("F21-dangling", [], NO_DANE, signed=[*ALL, "x.example"], zone=tlsa_alias())
    yield f("F21-loop", [], UNREACHABLE, signed=[*ALL, "x.example"], zone=tlsa_alias(f"x.example CNAME {OWNER}."))


def _own_right(stage):
    leaf = pki.make("leaf", stage.certs.intermediate, names=list(GOOD), chain=[stage.certs.intermediate])
    show(stage, stage.certs.write("shown.pem", leaf.key_pem + leaf.chain_pem))
    stage.dns.zone(f"{OWNER} TLSA {tlsa('3 1 1', stage.certs, leaf)}")


def no_tls_cases():
    right = ["3 1 1"]
    over = ("opp13", "enc", "ver13")
    refused = "but STARTTLS was refused. (#4.7.4)"
    yield f("F22-not-offered", right, fails("but it does not offer STARTTLS. (#4.7.4)"), cert=None, over=over, next=True)
    for code in ("454", "502", "554", "421"):
        yield f(f"F22-refused-{code}", right, fails(refused), STARTTLS=f"{code} no", over=over, next=code == "454")
    unwelcome = Want("Z", secret=True, check=not_a_byte)
    yield f("F22-helo", right, unwelcome, EHLO="502 no", over=over)
    for name, step in (("closed", CLOSE), ("noise", (Read(50), b"x" * 500, CLOSE)), ("silence", DEAF)):
        yield f(f"F22-{name}", right, fails("(#4.7.5)"), STARTTLS=("220 go", step), over=over, next=True)
    yield f("F22-more-behind-220", right, fails(), STARTTLS=(b"220 go\r\n250 hi\r\n", DEAF))
    yield f("F22-refused-inside", right, Want("Z", secret=True), over=over, HELO="554 no",
            EHLO=["250-hi\n250 STARTTLS", "554 no"])

    yield f("F23-wrong", ["3 1 1 other"], fails(), next="only", over=("opp13", "ver13"))
    yield f("F23-lookup", right, UNREACHABLE, rules=[(f"{OWNER} TLSA", dict(rcode="SERVFAIL"))], next="only",
            over=("opp13", "ver13"))
    yield f("F23-clear", right, fails(), cert=None, next="only")
    for name, script in (("refused", dict(STARTTLS="454 no")), ("closed", dict(STARTTLS=("220 go", CLOSE))), ("wrong", {})):
        yield f(f"F23-second-in-clear-text-{name}", ["3 1 1" if script else "3 1 1 other"], Want("K", check=_first_knows_nothing),
                prepare=_second_without_tls, over=("opp13", "enc"), **script)


def _second_without_tls(stage):
    stage.dns.zone(f"dst.example MX 20 m2.example.\nm2.example A {TWO}")
    stage.server(TWO, cert=None, host="m2.example")


def _first_knows_nothing(stage):
    """At strictness 1 all hosts are tried again in clear text, but not one that must not get it so."""
    not_a_byte_to(stage, ONE)
    assert [s.server.address for s in stage.sessions if s.mails] == [TWO], stage.sessions


def not_a_byte_to(stage, address):
    for session in stage.sessions:
        if session.server.address == address:
            told_nothing(session)
            assert session.secret == b"", session.secret


def resolver(text, *addresses):
    """Name servers with the same zone at these addresses too; the resolver's file says this."""
    def prepare(stage):
        for address in addresses:
            other = another_server(address)
            other.records, other.signed, other.rules = stage.dns.records, stage.dns.signed, stage.dns.rules
        world.resolv_conf(text)
    return prepare


def elsewhere_cases():
    far = "192.0.2.53"
    wrong = ["3 1 1 other"]
    note = "DANE only where all name servers are on loopback, or with `options trust-ad`"
    yield f("F24-far", wrong, NO_DANE, prepare=resolver(f"nameserver {far}\n", far), says=note)
    yield f("F24-mixed", wrong, NO_DANE, prepare=resolver(f"nameserver 127.0.0.1\nnameserver {far}\n", far))
    yield f("F24-trust-ad", ["3 1 1"], dane("3 1 1"), prepare=resolver(f"nameserver {far}\noptions trust-ad\n", far))
    yield f("F24-trust-ad-wrong", wrong, fails(), prepare=resolver(f"nameserver {far}\noptions trust-ad\n", far))
    yield f("F24-far-demanded", ["3 1 1"], Want("Z", check=_names_resolver, secret=True), control=dict(
        tlspolicy="dst.example:dane\n"), prepare=resolver(f"nameserver {far}\n", far))
    yield f("F24-far-dane-only", ["3 1 1"], Want("Z", check=_names_resolver, secret=True), control=dict(
        dane=None, tlspolicy="dst.example:dane-only\n"), prepare=resolver(f"nameserver {far}\n", far))
    yield f("F24-empty", ["3 1 1"], dane("3 1 1"), prepare=resolver(""), says="no name server is 127.0.0.1")

    route = dict(smtproutes="dst.example:m1.example:2525\n")
    yield f("F25-port", ["3 1 1"], dane("3 1 1", sni="m1.example"), owner="_2525._tcp.m1.example", control=route, port=2525,
            rules=[(f"{OWNER} TLSA", dict(rcode="SERVFAIL"))], over=BOTH)
    yield f("F25-other-port", wrong, NO_DANE, control=route, port=2525)
    yield f("F25-wrong", wrong, fails(), owner="_2525._tcp.m1.example", control=route, port=2525)
    yield f("F25-relay", ["3 1 1"], dane("3 1 1"), control=dict(smtproutes=":m1.example\n"), signed=["m1.example"])
    yield f("F25-relay-name", ["2 1 1 intermediate"], fails(), named("dst.example"), control=dict(smtproutes=":m1.example\n"))
    alias = dict(zone=f"t.example A {ONE}\nrelay.example CNAME t.example.", owner="_25._tcp.t.example",
                 control=dict(smtproutes=":relay.example\n"), signed=["relay.example", "t.example"])
    yield f("F25-alias", ["2 1 1 intermediate"], dane("2 1 1", sni="t.example"), named("t.example"), **alias)
    yield f("F25-alias-own-name", ["2 1 1 intermediate"], fails(), named("relay.example"), **alias,
            says="the name of a relay that is an alias counts only if the TLSA records are there")
    yield f("F25-mx-on-port", ["3 1 1"], dane("3 1 1"), owner="_2525._tcp.m1.example", control=dict(
        smtproutes="dst.example::2525\n"), port=2525)
    yield f("F26-literal", wrong, NOT_ASKED, start=Start(host=f"[{ONE}]"), signed=["."])
    yield f("F26-relay", wrong, NOT_ASKED, control=dict(smtproutes=f":[{ONE}]\n"), signed=["."])
    for name, text in (("none", None), ("empty", "\n"), ("missing", "/srv/none.pem\n"), ("folder", "/srv/none/\n")):
        yield f(f"F27-{name}", ["3 1 1"], dane("3 1 1"), control=dict(trustanchors=text), over=("opp13", "ver13"))
        yield f(f"F27-{name}-anchor", ["2 1 1 intermediate"], dane("2 1 1"), control=dict(trustanchors=text))
        yield f(f"F27-{name}-wrong", wrong, fails(), control=dict(trustanchors=text), over=("opp13", "ver13"))
    yield f("F28-good-certificate", wrong, fails(), over=("opp13", "ver13"),
            says="what DANE refuses nothing else accepts")
    sts = dict(prepare=_policy, control=dict(mtasts="5\n"))
    yield f("F28-sts", wrong, fails(), **sts)
    yield f("F28-sts-lookup", ["3 1 1"], UNREACHABLE, rules=[(f"{OWNER} TLSA", dict(rcode="SERVFAIL"))], **sts)
    yield f("F28-sts-alone", [], Want("K", proof="MTA-STS, certificate verified for m1.example", secret=True), **sts)
    yield f("F28-sts-wrong-name", ["3 1 1"], dane("3 1 1"), variant("wrong-name"), **sts)
    yield f("F28-sts-unusable", ["1 1 1"], Want("K", secret=True, proof="MTA-STS, DANE records unusable, certificate "
                                                                        "verified for m1.example"), **sts)
    yield f("F28-sts-unusable-wrong-name", ["1 1 1"], fails(), variant("wrong-name"), **sts)
    yield f("F28-lookup", ["3 1 1"], UNREACHABLE, rules=[(f"{OWNER} TLSA", dict(rcode="SERVFAIL"))], over="ver13")


def _policy(stage):
    """One of MTA-STS is cached, and lists both hosts."""
    now = int(time.time())
    stage.dns.zone('_mta-sts.dst.example TXT "v=STSv1; id=1;"')
    with open(f"{stage.home.run_path}/sts-dst.example", "w", encoding="ascii") as f:
        f.write(f"qmail-remote-sts 1\ndomain dst.example\nid 1\nfetched {now}\ntried {now} 0\nmax-age 86400\nmode enforce\n"
                "mx m1.example\nmx m2.example\ntext version: STSv1\nend\n")


def _names_resolver(stage):
    not_connected(stage)
    assert b"resolver" in stage.run.report and re.search(rb"\(#4\.7\.\d\)\n", stage.run.report), stage.run


_CERTIFICATE_TYPES = (19, 20)       # of client and server, RFC 7250


def _look_at_hello(stage):
    def look(session):
        stage.hello = read_hello(session)
        return Call(swallow)

    stage.first.scripts = [dict(STARTTLS=("220 go", Call(look)))]


def _no_raw_keys(stage):
    assert stage.hello.extensions and not set(_CERTIFICATE_TYPES) & set(stage.hello.extensions), stage.hello.extensions


def _many(count, at):
    """So many records that are wrong, but for one."""
    records = [f"3 1 2 ={n:04x}{'5a' * 62}" for n in range(count)]
    if at is not None:
        records[at] = "3 1 2"
    return records


def _by_tcp(stage):
    assert any(q.proto == "tcp" and q.kind == "TLSA" for q in stage.dns.log), stage.dns.log


def _anew(stage):
    """Two deliveries; between them the records change."""
    assert stage.deliver().rspawn[:1] == b"Z", stage.run
    with stage.dns.lock:
        for name in list(stage.dns.records):
            if name.labels[0] == b"_25":
                del stage.dns.records[name]
    stage.dns.zone(f"{OWNER} TLSA {tlsa('3 1 1', stage.certs, stage.leaf)}")
    stage.deliver()


def _second_time(stage):
    assert [len(s.mails) for s in stage.sessions] == [0, 1], stage.sessions


def other_cases():
    yield f("F29-not-offered", ["3 1 1"], Want("Z", check=_no_raw_keys, secret=True), prepare=_look_at_hello,
            says="raw public keys are not asked for")
    for count, at in ((20, 19), (64, 0), (64, 63)):
        yield f(f"F30-{count}-{'first' if at == 0 else 'last'}", _many(count, at), dane("3 1 2", check=_by_tcp))
    for count, at in ((65, 0), (200, 199), (200, None)):
        yield f(f"F30-{count}-{at}", _many(count, at), UNREACHABLE, **IMPATIENT)
    yield f("F31-changed", ["3 1 1 other"], dane("3 1 1", check=_second_time), start=Start(play=_anew),
            says="nothing of the DNS is kept")


CASES = [*match_cases(), *anchor_cases(), *unusable_cases(), *several_cases(), *lookup_cases(), *name_cases(),
         *no_tls_cases(), *elsewhere_cases(), *other_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
