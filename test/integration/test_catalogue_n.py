"""The catalogue, group N: message content.

The judge of every case compares what the server stores with the written rule: LF and CRLF end lines, any
other CR is a blank, a last line without end gets one; on the wire there is no CR and no LF but in CRLF.
"""

import os
import random
import re

from catalogue import Case, stage, table      # noqa: F401

ALL = ("clear", "pipe", "tls13")
EDGES = (4095, 4096, 4097, 16383, 16384, 16385, 32767, 32768, 32769, 65535, 65536, 65537)


def n(name, message, want="K", server=(), over=ALL, **how):
    return Case(name, want, dict(server), over=over, start=dict(message=message), **how)


def one_message(stage):
    session, = stage.sessions
    assert len(session.mails) == 1 and session.verbs[-1] == "QUIT", session.verbs


def line_end_cases():
    rule = "CR before LF belongs to the line end, every other CR goes out as a blank: none can end the mail data"
    for name, message in (
            ("cr", b"a\rb\n"), ("cr-cr-lf", b"a\r\r\nb\n"), ("cr-at-end", b"a\n\r"), ("crlf", b"a\r\nb\r\n"),
            ("cr-only", b"\r"),
            ("crs", b"\r" * 5000 + b"\n"), ("lf-cr", b"a\n\rb\n"), ("crlf-cr", b"a\r\n\rb\n"),
            ("cr-nul-lf", b"a\r\0\nb\n"),
            ("mixed", b"a\r\nb\nc\rd\r\re\n")):
        yield n(f"N1-{name}", message, check=one_message, says=rule)
    ends = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r", "nul": b"\0", "crnul": b"\r\0", "nullf": b"\0\n",
            "lfcr": b"\n\r", "": b"x"}
    for before, b in ends.items():
        for after, a in ends.items():
            message = b"Subject: catalogue\n\nfirst" + b + b"." + a + b"MAIL FROM:<evil@dst.example>\nrest\n"
            yield n(f"N2-{before or 'x'}-dot-{after or 'x'}", message, over=("clear", "pipe"), check=one_message)
    for name, message in (("dot", b".\n"), ("dots", b"..\n"), ("dot-x", b".x\n"),
                          ("dot-first", b".a\n.b\n..c\n...\n"), ("dot-no-lf", b"."),
                          ("dot-space", b". \n"), ("million", b".\n" * 1000000), ("dotted-lines", b"\n.\n" * 1000),
                          ("dot-crlf", b".\r\n.\r\n"), ("cr-dot", b"\r.\n")):
        yield n(f"N3-{name}", message, check=one_message, within=8)


def edge_cases():
    """Each critical byte at each place around each edge, in one message for each edge and byte."""
    pieces = (b"\n.\n", b"\r\n", b"\r", b"\n", b".", b"\r\n.\r\n", b"\r.\r\n", b"\n.\r")
    for edge in EDGES:
        def sweep(stage, edge=edge):
            mine = random.Random(edge)
            for piece in pieces:
                at = edge - mine.randrange(-1, len(piece) + 2)
                message = b"x" * at + piece + b"y" * 300 + b"\n.\n"
                stage.case.start["message"] = message
                stage.first.sessions.clear()
                stage.deliver(message=message)
                stage.judge(with_wire=False)
        yield Case(f"N4-{edge}", "K", {}, over=ALL, play=sweep, within=8, several=True)
    for seed in range(4):
        mine = random.Random(seed)
        message = b"".join(mine.choices((b"\r", b"\n", b".", b"x", b"\0", b"\r\n"), k=70000))
        yield n(f"N4-random-{seed}", message)


def byte_cases():
    everything = b"Subject: catalogue\n\n" + bytes(range(256)) + b"\n"
    yield n("N5-all-values", everything, says="8-bit bytes and NUL go through as they are")
    yield n("N5-nul", b"a\0b\n\0\n")
    yield n("N5-pairs", b"".join(bytes((a, b)) for a in range(0, 256, 3) for b in range(256)))
    note = "8-bit bytes are sent as they are, as stock does; BODY=8BITMIME is said where 8BITMIME is offered"

    def said(what):
        def check(stage):
            mail, = [line for s in stage.sessions for _, line in s.commands if line.startswith(b"MAIL")]
            assert (b"BODY=8BITMIME" in mail) == what, mail
        return check

    yield n("N6-not-offered", everything, over=("clear", "pipe", "tls13"), check=said(False), says=note)
    for way in ("clear", "tls13"):
        yield n("N6-offered", everything, server=dict(ehlo=("8BITMIME",)), over=way, check=said(True), says=note)
    yield n("N6-offered-for-nothing", b"Subject: x\n\nplain\n", server=dict(ehlo=("8BITMIME",)), over="clear",
            check=said(False))

    def raw_address(stage):
        mail, = stage.mails
        assert mail.recipients == ['<"b\u00fccher"@dst.example>'.encode()], mail.recipients

    yield Case("N7-recipient", "K", {}, over=("clear", "tls13"), start=dict(recipients=["b\u00fccher@dst.example"]),
               check=raw_address,
               says="no SMTPUTF8: a non-ASCII local part goes out quoted, as stock sends it, and the server decides")
    yield Case("N7-header", "K", {}, over=("clear", "tls13"),
               start=dict(message="Subject: catalogue gr\u00fc\u00df\n\nthe body\n".encode()))
    yield Case("N7-server-refuses", "D", dict(RCPT="553 5.6.7 no SMTPUTF8 here"),
               start=dict(recipients=["b\u00fccher@dst.example"]))
    for size in (998, 999, 1000, 1001):
        yield n(f"N8-{size}", b"Subject: " + b"x" * (size - 9) + b"\n\n" + b"y" * size + b"\n")
    yield n("N8-10-million", b"Subject: catalogue\n\n" + b"y" * 10000000 + b"\n", within=10,
            says="lines are never broken, whatever their length")
    yield n("N8-10-million-header", b"Subject: " + b"y" * 10000000 + b"\n\nx\n", over="clear", within=10)
    for name, message in (("text", b"a"), ("lines", b"a\nb"), ("blank", b"a\n "), ("big", b"x\n" * 50000 + b"end"),
                          ("cr", b"a\r")):
        yield n(f"N9-{name}", message, says="a last line without an end gets one")
    for name, message in (("empty", b""), ("header-only", b"Subject: x\n"), ("header-and-blank", b"Subject: x\n\n"),
                          ("lf", b"\n"),
                          ("crlf", b"\r\n"), ("dot", b"."), ("dot-lf", b".\n"), ("lfs", b"\n" * 1000)):
        yield n(f"N10-{name}", message)


def size_cases():
    yield n("N11-0", b"")
    yield n("N11-1", b"x")

    def sparse(size, said):
        def play(stage):
            path = f"{stage.home.path}/queue/mess/big"
            with open(path, "wb") as f:
                f.truncate(size)
            stage.deliver(message=path)
            os.unlink(path)

        def check(stage):
            assert b"this one has %d. (#5.3.4)" % said in stage.run.report, stage.run
        return dict(play=play, check=check)

    for name, size in (("2g-1", (1 << 31) - 1), ("2g", 1 << 31), ("2g+1", (1 << 31) + 1), ("4g+1", (1 << 32) + 1)):
        yield Case(f"N11-{name}", "D", dict(ehlo=("SIZE 1000",)), within=25, **sparse(size, size + 2),
                   says="test_process.py sends 5 GiB as a whole (--long); here they are measured, "
                        "and too large for the server")

    def declared(size):
        def check(stage):
            mail, = [line for s in stage.sessions for _, line in s.commands if line.startswith(b"MAIL")]
            assert re.search(rb" SIZE=(\d+)", mail).group(1) == b"%d" % size, mail
        return check

    def unsaid(stage):
        assert not any(line.startswith(b"MAIL") for s in stage.sessions for _,
                       line in s.commands) and b"(#5.3.4)" in stage.run.report

    for name, message, size in (("lf", b"a\nb\n", 6), ("crlf", b"a\r\nb\r\n", 6), ("no-end", b"ab", 4),
                                ("dots", b".\n.\n", 6),
                                ("cr", b"a\rb\n", 5), ("empty", b"", 0), ("big", b"x\n" * 100000, 300000)):
        for way in ("clear", "tls13"):
            yield n(f"N12-{name}-fits", message, server=dict(ehlo=(f"SIZE {size}",)), over=way, check=declared(size))
        if size > 1:
            yield n(f"N12-{name}-too-large", message, "D", server=dict(ehlo=(f"SIZE {size - 1}",)), over="clear",
                    check=unsaid)
    yield n("N12-server-says", b"x\n" * 100, "D", server=dict(ehlo=("SIZE 1000000",),
                                                              MAIL="552 5.3.4 too big for you"), over="clear")
    commands = b"Subject: catalogue\n\n.\r\nMAIL FROM:<evil@src.example>\r\nRCPT TO:<x@dst.example>\r\nDATA\r\n" \
        b"forged\r\n.\r\nQUIT\r\n"
    for name, message in (("crlf", commands), ("lf", commands.replace(b"\r\n", b"\n")),
                          ("cr", commands.replace(b"\r\n", b"\r")),
                          ("lfcr", commands.replace(b"\r\n", b"\n\r")), ("nul", commands.replace(b"\r\n", b"\0\r\n")),
                          ("bdat", commands.replace(b"DATA", b"BDAT 3 LAST"))):
        yield n(f"N13-{name}", message, check=one_message)


def chunking_cases():
    """A server that offers CHUNKING gets DATA, as any other: it may execute a chunk that it does not know."""
    def no_bdat(stage):
        session, = stage.sessions
        assert session.verbs[-4:] == ["MAIL", "RCPT", "DATA", "QUIT"], session.verbs

    offer = dict(ehlo=("PIPELINING", "CHUNKING", "8BITMIME"))
    for size in (0, 1, 32768, 65537, 1000003):
        yield n(f"N14-{size}", (b"line %d\n" % size * size)[:size], server=offer, check=no_bdat, within=8)


CASES = [*line_end_cases(), *edge_cases(), *byte_cases(), *size_cases(), *chunking_cases()]


@table(CASES)
def test_catalogue(stage, case):      # noqa: F811
    stage.hold(case)
