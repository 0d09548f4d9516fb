"""Behaviours of stock qmail-remote: dialogue, message, addresses. The catalogue, groups B, C, H and N, has the rest.

Where the design of this program differs from stock, the test says what the design says.
"""

import os
import threading

import pytest

from expect import accepted, check, died, duplicate
from expect_dialogue import SENTENCES, refused
from smtpd import CLOSE, Delay, Until

IP = "192.0.2.1"


@pytest.fixture(params=[(), ("PIPELINING",)], ids=["lockstep", "pipelining"])
def server(request, relay):
    """A relay; once as it is and once with PIPELINING offered."""
    def make(**script):
        return relay(ehlo=request.param, **script)
    return make


# The dialogue.

def test_refused_greeting_is_reported_to_the_byte_and_answered_by_quit(home, relay):
    server = relay(greeting="554 no")
    assert home.run().report == f"ZConnected to {IP} but greeting failed.\nRemote host said: 554 no\n\0".encode()
    assert server.log == b"QUIT\r\n"


@pytest.mark.parametrize("reply", [b"abc\r\n", b"25\r\n"])
@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA"])
def test_line_without_a_code_neither_accepts_nor_refuses(home, server, moment, reply):
    """Also where the next reply of a group stands in its place."""
    s = server(**{moment: reply})
    home.control("timeoutremote", "1\n")
    run = home.run()
    assert run.rspawn[:1] == b"Z" and "K" not in run.letters and "h" not in run.letters, run
    assert not s.mails or s.mail.wire == b".\r\n"


def test_refused_recipient_is_reported_as_h_and_its_reply_is_what_the_sender_sees(home, server):
    reply = "550-no\n550 such"
    s = server(RCPT=reply)
    run = home.run()
    check(run, *refused("RCPT", reply))
    assert run.rspawn == f"D{IP} does not like recipient.\nRemote host said: {reply}\nGiving up on {IP}.\n".encode()
    assert not s.mails and s.session.verbs[-1] == "QUIT"


def test_each_recipient_has_a_record_with_its_own_reply(home, server):
    s = server(RCPT=["550 a", "450 b", "250 c"])
    run = home.run(recipients=["a@d", "b@d", "c@d"])
    check(run, refused("RCPT", "550 a")[0], refused("RCPT", "450 b")[0], "r", accepted())
    assert s.mail.recipients == [b"<c@d>"]


def test_each_of_1000_recipients_has_its_record(home, server):
    names = [f"user{n}@dst.example" for n in range(1000)]
    s = server(RCPT=[f"{550 if n % 3 == 0 else 450 if n % 3 == 1 else 250} {n}" for n in range(1000)])
    run = home.run(recipients=names)
    assert run.letters == "hsr" * 333 + "hK"
    assert [r.text.split(b" said: ")[1] for r in run.records if r.letter == "h"] == \
        [b"550 %d\n" % n for n in range(0, 1000, 3)]
    assert s.mail.recipients == [b"<user%d@dst.example>" % n for n in range(2, 1000, 3)]


def test_recipients_that_had_a_reply_before_the_connection_was_lost_have_their_records(home, relay):
    relay(RCPT=["250 a", "550 b", CLOSE])
    check(home.run(recipients=["a@d", "b@d", "c@d"]), "r", refused("RCPT", "550 b")[0], died())


@pytest.mark.timed
def test_silence_after_the_mail_data_is_a_possible_duplicate_after_timeoutremote(home, relay):
    server = relay(END=None)
    home.control("timeoutremote", "1\n")
    run = home.run()
    check(run, "r", duplicate())
    assert run.lasted(2.5, least=0.9) and len(server.mails) == 1


@pytest.mark.timed
def test_server_that_takes_no_more_mail_data_is_given_up_after_timeoutremote(home, relay):
    gate = threading.Event()
    relay(DATA=("354 go", Until(gate)), rcvbuf=4096)
    home.control("timeoutremote", "1\n")
    run = home.run(message=b"a line of text\n" * 2000000)
    gate.set()
    check(run, "r", died())
    assert run.lasted(4, least=0.9)


def test_control_bytes_of_a_reply_are_shown_as_question_marks(home, relay):
    relay(greeting=b"554 a\0b\x01c\xe9d\te\x1b[0m\x7f\r\n")
    run = home.run()
    said = run.message.text.split(b"\nRemote host said: ")[1]
    assert said == b"554 a?b?c\xe9d?e?[0m?\n"


def test_long_reply_is_cut_at_5000_bytes(home, relay):
    relay(greeting=b"554 " + b"x" * 6000 + b"\r\n")
    run = home.run()
    said = run.message.text.split(b"\nRemote host said: ")[1]
    assert said.rstrip(b"\n") == b"554 " + b"x" * 4996


def test_reply_of_100000_lines_is_a_refusal_and_is_cut(home, relay):
    relay(END=b"554-line\r\n" * 100000 + b"554 end\r\n")
    run = home.run()
    check(run, "r", ("D", SENTENCES["END"].format(ip=IP), "554-line"))
    assert len(run.report) < 5200


@pytest.mark.timed
def test_reply_to_quit_is_not_waited_for(home, relay):
    server = relay(QUIT=(Delay(5), "221 bye"))
    run = home.run()
    check(run, "r", accepted())
    assert run.lasted(2)
    assert server.session.verbs[-1] == "QUIT"


# The message.

def test_message_that_comes_in_pieces_from_a_pipe_is_sent_whole(home, relay):
    server = relay()
    read, write = os.pipe()
    process = home.start(message=read)
    os.close(read)
    for piece in (b"a\r", b"\n", b".", b"x\r", b".\n"):
        os.write(write, piece)
    os.close(write)
    check(process.finish(), "r", accepted())
    assert server.mail.wire == b"a\r\n..x .\r\n.\r\n"


def test_message_from_a_pipe_is_sent_where_its_size_cannot_be_known(home, relay):
    server = relay(ehlo=("SIZE", "PIPELINING"))
    read, write = os.pipe()
    os.write(write, b"hello\n")
    os.close(write)
    check(home.run(message=read), "r", accepted())
    os.close(read)
    assert server.mail.wire == b"hello\r\n.\r\n"


def test_message_is_read_from_the_offset_of_descriptor_0_on(home, relay):
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
def test_sender_is_quoted_where_it_must_be(home, relay, sender, sent):
    s = relay()
    check(home.run(sender=sender), "r", accepted())
    assert s.mail.sender.split(b" ")[0] == sent or s.mail.sender == sent


@pytest.mark.parametrize("recipient, sent", [
    ("a b@d", b'<"a b"@d>'), ("a.@d", b'<"a."@d>'), (".a@d", b'<".a"@d>'), ("a..b@d", b'<"a..b"@d>'),
    ("a,b(c);:@d", b'<"a,b(c);:"@d>'), ('"q"@d', b'<"\\"q\\""@d>'), ("a@b@c", b'<"a@b"@c>'), ("@h", b'<""@h>'),
    ("u@", b"<u@>"), ("#@[]", b"<#@[]>"), ("a\\b@d", b'<"a\\\\b"@d>'), ("a<b>@d", b'<"a<b>"@d>'), ("a[b]@d", b'<"a[b]"@d>'),
    ("a.b@d", b"<a.b@d>"), ("a\tb@d", b'<"a\tb"@d>'), ("a\x01b@d", b'<"a\x01b"@d>'), (".@d", b'<"."@d>'),
    pytest.param("!#$%&'*+-/=?^_`{|}~@d", b"<!#$%&'*+-/=?^_`{|}~@d>", id="plain"),
    pytest.param("a\x7fb@d", b'<"a\x7fb"@d>', id="del"),
    pytest.param(b"a\xe9b@d", b'<"a\xe9b"@d>', id="8bit"),
    pytest.param("nodomain", b"<nodomain>", id="no-domain"),
    pytest.param("a@[192.0.2.1]", b"<a@[192.0.2.1]>", id="literal"),
    pytest.param("a@D.Example.", b"<a@D.Example.>", id="as-it-is"),
    pytest.param("-a@-d", b"<-a@-d>", id="dash"),
])
def test_recipient_is_quoted_where_it_must_be(home, relay, recipient, sent):
    s = relay()
    check(home.run(recipients=[recipient]), "r", accepted())
    assert s.mail.recipients == [sent]


def test_recipient_that_is_a_command_is_refused_and_the_others_are_not(home, server):
    s = server()
    run = home.run(recipients=["a@d", b"b@d\nRCPT TO:<c@d>", "e@d"])
    assert not any(b"c@d" in r for m in s.mails for r in m.recipients), run
    assert b"(#5.1.3)" in run.report and run.letters[-1] in "DK"
