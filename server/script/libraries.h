/* Libraries of functions: what FUNCTION LOAD brings, FCALL calls and a snapshot carries.
 *
 * A library is a Lua source with a name in its first line; running it registers its functions. It
 * has an interpreter of its own, so no library sees anything of another. A set of libraries is a
 * plain object: a snapshot is loaded into a fresh set, by any thread, and adopted together with the
 * keys that came with it.
 */
#pragma once

#include <stdbool.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"

struct libraries;
struct scripts;

/* An empty set. What its interpreters take is counted with `scripts`, which must outlive it. */
struct libraries *libraries_create(struct scripts *scripts);
void libraries_destroy(struct libraries *libraries); /* NULL is fine. Any thread. */

/* Runs a library's source and adds it: for sources that were accepted once, which get a minute.
 * False: nothing was added, and `error` holds why (without a code word). */
bool libraries_load(struct libraries *libraries, struct bytes source, struct buffer *error);

uint32_t libraries_count(const struct libraries *libraries);
/* The source of the index-th one, by name; a view until the set changes. */
struct bytes libraries_source_view(const struct libraries *libraries, uint32_t index);

/* Those that FCALL knows; adopting others destroys them. Everything parked. */
const struct libraries *scripts_libraries(const struct scripts *scripts);
void scripts_adopt_libraries(struct scripts *scripts, struct libraries *taken);
