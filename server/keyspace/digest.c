#include "server/keyspace/digest.h"

#include <openssl/sha.h>

_Static_assert(sizeof(((struct digest *)0)->bytes) == SHA_DIGEST_LENGTH, "a digest is a SHA-1");

void digest_xor(struct digest *digest, struct bytes bytes) {
    uint8_t hash[SHA_DIGEST_LENGTH];
    SHA1(bytes.data, bytes.len, hash);
    for (size_t i = 0; i < sizeof(hash); i++)
        digest->bytes[i] ^= hash[i];
}

void digest_mix(struct digest *digest, struct bytes bytes) {
    digest_xor(digest, bytes);
    uint8_t hash[SHA_DIGEST_LENGTH];
    SHA1(digest->bytes, sizeof(digest->bytes), hash);
    memcpy(digest->bytes, hash, sizeof(hash));
}

void digest_xor_digest(struct digest *digest, const struct digest *other) {
    digest_xor(digest, bytes_of(other->bytes, sizeof(other->bytes)));
}

void digest_mix_u32(struct digest *digest, uint32_t number) {
    const uint8_t text[] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16),
                            (uint8_t)(number >> 8), (uint8_t)number};
    digest_mix(digest, bytes_of(text, sizeof(text)));
}

void digest_record(struct digest *digest, const struct data_type *type,
                   const struct record *record) {
    digest_mix_u32(digest, type->code);
    type->digest(record, digest);
    if (record_has_deadline(record)) digest_xor(digest, BYTES_LITERAL("!!expire!!"));
}

void digest_text(const struct digest *digest, char out[DIGEST_TEXT_SIZE]) {
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof(digest->bytes); i++) {
        out[2 * i] = hex[digest->bytes[i] >> 4];
        out[2 * i + 1] = hex[digest->bytes[i] & 15];
    }
    out[DIGEST_TEXT_SIZE - 1] = '\0';
}
