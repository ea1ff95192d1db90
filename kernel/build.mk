# The bare-metal substrate.  Linked by kernel/link.mk.
kernel-y += kernel/boot.S kernel/entry.S kernel/bootinfo.c kernel/main.c kernel/percpu.c \
	kernel/mm.c kernel/paging.c kernel/trap.c kernel/panic.c kernel/string.c kernel/malloc.c \
	kernel/fpu.c kernel/coroutine_switch.S kernel/coroutine.c kernel/console.c kernel/serial.c kernel/pic.c kernel/lapic.c kernel/time.c kernel/realtime.c \
	kernel/counter.c kernel/floatprobe.c kernel/pci.c kernel/msix.c kernel/virtio.c kernel/virtio_blk.c kernel/virtio_net.c kernel/virtio_scsi.c
portable-y += kernel/kfmt.c kernel/bundle.c kernel/kconf.c
