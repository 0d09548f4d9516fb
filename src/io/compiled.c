/* SPDX-License-Identifier: ISC */
#include "io/compiled.h"

#include <sys/types.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/fdio.h"
#include "base/mem.h"

/*
 * The format is that of a cdb (cdb(5)).  The file is read by pread() only: with
 * mmap() a read error, or another process that truncates the file, would kill
 * us.  Numbers are stored least significant byte first.
 *
 *      0  256 times position and slots of a hash table        } the
 *   2048  the first record: the stamp, under the key "source" } front
 *         the other records: under '=' and the key, a checksum and a place
 *         the hash tables
 *
 * The stamp identifies the source and the size of the cdb, and has a checksum
 * of each hash table and one of the front itself.  They detect accidents:
 * otherwise a damaged slot could hide a key unnoticed.  They do not detect a
 * forged file; only a look into the source does.
 */
#define TABLES 256
#define HEAD_SIZE (TABLES * 8)
#define SLOT_SIZE 8
#define RECORD_HEAD_SIZE 8
#define SUM_SIZE 8

static const char stamp_key[] = "source";
static const char stamp_magic[] = "qr-cdb 3"; /* changes with the format */

#define STAMP_KEY_SIZE (sizeof stamp_key - 1)
#define STAMP_MAGIC_SIZE (sizeof stamp_magic - 1)
#define STAMP_AT (HEAD_SIZE + RECORD_HEAD_SIZE)
#define IDENTITY_AT (STAMP_AT + STAMP_KEY_SIZE)
#define IDENTITY_SIZE (STAMP_MAGIC_SIZE + 8 * 8)
#define TABLE_SUMS_AT (IDENTITY_AT + IDENTITY_SIZE)
#define FRONT_SUM_AT (TABLE_SUMS_AT + TABLES * SUM_SIZE)
#define FRONT_SIZE (FRONT_SUM_AT + SUM_SIZE)
#define STAMP_SIZE (FRONT_SIZE - IDENTITY_AT)

#define VALUE_SIZE (SUM_SIZE + 16) /* checksum, offset, length */
#define KEY_SIZE_MAX (1 + COMPILED_KEY_MAX)
#define RECORD_MAX (RECORD_HEAD_SIZE + KEY_SIZE_MAX + VALUE_SIZE)

/*
 * Limits for a file that anybody may have written.  A line of the source has at
 * least two bytes, and its record and slots are at most 64 times as large; keys
 * spread over 256 hash tables.
 */
#define SIZE_MAX_OF(source) (FRONT_SIZE + 4096 + 64 * (uint64_t)(source))
#define TABLE_MAX_OF(size) (65536 + (size) / 64)

/* Limit on records with the same hash, in reading and in writing. */
#define SAME_HASH_MAX 64

#define WRITE_PIECE ((size_t)1 << 16)

/*
 * Longest tick of a file system's clock: where times are whole seconds, and
 * where they have fractions.
 */
#define COARSEST_TICK_S 2
#define FINE_TICK_MS 50

struct compiled {
	int fd;
	size_t size;
	uint64_t source_size;
	struct buf key;
	struct buf table; /* the hash table that was read last */
	unsigned char front[FRONT_SIZE];
};

/* A record as its hash table refers to it. */
struct record {
	uint32_t hash, at;
};

struct compiling {
	int fd, lockfd;
	struct stat source;
	struct buf path, temporary;
	struct buf key;
	struct buf records;   /* struct record */
	struct buf unwritten; /* the next bytes of the file */
	uint64_t size;        /* of the file, with these */
	bool failed;
};

static void
pack32(unsigned char *p, uint32_t n)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (unsigned char)(n >> 8 * i);
}

static uint32_t
unpack32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

static void
pack64(unsigned char *p, uint64_t n)
{
	for (unsigned i = 0; i < 8; i++)
		p[i] = (unsigned char)(n >> 8 * i);
}

/* Not a loop: from this, compilers make one instruction. */
static uint64_t
unpack64(const unsigned char *p)
{
	return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 |
	       (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 |
	       (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
	       (uint64_t)p[7] << 56;
}

/*
 * For a given word this is one-to-one, so a change of a single word always
 * changes the sum.
 */
static uint64_t
mix(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * 0x9e3779b97f4a7c15;
	return sum ^ sum >> 32;
}

/*
 * A checksum to detect accidental damage.  It computes four sums side by side,
 * because each step of a sum waits for the step before: for the hash table of a
 * long list that takes a third of the time.
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

/* Writes what the stamp must begin with. */
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

/* Prefixes the key with '=', so that no caller's key equals the stamp's. */
static void
write_key(struct buf *b, const void *key, size_t n)
{
	buf_cut(b, 0);
	buf_putc(b, '=');
	buf_append(b, key, n);
}

/* The hash of a key, as cdb(5) has it. */
static uint32_t
hash_of(const void *key, size_t n)
{
	const unsigned char *p = key;
	uint32_t hash = 5381;

	while (n-- > 0)
		hash = (hash * 33) ^ *p++;
	return hash;
}

/*
 * Reading.
 */

/* The stamp identifies this source, and the checksum of the front is right. */
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

	c->source_size = (uint64_t)source->st_size;
	c->fd = fdio_open(path,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	if (c->fd == -1 || fstat(c->fd, &st) == -1 || !S_ISREG(st.st_mode))
		goto fail;
	if (st.st_size < (off_t)FRONT_SIZE || st.st_size > UINT32_MAX ||
	    (uint64_t)st.st_size > SIZE_MAX_OF(c->source_size))
		goto fail;
	c->size = (size_t)st.st_size;
	if (fdio_read_at(c->fd, 0, c->front, FRONT_SIZE) == 0 &&
	    is_of(c, source))
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
	buf_finish(&c->key);
	buf_finish(&c->table);
	free(c);
}

static bool
read_table(struct compiled *c, size_t i)
{
	size_t at = unpack32(c->front + SLOT_SIZE * i);
	size_t n = unpack32(c->front + SLOT_SIZE * i + 4);

	if (n > TABLE_MAX_OF(c->size) / SLOT_SIZE)
		return false;
	n *= SLOT_SIZE;
	buf_cut(&c->table, 0);
	if (fdio_read_at(c->fd, at, buf_reserve(&c->table, n), n) == -1)
		return false;
	c->table.len = n;
	return checksum(0, c->table.data, n) ==
	       unpack64(c->front + TABLE_SUMS_AT + SUM_SIZE * i);
}

/* Reads the record at offset at; COMPILED_ABSENT if it has another key. */
static enum compiled_result
read_record(const struct compiled *c, size_t at, struct compiled_place *place)
{
	unsigned char record[RECORD_MAX];
	const unsigned char *key = record + RECORD_HEAD_SIZE, *value;
	size_t n, keylen;

	if (at > c->size - RECORD_HEAD_SIZE)
		return COMPILED_DAMAGED;
	n = c->size - at < sizeof record ? c->size - at : sizeof record;
	if (fdio_read_at(c->fd, at, record, n) == -1)
		return COMPILED_DAMAGED;
	keylen = unpack32(record);
	if (keylen > KEY_SIZE_MAX || unpack32(record + 4) != VALUE_SIZE ||
	    RECORD_HEAD_SIZE + keylen + VALUE_SIZE > n)
		return COMPILED_DAMAGED;
	value = key + keylen;
	if (record_sum(key, keylen, value + SUM_SIZE, VALUE_SIZE - SUM_SIZE) !=
	    unpack64(value))
		return COMPILED_DAMAGED;
	if (keylen != c->key.len || memcmp(key, c->key.data, keylen) != 0)
		return COMPILED_ABSENT;
	place->offset = unpack64(value + SUM_SIZE);
	place->length = unpack64(value + SUM_SIZE + 8);
	return COMPILED_FOUND;
}

static bool
is_in_source(const struct compiled *c, const struct compiled_place *p)
{
	return p->length <= COMPILED_LENGTH_MAX &&
	       p->length <= c->source_size &&
	       p->offset <= c->source_size - p->length;
}

/* Goes through the slots of a hash in the table that was read. */
static enum compiled_result
search_table(struct compiled *c, uint32_t hash, unsigned n,
    struct compiled_place *place)
{
	size_t slots = c->table.len / SLOT_SIZE;
	unsigned same = 0;

	for (size_t i = 0; i < slots; i++) {
		size_t slot = (hash / TABLES + i) % slots;
		const unsigned char *p =
		    (unsigned char *)c->table.data + SLOT_SIZE * slot;
		enum compiled_result result;
		size_t at = unpack32(p + 4);

		if (at == 0)
			break;
		if (unpack32(p) != hash || at == HEAD_SIZE)
			continue;
		if (++same > SAME_HASH_MAX)
			return COMPILED_DAMAGED;
		result = read_record(c, at, place);
		if (result == COMPILED_FOUND && !is_in_source(c, place))
			return COMPILED_DAMAGED;
		if (result == COMPILED_DAMAGED ||
		    (result == COMPILED_FOUND && n-- == 0))
			return result;
	}
	return COMPILED_ABSENT;
}

enum compiled_result
compiled_find(struct compiled *c, const void *key, size_t keylen, unsigned n,
    struct compiled_place *place)
{
	uint32_t hash;

	if (keylen > COMPILED_KEY_MAX)
		return COMPILED_DAMAGED;
	write_key(&c->key, key, keylen);
	hash = hash_of(c->key.data, c->key.len);
	if (!read_table(c, hash % TABLES))
		return COMPILED_DAMAGED;
	return search_table(c, hash, n, place);
}

/*
 * Compiling.
 */

static bool
is_before(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec ||
	       (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

/*
 * It changed so recently that another change could leave the same times.  Times
 * in the near future count too, for a file server whose clock is a little
 * ahead.
 */
static bool
has_just_changed(const struct stat *source)
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

/*
 * Waits until the tick in which the source changed is over.  False if that is
 * not possible, or if the source has changed meanwhile.
 */
static bool
wait_for_tick(const struct stat *source, int fd)
{
	if (!has_just_changed(source))
		return true;
	if (source->st_ctim.tv_nsec == 0)
		return false;
	poll(NULL, 0, FINE_TICK_MS);
	return is_unchanged(source, fd);
}

static bool
is_directory(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/*
 * Opens the lock file, which is never written to, and creates it if it is
 * missing.  Only a new file gets its mode set, so that the group can read it
 * whatever the umask is.  An existing file of this name may be a link to any
 * file, and root may be delivering by hand.
 */
static int
open_lock(const char *path)
{
	const int flags =
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = open(path, flags);

	if (fd != -1 || errno != ENOENT)
		return fd;
	fd = open(path, flags | O_CREAT | O_EXCL, 0640);
	if (fd != -1)
		(void)fchmod(fd, 0640);
	return fd;
}

/* Takes the lock, or returns -1 at once. */
static int
lock(const char *path)
{
	int fd = open_lock(path);
	struct stat st;

	if (fd != -1 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    fdio_lock(fd, FDIO_LOCK_EXCLUSIVE, 0) == 0)
		return fd;
	if (fd != -1)
		close(fd);
	return -1;
}

/*
 * Creates the temporary file.  It always has the same name, so the next process
 * to hold the lock removes what a killed process left behind.  If two processes
 * ever believed that they hold the lock, a file renamed too early would not
 * have a stamp yet.
 */
static int
create(const char *path)
{
	int fd;

	if (unlink(path) == -1 && errno != ENOENT)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    0640);
	/* The umask set by qmail-start would hide it from the group. */
	if (fd != -1 && fchmod(fd, 0640) == -1) {
		close(fd);
		unlink(path);
		fd = -1;
	}
	return fd;
}

static void
add_record(struct compiling *c, uint32_t hash, uint64_t at)
{
	struct record e = { hash, (uint32_t)at };

	buf_append(&c->records, &e, sizeof e);
}

struct compiling *
compiling_begin(const char *path, const char *lockpath, int sourcefd,
    const struct stat *source)
{
	struct compiling *c;
	int lockfd = is_directory(path) ? -1 : lock(lockpath);

	if (lockfd == -1)
		return NULL;
	if (!wait_for_tick(source, sourcefd)) {
		close(lockfd);
		return NULL;
	}
	c = mem_alloc(1, sizeof *c);
	c->lockfd = lockfd;
	c->source = *source;
	buf_puts(&c->path, path);
	buf_printf(&c->temporary, "%s.new", path);
	c->fd = create(buf_text(&c->temporary));
	/* Leave room for the front, which is written last. */
	if (c->fd == -1 || lseek(c->fd, (off_t)FRONT_SIZE, SEEK_SET) == -1) {
		compiling_abort(c);
		return NULL;
	}
	c->size = FRONT_SIZE;
	add_record(c, hash_of(stamp_key, STAMP_KEY_SIZE), HEAD_SIZE);
	return c;
}

static void
write_out(struct compiling *c)
{
	if (!c->failed && fdio_write_all(c->fd, buf_text(&c->unwritten),
			      c->unwritten.len, 0) == -1)
		c->failed = true;
	buf_cut(&c->unwritten, 0);
}

/* Appends to the file. */
static void
put(struct compiling *c, const void *data, size_t n)
{
	buf_append(&c->unwritten, data, n);
	c->size += n;
	if (c->size > UINT32_MAX)
		c->failed = true;
	if (c->unwritten.len >= WRITE_PIECE)
		write_out(c);
}

void
compiling_add(struct compiling *c, const void *key, size_t keylen,
    const struct compiled_place *place)
{
	unsigned char head[RECORD_HEAD_SIZE], value[VALUE_SIZE];

	if (place->length > COMPILED_LENGTH_MAX)
		c->failed = true;
	if (c->failed || keylen > COMPILED_KEY_MAX)
		return;
	write_key(&c->key, key, keylen);
	pack32(head, (uint32_t)c->key.len);
	pack32(head + 4, VALUE_SIZE);
	pack64(value + SUM_SIZE, place->offset);
	pack64(value + SUM_SIZE + 8, place->length);
	pack64(value, record_sum(c->key.data, c->key.len, value + SUM_SIZE,
			  VALUE_SIZE - SUM_SIZE));
	add_record(c, hash_of(c->key.data, c->key.len), c->size);
	put(c, head, sizeof head);
	put(c, c->key.data, c->key.len);
	put(c, value, sizeof value);
}

/*
 * Puts a record into its hash table.  False if the table already has too many
 * with the same hash.
 */
static bool
fill_slot(unsigned char *table, size_t slots, const struct record *e)
{
	unsigned same = 0;

	for (size_t slot = e->hash / TABLES % slots;;
	     slot = (slot + 1) % slots) {
		unsigned char *p = table + SLOT_SIZE * slot;

		if (unpack32(p + 4) == 0) {
			pack32(p, e->hash);
			pack32(p + 4, e->at);
			return true;
		}
		if (unpack32(p) == e->hash && ++same > SAME_HASH_MAX)
			return false;
	}
}

/*
 * Fills a hash table that has twice as many slots as there are records.
 * Records above the limit for one hash are removed from the list: they are
 * never looked at, and each would have to walk past all the others.  Returns
 * how many records remain.
 */
static size_t
fill_table(unsigned char *table, struct record *e, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (fill_slot(table, 2 * n, &e[i]))
			e[kept++] = e[i];
	return kept;
}

/*
 * Writes the i-th hash table, with n records; its checksum goes into the front.
 */
static void
put_table(struct compiling *c, unsigned char *front, size_t i, struct record *e,
    size_t n)
{
	unsigned char *table = mem_alloc(2 * n, SLOT_SIZE);
	size_t kept = fill_table(table, e, n);
	size_t size = 2 * kept * SLOT_SIZE;

	if (kept < n) {
		memset(table, 0, 2 * n * SLOT_SIZE);
		fill_table(table, e, kept);
	}
	pack32(front + SLOT_SIZE * i, (uint32_t)c->size);
	pack32(front + SLOT_SIZE * i + 4, (uint32_t)(2 * kept));
	pack64(front + TABLE_SUMS_AT + SUM_SIZE * i, checksum(0, table, size));
	put(c, table, size);
	free(table);
}

/*
 * Sorts the records by hash table, the last one added first, and writes the
 * tables.
 */
static void
put_tables(struct compiling *c, unsigned char *front)
{
	const struct record *e = (const void *)c->records.data;
	size_t n = c->records.len / sizeof *e;
	struct record *sorted = mem_alloc(n, sizeof *sorted);
	size_t end[TABLES] = { 0 }, next[TABLES];

	for (size_t i = 0; i < n; i++)
		end[e[i].hash % TABLES]++;
	for (size_t i = 0, sum = 0; i < TABLES; i++) {
		next[i] = sum;
		end[i] = sum += end[i];
	}
	for (size_t i = n; i-- > 0;)
		sorted[next[e[i].hash % TABLES]++] = e[i];
	for (size_t i = 0, from = 0; i < TABLES; from = end[i++])
		put_table(c, front, i, sorted + from, end[i] - from);
	free(sorted);
}

/*
 * Writes the hash tables, then the front; without the front it is no valid cdb.
 */
static int
finish(struct compiling *c)
{
	unsigned char front[FRONT_SIZE] = { 0 };

	put_tables(c, front);
	write_out(c);
	if (c->failed)
		return -1;
	pack32(front + HEAD_SIZE, STAMP_KEY_SIZE);
	pack32(front + HEAD_SIZE + 4, STAMP_SIZE);
	memcpy(front + STAMP_AT, stamp_key, STAMP_KEY_SIZE);
	write_identity(front + IDENTITY_AT, &c->source, c->size);
	pack64(front + FRONT_SUM_AT, checksum(0, front, FRONT_SUM_AT));
	if (pwrite(c->fd, front, FRONT_SIZE, 0) != (ssize_t)FRONT_SIZE)
		return -1;
	return fsync(c->fd);
}

int
compiling_end(struct compiling *c, int sourcefd)
{
	int result = -1;

	if (!c->failed && finish(c) == 0 && is_unchanged(&c->source, sourcefd))
		result = rename(buf_text(&c->temporary), buf_text(&c->path));
	compiling_abort(c);
	return result;
}

void
compiling_abort(struct compiling *c)
{
	if (c->fd != -1) {
		/* Fails if it has already been renamed. */
		unlink(buf_text(&c->temporary));
		close(c->fd);
	}
	close(c->lockfd);
	buf_finish(&c->path);
	buf_finish(&c->temporary);
	buf_finish(&c->key);
	buf_finish(&c->records);
	buf_finish(&c->unwritten);
	free(c);
}
