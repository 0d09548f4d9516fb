"""What all tests here keep to."""

import ast
import glob
import importlib
import os
import re

import pytest

from catalogue import CATALOGUE, GROUPS

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


@pytest.mark.parametrize("letter", GROUPS)
def test_each_case_of_the_catalogue_is_in_its_document_and_in_the_tests(letter):
    """That a case which is tried stands in doc/CATALOGUE.md, Case looks at itself."""
    tried = {int(case.id[1:]) for case in cases_of(letter)}
    assert tried == set(range(1, GROUPS[letter][1] + 1))


def cases_of(letter):
    return importlib.import_module(f"test_catalogue_{letter.lower()}").CASES


def test_names_of_cases_that_documents_use_are_in_the_tests():
    names = {case.name for letter in GROUPS for case in cases_of(letter)}
    for path in glob.glob(f"{os.path.dirname(CATALOGUE)}/*.md"):
        with open(path, encoding="utf-8") as f:
            for name in re.findall(r"`([A-Z]\d+-[a-z0-9][^`]*)`", f.read()):
                assert name in names, f"{path}: {name}"


@pytest.mark.parametrize("name", FILES)
def test_no_test_hides_another_of_its_name(name):
    names = [test for test, _ in functions_of(read(name))]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
