/* SPDX-License-Identifier: ISC */
#include "dns/resolvconf.h"

#include <string.h>

#include "base/buf.h"
#include "io/fdio.h"
#include "base/str.h"

#define FILE_MAX ((size_t)1 << 20)
#define TIMEOUT_MAX 30
#define TIMEOUT_DEFAULT 5
#define ATTEMPTS_MAX 5
#define ATTEMPTS_DEFAULT 2
#define PORT 53

static const char blanks[] = " \t\r";

/* A word, borrowed from its line. */
struct word {
	const char *text;
	size_t len;
};

static bool
is_word(struct word word, const char *text)
{
	return word.len == strlen(text) &&
	       memcmp(word.text, text, word.len) == 0;
}

/* Removes the first word from the line; its length is 0 at the end. */
static struct word
next_word(const char **line)
{
	struct word word;

	word.text = *line + strspn(*line, blanks);
	word.len = strcspn(word.text, blanks);
	*line = word.text + word.len;
	return word;
}

/* If the word is "name:number", stores the number in *value. */
static void
take_number(struct word word, const char *name, unsigned long most,
    unsigned long *value)
{
	size_t n = strlen(name);
	unsigned long number = 0;

	if (word.len <= n || memcmp(word.text, name, n) != 0)
		return;
	if (str_number(word.text + n, word.len - n, most, &number) > 0 &&
	    number > 0)
		*value = number;
}

static void
read_options(struct dns_config *c, const char *line)
{
	struct word word;

	while ((word = next_word(&line)).len > 0) {
		take_number(word, "timeout:", TIMEOUT_MAX, &c->timeout_s);
		take_number(word, "attempts:", ATTEMPTS_MAX, &c->attempts);
		if (is_word(word, "rotate"))
			c->is_rotated = true;
		else if (is_word(word, "use-vc"))
			c->uses_tcp = true;
		else if (is_word(word, "trust-ad"))
			c->is_trusted = true;
	}
}

/* Splits "[address]:port" or "[address]"; false if it is neither. */
static bool
split_port(struct word *word, uint16_t *port)
{
	const char *end = memchr(word->text, ']', word->len);
	unsigned long number = 0;
	size_t left;

	if (end == NULL)
		return false;
	left = word->len - (size_t)(end + 1 - word->text);
	if (left > 0) {
		if (end[1] != ':' || left == 1 ||
		    str_number(end + 2, left - 1, UINT16_MAX + 1ul, &number) !=
			left - 1 ||
		    number == 0 || number > UINT16_MAX)
			return false;
		*port = (uint16_t)number;
	}
	word->text++;
	word->len = (size_t)(end - word->text);
	return true;
}

static bool
read_server(struct dns_server *server, struct word word)
{
	const char *zone;
	size_t n;

	*server = (struct dns_server){ .port = PORT };
	if (word.len > 0 && word.text[0] == '[' &&
	    !split_port(&word, &server->port))
		return false;
	zone = memchr(word.text, '%', word.len);
	if (zone != NULL) {
		n = word.len - (size_t)(zone + 1 - word.text);
		if (n == 0 || n >= sizeof server->interface)
			return false;
		memcpy(server->interface, zone + 1, n);
		word.len = (size_t)(zone - word.text);
	}
	return ip_parse(word.text, word.len, &server->ip);
}

static void
read_line(struct dns_config *c, const char *line)
{
	struct word keyword = next_word(&line);

	/* The C library does not accept indented lines either. */
	if (is_word(keyword, "options"))
		read_options(c, line);
	else if (is_word(keyword, "nameserver") &&
		 c->nserver < DNS_SERVERS_MAX &&
		 read_server(&c->server[c->nserver], next_word(&line)))
		c->nserver++;
}

/* Ends the line with a NUL; returns the next line, or NULL after the last. */
static char *
cut_line(char *line)
{
	char *end = line + strcspn(line, "\n");

	if (*end == '\0')
		return NULL;
	*end = '\0';
	return end + 1;
}

static void
read_lines(struct dns_config *c, char *line)
{
	char *next;

	for (; line != NULL; line = next) {
		next = cut_line(line);
		if (strchr(blanks, line[0]) == NULL)
			read_line(c, line);
	}
}

static bool
is_loopback(const struct ip *ip)
{
	static const struct ip six = { { [15] = 1 } };

	return ip_is_v4(ip) ? ip->byte[12] == 127 : ip_equal(ip, &six);
}

static void
set_defaults(struct dns_config *c)
{
	static const unsigned char loopback[] = { 127, 0, 0, 1 };
	size_t nlocal = 0;

	if (c->nserver == 0)
		c->server[c->nserver++] =
		    (struct dns_server){ .ip = ip_from_v4(loopback),
			    .port = PORT };
	if (c->timeout_s != 0 && c->attempts == 0)
		c->attempts = ATTEMPTS_DEFAULT;
	if (c->attempts != 0 && c->timeout_s == 0)
		c->timeout_s = TIMEOUT_DEFAULT;
	for (size_t i = 0; i < c->nserver; i++)
		nlocal += is_loopback(&c->server[i].ip);
	if (nlocal == c->nserver)
		c->is_trusted = true;
}

void
dns_config_read(struct dns_config *c, const char *path)
{
	struct buf text = { 0 };

	*c = (struct dns_config){ 0 };
	if (fdio_read_file(path, FILE_MAX, &text) == 0) {
		buf_puts(&text, "");
		read_lines(c, text.data);
	}
	buf_finish(&text);
	set_defaults(c);
}
