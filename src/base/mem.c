/* SPDX-License-Identifier: ISC */
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void (*exhausted)(void);

void
mem_exhausted(void)
{
	if (exhausted)
		exhausted();
	abort();
}

void
mem_on_exhaustion(void (*hook)(void))
{
	exhausted = hook;
}

void *
mem_alloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);

	if (!p)
		mem_exhausted();
	return p;
}

void *
mem_resize(void *p, size_t count, size_t size)
{
	if (size && count > SIZE_MAX / size)
		mem_exhausted();
	p = realloc(p, count && size ? count * size : 1);
	if (!p)
		mem_exhausted();
	return p;
}

char *
mem_copy(const char *text)
{
	size_t n = strlen(text) + 1;

	return memcpy(mem_alloc(n, 1), text, n);
}
