/* SPDX-License-Identifier: ISC */
#include "tlsd/pem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

#define BEGIN(label) "-----BEGIN " label "-----"
#define END(label) "-----END " label "-----"
/* A block with "abc". */
#define BLOCK BEGIN("X") "\nYWJj\n" END("X")

/*
 * Each block as "label=data ", or "label@" if its data is broken; then "!line
 * fault" if the file is damaged.
 */
static const char *
read_all(const char *text, size_t n)
{
	static char out[1000];
	struct buf data = { 0 }, all = { 0 };
	struct pem_block b;
	struct pem p;
	enum pem_result result;

	pem_init(&p, text, n);
	while ((result = pem_next(&p, &b)) == PEM_BLOCK) {
		assert_memory_equal(b.start, "-----BEGIN ", 11);
		assert_memory_equal(b.start + b.len - 5, "-----", 5);
		buf_append(&all, b.label, b.label_len);
		if (!pem_decode(&p, &b, &data)) {
			buf_printf(&all, "@%zu ", pem_fault_line(&p));
			continue;
		}
		buf_putc(&all, '=');
		buf_append(&all, buf_text(&data), data.len);
		buf_putc(&all, ' ');
	}
	if (result == PEM_DAMAGED)
		buf_printf(&all, "!%zu %s", pem_fault_line(&p), p.fault);
	snprintf(out, sizeof out, "%s", buf_text(&all));
	buf_finish(&data);
	buf_finish(&all);
	return out;
}

struct pem_case {
	const char *name, *text, *want;
};

static void
check(const struct pem_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *got =
		    read_all(cases[i].text, strlen(cases[i].text));

		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: \"%s\"", cases[i].name, got);
	}
}

static void
finds_blocks(void **state)
{
	static const struct pem_case cases[] = {
		{ "nothing", "", "" },
		{ "no block", "some text\nand more\n", "" },
		{ "one", BLOCK "\n", "X=abc " },
		{ "no line end", BLOCK, "X=abc " },
		{ "two", BLOCK "\n" BLOCK "\n", "X=abc X=abc " },
		{ "joined", BLOCK BLOCK "\n", "X=abc X=abc " },
		{ "joined with a blank", BLOCK " \t" BLOCK, "X=abc X=abc " },
		{ "joined with a comment", BLOCK "# more\n" BLOCK,
		    "X=abc X=abc " },
		{ "joined with a byte order mark", BLOCK "\xef\xbb\xbf" BLOCK,
		    "X=abc X=abc " },
		{ "byte order mark", "\xef\xbb\xbf" BLOCK "\n", "X=abc " },
		{ "CR LF",
		    BEGIN("X") "\r\nYWJj\r\n" END("X") "\r\n" BLOCK "\r\n",
		    "X=abc X=abc " },
		{ "CR", BEGIN("X") "\rYWJj\r" END("X") "\r" BLOCK "\r",
		    "X=abc X=abc " },
		{ "blanks behind", BEGIN("X") " \t\nYWJj  \n" END("X") "  \n",
		    "X=abc " },
		{ "indented", "  " BEGIN("X") "\n\tYWJj\n  " END("X") "\n",
		    "X=abc " },
		{ "text around", "# a\nsubject=x\n" BLOCK "\ntext\n" BLOCK,
		    "X=abc X=abc " },
		{ "a marker in text",
		    "# " BEGIN("X") "\nsee " END("X") "\n" BLOCK, "X=abc " },
		{ "no marker", "-----BEGIN of it\n---- BEGIN X ----\n" BLOCK,
		    "X=abc " },
		{ "END in prose", END("X") " ends it\n" BLOCK, "X=abc " },
		{ "no line ends at all", BEGIN("X") "YWJj" END("X"), "X=abc " },
		{ "END behind base64", BEGIN("X") "\nYWJj" END("X") "\n",
		    "X=abc " },
		{ "empty", BEGIN("X") "\n" END("X") "\n" BLOCK, "X= X=abc " },
		{ "other labels",
		    BEGIN("A B") "\nYQ==\n" END("A B") "\n" BEGIN("") "\n" END(
			"") "\n",
		    "A B=a = " },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void
reports_incomplete_blocks(void **state)
{
	static const struct pem_case cases[] = {
		{ "no END", "\n" BEGIN("X") "\nYWJj\n",
		    "!2 a block without END" },
		{ "only BEGIN", BEGIN("X"), "!1 a block without END" },
		{ "BEGIN before END", BEGIN("X") "\nYWJj\n" BLOCK,
		    "!1 a block without END" },
		{ "after a good one",
		    BLOCK "\n\n" BEGIN("X") "\nYWJj\n" BEGIN("Y"),
		    "X=abc !5 a block without END" },
		{ "cut END", BEGIN("X") "\nYWJj\n-----END X----",
		    "!1 a block without END" },
		{ "joined in the middle", BEGIN("X") "\nYW" BLOCK,
		    "!1 a block without END" },
		{ "other END", BEGIN("X") "\nYWJj\n" END("Y") "\n",
		    "!3 END of another block" },
		{ "longer END", BEGIN("X") "\nYWJj\n" END("XX") "\n",
		    "!3 END of another block" },
		{ "END alone", "\nYWJj\n" END("X") "\n",
		    "!3 END without BEGIN" },
		{ "END twice", BLOCK "\n" END("X") " \n",
		    "X=abc !4 END without BEGIN" },
		{ "CR LF", "a\r\nb\r\n" END("X") "\r\n",
		    "!3 END without BEGIN" },
		{ "CR", "a\rb\r" END("X") "\r", "!3 END without BEGIN" },
		{ "BEGIN cut", "----BEGIN X-----\nYWJj\n" END("X") "\n",
		    "!3 END without BEGIN" },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void
decodes_base64(void **state)
{
#define WITH(body) BEGIN("X") "\n" body "\n" END("X")
	static const struct pem_case cases[] = {
		{ "one byte", WITH("YQ=="), "X=a " },
		{ "two bytes", WITH("YWI="), "X=ab " },
		{ "four bytes", WITH("YWJjZA=="), "X=abcd " },
		{ "all over the place", WITH("Y W\tJ\r\nj\n\nZ\vA\f=\n="),
		    "X=abcd " },
		{ "all bits", WITH("++//"), "X=\xfb\xef\xff " },
		{ "one character", WITH("Y"), "X@1 " },
		{ "one more", WITH("YWJjZ"), "X@1 " },
		{ "two", WITH("YW"), "X@1 " },
		{ "three", WITH("YWJ"), "X@1 " },
		{ "one pad for two", WITH("YQ="), "X@1 " },
		{ "pad alone", WITH("="), "X@2 " },
		{ "pad after one", WITH("Y==="), "X@2 " },
		{ "too many pads", WITH("YWJj\nYWI=="), "X@3 " },
		{ "pad after four", WITH("YWJj="), "X@2 " },
		{ "more behind pads", WITH("YQ==\nYQ=="), "X@3 " },
		{ "a foreign byte", WITH("YWJj\nY!Jj\nYWJj"), "X@3 " },
		{ "the other alphabet", WITH("YW-_"), "X@2 " },
		{ "8-bit", WITH("YW\xc3\xa4"), "X@2 " },
		{ "prose", BEGIN("X") " begins it.\n" END("X"), "X@1 " },
		{ "header", WITH("A: b\nC: d\n  e\n\nYWJj"), "X=abc " },
		{ "header, CR LF", WITH("A: b\r\n\r\nYWJj"), "X=abc " },
		{ "header, a blank in the empty line", WITH("A: b\n \nYWJj"),
		    "X=abc " },
		{ "header alone", WITH("A: b\n\n"), "X= " },
		{ "header without an empty line", WITH("A: b\nYWJj"), "X@1 " },
		{ "the next is fine", WITH("Y") "\n" BLOCK, "X@1 X=abc " },
	};
	static const char with_nul[] = WITH("YW\0Jj");

	(void)state;
	check(cases, COUNT(cases));
	assert_string_equal(read_all(with_nul, sizeof with_nul - 1), "X@2 ");
}

/* Nothing after the end of the text is read, wherever that is. */
static void
never_reads_past_the_text(void **state)
{
	static const char text[] =
	    "x\n" BEGIN("X") "\r\nA: b\r\n\r\nYWJjZA==" END("X") "\n" BLOCK
								 "\xef\xbb"
								 "\xbf" BLOCK;
	char copy[sizeof text];

	(void)state;
	for (size_t n = 0; n < sizeof text; n++) {
		/* The bytes after it would complete the block. */
		memcpy(copy, text, sizeof text);
		if (n < sizeof text - 1)
			memset(copy + n, '\n', sizeof text - 1 - n);
		assert_string_equal(read_all(text, n), read_all(copy, n));
	}
	assert_string_equal(read_all(text, sizeof text - 1),
	    "X=abcd X=abc X=abc ");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_blocks),
		cmocka_unit_test(reports_incomplete_blocks),
		cmocka_unit_test(decodes_base64),
		cmocka_unit_test(never_reads_past_the_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
