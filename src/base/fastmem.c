/* SPDX-License-Identifier: ISC */
/*
 * memchr(), memcpy() and memmove() for x86-64, in place of those of musl, with
 * which a large message takes twice the CPU time.  A message is lines of some
 * seventy bytes: musl looks for their ends by 8 bytes at a time, and copies
 * them with an instruction that is slow to start.
 *
 * Every x86-64 processor has SSE2.  Other processors, and glibc, do without
 * this file.
 */
#include <emmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PIECE sizeof(__m128i)
#define FOUR (4 * PIECE)
#define PAGE 4096 /* the smallest there is */

static __m128i
load(const char *at)
{
	return _mm_loadu_si128((const __m128i *)at);
}

/* Where in the piece the byte is, as bits. */
static unsigned
find_in_piece(const char *piece, __m128i wanted)
{
	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(load(piece), wanted));
}

/* In the first of four pieces that has the byte; one of them has. */
static const char *
find_in_four(const char *at, __m128i wanted)
{
	unsigned found = find_in_piece(at, wanted);

	while (found == 0) {
		at += PIECE;
		found = find_in_piece(at, wanted);
	}
	return at + __builtin_ctz(found);
}

static bool
is_in_four(const char *at, __m128i wanted)
{
	__m128i a = _mm_cmpeq_epi8(load(at), wanted);
	__m128i b = _mm_cmpeq_epi8(load(at + PIECE), wanted);
	__m128i c = _mm_cmpeq_epi8(load(at + 2 * PIECE), wanted);
	__m128i d = _mm_cmpeq_epi8(load(at + 3 * PIECE), wanted);

	a = _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d));
	return _mm_movemask_epi8(a) != 0;
}

/*
 * The object may end after the byte, whatever n is; printf() of musl looks for
 * the end of a string so.  So what is read at once is within one page.
 */
static bool
is_within_page(const char *at, size_t n)
{
	return (uintptr_t)at % PAGE <= PAGE - n;
}

/* How many of the n bytes can be looked at at once. */
static size_t
reach(const char *at, size_t n)
{
	if (n >= FOUR && is_within_page(at, FOUR))
		return FOUR;
	return n >= PIECE && is_within_page(at, PIECE) ? PIECE : 1;
}

static const char *
find(const char *at, size_t n, int c, __m128i wanted)
{
	unsigned found;

	if (n == 1)
		return *at == (char)c ? at : NULL;
	if (n == FOUR)
		return is_in_four(at, wanted) ? find_in_four(at, wanted) : NULL;
	found = find_in_piece(at, wanted);
	return found != 0 ? at + __builtin_ctz(found) : NULL;
}

/* Fewer than a piece are left: they are the end of one that begins earlier. */
static bool
has_last_piece(const char *start, const char *at, size_t n)
{
	return n < PIECE && (size_t)(at - start) >= PIECE &&
	       is_within_page(at + n - PIECE, PIECE);
}

void *
memchr(const void *p, int c, size_t n)
{
	const __m128i wanted = _mm_set1_epi8((char)c);
	const char *at = p;
	const char *found = NULL;

	while (n > 0 && found == NULL) {
		size_t step;

		if (has_last_piece(p, at, n)) {
			at -= PIECE - n;
			n = PIECE;
		}
		step = reach(at, n);
		found = find(at, step, c, wanted);
		at += step;
		n -= step;
	}
	return (void *)(uintptr_t)found;
}

/* Less than a piece: all of it is read before the first byte is written. */
static void
copy_few(char *to, const char *from, size_t n)
{
	uint64_t first, last;
	uint32_t first4, last4;

	if (n >= sizeof first) {
		__builtin_memcpy(&first, from, sizeof first);
		__builtin_memcpy(&last, from + n - sizeof last, sizeof last);
		__builtin_memcpy(to, &first, sizeof first);
		__builtin_memcpy(to + n - sizeof last, &last, sizeof last);
	} else if (n >= sizeof first4) {
		__builtin_memcpy(&first4, from, sizeof first4);
		__builtin_memcpy(&last4, from + n - sizeof last4, sizeof last4);
		__builtin_memcpy(to, &first4, sizeof first4);
		__builtin_memcpy(to + n - sizeof last4, &last4, sizeof last4);
	} else if (n > 0) {
		char a = from[0], b = from[n / 2], c = from[n - 1];

		to[0] = a;
		to[n / 2] = b;
		to[n - 1] = c;
	}
}

static void
store(char *at, __m128i bytes)
{
	_mm_storeu_si128((__m128i *)at, bytes);
}

/* From the start to the end; to may be anywhere before from. */
static void
copy_up(char *to, const char *from, size_t n)
{
	__m128i last = load(from + n - PIECE);
	size_t i = 0;

	for (; i + FOUR < n; i += FOUR) {
		__m128i a = load(from + i), b = load(from + i + PIECE);
		__m128i c = load(from + i + 2 * PIECE);
		__m128i d = load(from + i + 3 * PIECE);

		store(to + i, a);
		store(to + i + PIECE, b);
		store(to + i + 2 * PIECE, c);
		store(to + i + 3 * PIECE, d);
	}
	for (; i + PIECE < n; i += PIECE)
		store(to + i, load(from + i));
	store(to + n - PIECE, last);
}

/* From the end to the start; to may be anywhere after from. */
static void
copy_down(char *to, const char *from, size_t n)
{
	__m128i first = load(from);

	for (size_t i = n; i > PIECE; i -= PIECE)
		store(to + i - PIECE, load(from + i - PIECE));
	store(to, first);
}

void *
memmove(void *to, const void *from, size_t n)
{
	if (n < PIECE)
		copy_few(to, from, n);
	else if ((uintptr_t)to - (uintptr_t)from >= n)
		copy_up(to, from, n);
	else
		copy_down(to, from, n);
	return to;
}

void *
memcpy(void *restrict to, const void *restrict from, size_t n)
{
	if (n < PIECE)
		copy_few(to, from, n);
	else
		copy_up(to, from, n);
	return to;
}
