/* SPDX-License-Identifier: ISC */

/*
 * Tables of arbitrary bytes: an update changes one record to one that qmail's
 * programs can read, and never the size of the file.
 */

#include <sys/stat.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/fdio.h"
#include "qmail/tcpto.h"

#include "fuzz.h"

#define FILE_MAX 4096

static const struct tcpto files = { "tcpto", "tcpto6", false };

struct shape {
	const char *path;
	size_t size, address, counter, time;
};

static const struct shape v4 = { "tcpto", 16, 4, 4, 8 };
static const struct shape v6 = { "tcpto6", 32, 16, 16, 20 };

static void
read_table(const struct shape *shape, struct buf *b)
{
	buf_cut(b, 0);
	CHECK(fdio_read_file(shape->path, 2 * FILE_MAX, b) == 0);
}

/* At most one record of the table has changed, and it is well-formed. */
static void
check_change(const struct shape *shape, const struct ip *ip,
    const struct buf *before, const struct buf *after)
{
	size_t n = before->len / shape->size, changed = 0;

	CHECK(before->len == after->len);
	n = n < 64 ? n : 64;
	for (size_t i = 0; i < n; i++) {
		const char *a = before->data + i * shape->size;
		const char *b = after->data + i * shape->size;

		if (memcmp(a, b, shape->size) == 0)
			continue;
		changed++;
		CHECK(memcmp(b, ip->byte + 16 - shape->address,
			  shape->address) == 0);
		CHECK((unsigned char)b[shape->counter] <= 10);
	}
	CHECK(changed <= 1);
	n *= shape->size;
	if (before->len > n)
		CHECK(!memcmp(before->data + n, after->data + n,
		    before->len - n));
}

static bool
is_link_local(const struct ip *ip)
{
	return ip->byte[0] == 0xfe && (ip->byte[1] & 0xc0) == 0x80;
}

/* A new or cleared address is skipped after two time-outs. */
static void
check_twice(const struct ip *ip, int64_t now, size_t records)
{
	bool known;

	tcpto_timed_out(&files, ip, now);
	CHECK(!tcpto_skips(&files, ip, now, &known));
	CHECK(known == (records > 0));
	tcpto_timed_out(&files, ip, now + 119);
	CHECK(!tcpto_skips(&files, ip, now + 119, &known));
	tcpto_timed_out(&files, ip, now + 120);
	CHECK(tcpto_skips(&files, ip, now + 120, &known) == (records > 0));
	CHECK(!tcpto_skips(&files, ip, now + 120 + 91 * 64, &known));
}

/* A table that is all zero would clear the other one. */
static void
forget_clearing(void)
{
	static const struct timespec times[2] = { { 0, 0 }, { 0, 0 } };

	CHECK(utimensat(AT_FDCWD, "tcpto", times, 0) == 0);
}

static void
step(const struct ip *ip, unsigned char what, int64_t now)
{
	const struct shape *shape = ip_is_v4(ip) ? &v4 : &v6;
	struct buf before = { 0 }, after = { 0 };
	bool known, skips;
	size_t records;

	forget_clearing();
	skips = tcpto_skips(&files, ip, now, &known);
	CHECK(known || !skips);
	read_table(shape, &before);
	if (what & 1)
		tcpto_answered(&files, ip);
	else
		tcpto_timed_out(&files, ip, now);
	forget_clearing();
	read_table(shape, &after);
	if (shape == &v6 && before.len == 0 && after.len > 0) {
		/*
		 * The file was created: before this record there were 64 empty
		 * ones.
		 */
		CHECK(after.len == 2048);
		memset(buf_reserve(&before, after.len), 0, after.len);
		before.len = after.len;
	}
	check_change(shape, ip, &before, &after);
	records = is_link_local(ip) ? 0 : before.len / shape->size;
	if (what & 1) {
		CHECK(!tcpto_skips(&files, ip, now, &known));
	} else if (!is_link_local(ip) && before.len >= shape->size) {
		(void)tcpto_skips(&files, ip, now, &known);
		CHECK(known);
	}
	if (what & 2) {
		tcpto_answered(&files, ip);
		/* An empty table is filled now, if possible. */
		if (shape == &v6 && !is_link_local(ip) && before.len == 0)
			records = 64;
		check_twice(ip, now, records);
	}
	buf_finish(&before);
	buf_finish(&after);
}

static int64_t
read_time(struct fuzz_input *in)
{
	int64_t t = 0;

	for (int i = 0; i < 4; i++)
		t = t << 8 | fuzz_byte(in);
	/* Leaves room for additions within 32 bits. */
	return t < 0xffff0000 ? t : 0xffff0000;
}

/* The input is the table, then steps; addresses come from either. */
int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	unsigned char what = fuzz_byte(&in);
	int64_t now = read_time(&in);
	size_t steps = fuzz_byte(&in) & 7;
	unsigned char step_byte[7][3], address[16] = { 0 };
	size_t n = 16;
	const char *p;

	fuzz_enter_directory();
	for (size_t i = 0; i < steps; i++)
		for (size_t k = 0; k < 3; k++)
			step_byte[i][k] = fuzz_byte(&in);
	p = fuzz_bytes(&in, &n);
	memcpy(address, p, n);
	n = in.left < FILE_MAX ? in.left : FILE_MAX;
	close(fuzz_write_file("tcpto", in.at, n));
	close(fuzz_write_file("tcpto6", in.at, n));
	for (size_t i = 0; i < steps; i++) {
		size_t at = step_byte[i][1] * (size_t)16;
		unsigned char from[16];
		struct ip ip;

		memcpy(from, address, sizeof from);
		if (step_byte[i][0] & 4 && at + 16 <= n)
			memcpy(from, in.at + at, sizeof from);
		ip = what & 1 ? ip_from_v6(from) : ip_from_v4(from);
		step(&ip, step_byte[i][0], now + step_byte[i][2]);
	}
	return 0;
}
