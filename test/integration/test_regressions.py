"""Old bugs that no other test here would notice."""

import signal

import pytest

from expect import accepted, check, duplicate
from qmailhome import MESSAGE
from smtpd import CLOSE, Call, Read

ONE = "192.0.2.1"
SIZE = len(MESSAGE.replace(b"\n", b"\r\n"))


def test_signals_that_qmail_rspawn_leaves(home, relay):
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


@pytest.mark.parametrize("recipients, first, second, records", [
    (1, ["250 ok"], ["450 later"], [("s", f"{ONE} does not like recipient.", "450 later"), ("D", f"Giving up on {ONE}.")]),
    (2, ["250 ok", "450 later"], ["450 later", "250 ok"],
     [("s", f"{ONE} does not like recipient.", "450 later"), "r", accepted()]),
    (2, ["250 ok", "250 ok"], ["550 no", "250 ok"], [("h", f"{ONE} does not like recipient.", "550 no"), "r", accepted()]),
], ids=["deferred", "the-other", "refused"])
def test_the_later_verdict_counts(home, relay, recipients, first, second, records):
    """A server that offers CHUNKING but knows no BDAT is told all recipients again, and only that time can deliver."""
    replies, ends = iter(first + second), iter(["500 what", "250 got it"])
    relay(ehlo=("PIPELINING", "CHUNKING"), RCPT=Call(lambda session: next(replies)),
          END=Call(lambda session: next(ends)))
    check(home.run(recipients=[f"r{n}@dst.example" for n in range(recipients)]), *records)


def test_no_quit_amid_mail_data(home, relay):
    server = relay(DATA=("354 go", Read(70000), "554 enough", Read(1 << 30)))
    assert home.run(message=b"a line like any other\n" * 200000).letters.endswith("D")
    server.settle()
    assert b"QUIT" not in server.session.clear[-100:]


def test_too_large_for_several_transactions(home, relay):
    """Nothing was said, so there is nothing to quote."""
    relay(ehlo=("SIZE 10", "LIMITS RCPTMAX=1"))
    run = home.run(recipients=["a@dst.example", "b@dst.example"])
    check(run, *[("h", f"{ONE} did not take the message.")] * 2,
          ("D", f"{ONE} takes messages of 10 bytes, this one has {SIZE}. (#5.3.4)"))


def test_never_begun_is_no_doubt(home, relay):
    """After one transaction whose end nobody knows there is no other."""
    relay(ehlo=("LIMITS RCPTMAX=1",), END=CLOSE)
    run = home.run(recipients=["a@dst.example", "b@dst.example"])
    check(run, ("s", f"{ONE} may have the message. Possible duplicate!"), ("s", f"{ONE} did not take the message."),
          duplicate())


@pytest.mark.parametrize("sender", ["a@b\r\nRSET", "a" * 6000 + "@b.example"], ids=["line-end", "long"])
def test_io_by_hand(home, relay, sender):
    """What qmail-remote would not have let through."""
    args = ["0", ONE, "5", "", "", sender, "b@dst.example"]
    run = home.run(program=f"{home.path}/bin/qmail-remote-io", argv0="qmail-remote-io", args=args)
    check(run, ("Z", "I (qmail-remote-io) was invoked improperly. (#4.3.5)"))
