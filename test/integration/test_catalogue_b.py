"""The catalogue, group B: the greeting."""

from catalogue import Case, stage, table      # noqa: F401
from smtpd import CLOSE, DEAF, Call, Delay, Drip

NEXT = dict(next=True, over=("clear", "ver"))


def flood(piece, most=64 << 20):
    """The same for ever, or until the client has gone."""
    def step(session):
        block = piece * (65536 // len(piece) + 1)
        for _ in range(most // len(block)):
            session.send(block)
    return Call(step)


def was_given_up(stage):
    """The client did not take it all."""
    assert len(stage.sessions[0].sent) < 16 << 20


def cases():
    for name, greeting in (
            ("lines", b"220-a\r\n220-b\r\n220 c\r\n"), ("bare", b"220\r\n"), ("blank", b"220 \r\n"),
            ("bare-lines", b"220-\r\n220\r\n"), ("512", b"220 " + b"x" * 506 + b"\r\n"), ("tab", b"220 \thi\r\n")):
        yield Case(f"B1-{name}", "K", dict(greeting=greeting), over=("clear", "ver"))
    yield Case("B2-bytes", "K", dict(greeting=Drip(b"220-a\r\n220 b\r\n", 0.002)), over=("clear", "ver"))
    yield Case("B2-lf", "K", dict(greeting=b"220-a\n220 b\n"), over=("clear", "ver"), says="LF alone ends a line")
    yield Case("B2-crcrlf", "K", dict(greeting=b"220 a\r\r\n\r\n"), says="lines without a code are skipped")
    for code in ("421", "450"):
        yield Case(f"B3-{code}", "Z", dict(greeting=f"{code} busy"), **NEXT)
    yield Case("B3-421-closed", "Z", dict(greeting=("421 busy", CLOSE)), **NEXT)
    for code in ("554", "550", "500"):
        yield Case(f"B4-{code}", "Z", dict(greeting=f"{code} never"), says="5yz greetings are Z, as in stock", **NEXT)
    yield Case("B5-521", "Z", dict(greeting="521 no mail here"), says="Z like every 5yz greeting", **NEXT)
    yield Case("B5-521-closed", "Z", dict(greeting=("521 no mail here", CLOSE)), **NEXT)
    yield Case("B6-silent", "Z", dict(greeting=DEAF), timeout=1, within=3.5, **NEXT)
    yield Case("B6-bound", "Z", play=hello_timeout, within=9,
               says="greeting, EHLO and STARTTLS get timeoutremote, but at most 300 s")
    for name, greeting in (
            ("http", b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"), ("ssh", b"SSH-2.0-OpenSSH_9.9\r\n"),
            ("imap", b"* OK ready\r\n"), ("pop3", b"+OK ready\r\n"),
            ("server-hello", b"\x16\x03\x03\x00\x4a\x02\x00\x00\x46\x03\x03" + bytes(range(70)) + b"\r\n"),
            ("alert", b"\x15\x03\x01\x00\x02\x02\x50\r\n"), ("zeros", b"\0" * 200 + b"\n"),
            ("noise", bytes(range(256)) * 4), ("telnet", b"\xff\xfd\x18\xff\xfd\x20login: \r\n"),
            ("250", b"250 hi\r\n"), ("221", b"221 bye\r\n"), ("354", b"354 go\r\n"), ("199", b"199 x\r\n")):
        yield Case(f"B7-{name}", "Z", dict(greeting=greeting), timeout=1, **NEXT)
    for name, piece in (("line", b"x"), ("nul", b"\0"), ("cr", b"\r"), ("digits", b"2")):
        yield Case(f"B8-{name}", "Z", dict(greeting=(b"220 ", flood(piece))), next=True, check=was_given_up)
    yield Case("B8-dripping", "Z", dict(greeting=(b"220 ", Drip(b"x" * 1000, 0.1))), timeout=1, within=3.5)
    for name, piece in (("lines", b"220-x\r\n"), ("bare", b"220-\n"), ("long", b"220-" + b"x" * 990 + b"\r\n")):
        yield Case(f"B9-{name}", "Z", dict(greeting=flood(piece)), next=True, check=was_given_up,
                   says="a reply of more than 1 MB is none")
    for name, greeting in (
            ("letters-in-code", b"2x0 hi\r\n"), ("sign", b"-20 hi\r\n"), ("blank-first", b" 220 hi\r\n"),
            ("two-digits", b"22\r\n"), ("two-digits-text", b"22 hi\r\n"), ("five-digits", b"22000\r\n"),
            ("four-digits", b"2200 hi\r\n"), ("empty", b"\r\n"), ("empty-lf", b"\n"), ("plus", b"+220 hi\r\n"),
            ("hex", b"0xdc hi\r\n"), ("zero", b"000 hi\r\n"),
            ("wide-digits", "\uff12\uff12\uff10 hi\r\n".encode()), ("arabic", "\u0662\u0662\u0660 hi\r\n".encode()),
            ("cr-inside", b"2\r20 hi\r\n")):
        yield Case(f"B10-{name}", "Z", dict(greeting=greeting), timeout=1, **NEXT)
        if greeting.endswith(b"\n") and name not in ("zero", "four-digits", "five-digits"):
            yield Case(f"B10-{name}-before", "K", dict(greeting=greeting + b"220 hi\r\n"),
                       says="lines without a code are skipped")
    for name, greeting in (
            ("comma", b"220,hi\r\n"), ("tab", b"220\thi\r\n"), ("no-blank", b"220hi\r\n"),
            ("underscore", b"220_hi\r\n"), ("nul", b"220\0hi\r\n"), ("cr-behind", b"220\r hi\r\n")):
        yield Case(f"B10-{name}", "K", dict(greeting=greeting), says="what is no digit ends the code")
    for name, greeting in (
            ("220-250", b"220-a\r\n250 b\r\n"), ("220-554", b"220-a\r\n554 b\r\n"), ("554-220", b"554-a\r\n220 b\r\n"),
            ("220-421-220", b"220-a\r\n421-b\r\n220 c\r\n"),
            ("other-digit", b"220-a\r\n221 b\r\n")):
        yield Case(f"B11-{name}", "Z", dict(greeting=greeting), timeout=1, **NEXT)
    yield Case("B11-no-code", "K", dict(greeting=b"220-a\r\nb\r\n\r\n220 c\r\n"), says="lines without a code are skipped")
    for name, text in (
            ("nul", b"a\0b"), ("8-bit", bytes(range(128, 256))), ("esc", b"\x1b[2J\x1b]0;x\x07"), ("del", b"\x7f\x08"),
            ("utf-8", "gr\u00fc\u00df dich".encode())):
        yield Case(f"B12-{name}", "K", dict(greeting=b"220 " + text + b"\r\n"), over=("clear", "ver"),
                   says="8-bit text passes: replies may be in UTF-8, and qmail-send masks its log")
        yield Case(f"B12-{name}-554", "Z", dict(greeting=b"554 " + text + b"\r\n"))
    for name, greeting in (
            ("250", b"220 hi\r\n250 early\r\n"), ("220", b"220 hi\r\n220 hi\r\n"), ("554", b"220 hi\r\n554 no\r\n"),
            ("ehlo", b"220 hi\r\n250-hi\r\n250 PIPELINING\r\n"), ("part", b"220 hi\r\n250-x\r\n"),
            ("session", b"220 hi\r\n" + b"250 ok\r\n" * 3 + b"354 go\r\n250 got it\r\n")):
        yield Case(f"B13-{name}", "Z", dict(greeting=greeting),
                   says="more than the greeting before any command of ours is a protocol error", **NEXT)
    for name, greeting in (("line", (b"220-hi\r\n", CLOSE)), ("half", (b"220-hi\r\n22", CLOSE)),
                           ("code", (b"220", CLOSE)),
                           ("no-lf", (b"220 hi\r", CLOSE)), ("nothing", CLOSE)):
        yield Case(f"B14-{name}", "Z", dict(greeting=greeting), **NEXT)
    yield Case("B15-before", "K", dict(greeting=(Delay(1.2), "220 hi")), timeout=2)
    yield Case("B15-after", "Z", dict(greeting=(Delay(2.5), "220 hi")), timeout=1, within=3, next=True)


def hello_timeout(stage):
    """With a long timeoutremote, read out of poll()'s argument by a tracer: who waits for 300 s?"""
    stage.home.control("timeoutremote", "1200\n")
    trace = f"{stage.home.path}/trace"
    server = stage.first
    server.scripts = [dict(greeting=(Delay(0.3), "220 hi"), EHLO=(Delay(0.3), "421 no"))]
    stage.deliver(program="/usr/bin/strace", args=[
        "-f", "-qq", "-o", trace, "-e", "trace=poll,ppoll", f"{stage.home.path}/bin/qmail-remote", "dst.example",
        "a@src.example", "b@dst.example"])
    with open(trace, encoding="latin-1") as f:
        text = f.read()
    assert sum(text.count(n) for n in ("300000", "tv_sec=300", "tv_sec=299")) >= 2 and "1200000" not in text, text


CASES = list(cases())


@table(CASES)
def test_catalogue(stage, case):      # noqa: F811
    stage.hold(case)
