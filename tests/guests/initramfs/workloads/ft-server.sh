# ft-server.sh - a server whose past can be looked at: seqd on port 7, with a record of every request
# on the disk log= (/dev/vda), flushed before it is answered; and on port 9 that disk, for whoever asks.
log=${log:-/dev/vda}
nc -ll -p 9 -e cat "$log" &
seqd --port 7 --connections 0 --log "$log" --sync 1
