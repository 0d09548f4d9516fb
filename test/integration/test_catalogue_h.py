"""The catalogue, group H: replies to MAIL, RCPT, DATA and the end of mail data."""

import re
import socket

from catalogue import BIG, As, Case, stage, table      # noqa: F401
from smtpd import CLOSE, CLOSE_NOTIFY, DEAF, RESET, Call, Delay, Drip, Read

ALL = ("clear", "pipe", "tls13")
SAMPLED = (*ALL, "tls12")

HELLO = "250-hi\n250 STARTTLS"
TWO_TO = dict(recipients=["b@dst.example", "c@dst.example"])
FIVE = dict(recipients=[f"u{n}@dst.example" for n in range(5)])


def says(*texts):
    """The report has these texts."""
    def check(stage):
        for text in texts:
            assert text.encode() in stage.run.report, stage.run
    return check


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


def reply_cases():
    """H1, H2, H9, H21 to H23: one reply in the place of another."""
    duplicate = says("Possible duplicate!")
    for name, reply, want in (
            ("H1-450", "450 no", "Z"), ("H1-451-lines", "451-no\n451 no", "Z"), ("H1-550", "550 no", "D"),
            ("H1-501", "501 no", "D"), ("H1-599", "599 no", "D")):
        yield Case(name, want, dict(MAIL=reply), over=SAMPLED, unused=True, check=nothing_of_the_body)
    for code, want in ((299, "K"), (255, "K"), (199, "Z"), (399, "Z"), (850, "Z"), (999, "Z"), (600, "Z")):
        for moment in ("MAIL", "RCPT", "END"):
            yield Case(f"H2-{code}-{moment.lower()}", want, {moment: f"{code} x"}, over=ALL, unused=True)
    for code in (254, 299, 199, 353, 355, 399, 850):
        yield Case(f"H2-{code}-data", "Z", dict(DATA=f"{code} x"), over=ALL, unused=True, check=nothing_of_the_body)
    for name, reply, want, check in (
            ("250", "250 got it", "K", None), ("251", "251 got it", "K", None), ("421", "421 no", "Z", None),
            ("450", "450 no", "Z", None), ("452", "452 full", "Z", None), ("550", "550 no", "D", None),
            ("554", "554 spam", "D", None), ("354", "354 go", "Z", duplicate), ("199", "199 wait", "Z", duplicate),
            ("zero", b"000 ok\r\n", "Z", duplicate), ("long", b"2500 ok\r\n", "Z", duplicate)):
        yield Case(f"H9-{name}", want, dict(END=reply), over=SAMPLED, unused=True, check=check)
    for name, line in (
            ("no-digits", b"yes\r\n"), ("short", b"25\r\n"), ("letter", b"25o ok\r\n"),
            ("empty", b"\r\n"), ("binary", bytes(range(128, 256)) + b"\n")):
        yield Case(f"H9-{name}", "Z", dict(END=(line, CLOSE)), over=SAMPLED, unused=True, check=duplicate)
        yield Case(f"H9-{name}-before", "K", dict(END=As("2", line + b"250 got it\r\n")), over=SAMPLED,
                   says="lines without a code are skipped, and stay in the report")
    for moment in ("MAIL", "RCPT", "END"):
        low = moment.lower()
        yield Case(f"H21-250-5.1.1-{low}", "K", {moment: "250 5.1.1 no such user"}, over=SAMPLED)
        yield Case(f"H21-550-2.1.5-{low}", "D", {moment: "550 2.1.5 fine"}, over=SAMPLED)
        yield Case(f"H21-450-5.1.1-{low}", "Z", {moment: "450 5.1.1 gone for ever"}, over=SAMPLED)
        for name, reply in (("bare", b"250\r\n"), ("blank", b"250 \r\n"), ("lines", b"250-\r\n250\r\n"),
                            ("bare-lf", b"250\n")):
            yield Case(f"H23-{name}-{low}", "K", {moment: reply}, over=ALL)
    for moment in ("MAIL", "RCPT", "DATA", "END"):
        for name, reply in (("250-550", b"250-yes\r\n550 no\r\n"), ("550-250", b"550-no\r\n250 yes\r\n"),
                            ("550-450", b"550-no\r\n450 later\r\n"), ("354-550", b"354-go\r\n550 no\r\n")):
            yield Case(f"H22-{name}-{moment.lower()}", "Z", {moment: reply}, over=SAMPLED, unused=True)

    def only_its_own(stage):
        first, second, _ = stage.run.records
        assert b"first" in first.text and b"first" not in second.text + stage.run.message.text

    yield Case("H21-stale-text", "D", dict(RCPT=["550-first first first\n550 first", "550 x"]), over=SAMPLED,
               start=TWO_TO, records="hhD", check=only_its_own)


def recipient_cases():
    yield Case("H3-mix", "K", dict(RCPT=["250 ok", "251 ok", "252 ok", "450 no", "550 no"]), over=SAMPLED,
               start=FIVE, records="rrrshK", check=accepted_are("u0", "u1", "u2"))
    yield Case("H3-mix-other-way", "DK", dict(RCPT=["550 no", "450 no", "252 ok", "251 ok", "250 ok"]), over=SAMPLED,
               start=FIVE, records="hsrrrK", check=accepted_are("u2", "u3", "u4"))
    for name, replies, records, want in (
            ("550", ["550 no"], "hhD", "D"), ("450", ["450 no"], "ssD", "Z"),
            ("450-550", ["450 no", "550 no"], "shD", "Z"), ("550-450", ["550 no", "450 no"], "hsD", "D")):
        yield Case(f"H4-{name}", want, dict(RCPT=replies), over=SAMPLED, start=TWO_TO, records=records,
                   unused=True, check=nothing_of_the_body,
                   says="the message record stays stock's D \"Giving up on\" for every mix of refusals; "
                        "qmail-rspawn, which has one recipient a run, goes by the recipient's own record")
    yield Case("H5-452", "K", dict(RCPT=["250 ok", "250 ok", "452 too many"]), over=SAMPLED,
               start=FIVE, records="rrsssK", check=accepted_are("u0", "u1"))
    yield Case("H5-552", "K", dict(RCPT=["250 ok", "250 ok", "552 too many"]), over=SAMPLED,
               start=FIVE, records="rrsssK", check=accepted_are("u0", "u1"))
    yield Case("H5-552-alone", "D", dict(RCPT="552 mailbox full"), over=ALL, records="hD",
               says="552 for the only recipient is what stock makes of it, permanent: it is the mailbox that is full")

    def twice(stage):
        for n, letters in enumerate(("srK", "rK")):
            recipients = ["b@dst.example", "c@dst.example"][:2 - n]
            stage.deliver(recipients=recipients)
            assert stage.run.letters == letters, stage.run
        got = [m.recipients for m in stage.mails]
        assert got == [[b"<c@dst.example>"], [b"<b@dst.example>"]], got

    yield Case("H6-first-452-then-250", "K", dict(sessions=[dict(RCPT=["452 no", "250 ok"]), dict()]), over=SAMPLED,
               play=twice, several=True)

    def only_the_dot(stage):
        session = stage.sessions[0]
        assert [m.wire for m in session.mails] == [b".\r\n"], (session.chunks, session.sent)

    for name, end in (("250", "250 ok"), ("550", "550 no"), ("nothing", DEAF), ("closed", CLOSE)):
        for code, records, want in (("550", "hD", "D"), ("450", "sD", "Z")):
            yield Case(f"H8-{code}-dot-{name}", want, dict(RCPT=f"{code} no", DATA="354 go", END=end), records=records,
                       over=("pipe", "tls13", "tls12"), unused=True, check=only_the_dot)
    yield Case("H42-550", "D", dict(RCPT="550 no such user"), over=SAMPLED, unused=True, records="hD",
               says="a 5yz to RCPT counts for all MX hosts of the domain: no other one is asked")
    yield Case("H42-450", "Z", dict(RCPT="450 not now"), over=ALL, unused=True, records="sD",
               says="nor is one after 4yz: from MAIL on it is one host that decides")


def end_cases():
    duplicate = says("Possible duplicate!")
    yield Case("H7-250", "Z", dict(DATA="250 ok"), over=SAMPLED, unused=True, check=nothing_of_the_body)
    yield Case("H10-in-time", "K", dict(END=(Delay(1.6), "250 got it")), over=SAMPLED, timeout=2, within=5)

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

    yield Case("H10-default", "K", control=dict(timeoutremote=None), prepare=prepare, play=play, check=waits_1200,
               says="the reply to the end of mail data gets all of timeoutremote, 1200 s unless told otherwise")
    for name, end in (("closed", CLOSE), ("reset", RESET), ("half", (b"250 go", CLOSE)),
                      ("lines", (b"250-ok\r\n", CLOSE)),
                      ("half-reset", (b"25", RESET))):
        yield Case(f"H11-{name}", "Z", dict(END=end), over=SAMPLED, unused=True, check=duplicate)
    yield Case("H11-silent", "Z", dict(END=DEAF), over=SAMPLED, unused=True, check=duplicate, timeout=1, within=3.5)
    yield Case("H11-half-silent", "Z", dict(END=(b"250 ok", DEAF)), over=ALL, unused=True, check=duplicate, timeout=1,
               within=3.5)
    yield Case("H12-250-close", "K", dict(END=("250 ok", CLOSE)), over=SAMPLED, unused=True)
    yield Case("H12-250-reset", "K", dict(END=("250 ok", RESET)), over=SAMPLED, unused=True)
    for name, quit in (("450", "450 no"), ("550", "550 no"), ("nothing", DEAF), ("garbage", b"\0\xff\n" * 50),
                       ("closed", CLOSE), ("reset", RESET), ("421", "421 timeout")):
        yield Case(f"H12-quit-{name}", "K", dict(QUIT=quit), over=SAMPLED, unused=True, within=2)
    for name, reply, want in (("552", "552 too big", "D"), ("452", "452 full", "Z"), ("421", "421 closing", "Z")):
        for end, how in (("fin", CLOSE), ("rst", RESET)):
            for way in SAMPLED:
                # A reset may overtake the reply on its way through qmail-remote-tls.
                maybe = "Z" if way.startswith("tls") and end == "rst" else ""
                yield Case(f"H13-{name}-{end}", want + maybe, dict(DATA=("354 go", Read(20000), reply, how)),
                           over=way, unused=True, start=dict(message=BIG))

    def reads_on(reply):
        return dict(DATA=("354 go", Read(20000), reply, Read(len(BIG) * 2)))

    yield Case("H14-in-body", "Z", reads_on("250 early"), over=SAMPLED, unused=True, start=dict(message=BIG))
    for name, reply in (("354-250", b"354 go\r\n250 got it\r\n"), ("354-250-250", b"354 go\r\n250 a\r\n250 b\r\n")):
        yield Case(f"H14-{name}", "Z", dict(DATA=reply, END=None), over=SAMPLED, unused=True, timeout=2)
    yield Case("H43-421", "K", dict(END="250 ok\n421 bye"), over=SAMPLED, unused=True)
    yield Case("H43-421-closed", "K", dict(END=(b"250 ok\r\n421 bye\r\n", CLOSE)), over=SAMPLED, unused=True)
    yield Case("H43-closed", "K", dict(END=("250 ok", CLOSE)), over=SAMPLED, unused=True)


def small_windows(session):
    session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return "220 hi"


def group_cases():
    """Pipelined groups; in lockstep they are the same faults, one by one."""
    group = ("pipe", "tls13", "tls12")
    silent = dict(over=ALL, unused=True, timeout=1, within=3.5)
    yield Case("H15-mail", "Z", dict(MAIL=None, RCPT="250 ok", DATA="354 go"), over=group, unused=True, timeout=1,
               within=3.5, check=nothing_of_the_body)
    yield Case("H15-rcpt", "Z", dict(RCPT=["250 ok", None], DATA="354 go"), over=group, unused=True, timeout=1,
               within=3.5, start=TWO_TO, check=nothing_of_the_body)
    yield Case("H15-rcpt-refused-data", "Z", dict(RCPT=[None, "250 ok"], DATA="354 go"), over=group, unused=True,
               timeout=1, within=3.5, start=TWO_TO, check=nothing_of_the_body)
    yield Case("H15-data", "Z", dict(DATA=DEAF), check=nothing_of_the_body, **silent)
    for name, script in (
            ("mail", dict(MAIL=b"250 ok\r\n250 ok\r\n")), ("rcpt", dict(RCPT=b"250 ok\r\n250 ok\r\n")),
            ("data", dict(DATA=b"354 go\r\n250 ok\r\n", END=None)),
            ("data-354", dict(DATA=b"354 go\r\n354 go\r\n", END=None))):
        yield Case(f"H16-{name}", "Z", script, over=ALL, unused=True, timeout=2)
    yield Case("H16-rcpt-550", "Z", dict(RCPT=b"250 ok\r\n550 no\r\n"), unused=True)
    yield Case("H16-rcpt-550-group", "ZD", dict(RCPT=b"250 ok\r\n550 no\r\n"), over=group, unused=True,
               says="in a group a surplus 550 is in the place of the reply to DATA, and is taken for that")
    yield Case("H17-354-at-rcpt", "Z", dict(RCPT="354 go", DATA="250 ok"), over=SAMPLED, unused=True,
               check=nothing_of_the_body)
    yield Case("H17-354-at-mail", "Z", dict(MAIL="354 go"), over=SAMPLED, unused=True, check=nothing_of_the_body)
    yield Case("H17-250-at-data", "Z", dict(DATA="250 ok"), over=SAMPLED, unused=True, check=nothing_of_the_body)

    yield Case("H18-one-segment", "K", dict(MAIL=As("2"), RCPT=As("2"),
                                            DATA=As("3", b"250 ok\r\n250 ok\r\n354 go\r\n")),
               over=group)
    for name, cut in (("bytes", 1), ("in-crlf", 7)):
        ok = As("2", Drip(b"250 ok\r\n", 0.001, cut))
        yield Case(f"H18-{name}", "K", dict(MAIL=ok, RCPT=ok, DATA=As("3", Drip(b"354 go\r\n", 0.001, cut)), END=ok),
                   over=SAMPLED)
    for way in ("pipe", "tls13"):
        yield Case("H19-thousand", "K", dict(greeting=Call(small_windows), rcvbuf=4096,
                                             RCPT=b"250-" + b"x" * 500 + b"\r\n250 " + b"y" * 480 + b"\r\n"),
                   over=way, within=15, report=20000, start=dict(
                       recipients=[f"{'u' * 200}{n}@dst.example" for n in range(1000)]))
    for name, script in (("rcpt", dict(RCPT="503 one at a time", DATA="503 one at a time")),
                         ("data", dict(DATA="503 one at a time"))):
        yield Case(f"H20-{name}", "Z", script, over=group, unused=True, check=nothing_of_the_body)
        yield Case(f"H20-{name}-lockstep", "D", script, unused=True, check=nothing_of_the_body,
                   says="503 to a command that was sent alone is permanent, as in stock")


def once_more_in_clear_text(stage):
    """What goes wrong between STARTTLS and the second EHLO leads to one more session, at strictness 0, without TLS."""
    if stage.way.strictness:
        return
    _, again = stage.first.sessions
    assert not again.tls and "STARTTLS" not in again.verbs and again.mails, again.verbs
    assert re.search(rb"\nServer: m1\.example\nTLS: .+, sent in clear text\n\Z", stage.run.message.text), stage.run


def helo_elsewhere(stage):
    """EHLO on one connection, HELO on the next; but not where TLS is demanded."""
    told = [[v for v in s.verbs if v in ("EHLO", "HELO")] for s in stage.first.sessions]
    assert told == ([["EHLO"]] if stage.is_demanded else [["EHLO"], ["HELO"]]), told


def step_cases():
    """H24 to H32: 421 at each step. H33 to H41: the connection closed at each step."""
    from_mail = "no other host is tried from MAIL on (design: everything that may lead elsewhere comes before MAIL)"
    for name, number, script in (("421", 24, lambda: "421 going down"), ("421-closed", 24, lambda: ("421 bye", CLOSE)),
                                 ("fin", 33, lambda: CLOSE), ("rst", 33, lambda: RESET)):
        step = script()
        yield Case(f"H{number}-{name}-greeting", "Z", dict(greeting=step), next=True, over=("clear", "ver"))
        if number == 24:
            yield Case(f"H{number + 1}-{name}-ehlo", "Z", dict(EHLO=step), next=True, over=("clear", "ver"))
        else:
            yield Case(f"H{number + 1}-{name}-ehlo", "K", dict(EHLO=step), unused=True, check=helo_elsewhere)
            yield Case(f"H{number + 1}-{name}-ehlo", "Z", dict(EHLO=step), next=True, over="ver", check=helo_elsewhere)
            yield Case(f"H{number + 1}-{name}-ehlo-helo", "Z", dict(EHLO=step, HELO=step), next=True,
                       check=helo_elsewhere)
        yield Case(f"H{number + 2}-{name}-starttls", {"opp": "K", "ver": "Z"}, dict(STARTTLS=step),
                   over=("opp", "ver"), check=once_more_in_clear_text)
        yield Case(f"H{number + 2}-{name}-starttls-other", "Z", dict(STARTTLS=step), over="ver", next="only")
        yield Case(f"H{number + 3}-{name}-ehlo-tls", {"opp": "K", "ver": "Z"},
                   dict(sessions=[dict(EHLO=[HELLO, step]), dict(EHLO="250 hi")]),
                   over=("opp12", "opp13", "ver12", "ver13"), check=once_more_in_clear_text)
        yield Case(f"H{number + 3}-{name}-ehlo-tls-other", "Z", dict(EHLO=[HELLO, step]), over=("ver12", "ver13"),
                   next="only")
        for offset, moment in ((4, "MAIL"), (5, "RCPT"), (6, "DATA")):
            yield Case(f"H{number + offset}-{name}-{moment.lower()}", "Z", {moment: step}, over=SAMPLED, unused=True,
                       check=nothing_of_the_body, says=from_mail)
        yield Case(f"H{number + 7}-{name}-body", "Z", dict(DATA=("354 go", Read(20000), step, Read(1 << 30))),
                   over=SAMPLED, unused=True, start=dict(message=BIG), says=from_mail)
        yield Case(f"H{number + 8}-{name}-dot", "Z", dict(END=step), over=SAMPLED, unused=True)
    yield Case("H41-close-notify-dot", "Z", dict(END=(CLOSE_NOTIFY, CLOSE)), over=("tls12", "tls13"), unused=True,
               check=says("Possible duplicate!"))


CASES = [*reply_cases(), *recipient_cases(), *end_cases(), *group_cases(), *step_cases()]


@table(CASES)
def test_catalogue(stage, case):      # noqa: F811
    stage.hold(case)
