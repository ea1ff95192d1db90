# build.mk - the tiny kernels: build/guests/NAME.elf from NAME.c, one a hard
# thing for a hypervisor.  What only one of them needs in assembly is in the
# library too: the linker takes what is used.

TINY := x87ptr rep smc irqs shadow faults tlb storm hlt tsc fpu modes mixture hostile stack stray modules bits
TINY_LIB := lib modes_switch
TINY_ELF := $(TINY:%=$(O)/guests/%.elf)
TINY_FLAGS = -std=gnu11 -O2 -g -I tests/guests $(WARN) -ffreestanding -mgeneral-regs-only -mno-red-zone -fno-pic \
	-fno-pie -mcmodel=small -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables \
	-fno-strict-aliasing
# clang's own assembler knows fewer mixtures of 16 and 32 bits.
TINY_AS = $(if $(findstring clang,$(CC)),-fno-integrated-as)

$(O)/guests/obj/%.o: tests/guests/%.c $(O)/flags | deps-build
	$(call say,GCC,$<)$(call compile,$(CC) $(TINY_FLAGS))
$(O)/guests/obj/%.o: tests/guests/%.S $(O)/flags | deps-build
	$(call say,GAS,$<)$(call compile,$(CC) $(TINY_FLAGS) $(TINY_AS))
# It is there to be unwound, in more than one way.
$(O)/guests/obj/stack.o: TINY_FLAGS += -fno-omit-frame-pointer
# Its module: the code as bytes, and what a debugger reads.
$(O)/guests/obj/mod-one.bin: $(O)/guests/obj/mod-one.o
	$(Q)$(call put,objcopy -O binary -j .text $< $$t)
$(O)/guests/ko/mod-number-one.ko: $(O)/guests/obj/mod-one.o
	$(Q)$(call put,cp $< $$t)
$(O)/guests/obj/modules.o: $(O)/guests/obj/mod-one.bin
$(O)/guests/obj/modules.o: TINY_FLAGS += -Wa,-I$(O)/guests/obj
$(O)/guests/obj/lib.a: $(TINY_LIB:%=$(O)/guests/obj/%.o)
	$(Q)rm -f $@ && ar rcsD $@ $^
$(O)/guests/%.elf: $(O)/guests/obj/%.o $(O)/guests/obj/start.o $(O)/guests/obj/lib.a tests/guests/guest.ld
	$(call say,GLD,$@)ld -nostdlib -static --build-id=none -z max-page-size=4096 -z noexecstack \
		--no-warn-rwx-segments -T tests/guests/guest.ld -o $@ $(O)/guests/obj/start.o $< $(O)/guests/obj/lib.a

tiny-guests: $(TINY_ELF) $(O)/guests/ko/mod-number-one.ko ## the tiny kernels the tests run

.PHONY: tiny-guests

-include $(wildcard $(O)/guests/obj/*.d)
