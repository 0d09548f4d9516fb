"""What ./demo, ./fuzz and ./bench say of arguments that they cannot use, and what ./demo says of a message."""

import os
import subprocess
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(*command, **how):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, text=True, **how)


@pytest.mark.parametrize("words", [
    ("reply", "abc"), ("reply", "-5"), ("reply", "0"), ("reply", "1.5"), ("reply", ""), ("--all", "x"),
    ("--afl", "reply", "x"),
], ids=" ".join)
def test_fuzz_wants_seconds(words):
    done = run(f"{TOP}/fuzz", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"fuzz: SECONDS is a positive whole number, not '{words[-1]}'\n"


def test_bench_knows_its_workloads():
    done = run(sys.executable, f"{TOP}/test/bench/bench.py", "--only", "nosuch")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "bench: error: no workload has 'nosuch' in its name; --list names them"


@pytest.fixture
def demo(request):
    """What is there behind ./demo, with the programs under test."""
    build = os.path.abspath(request.config.getoption("build"))
    return lambda *words, **how: run(sys.executable, f"{TOP}/tools/demo.py", build, *words, **how)


@pytest.mark.parametrize("words", [("--help",), ("",), ("a", "b")], ids=" ".join)
def test_demo_usage(words):
    done = run(f"{TOP}/demo", *words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "demo: usage: ./demo [MESSAGE-FILE]\n")


@pytest.mark.parametrize("path, why", [("/missing", "No such file or directory"), ("/", "Is a directory")])
def test_demo_cannot_read(demo, path, why):
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
