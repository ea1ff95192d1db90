# debug.awk - the tables of debug.sh out of its raw results (tab-separated; see row there).
#
# Of a few samples the median is given, with the smallest and the largest.

# --- gathering ------------------------------------------------------------------

function emit(line) {
	print line > tsv
}
{ emit("debug\t" $0) }
$1 == "host" { host[$2] = $3 }
$1 == "number" || $1 == "bytes" { number[$2] = $3 }
$1 == "left-out" { left_out[++nleft] = $2 }
$1 == "sample" {
	tried[$2]++
	if ($4 == "ok")
		add($2, $3)
	else if ($4 == "timeout")
		hung[$2]++
	else
		how[$2] = $4
}
$1 == "overhead" && $3 == 0 {
	add($2 "-s", $4)
	add($2 "-insns", $6)
	guest_insns = $7
	add($2 "-bytes", $8)
}
$1 == "fork" {
	nforks++
	fork_insns[nforks] = $3
	written[nforks] = $5
	own[nforks] = $6
	# Two lines of the hypervisor's read at once have no time between them: four instructions
	# in a nanosecond are more than QEMU does.
	fork_us[nforks] = $4 * 4000 >= $3 ? $4 : "-"
	if (fork_us[nforks] != "-")
		add("fork-us", $4)
	add("fork-insns", $3)
	add("fork-written", $5)
	add("fork-own", $6)
}

# --- numbers ----------------------------------------------------------------------

function add(key, value) {
	sample[key, ++samples[key]] = value
}
function sorted(key,	n, i, j, t) {
	n = samples[key]
	for (i = 1; i <= n; i++)
		s[i] = sample[key, i] + 0
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && s[j - 1] > s[j]; j--) {
			t = s[j]
			s[j] = s[j - 1]
			s[j - 1] = t
		}
	return n
}
# The smallest that so many per cent are not above.
function percentile(key, percent,	n, k) {
	n = sorted(key)
	k = n * percent / 100
	k = k > int(k) ? int(k) + 1 : int(k)
	return s[k < 1 ? 1 : k]
}
function middle(key,	n) {
	n = sorted(key)
	return n % 2 ? s[(n + 1) / 2] : (s[n / 2] + s[n / 2 + 1]) / 2
}
function ms(x) {
	return x < 10 ? sprintf("%.2f ms", x) : x < 1000 ? sprintf("%.0f ms", x) : sprintf("%.2f s", x / 1000)
}
function short(x) {
	return sprintf(x < 10 ? "%.2f" : "%.0f", x)
}
function commas(x,	t, out) {
	t = sprintf("%.0f", x)
	while (length(t) > 3) {
		out = "," substr(t, length(t) - 2) out
		t = substr(t, 1, length(t) - 3)
	}
	return t out
}

# --- lines ------------------------------------------------------------------------

# value and target alike in kind; target "": none.
function line(what, text, value, target, target_text, peer,	verdict) {
	verdict = target == "" ? "" : value <= target ? "reached" : "missed"
	text = sprintf("%-48s %22s  %9s  %-7s  %s", what, text, target_text, verdict, peer)
	sub(/ +$/, "", text)
	print text
	emit("debug-figure\t" what "\t" value "\t" (target == "" ? "-" : target) "\t" (verdict == "" ? "-" : verdict) "\t" (peer == "" ? "-" : peer))
}
# "12 ms [10-15]", or why not.
function spread(key,	n, scale) {
	n = sorted(key)
	if (!n)
		return !tried[key] ? "-" : hung[key] ? "> " host["patience"] " s" : "failed: " how[key]
	if (n == 1)
		return ms(s[1])
	scale = middle(key) >= 1000 ? 1000 : 1
	return sprintf("%s [%s-%s]", ms(middle(key)), short(s[1] / scale), short(s[n] / scale))
}
function note(key) {
	return samples[key] && hung[key] ? sprintf("; %d of %d > %d s", hung[key], tried[key], host["patience"]) : ""
}
function measured(what, key, target, target_text, peer) {
	if (!samples[key]) {
		line(what, spread(key), hung[key] ? 1e9 : "-", hung[key] ? target : "", target_text, peer)
		return
	}
	line(what, spread(key) note(key), middle(key), target, target_text, peer)
}
# What QEMU did, beside ours: its median and how many times ours, and how often it hung.
function peer_text(key, ours,	text) {
	if (!tried[key])
		return ""
	text = samples[key] ? "QEMU " ms(middle(key)) (ours > 0 ? sprintf(" (%.0f times)", middle(key) / ours) : "") : "QEMU -"
	if (hung[key])
		text = text ", hung " hung[key] " of " tried[key]
	else if (samples[key] < tried[key])
		text = text ", " tried[key] - samples[key] " of " tried[key] " " how[key]
	return text
}
function heading(what) {
	print ""
	printf "%-48s %22s  %9s\n", what, "measured", "target"
}

# --- the table -----------------------------------------------------------------------

function moving(	stored) {
	stored = samples["first-stored"] ? middle("first-stored") : 0
	heading("First prompt, at the end of a Linux boot")
	measured("  with stored checkpoints", "first-stored", 2000, "<= 2 s", peer_text("rr-end", stored))
	measured("  without", "first-plain", "", "")
	heading("reverse-stepi, at random points of that run")
	if (samples["step"]) {
		line("  median of " samples["step"], ms(percentile("step", 50)), percentile("step", 50), 50, "<= 50 ms",
			peer_text("rr-bs", percentile("step", 50)))
		line("  99 of 100 within", ms(percentile("step", 99)), percentile("step", 99), 300, "<= 300 ms")
		line("  the slowest", ms(percentile("step", 100)), percentile("step", 100), "", "")
		if (samples["step"] < tried["step"])
			line("  no answer", tried["step"] - samples["step"] " of " tried["step"], tried["step"] - samples["step"], 0, "none")
	} else {
		measured("  median", "step", 50, "<= 50 ms", peer_text("rr-bs", 0))
	}
	measured("  in gdb, mean of 100", "gdb-step", "", "")
	measured("  monitor goto, to such a point", "goto", "", "")
}
function backward() {
	heading("reverse-continue, from the end")
	measured("  to the beginning, the Linux boot", "begin-linux", "", "", peer_text("rr-bc", samples["begin-linux"] ? middle("begin-linux") : 0))
	measured("  ... the planted bug's run, 1.1 G instructions", "begin-1G", "", "")
	measured("  ... over a breakpoint never hit", "never-1G", "", "")
	measured("  breakpoint 10 M back, in the hot loop's page", "break-10M", "", "")
	measured("  ... 1 G back", "break-1G", "", "")
	measured("  watchpoint 10 M back", "watch-10M", "", "")
	measured("  ... 1 G back", "watch-1G", "", "")
	measured("  ... 10 M back, its cache line hot", "hot-10M", "", "")
	measured("  ... 1 G back, its cache line hot", "hot-1G", "", "")
	if (samples["condition"] && number["condition-hits"])
		line("  conditions evaluated, forward, a second",
			commas(number["condition-hits"] / middle("condition") * 1000), number["condition-hits"] / middle("condition") * 1000, "", "")
	else
		measured("  conditions evaluated, forward", "condition", "", "")
}
function recording(	h, t, i) {
	heading("Recording with checkpoints, the fixed workload")
	if (samples["record-insns"] && samples["checkpoints-insns"]) {
		h = middle("checkpoints-insns") / middle("record-insns") - 1
		for (i = 1; i <= samples["checkpoints-s"]; i++)
			add("in-turn", sample["checkpoints-s", i] / sample["record-s", i])
		t = middle("in-turn") - 1
		line("  host instructions, more than without", sprintf("%+.2f %%", 100 * h), h, 0.05, "<= +5 %")
		line("  time, more than without (" samples["checkpoints-s"] " in turn)", sprintf("%+.1f %%", 100 * t), t, 0.05, "<= +5 %")
		line("  bytes of the file, without", commas(middle("record-bytes")), middle("record-bytes"), "", "")
		line("  ... with", commas(middle("checkpoints-bytes")), middle("checkpoints-bytes"), "", "")
		line("  ... a thousand million guest instructions", commas(middle("checkpoints-bytes") / guest_insns * 1e9),
			middle("checkpoints-bytes") / guest_insns * 1e9, "", "")
	}
	if (number["stored"])
		line("  bytes of the Linux boot's file, with", commas(number["stored"]), number["stored"], "", "")
}
function fork_line(what, us, peer) {
	if (us == "-")
		line(what, "not clocked", us, "", "<= 5 ms", peer)
	else
		line(what, ms(us / 1000), us / 1000, 5, "<= 5 ms", peer)
}
function forks(	n, us) {
	heading("Forks of a 256 MiB Linux, one after the other")
	if (!nforks)
		return
	n = samples["fork-us"]
	us = n ? middle("fork-us") : 0
	fork_line("  the first", fork_us[1], peer_text("savevm", 0) (tried["savevm"] ? " to save it" : ""))
	fork_line("  the median" (n < nforks ? " of " n " that could be clocked" : ""), n ? us : "-",
		peer_text("loadvm", us / 1000) (tried["loadvm"] ? " to load it" : ""))
	fork_line("  the last, " nforks "th", fork_us[nforks], "")
	line("  host instructions: first, median, last", commas(fork_insns[1]) ", " commas(middle("fork-insns")) ", " commas(fork_insns[nforks]),
		middle("fork-insns"), "", "")
	line("  pages each wrote in 20 M: first, median, last", commas(written[1]) ", " commas(middle("fork-written")) ", " commas(written[nforks]),
		middle("fork-written"), "", "")
	line("  ... it keeps: first, median, last", commas(own[1]) ", " commas(middle("fork-own")) ", " commas(own[nforks]),
		middle("fork-own"), "", "", number["savevm"] ? "QEMU's file " commas(number["savevm"]) " bytes" : "")
}

END {
	print "Debugging: " host["rounds"] (host["rounds"] > 1 ? " rounds" : " round") " in " host["took"] " s, QEMU " host["qemu"] ", load before " \
		host["load-before"] ", after " host["load-after"] (host["busy"] ? "  ** BUSY: the seconds are not worth much **" : "")
	moving()
	backward()
	recording()
	forks()
	for (i = 1; i <= nleft; i++)
		if (!said[left_out[i]]++)
			names = names (names ? "; " : "") left_out[i]
	if (names)
		print "\nThe time was up; left out or not as often as meant: " names
}
