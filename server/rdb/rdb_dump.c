#include "server/rdb/rdb_dump.h"

#include <stdint.h>

#include "server/base/crc.h"
#include "server/rdb/rdb_format.h"

enum { VERSION_BYTES = 2, CHECKSUM_BYTES = 8 };

enum status rdb_dump_open(struct bytes payload, struct bytes *out_content) {
    if (payload.len < RDB_DUMP_FOOTER_BYTES) return STATUS_BAD_FORMAT;
    struct bytes content = bytes_of(payload.data, payload.len - RDB_DUMP_FOOTER_BYTES);
    const uint8_t *footer = payload.data + content.len;
    unsigned version = (unsigned)footer[0] | (unsigned)footer[1] << 8;
    if (version > RDB_VERSION_READABLE_DUMP) return STATUS_UNSUPPORTED;
    uint64_t stored = 0;
    for (unsigned i = 0; i < CHECKSUM_BYTES; i++)
        stored |= (uint64_t)footer[VERSION_BYTES + i] << (8 * i);
    uint64_t computed = crc64(0, bytes_of(payload.data, payload.len - CHECKSUM_BYTES));
    if (stored != computed) return STATUS_BAD_CHECKSUM;
    *out_content = content;
    return STATUS_OK;
}
