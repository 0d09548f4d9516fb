#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Add up the tests in the JUnit files of a folder; the last line counts them.

usage: count.py FOLDER
"""
import pathlib
import sys
import xml.etree.ElementTree


def outcome(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def second_try(path):
    """The tests that passed when they were run once more."""
    again = path.with_suffix(".again")
    if not again.exists():
        return set()
    return {(c.get("classname"), c.get("name"))
            for c in xml.etree.ElementTree.parse(again).iter("testcase") if outcome(c) == "passed"}


def main():
    total = dict.fromkeys(("passed", "failed", "skipped"), 0)
    files = sorted(pathlib.Path(sys.argv[1]).glob("*.xml"))
    reasons = {}
    print()
    for path in files:
        count = dict.fromkeys(total, 0)
        mended = second_try(path)
        for case in xml.etree.ElementTree.parse(path).iter("testcase"):
            what = outcome(case)
            if what == "failed" and (case.get("classname"), case.get("name")) in mended:
                print(f"passed at the second try: {case.get('classname')} {case.get('name')}")
                what = "passed"
            count[what] += 1
            if what == "failed":
                print(f"FAILED {path.stem}: {case.get('classname', '')} {case.get('name')}")
            if what == "skipped":
                reason = case.find("skipped").get("message") or "?"
                reasons[reason] = reasons.get(reason, 0) + 1
        print(f"{path.stem}: " + ", ".join(f"{n} {what}" for what, n in count.items()))
        for what in total:
            total[what] += count[what]
    for reason, n in sorted(reasons.items()):
        print(f"skipped {n}: {reason}")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
