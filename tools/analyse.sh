#!/bin/sh
# SPDX-License-Identifier: ISC
# Run the analysers on the sources, and valgrind and gcov on the programs; the
# results are JUnit XML.
#	analyse.sh RESULT-FILE
set -eu
program=analyse
cd "$(dirname -- "$0")/.."
. tools/prepare.sh
out=$1
cases=

need_packages $check_packages clang-tools cppcheck valgrind gcovr

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

# Without tests that use OpenSSL or libresolv: those libraries would
# have to be instrumented too.
foreign='replay-dns$|(resolver|anchors|tlsd_session|tunnel)$'
CC=clang need_build build/msan -Dtests=enabled -Dwerror=false \
    -Db_sanitize=memory -Db_lundef=false -Didn=disabled
tests=$(meson test -C build/msan --list 2>/dev/null | sed 's/.* //' |
    grep -vE "$foreign")
result "MemorySanitizer" "$(
	MSAN_OPTIONS=allocator_may_return_null=1 meson test -C build/msan \
	    --no-rebuild --print-errorlogs --num-processes 4 $tests \
	    >build/msan.log 2>&1 || cat build/msan.log
)"

# valgrind needs dynamic programs without a sandbox.
plain="-Dtests=enabled --buildtype=debug -Dstatic=disabled -Dsandbox=false"
memcheck="valgrind -q --trace-children=yes --leak-check=full
	--errors-for-leak-kinds=definite --show-leak-kinds=definite
	--error-exitcode=99 --log-file=/srv/san/valgrind.%p"
need_build build/valgrind $plain
result "valgrind" "$(
	/usr/bin/python3 -m pytest -q -n 2 -p no:cacheprovider \
	    --build="$PWD/build/valgrind" --under "$(echo $memcheck)" \
	    test/integration/test_canonical.py >build/valgrind.log 2>&1 ||
	    tail -n 60 build/valgrind.log
)"

# branches GCOVR-OPTION...: for each file, branches taken and in all.
branches() {
	gcovr --root . --object-directory build/coverage --branches \
	    --exclude-unreachable-branches "$@"
}

forget_coverage() {
	find build/coverage -name '*.gcda' -exec rm {} +
}

# Coverage of the libraries by unit tests, of the programs by integration tests.
need_build build/coverage $plain -Db_coverage=true
forget_coverage
meson test -C build/coverage --no-rebuild --num-processes 8 >/dev/null 2>&1 || true
branches --filter src/ | grep '^[sT]'
result "all branches of report, reply, policy, encoder are taken" "$(
	branches --filter src/qmail/report.c --filter src/smtp/reply.c \
	    --filter src/tls/policy.c --filter src/smtp/body.c \
	    --filter src/smtp/measure.c --fail-under-branch 100 \
	    >build/branches.log 2>&1 || cat build/branches.log
)"
forget_coverage
/usr/bin/python3 -m pytest -q -n 8 -p no:cacheprovider \
    --build="$PWD/build/coverage" test/integration/test_stock*.py \
    test/integration/test_tls*.py test/integration/test_catalogue_[bcdeh].py test/integration/test_before_mail.py \
    test/integration/test_addresses.py >/dev/null 2>&1 || true
branches --filter prog/ | grep '^[pT]'

printf '<testsuites><testsuite name="analysers">%s</testsuite></testsuites>\n' \
    "$cases" >"$out"
