# again.sh - the workload what= again and again, a line each time it is done; for measuring.
n=0
while :; do
	if sh "/workloads/$what.sh" > /dev/null 2>&1; then
		n=$((n + 1))
		echo "again: $what done $n times, up $(cut -d ' ' -f 1 /proc/uptime)"
	else
		sleep 0.2
	fi
done
