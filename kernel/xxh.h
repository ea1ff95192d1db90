/*
 * xxh.h - XXH64 from Debian's libxxhash-dev, inlined, scalar.
 *
 * The one place that includes xxhash.h, so that the digest is the same
 * function in the hypervisor (no SSE), the host command and the tests.
 */
#ifndef KERNEL_XXH_H
#define KERNEL_XXH_H

#define XXH_INLINE_ALL
#define XXH_VECTOR 0 /* XXH_SCALAR */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wundef"
#include <xxhash.h>
#pragma GCC diagnostic pop

#endif
