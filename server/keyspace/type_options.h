/* Option rows whose members lie in a `struct data_type_options`. */
#pragma once

#include <stddef.h>

#include "server/config/option.h"

extern const struct option data_type_option_rows[];
extern const size_t data_type_option_count;
