#include <string.h>

#include "server/aof/aof_internal.h"

static const struct option_choice sync_choices[] = {
    {"everysec", AOF_SYNC_EVERY_SECOND},
    {"always", AOF_SYNC_ALWAYS},
    {"no", AOF_SYNC_NO},
    {NULL, 0},
};

static bool check_name(const char *value, const char *option, struct buffer *error) {
    if (value[0] == '\0') {
        buffer_append_format(error, "%s can't be empty", option);
    } else if (strchr(value, '/') != NULL || strcmp(value, ".") == 0 || strcmp(value, "..") == 0) {
        buffer_append_format(error, "%s can't be a path, just a %s", option,
                             strcmp(option, "appenddirname") == 0 ? "dirname" : "filename");
    } else if (strlen(value) > AOF_PREFIX_MAX_BYTES) {
        buffer_append_format(error, "%s can't be longer than %u bytes", option,
                             AOF_PREFIX_MAX_BYTES);
    } else {
        return true;
    }
    return false;
}

static bool check_prefix(const char *value, struct buffer *error) {
    return check_name(value, "appendfilename", error);
}

static bool check_folder(const char *value, struct buffer *error) {
    return check_name(value, "appenddirname", error);
}

const struct option aof_option_rows[] = {
    {
        .name = "appendonly",
        .field = OPTION_BOOL(struct aof_options, is_on),
        .live = true,
        .still_while_loading = true,
        .doc = "Keep an append-only file, so that no change is lost with the process.",
    },
    {
        .name = "appendfilename",
        .field = OPTION_STRING(struct aof_options, file_prefix),
        .initial_text = "appendonly.aof",
        .check = check_prefix,
        .doc = "What the names of the append-only files begin with.",
    },
    {
        .name = "appenddirname",
        .field = OPTION_STRING(struct aof_options, folder),
        .initial_text = "appendonlydir",
        .check = check_folder,
        .doc = "Folder of the append-only files, inside dir.",
    },
    {
        .name = "appendfsync",
        .field = OPTION_ENUM(struct aof_options, sync),
        .range = {.initial = AOF_SYNC_EVERY_SECOND},
        .choices = sync_choices,
        .live = true,
        .doc = "When changes are made durable: before their replies, each second, or at leisure.",
    },
    {
        .name = "no-appendfsync-on-rewrite",
        .field = OPTION_BOOL(struct aof_options, pauses_sync),
        .live = true,
        .doc = "Do not fsync the append-only file while it is rewritten.",
    },
    {
        .name = "aof-load-truncated",
        .field = OPTION_BOOL(struct aof_options, loads_truncated),
        .range = {.initial = 1},
        .live = true,
        .doc = "Cut off an incomplete command at the end of the last file and start; else refuse.",
    },
    {
        .name = "aof-use-rdb-preamble",
        .field = OPTION_BOOL(struct aof_options, has_rdb_base),
        .range = {.initial = 1},
        .live = true,
        .doc = "Write bases as RDB files; else as commands, which take more space and time.",
    },
    {
        .name = "aof-timestamp-enabled",
        .field = OPTION_BOOL(struct aof_options, has_timestamps),
        .live = true,
        .doc = "Annotate the append-only file with the time.",
    },
    {
        .name = "aof-rewrite-incremental-fsync",
        .field = OPTION_BOOL(struct aof_options, syncs_rewrite_in_pieces),
        .range = {.initial = 1},
        .live = true,
        .doc = "Fsync a base every 4 MB while it is written.",
    },
    {
        .name = "aof-disable-auto-gc",
        .field = OPTION_BOOL(struct aof_options, keeps_history),
        .live = true,
        .hidden = true,
        .doc = "Keep files that a rewrite has made superfluous.",
    },
    {
        .name = "auto-aof-rewrite-percentage",
        .field = OPTION_UINT(struct aof_options, rewrite_percentage),
        .range = {.initial = 100, .min = 0, .max = INT32_MAX},
        .live = true,
        .doc = "Rewrite when the files have grown by so many percent; 0: only when asked to.",
    },
    {
        .name = "auto-aof-rewrite-min-size",
        .field = OPTION_MEMORY(struct aof_options, rewrite_min_bytes),
        .range = {.initial = 64 << 20},
        .live = true,
        .doc = "Smaller files are not rewritten by themselves.",
    },
};
const uint32_t aof_option_count = ARRAY_COUNT(aof_option_rows);
