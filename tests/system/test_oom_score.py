"""oom-score-adj: what the kernel is told, by role."""
import pytest

from harness import wait_for
from resp import ReplyError


def score(node):
    with open('/proc/%d/oom_score_adj' % node.process.pid) as file:
        return int(file.read())


def test_the_score_follows_options_and_role(lab, workers):
    node = lab.node(workers=workers)
    at_start = score(node)
    node.call('CONFIG', 'SET', 'oom-score-adj', 'relative', 'oom-score-adj-values', '10 20 30')
    assert score(node) == at_start + 10
    assert node.call('CONFIG', 'GET', 'oom-score-adj') == [b'oom-score-adj', b'yes']
    node.call('REPLICAOF', '127.0.0.1', 1)
    wait_for(lambda: score(node) == at_start + 20, 'it is a replica')
    node.call('CONFIG', 'SET', 'oom-score-adj', 'absolute', 'oom-score-adj-values', '900 2000 800')
    assert score(node) == 1000, 'the most that there is'
    node.call('REPLICAOF', 'NO', 'ONE')
    wait_for(lambda: score(node) == 900, 'it is a primary')
    with node.connect() as connection, pytest.raises(ReplyError):
        connection.call('CONFIG', 'SET', 'oom-score-adj-values', '1 2 3', 'dir', '/does/not/exist')
    assert score(node) == 900
    node.call('CONFIG', 'SET', 'oom-score-adj', 'no')
    assert score(node) == at_start


def test_the_score_is_set_at_the_start(lab):
    node = lab.node({'oom-score-adj': 'yes', 'oom-score-adj-values': '15 30 45'})
    wait_for(lambda: score(node) >= 15, 'it is set')
    node.call('CONFIG', 'REWRITE')
    node.restart()
    assert node.call('CONFIG', 'GET', 'oom-score-adj-values')[1] == b'15 30 45'
