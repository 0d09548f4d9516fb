"""qmail-remote-check: what would become of a message, found out by the code of a delivery, and without a trace."""

import os
import re
import subprocess
import time

import pytest

import world
from qmailhome import pack4, read4, used
from rspawn import sanitizer_logs
from smtpd import CLOSE
from world import HOLE4, UNREACHABLE4

ONE, TWO, SIX = "192.0.2.1", "192.0.2.2", "2001:db8::1"
DELIVERED, DEFERRED, BOUNCED, USAGE = range(4)
VERDICT = {"K": DELIVERED, "Z": DEFERRED, "D": BOUNCED}


@pytest.fixture
def look(home, pytestconfig):
    """Run it, as root; the state directory's owner is whom it becomes."""
    def run(*args, host="dst.example", first="", redirected=""):
        argv = [f"{pytestconfig.option.build}/qmail-remote-check", *([host] if host else []), *args]
        done = subprocess.run(["sh", "-c", f'{first} exec "$@" {redirected}', "sh", *argv],
                              capture_output=True, text=True, timeout=60, check=False)
        sanitizer_logs()
        assert done.returncode in (DELIVERED, DEFERRED, BOUNCED, USAGE), done
        # Nothing that a terminal would act on, and no blank at the end of a line.
        assert re.fullmatch(r"([ -~]*[!-~]\n|)*", done.stdout), done.stdout
        return done
    return run


def fields(done):
    """The lines of output by their first words."""
    found, label = {}, None
    for line in done.stdout.splitlines():
        label = line[:10].strip() or label
        found.setdefault(label, []).append(line[10:].strip())
    return found


def result(done):
    return fields(done)["result"][0]


def traces(home):
    """Everything that a delivery could leave behind, with its time."""
    found = {}
    for top in (home.run_path, f"{home.path}/queue/lock", f"{home.path}/control"):
        for folder, _, names in os.walk(top):
            for name in names:
                with open(f"{folder}/{name}", "rb") as f:
                    found[f"{folder}/{name}"] = (f.read(), os.stat(f"{folder}/{name}").st_mtime_ns)
    return found


# What is set up, and what a delivery says then.
def no_such_domain(home, dns, smtp, site):
    dns.zone("other.example A 192.0.2.9")


def null_mx(home, dns, smtp, site):
    dns.zone("dst.example MX 0 .")


def no_answer(home, dns, smtp, site):
    dns.rule("dst.example", "MX", rcode="SERVFAIL")


def ourselves(home, dns, smtp, site):
    dns.zone("dst.example MX 0 m.example.\nm.example A 127.0.0.1")


def refused_connection(home, dns, smtp, site):
    dns.zone(f"dst.example A {ONE}")


def unreachable(home, dns, smtp, site):
    dns.zone(f"dst.example A {UNREACHABLE4}")


def clear_text(home, dns, smtp, site):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE)


def second_host(home, dns, smtp, site):
    dns.zone(f"dst.example MX 1 a.example.\ndst.example MX 2 b.example.\na.example A {ONE}\nb.example A {TWO}")
    smtp(ONE, greeting="421 busy")
    smtp(TWO)


def helo_only(home, dns, smtp, site):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE, EHLO=CLOSE)


def greeting_refused(home, dns, smtp, site):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE, greeting="554 go away")


def relay(home, dns, smtp, site):
    home.route(f":{ONE}:26")
    smtp(ONE, port=26)


def wrong_route(home, dns, smtp, site):
    home.route("dst.example:relay.example|secret")


def wrong_ipme(home, dns, smtp, site):
    home.control("ipme", "x.example\n")


def no_name(home, dns, smtp, site):
    home.control("me", None)


def timed_out(home, dns, smtp, site):
    dns.zone(f"dst.example A {ONE}")
    home.tcpto(pack4(ONE, 2, time.time()))


def tls(strictness, **how):
    def set_up(home, dns, smtp, site):
        site.one(strictness, **how)
    return set_up


SITUATIONS = {f.__name__: f for f in (
    no_such_domain, null_mx, no_answer, ourselves, refused_connection, unreachable, clear_text, second_host, helo_only,
    greeting_refused, relay, wrong_route, wrong_ipme, no_name, timed_out)}
for level in range(3):
    SITUATIONS[f"tls-{level}"] = tls(level)
    SITUATIONS[f"wrong-name-{level}"] = tls(level, cert="wrong-name")
    SITUATIONS[f"expired-{level}"] = tls(level, cert="expired")
    SITUATIONS[f"no-tls-{level}"] = tls(level, cert=None)
    SITUATIONS[f"starttls-454-{level}"] = tls(level, STARTTLS="454 no")
    SITUATIONS[f"starttls-554-{level}"] = tls(level, STARTTLS=("554 no", CLOSE))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_verdict_is_that_of_a_delivery_and_leaves_no_trace(home, dns, smtp, site, look, situation):
    SITUATIONS[situation](home, dns, smtp, site)
    before = traces(home)
    done = look()
    assert traces(home) == before
    run = home.run()
    assert done.returncode == VERDICT[run.rspawn[:1].decode()], (done.stdout, run.report)
    said = result(done)
    assert ("delivered" in said, "deferred" in said, "bounced" in said) == tuple(
        done.returncode == v for v in (DELIVERED, DEFERRED, BOUNCED))
    assert ("in TLS" in said) == (b"\nTLS: TLSv" in run.report), (said, run.report)


def test_server_is_told_quit_and_no_mail(dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    server = smtp(ONE)
    assert look().returncode == DELIVERED
    assert server.session.verbs == ["EHLO", "QUIT"]


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full"])
def test_without_output_no_server_is_asked(dns, smtp, look, closed):
    """A closed descriptor 1 must not become that of a socket: a server would read what is printed."""
    dns.zone(f"dst.example A {ONE}")
    server = smtp(ONE)
    done = look(redirected=closed)
    assert done.returncode == DEFERRED
    assert ("unable to write to standard output" in done.stderr) == ("2>" not in closed)
    assert server.connections == 0


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_other_descriptors_may_be_closed(site, look, closed):
    server = site.one(2)
    assert result(look(redirected=closed)).endswith("in TLS, certificate verified")
    assert server.session.verbs == ["EHLO", "STARTTLS", "EHLO", "QUIT"]


def test_server_in_tls_is_told_quit(site, look):
    server = site.one(2)
    assert result(look()) == f"a message would be delivered through m1.example ({ONE}), in TLS, certificate verified"
    assert server.session.verbs[-2:] == ["EHLO", "QUIT"]


def test_hosts_are_shown_with_what_is_left_out(home, dns, smtp, look):
    dns.zone(f"dst.example MX 5 a.example.\ndst.example MX 7 b.example.\ndst.example MX 9 c.example.\n"
             f"a.example A {ONE}\na.example AAAA {SIX}\nb.example A {ONE}\nc.example A 127.0.0.1")
    home.control("ipfamily", ":4\n")
    smtp(ONE)
    hosts = fields(look())["hosts"]
    assert [h.split() for h in hosts] == [
        ["5", "a.example"], [ONE], [SIX, "left", "out:", "control/ipfamily"],
        ["7", "b.example"], [ONE, "left", "out:", "a", "host", "before", "it", "has", "the", "same", "address"],
        ["9", "c.example"], ["127.0.0.1", "left", "out:", "it", "is", "this", "machine,", "or", "in", "control/ipme"]]


def test_route_and_policy_are_shown(home, smtp, look):
    home.route(f":{ONE}:26")
    smtp(ONE, port=26)
    shown = fields(look())
    assert shown["route"] == [f"{ONE}, port 26, by control/smtproutes"]
    assert shown["TLS"] == ["never: there is no control/trustanchors"]


def test_reply_of_a_server_is_shown_clean(dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE, greeting=b"554-\x1b[2J\xff\x07no\r\n554 mail\r\n")
    assert fields(look())["said"] == ["554-?[2J??no", "554 mail"]


def test_extensions_are_shown(dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE, EHLO="250-hi\r\n250-SIZE 5000\r\n250 PIPELINING")
    assert re.search(r"ready for MAIL after \d+ ms: PIPELINING,SIZE 5000\n", look().stdout)


def test_what_is_remembered_is_shown_and_avoided(home, dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    server = smtp(ONE, EHLO=CLOSE)
    assert home.run().letters == "rK"
    done = look()
    assert "remembered: EHLO fails, HELO is used" in done.stdout
    server.settle()
    assert server.sessions[-1].verbs == ["HELO", "QUIT"]


def test_second_connection_is_announced(dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE, EHLO=CLOSE)
    done = look()
    assert "this address once more, in another way" in done.stdout and done.returncode == DELIVERED


def test_timed_out_address_is_named(home, dns, look):
    timed_out(home, dns, None, None)
    assert fields(look())["failed"] == [f"{ONE}: skipped, it timed out lately"]


def test_time_out_is_not_noted(home, dns, look):
    home.control("timeoutconnect", "1\n")
    dns.zone(f"dst.example A {HOLE4}")
    assert look().returncode == DEFERRED
    assert used(read4()) == []


def test_new_routes_are_not_compiled(home, smtp, look):
    home.control("smtproutes", "".join(f"d{n}.example:{TWO}\n" for n in range(2000)) + f":{ONE}\n")
    os.utime(f"{home.path}/control/smtproutes", (1, 1))
    smtp(ONE)
    assert look().returncode == DELIVERED
    assert os.listdir(home.run_path) == []


@pytest.mark.parametrize("addresses, verdict", [
    (["a@src.example", "b@dst.example"], DELIVERED),
    (["", "b@dst.example"], DELIVERED),
    (["a\n@src.example", "b@dst.example"], BOUNCED),
    (["a@src.example", "b\r@dst.example"], BOUNCED),
    (["a@src.example", "b\r@dst.example", "c@dst.example"], DELIVERED)])
def test_addresses_that_cannot_be_sent_bounce(dns, smtp, look, addresses, verdict):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE)
    assert look(*addresses).returncode == verdict


def test_state_directory_of_root_is_told(home, dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE)
    assert "belongs to root" in look().stderr
    os.chown(home.run_path, 65534, 65534)
    assert look().stderr == ""


def test_want_of_memory_is_told(home, dns, look):
    if "sanitizer" in home.kind:
        pytest.skip("sanitizers need memory")
    home.control("smtproutes", "x.example:y\n" * 2000000)
    done = look(first="ulimit -v 16384;")
    assert done.returncode == DEFERRED and done.stderr.endswith("qmail-remote-check: out of memory\n")


def test_it_has_the_rights_of_the_owner_of_the_state_directory(home, dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE)
    os.chown(home.run_path, 65534, 65534)
    assert look().returncode == DELIVERED
    os.chmod(f"{home.path}/control/me", 0o600)
    done = look()
    assert done.returncode == DEFERRED and "control/me" in done.stdout


def test_all_addresses_are_tried_on_request(dns, smtp, look):
    dns.zone(f"dst.example MX 1 a.example.\ndst.example MX 2 b.example.\ndst.example MX 3 c.example.\n"
             f"a.example A {ONE}\nb.example A {TWO}\nb.example A 192.0.2.3\nc.example A 127.0.0.1")
    servers = [smtp(ONE), smtp(TWO, greeting="554 no")]
    assert [line.split()[0] for line in fields(look())["connected"][::2]] == ["a.example"]
    shown = look("--all", "dst.example", host=None)
    assert shown.returncode == DELIVERED
    assert [re.findall(r"\((.*)\)", line) for line in fields(shown)["connected"][::2]] == [[ONE], [TWO]]
    assert fields(shown)["failed"] == ["192.0.2.3: Connection refused"]
    assert result(shown).startswith("a message would be delivered through a.example")
    assert [s.connections for s in servers] == [2, 1]


def test_verdict_is_that_of_a_delivery_with_all_addresses_too(dns, smtp, look):
    dns.zone(f"dst.example MX 1 a.example.\ndst.example MX 2 b.example.\na.example A {ONE}\nb.example A {TWO}")
    smtp(ONE, greeting="421 no")
    smtp(TWO, greeting="421 no")
    assert look("--all", "dst.example", host=None).returncode == DEFERRED


def test_address_that_has_failed_is_shown_once(dns, smtp, look):
    dns.zone(f"dst.example MX 1 a.example.\ndst.example MX 2 b.example.\na.example A {ONE}\nb.example A {TWO}")
    smtp(TWO)
    done = look("--all", "dst.example", host=None)
    assert done.returncode == DELIVERED
    assert fields(done)["failed"] == [f"{ONE}: Connection refused"]


def test_all_addresses_need_no_more_descriptors_than_one(site, look):
    site.want(2)
    addresses = [f"192.0.2.{n}" for n in range(1, 13)]
    site.mx(" ".join(addresses))
    servers = [site.server(a) for a in addresses]
    done = look("--all", "dst.example", host=None, first="ulimit -n 16;")
    assert done.stdout.count("certificate verified for m1.example") == len(addresses), done.stdout
    assert [s.connections for s in servers] == [1] * len(addresses)


def test_routes_need_no_network(home, look):
    world.resolv_conf("nameserver 203.0.113.1\n")
    home.control("smtproutes", ".example:relay.example:2525\n")
    home.control("trustanchors", "/srv/anchors\n")
    home.control("tlsstrictness", "2\n")
    done = look("--routes", "dst.example", host=None)
    assert done.returncode == 0
    assert done.stdout == ("to        dst.example\n"
                           "route     relay.example, port 2525, by control/smtproutes\n"
                           "TLS       strictness 2: verified, or the message waits\n")


def test_wrong_route_is_told_without_its_password(home, look):
    home.control("smtproutes", "dst.example:relay.example|secret\n")
    done = look("--routes", "dst.example", host=None)
    assert done.returncode == DEFERRED and "secret" not in done.stdout


@pytest.mark.parametrize("args", [[], ["-x"], ["dst.example", "a@src.example"], ["--all"], ["--routes"],
                                  ["--routes", "dst.example", "a@src.example", "b@dst.example"],
                                  ["--all", "--routes", "dst.example"]])
def test_wrong_arguments_are_usage(look, args):
    done = look(*args, host=None)
    assert done.returncode == USAGE and done.stderr.startswith("usage: qmail-remote-check [--all] HOST")


def test_version_is_printed(look):
    done = look("--version", host=None)
    assert re.fullmatch(r"qmail-remote-check \d+\.\d+\.\d+\n", done.stdout)
