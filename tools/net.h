/*
 * net.h - the guest's network devices: --net, and what QEMU is told about them.
 *
 *   user[,hostfwd=[tcp|udp]:[address]:PORT-[address]:PORT]...   QEMU's network in user space
 *   tap=NAME      a tap device of this host
 *   switch=NAME   a bus of all machines of this user that name it: UDP to a multicast
 *                 group on the loopback device, both hashed from user and name; no
 *                 program runs it.  Whatever runs on this host can listen in and speak.
 *                 Machines of one hypervisor are on a switch in it, which leads to that bus.
 *   udp=ADDRESS:PORT-ADDRESS:PORT   each frame a datagram, from here to there and back; both
 *                 addresses 127.0.0.1 unless given.  For a switch of the user's own
 *   none          no network
 *
 * each with ,mac=ADDRESS if wished, and ,offload=off: then the guest is not offered to leave checksums and
 * the cutting of long TCP segments to the device [kernel/netpacket.h].  A NIC of the guest is known by its address to all
 * sides: HEAD's nicN_mac, QEMU's device, the hypervisor's [session/net.c].
 */
#ifndef TOOLS_NET_H
#define TOOLS_NET_H

#include "tools/qemu.h"
#include "tools/tool.h"

#define NET_MAX_FORWARDS 16
#define NET_MAX_NICS 4     /* of a machine */
#define NET_MAX_LANS 8

enum net_kind { NET_USER, NET_TAP, NET_SWITCH, NET_UDP };

struct net_forward {
	bool udp;
	char host[16], guest[16]; /* IPv4 addresses; empty: any of this host's, the guest's first */
	u16 host_port, guest_port;
};

struct net_nic {
	enum net_kind kind;
	char name[33];            /* of the tap device or switch */
	u8 mac[6];                /* all zeros: not settled yet */
	bool no_offload;
	struct net_forward forward[NET_MAX_FORWARDS]; /* of udp the first one: "host" is here, "guest" there */
	unsigned nforwards;
};

struct net {
	bool none;
	unsigned n;
	struct net_nic nic[NET_MAX_NICS];
	const struct net *before; /* of the machine before it, of several in one hypervisor: addresses differ from its, too; or NULL */
};

/* The switches of several machines in one hypervisor [session/vswitch.h]. */
struct net_lans {
	unsigned n;
	struct net_nic first[NET_MAX_LANS]; /* on each of them */
};

/* One --net option. */
enum status net_parse(struct net *net, const char *arg) must_check;

/* All options are there: each NIC gets an address of its own, on a switch among all that are on it. */
enum status net_settle(struct net *net) must_check;

/* HEAD's lines. */
void net_describe(const struct net *net, struct buf *head);
/* One of the NICs has offloads: another machine model. */
bool net_offloads(const struct net *net);

/*
 * What QEMU is told, with the tap devices opened, is added to the *n of nics; and to conf what
 * session.conf says of them.  With lans, a NIC on a switch is on one of those instead.
 */
enum status net_open(const struct net *net, struct net_lans *lans, struct qemu_nic nics[QEMU_MAX_NICS], unsigned *n,
		     struct buf *conf) must_check;

/* The same for the devices by which switches lead to other hypervisors of this host. */
enum status net_open_lans(const struct net_lans *lans, struct qemu_nic nics[QEMU_MAX_NICS], unsigned *n, struct buf *conf) must_check;

/*
 * The devices of a recording's machine, connected to nothing: what the hypervisor does before
 * the guest starts is then the same to the last TLB flush [steady.c].
 */
void net_unplugged(const struct buf *head, struct qemu_nic nics[QEMU_MAX_NICS], unsigned *n);

/* What QEMU's last line means if it is about a network: false if it is not. */
bool net_explain(const char *line, char *text, size_t size);

#endif
