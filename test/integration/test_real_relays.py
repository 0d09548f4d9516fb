"""Mail through relays that want a user and a password, or a token: Postfix with Dovecot's SASL, Exim, OpenSMTPD."""

import re

import pytest

import realrelays
import realservers
import world
from realrelays import PASSWORD, PORTS, RELAYS, USER, token
from realservers import added
from test_real_mail import TLS13

# With all that a relay would add.
MESSAGE = (b"Subject: x\nFrom: <a@src.example>\nMessage-Id: <1@src.example>\nDate: Sun, 29 Nov 2026 12:00:00 +0000\n"
           b"To: <b@dst.example>\n\nhi\n")
WRONG_KEY = b"a key that only we know, of 32 bytes or more"

# Server and mechanism, and what it takes: the password, or a token.
PAIRS = [(name, role) for name, relay in RELAYS.items() for role in relay.roles]
SECRETS = {"PLAIN": "password", "LOGIN": "password", "OAUTHBEARER": "token", "XOAUTH2": "token"}


@pytest.fixture(scope="session", autouse=True)
def _stop():
    yield
    realservers.stop_all()


class Provider:
    """One test's view of a relay, at the address where it offers this mechanism."""

    def __init__(self, home, certs, name, role):
        self.home, self.role = home, role
        realservers.start(realservers.Unbound)
        if name == "postfix":
            realservers.start(realrelays.Dovecot)
        self.server = realservers.start(RELAYS[name], certs)
        home.control("trustanchors", certs.bundle + "\n")
        self.box = self.server.mailbox()

    def login(self, user=USER, secret=None):
        """The credentials: right ones, if nothing else is said."""
        wanted = SECRETS[self.role]
        if wanted == "token":
            self.home.control("token", (secret or token()) + "\n")
        self.home.control("smtpauth", f"{self.server.host(self.role)}|{user}|"
                          f"{secret or PASSWORD if wanted == 'password' else 'token=control/token'}\n")

    def send(self, port):
        self.home.route(f":{self.server.host(self.role)}:{port}")
        return self.home.run(recipients=[f"{self.box.user}@dst.example"], message=MESSAGE)


@pytest.fixture
def provider(home, certs):
    made = []

    def make(name, role):
        world.resolv_conf(f"nameserver {realservers.RESOLVER}\n")
        made.append(Provider(home, certs, name, role))
        return made[-1]

    yield make
    for each in made:
        each.box.close()
    world.resolv_conf()


@pytest.mark.parametrize("name, role", PAIRS)
def test_mail_arrives_from_a_user(provider, name, role):
    """On both ports, in TLS, and with a certificate that verifies though strictness does not ask for it."""
    relay = provider(name, role)
    relay.login()
    host = relay.server.host(role)
    for port in PORTS:
        run = relay.send(port)
        assert run.letters == "rK", (port, run, relay.server.said())
        lines = run.message.text.decode().replace("X25519MLKEM768", "X25519").split("\n")
        assert lines[-2] == f"{TLS13}certificate verified for {host}", run
        head = added(relay.box.take(), MESSAGE)
        assert re.search(relay.server.tells, head, re.IGNORECASE), head


def wrong(role):
    """(user, secret) that the relay does not take."""
    if SECRETS[role] == "password":
        yield USER, "wrong" + PASSWORD
    else:
        yield USER, token(key=WRONG_KEY)
        yield USER, token(lifetime=-5)
        yield USER, "no-token-at-all"


@pytest.mark.parametrize("name, role", PAIRS)
def test_a_refused_user_waits(provider, name, role):
    """The mail is deferred with the relay's reply, and the password is not shown."""
    relay = provider(name, role)
    address = relay.server.address(role)
    for user, secret in wrong(role):
        relay.login(user, secret)
        for port in PORTS:
            run = relay.send(port)
            first = f"Connected to {address} but my credentials were rejected. (#4.7.8)\nRemote host said: 535"
            assert run.letters == "Z" and run.message.text.startswith(first.encode()), run
            assert secret.encode() not in run.report
    assert relay.box.count() == 0


@pytest.mark.parametrize("name", RELAYS)
def test_a_password_where_only_tokens_are_taken_and_the_reverse(provider, name):
    """And nothing is sent to a relay without a user: it says what it wants."""
    relay = provider(name, "PLAIN")
    run = relay.send(587)
    assert run.letters[:1] in "Zsh" and relay.box.count() == 0, run
    if name != "postfix":
        return
    relay.role = "XOAUTH2"
    relay.home.control("smtpauth", f"|{USER}|{PASSWORD}\n")
    run = relay.send(465)
    assert run.letters == "Z" and b"it wants an access token, and I have a password" in run.report, run
    relay.role = "LOGIN"
    relay.home.control("token", token())
    relay.home.control("smtpauth", f"|{USER}|token=control/token\n")
    run = relay.send(465)
    assert run.letters == "Z" and b"it wants a password, and I have an access token" in run.report, run
