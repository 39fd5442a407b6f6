/* What an operation that can fail for reasons outside the program answers with.
 *
 * One list: name and meaning. A status says what happened to the operation; the edge that meets it
 * decides what a client or an administrator reads.
 */
#pragma once

#define STATUS_LIST(X)                                                                             \
    X(STATUS_OK, "done")                                                                           \
    X(STATUS_AGAIN, "not complete: more bytes or another turn are needed")                         \
    X(STATUS_NOT_FOUND, "no such thing")                                                           \
    X(STATUS_EXISTS, "already there")                                                              \
    X(STATUS_BAD_FORMAT, "the bytes are not what the format says")                                 \
    X(STATUS_BAD_CHECKSUM, "the checksum does not match")                                          \
    X(STATUS_UNSUPPORTED, "a version or a feature that this build does not know")                  \
    X(STATUS_OUT_OF_RANGE, "a value outside its allowed range")                                    \
    X(STATUS_TOO_BIG, "larger than the limit for it")                                              \
    X(STATUS_NO_MEMORY, "no memory for a size that the outside asked for")                         \
    X(STATUS_IO_ERROR, "the operating system refused; errno says why")                             \
    X(STATUS_CLOSED, "the other side closed the connection")                                       \
    X(STATUS_TIMEOUT, "the time is over")                                                          \
    X(STATUS_BUSY, "held by another process or operation")                                         \
    X(STATUS_STALE_EPOCH, "claimed under an epoch that is too low")

enum status {
#define STATUS_ENUM(name, meaning) name,
    STATUS_LIST(STATUS_ENUM)
#undef STATUS_ENUM
};

/* The meaning of a status, for logs. Never NULL. */
const char *status_text(enum status status);
