/*
 * gdb.c - finding, starting and burying gdb.  See gdb.h.
 *
 * gdb stays in our process group, so the terminal is its as it is ours: the
 * keys' signals reach both, and session.c passes over them meanwhile.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/gdb.h"

/* As execvp would look; what was found in path, of 4096 bytes. */
static bool find_program(const char *name, char *path)
{
	const char *dirs = getenv("PATH");

	if (strchr(name, '/'))
		return snprintf(path, 4096, "%s", name) < 4096 && !access(path, X_OK);
	for (const char *end; dirs && *dirs; dirs = *end ? end + 1 : end) {
		end = strchrnul(dirs, ':');
		if (snprintf(path, 4096, "%.*s/%s", (int)(end - dirs), dirs, name) < 4096 && !access(path, X_OK))
			return true;
	}
	return false;
}

enum status gdb_find(struct gdb *g, const char *given, char **args)
{
	static const char *const places[2] = { "reprise.gdb", "../share/reprise/reprise.gdb" };
	const char *named = getenv("REPRISE_GDB");

	g->args = args;
	if (!given && named && *named)
		given = named;
	if (given && !find_program(given, g->program))
		return complain(ST_USAGE, "%s: no program that can be run; give a gdb with --gdb, or install one: apt-get install gdb", given);
	if (!given && !find_program("gdb", g->program) && !find_program("gdb-multiarch", g->program))
		return complain(ST_HOST, "gdb: not found; install it: apt-get install gdb, or use another debugger with --listen");
	if (!find_beside(places, g->commands))
		return complain(ST_HOST, "%s: %s; they are our commands for gdb: run 'make', or install again", g->commands,
				strerror(errno));
	return ST_OK;
}

static noreturn_fn void child(const struct gdb *g, const char *const *argv, pid_t parent)
{
	sigset_t none;

	/* Without us it debugs nothing; this way it still puts the terminal back. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(g->program, (char **)(uintptr_t)argv);
	remark("%s: %s; give another gdb with --gdb", g->program, strerror(errno));
	_exit(127);
}

static const char **add_command(const char **to, const char *command)
{
	if (command) {
		*to++ = "-ex";
		*to++ = command;
	}
	return to;
}

pid_t gdb_start(struct gdb *g, const char *before, const char *address, const char *behind)
{
	char connect[128];
	const char **argv, **to;
	unsigned more = 0;
	pid_t parent = getpid(), pid;

	while (g->args[more])
		more++;
	argv = need(calloc(more + 16, sizeof(*argv)));
	snprintf(connect, sizeof(connect), "target remote %s", address);
	to = argv;
	*to++ = g->program;
	*to++ = "-q";
	*to++ = "-x";
	*to++ = g->commands;
	to = add_command(to, before);
	to = add_command(to, connect);
	to = add_command(to, behind);
	memcpy(to, g->args, more * sizeof(*to));
	g->terminal = !tcgetattr(STDIN_FILENO, &g->before);
	fflush(stdout);
	pid = fork();
	if (!pid)
		child(g, argv, parent);
	free(argv);
	if (pid < 0)
		remark("%s: cannot be started: %s; close some programs", g->program, strerror(errno));
	return pid;
}

void gdb_bury(const struct gdb *g, int wait_status)
{
	if (WIFSIGNALED(wait_status) && g->terminal && tcgetpgrp(STDIN_FILENO) == getpgrp())
		tcsetattr(STDIN_FILENO, TCSADRAIN, &g->before);
}

enum status gdb_judge(const struct gdb *g, int wait_status)
{
	int code = WEXITSTATUS(wait_status);

	if (!WIFSIGNALED(wait_status))
		return !code ? ST_OK : complain(ST_HOST, "%s: ended with status %d; what it said tells why", g->program, code);
	return complain(ST_HOST, "%s: killed by signal %d (%s); the recording is as it was", g->program, WTERMSIG(wait_status),
			strsignal(WTERMSIG(wait_status)));
}
