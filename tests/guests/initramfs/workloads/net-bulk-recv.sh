# net-bulk-recv.sh - all that peer= ADDRESS:PORT sends, where bulk waits for us; checked.
bulk recv "$peer"
