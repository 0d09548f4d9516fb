# SPDX-License-Identifier: ISC
"""The same messages through Postfix's and Exim's own clients, to the same server; started by ./bench --clients.

They are unpacked by test/integration/fetch_servers.sh, and not installed. The messages are in their queue when the time
begins, as they are in qmail's.
"""

import os
import smtplib
import socket
import subprocess
import time

import measure
import realservers
import scale
import streams
import workloads

N = 1000
AT_ONCE = 20
DELAY = 20          # milliseconds
PORT = 10025        # at which they take mail; 25 is the server's on all addresses

NOTES = f"""\
{N} small messages to one relay, {AT_ONCE} at a time, which takes {DELAY} ms for each reply.
  wall        seconds until the server has taken the last message
  CPU         milliseconds of all processes of the mail system for a message, its queue included; ours are the processes
              that qmail-rspawn starts, without qmail-send
  Exim        {AT_ONCE} queue runners; it has noted before which messages wait for the relay
"""

HEAD = f"{'':40}{'wall s':>8}{'CPU ms':>8}{'connections':>12}{'sink ms':>8}"


def cpu_seconds(pid):
    """Of a process, its descendants, and those of them that have been waited for."""
    total = 0
    for one in [pid, *measure.descendants(pid)]:
        try:
            with open(f"/proc/{one}/stat", encoding="ascii") as f:
                total += sum(map(int, f.read().rpartition(")")[2].split()[11:15]))
        except FileNotFoundError:
            pass
    return total / os.sysconf("SC_CLK_TCK")


def answers(address):
    with socket.socket() as s:
        return s.connect_ex((address, PORT)) == 0


def leave_out(f, text):
    """Lines with it; what is written then follows the others."""
    lines = [line for line in f if text not in line]
    f.seek(0)
    f.truncate()
    f.writelines(lines)


def start(server, program, *arguments, **how):
    """A program of the server, among its users and files."""
    root = realservers.fetched(server.name)
    libraries = realservers.library_path(root).replace(root, server.root)
    return subprocess.Popen(["nsenter", "-t", str(server.process.pid), "-m", f"{server.root}/{program}", *arguments],
                            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": libraries}, **how)


class Postfix(realservers.Postfix):
    """With relay and queue; `reuse` is its own default in clear text, and an option in TLS."""

    addresses = ("127.0.0.1",)
    ready = staticmethod(answers)

    def __init__(self, certs, tls, reuse):
        self.tls, self.reuse = tls, reuse
        super().__init__(certs)

    def configure(self):
        arguments = super().configure()
        with open(f"{self.folder}/etc/master.cf", "r+", encoding="ascii") as f:
            leave_out(f, " inet ")
            f.write(f"127.0.0.1:{PORT} inet n - n - - smtpd\n"
                    "smtp unix - - n - - smtp\n"
                    "scache unix - - n - 1 scache\n"
                    "tlsproxy unix - - n - 0 tlsproxy\n")
        yes = "yes" if self.reuse else "no"
        with open(f"{self.folder}/etc/main.cf", "r+", encoding="utf-8") as f:
            leave_out(f, "smtpd_relay_restrictions")
            f.write(f"""\
relayhost = [{measure.SERVER}]
disable_dns_lookups = yes
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_restrictions = static:HOLD
smtp_tls_security_level = {"may" if self.tls else "none"}
smtp_connection_cache_on_demand = {yes}
smtp_tls_connection_reuse = {yes}
smtp_destination_concurrency_limit = {AT_ONCE}
initial_destination_concurrency = {AT_ONCE}
""")
        return arguments

    def fill(self, message):
        with smtplib.SMTP("127.0.0.1", PORT, timeout=realservers.PATIENCE) as client:
            for i in range(N):
                client.sendmail("a@src.example", f"b{i}@dst.example", message)
        start(self, "usr/sbin/postsuper", "-c", f"{self.folder}/etc", "-H", "ALL", stderr=subprocess.DEVNULL).wait()

    def go(self):
        """What postqueue -f tells the queue manager."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{self.folder}/queue/public/qmgr")
            s.sendall(b"FAD")

    def cpu(self):
        return cpu_seconds(self.process.pid)


class Exim(realservers.Exim):
    """With queue runners. It may send several messages over one connection, but with several runners it does not."""

    addresses = ("127.0.0.1",)
    ready = staticmethod(answers)

    def __init__(self, certs, tls, _):
        self.tls = tls
        super().__init__(certs)

    def configure(self):
        self.conf = realservers._write(f"{self.folder}/etc/exim.conf", f"""\
{realservers.exim_settings(self)}daemon_smtp_ports = {PORT}
queue_smtp_domains = *
smtp_accept_queue_per_connection = 0
acl_not_smtp = accept
remote_max_parallel = {AT_ONCE}

begin acl
rcpt:
    accept

begin routers
relay:
    driver = manualroute
    transport = relay
    route_list = * {measure.SERVER}

begin transports
relay:
    driver = smtp
    hosts_avoid_tls = {"" if self.tls else "*"}
    hosts_try_dane =
    hosts_noproxy_tls =
    connection_max_messages = 100

begin retry
* * F,1h,1m
""")
        return ["-C", self.conf, "-bdf"]

    def fill(self, message):
        text = b"".join(b"MAIL FROM:<a@src.example>\nRCPT TO:<b%d@dst.example>\nDATA\n%s\n.\n" % (i, message.strip())
                        for i in range(N))
        start(self, self.program, "-C", self.conf, "-odi", "-bS", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL).communicate(text)
        self.runners = []

    def go(self):
        self.runners = [start(self, self.program, "-C", self.conf, "-qf", stdin=subprocess.DEVNULL) for _ in range(AT_ONCE)]

    def cpu(self):
        """Of the runners, which are our children; they must have ended."""
        for runner in self.runners:
            runner.wait()
        now = os.times()
        return now.children_user + now.children_system


def print_line(name, wall, cpu, connections, sink):
    print(f"{name:40}{wall:8.2f}{cpu:8.2f}{connections:12}{sink:8.2f}", flush=True)


def show_client(w, kind, tls, reuse):
    server = kind(w.certificates, tls, reuse)
    try:
        with open(w.message(workloads.SMALL), "rb") as f:
            server.fill(f.read())
        before, cpu, began = w.sink.counters(), server.cpu(), time.monotonic()
        server.go()
        w.sink.await_counter("messages", before["messages"] + N)
        wall = time.monotonic() - began
        cpu = (server.cpu() - cpu) * 1000 / N
    except (OSError, smtplib.SMTPException, subprocess.CalledProcessError, measure.Failed) as e:
        raise measure.Failed(f"{e}\n{server.said()}") from None
    finally:
        server.stop()
    w.sink.await_counter("open", 0)
    after = w.sink.counters()
    text = "" if kind is Exim else f", {'with reuse' if reuse else 'without'}"
    print_line(f"    {kind.name}{text}", wall, cpu,
               after["sessions"] - before["sessions"], (after["cpu_us"] - before["cpu_us"]) / 1000 / N)


def show_ours(w, program, tls, idle):
    mailer = scale.variant(w, program, tls, idle)
    its = streams.run(mailer, scale.relayed(w, tls, DELAY, AT_ONCE, N), w)
    print_line(f"    ours, {'with reuse' if idle else 'without'}", its.wall, its.cpu, its.sessions, its.sink)


def show(w, program):
    """All kinds, in clear text and in TLS."""
    streams.own_state(w, [program])
    print(NOTES)
    print(HEAD)
    for tls in (False, True):
        print("TLS" if tls else "clear")
        for reuse in (True, False):
            scale.relayed(w, tls, DELAY, AT_ONCE, N)
            streams.try_show(lambda t=tls, r=reuse: show_ours(w, program, t, "60\n" if r else None), "    ours")
        for kind, reuse in ((Postfix, True), (Postfix, False), (Exim, True)):
            try:
                streams.try_show(lambda k=kind, t=tls, r=reuse: show_client(w, k, t, r), f"    {kind.name}")
            except realservers.Missing as e:
                print(f"    {kind.name}: {e}")
