"""What qmail-send makes of the reports of deliveries: log lines, another try, a bounce."""

import concurrent.futures
import threading

import rspawn


def bounce_text(recipient, text):
    """What qmail-send writes into a bounce for a recipient; `text` is that of the failure."""
    said = text.decode("latin-1")
    if said and not said.endswith("\n"):
        said += "\n"
    lines = list(f"<{recipient}>:\n{said}")
    for at in range(len(lines) - 2, 0, -1):
        if lines[at] == lines[at - 1] == "\n":
            lines[at] = "/"
    return "".join(lines) + "\n"


class Message:
    def __init__(self, number, sender, recipient, path):
        self.number, self.sender, self.recipient, self.path = number, sender, recipient, path
        self.results = []       # of each delivery

    @property
    def host(self):
        return self.recipient.rpartition("@")[2]


class Queue:
    """Messages with one recipient each, and deliveries of them, so many at a time."""

    def __init__(self, home, concurrency=20, meddle=None):
        """`meddle` is called with each delivery that was started."""
        self.home, self.concurrency, self.meddle = home, concurrency, meddle
        self.waiting, self.log, self.bounces = [], [], {}
        self.deliveries, self.last_number = 0, 100
        self.lock = threading.Lock()

    def put(self, sender, recipient, data):
        number = self.last_number = self.last_number + 1
        path = f"{self.home.path}/queue/mess/{number}"
        with open(path, "wb") as f:
            f.write(data)
        self.waiting.append(Message(number, sender, recipient, path))

    def _begin(self, message):
        with self.lock:
            self.deliveries += 1
            self.log.append(f"starting delivery {self.deliveries}: msg {message.number} to remote {message.recipient}")
            return self.deliveries

    def _deliver(self, message):
        number = self._begin(message)
        process = self.home.start(message.host, message.sender, message.recipient, message.path)
        if self.meddle:
            self.meddle(process)
        result = process.finish().rspawn
        with self.lock:
            message.results.append(result)
            self.log.append(rspawn.send_log_line(result, number))
            if result[:1] == b"D":
                self.bounces[message.recipient] = bounce_text(message.recipient, result[1:])

    def run(self):
        """Try each message that waits once; those that were deferred go on waiting."""
        with concurrent.futures.ThreadPoolExecutor(self.concurrency) as pool:
            list(pool.map(self._deliver, self.waiting))
        self.waiting = [m for m in self.waiting if m.results[-1][:1] == b"Z"]
