portable-y += vmm/state.c vmm/vclock.c vmm/cpustate.c
