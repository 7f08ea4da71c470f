/* Fuzzes the walk over a block of a packet socket's ring, and the meter behind it: the input is
 * four bytes of options, then the block.
 *
 * The block is walked over twice, in memory of exactly its size: with room for every frame, and
 * with room for few. Both walks must find the same as far as they go. */
#include <stdlib.h>
#include <string.h>

#include "checking.h"
#include "ring.h"

enum { OPTION_BYTES = 4, BLOCK_HEAD_BYTES = 48, FRAME_HEAD_BYTES = 68, TAG_BYTES = 4 };

struct found {
    uint8_t *block; /* as the walk left it */
    struct frame *frames;
    struct ring_walk walk;
};

static void check_found(const struct found *found, const uint8_t *before, uint32_t bytes,
                        uint32_t room)
{
    const struct ring_walk *walk = &found->walk;
    CHECK(walk->frames <= room);
    CHECK(walk->broken <= 1);
    uint32_t behind = BLOCK_HEAD_BYTES;
    int64_t last_us = walk->earliest_us;
    for (uint32_t i = 0; i < walk->frames; i++) {
        const struct frame *frame = &found->frames[i];
        CHECK(frame->offset >= behind + FRAME_HEAD_BYTES && frame->offset <= bytes);
        CHECK(frame->captured_bytes <= bytes - frame->offset);
        CHECK(frame->captured_bytes <= walk->snap_bytes);
        CHECK(frame->link_type == 1 || frame->link_type == 101);
        CHECK(frame->time_us <= walk->latest_us || walk->earliest_us > walk->latest_us);
        /* Nothing between the frames was written, but where a tag was put back. */
        CHECK(!memcmp(found->block + behind, before + behind, FRAME_HEAD_BYTES));
        behind = frame->offset + frame->captured_bytes;
        if (frame->time_us > last_us) last_us = frame->time_us;
    }
    CHECK(walk->last_us == last_us);
    if (bytes >= BLOCK_HEAD_BYTES) CHECK(!memcmp(found->block, before, BLOCK_HEAD_BYTES));
}

static struct found walk(const uint8_t *block, uint32_t bytes, uint32_t room, struct ring_walk told)
{
    struct found found = {room_for(bytes), room_for(room * sizeof(struct frame)), told};
    memcpy(found.block, block, bytes);
    edge_ring_index(found.block, bytes, found.frames, room, &found.walk);
    check_found(&found, block, bytes, room);
    return found;
}

static void forget(struct found *found)
{
    free(found->block);
    free(found->frames);
}

/* Clocks that were set, and such as were not. Frames are never cut within what a tag moves. */
static struct ring_walk drawn_walk(uint8_t times, uint8_t snap)
{
    static const int64_t moments_us[] = {0, 1, INT64_C(1) << 32, INT64_C(1) << 50};
    const int64_t moment_us = moments_us[times & 3];
    return (struct ring_walk){.shift_us = times & 4 ? -moment_us : 0,
                              .former_shift_us = times & 8 ? moment_us : 0,
                              .earliest_us = times & 16 ? moment_us : -TIME_LIMIT_US,
                              .latest_us = times & 32 ? moment_us : TIME_LIMIT_US,
                              .snap_bytes = snap ? 16u + snap : UINT32_MAX};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < OPTION_BYTES || size > 1 << 20) return 0;
    const uint8_t kind = data[0], small = data[1];
    const struct ring_walk told = drawn_walk(data[2], data[3]);
    const uint8_t *block = data + OPTION_BYTES;
    const uint32_t bytes = (uint32_t)(size - OPTION_BYTES);

    struct found whole = walk(block, bytes, bytes / FRAME_HEAD_BYTES + 1, told);
    struct found part = walk(block, bytes, small & 3, told);
    CHECK(part.walk.frames ==
          (whole.walk.frames < (small & 3u) ? whole.walk.frames : (small & 3u)));
    CHECK(!memcmp(whole.frames, part.frames, part.walk.frames * sizeof *part.frames));
    const struct script script = {drawn_options(kind, 0, small),
                                  ROWS_A_PACKET + (kind & 7),
                                  whole.block,
                                  whole.frames,
                                  whole.walk.frames,
                                  NULL,
                                  0};
    check_metering(&script);
    forget(&whole);
    forget(&part);
    return 0;
}
