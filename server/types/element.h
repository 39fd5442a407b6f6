/* Elements of collections, each a text or a number, as listpacks hand them out. */
#pragma once

#include "server/base/number.h"
#include "server/resp/reply.h"
#include "server/structs/listpack.h"

/* The element as bytes: a view, or of `scratch` (NUMBER_TEXT_MAX bytes) for a number. */
struct bytes element_text(const struct listpack_value *element, char *scratch);

/* As a bulk string. */
void element_reply(struct reply *reply, const struct listpack_value *element);
