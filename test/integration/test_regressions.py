"""Old bugs that no other test here would notice."""

import select
import signal
import time

import pytest

from expect import DNS_SOFT, accepted, check, duplicate
from qmailhome import MESSAGE
from smtpd import CLOSE, DEAF, Call, Delay, Read

ONE = "192.0.2.1"
SIZE = len(MESSAGE.replace(b"\n", b"\r\n"))


def test_signals_are_as_qmail_rspawn_leaves_them(home, relay):
    """qmail-rspawn blocks SIGCHLD for its children: who waits for a child of his own with it would wait for ever."""
    seen = []

    def look(session):
        with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
            mask = {name: int(value, 16) for name, value in (line.split(":") for line in f) if name.startswith("Sig")
                    and "/" not in value}
        seen.append((mask["SigBlk"], mask["SigIgn"] & 1 << signal.SIGCHLD - 1))
        return "250 ok"

    relay(EHLO=Call(look), MAIL=Call(look))
    process = home.start()
    check(process.finish(), "r", accepted())
    assert seen == [(0, 0), (0, 0)]


def test_quit_is_not_said_amid_mail_data(home, relay):
    server = relay(DATA=("354 go", Read(70000), "554 enough", Read(1 << 30)))
    assert home.run(message=b"a line like any other\n" * 200000).letters.endswith("D")
    server.settle()
    assert b"QUIT" not in server.session.clear[-100:]


def test_a_message_too_large_is_refused_for_each_recipient_without_a_reply(home, relay):
    """Nothing was said, so there is nothing to quote."""
    relay(ehlo=("SIZE 10", "LIMITS RCPTMAX=1"))
    run = home.run(recipients=["a@dst.example", "b@dst.example"])
    check(run, *[("h", f"{ONE} did not take the message.")] * 2,
          ("D", f"{ONE} takes messages of 10 bytes, this one has {SIZE}. (#5.3.4)"))


def test_only_the_transaction_in_doubt_may_be_a_duplicate(home, relay):
    """After one transaction whose end nobody knows there is no other."""
    relay(ehlo=("LIMITS RCPTMAX=1",), END=CLOSE)
    run = home.run(recipients=["a@dst.example", "b@dst.example"])
    check(run, ("s", f"{ONE} may have the message. Possible duplicate!"), ("s", f"{ONE} did not take the message."),
          duplicate())


def test_the_reply_shown_is_that_to_the_message_that_was_taken(home, relay):
    """K quotes the reply to the message that was taken, not the last one."""
    replies = iter(["250 first", "554 second"])
    relay(ehlo=("LIMITS RCPTMAX=1",), END=Call(lambda session: next(replies)))
    run = home.run(recipients=["a@dst.example", "b@dst.example"])
    check(run, "r", ("h", f"{ONE} did not take the message.", "554 second"), accepted(said="250 first"))


def test_what_mailmax_leaves_over_is_temporary_and_quit_is_said(home, relay):
    """MAILMAX is used up: nothing died, and QUIT is said."""
    server = relay(ehlo=("LIMITS RCPTMAX=1 MAILMAX=1",), RCPT="550 no")
    run = home.run(recipients=["a@dst.example", "b@dst.example"])
    check(run, ("h", f"{ONE} does not like recipient.", "550 no"), ("s", f"{ONE} did not take the message."),
          ("Z", f"{ONE} takes no more messages on this connection. (#4.5.3)"))
    server.settle()
    assert server.log.endswith(b"QUIT\r\n") and server.log.count(b"MAIL") == 1


def test_nothing_is_sent_after_a_354_to_data_of_a_refused_mail(home, relay):
    """After a 354 QUIT would be mail data, and before it nobody knows."""
    def listen(session):
        if select.select([session.sock], [], [], 0.3)[0]:
            session.fill()
        return "550 no"

    server = relay(ehlo=("PIPELINING",), MAIL="550 no", RCPT=Call(listen), DATA="354 go")
    check(home.run(), ("D", f"Connected to {ONE} but sender was rejected.", "550 no"))
    server.settle()
    assert server.session.clear.endswith(b"DATA\r\n")


@pytest.mark.timed
def test_replies_owed_at_quit_have_the_time_of_one(home, relay):
    """All replies have the time of one: there is nothing to learn any more."""
    home.control("timeoutremote", "1\n")
    server = relay(ehlo=("PIPELINING",), MAIL="550 no", RCPT=(Delay(0.4), "550 no"))
    run = home.run(recipients=[f"{n}@dst.example" for n in range(10)])
    check(run, ("D", f"Connected to {ONE} but sender was rejected.", "550 no"))
    assert run.lasted(2, least=0.9)
    server.settle()
    assert server.session.clear.endswith(b"DATA\r\n")


def test_quit_is_said_when_mail_was_refused(home, relay):
    server = relay(ehlo=("PIPELINING",), MAIL="550 no", RCPT="503 no", DATA="503 no")
    check(home.run(), ("D", f"Connected to {ONE} but sender was rejected.", "550 no"))
    server.settle()
    assert server.session.clear.endswith(b"DATA\r\nQUIT\r\n")


@pytest.mark.parametrize("extensions", [(), ("SIZE",), ("SIZE", "PIPELINING")], ids=["none", "size", "pipelining"])
def test_a_file_that_hides_its_size_is_sent(home, relay, extensions):
    """Those of /proc say that they are empty."""
    relay(ehlo=extensions)
    with open("/proc/self/status", "rb") as f:
        check(home.run(message=f.fileno()), "r", ("Z", "Unable to read message. (#4.3.0)"))


@pytest.mark.parametrize("count", range(3500, 6501, 500))
def test_replies_that_come_before_their_commands_left_accept_nothing(home, relay, count):
    """All commands are written or in our output, nothing more is read by the server, and replies to them all come."""
    def reply(session):
        time.sleep(0.3)
        return b"250 ok\r\n" * (count + 1)

    home.control("timeoutremote", "2\n")
    relay(ehlo=("PIPELINING",), rcvbuf=4608, MAIL=(Call(reply), DEAF))
    run = home.run(recipients=[f"{n:06}@dst.example" for n in range(count)], message=b"a line like any other\n" * 6000)
    assert run.letters[-1] == "Z" and run.status == 0, run


@pytest.mark.parametrize("place", [0, 1, 2])
def test_unsendable_recipients_have_a_record_beside_others(home, relay, place):
    """Also when the connection died in a later transaction."""
    recipients = ["a@dst.example", "b@dst.example"]
    recipients.insert(place, "c@dst.example\n")
    records = ["r", ("s", f"{ONE} did not take the message.")]
    records.insert(place, ("h", "Sorry, that address cannot be sent by SMTP. (#5.1.3)"))
    relay(ehlo=("LIMITS RCPTMAX=1",), MAIL=["250 ok", CLOSE])
    check(home.run(recipients=recipients), *records, accepted())


@pytest.mark.parametrize("place", [0, 1, 2])
def test_unsendable_recipients_have_a_record(home, relay, place):
    recipients = ["a@dst.example", "b@dst.example"]
    recipients.insert(place, "c@dst.example\n")
    records = ["r", "r"]
    records.insert(place, ("h", "Sorry, that address cannot be sent by SMTP. (#5.1.3)"))
    relay()
    check(home.run(recipients=recipients), *records, accepted())


@pytest.mark.parametrize("how", ["closed", "read-only"])
def test_no_delivery_without_a_report(home, relay, how):
    server = relay()
    line = "exec \"$@\" >&-" if how == "closed" else "exec \"$@\" 1</dev/null"
    run = home.start(program="/bin/sh", args=["-c", line, "sh", f"{home.path}/bin/qmail-remote", "dst.example",
                                              "a@src.example", "b@dst.example"]).finish()
    assert run.status == 0 and run.report == b"" and not server.sessions, run


@pytest.mark.parametrize("address", ["::1", "::"])
def test_placeholder_beside_an_address(home, smtp, dns, address):
    """AAAA ::1 says that somebody had no IPv6 address, not that the host is this one."""
    smtp(ONE)
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {ONE}\nm.example AAAA {address}")
    check(home.run(), "r", accepted())


def test_unknown_better_host_is_no_loop(home, dns):
    """We are the second best; who is the best one may be told later."""
    dns.zone("dst.example MX 5 dead.example.\ndst.example MX 10 me.example.\nme.example A 127.0.0.1")
    dns.rule("dead.example", rcode="SERVFAIL")
    check(home.run(), DNS_SOFT)


@pytest.mark.parametrize("sender", ["a@b\r\nRSET", "a" * 6000 + "@b.example"], ids=["line-end", "long"])
def test_an_address_that_no_command_can_hold_is_refused_by_qmail_remote_io_too(home, relay, sender):
    """What qmail-remote would not have let through."""
    args = ["fd=3", f"address={ONE}", "timeout=5", "--", sender, "b@dst.example"]
    run = home.run(program=f"{home.path}/bin/qmail-remote-io", argv0="qmail-remote-io", args=args)
    check(run, ("Z", "I (qmail-remote-io) was invoked improperly. (#4.3.5)"))


@pytest.mark.parametrize("words", [
    ["4", ONE, "5", "", ""], ["fd=4abc", f"address={ONE}", "timeout=5", "--"],
    ["fd=3", f"address={ONE}", "timeout=700000", "--"], ["fd=3", f"address={ONE}", "timeout=5", "colour=red", "--"],
    ["fd=3", f"address={ONE}", "timeout=5"], ["fd=0", f"address={ONE}", "timeout=5", "--"],
    ["fd=3", f"address={ONE}", "timeout=5", "secrets=99", "--"],
], ids=["by-position", "letters", "too-large", "unknown", "no-end", "the-message", "no-secrets"])
def test_qmail_remote_io_refuses_arguments_that_it_does_not_know(home, words):
    """No number is cut to fit, no word is passed over."""
    run = home.run(program=f"{home.path}/bin/qmail-remote-io", argv0="qmail-remote-io",
                   args=[*words, "a@src.example", "b@dst.example"])
    check(run, ("Z", "I (qmail-remote-io) was invoked improperly. (#4.3.5)"))
