#!/bin/busybox sh
# udhcpc.sh - what a DHCP server offers, put to use; udhcpc runs it.
case $1 in
deconfig)
	ip address flush dev "$interface"
	ip link set "$interface" up
	;;
bound | renew)
	ip address add "$ip/${mask:-24}" dev "$interface" 2> /dev/null
	for gateway in $router; do
		ip route replace default via "$gateway"
		break
	done
	mkdir -p /etc
	: > /etc/resolv.conf
	for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done
	;;
esac
