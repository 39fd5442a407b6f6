/* Under which name the tool runs, and the words that follow from it.
 *
 * The tool is installed as dunlin-cli and also works through links named redis-cli and valkey-cli,
 * since images and charts call those. Scripts parse its texts, so each name keeps its family's
 * words.
 */
#pragma once

#include <stdbool.h>

struct profile {
    const char *tool;          /* "dunlin-cli" */
    const char *server;        /* In connect errors: "Dunlin". */
    const char *prompt_server; /* In the prompt of a socket: "dunlin". */
    const char *env_prefix;    /* "DUNLINCLI" */
    const char *dot_name;      /* "dunlincli": of the history and preferences files. */
    const char *primary;       /* "master" or "primary". */
    const char *primaries;
    const char *primary_title; /* "Master" or "Primary". */
    const char *replica;       /* "slave" or "replica". */
    const char *replicas;
    bool is_valkey; /* Valkey's rules where the families differ. */
};

/* The profile of a program name (its base name counts), or the one that `wanted` ("redis",
 * "valkey", "dunlin"; may be NULL) asks for. */
const struct profile *profile_find(const char *program, const char *wanted);
