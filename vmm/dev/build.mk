portable-y += $(addprefix vmm/dev/,device.c uart.c pit.c pic.c lapic.c lapic_timer.c lapic_route.c ioapic.c rtc.c i8042.c acpipm.c debugexit.c)
portable-y += $(addprefix vmm/dev/,pci.c pci_msix.c virtq.c virtio.c virtio_pci.c virtio_legacy.c virtio_blk.c virtio_net.c virtio_console.c virtio_rng.c)
