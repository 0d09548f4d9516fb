/* SPDX-License-Identifier: ISC */
/*
 * Linked into MemorySanitizer builds only.  That of clang 14 does not know
 * these calls of the C library, and takes what they fill in for uninitialised.
 */
#define _GNU_SOURCE

#include <sys/stat.h>
#include <sys/syscall.h>
#include <fcntl.h>
#include <unistd.h>

void __msan_unpoison(const volatile void *, size_t);

static int
known(int result, struct stat *st)
{
	if (result == 0)
		__msan_unpoison(st, sizeof *st);
	return result;
}

int
fstat(int fd, struct stat *st)
{
	return known(fstatat(fd, "", st, AT_EMPTY_PATH), st);
}

int
stat(const char *path, struct stat *st)
{
	return known(fstatat(AT_FDCWD, path, st, 0), st);
}

int
getentropy(void *p, size_t n)
{
	long got = syscall(SYS_getrandom, p, n, 0);

	if (got == (long)n)
		__msan_unpoison(p, n);
	return got == (long)n ? 0 : -1;
}
