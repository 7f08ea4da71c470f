/* How busy a flow's neighbourhood is when it is given out: `edge_agent/flow/context.py`, which says
 * what the columns mean. Four tables of fixed size; in each, the key longest untouched makes room.
 */
#ifndef EDGE_IDS_CONTEXT_H
#define EDGE_IDS_CONTEXT_H

#include "packet.h"
#include "table.h"

enum { SOURCE, DESTINATION, PAIR, SERVICE, NEIGHBOURHOODS };

struct neighbourhoods {
    uint8_t *entries; /* entry 0 stands for none */
    size_t stride;
    struct chains chains;
    uint32_t used, max_keys;
    struct link *links;
    struct list recent;
};

struct context {
    struct neighbourhoods of[NEIGHBOURHOODS];
    const uint64_t *hash_seeds;
    uint64_t seed; /* of the sketches: moves which values share a bit */
    uint64_t evicted;
    double distinct[257]; /* by the number of empty bits of a sketch */
};

struct ends {
    struct address source, destination;
    uint16_t port, protocol, version;
};

bool context_open(struct context *context, uint32_t max_keys, uint64_t seed,
                  const uint64_t *hash_seeds);
void context_close(struct context *context);
void context_clear(struct context *context);

/* Where a flow's neighbourhoods were last seen: most are still there, and need no look-up. */
struct places {
    uint32_t at[NEIGHBOURHOODS];
};

void context_begin(struct context *context, const struct ends *ends, int64_t now_us,
                   struct places *places);

/* Writes the CONTEXT_COLUMNS of a flow that is given out. */
void context_end(struct context *context, const struct ends *ends, int64_t now_us, bool answered,
                 const struct places *places, double *out);

#endif
