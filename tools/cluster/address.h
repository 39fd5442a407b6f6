/* Addresses as people write them: host:port, host:port@busport, [v6]:port, v6:port. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "tools/cluster/node_model.h"

struct address {
    char host[NODE_HOST_MAX];
    int port;
    int bus_port; /* 0: not said, thus the port and CLUSTER_BUS_OFFSET. */
};

/* False when `text` is no address. */
MUST_USE bool address_parse(struct bytes text, struct address *out);

/* Reads one word `host:port` or two words `host port`. Returns how many it took, 0 for none. */
size_t address_parse_words(size_t count, const struct bytes *words, struct address *out);
