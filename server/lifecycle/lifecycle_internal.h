/* What the files of this folder share. */
#pragma once

#include "server/lifecycle/lifecycle.h"

/* The process's score as this server has changed it. */
struct oom_score {
    bool is_changed; /* Then `at_start` is what it was. */
    bool is_replica; /* As what it was last applied. */
    int at_start;
};

/* Brings the score in line with the options and the role. False: the kernel refused it (logged), as
 * it does when an ordinary user wants it lower. */
bool oom_score_apply(struct oom_score *state, const struct lifecycle_options *options,
                     bool is_replica);
