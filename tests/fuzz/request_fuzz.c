/* Requests from any bytes: what the parser says about the whole input and about its pieces agrees,
 * slices lie inside the input, and a claim that more bytes are needed is true. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/base/check.h"
#include "server/base/mem.h"
#include "server/resp/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct request_limits limits[] = {
    {.bulk_max = 512u << 20, .multibulk_max = 1024u * 1024u, .is_authenticated = true},
    {.bulk_max = 1u << 20, .multibulk_max = 1024u * 1024u, .is_authenticated = false},
};

static void check_arguments(const struct request *request, struct bytes input, size_t consumed) {
    ASSERT(consumed > 0 && consumed <= input.len);
    volatile uint8_t last = 0; // Each byte is really read.
    for (uint32_t i = 0; i < request->argc; i++) {
        for (size_t j = 0; j < request->argv[i].len; j++)
            last = (uint8_t)request->argv[i].data[j];
    }
    (void)last;
}

/* A prefix shorter than what was asked for cannot be complete. The copy has its own bounds, so that
 * a read behind the prefix is seen. */
static void check_need(struct request *request, struct bytes input, size_t need,
                       const struct request_limits *limit) {
    ASSERT(need > input.len);
    if (input.len < 2) return;
    size_t half = input.len / 2;
    uint8_t *copy = mem_alloc(half);
    memcpy(copy, input.data, half);
    size_t consumed = 0;
    size_t half_need = 0;
    enum request_result result =
        request_parse(request, bytes_of(copy, half), limit, &consumed, &half_need);
    ASSERT(result == REQUEST_INCOMPLETE);
    ASSERT(half_need > half);
    mem_free(copy);
}

static void run(struct bytes input, const struct request_limits *limit) {
    struct request request = {0};
    for (;;) {
        size_t consumed = 0;
        size_t need = 0;
        enum request_result result = request_parse(&request, input, limit, &consumed, &need);
        if (result == REQUEST_INVALID) {
            ASSERT(request.error != NULL && request.error[0] != '\0');
            break;
        }
        if (result == REQUEST_INCOMPLETE) {
            check_need(&request, input, need, limit);
            break;
        }
        check_arguments(&request, input, consumed);
        input = bytes_from(input, consumed);
        if (input.len == 0) break;
    }
    request_deinit(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        run(bytes_of(data, size), &limits[i]);
    return 0;
}
