/* SPDX-License-Identifier: ISC */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/*
 * Allocation that does not fail.
 *
 * When memory is exhausted the hook is called.  It reports a temporary failure
 * and must not return; without a hook the process aborts, which qmail-rspawn
 * takes for a temporary failure as well.
 */
void mem_on_exhaustion(void (*hook)(void));

/* For allocators of others, as memory runs out: the hook's end. */
_Noreturn void mem_exhausted(void);

/* count * size zeroed bytes, owned by the caller, released with free(). */
void *mem_alloc(size_t count, size_t size);

/* Resizes p (or NULL) to count * size bytes; new bytes are not zeroed. */
void *mem_resize(void *p, size_t count, size_t size);

#endif
