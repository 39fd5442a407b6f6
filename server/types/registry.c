#include "server/types/registry.h"

#include "server/types/bitmap/bitmap.h"
#include "server/types/generic/generic.h"
#include "server/types/geo/geo.h"
#include "server/types/hash/hash.h"
#include "server/types/hyperloglog/hyperloglog.h"
#include "server/types/list/list.h"
#include "server/types/set/set.h"
#include "server/types/sort/sort.h"
#include "server/types/stream/stream.h"
#include "server/types/string/string.h"
#include "server/types/zset/zset.h"

const struct data_type *const registry_types[RECORD_TYPE_COUNT] = {
    [RECORD_STRING] = &string_type, [RECORD_LIST] = &list_type, [RECORD_HASH] = &hash_type,
    [RECORD_STREAM] = &stream_type, [RECORD_ZSET] = &zset_type, [RECORD_SET] = &set_type,
};

void registry_add_commands(struct command_table *table) {
    command_table_add(table, generic_commands);
    command_table_add(table, string_commands);
    command_table_add(table, hash_commands);
    command_table_add(table, list_commands);
    command_table_add(table, set_commands);
    command_table_add(table, zset_commands);
    command_table_add(table, geo_commands);
    command_table_add(table, sort_commands);
    command_table_add(table, stream_commands);
    command_table_add(table, bitmap_commands);
    command_table_add(table, hyperloglog_commands);
}
