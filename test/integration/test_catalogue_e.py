"""The catalogue, group E: certificate verification, at strictness 2.

What does not verify is Z, and nothing was told.
"""

import datetime
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import warnings

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import pki
from catalogue import ONE, Case, Setup, Start, Want, table
from expect_tls import IN_TLS, UNVERIFIED
from stage import VERSIONS
from test_stock import one_user
from tlssite import tls_line

BOTH = ("ver12", "ver13")
MX = "mx.mail.example"


def show(stage, path):
    """The server shows this, weak as it may be."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = (VERSIONS[v] for v in stage.way.versions)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(path)
    stage.first.tls = context


def not_a_byte(stage):
    """Nothing was sent in TLS if the mail was not delivered; and it was no trouble of ours."""
    for session in stage.sessions:
        assert stage.run.rspawn[:1] == b"K" or session.secret == b"", session.secret
    assert b"cannot run" not in stage.run.report, stage.run


def e(name, make, why=None, *, letters=None, over="ver13", host="m1.example", anchors=None, control=(), within=None,
      says=None):
    """A case whose server shows what make(pki) returns; it verifies, or does not for this reason."""
    def prepare(stage):
        leaf = make(stage.certs)
        show(stage, stage.certs.write("shown.pem", leaf.key_pem + leaf.chain_pem))
        if anchors:
            stage.demand(2, anchors(stage.certs))

    def check(stage):
        not_a_byte(stage)
        assert why is None or why in tls_line(stage.run), stage.run

    fate = IN_TLS if why is None else UNVERIFIED
    return Case(name, Setup(host=host, prepare=prepare, control=control), Want(letters or fate, within=within, check=check),
                over=over, says=says)


def named(*names, **how):
    return lambda certs: pki.make("leaf", certs.intermediate, names=list(names), chain=[certs.intermediate], **how)


GOOD = dict(names=["m1.example"])


MISMATCH, PURPOSE = "name mismatch", "purpose"


def name_cases():
    for number, variant, why in ((1, "self-signed", "self"), (2, "untrusted", "issuer"), (3, "expired", "expired"),
                                 (4, "early", "not yet valid"), (5, "wrong-name", MISMATCH), (6, "cn-only", MISMATCH)):
        yield e(f"E{number}-{variant}", lambda certs, v=variant: certs.leaf(v), why, over=BOTH)
    for name, other in (
            ("domain", "mail.example"), ("leading-dot", ".mail.example"), ("recipient", "dst.example"),
            ("other-label", "x.mail.example"), ("longer", f"{MX}.evil.example"), ("longer-label", f"a{MX}"),
            ("below", f"*.{MX}"), ("blank-first", f" {MX}"), ("blank-behind", f"{MX} x"), ("address", ONE)):
        yield e(f"E5-{name}", named(other), MISMATCH, host=MX)
    yield e("E5-address-of-it", lambda certs: pki.make("leaf", certs.intermediate, addresses=[ONE],
                                                       chain=[certs.intermediate]), MISMATCH)
    yield e("E7-wildcard", named("*.mail.example"), host=MX, over=BOTH)
    yield e("E7-wildcard-upper", named("*.MAIL.example"), host=MX)
    yield e("E8-deeper", named("*.mail.example"), MISMATCH, host="a.mx.mail.example")
    yield e("E9-apex", named("*.mail.example"), MISMATCH, host="mail.example")
    for name, pattern in (("mx-star", "mx*.mail.example"), ("part", "m*.mail.example"), ("part-behind", "*x.mail.example"),
                          ("star-mx", "*mx.mail.example"), ("inside", "mx.*.example"), ("two", "*.*.example")):
        yield e(f"E10-{name}", named(pattern), MISMATCH, host=MX)
    for name, pattern, host in (("top", "*.example", "m1.example"), ("top-deeper", "*.example", MX), ("star", "*", MX),
                                ("star-dot", "*.", "mail.example"), ("stars", "*.*", "m1.example"),
                                ("a-label", "*.example", "xn--bcher-kva.example")):
        yield e(f"E11-{name}", named(pattern), MISMATCH, host=host)
    yield e("E12-nul", named("m1.example\0.evil.example"), MISMATCH)
    yield e("E12-nul-before", named("evil\0m1.example"), MISMATCH)
    yield e("E12-nul-at-end", named("m1.example\0"), MISMATCH)
    yield e("E13-upper", named("M1.EXAMPLE"), over=BOTH)
    yield e("E13-upper-host", named("m1.example"), host="M1.Example")
    yield e("E13-among-others", named(*(f"n{n}.example" for n in range(100)), "m1.example"))
    yield e("E13-underscore", named("mx_1.mail.example"), host="mx_1.mail.example")
    yield e("E13-dot-in-name", named("m1.example"), control=dict(smtproutes=":m1.example.\n"))
    yield e("E13-dot-in-certificate", named("m1.example."), MISMATCH,
            says="a trailing dot of the name that is looked for is cut; one in the certificate is no form of a DNS name, "
                 "and does not match")
    yield e("E14-a-label", named("xn--bcher-kva.example"), host="xn--bcher-kva.example")
    yield e("E14-u-label", _with_u_label, MISMATCH, host="xn--bcher-kva.example", says="A-labels only")
    yield Case("E15-empty-name", Setup(), "Z", Start(play=_empty_name),
               says="without a name to verify qmail-remote-tls says so, and no connection is made")
    for name, reference in (("dot", "."), ("leading-dot", ".mail.example"), ("blank", "m1 .example"),
                            ("long", "a" * 300)):
        yield Case(f"E15-{name}", Setup(), "Z", Start(play=lambda stage, r=reference: _empty_name(stage, r)))


def _with_u_label(certs):
    name = x509.DNSName._init_without_validation("b\u00fccher.example")
    try:
        return pki.make("leaf", certs.intermediate, chain=[certs.intermediate],
                        extensions=[(x509.SubjectAlternativeName([name]), False)], san=False)
    except (UnicodeError, ValueError, TypeError):
        der = "b\u00fccher.example".encode()
        raw = b"\x30" + bytes([len(der) + 2]) + b"\x82" + bytes([len(der)]) + der
        return _raw_san(certs, raw)


def _raw_san(certs, der, *more, critical=False):
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), der)
    return pki.make("leaf", certs.intermediate, chain=[certs.intermediate], extensions=[(odd, critical), *more])


def _empty_name(stage, name=""):
    """The helper by itself: it must say so before one byte was sent."""
    server, ours = socket.socketpair()
    clear, _ = socket.socketpair()
    read, write = os.pipe()
    fds = (ours.fileno(), clear.fileno(), write)
    words = dict(zip(("socket", "clear", "status"), fds), seconds=5, security=2, name=name,
                 anchors=stage.certs.bundle, state=stage.home.run_path)
    subprocess.run([f"{stage.home.path}/bin/qmail-remote-tls", *(f"{k}={v}" for k, v in words.items())],
                   pass_fds=fds, check=False, timeout=10)
    os.close(write)
    with open(read, "rb") as f:
        status = f.read()
    ours.close()
    assert b"no valid server name" in status, status
    server.setblocking(False)
    assert server.recv(100) == b""


def signed(subject, key, issuer_name, issuer_key, *, ca=True, names=(), serial=None, extensions=(), algorithm=None):
    """A certificate from its parts, for what pki.make() does not make."""
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder()
               .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
               .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer_name)]))
               .public_key(key).serial_number(serial or x509.random_serial_number())
               .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
               .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # some are meant to be weak
        return builder.sign(issuer_key, algorithm or hashes.SHA256())


class Plain:
    """A certificate with a key of any kind, in the form that pki.Pki.context() takes."""

    def __init__(self, cert, key, chain=()):
        self.cert, self.key, self.chain = cert, key, chain

    pem = pki.Certificate.pem
    chain_pem = pki.Certificate.chain_pem
    key_pem = pki.Certificate.key_pem


def _cycle(certs):
    """Two that have signed each other, and no root."""
    one, two, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    a = Plain(signed("A", one.public_key(), "B", two), one)
    b = Plain(signed("B", two.public_key(), "A", one), two)
    return Plain(signed("leaf", leaf.public_key(), "A", one, ca=False, names=["m1.example"]), leaf, (a, b, a, b))


def _long(count):
    def make(certs):
        links = [certs.root]
        for number in range(count):
            links.insert(0, pki.make(f"Link {number}", links[0], ca=True))
        return pki.make("leaf", links[0], chain=links[:-1], **GOOD)
    return make


def _under(**how):
    """A leaf below an intermediate of its own kind."""
    def make(certs):
        middle = pki.make("Middle", certs.root, **{"ca": True, **how})
        return pki.make("leaf", middle, chain=[middle], **GOOD)
    return make


def _limited(permitted=None, excluded=None, **leaf):
    def make(certs):
        limit = x509.NameConstraints(permitted, excluded)
        middle = pki.make("Limited", certs.root, ca=True, extensions=[(limit, True)])
        return pki.make("leaf", middle, chain=[middle], **{**GOOD, **leaf})
    return make


def chain_cases():
    yield e("E16-no-intermediate", lambda certs: certs.leaf("no-intermediate"), "issuer", over=BOTH)
    yield e("E16-other-intermediate", lambda certs: pki.make(
        "leaf", certs.intermediate, chain=[pki.make("Test Intermediate", certs.other_root, ca=True)], **GOOD), "")

    def same_name_root(certs):
        fake = pki.make("Test Root", ca=True)
        return pki.make("leaf", fake, chain=[fake], **GOOD)

    yield e("E2-same-name", same_name_root, "")
    yield e("E2-root-sent", lambda certs: pki.make("leaf", certs.other_root, chain=[certs.other_root], **GOOD), "self")
    yield e("E3-intermediate", _under(start=-30, end=-1), "expired")
    yield e("E17-root-sent", lambda certs: pki.make("leaf", certs.intermediate, chain=[certs.intermediate, certs.root], **GOOD))
    yield e("E17-from-root", lambda certs: pki.make("leaf", certs.root, **GOOD))

    def wrong_order(certs):
        chain = [certs.other_root, certs.root, certs.client, certs.intermediate]
        return pki.make("leaf", certs.intermediate, chain=chain, **GOOD)

    yield e("E17-wrong-order", wrong_order, over=BOTH)

    def twins(certs):
        old = pki.make("Twin", certs.root, ca=True, start=-30, end=-1)
        new = pki.make("Twin", certs.root, ca=True)
        return pki.make("leaf", new, chain=[old, new], **GOOD)

    yield e("E18-expired-twin", twins)

    def crossed(certs):
        """Our root's key, signed by an older root that has expired: what servers went on sending in 2020 and 2021."""
        cross = Plain(signed("Test Root", certs.root.key.public_key(), "Old Root", _OLD.key), None)
        return pki.make("leaf", certs.intermediate, chain=[certs.intermediate, cross], **GOOD)

    def dead_end(certs):
        key = ec.generate_private_key(ec.SECP256R1())
        fresh = Plain(signed("Cross", key.public_key(), "Test Root", certs.root.key), key)
        other = Plain(signed("Cross", key.public_key(), "Other Root", certs.other_root.key), key)
        leaf = ec.generate_private_key(ec.SECP256R1())
        return Plain(signed("leaf", leaf.public_key(), "Cross", key, ca=False, names=["m1.example"]), leaf,
                     (other, fresh))

    yield e("E18-cross-signed", crossed, over=BOTH)
    yield e("E18-dead-end-first", dead_end, letters="ZK",
            says="of two valid issuers of one name OpenSSL follows the first sent; if it leads nowhere that is Z")
    yield e("E19-cycle", _cycle, "", within=3)
    yield e("E20-hundred", _long(100), "", within=4)
    yield e("E20-thirty", _long(30), "")
    yield e("E20-nine", _long(9), says="up to ten intermediates")

    def no_ca(certs):
        middle = pki.make("middle.example", certs.intermediate, names=["middle.example"])
        return pki.make("leaf", middle, chain=[middle, certs.intermediate], **GOOD)

    yield e("E21-no-ca", no_ca, "")

    def too_deep(certs):
        first = pki.make("First", certs.root, ca=True, path_length=0)
        second = pki.make("Second", first, ca=True)
        return pki.make("leaf", second, chain=[second, first], **GOOD)

    yield e("E22-path-length", too_deep, "path length")
    dns, ip, mail = x509.DNSName, x509.IPAddress, x509.RFC822Name
    yield e("E23-dns-permitted", _limited([dns("example")]))
    yield e("E23-dns-elsewhere", _limited([dns("elsewhere.example")]), "permitted subtree")
    yield e("E23-dns-excluded", _limited(None, [dns("m1.example")]), "excluded subtree")
    yield e("E23-ip", _limited([ip(ipaddress.ip_network("198.51.100.0/24"))], addresses=[ONE]), "")
    both = x509.SubjectAlternativeName([dns("m1.example"), mail("a@evil.example")])
    yield e("E23-mail", _limited(None, [mail("evil.example")], extensions=[(both, False)], san=False), "")
    for name, usage in (("clients", ExtendedKeyUsageOID.CLIENT_AUTH), ("code", ExtendedKeyUsageOID.CODE_SIGNING)):
        yield e(f"E24-for-{name}", named("m1.example", usages=[usage]), PURPOSE)
    yield e("E24-for-servers", named("m1.example", usages=[ExtendedKeyUsageOID.SERVER_AUTH]))


def weak_cases():
    yield Case("E25-sha1", Setup(prepare=lambda stage: _by_command(stage, "sha1")), "Z", over=BOTH)
    yield Case("E25-md5", Setup(prepare=lambda stage: _by_command(stage, "md5")), "Z", over="ver13")

    def rsa_leaf(bits):
        def make(certs):
            key = rsa.generate_private_key(65537, bits)
            return Plain(signed("leaf", key.public_key(), "Test Root", certs.root.key, ca=False,
                                names=["m1.example"]), key)
        return make

    yield e("E26-rsa-1024", rsa_leaf(1024), letters="Z", over=BOTH,
            says="keys below 2048 bits of RSA are refused: OpenSSL's level 2")
    yield e("E26-rsa-2048", rsa_leaf(2048), over=BOTH)

    def huge(certs):
        """An issuer whose modulus nobody has the factors of; the signature below it is made up."""
        number = rsa.RSAPublicNumbers(65537, int.from_bytes(b"\xc1" + b"\x5b" * 2046 + b"\x01", "big"))
        issuer = rsa.generate_private_key(65537, 2048)
        middle = Plain(signed("Huge", number.public_key(), "Test Root", certs.root.key), issuer)
        key = ec.generate_private_key(ec.SECP256R1())
        return Plain(signed("leaf", key.public_key(), "Huge", issuer, ca=False, names=["m1.example"]), key, (middle,))

    yield e("E26-rsa-16k-issuer", huge, letters="Z", within=4)
    yield Case("E26-rsa-512", Setup(prepare=lambda stage: _by_command(stage, "rsa512")), "Z", over="ver13")
    yield Case("E27-explicit-curve", Setup(prepare=lambda stage: _by_command(stage, "explicit")), "Z", over=BOTH)


def _by_command(stage, kind):
    """What the Python library will not make the command does."""
    folder = f"{stage.certs.folder}/{kind}"
    os.makedirs(folder, exist_ok=True)

    def run(*words):
        subprocess.run(["openssl", *words], check=True, cwd=folder, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    with open(f"{folder}/root.pem", "wb") as f:
        f.write(stage.certs.root.pem)
    with open(f"{folder}/root.key", "wb") as f:
        f.write(stage.certs.root.key_pem)
    with open(f"{folder}/ca.ext", "w", encoding="ascii") as f:
        f.write("basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,digitalSignature\nsubjectKeyIdentifier=hash\n")
    with open(f"{folder}/leaf.ext", "w", encoding="ascii") as f:
        f.write("basicConstraints=CA:FALSE\nsubjectAltName=DNS:m1.example\n")
    weak = [f"-{kind}"] if kind in ("md5", "sha1") else ["-sha256"]
    if kind == "explicit":
        run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-param_enc", "explicit", "-out", "middle.key")
    elif kind == "rsa512":
        run("genrsa", "-out", "middle.key", "512")
    else:
        run("genrsa", "-out", "middle.key", "2048")
    run("req", "-new", "-key", "middle.key", "-subj", "/CN=Weak", "-out", "middle.csr",
        *(["-sha1"] if kind == "rsa512" else []))
    run("x509", "-req", "-in", "middle.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-extfile",
        "ca.ext", "-days", "9",
        "-out", "middle.pem", "-sha256")
    run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "leaf.key")
    run("req", "-new", "-key", "leaf.key", "-subj", "/CN=leaf", "-out", "leaf.csr")
    run("x509", "-req", "-in", "leaf.csr", "-CA", "middle.pem", "-CAkey", "middle.key", "-CAcreateserial", "-extfile",
        "leaf.ext", "-days", "9",
        "-out", "leaf.pem", *(["-sha1"] if kind == "rsa512" else weak))
    with open(f"{folder}/all.pem", "wb") as out:
        for name in ("leaf.key", "leaf.pem", "middle.pem"):
            with open(f"{folder}/{name}", "rb") as f:
                out.write(f.read())
    show(stage, f"{folder}/all.pem")


def odd_cases():
    # GeneralName forms, by hand: tag, length, contents.
    def tlv(tag, *contents):
        data = b"".join(contents)
        size = bytes([len(data)]) if len(data) < 128 else b"\x82" + len(data).to_bytes(2, "big")
        return bytes([tag]) + size + data

    dns = tlv(0x82, b"m1.example")
    oid = tlv(0x06, b"\x2b\x06\x01\x05\x05\x07\x08\x09")
    smtp_utf8 = tlv(0xA0, oid, tlv(0xA0, tlv(0x0C, "b\u00fccher@b\u00fccher.example".encode())))
    punycode = "a@xn--" + "a" * 500 + "-" + "9" * 60 + ".example"
    cases = {
        "E28-smtp-utf8": tlv(0x30, dns, smtp_utf8),
        "E28-smtp-utf8-broken": tlv(0x30, dns, tlv(0xA0, oid, tlv(0xA0, tlv(0x0C, b"\xff\xfe@\xff")))),
        "E28-other-type": tlv(0x30, tlv(0xA0, oid, tlv(0xA0, tlv(0x05))), dns),
        "E28-mail-punycode": tlv(0x30, dns, tlv(0x81, punycode.encode())),
        "E29-x400": tlv(0x30, dns, tlv(0xA3, tlv(0x30))),
        "E29-x400-odd": tlv(0x30, tlv(0xA3, tlv(0x02, b"\x7f\xff\xff\xff")), dns),
        "E29-edi": tlv(0x30, dns, tlv(0xA5, tlv(0xA1, tlv(0x0C, b"x")))),
        "E29-empty": tlv(0x30),
    }
    garbage = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x84\xff\xff\xff\xff")
    yield e("E29-garbage", _under(extensions=[(garbage, False)]), letters="KZ")
    for name, der in cases.items():
        yield e(name, lambda certs, der=der: _raw_san(certs, der), letters="KZ",
                says="no crash, whatever the verdict")

    def punycode_constraint(certs):
        limit = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"), tlv(0x30, tlv(0xA0, tlv(0x30, tlv(0x81, (
            "xn--" + "a" * 600).encode())))))
        middle = pki.make("Limited", certs.root, ca=True, extensions=[(limit, True)])
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), tlv(0x30, dns, smtp_utf8))
        return pki.make("leaf", middle, chain=[middle], extensions=[(odd, False)])

    yield e("E28-punycode-constraint", punycode_constraint, letters="KZ")

    def x400_constraint(certs):
        limit = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"),
                                           tlv(0x30, tlv(0xA0, tlv(0x30, tlv(0xA3, tlv(0x30))))))
        middle = pki.make("Limited", certs.root, ca=True, extensions=[(limit, True)])
        return pki.make("leaf", middle, chain=[middle], **GOOD)

    yield e("E29-x400-constraint", x400_constraint, letters="KZ")
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    yield e("E30-critical", named("m1.example", extensions=[(unknown, True)]), "critical")
    yield e("E30-critical-intermediate", _under(extensions=[(unknown, True)]), "critical")
    yield e("E30-not-critical", named("m1.example", extensions=[(unknown, False)]))

    def must_staple(certs):
        return named("m1.example", extensions=[(x509.TLSFeature([x509.TLSFeatureType.status_request]), False)])(certs)

    note = "revocation is not looked at: neither CRLs nor OCSP, and must-staple asks for nothing"
    yield e("E32-must-staple", must_staple, says=note)
    where = x509.UniformResourceIdentifier("http://192.0.2.66/x.crl")
    points = x509.CRLDistributionPoints([x509.DistributionPoint([where], None, None, None)])
    yield e("E32-crl-point", named("m1.example", extensions=[(points, False)]), says=note)
    clock = "certificates that are valid at another time only: what a wrong clock makes of good ones"
    yield e("E33-ten-years-ahead", named("m1.example", start=3650, end=3700), "not yet valid", says=clock)
    yield e("E33-ten-years-behind", named("m1.example", start=-3700, end=-3650), "expired")
    yield e("E33-all-expired", lambda certs: pki.make("leaf", _OLD, names=["m1.example"], start=-3650, end=-3600),
            "expired", over=BOTH, anchors=lambda certs: certs.write("old-root.pem", _OLD.pem))


_OLD = pki.make("Old Root", ca=True, start=-4000, end=-3500)


def empty_directory(stage):
    path = f"{stage.certs.folder}/no-anchors/"
    os.makedirs(path, exist_ok=True)
    return path


def anchor_cases():
    def root(stage, _):
        return stage.certs.root.pem

    # What is in the file, or what makes something else of it.
    kinds = {
        "missing": lambda stage, path: None,
        "empty": lambda stage, path: b"",
        "garbage": lambda stage, path: b"x" * 3000,
        "nul": lambda stage, path: b"\0" * 5000,
        "broken": lambda stage, path: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "cut": lambda stage, path: root(stage, path)[:-60],
        "half": lambda stage, path: root(stage, path)[:400],
        "key": lambda stage, path: stage.certs.root.key_pem,
        "directory": lambda stage, path: os.mkdir(path),
        "fifo": lambda stage, path: os.mkfifo(path),
        "loop": lambda stage, path: os.symlink(path, path),
        "device": lambda stage, path: os.symlink("/dev/null", path),
    }

    def set_up(make, mode=0o644):
        def prepare(stage):
            path = f"{stage.certs.folder}/odd"
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.unlink(path)
            data = make(stage, path)
            if data is not None:
                with open(path, "wb") as f:
                    f.write(data)
                os.chmod(path, mode)
            stage.demand(2, path)
        return prepare

    def named_so(stage):
        assert tls_line(stage.run).startswith("cannot read trust anchors in "), stage.run
        assert not stage.sessions[0].secret and len(stage.sessions) == 1

    trouble = Want([("Z", f"Connected to {ONE} but TLS is not set up. (#4.3.5)")], check=named_so, within=4)
    for kind, make in kinds.items():
        yield Case(f"E31-{kind}", Setup(prepare=set_up(make)), trouble, over="ver13")
    for name, path in (("parent-missing", "/srv/none/none.pem"), ("directory-missing", "/srv/none/"),
                       ("file-with-slash", "/srv/pki/anchors.pem/"), ("control-bytes", "\x01\x02")):
        yield Case(f"E31-{name}", Setup(control=dict(trustanchors=f"{path}\n")), trouble, over="ver13")
    yield Case("E31-unreadable", Setup(prepare=set_up(root, 0)), trouble, Start(uid=4711, gid=4711), over="ver13",
               marks=[one_user])
    empty = Setup(prepare=lambda stage: stage.demand(2, empty_directory(stage)))
    yield Case("E31-empty-directory", empty, UNVERIFIED, over=BOTH)

    def crowded(stage):
        path = f"{stage.certs.folder}/crowd"
        if not os.path.isdir(path):
            shutil.copytree(stage.certs.directory, path)
            for number in range(100000):
                os.close(os.open(f"{path}/{number:08x}.0", os.O_CREAT | os.O_WRONLY, 0o644))
        stage.demand(2, path + "/")

    yield Case("E31-hundred-thousand-files", Setup(prepare=crowded), Want("K", within=4), over="ver13",
               says="a directory is looked into by hash, not read")


CASES = [*name_cases(), *chain_cases(), *weak_cases(), *odd_cases(), *anchor_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
