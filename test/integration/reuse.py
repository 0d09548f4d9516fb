"""A qmail home whose deliveries leave their connections to each other, and its qmail-remote-cache."""

import glob
import os
import signal
import socket
import subprocess
import threading
import time

USER = dict(uid=4711, gid=4711)
PROGRAM = "qmail-remote-cache"


def version(home):
    """Of the programs under test."""
    said = subprocess.run([f"{home}/bin/qmail-remote", "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout
    return said.split()[1]


def running(program, word=""):
    """Process ids of those with this word of this test process, which has a mount namespace of its own."""
    ours = os.readlink("/proc/self/ns/mnt")
    found = []
    for path in glob.glob("/proc/[0-9]*"):
        try:
            if os.readlink(f"{path}/exe").endswith(f"/{program}") and os.readlink(f"{path}/ns/mnt") == ours:
                with open(f"{path}/cmdline", encoding="latin-1") as f:
                    if word in f.read():
                        found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return found


def brokers():
    return running(PROGRAM)


def end_brokers(how=signal.SIGTERM):
    """Also what they have started."""
    for pid in brokers():
        try:
            os.kill(pid, how)
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass
    wait_until(lambda: not brokers() and not running("qmail-remote-tls", "serve="))


def wait_until(what, timeout=20):
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def is_listening(pid):
    """Whether this broker takes connections. Its socket is there a moment earlier; then they are refused."""
    try:
        own = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    except OSError:
        return False
    with open("/proc/net/unix", encoding="utf-8") as f:
        sockets = [line.split() for line in f]
    return any(s[3] == "00010000" and f"socket:[{s[6]}]" in own for s in sockets)


class Reuse:
    def __init__(self, home, idle=60):
        self.home = home
        self.path = f"{home.run_path}/cache.sock"
        self.process = None
        os.chown(os.path.dirname(home.run_path), 0, USER["gid"])
        os.chown(home.run_path, USER["uid"], USER["gid"])
        home.control("timeoutidle", f"{idle}\n")

    def serve(self):
        """Start the broker, before its first delivery does.

        A delivery waits for an answer for 20 ms. The broker runs before all other processes, where that is allowed,
        so that what else the machine does decides nothing.
        """
        self.process = subprocess.Popen([f"{self.home.path}/bin/{PROGRAM}"], user=USER["uid"], group=USER["gid"],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            os.sched_setscheduler(self.process.pid, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            pass
        wait_until(lambda: is_listening(self.process.pid) or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.stderr.read()
        return self

    def run(self, **how):
        return self.home.run(**{**USER, **how})

    def start(self, **how):
        return self.home.start(**{**USER, **how})

    def stop(self, how=signal.SIGTERM):
        """End the broker, if there is one."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.send_signal(signal.SIGCONT)
        if self.process:
            self.process.wait()
            self.process.stderr.close()
            self.process = None
        end_brokers(how)

    def shown(self):
        """What it lists: connections, {limit: (sessions, waiting)}, counters."""
        client, entries, limits = self.client(user=0), [], {}
        client.tell("list")
        while True:
            kind, words, _ = client.answer() or ("ended", {}, [])
            words.pop("version", None)
            if kind == "ended":
                raise ConnectionResetError(self.path)
            if kind == "entry":
                entries.append(words)
            elif kind == "limit":
                limits[words["limit"]] = (int(words.get("n", 0)), int(words.get("waiting", 0)))
            else:
                client.close()
                return entries, limits, {key: int(n) for key, n in words.items()}

    def idle(self):
        """How many connections it holds; none if it has ended."""
        try:
            return len(self.shown()[0])
        except (FileNotFoundError, ConnectionError):
            return 0

    def warm(self, **how):
        """Deliver until a connection is left, which takes two; the last delivery, over a new connection."""
        for _ in range(2):
            run = self.run(**how)
        wait_until(self.idle)
        return run

    def client(self, user=USER["uid"]):
        """Connected as this user."""
        os.setegid(USER["gid"])
        os.seteuid(user)
        try:
            return Client(self.path)
        finally:
            os.seteuid(0)
            os.setegid(0)


class Lender:
    """In place of the broker: lends each delivery a connection that was used before, and takes none back."""

    def __init__(self, path, server, version):
        self.server, self.version = server, version
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        self.listener.listen(8)
        self.connection = None
        threading.Thread(target=self._serve, daemon=True).start()

    def prepare(self):
        """A connection for the next delivery, as it is after EHLO."""
        self.connection = socket.create_connection((self.server.address, self.server.port))
        with self.connection.makefile("rb") as replies:
            replies.readline()
            self.connection.sendall(b"EHLO me.example\r\n")
            while replies.readline()[3:4] == b"-":
                pass
        self.connection.setblocking(False)

    def forget(self):
        """It was not asked for."""
        if self.connection:
            self.connection.close()
        self.connection = None

    def _lend(self, client):
        words = ["hit", f"version={self.version}", "chosen=0", f"address={self.server.address}", "host=m1.example",
                 f"extensions={','.join(self.server.ehlo)}", "used=1", "lives=60"]
        connection, self.connection = self.connection, None
        socket.send_fds(client, [b"".join(w.encode() + b"\0" for w in words)], [connection.fileno()])
        connection.close()

    def _serve(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            with client:
                try:
                    while True:
                        data, fds, _, _ = socket.recv_fds(client, 65536, 3)
                        for fd in fds:
                            os.close(fd)
                        if not data:
                            break
                        if data.startswith(b"ask\0") and self.connection:
                            self._lend(client)
                except OSError:
                    pass

    def stop(self):
        self.forget()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Client:
    """One that speaks to the broker as a delivery does."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)
        self.socket.connect(path)

    def tell(self, *words, candidates=(), fds=()):
        parts = [*words]
        if candidates:
            parts += ["--", *(str(x) for c in candidates for x in c)]
        data = b"".join(p.encode() + b"\0" for p in parts)
        socket.send_fds(self.socket, [data], list(fds))

    def answer(self):
        """(kind, {keyword: value}, descriptors); None when the broker has closed."""
        data, fds, _, _ = socket.recv_fds(self.socket, 65536, 3)
        if not data:
            return None
        kind, *rest = data.decode().split("\0")[:-1]
        return kind, dict(word.split("=", 1) for word in rest), fds

    def ask(self, *words, **how):
        try:
            self.tell(*words, **how)
            return self.answer()
        except (BrokenPipeError, ConnectionResetError):
            return None

    def close(self):
        self.socket.close()
