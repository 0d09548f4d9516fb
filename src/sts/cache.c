/* SPDX-License-Identifier: ISC */
#include "sts/cache.h"

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/fdio.h"

#define ENTRY_PREFIX "sts-"
#define NEW_PREFIX "sts.new-"

/* Nothing that another user may have put there is followed or waited for. */
#define OPEN_SAFELY (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* For a file to move under a lock once more takes another whole fetch. */
#define LOCK_TRIES 5

#define MARK_MS 10 /* from taking a lock to marking its file */

static struct buf
path_of(const char *state, const char *prefix, const char *domain)
{
	struct buf path = { 0 };

	buf_printf(&path, "%s/%s%s", state, prefix, domain);
	return path;
}

/* Opens a regular file; -1 with errno. */
static int
open_regular(const char *path, int flags, struct stat *st)
{
	int fd = open(path, flags | OPEN_SAFELY, 0640);

	if (fd == -1)
		return -1;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	close(fd);
	errno = EINVAL;
	return -1;
}

/*
 * Reading.
 */

int
sts_cache_read(struct sts_entry *e, const char *state, const char *domain)
{
	struct buf path = path_of(state, ENTRY_PREFIX, domain);
	struct buf text = { 0 };
	struct stat st;
	int fd = open_regular(buf_text(&path), O_RDONLY, &st);
	int result = -1;

	if (fd != -1) {
		if (fdio_read_to_end(fd, &st, STS_ENTRY_MAX, &text) == 0)
			result = sts_entry_parse(e, domain, buf_text(&text),
			    text.len);
		close(fd);
	}
	buf_finish(&text);
	buf_finish(&path);
	return result;
}

void
sts_cache_remove(const char *state, const char *domain)
{
	struct buf path = path_of(state, ENTRY_PREFIX, domain);

	(void)unlink(buf_text(&path));
	buf_finish(&path);
}

/*
 * Locks.
 */

/* Whether the path still leads to the open file: both are in one directory. */
static bool
is_at(const char *path, const struct stat *file)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_ino == file->st_ino;
}

/*
 * Marks the file: its mtime is now.  The group may read it, whatever the umask
 * is.  Best effort: without it nobody waits for the fetch.
 */
static void
mark(int fd)
{
	static const char text[] = "a policy is being fetched\n";

	(void)fchmod(fd, 0640);
	if (ftruncate(fd, 0) == 0)
		(void)fdio_write_all(fd, text, sizeof text - 1, 0);
}

/*
 * When the file was marked that another process has locked.  A mark that is not
 * new may be that of a fetch that was killed, and the other process about to
 * mark the file: so it is looked at again a moment later.
 */
static int64_t
time_of_mark(int fd)
{
	struct stat st = { .st_mtime = 0 };

	(void)fstat(fd, &st);
	if (st.st_mtime + 1 < time(NULL)) {
		(void)poll(NULL, 0, MARK_MS);
		(void)fstat(fd, &st);
	}
	return (int64_t)st.st_mtime;
}

/*
 * Tries once.  The file may have been renamed or removed between being opened
 * and locked: then it is not the lock any more, and *has_moved is set.
 */
static enum sts_lock
try_lock(const char *path, int *fd, int64_t *since, bool *has_moved)
{
	enum sts_lock result = STS_LOCK_NONE;
	struct stat st;

	*has_moved = false;
	*fd = open_regular(path, O_RDWR | O_CREAT, &st);
	if (*fd == -1)
		return STS_LOCK_NONE;
	if (fdio_lock(*fd, FDIO_LOCK_EXCLUSIVE, 0) == 0) {
		if (is_at(path, &st)) {
			mark(*fd);
			return STS_LOCK_TAKEN;
		}
		*has_moved = true;
	} else if (errno == EWOULDBLOCK) {
		*since = time_of_mark(*fd);
		result = STS_LOCK_BUSY;
	}
	close(*fd);
	*fd = -1;
	return result;
}

enum sts_lock
sts_lock_take(const char *state, const char *domain, int *fd, int64_t *since)
{
	struct buf path = path_of(state, NEW_PREFIX, domain);
	enum sts_lock result = STS_LOCK_NONE;
	bool has_moved = true;

	for (int i = 0; i < LOCK_TRIES && has_moved; i++)
		result = try_lock(buf_text(&path), fd, since, &has_moved);
	buf_finish(&path);
	return result;
}

bool
sts_lock_wait(const char *state, const char *domain, struct deadline until)
{
	struct buf path = path_of(state, NEW_PREFIX, domain);
	struct stat st;
	int fd = open_regular(buf_text(&path), O_RDONLY, &st);
	bool is_free = true;

	if (fd != -1) {
		is_free =
		    fdio_lock(fd, FDIO_LOCK_SHARED, deadline_left(until)) == 0;
		close(fd);
	}
	buf_finish(&path);
	return is_free;
}

void
sts_lock_drop(const char *state, const char *domain, int fd)
{
	struct buf path = path_of(state, NEW_PREFIX, domain);

	(void)unlink(buf_text(&path));
	close(fd);
	buf_finish(&path);
}

/* Opens a file that is never written to, and creates it if it is missing. */
static int
open_place(const char *path)
{
	struct stat st;
	int fd = open_regular(path, O_RDONLY, &st);

	if (fd != -1 || errno != ENOENT)
		return fd;
	return open_regular(path, O_RDONLY | O_CREAT, &st);
}

enum sts_lock
sts_place_take(const char *state, int *fd)
{
	enum sts_lock result = STS_LOCK_NONE;

	for (int i = 0; i < STS_FETCHES_MAX; i++) {
		struct buf path = { 0 };

		buf_printf(&path, "%s/sts.lock.%d", state, i);
		*fd = open_place(buf_text(&path));
		buf_finish(&path);
		if (*fd == -1)
			continue;
		if (fdio_lock(*fd, FDIO_LOCK_EXCLUSIVE, 0) == 0)
			return STS_LOCK_TAKEN;
		if (errno == EWOULDBLOCK)
			result = STS_LOCK_BUSY;
		close(*fd);
		*fd = -1;
	}
	return result;
}

/*
 * Writing.
 */

static int
replace(int fd, const void *text, size_t n)
{
	if (lseek(fd, 0, SEEK_SET) == -1 || ftruncate(fd, 0) == -1 ||
	    fdio_write_all(fd, text, n, 0) == -1)
		return -1;
	return fsync(fd);
}

int
sts_cache_write(const char *state, const char *domain, int fd, const void *text,
    size_t n)
{
	struct buf from = path_of(state, NEW_PREFIX, domain);
	struct buf to = path_of(state, ENTRY_PREFIX, domain);
	int result = replace(fd, text, n);
	int saved;

	if (result == 0)
		result = rename(buf_text(&from), buf_text(&to));
	saved = errno;
	if (result == -1)
		(void)unlink(buf_text(&from));
	buf_finish(&from);
	buf_finish(&to);
	errno = saved;
	return result;
}

/*
 * Names.
 */

enum sts_file
sts_file_of(const char *name, char domain[STS_DOMAIN_SIZE])
{
	static const struct {
		const char *prefix;
		enum sts_file file;
	} kinds[] = {
		{ ENTRY_PREFIX, STS_FILE_ENTRY },
		{ NEW_PREFIX, STS_FILE_NEW },
	};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		size_t n = strlen(kinds[i].prefix);

		/* Only as we write it: in lower case, without a last dot. */
		if (strncmp(name, kinds[i].prefix, n) == 0 &&
		    sts_domain_read(domain, name + n) &&
		    strcmp(domain, name + n) == 0)
			return kinds[i].file;
	}
	return STS_FILE_OTHER;
}
