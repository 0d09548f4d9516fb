/* SPDX-License-Identifier: ISC */
/* The floor for every delivery: a static program that does nothing. */
int
main(void)
{
	return 0;
}
