# deps.mk - what a fresh Debian 12 lacks, installed when it is first needed.

DEPS_CONFIG := kconfig-frontends-nox
DEPS_BUILD := gcc libc6-dev liblz4-dev libxxhash-dev libunwind-dev $(DEPS_CONFIG) $(if $(findstring clang,$(CC)),clang)
DEPS_RUN := qemu-system-x86 seabios cpio busybox-static
DEPS_TEST := libcriterion-dev libcapstone-dev gdb
DEPS_CLANG := clang
# Wireshark's, to read what we write for it.
DEPS_NET := tshark
DEPS_ARBITER := tgt istgt qemu-block-extra

##@ House

deps: ## the Debian packages that building, running and testing need
	$(Q)tools/deps.sh build $(DEPS_BUILD)
	$(Q)tools/deps.sh run $(DEPS_RUN)
	$(Q)tools/deps.sh test $(DEPS_TEST) $(DEPS_ISO) $(DEPS_NET) $(DEPS_ARBITER) $(DEPS_CLANG)

# Order-only prerequisites: cheap once everything is there.
deps-config:
	$(Q)tools/deps.sh configure $(DEPS_CONFIG)
deps-build:
	$(Q)tools/deps.sh build $(DEPS_BUILD)
deps-run:
	$(Q)tools/deps.sh run $(DEPS_RUN)
deps-test:
	$(Q)tools/deps.sh test $(DEPS_TEST)
deps-arbiter:
	$(Q)tools/deps.sh test $(DEPS_ARBITER)
deps-net:
	$(Q)tools/deps.sh test $(DEPS_NET)
deps-clang:
	$(Q)tools/deps.sh test $(DEPS_CLANG)

.PHONY: deps deps-config deps-build deps-run deps-test deps-arbiter deps-net deps-clang
