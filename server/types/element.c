#include "server/types/element.h"

struct bytes element_text(const struct listpack_value *element, char *scratch) {
    if (element->text.data != NULL) return element->text;
    return bytes_of(scratch, number_format_i64(element->number, scratch));
}

void element_reply(struct reply *reply, const struct listpack_value *element) {
    if (element->text.data == NULL) {
        reply_bulk_integer(reply, element->number);
    } else {
        reply_bulk(reply, element->text);
    }
}
