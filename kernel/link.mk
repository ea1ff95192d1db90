# link.mk - the hypervisor's image, linked twice: the second link carries the
# first one's symbol table, for backtraces.  Adding it must move no function.

LIBLZ4 := $(shell $(CC) -print-file-name=liblz4.a)
KLINK = $(CC) -nostdlib -static -no-pie -Wl,-T,kernel/reprise.ld -Wl,--build-id=none \
	-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack

# $(call link_kernel,objects): recipe for $@ out of them.
define link_kernel
$(call say,LD,$@)$(KLINK) -o $@.1 $1 $(LIBLZ4) -lgcc
$(Q)kernel/symbols.sh $@.1 > $@.symbols.S
$(Q)$(CC) -c $@.symbols.S -o $@.symbols.o
$(Q)$(KLINK) -o $@.2 $1 $@.symbols.o $(LIBLZ4) -lgcc
$(Q)kernel/symbols.sh $@.2 | cmp - $@.symbols.S
$(Q)mv $@.2 $@ && rm -f $@.1
endef

$(O)/kernel/reprise.elf: $(KOBJ) kernel/reprise.ld kernel/symbols.sh
	$(call link_kernel,$(KOBJ))

# The substrate alone, with its own test in place of the layers above.
SELFTEST_OBJ := $(filter $(O)/kernel/kernel/%,$(KOBJ)) $(O)/kernel/kernel/selftest.o
$(O)/kernel/selftest.elf: $(SELFTEST_OBJ) kernel/reprise.ld kernel/symbols.sh
	$(call link_kernel,$(SELFTEST_OBJ))

-include $(O)/kernel/kernel/selftest.d
