"""Real relays that take mail from users: Postfix with Dovecot's SASL, Exim, OpenSMTPD; on port 587 with STARTTLS, on
port 465 with TLS from the first byte.

As in realservers.py, which has what they share. Each has an address for each mechanism of AUTH that it can be told to
offer alone; the one for PLAIN offers all that it has.
"""

import base64
import glob
import hashlib
import hmac
import json
import os
import re
import socket
import subprocess
import time

import pki
import realservers
from realservers import _USERS, BASE, BOXES, Daemon, Unfit, _folder, _write, exim_mailboxes, exim_settings, fetched

USER, PASSWORD = "relay-user@src.example", "correct horse | battery : staple"
PORTS = (587, 465)
_KEY = b"a key that both know, of 32 bytes or more"


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(user=USER, key=_KEY, lifetime=3600):
    """An access token: a JWT that the key of both signs (RFC 7519)."""
    now = int(time.time())
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": user, "iat": now - 10, "nbf": now - 10, "exp": now + lifetime}]
    text = b".".join(_base64url(json.dumps(part).encode()) for part in parts)
    return (text + b"." + _base64url(hmac.new(key, text, hashlib.sha256).digest())).decode()


class Relay(realservers.MailServer):
    roles = ("PLAIN", "LOGIN")
    tells = ""          # the Received field says so of a user who has logged in: a pattern

    @classmethod
    def address(cls, role, family=4):
        return f"198.51.100.{100 + cls.number * 10 + cls.roles.index(role)}"

    @classmethod
    def host(cls, role, family=4):
        return f"{role.lower()}.{cls.name}.example"

    @classmethod
    def everywhere(cls):
        return [(role, 4) for role in cls.roles]

    @classmethod
    def zone(cls):
        return [f"{cls.host(role)}. A {cls.address(role)}" for role in cls.roles]

    def domains(self):
        return ["dst.example"]

    def ready(self, address):
        for port in PORTS:
            with socket.socket() as s:
                if s.connect_ex((address, port)) != 0:
                    return False
        return True

    def key_and_chain(self):
        return self.certificates()[0][:2]

    def leaves(self):
        names = [self.host(role) for role in self.roles]
        good = pki.make(self.name, self.certs.intermediate, chain=[self.certs.intermediate], names=names)
        return good, good


class Dovecot(Daemon):
    """Only its auth service, which Postfix asks through a socket."""

    name = "dovecot"
    program = "usr/sbin/dovecot"
    socket = f"{BASE}/dovecot/auth-client"
    addresses = (socket,)
    users = True

    def prepare(self):
        # It starts its parts from there and from nowhere else.
        return "".join(f"mount -t overlay overlay -o lowerdir={self.root}{path}:{path} {path}\n"
                       for path in ("/usr/lib", "/usr/bin"))

    def ready(self, address):
        return os.path.exists(address)

    def _wait(self):
        try:
            super()._wait()
        except AssertionError:
            if "mount:" in self.said():
                raise Unfit("Dovecot is unpacked over /usr/lib, which takes an overlay file system") from None
            raise

    def configure(self):
        libraries = glob.glob(f"{fetched(self.name)}/usr/lib/dovecot/libdovecot-login.so.*.*.*")
        if not libraries:
            raise Unfit("the settings of this test are those of Dovecot 2.3")
        etc = f"{self.folder}/etc"
        _folder(f"{self.folder}/run")
        _folder(f"{etc}/keys/default/HS256")
        _write(f"{etc}/keys/default/HS256/default", base64.b64encode(_KEY).decode())
        _write(f"{etc}/oauth2.conf", f"""\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={etc}/keys/
username_attribute = sub
""")
        conf = _write(f"{etc}/dovecot.conf", f"""\
base_dir = {self.folder}/run
state_dir = {self.folder}/run
log_path = {self.log}
ssl = no
protocols =
default_internal_user = dovecot
default_internal_group = dovecot
default_login_user = dovenull
auth_mechanisms = plain login oauthbearer xoauth2
auth_failure_delay = 0
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {etc}/oauth2.conf
}}
passdb {{
  driver = static
  mechanisms = plain login
  args = password={{PLAIN.B64}}{base64.b64encode(PASSWORD.encode()).decode()}
}}
userdb {{
  driver = static
  args = uid={_USERS["vmail"]} gid={_USERS["vmail"]} home=/
}}
service auth {{
  unix_listener {self.socket} {{
    mode = 0666
  }}
}}
# Who has failed before does not wait.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
""")
        return ["-F", "-c", conf]


class PostfixRelay(Relay):
    name = "postfix-relay"
    unpacked = "postfix"
    program = realservers.Postfix.program
    number = 0
    roles = ("PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2")
    tells = r"\(Authenticated sender: " + re.escape(USER) + r"\)"

    def configure(self):
        etc, queue = f"{self.folder}/etc", f"{self.folder}/queue"
        both = self.certificates()[0][2]
        _folder(queue)
        for name in ("incoming", "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "private",
                     "saved", "trace"):
            _folder(f"{queue}/{name}", "postfix", 0o700)
        _folder(f"{queue}/pid")
        _folder(f"{queue}/public", "postfix", 0o710, realservers._POSTDROP)
        _folder(f"{queue}/maildrop", "postfix", 0o730, realservers._POSTDROP)
        _folder(f"{self.folder}/data", "postfix", 0o700)
        master = []
        for role, _ in self.everywhere():
            only = "" if role == "PLAIN" else f" -o smtpd_sasl_mechanism_filter={role}"
            master += [f"{self.address(role)}:587 inet n - n - - smtpd -o smtpd_tls_security_level=encrypt{only}",
                       f"{self.address(role)}:465 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes{only}"]
        master += ["cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "tlsmgr unix - - n 1000? 1 tlsmgr",
                   "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
                   "defer unix - - n - 0 bounce", "proxymap unix - - n - - proxymap", "error unix - - n - - error",
                   "retry unix - - n - - error", "virtual unix - n n - - virtual", "anvil unix - - n - 1 anvil",
                   "postlog unix-dgram n - n - 1 postlogd"]
        _write(f"{etc}/master.cf", "\n".join(master) + "\n")
        _write(f"{etc}/boxes", "".join(f"box{n}@dst.example box{n}/\n" for n in range(1, BOXES + 1)))
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
virtual_mailbox_domains = dst.example
virtual_mailbox_base = {self.folder}/mail
virtual_mailbox_maps = texthash:{etc}/boxes
virtual_uid_maps = static:{_USERS["vmail"]}
virtual_gid_maps = static:{_USERS["vmail"]}
local_header_rewrite_clients =
smtpd_peername_lookup = no
smtpd_tls_chain_files = {both}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_authenticated_header = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {Dovecot.socket}
smtpd_relay_restrictions = permit_sasl_authenticated, reject
""")
        return ["-c", etc]


class EximRelay(Relay):
    name = "exim-relay"
    unpacked = "exim"
    program = realservers.Exim.program
    number = 1
    mail_user = "Debian-exim"
    tells = "with esmtpsa"

    def configure(self):
        key, chain = self.key_and_chain()
        is_user = "${{if and{{{{eq{{{0}}}{{{2}}}}}{{eq{{{1}}}{{{3}}}}}}}}}"
        conf = _write(f"{self.folder}/etc/exim.conf", f"""\
{exim_settings(self)}daemon_smtp_ports = 587 : 465
tls_on_connect_ports = 465
tls_advertise_hosts = *
tls_certificate = {chain}
tls_privatekey = {key}
auth_advertise_hosts = ${{if def:tls_in_cipher{{*}}{{}}}}
received_header_text = Received: from $sender_helo_name (envelope-from <$sender_address>) \\
    with $received_protocol id $message_exim_id

begin authenticators
plain:
    driver = plaintext
    public_name = PLAIN
    server_prompts = :
    server_condition = {is_user.format("$auth2", "$auth3", USER, PASSWORD)}
    server_set_id = $auth2
    server_advertise_condition = ${{if eq{{$received_ip_address}}{{{self.address("PLAIN")}}}}}
login:
    driver = plaintext
    public_name = LOGIN
    server_prompts = Username:: : Password::
    server_condition = {is_user.format("$auth1", "$auth2", USER, PASSWORD)}
    server_set_id = $auth1

begin acl
rcpt:
    accept authenticated = *
    defer message = 4.7.0 log in
{exim_mailboxes(self, "dst.example")}""")
        return ["-C", conf, "-bdf"]


class OpensmtpdRelay(Relay):
    """It always offers both mechanisms, and so always gets PLAIN."""

    name = "opensmtpd-relay"
    unpacked = "opensmtpd"
    program = realservers.Opensmtpd.program
    number = 2
    private = realservers.Opensmtpd.private
    roles = ("PLAIN",)
    tells = "with ESMTPSA"

    prepare = realservers.Opensmtpd.prepare

    def configure(self):
        key, chain = self.key_and_chain()
        secret = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, text=True, check=True,
                                stdout=subprocess.PIPE).stdout.strip()
        users = _write(f"{self.folder}/etc/users", f"{USER}\t{secret}\n")
        address = self.address("PLAIN")
        conf = _write(f"{self.folder}/etc/smtpd.conf", f"""\
pki good cert "{chain}"
pki good key "{key}"
table users file:{users}
listen on {address} port 587 tls-require pki good auth <users> hostname opensmtpd.example
listen on {address} port 465 smtps pki good auth <users> hostname opensmtpd.example
action deliver maildir "{self.folder}/mail/%{{rcpt.user}}" virtual {{ "@" = vmail }}
match auth from any for rcpt-to regex {{ "^box[0-9]+@" }} action deliver
""", 0o600)
        return ["-d", "-f", conf]


RELAYS = {"postfix": PostfixRelay, "exim": EximRelay, "opensmtpd": OpensmtpdRelay}
realservers.relays += RELAYS.values()
