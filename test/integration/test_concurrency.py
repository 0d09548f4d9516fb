"""control/concurrencyhosts in deliveries: who gets a place, who waits, and what becomes of those who do not get one."""

import collections
import os
import signal
import threading

import pytest

from expect import accepted, check
from qmailsend import Queue
from reuse import USER, Reuse, brokers, wait_until
from smtpd import Call, Until
from test_stock import one_user

pytestmark = one_user

ONE, TWO = "192.0.2.1", "192.0.2.2"


def full(line):
    return ("Z", f"Too many connections at the same time (control/concurrencyhosts: {line}). (#4.4.5)")


class Site:
    """m1.example and m2.example, which hold each message until it is let go."""

    def __init__(self, home, dns, smtp):
        self.home, self.dns, self.smtp = home, dns, smtp
        self.reuse = Reuse(home)
        self.order, self.events = [], collections.defaultdict(threading.Event)

    def limit(self, *lines, idle=0):
        self.home.control("concurrencyhosts", "".join(f"{line}\n" for line in lines))
        self.home.control("timeoutidle", f"{idle}\n20\n20\n")
        # After the first limits: a broker that sees them change ends what is idle.
        if not brokers():
            self.reuse.serve()

    def mx(self, *preferences, domain="dst.example"):
        for n, preference in enumerate(preferences, 1):
            self.dns.zone(f"{domain} MX {preference} m{n}.example.")

    def server(self, address=ONE, name="m1.example", **script):
        self.dns.zone(f"{name} A {address}")
        return self.smtp(address, **{"END": Call(self.hold), **script})

    def hold(self, session):
        name = session.commands[-2][1].decode().partition("<")[2].partition("@")[0]
        self.order.append(name)
        return (Until(self.events[name]), "250 got it")

    def start(self, name):
        return self.reuse.start(recipients=[f"{name}@dst.example"])

    def hold_one(self, name):
        """A delivery that has a place."""
        process = self.start(name)
        wait_until(lambda: name in self.order)
        return process

    def queue_one(self, name, limit="m1.example"):
        """A delivery that waits."""
        before = self.waiting(limit)
        process = self.start(name)
        wait_until(lambda: self.waiting(limit) == before + 1)
        return process

    def waiting(self, limit):
        return self.reuse.shown()[1].get(limit, (0, 0))[1]

    def let_go(self, *names):
        for name in names:
            self.events[name].set()


@pytest.fixture
def site(home, dns, smtp):
    site = Site(home, dns, smtp)
    yield site
    site.reuse.stop()


def delivered(*processes):
    for process in processes:
        run = process.finish()
        assert run.letters == "rK", run


@pytest.mark.parametrize("idle", [0, 60])
def test_the_first_that_waits_is_the_first_that_sends(site, idle):
    site.limit("m1.example:3", "wait 60", idle=idle)
    site.mx(10)
    server = site.server()
    held = [site.hold_one(name) for name in ("a", "b", "c")]
    waiting = [site.queue_one(name) for name in ("d", "e", "f")]
    for gone, comes in zip("bac", "def"):
        site.let_go(gone)
        wait_until(lambda: comes in site.order)
    assert site.order == list("abcdef")
    site.let_go(*"def")
    delivered(*held, *waiting)
    # A connection that becomes free goes to the first that waits.
    assert len(server.sessions) == (6 if idle == 0 else 3)


def test_another_host_of_the_same_preference_with_a_place_comes_first(site):
    site.limit("m1.example:1", "m2.example:1", "wait 60")
    site.mx(10, 10)
    servers = site.server(), site.server(TWO, "m2.example")
    held = [site.hold_one(name) for name in "ab"]
    assert [len(s.sessions) for s in servers] == [1, 1]
    site.let_go(*"ab")
    delivered(*held)


@pytest.mark.parametrize("idle", [0, 60])
def test_a_delivery_that_goes_on_to_another_host_leaves_its_place(site, idle):
    site.limit("m1.example:1", "wait 0", idle=idle)
    site.mx(10, 20)
    first, second = site.server(sessions=[{"greeting": "421 no"}, {}]), \
        site.server(TWO, "m2.example", greeting=(Until(site.events["second"]), "220 hi"))
    elsewhere = site.start("a")
    second.wait_session()
    delivered(site.start("b"))
    assert len(first.sessions[1].mails) == 1
    site.let_go("second", "a")
    delivered(elsewhere)


def test_the_way_back_to_a_host_without_smtputf8_needs_a_place(site):
    """It is used only if no other offers that; until then somebody else may have its place."""
    site.limit("m1.example:1", "m2.example:1", "wait 0")
    site.mx(10, 20)
    first, second = site.server(), site.server(TWO, "m2.example", greeting=(Until(site.events["second"]), "220 hi"))
    back = site.reuse.start(sender="pelé@src.example", recipients=["a@dst.example"])
    second.wait_session()
    held = site.hold_one("b")
    site.let_go("second")
    check(back.finish(), full("m1.example:1"))
    site.let_go("b")
    delivered(held)
    assert len(first.sessions) == 2


def test_a_connection_to_another_host_does_not_take_the_place_of_a_dead_one(site):
    """The first host has gone from the DNS while a connection to it was idle."""
    site.limit("m1.example:1", idle=60)
    site.mx(10)
    site.server(sessions=[{}, {"MAIL": ["250 ok", "421 bye"]}])
    site.server(TWO, "m2.example", END="250 got it")
    site.reuse.warm()
    site.dns.forget("dst.example")
    site.dns.zone("dst.example MX 10 m2.example.")
    for _ in range(2):
        check(site.reuse.run(), "r", accepted(TWO))
    wait_until(lambda: site.reuse.idle() == 1)
    assert not site.reuse.shown()[1]


def test_a_worse_host_is_not_taken_for_its_place(site):
    site.limit("m1.example:1", "wait 60")
    site.mx(10, 20)
    servers = site.server(), site.server(TWO, "m2.example")
    held = site.hold_one("a")
    waiting = site.queue_one("b")
    site.let_go(*"ab")
    delivered(held, waiting)
    assert [len(s.sessions) for s in servers] == [2, 0]


def test_as_many_wait_as_there_are_places_and_no_more(site):
    """The others are deferred at once, and nobody is noted as dead."""
    site.limit("m1.example:1", "wait 60")
    site.mx(10, 20)
    servers = site.server(), site.server(TWO, "m2.example")
    held, waiting = site.hold_one("a"), site.queue_one("b")
    check(site.start("c").finish(), full("m1.example:1"))
    site.let_go(*"ab")
    delivered(held, waiting)
    assert [len(s.sessions) for s in servers] == [2, 0]
    assert not any(open(site.home.tcpto_path, "rb").read())


@pytest.mark.timed
def test_nobody_waits_longer_than_the_file_says(site):
    site.limit("m1.example:1", "wait 1")
    site.mx(10)
    server = site.server()
    held = site.hold_one("a")
    run = site.start("b").finish()
    check(run, full("m1.example:1"))
    assert run.lasted(3, least=1) and len(server.sessions) == 1
    site.let_go("a")
    delivered(held)


def test_nobody_waits_if_the_file_says_so(site):
    site.limit("m1.example:1", "wait 0")
    site.mx(10)
    site.server()
    held = site.hold_one("a")
    check(site.start("b").finish(), full("m1.example:1"))
    site.let_go("a")
    delivered(held)


@pytest.mark.parametrize("name", ["held", "waiting"])
def test_a_delivery_that_is_killed_leaves_its_place(site, name):
    site.limit("m1.example:1", "wait 60")
    site.mx(10)
    site.server()
    held, waiting = site.hold_one("a"), site.queue_one("b")
    killed = held if name == "held" else waiting
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.finish().status == signal.SIGKILL
    if name == "held":
        site.let_go("b")
        delivered(waiting)
    else:
        wait_until(lambda: site.waiting("m1.example") == 0)
        site.let_go("a")
        delivered(held)
    site.let_go("c")
    delivered(site.start("c"))


def test_an_idle_connection_gives_its_place_to_another_host(site):
    site.limit(".example:1", idle=60)
    site.mx(10)
    first, second = site.server(END="250 got it"), site.server(TWO, "m2.example", END="250 got it")
    site.dns.zone("other.example MX 10 m2.example.")
    site.reuse.warm()
    check(site.reuse.run(host="other.example"), "r", accepted(TWO))
    wait_until(lambda: first.sessions[1].done)
    assert first.sessions[1].verbs[-1] == "QUIT" and len(second.sessions) == 1
    assert site.reuse.shown()[2]["limit"] == 1


def test_an_idle_connection_keeps_its_place(site):
    """A delivery that has its key gets it."""
    site.limit("m1.example:1", idle=60)
    site.mx(10)
    server = site.server(END="250 got it")
    site.reuse.warm()
    assert site.reuse.shown()[1] == {"m1.example": (1, 0)}
    delivered(site.reuse.start())
    assert len(server.sessions) == 2


@pytest.mark.parametrize("before", ["m1.example:3", "m2.example:1"])
def test_a_limit_holds_though_connections_were_idle_before_it(site, before):
    """It was lowered, or there was none."""
    site.limit(before, idle=60)
    site.mx(10)
    server = site.server()
    busy = [site.hold_one(name) for name in "abc"]
    site.let_go(*"abc")
    delivered(*busy)
    wait_until(lambda: site.reuse.idle() == 3)
    site.limit("m1.example:1", "wait 60", idle=60)
    held, waiting = site.hold_one("d"), site.queue_one("e")
    assert len(server.sessions) == 4
    site.let_go(*"de")
    delivered(held, waiting)


def test_hosts_without_a_line_are_not_limited(site):
    site.limit("m2.example:1", ".m1.example:1", "m1.example.org:1", "m1.example:nonsense", "m1.example:0")
    site.mx(10)
    server = site.server()
    held = [site.hold_one(name) for name in "abc"]
    assert len(server.sessions) == 3
    site.let_go(*"abc")
    delivered(*held)


def test_without_a_broker_there_is_no_limit(site):
    site.limit("m1.example:1")
    site.mx(10)
    server = site.server()
    held = site.hold_one("a")
    os.kill(site.reuse.process.pid, signal.SIGSTOP)
    held = [held, site.hold_one("b")]
    assert len(server.sessions) == 2
    site.let_go(*"ab")
    delivered(*held)


def test_a_broker_that_dies_lets_go_who_waits(site):
    site.limit("m1.example:1", "wait 60")
    site.mx(10)
    server = site.server()
    deliveries = [site.hold_one("a"), site.queue_one("b")]
    site.reuse.stop(signal.SIGKILL)
    wait_until(lambda: "b" in site.order)
    assert len(server.sessions) == 2
    site.let_go(*"ab")
    delivered(*deliveries)


class OfUser:
    """A home whose deliveries are those of the broker's user."""

    def __init__(self, home):
        self.home, self.path = home, home.path

    def start(self, *args):
        return self.home.start(*args, **USER)


def test_two_hundred_at_once_through_ten_connections(site):
    """Those that get no place are deferred; nobody waits for ever, and each message arrives once."""
    site.limit("m1.example:10", "wait 20", idle=60)
    site.mx(10)
    most = []

    def count(session):
        with session.server.changed:
            most.append(sum(not s.done and not s.hung_up() for s in session.server.sessions))
        return "220 hi"
    server = site.server(greeting=Call(count), END="250 got it")
    queue = Queue(OfUser(site.home), concurrency=200)
    for n in range(200):
        queue.put("a@src.example", f"u{n}@dst.example", f"Subject: {n}\n\nhi\n".encode())
    for _ in range(40):
        before = len(queue.waiting)
        queue.run()
        for message in queue.waiting:
            assert message.results[-1].startswith(f"Z{full('m1.example:10')[1]}".encode()), message.results
        assert len(queue.waiting) <= max(0, before - 10)
        if not queue.waiting:
            break
    assert max(most) <= 10
    wait_until(lambda: site.reuse.shown()[1]["m1.example"] == (site.reuse.idle(), 0))
    site.reuse.stop()
    arrived = collections.Counter(m.recipients[0] for m in server.mails)
    assert len(arrived) == 200 and set(arrived.values()) == {1}
    assert len(server.sessions) < 100
