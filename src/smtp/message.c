/* SPDX-License-Identifier: ISC */
#include "smtp/message.h"

#include <sys/stat.h>
#include <errno.h>
#include <unistd.h>

#include "io/fdio.h"

/* Finds out whether it is a regular file, and its size. */
static void
inspect_file(struct smtp_message *m)
{
	struct stat st;

	m->start = -1;
	if (fstat(m->fd, &st) == -1 || !S_ISREG(st.st_mode))
		return;
	m->start = lseek(m->fd, 0, SEEK_CUR);
	m->expected = m->start > st.st_size ? 0 : st.st_size - m->start;
}

/*
 * Asks for one byte more than there should be.  If the length is another, the
 * message is not kept in memory, and smtp_message_next() finds the error.
 */
static void
buffer_file(struct smtp_message *m)
{
	size_t expected = (size_t)m->expected;

	for (;;) {
		ssize_t got = pread(m->fd, m->data + m->len,
		    expected + 1 - m->len, m->start + (off_t)m->len);

		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1)
			return;
		m->len += (size_t)got;
		if (got == 0 || m->len >= expected)
			break;
	}
	if (m->len != expected)
		return;
	smtp_measure_add(&m->measure, m->data, m->len);
	m->is_buffered = true;
}

/* False if not all of it could be read. */
static bool
measure_file(struct smtp_message *m)
{
	off_t at = 0;
	ssize_t got;

	while (at < m->expected) {
		got = pread(m->fd, m->data, sizeof m->data, m->start + at);
		if (got == -1 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		smtp_measure_add(&m->measure, m->data, (size_t)got);
		at += got;
	}
	return at == m->expected;
}

void
smtp_message_open(struct smtp_message *m, int fd, bool is_wanted)
{
	m->fd = fd;
	m->taken = 0;
	m->len = 0;
	m->is_buffered = false;
	m->has_failed = false;
	m->is_measured = false;
	m->measure = (struct smtp_measure){ 0 };
	inspect_file(m);
	if (m->start == -1 || !is_wanted)
		return;
	if (m->expected <= SMTP_MESSAGE_SMALL) {
		buffer_file(m);
		m->is_measured = m->is_buffered;
	} else {
		m->is_measured = measure_file(m);
	}
	smtp_measure_end(&m->measure);
}

static ssize_t
next_buffered(struct smtp_message *m)
{
	size_t n = m->taken == 0 ? m->len : 0;

	m->taken = (off_t)m->len;
	return (ssize_t)n;
}

ssize_t
smtp_message_next(struct smtp_message *m, const char **piece)
{
	ssize_t got;

	*piece = m->data;
	if (m->is_buffered)
		return next_buffered(m);
	got = fdio_read(m->fd, m->data, sizeof m->data);
	if (got > 0)
		m->taken += got;
	if (got == 0 && m->start != -1 && m->taken != m->expected)
		got = -1;
	m->has_failed = got == -1;
	return got;
}

int
smtp_message_rewind(struct smtp_message *m)
{
	if (m->taken == 0)
		return 0;
	if (!m->is_buffered &&
	    (m->start == -1 || lseek(m->fd, m->start, SEEK_SET) == -1))
		return -1;
	m->taken = 0;
	return 0;
}
