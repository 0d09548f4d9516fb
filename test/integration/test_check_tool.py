"""qmail-remote-check: what would become of a message, found out by the code of a delivery, and without a trace."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

import pki
import world
from httpsd import reply
from qmailhome import pack4, read4, used
from rspawn import sanitizer_logs
from smtpd import CLOSE, DEAF, Call, Delay
from stssite import make_older, policy
from tlssite import gone
from world import HOLE4, UNREACHABLE4

ONE, TWO, SIX = "192.0.2.1", "192.0.2.2", "2001:db8::1"
DELIVERED, DEFERRED, BOUNCED, USAGE = range(4)
VERDICT = {"K": DELIVERED, "Z": DEFERRED, "D": BOUNCED}


@pytest.fixture
def look(home, pytestconfig):
    """Run it, as root; the state directory's owner is whom it becomes."""
    def run(*args, host="dst.example", first="", redirected="", text=""):
        argv = [f"{pytestconfig.option.build}/qmail-remote-check", *([host] if host else []), *args]
        done = subprocess.run(["sh", "-c", f'{first} exec "$@" {redirected}', "sh", *argv],
                              capture_output=True, text=True, input=text, timeout=60, check=False)
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
    reason = fields(done).get("reason", ["192.0.2.2 accepted" if situation == "second_host" else f"{ONE} accepted"])[0]
    assert run.message.first.decode().startswith(reason), (reason, run.report)


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
    assert shown["route"] == [f'{ONE}, port 26, by control/smtproutes, line of ""']
    assert shown["TLS"] == ["never: there is no control/trustanchors"]


@pytest.mark.parametrize("dane, has_pems, when", [
    (False, False, "never"), (True, False, "only by TLSA records"), (False, True, "only by control/tlshosts"),
    (True, True, "only by TLSA records or control/tlshosts")])
def test_tls_without_trust_anchors_is_shown(home, dns, smtp, look, dane, has_pems, when):
    home.control("dane", "1\n" if dane else None)
    if has_pems:
        os.mkdir(f"{home.path}/control/tlshosts")
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE)
    assert fields(look())["TLS"] == [f"{when}: there is no control/trustanchors"]


def test_reply_of_a_server_is_shown_clean(dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE, greeting=b"554-\x1b[2J\xff\x07no\r\n554 mail\r\n")
    shown = fields(look())
    assert shown["said"] == ["554-?[2J??no", "554 mail"]
    assert shown["greeting"][0].endswith(" ms  554 mail")


def test_extensions_are_shown(dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE, EHLO="250-hi\r\n250-SIZE 5000\r\n250 PIPELINING")
    shown = fields(look())
    assert shown["offers"] == ["PIPELINING,SIZE 5000"] and shown["ready"] == ["for MAIL"]


def test_what_is_remembered_is_shown_and_avoided(home, dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    server = smtp(ONE, EHLO=CLOSE)
    assert home.run().letters == "rK"
    done = look()
    assert re.search("remembered for another (29|30) minutes: EHLO fails, HELO is used", done.stdout)
    assert "HELO" in fields(done) and "EHLO" not in fields(done)
    server.settle()
    assert server.sessions[-1].verbs == ["HELO", "QUIT"]


def test_second_connection_is_announced(dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE, EHLO=CLOSE)
    done = look()
    assert fields(done)["again"] == ["this address, in another way"] and done.returncode == DELIVERED


def test_timed_out_address_is_named(home, dns, look):
    timed_out(home, dns, None, None)
    shown = fields(look())
    assert shown["failed"] == [f"dst.example ({ONE}): skipped, it timed out lately"]
    # A second may have passed.
    assert re.fullmatch("timed out 0 minutes ago, skipped for another 6[34] to 9[67] minutes", shown["hosts"][2])


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
    assert [line.split()[0] for line in fields(look())["connected"]] == ["a.example"]
    shown = look("--all", "dst.example", host=None)
    assert shown.returncode == DELIVERED
    assert [re.findall(r"\((.*)\)", line) for line in fields(shown)["connected"]] == [[ONE], [TWO]]
    assert fields(shown)["failed"][-1] == "b.example (192.0.2.3): Connection refused"
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
    assert fields(done)["failed"] == [f"a.example ({ONE}): Connection refused"]


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
                           'route     relay.example, port 2525, by control/smtproutes, line of ".example"\n'
                           "TLS       strictness 2: verified, or the message waits\n")


def test_line_of_tlspolicy_is_shown(home, look):
    home.control("tlspolicy", ".example:encrypt # all of it\n")
    done = look("--routes", "dst.example", host=None)
    assert fields(done)["TLS"] == ['by control/tlspolicy, line ".example:encrypt # all of it"']
    found, = json_of(look("--json", "--routes", "dst.example", host=None))
    assert found["policy"]["tlspolicy"] == ".example:encrypt # all of it"


def test_wrong_route_is_told_without_its_password(home, look):
    home.control("smtproutes", "dst.example:relay.example|secret\n")
    done = look("--routes", "dst.example", host=None)
    assert done.returncode == DEFERRED and "secret" not in done.stdout


@pytest.mark.parametrize("args", [["-x"], ["dst.example", "a@src.example"], ["--all"], ["--routes"], ["--what", "dst.example"],
                                  ["--strictness", "2"], ["--strictness"], ["--strictness", "3", "dst.example"],
                                  ["--routes", "--strictness", "2", "dst.example"], ["--routes", "-"], ["-", "a", "b"],
                                  ["--routes", "dst.example", "a@src.example", "b@dst.example"],
                                  ["--all", "--routes", "dst.example"]])
def test_wrong_arguments_are_usage(look, args):
    done = look(*args, host=None)
    assert done.returncode == USAGE and done.stderr.startswith("usage: qmail-remote-check [--json]")


def test_version_is_printed(look):
    done = look("--version", host=None)
    assert re.fullmatch(r"qmail-remote-check \d+\.\d+\.\d+\n", done.stdout)


# The certificate, and the time of each step.

def test_each_step_is_shown_with_its_time(site, look):
    site.one(2)
    shown = look().stdout
    steps = re.findall(r"^  (\S+) +(\d+) ms(?:  (.*))?$", shown, re.MULTILINE)
    assert [(name, reply) for name, _, reply in steps] == [
        ("greeting", "220 hi"), ("EHLO", "250 STARTTLS"), ("STARTTLS", "220 go"), ("handshake", ""), ("EHLO", "250 ok")]
    assert re.search(rf"^connected +m1.example \({ONE}\) in \d+ ms$", shown, re.MULTILINE)


def test_time_of_a_step_is_that_of_the_server(dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE, EHLO=(Delay(0.3), "250 ok"))
    times = {name: int(ms) for name, ms in re.findall(r"^  (\S+) +(\d+) ms", look().stdout, re.MULTILINE)}
    assert times["EHLO"] >= 300


VERDICTS = {"good": "verifies", "wrong-name": "name mismatch", "expired": "certificate has expired",
            "self-signed": "self-signed certificate", "untrusted": "unable to get local issuer certificate"}


@pytest.mark.parametrize("strictness", [0, 1, 2])
@pytest.mark.parametrize("cert", VERDICTS)
def test_certificate_is_described_whether_it_has_to_verify_or_not(site, look, strictness, cert):
    site.one(strictness, cert=cert)
    done = look()
    shown = dict(re.findall(r"^ +(names|issuer|expires|PKIX): (.*)$", done.stdout, re.MULTILINE))
    leaf = site.certs.leaf(cert, "m1.example")
    assert shown["names"] == ("elsewhere.example" if cert == "wrong-name" else "m1.example")
    assert shown["issuer"] == leaf.cert.issuer.rfc4514_string()
    assert shown["expires"][:10] == leaf.cert.not_valid_after.strftime("%Y-%m-%d")
    assert shown["PKIX"] == VERDICTS[cert]
    assert done.returncode == (DEFERRED if strictness == 2 and cert != "good" else DELIVERED)


def test_anchors_that_cannot_be_read_are_told_where_nothing_must_verify(site, look):
    site.want(0, anchors="/srv/pki/none")
    site.mx()
    site.server()
    done = look()
    assert done.returncode == DELIVERED and re.search("PKIX: .*/srv/pki/none: No such file", done.stdout)


def test_hostile_certificate_is_shown_clean(site, look):
    names = [f"{'x' * 60}.{n}.example" for n in range(300)]
    evil = pki.make("evil \x1b[2J\x07 name", site.certs.intermediate, chain=[site.certs.intermediate],
                    names=["m1.example", *names])
    site.one(0, cert=evil)
    shown = dict(re.findall(r"^ +(names|issuer): (.*)$", look().stdout, re.MULTILINE))
    assert shown["names"].startswith("m1.example,xxx") and len(shown["names"]) == 255


# JSON.

def json_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_json_has_all_that_is_found(site, home, look):
    site.one(2)
    found, = json_of(look("--json", "dst.example", host=None))
    assert found["host"] == "dst.example"
    assert found["route"] == {"port": 25} and found["policy"]["tlsstrictness"] == 2
    host, = found["hosts"]
    assert (host["name"], host["preference"], host["dns"]) == ("m1.example", 10, "found")
    assert host["addresses"] == [{"address": ONE, "remembered": []}]
    attempt, = found["attempts"]
    assert (attempt["host"], attempt["address"], attempt["outcome"]) == ("m1.example", ONE, "ready")
    assert [s["step"] for s in attempt["steps"]] == ["greeting", "EHLO", "STARTTLS", "handshake", "EHLO"]
    assert attempt["steps"][1]["reply"] == ["250-hi", "250 STARTTLS"]
    certificate = attempt["steps"][3]["certificate"]
    assert certificate["names"] == ["m1.example"] and certificate["pkix"] == {"verifies": True, "reason": ""}
    assert attempt["tls"]["version"] == "TLSv1.3" and attempt["tls"]["verified_for"] == "m1.example"
    assert found["result"] == {"verdict": "delivered", "host": "m1.example", "address": ONE,
                               "protection": "TLS, certificate verified", "reason": "", "detail": ""}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_json_has_the_verdict_of_the_text(home, dns, smtp, site, look, situation):
    SITUATIONS[situation](home, dns, smtp, site)
    done = look("--json", "dst.example", host=None)
    found, = json_of(done)
    assert found["result"]["verdict"] == ("delivered", "deferred", "bounced")[done.returncode]
    status = found["result"].get("status")
    assert (status is None or f"(#{status})" in found["result"]["reason"]) and (done.returncode == DEFERRED or bool(status) == bool(
        done.returncode))


def test_json_escapes_what_servers_say(dns, smtp, look):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE, greeting=b'554-\x1b[2J\xff"\\\x7f\x00\r\n554 mail\r\n')
    found, = json_of(look("--json", "dst.example", host=None))
    assert found["attempts"][0]["reply"][0].startswith('554-\x1b[2J\xff"\\\x7f')


def test_json_of_an_address_that_is_left_out(home, dns, look):
    timed_out(home, dns, None, None)
    dns.zone("dst.example A 127.0.0.1")
    found, = json_of(look("--json", "dst.example", host=None))
    addresses = {a["address"]: a for a in found["hosts"][0]["addresses"]}
    assert 0 <= addresses[ONE]["timed_out_seconds_ago"] < 60
    assert addresses["127.0.0.1"]["left_out"].startswith("it is this machine")


def test_json_of_routes(home, look):
    home.control("smtproutes", ":relay.example:26\n")
    assert json_of(look("--json", "--routes", "dst.example", host=None)) == [
        {"host": "dst.example", "route": {"relay": "relay.example", "port": 26, "file": "control/smtproutes", "key": ""},
         "outgoing": [], "policy": {"trustanchors": "", "tlsstrictness": 0, "tlspolicy": "", "dane": ""}}]


# Our addresses and names.

def test_where_a_connection_comes_from_is_shown(home, dns, smtp, look):
    dns.zone(f"dst.example A {ONE}\ndst.example AAAA {SIX}")
    server = smtp(ONE)
    home.control("outgoingip", "198.51.100.8\n.example:198.51.100.7 # ours\n")
    home.control("outgoingip6", "::\n")
    home.control("helohosts", "198.51.100.7:four.example\n")
    shown = fields(look())
    assert shown["source"] == ['any address, by control/outgoingip6, line "::"',
                               '198.51.100.7, by control/outgoingip, line ".example:198.51.100.7 # ours"']
    assert shown["from"] == ["198.51.100.7, as four.example"]
    found, = json_of(look("--json", "dst.example", host=None))
    assert found["outgoing"] == [
        {"file": "control/outgoingip6", "line": "::", "fault": ""},
        {"file": "control/outgoingip", "line": ".example:198.51.100.7 # ours", "address": "198.51.100.7", "fault": ""}]
    assert [(a.get("from"), a.get("helo")) for a in found["attempts"] if a["outcome"] == "ready"] == [
        ("198.51.100.7", "four.example")]
    assert {s.peer[0] for s in server.sessions} == {"198.51.100.7"}


def test_address_that_is_not_here_is_shown(home, dns, smtp, look, only_local):
    dns.zone(f"dst.example A {ONE}\ndst.example AAAA {SIX}")
    smtp(ONE)
    only_local()
    home.control("outgoingip6", "fd00:99::9\n")
    done = look()
    shown = fields(done)
    assert done.returncode == DELIVERED and shown["from"] == [f"{ONE}, as me.example"]
    assert shown["source"] == ['fd00:99::9, by control/outgoingip6, line "fd00:99::9": no connection can come from it']
    assert f"{SIX} left out: no connection can come from our address for it" in shown["hosts"]
    assert shown["failed"] == [f"dst.example ({SIX}): control/outgoingip6: not an address of this machine: fd00:99::9"]
    found, = json_of(look("--json", "--routes", "dst.example", host=None))
    assert found["outgoing"][0]["fault"] == "control/outgoingip6: not an address of this machine: fd00:99::9"
    home.control("outgoingip", "10.99.0.9\n")
    done = look()
    assert done.returncode == DEFERRED and fields(done)["reason"][2:] == ["control/outgoingip: not an address of this machine: 10.99.0.9"]


def test_addresses_that_are_not_here_are_warned_of(home, look, only_local):
    only_local()
    home.control("outgoingip", "# ours\nb.example:10.99.0.1\na.example:10.99.0.8\n10.99.0.9\n")
    home.control("helohosts", "10.99.0.1:a.example\n10.99.0.9:b.example\n")
    found = entries(look("--json", host=None))
    warning = "no connection can come from this address"
    assert found["control/outgoingip"]["warnings"] == [f"a.example: {warning}", f"10.99.0.9: {warning}"]
    assert found["control/outgoingip"]["value"] == "lines: 3" and found["control/outgoingip6"]["source"] == "none"
    assert found["control/helohosts"]["warnings"] == [f"10.99.0.9: {warning}"]
    assert found["control/helohosts"]["value"] == "lines: 2"


# Domains in UTF-8, and SMTPUTF8.

@pytest.fixture
def idn(pytestconfig):
    with open(f"{pytestconfig.option.build}/qmail-remote-check", "rb") as f:
        if b"built without libidn2" in f.read():
            pytest.skip("this build has no libidn2")


def test_a_domain_in_utf8_is_shown_in_its_a_labels(home, dns, smtp, look, idn):
    host, domain = "bücher.example", "xn--bcher-kva.example"
    home.control("smtproutes", f"b\u00fccher.example::26\n☺.example:{ONE}\n")
    dns.zone(f"{domain} A {ONE}")
    smtp(ONE, port=26, ehlo=("8BITMIME", "SMTPUTF8"))
    found = fields(look(host=host))
    assert (found["to"], found["domain"]) == (["b??cher.example"], [domain])
    assert "26" in found["route"][0] and found["offers"] == ["8BITMIME,SMTPUTF8"]
    assert "domain" not in fields(look(host=domain))
    found, = json_of(look("--json", host, host=None))
    assert (found["host"], found["domain"], found["result"]["verdict"]) == (host, domain, "delivered")
    assert look("-", host=None, text=f"{host}\n").stdout.startswith(f"b??cher.example ({domain}): delivered ")
    shown = look(host=None).stdout
    assert "never used, because IDNA2008 has no such domain" in shown
    assert re.search("^domains in UTF-8 +as IDNA2008 allows them$", shown, re.MULTILINE)


def test_a_domain_that_idna_does_not_allow_is_bounced(look, dns):
    found = fields(look(host="e\u212ample.example"))
    assert found["reason"][0] == "Sorry, that address cannot be sent by SMTP. (#5.1.3)"


def test_addresses_that_need_smtputf8_need_a_server_with_it(dns, smtp, look):
    dns.zone(f"dst.example MX 1 m1.example.\ndst.example MX 2 m2.example.\nm1.example A {ONE}\nm2.example A {TWO}")
    smtp(ONE)
    smtp(TWO, ehlo=("SMTPUTF8",))
    assert ONE in result(look("a@src.example", "b@dst.example"))
    done = look("a@src.example", "é@dst.example")
    assert TWO in result(done) and fields(done)["failed"] == ["it does not offer SMTPUTF8"]


# Many destinations; another strictness.

@pytest.mark.parametrize("strictness, verdict", [("0", DELIVERED), ("1", DELIVERED), ("2", DEFERRED)])
def test_strictness_can_be_tried(site, look, strictness, verdict):
    site.one(1, cert="expired")
    assert look("--strictness", strictness, "dst.example", host=None).returncode == verdict


def test_destinations_of_standard_input_have_a_line_each(home, dns, smtp, look):
    home.route(f"relayed.example:{TWO}")
    dns.zone(f"a.example A {ONE}\nnull.example MX 0 .\nc.example A 192.0.2.9")
    smtp(ONE)
    smtp(TWO)
    done = look("-", host=None, text="a.example\n\n# no\n  null.example \r\nc.example\nrelayed.example")
    assert done.returncode == BOUNCED
    assert sorted(done.stdout.splitlines()) == [
        f"a.example: delivered through a.example ({ONE}), in clear text",
        "c.example: deferred: Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)",
        "null.example: bounced: Sorry, null.example does not accept mail. (#5.1.10)",
        f"relayed.example: delivered through {TWO}, in clear text"]


def test_destinations_are_asked_side_by_side(home, dns, smtp, look):
    """Eight servers greet when all eight are connected."""
    together = threading.Barrier(8)

    def greet(session):
        together.wait(30)
        return "220 hi"

    for n in range(1, 9):
        dns.zone(f"d{n}.example A 192.0.2.{n}")
        smtp(f"192.0.2.{n}", greeting=Call(greet))
    done = look("-", host=None, text="".join(f"d{n}.example\n" for n in range(1, 9)))
    assert done.returncode == DELIVERED and done.stdout.count("delivered through") == 8


def test_many_destinations_in_json_do_not_mix(home, dns, smtp, look):
    for n in range(1, 31):
        dns.zone(f"d{n}.example A {ONE}")
    smtp(ONE, EHLO="\n".join(["250-" + "x" * 400] * 60 + ["250 ok"]))
    found = json_of(look("--json", "-", host=None, text="".join(f"d{n}.example\n" for n in range(1, 31))))
    assert sorted(f["host"] for f in found) == sorted(f"d{n}.example" for n in range(1, 31))
    assert {f["result"]["verdict"] for f in found} == {"delivered"}


def test_strictness_of_many_destinations(site, smtp, dns, look):
    site.one(0)
    dns.zone(f"clear.example A {TWO}")
    smtp(TWO)
    done = look("--strictness", "2", "-", host=None, text="dst.example\nclear.example\n")
    assert done.returncode == DEFERRED
    assert sorted(done.stdout.splitlines()) == [
        f"clear.example: deferred: Connected to {TWO} but it does not offer STARTTLS. (#4.7.4)",
        f"dst.example: delivered through m1.example ({ONE}), in TLS, certificate verified"]


def test_no_probe_outlives_one_that_is_killed(home, dns, smtp, pytestconfig):
    dns.zone(f"dst.example A {ONE}")
    server = smtp(ONE, greeting=DEAF)
    argv = [f"{pytestconfig.option.build}/qmail-remote-check", "-"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdin.write(b"dst.example\n")
        process.stdin.flush()
        process.stdin.close()
        server.wait_session()
        process.kill()
    server.settle()
    assert server.session.end in ("fin", "rst")


# Control files.

def entries(done):
    return {e["name"]: e for e in json_of(done)[0]["entries"]}


def test_control_files_without_a_warning(home, dns, look):
    home.control("timeoutremote", None)
    done = look("--json", host=None)
    assert done.returncode == 0, done.stdout
    found = entries(done)
    assert found["control/helohost"] == {"name": "control/helohost", "value": "me.example", "source": "default: control/me",
                                         "warnings": []}
    assert (found["control/timeoutremote"]["value"], found["control/timeoutremote"]["source"]) == ("1200 s", "default")
    assert found["control/trustanchors"]["source"] == "none: TLS only by tlspolicy, tlshosts or DANE"
    assert found["/srv/qmail/bin/qmail-remote"]["value"].startswith("qmail-remote 0.")
    assert found["control/smtproutes"]["source"] == "none"
    assert found["/etc/resolv.conf"]["value"] == "127.0.0.1, trusted for DNSSEC"


# A file, what is in it, the entry that warns, and how.
WARNINGS = {
    "no-number": ("timeoutremote", "soon\n", "not a number, the default is used"),
    "unit": ("timeoutremote", "60s\n", "what follows the number is ignored"),
    "too-large": ("timeoutconnect", "999999\n", "out of range, the nearest limit is used"),
    "strictness-without-anchors": ("tlsstrictness", "2\n", "tlsstrictness has no effect without trust anchors"),
    "cert-without-anchors": ("clientcert", "/etc/passwd\n", "clientcert has no effect without trust anchors"),
    "key-without-cert": ("clientkey", "/etc/passwd\n", "ignored, because there is no control/clientcert"),
    "missing-cert": ("clientcert", "/none\n", "No such file or directory"),
    "route-without-colon": ("smtproutes", "dst.example\n:a.example\n", "dst.example: ignored, because it has no colon"),
    "route-with-blank": ("smtproutes", "dst.example :a.example\n",
                         "dst.example: never used, because of the blank before the colon"),
    "route-in-words": ("smtproutes", "dst.example a.example user secret:x\n",
                       "dst.example: never used, because of the blank before the colon"),
    "route-in-words-without-colon": ("smtproutes", "dst.example a.example user secret\n",
                                     "dst.example: ignored, because it has no colon"),
    "route-with-password": ("smtproutes", "dst.example:a.example:25 user secret\n", "dst.example: text behind the port"),
    "route-that-all-can-read": ("smtproutes", "dst.example:a.example:25|user|secret\n",
                                "it has passwords, and all users can read it"),
    "secrets-that-all-can-read": ("smtpauth", "a.example|user|secret\n", "it has passwords, and all users can read it"),
    "senders-that-all-can-read": ("authsenders", ":a.example|user|secret\n",
                                  "it has passwords, and all users can read it"),
    "malformed-credentials": ("smtpauth", "# x\na.example user secret\n", "line 2: text behind the relay"),
    "malformed-sender": ("authsenders", "\n\nuser@our.example::26|user|secret\n", "line 3: a port without a relay"),
    "missing-token": ("smtpauth", "a.example|user|token=/none\n", "line 1: /none: No such file or directory"),
    "family": ("ipfamily", ":4\ndst.example:5\n", "dst.example: not an address family"),
    "family-with-brackets": ("ipfamily", "[192.0.2.1]:4\n",
                             "[192.0.2.1]: never used, because of the brackets of the next hop"),
    "source": ("outgoingip", "192.0.2.1\ndst.example:eth0\n", "dst.example: not an address"),
    "sources-for-all": ("outgoingip", "198.51.100.7\n198.51.100.8\n", "several addresses for all mail: the last one is used"),
    "source-without-key": ("outgoingip6", "fe80::1%eth0\n", "fe80::1%eth0: not an address"),
    "helohosts": ("helohosts", "192.0.2.1 a.example\n", "control/helohosts: text behind the name: 192.0.2.1 a.example"),
    "ipme": ("ipme", "192.0.2.1 here\n", "control/ipme: not an address: 192.0.2.1 here"),
    "ignored-file": ("tlsclientciphers", "HIGH\n", "this version does not read it"),
    "empty-helohost": ("helohost", "", "control/helohost: empty"),
    "nonsense-strictness": ("tlsstrictness", "high\n", "control/tlsstrictness: not a number"),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_control_file_that_does_not_do_what_it_seems_to_is_warned_of(home, look, name):
    file, text, warning = WARNINGS[name]
    home.control(file, text)
    done = look("--json", host=None)
    assert done.returncode == DEFERRED
    assert warning in [w for e in entries(done).values() for w in e["warnings"]], done.stdout
    assert "secret" not in done.stdout
    text = look(host=None)
    assert text.returncode == DEFERRED and f"  warning: {warning}\n" in text.stdout


def test_control_file_that_qmailr_cannot_read_is_warned_of(home, look):
    os.chown(home.run_path, 65534, 65534)
    os.chown(f"{home.path}/queue/lock/tcpto", 65534, 65534)
    home.control("timeoutdns", "5\n")
    os.chmod(f"{home.path}/run", 0o755)
    assert look(host=None).returncode == 0
    os.chmod(f"{home.path}/control/timeoutdns", 0o600)
    done = look("--json", host=None)
    assert entries(done)["control/timeoutdns"]["warnings"] == ["Permission denied"]
    assert entries(done)["control"]["value"] == "all mail is deferred"


def test_many_wrong_lines_are_counted(home, look):
    home.control("smtproutes", "".join(f"d{n}.example\n" for n in range(1000)))
    assert entries(look("--json", host=None))["control/smtproutes"]["warnings"][-1] == "and 980 more"


@pytest.mark.parametrize("kind, warning", [
    ("script", "a script: a wrapper in front of this program, or something in its place"),
    ("stock", "another program, such as that of qmail, is in the place of this one"),
    ("swapped", "this is not qmail-remote"), ("missing", "No such file or directory"), ("mode", "Permission denied")])
def test_other_program_in_our_place_is_warned_of(home, look, kind, warning):
    path = f"{home.path}/bin/qmail-remote"
    with open(path, "rb") as f:
        ours = f.read()
    os.unlink(path)
    texts = {"script": b"#!/bin/sh\n", "stock": b"\x7fELF no mark\0", "mode": ours}
    if kind == "swapped":
        os.symlink("qmail-remote-io", path)
    elif kind != "missing":
        with open(path, "wb") as f:
            f.write(texts[kind])
        os.chmod(path, 0o644 if kind == "mode" else 0o711)
    os.chown(home.run_path, 65534, 65534)
    assert entries(look("--json", host=None))[path]["warnings"] == [warning]


def test_program_as_it_is_installed_is_not_warned_of(home, look):
    """qmailr may run it, and not read it: root looks at it before."""
    path = f"{home.path}/bin/qmail-remote"
    shutil.copy(os.path.realpath(path), f"{path}.copy")
    os.chmod(f"{path}.copy", 0o711)
    os.rename(f"{path}.copy", path)
    assert entries(look("--json", host=None))[path]["value"].startswith("qmail-remote ")
    os.chown(home.run_path, 65534, 65534)
    found = entries(look("--json", host=None))[path]
    assert found["value"].startswith("qmail-remote ") and not found["warnings"]
    os.chmod(path, 0o700)
    assert entries(look("--json", host=None))[path]["warnings"] == ["Permission denied"]
    os.chmod(path, 0o711)
    found = entries(look("--json", host=None,
                         first='set -- setpriv --reuid=65534 --clear-groups "$@";'))[path]
    assert (found["value"], found["warnings"]) == ("can be run; only root can read its version", [])


def test_helper_is_tried(site, home, look):
    site.want(2)
    home.control("clientcert", f"{site.certs.client_cert}\n")
    home.control("clientkey", f"{site.certs.client_key}\n")
    found = entries(look("--json", host=None))["TLS"]
    assert re.fullmatch(r"can be used, our certificate expires 20\d\d-\S+ \S+ UTC", found["value"]) and not found["warnings"]
    home.control("clientkey", "/etc/passwd\n")
    assert entries(look("--json", host=None))["TLS"]["warnings"] == ["cannot use /etc/passwd: no private key"]


def test_expired_certificate_of_ours_is_warned_of(site, home, look):
    site.want(0)
    old = site.certs.leaf("expired", "me.example")
    for name, pem in (("cert", old.pem), ("key", old.key_pem)):
        with open(f"/srv/pki/old.{name}", "wb") as f:
            f.write(pem)
        home.control(f"client{name}", f"/srv/pki/old.{name}\n")
    assert entries(look("--json", host=None))["TLS"]["warnings"] == ["our certificate has expired"]


def test_helper_that_cannot_start_is_warned_of(site, home, look):
    site.want(0)
    os.unlink(f"{home.path}/bin/qmail-remote-tls")
    assert entries(look("--json", host=None))["TLS"]["warnings"] != []


@pytest.mark.timed      # with nothing beside it: the tests of other processes would see this qmail-rspawn, too
def test_memory_limit_of_qmail_rspawn_is_warned_of(home, look):
    before = entries(look("--json", host=None))["limits of qmail-rspawn"]
    assert before["warnings"] == []
    rspawn = f"{home.path}/bin/qmail-rspawn"
    shutil.copy("/bin/sleep", rspawn)
    with subprocess.Popen(["sh", "-c", f"ulimit -v 16000; exec {rspawn} 1000"]) as process:
        try:
            def warned():
                found = entries(look("--json", host=None))["limits of qmail-rspawn"]
                return found["warnings"] == ["too little memory for TLS: 32 MB or more"] and \
                    found["value"].startswith("address space 15 MB")
            end = time.monotonic() + 30
            while not warned():
                assert time.monotonic() < end
        finally:
            process.kill()


def test_listing_leaves_no_trace(site, home, look):
    site.want(2)
    before = traces(home)
    look(host=None)
    assert traces(home) == before


# MTA-STS.

@pytest.fixture
def shown(sts, home, look):
    """shown(): what is said of the policy; nothing is left behind but what was there."""
    def make(*args, code=None, **how):
        before = traces(home)
        done = look(*args, **how)
        gone()
        assert traces(home) == before
        assert code is None or done.returncode == code, done
        return fields(done)["MTA-STS"]

    sts.mx()
    sts.server()
    return make


def fetch_policy(home):
    program = f"{home.path}/bin/qmail-remote-sts"
    assert home.start(args=["dst.example"], program=program, message=b"").finish().exit_code == 0
    gone()


def test_policy_is_fetched_and_not_written(sts, shown, look):
    host = sts.publish(policy("m1.example"))
    line, = shown(code=DELIVERED)
    assert re.fullmatch("policy of mode enforce, just fetched, for another 16[78] hours", line)
    assert len(host.requests) == 1 and not sts.has_entry()
    found = json.loads(look("--json", "dst.example", host=None).stdout)
    assert found["mta_sts"].startswith("policy of mode enforce, just fetched, ")
    assert found["hosts"][0]["name"] == "m1.example"


def test_policy_in_the_cache_is_shown(sts, home, shown):
    """One that is old is not refreshed either."""
    host = sts.publish(policy("m1.example", mode="testing"))
    fetch_policy(home)
    line, = shown(code=DELIVERED)
    assert re.fullmatch("policy of mode testing, from the cache, for another 16[78] hours", line)
    make_older(90000)
    assert shown(code=DELIVERED)[0].endswith(" hours") and len(host.requests) == 1


def test_policy_with_another_id_is_fetched_and_not_written(sts, home, shown):
    host = sts.publish(policy("m1.example"))
    fetch_policy(home)
    sts.record("2")
    host.script = [reply(policy(mode="none"))]
    assert shown(code=DELIVERED)[0].startswith("policy of mode none, just fetched, ")
    host.script = [reply("", "404 x")]
    assert shown(code=DELIVERED)[0].startswith("policy of mode enforce, from the cache, ")


def test_hosts_that_a_policy_leaves_out_are_shown(sts, look):
    sts.mx(ONE, TWO)
    sts.server()
    sts.publish(policy("m2.example"))
    sts.server(TWO, host="m2.example", cert="expired")
    done = look()
    assert done.returncode == DEFERRED
    assert "the MTA-STS policy of the domain does not list it" in done.stdout, done
    assert "certificate has expired" in done.stdout and "by MTA-STS" in done.stdout, done
    assert not sts.has_entry()


def test_policy_that_lists_no_host_is_fetched_again_and_not_written(sts, home, shown):
    host = sts.publish(policy("old.example"))
    fetch_policy(home)
    make_older(400)
    host.script = [reply(policy("m1.example"))]
    assert shown(code=DELIVERED)[0].startswith("policy of mode enforce, just fetched, ")
    assert len(host.requests) == 2


@pytest.mark.parametrize("set_up, said", [
    (lambda sts: sts.publish(reply("", "404 x")), "no policy could be fetched: the host replied 404"),
    (lambda sts: sts.publish(policy("m1.example"), leaf="expired"),
     "no policy could be fetched: TLS: certificate verify failed: certificate has expired"),
    (lambda sts: None, "the domain has no policy"),
    (lambda sts: sts.home.control("trustanchors", None), "not used: there is no control/trustanchors"),
    (lambda sts: sts.home.control("tlspolicy", "dst.example:may\n"), "not used: control/tlspolicy says otherwise"),
])
def test_why_there_is_no_policy(sts, shown, set_up, said):
    set_up(sts)
    assert shown(code=DELIVERED) == [said]


def test_literals_have_no_policy(shown):
    assert shown(host=f"[{ONE}]", code=DELIVERED) == ["not used: the next hop is an address"]


def test_without_mtasts_nothing_is_said_of_it(sts, home, look):
    home.control("mtasts", None)
    sts.mx()
    sts.server()
    sts.publish(policy("m1.example"))
    assert "MTA-STS" not in fields(look()) and sts.asked_for_policies() == []


def test_a_collector_is_not_told(sts, home, shown):
    """What was only looked at is no session of a message."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind("/srv/look.sock")
    sock.setblocking(False)
    home.control("tlsrptsocket", "/srv/look.sock\n")
    sts.dns.zone('_smtp._tls.dst.example TXT "v=TLSRPTv1; rua=mailto:r@dst.example"')
    sts.publish(policy("m1.example"))
    shown(code=DELIVERED)
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    sock.close()
    os.unlink("/srv/look.sock")


# A terminal.

@pytest.mark.parametrize("environment, coloured, waits", [
    ({"TERM": "xterm"}, True, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False, True), ({"TERM": "dumb"}, False, False)])
def test_terminal_gets_colour_and_progress(home, dns, smtp, pytestconfig, environment, coloured, waits):
    dns.zone(f"dst.example A {ONE}")
    smtp(ONE)
    main, other = os.openpty()
    with subprocess.Popen([f"{pytestconfig.option.build}/qmail-remote-check", "dst.example"], stdout=other,
                          stderr=subprocess.DEVNULL, env=environment) as process:
        os.close(other)
        shown = b""
        try:
            while data := os.read(main, 65536):
                shown += data
        except OSError:
            pass        # the other end is closed
        assert process.wait() == DELIVERED
    os.close(main)
    assert (b"\033[32mdelivered\033[0m" in shown) == coloured
    assert (b"... the greeting\r\033[K" in shown) == waits
