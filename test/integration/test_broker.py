"""qmail-remote-cache, by what it says to its clients."""

import os
import signal
import socket
import subprocess

import pytest

from qmailhome import HOME
from reuse import PROGRAM, USER, Reuse, wait_until
from test_stock import one_user

pytestmark = one_user

BINARY = f"{HOME}/bin/{PROGRAM}"


def start(**how):
    how = {"user": USER["uid"], "group": USER["gid"], "stderr": subprocess.PIPE, **how}
    return subprocess.Popen([BINARY], stdin=subprocess.DEVNULL, text=True, **how)


@pytest.fixture
def broker(home):
    reuse = Reuse(home).serve()
    yield reuse
    reuse.stop()


class Connection:
    """One by TCP, whose end we have that is the server's."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.ours = socket.create_connection(listener.getsockname())
            self.server = listener.accept()[0]
        self.server.settimeout(20)

    def said(self):
        return self.server.recv(100)


def hand_over(client, key1="k1", key2="k2", used=1, lives=300, more=()):
    """It has used a new connection, and gives it back."""
    connection = Connection()
    client.tell("ready", f"key1={key1}", f"key2={key2}", "address=192.0.2.1", "used=0", f"lives={lives}", *more)
    client.tell("keep", f"used={used}", fds=[connection.ours.fileno()])
    return connection


def wanted(broker, key="k1"):
    """Another delivery has asked for it."""
    client = broker.client()
    assert client.ask("ask", f"key1={key}")[0] == "miss"
    client.close()


def counters(broker):
    client = broker.client(user=0)
    client.tell("list")
    while True:
        kind, words, _ = client.answer()
        if kind == "counters":
            client.close()
            return {key: int(n) for key, n in words.items() if key != "version"}


def test_kept_and_lent(broker):
    wanted(broker)
    first = broker.client()
    connection = hand_over(first, more=["host=m1.example", "extensions=PIPELINING"])
    first.close()
    second = broker.client()
    kind, words, fds = second.ask("ask", "key1=k1")
    assert kind == "hit" and len(fds) == 1
    assert words["host"] == "m1.example" and words["extensions"] == "PIPELINING" and words["used"] == "1"
    os.write(fds[0], b"NOOP\r\n")
    assert connection.said() == b"NOOP\r\n"
    os.close(fds[0])
    second.close()
    connection.ours.close()
    assert connection.said() == b""
    assert counters(broker)["hits"] == 1


def test_unwanted_is_ended(broker):
    client = broker.client()
    assert client.ask("ask", "key1=k1")[0] == "miss"
    connection = hand_over(client)
    connection.ours.close()
    assert connection.said() == b"QUIT\r\n" and connection.said() == b""
    assert counters(broker)["unwanted"] == 1


@pytest.mark.parametrize("spoil", [lambda c: c.server.close(), lambda c: c.server.send(b"421 bye\r\n")],
                         ids=["closed", "421"])
def test_spoiled_while_idle(broker, spoil):
    wanted(broker)
    connection = hand_over(broker.client())
    wait_until(lambda: counters(broker)["kept"] == 1)
    spoil(connection)
    wait_until(lambda: counters(broker)["server"] == 1)
    assert broker.client().ask("ask", "key1=k1")[0] == "miss"


def test_places(broker):
    def choose(client):
        client.tell("choose", "wait=60", candidates=[("", ".example", 2)])

    clients = [broker.client() for _ in range(5)]
    for client in clients:
        choose(client)
    assert [c.answer()[0] for c in clients] == ["place", "place", "queued", "queued", "full"]
    clients[1].close()
    assert clients[2].answer()[0] == "place"
    clients[0].close()
    assert clients[3].answer()[0] == "place"


def test_sigterm(broker):
    wanted(broker)
    connection = hand_over(broker.client())
    wait_until(lambda: counters(broker)["kept"] == 1)
    connection.ours.close()
    broker.process.terminate()
    assert broker.process.wait(20) == 0
    assert connection.said() == b"QUIT\r\n" and connection.said() == b""
    assert not os.path.exists(broker.path)


def test_one_at_a_time(broker):
    second = start()
    assert second.wait(20) == 111 and second.stderr.read() == f"{PROGRAM}: another one is running\n"
    assert broker.client().ask("ask", "key1=x")[0] == "miss"


def test_a_stale_socket_is_replaced(home, broker):
    broker.stop(signal.SIGKILL)
    assert os.path.exists(broker.path)
    broker.process = start()

    def answers():
        try:
            return broker.client().ask("ask", "key1=x")[0] == "miss"
        except ConnectionRefusedError:
            return False
    wait_until(answers)


def test_never_as_root(home, broker):
    process = start(user=0, group=0)
    assert process.wait(20) == 111 and "root" in process.stderr.read()


def test_another_user(broker):
    with pytest.raises(PermissionError):
        broker.client(user=4712)
    os.chmod(broker.path, 0o666)
    assert broker.client(user=4712).ask("ask", "key1=x") is None


def test_root_may_only_ask_for_the_list(broker):
    client = broker.client(user=0)
    client.tell("list")
    assert client.answer()[0] == "counters"
    assert client.ask("ask", "key1=x") is None


@pytest.mark.parametrize("words", [["ask"], ["nonsense"], ["keep", "used=1"], ["ask", "key1=x", "key1=y"], ["hit"]])
def test_nonsense_ends_the_talk(broker, words):
    client = broker.client()
    client.tell(*words)
    assert client.answer() is None
    assert broker.client().ask("ask", "key1=x")[0] == "miss"


def test_it_ends_when_it_was_replaced(home, broker):
    os.unlink(BINARY)
    assert broker.process.wait(20) == 0
