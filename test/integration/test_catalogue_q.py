"""The catalogue, group Q: one connection, many messages.

Before the delivery that counts two others have left a connection, unless the case says otherwise.
"""

import hashlib
import os
import signal
import socket
import threading
import time

from cryptography.hazmat.primitives import serialization

import pki
import world
from catalogue import MESSAGE, TWO, Case, Setup, Start, Want, table
from expect import check, died, duplicate
from qmailhome import HOME
from reuse import USER, Reuse, brokers, version, wait_until
from smtpd import CLOSE, DEAF, RESET, Call, Until
from test_stock import one_user
from tlssite import programs

pytestmark = one_user

ALL = ("clear", "pipe", "tls13")
BOTH = ("clear", "tls13")


# How a case is played.

def serve(stage):
    stage.reuse = Reuse(stage.home)
    stage.reuse.serve()


def after_others(meddle=None, warm=None, then=None, traced=(), **how):
    """`warm` is played in place of two deliveries; `meddle` before the delivery that counts, `then` after it.

    With options of strace(1) that delivery is traced.
    """
    def play(stage):
        serve(stage)
        try:
            stage.new = (warm or left)(stage)
            if meddle:
                meddle(stage)
            if traced:
                stage.deliver_traced(*traced)
            else:
                stage.deliver()
            if then:
                then(stage)
        finally:
            stage.reuse.stop()
    return Start(play=play, **{**USER, **how})


def left(stage):
    """A connection is idle: the second one."""
    return stage.reuse.warm(message=MESSAGE)


def deliver(stage, **how):
    return stage.reuse.run(**{"message": MESSAGE, **how})


def mails(*counts, same=True):
    """How many messages each connection has brought; `same`: the report is that of a delivery on a new connection."""
    def check(stage):
        found = [sum(m.complete and m.recipients != [] for m in s.mails) for s in stage.first.sessions]
        assert found == list(counts), stage.sessions
        assert not same or stage.run.report == stage.new.report, (stage.run, stage.new)
    return check


def delivered(*counts, same=True, **how):
    return Want("K", check=mails(*counts, same=same), several=True, **how)


NEW = delivered(1, 1, 1)        # over a new connection, and nobody is told
USED = delivered(1, 2)


def scripts(*of_sessions, **more):
    """Made anew for each variant: what `event` stands for."""
    def prepare(stage):
        stage.event = threading.Event()
        stage.first.scripts = [
            {moment: step(stage) if callable(step) else step for moment, step in script.items()} for script in of_sessions]
    return Setup(prepare=prepare, **more)


def second(**script):
    """The connection that is left."""
    return scripts({}, script, {})


def later(*steps):
    """Accepted; and so much more once the connection is idle."""
    return lambda stage: ("250 got it", Until(stage.event), *steps)


def no_longer_idle(stage):
    """What the server has to say has come, and the broker has seen it."""
    stage.event.set()
    wait_until(lambda: not stage.reuse.idle())


# The server.

def server_cases():
    for name, steps in (("closed", (CLOSE,)), ("reset", (RESET,)), ("421", ("421 4.4.2 idle for too long", CLOSE)),
                        ("421-only", ("421 4.4.2 idle for too long",))):
        yield Case(f"Q1-{name}", second(END=later(*steps)), NEW, after_others(no_longer_idle), over=ALL)
    for name, step in (("closed", CLOSE), ("reset", RESET), ("421", ("421 4.7.0 too many", CLOSE))):
        yield Case(f"Q1-{name}-at-mail", second(MAIL=["250 ok", step]), NEW, after_others(), over=ALL)
    yield Case("Q1-all-closed", scripts({}, {"MAIL": ["250 ok", CLOSE]}, {"MAIL": ["250 ok", CLOSE]}, {}),
               delivered(1, 1, 1, 1), after_others(warm=two_left), over=BOTH,
               says="after one dead connection no other idle one is tried")

    for name, old in (("250", b"250 2.0.0 old\r\n"), ("354", b"354 old\r\n"), ("half", b"25")):
        yield Case(f"Q2-{name}", second(END=later(old)), NEW, after_others(no_longer_idle), over=ALL)
    yield Case("Q2-with-the-last-reply", second(END=b"250 got it\r\n250 2.0.0 old\r\n"), NEW,
               after_others(warm=none_left), over=ALL)
    yield Case("Q2-all-at-once", second(MAIL=["250 ok", b"250 ok\r\n250 ok\r\n354 go\r\n250 got it\r\n"]), NEW,
               after_others(), over=ALL)

    yield Case("Q3-some-refused", second(RCPT=["250 ok", "550 5.1.1 no", "250 ok"]), delivered(1, 2, same=False),
               after_others(warm=some_refused), over=ALL)
    for name, script in (("mail", {"MAIL": "550 5.7.1 no"}), ("recipient", {"RCPT": "550 5.1.1 no"}),
                         ("message", {"END": "554 5.7.1 no"})):
        yield Case(f"Q3-{name}-refused", second(**script), Want("K", check=third_alone, several=True),
                   after_others(warm=refused), over=ALL, says="no RSET: such a session is not kept")

    yield Case("Q7-no-pipelining", scripts({}, {"MAIL": ["250 ok", "421 bye"]}, {"EHLO": "250 hi"}),
               Want("K", check=asks_one_by_one, several=True), after_others(), over="pipe")
    yield Case("Q7-pipelining", scripts({"EHLO": "250 hi"}, {"EHLO": "250 hi", "MAIL": ["250 ok", "421 bye"]}, {}),
               Want("K", check=asks_at_once, several=True), after_others(), over="pipe")

    for name, step in (("closed", CLOSE), ("reset", RESET)):
        yield Case(f"Q11-{name}-after-mail-data", second(END=["250 got it", step]),
                   Want(["r", duplicate()], check=mails(1, 2, same=False), several=True), after_others(), over=ALL)
        yield Case(f"Q11-{name}-after-354", second(DATA=["354 go", ("354 go", step)]),
                   Want("KZ", check=new_or_doubted, several=True), after_others(), over=ALL,
                   says="K over a new one, if that is seen before any mail data has left")
    yield Case("Q11-4yz", second(END=["250 got it", "451 4.3.0 no"]), Want("Z", several=True), after_others(), over=ALL)

    for name, reply in (("421", "421 4.7.0 too many messages"), ("452", "452 4.7.0 too many messages"),
                        ("421-closed", ("421 4.7.0 too many messages", CLOSE))):
        yield Case(f"Q12-{name}", Setup(MAIL=["250 ok"] * 3 + [reply]), Want("K", check=each_once(11), several=True),
                   after_others(warm=many(10)), over=ALL)
    yield Case("Q12-mailmax", scripts({}), Want("K", check=each_once(11), several=True),
               after_others(warm=many(10, mailmax=3)), over=ALL)
    yield Case("Q12-100", Setup(), Want("K", check=mails(1, 100, 1, same=False), several=True, body=False),
               after_others(warm=many(101)))

    yield Case("Q14-no-reply", scripts({}, {"MAIL": ["250 ok", DEAF]}, {}, timeout=1), NEW, after_others(), over=ALL,
               says="the first reply on such a connection is waited for 30 s, or timeoutremote")
    for name, step in (("nonsense", "hello?"), ("two-digits", b"25\r\n"), ("two-codes", b"250-a\r\n251 b\r\n"),
                       ("half", (b"250", CLOSE))):
        yield Case(f"Q14-{name}", scripts({}, {"MAIL": ["250 ok", step]}, {}, timeout=1), NEW, after_others(), over=ALL)
    yield Case("Q14-mail-bad-sequence", second(MAIL=["250 ok", "503 5.5.1 EHLO first"]), NEW, after_others(), over=ALL)
    for moment, reply in (("RCPT", "421 4.7.0 slow down"), ("DATA", "421 4.7.0 slow down"), ("RCPT", CLOSE), ("DATA", RESET)):
        name = f"Q14-{moment.lower()}-{'again' if isinstance(reply, str) else 'lost'}"
        yield Case(name, second(**{moment: ["250 ok" if moment == "RCPT" else "354 go", reply]}), NEW, after_others(), over=ALL)
    for moment, reply, letters in (("MAIL", "451 4.7.1 later", "Z"), ("MAIL", "550 5.7.1 no", "D"),
                                   ("RCPT", "451 4.7.1 later", "Z"), ("RCPT", "452 4.2.2 full", "Z"),
                                   ("RCPT", "550 5.1.1 no", "D"), ("DATA", "451 4.7.1 later", "Z"),
                                   ("DATA", "554 5.7.1 no", "D"), ("END", "452 4.3.1 full", "Z"), ("END", "554 5.7.1 no", "D")):
        good = {"DATA": "354 go", "END": "250 got it"}.get(moment, "250 ok")
        yield Case(f"Q14-{moment.lower()}-{reply[:3]}", second(**{moment: [good, reply]}),
                   Want(letters, check=as_on_a_new_one(moment, reply), several=True), after_others(), over=ALL)


def new_or_doubted(stage):
    if stage.run.rspawn[:1] == b"K":
        mails(1, 1, 1)(stage)
    else:
        # Whether the end of the mail data had left too is a matter of timing.
        check(stage.run, "r", duplicate() if b"duplicate" in stage.run.report else died())
        mails(1, 1, same=False)(stage)


def two_left(stage):
    """Two idle ones: each has accepted its message, and its delivery has ended."""
    deliver(stage)
    gate, there = threading.Event(), threading.Barrier(3)

    def together(_):
        there.wait(20)
        return Until(gate)
    for script in stage.first.scripts[1:3]:
        script["END"] = (Call(together), "250 got it")
    processes = [stage.reuse.start(message=MESSAGE) for _ in range(2)]
    there.wait(20)
    gate.set()
    runs = [p.finish() for p in processes]
    wait_until(lambda: stage.reuse.idle() == 2)
    return runs[0]


def none_left(stage):
    deliver(stage)
    return deliver(stage)


def some_refused(stage):
    deliver(stage)
    run = deliver(stage, recipients=["b@dst.example", "c@dst.example"])
    assert run.letters == "rhK"
    wait_until(stage.reuse.idle)
    return run


def refused(stage):
    deliver(stage)
    run = deliver(stage)
    assert run.rspawn[:1] == b"D" and not stage.reuse.idle()
    return run


def third_alone(stage):
    assert len(stage.first.sessions) == 3 and stage.first.sessions[2].mails
    assert not any("RSET" in s.verbs for s in stage.sessions)


def _group(stage):
    return [c for c in stage.first.sessions[2].chunks if c.startswith(b"MAIL")]


def asks_one_by_one(stage):
    assert len(stage.first.sessions) == 3 and _group(stage)[0].count(b"\r\n") == 1, stage.sessions


def asks_at_once(stage):
    assert len(stage.first.sessions) == 3 and _group(stage)[0].count(b"\r\n") == 3, stage.sessions


def many(count, mailmax=None):
    """So many deliveries, one after the other."""
    def warm(stage):
        if mailmax:
            stage.first.ehlo = [*stage.first.ehlo, f"LIMITS MAILMAX={mailmax}"]
        return [deliver(stage) for _ in range(count)][-1]
    return warm


def each_once(count):
    """No connection has had more than three; a fourth MAIL was refused, unless the server had told."""
    def check(stage):
        found = [sum(m.complete for m in s.mails) for s in stage.first.sessions]
        assert sum(found) == count and max(found) == 3 and len(found) == 5, found
        assert stage.run.report == stage.new.report
    return check


def as_on_a_new_one(moment, reply):
    """Another delivery, to a server that says this at once, has the same report."""
    def check(stage):
        assert len(stage.first.sessions) == 2 and stage.first.sessions[1].verbs.count("MAIL") == 2, stage.sessions
        used = stage.run.report
        stage.first.scripts = [{moment: reply}]
        stage.home.control("timeoutidle", None)
        assert deliver(stage).report == used
    return check


# Policies and identities: two settings that must not share.

class Apart:
    """`one` and `other` set the home up, or say how deliveries are started.

    again       the first setting can come back
    by_address  both come to the same session, so that it is found once the addresses are known
    """

    def __init__(self, name, one, other, *, over=("opp13",), again=True, by_address=False, prepare=None, **script):
        self.name, self.sides, self.over, self.again = name, (one, other), over, again
        self.by_address, self.prepare, self.script = by_address, prepare, script

    def cases(self, group):
        for way, (first, then) in (("there", self.sides), ("back", self.sides[::-1])):
            yield Case(f"{group}-{self.name}-{way}", Setup(prepare=self.prepare, **self.script),
                       Want("K", check=self.check, several=True, body=False, proof=lambda s: ".*"),
                       after_others(self.change(then), warm=self.warm(first), then=self.come_back(first)), over=self.over)

    @staticmethod
    def apply(stage, side):
        how = side(stage) if callable(side) else control(**side)(stage)
        stage.case.start.how = {**USER, **(how or {})}
        return how or {}

    def warm(self, side):
        def warm(stage):
            return stage.reuse.warm(**{"message": MESSAGE, **self.apply(stage, side)})
        return warm

    def change(self, side):
        def change(stage):
            self.apply(stage, side)
            stage.asked = len(stage.dns.log)
        return change

    def come_back(self, side):
        """The connection was still there: it was not used because of its key."""
        def then(stage):
            stage.connections, stage.asks = len(stage.first.sessions), len(stage.dns.log) - stage.asked
            if self.again and not self.by_address:
                how = self.apply(stage, side)
                assert deliver(stage, **how).rspawn[:1] == b"K"
                assert len(stage.first.sessions) == stage.connections, "the setting did not come back"
        return then

    def check(self, stage):
        assert stage.connections == (2 if self.by_address else 3), stage.sessions
        assert stage.asks > 0


def control(**files):
    def side(stage):
        for name, text in files.items():
            stage.home.control(name, text and text.format(certs=stage.certs))
    return side


def line(text):
    return {"tlspolicy": text and f"dst.example:{text}\n"}


def started(**how):
    return lambda stage: how


def replaced(stage):
    """The same bytes in another file of the same name."""
    path = f"{HOME}/control/anchors.pem"
    with open(stage.certs.bundle, "rb") as f, open(f"{path}.new", "wb") as new:
        new.write(f.read())
    os.rename(f"{path}.new", path)
    stage.home.control("trustanchors", f"{path}\n")


def host_file(folder, name, there):
    def side(stage):
        os.makedirs(f"{HOME}/control/{folder}", exist_ok=True)
        path = f"{HOME}/control/{folder}/{name}"
        if there:
            with open(stage.certs.bundle, "rb") as f, open(path, "wb") as pem:
                pem.write(f.read())
        elif os.path.exists(path):
            os.unlink(path)
    return side


NOT_REQUIRED = b"TLS-Required: no\n" + MESSAGE
HAS_TLS = "{certs.bundle}\n"


def relayed(**files):
    return {"smtproutes": ":m1.example:25\n", **files}


POLICIES = [
    Apart("strictness-0-1", dict(tlsstrictness="0\n"), dict(tlsstrictness="1\n")),
    Apart("strictness-0-2", dict(tlsstrictness="0\n"), dict(tlsstrictness="2\n")),
    Apart("strictness-1-2", dict(tlsstrictness="1\n"), dict(tlsstrictness="2\n")),
    Apart("no-tls", dict(trustanchors=None, tlsstrictness=None), dict(trustanchors=HAS_TLS, tlsstrictness="0\n")),
    *(Apart(f"line-{a or 'missing'}-{b}".replace("=", "-").replace(":", "-"), line(a), line(b)) for a, b in (
        (None, "may"), ("may", "encrypt"), ("may", "verify"), ("encrypt", "verify"), ("none", "may"), ("dane", "verify"),
        ("verify:match=m1.example", "verify:match=.example"), ("verify", "verify:match=m1.example"))),
    Apart("line-anchors", line("verify"), line("verify:anchors={certs.bundle}"), by_address=True),
    Apart("anchors-replaced", replaced, replaced, again=False, over=("tls13",)),
    Apart("anchors-elsewhere", dict(trustanchors=HAS_TLS), replaced, again=False, over=("tls13",)),
    Apart("anchors-that-verify-nothing", dict(trustanchors=HAS_TLS), replaced, by_address=True),
    Apart("dane", dict(dane="0\n"), dict(dane="1\n"), by_address=True),
    Apart("mtasts", dict(mtasts="0\n"), dict(mtasts="1\n"), by_address=True),
    Apart("not-required", started(message=MESSAGE), started(message=NOT_REQUIRED), by_address=True,
          prepare=control(dane="1\n", tlsrequired="1\n")),
    Apart("notlshosts", host_file("notlshosts", "m1.example", False), host_file("notlshosts", "m1.example", True), again=False),
    Apart("notlshosts-other", host_file("notlshosts", "m9.example", False), host_file("notlshosts", "m9.example", True),
          by_address=True),
    Apart("tlshosts", host_file("tlshosts", "m1.example.pem", False), host_file("tlshosts", "m1.example.pem", True), again=False),
]

IDENTITIES = [
    Apart("name", dict(helohost="one.example\n"), dict(helohost="two.example\n"), over=BOTH),
    Apart("name-by-address", dict(helohosts=None), dict(helohosts="192.0.2.99:two.example\n"), over=BOTH,
          again=False),
    Apart("our-address", dict(outgoingip=None), dict(outgoingip="192.0.2.77\n"), over=BOTH),
    Apart("family", dict(ipfamily="dst.example:4\n"), dict(ipfamily="dst.example:46\n"), by_address=True, over=BOTH),
    Apart("certificate", dict(clientcert=None, clientkey=None),
          dict(clientcert="{certs.client_cert}\n", clientkey="{certs.client_key}\n")),
    Apart("utf8", started(sender="a@src.example"), started(sender="pelé@src.example"), over=BOTH),
    Apart("relay", dict(smtproutes=None), relayed(), by_address=True, over=BOTH),
    Apart("credentials", relayed(smtpauth="m1.example|one|pass\n"), relayed(smtpauth="m1.example|two|pass\n"), again=False,
          users={"one": "pass", "two": "pass"}),
    Apart("line-of-credentials", relayed(smtpauth="m1.example|one|pass\n"),
          relayed(smtpauth="# rotated\nm1.example|one|pass\n"), again=False, users={"one": "pass"}),
]


def sharing_cases():
    for apart in POLICIES:
        yield from apart.cases("Q4")
    for apart in IDENTITIES:
        apart.script.setdefault("ehlo", ["8BITMIME", "SMTPUTF8", *(["AUTH PLAIN"] if "users" in apart.script else [])])
        yield from apart.cases("Q6")
    yield Case("Q6-password-repeated",
               scripts({}, {"MAIL": ["250 ok", f"550 5.7.1 not with {PASSWORD}"]}, users={"one": PASSWORD}, ehlo=["AUTH PLAIN"],
                       control=relayed(smtpauth=f"m1.example|one|{PASSWORD}\n")),
               Want("D", check=password_is_hidden, several=True, secret=True), after_others(), over="tls13")
    for name, zone, over, used in (
            ("no-name", "m2.example A 192.0.2.1\nother.example MX 10 m2.example.", ("clear", "opp13"), True),
            ("same-name", "other.example MX 10 m1.example.", ("clear", "tls13"), True),
            ("other-name", "m2.example A 192.0.2.1\nother.example MX 10 m2.example.", ("tls13",), False)):
        yield Case(f"Q5-{name}", Setup(zone=zone, prepare=two_names),
                   Want("K", check=mails(1, 2, same=False) if used else mails(1, 1, 1, same=False), several=True,
                        proof=lambda s: "certificate not verified" if s == 0 else "certificate verified for m[12].example"),
                   after_others(host="other.example"), over=over)


PASSWORD = "correct horse"


def password_is_hidden(stage):
    """The server repeats it on a connection that it was shown in by another delivery."""
    assert len(stage.first.sessions) == 2 and PASSWORD.encode() not in stage.run.report
    assert b"Remote host said: 550 5.7.1 not with *\n" in stage.run.report, stage.run


def two_names(stage):
    """The server's certificate is for both of its names."""
    if stage.way.versions:
        leaf = pki.make("leaf", stage.certs.intermediate, names=["m1.example", "m2.example"], chain=[stage.certs.intermediate])
        stage.first.tls = stage.context(leaf)


# The other side: the broker.

def kill_broker(stage):
    stage.reuse.stop(signal.SIGKILL)


def kill_helper(stage):
    """That of the session, and the one that it was forked from, with which the broker ends."""
    for pid in programs("qmail-remote-tls"):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not stage.reuse.idle())


def stop_broker(stage):
    for pid in brokers():
        os.kill(pid, signal.SIGSTOP)


def no_program(stage):
    stage.reuse.stop()
    os.unlink(f"{HOME}/bin/qmail-remote-cache")


def instead(answer):
    """Another program has the socket, and answers so."""
    def meddle(stage):
        stage.reuse.stop()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.setegid(USER["gid"])
        os.seteuid(USER["uid"])
        listener.bind(stage.reuse.path)
        listener.listen(10)
        os.seteuid(0)
        os.setegid(0)
        stage.listener = listener

        def serve():
            try:
                while True:
                    client = listener.accept()[0]
                    while client.recv(65536):
                        client.send(answer.replace(b"%s", version(HOME).encode()))
                    client.close()
            except OSError:
                pass
        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
    return meddle


def no_socket(make):
    def meddle(stage):
        stage.reuse.stop()
        make(stage.reuse.path)
    return meddle


def ask_as(user):
    def meddle(stage):
        try:
            client = stage.reuse.client(user=user)
        except PermissionError:
            return
        assert client.ask("ask", "key1=k") is None
        client.close()
    return meddle


def expire_policy(stage):
    """Two seconds are the TTL of the records that the server was verified by."""
    time.sleep(2.1)


def with_dane(ttl):
    def prepare(stage):
        key = stage.certs.leaf("good", "m1.example").cert.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        stage.dns.zone(f"_25._tcp.m1.example TLSA 3 1 1 {hashlib.sha256(key).hexdigest()}")
        stage.dns.rule(ad=True)
        stage.dns.ttl = ttl
        stage.home.control("dane", "1\n")
        world.resolv_conf("nameserver 127.0.0.1\noptions trust-ad\n")
    return Setup(prepare=prepare)


# In the version of the programs; and there is no connection with it.
HIT_WITHOUT = b"hit\0version=%s\0chosen=0\0key2=k\0address=192.0.2.1\0used=1\0lives=9\0"


def broker_cases():
    yield Case("Q8-broker-killed", Setup(), NEW, after_others(kill_broker), over=BOTH)
    yield Case("Q8-helper-killed", Setup(), NEW, after_others(kill_helper), over="tls13")

    for name, user in (("root", 0), ("stranger", 4712)):
        yield Case(f"Q9-{name}", Setup(), USED, after_others(ask_as(user)), over=BOTH)
    yield Case("Q9-delivery-of-root", Setup(), NEW, after_others(uid=None, gid=None), over=BOTH)

    yield Case("Q10-idle", Setup(), NEW, after_others(lambda s: wait_until(lambda: not s.reuse.idle()), warm=short), over=BOTH)
    yield Case("Q10-off", Setup(), NEW, after_others(lambda s: s.home.control("timeoutidle", None)), over=BOTH)
    dane = r"DANE \(3 1 1\)"
    yield Case("Q10-tlsa", with_dane(60), delivered(1, 2, proof=dane), after_others(), over="tls13")
    yield Case("Q10-tlsa-ttl", with_dane(2), delivered(1, 1, 1, proof=dane), after_others(expire_policy), over="tls13")

    yield Case("Q13-none", Setup(), NEW, after_others(no_program), over=BOTH)
    # That there is no program is known when the delivery waits for it no more.
    yield Case("Q13-none-late", Setup(), NEW,
               after_others(no_program, traced=("-e", "trace=execve", "-e", "inject=execve:delay_enter=200000")))
    yield Case("Q13-stopped", Setup(), NEW, after_others(stop_broker), over=BOTH)
    yield Case("Q13-silent", Setup(), NEW, after_others(instead(None)), over=BOTH)
    for name, answer in (("nonsense", b"what?"), ("old", b"hit\0version=0.0.1\0"), ("not-ours", b"\0" * 60000),
                         ("hit-without", HIT_WITHOUT)):
        yield Case(f"Q13-{name}", Setup(), NEW, after_others(instead(answer)), over="clear")
    for name, make in (("directory", os.mkdir), ("file", lambda path: open(path, "w", encoding="ascii").close()),
                       ("loop", lambda path: os.symlink(path, path))):
        yield Case(f"Q13-{name}", Setup(), NEW, after_others(no_socket(make)))

    for name, greetings, used in (("better-works", ["421 no", "421 no", "220 hi"], False), ("better-fails", ["421 no"], True)):
        yield Case(f"Q15-{name}", Setup(prepare=worse_host(greetings)),
                   Want("K", check=worse_is_used if used else worse_is_unused, several=True),
                   after_others(), over=BOTH)


def short(stage):
    stage.home.control("timeoutidle", "1\n")
    return left(stage)


def worse_host(greetings):
    def prepare(stage):
        stage.dns.zone(f"dst.example MX 20 m2.example.\nm2.example A {TWO}")
        stage.other = stage.server(TWO, host="m2.example")
        stage.first.scripts = [{"greeting": g} for g in greetings]
    return prepare


def worse_is_unused(stage):
    assert [len(s.mails) for s in stage.other.sessions] == [1, 1]
    assert [len(s.mails) for s in stage.first.sessions] == [0, 0, 1]


def worse_is_used(stage):
    """By its address, as the next hop is asked about first; and the report tells of the better one as before."""
    assert [len(s.mails) for s in stage.other.sessions] == [1, 2]
    assert len(stage.first.sessions) == 3 and stage.run.report == stage.new.report


CASES = [*server_cases(), *sharing_cases(), *broker_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
