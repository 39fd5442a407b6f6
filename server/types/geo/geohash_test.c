#include <math.h>

#include <criterion/criterion.h>

#include "server/base/rng.h"
#include "server/types/geo/geohash.h"

static struct geo_point random_point(struct rng *rng) {
    return (struct geo_point){
        ((double)rng_below(rng, 3600001) - 1800000) / 10000,
        ((double)rng_below(rng, 1700001) - 850000) / 10000,
    };
}

Test(geohash, comes_back_to_the_cell_of_its_point) {
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < 20000; i++) {
        struct geo_point point = random_point(&rng);
        uint64_t hash = geohash_of_point(point);
        cr_assert_lt(hash, (uint64_t)1 << 52);
        struct geo_point back = geohash_point(hash);
        cr_assert_float_eq(back.longitude, point.longitude, 6e-6);
        cr_assert_float_eq(back.latitude, point.latitude, 3e-6);
    }
}

Test(geohash, has_the_text_that_other_systems_have) {
    char text[12];
    geohash_text((struct geo_point){-5.6, 42.6}, text);
    cr_assert_str_eq(text, "ezs42e44yx0");
}

/* Palermo and Catania: the example of every geo command's page. */
Test(geohash, measures_on_the_sphere) {
    struct geo_point palermo =
        geohash_point(geohash_of_point((struct geo_point){13.361389, 38.115556}));
    struct geo_point catania =
        geohash_point(geohash_of_point((struct geo_point){15.087269, 37.502669}));
    cr_assert_float_eq(geo_distance(palermo, catania), 166274.1516, 0.0001);
    cr_assert_eq(geo_distance(palermo, palermo), 0);
}

/* Whatever lies in an area lies in one of the cells that cover it. */
Test(geohash, covers_areas) {
    struct rng rng;
    rng_seed(&rng, 7);
    for (int round = 0; round < 3000; round++) {
        struct geo_area area = {.centre = random_point(&rng), .is_box = rng_below(&rng, 2) == 0};
        area.radius = pow(10, (double)rng_below(&rng, 600) / 100);
        area.width = pow(10, (double)rng_below(&rng, 600) / 100);
        area.height = pow(10, (double)rng_below(&rng, 600) / 100);
        // Maps end before the poles and begin anew at the date line: neither is this test's matter.
        if (fabs(area.centre.latitude) > 60 || fabs(area.centre.longitude) > 100) continue;
        struct geo_cell cells[9];
        unsigned count = geohash_cover(&area, cells);
        double reach = area.is_box ? fmax(area.width, area.height) : area.radius;
        for (int i = 0; i < 40; i++) {
            double degrees = reach / 111000 * 1.5;
            struct geo_point point = {
                area.centre.longitude + ((double)rng_below(&rng, 2001) / 1000 - 1) * degrees,
                area.centre.latitude + ((double)rng_below(&rng, 2001) / 1000 - 1) * degrees};
            double distance;
            if (!geo_is_valid(point) || !geo_contains(&area, point, &distance)) continue;
            uint64_t hash = geohash_of_point(point);
            bool is_covered = false;
            for (unsigned k = 0; k < count; k++) {
                uint64_t min;
                uint64_t end;
                geohash_range(cells[k], &min, &end);
                is_covered = is_covered || (hash >= min && hash < end);
            }
            cr_assert(is_covered, "round %d: %f,%f", round, point.longitude, point.latitude);
        }
    }
}
