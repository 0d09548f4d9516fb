#!/bin/sh
# Fetch the servers that test_real_*.py and test_dane.py talk to, and what test_sts_opinion.py asks, and unpack them;
# nothing is installed.
#
#     fetch_servers.sh [SERVER...]            all of them, without arguments
#
# They go to build/servers/SERVER/root, or below $SERVERS_DIR, with those of their libraries that the
# machine lacks. What is there already is not fetched again. What cannot be had leaves its reason in
# SERVER.missing, and its tests are skipped; with CI=true it makes this script fail.

set -u
umask 022
LC_ALL=C
export LC_ALL
unset CDPATH

top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
servers=${SERVERS_DIR:-$top/build/servers}

# SERVER PACKAGE[,PACKAGE...] PROGRAM, the program as a path below the root.
list='postfix postfix usr/lib/postfix/sbin/master
exim exim4-daemon-light usr/sbin/exim4
opensmtpd opensmtpd usr/sbin/smtpd
unbound unbound usr/sbin/unbound
nsd nsd usr/sbin/nsd
nginx nginx usr/sbin/nginx
lighttpd lighttpd,lighttpd-mod-openssl,lighttpd-mod-deflate usr/sbin/lighttpd
dovecot dovecot-core usr/sbin/dovecot
ldns ldnsutils usr/bin/ldns-signzone
sts-resolver postfix-mta-sts-resolver usr/bin/mta-sts-daemon'

# What was unpacked fits this system only.
system=$(. /etc/os-release 2>/dev/null && echo "${ID-} ${VERSION_ID-}") || system=unknown
system="$system $(uname -m)"

lists=  # options of apt, for package lists that are not the system's
own=
tried=

apt() {
    tool=$1
    shift
    # shellcheck disable=SC2086
    "$tool" -qq -o APT::Sandbox::User=root -o Acquire::Retries=2 $lists "$@"
}

# update FOLDER [OPTION...]: use package lists of our own from now on; the system's are not ours to change.
update() {
    mkdir -p "$1/lists/partial" "$1/cache/archives/partial" || return 1
    lists="-o Dir::State::Lists=$1/lists -o Dir::Cache=$1/cache"
    shift
    lists="$lists $*"
    apt apt-get update >/dev/null 2>&1 || {
        lists=$own
        return 1
    }
}

# The system's are missing or too old.
own_lists() {
    [ -z "$tried" ] || return 1
    tried=yes
    update "$servers/apt" && own=$lists
}

# The OpenSMTPD of Debian 12 cannot finish a TLS handshake, the one in its backports can.
backports() {
    site=$(apt apt-get indextargets --format '$(SITE)' "Codename: bookworm" | head -n 1)
    sources=$servers/apt/backports
    mkdir -p "$sources" || return 1
    for suite in bookworm bookworm-backports; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main"
    done >"$sources/list"
    update "$sources" "-o Dir::Etc::SourceList=$sources/list -o Dir::Etc::SourceParts=-" \
        "-o APT::Default-Release=bookworm-backports"
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# The packages and, one a line, the libraries and modules that they need and the machine lacks.
closure() {
    todo=$(echo "$1" | tr , ' ')
    seen=
    while [ -n "$todo" ]; do
        next=
        for package in $todo; do
            case " $seen " in *" $package "*) continue ;; esac
            seen="$seen $package"
            echo "$package"
            for library in $(apt apt-cache depends "$package" 2>/dev/null |
                sed -nE 's/^ *\|?(Pre)?Depends: ((lib|python3-)[^ ]*)$/\2/p'); do
                installed "$library" || next="$next $library"
            done
        done
        todo=$next
    done
}

library_path() {
    find "$1" -name '*.so*' -exec dirname {} + | sort -u | paste -s -d :
}

download() {
    # shellcheck disable=SC2046
    (cd "$1" && apt apt-get download $(closure "$2") 2>&1)
}

# SERVER PACKAGES PROGRAM; says why if it cannot.
fetch() {
    new=$servers/$1.new
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        echo "it is fetched from Debian's packages, and there is no apt-get and dpkg here"
        return 1
    fi
    rm -rf "$new"
    mkdir -p "$new/debs" "$new/root" || return 1
    case "$1 $system" in "opensmtpd debian 12 "*) backports ;; esac
    said=$(download "$new/debs" "$2") || {
        rm -f "$new"/debs/*
        own_lists && said=$(download "$new/debs" "$2")
    } || {
        echo "apt-get download $2: $(echo "$said" | tail -n 1)"
        return 1
    }
    for deb in "$new"/debs/*.deb; do
        dpkg -x "$deb" "$new/root" || return 1
    done
    rm -rf "$new/debs"
    unresolved=$(LD_LIBRARY_PATH=$(library_path "$new/root") ldd "$new/root/$3" 2>&1 | grep 'not found')
    if [ ! -x "$new/root/$3" ] || [ -n "$unresolved" ]; then
        echo "$3 of $2 cannot run here: $(echo "$unresolved" | head -n 1)"
        return 1
    fi
    echo "$system" >"$new/system"
    rm -rf "${servers:?}/$1"
    mv "$new" "$servers/$1"
}

mkdir -p "$servers" || exit 1
exec 9>"$servers/lock"
if command -v flock >/dev/null; then
    flock 9
fi

wanted=" $* "
missing=0
while read -r server package program; do
    case "$wanted" in "  " | *" $server "*) ;; *) continue ;; esac
    if [ "$(cat "$servers/$server/system" 2>/dev/null)" = "$system" ]; then
        continue
    fi
    lists=$own
    if fetch "$server" "$package" "$program" >"$servers/$server.missing"; then
        rm -f "$servers/$server.missing"
    else
        rm -rf "${servers:?}/$server" "$servers/$server.new"
        echo "fetch_servers.sh: $server: $(cat "$servers/$server.missing")" >&2
        missing=1
    fi
done <<LIST
$list
LIST
rm -rf "$servers/apt"

if [ "${CI-}" = true ]; then
    exit "$missing"
fi
