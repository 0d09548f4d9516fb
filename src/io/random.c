/* SPDX-License-Identifier: ISC */
#define _DEFAULT_SOURCE /* getentropy() */

#include "io/random.h"

#include <fcntl.h>
#include <unistd.h>

#include "config.h"

#ifdef HAVE_GETENTROPY
static int
from_kernel(void *into, size_t n)
{
	return getentropy(into, n);
}
#else
static int
from_kernel(void *into, size_t n)
{
	(void)into;
	(void)n;
	return -1;
}
#endif

/* A short read is an error: the device returns up to 256 bytes at once. */
static int
from_device(void *into, size_t n)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd == -1)
		return -1;
	got = read(fd, into, n);
	(void)close(fd);
	return got == (ssize_t)n ? 0 : -1;
}

int
random_bytes(void *into, size_t n)
{
	/*
	 * The kernel or a sandbox may lack the system call, but have the
	 * device.
	 */
	if (from_kernel(into, n) == 0)
		return 0;
	return from_device(into, n);
}

size_t
random_below(size_t n)
{
	uint64_t value;

	if (n < 2 || random_bytes(&value, sizeof value) == -1)
		return 0;
	/* With 64 bits the bias of the remainder is too small to matter. */
	return (size_t)(value % n);
}
