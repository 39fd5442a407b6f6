"""Memory stays within maxmemory, and what goes is what was least of use."""
import threading
import time

import pytest

from harness import wait_for

LIMIT = 12 << 20
VALUE = 'v' * 200


def info(node, section, field):
    for line in node.call('INFO', section).decode().splitlines():
        if line.startswith(field + ':'):
            return int(line.split(':')[1])
    raise AssertionError('INFO %s has no %s' % (section, field))


def fill(connection, first, last, *options):
    for begin in range(first, last, 500):
        keys = range(begin, min(begin + 500, last))
        for i in keys:
            connection.send('SET', 'key:%d' % i, VALUE, *options)
        for _ in keys:
            assert connection.read() == b'OK'


@pytest.mark.parametrize('policy', ['allkeys-lru', 'allkeys-lfu', 'allkeys-random', 'volatile-lru', 'volatile-lfu',
                                    'volatile-ttl', 'volatile-random'])
def test_writes_go_on_within_the_limit(lab, workers, policy):
    node = lab.node({'maxmemory': LIMIT, 'maxmemory-policy': policy}, workers=workers)
    options = ['EX', 1000] if policy.startswith('volatile') else []

    def write(number):
        with node.connect() as connection:
            fill(connection, number * 100000, number * 100000 + 20000, *options)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    highest = 0
    while any(writer.is_alive() for writer in writers):
        highest = max(highest, info(node, 'memory', 'used_memory'))
        time.sleep(0.02)
    for writer in writers:
        writer.join(30)
    # A worker looks again when it took a page, and reading what 500 commands brought takes more.
    assert highest < LIMIT * 1.05
    wait_for(lambda: info(node, 'memory', 'used_memory') <= LIMIT, 'the rest is within the limit')
    wait_for(lambda: node.call('DBSIZE') + info(node, 'stats', 'evicted_keys') == 80000, 'each key is there or evicted')
    assert node.call('DBSIZE') > 10000


def test_keys_in_use_stay(lab):
    """The clock of LRU counts seconds: what is old is made so before what is used is used."""
    for policy in ('allkeys-lru', 'allkeys-lfu'):
        node = lab.node({'maxmemory': LIMIT, 'maxmemory-policy': policy, 'maxmemory-samples': 10})
        with node.connect() as connection:
            fill(connection, 0, 30000)
            time.sleep(1.1)
            for begin in range(30000, 60000, 3000):
                for _ in range(3):
                    for i in range(1000):
                        connection.send('GET', 'key:%d' % i)
                    for i in range(1000):
                        connection.read()
                fill(connection, begin, begin + 3000)
            kept = connection.call('EXISTS', *['key:%d' % i for i in range(1000)])
            assert info(node, 'stats', 'evicted_keys') > 5000
            assert kept > 990, '%d of 1000 under %s' % (kept, policy)


def test_only_keys_with_a_deadline_go(lab, workers):
    node = lab.node({'maxmemory': LIMIT, 'maxmemory-policy': 'volatile-ttl'}, workers=workers)
    with node.connect() as connection:
        fill(connection, 0, 5000)
        fill(connection, 5000, 10000, 'EX', 100000)
        fill(connection, 10000, 60000, 'EX', 1000)
        assert connection.call('EXISTS', *['key:%d' % i for i in range(5000)]) == 5000
        # The later deadline is kept for longer.
        assert connection.call('EXISTS', *['key:%d' % i for i in range(5000, 10000)]) > 4900


def test_without_a_policy_writes_are_refused_until_there_is_room(lab, workers):
    node = lab.node({'maxmemory': LIMIT}, workers=workers)
    with node.connect() as connection:
        for i in range(2000):
            connection.send('SET', 'key:%d' % i, 'v' * 20000)
            refusal = connection.read()
            if refusal != b'OK':
                break
        assert str(refusal) == "OOM command not allowed when used memory > 'maxmemory'." and i > 100
        connection.send('SET', 'one more', 'x')
        refusal = connection.read()
        assert str(refusal) == "OOM command not allowed when used memory > 'maxmemory'."
        connection.send('MULTI')
        connection.send('GET', 'key:1')
        connection.send('EXEC')
        replies = [str(connection.read()) for _ in range(3)]
        assert replies[1].startswith('OOM') and replies[2].startswith('EXECABORT')
        connection.call('CONFIG', 'SET', 'maxmemory', 2 * LIMIT)
        assert connection.call('SET', 'one more', 'x') == b'OK'
        connection.call('MULTI')
        connection.call('SET', 'one more', 'y')
        node.call('CONFIG', 'SET', 'maxmemory', 1)
        connection.send('EXEC')
        assert str(connection.read()) == ("EXECABORT Transaction discarded because of: OOM command not allowed when "
                                          "used memory > 'maxmemory'.")


def test_a_limit_counts_from_when_it_is_set_to_when_it_is_lifted(lab, workers):
    """Also with other things to look at, and after more was freed than taken."""
    node = lab.node({'requirepass': 'secret'}, workers=workers)
    with node.connect() as connection:
        connection.call('AUTH', 'secret')
        fill(connection, 0, 5000)
        connection.call('DEL', *['key:%d' % i for i in range(5000)])
        connection.call('CONFIG', 'SET', 'maxmemory', 1)
        connection.send('SET', 'k', 'v')
        assert str(connection.read()).startswith('OOM')
        connection.call('CONFIG', 'SET', 'maxmemory', 0)
        assert connection.call('SET', 'k', 'v') == b'OK'


def test_replicas_follow_the_primary_and_do_not_evict(lab):
    debug = {'maxmemory-policy': 'allkeys-lru', 'enable-debug-command': 'yes'}
    primary = lab.node({'repl-diskless-sync-delay': 0, 'maxmemory': LIMIT, **debug})
    replica = lab.node({'maxmemory': LIMIT // 4, **debug})
    replica.call('REPLICAOF', '127.0.0.1', primary.port)
    wait_for(lambda: b'master_link_status:up' in replica.call('INFO', 'replication'), 'the link is up')
    with primary.connect() as connection:
        fill(connection, 0, 60000)
    wait_for(lambda: primary.call('DEBUG', 'DIGEST') == replica.call('DEBUG', 'DIGEST'), 'both hold the same')
    assert 1000 < replica.call('DBSIZE') < 50000
    assert info(replica, 'stats', 'evicted_keys') == 0


def test_listeners_and_trackers_hear_of_evictions(lab):
    node = lab.node({'maxmemory-policy': 'allkeys-random', 'notify-keyspace-events': 'Ee'})
    with node.connect() as listener, node.connect() as tracker:
        listener.call('SUBSCRIBE', '__keyevent@0__:evicted')
        tracker.call('HELLO', 3)
        tracker.call('CLIENT', 'TRACKING', 'ON')
        node.call('SET', 'k', VALUE)
        tracker.call('GET', 'k')
        node.call('CONFIG', 'SET', 'maxmemory', 1)
        assert listener.read() == [b'message', b'__keyevent@0__:evicted', b'k']
        assert tracker.read() == [b'invalidate', [b'k']]
