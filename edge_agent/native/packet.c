#include "packet.h"

#include <string.h>

enum {
    LINK_LOOPBACK = 0,
    LINK_ETHERNET = 1,
    LINK_RAW_BSD = 12,
    LINK_RAW = 101,
    LINK_OPENBSD_LOOPBACK = 108,
    LINK_WIFI = 105,
    LINK_COOKED_V1 = 113,
    LINK_WIFI_PRISM = 119,
    LINK_WIFI_RADIOTAP = 127,
    LINK_WIFI_AVS = 163,
    LINK_IPV4 = 228,
    LINK_IPV6 = 229,
    LINK_COOKED_V2 = 276
};
enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86DD, TYPE_PPPOE = 0x8864 };
enum { TYPE_MPLS = 0x8847, TYPE_MPLS_MULTICAST = 0x8848 };
enum { MAX_TAGS = 4, MAX_EXTENSIONS = 8, MAX_WIRE_BYTES = 1 << 20 };

/* The rest of a frame: `bytes` of it were captured, `on_wire` were sent (a lie may be negative). */
struct rest {
    const uint8_t *at;
    size_t bytes;
    int64_t on_wire;
};

/* What the IP header says. */
struct datagram {
    int64_t header, total; /* where the transport header begins, and where the datagram ends */
    int64_t claimed;
    struct address source, destination;
    uint8_t protocol;
};

static inline uint16_t read16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t read32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint64_t read64(const uint8_t *at)
{
    return (uint64_t)read32(at) << 32 | read32(at + 4);
}

static inline bool is_tag(unsigned type)
{
    return type == 0x8100 || type == 0x88A8 || type == 0x9100;
}

/* Finds the network layer; returns its EtherType, or minus a reason to skip. */
static int network_layer(uint32_t link_type, const uint8_t *data, struct rest *rest, bool *tagged)
{
    size_t start;
    unsigned type;
    switch (link_type) {
    case LINK_ETHERNET:
        start = 14;
        if (rest->bytes < start) return -COUNT_TRUNCATED;
        type = read16(data + 12);
        break;
    case LINK_COOKED_V1:
        start = 16;
        if (rest->bytes < start) return -COUNT_TRUNCATED;
        type = read16(data + 14);
        break;
    case LINK_COOKED_V2:
        start = 20;
        if (rest->bytes < start) return -COUNT_TRUNCATED;
        type = read16(data);
        break;
    case LINK_RAW_BSD:
    case LINK_RAW:
    case LINK_IPV4:
    case LINK_IPV6:
    case LINK_LOOPBACK:
    case LINK_OPENBSD_LOOPBACK:
        start = link_type == LINK_LOOPBACK || link_type == LINK_OPENBSD_LOOPBACK ? 4 : 0;
        if (rest->bytes <= start) return -COUNT_TRUNCATED;
        type = data[start] >> 4 == 4 ? TYPE_IPV4 : data[start] >> 4 == 6 ? TYPE_IPV6 : 0;
        break;
    case LINK_WIFI:
    case LINK_WIFI_PRISM:
    case LINK_WIFI_RADIOTAP:
    case LINK_WIFI_AVS:
        return -COUNT_WIFI;
    default:
        return -COUNT_LINK_TYPE;
    }
    *tagged = false;
    if (type != TYPE_IPV4) {
        for (int tags = 0; is_tag(type) && tags < MAX_TAGS; tags++) {
            start += 4;
            if (rest->bytes < start) return -COUNT_TRUNCATED;
            type = read16(data + start - 2);
            *tagged = true;
        }
        if (type == TYPE_PPPOE) {
            start += 8;
            if (rest->bytes < start) return -COUNT_TRUNCATED;
            const unsigned protocol = read16(data + start - 2);
            type = protocol == 0x0021 ? TYPE_IPV4 : protocol == 0x0057 ? TYPE_IPV6 : 0;
        }
    }
    rest->at = data + start;
    rest->bytes -= start;
    rest->on_wire -= (int64_t)start;
    return (int)type;
}

/* How long the datagram is taken to be. */
static bool set_total(const struct decoder *decoder, const struct rest *rest, bool tagged,
                      struct datagram *datagram)
{
    const bool padded = (tagged && decoder->padding == PADDING_BEHIND_TAGS) ||
                        (datagram->protocol == TCP && decoder->padding == PADDING_COUNT);
    datagram->total =
        datagram->claimed > rest->on_wire || padded ? rest->on_wire : datagram->claimed;
    return datagram->total >= datagram->header && rest->on_wire <= MAX_WIRE_BYTES;
}

/* Returns 0 or a reason to skip, as all that follow. */
static int read_ipv4(const struct decoder *decoder, const struct rest *rest, bool tagged,
                     struct datagram *datagram)
{
    const uint8_t *at = rest->at;
    if (rest->bytes < 20) return COUNT_TRUNCATED;
    datagram->header = (at[0] & 0x0F) * 4;
    datagram->protocol = at[9];
    datagram->claimed = read16(at + 2);
    if (datagram->claimed == 0) datagram->claimed = rest->on_wire;
    if (!set_total(decoder, rest, tagged, datagram) || at[0] >> 4 != 4 || datagram->header < 20)
        return COUNT_BAD_IP;
    if ((read16(at + 6) & 0x1FFF) && (datagram->protocol == TCP || datagram->protocol == UDP))
        return COUNT_FRAGMENT;
    datagram->source = (struct address){0, read32(at + 12)};
    datagram->destination = (struct address){0, read32(at + 16)};
    return 0;
}

/* Hop-by-hop, routing, destination options, mobility, HIP, Shim6: all begin alike. */
static bool is_plain_extension(uint8_t protocol)
{
    return protocol == 0 || protocol == 43 || protocol == 60 || protocol == 135 ||
           protocol == 139 || protocol == 140;
}

/* Steps over the extension headers. */
static int skip_extensions(const struct rest *rest, struct datagram *datagram)
{
    for (int headers = 0; headers < MAX_EXTENSIONS; headers++) {
        const bool fragment = datagram->protocol == 44;
        const bool authentication = datagram->protocol == 51;
        if (!fragment && !authentication && !is_plain_extension(datagram->protocol)) return 0;
        const size_t start = (size_t)datagram->header;
        if (rest->bytes < start + (fragment ? 8 : 2)) return COUNT_TRUNCATED;
        const uint8_t *at = rest->at + start;
        if (fragment && read16(at + 2) >> 3) return COUNT_FRAGMENT;
        datagram->protocol = at[0];
        datagram->header += fragment ? 8 : authentication ? (at[1] + 2) * 4 : (at[1] + 1) * 8;
    }
    return COUNT_EXTENSIONS;
}

static int read_ipv6(const struct decoder *decoder, const struct rest *rest, bool tagged,
                     struct datagram *datagram)
{
    const uint8_t *at = rest->at;
    if (rest->bytes < 40) return COUNT_TRUNCATED;
    if (at[0] >> 4 != 6) return COUNT_BAD_IP;
    datagram->header = 40;
    datagram->protocol = at[6];
    datagram->claimed = read16(at + 4) ? 40 + (int64_t)read16(at + 4) : rest->on_wire;
    const int reason = skip_extensions(rest, datagram);
    if (reason) return reason;
    if (!set_total(decoder, rest, tagged, datagram)) return COUNT_BAD_IP;
    datagram->source = (struct address){read64(at + 8), read64(at + 16)};
    datagram->destination = (struct address){read64(at + 24), read64(at + 32)};
    return 0;
}

static void set_key(const struct decoder *decoder, const struct datagram *datagram,
                    uint16_t source_port, uint16_t destination_port, uint16_t version,
                    struct packet *packet)
{
    const struct address *source = &datagram->source, *destination = &datagram->destination;
    packet->to_itself = source->low == destination->low && source->high == destination->high;
    bool source_is_higher;
    if (source->high != destination->high)
        source_is_higher = source->high > destination->high;
    else if (source->low != destination->low)
        source_is_higher = source->low > destination->low;
    else
        source_is_higher = !decoder->directed_to_itself && source_port > destination_port;
    packet->source = source_is_higher;
    packet->key.end[source_is_higher] = *source;
    packet->key.end[!source_is_higher] = *destination;
    packet->key.port[source_is_higher] = source_port;
    packet->key.port[!source_is_higher] = destination_port;
    packet->key.protocol = datagram->protocol;
    packet->key.version = version;
}

static int read_transport(const struct decoder *decoder, const struct rest *rest,
                          const struct datagram *datagram, uint16_t version, struct packet *packet)
{
    const int64_t captured = (int64_t)rest->bytes - datagram->header;
    const uint8_t *at = captured > 0 ? rest->at + datagram->header : rest->at;
    int64_t length;
    if (datagram->protocol == TCP) {
        if (captured < 16) return COUNT_TRUNCATED;
        length = (at[12] >> 4) * 4;
        packet->flags = at[13];
        packet->window = read16(at + 14);
        if (length < 20) return COUNT_BAD_TRANSPORT;
    } else if (datagram->protocol == UDP) {
        if (captured < 8) return COUNT_TRUNCATED;
        length = 8;
        packet->flags = 0;
        packet->window = 0;
    } else {
        const uint8_t protocol = datagram->protocol;
        const bool tunnel = protocol == 4 || protocol == 41 || protocol == 47 || protocol == 137;
        return tunnel ? COUNT_TUNNEL : COUNT_OTHER_PROTOCOL;
    }
    const int64_t payload = datagram->total - datagram->header - length;
    if (payload < 0) return COUNT_BAD_TRANSPORT;
    packet->header_bytes = (uint8_t)length;
    packet->payload_bytes = (uint32_t)payload;
    set_key(decoder, datagram, read16(at), read16(at + 2), version, packet);
    return 0;
}

bool packet_decode(const struct decoder *decoder, const uint8_t *block, const struct frame *frame,
                   struct packet *packet)
{
    struct rest rest = {NULL, frame->captured_bytes, frame->wire_bytes};
    struct datagram datagram;
    bool tagged;
    const int type = network_layer(frame->link_type, block + frame->offset, &rest, &tagged);
    int reason;
    if (type == TYPE_IPV4) {
        reason = read_ipv4(decoder, &rest, tagged, &datagram);
    } else if (type == TYPE_IPV6) {
        reason = read_ipv6(decoder, &rest, tagged, &datagram);
    } else if (type < 0) {
        reason = -type;
    } else {
        const bool tunnel = type == TYPE_MPLS || type == TYPE_MPLS_MULTICAST;
        reason = tunnel ? COUNT_TUNNEL : COUNT_NOT_IP;
    }
    if (!reason)
        reason = read_transport(decoder, &rest, &datagram, type == TYPE_IPV6 ? 6 : 4, packet);
    if (reason) {
        decoder->counts[reason]++;
        return false;
    }
    packet->time_us = metered_us(frame->time_us);
    decoder->counts[COUNT_PACKETS]++;
    if (type == TYPE_IPV6) decoder->counts[COUNT_IPV6]++;
    if (datagram.claimed > rest.on_wire) decoder->counts[COUNT_BEYOND_FRAME]++;
    return true;
}
