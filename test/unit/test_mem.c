/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

static void
gives_zeroed_memory(void **state)
{
	static const struct {
		size_t count, size;
	} cases[] = { { 1, 1 }, { 100, 16 }, { 0, 8 }, { 8, 0 }, { 0, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = cases[i].count * cases[i].size;
		unsigned char *p = mem_alloc(cases[i].count, cases[i].size);

		if (!p)
			fail_msg("%zu: NULL", n);
		for (size_t j = 0; j < n; j++)
			if (p[j] != 0)
				fail_msg("%zu: byte %zu", n, j);
		p = mem_resize(p, n, 2);
		if (!p)
			fail_msg("%zu: resized to NULL", n);
		free(p);
	}
}

static void
keeps_what_it_resizes(void **state)
{
	char *p = mem_resize(NULL, 4, 1);

	(void)state;
	p[0] = 'a';
	p[3] = 'd';
	p = mem_resize(p, 1000, 1000);
	assert_int_equal(p[0], 'a');
	assert_int_equal(p[3], 'd');
	p = mem_resize(p, 0, 1000);
	assert_non_null(p);
	free(p);
}

/* Otherwise the sanitizer ends the process when calloc() returns NULL. */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static void
speak_last_words(void)
{
	_exit(42);
}

/*
 * A failed allocation never returns.  In a child, because the hook must not
 * return.
 */
static int
ask_for(size_t count, size_t size, int is_resize, void (*hook)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		volatile char *p;

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		mem_on_exhaustion(hook);
		p = is_resize ? mem_resize(NULL, count, size)
			      : mem_alloc(count, size);
		_exit(p ? 1 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void
calls_the_hook(void **state)
{
	static const struct {
		const char *name;
		size_t count, size;
		int is_resize;
	} cases[] = {
		{ "a product that wraps", SIZE_MAX / 2, 3, 0 },
		{ "a product that wraps to little", SIZE_MAX / 2 + 1, 2, 0 },
		{ "resize: a product that wraps", SIZE_MAX / 2, 3, 1 },
		{ "resize: wraps to little", SIZE_MAX / 2 + 1, 2, 1 },
		{ "resize: wraps by one", SIZE_MAX / 4 + 1, 4, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int with = ask_for(cases[i].count, cases[i].size,
		    cases[i].is_resize, speak_last_words);
		int without = ask_for(cases[i].count, cases[i].size,
		    cases[i].is_resize, NULL);

		if (with != 42)
			fail_msg("%s: %d", cases[i].name, with);
		if (without != -SIGABRT)
			fail_msg("%s, no hook: %d", cases[i].name, without);
	}
}

static void
copies_text(void **state)
{
	const char *const texts[] = { "", "a", "192.0.2.1" };

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		char *copy = mem_copy(texts[i]);

		assert_ptr_not_equal(copy, texts[i]);
		assert_string_equal(copy, texts[i]);
		free(copy);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_zeroed_memory),
		cmocka_unit_test(keeps_what_it_resizes),
		cmocka_unit_test(calls_the_hook),
		cmocka_unit_test(copies_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
