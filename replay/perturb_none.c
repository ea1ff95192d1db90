/*
 * perturb_none.c - in place of perturb.c without CONFIG_PERTURB.
 *
 * A replay that was to be disturbed and is not would prove nothing: it is
 * refused.
 */
#include "kernel/kconf.h"
#include "replay/perturb.h"

void perturb_start(struct perturb *p unused_arg, struct vm *vm, const char *conf, size_t size)
{
	if (conf_u64(conf, size, "perturb", 0))
		vm_stop(vm, VM_HOST_FAILED, "--perturb: this hypervisor was built without CONFIG_PERTURB");
}
