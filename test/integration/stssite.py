"""A domain with an MTA-STS policy: its record, its policy host, what a delivery makes of them."""

import os
import time

import httpsd
import tlssite
from httpsd import reply
from smtpd import CLOSE, Read
from tlssite import V13

DOMAIN = "dst.example"
POLICY_HOST = "192.0.2.80"
STATE = "/srv/qmail/run/qmail-remote"

# The last line of a report.
ENFORCED = V13.replace("certificate ", "MTA-STS, certificate verified for ")
TESTED = V13.replace("certificate ", "MTA-STS testing, certificate verified for ")

# A server that agrees to STARTTLS, and says something else in place of its part of a handshake.
NO_HANDSHAKE = ("220 go", Read(5), b"no TLS\r\n", CLOSE)

NO_HOST = "Sorry, no host meets the TLS policy. (#4.7.5)"
UNLISTED = "the MTA-STS policy of the domain does not list it"


def failed_test(reason):
    """The last line in testing mode, where a host would not be used, or not so."""
    return V13.replace("certificate ", f"MTA-STS testing: {reason}, certificate not verified")


def policy(*mx, mode="enforce", age=604800):
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {name}" for name in mx), f"max_age: {age}"]
    return "".join(f"{line}\n" for line in lines)


def path_of(domain=DOMAIN):
    return f"{STATE}/sts-{domain}"


def make_older(seconds, domain=DOMAIN):
    """All times in an entry of the cache, once it is written: a delivery gets the policy before that."""
    tlssite.gone(timeout=12)
    lines = []
    with open(path_of(domain), encoding="ascii") as f:
        for line in f.read().split("\n"):
            key, _, value = line.partition(" ")
            if key in ("fetched", "tried", "used"):
                first, blank, rest = value.partition(" ")
                line = f"{key} {int(first) - seconds}{blank}{rest}"
            lines.append(line)
    with open(path_of(domain), "w", encoding="ascii") as f:
        f.write("\n".join(lines))


def wait_for(is_so, timeout=20):
    end = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


class StsSite(tlssite.Site):
    """dst.example and its MX hosts, as in tlssite, with a policy host for any domain."""

    def __init__(self, home, smtp, dns, certs):
        super().__init__(home, smtp, dns, certs)
        self.hosts = []
        home.control("trustanchors", f"{certs.bundle}\n")
        home.control("mtasts", "20\n")

    def stop(self):
        for server in self.hosts:
            server.stop()

    def record(self, ident="1", domain=DOMAIN):
        """The record of MTA-STS, in place of the one there is; None for no record."""
        self.dns.forget(f"_mta-sts.{domain}")
        if ident:
            self.dns.zone(f'_mta-sts.{domain} TXT "v=STSv1; id={ident};"')

    def host(self, *script, domain=DOMAIN, leaf="good", address=POLICY_HOST):
        """The policy host: a script of httpsd, or the policy."""
        name = f"mta-sts.{domain}"
        self.dns.zone(f"{name} A {address}")
        script = [reply(s) if isinstance(s, str) else s for s in script]
        server = httpsd.Server(address, tls=self.certs.context(self.certs.leaf(leaf, name)), script=script)
        self.hosts.append(server)
        return server

    def publish(self, *script, domain=DOMAIN, **how):
        self.record(domain=domain)
        return self.host(*script, domain=domain, **how)

    def asked_for_policies(self):
        return [(name, kind) for name, kind in self.dns.questions if "_mta-sts" in name or name.startswith("mta-sts")]

    def has_entry(self, domain=DOMAIN):
        return os.path.exists(path_of(domain))

    def unsent(self, *servers):
        """These heard nothing of the mail, in clear text or in TLS."""
        for server in servers or self.servers:
            for session in server.sessions[self.seen.get(server, 0):]:
                tlssite.told_nothing(session)
                assert not {"MAIL", "RCPT", "DATA"} & set(session.verbs), session.verbs
