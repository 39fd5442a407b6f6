#include "server/cluster/migrate.h"

#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mem.h"
#include "server/base/number.h"
#include "server/command/hold.h"
#include "server/net/link.h"
#include "server/rdb/rdb_writer.h"
#include "server/resp/request.h"

enum {
    TIMEOUT_MS_DEFAULT = 1000,
    IDLE_MS = 10000, /* A connection is kept for the next MIGRATE that long. */
    CACHED_MAX = 64, /* And so many, of a worker. */
    LINE_MAX_BYTES = 65536,
    PAUSE_RETRY_MS = 20, /* How often to look whether a pause of writes is over. */
};

/* A connection to another server, in use by one job or kept for the next. */
struct target {
    struct target *next;
    struct migrate_worker *worker;
    struct link *link;
    char host[256];
    uint16_t port;
    int64_t db;    /* Selected there; -1: not known. */
    bool is_fresh; /* Made for the job that uses it. */
    uint64_t idle_since_ms;
    struct migrate_job *job;
};

/* One worker's connections and jobs. Only its thread touches them. */
struct migrate_worker {
    struct migrator *migrator;
    uint32_t index;
    struct loop *loop;
    struct target *targets;
    struct migrate_job *jobs;
    struct loop_timer *timer;
    bool is_timer_on;
};

struct migrator {
    struct command_modules *modules;
    const struct network_options *network;
    uint32_t worker_count;
    struct migrate_worker *workers;
};

/* What the words of a MIGRATE say. */
struct migrate_words {
    struct bytes host;
    struct bytes port;
    int64_t db;
    int64_t timeout_ms;
    bool is_copy;
    bool is_replace;
    struct bytes user;
    struct bytes password;
    uint32_t first_key;
    uint32_t key_count;
};

struct migrate_job {
    struct migrate_job *next;
    struct migrate_worker *worker;
    struct target *target;
    struct loop_timer *timer;
    uint64_t client_id;
    uint64_t timeout_ms;
    char host[256];
    uint16_t port;
    int64_t target_db;
    uint32_t db;
    bool is_copy;
    bool has_retried;
    bool is_deleting;      /* The answers are there; deletes as soon as writes are not paused. */
    struct buffer login;   /* AUTH, when the words have it. */
    struct buffer payload; /* The RESTOREs. */
    uint32_t login_replies;
    uint32_t replies;    /* So far, on this connection. */
    struct buffer names; /* The keys, in the order of the RESTOREs. */
    size_t *name_ends;
    bool *is_taken; /* The other side said OK. */
    uint32_t count;
    struct key_hold *hold;
    struct buffer error; /* The first one; empty: none. */
};

/* -- words -- */

static bool parse_words(struct command_context *context, struct migrate_words *out) {
    *out = (struct migrate_words){.first_key = 3, .key_count = 1};
    for (uint32_t i = 6; i < context->argc; i++) {
        uint32_t left = context->argc - 1 - i;
        if (context_argument_is(context, i, "COPY")) {
            out->is_copy = true;
        } else if (context_argument_is(context, i, "REPLACE")) {
            out->is_replace = true;
        } else if (context_argument_is(context, i, "AUTH") && left >= 1) {
            out->password = context->argv[++i];
        } else if (context_argument_is(context, i, "AUTH2") && left >= 2) {
            out->user = context->argv[++i];
            out->password = context->argv[++i];
        } else if (context_argument_is(context, i, "KEYS")) {
            if (context->argv[3].len != 0) {
                reply_error(context->reply, "ERR When using MIGRATE KEYS option, the key argument "
                                            "must be set to the empty string");
                return false;
            }
            out->first_key = i + 1;
            out->key_count = left;
            break;
        } else {
            reply_syntax_error(context->reply);
            return false;
        }
    }
    if (!context_integer(context, 5, &out->timeout_ms, NULL) ||
        !context_integer(context, 4, &out->db, NULL))
        return false;
    if (out->timeout_ms <= 0) out->timeout_ms = TIMEOUT_MS_DEFAULT;
    out->host = context->argv[1];
    out->port = context->argv[2];
    return true;
}

static int find_keys(const struct bytes *argv, uint32_t argc, uint32_t *out, uint32_t cap) {
    uint32_t first = 3;
    uint32_t count = 1;
    for (uint32_t i = 6; i < argc && argv[3].len == 0; i++) {
        if (bytes_equal_text_nocase(argv[i], "AUTH")) {
            i++;
        } else if (bytes_equal_text_nocase(argv[i], "AUTH2")) {
            i += 2;
        } else if (bytes_equal_text_nocase(argv[i], "KEYS")) {
            first = i + 1;
            count = argc - first;
            break;
        }
    }
    for (uint32_t i = 0; i < count && i < cap; i++)
        out[i] = first + i;
    return (int)count;
}

/* -- what is sent -- */

static void append_login(struct migrate_job *job, const struct migrate_words *words) {
    if (words->password.data == NULL) return;
    bool has_user = words->user.data != NULL;
    buffer_append_format(&job->login, "*%d\r\n$4\r\nAUTH\r\n", has_user ? 3 : 2);
    if (has_user) request_append_word(&job->login, words->user);
    request_append_word(&job->login, words->password);
}

static void append_value(struct command_context *context, struct buffer *out,
                         const struct record *record) {
    const struct data_type *type = databases_type(context->databases, record);
    struct rdb_writer writer;
    rdb_writer_init(&writer,
                    &(struct rdb_writer_options){.has_checksum = true, .is_compressing = true});
    rdb_write_u8(&writer, type->rdb_type(record));
    type->save(record, &writer);
    rdb_write_dump_footer(&writer);
    request_append_word(out, buffer_view(&writer.buffer));
    rdb_writer_deinit(&writer);
}

/* Adds the RESTORE of a key that is there. */
static void append_key(struct command_context *context, struct migrate_job *job,
                       const struct key *key, const struct record *record, bool is_replace) {
    struct buffer *out = &job->payload;
    bool is_cluster = databases_is_cluster(context->databases);
    int64_t ttl_ms = 0;
    if (record_has_deadline(record)) {
        ttl_ms = record_deadline_ms(record) - context->now_ms;
        if (ttl_ms < 1) ttl_ms = 1;
    }
    buffer_append_format(out, "*%d\r\n", is_replace ? 5 : 4);
    request_append_word(out,
                        is_cluster ? BYTES_LITERAL("RESTORE-ASKING") : BYTES_LITERAL("RESTORE"));
    request_append_word(out, key->name);
    char digits[NUMBER_TEXT_MAX];
    request_append_word(out, bytes_of(digits, number_format_i64(ttl_ms, digits)));
    append_value(context, out, record);
    if (is_replace) request_append_word(out, BYTES_LITERAL("REPLACE"));
    buffer_append_bytes(&job->names, key->name);
    job->name_ends[job->count++] = job->names.len;
}

static struct bytes name_at(const struct migrate_job *job, uint32_t index) {
    size_t begin = index == 0 ? 0 : job->name_ends[index - 1];
    return bytes_of(job->names.data + begin, job->name_ends[index] - begin);
}

/* -- life of a job -- */

static void job_free(struct migrate_job *job) {
    struct migrate_job **link = &job->worker->jobs;
    while (*link != NULL && *link != job)
        link = &(*link)->next;
    if (*link == job) *link = job->next;
    loop_timer_destroy(job->timer);
    buffer_deinit(&job->login);
    buffer_deinit(&job->payload);
    buffer_deinit(&job->names);
    buffer_deinit(&job->error);
    mem_free(job->name_ends);
    mem_free(job->is_taken);
    mem_free(job);
}

struct answer {
    struct network *network;
    struct buffer error;
};

static void answer_posted(struct session *session, void *arg) {
    struct answer *answer = arg;
    if (session != NULL) {
        if (answer->error.len == 0) {
            reply_ok(&session->reply);
        } else {
            reply_error(&session->reply, (const char *)answer->error.data);
        }
        network_unblock(answer->network, session);
    }
    buffer_deinit(&answer->error);
    mem_free(answer);
}

static void set_error(struct migrate_job *job, const char *text) {
    if (job->error.len > 0) return;
    buffer_append_text(&job->error, text);
    buffer_append_u8(&job->error, '\0');
}

/* Lets go of the keys and answers. */
static void finish(struct migrate_job *job) {
    struct command_modules *modules = job->worker->migrator->modules;
    struct answer *answer = mem_alloc_zero(sizeof(*answer));
    answer->network = modules->network;
    answer->error = job->error;
    job->error = (struct buffer){0};
    if (hold_release(modules->dispatcher, job->hold)) network_retry_paused(modules->network);
    network_post(modules->network, job->client_id, answer_posted, answer);
    job_free(job);
}

/* Deletes what the other side has taken, as one DEL of the server's own. */
static void delete_taken(struct migrate_job *job) {
    struct migrate_worker *worker = job->worker;
    struct bytes *argv = mem_alloc((job->count + 1) * sizeof(*argv));
    uint32_t argc = 0;
    argv[argc++] = BYTES_LITERAL("DEL");
    for (uint32_t i = 0; i < job->count; i++) {
        if (job->is_taken[i]) argv[argc++] = name_at(job, i);
    }
    if (argc > 1) {
        struct buffer out = {0};
        struct session session;
        session_init(&session, 0, &out);
        session.kind = SESSION_INTERNAL;
        session_trust(&session);
        session.reply.is_muted = true;
        session.db = job->db;
        session.hold = job->hold;
        dispatch_run(network_dispatch_worker(worker->migrator->modules->network, worker->index),
                     &session, argv, argc);
        session_deinit(&session);
        buffer_deinit(&out);
    }
    mem_free(argv);
}

/* The answers are there. While writes are paused nothing may be deleted either. */
static void conclude(struct migrate_job *job) {
    struct dispatcher *dispatcher = job->worker->migrator->modules->dispatcher;
    job->is_deleting = true;
    if (!job->is_copy) {
        if ((dispatcher_admission(dispatcher) & ADMISSION_REPLICA) != 0) {
            set_error(job, "ERR This node became a replica during the MIGRATE: its keys are left "
                           "to its primary.");
        } else if (dispatcher_writes_paused(dispatcher)) {
            loop_timer_start(job->timer, PAUSE_RETRY_MS, 0);
            return;
        } else {
            delete_taken(job);
        }
    }
    finish(job);
}

/* -- connections -- */

static void target_free(struct target *target) {
    struct target **link = &target->worker->targets;
    while (*link != target)
        link = &(*link)->next;
    *link = target->next;
    mem_free(target);
}

static void target_close(struct target *target) {
    link_close(target->link);
    target_free(target);
}

static void close_idle(void *arg) {
    struct migrate_worker *worker = arg;
    uint64_t now_ms = clock_monotonic_ms();
    struct target *next = NULL;
    for (struct target *target = worker->targets; target != NULL; target = next) {
        next = target->next;
        if (target->job == NULL && now_ms - target->idle_since_ms >= IDLE_MS) target_close(target);
    }
    if (worker->targets != NULL) return;
    loop_timer_stop(worker->timer);
    worker->is_timer_on = false;
}

/* Keeps the connection for the next one, or closes it when it can't be trusted any more. */
static void give_back(struct migrate_job *job, bool is_good) {
    struct target *target = job->target;
    job->target = NULL;
    if (target == NULL) return;
    target->job = NULL;
    target->idle_since_ms = clock_monotonic_ms();
    uint32_t count = 0;
    for (const struct target *other = target->worker->targets; other != NULL; other = other->next)
        count++;
    if (!is_good || count > CACHED_MAX) target_close(target);
}

static void send_all(struct migrate_job *job) {
    struct target *target = job->target;
    job->replies = 0;
    job->login_replies = 0;
    if (job->login.len > 0) {
        link_send(target->link, buffer_view(&job->login));
        job->login_replies++;
    }
    if (target->db != job->target_db) {
        struct buffer select = {0};
        char digits[NUMBER_TEXT_MAX];
        buffer_append_text(&select, "*2\r\n$6\r\nSELECT\r\n");
        request_append_word(&select, bytes_of(digits, number_format_i64(job->target_db, digits)));
        link_send(target->link, buffer_view(&select));
        buffer_deinit(&select);
        job->login_replies++;
        target->db = job->target_db;
    }
    link_send(target->link, buffer_view(&job->payload));
    loop_timer_start(job->timer, job->timeout_ms, 0);
}

static size_t on_received(void *arg, struct link *link, struct bytes bytes);
static void on_closed(void *arg, struct link *link, int reason);

static const struct link_events target_events = {.received = on_received, .closed = on_closed};

/* A kept connection, or a new one. False: not even the attempt was possible. */
static bool connect_target(struct migrate_job *job, bool wants_fresh) {
    struct migrate_worker *worker = job->worker;
    for (struct target *target = worker->targets; target != NULL && !wants_fresh;
         target = target->next) {
        if (target->job != NULL || target->port != job->port ||
            strcmp(target->host, job->host) != 0)
            continue;
        target->job = job;
        target->is_fresh = false;
        job->target = target;
        return true;
    }
    const struct migrator *migrator = worker->migrator;
    const struct link_options options = {
        .bind_source = migrator->network->bind_source,
        .receive_max = LINE_MAX_BYTES,
        .no_delay = true,
    };
    struct target *target = mem_alloc_zero(sizeof(*target));
    target->worker = worker;
    target->port = job->port;
    target->is_fresh = true;
    target->job = job;
    memcpy(target->host, job->host, sizeof(target->host));
    target->link =
        link_connect(worker->loop, job->host, job->port, &options, &target_events, target);
    if (target->link == NULL) {
        mem_free(target);
        return false;
    }
    target->next = worker->targets;
    worker->targets = target;
    job->target = target;
    if (!worker->is_timer_on) {
        worker->is_timer_on = true;
        loop_timer_start(worker->timer, 1000, 1000);
    }
    return true;
}

static void on_closed(void *arg, struct link *link, int reason) {
    struct target *target = arg;
    struct migrate_job *job = target->job;
    bool was_connected = link_peer_ip(link)[0] != '\0';
    (void)reason;
    bool may_retry = job != NULL && !target->is_fresh && !job->has_retried && job->replies == 0;
    target_free(target);
    if (job == NULL) return;
    job->target = NULL;
    if (may_retry) { // It was kept too long: the other side had closed it.
        job->has_retried = true;
        if (connect_target(job, true)) {
            send_all(job);
            return;
        }
    }
    set_error(job, was_connected ? "IOERR error or timeout reading from target instance"
                                 : "IOERR error or timeout writing to target instance");
    loop_timer_stop(job->timer);
    conclude(job);
}

static void on_timer(void *arg) {
    struct migrate_job *job = arg;
    if (job->is_deleting) {
        conclude(job);
        return;
    }
    bool is_connected = job->target != NULL && link_is_connected(job->target->link);
    set_error(job, is_connected ? "IOERR error or timeout reading from target instance"
                                : "IOERR error or timeout connecting to the client");
    give_back(job, false);
    conclude(job);
}

/* One line of an answer. */
static void take_line(struct migrate_job *job, struct bytes line) {
    uint32_t index = job->replies++;
    if (line.len > 0 && line.data[0] == '-') {
        char text[512];
        snprintf(text, sizeof(text), "ERR Target instance replied with error: %.*s",
                 (int)(line.len < 400 ? line.len - 1 : 399), (const char *)line.data + 1);
        set_error(job, text);
    } else if (index >= job->login_replies) {
        job->is_taken[index - job->login_replies] = true;
    }
}

static size_t on_received(void *arg, struct link *link, struct bytes bytes) {
    struct target *target = arg;
    struct migrate_job *job = target->job;
    size_t used = 0;
    (void)link;
    if (job == NULL) { // Nobody asked: whatever it is, the next one must not take it for an answer.
        target_close(target);
        return bytes.len;
    }
    while (used < bytes.len && job->replies < job->login_replies + job->count) {
        struct bytes rest = bytes_from(bytes, used);
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        if (end == NULL) break;
        size_t len = (size_t)(end - rest.data);
        used += len + 1;
        if (len > 0 && rest.data[len - 1] == '\r') len--;
        take_line(job, bytes_of(rest.data, len));
    }
    if (job->replies < job->login_replies + job->count) {
        if (used > 0) loop_timer_start(job->timer, job->timeout_ms, 0);
        return used;
    }
    loop_timer_stop(job->timer);
    give_back(job, job->error.len == 0 && used == bytes.len);
    conclude(job);
    return bytes.len;
}

/* -- the command -- */

static struct migrate_job *job_create(struct command_context *context,
                                      const struct migrate_words *words) {
    struct migrator *migrator = context->modules->migrator;
    uint32_t index = network_worker_of(context->modules->network, context->session->id);
    struct migrate_job *job = mem_alloc_zero(sizeof(*job));
    uint64_t port = 0;
    job->worker = &migrator->workers[index];
    job->client_id = context->session->id;
    job->timeout_ms = (uint64_t)words->timeout_ms;
    job->target_db = words->db;
    job->db = context->session->db;
    job->is_copy = words->is_copy;
    job->name_ends = mem_alloc((words->key_count + 1) * sizeof(*job->name_ends));
    job->is_taken = mem_alloc_zero((words->key_count + 1) * sizeof(*job->is_taken));
    bytes_to_text(words->host, job->host, sizeof(job->host));
    if (number_parse_u64(words->port, &port) && port <= UINT16_MAX) job->port = (uint16_t)port;
    append_login(job, words);
    return job;
}

static void migrate(struct command_context *context) {
    struct migrate_words words;
    if (!parse_words(context, &words)) return;
    struct migrate_job *job = job_create(context, &words);
    struct key *keys = mem_alloc((words.key_count + 1) * sizeof(*keys));
    for (uint32_t i = 0; i < words.key_count; i++) {
        struct key key = context_key(context, words.first_key + i);
        const struct record *record = context_peek(context, &key);
        if (record == NULL) continue;
        keys[job->count] = key;
        append_key(context, job, &key, record, words.is_replace);
    }
    // Nothing has changed yet; what is deleted in the end is journaled then.
    context_propagate_nothing(context);
    if (job->count == 0) {
        reply_simple(context->reply, "NOKEY");
        job_free(job);
    } else if (context->in_transaction) {
        reply_error(context->reply, "ERR MIGRATE is not allowed inside a transaction: it waits for "
                                    "another server, and a transaction never waits.");
        job_free(job);
    } else if (!connect_target(job, false)) {
        reply_error(context->reply, "IOERR error or timeout connecting to the client");
        job_free(job);
    } else {
        struct migrate_worker *worker = job->worker;
        job->timer = loop_timer_create(worker->loop, on_timer, job);
        job->next = worker->jobs;
        worker->jobs = job;
        job->hold = hold_create(context->modules->dispatcher, job->db, keys, job->count);
        context->session->block = SESSION_BLOCKED_SAVE;
        send_all(job);
    }
    mem_free(keys);
}

/* -- life -- */

struct migrator *migrator_create(struct command_modules *modules,
                                 const struct network_options *network) {
    struct migrator *migrator = mem_alloc_zero(sizeof(*migrator));
    migrator->modules = modules;
    migrator->network = network;
    migrator->worker_count = network_worker_count(modules->network);
    migrator->workers = mem_alloc_zero(migrator->worker_count * sizeof(*migrator->workers));
    for (uint32_t i = 0; i < migrator->worker_count; i++) {
        struct migrate_worker *worker = &migrator->workers[i];
        worker->migrator = migrator;
        worker->index = i;
        worker->loop = network_loop(modules->network, i);
        worker->timer = loop_timer_create(worker->loop, close_idle, worker);
    }
    return migrator;
}

void migrator_destroy(struct migrator *migrator) {
    if (migrator == NULL) return;
    for (uint32_t i = 0; i < migrator->worker_count; i++) {
        struct migrate_worker *worker = &migrator->workers[i];
        while (worker->jobs != NULL) {
            hold_release(migrator->modules->dispatcher, worker->jobs->hold);
            job_free(worker->jobs);
        }
        while (worker->targets != NULL)
            target_close(worker->targets);
        loop_timer_destroy(worker->timer);
    }
    mem_free(migrator->workers);
    mem_free(migrator);
}

/* -- the row -- */

static const struct argument key_choice[] = {
    {.name = "key", .kind = ARGUMENT_KEY},
    {.name = "empty_string", .kind = ARGUMENT_PURE_TOKEN, .token = ""},
    {.name = NULL},
};

static const struct argument user_arguments[] = {
    {.name = "username", .kind = ARGUMENT_STRING},
    {.name = "password", .kind = ARGUMENT_STRING},
    {.name = NULL},
};

static const struct argument login_choice[] = {
    {.name = "password",
     .kind = ARGUMENT_STRING,
     .token = "AUTH",
     .is_optional = true,
     .since = "4.0.7"},
    {.name = "username_password",
     .kind = ARGUMENT_BLOCK,
     .token = "AUTH2",
     .since = "6.0.0",
     .children = user_arguments},
    {.name = NULL},
};

static const struct argument migrate_arguments[] = {
    {.name = "host", .kind = ARGUMENT_STRING},
    {.name = "port", .kind = ARGUMENT_INTEGER},
    {.name = "key_or_empty_string", .kind = ARGUMENT_ONE_OF, .children = key_choice},
    {.name = "destination-db", .kind = ARGUMENT_INTEGER},
    {.name = "timeout", .kind = ARGUMENT_INTEGER},
    {.name = "copy",
     .kind = ARGUMENT_PURE_TOKEN,
     .token = "COPY",
     .is_optional = true,
     .since = "3.0.0"},
    {.name = "replace",
     .kind = ARGUMENT_PURE_TOKEN,
     .token = "REPLACE",
     .is_optional = true,
     .since = "3.0.0"},
    {.name = "authentication",
     .kind = ARGUMENT_ONE_OF,
     .is_optional = true,
     .children = login_choice},
    {.name = "key",
     .kind = ARGUMENT_KEY,
     .token = "KEYS",
     .key_spec = 1,
     .is_optional = true,
     .is_multiple = true,
     .since = "3.0.6"},
    {.name = NULL},
};

static const struct command_history migrate_history[] = {
    {"3.0.0", "Takes COPY and REPLACE."},
    {"3.0.6", "Takes KEYS."},
    {"4.0.7", "Takes AUTH."},
    {"6.0.0", "Takes AUTH2."},
    {.version = NULL},
};

static const char *const migrate_tips[] = {"nondeterministic_output", NULL};

const struct command migrate_commands[] = {
    {
        .name = "migrate",
        .arity = -6,
        .group = GROUP_GENERIC,
        .class = COMMAND_CLASS_KEYS,
        .flags = COMMAND_WRITE | COMMAND_MOVABLE_KEYS,
        .categories = CATEGORY_KEYSPACE | CATEGORY_DANGEROUS,
        .keys = {{.begin = KEY_BEGIN_INDEX,
                  .index = 3,
                  .step = 1,
                  .flags = KEY_RW | KEY_ACCESS | KEY_DELETE},
                 {.begin = KEY_BEGIN_KEYWORD,
                  .keyword = "KEYS",
                  .index = -2,
                  .last = -1,
                  .step = 1,
                  .flags = KEY_RW | KEY_ACCESS | KEY_DELETE | KEY_INCOMPLETE}},
        .find_keys = find_keys,
        .handler = migrate,
        .since = "2.6.0",
        .summary = "Move keys to another server atomically.",
        .complexity = "O(N) for the keys, with what it takes to dump and to restore each.",
        .arguments = migrate_arguments,
        .history = migrate_history,
        .tips = migrate_tips,
    },
    COMMAND_END,
};
