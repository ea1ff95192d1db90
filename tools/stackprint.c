/*
 * stackprint.c - a stack for people, and as JSON for programs.  See
 * stackprint.h.
 */
#include "tools/stackprint.h"

#define NAME_COLUMNS 40

void stack_print(FILE *f, const struct stack_line *lines, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct stack_line *l = &lines[i];
		char place[256];

		if (l->function)
			snprintf(place, sizeof(place), "%s+0x%llx", l->function, (unsigned long long)l->offset);
		else
			snprintf(place, sizeof(place), "%s", l->user ? "(a program)" : "?");
		if (l->interrupted) /* a system call too leaves the frame of an interrupt */
			fputs(l->user ? "     <kernel entry>\n" : "     <interrupt>\n", f);
		if (l->source)
			fprintf(f, " #%-3zu 0x%016llx  %-*s %s\n", i, (unsigned long long)l->pc, NAME_COLUMNS, place, l->source);
		else
			fprintf(f, " #%-3zu 0x%016llx  %s\n", i, (unsigned long long)l->pc, place);
	}
}

static void string_or_null(FILE *f, const char *s)
{
	if (s)
		json_string(f, s, strlen(s));
	else
		fputs("null", f);
}

void stack_print_json(FILE *f, const struct stack_line *lines, size_t n)
{
	fputc('[', f);
	for (size_t i = 0; i < n; i++) {
		const struct stack_line *l = &lines[i];

		fprintf(f, "%s\n    {\"pc\": \"0x%llx\"", i ? "," : "", (unsigned long long)l->pc);
		if (l->sp)
			fprintf(f, ", \"sp\": \"0x%llx\"", (unsigned long long)l->sp);
		fputs(", \"function\": ", f);
		string_or_null(f, l->function);
		if (l->function)
			fprintf(f, ", \"offset\": %llu", (unsigned long long)l->offset);
		fputs(", \"source\": ", f);
		string_or_null(f, l->source);
		if (l->how)
			fprintf(f, ", \"how\": \"%s\", \"user\": %s", l->how, l->user ? "true" : "false");
		fputc('}', f);
	}
	fputs(n ? "\n  ]" : "]", f);
}
