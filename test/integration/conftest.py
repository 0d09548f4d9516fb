"""Fixtures of the integration tests. Each test process lives in namespaces of its own: see world.py.

    pytest test/integration                      in one process
    pytest -n 4 test/integration                 in four
    pytest --long test/integration               the long tests too
    pytest -m timed test/integration             those with an upper bound on time: for a machine that does nothing else
    pytest --untimed test/integration            upper bounds on time do not count: for one that does
    pytest --sample test/integration             one in eight of the variants of a test with more than three
    pytest --build DIR test/integration          programs of another build directory
    pytest --recorded test/integration           programs that tell what their sandbox would kill them for
    pytest --under COMMAND test/integration      qmail-remote, and what it starts, below valgrind or the like
"""

import os
import shutil
import signal
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Each process compiles all tests, and pytest's rewriting of asserts takes longer than the rest of its start.
sys.pycache_prefix, sys.dont_write_bytecode = os.path.join(TOP, "build", "pycache"), False
sys.path.insert(0, os.path.dirname(__file__))

import dnsd         # noqa: E402
import matrix       # noqa: E402
import pki          # noqa: E402
import qmailhome    # noqa: E402
import reuse        # noqa: E402
import rspawn       # noqa: E402
import smtpd        # noqa: E402
import stssite      # noqa: E402
import tlssite      # noqa: E402
import world        # noqa: E402
from catalogue import pytest_terminal_summary     # noqa: E402,F401
from stage import Stage                           # noqa: E402

PROGRAMS = "/srv/programs"


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the long tests too")
    parser.addoption("--untimed", action="store_true", help="upper bounds on time do not count")
    parser.addoption("--sample", action="store_true", help="one in eight of the variants of a test with more than three")
    parser.addoption("--build", default=os.path.join(TOP, "build", "check"),
                     help="build directory with the programs, configured with qmail_home=/srv/qmail")
    parser.addoption("--recorded", action="store_true",
                     help="run the programs that tell what their sandbox would kill them for")
    parser.addoption("--qmail", metavar="DIR", help="the source of a qmail, for the tests with a real one")
    parser.addoption("--under", help="run qmail-remote, and what it starts, below this command")


def program_path(config, name):
    return f"{config.option.build}/test/sandbox/{name}-recorded" if config.getoption("recorded") \
        else f"{config.option.build}/{name}"


def pytest_configure(config):
    worker = hasattr(config, "workerinput")
    config.pluginmanager.register(matrix.Summary())
    rspawn.TIMED = not config.getoption("untimed")
    controller = not worker and config.getoption("dist", "no") != "no"
    build = config.getoption("build")
    if not worker:
        missing = [p for p in qmailhome.PROGRAMS if not os.access(f"{build}/{p}", os.X_OK)]
        if missing:
            pytest.exit(f"{build} has no {', '.join(missing)}; build it with "
                        "meson setup -Dqmail_home=/srv/qmail", 2)
        config.option.build = os.path.abspath(build)
    try:
        if controller:
            world.become_root()
            world.rehearse()
        else:
            world.enter()
    except world.Unavailable as e:
        pytest.exit("these tests need root, or a kernel that gives unprivileged users "
                    f"namespaces of their own ({e})", 2)
    if not controller:
        os.umask(0o022)
        rspawn.be_subreaper()
        os.mkdir(PROGRAMS)
        os.chmod(PROGRAMS, 0o755)
        for name in qmailhome.PROGRAMS:
            shutil.copy(program_path(config, name), f"{PROGRAMS}/{name}")
            os.chmod(f"{PROGRAMS}/{name}", 0o755)
        if config.getoption("under"):
            put_under(config.getoption("under"), f"{PROGRAMS}/qmail-remote")


def put_under(command, program):
    os.rename(program, f"{program}.itself")
    with open(program, "w", encoding="utf-8") as f:
        f.write(f'#!/bin/sh\nexec {command} {program}.itself "$@"\n')
    os.chmod(program, 0o755)


FEW = 3         # variants of a test that is not left out of a sample ...
SAMPLE = 8      # ... of which one in so many of the others is taken
ONE_IN = 12     # variants of a test that is played again

# They test what is the same in each build, or what other tests have the programs do too.
_NOT_IN_SAMPLE = {f"test_{name}.py" for name in (
    "conventions", "count", "differential", "harness", "install", "logging", "many_connections", "migrating", "package",
    "queue", "real_reuse", "sts_opinion", "tools")}


def _not_in_sample(items):
    """Of each test with more than a few variants all but one in eight, and the tests of these files."""
    tests = {}
    for item in items:
        tests.setdefault((item.path, item.originalname), []).append(item)
    return [item for (path, _), variants in tests.items() for n, item in enumerate(variants)
            if path.name in _NOT_IN_SAMPLE or (len(variants) > FEW and n % SAMPLE)]


def _played_again(items):
    """Of the tests that a file has from others, all but a few variants of those that it names."""
    tests = {}
    for item in items:
        if item.function.__module__ != item.module.__name__:
            tests.setdefault((item.path, item.originalname), []).append(item)
    return [item for (_, name), variants in tests.items() for n, item in enumerate(variants)
            if n % ONE_IN or name not in item.module.PLAYED_AGAIN]


# Their tests take long. pytest-xdist gives each process tests that follow each other.
_LONG = {f"test_{name}.py" for name in (
    "broker", "catalogue_j", "catalogue_m", "dns", "install", "limits", "matrix", "package", "refusals", "sweep", "tcpto")}


def _spread(items):
    """The same tests, with those of the files above spread evenly: no process is left with many of them at the end."""
    long = [item for item in items if item.path.name in _LONG]
    others = [item for item in items if item.path.name not in _LONG]
    done = 0
    for n, item in enumerate(long, 1):
        until = n * len(others) // (len(long) + 1)
        yield from others[done:until]
        yield item
        done = until
    yield from others[done:]


def pytest_collection_modifyitems(config, items):
    dropped = _not_in_sample(items) if config.getoption("sample") else []
    if not config.getoption("long"):
        dropped += _played_again(items)
    if not config.getoption("qmail"):
        dropped += [i for i in items if i.get_closest_marker("qmail")]
    if not config.getoption("long"):
        dropped += [i for i in items if i.get_closest_marker("long")]
    if config.getoption("recorded"):
        # It counts descriptors, and these programs hold one more.
        dropped += [i for i in items if i.originalname == "test_the_helper_holds_neither_report_nor_message"]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        without = set(dropped)
        items[:] = [i for i in items if i not in without]
    items[:] = _spread(items)


@pytest.fixture(scope="session")
def _dns_server():
    return dnsd.Server()


@pytest.fixture
def dns(_dns_server):
    """The DNS server that /etc/resolv.conf names; its zone is empty."""
    _dns_server.reset()
    world.resolv_conf()
    yield _dns_server
    _dns_server.reset()
    world.resolv_conf()


@pytest.fixture
def home():
    """A fresh /srv/qmail, without smtproutes."""
    home = qmailhome.Home(PROGRAMS)
    yield home
    for process in home.processes:
        process.kill()
    if os.path.exists(f"{home.run_path}/cache.lock"):
        reuse.end_brokers(signal.SIGKILL)
    rspawn.reap()


@pytest.fixture
def smtp():
    """Makes scripted SMTP servers; they are stopped after the test."""
    servers = []

    def make(address="192.0.2.1", **how):
        server = smtpd.Server(address, **how)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def only_local():
    """only_local(): from now on no socket can have an address that is not of this machine; servers are there already."""
    yield lambda: world.nonlocal_bind(False)
    world.nonlocal_bind(True)


@pytest.fixture(scope="session")
def certs():
    return pki.Pki("/srv/pki")


@pytest.fixture
def relay(home, smtp):
    """One server that all mail is routed to: relay(**script) gives it."""
    def make(address="192.0.2.1", port=25, **script):
        shown = f"[{address}]" if ":" in address else address
        home.route(f":{shown}:{port}")
        return smtp(address, port=port, **script)
    return make


@pytest.fixture
def site(home, smtp, dns, certs):
    """Servers that do TLS, and a domain whose MX hosts they are."""
    return tlssite.Site(home, smtp, dns, certs)


@pytest.fixture
def sts(home, smtp, dns, certs):
    """The same, and a policy for MTA-STS."""
    site = stssite.StsSite(home, smtp, dns, certs)
    yield site
    # A fetch outlives its delivery, and would write into the home of the next test.
    site.stop()
    tlssite.gone(timeout=12)


@pytest.fixture
def stage(home, smtp, dns, certs, request):
    """What the cases of the catalogue are played on."""
    return Stage(home, smtp, dns, certs, request.node.user_properties)
