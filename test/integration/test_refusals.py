"""What a server's refusal means: of a parameter, of a command, of us, or of the mail. And what it may say besides."""

import os
import signal
import socket
import time

import pytest

from expect import accepted, check, died
from expect_dialogue import refused
from smtpd import CLOSE, DEAF, As, Call, Delay
from tlssite import tls_line

ONE = "192.0.2.1"
GROUP = ("PIPELINING", "SIZE", "8BITMIME")


@pytest.mark.parametrize("code", ["500", "501", "502", "504", "553", "555"])
@pytest.mark.parametrize("ehlo", [GROUP, ("SIZE",)], ids=["group", "one-by-one"])
def test_mail_is_sent_once_more_without_parameters(home, relay, ehlo, code):
    server = relay(ehlo=ehlo, MAIL=[f"{code} no parameters", "250 ok"])
    check(home.run(), "r", accepted())
    session, = server.sessions
    first, second = [line for _, line in session.commands if line.startswith(b"MAIL")]
    assert first.startswith(b"MAIL FROM:<a@src.example> SIZE=") and second == b"MAIL FROM:<a@src.example>"


def test_only_the_reply_to_the_second_mail_counts(home, relay):
    relay(ehlo=GROUP, MAIL=["501 no parameters", "550 no mail"])
    check(home.run(), *refused("MAIL", "550 no mail"))


def test_mail_that_is_refused_twice_is_reported_with_the_last_reply(home, relay):
    server = relay(ehlo=GROUP, MAIL="553 not you")
    check(home.run(), *refused("MAIL", "553 not you"))
    assert server.session.verbs.count("MAIL") == 2


def test_no_reply_to_the_second_mail_is_no_refusal(home, relay):
    relay(ehlo=GROUP, MAIL=["501 no parameters", CLOSE])
    check(home.run(), died())


@pytest.mark.parametrize("code", ["550", "552", "554", "503", "452"])
def test_mail_refused_by_another_code_is_not_sent_again(home, relay, code):
    server = relay(ehlo=GROUP, MAIL=[f"{code} no", "250 ok"])
    check(home.run(), *refused("MAIL", f"{code} no"))
    assert server.session.verbs.count("MAIL") == 1


@pytest.mark.parametrize("ehlo, reply, records", [
    (GROUP, "503 5.7.1 Relay not allowed", refused("RCPT", "503 5.7.1 Relay not allowed")),
    ((), "503 no", refused("RCPT", "503 no")),
    (GROUP, "503 one by one", [("s", f"{ONE} does not like recipient.", "503 one by one"),
                               ("Z", f"Connected to {ONE} but connection died. (#4.4.2)", "503 one by one")]),
], ids=["not-permitted", "alone", "in-a-group"])
def test_503_to_rcpt_is_temporary_in_a_group_unless_it_has_status_5_7_1(home, relay, ehlo, reply, records):
    relay(ehlo=ehlo, RCPT=reply, DATA="503 5.5.1 RCPT first")
    check(home.run(), *records)


@pytest.mark.parametrize("step, code", [("MAIL", 530), ("RCPT", 530), ("DATA", 530), ("END", 530), ("MAIL", 535),
                                        ("RCPT", 534), ("DATA", 538)])
def test_a_reply_about_authentication_is_temporary(home, relay, step, code):
    """It says something of us, not of the mail."""
    relay(ehlo=GROUP, **{step: f"{code} 5.7.0 log in first"})
    check(home.run(), *refused(step, f"{code} 5.7.0 log in first"))


def test_lines_without_a_code_are_passed_over_at_each_step(home, relay):
    """Before a reply, inside it and behind it, at each step."""
    relay(greeting=b"\r\nwelcome\r\n220 hi\r\n", EHLO=b"250-hi\r\n\r\n250-PIPELINING\r\n24: x\r\n250 SIZE\r\n\r\n",
          MAIL=b"250 ok\r\n", RCPT=b"250-ok\r\n1?0\r\n250 ok\r\n", DATA=b"354 go\r\n\r\n", END=b"250-got\r\n\r\n250 it\r\n")
    check(home.run(), "r", accepted(said="250-got\n250 it"))


def test_codes_without_a_blank_behind_them_are_taken(home, relay):
    relay(greeting=b"220hi\r\n", EHLO=b"250\thi\r\n", MAIL=b"250ok\r\n", RCPT=b"250_ok\r\n", DATA=b"354go\r\n",
          END=b"250\tok\r\n")
    check(home.run(), "r", accepted(said="250?ok"))


def test_talk_without_a_reply_is_shown(home, relay):
    relay(MAIL=(b"what is this?\r\n", CLOSE))
    check(home.run(), ("Z", f"Connected to {ONE} but connection died. (#4.4.2)", "what is this?"))


@pytest.mark.parametrize("script, records", [
    (dict(MAIL="550 no", RCPT=DEAF), refused("MAIL", "550 no")),
    (dict(MAIL="550 no", DATA=DEAF), refused("MAIL", "550 no")),
    (dict(RCPT="550 no", DATA=DEAF), refused("RCPT", "550 no")),
    (dict(RCPT="550 no", DATA=CLOSE), refused("RCPT", "550 no")),
], ids=["mail-refused-no-rcpt", "mail-refused-no-data", "none-accepted-no-data", "none-accepted-closed"])
def test_a_verdict_that_is_known_is_reported_although_other_replies_are_missing(home, relay, script, records):
    """Whatever has no reply yet changes nothing: two seconds, and no QUIT."""
    home.control("timeoutremote", "60\n")
    server = relay(ehlo=("PIPELINING",), **script)
    run = home.run()
    check(run, *records)
    assert run.wall < 15
    server.settle()
    assert b"QUIT" not in server.session.clear


def together(data):
    """The reply and FIN in one segment."""
    def play(session):
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        session.send(data)
        return CLOSE
    return Call(play)


@pytest.mark.parametrize("message", [b"small\n", b"a line like any other\n" * 50000], ids=["small", "large"])
def test_a_server_that_hung_up_behind_354_is_not_sent_the_end_of_the_message(home, relay, message):
    """A server that has hung up is not sent the end of the message: it cannot have it."""
    server = relay(ehlo=("PIPELINING",), DATA=together(b"354 go\r\n"))
    check(home.run(message=message), "r", died())
    server.settle()
    assert not any(m.complete for m in server.session.mails)


def stopped(pids, session, reply):
    """All of us are stopped until the time is over; the reply comes meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    session.send(reply)
    Delay(1.6).play(session)
    os.kill(pids[0], signal.SIGCONT)
    # The helper is not quicker than the program that waits for it.
    for pid in pids[1:]:
        Delay(0.05).play(session)
        os.kill(pid, signal.SIGCONT)


def helper_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(word) for word in f.read().split()]


STEPS = {"greeting": b"220 hi\r\n", "EHLO": b"250 hi\r\n", "MAIL": b"250 ok\r\n", "RCPT": b"250 ok\r\n",
         "DATA": b"354 go\r\n", "END": b"250 got it\r\n"}


@pytest.mark.parametrize("step", STEPS)
def test_a_reply_that_was_there_in_time_counts(home, relay, step):
    home.control("timeoutremote", "1\n")
    process = []

    def play(session):
        while not process:
            time.sleep(0.01)
        stopped([process[0].pid], session, STEPS[step])
        return As(chr(STEPS[step][0]))

    relay(**{step: Call(play)})
    process.append(home.start())
    check(process[0].finish(), "r", accepted())


@pytest.mark.parametrize("step", ["MAIL", "END"])
def test_a_reply_that_was_there_in_time_counts_through_tls(site, step):
    site.home.control("timeoutremote", "1\n")
    process = []

    def play(session):
        while not process:
            time.sleep(0.01)
        pid = process[0].pid
        stopped([pid, *helper_of(pid)], session, STEPS[step])
        return As(chr(STEPS[step][0]))

    site.one(2, **{step: Call(play)})
    process.append(site.home.start())
    run = process[0].finish()
    check(run, "r", accepted())
    assert tls_line(run)


def test_later_transactions_leave_out_parameters_that_were_refused(home, relay):
    """What the first MAIL has shown is known to the next."""
    server = relay(ehlo=("SIZE", "LIMITS RCPTMAX=1"), MAIL=["501 no parameters", "250 ok"])
    check(home.run(recipients=["b@dst.example", "c@dst.example"]), "r", "r", accepted())
    mails = [line for _, line in server.session.commands if line.startswith(b"MAIL")]
    assert len(mails) == 3 and b"SIZE" in mails[0] and mails[1] == mails[2] == b"MAIL FROM:<a@src.example>"
