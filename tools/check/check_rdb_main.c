#include "tools/check/check_rdb.h"

int main(int argc, char **argv) {
    return check_rdb_main(argc, argv);
}
