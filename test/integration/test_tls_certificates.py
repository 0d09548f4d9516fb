"""Certificates of servers, ours, and the trust anchors."""

import os
import random
import shutil
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

import forgery
import pki
from expect import accepted, check
from test_stock import one_user
from tlssite import NOT_VERIFIED, gone, tls_line, told_nothing, verified

IP, SIX = "192.0.2.1", "2001:db8::1"
FAILED = f"Connected to {IP} but TLS failed. (#4.7.5)"
NOT_SET_UP = f"Connected to {IP} but TLS is not set up. (#4.3.5)"


def trusted(site, server, name="m1.example"):
    run = site.run()
    check(run, "r", accepted(server.address))
    assert tls_line(run) == verified(name), run
    return run


def distrusted(site, server, why="certificate verify failed: "):
    """Not one byte of ours came through that session."""
    run = site.run()
    site.deferred(run, FAILED, why)
    assert not any(s.secret for s in server.sessions[-1:]), server.sessions[-1].secret
    assert b"TLS\r\n" in server.sessions[-1].clear
    return run


def not_verified(site, server):
    run = site.run()
    check(run, "r", accepted(server.address))
    assert tls_line(run) == NOT_VERIFIED, run


# Names: what the MX host is called, and what the certificate says.

MX = "mx.mail.example"
NAMES = [
    (MX, [MX], True),
    (MX, ["MX.Mail.EXAMPLE"], True),
    (MX, ["a.example", "b.example", MX], True),
    (MX, ["*.mail.example"], True),
    (MX, ["*.MAIL.example"], True),
    ("MX.Mail.Example", [MX], True),
    ("a.mx.mail.example", ["*.mail.example"], False),
    ("mail.example", ["*.mail.example"], False),
    (MX, ["*.mx.mail.example"], False),
    (MX, ["*.*.example"], False),
    (MX, ["mx.*.example"], False),
    (MX, ["mx*.mail.example"], False),
    (MX, ["m*.mail.example"], False),
    (MX, ["*x.mail.example"], False),
    (MX, ["*mx.mail.example"], False),
    (MX, ["*.example"], False),
    ("mail.example", ["*.example"], False),
    ("mail.example", ["*."], False),
    (MX, ["*"], False),
    (MX, [".mail.example"], False),
    (MX, ["mail.example"], False),
    (MX, ["dst.example"], False),
    (MX, ["x.mail.example"], False),
    (MX, ["mx.mail.example.evil.example"], False),
    (MX, ["amx.mail.example"], False),
    (MX, ["mx.mail.example\0.evil.example"], False),
    (MX, ["mx.mail.example\0"], False),
    (MX, ["evil.example\0mx.mail.example"], False),
    (MX, [" mx.mail.example"], False),
    (MX, ["mx.mail.example x"], False),
    (MX, [IP], False),
    ("xn--bcher-kva.example", ["xn--bcher-kva.example"], True),
    ("xn--bcher-kva.example", ["*.example"], False),
    ("mx_1.mail.example", ["mx_1.mail.example"], True),
]


@pytest.mark.parametrize("host, names, good", NAMES, ids=[f"{h}~{'~'.join(n)!a}" for h, n, _ in NAMES])
def test_name(site, host, names, good):
    site.dns.zone(f"dst.example MX 1 {host}.\n{host} A {IP}")
    site.want(2)
    server = site.server(cert=site.leaf(names=names))
    if good:
        run = site.run()
        check(run, "r", accepted())
        assert tls_line(run).lower() == verified(host).lower()
    else:
        distrusted(site, server, "certificate verify failed: name mismatch")


def test_names_of_all_kinds(site):
    """A hundred names, ours the last."""
    site.mx()
    site.want(2)
    trusted(site, site.server(cert=site.leaf(names=[f"n{n}.example" for n in range(100)] + ["m1.example"])))


@pytest.mark.parametrize("address", [IP, SIX])
@pytest.mark.parametrize("how", ["host", "relay"])
@pytest.mark.parametrize("names, addresses, good", [
    ([], ["own"], True),
    ([], ["198.51.100.9", "2001:db8::9", "own"], True),
    (["m1.example"], ["own"], True),
    ([], ["198.51.100.9"], False),
    ([], ["2001:db8::9"], False),
    (["own"], [], False),
    (["m1.example"], [], False),
    (["*.0.2.1"], [], False),
], ids=["own", "among-others", "with-a-name", "other-v4", "other-v6", "as-a-name", "only-a-name", "wildcard"])
def test_address(site, address, how, names, addresses, good):
    """A server that is given by its address must have that in its certificate, as an address."""
    own = {"own": address}
    leaf = site.leaf(names=[own.get(n, n) for n in names], addresses=[own.get(a, a) for a in addresses])
    site.want(2)
    host = "dst.example"
    if how == "host":
        host = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    else:
        site.home.route(f":[{address}]")
    server = site.server(address, cert=leaf)
    run = site.run(host=host)
    if good:
        check(run, "r", accepted(address))
        assert tls_line(run) == verified(address) and server.session.tls["sni"] is None
    else:
        site.deferred(run, FAILED.replace(IP, address), "certificate verify failed: name mismatch")
        assert server.session.secret == b""


def test_address_does_not_do_for_a_name(site):
    site.mx()
    site.want(2)
    distrusted(site, site.server(cert=site.leaf(addresses=[IP])), "certificate verify failed: name mismatch")


def test_other_textual_forms_of_an_address(site):
    leaf = site.leaf(addresses=[SIX])
    site.want(2)
    site.home.route(":[2001:0DB8:0:0::0001]")
    server = site.server(SIX, cert=leaf)
    trusted(site, server, SIX)


@pytest.mark.parametrize("relay, name, good", [
    ("r.example", "r.example", True), ("r.example.", "r.example", True), ("R.Example", "r.example", True),
    ("r.example", "dst.example", False),
])
def test_relay(site, relay, name, good):
    site.dns.zone(f"r.example A {IP}\ndst.example A {IP}")
    site.home.route(f"dst.example:{relay}:2525")
    site.want(2)
    server = site.server(cert=site.leaf(names=[name]), port=2525)
    if good:
        run = site.run()
        check(run, "r", accepted())
        assert tls_line(run).lower() == verified("r.example").lower()
    else:
        distrusted(site, server)


@pytest.mark.parametrize("names, good", [(["m1.example"], True), (["real.example"], False), (["dst.example"], False)])
def test_alias(site, names, good):
    """The name counts that the MX record has, not what an alias makes of it."""
    site.dns.zone(f"dst.example MX 1 m1.example.\nm1.example CNAME real.example.\nreal.example A {IP}")
    site.want(2)
    server = site.server(cert=site.leaf(names=names))
    (trusted if good else distrusted)(site, server)


def test_each_host_by_its_own_name(site):
    """A certificate of the first host does not do for the second."""
    site.mx("192.0.2.7", IP)
    site.want(2)
    server = site.server(host="m1.example")
    distrusted(site, server, "certificate verify failed: name mismatch")


# Chains.

def _chain(certs, kind):
    make, root, inter = pki.make, certs.root, certs.intermediate
    how = dict(names=["m1.example"])
    if kind in ("good", "untrusted", "self-signed", "expired", "early", "cn-only", "no-intermediate"):
        return certs.leaf(kind)
    if kind == "from-root":
        return make("x", root, **how)
    if kind == "root-sent-too":
        return make("x", inter, chain=[inter, root], **how)
    if kind == "shuffled-with-extras":
        return make("x", inter, chain=[certs.other_root, root, certs.client, inter, inter], **how)
    if kind == "other-intermediate":
        return make("x", inter, chain=[make("Test Intermediate", certs.other_root, ca=True)], **how)
    if kind == "self-signed-root-sent":
        return make("x", certs.other_root, chain=[certs.other_root], **how)
    if kind == "same-name-root":
        fake = make("Test Root", ca=True)
        return make("x", fake, chain=[fake], **how)
    if kind == "intermediate-expired":
        old = make("Old", root, ca=True, start=-30, end=-1)
        return make("x", old, chain=[old], **how)
    if kind == "one-of-two-expired":
        old = make("Twice", root, ca=True, start=-30, end=-1)
        new = make("Twice", root, ca=True)
        return make("x", new, chain=[old, new], **how)
    if kind == "intermediate-not-ca":
        middle = make("middle.example", inter, names=["middle.example"])
        return make("x", middle, chain=[middle, inter], **how)
    if kind == "path-too-long":
        first = make("First", root, ca=True, path_length=0)
        second = make("Second", first, ca=True)
        return make("x", second, chain=[second, first], **how)
    if kind == "long":
        links = [root]
        for n in range(9):
            links.insert(0, make(f"Link {n}", links[0], ca=True))
        return make("x", links[0], chain=links[:-1], **how)
    if kind == "too-long":
        links = [root]
        for n in range(30):
            links.insert(0, make(f"Link {n}", links[0], ca=True))
        return make("x", links[0], chain=links[:-1], **how)
    if kind == "for-clients":
        return make("x", inter, chain=[inter], usages=[ExtendedKeyUsageOID.CLIENT_AUTH], **how)
    if kind == "for-servers":
        return make("x", inter, chain=[inter], usages=[ExtendedKeyUsageOID.SERVER_AUTH], **how)
    if kind == "for-code":
        return make("x", inter, chain=[inter], usages=[ExtendedKeyUsageOID.CODE_SIGNING], **how)
    if kind == "critical-unknown":
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
        return make("x", inter, chain=[inter], extensions=[(odd, True)], **how)
    if kind == "uncritical-unknown":
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
        return make("x", inter, chain=[inter], extensions=[(odd, False)], **how)
    if kind in ("name-permitted", "name-excluded"):
        tree = x509.DNSName("example" if kind == "name-permitted" else "elsewhere.example")
        limit = x509.NameConstraints(permitted_subtrees=[tree], excluded_subtrees=None)
        middle = make("Limited", root, ca=True, extensions=[(limit, True)])
        return make("x", middle, chain=[middle], **how)
    raise ValueError(kind)


CHAINS = {
    "good": None, "from-root": None, "root-sent-too": None, "shuffled-with-extras": None, "for-servers": None,
    "uncritical-unknown": None, "name-permitted": None, "one-of-two-expired": None, "long": None,
    "untrusted": "issuer", "self-signed": "self", "expired": "expired", "early": "not yet valid",
    "cn-only": "name mismatch", "no-intermediate": "issuer", "other-intermediate": "",
    "self-signed-root-sent": "self", "same-name-root": "", "intermediate-expired": "expired",
    "intermediate-not-ca": "", "path-too-long": "path length", "too-long": "", "for-clients": "purpose",
    "for-code": "purpose", "critical-unknown": "critical", "name-excluded": "permitted subtree",
}


@pytest.mark.parametrize("anchors", ["bundle", "directory"])
@pytest.mark.parametrize("kind", CHAINS)
def test_chain(site, kind, anchors):
    site.mx()
    site.want(2, getattr(site.certs, anchors))
    server = site.server(cert=_chain(site.certs, kind))
    if CHAINS[kind] is None:
        trusted(site, server)
    else:
        assert CHAINS[kind] in tls_line(distrusted(site, server))


@pytest.mark.parametrize("strictness", [0, 1])
@pytest.mark.parametrize("kind", CHAINS)
def test_chain_that_nobody_looks_at(site, kind, strictness):
    not_verified(site, site.one(strictness, cert=_chain(site.certs, kind)))


@pytest.mark.parametrize("kind", ["expired", "wrong-name", "untrusted", "no-intermediate"])
def test_chain_with_tls_1_2(site, kind):
    site.mx()
    site.want(2)
    context = site.certs.context(kind, maximum=pki.ssl.TLSVersion.TLSv1_2)
    distrusted(site, site.server(context=context))


@pytest.mark.parametrize("which", ["intermediate", "leaf"])
def test_anchor_signed_by_another(site, which):
    """What is listed is trusted, whoever signed it."""
    leaf = site.leaf(names=["m1.example"])
    anchor = site.certs.intermediate if which == "intermediate" else leaf
    site.mx()
    site.want(2, site.certs.write(f"partial-{which}.pem", anchor.pem))
    trusted(site, site.server(cert=leaf))


def test_pinned_certificate(site):
    """A certificate that signed itself is its own anchor; the name counts all the same."""
    for host, good in (("m1.example", True), ("elsewhere.example", False)):
        leaf = pki.make("pinned", names=[host])
        site.want(2, site.certs.write(f"pinned-{host}.pem", leaf.pem))
        if good:
            site.mx()
        server = site.server(IP if good else "192.0.2.2", cert=leaf)
        if good:
            trusted(site, server)
        else:
            site.home.route(":m2.example")
            site.dns.zone("m2.example A 192.0.2.2")
            site.deferred(site.run(), FAILED.replace(IP, "192.0.2.2"), "certificate verify failed: name mismatch")


# Trust anchors.

def state(site, name="trustanchors.cdb"):
    return f"{site.home.run_path}/{name}"


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, 0o644)
    return path


def replace(path, data):
    write(path + ".tmp", data)
    os.rename(path + ".tmp", path)


@pytest.fixture
def anchors(site):
    """The path of a bundle of this test's own, with the root that vouches for the server."""
    return write("/srv/pki/own.pem", site.certs.root.pem)


@pytest.fixture(scope="module")
def system_bundle(certs):
    return certs.big_bundle()


@pytest.fixture
def server(site):
    site.mx()
    return site.server()


def compiled(site, path):
    """Anchors of which there is a compiled form."""
    site.want(2, path)
    trusted(site, site.servers[0])
    assert os.path.getsize(state(site)) > 2048


def test_system_bundle(site, server, system_bundle):
    site.want(2, system_bundle)
    trusted(site, server)
    compiled(site, system_bundle)
    trusted(site, server)
    with open(state(site), "rb") as f:
        assert site.certs.root.der not in f.read()
    assert sorted(os.listdir(site.home.run_path)) == ["addresses", "trustanchors.cdb", "trustanchors.lock"]


def test_bundle_is_not_parsed_each_time(site, server):
    """Where there is an index only the certificate that is needed is read: damage elsewhere goes unseen."""
    root = site.certs.root.pem
    path = write("/srv/pki/indexed.pem", root + site.certs.other_root.pem[:-30])
    site.want(2, path)
    site.deferred(site.run(), NOT_SET_UP, f"cannot read trust anchors in {path}: line 12: a block without END")
    place = forgery.place(path, root.rstrip(b"\n"))
    write(state(site), forgery.index(path, [(_subject_key(site.certs.root), *place)]))
    trusted(site, server)
    shutil.rmtree(site.home.run_path)
    site.deferred(site.run(), NOT_SET_UP, f"cannot read trust anchors in {path}: line 12: a block without END")


def test_bundle_with_other_things(site, server):
    """Comments, garbage, a key, a CRL, a block of nonsense, indentation and carriage returns around and between."""
    certs = site.certs
    nonsense = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    indented = b"\n".join(b"\t" + line for line in certs.intermediate.pem.splitlines()) + b"\n"
    text = (b"# Test Root\n===========\n\xff\xfe\0 garbage \r\n" + certs.client.key_pem + nonsense + b"\n\n"
            + b"# -----BEGIN CERTIFICATE----- comes next\n" + certs.root.pem.replace(b"\n", b" \r\n") + b"trailing\n"
            + b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
            + b"Certificate:\n    Data:\n        Version: 3\n" + indented)
    path = write("/srv/pki/mixed.pem", text)
    site.want(2, path)
    trusted(site, server)
    compiled(site, path)
    trusted(site, server)


@pytest.mark.parametrize("between", [b"", b" ", b"\xef\xbb\xbf", b"\r", b"# the next one\n"],
                         ids=["nothing", "blank", "mark", "CR", "comment"])
def test_bundle_joined_without_line_ends(site, server, between):
    """As cat makes it of files whose last lines do not end."""
    files = [site.certs.other_root.pem, site.certs.root.pem, site.certs.client.pem]
    path = write("/srv/pki/joined.pem", between.join(f.rstrip(b"\n") for f in files))
    site.want(2, path)
    trusted(site, server)
    compiled(site, path)
    trusted(site, server)


def _damaged(site, kind):
    """A bundle with both roots, the other one damaged: line and words of the report."""
    lines = site.certs.other_root.pem.splitlines(keepends=True)
    head, root = b"# one\n# two\n", site.certs.root.pem
    if kind == "no-end":
        return head + b"".join(lines[:-1]) + root, "line 3: a block without END"
    if kind == "no-end-at-the-end":
        return head + root + b"".join(lines[:-1]), f"line {3 + len(root.splitlines())}: a block without END"
    if kind == "cut-in-a-line":
        return head + b"".join(lines[:5])[:-7] + root, "line 3: a block without END"
    if kind == "no-begin":
        return head + b"".join(lines[1:]) + root, f"line {1 + len(lines)}: END without BEGIN"
    if kind == "broken":
        return head + b"".join(lines[:2]) + b"!" + b"".join(lines[2:]) + root, "line 5: broken base64"
    if kind == "a-line-cut":
        return head + b"".join(lines[:2]) + lines[2][5:] + b"".join(lines[3:]) + root, "line "
    if kind == "key-without-end":
        key = site.certs.client.key_pem.splitlines(keepends=True)
        return head + b"".join(key[:-1]) + root, "line 3: a block without END"
    raise ValueError(kind)


@pytest.mark.parametrize("strictness", [0, 1, 2])
@pytest.mark.parametrize("kind", ["no-end", "no-end-at-the-end", "cut-in-a-line", "no-begin", "broken", "a-line-cut",
                                  "key-without-end"])
def test_damaged_bundle(site, server, kind, strictness):
    """A certificate may be lost, so nothing is verified by the others: our trouble, with the line, not the server's."""
    data, words = _damaged(site, kind)
    path = write("/srv/pki/damaged.pem", data)
    site.want(strictness, path)
    for _ in range(2):
        if strictness == 2:
            site.deferred(site.run(), NOT_SET_UP, f"cannot read trust anchors in {path}: {words}")
        else:
            not_verified(site, server)
    assert not os.path.exists(state(site))


def _hashed(certs, path):
    os.makedirs(path, exist_ok=True)
    for entry in os.scandir(path):
        os.unlink(entry)
    name = next(e.name for e in os.scandir(certs.directory) if e.name.endswith(".0"))
    return f"{path}{name}"


@pytest.mark.parametrize("kind", ["no-end", "broken", "directory", "fifo"])
def test_damaged_file_in_a_directory(site, server, kind):
    """It is trouble of ours for those who need it; a server of another root is refused as ever."""
    path = "/srv/pki/damaged/"
    file = _hashed(site.certs, path)
    site.want(2, path)
    if kind == "directory":
        os.mkdir(file)
        words = f"{file}: Is a directory"
    elif kind == "fifo":
        os.mkfifo(file)
        words = f"{file}: Invalid argument"
    else:
        lines = site.certs.root.pem.splitlines(keepends=True)
        lines[2:3] = [b"!\n"] if kind == "broken" else []
        write(file, b"".join(lines[:-1] if kind == "no-end" else lines))
        words = f"{file}: line {3 if kind == 'broken' else 1}: "
    site.deferred(site.run(), NOT_SET_UP, f"cannot read trust anchors in {words}")
    if kind == "directory":
        os.rmdir(file)
    else:
        os.unlink(file)
    distrusted(site, server)
    write(file, b"# a comment\r\n" + site.certs.root.pem.replace(b"\n", b"\r\n"))
    trusted(site, server)


def test_directory_with_a_link_to_nowhere(site, server):
    """The file behind it is found all the same."""
    path = "/srv/pki/dangling/"
    file = _hashed(site.certs, path)
    site.want(2, path)
    os.symlink("nowhere", file)
    distrusted(site, server)
    write(file[:-1] + "1", site.certs.root.pem)
    trusted(site, server)


def test_directory_with_a_colon(site, server):
    path = "/srv/pki/a:b/"
    write(_hashed(site.certs, path), site.certs.root.pem)
    site.want(2, path)
    trusted(site, server)


@pytest.mark.parametrize("kind", ["TRUSTED CERTIFICATE", "X509 CERTIFICATE"])
def test_bundle_with_other_labels(site, server, kind):
    if kind.startswith("TRUSTED"):
        text = subprocess.run(["openssl", "x509", "-trustout"], input=site.certs.root.pem, check=True,
                              stdout=subprocess.PIPE).stdout
    else:
        text = site.certs.root.pem.replace(b" CERTIFICATE", f" {kind}".encode())
    assert kind.encode() in text
    site.want(2, write("/srv/pki/labels.pem", text))
    trusted(site, server)


def test_anchor_distrusted_for_servers(site, server):
    """A TRUSTED CERTIFICATE that is rejected for servers is none."""
    text = subprocess.run(["openssl", "x509", "-trustout", "-addreject", "serverAuth"], input=site.certs.root.pem,
                          check=True, stdout=subprocess.PIPE).stdout
    path = write("/srv/pki/labels.pem", text)
    site.want(2, path)
    distrusted(site, server)
    distrusted(site, server)
    distrusted(site, server)


def test_directory(site, server):
    site.want(2, site.certs.directory)
    trusted(site, server)
    site.want(2, site.certs.other_directory)
    distrusted(site, server)
    assert not os.path.exists(state(site))


def test_directory_changes(site, server):
    path = "/srv/pki/changing/"
    os.makedirs(path, exist_ok=True)
    site.want(2, path)
    distrusted(site, server)
    name = os.path.basename(next(
        e.path for e in os.scandir(site.certs.directory) if e.name.endswith(".0")))
    write(path + name, site.certs.root.pem)
    trusted(site, server)
    os.unlink(path + name)
    distrusted(site, server)


def test_relative_path(site, server):
    """Relative to the qmail home."""
    write(f"{site.home.path}/control/anchors.pem", site.certs.root.pem)
    site.want(2, "control/anchors.pem")
    trusted(site, server)


BAD_ANCHORS = {
    "missing": "/srv/pki/none.pem",
    "parent-missing": "/srv/none/none.pem",
    "directory-missing": "/srv/none/",
    "directory-without-slash": "/srv/pki",
    "file-with-slash": "/srv/pki/anchors.pem/",
    "empty-file": "/dev/null",
    "no-file": "/srv/pki/fifo",
    "no-certificate": b"no certificate here\n",
    "only-a-key": "key",
    "broken": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "cut": "cut",
    "empty": b"",
    "loop": "/srv/pki/loop",
    "nonsense": "\x01\x02",
}


@pytest.mark.parametrize("strictness", [0, 1, 2])
@pytest.mark.parametrize("case", BAD_ANCHORS)
def test_bad_anchors(site, server, case, strictness):
    """At strictness 2 they are trouble of ours; else nobody looks at them."""
    path = BAD_ANCHORS[case]
    if case == "only-a-key":
        path = site.certs.client.key_pem
    elif case == "cut":
        path = site.certs.root.pem[:-30]
    elif case == "no-file" and not os.path.exists(path):
        os.mkfifo(path)
    elif case == "loop" and not os.path.islink(path):
        os.symlink("loop", path)
    if isinstance(path, bytes):
        path = write("/srv/pki/bad.pem", path)
    site.want(strictness, path)
    if strictness == 2:
        site.deferred(site.run(), NOT_SET_UP, "cannot read trust anchors in ")
        assert server.session.verbs in (["EHLO", "STARTTLS"], ["EHLO", "STARTTLS", "QUIT"])
    else:
        not_verified(site, server)


def test_bad_anchors_stop_at_once(site):
    """What is wrong here is wrong for every host."""
    site.mx(IP, "192.0.2.2")
    site.want(2, "/srv/pki/none.pem")
    site.server()
    second = site.server("192.0.2.2", host="m2.example")
    site.deferred(site.run(), NOT_SET_UP, "cannot read trust anchors in /srv/pki/none.pem: No such file")
    assert second.connections == 0


@one_user
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_unreadable_anchors(site, server, kind):
    if kind == "file":
        path = write("/srv/pki/secret.pem", site.certs.root.pem)
        os.chmod(path, 0)
    else:
        path = "/srv/pki/secret/"
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0)
    site.want(2, path)
    site.deferred(site.run(uid=4711, gid=4711), NOT_SET_UP, f"cannot read trust anchors in {path}: Permission denied")
    site.want(0, path)
    check(site.run(uid=4711, gid=4711), "r", accepted())


def test_unreadable_control_file(site, server):
    os.mkdir(f"{site.home.path}/control/trustanchors")
    site.home.control("tlsstrictness", "2\n")
    run = site.run()
    assert run.letters == "Z" and run.message.first == b"Unable to read control files. (#4.3.0)"
    assert server.connections == 0


def _change_in_place(path, data):
    write(path, data)


def _change_with_old_times(path, data):
    """As a restore from a backup does."""
    st = os.stat(path)
    write(path, data)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def _change_to_older(path, data):
    replace(path, data)
    os.utime(path, (1, 1))


@pytest.mark.parametrize("change", [_change_in_place, replace, _change_with_old_times, _change_to_older],
                         ids=["in-place", "rename", "old-times", "older"])
def test_anchors_change(site, server, anchors, change):
    """A root that has been removed is not trusted any more at once, a new one is at once."""
    old, new = site.certs.root.pem, site.certs.other_root.pem
    change(anchors, old)
    compiled(site, anchors)
    change(anchors, new)
    distrusted(site, server)
    distrusted(site, server)
    distrusted(site, server)
    change(anchors, new + old)
    trusted(site, server)
    change(anchors, new)
    distrusted(site, server)


def test_anchors_path_changes(site, server, anchors):
    """The compiled form of one bundle is not taken for that of another."""
    compiled(site, anchors)
    site.want(2, site.certs.other_bundle)
    distrusted(site, server)
    distrusted(site, server)
    site.want(2, anchors)
    trusted(site, server)


def test_anchors_removed(site, server, anchors):
    compiled(site, anchors)
    os.unlink(anchors)
    site.deferred(site.run(), NOT_SET_UP, "cannot read trust anchors in")
    write(anchors, b"nothing\n")
    assert site.run().message.first == NOT_SET_UP.encode()


def test_both_of_the_same_name(site, server):
    """Two anchors with one subject: the one that fits is found, compiled or not."""
    twin = pki.make("Test Root", ca=True)
    for data in (twin.pem + site.certs.root.pem, site.certs.root.pem + twin.pem):
        path = write("/srv/pki/twins.pem", data)
        compiled(site, path)
        trusted(site, server)


def test_expired_anchor(site, server):
    path = write("/srv/pki/old.pem", pki.make("Old", ca=True, start=-9, end=-1).pem + site.certs.root.pem)
    compiled(site, path)
    old = pki.make("Old Root", ca=True, start=-9, end=-1)
    leaf = pki.make("x", old, names=["m1.example"])
    site.home.route(":m1.example:2525")
    second = site.server(cert=leaf, port=2525)
    site.want(2, write("/srv/pki/old.pem", old.pem))
    distrusted(site, second, "certificate verify failed: certificate has expired")


# The compiled form is a help, never a condition, and never a way around.

def test_damaged_compiled_form(site, server, system_bundle):
    compiled(site, system_bundle)
    with open(state(site), "rb") as f:
        good = f.read()
    lengths = [0, 1, 2047, 2048, 3000, len(good) // 2, len(good) - 1]
    damages = [good[:n] for n in lengths] + [b"\0" * len(good), b"\xff" * len(good), os.urandom(len(good))]
    for data in damages:
        write(state(site), data)
        trusted(site, server)
    # A twin that nobody trusts any more does not come back with the damage.
    site.want(2, site.certs.other_bundle)
    for data in (good, damages[5]):
        write(state(site), data)
        distrusted(site, server)


def test_flipped_bytes_of_the_compiled_form(site, server, anchors):
    compiled(site, anchors)
    with open(state(site), "rb") as f:
        good = f.read()
    chance = random.Random(25)
    at = forgery.FRONT
    places = [0, 2048, 2100, *range(at, at + 45, 9), len(good) - 5] + chance.sample(range(len(good)), 12)
    for place in places:
        write(state(site), good[:place] + bytes([good[place] ^ 0x41]) + good[place + 1:])
        trusted(site, server)


@pytest.mark.parametrize("what", ["directory-missing", "no-directory", "parent-missing", "cdb-is-a-directory",
                                  "cdb-is-a-link", "cdb-is-a-fifo", "lock-is-a-directory", "new-is-a-directory"])
def test_odd_run_directory(site, server, anchors, what):
    run = site.home.run_path
    if what in ("directory-missing", "no-directory", "parent-missing"):
        os.rmdir(run)
    if what == "no-directory":
        write(run, b"")
    elif what == "parent-missing":
        os.rmdir(os.path.dirname(run))
    elif what == "cdb-is-a-directory":
        os.mkdir(state(site))
    elif what == "cdb-is-a-link":
        os.symlink("/srv/pki/anchors.pem", state(site))
    elif what == "cdb-is-a-fifo":
        os.mkfifo(state(site))
    elif what == "lock-is-a-directory":
        os.mkdir(state(site, "trustanchors.lock"))
    elif what == "new-is-a-directory":
        os.mkdir(state(site, "trustanchors.cdb.new"))
    site.want(2, anchors)
    trusted(site, server)
    trusted(site, server)
    with open("/srv/pki/anchors.pem", "rb") as f:
        assert f.read() == site.certs.root.pem
    write(anchors, site.certs.other_root.pem)
    distrusted(site, server)


@one_user
def test_unwritable_run_directory(site, server, anchors):
    os.chmod(site.home.run_path, 0o555)
    site.want(2, anchors)
    for _ in range(2):
        run = site.run(uid=4711, gid=4711)
        check(run, "r", accepted())
        assert tls_line(run) == verified("m1.example")
    assert os.listdir(site.home.run_path) == []


@one_user
def test_stale_compiled_form_that_cannot_be_replaced(site, server, anchors):
    compiled(site, anchors)
    os.chmod(state(site), 0o444)
    os.chmod(site.home.run_path, 0o555)
    write(anchors, site.certs.other_root.pem)
    for _ in range(2):
        site.deferred(site.run(uid=4711, gid=4711), FAILED, "certificate verify failed: ")


def test_twenty_at_once(site, server, system_bundle):
    """The first to come compiles, the others do not wait for it; all verify."""
    site.want(2, system_bundle)
    started = [site.home.start() for _ in range(20)]
    for process in started:
        run = process.finish(timeout=60)
        check(run, "r", accepted())
        assert tls_line(run) == verified("m1.example") and run.held < 10
    assert len(server.mails) == 20 and server.connections == 20
    told_nothing(*site.sessions)
    assert sorted(os.listdir(site.home.run_path)) == ["addresses", "trustanchors.cdb", "trustanchors.lock"]
    trusted(site, server)
    gone()


def test_twenty_at_once_while_the_anchors_change(site, server, anchors):
    """Whoever starts after the change is told of it, whatever the others do to the compiled form."""
    compiled(site, anchors)
    replace(anchors, site.certs.other_root.pem)
    os.utime(anchors, (1, 1))
    started = [site.home.start() for _ in range(20)]
    assert [p.finish(timeout=60).letters for p in started] == ["Z"] * 20
    told_nothing(*site.sessions)
    assert len(server.mails) == 1


# A certificate of our own.

def present(site, cert=None, key=None):
    site.home.control("clientcert", f"{cert or site.certs.client_cert}\n")
    site.home.control("clientkey", f"{key or site.certs.client_key}\n")


def asking(site, demand=True, **how):
    context = site.certs.context("good", want_client=True, **how)
    if not demand:
        context.verify_mode = pki.ssl.CERT_OPTIONAL
    return context


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("strictness", [0, 1, 2])
@pytest.mark.parametrize("demand", [True, False], ids=["demanded", "asked"])
def test_client_certificate(site, strictness, version, demand):
    """It is sent with its chain, and the server verifies it."""
    version = getattr(pki.ssl.TLSVersion, version)
    site.mx()
    site.want(strictness)
    present(site)
    server = site.server(context=asking(site, demand, minimum=version, maximum=version))
    run = site.run()
    check(run, "r", accepted())
    assert server.session.tls["client"] == site.certs.client.der
    assert len(server.mails) == 1 and tls_line(run).endswith("verified for m1.example" if strictness == 2
                                                            else "not verified")


def test_client_certificate_is_not_sent_unasked(site):
    server = site.one(0)
    present(site)
    check(site.run(), "r", accepted())
    assert server.session.tls["client"] is None


def test_no_client_certificate(site):
    """Asked for, and there is none: the server may go on without."""
    site.mx()
    site.want(0)
    server = site.server(context=asking(site, demand=False))
    check(site.run(), "r", accepted())
    assert server.session.tls["client"] is None


@pytest.mark.parametrize("text", [None, "", "\n"])
def test_key_without_certificate(site, text):
    site.mx()
    site.want(0)
    present(site)
    site.home.control("clientcert", text)
    server = site.server(context=asking(site, demand=False))
    check(site.run(), "r", accepted())
    assert server.session.tls["client"] is None and server.session.secret


@pytest.mark.parametrize("text", [None, "", "\n"])
def test_certificate_without_key(site, text):
    """The key is in the same file then; if it is not, that is no reason to go without."""
    site.mx()
    site.want(2)
    present(site, write("/srv/pki/both.pem", site.certs.client.chain_pem + site.certs.client.key_pem))
    site.home.control("clientkey", text)
    server = site.server(context=asking(site))
    trusted(site, server)
    assert server.session.tls["client"] == site.certs.client.der
    site.home.control("clientcert", site.certs.client_cert)
    site.deferred(site.run(), NOT_SET_UP, f"cannot use {site.certs.client_cert}: no private key")


def test_key_and_certificate_in_one_file(site):
    both = write("/srv/pki/both.pem", site.certs.client.key_pem + site.certs.client.chain_pem)
    site.mx()
    site.want(2)
    present(site, both, both)
    server = site.server(context=asking(site))
    trusted(site, server)
    assert server.session.tls["client"] == site.certs.client.der


@pytest.mark.parametrize("strictness, outcome", [(0, "clear"), (1, "clear"), (2, "Z")])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_refused_client_certificate(site, strictness, outcome, version):
    """The server does not know who signed it; in TLS 1.3 that is told after the handshake."""
    stranger = pki.make("stranger.example", names=["stranger.example"])
    version = getattr(pki.ssl.TLSVersion, version)
    site.mx()
    site.want(strictness)
    present(site, write("/srv/pki/stranger.pem", stranger.pem), write("/srv/pki/stranger.key", stranger.key_pem))
    server = site.server(context=asking(site, minimum=version, maximum=version))
    run = site.run()
    assert server.sessions[0].tls is None and server.sessions[0].secret == b""
    told_nothing(server.sessions[0])
    if outcome == "clear":
        check(run, "r", accepted())
        assert server.connections == 2
        line = tls_line(run)
        assert line.endswith("unknown CA), sent in clear text") if strictness == 0 else line is None, run
    else:
        site.deferred(run, FAILED)
        assert server.connections == 1


def _encrypted(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.BestAvailableEncryption(b"secret"))


def _encrypted_old_style(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                             serialization.BestAvailableEncryption(b"secret"))


# Which of the two files, what is in it, and what the report says.
BAD_KEYS = {
    "cert-missing": ("cert", None, "cannot read /srv/pki/none: No such file or directory"),
    "key-missing": ("key", None, "cannot read /srv/pki/none: No such file or directory"),
    "cert-empty": ("cert", lambda c: b"", "cannot use /srv/pki/odd: no certificate"),
    "key-empty": ("key", lambda c: b"", "cannot use /srv/pki/odd: no private key"),
    "cert-garbage": ("cert", lambda c: b"garbage\n" * 100, "cannot use /srv/pki/odd: no certificate"),
    "key-garbage": ("key", lambda c: b"garbage\n" * 100, "cannot use /srv/pki/odd: no private key"),
    "cert-is-key": ("cert", lambda c: c.client.key_pem, "cannot use /srv/pki/odd: no certificate"),
    "key-is-cert": ("key", lambda c: c.client.pem, "cannot use /srv/pki/odd: no private key"),
    "key-of-another": ("key", lambda c: c.intermediate.key_pem, "not the key of the certificate in"),
    "cert-of-another": ("cert", lambda c: c.intermediate.pem, "not the key of the certificate in /srv/pki/odd"),
    "key-encrypted": ("key", lambda c: _encrypted(c.client.key), "cannot use /srv/pki/odd: the key is encrypted"),
    "key-encrypted-old": ("key", lambda c: _encrypted_old_style(c.client.key),
                          "cannot use /srv/pki/odd: the key is encrypted"),
    "key-cut": ("key", lambda c: c.client.key_pem[:-40], "cannot use /srv/pki/odd: no private key"),
    "cert-directory": ("cert", "/srv/pki/", "cannot read /srv/pki/: "),
    "key-directory": ("key", "/srv/pki", "cannot read /srv/pki: "),
}


@pytest.mark.parametrize("strictness", [0, 1, 2])
@pytest.mark.parametrize("case", BAD_KEYS)
def test_bad_key(site, case, strictness):
    """It is not sent in clear text because of that, nor without a certificate."""
    which, data, why = BAD_KEYS[case]
    path = "/srv/pki/none" if data is None else data
    if callable(data):
        path = write("/srv/pki/odd", data(site.certs))
    site.want(strictness)
    site.mx(IP, "192.0.2.2")
    present(site, **{which: path})
    server = site.server()
    second = site.server("192.0.2.2", host="m2.example")
    run = site.run()
    site.deferred(run, NOT_SET_UP)
    assert why in tls_line(run), run
    assert server.connections == 1 and second.connections == 0


@one_user
@pytest.mark.parametrize("which", ["cert", "key"])
@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_unreadable_key(site, which, strictness):
    data = site.certs.client.chain_pem if which == "cert" else site.certs.client.key_pem
    path = write("/srv/pki/odd", data)
    os.chmod(path, 0)
    server = site.one(strictness)
    present(site, **{which: path})
    site.deferred(site.run(uid=4711, gid=4711), NOT_SET_UP, "cannot read /srv/pki/odd: Permission denied")
    assert server.connections == 1


@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_bad_key_where_no_tls_is_offered(site, strictness):
    """Then nobody asks for it."""
    server = site.one(strictness, cert=None)
    present(site, key="/srv/pki/none")
    run = site.run()
    assert run.letters == ("Z" if strictness == 2 else "rK")
    assert server.connections == (2 if strictness == 1 else 1)


def test_clock_of_ten_years_ago(site):
    """A certificate that begins to be valid years from now: later, not never."""
    leaf = site.leaf(names=["m1.example"], start=3000, end=4000)
    site.mx()
    site.want(2)
    distrusted(site, site.server(cert=leaf), "certificate verify failed: certificate is not yet valid")


# An index is no authority: somebody who could once write to the run directory can make one.

def _subject_key(cert):
    """The key in the index of the certificates with this subject."""
    return subprocess.run(["openssl", "x509", "-noout", "-hash"], input=cert.pem, check=True,
                          stdout=subprocess.PIPE).stdout.strip()


@pytest.fixture
def forged(site):
    """A bundle with the root of our servers in it, and that of an impostor in a comment; and indexes of it."""
    impostor, root = site.certs.other_root, site.certs.root
    quoted = impostor.pem.rstrip(b"\n")
    path = write("/srv/pki/forged.pem", b"# " + quoted + b" was the old one\n" + root.pem)
    site.want(2, path)
    old, new = forgery.place(path, quoted), forgery.place(path, root.pem.rstrip(b"\n"))
    names = _subject_key(impostor), _subject_key(root)
    size = os.path.getsize(path)
    entries = {
        "a-comment": [(names[0], *old)],
        "a-comment-from-its-line": [(names[0], 0, old[1] + 2)],
        "another-name": [(names[1], *old)],
        "another-certificate": [(names[0], *new)],
        "everything": [(names[0], 0, size), (names[1], 0, size)],
        "outside": [(names[0], size, 100), (names[0], -1, 2), (names[1], 1 << 40, 1000)],
        "cut": [(names[1], new[0], new[1] - 1), (names[1], new[0] + 1, new[1] - 1)],
        "nothing": [],
        "very-many": [(names[1], *old)] * 2000,
    }
    return {name: forgery.index(path, which) for name, which in entries.items()}


@pytest.mark.parametrize("kind", ["a-comment", "a-comment-from-its-line", "another-name", "another-certificate",
                                  "everything", "outside", "cut", "nothing", "very-many"])
def test_forged_index(site, forged, kind):
    """It makes no certificate an anchor, and hides none from us."""
    site.mx(IP, "192.0.2.2")
    impostor = site.server(cert=pki.make("x", site.certs.other_root, names=["m1.example"]))
    run_path = state(site)
    write(run_path, forged[kind])
    distrusted(site, impostor)
    server = site.server("192.0.2.2", host="m2.example", cert=site.leaf(names=["m2.example"]))
    write(run_path, forged[kind])
    run = site.run()
    check(run, "r", accepted(server.address))
    assert tls_line(run) == verified("m2.example")
    assert not any(s.secret for s in impostor.sessions)


def test_index_of_the_former_format(site, forged):
    """0.1.0 had the certificates themselves in it, whoever had put them there."""
    impostor = site.certs.other_root
    data = bytearray(forged["nothing"]) + impostor.der
    write(state(site), bytes(data.replace(b"qr-cdb 2", b"qr-cdb 1")))
    site.mx()
    distrusted(site, site.server(cert=pki.make("x", impostor, names=["m1.example"])))


def test_index_replaced_at_any_moment(site, forged):
    """By other indexes, links, FIFOs, directories and files of any size, while mail goes out."""
    site.mx(IP, "192.0.2.2")
    impostor = site.server(cert=pki.make("x", site.certs.other_root, names=["m1.example"]))
    server = site.server("192.0.2.2", host="m2.example", cert=site.leaf(names=["m2.example"]))
    path, stop, chance = state(site), threading.Event(), random.Random(8)

    def replace_it():
        kinds = [*forged, "fifo", "link", "device", "loop", "directory", "huge", "missing"]
        while not stop.is_set():
            kind, new = chance.choice(kinds), f"{path}.forged"
            if os.path.isdir(path):
                os.rmdir(path)
            if kind in forged:
                write(new, forged[kind])
            elif kind == "fifo":
                os.mkfifo(new)
            elif kind in ("link", "device", "loop"):
                os.symlink({"link": "/srv/pki/forged.pem", "device": "/dev/zero", "loop": path}[kind], new)
            elif kind == "huge":
                write(new, forged["nothing"])
                os.truncate(new, 1 << 32)
            if os.path.lexists(new):
                os.replace(new, path)
            elif os.path.lexists(path):
                os.unlink(path)
            if kind == "directory":
                os.mkdir(path)
            time.sleep(chance.choice((0, 0, 0.001, 0.003)))

    replacer = threading.Thread(target=replace_it)
    replacer.start()
    try:
        for _ in range(40):
            run = site.run()
            check(run, "r", accepted(server.address))
            assert tls_line(run) == verified("m2.example")
    finally:
        stop.set()
        replacer.join()
    assert not any(s.secret for s in impostor.sessions)
