/* What the tables of the meter are made of: a keyed hash, and lists that live in arrays.
 *
 * Nothing is allocated after a table is opened; its pages cost nothing until they are used. */
#ifndef EDGE_IDS_TABLE_H
#define EDGE_IDS_TABLE_H

#include "packet.h"

enum { HASH_SEEDS = 12 };

/* Multilinear hashing (Lemire & Kaser, "Strongly universal string hashing is fast", 2014): with
 * secret 64-bit seeds, two different keys get the same sum with a probability of 2^-32, whoever
 * chose them. SplitMix64's finaliser then spreads what keys that resemble each other have in
 * common. */
static inline uint32_t key_hash(const uint64_t *seeds, const struct key *key, unsigned salt)
{
    uint64_t sum = seeds[0];
    sum += seeds[1] * (uint32_t)key->end[0].low;
    sum += seeds[2] * (uint32_t)key->end[1].low;
    sum += seeds[3] * ((uint32_t)key->port[0] << 16 | key->port[1]);
    sum += seeds[4] * ((uint32_t)key->protocol << 16 | key->version << 8 | salt);
    if (key->version == 6) {
        sum += seeds[5] * (key->end[0].low >> 32) + seeds[6] * (key->end[1].low >> 32);
        sum += seeds[7] * (uint32_t)key->end[0].high + seeds[8] * (uint32_t)key->end[1].high;
        sum += seeds[9] * (key->end[0].high >> 32) + seeds[10] * (key->end[1].high >> 32);
    }
    sum = (sum ^ sum >> 30) * 0xBF58476D1CE4E5B9;
    sum = (sum ^ sum >> 27) * 0x94D049BB133111EB;
    return (uint32_t)(sum >> 32);
}

static inline bool key_equal(const struct key *a, const struct key *b)
{
    return a->end[0].low == b->end[0].low && a->end[1].low == b->end[1].low &&
           a->port[0] == b->port[0] && a->port[1] == b->port[1] && a->protocol == b->protocol &&
           a->version == b->version && a->end[0].high == b->end[0].high &&
           a->end[1].high == b->end[1].high;
}

/* A doubly linked list through an array of links; 0 is no entry. */
struct link {
    uint32_t before, after;
};

struct list {
    uint32_t first, last;
};

static inline void list_append(struct list *list, struct link *links, uint32_t entry)
{
    links[entry].before = list->last;
    links[entry].after = 0;
    if (list->last)
        links[list->last].after = entry;
    else
        list->first = entry;
    list->last = entry;
}

static inline void list_remove(struct list *list, struct link *links, uint32_t entry)
{
    const struct link link = links[entry];
    if (link.before)
        links[link.before].after = link.after;
    else
        list->first = link.after;
    if (link.after)
        links[link.after].before = link.before;
    else
        list->last = link.before;
}

enum { LINE_BYTES = 64 };

/* Fetches something from memory that will be written soon. */
static inline void fetch(const void *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LINE_BYTES) __builtin_prefetch((const char *)at + i, 1);
}

/* Zeroed memory of a table, in huge pages where there are some: its entries are visited in no
 * order, and with small pages each visit would look up its page first. NULL: there is none. */
void *table_memory(size_t entries, size_t entry_bytes);

/* Chained buckets, in arrays of their own: looking for an entry touches none but that one. */
struct slot {
    uint32_t hash, chain; /* the next entry of the bucket, or 0 */
};

struct chains {
    uint32_t *buckets;
    struct slot *slots; /* of each entry */
    uint32_t mask;
};

/* For entries 1 to `entries`; false without memory. */
bool chains_open(struct chains *chains, uint32_t entries);
void chains_close(struct chains *chains);
void chains_clear(struct chains *chains);

/* Goes on from an entry to one of this hash; 0 when there is none. */
static inline uint32_t chains_from(const struct chains *chains, uint32_t entry, uint32_t hash)
{
    while (entry && chains->slots[entry].hash != hash) entry = chains->slots[entry].chain;
    return entry;
}

static inline uint32_t chains_first(const struct chains *chains, uint32_t hash)
{
    return chains_from(chains, chains->buckets[hash & chains->mask], hash);
}

static inline uint32_t chains_next(const struct chains *chains, uint32_t entry)
{
    const struct slot slot = chains->slots[entry];
    return chains_from(chains, slot.chain, slot.hash);
}

static inline void chains_insert(struct chains *chains, uint32_t entry, uint32_t hash)
{
    uint32_t *bucket = &chains->buckets[hash & chains->mask];
    chains->slots[entry] = (struct slot){hash, *bucket};
    *bucket = entry;
}

static inline void chains_remove(struct chains *chains, uint32_t entry)
{
    uint32_t *from = &chains->buckets[chains->slots[entry].hash & chains->mask];
    while (*from != entry) from = &chains->slots[*from].chain;
    *from = chains->slots[entry].chain;
}

#endif
