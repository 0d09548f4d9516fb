/* SPDX-License-Identifier: ISC */
#include "sts/upkeep.h"

#include <dirent.h>
#include <string.h>

#include "io/random.h"
#include "sts/cache.h"

/* All at once, because the directory changes while it is tidied. */
int
sts_upkeep_list(const char *state, struct buf *names)
{
	char domain[STS_DOMAIN_SIZE];
	const struct dirent *entry;
	DIR *dir = opendir(state);

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		if (sts_file_of(entry->d_name, domain) != STS_FILE_OTHER)
			buf_append(names, entry->d_name,
			    strlen(entry->d_name) + 1);
	return closedir(dir);
}

enum sts_upkeep
sts_upkeep_of(const char *state, const char *domain, int64_t now)
{
	struct sts_entry entry = { .failures = 0 };
	enum sts_upkeep what = STS_UPKEEP_NOTHING;

	if (sts_cache_read(&entry, state, domain) == -1 ||
	    sts_entry_is_useless(&entry, now))
		what = STS_UPKEEP_REMOVE;
	else if (sts_entry_is_due(&entry, now))
		what = STS_UPKEEP_REFRESH;
	sts_entry_finish(&entry);
	return what;
}

void
sts_upkeep_clean(const char *state, const char *name, int64_t now)
{
	char domain[STS_DOMAIN_SIZE];
	enum sts_file kind = sts_file_of(name, domain);
	int64_t since;
	int fd;

	if (kind == STS_FILE_OTHER ||
	    (kind == STS_FILE_ENTRY &&
		sts_upkeep_of(state, domain, now) != STS_UPKEEP_REMOVE) ||
	    sts_lock_take(state, domain, &fd, &since) != STS_LOCK_TAKEN)
		return;
	/* It may have been fetched before the lock was taken. */
	if (kind == STS_FILE_ENTRY &&
	    sts_upkeep_of(state, domain, now) == STS_UPKEEP_REMOVE)
		sts_cache_remove(state, domain);
	/* With the lock goes the file of a fetch that was killed. */
	sts_lock_drop(state, domain, fd);
}

/* The place of the name behind this one; that of the first behind the last. */
static size_t
next_name(const struct buf *names, size_t at)
{
	at += strlen(names->data + at) + 1;
	return at < names->len ? at : 0;
}

void
sts_upkeep_tidy(const char *state, int64_t now)
{
	struct buf names = { 0 };
	size_t first, at;

	if (sts_upkeep_list(state, &names) == 0 && names.len > 0) {
		at = first = next_name(&names, random_below(names.len));
		for (int i = 0; i < STS_TIDY_MAX; i++) {
			sts_upkeep_clean(state, names.data + at, now);
			at = next_name(&names, at);
			if (at == first)
				break;
		}
	}
	buf_finish(&names);
}
