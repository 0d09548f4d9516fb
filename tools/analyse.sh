#!/bin/sh
# SPDX-License-Identifier: ISC
# Let the analysers read the sources, and valgrind and gcov the programs; the
# results as JUnit XML.
#	analyse.sh RESULT-FILE
set -eu
program=analyse
cd "$(dirname -- "$0")/.."
. tools/prepare.sh
out=$1
cases=

need_packages clang clang-tools cppcheck valgrind gcovr

# result NAME OUTPUT: passed if there was no output.
result() {
	if [ -z "$2" ]; then
		cases="$cases<testcase classname=\"analysers\" name=\"$1\"/>"
	else
		printf 'FAILED %s\n%s\n' "$1" "$2"
		cases="$cases<testcase classname=\"analysers\" name=\"$1\"><failure/></testcase>"
	fi
}

flags="-std=c11 -D_POSIX_C_SOURCE=200809L -Ibuild/check -Isrc -Iprog"
sources=$(git ls-files 'src/*.c' 'prog/*.c')

result "gcc -fanalyzer" "$(
	for source in $sources; do
		gcc $flags -O1 -fanalyzer -c -o /dev/null "$source" 2>&1
	done
)"
result "clang static analyser" "$(
	for source in $sources; do
		clang $flags --analyze --analyzer-output text \
		    -Xclang -analyzer-opt-analyze-headers -o /dev/null \
		    "$source" 2>&1
	done
)"
result "cppcheck" "$(
	cppcheck --quiet --std=c11 --enable=warning,performance,portability \
	    --inline-suppr --suppressions-list=tools/cppcheck.suppressions \
	    -D_POSIX_C_SOURCE=200809L -Ibuild/check -Isrc -Iprog \
	    $sources 2>&1
)"

printf '<testsuites><testsuite name="analysers">%s</testsuite></testsuites>\n' \
    "$cases" >"$out"
