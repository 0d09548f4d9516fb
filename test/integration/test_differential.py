"""The differential driver itself: see test/differential/run. Beside ours, ours; and a program that lies."""

import os
import subprocess
import sys

import pytest

from conftest import TOP
from qmailhome import PROGRAMS

DRIVER = os.path.join(TOP, "test", "differential", "run")


def run(build, against, *words):
    return subprocess.run([sys.executable, DRIVER, "--build", str(build), "--against", str(against), "-j", "2", *words],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def test_a_program_beside_itself_has_no_unexplained_difference(request):
    """Where a server ends the connection amid the mail data, how much has left by then is never the same."""
    build = request.config.getoption("build")
    done = run(build, f"{build}/qmail-remote", "--sessions", "30")
    assert done.returncode == 0 and "30 of 30 sessions, 0 defects" in done.stdout, done.stdout


@pytest.mark.parametrize("report, kind", [
    ("r\\0K192.0.2.1 accepted message.\\n\\0", "false K"),
    ("D192.0.2.1 is not at home.\\n\\0", "false bounce"),
    ("", "failure"),
], ids=["says-delivered", "bounces", "says-nothing"])
def test_a_program_that_lies_is_found(request, tmp_path, report, kind):
    build = request.config.getoption("build")
    for name in PROGRAMS:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\nprintf '{report}'\n", encoding="ascii")
        program.chmod(0o755)
    done = run(tmp_path, f"{build}/qmail-remote", "--sessions", "6")
    assert done.returncode == 1 and f"DEFECT {kind}" in done.stdout, done.stdout


def test_what_only_one_program_does_is_no_explained_difference(request, tmp_path):
    """Ours is the one that fails without a cause in the script."""
    build = request.config.getoption("build")
    for name in PROGRAMS:
        program = tmp_path / name
        program.write_text("#!/bin/sh\nprintf 'ZOut of memory. (#4.3.0)\\n\\0'\n", encoding="ascii")
        program.chmod(0o755)
    done = run(tmp_path, f"{build}/qmail-remote", "--sessions", "40", "--seed", "3")
    assert done.returncode == 1 and "DEFECT unexplained difference" in done.stdout, done.stdout
