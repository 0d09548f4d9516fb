"""qmail-remote-cache, by what it says to its clients."""

import os
import resource
import signal
import socket
import subprocess

import pytest

from qmailhome import HOME
from reuse import PROGRAM, USER, Reuse, is_listening, wait_until
from test_stock import one_user

pytestmark = one_user

BINARY = f"{HOME}/bin/{PROGRAM}"


def start(*below, more=(), **how):
    """Start a broker; below: a command that runs it; more: its arguments."""
    how = {"user": USER["uid"], "group": USER["gid"], "extra_groups": [], "stderr": subprocess.PIPE, **how}
    return subprocess.Popen([*below, BINARY, *more], stdin=subprocess.DEVNULL, text=True, **how)


def limited(resources):
    """For Popen: sets limits."""
    def limit():
        for number, value in resources.items():
            resource.setrlimit(number, (value, value))
    return limit


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
    connection.ours.close()
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
    wait_until(lambda: counters(broker)["kept"] == 1)
    second = broker.client()
    kind, words, fds = second.ask("ask", "key1=k1")
    assert kind == "hit" and len(fds) == 1
    assert words["host"] == "m1.example" and words["extensions"] == "PIPELINING" and words["used"] == "1"
    os.write(fds[0], b"NOOP\r\n")
    assert connection.said() == b"NOOP\r\n"
    os.close(fds[0])
    second.close()
    assert connection.said() == b""
    assert counters(broker)["hits"] == 1


def test_unwanted_is_ended(broker):
    client = broker.client()
    assert client.ask("ask", "key1=k1")[0] == "miss"
    connection = hand_over(client)
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
    broker.process.terminate()
    assert broker.process.wait(20) == 0
    assert connection.said() == b"QUIT\r\n" and connection.said() == b""
    assert not os.path.exists(broker.path)


def test_started_with_signals_blocked_and_ignored(home):
    """As a supervisor, or a shell, may leave them; and without descriptors 0 to 2."""
    def spoil():
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
        for fd in range(3):
            os.close(fd)
    reuse = Reuse(home)
    process = start(preexec_fn=spoil, stderr=None)
    try:
        wait_until(lambda: is_listening(process.pid))
        wanted(reuse)
        connection = hand_over(reuse.client())
        wait_until(lambda: counters(reuse)["kept"] == 1)
        process.terminate()
        assert process.wait(20) == 0 and connection.said() == b"QUIT\r\n"
    finally:
        process.kill()
        process.wait()
        reuse.stop()


def test_one_at_a_time(broker):
    second = start()
    assert second.wait(20) == 111 and second.stderr.read() == f"{PROGRAM}: another one is running\n"
    assert broker.client().ask("ask", "key1=x")[0] == "miss"


def test_one_that_waits_takes_the_place_of_another(broker):
    """As a supervisor runs it, when a delivery has started one already."""
    second = start(more=["--wait"])
    try:
        wait_until(lambda: is_waiting_for_a_lock(second.pid))
        assert broker.client().ask("ask", "key1=x")[0] == "miss"
        broker.process.terminate()
        broker.process.wait(20)
        wait_until(lambda: is_listening(second.pid))
        assert broker.client().ask("ask", "key1=x")[0] == "miss"
    finally:
        second.terminate()
        assert second.wait(20) == 0


def test_one_that_waits_ends_when_it_is_told(broker):
    second = start(more=["--wait"])
    wait_until(lambda: is_waiting_for_a_lock(second.pid))
    second.terminate()
    assert second.wait(20) == -signal.SIGTERM
    assert broker.client().ask("ask", "key1=x")[0] == "miss"


def test_one_that_waits_ends_if_it_was_replaced(home, broker):
    """The supervisor starts the new one."""
    second = start(more=["--wait"])
    wait_until(lambda: is_waiting_for_a_lock(second.pid))
    os.unlink(BINARY)
    assert broker.process.wait(20) == 0
    assert second.wait(20) == 0
    assert not os.path.exists(broker.path)


def is_waiting_for_a_lock(pid):
    with open("/proc/locks", encoding="ascii") as f:
        return any("->" in line and f" {pid} " in line for line in f)


def test_a_stale_socket_is_replaced(home, broker):
    broker.stop(signal.SIGKILL)
    assert os.path.exists(broker.path)
    broker.process = start()

    wait_until(lambda: works(broker))


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


def works(broker):
    """Whether it answers a client."""
    try:
        client = broker.client()
    except OSError:
        return False
    try:
        answer = client.ask("ask", "key1=x")
    except OSError:
        answer = None
    client.close()
    return answer is not None and answer[0] == "miss"


@pytest.mark.parametrize("words", [["list"], ["ask", "key1=k1"], ["gone"], ["ready", "key1=other", "address=192.0.2.1"]])
def test_after_a_session_was_announced_it_can_only_be_left(broker, words):
    """It is qmail-remote-io then, which its server may have taken over: other deliveries' connections are not its business."""
    client = broker.client()
    client.tell("ready", "key1=k1", "key2=k2", "address=192.0.2.1", "used=0", "lives=300")
    assert client.ask(*words) is None
    client.close()


@pytest.mark.parametrize("words", [["ask"], ["nonsense"], ["keep", "used=1"], ["ask", "key1=x", "key1=y"], ["hit"]])
def test_nonsense_ends_the_talk(broker, words):
    client = broker.client()
    client.tell(*words)
    assert client.answer() is None
    assert works(broker)


@pytest.mark.parametrize("data", [b"ask\0key1=x", b"ask\0key1=" + b"x" * 65000 + b"\0", b"x" * 65536, b"y" * 100000, b"\0" * 65536],
                         ids=["half", "long", "64k", "100k", "empty words"])
def test_a_message_that_is_none(broker, data):
    client = broker.client()
    client.socket.send(data)
    assert client.answer() is None
    assert works(broker)


def test_descriptors_that_are_no_connection(broker):
    """Nothing of what it was sent stays open."""
    before = descriptors(broker.process)
    with open("/dev/null", "rb") as null, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram, \
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unconnected, socket.create_server(("127.0.0.1", 0)) as listener:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fine = Connection()
        for what in ([null], [datagram], [unconnected], [listener], [pair[0], pair[1]], [fine.ours] * 2, [fine.ours] * 3,
                     [fine.ours] * 4, [fine.ours] * 100):
            client = broker.client()
            client.tell("ready", "key1=k", "address=x", "used=0", "lives=300")
            client.tell("keep", "used=1", fds=[w.fileno() for w in what])
            assert client.answer() is None
            client.close()
        fine.ours.close()
        assert fine.said() == b""
        for end in pair:
            end.close()
    wait_until(lambda: descriptors(broker.process) == before)


@pytest.mark.parametrize("before, after", [(None, "a:1\n"), ("a:1\n", "a:2\n"), ("a:1\n", None)])
def test_other_limits_end_what_is_idle(home, before, after):
    """Its key has the file, so that nobody finds it any more."""
    home.control("concurrencyhosts", before)
    broker = Reuse(home).serve()
    try:
        wanted(broker)
        connection = hand_over(broker.client())
        wait_until(broker.idle)
        home.control("concurrencyhosts", after)
        assert connection.said() == b"QUIT\r\n" and counters(broker)["limit"] == 1
    finally:
        broker.stop()


def test_it_ends_when_it_was_replaced(home, broker):
    os.unlink(BINARY)
    assert broker.process.wait(20) == 0


def test_it_ends_when_the_program_for_tls_was_replaced(home, broker):
    wanted(broker)
    connection = hand_over(broker.client())
    wait_until(lambda: counters(broker)["kept"] == 1)
    path = f"{HOME}/bin/qmail-remote-tls"
    os.unlink(path)
    os.symlink("/bin/true", path)
    assert broker.process.wait(20) == 0
    assert connection.said() == b"QUIT\r\n" and connection.said() == b""
    assert not os.path.exists(broker.path)


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_what_clients_leave_is_closed(broker):
    before = descriptors(broker.process)
    for n in range(200):
        wanted(broker, f"k{n}")
        client = broker.client()
        connection = hand_over(client, key1=f"k{n}")
        client.close()
        wait_until(lambda: counters(broker)["kept"] == n + 1)
        client = broker.client()
        answer = client.ask("ask", f"key1=k{n}")
        assert answer[0] == "hit"
        os.close(answer[2][0])
        client.close()
        assert connection.said() == b""
        connection.server.close()
    wait_until(lambda: descriptors(broker.process) == before)


def test_a_client_that_never_reads(broker):
    client = broker.client()
    client.socket.setblocking(False)
    with pytest.raises((BrokenPipeError, ConnectionResetError, BlockingIOError)):
        while True:
            client.tell("ask", "key1=k")
            works(broker)
    wait_until(lambda: works(broker))


def test_two_thousand_clients(broker):
    """Those that are too many are turned away at once; the others are served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip("too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3000, hard))
    clients = []
    try:
        for n in range(2000):
            clients.append(broker.client())
            if n % 100 == 99:
                assert clients[-1].ask("ask", "key1=k")[0] == "miss"
        other = broker.client()
        assert other.answer() is None
        for client in clients:
            client.tell("choose", "wait=60", candidates=[("", ".example", 10)])
        kinds = [client.answer()[0] for client in clients]
        assert [kinds.count(kind) for kind in ("place", "queued", "full")] == [10, 10, 1980]
        # As each of them goes, one that waits gets its place.
        first = [c for c, kind in zip(clients, kinds) if kind == "place"]
        for client in first:
            client.close()
        for client, kind in zip(clients, kinds):
            if kind == "queued":
                assert client.answer()[0] == "place"
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: works(broker))


def test_a_broker_that_was_stopped(broker):
    """Who gave it up meanwhile has left nothing; the others are answered."""
    before = descriptors(broker.process)
    os.kill(broker.process.pid, signal.SIGSTOP)
    gone, stays = broker.client(), broker.client()
    for client in gone, stays:
        client.tell("choose", "wait=60", candidates=[("", ".example", 1)])
    gone.socket.settimeout(0.02)
    with pytest.raises(TimeoutError):
        gone.answer()
    gone.close()
    os.kill(broker.process.pid, signal.SIGCONT)
    kinds = [stays.answer()[0]]
    if kinds == ["queued"]:
        kinds.append(stays.answer()[0])
    assert kinds[-1] == "place"
    stays.close()
    wait_until(lambda: descriptors(broker.process) == before)


# Its start.

@pytest.mark.parametrize("n", [2, 20])
def test_several_started_at_once(home, n):
    reuse = Reuse(home)
    processes = [start() for _ in range(n)]
    wait_until(lambda: sum(p.poll() is None for p in processes) == 1)
    wait_until(lambda: works(reuse))
    assert all(p.stderr.read() == f"{PROGRAM}: another one is running\n" for p in processes if p.poll() is not None)
    assert {p.poll() for p in processes} == {None, 111}
    reuse.stop()
    for p in processes:
        p.wait()
        p.stderr.close()


def no_sanitizer(home):
    if "sanitizer" in home.kind:
        pytest.skip("sanitizers do not work below strace")


CALLS = "openat,fcntl,flock,pipe,pipe2,socket,bind,listen,unlink,dup2,accept,accept4,recvmsg,sendmsg,sendto,poll,close"


def test_killed_at_any_moment(home):
    """Connections are closed, clients know that it is gone, and the next one works."""
    no_sanitizer(home)
    reuse, n, survived = Reuse(home), 0, False
    killed_after = set()
    while not survived:
        n += 1
        assert n < 300
        process = start("strace", "-f", "-qq", "-o", "/dev/null", f"--inject={CALLS}:signal=KILL:when={n}",
                        stderr=subprocess.DEVNULL)
        wait_until(lambda: works(reuse) or process.poll() is not None)
        done, connection = 0, None
        try:
            wanted(reuse)
            done = 1
            client = reuse.client()
            connection = hand_over(client)
            done = 2
            client.close()
            # Each client has its turn: another one's question may be answered before the connection is kept.
            wait_until(lambda: counters(reuse)["kept"] == 1)
            client = reuse.client()
            kind, _, fds = client.ask("ask", "key1=k1")
            for fd in fds:
                os.close(fd)
            assert kind == "hit"
            client.close()
            done = 3
        except (OSError, TypeError, AssertionError):
            # There is no broker, or none any more.
            pass
        reuse.stop()
        survived = process.wait(20) == 0
        assert not survived or done == 3
        killed_after.add(done)
        if connection is not None:
            connection.ours.close()
            assert connection.server.recv(100) in (b"", b"QUIT\r\n")
            connection.server.close()
        second = start()
        wait_until(lambda: works(reuse))
        reuse.stop()
        assert second.wait(20) == 0
        second.stderr.close()
    assert killed_after >= {0, 2, 3} and n > 10


@pytest.mark.parametrize("inodes", [1, 2])
def test_full_disk(home, inodes):
    """For the lock, or for the socket."""
    reuse = Reuse(home)
    state = home.run_path
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"nr_inodes={inodes},mode=2750,uid={USER['uid']},gid={USER['gid']}",
                    "none", state], check=True)
    try:
        process = start()
        assert process.wait(20) == 111
        name = "cache.sock" if inodes == 2 else "cache.lock"
        assert process.stderr.read() == f"{PROGRAM}: {state}/{name}: No space left on device\n"
        process.stderr.close()
        subprocess.run(["mount", "-o", "remount,nr_inodes=10", state], check=True)
        process = start()
        wait_until(lambda: works(reuse))
    finally:
        reuse.stop()
        process.wait()
        process.stderr.close()
        subprocess.run(["umount", "--lazy", state], check=True)    # a helper of the broker may still be leaving


@pytest.mark.parametrize("n", range(3, 10))
def test_few_descriptors(home, n):
    """It says what it lacks, or works: and who has no room is turned away."""
    if "loader" in home.kind:
        pytest.skip("the loader needs descriptors, too")
    reuse = Reuse(home)
    process = start(preexec_fn=limited({resource.RLIMIT_NOFILE: n}))
    wait_until(lambda: process.poll() is not None or is_listening(process.pid))
    if process.poll() is not None:
        assert process.wait() == 111 and process.stderr.read().endswith(": Too many open files\n")
        process.stderr.close()
        return
    clients = [reuse.client() for _ in range(n)]
    answers = [client.ask("ask", "key1=k") for client in clients]
    assert answers[-1] is None
    kept = [client for client, answer in zip(clients, answers) if answer is not None]
    for client in kept:
        assert client.ask("ask", "key1=k")[0] == "miss"
    for client in clients:
        client.close()
    if kept:
        wait_until(lambda: works(reuse))
    assert process.poll() is None
    reuse.stop()
    assert process.wait(20) == 0
    process.stderr.close()


def test_no_more_descriptors_for_connections(home):
    """A connection for which there is no room is closed, and its client given up."""
    reuse = Reuse(home)
    process = start(preexec_fn=limited({resource.RLIMIT_NOFILE: 14}))
    wait_until(lambda: is_listening(process.pid))
    wanted(reuse)
    clients = []
    while True:
        client = reuse.client()
        if client.ask("ask", "key1=x") is None:
            break
        clients.append(client)
    assert clients
    connection = hand_over(clients[0])
    assert connection.said() == b"" and clients[0].answer() is None
    clients[0].close()
    wait_until(lambda: works(reuse))
    for client in clients[1:]:
        client.close()
    reuse.stop()
    assert process.wait(20) == 0
    process.stderr.close()
