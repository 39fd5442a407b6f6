"""Rounds of load, a kill at a random moment (also in the middle of rewrites), a restart: nothing that was answered is
missing, and nothing was done twice.

DUNLIN_CRASH_ROUNDS sets the number of rounds of each policy (3 by default; 200 for a long look), DUNLIN_SEED the draw.
"""
import os
import random
import threading
import time

import pytest

from harness import is_stand_in, wait_for
from resp import Closed, ReplyError

ROUNDS = int(os.environ.get('DUNLIN_CRASH_ROUNDS', 3))
SEED = int(os.environ.get('DUNLIN_SEED', 1))
CLIENTS = 4
DEPTH = 8
KEYS = 50


class Writer(threading.Thread):
    """Raises counters of its own, several commands at a time. Keeps what was answered and what was sent."""

    def __init__(self, node, number, known):
        super().__init__(daemon=True)
        self.node, self.number = node, number
        self.answered = dict(known)
        self.sent = dict(known)
        self.shared = 0
        self.wrong = None

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
                    self.shared = connection.read()[0]
        except (OSError, Closed, ReplyError):
            pass


def rewrite_now_and_then(node, draw, until):
    while time.monotonic() < until:
        if draw.random() < 0.5:
            try:
                node.call('BGREWRITEAOF')
            except ReplyError:
                pass
        time.sleep(draw.uniform(0.01, 0.08))


def check(node, writers):
    with node.connect(timeout=20.0) as connection:
        for writer in writers:
            assert writer.wrong is None, writer.wrong
            for key, sent in writer.sent.items():
                value = int(connection.call('GET', key) or 0)
                answered = writer.answered.get(key, 0)
                assert answered <= value <= sent, '%s is %d: answered %d, sent %d' % (key, value, answered, sent)
                writer.answered[key] = writer.sent[key] = value
            count = int(connection.call('GET', 'm:%d' % writer.number) or 0)
            assert count >= writer.shared
            assert connection.call('LLEN', 'l:%d' % writer.number) == count, 'a transaction was torn'


@pytest.mark.skipif(is_stand_in(), reason='a real server may lose what it postpones')
@pytest.mark.parametrize('policy', ['always', 'everysec'])
def test_nothing_that_was_answered_is_lost(lab, policy, workers):
    draw = random.Random('%s %s %s' % (SEED, policy, workers))
    node = lab.node({'appendonly': 'yes', 'appendfsync': policy, 'enable-debug-command': 'yes'}, workers=workers)
    node.call('DEBUG', 'POPULATE', '30000')
    node.call('BGREWRITEAOF')  # What was populated is in no log; from here on rewrites take their time.
    wait_for(lambda: node.info('persistence')['aof_rewrite_in_progress'] == '0', 'the rewrite ends')
    known = [{} for _ in range(CLIENTS)]
    for _ in range(ROUNDS):
        writers = [Writer(node, number, known[number]) for number in range(CLIENTS)]
        for writer in writers:
            writer.start()
        rewrite_now_and_then(node, draw, time.monotonic() + draw.uniform(0.1, 0.8))
        node.kill()
        for writer in writers:
            writer.join(20)
        node.start()
        check(node, writers)
        known = [writer.answered for writer in writers]
