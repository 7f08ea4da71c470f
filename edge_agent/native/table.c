#define _DEFAULT_SOURCE /* madvise */
#include "table.h"

#include <stdlib.h>
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
