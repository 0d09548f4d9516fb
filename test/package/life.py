# SPDX-License-Identifier: ISC
"""What becomes of a machine when dpkg installs, upgrades and removes the package.

It changes the system, and is run by life.sh in a private copy of it.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

HOME = "/var/qmail"
BIN = f"{HOME}/bin"
LIB = "/usr/lib/qmail-remote"
STOCK = b"\x7fELF\2\1\1\0 I (qmail-remote) was invoked improperly. (#5.3.5)\n\0"
WRAPPER = b'#!/bin/sh\nsign | exec bin/qmail-remote.orig "$@"\n'
OLDER = "0.0.1"
OLDER_MARK = f"@(#)qmail-remote {OLDER}\0".encode()


def run(*command, code=0, **how):
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how)
    assert done.returncode == code, f"{command}: {done.returncode}: {done.stdout}"
    return done.stdout


def status():
    """What dpkg thinks of the package: "installed", "half-configured", ...; "" if it does not know it."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", "qmail-remote"], check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout if done.stdout != "not-installed" else ""


def home(**files):
    """A fresh qmail home; the files in bin are named with _ for -, and DOT for a dot."""
    shutil.rmtree(HOME, ignore_errors=True)
    os.makedirs(BIN)
    for name, data in files.items():
        put(name.replace("_", "-").replace("DOT", "."), data)


def put(name, data):
    with open(f"{BIN}/{name}", "wb") as f:
        f.write(data)
    os.chmod(f"{BIN}/{name}", 0o755)


def has(name):
    with open(f"{BIN}/{name}", "rb") as f:
        return f.read()


def is_ours(name):
    with open(f"{LIB}/qmail-remote", "rb") as f:
        return has(name) == f.read()


def make_older(package, folder):
    """The same package, as if it were of a version before."""
    tree = f"{folder}/older"
    run("dpkg-deb", "-R", package, tree)
    for name in os.listdir(f"{tree}{LIB}"):
        path = f"{tree}{LIB}/{name}"
        with open(path, "rb") as f:
            data = f.read()
        with open(path, "wb") as f:
            f.write(re.sub(rb"(@\(#\)[a-z-]+ )[0-9.]+\0", rb"\g<1>" + OLDER.encode() + b"\0", data))
    with open(f"{tree}/DEBIAN/control", encoding="utf-8") as f:
        control = re.sub(r"(?m)^Version: .*$", f"Version: {OLDER}", f.read())
    with open(f"{tree}/DEBIAN/control", "w", encoding="utf-8") as f:
        f.write(control)
    with open(f"{tree}/DEBIAN/md5sums", "w", encoding="utf-8") as f:
        f.write("")
    run("dpkg-deb", "-b", tree, f"{folder}/older.deb")
    return f"{folder}/older.deb"


def without_a_qmail(new, _):
    shutil.rmtree(HOME, ignore_errors=True)
    assert f"When qmail is there, run {LIB}/install" in run("dpkg", "-i", new)
    assert status() == "installed" and not os.path.exists(HOME)
    run("dpkg", "-P", "qmail-remote")


def in_the_place_of_stock(new, older):
    home(qmail_remote=STOCK)
    run("dpkg", "-i", older)
    assert has("qmail-remote.stock") == STOCK and is_ours("qmail-remote") and OLDER_MARK in has("qmail-remote")
    for _ in range(2):
        run("dpkg", "-i", new)
        assert has("qmail-remote.stock") == STOCK and is_ours("qmail-remote")
        assert OLDER_MARK not in has("qmail-remote")
    run("dpkg", "-i", older)
    assert is_ours("qmail-remote") and OLDER_MARK in has("qmail-remote")
    run("dpkg", "-r", "qmail-remote")
    assert os.listdir(BIN) == ["qmail-remote"] and has("qmail-remote") == STOCK
    run("dpkg", "-i", new)
    run("dpkg", "-P", "qmail-remote")
    assert os.listdir(HOME) == ["bin"] and has("qmail-remote") == STOCK and not os.path.exists(LIB)


def behind_a_wrapper(new, older):
    home(qmail_remote=WRAPPER, qmail_remoteDOTorig=STOCK)
    assert f"{LIB}/install --name qmail-remote.orig" in run("dpkg", "-i", older)
    assert status() == "installed" and has("qmail-remote") == WRAPPER and has("qmail-remote.orig") == STOCK
    run(f"{LIB}/install", "--name", "qmail-remote.orig")
    assert is_ours("qmail-remote.orig")
    run("dpkg", "-i", new)
    assert has("qmail-remote") == WRAPPER and is_ours("qmail-remote.orig")
    run("dpkg", "-P", "qmail-remote")
    assert has("qmail-remote") == WRAPPER and has("qmail-remote.orig") == STOCK


def without_a_way_back(new, _):
    """Removal leaves a program: without one mail would bounce."""
    home()
    run("dpkg", "-i", new)
    ours = has("qmail-remote")
    assert "our programs stay" in run("dpkg", "-P", "qmail-remote")
    assert status() == "" and has("qmail-remote") == ours


def failures(new, _):
    """What fails for the moment is done at the next try."""
    home(qmail_remote=STOCK)
    run("mount", "--bind", BIN, BIN)
    run("mount", "-o", "remount,bind,ro", BIN)
    assert "Read-only file system" in run("dpkg", "-i", new, code=1)
    assert status() == "half-configured" and has("qmail-remote") == STOCK
    run("umount", BIN)
    run("dpkg", "--configure", "-a")
    assert status() == "installed" and is_ours("qmail-remote")

    run("mount", "--bind", BIN, BIN)
    run("mount", "-o", "remount,bind,ro", BIN)
    run("dpkg", "-r", "qmail-remote", code=1)
    assert status() == "half-configured" and is_ours("qmail-remote")
    run("umount", BIN)
    run("dpkg", "-P", "qmail-remote")
    assert has("qmail-remote") == STOCK


def a_mail(new, _):
    shutil.rmtree(HOME, ignore_errors=True)
    run("dpkg", "-i", new)
    print(run("/run/package/deliver"))
    run("dpkg", "-P", "qmail-remote")


def main():
    folder = sys.argv[1]
    new, = glob.glob(f"{folder}/qmail-remote_*.deb")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    older = make_older(new, folder)
    for part in (without_a_qmail, in_the_place_of_stock, behind_a_wrapper, without_a_way_back, failures, a_mail):
        part(new, older)
        assert status() == "", part
        print(f"passed: {part.__name__.replace('_', ' ')}")


if __name__ == "__main__":
    main()
