#define _DEFAULT_SOURCE /* madvise */
#include "table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *table_memory(size_t entries, size_t entry_bytes)
{
    char *memory = calloc(entries, entry_bytes);
#ifdef MADV_HUGEPAGE
    const size_t page_bytes = (size_t)1 << 12, huge_bytes = (size_t)1 << 21;
    if (memory && entries * entry_bytes >= 2 * huge_bytes) {
        /* Only whole pages can be advised. Where it is refused, small pages do. */
        const size_t before = (page_bytes - (size_t)memory % page_bytes) % page_bytes;
        const size_t bytes = entries * entry_bytes - before;
        (void)madvise(memory + before, bytes - bytes % page_bytes, MADV_HUGEPAGE);
    }
#endif
    return memory;
}

bool chains_open(struct chains *chains, uint32_t entries)
{
    /* Half full at most. */
    uint32_t buckets = 2;
    while (buckets < 2 * entries) buckets *= 2;
    chains->mask = buckets - 1;
    chains->buckets = calloc(buckets, sizeof *chains->buckets);
    chains->slots = calloc((size_t)entries + 1, sizeof *chains->slots);
    return chains->buckets && chains->slots;
}

void chains_close(struct chains *chains)
{
    free(chains->buckets);
    free(chains->slots);
}

void chains_clear(struct chains *chains)
{
    memset(chains->buckets, 0, ((size_t)chains->mask + 1) * sizeof *chains->buckets);
}
