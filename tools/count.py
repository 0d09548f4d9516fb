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


def main():
    total = dict.fromkeys(("passed", "failed", "skipped"), 0)
    files = sorted(pathlib.Path(sys.argv[1]).glob("*.xml"))
    reasons = {}
    print()
    for path in files:
        count = dict.fromkeys(total, 0)
        for case in xml.etree.ElementTree.parse(path).iter("testcase"):
            what = outcome(case)
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
