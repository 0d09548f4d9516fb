#!/bin/sh
# SPDX-License-Identifier: ISC
# Check that the unit tests of src/delivery, src/sts and src/cache take every
# branch: those of each file, by the tests of the same name only.
#	coverage.sh
# Prints how many branches are taken, and the lines of the others; exit code 1
# if there are others, or a function that is never called.
#
# The build is not optimized, so that gcov finds the branches of the source.
# Two other kinds of branches are not counted:
# * The failure of an assert, which cannot occur.
# * In a switch over an enum, without default, the branch for values that the
#   enum does not have.  It leads to the end of the switch, so it is the last
#   one of that line.  If a value of the enum is missing, -Wswitch reports it.
# Headers are not counted.
set -eu
program=coverage
cd "$(dirname -- "$0")/.."
. tools/prepare.sh

build=build/coverage
failed=0

# branches SOURCE: reads the output of gcov for all objects that were compiled
# from the source.
branches() {
	awk -v name="$1" '
	# First the source itself.
	NR == FNR {
		text[FNR] = $0
		depth = match($0, /[^\t]/)
		if ($0 ~ /^\t*switch \(/) {
			at[depth] = FNR
			is_for_all[FNR] = 1
		} else if ($0 ~ /^\t*(default:|case [^A-Z])/) {
			is_for_all[at[depth]] = 0
		}
		next
	}
	/^ *-: *0:Source:/ {
		is_wanted = $0 ~ "/" name "$"
	}
	!is_wanted {
		next
	}
	/^ *[^ :]+: *[0-9]+:/ {
		split($0, field, ":")
		line = field[2] + 0
		n = 0
	}
	/^function / && !($2 in called) {
		order[++nfunction] = $2
	}
	/^function / {
		called[$2] += $4
	}
	/^branch / {
		taken[line, n++] += $3 == "taken" ? $4 : 0
		count[line] = n
	}
	END {
		for (line = 1; line in text; line++) {
			n = text[line] ~ /\tassert\(/ ? 0 : count[line]
			if (is_for_all[line])
				n--
			here = 0
			for (i = 0; i < n; i++)
				here += taken[line, i] > 0
			if (here < n)
				list = list sprintf("%6d: %d of %d: %s\n", line,
				    here, n, text[line])
			sum += here
			all += n
		}
		if (nfunction == 0)
			list = "        gcov does not know this file\n"
		for (i = 1; i <= nfunction; i++)
			if (called[order[i]] == 0)
				list = list "        never called: " \
				    order[i] "\n"
		printf("%s: %d of %d branches are taken\n%s", name, sum, all,
		    list)
		exit (list != "")
	}' "$1" -
}

# measure LAYER MODULE TEST: by test_TEST and each test_TEST_SUBJECT.  A test may
# include the source, and so be another object.
measure() {
	tests=$(cd test/unit && find . -name "test_$3.c" -o -name "test_$3_*.c" |
	    sed 's/.*test_//; s/[.]c$//')
	if [ -z "$tests" ]; then
		say "src/$1/$2.c: there is no test/unit/test_$3.c"
		return 1
	fi
	find $build -name '*.gcda' -exec rm {} +
	if ! meson test -C $build --no-rebuild --print-errorlogs $tests \
	    >$build/test.log 2>&1; then
		cat $build/test.log
		return 1
	fi
	for object in "lib$1.a.p/src_$1_$2" \
	    $(printf 'test/unit/test_%s.p/test_%s\n' $(for test in $tests; do
		say "$test $test"
	    done)); do
		(cd $build && gcov -b -c --stdout "$object.c.gcno" 2>gcov.log) ||
		    cat $build/gcov.log >&2
	done | branches "src/$1/$2.c"
}

# As in tools/analyse.sh, which uses the same build.
need_build $build -Dtests=enabled --buildtype=debug -Dstatic=disabled \
    -Dsandbox=false -Db_coverage=true
for source in src/delivery/*.c; do
	module=$(basename "$source" .c)
	test=$module
	# Its only user is delivery/attempt, which is tested with it.
	[ "$module" != handshake ] || test=attempt
	measure delivery "$module" "$test" || failed=1
done
for source in src/sts/*.c; do
	module=$(basename "$source" .c)
	measure sts "$module" "sts_$module" || failed=1
done
for source in src/cache/*.c; do
	module=$(basename "$source" .c)
	test=$module
	# Their only user is cache/broker, which is tested with them.
	case $module in
	lender | request) test=broker ;;
	esac
	measure cache "$module" "cache_$test" || failed=1
done
exit $failed
