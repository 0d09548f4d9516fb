#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Put the programs and the state directory in place below QMAIL_HOME.

Called by "meson install".  A program is written under a temporary name,
synced and renamed: there is never a moment without a qmail-remote that can
be run, for qmail-rspawn would bounce the mail of that moment.  The helpers go
first, since qmail-remote needs them.  An existing qmail-remote that is not
ours is kept as qmail-remote.orig.
"""
import filecmp
import grp
import itertools
import os
import pwd
import shutil
import stat
import sys

PROGRAMS = ["qmail-remote-tls", "qmail-remote-io", "qmail-remote"]


def owner(user, group, what):
    """uid and gid, or -1 for what this system or this user cannot set."""
    try:
        uid, gid = pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError:
        print(f"{what}: no {user}:{group} here, set the owner yourself")
        return -1, -1
    if os.geteuid() != 0:
        print(f"{what}: not root, set the owner {user}:{group} yourself")
        return -1, -1
    return uid, gid


def install_program(source, target, ids):
    temporary = f"{os.path.dirname(target)}/.{os.path.basename(target)}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(source, "rb") as origin, os.fdopen(fd, "wb") as copy:
            shutil.copyfileobj(origin, copy)
            os.fchown(copy.fileno(), *ids)
            os.fchmod(copy.fileno(), 0o711)
            copy.flush()
            os.fsync(copy.fileno())
        os.rename(temporary, target)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
    print(f"installed {target}")


def is_ours(path):
    """Ours names its second half; no other qmail-remote does."""
    with open(path, "rb") as f:
        return b"/bin/qmail-remote-io" in f.read()


def keep_original(bindir):
    """The stock that is in place now is what one can go back to; an older one is not thrown away for it."""
    stock, kept = f"{bindir}/qmail-remote", f"{bindir}/qmail-remote.orig"
    if not os.path.exists(stock) or is_ours(stock):
        return
    if os.path.exists(kept):
        if filecmp.cmp(stock, kept, shallow=False):
            return
        older = next(name for name in (f"{kept}.{n}" for n in itertools.count(1)) if not os.path.lexists(name))
        os.rename(kept, older)
        print(f"kept {kept} as {older}")
    os.link(stock, kept)
    print(f"kept {stock} as {kept}")


def lacks_group(path):
    """Made by an earlier installation, on a system that had no such group yet."""
    if not os.path.isdir(path):
        return False
    found = os.stat(path)
    return ((found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 0, 0o2750)
            and set(os.listdir(path)) <= {"qmail-remote"})


def make_directory(path, ids, is_own):
    """Another program's directory is left as it is; ours is put right."""
    if os.path.isdir(path) and not is_own:
        return
    os.makedirs(path, mode=0o750, exist_ok=True)
    os.chown(path, *ids)
    os.chmod(path, 0o2750)


def main():
    build, home, run, user, group = sys.argv[1:]
    destdir = os.environ.get("DESTDIR", "")
    bindir = destdir + home + "/bin"
    run = destdir + run
    programs = owner("root", group, "programs")

    os.makedirs(bindir, exist_ok=True)
    keep_original(bindir)
    for name in PROGRAMS:
        install_program(f"{build}/{name}", f"{bindir}/{name}", programs)
    make_directory(run, programs, lacks_group(run))
    make_directory(run + "/qmail-remote", owner(user, group, "state directory"), True)


if __name__ == "__main__":
    main()
