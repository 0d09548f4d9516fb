/* SPDX-License-Identifier: ISC */

/*
 * Runs a fuzz target once on each named file, and on each file in a named
 * directory.  For compilers without a fuzzer, and for the tests.
 */

#define _DEFAULT_SOURCE

#include <sys/stat.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static int
run_file(const char *path, size_t size)
{
	/*
	 * An exact allocation, so that a sanitizer finds a read beyond the
	 * input.
	 */
	unsigned char *data = malloc(size ? size : 1);
	FILE *f = fopen(path, "r");
	int result = -1;

	if (data && f && fread(data, 1, size, f) == size) {
		LLVMFuzzerTestOneInput(data, size);
		result = 0;
	} else {
		fprintf(stderr, "%s: cannot be read\n", path);
	}
	if (f)
		fclose(f);
	free(data);
	return result;
}

static int run(const char *path, size_t *count);

static int
run_directory(const char *path, size_t *count)
{
	struct dirent **entry;
	int n = scandir(path, &entry, NULL, alphasort);
	int result = n == -1 ? -1 : 0;

	for (int i = 0; i < n; i++) {
		char name[PATH_MAX];

		snprintf(name, sizeof name, "%s/%s", path, entry[i]->d_name);
		if (entry[i]->d_name[0] != '.' && run(name, count) == -1)
			result = -1;
		free(entry[i]);
	}
	if (n != -1)
		free(entry);
	return result;
}

static int
run(const char *path, size_t *count)
{
	struct stat st;

	if (stat(path, &st) == -1) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	if (S_ISDIR(st.st_mode))
		return run_directory(path, count);
	++*count;
	return run_file(path, (size_t)st.st_size);
}

int
main(int argc, char **argv)
{
	size_t count = 0;
	int result = 0;

	/* Some targets change to a directory of their own. */
	for (int i = 1; i < argc; i++)
		argv[i] = realpath(argv[i], NULL);
	for (int i = 1; i < argc; i++)
		if (!argv[i] || run(argv[i], &count) == -1)
			result = 1;
	for (int i = 1; i < argc; i++)
		free(argv[i]);
	LLVMFuzzerTestOneInput((const unsigned char *)"", 0);
	printf("%zu inputs\n", count);
	return count > 0 ? result : 1;
}
