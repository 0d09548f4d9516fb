"""control/smtpauth, authsenders and credentials in smtproutes: which ones a relay gets, and the TLS that it must have."""

import base64
import os

import pytest

from expect import ANY, NO_CONNECTION, accepted, check
from expect_tls import FAILED_SENTENCE, NOT_OFFERED_SENTENCE
from signed import association
from stssite import ENFORCED, NO_HANDSHAKE, NO_HOST, TESTED, UNLISTED, policy
from test_check_tool import DEFERRED, DELIVERED, entries, fields, json_of, look, result  # noqa: F401
from tlssite import NOT_VERIFIED, V13, told_nothing, tls_line, verified

ONE = "192.0.2.1"
SECRET = "hunter2"
VERIFIED = verified("m1.example")
NO_ANCHORS = "m1.example: credentials are sent to a verified server only, and there are no trust anchors"
NO_TLS = ("m1.example: credentials are sent in TLS only, and control/tlspolicy or control/notlshosts does without")


@pytest.fixture
def relayed(site):
    """relayed(control files...): m1.example as relay of all mail, with trust anchors; files are without `control/`."""
    site.want(0)
    site.mx()

    def make(cert="good", **files):
        site.home.route(":m1.example")
        for name, text in files.items():
            site.home.control(name, text)
        return site.server(cert=cert, ehlo=["AUTH PLAIN LOGIN"], AUTH="235 ok")
    return make


def deferred(run, first, line):
    """Z with this line behind the first one, and nothing of a secret."""
    check(run, ("Z", first, ANY))
    assert run.message.text.decode().splitlines()[1:] == [line] and SECRET.encode() not in run.report, run


UNUSABLE = "Unable to read control files. (#4.3.0)"


def told(site):
    """(user, password) of each AUTH PLAIN in the sessions of the last delivery; none in clear text."""
    found = []
    for session in site.sessions:
        assert b"AUTH PLAIN" not in bytes(session.clear).replace(b"250-AUTH PLAIN", b""), session.clear
        for _, line in session.commands:
            if line.startswith(b"AUTH"):
                assert session.tls and line.startswith(b"AUTH PLAIN "), line
                found.append(tuple(base64.b64decode(line[11:]).decode().split("\0")[1:]))
    return found


ROUTE = ":m1.example|route|1\n"
# Control files, the sender, and the credentials that count.
CHOICES = {
    "smtproutes": ({"smtproutes": ROUTE}, "a@src.example", ("route", "1")),
    "semicolon": ({"smtproutes": ":m1.example;25|route|1|2 : \n"}, "a@src.example", ("route", "1|2 :")),
    "smtpauth": ({"smtproutes": ROUTE, "smtpauth": "m1.example|auth|2\n"}, "a@src.example", ("auth", "2")),
    "smtpauth-for-all": ({"smtproutes": ROUTE, "smtpauth": "|auth|2\n"}, "a@src.example", ("auth", "2")),
    "smtpauth-with-port": ({"smtpauth": "m1.example;25|auth|2\nm1.example|x|3\n"}, "a@src.example", ("auth", "2")),
    "other-port": ({"smtproutes": ROUTE, "smtpauth": "m1.example;587|auth|2\n"}, "a@src.example", ("route", "1")),
    "authsenders": ({"smtpauth": "|auth|2\n", "authsenders": "@src.example:m1.example|own|4\n"}, "a@src.example",
                    ("own", "4")),
    "route-stays": ({"smtpauth": "|auth|2\n", "authsenders": "a@src.example:|own|4\n"}, "a@src.example", ("own", "4")),
    "everybody": ({"smtpauth": "|auth|2\n", "authsenders": ":|own|4\n"}, "a@src.example", ("own", "4")),
    "null-sender": ({"smtpauth": "|auth|2\n", "authsenders": ":|own|4\n"}, "", ("auth", "2")),
    "double-bounce": ({"smtpauth": "|auth|2\n", "authsenders": ":|own|4\n"}, "#@[]", ("auth", "2")),
    "none": ({"authsenders": "@other.example:|own|4\n"}, "a@src.example", None),
}


def test_credentials_that_count(site, relayed):
    relayed()
    for name, (files, sender, wanted) in CHOICES.items():
        for file in ("smtproutes", "smtpauth", "authsenders"):
            site.home.control(file, files.get(file, ":m1.example\n" if file == "smtproutes" else None))
        run = site.run(sender=sender)
        check(run, "r", accepted())
        assert told(site) == ([wanted] if wanted else []), name
        assert tls_line(run) == (VERIFIED if wanted else NOT_VERIFIED), name


def test_a_token_is_read_for_each_delivery(site, relayed):
    server = relayed(smtpauth="m1.example|user|token=control/token\n")
    server.ehlo = ["AUTH XOAUTH2"]
    for token in ("first", "second"):
        site.home.control("token", token + " \n")
        check(site.run(), "r", accepted())
        assert site.sessions[-1].commands[-5][1].startswith(b"AUTH XOAUTH2 ")
        sent = base64.b64decode(site.sessions[-1].commands[-5][1][13:])
        assert sent == f"user=user\1auth=Bearer {token}\1\1".encode()
    site.home.control("token", None)
    deferred(site.run(), UNUSABLE, "control/token: No such file or directory")


@pytest.mark.parametrize("file, text, said", [
    ("smtpauth", f"m1.example user {SECRET}\n", "control/smtpauth: text behind the relay: m1.example"),
    ("smtpauth", f"m1.example|{SECRET}\n", "control/smtpauth: no '|' behind the user name: m1.example"),
    ("authsenders", f"a@src.example:m1.example:{SECRET}\n", "control/authsenders: no usable port: a@src.example"),
    ("authsenders", "@src.example\n", "control/authsenders: no colon behind the sender: @src.example"),
])
def test_a_malformed_line_defers_the_mail_and_is_not_shown(site, relayed, file, text, said):
    server = relayed(**{file: text})
    deferred(site.run(), UNUSABLE, said)
    assert server.connections == 0


def test_mx_hosts_get_no_credentials(site, relayed):
    """The DNS could name anybody."""
    relayed(smtpauth=f"|user|{SECRET}\n", authsenders=f":|user|{SECRET}\n", smtproutes=None)
    check(site.run(), "r", accepted())
    assert not told(site)
    site.home.control("smtproutes", f"dst.example:|user|{SECRET}\n")
    deferred(site.run(), NO_CONNECTION[1], "control/smtproutes: credentials without a relay: dst.example:")


# Which TLS they demand.

SERVERS = {
    "good": {}, "bad": {"cert": "self-signed"}, "no-tls": {"cert": None},
    "no-handshake": {"STARTTLS": NO_HANDSHAKE}, "refused": {"STARTTLS": "454 no"},
}
REFUSED_SENTENCE = "but STARTTLS was refused. (#4.7.4)"
FAILS = {"no-tls": NOT_OFFERED_SENTENCE, "no-handshake": FAILED_SENTENCE, "refused": REFUSED_SENTENCE}


def outcome(site, run, wanted, server):
    """K with this line on TLS, and the credentials; or Z with this text, and nobody was told of them."""
    if wanted.startswith("TLSv"):
        check(run, "r", accepted())
        assert tls_line(run) == wanted and told(site) == [("user", SECRET)], (run, server)
        return
    assert run.letters == "Z" and wanted.encode() in run.report, (run, server)
    assert SECRET.encode() not in run.report and not told(site), (run, server)
    told_nothing(*site.sessions)
    assert not any(b"MAIL" in s.secret for s in site.sessions), server


@pytest.mark.parametrize("server", SERVERS)
def test_credentials_demand_a_verified_server(site, server):
    """At each strictness alike, whatever the message says; a line of `encrypt` is the only exception."""
    site.mx()
    site.server(ehlo=["AUTH PLAIN"], AUTH="235 ok", **SERVERS[server])
    site.home.route(f":m1.example|user|{SECRET}")
    for strictness in (0, 1, 2):
        site.want(strictness)
        site.home.control("tlsrequired", "1\n")
        for header in (b"", b"TLS-Required: no\n"):
            outcome(site, site.run(message=header + b"\nx\n"), FAILS.get(server, VERIFIED if server == "good" else
                                                                          FAILED_SENTENCE), server)
    site.want(0)
    for line, wanted in (("none", NO_TLS), ("may", NO_TLS), ("encrypt", FAILS.get(server, NOT_VERIFIED)),
                         ("verify", FAILS.get(server, VERIFIED if server == "good" else FAILED_SENTENCE))):
        site.home.control("tlspolicy", f"m1.example:{line}\n")
        outcome(site, site.run(), wanted, server)


def test_files_of_the_tls_patch_do_not_weaken_that(site, relayed):
    relayed(smtpauth=f"m1.example|user|{SECRET}\n")
    for folder in ("tlshosts", "notlshosts"):
        os.mkdir(f"{site.home.path}/control/{folder}")
    site.home.control("tlshosts/exhaustivelist", "")
    outcome(site, site.run(), VERIFIED, "exhaustivelist")
    site.home.control("tlshosts/m1.example.pem", "")
    outcome(site, site.run(), VERIFIED, "empty .pem")
    site.home.control("tlshosts/m1.example.pem", None)
    site.home.control("notlshosts/m1.example", "")
    outcome(site, site.run(), NO_TLS, "notlshosts")


def test_without_trust_anchors_there_is_a_reason(site, relayed):
    server = relayed(smtpauth=f"m1.example|user|{SECRET}\n", trustanchors=None)
    deferred(site.run(), NO_HOST, NO_ANCHORS)
    assert server.connections == 0
    site.home.control("tlspolicy", ":encrypt\n")
    outcome(site, site.run(), NOT_VERIFIED, "encrypt")


def test_port_465_is_tls_whatever_the_policy_allows(site):
    """A line of `none`, `may` or a file in notlshosts is no way to speak in clear text to who hears TLS only."""
    site.mx()
    server = site.server(port=465, implicit=True, cert="self-signed")
    site.home.route(":m1.example:465")
    for folder in ("tlshosts", "notlshosts"):
        os.mkdir(f"{site.home.path}/control/{folder}")
    for name, text in (("tlspolicy", ":none\n"), ("tlspolicy", ":may\n"), ("tlspolicy", ":encrypt\n"),
                       ("notlshosts/m1.example", ""), ("tlshosts/exhaustivelist", ""), ("tlsstrictness", "1\n")):
        for anchors in (True, False):
            site.want(0)
            if not anchors:
                site.home.control("trustanchors", None)
            site.home.control(name, text)
            run = site.run()
            check(run, "r", accepted())
            assert tls_line(run) == NOT_VERIFIED and server.sessions[-1].clear == b"", (name, text)
        site.home.control(name, None)


# The TLSA record of m1.example, "" where the server's key is to be; None: it cannot be looked up.
RECORDS = {"match": "3 1 1 ", "mismatch": "3 1 1 " + 32 * "00", "unusable": "0 0 1 " + 32 * "00", "failed": None}
BY_DANE = V13.replace("certificate ", "DANE (3 1 1)")
BY_CHAIN = V13.replace("certificate ", "DANE records unusable, certificate verified for m1.example")
NO_RECORDS = "m1.example: its TLSA records could not be looked up"
# A record, the certificate, whether there are trust anchors: the line on TLS, or a text of the report.
BY_RECORDS = [
    ("match", "self-signed", True, BY_DANE), ("match", "self-signed", False, BY_DANE),
    ("mismatch", "good", True, "certificate matches no TLSA record"),
    ("unusable", "good", True, BY_CHAIN), ("unusable", "self-signed", True, FAILED_SENTENCE),
    ("unusable", "good", False, NO_ANCHORS), ("failed", "good", True, NO_RECORDS),
]


@pytest.mark.parametrize("port", [587, 465])
def test_dane_counts(site, relayed, port):
    """A server is verified by its TLSA records, and by nothing else if they can be used."""
    site.home.control("dane", "1\n")
    site.home.control("smtpauth", f"m1.example|user|{SECRET}\n")
    site.dns.sign("m1.example")
    name = f"_{port}._tcp.m1.example"
    for record, cert, has_anchors, wanted in BY_RECORDS:
        site.want(0)
        if not has_anchors:
            site.home.control("trustanchors", None)
        leaf = site.certs.leaf(cert, "m1.example")
        site.home.route(f":m1.example:{port}")
        server = site.server(cert=leaf, port=port, implicit=port == 465, ehlo=["AUTH PLAIN"], AUTH="235 ok")
        site.dns.forget(name)
        if RECORDS[record] is None:
            site.dns.rule(name, "TLSA", rcode="SERVFAIL")
        else:
            key = "" if len(RECORDS[record]) > 6 else association(leaf.cert, 1, 1).hex()
            site.dns.zone(f"{name} TLSA {RECORDS[record]}{key}")
        outcome(site, site.run(), wanted, (record, cert, has_anchors))
        server.stop()
        site.servers.clear()


@pytest.mark.parametrize("listed, mode, cert, wanted", [
    ("m1.example", "enforce", "good", ENFORCED + "m1.example"), ("m1.example", "testing", "good", TESTED + "m1.example"),
    ("m2.example", "enforce", "good", UNLISTED), ("m1.example", "testing", "self-signed", FAILED_SENTENCE),
    ("m2.example", "testing", "self-signed", FAILED_SENTENCE),
])
def test_mta_sts_does_not_weaken_that(sts, listed, mode, cert, wanted):
    """The relay is the policy domain. A policy that is only tested does not let its credentials go to anybody."""
    sts.mx()
    sts.server(cert=cert, ehlo=["AUTH PLAIN"], AUTH="235 ok")
    sts.home.route(f":m1.example|user|{SECRET}")
    sts.publish(policy(listed, mode=mode), domain="m1.example")
    outcome(sts, sts.run(), wanted, (listed, mode, cert))


# Nothing of ours keeps them.

def test_no_state_file_has_a_password(site, relayed, home):
    relayed(smtpauth="m1.example|user|in-smtpauth\n")
    for n in range(3):
        lines = [f"host{i}.example:192.0.2.99:587|user|{SECRET}{i}\n" for i in range(2000)]
        lines += [f"192.0.2.99|user|{SECRET}:x\n", f"dst.example 192.0.2.99 {SECRET}:x\n", f":m1.example|user{n}|{SECRET}\n"]
        home.control("smtproutes", "".join(lines))
        check(site.run(), "r", accepted())
        assert told(site) == [("user", "in-smtpauth")]
    assert os.path.exists(home.cdb_path)
    for name in os.listdir(home.run_path):
        with open(f"{home.run_path}/{name}", "rb") as f:
            text = f.read()
        assert SECRET.encode() not in text and b"in-smtpauth" not in text, name


# qmail-remote-check.

def test_credentials_are_shown_without_the_secret(site, relayed, look):  # noqa: F811
    relayed(smtpauth=f"m1.example|user@our.example|{SECRET}\n", authsenders="@token.example:|other|token=control/token\n",
            token=SECRET)
    for sender, user, kind, file in (("a@src.example", "user@our.example", "password", "control/smtpauth"),
                                     ("a@token.example", "other", "token", "control/authsenders")):
        for mode in (0o644, 0o640):
            for name in ("smtpauth", "authsenders", "token"):
                os.chmod(f"{site.home.path}/control/{name}", mode)
            warnings = [f"all users can read {f}" for f in ([file] if kind == "password" else [file, "control/token"])]
            done = look("dst.example", sender, "b@dst.example", host=None)
            shown = fields(done)
            assert shown["AUTH"][:1] == [f'as "{user}", with a {kind}, by {file}']
            assert done.stdout.count("  warning: all users can read ") == (len(warnings) if mode == 0o644 else 0)
            found, = json_of(look("--json", "dst.example", sender, "b@dst.example", host=None))
            assert found["credentials"] == {"user": user, "kind": kind, "file": file,
                                            "warnings": warnings if mode == 0o644 else []}
            assert SECRET not in done.stdout + str(found)
            assert base64.b64encode(SECRET.encode()).decode()[:8] not in done.stdout + str(found)


def test_tls_that_they_and_port_465_demand_is_shown(site, relayed, look):  # noqa: F811
    relayed(smtpauth=f"m1.example;587|user|{SECRET}\n")
    waits = "verified, or the message waits: there are credentials"
    first_byte = "from the first byte, unverified: port 465"
    for port, strictness, anchors, shown in (
            (587, 0, True, waits), (587, 2, True, waits), (587, 0, False, waits), (465, 0, True, first_byte),
            (465, 1, False, first_byte), (465, 2, False, first_byte),
            (465, 2, True, "strictness 2: verified, or the message waits")):
        site.want(strictness)
        if not anchors:
            site.home.control("trustanchors", None)
        site.home.route(f":m1.example:{port}")
        assert fields(look("--routes", "dst.example", host=None))["TLS"] == [shown], (port, strictness, anchors)


AS_NOBODY = 'set -- setpriv --reuid=65534 --regid=65534 --clear-groups "$@";'


def test_a_user_who_may_not_read_passwords_is_told(site, relayed, look):  # noqa: F811
    """The relay is tried without credentials; what a delivery would do is not known."""
    server = relayed(smtpauth=f"m1.example|user|{SECRET}\n")
    path = f"{site.home.path}/control/smtpauth"
    os.chmod(path, 0o640)
    assert result(look()) == f"a message would be delivered through m1.example ({ONE}), in TLS, certificate verified"
    done = look(first=AS_NOBODY)
    assert fields(done)["AUTH"] == ["not known: this user cannot read control/smtpauth"]
    assert not any(c.startswith(b"AUTH") for _, c in server.sessions[-1].commands)
    found, = json_of(look("--json", "dst.example", host=None, first=AS_NOBODY))
    assert found["credentials"] == {"unreadable": "control/smtpauth"}
    listed = entries(look("--json", host=None, first=AS_NOBODY))["control/smtpauth"]
    assert listed == {"name": "control/smtpauth", "value": "", "source": "this user cannot read it", "warnings": []}


def test_credentials_that_qmailr_cannot_read_defer_the_mail(site, relayed, look):  # noqa: F811
    relayed(smtpauth=f"m1.example|user|{SECRET}\n")
    os.chmod(f"{site.home.path}/control/smtpauth", 0o640)
    os.chmod(f"{site.home.path}/run", 0o755)
    os.chown(site.home.run_path, 65534, 65534)
    done = look()
    assert done.returncode == DEFERRED and "control/smtpauth: Permission denied" in done.stdout
    assert entries(look("--json", host=None))["control/smtpauth"]["warnings"] == ["Permission denied"]
    os.chown(f"{site.home.path}/control/smtpauth", 0, 65534)
    assert look().returncode == DELIVERED
