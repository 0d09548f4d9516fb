"""Sessions of a qmail-remote-tls that qmail-remote-cache has started beforehand: as those of one's own."""

import os
import shutil
import signal
import socket
import subprocess

import pytest

import qmailhome
import rspawn
import test_sandbox
from conftest import PROGRAMS
from expect import accepted, check
from reuse import USER, Reuse, version, wait_until
from smtpd import TLS, Call
from test_stock import one_user
from tlssite import NOT_VERIFIED, tls_line, verified

# What follows from TLS sessions, once more: with the fixtures of this file.
from test_tls import *  # noqa: F401,F403
from test_tls_boundary import *  # noqa: F401,F403
from test_tls_certificates import *  # noqa: F401,F403
from test_tls_certificates import asking, present, write
from test_sandbox import test_tls_is_stopped_after_the_handshake, test_tls_is_stopped_in_the_handshake  # noqa: F401

# Always: what a session is asked for, what it reads, how it ends. All of the others with --long.
PLAYED_AGAIN = {f"test_{name}" for name in """
    the_other_address_of_a_host_is_tried_if_tls_is_demanded
    strictness_1_delivers_in_clear_text_to_the_best_host_if_no_host_does_tls
    clear_text_after_a_failed_handshake_is_for_that_host_alone
    a_handshake_that_times_out_leads_to_the_next_host_and_not_into_tcpto
    tls_over_ipv6_is_used
    names_and_fallbacks_of_five_hosts_do_not_mix
    the_number_in_tlsstrictness_counts_and_more_than_2_is_2
    the_report_of_a_delivery_in_tls_is_this_to_the_byte
    the_server_name_sent_is_the_one_that_the_certificate_must_have
    a_host_name_that_no_certificate_can_have_leads_to_the_next_host
    a_handshake_that_failed_is_told_whatever_became_of_the_mail
    ehlo_that_is_answered_twice_in_two_segments_ends_in_no_delivery_in_tls
    a_reply_in_tls_that_nobody_asked_for_ends_in_no_delivery_in_tls
    a_reply_behind_354_is_no_reply_to_the_end_of_the_mail_data
    421_behind_the_reply_to_ehlo_leads_to_the_next_host
    ten_megabytes_arrive_byte_for_byte
    a_server_that_reads_slowly_gets_all_of_the_message
    a_server_given_by_its_address_must_have_that_in_its_certificate
    another_textual_form_of_an_address_is_the_same_address
    the_name_of_a_relay_is_verified_and_not_that_of_the_domain
    a_certificate_of_the_first_host_does_not_do_for_the_second
    a_certificate_is_not_looked_at_where_clear_text_would_do
    what_is_listed_is_trusted_whoever_signed_it
    a_damaged_bundle_is_trouble_of_ours_where_something_is_verified
    a_damaged_file_in_a_directory_is_trouble_of_ours_for_those_who_need_it
    a_directory_of_anchors_verifies_as_a_bundle_does
    a_directory_that_changes_counts_as_it_is_now
    a_relative_path_begins_at_the_qmail_home
    bad_anchors_end_the_delivery_without_another_host
    unreadable_anchors
    a_change_of_the_anchors_counts_at_once
    the_index_of_one_bundle_is_not_taken_for_that_of_another
    anchors_that_are_removed_are_not_replaced_by_their_index
    an_expired_anchor_vouches_for_nobody
    a_stale_index_that_cannot_be_replaced_is_not_used
    forged_index
    our_certificate_is_sent_with_its_chain_where_it_is_asked_for
    our_certificate_is_not_sent_unasked
    a_key_that_is_not_configured_must_be_in_the_file_of_the_certificate
    key_and_certificate_may_be_in_one_file
    a_refusal_of_our_certificate_is_a_failed_handshake
    a_bad_key_or_certificate_of_ours_is_trouble_of_ours
    a_key_or_certificate_of_ours_that_cannot_be_read_is_trouble_of_ours
    tls_is_stopped_in_the_handshake
    tls_is_stopped_after_the_handshake
""".split()}
assert PLAYED_AGAIN <= set(globals())

# They look at what else is there, and the broker and its files are.
for _name in ("test_a_bundle_of_150_is_indexed_without_the_certificates_themselves",
              "test_a_state_directory_that_cannot_be_written_is_done_without",
              "test_an_odd_state_directory_is_done_without", "test_quit_is_said_in_tls_and_not_waited_for",
              "test_twenty_at_once_all_verify"):
    del globals()[_name]

pytestmark = one_user

HELPER = "qmail-remote-tls"
BINARY = f"{qmailhome.HOME}/bin/{HELPER}"


def helpers():
    """{pid: parent} of those of this test process, which has a mount namespace of its own; the service too."""
    ours = os.readlink("/proc/self/ns/mnt")
    found = {}
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as f:
                stat = f.read()
            if not name.isdigit() or os.readlink(f"/proc/{name}/ns/mnt") != ours:
                continue
        except OSError:
            continue
        state, parent = stat.rsplit(")", 1)[1].split()[:2]
        if f"({HELPER[:15]})" in stat and state != "Z":
            found[int(name)] = int(parent)
    return found


def is_service(pid):
    """A session of it has the same words."""
    with open(f"/proc/{pid}/cmdline", encoding="latin-1") as f:
        serves = "serve=" in f.read()
    return serves and helpers().get(pid) not in helpers()


@pytest.fixture(autouse=True)
def sandbox(request):
    """For those of test_sandbox.py."""
    if request.function.__module__ == "test_sandbox":
        test_sandbox.skip_without_sandbox(request)


class Prestarted(Reuse):
    """
    A broker with its helper. No connection is kept, so each delivery makes its own, whatever others asked for.
    """

    def __init__(self, home):
        super().__init__(home, idle=0)
        self.service = None
        home.control("concurrencyhosts", ".nobody.invalid:1\n")

    def go(self):
        """Start it, and wait until it serves."""
        self.stop()
        self.serve()
        wait_until(self.serves)
        [self.service] = filter(is_service, helpers())

    def serves(self, said=None):
        """Whether a session is served: this one has a certificate that does not exist."""
        with socket.create_server(("127.0.0.1", 0)) as listener, self.client().socket as client, \
                socket.create_connection(listener.getsockname()) as connection:
            clear, status = socket.socketpair(), socket.socketpair()
            with clear[0], clear[1], status[0], status[1]:
                request = ["tls", "seconds=9", "security=0", "cert=/nonexistent", "key=/nonexistent", "wait=1",
                           "socket=0", "clear=0", "status=0", f"version={said or version(self.home.path)}"]
                socket.send_fds(client, [b"".join(word.encode() + b"\0" for word in request)],
                                [connection.fileno(), clear[1].fileno(), status[1].fileno()])
                status[1].close()
                status[0].settimeout(20)
                return status[0].recv(1000).startswith(b"L cannot read /nonexistent")

    def stop(self, how=signal.SIGTERM):
        """Also one that a delivery has started."""
        super().stop(how)
        wait_until(lambda: not any(map(is_service, helpers())))


@pytest.fixture
def home():
    """All deliveries are of the user of the broker, and have one."""
    home = qmailhome.Home(PROGRAMS)
    home.broker = Prestarted(home)
    start = home.start
    home.start = lambda *args, **how: start(*args, **{**USER, **how})
    home.broker.go()
    yield home
    home.broker.stop()
    for process in home.processes:
        process.kill()
    rspawn.reap()


@pytest.fixture
def plant(request, home, monkeypatch):
    """How a process ended that is not a child is not known; that it was stopped is told by what it could not do."""
    do = test_sandbox.plant.__wrapped__(request, home)
    monkeypatch.setattr(test_sandbox, "was_killed",
                        lambda deed, statuses, text: b"qmail-remote-tls: ended for an unknown reason\n" in text)

    def again(name):
        home.broker.stop()
        do(name)
        home.broker.go()
    return again


class Seen:
    """What is there while the server is about to answer this command."""

    def __init__(self, home, verb, what=lambda pid: None, reply="250 ok"):
        self.home, self.what, self.reply = home, what, reply
        self.script = {verb: Call(self)}
        self.pids = []

    def children(self):
        return [pid for pid, parent in helpers().items() if parent == self.home.broker.service]

    def __call__(self, session):
        # STARTTLS is sent before it is started.
        wait_until(self.children)
        self.pids = self.children()
        for pid in self.pids:
            self.what(pid)
        return self.reply


def stop(pid):
    os.kill(pid, signal.SIGSTOP)


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def nothing_left(home):
    """No process but the service, which has only what it began with."""
    wait_until(lambda: [p for p in helpers() if not is_service(p)] == [])
    fds = sorted(map(int, os.listdir(f"/proc/{home.broker.service}/fd")))
    assert fds[:3] == [0, 1, 2] and len(fds) == 4, fds


@pytest.mark.parametrize("strictness", [0, 2])
def test_served(site, home, strictness):
    seen = Seen(home, "MAIL")
    site.one(strictness, **seen.script)
    run = site.run()
    check(run, "r", accepted())
    assert tls_line(run) == (NOT_VERIFIED if strictness == 0 else verified("m1.example"))
    assert len(seen.pids) == 1
    nothing_left(home)


def test_served_with_implicit_tls(site, home):
    seen = Seen(home, "MAIL")
    site.want(2)
    home.route(":m1.example:465")
    site.dns.zone("m1.example A 192.0.2.1")
    server = site.smtp("192.0.2.1", port=465, tls=site.certs.context(site.leaf(names=["m1.example"])), implicit=True,
                       **seen.script)
    check(site.run(), "r", accepted())
    assert len(seen.pids) == 1 and len(server.mails) == 1


def test_served_with_the_files_that_the_delivery_names(site, home):
    """They are read by the session; a relative path begins at the qmail home."""
    seen = Seen(home, "MAIL")
    write(f"{home.path}/control/anchors.pem", site.certs.root.pem)
    server = site.one(2, context=asking(site, True), **seen.script)
    site.want(2, "control/anchors.pem")
    present(site)
    run = site.run()
    check(run, "r", accepted())
    assert tls_line(run) == verified("m1.example")
    assert server.session.tls["client"] == site.certs.client.der
    assert len(seen.pids) == 1


def test_a_session_is_as_confined_as_that_of_an_own_helper(site, home):
    def note(session):
        for pid in helpers():
            if not is_service(pid):
                fds = sorted(os.readlink(f"/proc/{pid}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{pid}/fd"))
                seen.append((*test_sandbox.proc(pid), fds))
        return "250 ok"

    seen = []
    site.one(2, MAIL=Call(note))
    site.want(2, anchors=site.certs.directory)
    assert site.run().letters == "rK"
    # Without a limit there is no need for a broker.
    home.broker.stop()
    home.control("concurrencyhosts", None)
    assert site.run().letters == "rK"
    served, own = seen
    for key in ("NoNewPrivs", "Seccomp", "Seccomp_filters", "Uid", "Gid", "SigIgn", "SigBlk", "CapEff"):
        assert served[0].get(key) == own[0].get(key), key
    assert served[1] == own[1]
    assert served[2] == own[2] == ["/dev/null"] * 3 + ["socket"] * 3


def test_a_session_has_little_memory_of_its_own(site, home):
    private = []

    def measure(pid):
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            private.append(sum(int(line.split()[1]) for line in f if line.startswith("Private_")))

    if "sanitizer" in home.kind:
        pytest.skip("a sanitizer has its own")
    site.one(0, **Seen(home, "MAIL", measure).script)
    check(site.run(), "r", accepted())
    assert 0 < private[0] < 600, private


# Whatever happens before the handshake, the delivery starts its own.

@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_the_service_is(site, home, how):
    server = site.one(2)
    os.kill(home.broker.service, signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
    for _ in range(2):
        run = site.run()
        check(run, "r", accepted())
        assert tls_line(run) == verified("m1.example")
    assert len(server.mails) == 2
    if how == "stopped":
        os.kill(home.broker.service, signal.SIGCONT)
        nothing_left(home)


@pytest.mark.parametrize("what", [kill, stop], ids=["killed", "stopped"])
def test_a_session_before_the_reply_to_starttls_is(site, home, what):
    seen = Seen(home, "STARTTLS", what, reply=("220 go", TLS))
    site.one(2, **seen.script)
    run = site.run()
    check(run, "r", accepted())
    assert tls_line(run) == verified("m1.example")
    assert len(seen.pids) == 1
    if what is stop:
        os.kill(seen.pids[0], signal.SIGCONT)
    nothing_left(home)


def test_a_session_ends_when_there_is_no_tls(site, home):
    """The server refuses: the connection is the delivery's, in clear text."""
    seen = Seen(home, "STARTTLS", reply="454 not now")
    server = site.one(0, **seen.script)
    check(site.run(), "r", accepted())
    assert len(seen.pids) == 1 and server.session.tls is None and len(server.mails) == 1
    nothing_left(home)


def test_a_session_that_is_killed_later_is_trouble_of_ours(site, home):
    """As with an own helper; the connection may have been used."""
    server = site.one(2, **Seen(home, "MAIL", kill).script)
    run = site.run()
    assert run.letters == "Z", run
    assert server.mails == [] and server.connections == 1
    nothing_left(home)


def test_a_delivery_that_is_killed_leaves_no_session(site, home):
    seen = Seen(home, "MAIL", lambda pid: kill(process.pid), reply="250 ok")
    site.one(0, **seen.script)
    process = home.start()
    process.finish()
    nothing_left(home)


def children(pid):
    """Zombies too."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return f.read().split()


def replaced_program(by=f"{PROGRAMS}/{HELPER}"):
    """As a package manager does, by a new file."""
    shutil.copy(by, f"{BINARY}.new")
    os.rename(f"{BINARY}.new", BINARY)


def test_a_service_that_ends_before_it_serves_leaves_nothing(home):
    home.broker.stop()
    replaced_program("/bin/false")
    home.broker.serve()
    wait_until(lambda: not children(home.broker.process.pid))
    assert home.broker.process.poll() is None


# Updates.

def library(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as f:
        return next(path for path in (line.split()[-1] for line in f) if "libcrypto" in path)


def replaced_library(pid):
    path = library(pid)
    copy = f"{qmailhome.HOME}/libcrypto"
    subprocess.run(["cp", path, copy], check=True)
    subprocess.run(["mount", "--bind", copy, path], check=True)
    return path


@pytest.mark.parametrize("what", ["program", "library"])
def test_ends_when_it_was_replaced(site, home, what):
    """A session goes on meanwhile."""
    def update(session):
        undo = None
        if what == "program":
            replaced_program()
        else:
            undo = replaced_library(home.broker.service)
        try:
            wait_until(lambda: home.broker.service not in helpers(), timeout=6)
            assert home.broker.process.wait(6) == 0
        finally:
            if undo:
                subprocess.run(["umount", undo], check=True)
        return "250 ok"

    server = site.one(0, MAIL=Call(update))
    check(site.run(), "r", accepted())
    assert len(server.mails) == 1


def test_another_version_is_not_served(home):
    """After an update a delivery may still find the service of the version before."""
    assert not home.broker.serves("0.0.1")
    assert home.broker.serves()
