# net-bulk-send.sh - bytes= (16M) to peer= ADDRESS:PORT, where bulk waits for us.
bulk send "${bytes:-16M}" "$peer"
