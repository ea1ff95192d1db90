/*
 * pack.h - putting an image into a recording [docs/RECORDING.md 7].
 */
#ifndef TOOLS_PACK_H
#define TOOLS_PACK_H

#include "replay/recording.h"
#include "tools/tool.h"

/* Writes an image in parts; only behind HEAD. */
err_t pack_image(struct rec_writer *w, const char *role, const struct buf *image) must_check;

#endif
