/* SPDX-License-Identifier: ISC */
#include "sts/record.h"

#include <string.h>

#include "base/str.h"

#define FIELD_NAME_MAX 32

bool
sts_id_is_valid(struct sts_text id)
{
	for (size_t i = 0; i < id.n; i++)
		if (!str_is_alnum(id.at[i]))
			return false;
	return id.n > 0 && id.n < STS_ID_SIZE;
}

/* Letters, digits, and after the first byte also "_-.". */
static bool
is_field_name(struct sts_text name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!str_is_alnum(name.at[i]) &&
		    (i == 0 || name.at[i] == '\0' ||
			!strchr("_-.", name.at[i])))
			return false;
	return name.n > 0 && name.n <= FIELD_NAME_MAX;
}

/* Visible bytes other than '='; a ';' cannot be in it. */
static bool
is_field_value(struct sts_text value)
{
	for (size_t i = 0; i < value.n; i++)
		if (value.at[i] <= ' ' || value.at[i] > '~' ||
		    value.at[i] == '=')
			return false;
	return value.n > 0;
}

/* The first id counts (RFC 8461 section 3.2). */
static bool
read_field(struct sts_text field, char id[STS_ID_SIZE])
{
	struct sts_text name, value = field;

	if (!sts_text_cut(&value, '=', &name) || !is_field_name(name) ||
	    !is_field_value(value))
		return false;
	if (!sts_text_is(name, "id") || id[0] != '\0')
		return true;
	if (!sts_id_is_valid(value))
		return false;
	memcpy(id, value.at, value.n);
	id[value.n] = '\0';
	return true;
}

/* Reads the fields after the version.  Nothing must follow the last ';'. */
static bool
read_fields(struct sts_text rest, char id[STS_ID_SIZE])
{
	bool is_last = false;

	while (!is_last) {
		struct sts_text field;

		is_last = !sts_text_cut(&rest, ';', &field);
		field = sts_text_trim(field);
		if (is_last && field.n == 0)
			break;
		if (!read_field(field, id))
			return false;
	}
	return id[0] != '\0';
}

void
sts_record_add(struct sts_record *r, struct sts_text text)
{
	char id[STS_ID_SIZE] = "";
	struct sts_text version;

	if (!sts_text_cut(&text, ';', &version) ||
	    !sts_text_skip(&version, "v=STSv1") || sts_text_trim(version).n > 0)
		return;
	r->n++;
	if (read_fields(text, id))
		memcpy(r->id, id, sizeof id);
}

void
sts_record_read(struct sts_record *r, const struct dns_answer *answer)
{
	r->is_known = answer->outcome != DNS_TEMPFAIL;
	for (size_t i = 0; i < answer->ntext; i++)
		sts_record_add(r, sts_text_of(&answer->text[i]));
}

const char *
sts_record_id(const struct sts_record *r)
{
	return r->is_known && r->n == 1 ? r->id : "";
}
