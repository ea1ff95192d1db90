# What a recording is, and the boundaries that make and follow one.
portable-y += replay/recording_event.c replay/recording_write.c replay/recording_read.c replay/recording_lz4.c
portable-y += replay/lineage.c replay/live.c replay/record.c replay/replay.c replay/frames.c
portable-y += replay/$(if $(CONFIG_PERTURB),perturb,perturb_none).c
portable-y += replay/$(if $(CONFIG_INSPECT),inspect,inspect_none).c
portable-y += replay/checkpoint.c replay/stored.c replay/stored_read.c replay/timeline.c replay/frontier.c replay/scan.c replay/branch.c
