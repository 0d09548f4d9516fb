"""The catalogue, group D: STARTTLS and the TLS session."""

import ctypes
import hashlib
import os
import resource
import ssl
import struct

import pki
from catalogue import BIG, V12, Case, stage, table      # noqa: F401
from smtpd import CLOSE, CLOSE_NOTIFY, DEAF, RESET, TLS, Action, Call, Drip, Plain, Read
from tlssite import tls_line

CLEAR_OR_NOT = {"opp": "K", "ver": "Z"}
BOTH = ("opp", "ver")
EACH = ("opp12", "opp13", "ver12", "ver13")
INSIDE = ("tls12", "tls13")

HELLO = "250-hi\n250 STARTTLS"
HEAD = Read(5)          # the head of a record: the client has begun its handshake

once_more = "at 0 the mail goes once more to the same address, in clear text"


def sessions(count):
    def check(stage):
        assert len(stage.sessions) == count, stage.sessions
    return check


def no_second_chance(stage):
    """At most one more connection, at 0, and none at 2; nothing was said in TLS."""
    assert len(stage.sessions) == (1 if stage.is_demanded else 2)


# What Python's ssl module has no word for: the library itself, and records by hand.

_lib = ctypes.CDLL("libssl.so.3")
for _name in ("SSL_key_update", "SSL_do_handshake", "SSL_renegotiate", "SSL_new_session_ticket"):
    getattr(_lib, _name).argtypes = [ctypes.c_void_p, ctypes.c_int][:2 if _name == "SSL_key_update" else 1]


def _library(session):
    """The SSL object below a session: behind the head of the Python object and its reference to the socket."""
    return ctypes.c_void_p.from_address(id(session.sock._sslobj) + object.__basicsize__ + 8).value


class Handshake(Action):
    """Handshake messages after the handshake, so many; `kind` is the function that asks for one."""

    def __init__(self, kind, count, *arguments):
        self.kind, self.count, self.arguments = kind, count, arguments

    def play(self, session):
        ssl_object = _library(session)
        for _ in range(self.count):
            if getattr(_lib, self.kind)(ssl_object, *self.arguments) != 1 or _lib.SSL_do_handshake(ssl_object) != 1:
                if session.hung_up() or self.kind != "SSL_renegotiate":
                    return


def record(kind, body, version=0x0303):
    return struct.pack("!BHH", kind, version, len(body)) + body


def message(kind, body):
    return record(22, struct.pack("!B", kind) + struct.pack("!I", len(body))[1:] + body)


class Client:
    """What a ClientHello says."""

    def __init__(self, data):
        body = data[9:]
        self.random = body[2:34]
        at = 34
        self.session_id = body[at + 1:at + 1 + body[at]]
        at += 1 + body[at]
        at += 2 + struct.unpack_from("!H", body, at)[0]
        at += 1 + body[at] + 2
        self.extensions = {}
        while at + 4 <= len(body):
            kind, size = struct.unpack_from("!HH", body, at)
            self.extensions[kind] = body[at + 4:at + 4 + size]
            at += 4 + size


def read_hello(session):
    while len(session.buffer) < 5 or len(session.buffer) < 5 + struct.unpack_from("!H", session.buffer, 3)[0]:
        session.fill()
    hello = bytes(session.buffer)
    session.buffer.clear()
    return Client(hello)


def server_hello(client, *, version=0x0303, cipher=0xC02F, random=None, compression=0, session_id=None, extensions=b""):
    random = os.urandom(32) if random is None else random
    session_id = client.session_id if session_id is None else session_id
    return message(2, struct.pack("!H", version) + random + bytes([len(session_id)]) + session_id +
                   struct.pack("!HB", cipher, compression) + struct.pack("!H", len(extensions)) + extensions)


def extension(kind, data=b""):
    return struct.pack("!HH", kind, len(data)) + data


def by_hand(make, *more):
    """220, and then what make(client hello) returns."""
    return ("220 go", Call(lambda session: make(read_hello(session))), *more, Call(swallow))


def swallow(session):
    """Take what comes until the client is gone: whoever hangs up over unread bytes resets."""
    while True:
        session.fill()


_NOTES = {
    "D18": "TLS 1.2 and 1.3 where TLS is demanded, at 0 from 1.0 on; what none of them fits as D4",
    "D21": "OpenSSL ignores an extension that it does not know; the handshake fails all the same, at last in time",
}

RETRY = hashlib.sha256(b"HelloRetryRequest").digest()
RENEGOTIATION = extension(0xFF01, b"\0")


def _retry(client):
    return server_hello(client, cipher=0x1301, random=RETRY,
                        extensions=extension(43, b"\3\4") + extension(51, b"\0\x18"))


ODD_HELLOS = {
    "D18-ssl3": lambda c: server_hello(c, version=0x0300),
    "D18-tls1.0": lambda c: server_hello(c, version=0x0301, cipher=0x002F),
    "D18-tls1.1": lambda c: server_hello(c, version=0x0302, cipher=0x002F),
    "D18-rc4": lambda c: server_hello(c, cipher=0x0005, extensions=RENEGOTIATION),
    "D18-3des": lambda c: server_hello(c, cipher=0x000A, extensions=RENEGOTIATION),
    "D18-export": lambda c: server_hello(c, cipher=0x0003, extensions=RENEGOTIATION),
    "D18-null": lambda c: server_hello(c, cipher=0x0002, extensions=RENEGOTIATION),
    "D18-anon": lambda c: server_hello(c, cipher=0x0034, extensions=RENEGOTIATION),
    "D19-sentinel-1.2": lambda c: server_hello(c, random=os.urandom(24) + b"DOWNGRD\1", extensions=RENEGOTIATION),
    "D19-sentinel-1.1": lambda c: server_hello(c, random=os.urandom(24) + b"DOWNGRD\0", extensions=RENEGOTIATION),
    "D19-second-retry": lambda c: _retry(c) + _retry(c),
    "D19-other-session-id": lambda c: server_hello(c, cipher=0x1301, session_id=b"x" * 32,
                                                   extensions=extension(43, b"\3\4")),
    "D19-compression": lambda c: server_hello(c, compression=1, extensions=RENEGOTIATION),
    "D19-legacy-version": lambda c: server_hello(c, version=0x0304, cipher=0x1301),
    "D19-two-versions": lambda c: server_hello(c, cipher=0x1301, extensions=extension(43, b"\2\xfe")),
    "D20-long-record": lambda c: struct.pack("!BHH", 22, 0x0303, 0x4000 + 257) + b"\2" + b"\0" * (0x4000 + 256),
    "D20-longest-record": lambda c: struct.pack("!BHH", 22, 0x0303, 0xFFFF) + b"\2" + b"\0" * 0xFFFE,
    "D20-empty-records": lambda c: record(22, b"") * 1000,
    "D20-16mb-certificate": lambda c: server_hello(c, extensions=RENEGOTIATION) + b"".join(
        record(22, piece) for piece in [b"\x0b\xff\xff\xff\xff\xff\xfc\xff\xff\xf9" + b"\x30" * 16000] +
        [b"\x30" * 16384] * 1023),
    "D21-alpn": lambda c: server_hello(c, extensions=RENEGOTIATION + extension(16, b"\0\3\2h2")),
    "D21-unknown": lambda c: server_hello(c, extensions=RENEGOTIATION + extension(0x1234, b"x")),
    "D21-heartbeat": lambda c: server_hello(c, extensions=RENEGOTIATION + extension(15, b"\1")),
    "D21-in-1.3": lambda c: server_hello(c, cipher=0x1301, extensions=extension(43, b"\3\4") + extension(16,
                                                                                                         b"\0\3\2h2")),
    "D21-twice": lambda c: server_hello(c, extensions=RENEGOTIATION + RENEGOTIATION),
}


def one_byte_records(session):
    """A TLS 1.2 handshake, all of the server's first flight in records of one byte."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = session.server.tls.wrap_bio(incoming, outgoing, server_side=True)
    flights = 0
    while True:
        try:
            tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        out = outgoing.read()
        if out and flights == 0:
            small, at = b"", 0
            while at < len(out):
                size, = struct.unpack_from("!H", out, at + 3)
                small += b"".join(record(out[at], out[at + 5 + n:at + 6 + n]) for n in range(size))
                at += 5 + size
            out = small
        flights += bool(out)
        session.sock.sendall(out)
        if done:
            break
        data = session.sock.recv(65536)
        if not data:
            return
        incoming.write(data)

    def reply(text):
        tls.write(text)
        session.sock.sendall(outgoing.read())

    buffer = b""
    while True:
        try:
            piece = tls.read(65536)
        except ssl.SSLWantReadError:
            data = session.sock.recv(65536)
            if not data:
                return
            incoming.write(data)
            continue
        if not piece:
            return
        buffer += piece
        if buffer.startswith(b"EHLO") and buffer.endswith(b"\r\n"):
            session.server.small.append(buffer)
            reply(b"421 that will do\r\n")
            buffer = b""


# Tables.

def offer_cases():
    yield Case("D1-not-offered", CLEAR_OR_NOT, over=BOTH, cert=None)
    yield Case("D1-not-offered-other", over="ver", cert=None, next="only")
    yield Case("D1-bare-250", CLEAR_OR_NOT, dict(EHLO="250 hi"), over=BOTH, cert=None)
    rule = "4yz or 5yz but 421 and 554: at 0 the session goes on in clear text; those two end it, " + once_more
    for reply in ("454 no", "450 no", "500 what", "501 no", "502 what", "503 no", "530 no", "554 no"):
        yield Case(f"D2-{reply[:3]}", CLEAR_OR_NOT, dict(STARTTLS=reply), over=BOTH, says=rule,
                   check=None if reply[:3] == "554" else sessions(1))
        yield Case(f"D2-{reply[:3]}-other", "Z", dict(STARTTLS=reply), over="ver", next="only")
    for code in (200, 221, 250, 299, 334, 354, 199, 399, 850, 999):
        yield Case(f"D3-{code}", CLEAR_OR_NOT, dict(sessions=[dict(STARTTLS=f"{code} go"), dict(STARTTLS="500 no")]),
                   over=BOTH, says="neither 220 nor a refusal: the connection is given up; " + once_more)
    for name, step, within in (
            ("garbage", (HEAD, b"garbage\r\n" * 20, CLOSE), 4), ("reply", (HEAD, b"500 what is this\r\n", CLOSE), 4),
            ("zeros", (HEAD, b"\0" * 300, CLOSE), 4), ("close", (CLOSE,), 4), ("reset", (RESET,), 4),
            ("close-later", (HEAD, CLOSE), 4), ("silence", (DEAF,), 5)):
        yield Case(f"D4-{name}", CLEAR_OR_NOT, dict(STARTTLS=("220 go", *step)), over=BOTH, within=within,
                   check=no_second_chance, control=dict(timeoutconnect="1\n"), says=once_more)
        yield Case(f"D4-{name}-other", "Z", dict(STARTTLS=("220 go", *step)), over="ver", next="only", within=within,
                   control=dict(timeoutconnect="1\n"))


def only_starttls(stage):
    """The connection was dropped: not one byte behind STARTTLS; a second one where clear text would do."""
    session, *more = stage.sessions
    assert len(more) == (0 if stage.is_demanded else 1) and not any("STARTTLS" in s.verbs for s in more)
    assert session.clear.endswith(b"STARTTLS\r\n") and session.tls is None, session.clear


def boundary_cases():
    for name, reply in (
            ("250", b"220 go\r\n250 injected\r\n"), ("half", b"220 go\r\n2"), ("lf", b"220 go\r\n\n"),
            ("220", b"220 go\r\n220 go\r\n"), ("binary", b"220 go\r\n\x16\x03\x03\0\0"),
            ("ehlo", b"220 go\r\n250-hi\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"), ("nul", b"220 go\r\n\0")):
        yield Case(f"D5-{name}", CLEAR_OR_NOT, dict(STARTTLS=(reply, Call(swallow))), over=BOTH, check=only_starttls,
                   says="bytes behind the 220 end the connection at every strictness; then as D4: who can add them "
                        "can also take STARTTLS out of the offer")
        yield Case(f"D5-{name}-other", "Z", dict(STARTTLS=(reply, Call(swallow))), over="ver", next="only")

    def every_split(stage):
        text = b"220 go\r\n250 injected\r\n"
        for at in range(1, len(text)):
            drip = Drip(text, 0.002, at)
            stage.first.scripts = [dict(STARTTLS=(drip, TLS)), dict(EHLO="250 hi")]
            stage.first.sessions.clear()
            stage.deliver()
            for session in stage.sessions:
                assert not session.secret and session.tls is None, (at, session.secret)
            assert stage.run.rspawn[:1].decode() in stage.expected, (at, stage.run)
            if stage.run.rspawn[:1] != b"Z":
                assert [bool(s.mails) for s in stage.sessions] == [False, True], at
        stage.run = None

    def play(stage):
        stage.expected = "Z" if stage.is_demanded else "ZK"
        every_split(stage)

    yield Case("D6-every-split", "Z", {}, over=("opp", "ver"), play=play,
               says="what arrives after the 220 was read ends the handshake; as with D4, " + once_more)

    def full_buffer(stage):
        for size in (8192, 8191, 8193, 16384, 5000, 5001):
            last = b"220 go\r\n"
            reply = b"220-x\r\n" * ((size - len(last)) // 7)
            reply = b"220-" + b"x" * (size - len(last) - len(reply)) + reply[4:] + last
            assert len(reply) == size
            stage.first.scripts = [dict(STARTTLS=(reply + b"250 injected\r\n", Call(swallow)))]
            stage.first.sessions.clear()
            stage.deliver()
            assert stage.run.rspawn[:1] == (b"Z" if stage.is_demanded else b"K"), (size, stage.run)
            only_starttls(stage)
        stage.run = None

    yield Case("D6-full-buffer", CLEAR_OR_NOT, {}, over=("opp", "ver"), play=full_buffer, several=True)
    yield Case("D7-ehlo-twice", "Z", dict(EHLO=b"250-hi\r\n250 STARTTLS\r\n250-hi\r\n250 STARTTLS\r\n"), over=BOTH,
               next=True)
    yield Case("D7-ehlo-and-220", "Z", dict(EHLO=b"250-hi\r\n250 STARTTLS\r\n220 go\r\n"), over=BOTH, next=True)
    yield Case("D7-250-before-220", {"opp": "ZK", "ver": "Z"}, dict(STARTTLS=b"250 hi\r\n220 go\r\n"), over=BOTH,
               says="250 in the place of the 220 is D3: the connection is given up; " + once_more)


def session_cases():
    yield Case("D8-before-ehlo", CLEAR_OR_NOT, dict(STARTTLS=("220 go", TLS, Plain(b"250 in clear text\r\n"), DEAF)),
               over=EACH, check=no_second_chance, says="no reply in TLS yet: as D4")
    yield Case("D8-at-ehlo", CLEAR_OR_NOT, dict(
        sessions=[dict(EHLO=[HELLO, (Plain(b"250 in clear text\r\n"), DEAF)]), {}]), over=EACH, check=no_second_chance)
    for moment in ("MAIL", "RCPT", "DATA", "END"):
        yield Case(f"D8-at-{moment.lower()}", "Z", {moment: (Plain(b"250 in clear text\r\n"), DEAF)}, unused=True,
                   over=(*INSIDE, "opp12", "opp13"), check=sessions(1))

    def not_a_byte(stage):
        session, = stage.sessions
        assert session.secret == b"" and tls_line(stage.run).startswith("certificate verify failed"), stage.run

    for variant in ("expired", "wrong-name", "untrusted", "self-signed"):
        yield Case(f"D9-{variant}", "Z", {}, over=("ver12", "ver13"), cert=variant, check=not_a_byte)
    yield Case("D9-other", "Z", {}, over=("ver12", "ver13"), cert="untrusted", next="only")

    ask = Handshake("SSL_renegotiate", 1)
    for moment, reply in (("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go"), ("END", "250 got it")):
        yield Case(f"D10-{moment.lower()}", "KZ", {moment: (ask, reply)}, over=("tls12", "opp12"), unused=True)
    yield Case("D10-ehlo", "KZ", dict(EHLO=[HELLO, (ask, "250 ok")]), over=("ver12", "opp12"))
    for moment in ("MAIL", "END"):
        yield Case(f"D10-flood-{moment.lower()}", "Z", {moment: (Handshake("SSL_renegotiate", 100000), DEAF)},
                   over="tls12", unused=True, timeout=1, within=4)

    flood = {"key-updates": Handshake("SSL_key_update", 100000, 0),
             "asking-key-updates": Handshake("SSL_key_update", 100000, 1),
             "tickets": Handshake("SSL_new_session_ticket", 3000)}
    for name, step in flood.items():
        yield Case(f"D11-{name}", "Z", dict(MAIL=(step, DEAF)), over="tls13", unused=True, timeout=2, within=6)
        yield Case(f"D11-{name}-at-dot", "Z", dict(END=(step, DEAF)), over="tls13", unused=True, timeout=2, within=6)
    yield Case("D11-some", "K", dict(MAIL=(Handshake("SSL_key_update", 5, 0), "250 ok"),
                                     END=(Handshake("SSL_key_update", 5, 1), "250 ok")), over="tls13")
    yield Case("D11-empty-records-before", "Z", dict(STARTTLS=("220 go", HEAD, record(22, b"") * 100000,
                                                               Call(swallow))),
               over="ver", timeout=2, within=6)

    yield Case("D12-certificate-request", CLEAR_OR_NOT, {}, over=EACH, prepare=_wants_client,
               says="none is configured, so an empty one is sent; where the server will not have that: as D4")
    yield Case("D12-certificate-given", "K", {}, over=EACH, prepare=_has_client)
    yield Case("D12-after-handshake", "KZ", dict(MAIL=(Call(_ask_later), "250 ok")), over=("opp13", "tls13"),
               prepare=_may_ask_later, unused=True,
               says="post-handshake authentication is not offered: a server that asks breaks the protocol")
    yield Case("D13-late-alert", CLEAR_OR_NOT, {}, over=("opp13", "ver13"), prepare=_wants_client,
               check=no_second_chance)
    yield Case("D13-alert-record", CLEAR_OR_NOT, dict(
        STARTTLS=("220 go", TLS, Plain(record(21, b"\2\x28")), CLOSE)), over=EACH, check=no_second_chance)
    yield Case("D13-other", "Z", {}, over="ver13", prepare=_wants_client, next="only")


def _wants_client(stage):
    low, high = stage.way.versions
    stage.first.tls = stage.certs.context("good", minimum=low, maximum=high, want_client=True)


def _has_client(stage):
    _wants_client(stage)
    stage.home.control("clientcert", stage.certs.client_cert + "\n")
    stage.home.control("clientkey", stage.certs.client_key + "\n")


def _may_ask_later(stage):
    stage.first.tls.post_handshake_auth = True
    stage.first.tls.verify_mode = ssl.CERT_OPTIONAL


def _ask_later(session):
    try:
        session.sock.verify_client_post_handshake()
    except ssl.SSLError:
        pass        # the client has not offered it


def end_cases():
    for name, step in (("half", b"250 go"), ("line", b"250-go\r\n"), ("digits", b"25")):
        for moment in ("MAIL", "RCPT", "DATA", "END"):
            yield Case(f"D14-{name}-{moment.lower()}", "Z", {moment: (step, CLOSE)}, over=INSIDE, unused=True)
    yield Case("D14-ehlo", CLEAR_OR_NOT, dict(sessions=[dict(EHLO=[HELLO, (b"250-hi\r\n250 o", CLOSE)]), {}]),
               over=EACH,
               check=no_second_chance)
    yield Case("D15-fin", "K", dict(END=("250 ok", CLOSE)), over=(*INSIDE, "opp12", "opp13"), unused=True)
    yield Case("D15-close-notify", "K", dict(END=("250 ok", CLOSE_NOTIFY, CLOSE)), over=INSIDE, unused=True)

    def alone(stage):
        session, = stage.sessions
        assert b"the body" not in session.clear, session.clear

    yield Case("D16-in-data", "Z", dict(DATA=("354 go", Read(20000), CLOSE_NOTIFY, Read(1 << 30))), unused=True,
               over=(*INSIDE, "opp12", "opp13"), start=dict(message=BIG), check=alone)
    yield Case("D16-in-data-fin", "Z", dict(DATA=("354 go", Read(20000), CLOSE_NOTIFY, CLOSE)), unused=True,
               over=(*INSIDE, "opp12", "opp13"), start=dict(message=BIG), check=alone)
    for moment, reply in (("MAIL", b"250 ok\r\n"), ("RCPT", b"250 ok\r\n"), ("DATA", b"354 go\r\n"),
                          ("END", b"250 got it\r\n")):
        yield Case(f"D17-{moment.lower()}", "Z", {moment: (CLOSE_NOTIFY, reply, DEAF)}, unused=True,
                   over=(*INSIDE, "opp12", "opp13"), check=alone)
        yield Case(f"D17-{moment.lower()}-at-once", "Z", {moment: (Call(_notify_and_speak(reply)), DEAF)}, unused=True,
                   over=INSIDE, check=alone)


def _notify_and_speak(reply):
    """close_notify and clear text in one segment: the library writes the one, we the other right behind it."""
    def step(session):
        session.sock.setblocking(False)
        try:
            session.sock.unwrap()
        except OSError:
            pass
        os.write(session.sock.fileno(), reply)
        session.sock.settimeout(60)
    return step


def hello_cases():
    for name, make in ODD_HELLOS.items():
        slow = name == "D20-empty-records"
        yield Case(name, CLEAR_OR_NOT, dict(sessions=[dict(STARTTLS=by_hand(make)), dict(EHLO="250 hi")]), over=BOTH,
                   control=dict(timeoutconnect="1\n"), check=no_second_chance, within=6 if slow else 4,
                   says=_NOTES.get(name[:3]))
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        def prepare(stage, version=version):
            stage.first.tls = stage.certs.context("good", minimum=version, maximum=version)

        def spoken(stage):
            """Old TLS is better than none, where none would do."""
            session, = stage.sessions
            assert bool(session.tls) != stage.is_demanded and bool(session.mails) != stage.is_demanded
        yield Case(f"D18-server-{version.name}", CLEAR_OR_NOT, {}, over=BOTH, prepare=prepare, check=spoken)
    for name, ciphers in (("anon", "aNULL"), ("null", "eNULL")):
        def prepare(stage, ciphers=ciphers):
            stage.first.tls = stage.certs.context("good", maximum=V12)
            stage.first.tls.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        yield Case(f"D18-server-{name}", CLEAR_OR_NOT, {}, over=BOTH, prepare=prepare, check=no_second_chance)

    def small(stage):
        stage.first.small = []
        stage.first.tls = stage.certs.context("good", maximum=V12)

    def arrived(stage):
        assert stage.first.small == [b"EHLO me.example\r\n"], stage.first.small

    yield Case("D20-one-byte-records", CLEAR_OR_NOT, dict(STARTTLS=("220 go", Call(one_byte_records), DEAF)),
               over=("opp", "ver"), prepare=small, check=arrived, several=True,
               says="the handshake is taken in records of one byte; the server of this test says 421 after it")
    alert = (HEAD, record(21, b"\2\x70"), CLOSE)
    yield Case("D22-alert", CLEAR_OR_NOT, dict(STARTTLS=("220 go", *alert)), over=BOTH, check=no_second_chance)
    yield Case("D22-alert-other", "Z", dict(STARTTLS=("220 go", *alert)), over="ver", next="only")
    yield Case("D22-warning", CLEAR_OR_NOT, dict(STARTTLS=("220 go", HEAD, record(21, b"\1\x70"), CLOSE)), over=BOTH)
    yield Case("D23-in-one-run", CLEAR_OR_NOT, dict(sessions=[dict(STARTTLS=("220 go", CLOSE)), dict(EHLO="250 hi")]),
               over=BOTH, check=no_second_chance)

    def second_run(stage):
        stage.deliver()
        assert stage.run.letters == "rK" and stage.sessions[0].tls
        stage.deliver()

    yield Case("D23-in-two-runs", CLEAR_OR_NOT, dict(sessions=[{}, dict(EHLO="250 hi")]), over=BOTH, play=second_run,
               several=True)


def resumption_cases():
    def watch(stage):
        stage.hellos, stage.reused = [], []

        def peek(session):
            stage.hellos.append(Client(session.sock.recv(8192, 2)))

        def look(session):
            stage.reused.append(session.sock.session_reused)
            return "250 ok"
        stage.first.scripts = [dict(STARTTLS=("220 go", HEAD_PEEK, Call(peek), TLS), MAIL=Call(look))]

    def three(stage):
        for strictness in (0, 2, 2):
            stage.demand(strictness)
            stage.deliver()
            assert stage.run.letters == "rK", stage.run
        assert stage.reused == [False] * 3
        for hello in stage.hellos:
            # session_ticket, pre_shared_key, early_data
            assert not hello.extensions.get(35) and 41 not in hello.extensions and 42 not in hello.extensions

    for number, what in (("D24", "full handshake each time: no ticket and no session is kept"),
                         ("D25", "0-RTT is never used: there is no session to use it with")):
        yield Case(f"{number}-twice", "K", {}, over=("opp12", "opp13"), prepare=watch, play=three, several=True,
                   says=what)


class _Peek(Action):
    """Wait until the client has sent something, and leave it there."""

    def play(self, session):
        session.sock.recv(1, 2)


HEAD_PEEK = _Peek()


def local_cases():
    local = "trouble of our own with TLS is Z at every strictness, and nobody is told of the mail"
    each = ("opp", "enc", "ver")

    def refuse(stage):
        for session in stage.sessions:
            assert not session.mails and "MAIL" not in session.verbs

    def no_anchors(stage):
        stage.home.control("trustanchors", "/srv/pki/missing.pem\n")

    yield Case("D26-no-anchors", "Z", {}, over=("ver12", "ver13"), prepare=no_anchors, check=refuse, unused=True,
               says=local)
    yield Case("D26-no-anchors-needed", "K", {}, over="opp", prepare=no_anchors,
               says="where nothing is verified the anchors are not read")
    yield Case("D26-bad-client-key", "Z", {}, over=each, check=refuse, unused=True, says=local,
               control=dict(clientcert="/srv/pki/none\n", clientkey="/srv/pki/none\n"))

    def program(what):
        def prepare(stage):
            path = f"{stage.home.path}/bin/qmail-remote-tls"
            os.unlink(path)
            if what == "empty":
                with open(path, "wb"):
                    os.chmod(path, 0o755)
            elif what != "missing":
                with open(path, "w", encoding="ascii") as f:
                    f.write("#!/bin/sh\n" + what + "\n")
                os.chmod(path, 0o755)
        return prepare

    for name, what in (("missing", "missing"), ("empty", "empty"), ("exit-0", "exit 0"), ("exit-1", "exit 1"),
                       ("killed", "kill -9 $$"), ("talks", "echo 220 ok >&2; echo x; exit 0")):
        yield Case(f"D26-program-{name}", "Z", {}, over=each, prepare=program(what), check=refuse, unused=True,
                   says=local)
    yield Case("D26-out-of-memory", "Z", {}, over=each, check=refuse, unused=True, says=local,
               start=dict(limits={resource.RLIMIT_AS: 4 << 20}))
    yield Case("D26-openssl-conf", "K", {}, over=BOTH, start=dict(env={"OPENSSL_CONF": "/dev/full"}))

    def broken_entropy(stage):
        stage.deliver(program="/usr/bin/strace", args=[
            "-f", "-qq", "-o", "/dev/null", "-e", "trace=getrandom,openat", "-e", "inject=getrandom:error=ENOSYS",
            f"{stage.home.path}/bin/qmail-remote", "dst.example", "a@src.example", "b@dst.example"])

    yield Case("D26-no-getrandom", "KZ", {}, over=BOTH, play=broken_entropy, within=10,
               check=lambda stage: stage.run.letters == "Z" or all(s.tls for s in stage.sessions) or 1 / 0,
               says="without getrandom() either there is randomness from elsewhere or nothing is sent")
    yield Case("D27-subject", "Z", {}, over=("ver12", "ver13"), cert=None, prepare=_nasty_certificate, report=1500)
    yield Case("D27-alert", "Z", dict(STARTTLS=("220 go", HEAD, record(21, b"\2\x1b" + b"\x1b[2J\0K\n"), CLOSE)),
               over="ver", report=1500)

    def on_465(stage):
        stage.home.route(":m1.example:465")
        stage.server(port=465, cert=None)

    yield Case("D28-plain-220", {"opp": "K", "ver": "Z"}, None, over=BOTH, prepare=on_465,
               says="there is no implicit TLS: port 465 is a port like any other, and STARTTLS is asked for there")

    def waits_for_hello(stage):
        stage.home.route(":m1.example:465")
        stage.server(port=465, greeting=DEAF)

    yield Case("D28-silent", "Z", None, over=BOTH, prepare=waits_for_hello, timeout=1, within=4)


def _nasty_certificate(stage):
    leaf = pki.make("m\x1b[2J\0K\r\nDforged\n", stage.certs.other_root, names=["m1.example"])
    low, high = stage.way.versions
    stage.first.tls = stage.certs.context(leaf, minimum=low, maximum=high)


CASES = [*offer_cases(), *boundary_cases(), *session_cases(), *end_cases(), *hello_cases(), *resumption_cases(),
         *local_cases()]


@table(CASES)
def test_catalogue(stage, case):      # noqa: F811
    stage.hold(case)
