# disk-1g.sh - a gigabyte of transfers, past the guest's caches: half of it written to to=
# (/dev/vdb) and half read, mb= megabytes of the disk (32) again and again; or less, gb_mb= megabytes.
mb=${mb:-32} to=${to:-/dev/vdb} rounds=$((${gb_mb:-1024} / 2 / ${mb:-32}))
i=0
while [ $i -lt $rounds ]; do
	dd if=/dev/zero of="$to" bs=1M count="$mb" oflag=direct 2> /dev/null || { echo "disk-1g: write failed"; exit 1; }
	dd if="$to" of=/dev/null bs=1M count="$mb" iflag=direct 2> /dev/null || { echo "disk-1g: read failed"; exit 1; }
	i=$((i + 1))
done
echo "disk-1g: $((2 * rounds * mb)) MB"
