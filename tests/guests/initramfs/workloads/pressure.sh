# pressure.sh - memory until there is none: anonymous memory and files fight for
# it, the kernel ages pages (clearing accessed bits it does not flush) and swaps
# to zram.  What was written is read again.
cd /tmp
for m in zsmalloc lzo-rle zram; do
	insmod /lib/modules/$m.ko || echo "pressure: no $m"
done
total=$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)
if [ -e /sys/block/zram0/disksize ]; then
	echo $((total / 2))K > /sys/block/zram0/disksize
	mkswap /dev/zram0 > /dev/null
	swapon /dev/zram0
fi
[ -e /sys/kernel/mm/lru_gen/enabled ] && echo "pressure: multi-generational LRU $(cat /sys/kernel/mm/lru_gen/enabled)"
echo 100 > /proc/sys/vm/swappiness
mount -t tmpfs -o size=$((total * 9 / 10))k tmpfs /root

# Half of the memory as files of text that compresses; a digest of each.
part=$((total / 20))
i=0
while [ $i -lt 10 ]; do
	yes "page of file $i, to be read again" | head -c ${part}k > /root/$i
	i=$((i + 1))
done
md5sum /root/? > /tmp/digests

# The rest as anonymous memory, touched again and again by several processes.
hog() { # NAME LINES
	awk -v name="$1" -v n="$2" 'BEGIN {
		for (i = 0; i < n; i++) a[i] = name " line " i " of many, to take some room in memory"
		for (r = 0; r < 2; r++) for (i = r; i < n; i += 7) s += length(a[i])
		print name, s
	}'
}
lines=$((total / 3 * 1024 / 220))
hog one $lines > one.out &
hog two $lines > two.out &
wait
cat one.out two.out

for round in 1 2; do
	md5sum -c -s /tmp/digests && echo "pressure: round $round: files intact"
	echo 3 > /proc/sys/vm/drop_caches
	cat /bin/busybox > /dev/null
	hog again $((lines / 2)) > again.out
done
awk '/^(pswpin|pswpout|pgscan_kswapd|pgscan_direct|pgsteal_kswapd|pgsteal_direct|oom_kill|pgactivate|pgdeactivate|pgrefill) /' /proc/vmstat
