/* nodes.conf and CLUSTER NODES lines (specification 7). */
#include <string.h>

#include <criterion/criterion.h>

#include "clusterbus/fixture_internal.h"
#include "clusterbus/nodes_conf.h"

#define A40 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B40 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static enum status load(const char *text, struct buffer *out_written) {
    struct bus_options options = {.nodes_conf = bytes_of_text(text)};
    struct bus_effects effects;
    struct rng rng;
    struct bus *bus = NULL;
    bus_config_init(&options.config);
    options.config.tcp_port = 7000;
    options.config.bus_port = 17000;
    rng_seed(&rng, 1);
    bus_effects_init(&effects);
    struct bus_now now = {.mono_ms = 5000, .wall_ms = 1700000000000};
    enum status status = bus_create(&options, now, &rng, &effects, &bus);
    if (status == STATUS_OK && out_written != NULL) nodes_conf_write(bus, out_written);
    if (status == STATUS_OK) bus_destroy(bus);
    bus_effects_deinit(&effects);
    return status;
}

Test(nodes_conf, what_was_written_loads_and_is_written_again_the_same) {
    static const char text[] =
        A40 " 127.0.0.1:7000@17000,,tls-port=0,shard-id=" A40
            " myself,master - 0 0 1 connected 0-5460 5463 [5->-" B40 "] [7000-<-" B40 "]\n" B40
            " 127.0.0.1:7001@17001,b.test,client-ipv4=192.0.2.7,tls-port=0,nodename=beta,"
            "shard-id=" B40 " master - 0 0 2 disconnected 5461-5462\n"
            "vars currentEpoch 7 lastVoteEpoch 6\n";
    struct buffer first = {0};
    cr_assert_eq(load(text, &first), STATUS_OK);
    buffer_append_u8(&first, 0);
    cr_assert_str_eq((const char *)first.data, text);
    buffer_deinit(&first);
}

Test(nodes_conf, files_of_other_servers_load) {
    static const char *const files[] = {
        /* redis 7.0: no auxiliary fields. */
        A40 " 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-16383\n" B40
            " 127.0.0.1:7001@17001,host.test slave " A40 " 0 1795330979338 1 connected\n"
            "vars currentEpoch 1 lastVoteEpoch 0\n\n\n",
        /* Valkey; an unknown field of a newer server; ids without a line. */
        A40 " :7000@17000,,tls-port=0,availability-zone=x,shard-id=" A40 " myself,slave " B40
            " 0 0 1 connected\nvars currentEpoch 7 lastVoteEpoch 7\n",
        /* A replica's shard id that differs from its primary's. */
        A40 " ::1:7000@17000,,tls-port=0,shard-id=" A40 " myself,slave " B40
            " 0 0 1 connected\n" B40 " 127.0.0.1:7001@17001,,tls-port=0,shard-id=" B40
            " master - 0 0 1 connected 0-16383\nvars currentEpoch 7 lastVoteEpoch 7\n",
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        cr_assert_eq(load(files[i], NULL), STATUS_OK, "%s", files[i]);
}

Test(nodes_conf, corrupted_files_are_refused) {
    static const char *const files[] = {
        "\n",
        "vars currentEpoch 7\n",
        A40 " 127.0.0.1:7000@17000 master - 0 0 1 connected\n",
        A40 " 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 16384\n",
        A40 " 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 9-5\n",
        A40 " 127.0.0.1:7000@17000 myself,master - 0 0 1\n",
        A40 " 127.0.0.1 myself,master - 0 0 1 connected\n",
        A40 " 127.0.0.1:70000@17000 myself,master - 0 0 1 connected\n",
        A40 " 127.0.0.1:7000@17000 myself,wizard - 0 0 1 connected\n",
        A40 " 127.0.0.1:7000@17000 myself,master " A40 " 0 0 1 connected\n",
        A40 " 127.0.0.1:7000@17000,,shard-id=short myself,master - 0 0 1 connected\n",
        A40 " 127.0.0.1:7000@17000,,noequals myself,master - 0 0 1 connected\n",
        A40 " 127.0.0.1:7000@17000 myself,master - 0 0 1 connected [5->-nobody]\n",
        A40 " 127.0.0.1:7000@17000 myself,master - 0 0 1 connected [5\n",
        "short 127.0.0.1:7000@17000 myself,master - 0 0 1 connected\n",
        A40 " 127.0.0.1:7000@17000 myself,master - 0 0 1 connected\nvars currentEpoch\n",
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        cr_assert_eq(load(files[i], NULL), STATUS_BAD_FORMAT, "%s", files[i]);
}

Test(nodes_conf, no_config_epoch_is_above_the_current_one) {
    struct buffer out = {0};
    cr_assert_eq(load(A40 " 127.0.0.1:7000@17000 myself,master - 0 0 9 connected\n", &out),
                 STATUS_OK);
    buffer_append_u8(&out, 0);
    cr_assert_not_null(strstr((const char *)out.data, "currentEpoch 9"));
    buffer_deinit(&out);
}

Test(nodes_conf, an_empty_file_makes_a_new_node_that_is_saved_at_once) {
    struct bus_options options = {.nodes_conf = {NULL, 0}};
    struct bus_effects effects;
    struct rng rng;
    struct bus *bus;
    bus_config_init(&options.config);
    rng_seed(&rng, 1);
    bus_effects_init(&effects);
    struct bus_now now = {.mono_ms = 5000, .wall_ms = 1700000000000};
    cr_assert_eq(bus_create(&options, now, &rng, &effects, &bus), STATUS_OK);
    cr_assert(effects.list[0].type == BUS_EFFECT_PERSIST && effects.list[0].must_fsync);
    cr_assert(bus_epochs_view(bus).is_primary);
    bus_destroy(bus);
    bus_effects_deinit(&effects);
}

Test(nodes_conf, a_line_of_cluster_nodes_shows_no_auxiliary_fields) {
    struct fixture f;
    fixture_start(&f, fixture_three_primaries);
    struct buffer line = {0};
    struct nodes_line_options options = {.tls_port = false};
    nodes_line_write(f.bus, 0, &options, &line);
    buffer_append_u8(&line, 0);
    cr_assert_str_eq((const char *)line.data,
                     A40 " 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460");
    buffer_deinit(&line);
    fixture_end(&f);
}
