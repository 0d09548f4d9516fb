"""Old bugs that no other test here would notice."""

import signal

from expect import accepted, check
from smtpd import Call


def test_signals_that_qmail_rspawn_leaves(home, relay):
    """qmail-rspawn blocks SIGCHLD for its children: who waits for a child of his own with it would wait for ever."""
    seen = []

    def look(session):
        with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
            mask = {name: int(value, 16) for name, value in (line.split(":") for line in f) if name.startswith("Sig")
                    and "/" not in value}
        seen.append((mask["SigBlk"], mask["SigIgn"] & 1 << signal.SIGCHLD - 1))
        return "250 ok"

    relay(EHLO=Call(look), MAIL=Call(look))
    process = home.start()
    check(process.finish(), "r", accepted())
    assert seen == [(0, 0), (0, 0)]
