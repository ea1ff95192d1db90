# files of this directory: kernel-y, host-y, portable-y
portable-y += replay/recording_write.c replay/recording_read.c replay/recording_lz4.c

portable-y += replay/live.c replay/record.c replay/replay.c
kernel-y += replay/session.c
portable-y += replay/perturb.c
portable-y += replay/inspect.c
