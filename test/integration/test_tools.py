"""What ./fuzz and ./bench say of arguments that they cannot use."""

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
