"""The catalogue, group C: EHLO."""

import fcntl
import struct
import time

from catalogue import Case, Setup, Start, Want, not_connected, table
from expect_dialogue import malformed, refused
from expect_tls import IN_TLS, LOST_EHLO, NAME, NO_EHLO, NOT_OFFERED, UNWELCOME, USELESS
from smtpd import CLOSE, DEAF, RESET, Call, Delay
from test_catalogue_b import flood

EACH = ("clear", "opp", "enc", "ver")
HELLO = "250-hi\n250 STARTTLS"


def verbs_are(*verbs):
    def check(stage):
        assert tuple(stage.sessions[-1].verbs) == verbs, stage.sessions[-1].verbs
    return check


def mail_line(stage):
    session = stage.sessions[-1]
    return next(line for _, line in session.commands if line.startswith(b"MAIL"))


def lockstep(stage):
    """One command at a time, and no parameter."""
    session = stage.sessions[-1]
    data = bytes(session.secret or session.clear)
    assert mail_line(stage) == b"MAIL FROM:<a@src.example>", data
    for chunk in session.chunks:
        assert chunk.count(b"MAIL FROM") + chunk.count(b"RCPT TO") + chunk.count(b"DATA\r\n") <= 1, session.chunks


def grouped(stage):
    session = stage.sessions[-1]
    assert any(c.startswith(b"MAIL") and c.endswith(b"DATA\r\n") for c in session.chunks), session.chunks


def refused_cases():
    for code in ("500", "502", "504", "550", "554"):
        yield Case(f"C1-{code}", Setup(EHLO=f"{code} what"), NO_EHLO.but(said=f"{code} what"), next=code == "500",
                   over=EACH if code == "500" else ("clear", "ver"))
    lines = "500-what\n500-STARTTLS\n500 PIPELINING"
    yield Case("C1-lines", Setup(EHLO=lines), NO_EHLO.but(said=lines), over=("opp", "ver"))
    for name, step in (("421", "421 busy"), ("421-lines", "421-no\n421 busy"), ("421-closed", ("421 busy", CLOSE))):
        fate = USELESS.but(said=step if name != "421-closed" else "421 busy")
        yield Case(f"C2-{name}", Setup(EHLO=step), Want(fate, check=no_helo), next=name == "421",
                   over=EACH if name == "421" else "clear")
    plain = "whatever else answers EHLO: HELO, on a new connection if the old one is of no use; not where TLS is demanded"
    for reply in ("450 no", "450-no\n450 no", "220 x", "251 x", "354 x"):
        yield Case(f"C2-{reply[:3]}{'-lines' if '-' in reply else ''}", Setup(EHLO=reply), NO_EHLO.but(said=reply),
                   over=("clear", "ver"), says=plain)
    for name, step, fate in (
            ("closed", CLOSE, LOST_EHLO), ("reset", RESET, LOST_EHLO), ("half", (b"250-hi\r\n25", CLOSE), LOST_EHLO),
            ("500-half", (b"500 wh", CLOSE), LOST_EHLO), ("silent", DEAF, LOST_EHLO),
            ("mixed", b"250-hi\r\n550 no\r\n", LOST_EHLO.but(sentence=NAME, said="250-hi\n550 no")),
            ("four-digits", b"2500 ok\r\n", LOST_EHLO.but(sentence=NAME, said="2500 ok")),
            ("554-closed", ("554 no", CLOSE), LOST_EHLO.but(sentence=NAME, said="554 no"))):
        yield Case(f"C2-{name}", Setup(EHLO=step, timeout=1), Want(fate, within=4), next=name == "closed",
                   over=EACH if name in ("closed", "554-closed") else ("clear", "ver"), says=plain)
    yield Case("C2-closed-refused", Setup(EHLO=CLOSE, HELO="550 no"), refused("HELO", "550 no"))
    for reply in ("500 what", "550 no", "450 no", "421 no", "251 ok", "220 x"):
        yield Case(f"C3-{reply[:3]}", Setup(EHLO="500 what", HELO=reply),
                   Want(refused("HELO", reply), check=verbs_are("EHLO", "HELO", "QUIT")))
    for name, step in (("closed", CLOSE), ("reset", RESET)):
        yield Case(f"C3-{name}", Setup(EHLO="500 what", HELO=step),
                   refused("HELO", "500 what"), next=name == "closed",
                   says="what was said to EHLO tells more than a hang-up after HELO")
    for name, helo, said in (("closed", CLOSE, "554 no"), ("reset", RESET, "554 no"), ("550", "550 no", "550 no")):
        yield Case(f"C3-554-closed-{name}", Setup(EHLO=("554 no", CLOSE), HELO=helo), refused("HELO", said))
    yield Case("C3-250-x", Setup(EHLO="500 what", HELO=b"250-x\r\n251 y\r\n"), malformed("HELO"))


def no_helo(stage):
    assert not any("HELO" in s.verbs for s in stage.first.sessions)


def keyword_cases():
    for name, word in (("lower", "starttls"), ("mixed", "StartTls"), ("blank", "STARTTLS "), ("tab", "STARTTLS\t"),
                       ("blanks", "STARTTLS \t "), ("parameter", "STARTTLS now")):
        yield Case(f"C4-{name}", Setup(EHLO=[f"250-hi\n250 {word}", "250 hi"]), IN_TLS, over="ver")
    yield Case("C4-lf", Setup(EHLO=[b"250-hi\n250 STARTTLS\n", "250 hi"]), IN_TLS, over="ver")
    yield Case("C4-first-line-only", Setup(EHLO="250 STARTTLS", cert=None), NOT_OFFERED, over=("opp", "ver"),
               says="the first line is the server's name, never a keyword")
    yield Case("C4-pipelining", Setup(EHLO="250-hi\n250 pipelining"), Want("K", check=grouped))
    for word in ("STARTTLSX", "X-STARTTLS", "XSTARTTLS", "STARTTLS=1", "START TLS", "STARTTLS,X", "STARTTL", "TLS",
                 "STARTTLS-", " STARTTLS", "\"STARTTLS\"", "X STARTTLS", "STARTTLS\0"):
        name = word.replace(" ", "_").replace("\0", "nul").replace("\"", "quote")
        yield Case(f"C5-{name}", Setup(EHLO=f"250-hi\n250 {word}", cert=None), NOT_OFFERED, over="ver",
                   says="STARTTLS is a whole word at the start of its line; STARTTLS=1 is another one")
    for word in ("", "0", str(1 << 31), str(1 << 32), str(1 << 63), str(1 << 64), "9" * 100, "-1", "text", "1x", "x1",
                 "00", "1000 1"):
        def declares(stage):
            assert mail_line(stage).startswith(b"MAIL FROM:<a@src.example>")
        yield Case(f"C6-{word.replace(' ', '_') or 'none'}"[:30], Setup(EHLO=f"250-hi\n250 SIZE {word}".rstrip()),
                   Want("K", check=declares))

    def every_offset(stage):
        for size in (999, 1000, 1001, *range(4975, 5010, 2), 8180, 8185, 8190, 8192, 8195):
            filler, head = b"", b"250-hi\r\n"
            left = size - len(head)
            while left > 0:
                n = min(left, 500)
                if 0 < left - n < 8:
                    n -= 8
                filler += b"250-" + b"X" * (n - 6) + b"\r\n" if n >= 7 else b""
                left -= n
            stage.first.scripts = [dict(EHLO=[head + filler + b"250-STARTTLS\r\n250 SIZE 1000000\r\n", "250 hi"])]
            stage.first.sessions.clear()
            stage.deliver()
            assert stage.run.letters == "rK", (size, stage.run)
            session, = stage.sessions
            assert session.tls and session.mails, session.clear
        stage.run = None

    yield Case("C7-every-offset", Setup(), "K", Start(play=every_offset), over="ver",
               says="no keyword is lost: what is cut is the text for the report, not what is looked at")
    many = b"".join(b"250-X%d y\r\n" % n for n in range(10000))
    yield Case("C8-many", Setup(EHLO=many + b"250 END\r\n"), "K")
    yield Case("C8-many-tls", Setup(EHLO=[many + b"250 STARTTLS\r\n", "250 hi"]), IN_TLS, over="ver")
    for name, line in (("x", b"X" * 60000), ("words", b"X " * 30000), ("starttls", b"STARTTLS" + b"X" * 60000),
                       ("size", b"SIZE " + b"9" * 60000)):
        yield Case(f"C8-long-{name}", Setup(EHLO=b"250-hi\r\n250-" + line + b"\r\n250 X\r\n", cert=None), "KZ",
                   over="opp" if name == "starttls" else "clear")
    yield Case("C8-endless", Setup(EHLO=(b"250-hi\r\n", flood(b"250-X\r\n"))), LOST_EHLO,
               says="given up after 1 MB, and HELO is tried")
    yield Case("C8-endless-line", Setup(EHLO=(b"250-hi\r\n250-", flood(b"X"))), LOST_EHLO)
    for name, sizes in (("small-first", "10 1000000"), ("small-last", "1000000 10")):
        lines = "".join(f"250-SIZE {n}\n" for n in sizes.split())
        yield Case(f"C9-size-{name}", Setup(EHLO=f"250-hi\n{lines}250 X"), "D",
                   says="of contradicting limits the strictest counts")
    yield Case("C9-starttls", Setup(EHLO=["250-hi\n250-STARTTLS\n250 STARTTLS", "250 hi"]), IN_TLS, over="ver")
    yield Case("C9-pipelining", Setup(EHLO="250-hi\n250-PIPELINING\n250 PIPELINING"), Want("K", check=grouped))
    yield Case("C10-xxxx", Setup(EHLO="250-hi\n250-XXXXXXXA\n250 SIZE 1000000", cert=None), NOT_OFFERED,
               over=("opp", "ver"))


def inside_cases():
    rich = "250-hi\n250-STARTTLS\n250-PIPELINING\n250-8BITMIME\n250-CHUNKING\n250-LIMITS RCPTMAX=1\n250 SIZE 5"
    eight = Start(message=b"Subject: catalogue\n\n\xe4\n")
    yield Case("C11-lost", Setup(EHLO=[rich, "250 hi"]), Want(IN_TLS, check=lockstep), eight, over=("opp", "ver"))
    yield Case("C11-lost-helo", Setup(EHLO=[rich, "500 what"]), Want(IN_TLS, check=lockstep), eight, over="ver")

    def gained(stage):
        grouped(stage)
        assert b" SIZE=" in mail_line(stage) and mail_line(stage).endswith(b" BODY=8BITMIME")

    yield Case("C11-gained", Setup(EHLO=[HELLO, "250-hi\n250-PIPELINING\n250-8BITMIME\n250 SIZE 100000"]),
               Want(IN_TLS, check=gained), eight, over=("opp", "ver"))

    def helo_inside(stage):
        session, = stage.sessions
        assert session.tls and session.clear.endswith(b"STARTTLS\r\n") and b"HELO me.example\r\n" in session.secret

    for reply in ("500 what", "450 no", "220 hi"):
        yield Case(f"C12-{reply[:3]}", Setup(EHLO=[HELLO, reply]), Want(IN_TLS, check=helo_inside),
                   over=("opp", "enc", "ver") if reply == "500 what" else "ver")
    yield Case("C12-bare", Setup(EHLO=[HELLO, "250 ok"]), IN_TLS, over="ver")
    yield Case("C12-421", Setup(EHLO=[HELLO, "421 no"]), UNWELCOME.but(said="421 no"), over=("opp", "enc", "ver"),
               next=True, says="as if the handshake had failed")
    for helo in ("500 what", "450 no", "550 no"):
        yield Case(f"C12-both-{helo[:3]}", Setup(EHLO=[HELLO, "500 what"], HELO=helo), UNWELCOME.but(said=helo),
                   over=("opp", "ver") if helo == "500 what" else "opp")
    yield Case("C13-again", Setup(EHLO=HELLO),
               Want(IN_TLS, check=verbs_are("EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA", "QUIT")),
               over=("opp", "enc", "ver"))


def name_cases():
    for name, text in (("cr", b"a\rMAIL FROM:<x>\n"), ("empty", b"\n"), ("nul", b"a\0b\n"), ("blank", b"a b\n"),
                       ("8-bit", b"m\xfc.example\n"), ("256", b"a" * 256 + b"\n"), ("64k", b"a" * 65536 + b"\n"),
                       ("tab", b"a\tb\n"), ("esc", b"\x1b[2J\n"), ("blank-first", b" a\n"), ("del", b"a\x7f\n")):
        for which in ("helohost", "me") if name in ("cr", "empty") else ("helohost",):
            yield Case(f"C14-{name}-{which}", Setup(control={which: text}), Want("Z", check=not_connected))

    def is_said(what):
        def check(stage):
            session, = stage.sessions
            assert session.commands[0][1] == b"EHLO " + what, session.commands
        return check

    for name, text, said, says in (
            ("255", "a" * 255 + "\n", b"a" * 255, None), ("crlf", "a.example\r\n", b"a.example", None),
            ("lf", "a.example\nMAIL FROM:<x>\n", b"a.example", "the name is the first line, whatever follows"),
            ("blank-behind", "a.example \t\n", b"a.example", None)):
        yield Case(f"C14-{name}", Setup(control=dict(helohost=text)), Want("K", check=is_said(said)), says=says)


def odd_cases():
    yield Case("C15-slow",
               Setup(ehlo=("PIPELINING",), MAIL=(Delay(0.05), "250 ok"), RCPT=(Delay(0.05), "250 ok"),
                     DATA=(Delay(0.05), "354 go")), "K")

    def one_at_a_time(session):
        """The next command is looked at only when the client has read this reply: nothing of it is on its way."""
        session.send(b"250 ok\r\n")
        while struct.unpack("i", fcntl.ioctl(session.sock.fileno(), 0x5411, b"\0\0\0\0"))[0] > 0:
            time.sleep(0.001)

    yield Case("C15-acknowledged", Setup(ehlo=("PIPELINING",), MAIL=Call(one_at_a_time), RCPT=Call(one_at_a_time)),
               "K", over="pipe")
    three = Start(recipients=[f"u{n}@dst.example" for n in range(3)])

    def each_once(stage):
        got = sorted(r for m in stage.mails for r in m.recipients)
        assert got == [f"<u{n}@dst.example>".encode() for n in range(3)]
        assert all(len(m.recipients) == 1 for m in stage.mails)

    for name, words in (("lockstep", ()), ("pipe", ("PIPELINING",))):
        yield Case(f"C16-rcptmax-{name}", Setup(ehlo=(*words, "LIMITS RCPTMAX=1")),
                   Want("K", records="rrrK", several=True, check=each_once), three)
        yield Case(f"C16-mailmax-{name}", Setup(ehlo=(*words, "LIMITS RCPTMAX=1 MAILMAX=1")),
                   Want("K", records="rssK"), three,
                   says="what does not fit into MAILMAX transactions is tried again later")
    yield Case("C16-harmless", Setup(ehlo=("LIMITS MAILMAX=1 RCPTMAX=3",)), Want("K", records="rrrK"), three)
    for word in ("LIMITS", "LIMITS RCPTMAX", "LIMITS RCPTMAX=", "LIMITS RCPTMAX=0", "LIMITS RCPTMAX=-1",
                 "LIMITS RCPTMAX=x", "LIMITS RCPTMAX=99999999999999999999", "LIMITS MAILMAX=0", "LIMITS =1",
                 "LIMITS " + "X=1 " * 200):
        yield Case(f"C16-odd-{word[7:27].strip() or 'bare'}", Setup(ehlo=(word,)), Want("K", records="rrrK"),
                   three)
    for name, reply in (
            ("size", b"250-hi\r\n250 STARTTLS\r\n250 SIZE 5\r\n"), ("250", b"250 hi\r\n250 ok\r\n"),
            ("554", b"250 hi\r\n554 no\r\n"), ("220", b"250-hi\r\n250 STARTTLS\r\n220 go\r\n"),
            ("part", b"250 hi\r\n250-\r\n"), ("session", b"250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n250 got it\r\n")):
        over = ("opp", "enc", "ver") if name == "250" else "ver"
        yield Case(f"C17-{name}", Setup(EHLO=reply), USELESS, over=("clear", *over) if name == "250" else over,
                   next=name == "250")
        yield Case(f"C17-{name}-inside", Setup(EHLO=[HELLO, reply]), USELESS, over=over, next=name == "250")
    yield Case("C17-helo", Setup(EHLO="500 what", HELO=b"250 hi\r\n250 ok\r\n"), malformed("HELO"),
               next=True)


CASES = [*refused_cases(), *keyword_cases(), *inside_cases(), *name_cases(), *odd_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
