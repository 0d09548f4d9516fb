/* SPDX-License-Identifier: ISC */
#include "check/listing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/idn.h"
#include "base/str.h"
#include "base/utf8.h"
#include "check/entry.h"
#include "check/limits.h"
#include "check/surroundings.h"
#include "dns/resolvconf.h"
#include "io/dial.h"
#include "qmail/authsenders.h"
#include "qmail/smtpauth.h"
#include "qmail/table.h"

#define TEXT_MAX ((size_t)1 << 20)

struct work {
	const struct listing *listing;
	struct control control;
	bool is_readable; /* the control files; else the values are unknown */
	bool is_fine;
};

static void
show(struct work *w, const char *name, struct entry *e)
{
	if (!entry_show(e, w->listing->view, name))
		w->is_fine = false;
}

/*
 * Control files of one line.
 */

/* Whether the file is there; says so if it cannot be read. */
static bool
read_first_line(const char *path, struct entry *e, struct buf *line)
{
	switch (control_line(path, line)) {
	case CONTROL_FOUND:
		return true;
	case CONTROL_UNREADABLE:
		entry_warn(e, strerror(errno));
		return false;
	default:
		return false;
	}
}

static void
check_number(struct entry *e, const struct buf *line, unsigned long used)
{
	unsigned long n = 0;
	size_t digits = str_number(buf_text(line), line->len, 1000000000, &n);

	if (digits == 0)
		entry_warn(e, "not a number, the default is used");
	else if (digits < line->len)
		entry_warn(e, "what follows the number is ignored");
	else if (n != used)
		entry_warn(e, "out of range, the nearest limit is used");
}

static void
show_number(struct work *w, const char *path, unsigned long value,
    const char *unit, const char *warning)
{
	struct buf line = { 0 };
	struct entry e = { .nwarning = 0 };

	if (read_first_line(path, &e, &line))
		check_number(&e, &line, value);
	else
		buf_puts(&e.source, "default");
	if (w->is_readable)
		buf_printf(&e.value, "%lu%s", value, unit);
	if (warning)
		entry_warn(&e, warning);
	show(w, path, &e);
	buf_finish(&line);
}

static void
show_me(struct work *w)
{
	struct buf line = { 0 };
	struct entry e = { .nwarning = 0 };

	if (!read_first_line("control/me", &e, &line))
		buf_puts(&e.source, "none");
	buf_puts(&e.value, buf_text(&line));
	show(w, "control/me", &e);
	buf_finish(&line);
}

static void
show_name(struct work *w)
{
	struct buf line = { 0 };
	struct entry e = { .nwarning = 0 };

	if (!read_first_line("control/helohost", &e, &line))
		buf_puts(&e.source, "default: control/me");
	if (w->is_readable)
		buf_puts(&e.value, buf_text(&w->control.helohost));
	show(w, "control/helohost", &e);
	buf_finish(&line);
}

/* A path; empty as if the file were not there. */
static void
show_path(struct work *w, const char *path, const struct buf *value,
    const char *without, const char *warning)
{
	struct entry e = { .nwarning = 0 };

	if (value->len > 0) {
		buf_puts(&e.value, buf_text(value));
		if (access(buf_text(value), R_OK) == -1)
			entry_warn(&e, strerror(errno));
	} else
		buf_puts(&e.source, without);
	if (warning)
		entry_warn(&e, warning);
	show(w, path, &e);
}

static const char *
key_warning(const struct control *c)
{
	if (c->clientkey.len > 0 && c->clientcert.len == 0)
		return "ignored, because there is no control/clientcert";
	return NULL;
}

static const char *
anchors_warning(const struct control *c)
{
	if (c->tlsstrictness > 0 && c->trustanchors.len == 0)
		return "tlsstrictness has no effect without trust anchors";
	if (c->clientcert.len > 0 && c->trustanchors.len == 0)
		return "clientcert has no effect without trust anchors";
	return NULL;
}

/* What a delivery would report. */
static void
show_control_failure(struct work *w, const struct dsn *why)
{
	struct entry e = { .nwarning = 0 };

	buf_puts(&e.value, "all mail is deferred");
	entry_warn(&e, why->text);
	if (why->detail[0] != '\0')
		entry_warn(&e, why->detail);
	show(w, "control", &e);
}

/* It need not be there now: the collector makes it when it starts. */
static void
show_socket(struct work *w)
{
	const struct buf *path = &w->control.tlsrptsocket;
	struct entry e = { .nwarning = 0 };

	if (path->len == 0)
		buf_puts(&e.source, "none");
	buf_puts(&e.value, buf_text(path));
	if (path->len > 0 && access(buf_text(path), W_OK) == -1)
		entry_warn(&e, strerror(errno));
	show(w, "control/tlsrptsocket", &e);
}

static void
show_authenticated(struct work *w)
{
	const struct control *c = &w->control;
	const bool has_anchors = c->trustanchors.len > 0;
	struct dns_config dns;

	dns_config_read(&dns, "/etc/resolv.conf");
	show_number(w, "control/dane", c->dane, "",
	    c->dane > 0 && !dns.is_trusted
		? "no effect: the resolver is not trusted for DNSSEC"
		: NULL);
	show_number(w, "control/mtasts", c->mtasts, " s",
	    c->mtasts > 0 && !has_anchors ? "no effect without trust anchors"
					  : NULL);
	show_number(w, "control/tlsrequired", c->tlsrequired, "", NULL);
	show_socket(w);
}

static void
show_lines(struct work *w)
{
	const struct control *c = &w->control;

	show_me(w);
	show_name(w);
	show_number(w, "control/timeoutconnect", c->timeoutconnect, " s", NULL);
	show_number(w, "control/timeoutremote", c->timeoutremote, " s", NULL);
	show_number(w, "control/timeoutdns", c->timeoutdns, " s", NULL);
	if (!w->is_readable)
		return;
	show_path(w, "control/trustanchors", &c->trustanchors,
	    "none: TLS only by tlspolicy, tlshosts or DANE",
	    anchors_warning(c));
	show_number(w, "control/tlsstrictness", c->tlsstrictness, "", NULL);
	show_path(w, "control/clientcert", &c->clientcert, "none", NULL);
	show_path(w, "control/clientkey", &c->clientkey,
	    c->clientcert.len > 0 ? "default: control/clientcert" : "none",
	    key_warning(c));
	show_authenticated(w);
}

/*
 * Control files of many lines.
 */

struct walk {
	struct entry *entry;
	const char *(*fault)(const char *value, size_t n);
	const struct table_files *files;
	bool has_hops;     /* the keys are next hops */
	bool has_password; /* a value has a '|' */
	size_t n;          /* lines */
	size_t ndefault;   /* of them, with the empty key */
};

/* A key in UTF-8 that no domain can match. */
static bool
is_no_domain(const char *key, size_t n)
{
	struct buf ascii = { 0 };
	bool is_fine = !utf8_is_international(key, n) ||
		       idn_to_ascii(&ascii, key, n) == NULL;

	buf_finish(&ascii);
	return !is_fine;
}

static const char *
line_fault(const struct walk *walk, const char *key, size_t nkey,
    const char *value, size_t nvalue)
{
	if (value == NULL)
		return walk->files->is_strict
			   ? "mail is deferred, because it has no colon"
			   : "ignored, because it has no colon";
	if (memchr(key, ' ', nkey) || memchr(key, '\t', nkey))
		return "never used, because of the blank before the colon";
	if (is_no_domain(key, nkey))
		return "never used, because IDNA2008 has no such domain";
	if (walk->has_hops && nkey > 0 && *key == '[')
		return "never used, because of the brackets of the next hop";
	return walk->fault(value, nvalue);
}

/* Up to a '|' or a blank: what follows may be a password. */
static size_t
shown_length(const char *key, size_t n)
{
	size_t i = 0;

	while (i < n && key[i] != '|' && control_blank_length(key + i, 1) == 0)
		i++;
	return i;
}

/* Names the line by its key only.  An address without a key is shown itself. */
static void
check_line(void *data, const char *key, size_t nkey, const char *value,
    size_t nvalue)
{
	struct walk *walk = data;
	const char *fault = line_fault(walk, key, nkey, value, nvalue);
	struct buf text = { 0 };

	walk->n++;
	if (value != NULL && memchr(value, '|', nvalue) != NULL)
		walk->has_password = true;
	walk->ndefault += nkey == 0;
	if (fault == NULL)
		return;
	if (walk->files->has_addresses && nkey == 0)
		buf_append(&text, value, nvalue);
	else
		buf_append(&text, key, shown_length(key, nkey));
	buf_printf(&text, ": %s", fault);
	entry_warn_bytes(walk->entry, text.data, text.len);
	buf_finish(&text);
}

static void
warn_if_exposed(struct entry *e, const char *path)
{
	if (view_is_exposed(path))
		entry_warn(e, "it has passwords, and all users can read it");
}

static void
show_table(struct work *w, const struct table_files *files,
    const char *(*fault)(const char *, size_t))
{
	struct entry e = { .nwarning = 0 };
	struct walk walk = {
		.entry = &e,
		.fault = fault,
		.files = files,
		.has_hops = files != &w->listing->files->relays.routes,
	};

	if (table_walk(files, check_line, &walk) == -1)
		entry_warn(&e, strerror(errno));
	else if (access(files->text, F_OK) == -1)
		buf_puts(&e.source, "none");
	else
		buf_printf(&e.value, "lines: %zu", walk.n);
	if (!walk.has_hops && walk.has_password)
		warn_if_exposed(&e, files->text);
	/* Others take the first one, or each at a time. */
	if (files->has_addresses && walk.ndefault > 1)
		entry_warn(&e, "several addresses for all mail: the last one "
			       "is used");
	show(w, files->text, &e);
}

static const char *
source_fault(const char *value, size_t n, bool is_v4)
{
	struct ip ip;
	bool is_given;
	const char *fault = outgoing_parse(value, n, is_v4, &ip, &is_given);

	if (fault == NULL && is_given && dial_try_own(&ip) == -1)
		fault = "no connection can come from this address";
	return fault;
}

static const char *
source4_fault(const char *value, size_t n)
{
	return source_fault(value, n, true);
}

static const char *
source6_fault(const char *value, size_t n)
{
	return source_fault(value, n, false);
}

/* A name for an address that no connection can come from. */
static void
check_helohost(void *data, const struct ip *ip, const char *name)
{
	char text[IP_TEXT_SIZE];
	struct buf warning = { 0 };

	(void)name;
	if (dial_try_own(ip) == 0)
		return;
	buf_printf(&warning, "%s: no connection can come from this address",
	    ip_format(ip, text));
	entry_warn(data, buf_text(&warning));
	buf_finish(&warning);
}

static void
show_helohosts(struct work *w)
{
	static const char path[] = "control/helohosts";
	struct entry e = { .nwarning = 0 };
	struct helohosts names = { .n = 0 };
	struct dsn why = { 0 };

	if (helohosts_read(&names, path, &why) == -1)
		entry_warn(&e, why.detail);
	else if (access(path, F_OK) == -1)
		buf_puts(&e.source, "none");
	else
		buf_printf(&e.value, "lines: %zu", names.n);
	helohosts_walk(&names, check_helohost, &e);
	show(w, path, &e);
	helohosts_finish(&names);
}

/* Names the line by its number only. */
static void
check_secret(void *data, size_t line, const char *fault, const char *token)
{
	struct walk *walk = data;
	struct buf text = { 0 };

	walk->n++;
	if (fault != NULL)
		buf_printf(&text, "line %zu: %s", line, fault);
	else if (*token != '\0' && access(token, R_OK) == -1)
		buf_printf(&text, "line %zu: %s: %s", line, token,
		    strerror(errno));
	else if (*token != '\0' && view_is_exposed(token))
		buf_printf(&text, "line %zu: all users can read %s", line,
		    token);
	if (text.len > 0)
		entry_warn_bytes(walk->entry, text.data, text.len);
	buf_finish(&text);
}

/* A file that only qmailr may read says nothing to other users. */
static void
show_secrets(struct work *w, const char *path,
    int (*go_through)(const char *,
	void (*)(void *, size_t, const char *, const char *), void *))
{
	struct entry e = { .nwarning = 0 };
	struct walk walk = { .entry = &e };

	if (go_through(path, check_secret, &walk) == 0)
		buf_printf(&e.value, "lines: %zu", walk.n);
	else if (errno == EACCES && w->listing->files->relays.may_lack_rights)
		buf_puts(&e.source, "this user cannot read it");
	else
		entry_warn(&e, strerror(errno));
	if (access(path, F_OK) == -1) {
		buf_cut(&e.value, 0);
		buf_puts(&e.source, "none");
	} else if (walk.n > 0)
		warn_if_exposed(&e, path);
	show(w, path, &e);
}

static void
show_routes(struct work *w)
{
	const struct relay_files *files = &w->listing->files->relays;

	show_table(w, &files->routes, route_fault);
	show_secrets(w, files->senders, authsenders_walk);
	show_secrets(w, files->auth, smtpauth_walk);
}

/* The directories of the widespread TLS patch. */
static void
show_tlshosts(struct work *w)
{
	struct entry e = { .nwarning = 0 };
	struct tlshosts hosts = { .has_pems = false };
	struct dsn why = { 0 };

	if (tlshosts_inspect(&hosts, &why) == -1)
		entry_warn(&e, why.detail);
	else if (!hosts.has_pems && !hosts.has_exceptions)
		buf_puts(&e.source, "none");
	else
		buf_printf(&e.value, "tlshosts: %s%s, notlshosts: %s",
		    hosts.has_pems ? "yes" : "no",
		    hosts.is_exhaustive ? ", exhaustive" : "",
		    hosts.has_exceptions ? "yes" : "no");
	show(w, "control/tlshosts", &e);
}

static void
show_ipme(struct work *w)
{
	static const char path[] = "control/ipme";
	struct entry e = { .nwarning = 0 };
	struct ipme ipme = { 0 };
	struct dsn why = { 0 };

	if (ipme_read(&ipme, path, true, &why) == -1)
		entry_warn(&e, why.detail);
	else
		buf_printf(&e.value, "%zu listed, and %zu of interfaces",
		    ipme.nlisted, ipme.ninterface);
	if (access(path, F_OK) == -1)
		buf_puts(&e.source, "none");
	ipme_finish(&ipme);
	show(w, path, &e);
}

static void
add_warning(void *data, const char *text)
{
	entry_warn(data, text);
}

/* How many connections, and how long. */
static void
show_limits(struct work *w)
{
	struct entry idle = { .nwarning = 0 }, hosts = { .nwarning = 0 };

	if (!limits_check_idle(&idle.value, add_warning, &idle))
		buf_puts(&idle.source, "default");
	show(w, "control/timeoutidle", &idle);
	if (!limits_check_hosts(&hosts.value, add_warning, &hosts))
		buf_puts(&hosts.source, "none");
	show(w, "control/concurrencyhosts", &hosts);
}

/* Files that other versions of qmail-remote read, and this one does not. */
static void
show_ignored(struct work *w)
{
	static const char *const paths[] = { "control/clientca.pem",
		"control/clientcert.pem", "control/domainbindings",
		"control/tlsclientciphers", "control/tlsclientmethod",
		"control/tlsdestinations" };

	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		struct entry e = { .nwarning = 0 };

		if (access(paths[i], F_OK) == -1)
			continue;
		entry_warn(&e, "this version does not read it");
		show(w, paths[i], &e);
	}
}

bool
listing_run(const struct listing *listing)
{
	struct work w = { .listing = listing, .is_fine = true };
	struct surroundings s = {
		.files = listing->files,
		.installed = listing->installed,
		.held = listing->held,
	};
	struct view *view = listing->view;
	struct dsn why = { 0 };

	if (view->entries_begin)
		view->entries_begin(view);
	w.is_readable = control_read(&w.control, &why) == 0;
	if (!w.is_readable)
		show_control_failure(&w, &why);
	show_lines(&w);
	show_routes(&w);
	show_table(&w, &listing->files->families, ipfamily_fault);
	show_table(&w, &listing->files->sources[1], source4_fault);
	show_table(&w, &listing->files->sources[0], source6_fault);
	show_helohosts(&w);
	show_table(&w, &listing->files->policies, tlspolicy_fault);
	show_tlshosts(&w);
	show_ipme(&w);
	show_limits(&w);
	show_ignored(&w);
	s.control = w.is_readable ? &w.control : NULL;
	if (!surroundings_show(&s, view))
		w.is_fine = false;
	control_finish(&w.control);
	if (view->entries_end)
		view->entries_end(view, listing->held);
	return w.is_fine;
}
