"""The catalogue, group O: many processes at the state files at once."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import qmailhome
from catalogue import ONE, TWO, Case, Setup, Start, Want, table
from world import HOLE4, HOLE6

KNOWN = {"smtproutes.cdb", "smtproutes.lock", "tcpto6", "addresses", "trustanchors.cdb", "trustanchors.lock"}


class Watch(threading.Thread):
    """Reads a file again and again while others write it; every state of it must be a valid one."""

    def __init__(self, path, valid):
        super().__init__(daemon=True)
        self.path, self.valid = path, valid
        self.over, self.looks, self.bad = threading.Event(), 0, []
        self.start()

    def run(self):
        while not self.over.wait(0.001):
            try:
                with open(self.path, "rb") as f:
                    data = f.read()
            except FileNotFoundError:
                continue
            self.looks += 1
            if not self.valid(data):
                self.bad.append(data)

    def stop(self):
        self.over.set()
        self.join()
        assert not self.bad, self.bad[0]
        assert self.looks > 10


def whole_table(size, addresses):
    """Of a table: free records, and whole ones of the addresses in question."""
    def valid(data):
        length = size // 2 if size == 32 else 4
        if len(data) not in (0, 64 * size):
            return False
        for at in range(0, len(data), size):
            record = data[at:at + size]
            if record.strip(b"\0") and (record[:length] not in addresses or not 1 <= record[length] <= 10 or
                                        not any(record[length + 4:length + 8])):
                return False
        return True
    return valid


def many(stage, count, host, **how):
    """So many deliveries at once; how they ended."""
    processes = [stage.begin(host=host(n), **how) for n in range(count)]
    runs = [p.finish(40) for p in processes]
    assert all(r.status == 0 for r in runs), [r for r in runs if r.status]
    return runs


def forget(stage):
    """Nothing was left to judge one by one."""
    stage.run = None


def table_cases():
    four = {socket.inet_aton(f"203.0.113.{n}") for n in range(1, 255)}
    six = {socket.inet_pton(socket.AF_INET6, f"2001:db8:dead::{n:x}") for n in range(1, 256)}

    def same(stage):
        stage.home.control("timeoutconnect", "1\n")
        watches = [Watch(stage.home.tcpto_path, whole_table(16, four)),
                   Watch(stage.home.tcpto6_path, whole_table(32, six))]
        runs = many(stage, 255, lambda n: f"[{HOLE4}]" if n % 2 else f"[IPv6:{HOLE6}]")
        for watch in watches:
            watch.stop()
        assert all(r.letters == "Z" for r in runs)
        assert [(r.address, r.count) for r in qmailhome.used(qmailhome.read4())] == [(HOLE4, 1)]
        assert [(r.address, r.count) for r in qmailhome.used(qmailhome.read6())] == [(HOLE6, 1)]
        forget(stage)

    yield Case("O1-same-address", Setup(zone="x.example TXT x"), "Z", Start(play=same),
               says="time-outs of one address within two minutes count as one, however many processes had them")

    def different(stage):
        stage.home.control("timeoutconnect", "1\n")
        watches = [Watch(stage.home.tcpto_path, whole_table(16, four)),
                   Watch(stage.home.tcpto6_path, whole_table(32, six))]
        many(stage, 120, lambda n: f"[203.0.113.{n % 60 + 1}]" if n % 2 else f"[IPv6:2001:db8:dead::{n % 60 + 1:x}]")
        for watch in watches:
            watch.stop()
        for records in (qmailhome.used(qmailhome.read4()), qmailhome.used(qmailhome.read6())):
            assert len({r.address for r in records}) == len(records) == 30 and all(r.count == 1
                                                                                   for r in records), records
        forget(stage)

    yield Case("O1-different-addresses", Setup(zone="x.example TXT x"), "Z", Start(play=different))

    def beyond(stage):
        stage.home.control("timeoutconnect", "1\n")
        watch = Watch(stage.home.tcpto_path, whole_table(16, four))
        many(stage, 120, lambda n: f"[203.0.113.{n + 1}]")
        watch.stop()
        records = qmailhome.used(qmailhome.read4())
        assert len(records) == 64 == len({r.address for r in records})
        forget(stage)

    yield Case("O1-more-than-there-is-room", Setup(zone="x.example TXT x"), "Z", Start(play=beyond),
               says="of more addresses than records the oldest give way")

    def readers(stage):
        """Ours read while somebody writes the table as stock does, record by record."""
        stage.home.control("smtproutes", f":{ONE}\n")
        over = threading.Event()

        def write():
            with open(stage.home.tcpto_path, "r+b", buffering=0) as f:
                n = 0
                while not over.wait(0.0005):
                    fcntl.flock(f, fcntl.LOCK_EX)
                    os.pwrite(f.fileno(), qmailhome.pack4(f"10.0.0.{n % 250 + 1}", 10, time.time()), n % 64 * 16)
                    fcntl.flock(f, fcntl.LOCK_UN)
                    n += 1
        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(3):
                runs = many(stage, 20, lambda n: "dst.example")
                assert all(r.letters == "rK" for r in runs), runs
        finally:
            over.set()
            thread.join()
        forget(stage)

    yield Case("O2-reader-and-writer", Setup(), Want("K", several=True), Start(play=readers),
               says="a million looks are for the unit tests; here the programs themselves")


def compiled_cases():
    def routes(relay):
        return "".join(f"h{n}.example:192.0.2.99\n" for n in range(500)) + f"dst.example:{relay}\n"

    def hundred(stage):
        """The list changes under a hundred processes, each of which may compile it."""
        stage.server(TWO, host="m2.example")
        path = f"{stage.home.path}/control/smtproutes"
        for turn, relay in enumerate((ONE, TWO, ONE)):
            stage.home.control("new", routes(relay))
            os.utime(f"{stage.home.path}/control/new", (1000 + turn, 1000 + turn))
            os.rename(f"{stage.home.path}/control/new", path)
            time.sleep(2.1 if turn == 2 else 0)
            runs = many(stage, 34, lambda n: "dst.example")
            assert all(r.letters == "rK" and r.message.text.startswith(relay.encode()) for r in runs), runs
        for server in stage.servers:
            server.settle()
        stage.deliver()
        assert stage.run.message.text.startswith(ONE.encode())
        assert set(os.listdir(stage.home.run_path)) <= KNOWN and os.path.exists(stage.home.cdb_path)
        forget(stage)

    yield Case("O3-hundred-compile", Setup(), Want("K", several=True), Start(play=hundred))

    def anchors(stage):
        runs = many(stage, 30, lambda n: "dst.example")
        assert all(r.letters == "rK" for r in runs), [r for r in runs if r.letters != "rK"]
        assert set(os.listdir(stage.home.run_path)) <= KNOWN
        forget(stage)

    yield Case("O3-anchors", Setup(), Want("K", several=True), Start(play=anchors), over="ver13")

    def stopped(stage):
        """Somebody holds all locks and is stopped."""
        stage.home.filler = qmailhome.FILLER
        stage.home.control("smtproutes", f":{ONE}\n")
        for path in (stage.home.tcpto6_path, f"{stage.home.run_path}/smtproutes.lock"):
            with open(path, "wb"):
                pass
        holder = subprocess.Popen(["flock", "-o", stage.home.tcpto_path, "flock", "-o", stage.home.tcpto6_path,
                                   "flock", "-o",
                                   f"{stage.home.run_path}/smtproutes.lock", "sh", "-c", "echo; kill -STOP $$"],
                                  stdout=subprocess.PIPE,
                                  start_new_session=True)
        holder.stdout.readline()
        os.killpg(holder.pid, signal.SIGSTOP)
        try:
            stage.deliver()
        finally:
            os.killpg(holder.pid, signal.SIGKILL)
            holder.wait()
            holder.stdout.close()

    yield Case("O4-holder-stopped", Setup(), Want("K", within=6), Start(play=stopped),
               says="0.5 s for each table, then without it; a list is compiled by whoever can")

    def killed(stage):
        stage.home.control("timeoutconnect", "1\n")
        for signum in (signal.SIGKILL, signal.SIGSTOP):
            process = stage.begin(host=f"[{HOLE4}]")
            time.sleep(0.9)
            os.kill(process.pid, signum)
            if signum == signal.SIGSTOP:
                stage.deliver(host="dst.example")
                assert stage.run.letters == "rK"
                process.kill()
            process.finish()
        stage.first.sessions.clear()
        stage.deliver()

    yield Case("O4-killed", Setup(), Want("K", several=True, within=6), Start(play=killed))
    now = time.time()

    def skewed(stage):
        stage.home.tcpto(qmailhome.pack4(ONE, 10, now + 3 * 86400) + qmailhome.pack4(ONE, 10, 1))
        stage.home.filler = qmailhome.FILLER
        stage.home.control("smtproutes", f":{ONE}\n")
        os.utime(f"{stage.home.path}/control/smtproutes", (now + 10 ** 7, now + 10 ** 7))

    yield Case("O5-future-files", Setup(prepare=skewed), "K",
               says="a record or file from the future counts for nothing, not for ever")

    def storm(stage):
        """Each is killed at some moment of its work on a list that has changed; then one goes through."""
        stage.home.control("smtproutes", routes(ONE) * 20)
        os.utime(f"{stage.home.path}/control/smtproutes", (1000, 1000))
        time.sleep(2.1)
        for n in range(60):
            process = stage.begin()
            time.sleep(0.0005 * (n % 20))
            process.kill()
            process.finish()
        stage.first.settle()
        stage.first.sessions.clear()
        for _ in range(2):
            stage.deliver()
            assert stage.run.letters == "rK"
        left = set(os.listdir(stage.home.run_path)) - KNOWN
        assert len(left) <= 1, left
        forget(stage)

    yield Case("O6-storm", Setup(), Want("K", several=True), Start(play=storm),
               says="one temporary name, under a lock: at most one file is ever left behind")

    def removed(stage):
        """The state directory goes away while deliveries run, and comes back."""
        stage.home.control("smtproutes", "".join(f"h{n}.example:192.0.2.99\n" for n in range(500)))
        over = threading.Event()

        def remove():
            while not over.is_set():
                shutil.rmtree(stage.home.run_path, ignore_errors=True)
                time.sleep(0.003)
                os.makedirs(stage.home.run_path, exist_ok=True)
                time.sleep(0.003)
        thread = threading.Thread(target=remove)
        thread.start()
        try:
            for _ in range(3):
                runs = many(stage, 15, lambda n: "dst.example")
                assert all(r.letters == "rK" for r in runs), runs
        finally:
            over.set()
            thread.join()
        forget(stage)

    yield Case("O7-removed", Setup(), Want("K", several=True), Start(play=removed), over=("clear", "ver13"),
               says="done without; the installer makes the directory")


CASES = [*table_cases(), *compiled_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
