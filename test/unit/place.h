/* SPDX-License-Identifier: ISC */
#ifndef TEST_PLACE_H
#define TEST_PLACE_H

#include <sys/stat.h>
#include <stdio.h>
#include <string.h>

#include "io/fileid.h"

/*
 * Checks that something was read at this place of this version of a file: there
 * are these n bytes.  Include it after cmocka.h.
 */
static inline void
check_place(const char *path, const struct fileid *version, uint64_t offset,
    const char *bytes, size_t n)
{
	struct fileid now;
	char got[4096];
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_true(n <= sizeof got);
	assert_int_equal(fseek(f, (long)offset, SEEK_SET), 0);
	assert_int_equal(fread(got, 1, n, f), n);
	assert_memory_equal(got, bytes, n);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(fileid_read(&now, path), 0);
	assert_memory_equal(&now, version, sizeof now);
}

#endif
