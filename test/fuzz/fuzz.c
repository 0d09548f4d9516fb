/* SPDX-License-Identifier: ISC */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[PATH_MAX];

void
fuzz_fail(const char *file, int line, const char *claim)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, claim);
	abort();
}

unsigned char
fuzz_byte(struct fuzz_input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

const char *
fuzz_bytes(struct fuzz_input *in, size_t *n)
{
	const unsigned char *start = in->at;

	if (*n > in->left)
		*n = in->left;
	if (*n > 0)
		in->at += *n;
	in->left -= *n;
	return *n > 0 ? (const char *)start : "";
}

const char *
fuzz_part(struct fuzz_input *in, unsigned char separator, size_t *n)
{
	const unsigned char *stop =
	    in->left > 0 ? memchr(in->at, separator, in->left) : NULL;
	const char *part;

	*n = stop ? (size_t)(stop - in->at) : in->left;
	part = fuzz_bytes(in, n);
	(void)fuzz_byte(in);
	return part;
}

char *
fuzz_string(const char *s, size_t n)
{
	char *copy = malloc(n + 1);

	CHECK(copy);
	if (n > 0)
		memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}

struct fuzz_cuts
fuzz_cuts_read(struct fuzz_input *in)
{
	struct fuzz_cuts cuts = { .n = fuzz_byte(in) & 7 };

	for (size_t i = 0; i < cuts.n; i++)
		cuts.length[i] = fuzz_byte(in);
	return cuts;
}

size_t
fuzz_cuts_next(struct fuzz_cuts *cuts, size_t left)
{
	size_t n = left;

	if (cuts->n > 0)
		n = (size_t)cuts->length[cuts->next++ % cuts->n] + 1;
	return n < left ? n : left;
}

static void
remove_directory(void)
{
	DIR *dir = opendir(directory);
	const struct dirent *entry;

	if (!dir || chdir(directory) == -1)
		return;
	while ((entry = readdir(dir)))
		unlink(entry->d_name);
	closedir(dir);
	rmdir(directory);
}

void
fuzz_enter_directory(void)
{
	static bool is_there;
	const char *parent = getenv("FUZZ_DIRECTORY");

	if (is_there)
		return;
	is_there = true;
	snprintf(directory, sizeof directory, "%s/fuzz-XXXXXX",
	    parent ? parent : "/dev/shm");
	CHECK(mkdtemp(directory) && chdir(directory) == 0);
	CHECK(atexit(remove_directory) == 0);
}

int
fuzz_lowest_free(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

int
fuzz_write_file(const char *name, const void *data, size_t n)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd != -1 && write(fd, data, n) == (ssize_t)n);
	return fd;
}
