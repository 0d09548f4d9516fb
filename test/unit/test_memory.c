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
#include <unistd.h>

#include "qmail/memory.h"

#define NOW 1700000000
#define PATH "addresses"

static char home[] = "/tmp/test_memory.XXXXXX";

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
	if (unlink(PATH) == -1 && errno != ENOENT)
		rmdir(PATH);
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
find(const char *text, enum memory_kind kind, int64_t now)
{
	struct ip address = ip(text);
	struct memory m;
	int fd = memory_open(PATH);
	int64_t when;

	memory_read(&m, fd);
	when = memory_find(&m, &address, kind, now);
	if (fd != -1)
		close(fd);
	return when;
}

static void
note(const char *text, enum memory_kind kind, int64_t now)
{
	struct ip address = ip(text);
	int fd = memory_open(PATH);

	memory_note(fd, &address, kind, now);
	if (fd != -1)
		close(fd);
}

static void
read_bytes(unsigned char data[MEMORY_SIZE])
{
	int fd = open(PATH, O_RDONLY);
	struct stat st;

	assert_true(fd != -1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, MEMORY_SIZE);
	assert_int_equal(read(fd, data, MEMORY_SIZE), MEMORY_SIZE);
	close(fd);
}

static void
write_bytes(const void *data, size_t n)
{
	int fd = open(PATH, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd != -1);
	assert_int_equal(write(fd, data, n), n);
	close(fd);
}

static void
forgets_each_kind_in_its_time(void **state)
{
	static const struct {
		enum memory_kind kind;
		int64_t lasts;
	} kinds[] = {
		{ MEMORY_PIPELINING, 4 * 3600 },
		{ MEMORY_STALL, 4 * 3600 },
		{ MEMORY_EHLO, 1800 },
		{ MEMORY_TLS, 1800 },
	};
	static const char *const hosts[] = { "192.0.2.1", "2001:db8::1" };

	(void)state;
	for (size_t i = 0; i < 2 * MEMORY_KINDS; i++) {
		enum memory_kind kind = kinds[i / 2].kind;
		int64_t lasts = kinds[i / 2].lasts;
		const char *host = hosts[i % 2];

		assert_int_equal(find(host, kind, NOW), 0);
		note(host, kind, NOW);
		assert_int_equal(find(host, kind, NOW), NOW);
		assert_int_equal(find(host, kind, NOW + lasts - 1), NOW);
		assert_int_equal(find(host, kind, NOW + lasts), 0);
		/* A time from a wrong clock. */
		assert_int_equal(find(host, kind, NOW - 1), 0);
		assert_int_equal(find("192.0.2.9", kind, NOW), 0);
		assert_int_equal(find("2001:db8::9", kind, NOW), 0);
	}
}

/* The format of the header file, byte for byte. */
static void
writes_the_documented_format(void **state)
{
	static const unsigned char want[3 * 32] = {
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0xff,
		0xff,
		192,
		0,
		2,
		1,
		0x00,
		0xf1,
		0x53,
		0x65,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0x02,
		0xf1,
		0x53,
		0x65,
		0x20,
		0x01,
		0x0d,
		0xb8,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		1,
		0,
		0,
		0,
		0,
		0x01,
		0xf1,
		0x53,
		0x65,
		0x03,
		0xf1,
		0x53,
		0x65,
		0,
		0,
		0,
		0,
	};
	unsigned char data[MEMORY_SIZE];

	(void)state;
	note("192.0.2.1", MEMORY_PIPELINING, NOW);
	note("2001:db8::1", MEMORY_STALL, NOW + 1);
	note("::ffff:192.0.2.1", MEMORY_TLS, NOW + 2);
	note("2001:db8::1", MEMORY_EHLO, NOW + 3);
	read_bytes(data);
	assert_memory_equal(data, want, sizeof want);
	for (size_t i = sizeof want; i < sizeof data; i++)
		assert_int_equal(data[i], 0);
}

static void
renews_a_note(void **state)
{
	(void)state;
	note("192.0.2.1", MEMORY_TLS, NOW);
	note("192.0.2.1", MEMORY_STALL, NOW + 5);
	note("192.0.2.1", MEMORY_TLS, NOW + 1000);
	assert_int_equal(find("192.0.2.1", MEMORY_TLS, NOW + 2000), NOW + 1000);
	assert_int_equal(find("192.0.2.1", MEMORY_STALL, NOW + 2000), NOW + 5);
}

static void
fill(int64_t when)
{
	for (int i = 0; i < 256; i++) {
		char text[24];

		snprintf(text, sizeof text, "10.0.%d.1", i);
		note(text, MEMORY_STALL, when + i);
	}
}

static void
replaces_the_oldest(void **state)
{
	(void)state;
	fill(NOW);
	/* An old record that has a newer note of another kind. */
	note("10.0.0.1", MEMORY_PIPELINING, NOW + 500);
	note("192.0.2.1", MEMORY_STALL, NOW + 600);
	assert_int_equal(find("192.0.2.1", MEMORY_STALL, NOW + 600), NOW + 600);
	assert_int_equal(find("10.0.1.1", MEMORY_STALL, NOW + 600), 0);
	assert_int_equal(find("10.0.0.1", MEMORY_PIPELINING, NOW + 600),
	    NOW + 500);
	assert_int_equal(find("10.0.2.1", MEMORY_STALL, NOW + 600), NOW + 2);
}

/* Nothing of the replaced record is left. */
static void
replaces_expired_records(void **state)
{
	int64_t later = NOW + 4 * 3600;

	(void)state;
	fill(NOW);
	note("10.0.7.1", MEMORY_TLS, NOW + 7);
	for (int i = 0; i < 7; i++) {
		char text[24];

		snprintf(text, sizeof text, "10.0.%d.1", i);
		note(text, MEMORY_STALL, later);
	}
	note("192.0.2.1", MEMORY_EHLO, later + 7);
	assert_int_equal(find("192.0.2.1", MEMORY_EHLO, later + 7), later + 7);
	assert_int_equal(find("192.0.2.1", MEMORY_STALL, NOW + 8), 0);
	assert_int_equal(find("192.0.2.1", MEMORY_TLS, NOW + 8), 0);
	assert_int_equal(find("10.0.8.1", MEMORY_STALL, later + 7), NOW + 8);
}

static void
ignores_notes_from_before_clearing(void **state)
{
	struct ip address = ip("192.0.2.1");
	struct memory m;
	int fd;

	(void)state;
	note("192.0.2.1", MEMORY_STALL, NOW);
	fd = memory_open(PATH);
	memory_read(&m, fd);
	m.cleared = NOW;
	assert_int_equal(memory_find(&m, &address, MEMORY_STALL, NOW), NOW);
	m.cleared = NOW + 1;
	assert_int_equal(memory_find(&m, &address, MEMORY_STALL, NOW + 2), 0);
	close(fd);
}

static void
leaves_link_local_out(void **state)
{
	(void)state;
	note("fe80::1", MEMORY_STALL, NOW);
	note("febf::1", MEMORY_STALL, NOW);
	assert_int_equal(find("fe80::1", MEMORY_STALL, NOW), 0);
	assert_int_equal(find("febf::1", MEMORY_STALL, NOW), 0);
	note("fec0::1", MEMORY_STALL, NOW);
	assert_int_equal(find("fec0::1", MEMORY_STALL, NOW), NOW);
}

static void
is_made_for_the_group(void **state)
{
	mode_t mask = umask(077);
	int fd = memory_open(PATH);
	struct stat st;

	(void)state;
	umask(mask);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_size, MEMORY_SIZE);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

/* A truncated file, a longer one, or any bytes: it is used or ignored. */
static void
survives_any_file(void **state)
{
	static unsigned char data[2 * MEMORY_SIZE];
	static const size_t sizes[] = { 0, 1, 31, 8191, 8192, 8193, 16384 };

	(void)state;
	memset(data, 0xff, sizeof data);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		write_bytes(data, sizes[i]);
		assert_int_equal(find("192.0.2.1", MEMORY_TLS, NOW), 0);
		assert_int_equal(find("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
				     MEMORY_TLS, NOW),
		    0);
		note("192.0.2.1", MEMORY_TLS, NOW);
		assert_int_equal(find("192.0.2.1", MEMORY_TLS, NOW), NOW);
		read_bytes(data + MEMORY_SIZE);
		memset(data, 0xff, sizeof data);
	}
}

static void
works_without_a_file(void **state)
{
	struct memory m = { .cleared = 5 };
	struct ip address = ip("192.0.2.1");

	assert_int_equal(memory_open("nowhere/" PATH), -1);
	assert_int_equal(mkdir(PATH, 0700), 0);
	assert_int_equal(memory_open(PATH), -1);
	clear_home(state);
	assert_int_equal(mkfifo(PATH, 0600), 0);
	assert_int_equal(memory_open(PATH), -1);
	clear_home(state);
	assert_int_equal(symlink("target", PATH), 0);
	assert_int_equal(memory_open(PATH), -1);
	assert_int_equal(access("target", F_OK), -1);
	clear_home(state);
	memset(m.byte, 0xff, sizeof m.byte);
	memory_read(&m, -1);
	assert_int_equal(memory_find(&m, &address, MEMORY_TLS, NOW), 0);
	assert_int_equal(m.cleared, 0);
	memory_note(-1, &address, MEMORY_TLS, NOW);

	/* A descriptor of another kind of file. */
	int fd = open("/dev/null", O_RDWR);
	memory_read(&m, fd);
	assert_int_equal(memory_find(&m, &address, MEMORY_TLS, NOW), 0);
	memory_note(fd, &address, MEMORY_TLS, NOW);
	close(fd);
}

/* Waits for the lock, but not for long. */
static void
locks_for_a_note(void **state)
{
	int other = memory_open(PATH);

	(void)state;
	assert_int_equal(flock(other, LOCK_EX), 0);
	note("192.0.2.1", MEMORY_TLS, NOW);
	assert_int_equal(find("192.0.2.1", MEMORY_TLS, NOW), 0);
	assert_int_equal(flock(other, LOCK_UN), 0);
	note("192.0.2.1", MEMORY_TLS, NOW);
	assert_int_equal(find("192.0.2.1", MEMORY_TLS, NOW), NOW);
	/* The lock is released afterwards. */
	assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
	close(other);
}

static void
keeps_notes_of_many_at_once(void **state)
{
	(void)state;
	for (int i = 0; i < 30; i++) {
		pid_t pid = fork();

		assert_true(pid != -1);
		if (pid == 0) {
			char text[24];

			snprintf(text, sizeof text, "10.0.0.%d", i);
			note(text, MEMORY_STALL, NOW);
			_exit(0);
		}
	}
	for (int i = 0; i < 30; i++)
		assert_true(wait(NULL) > 0);
	for (int i = 0; i < 30; i++) {
		char text[24];

		snprintf(text, sizeof text, "10.0.0.%d", i);
		assert_int_equal(find(text, MEMORY_STALL, NOW), NOW);
	}
}

static void
loads_without_making_a_file(void **state)
{
	struct ip address = ip("192.0.2.1"), found;
	struct memory m;

	(void)state;
	assert_int_equal(memory_load(&m, PATH), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(access(PATH, F_OK), -1);
	write_bytes("short", 5);
	assert_int_equal(memory_load(&m, PATH), -1);
	assert_int_equal(errno, EINVAL);
	assert_false(memory_address(&m, 0, &found));
	unlink(PATH);
	note("192.0.2.1", MEMORY_TLS, NOW);
	assert_int_equal(memory_load(&m, PATH), 0);
	assert_true(memory_address(&m, 0, &found));
	assert_true(ip_equal(&found, &address));
	assert_false(memory_address(&m, 1, &found));
	assert_int_equal(memory_find(&m, &address, MEMORY_TLS, NOW), NOW);
}

static void
forgets_an_address(void **state)
{
	struct ip address = ip("192.0.2.1"), other = ip("192.0.2.9");
	struct ip zero = ip("::");

	(void)state;
	assert_int_equal(memory_forget(PATH, &address), -1);
	assert_int_equal(errno, ENOENT);
	note("192.0.2.1", MEMORY_TLS, NOW);
	note("192.0.2.1", MEMORY_STALL, NOW);
	note("192.0.2.2", MEMORY_TLS, NOW);
	assert_int_equal(memory_forget(PATH, &other), 0);
	assert_int_equal(memory_forget(PATH, &zero), 0);
	assert_int_equal(memory_forget(PATH, &address), 1);
	assert_int_equal(memory_forget(PATH, &address), 0);
	assert_int_equal(find("192.0.2.1", MEMORY_STALL, NOW), 0);
	assert_int_equal(find("192.0.2.2", MEMORY_TLS, NOW), NOW);
}

#define TEST(name) cmocka_unit_test_teardown(name, clear_home)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(forgets_each_kind_in_its_time),
		TEST(writes_the_documented_format),
		TEST(renews_a_note),
		TEST(replaces_the_oldest),
		TEST(replaces_expired_records),
		TEST(ignores_notes_from_before_clearing),
		TEST(leaves_link_local_out),
		TEST(is_made_for_the_group),
		TEST(survives_any_file),
		TEST(works_without_a_file),
		TEST(locks_for_a_note),
		TEST(keeps_notes_of_many_at_once),
		TEST(loads_without_making_a_file),
		TEST(forgets_an_address),
	};

	return cmocka_run_group_tests(tests, enter_home, leave_home);
}
