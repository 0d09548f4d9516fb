/* SPDX-License-Identifier: ISC */
#include "check/selftest.h"

#include <sys/socket.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/fdio.h"
#include "tls/helper.h"

#define HELPER_S 20
#define MEMORY_NEEDED (32ul << 20) /* bytes: qmail-remote-tls(8), CAVEATS */
#define PROC_MAX ((size_t)1 << 16) /* bytes of a file of /proc */

/*
 * The TLS helper.
 */

static void
format_now(char text[TLS_TEXT_SIZE])
{
	time_t now = time(NULL);
	struct tm t = { 0 };

	(void)gmtime_r(&now, &t);
	(void)strftime(text, TLS_TEXT_SIZE, "%Y-%m-%d %H:%M:%S UTC", &t);
}

static void
describe_expiry(const struct tls_facts *f, struct buf *what, struct buf *fault)
{
	const char *expires = f->text[TLS_FACT_OWN_EXPIRES];
	char now[TLS_TEXT_SIZE];

	if (!f->is_known[TLS_FACT_OWN_EXPIRES])
		return;
	format_now(now);
	buf_printf(what, ", our certificate expires %s", expires);
	/* Both have the same form, so they compare as text. */
	if (strcmp(expires, now) < 0)
		buf_puts(fault, "our certificate has expired");
}

void
selftest_helper(const struct setup_files *files, const struct control *c,
    struct buf *what, struct buf *fault)
{
	const bool has_cert = c->clientcert.len > 0;
	const bool has_key = c->clientkey.len > 0;
	struct tls_facts facts = { 0 };
	struct tls_helper helper = {
		.program = files->helper,
		.name = "mx.example",
		.anchors = buf_text(&c->trustanchors),
		.clientcert = has_cert ? buf_text(&c->clientcert) : NULL,
		.clientkey = has_key ? buf_text(&c->clientkey)
				     : buf_text(&c->clientcert),
		.describe = TLS_DESCRIBE,
		.facts = &facts,
		.timeout_s = HELPER_S,
	};
	struct tls_start tls;
	int end[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, end) == -1 ||
	    fdio_set_cloexec(end[1], true) == -1) {
		buf_puts(fault, strerror(errno));
		return;
	}
	close(end[1]);
	tls = tls_helper_start(&helper, end[0]);
	if (tls.result.status == TLS_STATUS_READY)
		tls_helper_stop(&tls);
	if (tls.result.status == TLS_STATUS_LOCAL)
		buf_puts(fault, tls.result.text);
	else {
		buf_puts(what, "can be used");
		describe_expiry(&facts, what, fault);
	}
}

/*
 * The sandbox.
 */

/* The text after a label at the start of a line of a file of /proc, or NULL. */
static const char *
find_line(const struct buf *file, const char *label)
{
	const char *at = buf_text(file);
	size_t n = strlen(label);

	while (at != NULL && strncmp(at, label, n) != 0) {
		at = strchr(at, '\n');
		if (at != NULL)
			at++;
	}
	return at != NULL ? at + n : NULL;
}

static bool
has_filter(void)
{
	struct buf status = { 0 };
	const char *mode;
	bool has;

	(void)fdio_read_file("/proc/self/status", PROC_MAX, &status);
	mode = find_line(&status, "Seccomp:\t");
	has = mode != NULL && *mode == '2';
	buf_finish(&status);
	return has;
}

/* Whoever may write to all files may write to this one. */
static bool
has_landlock(void)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	if (fd == -1)
		return errno == EACCES;
	close(fd);
	return false;
}

void
selftest_sandbox(struct buf *what)
{
	buf_printf(what, "system call filter: %s, Landlock: %s",
	    has_filter() ? "yes" : "no", has_landlock() ? "yes" : "no");
}

/*
 * Limits.
 */

static bool
is_rspawn(const char *pid)
{
	static const char name[] = "qmail-rspawn\n";
	char path[64];
	struct buf comm = { 0 };
	bool is;

	snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
	is = fdio_read_file(path, PROC_MAX, &comm) == 0 &&
	     strcmp(buf_text(&comm), name) == 0;
	buf_finish(&comm);
	return is;
}

/* Appends the limits of the first qmail-rspawn; false if there is none. */
static bool
read_limits(struct buf *limits)
{
	DIR *proc = opendir("/proc");
	const struct dirent *d;
	bool found = false;
	char path[64];

	if (proc == NULL)
		return false;
	while (!found && (d = readdir(proc)) != NULL) {
		if (!isdigit((unsigned char)d->d_name[0]) ||
		    !is_rspawn(d->d_name))
			continue;
		snprintf(path, sizeof path, "/proc/%.20s/limits", d->d_name);
		found = fdio_read_file(path, PROC_MAX, limits) == 0;
	}
	closedir(proc);
	return found;
}

static void
describe_limit(const struct buf *limits, const char *label, const char *name,
    struct buf *what, struct buf *fault)
{
	const char *at = find_line(limits, label);
	unsigned long n;
	char *end;

	if (at == NULL)
		return;
	while (*at == ' ')
		at++;
	n = strtoul(at, &end, 10);
	if (what->len > 0)
		buf_puts(what, ", ");
	if (end == at) {
		buf_printf(what, "%s unlimited", name);
		return;
	}
	buf_printf(what, "%s %lu MB", name, n >> 20);
	if (n < MEMORY_NEEDED && fault->len == 0)
		buf_printf(fault, "too little memory for TLS: %lu MB or more",
		    MEMORY_NEEDED >> 20);
}

void
selftest_limits(struct buf *what, struct buf *fault)
{
	struct buf limits = { 0 };

	if (read_limits(&limits)) {
		describe_limit(&limits, "Max address space", "address space",
		    what, fault);
		describe_limit(&limits, "Max data size", "data", what, fault);
	} else
		buf_puts(what, "unknown, it does not run");
	buf_finish(&limits);
}
