"""Connections that are left for the next message, to Postfix, Exim and OpenSMTPD with limits of three.

Three connections from a client, but for OpenSMTPD, which counts none; three messages on a connection, but for Postfix,
which takes as many as there are.
"""

import collections
import re

import pytest

import realservers
from qmailsend import Queue
from realservers import CLEAR, TLS
from reuse import USER, Reuse
from test_stock import one_user

pytestmark = one_user

MESSAGES, AT_ONCE = 60, 20


class Postfix(realservers.Postfix):
    name, unpacked, number = "few-postfix", "postfix", 12
    refusal = "421 4.7.0 postfix.example Error: too many connections from "

    def configure(self):
        arguments = super().configure()
        with open(f"{self.folder}/etc/main.cf", "a", encoding="ascii") as f:
            # Addresses in mynetworks are not limited.
            f.write("smtpd_client_connection_count_limit = 3\nmynetworks = 127.0.0.9/32\n")
        return arguments


class Exim(realservers.Exim):
    name, unpacked, number = "few-exim", "exim", 13
    refusal = "421 Too many concurrent SMTP connections from this IP address"

    def configure(self):
        arguments = super().configure()
        path = f"{self.folder}/etc/exim.conf"
        with open(path, encoding="ascii") as f:
            text = f.read()
        with open(path, "w", encoding="ascii") as f:
            f.write("smtp_accept_max_per_host = 3\nsmtp_accept_max_per_connection = 3\n" + text)
        return arguments


class Opensmtpd(realservers.Opensmtpd):
    name, unpacked, number = "few-opensmtpd", "opensmtpd", 14
    refusal = None

    def configure(self):
        arguments = super().configure()
        path = f"{self.folder}/etc/smtpd.conf"
        with open(path, encoding="ascii") as f:
            text = f.read()
        with open(path, "w", encoding="ascii") as f:
            f.write("smtp limit max-mails 3\n" + text)
        return arguments


SERVERS = {"postfix": Postfix, "exim": Exim, "opensmtpd": Opensmtpd}


@pytest.fixture(scope="module", autouse=True)
def _stop():
    yield
    realservers.stop_all()


class OfUser:
    """A home whose deliveries are those of the broker's user."""

    def __init__(self, home):
        self.home, self.path = home, home.path

    def start(self, *args):
        return self.home.start(*args, **USER)


def message(n):
    return f"Subject: {n}\nFrom: <a@src.example>\nMessage-Id: <{n}@src.example>\n\nthe message {n}\n".encode()


@pytest.mark.parametrize("role, limit", [
    (TLS, 3), *(pytest.param(*more, marks=pytest.mark.long) for more in ((TLS, None), (CLEAR, 3), (CLEAR, None)))])
@pytest.mark.parametrize("name", SERVERS)
def test_each_message_arrives_once(home, dns, certs, name, role, limit):
    server = realservers.start(SERVERS[name], certs)
    if role == TLS and not server.can_do_tls:
        pytest.skip("before 7.3 OpenSMTPD offers STARTTLS, but cannot finish a handshake with OpenSSL 3")
    domain, host = server.domain(role, 4), server.host(role, 4)
    dns.zone(f"{domain} MX 10 {host}.\n{host} A {server.address(role, 4)}")
    if role == TLS:
        home.control("trustanchors", f"{certs.bundle}\n")
        home.control("tlsstrictness", "2\n")
    box = server.mailbox()
    if limit:
        home.control("concurrencyhosts", f"{host}:{limit}\nwait 60\n")
    reuse = Reuse(home).serve()
    home.control("timeoutidle", "60\n20\n3\n")
    try:
        results = deliver(home, box, domain)
        hits = reuse.shown()[2]["hits"]
    finally:
        reuse.stop()
    subjects = [re.search(rb"^Subject: (\d+)$", box.take(), re.MULTILINE)[1] for _ in range(MESSAGES)]
    assert collections.Counter(subjects) == {str(n).encode(): 1 for n in range(MESSAGES)}
    box.close()
    assert hits >= MESSAGES // 4
    with open(home.tcpto_path, "rb") as f:
        assert not any(f.read())
    refused = [r for r in results if r[:1] != b"K"]
    ours = f"Too many connections at the same time (control/concurrencyhosts: {host}:{limit})"
    for result in refused:
        text = result.decode()
        assert text[0] == "Z" and (ours in text or server.refusal and server.refusal in text), result


def deliver(home, box, domain):
    """All of them; returns what qmail-rspawn made of each delivery."""
    queue = Queue(OfUser(home), concurrency=AT_ONCE)
    for n in range(MESSAGES):
        queue.put("a@src.example", f"{box.user}@{domain}", message(n))
    everything = list(queue.waiting)
    for _ in range(100):
        queue.run()
        if not queue.waiting:
            return [result for m in everything for result in m.results]
    raise AssertionError(queue.waiting[0].results)
