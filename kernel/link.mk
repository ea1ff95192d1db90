# link.mk - the hypervisor's image, linked twice: the second link carries the
# first one's symbol table, for backtraces.  Adding it must move no function.

# -Wnull-dereference is for one file: across all of them it knows paths that nobody takes.
KLINK = $(CC) $(KFLAGS) $(LTO) -Wno-null-dereference -nostdlib -static -Wl,-T,kernel/reprise.ld -Wl,--build-id=sha1 \
	-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack
# Asked for when it is needed: before that there may be no compiler.
LIBS = $$($(CC) -print-file-name=liblz4.a) -lgcc

# $(call link_kernel,objects): recipe for $@ out of them.
link_kernel = $(call say,LD,$@)$(call put,$(KLINK) -o $$t.1 $1 $(LIBS) && \
	kernel/symbols.sh $$t.1 > $$t.S && $(CC) -c $$t.S -o $$t.o && \
	$(KLINK) -o $$t $1 $$t.o $(LIBS) && \
	kernel/symbols.sh $$t | cmp - $$t.S)

KERNEL_PARTS := kernel/reprise.ld kernel/symbols.sh $(O)/files
$(O)/kernel/reprise.elf: $(KOBJ) $(KERNEL_PARTS)
	$(call link_kernel,$(KOBJ))

# The substrate alone, with its own test in place of the layers above.
SELFTEST_OBJ := $(filter $(O)/kernel/kernel/%,$(KOBJ)) $(addprefix $(O)/kernel/kernel/,selftest.o selftest_devices.o)
$(O)/kernel/selftest.elf: $(SELFTEST_OBJ) $(KERNEL_PARTS)
	$(call link_kernel,$(SELFTEST_OBJ))

-include $(addprefix $(O)/kernel/kernel/,selftest.d selftest_devices.d)

# The substrate with a machine that only speaks SCSI [tests/system/arbiter.sh].
ARBITER_FT := word scsi reserve store_block arbiter_scsi fence_scsi
ARBITER_OBJ := $(filter $(O)/kernel/kernel/%,$(KOBJ)) $(ARBITER_FT:%=$(O)/kernel/ft/%.o) $(O)/kernel/tests/system/arbiter_machine.o
$(O)/kernel/arbiter.elf: $(ARBITER_OBJ) $(KERNEL_PARTS)
	$(call link_kernel,$(ARBITER_OBJ))

-include $(O)/kernel/tests/system/arbiter_machine.d
