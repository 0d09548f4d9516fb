"""The catalogue, group N: message content.

The judge of every case compares what goes over the wire with the written rule: LF and CRLF end lines, any other CR is a
blank, a last line without end gets one, a dot at the start of a line is doubled. What the text is made of makes no
difference in TLS, so only its size and its edges are tried there too.
"""

import os
import random
import re

from catalogue import Case, Setup, Start, Want, table

BOTH = ("clear", "tls13")
EDGES = (1024, 4095, 4096, 4097, 8192, 16383, 16384, 16385, 32767, 32768, 32769, 65535, 65536, 65537, 131072)


def n(name, message, want="K", *, setup=None, over="clear", says=None):
    return Case(name, setup, want, Start(message=message), over=over, says=says)


def one_message(stage):
    session, = stage.sessions
    assert len(session.mails) == 1 and session.verbs[-1] == "QUIT", session.verbs


ONE_MESSAGE = Want("K", check=one_message)


def line_end_cases():
    rule = "CR before LF belongs to the line end, every other CR goes out as a blank: none can end the mail data"
    for name, message in (
            ("cr", b"a\rb\n"), ("cr-cr", b"a\r\rb\n"), ("cr-cr-lf", b"a\r\r\nb\n"), ("cr-at-end", b"a\n\r"),
            ("text-cr-at-end", b"a\r"), ("crlf", b"a\r\nb\r\n"), ("cr-only", b"\r"), ("crs", b"\r" * 5000 + b"\n"),
            ("lf-cr", b"a\n\rb\n"), ("crlf-cr", b"a\r\n\rb\n"), ("cr-nul-lf", b"a\r\0\nb\n"),
            ("mixed", b"a\r\nb\nc\rd\r\re\n")):
        yield n(f"N1-{name}", message, ONE_MESSAGE, says=rule)
    ends = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r", "nul": b"\0", "crnul": b"\r\0", "nullf": b"\0\n",
            "lfcr": b"\n\r", "x": b"x"}
    for before, b in ends.items():
        for after, a in ends.items():
            message = b"Subject: catalogue\n\nfirst" + b + b"." + a + b"MAIL FROM:<evil@dst.example>\nrest\n"
            yield n(f"N2-{before}-dot-{after}", message, ONE_MESSAGE)
    for name, message in (("dot", b".\n"), ("dots", b"..\n"), ("dot-x", b".x\n"), ("dot-first", b".a\n.b\n..c\n...\n"),
                          ("dot-no-lf", b"."), ("dot-last", b"a\n."), ("dot-cr-last", b"a\n.\r"), ("dot-space", b". \n"),
                          ("dot-cr-cr-lf", b".\r\r\n"), ("million", b".\n" * 1000000),
                          ("dotted-lines", b"\n.\n" * 1000), ("dot-crlf", b".\r\n.\r\n"), ("cr-dot", b"\r.\n")):
        yield n(f"N3-{name}", message, ONE_MESSAGE)


def edge_cases():
    """What may be torn apart, around each edge: every other time with more behind it, else the message ends just there."""
    pieces = (b"\n.\n", b"\r\n", b"\r", b"\n", b".", b"\r\n.\r\n", b"\r.\r\n", b"\n.\r")
    for edge in EDGES:
        def sweep(stage, edge=edge):
            mine = random.Random(edge)
            for number, piece in enumerate(pieces):
                if (number + edge) % 2:
                    message = b"x" * (edge - mine.randrange(-1, len(piece) + 2)) + piece + b"y" * 300 + b"\n.\n"
                else:
                    message = b"x" * (edge - len(piece)) + piece
                stage.first.sessions.clear()
                stage.deliver(message=message)
                stage.judge(with_wire=False)
        yield Case(f"N4-{edge}", Setup(), "K", Start(play=sweep), over=BOTH if edge in (16384, 65537) else "clear")
    # Lengths are prime, so that repeated they put every byte at every place of any buffer.
    for name, piece in (
            ("crs-dots", b"x\r.\n.\r\n\r\r\n"), ("dots", b"\r\n.\r\n"), ("lf-dot-cr", b"\n.\r"), ("cr-cr", b".\n\r\r.\r\n"),
            ("lfs", b"\n"), ("dot-lf", b".\n"), ("smuggled", b"\r.\r\n.\r\n.\n."),
            ("text", b"a line of a usual message, some 70 bytes long, as people write them\r.\n")):
        piece += b"y" * (len(piece) % 2 == 0)
        yield n(f"N4-repeated-{name}", piece * (400000 // len(piece)), over=BOTH if name == "dots" else "clear")
    for seed in range(4):
        mine = random.Random(seed)
        message = b"".join(mine.choices((b"\r", b"\n", b".", b"x", b"\0", b"\r\n"), k=70000))
        yield n(f"N4-random-{seed}", message, over=BOTH if seed == 0 else "clear")


def byte_cases():
    everything = b"Subject: catalogue\n\n" + bytes(range(256)) + b"\n"
    yield n("N5-all-values", everything, over=BOTH, says="8-bit bytes and NUL go through as they are")
    yield n("N5-nul", b"a\0b\n\0\n\0.\n")
    yield n("N5-pairs", b"".join(bytes((a, b)) for a in range(0, 256, 3) for b in range(256)))
    yield n("N5-tls-alert", b"\x15\x03\x03\x00\x02\x01\x00\n", over="tls13")
    note = "8-bit bytes are sent as they are, as stock does; BODY=8BITMIME is said where 8BITMIME is offered"

    def said(what):
        def check(stage):
            mail, = [line for s in stage.sessions for _, line in s.commands if line.startswith(b"MAIL")]
            assert (b"BODY=8BITMIME" in mail) == what, mail
        return Want("K", check=check)

    offered = Setup(ehlo=("8BITMIME",))
    yield n("N6-not-offered", everything, said(False), over=("clear", "pipe"), says=note)
    yield n("N6-offered", everything, said(True), setup=offered, over=BOTH, says=note)
    yield n("N6-offered-for-nothing", b"Subject: x\n\nplain\n", said(False), setup=offered)

    def raw_address(stage):
        mail, = stage.mails
        assert mail.recipients == ['<"b\u00fccher"@dst.example>'.encode()], mail.recipients

    yield Case("N7-recipient", Setup(), Want("K", check=raw_address), Start(recipients=["b\u00fccher@dst.example"]),
               says="no SMTPUTF8: a non-ASCII local part goes out quoted, as stock sends it, and the server decides")
    yield n("N7-header", "Subject: catalogue gr\u00fc\u00df\n\nthe body\n".encode())
    yield Case("N7-server-refuses", Setup(RCPT="553 5.6.7 no SMTPUTF8 here"), "D",
               Start(recipients=["b\u00fccher@dst.example"]))
    for size in (998, 999, 1000, 1001, 5000):
        yield n(f"N8-{size}", b"Subject: " + b"x" * (size - 9) + b"\n\n" + b"y" * size + b"\n")
    yield n("N8-10-million", b"Subject: catalogue\n\n" + b"y" * 10000000 + b"\n", Want("K", within=10), over=BOTH,
            says="lines are never broken, whatever their length")
    yield n("N8-10-million-header", b"Subject: " + b"y" * 10000000 + b"\n\nx\n", Want("K", within=10))
    for name, message in (("text", b"a"), ("lines", b"a\nb"), ("blank", b"a\n "), ("big", b"x\n" * 50000 + b"end"),
                          ("cr", b"a\rb")):
        yield n(f"N9-{name}", message, says="a last line without an end gets one")
    for name, message in (("empty", b""), ("header-only", b"Subject: x\n"), ("header-and-blank", b"Subject: x\n\n"),
                          ("lf", b"\n"), ("crlf", b"\r\n"), ("lfs", b"\n" * 1000)):
        yield n(f"N10-{name}", message, over=("clear", "pipe", "tls13") if name == "empty" else "clear")


def size_cases():
    yield n("N11-1", b"x")

    def sparse(size):
        def play(stage):
            path = f"{stage.home.path}/queue/mess/big"
            with open(path, "wb") as f:
                f.truncate(size)
            stage.deliver(message=path)
            os.unlink(path)

        def check(stage):
            assert b"this one has %d. (#5.3.4)" % (size + 2) in stage.run.report, stage.run

        return Want("D", within=25, check=check), Start(play=play)

    for name, size in (("2g-1", (1 << 31) - 1), ("2g", 1 << 31), ("2g+1", (1 << 31) + 1), ("4g+1", (1 << 32) + 1)):
        yield Case(f"N11-{name}", Setup(ehlo=("SIZE 1000",)), *sparse(size),
                   says="test_process.py sends 5 GiB as a whole (--long); here they are measured, "
                        "and too large for the server")

    def declared(size):
        def check(stage):
            mail, = [line for s in stage.sessions for _, line in s.commands if line.startswith(b"MAIL")]
            assert re.search(rb" SIZE=(\d+)", mail).group(1) == b"%d" % size, mail
        return Want("K", check=check)

    def unsaid(stage):
        assert not any("MAIL" in s.verbs for s in stage.sessions) and b"(#5.3.4)" in stage.run.report

    for name, message, size in (("lf", b"a\nb\n", 6), ("crlf", b"a\r\nb\r\n", 6), ("no-end", b"ab", 4),
                                ("dots", b".\n.\n", 6), ("cr", b"a\rb\n", 5), ("empty", b"", 0),
                                ("big", b"x\n" * 100000, 300000)):
        yield n(f"N12-{name}-fits", message, declared(size), setup=Setup(ehlo=(f"SIZE {size}",)))
        if size > 1:
            yield n(f"N12-{name}-too-large", message, Want("D", check=unsaid), setup=Setup(ehlo=(f"SIZE {size - 1}",)))
    yield n("N12-server-says", b"x\n" * 100, "D", setup=Setup(ehlo=("SIZE 1000000",), MAIL="552 5.3.4 too big for you"))
    commands = b"Subject: catalogue\n\n.\r\nMAIL FROM:<evil@src.example>\r\nRCPT TO:<x@dst.example>\r\nDATA\r\n" \
        b"forged\r\n.\r\nQUIT\r\n"
    for name, message in (("crlf", commands), ("lf", commands.replace(b"\r\n", b"\n")),
                          ("cr", commands.replace(b"\r\n", b"\r")), ("lfcr", commands.replace(b"\r\n", b"\n\r")),
                          ("nul", commands.replace(b"\r\n", b"\0\r\n")), ("bdat", commands.replace(b"DATA", b"BDAT 3 LAST"))):
        yield n(f"N13-{name}", message, ONE_MESSAGE)


def chunking_cases():
    """A server that offers CHUNKING gets DATA, as any other: it may execute a chunk that it does not know."""
    def no_bdat(stage):
        session, = stage.sessions
        assert session.verbs[-4:] == ["MAIL", "RCPT", "DATA", "QUIT"], session.verbs

    offer = Setup(ehlo=("PIPELINING", "CHUNKING", "8BITMIME"))
    text = b"a line of text\n" * 70000
    for size in (0, 1, 32768, 65537, 1000003):
        yield n(f"N14-{size}", text[:size], Want("K", check=no_bdat), setup=offer,
                over=BOTH if size == 1000003 else "clear")


CASES = [*line_end_cases(), *edge_cases(), *byte_cases(), *size_cases(), *chunking_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
