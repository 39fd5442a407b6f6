/* What sockets of clients and links have in common. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Non-blocking and closed on exec; the options that are wanted. */
void socket_prepare(int fd, bool no_delay, int keepalive_s);

/* "127.0.0.1:50000", "[::1]:50000"; `path` for unix sockets. */
void socket_format(const struct sockaddr_storage *address, char *out, size_t cap);
void socket_format_ip(const struct sockaddr_storage *address, char *out, size_t cap);
uint16_t socket_port(const struct sockaddr_storage *address);
bool socket_is_loopback(const struct sockaddr_storage *address);

/* A listening TCP socket, or -1 with errno set. "*" means all IPv4 addresses, "::*" all IPv6 ones.
 */
int socket_listen(const char *address, uint16_t port, int backlog);
int socket_listen_unix(const char *path, unsigned permissions, int backlog);
