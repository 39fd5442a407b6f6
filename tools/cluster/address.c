#include "tools/cluster/address.h"

#include "server/base/number.h"

static bool parse_port(struct bytes text, int *out) {
    uint64_t port;
    if (!number_parse_u64(text, &port) || port == 0 || port > 65535) return false;
    *out = (int)port;
    return true;
}

static bool set_host(struct bytes host, struct address *address) {
    if (host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']') {
        host = bytes_of(host.data + 1, host.len - 2);
    }
    if (host.len == 0 || host.len >= sizeof(address->host)) return false;
    bytes_to_text(host, address->host, sizeof(address->host));
    return true;
}

/* port[@busport] */
static bool set_ports(struct bytes text, struct address *address) {
    const uint8_t *at = text.len == 0 ? NULL : memchr(text.data, '@', text.len);
    address->bus_port = 0;
    if (at == NULL) return parse_port(text, &address->port);
    size_t len = (size_t)(at - text.data);
    return parse_port(bytes_of(text.data, len), &address->port) &&
           parse_port(bytes_from(text, len + 1), &address->bus_port);
}

bool address_parse(struct bytes text, struct address *out) {
    struct address address = {0};
    size_t colon = text.len;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon < 2) return false;
    if (!set_host(bytes_of(text.data, colon - 1), &address)) return false;
    if (!set_ports(bytes_from(text, colon), &address)) return false;
    *out = address;
    return true;
}

size_t address_parse_words(size_t count, const struct bytes *words, struct address *out) {
    if (count > 0 && address_parse(words[0], out)) return 1;
    struct address address = {0};
    if (count < 2 || memchr(words[0].data, ':', words[0].len) != NULL) return 0;
    if (!set_host(words[0], &address) || !set_ports(words[1], &address)) return 0;
    *out = address;
    return 2;
}
