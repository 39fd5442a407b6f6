#include <criterion/criterion.h>

#include "clusterbus/slot_map.h"

Test(slot_map, a_claim_takes_an_unassigned_slot_under_any_epoch) {
    struct slot_map *map = slot_map_create();
    cr_assert_eq(slot_map_claim(map, 7, 1, 0), STATUS_OK);
    cr_assert_eq(slot_map_owner(map, 7), 1);
    cr_assert_eq(slot_map_count(map, 1), 1u);
    cr_assert(slot_bits_has(slot_map_bitmap_view(map, 1), 7));
    slot_map_destroy(map);
}

Test(slot_map, a_claim_with_an_equal_or_smaller_epoch_is_stale) {
    struct slot_map *map = slot_map_create();
    slot_map_assign(map, 7, 1);
    slot_map_set_epoch(map, 1, 5);
    cr_assert_eq(slot_map_claim(map, 7, 2, 4), STATUS_STALE_EPOCH);
    cr_assert_eq(slot_map_claim(map, 7, 2, 5), STATUS_STALE_EPOCH);
    cr_assert_eq(slot_map_claim(map, 7, 2, 6), STATUS_OK);
    cr_assert_eq(slot_map_owner(map, 7), 2);
    cr_assert_eq(slot_map_count(map, 1), 0u);
    slot_map_destroy(map);
}

Test(slot_map, a_slot_that_its_owner_stopped_claiming_goes_to_whoever_claims_it) {
    struct slot_map *map = slot_map_create();
    uint8_t claimed[BUS_SLOT_BYTES];
    slot_map_assign(map, 7, 1);
    slot_map_set_epoch(map, 1, 5);
    slot_map_mark_unclaimed(map, 7, true);
    slot_map_copy_claimed(map, 1, claimed);
    cr_assert(!slot_bits_has(claimed, 7));
    cr_assert_eq(slot_map_owner(map, 7), 1);
    cr_assert_eq(slot_map_claim(map, 7, 2, 1), STATUS_OK);
    cr_assert_eq(slot_map_owner(map, 7), 2);
    cr_assert(!slot_map_is_unclaimed(map, 7));
    slot_map_destroy(map);
}

Test(slot_map, open_slots_are_counted) {
    struct slot_map *map = slot_map_create();
    slot_map_set_migrating(map, 3, 2);
    slot_map_set_migrating(map, 3, 4);
    slot_map_set_importing(map, 9, 2);
    cr_assert_eq(slot_map_migrating_count(map), 1u);
    cr_assert_eq(slot_map_migrating(map, 3), 4);
    slot_map_set_migrating(map, 3, MEMBER_NONE);
    cr_assert_eq(slot_map_migrating_count(map), 0u);
    cr_assert_eq(slot_map_importing_count(map), 1u);
    slot_map_destroy(map);
}
