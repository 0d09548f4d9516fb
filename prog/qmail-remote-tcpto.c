/* SPDX-License-Identifier: ISC */
/*
 * Prints what is known of addresses: time-outs as qmail-tcpto does, and what
 * failed with the servers there.  -d ADDRESS forgets one.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "files.h"
#include "version.h"

#define EXIT_NO_RECORD 1
#define EXIT_USAGE 3
#define EXIT_FATAL 111 /* as qmail-tcpto */

static const char *const failed[MEMORY_KINDS] = {
	[MEMORY_PIPELINING] = "failed with PIPELINING",
	[MEMORY_STALL] = "stalled in mail data",
	[MEMORY_EHLO] = "failed at EHLO",
	[MEMORY_TLS] = "hung in the TLS handshake",
};

static int
fatal(const char *what, const char *path)
{
	fprintf(stderr, "qmail-remote-tcpto: fatal: unable to %s %s: %s\n",
	    what, path, strerror(errno));
	return EXIT_FATAL;
}

/* The lines of qmail-tcpto. */
static int
print_time_outs(const struct tcpto *tcpto, bool is_v4, int64_t now)
{
	struct tcpto_record record[TCPTO_RECORDS];
	char text[IP_TEXT_SIZE];
	int n = tcpto_list(tcpto, is_v4, record);

	/* tcpto6 is made when it is needed. */
	if (n == -1 && !is_v4 && errno == ENOENT)
		return 0;
	if (n == -1)
		return fatal("read", is_v4 ? tcpto->path4 : tcpto->path6);
	for (int i = 0; i < n; i++)
		printf("%s timed out %lld seconds ago; # recent timeouts: %u\n",
		    ip_format(&record[i].ip, text),
		    (long long)(now - record[i].when), record[i].count);
	return 0;
}

static void
print_notes(const struct memory *m, const struct ip *ip, int64_t now)
{
	char text[IP_TEXT_SIZE];

	for (int i = 0; i < MEMORY_KINDS; i++) {
		enum memory_kind kind = (enum memory_kind)i;
		int64_t when = memory_find(m, ip, kind, now);

		if (when == 0)
			continue;
		printf("%s %s %lld seconds ago; remembered for %lld seconds\n",
		    ip_format(ip, text), failed[kind], (long long)(now - when),
		    (long long)(when + memory_lifetime(kind) - now));
	}
}

static int
print_memory(const struct setup_files *files, int64_t now)
{
	static struct memory m;
	struct ip ip;

	if (memory_load(&m, files->memory) == -1)
		return errno == ENOENT ? 0 : fatal("read", files->memory);
	m.cleared = tcpto_cleared(&files->tcpto);
	for (size_t i = 0; i < MEMORY_RECORDS; i++)
		if (memory_address(&m, i, &ip))
			print_notes(&m, &ip, now);
	return 0;
}

static int
print_all(const struct setup_files *files)
{
	int64_t now = (int64_t)time(NULL);
	int result = print_time_outs(&files->tcpto, true, now);

	if (result == 0)
		result = print_time_outs(&files->tcpto, false, now);
	if (result == 0)
		result = print_memory(files, now);
	if (fflush(stdout) == EOF && result == 0)
		result = fatal("write to", "standard output");
	return result;
}

/* A file that is not there has no record. */
static bool
is_missing(int found)
{
	return found == 0 || (found == -1 && errno == ENOENT);
}

static int
forget(const struct setup_files *files, const struct ip *ip)
{
	int timed_out = tcpto_forget(&files->tcpto, ip);
	int noted;

	if (!is_missing(timed_out) && timed_out != 1)
		return fatal("change",
		    ip_is_v4(ip) ? files->tcpto.path4 : files->tcpto.path6);
	noted = memory_forget(files->memory, ip);
	if (!is_missing(noted) && noted != 1)
		return fatal("change", files->memory);
	return timed_out == 1 || noted == 1 ? 0 : EXIT_NO_RECORD;
}

static int
usage(void)
{
	fputs("usage: qmail-remote-tcpto [-d ADDRESS]\n", stderr);
	return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
	const struct setup_files files = files_of_qmail(false);
	struct ip ip;

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK("qmail-remote-tcpto"));
	if (argc != 1 && (argc != 3 || strcmp(argv[1], "-d") != 0))
		return usage();
	if (argc == 3 && !ip_parse(argv[2], strlen(argv[2]), &ip))
		return usage();
	if (chdir(QMAIL_HOME) == -1)
		return fatal("switch to", QMAIL_HOME);
	return argc == 1 ? print_all(&files) : forget(&files, &ip);
}
