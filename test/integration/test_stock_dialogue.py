"""The numbered behaviours of stock qmail-remote, each under its number: dialogue, message, addresses.

Where the design of this program differs from stock, the test says what the design says.
"""

import os
import random
import threading

import pytest

from expect import NO_CONNECTION, accepted, check, died, duplicate
from smtpd import CLOSE, DEAF, RESET, Delay, Read, Until

IP = "192.0.2.1"
SENDER = f"Connected to {IP} but sender was rejected."
GREETING = f"Connected to {IP} but greeting failed."
NAME = f"Connected to {IP} but my name was rejected."
DATA = f"{IP} failed on DATA command."
AFTER = f"{IP} failed after I sent the message."
RECIPIENT = f"{IP} does not like recipient."
GIVE_UP = ("D", f"Giving up on {IP}.")


@pytest.fixture(params=[(), ("PIPELINING",)], ids=["lockstep", "pipelining"])
def server(request, relay):
    """A relay; once as it is and once with PIPELINING offered."""
    def make(**script):
        return relay(ehlo=request.param, **script)
    return make


# The start.

@pytest.mark.parametrize("reply", ["554 no", "421 no", "250 ok", "221 x"])
def test_greeting_refused(home, relay, reply):
    server = relay(greeting=reply)
    run = home.run()
    check(run, ("Z", GREETING, reply))
    assert run.report == f"Z{GREETING}\nRemote host said: {reply}\n\0".encode()
    assert server.log == b"QUIT\r\n"


@pytest.mark.parametrize("greeting", [b"220-a\r\n220-b\r\n220 c\r\n", b"220 x\n", b"220\r\n", b"220 \r\n", b"220-\r\n220\r\n",
                                      b"220-a\r\n22\r\n220 c\r\n", b"220-a\r\nb\r\n220 c\r\n"])
def test_greeting_taken(home, relay, greeting):
    """A line without a code inside a reply counts for nothing."""
    relay(greeting=greeting)
    check(home.run(), "r", accepted())


@pytest.mark.parametrize("greeting", [
    b"220-a\r\n554 c\r\n", b"2200x\r\n", b"abc\r\n", b"\r\n", b"22\r\n", b" 220 x\r\n", b"SSH-2.0-x\r\n", b"2 0 x\r\n",
])
def test_greeting_malformed(home, relay, greeting):
    server = relay(greeting=greeting)
    run = home.run()
    assert run.letters == "Z", run
    assert run.message.first.decode() in (GREETING, died()[1]), run
    assert not server.session.mails and "MAIL" not in server.session.verbs


@pytest.mark.parametrize("greeting", [CLOSE, (b"220-one\r\n220 tw", CLOSE), (b"220-one\r\n", CLOSE), (b"220", CLOSE)])
def test_closed_in_greeting(home, relay, greeting):
    relay(greeting=greeting)
    check(home.run(), died())


@pytest.mark.parametrize("greeting", [RESET, (b"220 on", RESET)])
def test_reset_in_greeting(home, relay, greeting):
    """The reset may come so early that connecting itself has failed."""
    relay(greeting=greeting)
    run = home.run()
    assert run.letters == "Z" and run.message.first.decode() in (died()[1], NO_CONNECTION[1]), run


@pytest.mark.parametrize("ehlo", ["500 what", "502 what", "550 go away", "554-no\n554 never", "450 no", "450-no\n450 no",
                                  "251 ok", "220 x", "354 x"])
def test_helo_after_ehlo(home, relay, ehlo):
    server = relay(EHLO=ehlo, QUIT=None)
    check(home.run(), "r", accepted())
    assert server.log.startswith(b"EHLO me.example\r\nHELO me.example\r\nMAIL FROM:<")


@pytest.mark.parametrize("helo", ["500 what", "251 ok", "421 no", "220 x"])
def test_helo_refused(home, relay, helo):
    server = relay(EHLO="500 what", HELO=helo)
    check(home.run(), ("Z", NAME, helo))
    assert server.log == b"EHLO me.example\r\nHELO me.example\r\nQUIT\r\n"


@pytest.mark.parametrize("ehlo", ["421 later", "421-no\n421 later"])
def test_no_helo_after_421(home, relay, ehlo):
    server = relay(EHLO=ehlo)
    check(home.run(), ("Z", NAME, ehlo))
    assert server.session.clear == b"EHLO me.example\r\nQUIT\r\n"


def said(session):
    return [line.split()[0] for line in bytes(session.clear).split(b"\r\n") if line]


@pytest.mark.parametrize("ehlo", [CLOSE, RESET, (b"250-hi\r\n250 o", CLOSE), (b"500 wh", CLOSE), b"250-hi\r\n550 no\r\n",
                                  b"2500 ok\r\n"])
def test_helo_on_a_new_connection(home, relay, ehlo):
    """Where there is no whole reply, or a malformed one, the connection is of no more use. Stock stays on it."""
    server = relay(EHLO=ehlo)
    check(home.run(), "r", accepted())
    server.settle()
    first, second = server.sessions
    assert said(first)[:1] == [b"EHLO"] and b"HELO" not in said(first) and not first.mails
    assert second.clear.startswith(b"HELO me.example\r\nMAIL FROM:<") and len(second.mails) == 1


def test_helo_after_no_answer_to_ehlo(home, relay):
    """The limit is that of timeoutremote."""
    server = relay(EHLO=DEAF)
    home.control("timeoutremote", "2\n")
    check(home.run(), "r", accepted())
    server.settle()
    assert [said(s)[0] for s in server.sessions] == [b"EHLO", b"HELO"]


def test_helo_on_a_new_connection_refused(home, relay):
    server = relay(EHLO=CLOSE, HELO="550 go away")
    check(home.run(), ("Z", NAME, "550 go away"))
    server.settle()
    assert [said(s) for s in server.sessions] == [[b"EHLO"], [b"HELO", b"QUIT"]]


# The envelope.

@pytest.mark.parametrize("reply, letter", [("550 bad", "D"), ("450 bad", "Z"), ("421 bad", "Z"), ("501-a\n501 b", "D")])
def test_sender_refused(home, server, reply, letter):
    s = server(MAIL=reply)
    check(home.run(), (letter, SENDER, reply))
    # The rest of a group goes unread, so the connection may end before QUIT is taken.
    assert not s.mails and s.session.verbs[-1] in (("QUIT", "DATA") if s.ehlo else ("QUIT",))


@pytest.mark.parametrize("reply", ["354 x", "000 x", "199 x", "399 x", "600 x", "999 x"])
def test_sender_other_class(home, server, reply):
    s = server(MAIL=reply)
    run = home.run()
    assert run.letters == "Z" and run.message.first.decode() in (SENDER, died()[1]), run
    assert not s.mails


@pytest.mark.parametrize("reply", [b"abc\r\n", b"25\r\n", b"2500 ok\r\n", b"250-ok\r\n550 no\r\n", b"2\xb50 ok\r\n"])
@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA"])
def test_malformed(home, server, moment, reply):
    """Never a success and never permanent, also where the next reply of a group stands in its place."""
    s = server(**{moment: reply})
    home.control("timeoutremote", "2\n")
    run = home.run()
    assert run.rspawn[:1] == b"Z" and "K" not in run.letters and "h" not in run.letters, run
    assert not s.mails or s.mail.wire == b".\r\n"


def test_recipient_refused(home, server):
    s = server(RCPT=b"550-no\r\n550 such\r\n")
    run = home.run()
    check(run, ("h", RECIPIENT, "550-no\n550 such"), GIVE_UP)
    assert run.rspawn == f"D{RECIPIENT}\nRemote host said: 550-no\n550 such\nGiving up on {IP}.\n".encode()
    assert not s.mails and s.session.verbs[-1] == "QUIT"


def test_recipient_later(home, server):
    s = server(RCPT="450 no")
    run = home.run()
    check(run, ("s", RECIPIENT, "450 no"), GIVE_UP)
    assert run.rspawn[:1] == b"Z" and not s.mails


def test_some_recipients(home, server):
    s = server(RCPT=["550 a", "450 b", "250 c"])
    run = home.run(recipients=["a@d", "b@d", "c@d"])
    check(run, ("h", RECIPIENT, "550 a"), ("s", RECIPIENT, "450 b"), "r", accepted())
    assert s.mail.recipients == [b"<c@d>"]


def test_after_421(home, relay):
    """The next recipient is tried whatever was said to the one before."""
    server = relay(RCPT=["421 a", "250 b"])
    check(home.run(recipients=["a@d", "b@d"]), ("s", RECIPIENT, "421 a"), "r", accepted())
    assert server.mail.recipients == [b"<b@d>"]


def test_many_recipients(home, server):
    names = [f"user{n}@dst.example" for n in range(1000)]
    s = server(RCPT=[f"{550 if n % 3 == 0 else 450 if n % 3 == 1 else 250} {n}" for n in range(1000)])
    run = home.run(recipients=names)
    assert run.letters == "hsr" * 333 + "hK"
    assert [r.text.split(b" said: ")[1] for r in run.records if r.letter == "h"] == \
        [b"550 %d\n" % n for n in range(0, 1000, 3)]
    assert s.mail.recipients == [b"<user%d@dst.example>" % n for n in range(2, 1000, 3)]


def test_partial_records_before_death(home, relay):
    relay(RCPT=["250 a", "550 b", CLOSE])
    check(home.run(recipients=["a@d", "b@d", "c@d"]), "r", ("h", RECIPIENT, "550 b"), died())


@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("how", [CLOSE, RESET, ("250-half", CLOSE), (b"25", CLOSE)], ids=["fin", "rst", "half", "piece"])
def test_connection_lost(home, server, moment, how):
    server(**{moment: how})
    run = home.run()
    assert run.message.first.decode() == died()[1] and run.rspawn[:1] == b"Z", run


@pytest.mark.parametrize("reply, letter", [("554 no", "D"), ("451 no", "Z"), ("554-a\n554 b", "D")])
def test_data_refused(home, server, reply, letter):
    s = server(DATA=reply)
    check(home.run(), "r", (letter, DATA, reply))
    assert not s.mails and s.session.verbs[-1] == "QUIT" and "SUBJECT" not in s.session.verbs


@pytest.mark.parametrize("reply", ["250 go", "200 go", "355 go", "300 go", "220 go"])
def test_data_needs_354(home, server, reply):
    s = server(DATA=reply)
    run = home.run()
    assert run.letters == "rZ" and run.message.first.decode() in (DATA, died()[1]), run
    assert not any(m.wire not in (b"", b".\r\n") for m in s.session.mails)
    assert b"hi" not in s.log


# The end of the message.

@pytest.mark.parametrize("reply, letter", [("554 no", "D"), ("451 no", "Z"), ("552-a\n552-b\n552 c", "D"), ("421 x", "Z")])
def test_message_refused(home, server, reply, letter):
    server(END=reply)
    check(home.run(), "r", (letter, AFTER, reply))


@pytest.mark.parametrize("reply", [b"354 huh\r\n", b"abc\r\n", b"\r\n", b"199 x\r\n", b"25\r\n",
                                   b"250-a\r\n554 b\r\n", b"554-a\r\n250 b\r\n", b"600 x\r\n"])
def test_final_reply_malformed(home, server, reply):
    server(END=reply)
    home.control("timeoutremote", "2\n")
    run = home.run()
    assert run.letters == "rZ" and run.message.first.decode() == duplicate()[1], run


@pytest.mark.parametrize("end", [CLOSE, RESET, (b"250 go", CLOSE), (b"250-got\r\n", CLOSE), (b"250", RESET)],
                         ids=["fin", "rst", "inside", "between", "code"])
def test_lost_after_dot(home, server, end):
    s = server(END=end)
    check(home.run(), "r", duplicate())
    assert len(s.mails) == 1


@pytest.mark.timed
def test_silence_after_dot(home, relay):
    server = relay(END=None)
    home.control("timeoutremote", "1\n")
    run = home.run()
    check(run, "r", duplicate())
    assert run.lasted(2.5, least=0.9) and len(server.mails) == 1


def test_reset_in_body(home, relay):
    relay(DATA=("354 go", Read(100000), RESET))
    check(home.run(message=b"x" * 70 + b"\n" + b"a line of text\n" * 2000000), "r", died())


@pytest.mark.timed
def test_stuck_in_body(home, relay):
    gate = threading.Event()
    relay(DATA=("354 go", Until(gate)), rcvbuf=4096)
    home.control("timeoutremote", "1\n")
    run = home.run(message=b"a line of text\n" * 2000000)
    gate.set()
    check(run, "r", died())
    assert run.lasted(4, least=0.9)


def test_reply_inside_body(home, relay):
    """A server that refuses in the middle of the data: what it says must not be lost behind its reset."""
    server = relay(DATA=("354 go", Read(100000), "552 too much", CLOSE))
    run = home.run(message=b"a line of text\n" * 20000)
    assert run.letters[0] == "r" and run.letters[-1] in "ZD" and len(server.mails) == 0, run


def test_control_bytes(home, relay):
    relay(greeting=b"554 a\0b\x01c\xe9d\te\x1b[0m\x7f\r\n")
    run = home.run()
    said = run.message.text.split(b"\nRemote host said: ")[1]
    assert said == b"554 a?b?c\xe9d?e?[0m?\n"


@pytest.mark.parametrize("inside", [b"\r", b"\r\r", b"a\rb"])
def test_cr_inside(home, relay, inside):
    relay(greeting=b"554 x" + inside + b"y\r\n")
    run = home.run()
    assert run.letters == "Z" and b"\r" not in run.report and b"Remote host said: 554 x" in run.report


def test_long_reply(home, relay):
    relay(greeting=b"554 " + b"x" * 6000 + b"\r\n")
    run = home.run()
    said = run.message.text.split(b"\nRemote host said: ")[1]
    assert said.rstrip(b"\n") == b"554 " + b"x" * 4996


def test_many_lines(home, relay):
    relay(END=b"554-line\r\n" * 100000 + b"554 end\r\n")
    run = home.run()
    check(run, "r", ("D", AFTER, "554-line"))
    assert len(run.report) < 5200


ALL = b"220 hi\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 got it\r\n"


def test_all_replies_at_once(home, relay):
    server = relay(greeting=ALL, EHLO=None, HELO=None, MAIL=None, RCPT=None, DATA=None, END=None, QUIT=None)
    run = home.run()
    assert run.letters == "Z", run
    assert server.session.mails == []


@pytest.mark.parametrize("moment, reply", [
    ("greeting", b"220 hi\r\n220 hi\r\n"), ("EHLO", b"250 ok\r\n250 ok\r\n"), ("EHLO", b"250-ok\r\n250 x\r\n550 early\r\n"),
    ("MAIL", b"250 ok\r\n550 early\r\n"), ("MAIL", b"250 ok\r\n250 early\r\n"), ("RCPT", b"250 ok\r\n250 early\r\n"),
    ("RCPT", b"250 ok\r\n354 early\r\n"), ("DATA", b"354 go\r\n250 early\r\n"), ("DATA", b"354 go\r\n554 early\r\n"),
])
def test_extra_reply(home, relay, moment, reply):
    """What was said before the question was asked is no answer to it."""
    relay(**{moment: reply})
    run = home.run()
    assert run.message.letter == "Z" and "h" not in run.letters, run


def test_reset_after_acceptance(home, server):
    server(END=("250 q", RESET))
    for _ in range(5):
        check(home.run(), "r", accepted(said="250 q"))


@pytest.mark.parametrize("reply, letter", [("554 no", "D"), ("451 no", "Z")])
def test_reset_after_refusal(home, server, reply, letter):
    server(END=(reply, RESET))
    check(home.run(), "r", (letter, AFTER, reply))


def test_fin_after_acceptance(home, server):
    server(END=("250 q", CLOSE))
    check(home.run(), "r", accepted(said="250 q"))


@pytest.mark.timed
def test_quit_is_not_answered(home, server):
    s = server(QUIT=(Delay(5), "221 bye"))
    run = home.run()
    check(run, "r", accepted())
    assert run.lasted(2)
    assert s.session.verbs[-1] == "QUIT"


def test_message_is_a_directory(home, relay):
    server = relay()
    run = home.run(message=home.path)
    check(run, "r", ("Z", "Unable to read message. (#4.3.0)"))
    assert not server.mails and server.session.mails[0].wire == b"" and server.session.verbs[-1] == "DATA"


# The message.

def wire(message):
    """What the design sends for a message."""
    out = []
    body = message if message.endswith(b"\n") or not message else message + b"\n"
    # CR just before LF is part of that line end; a CR that ended the file had no LF of its own.
    if message.endswith(b"\r"):
        body = message[:-1] + b" \n"
    for line in body.split(b"\n")[:-1]:
        if line.endswith(b"\r"):
            line = line[:-1]
        line = line.replace(b"\r", b" ")
        out.append((b"." if line.startswith(b".") else b"") + line + b"\r\n")
    return b"".join(out) + b".\r\n"


@pytest.mark.parametrize("message, sent", [
    pytest.param(b"", b".\r\n", id="093-empty"),
    pytest.param(b".\n", b"..\r\n.\r\n", id="094-dot"),
    pytest.param(b"..\nx\n.y\n", b"...\r\nx\r\n..y\r\n.\r\n", id="094-dots"),
    pytest.param(b"\n.\n.\n\n", b"\r\n..\r\n..\r\n\r\n.\r\n", id="094-more-dots"),
    pytest.param(b"a\nbc", b"a\r\nbc\r\n.\r\n", id="095-no-line-end"),
    pytest.param(b"a\n.", b"a\r\n..\r\n.\r\n", id="095-dot"),
    pytest.param(b".", b"..\r\n.\r\n", id="095-only-dot"),
    pytest.param(b"x", b"x\r\n.\r\n", id="095-only-x"),
    pytest.param(b"x" * 5000 + b"\n", b"x" * 5000 + b"\r\n.\r\n", id="096-long-line"),
    pytest.param(bytes(c for c in range(256) if c not in (10, 13)) + b"\n",
                 bytes(c for c in range(256) if c not in (10, 13)) + b"\r\n.\r\n", id="096-all-bytes"),
    pytest.param(b"\0\n\0.\n", b"\0\r\n\0.\r\n.\r\n", id="096-nul"),
    pytest.param(b"a\r\n", b"a\r\n.\r\n", id="097-crlf"),
    pytest.param(b"a\rb\n", b"a b\r\n.\r\n", id="097-inside"),
    pytest.param(b"a\r\rb\n", b"a  b\r\n.\r\n", id="097-two"),
    pytest.param(b"a\r\r\n", b"a \r\n.\r\n", id="097-crcrlf"),
    pytest.param(b".\r\n", b"..\r\n.\r\n", id="097-dot-crlf"),
    pytest.param(b".\r\r\n", b".. \r\n.\r\n", id="097-dot-crcrlf"),
    pytest.param(b"a\r", b"a \r\n.\r\n", id="097-end"),
    pytest.param(b"a\n\r", b"a\r\n \r\n.\r\n", id="097-end-alone"),
    pytest.param(b"\r", b" \r\n.\r\n", id="097-only"),
    pytest.param(b"\r\n", b"\r\n.\r\n", id="097-only-crlf"),
    pytest.param(b"a\r.\nX\n", b"a .\r\nX\r\n.\r\n", id="097-smuggle"),
    pytest.param(b"a\n\r.\r\nMAIL\n", b"a\r\n .\r\nMAIL\r\n.\r\n", id="097-smuggle-2"),
    pytest.param(b"a\r\n.\r\nMAIL\r\n", b"a\r\n..\r\nMAIL\r\n.\r\n", id="097-smuggle-3"),
    pytest.param(b"a\n.\r", b"a\r\n.. \r\n.\r\n", id="097-dot-end"),
])
def test_message(home, server, message, sent):
    assert wire(message) == sent
    s = server()
    check(home.run(message=message), "r", accepted())
    assert s.mail.wire == sent
    assert s.session.verbs.count("DATA") == 1 and s.session.verbs[-1] == "QUIT"


def check_wire(s, message):
    got, want = s.mail.wire, wire(message)
    if got != want:
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        raise AssertionError(f"differs at {at}: {got[at - 20:at + 20]!r}, should be {want[at - 20:at + 20]!r}; "
                             f"{len(got)} bytes, should be {len(want)}")


# Lengths are prime, so that repeated they put every byte at every place of any buffer.
@pytest.mark.parametrize("piece", [
    b"x\r.\n.\r\n\r\r\n", b"\r\n.\r\n", b"\n.\r", b".\n\r\r.\r\n", b"\r\r\r", b"\n", b".\n", b"\r.\r\n.\r\n.\n.",
    b"a line of a usual message, some 70 bytes long, as people write them\r.\n",
], ids=lambda p: repr(p)[2:-1][:20])
def test_every_boundary(home, relay, piece):
    server = relay()
    if len(piece) % 2 == 0:
        piece += b"y"
    message = piece * (400000 // len(piece))
    check(home.run(message=message), "r", accepted())
    check_wire(server, message)


@pytest.mark.parametrize("seed", range(4))
def test_random(home, relay, seed):
    server = relay()
    rng = random.Random(seed)
    message = bytes(rng.choices(b"\r\n.x\0", weights=[3, 3, 3, 2, 1], k=200000 + rng.randrange(1000)))
    check(home.run(message=message), "r", accepted())
    check_wire(server, message)


@pytest.mark.parametrize("size", [1023, 1024, 4095, 4096, 8192, 16384, 32768, 65535, 65536, 131072])
@pytest.mark.parametrize("tail", [b"", b"\n", b"\r", b"\r\n", b"\n.", b"\r\r"], ids=["none", "lf", "cr", "crlf", "dot", "crcr"])
def test_end_at_boundary(home, relay, size, tail):
    server = relay()
    message = b"x" * (size - len(tail)) + tail
    check(home.run(message=message), "r", accepted())
    check_wire(server, message)


def test_message_from_a_pipe(home, relay):
    """Whatever fd 0 is: the message comes in pieces."""
    server = relay()
    read, write = os.pipe()
    process = home.start(message=read)
    os.close(read)
    for piece in (b"a\r", b"\n", b".", b"x\r", b".\n"):
        os.write(write, piece)
    os.close(write)
    check(process.finish(), "r", accepted())
    assert server.mail.wire == b"a\r\n..x .\r\n.\r\n"


def test_message_from_a_pipe_in_one_write(home, relay):
    server = relay(ehlo=("SIZE", "PIPELINING"))
    read, write = os.pipe()
    os.write(write, b"hello\n")
    os.close(write)
    check(home.run(message=read), "r", accepted())
    os.close(read)
    assert server.mail.wire == b"hello\r\n.\r\n"


def test_message_is_read_from_its_offset(home, relay):
    server = relay()
    fd = os.open(home.message(b"skip this\nhello\n"), os.O_RDONLY)
    os.lseek(fd, 10, os.SEEK_SET)
    check(home.run(message=fd), "r", accepted())
    os.close(fd)
    assert server.mail.wire == b"hello\r\n.\r\n"


# Addresses.

@pytest.mark.parametrize("sender, sent", [
    ("", b"<>"), ("#@[]", b"<>"), ("noat", b"<noat>"), ("a b@d", b'<"a b"@d>'), ("-@d", b"<-@d>"),
    ("prefix-@src.example-@[]", b'<"prefix-@src.example-"@[]>'), ("#@[x]", b"<#@[x]>"),
    ("a@[IPv6:2001:db8::1]", b"<a@[IPv6:2001:db8::1]>"), ("a@SRC.Example.", b"<a@SRC.Example.>"),
])
def test_sender(home, server, sender, sent):
    s = server()
    check(home.run(sender=sender), "r", accepted())
    assert s.mail.sender.split(b" ")[0] == sent or s.mail.sender == sent


@pytest.mark.parametrize("recipient, sent", [
    ("a b@d", b'<"a b"@d>'), ("a.@d", b'<"a."@d>'), (".a@d", b'<".a"@d>'), ("a..b@d", b'<"a..b"@d>'),
    ("a,b(c);:@d", b'<"a,b(c);:"@d>'), ('"q"@d', b'<"\\"q\\""@d>'), ("a@b@c", b'<"a@b"@c>'), ("@h", b'<""@h>'),
    ("u@", b"<u@>"), ("#@[]", b"<#@[]>"), ("a\\b@d", b'<"a\\\\b"@d>'), ("a<b>@d", b'<"a<b>"@d>'), ("a[b]@d", b'<"a[b]"@d>'),
    ("a.b@d", b"<a.b@d>"), ("a\tb@d", b'<"a\tb"@d>'), ("a\x01b@d", b'<"a\x01b"@d>'), (".@d", b'<"."@d>'),
    pytest.param("!#$%&'*+-/=?^_`{|}~@d", b"<!#$%&'*+-/=?^_`{|}~@d>", id="100-plain"),
    pytest.param("a\x7fb@d", b'<"a\x7fb"@d>', id="100-del"),
    pytest.param(b"a\xe9b@d", b'<"a\xe9b"@d>', id="100-8bit"),
    pytest.param("nodomain", b"<nodomain>", id="101"),
    pytest.param("a@[192.0.2.1]", b"<a@[192.0.2.1]>", id="literal"),
    pytest.param("a@D.Example.", b"<a@D.Example.>", id="as-it-is"),
    pytest.param("-a@-d", b"<-a@-d>", id="dash"),
])
def test_recipient(home, server, recipient, sent):
    s = server()
    check(home.run(recipients=[recipient]), "r", accepted())
    assert s.mail.recipients == [sent]


BAD = [b"a\nb@d", b"a\rb@d", b"a\n@d", b"\r\n@d", b"a@d\r\nRSET", b"a@d\n", b"a@d\r", b"a@d e", b"a@d>", b"a@d> X=<b", b"a@<d",
       b"a@d\x01", b"a@d\x7f", b"a@d\t", b"no\ndomain", b"no\rdomain"]


@pytest.mark.parametrize("address", BAD, ids=lambda b: repr(b)[2:-1])
@pytest.mark.parametrize("which", ["sender", "recipient"])
def test_injection(home, server, address, which):
    """No address brings a command of its own; it is refused for good."""
    s = server()
    run = home.run(**{"sender": address} if which == "sender" else {"recipients": [address]})
    codes = [b"(#5.1.3)"] + ([b"(#5.1.7)"] if which == "sender" else [])
    assert run.rspawn[:1] == b"D" and any(c in run.report for c in codes), run
    assert not s.mails and b"RSET" not in s.log


def test_injection_among_good_recipients(home, server):
    s = server()
    run = home.run(recipients=["a@d", b"b@d\nRCPT TO:<c@d>", "e@d"])
    assert not any(b"c@d" in r for m in s.mails for r in m.recipients), run
    assert b"(#5.1.3)" in run.report and run.letters[-1] in "DK"
