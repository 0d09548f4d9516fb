#!/bin/sh
# SPDX-License-Identifier: ISC
# Build the Debian package from a copy of the files that git knows, let lintian
# look at it, and have dpkg install, upgrade and remove it (test/package/life.py),
# in a private copy of this system's root directory.
#	package.sh BUILD-DIRECTORY
set -eu
program=package
cd "$(dirname -- "$0")/.."
. tools/prepare.sh
[ $# = 1 ] || die "usage: tools/package.sh BUILD-DIRECTORY"

[ "$(id -u)" = 0 ] || die "run me as root: dpkg is to install the package"
need_packages $build_packages python3 libcmocka-dev dpkg-dev debhelper lintian git mount
rm -rf "$1"
mkdir -p "$1/source"
out=$(cd "$1" && pwd)
git ls-files -z | tar --null -T - -cf - | tar -C "$out/source" -xf -

say "building the package"
(cd "$out/source" && dpkg-buildpackage -us -uc -b) >"$out/build.log" 2>&1 ||
    { tail -n 40 "$out/build.log"; die "the package was not built"; }
say "lintian"
lintian --allow-root --fail-on error,warning "$out"/*.changes || die "lintian"
say "installing, upgrading and removing it"
unshare --mount --propagation unchanged test/package/life.sh "$out"
