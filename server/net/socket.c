#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/net/socket_internal.h"

/* Options that a socket of this kind does not know are no error. */
static void set_option(int fd, int level, int name, int value) {
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

void socket_prepare(int fd, bool no_delay, int keepalive_s) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (no_delay) set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (keepalive_s <= 0) return;
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_s);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive_s / 3 > 0 ? keepalive_s / 3 : 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

void socket_format_ip(const struct sockaddr_storage *address, char *out, size_t cap) {
    out[0] = '\0';
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &in->sin_addr, out, (socklen_t)cap);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, out, (socklen_t)cap);
    }
}

uint16_t socket_port(const struct sockaddr_storage *address) {
    if (address->ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)address)->sin_port);
    if (address->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
    return 0;
}

void socket_format(const struct sockaddr_storage *address, char *out, size_t cap) {
    char ip[INET6_ADDRSTRLEN];
    socket_format_ip(address, ip, sizeof(ip));
    snprintf(out, cap, address->ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip,
             socket_port(address));
}

bool socket_is_loopback(const struct sockaddr_storage *address) {
    if (address->ss_family == AF_UNIX) return true;
    char ip[INET6_ADDRSTRLEN];
    socket_format_ip(address, ip, sizeof(ip));
    return strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0 ||
           strncmp(ip, "::ffff:127.", 11) == 0;
}

int socket_listen(const char *address, uint16_t port, int backlog) {
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    bool is_any4 = strcmp(address, "*") == 0;
    bool is_any6 = strcmp(address, "::*") == 0;
    struct addrinfo hints = {
        .ai_family = is_any4   ? AF_INET
                     : is_any6 ? AF_INET6
                               : AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    struct addrinfo *found = NULL;
    if (getaddrinfo(is_any4 || is_any6 ? NULL : address, service, &hints, &found) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (found->ai_family == AF_INET6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, backlog) != 0) {
            int saved = errno;
            close(fd);
            errno = saved;
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

int socket_listen_unix(const char *path, unsigned permissions, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    unlink(path); // Left behind by a process that was killed.
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, backlog) != 0 ||
        (permissions != 0 && chmod(path, permissions) != 0)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}
