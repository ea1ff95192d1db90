# disk-dd.sh - two disks: the first, from= (/dev/vda), is read; the second, to= (/dev/vdb), is
# written, read again, made a file system of and filled with files.  mb= megabytes each (8).
# What was written is in memory too, until the caches are dropped: then it is read from the disk.
mb=${mb:-8} from=${from:-/dev/vda} to=${to:-/dev/vdb}
drop() {
	sync
	echo 3 > /proc/sys/vm/drop_caches
}
is() { # NAME STATUS
	if [ "$2" = 0 ]; then echo "disk-dd: $1: good"; else echo "disk-dd: $1: BAD"; fi
}
sum() { # FILE: of its first megabytes
	dd if="$1" bs=64k count=$((mb * 16)) 2> /dev/null | sha256sum
}

first=$(sum "$from")
echo "disk-dd: $from ${first%% *}"
drop
[ "$(sum "$from")" = "$first" ]; is 'read twice' $?

dd if="$from" of="$to" bs=64k count=$((mb * 16)) conv=fsync 2> /dev/null; is written $?
drop
[ "$(sum "$to")" = "$first" ]; is 'read back' $?
# Some sectors in the middle of others, past every cache.
i=0
while [ $i -lt 20 ]; do
	echo "sector $i, $i times seven is $((i * 7))" | dd of="$to" bs=512 seek=$((i * 761)) conv=notrunc,sync 2> /dev/null
	i=$((i + 1))
done
drop
i=0 bad=0
while [ $i -lt 20 ]; do
	read -r line <<- END
	$(dd if="$to" bs=512 skip=$((i * 761)) count=1 2> /dev/null | tr -d '\0')
	END
	[ "$line" = "sector $i, $i times seven is $((i * 7))" ] || bad=1
	i=$((i + 1))
done
is 'single sectors' $bad

mke2fs -F "$to" > /dev/null; is mke2fs $?
mkdir -p /tmp/disk
mount -t ext2 "$to" /tmp/disk; is mount $?
i=0
while [ $i -lt 40 ]; do
	mkdir -p /tmp/disk/$((i % 5))
	dd if="$from" of=/tmp/disk/$((i % 5))/$i bs=1k skip=$((i * 31)) count=$((i + 1)) 2> /dev/null
	i=$((i + 1))
done
(cd /tmp/disk && find . -type f | sort | xargs sha256sum) > /tmp/sums
umount /tmp/disk; is umount $?
drop
mount -t ext2 "$to" /tmp/disk; is 'mount again' $?
(cd /tmp/disk && sha256sum -c -s /tmp/sums); is 'its files' $?
rm -rf /tmp/disk/3
umount /tmp/disk
echo "disk-dd: files $(sha256sum < /tmp/sums | cut -d ' ' -f 1)"
