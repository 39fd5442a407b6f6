/* The bus's sockets, on its own thread: what comes in is cut into packets for the state machine,
 * what it wants sent is queued here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/base/words.h"
#include "server/cluster/cluster_internal.h"

/* A connection by the number that the bus knows it by. */
struct bus_link {
    struct bus_link *next;
    uint64_t id;
    struct link *link;
    struct cluster *cluster;
};

static struct bus_link **bucket_of(struct cluster *cluster, uint64_t id) {
    return &cluster->links[(id ^ id >> 62) % LINK_BUCKETS];
}

static struct bus_link *find(struct cluster *cluster, uint64_t id) {
    struct bus_link *link = *bucket_of(cluster, id);
    while (link != NULL && link->id != id)
        link = link->next;
    return link;
}

static struct bus_link *add(struct cluster *cluster, uint64_t id) {
    struct bus_link *link = mem_alloc_zero(sizeof(*link));
    link->id = id;
    link->cluster = cluster;
    cluster_lock(cluster);
    struct bus_link **bucket = bucket_of(cluster, id);
    link->next = *bucket;
    *bucket = link;
    cluster->link_count++;
    cluster_unlock(cluster);
    return link;
}

static void forget(struct bus_link *link) {
    struct cluster *cluster = link->cluster;
    cluster_lock(cluster);
    struct bus_link **place = bucket_of(cluster, link->id);
    while (*place != link)
        place = &(*place)->next;
    *place = link->next;
    cluster->link_count--;
    cluster_unlock(cluster);
    mem_free(link);
}

static void step(struct cluster *cluster, const struct bus_input *input) {
    cluster_lock(cluster);
    cluster_step(cluster, input);
    cluster_unlock(cluster);
    cluster_after_steps(cluster, true);
}

/* A packet whose step must find all writers at rest. */
struct rest_packet {
    struct cluster *cluster;
    uint64_t link;
    size_t len;
    uint8_t data[];
};

/* On the node's loop: the offset that the answer tells is exact, and the pause that goes with it
 * is on before anybody writes again. */
static void step_at_rest(void *arg) {
    struct rest_packet *packet = arg;
    struct cluster *cluster = packet->cluster;
    struct dispatch_worker *worker = cluster->made_of.node_worker;
    dispatch_exclusive_begin(worker);
    cluster_apply(cluster, worker);
    cluster_lock(cluster);
    cluster_step(cluster, &(struct bus_input){.type = BUS_INPUT_PACKET,
                                              .link = packet->link,
                                              .packet = bytes_of(packet->data, packet->len)});
    cluster_unlock(cluster);
    cluster_apply(cluster, worker);
    dispatch_exclusive_end(worker);
    cluster_after_steps(cluster, false);
    mem_free(packet);
}

static void step_packet(struct cluster *cluster, uint64_t link, struct bytes bytes) {
    if (bus_packet_needs_rest(bytes)) {
        struct rest_packet *packet = mem_alloc(sizeof(*packet) + bytes.len);
        *packet = (struct rest_packet){.cluster = cluster, .link = link, .len = bytes.len};
        memcpy(packet->data, bytes.data, bytes.len);
        loop_post(cluster->made_of.node_loop, step_at_rest, packet);
        return;
    }
    step(cluster, &(struct bus_input){.type = BUS_INPUT_PACKET, .link = link, .packet = bytes});
}

/* -- events -- */

static void on_connected(void *arg, struct link *link) {
    struct bus_link *bus_link = arg;
    step(bus_link->cluster, &(struct bus_input){.type = BUS_INPUT_LINK_CONNECTED,
                                                .link = bus_link->id,
                                                .local_ip = link_local_ip(link)});
}

static void on_closed(void *arg, struct link *link, int reason) {
    struct bus_link *bus_link = arg;
    struct cluster *cluster = bus_link->cluster;
    uint64_t id = bus_link->id;
    (void)link;
    log_debug("Bus link closed: %s", reason == 0 ? "end of stream" : strerror(reason));
    forget(bus_link);
    step(cluster, &(struct bus_input){.type = BUS_INPUT_LINK_CLOSED, .link = id});
}

static void close_broken(struct cluster *cluster, uint64_t id) {
    struct bus_link *bus_link = find(cluster, id);
    if (bus_link == NULL) return;
    link_close(bus_link->link);
    forget(bus_link);
    step(cluster, &(struct bus_input){.type = BUS_INPUT_LINK_CLOSED, .link = id});
}

static size_t on_received(void *arg, struct link *link, struct bytes bytes) {
    struct bus_link *bus_link = arg;
    struct cluster *cluster = bus_link->cluster;
    uint64_t id = bus_link->id;
    size_t used = 0;
    (void)link;
    while (used < bytes.len) {
        struct bytes rest = bytes_from(bytes, used);
        size_t len = 0;
        enum status status = bus_frame_length(rest, &len);
        if (status != STATUS_OK && status != STATUS_AGAIN) {
            log_verbose("Bus: a peer sent what is no packet (%s), its link is closed",
                        status_text(status));
            close_broken(cluster, id);
            return bytes.len;
        }
        if (status == STATUS_AGAIN || rest.len < len) break;
        step_packet(cluster, id, bytes_of(rest.data, len));
        if (find(cluster, id) == NULL) return bytes.len; // The step closed it.
        used += len;
    }
    return used;
}

static const struct link_events link_events = {
    .connected = on_connected, .received = on_received, .closed = on_closed};

static struct link_options link_options_of(const struct cluster *cluster) {
    return (struct link_options){
        .bind_source = cluster->made_of.network->bind_source,
        .keepalive_s = (int)(cluster->options->node_timeout_ms / 1000 * 2),
        .no_delay = true,
    };
}

static void on_accepted(void *arg, int fd) {
    struct cluster *cluster = arg;
    struct link_options options = link_options_of(cluster);
    struct bus_link *bus_link = add(cluster, ++cluster->last_inbound);
    uint64_t id = bus_link->id;
    bus_link->link = link_adopt_take(cluster->loop, fd, &options, &link_events, bus_link);
    char peer[64];
    char local[64];
    snprintf(peer, sizeof(peer), "%s", link_peer_ip(bus_link->link));
    snprintf(local, sizeof(local), "%s", link_local_ip(bus_link->link));
    step(cluster,
         &(struct bus_input){
             .type = BUS_INPUT_LINK_ACCEPTED, .link = id, .peer_ip = peer, .local_ip = local});
}

/* -- effects -- */

static void connect_to(struct cluster *cluster, const struct outgoing *effect) {
    struct link_options options = link_options_of(cluster);
    struct bus_link *bus_link = add(cluster, effect->link);
    bus_link->link =
        link_connect(cluster->loop, effect->ip, effect->port, &options, &link_events, bus_link);
    if (bus_link->link != NULL) return;
    log_debug("Bus: can't connect to %s:%u: %s", effect->ip, effect->port, strerror(errno));
    forget(bus_link);
    cluster_lock(cluster);
    cluster_step(cluster, &(struct bus_input){.type = BUS_INPUT_LINK_CLOSED, .link = effect->link});
    cluster_unlock(cluster);
}

static void carry_out(struct cluster *cluster, const struct outgoing *effect) {
    struct bus_link *bus_link = NULL;
    if (effect->type == BUS_EFFECT_CONNECT) {
        connect_to(cluster, effect);
        return;
    }
    bus_link = find(cluster, effect->link);
    if (bus_link == NULL) return; // It broke in the meantime; the bus has heard of that.
    if (effect->type == BUS_EFFECT_SEND) {
        link_send(bus_link->link, bytes_of(effect->packet->data, effect->packet->len));
    } else {
        link_close(bus_link->link);
        forget(bus_link);
    }
}

static struct outgoing *take_outgoing(struct cluster *cluster) {
    cluster_lock(cluster);
    struct outgoing *first = cluster->outgoing_first;
    cluster->outgoing_first = cluster->outgoing_last = NULL;
    cluster->is_flush_posted = false;
    cluster_unlock(cluster);
    return first;
}

void links_flush(struct cluster *cluster) {
    struct outgoing *effect = NULL;
    while ((effect = take_outgoing(cluster)) != NULL) {
        while (effect != NULL) {
            struct outgoing *next = effect->next;
            carry_out(cluster, effect);
            cluster_lock(cluster); // Packets are counted without atomics.
            bus_packet_unref(effect->packet);
            cluster_unlock(cluster);
            mem_free(effect);
            effect = next;
        }
    }
}

/* -- limits and figures -- */

void links_check_limits(struct cluster *cluster) {
    uint64_t limit = cluster->options->link_sendbuf_limit;
    uint64_t sum = 0;
    for (unsigned i = 0; i < LINK_BUCKETS; i++) {
        struct bus_link *next = NULL;
        for (struct bus_link *link = cluster->links[i]; link != NULL; link = next) {
            next = link->next;
            sum += link_memory_bytes(link->link);
            if (limit == 0 || link_queued_bytes(link->link) <= limit) continue;
            log_warning("Freeing a cluster link: its send buffer of %zu bytes is over "
                        "cluster-link-sendbuf-limit",
                        link_queued_bytes(link->link));
            atomic_fetch_add(&cluster->limit_exceeded_count, 1);
            close_broken(cluster, link->id);
            return; // The step may have changed the table; the others' turn is next time.
        }
    }
    atomic_store(&cluster->link_bytes, sum);
}

bool links_figures(struct cluster *cluster, uint64_t id, struct link_figures *out) {
    const struct bus_link *link = find(cluster, id);
    if (link == NULL || link->link == NULL) return false;
    *out = (struct link_figures){
        .created_wall_ms = link_created_ms(link->link),
        .queued_bytes = link_queued_bytes(link->link),
        .allocated_bytes = link_memory_bytes(link->link),
    };
    return true;
}

/* -- listening -- */

static bool listen_on(struct cluster *cluster, const char *word, uint16_t port, char *error,
                      size_t cap) {
    bool is_optional = word[0] == '-';
    if (is_optional) word++;
    struct listener *listener = listener_create(
        cluster->loop, word, port, (int)cluster->made_of.network->backlog, on_accepted, cluster);
    if (listener != NULL) {
        cluster->listeners[cluster->listener_count++] = listener;
        return true;
    }
    bool is_missing = errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT || errno == EPROTONOSUPPORT;
    if (is_optional && is_missing) return true;
    snprintf(error, cap, "Failed listening on port %u (cluster), %s: %s, aborting.", port, word,
             strerror(errno));
    return false;
}

bool links_listen(struct cluster *cluster, char *error, size_t cap) {
    uint16_t port = bus_config_view(cluster->bus)->bus_port;
    struct words words = {0};
    bool is_fine = words_split(&words, bytes_of_text(cluster->made_of.network->bind),
                               BUS_LISTENER_MAX) == STATUS_OK;
    if (!is_fine || words.count == 0)
        snprintf(error, cap, "No bind address is configured, but it is required for the cluster.");
    for (size_t i = 0; is_fine && i < words.count; i++) {
        char word[256];
        is_fine =
            listen_on(cluster, bytes_to_text(words.items[i], word, sizeof(word)), port, error, cap);
    }
    is_fine = is_fine && words.count > 0;
    words_deinit(&words);
    return is_fine;
}

void links_deinit(struct cluster *cluster) {
    for (uint32_t i = 0; i < cluster->listener_count; i++)
        listener_destroy(cluster->listeners[i]);
    cluster->listener_count = 0;
    for (unsigned i = 0; i < LINK_BUCKETS; i++) {
        while (cluster->links[i] != NULL) {
            struct bus_link *link = cluster->links[i];
            link_close(link->link);
            forget(link);
        }
    }
}
