"""qmail-remote-io on a connection that was used before, and what it leaves of one for the next message.

The programs that lend and take connections are played by the tests.
"""

import os
import select
import socket
import subprocess

import pytest

import rspawn
from expect import accepted, check, duplicate
from qmailhome import MESSAGE
from smtpd import CLOSE, RESET

ONE = "192.0.2.1"
AGAIN = 99      # the exit code for "make a new connection"


class Connection:
    """One to the server, as it is after EHLO."""

    def __init__(self):
        self.socket = socket.create_connection((ONE, 25))
        self.line()
        self.socket.sendall(b"EHLO me.example\r\n")
        while self.line()[3:4] == b"-":
            pass
        self.used = 0

    def line(self):
        """Not one byte more is read."""
        line = b""
        while not line.endswith(b"\n"):
            line += self.socket.recv(1)
        return line

    def wait_for_input(self):
        assert select.select([self.socket], [], [], 30)[0]


class Io:
    """What became of qmail-remote-io: exit code, report, what it has said before mail data."""

    def __init__(self, home, connection, *, recipients=("b@dst.example",), extensions="PIPELINING", progress=True,
                 cache=None, is_listening=True):
        told, tell = os.pipe()
        if not is_listening:
            os.close(told)
        words = [f"fd={connection.socket.fileno()}", f"address={ONE}", "timeout=20", f"extensions={extensions}"]
        if progress:
            words += [f"progress={tell}", f"used={connection.used}"]
        if cache:
            words.append(f"cache={cache.fileno()}")
        connection.socket.setblocking(False)
        os.makedirs(rspawn.SANITIZER_LOGS, exist_ok=True)
        env = {f"{name}SAN_OPTIONS": f"log_path={rspawn.SANITIZER_LOGS}/log" for name in ("A", "UB")}
        with open(home.message(MESSAGE), "rb") as message:
            done = subprocess.run([f"{home.path}/bin/qmail-remote-io", *words, "--", "a@src.example", *recipients],
                                  stdin=message, stdout=subprocess.PIPE, env=env, timeout=30, check=False,
                                  pass_fds=[connection.socket.fileno(), tell] + ([cache.fileno()] if cache else []))
            self.offset = os.lseek(message.fileno(), 0, os.SEEK_CUR)
        os.close(tell)
        self.code, self.report, self.progress = done.returncode, done.stdout, None
        if is_listening:
            self.progress = os.read(told, 10)
            os.close(told)
        rspawn.sanitizer_logs()

    @property
    def records(self):
        return rspawn.decode(self.report)

    @property
    def letters(self):
        return "".join(r.letter for r in self.records)


GROUP = ["EHLO", "MAIL", "RCPT", "DATA"]

UNUSABLE = {
    "421-to-mail": dict(MAIL=("421 too many messages", CLOSE)),
    "452-to-mail": dict(MAIL="452 too many messages"),
    "503-to-mail": dict(MAIL="503 5.5.1 EHLO first", RCPT="503 5.5.1 EHLO first", DATA="503 5.5.1 EHLO first"),
    "421-to-rcpt": dict(RCPT="421 slow down", DATA="554 no"),
    "421-to-data": dict(DATA="421 bye"),
    "reset": dict(MAIL=RESET),
    "closed": dict(RCPT=CLOSE),
    "two-replies": dict(DATA=b"354 go\r\n250 old\r\n"),
    "two-codes": dict(MAIL=b"250-a\r\n251 b\r\n"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unusable_connection_is_given_back_without_a_report(home, smtp, case):
    """QUIT is sent where the server waits for commands."""
    server = smtp(ONE, ehlo=["PIPELINING"], **UNUSABLE[case])
    connection = Connection()
    io = Io(home, connection)
    assert (io.code, io.report, io.progress) == (AGAIN, b"", b"")
    assert io.offset == 0, "another process cannot read the message from its start"
    connection.socket.close()
    session = server.session
    assert not any(m.wire for m in session.mails)
    assert ("QUIT" in session.verbs) == (case in ("452-to-mail", "503-to-mail"))


@pytest.mark.parametrize("said", [
    dict(MAIL=("451 4.4.2 Timeout", CLOSE)),
    dict(MAIL=("554 idle too long", CLOSE)),
    dict(MAIL="554 idle too long", RCPT="503 no", DATA=CLOSE),
    dict(MAIL="451 idle", RCPT="250 the sender", DATA="250 the recipient"),
])
def test_what_is_said_of_the_idle_connection_is_no_refusal(home, smtp, said):
    """Q14: there are fewer replies than commands, or the last one is none to DATA."""
    server = smtp(ONE, ehlo=["PIPELINING"], **said)
    connection = Connection()
    io = Io(home, connection)
    assert (io.code, io.report, io.progress) == (AGAIN, b"", b"")
    connection.socket.close()
    assert not any(m.wire for m in server.session.mails)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_what_is_said_of_the_idle_connection_without_pipelining(home, smtp, end):
    """RSET shows that the server does not go on, which it would after a refusal."""
    server = smtp(ONE, MAIL=("554 idle too long", end))
    connection = Connection()
    io = Io(home, connection, extensions="8BITMIME")
    assert (io.code, io.report, io.progress) == (AGAIN, b"", b"")
    connection.socket.close()
    assert server.session.verbs[:2] == ["EHLO", "MAIL"]


@pytest.mark.parametrize("old", [b"250 old\r\n", b"250 a\r\n250 b\r\n354 c\r\n", b"421 idle\r\n", b"\r\n", b"2"])
def test_nothing_is_sent_on_a_connection_with_input(home, smtp, old):
    """Q2: a reply to an earlier message, or the reason for a close, is not the reply to the next one."""
    server = smtp(ONE, EHLO=b"250 hi\r\n" + old)
    connection = Connection()
    connection.wait_for_input()
    io = Io(home, connection)
    assert (io.code, io.report, io.progress) == (AGAIN, b"", b"")
    connection.socket.close()
    assert server.session.verbs == ["EHLO"]


def test_nothing_is_sent_on_a_connection_that_the_server_has_closed(home, smtp):
    server = smtp(ONE, EHLO=("250 hi", CLOSE))
    connection = Connection()
    connection.wait_for_input()
    io = Io(home, connection)
    assert (io.code, io.report, io.progress) == (AGAIN, b"", b"")
    connection.socket.close()
    assert server.session.verbs == ["EHLO"]


def test_a_connection_with_as_many_messages_as_the_server_takes_is_given_back(home, smtp):
    server = smtp(ONE)
    connection = Connection()
    connection.used = 3
    io = Io(home, connection, extensions="PIPELINING,LIMITS MAILMAX=3")
    assert (io.code, io.report) == (AGAIN, b"")
    connection.socket.close()
    assert server.session.verbs == ["EHLO", "QUIT"]


def test_a_used_connection_delivers(home, smtp):
    """MAIL is the first command: no RSET before it."""
    server = smtp(ONE)
    connection = Connection()
    connection.used = 2
    io = Io(home, connection, extensions="PIPELINING,LIMITS MAILMAX=3")
    check(io, "r", accepted())
    assert (io.code, io.progress) == (0, b"\0" b"3"), "the connection may be used again, and was used three times"
    connection.socket.close()
    assert server.session.verbs == GROUP


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_connection_that_is_lost_after_mail_data_is_reported(home, smtp, end):
    """Nobody may make a new one: the server may have the message."""
    smtp(ONE, END=end)
    io = Io(home, Connection())
    check(io, "r", duplicate())
    assert (io.code, io.progress) == (0, b"\0")


REFUSALS = {
    "550-to-mail": (dict(MAIL="550 no"), ("D", f"Connected to {ONE} but sender was rejected.", "550 no")),
    "451-to-mail": (dict(MAIL="451 later"), ("Z", f"Connected to {ONE} but sender was rejected.", "451 later")),
    "451-to-data": (dict(DATA="451 later"), "r", ("Z", f"{ONE} failed on DATA command.", "451 later")),
    "421-to-mail-data": (dict(END="421 later"), "r", ("Z", f"{ONE} failed after I sent the message.", "421 later")),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_of_the_mail_is_reported(home, smtp, case):
    script, *expected = REFUSALS[case]
    smtp(ONE, ehlo=["PIPELINING"], **script)
    io = Io(home, Connection())
    check(io, *expected)
    assert io.code == 0


def test_a_new_connection_is_never_given_back(home, smtp):
    """There is nobody who could make another one."""
    smtp(ONE, MAIL="421 too many messages")
    io = Io(home, Connection(), progress=False)
    assert io.code == 0 and io.letters == "Z" and b"421 too many messages" in io.report


def test_no_mail_data_is_sent_if_nobody_can_be_told(home, smtp):
    server = smtp(ONE)
    connection = Connection()
    io = Io(home, connection, is_listening=False)
    assert (io.code, io.report) == (AGAIN, b"")
    connection.socket.close()
    assert server.session.verbs == GROUP and not server.session.mails[0].wire


class Broker:
    """The end of the socket where connections are kept."""

    def __init__(self):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)

    def take(self):
        """The connection that has come; there has to be one."""
        data, fds, _, _ = socket.recv_fds(self.ours, 65536, 3)
        words = data.split(b"\0")
        assert words[0] == b"keep" and words[-1] == b"" and len(fds) == 1
        connection = Connection.__new__(Connection)
        connection.socket = socket.socket(fileno=fds[0])
        connection.used = int(dict(w.split(b"=", 1) for w in words[1:-1])[b"used"])
        return connection

    def is_empty(self):
        return not select.select([self.ours], [], [], 0)[0]


def test_many_messages_go_over_one_connection(home, smtp):
    """Each delivery leaves it to the next one, in step: the first to the broker, the others to qmail-remote."""
    server = smtp(ONE)
    connection, broker = Connection(), Broker()
    for n in range(5):
        assert connection.used == n
        io = Io(home, connection, progress=n > 0, cache=None if n else broker.theirs)
        check(io, "r", accepted())
        assert io.code == 0
        if n:
            connection.used = int(io.progress[1:])
        else:
            connection.socket.close()
            connection = broker.take()
    connection.socket.close()
    assert server.session.verbs == ["EHLO"] + GROUP[1:] * 5
    assert len(server.mails) == 5


def test_a_connection_is_kept_if_only_some_recipients_are_refused(home, smtp):
    smtp(ONE, RCPT=["250 ok", "550 no", "450 later"])
    broker = Broker()
    io = Io(home, Connection(), recipients=("b@d", "c@d", "d@d"), progress=False, cache=broker.theirs)
    assert io.letters == "rhsK"
    assert broker.take().used == 1
    io = Io(home, Connection(), recipients=("b@d", "c@d", "d@d"))
    assert io.letters == "rhsK" and io.progress == b"\0" b"1"


NOT_KEPT = {
    "mail-refused": (dict(MAIL="550 no"), True),
    "recipients-refused": (dict(RCPT="550 no"), True),
    "message-refused": (dict(END="554 no"), True),
    "one-reply-too-many": (dict(END=b"250 got it\r\n421 bye\r\n"), None),
    "parameters-refused": (dict(MAIL=["555 no SIZE", "250 ok"]), True),
}


@pytest.mark.parametrize("case", NOT_KEPT)
def test_no_other_connection_is_kept(home, smtp, case):
    """It gets QUIT, as ever."""
    script, quits = NOT_KEPT[case]
    server = smtp(ONE, **script)
    connection, broker = Connection(), Broker()
    Io(home, connection, progress=False, extensions="SIZE 1000000", cache=broker.theirs)
    assert broker.is_empty()
    connection.socket.close()
    assert quits is None or ("QUIT" in server.session.verbs) == quits


def test_a_delivery_does_not_depend_on_the_broker(home, smtp):
    """It has gone, or it does not read: the connection gets QUIT."""
    server = smtp(ONE)
    connection, broker = Connection(), Broker()
    broker.ours.close()
    io = Io(home, connection, progress=False, cache=broker.theirs)
    check(io, "r", accepted())
    connection.socket.close()
    assert server.session.verbs == GROUP + ["QUIT"]
