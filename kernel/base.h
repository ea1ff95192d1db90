/*
 * base.h - the few words every file of Reprise speaks.
 *
 * Plain C, no bare-metal dependency: compiled for the machine, for the host
 * command and for the unit tests alike.  It holds integer names, the address
 * types, and the macros that make the compiler hold our rules.
 */
#ifndef KERNEL_BASE_H
#define KERNEL_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/*
 * Addresses of different spaces are different types, so that a guest-physical
 * address cannot be dereferenced or handed where a virtual one is wanted.
 */
typedef struct { u64 v; } gpa_t; /* guest-physical */
typedef struct { u64 v; } gva_t; /* guest-virtual (after segmentation: linear) */
typedef struct { u64 v; } hpa_t; /* host-physical */

#define GPA(x) ((gpa_t){ (x) })
#define GVA(x) ((gva_t){ (x) })
#define HPA(x) ((hpa_t){ (x) })

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096UL
#define PAGE_MASK (~(PAGE_SIZE - 1))

#define KIB(n) ((u64)(n) << 10)
#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1UL << (n))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ALIGN_UP(x, a) (((x) + ((a) - 1)) & ~((__typeof__(x))(a) - 1))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define must_check __attribute__((warn_unused_result))
#define noreturn_fn __attribute__((noreturn))
/* It has its own name and frame in a backtrace, however the compiler mixes what it calls and is called by. */
#ifdef __clang__
#define own_frame __attribute__((noinline))
#else
#define own_frame __attribute__((noipa))
#endif
#define inline_always inline __attribute__((always_inline)) /* for the sake of constant arguments */
#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define packed_struct __attribute__((packed))
#define aligned_to(n) __attribute__((aligned(n)))
#define unused_arg __attribute__((unused))

/* The outcome of what can fail: 0, or a negative number from the list below. */
typedef int err_t;

enum {
	OK = 0,
	ERR_IO = -1,        /* the medium or its driver failed */
	ERR_DAMAGED = -2,   /* checksum, magic or structure is wrong */
	ERR_VERSION = -3,   /* a version this build does not read */
	ERR_TOO_BIG = -4,   /* does not fit the space given */
	ERR_UNSUPPORTED = -5,
	ERR_INVALID = -6,   /* an argument or option is wrong */
	ERR_NO_MEMORY = -7,
	ERR_END = -8,       /* nothing more to read */
	ERR_MISMATCH = -9,  /* two things that must be equal differ */
};

static inline u64 read_bytes_le(const u8 *p, unsigned size_bytes)
{
	u64 v = 0;
	for (unsigned i = 0; i < size_bytes; i++)
		v |= (u64)p[i] << (8 * i);
	return v;
}

static inline void write_bytes_le(u8 *p, unsigned size_bytes, u64 v)
{
	for (unsigned i = 0; i < size_bytes; i++)
		p[i] = (u8)(v >> (8 * i));
}

static inline u64 read_bytes_be(const u8 *p, unsigned size_bytes)
{
	u64 v = 0;
	for (unsigned i = 0; i < size_bytes; i++)
		v = v << 8 | p[i];
	return v;
}

static inline void write_bytes_be(u8 *p, unsigned size_bytes, u64 v)
{
	for (unsigned i = size_bytes; i-- > 0; v >>= 8)
		p[i] = (u8)v;
}

/* All ones in the low size_bytes bytes; size_bytes is 1, 2, 4 or 8. */
static inline u64 size_mask(unsigned size_bytes)
{
	return size_bytes >= 8 ? ~0UL : (1UL << (8 * size_bytes)) - 1;
}

#endif
