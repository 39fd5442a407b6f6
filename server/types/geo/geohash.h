/* Geohashes: a point as a number whose leading bits name ever smaller cells around it.
 *
 * Longitude and latitude are each scaled to `step` bits and interleaved, longitude in the odd bits,
 * so a cell of `step` covers a run of numbers of more steps. The globe ends at 85.05112878 degrees
 * north and south, as on web maps. Pure arithmetic; distances are on a sphere.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { GEOHASH_STEP_MAX = 26 };

#define GEO_LONGITUDE_MAX 180.0
#define GEO_LATITUDE_MAX 85.05112878

struct geo_point {
    double longitude; /* Degrees. */
    double latitude;
};

struct geo_cell {
    uint64_t bits;
    uint8_t step; /* 0: no cell. */
};

struct geo_bounds {
    struct geo_point min;
    struct geo_point max;
};

/* A circle or a box around a point, lengths in metres. */
struct geo_area {
    struct geo_point centre;
    bool is_box;
    double radius;
    double width;
    double height;
};

bool geo_is_valid(struct geo_point point);

/* The cell of `step` that holds the point, in a grid whose latitudes end at `latitude_max`. */
struct geo_cell geohash_encode(struct geo_point point, uint8_t step, double latitude_max);
struct geo_bounds geohash_decode(struct geo_cell cell);

/* The number of 52 bits that is a member's score, and the middle of its cell. */
uint64_t geohash_of_point(struct geo_point point);
struct geo_point geohash_point(uint64_t hash);

/* The eleven characters of GEOHASH, and NUL. */
void geohash_text(struct geo_point point, char out[12]);

/* Metres between two points. */
double geo_distance(struct geo_point a, struct geo_point b);

/* True when the point lies in the area; *out_distance is that to its centre. */
bool geo_contains(const struct geo_area *area, struct geo_point point, double *out_distance);

/* The cells that cover an area: the one around its centre and up to eight around that, those left
 * out that can't hold any of it. `out` has room for nine; returns how many. */
unsigned geohash_cover(const struct geo_area *area, struct geo_cell out[9]);

/* The numbers of 52 bits in a cell: `*out_min` up to and without `*out_end`. */
void geohash_range(struct geo_cell cell, uint64_t *out_min, uint64_t *out_end);
