/* What the files of this module share: pieces of records, and the handlers that the rows name. */
#pragma once

#include "server/types/string/string.h"

/* A record around a blob, which it takes over. */
struct record *string_record_create_blob(struct bytes key, struct blob *blob, bool has_deadline,
                                         int64_t deadline_ms);

/* Another payload, in place when the allocation would be of the same size. What the old payload
 * pointed to is the caller's. */
struct record *string_record_set_payload(struct record *record, unsigned encoding,
                                         struct bytes payload);
struct record *string_record_set_blob(struct record *record, struct blob *blob);

void string_append(struct command_context *context);
void string_decr(struct command_context *context);
void string_decrby(struct command_context *context);
void string_delifeq(struct command_context *context);
void string_get(struct command_context *context);
void string_getdel(struct command_context *context);
void string_getex(struct command_context *context);
void string_getrange(struct command_context *context);
void string_getset(struct command_context *context);
void string_incr(struct command_context *context);
void string_incrby(struct command_context *context);
void string_incrbyfloat(struct command_context *context);
void string_lcs(struct command_context *context);
void string_mget(struct command_context *context);
void string_mset(struct command_context *context);
void string_msetnx(struct command_context *context);
void string_psetex(struct command_context *context);
uint32_t string_set_key_flags(const struct bytes *argv, uint32_t argc, uint32_t index);
void string_set(struct command_context *context);
void string_setex(struct command_context *context);
void string_setnx(struct command_context *context);
void string_setrange(struct command_context *context);
void string_strlen(struct command_context *context);
