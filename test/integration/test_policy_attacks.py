"""What an attacker could gain who has the DNS, an MX host, a policy host or a recipient's address."""

import os
import subprocess
import time

import pytest

import httpsd
from httpsd import DEAF
from tlssite import Site, gone, programs, tls_line, told_nothing

POLICY_HOST = "192.0.2.80"
STATE = "/srv/qmail/run/qmail-remote"


class Target(Site):
    """dst.example, with an MTA-STS policy if it is published."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.hosts = []
        self.home.control("trustanchors", f"{self.certs.bundle}\n")

    def publish(self, *script, domain="dst.example", ident="1"):
        name = f"mta-sts.{domain}"
        self.dns.zone(f'_mta-sts.{domain} TXT "v=STSv1; id={ident};"\n{name} A {POLICY_HOST}')
        tls = self.certs.context(self.certs.leaf("good", name))
        server = httpsd.Server(POLICY_HOST, tls=tls, script=script)
        self.hosts.append(server)
        return server

    def stop(self):
        for server in self.hosts:
            server.stop()
        self.hosts.clear()


def remember(domain="dst.example", ident="1", mode="enforce", mx="m1.example", age=0, tried=None, max_age=604800):
    """Puts a policy into the cache that was fetched so many seconds ago."""
    now = int(time.time())
    with open(f"{STATE}/sts-{domain}", "w", encoding="ascii") as f:
        f.write(f"qmail-remote-sts 1\ndomain {domain}\nid {ident}\nfetched {now - age}\ntried {now - age} 0\n"
                f"used {now - age}\nmax-age {max_age}\nmode {mode}\nmx {mx}\ntext version: STSv1\nend\n")


@pytest.fixture
def target(home, smtp, dns, certs):
    target = Target(home, smtp, dns, certs)
    yield target
    target.stop()


# An address chosen by a sender.

@pytest.mark.parametrize("line, host", [
    ("dst.example:verify", "dst.example."), ("dst.example.:verify", "dst.example"), (".example:verify", "dst.example."),
])
def test_a_dot_at_the_end_is_no_way_round_a_line(target, line, host):
    """It is the same domain for the DNS, and whoever writes a recipient's address can add it."""
    target.mx()
    server = target.server(cert="self-signed")
    target.home.control("tlspolicy", line + "\n")
    run = target.run(host=host)
    assert run.letters == "Z", run
    told_nothing(*server.sessions)


def test_a_dot_at_the_end_is_no_way_round_a_file(target):
    target.dns.zone("dst.example A 192.0.2.1")
    server = target.server(cert="self-signed", host="dst.example")
    os.mkdir("/srv/qmail/control/tlshosts")
    with open(target.certs.bundle, "rb") as f:
        target.home.control("tlshosts/dst.example.pem", f.read())
    run = target.run(host="dst.example.")
    assert run.letters == "Z", run
    told_nothing(*server.sessions)


@pytest.mark.parametrize("host", ["[192.0.2.1]", "[192.0.2.001]", "[::ffff:192.0.2.1]", "::ffff:c000:201"])
def test_another_way_to_write_an_address_is_no_way_round_a_line(target, host):
    server = target.server()
    target.home.control("tlspolicy", "192.0.2.1:verify\n")
    assert target.run(host=host).letters == "Z"
    told_nothing(*server.sessions)


# A policy host that does not answer, and a state directory that takes nothing.

@pytest.mark.timed
def test_a_delivery_is_held_for_mtasts_once(target):
    """The new policy is waited for; then no host matches the old one, and the same fetch is still under way."""
    target.mx()
    target.server()
    target.home.control("mtasts", "2\n")
    remember(mx="other.example", age=1000)
    target.publish(DEAF, ident="2")
    run = target.run()
    target.stop()
    assert run.letters == "Z" and run.lasted(3.5), run
    gone()


def test_a_refresh_that_cannot_be_kept(target):
    """Otherwise each delivery would start one, and no place would limit them."""
    target.mx()
    target.server()
    target.home.control("mtasts", "2\n")
    remember(age=90000)
    server = target.publish(DEAF)
    for name in ("sts.new-dst.example", *(f"sts.lock.{n}" for n in range(8))):
        os.mkdir(f"{STATE}/{name}")
    assert [target.run().letters for _ in range(3)] == ["rK"] * 3
    assert not server.sessions and not programs("qmail-remote-st")


# What qmail-remote-check says.

@pytest.fixture
def look(pytestconfig):
    def run(*words):
        program = f"{pytestconfig.option.build}/qmail-remote-check"
        return subprocess.run([program, *words], capture_output=True, text=True, timeout=60, check=False).stdout.splitlines()
    return run


@pytest.mark.parametrize("mode, mx, cert", [
    ("enforce", "m1.example", "good"), ("testing", "m1.example", "good"), ("testing", "m1.example", "wrong-name"),
    ("testing", "m2.example", "good"),
])
def test_check_has_the_last_line_of_a_report(target, look, mode, mx, cert):
    target.mx()
    target.server(cert=cert)
    target.home.control("mtasts", "2\n")
    remember(mode=mode, mx=mx)
    said = [line.split(None, 1)[1] for line in look("dst.example") if line.startswith("  TLS ")]
    assert len(said) == 1 and "MTA-STS" in said[0]
    assert said[0].replace("X25519MLKEM768", "X25519") == tls_line(target.run())


def test_a_line_without_a_colon_is_not_ignored(target, look):
    """Unless it is one of smtproutes."""
    target.home.control("tlspolicy", "dst.example verify\n")
    target.home.control("smtproutes", "a.example\n")
    said = [line.strip() for line in look()]
    assert "warning: dst.example: mail is deferred, because it has no colon" in said
    assert "warning: a.example: ignored, because it has no colon" in said


def test_all_tries_an_address_under_each_name(target, look):
    """A delivery would, if the certificate did not verify for the first."""
    target.want(2)
    target.dns.zone("dst.example MX 10 m1.example.\ndst.example MX 20 m2.example.\n"
                    "m1.example A 192.0.2.1\nm2.example A 192.0.2.1")
    target.server()
    said = look("--all", "dst.example")
    assert [line.split()[1] for line in said if line.startswith("connected")] == ["m1.example", "m2.example"]
    assert [line.split(":")[1].strip() for line in said if "PKIX:" in line] == ["verifies", "name mismatch"]
