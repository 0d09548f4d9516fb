"""Why two programs report the same session differently, and where that is documented.

A session is followed from its beginning: the first deviation of the script that the two treat differently is the
reason for all later differences. Each rule says which deviation that is, what our program must do with it, and which
paragraph of qmail-remote(8), DIFFERENCES, describes it. A difference that no rule explains is a defect.
"""

import re
import subprocess
from dataclasses import dataclass

_DIED = "Connected to IP but connection died. (#4.4.2)"
_DOUBT = "Connected to IP but connection died. Possible duplicate! (#4.4.2)"

# Forms of a reply that qmail parses as we do.
_SAME_FORMS = ("glued", "tab", "bare", "lf", "hyphen end", "empty line inside")
# Lines without a code: no other line comes, so the wait times out.
_NO_CODE = ("two digits", "letters", "high bit", "colon", "question mark", "four digits")
# Replies to MAIL with parameters after which it is sent again without them.
_WITHOUT_PARAMETERS = (500, 501, 502, 504, 553, 555)


@dataclass(frozen=True)
class Difference:
    kind: str       # first: of one delivery; fate: of recipients; text: of the reported reply; bytes: of the message
    text: str
    here_only: int = 0      # recipients to whom our program alone delivers
    there_only: int = 0     # and the other one alone


@dataclass(frozen=True)
class Rule:
    name: str
    words: str              # the paragraph contains them
    ours: object            # function of script, deviation, our first differing delivery and the other: True if
                            # ours is right


def _any(script, d, delivery, other):
    return True


def _not_delivered(script, d, delivery, other):
    return delivery.message.letter == "Z"


def _by_the_code(letter):
    def ours(script, d, delivery, other):
        want = letter or ("D" if d.code // 100 == 5 else "Z")
        return delivery.message.letter == want
    return ours


def _broken(script, d, delivery, other):
    """Not a reply, so in a group the next one may be taken for it; that is not a success either."""
    return delivery.message.letter in ("ZD" if script.offered("PIPELINING") else "Z")


def _shifted(script, d, delivery, other):
    """One reply too many: in a group it may be taken for the next one, and is never a success."""
    bad = d.detail == "550" and script.offered("PIPELINING")
    return delivery.message.letter in ("ZD" if bad else "Z")


def _without_parameters(script, d, delivery, other):
    """MAIL refused with parameters: by the code, or by the result of MAIL without them, which is lost here."""
    return delivery.message.letter == ("Z" if d.kind == "then" or d.code // 100 == 4 else "D")


def _refused_for_now(script, d, delivery, other):
    if d.moment == "MAIL":
        return delivery.message.letter == "Z"
    return "h" not in delivery.letters[d.recipient:d.recipient + 1]


def _on_a_new_connection(script, d, delivery, other):
    return delivery.connections == 2


def _size(script, d, delivery, other):
    return delivery.message.letter == "D" and "(#5.3.4)" in delivery.sentence


def _known_words(script, d, delivery, other):
    """The server's reply is reported, even if QUIT failed because of a reset."""
    if d.moment == "END" and d.code // 100 == 2:
        return delivery.message.letter == "K"
    if d.moment == "RCPT":
        return delivery.message.letter in "ZDK"
    return delivery.sentence not in (_DIED, _DOUBT)


def _refused_there(script, d, delivery, other):
    return "(#5.6.2)" in other.sentence


def _other_bytes(script, d, delivery, other):
    return [m.wire for m in delivery.mails] != [m.wire for m in other.mails]


RULES = [
    Rule("EHLO", "EHLO comes first", _any),
    Rule("new connection", "HELO only if EHLO fails", _on_a_new_connection),
    Rule("EHLO 421", "with 421", _by_the_code("Z")),
    Rule("parameters", "parameters of MAIL", _without_parameters),
    Rule("SIZE", "larger than the server's SIZE", _size),
    Rule("RCPTMAX", "several transactions", _any),
    Rule("class of reply", "those to MAIL, RCPT and the mail data 2yz", _not_delivered),
    Rule("skipped lines", "three digits", _any),
    Rule("broken reply", "the same on all lines", _broken),
    Rule("extra reply", "before its command was sent", _shifted),
    Rule("QUIT", "whatever happens to QUIT", _known_words),
    Rule("530", "which are about authentication", _refused_for_now),
    Rule("503", "503", _not_delivered),
    Rule("552", "552 for a recipient", _refused_for_now),
    Rule("group", "one by one", _not_delivered),
    Rule("lost in a group", "lost in a group", _not_delivered),
    Rule("end before mail data", "before the end of the mail data", _by_the_code("")),
    Rule("no line end", "without a final line end", _refused_there),
    Rule("CR", "A CR that is not part of a line end", _other_bytes),
    Rule("text", "Control characters and empty lines in a reply", _any),
]
_BY_NAME = {r.name: r for r in RULES}


def missing(page):
    """The rules that the page does not mention."""
    done = subprocess.run(["mandoc", "-T", "utf8", page], stdout=subprocess.PIPE, check=True)
    text = re.sub("[\x08].", "", re.sub(".\x08", "", done.stdout.decode()))
    section = text.partition("DIFFERENCES FROM QMAIL")[2].partition("SEE ALSO")[0]
    section = re.sub(r"\s+", " ", section)
    return [r for r in RULES if r.words not in section]


# What differs.

def _told(delivery):
    return f"{delivery.letters} {delivery.sentence}"


def _first(ours, theirs):
    """The first delivery that the two report differently."""
    for mine, other in zip(ours.tries, theirs.tries):
        if _told(mine) != _told(other):
            return mine, other
    return None


def differences(script, ours, theirs):
    first = _first(ours, theirs)
    if first:
        yield Difference("first", f"{_told(first[0])} | {_told(first[1])}")
    elif ours.first.replies != theirs.first.replies:
        yield Difference("text", f"{ours.first.replies} | {theirs.first.replies}")
    if ours.fate != theirs.fate or ours.copies != theirs.copies:
        fates = [(ours.fate[a] == "delivered", theirs.fate[a] == "delivered") for a in ours.fate]
        yield Difference("fate", f"{_short(ours)} | {_short(theirs)}", fates.count((True, False)),
                         fates.count((False, True)))
    if any(wire(ours, a) != wire(theirs, a) for a in script.addresses if wire(ours, a) and wire(theirs, a)):
        yield Difference("bytes", "the servers have different bytes")


def wire(story, address):
    """The bytes of the first copy that a recipient got."""
    return next((m.wire for t in story.tries for m in t.taken(address)), None)


def _short(story):
    return ", ".join(f"{story.fate[a]} {story.copies[a]}" for a in story.fate)


# Where the two programs begin to differ.

def _form(d):
    """The rule for a reply of unusual form, if any."""
    if d.kind == "tolerable":
        return None if d.detail in _SAME_FORMS else "skipped lines"
    return {"broken": "broken reply", "extra": "extra reply"}.get(d.kind)


def _by_reset(d):
    """QUIT could not be written."""
    other = {"greeting": 220, "hello": 250, "HELO": 250}     # where qmail takes no other reply
    last_word = d.code // 100 >= 4 or d.moment == "END" or d.code != other.get(d.moment, d.code)
    return "QUIT" if d.kind == "then" and d.detail == "rst" and last_word else None


def _at_greeting(script, d):
    if d.kind == "then" and d.code == 220:
        return "new connection"     # it has closed the connection at EHLO
    return _form(d) or _by_reset(d)


def _at_hello(script, d):
    if d.moment == "HELO":
        return "EHLO"
    if d.kind == "size":
        return "SIZE"
    if d.kind == "recipients":
        return "RCPTMAX" if script.recipients > 2 else None
    if d.moment == "EHLO":
        return _at_ehlo(d)
    if d.kind in ("silent", "cut", "broken") or (d.kind == "then" and script.once and d.code not in (250, 421)):
        return "new connection"
    return _form(d) or (_by_reset(d) if d.code != 250 else None)


def _at_ehlo(d):
    if d.kind == "extra":
        return "extra reply"
    if d.kind == "then" or (d.kind == "code" and d.code // 100 in (2, 3)):
        return "EHLO"
    return "EHLO 421" if d.code == 421 else "EHLO" if d.kind in ("tolerable", "broken", "cut", "silent") else None


def _sends_parameters(script):
    return script.offered("SIZE") or (script.offered("8BITMIME") and max(script.message, default=0) > 127)


_ABOUT_AUTHENTICATION = (530, 534, 535, 538)


def _at_mail(script, d):
    if d.kind == "parameters":
        return None if d.code in _WITHOUT_PARAMETERS else "parameters"
    if d.kind == "then" and d.code in _WITHOUT_PARAMETERS and _sends_parameters(script):
        return "parameters"
    if d.code // 100 in (1, 3) and d.kind in ("code", "then", "noise", "tolerable"):
        return "class of reply"
    if d.code in _ABOUT_AUTHENTICATION:
        return "530"
    return _form(d) or _by_reset(d)


def _in_group(script):
    return script.offered("PIPELINING")


def _at_rcpt(script, d):
    if d.code // 100 in (1, 3) and d.kind in ("code", "then", "noise", "tolerable"):
        return "class of reply"
    if d.code in _ABOUT_AUTHENTICATION:
        return "530"
    if d.code == 503 and _in_group(script) and not d.enhanced.startswith("5.7"):
        return "503"
    if d.code == 552 and d.recipient > 0:
        return "552"
    return _form(d) or _by_reset(d) or _lost(script, d)


def _lost(script, d):
    return "lost in a group" if d.kind in ("cut", "then", "silent") and _in_group(script) else None


def _at_data(script, d):
    if d.code // 100 < 4 and d.code != 354 and d.kind in ("code", "then", "noise", "tolerable"):
        return "class of reply"
    if d.code == 503 and _in_group(script) and not d.enhanced.startswith("5.7"):
        return "503"
    if d.kind == "then" and d.code == 354:
        return "end before mail data"
    return _form(d) or _by_reset(d) or _lost(script, d)


def _at_end(script, d):
    if d.code // 100 in (1, 3) and d.kind in ("code", "then", "noise", "tolerable"):
        return "class of reply"
    return _form(d) or _by_reset(d)


_AT = {"greeting": _at_greeting, "hello": _at_hello, "EHLO": _at_hello, "HELO": _at_hello, "MAIL": _at_mail,
       "RCPT": _at_rcpt, "DATA": _at_data, "END": _at_end, "QUIT": lambda script, d: None}


def _has_cr(script):
    return re.search(rb"\r(?!\n)", script.message)


def _has_no_line_end(script):
    return script.message[-1:] not in (b"", b"\n")


def partings(script):
    """(rule name, deviation) for each place at which the two may begin to differ."""
    told = not _has_no_line_end(script)
    for d in script.deviations:
        if d.moment == "END" and not told:
            told = True
            yield "no line end", None
        if d.kind == "first only":
            if _in_group(script):
                yield "group", d
            continue
        if d.moment == "body":
            yield "end before mail data", d
            continue
        name = _AT[d.moment](script, d)
        if name:
            yield name, d
    if not told:
        yield "no line end", None
    if _has_cr(script):
        yield "CR", None


def _of_text(script, ours, theirs):
    """Why a reply is reported differently."""
    if any(b"?" in mine or b"\n\n" in other for mine, other in zip(ours.replies, theirs.replies)):
        return _BY_NAME["text"]
    if script.once and ours.connections > theirs.connections:
        return _BY_NAME["new connection"]
    # One of the two has taken one reply for another.
    return next((_BY_NAME[n] for n, d in partings(script) if d and d.kind in ("extra", "tolerable", "broken")), None)


def explain(script, ours, theirs, difference):
    """The rule for a difference, or None."""
    if difference.kind == "bytes":
        if b"\r" in script.message:
            return _BY_NAME["CR"]
        return _BY_NAME["no line end"] if _has_no_line_end(script) else None
    if difference.kind == "text":
        return _of_text(script, ours.first, theirs.first)
    first = _first(ours, theirs) or (ours.tries[-1], theirs.tries[-1])
    right = [_BY_NAME[name] for name, d in partings(script) if _BY_NAME[name].ours(script, d, *first)]
    # What is right in any case explains only what nothing else does.
    return next((r for r in right if r.ours is not _any), right[0] if right else None)
