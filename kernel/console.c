/*
 * console.c - kprintf and control_printf.  See console.h.
 */
#include "kernel/console.h"
#include "kernel/kfmt.h"

static struct {
	struct serial *port;
	const char *tag;
	bool mid_line; /* the last byte was not a newline */
} console;

void console_init(void)
{
	serial_init(&com1, 0x3f8, 4);
	serial_init(&com2, 0x2f8, 3);
	serial_init(&com3, 0x3e8, 4);
	console_select(com2.present ? &com2 : &com1);
}

void console_select(struct serial *port)
{
	console.port = port && port->present ? port : NULL;
	console.mid_line = false;
}

void console_tag(const char *tag)
{
	console.tag = tag;
}

/* Comment lines on the control channel. ctx is not NULL for kprintf. */
static void put(void *ctx, const char *text, size_t size)
{
	while (size) {
		size_t line = 0;

		while (line < size && text[line] != '\n')
			line++;
		line += line < size;
		if (!console.mid_line && console.tag && console.port == &com2)
			serial_write(console.port, console.tag, strlen(console.tag));
		if (!console.mid_line && ctx && console.port == &com2)
			serial_write(console.port, "# ", 2);
		serial_write(console.port, text, line);
		console.mid_line = text[line - 1] != '\n';
		text += line;
		size -= line;
	}
}

void kvprintf(const char *fmt, va_list args)
{
	if (console.port)
		kvformat(put, &console, fmt, args);
}

void kprintf(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	kvprintf(fmt, args);
	va_end(args);
}

void control_printf(const char *fmt, ...)
{
	va_list args;

	if (!console.port)
		return;
	if (console.mid_line)
		put(NULL, "\n", 1);
	va_start(args, fmt);
	kvformat(put, NULL, fmt, args);
	va_end(args);
}

void console_flush(void)
{
	if (console.port)
		serial_flush(console.port);
}
