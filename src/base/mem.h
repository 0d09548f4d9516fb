/* SPDX-License-Identifier: ISC */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/*
 * Allocation that does not fail.
 *
 * When memory runs out, the hook is called.  It reports a temporary failure and
 * must not return.  Without a hook the process aborts, which qmail-rspawn takes
 * for a temporary failure as well.
 */
void mem_on_exhaustion(void (*hook)(void));

/* Calls the hook, for a library's own allocator that has run out of memory. */
_Noreturn void mem_exhausted(void);

/*
 * Allocates count * size zeroed bytes, which the caller releases with free().
 */
void *mem_alloc(size_t count, size_t size);

/*
 * Resizes p, which may be NULL, to count * size bytes.  New bytes are not
 * zeroed.
 */
void *mem_resize(void *p, size_t count, size_t size);

/* A copy of the text, which the caller releases with free(). */
char *mem_copy(const char *text);

#endif
