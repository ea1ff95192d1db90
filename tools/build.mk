# The host command.
host-y += tools/main.c tools/util.c tools/options.c tools/diskoption.c tools/console.c \
	tools/cpio.c tools/machine.c tools/disks.c tools/recfile.c tools/operand.c \
	tools/net.c tools/qemu.c tools/session.c tools/control.c tools/close.c \
	tools/recmake.c tools/line.c tools/cmd_fork.c tools/cmd_run.c tools/several.c tools/mux.c tools/cmd_replay.c tools/bisect.c tools/cmd_info.c tools/cmd_log.c tools/cmd_pack.c tools/cmd_doctor.c \
	tools/cmd_debug.c tools/gdb.c tools/gdbrelay.c tools/elfsym.c tools/symbols.c tools/modules.c \
	tools/cmd_bt.c tools/rsp.c tools/unwind.c tools/cfi.c tools/functions.c tools/stackprint.c tools/lines.c \
	tools/panictext.c tools/capture.c tools/pcapng.c
host-y += tools/cmd_ft.c tools/cmd_ftstatus.c tools/scsiunit.c tools/ftarbiter.c tools/ftlink.c tools/ftstatus.c \
	tools/ftdemo.c tools/ftplay.c tools/fttraffic.c tools/fthosts.c tools/ftstore.c tools/ftshare.c tools/ftnet.c tools/ftrelay.c tools/ftwire.c tools/ftplain.c tools/ftclient.c tools/ftverdict.c
# What of it the unit tests reach.
unit-y += tools/mux.c tools/cpio.c tools/util.c tools/options.c tools/net.c tools/console.c tools/control.c tools/gdbrelay.c tools/elfsym.c \
	tools/rsp.c tools/unwind.c tools/cfi.c tools/functions.c tools/panictext.c tools/modules.c tools/pcapng.c tools/capture.c
unit-y += tools/diskoption.c tools/disks.c tools/recfile.c tools/scsiunit.c tools/ftshare.c tools/ftarbiter.c tools/ftlink.c tools/ftstatus.c tools/ftrelay.c tools/ftclient.c tools/ftverdict.c
