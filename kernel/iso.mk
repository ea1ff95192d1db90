# iso.mk - a CD image that boots the hypervisor by GRUB, on QEMU or a PC.
# `make iso` has the guest of `make run` in it (KERNEL=, INITRD=, APPEND=);
# BUNDLE= another machine, made by `reprise run --bundle`.

DEPS_ISO := grub-pc-bin grub-common xorriso mtools
ISO ?= $(O)/reprise.iso
ISO_KERNEL ?= $(O)/kernel/reprise.elf
BUNDLE ?= $(O)/bundle.cpio
ISO_OPTIONS ?=

deps-iso:
	$(Q)tools/deps.sh 'bootable CD images' $(DEPS_ISO)

##@ Build

iso: $(ISO) ## build/reprise.iso, bootable by GRUB, with the guest of `make run`

# KERNEL is not set yet here unless it is yours.
$(O)/bundle.cpio: all $(if $(KERNEL),,linux-guest)
	$(call say,BUNDLE,$@)$(O)/host/reprise run --bundle $@ --kernel '$(KERNEL)' $(if $(INITRD),--initrd '$(INITRD)') --append '$(APPEND)'

# Always made anew: what is in BUNDLE and the options is no file make could compare.
$(ISO): $(ISO_KERNEL) $(BUNDLE) FORCE | deps-iso
	$(call say,ISO,$@)rm -rf $@.d && mkdir -p $@.d/boot/grub
	$(Q)strip -o $@.d/boot/reprise.elf $(ISO_KERNEL)
	$(Q)$(if $(BUNDLE),cp $(BUNDLE) $@.d/boot/bundle.cpio)
	$(Q)printf '%s\n' 'set timeout=0' 'menuentry Reprise {' \
		' multiboot2 /boot/reprise.elf $(ISO_OPTIONS)' \
		'$(if $(BUNDLE), module2 /boot/bundle.cpio bundle)' ' boot' '}' > $@.d/boot/grub/grub.cfg
	$(Q)grub-mkrescue -o $@ $@.d 2> $@.log || { cat $@.log >&2; exit 1; }
	$(Q)rm -rf $@.d $@.log

# The substrate's own test, alone in its machines; GRUB brings it a bundle of one file.
##@ Test

check-kernel: $(O)/kernel/selftest.elf $(O)/host/steady.so | deps-run deps-iso ## test the bare-metal substrate in QEMU
	$(Q)echo kernel/selftest.sh | cpio -o -H newc --quiet > $(O)/selftest.cpio
	$(Q)$(MAKE) --no-print-directory iso ISO=$(O)/selftest.iso ISO_KERNEL=$< \
		BUNDLE=$(O)/selftest.cpio ISO_OPTIONS=test=info
	$(Q)kernel/selftest.sh $< $(O)/selftest.iso $(O)/host/steady.so

.PHONY: iso deps-iso check-kernel
