"""Control files as editors and people leave them: CRs, byte order marks, blanks, links to /dev/null, no name at all."""

import os
import time

import pytest

from expect import CONTROL, ITS_ME, accepted, check
from qmailhome import FILLER

A, B = "192.0.2.11", "192.0.2.12"
MARK = b"\xef\xbb\xbf"


def crlf(text):
    return text.replace(b"\n", b"\r\n")


def marked(text):
    return MARK + text


def both(text):
    return MARK + crlf(text)


def blanks(text):
    return text.replace(b"\n", b" \t \r \n")


def no_end(text):
    return crlf(text).rstrip(b"\n")


HOW = [crlf, marked, both, blanks, no_end]
edited = pytest.mark.parametrize("how", HOW, ids=lambda f: f.__name__)


@pytest.fixture
def two(smtp):
    return {A: smtp(A), B: smtp(B)}


def goes_to(home, ip, **kw):
    check(home.run(**kw), "r", accepted(ip))


@edited
@pytest.mark.parametrize("name", ["me", "helohost"])
def test_a_name_is_read_without_mark_blanks_and_cr(home, relay, how, name):
    server = relay()
    home.control(name, how(b"mail.our.example\n"))
    check(home.run(), "r", accepted())
    assert server.log.startswith(b"EHLO mail.our.example\r\n")


@edited
def test_a_number_is_read_without_mark_blanks_and_cr(home, relay, how):
    """The limit holds: the default would be 1200 s."""
    from smtpd import Delay
    relay(greeting=(Delay(5), "220 hi"))
    home.control("timeoutremote", how(b"1\n"))
    run = home.run()
    assert run.letters == "Z" and run.wall < 10, run


@edited
def test_strictness_is_read_without_mark_blanks_and_cr(home, relay, certs, how):
    """2 is 2, and the path of the trust anchors is one: a server without TLS gets nothing."""
    server = relay()
    home.control("trustanchors", how(certs.bundle.encode() + b"\n"))
    home.control("tlsstrictness", how(b"2\n"))
    run = home.run()
    assert run.message.first == b"Connected to 192.0.2.1 but it does not offer STARTTLS. (#4.7.4)", run
    assert server.mails == []


@edited
@pytest.mark.parametrize("compiled", [False, True], ids=["text", "compiled"])
def test_routes_are_read_without_marks_blanks_and_cr(home, two, how, compiled):
    if compiled:
        home.filler = FILLER.encode()
    path = home.control("smtproutes", how(b"#dst.example:192.0.2.12\n\ndst.example:192.0.2.11\n:192.0.2.12:25\n"))
    if compiled:
        time.sleep(max(0, os.stat(path).st_ctime + 2.3 - time.time()))
        goes_to(home, A)
        assert os.path.exists(home.cdb_path)
    goes_to(home, A)
    goes_to(home, B, host="other.example")


@edited
def test_a_byte_order_mark_is_no_part_of_the_first_key(home, two, how):
    """A byte order mark is no part of the first key."""
    home.control("smtproutes", how(b"dst.example:192.0.2.11:25\n:192.0.2.12\n"))
    goes_to(home, A)


@edited
def test_ipme_is_read_without_marks_blanks_and_cr(home, two, dns, how):
    home.control("ipme", how(b"192.0.2.11\n# 192.0.2.13\n2001:db8::5\n"))
    dns.zone(f"dst.example A {A}\nother.example AAAA 2001:db8::5")
    check(home.run(), ITS_ME)
    check(home.run("other.example"), ITS_ME)


@pytest.mark.parametrize("name", ["smtproutes", "ipme", "timeoutconnect", "timeoutremote", "timeoutdns", "trustanchors",
                                  "clientcert", "clientkey", "tlsstrictness"])
def test_a_link_to_the_null_device_is_an_empty_file(home, two, dns, name):
    """It is an empty file: the default."""
    dns.zone(f"dst.example A {A}")
    home.control(name, None)
    os.symlink("/dev/null", f"{home.path}/control/{name}")
    goes_to(home, A)


def test_other_devices_are_refused(home):
    for target in ("/dev/zero", "/dev/full"):
        home.control("ipme", None)
        path = f"{home.path}/control/ipme"
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)
        check(home.run(), CONTROL)


NO_NAME = [("", None, "me"), ("\n", None, "me"), (" \t\n", None, "me"), ("\r\n", None, "me"), (MARK, None, "me"),
           ("\nme.example\n", None, "me"), ("me.example\n", "", "helohost"), ("me.example\n", "\nb.example\n", "helohost"),
           ("me.example\n", " \r\n", "helohost"), (None, "", "helohost")]


@pytest.mark.parametrize("me, helohost, blamed", NO_NAME, ids=range(len(NO_NAME)))
def test_no_name_is_told_by_us(home, relay, me, helohost, blamed):
    """Servers refuse an empty name in words that help nobody; none is asked."""
    server = relay()
    home.control("me", me)
    home.control("helohost", helohost)
    run = home.run()
    check(run, CONTROL)
    assert run.message.text.decode().splitlines()[1] == f"control/{blamed}: empty"
    assert server.connections == 0


def test_a_name_that_is_a_link_to_the_null_device_is_empty(home, relay):
    relay()
    os.symlink("/dev/null", f"{home.path}/control/helohost")
    run = home.run()
    check(run, CONTROL)
    assert b"control/helohost: empty" in run.message.text


def test_a_line_that_begins_with_a_nul_is_ignored(home, two):
    """It is ignored, as in qmail; a NUL inside a line separates routes."""
    home.control("smtproutes", b"\0dst.example:192.0.2.12\nx:192.0.2.12\0dst.example:192.0.2.11\n\0\n")
    goes_to(home, A)
