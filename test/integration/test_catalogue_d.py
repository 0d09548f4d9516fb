"""The catalogue, group D: STARTTLS and the TLS session."""

import ctypes
import hashlib
import os
import resource
import ssl
import struct

import pki
from catalogue import BIG, Case, Setup, Start, Want, table
from expect_dialogue import delivered, no_reply
from expect_tls import (IN_TLS, MALFORMED, NO_HANDSHAKE, NO_REPLY, NO_SESSION, NOT_OFFERED, REFUSED, REFUSED_AND_OVER,
                        UNVERIFIED, UNWELCOME, USELESS)
from smtpd import CLOSE, CLOSE_NOTIFY, DEAF, RESET, TLS, Action, Call, Drip, Plain, Read

BOTH = ("opp", "ver")
EACH = ("opp", "enc", "ver")
VERSION = ("opp12", "opp13", "ver12", "ver13")
INSIDE = ("tls12", "tls13")

HELLO = "250-hi\n250 STARTTLS"
HEAD = Read(5)          # the head of a record: the client has begun its handshake

once_more = "at 0 the mail goes once more to the same address, in clear text"


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

def each(next):
    """All strictnesses for one of a kind, those at the ends for the others: policy looks at the kind alone."""
    return dict(over=EACH if next else BOTH, next=next)


def offer_cases():
    yield Case("D1-not-offered", Setup(cert=None), NOT_OFFERED, **each(True))
    yield Case("D1-bare-250", Setup(EHLO="250 hi", cert=None), NOT_OFFERED, over=BOTH)
    rule = "4yz or 5yz but 421 and 554: at 0 the session goes on in clear text; those two end it, " + once_more
    for reply in ("454 no", "450 no", "500 what", "501 no", "502 what", "503 no", "530 no", "550-no\n550 never"):
        fate = REFUSED.but(said=reply, reason=f"STARTTLS refused ({reply[:3]})")
        yield Case(f"D2-{reply[:3]}", Setup(STARTTLS=reply), fate, **each(reply == "454 no"), says=rule)
    for name, reply, step in (("554", "554 no", "554 no"), ("554-closed", "554 no", ("554 no", CLOSE)),
                              ("421", "421 busy", "421 busy")):
        yield Case(f"D2-{name}", Setup(STARTTLS=step), REFUSED_AND_OVER.but(said=reply), **each(name == "554"), says=rule)
    for code in (200, 221, 250, 299, 334, 354, 199, 399, 850, 999):
        fate = REFUSED_AND_OVER.but(said=f"{code} go", reason=f"STARTTLS refused ({code})")
        yield Case(f"D3-{code}", Setup(STARTTLS=f"{code} go"), fate, **each(code == 250),
                   says="neither 220 nor a refusal: the connection is given up; " + once_more)
    for name, reply in (("four-digits", b"2200 go\r\n"), ("mixed", b"220-go\r\n250 go\r\n")):
        yield Case(f"D3-{name}", Setup(STARTTLS=reply), MALFORMED, **each(name == "mixed"))
    for name, step in (("no-code", b"hello\r\n"), ("two-digits", b"22 go\r\n"), ("silent", DEAF)):
        yield Case(f"D3-{name}", Setup(STARTTLS=step, timeout=1), NO_REPLY, **each(name == "silent"))


def handshake(name, *step, line="", fate=NO_HANDSHAKE, next=False, over=BOTH, within=None, says=None, **setup):
    """220, and something that is no handshake."""
    fate = fate.but(line=line or fate.line, reason=f"handshake failed ({line or fate.line}")
    return Case(name, Setup(STARTTLS=("220 go", *step), timeout=1, **setup), Want(fate, within=within),
                over=EACH if next else over, next=next, says=says)


def handshake_cases():
    soon = dict(control=dict(timeoutconnect="1\n"))
    for name, step in (
            ("garbage", b"garbage\r\n" * 20), ("reply", b"500 what is this\r\n"), ("zeros", b"\0" * 300),
            ("ssl2", b"\x80\x2e\x04\x00\x01\x00\x02" + b"x" * 100), ("early-data", record(23, b"250 ok\r\n")),
            ("huge-record", b"\x16\x03\x03\xff\xff" + b"x" * 70000)):
        yield handshake(f"D4-{name}", HEAD, step, CLOSE, says=once_more, next=name == "garbage")
    yield handshake("D4-close", CLOSE, line="connection closed")
    yield handshake("D4-reset", RESET)
    yield handshake("D4-close-later", HEAD, CLOSE)
    yield handshake("D4-reset-later", HEAD, RESET)
    yield handshake("D4-silence", DEAF, line="timed out", next=True, **soon)
    yield handshake("D4-silence-later", HEAD, DEAF, line="timed out", **soon)
    slowly = Drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f" + b"\0" * 100, 0.15)
    yield handshake("D4-dripping", HEAD, slowly, DEAF, line="timed out", **soon)
    yield handshake("D22-alert", HEAD, record(21, b"\2\x70"), CLOSE)
    yield handshake("D22-warning", HEAD, record(21, b"\1\x70"), CLOSE)
    yield handshake("D13-refused", HEAD, record(21, b"\2\x28"), CLOSE, line="the server says: handshake failure")
    for name, make in ODD_HELLOS.items():
        yield handshake(name, Call(lambda session, make=make: make(read_hello(session))), Call(swallow),
                        within=6 if name == "D20-empty-records" else 4, says=_NOTES.get(name[:3]), **soon)
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        # Old TLS is better than none, where none would do.
        old = NO_HANDSHAKE.but(outcomes="tls again next", line="no TLS version in common")
        yield Case(f"D18-server-{version.name}", Setup(prepare=shows(minimum=version, maximum=version)), old, over=EACH)
    for name, ciphers in (("anon", "aNULL"), ("null", "eNULL")):
        yield Case(f"D18-server-{name}", Setup(prepare=shows(ciphers=f"{ciphers}:@SECLEVEL=0")), NO_HANDSHAKE,
                   over=("opp12", "ver12"))

    def arrived(stage):
        assert stage.first.small == [b"EHLO me.example\r\n"], stage.first.small

    def small(stage):
        stage.first.small = []

    yield Case("D20-one-byte-records", Setup(STARTTLS=("220 go", Call(one_byte_records), DEAF), prepare=small),
               Want(UNWELCOME, check=arrived), over=("opp12", "ver12"),
               says="the handshake is taken in records of one byte; the server of this test says 421 after it")

    def second_run(stage):
        stage.deliver()
        assert stage.run.letters == "rK" and stage.sessions[0].tls
        stage.first.scripts = [dict(EHLO="250 hi")]
        stage.first.sessions.clear()
        stage.deliver()

    yield Case("D23-in-one-run", Setup(sessions=[dict(STARTTLS=("220 go", CLOSE)), dict(EHLO="250 hi")]), NO_HANDSHAKE,
               over=BOTH)
    yield Case("D23-in-two-runs", Setup(), NOT_OFFERED, Start(play=second_run), over=EACH)


def shows(leaf="good", ciphers=None, **how):
    def prepare(stage):
        stage.first.tls = stage.context(leaf, **how)
        if ciphers:
            stage.first.tls.set_ciphers(ciphers)
    return prepare


def only_starttls(stage):
    """The connection was dropped: not one byte behind STARTTLS, but those of a handshake that had begun."""
    session = stage.sessions[0]
    hello, rest = bytes(session.clear).split(b"STARTTLS\r\n")
    assert rest == b"" or rest.startswith(b"\x16\x03"), rest
    assert session.tls is None and not session.secret, session.secret


def boundary_cases():
    behind = "bytes behind the 220 end the connection at every strictness; then as D4: who can add them can also take " \
        "STARTTLS out of the offer"
    for name, reply in (
            ("250", b"220 go\r\n250 injected\r\n"), ("half", b"220 go\r\n2"), ("lf", b"220 go\r\n\n"),
            ("line-end", b"220 go\r\n\r\n"), ("bare", b"220 go\n250 x\n"), ("nul", b"220 go\r\n\0"),
            ("220", b"220 go\r\n220 go\r\n"), ("binary", b"220 go\r\n\x16\x03\x03\0\0"),
            ("tls-record", b"220 go\r\n" + record(23, b"250 ok\r\n")), ("alert", b"220 go\r\n" + record(21, b"\1\0")),
            ("ehlo", b"220-go\r\n220 go\r\n250-hi\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"),
            ("session", b"220 go\r\n250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n250 got it\r\n221 bye\r\n"),
            ("long", b"220 go\r\n" + b"250 x\r\n" * 3000)):
        yield Case(f"D5-{name}", Setup(STARTTLS=(reply, TLS)), Want(MALFORMED, check=only_starttls), **each(name == "250"),
                   says=behind)

    def every_split(stage):
        text = b"220 go\r\n250 injected\r\n"
        steps = [Drip(text, 0.06, at) for at in range(1, len(text))]
        steps.append(Drip(b"220 go\r\n250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n", 0.005))
        for at, step in enumerate(steps, 1):
            stage.first.scripts = [dict(STARTTLS=(step, TLS)), {}]
            stage.first.sessions.clear()
            stage.deliver()
            only_starttls(stage)
            assert stage.run.rspawn[:1] == (b"Z" if stage.is_demanded else b"K"), (at, stage.run)
            if not stage.is_demanded:
                assert [bool(s.mails) for s in stage.sessions] == [False, True], at
        stage.run = None

    yield Case("D6-every-split", Setup(), MALFORMED, Start(play=every_split), over=EACH,
               says="what arrives after the 220 was read ends the handshake; as with D4, " + once_more)

    def split_220(stage):
        """In two pieces, at every place, it is a 220."""
        text = b"220-go\r\n220 on\r\n"
        for at in range(1, len(text)):
            stage.first.scripts = [dict(STARTTLS=(Drip(text, 0.02, at), TLS))]
            stage.first.sessions.clear()
            stage.deliver()
            assert stage.run.letters == "rK" and stage.first.session.tls, at

    yield Case("D6-split-220", Setup(), IN_TLS, Start(play=split_220), over=BOTH)

    def full_buffer(stage):
        for size in (511, 512, 513, 4095, 4096, 4097, 5000, 5001, 8191, 8192, 8193, 16384):
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

    yield Case("D6-full-buffer", Setup(), MALFORMED, Start(play=full_buffer), over=BOTH)
    twice = b"250-hi\r\n250 STARTTLS\r\n250-hi\r\n250 STARTTLS\r\n"
    yield Case("D7-ehlo-twice", Setup(EHLO=twice), USELESS, over=EACH, next=True)
    yield Case("D7-ehlo-and-220", Setup(EHLO=b"250-hi\r\n250 STARTTLS\r\n220 go\r\n"), USELESS, over=BOTH)
    yield Case("D7-250-before-220", Setup(STARTTLS=b"250 hi\r\n220 go\r\n"), REFUSED_AND_OVER, over=BOTH,
               says="250 in the place of the 220 is D3: the connection is given up; " + once_more)


def session_cases():
    yield handshake("D8-before-ehlo", TLS, Plain(b"250 in clear text\r\n"), DEAF, fate=NO_SESSION, over=VERSION,
                    says="no reply in TLS yet: as D4")
    for name, step in (("closed", CLOSE), ("reset", RESET), ("close-notify", (CLOSE_NOTIFY, CLOSE))):
        yield handshake(f"D13-{name}", TLS, step, fate=NO_SESSION, over=VERSION)
    yield handshake("D13-alert-record", TLS, Plain(record(21, b"\2\x28")), CLOSE, fate=NO_SESSION, over=VERSION)
    silent = NO_SESSION.but(line="no reply to EHLO after the handshake",
                            reason="handshake failed (no reply to EHLO after the handshake")
    yield Case("D13-silent", Setup(EHLO=[HELLO, DEAF], timeout=1), silent, over=BOTH)
    for variant, fate in (("untrusted", UNVERIFIED), ("wrong-name", UNVERIFIED.but(line=UNVERIFIED.line + "name mismatch"))):
        yield Case(f"D9-{variant}", Setup(cert=variant), fate, next=variant == "untrusted",
                   over=("opp12", "opp13", "enc", "ver12", "ver13"))

    ask = Handshake("SSL_renegotiate", 1)
    for moment, reply in (("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go"), ("END", "250 got it")):
        yield Case(f"D10-{moment.lower()}", Setup(**{moment: (ask, reply)}), "KZ", over=("tls12", "opp12"),
                   unused=True)
    yield Case("D10-ehlo", Setup(EHLO=[HELLO, (ask, "250 ok")]), "KZ", over=("ver12", "opp12"))
    for moment in ("MAIL", "END"):
        yield Case(f"D10-flood-{moment.lower()}",
                   Setup(**{moment: (Handshake("SSL_renegotiate", 100000), DEAF)}, timeout=1), Want("Z", within=4),
                   over="tls12", unused=True)

    flood = {"key-updates": Handshake("SSL_key_update", 100000, 0),
             "asking-key-updates": Handshake("SSL_key_update", 100000, 1),
             "tickets": Handshake("SSL_new_session_ticket", 3000)}
    for name, step in flood.items():
        yield Case(f"D11-{name}", Setup(MAIL=(step, DEAF), timeout=2), Want("Z", within=6), over="tls13", unused=True)
        yield Case(f"D11-{name}-at-dot", Setup(END=(step, DEAF), timeout=2), Want("Z", within=6), over="tls13",
                   unused=True)
    yield Case("D11-some",
               Setup(MAIL=(Handshake("SSL_key_update", 5, 0), "250 ok"),
                     END=(Handshake("SSL_key_update", 5, 1), "250 ok")), "K", over="tls13")
    yield Case("D11-empty-records-before", Setup(STARTTLS=("220 go", HEAD, record(22, b"") * 100000,
                                                     Call(swallow)), timeout=2), Want("Z", within=6), over="ver")

    empty = "none is configured, so an empty one is sent; where the server will not have that: as D4"
    yield Case("D12-certificate-request", Setup(prepare=shows(want_client=True)), NO_HANDSHAKE, over=("opp12", "ver12"),
               says=empty)
    yield Case("D12-certificate-request", Setup(prepare=shows(want_client=True)), NO_SESSION, next=True,
               over=("opp13", "enc", "ver13"), says=empty)
    yield Case("D12-certificate-given", Setup(prepare=_has_client), IN_TLS, over=VERSION)
    yield Case("D12-after-handshake", Setup(MAIL=(Call(_ask_later), "250 ok"), prepare=_may_ask_later), "KZ",
               over=("opp13", "tls13"), unused=True,
               says="post-handshake authentication is not offered: a server that asks breaks the protocol")


def _has_client(stage):
    shows(want_client=True)(stage)
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


# In the place of a reply: a reply that was cut is none, and what comes in clear text is none.
ENDINGS = {
    "D14-half": (b"250 go", CLOSE),
    "D14-half-reset": (b"250 go", RESET),
    "D14-half-notified": (b"250 go", CLOSE_NOTIFY, CLOSE),
    "D14-no-lf": (b"250 got it\r", CLOSE),
    "D14-line": (b"250-got it\r\n", CLOSE),
    "D14-line-notified": (b"250-got it\r\n", CLOSE_NOTIFY, CLOSE),
    "D14-digits": (b"25", CLOSE),
    "D8-at": (Plain(b"250 in clear text\r\n"), DEAF),
    "D8-half": (b"250 go", Plain(b" in clear text\r\n"), DEAF),
    "D8-line": (b"250-got it\r\n", Plain(b"250 got it\r\n"), DEAF),
    "D17-notified": (CLOSE_NOTIFY, Plain(b"250 in clear text\r\n"), DEAF),
    "D17-half": (b"250 go", CLOSE_NOTIFY, Plain(b"t it\r\n"), DEAF),
    "D17-no-lf": (b"250 got it\r", CLOSE_NOTIFY, Plain(b"\n"), DEAF),
    "D17-session": (CLOSE_NOTIFY, Plain(b"250 ok\r\n250 ok\r\n354 go\r\n250 got it\r\n"), DEAF),
}


def alone(stage):
    """One connection; and in clear text nothing but the beginning."""
    session, = stage.sessions
    assert session.clear == b"EHLO me.example\r\nSTARTTLS\r\n", session.clear


def ending(step, moment):
    """The same for the reply that is wanted here."""
    if not isinstance(step, bytes):
        return step
    return step.replace(b"250", b"354") if moment == "DATA" else step


def end_cases():
    for name, steps in ENDINGS.items():
        for moment in ("MAIL", "RCPT", "DATA", "END"):
            # A reset may take with it what has been said to the rest of the group.
            want = Want(no_reply(moment) if RESET not in steps or moment == "END" else "Z", check=alone)
            over = {"END": ("tls12", "tls13", "opp13"), "RCPT": "tls12"}.get(moment, "tls13")
            yield Case(f"{name}-{moment.lower()}", Setup(**{moment: tuple(ending(s, moment) for s in steps)}), want,
                       over=over, unused=True)
    for moment, reply in (("MAIL", b"250 ok\r\n"), ("DATA", b"354 go\r\n"), ("END", b"250 got it\r\n")):
        yield Case(f"D17-at-once-{moment.lower()}", Setup(**{moment: (Call(_notify_and_speak(reply)), DEAF)}),
                   Want("Z", check=alone), unused=True, over=INSIDE)
    yield Case("D15-fin", Setup(END=("250 ok", CLOSE)), delivered("250 ok"), over=("opp12", "opp13"), unused=True)
    yield Case("D15-close-notify", Setup(END=("250 ok", CLOSE_NOTIFY, CLOSE)), delivered("250 ok"), over=INSIDE,
               unused=True)
    for name, step in (("", Read(1 << 30)), ("-fin", CLOSE), ("-deaf", DEAF)):
        yield Case(f"D16-in-data{name}", Setup(DATA=("354 go", Read(200000), CLOSE_NOTIFY, step)),
                   Want("Z", records="rZ", check=alone_or_more), Start(message=BIG), unused=True, over=INSIDE)


def alone_or_more(stage):
    """Behind the end of TLS the server may read records as clear text; it is not the message."""
    session, = stage.sessions
    assert b"the body" not in session.clear, session.clear[:200]


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
        for strictness in (2, 2, 0):
            stage.demand(strictness)
            stage.deliver()
            assert stage.run.letters == "rK", stage.run
        assert stage.reused == [False] * 3
        for hello in stage.hellos:
            # session_ticket, pre_shared_key, early_data
            assert not hello.extensions.get(35) and 41 not in hello.extensions and 42 not in hello.extensions

    for name, over, what in (("D24-tickets", "opp12", "full handshake each time: no ticket and no session is kept"),
                             ("D25-early-data", "opp13", "0-RTT is never used: there is no session to use it with")):
        yield Case(name, Setup(prepare=watch), Want("K", several=True), Start(play=three), over=over, says=what)


class _Peek(Action):
    """Wait until the client has sent something, and leave it there."""

    def play(self, session):
        session.sock.recv(1, 2)


HEAD_PEEK = _Peek()


def local_cases():
    local = "trouble of our own with TLS is Z at every strictness, and nobody is told of the mail"

    def refuse(stage):
        for session in stage.sessions:
            assert not session.mails and "MAIL" not in session.verbs

    def no_anchors(stage):
        stage.home.control("trustanchors", "/srv/pki/missing.pem\n")

    yield Case("D26-no-anchors", Setup(prepare=no_anchors), Want("Z", check=refuse), over=("ver12", "ver13"),
               unused=True, says=local)
    yield Case("D26-no-anchors-needed", Setup(prepare=no_anchors), "K", over="opp",
               says="where nothing is verified the anchors are not read")
    yield Case("D26-bad-client-key", Setup(control=dict(clientcert="/srv/pki/none\n", clientkey="/srv/pki/none\n")),
               Want("Z", check=refuse), over=EACH, unused=True, says=local)

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
        yield Case(f"D26-program-{name}", Setup(prepare=program(what)), Want("Z", check=refuse), over=EACH,
                   unused=True, says=local)
    yield Case("D26-out-of-memory", Setup(), Want("Z", check=refuse), Start(limits={resource.RLIMIT_AS: 4 << 20}),
               over=EACH, unused=True, says=local)
    yield Case("D26-openssl-conf", Setup(), "K", Start(env={"OPENSSL_CONF": "/dev/full"}), over=BOTH)

    def no_getrandom(stage):
        stage.deliver_traced("-e", "trace=getrandom,openat", "-e", "inject=getrandom:error=ENOSYS")

    def in_tls_or_not_at_all(stage):
        assert stage.run.letters == "Z" or all(s.tls for s in stage.sessions), stage.run

    yield Case("D26-no-getrandom", Setup(), Want("KZ", within=10, check=in_tls_or_not_at_all), Start(play=no_getrandom),
               over=BOTH,
               says="without getrandom() either there is randomness from elsewhere or nothing is sent")
    yield Case("D27-subject", Setup(cert=None, prepare=_nasty_certificate), Want(UNVERIFIED, size=1500),
               over=("ver12", "ver13"))
    yield Case("D27-alert", Setup(STARTTLS=("220 go", HEAD, record(21, b"\2\x1b" + b"\x1b[2J\0K\n"), CLOSE)),
               Want("Z", size=1500), over="ver")

    def on_465(stage):
        stage.home.route(":m1.example:465")
        stage.first = stage.server(port=465, cert=None, greeting=("220 hi", CLOSE))

    yield Case("D28-plain-220", Setup(listens=False, prepare=on_465), Want("Z", size=1500), over=BOTH,
               says="on port 465 there is TLS from the first byte, and no clear text when that fails")

    def waits_for_hello(stage):
        stage.home.route(":m1.example:465")
        stage.server(port=465, greeting=DEAF)

    yield Case("D28-silent", Setup(listens=False, prepare=waits_for_hello, timeout=1), Want("Z", within=4), over=BOTH)


def _nasty_certificate(stage):
    leaf = pki.make("m\x1b[2J\0K\r\nDforged\n", stage.certs.other_root, names=["m1.example"])
    shows(leaf)(stage)


CASES = [*offer_cases(), *handshake_cases(), *boundary_cases(), *session_cases(), *end_cases(), *resumption_cases(),
         *local_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
