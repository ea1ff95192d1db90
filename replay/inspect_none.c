/*
 * inspect_none.c - in place of inspect.c without CONFIG_INSPECT.
 */
#include "kernel/kconf.h"
#include "replay/inspect.h"

void inspect_print_state(struct vm *vm unused_arg, void (*print)(const char *fmt, ...))
{
	print("# no state is printed: this hypervisor was built without CONFIG_INSPECT\n");
}

void inspect_start(struct inspect *i unused_arg, struct vm *vm, const char *conf, size_t size,
		   void (*print)(const char *fmt, ...) unused_arg)
{
	static const char *const keys[] = { "trace_from", "trace_at", "dump_at", "bisect" };
	size_t n;

	for (unsigned k = 0; k < ARRAY_SIZE(keys); k++)
		if (conf_find(conf, size, keys[k], &n))
			vm_stop(vm, VM_HOST_FAILED, "%s: this hypervisor was built without CONFIG_INSPECT", keys[k]);
}
