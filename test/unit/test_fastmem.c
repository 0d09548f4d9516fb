/* SPDX-License-Identifier: ISC */
#define _DEFAULT_SOURCE /* MAP_ANON */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/mman.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#ifdef __x86_64__

/* Beside those of the C library, which are the oracle. */
#define memchr fast_memchr
#define memcpy fast_memcpy
#define memmove fast_memmove
void *fast_memchr(const void *, int, size_t);
void *fast_memcpy(void *restrict, const void *restrict, size_t);
void *fast_memmove(void *, const void *, size_t);
#include "base/fastmem.c"
#undef memchr
#undef memcpy
#undef memmove

#define LENGTHS 100 /* more than six pieces */
#define ALIGNMENTS 16
#define AROUND 32

/* The end of a page that is followed by one that cannot be used. */
static unsigned char *
edge(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *p =
	    mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + page, page, PROT_READ | PROT_WRITE), 0);
	return p + 2 * page;
}

/* Each place, of one byte or of two, and none; also before and after it. */
static void
finds_the_first(void **state)
{
	unsigned char *end = edge();

	(void)state;
	for (size_t n = 0; n <= LENGTHS; n++)
		for (size_t gap = 0; gap < ALIGNMENTS; gap++) {
			unsigned char *p = end - gap - n;

			memset(p - 1, 'x', 1 + n + gap);
			p[-1] = 0xff;
			if (gap > 0)
				p[n] = 0xff;
			assert_null(fast_memchr(p, 0xff, n));
			for (size_t i = n; i-- > 0;) {
				p[i] = 0xff;
				assert_ptr_equal(fast_memchr(p, 0xff, n),
				    p + i);
				/* Only the low byte counts. */
				assert_ptr_equal(fast_memchr(p, -1, n), p + i);
				if (i % 3 == 0)
					p[i] = 'x';
			}
		}
	assert_null(fast_memchr(end, 'x', 0));
}

/* The object may end after the byte: C11 section 7.24.5.1. */
static void
reads_nothing_behind_the_page(void **state)
{
	static const size_t more[] = { 1, 15, 16, 63, 64, 4096, INT_MAX };
	unsigned char *end = edge();

	(void)state;
	for (size_t n = 1; n <= LENGTHS; n++)
		for (size_t i = 0; i < n; i++)
			for (size_t k = 0; k < sizeof more / sizeof *more;
			     k++) {
				memset(end - n, 'x', n);
				end[-1 - (long)i] = 'y';
				assert_ptr_equal(fast_memchr(end - n, 'y',
						     n + more[k]),
				    end - 1 - i);
			}
}

static void
fill(unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(i * 7 + 1);
}

/* Every length and alignment; nothing around it is read or written. */
static void
copies(void **state)
{
	unsigned char *from = edge(), *to = edge();
	unsigned char want[LENGTHS + ALIGNMENTS + AROUND];

	(void)state;
	for (size_t n = 0; n <= LENGTHS; n++)
		for (size_t a = 0; a < ALIGNMENTS; a++)
			for (size_t b = 0; b < ALIGNMENTS; b++) {
				unsigned char *source = from - a - n;
				unsigned char *target = to - b - n;
				size_t around = n + b + AROUND;

				fill(source, n);
				memset(to - around, 0xee, around);
				memset(want, 0xee, around);
				memcpy(want + AROUND, source, n);
				assert_ptr_equal(fast_memcpy(target, source, n),
				    target);
				assert_memory_equal(to - around, want, around);
			}
}

/* Every overlap, in both directions. */
static void
moves(void **state)
{
	unsigned char *end = edge();
	unsigned char want[3 * (LENGTHS + 1)];

	(void)state;
	for (size_t n = 0; n <= LENGTHS; n++)
		for (size_t shift = 0; shift <= 2 * n + 1; shift++) {
			size_t size = 3 * n + 1;
			unsigned char *all = end - size;

			fill(all, size);
			memcpy(want, all, size);
			memmove(want + shift, want + n, n);
			assert_ptr_equal(fast_memmove(all + shift, all + n, n),
			    all + shift);
			assert_memory_equal(all, want, size);
		}
}

#else

/* Not on this machine.  For meson, a test that cmocka skips has failed. */
static void
finds_the_first(void **state)
{
	(void)state;
}

#define reads_nothing_behind_the_page finds_the_first
#define copies finds_the_first
#define moves finds_the_first

#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_first),
		cmocka_unit_test(reads_nothing_behind_the_page),
		cmocka_unit_test(copies),
		cmocka_unit_test(moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
