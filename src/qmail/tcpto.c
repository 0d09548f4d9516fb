/* SPDX-License-Identifier: ISC */
#include "qmail/tcpto.h"

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "io/fdio.h"

#define RECORDS TCPTO_RECORDS
#define RECORD_MAX 32
#define LOCK_MS 500

#define COUNTER_MAX 10
#define COUNTER_SKIP 2       /* time-outs after which an address is skipped */
#define COUNT_INTERVAL_S 120 /* time-outs within this time count as one */

/*
 * The layout of a record.  The time is 4 bytes, least significant byte first.
 */
struct layout {
	size_t size;
	size_t address_len; /* at offset 0: the last bytes of a struct ip */
	size_t counter;
	size_t time;
};

static const struct layout layout4 = { 16, 4, 4, 8 };
static const struct layout layout6 = { 32, 16, 16, 20 };

/* The table, open and locked, and a copy of its bytes. */
struct table {
	const struct layout *layout;
	int fd;
	int64_t cleared; /* Unix time; older records are ignored */
	size_t n;        /* number of whole records */
	unsigned char byte[RECORDS * RECORD_MAX];
};

static unsigned char *
record(struct table *t, size_t i)
{
	return t->byte + i * t->layout->size;
}

static const unsigned char *
address(const struct table *t, const struct ip *ip)
{
	return ip->byte + sizeof ip->byte - t->layout->address_len;
}

static unsigned
counter(struct table *t, size_t i)
{
	unsigned n = record(t, i)[t->layout->counter];

	return n < COUNTER_MAX ? n : COUNTER_MAX;
}

static int64_t
time_of(struct table *t, size_t i)
{
	const unsigned char *p = record(t, i) + t->layout->time;

	return (int64_t)p[0] | (int64_t)p[1] << 8 | (int64_t)p[2] << 16 |
	       (int64_t)p[3] << 24;
}

static void
set_time(struct table *t, size_t i, int64_t when)
{
	unsigned char *p = record(t, i) + t->layout->time;

	for (size_t k = 0; k < 4; k++)
		p[k] = (unsigned char)(when >> 8 * k & 0xff);
}

/*
 * Whether the record is valid.  A time further in the future than any window
 * lasts comes from a wrong clock: it must not block an address until then.
 */
static bool
is_live(struct table *t, size_t i, int64_t now)
{
	int64_t when = time_of(t, i);

	return counter(t, i) > 0 && when - now <= TCPTO_SKIP_MAX_S &&
	       when >= t->cleared;
}

/* Takes no lock: the zeros are written by one write(). */
int64_t
tcpto_cleared(const struct tcpto *files)
{
	static const unsigned char zeros[RECORDS * RECORD_MAX];
	unsigned char byte[sizeof zeros];
	const size_t size = RECORDS * layout4.size;
	struct stat st;
	ssize_t got;
	int fd = fdio_open_file(files->path4, &st);

	if (fd == -1)
		return 0;
	got = fdio_read(fd, byte, size);
	close(fd);
	if (got < (ssize_t)layout4.size ||
	    memcmp(byte, zeros, (size_t)got) != 0)
		return 0;
	return st.st_mtime;
}

/* fe80::/10 is another host on each interface. */
static bool
is_link_local(const struct ip *ip)
{
	return ip->byte[0] == 0xfe && (ip->byte[1] & 0xc0) == 0x80;
}

/*
 * Called only for tcpto6, under its lock.  The group may write it: root may
 * have created it when delivering by hand.
 */
static int
make(int fd)
{
	if (fchmod(fd, 0660) == -1)
		return -1;
	return ftruncate(fd, (off_t)(RECORDS * layout6.size));
}

enum purpose {
	TO_LOOK,
	TO_CHANGE,
	TO_RECORD /* creates tcpto6 if it is missing */
};

/* -1 with errno if there is no usable table, for any reason. */
static int
open_table(struct table *t, const struct tcpto *files, bool v4,
    enum purpose purpose)
{
	bool create = purpose == TO_RECORD && !v4;
	enum fdio_lock lock =
	    purpose == TO_LOOK ? FDIO_LOCK_SHARED : FDIO_LOCK_EXCLUSIVE;
	int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	struct stat st;
	ssize_t got;
	int error;

	t->layout = v4 ? &layout4 : &layout6;
	t->fd = fdio_open(v4 ? files->path4 : files->path6,
	    create ? flags | O_CREAT : flags, 0640);
	if (t->fd == -1)
		return -1;
	/* Check the type first: a device or FIFO must not even be locked. */
	errno = EINVAL;
	if (fstat(t->fd, &st) == -1 || !S_ISREG(st.st_mode))
		goto fail;
	if (fdio_lock(t->fd, lock, LOCK_MS) == -1 || fstat(t->fd, &st) == -1)
		goto fail;
	if (create && st.st_size == 0 && make(t->fd) == -1)
		goto fail;
	got = fdio_read(t->fd, t->byte, RECORDS * t->layout->size);
	if (got == -1)
		goto fail;
	t->n = (size_t)got / t->layout->size;
	t->cleared = v4 ? 0 : tcpto_cleared(files);
	return 0;

fail:
	error = errno;
	close(t->fd);
	errno = error;
	return -1;
}

/* Opens the table for this address; -1 if it cannot have a record. */
static int
open_table_for(struct table *t, const struct tcpto *files, const struct ip *ip,
    enum purpose purpose)
{
	if (is_link_local(ip))
		return -1;
	return open_table(t, files, ip_is_v4(ip), purpose);
}

static void
close_table(struct table *t)
{
	close(t->fd);
}

/*
 * Best effort: the delivery does not depend on it.  pwrite() of so few bytes
 * within the file writes all of them or none.
 */
static void
write_record(struct table *t, size_t i)
{
	ssize_t put = pwrite(t->fd, record(t, i), t->layout->size,
	    (off_t)(i * t->layout->size));

	(void)put;
}

/* The index of the first record of the address; t->n if there is none. */
static size_t
find(struct table *t, const struct ip *ip)
{
	size_t i = 0;

	while (i < t->n && memcmp(record(t, i), address(t, ip),
			       t->layout->address_len) != 0)
		i++;
	return i;
}

/*
 * The record to overwrite: the first free one, or else the oldest, where each
 * counted time-out makes a record 1024 s younger.
 */
static size_t
find_victim(struct table *t, int64_t now)
{
	size_t victim = 0;
	int64_t least = INT64_MAX;

	for (size_t i = 0; i < t->n; i++) {
		int64_t worth = time_of(t, i) + 1024 * (int64_t)counter(t, i);

		if (!is_live(t, i, now))
			return i;
		if (worth < least) {
			least = worth;
			victim = i;
		}
	}
	return victim;
}

/*
 * The time of the last counted time-out if there are enough of them, and it is
 * less than window seconds ago; otherwise 0.
 */
static int64_t
skipped_since(const struct tcpto *files, const struct ip *ip, int64_t now,
    int64_t window, bool *known)
{
	struct table t;
	int64_t since = 0;
	size_t i;

	*known = false;
	if (open_table_for(&t, files, ip, TO_LOOK) == -1)
		return 0;
	i = find(&t, ip);
	if (i < t.n) {
		*known = true;
		if (counter(&t, i) >= COUNTER_SKIP && is_live(&t, i, now) &&
		    now - time_of(&t, i) < window)
			since = time_of(&t, i);
	}
	close_table(&t);
	return since;
}

int64_t
tcpto_skipped_since(const struct tcpto *files, const struct ip *ip, int64_t now)
{
	bool known;

	return skipped_since(files, ip, now, TCPTO_SKIP_MAX_S, &known);
}

bool
tcpto_skips(const struct tcpto *files, const struct ip *ip, int64_t now,
    bool *known)
{
	/*
	 * The window differs a little between processes, so that not all of
	 * them try the dead address at once after it.
	 */
	int64_t window = (60 + (getpid() & 31)) * 64;

	return skipped_since(files, ip, now, window, known) != 0;
}

void
tcpto_timed_out(const struct tcpto *files, const struct ip *ip, int64_t now)
{
	struct table t;
	unsigned count = 0;
	size_t i;

	if (files->is_read_only ||
	    open_table_for(&t, files, ip, TO_RECORD) == -1)
		return;
	i = find(&t, ip);
	if (i < t.n && is_live(&t, i, now)) {
		if (now < time_of(&t, i) + COUNT_INTERVAL_S)
			goto out;
		count = counter(&t, i);
	}
	if (i == t.n) {
		if (t.n == 0)
			goto out;
		i = find_victim(&t, now);
		memcpy(record(&t, i), address(&t, ip), t.layout->address_len);
	}
	record(&t, i)[t.layout->counter] =
	    (unsigned char)(count < COUNTER_MAX ? count + 1 : COUNTER_MAX);
	set_time(&t, i, now);
	write_record(&t, i);
out:
	close_table(&t);
}

void
tcpto_answered(const struct tcpto *files, const struct ip *ip)
{
	struct table t;
	size_t i;

	if (files->is_read_only ||
	    open_table_for(&t, files, ip, TO_CHANGE) == -1)
		return;
	i = find(&t, ip);
	if (i < t.n && counter(&t, i) > 0) {
		record(&t, i)[t.layout->counter] = 0;
		write_record(&t, i);
	}
	close_table(&t);
}

static void
copy_record(struct table *t, size_t i, struct tcpto_record *copy)
{
	const size_t n = t->layout->address_len;
	static const struct ip v4_mapped = { .byte = { [10] = 0xff, 0xff } };

	copy->ip = n == sizeof copy->ip.byte ? (struct ip){ 0 } : v4_mapped;
	memcpy(copy->ip.byte + sizeof copy->ip.byte - n, record(t, i), n);
	copy->when = time_of(t, i);
	copy->count = record(t, i)[t->layout->counter];
}

int
tcpto_list(const struct tcpto *files, bool is_v4,
    struct tcpto_record copy[TCPTO_RECORDS])
{
	struct table t;
	int n = 0;

	if (open_table(&t, files, is_v4, TO_LOOK) == -1)
		return -1;
	for (size_t i = 0; i < t.n; i++)
		if (counter(&t, i) > 0 && time_of(&t, i) >= t.cleared)
			copy_record(&t, i, &copy[n++]);
	close_table(&t);
	return n;
}

int
tcpto_forget(const struct tcpto *files, const struct ip *ip)
{
	struct table t;
	int found = 0;
	size_t i;

	if (open_table(&t, files, ip_is_v4(ip), TO_CHANGE) == -1)
		return -1;
	i = find(&t, ip);
	/* A free record of zeros looks like one of 0.0.0.0 or "::". */
	if (i < t.n && counter(&t, i) > 0) {
		memset(record(&t, i), 0, t.layout->size);
		write_record(&t, i);
		found = 1;
	}
	close_table(&t);
	return found;
}
