/* MONITOR: sessions that are shown every command. Each line is posted to the session's worker with
 * the slots of its command locked, so one key's commands are shown in their order. Costs a load of
 * a word while nobody watches. */
#pragma once

#include "server/command/dispatch.h"

/* Shows commands to this session from now on, until it is forgotten or its connection ends. On its
 * worker. */
void monitor_add(struct dispatcher *dispatcher, struct session *session);
void monitor_forget(struct dispatcher *dispatcher, struct session *session);
