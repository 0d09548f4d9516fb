"""The outcome matrix: what matrix_rules.py expects of each session, and what becomes of it."""

import time

import pytest

import matrix
import rspawn
from matrix_tables import cells, sample
from tlssite import gone

QUICK_LANES, TIMED_LANES = 12, 40
TIMEOUT = 1
SLICE = 600         # deliveries of one test, at most


@pytest.fixture
def theatre(home, dns, certs, pytestconfig):
    theatre = matrix.Theatre(home, dns, certs, f"{pytestconfig.option.build}/qmail-remote-check")
    yield theatre
    theatre.spawner.stop()


def _slices(sessions):
    groups = {}
    for cell in sessions:
        groups.setdefault((cell.scene.strictness, cell.timed, cell.scene.has_policies), []).append(cell)
    for (strictness, timed, has_policies), group in groups.items():
        parts = -(-len(group) // SLICE)
        for n in range(parts):
            name = (f"strictness-{strictness}{'-policies' if has_policies else ''}{'-timed' if timed else ''}"
                    f"{f'-{n + 1}' if parts > 1 else ''}")
            yield pytest.param(strictness, timed, group[n::parts], id=name)


def _play(theatre, strictness, timed, sessions, record_property):
    start = time.monotonic()
    capture = matrix.Capture() if strictness == 2 else None
    result = matrix.play(theatre, sessions, strictness, TIMEOUT if timed else None,
                         TIMED_LANES if timed else QUICK_LANES)
    if capture:
        capture.stop()
    record_property("matrix", matrix.to_json(result, time.monotonic() - start))
    gone()
    rspawn.sanitizer_logs()
    if capture:
        assert capture.packets > len(sessions)
        assert not capture.found, "in clear text on the wire: " + "\n".join(capture.found[:10])
    assert not result.disagreements, f"{len(result.disagreements)} of {len(sessions)}\n" + \
        "\n".join(result.disagreements)


ALL = cells()


@pytest.mark.parametrize("strictness, timed, sessions", _slices(sample(ALL)))
def test_each_step_with_each_behaviour_ends_as_the_rules_say(theatre, strictness, timed, sessions, record_property):
    _play(theatre, strictness, timed, sessions, record_property)


@pytest.mark.long
@pytest.mark.parametrize("strictness, timed, sessions", _slices(ALL))
def test_all_sessions_end_as_the_rules_say(theatre, strictness, timed, sessions, record_property):
    _play(theatre, strictness, timed, sessions, record_property)
