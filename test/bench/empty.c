/* SPDX-License-Identifier: ISC */
/* The floor of every delivery: a static program that does nothing. */
int
main(void)
{
	return 0;
}
