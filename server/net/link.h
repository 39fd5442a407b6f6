/* A byte stream to another node: connected or accepted, on a loop, with a queue of what is to be
 * sent.
 *
 * Used for cluster bus links and for the link to a primary. Callbacks run on the loop's thread, and
 * a link may be closed in any of them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/bytes.h"
#include "server/net/loop.h"

struct link;

struct link_events {
    void (*connected)(void *arg, struct link *link); /* Outbound links only. */
    /* Bytes that arrived; returns how many were used up. The rest comes again with more behind it.
     */
    size_t (*received)(void *arg, struct link *link, struct bytes bytes);
    /* The stream has ended (error, refusal, end of file; errno-style reason, 0 = orderly). The link
     * is freed after this call. Not called by link_close. */
    void (*closed)(void *arg, struct link *link, int reason);
    /* Everything queued has been written. May be NULL. */
    void (*drained)(void *arg, struct link *link);
};

struct link_options {
    const char *bind_source; /* NULL or "": any. */
    size_t
        receive_max; /* Bytes that `received` may leave unused; more closes the link. 0: 1 GiB. */
    int keepalive_s; /* 0: none. */
    bool no_delay;
};

/* Starts a connection; connected or closed follow. `host` is an address or a name (looked up at
 * once). NULL when not even the attempt was possible (errno says why). */
struct link *link_connect(struct loop *loop, const char *host, uint16_t port,
                          const struct link_options *options, const struct link_events *events,
                          void *arg);

/* Takes over an accepted socket. */
struct link *link_adopt_take(struct loop *loop, int fd, const struct link_options *options,
                             const struct link_events *events, void *arg);

/* Closes without a callback. NULL is fine. */
void link_close(struct link *link);

/* Queues bytes (copied) to be written at the end of the turn. */
void link_send(struct link *link, struct bytes bytes);

/* Stops and starts reading (back-pressure). */
void link_pause_reading(struct link *link, bool is_paused);

/* Hands out what `received` left, as if more had arrived. Not from inside a callback of the link.
 */
void link_redeliver(struct link *link);

size_t link_queued_bytes(const struct link *link);
size_t link_memory_bytes(const struct link *link);
uint64_t link_created_ms(const struct link *link); /* Unix time. */
uint64_t
link_received_ms(const struct link *link); /* Monotonic time of the last bytes, or of creation. */
bool link_is_connected(const struct link *link);

/* The addresses as text, without port. Valid until the link closes. */
const char *link_peer_ip(struct link *link);
const char *link_local_ip(struct link *link);
uint16_t link_peer_port(struct link *link);

/* Listens on `address`:`port`; accepted sockets (non-blocking, no delay) go to `accepted`. Returns
 * NULL with errno set when the address is not to be had. */
struct listener;
struct listener *listener_create(struct loop *loop, const char *address, uint16_t port, int backlog,
                                 void (*accepted)(void *arg, int fd), void *arg);
void listener_destroy(struct listener *listener); /* NULL is fine. */
