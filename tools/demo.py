#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Deliver one message in a private network, and show the report, the dialogue and the times.

usage: demo.py BUILD-DIRECTORY [MESSAGE-FILE]
"""
import os
import re
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, f"{TOP}/test/integration")

import dnsd         # noqa: E402
import pki          # noqa: E402
import qmailhome    # noqa: E402
import rspawn       # noqa: E402
import smtpd        # noqa: E402
import world        # noqa: E402

MESSAGE = b"""\
From: you@src.example
To: friend@dst.example
Subject: Hello from qmail-remote

This went through DNS, IPv6, SMTP and STARTTLS.
.A line that begins with a dot arrives with one dot.
"""

ADDRESS = "2001:db8::25"
SHOWN_LINES = 12    # of the mail data
MEANING = {
    "r": "recipient accepted",
    "h": "recipient refused",
    "s": "recipient refused for now",
    "K": "delivered",
    "Z": "not delivered, try again later",
    "D": "not delivered, give up",
}


class Watched(smtpd.Session):
    """A session that records the time and direction of each piece."""

    def __init__(self, *args):
        super().__init__(*args)
        self.pieces = [(self.accepted, "--", b"connection accepted")]

    def fill(self):
        had = len(self.buffer)
        super().fill()
        self.pieces.append((time.monotonic(), "C:", bytes(self.buffer[had:])))

    def send(self, data):
        self.pieces.append((time.monotonic(), "S:", data))
        super().send(data)

    def start_tls(self):
        self.pieces.append((time.monotonic(), "--", b"TLS handshake begins"))
        super().start_tls()
        how = f"TLS has begun: {self.tls['version']} {self.tls['cipher']}, for the name {self.tls['sni']}"
        self.pieces.append((time.monotonic(), "--", how.encode()))


def heading(text):
    print(f"\n== {text}")


def show_report(report):
    heading("The report, as qmail-rspawn reads it")
    for record in rspawn.decode(report):
        print(f"  {record.letter}  {MEANING[record.letter]}")
        for line in record.text.decode("ascii", "replace").splitlines():
            print(f"       {line}")


def show_dialogue(session, start):
    heading("The dialogue, as the server saw it (C: client, S: server)")
    for when, who, data in session.pieces:
        lines = data.decode("ascii", "backslashreplace").splitlines()
        for i, line in enumerate(lines[:SHOWN_LINES]):
            clock = f"{1000 * (when - start):7.1f} ms" if i == 0 else " " * 10
            print(f"  {clock}  {who if i == 0 else '  '} {line}")
        if len(lines) > SHOWN_LINES:
            print(f"              ... {len(lines) - SHOWN_LINES} lines more")


def show_times(run, dns, session):
    def moment(text):
        return next(when for when, _, data in session.pieces if data.startswith(text))

    steps = [
        ("DNS: MX, then all addresses at once", session.accepted),
        ("greeting and EHLO", moment(b"STARTTLS")),
        ("STARTTLS and handshake", moment(b"TLS has begun")),
        ("EHLO again, MAIL, RCPT, DATA", moment(b"354")),
        ("mail data and its reply", moment(b"250 got it")),
        ("report, QUIT, end of the process", run.started + run.wall),
    ]
    heading(f"How long each step took ({len(dns.questions)} DNS questions)")
    before = run.started
    for what, when in steps:
        print(f"  {1000 * (when - before):7.1f} ms  {what}")
        before = when
    print(f"  {1000 * run.wall:7.1f} ms  in all, {1000 * run.cpu:.1f} ms of it CPU time of qmail-remote")


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:
        sys.exit(f"demo: cannot read {path}: {e.strerror}")


def expected(message):
    """What should arrive, with LF as line end, and how it differs from the message."""
    changes = []
    if b"\r\n" in message:
        changes.append("each CR LF taken for one line end")
    if re.search(b"\r(?!\n)", message):
        changes.append("a space for each CR without LF")
    if message and not message.endswith(b"\n"):
        changes.append("the final line end that SMTP needs")
    text = message.replace(b"\r\n", b"\n").replace(b"\r", b" ")
    if text and not text.endswith(b"\n"):
        text += b"\n"
    return text, f"with {' and '.join(changes)}" if changes else "byte for byte"


def deliver(home, message):
    with tempfile.TemporaryDirectory(dir="/srv") as folder:
        certificates = pki.Pki(folder)
        server = smtpd.Server(ADDRESS, tls=certificates.context(certificates.leaf("good", "mx.dst.example")))
        dns = dnsd.Server()
        dns.zone("dst.example MX 10 mx.dst.example\n"
                 f"mx.dst.example AAAA {ADDRESS}\n"
                 "mx.dst.example A 192.0.2.25\n")
        home.control("trustanchors", certificates.bundle + "\n")
        home.control("tlsstrictness", "2\n")
        run = home.run("dst.example", "you@src.example", "friend@dst.example", message)
        return run, dns, server


def main():
    message = read(sys.argv[2]) if len(sys.argv) > 2 else MESSAGE
    programs = os.path.abspath(sys.argv[1])
    try:
        world.enter()
    except world.Unavailable as e:
        sys.exit(f"demo: I need root, or private namespaces for users: {e}")
    smtpd.Session = Watched
    home = qmailhome.Home(programs)

    print(f"qmail-remote dst.example you@src.example friend@dst.example < {len(message)} bytes")
    run, dns, server = deliver(home, message)
    show_report(run.report)
    if not server.mails:
        sys.exit("demo: the message did not arrive")
    show_dialogue(server.session, run.started)
    show_times(run, dns, server.session)

    text, how = expected(message)
    if server.mail.text != text:
        sys.exit("demo: what arrived is not what was sent")
    print(f"\nThe message arrived {how}, {len(text)} bytes.")


if __name__ == "__main__":
    main()
