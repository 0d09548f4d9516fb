"""What a collector of TLS reports (RFC 8460) is told of deliveries, through control/tlsrptsocket."""

import ctypes
import ctypes.util
import json
import os
import socket

import pytest

from expect import accepted, check
from httpsd import reply
from stssite import DOMAIN, NO_HANDSHAKE, policy
from tlssite import gone, tls_line
from world import OWN6

ONE, TWO = "192.0.2.1", "192.0.2.2"
SOCKET = "/srv/tlsrpt.sock"
RECORD = "v=TLSRPTv1; rua=mailto:r@dst.example"
TLSA, STS, NONE = 1, 2, 9
NO_STARTTLS, NAME, NOT_TRUSTED, EXPIRED, VALIDATION = 201, 202, 203, 204, 205
FETCH, INVALID, WEBPKI, DANE_REQUIRED = 301, 302, 303, 306
# Reasons of handshakes that failed, as they are in the report.
HAS_EXPIRED, NO_TLS_THERE = "certificate verify failed: certificate has expired", "the server does not speak TLS"


class Collector:
    """The socket of a collector, and what came in."""

    def __init__(self, path=SOCKET):
        if os.path.lexists(path):
            os.unlink(path)
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path)
        os.chmod(path, 0o666)
        self.sock.setblocking(False)

    def datagrams(self):
        found = []
        while True:
            try:
                found.append(self.sock.recv(1 << 20))
            except BlockingIOError:
                return found

    def close(self):
        self.sock.close()
        os.unlink(self.path)


@pytest.fixture
def told(sts):
    """told(): the policies that the collector was told of since the last time, in one datagram; [] if in none."""
    collector = Collector()
    sts.home.control("tlsrptsocket", f"{SOCKET}\n")
    sts.dns.zone(f'_smtp._tls.{DOMAIN} TXT "{RECORD}"')

    def look(domain=DOMAIN, record=RECORD):
        datagrams = collector.datagrams()
        if not datagrams:
            return []
        data, = datagrams
        said = json.loads(data)
        assert sorted(said) == ["d", "policies", "pr"] and (said["d"], said["pr"]) == (domain, record)
        for one in said["policies"]:
            assert one["t"] == len(one.get("failure-details", [])) and one["f"] in (0, 1), one
        return said["policies"]

    look.collector = collector
    yield look
    collector.close()


def lines(*mx, mode="enforce"):
    """What is told of a policy."""
    return {"policy-string": policy(*mx, mode=mode).split("\n")[:-1], "mx-host": list(mx)}


def without(failed=0, *failures):
    """Of a host for which no policy is published."""
    return of({"policy-type": NONE, "policy-domain": DOMAIN}, failed, failures)


def with_sts(mx, failed=0, *failures, mode="enforce"):
    return of({"policy-type": STS, "policy-domain": DOMAIN, **lines(*mx, mode=mode)}, failed, failures)


def of(head, failed, failures):
    """`t` is the number of failures, `f` whether it failed in the end."""
    details = {"failure-details": list(failures)} if failures else {}
    return {**head, **details, "t": len(failures), "f": failed}


def failure(code, mx="m1.example", ip=ONE, own=True, **more):
    found = {"c": code}
    if own:
        found["s"] = own if isinstance(own, str) else ip
    if mx:
        found["n"] = mx
    if ip:
        found["r"] = ip
    return {**found, **more}


# Result types.

def test_success_without_a_policy(sts, told):
    sts.mx()
    sts.server()
    check(sts.run(), "r", accepted())
    assert told() == [without()]


def test_success_with_mta_sts(sts, told):
    sts.mx()
    sts.server()
    sts.publish(policy("m1.example"))
    check(sts.run(), "r", accepted())
    assert told() == [with_sts(["m1.example"])]
    check(sts.run(), "r", accepted())
    assert told() == [with_sts(["m1.example"])]


@pytest.mark.parametrize("cert, code", [(None, NO_STARTTLS), ("wrong-name", NAME), ("untrusted", NOT_TRUSTED),
                                        ("self-signed", NOT_TRUSTED), ("expired", EXPIRED), ("early", NOT_TRUSTED)])
@pytest.mark.parametrize("mode", ["enforce", "testing"])
def test_certificates(sts, told, cert, code, mode):
    """Told as failed: under `testing` the mail goes, but the session is not as the policy has it."""
    sts.mx()
    sts.server(cert=cert)
    sts.publish(policy("m1.example", mode=mode))
    run = sts.run()
    assert run.letters == ("Z" if mode == "enforce" else "rK"), run
    got, = told()
    reason = got["failure-details"][0].pop("f", "")
    assert got == with_sts(["m1.example"], 1, failure(code), mode=mode)
    assert bool(reason) == bool(cert) and reason in (tls_line(run) or run.message.text.decode())


@pytest.mark.parametrize("script, code", [
    ({"STARTTLS": "454 not now"}, NO_STARTTLS),
    ({"STARTTLS": NO_HANDSHAKE}, VALIDATION)], ids=["refused", "no-handshake"])
def test_no_session(sts, told, script, code):
    sts.mx()
    sts.server(**script)
    sts.publish(policy("m1.example"))
    assert sts.run().letters == "Z"
    got, = told()
    assert got["failure-details"][0].pop("f", "") == (NO_TLS_THERE if code == VALIDATION else "")
    assert got == with_sts(["m1.example"], 1, failure(code))


@pytest.mark.parametrize("script, code", [
    ({"cert": None}, NO_STARTTLS), ({"STARTTLS": "454 not now"}, NO_STARTTLS),
    ({"sessions": [{"STARTTLS": NO_HANDSHAKE}, {}]}, VALIDATION)],
    ids=["not-offered", "refused", "no-handshake"])
@pytest.mark.parametrize("strictness", [0, 1])
def test_clear_text(sts, told, script, code, strictness):
    """A failure is told once, not again for the attempt in clear text that it caused."""
    sts.want(strictness)
    sts.mx()
    sts.server(**script)
    check(sts.run(), "r", accepted())
    more = dict(f=NO_TLS_THERE) if code == VALIDATION else {}
    assert told() == [without(1, failure(code, **more))]


@pytest.mark.parametrize("mode", ["enforce", "testing"])
def test_unlisted(sts, told, mode):
    sts.mx()
    sts.server()
    sts.publish(policy("other.example", mode=mode))
    assert sts.run().letters == ("Z" if mode == "enforce" else "rK")
    detail = failure(VALIDATION, f="mx-mismatch", **({} if mode == "testing" else {"ip": None, "own": False}))
    assert told() == [with_sts(["other.example"], 1, detail, mode=mode)]


@pytest.mark.parametrize("script, leaf, code", [
    (reply("", "404 x"), "good", FETCH), (reply("<html>"), "good", INVALID), (reply(""), "expired", WEBPKI)],
    ids=["fetch", "invalid", "webpki"])
def test_no_policy_could_be_fetched(sts, told, script, leaf, code):
    """That is no failed session: the mail goes all the same."""
    sts.mx()
    sts.server()
    sts.publish(script, leaf=leaf)
    check(sts.run(), "r", accepted())
    first, second = told()
    details, = first.pop("failure-details")
    assert first == {"policy-type": STS, "policy-domain": DOMAIN, "t": 1, "f": 0}
    assert details.pop("f") and details == {"c": code}
    assert second == without()


def test_dane_is_demanded(sts, told):
    sts.home.control("tlspolicy", "dst.example:dane-only\n")
    sts.mx()
    sts.server()
    assert sts.run().letters == "Z"
    got, = told()
    assert got["failure-details"] == [failure(DANE_REQUIRED, ip=None, own=False)] and (got["t"], got["f"]) == (1, 1)
    assert (got["policy-type"], got["policy-domain"]) == (TLSA, "m1.example")


# Several hosts.

def test_each_host_that_was_tried(sts, told):
    sts.mx(ONE, TWO, "192.0.2.3", "192.0.2.4")
    sts.server(ONE)
    sts.server(TWO, host="m2.example", cert="expired")
    sts.server("192.0.2.3", host="m3.example")
    sts.server("192.0.2.4", host="m4.example")
    mx = ["m2.example", "m3.example", "m4.example"]
    sts.publish(policy(*mx))
    check(sts.run(), "r", accepted("192.0.2.3"))
    assert told() == [
        with_sts(mx, 1, failure(VALIDATION, ip=None, own=False, f="mx-mismatch")),
        with_sts(mx, 1, failure(EXPIRED, "m2.example", TWO, f=HAS_EXPIRED)),
        with_sts(mx)]


def test_addresses_of_one_host(sts, told):
    sts.mx(f"2001:db8::1 {ONE}")
    sts.server("2001:db8::1", cert="expired")
    sts.server(ONE)
    sts.publish(policy("m1.example"))
    check(sts.run(), "r", accepted())
    assert told() == [with_sts(["m1.example"], 0, failure(EXPIRED, ip="2001:db8::1", own=OWN6, f=HAS_EXPIRED))]


def test_a_host_that_cannot_be_reached_is_not_told_of(sts, told):
    sts.mx("192.0.2.9", TWO)
    sts.server(TWO, host="m2.example")
    check(sts.run(), "r", accepted(TWO))
    assert told() == [without()]
    sts.servers.clear()


def test_the_relay_is_the_domain(sts, told):
    sts.home.route(":relay.example")
    sts.dns.zone(f'relay.example A {ONE}\n_smtp._tls.relay.example TXT "v=TLSRPTv1;rua=mailto:x@relay.example"')
    sts.server(host="relay.example")
    check(sts.run(), "r", accepted())
    assert told("relay.example", "v=TLSRPTv1;rua=mailto:x@relay.example") == [
        {"policy-type": NONE, "policy-domain": "relay.example", "t": 0, "f": 0}]
    assert sts.dns.asked(f"_smtp._tls.{DOMAIN}") == []


def test_a_refused_message_is_no_matter_of_tls(sts, told):
    sts.mx()
    sts.server(MAIL="550 no")
    assert sts.run().letters == "D"
    assert told() == [without()]


# Nothing is told.

@pytest.mark.parametrize("records", [
    [], [RECORD, RECORD.replace("r@", "s@")], ["v=TLSRPTv2; rua=mailto:r@dst.example"], ["v=TLSRPTv1"],
    ["x; v=TLSRPTv1; rua=mailto:r@dst.example"]])
def test_no_record(sts, told, records):
    sts.dns.forget(f"_smtp._tls.{DOMAIN}")
    for record in records:
        sts.dns.zone(f'_smtp._tls.{DOMAIN} TXT "{record}"')
    sts.mx()
    sts.server()
    check(sts.run(), "r", accepted())
    assert told() == [] and sts.dns.asked(f"_smtp._tls.{DOMAIN}") == ["TXT"]


def test_a_record_among_others_in_pieces(sts, told):
    sts.dns.forget(f"_smtp._tls.{DOMAIN}")
    sts.dns.zone(f'_smtp._tls.{DOMAIN} TXT "x"\n_smtp._tls.{DOMAIN} TXT "v=TLSRPTv1; rua=mai" "lto:r@dst.example"')
    sts.mx()
    sts.server()
    check(sts.run(), "r", accepted())
    assert told() == [without()]


@pytest.mark.parametrize("rule", [{"rcode": "SERVFAIL"}, {"drop": True}], ids=["SERVFAIL", "silent"])
def test_no_answer_for_the_record(sts, told, rule):
    """It is not waited for."""
    sts.dns.rule(f"_smtp._tls.{DOMAIN}", **rule)
    sts.mx()
    sts.server()
    run = sts.run()
    check(run, "r", accepted())
    assert told() == [] and run.wall < 15


def test_switched_off(sts, told):
    """The record is not asked for."""
    sts.home.control("tlsrptsocket", None)
    sts.mx()
    sts.server()
    check(sts.run(), "r", accepted())
    assert told() == [] and sts.dns.asked(f"_smtp._tls.{DOMAIN}") == []


def test_literals(sts, told):
    sts.server()
    check(sts.run(host=f"[{ONE}]"), "r", accepted())
    assert told() == [] and sts.dns.questions == []


@pytest.mark.parametrize("setting, field, is_told", [("1", b"no", False), ("1", b"yes", True), ("0", b"no", True),
                                                     ("2", b"no", True)])
def test_tls_is_not_required(sts, told, setting, field, is_told):
    """Reports on reports would go on for ever."""
    sts.home.control("tlsrequired", f"{setting}\n")
    sts.mx()
    sts.server()
    check(sts.run(message=b"TLS-Required: " + field + b"\n\nx\n"), "r", accepted())
    assert bool(told()) == is_told
    assert bool(sts.dns.asked(f"_smtp._tls.{DOMAIN}")) == is_told


@pytest.mark.parametrize("level", ["none"])
def test_the_administrator_wants_no_tls(sts, told, level):
    sts.home.control("tlspolicy", f"dst.example:{level}\n")
    sts.mx()
    sts.server()
    check(sts.run(), "r", accepted())
    assert told() == []


def test_no_server_at_all(sts, told):
    sts.mx("192.0.2.9")
    assert sts.run().letters == "Z"
    assert told() == []


# A collector that is not as it should be.

def missing(_):
    return "/srv/none/tlsrpt.sock"


def nobody(_):
    path = "/srv/left.sock"
    Collector(path).sock.close()
    return path


def plain_file(_):
    with open("/srv/no-socket", "w", encoding="ascii"):
        pass
    return "/srv/no-socket"


def stream(keep):
    keep.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    if os.path.exists("/srv/stream.sock"):
        os.unlink("/srv/stream.sock")
    keep[-1].bind("/srv/stream.sock")
    keep[-1].listen(5)
    return "/srv/stream.sock"


def fifo(_):
    if not os.path.exists("/srv/fifo"):
        os.mkfifo("/srv/fifo")
    return "/srv/fifo"


def full(keep):
    """Nobody reads, and no more goes in."""
    keep.append(Collector("/srv/full.sock").sock)
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    keep.append(sender)
    sender.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            sender.sendto(b"x", "/srv/full.sock")
    return "/srv/full.sock"


def directory(_):
    return "/srv"


def long_path(_):
    return "/srv/" + "x" * 5000


def loop(_):
    if not os.path.lexists("/srv/loop"):
        os.symlink("/srv/loop", "/srv/loop")
    return "/srv/loop"


COLLECTORS = [missing, nobody, plain_file, stream, fifo, full, directory, long_path, loop]


def odd(sts, make):
    keep = []
    sts.home.control("tlsrptsocket", make(keep) + "\n")
    sts.dns.zone(f'_smtp._tls.{DOMAIN} TXT "{RECORD}"')
    sts.mx()
    sts.server()
    before = sts.run()
    for sock in keep:
        sock.close()
    return before


@pytest.mark.parametrize("make", COLLECTORS)
def test_collectors_that_take_nothing(sts, make):
    """The delivery is the same; descriptors are not left behind."""
    run = odd(sts, make)
    check(run, "r", accepted())
    assert tls_line(run).endswith("certificate not verified") and run.wall < 15
    gone()


@pytest.mark.timed
@pytest.mark.parametrize("make", COLLECTORS)
def test_collectors_that_take_nothing_delay_nothing(sts, make):
    assert odd(sts, make).lasted(1)


def test_a_slow_reader(sts, told):
    """What was sent is there when it looks at last, as far as there is room."""
    sts.mx()
    sts.server()
    for _ in range(3):
        check(sts.run(), "r", accepted())
    assert len(told.collector.datagrams()) == 3


def test_a_socket_that_cannot_be_read_from_control(sts, told):
    """It never concerns the mail."""
    path = sts.home.control("tlsrptsocket", None)
    os.mkdir(path)
    sts.mx()
    sts.server()
    check(sts.run(), "r", accepted())
    assert told() == []


# The reference.

def library():
    """libtlsrpt, of the system or at $LIBTLSRPT; Debian has it from 13 on, as libtlsrpt0."""
    name = os.environ.get("LIBTLSRPT") or ctypes.util.find_library("tlsrpt")
    return ctypes.CDLL(name) if name else None


def told_by_library(lib, collector, said):
    """The datagram that libtlsrpt makes of the same."""
    connection, delivery = ctypes.c_void_p(), ctypes.c_void_p()

    def call(name, *args):
        assert getattr(lib, name)(*args) == 0, name

    def text(value):
        return value.encode() if value is not None else None

    call("tlsrpt_open", ctypes.byref(connection), text(SOCKET))
    call("tlsrpt_init_delivery_request", ctypes.byref(delivery), connection, text(said["d"]), text(said["pr"]))
    for one in said["policies"]:
        call("tlsrpt_init_policy", delivery, one["policy-type"], text(one["policy-domain"]))
        for line in one.get("policy-string", ()):
            call("tlsrpt_add_policy_string", delivery, text(line))
        for pattern in one.get("mx-host", ()):
            call("tlsrpt_add_mx_host_pattern", delivery, text(pattern))
        for detail in one.get("failure-details", ()):
            call("tlsrpt_add_delivery_request_failure", delivery, detail["c"],
                 *(text(detail.get(key)) for key in "snhraf"))
        call("tlsrpt_finish_policy", delivery, one["f"])
    call("tlsrpt_finish_delivery_request", ctypes.byref(delivery))
    call("tlsrpt_close", ctypes.byref(connection))
    data, = collector.datagrams()
    return data


def deliver_without_policy(sts):
    sts.mx()
    sts.server(cert=None)


def deliver_to_several(sts):
    sts.mx(ONE, TWO, "192.0.2.3")
    sts.server(ONE)
    sts.server(TWO, host="m2.example", cert="expired")
    sts.server("192.0.2.3", host="m3.example")
    sts.publish(policy("m2.example", "m3.example"))


def deliver_by_another_address(sts):
    sts.mx(f"2001:db8::1 {ONE}")
    sts.server("2001:db8::1", cert="expired")
    sts.server(ONE)
    sts.publish(policy("m1.example"))


def deliver_after_a_failed_fetch(sts):
    sts.mx()
    sts.server()
    sts.publish(reply("", '404 "no" \\'))


def deliver_in_testing_mode(sts):
    sts.mx()
    sts.server(cert="wrong-name")
    sts.publish(policy("m1.example", mode="testing"))


@pytest.mark.parametrize("set_up", [deliver_without_policy, deliver_to_several, deliver_by_another_address,
                                    deliver_after_a_failed_fetch, deliver_in_testing_mode])
def test_as_libtlsrpt(sts, told, set_up):
    """The library, told the same, sends the same."""
    lib = library()
    if lib is None:
        pytest.skip("libtlsrpt is not here (Debian 13: libtlsrpt0); LIBTLSRPT=PATH names one")
    set_up(sts)
    sts.run()
    ours, = told.collector.datagrams()
    theirs = told_by_library(lib, told.collector, json.loads(ours))
    assert json.loads(ours) == json.loads(theirs)
    assert ours == theirs
