"""What tools/count.py makes of the results of ./check."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

from conftest import TOP

FIRST = """<testsuites><testsuite>
<testcase classname="a" name="good"/>
<testcase classname="a" name="bad"><failure message="it broke">here</failure></testcase>
<testcase classname="a" name="shaky"><failure message="it broke">there</failure></testcase>
<testcase classname="a" name="left out"><skipped message="no such thing"/></testcase>
</testsuite></testsuites>
"""
AGAIN = """<testsuites><testsuite>
<testcase classname="a" name="bad"><failure message="it broke">here</failure></testcase>
<testcase classname="a" name="shaky"/>
</testsuite></testsuites>
"""


def count(folder):
    done = subprocess.run([sys.executable, f"{TOP}/tools/count.py", str(folder)], stdout=subprocess.PIPE, text=True,
                          check=False)
    return done.returncode, done.stdout.splitlines()


def test_a_test_that_passed_at_the_second_try_is_named_at_the_end(tmp_path):
    (tmp_path / "one.xml").write_text(FIRST)
    (tmp_path / "one.again").write_text(AGAIN)
    (tmp_path / "two.xml").write_text(FIRST.replace("bad", "b").replace("shaky", "c"))
    status, lines = count(tmp_path)
    assert status == 1 and lines[-2:] == ["passed at the second try: one: a shaky", "3 passed, 3 failed, 2 skipped"]
    assert "FAILED one: a bad" in lines and "FAILED one: a shaky" not in lines


def test_a_test_that_passed_at_the_second_try_is_noted_in_the_junit_file(tmp_path):
    (tmp_path / "one.xml").write_text(FIRST)
    (tmp_path / "one.again").write_text(AGAIN)
    count(tmp_path)
    cases = {c.get("name"): c for c in ElementTree.parse(tmp_path / "one.xml").iter("testcase")}
    shaky = cases["shaky"]
    assert shaky.find("failure") is None and "there" in shaky.find("system-out").text
    assert shaky.find("properties/property").attrib == {"name": "passed at the second try", "value": "true"}
    assert cases["bad"].find("failure") is not None and cases["good"].find("properties") is None


def test_nothing_passed_is_a_failure(tmp_path):
    assert count(tmp_path) == (1, ["", "0 passed, 0 failed, 0 skipped"])
    (tmp_path / "one.xml").write_text("<testsuites><testcase name='good'/></testsuites>")
    assert os.path.isdir(tmp_path) and count(tmp_path)[0] == 0


def test_why_something_was_skipped_is_told(tmp_path):
    (tmp_path / "one.xml").write_text(FIRST)
    (tmp_path / "unit.xml").write_text("""<testsuites><testsuite>
<testcase name="whole program"><skipped/><system-out>1..0 # SKIP not in this build</system-out></testcase>
<testcase name="no reason"><skipped/></testcase>
</testsuite></testsuites>
""")
    lines = count(tmp_path)[1]
    assert {"skipped 1: no such thing", "skipped 1: not in this build", "skipped 1: ?"} < set(lines)


def test_a_set_that_broke_off_without_results_has_failed(tmp_path):
    with open(f"{TOP}/check", encoding="utf-8") as f:
        functions = re.findall(r"^(?:command_test|need_results)\(\) \{\n.*?^\}\n", f.read(), re.DOTALL | re.MULTILINE)
    (tmp_path / "whole.xml").write_text(FIRST.replace("failure", "system-out"))
    for name in ("whole", "broken"):
        subprocess.run(["sh", "-euc", f"results={tmp_path}\n{''.join(functions)}\nneed_results {name}"], check=True)
    status, lines = count(tmp_path)
    assert status == 1 and "FAILED broken: it ends with results" in lines
    assert "whole: 3 passed, 0 failed, 1 skipped" in lines
