/* Index of the frames in the bytes of a pcap or pcapng capture.
 *
 * The caller owns all bytes: it hands in a stretch of the file, gets an entry for every frame that
 * lies in it whole, keeps what was not consumed, appends more and calls again. A record is consumed
 * whole or not at all, so that the state between two calls is small: the format, and the interfaces
 * of the current pcapng section.
 *
 * Captures are hostile. No length is believed before it was compared with what is left, compared by
 * subtraction, because a sum could wrap around; nothing is aligned, so every field is copied out.
 *
 * `edge_agent/capture/pcap.py` reads the same files in plain Python and is the oracle: frames,
 * problems and the byte at which a problem is noticed are equal by property test. It reads a record
 * in stages (head, then body), hence the stages here.
 *
 * The walkers are inlined once for either byte order and unit, so that the loop over pcap records
 * in microseconds has neither a byte swap nor a division in it.
 */
#include "capture.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* The same bounds, for the same reasons, as in problems.py. */
#define MAX_PACKET_BYTES 262144u
#define MAX_BLOCK_BYTES (16u * 1024 * 1024)
#define MAX_INTERFACES 65536u

#define TIME_LIMIT_US (INT64_C(1) << 62)
#define MICROS INT64_C(1000000)

#define PCAP_HEADER_BYTES 24u
#define MAGIC_BYTES 4u

enum { BLOCK_INTERFACE = 1, BLOCK_OLD_PACKET = 2, BLOCK_SIMPLE = 3, BLOCK_ENHANCED = 6 };
#define BLOCK_SECTION 0x0A0D0D0Au /* reads the same in both byte orders */
#define SECTION_ORDER 0x1A2B3C4Du

enum { OPTION_END = 0, OPTION_TSRESOL = 9, OPTION_TSOFFSET = 14 };

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

INLINE uint16_t load16(const uint8_t *at, bool swapped) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? __builtin_bswap16(value) : value;
}

INLINE uint32_t load32(const uint8_t *at, bool swapped) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? __builtin_bswap32(value) : value;
}

INLINE uint64_t load64(const uint8_t *at, bool swapped) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return swapped ? __builtin_bswap64(value) : value;
}

/* The record at the cursor needs the bytes [stage, needed) before anything more can be said. */
static void wait_for(struct cursor *cursor, uint32_t stage, uint32_t needed) {
    cursor->walk->stage_bytes = stage;
    cursor->walk->needed_bytes = needed;
}

/* The record at the cursor cannot be used; `read_bytes` of it were read when that was seen. */
static void refuse(struct cursor *cursor, enum capture_problem problem, uint32_t read_bytes,
                   uint32_t number) {
    cursor->walk->problem = problem;
    cursor->walk->problem_at = cursor->at + read_bytes;
    cursor->walk->number = number;
}

/* ---- pcap ---- */

static bool begin_pcap(struct capture *capture, uint32_t magic) {
    switch (magic) {
    case 0xA1B2C3D4u:
        capture->nanoseconds = false;
        capture->record_bytes = 16;
        break;
    case 0xA1B23C4Du:
        capture->nanoseconds = true;
        capture->record_bytes = 16;
        break;
    case 0xA1B2CD34u: /* Kuznetzov's: interface, protocol and direction follow the lengths */
        capture->nanoseconds = false;
        capture->record_bytes = 24;
        break;
    default:
        return false;
    }
    capture->format = FORMAT_PCAP;
    return true;
}

/* The file's first bytes; true once records follow. */
static bool begin(struct capture *capture, struct cursor *cursor) {
    if (cursor->data_bytes < MAGIC_BYTES) {
        wait_for(cursor, 0, MAGIC_BYTES);
        return false;
    }
    uint32_t magic = load32(cursor->data, false);
    if (magic == BLOCK_SECTION) {
        capture->format = FORMAT_PCAPNG;
        return true;
    }
    capture->swapped = false;
    if (!begin_pcap(capture, magic)) {
        capture->swapped = true;
        if (!begin_pcap(capture, __builtin_bswap32(magic))) {
            refuse(cursor, CAPTURE_UNKNOWN_MAGIC, MAGIC_BYTES, 0);
            return false;
        }
    }
    if (cursor->data_bytes < PCAP_HEADER_BYTES) {
        capture->format = FORMAT_UNKNOWN;
        wait_for(cursor, MAGIC_BYTES, PCAP_HEADER_BYTES);
        return false;
    }
    /* The upper bits hold the FCS length on some tools. */
    capture->link_type = load32(cursor->data + 20, capture->swapped) & 0xFFFFu;
    cursor->at = PCAP_HEADER_BYTES;
    return true;
}

INLINE void walk_pcap(const struct capture *capture, struct cursor *cursor, bool swapped,
                      bool nanoseconds) {
    const uint8_t *data = cursor->data;
    const uint32_t data_bytes = cursor->data_bytes;
    const uint32_t head_bytes = capture->record_bytes;
    const uint32_t link_type = capture->link_type;
    struct frame *frame = cursor->frames;
    const struct frame *end = frame + cursor->room;
    uint32_t at = cursor->at;
    uint32_t captured = 0;
    enum { FULL, HEAD, BODY, LONG } stop = FULL;

    while (frame != end) {
        const uint8_t *head = data + at;
        uint32_t left = data_bytes - at;
        if (left < head_bytes) {
            stop = HEAD;
            break;
        }
        captured = load32(head + 8, swapped);
        if (captured > left - head_bytes || captured > MAX_PACKET_BYTES) {
            stop = captured > MAX_PACKET_BYTES ? LONG : BODY;
            break;
        }
        uint32_t fraction = load32(head + 4, swapped);
        frame->time_us = (int64_t)load32(head, swapped) * MICROS +
                         (nanoseconds ? fraction / 1000u : fraction);
        frame->offset = at + head_bytes;
        frame->captured_bytes = captured;
        frame->wire_bytes = load32(head + 12, swapped);
        frame->link_type = link_type;
        frame++;
        at += head_bytes + captured;
    }

    cursor->at = at;
    cursor->count = (uint32_t)(frame - cursor->frames);
    if (stop == HEAD)
        wait_for(cursor, 0, head_bytes);
    else if (stop == BODY)
        wait_for(cursor, head_bytes, head_bytes + captured);
    else if (stop == LONG)
        refuse(cursor, CAPTURE_LONG_PACKET, head_bytes, captured);
}

/* ---- pcapng ---- */

/* Any resolution and offset, rounded down, held within the limits; `_time_us` in pcap.py. */
static int64_t scaled_time_us(const struct interface *interface, uint64_t stamp) {
    const uint64_t limit_s = (uint64_t)(TIME_LIMIT_US / MICROS);
    uint64_t ticks = interface->ticks_per_s;
    uint64_t seconds = stamp / ticks;
    /* A remainder is below 2^40, so the product is below 2^60. */
    int64_t rest_us = (int64_t)(stamp % ticks * (uint64_t)MICROS / ticks);
    uint64_t offset = interface->offset_s < 0 ? -(uint64_t)interface->offset_s
                                              : (uint64_t)interface->offset_s;
    int64_t whole_s;
    if (interface->offset_s >= 0) {
        if (seconds > limit_s || offset > limit_s - seconds)
            return TIME_LIMIT_US;
        whole_s = (int64_t)(seconds + offset);
    } else if (seconds >= offset) {
        if (seconds - offset > limit_s)
            return TIME_LIMIT_US;
        whole_s = (int64_t)(seconds - offset);
    } else {
        if (offset - seconds > limit_s + 1)
            return -TIME_LIMIT_US;
        whole_s = -(int64_t)(offset - seconds);
    }
    int64_t time_us = whole_s * MICROS + rest_us;
    if (time_us > TIME_LIMIT_US)
        return TIME_LIMIT_US;
    return time_us < -TIME_LIMIT_US ? -TIME_LIMIT_US : time_us;
}

INLINE int64_t stamp_us(const struct interface *interface, uint64_t stamp) {
    if (interface->offset_s == 0 && interface->ticks_per_s == 1000000u)
        return stamp > (uint64_t)TIME_LIMIT_US ? TIME_LIMIT_US : (int64_t)stamp;
    if (interface->offset_s == 0 && interface->ticks_per_s == 1000000000u)
        return (int64_t)(stamp / 1000u);
    return scaled_time_us(interface, stamp);
}

static uint64_t ticks_per_s(uint8_t resolution) {
    uint64_t ticks = 1;
    unsigned power = resolution & 0x7Fu;
    /* No clock is finer than 2^-40 s or 10^-12 s. */
    if (resolution & 0x80u)
        return ticks << (power < 40 ? power : 40);
    for (unsigned i = 0; i < power && i < 12; i++)
        ticks *= 10;
    return ticks;
}

static struct interface described(const uint8_t *body, uint32_t body_bytes, bool swapped) {
    struct interface interface = {.ticks_per_s = 1000000u};
    if (body_bytes < 8)
        return interface;
    interface.link_type = load16(body, swapped);
    interface.snap_bytes = load32(body + 4, swapped);
    uint32_t at = 8;
    while (body_bytes - at >= 4) {
        uint16_t code = load16(body + at, swapped);
        uint32_t value_bytes = load16(body + at + 2, swapped);
        const uint8_t *value = body + at + 4;
        uint32_t left = body_bytes - at - 4;
        uint32_t padded_bytes = (value_bytes + 3) & ~3u;
        if (code == OPTION_END)
            break;
        if (code == OPTION_TSRESOL && value_bytes == 1 && left >= 1)
            interface.ticks_per_s = ticks_per_s(*value);
        if (code == OPTION_TSOFFSET && value_bytes == 8 && left >= 8) {
            uint64_t offset = load64(value, swapped);
            memcpy(&interface.offset_s, &offset, sizeof offset);
        }
        if (padded_bytes > left)
            break;
        at += 4 + padded_bytes;
    }
    return interface;
}

/* False when the section has too many already, or there is no memory for one more. */
static bool add_interface(struct capture *capture, struct cursor *cursor, uint32_t block_bytes,
                          struct interface interface) {
    if (capture->interface_count == MAX_INTERFACES) {
        refuse(cursor, CAPTURE_TOO_MANY_INTERFACES, block_bytes, MAX_INTERFACES);
        return false;
    }
    if (capture->interface_count == capture->interface_room) {
        uint32_t room = capture->interface_room ? 2 * capture->interface_room : 4;
        struct interface *more = realloc(capture->interfaces, room * sizeof *more);
        if (more == NULL) {
            refuse(cursor, CAPTURE_OUT_OF_MEMORY, block_bytes, 0);
            return false;
        }
        capture->interfaces = more;
        capture->interface_room = room;
    }
    capture->interfaces[capture->interface_count++] = interface;
    return true;
}

/* A block's fields between its two lengths. */
struct body {
    const uint8_t *bytes;
    uint32_t length;
};

/* A simple packet has no stamp; its captured length has to be worked out. */
INLINE bool simple_packet(const struct capture *capture, struct body body, bool swapped,
                          struct frame *frame) {
    if (body.length < 4 || capture->interface_count == 0)
        return false;
    const struct interface *interface = capture->interfaces;
    uint32_t captured = load32(body.bytes, swapped);
    frame->time_us = 0;
    frame->wire_bytes = captured;
    if (captured > body.length - 4)
        captured = body.length - 4;
    if (interface->snap_bytes != 0 && captured > interface->snap_bytes)
        captured = interface->snap_bytes;
    frame->captured_bytes = captured;
    frame->link_type = interface->link_type;
    return true;
}

/* Enhanced and old packets differ in how wide the interface's number is. */
INLINE bool stamped_packet(const struct capture *capture, struct body body, bool swapped, bool old,
                           struct frame *frame) {
    if (body.length < 20)
        return false;
    uint32_t number = old ? load16(body.bytes, swapped) : load32(body.bytes, swapped);
    if (number >= capture->interface_count)
        return false;
    const struct interface *interface = &capture->interfaces[number];
    uint64_t stamp = (uint64_t)load32(body.bytes + 4, swapped) << 32;
    stamp |= load32(body.bytes + 8, swapped);
    frame->time_us = stamp_us(interface, stamp);
    frame->captured_bytes = load32(body.bytes + 12, swapped);
    frame->wire_bytes = load32(body.bytes + 16, swapped);
    frame->link_type = interface->link_type;
    return true;
}

INLINE bool add_packet(const struct capture *capture, struct cursor *cursor, uint32_t type,
                       uint32_t block_bytes, bool swapped) {
    struct body body = {cursor->data + cursor->at + 8, block_bytes - 12};
    struct frame *frame = &cursor->frames[cursor->count];
    uint32_t fields_bytes = type == BLOCK_SIMPLE ? 4 : 20;
    bool good = type == BLOCK_SIMPLE
                    ? simple_packet(capture, body, swapped, frame)
                    : stamped_packet(capture, body, swapped, type == BLOCK_OLD_PACKET, frame);
    if (!good) {
        refuse(cursor, CAPTURE_BAD_PACKET_BLOCK, block_bytes, 0);
        return false;
    }
    if (frame->captured_bytes > body.length - fields_bytes) {
        refuse(cursor, CAPTURE_LONG_PACKET, block_bytes, frame->captured_bytes);
        return false;
    }
    frame->offset = cursor->at + 8 + fields_bytes;
    cursor->count++;
    return true;
}

/* Length of the block at the cursor if it can be and is here whole; 0 if not. */
INLINE uint32_t whole_block(struct cursor *cursor, uint32_t head_bytes, bool swapped) {
    uint32_t block_bytes = load32(cursor->data + cursor->at + 4, swapped);
    if (block_bytes < head_bytes + 4 || block_bytes % 4 || block_bytes > MAX_BLOCK_BYTES) {
        refuse(cursor, CAPTURE_BAD_BLOCK_LENGTH, head_bytes, block_bytes);
        return 0;
    }
    if (block_bytes > cursor->data_bytes - cursor->at) {
        wait_for(cursor, head_bytes, block_bytes);
        return 0;
    }
    return block_bytes;
}

/* A section begins: it may have another byte order, and has no interfaces yet. */
static bool begin_section(struct capture *capture, struct cursor *cursor) {
    if (cursor->data_bytes - cursor->at < 12) {
        wait_for(cursor, 4, 12);
        return false;
    }
    uint32_t order = load32(cursor->data + cursor->at + 8, false);
    if (order != SECTION_ORDER && order != __builtin_bswap32(SECTION_ORDER)) {
        refuse(cursor, CAPTURE_UNKNOWN_BYTE_ORDER, 12, 0);
        return false;
    }
    bool swapped = order != SECTION_ORDER;
    uint32_t block_bytes = whole_block(cursor, 12, swapped);
    if (block_bytes == 0)
        return false;
    capture->swapped = swapped;
    capture->interface_count = 0;
    cursor->at += block_bytes;
    return true;
}

/* Blocks of one byte order; true when a section has begun, whose order may differ. */
INLINE bool walk_pcapng(struct capture *capture, struct cursor *cursor, bool swapped) {
    while (cursor->count < cursor->room) {
        uint32_t left = cursor->data_bytes - cursor->at;
        if (left < 4) {
            wait_for(cursor, 0, 4);
            return false;
        }
        uint32_t type = load32(cursor->data + cursor->at, swapped);
        if (type == BLOCK_SECTION)
            return begin_section(capture, cursor);
        if (left < 8) {
            wait_for(cursor, 4, 8);
            return false;
        }
        uint32_t block_bytes = whole_block(cursor, 8, swapped);
        if (block_bytes == 0)
            return false;
        if (type == BLOCK_ENHANCED || type == BLOCK_OLD_PACKET || type == BLOCK_SIMPLE) {
            if (!add_packet(capture, cursor, type, block_bytes, swapped))
                return false;
        } else if (type == BLOCK_INTERFACE) {
            const uint8_t *body = cursor->data + cursor->at + 8;
            if (!add_interface(capture, cursor, block_bytes,
                               described(body, block_bytes - 12, swapped)))
                return false;
        }
        cursor->at += block_bytes;
    }
    return false;
}

/* ---- what Python calls ---- */

struct capture *edge_capture_new(void) {
    return calloc(1, sizeof(struct capture));
}

void edge_capture_free(struct capture *capture) {
    if (capture != NULL)
        free(capture->interfaces);
    free(capture);
}

void edge_capture_index(struct capture *capture, const uint8_t *data, uint32_t data_bytes,
                        struct frame *frames, uint32_t room, struct capture_walk *walk) {
    struct cursor cursor = {
        .data = data, .data_bytes = data_bytes, .frames = frames, .room = room, .walk = walk};
    memset(walk, 0, sizeof *walk);

    if (capture->format == FORMAT_UNKNOWN && !begin(capture, &cursor))
        return;
    if (capture->format == FORMAT_PCAPNG) {
        while (capture->swapped ? walk_pcapng(capture, &cursor, true)
                                : walk_pcapng(capture, &cursor, false))
            ;
    } else if (capture->nanoseconds) {
        if (capture->swapped)
            walk_pcap(capture, &cursor, true, true);
        else
            walk_pcap(capture, &cursor, false, true);
    } else {
        if (capture->swapped)
            walk_pcap(capture, &cursor, true, false);
        else
            walk_pcap(capture, &cursor, false, false);
    }
    walk->frames = cursor.count;
    walk->consumed_bytes = cursor.at;
}
