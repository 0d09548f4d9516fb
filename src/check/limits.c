/* SPDX-License-Identifier: ISC */
#include "check/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "io/fdio.h"
#include "qmail/concurrencyhosts.h"
#include "qmail/control.h"
#include "qmail/timeoutidle.h"

#define TEXT_MAX ((size_t)1 << 20)

/* In qmail-send. */
#define CONCURRENCYREMOTE 20
#define CONCURRENCYREMOTE_MAX 65535

static const char idle_path[] = "control/timeoutidle";
static const char hosts_path[] = "control/concurrencyhosts";

struct warning {
	limits_warn *function;
	void *data;
};

static void
warn(const struct warning *w, struct buf *text)
{
	w->function(w->data, buf_text(text));
	buf_finish(text);
}

/* Whether the file is there and can be read; warns if only that fails. */
static bool
read_text(const char *path, const char *meaning, struct buf *text,
    const struct warning *w, bool *is_there)
{
	struct buf reason = { 0 };

	*is_there = fdio_read_file(path, TEXT_MAX, text) == 0;
	if (*is_there || errno == ENOENT)
		return *is_there;
	*is_there = true;
	buf_printf(&reason, "%s: %s", strerror(errno), meaning);
	warn(w, &reason);
	buf_finish(text);
	return false;
}

/*
 * control/timeoutidle
 */

/* The number at the start of a line of the text, from 0; 0 without one. */
static unsigned long
number_in(const struct buf *text, size_t line)
{
	const char *at = buf_text(text), *end = at + text->len;
	unsigned long number = 0;

	at += control_bom_length(at, text->len);
	for (; at != NULL && line > 0; line--) {
		at = memchr(at, '\n', (size_t)(end - at));
		at = at != NULL ? at + 1 : NULL;
	}
	if (at != NULL)
		(void)str_number(at, (size_t)(end - at), 1000000000, &number);
	return number;
}

static void
check_range(const struct buf *text, size_t line, unsigned long used,
    const struct warning *w)
{
	struct buf reason = { 0 };

	if (number_in(text, line) <= used)
		return;
	buf_printf(&reason, "line %zu: the greatest number is %lu", line + 1,
	    used);
	warn(w, &reason);
}

static void
check_idle_text(const struct buf *text, struct timeoutidle *idle,
    const struct warning *w)
{
	unsigned long line = timeoutidle_parse(idle, text);
	struct buf reason = { 0 };

	if (line > 0) {
		buf_printf(&reason,
		    "line %lu: not a number, so no connection is kept", line);
		warn(w, &reason);
		return;
	}
	check_range(text, 0, idle->seconds, w);
	check_range(text, 1, idle->total, w);
	check_range(text, 2, idle->per_key, w);
	if (idle->seconds > 0 && (idle->total == 0 || idle->per_key == 0)) {
		buf_puts(&reason, "0 connections: no connection is kept");
		warn(w, &reason);
	}
}

bool
limits_check_idle(struct buf *what, limits_warn *function, void *data)
{
	const struct warning w = { function, data };
	struct timeoutidle idle = { .seconds = 0 };
	struct buf text = { 0 };
	bool is_there;

	if (read_text(idle_path, "no connection is kept", &text, &w, &is_there))
		check_idle_text(&text, &idle, &w);
	buf_printf(what, "%lu s", idle.seconds);
	if (idle.seconds > 0)
		buf_printf(what, ", connections: %lu in all, %lu with one key",
		    idle.total, idle.per_key);
	buf_finish(&text);
	return is_there;
}

/*
 * control/concurrencyhosts
 */

static void
check_line(void *data, enum concurrencyhosts_kind kind, const char *line,
    size_t n, unsigned long number)
{
	struct buf reason = { 0 };

	if (kind != CONCURRENCYHOSTS_NONSENSE)
		return;
	buf_printf(&reason, "line %lu limits nothing: ", number);
	buf_append(&reason, line, n);
	warn(data, &reason);
}

/* By key, and of equal keys in their order. */
static int
compare_lines(const void *a, const void *b)
{
	const struct concurrencyhosts_line *const *x = a, *const *y = b;
	int order = strcmp((*x)->key, (*y)->key);

	if (order != 0)
		return order;
	return *x < *y ? -1 : 1;
}

/* The sum of all limits; of several lines with one key the last counts. */
static uint64_t
sum_of(const struct concurrencyhosts *c)
{
	const struct concurrencyhosts_line **line =
	    mem_alloc(c->nline, sizeof *line);
	uint64_t sum = 0;

	for (size_t i = 0; i < c->nline; i++)
		line[i] = &c->line[i];
	if (c->nline > 0)
		qsort(line, c->nline, sizeof *line, compare_lines);
	for (size_t i = 0; i < c->nline; i++)
		if (i + 1 == c->nline ||
		    strcmp(line[i]->key, line[i + 1]->key) != 0)
			sum += line[i]->n;
	free(line);
	return sum;
}

/* As many deliveries wait as there are places, if any do. */
static void
check_remote(const struct concurrencyhosts *c, const struct warning *w)
{
	static const struct control_range range = { 0, CONCURRENCYREMOTE_MAX,
		CONCURRENCYREMOTE };
	uint64_t sum = sum_of(c) * (c->wait_s > 0 ? 2 : 1);
	unsigned long remote = CONCURRENCYREMOTE;
	struct buf reason = { 0 };

	(void)control_number("control/concurrencyremote", range, &remote);
	if (sum == 0 || sum < remote)
		return;
	buf_printf(&reason,
	    "%" PRIu64 " deliveries to these hosts can go on or wait at a "
	    "time, and control/concurrencyremote allows %lu in all: other "
	    "mail could wait for them",
	    sum, remote);
	warn(w, &reason);
}

bool
limits_check_hosts(struct buf *what, limits_warn *function, void *data)
{
	struct warning w = { function, data };
	struct concurrencyhosts c = { .nline = 0 };
	struct buf text = { 0 };
	struct dsn why;
	bool is_there;

	if (read_text(hosts_path, "mail is deferred", &text, &w, &is_there) &&
	    concurrencyhosts_read(&c, hosts_path, &why) == 0) {
		concurrencyhosts_walk(&text, check_line, &w);
		check_remote(&c, &w);
		buf_printf(what, "limits: %zu, wait: %lu s", c.nline, c.wait_s);
	}
	concurrencyhosts_finish(&c);
	buf_finish(&text);
	return is_there;
}
