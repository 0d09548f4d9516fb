/* SPDX-License-Identifier: ISC */
#ifndef STS_HTTP_H
#define STS_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "sts/failure.h"

/*
 * Parse the reply of a policy host (RFC 9112), which is fed as bytes.
 *
 * Only status 200 with Content-Type text/plain and without Content-Encoding is
 * a policy (RFC 8461 section 3.3): no redirect is followed.  Interim replies
 * (1xx) are skipped.  The length of the body is told by Content-Length, by
 * chunks, or by the end of the connection.
 */

#define STS_HTTP_LINE_MAX 8192            /* bytes of one line */
#define STS_HTTP_HEAD_MAX ((size_t)32768) /* of all lines together */

enum sts_http_state {
	STS_HTTP_MORE,  /* the reply is not complete */
	STS_HTTP_DONE,  /* the body is complete */
	STS_HTTP_FAILED /* this is no policy, or not one that can be used */
};

/* Valid when zeroed. */
struct sts_http {
	enum sts_http_state state;
	struct sts_failure why; /* if it has failed */
	struct buf body;        /* at most STS_BODY_MAX bytes */

	/* For this module only. */
	int step;
	unsigned status;
	bool has_type, is_text, is_chunked, has_length;
	size_t length; /* that Content-Length tells */
	size_t left;   /* of the body, or of the chunk */
	size_t head;   /* bytes of lines so far */
	size_t nline;
	char line[STS_HTTP_LINE_MAX];
};

/* Adds n bytes; what follows a complete reply is ignored. */
enum sts_http_state sts_http_add(struct sts_http *, const char *, size_t n);

/*
 * The connection has ended.  was_closed: by the host, and not by somebody on
 * the way (close_notify).  Only then can this be the end of the body.
 */
enum sts_http_state sts_http_end(struct sts_http *, bool was_closed);

/* Frees the body. */
void sts_http_finish(struct sts_http *);

#endif
