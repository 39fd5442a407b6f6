/* Server addresses as URIs:
 *
 *   (redis|rediss|valkey|valkeys|dunlin|dunlins)://[[user:]password@]host[:port][/db][?query]
 *   unix:///path[?query]                 query: db=, protocol=2|3, timeout=, sni=
 *
 * User, password, host and path are percent-decoded; IPv6 hosts stand in brackets.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/compiler.h"

/* Parts that the URI names; owned texts. NULL and -1 mean that it does not say. */
struct uri {
    bool is_tls;
    char *user;
    char *password;
    char *host;
    char *socket_path;
    char *sni;
    int port;
    int db;
    int protocol;
    double timeout_seconds;
};

/* Parses `text`. NULL on success; else what is wrong, and `out` needs no uri_deinit. */
MUST_USE const char *uri_parse(const char *text, struct uri *out);

void uri_deinit(struct uri *uri);
