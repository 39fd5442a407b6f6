#include "tools/client/profile.h"

#include <stddef.h>
#include <string.h>

#include "server/base/compiler.h"

static const struct profile profiles[] = {
    {
        .tool = "dunlin-cli",
        .server = "Dunlin",
        .prompt_server = "dunlin",
        .env_prefix = "DUNLINCLI",
        .dot_name = "dunlincli",
        .primary = "master",
        .primaries = "masters",
        .primary_title = "Master",
        .replica = "slave",
        .replicas = "slaves",
    },
    {
        .tool = "redis-cli",
        .server = "Redis",
        .prompt_server = "redis",
        .env_prefix = "REDISCLI",
        .dot_name = "rediscli",
        .primary = "master",
        .primaries = "masters",
        .primary_title = "Master",
        .replica = "slave",
        .replicas = "slaves",
    },
    {
        .tool = "valkey-cli",
        .server = "Valkey",
        .prompt_server = "valkey",
        .env_prefix = "VALKEYCLI",
        .dot_name = "valkeycli",
        .primary = "primary",
        .primaries = "primaries",
        .primary_title = "Primary",
        .replica = "replica",
        .replicas = "replicas",
        .is_valkey = true,
    },
};

const struct profile *profile_find(const char *program, const char *wanted) {
    const char *slash = strrchr(program, '/');
    const char *name = slash == NULL ? program : slash + 1;
    for (size_t i = 0; i < ARRAY_COUNT(profiles); i++) {
        size_t family_len = strlen(profiles[i].tool) - strlen("-cli");
        if (wanted == NULL) {
            if (strcmp(name, profiles[i].tool) == 0) return &profiles[i];
        } else if (strlen(wanted) == family_len &&
                   strncmp(wanted, profiles[i].tool, family_len) == 0) {
            return &profiles[i];
        }
    }
    return &profiles[0];
}
