/*
 * vectors.h - who owns which interrupt vector of the host.
 *
 * 20h-3Fh stay free; the 8259 pair is remapped to 40h-4Fh, so a line's vector
 * is 40h plus its number.  IRQ0 (the PIT) is masked for good, which leaves
 * 40h to the LAPIC timer.
 */
#ifndef KERNEL_VECTORS_H
#define KERNEL_VECTORS_H

#define VEC_HOST_TIMER 0x40    /* LAPIC timer */
#define VEC_HOST_PIC 0x40      /* first of sixteen, by the 8259s */
#define VEC_HOST_COM2 0x43     /* IRQ3 */
#define VEC_HOST_COM1 0x44     /* IRQ4 */
#define VEC_HOST_PIC_LAST 0x4f
#define VEC_HOST_NIC 0x50      /* a frame has arrived [virtio_net.c] */
#define VEC_SPURIOUS 0xff      /* low nibble must be Fh on old LAPICs */

#endif
