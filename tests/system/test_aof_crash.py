"""Rounds of load, an end of the process, a restart: nothing that was answered is missing, and nothing was done twice.

The end comes at a random moment, or just before, amid or after one of the operations on files that a rewrite, a BGSAVE
and a change of the manifest are made of (DEBUG DISK-FAULT). In some rounds the power goes, too: what no fsync has made
durable is lost then.

DUNLIN_CRASH_ROUNDS sets the number of rounds in all (32 by default; from 200 on every point has its turn), DUNLIN_SEED
the draw.
"""
import os
import random
import threading
import time

import pytest

from harness import is_stand_in, wait_for
from resp import Closed, ReplyError

ROUNDS = int(os.environ.get('DUNLIN_CRASH_ROUNDS', 32))
SEED = int(os.environ.get('DUNLIN_SEED', 1))
CLIENTS = 4
DEPTH = 8
KEYS = 50
POLICIES = ['always', 'everysec']
REACH_S = 4.0  # A point that is not reached in that time has no turn: the process is killed then.
LOSS_S = 2.5  # Of what was answered under everysec before the power went: two seconds and some slack.

MANIFEST, MANIFEST_TEMPORARY = 'appendonly.aof.manifest', 'temp-*.manifest'
BASE_TEMPORARY, BASE, INCREMENT = 'temp-rewriteaof*', '*.base.*', '*.incr.aof'
DUMP_TEMPORARY, DUMP = 'temp-*.rdb', 'dump.rdb'

# Operation, the highest number of it that is of interest, and the files.
STEPS = [
    ('rename', 3, MANIFEST), ('rename', 1, BASE), ('rename', 1, DUMP),
    ('sync', 3, MANIFEST_TEMPORARY), ('sync', 1, BASE_TEMPORARY), ('sync', 1, DUMP_TEMPORARY), ('sync', 3, INCREMENT),
    ('sync-folder', 4, 'appendonlydir'), ('sync-folder', 1, 'dunlin-server-*'),
    ('remove', 1, BASE), ('remove', 1, INCREMENT),
    ('open', 1, 'temp-*'), ('open', 1, INCREMENT),
]
TORN = [('write', 3, MANIFEST_TEMPORARY), ('write', 3, BASE_TEMPORARY), ('write', 3, DUMP_TEMPORARY),
        ('write', 4, INCREMENT)]
POINTS = ['%s %s %d %s' % (moment, operation, nth, name)
          for operation, count, name in STEPS for nth in range(1, count + 1) for moment in ('kill-before', 'kill-after')]
POINTS += ['kill-amid %s %d %s' % (operation, nth, name) for operation, count, name in TORN
           for nth in range(1, count + 1)]


def plan(rounds, policy, workers):
    """What ends the process in each round of this policy and number of workers: an order, or None for a moment of chance."""
    draw = random.Random('%s points' % SEED)
    points = list(POINTS)
    draw.shuffle(points)
    first = (POLICIES.index(policy) * 2 + (workers != 1)) * len(points) // 4  # Short runs meet different points.
    chosen = []
    for index in range(rounds):
        if index % 8 == 3:
            chosen.append(None)
        elif index % 8 == 7:
            chosen.append('power-off')
        else:
            chosen.append(points[(first + index - index // 4) % len(points)])
    return chosen


class Writer(threading.Thread):
    """Raises counters of its own, several commands at a time. Keeps what was answered and what was sent."""

    def __init__(self, node, number, known):
        super().__init__(daemon=True)
        self.node, self.number = node, number
        self.answered = dict(known)
        self.sent = dict(known)
        self.transactions = [(0.0, 0)]  # When which count was answered.
        self.wrong = None
        self.ended = None

    def key(self, index):
        return 'c:%d:%d' % (self.number, index % KEYS)

    def run(self):
        index = 0
        try:
            with self.node.connect(timeout=20.0) as connection:
                while True:
                    keys = [self.key(index + i) for i in range(DEPTH)]
                    index += DEPTH
                    for key in keys:
                        self.sent[key] = self.sent.get(key, 0) + 1
                        connection.send('INCR', key)
                    connection.send('MULTI')
                    connection.send('INCR', 'm:%d' % self.number)
                    connection.send('RPUSH', 'l:%d' % self.number, 'x')
                    connection.send('EXEC')
                    for key in keys:
                        value = connection.read()
                        if value != self.sent[key]:
                            self.wrong = '%s is %s, not %d' % (key, value, self.sent[key])
                            return
                        self.answered[key] = value
                    for _ in range(3):
                        connection.read()
                    self.transactions.append((time.monotonic(), connection.read()[0]))
        except (OSError, Closed, ReplyError):
            pass
        finally:
            self.ended = time.monotonic()


def poke(node, draw, until):
    """Rewrites and saves, one after the other or at once, until the process is gone or the time is over."""
    while time.monotonic() < until and node.is_running():
        for command in draw.sample(['BGREWRITEAOF', 'BGSAVE'], draw.choice([1, 2])):
            try:
                node.call(command)
            except (ReplyError, OSError, Closed):
                pass
        time.sleep(draw.uniform(0.01, 0.08))


def order(node, *words):
    """A fault of the disk, which may end the process before it has answered."""
    try:
        node.call('DEBUG', 'DISK-FAULT', *words)
    except (OSError, Closed):
        pass


def end_by_chance(node, draw):
    poke(node, draw, time.monotonic() + draw.uniform(0.1, 0.8))
    node.kill()


def end_at(node, draw, point):
    time.sleep(draw.uniform(0.05, 0.2))
    order(node, *point.split())
    poke(node, draw, time.monotonic() + REACH_S)
    was_reached = not node.is_running()
    node.kill()
    return was_reached


def power_off(node, draw, policy):
    """The load goes on for longer than everysec may lose, and ends at some write or fsync. Not always with rewrites:
    they make durable what came before."""
    order(node, 'power-off-before', 'any', 1000000, '*')
    seconds = draw.uniform(0.1, 0.8) if policy == 'always' else draw.uniform(2.8, 3.8)
    if draw.random() < 0.5:
        poke(node, draw, time.monotonic() + seconds)
    else:
        time.sleep(seconds)
    moment = draw.choice(['power-off-before', 'power-off-after'])
    order(node, moment, draw.choice(['write', 'any']), draw.randrange(1, 60), draw.choice(['*', INCREMENT]))
    wait_for(lambda: not node.is_running(), 'the power goes')


def check(node, writers, may_lose):
    with node.connect(timeout=20.0) as connection:
        for writer in writers:
            assert writer.wrong is None, writer.wrong
            for key, sent in writer.sent.items():
                value = int(connection.call('GET', key) or 0)
                answered = 0 if may_lose else writer.answered.get(key, 0)
                assert answered <= value <= sent, '%s is %d: answered %d, sent %d' % (key, value, answered, sent)
                writer.answered[key] = writer.sent[key] = value
            count = int(connection.call('GET', 'm:%d' % writer.number) or 0)
            safe = writer.ended - LOSS_S if may_lose else writer.ended
            assert count >= max(seen for at, seen in writer.transactions if at <= safe), 'a transaction is missing'
            assert connection.call('LLEN', 'l:%d' % writer.number) == count, 'a transaction was torn'


@pytest.mark.skipif(is_stand_in(), reason='a real server may lose what it postpones, and knows no faults on order')
@pytest.mark.parametrize('policy', POLICIES)
def test_nothing_that_was_answered_is_lost(lab, policy, workers):
    draw = random.Random('%s %s %s' % (SEED, policy, workers))
    node = lab.node({'appendonly': 'yes', 'appendfsync': policy, 'enable-debug-command': 'yes'}, workers=workers)
    node.call('DEBUG', 'POPULATE', '30000')
    node.call('BGREWRITEAOF')  # What was populated is in no log; from here on rewrites take their time.
    wait_for(lambda: node.info('persistence')['aof_rewrite_in_progress'] == '0', 'the rewrite ends')
    known = [{} for _ in range(CLIENTS)]
    missed = []
    for end in plan(max(1, ROUNDS // 4), policy, workers):
        writers = [Writer(node, number, known[number]) for number in range(CLIENTS)]
        for writer in writers:
            writer.start()
        if end is None:
            end_by_chance(node, draw)
        elif end == 'power-off':
            power_off(node, draw, policy)
        elif not end_at(node, draw, end):
            missed.append(end)
        for writer in writers:
            writer.join(20)
        node.start()
        print('ended by: %s' % end)
        check(node, writers, may_lose=end == 'power-off' and policy != 'always')
        known = [writer.answered for writer in writers]
    assert not missed, 'points that were never reached: %s' % missed
