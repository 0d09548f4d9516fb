/* SPDX-License-Identifier: ISC */
#include "qmail/relay.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "qmail/authsenders.h"
#include "qmail/smtpauth.h"

static bool
is_null(const char *sender)
{
	return sender == NULL || *sender == '\0' || strcmp(sender, "#@[]") == 0;
}

/* Whether a file can be read, as far as rights are concerned. */
static bool
may_read(const struct relay_files *files, const char *path, struct route *r)
{
	if (!files->may_lack_rights || access(path, R_OK) == 0 ||
	    errno != EACCES)
		return true;
	buf_cut(&r->unread, 0);
	buf_puts(&r->unread, path);
	return false;
}

static int
find_by_sender(const struct relay_files *files, const char *sender,
    struct route *r, struct dsn *why)
{
	if (is_null(sender) || !may_read(files, files->senders, r))
		return 0;
	return authsenders_find(files->senders, sender, r, why);
}

/* Credentials for the sender go with the route of the host. */
static int
find_by_host(const struct relay_files *files, const char *host, struct route *r,
    struct dsn *why)
{
	struct route host_route = { .port = 0 };
	int result = route_find(host, &files->routes, &host_route, why);
	struct login own = r->login;

	r->login = (struct login){ .file = NULL };
	host_route.unread = r->unread;
	r->unread = (struct buf){ 0 };
	route_finish(r);
	*r = host_route;
	if (!login_is_given(&own))
		return result;
	login_finish(&r->login);
	r->login = own;
	return result;
}

static int
find_by_relay(const struct relay_files *files, struct route *r, struct dsn *why)
{
	struct login found = { .file = NULL };

	if (!may_read(files, files->auth, r))
		return 0;
	if (smtpauth_find(files->auth, buf_text(&r->relay), r->port, &found,
		why) == -1)
		return -1;
	if (!login_is_given(&found))
		return 0;
	login_finish(&r->login);
	r->login = found;
	return 0;
}

static bool
is_from_sender(const struct relay_files *files, const struct route *r)
{
	return login_is_given(&r->login) && r->login.file == files->senders;
}

static int
find_credentials(const struct relay_files *files, struct route *r,
    struct dsn *why)
{
	if (!is_from_sender(files, r) && find_by_relay(files, r, why) == -1)
		return -1;
	if (r->login.token.len > 0)
		(void)may_read(files, buf_text(&r->login.token), r);
	if (r->unread.len == 0)
		return login_read_token(&r->login, why);
	/* A file that cannot be read might have others, which count more. */
	login_finish(&r->login);
	return 0;
}

int
relay_find(const struct relay_files *files, const char *host,
    const char *sender, struct route *r, struct dsn *why)
{
	if (find_by_sender(files, sender, r, why) == -1)
		return -1;
	if (r->relay.len == 0 && find_by_host(files, host, r, why) == -1)
		return -1;
	if (r->relay.len > 0)
		return find_credentials(files, r, why);
	login_finish(&r->login);
	return 0;
}
