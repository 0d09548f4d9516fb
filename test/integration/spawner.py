"""Starts deliveries from a small process, so that getrusage() tells of them and not of the tests.

What a process has in memory when it forks is counted as its child's peak, exec or not. Started here,
a delivery's peak begins at some 9 MB.
"""

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time


class Spawner:
    """start() can be called from many threads."""

    def __init__(self):
        self.requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ends, their_ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.lock = threading.Lock()
        self.ended = {}
        self.changed = threading.Condition()
        a, b = (os.dup(s.fileno()) for s in (theirs, their_ends))
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START.format(os.path.dirname(os.path.abspath(__file__)), a, b)],
            pass_fds=(a, b))
        for fd in (a, b):
            os.close(fd)
        theirs.close()
        their_ends.close()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self):
        while True:
            data = self.ends.recv(1 << 16)
            if not data:
                return
            pid, status, peak, when = json.loads(data)
            with self.changed:
                self.ended[pid] = (status, peak, when)
                self.changed.notify_all()

    def start(self, home, argv, message):
        """The pid and the reading end of the report pipe."""
        with self.lock:
            socket.send_fds(self.requests, [json.dumps([home, argv]).encode()], [message])
            data, fds, _, _ = socket.recv_fds(self.requests, 1 << 16, 1)
        return json.loads(data), fds[0]

    def wait(self, pid, timeout):
        """Wait status, peak resident memory in kB, and when it ended; None if it has not."""
        with self.changed:
            self.changed.wait_for(lambda: pid in self.ended, timeout)
            return self.ended.pop(pid, None)

    def stop(self):
        self.requests.close()
        self.process.wait(10)
        self.listener.join(10)
        self.ends.close()


_START = "import sys; sys.path.insert(0, {!r}); import spawner; spawner.serve({}, {})"


def serve(requests, ends):
    """The small process itself."""
    import rspawn
    requests = socket.socket(fileno=requests)
    ends = socket.socket(fileno=ends)
    running = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd in running:
                _, status, usage = os.wait4(running[fd], 0)
                ends.send(json.dumps([running.pop(fd), status, usage.ru_maxrss, time.monotonic()]).encode())
                poll.unregister(fd)
                os.close(fd)
                continue
            data, fds, _, _ = socket.recv_fds(requests, 1 << 16, 1)
            if not data:
                return
            home, argv = json.loads(data)
            process = rspawn.Process(home, argv, fds[0])
            os.close(fds[0])
            pidfd = os.pidfd_open(process.pid)
            running[pidfd] = process.pid
            poll.register(pidfd, select.POLLIN)
            socket.send_fds(requests, [json.dumps(process.pid).encode()], [process.pipe])
            os.close(process.pipe)
