# SPDX-License-Identifier: ISC
# Sourced by ./demo, ./check and others: packages, namespaces, builds.  A step
# that was done before is skipped.

build_packages="gcc libc6-dev meson ninja-build pkg-config libssl-dev
	libidn2-dev libunistring-dev musl-tools"
demo_packages="$build_packages python3 python3-dnspython python3-cryptography
	iproute2 openssl"
check_packages="$demo_packages libcmocka-dev python3-pytest
	python3-pytest-xdist python3-aiosmtpd mandoc ca-certificates
	strace tcpdump git mount clang libclang-rt-dev"

say() {
	printf '%s\n' "$*"
}

die() {
	printf '%s: %s\n' "$program" "$*" >&2
	exit 1
}

# The packages among "$@" that are not installed.
missing_packages() {
	for package in "$@"; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
		    grep -qx installed || say "$package"
	done
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo -n "$@" 2>/dev/null || sudo "$@"
	fi
}

need_packages() {
	command -v dpkg-query >/dev/null || die "this needs Debian's packages:" "$@"
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	say "Installing:" $missing
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
	    die "run me as root or install sudo: I need the packages" $missing
	as_root apt-get -qq update
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
	    --no-install-recommends $missing >/dev/null ||
	    die "could not install" $missing
}

# Checks for private network and mount namespaces: as root, or in a user
# namespace.  By default unshare(1) makes all mounts below "/" private; that
# fails in a chroot whose root is not a mount point, and world.py does what is
# needed there.
need_namespaces() {
	if words=$(unshare --net --mount --propagation unchanged true 2>&1); then
		return
	fi
	if [ "$(id -u)" = 0 ]; then
		die "I need private network and mount namespaces." \
		    "A container gives them with CAP_SYS_ADMIN and CAP_NET_ADMIN" \
		    "(docker run --privileged). $words"
	fi
	words=$(unshare --user --map-root-user --net --mount \
	    --propagation unchanged true 2>&1) ||
	    die "I need private network and mount namespaces: run me as" \
	        "root, or allow them to users" \
	        "(sysctl kernel.unprivileged_userns_clone=1," \
	        "sysctl kernel.apparmor_restrict_unprivileged_userns=0;" \
	        "in a chroot only root has them). $words"
}

# need_build DIRECTORY [MESON-OPTION...]: configures it once for these options,
# and builds it if needed.  The programs look for qmail in /srv/qmail, which the
# tests create in a private mount namespace.
need_build() {
	directory=$1
	shift
	mkdir -p build
	if [ ! -f "$directory/build.ninja" ] ||
	    [ "$(cat "$directory.options" 2>/dev/null)" != "$*" ]; then
		rm -rf "$directory" "$directory.options"
		meson setup "$directory" -Dqmail_home=/srv/qmail \
		    -Dwerror=true "$@" >"$directory.setup.log" 2>&1 ||
		    { cat "$directory.setup.log"; die "meson setup failed"; }
		printf '%s\n' "$*" >"$directory.options"
	fi
	ninja -C "$directory" >"$directory.build.log" 2>&1 ||
	    { cat "$directory.build.log"; die "the build failed"; }
}
