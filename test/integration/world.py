"""A private world for one test process: network, /srv and resolver files of its own.

    192.0.2.0/24, 198.51.100.0/24, 2001:db8::/64   every address answers, none is on an interface
    203.0.113.0/24, 2001:db8:dead::/48             packets vanish
    198.18.0.0/24, 2001:db8:bad::/48               host unreachable, at once
    127.0.0.1, ::1, 10.99.0.1, fd00:99::1          the addresses of our interfaces

Everything else has no route. Nothing outside of the namespaces is touched.
"""

import ctypes
import errno
import os
import subprocess

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

OWN4 = "10.99.0.1"
OWN6 = "fd00:99::1"
HOLE4 = "203.0.113.1"
HOLE6 = "2001:db8:dead::1"
UNREACHABLE4 = "198.18.0.1"
UNREACHABLE6 = "2001:db8:bad::1"
NOROUTE4 = "100.64.0.1"

RESOLV_CONF = "/srv/etc/resolv.conf"
HOSTS = "/srv/etc/hosts"

DEFAULT_RESOLV_CONF = "nameserver 127.0.0.1\n"
DEFAULT_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"

_NETWORK = """\
link set lo up
route add local 192.0.2.0/24 dev lo
route add local 198.51.100.0/24 dev lo
route add local 2001:db8::/64 dev lo
link set hole0 addrgenmode none
link set hole0 up
addr add 10.99.0.1/30 dev hole0
addr add fd00:99::1/64 dev hole0 nodad
neigh add 10.99.0.2 lladdr 02:00:00:00:00:01 dev hole0 nud permanent
neigh add fd00:99::2 lladdr 02:00:00:00:00:01 dev hole0 nud permanent
route add 203.0.113.0/24 via 10.99.0.2
route add 2001:db8:dead::/48 via fd00:99::2 dev hole0
route add unreachable 198.18.0.0/24
route add unreachable 2001:db8:bad::/48
"""

_SYSCTL = {
    "net/ipv4/ip_nonlocal_bind": "1",
    "net/ipv6/ip_nonlocal_bind": "1",
    "net/ipv4/ip_unprivileged_port_start": "0",
}


class Unavailable(Exception):
    """The private world cannot be made here; the text says what is needed."""


_libc = ctypes.CDLL(None, use_errno=True)


def _check(what, result):
    if result != 0:
        number = ctypes.get_errno()
        raise Unavailable(f"{what}: {os.strerror(number)}")


def _mount(source, target, kind, flags, data=None):
    args = [a.encode() if a is not None else None for a in (source, target, kind)]
    data = data.encode() if data is not None else None
    _check(f"mount {target}", _libc.mount(*args, ctypes.c_ulong(flags), data))


def _write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def become_root():
    """Without root: a user namespace in which we are. Only possible before the first thread."""
    if os.geteuid() == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    _check("a user namespace of our own", _libc.unshare(CLONE_NEWUSER))
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1\n")
    _write("/proc/self/gid_map", f"0 {gid} 1\n")


def _ip(batch):
    done = subprocess.run(
        ["ip", "-batch", "-"], input=batch, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"})
    return "" if done.returncode == 0 else done.stdout.strip()


def ip(*lines):
    """Change the network of this world, in the words of ip(8)."""
    trouble = _ip("\n".join(lines) + "\n")
    if trouble:
        raise Unavailable(f"ip: {trouble}")


def _keep_mounts_private():
    """What is mounted in our mount namespace is not to be seen in the one that it was copied from."""
    try:
        _mount("none", "/", None, MS_REC | MS_PRIVATE)
        return
    except Unavailable:
        if ctypes.get_errno() != errno.EINVAL:
            raise
    # In a plain chroot "/" is no mount point. Entering our own mount namespace leads to its root.
    root, here = os.open("/", os.O_PATH), os.open(".", os.O_PATH)
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    _check("the root of our mount namespace", _libc.setns(namespace, CLONE_NEWNS))
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    os.fchdir(root)
    os.chroot(".")
    os.fchdir(here)
    for fd in (root, here, namespace):
        os.close(fd)


def enter():
    """Put this thread, and all that it starts from now on, into the private world."""
    become_root()
    _check("namespaces of our own", _libc.unshare(CLONE_NEWNS | CLONE_NEWNET))
    if not os.path.exists("/proc/self/ns/mnt"):
        raise Unavailable("/proc is not mounted here")
    _keep_mounts_private()

    try:
        if _ip("link add hole0 type veth peer name hole1\nlink set hole1 addrgenmode none up\n"):
            ip("link add hole0 type dummy")
        for key, value in _SYSCTL.items():
            _write(f"/proc/sys/{key}", value)
        ip(*_NETWORK.splitlines())
    except OSError as e:
        raise Unavailable(str(e)) from None

    _mount("none", "/srv", "tmpfs", 0, "mode=755")
    os.mkdir("/srv/etc", 0o755)
    files = {
        "resolv.conf": DEFAULT_RESOLV_CONF,
        "hosts": DEFAULT_HOSTS,
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
    for name, text in files.items():
        _write(f"/srv/etc/{name}", text)
        os.chmod(f"/srv/etc/{name}", 0o644)
        if os.path.exists(f"/etc/{name}"):
            _mount(f"/srv/etc/{name}", f"/etc/{name}", None, MS_BIND)
        elif name == "resolv.conf":
            raise Unavailable("/etc/resolv.conf is missing, so none of our own can be put over it")


def rehearse():
    """Raise Unavailable if enter() would; this process stays where it is."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        trouble = ""
        try:
            enter()
        except Unavailable as e:
            trouble = str(e)
        os.write(write, trouble.encode())
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as f:
        trouble = f.read()
    os.waitpid(pid, 0)
    if trouble:
        raise Unavailable(trouble)


def nonlocal_bind(allowed):
    """Whether a socket can have an address that no interface has."""
    for version in (4, 6):
        _write(f"/proc/sys/net/ipv{version}/ip_nonlocal_bind", "1" if allowed else "0")


def resolv_conf(text=DEFAULT_RESOLV_CONF):
    _write(RESOLV_CONF, text)


def hosts(text=DEFAULT_HOSTS):
    _write(HOSTS, text)
