"""MTA-STS policies as qmail-remote-sts fetches and stores them: catalogue G, as far as this program shows it."""

import fcntl
import os
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

import httpsd
import pki
import rspawn
import world
from httpsd import CUT, DEAF, Drip, Until, chunked, reply
from tlssite import gone, programs

DOMAIN, HOST = "dst.example", "mta-sts.dst.example"
ONE, TWO, SIX = "192.0.2.1", "192.0.2.2", "2001:db8::1"
STATE = "/srv/qmail/run/qmail-remote"
ENTRY, NEW = f"{STATE}/sts-{DOMAIN}", f"{STATE}/sts.new-{DOMAIN}"
POLICY = "version: STSv1\nmode: enforce\nmx: *.dst.example\nmx: mx.other.example\nmax_age: 604800\n"
GOOD = f"{DOMAIN}: enforce, expires in 604800 seconds, mx *.dst.example, mx mx.other.example\n"
FETCH, INVALID, WEBPKI, LOCAL = "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid", "local"

REQUEST = (b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n"
           b"Host: mta-sts.dst.example\r\n"
           b"User-Agent: qmail-remote/%s\r\n"
           b"Accept: text/plain\r\n"
           b"Connection: close\r\n"
           b"\r\n")


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


class Entry:
    """What is in a file, by the keys of its lines."""

    def __init__(self, text):
        lines = text.split("\n")
        assert lines[0] == "qmail-remote-sts 1" and lines[-2:] == ["end", ""], text
        self.keys = [line.partition(" ")[0] for line in lines[1:-2]]
        self.lines = [tuple(line.partition(" ")[::2]) for line in lines[1:-2]]

    def __getitem__(self, key):
        found = [value for k, value in self.lines if k == key]
        return found[0] if len(found) == 1 else found


def entry(path=ENTRY):
    return Entry(read(path))


def age(seconds, path=ENTRY, **changes):
    """Make an entry older."""
    lines = []
    for line in read(path).split("\n"):
        key, _, value = line.partition(" ")
        if key in ("fetched", "tried", "used"):
            first, blank, rest = value.partition(" ")
            value = f"{int(first) - seconds}{blank}{rest}"
        if key in changes:
            value = changes[key]
        lines.append(f"{key} {value}" if value else key)
    write(path, "\n".join(lines))


def wait_for(is_so, timeout=20):
    end = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


class Run:
    def __init__(self, done):
        self.code, self.said = done.exit_code, done.report.decode()


class Site:
    """A domain with a policy, and the program."""

    def __init__(self, home, dns, certs):
        self.home, self.dns, self.certs = home, dns, certs
        self.servers = []
        home.control("trustanchors", f"{certs.bundle}\n")
        self.program = f"{home.path}/bin/qmail-remote-sts"

    def zone(self, *addresses, record="v=STSv1; id=20261129;"):
        if record is not None:
            self.dns.zone(f'_mta-sts.{DOMAIN} TXT "{record}"')
        for address in addresses or (ONE,):
            self.dns.zone(f"{HOST} {'AAAA' if ':' in address else 'A'} {address}")

    def server(self, *script, address=ONE, leaf="good", **how):
        tls = self.certs.context(self.certs.leaf(leaf, HOST) if isinstance(leaf, str) else leaf, **how)
        server = httpsd.Server(address, tls=tls, script=script or [reply(POLICY)])
        self.servers.append(server)
        return server

    def many(self, names, *script):
        """One server for the policies of many domains."""
        for name in names:
            self.dns.zone(f'_mta-sts.{name} TXT "v=STSv1; id=1;"\nmta-sts.{name} A {ONE}')
        chain = [self.certs.intermediate]
        return self.server(*script, leaf=pki.make("many", chain[0], names=[f"mta-sts.{n}" for n in names], chain=chain))

    def start(self, *words, **how):
        words = words or (DOMAIN,)
        return self.home.start(args=list(words), program=self.program, argv0="qmail-remote-sts", message=b"", **how)

    def run(self, *words, timeout=30, **how):
        return Run(self.start(*words, **how).finish(timeout))

    def fetched(self, *words, **how):
        run = self.run(*words, **how)
        assert (run.code, run.said) == (0, GOOD)

    def fails(self, cause, reason, kept=False):
        """It says why, and notes it."""
        run = self.run()
        tail = "; the last policy has not expired" if kept else ""
        assert (run.code, run.said) == (1, f"{DOMAIN}: {reason} ({cause}){tail}\n")
        found = entry()
        assert found["failed"] == f"{cause} {reason}" and not os.path.exists(NEW)
        assert ("fetched" in found.keys) == kept


@pytest.fixture
def site(home, dns, certs):
    site = Site(home, dns, certs)
    yield site
    for server in site.servers:
        server.stop()


@pytest.fixture
def host(site):
    """host(*script): the policy host, with its records in the DNS."""
    def make(*script, **how):
        site.zone()
        return site.server(*script, **how)
    return make


# What is fetched, and how it is asked for and kept.

def test_a_policy_is_fetched_and_kept(site, host):
    server = host()
    before = int(time.time())
    site.fetched()
    version = subprocess.run([site.program, "--version"], check=True, stdout=subprocess.PIPE).stdout.split()[1]
    assert server.requests == [REQUEST % version] and server.sessions[0].name == HOST
    when = entry()["fetched"]
    assert before <= int(when) <= time.time()
    assert read(ENTRY) == (
        f"qmail-remote-sts 1\ndomain {DOMAIN}\nid 20261129\nfetched {when}\ntried {when} 0\nused {when}\n"
        "max-age 604800\nmode enforce\nmx *.dst.example\nmx mx.other.example\n"
        "text version: STSv1\ntext mode: enforce\ntext mx: *.dst.example\ntext mx: mx.other.example\n"
        "text max_age: 604800\nend\n")
    assert os.stat(ENTRY).st_mode & 0o777 == 0o640
    assert {n for n in os.listdir(STATE) if not n.startswith("trustanchors")} == {f"sts-{DOMAIN}", "sts.lock.0"}
    gone()


@pytest.mark.parametrize("script", [
    [chunked(POLICY.encode())],
    [chunked(*(POLICY[n:n + 7].encode() for n in range(0, len(POLICY), 7)))],
    [chunked(POLICY.encode(), end=b"0\r\nTrailer: x\r\n\r\n")],
    [reply(POLICY, length=False)],
    [reply(POLICY), DEAF],
    [reply(POLICY) + b"HTTP/1.1 404 Not Found\r\n\r\n"],
    [Drip(reply(POLICY), 0.001)],
    [b"HTTP/1.1 100 Continue\r\n\r\n", reply(POLICY)],
    [reply(POLICY, kind="Text/Plain; charset=utf-8")],
    [reply(POLICY.replace("\n", "\r\n"))],
    [reply("\ufeff" + POLICY + "unknown: x\nmode: none\njunk\n")],
    [reply(POLICY + "#" * (65536 - len(POLICY)))],
], ids=["one-chunk", "chunks", "trailer", "to-the-end", "left-open", "more-follows", "bytes", "interim", "parameters", "crlf",
        "bom-and-junk", "64-kB"])
def test_replies_that_are_policies(site, host, script):
    host(*script)
    site.fetched()
    gone()


@pytest.mark.parametrize("versions", [{"maximum": "TLSv1_2"}, {"minimum": "TLSv1_3"}], ids=["1.2", "1.3"])
def test_versions_of_tls(site, host, versions):
    host(**{k: ssl.TLSVersion[v] for k, v in versions.items()})
    site.fetched()


def test_old_versions_of_tls_are_refused(site, host):
    host(minimum=ssl.TLSVersion.TLSv1, maximum=ssl.TLSVersion.TLSv1_1)
    assert site.run().code == 1
    assert entry()["failed"].startswith(f"{FETCH} TLS: ")


def test_modes(site, host):
    server = host(reply("version: STSv1\nmode: none\nmax_age: 99999999999\n"))
    assert site.run().code == 1
    server.script = [reply("version: STSv1\nmode: none\nmax_age: 9999999999\n")]
    assert site.run().said == f"{DOMAIN}: none, expires in 31557600 seconds\n"
    server.script = [reply("version: STSv1\nmode: testing\nmax_age: 1\nmx: a.example\n")]
    assert site.run().said == f"{DOMAIN}: testing, expires in 1 seconds, mx a.example\n"
    assert entry()["mode"] == "testing" and entry()["id"] == "20261129"


def test_several_domains_at_once(site, host):
    host()
    run = site.run("192.0.2.1", "none.example", "DST.example.")
    assert run.code == 1
    assert run.said == ("192.0.2.1: it cannot have a policy\nnone.example: there is no valid MTA-STS record\n" + GOOD)
    assert not os.path.exists(f"{STATE}/sts-none.example")


def test_a_domain_in_punycode(site):
    """Not in UTF-8: whoever has such a domain asks for its A-label."""
    name = "xn--bcher-kva.example"
    site.dns.zone(f'_mta-sts.{name} TXT "v=STSv1; id=1;"\nmta-sts.{name} A {ONE}')
    site.server(leaf=site.certs.leaf("good", f"mta-sts.{name}"))
    assert site.run(name).code == 0
    assert entry(f"{STATE}/sts-{name}")["domain"] == name
    assert site.run("b\u00fccher.example").code == 1


# What is no policy.

NOT_HTTP, NOT_TEXT = "the reply is not of HTTP/1", "the reply is not text/plain"
CUT_OFF, TOO_LONG, LONG_HEADER = "the reply was cut off", "the reply is too long", "the reply has too long a header"
NO_VERSION = "the policy has no version STSv1"

NO_POLICIES = {
    "301": (FETCH, "the host replied 301", reply("", "301 Moved", Location="https://mta-sts.dst.example/x")),
    "302": (FETCH, "the host replied 302", reply("", "302 Found", Location="/x")),
    "404": (FETCH, "the host replied 404", reply(POLICY, "404 Not Found")),
    "500": (FETCH, "the host replied 500", reply(POLICY, "500 x")),
    "206": (FETCH, "the host replied 206", reply(POLICY, "206 Partial Content")),
    "type-html": (FETCH, NOT_TEXT, reply(POLICY, kind="text/html")),
    "no-type": (FETCH, NOT_TEXT, reply(POLICY, kind=None)),
    "gzip": (FETCH, "the reply has a Content-Encoding", reply(POLICY, Content_Encoding="gzip")),
    "http-0.9": (FETCH, NOT_HTTP, POLICY.encode()),
    "http-2": (FETCH, NOT_HTTP, b"HTTP/2 200 OK\r\n\r\n"),
    "short-length": (FETCH, CUT_OFF, reply(POLICY)[:-1]),
    "no-last-chunk": (FETCH, CUT_OFF, chunked(POLICY.encode(), end=b"")),
    "no-end-of-chunks": (FETCH, CUT_OFF, chunked(POLICY.encode(), end=b"0\r\n")),
    "cut-to-the-end": (FETCH, CUT_OFF, reply(POLICY, length=False), CUT),
    "cut-with-length": (FETCH, CUT_OFF, reply(POLICY)[:-1], CUT),
    "cut-at-once": (FETCH, CUT_OFF, CUT),
    "nothing": (FETCH, CUT_OFF),
    "64-kB-and-1": (FETCH, TOO_LONG, reply(POLICY + "#" * (65537 - len(POLICY)))),
    "endless": (FETCH, TOO_LONG, reply(POLICY, length=False), b"#" * 70000, DEAF),
    "endless-chunks": (FETCH, TOO_LONG, chunked(*[b"#" * 1000] * 70), DEAF),
    "long-line": (FETCH, LONG_HEADER, b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000000),
    "long-header": (FETCH, LONG_HEADER, b"HTTP/1.1 200 OK\r\n", b"X: x\r\n" * 170000),
    "continue": (FETCH, LONG_HEADER, b"HTTP/1.1 100 Continue\r\n\r\n" * 100000),
    "html": (INVALID, NO_VERSION, reply("<html></html>")),
    "empty": (INVALID, NO_VERSION, reply("")),
    "version": (INVALID, NO_VERSION, reply(POLICY.replace("STSv1", "STSv2"))),
    "mode": (INVALID, "the policy has no valid mode", reply(POLICY.replace("enforce", "doubt"))),
    "no-max-age": (INVALID, "the policy has no valid max_age", reply(POLICY.replace("max_age", "maxage"))),
    "negative-age": (INVALID, "the policy has no valid max_age", reply(POLICY.replace("604800", "-1"))),
    "nmx": (INVALID, "the policy has no valid mx", reply(POLICY.replace("mx:", "nmx:"))),
}


@pytest.mark.parametrize("name", NO_POLICIES)
def test_replies_that_are_none(site, host, name):
    cause, reason, *script = NO_POLICIES[name]
    server = host()
    server.script = script
    site.fails(cause, reason)
    gone()
    # An older policy stays.
    os.unlink(ENTRY)
    server.script = [reply(POLICY)]
    site.fetched()
    server.script = script
    site.fails(cause, reason, kept=True)
    assert entry()["mx"] == ["*.dst.example", "mx.other.example"] and entry()["tried"].endswith(" 1")
    assert len(server.requests) == 3


@pytest.mark.parametrize("leaf", ["expired", "early", "wrong-name", "cn-only", "address", "untrusted", "self-signed",
                                  "no-intermediate"])
def test_certificates_that_do_not_verify(site, host, certs, leaf):
    server = host(leaf=certs.leaf(leaf, HOST, addresses=(ONE,)) if leaf == "address" else leaf)
    assert site.run().code == 1
    assert entry()["failed"].startswith(f"{WEBPKI} TLS: certificate")
    assert server.requests == []


def test_wildcard_certificate(site, host):
    host(leaf="wildcard")
    site.fetched()


def test_no_tls_and_nobody_there(site):
    site.zone(ONE, "198.18.0.1")
    listener = socket.create_server((ONE, 443))

    def serve():
        sock, _ = listener.accept()
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        sock.close()

    threading.Thread(target=serve, daemon=True).start()
    run = site.run()
    listener.close()
    assert run.said == f"{DOMAIN}: TLS: the server does not speak TLS ({FETCH})\n"
    assert site.run().said.startswith(f"{DOMAIN}: {HOST} ({ONE}): ")


# What the DNS says.

@pytest.mark.parametrize("records", [
    [], ["v=STSv1; id=1;", "v=STSv1; id=2;"], ["id=1; v=STSv1"], ["v=STSv12; id=1"], ["v=STSv1; id="],
    [f"v=STSv1; id={'x' * 33}"], ["v=STSv1; id=a-b"], ["v=STSv1;; id=1"], ["v=spf1 -all"]])
def test_records_that_are_none(site, records):
    site.zone(record=None)
    for record in records:
        site.dns.zone(f'_mta-sts.{DOMAIN} TXT "{record}"')
    server = site.server()
    run = site.run()
    assert (run.code, run.said) == (1, f"{DOMAIN}: there is no valid MTA-STS record\n")
    assert server.sessions == [] and not os.path.exists(ENTRY) and not os.path.exists(NEW)


def test_records_among_others_in_pieces_and_behind_an_alias(site):
    site.zone(record=None)
    site.dns.zone(f'_mta-sts.{DOMAIN} CNAME sts.other.example.\n'
                  'sts.other.example TXT "v=spf1 -all"\nsts.other.example TXT "v=STS" "v1; id" "=7;"')
    site.server()
    site.fetched()
    assert entry()["id"] == "7"


def test_policy_host_is_an_alias(site):
    """The certificate must be valid for the name that was asked for."""
    site.dns.zone(f'_mta-sts.{DOMAIN} TXT "v=STSv1; id=1;"\n{HOST} CNAME policies.example.\npolicies.example A {ONE}')
    server = site.server()
    site.fetched()
    server.stop()
    site.servers.clear()
    site.server(leaf=site.certs.leaf("good", "policies.example"))
    assert site.run().code == 1 and entry()["failed"].startswith(WEBPKI)


def test_no_answer_for_the_record(site, host):
    site.dns.rule(f"_mta-sts.{DOMAIN}", rcode="SERVFAIL")
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    server = host()
    run = site.run()
    assert (run.code, run.said) == (1, f"{DOMAIN}: no answer for the MTA-STS record\n")
    assert server.sessions == [] and not os.path.exists(ENTRY)


@pytest.mark.parametrize("rcode, reason", [("NXDOMAIN", f"{HOST} has no address"),
                                           ("SERVFAIL", f"no answer for the addresses of {HOST}")])
def test_no_address(site, rcode, reason):
    site.zone()
    site.dns.rule(HOST, rcode=rcode)
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    site.fails(FETCH, reason)


@pytest.mark.parametrize("address", ["127.0.0.1", world.OWN4, world.OWN6, "::1", "192.0.2.9", "::ffff:127.0.0.1"])
def test_addresses_of_local_networks_are_refused(site, home, address):
    """Loopback, private, ours; the other ones of the host are used."""
    home.control("ipme", "192.0.2.9\n")
    site.zone(address)
    server = site.server(address=address.replace("::ffff:", ""))
    site.fails(FETCH, f"{HOST} has only addresses of local networks")
    site.dns.zone(f"{HOST} A {TWO}\n{HOST} AAAA {SIX}")
    site.server(address=TWO)
    site.fetched()
    assert server.sessions == []


def test_addresses_are_tried_until_a_certificate_verifies(site):
    site.zone(ONE, TWO, SIX)
    site.server(address=ONE)
    bad = [site.server(address=a, leaf="expired") for a in (TWO, SIX)]
    site.fetched()
    assert all(not s.requests for s in bad)


# What is missing on this side.

def test_without_trust_anchors(site, host, home):
    server = host()
    home.control("trustanchors", "\n")
    site.fails(LOCAL, "control/trustanchors is missing or empty")
    path = home.control("trustanchors", None)
    site.fails(LOCAL, "control/trustanchors is missing or empty")
    os.mkdir(path)
    site.fails(LOCAL, "control/trustanchors: Is a directory")
    os.rmdir(path)
    home.control("trustanchors", "/srv/nowhere.pem\n")
    assert site.run().code == 1
    assert entry()["failed"].startswith(f"{LOCAL} TLS: ") and server.requests == []


def test_with_nonsense_in_ipme(site, host, home):
    host()
    home.control("ipme", "nonsense\n")
    site.fails(LOCAL, "control/ipme: not an address: nonsense")


def test_without_the_helper(site, host, home):
    host()
    os.unlink(f"{home.path}/bin/qmail-remote-tls")
    assert site.run().code == 1
    assert entry()["failed"].startswith(f"{LOCAL} TLS: ")


def test_without_a_state_directory(site, host):
    host()
    os.rename(STATE, f"{STATE}.away")
    run = site.run()
    assert (run.code, run.said) == (111, "qmail-remote-sts: unable to become the owner of /srv/qmail/run/qmail-remote: "
                                    "No such file or directory\n")


@pytest.mark.parametrize("words", [[], ["-x"], ["-a", DOMAIN], ["domain=a"], [f"domain={DOMAIN}", "id=1", "out=1"],
                                   [f"domain={DOMAIN}", "id=1", "more=1"]])
def test_wrong_arguments(site, words):
    process = site.home.start(args=words, program=site.program, message=b"")
    run = Run(process.finish())
    assert run.code == 3 and run.said.startswith("usage: ")


# The file of a policy, and fetches at the same time.

@pytest.mark.parametrize("text", ["", "garbage", "\0" * 1000, "qmail-remote-sts 1\ndomain dst.example\n", "x" * 1000000])
def test_damaged_file_is_replaced(site, host, text):
    server = host(reply(POLICY, "404 x"))
    write(ENTRY, text)
    site.fails(FETCH, "the host replied 404")
    write(ENTRY, text)
    server.script = [reply(POLICY)]
    site.fetched()


def test_links_and_other_files_are_not_used(site, host):
    host()
    write(f"{STATE}/other", "mine")
    for path in (ENTRY, NEW):
        os.symlink(f"{STATE}/other", path)
        run = site.run()
        assert run.code == 0
        assert read(f"{STATE}/other") == "mine"
        for p in (ENTRY, NEW):
            if os.path.lexists(p):
                os.unlink(p)
    os.mkdir(ENTRY)
    assert f"; unable to write to {STATE}: " in site.run().said
    assert not os.path.exists(NEW)
    os.rmdir(ENTRY)


def test_one_fetch_at_a_time_for_a_domain(site, host):
    gate = threading.Event()
    server = host(Until(gate), reply(POLICY))
    first = site.start()
    wait_for(lambda: server.requests)
    run = site.run()
    assert (run.code, run.said) == (1, f"{DOMAIN}: it is being fetched\n")
    gate.set()
    assert first.finish().exit_code == 0 and len(server.requests) == 1


def test_eight_fetches_at_a_time(site):
    gate = threading.Event()
    names = [f"d{n}.example" for n in range(9)]
    server = site.many(names, Until(gate), reply(POLICY))
    started = [site.start(name) for name in names[:8]]
    wait_for(lambda: len(server.requests) == 8)
    run = site.run(names[8])
    assert (run.code, run.said) == (1, "d8.example: too many policies are being fetched\n")
    assert not os.path.exists(f"{STATE}/sts.new-d8.example")
    gate.set()
    assert [process.finish().exit_code for process in started] == [0] * 8


def test_killed_at_any_moment(site, host):
    """The file of a policy is the old one or the new one, and the next fetch works."""
    if "sanitizer" in site.home.kind:
        pytest.skip("sanitizers do not work below strace")
    server = host(reply(POLICY.replace("604800", "1111")))
    calls = "ftruncate,fchmod,lseek,write,fsync,rename,renameat,unlink,flock,close"
    states, n = set(), 0
    while True:
        n += 1
        if os.path.exists(ENTRY):
            os.unlink(ENTRY)
        server.script = [reply(POLICY.replace("604800", "1111"))]
        site.run()
        assert entry()["max-age"] == "1111"
        server.script = [reply(POLICY)]
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", f"--inject={calls}:signal=KILL:when={n}", site.program, DOMAIN],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
        states.add(entry()["max-age"])
        assert entry()["max-age"] in ("1111", "604800")
        rspawn.reap()
        gone(timeout=12)
        if done.returncode == 0 and done.stdout.decode() == GOOD:
            break
        assert n < 60
    assert states == {"1111", "604800"} and n > 10
    site.fetched()
    assert not os.path.exists(NEW)


def test_full_disk(site, host, home):
    """The old policy stays until there is room."""
    server = host(reply(POLICY.replace("604800", "1111")))
    os.rename(STATE, f"{STATE}.away")
    os.mkdir(STATE)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=2750", "none", STATE], check=True)
    try:
        site.run()
        assert entry()["max-age"] == "1111"
        with open(f"{STATE}/filler", "wb", buffering=0) as f:
            with pytest.raises(OSError):
                while True:
                    f.write(b"x" * 4096)
        server.script = [reply(POLICY)]
        run = site.run()
        assert (run.code, run.said) == (0, GOOD.replace("\n", f"; unable to write to {STATE}: No space left on device\n"))
        assert entry()["max-age"] == "1111" and not os.path.exists(NEW)
        os.unlink(f"{STATE}/filler")
        site.fetched()
    finally:
        home.processes.clear()
        subprocess.run(["umount", STATE], check=True)


def test_no_file_may_be_written(site, host):
    """A limit on the size of files is as a full disk."""
    host()
    run = site.run(limits={resource.RLIMIT_FSIZE: 0})
    assert run.code == 0 and "; unable to write to" in run.said
    assert not os.path.exists(ENTRY) and not os.path.exists(NEW)


# For a delivery.

class Delivery:
    """What a delivery gives to the program, and gets from it."""

    def __init__(self, site, lock=True, out=True, domain=DOMAIN, ident="20261129"):
        self.fds = {}
        if lock:
            self.fds["lock"] = os.open(f"{STATE}/sts.new-{domain}", os.O_RDWR | os.O_CREAT, 0o640)
            self.fds["place"] = os.open(f"{STATE}/sts.lock.0", os.O_RDONLY | os.O_CREAT, 0o640)
            for fd in self.fds.values():
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.pipe = None
        if out:
            self.pipe, self.fds["out"] = os.pipe()
        words = [f"domain={domain}", f"id={ident}", *(f"{name}={fd}" for name, fd in self.fds.items())]
        begun = time.monotonic()
        self.process = subprocess.Popen([site.program, *words], pass_fds=list(self.fds.values()), env={},
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.code = self.process.wait(10)
        self.took = time.monotonic() - begun
        for fd in self.fds.values():
            os.close(fd)

    def result(self):
        with open(self.pipe, "rb") as f:
            return f.read().decode()


def is_locked(path):
    with open(path, "rb") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_delivery_gets_the_entry_that_is_stored(site, host):
    server = host()
    delivery = Delivery(site)
    assert delivery.code == 0
    said = delivery.result()
    gone()
    assert said == read(ENTRY) and Entry(said)["id"] == "20261129" and len(server.requests) == 1
    # The DNS was not asked for the record: the delivery has done that.
    assert site.dns.asked(f"_mta-sts.{DOMAIN}") == []


def test_it_outlives_the_delivery(site, host):
    """The first process ends at once; the second goes on with the locks, in a session of its own."""
    gate = threading.Event()
    server = host(Until(gate), reply(POLICY))
    delivery = Delivery(site)
    assert delivery.code == 0
    os.close(delivery.pipe)
    wait_for(lambda: server.requests)
    assert is_locked(NEW) and is_locked(f"{STATE}/sts.lock.0") and not os.path.exists(ENTRY)
    gate.set()
    wait_for(lambda: os.path.exists(ENTRY))
    gone()
    assert not os.path.exists(NEW) and not is_locked(f"{STATE}/sts.lock.0")
    assert entry()["mode"] == "enforce"


def test_some_fetches_tidy_the_directory(site):
    """Where nobody runs the option -a; one in sixteen does it."""
    write(f"{STATE}/sts-damaged.example", "garbage")
    for n in range(400):
        delivery = Delivery(site, domain=f"n{n}.example")
        assert Entry(delivery.result())["tried"].endswith(" 1")
        gone()
        if not os.path.exists(f"{STATE}/sts-damaged.example"):
            break
    assert {name for name in os.listdir(STATE) if not name.startswith(("sts.lock.", "trustanchors"))} == {
        f"sts-n{i}.example" for i in range(n + 1)}


def files_of(pid):
    """What its descriptors lead to."""
    return [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]


def test_it_has_no_descriptors_but_its_own(site, host):
    gate = threading.Event()
    server = host(Until(gate), reply(POLICY))
    delivery = Delivery(site)
    wait_for(lambda: server.requests)
    found = [files_of(pid) for pid in programs()]
    gate.set()
    assert delivery.result().endswith("end\n")
    assert [files.count("/dev/null") for files in found] == [3, 3, 3]
    locks = [files for files in found if NEW in files]
    assert len(locks) == 1 and f"{STATE}/sts.lock.0" in locks[0]
    gone()


def test_without_a_lock_nothing_is_written(site, host):
    host()
    delivery = Delivery(site, lock=False)
    said = Entry(delivery.result())
    gone()
    assert said["mode"] == "enforce" and os.listdir(STATE) == []


def test_a_failure_is_told(site, host):
    host(reply("", "404 x"))
    delivery = Delivery(site)
    said = delivery.result()
    gone()
    assert Entry(said)["failed"] == f"{FETCH} the host replied 404" and said == read(ENTRY)
    again = Delivery(site)
    assert Entry(again.result())["tried"].endswith(" 2")
    gone()


def test_a_refresh_has_nobody_to_tell(site, host):
    host()
    delivery = Delivery(site, out=False)
    assert delivery.code == 0
    wait_for(lambda: os.path.exists(ENTRY))
    gone()


@pytest.mark.parametrize("domain, ident", [("../x", "1"), ("a/b", "1"), ("", "1"), ("192.0.2.1", "1"), (DOMAIN, ""),
                                           (DOMAIN, "a\nb"), (DOMAIN, "x" * 33)])
def test_names_and_ids_that_cannot_be(site, domain, ident):
    before = sorted(os.listdir(STATE))
    assert Delivery(site, lock=False, domain=domain, ident=ident).code == 3
    assert sorted(os.listdir(STATE)) == before


def test_a_process_that_dies_is_a_local_failure(site, host):
    """The process that talks to the network is killed; the other one notes it."""
    server = host(DEAF)
    delivery = Delivery(site)
    wait_for(lambda: server.requests)
    victim, = [pid for pid in programs("qmail-remote-sts") if NEW not in files_of(pid)]
    os.kill(victim, signal.SIGKILL)
    assert Entry(delivery.result())["failed"] == f"{LOCAL} the process that fetches: killed by signal 9"
    gone(timeout=12)


@pytest.mark.long
@pytest.mark.parametrize("script", [[DEAF], [Drip(reply(POLICY), 1)]], ids=["silent", "drip"])
def test_it_ends_after_a_minute(site, host, script):
    host(*script)
    begun = time.monotonic()
    delivery = Delivery(site)
    assert Entry(delivery.result())["failed"] == f"{FETCH} the host took too long to reply"
    assert 55 < time.monotonic() - begun < 66
    gone(timeout=12)


# Upkeep.

def upkeep(site):
    run = site.run("-a")
    gone()
    return run.code, run.said


def test_upkeep_refreshes_what_is_old(site, host):
    server = host()
    site.fetched()
    assert upkeep(site) == (0, "") and len(server.requests) == 1
    age(90000)
    used = entry()["used"]
    assert upkeep(site) == (0, "") and len(server.requests) == 2
    assert int(entry()["fetched"]) > time.time() - 100
    # Nobody has used it since.
    assert entry()["used"] == used
    age(30 * 86400 - 80000)
    age(0, **{"max-age": "31557600"})
    assert upkeep(site) == (0, "") and len(server.requests) == 2


def test_upkeep_tells_of_failures(site, host):
    server = host()
    site.fetched()
    age(90000)
    server.script = [reply("", "404 x")]
    said = f"{DOMAIN}: the host replied 404 ({FETCH}); the last policy has not expired\n"
    assert upkeep(site) == (1, said)
    assert upkeep(site) == (0, "") and len(server.requests) == 2
    age(400)
    assert upkeep(site) == (1, said) and entry()["tried"].endswith(" 2")


def test_upkeep_without_a_record(site, host):
    """A domain that has no record any more is left alone; one whose record cannot be had is not."""
    server = host()
    site.fetched()
    age(90000)
    site.dns.reset()
    assert upkeep(site) == (0, "") and not os.path.exists(NEW)
    assert int(entry()["fetched"]) < time.time() - 80000
    site.zone()
    site.dns.rule(f"_mta-sts.{DOMAIN}", rcode="SERVFAIL")
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    assert upkeep(site) == (0, "") and len(server.requests) == 2
    assert int(entry()["fetched"]) > time.time() - 100 and entry()["id"] == "20261129"


def test_upkeep_takes_a_new_id(site, host):
    server = host()
    site.fetched()
    age(90000)
    site.dns.reset()
    site.zone(record="v=STSv1; id=new;")
    assert upkeep(site) == (0, "") and len(server.requests) == 2
    assert entry()["id"] == "new"


def test_upkeep_removes_what_is_of_no_use(site, host):
    host()
    site.fetched()
    age(800000)
    write(f"{STATE}/sts-damaged.example", "garbage")
    write(f"{STATE}/sts.new-killed.example", "a policy is being fetched\n")
    write(f"{STATE}/sts-fresh.example", "qmail-remote-sts 1\ndomain fresh.example\n"
          f"tried {int(time.time())} 1\nfailed local x\nend\n")
    for name in ("sts-", "sts-Upper.example", "sts.other", "smtproutes.cdb"):
        write(f"{STATE}/{name}", "mine")
    assert upkeep(site) == (0, "")
    assert {n for n in os.listdir(STATE) if not n.startswith(("sts.lock.", "trustanchors"))} == {
        "sts-fresh.example", "sts-", "sts-Upper.example", "sts.other", "smtproutes.cdb"}


def test_upkeep_leaves_what_is_being_fetched(site, host):
    host()
    site.fetched()
    age(800000)
    with open(NEW, "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        assert upkeep(site) == (0, "")
        assert os.path.exists(NEW) and os.path.exists(ENTRY)


def test_upkeep_of_many(site):
    names = [f"d{n}.example" for n in range(12)]
    server = site.many(names)
    assert site.run(*names).code == 0
    for name in names:
        age(90000, f"{STATE}/sts-{name}")
    assert upkeep(site) == (0, "")
    assert len(server.requests) == 24


@pytest.mark.parametrize("shift", [100000000, 3700])
def test_files_from_the_future(site, host, shift):
    """They are replaced, and kept until then."""
    server = host()
    site.fetched()
    age(-shift)
    assert upkeep(site) == (0, "") and len(server.requests) == 2
    assert int(entry()["fetched"]) <= time.time()
