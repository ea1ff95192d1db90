/*
 * net.c - network devices on the command line and on QEMU's.  See net.h.
 *
 * Nothing of the user's goes to QEMU as it was written: names are checked or
 * hashed, forwarding rules are made anew from what was understood.
 *
 * Map: reading options; addresses; telling QEMU.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "kernel/kconf.h"
#include "kernel/xxh.h"
#include "tools/net.h"

#define MAC_FMT "%02x:%02x:%02x:%02x:%02x:%02x"
#define MAC_ARGS(m) (m)[0], (m)[1], (m)[2], (m)[3], (m)[4], (m)[5]
#define MAC_SIZE 18

/* ---- reading options ---- */

/* An IPv4 address or nothing, up to a colon: *at is behind that. */
static bool parse_address(const char **at, char address[16])
{
	const char *colon = strchr(*at, ':');
	size_t size = colon ? (size_t)(colon - *at) : 16;
	struct in_addr binary;

	if (size >= 16)
		return false;
	memcpy(address, *at, size);
	address[size] = 0;
	*at = colon + 1;
	return !size || inet_pton(AF_INET, address, &binary) == 1;
}

static bool parse_port(const char **at, char end, u16 *port)
{
	char *behind;
	unsigned long n = strtoul(*at, &behind, 10);

	if (**at < '0' || **at > '9' || *behind != end || !n || n > 65535)
		return false;
	*port = (u16)n;
	*at = behind + (end != 0);
	return true;
}

/* [tcp|udp]:[address]:PORT-[address]:PORT, as QEMU's hostfwd */
static bool parse_forward(struct net_forward *f, const char *rule)
{
	size_t protocol = strcspn(rule, ":");

	f->udp = protocol == 3 && !strncmp(rule, "udp", 3);
	if (protocol && !f->udp && (protocol != 3 || strncmp(rule, "tcp", 3)))
		return false;
	rule += protocol;
	if (*rule++ != ':')
		return false;
	return parse_address(&rule, f->host) && parse_port(&rule, '-', &f->host_port) &&
	       parse_address(&rule, f->guest) && parse_port(&rule, 0, &f->guest_port);
}

static bool parse_name(struct net_nic *nic, enum net_kind kind, const char *name)
{
	size_t most = kind == NET_TAP ? IFNAMSIZ - 1 : sizeof(nic->name) - 1;

	for (const char *c = name; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
			return false;
	nic->kind = kind;
	snprintf(nic->name, sizeof(nic->name), "%s", name);
	return *name && strlen(name) <= most;
}

/* ADDRESS:PORT-ADDRESS:PORT; without an address this computer's own */
static bool parse_udp(struct net_nic *nic, const char *rule)
{
	struct net_forward *f = &nic->forward[0];

	nic->kind = NET_UDP;
	return parse_address(&rule, f->host) && parse_port(&rule, '-', &f->host_port) && parse_address(&rule, f->guest) &&
	       parse_port(&rule, 0, &f->guest_port);
}

static enum status parse_kind(struct net_nic *nic, const char *word, const char *arg)
{
	nic->kind = NET_USER;
	if (!strcmp(word, "user"))
		return ST_OK;
	if (!strncmp(word, "tap=", 4) && parse_name(nic, NET_TAP, word + 4))
		return ST_OK;
	if (!strncmp(word, "switch=", 7) && parse_name(nic, NET_SWITCH, word + 7))
		return ST_OK;
	if (!strncmp(word, "udp=", 4) && parse_udp(nic, word + 4))
		return ST_OK;
	return complain(ST_USAGE, "--net: %s: not understood; give user, tap=NAME, switch=NAME, udp=:PORT-:PORT or none, NAME of letters, digits, . _ -",
			arg);
}

static enum status parse_setting(struct net_nic *nic, const char *word, const char *arg)
{
	if (!strncmp(word, "mac=", 4))
		return parse_mac(word + 4, nic->mac) ? ST_OK :
		       complain(ST_USAGE, "--net: %s: mac= is no address of a single device; give one like 52:54:00:12:34:56", arg);
	if (!strcmp(word, "offload=off") || !strcmp(word, "offload=on")) {
		nic->no_offload = !strcmp(word, "offload=off");
		return ST_OK;
	}
	if (strncmp(word, "hostfwd=", 8))
		return complain(ST_USAGE, "--net: %s: %s: not understood; there are mac=ADDRESS, offload=on|off and, of user, hostfwd=RULE", arg,
				word);
	if (nic->kind != NET_USER)
		return complain(ST_USAGE, "--net: %s: hostfwd= is for --net user only; leave it out", arg);
	if (nic->nforwards == NET_MAX_FORWARDS)
		return complain(ST_USAGE, "--net user: more than %u hostfwd; leave some out", NET_MAX_FORWARDS);
	if (!parse_forward(&nic->forward[nic->nforwards++], word + 8))
		return complain(ST_USAGE, "--net: %s: %s: not understood; give hostfwd=tcp:127.0.0.1:8080-:80, or udp", arg, word);
	return ST_OK;
}

enum status net_parse(struct net *net, const char *arg)
{
	char *words = need(strdup(arg)), *rest = words, *word = strsep(&rest, ",");
	struct net_nic *nic = &net->nic[net->n];
	enum status st = ST_OK;

	if (!strcmp(arg, "none")) {
		net->none = true;
	} else if (net->n == NET_MAX_NICS) {
		st = complain(ST_USAGE, "--net: %s: one more than the %u a machine has room for; leave it out", arg, NET_MAX_NICS);
	} else {
		*nic = (struct net_nic){ 0 };
		st = parse_kind(nic, word, arg);
		while (!st && (word = strsep(&rest, ",")))
			st = parse_setting(nic, word, arg);
		net->n++;
	}
	free(words);
	if (!st && net->none && net->n)
		st = complain(ST_USAGE, "--net none: given together with another --net; choose");
	return st;
}

/* ---- addresses ---- */

/* Of the devices by which switches lead out begin so: nobody sees them but the hypervisor, which knows its devices by it. */
static const u8 lan_mac[5] = { 0x02, 0x52, 0x50, 0x00, 0x00 };

static bool is_settled(const struct net_nic *nic)
{
	return memcmp(nic->mac, "\0\0\0\0\0", 6);
}

/*
 * A place on the switch: the address is ours while this process lives.  An abstract socket's name
 * is the lock; it is in the same network namespace as the switch.
 */
static bool claim(const struct net_nic *nic)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int size = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "reprise-switch/%u/%s/" MAC_FMT, getuid(), nic->name,
			    MAC_ARGS(nic->mac));

	if (!bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size)))
		return true; /* and stays open */
	close(fd);
	return false;
}

/* Another NIC of this machine has it, or of one beside it; or it is a switch's way out. */
static bool is_taken(const struct net *net, const struct net_nic *nic)
{
	for (; net; net = net->before)
		for (unsigned i = 0; i < net->n; i++)
			if (&net->nic[i] != nic && !memcmp(net->nic[i].mac, nic->mac, 6))
				return true;
	return !memcmp(nic->mac, lan_mac, sizeof(lan_mac));
}

/* 52:54:00:12:34:56 and up; those of several machines, in one hypervisor or on one switch, are four apart. */
static enum status choose_address(const struct net *net, struct net_nic *nic)
{
	for (unsigned n = 0; n < 16384; n++) {
		u32 low = 0x123456 + (u32)(nic - net->nic) + NET_MAX_NICS * n;
		const u8 mac[6] = { 0x52, 0x54, 0, (u8)(low >> 16), (u8)(low >> 8), (u8)low };

		memcpy(nic->mac, mac, 6);
		if (!is_taken(net, nic) && (nic->kind != NET_SWITCH || claim(nic)))
			return ST_OK;
	}
	return complain(ST_USAGE, "--net switch=%s: no address is free; give one with mac=", nic->name);
}

enum status net_settle(struct net *net)
{
	for (unsigned i = 0; i < net->n; i++) {
		struct net_nic *nic = &net->nic[i];

		if (!is_settled(nic))
			continue;
		if (is_taken(net, nic))
			return complain(ST_USAGE, "--net: two devices have the address " MAC_FMT "; give another mac=", MAC_ARGS(nic->mac));
		if (nic->kind == NET_SWITCH && !claim(nic))
			return complain(ST_USAGE, "--net switch=%s: another machine on it has the address " MAC_FMT "; give another mac=, or none",
					nic->name, MAC_ARGS(nic->mac));
	}
	for (unsigned i = 0; i < net->n; i++) {
		enum status st = is_settled(&net->nic[i]) ? ST_OK : choose_address(net, &net->nic[i]);

		if (st)
			return st;
	}
	return ST_OK;
}

void net_describe(const struct net *net, struct buf *head)
{
	for (unsigned i = 0; i < net->n; i++) {
		buf_printf(head, "nic%u_mac=" MAC_FMT "\n", i, MAC_ARGS(net->nic[i].mac));
		if (!net->nic[i].no_offload)
			buf_printf(head, "nic%u_offload=1\n", i);
	}
}

bool net_offloads(const struct net *net)
{
	for (unsigned i = 0; i < net->n; i++)
		if (!net->nic[i].no_offload)
			return true;
	return false;
}

/* ---- telling QEMU ---- */

static void describe_user(const struct net_nic *nic, struct qemu_nic *q)
{
	size_t size = strlen(q->netdev);

	for (unsigned i = 0; i < nic->nforwards && size < sizeof(q->netdev); i++) {
		const struct net_forward *f = &nic->forward[i];

		size += (size_t)snprintf(q->netdev + size, sizeof(q->netdev) - size, ",hostfwd=%s:%s:%u-%s:%u",
					 f->udp ? "udp" : "tcp", f->host, f->host_port, f->guest, f->guest_port);
	}
}

/* In 239.255.0.0/16, of this site [RFC 2365 6.1]; ports below those a system hands out by itself. */
static void describe_switch(const struct net_nic *nic, char *group, size_t size)
{
	char name[64];
	u64 hash;

	snprintf(name, sizeof(name), "%u/%s", getuid(), nic->name);
	hash = XXH64(name, strlen(name), 0);
	snprintf(group, size, "239.255.%u.%u:%u", (u8)(hash >> 8), (u8)hash, 20000 + (u32)(hash >> 32) % 10000);
}

static enum status open_tap(const struct net_nic *nic, int *fd)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	const char *why;

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", nic->name);
	if (!if_nametoindex(nic->name))
		return complain(ST_USAGE, "--net tap=%s: no such device; make it, as root: ip tuntap add dev %s mode tap user $USER && ip link set %s up",
				nic->name, nic->name, nic->name);
	*fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (*fd >= 0 && !ioctl(*fd, TUNSETIFF, &r))
		return ST_OK;
	why = errno == EINVAL ? "no tap device" : strerror(errno);
	if (errno == EBUSY)
		return complain(ST_USAGE, "--net tap=%s: another program has it; use a device for each machine", nic->name);
	return complain(ST_USAGE, "--net tap=%s: %s; is it yours? as root: ip tuntap add dev %s mode tap user $USER", nic->name, why,
			nic->name);
}

/* A device of QEMU's, of that number, with a netdev of its own. */
static void describe_device(struct qemu_nic *q, unsigned number, const u8 mac[6])
{
	q->fd = -1;
	snprintf(q->device, sizeof(q->device), "virtio-net-pci,netdev=net%u,mac=" MAC_FMT QEMU_NIC_OPTIONS, number, MAC_ARGS(mac));
}

static void describe_udp(const struct net_nic *nic, unsigned number, struct qemu_nic *q)
{
	static const char here[] = "127.0.0.1";
	const struct net_forward *f = &nic->forward[0];

	snprintf(q->netdev, sizeof(q->netdev), "dgram,id=net%u,local.type=inet,local.host=%s,local.port=%u,remote.type=inet,remote.host=%s,"
		 "remote.port=%u", number, *f->host ? f->host : here, f->host_port, *f->guest ? f->guest : here, f->guest_port);
}

static void describe_bus(const struct net_nic *nic, unsigned number, struct qemu_nic *q)
{
	char group[64];

	describe_switch(nic, group, sizeof(group));
	snprintf(q->netdev, sizeof(q->netdev), "socket,id=net%u,mcast=%s,localaddr=127.0.0.1", number, group);
}

static enum status no_room(void)
{
	return complain(ST_USAGE, "--net: more than %u network devices in one hypervisor; leave some out", QEMU_MAX_NICS);
}

static enum status open_nic(const struct net_nic *nic, struct qemu_nic nics[QEMU_MAX_NICS], unsigned *n)
{
	struct qemu_nic *q = &nics[*n];
	enum status st = ST_OK;

	if (*n == QEMU_MAX_NICS)
		return no_room();
	describe_device(q, *n, nic->mac);
	switch (nic->kind) {
	case NET_USER:
		snprintf(q->netdev, sizeof(q->netdev), "user,id=net%u", *n);
		describe_user(nic, q);
		break;
	case NET_TAP:
		st = open_tap(nic, &q->fd);
		snprintf(q->netdev, sizeof(q->netdev), "tap,id=net%u,fd=%d", *n, q->fd);
		break;
	case NET_SWITCH:
		describe_bus(nic, *n, q);
		break;
	case NET_UDP:
		describe_udp(nic, *n, q);
		break;
	}
	++*n;
	return st;
}

/* Its number among the switches; NET_MAX_LANS: there is no room for one more. */
static unsigned lan_of(struct net_lans *lans, const struct net_nic *nic)
{
	unsigned i = 0;

	while (i < lans->n && strcmp(lans->first[i].name, nic->name))
		i++;
	if (i == lans->n && i < NET_MAX_LANS)
		lans->first[lans->n++] = *nic;
	return i;
}

enum status net_open(const struct net *net, struct net_lans *lans, struct qemu_nic nics[QEMU_MAX_NICS], unsigned *n, struct buf *conf)
{
	enum status st = ST_OK;
	unsigned echo = 0;

	for (unsigned i = 0; i < net->n && !st; i++) {
		const struct net_nic *nic = &net->nic[i];
		unsigned lan;

		if (nic->kind != NET_SWITCH || !lans) {
			st = open_nic(nic, nics, n);
			echo |= nic->kind == NET_SWITCH ? 1U << i : 0;
			continue;
		}
		lan = lan_of(lans, nic);
		if (lan == NET_MAX_LANS)
			st = complain(ST_USAGE, "--net switch=%s: one more than the %u switches of a hypervisor; leave it out", nic->name,
				      NET_MAX_LANS);
		buf_printf(conf, "nic%u_lan=%u\n", i, lan);
	}
	if (echo)
		buf_printf(conf, "nic_echo=%u\n", echo);
	return st;
}

enum status net_open_lans(const struct net_lans *lans, struct qemu_nic nics[QEMU_MAX_NICS], unsigned *n, struct buf *conf)
{
	for (unsigned i = 0; i < lans->n; i++) {
		const u8 mac[6] = { lan_mac[0], lan_mac[1], lan_mac[2], lan_mac[3], lan_mac[4], (u8)i };

		if (*n == QEMU_MAX_NICS)
			return no_room();
		describe_device(&nics[*n], *n, mac);
		describe_bus(&lans->first[i], *n, &nics[*n]);
		++*n;
		buf_printf(conf, "lan%u_mac=" MAC_FMT "\n", i, MAC_ARGS(mac));
	}
	return ST_OK;
}

void net_unplugged(const struct buf *head, struct qemu_nic nics[QEMU_MAX_NICS], unsigned *n)
{
	char key[16], value[MAC_SIZE];
	u8 mac[6];

	for (*n = 0; *n < NET_MAX_NICS; (*n)++) {
		struct qemu_nic *q = &nics[*n];

		snprintf(key, sizeof(key), "nic%u_mac", *n);
		if (!conf_get((const char *)head->data, head->size, key, value, sizeof(value)) || !parse_mac(value, mac))
			return;
		*q = (struct qemu_nic){ .fd = -1 };
		snprintf(q->device, sizeof(q->device), "virtio-net-pci,mac=" MAC_FMT QEMU_NIC_OPTIONS, MAC_ARGS(mac));
	}
}

bool net_explain(const char *line, char *text, size_t size)
{
	static const char forwarding[] = "Could not set up host forwarding rule '";
	const char *rule = strstr(line, forwarding);

	if (!rule)
		return false;
	rule += sizeof(forwarding) - 1;
	snprintf(text, size, "--net: hostfwd=%.*s: QEMU cannot listen there; choose another port if this one is in use or below 1024",
		 (int)strcspn(rule, "'"), rule);
	return true;
}
