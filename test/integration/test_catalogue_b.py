"""The catalogue, group B: the greeting."""

from catalogue import Case, Setup, Start, Want, table
from expect import ANY
from expect_dialogue import malformed, no_reply, refused
from smtpd import CLOSE, DEAF, Call, Delay, Drip

REFUSED = malformed("greeting")
NO_REPLY = no_reply("greeting", said=ANY)


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


def greets(name, greeting, want="K", *, timeout=None, says=None, **how):
    return Case(name, Setup(greeting=greeting, timeout=timeout), want, says=says, **how)


def taken_cases():
    skipped = "lines without a code are skipped"
    for name, greeting in (
            ("B1-lines", b"220-a\r\n220-b\r\n220 c\r\n"), ("B1-bare", b"220\r\n"), ("B1-blank", b"220 \r\n"),
            ("B1-bare-lines", b"220-\r\n220\r\n"), ("B1-512", b"220 " + b"x" * 506 + b"\r\n"),
            ("B1-tab", b"220 \thi\r\n"), ("B2-bytes", Drip(b"220-a\r\n220 b\r\n", 0.002))):
        yield greets(name, greeting)
    yield greets("B2-lf", b"220-a\n220 b\n", says="LF alone ends a line")
    yield greets("B2-crcrlf", b"220 a\r\r\n\r\n", says=skipped)
    for name, greeting in (
            ("comma", b"220,hi\r\n"), ("tab", b"220\thi\r\n"), ("no-blank", b"220hi\r\n"),
            ("underscore", b"220_hi\r\n"), ("nul", b"220\0hi\r\n"), ("cr-behind", b"220\r hi\r\n")):
        yield greets(f"B10-{name}", greeting, says="what is no digit ends the code")
    yield greets("B11-no-code", b"220-a\r\nb\r\n22\r\n\r\n220 c\r\n", says=skipped)
    for name, text in (
            ("nul", b"a\0b"), ("8-bit", bytes(range(128, 256))), ("esc", b"\x1b[2J\x1b]0;x\x07"), ("del", b"\x7f\x08"),
            ("utf-8", "gr\u00fc\u00df dich".encode())):
        yield greets(f"B12-{name}", b"220 " + text + b"\r\n",
                     says="8-bit text passes: replies may be in UTF-8, and qmail-send masks its log")
        yield greets(f"B12-{name}-554", b"554 " + text + b"\r\n", REFUSED)
    yield greets("B15-before", (Delay(1.2), "220 hi"), timeout=2)


def refused_cases():
    for number, codes, says in (
            (3, ("421", "450"), None), (4, ("554", "550", "500"), "5yz greetings are Z, as in stock"),
            (5, ("521",), "Z like every 5yz greeting"), (7, ("250", "221", "354", "199"), None)):
        for code in codes:
            yield greets(f"B{number}-{code}", f"{code} no", refused("greeting", f"{code} no"),
                         next=code == "421", says=says)
    for number, code in ((3, "421"), (5, "521")):
        yield greets(f"B{number}-{code}-closed", (f"{code} no", CLOSE),
                     refused("greeting", f"{code} no"))
    for name, greeting in (
            ("220-250", b"220-a\r\n250 b\r\n"), ("220-554", b"220-a\r\n554 b\r\n"), ("554-220", b"554-a\r\n220 b\r\n"),
            ("220-421-220", b"220-a\r\n421-b\r\n220 c\r\n"), ("other-digit", b"220-a\r\n221 b\r\n")):
        yield greets(f"B11-{name}", greeting, REFUSED, next=name == "220-554")
    for name, greeting in (("five-digits", b"22000\r\n"), ("four-digits", b"2200 hi\r\n"), ("zero", b"000 hi\r\n")):
        yield greets(f"B10-{name}", greeting, REFUSED)
    for name, piece in (("line", b"x"), ("nul", b"\0"), ("cr", b"\r"), ("digits", b"2")):
        yield greets(f"B8-{name}", (b"220 ", flood(piece)), Want("Z", check=was_given_up), next=name == "line")
    for name, piece in (("lines", b"220-x\r\n"), ("bare", b"220-\n"), ("long", b"220-" + b"x" * 990 + b"\r\n")):
        yield greets(f"B9-{name}", flood(piece), Want("Z", check=was_given_up), says="a reply of more than 1 MB is none")
    for name, behind in (
            ("250", b"250 early\r\n"), ("220", b"220 hi\r\n"), ("554", b"554 no\r\n"),
            ("ehlo", b"250-hi\r\n250 PIPELINING\r\n"), ("part", b"250-x\r\n"),
            ("session", b"250 ok\r\n" * 3 + b"354 go\r\n250 got it\r\n")):
        yield greets(f"B13-{name}", b"220 hi\r\n" + behind, "Z", next=name == "250",
                     says="more than the greeting before any command of ours is a protocol error")


def unanswered_cases():
    yield greets("B6-silent", DEAF, Want(no_reply("greeting"), within=3.5), timeout=1, next=True)
    yield Case("B6-bound", Setup(), Want("Z", within=9), Start(play=hello_timeout),
               says="greeting, EHLO and STARTTLS get timeoutremote, but at most 300 s")
    for name, greeting in (
            ("http", b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"), ("ssh", b"SSH-2.0-OpenSSH_9.9\r\n"),
            ("imap", b"* OK ready\r\n"), ("pop3", b"+OK ready\r\n"),
            ("server-hello", b"\x16\x03\x03\x00\x4a\x02\x00\x00\x46\x03\x03" + bytes(range(70)) + b"\r\n"),
            ("alert", b"\x15\x03\x01\x00\x02\x02\x50\r\n"), ("zeros", b"\0" * 200 + b"\n"),
            ("noise", bytes(range(256)) * 4), ("telnet", b"\xff\xfd\x18\xff\xfd\x20login: \r\n")):
        yield greets(f"B7-{name}", greeting, NO_REPLY, timeout=1)
    yield greets("B8-dripping", (b"220 ", Drip(b"x" * 1000, 0.1)), Want("Z", within=3.5), timeout=1)
    for name, greeting in (
            ("letters-in-code", b"2x0 hi\r\n"), ("sign", b"-20 hi\r\n"), ("blank-first", b" 220 hi\r\n"),
            ("two-digits", b"22\r\n"), ("two-digits-text", b"22 hi\r\n"), ("empty", b"\r\n"), ("empty-lf", b"\n"),
            ("plus", b"+220 hi\r\n"), ("hex", b"0xdc hi\r\n"), ("wide-digits", "\uff12\uff12\uff10 hi\r\n".encode()),
            ("arabic", "\u0662\u0662\u0660 hi\r\n".encode()), ("cr-inside", b"2\r20 hi\r\n"),
            ("blank-inside", b"2 0 x\r\n"), ("letters", b"abc\r\n")):
        yield greets(f"B10-{name}", greeting, NO_REPLY, timeout=1)
        yield greets(f"B10-{name}-before", greeting + b"220 hi\r\n", says="lines without a code are skipped")
    for name, greeting in (("line", (b"220-hi\r\n", CLOSE)), ("half", (b"220-hi\r\n22", CLOSE)), ("code", (b"220", CLOSE)),
                           ("no-lf", (b"220 hi\r", CLOSE)), ("nothing", CLOSE)):
        yield greets(f"B14-{name}", greeting, no_reply("greeting"), next=name == "nothing")
    yield greets("B15-after", (Delay(2.5), "220 hi"), Want(no_reply("greeting"), within=3), timeout=1)


def hello_timeout(stage):
    """With a long timeoutremote, read out of poll()'s argument by a tracer: who waits for 300 s?"""
    stage.home.control("timeoutremote", "1200\n")
    trace = f"{stage.home.path}/trace"
    stage.first.scripts = [dict(greeting=(Delay(0.3), "220 hi"), EHLO=(Delay(0.3), "421 no"))]
    stage.deliver_traced("-e", "trace=poll,ppoll", trace=trace)
    with open(trace, encoding="latin-1") as f:
        text = f.read()
    assert sum(text.count(n) for n in ("300000", "tv_sec=300", "tv_sec=299")) >= 2 and "1200000" not in text, text


CASES = [*taken_cases(), *refused_cases(), *unanswered_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
