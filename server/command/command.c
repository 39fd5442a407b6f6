#include "server/command/command.h"

#include <stdio.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/command/command_internal.h"

enum { NAME_MAX_BYTES = 48, FIRST_BUCKET_BITS = 10, FIRST_BUCKETS = 1 << FIRST_BUCKET_BITS };

/* A name of up to eight bytes, which nearly all are, is found as one word. */
struct short_name {
    uint64_t word; /* 0: free. */
    struct command_entry *entry;
};

struct command_table {
    struct short_name *short_names; /* Open addressing, as the buckets of all names below, */
    struct command_entry **buckets; /* each a power of two of places, at most half full. */
    uint32_t bucket_count;
    struct command_entry **entries; /* In the order of their arrival. */
    uint32_t count;
    uint32_t cap;
    uint32_t id_count;
};

struct command_table *command_table_create(void) {
    struct command_table *table = mem_alloc_zero(sizeof(*table));
    table->bucket_count = FIRST_BUCKETS;
    table->buckets = mem_alloc_zero(FIRST_BUCKETS * sizeof(*table->buckets));
    table->short_names = mem_alloc_zero(FIRST_BUCKETS * sizeof(*table->short_names));
    return table;
}

void command_table_destroy(struct command_table *table) {
    if (table == NULL) return;
    for (uint32_t i = 0; i < table->count; i++) {
        mem_free(table->entries[i]->subcommands);
        mem_free(table->entries[i]);
    }
    mem_free(table->entries);
    mem_free(table->buckets);
    mem_free(table->short_names);
    mem_free(table);
}

static uint32_t name_hash(const char *name, size_t len) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return hash ^ (hash >> 15);
}

static struct command_entry *find_lower(const struct command_table *table, const char *name,
                                        size_t len) {
    uint32_t mask = table->bucket_count - 1;
    for (uint32_t i = name_hash(name, len) & mask;; i = (i + 1) & mask) {
        struct command_entry *entry = table->buckets[i];
        if (entry == NULL) return NULL;
        // Stops at the end of the shorter row's name: `name` holds no NUL.
        if (strncmp(entry->row->name, name, len) == 0 && entry->row->name[len] == '\0')
            return entry;
    }
}

/* One to eight bytes as a word, the missing ones zero; ASCII letters in lower case. */
static inline uint64_t short_word(struct bytes name) {
    const uint64_t each = 0x0101010101010101;
    uint64_t word;
    if (name.len >= 4) {
        uint32_t head;
        uint32_t tail;
        memcpy(&head, name.data, 4);
        memcpy(&tail, name.data + name.len - 4, 4);
        word = head | (uint64_t)tail << ((name.len - 4) * 8);
    } else {
        size_t middle = name.len / 2;
        word = name.data[0] | (uint64_t)name.data[middle] << (middle * 8) |
               (uint64_t)name.data[name.len - 1] << ((name.len - 1) * 8);
    }
    // In each byte the top bit says: at least 'A', more than 'Z', no ASCII.
    uint64_t low = word & (each * 0x7f);
    uint64_t is_upper = (low + each * (0x80 - 'A')) & ~(low + each * (0x7f - 'Z')) & ~word;
    return word | (is_upper & (each * 0x80)) >> 2;
}

static inline uint32_t short_place(uint64_t word) {
    return (uint32_t)((word * 0x9e3779b97f4a7c15u) >> (64 - FIRST_BUCKET_BITS));
}

static struct command_entry *find_short(const struct command_table *table, struct bytes name) {
    uint64_t word = short_word(name);
    for (uint32_t i = short_place(word);; i = (i + 1) % FIRST_BUCKETS) {
        const struct short_name *found = &table->short_names[i];
        if (found->word == 0) return NULL; // First: a name of NULs makes the word of a free place.
        // A NUL behind a name makes the same word.
        if (found->word == word) return found->entry->name_len == name.len ? found->entry : NULL;
    }
}

static void add_short(struct command_table *table, struct command_entry *entry) {
    uint64_t word = short_word(bytes_of_text(entry->row->name));
    uint32_t i = short_place(word);
    while (table->short_names[i].word != 0)
        i = (i + 1) % FIRST_BUCKETS;
    table->short_names[i] = (struct short_name){word, entry};
}

static COLD struct command_entry *find_long(const struct command_table *table, struct bytes name) {
    char lower[NAME_MAX_BYTES];
    if (name.len == 0 || name.len >= sizeof(lower)) return NULL;
    bytes_lower(name, lower);
    if (memchr(lower, '\0', name.len) != NULL) return NULL;
    return find_lower(table, lower, name.len);
}

static inline struct command_entry *find_entry(const struct command_table *table,
                                               struct bytes name) {
    if (LIKELY(name.len - 1 < sizeof(uint64_t))) return find_short(table, name);
    return find_long(table, name);
}

static uint32_t single_key_of(const struct command *row) {
    if (row->find_keys != NULL || row->keys[1].begin != KEY_BEGIN_NONE) return 0;
    const struct key_spec *spec = &row->keys[0];
    if (spec->begin != KEY_BEGIN_INDEX || spec->find != KEY_FIND_RANGE || spec->last != 0) return 0;
    return (uint32_t)spec->index;
}

static void fill_entry(struct command_table *table, struct command_entry *entry,
                       const struct command *row) {
    *entry = (struct command_entry){
        .row = row,
        .id = table->id_count++,
        .name_len = (uint32_t)strlen(row->name),
        .single_key = single_key_of(row),
        .has_keys = command_has_keys(row),
    };
    ASSERT(row->handler != NULL || row->subcommands != NULL);
    ASSERT(row->arity != 0 && row->since != NULL && row->summary != NULL);
}

static void add_subcommands(struct command_table *table, struct command_entry *entry) {
    uint32_t count = 0;
    while (entry->row->subcommands[count].name != NULL)
        count++;
    entry->subcommands = mem_alloc(count * sizeof(*entry->subcommands));
    for (uint32_t i = 0; i < count; i++)
        fill_entry(table, &entry->subcommands[i], &entry->row->subcommands[i]);
    entry->subcommand_count = count;
}

void command_table_add(struct command_table *table, const struct command *rows) {
    for (const struct command *row = rows; row->name != NULL; row++) {
        size_t len = strlen(row->name);
        ASSERT(len < NAME_MAX_BYTES && find_lower(table, row->name, len) == NULL);
        ASSERT((table->count + 1) * 2 < table->bucket_count);
        struct command_entry *entry = mem_alloc(sizeof(*entry));
        fill_entry(table, entry, row);
        if (row->subcommands != NULL) add_subcommands(table, entry);
        if (table->count == table->cap) {
            table->cap = table->cap == 0 ? 64 : table->cap * 2;
            table->entries = mem_realloc(table->entries, table->cap * sizeof(*table->entries));
        }
        table->entries[table->count++] = entry;
        uint32_t mask = table->bucket_count - 1;
        uint32_t i = name_hash(row->name, len) & mask;
        while (table->buckets[i] != NULL)
            i = (i + 1) & mask;
        table->buckets[i] = entry;
        if (len <= sizeof(uint64_t)) add_short(table, entry);
    }
}

const struct command *command_table_find(const struct command_table *table, struct bytes name) {
    const struct command_entry *entry = find_entry(table, name);
    return entry == NULL ? NULL : entry->row;
}

const struct command *command_find_subcommand(const struct command *container, struct bytes name) {
    if (container->subcommands == NULL) return NULL;
    for (const struct command *row = container->subcommands; row->name != NULL; row++) {
        if (bytes_equal_text_nocase(name, row->name)) return row;
    }
    return NULL;
}

const struct command_entry *command_table_resolve(const struct command_table *table,
                                                  const struct bytes *argv, uint32_t argc,
                                                  const struct command_entry **out_container) {
    *out_container = NULL;
    const struct command_entry *entry = find_entry(table, argv[0]);
    if (entry == NULL || entry->subcommands == NULL) return entry;
    if (argc == 1) return entry; // Arity decides.
    for (uint32_t i = 0; i < entry->subcommand_count; i++) {
        if (bytes_equal_text_nocase(argv[1], entry->subcommands[i].row->name))
            return &entry->subcommands[i];
    }
    *out_container = entry;
    return NULL;
}

const struct command *command_table_find_line(const struct command_table *table,
                                              const struct bytes *argv, uint32_t argc) {
    const struct command_entry *container = NULL;
    const struct command_entry *entry = command_table_resolve(table, argv, argc, &container);
    return entry == NULL ? NULL : entry->row;
}

const struct command_entry *command_table_entry(const struct command_table *table,
                                                const struct command *row) {
    for (uint32_t i = 0; i < table->count; i++) {
        const struct command_entry *entry = table->entries[i];
        if (entry->row == row) return entry;
        for (uint32_t k = 0; k < entry->subcommand_count; k++) {
            if (entry->subcommands[k].row == row) return &entry->subcommands[k];
        }
    }
    UNREACHABLE();
}

uint32_t command_table_count(const struct command_table *table) {
    return table->count;
}

const struct command *command_table_at(const struct command_table *table, uint32_t index) {
    return table->entries[index]->row;
}

uint32_t command_table_id(const struct command_table *table, const struct command *command) {
    return command_table_entry(table, command)->id;
}

uint32_t command_table_id_count(const struct command_table *table) {
    return table->id_count;
}

unsigned command_full_name(const struct command *command, char *out, unsigned cap) {
    int len = command->container == NULL
                  ? snprintf(out, cap, "%s", command->name)
                  : snprintf(out, cap, "%s|%s", command->container, command->name);
    return (unsigned)len;
}

bool command_has_keys(const struct command *command) {
    return command->find_keys != NULL || command->keys[0].begin != KEY_BEGIN_NONE;
}

/* -- key positions -- */

struct found_keys {
    uint32_t *out;
    uint32_t *out_flags;
    uint32_t cap;
    uint32_t count;
};

static void add_position(struct found_keys *found, uint32_t position, uint32_t flags) {
    if (found->count < found->cap) {
        found->out[found->count] = position;
        if (found->out_flags != NULL) found->out_flags[found->count] = flags;
    }
    found->count++;
}

/* Where a specification begins, or 0 when it does not apply to this command line. */
static int64_t spec_begin(const struct key_spec *spec, const struct bytes *argv, uint32_t argc) {
    if (spec->begin == KEY_BEGIN_INDEX) return spec->index < (int64_t)argc ? spec->index : 0;
    if (spec->begin != KEY_BEGIN_KEYWORD) return 0;
    bool is_backwards = spec->index < 0;
    int64_t step = is_backwards ? -1 : 1;
    int64_t at = is_backwards ? (int64_t)argc + spec->index : spec->index;
    for (; at > 0 && at < (int64_t)argc; at += step) {
        if (bytes_equal_text_nocase(argv[at], spec->keyword))
            return at + 1 < (int64_t)argc ? at + 1 : 0;
    }
    return 0;
}

static bool add_spec(struct found_keys *found, const struct key_spec *spec,
                     const struct bytes *argv, uint32_t argc) {
    int64_t begin = spec_begin(spec, argv, argc);
    if (begin == 0) return true;
    int64_t first = begin;
    int64_t last = begin;
    int64_t step = spec->step < 1 ? 1 : spec->step;
    if (spec->find == KEY_FIND_RANGE) {
        last = spec->last >= 0 ? begin + spec->last : (int64_t)argc + spec->last;
        if (spec->limit > 1) last = begin + (int64_t)((argc - begin) / spec->limit) - 1;
    } else {
        int64_t count = 0;
        int64_t at = begin + spec->count_index;
        if (at >= (int64_t)argc || !number_parse_i64(argv[at], &count)) return false;
        if (count < 0 || count > (int64_t)argc) return false;
        first = begin + spec->first_index;
        last = first + (count - 1) * step;
    }
    if (last >= (int64_t)argc) return false;
    for (int64_t at = first; at <= last; at += step)
        add_position(found, (uint32_t)at, spec->flags);
    return true;
}

/* The positions, with the flags that stand in the row. */
static int find_positions(const struct command *command, const struct bytes *argv, uint32_t argc,
                          uint32_t *out, uint32_t *out_flags, uint32_t cap) {
    if (command->find_keys != NULL) {
        int count = command->find_keys(argv, argc, out, cap);
        for (int i = 0; out_flags != NULL && i < count && (uint32_t)i < cap; i++)
            out_flags[i] = command->keys[0].flags;
        return count;
    }
    struct found_keys found = {out, out_flags, cap, 0};
    for (int i = 0; i < COMMAND_KEY_SPEC_MAX && command->keys[i].begin != KEY_BEGIN_NONE; i++) {
        if (!add_spec(&found, &command->keys[i], argv, argc)) return -1;
    }
    return (int)found.count;
}

int command_keys(const struct command *command, const struct bytes *argv, uint32_t argc,
                 uint32_t *out, uint32_t *out_flags, uint32_t cap) {
    int count = find_positions(command, argv, argc, out, out_flags, cap);
    if (out_flags == NULL || command->key_flags == NULL) return count;
    for (int i = 0; i < count && (uint32_t)i < cap; i++)
        out_flags[i] = command->key_flags(argv, argc, (uint32_t)i);
    return count;
}
