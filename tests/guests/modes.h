/*
 * modes.h - where modes.c and modes_switch.S meet: below 64 KiB.
 */
#ifndef TESTS_GUESTS_MODES_H
#define TESTS_GUESTS_MODES_H

#define LOW 0x8000          /* the 16-bit code */
#define STACK16 0x7e00
#define LOG_TICKS 0x9000    /* interrupts in every mode but the 64-bit one */
#define LOG_SUM 0x9004      /* over their times and places */
#define LOG_MODE 0x9008
#define LOG_SUMS 0x9010     /* over the work, one of each mode */
#define NMODES 8
#define LOG_SOURCE 0x9100
#define LOG_TARGET 0x9200
#define FS_BASE 0x5000
#define LAPIC_ADDRESS 0xfee00000

#define SEL_BASED 0x50
#define SEL_LAPIC 0x58
#define SEL_TSS32 0x60

#endif
