/* SPDX-License-Identifier: ISC */
#include "check/installed.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "io/fdio.h"

#define PROGRAM_MAX ((size_t)256 << 20)
#define WORD_MAX 63

static const char mark[] = "@(#)";

/*
 * Takes the bytes up to the end character as a word.  False if it is empty, too
 * long, or not printable.
 */
static bool
take_word(const char **at, const char *end, char last, char word[WORD_MAX + 1])
{
	size_t n = 0;

	while (*at<end &&* * at> ' ' && **at <= '~' && n < WORD_MAX)
		word[n++] = *(*at)++;
	word[n] = '\0';
	return n > 0 && *at < end && *(*at)++ == last;
}

/* The first mark of one of our programs. */
static bool
find_mark(const struct buf *file, char name[WORD_MAX + 1],
    char version[WORD_MAX + 1])
{
	const char *at = buf_text(file), *end = at + file->len;
	const size_t n = sizeof mark - 1;

	while ((size_t)(end - at) > n &&
	       (at = memchr(at, mark[0], (size_t)(end - at) - n)) != NULL) {
		const char *words = at + n;

		if (memcmp(at, mark, n) == 0 &&
		    take_word(&words, end, ' ', name) &&
		    take_word(&words, end, '\0', version) &&
		    strncmp(name, "qmail-remote", 12) == 0)
			return true;
		at++;
	}
	return false;
}

/* The installer lets qmailr run the programs, not read them. */
static void
describe_unreadable(const char *path, struct buf *what, struct buf *fault)
{
	const int error = errno;

	if (error == EACCES && access(path, X_OK) == 0)
		buf_puts(what, "can be run; only root can read its version");
	else
		buf_puts(fault, strerror(error));
}

static void
describe(const char *path, const char *name, const char *version,
    struct buf *what, struct buf *fault)
{
	char its_name[WORD_MAX + 1], its_version[WORD_MAX + 1];
	struct buf file = { 0 };

	if (fdio_read_file(path, PROGRAM_MAX, &file) == -1)
		describe_unreadable(path, what, fault);
	else if (file.len >= 2 && memcmp(file.data, "#!", 2) == 0)
		buf_puts(fault, "a script: a wrapper in front of this program, "
				"or something in its place");
	else if (!find_mark(&file, its_name, its_version))
		buf_puts(fault, "another program, such as that of qmail, is in "
				"the place of this one");
	else {
		buf_printf(what, "%s %s", its_name, its_version);
		if (strcmp(its_name, name) != 0)
			buf_printf(fault, "this is not %s", name);
		else if (strcmp(its_version, version) != 0)
			buf_printf(fault, "not of version %s, as this is",
			    version);
	}
	buf_finish(&file);
}

void
installed_look(struct installed *all, const char *home, const char *name,
    const char *version)
{
	static const char *const names[INSTALLED_PROGRAMS] = { "qmail-remote",
		"qmail-remote-io", "qmail-remote-tls", "qmail-remote-sts",
		"qmail-remote-cache", "qmail-remote-utf8" };

	for (size_t i = 0; i < INSTALLED_PROGRAMS; i++) {
		struct installed_program *p = &all->programs[i];

		buf_printf(&p->path, "%s/bin/%s", home,
		    i == 0 ? name : names[i]);
		describe(buf_text(&p->path), names[i], version, &p->what,
		    &p->fault);
	}
}

void
installed_finish(struct installed *all)
{
	for (size_t i = 0; i < INSTALLED_PROGRAMS; i++) {
		buf_finish(&all->programs[i].path);
		buf_finish(&all->programs[i].what);
		buf_finish(&all->programs[i].fault);
	}
}
