# echo-server.sh - seqd on port= (7) until connections= (1) have ended; log= a disk to keep a
# record of every request on, flushed after every sync= of them.
seqd --port "${port:-7}" --connections "${connections:-1}" ${log:+--log "$log"} ${sync:+--sync "$sync"}
