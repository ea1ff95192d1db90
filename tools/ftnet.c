/*
 * ftnet.c - namespace, bridge, taps.  See ftnet.h.
 *
 * By ioctl, so that it needs no program; netdevice(7), and what Linux's headers say of bridges
 * (SIOCBRADDBR) and taps (TUNSETIFF).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/ftnet.h"

#define BRIDGE_ADDRESS "10.0.2.2"
#define BRIDGE_MASK "255.255.255.0"

const char *ftnet_tap(unsigned host)
{
	return host ? "tapb" : "tapa";
}

/* ---- namespaces ---- */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	int reason = errno;

	if (fd >= 0)
		close(fd);
	errno = reason;
	return good;
}

/* We are root in there, and ourselves outside, says user_namespaces(7). */
static bool become_root(uid_t uid, gid_t gid)
{
	char map[64];

	/* A group map may be written only by who has given up changing groups. */
	if (!write_file("/proc/self/setgroups", "deny"))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
	if (!write_file("/proc/self/uid_map", map))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)gid);
	return write_file("/proc/self/gid_map", map);
}

static enum status enter(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (!uid && !unshare(CLONE_NEWNET))
		return ST_OK;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return complain(ST_HOST, "ft demo: a network of its own: %s; allow user namespaces (sysctl user.max_user_namespaces=10000, "
				"kernel.unprivileged_userns_clone=1 where there is one), or be root", strerror(errno));
	if (!become_root(uid, gid))
		return complain(ST_HOST, "ft demo: a user namespace: %s; allow them fully (sysctl kernel.apparmor_restrict_unprivileged_userns=0 "
				"where there is one), or be root", strerror(errno));
	return ST_OK;
}

/* ---- interfaces ---- */

static bool on_interface(int s, unsigned long request, const char *name, struct ifreq *r)
{
	snprintf(r->ifr_name, sizeof(r->ifr_name), "%s", name);
	return !ioctl(s, request, r);
}

static bool up(int s, const char *name)
{
	struct ifreq r = { .ifr_flags = IFF_UP | IFF_RUNNING };

	return on_interface(s, SIOCSIFFLAGS, name, &r);
}

static bool set_address(int s, unsigned long request, const char *name, const char *address)
{
	struct ifreq r = { 0 };
	struct sockaddr_in *a = (struct sockaddr_in *)(void *)&r.ifr_addr;

	a->sin_family = AF_INET;
	return inet_aton(address, &a->sin_addr) && on_interface(s, request, name, &r);
}

/* Of its own: by default a bridge takes an adapter's, and changes it with them. */
static bool set_mac(int s, const char *name)
{
	static const u8 mac[6] = { 0x52, 0x54, 0x00, 0xfe, 0x00, 0x01 };
	struct ifreq r = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };

	memcpy(r.ifr_hwaddr.sa_data, mac, sizeof(mac));
	return on_interface(s, SIOCSIFHWADDR, name, &r);
}

static enum status add_bridge(int s)
{
	if (ioctl(s, SIOCBRADDBR, FTNET_BRIDGE) || !set_mac(s, FTNET_BRIDGE) ||
	    !set_address(s, SIOCSIFADDR, FTNET_BRIDGE, BRIDGE_ADDRESS) ||
	    !set_address(s, SIOCSIFNETMASK, FTNET_BRIDGE, BRIDGE_MASK) || !up(s, FTNET_BRIDGE) || !up(s, "lo"))
		return complain(ST_HOST, "ft demo: a bridge: %s; if the kernel has them as a module: modprobe bridge, as root", strerror(errno));
	return ST_OK;
}

/* One that stays when QEMU goes. */
static enum status add_tap(int s, const char *name)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	bool good;

	if (fd < 0)
		return complain(ST_HOST, "/dev/net/tun: %s; %s", strerror(errno), errno == EACCES ? "chmod 666 /dev/net/tun, as root" :
				"modprobe tun, as root");
	good = on_interface(fd, TUNSETIFF, name, &r) && !ioctl(fd, TUNSETPERSIST, 1);
	if (good) {
		r = (struct ifreq){ .ifr_ifindex = (int)if_nametoindex(name) };
		good = on_interface(s, SIOCBRADDIF, FTNET_BRIDGE, &r) && up(s, name);
	}
	close(fd);
	return good ? ST_OK : complain(ST_HOST, "ft demo: the tap %s: %s; is this a kernel with taps and bridges?", name, strerror(errno));
}

enum status ftnet_enter(void)
{
	enum status st = enter();
	int s;

	if (st)
		return st;
	/* Nobody here speaks it, and neighbours' talk would only blur the capture. */
	(void)!write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	(void)!write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return complain(ST_HOST, "ft demo: a socket: %s", strerror(errno));
	st = add_bridge(s);
	for (unsigned host = 0; !st && host < 2; host++)
		st = add_tap(s, ftnet_tap(host));
	close(s);
	return st;
}
