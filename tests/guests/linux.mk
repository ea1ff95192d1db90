# linux.mk - real guests: Debian's cloud kernel, unmodified, and a busybox
# initramfs [initramfs/].  Nothing is kept in the tree: the kernel comes from
# the Debian mirror this machine's apt knows.

LINUX_PACKAGE := linux-image-cloud-amd64
LINUX_DEB := $(O)/guests/deb
# zram and what it needs, for workload=pressure; in the order insmod wants.
LINUX_MODULES := kernel/mm/zsmalloc.ko kernel/crypto/lzo-rle.ko kernel/drivers/block/zram/zram.ko
# Of virtio, what devices.sh loads; ext2 and what it needs are in the kernel.
LINUX_MODULES += $(patsubst %,kernel/drivers/%.ko,$(addprefix virtio/,virtio_ring virtio virtio_pci_modern_dev \
	virtio_pci_legacy_dev virtio_pci) block/virtio_blk net/net_failover net/virtio_net char/virtio_console \
	char/hw_random/virtio-rng) kernel/net/core/failover.ko
# Any fixed time does: an initramfs is the same bytes whenever it is made.
INITRD_DATE := 2025-01-01T00:00:00Z
# Of the workloads, net-bulk-recv, net-bulk-send and reqresp are for tests/bench; ip=dhcp is for people.
INITRD_FILES := $(sort $(shell find tests/guests/initramfs -type f))

$(O)/guests/vmlinuz: tests/guests/fetch-linux.sh
	$(call say,FETCH,$@)tests/guests/fetch-linux.sh $(LINUX_PACKAGE) $(LINUX_DEB) $@

$(O)/guests/initrd.cpio: $(O)/guests/vmlinuz $(O)/net/guest $(INITRD_FILES) tests/guests/linux.mk | deps-run
	$(call say,CPIO,$@)rm -rf $@.root && mkdir -p $@.root/bin $@.root/lib/modules
	$(Q)cp -R tests/guests/initramfs/. $@.root
	$(Q)cp $$(dpkg -L busybox-static | grep -x '.*/bin/busybox') $@.root/bin/busybox
	$(Q)cp $(O)/net/guest $@.root/bin/seqd && ln -s seqd $@.root/bin/seqclient && ln -s seqd $@.root/bin/bulk
	$(Q)cp $(addprefix $(LINUX_DEB)/root/modules/,$(LINUX_MODULES)) $@.root/lib/modules/
	$(Q)cd $@.root && chmod -R u=rwX,go=rX . && chmod 755 init udhcpc.sh bin/busybox bin/seqd workloads/*.sh && \
		find . -exec touch -h -d $(INITRD_DATE) {} + && \
		find . | LC_ALL=C sort | cpio -o -H newc --reproducible -R 0:0 --quiet > ../$(@F).tmp
	$(Q)mv $@.tmp $@ && rm -rf $@.root

linux-guest: $(O)/guests/vmlinuz $(O)/guests/initrd.cpio ## Debian's kernel and an initramfs
guests: tiny-guests linux-guest ## all guests the tests run

.PHONY: linux-guest guests
