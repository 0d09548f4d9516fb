"""qmail-remote-check: what it says of control/timeoutidle and control/concurrencyhosts, and of what qmail-remote-cache holds."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from expect import accepted, check
from qmailhome import HOME
from reuse import PROGRAM, USER, Reuse, brokers, wait_until
from test_broker import Connection, broker, counters, hand_over, wanted   # noqa: F401
from test_check_tool import DEFERRED, DELIVERED, ONE, entries, fields, json_of, look   # noqa: F401
from test_reuse import reuse   # noqa: F401
from test_stock import one_user
from tlssite import NOT_VERIFIED

NO_ANSWER = "no answer of this version within 1 s: deliveries go on without it"
IDLE, HOSTS, REMOTE = "control/timeoutidle", "control/concurrencyhosts", "concurrencyremote"
NOT_KEPT = "not a number, so no connection is kept"


def listed(look, name):
    entry = entries(look("--json", host=None))[name]
    return entry["value"], entry["source"], entry["warnings"]


def test_without_the_files_there_is_no_warning(home, dns, look):
    done = look("--json", host=None)
    assert done.returncode == 0
    assert entries(done)[IDLE] == {"name": IDLE, "value": "0 s", "source": "default", "warnings": []}
    assert entries(done)[HOSTS] == {"name": HOSTS, "value": "", "source": "none", "warnings": []}


@pytest.mark.parametrize("text, value, warnings", [
    ("", "0 s", []),
    ("30\n", "30 s, connections: 20 in all, 2 with one key", []),
    ("30 # seconds\n5\n1\n", "30 s, connections: 5 in all, 1 with one key", []),
    ("\ufeff300\n1000\n1000\nx\n", "300 s, connections: 1000 in all, 1000 with one key", []),
    ("301\n1001\n1002\n", "300 s, connections: 1000 in all, 1000 with one key",
     ["line 1: the greatest number is 300", "line 2: the greatest number is 1000", "line 3: the greatest number is 1000"]),
    ("\ufeff301\n", "300 s, connections: 20 in all, 2 with one key", ["line 1: the greatest number is 300"]),
    ("30\n\n1001", "30 s, connections: 20 in all, 1000 with one key", ["line 3: the greatest number is 1000"]),
    ("30s\n", "0 s", [f"line 1: {NOT_KEPT}"]),
    ("30\nmany\n", "0 s", [f"line 2: {NOT_KEPT}"]),
    ("30\n5\n-1\n", "0 s", [f"line 3: {NOT_KEPT}"]),
    ("30\n0\n", "30 s, connections: 0 in all, 2 with one key", ["0 connections: no connection is kept"]),
    ("30\n5\n0\n", "30 s, connections: 5 in all, 0 with one key", ["0 connections: no connection is kept"]),
    ("0\n0\n", "0 s", []),
])
def test_how_long_connections_are_kept(home, look, text, value, warnings):
    home.control("timeoutidle", text)
    assert listed(look, IDLE) == (value, "", warnings)


@pytest.mark.parametrize("text, value, warnings", [
    ("", "limits: 0, wait: 10 s", []),
    ("# none\nmx.example:3 # x\n.b.example:2\n  wait 5\n", "limits: 2, wait: 5 s", []),
    ("mx.example\n\n.b.example:2\n*.c.example:2\nd.example:0\nwait long\n", "limits: 1, wait: 10 s",
     ["line 1 limits nothing: mx.example", "line 4 limits nothing: *.c.example:2", "line 5 limits nothing: d.example:0",
      "line 6 limits nothing: wait long"]),
    (":5\n\x1b[2J:5\n", "limits: 0, wait: 10 s", ["line 1 limits nothing: :5", "line 2 limits nothing: \x1b[2J:5"]),
])
def test_how_many_sessions_there_may_be(home, look, text, value, warnings):
    home.control("concurrencyhosts", text)
    assert listed(look, HOSTS) == (value, "", warnings)
    shown = look(host=None)
    assert shown.returncode == (1 if warnings else 0)
    assert "\x1b" not in shown.stdout


def full(deliveries, allowed):
    return [f"{deliveries} deliveries to these hosts can go on or wait at a time, and control/concurrencyremote allows {allowed} in all: "
            "other mail could wait for them"]


# As many deliveries wait as have a place; qmail-send's default is 20.
@pytest.mark.parametrize("text, remote, warnings", [
    (".a.example:9\n", None, []),
    (".a.example:10\n", None, full(20, 20)),
    (".a.example:5\n.b.example:4\n", None, []),
    (".a.example:5\n.b.example:5\n", None, full(20, 20)),
    # The last line of a key counts.
    (".a.example:50\n.b.example:4\n.A.example.:5\n", None, []),
    (".a.example:4\n.b.example:1\n.a.example:50\n", None, full(102, 20)),
    # Nobody waits.
    ("wait 0\n.a.example:19\n", None, []),
    ("wait 0\n.a.example:20\n", None, full(20, 20)),
    (".a.example:10\n", "21\n", []),
    (".a.example:10\n", "20\n", full(20, 20)),
    (".a.example:10\n", "nonsense\n", full(20, 20)),
    (".a.example:1\n", "0\n", full(2, 0)),
    ("# none\n", "0\n", []),
    (".a.example:100\n", "250 # all\n", []),
])
def test_limits_that_can_hold_all_deliveries_are_warned_of(home, look, text, remote, warnings):
    home.control("concurrencyhosts", text)
    home.control(REMOTE, remote)
    assert listed(look, HOSTS)[2] == warnings


def test_files_that_cannot_be_read(home, look):
    os.mkdir(f"{home.path}/{IDLE}")
    os.mkdir(f"{home.path}/{HOSTS}")
    assert listed(look, IDLE) == ("0 s", "", ["Is a directory: no connection is kept"])
    assert listed(look, HOSTS) == ("", "", ["Is a directory: mail is deferred"])


def test_both_are_shown_to_a_person(home, look):
    home.control("timeoutidle", "30\n")
    home.control("concurrencyhosts", ".a.example:10\nx\n")
    shown = look(host=None).stdout
    assert "30 s, connections: 20 in all, 2 with one key" in shown
    assert "limits: 1, wait: 10 s" in shown and "warning: line 2 limits nothing: x" in shown


# The limit on sessions with a host.

def test_the_limit_of_a_host_is_shown(home, dns, smtp, look):
    home.control("concurrencyhosts", ".dst.example:10\nm1.DST.example:3\n")
    dns.zone(f"dst.example MX 1 m1.dst.example.\ndst.example MX 2 m2.dst.example.\ndst.example MX 3 m3.example.\n"
             f"m1.dst.example A {ONE}\nm2.dst.example A 192.0.2.2\nm3.example A 192.0.2.3")
    smtp(ONE)
    found, = json_of(look("--json", "dst.example", host=None))
    assert [h.get("limit") for h in found["hosts"]] == [
        {"key": "m1.dst.example", "sessions": 3}, {"key": ".dst.example", "sessions": 10}, None]
    lines = [line for line in fields(look())["hosts"] if "sessions" in line]
    assert lines == ['sessions: at most 3, by control/concurrencyhosts, line of "m1.dst.example"',
                     'sessions: at most 10, by control/concurrencyhosts, line of ".dst.example"']


def test_the_limit_of_a_relay_is_shown(home, smtp, look):
    home.control("concurrencyhosts", f"{ONE}:2\n")
    home.route(f":{ONE}:26")
    smtp(ONE, port=26)
    found, = json_of(look("--json", "dst.example", host=None))
    assert found["hosts"][0]["limit"] == {"key": ONE, "sessions": 2}


def test_limits_that_cannot_be_read_defer(home, dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE)
    assert look().returncode == DELIVERED
    os.mkdir(f"{home.path}/{HOSTS}")
    done = look()
    assert done.returncode == DEFERRED and fields(done)["reason"][0] == "Unable to read control files. (#4.3.0)"
    assert look("--routes", "dst.example", host=None).returncode == DEFERRED


# What qmail-remote-cache holds.

@pytest.fixture
def fine(home):
    """A home without a warning, whose state directory is of the user of these tests."""
    Reuse(home)
    os.chown(f"{home.path}/queue/lock/tcpto", USER["uid"], USER["gid"])


def answered(look, *args):
    """With an answer of the broker, which a slow machine can miss."""
    for _ in range(100):
        done = look(*args, host=None)
        if NO_ANSWER not in done.stdout and '"state":"no answer"' not in done.stdout:
            break
    return done


def held(look):
    return json.loads(answered(look, "--json").stdout)["cache"]


def detail(text, name):
    """The line that begins with this name, without it."""
    return re.search(f"^  {re.escape(name)} +(.*)$", text, re.MULTILINE).group(1)


def test_the_program_is_looked_at(home, look):
    path = f"{HOME}/bin/{PROGRAM}"
    assert entries(look("--json", host=None))[path]["value"].startswith(f"{PROGRAM} 0.")
    os.unlink(path)
    done = look("--json", host=None)
    assert done.returncode == DEFERRED and entries(done)[path]["warnings"] == ["No such file or directory"]
    os.symlink(f"{HOME}/bin/qmail-remote-io", path)
    assert entries(look("--json", host=None))[path]["warnings"] == [f"this is not {PROGRAM}"]


@one_user
def test_no_broker_is_no_warning_and_none_is_started(home, fine, look):
    done = look("--json", host=None)
    assert (done.returncode, held(look)) == (DELIVERED, {"state": "not running"})
    assert entries(done)[PROGRAM] == {"name": PROGRAM, "value": "", "source": "not running", "warnings": []}
    text = look(host=None).stdout
    assert re.search(f"^{PROGRAM} +\\(not running\\)$", text, re.MULTILINE)
    assert not brokers() and not os.path.exists(f"{home.run_path}/cache.lock")


@one_user
def test_one_that_was_killed_is_not_running(broker, look):
    broker.process.kill()
    broker.process.wait()
    assert os.path.exists(broker.path) and held(look) == {"state": "not running"}


@one_user
def test_nothing_is_held(broker, look):
    assert held(look) == {
        "state": "running", "connections": [], "limits": [], "found": 0, "not_found": 0, "kept": 0,
        "ended": {"by_server": 0, "idle": 0, "old": 0, "enough_messages": 0, "too_many": 0, "delivery_waited": 0,
                  "not_asked_for": 0}}
    text = answered(look).stdout
    assert re.search(f"^{PROGRAM} +idle connections: 0$", text, re.MULTILINE)
    assert detail(text, "ended") == "none"


@one_user
def test_what_is_held(fine, broker, look):
    tls = "TLSv1.3 TLS_AES_256_GCM_SHA384 X25519, certificate verified for m1.example"
    wanted(broker)
    assert broker.client().ask("choose", "wait=0", candidates=[("k2", "", 0)])[0] == "place"
    first = hand_over(broker.client(), used=3, lives=120, more=["host=m1.example", f"tls={tls}"])
    second = hand_over(broker.client())
    unwanted = hand_over(broker.client(), key1="x", key2="x")
    wait_until(lambda: counters(broker)["kept"] == 2 and counters(broker)["unwanted"] == 1)
    found = held(look)
    assert (found["found"], found["not_found"], found["kept"], found["ended"]["not_asked_for"]) == (0, 1, 2, 1)
    verified, clear = sorted(found["connections"], key=lambda c: "tls" not in c)
    assert 0 <= verified.pop("idle_seconds") <= 60 and 60 <= verified.pop("seconds_left") <= 120
    assert verified == {"host": "m1.example", "address": "192.0.2.1", "tls": tls, "messages": 3}
    assert 240 <= clear["seconds_left"] <= 300 and clear["messages"] == 1 and "host" not in clear
    done = answered(look)
    assert done.returncode == DELIVERED, done.stdout
    assert re.search(f"^{PROGRAM} +idle connections: 2$", done.stdout, re.MULTILINE)
    shown = r"messages: 3, idle for \d+ s, may be used for \d+ s"
    assert re.fullmatch(shown, detail(done.stdout, "m1.example (192.0.2.1)")) and f"\n    {tls}\n" in done.stdout
    assert detail(done.stdout, "192.0.2.1").startswith("messages: 1, ") and "\n    clear text\n" in done.stdout
    assert detail(done.stdout, "asked for since it runs") == "found: 0, not found: 1, kept: 2"
    assert detail(done.stdout, "ended") == "not asked for: 1"
    # To be looked at is no use.
    assert counters(broker)["hits"] == 0 and len(held(look)["connections"]) == 2
    for connection in (first, second, unwanted):
        connection.ours.close()


@one_user
def test_after_deliveries_in_tls(reuse, site, look):
    site.one(0)
    for _ in range(4):
        check(reuse.run(), "r", accepted())
    wait_until(lambda: held(look)["kept"] == 3)
    found = held(look)
    connection, = found["connections"]
    assert (connection["host"], connection["messages"], connection["tls"]) == ("m1.example", 3, NOT_VERIFIED)
    assert (found["found"], found["not_found"], found["ended"]["not_asked_for"]) == (2, 2, 1)


@pytest.mark.parametrize("limits", [None, ".other.example:3\n"])
@one_user
def test_idle_connections_to_a_next_hop(reuse, dns, smtp, look, limits):
    """Found by the key that a delivery makes."""
    # A broker that sees the file change ends what it holds.
    reuse.stop()
    reuse.home.control("concurrencyhosts", limits)
    reuse.serve()

    def idle(*args, first="dst.example"):
        return json_of(answered(look, *args, "--json", first))[0].get("idle")

    dns.zone(f"dst.example A {ONE}\nother.example A {ONE}")
    smtp(ONE)
    assert idle() == 0
    for _ in range(4):
        check(reuse.run(), "r", accepted())
    wait_until(lambda: idle() == 1)
    assert idle(first="DST.example") == 1
    assert idle(first="other.example") == 0 and idle("--strictness", "1") == 0
    assert fields(answered(look, "dst.example"))["idle"] == ["connections to this next hop: 1"]
    assert "idle" not in fields(answered(look, "--routes", "dst.example"))
    reuse.home.control("helohost", "new.example\n")
    assert idle() == 0
    assert len(held(look)["connections"]) == 1
    reuse.stop()
    assert idle() is None


@one_user
def test_limits_and_who_waits(home, broker, look):
    home.control("concurrencyhosts", ".example:1\n.example:2\n")
    clients = [broker.client() for _ in range(4)]
    for client, limit, n in zip(clients, (".example", ".example", ".example", "gone.test"), (2, 2, 2, 7)):
        client.tell("choose", "wait=60", candidates=[("", limit, n)])
    assert [c.answer()[0] for c in clients] == ["place", "place", "queued", "place"]
    assert sorted(held(look)["limits"], key=str) == [
        {"key": ".example", "sessions": 2, "allowed": 2, "waiting": 1}, {"key": "gone.test", "sessions": 1, "waiting": 0}]
    text = answered(look).stdout
    assert detail(text, ".example") == "sessions: 2 of 2, waiting deliveries: 1"
    assert detail(text, "gone.test") == "sessions: 1, waiting deliveries: 0"


@one_user
def test_another_user_may_not_ask(home, broker, look, pytestconfig):
    done = subprocess.run([f"{pytestconfig.option.build}/qmail-remote-check", "--json"], user=65534, group=65534, extra_groups=[],
                          capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["cache"] == {"state": "not allowed"}
    assert entries(done)[PROGRAM]["source"] == "this user may not ask it" and entries(done)[PROGRAM]["warnings"] == []


class Impostor:
    """What listens in the place of the broker."""

    def __init__(self, home, talk, user=USER["uid"]):
        self.path = Reuse(home).path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o666)
        os.seteuid(user)
        self.socket.listen()
        os.seteuid(0)
        self.talk = talk
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            client, _ = self.socket.accept()
            with client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if client.recv(100) == b"stop\0":
                    return
                self.talk(client)
                client.recv(100)

    def stop(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as last:
            last.connect(self.path)
            last.send(b"stop\0")
        self.thread.join()
        self.socket.close()


@pytest.fixture
def impostor(home):
    started = []
    yield lambda talk, **how: started.append(Impostor(home, talk, **how))
    for each in started:
        each.stop()


@pytest.fixture
def version(pytestconfig):
    """As the first answer has it."""
    done = subprocess.run([f"{pytestconfig.option.build}/{PROGRAM}", "--version"], capture_output=True, text=True, check=True)
    return f"version={done.stdout.split()[1]}"


def say(*words):
    return b"".join(w if isinstance(w, bytes) else w.encode() for word in words for w in (word, b"\0"))


COUNTERS = ("counters", *(f"{name}=0" for name in ("hits", "misses", "kept", "server", "idleness", "age", "use", "room", "limit",
                                                   "unwanted")))
ENTRY = ("entry", "address=192.0.2.1", "used=1", "lives=1", "seconds=1")


def is_without_answer(look):
    done = look("--json", host=None)
    assert json_of(done)[0]["cache"] == {"state": "no answer"} and entries(done)[PROGRAM]["warnings"] == [NO_ANSWER]
    assert done.returncode == DEFERRED
    assert f"  warning: {NO_ANSWER}\n" in look(host=None).stdout
    return True


@one_user
def test_hostile_text_is_shown_as_text(fine, impostor, version, look):
    def talk(client):
        client.send(say("entry", version, b"address=\x1b[2J\n\xff", b"host=m1\r\n  warning: all is lost", b"tls=\x07" + b"x" * 5000,
                        "used=18446744073709551615", "lives=0", "seconds=0"))
        client.send(say("limit", b"limit=\x1b]0;x\x07%s%n", "n=18446744073709551615", "waiting=1"))
        client.send(say(*COUNTERS))

    impostor(talk)
    done = answered(look)
    assert done.returncode == DELIVERED
    assert detail(done.stdout, "m1??  warning: all is lost (?[2J??)").startswith("messages: 18446744073709551615, ")
    assert f"\n    ?{'x' * 999}\n" in done.stdout
    assert detail(done.stdout, "?]0;x?%s%n").startswith("sessions: 18446744073709551615, ")
    found = held(look)
    assert found["connections"][0]["address"].startswith("\x1b[2J\n") and found["connections"][0]["messages"] == 2 ** 63 - 1


@one_user
def test_more_than_fits_into_a_socket(home, broker, look):
    home.control("timeoutidle", "60\n1000\n1000\n")
    connection = Connection()
    wanted(broker)
    for n in range(400):
        client = broker.client()
        client.tell("ready", "key1=k1", f"key2={'x' * 2000}", f"address=192.0.2.{n}", "used=0", "lives=300")
        client.tell("keep", "used=1", fds=[connection.ours.fileno()])
        client.close()
    wait_until(lambda: counters(broker)["kept"] == 400)
    assert len({c["address"] for c in held(look)["connections"]}) == 400
    connection.ours.close()


@one_user
def test_a_long_list(impostor, version, look):
    def talk(client):
        client.send(say(*ENTRY, version))
        for n in range(1, 1000):
            client.send(say("entry", f"address=192.0.2.{n}", "used=1", "lives=1", "seconds=1", f"key1={'k' * 900}"))
        client.send(say(*COUNTERS))

    impostor(talk)
    wait_until(lambda: len(held(look).get("connections", [])) == 1000)


@one_user
def test_an_answer_is_waited_for_longer_than_by_a_delivery(impostor, version, look):
    def late(client):
        threading.Event().wait(0.1)
        client.send(say(*COUNTERS, version))

    impostor(late)
    assert "kept" in held(look)


def silent(_client, _version):
    pass


def of_another_version(client, _version):
    client.send(say(*COUNTERS, "version=0.1.0"))


def without_a_version(client, _version):
    client.send(say(*COUNTERS))


def closing(client, _version):
    client.shutdown(socket.SHUT_RDWR)


def without_an_end(client, version):
    client.send(say(*ENTRY, version))
    while True:
        client.send(say(*ENTRY))


def too_many(client, version):
    client.send(say(*ENTRY, version))
    for _ in range(4000):
        client.send(say(*ENTRY))
    client.send(say(*COUNTERS))


def slow(client, version):
    client.send(say(*ENTRY, version))
    while True:
        threading.Event().wait(0.015)
        client.send(say(*ENTRY))


def half_a_list(client, version):
    client.send(say(*ENTRY, version))


def nonsense(client, _version):
    client.send(b"entry")


def another_answer(client, version):
    client.send(say("miss", version))


def with_a_descriptor(client, version):
    socket.send_fds(client, [say(*COUNTERS, version)], [client.fileno()])


@one_user
@pytest.mark.parametrize("talk", [silent, of_another_version, without_a_version, closing, without_an_end, too_many, half_a_list,
                                  nonsense, another_answer, with_a_descriptor], ids=lambda talk: talk.__name__)
def test_no_answer(impostor, version, look, talk):
    impostor(lambda client: talk(client, version))
    assert is_without_answer(look)


@one_user
@pytest.mark.timed
def test_a_slow_list_is_not_waited_for(impostor, version, look):
    impostor(lambda client: slow(client, version))
    start = time.monotonic()
    assert json_of(look("--json", host=None))[0]["cache"] == {"state": "no answer"} and time.monotonic() - start < 4


@one_user
def test_a_broker_that_is_stopped(broker, look):
    broker.process.send_signal(signal.SIGSTOP)
    try:
        assert is_without_answer(look)
    finally:
        broker.process.send_signal(signal.SIGCONT)


@one_user
def test_a_broker_that_accepts_nobody(broker, look):
    broker.process.send_signal(signal.SIGSTOP)
    clients = []
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                clients.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK))
                clients[-1].connect(broker.path)
        assert is_without_answer(look)
    finally:
        broker.process.send_signal(signal.SIGCONT)
        for client in clients:
            client.close()


@one_user
def test_a_broker_of_another_user(impostor, look):
    impostor(lambda client: None, user=65534)
    done = look("--json", host=None)
    warning = "run by another user than the owner of the state directory: deliveries do not use it"
    assert json_of(done)[0]["cache"] == {"state": "another user"} and entries(done)[PROGRAM]["warnings"] == [warning]
