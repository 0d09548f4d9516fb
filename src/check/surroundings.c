/* SPDX-License-Identifier: ISC */
#include "check/surroundings.h"

#include <sys/stat.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/idn.h"
#include "check/entry.h"
#include "check/selftest.h"
#include "dns/resolvconf.h"

struct work {
	const struct surroundings *s;
	struct view *view;
	bool is_fine;
};

static void
show(struct work *w, const char *name, struct entry *e)
{
	if (!entry_show(e, w->view, name))
		w->is_fine = false;
}

static void
show_resolver(struct work *w)
{
	static const char path[] = "/etc/resolv.conf";
	struct entry e = { .nwarning = 0 };
	struct dns_config config;
	char text[IP_TEXT_SIZE];

	dns_config_read(&config, path);
	for (size_t i = 0; i < config.nserver; i++)
		buf_printf(&e.value, "%s%s", i > 0 ? ", " : "",
		    ip_format(&config.server[i].ip, text));
	buf_puts(&e.value, config.is_trusted ? ", trusted for DNSSEC"
					     : ", not trusted for DNSSEC");
	if (access(path, R_OK) == -1)
		buf_puts(&e.source, "default");
	show(w, path, &e);
}

static void
describe_file(struct buf *value, const struct stat *st)
{
	buf_printf(value, "mode %04o, user %lu, group %lu",
	    (unsigned)(st->st_mode & 07777), (unsigned long)st->st_uid,
	    (unsigned long)st->st_gid);
}

static void
show_directory(struct work *w, const char *path)
{
	struct entry e = { .nwarning = 0 };
	struct stat st;

	if (stat(path, &st) == -1) {
		entry_warn(&e, strerror(errno));
		show(w, path, &e);
		return;
	}
	describe_file(&e.value, &st);
	if (!S_ISDIR(st.st_mode))
		entry_warn(&e, "not a directory");
	else if (access(path, R_OK | W_OK | X_OK) == -1)
		entry_warn(&e, "qmail-remote may not write to it");
	if (st.st_mode & S_IWOTH)
		entry_warn(&e, "all users may write to it");
	show(w, path, &e);
}

/* It is only there when it is needed; then it has to be read and written. */
static void
show_state_file(struct work *w, const char *path, bool is_needed)
{
	struct entry e = { .nwarning = 0 };
	struct stat st;

	if (stat(path, &st) == -1) {
		if (errno != ENOENT || is_needed)
			entry_warn(&e, strerror(errno));
		else
			buf_puts(&e.source, "made when it is needed");
	} else {
		describe_file(&e.value, &st);
		if (access(path, R_OK | W_OK) == -1)
			entry_warn(&e, "qmail-remote may not write to it");
	}
	show(w, path, &e);
}

static void
show_state(struct work *w)
{
	const struct setup_files *files = w->s->files;

	show_directory(w, files->state);
	show_state_file(w, files->tcpto.path6, false);
	show_state_file(w, files->memory, false);
	show_state_file(w, files->tcpto.path4, true);
}

static void
show_program(struct work *w, const struct installed_program *p)
{
	struct entry e = { .nwarning = 0 };

	buf_append(&e.value, p->what.data, p->what.len);
	if (p->fault.len > 0)
		entry_warn(&e, buf_text(&p->fault));
	else if (access(buf_text(&p->path), X_OK) == -1)
		entry_warn(&e, strerror(errno));
	show(w, buf_text(&p->path), &e);
}

static void
show_idn(struct work *w)
{
	struct entry e = { .nwarning = 0 };

	buf_puts(&e.value, idn_is_supported()
			       ? "as IDNA2008 allows them"
			       : "refused: built without libidn2");
	show(w, "domains in UTF-8", &e);
}

static void
show_programs(struct work *w)
{
	for (size_t i = 0; i < INSTALLED_PROGRAMS; i++)
		show_program(w, &w->s->installed->programs[i]);
	show_idn(w);
}

/* The helper is started as for a delivery, with a server that hangs up. */
static void
show_helper(struct work *w)
{
	struct entry e = { .nwarning = 0 };
	struct buf fault = { 0 };

	if (!w->s->control || w->s->control->trustanchors.len == 0)
		return;
	selftest_helper(w->s->files, w->s->control, &e.value, &fault);
	if (fault.len > 0)
		entry_warn(&e, buf_text(&fault));
	show(w, "TLS", &e);
	buf_finish(&fault);
}

static void
show_limits(struct work *w)
{
	struct entry sandbox = { .nwarning = 0 }, limits = { .nwarning = 0 };
	struct buf fault = { 0 };

	selftest_sandbox(&sandbox.value);
	show(w, "sandbox", &sandbox);
	selftest_limits(&limits.value, &fault);
	if (fault.len > 0)
		entry_warn(&limits, buf_text(&fault));
	show(w, "limits of qmail-rspawn", &limits);
	buf_finish(&fault);
}

/* That none runs is usual: a delivery starts it when it is wanted. */
static void
show_broker(struct work *w)
{
	const struct held *held = w->s->held;
	struct entry e = { .nwarning = 0 };

	switch (held->state) {
	case HELD_KNOWN:
		buf_printf(&e.value, "idle connections: %zu",
		    held->nconnection);
		break;
	case HELD_NO_BROKER:
		buf_puts(&e.source, "not running");
		break;
	case HELD_NOT_ALLOWED:
		buf_puts(&e.source, "this user may not ask it");
		break;
	case HELD_OF_ANOTHER_USER:
		entry_warn(&e, "run by another user than the owner of the "
			       "state directory: deliveries do not use it");
		break;
	case HELD_NO_ANSWER:
		entry_warn(&e, "no answer of this version within 1 s: "
			       "deliveries go on without it");
		break;
	}
	show(w, "qmail-remote-cache", &e);
}

bool
surroundings_show(const struct surroundings *s, struct view *view)
{
	struct work w = { s, view, true };

	show_resolver(&w);
	show_state(&w);
	show_programs(&w);
	show_helper(&w);
	show_limits(&w);
	show_broker(&w);
	return w.is_fine;
}
