# chunks.awk - how many bytes of a recording are what [docs/RECORDING.md 2 and 3].
#
# Reads the file as decimal bytes (od -An -v -tu1); prints, tab-separated:
#   size  NAME  head|host|events|image|end|other|total  BYTES  CHUNKS
{ for (i = 1; i <= NF; i++) byte[n++] = $i }

function varint(	value, shift, b) {
	shift = 1
	do {
		b = byte[at++]
		value += (b % 128) * shift
		shift *= 128
	} while (b >= 128)
	return value
}

END {
	split("head host events image end", kinds)
	at = 32
	while (at < n && byte[at]) {
		began = at
		type = byte[at++]
		stored = varint()
		if (int(type / 32) % 2)
			varint() # the size when expanded
		at += stored + 8
		kind = (type % 32 in kinds) ? kinds[type % 32] : "other"
		bytes[kind] += at - began
		count[kind]++
	}
	for (kind in bytes)
		print "size\t" name "\t" kind "\t" bytes[kind] "\t" count[kind]
	print "size\t" name "\ttotal\t" n "\t1"
}
