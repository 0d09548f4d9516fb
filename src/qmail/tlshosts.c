/* SPDX-License-Identifier: ISC */
#include "qmail/tlshosts.h"

#include <sys/stat.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "io/fdio.h"
#include "qmail/control.h"

#define FILE_NAME_MAX 255 /* bytes; longer ones no file system has */

static const char suffix[] = ".pem";

/* Whether there is such a file.  -1 if that cannot be found out. */
static int
exists(const char *path, bool *is_there, struct dsn *why)
{
	*is_there = access(path, F_OK) == 0;
	return *is_there || errno == ENOENT
		   ? 0
		   : control_refuse(path, strerror(errno), why);
}

int
tlshosts_inspect(struct tlshosts *t, struct dsn *why)
{
	*t = (struct tlshosts){ .has_pems = false };
	if (exists("control/notlshosts", &t->has_exceptions, why) == -1 ||
	    exists("control/tlshosts", &t->has_pems, why) == -1)
		return -1;
	if (!t->has_pems)
		return 0;
	return exists("control/tlshosts/exhaustivelist", &t->is_exhaustive,
	    why);
}

/* Whether a path may be made of the name. */
static bool
is_safe(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!str_is_alnum(name[i]) && !strchr("-_.", name[i]))
			return false;
	return n > 0 && name[0] != '.' && n + strlen(suffix) <= FILE_NAME_MAX;
}

/* Opened, so that one that cannot be read is found here and not later. */
static int
find_pem(const char *name, enum tlshosts_kind *kind, struct buf *pem,
    struct dsn *why)
{
	struct buf path = { 0 };
	struct stat st;
	int fd, result = 0;

	buf_printf(&path, "control/tlshosts/%s%s", name, suffix);
	fd = fdio_open_file(path.data, &st);
	if (fd == -1) {
		if (errno != ENOENT)
			result =
			    control_refuse(path.data, strerror(errno), why);
	} else if (st.st_size > 0) {
		*kind = TLSHOSTS_VERIFY;
		buf_append(pem, path.data, path.len);
	} else
		*kind = TLSHOSTS_ENCRYPT;
	if (fd != -1)
		close(fd);
	buf_finish(&path);
	return result;
}

static int
find_exception(const char *name, enum tlshosts_kind *kind, struct dsn *why)
{
	struct buf path = { 0 };
	bool is_there;
	int result;

	buf_printf(&path, "control/notlshosts/%s", name);
	result = exists(path.data, &is_there, why);
	if (is_there)
		*kind = TLSHOSTS_CLEAR;
	buf_finish(&path);
	return result;
}

/* Under all n spellings of the name. */
static int
find_file(const struct tlshosts *t, const char *const *name, size_t n,
    enum tlshosts_kind *kind, struct buf *pem, struct dsn *why)
{
	int result = 0;

	for (size_t i = 0; t->has_pems && i < n; i++)
		if (result == 0 && *kind == TLSHOSTS_ABSENT)
			result = find_pem(name[i], kind, pem, why);
	for (size_t i = 0; t->has_exceptions && i < n; i++)
		if (result == 0 && *kind == TLSHOSTS_ABSENT)
			result = find_exception(name[i], kind, why);
	return result;
}

int
tlshosts_find(const struct tlshosts *t, const char *name,
    enum tlshosts_kind *kind, struct buf *pem, struct dsn *why)
{
	char as_given[FILE_NAME_MAX], lower[FILE_NAME_MAX];
	const char *const spelling[] = { as_given, lower };
	size_t n = strlen(name);

	*kind = TLSHOSTS_ABSENT;
	if (!is_safe(name))
		return 0;
	if (n > 1 && name[n - 1] == '.')
		n--;
	for (size_t i = 0; i < n; i++) {
		as_given[i] = name[i];
		lower[i] = str_lower(name[i]);
	}
	as_given[n] = lower[n] = '\0';
	return find_file(t, spelling, strcmp(as_given, lower) == 0 ? 1 : 2,
	    kind, pem, why);
}
