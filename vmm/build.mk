portable-y += vmm/state.c vmm/vclock.c vmm/cpustate.c
portable-y += vmm/guestmem.c vmm/disk.c vmm/image.c vmm/nested.c vmm/walk.c
portable-y += vmm/vm.c vmm/run.c vmm/exits.c vmm/board.c vmm/board_pci.c vmm/cpuid.c vmm/msr.c
portable-y += vmm/decode.c vmm/decode_tables.c vmm/emulate.c vmm/emulate_alu.c vmm/emulate_operand.c vmm/emulate_string.c
portable-y += vmm/linuxboot.c vmm/elfboot.c vmm/guestload.c vmm/acpi.c vmm/acpi_pci.c
kernel-y += vmm/selftest.c vmm/microguests.S
