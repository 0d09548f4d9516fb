"""What a report should say, and what a server should have of a message."""

SAID = b"Remote host said: "

# In place of a reply: whatever the server said, or nothing.
ANY = object()


def _bytes(text):
    return text.encode() if isinstance(text, str) else text


def check(run, *expected):
    """Compare a report record by record: "r", or ("D", first line) or ("D", first line, reply or ANY).

    Lines of detail may stand before and after the reply, but not in its place.
    """
    want = [(e, None, None) if isinstance(e, str) else (*e, None)[:3] for e in expected]
    assert run.letters == "".join(w[0] for w in want), run.report
    for record, (_, first, said) in zip(run.records, want):
        if first is None:
            assert record.text == b"", run.report
            continue
        first = _bytes(first)
        assert (record.text + b"\n").startswith(first + b"\n"), run.report
        if said is ANY:
            continue
        if said is None:
            assert SAID not in record.text, run.report
        else:
            said = SAID + _bytes(said) + b"\n"
            assert b"\n" + said in record.text, run.report


NO_CONNECTION = ("Z", "Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)")
DNS_SOFT = ("Z", "Sorry, I couldn't find any host by that name. (#4.1.2)")
NO_ADDRESS = ("D", "Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)")
CONTROL = ("Z", "Unable to read control files. (#4.3.0)")
ITS_ME = ("D", "Sorry. Although I'm listed as a best-preference MX or A for that host,\n"
          "it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)")


def no_host(name="dst.example"):
    return ("D", b"Sorry, I couldn't find any host named " + _bytes(name) + b". (#5.1.2)")


def accepted(ip="192.0.2.1", said="250 got it"):
    return ("K", f"{ip} accepted message.", said)


def died(ip="192.0.2.1"):
    return ("Z", f"Connected to {ip} but connection died. (#4.4.2)")


def duplicate(ip="192.0.2.1", said=None):
    return ("Z", f"Connected to {ip} but connection died. Possible duplicate! (#4.4.2)", said)


def stored(message):
    """The message as a server ought to store it: CR before LF belongs to the line end, others are blanks."""
    text = message.replace(b"\r\n", b"\n").replace(b"\r", b" ")
    return text if not text or text.endswith(b"\n") else text + b"\n"


def wire(message):
    """The mail data, with its end."""
    return (b"\n" + stored(message)).replace(b"\n.", b"\n..")[1:].replace(b"\n", b"\r\n") + b".\r\n"
