#include "server/types/geo/geohash.h"

#include <math.h>

#define EARTH_RADIUS_M 6372797.560856
#define EQUATOR_HALF_M 20037726.37 /* Of the web maps' projection. */
#define DEGREES_TO_RADIANS (M_PI / 180.0)

static double radians(double degrees) {
    return degrees * DEGREES_TO_RADIANS;
}

static double degrees(double radians) {
    return radians / DEGREES_TO_RADIANS;
}

bool geo_is_valid(struct geo_point point) {
    return fabs(point.longitude) <= GEO_LONGITUDE_MAX && fabs(point.latitude) <= GEO_LATITUDE_MAX;
}

/* -- cells -- */

/* Spreads the low 32 bits over the even ones. */
static uint64_t spread(uint64_t bits) {
    bits = (bits | bits << 16) & 0x0000ffff0000ffffu;
    bits = (bits | bits << 8) & 0x00ff00ff00ff00ffu;
    bits = (bits | bits << 4) & 0x0f0f0f0f0f0f0f0fu;
    bits = (bits | bits << 2) & 0x3333333333333333u;
    return (bits | bits << 1) & 0x5555555555555555u;
}

static uint64_t gather(uint64_t bits) {
    bits &= 0x5555555555555555u;
    bits = (bits | bits >> 1) & 0x3333333333333333u;
    bits = (bits | bits >> 2) & 0x0f0f0f0f0f0f0f0fu;
    bits = (bits | bits >> 4) & 0x00ff00ff00ff00ffu;
    bits = (bits | bits >> 8) & 0x0000ffff0000ffffu;
    return (bits | bits >> 16) & 0x00000000ffffffffu;
}

static uint64_t scale(double value, double max, uint8_t step) {
    return (uint64_t)((value + max) / (2 * max) * (double)((uint64_t)1 << step));
}

struct geo_cell geohash_encode(struct geo_point point, uint8_t step, double latitude_max) {
    uint64_t latitude = (uint32_t)scale(point.latitude, latitude_max, step);
    uint64_t longitude = (uint32_t)scale(point.longitude, GEO_LONGITUDE_MAX, step);
    return (struct geo_cell){spread(latitude) | spread(longitude) << 1, step};
}

static void bounds_of(uint64_t index, double max, uint8_t step, double *out_min, double *out_max) {
    double cells = (double)((uint64_t)1 << step);
    *out_min = -max + (double)index / cells * (2 * max);
    *out_max = -max + (double)(index + 1) / cells * (2 * max);
}

struct geo_bounds geohash_decode(struct geo_cell cell) {
    struct geo_bounds bounds;
    bounds_of(gather(cell.bits), GEO_LATITUDE_MAX, cell.step, &bounds.min.latitude,
              &bounds.max.latitude);
    bounds_of(gather(cell.bits >> 1), GEO_LONGITUDE_MAX, cell.step, &bounds.min.longitude,
              &bounds.max.longitude);
    return bounds;
}

uint64_t geohash_of_point(struct geo_point point) {
    return geohash_encode(point, GEOHASH_STEP_MAX, GEO_LATITUDE_MAX).bits;
}

static double clamp(double value, double max) {
    return value < -max ? -max : value > max ? max : value;
}

struct geo_point geohash_point(uint64_t hash) {
    struct geo_bounds bounds = geohash_decode((struct geo_cell){hash, GEOHASH_STEP_MAX});
    return (struct geo_point){
        clamp((bounds.min.longitude + bounds.max.longitude) / 2, GEO_LONGITUDE_MAX),
        clamp((bounds.min.latitude + bounds.max.latitude) / 2, GEO_LATITUDE_MAX),
    };
}

/* Other systems' geohashes reach the poles. Ten characters are 50 of the 52 bits; an eleventh has
 * too few bits left to be anything. */
void geohash_text(struct geo_point point, char out[12]) {
    static const char alphabet[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    uint64_t bits = geohash_encode(point, GEOHASH_STEP_MAX, 90).bits;
    for (unsigned i = 0; i < 10; i++)
        out[i] = alphabet[bits >> (52 - (i + 1) * 5) & 31];
    out[10] = '0';
    out[11] = '\0';
}

void geohash_range(struct geo_cell cell, uint64_t *out_min, uint64_t *out_end) {
    unsigned shift = 52 - cell.step * 2u;
    *out_min = cell.bits << shift;
    *out_end = (cell.bits + 1) << shift;
}

/* -- distances -- */

static double latitude_distance(double a, double b) {
    return EARTH_RADIUS_M * fabs(radians(b) - radians(a));
}

double geo_distance(struct geo_point a, struct geo_point b) {
    double half_longitude = sin((radians(b.longitude) - radians(a.longitude)) / 2);
    if (half_longitude == 0) return latitude_distance(a.latitude, b.latitude);
    double a_latitude = radians(a.latitude);
    double b_latitude = radians(b.latitude);
    double half_latitude = sin((b_latitude - a_latitude) / 2);
    double chord = half_latitude * half_latitude +
                   cos(a_latitude) * cos(b_latitude) * half_longitude * half_longitude;
    return 2.0 * EARTH_RADIUS_M * asin(sqrt(chord));
}

bool geo_contains(const struct geo_area *area, struct geo_point point, double *out_distance) {
    if (area->is_box) {
        if (latitude_distance(point.latitude, area->centre.latitude) > area->height / 2)
            return false;
        // Along the parallel of the point, where the box is narrowest in degrees.
        struct geo_point beside = {area->centre.longitude, point.latitude};
        if (geo_distance(point, beside) > area->width / 2) return false;
        *out_distance = geo_distance(area->centre, point);
        return true;
    }
    *out_distance = geo_distance(area->centre, point);
    return *out_distance <= area->radius;
}

/* -- covering an area -- */

/* The finest step whose cells are so large that nine of them hold the circle. Towards the poles
 * cells get narrower, so coarser ones are taken there. */
static uint8_t step_for_radius(double radius, double latitude) {
    int step = 1;
    if (radius <= 0) return GEOHASH_STEP_MAX;
    for (; radius < EQUATOR_HALF_M; radius *= 2)
        step++;
    step -= 2;
    if (fabs(latitude) > 66) step--;
    if (fabs(latitude) > 80) step--;
    return (uint8_t)(step < 1 ? 1 : step > GEOHASH_STEP_MAX ? GEOHASH_STEP_MAX : step);
}

static struct geo_bounds bounds_of_area(const struct geo_area *area) {
    double half_height = area->is_box ? area->height / 2 : area->radius;
    double half_width = area->is_box ? area->width / 2 : area->radius;
    double latitude = area->centre.latitude;
    double longitude = area->centre.longitude;
    double up = degrees(half_height / EARTH_RADIUS_M);
    // The side nearer to a pole spans more degrees.
    double far_latitude = latitude < 0 ? latitude - up : latitude + up;
    double aside = degrees(half_width / EARTH_RADIUS_M / cos(radians(far_latitude)));
    return (struct geo_bounds){{longitude - aside, latitude - up},
                               {longitude + aside, latitude + up}};
}

/* The cell next to this one; both coordinates go round at their ends. */
static struct geo_cell beside(struct geo_cell cell, int east, int north) {
    uint64_t mask = ((uint64_t)1 << cell.step) - 1;
    uint64_t latitude = gather(cell.bits);
    uint64_t longitude = gather(cell.bits >> 1);
    // The very end of the globe (180 degrees east) has an index of its own, beyond the mask.
    if (north != 0) latitude = (latitude + (uint64_t)north) & mask;
    if (east != 0) longitude = (longitude + (uint64_t)east) & mask;
    return (struct geo_cell){spread(latitude) | spread(longitude) << 1, cell.step};
}

static bool reaches_beyond(struct geo_cell cell, const struct geo_bounds *bounds) {
    return geohash_decode(beside(cell, 0, 1)).max.latitude < bounds->max.latitude ||
           geohash_decode(beside(cell, 0, -1)).min.latitude > bounds->min.latitude ||
           geohash_decode(beside(cell, 1, 0)).max.longitude < bounds->max.longitude ||
           geohash_decode(beside(cell, -1, 0)).min.longitude > bounds->min.longitude;
}

unsigned geohash_cover(const struct geo_area *area, struct geo_cell out[9]) {
    static const int directions[9][2] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},  {-1, 0},
                                         {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
    double radius = area->is_box ? hypot(area->width / 2, area->height / 2) : area->radius;
    struct geo_bounds bounds = bounds_of_area(area);
    uint8_t step = step_for_radius(radius, area->centre.latitude);
    struct geo_cell centre = geohash_encode(area->centre, step, GEO_LATITUDE_MAX);
    if (step > 1 && reaches_beyond(centre, &bounds))
        centre = geohash_encode(area->centre, --step, GEO_LATITUDE_MAX);
    struct geo_bounds cell = geohash_decode(centre);
    bool skips_south = step >= 2 && cell.min.latitude < bounds.min.latitude;
    bool skips_north = step >= 2 && cell.max.latitude > bounds.max.latitude;
    bool skips_west = step >= 2 && cell.min.longitude < bounds.min.longitude;
    bool skips_east = step >= 2 && cell.max.longitude > bounds.max.longitude;
    unsigned count = 0;
    for (unsigned i = 0; i < 9; i++) {
        int east = directions[i][0];
        int north = directions[i][1];
        if ((north < 0 && skips_south) || (north > 0 && skips_north) || (east < 0 && skips_west) ||
            (east > 0 && skips_east))
            continue;
        struct geo_cell next = beside(centre, east, north);
        // Where a step has few cells, several directions lead to the same.
        bool is_known = count > 0 && out[count - 1].bits == next.bits;
        if (!is_known) out[count++] = next;
    }
    return count;
}
