/*
 * test_net_tool.c - --net: what is understood, what is refused, what QEMU is told.
 */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <unistd.h>

#include "tools/net.h"

/* The netdev of one option, or NULL if it was refused. */
static const char *netdev_of(const char *arg)
{
	static struct qemu_nic nics[QEMU_MAX_NICS];
	struct net net = { 0 };
	struct buf conf = { 0 };
	unsigned n = 0;

	if (net_parse(&net, arg) || net_settle(&net) || net_open(&net, NULL, nics, &n, &conf))
		return NULL;
	buf_free(&conf);
	cr_assert_eq(n, 1);
	return nics[0].netdev;
}

Test(net_tool, rules_are_made_anew)
{
	static const struct { const char *arg, *netdev; } cases[] = {
		{ "user", "user,id=net0" },
		{ "user,hostfwd=tcp:127.0.0.1:8080-:80", "user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80" },
		{ "user,hostfwd=:127.0.0.1:8080-10.0.2.99:80", "user,id=net0,hostfwd=tcp:127.0.0.1:8080-10.0.2.99:80" },
		{ "user,hostfwd=::65535-:1", "user,id=net0,hostfwd=tcp::65535-:1" },
		{ "udp=:5000-:6000", "dgram,id=net0,local.type=inet,local.host=127.0.0.1,local.port=5000,remote.type=inet,remote.host=127.0.0.1,remote.port=6000" },
		{ "udp=0.0.0.0:1-10.0.0.7:2", "dgram,id=net0,local.type=inet,local.host=0.0.0.0,local.port=1,remote.type=inet,remote.host=10.0.0.7,remote.port=2" },
		{ "user,hostfwd=udp::007-:0080,hostfwd=tcp::1-:2", "user,id=net0,hostfwd=udp::7-:80,hostfwd=tcp::1-:2" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		cr_assert_str_eq(netdev_of(cases[i].arg), cases[i].netdev, "%s", cases[i].arg);
}

Test(net_tool, refused, .init = cr_redirect_stderr)
{
	static const char *const cases[] = {
		"", ",", "user,", "none,", "none,mac=52:54:00:12:34:56", "USER", "users", "nic", "tap", "tap=", "switch=", "tap=a/b", "switch=a b",
		"tap=a,script=/bin/sh", "tap=sixteenletters..", "switch=this-is-longer-than-thirty-two-letters", "switch=x,mcast=1.2.3.4",
		"user,script=x", "user,hostfwd", "user,hostfwd=", "user,hostfwd=tcp", "user,hostfwd=tcp:", "user,hostfwd=tcp::",
		"user,hostfwd=tcp::80", "user,hostfwd=tcp::80-", "user,hostfwd=tcp::80-:", "user,hostfwd=tcp::80-80", "user,hostfwd=sctp::80-:80",
		"user,hostfwd=tc::80-:80", "user,hostfwd=tcp::0-:80", "user,hostfwd=tcp::80-:65536", "user,hostfwd=tcp::+80-:80",
		"user,hostfwd=tcp:: 80-:80", "user,hostfwd=tcp::80 -:80", "user,hostfwd=tcp::80-:80x", "user,hostfwd=tcp::80-:80 ",
		"user,hostfwd=tcp::99999999999999999999-:80", "user,hostfwd=tcp:localhost:80-:80", "user,hostfwd=tcp:127.0.0.1.1:80-:80",
		"user,hostfwd=tcp:1.2.3:80-:80", "user,hostfwd=tcp:[::1]:80-:80", "user,hostfwd=tcp:255.255.255.2555:80-:80",
		"switch=a,hostfwd=tcp::80-:80", "tap=a,hostfwd=tcp::80-:80",
		"user,mac=", "user,mac=52:54:00:12:34", "user,mac=52:54:00:12:34:56:78", "user,mac=52-54-00-12-34-56", "user,mac=5:54:00:12:34:567",
		"user,mac=52:54:00:12:34:5g", "user,mac=00:00:00:00:00:00", "user,mac=ff:ff:ff:ff:ff:ff", "user,mac=01:00:5e:00:00:01",
		"user,mac=+2:54:00:12:34:56", "user,mac=52:54:00:12:34: 6", "user,mac=0x:54:00:12:34:56", "user,mac=52:54:00:12:34:56\n",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		cr_assert_null(netdev_of(cases[i]), "\"%s\"", cases[i]);
}

Test(net_tool, as_many_rules_as_fit)
{
	struct buf arg = { 0 }, want = { 0 };

	buf_printf(&arg, "user");
	buf_printf(&want, "user,id=net0");
	for (unsigned i = 0; i < NET_MAX_FORWARDS; i++) {
		buf_printf(&arg, ",hostfwd=tcp:127.127.127.127:%u-127.127.127.127:%u", 60000 + i, 60000 + i);
		buf_printf(&want, ",hostfwd=tcp:127.127.127.127:%u-127.127.127.127:%u", 60000 + i, 60000 + i);
	}
	buf_add(&arg, "", 1);
	buf_add(&want, "", 1);
	cr_assert_str_eq(netdev_of((char *)arg.data), (char *)want.data);
	buf_free(&arg);
	buf_free(&want);
}

Test(net_tool, addresses)
{
	struct net net = { 0 };
	struct buf head = { 0 };

	cr_assert(!net_parse(&net, "user,offload=off"));
	cr_assert(!net_parse(&net, "user,offload=off,mac=52:54:00:12:34:58"));
	cr_assert(!net_parse(&net, "user,offload=off"));
	cr_assert(!net_parse(&net, "user,offload=off,mac=AA:bb:cc:DD:ee:0f"));
	cr_assert(!net_settle(&net));
	net_describe(&net, &head);
	buf_add(&head, "", 1);
	/* The third one's own is taken by the second. */
	cr_assert_str_eq((char *)head.data, "nic0_mac=52:54:00:12:34:56\nnic1_mac=52:54:00:12:34:58\n"
					    "nic2_mac=52:54:00:12:34:5c\nnic3_mac=aa:bb:cc:dd:ee:0f\n");
	buf_free(&head);
}

Test(net_tool, on_a_switch, .init = cr_redirect_stderr)
{
	char arg[64], same[96];
	struct net first = { 0 }, second = { 0 }, third = { 0 };
	struct qemu_nic nics[QEMU_MAX_NICS];
	struct buf conf = { 0 };
	unsigned n = 0;

	snprintf(arg, sizeof(arg), "switch=unit-%d", (int)getpid());
	snprintf(same, sizeof(same), "%s,mac=52:54:00:12:34:5a", arg);
	cr_assert(!net_parse(&first, arg) && !net_settle(&first));
	cr_assert(!net_parse(&second, "user") && !net_parse(&second, arg) && !net_parse(&second, arg) && !net_settle(&second));
	cr_assert_eq(first.nic[0].mac[5], 0x56);
	cr_assert_eq(second.nic[0].mac[5], 0x56); /* another wire */
	cr_assert_eq(second.nic[1].mac[5], 0x57);
	cr_assert_eq(second.nic[2].mac[5], 0x58);
	cr_assert(!net_parse(&third, same) && !net_settle(&third));
	cr_assert(net_parse(&(struct net){ 0 }, same) == ST_OK);
	third = (struct net){ 0 };
	cr_assert(!net_parse(&third, same) && net_settle(&third) == ST_USAGE);
	cr_assert(!net_open(&second, NULL, nics, &n, &conf));
	buf_add(&conf, "", 1);
	cr_assert_str_eq((char *)conf.data, "nic_echo=6\n");
	cr_assert(n == 3 && strstr(nics[1].netdev, "mcast=239.255.") && strstr(nics[1].netdev, ",localaddr=127.0.0.1"));
	cr_assert_str_eq(strstr(nics[1].netdev, "mcast="), strstr(nics[2].netdev, "mcast="));
	buf_free(&conf);
}

/* Of several machines in one hypervisor: a switch in it, whose way out is one device for all of them. */
Test(net_tool, switches_of_several, .init = cr_redirect_stderr)
{
	char lan[64];
	static struct net one, two = { .before = &one };
	struct net_lans lans = { 0 };
	struct qemu_nic nics[QEMU_MAX_NICS];
	struct buf conf = { 0 };
	unsigned n = 0;

	snprintf(lan, sizeof(lan), "switch=several-%d", (int)getpid());
	cr_assert(!net_parse(&one, "user") && !net_parse(&one, lan) && !net_settle(&one));
	cr_assert(!net_parse(&two, lan) && !net_parse(&two, "switch=another") && !net_parse(&two, "user") && !net_settle(&two));
	cr_assert_eq(one.nic[0].mac[5], 0x56);
	cr_assert_eq(two.nic[0].mac[5], 0x5a);
	cr_assert(!net_open(&one, &lans, nics, &n, &conf) && !net_open(&two, &lans, nics, &n, &conf) && !net_open_lans(&lans, nics, &n, &conf));
	buf_add(&conf, "", 1);
	cr_assert_str_eq((char *)conf.data, "nic1_lan=0\nnic0_lan=0\nnic1_lan=1\nlan0_mac=02:52:50:00:00:00\nlan1_mac=02:52:50:00:00:01\n");
	cr_assert_eq(n, 4);
	cr_assert_str_eq(nics[1].netdev, "user,id=net1");
	cr_assert(strstr(nics[2].netdev, "socket,id=net2,mcast=239.255.") && strstr(nics[2].device, "netdev=net2,mac=02:52:50:00:00:00,"));
	memcpy(two.nic[2].mac, one.nic[0].mac, 6);
	cr_assert_eq(net_settle(&two), ST_USAGE);
	buf_free(&conf);
}

Test(net_tool, offloads_are_as_they_come, .init = cr_redirect_stderr)
{
	struct net net = { 0 };
	struct buf head = { 0 };

	cr_assert(!net_parse(&net, "user,offload=off") && !net_settle(&net) && !net_offloads(&net));
	cr_assert(!net_parse(&net, "user") && !net_parse(&net, "user,offload=off,offload=on") && !net_settle(&net));
	cr_assert(net_offloads(&net));
	net_describe(&net, &head);
	buf_add(&head, "", 1);
	cr_assert_str_eq((char *)head.data, "nic0_mac=52:54:00:12:34:56\nnic1_mac=52:54:00:12:34:57\nnic1_offload=1\n"
			 "nic2_mac=52:54:00:12:34:58\nnic2_offload=1\n");
	cr_assert_eq(net_parse(&net, "user,offload=no"), ST_USAGE);
	buf_free(&head);
}

Test(net_tool, a_recordings_devices)
{
	static const char text[] = "machine=3\nnic0_mac=52:54:00:12:34:56\nnic1_mac=52:54:00:aa:bb:cc\nnic3_mac=52:54:00:12:34:59\n";
	static const char evil[] = "nic0_mac=52:54:00:12:34:56,netdev=x\nnic1_mac=52:54:00:12:34:57\n";
	struct buf head = { 0 };
	struct qemu_nic nics[QEMU_MAX_NICS];
	unsigned n;

	buf_add(&head, text, sizeof(text) - 1);
	net_unplugged(&head, nics, &n);
	cr_assert_eq(n, 2);
	cr_assert_str_eq(nics[1].device, "virtio-net-pci,mac=52:54:00:aa:bb:cc" QEMU_NIC_OPTIONS);
	cr_assert(!nics[1].netdev[0] && nics[1].fd == -1);
	head.size = 0;
	buf_add(&head, evil, sizeof(evil) - 1);
	net_unplugged(&head, nics, &n);
	cr_assert_eq(n, 0);
	buf_free(&head);
}

Test(net_tool, words_of_qemu)
{
	char text[200];

	cr_assert(net_explain("qemu-system-x86_64: -netdev user,id=net0: Could not set up host forwarding rule 'tcp::80-:80'", text, sizeof(text)));
	cr_assert_str_eq(text, "--net: hostfwd=tcp::80-:80: QEMU cannot listen there; choose another port if this one is in use or below 1024");
	cr_assert(!net_explain("qemu-system-x86_64: could not set up something", text, sizeof(text)));
}
