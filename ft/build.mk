# The pair: the link, the roles, outputs that wait.
portable-y += ft/wire.c ft/stream.c ft/held.c ft/log.c
portable-y += ft/rules.c ft/pair.c ft/claim.c ft/link.c ft/ship.c ft/outlet.c ft/follow.c ft/copy.c ft/boundary.c
# Who may be live, and who may write.
portable-y += ft/word.c ft/scsi.c ft/reserve.c ft/store_block.c ft/arbiter_scsi.c ft/fence_scsi.c
