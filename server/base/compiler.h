/* Attributes and small macros that every module spells the same way. */
#pragma once

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_arg)                                                       \
    __attribute__((format(printf, format_index, first_arg)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define CACHE_LINE 64
#define CACHE_ALIGNED __attribute__((aligned(CACHE_LINE)))
#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))
#define COLD __attribute__((cold, noinline)) /* Keeps rare work out of its caller's hot path. */
