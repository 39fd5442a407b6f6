/* LOLWUT: pictures made of Braille characters, each two dots wide and four high. */
#pragma once

#include "server/base/buffer.h"
#include "server/base/rng.h"

#define LOLWUT_COLUMNS_MAX 200u
#define LOLWUT_ROWS_MAX 100u

/* Characters, not dots. */
struct lolwut_size {
    unsigned columns; /* 1 .. LOLWUT_COLUMNS_MAX */
    unsigned rows;    /* 1 .. LOLWUT_ROWS_MAX */
};

/* A flock of waders over the tide line, each bird turning after its neighbours. */
void lolwut_flock(struct rng *rng, struct lolwut_size size, unsigned birds, struct buffer *out);

/* Ripples that the ebb leaves in the sand. */
void lolwut_ripples(struct rng *rng, struct lolwut_size size, unsigned waves, struct buffer *out);
