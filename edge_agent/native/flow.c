#include "flow.h"

#include <string.h>

enum {
    IDLE_GAP_US = 5000000,    /* strictly longer ends an active period (spec A.9) */
    SUBFLOW_GAP_US = 1000000, /* strictly longer begins a subflow (spec C.2) */
    BULK_GAP_US = 1000000,    /* no longer gap inside a bulk (spec C.2) */
    BULK_PACKETS = 4
};

/* One packet, as both the first and any later packet of a row are counted. */
struct booked {
    int32_t time;
    uint32_t payload_bytes;
    uint16_t window;
    uint8_t flags, header_bytes, protocol;
};

static inline void bulk_add(struct bulk *bulk, const struct bulk *other, int32_t time,
                            uint32_t length_bytes)
{
    if (other->last > bulk->start) bulk->start = NEVER;
    if (length_bytes == 0) return;
    const int64_t gap = (int64_t)time - bulk->last;
    if (bulk->start == NEVER || gap > BULK_GAP_US) {
        bulk->start = time;
        bulk->candidate_packets = 1;
        bulk->candidate_bytes = length_bytes;
    } else if (++bulk->candidate_packets > BULK_PACKETS) {
        bulk->packets++;
        bulk->bytes += length_bytes;
        bulk->duration_us += gap;
    } else {
        bulk->candidate_bytes += length_bytes;
        if (bulk->candidate_packets == BULK_PACKETS) {
            bulk->bulks++;
            bulk->packets += BULK_PACKETS;
            bulk->bytes += bulk->candidate_bytes;
            bulk->duration_us += time - bulk->start;
        }
    }
    bulk->last = time;
}

static inline void direction_add(struct direction *way, const struct bulk *other,
                                 const struct booked *packet)
{
    const uint32_t length = packet->payload_bytes;
    if (way->packets == 0) {
        way->first = packet->time;
        way->length_min = way->length_max = length;
        way->header_min = packet->header_bytes;
        way->gap_min = INT32_MAX;
        way->gap_max = INT32_MIN;
    } else {
        const int32_t gap = packet->time - way->last;
        squares_add(&way->gap_squares, gap);
        if (gap < way->gap_min) way->gap_min = gap;
        if (gap > way->gap_max) way->gap_max = gap;
        if (length < way->length_min) way->length_min = length;
        if (length > way->length_max) way->length_max = length;
        if (packet->header_bytes < way->header_min) way->header_min = packet->header_bytes;
    }
    way->packets++;
    way->last = packet->time;
    way->length_sum += length;
    squares_add(&way->length_squares, length);
    way->header_words += packet->header_bytes >> 2;
    way->data_packets += length >= 1;
    if (packet->protocol == TCP) {
        way->psh += (packet->flags & PSH) != 0;
        way->urg += (packet->flags & URG) != 0;
        way->rst += (packet->flags & RST) != 0;
        way->last_window = packet->window;
        if (way->first_nonzero_window == 0) way->first_nonzero_window = packet->window;
    }
    bulk_add(&way->bulk, other, packet->time, length);
}

static inline void flags_add(struct counts *counts, uint8_t flags)
{
    counts->ack += (flags & ACK) != 0;
    if (flags & (FIN | SYN | CWR | ECE)) {
        counts->fin += (flags & FIN) != 0;
        counts->syn += (flags & SYN) != 0;
        counts->cwr += (flags & CWR) != 0;
        counts->ece += (flags & ECE) != 0;
    }
}

static void periods_add(struct periods *periods, int32_t value)
{
    if (periods->count == 0 || value < periods->min) periods->min = value;
    if (periods->count == 0 || value > periods->max) periods->max = value;
    periods->count++;
    periods->sum += value;
    squares_add(&periods->squares, value);
}

void row_begin(struct flow *flow, const struct packet *packet, int way)
{
    flow->start_us = packet->time_us;
    flow->end = 0;
    flow->packets = 1;
    flow->first_payload_bytes = packet->payload_bytes;
    flow->first_window = packet->window;
    flow->first_flags = packet->flags;
    flow->first_header_bytes = packet->header_bytes;
    flow->first_way = (uint8_t)way;
    flow->answered = way == BACKWARD;
}

void counts_of_first(const struct flow *flow, struct counts *counts)
{
    const struct booked first = {0,
                                 flow->first_payload_bytes,
                                 flow->first_window,
                                 flow->first_flags,
                                 flow->first_header_bytes,
                                 (uint8_t)flow->key.protocol};
    memset(counts, 0, sizeof *counts);
    counts->gap_min = INT32_MAX;
    counts->gap_max = INT32_MIN;
    for (int way = FORWARD; way <= BACKWARD; way++) {
        counts->way[way].last_window = -1;
        counts->way[way].bulk.last = counts->way[way].bulk.start = NEVER;
    }
    const int way = flow->first_way;
    direction_add(&counts->way[way], &counts->way[!way].bulk, &first);
    flags_add(counts, first.flags);
}

void row_add(struct flow *flow, struct counts *counts, const struct packet *packet, int way,
             bool closes_activity)
{
    if (flow->packets == 1) counts_of_first(flow, counts);
    const struct booked booked = {(int32_t)(packet->time_us - flow->start_us),
                                  packet->payload_bytes,
                                  packet->window,
                                  packet->flags,
                                  packet->header_bytes,
                                  (uint8_t)packet->key.protocol};
    const int32_t gap = booked.time - flow->end;
    if (gap > SUBFLOW_GAP_US) {
        counts->subflow_gaps++;
        if (gap > IDLE_GAP_US && closes_activity) {
            const int32_t active = flow->end - counts->active_since;
            if (active > 0) periods_add(&counts->active, active);
            periods_add(&counts->idle, gap);
            counts->active_since = booked.time;
        }
    }
    squares_add(&counts->gap_squares, gap);
    if (gap < counts->gap_min) counts->gap_min = gap;
    if (gap > counts->gap_max) counts->gap_max = gap;
    flow->end = booked.time;
    flow->packets++;
    flow->answered |= way == BACKWARD;
    direction_add(&counts->way[way], &counts->way[!way].bulk, &booked);
    flags_add(counts, booked.flags);
}
