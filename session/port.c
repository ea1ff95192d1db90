/*
 * port.c - the host port: COM1 is the guest's console, COM2 the control channel.
 * See session.h; networks are net.c's.
 */
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/kfmt.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include "session/group.h"

/* The host command's words on the control channel [tools/session.h]. */
void session_obey(struct session *s, const char *line)
{
	if (!strcmp(line, "eof"))
		s->console_ended = true;
	else if (!strcmp(line, "quit"))
		s->quit = true;
	else if (!strcmp(line, "detached"))
		s->detached = true;
	else if (!strncmp(line, "arbiter ", 8))
		ksnprintf(s->answer, sizeof(s->answer), "%s", line);
}

bool session_hear(struct session *s)
{
	char c;

	while (serial_read(&com2, &c, 1)) {
		if (c == '\n') {
			s->command[s->command_fill] = 0;
			s->command_fill = 0;
			return true;
		}
		if (s->command_fill < sizeof(s->command) - 1)
			s->command[s->command_fill++] = c;
	}
	return false;
}

void session_listen(struct session *s)
{
	if (s->group)
		group_listen(s->group);
	else
		while (session_hear(s))
			session_obey(s, s->command);
}

static size_t port_read(void *ctx unused_arg, void *buf, size_t n)
{
	return serial_read(&com1, buf, n);
}

void session_flush_output(struct session *s)
{
	if (s->group)
		group_show(s, s->output, s->output_fill);
	else
		serial_write(&com1, s->output, s->output_fill);
	s->output_fill = 0;
}

/* Gathered until the next poll point or wait: a byte at a time costs a port poll each. */
static void port_write(void *ctx, const void *data, size_t n)
{
	struct session *s = ctx;

	while (n) {
		size_t step = MIN(n, sizeof(s->output) - s->output_fill);

		memcpy(s->output + s->output_fill, data, step);
		s->output_fill += step;
		data = (const u8 *)data + step;
		n -= step;
		if (s->output_fill == sizeof(s->output))
			session_flush_output(s);
	}
}

/* "eof" may overtake the last bytes typed: the console has ended when both ports are empty.  A network never has. */
static bool port_ended(void *ctx)
{
	struct session *s = ctx;

	session_listen(s);
	return s->console_ended && !serial_rx_ready(&com1) && !session_has_net(s);
}

static bool port_quit(void *ctx)
{
	struct session *s = ctx;

	session_listen(s);
	return s->quit;
}

static u64 port_wait(void *ctx, u64 max_ns)
{
	u64 before = host_ns();

	session_flush_output(ctx);
	cpu_wait(max_ns);
	return host_ns() - before;
}

#define PROGRESS_TICKS 70000000UL /* five a second of QEMU's work */

static void port_progress(void *ctx, const struct execpoint *now)
{
	struct session *s = ctx;
	u64 t = rdtsc();

	session_flush_output(s);
	if (t - s->last_progress < PROGRESS_TICKS)
		return;
	s->last_progress = t;
	control_printf("progress insns=%lu vtime_ns=%lu\n", now->count, now->vtime_ns);
}

/* What the guest had printed is not lost with the hypervisor. */
static void last_output(void *ctx)
{
	session_flush_output(ctx);
}

void session_port_init(struct session *s)
{
	panic_set_hook(last_output, s);
	s->port = (struct host_port){ .console_read = port_read, .console_write = port_write, .ended = port_ended,
				      .quit = port_quit, .wait = port_wait, .progress = port_progress, .ctx = s };
	serial_rx_irq_enable(&com1);
	serial_rx_irq_enable(&com2);
}
