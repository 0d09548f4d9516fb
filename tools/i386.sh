#!/bin/sh
# SPDX-License-Identifier: ISC
# Build everything for 32-bit x86, into BUILD-DIRECTORY, so that the unit tests
# also run where long, size_t and pointers have 32 bits.  Debian's packages for
# it are unpacked below build/; nothing is installed.
#	i386.sh BUILD-DIRECTORY
# If the kernel cannot run 32-bit programs, qemu is used.
set -eu
program=i386
cd "$(dirname -- "$0")/.."
. tools/prepare.sh
[ $# = 1 ] || die "usage: tools/i386.sh BUILD-DIRECTORY"

work=$PWD/build/i386-packages
root=$work/root
tools=$work/tools

# Runs apt with its own state: only this architecture, and nothing installed.
apt_for_i386() {
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
	cat >"$work/apt.conf" <<-END
		APT::Architecture "i386";
		APT::Architectures { "i386"; };
		APT::Sandbox::User "root";
		Dir::State::Lists "$work/lists";
		Dir::State::status "/dev/null";
		Dir::Cache "$work/cache";
	END
	APT_CONFIG=$work/apt.conf apt-get -qq "$@"
}

# unpack DIRECTORY PACKAGE-FILE...
unpack() {
	directory=$1
	shift
	mkdir -p "$directory"
	for package; do
		dpkg-deb -x "$package" "$directory"
	done
}

get_libraries() {
	# Fails while a mirror is being updated, but most packages are there.
	apt_for_i386 update || true
	apt_for_i386 -y --download-only --no-install-recommends install \
	    libc6-dev "libgcc-$(gcc -dumpversion)-dev" libssl-dev \
	    libidn2-dev libunistring-dev libcmocka-dev
	unpack "$root" "$work"/cache/archives/*.deb
	# If everything is below usr.
	[ -e "$root/lib" ] || ln -s usr/lib "$root/lib"
}

get_emulator() {
	mkdir -p "$work/emulator"
	(cd "$work/emulator" && apt-get -qq download qemu-user-static)
	unpack "$tools" "$work"/emulator/*.deb
}

# Writes a script that runs a program: "run PROGRAM ARGUMENT...".  The emulator
# is started by a script next to the program that takes its place, because some
# tests start themselves again.  env removes a variable that the shell adds.
make_runner() {
	emulator="$tools/usr/bin/qemu-i386-static -L $root"
	cat >"$work/run" <<-END
		#!/bin/sh
		program=\$1
		shift
		cat >"\$program.\$\$" <<-SCRIPT
			#!/bin/sh
			exec env -u PWD $emulator -0 "\$program.emulated" "\$program" "\\\$@"
		SCRIPT
		chmod +x "\$program.\$\$"
		mv "\$program.\$\$" "\$program.emulated"
		exec "\$program.emulated" "\$@"
	END
	chmod +x "$work/run"
}

# Some unit tests replace a function that is an inline one in the headers.
make_cross_file() {
	libraries=$root/usr/lib/i386-linux-gnu:$root/lib/i386-linux-gnu
	cat >"$work/cross" <<-END
		[binaries]
		c = ['clang', '--target=i386-linux-gnu', '--sysroot=$root']
		ar = 'ar'
		strip = 'strip'
		pkgconfig = 'pkg-config'
		pkg-config = 'pkg-config'
		$1
		[built-in options]
		c_args = ['-Wno-static-in-inline']
		c_link_args = ['-Wl,--dynamic-linker=$root/lib/ld-linux.so.2',
		    '-Wl,-rpath=$libraries']
		[properties]
		needs_exe_wrapper = $2
		sys_root = '$root'
		pkg_config_libdir = '$root/usr/lib/i386-linux-gnu/pkgconfig'
		[host_machine]
		system = 'linux'
		cpu_family = 'x86'
		cpu = 'i686'
		endian = 'little'
	END
}

[ -f "$work/done" ] || {
	rm -rf "$work"
	mkdir -p "$work"
	get_libraries
}
if "$root/lib/ld-linux.so.2" --version >/dev/null 2>&1; then
	make_cross_file "" false
else
	[ -d "$tools" ] || get_emulator
	make_runner
	make_cross_file "exe_wrapper = '$work/run'" true
fi
touch "$work/done"
need_build "$1" -Dtests=enabled -Dstatic=disabled --cross-file "$work/cross"
