# report.awk - the tables of bench.sh out of its raw results (tab-separated; see row there).
#
# Medians with the smallest and the largest.  A ratio is taken within a round, to the
# peer that ran minutes before on the same machine, and then its median.

# --- gathering ------------------------------------------------------------------

function add(what, key, value) {
	sample[what, key, ++samples[what, key]] = value
}
$1 == "host" { host[$2] = $3; emit("host", $2, $3) }
$1 == "overhead" { add("own_wall", "", $5); emit("overhead", $2, "wall_s", $5) }
$1 == "time" {
	if (!($3 in seen)) {
		seen[$3] = 1
		order[++norder] = $3
	}
	emit("round", $2, $3, $4, $5, $6, $7, $9, $10)
	if ($8 > own_most)
		own_most = $8
	if ($4 != 0) {
		broken[$3]++
		how[$3] = $4
		next
	}
	if ($5 != "-")
		add("boot", $3, $5)
	add("total", $3, $6)
	add("cpu", $3, $7)
	total[$2, $3] = $6
	cpu[$2, $3] = $7
	if ($9 != "-" && $9 != 0)
		add("log", $3, $9)
	if ($10 != "-")
		insns[$3] = $10
}
$1 == "stat" {
	stat[$2, $3] = $4
	if ($3 ~ /^exit\./) {
		reason = substr($3, 6)
		if (!(reason in known)) {
			known[reason] = 1
			reasons[++nreasons] = reason
		}
		cost[$2, reason] = $5
		exits[$2] += $4
		exit_insns[$2] += $5
	}
}
$1 == "size" { bytes[$2, $3] = $4; chunks[$2, $3] = $5 }

# --- numbers ----------------------------------------------------------------------

function sorted(what, key,	n, i, j, t) {
	n = samples[what, key]
	for (i = 1; i <= n; i++)
		s[i] = sample[what, key, i] + 0
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && s[j - 1] > s[j]; j--) {
			t = s[j]
			s[j] = s[j - 1]
			s[j - 1] = t
		}
	return n
}
function middle(n) {
	return n % 2 ? s[(n + 1) / 2] : (s[n / 2] + s[n / 2 + 1]) / 2
}
# "7.24 [6.9-8.1]"
function spread(what, key,	n) {
	n = sorted(what, key)
	if (!n)
		return "-"
	return n == 1 ? sprintf("%.2f", s[1]) : sprintf("%.2f [%.1f-%.1f]", middle(n), s[1], s[n])
}
function ratio(what, key, base,	r, n) {
	samples["ratio", key] = 0
	for (r = 1; r <= host["rounds"]; r++)
		if (what == "total" && ((r, key) in total) && ((r, base) in total))
			add("ratio", key, total[r, key] / total[r, base])
		else if (what == "cpu" && ((r, key) in cpu) && ((r, base) in cpu))
			add("ratio", key, cpu[r, key] / cpu[r, base])
	n = sorted("ratio", key)
	return n ? sprintf("%.2f", middle(n)) : "-"
}
function commas(x,	t, out) {
	t = sprintf("%.0f", x)
	while (length(t) > 3) {
		out = "," substr(t, length(t) - 2) out
		t = substr(t, 1, length(t) - 3)
	}
	return t out
}
function emit(a, b, c, d, e, f, g, h, i) {
	print a "\t" b "\t" c "\t" d "\t" e "\t" f "\t" g "\t" h "\t" i > tsv
}

function emit_spread(what, key, name,	n) {
	n = sorted(what, key)
	emit("time", key, name, n ? middle(n) : "-", s[1], s[n])
}

# --- the first table: times -----------------------------------------------------------

function title(key,	shift) {
	if (key == "tcg")
		return "QEMU"
	if (key == "icount")
		return "QEMU icount shift=0"
	shift = key
	sub(/^rr-[a-z]*-/, "", shift)
	if (key ~ /^rr-record/)
		return "QEMU rr=record " shift
	if (key ~ /^rr-replay/)
		return "QEMU rr=replay " shift
	return "Reprise " key
}
function times(	i, key, log_bytes) {
	print "Boot, fixed workload, power-off: whole processes, seconds; median" (host["rounds"] > 1 ? " [min-max]" : "")
	print ""
	printf "%-20s %-15s %-15s %-15s %7s %6s %10s\n", "", "boot s", "total s", "CPU s", "total/", "CPU/", "log"
	printf "%-20s %-15s %-15s %-15s %7s %6s %10s\n", "", "", "", "", "icount", "icount", "bytes"
	for (i = 1; i <= norder; i++) {
		key = order[i]
		if (!samples["total", key]) {
			printf "%-20s did not finish (%s)\n", title(key), how[key]
			emit("time", key, "did_not_finish", how[key])
			continue
		}
		log_bytes = sorted("log", key) ? middle(samples["log", key]) : 0
		printf "%-20s %-15s %-15s %-15s %7s %6s %10s", title(key), spread("boot", key), spread("total", key),
			spread("cpu", key), ratio("total", key, "icount"), ratio("cpu", key, "icount"), log_bytes ? commas(log_bytes) : "-"
		print broken[key] ? sprintf("\n%20s did not finish %d of %d times (%s)", "", broken[key], host["rounds"], how[key]) : ""
		emit_spread("boot", key, "boot_s")
		emit_spread("total", key, "total_s")
		emit_spread("cpu", key, "cpu_s")
		emit("time", key, "total_ratio", ratio("total", key, "icount"))
		emit("time", key, "cpu_ratio", ratio("cpu", key, "icount"))
		emit("time", key, "log_bytes", log_bytes ? log_bytes : "-")
	}
	print ""
	printf "Guest instructions (Reprise): %s\n", commas(insns["run"])
	printf "The bench itself: %.0f ms a process, at most %.0f ms of CPU to read a console\n",
		1000 * (sorted("own_wall", "") ? middle(samples["own_wall", ""]) : 0), 1000 * own_most
}

# --- the second table: the counter -----------------------------------------------------

function figure(what, value, text, target, target_text,	verdict) {
	verdict = target_text == "" ? "" : value <= target ? "reached" : "missed"
	printf "%-58s %16s  %10s  %s\n", what, text, target_text, verdict
	emit("figure", what, value, target_text == "" ? "-" : target, verdict == "" ? "-" : verdict)
}
function counter(	g, h, d, rd, other) {
	g = stat["run", "guest_insns"]
	h = stat["run", "host_insns"]
	d = stat["run", "digest_insns"]
	rd = stat["record", "digest_insns"]
	other = h - g - d - exit_insns["run"]
	print "Without noise, from the instruction counter (host load hardly moves it)"
	print ""
	printf "%-58s %16s  %10s\n", "", "measured", "target"
	if (g) {
		figure("host instructions per guest instruction, whole run", h / g, sprintf("%.4f", h / g), 1.05, "<= 1.05")
		figure("  of these, for the guest to execute", 1, "1.0000")
		figure("  ... for digests", d / g, sprintf("%.4f", d / g))
		figure("  ... for exits", exit_insns["run"] / g, sprintf("%.4f", exit_insns["run"] / g))
		figure("  ... between exits (timers, polls, console)", other / g, sprintf("%.4f", other / g))
		figure("record's host instructions more than run's", stat["record", "host_insns"] / h - 1,
			sprintf("%+.3f %%", 100 * (stat["record", "host_insns"] / h - 1)), 0.02, "<= +2 %")
		figure("host instructions an exit, overall", exit_insns["run"] / exits["run"],
			sprintf("%.0f", exit_insns["run"] / exits["run"]), 600, "<= 600")
		figure("instructions from entry to ready (images apart)", stat["run", "boot_insns"],
			commas(stat["run", "boot_insns"]), 20000000, "<= 20 M")
		figure("  ... then to load the guest's images", stat["run", "load_insns"], commas(stat["run", "load_insns"]))
		figure("digests in record", stat["record", "epochs"], commas(stat["record", "epochs"]))
		figure("  pages hashed", stat["record", "digest_pages"], commas(stat["record", "digest_pages"]))
		figure("  host instructions", rd, commas(rd))
		if (rd)
			figure("  host instructions a page", rd / stat["record", "digest_pages"],
				sprintf("%.0f", rd / stat["record", "digest_pages"]))
	}
	if (("bench", "events") in bytes && g)
		figure("digest bytes in the recording, per 50 M instructions", bytes["bench", "events"] / g * 50e6,
			sprintf("%.1f", bytes["bench", "events"] / g * 50e6))
	if (("shell", "total") in bytes) {
		figure("bytes of a scripted boot (uname -a, ls /proc, poweroff -f)", bytes["shell", "total"],
			commas(bytes["shell", "total"]), 4096, "<= 4 KiB")
		figure("  of these, its events: inputs and digests", bytes["shell", "events"], commas(bytes["shell", "events"]))
	}
}
function by_reason(	i, j, r, t, n, same) {
	if (!exits["run"])
		return
	for (i = 2; i <= nreasons; i++)
		for (j = i; j > 1 && cost["run", reasons[j - 1]] < cost["run", reasons[j]]; j--) {
			t = reasons[j]
			reasons[j] = reasons[j - 1]
			reasons[j - 1] = t
		}
	print ""
	printf "%-14s %10s %14s %18s %9s\n", "exits by reason", "exits", "host insns", "host insns each", "share"
	for (i = 1; i <= nreasons; i++) {
		r = reasons[i]
		n = stat["run", "exit." r]
		if (!n)
			continue
		printf "  %-13s %10s %14s %18s %8.1f%%\n", r, commas(n), commas(cost["run", r]), commas(cost["run", r] / n),
			100 * cost["run", r] / exit_insns["run"]
		emit("exit", r, n, cost["run", r])
	}
	printf "  %-13s %10s %14s %18s\n", "all", commas(exits["run"]), commas(exit_insns["run"]), commas(exit_insns["run"] / exits["run"])
	same = 1
	for (i = 1; i <= nreasons; i++)
		same = same && stat["run", "exit." reasons[i]] == stat["record", "exit." reasons[i]] &&
			stat["run", "exit." reasons[i]] == stat["replay", "exit." reasons[i]]
	print ""
	print "Exits of run, record and replay: " (same ? "the same, reason by reason" : "NOT the same")
	emit("exits-agree", same ? "yes" : "no")
}

END {
	print "Reprise and its peers: " host["rounds"] (host["rounds"] > 1 ? " rounds" : " round") ", QEMU " host["qemu"] ", " host["cpus"] " CPUs, " host["processor"]
	print "guest: " host["guest"]
	print "load before " host["load-before"] ", after " host["load-after"] (host["busy"] ? "  ** BUSY: the seconds are not worth much **" : "")
	print ""
	times()
	print ""
	counter()
	by_reason()
}
