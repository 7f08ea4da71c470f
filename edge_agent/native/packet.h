/* Captured bytes -> the few numbers a meter needs of a packet. The same rules as
 * edge_agent/flow/packets.py, which says why. */
#ifndef EDGE_IDS_PACKET_H
#define EDGE_IDS_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

enum { TCP = 6, UDP = 17 };
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32, ECE = 64, CWR = 128 };

enum padding { PADDING_STRIP, PADDING_BEHIND_TAGS, PADDING_COUNT };

/* What the meter counts beside flows; `COUNTS` in edge_agent/flow/meter.py names them. */
enum count {
    COUNT_PACKETS,
    COUNT_IPV6,
    COUNT_BEYOND_FRAME,
    COUNT_NOT_IP, /* the first reason to skip a frame ... */
    COUNT_WIFI,
    COUNT_LINK_TYPE,
    COUNT_TUNNEL,
    COUNT_OTHER_PROTOCOL,
    COUNT_FRAGMENT,
    COUNT_TRUNCATED,
    COUNT_BAD_IP,
    COUNT_BAD_TRANSPORT,
    COUNT_EXTENSIONS, /* ... and the last */
    COUNT_DISORDER,
    COUNT_STRAYS,
    COUNT_JUMPS,
    COUNT_EVICTED_COMPLETE,
    COUNT_EVICTED_CLOSED,
    COUNT_EVICTED_SINGLE,
    COUNT_EVICTED_UNANSWERED,
    COUNT_EVICTED_ANSWERED,
    COUNT_EVICTED_CONTEXT,
    COUNTS
};

/* An address as a number; IPv4 in the low 32 bits. */
struct address {
    uint64_t high, low;
};

/* The two ends of a flow, the lower one (address, then port) first, so that both directions have
 * the same key; and what is spoken: protocol and IP version. */
struct key {
    struct address end[2];
    uint16_t port[2];
    uint16_t protocol;
    uint16_t version;
};

struct packet {
    int64_t time_us;
    struct key key;
    uint32_t payload_bytes;
    uint32_t hash;
    uint16_t window;
    uint8_t flags;
    uint8_t header_bytes;
    uint8_t source; /* which end of the key it comes from */
    bool to_itself; /* both ends have one address: then every packet is forward */
};

struct decoder {
    enum padding padding;
    bool directed_to_itself; /* a host that speaks to itself has one flow each way (cic2017) */
    uint64_t *counts;
};

/* The meters count time from an unsigned beginning, and add time-outs to it. */
static inline int64_t metered_us(int64_t time_us)
{
    const int64_t latest_us = INT64_C(1) << 62;
    return time_us < 0 ? 0 : time_us > latest_us ? latest_us : time_us;
}

/* Decodes one frame and counts it. False: it is skipped. */
bool packet_decode(const struct decoder *decoder, const uint8_t *block, const struct frame *frame,
                   struct packet *packet);

#endif
