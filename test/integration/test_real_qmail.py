"""A real qmail around our programs: qmail-inject, qmail-send, qmail-rspawn of the source that --qmail names."""

import glob
import os
import random
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

import world
from crowd import SENDER, Crowd, is_readable
from qmailhome import HOME, PROGRAMS
from test_stock import one_user

pytestmark = [pytest.mark.qmail, one_user]

USERS = {"alias": "nofiles", "qmaild": "nofiles", "qmaill": "nofiles", "qmailp": "nofiles", "qmailq": "qmail",
         "qmailr": "qmail", "qmails": "qmail"}
FIRST_ID = 64200
PATIENCE = 120


def add_users():
    """In files of this world."""
    groups = {"qmail": FIRST_ID, "nofiles": FIRST_ID + 1}
    entries = {"passwd": [f"{user}:x:{FIRST_ID + n}:{groups[group]}::{HOME}/alias:/bin/sh\n"
                          for n, (user, group) in enumerate(USERS.items())],
               "group": [f"{group}:x:{number}:\n" for group, number in groups.items()]}
    for name, lines in entries.items():
        with open(f"/etc/{name}", encoding="utf-8") as f:
            text = f.read()
        with open(f"/srv/etc/{name}", "w", encoding="utf-8") as f:
            f.write(text + "".join(lines))
        world._mount(f"/srv/etc/{name}", f"/etc/{name}", None, world.MS_BIND)


@pytest.fixture(scope="module")
def built(request):
    """The source, built for /srv/qmail."""
    source, tree = request.config.getoption("qmail"), "/srv/qmail-source"
    shutil.copytree(source, tree, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    with open(f"{tree}/conf-qmail", encoding="ascii") as f:
        _, rest = f.read().split("\n", 1)
    with open(f"{tree}/conf-qmail", "w", encoding="ascii") as f:
        f.write(f"{HOME}\n{rest}")
    add_users()
    make(tree, "it", "man")
    yield tree
    for name in ("passwd", "group"):
        subprocess.run(["umount", f"/etc/{name}"], check=True)


def make(tree, *targets):
    done = subprocess.run(["make", "-C", tree, "NROFF=true", *targets], check=False, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-3000:]


class Qmail:
    """An installation, with our programs in bin."""

    def __init__(self, tree, programs):
        shutil.rmtree(HOME, ignore_errors=True)
        os.mkdir(HOME)
        make(tree, "setup")
        self.log_path, self.process = f"{HOME}/log", None
        for name in PROGRAMS:
            path = f"{HOME}/bin/{name}"
            if os.path.exists(path):
                os.unlink(path)
            shutil.copy(f"{programs}/{name}", path)
        for path in (f"{HOME}/run", f"{HOME}/run/qmail-remote"):
            os.mkdir(path)
            shutil.chown(path, "qmailr", "qmail")
            os.chmod(path, 0o2750)
        self.control("me", "src.example")
        self.control("locals", "src.example")
        self.control("concurrencyremote", "20")
        self.control("timeoutremote", "20")
        subprocess.run([f"{HOME}/bin/maildirmake", f"{HOME}/alias/Maildir"], check=True)
        subprocess.run(["chown", "-R", "alias:nofiles", f"{HOME}/alias/Maildir"], check=True)
        with open(f"{HOME}/alias/.qmail-default", "w", encoding="ascii") as f:
            f.write("./Maildir/\n")

    @staticmethod
    def control(name, text):
        with open(f"{HOME}/control/{name}", "w", encoding="ascii") as f:
            f.write(f"{text}\n")
        os.chmod(f"{HOME}/control/{name}", 0o644)

    def start(self):
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.process = subprocess.Popen([f"{HOME}/bin/qmail-start", "./Mailbox"], stdin=subprocess.DEVNULL, stdout=log,
                                        stderr=log, env={"PATH": f"{HOME}/bin:/usr/bin:/bin"}, start_new_session=True)
        os.close(log)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)

    @staticmethod
    def inject(recipient):
        subprocess.run([f"{HOME}/bin/qmail-inject", "-f", SENDER, recipient], check=True,
                       input=f"To: {recipient}\n\nhello {recipient}\n".encode())

    @property
    def log(self):
        with open(self.log_path, encoding="ascii") as f:
            return f.read().splitlines()

    @staticmethod
    def is_empty():
        return not glob.glob(f"{HOME}/queue/mess/*/*") and not glob.glob(f"{HOME}/queue/todo/**/[0-9]*", recursive=True)

    def run_until_empty(self, meanwhile=lambda: None):
        """What is deferred is tried again at once: qmail-send does that after SIGALRM."""
        end = time.monotonic() + PATIENCE
        while not self.is_empty():
            assert time.monotonic() < end, self.log[-20:]
            self.process.send_signal(signal.SIGALRM)
            meanwhile()
            select.select([], [], [], 0.2)

    @staticmethod
    def bounces():
        """What arrived in the mailbox of the sender."""
        found = []
        for path in glob.glob(f"{HOME}/alias/Maildir/new/*"):
            with open(path, encoding="ascii") as f:
                found.append(f.read())
        return found


@pytest.fixture
def qmail(built, home, request):
    installed = Qmail(built, home.programs)
    yield installed
    installed.stop()


def test_two_hundred_messages_to_servers_that_die_refuse_and_defer(qmail, smtp, dns):
    crowd = Crowd(smtp, dns)
    qmail.start()
    for recipient in crowd.recipients():
        qmail.inject(recipient)
    qmail.run_until_empty()

    arrived = crowd.arrived()
    bounces = {re.search(r"(?m)^<(u\d+@[a-z]+\.example)>:$", text)[1]: text for text in qmail.bounces()}
    assert len(bounces) == len(qmail.bounces())
    for recipient in crowd.recipients():
        said = crowd.bounce_of(recipient)
        assert arrived[recipient] == (0 if said else 1), recipient
        assert (recipient in bounces) == bool(said), recipient
        assert not said or f"Remote host said: {said}\n" in bounces[recipient], bounces[recipient]
        assert not said or is_readable(bounces[recipient]), bounces[recipient]
    results = [line for line in qmail.log if re.match(r"delivery \d+: (success|deferral|failure): ", line)]
    assert len(results) >= 200 + 25 and all(is_readable(line) for line in results)
    assert not any("mangled" in line or "alert" in line or "Unable_to_run" in line for line in qmail.log)


def test_nothing_is_lost_if_it_is_killed_at_random(qmail, smtp, dns):
    server = smtp()
    dns.zone("dst.example A 192.0.2.1")
    chance, killed, ours = random.Random(1), [], os.readlink("/proc/self/ns/net")

    def kill():
        """Some of the deliveries that are under way in this world."""
        for folder in glob.glob("/proc/[0-9]*"):
            try:
                with open(f"{folder}/comm", encoding="utf-8") as f:
                    is_delivery = f.read().startswith("qmail-remote")
                if is_delivery and os.readlink(f"{folder}/ns/net") == ours and chance.random() < 0.5:
                    os.kill(int(folder.split("/")[2]), signal.SIGKILL)
                    killed.append(folder)
            except OSError:
                pass

    qmail.start()
    recipients = [f"u{n}@dst.example" for n in range(100)]
    for recipient in recipients:
        qmail.inject(recipient)
        kill()
    qmail.run_until_empty(lambda: kill() if len(killed) < 200 else None)
    server.settle()
    arrived = [mail.recipients[0].strip(b"<>").decode() for session in server.sessions for mail in session.mails
               if mail.complete]
    assert set(arrived) == set(recipients) and not qmail.bounces()
    assert killed and any("qmail-remote_crashed" in line for line in qmail.log)
