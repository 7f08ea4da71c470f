/* Blocks of pcapng captures: sections, interfaces, packets. See capture.c. */
#include <stdlib.h>

#include "cursor.h"

/* The same bounds, for the same reasons, as in problems.py. */
#define MAX_BLOCK_BYTES (16u * 1024 * 1024)
#define MAX_INTERFACES 65536u
#define TIME_LIMIT_US (INT64_C(1) << 62)

enum { BLOCK_INTERFACE = 1, BLOCK_OLD_PACKET = 2, BLOCK_SIMPLE = 3, BLOCK_ENHANCED = 6 };
#define SECTION_ORDER 0x1A2B3C4Du

enum { OPTION_END = 0, OPTION_TSRESOL = 9, OPTION_TSOFFSET = 14 };

/* Any resolution and offset, rounded down, held within the limits; `_time_us` in pcap.py. */
static int64_t scaled_time_us(const struct interface *interface, uint64_t stamp)
{
    const uint64_t limit_s = (uint64_t)(TIME_LIMIT_US / MICROS);
    uint64_t ticks = interface->ticks_per_s;
    uint64_t seconds = stamp / ticks;
    /* A remainder is below 2^40, so the product is below 2^60. */
    int64_t rest_us = (int64_t)(stamp % ticks * (uint64_t)MICROS / ticks);
    uint64_t offset =
        interface->offset_s < 0 ? -(uint64_t)interface->offset_s : (uint64_t)interface->offset_s;
    int64_t whole_s;
    if (interface->offset_s >= 0) {
        if (seconds > limit_s || offset > limit_s - seconds) return TIME_LIMIT_US;
        whole_s = (int64_t)(seconds + offset);
    } else if (seconds >= offset) {
        if (seconds - offset > limit_s) return TIME_LIMIT_US;
        whole_s = (int64_t)(seconds - offset);
    } else {
        if (offset - seconds > limit_s + 1) return -TIME_LIMIT_US;
        whole_s = -(int64_t)(offset - seconds);
    }
    int64_t time_us = whole_s * MICROS + rest_us;
    if (time_us > TIME_LIMIT_US) return TIME_LIMIT_US;
    return time_us < -TIME_LIMIT_US ? -TIME_LIMIT_US : time_us;
}

INLINE int64_t stamp_us(const struct interface *interface, uint64_t stamp)
{
    if (interface->offset_s == 0 && interface->ticks_per_s == 1000000u)
        return stamp > (uint64_t)TIME_LIMIT_US ? TIME_LIMIT_US : (int64_t)stamp;
    if (interface->offset_s == 0 && interface->ticks_per_s == 1000000000u)
        return (int64_t)(stamp / 1000u);
    return scaled_time_us(interface, stamp);
}

static uint64_t ticks_per_s(uint8_t resolution)
{
    uint64_t ticks = 1;
    unsigned power = resolution & 0x7Fu;
    /* No clock is finer than 2^-40 s or 10^-12 s. */
    if (resolution & 0x80u) return ticks << (power < 40 ? power : 40);
    for (unsigned i = 0; i < power && i < 12; i++) ticks *= 10;
    return ticks;
}

static struct interface described(const uint8_t *body, uint32_t body_bytes, bool swapped)
{
    struct interface interface = {.ticks_per_s = 1000000u};
    if (body_bytes < 8) return interface;
    interface.link_type = load16(body, swapped);
    interface.snap_bytes = load32(body + 4, swapped);
    uint32_t at = 8;
    while (body_bytes - at >= 4) {
        uint16_t code = load16(body + at, swapped);
        uint32_t value_bytes = load16(body + at + 2, swapped);
        const uint8_t *value = body + at + 4;
        uint32_t left = body_bytes - at - 4;
        uint32_t padded_bytes = (value_bytes + 3) & ~3u;
        if (code == OPTION_END) break;
        if (code == OPTION_TSRESOL && value_bytes == 1 && left >= 1)
            interface.ticks_per_s = ticks_per_s(*value);
        if (code == OPTION_TSOFFSET && value_bytes == 8 && left >= 8) {
            uint64_t offset = load64(value, swapped);
            memcpy(&interface.offset_s, &offset, sizeof offset);
        }
        if (padded_bytes > left) break;
        at += 4 + padded_bytes;
    }
    return interface;
}

/* False when the section has too many already, or there is no memory for one more. */
static bool add_interface(struct capture *capture, struct cursor *cursor, uint32_t block_bytes,
                          struct interface interface)
{
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
                          struct frame *frame)
{
    if (body.length < 4 || capture->interface_count == 0) return false;
    const struct interface *interface = capture->interfaces;
    uint32_t captured = load32(body.bytes, swapped);
    frame->time_us = 0;
    frame->wire_bytes = captured;
    if (captured > body.length - 4) captured = body.length - 4;
    if (interface->snap_bytes != 0 && captured > interface->snap_bytes)
        captured = interface->snap_bytes;
    frame->captured_bytes = captured;
    frame->link_type = interface->link_type;
    return true;
}

/* Enhanced and old packets differ in how wide the interface's number is. */
INLINE bool stamped_packet(const struct capture *capture, struct body body, bool swapped, bool old,
                           struct frame *frame)
{
    if (body.length < 20) return false;
    uint32_t number = old ? load16(body.bytes, swapped) : load32(body.bytes, swapped);
    if (number >= capture->interface_count) return false;
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
                       uint32_t block_bytes, bool swapped)
{
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
INLINE uint32_t whole_block(struct cursor *cursor, uint32_t head_bytes, bool swapped)
{
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
static bool begin_section(struct capture *capture, struct cursor *cursor)
{
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
    if (block_bytes == 0) return false;
    capture->swapped = swapped;
    capture->interface_count = 0;
    cursor->at += block_bytes;
    return true;
}

/* Blocks of one byte order; true when a section has begun, whose order may differ. */
INLINE bool walk_blocks(struct capture *capture, struct cursor *cursor, bool swapped)
{
    while (cursor->count < cursor->room) {
        uint32_t left = cursor->data_bytes - cursor->at;
        if (left < 4) {
            wait_for(cursor, 0, 4);
            return false;
        }
        uint32_t type = load32(cursor->data + cursor->at, swapped);
        if (type == BLOCK_SECTION) return begin_section(capture, cursor);
        if (left < 8) {
            wait_for(cursor, 4, 8);
            return false;
        }
        uint32_t block_bytes = whole_block(cursor, 8, swapped);
        if (block_bytes == 0) return false;
        if (type == BLOCK_ENHANCED || type == BLOCK_OLD_PACKET || type == BLOCK_SIMPLE) {
            if (!add_packet(capture, cursor, type, block_bytes, swapped)) return false;
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

void walk_pcapng(struct capture *capture, struct cursor *cursor)
{
    while (capture->swapped ? walk_blocks(capture, cursor, true)
                            : walk_blocks(capture, cursor, false));
}
