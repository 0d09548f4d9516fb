"""A domain whose MX hosts do TLS, and what is asked of a delivery to it."""

import glob
import os
import re
import time

import pki
from expect import check

V13 = "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519, certificate "
V12 = "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 X25519, certificate "
V10 = "TLSv1 ECDHE-ECDSA-AES256-SHA X25519, certificate "

NOT_VERIFIED = V13 + "not verified"


def verified(name, version=V13):
    return f"{version}verified for {name}"


def tls_line(run):
    """What the last line of the message record says of TLS, or None; no other line may.

    From OpenSSL 3.5 on the group is X25519MLKEM768 where it would be X25519.
    """
    lines = run.message.text.decode("latin-1").split("\n")
    assert lines.pop() == "", run
    found = [n for n, line in enumerate(lines) if line.startswith("TLS: ")]
    assert found in ([], [len(lines) - 1]), run
    assert not any(b"\nTLS: " in r.text for r in run.recipients), run
    return lines[-1][5:].replace("X25519MLKEM768", "X25519") if found else None


def server_line(run):
    """The name of the server that the message record shows, or None: behind all but what is said of TLS and of others."""
    lines = run.message.text.decode("latin-1").split("\n")[:-1]
    while lines and lines[-1].startswith(("TLS: ", "Tried before: ", "Also tried: ")):
        lines.pop()
    found = [n for n, line in enumerate(lines) if line.startswith("Server: ")]
    assert found in ([], [len(lines) - 1]), run
    return lines[-1][8:] if found else None


# What must never be seen in clear text where TLS is demanded, and never before TLS is up.
_ENVELOPE = re.compile(rb"MAIL|RCPT|DATA|src\.example|dst\.example|Subject", re.IGNORECASE)


def told_nothing(*sessions):
    """These heard nothing of the mail in clear text."""
    for session in sessions:
        assert not _ENVELOPE.search(bytes(session.clear)), bytes(session.clear)


class Site:
    """dst.example has MX hosts m1.example, m2.example... at 192.0.2.1, 192.0.2.2..., in this order."""

    def __init__(self, home, smtp, dns, certs):
        self.home, self.smtp, self.dns, self.certs = home, smtp, dns, certs
        self.servers = []
        self.seen = {}
        home.control("timeoutconnect", "3\n")

    def want(self, strictness, anchors=None):
        self.home.control("trustanchors", f"{anchors or self.certs.bundle}\n")
        self.home.control("tlsstrictness", f"{strictness}\n")

    def leaf(self, **how):
        """A certificate from the intermediate that our root has signed."""
        chain = [self.certs.intermediate]
        return pki.make("leaf", self.certs.intermediate, chain=chain, **how)

    def mx(self, *addresses):
        """The addresses of m1.example, m2.example...; several of one host with blanks between them."""
        for n, of_host in enumerate(addresses or ("192.0.2.1",), 1):
            self.dns.zone(f"dst.example MX {10 * n} m{n}.example.")
            for a in of_host.split():
                self.dns.zone(f"m{n}.example {'AAAA' if ':' in a else 'A'} {a}")

    def server(self, address="192.0.2.1", cert="good", host="m1.example", context=None, **script):
        """`cert` is a variant, a certificate, or None for a server that does not offer STARTTLS."""
        if isinstance(cert, str):
            cert = self.certs.leaf(cert, host)
        if context is None and cert is not None:
            context = self.certs.context(cert)
        server = self.smtp(address, tls=context, **script)
        self.servers.append(server)
        return server

    def one(self, strictness, **how):
        """One MX host."""
        self.want(strictness)
        self.mx()
        return self.server(**how)

    @property
    def sessions(self):
        """Those of the last delivery."""
        for server in self.servers:
            server.settle()
        return [s for server in self.servers for s in server.sessions[self.seen.get(server, 0):]]

    def run(self, **how):
        """A delivery. Whatever becomes of it, TLS is asked for before the envelope is told."""
        self.seen = {server: server.connections for server in self.servers}
        run = self.home.run(**how)
        for session in self.sessions:
            assert session.early == b"", session.early
            if session.tls:
                told_nothing(session)
        return run

    def deferred(self, run, first, tls=None, said=None):
        """Z, and nobody was told of the mail in any way."""
        check(run, ("Z", first, said) if said else ("Z", first))
        assert tls is None or (tls_line(run) or "").startswith(tls), run
        told_nothing(*self.sessions)
        for session in self.sessions:
            assert not _ENVELOPE.search(bytes(session.secret)), bytes(session.secret)


def age(path):
    """Wait until a file has not changed for so long that it may be compiled."""
    left = os.stat(path).st_ctime + 2.1 - time.time()
    if left > 0:
        time.sleep(left)


def children_of(pid):
    """Processes that one has started, or that have become its children when their own parent ended."""
    found = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(path, encoding="ascii") as f:
                found += map(int, f.read().split())
        except OSError:
            pass
    return found


def programs(name="qmail-remote"):
    """Processes of ours whose name begins so, and that have not ended."""
    found, look = [], children_of(os.getpid())
    while look:
        pid = look.pop()
        look += children_of(pid)
        try:
            with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
                stat = f.read()
        except OSError:
            continue
        comm, state = stat[stat.index("(") + 1:stat.rindex(")")], stat[stat.rindex(")") + 2]
        if comm.startswith(name[:15]) and state not in "ZX":
            found.append(pid)
    return found


def gone(name="qmail-remote", timeout=3):
    """Wait until none of them is left."""
    end = time.monotonic() + timeout
    while programs(name):
        assert time.monotonic() < end, f"still there: {programs(name)}"
        time.sleep(0.01)
