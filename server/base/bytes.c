#include "server/base/bytes.h"

#include "server/base/mem.h"

int bytes_compare(struct bytes a, struct bytes b) {
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);
    if (order != 0) return order;
    return (a.len > b.len) - (a.len < b.len);
}

bool bytes_equal_nocase(struct bytes a, struct bytes b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++) {
        if (ascii_lower((char)a.data[i]) != ascii_lower((char)b.data[i])) return false;
    }
    return true;
}

bool bytes_equal_text_nocase(struct bytes a, const char *text) {
    return bytes_equal_nocase(a, bytes_of_text(text));
}

char *bytes_to_text(struct bytes a, char *out, size_t cap) {
    size_t len = a.len < cap - 1 ? a.len : cap - 1;
    if (len > 0) memcpy(out, a.data, len);
    out[len] = '\0';
    return out;
}

char *bytes_copy_text(struct bytes a) {
    char *text = mem_alloc(a.len + 1);
    return bytes_to_text(a, text, a.len + 1);
}

void bytes_lower(struct bytes a, char *out) {
    for (size_t i = 0; i < a.len; i++)
        out[i] = ascii_lower((char)a.data[i]);
}
