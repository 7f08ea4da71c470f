/* Fuzzes the index of capture files, and the meter behind it: the input is three bytes of options,
 * then a capture file.
 *
 * The file is walked over twice, whole and in pieces that arrive one by one, as from a live pipe;
 * each piece in memory of exactly its size. Both walks must find the same. */
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "checking.h"

enum { OPTION_BYTES = 3 };

/* What a walk found; the frames' offsets count from the file's beginning. */
struct found {
    struct frame *frames;
    size_t count, room;
    struct capture_walk last; /* its `problem_at` too */
    uint32_t consumed;
};

static void check_frames(const struct frame *frames, const struct capture_walk *walk)
{
    uint32_t behind = 0;
    for (uint32_t i = 0; i < walk->frames; i++) {
        CHECK(frames[i].offset > behind && frames[i].offset <= walk->consumed_bytes);
        CHECK(frames[i].captured_bytes <= walk->consumed_bytes - frames[i].offset);
        CHECK(-TIME_LIMIT_US <= frames[i].time_us && frames[i].time_us <= TIME_LIMIT_US);
        behind = frames[i].offset + frames[i].captured_bytes;
    }
}

static void check_walk(const struct capture_walk *walk, uint32_t bytes, uint32_t room)
{
    CHECK(walk->frames <= room);
    CHECK(walk->consumed_bytes <= bytes);
    if (walk->problem) {
        CHECK(walk->needed_bytes == 0);
        CHECK(walk->problem_at > walk->consumed_bytes && walk->problem_at <= bytes);
    } else if (walk->needed_bytes) {
        CHECK(walk->needed_bytes > bytes - walk->consumed_bytes);
        CHECK(walk->stage_bytes < walk->needed_bytes);
        CHECK(walk->stage_bytes <= bytes - walk->consumed_bytes);
        CHECK(walk->needed_bytes <= 16 * 1024 * 1024);
    } else {
        CHECK(walk->frames == room);
    }
}

static void keep(struct found *found, const struct frame *frames, uint32_t count)
{
    if (found->count + count > found->room) {
        found->room = 2 * (found->count + count);
        found->frames = realloc(found->frames, found->room * sizeof *found->frames);
        CHECK(found->frames);
    }
    for (uint32_t i = 0; i < count; i++) {
        found->frames[found->count] = frames[i];
        found->frames[found->count++].offset += found->consumed;
    }
}

/* Walks over what has arrived until more is needed. */
static void walk_on(struct capture *capture, const uint8_t *file, uint32_t arrived, uint32_t room,
                    struct found *found)
{
    struct frame *frames = room_for(room * sizeof *frames);
    do {
        const uint32_t bytes = arrived - found->consumed;
        uint8_t *stretch = room_for(bytes);
        memcpy(stretch, file + found->consumed, bytes);
        edge_capture_index(capture, stretch, bytes, frames, room, &found->last);
        check_walk(&found->last, bytes, room);
        check_frames(frames, &found->last);
        keep(found, frames, found->last.frames);
        found->last.problem_at += found->last.problem ? found->consumed : 0;
        found->consumed += found->last.consumed_bytes;
        free(stretch);
    } while (!found->last.problem && !found->last.needed_bytes);
    free(frames);
}

static struct found walk(const uint8_t *file, uint32_t bytes, uint32_t step, uint32_t room)
{
    struct found found = {0};
    struct capture *capture = edge_capture_new();
    CHECK(capture);
    uint32_t arrived = 0;
    do {
        arrived += step < bytes - arrived ? step : bytes - arrived;
        walk_on(capture, file, arrived, room, &found);
    } while (!found.last.problem && arrived < bytes);
    edge_capture_free(capture);
    return found;
}

static void check_same(const struct found *whole, const struct found *pieces)
{
    CHECK(whole->count == pieces->count);
    CHECK(whole->consumed == pieces->consumed);
    CHECK(whole->last.problem == pieces->last.problem);
    CHECK(whole->last.problem_at == pieces->last.problem_at);
    CHECK(whole->last.number == pieces->last.number);
    CHECK(whole->last.stage_bytes == pieces->last.stage_bytes);
    CHECK(whole->last.needed_bytes == pieces->last.needed_bytes);
    if (whole->count == 0) return;
    CHECK(!memcmp(whole->frames, pieces->frames, whole->count * sizeof *whole->frames));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < OPTION_BYTES || size > 1 << 20) return 0;
    const uint8_t kind = data[0], small = data[1], pieces = data[2];
    uint8_t *file = room_for(size - OPTION_BYTES);
    memcpy(file, data + OPTION_BYTES, size - OPTION_BYTES);
    const uint32_t bytes = (uint32_t)(size - OPTION_BYTES);

    struct found whole = walk(file, bytes, bytes, bytes + 1);
    struct found parts = walk(file, bytes, 1u + (pieces >> 2), 1u + (pieces & 3));
    check_same(&whole, &parts);
    const struct script script = {drawn_options(kind, 0, small),
                                  ROWS_A_PACKET + (kind & 7),
                                  file,
                                  whole.frames,
                                  whole.count,
                                  NULL,
                                  0};
    check_metering(&script);
    free(whole.frames);
    free(parts.frames);
    free(file);
    return 0;
}
