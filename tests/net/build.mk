# build.mk - a TCP server that numbers and sums, its client, and bulk [seq.h]: build/net/ for the
# host, and all of them in one static program for a Linux guest.

NET_OBJ := $(patsubst %,$(O)/net/obj/%.o,main seqd seqclient bulk)

$(O)/net/obj/%.o: tests/net/%.c $(O)/flags | deps-build
	$(call say,CC,$<)$(call compile,$(CC) $(HFLAGS))
$(O)/net/seqd: $(NET_OBJ)
	$(call say,LD,$@)$(call put,$(CC) -o $$t $^)
$(O)/net/seqclient $(O)/net/bulk: $(O)/net/seqd
	$(Q)ln -sf seqd $@
$(O)/net/guest: $(NET_OBJ)
	$(call say,LD,$@)$(call put,$(CC) -static -s -o $$t $^)
$(O)/net/disksum: $(O)/net/obj/disksum.o
	$(call say,LD,$@)$(call put,$(CC) -o $$t $^)

net-programs: $(addprefix $(O)/net/,seqd seqclient bulk disksum)

.PHONY: net-programs

-include $(wildcard $(O)/net/obj/*.d)
