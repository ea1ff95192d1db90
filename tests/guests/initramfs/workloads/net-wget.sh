# net-wget.sh - a file from a web server: url=, fetched times= times (once), its size and checksum.
i=0
while [ $i -lt "${times:-1}" ]; do
	i=$((i + 1))
	wget -q -O /tmp/got "$url" || { echo "net-wget: $url: failed"; exit 1; }
	echo "net-wget: $(wc -c < /tmp/got) bytes, sha256 $(sha256sum < /tmp/got | cut -d ' ' -f 1)"
done
