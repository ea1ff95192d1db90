# The pair: who may be live, and who may write.
portable-y += ft/word.c ft/scsi.c ft/reserve.c ft/store_block.c ft/arbiter_scsi.c ft/fence_scsi.c
