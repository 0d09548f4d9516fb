#!/bin/sh
# SPDX-License-Identifier: ISC
# Checks of the sources, without running the programs; the results are JUnit
# XML.
#	static-checks.sh RESULT-FILE
set -eu
cd "$(dirname -- "$0")/.."
out=$1
cases=

# result NAME OUTPUT: passed if there was no output.
result() {
	name=$1
	if [ -z "$2" ]; then
		cases="$cases<testcase classname=\"static\" name=\"$name\"/>"
	else
		printf 'FAILED %s\n%s\n' "$name" "$2"
		cases="$cases<testcase classname=\"static\" name=\"$name\"><failure/></testcase>"
	fi
}

sources=$(git ls-files '*.c' '*.h')

# A referenced page that is not installed is not an error.
for page in man/*; do
	result "mandoc ${page##*/}" "$(mandoc -Tlint "$page" 2>&1 |
	    grep -v 'outdated mandoc.db\|referenced manual not found' || true)"
done
version=$(sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)
result "the pages have the version of meson.build" \
    "$(grep -LFx "This page is of qmail-remote $version." man/* || true)"
result "one file includes idn2.h and libunistring" \
    "$(grep -lsE '<(idn2|unicase|unictype)\.h>' $sources | grep -v '^src/base/idn.c$' || true)"
result "one library includes OpenSSL" \
    "$(grep -ls '<openssl/' $sources | grep -v '^src/tlsd/\|^test/' || true)"
# base/mem and base/deadline abort if they cannot continue; io/spawn ends a
# child process in which nothing but itself runs.
result "only prog exits" "$(
	grep -nE '\<(_?[eE]xit|quick_exit|abort)\(' $(git ls-files 'src/*.c') |
	    grep -vE '^src/base/(mem|deadline)\.c:[0-9]+:	+abort\(' |
	    grep -vE '^src/io/spawn\.c:[0-9]+:	_exit\(' || true)"
result "layers look down" "$(
	for layer in $(ls src); do
		case $layer in
		base) allowed='base' ;;
		io) allowed='base|io' ;;
		qmail | dns | smtp | tls | cache) allowed="base|io|$layer" ;;
		tlsd) allowed='base|io|tls|tlsd' ;;
		sts) allowed='base|io|qmail|dns|tls|sts' ;;
		delivery) allowed='base|io|qmail|dns|smtp|tls|cache|sts|delivery' ;;
		check) allowed='base|io|qmail|dns|smtp|tls|cache|sts|delivery|check' ;;
		*) echo "src/$layer: a layer that this check does not know" ;;
		esac
		grep -nE '^#include "[a-z]+/' $(git ls-files "src/$layer/*") |
		    grep -vE "\"($allowed)/" || true
	done)"
# Each object of the libraries that can change is explained in its module.
result "no changing data but what is explained" "$(
	for library in build/check/lib*.a; do
		objdump -t "$library" 2>/dev/null
	done | awk '/file format/ { file = $1; sub(/^.*src_/, "", file); sub(/:$/, "", file) }
	    $3 == "O" && $4 ~ /^\.t?(bss|data)(\.|$)/ && $4 !~ /rel\.ro/ {
		    print file ": " $NF }' |
	    grep -vxE 'base_(mem\.c\.o: exhausted|idn_none\.c\.o: on_need)|qmail_report\.c\.o: report' || true)"
# In the built programs: no fixed address, no memory that is both writable and
# executable, all relocations done before main().
result "the programs are hardened" "$(
	for name in qmail-remote qmail-remote-cache qmail-remote-io qmail-remote-sts \
	    qmail-remote-tls qmail-remote-utf8; do
		parts=$(readelf -hldW "build/check/$name")
		for part in 'Type: *DYN' GNU_RELRO 'GNU_STACK.* RW  *0x' NOW; do
			echo "$parts" | grep -q "$part" || echo "$name: no $part"
		done
	done
)"
result "ARCHITECTURE.md lists every module and no other" "$(
	for module in $(sed -n 's/^\* `\([a-z]*\/[a-z_]*\)`: .*/\1/p' doc/ARCHITECTURE.md); do
		[ -f "src/$module.c" ] || [ -f "src/$module.h" ] ||
		    [ -f "$module.c" ] || echo "no such module: $module"
	done
	for header in $(git ls-files 'src/*.h' 'prog/*.h'); do
		module=${header#src/}
		grep -q "^\* \`${module%.h}\`: " doc/ARCHITECTURE.md ||
		    echo "not listed: $header"
	done
)"
result "only qmail/report knows the letters of a report" "$(
	grep -nE "['\"][rhsKZD]['\"]" $(git ls-files 'src/*.[ch]' 'prog/*.[ch]') |
	    grep -vE "^src/qmail/report\.|<= 'Z'" || true
)"
# src/tlsd writes no report; what it sets is the text of a status record.
result "the sentences of a report are in one table" "$(
	grep -n '\<dsn_set(' $(git ls-files 'src/*.c' 'prog/*.c') |
	    grep -vE '^src/(base/dsn|delivery/failure|tlsd/[a-z]+|qmail/(control|report))\.c:' |
	    grep -vF 'dsn_set(why, ROUTE_STATUS, "%s", ROUTE_SENTENCE);' || true
)"
result "no unfinished marks" \
    "$(grep -nwE 'TODO|FIXME|XXX|HACK' $sources || true)"
# The headers of the libraries do not depend on the C library.
headers=build/musl-headers
mkdir -p "$headers"
cp /usr/include/idn2.h /usr/include/unicase.h \
    /usr/include/unictype.h /usr/include/unitypes.h \
    /usr/include/uninorm.h "$headers"
cp -r /usr/include/unistring "$headers"
cp -r /usr/include/openssl "$headers"
cp /usr/include/*-linux-gnu*/openssl/* "$headers/openssl"
ln -sfn /usr/include/linux /usr/include/asm-generic \
    /usr/include/*-linux-gnu*/asm "$headers"
result "compiles with musl" "$(
	for source in $(git ls-files 'src/*.c' 'prog/*.c'); do
		musl-gcc -fsyntax-only -std=c11 -D_POSIX_C_SOURCE=200809L \
		    -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
		    -Ibuild/check -Isrc -Iprog -isystem "$headers" "$source" 2>&1
	done
)"
if command -v clang-format >/dev/null; then
	result "clang-format" \
	    "$(clang-format --dry-run -Werror $sources 2>&1 | head -20 || true)"
else
	cases="$cases<testcase classname=\"static\" name=\"clang-format\"><skipped message=\"no clang-format here\"/></testcase>"
fi

printf '<testsuites><testsuite name="static">%s</testsuite></testsuites>\n' \
    "$cases" >"$out"
