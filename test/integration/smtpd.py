"""An SMTP server that plays a script, to the byte, and writes down all that it saw.

A script gives a step for each moment: `greeting`, then one for each verb (EHLO, HELO, STARTTLS, AUTH,
MAIL, RCPT, DATA, RSET, NOOP, QUIT), `END` for the end of the mail data, `LOGGED` for the last reply to AUTH.
A step is

    "250 ok"            sent with CRLF; a LF inside separates the lines of the reply
    b"250 ok\\n"         sent as it is
    None                nothing is sent
    ("250 q", RESET)    one after the other
    [step, step]        the first time, the second time; the last one repeats
    an action           CLOSE, RESET, DEAF, TLS, CLOSE_NOTIFY, Plain(bytes), Until(event), Delay(seconds),
                        Drip(...), Read(n), As(digit, step), Call(f)

What the script leaves open is answered as a polite server would. One that has `users` takes no mail before
AUTH with one of them; without, AUTH is not known. One that is `implicit` begins with the handshake.
"""

import base64
import errno
import hashlib
import os
import re
import select
import socket
import ssl
import struct
import threading
import time

PATIENCE = 60.0     # nothing in a test waits longer than this for the other side


class _End(Exception):
    """The session is over."""


class Action:
    def play(self, session):
        raise NotImplementedError


class _Close(Action):
    """Close the connection in good order: FIN."""

    def play(self, session):
        session.end = session.end or "server fin"
        try:
            session.sock.shutdown(socket.SHUT_WR)
        except OSError:
            raise _End from None    # the client was faster, with a reset
        while True:
            session.fill()


class _Reset(Action):
    """Reset the connection: RST."""

    def play(self, session):
        session.end = session.end or "server rst"
        session.linger = True
        raise _End


class _Deaf(Action):
    """Read nothing more, say nothing more, keep the connection until the client or the test ends."""

    def play(self, session):
        session.linger = True
        session.wait_for_hangup()
        raise _End


class _Tls(Action):
    """Do the server's side of a TLS handshake."""

    def play(self, session):
        session.start_tls()


class _CloseNotify(Action):
    """End the TLS session in good order; what follows is clear text on the same connection."""

    def play(self, session):
        try:
            session.sock = session.sock.unwrap()
        except OSError as e:
            session.end = session.end or f"tls: {e}"
            raise _End from None
        session.inside = False


class Plain(Action):
    """Send bytes as they are, past a TLS session."""

    def __init__(self, data):
        self.data = data

    def play(self, session):
        try:
            os.write(session.sock.fileno(), self.data)
        except OSError as e:
            session.end = session.end or f"failed: {e}"
            raise _End from None


class Until(Action):
    """Wait for an event of the test, or for the client to go."""

    def __init__(self, event):
        self.event = event

    def play(self, session):
        session.wait_for(self.event.is_set)


class Delay(Action):
    """Let time pass; for tests about time only."""

    def __init__(self, seconds):
        self.seconds = seconds

    def play(self, session):
        session.wait_for(lambda: False, self.seconds)


class Drip(Action):
    """Send bytes piece by piece, `gap` seconds between them."""

    def __init__(self, data, gap, size=1):
        self.data, self.gap, self.size = data, gap, size

    def play(self, session):
        for at in range(0, len(self.data), self.size):
            if at:
                Delay(self.gap).play(session)
            session.send(self.data[at:at + self.size])


class Read(Action):
    """Read at least `count` bytes, whatever they are."""

    def __init__(self, count):
        self.count = count

    def play(self, session):
        while len(session.buffer) < self.count:
            session.fill()
        del session.buffer[:self.count]


class Call(Action):
    """Call a function of the test; what it returns is played."""

    def __init__(self, function):
        self.function = function

    def play(self, session):
        session.play(self.function(session))


class As(Action):
    """Play a step, and go on as if the reply had begun with this digit."""

    def __init__(self, digit, *step):
        self.digit, self.step = str(digit).encode(), step

    def play(self, session):
        session.play(self.step)
        session.last = self.digit


CLOSE = _Close()
RESET = _Reset()
DEAF = _Deaf()
TLS = _Tls()
CLOSE_NOTIFY = _CloseNotify()


class Mail:
    """One message as it came over the wire."""

    def __init__(self, sender, recipients):
        self.sender = sender            # b"<a@b>" with what follows it
        self.recipients = recipients
        self.wire = b""                 # all bytes of the mail data with the final dot
        self.size = 0
        self.sha256 = None
        self.complete = False

    @property
    def lines(self):
        assert self.complete
        body = self.wire[:-3]
        assert body == b"" or body.endswith(b"\r\n")
        return [line[1:] if line.startswith(b".") else line for line in body.split(b"\r\n")[:-1]]

    @property
    def text(self):
        """The message as the server stores it, line ends as LF."""
        return b"".join(line + b"\n" for line in self.lines)


class Session:
    """One connection."""

    def __init__(self, server, sock, peer, script):
        self.server, self.sock, self.peer = server, sock, peer
        self.script = script
        self.accepted = time.monotonic()
        self.clear = bytearray()        # what the client sent in clear text
        self.secret = bytearray()       # what it sent inside TLS
        self.sent = bytearray()
        self.chunks = []                # what each read returned
        self.commands = []              # (time, line) without its line end
        self.mails = []
        self.logins = []                # (mechanism, user, secret) of each AUTH
        self.responses = []             # lines that the client has sent after a 334
        self.user = None                # who has logged in
        self.end = None                 # "fin" | "rst" | "server fin" | "server rst" | "stopped" | ...
        self.ended = None
        self.tls = None                 # what is known of the TLS session, a dict
        self.tls_error = None
        self.inside = False             # a TLS session, just now
        self.early = b""                # bytes that came after STARTTLS and before the handshake
        self.done = False
        self.linger = False
        self.buffer = bytearray()
        self.last = b""
        self.keep = True
        self._count = {}
        self.sender = None
        self.recipients = []

    # What the test asks.

    @property
    def log(self):
        return bytes(self.clear)

    @property
    def verbs(self):
        return [line.split(b":")[0].split(b" ")[0].upper().decode("latin-1") for _, line in self.commands]

    # Input and output.

    def fill(self):
        try:
            data = self.sock.recv(1 << 18)
        except ssl.SSLError as e:
            self.end = f"tls: {e.reason or e}"
            raise _End from None
        except (ConnectionResetError, BrokenPipeError):
            self.end = self.end or ("stopped" if self.server.stopping else "rst")
            raise _End from None
        except (socket.timeout, OSError) as e:
            self.end = self.end or ("stopped" if self.server.stopping else f"failed: {e}")
            raise _End from None
        if not data:
            self.end = self.end or ("stopped" if self.server.stopping else "fin")
            raise _End
        if self.keep:
            self.chunks.append(data)
            (self.secret if self.inside else self.clear).extend(data)
        self.buffer += data

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            if not self.end:
                self.end = "stopped" if self.server.stopping else \
                    "rst" if isinstance(e, ConnectionError) else f"failed: {e}"
            raise _End from None
        self.sent += data
        self.last = data

    def hung_up(self):
        """Of this session, or of one that ends just now, in another thread."""
        poll = select.poll()
        try:
            poll.register(self.sock, select.POLLRDHUP)
        except ValueError:
            return True
        return any(e & (select.POLLRDHUP | select.POLLHUP | select.POLLERR) for _, e in poll.poll(0))

    def wait_for(self, ready, longest=PATIENCE):
        """Until it is so, or the client has gone, or the test is over; for so many seconds."""
        end = time.monotonic() + longest
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        while not ready() and not self.server.stopping:
            left = end - time.monotonic()
            if left <= 0 or poll.poll(min(left, 0.02) * 1000):
                return

    def wait_for_hangup(self):
        self.wait_for(lambda: False)
        if self.hung_up():
            poll = select.poll()
            poll.register(self.sock, select.POLLRDHUP)
            event = poll.poll(0)[0][1]
            self.end = self.end or ("rst" if event & select.POLLERR else "fin")
        else:
            self.end = self.end or "stopped"

    def line(self):
        while True:
            at = self.buffer.find(b"\n")
            if at >= 0:
                line = bytes(self.buffer[:at + 1])
                del self.buffer[:at + 1]
                return line
            self.fill()

    # The script.

    def play(self, step):
        if step is None:
            return
        if isinstance(step, str):
            self.send(step.replace("\n", "\r\n").encode() + b"\r\n")
        elif isinstance(step, bytes):
            self.send(step)
        elif isinstance(step, tuple):
            for part in step:
                self.play(part)
        elif isinstance(step, Action):
            step.play(self)
        else:
            raise TypeError(f"not a step: {step!r}")

    def answer(self, moment, default):
        """Play the step for this moment; tells the first digit of what was said."""
        step = self.script.get(moment, default)
        if isinstance(step, list):
            n = self._count.get(moment, 0)
            self._count[moment] = n + 1
            step = step[min(n, len(step) - 1)]
        self.last = b""
        self.play(step)
        return self.last[:1]

    def end_gently(self):
        """Read what the client still sends: a close before that is a reset, which can overtake the alert."""
        try:
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
            end = time.monotonic() + 2
            while time.monotonic() < end and not self.server.stopping:
                if select.select([self.sock], [], [], 0.05)[0] and not socket.socket.recv(self.sock, 1 << 16):
                    break
        except (OSError, ValueError):
            pass

    def start_tls(self):
        self.early = bytes(self.buffer)
        context = self.server.tls
        names = []
        context.sni_callback = lambda s, name, c: names.append(name)
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True, suppress_ragged_eofs=False,
                                            do_handshake_on_connect=False)
            self.sock.do_handshake()
        except (ssl.SSLError, OSError) as e:
            self.tls_error = str(e)
            self.end_gently()
            self.end = f"handshake: {e}"
            raise _End from None
        if not self.sock.version():
            self.tls_error = "the client has gone"
            self.end = self.end or "rst"
            raise _End
        self.tls = {
            "version": self.sock.version(),
            "cipher": self.sock.cipher()[0],
            "sni": names[0] if names else None,
            "client": self.sock.getpeercert(binary_form=True),
        }
        self.inside = True
        self.sender, self.recipients = None, []

    def ehlo(self):
        words = list(self.server.ehlo)
        if self.server.tls and not self.tls and "STARTTLS" not in words:
            words.append("STARTTLS")
        if not words:
            return "250 ok"
        lines = ["hi"] + words
        return "\n".join(f"250{'-' if i < len(lines) - 1 else ' '}{w}" for i, w in enumerate(lines))

    # AUTH (RFC 4954).

    def respond(self, challenge):
        """The response to a challenge, decoded."""
        self.send(b"334 " + base64.b64encode(challenge) + b"\r\n")
        self.responses.append(self.line().rstrip(b"\r\n"))
        return base64.b64decode(self.responses[-1], validate=True)

    def credentials(self, mechanism, initial):
        """(user, secret) as the client sends them with this mechanism."""
        if mechanism == "LOGIN":
            return self.respond(b"Username:"), self.respond(b"Password:")
        response = base64.b64decode(initial, validate=True) if initial else self.respond(b"")
        if mechanism == "PLAIN":
            nobody, user, secret = response.split(b"\0")
            assert nobody == b"", response
            return user, secret
        form = rb"n,a=([^,]*),\x01auth=Bearer ([^\x01]*)\x01\x01" if mechanism == "OAUTHBEARER" else \
            rb"user=([^\x01]*)\x01auth=Bearer ([^\x01]*)\x01\x01"
        return re.fullmatch(form, response).groups()

    def authenticate(self, line):
        """Ask for the credentials, and say what is thought of them; a wrong token first gets a reason."""
        mechanism, _, initial = line.decode("ascii").strip().partition(" ")[2].partition(" ")
        user, secret = (part.decode() for part in self.credentials(mechanism, initial))
        self.logins.append((mechanism, user, secret))
        known = self.server.users.get(user) == secret
        if not known and mechanism.endswith(("BEARER", "OAUTH2")):
            assert self.respond(b'{"status":"401"}') == (b"\1" if mechanism == "OAUTHBEARER" else b"")
        if self.answer("LOGGED", "235 2.7.0 welcome" if known else "535 5.7.8 who are you?") == b"2":
            self.user = user

    def run(self):
        try:
            if self.server.implicit:
                self.start_tls()
            self.answer("greeting", "220 hi")
            while True:
                self.one_command()
        except _End:
            pass
        finally:
            self.ended = time.monotonic()
            if self.linger:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()
            with self.server.changed:
                self.done = True
                self.server.changed.notify_all()

    def one_command(self):
        line = self.line()
        self.commands.append((time.monotonic(), line.rstrip(b"\r\n")))
        verb = line.strip().split(b":")[0].split(b" ")[0].upper().decode("latin-1")
        rest = line.strip().partition(b":")[2]
        if verb == "EHLO":
            self.answer(verb, self.ehlo())
        elif verb == "HELO":
            self.answer(verb, "250 ok")
        elif verb == "STARTTLS":
            self.answer(verb, ("220 go", TLS) if self.server.tls else "502 what")
        elif verb == "AUTH" and self.server.users and verb not in self.script:
            self.authenticate(line)
        elif verb == "MAIL":
            self.sender, self.recipients = None, []
            if self.answer(verb, "530 5.7.0 log in" if self.server.users and not self.user else "250 ok") == b"2":
                self.sender = rest
        elif verb == "RCPT":
            if self.answer(verb, "250 ok" if self.sender is not None else "503 MAIL first") == b"2":
                self.recipients.append(rest)
        elif verb == "DATA":
            if self.answer(verb, "354 go" if self.recipients else "554 no valid recipients") == b"3":
                self.read_data()
                self.answer("END", "250 got it")
        elif verb == "QUIT":
            self.answer(verb, "221 bye")
        elif verb in ("RSET", "NOOP"):
            self.answer(verb, "250 ok")
        else:
            self.answer(verb, "500 what")

    def read_data(self):
        mail = Mail(self.sender, self.recipients)
        self.mails.append(mail)
        self.keep = self.server.keep
        digest = hashlib.sha256()
        tail = b"\r\n"
        wire = bytearray()
        while True:
            if not self.buffer:
                try:
                    self.fill()
                except _End:
                    mail.wire = bytes(wire)
                    raise
            window = tail + self.buffer
            at = window.find(b"\r\n.\r\n")
            used = len(self.buffer) if at < 0 else at + 5 - len(tail)
            taken = bytes(self.buffer[:used])
            del self.buffer[:used]
            mail.size += used
            digest.update(taken)
            if self.keep:
                wire += taken
            if at >= 0:
                break
            tail = bytes(window[-4:])
        self.keep = True
        mail.wire = bytes(wire)
        mail.sha256 = digest.hexdigest()
        mail.complete = True


class Server:
    """A listening address. `sessions` gives scripts for the first, second... connection."""

    def __init__(self, address, port=25, *, tls=None, implicit=False, users=None, ehlo=(), keep=True, rcvbuf=None,
                 sessions=None, **script):
        self.address, self.port = address, port
        self.implicit, self.users = implicit, users
        self.tls, self.ehlo, self.keep = tls, ehlo, keep
        self.scripts = sessions or [script]
        self.sessions = []
        self.stopping = False
        self.changed = threading.Condition()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if rcvbuf:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self._bind()
        self.listener.listen(256)
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _bind(self):
        """A process that another thread starts has the socket of an earlier server until it executes its program."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self.listener.bind((self.address, self.port))
            except OSError as e:
                if e.errno != errno.EADDRINUSE or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    def _accept(self):
        while True:
            select.select([self.listener], [], [])
            with self.changed:
                if self.stopping:
                    return
                try:
                    sock, peer = self.listener.accept()
                except OSError:
                    return
                sock.settimeout(PATIENCE)
                script = self.scripts[min(len(self.sessions), len(self.scripts) - 1)]
                session = Session(self, sock, peer, script)
                self.sessions.append(session)
                # stop() may only find threads that have been started: it could not wait for others.
                thread = threading.Thread(target=session.run, daemon=True)
                thread.start()
                self.threads.append(thread)
                self.changed.notify_all()

    def settle(self, timeout=10):
        """Wait until every connection made so far has been taken and is over."""
        end = time.monotonic() + timeout
        with self.changed:
            while select.select([self.listener], [], [], 0)[0] or not all(s.done for s in self.sessions):
                left = end - time.monotonic()
                assert left > 0, f"a connection to {self.address} is still open"
                self.changed.wait(min(left, 0.01))

    def wait_session(self, count=1, timeout=10):
        """Wait until so many connections have been made."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.sessions) >= count, timeout), \
                f"{self.address}: no connection"
            return self.sessions[count - 1]

    @property
    def session(self):
        """The only session there was."""
        self.settle()
        assert len(self.sessions) == 1, f"{self.address}: {len(self.sessions)} connections"
        return self.sessions[0]

    @property
    def connections(self):
        self.settle()
        return len(self.sessions)

    @property
    def log(self):
        """All that came in clear text, of all connections."""
        self.settle()
        return b"".join(bytes(s.clear) for s in self.sessions)

    @property
    def mails(self):
        """All complete messages."""
        self.settle()
        return [m for s in self.sessions for m in s.mails if m.complete]

    @property
    def mail(self):
        assert len(self.mails) == 1, f"{self.address}: {len(self.mails)} messages"
        return self.mails[0]

    def stop(self):
        with self.changed:
            if self.listener.fileno() == -1:
                return
            self.stopping = True
            self.changed.notify_all()
        self.listener.shutdown(socket.SHUT_RDWR)
        for s in list(self.sessions):
            try:
                s.sock.shutdown(socket.SHUT_RDWR)
            except (OSError, ValueError):
                pass
        for t in self.threads:
            t.join(5)
        self.listener.close()
