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


def e(name, letters, make, *, over="ver13", host="m1.example", anchors=None, control=(), within=None, **how):
    """A case whose server shows what make(pki) returns."""
    def prepare(stage):
        leaf = make(stage.certs)
        show(stage, stage.certs.write("shown.pem", leaf.key_pem + leaf.chain_pem))
        if anchors:
            stage.demand(2, anchors(stage.certs))

    return Case(name, Setup(host=host, prepare=prepare, control=control), Want(letters, within=within, check=not_a_byte),
                over=over, **how)


def named(*names, **how):
    return lambda certs: pki.make("leaf", certs.intermediate, names=list(names), chain=[certs.intermediate], **how)


GOOD = dict(names=["m1.example"])


def name_cases():
    for number, variant in enumerate(("self-signed", "untrusted", "expired", "early", "wrong-name", "cn-only"), 1):
        yield e(f"E{number}-{variant}", "Z", lambda certs, v=variant: certs.leaf(v), over=BOTH)
    yield e("E7-wildcard", "K", named("*.mail.example"), host=MX, over=BOTH)
    yield e("E8-deeper", "Z", named("*.mail.example"), host="a.mx.mail.example")
    yield e("E9-apex", "Z", named("*.mail.example"), host="mail.example")
    yield e("E10-part", "Z", named("m*.mail.example"), host=MX)
    yield e("E10-part-behind", "Z", named("*x.mail.example"), host=MX)
    yield e("E10-inside", "Z", named("mx.*.example"), host=MX)
    yield e("E11-top", "Z", named("*.example"))
    yield e("E11-star", "Z", named("*"))
    yield e("E11-stars", "Z", named("*.*"))
    yield e("E12-nul", "Z", named("m1.example\0.evil.example"))
    yield e("E12-nul-before", "Z", named("evil\0m1.example"))
    yield e("E12-nul-at-end", "Z", named("m1.example\0"))
    yield e("E13-upper", "K", named("M1.EXAMPLE"), over=BOTH)
    yield e("E13-upper-host", "K", named("m1.example"), host="M1.Example")
    yield e("E13-dot-in-name", "K", named("m1.example"), control=dict(smtproutes=":m1.example.\n"))
    yield e("E13-dot-in-certificate", "Z", named("m1.example."),
            says="a trailing dot of the name that is looked for is cut; one in the certificate is no form of a DNS name, "
                "and does not match")
    yield e("E14-a-label", "K", named("xn--bcher-kva.example"), host="xn--bcher-kva.example")
    yield e("E14-u-label", "Z", _with_u_label, host="xn--bcher-kva.example", says="A-labels only")
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
    yield e("E16-no-intermediate", "Z", lambda certs: certs.leaf("no-intermediate"), over=BOTH)

    def wrong_order(certs):
        chain = [certs.other_root, certs.root, certs.client, certs.intermediate]
        return pki.make("leaf", certs.intermediate, chain=chain, **GOOD)

    yield e("E17-wrong-order", "K", wrong_order, over=BOTH)

    def twins(certs):
        old = pki.make("Twin", certs.root, ca=True, start=-30, end=-1)
        new = pki.make("Twin", certs.root, ca=True)
        return pki.make("leaf", new, chain=[old, new], **GOOD)

    yield e("E18-expired-twin", "K", twins)

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

    yield e("E18-cross-signed", "K", crossed, over=BOTH)
    yield e("E18-dead-end-first", "ZK", dead_end,
            says="of two valid issuers of one name OpenSSL follows the first sent; if it leads nowhere that is Z")
    yield e("E19-cycle", "Z", _cycle, within=3, over=BOTH)
    yield e("E20-hundred", "Z", _long(100), within=4, over=BOTH)
    yield e("E20-nine", "K", _long(9), says="up to ten intermediates")

    def no_ca(certs):
        middle = pki.make("middle.example", certs.intermediate, names=["middle.example"])
        return pki.make("leaf", middle, chain=[middle, certs.intermediate], **GOOD)

    yield e("E21-no-ca", "Z", no_ca)

    def too_deep(certs):
        first = pki.make("First", certs.root, ca=True, path_length=0)
        second = pki.make("Second", first, ca=True)
        return pki.make("leaf", second, chain=[second, first], **GOOD)

    yield e("E22-path-length", "Z", too_deep)
    dns, ip, mail = x509.DNSName, x509.IPAddress, x509.RFC822Name
    yield e("E23-dns-permitted", "K", _limited([dns("example")]))
    yield e("E23-dns-elsewhere", "Z", _limited([dns("elsewhere.example")]))
    yield e("E23-dns-excluded", "Z", _limited(None, [dns("m1.example")]))
    yield e("E23-ip", "Z", _limited([ip(ipaddress.ip_network("198.51.100.0/24"))], addresses=[ONE]))
    both = x509.SubjectAlternativeName([dns("m1.example"), mail("a@evil.example")])
    yield e("E23-mail", "Z", _limited(None, [mail("evil.example")], extensions=[(both, False)], san=False))
    for name, usage in (("clients", ExtendedKeyUsageOID.CLIENT_AUTH), ("code", ExtendedKeyUsageOID.CODE_SIGNING)):
        yield e(f"E24-for-{name}", "Z", named("m1.example", usages=[usage]))


def weak_cases():
    yield Case("E25-sha1", Setup(prepare=lambda stage: _by_command(stage, "sha1")), "Z", over=BOTH)
    yield Case("E25-md5", Setup(prepare=lambda stage: _by_command(stage, "md5")), "Z", over="ver13")

    def rsa_leaf(bits):
        def make(certs):
            key = rsa.generate_private_key(65537, bits)
            return Plain(signed("leaf", key.public_key(), "Test Root", certs.root.key, ca=False,
                                names=["m1.example"]), key)
        return make

    yield e("E26-rsa-1024", "Z", rsa_leaf(1024), over=BOTH,
            says="keys below 2048 bits of RSA are refused: OpenSSL's level 2")
    yield e("E26-rsa-2048", "K", rsa_leaf(2048), over=BOTH)

    def huge(certs):
        """An issuer whose modulus nobody has the factors of; the signature below it is made up."""
        number = rsa.RSAPublicNumbers(65537, int.from_bytes(b"\xc1" + b"\x5b" * 2046 + b"\x01", "big"))
        issuer = rsa.generate_private_key(65537, 2048)
        middle = Plain(signed("Huge", number.public_key(), "Test Root", certs.root.key), issuer)
        key = ec.generate_private_key(ec.SECP256R1())
        return Plain(signed("leaf", key.public_key(), "Huge", issuer, ca=False, names=["m1.example"]), key, (middle,))

    yield e("E26-rsa-16k-issuer", "Z", huge, within=4)
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
    yield e("E29-garbage", "KZ", _under(extensions=[(garbage, False)]), over=BOTH)
    for name, der in cases.items():
        yield e(name, "KZ", lambda certs, der=der: _raw_san(certs, der), over=BOTH,
                says="no crash, whatever the verdict")

    def punycode_constraint(certs):
        limit = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"), tlv(0x30, tlv(0xA0, tlv(0x30, tlv(0x81, (
            "xn--" + "a" * 600).encode())))))
        middle = pki.make("Limited", certs.root, ca=True, extensions=[(limit, True)])
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), tlv(0x30, dns, smtp_utf8))
        return pki.make("leaf", middle, chain=[middle], extensions=[(odd, False)])

    yield e("E28-punycode-constraint", "KZ", punycode_constraint, over=BOTH)

    def x400_constraint(certs):
        limit = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"),
                                           tlv(0x30, tlv(0xA0, tlv(0x30, tlv(0xA3, tlv(0x30))))))
        middle = pki.make("Limited", certs.root, ca=True, extensions=[(limit, True)])
        return pki.make("leaf", middle, chain=[middle], **GOOD)

    yield e("E29-x400-constraint", "KZ", x400_constraint)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    yield e("E30-critical", "Z", named("m1.example", extensions=[(unknown, True)]), over=BOTH)
    yield e("E30-critical-intermediate", "Z", _under(extensions=[(unknown, True)]))
    yield e("E30-not-critical", "K", named("m1.example", extensions=[(unknown, False)]))

    def must_staple(certs):
        return named("m1.example", extensions=[(x509.TLSFeature([x509.TLSFeatureType.status_request]), False)])(certs)

    note = "revocation is not looked at: neither CRLs nor OCSP, and must-staple asks for nothing"
    yield e("E32-must-staple", "K", must_staple, says=note)
    where = x509.UniformResourceIdentifier("http://192.0.2.66/x.crl")
    points = x509.CRLDistributionPoints([x509.DistributionPoint([where], None, None, None)])
    yield e("E32-crl-point", "K", named("m1.example", extensions=[(points, False)]), says=note)
    clock = "certificates that are valid at another time only: what a wrong clock makes of good ones"
    yield e("E33-ten-years-ahead", "Z", named("m1.example", start=3650, end=3700), over=BOTH, says=clock)
    yield e("E33-ten-years-behind", "Z", named("m1.example", start=-3700, end=-3650), over=BOTH)
    yield e("E33-all-expired", "Z", lambda certs: pki.make("leaf", _OLD, names=["m1.example"], start=-3650, end=-3600),
            over=BOTH, anchors=lambda certs: certs.write("old-root.pem", _OLD.pem))


_OLD = pki.make("Old Root", ca=True, start=-4000, end=-3500)


def anchor_cases():
    def set_up(what):
        def prepare(stage):
            path = f"{stage.certs.folder}/odd-{what}"
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.unlink(path)
            if what in ("empty", "garbage", "cut", "key", "unreadable"):
                with open(stage.certs.bundle, "rb") as f:
                    good = f.read()
                data = {"empty": b"", "garbage": b"x" * 3000, "cut": good[:-60], "key": stage.certs.root.key_pem,
                        "unreadable": good}[what]
                with open(path, "wb") as f:
                    f.write(data)
                os.chmod(path, 0 if what == "unreadable" else 0o644)
            elif what in ("directory", "empty-directory"):
                os.mkdir(path)
            elif what == "fifo":
                os.mkfifo(path)
            elif what == "loop":
                os.symlink(path, path)
            stage.demand(2, path + ("/" if what == "empty-directory" else ""))
        return prepare

    def it_could_run(stage):
        assert not (tls_line(stage.run) or "").startswith("cannot run"), stage.run

    for what in ("missing", "empty", "garbage", "cut", "key", "directory", "empty-directory", "fifo", "loop"):
        yield Case(f"E31-{what}", Setup(prepare=set_up(what)), Want("Z", within=4, check=it_could_run), over=BOTH)
    yield Case("E31-unreadable", Setup(prepare=set_up("unreadable")), "Z", Start(uid=4711, gid=4711), over=BOTH,
               marks=[one_user])

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
