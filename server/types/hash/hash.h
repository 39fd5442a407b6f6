/* Hashes: fields with values.
 *
 * A small hash is one listpack of field, value, field, value ...; a larger one a table of string
 * records, the field being the record's key (types/string). It becomes a table when a field or
 * value is longer than hash-max-listpack-value or there are more than hash-max-listpack-entries
 * fields, and stays one. The order of its fields is that of their hash under a seed of its own, so
 * nobody can choose fields that collide.
 */
#pragma once

#include "server/command/command.h"
#include "server/keyspace/data_type.h"
#include "server/structs/listpack.h"

extern const struct data_type hash_type;
extern const struct command hash_commands[];

/* The value of a field, for other modules (SORT's patterns): a view that ends with the next change
 * of the hash, or a number with `text.data` NULL. False when there is no such field. */
bool hash_get(const struct record *record, struct bytes field, struct listpack_value *out);
