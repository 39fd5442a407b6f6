/* oom-score-adj: how ready the kernel is to end this process when memory runs out. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/base/log.h"
#include "server/lifecycle/lifecycle_internal.h"

static const char path[] = "/proc/self/oom_score_adj";

enum { SCORE_MIN = -1000, SCORE_MAX = 1000 };

static bool read_score(int *out) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    bool is_read = fscanf(file, "%d", out) == 1;
    fclose(file);
    return is_read;
}

static bool write_score(int score) {
    FILE *file = fopen(path, "we");
    bool is_written = file != NULL && fprintf(file, "%d", score) > 0;
    // What was printed is written, or refused, when the file is closed.
    if (file != NULL && fclose(file) != 0) is_written = false;
    if (!is_written) log_warning("Unable to write %s: %s", path, strerror(errno));
    return is_written;
}

static int wanted_score(const struct lifecycle_options *options, const struct oom_score *state,
                        bool is_replica) {
    if (options->oom_score_adj == OOM_SCORE_ADJ_NO) return state->at_start;
    int score = options->oom_scores[is_replica ? OOM_SCORE_REPLICA : OOM_SCORE_PRIMARY];
    if (options->oom_score_adj == OOM_SCORE_ADJ_RELATIVE) score += state->at_start;
    return score < SCORE_MIN ? SCORE_MIN : score > SCORE_MAX ? SCORE_MAX : score;
}

bool oom_score_apply(struct oom_score *state, const struct lifecycle_options *options,
                     bool is_replica) {
    state->is_replica = is_replica;
    bool is_off = options->oom_score_adj == OOM_SCORE_ADJ_NO;
    if (is_off && !state->is_changed) return true;
    if (!state->is_changed && !read_score(&state->at_start)) {
        log_warning("Unable to read %s: %s", path, strerror(errno));
        return false;
    }
    if (!write_score(wanted_score(options, state, is_replica))) return false;
    state->is_changed = !is_off;
    return true;
}
