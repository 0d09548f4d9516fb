/* SPDX-License-Identifier: ISC */
#ifndef TEST_FUZZ_H
#define TEST_FUZZ_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What the fuzz targets share.
 *
 * Each target is one function that takes arbitrary bytes; libFuzzer, AFL++
 * or replay.c calls it.  A claim that does not hold aborts the process.
 */
int LLVMFuzzerTestOneInput(const unsigned char *, size_t);

#define CHECK(claim) ((claim) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #claim))

_Noreturn void fuzz_fail(const char *file, int line, const char *claim);

/* What is left of an input. */
struct fuzz_input {
	const unsigned char *at;
	size_t left;
};

/* The next byte, 0 when there is none. */
unsigned char fuzz_byte(struct fuzz_input *);

/* At most n bytes. */
const char *fuzz_bytes(struct fuzz_input *, size_t *n);

/* The bytes up to a separator, which is skipped, or to the end. */
const char *fuzz_part(struct fuzz_input *, unsigned char separator, size_t *n);

/* n bytes as a C string in memory of just that size; free() it. */
char *fuzz_string(const char *, size_t n);

/*
 * How an input is cut into pieces: the lengths are those that the first byte
 * counts (up to 7), again and again; none are one piece.
 */
struct fuzz_cuts {
	size_t n, next;
	unsigned char length[7];
};

struct fuzz_cuts fuzz_cuts_read(struct fuzz_input *);

/* The length of the next piece of so many bytes; not 0 but for 0. */
size_t fuzz_cuts_next(struct fuzz_cuts *, size_t left);

/*
 * Goes to an empty directory that is removed at the exit; in /dev/shm, or in
 * $FUZZ_DIRECTORY for whoever cleans up after a target that was killed.
 */
void fuzz_enter_directory(void);

/* Replaces the bytes of a file; returns an open descriptor. */
int fuzz_write_file(const char *name, const void *, size_t);

#endif
