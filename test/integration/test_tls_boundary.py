"""Where clear text ends and TLS begins and ends: nothing is carried over, nothing is taken for a reply."""

import hashlib
import random
import socket
import ssl

import pytest

import rspawn
from expect import accepted, check, died, duplicate
from smtpd import CLOSE, CLOSE_NOTIFY, DEAF, RESET, TLS, Action, Call, Delay, Drip, Plain
from tlssite import NOT_VERIFIED, gone, tls_line, told_nothing, verified

IP = "192.0.2.1"
HELLO = b"EHLO me.example\r\nSTARTTLS\r\n"
OFFER = "250-hi\n250 STARTTLS"

each_strictness = pytest.mark.parametrize("strictness", [0, 1, 2])


def in_tls(step, otherwise=None):
    """A step for EHLO: STARTTLS is offered in clear text, and then this is said in TLS."""
    return Call(lambda session: step if session.inside else otherwise or OFFER)


# Bytes that come with the 220, or behind it, before TLS.

def only_hello(session):
    """Not a word of ours after STARTTLS, QUIT neither; at most a TLS record."""
    rest = bytes(session.clear)
    assert rest.startswith(HELLO), rest
    assert rest[len(HELLO):] == b"" or rest[len(HELLO):].startswith(b"\x16\x03"), rest
    assert b"QUIT" not in rest and not session.mails and session.secret == b""


INJECTED = {
    "reply": b"220 go\r\n250 x\r\n",
    "line-feed": b"220 go\r\n\n",
    "line-end": b"220 go\r\n\r\n",
    "nul": b"220 go\r\n\0",
    "bare": b"220 go\n250 x\n",
    "half-a-reply": b"220 go\r\n2",
    "second-220": b"220 go\r\n220 go\r\n",
    "more-lines": b"220-go\r\n220 go\r\n250-hi\r\n250 PIPELINING\r\n",
    "tls-record": b"220 go\r\n\x17\x03\x03\x00\x08250 ok\r\n",
    "alert": b"220 go\r\n\x15\x03\x03\x00\x02\x01\x00",
    "session": b"220 go\r\n250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n250 got it\r\n221 bye\r\n",
    "long": b"220 go\r\n" + b"250 x\r\n" * 3000,
}


NO_VALID_REPLY = "no valid reply to STARTTLS, sent in clear text"


def got_clear_mail(run, server):
    """In a second connection, of a client that does not ask for TLS any more."""
    check(run, "r", accepted())
    assert server.connections == 2 and "STARTTLS" not in server.sessions[1].verbs


@each_strictness
@pytest.mark.parametrize("case", INJECTED)
def test_injected(site, case, strictness):
    """The connection ends; where clear text would do it is used, else the next server."""
    site.want(strictness)
    site.mx(IP, "192.0.2.2")
    first = site.server(STARTTLS=(INJECTED[case], TLS))
    second = site.server("192.0.2.2", host="m2.example")
    run = site.run()
    only_hello(first.sessions[0])
    if strictness == 0:
        got_clear_mail(run, first)
        assert tls_line(run) == NO_VALID_REPLY and second.connections == 0
    else:
        check(run, "r", accepted("192.0.2.2"))
        assert tls_line(run) == (verified("m2.example") if strictness == 2 else NOT_VERIFIED)
        assert first.connections == 1 and second.connections == 1


def only_in_clear(site, run, server, strictness):
    """What becomes of mail for the only host, which has no TLS after all."""
    only_hello(server.sessions[0])
    assert server.sessions[0].tls is None
    if strictness == 2:
        assert run.letters == "Z" and server.connections == 1, run
    else:
        got_clear_mail(run, server)


@each_strictness
@pytest.mark.parametrize("case", INJECTED)
def test_injected_by_the_only_host(site, case, strictness):
    server = site.one(strictness, STARTTLS=(INJECTED[case], TLS))
    run = site.run()
    only_in_clear(site, run, server, strictness)
    if strictness == 2:
        assert b"STARTTLS was refused. (#4.7.4)" in run.message.first, run


@each_strictness
@pytest.mark.parametrize("at", range(1, len(INJECTED["reply"])))
def test_injected_in_two_segments(site, at, strictness):
    """A pause at every place. Right behind the 220 the rest comes when TLS has begun: then TLS fails."""
    data = INJECTED["reply"]
    server = site.one(strictness, STARTTLS=(data[:at], Delay(0.06), data[at:], TLS))
    only_in_clear(site, site.run(), server, strictness)


@each_strictness
def test_injected_byte_by_byte(site, strictness):
    server = site.one(strictness, STARTTLS=(Drip(INJECTED["session"], 0.005), TLS))
    only_in_clear(site, site.run(), server, strictness)


@each_strictness
@pytest.mark.parametrize("size", [base + more for base in (512, 4096, 8192) for more in (-1, 0, 1)])
def test_injected_where_a_buffer_ends(site, size, strictness):
    """The 220 fills a buffer to the last byte, or nearly, and the rest is still in the socket."""
    line = b"220-" + b"x" * 90 + b"\r\n"
    reply = line * (size // len(line) - 1)
    last = b"220 " + b"y" * (size - len(reply) - 6) + b"\r\n"
    assert len(reply + last) == size
    server = site.one(strictness, STARTTLS=(reply + last + b"250 x\r\n", TLS))
    only_in_clear(site, site.run(), server, strictness)


@pytest.mark.parametrize("strictness", [0, 2])
def test_split_220_without_more(site, strictness):
    """The 220 in two pieces, at every place, is a 220."""
    data = b"220-go\r\n220 on\r\n"
    site.want(strictness)
    site.mx()
    server = site.server(sessions=[dict(STARTTLS=(data[:at], Delay(0.02), data[at:], TLS))
                                   for at in range(1, len(data))])
    for _ in range(1, len(data)):
        run = site.run()
        check(run, "r", accepted())
        assert tls_line(run)
    assert len(server.mails) == len(data) - 1


@each_strictness
def test_ehlo_answered_twice(site, strictness):
    """The second answer is not one to STARTTLS."""
    server = site.one(strictness, EHLO=b"250-hi\r\n250 STARTTLS\r\n220 go\r\n")
    run = site.run()
    assert run.letters == "Z" and server.connections == 1
    assert server.session.log == b"EHLO me.example\r\n"


@each_strictness
def test_ehlo_answered_twice_in_two_segments(site, strictness):
    """STARTTLS may have gone out by then: the early 220 and the server's own are two."""
    server = site.one(strictness, EHLO=in_tls("250 hi", (b"250-hi\r\n250 STARTTLS\r\n", Delay(0.02), b"220 go\r\n")))
    run = site.home.run()
    server.settle()
    told_nothing(server.sessions[0])
    assert server.sessions[0].secret == b"" and not server.mails
    assert run.message.letter == "Z" and (strictness < 2 or run.letters == "Z"), run


# In TLS.

@each_strictness
@pytest.mark.parametrize("before, after, pipelined", [
    ("250-hi\n250-PIPELINING\n250-SIZE 1\n250-CHUNKING\n250-8BITMIME\n250 STARTTLS", "250 hi", False),
    ("250-hi\n250-PIPELINING\n250 STARTTLS", "250-hi\n250 STARTTLS", False),
    (OFFER, "250-hi\n250 PIPELINING", True),
    ("250-hi\n250-PIPELINING\n250 STARTTLS", "250-hi\n250 PIPELINING", True),
    ("250-hi\n250-PIPELINING\n250 STARTTLS", ("500 what"), False),
], ids=["only-before", "starttls-again", "only-after", "both", "helo-after"])
def test_what_was_offered_before(site, strictness, before, after, pipelined):
    """Only what is offered in TLS counts there."""
    server = site.one(strictness, EHLO=in_tls(after, before))
    run = site.run()
    check(run, "r", accepted())
    session = server.session
    lines = bytes(session.secret).split(b"\r\n")
    helo = "HELO" in session.verbs
    assert session.verbs == ["EHLO", "STARTTLS", "EHLO"] + ["HELO"] * helo + ["MAIL", "RCPT", "DATA", "QUIT"]
    assert lines[1 + helo] == b"MAIL FROM:<a@src.example>"
    inside = [c for c in session.chunks if c.startswith(b"MAIL")]
    assert (b"DATA\r\n" in inside[0]) == pipelined, session.chunks


@each_strictness
def test_starttls_is_not_said_twice(site, strictness):
    server = site.one(strictness, EHLO=OFFER)
    check(site.run(), "r", accepted())
    assert server.session.verbs.count("STARTTLS") == 1


@each_strictness
def test_hello_again(site, strictness):
    """Both times with the same name."""
    site.home.control("helohost", "other.example\n")
    server = site.one(strictness)
    check(site.run(), "r", accepted())
    assert server.session.log == b"EHLO other.example\r\nSTARTTLS\r\n"
    assert bytes(server.session.secret).startswith(b"EHLO other.example\r\nMAIL FROM:<a@src.example>")


@each_strictness
@pytest.mark.parametrize("ehlo", [(), ("PIPELINING",)], ids=["lockstep", "pipelining"])
def test_unasked_reply_in_tls(site, strictness, ehlo):
    """One reply too many puts the two out of step: in TLS it never ends in a delivery."""
    server = site.one(strictness, ehlo=ehlo, STARTTLS=("220 go", TLS, "250 early"))
    run = site.run()
    told_nothing(server.sessions[0])
    assert not any(mail.complete for mail in server.sessions[0].mails)
    if strictness == 2:
        assert run.message.letter == "Z" and server.connections == 1, run
    elif run.message.letter == "K":
        got_clear_mail(run, server)


# Records of one segment: what is behind a reply is seen, every time.

class Together(Action):
    """Send each part in a TLS record of its own, all of them in one segment."""

    def __init__(self, *parts):
        self.parts = parts

    def play(self, session):
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for part in self.parts:
            session.play(part)
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


V1_2, V1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize("version", [V1_2, V1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("strictness", [0, 2])
def test_false_reply_behind_354(site, strictness, version):
    """It is no reply to the end of the mail data, which the server refuses."""
    site.want(strictness)
    site.mx(IP)
    context = site.certs.context("good", minimum=version, maximum=version)
    site.server(context=context, DATA=Together("354 go", "250 false"), END="550 no")
    for _ in range(10):
        run = site.run()
        check(run, "r", ("Z", f"{IP} failed on DATA command.", "250 false"))


@pytest.mark.parametrize("version", [V1_2, V1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("strictness", [0, 2])
def test_goodbye_behind_ehlo(site, strictness, version):
    """The server goes away, so the next one gets the mail."""
    site.want(strictness)
    site.mx(IP, "192.0.2.2")
    context = site.certs.context("good", minimum=version, maximum=version)
    first = site.server(context=context, EHLO=in_tls(Together("250 hi", "421 so long")))
    second = site.server("192.0.2.2", host="m2.example")
    for _ in range(10):
        check(site.run(), "r", accepted("192.0.2.2"))
    assert len(second.mails) == 10 and not first.mails
    told_nothing(*first.sessions)


# The end of TLS, expected or not.

# In the place of a reply; K only where it has been read to its end.
ENDINGS = {
    "close-notify": (CLOSE_NOTIFY, CLOSE),
    "fin": CLOSE,
    "rst": RESET,
    "plain": (Plain(b"250 in clear text\r\n"), DEAF),
    "close-notify-plain": (CLOSE_NOTIFY, Plain(b"250 in clear text\r\n"), DEAF),
    "half-close-notify": (b"250 go", CLOSE_NOTIFY, CLOSE),
    "half-fin": (b"250 go", CLOSE),
    "half-rst": (b"250 go", RESET),
    "half-plain": (b"250 go", Plain(b" in clear text\r\n"), DEAF),
    "half-close-notify-plain": (b"250 go", CLOSE_NOTIFY, Plain(b"t it\r\n"), DEAF),
    "no-line-feed-close-notify": (b"250 got it\r", CLOSE_NOTIFY, Plain(b"\n"), DEAF),
    "no-line-feed-fin": (b"250 got it\r", CLOSE),
    "more-to-come-close-notify": (b"250-got it\r\n", CLOSE_NOTIFY, CLOSE),
    "more-to-come-fin": (b"250-got it\r\n", CLOSE),
    "more-to-come-plain": (b"250-got it\r\n", Plain(b"250 got it\r\n"), DEAF),
}


@pytest.mark.parametrize("strictness", [0, 2])
@pytest.mark.parametrize("case", ENDINGS)
@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA", "END"])
def test_session_ends_in_a_reply(site, moment, case, strictness):
    """A reply that was cut is none; the mail does not go on in clear text, nor to another server."""
    if moment == "DATA":
        step = tuple(s.replace(b"250", b"354") if isinstance(s, bytes) else s
                     for s in (ENDINGS[case] if isinstance(ENDINGS[case], tuple) else (ENDINGS[case],)))
    else:
        step = ENDINGS[case]
    site.want(strictness)
    site.mx(IP, "192.0.2.2")
    server = site.server(**{moment: step})
    second = site.server("192.0.2.2", host="m2.example")
    run = site.run()
    before = ["r"] if moment in ("DATA", "END") else []
    check(run, *before, duplicate() if moment == "END" else died())
    assert tls_line(run) == (verified("m1.example") if strictness == 2 else NOT_VERIFIED)
    assert server.connections == 1 and second.connections == 0
    assert bytes(server.session.clear) == HELLO
    assert run.wall < 15
    gone()


@pytest.mark.parametrize("strictness", [0, 2])
@pytest.mark.parametrize("step", [
    CLOSE, RESET, (CLOSE_NOTIFY, CLOSE), (Plain(b"250 in clear text\r\n"), CLOSE),
    (CLOSE_NOTIFY, Plain(b"554 no\r\n"), CLOSE), b"554 no\r\n",
], ids=["fin", "rst", "close-notify", "plain", "close-notify-plain", "another-reply"])
@pytest.mark.parametrize("reply", ["250 got it", "250-got\n250 it"])
def test_session_ends_after_the_last_reply(site, step, reply, strictness):
    """What has been accepted has been accepted."""
    server = site.one(strictness, END=(reply, step))
    run = site.run()
    check(run, "r", accepted(IP, reply))
    assert tls_line(run) == (verified("m1.example") if strictness == 2 else NOT_VERIFIED)
    assert len(server.mails) == 1
    gone()


@pytest.mark.timed
@pytest.mark.parametrize("step", [DEAF, CLOSE, RESET, (CLOSE_NOTIFY, CLOSE), "500 what"],
                         ids=["deaf", "fin", "rst", "close-notify", "500"])
def test_odd_answers_to_quit(site, step):
    """QUIT is said in TLS, and not waited for."""
    server = site.one(0, QUIT=step)
    run = site.run()
    check(run, "r", accepted())
    assert run.lasted(2) and rspawn.in_time(run.held, 0.3)
    gone(timeout=3)
    assert "QUIT" in server.session.verbs and bytes(server.session.clear) == HELLO


@pytest.mark.parametrize("step", [CLOSE, RESET, (CLOSE_NOTIFY, CLOSE), (CLOSE_NOTIFY, DEAF), "451 stop"],
                         ids=["fin", "rst", "close-notify", "close-notify-deaf", "reply"])
def test_session_ends_amid_the_mail_data(site, step):
    """Nothing more is written into it, and nothing in clear text."""
    def early(session):
        while len(session.buffer) < 200000:
            session.fill()
        return step

    server = site.one(2, DATA=("354 go", Call(early), CLOSE))
    run = site.run(message=b"0123456789 line\n" * 500000)
    assert run.letters == "rZ", run
    assert tls_line(run) == verified("m1.example")
    assert server.connections == 1 and b"line" not in bytes(server.session.clear)
    gone()


@each_strictness
def test_close_notify_and_then_smtp_in_clear_text(site, strictness):
    """The whole rest of a session in clear text behind the end of TLS: none of it is heard."""
    rest = b"250 ok\r\n250 ok\r\n354 go\r\n250 got it\r\n"
    server = site.one(strictness, MAIL=(CLOSE_NOTIFY, Plain(rest), DEAF))
    run = site.run()
    check(run, died())
    assert bytes(server.session.clear) == HELLO


# The message.

def wire(text):
    """How a message without CR goes out."""
    lines = text.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


@pytest.fixture(scope="module")
def ten_megabytes():
    """Lines of all lengths, many with dots at the start, of all bytes but CR."""
    chance = random.Random(7)
    text = chance.randbytes(10_100_000).replace(b"\r", b"\n..").replace(b"\0", b"\n") + b"\n"
    assert text.count(b"\n..") > 30000
    return text


@pytest.mark.parametrize("version, ehlo", [
    ("TLSv1_2", ()), ("TLSv1_3", ()), ("TLSv1_3", ("PIPELINING", "8BITMIME", "SIZE 100000000")),
])
def test_ten_megabytes(site, ten_megabytes, version, ehlo):
    """Byte for byte."""
    version = getattr(ssl.TLSVersion, version)
    site.want(2)
    site.mx()
    server = site.server(context=site.certs.context("good", minimum=version, maximum=version), ehlo=ehlo)
    run = site.run(message=ten_megabytes, timeout=60)
    check(run, "r", accepted())
    out = wire(ten_megabytes)
    assert server.mail.size == len(out) and server.mail.sha256 == hashlib.sha256(out).hexdigest()
    assert bytes(server.session.clear) == HELLO


MESSAGES = {
    "empty": (b"", b".\r\n"),
    "no-line-end": (b"x", b"x\r\n.\r\n"),
    "crlf": (b"a\r\nb\r\n", b"a\r\nb\r\n.\r\n"),
    "bare-cr": (b"a\rb\n", b"a b\r\n.\r\n"),
    "crcrlf": (b"a\r\r\nb\n", b"a \r\nb\r\n.\r\n"),
    "cr-at-the-end": (b"a\r", b"a \r\n.\r\n"),
    "smuggled": (b"a\n\r.\r\nMAIL FROM:<x@y>\n", b"a\r\n .\r\nMAIL FROM:<x@y>\r\n.\r\n"),
    "smuggled-dots": (b"a\r\n.\r\nb\n.\nc\n", b"a\r\n..\r\nb\r\n..\r\nc\r\n.\r\n"),
    "smuggled-cr": (b"a\r.\r\nb\n", b"a .\r\nb\r\n.\r\n"),
    "nul": (b"a\0b\n\0\n", b"a\0b\r\n\0\r\n.\r\n"),
    "8bit": (bytes(range(128, 256)) + b"\n", bytes(range(128, 256)) + b"\r\n.\r\n"),
    "tls-alert": (b"\x15\x03\x03\x00\x02\x01\x00\n", b"\x15\x03\x03\x00\x02\x01\x00\r\n.\r\n"),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_message(site, case):
    server = site.one(0)
    run = site.run(message=MESSAGES[case][0])
    check(run, "r", accepted())
    assert server.mail.wire == MESSAGES[case][1]


@pytest.mark.parametrize("size", [4095, 4096, 16383, 16384, 16385, 32768, 65535, 65536, 65537, 131072])
def test_cr_where_a_record_ends(site, size):
    """CR LF, and a dot at the start of a line, on both sides of each boundary."""
    server = site.one(0)
    for shift in (-2, -1, 0):
        head = b"x" * (size + shift)
        site.run(message=head + b"\r\n.\r\n\r.\n" + b"y" * 20000 + b"\n")
        assert server.mails[-1].wire == head + b"\r\n..\r\n .\r\n" + b"y" * 20000 + b"\r\n.\r\n"


def test_slow_reader(site):
    """A server that reads slowly gets all of it."""
    server = site.server(rcvbuf=4096, DATA=("354 go", Delay(0.5)))
    site.want(2)
    site.mx()
    text = b"0123456789 line\n" * 60000
    check(site.run(message=text), "r", accepted())
    assert server.mail.sha256 == hashlib.sha256(wire(text)).hexdigest()


def test_many_recipients(site):
    count = 500
    server = site.one(2, ehlo=("PIPELINING",))
    run = site.run(recipients=[f"u{n}@dst.example" for n in range(count)], timeout=60)
    assert run.letters == "r" * count + "K" and len(server.mail.recipients) == count
    told_nothing(server.session)
