"""What all tests here keep to."""

import ast
import glob
import os
import re

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = sorted(os.path.basename(f) for f in glob.glob(f"{HERE}/test_*.py"))


def read(name):
    with open(f"{HERE}/{name}", encoding="utf-8") as f:
        return f.read()


def functions_of(text):
    """(name, source with its decorators) of each test function."""
    for function in ast.parse(text).body:
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
            first = min([d.lineno for d in function.decorator_list] + [function.lineno])
            yield function.name, "\n".join(text.split("\n")[first - 1:function.end_lineno])


@pytest.mark.parametrize("name", FILES)
def test_an_upper_bound_on_time_has_the_marker(name):
    """The catalogue gives it by itself."""
    for test, source in functions_of(read(name)):
        assert not re.search(r"\.lasted\(|rspawn\.in_time\(", source) or "pytest.mark.timed" in source, test


@pytest.mark.parametrize("name", [f for f in FILES if f != "test_harness.py"])
def test_a_short_bound_on_time_is_not_looked_at_beside_other_tests(name):
    """What is not `timed` may ask whether a time-out of 20 s has run out, and not more."""
    for test, source in functions_of(read(name)):
        bounds = re.findall(r"\b(?:wall|held) <=? ([0-9.]+)", source)
        assert all(float(b) >= 10 for b in bounds), f"{test}: use lasted()"
