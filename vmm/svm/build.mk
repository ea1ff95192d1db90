# files of this directory: kernel-y, host-y, portable-y
