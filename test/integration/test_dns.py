"""DNS: two waves in parallel, big and broken answers, one bad host among good ones, no resolver, time limits."""

import threading

import pytest
from dns import flags, message, rcode, rdatatype, rrset

import world
from expect import DNS_SOFT, NO_ADDRESS, accepted, check, no_host
from smtpd import RESET

IP = "192.0.2.1"


def test_two_waves(home, smtp, dns):
    """Ten hosts, a resolver that takes 300 ms for each answer."""
    smtp(IP)
    for n in range(10):
        dns.zone(f"dst.example MX {n} m{n}.example.\nm{n}.example A {IP if n == 9 else f'192.0.2.{n + 90}'}")
    dns.rule(delay=0.3)
    run = home.run()
    check(run, "r", accepted())
    assert 0.6 <= run.wall < 1.0


def test_all_addresses_are_asked_at_once(home, smtp, dns):
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


def test_each_question_once(home, smtp, dns):
    smtp(IP)
    dns.zone(f"dst.example MX 5 m.example.\ndst.example MX 5 m.example.\ndst.example MX 9 m.example.\nm.example A {IP}")
    check(home.run(), "r", accepted())
    assert sorted((q.name, q.kind) for q in dns.log) == [
        ("dst.example", "MX"), ("m.example", "A"), ("m.example", "AAAA")]


def test_hundred_hosts(home, smtp, dns):
    smtp(IP)
    for n in range(100):
        dns.zone(f"dst.example MX {n} m{n}.example.\n")
    dns.zone(f"m99.example A {IP}")
    run = home.run()
    check(run, "r", accepted())
    assert run.wall < 5


@pytest.mark.parametrize("name", ["dst.example", "m.example"])
def test_tcp_after_truncation(home, smtp, dns, name):
    smtp(IP)
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}")
    dns.rule(name, truncate=True)
    check(home.run(), "r", accepted())
    assert "tcp" in {q.proto for q in dns.log if q.name == name}


def test_huge_answer(home, smtp, dns):
    """40 KB: far above what UDP carries."""
    smtp(IP)
    for n in range(1200):
        dns.zone(f"dst.example MX {n + 5} long-name-of-a-mail-server-{n}.example.")
    dns.zone(f"dst.example MX 1 m.example.\nm.example A {IP}")
    check(home.run(), "r", accepted())


def test_tcp_fails_after_truncation(home, dns):
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n")
    home.control("timeoutdns", "3\n")
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}")
    dns.rule("dst.example", "MX", truncate=True, close=True)
    check(home.run(), DNS_SOFT)


def test_edns_answer(home, smtp, dns):
    """Between 512 and 1232 bytes one exchange is enough, as EDNS is used."""
    smtp(IP)
    for n in range(15):
        dns.zone(f"dst.example MX {n} quite-a-long-name-of-a-server-{n}.example.")
    dns.zone(f"quite-a-long-name-of-a-server-0.example A {IP}")
    check(home.run(), "r", accepted())
    assert [q.proto for q in dns.log if q.kind == "MX"] == ["udp"]


@pytest.mark.parametrize("how", [{"rcode": "SERVFAIL"}, {"rcode": "FORMERR"}, {"rcode": "REFUSED"}, {"drop": True},
                                 {"rcode": "NXDOMAIN"}, {"empty": True}], ids=lambda h: str(next(iter(h.values()))))
@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_one_family_fails(home, smtp, dns, how, kind):
    """The other family is enough."""
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    home.control("timeoutdns", "2\n")
    good = "2001:db8::1" if kind == "A" else IP
    smtp(good)
    dns.zone(f"dst.example MX 5 m.example.\nm.example {'AAAA' if kind == 'A' else 'A'} {good}")
    dns.rule("m.example", kind, **how)
    run = home.run()
    check(run, "r", accepted(good))
    assert run.wall < 3.5


@pytest.mark.parametrize("kind", ["A", "AAAA"])
@pytest.mark.parametrize("mx", [True, False], ids=["mx", "no-mx"])
def test_one_family_soft_the_other_empty(home, dns, kind, mx):
    """Not known is not the same as not there."""
    name = "m.example" if mx else "dst.example"
    if mx:
        dns.zone("dst.example MX 5 m.example.\nm.example TXT x")
    else:
        dns.zone("dst.example TXT x")
    dns.rule(name, kind, rcode="SERVFAIL")
    check(home.run(), DNS_SOFT)


def test_one_host_never_answers(home, smtp, dns):
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    home.control("timeoutdns", "2\n")
    smtp(IP)
    dns.zone(f"dst.example MX 1 dead.example.\ndst.example MX 5 m.example.\nm.example A {IP}")
    dns.rule("dead.example", drop=True)
    run = home.run()
    check(run, "r", accepted())
    assert run.wall < 3.5


def test_one_host_unknown(home, smtp, dns):
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
def test_broken_answer(home, smtp, dns, raw):
    world.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    home.control("timeoutdns", "2\n")
    server = smtp(IP)
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}\ndst.example A {IP}")
    dns.rule("dst.example", "MX", raw=raw)
    check(home.run(), DNS_SOFT)
    assert server.connections == 0


# No resolver, and time.

def test_no_resolver(home, smtp):
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


def test_second_resolver(home, smtp, dns):
    world.resolv_conf("nameserver 127.0.0.9\nnameserver 127.0.0.1\noptions timeout:1\n")
    smtp(IP)
    dns.zone(f"dst.example A {IP}")
    check(home.run(), "r", accepted())


@pytest.mark.parametrize("refusing", ["127.0.0.9", "::1", "127.0.0.9\nnameserver 127.0.0.8"])
@pytest.mark.parametrize("kind, address", [("A", IP), ("AAAA", "2001:db8::1")])
def test_resolver_that_refuses_costs_no_time(home, smtp, dns, refusing, kind, address):
    """Each of the questions asked at once is told of it, not only one."""
    world.resolv_conf(f"nameserver {refusing}\nnameserver 127.0.0.1\n")
    smtp(address)
    for n in range(10):
        dns.zone(f"dst.example MX {n} m{n}.example.\nm{n}.example {kind} {address}")
    run = home.run()
    check(run, "r", accepted(address))
    assert run.wall < 1


@pytest.mark.parametrize("which", ["dst.example", "m.example"])
def test_timeoutdns(home, dns, which):
    dns.zone(f"dst.example MX 5 m.example.\nm.example A {IP}")
    dns.rule(which, drop=True)
    home.control("timeoutdns", "1\n")
    run = home.run()
    check(run, DNS_SOFT)
    assert 0.9 < run.wall < 2.5


@pytest.mark.parametrize("text", [None, "0\n", "\n", "abc\n", "99999999999\n", "4294967296\n"])
def test_timeoutdns_default(home, smtp, dns, text):
    """No limit of ours: the resolver's own schedule."""
    smtp(IP)
    dns.zone(f"dst.example A {IP}")
    dns.rule("dst.example", "MX", delay=1.2)
    home.control("timeoutdns", text)
    check(home.run(), "r", accepted())


def test_no_edns(home, smtp, dns):
    """FORMERR to each question with OPT, of both waves."""
    def make(query, reply):
        if query.edns < 0:
            return reply.to_wire()
        answer = message.make_response(message.make_query(query.question[0].name, query.question[0].rdtype))
        answer.id = query.id
        answer.set_rcode(rcode.FORMERR)
        return answer.to_wire()

    smtp(IP)
    dns.zone(f"dst.example MX 5 m.example.\ndst.example MX 6 n.example.\nm.example A {IP}\nn.example A 192.0.2.2")
    dns.rule(raw=make)
    check(home.run(), "r", accepted())


def test_referral(home, dns):
    """A server that neither knows nor asks others denies nothing."""
    def make(query, _):
        answer = message.make_response(query)
        answer.flags &= ~flags.RA
        answer.authority.append(rrset.from_text(".", 60, "IN", "NS", "ns.example."))
        return answer.to_wire()

    dns.rule(raw=make)
    check(home.run(), DNS_SOFT)


def test_the_best_hundred_have_no_address(home, dns):
    """There is another MX host, which was not asked about."""
    for n in range(101):
        dns.zone(f"dst.example MX {n} m{n}.example.\n")
    check(home.run(), DNS_SOFT)


def test_many_large_answers_at_once(home, smtp, dns):
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
    assert run.wall < 3, run


@pytest.mark.parametrize("attempts, most", [(1, 2.5), (2, 6)])
def test_schedule_of_the_resolver(home, dns, attempts, most):
    """Of resolv.conf(5); the library's own is longer."""
    world.resolv_conf(f"nameserver 127.0.0.1\noptions timeout:1 attempts:{attempts}\n")
    dns.rule("dst.example", drop=True)
    run = home.run()
    check(run, DNS_SOFT)
    assert 0.8 < run.wall < most, run


def test_no_search_list(home, smtp, dns):
    world.resolv_conf("nameserver 127.0.0.1\nsearch evil.example\noptions ndots:5\n")
    server = smtp(IP)
    dns.zone(f"dst.example.evil.example A {IP}\ndst.example.evil.example MX 5 dst.example.evil.example.")
    check(home.run(), no_host())
    assert server.connections == 0


def test_no_hosts_file(home, smtp, dns):
    world.hosts(f"{IP} dst.example m.example\n")
    server = smtp(IP)
    try:
        check(home.run(), no_host())
        home.route(":m.example")
        check(home.run(), no_host("m.example"))
    finally:
        world.hosts()
    assert server.connections == 0


def test_relay_of_both_families(home, smtp, dns):
    smtp("2001:db8::1", greeting=RESET)
    smtp(IP)
    dns.zone(f"r.example A {IP}\nr.example AAAA 2001:db8::1")
    home.route(":r.example")
    check(home.run(), "r", accepted())


@pytest.mark.parametrize("how", [{"rcode": "SERVFAIL"}, {"rcode": "FORMERR"}, {"rcode": "REFUSED"}],
                         ids=lambda h: h["rcode"])
def test_relay_soft(home, dns, how):
    dns.rule("r.example", **how)
    home.route(":r.example")
    check(home.run(), DNS_SOFT)


def test_name_that_breaks_a_report(home, dns):
    """What DNS says is never part of the framing."""
    dns.zone("dst.example MX 5 a\\000b\\010Kfoo.example.")
    run = home.run()
    assert run.letters in ("D", "Z")
