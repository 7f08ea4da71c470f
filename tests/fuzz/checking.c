#include "checking.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"

enum { PORT, DURATION, FORWARD_PACKETS, BACKWARD_PACKETS, BYTE_RATE = 14, PACKET_RATE = 15 };
static const int64_t S = 1000000;

/* All that a meter said. */
struct outcome {
    struct row *rows;
    double *values;
    size_t count, room, columns;
    uint64_t counts[COUNTS];
    int64_t now_us;
};

/* How a script is played. */
struct manner {
    bool one_by_one; /* each frame alone, in memory of exactly its size */
    size_t capacity;
    uint64_t hash_seed;
};

_Noreturn void broken(const char *file, int line, const char *claim)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, claim);
    abort();
}

void *room_for(size_t bytes)
{
    void *memory = malloc(bytes);
    CHECK(memory);
    return memory;
}

struct meter_options drawn_options(uint8_t kind, uint8_t timeouts, uint8_t small)
{
    static const uint32_t flows[] = {1, 2, 3, 5, 16, 16, 64, 100};
    const uint32_t profile = kind % 3;
    struct meter_options options = {.profile = profile,
                                    .padding = kind / 3 % 3,
                                    .max_flows = flows[small & 7],
                                    .max_context_keys = 1u << (small >> 3 & 3),
                                    .flow_timeout_us = 120 * S,
                                    .context_seed = small >> 5};
    if (profile == GATEWAY) {
        options.linger_us = S;
        options.unanswered_us = 3 * S;
        options.idle_us = 15 * S;
        options.active_us = 60 * S;
    }
    int64_t *const all[] = {&options.flow_timeout_us, &options.linger_us, &options.unanswered_us,
                            &options.idle_us, &options.active_us};
    for (int i = 0; i < 5; i++) {
        if (timeouts % 4 == 1) *all[i] = 240 * S;
        if (timeouts % 4 == 2) *all[i] = 1 + i;
    }
    return options;
}

/* --- playing --------------------------------------------------------------------------------- */

static void keep(struct outcome *outcome, struct rows *rows)
{
    const size_t columns = outcome->columns;
    if (outcome->count + rows->count > outcome->room) {
        outcome->room = 2 * (outcome->count + rows->count);
        outcome->rows = realloc(outcome->rows, outcome->room * sizeof *outcome->rows);
        outcome->values = realloc(outcome->values, outcome->room * columns * sizeof(double));
        CHECK(outcome->rows && outcome->values);
    }
    if (rows->count) {
        memcpy(outcome->rows + outcome->count, rows->rows, rows->count * sizeof *rows->rows);
        memcpy(outcome->values + outcome->count * columns, rows->values,
               rows->count * columns * sizeof(double));
    }
    outcome->count += rows->count;
    rows->count = 0;
}

/* Keeps what a call gave out. True: it is to be repeated, and got somewhere. */
static bool again(bool full, struct outcome *outcome, struct rows *rows)
{
    CHECK(rows->count <= rows->capacity);
    CHECK(!full || rows->count > rows->capacity - ROWS_A_PACKET);
    keep(outcome, rows);
    return full;
}

static void add_block(struct meter *meter, const uint8_t *data, const struct frame *frames,
                      size_t count, struct outcome *outcome, struct rows *rows)
{
    size_t done = 0;
    while (again(edge_meter_add(meter, data, frames, count, &done, rows), outcome, rows))
        CHECK(done <= count);
    CHECK(done == count);
}

static void add_alone(struct meter *meter, const uint8_t *data, const struct frame *frame,
                      struct outcome *outcome, struct rows *rows)
{
    uint8_t *alone = room_for(frame->captured_bytes);
    memcpy(alone, data + frame->offset, frame->captured_bytes);
    struct frame moved = *frame;
    moved.offset = 0;
    add_block(meter, alone, &moved, 1, outcome, rows);
    free(alone);
}

static void add_frames(struct meter *meter, const struct script *script, size_t from, size_t to,
                       bool one_by_one, struct outcome *outcome, struct rows *rows)
{
    if (!one_by_one && from < to)
        add_block(meter, script->data, script->frames + from, to - from, outcome, rows);
    for (size_t i = from; one_by_one && i < to; i++)
        add_alone(meter, script->data, script->frames + i, outcome, rows);
    CHECK(edge_meter_flows(meter) <= script->options.max_flows);
}

static void flush(struct meter *meter, struct outcome *outcome, struct rows *rows)
{
    while (again(edge_meter_flush(meter, rows), outcome, rows));
    CHECK(edge_meter_flows(meter) == 0);
    CHECK(!edge_meter_flush(meter, rows) && rows->count == 0);
}

static void play_frames(struct meter *meter, const struct script *script, bool one_by_one,
                        struct outcome *outcome, struct rows *rows)
{
    size_t from = 0;
    for (size_t i = 0; i < script->pause_count; i++) {
        const struct pause *pause = &script->pauses[i];
        add_frames(meter, script, from, pause->before, one_by_one, outcome, rows);
        from = pause->before;
        if (pause->flushes)
            flush(meter, outcome, rows);
        else
            while (again(edge_meter_advance(meter, pause->now_us, rows), outcome, rows));
    }
    add_frames(meter, script, from, script->frame_count, one_by_one, outcome, rows);
    flush(meter, outcome, rows);
}

static struct outcome play(const struct script *script, struct manner manner)
{
    struct meter_options options = script->options;
    for (int i = 0; i < HASH_SEEDS; i++)
        options.hash_seeds[i] = manner.hash_seed * (uint64_t)(2 * i + 1);
    struct meter *meter = edge_meter_open(&options);
    CHECK(meter);
    struct outcome outcome = {.columns = edge_meter_columns(meter)};
    struct rows rows = {room_for(manner.capacity * sizeof(struct row)),
                        room_for(manner.capacity * outcome.columns * sizeof(double)),
                        manner.capacity, 0};
    play_frames(meter, script, manner.one_by_one, &outcome, &rows);
    memcpy(outcome.counts, edge_meter_counts(meter), sizeof outcome.counts);
    outcome.now_us = edge_meter_now_us(meter);
    free(rows.rows);
    free(rows.values);
    edge_meter_close(meter);
    return outcome;
}

static void forget(struct outcome *outcome)
{
    free(outcome->rows);
    free(outcome->values);
}

/* --- what must hold -------------------------------------------------------------------------- */

static int64_t latest_us(const struct script *script)
{
    int64_t latest = 0;
    for (size_t i = 0; i < script->frame_count; i++)
        if (script->frames[i].time_us > latest) latest = script->frames[i].time_us;
    for (size_t i = 0; i < script->pause_count; i++)
        if (script->pauses[i].now_us > latest) latest = script->pauses[i].now_us;
    return latest;
}

static void check_who(const struct row *row)
{
    static const uint8_t zeros[12];
    CHECK(row->version == 4 || row->version == 6);
    CHECK(row->protocol == TCP || row->protocol == UDP);
    CHECK(row->unused[0] == 0 && row->unused[1] == 0);
    if (row->version == 6) return;
    CHECK(!memcmp(row->source + 4, zeros, 12) && !memcmp(row->destination + 4, zeros, 12));
}

static void check_when(const struct row *row, const double *values, int64_t latest)
{
    /* Half an hour out of order, and the longest time-out: more would not fit a row's numbers. */
    const int64_t longest_us = 1800 * S + 240 * S;
    const int64_t duration_us = row->end_us - row->start_us;
    CHECK(row->start_us >= 0 && row->start_us <= latest);
    CHECK(row->end_us >= 0 && row->end_us <= latest);
    CHECK(row->released_us >= row->end_us && row->released_us <= latest);
    CHECK(-longest_us <= duration_us && duration_us <= longest_us);
    CHECK(values[DURATION] == (double)duration_us);
}

static void check_finite(const struct script *script, const double *values, size_t columns)
{
    const bool rates_may_not_be = script->options.profile == CIC2017 && values[DURATION] == 0;
    for (size_t i = 0; i < columns; i++)
        if (!(rates_may_not_be && (i == BYTE_RATE || i == PACKET_RATE))) CHECK(isfinite(values[i]));
    if (rates_may_not_be) {
        CHECK(isnan(values[BYTE_RATE]) || values[BYTE_RATE] == INFINITY);
        CHECK(values[PACKET_RATE] == INFINITY);
    }
}

/* Largest, smallest, mean, deviation of `packets` payloads. */
static void check_lengths(const double *values, double packets, double bytes)
{
    const double slack = 1e-6;
    CHECK(values[1] >= 0 && values[0] >= values[1] && values[0] <= 1 << 20);
    CHECK(packets > 0 || (values[0] == 0 && values[2] == 0 && bytes == 0));
    CHECK(values[2] >= values[1] - slack && values[2] <= values[0] + slack);
    /* A sample's deviation is at most its range: reached, nearly, by two values. */
    CHECK(values[3] >= 0 && values[3] <= values[0] - values[1] + slack);
}

static void check_context(const double *values)
{
    static const int sketches[] = {2, 2, 0, 1};
    for (int kind = 0; kind < 4; kind++) {
        CHECK(values[0] >= 0 && values[1] >= values[0] * (1 - 1e-9));
        values += 2;
        for (int i = 0; i < sketches[kind]; i++, values++) CHECK(*values >= 0 && *values <= 1420);
        CHECK(values[0] >= 0 && values[0] <= 1);
        CHECK(values[1] >= 0 && values[1] <= 600e6);
        values += 2;
    }
}

static void check_rows(const struct script *script, const struct outcome *outcome)
{
    const int64_t latest = latest_us(script);
    const uint32_t profile = script->options.profile;
    double packets = 0;
    for (size_t i = 0; i < outcome->count; i++) {
        const double *values = outcome->values + i * outcome->columns;
        const double forward = values[FORWARD_PACKETS], backward = values[BACKWARD_PACKETS];
        check_who(&outcome->rows[i]);
        check_when(&outcome->rows[i], values, latest);
        check_finite(script, values, outcome->columns);
        check_lengths(values + 6, forward, values[4]);
        check_lengths(values + 10, backward, values[5]);
        if (profile == GATEWAY) check_context(values + IMPROVED_COLUMNS);
        CHECK(values[PORT] == outcome->rows[i].destination_port);
        CHECK(forward >= 0 && backward >= 0);
        CHECK(forward + backward >= (profile == CIC2017 ? 2 : 1));
        packets += forward + backward;
    }
    /* A packet is in one row or a stray; the original tool writes no row of one packet. */
    const double metered = (double)(outcome->counts[COUNT_PACKETS] - outcome->counts[COUNT_STRAYS]);
    CHECK(profile == CIC2017 ? packets <= metered : packets == metered);
}

static void check_counts(const struct script *script, const struct outcome *outcome)
{
    const uint64_t *counts = outcome->counts;
    uint64_t frames = counts[COUNT_PACKETS], evicted = 0;
    for (int reason = COUNT_NOT_IP; reason <= COUNT_EXTENSIONS; reason++) frames += counts[reason];
    for (int reason = COUNT_EVICTED_COMPLETE; reason <= COUNT_EVICTED_ANSWERED; reason++)
        evicted += counts[reason];
    CHECK(frames == script->frame_count);
    CHECK(counts[COUNT_IPV6] <= counts[COUNT_PACKETS]);
    CHECK(counts[COUNT_BEYOND_FRAME] <= counts[COUNT_PACKETS]);
    CHECK(counts[COUNT_DISORDER] + counts[COUNT_STRAYS] <= counts[COUNT_PACKETS]);
    CHECK(counts[COUNT_JUMPS] <= counts[COUNT_PACKETS]);
    CHECK(evicted <= counts[COUNT_PACKETS]);
    CHECK(script->options.profile == GATEWAY || counts[COUNT_EVICTED_CONTEXT] == 0);
    CHECK(outcome->now_us >= 0 && outcome->now_us <= latest_us(script));
}

/* Neither how frames come in blocks, nor the room for rows, nor the secret seeds show. */
static void check_same(const struct outcome *a, const struct outcome *b)
{
    CHECK(!memcmp(a->counts, b->counts, sizeof a->counts));
    CHECK(a->now_us == b->now_us);
    CHECK(a->count == b->count);
    if (a->count == 0) return;
    CHECK(!memcmp(a->rows, b->rows, a->count * sizeof *a->rows));
    CHECK(!memcmp(a->values, b->values, a->count * a->columns * sizeof *a->values));
}

void check_metering(const struct script *script)
{
    const struct manner together = {false, script->capacity, 0x9E3779B97F4A7C15};
    /* Seeds of 0 put all flows into one bucket. */
    const struct manner apart = {true, ROWS_A_PACKET, script->capacity % 2 ? 0 : 3};
    struct outcome a = play(script, together), b = play(script, apart);
    check_counts(script, &a);
    check_rows(script, &a);
    check_same(&a, &b);
    forget(&a);
    forget(&b);
}
