/* SPDX-License-Identifier: ISC */

/*
 * Linked into the programs of a sanitizer build only: they run with an empty
 * environment and fd 2 on /dev/null, so what a sanitizer finds goes to files
 * in the private /srv of the tests.  Memory that is in use when a program
 * ends is none of its business: they deliver one message and exit.
 */
#define OPTIONS "log_path=/srv/san/log:detect_leaks=0:print_stacktrace=1"

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *
__asan_default_options(void)
{
	return OPTIONS;
}

const char *
__ubsan_default_options(void)
{
	return OPTIONS;
}
