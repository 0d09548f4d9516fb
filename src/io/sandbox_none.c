/* SPDX-License-Identifier: ISC */
#include "io/sandbox.h"

/*
 * No sandbox: for systems other than Linux, and for sanitizers and valgrind,
 * which make system calls, map memory and write files at any time.
 */

void
sandbox_harden(void)
{
}

void
sandbox_enter_search(const char *directory, const char *const *file, size_t n)
{
	(void)directory;
	(void)file;
	(void)n;
}

void
sandbox_enter_fetch(const char *directory, const char *const *file, size_t n)
{
	(void)directory;
	(void)file;
	(void)n;
}

void
sandbox_enter_bytes(size_t memory, int socket)
{
	(void)memory;
	(void)socket;
}

void
sandbox_enter_holding(size_t memory, const char *directory)
{
	(void)memory;
	(void)directory;
}

void
sandbox_enter_tls(size_t memory)
{
	(void)memory;
}

void
sandbox_enter_tls_reading(size_t memory, const char *directory)
{
	(void)memory;
	(void)directory;
}

void
sandbox_end_reading(void)
{
}
