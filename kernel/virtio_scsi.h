/*
 * virtio_scsi.h - the host's SCSI logical units, behind virtio SCSI adapters.
 *
 * For storage shared with other hosts, where commands must reach the target
 * as they are: QEMU hands them on with -device scsi-generic (docs/FT.md).
 *
 * Several commands can be under way.  Data is copied in and out: so a command
 * that nobody waits for any more keeps its own memory until the device gives it
 * back, and what comes late can neither write into another's buffer nor be
 * taken for another's answer.
 */
#ifndef KERNEL_VIRTIO_SCSI_H
#define KERNEL_VIRTIO_SCSI_H

#include "kernel/scsi.h"

struct scsi_unit;

/* The index-th logical unit that is a disk: adapters in bus order, then targets, then units; NULL: no more. */
struct scsi_unit *scsi_open(unsigned index);

u8 scsi_unit_target(const struct scsi_unit *u);
u16 scsi_unit_lun(const struct scsi_unit *u);

/* Commands to the unit, by the hooks above; valid as long as the machine. */
const struct scsi_port *scsi_unit_port(struct scsi_unit *u);

/*
 * Sends one and waits at most timeout_ns of host time.  ERR_IO: no answer
 * within it, or the adapter could not deliver it.  OK: *r tells.
 */
err_t scsi_command(const struct scsi_port *p, const struct scsi_command *c, struct scsi_reply *r,
		   u64 timeout_ns) must_check;

#endif
