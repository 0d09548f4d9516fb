"""An HTTPS server that plays a script, to the byte, and writes down what it was asked.

    server = httpsd.Server("192.0.2.1", tls=certs.context("good"), script=[reply("version: STSv1...")])

A script is a list of steps, played after the request:

    b"..."              sent as it is
    Drip(bytes, gap)    byte by byte, `gap` seconds between them
    Until(event)        waits for an event of the test, or for the client to go
    CUT                 closes the connection without ending the TLS session
    DEAF                says nothing more until the client goes

At the end of the script the session is ended in good order.
"""

import dataclasses
import select
import socket
import threading
import time

PATIENCE = 60.0     # nothing in a test waits longer than this for the other side


class _Gone(Exception):
    """The client has gone."""


@dataclasses.dataclass
class Drip:
    data: bytes
    gap: float


@dataclasses.dataclass
class Until:
    event: threading.Event


CUT, DEAF = object(), object()


def reply(body, status="200 OK", kind="text/plain", length=True, **headers):
    """A whole reply; without `length` it ends with the session."""
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}"]
    if kind:
        lines.append(f"Content-Type: {kind}")
    if length:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*pieces, end=b"0\r\n\r\n"):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + end


class Session:
    """One connection: what the client asked, and how its handshake ended."""

    def __init__(self, peer):
        self.peer = peer
        self.request, self.name, self.failed = b"", None, None


class Server:
    def __init__(self, address="192.0.2.1", *, tls, script=(), port=443):
        self.tls, self.script = tls, list(script)
        self.sessions, self.stopping = [], threading.Event()
        self.listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.stopping.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    @property
    def requests(self):
        return [s.request for s in self.sessions if s.request]

    def steps(self, session):
        """The script for this request."""
        assert session.request
        return self.script

    def _accept(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:
                return
            session = Session(peer)
            self.sessions.append(session)
            threading.Thread(target=self._serve, args=(sock, session), daemon=True).start()

    def _serve(self, sock, session):
        sock.settimeout(PATIENCE)

        def note(_, name, __):
            session.name = name

        try:
            self.tls.sni_callback = note
            sock = self.tls.wrap_socket(sock, server_side=True)
            while b"\r\n\r\n" not in session.request:
                data = sock.recv(4096)
                if not data:
                    raise _Gone
                session.request += data
            for step in self.steps(session):
                self._play(sock, step)
            sock.unwrap()
        except (_Gone, OSError, ValueError) as e:
            session.failed = e
        finally:
            sock.close()

    def _wait(self, sock, is_over):
        """Until something is so, or the client has gone."""
        end = time.monotonic() + PATIENCE
        while not is_over() and not self.stopping.is_set() and time.monotonic() < end:
            if select.select([sock], [], [], 0.01)[0]:
                raise _Gone

    def _play(self, sock, step):
        if step is CUT:
            # Past the TLS session.
            raw = socket.socket(fileno=sock.detach())
            raw.shutdown(socket.SHUT_RDWR)
            raw.close()
            raise _Gone
        if step is DEAF:
            self._wait(sock, lambda: False)
        elif isinstance(step, Until):
            self._wait(sock, step.event.is_set)
        elif isinstance(step, Drip):
            for at in range(len(step.data)):
                sock.sendall(step.data[at:at + 1])
                until = time.monotonic() + step.gap
                self._wait(sock, lambda end=until: time.monotonic() >= end)
        else:
            sock.sendall(step)
