# iso.mk - a CD image that boots the hypervisor by GRUB, on QEMU or a PC.
# `make iso BUNDLE=file.cpio APPEND='options'`

DEPS_ISO := grub-pc-bin grub-common xorriso mtools
ISO ?= $(O)/reprise.iso
ISO_KERNEL ?= $(O)/kernel/reprise.elf
BUNDLE ?=
APPEND ?=

deps-iso:
	$(Q)tools/deps.sh 'bootable CD images' $(DEPS_ISO)

##@ Build

iso: $(ISO) ## build/reprise.iso, bootable by GRUB (BUNDLE=file.cpio)

# Always made anew: what is in BUNDLE and APPEND is no file make could compare.
$(ISO): $(ISO_KERNEL) $(BUNDLE) FORCE | deps-iso
	$(call say,ISO,$@)rm -rf $@.d && mkdir -p $@.d/boot/grub
	$(Q)strip -o $@.d/boot/reprise.elf $(ISO_KERNEL)
	$(Q)$(if $(BUNDLE),cp $(BUNDLE) $@.d/boot/bundle.cpio)
	$(Q)printf '%s\n' 'set timeout=0' 'menuentry Reprise {' \
		' multiboot2 /boot/reprise.elf $(APPEND)' \
		'$(if $(BUNDLE), module2 /boot/bundle.cpio bundle)' ' boot' '}' > $@.d/boot/grub/grub.cfg
	$(Q)grub-mkrescue -o $@ $@.d 2> $@.log || { cat $@.log >&2; exit 1; }
	$(Q)rm -rf $@.d $@.log

# The substrate's own test, alone in its machines; GRUB brings it a bundle of one file.
##@ Test

check-kernel: $(O)/kernel/selftest.elf | deps-run deps-iso ## test the bare-metal substrate in QEMU
	$(Q)echo kernel/selftest.sh | cpio -o -H newc --quiet > $(O)/selftest.cpio
	$(Q)$(MAKE) --no-print-directory iso ISO=$(O)/selftest.iso ISO_KERNEL=$< \
		BUNDLE=$(O)/selftest.cpio APPEND=test=info
	$(Q)kernel/selftest.sh $< $(O)/selftest.iso

.PHONY: iso deps-iso check-kernel
