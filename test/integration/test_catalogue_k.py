"""The catalogue, group K: DNS."""

import random
import socket
import struct
import threading
import time

import dns.rcode

import world
from catalogue import ONE, SIX, TWO, Case, Setup, Start, Want, not_connected, says, table

MX, A, AAAA, CNAME = 15, 1, 28, 5
IP = socket.inet_aton(ONE)
HOSTS = f"m1.example A {ONE}\nm2.example A {TWO}\n"
PLAIN = f"dst.example MX 10 m1.example.\nm1.example A {ONE}\n"
SOON = "options timeout:1 attempts:1\n"
QUICK = "nameserver 127.0.0.1\n" + SOON


def wire(text):
    return b"".join(bytes([len(label)]) + label for label in text.encode("latin-1").split(b".") if label) + b"\0"


def record(owner, kind, data, ttl=60, length=None):
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(data) if length is None else length) + data


OWNER = b"\xc0\x0c"         # the name of the question


def answer(query, *records, flags=0x8180, counts=None, number=None, question=None):
    """An answer as bytes, right or wrong."""
    q = query.question[0]
    question = q.name.to_wire() + struct.pack("!HH", q.rdtype, 1) if question is None else question
    counts = counts or (1, len(records), 0, 0)
    return struct.pack("!HHHHHH", query.id if number is None else number, flags, *counts) + question + b"".join(records)


def mx(name, preference=10, **how):
    return record(OWNER, MX, struct.pack("!H", preference) + (wire(name) if isinstance(name, str) else name), **how)


def rules(*given):
    def prepare(stage):
        for name, kind, how in given:
            stage.dns.rule(name, kind, **how)
    return prepare


def raw(make, name="dst.example", kind="MX"):
    return rules((name, kind, dict(raw=make)))


def good(query):
    return answer(query, mx("m1.example"))


def conf(text=QUICK, then=None):
    def prepare(stage):
        world.resolv_conf(text)
        if then:
            then(stage)
    return prepare


def k(name, want, zone=PLAIN, prepare=None, text=QUICK, timeoutdns=None, start=None, says=None):
    """A case with a resolver that is not patient; where no mail may leave, nobody is connected to."""
    want = want if isinstance(want, Want) else Want(want)
    if "K" not in want.letters(None) and want.check is None:
        want.check = not_connected
    control = {} if timeoutdns is None else dict(timeoutdns=f"{timeoutdns}\n")
    return Case(name, Setup(zone=zone, prepare=conf(text, prepare), control=control), want, start, says=says)


def alias_cases():
    yield k("K1-self", "Z", "dst.example CNAME dst.example.", says="a loop of aliases, or more than 16, is temporary")
    yield k("K1-two", "Z", "dst.example CNAME b.example.\nb.example CNAME dst.example.")
    yield k("K1-three", "Z", "dst.example CNAME b.example.\nb.example CNAME c.example.\nc.example CNAME dst.example.")

    def chain(length):
        def make(query, reply):
            names = ["dst.example"] + [f"c{n}.example" for n in range(length)]
            links = [record(wire(a), CNAME, wire(b)) for a, b in zip(names, names[1:])]
            return answer(query, *links, record(wire(names[-1]), MX, b"\0\5" + wire("m1.example")))
        return make

    yield k("K1-chain-20", "Z", HOSTS + "dst.example TXT x", raw(chain(20)))
    yield k("K1-chain-10", "K", HOSTS + "dst.example TXT x", raw(chain(10)))
    links = [record(wire(f"c{n}.example"), CNAME, wire(f"c{n + 1}.example")) for n in range(1000)]
    yield k("K1-chain-open", "ZD", HOSTS + "dst.example TXT x", raw(lambda q, r: answer(q, *links)))
    loop = "dst.example MX 5 x.example.\nx.example CNAME y.example.\ny.example CNAME x.example."
    yield k("K1-mx-host-loop", "Z", loop)
    yield k("K1-mx-host-loop-beside", "K", PLAIN + loop)
    yield k("K21-nxdomain-alias", "D", "dst.example CNAME gone.example.",
            says="the last name of the chain counts (RFC 6604)")
    yield k("K21-nodata-alias", "D", "dst.example CNAME real.example.\nreal.example TXT x")
    yield k("K21-alias-with-address", "K", f"dst.example CNAME real.example.\nreal.example A {ONE}")

    def gone(query, _):
        return answer(query, record(OWNER, CNAME, wire("gone.example")), flags=0x8183)

    yield k("K21-nxdomain-code-alias", "D", PLAIN,
            rules(*(("dst.example", kind, dict(raw=gone)) for kind in ("MX", "A", "AAAA"))))
    yield k("K22-mx-alias", "K", f"dst.example MX 5 a.example.\na.example CNAME m1.example.\nm1.example A {ONE}")
    yield k("K22-mx-alias-twice", "K", f"dst.example MX 5 a.example.\na.example CNAME b.example.\n"
            f"b.example CNAME m1.example.\nm1.example A {ONE}")


def code_cases():
    yield k("K2-null", Want("D", check=says("(#5.1.10)")), "dst.example MX 0 .\ndst.example A 192.0.2.1")
    yield k("K2-null-among", "K", PLAIN + "dst.example MX 0 .")
    yield k("K2-null-preference", Want("D", check=says("(#5.1.10)")), "dst.example MX 10 .")
    yield k("K3-nxdomain", Want("D", check=says("(#5.1.2)")), None)
    for name, how in (("servfail", dict(rcode="SERVFAIL")), ("refused", dict(rcode="REFUSED")),
                      ("notimp", dict(rcode="NOTIMP")),
                      ("formerr", dict(rcode="FORMERR")), ("yxdomain", dict(rcode="YXDOMAIN")),
                      ("silence", dict(drop=True))):
        bound = dict(timeoutdns=1)
        yield k(f"K4-mx-{name}", "Z", PLAIN, rules(("dst.example", "MX", how)), **bound)
        yield k(f"K4-address-{name}", "Z", PLAIN, rules(("m1.example", None, how)), **bound)

        def relay(stage, how=how):
            stage.home.route(":m1.example")
            stage.dns.rule("m1.example", **how)

        yield k(f"K4-relay-{name}", "Z", PLAIN, relay, **bound)
    yield k("K4-no-resolver", Want("Z", within=6), text="nameserver 127.0.0.9\n" + SOON,
            timeoutdns=3)
    yield k("K4-silence-no-limit", Want("Z", within=8), PLAIN, rules(("dst.example", "MX", dict(drop=True))),
            says="timeoutdns 0 leaves it to the resolver's own schedule, which ends too")
    yield k("K5-a", "K", f"dst.example A {ONE}")
    yield Case("K5-aaaa", Setup(address=SIX, zone=f"dst.example AAAA {SIX}", prepare=conf()), "K")
    yield k("K5-neither", "D", "dst.example TXT x")
    yield k("K6-one-unsure", "Z", "".join(f"dst.example MX {n} {host}.example.\n" for n, host in enumerate("abc")),
            rules(("b.example", None, dict(rcode="SERVFAIL"))))
    yield k("K6-one-silent", "Z", "dst.example MX 5 a.example.\ndst.example MX 6 b.example.",
            rules(("a.example", None, dict(drop=True))), timeoutdns=1)
    yield k("K6-all-gone", "D", "dst.example MX 5 a.example.\ndst.example MX 6 b.example.")


class UdpOnly:
    """A resolver that says everything is truncated, and has nobody at TCP port 53."""

    def __init__(self, address):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((address, 53))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def stop(self):
        """A socket that somebody reads from would keep its address after it is closed: an empty datagram ends it."""
        self.sock.sendto(b"", self.sock.getsockname())
        self.thread.join()
        self.sock.close()

    def _serve(self):
        while True:
            data, peer = self.sock.recvfrom(4096)
            if not data:
                return
            self.sock.sendto(data[:2] + b"\x83\x80\0\1\0\0\0\0\0\0" + data[12:data.index(b"\0", 12) + 5], peer)


def many_mx(count):
    """An answer with one good MX record and so many others."""
    others = [mx(f"{'y' * 40}{n}.example", 5) for n in range(count)]
    return lambda query, _: answer(query, mx("m1.example", 1), *others)


def transport_cases():
    bound = dict(timeoutdns=2)
    truncated = dict(truncate=True)
    yield k("K7-tcp", "K", PLAIN, rules(("dst.example", None, truncated), ("m1.example", None, truncated)))
    yield k("K7-tcp-closes", "Z", PLAIN, rules(("dst.example", "MX", dict(truncate=True, close=True))), **bound)
    yield k("K7-tcp-hangs", "Z", PLAIN, rules(("dst.example", "MX", dict(truncate=True, drip=20))), **bound)

    def refused(stage):
        server = UdpOnly("127.0.0.2")
        try:
            stage.deliver()
        finally:
            server.stop()

    yield k("K7-tcp-refused", "Z", text="nameserver 127.0.0.2\n" + SOON, start=Start(play=refused), **bound)

    def best(stage):
        assert stage.first.mails and len(stage.dns.questions) < 300

    many = "dst.example MX 1 m1.example.\n" + HOSTS
    yield k("K8-thousand-mx", Want("K", check=best, within=12),
            many + "".join(f"dst.example MX {n} x{n}.example.\n" for n in range(2, 1001)),
            timeoutdns=8, says="the best 100 hosts are looked up")
    worst_first = "".join(f"dst.example MX {n} x{n}.example.\n" for n in range(1000, 1, -1))
    yield k("K8-thousand-mx-worst-first", Want("K", check=best, within=12), worst_first + many, timeoutdns=8)
    yield k("K8-two-thousand-a", Want("K", within=10),
            PLAIN + "".join(f"m1.example A 10.0.{n // 250}.{n % 250}\n" for n in range(2000)))
    yield k("K8-64k", Want("K", check=best, within=12), HOSTS + "dst.example TXT x", raw(many_mx(900)))
    slow = "a dead resolver costs its time-out in each of the two waves, 5 s unless resolv.conf has other options"
    yield k("K14-first-refuses", "K", text="nameserver 127.0.0.9\nnameserver 127.0.0.1\n" + SOON, says=slow)
    yield k("K14-first-silent", Want("K", within=8), text="nameserver 203.0.113.9\nnameserver 127.0.0.1\n" + SOON,
            says=slow)
    yield k("K14-first-silent-default", Want("K", within=13), text="nameserver 203.0.113.9\nnameserver 127.0.0.1\n",
            says=slow)


def broken_cases():
    """What cannot be read is no answer: the next server, or Z; never D."""
    bound = dict(timeoutdns=1)
    long_name = b"".join(b"\x3f" + b"a" * 63 for _ in range(4)) + b"\0"
    pointer = {
        "self": lambda q: answer(q, record(bytes([0xc0, 12 + len(_question(q))]), MX, b"\0\5" + wire("m1.example"))),
        "forward": lambda q: answer(q, record(b"\xc0\xff", MX, b"\0\5" + wire("m1.example")), mx("m1.example")),
        "in-data-self": lambda q: answer(q, mx(bytes([0xc0, 12 + len(_question(q)) + 14]))),
        "out-of-range": lambda q: answer(q, mx(b"\xff\xff")),
        "half": lambda q: answer(q, mx(b"\xc0")),
        "to-header": lambda q: answer(q, mx(b"\xc0\x02")),
        "bad-label-type": lambda q: answer(q, mx(b"\x40abc\0")),
        "bad-label-type-2": lambda q: answer(q, mx(b"\x80abc\0")),
    }
    for name, make in pointer.items():
        want = "ZD" if name == "to-header" else "Z"
        yield k(f"K9-{name}", want, prepare=raw(lambda q, r, make=make: make(q)), **bound)

    def chain(query):
        base = answer(query)
        names = b"".join(bytes([0xc0 | (len(base) + 2 * n + 11) >> 8 & 0x3f, (len(base) + 2 * n + 11) & 255])
                         for n in range(200))
        return answer(query, record(b"\0", 99, names), mx(names[-2:]))

    yield k("K9-chain", "Z", prepare=raw(lambda q, r: chain(q)), **bound)
    broken = {
        "rdlength-long": lambda q: answer(q, mx("m1.example", length=200)),
        "rdlength-short": lambda q: answer(q, mx("m1.example", length=5)),
        "rdlength-extra": lambda q: answer(q, record(OWNER, MX, b"\0\5" + wire("m1.example") + b"xx")),
        "count-high": lambda q: answer(q, mx("m1.example"), counts=(1, 9, 0, 0)),
        "count-low": lambda q: answer(q, mx("m1.example"), mx("m2.example"), counts=(1, 1, 0, 0)),
        "no-question": lambda q: answer(q, mx("m1.example"), counts=(0, 1, 0, 0), question=b""),
        "two-questions": lambda q: answer(q, mx("m1.example"), counts=(2, 1, 0, 0)),
        "many": lambda q: answer(q, counts=(1, 65535, 65535, 65535)),
        "label-64": lambda q: answer(q, mx(b"\x40" + b"a" * 64 + b"\0")),
        "name-257": lambda q: answer(q, mx(long_name)),
        "garbage-behind": lambda q: answer(q, mx("m1.example")) + b"garbage",
        "is-question": lambda q: answer(q, mx("m1.example"), flags=0x0100),
        "other-opcode": lambda q: answer(q, mx("m1.example"), flags=0xA180),
    }
    for name, make in broken.items():
        yield k(f"K10-{name}", "Z", prepare=raw(lambda q, r, make=make: make(q)), **bound)

    def addresses(*sizes):
        return lambda q, r: answer(q, *[record(OWNER, q.question[0].rdtype, (IP * 6)[:n]) for n in sizes])

    for size in (0, 3, 5, 16):
        yield k(f"K11-a-{size}", "Z", prepare=raw(addresses(size), "m1.example", "A"), **bound)
        yield k(f"K11-a-{size}-beside", "K", prepare=raw(addresses(size, 4), "m1.example", "A"))
    for size in (0, 4, 15, 17):
        yield k(f"K11-aaaa-{size}-beside", "K", prepare=raw(addresses(size), "m1.example", "AAAA"))
    for size in (0, 1, 2):
        short = record(OWNER, MX, b"\0\5"[:size])
        yield k(f"K11-mx-{size}", "Z", prepare=raw(lambda q, r, short=short: answer(q, short)), **bound)
        yield k(f"K11-mx-{size}-beside", "K",
                prepare=raw(lambda q, r, short=short: answer(q, short, mx("m1.example"))))


def _question(query):
    return query.question[0].name.to_wire() + b"\0\0\0\0"


def forged_cases():
    evil = mx("evil.example", 1)
    trap = PLAIN + f"evil.example A {TWO}\n"

    def safe(stage):
        assert stage.first.mails

    def from_elsewhere(port, address="127.0.0.1"):
        def make(query, reply):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind((address, port))
                s.sendto(answer(query, evil), query.peer)
            time.sleep(0.02)
            return good(query)
        return make

    forged = {
        "id": lambda q, r: [answer(q, evil, number=q.id ^ 1), answer(q, evil, number=0), good(q)],
        "many-ids": lambda q, r: [answer(q, evil, number=2 * random.randrange(32768) | 1 ^ q.id & 1)
                                  for _ in range(50)] + [good(q)],
        "question-name": lambda q, r: [answer(q, evil, question=wire("other.example") + b"\0\x0f\0\1"), good(q)],
        "question-type": lambda q, r: [answer(q, evil, question=q.question[0].name.to_wire() + b"\0\x01\0\1"), good(q)],
        "question-class": lambda q, r: [answer(q, evil, question=q.question[0].name.to_wire() + b"\0\x0f\0\3"),
                                        good(q)],
        "port": from_elsewhere(5353),
        "address": from_elsewhere(53, "127.0.0.77"),
    }
    for name, make in forged.items():
        yield k(f"K12-{name}", Want("K", check=safe), trap, raw(make))
    stranger = record(wire("other.example"), MX, b"\0\1" + wire("evil.example"))
    yield k("K12-owner", "Z", trap, raw(lambda q, r: answer(q, stranger)))
    yield k("K12-owner-beside", Want("K", check=safe), trap, raw(lambda q, r: answer(q, stranger, mx("m1.example"))))
    other = record(wire("m1.example"), A, socket.inet_aton(TWO))
    yield k("K12-additional", Want("K", check=safe), PLAIN,
            raw(lambda q, r: answer(q, mx("m1.example"), other, counts=(1, 1, 0, 1))))
    for size in (0, 1, 11, 12):
        def make(query, reply, n=size):
            return [good(query)[:n], good(query)]
        yield k(f"K13-{size}", "K", prepare=raw(make), timeoutdns=2)
        yield k(f"K13-{size}-alone", Want("Z", within=5), prepare=raw(lambda q, r, n=size: good(q)[:n]),
                timeoutdns=1)

    def old(code):
        def make(query, reply):
            if query.edns >= 0:
                if code is None:
                    return answer(query, flags=0x8181)
                reply.set_rcode(code)
                return reply.to_wire()
            return good(query)
        return make

    def once(stage):
        asked = [q for q in stage.dns.log if q.kind == "MX"]
        assert [q.edns is not None for q in asked] == [True, False], asked

    yield k("K15-formerr", Want("K", check=once), prepare=raw(old(None)))
    yield k("K15-badvers", Want("K", check=once), prepare=raw(old(dns.rcode.BADVERS)))
    yield k("K15-for-ever", "Z", prepare=raw(lambda q, r: answer(q, flags=0x8181)), timeoutdns=2)
    yield k("K15-huge-datagram", Want("KZ", within=12), HOSTS + "dst.example TXT x", raw(many_mx(800)), timeoutdns=3)


def name_cases():
    yield k("K16-address", "K", f"dst.example MX 5 {ONE}.\nx.example TXT x",
            says="an MX host that is an address is connected to, as in stock")
    search = "nameserver 127.0.0.1\nsearch evil.example\noptions ndots:5 timeout:1 attempts:1\n"
    trap = "".join(f"{n}.evil.example A {ONE}\n" for n in ("localhost", "mx", "dst.example", "gone.example", "a\\032b"))
    for name, host in (("localhost", "localhost."), ("label", "mx."), ("blank", "a\\032b."), ("backslash", "a\\092b."),
                       ("nul", "a\\000b."), ("gone", "gone.example.")):
        yield k(f"K16-{name}", "Z" if "\\" in host else "D", f"dst.example MX 5 {host}\n{trap}", text=search,
                says="names are absolute; what is no host name is not asked for, and so not denied")
    yield k("K16-slash", "K", f"dst.example MX 5 a/b.example.\na/b.example A {ONE}\n")
    for name, text in (
            ("search", search), ("domain", "nameserver 127.0.0.1\ndomain evil.example\n"), ("empty", ""),
            ("comment", "# nothing\n"),
            ("options", "nameserver 127.0.0.1\noptions rotate inet6 edns0 use-vc-not ndots:99 foo:bar\n"),
            ("binary", "\0\1\x7fnameserver\nnameserver 127.0.0.1\n"),
            ("megabyte", "# x\n" * 262144 + "nameserver 127.0.0.1\n"), ("no-newline", "nameserver 127.0.0.1"),
            ("crlf", "nameserver 127.0.0.1\r\noptions timeout:1\r\n"),
            ("sortlist", "sortlist 10.0.0.0/8\nnameserver 127.0.0.1\n"),
            ("nonsense", "nameserver nonsense\nnameserver 127.0.0.1\n")):
        yield k(f"K17-{name}", Want("KZ" if name == "crlf" else "K", memory=32 << 10 if name == "megabyte" else None),
                PLAIN + trap, text=text)

    def missing(stage):
        stage.deliver_below("/usr/bin/unshare", "-m", "--propagation", "unchanged", "sh", "-c",
                            "mount -t tmpfs none /etc && exec \"$@\"", "sh")

    yield k("K17-missing", "K", says="without resolv.conf the resolver is 127.0.0.1", start=Start(play=missing))
    yield k("K24-trailing-dot", "K", start=Start(host="dst.example."))
    for size, want in ((253, "K"), (254, "D"), (255, "D"), (301, "D")):
        host = (("a" * 9 + ".") * 31)[:size]
        mine = f"{host} MX 5 m1.example.\ndst.example TXT x\n{HOSTS}" if size == 253 else PLAIN
        yield k(f"K24-name-{size}", want, mine, start=Start(host=host))
    for size, want in ((63, "K"), (64, "D")):
        host = "x" * size + ".example"
        there = f"{host} MX 5 m1.example.\n" if size < 64 else ""
        yield k(f"K24-label-{size}", want, f"{there}dst.example TXT x\n{HOSTS}", start=Start(host=host))
    for name, host in (("empty-label", "a..example"), ("dot-first", ".dst.example"), ("only-dot", "."),
                       ("two-dots", "dst.example..")):
        yield k(f"K24-{name}", "D", start=Start(host=host))
    yield k("K25-a-label", "K", f"xn--bcher-kva.example MX 5 m1.example.\ndst.example TXT x\n{HOSTS}",
            start=Start(host="xn--bcher-kva.example"))
    # Those that exist are in test_utf8.py.
    for name, host in (("bidi", "\u05d0\u05d1.example"),
                       ("zwj", "b\u200dcher.example"), ("mixed", "b\u0444cher.example"),
                       ("disallowed", "\u2603.example"),
                       ("full-width-dot", "dst\uff0eexample"), ("latin-1", b"b\xfccher.example"),
                       ("sharp-s", "fa\u00df.example")):
        yield k(f"K25-{name}", "D", f"xn--bcher-kva.example MX 5 m1.example.\nfass.example MX 5 m1.example.\n{PLAIN}",
                says="a domain is one by the rules of IDNA2008, or does not exist", start=Start(host=host))


def order_cases():
    two = "dst.example MX 5 m1.example.\ndst.example MX 9 m2.example.\n" + HOSTS

    def to_best(stage):
        assert stage.first.mails and not stage.servers[-1].sessions[1:]

    def with_second(*given):
        def prepare(stage):
            stage.server(TWO, host="m2.example")
            rules(*given)(stage)
        return prepare

    late, twice = (lambda seconds: dict(delay=seconds)), dict(raw=lambda q, r: [r.to_wire()] * 3)
    yield k("K18-reverse", Want("K", check=to_best), two,
            with_second(("m1.example", None, late(0.3)), ("m2.example", None, late(0.1))))
    yield k("K18-twice", Want("K", check=to_best), two,
            with_second(("dst.example", "MX", twice), ("m1.example", "A", twice)))
    yield k("K18-one-missing", Want("K", check=to_best, within=5), two,
            with_second(("m2.example", None, dict(drop=True))), timeoutdns=1)
    yield k("K19-slow-best", Want("K", check=to_best, within=6), two,
            with_second(("m1.example", None, dict(delay=1.5))), timeoutdns=4,
            text="nameserver 127.0.0.1\noptions timeout:3 retrans:3000\n",
            says="preference counts, not speed, within timeoutdns")

    def backup(stage):
        assert not stage.first.sessions and stage.servers[-1].mails

    yield k("K19-too-slow-best", Want("K", check=backup, within=5), two,
            with_second(("m1.example", None, dict(drop=True))), timeoutdns=1)
    for ttl in (0, 1 << 31, (1 << 32) - 1):
        def no_memory(stage, ttl=ttl):
            stage.dns.rule("dst.example", "MX", raw=lambda q, r: answer(q, mx("m1.example", ttl=ttl)))
            stage.deliver()
            assert stage.run.letters == "rK"
            stage.dns.rule("dst.example", "MX", raw=lambda q, r: answer(q, mx("m2.example", ttl=ttl)))
            stage.server(TWO, host="m2.example")
            stage.deliver()
            assert stage.servers[-1].mails
        yield k(f"K20-ttl-{ttl}", Want("K", several=True), two, says="nothing is kept from one run to the next",
                start=Start(play=no_memory))

    def shuffled(stage):
        seen = set()
        for _ in range(14):
            stage.deliver()
            assert stage.run.letters == "rK", stage.run
            seen.add(stage.run.report[2:12])
        assert len(seen) == 2, seen

    equal = "dst.example MX 5 m1.example.\ndst.example MX 5 m2.example.\n" + HOSTS
    yield k("K23-shuffled", Want("K", several=True), equal, with_second(), start=Start(play=shuffled))

    def all_tried(stage):
        assert [len(s.sessions) for s in stage.servers] == [1, 1]

    yield Case("K23-all-tried",
               Setup(greeting="421 no", zone=equal, prepare=conf(QUICK, lambda s: s.server(TWO, greeting="421 no"))),
               Want("Z", check=all_tried))


CASES = [*alias_cases(), *code_cases(), *transport_cases(), *broken_cases(), *forged_cases(), *name_cases(),
         *order_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
