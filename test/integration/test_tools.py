"""What ./demo, ./check, ./fuzz and ./bench need and say, and what ./demo says of a message."""

import os
import shlex
import socket
import subprocess
import sys
import time

import pytest

import world

MS_SHARED = 1 << 20

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(*command, **how):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, text=True, **how)


@pytest.mark.parametrize("words", [
    ("reply", "abc"), ("reply", "-5"), ("reply", "0"), ("reply", "1.5"), ("reply", ""), ("--all", "x"),
    ("--afl", "reply", "x"),
], ids=" ".join)
def test_fuzz_refuses_what_is_no_number_of_seconds(words):
    done = run(f"{TOP}/fuzz", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"fuzz: SECONDS is a positive whole number, not '{words[-1]}'\n"


def test_bench_refuses_a_workload_that_it_does_not_know():
    done = run(sys.executable, f"{TOP}/test/bench/bench.py", "--only", "nosuch")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "bench: error: no workload has 'nosuch' in its name; --list names them"


def test_bench_refuses_a_number_of_turns_that_is_none():
    done = run(sys.executable, f"{TOP}/test/bench/bench.py", "--turns", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "bench: error: --turns is a positive whole number"


def test_bench_says_where_the_median_is():
    done = run(sys.executable, "-c", f"import sys; sys.path.insert(0, '{TOP}/test/bench'); import measure\n"
               "for n in (0, 5, 6, 8, 9, 20): print(measure.interval(range(n, 0, -1)))")
    assert (done.returncode, done.stderr) == (0, "")
    # The order statistics of the sign test, as in every table of it.
    assert done.stdout.splitlines() == ["None", "None", "(1, 6)", "(1, 8)", "(2, 8)", "(6, 15)"]


@pytest.fixture(scope="module")
def sink_program(tmp_path_factory):
    program = str(tmp_path_factory.mktemp("bench") / "sink")
    subprocess.run(["cc", "-O2", "-std=c11", "-o", program, f"{TOP}/test/bench/sink.c",
                    "-pthread", "-lssl", "-lcrypto"], check=True)
    return program


@pytest.fixture
def sink(sink_program):
    """A connection to the server of ./bench, and what reads its counters."""
    def counters():
        process.stdin.write("counters\n")
        process.stdin.flush()
        words = process.stdout.readline().split()
        return dict(zip(words[::2], map(int, words[1::2])))

    process = subprocess.Popen([sink_program, "-p", "2525"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        with socket.create_connection(("127.0.0.1", 2525), timeout=30) as connection:
            yield connection, counters
    finally:
        process.kill()
        process.communicate()


MAIL = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"


@pytest.mark.parametrize("message", [b"", b"x\r\n", b"..\r\n" * 100_000, b"x" * 300_000 + b"\r\n"],
                         ids=["empty", "one line", "dots", "a line longer than its buffer"])
@pytest.mark.parametrize("pieces", ["whole", "in two", "byte by byte at the end"])
def test_the_sink_finds_the_end_of_mail_data_before_more_commands(sink, message, pieces):
    connection, counters = sink
    sent = MAIL + message + b".\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\nQUIT\r\n"
    end = len(MAIL) + len(message)
    cuts = {"whole": [], "in two": [end + 2], "byte by byte at the end": range(end - 2, end + 5)}[pieces]
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start, stop in zip([0, *cuts], [*cuts, len(sent)]):
        connection.sendall(sent[start:stop])
        if pieces != "whole":
            time.sleep(0.01)    # most often a packet of its own
    replies = b"".join(iter(lambda: connection.recv(65536), b""))
    assert [line[:3] for line in replies.splitlines()] == [
        b"220", b"250", b"250", b"250", b"250", b"354", b"250", b"250", b"250", b"354", b"250", b"221"]
    n = counters()
    assert (n["messages"], n["recipients"], n["bytes"]) == (2, 2, len(message) + 3 + 3)


@pytest.fixture
def demo(request):
    """What is there behind ./demo, with the programs under test."""
    build = os.path.abspath(request.config.getoption("build"))
    return lambda *words, **how: run(sys.executable, f"{TOP}/tools/demo.py", build, *words, **how)


@pytest.mark.parametrize("words", [("--help",), ("",), ("a", "b")], ids=" ".join)
def test_demo_tells_its_usage(words):
    done = run(f"{TOP}/demo", *words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "demo: usage: ./demo [MESSAGE-FILE]\n")


@pytest.mark.parametrize("path, why", [("/missing", "No such file or directory"), ("/", "Is a directory")])
def test_demo_tells_which_file_it_cannot_read(demo, path, why):
    done = demo(path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"demo: cannot read {path}: {why}\n")


@pytest.mark.parametrize("message, how", [
    ("Subject: x\n\n.hi\n", "byte for byte, 16 bytes"),
    ("hi", "with the final line end that SMTP needs, 3 bytes"),
    ("a\r\nb\r\n", "with each CR LF taken for one line end, 4 bytes"),
    ("a\rb\r\r\n", "with each CR LF taken for one line end and a space for each CR without LF, 5 bytes"),
    ("a\r", "with a space for each CR without LF and the final line end that SMTP needs, 3 bytes"),
], ids=["whole", "no-line-end", "crlf", "cr", "final-cr"])
def test_demo_says_what_arrived(demo, message, how):
    """From a pipe, too."""
    done = demo("/dev/stdin", input=message)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"The message arrived {how}."


@pytest.fixture
def chroot(request):
    """Run a shell command in a plain chroot: its root is a directory, and no mount point."""
    outside = "/srv/plain"
    os.mkdir(outside)
    world._mount("none", outside, "tmpfs", 0, "mode=755")
    world._mount("none", outside, None, MS_SHARED)
    root = f"{outside}/root"
    build = os.path.abspath(request.config.getoption("build"))
    for path in ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/dev", "/proc", TOP, build):
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.isdir(path) and not os.path.isdir(root + path):
            os.makedirs(root + path)
            world._mount(path, root + path, None, world.MS_BIND | world.MS_REC)
    for name in ("srv", "tmp"):
        os.makedirs(f"{root}/{name}", exist_ok=True)    # the source may be below it
    yield lambda command: run("chroot", root, "sh", "-c", f"cd {shlex.quote(TOP)} && {command}")
    subprocess.run(["umount", "-l", outside], check=True)
    os.rmdir(outside)


def test_namespaces_can_be_made_in_a_plain_chroot(chroot):
    assert chroot("mountpoint -q /").returncode != 0
    done = chroot("program=x; . tools/prepare.sh; need_namespaces")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_demo_runs_in_a_plain_chroot(chroot, request):
    """What it mounts there is not seen outside."""
    build = os.path.abspath(request.config.getoption("build"))
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        before = f.read()
    done = chroot(f"/usr/bin/python3 tools/demo.py {shlex.quote(build)}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("The message arrived byte for byte")
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        assert f.read() == before


@pytest.mark.parametrize("tool", ["demo", "check", "bench"])
def test_namespaces_are_looked_for_before_packages_are_installed(tool, tmp_path):
    """Before packages are installed, and with the words of unshare(1)."""
    for name, text in (("unshare", "echo 'unshare: unshare failed: Out of luck' >&2; exit 1"),
                       ("dpkg-query", "exit 1"), ("apt-get", f"touch {tmp_path}/installed")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = run(f"{TOP}/{tool}", env={"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{tool}: I need private network and mount namespaces")
    assert done.stderr.endswith("unshare: unshare failed: Out of luck\n")
    assert not (tmp_path / "installed").exists()
    assert "run me as root" not in done.stderr    # which it is


def programs_test(build, *before):
    """What "meson test" runs for the tests of the programs."""
    return run(*before, f"{TOP}/test/integration/run", str(build))


def test_meson_leaves_a_build_directory_of_check_to_check(tmp_path):
    (tmp_path / "build.options").write_text("\n")
    done = programs_test(tmp_path / "build")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1..0 # SKIP in a build directory of ./check they run by ./check, in sets\n"


@pytest.mark.parametrize("home, before, why", [
    (b"/var/qmail", (), "the programs are not built for the qmail of the tests: meson setup -Dqmail_home=/srv/qmail"),
    (b"/srv/qmail", ("setpriv", "--bounding-set=-sys_admin"), "no private namespaces: "),
    (b"/srv/qmail", ("env", "-C", "/", "PYTHONPATH=/nonexistent", "sh", "-c", 'exec /usr/bin/python3 -S "$@"', "sh"),
     "modules of Python are missing: pytest, pytest-xdist, dnspython, cryptography, aiosmtpd"),
], ids=["other-home", "no-namespaces", "no-modules"])
def test_meson_skips_the_tests_of_the_programs_where_they_cannot_run(tmp_path, home, before, why):
    (tmp_path / "qmail-remote").write_bytes(b"\x7fELF\0" + home + b"\0")
    done = programs_test(tmp_path, *before)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"1..0 # SKIP {why}") and done.stdout.count("\n") == 1


@pytest.mark.parametrize("words", [("-l",), ("--against", "/bin/true"), ("--long", "--qmail"), ("--long", "x")],
                         ids=" ".join)
def test_check_tells_its_usage(words):
    done = run(f"{TOP}/check", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "check: usage: ./check [--long [--against PROGRAM] [--qmail DIRECTORY]]\n"


def test_check_refuses_what_is_no_source_of_a_qmail(tmp_path):
    done = run(f"{TOP}/check", "--long", "--qmail", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"check: {tmp_path}/. is not the source of a qmail\n")
