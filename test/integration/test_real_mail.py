"""Mail to Postfix, Exim and OpenSMTPD, whose MX and addresses come from unbound.

What arrives in the mailbox must be the message, to the byte, behind the headers that a server puts in front.
"""

import json
import random
import re
import subprocess

import pytest

import realservers
import world
from realservers import CLEAR, LIMIT, TLS, TLS12, WRONG, added

SERVERS = {"postfix": realservers.Postfix, "exim": realservers.Exim, "opensmtpd": realservers.Opensmtpd}
MESSAGE = b"Subject: x\nFrom: <a@src.example>\nMessage-Id: <1@src.example>\n\nhi\n"
HEAD = b"Subject: x\n\n"

NOT_VERIFIED = "certificate not verified"
TLS13 = "TLS: TLSv1.3 TLS_AES_256_GCM_SHA384 X25519, "
TLS12_ = "TLS: TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 X25519, "


@pytest.fixture(scope="session", autouse=True)
def _stop():
    yield
    realservers.stop_all()


class Mailer:
    """One test's view of a mail server."""

    def __init__(self, home, server):
        self.home, self.server = home, server
        self.boxes = []

    def box(self):
        self.boxes.append(self.server.mailbox())
        return self.boxes[-1]

    def send(self, role, family, *users, message=MESSAGE, **how):
        """A delivery to these users or mailboxes."""
        domain = self.server.domain(role, family)
        names = [u if isinstance(u, str) else u.user for u in users]
        return self.home.run(host=domain, recipients=[f"{n}@{domain}" for n in names], message=message, **how)

    def accepted(self, run, role, family, tls=None, letters="rK"):
        """All is well, and the report says so; `tls` is what it says of TLS."""
        assert run.letters == letters, run
        lines = run.message.text.decode().replace("X25519MLKEM768", "X25519").split("\n")
        assert lines[0] == f"{self.server.address(role, family)} accepted message.", run
        assert re.match("Remote host said: 250[- ]", lines[1]), run
        assert [line for line in lines if line.startswith("TLS: ")] == ([tls] if tls else []), run
        assert lines[-1] == "" and (not tls or lines[-2] == tls), run

    def close(self):
        for box in self.boxes:
            box.close()


@pytest.fixture
def mailer(request, home, certs):
    realservers.start(realservers.Unbound)
    server = realservers.start(SERVERS[request.param], certs)
    world.resolv_conf(f"nameserver {realservers.RESOLVER}\n")
    mailer = Mailer(home, server)
    yield mailer
    mailer.close()
    world.resolv_conf()


each_server = pytest.mark.parametrize("mailer", SERVERS, indirect=True)
each_family = pytest.mark.parametrize("family", [4, 6])


def needs_tls(mailer):
    if not mailer.server.can_do_tls:
        pytest.skip("before 7.3 OpenSMTPD offers STARTTLS, but cannot finish a handshake with OpenSSL 3")


# The message.

@each_family
@each_server
def test_a_message_arrives(mailer, family):
    box = mailer.box()
    run = mailer.send(CLEAR, family, box)
    mailer.accepted(run, CLEAR, family)
    head = added(box.take(), MESSAGE)
    assert re.search(r"^Received: .* with ESMTP ", head, re.MULTILINE | re.IGNORECASE), head
    assert mailer.server.sender(head) == "a@src.example", head


def _large():
    """10 MB; the lines of one are random, and repeated."""
    chance = random.Random(1)
    lines = []
    size = 0
    while size < 1 << 20:
        line = chance.choice((b"", b".", b"..", b"a.b")) + chance.randbytes(chance.randrange(400))
        lines.append(line.translate(_LINE))
        size += len(line) + 1
    return HEAD + b"\n".join(lines * 10) + b"\n"


# Every byte but these three as itself.
_LINE = bytes(63 if c in b"\0\r\n" else c for c in range(256))

MESSAGES = {
    "dots": HEAD + b".\n..\n...\n.a\n\n.\n.\n",
    "only-a-dot": HEAD + b".\n",
    "no-body": b"Subject: x\n",
    "empty-body": HEAD,
    "blank-lines": HEAD + b"\n\n\nx\n\n\n",
    "trailing-blanks": HEAD + b"a \n \n\t\nb\t \n",
    "from-lines": HEAD + b"From a\n>From b\nFrom: c\n",
    "8-bit": b"Subject: \xc3\xa4\n\n" + "Grüße, 日本\n".encode() + bytes(range(128, 256)) + b"\n",
    "nul": HEAD + b"a\0b\n\0\n.\0\n",
    "every-byte-but-nul": HEAD + b"\n".join(bytes([c]) * 3 for c in range(1, 256) if c not in b"\r\n") + b"\n",
    "lines-of-998": HEAD + (b"x" * 998 + b"\n") * 200,
    "buffer-sizes": HEAD + b"".join(b"." * n + b"\n" for n in (511, 512, 513, 1000, 996, 997)),
    "large": _large(),
}


@pytest.mark.parametrize("name", MESSAGES)
@each_server
def test_messages_arrive_byte_for_byte(mailer, name):
    message = MESSAGES[name]
    box = mailer.box()
    mailer.accepted(mailer.send(CLEAR, 4, box, message=message), CLEAR, 4)
    if name == "no-body" and mailer.server.needs_body:
        message += b"\n"
    if name == "nul" and mailer.server.shortens:
        message = re.sub(rb"\0.*", b"", message)
    added(box.take(), message)


@each_server
def test_a_missing_last_line_end_is_added(mailer):
    box = mailer.box()
    mailer.accepted(mailer.send(CLEAR, 4, box, message=HEAD + b"x\nno end"), CLEAR, 4)
    added(box.take(), HEAD + b"x\nno end\n")


@each_server
def test_cr_is_no_line_end(mailer):
    """CR before LF belongs to it; any other is a space, so that no server sees the end of the mail in it."""
    box = mailer.box()
    message = HEAD + b"a\r\nb\rc\n\r.\r\nd\n.\re\r\r\n"
    mailer.accepted(mailer.send(CLEAR, 4, box, message=message), CLEAR, 4)
    added(box.take(), HEAD + b"a\nb c\n .\nd\n. e \n")


@each_server
def test_a_line_as_long_as_the_server_takes_arrives(mailer):
    box = mailer.box()
    message = HEAD + b"." + b"x" * (mailer.server.longest - 3) + b"\n.\n"
    mailer.accepted(mailer.send(CLEAR, 4, box, message=message), CLEAR, 4)
    added(box.take(), message)


@pytest.mark.parametrize("size", [100_000, 10 << 20])
@pytest.mark.parametrize("mailer", ["opensmtpd"], indirect=True)
def test_a_line_that_is_too_long_is_refused(mailer, size):
    """Refused while the mail data is still on its way."""
    run = mailer.send(CLEAR, 4, mailer.box(), message=HEAD + b"x" * size + b"\n")
    assert run.letters == "rD", run
    ip = mailer.server.address(CLEAR, 4)
    assert run.message.text.startswith(f"{ip} failed after I sent the message.\n".encode()), run
    assert b"\nRemote host said: 500 5.0.0 Line too long\n" in run.message.text, run


@each_server
def test_a_message_that_is_too_large_is_not_sent(mailer):
    box = mailer.box()
    message = HEAD + (b"x" * 63 + b"\n") * (LIMIT // 64 + 1)
    run = mailer.send(CLEAR, 4, box, message=message)
    # All three say in EHLO what they take, so nothing is sent.
    assert run.letters == "D", run
    ip = mailer.server.address(CLEAR, 4)
    assert re.fullmatch(rb"%s takes messages of \d+ bytes, this one has \d+\. \(#5\.3\.4\)\nServer: .*\n" % ip.encode(),
                        run.message.text), run
    # What follows arrives, and nothing before it.
    mailer.accepted(mailer.send(CLEAR, 4, box), CLEAR, 4)
    added(box.take(), MESSAGE)
    assert box.count() == 0


# The envelope.

@each_server
def test_each_recipient_has_its_record(mailer):
    ip = mailer.server.address(CLEAR, 4)
    boxes = [mailer.box() for _ in range(3)]
    run = mailer.send(CLEAR, 4, boxes[0], "nobody", boxes[1], "later", boxes[2])
    mailer.accepted(run, CLEAR, 4, letters="rhrsrK")
    for record, code in ((run.recipients[1], b"550"), (run.recipients[3], b"45[01]")):
        assert record.first == f"{ip} does not like recipient.".encode(), run
        assert re.search(rb"\nRemote host said: " + code + b"[- ]", record.text), run
    for box in boxes:
        added(box.take(), MESSAGE)
        assert box.count() == 0


@pytest.mark.parametrize("user, letter, code, result", [
    ("nobody", "h", b"550", b"D"), ("later", "s", b"45[01]", b"Z")])
@each_server
def test_a_refused_recipient_is_reported(mailer, user, letter, code, result):
    run = mailer.send(CLEAR, 4, user)
    assert run.letters == letter + "D", run
    ip = mailer.server.address(CLEAR, 4).encode()
    assert re.fullmatch(ip + rb" does not like recipient\.\nRemote host said: " + code + rb"[- ](.*\n)+",
                        run.recipients[0].text), run
    assert run.message.text.startswith(b"Giving up on " + ip + b".\n"), run
    assert run.rspawn[:1] == result, run


@each_server
def test_more_recipients_than_one_group_holds_have_their_records(mailer):
    """More than a server may take in one group of commands: each gets its own reply."""
    users = [u for n in range(30) for u in (f"nobody{n}", "later")]
    boxes = [mailer.box(), mailer.box()]
    run = mailer.send(CLEAR, 6, boxes[0], *users, boxes[1])
    mailer.accepted(run, CLEAR, 6, letters="r" + "hs" * 30 + "rK")
    for box in boxes:
        added(box.take(), MESSAGE)


@pytest.mark.parametrize("sender", ["", "#@[]"], ids=["empty", "double-bounce"])
@each_server
def test_a_bounce_has_an_empty_sender(mailer, sender):
    box = mailer.box()
    mailer.accepted(mailer.send(CLEAR, 4, box, sender=sender), CLEAR, 4)
    head = added(box.take(), MESSAGE)
    assert mailer.server.sender(head) == "", head


# STARTTLS.

def _trust(mailer, certs, strictness, anchors=None):
    mailer.home.control("trustanchors", (anchors or certs.bundle) + "\n")
    mailer.home.control("tlsstrictness", f"{strictness}\n")


def _received_with_tls(head, version=None):
    received = re.search(r"^Received: .*$", head, re.MULTILINE)[0]
    assert re.search(r"with ESMTPS ", received, re.IGNORECASE), received
    if version:
        assert re.search(rf"TLSv?{re.escape(version)}\b", received), received
    return received


@pytest.mark.parametrize("strictness", [0, 1, 2])
@each_family
@each_server
def test_mail_arrives_in_tls(mailer, certs, family, strictness):
    needs_tls(mailer)
    _trust(mailer, certs, strictness)
    box = mailer.box()
    run = mailer.send(TLS, family, box)
    verified = f"certificate verified for {mailer.server.host(TLS, family)}"
    mailer.accepted(run, TLS, family, TLS13 + (verified if strictness == 2 else NOT_VERIFIED))
    _received_with_tls(added(box.take(), MESSAGE), "1.3")


@pytest.mark.parametrize("strictness", [0, 2])
@each_family
@each_server
def test_check_tool_foretells_how_mail_arrives(mailer, certs, pytestconfig, family, strictness):
    """Up to MAIL, with QUIT: the server has nothing to complain of."""
    needs_tls(mailer)
    _trust(mailer, certs, strictness)
    domain = mailer.server.domain(TLS, family)
    done = subprocess.run([f"{pytestconfig.option.build}/qmail-remote-check", "--json", domain], capture_output=True,
                          timeout=60, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["result"]["verdict"] == "delivered", found
    assert found["result"]["address"] == mailer.server.address(TLS, family)
    steps = found["attempts"][-1]["steps"]
    assert [s["step"] for s in steps] == ["greeting", "EHLO", "STARTTLS", "handshake", "EHLO"]
    certificate = steps[3]["certificate"]
    assert mailer.server.host(TLS, family) in certificate["names"] and certificate["pkix"]["verifies"]
    box = mailer.box()
    run = mailer.send(TLS, family, box)
    assert found["attempts"][-1]["tls"]["text"].replace("X25519MLKEM768", "X25519") in \
        run.message.text.decode().replace("X25519MLKEM768", "X25519")


@pytest.mark.parametrize("strictness", [0, 2])
@each_server
def test_mail_arrives_in_tls_1_2(mailer, certs, strictness):
    needs_tls(mailer)
    if TLS12 not in mailer.server.roles:
        pytest.skip(f"{mailer.server.name} cannot be told to leave out TLS 1.3")
    _trust(mailer, certs, strictness)
    box = mailer.box()
    run = mailer.send(TLS12, 4, box)
    verified = f"certificate verified for {mailer.server.host(TLS12, 4)}"
    mailer.accepted(run, TLS12, 4, TLS12_ + (verified if strictness == 2 else NOT_VERIFIED))
    _received_with_tls(added(box.take(), MESSAGE), "1.2")


@pytest.mark.parametrize("name", ["large", "dots", "every-byte-but-nul"])
@each_server
def test_messages_arrive_byte_for_byte_in_tls(mailer, certs, name):
    needs_tls(mailer)
    _trust(mailer, certs, 0)
    box = mailer.box()
    mailer.accepted(mailer.send(TLS, 4, box, message=MESSAGES[name]), TLS, 4, TLS13 + NOT_VERIFIED)
    _received_with_tls(added(box.take(), MESSAGES[name]))


@each_server
def test_each_recipient_has_its_record_in_tls(mailer, certs):
    needs_tls(mailer)
    _trust(mailer, certs, 2)
    box = mailer.box()
    run = mailer.send(TLS, 6, "later", box, "nobody")
    mailer.accepted(run, TLS, 6, TLS13 + f"certificate verified for {mailer.server.host(TLS, 6)}", letters="srhK")
    added(box.take(), MESSAGE)


@each_server
def test_without_trustanchors_mail_arrives_in_clear_text(mailer):
    box = mailer.box()
    mailer.accepted(mailer.send(TLS, 4, box), TLS, 4)
    head = added(box.take(), MESSAGE)
    assert not re.search("with ESMTPS", head, re.IGNORECASE), head


@each_server
def test_a_hashed_directory_of_anchors_verifies(mailer, certs):
    needs_tls(mailer)
    _trust(mailer, certs, 2, certs.directory)
    box = mailer.box()
    mailer.accepted(mailer.send(TLS, 4, box), TLS, 4, TLS13 + f"certificate verified for {mailer.server.host(TLS, 4)}")
    added(box.take(), MESSAGE)


def _tls_failed(mailer, run, role, family, why):
    assert run.letters == "Z", run
    text = run.message.text.decode()
    assert text.startswith(f"Connected to {mailer.server.address(role, family)} but TLS failed. (#4.7.5)\n"), run
    assert f"\nTLS: {why}" in text, run


def _nothing_sent(mailer, box):
    """The mailbox gets the next message, and that first."""
    mailer.home.control("trustanchors", None)
    mailer.home.control("tlsstrictness", None)
    mailer.accepted(mailer.send(CLEAR, 4, box, message=HEAD + b"the next\n"), CLEAR, 4)
    added(box.take(), HEAD + b"the next\n")
    assert box.count() == 0


@pytest.mark.parametrize("strictness", [0, 1])
@each_server
def test_a_wrong_name_does_not_matter_at_strictness_0_and_1(mailer, certs, strictness):
    needs_tls(mailer)
    _trust(mailer, certs, strictness)
    box = mailer.box()
    mailer.accepted(mailer.send(WRONG, 4, box), WRONG, 4, TLS13 + NOT_VERIFIED)
    added(box.take(), MESSAGE)


@each_family
@each_server
def test_a_wrong_name_is_temporary_at_strictness_2(mailer, certs, family):
    needs_tls(mailer)
    _trust(mailer, certs, 2)
    box = mailer.box()
    run = mailer.send(WRONG, family, box)
    _tls_failed(mailer, run, WRONG, family, "certificate verify failed: name mismatch\n")
    _nothing_sent(mailer, box)


@pytest.mark.parametrize("how", ["bundle", "directory"])
@each_server
def test_a_wrong_root_is_temporary_at_strictness_2(mailer, certs, how):
    needs_tls(mailer)
    _trust(mailer, certs, 2, certs.other_bundle if how == "bundle" else certs.other_directory)
    box = mailer.box()
    run = mailer.send(TLS, 4, box)
    _tls_failed(mailer, run, TLS, 4, "certificate verify failed: ")
    _nothing_sent(mailer, box)


@pytest.mark.parametrize("strictness", [0, 1])
@each_server
def test_mail_arrives_in_clear_text_where_tls_is_not_offered(mailer, certs, strictness):
    _trust(mailer, certs, strictness)
    box = mailer.box()
    mailer.accepted(mailer.send(CLEAR, 4, box), CLEAR, 4)
    added(box.take(), MESSAGE)


@each_server
def test_nothing_is_sent_where_tls_is_demanded_and_not_offered(mailer, certs):
    _trust(mailer, certs, 2)
    box = mailer.box()
    run = mailer.send(CLEAR, 4, box)
    assert run.letters == "Z", run
    ip = mailer.server.address(CLEAR, 4)
    assert run.message.first == f"Connected to {ip} but it does not offer STARTTLS. (#4.7.4)".encode(), run
    _nothing_sent(mailer, box)


# What the servers that tell write of a client certificate that they verified, and of none.
CLIENT = {
    "postfix": ('(Client CN "client.example", Issuer "Test Intermediate" (verified OK))',
                "(Client did not present a certificate)"),
    "exim": ("(Client CN=client.example verified 1)", "(Client none)"),
}


@pytest.mark.parametrize("role", [TLS, TLS12])
@pytest.mark.parametrize("mailer", CLIENT, indirect=True)
def test_our_certificate_is_taken(mailer, certs, role):
    _trust(mailer, certs, 0)
    mailer.home.control("clientcert", certs.client_cert + "\n")
    mailer.home.control("clientkey", certs.client_key + "\n")
    box = mailer.box()
    run = mailer.send(role, 4, box)
    mailer.accepted(run, role, 4, (TLS13 if role == TLS else TLS12_) + NOT_VERIFIED)
    assert CLIENT[mailer.server.name][0] in _received_with_tls(added(box.take(), MESSAGE))


@pytest.mark.parametrize("mailer", CLIENT, indirect=True)
def test_without_a_certificate_of_ours_the_server_does_without(mailer, certs):
    """The server asks for one, and does without."""
    _trust(mailer, certs, 0)
    box = mailer.box()
    mailer.accepted(mailer.send(TLS, 4, box), TLS, 4, TLS13 + NOT_VERIFIED)
    assert CLIENT[mailer.server.name][1] in _received_with_tls(added(box.take(), MESSAGE))


@pytest.mark.parametrize("mailer", ["opensmtpd"], indirect=True)
@pytest.mark.parametrize("strictness", [0, 1, 2])
def test_a_handshake_that_fails_does_what_its_strictness_says(mailer, certs, strictness):
    """A server that offers STARTTLS and fails in the handshake."""
    if mailer.server.can_do_tls:
        pytest.skip("the handshakes of this opensmtpd end well")
    _trust(mailer, certs, strictness)
    box = mailer.box()
    run = mailer.send(TLS, 4, box)
    if strictness == 2:
        _tls_failed(mailer, run, TLS, 4, "")
        _nothing_sent(mailer, box)
    else:
        mailer.accepted(run, TLS, 4)
        added(box.take(), MESSAGE)
