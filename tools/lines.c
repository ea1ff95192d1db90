/*
 * lines.c - where in the sources an address comes from.  See lines.h.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/lines.h"

static noreturn_fn void child(const char *elf, const u64 *addresses, size_t n, int out)
{
	const char **argv = need(calloc(n + 8, sizeof(*argv)));
	char (*numbers)[24] = need(calloc(n + 1, sizeof(*numbers)));
	int null = open("/dev/null", O_RDWR);
	unsigned k = 0;

	argv[k++] = "addr2line";
	argv[k++] = "-e";
	argv[k++] = elf;
	for (size_t i = 0; i < n; i++) {
		snprintf(numbers[i], sizeof(*numbers), "0x%llx", (unsigned long long)addresses[i]);
		argv[k++] = numbers[i];
	}
	if (dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDERR_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
		execvp(argv[0], (char **)(uintptr_t)argv);
	_exit(127);
}

/* "./a.c:12 (discriminator 3)", or with "?" for what is not known. */
static char *tidy(char *text)
{
	char *end = strstr(text, " (");

	if (end)
		*end = 0;
	if (strchr(text, '?') || !strcmp(text + MAX(strlen(text), 2UL) - 2, ":0"))
		return NULL;
	return need(strdup(!strncmp(text, "./", 2) ? text + 2 : text));
}

void lines_find(const char *elf, const u64 *addresses, size_t n, char **line)
{
	char *text = NULL;
	int ends[2], wait_status;
	size_t room = 0;
	FILE *f;
	pid_t pid;

	memset(line, 0, n * sizeof(*line));
	if (!n || pipe2(ends, O_CLOEXEC))
		return;
	pid = fork();
	if (!pid)
		child(elf, addresses, n, ends[1]);
	close(ends[1]);
	f = need(fdopen(ends[0], "r"));
	for (size_t i = 0; i < n && getline(&text, &room, f) > 0; i++) {
		text[strcspn(text, "\n")] = 0;
		line[i] = tidy(text);
	}
	free(text);
	fclose(f);
	if (pid > 0)
		waitpid(pid, &wait_status, 0);
}
