"""The harness itself: what the tests lean on must be true."""

import os
import signal
import socket
import ssl
import subprocess
import threading

import dns.message
import dns.query
import pytest
from dns import flags
from dns.exception import Timeout

import rspawn
import world
from smtpd import CLOSE, RESET, TLS, Until
from tlssite import gone, programs


# What qmail-rspawn makes of a child's end: exit code 0 unless told.
RSPAWN = [
    ("normal success", b"r\0Kok\n\0", b"Kok\n"),
    ("deferral after r", b"r\0Zbad\n\0", b"Zbad\n"),
    ("failure after r", b"r\0Dbad\n\0", b"Dbad\n"),
    ("normal refusal", b"hbad\n\0Dgive\n\0", b"Dbad\ngive\n"),
    ("D overruled by s", b"slater\n\0Dgive\n\0", b"Zlater\ngive\n"),
    ("s and Z", b"slater\n\0Zgive\n\0", b"Zlater\ngive\n"),
    ("second text dropped", b"hbad\n\0Zdied\n\0", b"Dbad\n"),
    ("s and K", b"slater\n\0Kacc\n\0", b"Zlater\n"),
    ("h and K", b"hbad\n\0Kacc\n\0", b"Dbad\n"),
    ("only K", b"Kok\n\0", b"Kok\n"),
    ("only Z", b"Zno\n\0", b"Zno\n"),
    ("only D", b"Dno\n\0", b"Dno\n"),
    ("empty text", b"K\0", b"K"),
    ("message record missing", b"r\0", b"D"),
    ("h alone", b"hbad\n\0", b"Dbad\n"),
    ("s alone", b"slater\n\0", b"Zlater\n"),
    ("K without NUL", b"Kok", b"D"),
    ("Z without NUL", b"Zok", b"D"),
    ("second record without NUL", b"r\0Kok", b"Dok"),
    ("s, then D without NUL", b"s\0Dok", b"Zok"),
    ("unknown first letter", b"hello\0Kok\0", b"Dello"),
    ("two message records", b"Zfoo\0Kbar\0", b"Zfoobar"),
    ("second refusal invisible", b"r\0hbad\n\0Kok\n\0", b"K"),
    ("empty first record", b"\0Kok\0", b"KKok"),
    ("stderr pollutes", b"oops\nr\0Kok\0", b"Kops\nrok"),
    ("no output", b"", b"Zqmail-remote produced no output.\n"),
]


@pytest.mark.parametrize("report, sent", [r[1:] for r in RSPAWN], ids=[r[0].replace(" ", "-") for r in RSPAWN])
def test_reports_are_read_as_qmail_rspawn_does(report, sent):
    assert rspawn.rspawn_result(report, 0) == sent


@pytest.mark.parametrize("status, sent", [
    (9, b"Zqmail-remote crashed.\n"),
    (111 << 8, b"ZUnable to run qmail-remote.\n"),
    (1 << 8, b"DUnable to run qmail-remote.\n"),
    (100 << 8, b"DUnable to run qmail-remote.\n"),
    (127 << 8, b"DUnable to run qmail-remote.\n"),
])
def test_exit_statuses_are_read_as_qmail_rspawn_does(status, sent):
    assert rspawn.rspawn_result(b"r\0Kok\n\0", status) == sent


def test_log_lines_are_written_as_qmail_send_does():
    text = (b"D192.0.2.1 does not like recipient.\nRemote host said: 550 no such user\nGiving up on 192.0.2.1.\n")
    assert rspawn.send_log_line(text, 12) == (
        "delivery 12: failure: 192.0.2.1_does_not_like_recipient./"
        "Remote_host_said:_550_no_such_user/Giving_up_on_192.0.2.1./")


@pytest.mark.parametrize("report", [
    b"", b"Kok\n", b"K\0", b"Kok\0", b"r\0", b"rx\0Kok\n\0", b"Kok\n\0Kok\n\0", b"Kok\n\0r\0", b"r\0Kok\n",
    b"\0Kok\n\0", b"xok\n\0Kok\n\0", b"Kok\n\0x", b"oops\nr\0Kok\n\0",
])
def test_a_malformed_report_is_refused(report):
    with pytest.raises(rspawn.Malformed):
        rspawn.decode(report)


def test_a_report_is_decoded():
    records = rspawn.decode(b"hno\nwhy\n\0r\0slater\n\0Kok\n\0")
    assert records == [("h", b"no\nwhy\n"), ("r", b""), ("s", b"later\n"), ("K", b"ok\n")]
    assert rspawn.decode(b"ZRemote host said: " + b"x" * 5000 + b"\0")[0].letter == "Z"


def _script(home, text):
    path = f"{home.path}/bin/script"
    with open(path, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return path


def test_a_grandchild_that_holds_the_report_pipe_is_noticed(home):
    run = home.run(program=_script(home, "printf 'Kx\\n\\0'; sleep 1 & exit 0\n"), valid=False)
    assert run.report == b"Kx\n\0" and run.held > 0.9 and run.wall < 0.9


def test_a_program_is_started_as_qmail_rspawn_does(home):
    path = f"{home.path}/bin/script.py"
    with open(path, "w", encoding="ascii") as f:
        f.write("""#!/usr/bin/python3
import os, signal, sys
mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
with open("/proc/self/status") as f:
    ignored = int([l for l in f if l.startswith("SigIgn")][0].split()[1], 16)
same = os.fstat(1).st_ino == os.fstat(2).st_ino
old = os.umask(0)
sys.stdout.write("K%s %s %s %s %s %o %s\\n\\0" % (os.getcwd(), os.read(0, 9), same,
    [int(s) for s in mask], bool(ignored & 1 << (signal.SIGPIPE - 1)), old, os.listdir("/proc/self/fd")))
""")
    os.chmod(path, 0o755)
    run = home.run(program=path, message=b"the message")
    chld = int(signal.SIGCHLD)
    assert run.message.text.decode() == (
        f"{home.path}/queue/mess b'the messa' True [{chld}] True 77 ['0', '1', '2', '3']\n")


@pytest.mark.parametrize("trouble", ["missing", "mode", "interpreter"])
def test_a_program_that_cannot_run_is_a_bounce_for_qmail_rspawn(home, trouble):
    path = f"{home.path}/bin/script"
    if trouble != "missing":
        with open(path, "w", encoding="ascii") as f:
            f.write("#!/nonexistent\n" if trouble == "interpreter" else "#!/bin/sh\n")
        os.chmod(path, 0o755 if trouble == "interpreter" else 0o644)
    run = home.run(program=path, valid=False)
    assert run.rspawn == b"DUnable to run qmail-remote.\n"


def test_a_process_that_is_left_over_is_found(home):
    """By what tests ask after a delivery: also the child of one that has ended."""
    process = home.start(program=_script(home, "sleep 60 >&- 2>&- & exit 0\n"))
    process.finish()
    pid, = programs("sleep")
    with pytest.raises(AssertionError, match="still there"):
        gone("sleep", timeout=0.1)
    os.kill(pid, signal.SIGKILL)
    gone("sleep")


def test_what_is_left_over_is_killed_and_nobody_else(home, monkeypatch):
    """When the last process of a group has ended, its number is free, and the kernel gives it to somebody else."""
    process = home.start(program=_script(home, "sleep 60 >&- 2>&- & exit 0\n"))
    process.finish()
    process.kill()
    assert os.WTERMSIG(os.waitpid(-process.pid, 0)[1]) == signal.SIGKILL
    killed = []
    monkeypatch.setattr(os, "killpg", lambda *whom: killed.append(whom))
    process.kill()
    assert killed == []


def test_a_program_of_another_name_is_started(home, relay):
    """QMAILREMOTE gives the program another path, which is then its argv[0]."""
    server = relay()
    os.symlink(f"{home.path}/bin/qmail-remote", f"{home.path}/bin/alt")
    run = home.run(program=f"{home.path}/bin/alt", argv0=f"{home.path}/bin/alt")
    assert run.letters == "rK" and len(server.mails) == 1


def test_a_program_that_takes_too_long_is_killed(home):
    process = home.start(program=_script(home, "exec sleep 60\n"))
    with pytest.raises(AssertionError, match="still running"):
        process.finish(timeout=0.3)


# The world.

def _connect(address, timeout=0.3):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.settimeout(timeout)
    try:
        s.connect((address, 25))
        return "connected"
    except socket.timeout:
        return "timeout"
    except OSError as e:
        return os.strerror(e.errno)
    finally:
        s.close()


@pytest.mark.parametrize("address, how", [
    ("192.0.2.200", "Connection refused"),
    ("2001:db8::200", "Connection refused"),
    (world.HOLE4, "timeout"),
    (world.HOLE6, "timeout"),
    (world.UNREACHABLE4, "No route to host"),
    (world.UNREACHABLE6, "No route to host"),
    (world.NOROUTE4, "Network is unreachable"),
])
def test_each_address_of_the_world_behaves_as_described(address, how):
    assert _connect(address) == how


@pytest.mark.parametrize("address", ["192.0.2.1", "198.51.100.1", "2001:db8::1", "127.0.0.2", "127.0.0.1", "::1"])
def test_servers_can_be_anywhere(smtp, address):
    smtp(address)
    assert _connect(address, 5) == "connected"


def test_the_world_has_these_addresses_of_its_own():
    out = subprocess.run(["ip", "-o", "addr"], stdout=subprocess.PIPE, check=True, text=True,
                         env={"PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"}).stdout
    own = sorted(line.split()[3].split("/")[0] for line in out.splitlines())
    assert own == sorted(["127.0.0.1", "::1", world.OWN4, world.OWN6])


# The servers.

def _dialogue(server, *sends):
    """Say these lines one by one, each after a reply; returns all that was received."""
    got = b""
    with socket.create_connection((server.address, server.port), 5) as s:
        f = s.makefile("rb")
        try:
            for line in (b"",) + sends:
                s.sendall(line)
                while True:
                    reply = f.readline()
                    got += reply
                    if reply[3:4] != b"-":
                        break
        except ConnectionError:
            got += b"RST"
    return got


def test_the_smtp_server_is_polite_without_a_script(smtp):
    server = smtp()
    got = _dialogue(server, b"EHLO x\r\n", b"MAIL FROM:<a>\r\n", b"RCPT TO:<b>\r\n", b"DATA\r\n",
                    b"a\r\n..b\r\n.\r\n", b"QUIT\r\n")
    assert got == b"220 hi\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 got it\r\n221 bye\r\n"
    assert server.mail.sender == b"<a>" and server.mail.recipients == [b"<b>"]
    assert server.mail.wire == b"a\r\n..b\r\n.\r\n" and server.mail.text == b"a\n.b\n"
    assert server.session.verbs == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    assert server.session.end == "fin"


def test_the_smtp_server_takes_groups(smtp):
    server = smtp()
    with socket.create_connection(("192.0.2.1", 25), 5) as s:
        s.sendall(b"EHLO x\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nDATA\r\n")
        s.sendall(b"x\r\n.\r")
        s.sendall(b"\nQUIT\r\n")
        s.shutdown(socket.SHUT_WR)
        assert s.makefile("rb").read() == (
            b"220 hi\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 got it\r\n221 bye\r\n")
    assert server.mail.recipients == [b"<b>", b"<c>"]
    assert server.mail.wire == b"x\r\n.\r\n"


def test_the_smtp_server_plays_its_script(smtp):
    gate = threading.Event()
    gate.set()
    server = smtp(MAIL=["450 no", "250-a\n250 b"], RCPT=(Until(gate), b"250 x\n"), DATA=("421 bye", CLOSE))
    got = _dialogue(server, b"MAIL FROM:<a>\r\n", b"MAIL FROM:<a>\r\n", b"RCPT TO:<b>\r\n", b"DATA\r\n")
    assert got == b"220 hi\r\n450 no\r\n250-a\r\n250 b\r\n250 x\n421 bye\r\n"
    assert server.session.end == "server fin"


def test_the_smtp_server_resets(smtp):
    server = smtp(MAIL=RESET)
    assert _dialogue(server, b"MAIL FROM:<a>\r\n") == b"220 hi\r\nRST"


def test_the_smtp_server_does_tls(smtp, certs):
    server = smtp(tls=certs.context("good"))
    context = ssl.create_default_context(cafile=certs.bundle)
    with socket.create_connection(("192.0.2.1", 25), 5) as s:
        for line in (b"EHLO x\r\n", b"STARTTLS\r\n"):
            s.recv(1000)
            s.sendall(line)
            if line[:1] == b"E":
                assert s.recv(1000) == b"250-hi\r\n250 STARTTLS\r\n"
                s.sendall(b"NOOP\r\n")
        assert s.recv(1000) == b"220 go\r\n"
        with context.wrap_socket(s, server_hostname="m1.example") as t:
            t.sendall(b"EHLO y\r\n")
            assert t.recv(1000) == b"250 ok\r\n"
    session = server.session
    assert session.log == b"EHLO x\r\nNOOP\r\nSTARTTLS\r\n"
    assert bytes(session.secret) == b"EHLO y\r\n"
    assert session.tls["sni"] == "m1.example" and session.tls["version"] == "TLSv1.3"


@pytest.mark.parametrize("variant, trouble", [
    ("good", None), ("wildcard", None), ("expired", "expired"), ("early", "not yet valid"),
    ("wrong-name", "Hostname mismatch"), ("cn-only", "Hostname mismatch"),
    ("no-intermediate", "unable to get local issuer"), ("untrusted", "unable to get local issuer"),
    ("self-signed", "self.signed"),
])
def test_certificates_verify_or_fail_as_their_variant_says(smtp, certs, variant, trouble):
    name = "m1.mail.example"
    smtp(tls=certs.context(certs.leaf(variant, name)), greeting=TLS)
    context = ssl.create_default_context(capath=certs.directory)
    context.hostname_checks_common_name = False
    with socket.create_connection(("192.0.2.1", 25), 5) as s:
        if trouble:
            with pytest.raises(ssl.SSLCertVerificationError, match=trouble):
                context.wrap_socket(s, server_hostname=name)
        else:
            context.wrap_socket(s, server_hostname=name).close()


def _ask(name, kind, timeout=2, **how):
    return dns.query.udp(dns.message.make_query(name, kind, **how), "127.0.0.1", timeout=timeout)


def test_the_dns_server_answers_from_its_zone(dns):
    dns.zone("""
        dst.example  MX 10 m1.example.
        m1.example   A 192.0.2.1
        c.example    CNAME m1.example.
    """)
    dns.zone("\n".join(f"big.example A 192.0.2.{n}" for n in range(1, 60)))
    assert _ask("dst.example", "MX").answer[0].to_text() == "dst.example. 60 IN MX 10 m1.example."
    assert _ask("none.example", "MX").rcode() == 3
    assert _ask("dst.example", "A").rcode() == 0 and not _ask("dst.example", "A").answer
    assert len(_ask("c.example", "A").answer) == 2
    assert _ask("big.example", "A").flags & 0x0200
    assert len(_ask("big.example", "A", payload=4096).answer[0]) == 59
    dns.rule("dst.example", "MX", rcode="SERVFAIL")
    assert _ask("dst.example", "MX").rcode() == 2
    dns.rule("dst.example", drop=True)
    with pytest.raises(Timeout):
        _ask("dst.example", "A", timeout=0.1)
    assert ("dst.example", "MX") in dns.questions and dns.asked("big.example") == ["A"]


def test_the_dns_server_says_what_is_signed(dns):
    """AD is set if all names of an answer are; it is no part of a failure."""
    dns.zone("""
        dst.example             MX 10 m1.example.
        m1.example              A 192.0.2.1
        c.example               CNAME m1.example.
        _25._tcp.m1.example     TLSA 3 1 1 abcd
        _26._tcp.m1.example     TLSA \\# 4 030101ab
    """)
    dns.sign("m1.example", "c.example")
    dns.rule("_24._tcp.m1.example", rcode="SERVFAIL")
    dns.rule("_26._tcp.m1.example", ad=False)
    secure = {(name, kind): bool(_ask(name, kind).flags & flags.AD) for name, kind in (
        ("dst.example", "MX"), ("m1.example", "A"), ("m1.example", "AAAA"), ("c.example", "A"), ("c.example", "CNAME"),
        ("_24._tcp.m1.example", "TLSA"), ("_25._tcp.m1.example", "TLSA"), ("_26._tcp.m1.example", "TLSA"),
        ("_27._tcp.m1.example", "TLSA"))}
    assert [k for k, v in secure.items() if not v] == [
        ("dst.example", "MX"), ("_24._tcp.m1.example", "TLSA"), ("_26._tcp.m1.example", "TLSA")], secure
    dns.reset()
    dns.zone("c.example CNAME m1.example.\nm1.example A 192.0.2.1")
    dns.sign("c.example")
    assert not _ask("c.example", "A").flags & flags.AD and _ask("c.example", "CNAME").flags & flags.AD
