"""Throw-away certificates, made once for each test process that asks for them."""

import datetime
import functools
import ipaddress
import os
import ssl
import subprocess
import warnings

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)


class Certificate:
    def __init__(self, cert, key, chain=()):
        self.cert, self.key, self.chain = cert, key, tuple(chain)

    @property
    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self):
        return self.cert.public_bytes(serialization.Encoding.DER)

    @property
    def chain_pem(self):
        return self.pem + b"".join(c.pem for c in self.chain)

    @property
    def key_pem(self):
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


_BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def make(cn, issuer=None, *, ca=False, names=(), addresses=(), start=-1, end=30, chain=(), san=True,
         usages=_BOTH, path_length=None, extensions=(), key=None):
    """A certificate; times in days from now. Without an issuer it signs itself, without a key it gets a new one.

    `extensions` are pairs: one more extension, and whether it is critical.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
    now = datetime.datetime.utcnow()
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.cert.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start * _DAY)
        .not_valid_after(now + end * _DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.KeyUsage(
            digital_signature=True, key_cert_sign=ca, crl_sign=ca, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False), critical=True)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    alternatives = [x509.DNSName(n) for n in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
    if san and alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return Certificate(builder.sign(signer, hashes.SHA256()), key, chain)


class Pki:
    """Roots, an intermediate, and a leaf for each way in which a server can be right or wrong."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        self.root = make("Test Root", ca=True, start=-100, end=3000)
        self.other_root = make("Other Root", ca=True, start=-100, end=3000)
        self.intermediate = make("Test Intermediate", self.root, ca=True, start=-90, end=2000)
        self.bundle = self.write("anchors.pem", self.root.pem)
        self.other_bundle = self.write("other.pem", self.other_root.pem)
        self.directory = self._hashed("anchors", self.root)
        self.other_directory = self._hashed("others", self.other_root)
        self.client = make("client.example", self.intermediate, names=["client.example"],
                           chain=[self.intermediate])
        self.client_cert = self.write("client.pem", self.client.chain_pem)
        self.client_key = self.write("client.key", self.client.key_pem)

    def write(self, name, data, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        os.chmod(path, mode)
        return path

    def _hashed(self, name, *roots):
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o755)
        for n, root in enumerate(roots):
            self.write(f"{name}/root{n}.pem", root.pem)
        subprocess.run(["openssl", "rehash", path], check=True)
        return path + "/"

    def big_bundle(self, count=150):
        """A bundle like a system's: many roots, ours among them."""
        others = b"".join(make(f"Root {n}", ca=True, end=1000).pem for n in range(count - 1))
        return self.write(f"anchors{count}.pem", others + self.root.pem)

    @functools.lru_cache(maxsize=None)
    def leaf(self, variant, host="m1.example", addresses=()):
        """good, expired, early, wrong-name, wildcard, address, cn-only, no-intermediate, untrusted, self-signed"""
        inter, chain = self.intermediate, [self.intermediate]
        if variant == "good":
            return make(host, inter, names=[host], chain=chain)
        if variant == "expired":
            return make(host, inter, names=[host], chain=chain, start=-30, end=-1)
        if variant == "early":
            return make(host, inter, names=[host], chain=chain, start=2, end=30)
        if variant == "wrong-name":
            return make("elsewhere.example", inter, names=["elsewhere.example"], chain=chain)
        if variant == "wildcard":
            return make("wild", inter, names=["*." + host.partition(".")[2]], chain=chain)
        if variant == "address":
            return make("address", inter, addresses=addresses, chain=chain)
        if variant == "cn-only":
            return make(host, inter, chain=chain)
        if variant == "no-intermediate":
            return make(host, inter, names=[host])
        if variant == "untrusted":
            return make(host, self.other_root, names=[host])
        if variant == "self-signed":
            return make(host, names=[host])
        raise ValueError(variant)

    def context(self, leaf, *, minimum=ssl.TLSVersion.TLSv1_2, maximum=ssl.TLSVersion.TLSv1_3,
                want_client=False):
        """A server's TLS context that shows this leaf."""
        if isinstance(leaf, str):
            leaf = self.leaf(leaf)
        name = f"server-{leaf.cert.serial_number:x}.pem"
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            self.write(name, leaf.key_pem + leaf.chain_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version, context.maximum_version = minimum, maximum
        if minimum < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(path)
        if want_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.bundle)
        return context
