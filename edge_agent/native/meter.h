/* Packets -> flow rows, at the speed of the wire, in memory that is fixed when the meter is opened.
 *
 * The Python package `edge_agent.flow` says what is counted and why; its `reference` is the oracle,
 * and a property test holds this meter equal to it. Here is how:
 *
 *   packet.c   a frame's bytes -> struct packet. Every read is checked against what was captured.
 *   table.h    keyed hashing, lists in arrays.
 *   flow.c     struct packet -> counts of a row. Sums of squares are exact integers (wide.h).
 *   columns.c  counts -> columns: all formulas, in file order.
 *   context.c  the neighbourhood columns of the `gateway` profile.
 *   flows.c    the table of flows, the queues they wait in, and its bound.
 *   meter.c    profiles: when a row begins and ends; the clock.
 *
 * Speed comes from four things. Frames are taken in small batches: all are decoded, then the
 * buckets and flows that they will touch are fetched from memory together, then they are counted.
 * Nothing is allocated after `edge_meter_open`. Time-outs need no timers: every queue has one
 * time-out, so its head is always the next to go, and most packets compare one number. A flow of
 * one packet, which is what floods are made of, costs its table entry alone.
 *
 * Rows are written into the caller's arrays. When these are full, a call returns early with its
 * place kept, and is to be repeated with empty ones. */
#ifndef EDGE_IDS_METER_H
#define EDGE_IDS_METER_H

#include "packet.h"
#include "table.h"

enum profile { CIC2017, IMPROVED, GATEWAY };

/* `_Options` in edge_agent/flow/compiled.py. */
struct meter_options {
    uint32_t profile;
    uint32_t padding;
    uint32_t max_flows;
    uint32_t max_context_keys;
    int64_t flow_timeout_us;
    int64_t linger_us, unanswered_us, idle_us, active_us; /* gateway */
    uint64_t context_seed;
    uint64_t hash_seeds[HASH_SEEDS]; /* secret and random; they change no row */
};

/* Who a row is about: `ROW` in edge_agent/flow/rows.py. */
struct row {
    uint8_t source[16], destination[16]; /* IPv4 in the first four bytes */
    int64_t start_us, end_us, released_us;
    uint16_t source_port, destination_port;
    uint8_t protocol, version;
    uint8_t unused[2];
};

/* Where rows go; `columns` doubles a row in `values`. */
struct rows {
    struct row *rows;
    double *values;
    size_t capacity, count;
};

struct meter;

/* Rows that one packet can complete at most besides those whose time-out ends; `capacity` must be
 * at least that. */
enum { ROWS_A_PACKET = 4 };

/* NULL: not enough memory, or time-outs that the meter cannot count. */
EXPORT struct meter *edge_meter_open(const struct meter_options *options);
EXPORT void edge_meter_close(struct meter *meter);
EXPORT size_t edge_meter_columns(const struct meter *meter);

/* Each returns true when `rows` is full: call again with room, and the same arguments.
 *
 * `edge_meter_add` takes frames of a block in capture order; `*done` counts those taken of this
 * block, 0 at first. `edge_meter_advance` gives out what is due before `now_us` though no packet
 * came; `edge_meter_flush` what is left. */
EXPORT bool edge_meter_add(struct meter *meter, const uint8_t *block, const struct frame *frames,
                           size_t count, size_t *done, struct rows *rows);
EXPORT bool edge_meter_advance(struct meter *meter, int64_t now_us, struct rows *rows);
EXPORT bool edge_meter_flush(struct meter *meter, struct rows *rows);

/* COUNTS numbers, in the order of `enum count`; the clock, 0 before the first packet; flows in the
 * table. */
EXPORT const uint64_t *edge_meter_counts(struct meter *meter);
EXPORT int64_t edge_meter_now_us(const struct meter *meter);
EXPORT uint32_t edge_meter_flows(const struct meter *meter);

#endif
