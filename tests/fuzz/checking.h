/* What both harnesses have in common: frames go through the meter in two manners, and whatever must
 * hold of the outcome is checked. Anything that does not hold aborts. */
#ifndef EDGE_IDS_CHECKING_H
#define EDGE_IDS_CHECKING_H

#include "meter.h"

/* What is done between two frames. */
struct pause {
    size_t before; /* which frame */
    bool flushes;  /* else the clock is moved */
    int64_t now_us;
};

struct script {
    struct meter_options options; /* without hash seeds */
    size_t capacity;              /* rows a call may give out */
    const uint8_t *data;
    const struct frame *frames;
    size_t frame_count;
    const struct pause *pauses; /* in order of `before` */
    size_t pause_count;
};

/* Stamps lie within this: capture.c holds them there. */
#define TIME_LIMIT_US (INT64_C(1) << 62)

/* Options of a profile as `edge_agent.flow.compiled` fills them in; `timeouts`: 0 the profile's
 * own, 1 the longest, 2 short ones. `small` draws the bounds of the tables. */
struct meter_options drawn_options(uint8_t kind, uint8_t timeouts, uint8_t small);

/* Plays a script and checks it. */
void check_metering(const struct script *script);

#define CHECK(claim) ((claim) ? (void)0 : broken(__FILE__, __LINE__, #claim))
_Noreturn void broken(const char *file, int line, const char *claim);

/* malloc that aborts without memory. Zero bytes are an allocation too, of which none may be read.
 */
void *room_for(size_t bytes);

#endif
