# devices.sh - sourced by init on a machine with a PCI bus, with its functions as "$@": drivers
# for the virtio devices that are there, and the network.
#
# On the kernel's command line (what it does not know becomes our environment):
#   ip=ADDRESS/BITS[,GATEWAY]   of eth0; 10.0.2.15/24,10.0.2.2 unless said otherwise
#   ip=dhcp, ip=none            asked for; left alone
load() { # MODULE...
	for module; do insmod "/lib/modules/$module.ko" || echo "init: $module: not loaded"; done
}

has_net= has_blk= has_console= has_rng=
for function; do
	read -r vendor < "$function/vendor"
	read -r device < "$function/device"
	case $vendor:$device in # transitional, modern
	0x1af4:0x1000 | 0x1af4:0x1041) has_net=y ;;
	0x1af4:0x1001 | 0x1af4:0x1042) has_blk=y ;;
	0x1af4:0x1003 | 0x1af4:0x1043) has_console=y ;;
	0x1af4:0x1005 | 0x1af4:0x1044) has_rng=y ;;
	esac
done
[ -z "$has_net$has_blk$has_console$has_rng" ] ||
	load virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci
[ -z "$has_blk" ] || load virtio_blk
[ -z "$has_rng" ] || load virtio-rng
[ -z "$has_console" ] || load virtio_console
[ -z "$has_net" ] || load failover net_failover virtio_net

network() { # eth0, by what ip= says
	# Nobody here speaks IPv6, and its first words come at random moments.
	echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
	ip link set lo up
	case ${ip:=10.0.2.15/24,10.0.2.2} in
	none) ;;
	dhcp) udhcpc -i eth0 -s /udhcpc.sh -n -q ;;
	*)
		ip link set eth0 up
		ip address add "${ip%,*}" dev eth0
		[ "$ip" = "${ip%,*}" ] || ip route add default via "${ip#*,}"
		mkdir -p /etc
		echo "nameserver 10.0.2.3" > /etc/resolv.conf
		;;
	esac
}
[ ! -e /sys/class/net/eth0 ] || network
