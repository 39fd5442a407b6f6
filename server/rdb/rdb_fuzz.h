/* What the fuzzer calls, declared for the unit test that calls it with damaged samples. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Reads the bytes as a file, as a value of every type and as a blob of every kind. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
