"""DNS: two waves in parallel, big and broken answers, one bad host among good ones, no resolver, time limits."""

import struct
import threading

import pytest
from dns import flags, message, rcode, rdatatype, rrset

import dnsd
import world
from expect import DNS_SOFT, NO_ADDRESS, accepted, check, no_host
from smtpd import RESET, Call

IP = "192.0.2.1"

# So much time for one try that none is repeated however busy the machine is.
PATIENT = "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n"


_servers = {}


def another_server(address):
    """A DNS server at another address; it stays, with nothing in it, until it is wanted again."""
    if address not in _servers:
        _servers[address] = dnsd.Server(address)
    _servers[address].reset()
    return _servers[address]


@pytest.mark.timed
def test_there_are_two_waves_of_questions_whatever_the_number_of_hosts(home, smtp, dns):
    """Ten hosts, a resolver that takes a second for each answer."""
    world.resolv_conf(PATIENT)
    smtp(IP)
    for n in range(10):
        dns.zone(f"dst.example MX {n} m{n}.example.\nm{n}.example A {IP if n == 9 else f'192.0.2.{n + 90}'}")
    dns.rule(delay=1)
    run = home.run()
    check(run, "r", accepted())
    assert run.lasted(6, least=2)


def test_all_addresses_are_asked_at_once(home, smtp, dns):
    world.resolv_conf(PATIENT)
    smtp(IP)
    gate = threading.Event()
    for n in range(30):
        dns.zone(f"dst.example MX {n} m{n}.example.\nm{n}.example A {IP}")
        dns.rule(f"m{n}.example", hold=gate)
    process = home.start()
    dns.wait_questions(1 + 30 * 2)
    gate.set()
    check(process.finish(), "r", accepted())
    assert {k for n, k in dns.questions[1:]} == {"A", "AAAA"}


def test_each_question_is_asked_once(home, smtp, dns):
    """The names are of this test alone: the server may still read what the test before it asked a second time."""
    world.resolv_conf(PATIENT)
    smtp(IP)
    for preference in (5, 5, 9):
        dns.zone(f"once.example MX {preference} m.once.example.")
    dns.zone(f"m.once.example A {IP}")
    check(home.run("once.example"), "r", accepted())
    assert sorted((q.name, q.kind) for q in dns.log if q.name.endswith("once.example")) == [
        ("m.once.example", "A"), ("m.once.example", "AAAA"), ("once.example", "MX")]


@pytest.mark.timed
def test_the_hundredth_mx_host_gets_the_mail(home, smtp, dns):
    smtp(IP)
    for n in range(100):
        dns.zone(f"dst.example MX {n} m{n}.example.\n")
    dns.zone(f"m99.example A {IP}")
    run = home.run()
    check(run, "r", accepted())
    assert run.lasted(5)


@pytest.mark.parametrize("name", ["dst.example", "m.example"])
def test_a_truncated_answer_is_asked_for_by_tcp(home, smtp, dns, name):
    smtp(IP)
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}")
    dns.rule(name, truncate=True)
    check(home.run(), "r", accepted())
    assert "tcp" in {q.proto for q in dns.log if q.name == name}


def test_an_answer_of_40_kb_is_read(home, smtp, dns):
    """40 KB: far above what UDP carries."""
    smtp(IP)
    for n in range(1200):
        dns.zone(f"dst.example MX {n + 5} long-name-of-a-mail-server-{n}.example.")
    dns.zone(f"dst.example MX 1 m.example.\nm.example A {IP}")
    check(home.run(), "r", accepted())


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_server_whose_connections_serve_one_question_is_enough(home, smtp, dns, attempts):
    """All answers are truncated, and each connection ends after an answer."""
    world.resolv_conf(f"nameserver 127.0.0.1\noptions timeout:10 attempts:{attempts}\n")
    smtp(IP)
    for n in range(10):
        dns.zone(f"dst.example MX {n} m{n}.example.\nm{n}.example AAAA 2001:db8::{n + 1}")
    dns.zone(f"m9.example A {IP}")
    dns.rule(truncate=True, once=True)
    check(home.run(), "r", accepted())
    assert {(q.name, q.kind) for q in dns.log if q.proto == "tcp"} == {("dst.example", "MX")} | {
        (f"m{n}.example", kind) for n in range(10) for kind in ("A", "AAAA")}


@pytest.mark.parametrize("scheme", ["fe80::53%hole0", "[fe80::53%hole0]:53"])
def test_a_link_local_name_server_is_asked(home, smtp, scheme):
    world.ip("addr replace fe80::53/64 dev hole0 nodad")
    world.resolv_conf(f"nameserver {scheme}\n")
    smtp(IP)
    server = another_server("fe80::53%hole0")
    try:
        server.zone(f"dst.example MX 5 m.example.\nm.example A {IP}")
        server.rule("m.example", truncate=True)
        check(home.run(), "r", accepted())
    finally:
        world.resolv_conf()
        world.ip("addr del fe80::53/64 dev hole0")


def _crowd(kind, size, count):
    """As many addresses as fit into one answer."""
    def make(query, reply):
        answer = message.make_response(query, recursion_available=True)
        if query.proto == "udp":
            answer.flags |= flags.TC
            return answer.to_wire()
        wire = bytearray(answer.to_wire())
        wire[6:8] = struct.pack("!H", count)
        wire[10:12] = b"\0\0"
        question = query.question[0].name.to_wire() + struct.pack("!HH", kind, 1)
        records = (struct.pack("!HHHIH", 0xc00c, kind, 1, 60, size) + n.to_bytes(2, "big").rjust(size, b"\x20")
                   for n in range(count))
        return bytes(wire[:12]) + question + b"".join(records)
    return make


def test_answers_with_6300_addresses_a_host_take_little_memory(home, smtp, dns):
    """100 MX hosts, each with 4000 IPv4 and 2300 IPv6 addresses, take little more memory than one with one."""
    peaks, started = [], threading.Event()

    def note(session):
        started.wait(10)    # the server can be asked before the delivery is known here
        peaks.append(home.processes[-1].status_of("VmHWM"))
        return "220 hello"

    if "sanitizer" in home.kind:
        pytest.skip("sanitizers have memory of their own")
    smtp(IP, greeting=Call(note))
    home.control("timeoutdns", "100\n")
    dns.zone(f"dst.example MX 1 m.example.\nm.example A {IP}")
    process = home.start()
    started.set()
    check(process.finish(), "r", accepted())
    for n in range(99):
        dns.zone(f"big.example MX {n + 2} m{n}.example.")
        dns.rule(f"m{n}.example", "A", raw=_crowd(rdatatype.A, 4, 4000))
        dns.rule(f"m{n}.example", "AAAA", raw=_crowd(rdatatype.AAAA, 16, 2300))
    dns.zone("big.example MX 1 m.example.")
    started.clear()
    process = home.start(host="big.example")
    started.set()
    check(process.finish(timeout=110), "r", accepted())
    assert len({q.name for q in dns.log if q.proto == "tcp"}) == 100    # with the MX records
    assert peaks[1] - peaks[0] < 4096, peaks


def test_a_truncated_answer_without_tcp_is_temporary(home, dns):
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n")
    home.control("timeoutdns", "3\n")
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}")
    dns.rule("dst.example", "MX", truncate=True, close=True)
    check(home.run(), DNS_SOFT)


def test_an_answer_of_up_to_1232_bytes_needs_no_tcp(home, smtp, dns):
    """Between 512 and 1232 bytes one exchange is enough, as EDNS is used."""
    world.resolv_conf(PATIENT)
    smtp(IP)
    for n in range(15):
        dns.zone(f"dst.example MX {n} quite-a-long-name-of-a-server-{n}.example.")
    dns.zone(f"quite-a-long-name-of-a-server-0.example A {IP}")
    check(home.run(), "r", accepted())
    assert [q.proto for q in dns.log if q.kind == "MX"] == ["udp"]


@pytest.mark.timed
@pytest.mark.parametrize("how", [{"rcode": "SERVFAIL"}, {"rcode": "FORMERR"}, {"rcode": "REFUSED"}, {"drop": True},
                                 {"rcode": "NXDOMAIN"}, {"empty": True}], ids=lambda h: str(next(iter(h.values()))))
@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_one_family_is_enough_where_the_other_fails(home, smtp, dns, how, kind):
    """The other family is enough."""
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    home.control("timeoutdns", "2\n")
    good = "2001:db8::1" if kind == "A" else IP
    smtp(good)
    dns.zone(f"dst.example MX 5 m.example.\nm.example {'AAAA' if kind == 'A' else 'A'} {good}")
    dns.rule("m.example", kind, **how)
    run = home.run()
    check(run, "r", accepted(good))
    assert run.lasted(3.5)


@pytest.mark.parametrize("kind", ["A", "AAAA"])
@pytest.mark.parametrize("mx", [True, False], ids=["mx", "no-mx"])
def test_an_unknown_family_beside_an_empty_one_is_temporary(home, dns, kind, mx):
    """Not known is not the same as not there."""
    name = "m.example" if mx else "dst.example"
    if mx:
        dns.zone("dst.example MX 5 m.example.\nm.example TXT x")
    else:
        dns.zone("dst.example TXT x")
    dns.rule(name, kind, rcode="SERVFAIL")
    check(home.run(), DNS_SOFT)


@pytest.mark.timed
def test_a_host_without_an_answer_does_not_spoil_the_next(home, smtp, dns):
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    home.control("timeoutdns", "2\n")
    smtp(IP)
    dns.zone(f"dst.example MX 1 dead.example.\ndst.example MX 5 m.example.\nm.example A {IP}")
    dns.rule("dead.example", drop=True)
    run = home.run()
    check(run, "r", accepted())
    assert run.lasted(3.5)


def test_a_host_that_does_not_exist_does_not_spoil_the_next(home, smtp, dns):
    smtp(IP)
    dns.zone(f"dst.example MX 1 none.example.\ndst.example MX 5 m.example.\nm.example A {IP}")
    check(home.run(), "r", accepted())


def test_all_hosts_unknown(home, dns):
    dns.zone("dst.example MX 1 none.example.\ndst.example MX 5 nothing.example.")
    check(home.run(), NO_ADDRESS)


def test_cname_of_mx(home, smtp, dns):
    smtp(IP)
    dns.zone(f"dst.example MX 1 alias.example.\nalias.example CNAME m.example.\nm.example A {IP}")
    check(home.run(), "r", accepted())


def test_null_mx_among_others(home, smtp, dns):
    """RFC 7505: it only means something when alone."""
    smtp(IP)
    dns.zone(f"dst.example MX 0 .\ndst.example MX 5 m.example.\nm.example A {IP}")
    check(home.run(), "r", accepted())


@pytest.mark.parametrize("preference", [0, 10])
def test_null_mx(home, smtp, dns, preference):
    server = smtp(IP)
    dns.zone(f"dst.example MX {preference} .\ndst.example A {IP}")
    assert home.run().letters == "D" and server.connections == 0


# Broken answers are temporary, whatever is broken.

def _cut(size):
    return lambda query, reply: reply.to_wire()[:size]


def _long_rdata(query, reply):
    """The length of the last record says more than there is."""
    data = bytearray(reply.to_wire())
    at = data.rindex(b"\0\5\1m\xc0") if b"\0\5\1m\xc0" in data else len(data) - 8
    data[at - 2:at] = b"\x40\x00"
    return bytes(data)


def _pointer_loop(query, reply):
    """A name that points to itself."""
    head = bytearray(query.to_wire()[:12])
    head[2:12] = b"\x81\x80\0\1\0\1\0\0\0\0"
    question = query.question[0].name.to_wire() + b"\0\x0f\0\1"
    owner = 12 + len(question)
    rr = bytes([0xc0, owner]) + b"\0\x0f\0\1\0\0\0\x3c\0\4\0\5" + bytes([0xc0, owner])
    return bytes(head) + question + rr


def _short_mx(query, reply):
    head = bytearray(query.to_wire()[:12])
    head[2:12] = b"\x81\x80\0\1\0\1\0\0\0\0"
    question = query.question[0].name.to_wire() + b"\0\x0f\0\1"
    return bytes(head) + question + b"\xc0\x0c\0\x0f\0\1\0\0\0\x3c\0\1\0"


def _other_id(query, reply):
    reply.id ^= 1
    return reply.to_wire()


def _other_question(query, reply):
    data = bytearray(reply.to_wire())
    data[13] ^= 1
    return bytes(data)


@pytest.mark.parametrize("raw", [
    _cut(0), _cut(5), _cut(12), _cut(30), _cut(45), _long_rdata, _pointer_loop, _short_mx, _other_id, _other_question,
    b"garbage" * 20, lambda q, r: q.to_wire(),
], ids=["0", "5", "12", "30", "45", "rdata", "loop", "short-mx", "id", "question", "garbage", "echo"])
def test_a_broken_answer_is_temporary_and_not_used(home, smtp, dns, raw):
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    home.control("timeoutdns", "2\n")
    server = smtp(IP)
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}\ndst.example A {IP}")
    dns.rule("dst.example", "MX", raw=raw)
    check(home.run(), DNS_SOFT)
    assert server.connections == 0


# Answers that are no denial, and aliases.

def _answer(*records, code=0, authority=()):
    """A reply with these records, whatever was asked for: NAME TYPE DATA."""
    def make(query, reply):
        answer = message.make_response(query, recursion_available=True)
        answer.set_rcode(code)
        for section, lines in ((answer.answer, records), (answer.authority, authority)):
            for line in lines:
                name, kind, data = line.split(None, 2)
                section.append(rrset.from_text(name, 60, "IN", kind, data))
        return answer.to_wire()
    return make


_SOA = ". SOA ns. root. 1 1 1 1 1"


@pytest.mark.parametrize("raw", [
    _answer("dst.example. TXT x"), _answer("dst.example. TXT x", authority=[_SOA]),
    _answer("other.example. MX 5 m.example."), _answer("other.example. A 192.0.2.1"),
    _answer("other.example. CNAME m.example."), _answer("example. DNAME example.net."),
    _answer("other.example. TXT x", code=rcode.NXDOMAIN),
    _answer("dst.example. MX 5 m.example.", code=rcode.NXDOMAIN),
    _answer(authority=["dst.example. A 192.0.2.1", "dst.example. AAAA 2001:db8::1", "dst.example. MX 5 m.example."]),
], ids=["type", "type-soa", "owner-mx", "owner-a", "owner-cname", "dname", "nxdomain-owner", "nxdomain-mx", "authority"])
@pytest.mark.parametrize("kind", ["MX", None])
def test_records_of_something_else_deny_nothing(home, smtp, dns, raw, kind):
    server = smtp(IP)
    dns.zone(f"dst.example A {IP}")
    dns.rule("dst.example", kind, raw=raw)
    check(home.run(), DNS_SOFT)
    assert server.connections == 0


def test_addresses_of_something_else_deny_no_host(home, dns):
    dns.zone("dst.example MX 5 m.example.\ndst.example MX 6 n.example.")
    for name in "mn":
        dns.rule(f"{name}.example", raw=_answer("other.example. A 192.0.2.1"))
    check(home.run(), DNS_SOFT)


def _alias_only(dns, name, target, **how):
    dns.rule(name, raw=_answer(f"{name}. CNAME {target}.", **how))


@pytest.mark.parametrize("how", [{}, {"code": rcode.NXDOMAIN}, {"authority": ["dst.example. SOA ns. root. 1 1 1 1 1"]}],
                         ids=["bare", "nxdomain", "soa"])
def test_the_target_of_an_answer_with_an_alias_alone_is_asked_for(home, smtp, dns, how):
    """The target is asked for, of both waves."""
    smtp(IP)
    dns.zone(f"real.example MX 5 m.example.\nhost.example A {IP}")
    _alias_only(dns, "dst.example", "REAL.example", **how)
    _alias_only(dns, "m.example", "host.example")
    check(home.run(), "r", accepted())
    assert dns.asked("real.example") == ["MX"] and set(dns.asked("host.example")) == {"A", "AAAA"}


@pytest.mark.parametrize("steps", [8, 9])
@pytest.mark.parametrize("kind", ["host", "mx"])
def test_eight_aliases_are_followed_and_nine_are_not(home, smtp, dns, steps, kind):
    server = smtp(IP)
    dns.zone(f"a0.example MX 5 m.example.\na0.example A {IP}\nm.example A {IP}")
    for n in range(1, steps + 1):
        _alias_only(dns, f"a{n}.example", f"a{n - 1}.example")
    if kind == "host":
        dns.zone(f"dst.example MX 5 a{steps}.example.")
        run = home.run()
    else:
        run = home.run(host=f"a{steps}.example")
    check(run, *(("r", accepted()) if steps == 8 else (DNS_SOFT,)))
    assert server.connections == (steps == 8)


def test_a_loop_of_answers_with_aliases_alone_is_temporary(home, dns):
    _alias_only(dns, "dst.example", "b.example")
    _alias_only(dns, "b.example", "dst.example")
    check(home.run(), DNS_SOFT)
    _alias_only(dns, "dst.example", "dst.example")
    check(home.run(), DNS_SOFT)


def test_an_alias_of_nothing_does_not_exist(home, dns):
    _alias_only(dns, "dst.example", "nothing.example")
    check(home.run(), no_host())


def test_alias_of_a_name_with_no_records_is_not_asked_for(home, smtp, dns):
    """What unbound and others answer: the SOA record speaks for the target."""
    world.resolv_conf(PATIENT)
    smtp(IP)
    dns.zone(f"dst.example MX 5 m.example.\nm.example CNAME host.example.\nhost.example A {IP}")
    check(home.run(), "r", accepted())
    assert sorted((q.name, q.kind) for q in dns.log) == [
        ("dst.example", "MX"), ("m.example", "A"), ("m.example", "AAAA")]


# No resolver, and time.

def test_without_a_name_server_lookups_are_temporary_and_addresses_work(home, smtp):
    world.resolv_conf("nameserver 127.0.0.9\noptions timeout:1 attempts:1\n")
    home.control("timeoutdns", "5\n")
    try:
        run = home.run()
        check(run, DNS_SOFT)
        smtp(IP)
        home.route(f":{IP}")
        check(home.run(), "r", accepted())
    finally:
        world.resolv_conf()


def test_the_second_name_server_is_asked_where_the_first_is_dead(home, smtp, dns):
    world.resolv_conf("nameserver 127.0.0.9\nnameserver 127.0.0.1\noptions timeout:1\n")
    smtp(IP)
    dns.zone(f"dst.example A {IP}")
    check(home.run(), "r", accepted())


@pytest.mark.parametrize("refusing", ["127.0.0.9", "::1", "127.0.0.9\nnameserver 127.0.0.8"])
@pytest.mark.parametrize("kind, address", [("A", IP), ("AAAA", "2001:db8::1")])
def test_a_name_server_that_refuses_costs_no_time(home, smtp, dns, refusing, kind, address):
    """Each of the questions asked at once is told of it, not only one."""
    world.resolv_conf(f"nameserver {refusing}\n{PATIENT}")
    smtp(address)
    for n in range(10):
        dns.zone(f"dst.example MX {n} m{n}.example.\nm{n}.example {kind} {address}")
    run = home.run()
    check(run, "r", accepted(address))
    assert run.wall < 10


@pytest.mark.timed
@pytest.mark.parametrize("which", ["dst.example", "m.example"])
def test_timeoutdns_ends_each_lookup(home, dns, which):
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}")
    dns.rule(which, drop=True)
    home.control("timeoutdns", "1\n")
    run = home.run()
    check(run, DNS_SOFT)
    assert run.lasted(2.5, least=0.9)


class _Deaf:
    """Answers nothing until so many questions of a name have come."""

    def __init__(self, dns, name, count):
        self.dns, self.name, self.count = dns, name, count
        dns.rule(name, raw=self)

    def questions(self):
        return [q for q in self.dns.log if q.name == self.name and q.kind != "AAAA"]

    def __call__(self, query, reply):
        return reply.to_wire() if len(self.questions()) > self.count else None


@pytest.mark.parametrize("which", ["dst.example", "m.example"])
def test_timeoutdns_goes_beyond_resolv_conf(home, smtp, dns, which):
    """In each of the two waves questions are repeated until the time is over."""
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    home.control("timeoutdns", "30\n")
    smtp(IP)
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}")
    deaf = _Deaf(dns, which, 3)
    process = home.start()
    check(process.finish(), "r", accepted())
    asked = [q.when - process.started for q in deaf.questions()]
    for when, least in zip(asked, (0, 0.5, 1, 2)):
        assert when >= least, asked


def test_without_timeoutdns_rounds_are_1_3_and_11_seconds(home, smtp, dns):
    """Rounds of 1, 3 and 11 seconds, each question once with EDNS0 and, half of the round later, once without."""
    smtp(IP)
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}")
    deaf = _Deaf(dns, "dst.example", 4)
    process = home.start()
    check(process.finish(), "r", accepted())
    asked = [q.when - process.started for q in deaf.questions()]
    for when, least in zip(asked, (0, 0.5, 1, 2.5, 4)):
        assert when >= least, asked
    assert [q.edns for q in deaf.questions()] == [1232, None, 1232, None, 1232]


def test_two_name_servers_share_each_round(home, smtp, dns):
    """They share each round."""
    world.resolv_conf("nameserver 127.0.0.2\nnameserver 127.0.0.1\n")
    smtp(IP)
    silent = another_server("127.0.0.2")
    silent.rule(drop=True)
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}")
    deaf = _Deaf(dns, "dst.example", 2)
    process = home.start()
    check(process.finish(), "r", accepted())
    asked = [q.when - process.started for q in deaf.questions()]
    for when, least in zip(asked, (0.5, 0.75, 2.5)):
        assert when >= least, asked
    assert sum(q.name == "dst.example" for q in silent.log) >= 4


@pytest.mark.parametrize("how", [{"rcode": "SERVFAIL"}, {"rcode": "REFUSED"}, {"rcode": "NOTIMP"}, {"rcode": "FORMERR"}],
                         ids=lambda h: h["rcode"])
def test_a_failure_of_all_name_servers_ends_the_lookup(home, dns, how):
    world.resolv_conf("nameserver 127.0.0.2\nnameserver 127.0.0.9\nnameserver 127.0.0.1\n")
    home.control("timeoutdns", "60\n")
    another_server("127.0.0.2").rule(**how)
    dns.rule(**how)
    check(home.run(timeout=50), DNS_SOFT)


@pytest.mark.parametrize("text", [None, "0\n", "\n", "abc\n", "99999999999\n", "4294967296\n"])
def test_nonsense_in_timeoutdns_is_no_limit(home, smtp, dns, text):
    """No limit of ours: the resolver's own schedule."""
    smtp(IP)
    dns.zone(f"dst.example A {IP}")
    dns.rule("dst.example", "MX", delay=1.2)
    home.control("timeoutdns", text)
    check(home.run(), "r", accepted())


def _formerr(query, reply):
    reply.set_rcode(rcode.FORMERR)
    return reply.to_wire()


def _formerr_without_opt(query, reply):
    answer = message.make_response(message.make_query(query.question[0].name, query.question[0].rdtype))
    answer.id = query.id
    return _formerr(query, answer)


def _formerr_without_question(query, reply):
    answer = message.make_response(query)
    answer.question = []
    return _formerr(query, answer)


def _header_only(code):
    return lambda query, reply: struct.pack("!6H", query.id, 0x8180 | code, 0, 0, 0, 0)


def _rcode(name):
    def make(query, reply):
        answer = message.make_response(query)
        answer.set_rcode(rcode.from_text(name))
        return answer.to_wire()
    return make


_NO_EDNS = {
    "formerr": _formerr, "formerr-no-opt": _formerr_without_opt, "formerr-no-question": _formerr_without_question,
    "formerr-header": _header_only(rcode.FORMERR), "servfail-header": _header_only(rcode.SERVFAIL),
    "notimp": _rcode("NOTIMP"), "servfail": _rcode("SERVFAIL"), "refused": _rcode("REFUSED"),
    "badvers": _rcode("BADVERS"), "silent": lambda query, reply: None,
}


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("how", _NO_EDNS)
def test_a_name_server_that_cannot_bear_edns0_is_asked_without(home, smtp, dns, how, attempts):
    """No question with OPT is answered, of both waves: each is asked without, in the time that there is."""
    world.resolv_conf(f"nameserver 127.0.0.1\noptions timeout:4 attempts:{attempts}\n")
    smtp(IP)
    dns.zone(f"dst.example MX 5 m.example.\ndst.example MX 6 n.example.\nm.example A {IP}\nn.example A 192.0.2.2")
    dns.rule(raw=lambda query, reply: reply.to_wire() if query.edns < 0 else _NO_EDNS[how](query, reply))
    check(home.run(), "r", accepted())
    assert {q.edns for q in dns.log} == {1232, None}


@pytest.mark.parametrize("limit", [None, "3\n"])
def test_edns0_is_left_out_for_the_second_server_while_the_first_is_silent(home, smtp, dns, limit):
    """The first server is there and silent, the second one bears no EDNS0."""
    world.resolv_conf("nameserver 127.0.0.2\nnameserver 127.0.0.1\n")
    home.control("timeoutdns", limit)
    smtp(IP)
    another_server("127.0.0.2").rule(drop=True)
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}")
    dns.rule(raw=lambda query, reply: reply.to_wire() if query.edns < 0 else None)
    check(home.run(), "r", accepted())


def test_a_referral_denies_nothing(home, dns):
    """A server that neither knows nor asks others denies nothing."""
    def make(query, _):
        answer = message.make_response(query)
        answer.flags &= ~flags.RA
        answer.authority.append(rrset.from_text(".", 60, "IN", "NS", "ns.example."))
        return answer.to_wire()

    dns.rule(raw=make)
    check(home.run(), DNS_SOFT)


def test_a_hundred_hosts_without_an_address_deny_nothing_of_the_next(home, dns):
    """There is another MX host, which was not asked about."""
    for n in range(101):
        dns.zone(f"dst.example MX {n} m{n}.example.\n")
    check(home.run(), DNS_SOFT)


@pytest.mark.timed
def test_many_large_answers_at_once_are_all_read(home, smtp, dns):
    """All of the second wave within a moment, each as large as fits into one packet."""
    with open("/proc/sys/net/core/rmem_max", encoding="ascii") as f:
        if int(f.read()) < 1 << 20:
            pytest.skip("the kernel allows no large receive buffer")
    smtp(IP)
    held = []

    def make(query, reply):
        wire = reply.to_wire(max_size=65535)
        if query.question[0].rdtype == rdatatype.MX or len(held) >= 200:
            return wire
        held.append((wire, query.peer))
        for one in held if len(held) == 200 else []:
            dns.udp.sendto(*one)
        return None

    dns.zone(f"dst.example MX 0 m0.example.\nm0.example A {IP}\n")
    for n in range(1, 100):
        dns.zone(f"dst.example MX {n} m{n}.example.\n" + "".join(f"m{n}.example A 203.0.113.{k}\n" for k in range(60)))
    dns.rule(raw=make)
    run = home.run(timeout=30)
    check(run, "r", accepted())
    assert run.lasted(3), run


@pytest.mark.timed
@pytest.mark.parametrize("attempts, most", [(1, 2.5), (2, 6)])
def test_timeout_and_attempts_of_resolv_conf_count(home, dns, attempts, most):
    """Of resolv.conf(5); the library's own is longer."""
    world.resolv_conf(f"nameserver 127.0.0.1\noptions timeout:1 attempts:{attempts}\n")
    dns.rule("dst.example", drop=True)
    run = home.run()
    check(run, DNS_SOFT)
    assert run.lasted(most, least=0.8), run


def test_the_search_list_is_not_used(home, smtp, dns):
    world.resolv_conf("nameserver 127.0.0.1\nsearch evil.example\noptions ndots:5\n")
    server = smtp(IP)
    dns.zone(f"dst.example.evil.example A {IP}\ndst.example.evil.example MX 5 dst.example.evil.example.")
    check(home.run(), no_host())
    assert server.connections == 0


def test_the_hosts_file_is_not_used(home, smtp, dns):
    world.hosts(f"{IP} dst.example m.example\n")
    server = smtp(IP)
    try:
        check(home.run(), no_host())
        home.route(":m.example")
        check(home.run(), DNS_SOFT)
    finally:
        world.hosts()
    assert server.connections == 0


def test_both_families_of_a_relay_are_tried(home, smtp, dns):
    smtp("2001:db8::1", greeting=RESET)
    smtp(IP)
    dns.zone(f"r.example A {IP}\nr.example AAAA 2001:db8::1")
    home.route(":r.example")
    check(home.run(), "r", accepted())


@pytest.mark.parametrize("how", [{"rcode": "SERVFAIL"}, {"rcode": "FORMERR"}, {"rcode": "REFUSED"}],
                         ids=lambda h: h["rcode"])
def test_a_failure_of_the_lookup_of_a_relay_is_temporary(home, dns, how):
    dns.rule("r.example", **how)
    home.route(":r.example")
    check(home.run(), DNS_SOFT)


def test_a_name_in_the_dns_does_not_break_the_report(home, dns):
    """What DNS says is never part of the framing."""
    dns.zone("dst.example MX 5 a\\000b\\010Kfoo.example.")
    run = home.run()
    assert run.letters in ("D", "Z")
