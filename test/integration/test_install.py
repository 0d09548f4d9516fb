"""What "meson install" puts where, and what it leaves alone."""

import grp
import os
import pwd
import re
import stat
import subprocess
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = ("qmail-remote", "qmail-remote-io", "qmail-remote-tls")
USER, GROUP = "nobody", "daemon"    # stand in for qmailr and qmail


def can_chown(path):
    try:
        os.chown(path, pwd.getpwnam(USER).pw_uid, grp.getgrnam(GROUP).gr_gid)
    except OSError:
        return False
    return True


@pytest.fixture
def install(tmp_path, request):
    build = os.path.abspath(request.config.getoption("build"))
    (tmp_path / "q" / "bin").mkdir(parents=True)
    (tmp_path / "probe").touch()
    owner = (USER, GROUP) if can_chown(tmp_path / "probe") else ("root", "root")

    def run(owner=owner):
        subprocess.run([sys.executable, f"{TOP}/tools/install.py", build, str(tmp_path / "q"),
                        str(tmp_path / "q" / "run"), *owner],
                       check=True, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"]})
    run.home = tmp_path / "q"
    run.build = build
    run.owner = owner
    return run


def version():
    with open(f"{TOP}/meson.build", encoding="ascii") as f:
        return re.search(r"^  version: '(.*)',$", f.read(), re.MULTILINE)[1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_version(request, name):
    """It can be asked for, and is in the bytes of the program, for what(1) and strings(1)."""
    program = f"{request.config.getoption('build')}/{name}"
    done = subprocess.run([program, "--version"], check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout == f"{name} {version()}\n"
    with open(program, "rb") as f:
        assert f"@(#){name} {version()}\0".encode() in f.read()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_programs_and_directories(install):
    if install.owner != (USER, GROUP):
        pytest.skip("only one user in this namespace")
    install()
    for name in PROGRAMS:
        path = install.home / "bin" / name
        with open(f"{install.build}/{name}", "rb") as f:
            assert path.read_bytes() == f.read()
        assert mode(path) == 0o711
        assert (path.stat().st_uid, path.stat().st_gid) == (0, grp.getgrnam(GROUP).gr_gid)
    state = install.home / "run" / "qmail-remote"
    assert mode(install.home / "run") == mode(state) == 0o2750
    assert (install.home / "run").stat().st_uid == 0
    assert state.stat().st_uid == pwd.getpwnam(USER).pw_uid
    assert sorted(p.name for p in (install.home / "bin").iterdir()) == sorted(PROGRAMS)
    assert sorted(p.name for p in install.home.iterdir()) == ["bin", "run"]


def test_keeps_stock_once(install):
    stock = install.home / "bin" / "qmail-remote"
    kept = install.home / "bin" / "qmail-remote.orig"
    stock.write_bytes(b"stock")
    install()
    assert kept.read_bytes() == b"stock" and stock.read_bytes() != b"stock"
    install()
    assert kept.read_bytes() == b"stock"
    kept.rename(stock)      # the way back
    install()               # and forth
    assert kept.read_bytes() == b"stock" and stock.read_bytes() != b"stock"


def test_another_stock(install):
    """Stock was made anew, over ours: both that one and the older one are kept."""
    stock = install.home / "bin" / "qmail-remote"
    kept = install.home / "bin" / "qmail-remote.orig"
    for text in (b"one", b"two", b"three", b"three"):
        stock.write_bytes(text)
        install()
    assert kept.read_bytes() == b"three"
    assert [(kept.parent / f"{kept.name}.{n}").read_bytes() for n in (1, 2)] == [b"one", b"two"]
    assert not (kept.parent / f"{kept.name}.3").exists()


def test_dangling_link(install):
    stock = install.home / "bin" / "qmail-remote"
    stock.symlink_to("nowhere")
    install()
    assert not stock.is_symlink() and stock.stat().st_size > 10000


def test_ours_is_not_stock(install):
    install()
    install()
    assert not (install.home / "bin" / "qmail-remote.orig").exists()


def test_replaces_by_rename(install):
    """A program that runs, or is about to be run, keeps its file."""
    stock = install.home / "bin" / "qmail-remote"
    stock.write_bytes(b"stock")
    with open(stock, "rb") as old:
        install()
        assert old.read() == b"stock"


def test_group_that_came_later(install):
    """The directories of an installation before there was a group get it from the next."""
    if install.owner != (USER, GROUP):
        pytest.skip("only one user in this namespace")
    run = install.home / "run"
    install((USER, "no-such-group"))
    assert mode(run) == 0o2750 and (run.stat().st_uid, run.stat().st_gid) == (0, 0)
    install()
    group = grp.getgrnam(GROUP).gr_gid
    for path, user in ((run, 0), (run / "qmail-remote", pwd.getpwnam(USER).pw_uid)):
        assert mode(path) == 0o2750 and (path.stat().st_uid, path.stat().st_gid) == (user, group)


@pytest.mark.parametrize("before", [0o755, 0o2750], ids=oct)
def test_leaves_another_run_directory_alone(install, before):
    run = install.home / "run"
    run.mkdir()
    run.chmod(before)
    (run / "other").touch()
    install()
    assert mode(run) == before and run.stat().st_gid == 0 and (run / "other").exists()
    assert mode(run / "qmail-remote") == 0o2750
