"""What qmail-remote-tls says of a certificate and TLSA records, and what "openssl s_client" says of the same.

The two use the same library, but ours decides which records are usable, sets names, level, flags and the callbacks of the
verification, and reads the result: each of that can turn DANE off or into something else without an error.
"""

import datetime
import functools
import hashlib
import itertools
import random
import re
import socket
import ssl
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from conftest import PROGRAMS

NAME = "mx.example"
DAY = datetime.timedelta(days=1)
NO_MATCH = "certificate matches no TLSA record"

# Certificates.

IDS = {
    "both": (True, "right"),
    "none": (False, None),
    "skid": (True, None),
    "akid": (False, "right"),
    # Of the issuer's name and serial number too, and of another key.
    "akid-full": (True, "full"),
    "akid-wrong": (True, "wrong"),
}


@functools.lru_cache(maxsize=None)
def key_of(name, bits=0):
    return rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())


def authority(issuer, how):
    """The authority key identifier."""
    if how == "full":
        return x509.AuthorityKeyIdentifier(
            x509.SubjectKeyIdentifier.from_public_key(issuer.key.public_key()).digest,
            [x509.DirectoryName(issuer.cert.issuer)], issuer.cert.serial_number)
    key = issuer.key if how == "right" else key_of("nobody")
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


class Made:
    """A certificate and its key. Without an issuer it signs itself."""

    def __init__(self, name, issuer=None, *, ids="both", ca=False, dns=None, start=-1, end=30, bits=0, usage=None,
                 digest=None):
        self.key = key_of(name, bits)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.utcnow()
        skid, akid = IDS[ids]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.cert.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + start * DAY)
            .not_valid_after(now + end * DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
        if skid:
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
        if akid and issuer:
            builder = builder.add_extension(authority(issuer, akid), False)
        if dns:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), False)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
        self.cert = builder.sign((issuer or self).key, digest or hashes.SHA256())

    def bytes(self, selector):
        if selector == 0:
            return self.cert.public_bytes(serialization.Encoding.DER)
        return self.key.public_key().public_bytes(serialization.Encoding.DER,
                                                  serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def pem(self):
        return self.cert.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self):
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption())


LEAVES = {
    "good": {"dns": NAME},
    "expired": {"dns": NAME, "start": -30, "end": -1},
    "early": {"dns": NAME, "start": 2, "end": 30},
    "wrong-name": {"dns": "elsewhere.example"},
    "client-only": {"dns": NAME, "usage": ExtendedKeyUsageOID.CLIENT_AUTH},
    "sha1": {"dns": NAME, "digest": hashes.SHA1()},
    "rsa1024": {"dns": NAME, "bits": 1024},
}

# How many certificate authorities there are above the leaf, and which of them are sent, counted from the root.
CHAINS = {
    "self-signed": (0, ()),
    "root-not-sent": (1, ()),
    "root-sent": (1, (0,)),
    "middle-not-sent": (2, ()),
    "middle-sent": (2, (1,)),
    "middle-and-root-sent": (2, (1, 0)),
    "only-root-sent": (2, (0,)),
    "two-middles-sent": (3, (2, 1)),
    "two-middles-sent-in-disorder": (3, (1, 2)),
    "all-three-sent": (3, (2, 1, 0)),
    "lower-middle-not-sent": (3, (1, 0)),
    "an-expired-middle-sent": (2, (1,)),
}


class Scene:
    """A leaf, its authorities, and a server that sends some of them."""

    def __init__(self, chain, ids, leaf):
        count, sent = CHAINS[chain]
        expired = {"start": -30, "end": -1} if chain.startswith("an-expired") else {}
        self.authorities = []
        for n in range(count):
            self.authorities.append(Made(f"authority {n}", self.authorities[-1] if n else None, ids=ids, ca=True,
                                         **(expired if n else {})))
        self.leaf = Made("leaf", self.authorities[-1] if count else None, ids=ids, **LEAVES[leaf])
        self.sent = [self.authorities[n] for n in sent]
        self.targets = {"leaf": self.leaf, **{f"authority {n}": a for n, a in enumerate(self.authorities)},
                        "stranger": Made("stranger", ca=True)}

    def record(self, usage, selector, matching, target):
        data = self.targets[target].bytes(selector)
        return usage, selector, matching, (data, hashlib.sha256(data).digest(), hashlib.sha512(data).digest())[matching]

    def records(self):
        for target, usage, selector, matching in itertools.product(self.targets, (2, 3), (0, 1), (0, 1, 2)):
            yield (self.record(usage, selector, matching, target),)


class Server:
    """Does handshakes, one after the other, and ends each session."""

    def __init__(self, scene, folder, version):
        path = folder / "server.pem"
        path.write_bytes(scene.leaf.key_pem + scene.leaf.pem + b"".join(c.pem for c in scene.sent))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_ciphers("ALL:@SECLEVEL=0")
        self.context.maximum_version = version
        self.context.load_cert_chain(path)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=8)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            connection = self.listener.accept()[0]
            first = connection.recv(1, socket.MSG_PEEK)
            if first == b"!":
                connection.close()
                return
            connection.settimeout(10)
            try:
                with self.context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(1)
            except OSError:
                connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.send(b"!")
            self.thread.join()
        self.listener.close()


# Verdicts: "dane-U-S-M", "dane-unusable", or why the certificate was refused.

def ours(port, records, security=1, **more):
    """What qmail-remote-tls says."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setblocking(False)
    pairs = [socket.socketpair() for _ in range(2)]
    fds = [connection.fileno(), pairs[0][1].fileno(), pairs[1][1].fileno()]
    words = {"socket": fds[0], "clear": fds[1], "status": fds[2], "seconds": 10, "security": security, "name": NAME,
             "tlsa": ",".join(f"{u}-{s}-{m}-{data.hex()}" for u, s, m, data in records), **more}
    arguments = [f"{key}={value}" for key, value in words.items()]
    with subprocess.Popen([f"{PROGRAMS}/qmail-remote-tls", *arguments], pass_fds=fds, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for s in (connection, pairs[0][1], pairs[1][1]):
            s.close()
        status = b""
        while not status.endswith(b"\n"):
            piece = pairs[1][0].recv(1000)
            assert piece, (process.wait(), status)
            status += piece
        pairs[0][0].close()
        assert process.wait(20) == 0
        pairs[1][0].close()
    letter, _, rest = status.decode().rstrip("\n").partition(" ")
    if letter == "R":
        how, name = rest.split()[3:]
        assert name == (NAME if how.startswith("dane-2") or more.get("anchors") else "-"), status
        return how
    assert letter == "F", status
    code, _, text = rest.partition(" ")
    assert (code == "validation-failure") == (text == NO_MATCH), status
    return text.replace("certificate verify failed: ", "")


# Where we have words of our own.
WORDS = {65: NO_MATCH, 62: "name mismatch"}


def theirs(port, records):
    """What "openssl s_client" says."""
    data = []
    for usage, selector, matching, value in records:
        data += ["-dane_tlsa_rrdata", f"{usage} {selector} {matching} {value.hex()}"]
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-brief", "-verify_return_error", "-servername", NAME,
         "-no-CAfile", "-no-CApath", "-no-CAstore", "-cipher", "DEFAULT@SECLEVEL=1",
         "-dane_tlsa_domain", NAME, "-dane_ee_no_namechecks", *data],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False)
    said = done.stdout.decode()
    if "Failed to import any TLSA records" in said:
        return "dane-unusable"
    error = re.search(r"^verify error:num=(\d+):(.*)$", said, re.MULTILINE)
    if error:
        return WORDS.get(int(error[1]), error[2])
    match = re.search(r"^DANE TLSA (\d) (\d) (\d) ", said, re.MULTILINE)
    assert match and "\nVerification: OK\n" in said, said
    return f"dane-{match[1]}-{match[2]}-{match[3]}"


def compare(scene, sets, folder, version):
    """The verdicts, and the differences."""
    verdicts, differences = [], []
    with Server(scene, folder, version) as server:
        for records in sets:
            pair = ours(server.port, records), theirs(server.port, records)
            verdicts.append(pair[0])
            if pair[0] != pair[1]:
                differences.append((*pair, [(u, s, m, data.hex()[:16]) for u, s, m, data in records]))
    return verdicts, differences


# Every chain with every kind of identifiers; every leaf with some chains.
SCENES = [
    *((chain, ids, "good") for chain in CHAINS for ids in IDS if chain != "self-signed" or IDS[ids][1] is None),
    *((chain, "both", leaf) for chain in ("self-signed", "root-sent", "middle-sent", "middle-not-sent")
      for leaf in LEAVES if leaf != "good"),
]
VERSIONS = [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2]
every_scene = pytest.mark.parametrize("scene", list(enumerate(SCENES)), ids=["-".join(s) for s in SCENES])


def sets_of(scene, chance):
    """Each record alone; then some together, of which some are not usable."""
    alone = list(scene.records())
    some = [tuple(record for (record,) in chance.sample(alone, chance.choice((2, 2, 3, 5)))) for _ in range(12)]
    short = [tuple((u, s, m, data[:-1]) if chance.random() < 0.4 else (u, s, m, data) for u, s, m, data in records)
             for records in chance.sample(some, 4)]
    return alone + some + short


@pytest.mark.long
@every_scene
def test_every_verdict_is_that_of_openssl(scene, tmp_path):
    number, how = scene
    scene = Scene(*how)
    verdicts, differences = compare(scene, sets_of(scene, random.Random(number)), tmp_path, VERSIONS[number % 2])
    assert not differences
    assert any(v.startswith("dane-3") for v in verdicts) and NO_MATCH in verdicts


@every_scene
def test_some_verdicts_are_those_of_openssl(scene, tmp_path):
    number, how = scene
    scene = Scene(*how)
    sets = random.Random(number).sample(sets_of(scene, random.Random(number)), 3)
    assert not compare(scene, sets, tmp_path, VERSIONS[number % 2])[1]


def test_there_are_enough_verdicts():
    """In the long set."""
    assert sum(12 * (CHAINS[chain][0] + 2) + 16 for chain, _, _ in SCENES) >= 5000


# Where ours decides otherwise, on purpose.

@pytest.mark.parametrize("usage", [0, 1])
def test_usages_of_pkix_are_not_usable(usage, tmp_path):
    """RFC 7672 section 3.1.3; openssl would verify with the anchors, too."""
    scene = Scene("middle-and-root-sent", "both", "good")
    record = scene.record(usage, 0, 1, "leaf" if usage else "authority 0")
    with Server(scene, tmp_path, VERSIONS[0]) as server:
        assert ours(server.port, (record,)) == "dane-unusable"
        assert theirs(server.port, (record,)) not in ("dane-unusable", f"dane-{usage}-0-1")
        # Beside one that is usable it does not count.
        assert ours(server.port, (record, scene.record(3, 1, 1, "stranger"))) == NO_MATCH


def test_anchors_count_only_if_no_record_is_usable(tmp_path, certs):
    scene = Scene("middle-and-root-sent", "both", "good")
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(scene.authorities[0].pem)
    with Server(scene, tmp_path, VERSIONS[0]) as server:
        unusable, stranger = scene.record(1, 1, 1, "leaf"), scene.record(2, 0, 0, "stranger")
        assert ours(server.port, (unusable,), security=2, anchors=anchors) == "dane-unusable"
        assert ours(server.port, (unusable, stranger), security=2, anchors=anchors) == NO_MATCH
        assert ours(server.port, (unusable,), security=2, anchors=certs.other_bundle) \
            == "self-signed certificate in certificate chain"


# Bytes of strangers: the records are parsed in the sandbox, and none of them ends the program.

def test_damaged_certificates_in_records_are_not_usable(tmp_path):
    scene = Scene("middle-sent", "both", "good")
    chance = random.Random(7)
    with Server(scene, tmp_path, VERSIONS[0]) as server:
        for n in range(60):
            usage, selector = 2 + n % 2, n // 2 % 2
            data = bytearray(scene.record(usage, selector, 0, "leaf")[3])
            for _ in range(chance.choice((1, 1, 4, 40))):
                data[chance.randrange(len(data))] = chance.randrange(256)
            if n % 5 == 0:
                del data[chance.randrange(len(data)):]
            records = ((usage, selector, 0, bytes(data)),)
            assert ours(server.port, records) == theirs(server.port, records)
