"""qmail-remote-check: what it says of control/timeoutidle and control/concurrencyhosts."""

import os

import pytest

from test_check_tool import entries, look   # noqa: F401

IDLE, HOSTS, REMOTE = "control/timeoutidle", "control/concurrencyhosts", "concurrencyremote"
NOT_KEPT = "not a number, so no connection is kept"


def listed(look, name):
    entry = entries(look("--json", host=None))[name]
    return entry["value"], entry["source"], entry["warnings"]


def test_without_the_files_there_is_no_warning(home, dns, look):
    done = look("--json", host=None)
    assert done.returncode == 0
    assert entries(done)[IDLE] == {"name": IDLE, "value": "0 s", "source": "default", "warnings": []}
    assert entries(done)[HOSTS] == {"name": HOSTS, "value": "", "source": "none", "warnings": []}


@pytest.mark.parametrize("text, value, warnings", [
    ("", "0 s", []),
    ("30\n", "30 s, connections: 20 in all, 2 with one key", []),
    ("30 # seconds\n5\n1\n", "30 s, connections: 5 in all, 1 with one key", []),
    ("\ufeff300\n1000\n1000\nx\n", "300 s, connections: 1000 in all, 1000 with one key", []),
    ("301\n1001\n1002\n", "300 s, connections: 1000 in all, 1000 with one key",
     ["line 1: the greatest number is 300", "line 2: the greatest number is 1000", "line 3: the greatest number is 1000"]),
    ("\ufeff301\n", "300 s, connections: 20 in all, 2 with one key", ["line 1: the greatest number is 300"]),
    ("30\n\n1001", "30 s, connections: 20 in all, 1000 with one key", ["line 3: the greatest number is 1000"]),
    ("30s\n", "0 s", [f"line 1: {NOT_KEPT}"]),
    ("30\nmany\n", "0 s", [f"line 2: {NOT_KEPT}"]),
    ("30\n5\n-1\n", "0 s", [f"line 3: {NOT_KEPT}"]),
    ("30\n0\n", "30 s, connections: 0 in all, 2 with one key", ["0 connections: no connection is kept"]),
    ("30\n5\n0\n", "30 s, connections: 5 in all, 0 with one key", ["0 connections: no connection is kept"]),
    ("0\n0\n", "0 s", []),
])
def test_how_long_connections_are_kept(home, look, text, value, warnings):
    home.control("timeoutidle", text)
    assert listed(look, IDLE) == (value, "", warnings)


@pytest.mark.parametrize("text, value, warnings", [
    ("", "limits: 0, wait: 10 s", []),
    ("# none\nmx.example:3 # x\n.b.example:2\n  wait 5\n", "limits: 2, wait: 5 s", []),
    ("mx.example\n\n.b.example:2\n*.c.example:2\nd.example:0\nwait long\n", "limits: 1, wait: 10 s",
     ["line 1 limits nothing: mx.example", "line 4 limits nothing: *.c.example:2", "line 5 limits nothing: d.example:0",
      "line 6 limits nothing: wait long"]),
    (":5\n\x1b[2J:5\n", "limits: 0, wait: 10 s", ["line 1 limits nothing: :5", "line 2 limits nothing: \x1b[2J:5"]),
])
def test_how_many_sessions_there_may_be(home, look, text, value, warnings):
    home.control("concurrencyhosts", text)
    assert listed(look, HOSTS) == (value, "", warnings)
    shown = look(host=None)
    assert shown.returncode == (1 if warnings else 0)
    assert "\x1b" not in shown.stdout


def full(deliveries, allowed):
    return [f"{deliveries} deliveries to these hosts can go on or wait at a time, and control/concurrencyremote allows {allowed} in all: "
            "other mail could wait for them"]


# As many deliveries wait as have a place; qmail-send's default is 20.
@pytest.mark.parametrize("text, remote, warnings", [
    (".a.example:9\n", None, []),
    (".a.example:10\n", None, full(20, 20)),
    (".a.example:5\n.b.example:4\n", None, []),
    (".a.example:5\n.b.example:5\n", None, full(20, 20)),
    # The last line of a key counts.
    (".a.example:50\n.b.example:4\n.A.example.:5\n", None, []),
    (".a.example:4\n.b.example:1\n.a.example:50\n", None, full(102, 20)),
    # Nobody waits.
    ("wait 0\n.a.example:19\n", None, []),
    ("wait 0\n.a.example:20\n", None, full(20, 20)),
    (".a.example:10\n", "21\n", []),
    (".a.example:10\n", "20\n", full(20, 20)),
    (".a.example:10\n", "nonsense\n", full(20, 20)),
    (".a.example:1\n", "0\n", full(2, 0)),
    ("# none\n", "0\n", []),
    (".a.example:100\n", "250 # all\n", []),
])
def test_limits_that_can_hold_all_deliveries_are_warned_of(home, look, text, remote, warnings):
    home.control("concurrencyhosts", text)
    home.control(REMOTE, remote)
    assert listed(look, HOSTS)[2] == warnings


def test_files_that_cannot_be_read(home, look):
    os.mkdir(f"{home.path}/{IDLE}")
    os.mkdir(f"{home.path}/{HOSTS}")
    assert listed(look, IDLE) == ("0 s", "", ["Is a directory: no connection is kept"])
    assert listed(look, HOSTS) == ("", "", ["Is a directory: mail is deferred"])


def test_both_are_shown_to_a_person(home, look):
    home.control("timeoutidle", "30\n")
    home.control("concurrencyhosts", ".a.example:10\nx\n")
    shown = look(host=None).stdout
    assert "30 s, connections: 20 in all, 2 with one key" in shown
    assert "limits: 1, wait: 10 s" in shown and "warning: line 2 limits nothing: x" in shown
