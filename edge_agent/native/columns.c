/* The formulas, one line a column or group of columns, in the order of `edge_agent/contract/
 * features.py`, which says them in words; `edge_agent/flow/columns.py` says them in Python. */
#include "columns.h"

#include <math.h>
#include <string.h>

static inline double *put(double *out, double value)
{
    *out = value;
    return out + 1;
}

static inline double mean(int64_t sum, uint32_t n)
{
    return n ? (double)sum / n : 0;
}

static inline double rate(uint64_t amount, int64_t duration_us, double when_instant)
{
    return duration_us ? (double)amount * 1e6 / (double)duration_us : when_instant;
}

/* Mean, standard deviation, largest, smallest of `n` gaps that add up to `total`. */
static double *put_gaps(double *out, uint32_t n, int64_t total, const struct squares *squares,
                        int32_t min, int32_t max)
{
    out = put(out, mean(total, n));
    out = put(out, sqrt(sample_variance(n, total, *squares)));
    out = put(out, n ? max : 0);
    return put(out, n ? min : 0);
}

static double *put_all_gaps(double *out, const struct flow *flow, const struct counts *c)
{
    return put_gaps(out, flow->packets - 1, flow->end, &c->gap_squares, c->gap_min, c->gap_max);
}

/* Total, then as above, of one direction. */
static double *put_direction_gaps(double *out, const struct direction *way)
{
    const uint32_t n = way->packets ? way->packets - 1 : 0;
    const int64_t total = (int64_t)way->last - way->first;
    out = put(out, (double)total);
    return put_gaps(out, n, total, &way->gap_squares, way->gap_min, way->gap_max);
}

/* Largest, smallest, mean, std: the one group the tools print in this order. */
static double *put_lengths(double *out, const struct direction *way)
{
    out = put(out, way->length_max);
    out = put(out, way->length_min);
    out = put(out, mean((int64_t)way->length_sum, way->packets));
    return put(out,
               sqrt(sample_variance(way->packets, (int64_t)way->length_sum, way->length_squares)));
}

static double *put_periods(double *out, const struct periods *periods)
{
    return put_gaps(out, periods->count, periods->sum, &periods->squares, periods->min,
                    periods->max);
}

/* Bytes a bulk, packets a bulk, bytes a second of bulk. */
static double *put_bulks(double *out, const struct bulk *bulk)
{
    out = put(out, mean((int64_t)bulk->bytes, bulk->bulks));
    out = put(out, mean(bulk->packets, bulk->bulks));
    return put(out, bulk->bulks ? rate(bulk->bytes, bulk->duration_us, 0) : 0);
}

static double *put_flags(double *out, unsigned flags, const uint8_t *bits, int n)
{
    for (int i = 0; i < n; i++) out = put(out, (flags & bits[i]) != 0);
    return out;
}

static uint32_t smallest_length(const struct direction *f, const struct direction *b)
{
    if (!f->packets) return b->length_min;
    if (!b->packets) return f->length_min;
    return f->length_min < b->length_min ? f->length_min : b->length_min;
}

static uint32_t largest_length(const struct direction *f, const struct direction *b)
{
    return f->length_max > b->length_max ? f->length_max : b->length_max;
}

/* The columns both tools have alike: 1 to 14. */
static double *put_head(double *out, const struct flow *flow, const struct direction *f,
                        const struct direction *b)
{
    out = put(out, flow->key.port[!flow->source]);
    out = put(out, flow->end);
    out = put(out, f->packets);
    out = put(out, b->packets);
    out = put(out, (double)f->length_sum);
    out = put(out, (double)b->length_sum);
    out = put_lengths(out, f);
    return put_lengths(out, b);
}

void cic2017_columns(const struct flow *flow, const struct counts *c, double *out)
{
    /* The original tool's names stand over permuted flags (spec B #44 to #51). */
    static const uint8_t permuted[] = {RST, PSH, ECE, SYN, ACK, FIN, URG, CWR};
    const struct direction *f = &c->way[FORWARD], *b = &c->way[BACKWARD];
    const uint32_t n = flow->packets;
    const uint64_t first = flow->first_payload_bytes;
    const uint64_t total = f->length_sum + b->length_sum;
    /* All payloads with the first one in twice (spec B #41, #42). */
    struct squares squares = squares_sum(f->length_squares, b->length_squares);
    squares_add(&squares, (int64_t)first);
    const double variance = sample_variance(n + 1, (int64_t)(total + first), squares);
    const unsigned flags = flow->first_flags;

    out = put_head(out, flow, f, b);
    out = put(out, rate(total, flow->end, total ? INFINITY : NAN));
    out = put(out, rate(n, flow->end, INFINITY));
    out = put_all_gaps(out, flow, c);
    out = put_direction_gaps(out, f);
    out = put_direction_gaps(out, b);
    out = put(out, (flags & PSH) != 0);
    out = put(out, 0);
    out = put(out, (flags & URG) != 0);
    out = put(out, 0);
    out = put(out, f->header_words * 4.0);
    out = put(out, b->header_words * 4.0);
    out = put(out, rate(f->packets, flow->end, 0));
    out = put(out, rate(b->packets, flow->end, 0));
    out = put(out, smallest_length(f, b));
    out = put(out, largest_length(f, b));
    out = put(out, (double)(total + first) / (n + 1));
    out = put(out, sqrt(variance));
    out = put(out, variance);
    out = put_flags(out, flags, permuted, 8);
    out = put(out, b->packets / f->packets); /* cut to an integer, as the tool did */
    out = put(out, (double)(total + first) / n);
    out = put(out, mean((int64_t)f->length_sum, f->packets));
    out = put(out, mean((int64_t)b->length_sum, b->packets));
    out = put(out, f->header_words * 4.0);
    for (int i = 0; i < 6; i++) out = put(out, 0); /* the tool never found a bulk */
    out = put(out, f->packets);
    out = put(out, (double)f->length_sum);
    out = put(out, b->packets);
    out = put(out, (double)b->length_sum);
    out = put(out, flow->key.protocol == TCP ? flow->first_window : -1);
    out = put(out, b->last_window);
    out = put(out, f->data_packets - (first >= 1));
    out = put(out, f->header_min);
    out = put_periods(out, &c->active);
    put_periods(out, &c->idle);
}

void improved_columns(const struct flow *flow, const struct counts *c, double *out)
{
    const struct direction *f = &c->way[FORWARD], *b = &c->way[BACKWARD];
    const uint32_t n = flow->packets;
    const uint64_t total = f->length_sum + b->length_sum;
    const double average = mean((int64_t)total, n);
    const double variance =
        sample_variance(n, (int64_t)total, squares_sum(f->length_squares, b->length_squares));
    /* The tool sets these at a row's first packet only: what that packet's direction is not, keeps
     * the 0 it began with (a header minimum then never rises above it). */
    const bool forward = flow->first_way == FORWARD;

    out = put_head(out, flow, f, b);
    out = put(out, rate(total, flow->end, -1));
    out = put(out, rate(n, flow->end, -1));
    out = put_all_gaps(out, flow, c);
    out = put_direction_gaps(out, f);
    out = put_direction_gaps(out, b);
    out = put(out, f->psh);
    out = put(out, b->psh);
    out = put(out, f->urg);
    out = put(out, b->urg);
    out = put(out, f->rst);
    out = put(out, b->rst);
    out = put(out, f->header_words * 4.0);
    out = put(out, b->header_words * 4.0);
    out = put(out, rate(f->packets, flow->end, 0));
    out = put(out, rate(b->packets, flow->end, 0));
    out = put(out, smallest_length(f, b));
    out = put(out, largest_length(f, b));
    out = put(out, average);
    out = put(out, sqrt(variance));
    out = put(out, variance);
    out = put(out, c->fin);
    out = put(out, c->syn);
    out = put(out, f->rst + b->rst);
    out = put(out, f->psh + b->psh);
    out = put(out, c->ack);
    out = put(out, f->urg + b->urg);
    out = put(out, c->cwr);
    out = put(out, c->ece);
    out = put(out, f->packets ? (double)b->packets / f->packets : 0);
    out = put(out, average);
    out = put(out, mean((int64_t)f->length_sum, f->packets));
    out = put(out, mean((int64_t)b->length_sum, b->packets));
    out = put_bulks(out, &f->bulk);
    out = put_bulks(out, &b->bulk);
    out = put(out, mean(f->packets, c->subflow_gaps));
    out = put(out, mean((int64_t)f->length_sum, c->subflow_gaps));
    out = put(out, mean(b->packets, c->subflow_gaps));
    out = put(out, mean((int64_t)b->length_sum, c->subflow_gaps));
    out = put(out, forward ? flow->first_window : 0);
    out = put(out, b->first_nonzero_window);
    out = put(out, f->data_packets);
    out = put(out, b->data_packets);
    out = put(out, forward ? f->header_min : 0);
    out = put(out, forward ? 0 : b->header_min);
    out = put_periods(out, &c->active);
    put_periods(out, &c->idle);
}

/* Places of columns, for those of one packet; from 0, in the order above. */
enum {
    AT_PORT = 0,
    AT_PACKETS = 2,
    AT_LENGTH_SUM = 4,
    AT_LENGTHS = 6, /* of the directions: max, min, mean, std each */
    AT_BYTE_RATE = 14,
    AT_PACKET_RATE = 15,
    AT_PSH = 30,
    AT_URG = 32,
    AT_RST = 34,
    AT_HEADERS = 36,
    AT_LENGTH_MIN = 40, /* min, max, mean */
    AT_FLAGS = 45,
    AT_AVERAGES = 54, /* of the row, forward, backward */
    AT_WINDOW = 67,
    AT_DATA_PACKETS = 69,
    AT_HEADER_MIN = 71
};

void improved_columns_of_first(const struct flow *flow, double *out)
{
    static const uint8_t bits[] = {FIN, SYN, RST, PSH, ACK, URG, CWR, ECE};
    const int way = flow->first_way;
    const double length = flow->first_payload_bytes;
    const unsigned flags = flow->first_flags;
    memset(out, 0, IMPROVED_COLUMNS * sizeof *out);
    out[AT_PORT] = flow->key.port[!flow->source];
    out[AT_PACKETS + way] = 1;
    out[AT_BYTE_RATE] = out[AT_PACKET_RATE] = -1;
    out[AT_HEADERS + way] = flow->first_header_bytes;
    if (length > 0) {
        out[AT_LENGTH_SUM + way] = length;
        for (int i = 0; i < 3; i++) {
            out[AT_LENGTHS + 4 * way + i] = length;
            out[AT_LENGTH_MIN + i] = length;
        }
        out[AT_AVERAGES] = out[AT_AVERAGES + 1 + way] = length;
        out[AT_DATA_PACKETS + way] = 1;
    }
    if (flags) {
        out[AT_PSH + way] = (flags & PSH) != 0;
        out[AT_URG + way] = (flags & URG) != 0;
        out[AT_RST + way] = (flags & RST) != 0;
        put_flags(out + AT_FLAGS, flags, bits, 8);
    }
    out[AT_WINDOW + way] = flow->first_window;
    out[AT_HEADER_MIN + way] = flow->first_header_bytes;
}
