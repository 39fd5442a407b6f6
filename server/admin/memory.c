/* MEMORY: what keys cost, and where the memory goes. */
#include <stdio.h>

#include "server/admin/admin_internal.h"
#include "server/aof/aof.h"
#include "server/base/mem.h"
#include "server/observe/memory_figures.h"
#include "server/script/script.h"

enum { DEFAULT_SAMPLES = 5 };

void admin_memory_usage(struct command_context *context) {
    int64_t samples = DEFAULT_SAMPLES;
    for (uint32_t i = 3; i < context->argc; i += 2) {
        bool is_samples = context_argument_is(context, i, "SAMPLES") && i + 1 < context->argc;
        if (is_samples && !context_integer(context, i + 1, &samples, NULL)) return;
        if (!is_samples || samples < 0) {
            reply_syntax_error(context->reply);
            return;
        }
    }
    struct key key = context_key(context, 2);
    const struct record *record = context_peek(context, &key);
    if (!record) {
        reply_null(context->reply);
        return;
    }
    const struct data_type *type = databases_type(context->databases, record);
    size_t bytes = record_memory_used(record) + type->memory_used(record, (size_t)samples);
    reply_integer(context->reply, (int64_t)bytes);
}

/* -- STATS -- */

static void reply_figure(struct reply *reply, const char *name, uint64_t value) {
    reply_bulk_text(reply, name);
    reply_integer(reply, (int64_t)value);
}

static void reply_fraction(struct reply *reply, const char *name, double value) {
    reply_bulk_text(reply, name);
    reply_double(reply, value);
}

/* "x.ratio" and "x.bytes": how much more the one is than the other. */
static void reply_excess(struct reply *reply, const char *name, const char *bytes_name,
                         uint64_t over, uint64_t under) {
    reply_fraction(reply, name, memory_ratio(over, under));
    reply_bulk_text(reply, bytes_name);
    reply_integer(reply, (int64_t)(over - under));
}

/* Deadlines lie in the records and beside the buckets, and a slot is no table of its own. */
static void reply_database(struct reply *reply, struct keyspace *keyspace, unsigned db) {
    char name[32];
    snprintf(name, sizeof(name), "db.%u", db);
    reply_bulk_text(reply, name);
    reply_map(reply, 3);
    reply_figure(reply, "overhead.hashtable.main", keyspace_table_bytes(keyspace));
    reply_figure(reply, "overhead.hashtable.expires", 0);
    reply_figure(reply, "overhead.hashtable.slot-to-keys", 0);
}

void admin_memory_stats(struct command_context *context) {
    struct reply *reply = context->reply;
    struct memory_figures memory;
    memory_figures_read(context->modules->observer, &memory);
    size_t mark = reply_begin(reply);
    reply_figure(reply, "peak.allocated", memory.peak);
    reply_figure(reply, "total.allocated", memory.used);
    reply_figure(reply, "startup.allocated", memory.startup);
    reply_figure(reply, "replication.backlog", memory.backlog);
    reply_figure(reply, "clients.slaves", memory.replica_links);
    reply_figure(reply, "clients.normal", memory.clients);
    reply_figure(reply, "cluster.links", memory.cluster_links);
    reply_figure(reply, "aof.buffer", aof_buffer_bytes(context->modules->aof));
    struct script_figures scripts;
    scripts_read_figures(context->modules->scripts, &scripts);
    reply_figure(reply, "lua.caches", scripts.script_memory);
    reply_figure(reply, "functions.caches", scripts.library_bytes);
    unsigned shown = 0;
    for (unsigned db = 0; db < databases_count(context->databases); db++) {
        struct keyspace *keyspace = databases_keyspace_if_any(context->databases, db);
        if (keyspace == NULL || keyspace_count(keyspace) == 0) continue;
        reply_database(reply, keyspace, db);
        shown++;
    }
    reply_figure(reply, "overhead.total", memory.overhead);
    reply_figure(reply, "keys.count", memory.keys);
    reply_figure(reply, "keys.bytes-per-key",
                 memory.keys == 0 || memory.used < memory.startup
                     ? 0
                     : (memory.used - memory.startup) / memory.keys);
    reply_figure(reply, "dataset.bytes", memory.data);
    reply_fraction(reply, "dataset.percentage", memory_ratio(memory.data, memory.used) * 100);
    reply_fraction(reply, "peak.percentage", memory_ratio(memory.used, memory.peak) * 100);
    reply_figure(reply, "allocator.allocated", memory.allocated);
    reply_figure(reply, "allocator.active", memory.active);
    reply_figure(reply, "allocator.resident", memory.resident);
    reply_excess(reply, "allocator-fragmentation.ratio", "allocator-fragmentation.bytes",
                 memory.active, memory.allocated);
    reply_excess(reply, "allocator-rss.ratio", "allocator-rss.bytes", memory.resident,
                 memory.active);
    reply_excess(reply, "rss-overhead.ratio", "rss-overhead.bytes", memory.process,
                 memory.resident);
    reply_excess(reply, "fragmentation", "fragmentation.bytes", memory.process, memory.used);
    enum { FIXED_FIGURES = 27 };
    reply_end_map(reply, mark, FIXED_FIGURES + shown);
}

/* -- DOCTOR -- */

enum { LITTLE_BYTES = 5 << 20, BIG_CLIENT_BYTES = 200 << 10 };

static void advise(const struct command_context *context, const struct memory_figures *memory,
                   struct buffer *out) {
    uint64_t limit = context->types->memory.max_bytes;
    struct network_stats network;
    network_stats_read(context->modules->network, &network);
    if (memory->data < LITTLE_BYTES) {
        buffer_append_text(out, "There is too little data to tell anything from it.\n");
        return;
    }
    if (memory_ratio(memory->peak, memory->used) > 1.5)
        buffer_append_format(
            out,
            "* Peak: %.1f times as much was used as now. Pages of that time may still be held: "
            "MEMORY PURGE gives them back.\n",
            memory_ratio(memory->peak, memory->used));
    if (memory_ratio(memory->active, memory->allocated) > 1.1 &&
        memory->active - memory->allocated > (10 << 20))
        buffer_append_format(
            out,
            "* Fragmentation: the allocator's pages hold %.2f times what is handed out. That is "
            "what many deletions or values that grew leave behind; what is written next fills it, "
            "a restart (of a replica, then a failover) removes it.\n",
            memory_ratio(memory->active, memory->allocated));
    if (memory_ratio(memory->process, memory->resident) > 1.1 &&
        memory->process - memory->resident > (10 << 20))
        buffer_append_format(out,
                             "* Process: %.2f times the allocator's memory is resident. Something "
                             "beside the data takes it.\n",
                             memory_ratio(memory->process, memory->resident));
    if (network.connected_clients > 0 &&
        memory->clients / network.connected_clients > BIG_CLIENT_BYTES)
        buffer_append_format(
            out,
            "* Clients: %llu KB each on average. CLIENT LIST shows in omem and "
            "qbuf who does not read or sends too much at once.\n",
            (unsigned long long)(memory->clients / network.connected_clients / 1024));
    if (memory->backlog > memory->data / 2)
        buffer_append_format(out,
                             "* Replication: %llu MB of the journal are held for replicas that are "
                             "behind.\n",
                             (unsigned long long)(memory->backlog >> 20));
    if (limit > 0 && memory->used > limit - limit / 20)
        buffer_append_format(out, "* Limit: maxmemory is reached; the policy is %s.\n",
                             memory_policy_name(context->types->memory.policy));
    if (out->len == 0) buffer_append_text(out, "Nothing is wrong with the use of memory.\n");
}

void admin_memory_doctor(struct command_context *context) {
    struct memory_figures memory;
    struct buffer text = {0};
    memory_figures_read(context->modules->observer, &memory);
    advise(context, &memory, &text);
    reply_verbatim(context->reply, buffer_view(&text));
    buffer_deinit(&text);
}

static void append_piece(void *arg, const char *text) {
    buffer_append_text(arg, text);
}

void admin_memory_malloc_stats(struct command_context *context) {
    struct buffer text = {0};
    mem_report(append_piece, &text);
    reply_verbatim(context->reply, buffer_view(&text));
    buffer_deinit(&text);
}

void admin_memory_purge(struct command_context *context) {
    mem_purge();
    reply_ok(context->reply);
}

void admin_memory_help(struct command_context *context) {
    static const char *const lines[] = {
        "DOCTOR",
        "    What is wrong with the use of memory, and what to do about it.",
        "MALLOC-STATS",
        "    The allocator's own report.",
        "PURGE",
        "    Give unused pages back to the operating system.",
        "STATS",
        "    Where the memory goes.",
        "USAGE <key> [SAMPLES <count>]",
        "    Bytes that a key and its value take. Of a collection, <count> elements are looked",
        "    at and the rest is estimated (default: 5; 0: all of them).",
        NULL,
    };
    context_help(context, lines);
}
