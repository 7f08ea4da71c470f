/* The flow table of a meter: entries, the queues they wait in, and the bound. */
#ifndef EDGE_IDS_FLOWS_H
#define EDGE_IDS_FLOWS_H

#include "context.h"
#include "flow.h"
#include "meter.h"

/* Frames that are decoded, and whose flows are fetched from memory, together. */
enum { BATCH = 32 };

struct meter {
    struct meter_options options;
    struct decoder decoder;
    uint64_t counts[COUNTS];

    struct flow *flows; /* entry 0 stands for none */
    struct counts *counters;
    struct chains chains;
    uint32_t free; /* the first of the freed entries, chained by `order_links` */
    uint32_t used, flow_count;
    struct link *order_links, *silence_links, *aging_links;
    struct list order;           /* by when they came */
    struct list silence[STATES]; /* by when they were touched */
    struct list aging;           /* by when their row is cut */
    int64_t silence_us[STATES];
    int64_t quiet_until_us; /* no queue has anything due before */

    struct context context;
    struct places *places; /* of each flow (gateway) */
    size_t columns;

    int64_t clock_us;
    bool clock_runs, holds, begins_anew;
    struct packet held;
    struct packet due[2]; /* admitted after a jump of time, to be taken next */
    int due_count;

    struct packet batch[BATCH];
    int batch_count, batch_next;
};

static inline bool is_full(const struct rows *rows)
{
    return rows->capacity - rows->count < ROWS_A_PACKET;
}

/* The entry of a packet's flow, 0 for none. */
uint32_t flows_find(const struct meter *meter, const struct packet *packet);

/* Makes an entry that is in no queue yet. There is a free one. */
uint32_t flows_insert(struct meter *meter, const struct packet *packet);

/* Gives a flow's row out, if it has one that is to be written. There is room for it. */
void flows_give_out(struct meter *meter, uint32_t index, int64_t now_us, struct rows *rows);

/* Forgets a flow; its row is given out if it has one. */
void flows_drop(struct meter *meter, uint32_t index, int64_t now_us, struct rows *rows);

/* Forgets all, in the order they came. True: no room, to be repeated. */
bool flows_drop_all(struct meter *meter, struct rows *rows);

/* Pushes a flow out if the table is full. */
void flows_make_room(struct meter *meter, struct rows *rows);

/* Queues a flow that a packet has just touched. */
void flows_wait(struct meter *meter, uint32_t index);

/* Has the row of a flow cut at its age, or no longer. */
void flows_start_aging(struct meter *meter, uint32_t index);
void flows_stop_aging(struct meter *meter, uint32_t index);

/* The addresses and the service of a flow, as it is oriented. */
struct ends flows_ends(const struct flow *flow);

bool flows_open(struct meter *meter);
void flows_close(struct meter *meter);

#endif
