"""The catalogue, group I: sizes and bytes of replies, as they get into logs and bounces."""

import os
import re

import pki
from catalogue import TWO, Case, Setup, Start, Want, not_connected, table
from smtpd import DEAF
from test_catalogue_b import flood

BOTH = ("clear", "tls13")
HELLO = "250-hi\n250 STARTTLS"
CAP = 5000


def said(record):
    """What the remote host said, without our own lines behind it."""
    return re.sub(rb"Server: m1\.example\n(TLS: [^\n]*\n)?\Z", b"", record.text.partition(b"Remote host said: ")[2])


def cases():
    for size in (510, 511, 512, 513, 1000, 2048, 65536):
        line = b" " + b"x" * (size - 6) + b"\r\n"

        def cut(stage, size=size):
            longest = max(len(said(r)) for r in stage.run.records)
            assert min(size - 2, CAP) <= longest <= CAP + 1, longest

        over = BOTH if size > 2048 else "clear"
        yield Case(f"I1-{size}-end", Setup(END=b"250" + line), Want("K", check=cut), over=over)
        yield Case(f"I1-{size}-rcpt", Setup(RCPT=b"550" + line), Want("D", check=cut), over=over)
        yield Case(f"I1-{size}-mail", Setup(MAIL=b"450" + line), Want("Z", check=cut))
        yield Case(f"I1-{size}-greeting", Setup(greeting=b"220" + line), "K")

    def given_up(stage):
        assert len(stage.sessions[0].sent) < 16 << 20

    def helo_elsewhere(stage):
        given_up(stage)
        told = [[v for v in s.verbs if v in ("EHLO", "HELO")] for s in stage.sessions]
        assert told == [["EHLO"], ["HELO"]], told

    for moment, code, letter in (("greeting", b"220", "Z"), ("EHLO", b"250", "K"), ("MAIL", b"250", "Z"),
                                 ("RCPT", b"250", "Z"), ("DATA", b"354", "Z"), ("END", b"250", "Z")):
        name = moment.lower()
        over = BOTH if moment in ("MAIL", "END") else "clear"
        want = Want(letter, within=4, check=helo_elsewhere if moment == "EHLO" else given_up)
        yield Case(f"I2-endless-{name}", Setup(**{moment: (code + b" ", flood(b"x"))}), want, over=over)
        yield Case(f"I2-endless-lines-{name}", Setup(**{moment: flood(code + b"-x\r\n")}), want, over=over)
        yield Case(f"I2-no-last-line-{name}", Setup(**{moment: (code + b"-x\r\n", DEAF)}, timeout=1), want, over=over)
    for name, rest in (("endless", (b" ", flood(b"x"))), ("no-last-line", (b"-x\r\n", DEAF))):
        yield Case(f"I2-{name}-starttls", Setup(STARTTLS=(b"220", *rest), timeout=1), Want("Z", within=4), over="ver")
        yield Case(f"I2-{name}-ehlo-tls", Setup(EHLO=[HELLO, (b"250", *rest)], timeout=1), Want("Z", within=4),
                   over="ver")

    bodies = {
        "I3-nul": b"a\0b", "I3-nul-last": b"ab\0", "I3-nuls": b"\0" * 50,
        "I4-k": b"no\0Kforged\0", "I4-d": b"\0D", "I4-z": b"x\0Zlater\0", "I4-r": b"\0r\0K",
        "I5-esc": b"\x1b[2J\x1b[31m", "I5-csi": b"\x9b31m", "I5-bel": b"\x07", "I5-backspace": b"a\x08b",
        "I5-del": b"\x7f",
        "I5-c1": bytes(range(0x80, 0xa0)), "I5-c0": bytes(c for c in range(32) if c not in (10,)),
        "I5-title": b"\x1b]0;x\x07",
        "I6-8-bit": bytes(range(0xa0, 0x100)), "I6-broken": b"\xc3(\xe2\x82", "I6-overlong": b"\xc0\xaf\xe0\x80\xaf",
        "I6-override": "\u202etxt.exe\u2066".encode(), "I6-utf-8": "gr\u00fc\u00df dich".encode(),
        "I6-long": b"\xff" * 6000,
        "I7-cr": b"a\rb", "I7-cr-code": b"ok\r250 forged", "I7-crcr": b"a\r\r\rb", "I7-cr-550": b"a\r550 forged",
        "I9-format": b"%s%n%x%99999d", "I9-backslash": b"\\n\\0\\x00", "I9-long-format": b"%n" * 500,
    }
    note = {"I5": "control bytes and DEL are shown as '?'; C1 are 8-bit bytes, and those pass: they are parts of UTF-8",
            "I6": "8-bit bytes pass as they are, up to the cap: qmail-send masks them in its log",
            "I7": "CR ends nothing and is dropped; LF ends a line, with or without CR"}

    for name, text in bodies.items():
        shown = re.sub(rb"[\x00-\x1f\x7f]", b"?", text.replace(b"\r", b""))[:CAP - len("250 ")]

        def as_it_is_shown(stage, shown=shown):
            assert shown in stage.run.report, stage.run

        for moment, code, letter in (("END", b"250 ", "K"), ("RCPT", b"550 ", "D")):
            yield Case(f"{name}-{moment.lower()}", Setup(**{moment: code + text + b"\r\n"}),
                       Want(letter, check=as_it_is_shown), says=note.get(name[:2]))
    yield Case("I4-lf-k", Setup(RCPT=b"550-no\nKforged\n550 x\r\n"), "ZD")
    yield Case("I4-lf-k-end", Setup(END=b"554-no\n\nK192.0.2.1 accepted message.\n554 x\r\n"), Want("ZD", blank=True),
               says="an empty line that made a reply malformed is shown; qmail-send's addbounce() folds it")
    yield Case("I4-lf-greeting", Setup(greeting=b"554 no\nKforged\0\n"), "Z")
    yield Case("I7-lf-mail", Setup(MAIL=b"250 ok\n250 more\r\n"), "Z")
    yield Case("I7-lf-rcpt", Setup(RCPT=b"250 ok\n250 more\r\n"), "Z")
    yield Case("I7-lf-end", Setup(END=b"250 ok\n554 more\r\n"), "K",
               says="the first whole reply is the reply")
    yield Case("I7-lf-lines", Setup(END=b"250-a\n250 b\r\n"), "K")
    separators = (b"--- Below this line is a copy of the message.", b"", b"Hi. This is the qmail-send program",
                  b"<b@dst.example>:",
                  b"--boundary", b"Content-Type: text/html", b"--- Enclosed are the original headers of the message.")
    for code, moment, want in ((b"550", "RCPT", "D"), (b"554", "END", "D"), (b"450", "MAIL", "Z")):
        def coded(stage, code=code):
            for record in stage.run.records:
                for line in said(record).split(b"\n")[:-1]:
                    assert line.startswith(code), line
            assert stage.run.message.text.count(b"\nServer: m1.example\n") == 1, stage.run
        reply = b"".join(code + b"-" + s + b"\r\n" for s in separators) + code + b" \r\n"
        yield Case(f"I8-{moment.lower()}", Setup(**{moment: reply}), Want(want, check=coded),
                   says="each line of a reply keeps its code, so none is empty and none begins as a bounce's part does")
    yield from name_cases()

    def capped(stage):
        assert len(stage.run.report) < 140000

    yield Case("I12-mb-of-text", Setup(RCPT=b"550-" + b"x" * 990 + b"\r\n550 " + b"y" * 40 + b"\r\n"),
               Want("D", size=140000, check=capped, within=15),
               Start(recipients=[f"u{n}@dst.example" for n in range(1000)]), over=("pipe", "tls13"))
    megabyte = b"554-" + b"x" * 990 + b"\r\n" + b"554-y\r\n" * 140000 + b"554 z\r\n"
    yield Case("I12-one-mb-reply", Setup(END=megabyte), "DZ")
    for name, cn in (("esc", "\x1b[2J"), ("nul", "a\0Kb"), ("lf", "a\nKb\nDc"), ("rtl", "\u202ea")):
        def prepare(stage, cn=cn):
            stage.first.tls = stage.context(pki.make(cn, names=["m1.example"]))
        yield Case(f"I13-subject-{name}", Setup(prepare=prepare), Want("Z", size=1500), over=("ver12", "ver13"))
    for name, mx in (("esc", "m\\027[2J.example."), ("nul", "m\\000Kx.example."), ("lf", "m\\010Kx.example."),
                     ("8-bit", "m\\252.example.")):
        yield Case(f"I13-mx-{name}", Setup(listens=False, zone=f"dst.example MX 10 {mx}"), Want("ZD", size=1500))
    for name, host in (("esc", "a\x1b[2J.example"), ("lf", "a\nKx.example"), ("8-bit", b"a\xfc.example"),
                       ("percent", "%s.example")):
        yield Case(f"I13-host-{name}", Setup(listens=False, zone="x.example A 192.0.2.9"), Want("D", size=1500),
                   Start(host=host))


def name_cases():
    def nothing_ran(stage):
        assert not os.path.exists("/tmp/catalogue-ran") and not os.path.exists("/srv/catalogue-ran")
        known = {"smtproutes.cdb", "smtproutes.lock", "tcpto6", "addresses", "trustanchors.cdb", "trustanchors.lock"}
        assert set(os.listdir(stage.home.run_path)) <= known, os.listdir(stage.home.run_path)

    for name, mx in (("quote", "m'x.example."),
                     ("shell", "\\036\\040touch\\032\\047tmp\\047catalogue-ran\\041.example."),
                     ("semicolon", "\\059touch\\032x.example."),
                     ("slash", "\\046\\046\\047\\046\\046\\047srv\\047catalogue-ran."),
                     ("dots", "a\\046\\046b.example."), ("nul", "m\\000x.example."),
                     ("backtick", "`id`.example."), ("pipe", "a|b.example.")):
        zone = f"dst.example MX 10 {mx}\n"
        yield Case(f"I10-{name}", Setup(listens=False, zone=zone), Want("ZD", check=nothing_ran))
        beside = f"{zone}dst.example MX 20 m2.example.\nm2.example A {TWO}"
        yield Case(f"I10-{name}-beside", Setup(address=TWO, host="m2.example", zone=beside), Want("K", check=nothing_ran))
    bad = {"cr": b"b\rRCPT TO:<x@y>@dst.example", "lf": b"b\nRCPT TO:<x@y>@dst.example", "lf-only": b"b\n@dst.example",
           "crlf": b"b>\r\nDATA\r\n@dst.example", "crlf-first": b"\r\n@dst.example",
           "host-crlf": b"b@dst.example\r\nRSET", "host-blank": b"b@dst.example x", "host-angle": b"b@dst.example>",
           "host-parameter": b"b@dst.example> X=<b", "host-lf": b"b@dst.example\n", "host-cr": b"b@dst.example\r",
           "host-control": b"b@dst.example\x01", "host-del": b"b@dst.example\x7f", "host-tab": b"b@dst.example\t",
           "host-lt": b"b@<dst.example", "angle-only": b">", "no-host-lf": b"no\ndomain", "no-host-cr": b"no\rdomain"}
    for name, address in bad.items():
        for whose, which, start in (("recipient", "that", Start(recipients=[address])),
                                    ("sender", "the sender's", Start(sender=address))):
            want = Want([("D", f"Sorry, {which} address cannot be sent by SMTP. (#5.1.3)")], check=not_connected)
            yield Case(f"I11-{whose}-{name}", Setup(), want, start)
    for name in ("cr", "lf", "crlf", "host-crlf"):
        yield Case(f"I11-among-{name}", Setup(), Want("K", records="rhrK"),
                   Start(recipients=["c@dst.example", bad[name], "d@dst.example"]), over=("clear", "pipe"))
    for name, address in (("blank", b"b x@dst.example"), ("angle", b"b>x@dst.example"), ("quote", b'b"x@dst.example'),
                          ("esc", b"b\x1bx@dst.example"), ("at", b"b@c@dst.example")):
        def quoted(stage):
            mail, = stage.mails
            recipient = mail.recipients[0]
            assert recipient.startswith(b'<"b') and recipient.endswith(b'"@dst.example>'), recipient
        yield Case(f"I11-quoted-{name}", Setup(), Want("K", check=quoted), Start(recipients=[address]),
                   says="a local part is quoted by stock's rule; only CR and LF, that no quoting helps, are refused")


CASES = list(cases())


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
