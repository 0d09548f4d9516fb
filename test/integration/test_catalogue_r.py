"""The catalogue, group R: AUTH, and TLS from the first byte.

m1.example is a relay here, with one address or with two; test_login.py has more of the dialogue.
"""

import base64
import itertools

from catalogue import ONE, TWO, Case, Setup, Start, Want, says, table
from smtpd import CLOSE, DEAF, Call

USER, PASSWORD, TOKEN = "relay-user", "correct horse", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"
VERIFIED = "certificate verified for m1.example"
EVERYWHERE = ("opp", "enc", "ver12", "ver13")
MEGABYTE = 1 << 20


def relay(port=587, login="password", offered=("AUTH PLAIN LOGIN",), **how):
    """A relay; `login` is what we have for it: "password", "token" or None."""
    control = {"smtproutes": f":m1.example:{port}\n", "token": TOKEN + "\n", **dict(how.pop("control", {}))}
    users = None
    if login:
        control["smtpauth"] = f"m1.example|{USER}|{PASSWORD if login == 'password' else 'token=control/token'}\n"
        users = {USER: PASSWORD if login == "password" else TOKEN}
    return Setup(control=control, **{"port": port, "implicit": port == 465, "users": users, "ehlo": list(offered), **how})


def deferred(*texts, sends=()):
    """Z, and no session has heard of the mail, nor of the credentials unless they were asked for."""
    def check(stage):
        says(*texts)(stage)
        for session in stage.sessions:
            assert not {"MAIL", "RCPT", "DATA", *(() if "AUTH" in sends else ("AUTH",))} & set(session.verbs), session.verbs
            assert b"AUTH" not in session.clear
        assert PASSWORD.encode() not in stage.run.report and TOKEN.encode() not in stage.run.report
    return Want("Z", check=check, secret=True)


def delivered(mechanism=None, proof=VERIFIED):
    def check(stage):
        session = stage.sessions[-1]
        assert [login[0] for login in session.logins] == ([mechanism] if mechanism else []), session.logins
        assert "STARTTLS" not in session.verbs or not session.server.implicit
    return Want("K", check=check, proof=proof, secret=True)


def second(setup, unused=False):
    """The relay has another address, where all is well; it gets the mail, or is not tried."""
    def prepare(stage):
        stage.dns.zone(f"m1.example A {TWO}")
        how = {k: setup.script[k] for k in ("port", "implicit", "users", "ehlo")}
        stage.other = stage.server(TWO, **how)

    setup.prepare = prepare
    return setup


def other_is_used(stage):
    assert stage.other.connections == 1 and stage.mails[0] in stage.other.mails


def other_is_unused(stage):
    assert stage.other.connections == 0


def both(name, make, want, *, over="opp"):
    """Z with one address; with two, the other one gets the mail."""
    yield Case(name, make(), want, over=over)
    yield Case(f"{name}-other", second(make()), Want("K", check=other_is_used, proof=lambda s: ".*", secret=True), over=over)


def implicit_cases():
    yield Case("R1-offered", relay(465, None, ["STARTTLS", "PIPELINING"]), delivered(proof=None), over=EVERYWHERE)
    yield Case("R1-no-anchors", relay(465, None, control={"trustanchors": None}),
               delivered(proof="certificate not verified"), over="opp")
    failed = deferred("but TLS failed. (#4.7.5)")
    for name, how in (("speaks", dict(implicit=False, greeting=("220 hi", DEAF))), ("hangs-up", dict(implicit=False, greeting=CLOSE)),
                      ("alert", dict(implicit=False, greeting=(b"\x15\x03\x03\0\x02\x02\x28", CLOSE))),
                      ("silent", dict(implicit=False, greeting=DEAF))):
        yield Case(f"R2-{name}", relay(465, None, **how), failed, over=("opp", "ver13") if name == "speaks" else "opp")
    yield Case("R2-wrong-name", relay(465, None, cert="wrong-name"), failed, over="ver13")
    for name, script, text in (("554", dict(greeting="554 no"), "greeting failed."),
                               ("closed", dict(greeting=CLOSE), "TLS failed."),
                               ("nonsense", dict(greeting=b"SSH-2.0-x\r\n2x\r\n2200 hi\r\n"), "greeting failed."),
                               ("no-ehlo", dict(EHLO=CLOSE), "TLS failed."),
                               ("no-hello", dict(EHLO="500 no", HELO="500 no"), "my name was rejected.")):
        yield from both(f"R3-{name}", lambda script=script: relay(465, None, **script), deferred(text))


def mechanism_cases():
    for name, offered, login, mechanism in (
            ("all", ["AUTH XOAUTH2 CRAM-MD5 LOGIN OAUTHBEARER PLAIN"], "password", "PLAIN"),
            ("all-token", ["AUTH XOAUTH2 CRAM-MD5 LOGIN OAUTHBEARER PLAIN"], "token", "OAUTHBEARER"),
            ("login", ["AUTH LOGIN"], "password", "LOGIN"), ("old", ["AUTH=LOGIN"], "password", "LOGIN"),
            ("lower-case", ["auth login plain"], "password", "PLAIN"),
            ("xoauth2", ["AUTH XOAUTH2 PLAIN"], "token", "XOAUTH2"),
            ("two-lines", ["AUTH CRAM-MD5", "AUTH=LOGIN PLAIN"], "password", "PLAIN")):
        for port in (587, 465):
            yield Case(f"R4-{name}-{port}", relay(port, login, offered), delivered(mechanism), over="opp")
    for name, offered, login, text in (
            ("none", ["PIPELINING"], "password", "does not offer AUTH. (#4.7.4)"),
            ("unknown", ["AUTH CRAM-MD5"], "token", "offers no AUTH mechanism that I know. (#4.7.4)"),
            ("tokens", ["AUTH XOAUTH2"], "password", "wants an access token, and I have a password. (#4.7.4)"),
            ("passwords", ["AUTH PLAIN"], "token", "wants a password, and I have an access token. (#4.7.4)")):
        yield Case(f"R5-{name}", relay(465, login, offered), deferred(text, f"250 {offered[0]}"), over="opp")


def refusal_cases():
    for code in ("535", "534", "530", "501", "504"):
        step = "LOGGED" if code[1] == "3" else "AUTH"
        want = deferred("my credentials were rejected. (#4.7.8)", f"Remote host said: {code} no", sends=["AUTH"])
        yield Case(f"R6-{code}", relay(**{step: f"{code} no"}), want, over="opp")
    want = deferred("my credentials were rejected. (#4.7.8)", sends=["AUTH"])
    yield Case("R6-response", relay(offered=["AUTH LOGIN"], AUTH="535 no user"), want, over="opp")
    setup = second(relay(465, LOGGED="535 no"))
    yield Case("R6-535-other", setup, Want("Z", check=other_is_unused, secret=True), over="opp")

    failed = deferred("authentication failed. (#4.7.0)", sends=["AUTH"])
    died = deferred("connection died. (#4.4.2)", sends=["AUTH"])
    for name, script, want in (
            ("454", dict(LOGGED="454 later"), failed), ("421", dict(LOGGED=("421 bye", CLOSE)), failed),
            ("challenge", dict(AUTH="334 more"), failed), ("354", dict(AUTH="354 go"), failed),
            ("nonsense", dict(AUTH=b"2355 hi\r\n"), failed), ("closed", dict(AUTH=CLOSE), died),
            ("half", dict(AUTH=(b"235 2.7", CLOSE)), died)):
        yield from both(f"R7-{name}", lambda script=script: relay(465, **script), want)
    yield Case("R8-unseen", relay(offered=["AUTH LOGIN"], AUTH="235 in"), failed, over="opp")
    yield Case("R8-two-at-once", relay(offered=["AUTH LOGIN"], AUTH=b"334 \r\n235 in\r\n"), failed, over="opp")


def clear_cases():
    for name, how, text in (("not-offered", dict(cert=None), "does not offer STARTTLS. (#4.7.4)"),
                            ("refused", dict(STARTTLS="454 no"), "STARTTLS was refused. (#4.7.4)"),
                            ("no-handshake", dict(STARTTLS=("220 go", CLOSE)), "TLS failed. (#4.7.5)"),
                            ("self-signed", dict(cert="self-signed"), "TLS failed. (#4.7.5)"),
                            ("wrong-name", dict(cert="wrong-name"), "TLS failed. (#4.7.5)")):
        yield Case(f"R9-{name}", relay(587, **how), deferred(text), over=("opp", "enc", "ver13"))
    yield Case("R9-wrong-name-465", relay(465, cert="wrong-name"), deferred("TLS failed. (#4.7.5)"), over=("opp", "ver13"))


def echo(code):
    def play(session):
        said = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
        return f"{code}-{USER} {PASSWORD}\n{code}-{said} {said[:20]}\n{code} {base64.b64encode(PASSWORD.encode()).decode()}"
    return Call(play)


def echo_cases():
    for step, code, letter in (("LOGGED", "535", "Z"), ("MAIL", "550", "D"), ("RCPT", "450", "Z"), ("DATA", "550", "D"),
                               ("END", "250", "K")):
        want = Want(letter, check=says(f"Remote host said: {code}-* *\n{code}-* *\n{code} *\n"), proof=VERIFIED, secret=True)
        yield Case(f"R10-{step}", relay(465, **{step: echo(code)}), want, over="opp")


def endless(line):
    """The same line again and again, until the client has enough of it."""
    return Call(lambda session: [session.send(line * 1000) for _ in itertools.count()] and None)


def size_cases():
    many = ["AUTH " + " ".join(f"X{n}-{i}" for i in range(100)) for n in range(MEGABYTE // 1000)]
    yield Case("R11-long-lines", relay(465, offered=["AUTH " + "X" * 2000, "AUTH PLAIN"]), delivered("PLAIN"), over="opp")
    yield Case("R11-many-lines", relay(465, offered=[*many[:500], "AUTH PLAIN"]), delivered("PLAIN"), over="opp")
    long = Call(lambda session: f"334 {'x' * 100000}")
    failed = deferred("authentication failed. (#4.7.0)", sends=["AUTH"])
    yield Case("R11-challenge", relay(465, AUTH=long), failed, over="opp")
    yield Case("R11-endless", relay(465, AUTH=endless(b"334-more\r\n")), failed, over="opp")
    token = "t" * 8000

    def set_token(stage):
        stage.home.control("token", token + "\n")
        stage.first.users[USER] = token

    yield Case("R12-token", relay(465, "token", ["AUTH XOAUTH2"], prepare=set_token), delivered("XOAUTH2"), over="opp")


CASES = [*implicit_cases(), *mechanism_cases(), *refusal_cases(), *clear_cases(), *echo_cases(), *size_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
