"""AUTH, and TLS from the first byte on port 465: what is said to a relay, and what becomes of the mail."""

import base64
import os
import re
import threading

import pytest

from expect import ANY, accepted, check
from smtpd import CLOSE, DEAF, Call, Until
from test_check_tool import DEFERRED, DELIVERED, fields, json_of, look, result  # noqa: F401
from tlssite import NOT_VERIFIED, server_line, told_nothing, tls_line, verified

ONE, TWO = "192.0.2.1", "192.0.2.2"
USER, SECRET = "relay-user@src.example", "correct horse battery"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJl"
PASSWORDS, TOKENS = {USER: SECRET}, {USER: TOKEN}
ALL = "AUTH OAUTHBEARER XOAUTH2 LOGIN PLAIN CRAM-MD5"
VERIFIED = verified("m1.example")


@pytest.fixture
def provider(site):
    """provider(port): m1.example, a relay with the addresses `at`, for which we have a password, or a token.

    Each call begins anew.
    """
    def make(port=25, kind="password", at=ONE, **how):
        for server in site.servers:
            server.stop()
        site.servers.clear()
        site.dns.reset()
        site.want(0)
        site.mx(at)
        site.home.route(f":m1.example:{port}" if port != 25 else ":m1.example")
        site.home.control("token", TOKEN + "\n")
        site.home.control("smtpauth", f"m1.example|{USER}|{SECRET if kind == 'password' else 'token=control/token'}\n")
        how = {"port": port, "implicit": port == 465, "users": PASSWORDS if kind == "password" else TOKENS,
               "ehlo": [ALL], **how}
        return [site.server(address, **how) for address in at.split()]
    return make


# What is offered, what is in the file, and the mechanism that is used.
MECHANISMS = [
    (ALL, "password", "PLAIN"), ("AUTH LOGIN PLAIN", "password", "PLAIN"), ("AUTH LOGIN", "password", "LOGIN"),
    ("AUTH=LOGIN", "password", "LOGIN"), ("auth plain", "password", "PLAIN"),
    (ALL, "token", "OAUTHBEARER"), ("AUTH XOAUTH2 PLAIN", "token", "XOAUTH2"),
]


@pytest.mark.parametrize("port", [25, 587, 465])
def test_each_mechanism(site, provider, port):
    """Inside TLS, before MAIL; the response with the command where it is short."""
    for kind in ("password", "token"):
        server, = provider(port, kind)
        for offered, of, mechanism in MECHANISMS:
            if of != kind:
                continue
            server.ehlo = [offered]
            run = site.run()
            check(run, "r", accepted())
            assert tls_line(run) == VERIFIED, run
            session, = site.sessions
            assert session.logins == [(mechanism, USER, SECRET if kind == "password" else TOKEN)], offered
            assert b"AUTH" not in session.clear and (port != 465 or not session.clear.startswith(b"E"))
            verbs = session.verbs
            assert verbs.index("AUTH") < verbs.index("MAIL") and verbs.count("EHLO") == (1 if port == 465 else 2)


@pytest.mark.parametrize("size", [10, 4000])
def test_a_long_token_is_sent_after_a_challenge(site, provider, size):
    server, = provider(587, "token", users={USER: "t" * size})
    site.home.control("token", "t" * size + "\n")
    check(site.run(), "r", accepted())
    session = server.session
    assert session.logins == [("OAUTHBEARER", USER, "t" * size)]
    auth, = [line for _, line in session.commands if line.startswith(b"AUTH")]
    assert (auth == b"AUTH OAUTHBEARER") == (size == 4000)


CREDENTIALS = f"Connected to {ONE} but my credentials were rejected. (#4.7.8)"
FAILED = f"Connected to {ONE} but authentication failed. (#4.7.0)"
DIED = f"Connected to {ONE} but connection died. (#4.4.2)"

# What the server does at AUTH, the report, and whether the next address is tried.
REFUSALS = {
    "535": (dict(LOGGED="535 5.7.8 no"), CREDENTIALS, "535 5.7.8 no", False),
    "534": (dict(LOGGED="534 5.7.9 no"), CREDENTIALS, "534 5.7.9 no", False),
    "530": (dict(LOGGED="530 5.7.0 no"), CREDENTIALS, "530 5.7.0 no", False),
    "501": (dict(AUTH="501 5.5.2 what?"), CREDENTIALS, "501 5.5.2 what?", False),
    "503": (dict(AUTH="503 no"), CREDENTIALS, "503 no", False),
    "554-in-lines": (dict(LOGGED="554-no\n554 never"), CREDENTIALS, "554-no\n554 never", False),
    "454": (dict(LOGGED="454 4.7.0 later"), FAILED, "454 4.7.0 later", True),
    "432": (dict(LOGGED="432 4.7.12 new password"), FAILED, "432 4.7.12 new password", True),
    "421": (dict(LOGGED=("421 bye", CLOSE)), FAILED, "421 bye", True),
    "challenge": (dict(AUTH="334 more"), FAILED, "334 more", True),
    "354": (dict(AUTH="354 go"), FAILED, "354 go", True),
    "nonsense": (dict(AUTH=b"2355 hi\r\n"), FAILED, "2355 hi", True),
    "two-codes": (dict(AUTH=b"235-hi\r\n535 no\r\n"), FAILED, "235-hi\n535 no", True),
    "closed": (dict(AUTH=CLOSE), DIED, None, True),
    "half-a-reply": (dict(AUTH=(b"235 2.7", CLOSE)), DIED, None, True),
    "silent": (dict(AUTH=DEAF), DIED, None, True),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_refusal_means(site, provider, name):
    """Nothing bounces. 5yz ends the delivery; after anything else the next address is tried."""
    script, first, said, goes_on = REFUSALS[name]
    if name == "silent":
        site.home.control("timeoutremote", "2\n")
    server, = provider(587, **script)
    site.deferred(site.run(), first, said=said)
    assert len(server.session.logins) <= 1 and not server.session.mails
    one, two = provider(587, at=f"{ONE} {TWO}", **script)
    two.scripts = [{}]
    run = site.run()
    if goes_on:
        check(run, "r", accepted(TWO))
    else:
        check(run, ("Z", first, said))
    assert one.connections == 1 and two.connections == (1 if goes_on else 0)


WANTS_TOKEN = f"Connected to {ONE} but it wants an access token, and I have a password. (#4.7.4)"
WANTS_PASSWORD = f"Connected to {ONE} but it wants a password, and I have an access token. (#4.7.4)"
NOT_OFFERED = f"Connected to {ONE} but it does not offer AUTH. (#4.7.4)"
NO_MECHANISM = f"Connected to {ONE} but it offers no AUTH mechanism that I know. (#4.7.4)"


def test_no_mechanism_in_common(site, provider):
    """The mail waits, and the report shows what there is."""
    for kind, offered, first in (
            ("password", [], NOT_OFFERED), ("token", ["SIZE", "AUTHX PLAIN"], NOT_OFFERED),
            ("password", ["AUTH"], NO_MECHANISM), ("token", ["AUTH CRAM-MD5 SCRAM-SHA-256"], NO_MECHANISM),
            ("password", ["AUTH XOAUTH2 OAUTHBEARER"], WANTS_TOKEN), ("token", ["AUTH PLAIN LOGIN"], WANTS_PASSWORD)):
        server, = provider(465, kind, ehlo=offered)
        run = site.run()
        site.deferred(run, first, said=ANY)
        if offered:
            assert offered[-1].encode() in run.report and tls_line(run) == VERIFIED, run
        assert server.session.verbs == ["EHLO", "QUIT"]


def test_without_credentials_530_is_temporary(site, provider):
    provider(587)
    site.home.control("smtpauth", None)
    check(site.run(), ("Z", f"Connected to {ONE} but sender was rejected.", "530 5.7.0 log in"))


# Port 465.

def test_tls_from_the_first_byte_at_every_strictness(site, provider):
    """Also without trust anchors, and without credentials."""
    server, = provider(465, users=None, ehlo=["STARTTLS", "PIPELINING"])
    site.home.control("smtpauth", None)
    for strictness, line in ((0, NOT_VERIFIED), (1, NOT_VERIFIED), (2, VERIFIED), (None, NOT_VERIFIED)):
        site.want(strictness or 0)
        if strictness is None:
            site.home.control("trustanchors", None)
        run = site.run()
        check(run, "r", accepted())
        assert tls_line(run) == line, run
        session = server.sessions[-1]
        assert session.clear == b"" and session.verbs == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
        assert session.tls["sni"] == "m1.example"


# What a server does on port 465 in place of a handshake, and the line on TLS.
NO_TLS = {
    "speaks-first": dict(implicit=False),
    "silent": dict(implicit=False, greeting=None),
    "wrong-name": dict(cert="wrong-name"),
}


@pytest.mark.parametrize("with_credentials", [False, True], ids=["anybody", "user"])
@pytest.mark.parametrize("name", NO_TLS)
def test_no_clear_text_follows_a_handshake_that_fails(site, provider, name, with_credentials):
    """Whatever the strictness is: the next address, then Z."""
    site.home.control("timeoutconnect", "1\n")
    for strictness in (0, 1, 2):
        users = PASSWORDS if with_credentials else None
        if name == "wrong-name" and strictness < 2 and not with_credentials:
            continue
        server, = provider(465, users=users, **NO_TLS[name])
        if not with_credentials:
            site.home.control("smtpauth", None)
        site.want(strictness)
        run = site.run()
        site.deferred(run, f"Connected to {ONE} but TLS failed. (#4.7.5)")
        assert tls_line(run), run
        session = server.session
        assert bytes(session.clear[:1]) in (b"\x16", b""), session.clear
        assert not {"EHLO", "HELO", "AUTH", "MAIL"} & set(session.verbs)
        # Another address of the relay has TLS.
        two = site.server(TWO, port=465, implicit=True, users=users, ehlo=[ALL])
        site.dns.zone(f"m1.example A {TWO}")
        check(site.run(), "r", accepted(TWO))
        assert server.connections == 2 and two.connections == 1


@pytest.mark.parametrize("script, first, said", [
    (dict(greeting="554 no"), f"Connected to {ONE} but greeting failed.", "554 no"),
    (dict(greeting="421 busy"), f"Connected to {ONE} but greeting failed.", "421 busy"),
    (dict(greeting=CLOSE), f"Connected to {ONE} but TLS failed. (#4.7.5)", None),
    (dict(EHLO="421 no"), f"Connected to {ONE} but my name was rejected.", "421 no"),
    (dict(EHLO=CLOSE), f"Connected to {ONE} but TLS failed. (#4.7.5)", None),
    (dict(EHLO="550 no", HELO="550 never"), f"Connected to {ONE} but my name was rejected.", "550 never"),
], ids=["554", "421", "no-greeting", "ehlo-421", "no-ehlo", "no-hello"])
def test_a_session_that_does_not_begin_in_tls(site, provider, script, first, said):
    one, two = provider(465, at=f"{ONE} {TWO}", users=None, **script)
    site.home.control("smtpauth", None)
    two.scripts = [{}]
    run = site.run()
    check(run, "r", accepted(TWO))
    assert one.session.clear == b""
    one, = provider(465, users=None, **script)
    site.home.control("smtpauth", None)
    site.deferred(site.run(), first, said=said)


def test_helo_in_tls(site, provider):
    provider(465, users=None, EHLO="500 what")
    site.home.control("smtpauth", None)
    run = site.run()
    check(run, "r", accepted())
    assert tls_line(run) == NOT_VERIFIED


# Nobody hears of the credentials.

def forms(text):
    """The text, and what it is in base64, wherever it begins in it; without the digits that other bytes change."""
    yield text
    for before in range(3):
        digits = base64.b64encode(b"\0" * before + text.encode()).decode()
        yield digits[(0, 2, 3)[before]:(before + len(text)) * 8 // 6]


def leaks(told):
    told = told if isinstance(told, str) else told.decode("latin-1")
    return [form for text in (USER, SECRET, TOKEN) for form in forms(text) if form.lower() in told.lower()]


def parrot(code):
    """Repeats all that the client has said of its credentials, in one way and another."""
    def play(session):
        said = [line for _, line in session.commands if line[:4] not in (b"EHLO", b"STAR")] + session.responses
        said = [line.decode("latin-1") for line in said]
        secrets = [text for login in session.logins for text in login[1:]]
        lines = [f"I heard {said}", *(f"so <{s}>, {s.upper()}x{s}" for s in secrets),
                 *(f"or {form}" for s in secrets for form in forms(s)),
                 f"cut: {said[-1][:40]}", "over"]
        return "\n".join(f"{code}{'-' if i < len(lines) - 1 else ' '}{line}" for i, line in enumerate(lines))
    return Call(play)


@pytest.mark.parametrize("step", ["LOGGED", "MAIL", "RCPT", "DATA", "END"])
def test_what_a_server_repeats_is_masked(site, provider, step):
    """In the reply to AUTH and in each one after it, of each mechanism, refused or not."""
    codes = {"LOGGED": ("535", "454", "235"), "END": ("535", "250")}.get(step, ("535",))
    for offered, kind, mechanism in MECHANISMS if step == "LOGGED" else (MECHANISMS[2], MECHANISMS[5]):
        for code in codes:
            server, = provider(587, kind, ehlo=[offered], **{step: parrot(code)})
            run = site.run()
            assert server.session.logins[0][0] == mechanism
            assert not leaks(run.report), (offered, code, run)
            if code != "235" and (step == "END" or code[0] in "45"):
                assert b"Remote host said: " + code.encode() + b"-I heard [" in run.report, run
                assert b"so <*>" in run.report and b"or *" in run.report and b"over" in run.report, run


def test_what_is_told_of_servers_that_failed_is_masked(site, provider):
    """In lines behind the reply of the last one."""
    reply = f"454 {SECRET} {base64.b64encode(SECRET.encode()).decode()}"
    site.home.control("tlspolicy", "m1.example:encrypt\n")
    provider(587, at=f"{ONE} {TWO}", LOGGED=reply)
    run = site.run()
    assert b"Remote host said: 454 * *\n" in run.report and not leaks(run.report), run
    assert b"\nAlso tried: m1.example (192.0.2." in run.report and b"authentication failed: 454 * *\n" in run.report, run


def test_a_user_name_does_not_hide_the_server(site, provider):
    """With many providers it is a domain, which is part of the name of the relay."""
    provider(587, users={"m1.example": SECRET}, END="250 for m1.example")
    site.home.control("smtpauth", f"m1.example|m1.example|{SECRET}\n")
    run = site.run()
    check(run, "r", accepted(ONE, "250 for *"))
    assert server_line(run) == "m1.example" and tls_line(run) == VERIFIED, run


def test_check_tool_shows_auth_and_no_secret(site, provider, look):
    for code, status in (("235", DELIVERED), ("535", DEFERRED), ("454", DEFERRED)):
        server, = provider(465, LOGGED=parrot(code))
        done = look()
        # The user is in a control file, and shown with it.
        shown = re.sub("^AUTH .*", "", done.stdout, flags=re.MULTILINE) + done.stderr
        assert done.returncode == status and not leaks(shown), done.stdout
        assert re.search(rf"^  AUTH +\d+ ms  PLAIN: {code} over$", done.stdout, re.MULTILINE), done.stdout
        if code != "235":
            assert "so <*>" in done.stdout, done.stdout
        found, = json_of(look("--json", "dst.example", host=None))
        assert not leaks(str(found["attempts"]) + str(found["result"]))
        steps = found["attempts"][-1]["steps"]
        assert [s["step"] for s in steps] == ["handshake", "greeting", "EHLO", "AUTH"]
        assert steps[-1]["mechanism"] == "PLAIN" and "mechanism" not in steps[2]
        server.settle()
        assert server.sessions[-1].verbs == ["EHLO", "AUTH", "QUIT"]


def test_no_process_shows_the_credentials(site, provider):
    """Not in arguments or environment, of any of ours, at AUTH and after it; no core file, no pipe that has them."""
    for step in ("LOGGED", "MAIL"):
        go = threading.Event()
        server, = provider(587, **{step: (Until(go), "235 in" if step == "LOGGED" else "250 ok")})
        process = site.home.start()
        session = server.wait_session()
        while not session.logins or step == "MAIL" and "MAIL" not in session.verbs:
            assert not session.done, session.end
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as f:
            ours = [process.pid, *map(int, f.read().split())]
        assert len(ours) == 2
        for pid in ours:
            for name in ("cmdline", "environ", "limits"):
                with open(f"/proc/{pid}/{name}", "rb") as f:
                    text = f.read()
                assert not leaks(text), text
            # Programs with sanitizers have no sandbox.
            assert re.search(rb"Max core file size +0 +0", text) or "sanitizer" in site.home.kind, text
        links = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")]
        assert sum(link.startswith("pipe:") for link in links) == 1, links
        go.set()
        run = process.finish()
        check(run, "r", accepted())
