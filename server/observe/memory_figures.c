#include "server/observe/memory_figures.h"

#include "server/base/mem.h"
#include "server/cluster/cluster.h"
#include "server/journal/journal.h"
#include "server/observe/observe_internal.h"
#include "server/replication/replication.h"

static uint64_t count_keys(const struct observer_options *options) {
    uint64_t keys = 0;
    for (unsigned db = 0; db < databases_count(options->databases); db++) {
        const struct keyspace *keyspace = databases_keyspace_if_any(options->databases, db);
        if (keyspace != NULL) keys += keyspace_count(keyspace);
    }
    return keys;
}

void memory_figures_read(struct observer *observer, struct memory_figures *out) {
    const struct observer_options *options = observer_options(observer);
    struct mem_stats memory;
    struct network_stats network;
    struct journal_backlog backlog;
    mem_stats_read(&memory);
    network_stats_read(options->modules->network, &network);
    journal_backlog_read(options->modules->journal, &backlog);
    *out = (struct memory_figures){
        .used = mem_used_bytes(),
        .startup = options->memory_at_start,
        .backlog = backlog.memory_bytes,
        .replica_links = replication_link_bytes(options->modules->replication),
        .clients = network.client_memory_bytes,
        .tables = databases_table_bytes(options->databases),
        .keys = count_keys(options),
        .allocated = memory.allocated_bytes,
        .active = memory.active_bytes,
        .resident = memory.resident_bytes,
        .process = mem_resident_bytes(),
    };
    if (options->modules->cluster != NULL)
        out->cluster_links = cluster_link_bytes(options->modules->cluster);
    out->peak = observer_note_peak(observer, out->used);
    out->overhead = out->startup + out->backlog + out->replica_links + out->clients +
                    out->cluster_links + out->tables;
    out->data = out->used > out->overhead ? out->used - out->overhead : 0;
}
