/*
 * operand.c - the recording a command is about.  See operand.h.
 */
#include "tools/operand.h"

enum status operand_open(struct options *o, struct summary *s, unsigned groups, int argc, char **argv)
{
	enum status st = options_parse(o, groups, argc, argv);

	if (st)
		return st;
	if (!o->noperands)
		return complain(ST_USAGE, "%s: no recording named; give its file: reprise %s FILE", argv[0], argv[0]);
	if (o->noperands > 1)
		return complain(ST_USAGE, "%s: more than one recording named; give one at a time", o->operands[1]);
	return summarise(s, o->operands[0]);
}

enum status operand_close(struct summary *s)
{
	bool damaged = s->stop != REC_STOP_COMPLETE && s->stop != REC_STOP_CUT;
	char text[300];

	fflush(stdout);
	if (summary_trouble(s, text, sizeof(text)))
		remark("%s: %s", s->path, text);
	summary_free(s);
	return damaged ? ST_DAMAGED : ST_OK;
}
