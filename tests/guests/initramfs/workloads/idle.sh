# idle.sh - nothing to do, and now and then a little: ten guest seconds.
i=0
while [ $i -lt 10 ]; do
	sleep 1
	i=$((i + 1))
	echo "idle: $i, up $(cut -d ' ' -f 1 /proc/uptime)"
done
