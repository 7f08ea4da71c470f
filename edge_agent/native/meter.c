#include "meter.h"

#include <stdlib.h>

#include "columns.h"
#include "flows.h"

/* No packet overtakes others by half an hour (`edge_agent/flow/timeline.py`). */
static const int64_t FAR_US = 1800000000;
/* With this and FAR_US, times inside a row fit 31 bits. */
static const int64_t LONGEST_TIMEOUT_US = 240000000;

/* --- profiles -------------------------------------------------------------------------------- */

static void orient(struct flow *flow, const struct packet *packet, bool turned)
{
    flow->source = packet->source ^ turned;
    flow->fins = 0;
    flow->closed = false;
    flow->packets = 0;
}

/* Direction is decided by the address alone, as the tools do. */
static int way_of(const struct flow *flow, const struct packet *packet)
{
    return packet->to_itself || packet->source == flow->source ? FORWARD : BACKWARD;
}

/* Follows FIN, ACK and RST of a TCP connection (spec C.2). */
static void note_teardown(struct flow *flow, const struct packet *packet, int way)
{
    const uint8_t flags = packet->flags;
    if (!(flags & (FIN | RST)) && flow->fins != 3) return;
    if ((flags & RST) || (flow->fins == 3 && (flags & ACK) && !(flags & FIN))) flow->closed = true;
    if (flags & FIN) flow->fins |= (uint8_t)(1 << way);
}

static void take_cic2017(struct meter *meter, const struct packet *packet, struct rows *rows)
{
    uint32_t index = flows_find(meter, packet);
    struct flow *flow = &meter->flows[index];
    if (!index) {
        flows_make_room(meter, rows);
        index = flows_insert(meter, packet);
        flow = &meter->flows[index];
        orient(flow, packet, false);
        row_begin(flow, packet, FORWARD);
    } else if (packet->time_us - flow->start_us > meter->options.flow_timeout_us) {
        flows_give_out(meter, index, packet->time_us, rows);
        /* Also a backward packet is booked forward here, and only here. */
        row_begin(flow, packet, FORWARD);
    } else {
        const bool ends = packet->flags & FIN;
        row_add(flow, &meter->counters[index], packet, way_of(flow, packet), !ends);
        if (ends) {
            flows_drop(meter, index, packet->time_us, rows);
            return;
        }
    }
    flows_wait(meter, index);
}

static void open_improved(struct flow *flow, const struct packet *packet)
{
    orient(flow, packet, (packet->flags & (SYN | ACK)) == (SYN | ACK));
    row_begin(flow, packet, way_of(flow, packet));
    note_teardown(flow, packet, way_of(flow, packet));
}

static void take_improved(struct meter *meter, const struct packet *packet, struct rows *rows)
{
    uint32_t index = flows_find(meter, packet);
    struct flow *flow = &meter->flows[index];
    if (!index) {
        flows_make_room(meter, rows);
        index = flows_insert(meter, packet);
        open_improved(&meter->flows[index], packet);
    } else {
        const int64_t timeout_us = meter->options.flow_timeout_us;
        const int64_t age_us = packet->time_us - flow->start_us;
        const bool late = age_us > timeout_us, silent = age_us - flow->end > timeout_us;
        if ((flow->closed && (late || (packet->flags & SYN))) ||
            (late && silent && packet->key.protocol != TCP)) {
            flows_give_out(meter, index, packet->time_us, rows);
            open_improved(flow, packet);
        } else {
            const int way = way_of(flow, packet);
            if (late) {
                flows_give_out(meter, index, packet->time_us, rows);
                row_begin(flow, packet, way);
            } else {
                row_add(flow, &meter->counters[index], packet, way, true);
            }
            note_teardown(flow, packet, way);
        }
    }
    flows_wait(meter, index);
}

/* Whether a flow's first packet comes from its server. */
static bool begins_backward(const struct packet *packet)
{
    const struct key *key = &packet->key;
    if (key->protocol != TCP) return false;
    if (packet->flags & SYN) return packet->flags & ACK;
    return key->port[packet->source] < key->port[!packet->source];
}

static void take_gateway(struct meter *meter, const struct packet *packet, struct rows *rows)
{
    uint32_t index = flows_find(meter, packet);
    if (index && meter->flows[index].closed && (packet->flags & SYN)) {
        flows_drop(meter, index, meter->clock_us, rows);
        index = 0;
    }
    if (!index) {
        flows_make_room(meter, rows);
        index = flows_insert(meter, packet);
        orient(&meter->flows[index], packet, begins_backward(packet));
        const struct ends ends = flows_ends(&meter->flows[index]);
        context_begin(&meter->context, &ends, meter->clock_us, &meter->places[index]);
    }
    struct flow *flow = &meter->flows[index];
    const int way = way_of(flow, packet);
    if (flow->packets == 0) {
        row_begin(flow, packet, way);
        flows_start_aging(meter, index);
    } else {
        row_add(flow, &meter->counters[index], packet, way, true);
    }
    note_teardown(flow, packet, way);
    flows_wait(meter, index);
}

/* --- time ------------------------------------------------------------------------------------ */

/* The flow due first, 0 for none; at one time, queues go in the order of their names. */
static uint32_t first_due(const struct meter *meter, int64_t *due_us, bool *is_cut)
{
    static const enum state by_name[STATES] = {ANSWERED, CLOSED, SINGLE, UNANSWERED};
    uint32_t first = meter->aging.first;
    *is_cut = first != 0;
    *due_us = first ? meter->flows[first].cut_us : INT64_MAX;
    for (int i = 0; i < STATES; i++) {
        const uint32_t head = meter->silence[by_name[i]].first;
        if (!head) continue;
        const int64_t us = meter->flows[head].touched_us + meter->silence_us[by_name[i]];
        if (us >= *due_us) continue;
        first = head;
        *due_us = us;
        *is_cut = false;
    }
    return first;
}

/* Gives out what is due before `now_us` (gateway). True: no room. */
static bool serve(struct meter *meter, int64_t now_us, struct rows *rows)
{
    while (meter->quiet_until_us < now_us) {
        int64_t due_us;
        bool is_cut;
        const uint32_t index = first_due(meter, &due_us, &is_cut);
        if (due_us >= now_us) {
            meter->quiet_until_us = due_us;
            break;
        }
        if (is_full(rows)) return true;
        if (is_cut) {
            flows_give_out(meter, index, due_us, rows);
            flows_stop_aging(meter, index);
            meter->flows[index].packets = 0;
        } else {
            flows_drop(meter, index, due_us, rows);
        }
    }
    return false;
}

/* Takes a packet of whose time the clock may know. True: no room, nothing was done. */
static bool take(struct meter *meter, const struct packet *packet, struct rows *rows)
{
    if (is_full(rows)) return true;
    if (meter->options.profile == GATEWAY && serve(meter, packet->time_us, rows)) return true;
    if (is_full(rows)) return true;
    if (packet->time_us < meter->clock_us)
        meter->counts[COUNT_DISORDER]++;
    else
        meter->clock_us = packet->time_us;
    meter->clock_runs = true;
    if (meter->options.profile == CIC2017)
        take_cic2017(meter, packet, rows);
    else if (meter->options.profile == IMPROVED)
        take_improved(meter, packet, rows);
    else
        take_gateway(meter, packet, rows);
    return false;
}

/* Takes what was admitted after a jump of time. True: no room. */
static bool take_due(struct meter *meter, struct rows *rows)
{
    if (meter->due_count && meter->begins_anew) {
        if (flows_drop_all(meter, rows)) return true;
        if (meter->options.profile == GATEWAY) context_clear(&meter->context);
        meter->quiet_until_us = INT64_MAX;
        meter->clock_us = meter->due[0].time_us;
        meter->begins_anew = false;
    }
    while (meter->due_count) {
        if (take(meter, &meter->due[0], rows)) return true;
        meter->due[0] = meter->due[1];
        meter->due_count--;
    }
    return false;
}

static bool is_near(const struct meter *meter, int64_t time_us)
{
    const int64_t off_us = time_us - meter->clock_us;
    return (-FAR_US <= off_us && off_us <= FAR_US) || !meter->clock_runs;
}

static void jump(struct meter *meter)
{
    meter->counts[COUNT_JUMPS]++;
    meter->due[meter->due_count++] = meter->held;
    meter->begins_anew = meter->held.time_us < meter->clock_us;
    meter->holds = false;
}

/* A packet that is stamped far from the clock, or comes while one is held. */
static void admit(struct meter *meter, const struct packet *packet)
{
    const bool near = is_near(meter, packet->time_us);
    if (!near && meter->holds) {
        const bool same_side =
            (meter->held.time_us > meter->clock_us) == (packet->time_us > meter->clock_us);
        if (same_side && packet->time_us >= meter->held.time_us - FAR_US) {
            jump(meter);
            meter->due[meter->due_count++] = *packet;
            return;
        }
    }
    meter->counts[COUNT_STRAYS] += meter->holds;
    meter->holds = !near;
    if (near)
        meter->due[meter->due_count++] = *packet;
    else
        meter->held = *packet;
}

/* --- what Python calls ----------------------------------------------------------------------- */

static void fill_batch(struct meter *meter, const uint8_t *block, const struct frame *frames,
                       size_t count, size_t *done)
{
    meter->batch_next = 0;
    meter->batch_count = 0;
    while (*done < count && meter->batch_count < BATCH) {
        struct packet *packet = &meter->batch[meter->batch_count];
        if (!packet_decode(&meter->decoder, block, &frames[(*done)++], packet)) continue;
        packet->hash = key_hash(meter->options.hash_seeds, &packet->key, 0);
        __builtin_prefetch(&meter->chains.buckets[packet->hash & meter->chains.mask]);
        meter->batch_count++;
    }
    for (int i = 0; i < meter->batch_count; i++) {
        const uint32_t first = chains_first(&meter->chains, meter->batch[i].hash);
        fetch(&meter->flows[first], sizeof *meter->flows);
        fetch(&meter->counters[first], sizeof *meter->counters);
    }
}

int edge_native_interface(void)
{
    return NATIVE_INTERFACE;
}

bool edge_meter_add(struct meter *meter, const uint8_t *block, const struct frame *frames,
                    size_t count, size_t *done, struct rows *rows)
{
    for (;;) {
        if (meter->due_count && take_due(meter, rows)) return true;
        while (meter->batch_next < meter->batch_count) {
            const struct packet *packet = &meter->batch[meter->batch_next];
            if (is_near(meter, packet->time_us) && !meter->holds) {
                if (take(meter, packet, rows)) return true;
                meter->batch_next++;
            } else {
                admit(meter, packet);
                meter->batch_next++;
                if (take_due(meter, rows)) return true;
            }
        }
        if (*done == count) return false;
        fill_batch(meter, block, frames, count, done);
    }
}

bool edge_meter_advance(struct meter *meter, int64_t now_us, struct rows *rows)
{
    now_us = metered_us(now_us);
    if (take_due(meter, rows)) return true;
    if (meter->options.profile == GATEWAY && serve(meter, now_us, rows)) return true;
    if (!meter->clock_runs || now_us > meter->clock_us) meter->clock_us = now_us;
    meter->clock_runs = true;
    return false;
}

bool edge_meter_flush(struct meter *meter, struct rows *rows)
{
    if (take_due(meter, rows)) return true;
    if (meter->holds) {
        jump(meter);
        if (take_due(meter, rows)) return true;
    }
    return flows_drop_all(meter, rows);
}

size_t edge_meter_columns(const struct meter *meter)
{
    return meter->columns;
}

const uint64_t *edge_meter_counts(struct meter *meter)
{
    meter->counts[COUNT_EVICTED_CONTEXT] = meter->context.evicted;
    return meter->counts;
}

int64_t edge_meter_now_us(const struct meter *meter)
{
    return meter->clock_us;
}

uint32_t edge_meter_flows(const struct meter *meter)
{
    return meter->flow_count;
}

static bool has_fitting_timeouts(const struct meter_options *options)
{
    const int64_t timeouts_us[] = {options->flow_timeout_us, options->linger_us,
                                   options->unanswered_us, options->idle_us, options->active_us};
    for (size_t i = 0; i < sizeof timeouts_us / sizeof *timeouts_us; i++)
        if (timeouts_us[i] < 0 || timeouts_us[i] > LONGEST_TIMEOUT_US) return false;
    /* A row that is cut at once would be cut for ever: `cut_us` of 0 says "not in this queue". */
    if (options->profile == GATEWAY && options->active_us == 0) return false;
    return options->profile <= GATEWAY && options->max_flows > 0 &&
           options->max_flows <= 1u << 28 && options->max_context_keys > 0 &&
           options->max_context_keys <= 1u << 28;
}

struct meter *edge_meter_open(const struct meter_options *options)
{
    if (!has_fitting_timeouts(options)) return NULL;
    struct meter *meter = calloc(1, sizeof *meter);
    if (!meter) return NULL;
    meter->options = *options;
    meter->decoder = (struct decoder){(enum padding)options->padding, options->profile == CIC2017,
                                      meter->counts};
    meter->silence_us[CLOSED] = options->linger_us;
    meter->silence_us[SINGLE] = meter->silence_us[UNANSWERED] = options->unanswered_us;
    meter->silence_us[ANSWERED] = options->idle_us;
    meter->quiet_until_us = INT64_MAX;
    meter->columns = options->profile == CIC2017    ? CIC2017_COLUMNS
                     : options->profile == IMPROVED ? IMPROVED_COLUMNS
                                                    : IMPROVED_COLUMNS + CONTEXT_COLUMNS;
    if (flows_open(meter)) return meter;
    edge_meter_close(meter);
    return NULL;
}

void edge_meter_close(struct meter *meter)
{
    if (!meter) return;
    flows_close(meter);
    free(meter);
}
