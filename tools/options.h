/*
 * options.h - the command line, one table for all commands.
 */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include "tools/diskoption.h"
#include "tools/net.h"
#include "tools/tool.h"

/* Which options a command takes: groups, or-ed. */
enum {
	OPT_VM = 1,       /* what the machine is */
	OPT_LIMITS = 2,   /* budgets */
	OPT_CONSOLE = 4,  /* standard input as console */
	OPT_RECORD = 8,   /* keeping a recording */
	OPT_OUTPUT = 16,  /* -o, --force */
	OPT_REPLAY = 32,  /* how a replay goes */
	OPT_IMAGES = 64,  /* where a recording's images are now */
	OPT_JSON = 128,
	OPT_RUN = 256,    /* --timeout, --verbose, --quiet, --stats */
	OPT_BUNDLE = 512, /* --bundle */
	OPT_FORK = 4096,  /* what a fork is to be */
	OPT_LIVE_GDB = 2048, /* a debugger for a machine that runs */
	OPT_DEBUG = 1024, /* a debugger, and where it begins */
	OPT_BT = 8192,    /* a point to look at */
	OPT_PCAP = 16384, /* --pcap, --force */
	OPT_PAIR = 32768, /* a host of a pair */
	OPT_DEMO = 65536, /* ft demo */
	OPT_STATUS = 131072, /* ft status */
	OPT_SEVERAL = 262144, /* --vm, --share */
};

#define CHECKPOINT_EVERY 1000000000UL /* instructions, unless said otherwise */

#define MAX_MACHINES 8

struct options {
	const char *vm;         /* its name among several; NULL: there is one */
	u64 share;              /* of the CPU; 0: not given */
	const char *live_gdb;   /* listen there for a debugger; NULL: none */
	bool gdb_wait;
	u64 jitter_ns, count;   /* fork */
	bool has_seed, has_jitter;
	/* VM */
	bool rng, virtio_console;
	const char *kernel, *initrd, *root, *append;
	struct net net;
	u64 mem_bytes, seed, rtc_epoch_s, poll_insns, epoch_insns;
	struct disk_option disk[MAX_DISKS];
	unsigned ndisks;
	const char *disk_at[MAX_DISKS]; /* of a recording's machine: where they are now; NULL: not given */
	/* limits; 0: none */
	u64 limit_insns, limit_vtime_ns, timeout_ms;
	/* recording */
	const char *output;
	bool sync, pack, force;
	u64 checkpoint_every;   /* instructions; 0: no checkpoints in the recording */
	/* what a boot loader is to give the hypervisor goes here; NULL: it runs now */
	const char *bundle;
	/* replay; POINTs are instruction counts */
	bool has_perturb, has_from, has_until, has_plant, bisect;
	u64 perturb, from, until, plant_at, plant_gpa;
	/* debug */
	const char *at;           /* "end", "begin", "crash"; NULL: at_insns */
	u64 at_insns, timeline_bytes;
	const char *listen, *gdb, *symbols, *modules; /* NULL: not given */
	bool console;
	const char *pcap;         /* log: where its frames go; NULL: its events are shown */
	const char *panic;        /* bt: a file with the hypervisor's words */
	/* ft primary, secondary */
	const char *peer, *link_listen, *arbiter, *status, *pair, *on_mismatch;
	u64 heartbeat_ms, detect_ms;
	bool rtc_now;
	char side;                /* 'a' or 'b'; 0: not given */
	bool follow;              /* ft status */
	/* ft demo; faults of a thousand datagrams */
	const char *kill, *keep, *client;
	u64 seconds, patience_s, rate, lose, duplicate, reorder;
	bool alone, plain;
	/* the rest */
	bool no_eof_char, verbose, quiet, stats, json;

	int noperands;
	char **operands;
};

/*
 * Reads argv into o, defaults first.  A complaint has been printed when it
 * returns anything but ST_OK.  argv[0] is the command's name.
 */
enum status options_parse(struct options *o, unsigned groups, int argc, char **argv) must_check;

/*
 * The same for several machines: what stands before the first --vm is every machine's, what
 * stands behind one is that one's.  None has operands.  *n of *o, which the caller frees, of whatever status;
 * without --vm one that has no name.
 */
enum status options_parse_several(struct options **o, unsigned *n, unsigned groups, int argc, char **argv) must_check;

/* The help text's part on each group. */
#define HELP_SEVERAL \
	"Several machines side by side, up to eight:\n" \
	"  --vm NAME           begins one; what stands before the first is for all of them, what\n" \
	"                      follows is for this one.  Each line shown begins with its NAME; the\n" \
	"                      first gets standard input, on a terminal Ctrl-A n gives the next one\n" \
	"                      the keyboard.  Seeds are 1, 2, ... unless given; networks are one\n" \
	"                      where --net switch=NAME is the same\n" \
	"  --share N           of the processor against the others', 1 to 1000 (default 100)\n"
#define HELP_VM \
	"The machine:\n" \
	"  --kernel FILE       a Linux bzImage, a multiboot or an ELF kernel\n" \
	"  --initrd FILE       its initial RAM disk or module\n" \
	"  --root DIR          the same, made of a directory: its files, modes and links,\n" \
	"                      without times and owners, so that it is the same every time\n" \
	"  --append STRING     the kernel's command line\n" \
	"  --mem SIZE          memory, a multiple of 2M (default 256M)\n" \
	"  --rng               a virtio source of random numbers, all of them from the seed\n" \
	"  --virtio-console    a virtio console (Linux: hvc0), far faster than the serial port: what is\n" \
	"                      typed goes to it, and what comes from both is shown\n" \
	"  --disk FILE[,ro|cow|rw][,room=SIZE]\n" \
	"                      a disk, raw; up to 8.  ro: not to be written; cow (the default):\n" \
	"                      what is written is kept apart, and gone with the machine; rw:\n" \
	"                      FILE is written, by 'record' when the run is over.  room: for what\n" \
	"                      is kept apart, 2M a touched region of 2M (default: the disk's size,\n" \
	"                      at most 1G); the guest sees errors when it is used up\n" \
	"  --smp N             vCPUs; 1 in this version\n" \
	"  --seed N            the machine's randomness (default 1)\n" \
	"  --rtc DATE|now      its clock at power-on, UTC: 2025-01-01, 2025-01-01T12:30:00Z,\n" \
	"                      @SECONDS (default 2025-01-01T00:00:00Z)\n" \
	"  --net KIND[,mac=MAC][,offload=off]   a network device, up to four; KIND is one of\n" \
	"    user              out through this host, without rights; the guest gets 10.0.2.15 by\n" \
	"                      DHCP, this host is 10.0.2.2.  user,hostfwd=tcp:127.0.0.1:8080-:80\n" \
	"                      lets connections in; udp, too, and several\n" \
	"    tap=NAME          a tap device of this host\n" \
	"    switch=NAME       a network of all your machines that name it\n" \
	"    udp=[ADDRESS]:PORT-[ADDRESS]:PORT   each frame a datagram, from this address to that\n" \
	"                      one and back, for a switch of your own; 127.0.0.1 unless given\n" \
	"    none              no network (default)\n" \
	"  --poll-insns N      instructions between two looks at the outside (default 1M)\n" \
	"  --epoch-insns N     instructions between two digests (default 200M)\n"
#define HELP_IMAGES \
	"  --kernel FILE, --initrd FILE, --root DIR, --disk N=FILE   its images are here now\n"
#define HELP_LIVE_GDB \
	"A debugger for the running machine:\n" \
	"  --gdb ADDRESS       let gdb connect ('target remote ADDRESS') and go backwards at once\n" \
	"                      in what has run so far: HOST:PORT, :PORT or PORT, on 127.0.0.1\n" \
	"                      without a host\n" \
	"  --gdb-wait          nothing runs before gdb says so\n" \
	"  --timeline-mem SIZE memory for checkpoints (default 768M)\n"
#define HELP_LIMITS \
	"Limits, the same on every machine; reaching one gives exit status 6:\n" \
	"  --limit-insns N     instructions: 500M, 5G\n" \
	"  --limit-vtime TIME  the guest's own time: 60s, 500ms, 2m\n"
#define HELP_RUN \
	"  --timeout TIME      host time, after which it is stopped: exit status 6\n" \
	"  --stats             counters at the end\n" \
	"  -v, --verbose       what QEMU and the hypervisor say\n" \
	"  -q, --quiet         no closing line\n"
#define HELP_PAIR \
	"The pair (its disks are cow or ro: each host has a copy of what is written; or shared):\n" \
	"  --peer HOST:PORT    where the other host's end of the link is (UDP)\n" \
	"  --listen [HOST:]PORT   where ours is (default: the peer's port, on every address)\n" \
	"  --arbiter URL       the store that says who is live, the same for both hosts:\n" \
	"                      iscsi://HOST[:PORT]/TARGET/LUN, scsi:/dev/sgN, or file:PATH, a\n" \
	"                      file of one machine\n" \
	"  --heartbeat TIME    a sign of life so often (default 50ms)\n" \
	"  --detect TIME       without one for so long the other is given up (default 150ms)\n" \
	"  --pair NAME         tells two pairs with one arbiter or network apart\n" \
	"  --on-mismatch reprotect|stop   when the two differ: copy the machine anew from the\n" \
	"                      live host (default), or stop both\n" \
	"  --status PATH       the socket 'reprise ft status' asks (default in $XDG_RUNTIME_DIR or /tmp)\n" \
	"  --side a|b          which of the two hosts this is; found out from the addresses,\n" \
	"                      needed where something between the two changes them\n" \
	"  --disk iscsi://HOST[:PORT]/TARGET/LUN,shared[,room=SIZE]\n" \
	"                      a disk that is one for both hosts: a unit, of the kind an arbiter needs.\n" \
	"                      A write is made when the other host has executed it, too.  Not with -o.\n" \
	"                      room: for what was ever written, which is in memory, too (default 1G)\n"
#define HELP_CONSOLE \
	"Standard input is the guest's console.  A terminal is put into raw mode: Ctrl-A x\n" \
	"leaves, Ctrl-A h lists the keys.  A pipe's or file's bytes are typed as fast as the\n" \
	"guest takes them, then one Ctrl-D; with /dev/null nothing is typed.\n" \
	"  --no-eof-char       no Ctrl-D at the end of input\n"

#endif
