# bench.sh - fixed work of every common kind: processor, system calls, forks,
# pipes, files.  The same on every machine, so that runs can be compared; about
# four seconds of a processor at a thousand million instructions a second.
cd /tmp

numbers() { # N: N pseudo-random lines
	awk -v n="$1" 'BEGIN { x = 1; for (i = 0; i < n; i++) { x = (x * 16807) % 2147483647; print x, i } }'
}

echo "bench: data"
numbers 40000 > data
cat data data data data > big

echo "bench: processor"
sha256sum big
md5sum big
gzip -1 -c big > big.gz
gzip -dc big.gz | cmp - big && ls -l big.gz | awk '{ print $5 }'
sort -n data | sha256sum
awk '{ s += $1 * $2 % 7 } END { print s }' data
i=0
while [ $i -lt 20000 ]; do i=$((i + 1)); done

echo "bench: processes"
i=0
while [ $i -lt 300 ]; do
	/bin/true
	i=$((i + 1))
done
i=0
while [ $i -lt 100 ]; do
	(exit 0)
	x=$(echo $i)
	i=$((i + 1))
done

echo "bench: pipes"
cat big | cat | cat | tr 0-9 a-j | wc -c
dd if=/dev/zero bs=512 count=20000 2> /dev/null | wc -c

echo "bench: files"
mkdir tree
i=0
while [ $i -lt 400 ]; do
	echo "file $i" > tree/$i
	i=$((i + 1))
done
tar -cf tree.tar tree
rm -rf tree
tar -xf tree.tar
find tree -type f | wc -l
cat tree/* | sha256sum
rm -rf tree tree.tar data big big.gz
sync
