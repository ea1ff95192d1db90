# The top of the hypervisor: what one boot does.
kernel-y += session/session.c session/guest.c session/port.c session/net.c session/disk.c session/debug.c session/fork.c session/group.c session/frames.c \
	session/ft.c session/ft_copy.c session/ft_store.c session/ft_disk.c
# Plain C, under the unit tests, too.
kernel-y += session/vswitch.c session/turns.c session/segment.c
unit-y += session/vswitch.c session/turns.c session/segment.c
# The demo of a pair has a switch, too.
host-y += session/vswitch.c
