/*
 * selftest.h - is this host exact?  Asked at every boot.
 */
#ifndef VMM_SELFTEST_H
#define VMM_SELFTEST_H

#include "vmm/guestmem.h"
#include "vmm/virt.h"

/* What the host does that changes how guests are run; all false is the cleanest host. */
struct host_quirks {
	bool shadow_lost;      /* a saved interrupt shadow is not honoured at entry: kept in software */
	bool stale_code;       /* straight-line self-modifying code runs old bytes: pages are W^X */
};

/*
 * Calibrates host_counter() with micro-guests and checks that it is exact.
 * ERR_UNSUPPORTED: it is not, and host_counter()->refusal says why.
 */
err_t selftest_run(const struct virt_ops *virt, struct host_quirks *quirks) must_check;

#endif
