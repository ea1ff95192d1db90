/*
 * main.c - brings the substrate up, in the only order that works.
 */
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/lapic.h"
#include "kernel/mm.h"
#include "kernel/paging.h"
#include "kernel/panic.h"
#include "kernel/percpu.h"
#include "kernel/pic.h"
#include "kernel/realtime.h"
#include "kernel/time.h"
#include "kernel/trap.h"

__attribute__((weak)) void hypervisor_main(const struct boot_info *bi unused_arg)
{
	kprintf("nothing above the kernel is linked\n");
}

noreturn_fn void kmain(struct boot_info *bi)
{
	cpu_init();
	trap_init();
	/* The early map ends at 4 GiB; what is above is added when it is mapped. */
	mm_add(bi, 0, GIB(4));
	paging_init(bi);
	mm_add(bi, GIB(4), ~0UL);
	host_lapic_init();
	host_pic_init();
	time_init();
	realtime_init();
	hypervisor_main(bi);
	machine_exit(0);
}
