/*
 * machine.h - what a run is made of: the machine's description (HEAD,
 * docs/RECORDING.md 4), its images and its disks, from the command line or from a
 * recording, and the bundle that carries the first two to the hypervisor.
 *
 * The bundle is a newc cpio archive with the files
 *   machine.conf   HEAD's text, byte for byte
 *   session.conf   what this run is to do with it (session.h)
 *   kernel, initrd the images
 * and of several machines with these of each behind its number and a dot, and a session.conf
 * that is common to all.
 */
#ifndef TOOLS_MACHINE_H
#define TOOLS_MACHINE_H

#include "tools/disks.h"
#include "tools/options.h"
#include "tools/recfile.h"

struct machine {
	struct buf head;
	struct buf image[2];  /* as image_roles */
	bool present[2];
	const char *path[2];  /* where they were read; NULL: out of a recording.  They live as long as the program */
	u64 mem_bytes;
	struct machine_disks disks;
};

/* Loads the images and opens the disks the options name and describes the machine.  recorded: a recording will keep that. */
enum status machine_from_options(struct machine *m, const struct options *o, bool recorded) must_check;

/*
 * The machine of a recording.  Images come from, in this order: the options,
 * the recording itself, where they were when it was made, the recording's
 * own directory; the first whose digest is the recorded one.  Disks likewise,
 * but for the recording itself.
 */
enum status machine_from_recording(struct machine *m, const struct summary *s, const struct options *o) must_check;

/* All of it but the disks. */
enum status machine_images(struct machine *m, const struct summary *s, const struct options *o) must_check;

/* A complaint if path, where the option has something written, is an image or a disk of it. */
enum status machine_not(const struct machine *m, const char *option, const char *path) must_check;

/* What the hypervisor needs for the machine, but for images and itself. */
u64 machine_memory(const struct machine *m);

/* The bundle for a run, as an open file without a name; -1 after a complaint. */
int machine_bundle(const struct machine *m, const struct buf *session_conf, u64 *size);

/*
 * The same for n machines, each with a session.conf of its own beside the common one; an image that
 * an earlier one has, too, is in it once, and the later one's session.conf is told so.
 */
int machine_bundle_several(const struct machine *m, struct buf *confs, unsigned n, const struct buf *common, u64 *size);

void machine_free(struct machine *m);

#endif
