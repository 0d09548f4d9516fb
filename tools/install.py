#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Install the programs and the state directory below QMAIL_HOME, or remove them.

usage: install.py BUILD-DIRECTORY
       install.py --uninstall BUILD-DIRECTORY
       install.py --package DIRECTORY BUILD-DIRECTORY
       DIRECTORY/install [--uninstall] [--name NAME]

"meson install" runs the first form.  The third puts into DIRECTORY what a
package of a distribution has: the programs, their build options and this
installer, which the fourth form runs on the machine of the administrator.

The main program goes to bin/NAME, where NAME is the build option program_name.
The installer of a package looks for our program in bin: an upgrade goes to the
names that it finds.  Only the first time NAME is to be given, if it is another
one than the build option.

The exit code is 0, or 3 if nothing was changed because the administrator has to
decide something, or 1 if something failed.  Rules for bin, at every moment and
wherever the installer is killed:

* NAME can be run: qmail-rspawn bounces mail if its program is missing.
  Every change is a rename over the old file.
* The programs must be of the same version; a mixture defers mail.  So
  everything that can fail or take time is done first, then the renames follow
  each other directly, with signals blocked.
* A program that is not ours is kept under its name with ".stock" added.
* If there seems to be an arrangement of the administrator, such as a wrapper
  that signs mail, the installation fails before it changes anything.
"""
import dataclasses
import enum
import glob
import grp
import json
import os
import pwd
import re
import shutil
import signal
import stat
import sys

MAIN = "qmail-remote"
# Installed first, because qmail-remote needs the last two.
HELPERS = ["qmail-remote-check", "qmail-remote-tcpto", "qmail-remote-cache", "qmail-remote-sts",
           "qmail-remote-utf8", "qmail-remote-tls", "qmail-remote-io"]

MARK = re.compile(rb"@\(#\)(qmail-remote(?:-io|-tls|-sts|-cache|-tcpto|-check|-utf8)?) ([0-9][0-9A-Za-z.]*)\0")
# 0.1.0 had no mark.  No other program has these texts.
FIRST_VERSION = "0.1.0"
FIRST_TEXTS = {
    "qmail-remote": (b"/bin/qmail-remote-io\0", b"I (qmail-remote) was invoked improperly.\0"),
    "qmail-remote-io": (b"I (qmail-remote-io) was invoked improperly.\0",),
    "qmail-remote-tls": (b"c:k:n:s:t:v:\0", b"%s/trustanchors.cdb\0"),
}
OPTIONS = "options.json"  # the build options, in a package
PACKAGE_OPTIONS = ("program_name", "qmail_home", "qmail_run", "qmailr_user", "qmail_group")
STOCK_PAGE = "man8/qmail-remote.8"  # qmail has one of this name
PAGES = [STOCK_PAGE, "man8/qmail-remote-cache.8", "man8/qmail-remote-check.8", "man8/qmail-remote-io.8",
         "man8/qmail-remote-sts.8", "man8/qmail-remote-tcpto.8", "man8/qmail-remote-tls.8", "man5/qmail-remote-control.5"]


NOTHING_CHANGED = 3


class Stop(Exception):
    """Nothing was changed; the text says what to do."""


def notify(text):
    """Print on the terminal too: meson does not show the output of a script that succeeds."""
    print(text)
    if sys.stdout.isatty():
        return
    try:
        with open("/dev/tty", "w", encoding="utf-8") as terminal:
            print(f"qmail-remote: {text}", file=terminal)
    except OSError:
        pass


def read_options(build):
    """The build options: of a package, or of a build directory."""
    try:
        with open(f"{build}/{OPTIONS}", encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        pass
    try:
        with open(f"{build}/meson-info/intro-buildoptions.json", encoding="utf-8") as f:
            return {o["name"]: o["value"] for o in json.load(f)}
    except (OSError, ValueError) as e:
        raise Stop(f"{build} is not a build directory that meson has set up: {e}") from None


class Settings:
    """The build options that concern installation."""

    def __init__(self, build, name=None):
        option = read_options(build)
        self.build = build
        self.is_package = os.path.exists(f"{build}/{OPTIONS}")
        self.destdir = os.environ.get("DESTDIR", "")
        self.name = name or option["program_name"]
        self.home = option["qmail_home"]
        self.bin = f"{self.destdir}{self.home}/bin"
        self.run = self.destdir + (option["qmail_run"] or f"{self.home}/run")
        self.state = f"{self.run}/qmail-remote"
        # The pages of a package belong to the distribution's package manager.
        self.man = None if self.is_package else self.destdir + os.path.join(option["prefix"], option["mandir"])
        self.user = option["qmailr_user"]
        self.group = option["qmail_group"]
        self.programs = [(name, f"{self.bin}/{name}") for name in HELPERS] + [(MAIN, f"{self.bin}/{self.name}")]

    def command_for(self, name):
        """What the administrator types to choose another name for the main program."""
        if self.is_package:
            return f"{self.build}/install --name {name}"
        return f"meson configure {self.build} -Dprogram_name={name}"


class Kind(enum.Enum):
    MISSING = enum.auto()
    OURS = enum.auto()
    BINARY = enum.auto()    # compiled, and not ours
    SCRIPT = enum.auto()
    LINK = enum.auto()
    OTHER = enum.auto()     # a directory, a device


@dataclasses.dataclass
class Found:
    """What exists under a name."""
    path: str
    kind: Kind
    name: str = ""      # if it is ours: which of the programs
    version: str = ""   # if it is ours
    data: bytes = b""   # if it is not ours

    @property
    def base(self):
        return os.path.basename(self.path)


def identify(data):
    """Name and version if this is one of our programs."""
    mark = MARK.search(data)
    if mark:
        return mark[1].decode(), mark[2].decode()
    for name, texts in FIRST_TEXTS.items():
        if all(text in data for text in texts):
            return name, FIRST_VERSION
    return None


def look(path):
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return Found(path, Kind.MISSING)
    if stat.S_ISLNK(mode):
        return Found(path, Kind.LINK)
    if not stat.S_ISREG(mode):
        return Found(path, Kind.OTHER)
    with open(path, "rb") as f:
        data = f.read()
    if b"\0" not in data[:512]:
        return Found(path, Kind.SCRIPT, data=data)
    ours = identify(data)
    if ours:
        return Found(path, Kind.OURS, *ours)
    return Found(path, Kind.BINARY, data=data)


def programs_started_by(found):
    """A wrapper contains the name of another qmail-remote in its directory."""
    names = {m.decode().rstrip(".") for m in re.findall(rb"qmail-remote[-.0-9A-Z_a-z]+", found.data)}
    folder = os.path.dirname(found.path)
    return sorted(n for n in names if os.path.lexists(f"{folder}/{n}"))


def names_program(found, name):
    return re.search(rb"(?<![-.\w])" + re.escape(name.encode()) + rb"(?![-.\w])", found.data) is not None


# Obstacles to an installation.  Each function yields sentences.

def main_obstacles(settings, main):
    if main.kind == Kind.LINK:
        yield (f"{main.path} is a symbolic link to {os.readlink(main.path)}. Install under another name "
               f"({settings.command_for('...')}) and change the link yourself, or replace the link by the program.")
    elif main.kind == Kind.OTHER:
        yield f"{main.path} is not a file."
    elif main.kind in (Kind.SCRIPT, Kind.BINARY):
        started = programs_started_by(main)
        if started:
            yield (f"{main.path} is a wrapper around {', '.join(started)}, and without it what it does, such as "
                   f"signing, would end. Install behind it: {settings.command_for(started[0])}")
        elif main.kind == Kind.SCRIPT:
            yield (f"{main.path} is a script, perhaps a wrapper that signs mail. Install behind it: "
                   f"{settings.command_for('NAME')}, with the NAME that it runs, often qmail-remote.orig; or move "
                   "the script away.")


def helper_obstacles(found):
    if found.kind in (Kind.LINK, Kind.SCRIPT, Kind.OTHER):
        yield f"{found.path} is not a program of ours, nor a compiled one. Move it away."


def kept_obstacles(found, kept):
    if kept.kind not in (Kind.MISSING, Kind.BINARY, Kind.OURS):
        yield f"{kept.path} is in the way: {found.path} is to be kept under this name. Move it away."


def is_of_first_version(*programs):
    return any(p.kind == Kind.OURS and p.version == FIRST_VERSION for p in programs)


def is_made_by_first_version(orig, main, helper):
    """0.1.0 kept the stock program as NAME.orig, by a hard link that it made before it installed anything."""
    if orig.kind != Kind.BINARY or programs_started_by(orig):
        return False
    return is_of_first_version(main, helper) or (
        main.kind == Kind.BINARY and os.path.samefile(orig.path, main.path))


def orig_obstacles(settings, orig, main, helper):
    """A file NAME.orig usually means that NAME is a wrapper."""
    if orig.kind == Kind.MISSING or is_made_by_first_version(orig, main, helper):
        return
    if orig.kind == main.kind == Kind.OURS:
        return
    if (orig.kind == Kind.SCRIPT or programs_started_by(orig)) and is_of_first_version(main):
        yield (f"{orig.path} is a wrapper that qmail-remote 0.1.0 has moved there: what it did, such as signing, has "
               "not been done since. README.md, \"Behind a wrapper\", tells how to put it back.")
    elif orig.kind == Kind.OURS:
        yield (f"{orig.path} is ours, installed behind a wrapper, but {main.path} is not a wrapper any more. "
               f"Put the wrapper back, or remove {orig.path} if there is to be none.")
    else:
        yield (f"{orig.path} is there, and this installer did not make it: usually a wrapper runs it. "
               f"If so, install behind the wrapper: {settings.command_for(orig.base)}. "
               "If it is a copy that nothing runs, give it another name.")


def all_of_ours(settings):
    """Our main program, under whatever names."""
    for path in sorted(glob.glob(f"{glob.escape(settings.bin)}/{MAIN}*")):
        found = look(path)
        if found.kind == Kind.OURS and found.name == MAIN:
            yield found


def others_of_ours(settings):
    """Our main program under other names, which uses the same helpers."""
    return (found for found in all_of_ours(settings) if found.base != settings.name)


def helpers_obstacles(settings, version):
    """The helpers work only with a main program of the same version."""
    for found in others_of_ours(settings):
        if found.base == MAIN and found.version != version:
            yield (f"{found.path} is version {found.version}: it would get the helpers of {version}, "
                   "and defer all mail. Upgrade it first, with program_name=qmail-remote.")


def home_obstacles(settings):
    if settings.destdir or os.path.isdir(settings.bin):
        return
    if settings.is_package:
        yield (f"there is no directory {settings.bin}. When qmail is there, run {settings.build}/install; for a qmail "
               "somewhere else, build a package with another qmail_home.")
    else:
        yield (f"there is no directory {settings.bin}. If qmail is somewhere else: "
               f"meson configure {settings.build} -Dqmail_home=...; to install for another machine, set DESTDIR.")


def new_version(settings):
    found = look(f"{settings.build}/{MAIN}")
    if found.kind != Kind.OURS:
        raise Stop(f"{found.path} has not been built")
    return found.version


def check_before_installing(settings):
    helpers = [look(f"{settings.bin}/{name}") for name in HELPERS]
    main = look(f"{settings.bin}/{settings.name}")
    obstacles = [*home_obstacles(settings), *main_obstacles(settings, main),
                 *orig_obstacles(settings, look(f"{main.path}.orig"), main, helpers[-1]),
                 *helpers_obstacles(settings, new_version(settings))]
    for found in helpers:
        obstacles += helper_obstacles(found)
    for found in (*helpers, main):
        obstacles += kept_obstacles(found, look(f"{found.path}.stock"))
    if obstacles:
        raise Stop("nothing was installed, since\n" + "\n".join(f"* {o}" for o in obstacles))


# Files.

def temporary_name(path):
    return f"{os.path.dirname(path)}/.{os.path.basename(path)}.{os.getpid()}"


def remove(path):
    if os.path.lexists(path):
        os.unlink(path)


def write_copy(source, path, ids):
    """A synced copy with its final owner and mode."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(source, "rb") as origin, os.fdopen(fd, "wb") as copy:
        shutil.copyfileobj(origin, copy)
        os.fchown(copy.fileno(), *ids)
        os.fchmod(copy.fileno(), 0o711)
        copy.flush()
        os.fsync(copy.fileno())


def sync_directory(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def keep(path):
    """Give a program that is not ours the additional name PATH.stock; an older file of that name is replaced."""
    kept, link = f"{path}.stock", temporary_name(f"{path}.stock")
    if os.path.exists(kept) and os.path.samefile(path, kept):
        return
    os.link(path, link)
    os.rename(link, kept)
    notify(f"kept {path} as {kept}")


def go_back(paths):
    """Undo the renames; a helper that did not exist before is removed."""
    for path in reversed(paths):
        old = f"{temporary_name(path)}.old"
        if os.path.lexists(old):
            os.rename(old, path)
        elif os.path.basename(path) in HELPERS:
            remove(path)


def replace_all(paths):
    """Put the new files in place, all of them or none."""
    for path in paths:
        if os.path.lexists(path):
            os.link(path, f"{temporary_name(path)}.old")
    signals = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        for path in paths:
            os.rename(temporary_name(path), path)
    except OSError:
        go_back(paths)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def install_programs(settings, ids):
    main = f"{settings.bin}/{settings.name}"
    paths = [path for _, path in settings.programs]
    try:
        for name, path in settings.programs:
            write_copy(f"{settings.build}/{name}", temporary_name(path), ids)
        if is_made_by_first_version(look(f"{main}.orig"), look(main), look(f"{settings.bin}/qmail-remote-io")):
            os.rename(f"{main}.orig", f"{main}.stock")
            notify(f"renamed {main}.orig, which version 0.1.0 made, to {main}.stock")
        for path in paths:
            if look(path).kind == Kind.BINARY:
                keep(path)
        replace_all(paths)
    finally:
        for path in paths:
            remove(temporary_name(path))
            remove(f"{temporary_name(path)}.old")
    sync_directory(settings.bin)


def owner(user, group, what):
    """uid and gid, or -1 if this system or this user cannot set them."""
    try:
        uid, gid = pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError:
        notify(f"{what}: there is no {user}:{group} here; set the owner yourself, or install again later")
        return -1, -1
    if os.geteuid() != 0:
        notify(f"{what}: this is not root; set the owner {user}:{group} yourself")
        return -1, -1
    return uid, gid


def lacks_group(path):
    """Whether an earlier installation created it on a system without the group."""
    if not os.path.isdir(path):
        return False
    found = os.stat(path)
    return ((found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 0, 0o2750)
            and set(os.listdir(path)) <= {"qmail-remote"})


def make_directory(path, ids, is_own):
    """Create a directory. An existing one is changed only if it is ours."""
    if os.path.isdir(path) and not is_own:
        return
    os.makedirs(path, mode=0o750, exist_ok=True)
    os.chown(path, *ids)
    os.chmod(path, 0o2750)


def install(settings):
    check_before_installing(settings)
    ids = owner("root", settings.group, "programs")
    os.makedirs(settings.bin, exist_ok=True)
    make_directory(settings.run, ids, lacks_group(settings.run))
    make_directory(settings.state, owner(settings.user, settings.group, "state directory"), True)
    install_programs(settings, ids)
    print(f"installed {', '.join(path for _, path in settings.programs)}")
    for found in others_of_ours(settings):
        if found.version != new_version(settings):
            notify(f"{found.path} is version {found.version} and does not work with the helpers any more: remove it")
    if not settings.destdir and not list(users_of(settings)):
        notify(f"nothing seems to run {settings.bin}/{settings.name} yet: neither a program in {settings.bin} nor, "
               "by QMAILREMOTE in its environment, a process of qmail")


# Uninstallation.

def processes_that_name(name):
    """Processes of qmail that start this program because of QMAILREMOTE (notqmail 1.08)."""
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as f:
                variables = f.read().split(b"\0")
        except OSError:
            continue
        value = next((v for v in variables if v.startswith(b"QMAILREMOTE=")), b"")
        if re.search(rb"[=/]" + re.escape(name.encode()) + rb"$", value):
            yield f"process {path.split('/')[2]} (QMAILREMOTE)"


def users_of(settings):
    """What may start the main program: without a replacement, its mail would bounce."""
    if settings.name == MAIN:
        yield "qmail"
    for path in (f"{settings.destdir}{settings.home}/rc", *sorted(glob.glob(f"{glob.escape(settings.bin)}/*"))):
        found = look(path)
        if found.kind in (Kind.SCRIPT, Kind.BINARY) and names_program(found, settings.name):
            yield path
    if not settings.destdir:
        yield from processes_that_name(settings.name)


def check_before_removing(settings, main, kept):
    if main.kind != Kind.OURS or kept.kind == Kind.BINARY:
        return
    users = list(users_of(settings))
    if users:
        raise Stop(f"nothing was removed: there is no {kept.path} to go back to, and {', '.join(users)} may run "
                   f"{main.path}. First put another program in its place, as qmail's own \"make setup\" does "
                   "for qmail-remote, or change what runs it.")


def remove_main(settings):
    main = look(f"{settings.bin}/{settings.name}")
    orig, kept = look(f"{main.path}.orig"), look(f"{main.path}.stock")
    if kept.kind == Kind.MISSING and is_made_by_first_version(orig, main, look(f"{settings.bin}/qmail-remote-io")):
        kept = orig
    check_before_removing(settings, main, kept)
    put_back(main, kept)


def put_back(found, kept):
    """Replace ours by the kept program; remove a kept copy that is not needed any more."""
    if found.kind in (Kind.OURS, Kind.MISSING) and kept.kind == Kind.BINARY:
        os.rename(kept.path, found.path)
        print(f"put {kept.path} back as {found.path}")
    elif found.kind == Kind.OURS:
        os.unlink(found.path)
        print(f"removed {found.path}")
    elif found.kind == Kind.BINARY and kept.kind == Kind.BINARY:
        os.unlink(kept.path)
        print(f"removed {kept.path}; {found.path} is not ours and stays")
    elif kept.kind == Kind.BINARY:
        notify(f"{found.path} is not ours: it stays, and so does {kept.path}")


def remove_leftovers(settings):
    """Temporary files of installations that were killed."""
    for path in glob.glob(f"{glob.escape(settings.bin)}/.qmail-remote*.[0-9]*"):
        os.unlink(path)


def remove_state(settings):
    if os.path.isdir(settings.state):
        shutil.rmtree(settings.state)
        print(f"removed {settings.state}")
    if os.path.isdir(settings.run) and not os.listdir(settings.run):
        found = os.stat(settings.run)
        if (found.st_uid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), 0o2750):
            os.rmdir(settings.run)
            print(f"removed {settings.run}")


def remove_pages(settings):
    for page in PAGES if settings.man else ():
        path = f"{settings.man}/{page}"
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as f:
            is_stock = page == STOCK_PAGE and b"qmail-remote-io" not in f.read()
        if not is_stock:
            os.unlink(path)
            print(f"removed {path}")


def uninstall(settings):
    remove_main(settings)
    rest = list(others_of_ours(settings))
    if rest:
        notify(f"the other files are left for {', '.join(f.path for f in rest)}")
        return
    for name in HELPERS:
        path = f"{settings.bin}/{name}"
        put_back(look(path), look(f"{path}.stock"))
    remove_leftovers(settings)
    remove_state(settings)
    remove_pages(settings)


# Packages.

def pack(directory, build):
    """Fill a directory of a package: the programs, their options, this installer."""
    options = read_options(build)
    settings = Settings(build)
    new_version(settings)
    os.makedirs(directory, exist_ok=True)
    for name, _ in settings.programs:
        shutil.copyfile(f"{build}/{name}", f"{directory}/{name}")
        os.chmod(f"{directory}/{name}", 0o755)
    with open(__file__, encoding="utf-8") as f:
        _, rest = f.read().split("\n", 1)
    with open(f"{directory}/install", "w", encoding="utf-8") as f:
        f.write(f"#!/usr/bin/python3\n{rest}")
    os.chmod(f"{directory}/install", 0o755)
    with open(f"{directory}/{OPTIONS}", "w", encoding="utf-8") as f:
        json.dump({key: options[key] for key in PACKAGE_OPTIONS}, f, indent=1)
        f.write("\n")
    os.chmod(f"{directory}/{OPTIONS}", 0o644)


def check_name(name):
    """An upgrade finds our program by the beginning of its name."""
    if not re.fullmatch(r"qmail-remote[-.\w]*", name, re.ASCII) or name in HELPERS or name.endswith(".stock"):
        raise Stop(f"{name} cannot be the name of the program: it begins with {MAIN}, has only letters, digits, "
                   "dots, - and _, does not end in .stock, and is not one of our other programs")


def package_settings(directory, name):
    """For each name that our program has, or is to have."""
    if name is not None:
        check_name(name)
        return [Settings(directory, name)]
    first = Settings(directory)
    return [Settings(directory, found.base) for found in all_of_ours(first)] or [first]


def run_from_package(directory, action, words):
    """False if that is not how the installer of a package is used."""
    if words and (len(words) != 2 or words[0] != "--name"):
        return False
    for settings in package_settings(directory, words[1] if words else None):
        action(settings)
    return True


def run_from_source(action, words):
    """False if that is not how it is used."""
    if len(words) == 3 and words[0] == "--package" and action is install:
        pack(*words[1:])
        return True
    if len(words) != 1 or words[0].startswith("-"):
        return False
    action(Settings(words[0]))
    return True


def run(directory, words):
    """What the words ask for; exits with the usage if they ask for nothing."""
    action = install
    if words[:1] == ["--uninstall"]:
        action = uninstall
        words = words[1:]
    if os.path.exists(f"{directory}/{OPTIONS}"):
        if not run_from_package(directory, action, words):
            sys.exit("usage: install [--uninstall] [--name NAME]")
    elif not run_from_source(action, words):
        sys.exit("usage: install.py [--uninstall] BUILD-DIRECTORY\n"
                 "       install.py --package DIRECTORY BUILD-DIRECTORY")


def main():
    try:
        run(os.path.dirname(os.path.abspath(__file__)), sys.argv[1:])
    except Stop as e:
        print(f"qmail-remote: {e}", file=sys.stderr)
        sys.exit(NOTHING_CHANGED)
    except OSError as e:
        sys.exit(f"qmail-remote: {e.filename or 'error'}: {e.strerror}")


if __name__ == "__main__":
    main()
