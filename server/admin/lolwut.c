#include "server/admin/lolwut.h"

#include <math.h>

#include "server/base/compiler.h"
#include "server/base/mem.h"

#define DOTS_WIDE 2u
#define DOTS_HIGH 4u
#define FLIGHT_STEPS 24

/* -- a sheet of dots ----------------------------------------------------------------------------
 */

struct sheet {
    struct lolwut_size size;
    uint8_t *cells; /* One byte of eight dots for each character. */
};

static void sheet_init(struct sheet *sheet, struct lolwut_size size) {
    sheet->size = size;
    sheet->cells = mem_alloc_zero((size_t)size.columns * size.rows);
}

/* The unit square is the whole sheet, the origin its upper left corner. */
static void sheet_dot(struct sheet *sheet, double x, double y) {
    if (!(x >= 0 && x < 1 && y >= 0 && y < 1)) return;
    static const uint8_t bits[DOTS_HIGH][DOTS_WIDE] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    unsigned column = (unsigned)(x * sheet->size.columns * DOTS_WIDE);
    unsigned row = (unsigned)(y * sheet->size.rows * DOTS_HIGH);
    size_t cell = (size_t)(row / DOTS_HIGH) * sheet->size.columns + column / DOTS_WIDE;
    sheet->cells[cell] |= bits[row % DOTS_HIGH][column % DOTS_WIDE];
}

/* Writes the lines and frees the sheet's cells. Braille begins at U+2800, one bit a dot. */
static void sheet_finish(struct sheet *sheet, struct buffer *out) {
    const uint8_t *cell = sheet->cells;
    for (unsigned row = 0; row < sheet->size.rows; row++) {
        for (unsigned column = 0; column < sheet->size.columns; column++, cell++) {
            const uint8_t utf8[] = {0xe2, (uint8_t)(0xa0 | *cell >> 6),
                                    (uint8_t)(0x80 | (*cell & 63))};
            buffer_append(out, utf8, sizeof(utf8));
        }
        buffer_append_u8(out, '\n');
    }
    mem_free(sheet->cells);
}

/* Evenly in 0 .. 1 */
static double chance(struct rng *rng) {
    return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

/* -- pictures -----------------------------------------------------------------------------------
 */

/* The wind: a few slow swirls. Birds are small enough to only follow it. */
struct swirl {
    double x, y, turn, reach;
};

static void swirl_push(const struct swirl *swirl, double x, double y, double *dx, double *dy) {
    double from_x = x - swirl->x;
    double from_y = y - swirl->y;
    double force = swirl->turn * exp(-(from_x * from_x + from_y * from_y) / swirl->reach);
    *dx -= from_y * force;
    *dy += from_x * force;
}

void lolwut_flock(struct rng *rng, struct lolwut_size size, unsigned birds, struct buffer *out) {
    struct swirl swirls[5];
    for (size_t i = 0; i < ARRAY_COUNT(swirls); i++)
        swirls[i] = (struct swirl){.x = chance(rng),
                                   .y = chance(rng) * 0.8,
                                   .turn = (chance(rng) - 0.5) * 0.7,
                                   .reach = 0.02 + chance(rng) * 0.08};
    struct sheet sheet;
    sheet_init(&sheet, size);
    for (unsigned bird = 0; bird < birds; bird++) {
        double angle = chance(rng) * 2 * M_PI;
        double distance = sqrt(-0.5 * log(1 - chance(rng))) * 0.14;
        double x = 0.5 + 1.6 * distance * cos(angle);
        double y = 0.4 + distance * sin(angle);
        for (int step = 0; step < FLIGHT_STEPS; step++) {
            double dx = 0.004;
            double dy = 0;
            for (size_t i = 0; i < ARRAY_COUNT(swirls); i++)
                swirl_push(&swirls[i], x, y, &dx, &dy);
            x += dx;
            y += dy;
        }
        sheet_dot(&sheet, x, y);
    }
    double tide = chance(rng) * 2 * M_PI;
    for (unsigned i = 0; i < size.columns * DOTS_WIDE; i++) {
        double x = (double)i / (size.columns * DOTS_WIDE);
        sheet_dot(&sheet, x, 0.93 + 0.03 * sin(tide + x * 9) * sin(x * 23));
    }
    sheet_finish(&sheet, out);
}

void lolwut_ripples(struct rng *rng, struct lolwut_size size, unsigned waves, struct buffer *out) {
    double tilt = chance(rng) - 0.5;
    double phase = chance(rng) * 2 * M_PI;
    double bend = 2 + chance(rng) * 5;
    struct sheet sheet;
    sheet_init(&sheet, size);
    for (unsigned wave = 0; wave < waves; wave++) {
        for (unsigned i = 0; i < size.columns * DOTS_WIDE; i++) {
            double x = (double)i / (size.columns * DOTS_WIDE);
            double depth = (wave + 0.5) / waves;
            double y = depth * depth + tilt * 0.2 * x * (1 - depth) +
                       0.04 * depth * sin(phase + x * bend + depth * 11);
            if (chance(rng) < 0.15 + 0.8 * fabs(cos(x * bend + depth * 7))) sheet_dot(&sheet, x, y);
        }
    }
    sheet_finish(&sheet, out);
}
