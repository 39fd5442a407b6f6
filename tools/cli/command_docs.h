/* What a server says of its commands (COMMAND DOCS): the source of help, hints and completion. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/buffer.h"
#include "server/base/bytes.h"
#include "server/base/compiler.h"
#include "server/resp/reply_reader.h"

enum doc_kind { DOC_VALUE, DOC_PURE_TOKEN, DOC_ONE_OF, DOC_BLOCK };

/* One argument of a command, or an alternative or part of one. */
struct doc_argument {
    char *name;  /* Owned. */
    char *token; /* Owned; the word before the value. NULL: none. */
    enum doc_kind kind;
    bool is_optional;
    bool is_multiple;
    bool repeats_token;             /* Of a multiple one: the token comes with each value. */
    struct doc_argument *arguments; /* Owned; of DOC_ONE_OF and DOC_BLOCK. */
    size_t argument_count;
};

/* A command or sub-command. */
struct doc_entry {
    char *name; /* Owned; upper case, as in "CONFIG GET". */
    char *summary;
    char *since;
    char *group;
    struct doc_argument *arguments;
    size_t argument_count;
};

struct command_docs {
    struct doc_entry *entries; /* Sorted by name. */
    size_t count;
};

/* Reads a reply of COMMAND DOCS, of RESP2 or RESP3. What it does not understand is left out. */
void command_docs_read(const struct reply *reply, struct command_docs *out);

/* Reads a reply of COMMAND: names and numbers of arguments, for servers without COMMAND DOCS. */
void command_docs_read_commands(const struct reply *reply, struct command_docs *out);

void command_docs_deinit(struct command_docs *docs);

/* The entry whose name has the most words among those that the words begin with. NULL: none. */
const struct doc_entry *command_docs_find(const struct command_docs *docs, size_t word_count,
                                          const struct bytes *words, size_t *out_name_words);

/* Appends the syntax of arguments, as in "key [NX|XX]". */
void command_docs_append_syntax(const struct doc_argument *arguments, size_t count,
                                struct buffer *out);

/* The same for one argument, without the brackets of an optional one if `is_bare`. */
void command_docs_append_argument(const struct doc_argument *argument, bool is_bare,
                                  struct buffer *out);

/* The part of an argument behind its token and without its repetition. */
void command_docs_append_body(const struct doc_argument *argument, struct buffer *out);
