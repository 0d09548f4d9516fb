/* SPDX-License-Identifier: ISC */

/*
 * An index of arbitrary bytes with correct checksums: it is followed wherever
 * it leads, but never out of the source.  And a valid index with one byte
 * changed: it never gives a wrong result.
 */

#include "compiled_now.h"

#include "fuzz.h"

/* Corrects the checksums of a file. */
static void
set_stamp(int fd, const struct stat *source, size_t size)
{
	struct compiled c = { .fd = fd, .size = size };

	if (size < FRONT_SIZE)
		return;
	CHECK(fdio_read_at(fd, 0, c.front, FRONT_SIZE) == 0);
	write_identity(c.front + IDENTITY_AT, source, size);
	for (size_t i = 0; i < TABLES; i++) {
		buf_cut(&c.table, 0);
		if (!read_table(&c, i) && c.table.len == 0)
			continue;
		pack64(c.front + TABLE_SUMS_AT + i * SUM_SIZE,
		    checksum(0, c.table.data, c.table.len));
	}
	pack64(c.front + FRONT_SUM_AT, checksum(0, c.front, FRONT_SUM_AT));
	CHECK(pwrite(fd, c.front, FRONT_SIZE, 0) == (ssize_t)FRONT_SIZE);
	buf_finish(&c.table);
}

static void
look_up(struct compiled *c, const char *key, size_t keylen)
{
	struct compiled_place place;

	for (unsigned n = 0; n < 3; n++) {
		if (compiled_find(c, key, keylen, n, &place) != COMPILED_FOUND)
			return;
		CHECK(place.offset <= c->source_size);
		CHECK(place.length <= c->source_size - place.offset);
	}
}

/* 4 bytes of the input set the position and size of each table. */
static void
follow_anything(struct fuzz_input *in, const struct stat *source)
{
	static unsigned char file[FRONT_SIZE + 4096];
	size_t keylen = fuzz_byte(in) & 15;
	const char *key = fuzz_bytes(in, &keylen);
	size_t ntable = fuzz_byte(in) & 7, n, where;
	struct compiled *c;
	struct buf whole = { 0 };
	int fd;

	memset(file, 0, sizeof file);
	write_key(&whole, key, keylen);
	where = hash_of(whole.data, whole.len) % TABLES;
	/* The table of the key first, then those next to it. */
	for (size_t i = 0; i < ntable; i++) {
		unsigned char *p = file + (where + i) % TABLES * 8;
		unsigned high = fuzz_byte(in);

		pack32(p, (high << 24) + (unsigned)FRONT_SIZE + fuzz_byte(in));
		pack32(p + 4, fuzz_byte(in));
	}
	n = in->left < 4096 ? in->left : 4096;
	memcpy(file + FRONT_SIZE, in->at, n);
	/* A slot with the hash of the key, which a fuzzer would not guess. */
	for (size_t i = FRONT_SIZE; i + 4 <= FRONT_SIZE + n; i += 4)
		if (memcmp(file + i, "HASH", 4) == 0)
			pack32(file + i, hash_of(whole.data, whole.len));
	fd = fuzz_write_file("cdb", file, FRONT_SIZE + n);
	set_stamp(fd, source, FRONT_SIZE + n);
	close(fd);
	c = compiled_open("cdb", source);
	CHECK(c);
	look_up(c, key, keylen);
	look_up(c, "", 0);
	compiled_close(c);
	buf_finish(&whole);
}

static void
follow_raw(struct fuzz_input *in, const struct stat *source, bool is_stamped)
{
	int fd = fuzz_write_file("cdb", in->at, in->left);
	struct compiled *c;

	if (is_stamped)
		set_stamp(fd, source, in->left);
	close(fd);
	c = compiled_open("cdb", source);
	if (!c)
		return;
	look_up(c, "example.org", 11);
	look_up(c, ".org", 4);
	look_up(c, "", 0);
	compiled_close(c);
}

/* The places of the lines "key:value", the n-th of each key. */
static void
check_places(struct compiled *c, const char *text, size_t size, bool is_whole)
{
	const char *line = text, *end = text + size;

	while (c && line < end) {
		size_t len = strcspn(line, "\n"), keylen = strcspn(line, "\n:");
		const char *other = line;
		enum compiled_result result;
		unsigned behind = 0;
		struct compiled_place place;

		/* How many lines after this one have its key. */
		while ((other += strcspn(other, "\n")) < end && ++other < end) {
			size_t n = strcspn(other, "\n:");

			behind += n == keylen && !memcmp(other, line, n);
		}
		result = compiled_find(c, line, keylen, behind, &place);
		CHECK(result == COMPILED_FOUND || !is_whole ||
		      keylen > COMPILED_KEY_MAX || behind >= SAME_HASH_MAX);
		CHECK(result != COMPILED_ABSENT || behind >= SAME_HASH_MAX);
		if (result == COMPILED_FOUND) {
			CHECK(place.offset == (size_t)(line - text));
			CHECK(place.length == len);
		}
		result = compiled_find(c, line, keylen, 10000, &place);
		CHECK(result != COMPILED_FOUND);
		line += len + (line + len < end);
	}
}

static void
damage_a_byte(struct fuzz_input *in)
{
	size_t at = fuzz_byte(in);
	unsigned char change = fuzz_byte(in);
	struct compiling *making;
	struct compiled *c;
	struct stat source, st;
	char *text;
	size_t size;
	unsigned char byte;
	int fd, sourcefd;

	at = (at << 8 | fuzz_byte(in)) << 2 | (change & 3);
	text = fuzz_string((const char *)in->at, in->left);
	size = strlen(text);
	sourcefd = fuzz_write_file("source", text, size);
	CHECK(fstat(sourcefd, &source) == 0);
	making = compiling_begin("cdb", "lock", sourcefd, &source);
	CHECK(making);
	for (const char *line = text; line < text + size;) {
		size_t n = strcspn(line, "\n"), k = strcspn(line, "\n:");
		struct compiled_place place = { (size_t)(line - text), n };

		compiling_add(making, line, k, &place);
		line += n + (line[n] == '\n');
	}
	CHECK(compiling_end(making, sourcefd) == 0);
	c = compiled_open("cdb", &source);
	CHECK(c);
	check_places(c, text, size, true);
	compiled_close(c);

	fd = open("cdb", O_RDWR);
	CHECK(fd != -1 && fstat(fd, &st) == 0);
	at %= (size_t)st.st_size;
	CHECK(pread(fd, &byte, 1, (off_t)at) == 1);
	byte ^= change ? change : 0x80;
	CHECK(pwrite(fd, &byte, 1, (off_t)at) == 1);
	close(fd);
	c = compiled_open("cdb", &source);
	check_places(c, text, size, false);
	compiled_close(c);
	close(sourcefd);
	free(text);
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const char source_text[300];
	struct fuzz_input in = { data, size };
	struct stat source;
	int fd;

	fuzz_enter_directory();
	fd = fuzz_write_file("source", source_text, sizeof source_text);
	CHECK(fstat(fd, &source) == 0);
	switch (fuzz_byte(&in) & 3) {
	case 0:
		follow_raw(&in, &source, true);
		break;
	case 1:
		damage_a_byte(&in);
		break;
	case 2:
		follow_anything(&in, &source);
		break;
	default:
		follow_raw(&in, &source, false);
	}
	close(fd);
	return 0;
}
