"""The catalogue, group L: control files and invocation."""

import os
import subprocess
import threading

from catalogue import ONE, TWO, Case, Setup, Start, Want, not_connected, table
from smtpd import Delay, Until
from test_stock import one_user

CONTROLS = ("me", "helohost", "smtproutes", "timeoutconnect", "timeoutremote", "timeoutdns", "ipme", "trustanchors",
            "clientcert", "clientkey", "tlsstrictness")
UNREADABLE = b"Unable to read control files. (#4.3.0)"
NOBODY = dict(uid=4711, gid=4711)


def told_to_read(stage):
    assert UNREADABLE in stage.run.report and not stage.sessions, stage.run


def put(name, what):
    def prepare(stage):
        path = stage.home.control(name, None)
        if what == "directory":
            os.mkdir(path)
        elif what == "fifo":
            os.mkfifo(path)
        elif what == "loop":
            os.symlink(path, path)
        elif what == "device":
            os.symlink("/dev/zero", path)
        elif what == "long-name":
            os.symlink("x" * 300, path)
        elif what == "not-a-directory":
            os.symlink("/dev/null/x", path)
        elif what == "unreadable":
            os.chmod(stage.home.control(name, "1\n"), 0)
    return prepare


def file_cases():
    yield Case("L1-both-missing", Setup(control=dict(me=None)), Want("Z", check=told_to_read))
    yield Case("L1-me-only", Setup(), "K")
    yield Case("L1-helohost-only", Setup(control=dict(me=None, helohost="x.example\n")), "K")
    for name in CONTROLS:
        # One for each of the two calls that may fail; what else there is they all have from the same function.
        kinds = ("directory", "loop")
        if name in ("me", "smtproutes", "trustanchors"):
            kinds += ("fifo", "device", "long-name", "not-a-directory")
        for what in kinds:
            yield Case(f"L2-{name}-{what}", Setup(prepare=put(name, what)), Want("Z", check=told_to_read, within=2),
                       says="what cannot be read is Z at once; only what does not exist is its default")
        if len(kinds) == 2:
            continue
        yield Case(f"L2-{name}-unreadable", Setup(prepare=put(name, "unreadable")), Want("Z", check=told_to_read),
                   Start(**NOBODY), marks=[one_user])

        def eio(stage, name=name):
            path = stage.home.control(name, "1\n")
            stage.deliver_traced("-P", path, "-e", "trace=read", "-e", "inject=read:error=EIO")

        yield Case(f"L2-{name}-eio", Setup(), Want("Z", check=told_to_read, within=8), Start(play=eio))
    for name in ("control", "."):
        def locked(stage, name=name):
            os.chmod(os.path.join(stage.home.path, name), 0o700)
        yield Case(f"L2-folder-{name.replace('.', 'home')}", Setup(prepare=locked), Want("Z", check=not_connected),
                   Start(**NOBODY, cwd="/", program="/srv/programs/qmail-remote"), marks=[one_user])
    for name, text in (("word", "yes\n"), ("negative", "-1\n"), ("blank-first", " 2\n"), ("nul", "\0\n"),
                       ("quoted", "\"2\"\n")):
        yield Case(f"L3-strictness-{name}", Setup(control=dict(tlsstrictness=text)), Want("Z", check=not_connected),
                   over=("ver", "opp"),
                   says="nonsense is no policy: Z; trailing text behind a number is ignored, as in every control file")
    for name, text, want in (("9", "9\n", "K"), ("2x", "2x\n", "K"), ("99999999999", "99999999999\n", "K")):
        yield Case(f"L3-strictness-{name}", Setup(control=dict(tlsstrictness=text)), want, over="ver",
                   says="more than 2 is 2")
    yield Case("L3-anchors-path-nul", Setup(control=dict(trustanchors="/srv/pki/a\0b\n")),
               Want("Z", check=not_connected), over="ver")


def route_cases():
    says = "a port or relay that makes no sense is Z, never another one"
    for name, port in (("0", "0"), ("65536", "65536"), ("minus-1", "-1"), ("wraps", "4294967321"), ("text", "smtp"),
                       ("empty", ""),
                       ("plus", "+25"), ("blank", " 25"), ("2-64", str(2 ** 64 + 25)), ("hex", "0x19")):
        yield Case(f"L4-port-{name}", Setup(control=dict(smtproutes=f":{ONE}:{port}\n")),
                   Want("Z", check=not_connected), says=says)
    for name, line, want in (
            ("missing-relay", f"dst.example:\n:{TWO}\n", "K"), ("no-colon", "dst.example\n", "K"),
            ("ipv6-bare", ":2001:db8::1\n", "Z"),
            ("ipv6-broken", ":[2001:db8::1\n", "Z"), ("blank-relay", ": \n", "K"),
            ("blank-inside", ":m1 .example\n", "Z"),
            ("crlf", f"dst.example:{ONE}:25\r\n", "K"), ("crlf-no-port", f"dst.example:{ONE}\r\n", "K"),
            ("nul", f"x:{TWO}\0dst.example:{ONE}\n", "K"),
            ("comment", f"#:{TWO}\ndst.example:{ONE}\n", "K"), ("no-newline", f"dst.example:{ONE}", "K"),
            ("binary", "\x01\x02\x03\n", "K"),
            ("esc", ":\x1b[2J\n", "Z"), ("quote", ":m'1.example\n", "Z"), ("port-text-behind", f":{ONE}:25x\n", "Z"),
            ("port-comment-behind", f":{ONE}:25 # x\n", "K"), ("credentials", f":{ONE}:25|user\n", "Z")):
        yield Case(f"L4-{name}", Setup(control=dict(smtproutes=line)), want, says=says if want == "Z" else None)
    yield Case("L4-megabyte-line", Setup(control=dict(smtproutes="x" * (1 << 20) + f":{TWO}\ndst.example:{ONE}\n")),
               Want("K", within=4))
    yield Case("L4-megabyte-relay", Setup(control=dict(smtproutes="dst.example:" + "x" * (1 << 20) + "\n")),
               Want("Z", check=not_connected, within=4, memory=24 << 10))
    for name in ("timeoutconnect", "timeoutremote", "timeoutdns"):
        for text in ("0", "1", "-1", "-5", "4294967296", "4294967297", "99999999999999999999", "text", "", " 5", "1x",
                     "0x10", "1.5"):
            yield Case(f"L5-{name}-{text.strip() or 'empty'}{'-blank' if text.startswith(' ') else ''}",
                       Setup(greeting=(Delay(0.15), "220 hi"), control={name: text + "\n"}), "K",
                       says="time-outs are clamped to at least 1 s (timeoutdns: 0 is none) and at most a day or a week; "
                           "no number is the default")


def snapshot_cases():
    """Everything changes while the greeting is awaited; the run goes on with what it has read."""
    def change(stage):
        stage.home.control("tlsstrictness", "0\n")
        stage.home.control("trustanchors", None)
        stage.home.control("helohost", "other.example\n")
        stage.home.control("timeoutremote", "1\n")
        stage.home.control("smtproutes", f":{TWO}\n")
        stage.home.control("ipme", f"{ONE}\n")

    def play(stage):
        gate = threading.Event()
        stage.first.scripts[0]["greeting"] = (Until(gate), "220 hi")
        process = stage.begin()
        stage.first.wait_session()
        change(stage)
        gate.set()
        stage.deliver(process)

    yield Case("L6-still-demanded", Setup(cert=None), "Z", Start(play=play), over="ver",
               says="each control file is read once, at the start")
    yield Case("L6-still-verified", Setup(cert="untrusted"), "Z", Start(play=play), over="ver")
    yield Case("L6-still-there", Setup(), "K", Start(play=play), over=("clear", "ver"))

    def opened(stage):
        trace = f"{stage.home.path}/trace"
        stage.home.control("smtproutes", f"dst.example:{ONE}\n")
        for name in ("helohost", "ipme", "timeoutdns"):
            stage.home.control(name, "1\n" if name == "timeoutdns" else "192.0.2.77\n")
        stage.deliver_traced("-e", "trace=open,openat", trace=trace)
        with open(trace, encoding="latin-1") as f:
            text = f.read()
        for name in CONTROLS:
            assert text.count(f'"control/{name}"') <= 1, (name, text)

    yield Case("L6-opened-once", Setup(), Want("K", within=8), Start(play=opened))


def invocation_cases():
    for name, args in (("none", []), ("one", ["dst.example"]), ("two", ["dst.example", "a@src.example"])):
        yield Case(f"L7-{name}", Setup(), Want("D", check=not_connected), Start(args=args))
    yield Case("L7-empty-host", Setup(), Want("D", check=not_connected), Start(host=""))
    yield Case("L7-empty-recipient", Setup(), "DK", Start(recipients=[""]))
    recipients = [f"u{n}@dst.example" for n in range(10000)]

    def all_of_them(stage):
        mail, = stage.mails
        assert len(mail.recipients) == 10000 and stage.run.letters == "r" * 10000 + "K"

    yield Case("L7-ten-thousand", Setup(), Want("K", check=all_of_them, within=30, size=30000),
               Start(recipients=recipients), over=("clear", "pipe", "tls13"))
    for size, want in ((1900, "K"), (2100, "D"), (65536, "D")):
        for which in ("recipients", "sender"):
            address = "x" * (size - 12) + "@dst.example"
            yield Case(f"L7-{which}-{size}", Setup(), Want(want, check=None if want == "K" else not_connected),
                       Start(**{which: [address] if which == "recipients" else address}),
                       says="an address of more than 2000 bytes fits into no command: D")
    yield Case("L7-long-host", Setup(), Want("D", check=not_connected, size=1500), Start(host="x" * 65536))
    for name, value in (("OPENSSL_CONF", "/srv/evil.cnf"), ("SSLKEYLOGFILE", "/srv/keys"),
                        ("RES_OPTIONS", "debug ndots:9 attempts:0"),
                        ("HOSTALIASES", "/srv/aliases"), ("TZ", ":/srv/evil"), ("LOCALDOMAIN", "evil.example"),
                        ("LD_PRELOAD", "/srv/none.so"),
                        ("SSL_CERT_FILE", "/srv/none.pem"), ("SSL_CERT_DIR", "/srv"),
                        ("RESOLV_HOST_CONF", "/srv/evil"), ("CARES_HOSTS", "/srv/evil"),
                        ("PATH", "/srv/evil"), ("TMPDIR", "/srv/evil"), ("MALLOC_CHECK_", "3"),
                        ("LANG", "xx_YY.evil"), ("IFS", "/"),
                        ("QMAIL_HOME", "/srv/evil"), ("LD_LIBRARY_PATH", "/srv"), ("OPENSSL_MODULES", "/srv")):
        def nothing_written(stage):
            assert not os.path.exists("/srv/keys")
        yield Case(f"L8-{name}", Setup(), Want("K", check=nothing_written), Start(env={name: value}),
                   over=("clear", "ver") if "SSL" in name or "LD_" in name else "clear", plain=name == "LD_PRELOAD",
                   says="the environment is emptied; what the loader of a dynamic program reads is before our time")

    def hostile_home(stage):
        """Neither home, nor does the message's directory matter."""
        stage.deliver(cwd="/")

    yield Case("L9-elsewhere", Setup(), "K", Start(play=hostile_home))

    def gone(stage):
        folder = "/srv/gone"
        os.makedirs(folder, exist_ok=True)
        stage.deliver_below("/bin/sh", "-c", "cd /srv/gone && rmdir /srv/gone && exec \"$@\"", "sh")

    yield Case("L9-current-removed", Setup(), "K", Start(play=gone),
               says="only the qmail home matters, which is compiled in")

    def no_home(stage):
        os.rename(stage.home.path, "/srv/away")
        try:
            stage.deliver(program="/srv/programs/qmail-remote", message=os.open("/dev/null", os.O_RDONLY), cwd="/")
        finally:
            os.rename("/srv/away", stage.home.path)

    yield Case("L9-home-missing", Setup(), Want("Z", check=not_connected), Start(play=no_home))

    def bare_home(stage):
        subprocess.run(["mount", "-t", "tmpfs", "none", stage.home.path], check=True)
        try:
            stage.deliver(program="/srv/programs/qmail-remote", message=os.open("/dev/null", os.O_RDONLY), cwd="/")
        finally:
            subprocess.run(["umount", stage.home.path], check=True)

    yield Case("L9-home-empty", Setup(), Want("Z", check=not_connected), Start(play=bare_home))


CASES = [*file_cases(), *route_cases(), *snapshot_cases(), *invocation_cases()]


@table(CASES)
def test_catalogue(stage, variant):
    stage.hold(variant)
