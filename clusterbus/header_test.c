#include <criterion/criterion.h>

#include "clusterbus/bus.h"
#include "clusterbus/nodes_conf.h"

Test(bus_header, stands_alone_and_sizes_agree) {
    cr_assert_eq(sizeof(struct node_id), NODE_ID_LENGTH);
    cr_assert_eq(BUS_SLOT_BYTES, 2048u);
}
