# The top of the hypervisor: what one boot does.
kernel-y += session/session.c session/guest.c session/port.c session/net.c session/disk.c session/debug.c session/fork.c session/frames.c \
	session/ft.c session/ft_copy.c session/ft_store.c
