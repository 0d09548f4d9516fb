/* SPDX-License-Identifier: ISC */
/*
 * Says what would become of a message to a domain, and what a delivery depends
 * on.  It sends no message and changes no file.
 */
#define _DEFAULT_SOURCE /* setgroups(), clearenv() */

#include <sys/stat.h>
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "check/listing.h"
#include "check/probe.h"
#include "io/fdio.h"
#include "io/sandbox.h"

#include "config.h"
#include "files.h"
#include "many.h"
#include "version.h"

/* Verdicts are exit codes too; of the control files: fine or not. */
#define EXIT_DEFERRED CHECK_DEFERRED
#define EXIT_USAGE 3

struct options {
	bool all, json, offline;
	int strictness;
	const char *host; /* NULL: the control files; "-": standard input */
	char **envelope;
};

static const char *const written[] = { "queue/lock/tcpto", "/dev/null" };

static int
fatal(const char *what)
{
	fprintf(stderr, "qmail-remote-check: unable to %s: %s\n", what,
	    strerror(errno));
	return EXIT_DEFERRED;
}

static void
die_without_output(void)
{
	exit(fatal("write to standard output"));
}

static void
die_out_of_memory(void)
{
	fputs("qmail-remote-check: out of memory\n", stderr);
	_exit(EXIT_DEFERRED);
}

/*
 * Root looks with the rights of a delivery: it becomes the owner of the state
 * directory, which is qmailr.
 */
static int
become_qmailr(void)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (stat(QMAIL_STATE, &st) == -1)
		return -1;
	if (st.st_uid == 0)
		fputs("qmail-remote-check: " QMAIL_STATE " belongs to root: "
		      "this may read more than a delivery can\n",
		    stderr);
	if (setgroups(1, &st.st_gid) == -1 || setgid(st.st_gid) == -1)
		return -1;
	return setuid(st.st_uid);
}

/* Of the owner of the state directory; another user sees less. */
static bool
has_rights_of_qmailr(void)
{
	struct stat st;

	return stat(QMAIL_STATE, &st) == 0 && geteuid() == st.st_uid;
}

/* NO_COLOR is the convention of no-color.org. */
static struct view
choose_view(const struct options *o)
{
	const char *terminal = getenv("TERM");
	const char *no_colour = getenv("NO_COLOR");
	bool is_line = o->host && strcmp(o->host, "-") == 0;
	struct view view = is_line ? view_line : view_text;

	if (o->json)
		view = view_json;
	view.out.failed = die_without_output;
	view.out.is_terminal = !o->json && !is_line && isatty(1) && terminal &&
			       strcmp(terminal, "dumb") != 0;
	view.out.is_coloured =
	    view.out.is_terminal && (!no_colour || *no_colour == '\0');
	return view;
}

static int
check(const struct options *o, struct view *view,
    const struct installed *installed, struct held *held)
{
	struct setup_files files = files_of_qmail(true);
	const struct listing listing = {
		.files = &files,
		.view = view,
		.installed = installed,
		.held = held,
	};
	struct probe probe = {
		.files = &files,
		.view = view,
		.host = o->host,
		.envelope = o->envelope,
		.tries_all = o->all,
		.is_offline = o->offline,
		.strictness = o->strictness,
		.held = held,
	};

	files.relays.may_lack_rights = !has_rights_of_qmailr();
	held_read(held);
	if (o->host == NULL)
		return listing_run(&listing) ? 0 : EXIT_DEFERRED;
	if (strcmp(o->host, "-") == 0)
		return (int)many_run(&probe);
	return (int)probe_run(&probe);
}

static int
usage(void)
{
	fputs("usage: qmail-remote-check [--json]\n"
	      "       qmail-remote-check [--json] [--all] [--strictness N] "
	      "HOST [SENDER RECIPIENT ...]\n"
	      "       qmail-remote-check [--json] --routes HOST\n"
	      "       qmail-remote-check [--json] [--all] [--strictness N] -\n",
	    stderr);
	return EXIT_USAGE;
}

/* The number after --strictness, or -1. */
static int
strictness(const char *word)
{
	if (word && word[0] >= '0' && word[0] <= '2' && word[1] == '\0')
		return word[0] - '0';
	return -1;
}

/* What follows the options. */
static bool
read_words(char **word, struct options *o)
{
	bool has_options = o->all || o->offline || o->strictness != -1;

	o->host = *word;
	if (!*word)
		return !has_options;
	o->envelope = word + 1;
	if (o->envelope[0] == NULL)
		return strcmp(o->host, "-") != 0 || !o->offline;
	/* A sender alone is not enough. */
	return o->envelope[1] != NULL && !o->offline &&
	       strcmp(o->host, "-") != 0;
}

/* False if they are wrong. */
static bool
read_arguments(char **word, struct options *o)
{
	*o = (struct options){ .strictness = -1 };
	for (; *word && strncmp(*word, "--", 2) == 0; word++) {
		if (strcmp(*word, "--json") == 0)
			o->json = true;
		else if (strcmp(*word, "--all") == 0)
			o->all = true;
		else if (strcmp(*word, "--routes") == 0)
			o->offline = true;
		else if (strcmp(*word, "--strictness") == 0) {
			o->strictness = strictness(*++word);
			if (o->strictness == -1)
				return false;
		} else
			return false;
	}
	if (*word && **word == '-' && (*word)[1] != '\0')
		return false;
	return !(o->offline && (o->all || o->strictness != -1)) &&
	       read_words(word, o);
}

int
main(int argc, char **argv)
{
	struct options options;
	struct view view;
	struct installed installed = { 0 };
	struct held held = { .client = { .fd = -1 } };
	int status;

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK("qmail-remote-check"));
	if (argc == 0 || !read_arguments(argv + 1, &options))
		return usage();
	if (fdio_fill_standard() == -1)
		return fatal("open /dev/null");
	if (chdir(QMAIL_HOME) == -1)
		return fatal("switch to " QMAIL_HOME);
	mem_on_exhaustion(die_out_of_memory);
	if (options.host == NULL)
		installed_look(&installed, QMAIL_HOME, PROGRAM_NAME,
		    PROGRAM_VERSION);
	if (become_qmailr() == -1)
		return fatal("become the owner of " QMAIL_STATE);
	/* The sandbox allows no such socket. */
	if (!options.offline)
		held_join(&held, QMAIL_STATE "/cache.sock");
	view = choose_view(&options);
	/* It could change what a library does. */
	clearenv();
	signal(SIGPIPE, SIG_IGN);
	sandbox_harden();
	sandbox_enter_search(QMAIL_STATE, written,
	    sizeof written / sizeof *written);
	status = check(&options, &view, &installed, &held);
	held_finish(&held);
	installed_finish(&installed);
	return status;
}
