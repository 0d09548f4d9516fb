"""doc/LOGGING.md: each command there prints what the page says, of a log that our programs have written here.

With LOGGING_RECORD=1 in the environment, what they print is written into the page.
"""

import os
import re
import signal
import subprocess

import pytest

from qmailsend import Queue
from signed import tlsa
from smtpd import CLOSE
from stssite import NO_HANDSHAKE, policy
from test_queue import message_for

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "doc", "LOGGING.md")
SENDER = "you@src.example"


def command_of(block):
    """The command and the rest: it ends with the first line with which the shell has all of it."""
    lines = block.removeprefix("$ ").splitlines(keepends=True)
    for n in range(1, len(lines) + 1):
        command = "".join(lines[:n])
        if not command.endswith(("\\\n", "|\n")) and subprocess.run(
                ["sh", "-n", "-c", command], check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return command, "".join(lines[n:])
    raise AssertionError(block)


def commands():
    """(command, what it prints), of each block of the page that begins with a prompt."""
    with open(PAGE, encoding="utf-8") as f:
        blocks = re.findall(r"(?m)(?:^    .*\n)+", f.read())
    for block in blocks:
        text = re.sub(r"(?m)^    ", "", block)
        if text.startswith("$ "):
            yield command_of(text)


class Scene:
    """Domains of which each has something to tell, and the log of deliveries to them."""

    def __init__(self, sts):
        self.site, self.count, self.recipients = sts, 0, []
        self.policies = []

    def domain(self, name, cert="good", level=None, listed=None, hosts=1, **script):
        """mx.NAME.example, with a line in tlspolicy, or an MTA-STS policy with another host."""
        domain, site = f"{name}.example", self.site
        self.recipients.append(f"friend@{domain}")
        for n in range(hosts):
            host, self.count = f"mx{n + 1}.{domain}", self.count + 1
            site.dns.zone(f"{domain} MX {10 * n} {host}.\n{host} A 192.0.2.{self.count}")
        if script is not None and script.get("sessions") != []:
            site.server(f"192.0.2.{self.count}", cert=cert, host=host, **script)
        if level:
            self.policies.append(f"{domain}:{level}\n")
        if listed:
            site.record(domain=domain)
            site.host(policy(listed), domain=domain, address=f"192.0.2.{200 + self.count}")
        return host

    def nothing(self, name, zone=""):
        """A domain without a server."""
        self.recipients.append(f"friend@{name}.example")
        self.site.dns.zone(zone)

    def provider(self, name):
        """Its relay refuses our password."""
        self.recipients.append(f"friend@{name}.example")
        self.count += 1
        host = f"relay.{name}.example"
        self.site.dns.zone(f"{host} A 192.0.2.{self.count}")
        self.site.home.route(f"{name}.example:{host}|user|hunter2")
        self.site.server(f"192.0.2.{self.count}", host=host, ehlo=["AUTH PLAIN"], AUTH="535 5.7.8 Wrong password")

    def dane(self, host, domain):
        site = self.site
        site.dns.zone(f"_25._tcp.{host} TLSA {tlsa('3 1 1', site.certs, site.certs.leaf('good', host))}")
        site.dns.sign(domain)
        site.home.control("dane", "1\n")

    def deliver(self):
        home = self.site.home
        home.control("tlspolicy", "".join(self.policies))
        queue = Queue(home, concurrency=1)
        for recipient in self.recipients:
            queue.put(SENDER, recipient, message_for(recipient))
        queue.run()
        queue.waiting.clear()
        for meddle, mistake in ((lambda delivery: os.kill(delivery.pid, signal.SIGKILL), None), (None, "yes\n")):
            queue.meddle = meddle
            home.control("dane", mistake)
            queue.put(SENDER, self.recipients[0], message_for(self.recipients[0]))
            queue.run()
            queue.waiting.clear()
        return "".join(f"{line}\n" for line in queue.log).replace("X25519MLKEM768", "X25519")


@pytest.fixture
def log(sts, tmp_path):
    """The file that the page calls `log`."""
    scene = Scene(sts)
    scene.domain("tls")
    scene.domain("plain", cert=None)
    scene.domain("partner", level="verify")
    scene.dane(scene.domain("dane"), "dane.example")
    scene.domain("sts", listed="mx1.sts.example")
    scene.domain("old", STARTTLS=NO_HANDSHAKE)
    scene.domain("second", hosts=2)
    scene.domain("expired", cert="expired", level="verify")
    scene.domain("stripped", cert=None, level="encrypt")
    scene.domain("unlisted", listed="elsewhere.example")
    scene.domain("grey", RCPT="450 4.7.1 Greylisted, come back")
    scene.domain("busy", greeting="421 4.3.2 Too busy")
    scene.domain("down", sessions=[])
    scene.domain("cut", END=CLOSE)
    scene.domain("unknown", RCPT="550 5.1.1 No such user")
    scene.provider("provider")
    scene.nothing("broken")
    sts.dns.rule("broken.example", "MX", rcode="SERVFAIL")
    scene.nothing("gone")
    scene.nothing("nomail", "nomail.example MX 0 .")
    (tmp_path / "log").write_text(scene.deliver(), encoding="ascii")
    return tmp_path / "log"


def test_each_command_prints_what_the_page_says(log):
    found = []
    for command, printed in commands():
        done = subprocess.run(["sh", "-c", command], cwd=log.parent, check=False, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
        found.append((command, done.stdout))
        if "LOGGING_RECORD" in os.environ:
            continue
        assert done.stdout == printed, command
    if "LOGGING_RECORD" in os.environ:
        record(found)
    assert len(found) > 8


def record(found):
    """Write what the commands print into the page."""
    with open(PAGE, encoding="utf-8") as f:
        text = f.read()
    for command, printed in found:
        shown = "".join(f"    {line}\n" for line in f"$ {command}".splitlines())
        at = text.index(shown) + len(shown)
        end = at + len(re.match(r"(?:    .*\n)*", text[at:])[0])
        text = text[:at] + "".join(f"    {line}\n" for line in printed.splitlines()) + text[end:]
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(text)
