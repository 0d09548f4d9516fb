"""The catalogue, group H: replies to MAIL, RCPT, DATA and the end of mail data.

A reply is the same whether it comes in clear text or in TLS, so most are tried in clear text alone: "one by one" and in
a group. What ends a connection, or takes its time, goes through TLS as well.
"""

import socket

from catalogue import BIG, Case, Setup, Start, Want, sessions, table
from expect import ANY
from expect_dialogue import delivered, malformed, no_reply, refused
from expect_tls import NO_REPLY, NO_SESSION, REFUSED_AND_OVER, UNWELCOME
from smtpd import CLOSE, CLOSE_NOTIFY, DEAF, RESET, As, Call, Delay, Drip, Plain, Read

SINGLE_OR_GROUP = ("clear", "pipe")
GROUP = ("pipe", "tls13")
TRANSPORTS = ("clear", "tls12", "tls13")

HELLO = "250-hi\n250 STARTTLS"
TWO_TO = Start(recipients=["b@dst.example", "c@dst.example"])
FIVE = Start(recipients=[f"u{n}@dst.example" for n in range(5)])


def nothing_of_the_body(stage):
    for session in stage.sessions:
        assert b"the body" not in session.clear + session.secret
        assert not any(m.wire for m in session.mails)


def accepted_are(*names):
    """The one message has just these recipients."""
    def check(stage):
        mail, = stage.mails
        assert mail.recipients == [f"<{n}@dst.example>".encode() for n in names], mail.recipients
    return check


def quits(stage):
    """Nothing of the mail was sent; and QUIT, if the server had not gone before it took it: in a group it may have."""
    nothing_of_the_body(stage)
    last = stage.first.session.verbs[-1]
    assert last == "QUIT" or stage.way.ehlo and last == "DATA", stage.first.session.verbs


def refusal_cases():
    """H1, H7, H42: a reply in the place of the one that is wanted."""
    for number, step, replies in (
            (1, "MAIL", ("450 no", "451-no\n451 no", "421 no", "550 no", "501-a\n501 b", "599 no")),
            (42, "RCPT", ("550-no\n550 such", "450 not now", "421 no")),
            (7, "DATA", ("554 no", "554-a\n554 b", "451 no", "421 no"))):
        for reply in replies:
            yield Case(f"H{number}-{reply[:3]}{'-lines' if '-' in reply else ''}", Setup(**{step: reply}),
                       Want(refused(step, reply), check=quits), over=SINGLE_OR_GROUP, unused=True,
                       says="from MAIL on it is one host that decides: no other one is asked")
    for code in (250, 200, 220, 254, 299, 199, 300, 353, 355, 399, 850):
        yield Case(f"{'H7' if code == 250 else 'H2'}-{code}-data", Setup(DATA=f"{code} x"),
                   Want("Z", records="rZ", check=nothing_of_the_body), over=SINGLE_OR_GROUP, unused=True)
    for code, letter in ((299, "K"), (255, "K"), (0, "Z"), (199, "Z"), (354, "Z"), (399, "Z"), (600, "Z"), (850, "Z"),
                         (999, "Z")):
        for step in ("MAIL", "RCPT"):
            yield Case(f"H2-{code}-{step.lower()}", Setup(**{step: f"{code:03} x"}), letter, over=SINGLE_OR_GROUP,
                       unused=True)
    for code in (299, 255, 251):
        yield Case(f"H2-{code}-end", Setup(END=f"{code} x"), delivered(f"{code} x"), unused=True)
    for step in ("MAIL", "RCPT", "DATA", "END"):
        for name, reply in (("250-550", b"250-yes\r\n550 no\r\n"), ("550-250", b"550-no\r\n250 yes\r\n"),
                            ("550-450", b"550-no\r\n450 later\r\n"), ("354-550", b"354-go\r\n550 no\r\n"),
                            ("four-digits", b"2500 ok\r\n"), ("high-bit", b"2\xb50 ok\r\n")):
            yield Case(f"H22-{name}-{step.lower()}", Setup(**{step: reply}, timeout=1), Want("Z", check=no_verdict),
                       over=SINGLE_OR_GROUP if step != "END" else "clear", unused=True)
    for step in ("MAIL", "RCPT", "END"):
        over = SINGLE_OR_GROUP if step != "END" else "clear"
        low = step.lower()
        yield Case(f"H21-250-5.1.1-{low}", Setup(**{step: "250 5.1.1 no such user"}), "K", over=over)
        for reply in ("550 2.1.5 fine", "450 5.1.1 gone for ever"):
            yield Case(f"H21-{reply[:9].replace(' ', '-')}-{low}", Setup(**{step: reply}), refused(step, reply), over=over)
        for name, reply in (("bare", b"250\r\n"), ("blank", b"250 \r\n"), ("lines", b"250-\r\n250\r\n"),
                            ("bare-lf", b"250\n")):
            yield Case(f"H23-{name}-{low}", Setup(**{step: reply}), "K", over=over)


def no_verdict(stage):
    """Whatever a reply that is none is taken for, it neither refuses nor accepts."""
    assert not {"K", "h"} & set(stage.run.letters), stage.run


def recipient_cases():
    def only_its_own(stage):
        first, second, _ = stage.run.records
        assert b"first" in first.text and b"first" not in second.text + stage.run.message.text

    yield Case("H21-stale-text", Setup(RCPT=["550-first first first\n550 first", "550 x"]),
               Want("D", records="hhD", check=only_its_own), TWO_TO, over=SINGLE_OR_GROUP)
    yield Case("H3-mix", Setup(RCPT=["250 ok", "251 ok", "252 ok", "450 no", "550 no"]),
               Want("K", records="rrrshK", check=accepted_are("u0", "u1", "u2")), FIVE, over=(*SINGLE_OR_GROUP, "tls13"))
    yield Case("H3-mix-other-way", Setup(RCPT=["550 no", "450 no", "252 ok", "251 ok", "250 ok"]),
               Want("DK", records="hsrrrK", check=accepted_are("u2", "u3", "u4")), FIVE, over=SINGLE_OR_GROUP)
    yield Case("H3-421", Setup(RCPT=["421 a", "250 b"]), Want("Z", records="srK", check=accepted_are("c")), TWO_TO,
               over=SINGLE_OR_GROUP, says="the next recipient is tried whatever was said to the one before")
    for name, replies, records, letter in (
            ("550", ["550 no"], "hhD", "D"), ("450", ["450 no"], "ssD", "Z"),
            ("450-550", ["450 no", "550 no"], "shD", "Z"), ("550-450", ["550 no", "450 no"], "hsD", "D")):
        yield Case(f"H4-{name}", Setup(RCPT=replies), Want(letter, records=records, check=nothing_of_the_body), TWO_TO,
                   over=SINGLE_OR_GROUP, unused=True,
                   says="the message record stays stock's D \"Giving up on\" for every mix of refusals; "
                        "qmail-rspawn, which has one recipient a run, goes by the recipient's own record")
    for code in (452, 552):
        yield Case(f"H5-{code}", Setup(RCPT=["250 ok", "250 ok", f"{code} too many"]),
                   Want("K", records="rrsssK", check=accepted_are("u0", "u1")), FIVE, over=SINGLE_OR_GROUP)
    yield Case("H5-552-alone", Setup(RCPT="552 mailbox full"), refused("RCPT", "552 mailbox full"), over=SINGLE_OR_GROUP,
               says="552 for the only recipient is what stock makes of it, permanent: it is the mailbox that is full")

    def twice(stage):
        for n, letters in enumerate(("srK", "rK")):
            recipients = ["b@dst.example", "c@dst.example"][:2 - n]
            stage.deliver(recipients=recipients)
            assert stage.run.letters == letters, stage.run
        got = [m.recipients for m in stage.mails]
        assert got == [[b"<c@dst.example>"], [b"<b@dst.example>"]], got

    yield Case("H6-first-452-then-250", Setup(sessions=[dict(RCPT=["452 no", "250 ok"]), dict()]),
               Want("K", several=True), Start(play=twice), over=SINGLE_OR_GROUP)

    def only_the_dot(stage):
        session = stage.sessions[0]
        assert [m.wire for m in session.mails] == [b".\r\n"], (session.chunks, session.sent)

    for name, end in (("250", "250 ok"), ("550", "550 no"), ("nothing", DEAF), ("closed", CLOSE)):
        for reply in ("550 no", "450 no"):
            yield Case(f"H8-{reply[:3]}-dot-{name}", Setup(RCPT=reply, DATA="354 go", END=end),
                       Want(refused("RCPT", reply), check=only_the_dot), over=GROUP if reply == "550 no" else "pipe",
                       unused=True)


def end_cases():
    for reply in ("250 got it", "251 got it"):
        yield Case(f"H9-{reply[:3]}", Setup(END=reply), delivered(reply), over=TRANSPORTS, unused=True)
    for reply in ("421 no", "450 no", "452 full", "550 no", "554 spam", "552-a\n552-b\n552 c"):
        yield Case(f"H9-{reply[:3]}", Setup(END=reply), refused("END", reply), unused=True,
                   over=TRANSPORTS if reply == "550 no" else "clear")
    for name, reply in (("354", "354 go"), ("199", "199 wait"), ("zero", b"000 ok\r\n"), ("600", "600 x"), ("399", "399 x"),
                        ("999", "999 x"), ("long", b"2500 ok\r\n")):
        yield Case(f"H9-{name}", Setup(END=reply), malformed("END"), over=TRANSPORTS if name == "354" else "clear",
                   unused=True)
    for name, line in (("no-digits", b"yes\r\n"), ("short", b"25\r\n"), ("letter", b"25o ok\r\n"), ("empty", b"\r\n"),
                       ("binary", bytes(range(128, 256)) + b"\n")):
        yield Case(f"H9-{name}", Setup(END=(line, CLOSE)), malformed("END"), unused=True,
                   over=TRANSPORTS if name == "no-digits" else "clear")
        yield Case(f"H9-{name}-before", Setup(END=As("2", line + b"250 got it\r\n")), Want(delivered(ANY)),
                   says="lines without a code are skipped, and stay in the report")
    yield Case("H9-no-digits-silent", Setup(END=(b"yes\r\n", DEAF), timeout=1), malformed("END"), unused=True)
    yield Case("H10-in-time", Setup(END=(Delay(1.6), "250 got it"), timeout=2), Want(delivered(), within=5),
               over=("clear", "tls13"))

    def waits_1200(stage):
        assert b"timeout=1200" in stage.told, stage.told

    def prepare(stage):
        def look(session):
            with open(f"/proc/{stage.process.pid}/cmdline", "rb") as f:
                stage.told = f.read().split(b"\0")
            return "250 got it"
        stage.first.scripts[0]["END"] = Call(look)

    def play(stage):
        stage.process = stage.begin()
        stage.deliver(stage.process)

    yield Case("H10-default", Setup(control=dict(timeoutremote=None), prepare=prepare), Want("K", check=waits_1200),
               Start(play=play),
               says="the reply to the end of mail data gets all of timeoutremote, 1200 s unless told otherwise")
    for name, end in (("closed", CLOSE), ("reset", RESET), ("half", (b"250 go", CLOSE)), ("lines", (b"250-ok\r\n", CLOSE)),
                      ("half-reset", (b"25", RESET))):
        yield Case(f"H11-{name}", Setup(END=end), no_reply("END"), over="clear" if name != "reset" else TRANSPORTS,
                   unused=True)
    for name, end in (("silent", DEAF), ("half-silent", (b"250 ok", DEAF))):
        yield Case(f"H11-{name}", Setup(END=end, timeout=1), Want(no_reply("END"), within=3.5), over=("clear", "tls13"),
                   unused=True)
    for reply, want in (("250 ok", delivered("250 ok")), ("250-got\n250 it", delivered("250-got\n250 it")),
                        ("554 no", refused("END", "554 no")), ("451 no", refused("END", "451 no"))):
        for name, step, over in (("close", CLOSE, TRANSPORTS), ("reset", RESET, TRANSPORTS),
                                 ("close-notify", (CLOSE_NOTIFY, CLOSE), TRANSPORTS[1:]),
                                 ("plain", (Plain(b"554 in clear text\r\n"), CLOSE), TRANSPORTS[1:])):
            if reply != "250 ok":
                over = over[0]
            yield Case(f"H12-{reply[:3]}{'-lines' if '-' in reply else ''}-{name}", Setup(END=(reply, step)), want,
                       over=over, unused=True)
    for name, quit in (("450", "450 no"), ("550", "550 no"), ("nothing", DEAF), ("garbage", b"\0\xff\n" * 50),
                       ("closed", CLOSE), ("reset", RESET), ("421", "421 timeout")):
        yield Case(f"H12-quit-{name}", Setup(QUIT=quit), Want(delivered(), within=2, check=said_quit),
                   over=("clear", "tls13"), unused=True)
    for reply in ("552 too big", "452 full", "421 closing"):
        letter = "D" if reply[0] == "5" else "Z"
        for name, how in (("fin", CLOSE), ("rst", RESET)):
            for way in TRANSPORTS:
                # A reset may overtake the reply on its way through qmail-remote-tls.
                maybe = "Z" if way != "clear" and name == "rst" else ""
                yield Case(f"H13-{reply[:3]}-{name}", Setup(DATA=("354 go", Read(20000), reply, how)), letter + maybe,
                           Start(message=BIG), over=way, unused=True)
    yield Case("H14-in-body", Setup(DATA=("354 go", Read(20000), "250 early", Read(len(BIG) * 2))), "Z",
               Start(message=BIG), over=("clear", "tls13"), unused=True)
    for name, reply in (("250", b"250 got it\r\n"), ("250-250", b"250 a\r\n250 b\r\n"), ("554", b"554 early\r\n")):
        yield Case(f"H14-354-{name}", Setup(DATA=b"354 go\r\n" + reply, END=None, timeout=1), "Z", unused=True,
                   over=("clear", "tls13") if name == "250" else "clear")
    yield Case("H43-421", Setup(END="250 ok\n421 bye"), "K", over=("clear", "tls13"), unused=True)
    yield Case("H43-421-closed", Setup(END=(b"250 ok\r\n421 bye\r\n", CLOSE)), delivered("250 ok"), over=("clear", "tls13"),
               unused=True)
    yield Case("H43-554", Setup(END=b"250 ok\r\n554 no\r\n"), delivered("250 ok"), over="tls13", unused=True)


def said_quit(stage):
    assert stage.first.session.verbs[-1] == "QUIT", stage.first.session.verbs


def small_windows(session):
    session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return "220 hi"


def group_cases():
    """A reply too few, too many, or in another order."""
    missing = Want("Z", within=3.5, check=nothing_of_the_body)
    yield Case("H15-mail", Setup(MAIL=None, RCPT="250 ok", DATA="354 go", timeout=1), missing, over=GROUP, unused=True)
    yield Case("H15-rcpt", Setup(RCPT=["250 ok", None], DATA="354 go", timeout=1), missing, TWO_TO, over=GROUP,
               unused=True)
    yield Case("H15-rcpt-refused-data", Setup(RCPT=[None, "250 ok"], DATA="354 go", timeout=1), missing, TWO_TO,
               over="pipe", unused=True)
    yield Case("H15-data", Setup(DATA=DEAF, timeout=1), missing, over=("clear", "pipe", "tls13"), unused=True)
    for name, script in (
            ("mail", dict(MAIL=b"250 ok\r\n250 ok\r\n")), ("mail-550", dict(MAIL=b"250 ok\r\n550 early\r\n")),
            ("rcpt", dict(RCPT=b"250 ok\r\n250 ok\r\n")), ("rcpt-354", dict(RCPT=b"250 ok\r\n354 early\r\n")),
            ("data", dict(DATA=b"354 go\r\n250 ok\r\n", END=None)),
            ("data-354", dict(DATA=b"354 go\r\n354 go\r\n", END=None))):
        yield Case(f"H16-{name}", Setup(**script, timeout=1), "Z", over=SINGLE_OR_GROUP, unused=True)
    yield Case("H16-rcpt-550", Setup(RCPT=b"250 ok\r\n550 no\r\n"), "Z", unused=True)
    yield Case("H16-rcpt-550-group", Setup(RCPT=b"250 ok\r\n550 no\r\n"), "ZD", over="pipe", unused=True,
               says="in a group a surplus 550 is in the place of the reply to DATA, and is taken for that")
    replies = b"220 hi\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 got it\r\n"
    silent = dict.fromkeys(("EHLO", "HELO", "MAIL", "RCPT", "DATA", "END", "QUIT"))
    yield Case("H16-all-at-once", Setup(greeting=replies, **silent), Want("Z", check=nothing_of_the_body))
    for name, script in (("354-at-rcpt", dict(RCPT="354 go", DATA="250 ok")), ("354-at-mail", dict(MAIL="354 go"))):
        yield Case(f"H17-{name}", Setup(**script), Want("Z", check=nothing_of_the_body), over=SINGLE_OR_GROUP, unused=True)
    yield Case("H18-one-segment", Setup(MAIL=As("2"), RCPT=As("2"), DATA=As("3", b"250 ok\r\n250 ok\r\n354 go\r\n")), "K",
               over=GROUP)
    for name, cut in (("bytes", 1), ("in-crlf", 7)):
        ok = As("2", Drip(b"250 ok\r\n", 0.001, cut))
        yield Case(f"H18-{name}", Setup(MAIL=ok, RCPT=ok, DATA=As("3", Drip(b"354 go\r\n", 0.001, cut)), END=ok), "K",
                   over=("clear", "pipe", "tls13"))
    long = b"250-" + b"x" * 500 + b"\r\n250 " + b"y" * 480 + b"\r\n"
    yield Case("H19-thousand", Setup(greeting=Call(small_windows), rcvbuf=4096, RCPT=long),
               Want("K", within=15, size=20000), Start(recipients=[f"{'u' * 200}{n}@dst.example" for n in range(1000)]),
               over=GROUP)
    for name, script in (("rcpt", dict(RCPT="503 one at a time", DATA="503 one at a time")),
                         ("data", dict(DATA="503 one at a time"))):
        yield Case(f"H20-{name}", Setup(**script), Want("Z", check=nothing_of_the_body), over="pipe", unused=True)
        yield Case(f"H20-{name}-lockstep", Setup(**script), Want("D", check=nothing_of_the_body), unused=True,
                   says="503 to a command that was sent alone is permanent, as in stock")


def helo_elsewhere(stage):
    """EHLO on one connection, HELO on the next; but not where TLS is demanded."""
    told = [[v for v in s.verbs if v in ("EHLO", "HELO")] for s in stage.first.sessions]
    assert told == ([["EHLO"]] if stage.is_demanded else [["EHLO"], ["HELO"]]), told


def step_cases():
    """H24 to H32: 421 at each step. H33 to H41: the connection closed at each step."""
    yield Case("H24-421", Setup(greeting="421 bye"), refused("greeting", "421 bye"), next=True)
    yield Case("H33-closed", Setup(greeting=CLOSE), no_reply("greeting"), next=True)
    yield Case("H25-421", Setup(EHLO="421 bye"), refused("HELO", "421 bye"), next=True)
    for name, step in (("closed", CLOSE), ("reset", RESET)):
        yield Case(f"H34-{name}", Setup(EHLO=step), Want(delivered(), check=helo_elsewhere), unused=True)
        yield Case(f"H34-{name}-demanded", Setup(EHLO=step), Want("Z", check=helo_elsewhere), over="ver", next=True)
        yield Case(f"H34-{name}-helo", Setup(EHLO=step, HELO=step), Want("Z", check=helo_elsewhere), next=True)
    said = REFUSED_AND_OVER.but(said="421 bye")
    yield Case("H26-421", Setup(STARTTLS="421 bye"), said, over=("opp", "enc", "ver"), next=True)
    yield Case("H26-421-closed", Setup(STARTTLS=("421 bye", CLOSE)), said, over=("opp", "ver"))
    for name, step in (("closed", CLOSE), ("reset", RESET), ("half", (b"220 g", CLOSE))):
        yield Case(f"H35-{name}", Setup(STARTTLS=step), NO_REPLY, next=name == "closed",
                   over=("opp", "enc", "ver") if name == "closed" else ("opp", "ver"))
    yield Case("H27-421-closed", Setup(EHLO=[HELLO, ("421 bye", CLOSE)]), UNWELCOME, over=("opp", "ver"))
    for name, step in (("closed", CLOSE), ("reset", RESET), ("close-notify", (CLOSE_NOTIFY, CLOSE)),
                       ("half", (b"250-hi\r\n250 o", CLOSE_NOTIFY, CLOSE)), ("554-closed", ("554 no", CLOSE)),
                       ("plain", (Plain(b"250 in clear text\r\n"), DEAF))):
        yield Case(f"H36-{name}", Setup(EHLO=[HELLO, step]), NO_SESSION, next=name == "closed",
                   over=("opp12", "opp13", "enc", "ver12", "ver13") if name == "closed" else ("opp12", "ver13"))
    for number, step in ((28, "MAIL"), (29, "RCPT"), (30, "DATA")):
        over = ("clear", *GROUP)
        yield Case(f"H{number}-421-closed", Setup(**{step: ("421 bye", CLOSE)}), Want("Z", check=nothing_of_the_body),
                   over=over, unused=True)
        for name, how in (("closed", CLOSE), ("reset", RESET), ("half", (b"25", CLOSE)),
                          ("lines", (b"250-ok\r\n", CLOSE))):
            # A reset may take with it what has been said to the rest of the group.
            want = Want(no_reply(step) if name != "reset" else "Z", check=nothing_of_the_body)
            yield Case(f"H{number + 9}-{name}", Setup(**{step: how}), want, unused=True,
                       over=over if name in ("closed", "reset") else SINGLE_OR_GROUP)
    yield Case("H31-421", Setup(DATA=("354 go", Read(20000), "421 bye", Read(1 << 30))), "Z", Start(message=BIG),
               over=TRANSPORTS, unused=True)
    yield Case("H31-421-closed", Setup(DATA=("354 go", Read(20000), "421 bye", CLOSE)), "Z", Start(message=BIG),
               over=TRANSPORTS, unused=True)
    for name, step in (("closed", CLOSE), ("reset", RESET)):
        yield Case(f"H40-{name}", Setup(DATA=("354 go", Read(20000), step)), Want("Z", check=sessions(1)),
                   Start(message=BIG), over=TRANSPORTS, unused=True)
    yield Case("H32-421", Setup(END="421 bye"), refused("END", "421 bye"), unused=True)
    yield Case("H32-421-closed", Setup(END=("421 bye", CLOSE)), refused("END", "421 bye"), over=TRANSPORTS, unused=True)
    yield Case("H41-closed", Setup(END=CLOSE), no_reply("END"), over=(*TRANSPORTS, "opp"), unused=True)
    yield Case("H41-close-notify", Setup(END=(CLOSE_NOTIFY, CLOSE)), no_reply("END"), over=("tls12", "tls13"), unused=True)


CASES = [*refusal_cases(), *recipient_cases(), *end_cases(), *group_cases(), *step_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
