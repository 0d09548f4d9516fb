"""The catalogue, group C: EHLO."""

import fcntl
import struct
import time

from catalogue import Case, stage, table      # noqa: F401
from smtpd import CLOSE, DEAF, RESET, Call, Delay
from test_catalogue_b import flood

CLEAR_OR_NOT = {"clear": "K", "opp": "K", "ver": "Z"}
ANY = ("clear", "opp", "ver")
INSIDE = ("opp12", "opp13", "ver12", "ver13")
HELLO = "250-hi\n250 STARTTLS"


def verbs_are(*verbs):
    def check(stage):
        assert tuple(stage.sessions[-1].verbs) == verbs, stage.sessions[-1].verbs
    return check


def in_tls(stage):
    session, = stage.sessions
    assert session.tls and session.mails, session.clear


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
        yield Case(f"C1-{code}", CLEAR_OR_NOT, dict(EHLO=f"{code} what"), over=ANY)
    yield Case("C1-other", "Z", dict(EHLO="500 what"), over="ver", next="only")
    yield Case("C1-lines", CLEAR_OR_NOT, dict(EHLO="500-what\n500-STARTTLS\n500 PIPELINING"), over=ANY)
    for name, step in (("421", "421 busy"), ("421-closed", ("421 busy", CLOSE))):
        def no_helo(stage):
            assert "HELO" not in stage.sessions[0].verbs
        yield Case(f"C2-{name}", "Z", dict(EHLO=step), over=("clear", "ver"), next=True, check=no_helo, timeout=1,
                   within=4)
    plain = "whatever else answers EHLO: HELO, on a new connection where the old one is of no use; not where TLS is demanded"
    for name, step in (("450", "450 no"), ("closed", CLOSE), ("reset", RESET), ("half", (b"250-hi\r\n25", CLOSE)),
                       ("220", "220 x"), ("251", "251 x"), ("354", "354 x"), ("silent", DEAF)):
        def helo(stage):
            if not stage.is_demanded:
                assert "HELO" in stage.sessions[-1].verbs
            else:
                assert "HELO" not in stage.sessions[-1].verbs
        yield Case(f"C2-{name}", {"clear": "K", "opp": "K", "ver": "Z"}, dict(EHLO=step), over=ANY, check=helo,
                   timeout=1, within=4, several=True, says=plain)
        yield Case(f"C2-{name}-other", "Z", dict(EHLO=step), over="ver", next="only", timeout=1, within=4)
    for name, step in (("500", "500 what"), ("550", "550 no"), ("421", "421 no"), ("closed", CLOSE), ("450", "450 no"),
                       ("250-x", b"250-x\r\n251 y\r\n")):
        yield Case(f"C3-{name}", "Z", dict(EHLO="500 what", HELO=step), over=("clear", "opp"), next=True)


def keyword_cases():
    for name, word in (("lower", "starttls"), ("mixed", "StartTls"), ("blank", "STARTTLS "), ("tab", "STARTTLS\t"),
                       ("blanks", "STARTTLS \t "), ("parameter", "STARTTLS now")):
        yield Case(f"C4-{name}", "K", dict(EHLO=[f"250-hi\n250 {word}", "250 hi"]), over=("opp", "ver"), check=in_tls)
    yield Case("C4-lf", "K", dict(EHLO=[b"250-hi\n250 STARTTLS\n", "250 hi"]), over="ver", check=in_tls)
    yield Case("C4-first-line-only", CLEAR_OR_NOT, dict(EHLO="250 STARTTLS"), over=("opp", "ver"), cert=None,
               says="the first line is the server's name, never a keyword")
    yield Case("C4-pipelining", "K", dict(EHLO="250-hi\n250 pipelining"), check=grouped)
    for word in ("STARTTLSX", "X-STARTTLS", "XSTARTTLS", "STARTTLS=1", "START TLS", "STARTTLS,X", "STARTTL",
                 "STARTTLS-",
                 " STARTTLS", "\"STARTTLS\"", "X STARTTLS", "STARTTLS\0"):
        name = word.replace(" ", "_").replace("\0", "nul").replace("\"", "quote")
        yield Case(f"C5-{name}", CLEAR_OR_NOT, dict(EHLO=f"250-hi\n250 {word}"), over=("opp", "ver"), cert=None,
                   says="STARTTLS is a whole word at the start of its line; STARTTLS=1 is another one")
    for word in ("", "0", str(1 << 31), str(1 << 32), str(1 << 63), str(1 << 64), "9" * 100, "-1", "text", "1x", "x1",
                 "00", "1000 1"):
        def declares(stage, word=word):
            assert mail_line(stage).startswith(b"MAIL FROM:<a@src.example>")
        yield Case(f"C6-{word.replace(' ', '_') or 'none'}"[:30], "K", dict(EHLO=f"250-hi\n250 SIZE {word}".rstrip()),
                   check=declares)
        yield Case(f"C6-{word.replace(' ', '_') or 'none'}-tls"[:34], "K",
                   dict(EHLO=[HELLO, f"250-hi\n250 SIZE {word}".rstrip()]), over="ver13", check=declares)

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
            in_tls(stage)
        stage.run = None

    yield Case("C7-every-offset", "K", {}, over=("opp", "ver"), play=every_offset, several=True,
               says="no keyword is lost: what is cut is the text for the report, not what is looked at")
    yield Case("C8-many", "K", dict(EHLO=b"".join(b"250-X%d y\r\n" % n for n in range(10000)) + b"250 END\r\n"))
    yield Case("C8-many-tls", "K", dict(EHLO=[
        b"".join(b"250-X%d y\r\n" % n for n in range(10000)) + b"250 STARTTLS\r\n", "250 hi"]), over="ver",
               check=in_tls)
    for name, line in (("x", b"X" * 60000), ("words", b"X " * 30000), ("starttls", b"STARTTLS" + b"X" * 60000),
                       ("size", b"SIZE " + b"9" * 60000)):
        yield Case(f"C8-long-{name}", "KZ", dict(EHLO=b"250-hi\r\n250-" + line + b"\r\n250 X\r\n"),
                   over=("clear", "opp"),
                   cert=None)
    yield Case("C8-endless", "K", dict(EHLO=(b"250-hi\r\n", flood(b"250-X\r\n"))), several=True,
               says="given up after 1 MB, and HELO is tried")
    yield Case("C8-endless-line", "K", dict(EHLO=(b"250-hi\r\n250-", flood(b"X"))), several=True)
    for name, sizes in (("small-first", "10 1000000"), ("small-last", "1000000 10")):
        lines = "".join(f"250-SIZE {n}\n" for n in sizes.split())
        yield Case(f"C9-size-{name}", "D", dict(EHLO=f"250-hi\n{lines}250 X"),
                   says="of contradicting limits the strictest counts")
    yield Case("C9-starttls", "K", dict(EHLO=["250-hi\n250-STARTTLS\n250 STARTTLS", "250 hi"]), over=("opp", "ver"),
               check=in_tls)
    yield Case("C9-pipelining", "K", dict(EHLO="250-hi\n250-PIPELINING\n250 PIPELINING"), check=grouped)
    yield Case("C10-xxxx", CLEAR_OR_NOT, dict(EHLO="250-hi\n250-XXXXXXXA\n250 SIZE 1000000"), over=("opp", "ver"),
               cert=None)
    yield Case("C10-xxxx-other", "Z", dict(EHLO="250-hi\n250 XXXXXXXA"), over="ver", cert=None, next="only")


def inside_cases():
    rich = "250-hi\n250-STARTTLS\n250-PIPELINING\n250-8BITMIME\n250-CHUNKING\n250-LIMITS RCPTMAX=1\n250 SIZE 5"
    eight = dict(message=b"Subject: catalogue\n\n\xe4\n")
    yield Case("C11-lost", "K", dict(EHLO=[rich, "250 hi"]), over=INSIDE, check=lockstep, start=eight)
    yield Case("C11-lost-helo", "K", dict(EHLO=[rich, "500 what"]), over=INSIDE, check=lockstep, start=eight)

    def gained(stage):
        grouped(stage)
        assert b" SIZE=" in mail_line(stage) and mail_line(stage).endswith(b" BODY=8BITMIME")

    yield Case("C11-gained", "K", dict(EHLO=[HELLO, "250-hi\n250-PIPELINING\n250-8BITMIME\n250 SIZE 100000"]),
               over=INSIDE,
               check=gained, start=eight)

    def helo_inside(stage):
        session, = stage.sessions
        assert session.tls and session.clear.endswith(b"STARTTLS\r\n") and b"HELO me.example\r\n" in session.secret

    yield Case("C12-500", "K", dict(EHLO=[HELLO, "500 what"]), over=INSIDE, check=helo_inside)
    for name, step in (("450", "450 no"), ("220", "220 hi")):
        yield Case(f"C12-{name}", "K", dict(EHLO=[HELLO, step]), over=INSIDE, check=helo_inside)
    for name, script in (("421", dict(EHLO=[HELLO, "421 no"])),
                         ("both", dict(EHLO=[HELLO, "500 what"], HELO="500 what"))):
        yield Case(f"C12-{name}", {"opp": "K", "ver": "Z"}, script, over=INSIDE, several=True,
                   says="as if the handshake had failed")
        yield Case(f"C12-{name}-other", "Z", script, over=("ver12", "ver13"), next="only")
    yield Case("C13-again", "K", dict(EHLO=HELLO), over=INSIDE,
               check=lambda stage: verbs_are("EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA", "QUIT")(stage))


def not_connected(stage):
    assert stage.first.connections == 0


def name_cases():
    for name, text in (("cr", b"a\rMAIL FROM:<x>\n"), ("empty", b"\n"), ("nul", b"a\0b\n"),
                       ("blank", b"a b\n"),
                       ("8-bit", b"m\xfc.example\n"), ("256", b"a" * 256 + b"\n"), ("64k", b"a" * 65536 + b"\n"),
                       ("tab", b"a\tb\n"), ("esc", b"\x1b[2J\n"), ("blank-first", b" a\n"), ("del", b"a\x7f\n")):
        for which in ("helohost", "me"):
            yield Case(f"C14-{name}-{which}", "Z", control={which: text}, check=not_connected)

    def says(what):
        def check(stage):
            session, = stage.sessions
            assert session.commands[0][1] == b"EHLO " + what, session.commands
        return check

    yield Case("C14-255", "K", control=dict(helohost="a" * 255 + "\n"), check=says(b"a" * 255))
    yield Case("C14-lf", "K", control=dict(helohost="a.example\nMAIL FROM:<x>\n"), check=says(b"a.example"),
               says="the name is the first line, whatever follows")
    yield Case("C14-crlf", "K", control=dict(helohost="a.example\r\n"), check=says(b"a.example"))
    yield Case("C14-blank-behind", "K", control=dict(helohost="a.example \t\n"), check=says(b"a.example"))


def odd_cases():
    yield Case("C15-slow", "K", dict(
        ehlo=("PIPELINING",), MAIL=(Delay(0.05), "250 ok"), RCPT=(Delay(0.05), "250 ok"), DATA=(Delay(0.05), "354 go")))

    def one_at_a_time(session):
        """The next command is looked at only when the client has read this reply: nothing of it is on its way."""
        session.send(b"250 ok\r\n")
        while struct.unpack("i", fcntl.ioctl(session.sock.fileno(), 0x5411, b"\0\0\0\0"))[0] > 0:
            time.sleep(0.001)

    yield Case("C15-acknowledged", "K", dict(ehlo=("PIPELINING",), MAIL=Call(one_at_a_time), RCPT=Call(one_at_a_time)),
               over="pipe")
    three = dict(recipients=[f"u{n}@dst.example" for n in range(3)])

    def each_once(stage):
        got = sorted(r for m in stage.mails for r in m.recipients)
        assert got == [f"<u{n}@dst.example>".encode() for n in range(3)]
        assert all(len(m.recipients) == 1 for m in stage.mails)

    for name, words in (("lockstep", ()), ("pipe", ("PIPELINING",))):
        yield Case(f"C16-rcptmax-{name}", "K", dict(ehlo=(*words, "LIMITS RCPTMAX=1")), start=three, records="rrrK",
                   several=True, check=each_once)
        yield Case(f"C16-mailmax-{name}", "K", dict(ehlo=(*words, "LIMITS RCPTMAX=1 MAILMAX=1")), start=three,
                   records="rssK", says="what does not fit into MAILMAX transactions is tried again later")
    yield Case("C16-harmless", "K", dict(ehlo=("LIMITS MAILMAX=1 RCPTMAX=3",)), start=three, records="rrrK")
    for word in ("LIMITS", "LIMITS RCPTMAX", "LIMITS RCPTMAX=", "LIMITS RCPTMAX=0", "LIMITS RCPTMAX=-1",
                 "LIMITS RCPTMAX=x",
                 "LIMITS RCPTMAX=99999999999999999999", "LIMITS MAILMAX=0", "LIMITS =1", "LIMITS " + "X=1 " * 200):
        yield Case(f"C16-odd-{word[7:27].strip() or 'bare'}", "K", dict(ehlo=(word,)), start=three, records="rrrK")
    for name, reply in (
            ("size", b"250-hi\r\n250 STARTTLS\r\n250 SIZE 5\r\n"), ("250", b"250 hi\r\n250 ok\r\n"),
            ("554", b"250 hi\r\n554 no\r\n"), ("220", b"250-hi\r\n250 STARTTLS\r\n220 go\r\n"),
            ("part", b"250 hi\r\n250-\r\n"), ("session", b"250 hi\r\n250 ok\r\n250 ok\r\n354 go\r\n250 got it\r\n")):
        yield Case(f"C17-{name}", "Z", dict(EHLO=reply), over=("clear", "opp", "ver"), next=True)
        yield Case(f"C17-{name}-inside", "Z", dict(EHLO=[HELLO, reply]), over=("ver12", "ver13"), next=True)
    yield Case("C17-helo", "Z", dict(EHLO="500 what", HELO=b"250 hi\r\n250 ok\r\n"), next=True)


CASES = [*refused_cases(), *keyword_cases(), *inside_cases(), *name_cases(), *odd_cases()]


@table(CASES)
def test_catalogue(stage, case):      # noqa: F811
    stage.hold(case)
