# deps.mk - what a fresh Debian 12 lacks, installed when it is first needed.

DEPS_BUILD := gcc libc6-dev liblz4-dev libxxhash-dev kconfig-frontends-nox
DEPS_RUN := qemu-system-x86 seabios cpio busybox-static
DEPS_TEST := libcriterion-dev libcapstone-dev gdb

deps: ## install the Debian packages that building, running and testing need
	$(Q)tools/deps.sh build $(DEPS_BUILD)
	$(Q)tools/deps.sh run $(DEPS_RUN)
	$(Q)tools/deps.sh test $(DEPS_TEST)

# Order-only prerequisites: cheap once everything is there.
deps-build:
	$(Q)tools/deps.sh build $(DEPS_BUILD)
deps-run:
	$(Q)tools/deps.sh run $(DEPS_RUN)
deps-test:
	$(Q)tools/deps.sh test $(DEPS_TEST)

.PHONY: deps deps-build deps-run deps-test
