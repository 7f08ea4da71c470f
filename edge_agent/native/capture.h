/* Index of the frames in the bytes of a pcap or pcapng capture; see capture.c. */
#ifndef EDGE_IDS_CAPTURE_H
#define EDGE_IDS_CAPTURE_H

#include <stdint.h>

#include "frame.h"

/* What can be wrong with a capture: `Problem` in edge_agent/capture/problems.py. */
enum capture_problem {
    CAPTURE_FINE = 0,
    CAPTURE_UNKNOWN_MAGIC = 1,
    CAPTURE_LONG_PACKET = 2,
    CAPTURE_BAD_BLOCK_LENGTH = 3,
    CAPTURE_UNKNOWN_BYTE_ORDER = 4,
    CAPTURE_BAD_PACKET_BLOCK = 5,
    CAPTURE_TOO_MANY_INTERFACES = 6,
    CAPTURE_OUT_OF_MEMORY = 7,
};

/* The answer of one call: `Walk` in edge_agent/capture/index.py. */
struct capture_walk {
    uint32_t frames;         /* entries filled */
    uint32_t consumed_bytes; /* whole records, from the beginning of the stretch */
    /* A record goes on beyond the stretch: its part [stage, needed) has to come next, counted from
     * the record's first byte. Zero needed: there was no room for more frames. */
    uint32_t stage_bytes;
    uint32_t needed_bytes;
    uint32_t problem;    /* enum capture_problem; the frames before it are good */
    uint32_t problem_at; /* how far the stretch had been read when it was noticed */
    uint32_t number;     /* the value that cannot be */
};

struct capture;

/* State of a capture of which nothing has been read; NULL without memory. */
EXPORT struct capture *edge_capture_new(void);
EXPORT void edge_capture_free(struct capture *capture);

/* Walk over the stretch that follows on what was consumed before; less than 1 GiB of it. */
EXPORT void edge_capture_index(struct capture *capture, const uint8_t *data, uint32_t data_bytes,
                               struct frame *frames, uint32_t room, struct capture_walk *walk);

#endif
