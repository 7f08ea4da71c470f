/* Fuzzes the meter: the input says which meter, and which frames at which times.
 *
 * A packet is most often named by a few numbers (who, ports, flags, length) and built here, so that
 * an input of a kilobyte holds long conversations; it may then be damaged, and its lengths may lie.
 * The rest are frames byte by byte. An input has no wrong form: what is missing reads as 0. */
#include <stdlib.h>
#include <string.h>

#include "checking.h"

enum { MAX_FRAMES = 600, MAX_PAUSES = 40, MAX_FRAME_BYTES = 256, HEADERS_BYTES = 160 };
static const int64_t S = 1000000;

/* The rest of the input. */
struct input {
    const uint8_t *at, *end;
};

/* A script as it grows. */
struct draft {
    uint8_t data[MAX_FRAMES * MAX_FRAME_BYTES];
    struct frame frames[MAX_FRAMES];
    struct pause pauses[MAX_PAUSES];
    size_t bytes, frame_count, pause_count;
    int64_t now_us;
};

static uint8_t read8(struct input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

static uint64_t read_number(struct input *input, int bytes)
{
    uint64_t number = 0;
    while (bytes--) number = number << 8 | read8(input);
    return number;
}

static int64_t within(int64_t low, int64_t value, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* --- time ------------------------------------------------------------------------------------ */

/* Around everything a profile waits for: exactly on it, and one off. */
static int64_t read_edge_us(struct input *input)
{
    static const int64_t edges_s[] = {1, 3, 5, 15, 60, 120, 240, 600, 1800, 3600};
    const uint8_t which = read8(input);
    return edges_s[which / 3 % 10] * S + which % 3 - 1;
}

/* When the next frame was captured, after which the draft's clock may have moved. */
static int64_t read_stamp_us(struct input *input, uint8_t kind, struct draft *draft)
{
    const int64_t month_us = 30 * 86400 * S;
    int64_t stamp_us;
    switch (kind) {
    case 0:
        return draft->now_us;
    case 1:
        draft->now_us += read8(input);
        break;
    case 2:
        draft->now_us += (int64_t)read8(input) * read8(input) * 1000;
        break;
    case 3:
        draft->now_us += read_edge_us(input);
        break;
    case 4: /* overtaken by others */
        stamp_us = draft->now_us - (int64_t)read8(input) * read8(input) * 30000;
        return within(-TIME_LIMIT_US, stamp_us, TIME_LIMIT_US);
    case 5: /* a stray */
        stamp_us = draft->now_us + (int8_t)read8(input) * month_us;
        return within(-TIME_LIMIT_US, stamp_us, TIME_LIMIT_US);
    case 6: /* the clock is set */
        draft->now_us += (int8_t)read8(input) * 20 * 60 * S;
        break;
    default:
        draft->now_us = (int64_t)read_number(input, 8);
    }
    draft->now_us = within(-TIME_LIMIT_US, draft->now_us, TIME_LIMIT_US);
    return draft->now_us;
}

static void read_pause(struct input *input, struct draft *draft)
{
    const uint8_t kind = read8(input);
    if (draft->pause_count == MAX_PAUSES) return;
    struct pause *pause = &draft->pauses[draft->pause_count++];
    *pause = (struct pause){draft->frame_count, kind % 4 == 0, 0};
    const int64_t now_us = draft->now_us + (kind % 4 == 1 ? 0 : read_edge_us(input));
    pause->now_us = within(0, now_us, TIME_LIMIT_US);
}

/* --- frames ---------------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *at, uint64_t number, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) *at++ = i < 8 ? (uint8_t)(number >> 8 * i) : 0;
    return at;
}

/* What a packet is made of. */
struct recipe {
    uint8_t hosts, ports, flags, sizes;
};

static uint8_t *put_link(uint8_t *at, uint32_t link_type, unsigned ether_type, unsigned tags)
{
    static const unsigned kinds[] = {0x8100, 0x88A8, 0x9100};
    if (link_type == 0 || link_type == 108) return put(at, 2, 4);
    if (link_type == 276) return put(put(at, ether_type, 2), 0, 18);
    if (link_type != 1 && link_type != 113) return at;
    at = put(at, 0, link_type == 1 ? 12 : 14);
    if (tags == 3) {
        at = put(put(at, 0x8864, 2), 0x110000070000, 6);
        return put(at, ether_type == 0x0800 ? 0x0021 : 0x0057, 2);
    }
    for (unsigned i = 0; i < tags; i++) at = put(put(at, kinds[i], 2), 7, 2);
    return put(at, ether_type, 2);
}

static uint8_t *put_ip(uint8_t *at, struct recipe recipe, uint8_t protocol, size_t bytes)
{
    const uint8_t source = recipe.hosts & 7, destination = recipe.hosts >> 3 & 7;
    if (recipe.hosts & 64) {
        at = put(put(put(at, 6u << 28, 4), bytes, 2), (uint64_t)protocol << 8 | 64, 2);
        at = put(put(at, UINT64_C(0xFD) << 56, 8), source, 8);
        return put(put(at, UINT64_C(0xFD) << 56, 8), destination, 8);
    }
    at = put(put(at, 0x4500, 2), 20 + bytes, 2);
    at = put(put(at, 0x00004000, 4), (uint64_t)64 << 24 | (uint64_t)protocol << 16, 4);
    return put(put(at, 0x0A000000u + source, 4), 0x0A000000u + destination, 4);
}

static uint8_t *put_transport(uint8_t *at, struct recipe recipe, uint8_t protocol, unsigned words)
{
    static const uint16_t ports[] = {22, 80, 443, 1883, 40000, 40001, 50000, 0};
    static const uint16_t windows[] = {0, 1, 502, 65535};
    at = put(at, ports[recipe.ports & 7], 2);
    at = put(at, ports[recipe.ports >> 3 & 7], 2);
    if (protocol == UDP) return put(at, 0, 4);
    at = put(put(at, 0, 8), words << 4, 1);
    at = put(put(at, recipe.flags, 1), windows[recipe.sizes >> 4 & 3], 2);
    return put(at, 0, (int)(words * 4 - 16));
}

/* Builds a packet; returns its length on the wire, of which little is payload that is there. */
static uint32_t build(struct recipe recipe, uint32_t link_type, uint8_t *out, uint32_t *captured)
{
    static const uint32_t payloads[] = {0,   0,   0,    1,    2,    6,    10,    100,
                                        100, 536, 1460, 1460, 1461, 9000, 65000, 65535};
    const uint8_t protocol = recipe.hosts & 128 ? UDP : TCP;
    const unsigned words = protocol == UDP ? 2 : recipe.sizes & 64 ? 8 : 5;
    const uint32_t payload = payloads[recipe.sizes & 15];
    const unsigned ether_type = recipe.hosts & 64 ? 0x86DD : 0x0800;
    uint8_t *at = put_link(out, link_type, ether_type, recipe.ports >> 6);
    at = put_ip(at, recipe, protocol, words * 4 + payload);
    at = put_transport(at, recipe, protocol, words);
    const uint32_t headers = (uint32_t)(at - out);
    CHECK(headers <= HEADERS_BYTES);
    const uint32_t there = payload < 16 ? payload : 16;
    memset(at, 0x5A, there);
    *captured = headers + there;
    return headers + payload + (recipe.sizes & 128 ? 6 : 0);
}

static uint32_t read_link_type(struct input *input)
{
    static const uint32_t types[] = {1, 113, 276, 101, 12, 228, 229, 0, 108, 105, 119, 127, 163};
    const uint8_t which = read8(input);
    return which < 128 ? types[which % 13] : (uint32_t)read_number(input, 4);
}

static uint32_t read_wire_bytes(struct input *input, uint32_t captured)
{
    const uint32_t lies[] = {0, captured / 2, 1u << 20, (1u << 20) + 100, UINT32_MAX, INT32_MAX};
    const uint8_t which = read8(input);
    if (which < 6) return lies[which];
    return which < 128 ? captured + which : (uint32_t)read_number(input, 4);
}

static void damage(struct input *input, uint8_t *frame, uint32_t *captured)
{
    const uint8_t kind = read8(input);
    for (int i = 0; i <= (kind & 3) && *captured; i++) {
        const uint8_t at = read8(input);
        frame[at % *captured] ^= read8(input);
    }
    if (kind & 4) *captured = *captured * read8(input) / 256;
}

static uint32_t read_raw(struct input *input, uint8_t *frame)
{
    const uint32_t bytes = read8(input);
    const uint32_t left = (uint32_t)(input->end - input->at);
    const uint32_t taken = bytes < left ? bytes : left;
    memcpy(frame, input->at, taken);
    input->at += taken;
    return taken;
}

/* A frame, and perhaps a pause before it. The first byte says what follows:
 * 3 bits how it is stamped, 2 bits how it is made, 1 bit each: wire length, link type, pause. */
static void read_frame(struct input *input, struct draft *draft)
{
    const uint8_t kind = read8(input);
    if (kind & 128) read_pause(input, draft);
    struct frame *frame = &draft->frames[draft->frame_count++];
    uint8_t *bytes = draft->data + draft->bytes;
    frame->time_us = read_stamp_us(input, kind & 7, draft);
    frame->offset = (uint32_t)draft->bytes;
    frame->link_type = kind & 64 ? read_link_type(input) : 1;
    uint32_t captured;
    const uint8_t made = kind >> 3 & 3;
    if (made == 3) {
        captured = frame->wire_bytes = read_raw(input, bytes);
    } else {
        struct recipe recipe;
        recipe.hosts = read8(input);
        recipe.ports = read8(input);
        recipe.flags = read8(input);
        recipe.sizes = read8(input);
        frame->wire_bytes = build(recipe, frame->link_type, bytes, &captured);
        if (made == 2) damage(input, bytes, &captured);
    }
    if (kind & 32) frame->wire_bytes = read_wire_bytes(input, captured);
    frame->captured_bytes = captured;
    draft->bytes += captured;
}

static void begin(struct draft *draft, uint8_t epoch)
{
    static const int64_t begins_us[] = {1700000000000000, 0, 1800000000, -1};
    draft->bytes = draft->frame_count = draft->pause_count = 0;
    draft->now_us = begins_us[epoch & 3];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct draft draft;
    struct input input = {data, data + size};
    const uint8_t kind = read8(&input), small = read8(&input), times = read8(&input);
    begin(&draft, times & 3);
    const size_t capacity = ROWS_A_PACKET + (times >> 4);
    while (input.at < input.end && draft.frame_count < MAX_FRAMES) read_frame(&input, &draft);

    uint8_t *block = room_for(draft.bytes);
    memcpy(block, draft.data, draft.bytes);
    const struct script script = {drawn_options(kind, times >> 2, small),
                                  capacity,
                                  block,
                                  draft.frames,
                                  draft.frame_count,
                                  draft.pauses,
                                  draft.pause_count};
    check_metering(&script);
    free(block);
    return 0;
}
