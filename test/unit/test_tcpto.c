/* SPDX-License-Identifier: ISC */
/* for flock() */
#define _DEFAULT_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "qmail/tcpto.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define NOW 1700000000

static char home[] = "/tmp/test_tcpto.XXXXXX";
static const struct tcpto files = { "tcpto", "tcpto6", false };

/* A record as the tests describe it, for both layouts. */
struct rec {
	const char *ip; /* NULL: all zero */
	unsigned char counter;
	int64_t time;
};

static int
enter_home(void **state)
{
	(void)state;
	return !mkdtemp(home) || chdir(home) == -1;
}

static int
clear_home(void **state)
{
	(void)state;
	if (unlink("tcpto") == -1 && errno != ENOENT)
		rmdir("tcpto");
	if (unlink("tcpto6") == -1 && errno != ENOENT)
		rmdir("tcpto6");
	return 0;
}

static int
leave_home(void **state)
{
	clear_home(state);
	return chdir("/") == -1 || rmdir(home) == -1;
}

static struct ip
ip(const char *text)
{
	struct ip ip;

	if (!ip_parse(text, strlen(text), &ip))
		fail_msg("%s is no address", text);
	return ip;
}

static int64_t
window(void)
{
	return (60 + (getpid() & 31)) * 64;
}

static void
write_file(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd != -1);
	assert_int_equal(write(fd, data, n), n);
	assert_int_equal(close(fd), 0);
}

/* Reads the file; returns its size. */
static size_t
read_file(const char *path, unsigned char *data, size_t n)
{
	int fd = open(path, O_RDONLY);
	ssize_t got;

	if (fd == -1)
		return 0;
	got = read(fd, data, n);
	assert_true(got >= 0);
	assert_int_equal(close(fd), 0);
	return (size_t)got;
}

/* By the documented format, not by the module. */
static void
encode(unsigned char *p, const struct rec *r, bool v6)
{
	uint32_t when = (uint32_t)r->time;
	struct ip a;

	if (!r->ip)
		return;
	a = ip(r->ip);
	memcpy(p, v6 ? a.byte : a.byte + 12, v6 ? 16 : 4);
	p += v6 ? 16 : 4;
	*p = r->counter;
	p += 4;
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(when >> 8 * i);
}

static void
write_table(const char *path, const struct rec *r, size_t n, bool v6)
{
	unsigned char data[2048] = { 0 };
	size_t size = v6 ? 32 : 16;

	for (size_t i = 0; i < n; i++)
		encode(data + i * size, &r[i], v6);
	write_file(path, data, 64 * size);
}

static void
expect_record(const char *name, const char *path, size_t i, const struct rec *r)
{
	bool v6 = strcmp(path, "tcpto6") == 0;
	size_t size = v6 ? 32 : 16;
	unsigned char data[2049], want[32] = { 0 };

	if (read_file(path, data, sizeof data) != 64 * size)
		fail_msg("%s: size of %s changed", name, path);
	encode(want, r, v6);
	if (memcmp(data + i * size, want, size) != 0)
		fail_msg("%s: record %zu: counter %d", name, i,
		    data[i * size + (v6 ? 16 : 4)]);
}

static void
skips_by_stocks_rule(void **state)
{
	static const struct {
		const char *name;
		int counter;
		int64_t age;
		bool skips;
	} cases[] = {
		{ "free", 0, 10, false },
		{ "once", 1, 10, false },
		{ "twice", 2, 10, true },
		{ "twice, now", 2, 0, true },
		{ "ten times", 10, 3000, true },
		{ "an odd counter", 200, 3000, true },
		{ "in any window", 2, 3839, true },
		{ "beyond any window", 2, 5825, false },
		{ "a little in the future", 2, -100, true },
		{ "just in the future", 2, -5824, true },
		{ "far in the future", 2, -5825, false },
		{ "the end of time", 2, NOW - 0xffffffffLL, false },
		{ "the beginning of time", 2, NOW, false },
	};
	static const char *const hosts[] = { "192.0.2.1", "2001:db8::1" };

	(void)state;
	for (size_t i = 0; i < 2 * COUNT(cases); i++) {
		const char *name = cases[i / 2].name;
		bool v6 = i % 2, known;
		struct rec r[] = { { "192.0.2.9", 2, NOW },
			{ hosts[v6], (unsigned char)cases[i / 2].counter,
			    NOW - cases[i / 2].age } };
		struct ip host = ip(hosts[v6]);

		if (v6)
			r[0].ip = "2001:db8::9";
		write_table(v6 ? "tcpto6" : "tcpto", r, COUNT(r), v6);
		if (tcpto_skips(&files, &host, NOW, &known) !=
		    cases[i / 2].skips)
			fail_msg("%s, %s", name, hosts[v6]);
		if (!known)
			fail_msg("%s, %s: unknown", name, hosts[v6]);
		host = ip(v6 ? "2001:db8::2" : "192.0.2.2");
		known = true;
		assert_false(tcpto_skips(&files, &host, NOW, &known));
		assert_false(known);
		expect_record(name, v6 ? "tcpto6" : "tcpto", 1, &r[1]);
	}
}

static void
tells_since_when_an_address_is_skipped(void **state)
{
	static const struct rec r[] = {
		{ "192.0.2.1", 2, NOW - 5800 },
		{ "192.0.2.2", 1, NOW - 10 },
		{ "192.0.2.3", 2, NOW - 5825 },
	};
	static const struct {
		const char *host;
		int64_t since;
	} cases[] = {
		{ "192.0.2.1", NOW - 5800 },
		{ "192.0.2.2", 0 },
		{ "192.0.2.3", 0 },
		{ "192.0.2.4", 0 },
		{ "2001:db8::1", 0 },
		{ "fe80::1", 0 },
	};

	(void)state;
	write_table("tcpto", r, COUNT(r), false);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip host = ip(cases[i].host);

		assert_int_equal(tcpto_skipped_since(&files, &host, NOW),
		    cases[i].since);
	}
}

static void
has_a_window_by_pid(void **state)
{
	struct rec r = { "192.0.2.1", 2, NOW - window() + 1 };
	struct ip host = ip("192.0.2.1");
	bool known;

	(void)state;
	write_table("tcpto", &r, 1, false);
	assert_true(tcpto_skips(&files, &host, NOW, &known));
	assert_false(tcpto_skips(&files, &host, NOW + 1, &known));
}

/* The first record of an address counts, even if it is free. */
static void
takes_the_first_record(void **state)
{
	static const struct rec r[] = { { "192.0.2.1", 0, NOW - 10 },
		{ "192.0.2.1", 5, NOW - 10 } };
	struct ip host = ip("192.0.2.1");
	bool known;

	(void)state;
	write_table("tcpto", r, COUNT(r), false);
	assert_false(tcpto_skips(&files, &host, NOW, &known));
	assert_true(known);
}

static void
counts_timeouts(void **state)
{
	static const struct {
		const char *name;
		int counter;
		int64_t age;
		int counter_after;
		int64_t age_after;
	} cases[] = {
		{ "a free record", 0, 10, 1, 0 },
		{ "too soon", 1, 119, 1, 119 },
		{ "again", 1, 120, 2, 0 },
		{ "again and again", 2, 3000, 3, 0 },
		{ "ten is the most", 10, 6000, 10, 0 },
		{ "an odd counter", 200, 6000, 10, 0 },
		{ "an old record counts on", 3, 1000000, 4, 0 },
		{ "a little in the future", 2, -5824, 2, -5824 },
		{ "far in the future", 7, -5825, 1, 0 },
	};
	static const char *const hosts[] = { "192.0.2.1", "2001:db8::1" };

	(void)state;
	for (size_t i = 0; i < 2 * COUNT(cases); i++) {
		bool v6 = i % 2;
		const char *path = v6 ? "tcpto6" : "tcpto";
		struct rec r[] = { { NULL, 0, 0 },
			{ hosts[v6], (unsigned char)cases[i / 2].counter,
			    NOW - cases[i / 2].age } };
		struct ip host = ip(hosts[v6]);

		write_table(path, r, COUNT(r), v6);
		tcpto_timed_out(&files, &host, NOW);
		r[1].counter = (unsigned char)cases[i / 2].counter_after;
		r[1].time = NOW - cases[i / 2].age_after;
		expect_record(cases[i / 2].name, path, 0, &r[0]);
		expect_record(cases[i / 2].name, path, 1, &r[1]);
	}
}

static void
fill(struct rec *r, char (*text)[24])
{
	for (int i = 0; i < 64; i++) {
		snprintf(text[i], sizeof text[i], "10.0.0.%d", i);
		r[i] = (struct rec){ text[i], 1, NOW - 200 };
	}
}

static void
replaces_by_stocks_rule(void **state)
{
	static const struct {
		const char *name;
		struct {
			int i, counter, age;
		} odd[2];
		size_t victim;
	} cases[] = {
		{ "the first of equals", { { 0, 1, 200 }, { 1, 1, 200 } }, 0 },
		{ "the first free one", { { 40, 0, 5 }, { 50, 0, 900 } }, 40 },
		{ "the oldest", { { 30, 1, 201 }, { 31, 1, 300 } }, 31 },
		{ "a counter is worth 1024 s",
		    { { 7, 3, 2248 }, { 8, 1, 201 } }, 8 },
		{ "but not more", { { 7, 3, 2250 }, { 8, 1, 201 } }, 7 },
		{ "far in the future is free",
		    { { 9, 3, -5825 }, { 63, 1, 900 } }, 9 },
		{ "near in the future is not",
		    { { 9, 3, -5824 }, { 63, 1, 900 } }, 63 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[64][24];
		struct rec r[64];
		struct rec new = { "192.0.2.1", 1, NOW };
		struct ip host = ip(new.ip);

		fill(r, text);
		for (size_t k = 0; k < 2; k++) {
			struct rec *odd = &r[cases[i].odd[k].i];

			odd->counter = (unsigned char)cases[i].odd[k].counter;
			odd->time = NOW - cases[i].odd[k].age;
		}
		write_table("tcpto", r, 64, false);
		tcpto_timed_out(&files, &host, NOW);
		for (size_t k = 0; k < 64; k++)
			expect_record(cases[i].name, "tcpto", k,
			    k == cases[i].victim ? &new : &r[k]);
	}
}

/* Only address, counter and time are changed; stock keeps the rest too. */
static void
keeps_bytes_it_does_not_own(void **state)
{
	unsigned char data[1100], after[1101], want[1100];
	struct ip host = ip("192.0.2.1");

	(void)state;
	memset(data, 0xee, sizeof data);
	data[4] = 0;
	write_file("tcpto", data, sizeof data);
	memcpy(want, data, sizeof want);
	memcpy(want, "\xc0\x00\x02\x01\x01", 5);
	memcpy(want + 8, "\x00\xf1\x53\x65", 4);
	tcpto_timed_out(&files, &host, NOW);
	assert_int_equal(read_file("tcpto", after, sizeof after), 1100);
	assert_memory_equal(after, want, sizeof want);
}

static void
clears_addresses_that_answered(void **state)
{
	static const struct rec r[] = { { "192.0.2.1", 3, NOW - 10 },
		{ "192.0.2.2", 2, NOW - 10 } };
	static const struct rec r6[] = { { "2001:db8::1", 3, NOW - 10 } };
	struct rec after = { "192.0.2.1", 0, NOW - 10 };
	struct rec after6 = { "2001:db8::1", 0, NOW - 10 };
	struct ip host = ip("192.0.2.1");
	struct ip host6 = ip("2001:db8::1");
	struct ip other = ip("192.0.2.3");

	(void)state;
	write_table("tcpto", r, COUNT(r), false);
	write_table("tcpto6", r6, COUNT(r6), true);
	tcpto_answered(&files, &host);
	tcpto_answered(&files, &host6);
	tcpto_answered(&files, &other);
	expect_record("v4", "tcpto", 0, &after);
	expect_record("another", "tcpto", 1, &r[1]);
	expect_record("v6", "tcpto6", 0, &after6);
}

/* Writes zeros, or the old bytes, with this time of change. */
static void
write_tcpto_at(const void *data, size_t n, int64_t when)
{
	const struct timespec times[2] = { { (time_t)when, 0 },
		{ (time_t)when, 0 } };

	write_file("tcpto", data, n);
	assert_int_equal(utimensat(AT_FDCWD, "tcpto", times, 0), 0);
}

/* By qmail-tcpok, or when qmail starts: they do not know tcpto6. */
static void
is_cleared_with_tcpto(void **state)
{
	static const unsigned char zeros[1100];
	static const unsigned char used[1024] = { [1023] = 1 };
	static const struct {
		const char *name;
		const void *data;
		size_t n;
		int64_t when;
		bool cleared;
	} cases[] = {
		{ "later", zeros, 1024, NOW - 99, true },
		{ "just now", zeros, 1024, NOW, true },
		{ "in the same second", zeros, 1024, NOW - 100, false },
		{ "before", zeros, 1024, NOW - 101, false },
		{ "one record, cleared", zeros, 16, NOW, true },
		{ "with more behind it", zeros, 1100, NOW, true },
		{ "not zero", used, 1024, NOW, false },
		{ "no record", zeros, 15, NOW, false },
		{ "empty", zeros, 0, NOW, false },
	};
	static const struct rec r = { "2001:db8::1", 3, NOW - 100 };
	struct ip host = ip(r.ip);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct rec after = { r.ip, cases[i].cleared ? 1 : 3,
			cases[i].cleared ? NOW : NOW - 100 };
		bool known;

		write_tcpto_at(cases[i].data, cases[i].n, cases[i].when);
		write_table("tcpto6", &r, 1, true);
		if (tcpto_skips(&files, &host, NOW, &known) == cases[i].cleared)
			fail_msg("%s", cases[i].name);
		tcpto_timed_out(&files, &host, NOW);
		expect_record(cases[i].name, "tcpto6", 0, &after);
	}
}

/* With a directory, a FIFO or no file at all, nothing was cleared. */
static void
is_not_cleared_by_what_is_no_table(void **state)
{
	static const struct rec r = { "2001:db8::1", 3, NOW - 100 };
	struct ip host = ip(r.ip);
	bool known;

	write_table("tcpto6", &r, 1, true);
	assert_true(tcpto_skips(&files, &host, NOW, &known));
	assert_int_equal(mkdir("tcpto", 0700), 0);
	assert_true(tcpto_skips(&files, &host, NOW, &known));
	assert_int_equal(rmdir("tcpto"), 0);
	assert_int_equal(mkfifo("tcpto", 0600), 0);
	assert_true(tcpto_skips(&files, &host, NOW, &known));
	clear_home(state);
}

/* A cleared record is reused for a new address. */
static void
replaces_what_was_cleared(void **state)
{
	static const unsigned char zeros[1024];
	struct rec r[64];
	char text[64][24];
	struct rec new = { "2001:db8::2", 1, NOW };
	struct ip host = ip(new.ip);

	(void)state;
	for (int i = 0; i < 64; i++) {
		snprintf(text[i], sizeof text[i], "2001:db8:1::%x", i);
		r[i] = (struct rec){ text[i], 1, NOW - 300 + i };
	}
	r[40].time = NOW - 400;
	write_table("tcpto6", r, 64, true);
	tcpto_timed_out(&files, &host, NOW);
	expect_record("the oldest", "tcpto6", 40, &new);
	write_table("tcpto6", r, 64, true);
	write_tcpto_at(zeros, sizeof zeros, NOW - 299);
	tcpto_timed_out(&files, &host, NOW);
	expect_record("the first cleared one", "tcpto6", 0, &new);
}

static void
makes_only_tcpto6(void **state)
{
	struct rec r = { "2001:db8::1", 1, NOW };
	struct ip host = ip("192.0.2.1");
	struct ip host6 = ip("2001:db8::1");
	mode_t mask = umask(077);
	struct stat st;
	bool known;

	assert_false(tcpto_skips(&files, &host6, NOW, &known));
	tcpto_answered(&files, &host6);
	assert_int_equal(access("tcpto6", F_OK), -1);
	tcpto_timed_out(&files, &host, NOW);
	assert_int_equal(access("tcpto", F_OK), -1);
	tcpto_timed_out(&files, &host6, NOW);
	umask(mask);
	expect_record("made", "tcpto6", 0, &r);
	assert_int_equal(stat("tcpto6", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	clear_home(state);

	/* As left by a process killed before it set the size. */
	write_file("tcpto6", "", 0);
	tcpto_timed_out(&files, &host6, NOW);
	expect_record("empty", "tcpto6", 0, &r);
}

/* IPv4 in any form belongs in stock's file. */
static void
maps_to_ipv4(void **state)
{
	struct rec r = { "192.0.2.1", 1, NOW };
	struct ip host = ip("::ffff:192.0.2.1");

	(void)state;
	write_table("tcpto", NULL, 0, false);
	tcpto_timed_out(&files, &host, NOW);
	expect_record("mapped", "tcpto", 0, &r);
	assert_int_equal(access("tcpto6", F_OK), -1);
}

static void
leaves_link_local_out(void **state)
{
	static const struct rec r = { "fe80::1", 2, NOW };
	struct ip host = ip("fe80::1");
	struct ip high = ip("febf::1");
	struct ip beyond = ip("fec0::1");
	bool known;

	(void)state;
	tcpto_timed_out(&files, &host, NOW);
	tcpto_timed_out(&files, &high, NOW);
	assert_int_equal(access("tcpto6", F_OK), -1);
	tcpto_timed_out(&files, &beyond, NOW);
	assert_int_equal(access("tcpto6", F_OK), 0);
	write_table("tcpto6", &r, 1, true);
	assert_false(tcpto_skips(&files, &host, NOW, &known));
	assert_false(known);
}

static void
uses_whole_records_of_a_short_file(void **state)
{
	static const struct rec r[] = { { "10.0.0.1", 5, NOW - 10 },
		{ "10.0.0.2", 4, NOW - 10 }, { "10.0.0.3", 2, NOW - 10 } };
	struct ip third = ip("10.0.0.3");
	struct ip host = ip("192.0.2.1");
	unsigned char data[64];
	bool known;

	(void)state;
	write_table("tcpto", r, COUNT(r), false);
	assert_int_equal(truncate("tcpto", 40), 0);
	assert_false(tcpto_skips(&files, &third, NOW, &known));
	assert_false(known);
	tcpto_timed_out(&files, &host, NOW);
	assert_int_equal(read_file("tcpto", data, sizeof data), 40);
	assert_memory_equal(data + 16, "\xc0\x00\x02\x01\x01", 5);

	assert_int_equal(truncate("tcpto", 15), 0);
	tcpto_timed_out(&files, &host, NOW);
	assert_int_equal(read_file("tcpto", data, sizeof data), 15);
	assert_int_equal(truncate("tcpto", 0), 0);
	tcpto_timed_out(&files, &host, NOW);
	assert_int_equal(read_file("tcpto", data, sizeof data), 0);
}

/* Neither waits nor crashes, and does not change a file that is not a table. */
static void
works_without_a_table(void **state)
{
	struct ip hosts[] = { ip("192.0.2.1"), ip("2001:db8::1") };
	static const struct rec r = { "192.0.2.1", 2, NOW };

	for (int kind = 0; kind < 5; kind++) {
		for (size_t i = 0; i < COUNT(hosts); i++) {
			const char *path = i ? "tcpto6" : "tcpto";
			bool known = true;

			write_table("elsewhere", &r, 1, false);
			switch (kind) {
			case 0:
				assert_int_equal(mkdir(path, 0700), 0);
				break;
			case 1:
				assert_int_equal(mkfifo(path, 0600), 0);
				break;
			case 2:
				assert_int_equal(symlink("nowhere", path), 0);
				break;
			case 3:
				assert_int_equal(symlink("/dev/zero", path), 0);
				break;
			case 4:
				assert_int_equal(symlink("elsewhere", path), 0);
				break;
			}
			assert_false(tcpto_skips(&files, &hosts[i], NOW,
			    &known));
			assert_false(known);
			tcpto_timed_out(&files, &hosts[i], NOW);
			tcpto_answered(&files, &hosts[i]);
			assert_int_equal(access("nowhere", F_OK), -1);
			assert_int_equal(unlink("elsewhere"), 0);
		}
		clear_home(state);
	}
}

static int64_t
monotonic_ms(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
does_not_wait_for_ever(void **state)
{
	static const struct rec r = { "192.0.2.1", 2, NOW - 200 };
	struct ip host = ip("192.0.2.1");
	int64_t start;
	bool known;
	int fd;

	(void)state;
	write_table("tcpto", &r, 1, false);
	fd = open("tcpto", O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	start = monotonic_ms();
	assert_false(tcpto_skips(&files, &host, NOW, &known));
	assert_false(known);
	tcpto_timed_out(&files, &host, NOW);
	assert_in_range(monotonic_ms() - start, 500, 3000);
	expect_record("locked", "tcpto", 0, &r);
	assert_int_equal(close(fd), 0);
	assert_true(tcpto_skips(&files, &host, NOW, &known));
}

static void
child(int k)
{
	char text[24];
	struct ip host, shared = ip("192.0.2.1");

	snprintf(text, sizeof text, "10.0.0.%d", k);
	host = ip(text);
	tcpto_timed_out(&files, &host, NOW - 300);
	tcpto_timed_out(&files, &shared, NOW);
	tcpto_timed_out(&files, &host, NOW);
	_exit(0);
}

/* 50 processes at once: no record is lost or half written. */
static void
counts_what_many_processes_say(void **state)
{
	int status;

	(void)state;
	write_table("tcpto", NULL, 0, false);
	for (int k = 0; k < 50; k++) {
		pid_t pid = fork();

		assert_true(pid != -1);
		if (pid == 0)
			child(k);
	}
	for (int k = 0; k < 50; k++) {
		assert_true(wait(&status) != -1);
		assert_int_equal(status, 0);
	}
	for (int k = 0; k < 51; k++) {
		unsigned char data[1025];
		struct ip host = ip("192.0.2.1");
		size_t hits = 0;

		if (k < 50)
			host.byte[12] = 10, host.byte[14] = 0,
			host.byte[15] = (unsigned char)k;
		assert_int_equal(read_file("tcpto", data, sizeof data), 1024);
		for (size_t i = 0; i < 64; i++) {
			const unsigned char *p = data + 16 * i;

			if (memcmp(p, host.byte + 12, 4) != 0)
				continue;
			hits++;
			assert_int_equal(p[4], k < 50 ? 2 : 1);
			assert_memory_equal(p + 8, "\x00\xf1\x53\x65", 4);
		}
		assert_int_equal(hits, 1);
	}
}

static void
records_nothing_where_it_is_read_only(void **state)
{
	static const struct tcpto read_only = { "tcpto", "tcpto6", true };
	static const struct rec r = { "192.0.2.1", 1, NOW };
	struct ip host = ip("192.0.2.1"), host6 = ip("2001:db8::1");
	bool known;

	(void)state;
	write_table("tcpto", &r, 1, false);
	tcpto_timed_out(&read_only, &host, NOW + 200);
	tcpto_timed_out(&read_only, &host6, NOW);
	tcpto_answered(&read_only, &host);
	expect_record("read only", "tcpto", 0, &r);
	assert_int_equal(access("tcpto6", F_OK), -1);
	assert_false(tcpto_skips(&read_only, &host, NOW, &known));
	assert_true(known);
}

static void
lists_what_is_in_use(void **state)
{
	static const struct rec r4[] = { { "192.0.2.1", 2, NOW },
		{ "192.0.2.2", 0, NOW }, { NULL, 0, 0 },
		{ "192.0.2.3", 200, NOW + 9 } };
	static const struct rec r6[] = { { "2001:db8::1", 1, NOW - 1 } };
	struct tcpto_record list[TCPTO_RECORDS];
	struct ip want;

	(void)state;
	assert_int_equal(tcpto_list(&files, true, list), -1);
	assert_int_equal(errno, ENOENT);
	write_table("tcpto", r4, COUNT(r4), false);
	write_table("tcpto6", r6, COUNT(r6), true);
	assert_int_equal(tcpto_list(&files, true, list), 2);
	want = ip("192.0.2.1");
	assert_true(ip_equal(&list[0].ip, &want));
	assert_int_equal(list[0].count, 2);
	assert_int_equal(list[0].when, NOW);
	assert_int_equal(list[1].count, 200);
	assert_int_equal(tcpto_list(&files, false, list), 1);
	want = ip("2001:db8::1");
	assert_true(ip_equal(&list[0].ip, &want));
}

/* Like qmail-tcpto, it shows a table of any content. */
static void
lists_a_full_table(void **state)
{
	struct tcpto_record list[TCPTO_RECORDS];
	unsigned char data[2048];

	(void)state;
	memset(data, 0xff, sizeof data);
	write_file("tcpto", data, 1024);
	write_file("tcpto6", data, 2048);
	assert_int_equal(tcpto_list(&files, true, list), 64);
	assert_int_equal(tcpto_list(&files, false, list), 64);
	assert_int_equal(list[63].when, UINT32_MAX);
}

static void
zeroes_one_record(void **state)
{
	static const struct rec r[] = { { "2001:db8::1", 1, NOW },
		{ "2001:db8::2", 1, NOW }, { "2001:db8::3", 1, NOW } };
	static const struct rec none = { NULL, 0, 0 };
	struct ip second = ip("2001:db8::2"), zero = ip("::");

	(void)state;
	assert_int_equal(tcpto_forget(&files, &second), -1);
	assert_int_equal(errno, ENOENT);
	write_table("tcpto6", r, COUNT(r), true);
	assert_int_equal(tcpto_forget(&files, &second), 1);
	expect_record("before", "tcpto6", 0, &r[0]);
	expect_record("forgotten", "tcpto6", 1, &none);
	expect_record("behind", "tcpto6", 2, &r[2]);
	assert_int_equal(tcpto_forget(&files, &second), 0);
	assert_int_equal(tcpto_forget(&files, &zero), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(skips_by_stocks_rule, clear_home),
		cmocka_unit_test_teardown(has_a_window_by_pid, clear_home),
		cmocka_unit_test_teardown(
		    tells_since_when_an_address_is_skipped, clear_home),
		cmocka_unit_test_teardown(takes_the_first_record, clear_home),
		cmocka_unit_test_teardown(counts_timeouts, clear_home),
		cmocka_unit_test_teardown(replaces_by_stocks_rule, clear_home),
		cmocka_unit_test_teardown(keeps_bytes_it_does_not_own,
		    clear_home),
		cmocka_unit_test_teardown(clears_addresses_that_answered,
		    clear_home),
		cmocka_unit_test_teardown(is_cleared_with_tcpto, clear_home),
		cmocka_unit_test_teardown(is_not_cleared_by_what_is_no_table,
		    clear_home),
		cmocka_unit_test_teardown(replaces_what_was_cleared,
		    clear_home),
		cmocka_unit_test_teardown(makes_only_tcpto6, clear_home),
		cmocka_unit_test_teardown(maps_to_ipv4, clear_home),
		cmocka_unit_test_teardown(leaves_link_local_out, clear_home),
		cmocka_unit_test_teardown(uses_whole_records_of_a_short_file,
		    clear_home),
		cmocka_unit_test_teardown(works_without_a_table, clear_home),
		cmocka_unit_test_teardown(does_not_wait_for_ever, clear_home),
		cmocka_unit_test_teardown(records_nothing_where_it_is_read_only,
		    clear_home),
		cmocka_unit_test_teardown(lists_what_is_in_use, clear_home),
		cmocka_unit_test_teardown(lists_a_full_table, clear_home),
		cmocka_unit_test_teardown(zeroes_one_record, clear_home),
		cmocka_unit_test_teardown(counts_what_many_processes_say,
		    clear_home),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
