#include "tools/cli/uri.h"

#include <stdlib.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/mem.h"
#include "server/base/number.h"

#define ERROR_SCHEME "Invalid URI scheme"
#define ERROR_INCOMPLETE "Incomplete URI encoding"
#define ERROR_ILLEGAL "Illegal character in URI encoding"
#define ERROR_PORT "Invalid port in URI"
#define ERROR_HOST "Invalid host in URI"
#define ERROR_DB "Invalid database in URI"
#define ERROR_QUERY "Invalid query in URI"

static int hex_digit(uint8_t byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    char lower = ascii_lower((char)byte);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Percent-decodes into a fresh text; on error returns what is wrong. */
static const char *decode(struct bytes text, char **out) {
    struct buffer plain = {0};
    const char *error = NULL;
    for (size_t i = 0; i < text.len && error == NULL; i++) {
        if (text.data[i] != '%') {
            buffer_append_u8(&plain, text.data[i]);
        } else if (i + 2 >= text.len) {
            error = ERROR_INCOMPLETE;
        } else if (hex_digit(text.data[i + 1]) < 0 || hex_digit(text.data[i + 2]) < 0) {
            error = ERROR_ILLEGAL;
        } else {
            int byte = hex_digit(text.data[i + 1]) * 16 + hex_digit(text.data[i + 2]);
            buffer_append_u8(&plain, (uint8_t)byte);
            i += 2;
        }
    }
    if (error == NULL) {
        mem_free(*out);
        *out = bytes_copy_text(buffer_view(&plain));
    }
    buffer_deinit(&plain);
    return error;
}

/* Cuts `rest` at the first `mark`: returns what stands before it and leaves what stands behind.
 * Without a mark everything is returned and nothing left. */
static struct bytes cut(struct bytes *rest, uint8_t mark, bool *found) {
    const uint8_t *at = rest->len == 0 ? NULL : memchr(rest->data, mark, rest->len);
    *found = at != NULL;
    struct bytes before = *rest;
    if (at != NULL) before.len = (size_t)(at - rest->data);
    *rest = bytes_from(*rest, before.len + (at != NULL ? 1 : 0));
    return before;
}

static bool parse_int(struct bytes text, int max, int *out) {
    uint64_t value;
    if (!number_parse_u64(text, &value) || value > (uint64_t)max) return false;
    *out = (int)value;
    return true;
}

static const char *parse_userinfo(struct bytes userinfo, struct uri *uri) {
    bool has_user;
    struct bytes user = cut(&userinfo, ':', &has_user);
    if (!has_user) return decode(user, &uri->password);
    const char *error = user.len > 0 ? decode(user, &uri->user) : NULL;
    return error != NULL ? error : decode(userinfo, &uri->password);
}

static const char *parse_host_port(struct bytes text, struct uri *uri) {
    bool found = false;
    struct bytes host;
    if (text.len > 0 && text.data[0] == '[') {
        text = bytes_from(text, 1);
        host = cut(&text, ']', &found);
        if (!found) return ERROR_HOST;
        if (text.len > 0 && text.data[0] != ':') return ERROR_HOST;
        found = text.len > 0;
        if (found) text = bytes_from(text, 1);
    } else {
        host = cut(&text, ':', &found);
    }
    if (found && !parse_int(text, 65535, &uri->port)) return ERROR_PORT;
    return host.len > 0 ? decode(host, &uri->host) : NULL;
}

static const char *parse_query(struct bytes query, struct uri *uri) {
    while (query.len > 0) {
        bool found;
        struct bytes value = cut(&query, '&', &found);
        struct bytes name = cut(&value, '=', &found);
        if (bytes_equal_text(name, "db")) {
            if (!parse_int(value, INT32_MAX, &uri->db)) return ERROR_DB;
        } else if (bytes_equal_text(name, "protocol")) {
            if (!parse_int(value, 3, &uri->protocol) || uri->protocol < 2) return ERROR_QUERY;
        } else if (bytes_equal_text(name, "timeout")) {
            if (!number_parse_double(value, &uri->timeout_seconds)) return ERROR_QUERY;
        } else if (bytes_equal_text(name, "sni")) {
            const char *error = decode(value, &uri->sni);
            if (error != NULL) return error;
        } else {
            return ERROR_QUERY;
        }
    }
    return NULL;
}

static const char *parse_network(struct bytes rest, struct uri *uri) {
    bool found;
    struct bytes authority = cut(&rest, '/', &found);
    size_t at = authority.len;
    while (at > 0 && authority.data[at - 1] != '@')
        at--;
    const char *error = NULL;
    if (at > 0) error = parse_userinfo(bytes_of(authority.data, at - 1), uri);
    if (error == NULL) error = parse_host_port(bytes_from(authority, at), uri);
    if (error == NULL && rest.len > 0 && !parse_int(rest, INT32_MAX, &uri->db)) error = ERROR_DB;
    return error;
}

static bool parse_scheme(struct bytes *rest, struct uri *uri, bool *is_unix) {
    static const char *const schemes[] = {"redis", "valkey", "dunlin"};
    size_t at = 0;
    while (at + 3 <= rest->len && memcmp(rest->data + at, "://", 3) != 0)
        at++;
    if (at + 3 > rest->len) return false;
    struct bytes scheme = bytes_of(rest->data, at);
    *rest = bytes_from(*rest, at + 3);
    *is_unix = bytes_equal_text_nocase(scheme, "unix");
    if (*is_unix) return true;
    for (size_t i = 0; i < ARRAY_COUNT(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (scheme.len < len || scheme.len > len + 1) continue;
        if (!bytes_equal_text_nocase(bytes_of(scheme.data, len), schemes[i])) continue;
        uri->is_tls = scheme.len == len + 1;
        return !uri->is_tls || scheme.data[len] == 's' || scheme.data[len] == 'S';
    }
    return false;
}

const char *uri_parse(const char *text, struct uri *out) {
    struct uri uri = {.port = -1, .db = -1, .protocol = -1, .timeout_seconds = -1};
    struct bytes rest = bytes_of_text(text);
    bool is_unix = false;
    if (!parse_scheme(&rest, &uri, &is_unix)) return ERROR_SCHEME;
    bool has_query;
    struct bytes address = cut(&rest, '?', &has_query);
    const char *error = is_unix ? decode(address, &uri.socket_path) : parse_network(address, &uri);
    if (error == NULL) error = parse_query(rest, &uri);
    if (error != NULL) {
        uri_deinit(&uri);
        return error;
    }
    *out = uri;
    return NULL;
}

void uri_deinit(struct uri *uri) {
    mem_free(uri->user);
    mem_free(uri->password);
    mem_free(uri->host);
    mem_free(uri->socket_path);
    mem_free(uri->sni);
}
