/* dunlin-check-aof as a program of its own. */
#include "tools/check/check_aof.h"
#include "tools/check/rdb_preamble.h"

int main(int argc, char **argv) {
    return check_aof_main(argc, argv, &(struct check_aof_io){stdin, stdout, rdb_preamble_check});
}
