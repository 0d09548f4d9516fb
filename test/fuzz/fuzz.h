/* SPDX-License-Identifier: ISC */
#ifndef TEST_FUZZ_H
#define TEST_FUZZ_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Shared by the fuzz targets.  Each target is one function that takes arbitrary
 * bytes; libFuzzer, AFL++ or replay.c calls it.  A failed CHECK aborts the
 * process.
 */
int LLVMFuzzerTestOneInput(const unsigned char *, size_t);

#define CHECK(claim) ((claim) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #claim))

_Noreturn void fuzz_fail(const char *file, int line, const char *claim);

/* The unread part of an input. */
struct fuzz_input {
	const unsigned char *at;
	size_t left;
};

/* The next byte, 0 at the end. */
unsigned char fuzz_byte(struct fuzz_input *);

/* At most n bytes. */
const char *fuzz_bytes(struct fuzz_input *, size_t *n);

/* The bytes up to a separator, which is skipped, or to the end. */
const char *fuzz_part(struct fuzz_input *, unsigned char separator, size_t *n);

/* n bytes as a C string in an exact allocation; free() it. */
char *fuzz_string(const char *, size_t n);

/*
 * How an input is cut into pieces.  The first byte says how many lengths follow
 * (up to 7); they are used again and again.  Without lengths there is one
 * piece.
 */
struct fuzz_cuts {
	size_t n, next;
	unsigned char length[7];
};

struct fuzz_cuts fuzz_cuts_read(struct fuzz_input *);

/* The length of the next piece of n bytes; 0 only if n is 0. */
size_t fuzz_cuts_next(struct fuzz_cuts *, size_t left);

/*
 * Changes to an empty directory that is removed at exit; in /dev/shm, or in
 * $FUZZ_DIRECTORY, which is removed even after a target was killed.
 */
void fuzz_enter_directory(void);

/* The lowest descriptor that is not open. */
int fuzz_lowest_free(void);

/* Replaces the contents of a file; returns an open descriptor. */
int fuzz_write_file(const char *name, const void *, size_t);

#endif
