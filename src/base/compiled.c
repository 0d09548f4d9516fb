/* SPDX-License-Identifier: ISC */
#include "base/compiled.h"

#include <sys/types.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cdb.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "base/mem.h"

/*
 * The library writes the file; it is read here, with pread().  The library
 * maps it, and then a read error or somebody who truncates the file kills the
 * process, where we want to go to the source instead.
 *
 *      0  256 times position and slots of a hash table        } the
 *   2048  the first record: under the key "source" the stamp  } front
 *         the other records: under '=' and the key a checksum and the value
 *         the hash tables
 *
 * The stamp says of which source and how large the file is, and has a
 * checksum of each hash table and one of the front itself.  So nothing is
 * believed that has not been checked, not even that a key is absent: of a
 * damaged slot of a hash table nothing else would tell.
 */
#define TABLES 256
#define HEAD_SIZE (TABLES * 8)
#define RECORD_HEAD_SIZE 8
#define SUM_SIZE 8

static const char stamp_key[] = "source";
static const char stamp_magic[] = "qr-cdb 1"; /* another for another format */

#define STAMP_KEY_SIZE (sizeof stamp_key - 1)
#define STAMP_MAGIC_SIZE (sizeof stamp_magic - 1)
#define IDENTITY_AT (HEAD_SIZE + RECORD_HEAD_SIZE + STAMP_KEY_SIZE)
#define IDENTITY_SIZE (STAMP_MAGIC_SIZE + 8 * 8)
#define TABLE_SUMS_AT (IDENTITY_AT + IDENTITY_SIZE)
#define FRONT_SUM_AT (TABLE_SUMS_AT + TABLES * SUM_SIZE)
#define FRONT_SIZE (FRONT_SUM_AT + SUM_SIZE)
#define STAMP_SIZE (FRONT_SIZE - IDENTITY_AT)

/* No caller has larger ones: a larger length in a file is damage. */
#define ITEM_MAX ((size_t)16 << 20)

/* A coarse clock of a file system ticks at least this often. */
#define COARSEST_TICK_S 2

/* Of records that were read: their values are borrowed until the end. */
struct piece {
	struct piece *next;
	char data[];
};

struct compiled {
	int fd;
	size_t size;
	struct buf key;
	struct buf table; /* the hash table last looked into */
	struct piece *pieces;
	unsigned char front[FRONT_SIZE];
};

struct compiling {
	int fd, lockfd;
	struct stat source;
	struct buf path, temporary;
	struct buf key, value;
	bool failed;
	bool finished; /* make has been given back */
	struct cdb_make make;
};

static void
pack64(unsigned char *p, uint64_t n)
{
	for (unsigned i = 0; i < 8; i++)
		p[i] = (unsigned char)(n >> 8 * i);
}

/* Written out, compilers make one instruction of it. */
static uint64_t
unpack64(const unsigned char *p)
{
	return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 |
	       (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 |
	       (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
	       (uint64_t)p[7] << 56;
}

/* One to one for a given word: no change of a single word goes unseen. */
static uint64_t
mix(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * 0x9e3779b97f4a7c15;
	return sum ^ sum >> 32;
}

/*
 * A checksum against accidents; against malice there are permissions.  Four
 * sums side by side, since each step of one has to wait for the step before:
 * the hash table of a long list takes a third of the time.
 */
static uint64_t
checksum(uint64_t sum, const void *data, size_t n)
{
	const unsigned char *p = data;
	unsigned char rest[32] = { 0 };
	uint64_t lane[4] = { 1, 2, 3, 4 };

	sum = mix(sum, n);
	for (; n >= sizeof rest; n -= sizeof rest, p += sizeof rest)
		for (size_t i = 0; i < 4; i++)
			lane[i] = mix(lane[i], unpack64(p + 8 * i));
	if (n > 0)
		memcpy(rest, p, n);
	for (size_t i = 0; i < 4; i++)
		sum = mix(sum, mix(lane[i], unpack64(rest + 8 * i)));
	return sum;
}

static uint64_t
record_sum(const void *key, size_t keylen, const void *value, size_t len)
{
	return checksum(checksum(1, key, keylen), value, len);
}

/* What the stamp must begin with. */
static void
write_identity(unsigned char *p, const struct stat *source, uint64_t size)
{
	const uint64_t field[] = {
		(uint64_t)source->st_dev,
		(uint64_t)source->st_ino,
		(uint64_t)source->st_size,
		(uint64_t)source->st_mtim.tv_sec,
		(uint64_t)source->st_mtim.tv_nsec,
		(uint64_t)source->st_ctim.tv_sec,
		(uint64_t)source->st_ctim.tv_nsec,
		size,
	};

	memcpy(p, stamp_magic, STAMP_MAGIC_SIZE);
	p += STAMP_MAGIC_SIZE;
	for (size_t i = 0; i < sizeof field / sizeof *field; i++, p += 8)
		pack64(p, field[i]);
}

/* No key of a caller is the stamp's. */
static void
write_key(struct buf *b, const void *key, size_t n)
{
	buf_cut(b, 0);
	buf_putc(b, '=');
	buf_append(b, key, n);
}

static bool
read_at(int fd, size_t at, void *data, size_t n)
{
	char *p = data;

	while (n > 0) {
		ssize_t got = pread(fd, p, n, (off_t)at);

		if (got == -1 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		p += got;
		at += (size_t)got;
		n -= (size_t)got;
	}
	return true;
}

/* Reads a hash table from a file of size bytes. */
static bool
read_table(int fd, size_t size, const unsigned char *front, size_t i,
    struct buf *table)
{
	size_t at = cdb_unpack(front + 8 * i);
	size_t n = cdb_unpack(front + 8 * i + 4);

	if (n > size / 8)
		return false;
	n *= 8;
	buf_cut(table, 0);
	if (!read_at(fd, at, buf_reserve(table, n), n))
		return false;
	table->len = n;
	return true;
}

/* The stamp is of this source and the front is as it was written. */
static bool
is_of(const struct compiled *c, const struct stat *source)
{
	unsigned char identity[IDENTITY_SIZE];

	write_identity(identity, source, c->size);
	return memcmp(c->front + IDENTITY_AT, identity, IDENTITY_SIZE) == 0 &&
	       checksum(0, c->front, FRONT_SUM_AT) ==
		   unpack64(c->front + FRONT_SUM_AT);
}

struct compiled *
compiled_open(const char *path, const struct stat *source)
{
	struct compiled *c = mem_alloc(1, sizeof *c);
	struct stat st;

	c->fd = open(path,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (c->fd == -1 || fstat(c->fd, &st) == -1 || !S_ISREG(st.st_mode))
		goto fail;
	if (st.st_size < (off_t)FRONT_SIZE || st.st_size > UINT32_MAX)
		goto fail;
	c->size = (size_t)st.st_size;
	if (read_at(c->fd, 0, c->front, FRONT_SIZE) && is_of(c, source))
		return c;

fail:
	compiled_close(c);
	return NULL;
}

void
compiled_close(struct compiled *c)
{
	if (!c)
		return;
	if (c->fd != -1)
		close(c->fd);
	while (c->pieces) {
		struct piece *next = c->pieces->next;

		free(c->pieces);
		c->pieces = next;
	}
	buf_finish(&c->key);
	buf_finish(&c->table);
	free(c);
}

/* The record at a place: COMPILED_ABSENT when it has another key. */
static enum compiled_result
read_record(struct compiled *c, size_t at, const void **value, size_t *len)
{
	unsigned char head[RECORD_HEAD_SIZE];
	struct piece *piece;
	size_t keylen, n;
	const char *data;

	if (!read_at(c->fd, at, head, sizeof head))
		return COMPILED_DAMAGED;
	keylen = cdb_unpack(head);
	n = cdb_unpack(head + 4);
	if (keylen > ITEM_MAX || n < SUM_SIZE || n > ITEM_MAX ||
	    keylen + n > c->size)
		return COMPILED_DAMAGED;
	piece = mem_alloc(1, sizeof *piece + keylen + n);
	piece->next = c->pieces;
	c->pieces = piece;
	if (!read_at(c->fd, at + sizeof head, piece->data, keylen + n))
		return COMPILED_DAMAGED;
	data = piece->data + keylen + SUM_SIZE;
	n -= SUM_SIZE;
	if (record_sum(piece->data, keylen, data, n) !=
	    unpack64((unsigned char *)piece->data + keylen))
		return COMPILED_DAMAGED;
	if (keylen != c->key.len || memcmp(piece->data, c->key.data, keylen))
		return COMPILED_ABSENT;
	*value = data;
	*len = n;
	return COMPILED_FOUND;
}

enum compiled_result
compiled_find(struct compiled *c, const void *key, size_t keylen, unsigned n,
    const void **value, size_t *len)
{
	size_t slots, slot, table;
	unsigned hash;

	if (keylen > ITEM_MAX)
		return COMPILED_ABSENT;
	write_key(&c->key, key, keylen);
	hash = cdb_hash(c->key.data, (unsigned)c->key.len);
	table = hash % TABLES;
	if (!read_table(c->fd, c->size, c->front, table, &c->table) ||
	    checksum(0, c->table.data, c->table.len) !=
		unpack64(c->front + TABLE_SUMS_AT + table * SUM_SIZE))
		return COMPILED_DAMAGED;
	slots = c->table.len / 8;
	for (size_t i = 0; i < slots; i++) {
		const unsigned char *p;
		enum compiled_result result;
		size_t at;

		slot = (hash / TABLES + i) % slots;
		p = (unsigned char *)c->table.data + 8 * slot;
		at = cdb_unpack(p + 4);
		if (at == 0)
			break;
		if (cdb_unpack(p) != hash || at == HEAD_SIZE)
			continue;
		result = read_record(c, at, value, len);
		if (result == COMPILED_DAMAGED ||
		    (result == COMPILED_FOUND && n-- == 0))
			return result;
	}
	return COMPILED_ABSENT;
}

static bool
is_before(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec ||
	       (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

/*
 * Changed so lately that another change could leave the same times.  The
 * times of both are looked at from both sides, for a file server whose clock
 * is a little ahead.
 */
static bool
is_warm(const struct stat *source)
{
	struct timespec from, to;

	if (clock_gettime(CLOCK_REALTIME, &from) == -1)
		return true;
	to = from;
	from.tv_sec -= COARSEST_TICK_S;
	to.tv_sec += COARSEST_TICK_S;
	return is_before(from, source->st_ctim) &&
	       is_before(source->st_ctim, to);
}

static bool
is_directory(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/*
 * Takes the lock, or gives -1 at once.  It is not written to: one that root
 * left behind, delivering by hand, serves too, if its group may read it
 * whatever the umask was.
 */
static int
lock(const char *path)
{
	int fd = open(path,
	    O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
	    0640);

	/* By anybody but its owner that fails, and need not be done. */
	if (fd != -1)
		(void)fchmod(fd, 0640);
	if (fd != -1 && fdio_lock(fd, FDIO_LOCK_EXCLUSIVE, 0) == -1) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/*
 * The temporary file has always the same name, so that what a killed process
 * left is removed by the next one to hold the lock.  Should two ever think
 * that they hold it, a file that is put in place too early has no stamp yet.
 */
static int
create(const char *path)
{
	int fd;

	if (unlink(path) == -1 && errno != ENOENT)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    0640);
	/* The umask that qmail-start sets hides it from the group. */
	if (fd != -1 && fchmod(fd, 0640) == -1) {
		close(fd);
		unlink(path);
		fd = -1;
	}
	return fd;
}

struct compiling *
compiling_begin(const char *path, const char *lockpath,
    const struct stat *source)
{
	static const unsigned char no_stamp[STAMP_SIZE];
	struct compiling *c;
	int lockfd;

	if (is_warm(source) || is_directory(path))
		return NULL;
	lockfd = lock(lockpath);
	if (lockfd == -1)
		return NULL;
	c = mem_alloc(1, sizeof *c);
	c->lockfd = lockfd;
	c->source = *source;
	buf_puts(&c->path, path);
	buf_printf(&c->temporary, "%s.new", path);
	c->fd = create(buf_text(&c->temporary));
	c->finished = c->fd == -1 || cdb_make_start(&c->make, c->fd) != 0;
	if (c->finished || cdb_make_add(&c->make, stamp_key, STAMP_KEY_SIZE,
			       no_stamp, STAMP_SIZE)) {
		compiling_abort(c);
		return NULL;
	}
	return c;
}

void
compiling_add(struct compiling *c, const void *key, size_t keylen,
    const void *value, size_t len)
{
	unsigned char sum[SUM_SIZE];

	if (keylen >= ITEM_MAX || len > ITEM_MAX - SUM_SIZE)
		c->failed = true;
	if (c->failed)
		return;
	write_key(&c->key, key, keylen);
	pack64(sum, record_sum(c->key.data, c->key.len, value, len));
	buf_cut(&c->value, 0);
	buf_append(&c->value, sum, sizeof sum);
	buf_append(&c->value, value, len);
	if (cdb_make_add(&c->make, c->key.data, (unsigned)c->key.len,
		c->value.data, (unsigned)c->value.len) != 0)
		c->failed = true;
}

/*
 * Writes the stamp over its place in the first record.  The library does not
 * notice when the hash tables get beyond 4 GB.
 */
static int
write_stamp(struct compiling *c)
{
	unsigned char front[FRONT_SIZE];
	unsigned char *stamp = front + IDENTITY_AT;
	struct buf *table = &c->value;
	struct stat st;

	if (fstat(c->fd, &st) == -1 || st.st_size > UINT32_MAX ||
	    !read_at(c->fd, 0, front, FRONT_SIZE))
		return -1;
	write_identity(stamp, &c->source, (uint64_t)st.st_size);
	for (size_t i = 0; i < TABLES; i++) {
		if (!read_table(c->fd, (size_t)st.st_size, front, i, table))
			return -1;
		pack64(front + TABLE_SUMS_AT + i * SUM_SIZE,
		    checksum(0, table->data, table->len));
	}
	pack64(front + FRONT_SUM_AT, checksum(0, front, FRONT_SUM_AT));
	if (pwrite(c->fd, stamp, STAMP_SIZE, (off_t)IDENTITY_AT) !=
	    (ssize_t)STAMP_SIZE)
		return -1;
	return fsync(c->fd);
}

static bool
is_unchanged(const struct stat *source, int fd)
{
	unsigned char before[IDENTITY_SIZE], after[IDENTITY_SIZE];
	struct stat st;

	if (fstat(fd, &st) == -1)
		return false;
	write_identity(before, source, 0);
	write_identity(after, &st, 0);
	return memcmp(before, after, sizeof before) == 0;
}

int
compiling_end(struct compiling *c, int sourcefd)
{
	int result = -1;

	if (!c->failed) {
		c->finished = true;
		if (cdb_make_finish(&c->make) == 0 && write_stamp(c) == 0 &&
		    is_unchanged(&c->source, sourcefd))
			result =
			    rename(buf_text(&c->temporary), buf_text(&c->path));
	}
	compiling_abort(c);
	return result;
}

void
compiling_abort(struct compiling *c)
{
	/* Whatever it writes now: it is the only way to free its memory. */
	if (!c->finished && cdb_make_finish(&c->make) != 0)
		c->failed = true;
	if (c->fd != -1) {
		/* Not there any more once it has been put in place. */
		unlink(buf_text(&c->temporary));
		close(c->fd);
	}
	close(c->lockfd);
	buf_finish(&c->path);
	buf_finish(&c->temporary);
	buf_finish(&c->key);
	buf_finish(&c->value);
	free(c);
}
