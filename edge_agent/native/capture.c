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

#include <stdlib.h>

#include "cursor.h"

#define PCAP_HEADER_BYTES 24u
#define MAGIC_BYTES 4u

static bool begin_pcap(struct capture *capture, uint32_t magic)
{
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
static bool begin(struct capture *capture, struct cursor *cursor)
{
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
                      bool nanoseconds)
{
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
        frame->time_us =
            (int64_t)load32(head, swapped) * MICROS + (nanoseconds ? fraction / 1000u : fraction);
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

struct capture *edge_capture_new(void)
{
    return calloc(1, sizeof(struct capture));
}

void edge_capture_free(struct capture *capture)
{
    if (capture != NULL) free(capture->interfaces);
    free(capture);
}

void edge_capture_index(struct capture *capture, const uint8_t *data, uint32_t data_bytes,
                        struct frame *frames, uint32_t room, struct capture_walk *walk)
{
    struct cursor cursor = {
        .data = data, .data_bytes = data_bytes, .frames = frames, .room = room, .walk = walk};
    memset(walk, 0, sizeof *walk);

    if (capture->format == FORMAT_UNKNOWN && !begin(capture, &cursor)) return;
    if (capture->format == FORMAT_PCAPNG) {
        walk_pcapng(capture, &cursor);
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
