"""What the installer puts where, what it keeps, when it refuses, and the way back."""

import grp
import json
import os
import pathlib
import pty
import pwd
import re
import shutil
import stat
import subprocess
import sys
import threading

import pytest

import world
from expect import accepted, check
from qmailhome import kind_of

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INSTALLER = f"{TOP}/tools/install.py"
PROGRAMS = ("qmail-remote", "qmail-remote-io", "qmail-remote-tls", "qmail-remote-sts", "qmail-remote-cache",
            "qmail-remote-tcpto", "qmail-remote-check", "qmail-remote-utf8")
USER, GROUP = "nobody", "daemon"    # stand in for qmailr and qmail

STOCK = b"\x7fELF\2\1\1\0 I (qmail-remote) was invoked improperly. (#5.3.5)\n\0 qmail-remote.c\0"
NEWER_STOCK = STOCK + b"newer\0"
WRAPPER = b'#!/bin/sh\nsign | exec bin/qmail-remote.orig "$@"\n'
# As version 0.1.0 is known by: it had no mark.
FIRST = STOCK + b"/var/qmail/bin/qmail-remote-io\0I (qmail-remote) was invoked improperly.\0"
FIRST_IO = b"\x7fELF\2\1\1\0 I (qmail-remote-io) was invoked improperly.\0"
FIRST_TLS = b"\x7fELF\2\1\1\0c:k:n:s:t:v:\0%s/trustanchors.cdb\0"

# Runs the installer, and at its Nth change of a directory ends it as a kill would, or lets the change fail.
DISTURBED = """
import os, runpy, sys
event, left = sys.argv.pop(1), int(sys.argv.pop(1))
def counted(change):
    def one(*args, **how):
        global left
        left -= 1
        if left < 0 and event == "kill":
            os._exit(9)
        if left == -1:
            raise OSError(5, "injected", args[0])
        return change(*args, **how)
    return one
for name in ("rename", "link", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def version():
    with open(f"{TOP}/meson.build", encoding="ascii") as f:
        return re.search(r"^  version: '(.*)',$", f.read(), re.MULTILINE)[1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_tells_its_version(request, name):
    """It can be asked for, and is in the bytes of the program, for what(1) and strings(1)."""
    program = f"{request.config.getoption('build')}/{name}"
    done = subprocess.run([program, "--version"], check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout == f"{name} {version()}\n"
    with open(program, "rb") as f:
        assert f"@(#){name} {version()}\0".encode() in f.read()


def can_chown(path):
    try:
        os.chown(path, pwd.getpwnam(USER).pw_uid, grp.getgrnam(GROUP).gr_gid)
    except OSError:
        return False
    return True


class Site:
    """A qmail home and a build directory."""

    def __init__(self, path, programs, home=None):
        self.path = path
        self.build = path / "build"
        self.home = pathlib.Path(home or path / "q")
        self.bin = self.home / "bin"
        self.man = path / "share" / "man"
        self.bin.mkdir(parents=True, exist_ok=True)
        (self.build / "meson-info").mkdir(parents=True)
        for name in PROGRAMS:
            shutil.copy(f"{programs}/{name}", self.build / name)
        (path / "probe").touch()
        self.owner = (USER, GROUP) if can_chown(path / "probe") else ("root", "root")
        self.configure()

    def configure(self, name="qmail-remote", owner=None):
        user, group = owner or self.owner
        options = {"program_name": name, "qmail_home": str(self.home), "qmail_run": "", "prefix": str(self.path),
                   "mandir": "share/man", "qmailr_user": user, "qmail_group": group}
        text = json.dumps([{"name": k, "value": v} for k, v in options.items()])
        (self.build / "meson-info" / "intro-buildoptions.json").write_text(text)

    def run(self, *words, python=(), **how):
        """Without a terminal of its own: nothing is written to that of the person who runs the tests."""
        environment = {"PATH": os.environ["PATH"], **how.pop("environment", {})}
        return subprocess.run([sys.executable, *python, INSTALLER, *words, str(self.build)], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                              start_new_session=True, **how)

    def install(self, **how):
        done = self.run(**how)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def uninstall(self, **how):
        done = self.run("--uninstall", **how)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def refuses(self, *words, code=3):
        """It fails with a reason and leaves everything as it was."""
        before = self.state()
        done = self.run(*words)
        assert done.returncode == code and self.state() == before, done
        return done.stderr

    def put(self, name, data, mode=0o755):
        path = self.bin / name
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def has(self, name):
        return (self.bin / name).read_bytes()

    def names(self):
        return sorted(p.name for p in self.bin.iterdir())

    def state(self):
        return {p.name: os.readlink(p) if p.is_symlink() else p.is_dir() or p.read_bytes() for p in self.bin.iterdir()}

    def is_ours(self, name, program="qmail-remote"):
        return self.has(name) == (self.build / program).read_bytes()


@pytest.fixture
def site(tmp_path, request):
    return Site(tmp_path, os.path.abspath(request.config.getoption("build")))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# What is installed.

def test_programs_and_directories_have_their_owners_and_modes(site):
    if site.owner != (USER, GROUP):
        pytest.skip("only one user in this namespace")
    site.install()
    for name in PROGRAMS:
        path = site.bin / name
        assert site.is_ours(name, name)
        assert mode(path) == 0o711
        assert (path.stat().st_uid, path.stat().st_gid) == (0, grp.getgrnam(GROUP).gr_gid)
    state = site.home / "run" / "qmail-remote"
    assert mode(site.home / "run") == mode(state) == 0o2750
    assert (site.home / "run").stat().st_uid == 0
    assert state.stat().st_uid == pwd.getpwnam(USER).pw_uid
    assert site.names() == sorted(PROGRAMS)
    assert sorted(p.name for p in site.home.iterdir()) == ["bin", "run"]


def test_directories_get_a_group_that_came_later(site):
    """The directories of an installation before there was a group get it from the next."""
    if site.owner != (USER, GROUP):
        pytest.skip("only one user in this namespace")
    run = site.home / "run"
    site.configure(owner=(USER, "no-such-group"))
    site.install()
    assert mode(run) == 0o2750 and (run.stat().st_uid, run.stat().st_gid) == (0, 0)
    site.configure()
    site.install()
    group = grp.getgrnam(GROUP).gr_gid
    for path, user in ((run, 0), (run / "qmail-remote", pwd.getpwnam(USER).pw_uid)):
        assert mode(path) == 0o2750 and (path.stat().st_uid, path.stat().st_gid) == (user, group)


@pytest.mark.parametrize("before", [0o755, 0o2750], ids=oct)
def test_leaves_another_run_directory_alone(site, before):
    run = site.home / "run"
    run.mkdir()
    run.chmod(before)
    (run / "other").touch()
    site.put("qmail-remote", STOCK)
    site.install()
    assert mode(run) == before and run.stat().st_gid == 0 and (run / "other").exists()
    assert mode(run / "qmail-remote") == 0o2750
    site.uninstall()
    assert mode(run) == before and [p.name for p in run.iterdir()] == ["other"]


def test_stages_into_destdir(site):
    """For a package: nothing of this machine's qmail is looked at or changed."""
    site.put("qmail-remote", WRAPPER)
    site.install(environment={"DESTDIR": str(site.path / "stage")})
    assert site.names() == ["qmail-remote"] and site.has("qmail-remote") == WRAPPER
    staged = pathlib.Path(f"{site.path}/stage{site.bin}")
    assert sorted(p.name for p in staged.iterdir()) == sorted(PROGRAMS)
    assert os.path.isdir(f"{site.path}/stage{site.home}/run/qmail-remote")


# What was there is kept.

def test_keeps_stock(site):
    site.put("qmail-remote", STOCK)
    site.install()
    assert site.has("qmail-remote.stock") == STOCK and site.is_ours("qmail-remote")
    site.install()
    assert site.has("qmail-remote.stock") == STOCK
    assert site.names() == sorted((*PROGRAMS, "qmail-remote.stock"))


def test_keeps_owner_and_mode_of_stock(site):
    """Ours has always the same mode; what is kept can be put back as it was."""
    stock = site.put("qmail-remote", STOCK)
    if site.owner == (USER, GROUP):
        os.chown(stock, pwd.getpwnam(USER).pw_uid, -1)
    stock.chmod(0o4755)
    before = stock.stat()
    site.install()
    kept = (site.bin / "qmail-remote.stock").stat()
    assert (kept.st_uid, kept.st_mode) == (before.st_uid, before.st_mode)
    assert mode(site.bin / "qmail-remote") == 0o711 and (site.bin / "qmail-remote").stat().st_uid == 0
    site.uninstall()
    assert (stock.stat().st_uid, stock.stat().st_mode) == (before.st_uid, before.st_mode)


def test_newer_stock_replaces_the_kept_one(site):
    """qmail's "make setup" writes into the file that is there, which is ours by then."""
    site.put("qmail-remote", STOCK)
    site.install()
    (site.bin / "qmail-remote").write_bytes(NEWER_STOCK)
    assert site.has("qmail-remote.stock") == STOCK
    site.install()
    assert site.has("qmail-remote.stock") == NEWER_STOCK and site.is_ours("qmail-remote")


@pytest.mark.parametrize("name", PROGRAMS[1:])
def test_keeps_foreign_helpers(site, name):
    foreign = STOCK + b"qmail-remote-io qmail-remote-tls /bin/qmail-remote-io"
    site.put("qmail-remote", STOCK)
    site.put(name, foreign)
    site.install()
    assert site.has(f"{name}.stock") == foreign and site.is_ours(name, name)
    site.uninstall()
    assert site.state() == {"qmail-remote": STOCK, name: foreign}


def test_ours_is_not_kept(site):
    """Neither this version nor an earlier one."""
    for data in (None, FIRST, STOCK + b"@(#)qmail-remote 0.1.9\0"):
        if data is not None:
            site.put("qmail-remote", data)
        site.install()
        assert site.names() == sorted(PROGRAMS)


def test_replaces_by_rename(site):
    """A program that runs, or is about to be run, keeps its file."""
    with open(site.put("qmail-remote", STOCK), "rb") as old:
        site.install()
        assert old.read() == STOCK


# What version 0.1.0 left.

def put_first_version(site, main=FIRST):
    site.put("qmail-remote", main)
    site.put("qmail-remote-io", FIRST_IO)
    site.put("qmail-remote-tls", FIRST_TLS)


@pytest.mark.parametrize("present, kept", [(FIRST, STOCK), (NEWER_STOCK, NEWER_STOCK)], ids=["ours", "newer-stock"])
def test_takes_over_what_the_first_version_kept(site, present, kept):
    put_first_version(site, present)
    site.put("qmail-remote.orig", STOCK)
    site.install()
    assert site.has("qmail-remote.stock") == kept and site.is_ours("qmail-remote")
    assert site.names() == sorted((*PROGRAMS, "qmail-remote.stock"))


def test_stock_is_kept_after_a_first_version_killed_after_its_link(site):
    os.link(site.put("qmail-remote", STOCK), site.bin / "qmail-remote.orig")
    site.install()
    assert site.has("qmail-remote.stock") == STOCK and site.names() == sorted((*PROGRAMS, "qmail-remote.stock"))


@pytest.mark.parametrize("wrapper", [WRAPPER, b"\x7fELF\2\1\1\0bin/qmail-remote.orig\0"], ids=["script", "compiled"])
def test_refuses_where_the_first_version_has_moved_a_wrapper(site, wrapper):
    put_first_version(site)
    site.put("qmail-remote.orig", wrapper)
    site.put("qmail-remote.orig.1", STOCK)
    assert "0.1.0 has moved there" in site.refuses()


def test_wrapper_is_put_back_as_readme_says(site):
    """Each command leaves a program that can be run."""
    put_first_version(site)
    site.put("qmail-remote.orig", WRAPPER)
    with open(f"{TOP}/README.md", encoding="utf-8") as f:
        lines = re.search(r"To put it back.*?\n\n((?:    # [^\n]*\n)+)", f.read(), re.DOTALL)[1].splitlines()
    commands = [line.removeprefix("    # ") for line in lines if " cd " not in line]
    assert len(commands) == 4
    for command in commands:
        subprocess.run(["sh", "-ec", command], check=True, cwd=site.bin)
        assert site.has("qmail-remote") == FIRST or (site.has("qmail-remote") == WRAPPER
                                                     and site.has("qmail-remote.orig") == FIRST)
    site.configure("qmail-remote.orig")
    site.install()
    assert site.has("qmail-remote") == WRAPPER and site.is_ours("qmail-remote.orig")


def test_removes_the_first_version(site):
    put_first_version(site)
    site.put("qmail-remote.orig", STOCK)
    site.uninstall()
    assert site.state() == {"qmail-remote": STOCK}


# When it refuses.

@pytest.mark.parametrize("orig", [None, STOCK, FIRST], ids=["no-orig", "orig-stock", "orig-ours"])
def test_refuses_to_replace_a_wrapper(site, orig):
    site.put("qmail-remote", WRAPPER)
    if orig:
        site.put("qmail-remote.orig", orig)
    said = site.refuses()
    assert "nothing was installed" in said and "-Dprogram_name=" in said
    assert orig is None or f"meson configure {site.build} -Dprogram_name=qmail-remote.orig" in said


def test_refuses_to_replace_a_compiled_wrapper(site):
    site.put("qmail-remote", b"\x7fELF\2\1\1\0bin/qmail-remote-unsigned\0")
    site.put("qmail-remote-unsigned", STOCK)
    assert "-Dprogram_name=qmail-remote-unsigned" in site.refuses()


@pytest.mark.parametrize("target", ["elsewhere", "qmail-remote-real"], ids=["dangling", "to-a-program"])
def test_refuses_to_replace_a_symbolic_link(site, target):
    site.put("qmail-remote-real", STOCK)
    (site.bin / "qmail-remote").symlink_to(target)
    assert f"symbolic link to {target}" in site.refuses()


def test_refuses_to_replace_a_directory(site):
    (site.bin / "qmail-remote").mkdir()
    assert "is not a file" in site.refuses()


@pytest.mark.parametrize("main, orig", [
    (STOCK, NEWER_STOCK), (STOCK, STOCK), (STOCK, WRAPPER), (None, STOCK), (STOCK, FIRST), (None, FIRST),
], ids=["older-stock", "copy", "script", "no-main", "wrapper-lost", "wrapper-removed"])
def test_refuses_where_orig_is_not_its_own(site, main, orig):
    if main:
        site.put("qmail-remote", main)
    site.put("qmail-remote.orig", orig)
    assert f"{site.bin}/qmail-remote.orig" in site.refuses()


def test_refuses_where_orig_is_a_link(site):
    site.put("qmail-remote", STOCK)
    (site.bin / "qmail-remote.orig").symlink_to("qmail-remote")
    assert "-Dprogram_name=qmail-remote.orig" in site.refuses()


@pytest.mark.parametrize("name", PROGRAMS[1:])
def test_refuses_to_replace_a_helper_script(site, name):
    site.put(name, b"#!/bin/sh\n")
    assert f"{site.bin}/{name} is not a program of ours" in site.refuses()


def test_refuses_where_stock_cannot_be_kept(site):
    site.put("qmail-remote", STOCK)
    (site.bin / "qmail-remote.stock").symlink_to("elsewhere")
    assert f"{site.bin}/qmail-remote.stock is in the way" in site.refuses()


def test_refuses_helpers_of_another_version(site):
    """Those that it would install are of no use to the program that qmail runs."""
    put_first_version(site)
    site.configure("qmail-remote.new")
    assert "qmail-remote is version 0.1.0" in site.refuses()


def test_refuses_without_a_qmail(site):
    site.bin.rmdir()
    done = site.run()
    assert done.returncode == 3 and f"there is no directory {site.bin}" in done.stderr
    assert not site.bin.exists()


def test_refuses_what_was_not_built(site):
    (site.build / "qmail-remote").write_bytes(STOCK)
    assert "has not been built" in site.refuses()
    assert "is not a build directory" in subprocess.run(
        [sys.executable, INSTALLER, str(site.path)], check=False, stderr=subprocess.PIPE, text=True).stderr


@pytest.mark.parametrize("words", [(), ("-h",), ("a", "b"), ("--uninstall",), ("--package", "a"),
                                   ("--uninstall", "--package", "a", "b")], ids=" ".join)
def test_wrong_arguments_are_told_the_usage(words):
    done = subprocess.run([sys.executable, INSTALLER, *words], check=False, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1, "usage: install.py [--uninstall] BUILD-DIRECTORY\n       install.py --package DIRECTORY BUILD-DIRECTORY\n")


# Under another name.

def test_it_installs_behind_a_wrapper(site):
    site.put("qmail-remote", WRAPPER)
    site.put("qmail-remote.orig", STOCK)
    site.configure("qmail-remote.orig")
    for _ in range(2):
        site.install()
        assert site.has("qmail-remote") == WRAPPER and site.is_ours("qmail-remote.orig")
        assert site.has("qmail-remote.orig.stock") == STOCK
    site.uninstall()
    assert site.state() == {"qmail-remote": WRAPPER, "qmail-remote.orig": STOCK}


def test_it_installs_beside_stock(site):
    """As QMAILREMOTE wants it."""
    site.put("qmail-remote", STOCK)
    site.configure("qmail-remote.new")
    assert "nothing seems to run" in site.install()
    assert site.has("qmail-remote") == STOCK and site.is_ours("qmail-remote.new")
    site.uninstall()
    assert site.state() == {"qmail-remote": STOCK}


def test_two_names_share_the_helpers(site):
    site.put("qmail-remote", STOCK)
    site.install()
    site.configure("qmail-remote.new")
    site.install()
    assert "are left for" in site.uninstall()
    assert site.names() == sorted((*PROGRAMS, "qmail-remote.stock"))


# Moments between two changes, and failures.

def is_complete(site):
    """What qmail would run now works: no ours without the programs that it starts."""
    main = site.has("qmail-remote")
    if main == WRAPPER:
        main = site.has("qmail-remote.orig")
    if main in (STOCK, NEWER_STOCK):
        return True
    return all((site.bin / name).exists() for name in PROGRAMS[1:3])


def once_is_enough(site):
    """A sweep takes a hundred runs of the installer, which is the same whatever programs it installs."""
    if "sanitizer" in kind_of(f"{site.build}/{PROGRAMS[0]}"):
        pytest.skip("swept with the programs as they are installed")


def kill_sweep(site, *words):
    """After each number of changes: kill, look, and say how many changes there are."""
    once_is_enough(site)
    before = {p.name: (p.read_bytes(), mode(p)) for p in site.bin.iterdir()}
    for changes in range(100):
        for path in site.bin.iterdir():
            path.unlink()
        for name, (data, bits) in before.items():
            site.put(name, data, bits)
        done = site.run(*words, python=("-c", DISTURBED, "kill", str(changes)))
        yield changes
        if done.returncode == 0:
            return
        assert done.returncode == 9, done
    raise AssertionError("it never ends")


STATES = {
    "stock": ({"qmail-remote": STOCK}, "qmail-remote", STOCK),
    "newer-stock": ({"qmail-remote": NEWER_STOCK, "qmail-remote.stock": STOCK, "qmail-remote-io": FIRST_IO,
                     "qmail-remote-tls": FIRST_TLS}, "qmail-remote", NEWER_STOCK),
    "first-version": ({"qmail-remote": FIRST, "qmail-remote.orig": STOCK, "qmail-remote-io": FIRST_IO,
                       "qmail-remote-tls": FIRST_TLS}, "qmail-remote", STOCK),
    "behind-wrapper": ({"qmail-remote": WRAPPER, "qmail-remote.orig": STOCK}, "qmail-remote.orig", STOCK),
}


@pytest.mark.parametrize("state", STATES)
def test_killed_at_every_change_a_program_that_works_is_left(site, state):
    """There is a working program, and the next installation ends as one that was not killed."""
    files, name, stock = STATES[state]
    site.configure(name)
    for path, data in files.items():
        site.put(path, data)
    for changes in kill_sweep(site):
        assert is_complete(site), changes
        site.install()
        assert site.is_ours(name) and site.has(f"{name}.stock") == stock
    assert changes > 6


def test_an_uninstallation_killed_at_every_change_leaves_a_program_that_works(site):
    site.put("qmail-remote", STOCK)
    site.put("qmail-remote-io", STOCK)
    site.install()
    for changes in kill_sweep(site, "--uninstall"):
        assert is_complete(site), changes
        site.uninstall()
        assert site.state() == {"qmail-remote": STOCK, "qmail-remote-io": STOCK}
    assert changes > 2


@pytest.mark.parametrize("state", ["stock", "first-version"])
def test_a_change_that_fails_leaves_all_programs_of_one_kind(site, state):
    """All programs are as they were, or all are ours."""
    once_is_enough(site)
    files = STATES[state][0]
    for name, data in files.items():
        site.put(name, data)
    for changes in range(100):
        before = site.state()
        done = site.run(python=("-c", DISTURBED, "fail", str(changes)))
        after = site.state()
        if done.returncode == 0:
            break
        assert done.returncode == 1 and "injected" in done.stderr, done
        assert all(after.get(name) == before.get(name) for name in PROGRAMS) or all(
            site.is_ours(name, name) for name in PROGRAMS), changes
    assert changes > 6 and all(site.is_ours(name, name) for name in PROGRAMS)


def test_a_read_only_directory_is_told_and_left_alone(site):
    site.put("qmail-remote", STOCK)
    path = str(site.bin)
    world._mount(path, path, None, world.MS_BIND)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        assert "Read-only file system" in site.refuses(code=1)
    finally:
        subprocess.run(["umount", path], check=True)


def test_mail_is_delivered_while_it_is_installed(tmp_path, request, home, relay):
    """Over and over, forth and back; what stands in for stock is ours under no name that the installer knows."""
    site = Site(tmp_path, os.path.abspath(request.config.getoption("build")), home.path)
    for name in PROGRAMS:
        (site.bin / name).unlink(missing_ok=True)
    site.install()
    server = relay()
    ended = threading.Event()

    def install():
        while not ended.is_set():
            site.install()

    thread = threading.Thread(target=install)
    thread.start()
    try:
        for _ in range(20):
            check(home.run(), "r", accepted())
    finally:
        ended.set()
        thread.join()
    assert len(server.mails) == 20


# What reaches the person.

def test_what_was_kept_is_said_on_the_terminal(site):
    """meson shows no output of a script that succeeds: what was kept is said on the terminal."""
    site.put("qmail-remote", STOCK)
    outer, inner = pty.openpty()
    command = (f"import fcntl, os, subprocess, sys, termios; os.setsid(); fcntl.ioctl({inner}, termios.TIOCSCTTY, 0); "
               f"sys.exit(subprocess.run([sys.executable, {INSTALLER!r}, {str(site.build)!r}], "
               "stdout=subprocess.DEVNULL).returncode)")
    subprocess.run([sys.executable, "-c", command], check=True, pass_fds=[inner])
    said = os.read(outer, 4096).decode()
    os.close(outer)
    os.close(inner)
    assert f"qmail-remote: kept {site.bin}/qmail-remote as {site.bin}/qmail-remote.stock" in said


# The way back.

def test_takes_back_everything(site):
    site.put("qmail-remote", STOCK)
    site.put("qmail-remote.old", STOCK)
    pages = [site.man / "man8" / "qmail-remote.8", site.man / "man5" / "qmail-remote-control.5"]
    site.install()
    for page in pages:
        page.parent.mkdir(parents=True)
        shutil.copy(f"{TOP}/man/{page.name}", page)
    stock_page = site.man / "man8" / "qmail-rspawn.8"
    stock_page.touch()
    (site.home / "run" / "qmail-remote" / "smtproutes.cdb").touch()
    site.put(".qmail-remote.4711", b"of an installation that was killed")
    site.uninstall()
    assert site.state() == {"qmail-remote": STOCK, "qmail-remote.old": STOCK}
    assert [p.name for p in site.home.iterdir()] == ["bin"]
    assert stock_page.exists() and not any(p.exists() for p in pages)
    site.uninstall()
    assert site.state() == {"qmail-remote": STOCK, "qmail-remote.old": STOCK}


def test_leaves_another_page_alone(site):
    page = site.man / "man8" / "qmail-remote.8"
    page.parent.mkdir(parents=True)
    page.write_text(".TH qmail-remote 8\n")
    site.put("qmail-remote", STOCK)
    site.install()
    site.uninstall()
    assert page.exists()


def test_newer_stock_stays(site):
    """Whoever ran "make setup" has gone back already."""
    site.put("qmail-remote", STOCK)
    site.install()
    (site.bin / "qmail-remote").write_bytes(NEWER_STOCK)
    site.uninstall()
    assert site.state() == {"qmail-remote": NEWER_STOCK}


def test_refuses_to_leave_qmail_without_a_program(site):
    site.install()
    assert "no " + str(site.bin / "qmail-remote.stock") in site.refuses("--uninstall")


@pytest.mark.parametrize("where", ["wrapper", "rc", "process"])
def test_refuses_to_remove_what_is_run(site, where):
    site.put("qmail-remote", STOCK)
    site.configure("qmail-remote.new")
    site.install()
    process = None
    if where == "wrapper":
        site.put("qmail-remote", WRAPPER.replace(b".orig", b".new"))
    elif where == "rc":
        (site.home / "rc").write_text("QMAILREMOTE=bin/qmail-remote.new exec qmail-start ./Mailbox\n")
    else:
        process = subprocess.Popen(["sleep", "60"], env={"QMAILREMOTE": "bin/qmail-remote.new",
                                                         "PATH": os.environ["PATH"]})
    try:
        assert "may run" in site.refuses("--uninstall")
        assert "nothing seems to run" not in site.install()
    finally:
        if process:
            process.kill()
            process.wait()
