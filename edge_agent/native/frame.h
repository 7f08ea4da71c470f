/* One captured frame of a block of bytes: `FRAME` in edge_agent/contract/frames.py. */
#ifndef EDGE_IDS_FRAME_H
#define EDGE_IDS_FRAME_H

#include <stdint.h>

struct frame {
    int64_t time_us;         /* capture time, since 1970 */
    uint32_t offset;         /* first byte, from the block's beginning */
    uint32_t captured_bytes; /* what is there of it */
    uint32_t wire_bytes;     /* what was on the wire */
    uint32_t link_type;      /* LINKTYPE_ number */
};

/* What the shared library shows to Python. */
#define EXPORT __attribute__((visibility("default")))

/* To be raised, here and in __init__.py, with any change of a structure or function that Python
 * sees: a library left from other sources is then refused, not called. */
enum { NATIVE_INTERFACE = 2 };
EXPORT int edge_native_interface(void);

#endif
