/* SPDX-License-Identifier: ISC */
#include "qmail/memory.h"

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "io/fdio.h"

#define RECORDS MEMORY_RECORDS
#define RECORD_SIZE (MEMORY_SIZE / RECORDS)
#define TIMES_OFFSET 16 /* offset of the times in a record */
#define LOCK_MS 500

static const int64_t lifetime_s[MEMORY_KINDS] = {
	[MEMORY_PIPELINING] = MEMORY_PIPELINING_S,
	[MEMORY_STALL] = MEMORY_STALL_S,
	[MEMORY_EHLO] = MEMORY_EHLO_S,
	[MEMORY_TLS] = MEMORY_TLS_S,
};

int64_t
memory_lifetime(enum memory_kind kind)
{
	return lifetime_s[kind];
}

int
memory_open(const char *path)
{
	int flags =
	    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = open(path, flags, 0640);
	struct stat st;

	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))
		goto fail;
	/*
	 * New, or not usable.  The group may write it: root may be the first to
	 * create it, when delivering by hand.
	 */
	if (st.st_size != MEMORY_SIZE &&
	    (fchmod(fd, 0660) == -1 || ftruncate(fd, MEMORY_SIZE) == -1))
		goto fail;
	return fd;

fail:
	close(fd);
	return -1;
}

static int
read_table(struct memory *m, int fd)
{
	return pread(fd, m->byte, sizeof m->byte, 0) == sizeof m->byte ? 0 : -1;
}

/*
 * Takes no lock.  A record may be read while it is half written.  But it lies
 * within one page, and the worst effect of a wrong time is that one delivery is
 * more careful.
 */
void
memory_read(struct memory *m, int fd)
{
	m->cleared = 0;
	if (fd == -1 || read_table(m, fd) == -1)
		memset(m->byte, 0, sizeof m->byte);
}

static void
close_keeping_errno(int fd)
{
	int error = errno;

	close(fd);
	errno = error;
}

/* Opens an existing file of the right type and size; -1 with errno. */
static int
open_existing(const char *path, int flags)
{
	int fd = fdio_open(path,
	    flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	struct stat st;

	if (fd == -1)
		return -1;
	errno = EINVAL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size == MEMORY_SIZE)
		return fd;
	close_keeping_errno(fd);
	return -1;
}

int
memory_load(struct memory *m, const char *path)
{
	int fd = open_existing(path, O_RDONLY);
	int result;

	*m = (struct memory){ .cleared = 0 };
	if (fd == -1)
		return -1;
	result = read_table(m, fd);
	close_keeping_errno(fd);
	return result;
}

bool
memory_address(const struct memory *m, size_t i, struct ip *ip)
{
	static const unsigned char zeros[RECORD_SIZE];
	const unsigned char *record = m->byte + i * RECORD_SIZE;

	memcpy(ip->byte, record, sizeof ip->byte);
	return memcmp(record, zeros, RECORD_SIZE) != 0;
}

static int64_t
time_of(const unsigned char *record, enum memory_kind kind)
{
	const unsigned char *p = record + TIMES_OFFSET + 4 * (size_t)kind;

	return (int64_t)p[0] | (int64_t)p[1] << 8 | (int64_t)p[2] << 16 |
	       (int64_t)p[3] << 24;
}

static void
set_time(unsigned char *record, enum memory_kind kind, int64_t when)
{
	unsigned char *p = record + TIMES_OFFSET + 4 * (size_t)kind;

	for (size_t i = 0; i < 4; i++)
		p[i] = (unsigned char)(when >> 8 * i & 0xff);
}

/* The time of a note whose lifetime is not over, otherwise 0. */
static int64_t
live_time(const struct memory *m, size_t i, enum memory_kind kind, int64_t now)
{
	int64_t when = time_of(m->byte + i * RECORD_SIZE, kind);

	return when <= now && now - when < lifetime_s[kind] &&
		       when >= m->cleared
		   ? when
		   : 0;
}

/* The index of the record of the address; RECORDS if there is none. */
static size_t
find_record(const struct memory *m, const struct ip *ip)
{
	size_t i = 0;

	while (i < RECORDS && memcmp(m->byte + i * RECORD_SIZE, ip->byte,
				  sizeof ip->byte) != 0)
		i++;
	return i;
}

int64_t
memory_find(const struct memory *m, const struct ip *ip, enum memory_kind kind,
    int64_t now)
{
	size_t i = find_record(m, ip);

	return i < RECORDS ? live_time(m, i, kind, now) : 0;
}

/*
 * The record to replace: the first one without a valid note, otherwise the one
 * whose newest note is the oldest.
 */
static size_t
find_victim(const struct memory *m, int64_t now)
{
	size_t victim = 0;
	int64_t oldest = INT64_MAX;

	for (size_t i = 0; i < RECORDS; i++) {
		int64_t newest = 0;

		for (int kind = 0; kind < MEMORY_KINDS; kind++) {
			int64_t when =
			    live_time(m, i, (enum memory_kind)kind, now);

			if (when > newest)
				newest = when;
		}
		if (newest < oldest) {
			oldest = newest;
			victim = i;
		}
	}
	return victim;
}

/* fe80::/10 is another host on each interface. */
static bool
is_link_local(const struct ip *ip)
{
	return ip->byte[0] == 0xfe && (ip->byte[1] & 0xc0) == 0x80;
}

/* Failures are ignored: the delivery does not depend on the note. */
static void
write_note(int fd, const struct ip *ip, enum memory_kind kind, int64_t now)
{
	struct memory m = { .cleared = 0 };
	unsigned char *record;
	ssize_t put;
	size_t i;

	if (read_table(&m, fd) == -1)
		return;
	i = find_record(&m, ip);
	if (i == RECORDS)
		i = find_victim(&m, now);
	record = m.byte + i * RECORD_SIZE;
	if (memcmp(record, ip->byte, sizeof ip->byte) != 0) {
		memset(record, 0, RECORD_SIZE);
		memcpy(record, ip->byte, sizeof ip->byte);
	}
	set_time(record, kind, now);
	put = pwrite(fd, record, RECORD_SIZE, (off_t)(i * RECORD_SIZE));
	(void)put;
}

void
memory_note(int fd, const struct ip *ip, enum memory_kind kind, int64_t now)
{
	if (fd == -1 || is_link_local(ip) ||
	    fdio_lock(fd, FDIO_LOCK_EXCLUSIVE, LOCK_MS) == -1)
		return;
	write_note(fd, ip, kind, now);
	fdio_unlock(fd);
}

static int
zero_record(int fd, const struct ip *ip)
{
	static const unsigned char zeros[RECORD_SIZE];
	struct memory m = { .cleared = 0 };
	struct ip found;
	size_t i;

	if (read_table(&m, fd) == -1)
		return -1;
	i = find_record(&m, ip);
	if (i == RECORDS || !memory_address(&m, i, &found))
		return 0;
	return pwrite(fd, zeros, RECORD_SIZE, (off_t)(i * RECORD_SIZE)) ==
		       RECORD_SIZE
		   ? 1
		   : -1;
}

int
memory_forget(const char *path, const struct ip *ip)
{
	int fd = open_existing(path, O_RDWR);
	int result = -1;

	if (fd == -1)
		return -1;
	if (fdio_lock(fd, FDIO_LOCK_EXCLUSIVE, LOCK_MS) != -1)
		result = zero_record(fd, ip);
	close_keeping_errno(fd);
	return result;
}
