# reqresp.sh - requests and answers without a disk: seqd on port= (7), for connections= (1).
seqd --port "${port:-7}" --connections "${connections:-1}"
