"""Many messages at once, as qmail-send has them delivered: each arrives once, and what was said of it can be read."""

import collections
import os
import random
import re
import select
import signal
import threading

from crowd import SENDER, Crowd, is_readable
from qmailsend import Queue

MAX_PASSES = 12


def message_for(recipient):
    return f"To: {recipient}\n\nhello {recipient}\n".encode()


def run_until_empty(queue):
    for _ in range(MAX_PASSES):
        queue.run()
        if not queue.waiting:
            return
    raise AssertionError([m.results for m in queue.waiting])


def test_two_hundred_messages_to_servers_that_die_refuse_and_defer(home, smtp, dns):
    crowd = Crowd(smtp, dns)
    queue = Queue(home)
    for recipient in crowd.recipients():
        queue.put(SENDER, recipient, message_for(recipient))
    run_until_empty(queue)

    arrived = crowd.arrived()
    for recipient in crowd.recipients():
        said = crowd.bounce_of(recipient)
        assert arrived[recipient] == (0 if said else 1), recipient
        assert (recipient in queue.bounces) == bool(said), recipient
        if said:
            bounce = queue.bounces[recipient]
            assert bounce.startswith(f"<{recipient}>:\n192.0.2.") or bounce.startswith(
                f"<{recipient}>:\nConnected to 192.0.2."), bounce
            assert f"Remote host said: {said}\n" in bounce and is_readable(bounce), bounce
    for line in queue.log:
        assert re.fullmatch(r"(starting )?delivery \d+: (msg|success|deferral|failure)[!-~ ]*", line), line
        assert is_readable(line)
    reasons = collections.Counter(re.sub(r"^delivery \d+: |/.*", "", line) for line in queue.log)
    assert reasons["deferral: 192.0.2.4_does_not_like_recipient."] == 25, reasons


def test_nothing_is_lost_if_it_is_killed_at_random(home, smtp, dns):
    """A message that was killed behind the end of its mail data may arrive twice; none may fail to arrive."""
    server = smtp()
    dns.zone("dst.example A 192.0.2.1")
    killed = []
    chance = random.Random(1)

    def kill_half(process):
        """While a delivery may still be under way: the descriptor keeps its number from being used again."""
        if chance.random() < 0.5:
            return
        pidfd, delay = os.pidfd_open(process.pid), chance.uniform(0, 0.03)

        def kill():
            if not select.select([pidfd], [], [], delay)[0]:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                killed.append(process.pid)
            os.close(pidfd)

        threading.Thread(target=kill).start()

    queue = Queue(home, meddle=kill_half)
    recipients = [f"u{n}@dst.example" for n in range(100)]
    for recipient in recipients:
        queue.put(SENDER, recipient, message_for(recipient))
    run_until_empty(queue)

    server.settle()
    count = collections.Counter(mail.recipients[0].strip(b"<>").decode()
                                for session in server.sessions for mail in session.mails if mail.complete)
    assert set(count) == set(recipients) and not queue.bounces
    assert killed and any("qmail-remote_crashed" in line for line in queue.log)
    assert sum(count.values()) <= len(recipients) + len(killed)
