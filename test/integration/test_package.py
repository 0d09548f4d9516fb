"""What the installer does in a package, and the scripts that dpkg runs.

tools/package.sh builds the package itself, and has dpkg install, upgrade and remove it.
"""

import json
import os
import pathlib
import re
import subprocess
import tempfile

import pytest

import world
from test_install import FIRST, INSTALLER, PROGRAMS, STOCK, TOP, WRAPPER, Site, version

HINT = "nothing in the bin of qmail was changed. To install the programs later"


class PackageSite(Site):
    """A qmail home, and the directory that the package has below /usr/lib; the programs only have their marks."""

    def __init__(self, path):
        (path / "programs").mkdir()
        for name in PROGRAMS:
            (path / "programs" / name).write_bytes(b"\x7fELF\2\1\1\0@(#)%s %s\0" % (name.encode(), version().encode()))
        super().__init__(path, path / "programs")
        self.lib = path / "lib"
        self.pack()

    def pack(self):
        done = subprocess.run(["python3", INSTALLER, "--package", str(self.lib), str(self.build)], check=False,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert (done.returncode, done.stdout) == (0, "")

    def pack_version(self, number):
        """Another version of the package: the same programs, but for what they say of themselves."""
        for name in PROGRAMS:
            path = self.build / name
            path.write_bytes(re.sub(rb"(@\(#\)[a-z-]+ )[0-9.]+\0", rb"\g<1>" + number.encode() + b"\0",
                                    path.read_bytes()))
        self.pack()

    def command(self, *words, code=0):
        """The installer of the package."""
        done = subprocess.run([str(self.lib / "install"), *words], check=False, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, start_new_session=True)
        assert done.returncode == code, done
        return done.stdout

    def script(self, name, *words, code=0):
        """A script of debian/, as dpkg runs it, or another one."""
        with open(f"{TOP}/{name}" if "/" in name else f"{TOP}/debian/{name}", encoding="utf-8") as f:
            text = f.read().replace("/usr/lib/qmail-remote/install", str(self.lib / "install"))
        done = subprocess.run(["sh", "-s", *words], check=False, input=text, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, start_new_session=True)
        assert done.returncode == code, done
        return done.stdout


@pytest.fixture
def site():
    """In memory, where the installer need not wait for its syncs."""
    with tempfile.TemporaryDirectory(dir="/srv") as path:
        yield PackageSite(pathlib.Path(path))


def test_a_package_has_programs_options_and_installer(site):
    assert sorted(p.name for p in site.lib.iterdir()) == sorted((*PROGRAMS, "install", "options.json"))
    options = json.loads((site.lib / "options.json").read_text())
    assert options["qmail_home"] == str(site.home) and "prefix" not in options
    for name in (*PROGRAMS, "install"):
        assert os.access(site.lib / name, os.X_OK), name
    assert site.names() == []


def test_it_is_installed_upgraded_and_removed(site):
    """Pages are dpkg's own."""
    site.put("qmail-remote", STOCK)
    page = site.man / "man8" / "qmail-remote-io.8"
    page.parent.mkdir(parents=True)
    page.touch()
    assert HINT not in site.script("postinst", "configure", "")
    assert site.is_ours("qmail-remote") and site.has("qmail-remote.stock") == STOCK
    before = site.state()

    site.script("prerm", "upgrade", "9.9.9")
    assert site.state() == before
    site.pack_version("9.9.9")
    site.script("postinst", "configure", version())
    assert all(site.is_ours(name, name) for name in PROGRAMS) and site.state() != before
    site.script("postinst", "configure", version())

    site.script("prerm", "remove")
    assert site.state() == {"qmail-remote": STOCK} and page.exists()
    assert not (site.home / "run").exists()
    site.script("postinst", "abort-remove")
    assert site.is_ours("qmail-remote") and site.has("qmail-remote.stock") == STOCK


@pytest.mark.parametrize("words", [("abort-upgrade", "9.9.9"), ("abort-deconfigure", "in-favour", "x", "1")],
                         ids=" ".join)
def test_other_calls_of_postinst_change_nothing(site, words):
    site.put("qmail-remote", STOCK)
    assert site.script("postinst", *words) == ""
    assert site.state() == {"qmail-remote": STOCK}


@pytest.mark.parametrize("words", [("upgrade", "9.9.9"), ("failed-upgrade", "1"),
                                   ("deconfigure", "in-favour", "x", "1")], ids=" ".join)
def test_other_calls_of_prerm_change_nothing(site, words):
    site.put("qmail-remote", STOCK)
    site.command()
    before = site.state()
    assert site.script("prerm", *words) == "" and site.state() == before


@pytest.mark.parametrize("files, advice", [
    ({"qmail-remote": WRAPPER}, "--name NAME"),
    ({"qmail-remote": WRAPPER, "qmail-remote.orig": STOCK}, "--name qmail-remote.orig"),
    ({"qmail-remote": STOCK, "qmail-remote.orig": WRAPPER}, "--name qmail-remote.orig"),
    ({"qmail-remote": b"\x7fELF\2\1\1\0bin/qmail-remote-unsigned\0", "qmail-remote-unsigned": STOCK},
     "--name qmail-remote-unsigned"),
], ids=["script", "wrapper", "orig", "compiled"])
def test_at_a_wrapper_it_says_what_to_do_and_changes_nothing(site, files, advice):
    for name, data in files.items():
        site.put(name, data)
    said = site.script("postinst", "configure", "")
    assert f"{site.lib}/install {advice}" in said and HINT in said and "meson" not in said
    assert site.state() == files and not (site.home / "run").exists()
    site.script("prerm", "remove")
    assert site.state() == files


def test_without_a_qmail_it_says_what_to_do(site):
    site.bin.rmdir()
    assert f"When qmail is there, run {site.lib}/install" in site.script("postinst", "configure", "")
    site.script("prerm", "remove")
    assert not site.bin.exists()


def test_an_upgrade_goes_behind_the_wrapper_where_it_was_put(site):
    site.put("qmail-remote", WRAPPER)
    site.put("qmail-remote.orig", STOCK)
    site.command("--name", "qmail-remote.orig")
    site.pack_version("9.9.9")
    assert HINT not in site.script("postinst", "configure", version())
    assert site.has("qmail-remote") == WRAPPER and site.is_ours("qmail-remote.orig")
    assert site.has("qmail-remote.orig.stock") == STOCK
    site.script("prerm", "remove")
    assert site.state() == {"qmail-remote": WRAPPER, "qmail-remote.orig": STOCK}


def test_an_upgrade_goes_to_all_names(site):
    site.put("qmail-remote", STOCK)
    site.command()
    site.command("--name", "qmail-remote.new")
    site.pack_version("9.9.9")
    site.script("postinst", "configure", version())
    assert site.is_ours("qmail-remote") and site.is_ours("qmail-remote.new")
    site.script("prerm", "remove")
    assert site.state() == {"qmail-remote": STOCK}


def test_after_make_setup_of_qmail_the_next_installation_puts_ours_back(site):
    site.put("qmail-remote", STOCK)
    site.command()
    (site.bin / "qmail-remote").write_bytes(STOCK + b"newer\0")
    site.script("postinst", "configure", version())
    assert site.is_ours("qmail-remote") and site.has("qmail-remote.stock") == STOCK + b"newer\0"


def test_without_a_program_to_go_back_to_ours_stay(site):
    site.command()
    before = site.state()
    assert "our programs stay in the bin of qmail" in site.script("prerm", "remove")
    assert site.state() == before


@pytest.mark.parametrize("name, words", [("postinst", ("configure", "")), ("prerm", ("remove",))],
                         ids=["postinst", "prerm"])
def test_what_fails_is_told_to_dpkg(site, name, words):
    """dpkg says so, and runs the script again at the next try."""
    site.put("qmail-remote", STOCK)
    if name == "prerm":
        site.command()
    before, path = site.state(), str(site.bin)
    world._mount(path, path, None, world.MS_BIND)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        assert "Read-only file system" in site.script(name, *words, code=1)
    finally:
        subprocess.run(["umount", path], check=True)
    assert site.state() == before
    site.script(name, *words)
    assert site.state() != before


@pytest.mark.parametrize("name", ["", "qmail-remote-io", "a", "../qmail-remote", "qmail-remote.stock",
                                  "qmail-remote a"])
def test_it_refuses_a_name_that_an_upgrade_would_not_find(site, name):
    site.put("qmail-remote", FIRST)
    assert "cannot be the name of the program" in site.command("--name", name, code=3)
    assert site.state() == {"qmail-remote": FIRST}


@pytest.mark.parametrize("words", [("-h",), ("--name",), ("--uninstall", "x"), ("build",)], ids=" ".join)
def test_wrong_arguments_are_told_the_usage(site, words):
    assert site.command(*words, code=1) == "usage: install [--uninstall] [--name NAME]\n"


def test_the_changelog_of_the_package_has_its_version():
    with open(f"{TOP}/debian/changelog", encoding="utf-8") as f:
        assert f.readline().startswith(f"qmail-remote ({version()}) ")


# The package for Alpine.

@pytest.fixture
def alpine(tmp_path, request):
    """Run functions of the APKBUILD, in a source that has been built."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "output").symlink_to(os.path.abspath(request.config.getoption("build")))
    (source / "tools").symlink_to(f"{TOP}/tools")

    def run(commands):
        done = subprocess.run(["sh", "-euc", f'. {TOP}/contrib/alpine/APKBUILD\n{commands}'], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=source,
                              env={"PATH": os.environ["PATH"], "pkgdir": str(tmp_path / "pkg")})
        assert done.returncode == 0, done.stdout
        return done.stdout
    return run


def test_alpine_has_programs_installer_and_pages(alpine, tmp_path):
    alpine("package")
    found = {os.path.relpath(path, tmp_path / "pkg") for folder, _, names in os.walk(tmp_path / "pkg")
             for path in (os.path.join(folder, name) for name in names)}
    assert {f"usr/lib/qmail-remote/{name}" for name in (*PROGRAMS, "install", "options.json")} <= found
    pages = {os.path.basename(path) for path in found if "/man/man" in path}
    assert pages == set(os.listdir(f"{TOP}/man")) and len(found) == len(PROGRAMS) + 2 + len(pages)


def test_alpine_has_the_version_and_its_scripts(alpine):
    number, *scripts = alpine('printf "%s\\n" "$pkgver" $install').split()
    assert number == version() and len(scripts) == 3
    for name in scripts:
        assert os.access(f"{TOP}/contrib/alpine/{name}", os.X_OK)


def test_alpine_scripts_install_upgrade_and_remove(site):
    folder = "contrib/alpine/qmail-remote"
    site.put("qmail-remote", STOCK)
    site.script(f"{folder}.post-install")
    assert site.is_ours("qmail-remote") and site.has("qmail-remote.stock") == STOCK
    site.pack_version("9.9.9")
    site.script(f"{folder}.post-upgrade")
    assert site.is_ours("qmail-remote")
    site.script(f"{folder}.pre-deinstall")
    assert site.state() == {"qmail-remote": STOCK}
    site.put("qmail-remote", WRAPPER)
    for script in ("post-install", "post-upgrade", "pre-deinstall"):
        site.script(f"{folder}.{script}")
        assert site.state() == {"qmail-remote": WRAPPER}
