"""What ./fuzz says of arguments that it cannot use."""

import os
import subprocess

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
