"""What becomes of a delivery by the reply that stands at one step of the dialogue: one table for all tests.

A step is the greeting, a command, or END, the end of the mail data. The expectations are records as expect.check()
takes them, for one recipient and a server at `ip` that is the only one.
"""

from expect import ANY, accepted, died, duplicate

ONE = "192.0.2.1"

BEFORE_MAIL = ("greeting", "EHLO", "HELO")

# The reply that each step is there for.
WANTED = {"greeting": 220, "EHLO": 250, "HELO": 250, "MAIL": 250, "RCPT": 250, "DATA": 354, "END": 250, "QUIT": 221}

# How the report begins where a well-formed reply refuses a step; to EHLO HELO is the answer.
SENTENCES = {
    "greeting": "Connected to {ip} but greeting failed.",
    "HELO": "Connected to {ip} but my name was rejected.",
    "MAIL": "Connected to {ip} but sender was rejected.",
    "RCPT": "{ip} does not like recipient.",
    "DATA": "{ip} failed on DATA command.",
    "END": "{ip} failed after I sent the message.",
}
GIVING_UP = "Giving up on {ip}."

# It says something of us, not of the mail.
ABOUT_AUTHENTICATION = (530, 534, 535, 538)


def code_of(reply):
    return int(reply[:3])


def is_refusal(code):
    return code // 100 in (4, 5)


def is_permanent(step, code):
    """Before MAIL nothing is; another server may do."""
    return code // 100 == 5 and code not in ABOUT_AUTHENTICATION and step not in BEFORE_MAIL


def refused(step, reply, ip=ONE):
    """This reply is 4yz or 5yz, or any but 220 for a greeting, any but 250 to HELO."""
    permanent = is_permanent(step, code_of(reply))
    sentence = SENTENCES[step].format(ip=ip)
    if step == "RCPT":
        return [("h" if permanent else "s", sentence, reply), ("D", GIVING_UP.format(ip=ip))]
    return [*_accepted_before(step), ("D" if permanent else "Z", sentence, reply)]


def malformed(step, ip=ONE):
    """What came is no reply, and nothing else will come."""
    if step in BEFORE_MAIL:
        return [("Z", SENTENCES[step].format(ip=ip), ANY)]
    return no_reply(step, ip, ANY)


def no_reply(step, ip=ONE, said=None):
    """The connection ends, or the time is over, before there is a whole reply."""
    last = duplicate(ip) if step == "END" else died(ip)
    return [*_accepted_before(step), (*last[:2], said)]


def _accepted_before(step):
    """The recipient has been accepted by then."""
    return ["r"] if step in ("DATA", "END") else []


def delivered(reply="250 got it", ip=ONE):
    return ["r", accepted(ip, reply)]
