#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Add up the tests in the JUnit files of a folder; the last line has the totals.

usage: count.py FOLDER

NAME.again has the results of tests of NAME.xml that failed and were run once more. A test that passed the second time
counts as passed; it is named in the last lines and marked with a property in NAME.xml.
"""
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

SECOND_TRY = "passed at the second try"


def outcome(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def name(case):
    return f"{case.get('classname', '')} {case.get('name')}".strip()


def reason(case):
    """Why a test was skipped; of a whole unit test program, meson has it in the output only."""
    message = case.find("skipped").get("message")
    found = re.search(r"# SKIP (.+)", case.findtext("system-out", ""))
    return message or (found[1] if found else "?")


def note_second_try(case):
    """Turn the failure of the first try into output of a test that passed."""
    properties = case.find("properties")
    if properties is None:
        properties = ElementTree.SubElement(case, "properties")
    ElementTree.SubElement(properties, "property", name=SECOND_TRY, value="true")
    for kind in ("failure", "error"):
        for found in case.findall(kind):
            ElementTree.SubElement(case, "system-out").text = f"first try: {found.get('message')}\n{found.text}"
            case.remove(found)


def merge_second_try(path):
    """The tests of a file with their last results, and the names of those that passed at the second try."""
    tree = ElementTree.parse(path)
    again = path.with_suffix(".again")
    if not again.exists():
        return tree, []
    passed = {name(c) for c in ElementTree.parse(again).iter("testcase") if outcome(c) == "passed"}
    retried = [c for c in tree.iter("testcase") if outcome(c) == "failed" and name(c) in passed]
    for case in retried:
        note_second_try(case)
    tree.write(path, encoding="utf-8", xml_declaration=True)
    again.unlink()
    return tree, [name(c) for c in retried]


def main():
    total = dict.fromkeys(("passed", "failed", "skipped"), 0)
    reasons, retried = {}, []
    print()
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.xml")):
        count = dict.fromkeys(total, 0)
        tree, names = merge_second_try(path)
        retried += [f"{path.stem}: {n}" for n in names]
        for case in tree.iter("testcase"):
            what = outcome(case)
            count[what] += 1
            if what == "failed":
                print(f"FAILED {path.stem}: {name(case)}")
            if what == "skipped":
                reasons[reason(case)] = reasons.get(reason(case), 0) + 1
        print(f"{path.stem}: " + ", ".join(f"{n} {what}" for what, n in count.items()))
        for what in total:
            total[what] += count[what]
    for why, n in sorted(reasons.items()):
        print(f"skipped {n}: {why}")
    for line in retried:
        print(f"{SECOND_TRY}: {line}")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
