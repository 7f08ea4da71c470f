#include "flows.h"

#include <stdlib.h>
#include <string.h>

#include "columns.h"

static void write_word(uint8_t *out, uint64_t word)
{
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(word >> (56 - 8 * i));
}

static void write_address(uint8_t *out, const struct address *address, uint16_t version)
{
    write_word(out, version == 6 ? address->high : address->low << 32);
    write_word(out + 8, version == 6 ? address->low : 0);
}

struct ends flows_ends(const struct flow *flow)
{
    const struct key *key = &flow->key;
    return (struct ends){key->end[flow->source], key->end[!flow->source], key->port[!flow->source],
                         key->protocol, key->version};
}

void flows_give_out(struct meter *meter, uint32_t index, int64_t now_us, struct rows *rows)
{
    struct flow *flow = &meter->flows[index];
    const enum profile profile = meter->options.profile;
    if (flow->packets < (profile == CIC2017 ? 2u : 1u)) return;
    double *values = rows->values + rows->count * meter->columns;
    if (profile == CIC2017)
        cic2017_columns(flow, &meter->counters[index], values);
    else if (flow->packets == 1)
        improved_columns_of_first(flow, values);
    else
        improved_columns(flow, &meter->counters[index], values);
    if (profile == GATEWAY) {
        const struct ends ends = flows_ends(flow);
        context_end(&meter->context, &ends, now_us, flow->answered, &meter->places[index],
                    values + IMPROVED_COLUMNS);
    }
    struct row *row = &rows->rows[rows->count++];
    const struct key *key = &flow->key;
    write_address(row->source, &key->end[flow->source], key->version);
    write_address(row->destination, &key->end[!flow->source], key->version);
    row->source_port = key->port[flow->source];
    row->destination_port = key->port[!flow->source];
    row->protocol = (uint8_t)key->protocol;
    row->version = (uint8_t)key->version;
    memset(row->unused, 0, sizeof row->unused);
    row->start_us = flow->start_us;
    row->end_us = flow->start_us + flow->end;
    row->released_us = now_us > row->end_us ? now_us : row->end_us;
}

uint32_t flows_find(const struct meter *meter, const struct packet *packet)
{
    uint32_t i = chains_first(&meter->chains, packet->hash);
    while (i && !key_equal(&meter->flows[i].key, &packet->key)) i = chains_next(&meter->chains, i);
    return i;
}

uint32_t flows_insert(struct meter *meter, const struct packet *packet)
{
    uint32_t index = meter->free;
    if (index)
        meter->free = meter->order_links[index].after;
    else
        index = ++meter->used;
    struct flow *flow = &meter->flows[index];
    flow->key = packet->key;
    flow->state = STATES;
    flow->cut_us = 0;
    chains_insert(&meter->chains, index, packet->hash);
    list_append(&meter->order, meter->order_links, index);
    meter->flow_count++;
    return index;
}

void flows_stop_aging(struct meter *meter, uint32_t index)
{
    if (meter->options.profile == GATEWAY && meter->flows[index].cut_us) {
        list_remove(&meter->aging, meter->aging_links, index);
        meter->flows[index].cut_us = 0;
    }
}

void flows_drop(struct meter *meter, uint32_t index, int64_t now_us, struct rows *rows)
{
    struct flow *flow = &meter->flows[index];
    flows_give_out(meter, index, now_us, rows);
    flows_stop_aging(meter, index);
    list_remove(&meter->silence[flow->state], meter->silence_links, index);
    list_remove(&meter->order, meter->order_links, index);
    chains_remove(&meter->chains, index);
    meter->order_links[index].after = meter->free;
    meter->free = index;
    meter->flow_count--;
}

/* The longest silent flows have left the processor's cache. */
static void fetch_flow(const struct meter *meter, uint32_t index)
{
    fetch(&meter->flows[index], sizeof *meter->flows);
    fetch(&meter->counters[index], sizeof *meter->counters);
}

void flows_make_room(struct meter *meter, struct rows *rows)
{
    if (meter->flow_count < meter->options.max_flows) return;
    uint32_t victim = 0;
    enum count reason = COUNT_EVICTED_COMPLETE;
    for (int state = 0; state < STATES && !victim; state++) {
        const uint32_t head = meter->silence[state].first;
        const int64_t timeout_us = meter->options.flow_timeout_us;
        if (head && meter->clock_us - meter->flows[head].touched_us > timeout_us) victim = head;
    }
    for (int state = 0; state < STATES && !victim; state++) {
        victim = meter->silence[state].first;
        reason = COUNT_EVICTED_CLOSED + (enum count)state;
    }
    meter->counts[reason]++;
    const uint32_t next = meter->silence_links[victim].after;
    fetch_flow(meter, next);
    flows_drop(meter, victim, meter->clock_us, rows);
}

static enum state state_of(const struct flow *flow)
{
    if (flow->closed) return CLOSED;
    if (flow->packets == 0 || flow->answered) return ANSWERED;
    return flow->packets == 1 ? SINGLE : UNANSWERED;
}

void flows_wait(struct meter *meter, uint32_t index)
{
    struct flow *flow = &meter->flows[index];
    const enum state state = state_of(flow);
    struct list *queue = &meter->silence[state];
    flow->touched_us = meter->clock_us;
    if (flow->state != state || queue->last != index) {
        if (flow->state != STATES)
            list_remove(&meter->silence[flow->state], meter->silence_links, index);
        list_append(queue, meter->silence_links, index);
        flow->state = (uint8_t)state;
    }
    const int64_t due_us = meter->clock_us + meter->silence_us[state];
    if (due_us < meter->quiet_until_us) meter->quiet_until_us = due_us;
}

void flows_start_aging(struct meter *meter, uint32_t index)
{
    struct flow *flow = &meter->flows[index];
    flow->cut_us = meter->clock_us + meter->options.active_us;
    list_append(&meter->aging, meter->aging_links, index);
    if (flow->cut_us < meter->quiet_until_us) meter->quiet_until_us = flow->cut_us;
}

bool flows_drop_all(struct meter *meter, struct rows *rows)
{
    while (meter->order.first) {
        if (is_full(rows)) return true;
        flows_drop(meter, meter->order.first, meter->clock_us, rows);
    }
    return false;
}

bool flows_open(struct meter *meter)
{
    const size_t entries = (size_t)meter->options.max_flows + 1;
    meter->flows = table_memory(entries, sizeof *meter->flows);
    meter->counters = table_memory(entries, sizeof *meter->counters);
    meter->order_links = calloc(entries, sizeof *meter->order_links);
    meter->silence_links = calloc(entries, sizeof *meter->silence_links);
    meter->aging_links = calloc(entries, sizeof *meter->aging_links);
    if (!chains_open(&meter->chains, meter->options.max_flows) || !meter->flows ||
        !meter->counters || !meter->order_links || !meter->silence_links || !meter->aging_links)
        return false;
    if (meter->options.profile != GATEWAY) return true;
    meter->places = calloc(entries, sizeof *meter->places);
    return meter->places && context_open(&meter->context, meter->options.max_context_keys,
                                         meter->options.context_seed, meter->options.hash_seeds);
}

void flows_close(struct meter *meter)
{
    free(meter->flows);
    free(meter->counters);
    chains_close(&meter->chains);
    free(meter->order_links);
    free(meter->silence_links);
    free(meter->aging_links);
    free(meter->places);
    context_close(&meter->context);
}
