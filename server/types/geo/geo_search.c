/* Places within a circle or a box. */
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/types/geo/geo_internal.h"
#include "server/types/zset/zset.h"

enum sort { SORT_NONE, SORT_ASCENDING, SORT_DESCENDING };

struct search {
    struct geo_area area;
    double unit_m; /* Of the distances that are answered. */
    enum sort sort;
    uint64_t count; /* 0: all. */
    bool is_any;    /* The first `count` that are found will do. */
    bool with_distance;
    bool with_hash;
    bool with_point;
    bool stores_distance;
    uint32_t store_argument; /* Of the key that gets the result; 0: none. */
    bool has_centre;
    bool has_shape;
};

struct found_place {
    size_t member_at;
    size_t member_len;
    double distance; /* Metres. */
    double score;
};

struct found {
    struct found_place *items;
    size_t count;
    size_t cap;
    struct buffer members; /* Their names: one after the other. */
};

static void found_deinit(struct found *found) {
    mem_free(found->items);
    buffer_deinit(&found->members);
}

static struct bytes found_name(const struct found *found, size_t index) {
    const struct found_place *place = &found->items[index];
    return bytes_of(found->members.data + place->member_at, place->member_len);
}

/* -- searching -- */

static void add_found(struct found *found, struct bytes member, double score, double distance) {
    if (found->count == found->cap) {
        found->cap = found->cap == 0 ? 16 : found->cap * 2;
        found->items = mem_realloc(found->items, found->cap * sizeof(*found->items));
    }
    found->items[found->count++] =
        (struct found_place){found->members.len, member.len, distance, score};
    buffer_append_bytes(&found->members, member);
}

static void search_cell(const struct record *record, struct geo_cell cell,
                        const struct search *search, struct found *found) {
    uint64_t min;
    uint64_t end;
    geohash_range(cell, &min, &end);
    uint64_t rank = zset_rank_of_score(record, (double)min, false);
    if (rank >= zset_count(record)) return;
    struct zset_cursor cursor;
    for (zset_cursor_begin(&cursor, record, rank); zset_cursor_has(&cursor);
         zset_cursor_next(&cursor)) {
        struct zset_element element = zset_cursor_get(&cursor);
        char scratch[NUMBER_TEXT_MAX];
        double distance;
        if (element.score >= (double)end) return;
        if (!geo_contains(&search->area, geohash_point((uint64_t)element.score), &distance))
            continue;
        add_found(found, element_text(&element.member, scratch), element.score, distance);
        if (search->is_any && found->count >= search->count) return;
    }
}

static int compare_ascending(const void *a, const void *b) {
    const struct found_place *left = a;
    const struct found_place *right = b;
    if (left->distance != right->distance) return left->distance < right->distance ? -1 : 1;
    return 0;
}

static int compare_descending(const void *a, const void *b) {
    return -compare_ascending(a, b);
}

static void search_all(const struct record *record, const struct search *search,
                       struct found *found) {
    struct geo_cell cells[9];
    unsigned count = geohash_cover(&search->area, cells);
    for (unsigned i = 0; i < count; i++) {
        if (search->is_any && found->count >= search->count) break;
        search_cell(record, cells[i], search, found);
    }
    if (found->count > 1 && search->sort != SORT_NONE)
        qsort(found->items, found->count, sizeof(*found->items),
              search->sort == SORT_ASCENDING ? compare_ascending : compare_descending);
    if (search->count > 0 && found->count > search->count) found->count = search->count;
}

/* -- results -- */

static void reply_found(struct command_context *context, const struct search *search,
                        const struct found *found) {
    struct reply *reply = context->reply;
    unsigned extras = search->with_distance + search->with_hash + search->with_point;
    reply_array(reply, found->count);
    for (size_t i = 0; i < found->count; i++) {
        const struct found_place *place = &found->items[i];
        if (extras > 0) reply_array(reply, extras + 1);
        reply_bulk(reply, found_name(found, i));
        if (search->with_distance) geo_reply_distance(reply, place->distance / search->unit_m);
        if (search->with_hash) reply_integer(reply, (int64_t)place->score);
        if (search->with_point) geo_reply_point(reply, geohash_point((uint64_t)place->score));
    }
}

static void store_found(struct command_context *context, const struct search *search,
                        const struct found *found, const char *event) {
    struct key target = context_key(context, search->store_argument);
    struct record *result = zset_record_create(target.name);
    const struct zset_policy policy = {context->types, rng_next(context->rng)};
    for (size_t i = 0; i < found->count; i++) {
        const struct found_place *place = &found->items[i];
        double score = search->stores_distance ? place->distance / search->unit_m : place->score;
        zset_put(result, found_name(found, i), score, &policy);
    }
    zset_store_take(context, &target, event, result);
}

static void run(struct command_context *context, struct search *search, const struct record *record,
                const char *event) {
    struct found found = {0};
    // The nearest are meant, where only some are wanted.
    if (search->count > 0 && search->sort == SORT_NONE && !search->is_any)
        search->sort = SORT_ASCENDING;
    if (record != NULL) search_all(record, search, &found);
    if (search->store_argument != 0) {
        store_found(context, search, &found, event);
    } else {
        reply_found(context, search, &found);
    }
    found_deinit(&found);
}

/* -- arguments -- */

static bool parse_length(struct command_context *context, uint32_t argument, const char *error,
                         double *out) {
    if (number_parse_double(context->argv[argument], out)) return true;
    reply_error(context->reply, error);
    return false;
}

/* radius unit */
static bool parse_radius(struct command_context *context, uint32_t argument,
                         struct search *search) {
    double radius;
    if (!parse_length(context, argument, "ERR need numeric radius", &radius)) return false;
    if (radius < 0) {
        reply_error(context->reply, "ERR radius cannot be negative");
        return false;
    }
    if (!geo_parse_unit(context, argument + 1, &search->unit_m)) return false;
    search->area.radius = radius * search->unit_m;
    search->area.is_box = false;
    search->has_shape = true;
    return true;
}

/* width height unit */
static bool parse_box(struct command_context *context, uint32_t argument, struct search *search) {
    double width;
    double height;
    if (!parse_length(context, argument, "ERR need numeric width", &width) ||
        !parse_length(context, argument + 1, "ERR need numeric height", &height))
        return false;
    if (width < 0 || height < 0) {
        reply_error(context->reply, "ERR height or width cannot be negative");
        return false;
    }
    if (!geo_parse_unit(context, argument + 2, &search->unit_m)) return false;
    search->area.width = width * search->unit_m;
    search->area.height = height * search->unit_m;
    search->area.is_box = true;
    search->has_shape = true;
    return true;
}

/* The place of a member is the centre. Where the key is absent nothing can be found around it. */
static bool parse_member(struct command_context *context, uint32_t argument,
                         const struct record *record, struct search *search) {
    double score;
    search->has_centre = true;
    if (record == NULL) return true;
    if (!zset_score(record, context->argv[argument], &score)) {
        reply_error(context->reply, "ERR could not decode requested zset member");
        return false;
    }
    search->area.centre = geohash_point((uint64_t)score);
    return true;
}

static bool parse_count(struct command_context *context, uint32_t argument, struct search *search) {
    int64_t count = 0;
    if (!context_integer(context, argument, &count, NULL)) return false;
    if (count <= 0) {
        reply_error(context->reply, "ERR COUNT must be > 0");
        return false;
    }
    search->count = (uint64_t)count;
    return true;
}

struct search_form {
    bool is_search; /* GEOSEARCH and GEOSEARCHSTORE: centre and shape are options, */
    bool may_store; /* GEORADIUS and GEORADIUSBYMEMBER: STORE and STOREDIST are options, */
    bool is_store;  /* GEOSEARCHSTORE: STOREDIST is one without a key. */
    const char *event;
};

/* An option of GEOSEARCH; returns how many words it has, 0: none of these, -1: an error. */
static int parse_search_option(struct command_context *context, uint32_t at,
                               const struct record *record, struct search *search) {
    uint32_t left = context->argc - at - 1;
    if (context_argument_is(context, at, "FROMMEMBER") && left >= 1 && !search->has_centre)
        return parse_member(context, at + 1, record, search) ? 2 : -1;
    if (context_argument_is(context, at, "FROMLONLAT") && left >= 2 && !search->has_centre) {
        search->has_centre = true;
        return geo_parse_point(context, at + 1, &search->area.centre) ? 3 : -1;
    }
    if (context_argument_is(context, at, "BYRADIUS") && left >= 2 && !search->has_shape)
        return parse_radius(context, at + 1, search) ? 3 : -1;
    if (context_argument_is(context, at, "BYBOX") && left >= 3 && !search->has_shape)
        return parse_box(context, at + 1, search) ? 4 : -1;
    return 0;
}

static int parse_option(struct command_context *context, uint32_t at,
                        const struct search_form *form, const struct record *record,
                        struct search *search) {
    uint32_t left = context->argc - at - 1;
    if (context_argument_is(context, at, "WITHDIST")) {
        search->with_distance = true;
    } else if (context_argument_is(context, at, "WITHHASH")) {
        search->with_hash = true;
    } else if (context_argument_is(context, at, "WITHCOORD")) {
        search->with_point = true;
    } else if (context_argument_is(context, at, "ANY")) {
        search->is_any = true;
    } else if (context_argument_is(context, at, "ASC")) {
        search->sort = SORT_ASCENDING;
    } else if (context_argument_is(context, at, "DESC")) {
        search->sort = SORT_DESCENDING;
    } else if (context_argument_is(context, at, "COUNT") && left >= 1) {
        return parse_count(context, at + 1, search) ? 2 : -1;
    } else if (form->may_store && left >= 1 &&
               (context_argument_is(context, at, "STORE") ||
                context_argument_is(context, at, "STOREDIST"))) {
        search->store_argument = at + 1;
        search->stores_distance = context_argument_is(context, at, "STOREDIST");
        return 2;
    } else if (form->is_store && context_argument_is(context, at, "STOREDIST")) {
        search->stores_distance = true;
    } else if (form->is_search) {
        return parse_search_option(context, at, record, search);
    } else {
        return 0;
    }
    return 1;
}

static bool parse_options(struct command_context *context, uint32_t at,
                          const struct search_form *form, const struct record *record,
                          struct search *search) {
    while (at < context->argc) {
        int words = parse_option(context, at, form, record, search);
        if (words == 0) reply_syntax_error(context->reply);
        if (words <= 0) return false;
        at += (uint32_t)words;
    }
    bool has_extras = search->with_distance || search->with_hash || search->with_point;
    if (search->store_argument != 0 && has_extras) {
        reply_error_format(context->reply,
                           "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                           form->is_store ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
        return false;
    }
    const char *missing = !search->has_centre  ? "FROMMEMBER or FROMLONLAT"
                          : !search->has_shape ? "BYRADIUS and BYBOX"
                                               : NULL;
    if (missing != NULL) {
        reply_error_format(context->reply, "ERR exactly one of %s can be specified for %s", missing,
                           context->command->name);
        return false;
    }
    if (search->is_any && search->count == 0) {
        reply_error(context->reply, "ERR the ANY argument requires COUNT argument");
        return false;
    }
    return true;
}

static bool find_places(struct command_context *context, uint32_t argument,
                        const struct record **out) {
    struct key key = context_key(context, argument);
    bool failed;
    *out = context_find_typed(context, &key, RECORD_ZSET, &failed);
    return !failed;
}

/* -- commands -- */

static void radius(struct command_context *context, bool may_store) {
    const struct search_form form = {.may_store = may_store, .event = "georadiusstore"};
    const struct record *record;
    struct search search = {.has_centre = true};
    if (find_places(context, 1, &record) && geo_parse_point(context, 2, &search.area.centre) &&
        parse_radius(context, 4, &search) && parse_options(context, 6, &form, record, &search))
        run(context, &search, record, form.event);
}

void geo_georadius(struct command_context *context) {
    radius(context, true);
}

void geo_georadius_ro(struct command_context *context) {
    radius(context, false);
}

static void radius_by_member(struct command_context *context, bool may_store) {
    const struct search_form form = {.may_store = may_store, .event = "georadiusstore"};
    const struct record *record;
    struct search search = {0};
    if (!find_places(context, 1, &record) || !parse_member(context, 2, record, &search)) return;
    // Around nobody any radius will do.
    search.has_shape = record == NULL;
    if ((search.has_shape || parse_radius(context, 3, &search)) &&
        parse_options(context, 5, &form, record, &search))
        run(context, &search, record, form.event);
}

void geo_georadiusbymember(struct command_context *context) {
    radius_by_member(context, true);
}

void geo_georadiusbymember_ro(struct command_context *context) {
    radius_by_member(context, false);
}

void geo_geosearch(struct command_context *context) {
    const struct search_form form = {.is_search = true};
    const struct record *record;
    struct search search = {0};
    if (find_places(context, 1, &record) && parse_options(context, 2, &form, record, &search))
        run(context, &search, record, NULL);
}

void geo_geosearchstore(struct command_context *context) {
    const struct search_form form = {
        .is_search = true, .is_store = true, .event = "geosearchstore"};
    const struct record *record;
    struct search search = {.store_argument = 1};
    if (find_places(context, 2, &record) && parse_options(context, 3, &form, record, &search))
        run(context, &search, record, form.event);
}
