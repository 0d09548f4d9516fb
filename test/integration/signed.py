"""A signed DNS with a name for each rule of DANE: NSD is the authority for all of it, unbound validates.

    .         signed; unbound has its key
    sig.      signed, with NSEC
    opt.      signed, with NSEC3 and opt-out
    sub.opt.  delegated from there, not signed
    uns.      not signed, as the root proves

The keys are made, and the zones signed, by ldns-keygen and ldns-signzone. Postfix and Exim are the servers of many names,
and posttls-finger says what it thinks of each; servers of smtpd.py show what those cannot.
"""

import enum
import hashlib
import os
import re
import shutil
import ssl
import subprocess

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import pki
import realservers
from realservers import fetched, library_path
from smtpd import CLOSE

AUTHORITY = "127.0.0.56"
RESOLVER = "127.0.0.57"
DEAD = "127.0.0.58"         # nothing answers there

SIGNED = {"sig.": (), "opt.": ("-n", "-p", "-t", "1")}     # the options of ldns-signzone
UNSIGNED = ("sub.opt.", "uns.")


class Verdict(enum.Enum):
    """What the DNS and a server prove together."""

    MATCH = "authenticated by a TLSA record"
    MISMATCH = "there are TLSA records, and the server does not fulfil them"
    UNUSABLE = "there are TLSA records, and none is usable: in TLS, and not authenticated by them"
    NONE = "no DANE"
    CLEAR = "no DANE, and no STARTTLS"
    ERROR = "the lookup failed: no connection"


MATCH, MISMATCH, UNUSABLE, NONE, CLEAR, ERROR = Verdict


class Shown:
    """A server of smtpd.py: make(certs, name) gives the certificate that it shows."""

    def __init__(self, make, *, is_weak=False, **script):
        self.make, self.is_weak, self.script = make, is_weak, script

    def context(self, certs, leaf):
        # With TLS 1.0 comes OpenSSL's security level 0.
        return certs.context(leaf, **({"minimum": ssl.TLSVersion.TLSv1} if self.is_weak else {}))


class Name:
    """A domain, its DNS, its server, and the verdict.

    tlsa        TLSA records of the MX host, see tlsa()
    server      a role of DanePostfix, or `exim` and a role of DaneExim, or Shown
    zone        domain and MX host are KEY.ZONE and mx.KEY.ZONE, if nothing else is said
    host        the MX host, or the relay
    records     in place of MX records and addresses of the MX host; {d} is the domain, {h} the host
    proof       the TLSA record that the report shows
    base        TLSA base domain, if it is not the host
    verifies    whether the certificate is good for the host without DANE too
    port        there is a route to the host and this port
    spoil       owner and type of records that are changed after signing
    finger      posttls-finger's verdict, if it is another
    """

    def __init__(self, key, verdict, *tlsa, server="tls", zone="sig", domain=None, host=None, records=None, proof=None,
                 base=None, verifies=None, port=None, spoil=(), finger=None):
        self.key, self.verdict, self.server, self.port = key, verdict, server, port
        self.domain = domain or f"{key}.{zone}"
        self.host = host or f"mx.{self.domain}"
        self.base = base or self.host
        self.proof = proof or (tlsa[0][:5] if tlsa else None)
        self.verifies = verifies if verifies is not None else server in ("tls", "tls12", "exim tls")
        self.spoil = [(owner.format(h=self.host + "."), kind) for owner, kind in spoil]
        self.finger = finger or verdict
        lines = list(records or ("{d} MX 10 {h}", "{h} ADDRESS"))
        lines += [f"_{port or 25}._tcp.{{h}} TLSA {t}" for t in tlsa]
        self.lines = [line.format(d=self.domain + ".", h=self.host + ".") for line in lines]
        self.is_real = not isinstance(server, Shown)

    @property
    def where(self):
        """The class of the real server, and its role."""
        kind, role = f"postfix {self.server}".split()[-2:]
        return {"postfix": DanePostfix, "exim": DaneExim}[kind], role

    @property
    def destination(self):
        """For posttls-finger."""
        return f"[{self.host}]:{self.port}" if self.port else self.domain

    def __repr__(self):
        return self.key


# Certificates.

def _variant(kind):
    return lambda certs, name: certs.leaf(kind, name.host)


def _named(*names):
    return lambda certs, name: pki.make("leaf", certs.intermediate, chain=[certs.intermediate], names=list(names))


def _with_root(certs, name):
    return pki.make("leaf", certs.intermediate, chain=[certs.intermediate, certs.root], names=[name.host])


def _rsa_1024(_, name):
    return pki.make("leaf", names=[name.host], key=rsa.generate_private_key(65537, 1024))


_GOOD = Shown(_variant("good"))

NAMES = [
    # The certificate or the key of the server.
    Name("ee", MATCH, "3 1 1"),
    Name("ee-tls12", MATCH, "3 1 1", server="tls12"),
    Name("ee-wrong", MISMATCH, "3 1 1 other"),
    Name("ee-certificate", MATCH, "3 0 1"),
    Name("ee-certificate-wrong", MISMATCH, "3 0 1 other"),
    Name("ee-sha512", MATCH, "3 1 2"),
    Name("ee-whole-key", MATCH, "3 1 0"),
    Name("ee-whole-certificate", MATCH, "3 0 0"),
    Name("ee-expired-and-other-name", MATCH, "3 1 1", server="wrong"),
    Name("ee-self-signed", MATCH, "3 0 1", server=Shown(_variant("self-signed"))),
    Name("ee-rsa-1024", MATCH, "3 1 1", server=Shown(_rsa_1024, is_weak=True)),
    Name("ee-of-intermediate", MISMATCH, "3 1 1 intermediate"),

    Name("ee-exim", MATCH, "3 1 1", server="exim tls"),
    Name("ee-exim-wrong", MISMATCH, "3 1 1 other", server="exim tls"),
    Name("ee-exim-expired-and-other-name", MATCH, "3 0 1", server="exim wrong"),

    # A trust anchor.
    Name("ta-intermediate", MATCH, "2 0 1 intermediate"),
    Name("ta-exim", MATCH, "2 1 1 intermediate", server="exim tls"),
    Name("ta-exim-wrong", MISMATCH, "2 1 1 intermediate", server="exim wrong"),
    Name("ta-intermediate-key", MATCH, "2 1 1 intermediate"),
    Name("ta-root", MATCH, "2 0 1 root", server=Shown(_with_root), verifies=True),
    Name("ta-root-key", MATCH, "2 1 1 root", server=Shown(_with_root), verifies=True),
    Name("ta-root-not-sent", MISMATCH, "2 1 1 root"),
    Name("ta-root-in-dns", MATCH, "2 0 0 root"),
    Name("ta-root-key-in-dns", MATCH, "2 1 0 root"),
    Name("ta-of-server", MISMATCH, "2 1 1"),
    Name("ta-wrong-name", MISMATCH, "2 0 1 intermediate", server=Shown(_variant("wrong-name"))),
    Name("ta-expired", MISMATCH, "2 0 1 intermediate", server=Shown(_variant("expired"))),
    Name("ta-name-of-domain", MATCH, "2 0 1 intermediate", server=Shown(_named("ta-name-of-domain.sig"))),

    # Several records.
    Name("rollover", MATCH, "3 1 1 other", "3 1 1"),
    Name("both-by-ee", MATCH, "2 1 1 other", "3 1 1", proof="3 1 1"),
    Name("both-by-ta", MATCH, "3 1 1 other", "2 1 1 intermediate", proof="2 1 1"),
    Name("both-wrong", MISMATCH, "3 1 1 other", "2 1 1 other"),
    Name("strong-wrong", MISMATCH, "3 1 2 other", "3 1 1"),
    Name("weak-wrong", MATCH, "3 1 1 other", "3 1 2", proof="3 1 2"),
    Name("strong-of-other-selector-wrong", MATCH, "3 0 2 other", "3 1 1", proof="3 1 1"),
    Name("whole-and-strong-wrong", MATCH, "3 1 2 other", "3 1 0", proof="3 1 0"),
    Name("many", MATCH, *(f"3 1 2 ={n:02x}{'5a' * 63}" for n in range(50)), "3 1 2"),

    # Records that are not usable.
    Name("usages-0-1", UNUSABLE, "0 0 1 root", "1 1 1"),
    Name("usages-0-1-of-others", UNUSABLE, "0 0 1 other", "1 1 1 other", server="wrong"),
    Name("unknown-values", UNUSABLE, f"4 1 1 ={'5a' * 32}", f"3 2 1 ={'5a' * 32}", f"3 1 3 ={'5a' * 32}",
         f"255 255 255 ={'5a' * 32}"),
    Name("wrong-lengths", UNUSABLE, f"3 1 1 ={'5a' * 31}", f"3 1 1 ={'5a' * 33}", f"3 1 2 ={'5a' * 32}",
         f"2 0 1 ={'5a' * 64}"),
    Name("no-certificate", UNUSABLE, f"3 0 0 ={'5a' * 100}"),
    Name("mixed", MATCH, "1 1 1 other", "3 1 1", f"3 9 9 ={'5a' * 32}", proof="3 1 1"),
    Name("mixed-wrong", MISMATCH, "1 1 1", "0 0 1 root", "3 1 1 other"),

    # No records.
    Name("none", NONE),
    Name("none-wrong-certificate", NONE, server="wrong"),
    Name("uns-host", NONE, "3 1 1 other", host="mx.uns-host.uns"),
    Name("uns-domain", NONE, "3 1 1 other", zone="uns", host="mx.uns-domain.sig"),
    Name("uns", NONE, "3 1 1 other", zone="uns"),

    # Lookups that fail.
    Name("bogus", ERROR, "3 1 1", spoil=[("_25._tcp.{h}", "TLSA")]),
    Name("fail", ERROR, "3 1 1"),
    Name("bogus-mx", ERROR, "3 1 1", spoil=[("bogus-mx.sig.", "MX")]),
    Name("bogus-address", ERROR, "3 1 1", server=_GOOD, spoil=[("{h}", "A")]),
    Name("bogus-denial-of-aaaa", MATCH, "3 1 1", server=_GOOD, spoil=[("{h}", "NSEC")]),

    # MX hosts that are aliases.
    Name("alias", MATCH, server=_GOOD, base="t.alias.sig", proof="3 1 1", records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias.sig.", "t.alias.sig. ADDRESS", "_25._tcp.t.alias.sig. TLSA 3 1 1"]),
    Name("alias-of-alias", MATCH, server=_GOOD, base="u.alias-of-alias.sig", proof="3 1 1", records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias-of-alias.sig.", "t.alias-of-alias.sig. CNAME u.alias-of-alias.sig.",
        "u.alias-of-alias.sig. ADDRESS", "_25._tcp.u.alias-of-alias.sig. TLSA 3 1 1",
        "_25._tcp.t.alias-of-alias.sig. TLSA 3 1 1 other"]),
    Name("alias-own", MATCH, "3 1 1", server=_GOOD, records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias-own.sig.", "t.alias-own.sig. ADDRESS"]),
    Name("alias-both", MISMATCH, "3 1 1", server=_GOOD, records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias-both.sig.", "t.alias-both.sig. ADDRESS",
        "_25._tcp.t.alias-both.sig. TLSA 3 1 1 other"]),
    Name("alias-bogus", ERROR, "3 1 1", server=_GOOD, records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias-bogus.sig.", "t.alias-bogus.sig. ADDRESS",
        "_25._tcp.t.alias-bogus.sig. TLSA 3 1 1"], spoil=[("_25._tcp.t.alias-bogus.sig.", "TLSA")]),
    Name("alias-ta", MATCH, server=Shown(_named("t.alias-ta.sig")), base="t.alias-ta.sig", proof="2 0 1", records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias-ta.sig.", "t.alias-ta.sig. ADDRESS",
        "_25._tcp.t.alias-ta.sig. TLSA 2 0 1 intermediate"]),
    Name("alias-ta-own-name", MISMATCH, server=_GOOD, verifies=True, records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias-ta-own-name.sig.", "t.alias-ta-own-name.sig. ADDRESS",
        "_25._tcp.t.alias-ta-own-name.sig. TLSA 2 0 1 intermediate"]),
    Name("alias-to-uns", MATCH, "3 1 1", server=_GOOD, records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias-to-uns.uns.", "t.alias-to-uns.uns. ADDRESS",
        "_25._tcp.t.alias-to-uns.uns. TLSA 3 1 1 other"]),
    Name("alias-to-uns-wrong", MISMATCH, "3 1 1 other", server=_GOOD, records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias-to-uns-wrong.uns.", "t.alias-to-uns-wrong.uns. ADDRESS",
        "_25._tcp.t.alias-to-uns-wrong.uns. TLSA 3 1 1"]),
    Name("alias-to-uns-none", NONE, server=_GOOD, verifies=True, records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias-to-uns-none.uns.", "t.alias-to-uns-none.uns. ADDRESS",
        "_25._tcp.t.alias-to-uns-none.uns. TLSA 3 1 1 other"]),
    Name("alias-to-uns-bogus", ERROR, "3 1 1", server=_GOOD, records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias-to-uns-bogus.uns.", "t.alias-to-uns-bogus.uns. ADDRESS"],
         spoil=[("_25._tcp.{h}", "TLSA")]),
    Name("alias-from-uns", NONE, "3 1 1 other", host="mx.alias-from-uns.uns", server=_GOOD, verifies=True, records=[
        "{d} MX 10 {h}", "{h} CNAME t.alias-from-uns.sig.", "t.alias-from-uns.sig. ADDRESS",
        "_25._tcp.t.alias-from-uns.sig. TLSA 3 1 1 other"]),

    # Domains that are aliases; both their names count for a trust anchor.
    Name("next-hop-alias", MATCH, "2 0 1 intermediate", host="mx.next-hop-alias.sig",
         server=Shown(_named("next-hop-alias.sig")), records=[
             "{d} CNAME d.next-hop-alias.sig.", "d.next-hop-alias.sig. MX 10 {h}", "{h} ADDRESS"]),
    Name("next-hop-target", MATCH, "2 0 1 intermediate", server=Shown(_named("d.next-hop-target.sig")), records=[
        "{d} CNAME d.next-hop-target.sig.", "d.next-hop-target.sig. MX 10 {h}", "{h} ADDRESS"]),
    Name("next-hop-from-uns", NONE, "3 1 1 other", zone="uns", host="mx.next-hop-from-uns.sig", records=[
        "{d} CNAME d.next-hop-from-uns.sig.", "d.next-hop-from-uns.sig. MX 10 {h}", "{h} ADDRESS"]),

    # No MX records: the domain itself.
    Name("no-mx", MATCH, "3 1 1", host="no-mx.sig", records=["{h} ADDRESS"]),
    Name("no-mx-wrong", MISMATCH, "3 1 1 other", host="no-mx-wrong.sig", records=["{h} ADDRESS"]),
    Name("no-mx-alias-ta-own-name", MISMATCH, host="no-mx-alias-ta-own-name.sig", server=_GOOD, base="t.no-mx.sig", records=[
        "{h} CNAME t.no-mx.sig.", "t.no-mx.sig. ADDRESS", "_25._tcp.t.no-mx.sig. TLSA 2 1 1 intermediate"]),
    Name("no-mx-uns", NONE, "3 1 1 other", host="no-mx-uns.uns", zone="uns", records=["{h} ADDRESS"]),

    # Relays, each with its port; the domain of the mail is no name for them.
    Name("relay", MATCH, "3 1 1", server=_GOOD, port=26, records=[
        "{h} ADDRESS", "_25._tcp.{h} TLSA 3 1 1 other"]),
    Name("relay-wrong", MISMATCH, "3 1 1 other", server=_GOOD, port=26, records=["{h} ADDRESS", "_25._tcp.{h} TLSA 3 1 1"]),
    Name("relay-other-port", NONE, server=_GOOD, verifies=True, port=26, records=[
        "{h} ADDRESS", "_25._tcp.{h} TLSA 3 1 1 other"]),
    Name("relay-alias", MATCH, server=_GOOD, port=26, base="t.relay-alias.sig", proof="3 1 1", records=[
        "{h} CNAME t.relay-alias.sig.", "t.relay-alias.sig. ADDRESS", "_26._tcp.t.relay-alias.sig. TLSA 3 1 1"]),
    Name("relay-ta", MATCH, "2 1 1 intermediate", server=_GOOD, port=26, records=["{h} ADDRESS"]),
    Name("relay-alias-ta-own-name", MISMATCH, server=_GOOD, port=26, base="t.relay-alias-ta-own-name.sig", records=[
        "{h} CNAME t.relay-alias-ta-own-name.sig.", "t.relay-alias-ta-own-name.sig. ADDRESS",
        "_26._tcp.t.relay-alias-ta-own-name.sig. TLSA 2 1 1 intermediate"]),
    Name("relay-ta-name-of-domain", MISMATCH, "2 1 1 intermediate", server=Shown(_named("relay-ta-name-of-domain.sig")),
         port=26, records=["{d} MX 10 {h}", "{h} ADDRESS"]),
    Name("relay-uns", NONE, "3 1 1 other", server=_GOOD, verifies=True, port=26, zone="uns", records=["{h} ADDRESS"]),

    # TLSA records behind aliases.
    Name("tlsa-alias", MATCH, proof="3 1 1", records=[
        "{d} MX 10 {h}", "{h} ADDRESS", "_25._tcp.{h} CNAME _dane.tlsa-alias.sig.", "_dane.tlsa-alias.sig. TLSA 3 1 1"]),
    Name("tlsa-alias-wrong", MISMATCH, records=[
        "{d} MX 10 {h}", "{h} ADDRESS", "_25._tcp.{h} CNAME _dane.tlsa-alias-wrong.sig.",
        "_dane.tlsa-alias-wrong.sig. TLSA 3 1 1 other"]),
    Name("tlsa-alias-to-uns", NONE, records=[
        "{d} MX 10 {h}", "{h} ADDRESS", "_25._tcp.{h} CNAME _dane.tlsa-alias-to-uns.uns.",
        "_dane.tlsa-alias-to-uns.uns. TLSA 3 1 1 other"]),
    Name("tlsa-alias-to-nothing", NONE, records=[
        "{d} MX 10 {h}", "{h} ADDRESS", "_25._tcp.{h} CNAME _dane.tlsa-alias-to-nothing.sig."]),
    Name("tlsa-dname", MATCH, proof="3 1 1", records=[
        "{d} MX 10 {h}", "{h} ADDRESS", "_tcp.{h} DNAME _dane.tlsa-dname.sig.", "_25._dane.tlsa-dname.sig. TLSA 3 1 1"]),

    # Opt-out: what is not there is not proven; what is there is signed.
    Name("opt", MATCH, "3 1 1", zone="opt"),
    Name("opt-wrong", MISMATCH, "3 1 1 other", zone="opt"),
    Name("opt-none", NONE, zone="opt"),
    Name("opt-no-mx", MATCH, "3 1 1", host="opt-no-mx.opt", zone="opt", records=["{h} ADDRESS"]),
    Name("opt-delegated", NONE, "3 1 1 other", zone="sub.opt"),
    Name("opt-wildcard", NONE, "3 1 1 other", domain="any.opt-wildcard.opt", host="mx.opt", records=[
        "*.opt-wildcard.opt. MX 10 {h}", "{h} ADDRESS"]),

    # Servers that do no TLS. To posttls-finger this is no failure.
    Name("no-starttls", MISMATCH, "3 1 1 other", server="clear", finger=CLEAR),
    Name("no-starttls-unusable", MISMATCH, "1 1 1 other", server="clear", finger=CLEAR),
    Name("no-starttls-none", CLEAR, server="clear"),
    Name("starttls-refused", MISMATCH, "3 1 1", server=Shown(_variant("good"), STARTTLS="454 not now")),
    Name("no-handshake", MISMATCH, "3 1 1", server=Shown(_variant("good"), STARTTLS=("220 go", CLOSE))),
]

BY_KEY = {n.key: n for n in NAMES}
assert len(BY_KEY) == len(NAMES)

# Domains with several MX hosts, each a host of one of the names.
SEVERAL = {
    "wrong-then-right.sig": ("ee-wrong", "ee"),
    "wrong-then-none.sig": ("ee-wrong", "none"),
    "bogus-then-right.sig": ("bogus", "ee"),
    "fail-then-none.sig": ("fail", "none"),
    "no-starttls-then-right.sig": ("no-starttls", "ee-tls12"),
    "all-wrong.sig": ("ee-wrong", "bogus", "no-starttls"),
    "all-without-lookup.sig": ("bogus", "fail"),
    "lookup-and-nobody.sig": ("bogus", "ee-self-signed"),
}


# TLSA records.

def association(cert, selector, matching):
    """The data of a TLSA record for this certificate."""
    data = cert.public_bytes(serialization.Encoding.DER)
    if selector:
        data = cert.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return data if matching == 0 else hashlib.new({1: "sha256", 2: "sha512"}[matching], data).digest()


def tlsa(text, certs, leaf):
    """`3 1 1` is of the server's certificate, `2 0 1 intermediate` of another; `3 1 1 =HEX` is as it is.

    Another is `intermediate`, `root`, or `other`, which has nothing to do with the server.
    """
    *numbers, which = (text + " leaf").split()[:4]
    if which.startswith("="):
        return f"{' '.join(numbers)} {which[1:]}"
    cert = {"leaf": leaf, "intermediate": certs.intermediate, "root": certs.root, "other": certs.client}[which].cert
    return f"{' '.join(numbers)} {association(cert, int(numbers[1]), int(numbers[2])).hex()}"


# The zones.

class Zones:
    """What is in them, by name of the zone."""

    def __init__(self, certs):
        self.certs = certs
        self.good, self.wrong = self._leaves(certs)
        self.leaf = {n.key: self._leaf(n) for n in NAMES}
        self.lines = {zone: [] for zone in (".", *SIGNED, *UNSIGNED)}
        for n in NAMES:
            for line in n.lines:
                self._add(n, line)
        for domain, keys in SEVERAL.items():
            for number, key in enumerate(keys, 1):
                self._line(f"{domain}. MX {10 * number} {BY_KEY[key].host}.")

    @staticmethod
    def _leaves(certs):
        """The certificates of the real servers: one is good for all names, one for none."""
        names = sorted({n.host for n in NAMES if n.is_real})
        good = pki.make("good", certs.intermediate, chain=[certs.intermediate], names=names)
        wrong = pki.make("elsewhere.example", certs.intermediate, chain=[certs.intermediate],
                         names=["elsewhere.example"], start=-30, end=-1)
        return good, wrong

    def _leaf(self, name):
        if not name.is_real:
            return name.server.make(self.certs, name)
        return self.wrong if name.where[1] == "wrong" else self.good

    @staticmethod
    def addresses(name):
        """Of its server, with their type."""
        if name.is_real:
            kind, role = name.where
            return [("A", kind.address(role, 4)), ("AAAA", kind.address(role, 6))]
        return [("A", f"192.0.2.{10 + NAMES.index(name)}")]

    def _line(self, line):
        owner = line.split()[0]
        zone = max((z for z in self.lines if z == "." or owner == z or owner.endswith("." + z)), key=len)
        if line not in self.lines[zone]:
            self.lines[zone].append(line)

    def _add(self, name, line):
        owner, kind, data = (line + " ").split(" ", 2)
        if kind == "ADDRESS":
            for k, address in self.addresses(name):
                self._line(f"{owner} {k} {address}")
        elif kind == "TLSA":
            self._line(f"{owner} TLSA {tlsa(data, self.certs, self.leaf[name.key])}")
        else:
            self._line(f"{owner} {kind} {data}".strip())


def _ldns(folder, program, *arguments):
    root = fetched("ldns")
    return subprocess.run([f"{root}/usr/bin/{program}", *arguments], cwd=folder, check=True, text=True,
                          stdout=subprocess.PIPE, env={"LD_LIBRARY_PATH": library_path(root)}).stdout.strip()


def _read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def _write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def _sign(folder, zone, options):
    """Sign zone.ZONE in this folder with a new key; returns the path of key and DS record without .key and .ds."""
    key = _ldns(folder, "ldns-keygen", "-r", "/dev/urandom", "-a", "ECDSAP256SHA256", "-k", zone)
    _ldns(folder, "ldns-signzone", *options, "-o", zone, "-f", f"zone.{zone}.signed", f"zone.{zone}", key)
    os.rename(f"{folder}/zone.{zone}.signed", f"{folder}/zone.{zone}")
    return f"{folder}/{key}"


# How data of each type is changed.
_CHANGES = {
    "TLSA": lambda data: data[:-1] + ("0" if data[-1] != "0" else "1"),
    "MX": lambda data: data.replace("10 ", "11 ", 1),
    "A": lambda data: "192.0.2.1",
    "NSEC": lambda data: data.replace(" A ", " A TXT ", 1),
}


def _spoil(path, records):
    """Change data of these records, (owner, type), so that their signatures are wrong."""
    left, lines = set(records), []
    for line in _read(path).splitlines():
        words = line.split(None, 4)
        if len(words) == 5 and (words[0], words[3]) in records:
            changed = _CHANGES[words[3]](words[4].strip())
            assert changed != words[4].strip(), line
            left.discard((words[0], words[3]))
            line = " ".join([*words[:4], changed])
        lines.append(line)
    assert not left, left
    _write(path, "\n".join(lines) + "\n")


# The servers.

class Authority(realservers.Nsd):
    """NSD with all zones."""

    name = "signed-nsd"
    unpacked = "nsd"
    addresses = (AUTHORITY,)

    def ready(self, address):
        return all(realservers.answers(address, zone) for zone in self.records.lines)

    def configure(self):
        etc = f"{self.folder}/etc"
        for zone, lines in self.records.lines.items():
            _write(f"{etc}/zone.{zone}", "\n".join(
                ["$TTL 60", f"{zone} SOA ns. root. 1 60 60 60 60", f"{zone} NS ns.", *lines]) + "\n")
        with open(f"{etc}/zone.opt.", "a", encoding="ascii") as f:
            f.write("sub.opt. NS ns.\n")
        spoiled = [(owner, kind) for n in NAMES for owner, kind in n.spoil]
        with open(f"{etc}/zone..", "a", encoding="ascii") as f:
            f.write(f"ns. A {AUTHORITY}\nuns. NS ns.\n")
            for zone, options in SIGNED.items():
                key = _sign(etc, zone, options)
                f.write(f"{zone} NS ns.\n{_read(key + '.ds')}\n")
        _spoil(f"{etc}/zone.sig.", spoiled)
        self.anchor = _sign(etc, ".", ()) + ".key"
        return self.serve({zone: f"{etc}/zone.{zone}" for zone in self.records.lines})


class Validator(realservers.Unbound):
    """Unbound, which validates from the root on."""

    name = "signed-unbound"
    unpacked = "unbound"
    addresses = (RESOLVER,)

    def __init__(self, anchor):
        self.anchor = anchor
        super().__init__()

    def ready(self, address):
        return realservers.answers(address, "sig.")

    def configure(self):
        _write(f"{self.folder}/etc/root.hints", f". 3600 NS ns.\nns. 3600 A {AUTHORITY}\n")
        shutil.copy(self.anchor, f"{self.folder}/etc/root.key")
        self.conf = f"{self.folder}/etc/unbound.conf"
        _write(self.conf, f"""\
server:
    directory: "{self.folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: "{self.log}"
    val-log-level: 2
    do-daemonize: no
    do-ip6: no
    module-config: "validator iterator"
    root-hints: "{self.folder}/etc/root.hints"
    trust-anchor-file: "{self.folder}/etc/root.key"
    interface: {RESOLVER}
    access-control: 127.0.0.0/8 allow
    do-not-query-localhost: no
    extended-statistics: yes
    trust-anchor-signaling: no
    root-key-sentinel: no
remote-control:
    control-enable: yes
    control-interface: "{self.folder}/control"
    control-use-cert: no
forward-zone:
    name: "_25._tcp.{BY_KEY["fail"].host}."
    forward-addr: {DEAD}@9
    forward-tcp-upstream: yes
""")
        return ["-d", "-d", "-p", "-c", self.conf]

    def asked(self, kind):
        """How many questions for this type it has been asked."""
        found = re.search(rf"^num\.query\.type\.{kind}=(\d+)$", self.stats(), re.MULTILINE)
        return int(found[1]) if found else 0


class _ForNames:
    """A mail server with certificates for the names."""

    def __init__(self, zones):
        self.zones = zones
        super().__init__(zones.certs)

    def leaves(self):
        return self.zones.good, self.zones.wrong


class DaneExim(_ForNames, realservers.Exim):
    name = "dane-exim"
    unpacked = "exim"
    number = 6


class DanePostfix(_ForNames, realservers.Postfix):
    """With posttls-finger."""

    name = "dane-postfix"
    unpacked = "postfix"
    number = 5

    def finger(self, destination, level="dane-only"):
        """Posttls-finger's verdict, and what it said.

        `dane-only` is `dane`, and says whether there are TLSA records; with `-M may` those of a host do not count where
        its MX record is not signed.
        """
        root = fetched(self.unpacked)
        mounts = "".join(f"mount --bind {self.folder}/etc/{f} /etc/{f}\n" for f in ("passwd", "group"))
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "unchanged", "sh", "-ec", mounts + 'exec "$@"', "sh",
             f"{root}/usr/sbin/posttls-finger", "-t", "10", "-T", "10", "-l", level, "-M", "may", destination],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": library_path(root),
                 "MAIL_CONFIG": f"{self.folder}/etc"})
        return _finger_verdict(done.stdout), done.stdout


def _finger_verdict(said):
    """Of the first host for which posttls-finger knew what to do."""
    if "TLSA lookup error" in said or "Destination address lookup failed" in said:
        return ERROR
    if "> STARTTLS" not in said:
        assert "> EHLO" in said, said
        return CLEAR
    established = re.search(r"(Verified|Trusted|Untrusted|Anonymous) TLS connection established to", said)
    if not established:
        return MISMATCH
    if "no usable TLSA records found" in said or "all TLSA records unusable" in said:
        return UNUSABLE
    if "no TLSA records found" in said or "MX RRset is insecure" in said:
        return NONE
    return MATCH if established[1] == "Verified" else MISMATCH


class World:
    """All of it."""

    def __init__(self, certs):
        self.zones = Zones(certs)
        self.nsd = realservers.start(Authority, self.zones)
        self.unbound = realservers.start(Validator, self.nsd.anchor)
        self.boxes = {}     # by server: mailboxes that are empty, and stay so

    def start(self, kind):
        """The real mail server of this class."""
        return realservers.start(kind, self.zones)
