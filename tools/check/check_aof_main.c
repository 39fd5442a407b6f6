/* dunlin-check-aof as a program of its own. */
#include "tools/check/check_aof_program.h"

int main(int argc, char **argv) {
    return check_aof_program(argc, argv);
}
