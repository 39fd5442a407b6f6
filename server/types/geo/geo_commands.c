/* Places added, and what one or two of them are. */
#include "server/base/mem.h"
#include "server/types/geo/geo_internal.h"
#include "server/types/zset/zset.h"

bool geo_parse_point(struct command_context *context, uint32_t argument, struct geo_point *out) {
    if (!context_double(context, argument, &out->longitude) ||
        !context_double(context, argument + 1, &out->latitude))
        return false;
    if (geo_is_valid(*out)) return true;
    reply_error_format(context->reply, "ERR invalid longitude,latitude pair %f,%f", out->longitude,
                       out->latitude);
    return false;
}

bool geo_parse_unit(struct command_context *context, uint32_t argument, double *out_metres) {
    static const struct {
        const char *name;
        double metres;
    } units[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (!context_argument_is(context, argument, units[i].name)) continue;
        *out_metres = units[i].metres;
        return true;
    }
    reply_error(context->reply, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

void geo_reply_distance(struct reply *reply, double in_unit) {
    reply_bulk_format(reply, "%.4f", in_unit);
}

void geo_reply_point(struct reply *reply, struct geo_point point) {
    reply_array(reply, 2);
    reply_fixed_double(reply, point.longitude);
    reply_fixed_double(reply, point.latitude);
}

/* -- GEOADD -- */

/* What it does is ZADD of the geohashes, and so it goes on to replicas. */
void geo_geoadd(struct command_context *context) {
    bool only_new = false;
    bool only_old = false;
    uint32_t at = 2;
    for (; at < context->argc; at++) {
        if (context_argument_is(context, at, "NX")) {
            only_new = true;
        } else if (context_argument_is(context, at, "XX")) {
            only_old = true;
        } else if (!context_argument_is(context, at, "CH")) {
            break;
        }
    }
    uint32_t words = context->argc - at;
    if (words == 0 || words % 3 != 0 || (only_new && only_old)) {
        reply_syntax_error(context->reply);
        return;
    }
    uint32_t count = words / 3;
    uint32_t argc = at + count * 2;
    struct bytes *argv = mem_alloc(argc * sizeof(*argv));
    char(*scores)[NUMBER_TEXT_MAX] = mem_alloc(count * sizeof(*scores));
    memcpy(argv, context->argv, at * sizeof(*argv));
    argv[0] = BYTES_LITERAL("ZADD");
    bool is_fine = true;
    for (uint32_t i = 0; is_fine && i < count; i++) {
        struct geo_point point;
        is_fine = geo_parse_point(context, at + i * 3, &point);
        if (!is_fine) break;
        unsigned len = number_format_u64(geohash_of_point(point), scores[i]);
        argv[at + i * 2] = bytes_of(scores[i], len);
        argv[at + i * 2 + 1] = context->argv[at + i * 3 + 2];
    }
    if (is_fine) {
        const struct bytes *as_sent = context->argv;
        uint32_t argc_as_sent = context->argc;
        context->argv = argv;
        context->argc = argc;
        zset_zadd(context);
        if (context->changes > 0) context_propagate(context, argv, argc);
        context->argv = as_sent;
        context->argc = argc_as_sent;
    }
    mem_free(scores);
    mem_free(argv);
}

/* -- reading -- */

static bool find_places(struct command_context *context, const struct record **out) {
    struct key key = context_key(context, 1);
    bool failed;
    *out = context_find_typed(context, &key, RECORD_ZSET, &failed);
    return !failed;
}

static bool find_point(const struct record *record, struct bytes member, struct geo_point *out) {
    double score;
    if (record == NULL || !zset_score(record, member, &score)) return false;
    *out = geohash_point((uint64_t)score);
    return true;
}

void geo_geodist(struct command_context *context) {
    double metres = 1;
    const struct record *record;
    struct geo_point from;
    struct geo_point to;
    if (context->argc > 5) {
        reply_syntax_error(context->reply);
        return;
    }
    if (context->argc == 5 && !geo_parse_unit(context, 4, &metres)) return;
    if (!find_places(context, &record)) return;
    if (find_point(record, context->argv[2], &from) && find_point(record, context->argv[3], &to)) {
        geo_reply_distance(context->reply, geo_distance(from, to) / metres);
    } else {
        reply_null(context->reply);
    }
}

void geo_geohash(struct command_context *context) {
    const struct record *record;
    if (!find_places(context, &record)) return;
    reply_array(context->reply, context->argc - 2);
    for (uint32_t i = 2; i < context->argc; i++) {
        struct geo_point point;
        char text[12];
        if (!find_point(record, context->argv[i], &point)) {
            reply_null(context->reply);
            continue;
        }
        geohash_text(point, text);
        reply_bulk_text(context->reply, text);
    }
}

void geo_geopos(struct command_context *context) {
    const struct record *record;
    if (!find_places(context, &record)) return;
    reply_array(context->reply, context->argc - 2);
    for (uint32_t i = 2; i < context->argc; i++) {
        struct geo_point point;
        if (find_point(record, context->argv[i], &point)) {
            geo_reply_point(context->reply, point);
        } else {
            reply_null_array(context->reply);
        }
    }
}
