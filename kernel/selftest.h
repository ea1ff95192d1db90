/*
 * selftest.h - what the rooms of the substrate's test share; each test returns, or panics.
 */
#ifndef KERNEL_SELFTEST_H
#define KERNEL_SELFTEST_H

#include "kernel/bootinfo.h"
#include "kernel/console.h"
#include "kernel/panic.h"

static inline void check(bool ok, const char *what)
{
	if (!ok)
		panic("selftest: %s", what);
}

void test_blk(const struct boot_info *bi);
void test_net(const struct boot_info *bi);
void test_jumbo(const struct boot_info *bi);
void test_scsi(const struct boot_info *bi);
void test_scsi_late(const struct boot_info *bi);

#endif
