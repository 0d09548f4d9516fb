"""Killed, failed and without memory at every point: see test/sweep/sweep.py. A sample; test/sweep/run does all of it."""

import os
import sys

import pytest

import qmailhome
import rspawn
from conftest import PROGRAMS, TOP

sys.path.insert(0, os.path.join(TOP, "test", "sweep"))

import sweep    # noqa: E402


@pytest.fixture(scope="module")
def programs_for():
    """Where the programs for a part are."""
    if sweep.unusable():
        pytest.skip(sweep.unusable())
    if "sanitizer" in qmailhome.kind_of(f"{PROGRAMS}/qmail-remote"):
        pytest.skip("sanitizers have system calls and allocations of their own, and no use for a tracer")

    def where(part):
        return sweep.build_alloc() if part.startswith("alloc ") else PROGRAMS
    return where


def holds(part, select, programs_for, dns, smtp, certs):
    result = sweep.run_part(part, select, programs_for(part), dns, smtp, certs)
    rspawn.reap()       # helpers of deliveries that were killed
    assert result.points > 0
    assert result.letters["D"] == 0
    assert not result.defects, "\n".join(result.defects)


@pytest.mark.parametrize("part", sweep.QUICK_PARTS)
def test_a_sample_of_kills_faults_and_allocations_does_no_harm(part, programs_for, dns, smtp, certs):
    holds(part, sweep.SAMPLE, programs_for, dns, smtp, certs)


@pytest.mark.parametrize("part", ["fault routes", "fault anchors helper"])
def test_short_reads_lose_no_route_and_no_anchor(part, programs_for, dns, smtp, certs):
    """All of them, where files are compiled: what was not read would be missing from then on."""
    holds(part, sweep.SHORT, programs_for, dns, smtp, certs)


@pytest.mark.parametrize("part", ["kill sts sts", "kill refresh sts"])
def test_kills_while_a_policy_is_written_leave_a_whole_entry(part, programs_for, dns, smtp, certs):
    """All of them: few points, and an entry of which half is there would be a policy that nobody published."""
    holds(part, sweep.WRITES, programs_for, dns, smtp, certs)
