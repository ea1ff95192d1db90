/*
 * session.h - one boot of the hypervisor: the VM it was booted for, and what is
 * to be done with it.
 *
 * The boot module is a bundle: session.conf (the mode and its options, by the
 * host command [tools/session.h]), machine.conf (the VM, the same text as the
 * recording's HEAD) and the guest's images.  The recording is the disk named
 * "recording".
 *
 * Of several VMs each has a struct session, and these names begin with its number and a
 * dot: 0.machine.conf, 0.session.conf, the disk 0.recording.  The session.conf without a
 * number then says what they have in common.
 *
 *   session.c   the modes run, record, replay; how it ended
 *   debug.c     the mode debug, and record under a debugger
 *   fork.c      the mode fork
 *   group.c     several VMs that run or are recorded side by side, with its two own tools:
 *               turns.c, who has the CPU, and vswitch.c, their network
 *   ft.c        the mode ft, with two files of its own [ft.h]
 *   guest.c     from configuration and images to a VM
 *   disk.c      its disks
 *   frames.c    a replay's frames, for the host command
 *   port.c      the host port: console, control channel, waiting
 *   net.c       the host port: the wires of the guest's NICs
 */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include "kernel/bootinfo.h"
#include "kernel/virtio_blk.h"
#include "kernel/virtio_net.h"
#include "replay/boundaries.h"
#include "replay/frames.h"
#include "replay/inspect.h"
#include "replay/perturb.h"
#include "replay/stored.h"
#include "session/segment.h"
#include "vmm/selftest.h"
#include "vmm/vm.h"

struct text {
	const char *data;
	size_t size;
};

struct blob {
	const u8 *data;
	size_t size;
};

struct session_group;
struct vswitch_port;

/* What a guest's NIC, or a switch, is connected to [net.c]. */
struct session_wire {
	struct nic *nic;        /* a device of this machine's, */
	struct vswitch_port *port; /* or a switch's port; both NULL: nothing */
	bool shown;             /* wire_peek has shown a frame */
	u32 heard;              /* of the frames that came, those that were news once [wire_news] */
	bool echoes;            /* what is sent comes back, among what others send */
	u32 sent, awaited;      /* frames ever; of those whose echo may come, the oldest */
	u64 echo[NIC_RING];     /* their digests, by number */
	struct segments rest;   /* of the packet that came and is handed on as frames: those behind `piece` */
	u32 piece_size;         /* 0: there is no such packet */
	u8 piece[SEGMENT_FRAME_MAX];
};

struct session {
	char prefix[8];         /* of its names in the bundle and of its disks: "", or "0." of one of several */
	struct session_group *group; /* whose member it is; NULL: it is alone [group.h] */
	const struct boot_info *boot;
	struct blob bundle;
	struct text session, machine;
	char mode[16];
	struct host_port port;
	struct session_wire wire[VM_MAX_NICS];
	bool console_ended, quit;
	bool detached;          /* the debugger has gone, said the host command */
	char command[256];
	char answer[256];       /* the host command's to a question of ours: a line that begins with "arbiter" */
	size_t command_fill;
	u64 last_progress;
	u8 output[4096];        /* the guest's, on its way to COM1 */
	size_t output_fill;
	struct host_quirks quirks;
	u64 float_probe;
	struct vm *vm;
	struct stored_point resumed;   /* where a replay began, if not at the beginning */
	struct perturb perturb;
	struct inspect inspect;
	union {
		struct live_boundary live;
		struct record_boundary record;
		struct replay_boundary replay;
	} boundary;
	struct rec_writer *writer;
	struct rec_end end;            /* of the run, when it has ended */
	struct session_pair *pair;     /* the mode ft [ft.h] */
	struct stored_writer *stored;  /* NULL: no checkpoints are stored */
	struct frames_writer *frames;  /* NULL: nobody asked for them */
	struct frame_tap tap;
	struct rec_reader *reader;     /* of the recording itself: the last of the line */
	struct lineage line;
};

/* Ends the boot with a line for the host command. */
noreturn_fn void session_fail(const char *what);

/* ---- port.c ---- */

void session_port_init(struct session *s);
/* Takes in what the host command has said on the control channel. */
void session_listen(struct session *s);
/* What the guest has printed so far goes to the host command. */
void session_flush_output(struct session *s);
/* Takes in what the host command has said, up to the end of a line: true, and it is in command. */
bool session_hear(struct session *s);
/* Does what such a line says. */
void session_obey(struct session *s, const char *line);

/* ---- net.c ---- */

/*
 * Opens the host's devices that have the addresses of the guest's NICs, and with
 * connect has the host port use them; after session_port_init.
 */
void session_net_init(struct session *s, bool connect);
/* An address such as 52:54:00:12:34:56; false: the key is not there.  One that is none fails. */
bool session_mac(struct text t, const char *key, u8 mac[6]);
/* The NICs that machine.conf names, for the VM that will be made; with a wire or not. */
void session_plug_nics(const struct session *s, struct vm_config *c);
bool session_has_net(const struct session *s);

/*
 * The next frame that has come over a wire, NULL for none; it stays where it is until wire_done.  Of a packet
 * the frames that are to be made of it, one after the other.
 */
const u8 *wire_peek(struct session_wire *w, u32 *size);
/* The same if a packet is next of which no frame has been shown yet; NULL: none is. */
const u8 *wire_peek_packet(struct session_wire *w, u32 *size);
void wire_done(struct session_wire *w);
/* A frame or packet leaves by it: at once, or of a device with the next wire_kick. */
void wire_send(struct session_wire *w, const void *frame, u32 size);
void wire_send_packet(struct session_wire *w, const u8 *packet, u32 size);
void wire_kick(struct session_wire *w);
/*
 * Whether a frame has come since this was last true, or since wire_done.  So one that nobody has
 * room for is news once.
 */
bool wire_news(struct session_wire *w);

/* ---- guest.c ---- */

struct text session_text(const struct session *s, const char *name);
/* The name with the session's prefix; size of 32 is enough for all there are. */
void session_name(const struct session *s, const char *name, char *buf, size_t size);
/* A number of session.conf or machine.conf. */
u64 session_number(struct text t, const char *key, u64 fallback);
/* Zeroed, for the whole session; without memory it fails. */
void *session_memory(size_t size);
/* Where the memories of the VM come from. */
struct chunk_source session_chunks(void);
/* The VM, with its disks and its guest loaded, in s->vm. */
void session_make_vm(struct session *s, struct boundary *boundary);
/* Its memories are all zeros again: nothing was loaded, nothing written to its disks. */
void session_clear_guest(struct session *s);

/* ---- disk.c ---- */

/* The disks that machine.conf names, for the VM that will be made; without the host's it fails. */
void session_plug_disks(struct session *s, struct vm_config *c);
/* Says of each disk what the guest had no room for. */
void session_report_disks(struct session *s);
/*
 * After a recorded run, of which s->end says how it ended: what was written to
 * disks that are rw goes to the host's.  A failure is in s->end.  The VM
 * stands at the run's end.
 */
void session_commit_disks(struct session *s);
/* Whether there is any such disk. */
bool session_commits(const struct session *s);

/* ---- session.c ---- */

/* The first bytes of the hypervisor's build ID. */
u64 session_build_id(void);
/* The reader of the recording, at the beginning of the run. */
void session_open_recording(struct session *s);
/* To the stored checkpoints the session may begin with, if session.conf names any. */
bool session_seek_stored(struct session *s);
/* The recorded run was left by its operator: so is the replay, at the same point. */
void session_leave_at(struct session *s, struct replay_boundary *p);
/* Begins to record on the disk of that name; the boundary is s->boundary.record. */
struct boundary *session_start_recording(struct session *s, const char *disk, const struct host_port *port);
/* A replay begins at a stored checkpoint, if session.conf names one: the VM and p stand there. */
void session_resume(struct session *s, struct replay_boundary *p);
const char *session_outcome_name(enum vm_outcome o);
/* How the VM ended, as it stands: in s->end, and as END of the recording if there is one being made. */
void session_end_recording(struct session *s, enum vm_outcome outcome);
/* What the run has cost and what went wrong in it, for the command: host_insns are all since it began. */
void session_report(struct session *s, u64 host_insns);
/* The last line of the control channel. */
void session_say_end(const struct rec_end *end);

/* The disk of that name, as a medium; without one it fails. */
struct rec_medium session_medium(const struct session *s, const char *name);

/* The VM of the modes run, record and replay, ready to run; and its run, to the line that says how it ended. */
void session_prepare(struct session *s);
void session_play(struct session *s);

/* ---- frames.c ---- */

/* All frames of the replay go to the disk "frames", if session.conf asks for them. */
void session_tap_frames(struct session *s, struct replay_boundary *p);
/* The run is over. */
void session_end_frames(struct session *s);

/* ---- debug.c ---- */

noreturn_fn void session_debug(struct session *s);

/* ---- ft.c ---- */

noreturn_fn void session_ft(struct session *s);

/* ---- group.c ---- */

/* All VMs of a boot that is for several, to the end of the last one; root is what they have in common. */
noreturn_fn void session_several(struct session *root);

/* ---- fork.c ---- */

noreturn_fn void session_fork(struct session *s);

#endif
