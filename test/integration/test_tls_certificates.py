"""Addresses and relays as names to verify, the trust anchors, and our own certificate. The catalogue, group E, has the
certificates of servers."""

import os
import random
import shutil
import subprocess
import threading
import time

import pytest
from cryptography.hazmat.primitives import serialization

import forgery
import pki
from expect import accepted, check
from expect_tls import NO_HANDSHAKE, NO_SESSION, check_delivery, check_given_up
from reuse import wait_until
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
def test_a_server_given_by_its_address_must_have_that_in_its_certificate(site, address, how, names, addresses, good):
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


def test_another_textual_form_of_an_address_is_the_same_address(site):
    leaf = site.leaf(addresses=[SIX])
    site.want(2)
    site.home.route(":[2001:0DB8:0:0::0001]")
    server = site.server(SIX, cert=leaf)
    trusted(site, server, SIX)


@pytest.mark.parametrize("relay, name, good", [
    ("r.example", "r.example", True), ("r.example.", "r.example", True), ("R.Example", "r.example", True),
    ("r.example", "dst.example", False),
])
def test_the_name_of_a_relay_is_verified_and_not_that_of_the_domain(site, relay, name, good):
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
def test_the_name_in_the_mx_record_is_verified_and_not_the_target_of_an_alias(site, names, good):
    site.dns.zone(f"dst.example MX 1 m1.example.\nm1.example CNAME real.example.\nreal.example A {IP}")
    site.want(2)
    server = site.server(cert=site.leaf(names=names))
    (trusted if good else distrusted)(site, server)


def test_a_certificate_of_the_first_host_does_not_do_for_the_second(site):
    site.mx("192.0.2.7", IP)
    site.want(2)
    server = site.server(host="m1.example")
    distrusted(site, server, "certificate verify failed: name mismatch")


@pytest.mark.parametrize("kind", ["expired", "self-signed"])
def test_a_certificate_is_not_looked_at_where_clear_text_would_do(site, kind):
    not_verified(site, site.one(0, cert=kind))


# Trust anchors.

@pytest.mark.parametrize("which", ["intermediate", "leaf"])
def test_what_is_listed_is_trusted_whoever_signed_it(site, which):
    leaf = site.leaf(names=["m1.example"])
    anchor = site.certs.intermediate if which == "intermediate" else leaf
    site.mx()
    site.want(2, site.certs.write(f"partial-{which}.pem", anchor.pem))
    trusted(site, site.server(cert=leaf))


def test_a_certificate_that_signed_itself_can_be_listed_but_must_have_the_name(site):
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
    # On a busy machine a helper that was started beforehand writes it, but is too late for the delivery.
    wait_until(lambda: os.path.exists(state(site)))
    assert os.path.getsize(state(site)) > 2048


def test_a_bundle_of_150_is_indexed_without_the_certificates_themselves(site, server, system_bundle):
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


def test_other_things_in_a_bundle_are_passed_over(site, server):
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
def test_bundles_joined_without_line_ends_are_read(site, server, between):
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


@pytest.mark.parametrize("kind, strictness", [
    *((kind, 2) for kind in ("no-end", "no-end-at-the-end", "cut-in-a-line", "no-begin", "broken", "a-line-cut",
                             "key-without-end")), ("no-end", 0)])
def test_a_damaged_bundle_is_trouble_of_ours_where_something_is_verified(site, server, kind, strictness):
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
def test_a_damaged_file_in_a_directory_is_trouble_of_ours_for_those_who_need_it(site, server, kind):
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


def test_a_link_to_nowhere_in_a_directory_hides_no_other_file(site, server):
    """The file behind it is found all the same."""
    path = "/srv/pki/dangling/"
    file = _hashed(site.certs, path)
    site.want(2, path)
    os.symlink("nowhere", file)
    distrusted(site, server)
    write(file[:-1] + "1", site.certs.root.pem)
    trusted(site, server)


def test_a_directory_with_a_colon_in_its_name_is_one_directory(site, server):
    path = "/srv/pki/a:b/"
    write(_hashed(site.certs, path), site.certs.root.pem)
    site.want(2, path)
    trusted(site, server)


@pytest.mark.parametrize("kind", ["TRUSTED CERTIFICATE", "X509 CERTIFICATE"])
def test_other_labels_of_certificates_are_read(site, server, kind):
    if kind.startswith("TRUSTED"):
        text = subprocess.run(["openssl", "x509", "-trustout"], input=site.certs.root.pem, check=True,
                              stdout=subprocess.PIPE).stdout
    else:
        text = site.certs.root.pem.replace(b" CERTIFICATE", f" {kind}".encode())
    assert kind.encode() in text
    site.want(2, write("/srv/pki/labels.pem", text))
    trusted(site, server)


def test_an_anchor_that_is_rejected_for_servers_is_none(site, server):
    """A TRUSTED CERTIFICATE that is rejected for servers is none."""
    text = subprocess.run(["openssl", "x509", "-trustout", "-addreject", "serverAuth"], input=site.certs.root.pem,
                          check=True, stdout=subprocess.PIPE).stdout
    path = write("/srv/pki/labels.pem", text)
    site.want(2, path)
    distrusted(site, server)
    distrusted(site, server)
    distrusted(site, server)


@pytest.mark.parametrize("kind, why", [
    ("good", None), ("no-intermediate", "issuer"), ("untrusted", "issuer"), ("self-signed", "self"), ("expired", "expired")])
def test_a_directory_of_anchors_verifies_as_a_bundle_does(site, kind, why):
    site.mx()
    server = site.server(cert=kind)
    site.want(2, site.certs.directory)
    if why is None:
        trusted(site, server)
        site.want(2, site.certs.other_directory)
        distrusted(site, server)
    else:
        assert why in tls_line(distrusted(site, server))
    assert not os.path.exists(state(site))


def test_a_directory_that_changes_counts_as_it_is_now(site, server):
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


def test_a_relative_path_begins_at_the_qmail_home(site, server):
    """Relative to the qmail home."""
    write(f"{site.home.path}/control/anchors.pem", site.certs.root.pem)
    site.want(2, "control/anchors.pem")
    trusted(site, server)


def test_bad_anchors_end_the_delivery_without_another_host(site):
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


def test_a_trustanchors_that_cannot_be_read_is_a_bad_control_file(site, server):
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
def test_a_change_of_the_anchors_counts_at_once(site, server, anchors, change):
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


def test_the_index_of_one_bundle_is_not_taken_for_that_of_another(site, server, anchors):
    """The compiled form of one bundle is not taken for that of another."""
    compiled(site, anchors)
    site.want(2, site.certs.other_bundle)
    distrusted(site, server)
    distrusted(site, server)
    site.want(2, anchors)
    trusted(site, server)


def test_anchors_that_are_removed_are_not_replaced_by_their_index(site, server, anchors):
    compiled(site, anchors)
    os.unlink(anchors)
    site.deferred(site.run(), NOT_SET_UP, "cannot read trust anchors in")
    write(anchors, b"nothing\n")
    assert site.run().message.first == NOT_SET_UP.encode()


def test_of_two_anchors_with_one_subject_the_one_that_fits_is_found(site, server):
    """Two anchors with one subject: the one that fits is found, compiled or not."""
    twin = pki.make("Test Root", ca=True)
    for data in (twin.pem + site.certs.root.pem, site.certs.root.pem + twin.pem):
        path = write("/srv/pki/twins.pem", data)
        compiled(site, path)
        trusted(site, server)


def test_an_expired_anchor_vouches_for_nobody(site, server):
    path = write("/srv/pki/old.pem", pki.make("Old", ca=True, start=-9, end=-1).pem + site.certs.root.pem)
    compiled(site, path)
    old = pki.make("Old Root", ca=True, start=-9, end=-1)
    leaf = pki.make("x", old, names=["m1.example"])
    site.home.route(":m1.example:2525")
    second = site.server(cert=leaf, port=2525)
    site.want(2, write("/srv/pki/old.pem", old.pem))
    distrusted(site, second, "certificate verify failed: certificate has expired")


# The compiled form is a help, never a condition, and never a way around.

def test_a_damaged_index_is_done_without(site, server, system_bundle):
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


def test_flipped_bytes_in_the_index_are_done_without(site, server, anchors):
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
def test_an_odd_state_directory_is_done_without(site, server, anchors, what):
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
def test_a_state_directory_that_cannot_be_written_is_done_without(site, server, anchors):
    os.chmod(site.home.run_path, 0o555)
    site.want(2, anchors)
    for _ in range(2):
        run = site.run(uid=4711, gid=4711)
        check(run, "r", accepted())
        assert tls_line(run) == verified("m1.example")
    assert os.listdir(site.home.run_path) == []


@one_user
def test_a_stale_index_that_cannot_be_replaced_is_not_used(site, server, anchors):
    compiled(site, anchors)
    os.chmod(state(site), 0o444)
    os.chmod(site.home.run_path, 0o555)
    write(anchors, site.certs.other_root.pem)
    for _ in range(2):
        site.deferred(site.run(uid=4711, gid=4711), FAILED, "certificate verify failed: ")


def test_twenty_at_once_all_verify(site, server, system_bundle):
    """The first to come compiles, the others do not wait for it; all verify."""
    site.home.control("timeoutconnect", "60\n")    # of the handshake too, and twenty share the processors
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
@pytest.mark.parametrize("demand", [True, False], ids=["demanded", "asked"])
def test_our_certificate_is_sent_with_its_chain_where_it_is_asked_for(site, version, demand):
    """The server verifies it."""
    version = getattr(pki.ssl.TLSVersion, version)
    site.mx()
    site.want(2)
    present(site)
    server = site.server(context=asking(site, demand, minimum=version, maximum=version))
    run = site.run()
    check(run, "r", accepted())
    assert server.session.tls["client"] == site.certs.client.der
    assert len(server.mails) == 1 and tls_line(run).endswith("certificate verified for m1.example")


def test_our_certificate_is_not_sent_unasked(site):
    server = site.one(0)
    present(site)
    check(site.run(), "r", accepted())
    assert server.session.tls["client"] is None


def test_without_one_of_ours_the_server_may_go_on(site):
    """Asked for, and there is none: the server may go on without."""
    site.mx()
    site.want(0)
    server = site.server(context=asking(site, demand=False))
    check(site.run(), "r", accepted())
    assert server.session.tls["client"] is None


@pytest.mark.parametrize("text", [None, "", "\n"])
def test_a_key_without_a_certificate_is_not_used(site, text):
    site.mx()
    site.want(0)
    present(site)
    site.home.control("clientcert", text)
    server = site.server(context=asking(site, demand=False))
    check(site.run(), "r", accepted())
    assert server.session.tls["client"] is None and server.session.secret


@pytest.mark.parametrize("text", [None, "", "\n"])
def test_a_key_that_is_not_configured_must_be_in_the_file_of_the_certificate(site, text):
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


def test_key_and_certificate_may_be_in_one_file(site):
    both = write("/srv/pki/both.pem", site.certs.client.key_pem + site.certs.client.chain_pem)
    site.mx()
    site.want(2)
    present(site, both, both)
    server = site.server(context=asking(site))
    trusted(site, server)
    assert server.session.tls["client"] == site.certs.client.der


@pytest.mark.parametrize("strictness", [0, 1, 2])
@pytest.mark.parametrize("version, fate", [("TLSv1_2", NO_HANDSHAKE), ("TLSv1_3", NO_SESSION)])
def test_a_refusal_of_our_certificate_is_a_failed_handshake(site, strictness, version, fate):
    """The server does not know who signed it; in TLS 1.3 that is told after the handshake."""
    stranger = pki.make("stranger.example", names=["stranger.example"])
    version = getattr(pki.ssl.TLSVersion, version)
    site.mx()
    site.want(strictness)
    present(site, write("/srv/pki/stranger.pem", stranger.pem), write("/srv/pki/stranger.key", stranger.key_pem))
    server = site.server(context=asking(site, minimum=version, maximum=version))
    run = site.run()
    assert server.sessions[0].tls is None and server.sessions[0].secret == b""
    if fate.delivers(strictness):
        check_delivery(run, fate, strictness, server)
        assert strictness or tls_line(run).endswith("unknown CA), sent in clear text"), run
    else:
        check_given_up(run, fate, server)


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


@pytest.mark.parametrize("case", BAD_KEYS)
def test_a_bad_key_or_certificate_of_ours_is_trouble_of_ours(site, case):
    """It is not sent in clear text because of that, nor without a certificate."""
    which, data, why = BAD_KEYS[case]
    path = "/srv/pki/none" if data is None else data
    if callable(data):
        path = write("/srv/pki/odd", data(site.certs))
    site.want(0)
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
def test_a_key_or_certificate_of_ours_that_cannot_be_read_is_trouble_of_ours(site, which):
    data = site.certs.client.chain_pem if which == "cert" else site.certs.client.key_pem
    path = write("/srv/pki/odd", data)
    os.chmod(path, 0)
    server = site.one(0)
    present(site, **{which: path})
    site.deferred(site.run(uid=4711, gid=4711), NOT_SET_UP, "cannot read /srv/pki/odd: Permission denied")
    assert server.connections == 1


@pytest.mark.parametrize("strictness", [0, 2])
def test_a_bad_key_is_not_asked_for_where_no_tls_is_offered(site, strictness):
    """Then nobody asks for it."""
    server = site.one(strictness, cert=None)
    present(site, key="/srv/pki/none")
    run = site.run()
    assert run.letters == ("Z" if strictness == 2 else "rK")
    assert server.connections == 1


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


def test_an_index_of_the_former_format_is_not_used(site, forged):
    """0.1.0 had the certificates themselves in it, whoever had put them there."""
    impostor = site.certs.other_root
    data = bytearray(forged["nothing"]) + impostor.der
    write(state(site), bytes(data.replace(b"qr-cdb 3", b"qr-cdb 1")))
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
