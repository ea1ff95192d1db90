# The GDB remote serial protocol, over a timeline.
portable-y += gdbstub/packet.c gdbstub/agent.c gdbstub/regs.c gdbstub/memory.c gdbstub/points.c
portable-y += gdbstub/travel.c gdbstub/monitor.c gdbstub/stub.c gdbstub/gdbstub.c
