/*
 * ftwire.c - a packet socket with a ring, packet(7)'s TPACKET_V2.  See ftwire.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tools/ftwire.h"
#include "tools/pcapng.h"

#define SHORT_BYTES 96   /* of each frame, if they are not kept */
#define LONG_BYTES 1920
#define BLOCK_BYTES (256u << 10)
#define NBLOCKS 16u

/* ---- opening ---- */

/*
 * So much of each frame on the taps: the link's bursts elsewhere would fill the ring.  What is no sign of life
 * is sorted out here, and kept if asked.
 */
static bool shorten(const struct wire *w, u32 bytes)
{
	struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (u32)(SKF_AD_OFF + SKF_AD_IFINDEX)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (u32)w->tap[0], 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (u32)w->tap[1], 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, bytes),
	};
	const struct sock_fprog program = { .len = ARRAY_SIZE(insns), .filter = insns };

	return !setsockopt(w->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static bool map_ring(struct wire *w, bool whole)
{
	int version = TPACKET_V2;
	struct tpacket_req r = { .tp_block_size = BLOCK_BYTES, .tp_block_nr = NBLOCKS, .tp_frame_size = whole ? 2048 : 256 };

	r.tp_frame_nr = r.tp_block_size / r.tp_frame_size * r.tp_block_nr;
	w->frame_bytes = r.tp_frame_size;
	w->nframes = r.tp_frame_nr;
	w->ring_bytes = (size_t)r.tp_block_size * r.tp_block_nr;
	if (setsockopt(w->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(w->fd, SOL_PACKET, PACKET_RX_RING, &r, sizeof(r)))
		return false;
	w->ring = mmap(NULL, w->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
	if (w->ring == MAP_FAILED)
		w->ring = NULL;
	return w->ring;
}

enum status wire_begin_file(FILE **f, const char *path, const char *comment, const char *const *interfaces, unsigned n)
{
	static const u8 no_mac[6];

	*f = fopen(path, "wbe");
	if (!*f)
		return complain(ST_HOST, "%s: %s; give --keep another directory", path, strerror(errno));
	pcapng_begin(*f, "reprise ft demo", comment);
	for (unsigned i = 0; i < n; i++)
		pcapng_interface(*f, interfaces[i], no_mac);
	return ST_OK;
}

enum status wire_open(struct wire *w, const char *const taps[2], const u8 guest_mac[6], const char *file)
{
	const struct sockaddr_ll all = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };

	*w = (struct wire){ .fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) };
	memcpy(w->guest_mac, guest_mac, 6);
	for (unsigned i = 0; i < 2; i++)
		w->tap[i] = (int)if_nametoindex(taps[i]);
	if (w->fd < 0 || !shorten(w, file ? LONG_BYTES : SHORT_BYTES) || !map_ring(w, file) ||
	    bind(w->fd, (const struct sockaddr *)&all, sizeof(all))) {
		enum status st = complain(ST_HOST, "ft demo: capturing frames: %s; is this a kernel with packet sockets?", strerror(errno));

		wire_close(w);
		return st;
	}
	return file ? wire_begin_file(&w->file, file, "taps of host a and host b", taps, 2) : ST_OK;
}

void wire_close(struct wire *w)
{
	if (w->ring)
		munmap(w->ring, w->ring_bytes);
	if (w->fd >= 0)
		close(w->fd);
	if (w->file)
		fclose(w->file);
	*w = (struct wire){ .fd = -1 };
}

/* ---- frames ---- */

static u64 real_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static void on_packet(struct wire *w, const struct tpacket2_hdr *h, u64 real_to_monotonic, void (*on_frame)(void *, const struct wire_frame *),
		      void *ctx)
{
	const struct sockaddr_ll *from = (const void *)((const u8 *)h + TPACKET_ALIGN(sizeof(*h)));
	const u8 *data = (const u8 *)h + h->tp_mac;
	u64 real_ns = (u64)h->tp_sec * 1000000000u + h->tp_nsec;
	unsigned host = from->sll_ifindex == w->tap[1];

	if (from->sll_ifindex != w->tap[host])
		return;
	if (w->file)
		pcapng_packet(w->file, host, real_ns, from->sll_pkttype == PACKET_OUTGOING, data, h->tp_snaplen, NULL);
	/* What goes out of the bridge to a host is the bridge's copy. */
	if (from->sll_pkttype == PACKET_OUTGOING || h->tp_snaplen < ETH_HLEN || memcmp(data + ETH_ALEN, w->guest_mac, ETH_ALEN))
		return;
	/* The ring's order is the true one; two clocks read in turn could bend it by a microsecond. */
	w->last_ns = MAX(w->last_ns, real_ns + real_to_monotonic);
	on_frame(ctx, &(struct wire_frame){ .host = host, .at_ns = w->last_ns, .size = h->tp_len, .data = data });
}

void wire_turn(struct wire *w, void (*on_frame)(void *ctx, const struct wire_frame *f), void *ctx)
{
	u64 real_to_monotonic = host_ns() - real_now_ns();
	struct tpacket_stats stats = { 0 };
	socklen_t size = sizeof(stats);

	if (!w->ring)
		return;
	for (;;) {
		struct tpacket2_hdr *h = (void *)(w->ring + (size_t)w->next * w->frame_bytes);

		if (!(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
			break;
		on_packet(w, h, real_to_monotonic, on_frame, ctx);
		__atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		w->next = (w->next + 1) % w->nframes;
	}
	/* Reading them sets them to zero. */
	if (!getsockopt(w->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size))
		w->dropped += stats.tp_drops;
}
