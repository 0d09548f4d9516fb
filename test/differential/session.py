"""One message and one program of the differential test: deliveries until it is no longer deferred.

qmail-rspawn passes one recipient at a time; other callers may pass several. Here all recipients of a script are in
one delivery, and the deferred ones are tried again, as a queue does.
"""

import os
import re

import rspawn
import smtpd
from expect import stored
from judge import VERBS
from scripts import SENDER, TRIES, Played

ADDRESS = "192.0.2.1"
STATUS = re.compile(rb" \(#\d\.\d+\.\d+\)")


def whole_reply(said):
    """The code of the first reply in these bytes, parsed tolerantly; 0 if there is none."""
    code = b""
    for line in re.findall(rb"[^\n]*\n", said):
        found = re.match(rb"([0-9]{3})(?![0-9])(.?)", line, re.DOTALL)
        if not found:
            continue
        if code and found.group(1) != code:
            return 0
        code = found.group(1)
        if found.group(2) != b"-":
            return int(code)
    return 0


def content(mail):
    """The message as the server stores it; the raw mail data if its last line is not complete."""
    whole = mail.wire == b".\r\n" or mail.wire.endswith(b"\r\n.\r\n")
    return mail.text if whole else mail.wire


class Try:
    """One delivery, and what the server received."""

    def __init__(self, run, sessions, addresses):
        self.run, self.addresses = run, addresses
        self.sent = b"".join(bytes(s.sent) for s in sessions)
        self.mails = [m for s in sessions for m in s.mails]
        self.commands = [line for s in sessions for _, line in s.commands]
        self.connections = len(sessions)
        try:
            self.records = run.records
            self.malformed = ""
        except rspawn.Malformed as e:
            self.records, self.malformed = [rspawn.Record("Z", b"malformed\n")], str(e)
        self.letters = "".join(r.letter for r in self.records)
        self.message = self.records[-1]

    @property
    def sentence(self):
        """The first line of the message record, without the address."""
        first = self.message.first.decode("latin-1").replace(ADDRESS, "IP")
        return re.sub(r"\d+ bytes", "N bytes", first)

    @property
    def replies(self):
        """The server's reply in each record."""
        texts = [r.text.partition(b"Remote host said: ")[2] for r in self.records]
        return [re.sub(rb"\nTLS: .*\n\Z", b"\n", t, flags=re.DOTALL) for t in texts]

    def _having(self, address, which):
        name = address.encode()
        return [m for m in self.mails if m.complete and which(m) and any(name in r for r in m.recipients)]

    def confirmed(self, address):
        """Messages for this recipient that the server has confirmed."""
        return self._having(address, lambda m: whole_reply(getattr(m, "said", b"")) // 100 == 2)

    def taken(self, address):
        """Messages for this recipient that are in the server's queue now, confirmed or not."""
        return self._having(address, lambda m: getattr(m, "taken", False))

    def fates(self):
        """{address: delivered, deferred or bounced}, for a queue that reads all records."""
        found = {}
        for address, record in zip(self.addresses, [*self.records[:-1], *[None] * len(self.addresses)]):
            letter = record.letter if record else "r"
            whole = {"K": "delivered", "Z": "deferred", "D": "bounced"}[self.message.letter]
            found[address] = {"h": "bounced", "s": "deferred"}.get(letter, whole)
        if len(self.addresses) == 1:
            letter = self.run.rspawn[:1]
            found[self.addresses[0]] = {b"K": "delivered", b"Z": "deferred", b"D": "bounced"}[letter]
        return found


class Story:
    """All deliveries of a script's message by one program."""

    def __init__(self, script, tries):
        self.script, self.tries = script, tries
        self.first = tries[0]
        self.fate, self.copies = {}, {}
        for address in script.addresses:
            last = [t for t in tries if address in t.addresses][-1]
            self.fate[address] = last.fates()[address]
            self.copies[address] = sum(len(t.taken(address)) for t in tries)

    def false_success(self):
        """Recipients reported as delivered for whom the server has not confirmed the complete message."""
        for t in self.tries:
            for address, fate in t.fates().items():
                if fate != "delivered":
                    continue
                mails = t.confirmed(address)
                if not mails:
                    yield f"{address} reported as delivered, and the server has not confirmed it"

    def in_doubt(self):
        """Whether all deliveries except the last reported that the server may have the message."""
        return all(b"Possible duplicate!" in t.run.report for t in self.tries[:-1])

    def had_no_answer(self):
        """Whether a server got a whole message and did not answer its end."""
        return any(m.complete and whole_reply(getattr(m, "said", b"")) == 0 for t in self.tries for m in t.mails)

    def wrong_bytes(self):
        """Recipients who got other bytes than the message."""
        for t in self.tries:
            for address in t.addresses:
                for mail in t.taken(address):
                    if content(mail) != stored(self.script.message):
                        yield f"{address} got other bytes than those of the message"

    def strays(self):
        """Lines that were sent as commands and are not commands."""
        for t in self.tries:
            for line in t.commands:
                verb = line.split(b":")[0].split(b" ")[0].upper().decode("latin-1")
                if verb not in VERBS:
                    yield f"sent as a command: {line[:60]!r}"
            if sum(line.upper().startswith(b"MAIL FROM:<FORGED") for line in t.commands):
                yield "text of the message sent as a command"

    def false_bounces(self):
        """Recipients that bounced although the server has refused nothing permanently."""
        for t in self.tries:
            refused = re.search(rb"(^|\n)5\d\d", t.sent) or b"(#5.3.4)" in t.run.report
            if not refused and "bounced" in t.fates().values():
                yield f"bounced without a refusal: {t.run.report!r}"

    def failures(self):
        for t in self.tries:
            if t.run.status != 0:
                yield f"wait status {t.run.status}"
            if t.malformed:
                yield t.malformed


def play(script, home, program):
    """Play a script with a program, in a home that clean() has reset."""
    played = Played(script, False).steps()
    sessions = [played, Played(script, True).steps()] if script.once else [played]
    server = smtpd.Server(ADDRESS, sessions=sessions)
    tries, addresses = [], script.addresses
    try:
        while addresses and len(tries) < TRIES:
            before = len(server.sessions)
            process = home.start(sender=SENDER, recipients=addresses, message=script.message, program=program)
            run = process.finish(120)
            home.processes.clear()
            server.settle(60)
            tries.append(Try(run, server.sessions[before:], addresses))
            addresses = [a for a, fate in tries[-1].fates().items() if fate == "deferred"]
    finally:
        server.stop()
    rspawn.reap()
    return Story(script, tries)


def clean(home, script):
    """Reset the home for one script."""
    for path in (home.run_path,):
        for name in os.listdir(path):
            os.unlink(f"{path}/{name}")
    home.tcpto(b"")
    home.control("timeoutremote", f"{script.timeout}\n")
    home.control("timeoutconnect", "20\n")
    home.route(f":{ADDRESS}:25")
