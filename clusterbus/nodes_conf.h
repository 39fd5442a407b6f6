/* The text of nodes.conf and of CLUSTER NODES lines.
 *
 * Loading is bus_create's; here is the writing. The file itself (lock, fsync, rename) is the
 * adapter's. Source: specification 7 and 8.14.
 */
#pragma once

#include "clusterbus/bus.h"
#include "server/base/buffer.h"

/* Appends the whole file: a line for each node but handshakes, then the vars line. */
void nodes_conf_write(const struct bus *bus, struct buffer *out);

/* How a client wants to see addresses. */
struct nodes_line_options {
    bool tls_port;    /* The client came over TLS: show TLS ports. */
    bool client_ipv4; /* Show the announced client address of this family where there is one. */
    bool client_ipv6;
};

/* Appends one CLUSTER NODES line for the node at `index`, without a newline. */
void nodes_line_write(const struct bus *bus, size_t index, const struct nodes_line_options *options,
                      struct buffer *out);
