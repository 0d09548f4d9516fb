/* SPDX-License-Identifier: ISC */

/*
 * Linked into the programs of a sanitizer build only.  The programs run with an
 * empty environment and fd 2 on /dev/null, so the findings of a sanitizer go to
 * files in the private /srv of the tests.  Leaks are not checked: a program
 * delivers one message and exits.
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
