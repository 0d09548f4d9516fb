"""A second opinion on MTA-STS records and policies: that of postfix-mta-sts-resolver (Debian's package).

Both fetch each policy of a table from the same server, and must say the same of it, but for what the table explains.
"""

import gzip
import json
import os
import re
import subprocess

import httpsd
import pki
import realservers
from httpsd import CUT, chunked, reply
from test_sts import STATE, Entry, Site, read

BODY = "version: STSv1\nmode: enforce\nmx: mx.example\nmax_age: 86400\n"
GOOD = ("1", "enforce", 86400, ["mx.example"])
NONE, FAILED = "none", "failed"     # no policy is published; there is one that cannot be fetched or is not valid

# It asks for all domains on its standard input, and prints a verdict for each.
PROGRAM = """
import asyncio, json, sys
from postfix_mta_sts_resolver.resolver import STSResolver

async def verdict(resolver, some, domain):
    async with some:
        result, policy = await resolver.resolve(domain)
    if policy is None:
        return "none" if result.name == "NONE" else "failed"
    name, fields = policy
    return name, fields["mode"], fields["max_age"], fields["mx"]

async def main():
    resolver = STSResolver(loop=asyncio.get_running_loop(), timeout=20)
    some = asyncio.Semaphore(16)
    for found in await asyncio.gather(*(verdict(resolver, some, domain) for domain in sys.stdin.read().split())):
        print(json.dumps(found))

asyncio.run(main())
"""


class Case:
    """What is published for a domain. `both`: the verdict; or `ours` and `theirs`, and why they differ (RFC 8461)."""

    def __init__(self, name, both=GOOD, *, ours=None, theirs=None, why=None, record='"v=STSv1; id=1;"', script=None,
                 leaf=None):
        assert (ours is None) == (theirs is None) == (why is None), name
        self.name = name
        self.ours, self.theirs = (both, both) if ours is None else (ours, theirs)
        assert why is None or self.ours != self.theirs, name
        self.records = [record] if isinstance(record, str) else record
        self.script, self.leaf = script or [reply(BODY)], leaf

    @property
    def domain(self):
        return f"{self.name}.opinion.example"


def record_cases():
    """RFC 8461 section 3.1."""
    for name, text in (
            ("one", "v=STSv1; id=1;"), ("no-last-delimiter", "v=STSv1; id=1"), ("no-blank", "v=STSv1;id=1"),
            ("tab", "v=STSv1;\\009id=1;"), ("blank-before-delimiter", "v=STSv1 ; id=1 ;"),
            ("extension", "v=STSv1; id=1; x=y;"), ("extension-first", "v=STSv1; x.y-z_1=a/b; id=1;")):
        yield Case(f"record-{name}", record=f'"{text}"')
    yield Case("record-strings", record='"v=STSv1; i" "d=1" ";"')
    yield Case("record-others", record=['"v=STSv1; id=1;"', '"v=spf1 -all"', '"x v=STSv1; id=2;"', '"v=STSv2; id=3;"'])
    for name, text in (
            ("no-id", "v=STSv1;"), ("no-id-but-more", "v=STSv1; x=y;"), ("version-2", "v=STSv2; id=1;"),
            ("longer-version", "v=STSv10; id=1;"), ("upper-case", "V=STSv1; id=1;"), ("lower-case", "v=stsv1; id=1;"),
            ("blank-first", " v=STSv1; id=1;"), ("version-last", "id=1; v=STSv1;"), ("no-delimiter", "v=STSv1 id=1;"),
            ("blanks-around-equals", "v=STSv1; id = 1;"), ("upper-case-id", "v=STSv1; ID=1;"), ("empty", ""),
            ("not-ascii", "v=STSv1; id=1; x=\\195\\169;")):
        yield Case(f"record-{name}", NONE, record=f'"{text}"')
    yield Case("record-none", NONE, record=[])
    yield Case("record-two", NONE, record=['"v=STSv1; id=1;"', '"v=STSv1; id=2;"'])
    yield Case("record-two-one-without-id", NONE, record=['"v=STSv1; id=1;"', '"v=STSv1; x=y;"'])
    for name, ident in (("1", "a"), ("32", "0123456789abcdefABCDEFxyz9876543")):
        yield Case(f"id-{name}", (ident, *GOOD[1:]), record=f'"v=STSv1; id={ident};"')
    why = "3.1: an id is 1 to 32 letters and digits; what is not of this form is no record"
    for name, ident in (("33", "0" * 33), ("hyphen", "2026-11-29"), ("blank", "1 2"), ("empty", ""), ("equals", "1=2")):
        yield Case(f"id-{name}", ours=NONE, theirs=(ident, *GOOD[1:]), why=why, record=f'"v=STSv1; id={ident};"')
    why = "3.1: a field has a name, '=' and a value; what is not of this form is no record"
    for name, text in (("no-equals", "x"), ("empty", ""), ("no-name", "=y"), ("no-value", "x="), ("two-equals", "x=y=z"),
                       ("long-name", "x" * 33 + "=y"), ("blank-inside", "x=y z"), ("bad-name", "-x=y")):
        yield Case(f"field-{name}", ours=NONE, theirs=GOOD, why=why, record=f'"v=STSv1; id=1; {text};"')
    yield Case("record-id-twice", ours=GOOD, theirs=("2", *GOOD[1:]), record='"v=STSv1; id=1; id=2;"',
               why="3.1 says nothing of a second id: as section 3.2 has it for policies, the first one counts")
    yield Case("record-discarded", ours=GOOD, theirs=NONE, record=['"v=STSv1; id=1;"', '"v=STSv1"'],
               why="3.1: a record that does not begin with 'v=STSv1;' is discarded before they are counted")


def body(name, text, both=GOOD, charset="", **more):
    kind = f"text/plain; charset={charset}" if charset else "text/plain"
    return Case(f"policy-{name}", both, script=[reply(text, kind=kind)], **more)


def form_cases():
    """RFC 8461 section 3.2, the form of a policy."""
    yield body("crlf", BODY.replace("\n", "\r\n"))
    yield body("mixed", BODY.replace("\n", "\r\n", 2))
    yield body("no-last-line-end", BODY[:-1])
    yield body("blanks-at-line-ends", BODY.replace("\n", " \t\n"))
    yield body("no-blanks", BODY.replace(": ", ":"))
    yield body("more-blanks", BODY.replace(": ", ": \t  "))
    yield body("any-order", "\n".join(reversed(BODY.split("\n"))))
    yield body("empty-lines", BODY.replace("\n", "\n\n"))
    yield body("unknown-fields", BODY + "x: y\nx-1_2.3: a b\n")
    yield body("no-field", BODY + "hello\n# comment\n")
    yield body("value-with-colons", BODY + "x: mode: none\n")
    yield body("blank-first", BODY.replace("mode", " mode"), FAILED)
    yield body("blank-before-colon", BODY.replace("mode:", "mode :"), FAILED)
    yield body("upper-case-key", BODY.replace("mode", "Mode"), FAILED)
    yield body("empty", "", FAILED)
    yield body("garbage", "<html></html>\n", FAILED)
    yield body("utf-8", BODY + "x: é\n", charset="utf-8")
    yield body("not-ascii", BODY + "x: é\n", ours=GOOD, theirs=FAILED,
               why="3.2: the value of an extension may be UTF-8; they read ASCII where no charset is told")
    yield body("latin-1", (BODY + "x: \xe9\n").encode("latin-1"), ours=GOOD, theirs=FAILED,
               why="3.2: what is not of the form is an unknown field, and those are ignored")
    yield body("byte-order-mark", "\ufeff" + BODY, ours=GOOD, theirs=FAILED,
               why="3.2 has none; some editors write it, and it changes no field")
    yield body("byte-order-mark-utf-8", "\ufeff" + BODY, charset="utf-8", ours=GOOD, theirs=FAILED,
               why="3.2 has none; some editors write it, and it changes no field")
    yield body("cr", BODY.replace("\n", "\r"), ours=FAILED, theirs=GOOD,
               why="3.2: a line ends with LF or CRLF; to Python, CR and some other bytes end lines too")
    yield body("form-feed", BODY.replace("\n", "\f"), ours=FAILED, theirs=GOOD,
               why="3.2: a line ends with LF or CRLF; to Python, CR and some other bytes end lines too")
    why = "3.2: of a field that is there twice, but for mx, the first one counts"
    yield body("mode-twice", BODY + "mode: none\n", ours=GOOD, theirs=("1", "none", *GOOD[2:]), why=why)
    yield body("mode-twice-first-bad", "mode: x\n" + BODY, ours=FAILED, theirs=GOOD, why=why)
    yield body("max-age-twice", BODY + "max_age: 1\n", ours=GOOD, theirs=(*GOOD[:2], 1, GOOD[3]), why=why)
    yield body("version-twice", BODY + "version: STSv2\n", ours=GOOD, theirs=FAILED, why=why)


def value_cases():
    """RFC 8461 section 3.2, the values."""
    for mode in ("testing", "enforce", "none"):
        yield body(f"mode-{mode}", BODY.replace("enforce", mode), ("1", mode, *GOOD[2:]))
    for name, mode in (("unknown", "report"), ("upper-case", "Enforce"), ("empty", ""), ("two", "enforce testing")):
        yield body(f"mode-{name}", BODY.replace("enforce", mode), FAILED)
    yield body("no-mode", BODY.replace("mode: enforce\n", ""), FAILED)
    yield body("no-version", BODY.replace("version: STSv1\n", ""), FAILED)
    for name, version in (("2", "STSv2"), ("lower-case", "stsv1"), ("more", "STSv1x"), ("empty", "")):
        yield body(f"version-{name}", BODY.replace("STSv1", version), FAILED)
    for age in (0, 1, 86400, 31557600):
        yield body(f"max-age-{age}", BODY.replace("86400", str(age)), (*GOOD[:2], age, GOOD[3]))
    yield body("max-age-zeros", BODY.replace("86400", "0000086400"))
    for name, age in (("negative", "-1"), ("text", "day"), ("empty", ""), ("fraction", "6.5"), ("hex", "0x10"),
                      ("11-digits", "99999999999"), ("2-64", str(1 << 64)), ("unit", "86400s")):
        yield body(f"max-age-{name}", BODY.replace("86400", age), FAILED)
    yield body("no-max-age", BODY.replace("max_age: 86400\n", ""), FAILED)
    why = "3.2: max_age is 1 to 10 digits; Python reads more as a number"
    for name, age in (("sign", "+86400"), ("underscore", "86_400"), ("many-zeros", "000000086400")):
        yield body(f"max-age-{name}", BODY.replace("86400", age), ours=FAILED, theirs=GOOD, why=why)
    for age in (31557601, 9999999999):
        yield body(f"max-age-{age}", BODY.replace("86400", str(age)), ours=(*GOOD[:2], 31557600, GOOD[3]), theirs=FAILED,
                   why="3.2: the maximum is 31557600; a policy that wants more is taken for as long, not given up")


def mx_cases():
    """RFC 8461 section 3.2, the names of MX hosts."""
    def mx(name, lines, both=None, **more):
        found = [line.partition(":")[2].strip() for line in lines.split("\n") if line]
        text = BODY.replace("mx: mx.example\n", lines)
        return body(f"mx-{name}", text, both or (*GOOD[:3], found), **more)

    yield mx("several", "mx: a.example\nmx: b.example\n")
    yield mx("wildcard", "mx: *.example\n")
    yield mx("wildcard-below", "mx: *.mail.dst.example\n")
    yield mx("upper-case", "mx: MX.Example\n")
    yield mx("underscore", "mx: _mx.example\n")
    yield mx("last-dot", "mx: mx.example.\n")
    yield mx("twice", "mx: mx.example\nmx: mx.example\n")
    yield mx("punycode", "mx: xn--mller-kva.example\n")
    yield mx("none", "", FAILED)
    yield body("mode-none-no-mx", BODY.replace("enforce", "none").replace("mx: mx.example\n", ""),
               ("1", "none", 86400, []))
    why = "3.2: a value is a host name, or '*.' and one; anything else can match no MX host"
    for name, bad in (("empty", ""), ("star", "*"), ("star-inside", "mx.*.example"), ("two-stars", "*.*.example"),
                      ("star-in-label", "m*.example"), ("dot-first", ".example"), ("two-dots", "mx..example"),
                      ("blank", "mx a.example"), ("list", "a.example, b.example"), ("slash", "mx/a.example"),
                      ("v4", "192.0.2.1"), ("v6", "2001:db8::1"), ("literal", "[192.0.2.1]"), ("port", "mx.example:25"),
                      ("long-label", "x" * 64 + ".example"), ("comment", "mx.example # ours")):
        yield mx(f"{name}-alone", f"mx: {bad}\n", ours=FAILED, theirs=(*GOOD[:3], [bad]), why=why)
    for name, bad in (("empty", ""), ("v4", "192.0.2.1"), ("star", "*")):
        yield mx(f"{name}-beside", f"mx: {bad}\nmx: mx.example\n", ours=GOOD,
                 theirs=(*GOOD[:3], [bad, "mx.example"]), why=why)
    yield mx("not-ascii", "mx: m\u00fcller.example\n", charset="utf-8", ours=FAILED,
             theirs=(*GOOD[:3], ["m\u00fcller.example"]), why=why)


def padded(size):
    return BODY + "x: " + "y" * (size - len(BODY) - 4) + "\n"


def fetch_cases():
    """RFC 8461 section 3.3."""
    yield body("64k", padded(1 << 16))
    yield body("64k-and-one", padded((1 << 16) + 1), FAILED)
    yield Case("http-64k-in-chunks", script=[chunked(padded(1 << 16).encode())])
    yield Case("http-64k-and-one-in-chunks", FAILED, script=[chunked(padded((1 << 16) + 1).encode())])
    yield Case("http-no-length", script=[reply(BODY, length=False)])
    yield Case("http-chunks", script=[chunked(BODY[:7].encode(), BODY[7:].encode())])
    yield Case("http-1.0", script=[reply(BODY, length=False).replace(b"HTTP/1.1", b"HTTP/1.0")])
    for name, kind in (("charset", "text/plain; charset=us-ascii"), ("upper-case", "TEXT/Plain"),
                       ("blank", "text/plain ;x=y")):
        yield Case(f"http-type-{name}", script=[reply(BODY, kind=kind)])
    for name, kind in (("html", "text/html"), ("none", None), ("octets", "application/octet-stream"),
                       ("longer", "text/plainer")):
        yield Case(f"http-type-{name}", FAILED, script=[reply(BODY, kind=kind)])
    for status in ("204 No Content", "404 Not Found", "500 Oops", "503 Later"):
        yield Case(f"http-{status[:3]}", FAILED, script=[reply(BODY, status)])
    for status in ("301 Moved", "302 Found", "307 Temporary", "308 Permanent"):
        yield Case(f"http-{status[:3]}", FAILED,
                   script=[reply(BODY, status, Location="https://mta-sts.record-one.opinion.example/.well-known/mta-sts.txt")])
    yield Case("http-cut", FAILED, script=[reply(BODY)[:-1]])
    yield Case("http-cut-in-chunks", FAILED, script=[chunked(BODY.encode(), end=b"")])
    yield Case("http-cut-before-the-head", FAILED, script=[CUT])
    yield Case("http-garbage", FAILED, script=[b"hello\r\n\r\n"])
    yield Case("http-gzip", ours=FAILED, theirs=GOOD, script=[reply(gzip.compress(BODY.encode()), Content_Encoding="gzip")],
               why="RFC 9110 12.5.3: they offer gzip; we do not, and a policy is small")
    for leaf in ("wrong-name", "expired", "untrusted", "self-signed"):
        yield Case(f"certificate-{leaf}", FAILED, leaf=leaf)
    yield Case("certificate-wildcard", leaf="wildcard")


CASES = [*record_cases(), *form_cases(), *value_cases(), *mx_cases(), *fetch_cases()]


class Server(httpsd.Server):
    """Plays the script of the domain that it is asked for."""

    def steps(self, session):
        host = re.search(rb"^host: *mta-sts\.(\S*?)\.opinion", session.request, re.MULTILINE | re.IGNORECASE)[1].decode()
        return next(case.script for case in CASES if case.name == host)


class Resolver:
    """The unpacked package."""

    def __init__(self):
        self.root = realservers.fetched("sts-resolver")

    def stop(self):
        """It runs only while it is asked."""

    def verdicts(self, domains, bundle):
        environment = {"PYTHONPATH": f"{self.root}/usr/lib/python3/dist-packages", "SSL_CERT_FILE": bundle,
                       "LD_LIBRARY_PATH": realservers.library_path(self.root)}
        done = subprocess.run(["/usr/bin/python3", "-c", PROGRAM], input="\n".join(domains), stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=True, timeout=100, env=environment)
        return [tuple(v) if isinstance(v, list) else v for v in map(json.loads, done.stdout.splitlines())]


def ours(domain):
    """From the entry that was stored; there is none if there was nothing to fetch."""
    path = f"{STATE}/sts-{domain}"
    if not os.path.exists(path):
        return NONE
    found = Entry(read(path))
    if "id" not in found.keys:
        return FAILED
    mx = re.findall("^mx (.*)$", read(path), re.MULTILINE)
    return found["id"], found["mode"], int(found["max-age"]), mx


def publish(site):
    """Everything of the table. Each server has one certificate, so a case with one of its own has an address of its own."""
    chain = [site.certs.intermediate]
    names = [f"mta-sts.{case.domain}" for case in CASES]
    leaves, addresses = [pki.make("opinion", chain[0], names=names, chain=chain)], []
    for case in CASES:
        if case.leaf:
            leaves.append(site.certs.leaf(case.leaf, f"mta-sts.{case.domain}"))
        addresses.append(f"192.0.2.{len(leaves) if case.leaf else 1}")
        site.dns.zone("\n".join([f"mta-sts.{case.domain} A {addresses[-1]}",
                                 *(f"_mta-sts.{case.domain} TXT {text}" for text in case.records)]))
    site.servers += [Server(f"192.0.2.{n}", tls=site.certs.context(leaf)) for n, leaf in enumerate(leaves, 1)]


def test_verdicts_differ_only_where_it_is_explained(home, dns, certs):
    resolver = realservers.start(Resolver)
    assert len({case.name for case in CASES}) == len(CASES)
    domains = [case.domain for case in CASES]
    site = Site(home, dns, certs)
    try:
        publish(site)
        site.run(*domains, timeout=100)
        verdicts = list(zip(CASES, map(ours, domains), resolver.verdicts(domains, certs.bundle), strict=True))
    finally:
        for server in site.servers:
            server.stop()
    wrong = [f"{case.name}: we {we!r}, they {they!r}" for case, we, they in verdicts
             if (we, they) != (case.ours, case.theirs)]
    assert not wrong, "\n".join(wrong)
