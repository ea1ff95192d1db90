/*
 * main.c - `reprise COMMAND ...`: finds the command, helps.
 */
#include <fcntl.h>
#include <unistd.h>

#include "tools/tool.h"

static const struct command *const commands[] = {
	&cmd_run, &cmd_record, &cmd_replay, &cmd_debug, &cmd_bt, &cmd_fork,
	&cmd_info, &cmd_log, &cmd_verify, &cmd_pack, &cmd_doctor, &cmd_ft, NULL,
};

static const struct command *find(const struct command *const *among, const char *name)
{
	for (; among && *among && name; among++)
		if (!strcmp((*among)->name, name))
			return *among;
	return NULL;
}

static void overview(FILE *f)
{
	fputs("reprise - run a virtual machine so exactly that the run can be replayed\n\n"
	      "  reprise COMMAND [OPTIONS] ...\n\n", f);
	for (unsigned i = 0; commands[i]; i++)
		fprintf(f, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
	fputs("  help     help COMMAND says more about one of them\n\n"
	      "  reprise record -o a.rpl --kernel vmlinuz --initrd initrd.img --append console=ttyS0\n"
	      "  reprise replay a.rpl\n"
	      "  reprise debug a.rpl --symbols vmlinux\n\n"
	      "Exit status: 0 fine (replay: identical); 1 the host failed; 2 usage; 3 the replay\n"
	      "diverged; 4 the recording is damaged (what is intact still replays); 5 the guest\n"
	      "crashed or asked for failure; 6 a limit was reached.\n"
	      "Environment: REPRISE_QEMU, another qemu-system-x86_64; REPRISE_KERNEL, another\n"
	      "hypervisor image; REPRISE_GDB, another gdb.\n", f);
}

static enum status unknown(const char *name)
{
	return complain(ST_USAGE, "%s: no such command; 'reprise help' lists them", name);
}

static enum status help(int argc, char **argv)
{
	const struct command *c;

	if (argc < 2) {
		overview(stdout);
		return ST_OK;
	}
	c = find(commands, argv[1]);
	if (!c)
		return unknown(argv[1]);
	if (find(c->parts, argv[2]))
		c = find(c->parts, argv[2]);
	fputs(c->help, stdout);
	return ST_OK;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--help"))
			return true;
	return false;
}

static enum status dispatch(int argc, char **argv)
{
	const struct command *c;

	if (argc < 2) {
		overview(stderr);
		return ST_USAGE;
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help(argc - 1, argv + 1);
	if (!strcmp(argv[1], "--version")) {
		printf("reprise %s (recording format %d)\n", REPRISE_RELEASE, 1);
		return ST_OK;
	}
	c = find(commands, argv[1]);
	if (!c)
		return unknown(argv[1]);
	if (find(c->parts, argv[2])) {
		c = find(c->parts, argv[2]);
		argc--;
		argv++;
		argv[1] = (char *)(uintptr_t)c->title; /* what its complaints call it */
	}
	if (asks_for_help(argc - 1, argv + 1)) {
		fputs(c->help, stdout);
		return ST_OK;
	}
	return c->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	enum status st;

	/* A closed standard file would lend its number to the next file opened: to a recording, say. */
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
			return ST_HOST;
	st = dispatch(argc, argv);
	if (fflush(stdout) && st == ST_OK)
		st = ST_HOST;
	return (int)st;
}
