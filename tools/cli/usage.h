/* The texts of --help and of `help` at the prompt. */
#pragma once

#include <stdio.h>

#include "tools/client/profile.h"

void usage_print(const struct profile *profile, FILE *out);
