"""Real servers, unpacked by fetch_servers.sh, each in mount and process namespaces of its own.

Nothing of the machine is touched, and nothing outlives the test process: the kernel ends all processes of
a server with the first of them, and that one with us. Configuration, queue and log are in /srv/real/NAME.

Each mail server listens in several roles, over IPv4 and IPv6: `clear` without STARTTLS, `tls` with a good
certificate, `tls12` with TLS 1.2 and no more, `wrong` with a certificate for another name. Postfix and Exim
ask for a client certificate there. Mail for ROLE-v4.NAME.example has an MX with only an IPv4 address, ROLE-v6 one with IPv6.
"""

import ctypes
import functools
import glob
import os
import re
import select
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import time

import dns.exception
import dns.message
import dns.query
import pytest

import pki

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FETCHED = os.environ.get("SERVERS_DIR") or f"{TOP}/build/servers"
BASE = "/srv/real"
PATIENCE = 20.0         # seconds that a server gets to start, and for a delivery to its mailbox

RESOLVER = "127.0.0.53"
RESOLVER6 = "2001:db8::53"
AUTHORITY = "127.0.0.54"
DEAD = "127.0.0.55"     # nothing answers there

CLEAR, TLS, TLS12, WRONG = ROLES = ("clear", "tls", "tls12", "wrong")
LIMIT = 12 << 20        # bytes of a message that the mail servers take
BOXES = 200             # mailboxes that a server knows

_USERS = {"postfix": 64101, "Debian-exim": 64102, "opensmtpd": 64103, "opensmtpq": 64104, "vmail": 64105,
          "dovecot": 64107, "dovenull": 64108}
_POSTDROP = 64106


class Missing(Exception):
    """The server is not here; the text says why."""


class Unfit(Missing):
    """The server cannot run here."""


_started = {}


def start(kind, *args):
    """The server of this class, started once in this process; the test is skipped where there is none."""
    if kind not in _started:
        try:
            _started[kind] = kind(*args)
        except Exception as e:
            _started[kind] = e
    found = _started[kind]
    if isinstance(found, Missing):
        if os.environ.get("CI") == "true" and not isinstance(found, Unfit):
            pytest.fail(str(found))
        pytest.skip(str(found))
    if isinstance(found, Exception):
        raise found
    return found


def stop_all():
    for server in _started.values():
        if not isinstance(server, Exception):
            server.stop()
    _started.clear()


def fetched(name):
    """The root of an unpacked server."""
    root = f"{FETCHED}/{name}/root"
    if os.path.isdir(root):
        return root
    try:
        with open(f"{FETCHED}/{name}.missing", encoding="utf-8") as f:
            why = f.read().strip()
    except FileNotFoundError:
        why = "test/integration/fetch_servers.sh fetches it"
    raise Missing(f"no {name}: {why}")


def _needs_users(name):
    """Servers that give up root need users to become."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([_POSTDROP])
            os.setresgid(_POSTDROP, _POSTDROP, _POSTDROP)
            os.setresuid(_USERS["vmail"], _USERS["vmail"], _USERS["vmail"])
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(pid, 0)[1] != 0:
        raise Unfit(f"{name} runs under several users, which takes real root")


def _write(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def _folder(path, user=None, mode=0o755, group=None):
    os.makedirs(path, exist_ok=True)
    os.chmod(path, mode)
    if user:
        os.chown(path, _USERS[user], _USERS[user] if group is None else group)
    return path


def answers(address, zone_name):
    """The server knows this zone."""
    question = dns.message.make_query(zone_name, "SOA")
    try:
        return bool(dns.query.tcp(question, address, timeout=PATIENCE).answer)
    except (OSError, EOFError, dns.exception.DNSException):
        return False


_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def library_path(root):
    """Where the libraries below this root are."""
    return ":".join(sorted({os.path.dirname(p) for p in glob.glob(f"{root}/**/*.so*", recursive=True)}))


class Daemon:
    """A server in the foreground. A subclass sets what is empty here and writes its configuration."""

    name = ""
    unpacked = ""               # the name that fetch_servers.sh gives it, if it is another
    program = ""                # below the root
    users = False               # it changes to other users
    addresses = ()              # it is ready when it answers on each of these

    # The machine's folders that the server must have for itself.
    private = ()

    def __init__(self):
        root = fetched(self.unpacked or self.name)
        if self.users:
            _needs_users(self.name)
        self.folder = f"{BASE}/{self.name}"
        self.root = f"{self.folder}/root"
        shutil.rmtree(self.folder, ignore_errors=True)
        _folder(BASE)
        for part in ("", "/root", "/etc", "/mail"):
            _folder(self.folder + part)
        self.log = f"{self.folder}/log"
        self._surroundings()
        arguments = self.configure()

        libraries = library_path(root).replace(root, self.root)
        with open(f"{self.folder}/output", "wb") as output:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "unchanged", "--pid", "--fork", "--kill-child",
                 "sh", "-ec", self._setup(root), "sh", f"{self.root}/{self.program}", *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd="/",
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": libraries},
                preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
        self._wait()

    def configure(self):
        """Write the configuration; returns the arguments of the program."""
        raise NotImplementedError

    def prepare(self):
        """Shell commands that run in the server's own mount namespace, before it."""
        return ""

    def ready(self, address):
        """A connection to port 25 can be made."""
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
            return s.connect_ex((address, 25)) == 0

    def _surroundings(self):
        passwd = "root:x:0:0::/:/bin/sh\n" + "".join(
            f"{n}:x:{i}:{i}::/:/bin/sh\n" for n, i in _USERS.items())
        group = "root:x:0:\n" + "".join(f"{n}:x:{i}:\n" for n, i in _USERS.items())
        _write(f"{self.folder}/etc/passwd", passwd)
        _write(f"{self.folder}/etc/group", group + f"postdrop:x:{_POSTDROP}:\n")
        _write(f"{self.folder}/etc/resolv.conf", f"nameserver {RESOLVER}\n")

    def _setup(self, root):
        lines = [f"mount --bind '{root}' {self.root}"]
        lines += [f"mount --bind {self.folder}/etc/{f} /etc/{f}" for f in ("passwd", "group", "resolv.conf")]
        lines += [f"mount -t tmpfs -o mode=755 tmpfs {path}" for path in self.private]
        return "\n".join(lines) + "\n" + self.prepare() + '"$@" &\nwait $!\n'

    def _wait(self):
        deadline = time.monotonic() + PATIENCE
        waiting = list(self.addresses)
        ended = os.pidfd_open(self.process.pid)
        try:
            while waiting:
                if self.ready(waiting[0]):
                    waiting.pop(0)
                    continue
                # Nobody tells when a port opens: ask again soon, but notice at once that it never will.
                if select.select([ended], [], [], 0.01)[0] or time.monotonic() > deadline:
                    raise AssertionError(f"{self.name} does not answer on {waiting}:\n{self.said()}")
        except AssertionError:
            self.stop()
            raise
        finally:
            os.close(ended)

    def said(self):
        """The end of what the server wrote to its log and its output."""
        text = ""
        for path in sorted({self.log, f"{self.folder}/output", *glob.glob(f"{self.folder}/logs/*")}):
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    text += f.read()
        return "".join(text.splitlines(keepends=True)[-40:])

    def stop(self):
        self.process.kill()
        self.process.wait()


# The mailboxes.

_IN_CREATE_OR_MOVED_TO = 0x180


class Mailbox:
    """A maildir of a server, for one test."""

    def __init__(self, server, user):
        self.server, self.user = server, user
        path = f"{server.folder}/mail/{user}"
        for part in ("", "/tmp", "/new", "/cur"):
            _folder(path + part, server.mail_user)
        self.new = f"{path}/new"
        self._notify = _libc.inotify_init1(os.O_CLOEXEC)
        if _libc.inotify_add_watch(self._notify, self.new.encode(), _IN_CREATE_OR_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def close(self):
        os.close(self._notify)

    def count(self):
        return len(os.listdir(self.new))

    def take(self):
        """Wait for a message; returns it as it was stored, and removes it."""
        deadline = time.monotonic() + PATIENCE
        while not self.count():
            if not select.select([self._notify], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{self.server.name} delivered nothing to {self.user}:\n{self.server.said()}")
            os.read(self._notify, 65536)
        path = f"{self.new}/{sorted(os.listdir(self.new))[0]}"
        with open(path, "rb") as f:
            stored = f.read()
        os.unlink(path)
        return stored


_ADDED = re.compile(rb"(?:(?:Return-Path|X-Original-To|Delivered-To|Received):.*\n(?:[ \t].*\n)*)+", re.IGNORECASE)


def added(stored, message):
    """The headers that the server put in front of this message, which must follow to the byte."""
    at = len(stored) - len(message)
    head, rest = stored[:max(at, 0)], stored[max(at, 0):]
    # Not `==` in the assertion: pytest would explain the difference of megabytes.
    same = rest == message
    assert same, f"stored {stored[:2000]!r}, {len(stored)} bytes, not ending in {message[:500]!r}, {len(message)} bytes"
    assert _ADDED.fullmatch(head), f"in front of the message: {head!r}"
    return re.sub(rb"\n[ \t]+", b" ", head).decode("latin-1")


# The mail servers.

class MailServer(Daemon):
    users = True
    mail_user = "vmail"
    number = 0          # the addresses' last part begins with it
    roles = ROLES
    longest = 0         # bytes of a line that it takes
    shortens = False    # it cuts a line at a NUL
    can_do_tls = True
    needs_body = False  # it ends the header with an empty line where nothing follows

    def __init__(self, certs):
        self.certs = certs
        self.boxes = []
        super().__init__()

    @classmethod
    def address(cls, role, family):
        last = cls.number * 10 + ROLES.index(role)
        return f"198.51.100.{last}" if family == 4 else f"2001:db8::5:{last}"

    @classmethod
    def domain(cls, role, family):
        return f"{role}-v{family}.{cls.name}.example"

    @classmethod
    def host(cls, role, family):
        return f"mx.{cls.domain(role, family)}"

    @classmethod
    def everywhere(cls):
        """All of (role, family)."""
        return [(role, family) for role in cls.roles for family in (4, 6)]

    def sender(self, head):
        """The envelope's sender, as the headers in front of a message tell it."""
        found = re.search(r"^Return-Path: ?<(.*)>$|^Received: .*\(envelope-from <([^>]*)>\)", head, re.MULTILINE)
        return (found[1] or found[2] or "") if found else ""

    @property
    def addresses(self):
        return [self.address(*where) for where in self.everywhere()]

    def of(self, *roles):
        """The addresses of these roles."""
        return [self.address(role, family) for role in roles for family in (4, 6)]

    def domains(self):
        return [self.domain(*where) for where in self.everywhere()]

    def leaves(self):
        """The good certificate and the wrong one."""
        good = pki.make(self.name, self.certs.intermediate, chain=[self.certs.intermediate],
                        names=[self.host(*where) for where in self.everywhere()])
        return good, self.certs.leaf("wrong-name")

    def certificates(self):
        """Key and chain of both certificates, as files that servers read: key, chain, both."""
        out = []
        for kind, leaf in zip(("good", "wrong"), self.leaves()):
            paths = []
            for what, data, mode in (("key", leaf.key_pem, 0o600), ("chain", leaf.chain_pem, 0o644),
                                     ("both", leaf.key_pem + leaf.chain_pem, 0o600)):
                path = self.certs.write(f"{self.name}-{kind}.{what}", data, mode)
                if self.mail_user != "vmail":
                    os.chown(path, _USERS[self.mail_user], 0)
                paths.append(path)
            out.append(paths)
        return out

    def mailbox(self):
        assert len(self.boxes) < BOXES
        box = Mailbox(self, f"box{len(self.boxes) + 1}")
        self.boxes.append(box)
        return box


class Postfix(MailServer):
    """Each mailbox has a second name, in UTF-8, in a domain of A-labels that has the servers of `clear`, IPv4."""

    international = "xn--bcher-kva.postfix.example"
    name = "postfix"
    program = "usr/lib/postfix/sbin/master"
    number = 2
    longest = 1000000

    def configure(self):
        etc, queue = f"{self.folder}/etc", f"{self.folder}/queue"
        good, wrong = self.certificates()
        _folder(queue)
        for name in ("incoming", "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "private",
                     "saved", "trace"):
            _folder(f"{queue}/{name}", "postfix", 0o700)
        _folder(f"{queue}/pid")
        _folder(f"{queue}/public", "postfix", 0o710, _POSTDROP)
        _folder(f"{queue}/maildrop", "postfix", 0o730, _POSTDROP)
        _folder(f"{self.folder}/data", "postfix", 0o700)
        tls = ["smtpd_tls_security_level=may", "smtpd_tls_ask_ccert=yes", "smtpd_tls_received_header=yes",
               f"smtpd_tls_CAfile={self.certs.bundle}"]
        options = {
            "clear": [],
            "tls": tls + [f"smtpd_tls_chain_files={good[2]}"],
            "tls12": tls + [f"smtpd_tls_chain_files={good[2]}", "smtpd_tls_protocols=!SSLv2,!SSLv3,!TLSv1,!TLSv1.1,!TLSv1.3"],
            "wrong": tls + [f"smtpd_tls_chain_files={wrong[2]}"],
        }
        master = []
        for role, family in self.everywhere():
            address = self.address(role, family)
            shown = f"[{address}]" if family == 6 else address
            words = "".join(f" -o {o}" for o in options[role])
            master.append(f"{shown}:25 inet n - n - - smtpd{words}")
        # NAME TYPE PRIVATE UNPRIVILEGED CHROOT WAKEUP LIMIT COMMAND
        master += ["cleanup unix n - n - 0 cleanup",
                   "qmgr unix n - n 300 1 qmgr",
                   "tlsmgr unix - - n 1000? 1 tlsmgr",
                   "rewrite unix - - n - - trivial-rewrite",
                   "bounce unix - - n - 0 bounce",
                   "defer unix - - n - 0 bounce",
                   "trace unix - - n - 0 bounce",
                   "proxymap unix - - n - - proxymap",
                   "error unix - - n - - error",
                   "retry unix - - n - - error",
                   "virtual unix - n n - - virtual",
                   "anvil unix - - n - 1 anvil",
                   "postlog unix-dgram n - n - 1 postlogd"]
        _write(f"{etc}/master.cf", "\n".join(master) + "\n")
        _write(f"{etc}/boxes", "".join(
            f"box{n}@{domain} box{n}/\n" for n in range(1, BOXES + 1) for domain in self.domains())
            + "".join(f"boîte{n}@{self.international} box{n}/\n" for n in range(1, BOXES + 1)))
        _write(f"{etc}/access", "/^later@/ 450 4.2.1 come back later\n")
        _write(f"{etc}/main.cf", f"""\
compatibility_level = 3.6
config_directory = {etc}
queue_directory = {queue}
data_directory = {self.folder}/data
daemon_directory = {self.root}/usr/lib/postfix/sbin
command_directory = {self.root}/usr/sbin
shlib_directory = {self.root}/usr/lib/postfix
meta_directory = {etc}
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
maillog_file = {self.log}
maillog_file_prefixes = {BASE}
default_privs = vmail
myhostname = postfix.example
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
alias_database =
virtual_mailbox_domains = {" ".join(self.domains() + [self.international])}
virtual_mailbox_base = {self.folder}/mail
virtual_mailbox_maps = texthash:{etc}/boxes
virtual_uid_maps = static:{_USERS["vmail"]}
virtual_gid_maps = static:{_USERS["vmail"]}
virtual_mailbox_limit = 0
message_size_limit = {LIMIT}
local_header_rewrite_clients =
smtpd_peername_lookup = no
smtpd_soft_error_limit = 500
smtpd_hard_error_limit = 1000
smtpd_relay_restrictions = check_recipient_access regexp:{etc}/access, reject_unauth_destination
""")
        return ["-c", etc]


def exim_settings(server):
    """What each Exim has: where its files are, and that it asks nobody about clients."""
    for name in ("spool", "logs", "mail"):
        _folder(f"{server.folder}/{name}", server.mail_user)
    return f"""\
exim_user = {server.mail_user}
exim_group = {server.mail_user}
primary_hostname = exim.example
spool_directory = {server.folder}/spool
log_file_path = {server.folder}/logs/%slog
pid_file_path = {server.folder}/spool/pid
local_interfaces = <; {" ; ".join(server.addresses)}
never_users =
keep_environment = LD_LIBRARY_PATH
deliver_drop_privilege = true
host_lookup =
rfc1413_query_timeout = 0s
check_spool_space = 0
check_log_space = 0
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
"""


def exim_mailboxes(server, domains):
    """The last part of its configuration: mail for local parts that have a folder."""
    return f"""
begin routers
box:
    driver = accept
    domains = {domains}
    local_parts = dsearch,filter=dir;{server.folder}/mail
    transport = box

begin transports
box:
    driver = appendfile
    directory = {server.folder}/mail/$local_part_data
    maildir_format
    mode = 0644
    message_prefix =
    message_suffix =
    check_string =
    escape_string =
"""


class Exim(MailServer):
    name = "exim"
    program = "usr/sbin/exim4"
    number = 3
    mail_user = "Debian-exim"
    needs_body = True
    longest = 1000000

    def configure(self):
        good, wrong = self.certificates()

        def here(roles, yes, no):
            return "${if inlist{$received_ip_address}{<; " + ";".join(self.of(*roles)) + "}{" + yes + "}{" + no + "}}"

        conf = _write(f"{self.folder}/etc/exim.conf", f"""\
{exim_settings(self)}daemon_smtp_ports = 25
message_size_limit = {LIMIT}
tls_advertise_hosts = {here(["clear"], "", "*")}
tls_certificate = {here(["wrong"], wrong[1], good[1])}
tls_privatekey = {here(["wrong"], wrong[0], good[0])}
tls_require_ciphers = {here(["tls12"], "NORMAL:-VERS-TLS1.3", "NORMAL")}
tls_try_verify_hosts = *
tls_verify_certificates = {self.certs.bundle}
received_header_text = Received: from $sender_helo_name (envelope-from <$sender_address>) \\
    with $received_protocol ${{if def:tls_in_ver{{(using $tls_in_ver with cipher $tls_in_cipher_std)\\
    ${{if def:tls_in_peerdn{{(Client $tls_in_peerdn verified $tls_in_certificate_verified)}}{{(Client none)}}}}}}}} \\
    id $message_exim_id

begin acl
rcpt:
    defer local_parts = later
        message = 4.2.1 come back later
    require verify = recipient
    accept
{exim_mailboxes(self, " : ".join(self.domains()))}""")
        return ["-C", conf, "-bdf"]


class Opensmtpd(MailServer):
    name = "opensmtpd"
    program = "usr/sbin/smtpd"
    number = 4
    private = ("/var/spool", "/var/lib", "/run")
    shortens = True
    roles = ("clear", "tls", "wrong")   # before 7.0 it cannot be told to leave out a version of TLS
    longest = 65000

    def prepare(self):
        # It starts its helpers from there and from nowhere else.
        return (f"mount --bind {self.root}/usr/libexec /usr/libexec\n"
                "mkdir -p -m 711 /var/lib/opensmtpd/empty\n")

    def configure(self):
        good, wrong = self.certificates()
        listen = []
        for role, family in self.everywhere():
            words = {"clear": "", "tls": "tls pki good ca test", "wrong": "tls pki wrong ca test"}[role]
            listen.append(f'listen on {self.address(role, family)} {words} hostname opensmtpd.example filter later')
        conf = _write(f"{self.folder}/etc/smtpd.conf", f"""\
pki good cert "{good[1]}"
pki good key "{good[0]}"
pki wrong cert "{wrong[1]}"
pki wrong key "{wrong[0]}"
ca test cert "{self.certs.bundle}"
smtp max-message-size {LIMIT}
filter later phase rcpt-to match rcpt-to regex {{ "^<?later@" }} reject "450 4.2.1 come back later"
""" + "\n".join(listen) + f"""
action deliver maildir "{self.folder}/mail/%{{rcpt.user}}" virtual {{ "@" = vmail }}
match from any for rcpt-to regex {{ "^box[0-9]+@" }} action deliver
""", 0o600)
        return ["-d", "-f", conf]

    @functools.cached_property
    def can_do_tls(self):
        """Built with OpenSSL 3, it offers STARTTLS before 7.3 too, but no handshake ends well."""
        context = ssl.create_default_context(cafile=self.certs.bundle)
        with smtplib.SMTP(self.address("tls", 4)) as client:
            client._host = self.host("tls", 4)
            try:
                return client.starttls(context=context)[0] == 220
            except ssl.SSLError as e:
                assert "ALERT_INTERNAL_ERROR" in str(e), e
                client.close()
                return False


# The DNS.

_ZONE = """\
$TTL 60
@ IN SOA ns.example. root.example. 1 60 60 60 60
@ IN NS ns
"""


relays = []     # realrelays.py adds its classes


def zone():
    """The zone example., all that unbound knows itself."""
    lines = ["ns A " + RESOLVER, "plain.far MX 10 m.plain.nsd.example.",
             f"{Postfix.international}. MX 10 {Postfix.host(CLEAR, 4)}."]
    for server in (Postfix, Exim, Opensmtpd):
        for role, family in server.everywhere():
            kind = "A" if family == 4 else "AAAA"
            lines += [f"{server.domain(role, family)}. MX 10 {server.host(role, family)}.",
                      f"{server.host(role, family)}. {kind} {server.address(role, family)}"]
    lines += [line for server in relays for line in server.zone()]
    return _ZONE + "\n".join(lines) + "\n"


class Nsd(Daemon):
    """The authority of nsd.example."""

    name = "nsd"
    program = "usr/sbin/nsd"
    private = ("/var/lib",)
    addresses = (AUTHORITY,)

    def __init__(self, records):
        self.records = records
        super().__init__()

    def prepare(self):
        return "mkdir -p /var/lib/nsd\n"

    def ready(self, address):
        return answers(address, "nsd.example")

    def configure(self):
        _write(f"{self.folder}/etc/zone", _ZONE + f"ns A {AUTHORITY}\n" + self.records)
        return self.serve({"nsd.example": f"{self.folder}/etc/zone"})

    def serve(self, files):
        """Writes the configuration for the zones in these files; returns the arguments."""
        zones = "".join(f'zone:\n    name: "{zone}"\n    zonefile: "{path}"\n' for zone, path in files.items())
        conf = _write(f"{self.folder}/etc/nsd.conf", f"""\
server:
    server-count: 1
    ip-address: {self.addresses[0]}
    username: ""
    zonesdir: "{self.folder}"
    xfrdfile: "{self.folder}/xfrd.state"
    zonelistfile: "{self.folder}/zone.list"
    xfrdir: "{self.folder}"
    pidfile: ""
    rrl-ratelimit: 0
    logfile: "{self.log}"
remote-control:
    control-enable: no
{zones}""")
        return ["-d", "-c", conf]


class Unbound(Daemon):
    """The resolver, which knows example. and asks nsd for nsd.example, nobody for dead.example."""

    name = "unbound"
    program = "usr/sbin/unbound"
    addresses = (RESOLVER, RESOLVER6)

    def ready(self, address):
        return answers(address, "example")

    def configure(self):
        _write(f"{self.folder}/etc/zone", zone())
        self.conf = _write(f"{self.folder}/etc/unbound.conf", f"""\
server:
    directory: "{self.folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: "{self.log}"
    do-daemonize: no
    module-config: "iterator"
    interface: {RESOLVER}
    interface: {RESOLVER6}
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    do-not-query-localhost: no
    cache-max-ttl: 0
    extended-statistics: yes
    trust-anchor-signaling: no
    root-key-sentinel: no
remote-control:
    control-enable: yes
    control-interface: "{self.folder}/control"
    control-use-cert: no
auth-zone:
    name: "example."
    zonefile: "{self.folder}/etc/zone"
    for-downstream: no
    for-upstream: yes
stub-zone:
    name: "nsd.example."
    stub-addr: {AUTHORITY}
forward-zone:
    name: "dead.example."
    forward-addr: {DEAD}@9
    forward-tcp-upstream: yes
""")
        return ["-d", "-d", "-p", "-c", self.conf]

    def stats(self):
        """What `unbound-control stats` prints."""
        root = fetched(self.unpacked or self.name)
        return subprocess.run(
            [f"{root}/usr/sbin/unbound-control", "-c", self.conf, "stats_noreset"], check=True, text=True,
            stdout=subprocess.PIPE, env={"LD_LIBRARY_PATH": library_path(root)}).stdout

    def count(self, what):
        """A number of them, for instance num.query.tcp."""
        return int(float(re.search(rf"^{re.escape(what)}=(.*)$", self.stats(), re.MULTILINE)[1]))


class PolicyHost(Daemon):
    """Hosts of MTA-STS policies: mta-sts.KIND.NAME.example for each kind of site, all with one certificate."""

    sites = {}      # kind: what the server does with a request for the policy

    def __init__(self, certs, policy):
        self.certs, self.policy = certs, policy
        super().__init__()

    def host(self, kind):
        return f"mta-sts.{kind}.{self.name}.example"

    def zone(self):
        lines = [f'_mta-sts.{kind}.{self.name}.example TXT "v=STSv1; id=1;"' for kind in self.sites]
        for kind in self.sites:
            lines += [f"{self.host(kind)} A {self.addresses[0]}", f"{self.host(kind)} AAAA {self.addresses[1]}"]
        return "\n".join(lines)

    def ready(self, address):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
            return s.connect_ex((address, 443)) == 0

    def certificate(self):
        return pki.make(self.name, self.certs.intermediate, chain=[self.certs.intermediate],
                        names=[self.host(kind) for kind in self.sites])

    def write_policy(self, folder="files", before=""):
        """Returns the document root."""
        root = f"{self.folder}/{folder}"
        _write(f"{_folder(f'{root}/.well-known')}/mta-sts.txt", before + self.policy)
        return root


class Nginx(PolicyHost):
    name = "nginx"
    program = "usr/sbin/nginx"
    addresses = ("198.51.100.90", "2001:db8::5:90")
    sites = {
        "file": "types {} default_type text/plain;",
        "text": "default_type text/plain; return 200 '$policy';",
        "chunked": "types {} default_type text/plain; ssi on; ssi_types text/plain;",
        "gzip": "types {} default_type text/plain; gzip on; gzip_min_length 1; gzip_types text/plain;",
        "no-type": "types {} default_type application/octet-stream;",
        "html": "default_type text/html; return 200 '<html></html>';",
        "redirect": "return 301 https://mta-sts.file.nginx.example$request_uri;",
        "missing": "return 404;",
        "closed": "return 444;",
        "limited": "types {} default_type text/plain; limit_except POST { deny all; }",
    }

    def configure(self):
        leaf = self.certificate()
        chain = _write(f"{self.folder}/etc/chain.pem", leaf.chain_pem.decode())
        key = _write(f"{self.folder}/etc/key.pem", leaf.key_pem.decode(), 0o600)
        files = self.write_policy()
        servers = "".join(f"""
    server {{
        listen {self.addresses[0]}:443 ssl;
        listen [{self.addresses[1]}]:443 ssl;
        server_name {self.host(kind)};
        root {files};
        location = /.well-known/mta-sts.txt {{ {what} }}
    }}""" for kind, what in self.sites.items())
        temporary = "".join(f"    {name}_temp_path {self.folder}/temporary;\n"
                            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf = _write(f"{self.folder}/etc/nginx.conf", f"""\
daemon off;
master_process off;
user root root;
pid {self.folder}/pid;
error_log {self.log};
events {{}}
http {{
    access_log {self.folder}/access;
{temporary}
    ssl_certificate {chain};
    ssl_certificate_key {key};
    map $host $policy {{ default "{self.policy}"; }}
{servers}
}}
""")
        return ["-e", self.log, "-c", conf]


class Lighttpd(PolicyHost):
    """The scripts of CGI are files with headers, and /bin/cat runs them; see `scripts`.

    What it knows of a file must not be kept from one request to the next: its type is one of the things that differ.
    """

    name = "lighttpd"
    program = "usr/sbin/lighttpd"
    addresses = ("198.51.100.91", "2001:db8::5:91")
    sites = {
        "file": "",
        "charset": 'mimetype.assign = (".txt" => "text/plain; charset=utf-8")',
        "gzip": 'deflate.mimetypes = ("text/plain")',
        "chunked": 'server.document-root = var.base + "/chunked"\n cgi.assign = (".txt" => "/bin/cat")',
        "length": 'server.document-root = var.base + "/length"\n cgi.assign = (".txt" => "/bin/cat")',
        "short": 'server.document-root = var.base + "/short"\n cgi.assign = (".txt" => "/bin/cat")',
        "no-type": "mimetype.assign = ()",
        "html": 'mimetype.assign = (".txt" => "text/html")',
        "redirect": 'url.redirect = ("" => "https://mta-sts.file.lighttpd.example/.well-known/mta-sts.txt")',
        "missing": 'server.document-root = var.base + "/etc"',
        "limited": 'url.access-deny = ("")',
        "broken": 'cgi.assign = (".txt" => "/bin/false")',
    }

    def scripts(self):
        """Headers of replies: with no length, with the right one, and with one that is not reached."""
        size = len(self.policy)
        for kind, length in (("chunked", ""), ("length", f"Content-Length: {size}\n"),
                             ("short", f"Content-Length: {size + 1}\n")):
            self.write_policy(kind, f"Content-Type: text/plain\n{length}\n")

    def configure(self):
        leaf = self.certificate()
        chain = _write(f"{self.folder}/etc/chain.pem", (leaf.key_pem + leaf.chain_pem).decode(), 0o600)
        self.scripts()
        hosts = "".join(f'$HTTP["host"] == "{self.host(kind)}" {{\n {what}\n}}\n' for kind, what in self.sites.items())
        conf = _write(f"{self.folder}/etc/lighttpd.conf", f"""\
var.base = "{self.folder}"
server.modules = ("mod_access", "mod_redirect", "mod_deflate", "mod_cgi", "mod_openssl")
server.bind = "{self.addresses[0]}"
server.port = 443
server.document-root = "{self.write_policy()}"
server.errorlog = "{self.log}"
server.upload-dirs = ("{self.folder}")
server.stat-cache-engine = "disable"
server.stream-response-body = 1
mimetype.assign = (".txt" => "text/plain")
ssl.pemfile = "{chain}"
ssl.engine = "enable"
$SERVER["socket"] == "[{self.addresses[1]}]:443" {{ ssl.engine = "enable" }}
{hosts}""")
        return ["-D", "-f", conf, "-m", f"{self.root}/usr/lib/lighttpd"]
