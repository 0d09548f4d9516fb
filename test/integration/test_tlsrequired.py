"""control/tlsrequired in deliveries: which messages may go without DANE and MTA-STS (RFC 8689)."""

import os

import pytest

from expect import ANY, CONTROL, accepted, check, stored
from expect_tls import FAILED_SENTENCE, NOT_OFFERED_SENTENCE
from stssite import ENFORCED, policy
from tlssite import NOT_VERIFIED, tls_line, told_nothing, verified

ONE, TWO = "192.0.2.1", "192.0.2.2"
BODY = b"\nthe body\n"
PLAIN = b"Subject: x\n" + BODY
NO = b"TLS-Required: no\n"
FIELD = NO + PLAIN
REPORT = (b"From: a@src.example\nTLS-Report-Domain: dst.example\nTLS-Report-Submitter: src.example\n" + NO +
          b'Content-Type: multipart/report; report-type="tlsrpt";\n\tboundary="b"\n' + BODY)


@pytest.fixture
def enforced(sts):
    """A policy that lists the host, whose certificate does not verify."""
    sts.mx()
    sts.server(cert="self-signed")
    sts.publish(policy("m1.example"))

    def make(setting):
        sts.home.control("tlsrequired", f"{setting}\n" if setting is not None else None)
        return sts
    return make


def goes(sts, message, is_obeyed):
    """Whether it goes without a policy, or is deferred because of it; it arrives as it was, from its first byte on."""
    server, = sts.servers
    before = len(server.mails)
    run = sts.run(message=message)
    if is_obeyed:
        check(run, "r", accepted())
        assert tls_line(run) == NOT_VERIFIED, run
        assert server.mails[-1].text == stored(message)
    else:
        check(run, ("Z", f"Connected to {ONE} {FAILED_SENTENCE}", ANY))
        told_nothing(*server.sessions)
    assert len(server.mails) == before + is_obeyed


@pytest.mark.parametrize("setting, obeyed", [(0, ()), (1, (FIELD, REPORT)), (2, (REPORT,)), (None, (REPORT,))])
@pytest.mark.parametrize("message", [PLAIN, FIELD, REPORT], ids=["plain", "field", "report"])
def test_settings(enforced, setting, obeyed, message):
    goes(enforced(setting), message, message in obeyed)


@pytest.mark.parametrize("message, is_no", [
    (b"TLS-REQUIRED: NO\n" + PLAIN, True),
    (b"tls-required:no\n" + PLAIN, True),
    (b"TLS-Required : no (for reports)\n" + PLAIN, True),
    (b"TLS-Required:\n no\n" + PLAIN, True),
    (b"TLS-Required: no\r\nSubject: x\r\n\r\nbody\r\n", True),
    (b"TLS-Required: yes\n" + NO + PLAIN, True),
    (b"Received: a\n" * 2000 + FIELD, True),
    (b"TLS-Required: yes\n" + PLAIN, False),
    (b"TLS-Required: no, really\n" + PLAIN, False),
    (b"TLS-Required:\n" + PLAIN, False),
    (b"X-TLS-Required: no\n" + PLAIN, False),
    (b"TLS-Required-X: no\n" + PLAIN, False),
    (PLAIN + NO, False),
    (b"\n" + FIELD, False),
    (b"Subject: x\n TLS-Required: no\n" + BODY, False),
    (b"X: " + b"x" * 65536 + b"\n" + FIELD, False),
    (b"", False),
    (b"\n", False),
], ids=lambda v: None if isinstance(v, bool) else f"{v[:24]!r}-{len(v)}")
def test_forms_of_the_field(enforced, message, is_no):
    goes(enforced(1), message, is_no)


@pytest.mark.parametrize("old, new", [
    (b"TLS-Report-Domain", b"TLS-Report-Domains"), (b"TLS-Report-Submitter", b"X-Submitter"),
    (b'"tlsrpt"', b'"tlsrpts"'), (b"multipart/report", b"multipart/mixed"), (NO, b""), (b'report-type="tlsrpt";', b""),
    (b"\nContent-Type", b"\nContent-Type: text/plain\nContent-Type")])
def test_what_is_no_report(enforced, old, new):
    assert old in REPORT
    goes(enforced(2), REPORT.replace(old, new), False)


@pytest.mark.parametrize("old, new", [(b'"tlsrpt"', b"TLSRPT"), (b"; report-type", b"; charset=x ;\n report-type"),
                                      (b"\n", b"\r\n"), (b"Content-Type", b"CONTENT-TYPE")])
def test_what_is_a_report_too(enforced, old, new):
    goes(enforced(2), REPORT.replace(old, new), True)


def test_a_large_message_arrives_whole(enforced):
    goes(enforced(1), FIELD + b"line\n" * 1000000, True)
    goes(enforced(1), b"Received: a\n" * 20000 + FIELD, False)


def test_a_message_from_its_offset_on(enforced):
    """As the delivery gets the descriptor: what is before its offset is not part of the message."""
    sts = enforced(1)
    for before, after, is_obeyed in ((PLAIN, FIELD, True), (FIELD, PLAIN, False)):
        with open("/srv/message", "wb") as f:
            f.write(before + after)
        fd = os.open("/srv/message", os.O_RDONLY)
        os.lseek(fd, len(before), os.SEEK_SET)
        run = sts.run(message=fd)
        os.close(fd)
        assert run.letters == ("rK" if is_obeyed else "Z"), run
        if is_obeyed:
            assert sts.servers[0].mails[-1].text == after


def test_clear_text_is_tried(sts):
    """As without DANE and MTA-STS: where there is no TLS the mail goes without."""
    sts.home.control("tlsrequired", "1\n")
    sts.mx()
    server = sts.server(cert=None)
    sts.publish(policy("m1.example"))
    check(sts.run(message=PLAIN), ("Z", f"Connected to {ONE} {NOT_OFFERED_SENTENCE}", ANY))
    check(sts.run(message=FIELD), "r", accepted())
    assert server.mails[-1].text == FIELD


def test_tls_is_still_used(sts):
    sts.home.control("tlsrequired", "1\n")
    sts.mx()
    sts.server()
    sts.publish(policy("m1.example"))
    run = sts.run(message=FIELD)
    check(run, "r", accepted())
    assert tls_line(run) == NOT_VERIFIED
    assert tls_line(sts.run(message=PLAIN)) == ENFORCED + "m1.example"


def test_no_policy_is_asked_for(sts):
    sts.home.control("tlsrequired", "1\n")
    sts.mx()
    sts.server()
    host = sts.publish(policy("other.example"))
    check(sts.run(message=FIELD), "r", accepted())
    assert sts.asked_for_policies() == [] and host.requests == [] and not sts.has_entry()


def test_an_unlisted_host(sts):
    sts.home.control("tlsrequired", "1\n")
    sts.mx()
    server = sts.server()
    sts.publish(policy("other.example"))
    assert sts.run(message=PLAIN).letters == "Z" and server.connections == 0
    check(sts.run(message=FIELD), "r", accepted())


@pytest.mark.parametrize("demand", ["strictness", "tlspolicy", "tlshosts"])
def test_what_the_administrator_demands_stays(sts, demand):
    sts.home.control("tlsrequired", "1\n")
    sts.mx()
    server = sts.server(cert="self-signed")
    if demand == "strictness":
        sts.want(2)
    elif demand == "tlspolicy":
        sts.home.control("tlspolicy", "dst.example:verify\n")
    else:
        os.mkdir(f"{sts.home.path}/control/tlshosts")
        sts.home.control("tlshosts/m1.example.pem", sts.certs.root.pem)
    check(sts.run(message=FIELD), ("Z", f"Connected to {ONE} {FAILED_SENTENCE}", ANY))
    server.tls = sts.certs.context("good")
    run = sts.run(message=FIELD)
    check(run, "r", accepted())
    assert tls_line(run) == verified("m1.example")


def test_without_mtasts_and_dane_the_header_is_not_read(home, relay):
    """It could not matter: a message that cannot be read at an offset is no trouble."""
    home.control("tlsrequired", "1\n")
    server = relay()
    check(home.run(message=FIELD), "r", accepted())
    assert server.mail.text == FIELD


def test_a_message_that_is_no_file(enforced):
    """A pipe: it cannot be read twice, so the field is not looked for."""
    sts = enforced(1)
    read, write = os.pipe()
    os.write(write, FIELD)
    os.close(write)
    run = sts.run(message=read)
    os.close(read)
    check(run, ("Z", f"Connected to {ONE} {FAILED_SENTENCE}", ANY))


@pytest.mark.parametrize("text", ["3\n", "x\n", "-1\n", "99999999999999999999\n"])
def test_nonsense(sts, text):
    sts.home.control("tlsrequired", text)
    sts.mx()
    sts.server()
    run = sts.run()
    check(run, CONTROL)
    assert b"\ncontrol/tlsrequired: " in run.report and sts.dns.questions == [], run
