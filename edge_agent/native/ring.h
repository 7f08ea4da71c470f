/* Index of the frames in a block of a packet socket's ring; see ring.c. */
#ifndef EDGE_IDS_RING_H
#define EDGE_IDS_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

/* What one walk is told, and what it found: `RingWalk` in edge_agent/capture/ring.py. */
struct ring_walk {
    /* A stamp is the wall clock's; with a shift it is on the clock of the service. One that the
     * present shift puts outside [earliest, latest] was stamped before the wall clock stepped: the
     * former shift is tried, and what fits neither is taken to be of the latest. */
    int64_t shift_us;
    int64_t former_shift_us;
    int64_t earliest_us;
    int64_t latest_us;
    uint32_t snap_bytes;  /* frames are cut to so much; above 0 */
    uint32_t frames;      /* entries filled */
    uint32_t unsupported; /* frames of a link that is neither Ethernet nor carries plain IP */
    uint32_t broken;      /* 1: the block lies about a length; the frames before that are good */
    int64_t last_us;      /* the latest time among the frames, or `earliest_us` */
};

/* Whether the kernel has handed the block over. */
EXPORT bool edge_ring_ready(const uint8_t *block);

/* Fill an entry for each frame of a block that was handed over, `room` at most. Writes into the
 * block: VLAN tags that the kernel took out are put back. */
EXPORT void edge_ring_index(uint8_t *block, uint32_t block_bytes, struct frame *frames,
                            uint32_t room, struct ring_walk *walk);

/* Give the block back to the kernel, which may fill it at once. */
EXPORT void edge_ring_release(uint8_t *block);

#endif
