/* What the files of this folder share. */
#pragma once

#include "server/observe/observe.h"

const struct observer_options *observer_options(const struct observer *observer);

/* Raises the peak if `used` is more; returns the peak. */
uint64_t observer_note_peak(struct observer *observer, uint64_t used);
