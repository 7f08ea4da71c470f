/* An entry of the flow table and what is counted of its row. `flow.counters` in Python says the
 * same; see there for the meaning of bulks, active periods and subflows. */
#ifndef EDGE_IDS_FLOW_H
#define EDGE_IDS_FLOW_H

#include "packet.h"
#include "wide.h"

enum { FORWARD, BACKWARD };

/* What a flow waits in the table as; the first is the least loss. */
enum state { CLOSED, SINGLE, UNANSWERED, ANSWERED, STATES };

/* All times inside a row are µs from its first packet. They fit: a row lives two minutes at most,
 * and no packet is stamped more than half an hour off the clock (`timeline.h`). */
enum { NEVER = INT32_MIN };

struct bulk {
    uint64_t bytes;
    int64_t duration_us;
    uint32_t bulks, packets;
    int32_t last, start; /* of the last payload packet, of the candidate */
    uint32_t candidate_packets, candidate_bytes;
};

struct direction {
    uint64_t length_sum;
    struct squares length_squares, gap_squares;
    uint32_t packets, data_packets;
    int32_t first, last;
    int32_t gap_min, gap_max;
    uint32_t length_min, length_max;
    uint32_t header_words; /* of four bytes */
    uint32_t psh, urg, rst;
    int32_t last_window; /* -1: no TCP packet this way */
    uint16_t first_nonzero_window;
    uint8_t header_min;
    struct bulk bulk;
};

/* Count, sum, squares and extremes of active or idle periods. */
struct periods {
    int64_t sum;
    struct squares squares;
    int32_t min, max;
    uint32_t count;
};

struct counts {
    struct direction way[2];
    struct squares gap_squares;
    int32_t gap_min, gap_max;
    int32_t active_since;
    uint32_t subflow_gaps;
    uint32_t fin, syn, ack, cwr, ece;
    struct periods active, idle;
};

/* The first packet is kept apart, so that a flood of one-packet flows touches no `struct counts`.
 */
struct flow {
    struct key key;
    int64_t touched_us; /* the clock at its last packet */
    int64_t cut_us;     /* when its row is cut */
    int64_t start_us;   /* first packet of the row */
    int32_t end;        /* last packet of the row */
    uint32_t packets;   /* of the row; 0 between two rows */
    uint32_t first_payload_bytes;
    uint16_t first_window;
    uint8_t first_flags;
    uint8_t first_header_bytes;
    uint8_t first_way; /* how the first packet was booked */
    uint8_t source;    /* which end of the key is the flow's source */
    uint8_t fins;      /* bit per way that sent FIN */
    uint8_t state;
    bool closed;
    bool answered; /* the row has a packet backward */
};

void row_begin(struct flow *flow, const struct packet *packet, int way);

/* Takes the next packet of a row in. `closes_activity`: whether a long gap before it is idle time
 * (not for the FIN that ends a row of the original tool, spec A.9). */
void row_add(struct flow *flow, struct counts *counts, const struct packet *packet, int way,
             bool closes_activity);

/* The counts of a row of one packet, which has none of its own. */
void counts_of_first(const struct flow *flow, struct counts *counts);

#endif
