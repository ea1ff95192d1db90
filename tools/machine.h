/*
 * machine.h - what a run is made of: the machine's description (HEAD,
 * docs/RECORDING.md 4) and its images, from the command line or from a
 * recording, and the bundle that carries both to the hypervisor.
 *
 * The bundle is a newc cpio archive with the files
 *   machine.conf   HEAD's text, byte for byte
 *   session.conf   what this run is to do with it (session.h)
 *   kernel, initrd the images
 */
#ifndef TOOLS_MACHINE_H
#define TOOLS_MACHINE_H

#include "tools/options.h"
#include "tools/recfile.h"

struct machine {
	struct buf head;
	struct buf image[2];  /* as image_roles */
	bool present[2];
	u64 mem_bytes;
};

/* Loads the images the options name and describes the machine. */
enum status machine_from_options(struct machine *m, const struct options *o) must_check;

/*
 * The machine of a recording.  Images come from, in this order: the options,
 * the recording itself, where they were when it was made, the recording's
 * own directory; the first whose digest is the recorded one.
 */
enum status machine_from_recording(struct machine *m, const struct summary *s, const struct options *o) must_check;

/* The bundle for a run, as an open file without a name; -1 after a complaint. */
int machine_bundle(const struct machine *m, const struct buf *session_conf, u64 *size);

void machine_free(struct machine *m);

#endif
