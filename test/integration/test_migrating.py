"""What doc/MIGRATING.md says of this program: its commands, its lines for control files, the files that are read."""

import glob
import os
import re
import subprocess

import pytest

import pki
from expect import accepted, check
from qmailhome import HOME
from test_check_tool import fields, look     # noqa: F401

TOP = os.path.join(os.path.dirname(__file__), "..", "..")

with open(f"{TOP}/doc/MIGRATING.md", encoding="utf-8") as page:
    PAGE = page.read()


def rows():
    """(section, cells) of each table."""
    section = None
    for line in PAGE.splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| ") and "---" not in line:
            yield section, [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def names_in(cell):
    return re.findall(r"`([^`]+)`", cell)


def run_commands(section):
    """Those of a section, as they stand there, in the home of the tests."""
    text = re.search(rf"(?ms)^## {section}\n(.*?)^## ", PAGE)[1]
    commands = "\n".join(re.findall(r"(?m)^ +# (.*)", text)).replace("/var/qmail", HOME)
    assert commands
    subprocess.run(["sh", "-ec", commands], check=True)


@pytest.fixture
def warnings(home, request):
    """What qmail-remote-check warns of in a control file."""
    program = f"{request.config.getoption('build')}/qmail-remote-check"

    def ask(file):
        done = subprocess.run([program], check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        found = re.search(rf"(?m)^control/{file} .*\n((?: .*\n)*)", done.stdout)
        return found[1]
    return ask


# Which files are read.

def is_read(name):
    """Whether the programs open it."""
    wanted = re.escape(name.split("/")[0])
    for path in glob.glob("src/**/*.[ch]", root_dir=TOP, recursive=True) + glob.glob("prog/*.[ch]", root_dir=TOP):
        if path.startswith("src/check/"):   # which knows the names of other programs' files, to warn of them
            continue
        with open(f"{TOP}/{path}", encoding="utf-8") as f:
            if re.search(rf'"/?control/{wanted}[/"]', f.read()):
                return True
    return False


@pytest.mark.parametrize("section, file, here", [
    pytest.param(section, file, here, id=f"{section}: {file}")
    for section, (left, here) in rows() if here.startswith(("the same", "not read", "as in stock"))
    for file in names_in(left) if re.fullmatch(r"[\w./-]+", file)])
def test_files_are_read_or_not(section, file, here):
    assert is_read(file) is not here.startswith("not read"), section


def test_files_of_the_features_are_read():
    """Those that switch a feature off when they are removed."""
    features = [cells for section, cells in rows() if section == "Going back"]
    assert len(features) > 8
    for _, how in features[1:]:
        assert any(is_read(name) for name in names_in(how)) or "run/qmail-remote/addresses" in how, how


# Lines for control files.

def test_lines_for_tlspolicy_are_understood(home, warnings):
    lines = [name.replace("/path/ca.pem", "/etc/ssl/certs/ca-certificates.crt")
             for section, (_, here) in rows() for name in names_in(here)
             if re.fullmatch(r"[\w.]*:(none|encrypt|verify|dane|dane-only)(:.*)?", name)]
    lines += re.findall(r"(?m)^ +([\w.]+:encrypt)$", PAGE)
    assert len(lines) >= 8
    home.control("tlspolicy", "".join(f"{line}\n" for line in lines))
    home.control("trustanchors", "/etc/ssl/certs/ca-certificates.crt\n")
    said = warnings("tlspolicy")
    assert not [line for line in said.splitlines() if "resolver" not in line], said
    home.control("tlspolicy", "example.com:secure\n")
    assert "warning" in warnings("tlspolicy")


FORMS = [(file, form.replace("\\|", "|"))
         for _, (left, here) in rows() for file in names_in(left)[:1] if file in ("smtproutes", "authsenders")
         for form in names_in(here) if form.endswith("|password") and (":" in form.split("|")[0])]


@pytest.mark.parametrize("file, form", sorted(set(FORMS)))
def test_forms_of_credentials_are_understood(home, look, file, form):
    """As the tables have them, with names in place of words."""
    line = form
    for word, name in (("domain", "dst.example"), ("sender", "you@example.com"), ("relay", "192.0.2.1"), ("port", "587")):
        line = line.replace(word, name)
    home.control("smtproutes", ":192.0.2.1:587\n")
    home.control(file, f"{line}\n")
    home.control("trustanchors", "/etc/ssl/certs/ca-certificates.crt\n")
    shown = fields(look("dst.example", "you@example.com", "friend@dst.example", host=None))
    assert shown["route"][0].startswith("192.0.2.1, port 587, by "), shown
    assert shown["AUTH"][0] == f'as "user", with a password, by control/{file}', shown


def test_ipv4_only(home, smtp, dns):
    line = re.search(r"`control/ipfamily`:\n\n +(\S+)\n", PAGE)[1]
    home.control("ipfamily", f"{line}\n")
    dns.zone("dst.example A 192.0.2.1\ndst.example AAAA 2001:db8::1")
    servers = smtp(), smtp("2001:db8::1")
    check(home.run(), "r", accepted())
    assert [server.connections for server in servers] == [1, 0]


# Recipes.

def test_stock_with_tls_where_it_is_offered(site):
    site.mx()
    server = site.server()
    check(site.run(), "r", accepted())
    assert not server.session.tls
    run_commands("From stock")
    check(site.run(), "r", accepted())
    assert server.sessions[-1].tls


@pytest.mark.parametrize("order", [("key", "cert"), ("cert", "key"), ()], ids=["key-first", "key-last", "none"])
def test_tls_patch_with_its_client_certificate(site, order):
    """The file is that of the patch, and is not changed."""
    leaf = pki.make("me.example", site.certs.root)
    parts = {"key": leaf.key_pem, "cert": leaf.chain_pem}
    if order:
        site.home.control("clientcert.pem", b"".join(parts[part] for part in order))
    site.mx()
    good = site.certs.leaf("good", "m1.example")
    server = site.server(context=site.certs.context(good, want_client=bool(order)))
    run_commands("From the TLS patch")
    check(site.run(), "r", accepted())
    assert server.session.tls["client"] == (leaf.der if order else None)


def test_links_lead_to_sections():
    sections = {re.sub(r"[^\w -]", "", line[3:].lower()).replace(" ", "-")
                for line in PAGE.splitlines() if line.startswith("## ")}
    links = re.findall(r"\]\(#([\w-]+)\)", PAGE)
    assert len(links) == 8 and set(links) <= sections
