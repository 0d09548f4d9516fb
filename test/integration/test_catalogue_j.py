"""The catalogue, group J: slow drip. timeoutremote is 1 or 2; what is promised is promised in multiples of it."""

import os
import threading
import time

import rspawn
import world
from catalogue import BIG, Case, Setup, Start, Want, table
from smtpd import DEAF, TLS, Action, Delay, Drip, Read
from test_catalogue_k import PLAIN

ALL = ("clear", "tls13")
HELLO = "250-hi\n250 STARTTLS"
TIME_OUT = Want("Z", within=3.2)
SLOWLY = Drip(b"220 " + b"x" * 40 + b"\r\n", 0.4)


class RawDrip(Action):
    """Bytes below a TLS session, one by one."""

    def __init__(self, data, gap):
        self.data, self.gap = data, gap

    def play(self, session):

        for n in range(len(self.data)):
            os.write(session.sock.fileno(), self.data[n:n + 1])
            Delay(self.gap).play(session)
            if session.hung_up():
                return


class SlowReader(Action):
    """Take so many bytes after each pause (0: none at all), until the test is over; then all the rest."""

    def __init__(self, count, gap, gate):
        self.count, self.gap, self.gate = count, gap, gate

    def play(self, session):
        session.send(b"354 go\r\n")
        while not self.gate.is_set():
            Delay(self.gap).play(session)
            if self.count and not session.sock.recv(self.count):
                return
        session.last = b"3"


class Paced(Action):
    """Take all of it in pieces, with pauses. Only the end is kept: who looks through it all is late with the reply."""

    def __init__(self, piece, gap):
        self.piece, self.gap = piece, gap

    def play(self, session):
        session.send(b"354 go\r\n")
        while not session.buffer.endswith(b"\r\n.\r\n"):
            data = session.sock.recv(self.piece) or b"\r\n.\r\n"
            session.buffer = (session.buffer + data)[-5:]
            time.sleep(self.gap * len(data) / self.piece)
        session.last = b"3"


def step_cases():
    for moment, code in (("greeting", "220"), ("EHLO", "250"), ("MAIL", "250"), ("RCPT", "250"), ("DATA", "354"),
                         ("END", "250")):
        over = "clear" if moment in ("greeting", "EHLO") else ALL
        byte_by_byte = Drip(f"{code} {'x' * 40}\r\n".encode(), 0.4)
        line_by_line = Drip(f"{code}-x\r\n".encode() * 20 + f"{code} x\r\n".encode(), 0.3, 7)
        # HELO follows EHLO, on a connection of its own.
        steps = ["EHLO", "HELO"] if moment == "EHLO" else [moment]
        # A reply that is waited for until its end is a good one, so few of these need a bound on their seconds.
        yield Case(f"J1-{moment.lower()}", Setup(**dict.fromkeys(steps, byte_by_byte), timeout=1),
                   TIME_OUT if moment in ("greeting", "END") else "Z", over=over,
                   says="a deadline for the whole reply, not for each read")
        yield Case(f"J2-{moment.lower()}", Setup(**dict.fromkeys(steps, line_by_line), timeout=1), "Z", over=over)
    yield Case("J1-starttls", Setup(STARTTLS=SLOWLY, timeout=1), "Z", over="ver")
    yield Case("J1-helo", Setup(EHLO="500 what", HELO=Drip(b"250 " + b"x" * 40 + b"\r\n", 0.4), timeout=1), "Z")
    yield Case("J1-ehlo-tls", Setup(EHLO=[HELLO, Drip(b"250 " + b"x" * 40 + b"\r\n", 0.4)], timeout=1), "Z",
               over=("ver12", "ver13"))
    yield Case("J1-next", Setup(greeting=SLOWLY, timeout=1), "Z", next="only")
    handshake = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + b"\0" * 100
    yield Case("J3-handshake",
               Setup(STARTTLS=("220 go", Read(5), Drip(handshake, 0.2)), control=dict(timeoutconnect="1\n")),
               Want("Z", within=3.5), over="ver", says="a handshake gets timeoutconnect as a whole")
    for moment in ("MAIL", "END"):
        yield Case(f"J3-record-{moment.lower()}", Setup(**{moment: RawDrip(b"\x17\x03\x03\x00\xff" + b"x" * 100, 0.1)},
                                                        timeout=1), TIME_OUT, over=("tls12", "tls13"))

    def slow_dns(conf):
        def prepare(stage):
            world.resolv_conf(conf)
            stage.dns.rule("dst.example", "MX", truncate=True, drip=0.3)
        return prepare

    quick = "nameserver 127.0.0.1\noptions timeout:1 attempts:1 retrans:1000 retry:1\n"
    yield Case("J4-dns-tcp",
               Setup(zone=PLAIN, prepare=slow_dns("nameserver 127.0.0.1\n"), control=dict(timeoutdns="1\n")),
               Want("Z", within=4))
    yield Case("J4-dns-tcp-no-limit", Setup(zone=PLAIN, prepare=slow_dns(quick)), Want("Z", within=6),
               says="without timeoutdns the resolver's own schedule ends it; there is no HTTPS policy to fetch")


def unread(count):
    """Deliver to a server that takes so many bytes at a time, and the rest once the client has given up."""
    def play(stage):
        gate = threading.Event()
        stage.first.scripts = [dict(DATA=SlowReader(count, 0.2, gate))]
        stage.deliver()
        gate.set()
    return play


def not_in_doubt(stage):
    assert b"Possible duplicate" not in stage.run.report, stage.run


def data_cases():
    for name, count in (("byte-a-time", 1), ("nothing", 0)):
        yield Case(f"J5-{name}", Setup(rcvbuf=2048, timeout=1), Want("Z", within=6),
                   Start(play=unread(count), message=BIG), over=ALL, unused=True,
                   says="no minimum rate: while anything moves within timeoutremote it goes on; TCP offers a reader of "
                       "single bytes no window, so that is a stall")
    # What is on its way when the last byte is written is to be little: the reply is waited for from then on. Most of it
    # is what TCP has not sent; with TLS there is also what the socket pair and the helper hold.
    for over, size in (("clear", 200_000), ("tls13", 450_000)):
        yield Case("J6-on-its-way", Setup(rcvbuf=2048, timeout=1), Want("Z", within=6, check=not_in_doubt),
                   Start(play=unread(0), message=BIG[:size]), over=over, unused=True)
    # Several times timeoutremote for the whole, but never as long for what is on its way. The server's own buffer is small,
    # or it would hold megabytes more.
    yield Case("J6-slow-link", Setup(rcvbuf=1 << 16, DATA=Paced(1 << 18, 0.04), timeout=1),
               Want("K", within=20, body=False), Start(message=BIG * 4), over=ALL)
    yield Case("J6-slow-link-behind-a-buffer", Setup(rcvbuf=8192, DATA=Paced(1 << 15, 0.036), timeout=2),
               Want("K", within=20, body=False), Start(message=BIG), over=ALL)


def sum_cases():
    """Greeting, EHLO, MAIL, RCPT, DATA, end of data: six replies, each just in time."""
    late = 0.75

    def just(reply):
        return (Delay(late), reply)

    script = dict(greeting=just("220 hi"), EHLO=just("250 hi"), MAIL=just("250 ok"), RCPT=just("250 ok"),
                  DATA=just("354 go"), END=just("250 got it"), QUIT=DEAF)
    yield Case("J7-all-late", Setup(**script, timeout=1), Want("K", within=6.5),
               says="the whole run takes at most timeoutconnect and twelve times timeoutremote (steps with STARTTLS), "
                   "and what the mail data takes")
    yield Case("J7-late-then-never", Setup(**{**script, "END": DEAF}, timeout=1), "Z", unused=True)
    in_tls = dict(script, EHLO=[just(HELLO), just("250 hi")], STARTTLS=(Delay(late), "220 go", TLS))
    yield Case("J7-late-tls", Setup(**in_tls, timeout=1), Want("K", within=9), over="ver13")

    def crowd(stage):
        """120 deliveries to servers that drip, and one to a good server among them."""
        stage.home.control("timeoutremote", "4\n")
        stage.first.scripts = [dict(greeting=Drip(b"220 " + b"x" * 100 + b"\r\n", 0.5))]
        stage.dns.zone("good.example MX 5 m9.example.\nm9.example A 192.0.2.9")
        quick = stage.server("192.0.2.9", host="m9.example")
        crowd = [stage.begin() for _ in range(120)]
        stage.first.wait_session(100, timeout=20)
        started = time.monotonic()
        stage.deliver(host="good.example")
        assert stage.run.letters == "rK" and quick.mails and rspawn.in_time(time.monotonic() - started, 3), stage.run
        for process in crowd:
            run = process.finish(60)
            assert run.letters == "Z" and run.lasted(40), run
        stage.first.sessions.clear()

    yield Case("J8-crowd", Setup(), Want("K", within=6), Start(play=crowd),
               says="each run is bounded by itself; how many run at once is qmail-send's business")


CASES = [*step_cases(), *data_cases(), *sum_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
