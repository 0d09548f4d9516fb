#!/bin/sh
# SPDX-License-Identifier: ISC
# Run life.py in a copy of the root directory whose changes are kept in memory.
# This is to be started in a mount namespace of its own.
#	life.sh DIRECTORY	which has the package
set -eu
here=$(cd "$(dirname -- "$0")" && pwd)
top=$(cd "$here/../.." && pwd)

mount --make-rprivate / 2>/dev/null || true
root=$(mktemp -d)
mount -t tmpfs -o mode=755 none "$root"
mkdir "$root/changes" "$root/work" "$root/root"
mount -t overlay \
    -o "lowerdir=/,upperdir=$root/changes,workdir=$root/work" none "$root/root"
for name in proc sys dev; do
	mount --rbind "/$name" "$root/root/$name"
done
mkdir -p "$root/root/run/package"
cp "$1"/*.deb "$here/life.py" "$top/debian/tests/deliver" \
    "$root/root/run/package"
exec chroot "$root/root" /usr/bin/python3 /run/package/life.py /run/package
