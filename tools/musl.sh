#!/bin/sh
# SPDX-License-Identifier: ISC
# Build the programs with musl, into BUILD-DIRECTORY: with the compiler wrapper
# of Debian's musl-tools, and with OpenSSL built from Debian's sources, because
# Debian has it only for glibc.
#	musl.sh BUILD-DIRECTORY
set -eu
program=musl
cd "$(dirname -- "$0")/.."
. tools/prepare.sh
[ $# = 1 ] || die "usage: tools/musl.sh BUILD-DIRECTORY"

work=$PWD/build/musl-libraries
prefix=$work/prefix
CC=$work/cc
PKG_CONFIG_LIBDIR=$prefix/lib/pkgconfig
export CC PKG_CONFIG_LIBDIR

# The wrapper finds only musl's own headers; this adds those of the kernel.
make_compiler() {
	mkdir -p "$work/kernel" "$prefix/lib/pkgconfig" "$prefix/include"
	ln -sfn /usr/include/linux /usr/include/asm-generic \
	    /usr/include/*-linux-gnu*/asm "$work/kernel"
	printf '#!/bin/sh\nexec musl-gcc -idirafter %s "$@"\n' "$work/kernel" \
	    >"$CC"
	chmod +x "$CC"
}

# get PACKAGE: its source, with Debian's patches, in $work/PACKAGE.
get() {
	(
		. /etc/os-release
		site=$(apt-get indextargets --format '$(SITE)' \
		    "Codename: $VERSION_CODENAME" | head -n 1)
		cd "$work"
		mkdir -p lists/partial cache
		printf 'deb-src [signed-by=%s] %s %s main\n' \
		    /usr/share/keyrings/debian-archive-keyring.gpg \
		    "$site" "$VERSION_CODENAME" >sources.list
		set -- "$1" -o Dir::Etc::SourceList="$work/sources.list" \
		    -o Dir::Etc::SourceParts=- -o Dir::Cache="$work/cache" \
		    -o Dir::State::Lists="$work/lists" -o APT::Sandbox::User=root
		package=$1
		shift
		[ -n "$(ls lists/*Sources* 2>/dev/null)" ] ||
		    apt-get -qq "$@" update
		rm -rf "$package" "$package"-[0-9]*
		apt-get -qq "$@" source "$package"
		mv "$package"-[0-9]*/ "$package"
	)
}

make_openssl() {
	get openssl
	cd "$work/openssl"
	./Configure "linux-$(uname -m)" --prefix="$prefix" --libdir=lib \
	    no-shared no-tests no-async
	make -j 2 build_libs
	make install_dev
}

# library NAME FILE: runs make_NAME if the file does not exist.
library() {
	[ -f "$prefix/lib/$2" ] || ("make_$1") >"$work/$1.log" 2>&1 ||
	    { tail -n 20 "$work/$1.log"; die "could not build $1"; }
}

# Only the programs: the unit tests and replays need more libraries.
build_programs() {
	targets="qmail-remote-cache qmail-remote-utf8"
	for name in qmail-remote qmail-remote-io qmail-remote-sts qmail-remote-tls; do
		targets="$targets $name"
		targets="$targets test/sandbox/$name-planted"
		targets="$targets test/sandbox/$name-recorded"
	done
	[ -f "$1/build.ninja" ] ||
	    meson setup "$1" -Dqmail_home=/srv/qmail -Dwerror=true \
	        -Dprefer_static=true
	ninja -C "$1" $targets
}

need_packages $check_packages dpkg-dev make perl
make_compiler
library openssl libssl.a
build_programs "$1" >"$1.build.log" 2>&1 ||
    { cat "$1.build.log"; die "the build failed"; }
