/* The digest of a data set that DEBUG DIGEST shows: two nodes with the same data have the same.
 *
 * 20 bytes, all zero for nothing. *Mixing* depends on the order of what is mixed, *xoring* does
 * not: a list mixes its elements, a set xors its members. A type's `digest` adds its value alone;
 * the type's code and the mark of a deadline are added by digest_record.
 *
 *     string  mix(value)                list  mix(element) from head to tail
 *     set     xor(member)               hash  xor of a fresh digest with mix(field), mix(value)
 *     zset    xor of a fresh digest with mix(member), mix(text of the score)
 *     stream  for each entry mix("<ms>.<seq>"), then mix(field), mix(value) ...
 */
#pragma once

#include "server/base/bytes.h"
#include "server/keyspace/data_type.h"

/* digest ^= SHA1(bytes) */
void digest_xor(struct digest *digest, struct bytes bytes);

/* digest = SHA1(digest ^ SHA1(bytes)) */
void digest_mix(struct digest *digest, struct bytes bytes);

/* digest_xor with the bytes of another digest. */
void digest_xor_digest(struct digest *digest, const struct digest *other);

/* digest_mix with a number of 4 bytes, high byte first. */
void digest_mix_u32(struct digest *digest, uint32_t number);

/* Adds a value with its type and whether it has a deadline; not its key. */
void digest_record(struct digest *digest, const struct data_type *type,
                   const struct record *record);

/* 40 hex digits and NUL. */
#define DIGEST_TEXT_SIZE 41
void digest_text(const struct digest *digest, char out[DIGEST_TEXT_SIZE]);
