/*
 * recording_lz4.c - the two calls Reprise makes of liblz4.
 *
 * liblz4.a is built with SSE2 moves.  In the hypervisor those registers are
 * the guest's, so each call is fenced by fpu_enter and fpu_leave; forgetting
 * it shows as a guest whose XMM registers change at random, much later.
 */
#include <lz4.h>

#include "replay/recording.h"

#ifdef REPRISE_KERNEL
#include "kernel/fpu.h"
#else
static void fpu_enter(void) {}
static void fpu_leave(void) {}
#endif

_Static_assert(REC_LZ4_STATE_BYTES >= LZ4_STREAM_MINSIZE && REC_LZ4_STATE_BYTES % 8 == 0, "LZ4 state");
_Static_assert(REC_PAYLOAD_MAX <= LZ4_MAX_INPUT_SIZE, "LZ4 input");

u32 rec_lz4_compress(void *state, const void *src, u32 size, void *dst, u32 dst_size)
{
	int n;

	fpu_enter();
	/* Not LZ4_compress_default: that keeps its 16 KiB table on the stack. */
	n = LZ4_compress_fast_extState(state, src, dst, (int)size, (int)dst_size, 1);
	fpu_leave();
	return n > 0 ? (u32)n : 0;
}

err_t rec_lz4_expand(const void *src, u32 size, void *dst, u32 dst_size)
{
	int n;

	fpu_enter();
	n = LZ4_decompress_safe(src, dst, (int)size, (int)dst_size);
	fpu_leave();
	return n >= 0 && (u32)n == dst_size ? OK : ERR_DAMAGED;
}
