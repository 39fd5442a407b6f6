#include <criterion/criterion.h>

#include "server/command/latency.h"

Test(latency, buckets_are_exact_to_three_percent) {
    for (uint64_t value = 0; value < UINT64_C(1) << 36; value = value * 17 / 16 + 1) {
        uint32_t bucket = latency_bucket(value);
        double middle = latency_bucket_middle(bucket);
        double error = middle - (double)value;
        if (error < 0) error = -error;
        cr_assert(error <= (double)value * 0.03 + 0.001, "%llu is told as %f",
                  (unsigned long long)value, middle);
    }
}

Test(latency, buckets_never_fall) {
    uint32_t last = 0;
    for (uint64_t value = 0; value < 1 << 20; value++) {
        uint32_t bucket = latency_bucket(value);
        cr_assert(bucket == last || bucket == last + 1);
        last = bucket;
    }
    cr_assert_eq(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
}

Test(latency, percentiles_find_their_place) {
    static uint64_t counts[LATENCY_BUCKETS];
    counts[latency_bucket(10)] = 98;
    counts[latency_bucket(1000)] = 1;
    counts[latency_bucket(100000)] = 1;
    cr_assert_float_eq(latency_percentile(counts, 100, 50), 10, 0.01);
    cr_assert_float_eq(latency_percentile(counts, 100, 99), 1000, 30);
    cr_assert_float_eq(latency_percentile(counts, 100, 100), 100000, 3000);
    cr_assert_float_eq(latency_percentile(counts, 100, 0), 10, 0.01);
}
