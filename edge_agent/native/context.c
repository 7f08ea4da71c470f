#include "context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SKETCH_BITS = 256, SKETCH_WORDS = SKETCH_BITS / 64, REMEMBERED_STARTS = 8 };
static const int64_t GENERATION_US = 60000000;
static const double LONG_US = 60e6; /* the short one is a sixth of it */
/* Ten minutes without eight flows is quiet enough; a larger number would say nothing more. */
static const int64_t QUIET_US = 600000000;

/* Distinct values of this minute and the last, by linear counting. */
struct distinct {
    int64_t generation; /* of any stamp: 32 bits come round again */
    uint32_t used;      /* bits set in one or the other */
    uint64_t current[SKETCH_WORDS], previous[SKETCH_WORDS];
};

struct neighbourhood {
    struct key key;
    int64_t updated_us;
    double begun_short, begun_long, ended, unanswered;
    int64_t last_start_us;
    /* Low 32 bits of when the last flows began, as a ring. Starts that were quiet long ago when
     * another came are dropped, so what is left is near enough for 32 bits. */
    uint32_t starts[REMEMBERED_STARTS];
    uint32_t started, oldest;
    struct distinct sketches[]; /* as many as SKETCHES says */
};

static const int SKETCHES[NEIGHBOURHOODS] = {2, 2, 0, 1};
enum { PEERS, PORTS }; /* which sketch */

static uint64_t spread(uint64_t value, uint64_t seed)
{
    uint64_t x = value ^ seed;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
    x = (x ^ x >> 27) * 0x94D049BB133111EB;
    return x ^ x >> 31;
}

static uint64_t spread_address(const struct address *address, uint16_t version, uint64_t seed)
{
    return spread(version == 6 ? address->low ^ spread(address->high, seed) : address->low, seed);
}

static uint32_t count_bits(const uint64_t *words)
{
    uint32_t count = 0;
    for (int i = 0; i < SKETCH_WORDS; i++)
        for (uint64_t word = words[i]; word; word &= word - 1) count++;
    return count;
}

static void distinct_turn(struct distinct *distinct, int64_t now_us)
{
    const int64_t generation = now_us / GENERATION_US;
    if (generation == distinct->generation) return;
    if (generation == distinct->generation + 1)
        memcpy(distinct->previous, distinct->current, sizeof distinct->previous);
    else
        memset(distinct->previous, 0, sizeof distinct->previous);
    memset(distinct->current, 0, sizeof distinct->current);
    distinct->generation = generation;
    distinct->used = count_bits(distinct->previous);
}

static void distinct_add(struct distinct *distinct, uint64_t mixed, int64_t now_us)
{
    distinct_turn(distinct, now_us);
    const size_t word = mixed % SKETCH_BITS / 64;
    const uint64_t bit = UINT64_C(1) << (mixed % 64);
    distinct->used += !((distinct->current[word] | distinct->previous[word]) & bit);
    distinct->current[word] |= bit;
}

static double distinct_estimate(const struct context *context, struct distinct *distinct,
                                int64_t now_us)
{
    distinct_turn(distinct, now_us);
    return context->distinct[SKETCH_BITS - distinct->used];
}

static void decay(struct neighbourhood *around, int64_t now_us)
{
    const int64_t elapsed_us = now_us - around->updated_us;
    if (elapsed_us <= 0) return;
    /* Six short times are a long one: the sixth power saves an exp. */
    const double fade_long = exp(-(double)elapsed_us / LONG_US);
    const double cubed = fade_long * fade_long * fade_long;
    around->begun_short *= cubed * cubed;
    around->begun_long *= fade_long;
    around->ended *= fade_long;
    around->unanswered *= fade_long;
    around->updated_us = now_us;
}

static void note_start(struct neighbourhood *around, int64_t now_us)
{
    if (now_us - around->last_start_us > QUIET_US) around->started = around->oldest = 0;
    while (around->started &&
           (uint32_t)now_us - around->starts[around->oldest] > (uint32_t)QUIET_US) {
        around->oldest = (around->oldest + 1) % REMEMBERED_STARTS;
        around->started--;
    }
    around->starts[(around->oldest + around->started) % REMEMBERED_STARTS] = (uint32_t)now_us;
    if (around->started < REMEMBERED_STARTS)
        around->started++;
    else
        around->oldest = (around->oldest + 1) % REMEMBERED_STARTS;
    around->last_start_us = now_us;
}

static double eighth_ago_us(const struct neighbourhood *around, int64_t now_us)
{
    if (around->started < REMEMBERED_STARTS || now_us - around->last_start_us > QUIET_US)
        return (double)QUIET_US;
    const uint32_t ago_us = (uint32_t)now_us - around->starts[around->oldest];
    return ago_us < QUIET_US ? ago_us : (double)QUIET_US;
}

static struct neighbourhood *entry(const struct neighbourhoods *table, uint32_t index)
{
    return (struct neighbourhood *)(table->entries + (size_t)index * table->stride);
}

static struct neighbourhood *make_recent(struct neighbourhoods *table, uint32_t index)
{
    if (table->recent.last != index) {
        list_remove(&table->recent, table->links, index);
        list_append(&table->recent, table->links, index);
    }
    return entry(table, index);
}

/* Finds a neighbourhood, first in its place; 0 when it is not there. */
static uint32_t find(const struct context *context, int kind, const struct key *key, uint32_t place,
                     uint32_t *hash)
{
    const struct neighbourhoods *table = &context->of[kind];
    *hash = key_hash(context->hash_seeds, key, (unsigned)kind);
    /* A place may have been given to others since, or lie beyond `used` when all was forgotten. */
    if (place && place <= table->used && table->chains.slots[place].hash == *hash &&
        key_equal(&entry(table, place)->key, key))
        return place;
    uint32_t i = chains_first(&table->chains, *hash);
    while (i && !key_equal(&entry(table, i)->key, key)) i = chains_next(&table->chains, i);
    return i;
}

static uint32_t make(struct context *context, int kind, const struct key *key, uint32_t hash,
                     int64_t now_us)
{
    struct neighbourhoods *table = &context->of[kind];
    uint32_t index;
    if (table->used == table->max_keys) {
        index = table->recent.first;
        chains_remove(&table->chains, index);
        list_remove(&table->recent, table->links, index);
        context->evicted++;
    } else {
        index = ++table->used;
    }
    struct neighbourhood *fresh = entry(table, index);
    memset(fresh, 0, table->stride);
    fresh->key = *key;
    fresh->updated_us = now_us;
    chains_insert(&table->chains, index, hash);
    list_append(&table->recent, table->links, index);
    return index;
}

static void set_keys(const struct ends *ends, struct key keys[NEIGHBOURHOODS])
{
    const struct address nobody = {0, 0};
    const uint16_t port = ends->port, protocol = ends->protocol, version = ends->version;
    keys[SOURCE] = (struct key){{ends->source, nobody}, {0, 0}, 0, version};
    keys[DESTINATION] = (struct key){{ends->destination, nobody}, {0, 0}, 0, version};
    keys[PAIR] = (struct key){{ends->source, ends->destination}, {port, 0}, protocol, version};
    keys[SERVICE] = (struct key){{ends->destination, nobody}, {port, 0}, protocol, version};
}

void context_begin(struct context *context, const struct ends *ends, int64_t now_us,
                   struct places *places)
{
    struct key keys[NEIGHBOURHOODS];
    struct neighbourhood *at[NEIGHBOURHOODS];
    set_keys(ends, keys);
    for (int kind = 0; kind < NEIGHBOURHOODS; kind++) {
        uint32_t hash;
        uint32_t place = find(context, kind, &keys[kind], 0, &hash);
        if (!place) place = make(context, kind, &keys[kind], hash, now_us);
        places->at[kind] = place;
        at[kind] = make_recent(&context->of[kind], place);
        decay(at[kind], now_us);
        at[kind]->begun_short++;
        at[kind]->begun_long++;
        note_start(at[kind], now_us);
    }
    const uint64_t port = spread(ends->port, context->seed);
    const uint64_t caller = spread_address(&ends->source, ends->version, context->seed);
    const uint64_t called = spread_address(&ends->destination, ends->version, context->seed);
    distinct_add(&at[SOURCE]->sketches[PEERS], called, now_us);
    distinct_add(&at[SOURCE]->sketches[PORTS], port, now_us);
    distinct_add(&at[DESTINATION]->sketches[PEERS], caller, now_us);
    distinct_add(&at[DESTINATION]->sketches[PORTS], port, now_us);
    distinct_add(&at[SERVICE]->sketches[PEERS], caller, now_us);
}

/* The columns of a neighbourhood that was forgotten meanwhile; it is not made again, so that the
 * ends of a flood push nobody out. */
static double *put_forgotten(int kind, bool answered, double *out)
{
    for (int i = 0; i < 2 + SKETCHES[kind]; i++) *out++ = 0;
    *out++ = !answered;
    *out++ = (double)QUIET_US;
    return out;
}

void context_end(struct context *context, const struct ends *ends, int64_t now_us, bool answered,
                 const struct places *places, double *out)
{
    struct key keys[NEIGHBOURHOODS];
    set_keys(ends, keys);
    for (int kind = 0; kind < NEIGHBOURHOODS; kind++) {
        uint32_t hash;
        const uint32_t place = find(context, kind, &keys[kind], places->at[kind], &hash);
        if (!place) {
            out = put_forgotten(kind, answered, out);
            continue;
        }
        struct neighbourhood *at = make_recent(&context->of[kind], place);
        decay(at, now_us);
        at->ended++;
        at->unanswered += !answered;
        *out++ = at->begun_short;
        *out++ = at->begun_long;
        for (int sketch = 0; sketch < SKETCHES[kind]; sketch++)
            *out++ = distinct_estimate(context, &at->sketches[sketch], now_us);
        *out++ = at->unanswered / at->ended;
        *out++ = eighth_ago_us(at, now_us);
    }
}

bool context_open(struct context *context, uint32_t max_keys, uint64_t seed,
                  const uint64_t *hash_seeds)
{
    context->seed = seed;
    context->hash_seeds = hash_seeds;
    /* A full sketch: one less than infinity, where linear counting ends. */
    context->distinct[0] = nearbyint(SKETCH_BITS * log(SKETCH_BITS));
    for (int empty = 1; empty <= SKETCH_BITS; empty++)
        context->distinct[empty] = nearbyint(-SKETCH_BITS * log((double)empty / SKETCH_BITS));
    for (int kind = 0; kind < NEIGHBOURHOODS; kind++) {
        struct neighbourhoods *table = &context->of[kind];
        table->max_keys = max_keys;
        table->stride =
            sizeof(struct neighbourhood) + (size_t)SKETCHES[kind] * sizeof(struct distinct);
        table->entries = table_memory((size_t)max_keys + 1, table->stride);
        table->links = calloc((size_t)max_keys + 1, sizeof *table->links);
        if (!chains_open(&table->chains, max_keys) || !table->entries || !table->links)
            return false;
    }
    return true;
}

void context_close(struct context *context)
{
    for (int kind = 0; kind < NEIGHBOURHOODS; kind++) {
        free(context->of[kind].entries);
        free(context->of[kind].links);
        chains_close(&context->of[kind].chains);
    }
}

void context_clear(struct context *context)
{
    for (int kind = 0; kind < NEIGHBOURHOODS; kind++) {
        struct neighbourhoods *table = &context->of[kind];
        chains_clear(&table->chains);
        table->recent = (struct list){0, 0};
        table->used = 0;
    }
}
