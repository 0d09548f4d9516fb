"""Servers of which some die, refuse or defer, and what becomes of mail to each of their domains."""

import collections
import re
import threading

from smtpd import CLOSE, RESET, Call

EACH = 25       # messages to each domain
SENDER = "a@src.example"


class Greylist:
    """Each recipient is refused once."""

    def __init__(self):
        self.seen, self.lock = set(), threading.Lock()

    def __call__(self, session):
        recipient = session.commands[-1][1]
        with self.lock:
            known = recipient in self.seen
            self.seen.add(recipient)
        return "250 ok" if known else "450 4.7.1 greylisted, try later"


def domains():
    """By name of a domain: the scripts of its servers, in the order of preference, and what its bounces quote."""
    return {
        "good": ([{}], None),
        "second": ([{"greeting": RESET}, {}], None),
        "grey": ([{"RCPT": Call(Greylist())}], None),
        "busy": ([{"sessions": [{"greeting": "421 4.3.2 busy"}] * 7 + [{}]}], None),
        "dying": ([{"sessions": [{"MAIL": CLOSE}] * 3 + [{"DATA": ("354 go", RESET)}] * 3 + [{}]}], None),
        "unknown": ([{"RCPT": "550 5.1.1 no such user here"}], "550 5.1.1 no such user here"),
        "spam": ([{"END": "554 5.7.1 not wanted"}], "554 5.7.1 not wanted"),
        "full": ([{"MAIL": "552 5.2.2 mailbox full"}], "552 5.2.2 mailbox full"),
    }


class Crowd:
    """The domains in the DNS, their servers, and which messages arrived."""

    def __init__(self, smtp, dns):
        self.servers, self.bounces = [], {}
        for name, (scripts, bounce) in domains().items():
            self.bounces[f"{name}.example"] = bounce
            for n, script in enumerate(scripts):
                address = f"192.0.2.{len(self.servers) + 1}"
                self.servers.append(smtp(address, **script))
                dns.zone(f"{name}.example MX {10 + n} {name}{n}.example.\n{name}{n}.example A {address}")

    def recipients(self):
        """So that neighbours go to different domains."""
        return [f"u{n}@{domain}" for n in range(EACH) for domain in self.bounces]

    def bounce_of(self, recipient):
        return self.bounces[recipient.partition("@")[2]]

    def arrived(self):
        """How often each recipient's message was accepted."""
        count = collections.Counter()
        for server in self.servers:
            server.settle()
            for session in server.sessions:
                for mail in session.mails:
                    if mail.complete and b"250 got it" in session.sent:
                        count[mail.recipients[0].strip(b"<>").decode()] += 1
        return count


def is_readable(text, width=2000):
    """What an administrator, or the reader of a bounce, can make sense of."""
    return len(text) < width and re.fullmatch(r"[\n -~]*", text) is not None
