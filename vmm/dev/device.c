/*
 * device.c - what devices share.  See device.h.
 */
#include "vmm/dev/device.h"

/*
 * For devices that take nothing from outside.  The board routes an input to a
 * device by its kind, and no kind leads to a device with this hook, so it is
 * never reached; it exists because no hook may be missing.
 */
void device_no_input(void *dev unused_arg, const void *data unused_arg, size_t size unused_arg)
{
}
