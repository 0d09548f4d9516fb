# SPDX-License-Identifier: ISC
"""Put what ./bench prints into doc/SCALE.md and doc/PERFORMANCE.md:

    python3 test/bench/figures.py --against PROGRAM --against-home DIR

PROGRAM is stock's qmail-remote; without it there are no rows of that. Takes about twelve minutes, as root, on a machine
that has nothing else to do. Each block of figures is between two comments of its name. It says so if a block has no
place.
"""

import re
import subprocess
import sys

import clients
import scale
import streams

from measure import TOP

PAGES = ("SCALE", "PERFORMANCE")


def bench(*arguments):
    done = subprocess.run([f"{TOP}/bench", *arguments], stdout=subprocess.PIPE, text=True, check=True)
    sys.stdout.write(done.stdout)
    sys.stdout.flush()
    return done.stdout


def between(text, start, end=None):
    found = text.partition(start)[2]
    return (found.partition(end)[0] if end else found).strip("\n")


def blocks():
    """Names and text."""
    text = bench("--only", "stream", *sys.argv[1:])
    yield "streams", between(text, streams.NOTES)
    text = bench("--scale")
    yield "crowds", between(text, scale.CROWD_NOTES, scale.MODEL_NOTES)
    yield "model", between(text, scale.MODEL_NOTES, scale.DESTINATIONS_NOTES)
    yield "destinations", between(text, scale.DESTINATIONS_NOTES).rpartition("\n\n")[0]
    yield "clients", between(bench("--clients"), clients.NOTES)


def put(name, text, page):
    """False if the page has no place for it."""
    path = f"{TOP}/doc/{page}.md"
    with open(path, encoding="utf-8") as f:
        old = f.read()
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->\n)", re.DOTALL)
    shown = "".join(f"    {line}".rstrip() + "\n" for line in text.split("\n"))
    new, n = place.subn(lambda m: f"{m[1]}\n{shown}\n{m[2]}", old)
    with open(path, "w", encoding="utf-8") as f:
        f.write(new)
    return n > 0


def main():
    for name, text in blocks():
        if not text or not any([put(name, text, page) for page in PAGES]):
            sys.exit(f"figures: nothing was printed, or there is no place, for '{name}'")


if __name__ == "__main__":
    main()
