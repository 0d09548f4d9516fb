/* SPDX-License-Identifier: ISC */
#include "dns/schedule.h"

#include <string.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "base/str.h"

#define FILE_MAX ((size_t)1 << 20)
#define TIMEOUT_MAX 30
#define ATTEMPTS_MAX 5

static const char blanks[] = " \t\r";

/* The number behind a name, if the word is that and there is one. */
static void
take(const char *word, size_t n, const char *name, unsigned long most,
    unsigned long *value)
{
	size_t len = strlen(name);
	unsigned long number = 0;

	if (n <= len || memcmp(word, name, len) != 0)
		return;
	if (str_number(word + len, n - len, most, &number) > 0 && number > 0)
		*value = number;
}

static void
take_options(struct dns_schedule *s, const char *line)
{
	size_t n;

	for (; *line; line += n) {
		line += strspn(line, blanks);
		n = strcspn(line, blanks);
		take(line, n, "timeout:", TIMEOUT_MAX, &s->timeout_s);
		take(line, n, "attempts:", ATTEMPTS_MAX, &s->attempts);
	}
}

/* Ends the line, and gives the next one. */
static char *
cut_line(char *line)
{
	char *end = line + strcspn(line, "\n");

	if (*end == '\0')
		return NULL;
	*end = '\0';
	return end + 1;
}

struct dns_schedule
dns_schedule_read(const char *path)
{
	static const char keyword[] = "options";
	const size_t len = strlen(keyword);
	struct dns_schedule s = { .timeout_s = 5, .attempts = 2 };
	struct buf text = { 0 };
	char *line, *next;

	if (fdio_read_file(path, FILE_MAX, &text) == 0) {
		buf_puts(&text, "");
		for (line = text.data; line; line = next) {
			next = cut_line(line);
			if (strncmp(line, keyword, len) == 0 &&
			    strchr(blanks, line[len]))
				take_options(&s, line + len);
		}
	}
	buf_finish(&text);
	return s;
}
