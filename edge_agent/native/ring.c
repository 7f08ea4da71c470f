/* Index of the frames in a block of a TPACKET_V3 ring, in place.
 *
 * The kernel writes blocks of frames into memory that it shares with us. This walk copies no frame:
 * it fills an entry for each, and puts back the VLAN tags that the kernel keeps beside the frame,
 * by moving the two addresses before it into room that was reserved for that (PACKET_RESERVE). So
 * the bytes are those that libpcap would give.
 *
 * Ethernet frames, those of loopback too, begin at their Ethernet header. Of all other links (tun,
 * WireGuard, PPP, modems) the header is the driver's own affair, but the kernel knows where the IP
 * packet begins: such frames are raw IP.
 *
 * The kernel is trusted to mean well, its memory is not: no length is believed before it was
 * compared with what is left, and every field is copied out. `index_plain` in
 * `edge_agent/capture/ring.py` does the same in plain Python, equal by property test.
 */
#include "ring.h"

#include <string.h>

/* linux/if_packet.h: offsets in a block's head, in a frame's head (struct tpacket3_hdr) and in the
 * struct sockaddr_ll behind it. Written out, because a gateway's compiler may lack the headers. */
enum { STATUS = 8, FRAME_COUNT = 12, FIRST_FRAME = 16, BLOCK_HEAD_BYTES = 48 };
enum { NEXT = 0, SECONDS = 4, NANOSECONDS = 8, CAPTURED = 12, LENGTH = 16, FRAME_STATUS = 20 };
enum { LINK_AT = 24, NETWORK_AT = 26, TAG = 32, TAG_TYPE = 36 };
enum { PROTOCOL = 50, DEVICE_TYPE = 56, DIRECTION = 58, FRAME_HEAD_BYTES = 68 };
enum { OWNED_BY_KERNEL = 0, OWNED_BY_USER = 1 };
enum { TAG_VALID = 1 << 4, TAG_TYPE_VALID = 1 << 6 };
enum { DEVICE_ETHERNET = 1, DEVICE_LOOPBACK = 772 };
enum { OUTGOING = 4 };
enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86DD, TYPE_VLAN = 0x8100 };
enum { LINK_ETHERNET = 1, LINK_RAW = 101 };
enum { ADDRESSES_BYTES = 12, TAG_BYTES = 4 };

static inline uint16_t load16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline void store_big16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

bool edge_ring_ready(const uint8_t *block)
{
    const uint32_t *status = (const uint32_t *)(const void *)(block + STATUS);
    return __atomic_load_n(status, __ATOMIC_ACQUIRE) & OWNED_BY_USER;
}

void edge_ring_release(uint8_t *block)
{
    uint32_t *status = (uint32_t *)(void *)(block + STATUS);
    __atomic_store_n(status, OWNED_BY_KERNEL, __ATOMIC_RELEASE);
}

static int64_t steady_us(const struct ring_walk *walk, const uint8_t *head)
{
    const int64_t wall_us =
        (int64_t)load32(head + SECONDS) * 1000000 + load32(head + NANOSECONDS) / 1000;
    int64_t time_us = wall_us + walk->shift_us;
    if (walk->earliest_us <= time_us && time_us <= walk->latest_us) return time_us;
    time_us = wall_us + walk->former_shift_us;
    if (walk->earliest_us <= time_us && time_us <= walk->latest_us) return time_us;
    return walk->latest_us;
}

/* Puts back the tag that the kernel took out of an Ethernet frame, where there was one. */
static void restore_tag(uint8_t *head, uint32_t link_at, struct frame *frame, uint8_t *block)
{
    const uint32_t tag = load32(head + TAG), status = load32(head + FRAME_STATUS);
    if (tag == 0 && !(status & TAG_VALID)) return;
    if (frame->captured_bytes < ADDRESSES_BYTES || link_at < FRAME_HEAD_BYTES + TAG_BYTES) return;
    uint32_t type = load16(head + TAG_TYPE);
    if (type == 0 && !(status & TAG_TYPE_VALID)) type = TYPE_VLAN;
    frame->offset -= TAG_BYTES;
    frame->captured_bytes += TAG_BYTES;
    frame->wire_bytes += TAG_BYTES;
    uint8_t *data = block + frame->offset;
    memmove(data, data + TAG_BYTES, ADDRESSES_BYTES);
    store_big16(data + ADDRESSES_BYTES, type);
    store_big16(data + ADDRESSES_BYTES + 2, tag);
}

/* Raw IP: all before the network layer is left out. */
static void strip_link(uint32_t link_bytes, struct frame *frame)
{
    const uint32_t stripped =
        link_bytes < frame->captured_bytes ? link_bytes : frame->captured_bytes;
    frame->offset += stripped;
    frame->captured_bytes -= stripped;
    frame->wire_bytes -= stripped;
}

enum verdict { TAKEN, LEFT_OUT, UNSUPPORTED };

/* Fills the entry of a frame whose lengths were checked. */
static enum verdict fill(uint8_t *block, uint32_t at, const struct ring_walk *walk,
                         struct frame *frame)
{
    uint8_t *head = block + at;
    const uint32_t link_at = load16(head + LINK_AT), network_at = load16(head + NETWORK_AT);
    const uint32_t device_type = load16(head + DEVICE_TYPE);
    /* Loopback shows every frame twice: as it leaves, and as it comes in. */
    if (device_type == DEVICE_LOOPBACK && head[DIRECTION] == OUTGOING) return LEFT_OUT;

    frame->offset = at + link_at;
    frame->captured_bytes = load32(head + CAPTURED);
    frame->wire_bytes = load32(head + LENGTH);
    if (device_type == DEVICE_ETHERNET || device_type == DEVICE_LOOPBACK) {
        frame->link_type = LINK_ETHERNET;
        restore_tag(head, link_at, frame, block);
    } else {
        const uint32_t protocol = (uint32_t)head[PROTOCOL] << 8 | head[PROTOCOL + 1];
        if (protocol != TYPE_IPV4 && protocol != TYPE_IPV6) return UNSUPPORTED;
        frame->link_type = LINK_RAW;
        strip_link(network_at > link_at ? network_at - link_at : 0, frame);
    }
    if (frame->captured_bytes > walk->snap_bytes) frame->captured_bytes = walk->snap_bytes;
    frame->time_us = steady_us(walk, head);
    return TAKEN;
}

/* Whether the frame whose head is at `at` lies inside its record, and the record in the block. */
static bool is_sound(const uint8_t *block, uint32_t block_bytes, uint32_t at, bool is_last)
{
    if (at > block_bytes || block_bytes - at < FRAME_HEAD_BYTES) return false;
    const uint8_t *head = block + at;
    const uint32_t left = block_bytes - at;
    const uint32_t record_bytes = is_last ? left : load32(head + NEXT);
    const uint32_t link_at = load16(head + LINK_AT), captured = load32(head + CAPTURED);
    return record_bytes <= left && FRAME_HEAD_BYTES <= link_at && link_at <= record_bytes &&
           captured <= record_bytes - link_at && captured <= load32(head + LENGTH);
}

void edge_ring_index(uint8_t *block, uint32_t block_bytes, struct frame *frames, uint32_t room,
                     struct ring_walk *walk)
{
    walk->frames = walk->unsupported = walk->broken = 0;
    walk->last_us = walk->earliest_us;
    if (block_bytes < BLOCK_HEAD_BYTES) {
        walk->broken = 1;
        return;
    }
    const uint32_t count = load32(block + FRAME_COUNT);
    uint32_t at = load32(block + FIRST_FRAME);
    if (at < BLOCK_HEAD_BYTES && count > 0) walk->broken = 1;
    for (uint32_t i = 0; i < count && !walk->broken; i++) {
        if (walk->frames == room || !is_sound(block, block_bytes, at, i + 1 == count)) {
            walk->broken = 1;
            break;
        }
        struct frame *frame = &frames[walk->frames];
        const enum verdict verdict = fill(block, at, walk, frame);
        if (verdict == TAKEN) {
            if (frame->time_us > walk->last_us) walk->last_us = frame->time_us;
            walk->frames++;
        } else if (verdict == UNSUPPORTED) {
            walk->unsupported++;
        }
        at += load32(block + at + NEXT);
    }
}
