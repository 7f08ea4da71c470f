/* Meters one capture and drops the rows: the library without Python, for profilers.
 *
 * Arguments: the capture, then the numbers of `struct meter_options` in its order, up to and with
 * `context_seed`. Prints packets and rows. The hash seeds are fixed, so that two runs execute the
 * same instructions. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "capture.h"
#include "meter.h"

enum { NUMBERS = 10, FRAMES = 4096, ROWS = 1024, LIMIT_BYTES = 1 << 29 };

static uint8_t *whole(const char *path, size_t *bytes)
{
    FILE *stream = fopen(path, "rb");
    if (!stream || fseek(stream, 0, SEEK_END) != 0) return NULL;
    long end = ftell(stream);
    rewind(stream);
    uint8_t *data = end > 0 && end < LIMIT_BYTES ? malloc((size_t)end) : NULL;
    *bytes = data ? fread(data, 1, (size_t)end, stream) : 0;
    fclose(stream);
    return data;
}

int main(int count, char **arguments)
{
    int64_t number[NUMBERS];
    if (count != NUMBERS + 2) {
        fprintf(stderr, "give a capture and %d numbers\n", NUMBERS);
        return 2;
    }
    for (int i = 0; i < NUMBERS; i++) number[i] = strtoll(arguments[i + 2], NULL, 10);
    struct meter_options options = {
        .profile = (uint32_t)number[0],
        .padding = (uint32_t)number[1],
        .max_flows = (uint32_t)number[2],
        .max_context_keys = (uint32_t)number[3],
        .flow_timeout_us = number[4],
        .linger_us = number[5],
        .unanswered_us = number[6],
        .idle_us = number[7],
        .active_us = number[8],
        .context_seed = (uint64_t)number[9],
    };
    for (int i = 0; i < HASH_SEEDS; i++)
        options.hash_seeds[i] = 0x9E3779B97F4A7C15u * (uint64_t)(i + 1);

    size_t bytes = 0, at = 0;
    uint8_t *data = whole(arguments[1], &bytes);
    struct capture *capture = edge_capture_new();
    struct meter *meter = edge_meter_open(&options);
    static struct frame frames[FRAMES];
    static struct row row[ROWS];
    struct rows rows = {.rows = row, .capacity = ROWS};
    if (data && capture && meter)
        rows.values = malloc(ROWS * edge_meter_columns(meter) * sizeof *rows.values);
    if (!rows.values) {
        fprintf(stderr, "%s: cannot be read, or no memory\n", arguments[1]);
        return 1;
    }

    struct capture_walk walk;
    uint64_t given = 0;
    do {
        size_t done = 0;
        bool full;
        edge_capture_index(capture, data + at, (uint32_t)(bytes - at), frames, FRAMES, &walk);
        do {
            full = edge_meter_add(meter, data + at, frames, walk.frames, &done, &rows);
            given += rows.count;
            rows.count = 0;
        } while (full);
        at += walk.consumed_bytes;
    } while (walk.consumed_bytes && !walk.problem);
    bool full;
    do {
        full = edge_meter_flush(meter, &rows);
        given += rows.count;
        rows.count = 0;
    } while (full);
    printf("%" PRIu64 " %" PRIu64 "\n", edge_meter_counts(meter)[COUNT_PACKETS], given);
    return walk.problem || at != bytes;
}
