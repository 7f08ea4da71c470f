/* State of a capture, and the place in a stretch of it: what pcap and pcapng share. */
#ifndef EDGE_IDS_CURSOR_H
#define EDGE_IDS_CURSOR_H

#include <stdbool.h>
#include <string.h>

#include "capture.h"

#define INLINE static inline __attribute__((always_inline))

/* The same bounds, for the same reasons, as in problems.py. */
#define MAX_PACKET_BYTES 262144u

#define MICROS INT64_C(1000000)

#define BLOCK_SECTION 0x0A0D0D0Au /* reads the same in both byte orders */

enum format { FORMAT_UNKNOWN, FORMAT_PCAP, FORMAT_PCAPNG };

struct interface {
    uint64_t ticks_per_s;
    int64_t offset_s;
    uint32_t link_type;
    uint32_t snap_bytes; /* 0: no bound */
};

struct capture {
    enum format format;
    bool swapped;          /* the file's byte order is not this machine's */
    bool nanoseconds;      /* pcap */
    uint32_t link_type;    /* pcap */
    uint32_t record_bytes; /* pcap: length of a record's head */
    struct interface *interfaces;
    uint32_t interface_count;
    uint32_t interface_room;
};

/* The stretch, and the answer as it grows. */
struct cursor {
    const uint8_t *data;
    uint32_t data_bytes;
    uint32_t at; /* all before it is consumed */
    struct frame *frames;
    uint32_t room;
    uint32_t count;
    struct capture_walk *walk;
};

INLINE uint16_t load16(const uint8_t *at, bool swapped)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? __builtin_bswap16(value) : value;
}

INLINE uint32_t load32(const uint8_t *at, bool swapped)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? __builtin_bswap32(value) : value;
}

INLINE uint64_t load64(const uint8_t *at, bool swapped)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? __builtin_bswap64(value) : value;
}

/* The record at the cursor needs the bytes [stage, needed) before anything more can be said. */
static inline void wait_for(struct cursor *cursor, uint32_t stage, uint32_t needed)
{
    cursor->walk->stage_bytes = stage;
    cursor->walk->needed_bytes = needed;
}

/* The record at the cursor cannot be used; `read_bytes` of it were read when that was seen. */
static inline void refuse(struct cursor *cursor, enum capture_problem problem, uint32_t read_bytes,
                          uint32_t number)
{
    cursor->walk->problem = problem;
    cursor->walk->problem_at = cursor->at + read_bytes;
    cursor->walk->number = number;
}

/* Walks over the blocks of a pcapng capture as far as the stretch or the room for frames goes. */
void walk_pcapng(struct capture *capture, struct cursor *cursor);

#endif
