/* SPDX-License-Identifier: ISC */
#include "io/watch.h"

#include <assert.h>

void
watch_add(struct watch *w, const char *path)
{
	assert(w->n < WATCH_MAX);
	w->path[w->n] = path;
	w->was_there[w->n] = fileid_read(&w->was[w->n], path) == 0;
	w->n++;
}

bool
watch_has_changed(const struct watch *w)
{
	for (size_t i = 0; i < w->n; i++) {
		struct fileid now;
		bool is_there = fileid_read(&now, w->path[i]) == 0;

		if (is_there != w->was_there[i] ||
		    (is_there && !fileid_is_equal(&now, &w->was[i])))
			return true;
	}
	return false;
}
