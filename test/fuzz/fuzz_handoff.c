/* SPDX-License-Identifier: ISC */

/*
 * Lines as the argument vector of qmail-remote-io: a valid one is formatted and
 * parsed again.
 */

#include <stdlib.h>
#include <string.h>

#include "delivery/handoff.h"

#include "fuzz.h"

#define ARGUMENTS 40

static void
check_text(const char *a, const char *b)
{
	CHECK((a == NULL) == (b == NULL));
	CHECK(!a || strcmp(a, b) == 0);
}

static void
check_same(const struct handoff *a, const struct handoff *b)
{
	CHECK(a->fd == b->fd && a->timeout_s == b->timeout_s);
	CHECK(a->status == b->status && a->helper == b->helper);
	check_text(a->address, b->address);
	check_text(a->host, b->host);
	check_text(a->extensions, b->extensions);
	check_text(a->tls, b->tls);
	CHECK(a->cache == b->cache && a->used == b->used);
	CHECK(a->progress == b->progress);
	for (size_t i = 0; a->envelope[i] || b->envelope[i]; i++)
		check_text(a->envelope[i], b->envelope[i]);
}

static void
check_parsed(const struct handoff *h)
{
	char **argv = handoff_format(h);
	struct handoff back;
	int n = 0;

	CHECK(h->fd >= 3 && h->address && h->timeout_s <= HANDOFF_TIMEOUT_MAX);
	CHECK(h->helper == 0 || h->status >= 3);
	CHECK(h->cache == 0 || h->cache >= 3);
	CHECK(h->progress == 0 || h->progress >= 3);
	CHECK(h->envelope[0] && h->envelope[1]);
	while (argv[n])
		n++;
	CHECK(handoff_parse(&back, n, argv));
	check_same(h, &back);
	for (int i = 1; strcmp(argv[i], "--") != 0; i++)
		free(argv[i]);
	free(argv);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct fuzz_input in = { data, size };
	char *argv[ARGUMENTS + 1] = { fuzz_string("io", 2) };
	struct handoff h;
	int argc = 1;

	while (in.left > 0 && argc < ARGUMENTS) {
		size_t n;
		const char *part = fuzz_part(&in, '\n', &n);

		argv[argc++] = fuzz_string(part, n);
	}
	if (handoff_parse(&h, argc, argv))
		check_parsed(&h);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return 0;
}
