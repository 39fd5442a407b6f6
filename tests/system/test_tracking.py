"""Copies that clients keep are called stale when the keys change, once, whoever changes them."""
import time

import pytest

from harness import wait_for

INVALIDATE = b'invalidate'
CHANNEL = b'__redis__:invalidate'


def tracker(node, *options):
    connection = node.connect()
    connection.call('HELLO', 3)
    assert connection.call('CLIENT', 'TRACKING', 'ON', *options) == b'OK'
    return connection


def stats(node):
    info = {}
    for section in ('stats', 'clients'):
        for line in node.call('INFO', section).decode().splitlines():
            name, _, value = line.partition(':')
            if name.startswith('tracking_'):
                info[name[len('tracking_'):]] = int(value)
    return info


def heard(connection):
    return connection.read()


def nothing_comes(connection):
    """A reply that comes first: nothing was on its way before it."""
    return connection.call('PING') in (b'PONG', 'PONG')


def test_every_reader_hears_of_a_change_once(lab, workers):
    node = lab.node(workers=workers)
    readers = [tracker(node) for _ in range(8)]
    for reader in readers:
        for i in range(20):
            reader.call('GET', 'key%d' % i)
    assert stats(node) == {'total_keys': 20, 'total_items': 160, 'total_prefixes': 0, 'clients': 8}
    with node.connect() as writer:
        for i in range(20):
            writer.call('SET', 'key%d' % i, i)
            writer.call('SET', 'key%d' % i, -i)
    for reader in readers:
        told = [heard(reader) for _ in range(20)]
        assert sorted(told) == sorted([INVALIDATE, [b'key%d' % i]] for i in range(20))
        assert nothing_comes(reader)
    assert stats(node)['total_items'] == 0


@pytest.mark.parametrize('change', [
    ['DEL', 'k'], ['EXPIRE', 'k', 100], ['APPEND', 'k', 'x'], ['RENAME', 'k', 'j'], ['FLUSHALL'], ['FLUSHDB'],
    ['COPY', 'o', 'k', 'REPLACE'], ['MSET', 'a', 1, 'k', 2], ['GETDEL', 'k'], ['SET', 'k', 'v', 'PX', 60000]])
def test_every_kind_of_change_tells(lab, change):
    node = lab.node()
    node.call('MSET', 'k', 'v', 'o', 'w')
    reader = tracker(node)
    reader.call('GET', 'k')
    node.call(*change)
    assert heard(reader) == [INVALIDATE, None if change[0].startswith('FLUSH') else [b'k']]


def test_expiry_tells(lab, workers):
    node = lab.node(workers=workers)
    reader = tracker(node)
    node.call('SET', 'k', 'v', 'PX', 30)
    assert reader.call('GET', 'k') == b'v'
    assert heard(reader) == [INVALIDATE, [b'k']]


def test_own_changes_are_told_after_the_reply(lab, workers):
    node = lab.node(workers=workers)
    reader = tracker(node)
    reader.send('GET', 'k')
    reader.send('SET', 'k', 1)
    reader.send('GET', 'k')
    assert [reader.read() for _ in range(4)] == [None, b'OK', [INVALIDATE, [b'k']], b'1']
    for words in (['MULTI'], ['SET', 'k', 2], ['GET', 'k'], ['EXEC']):
        reader.send(*words)
    assert [reader.read() for _ in range(5)] == [b'OK', b'QUEUED', b'QUEUED', [b'OK', b'2'], [INVALIDATE, [b'k']]]


def test_a_session_of_its_own_is_told_instead(lab, workers):
    node = lab.node(workers=workers)
    with node.connect() as ear, node.connect() as reader:
        identity = ear.call('CLIENT', 'ID')
        ear.call('SUBSCRIBE', CHANNEL)
        assert reader.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', identity) == b'OK'
        assert reader.call('CLIENT', 'GETREDIR') == identity
        reader.call('MGET', 'a', 'b')
        node.call('MSET', 'a', 1, 'b', 2)
        assert sorted(ear.read() for _ in range(2)) == [[b'message', CHANNEL, [key]] for key in (b'a', b'b')]
        node.call('FLUSHALL')
        assert ear.read() == [b'message', CHANNEL, None]
        ear.close()
        wait_for(lambda: len(node.call('CLIENT', 'LIST').splitlines()) == 2, 'the ear is gone')
        reader.call('GET', 'a')
        node.call('SET', 'a', 3)
        wait_for(lambda: b'broken_redirect' in reader.call('CLIENT', 'TRACKINGINFO')[1], 'it is known to be gone')


def test_prefixes_hear_of_all_changes(lab, workers):
    node = lab.node(workers=workers)
    users = [tracker(node, 'BCAST', 'PREFIX', 'user:') for _ in range(4)]
    everything = tracker(node, 'BCAST')
    silent = tracker(node, 'BCAST', 'NOLOOP')
    assert stats(node)['total_prefixes'] == 2
    node.call('MSET', 'user:1', 1, 'user:2', 2, 'other', 3)
    assert sorted(heard(silent)[1]) == [b'other', b'user:1', b'user:2']
    silent.call('SET', 'user:3', 3)
    for user in users:
        assert heard(user) == [INVALIDATE, [b'user:1', b'user:2']]
        assert heard(user) == [INVALIDATE, [b'user:3']]
        assert nothing_comes(user)
    assert sorted(heard(everything)[1]) == [b'other', b'user:1', b'user:2']
    assert heard(everything) == [INVALIDATE, [b'user:3']]
    assert nothing_comes(silent)
    for connection in users + [everything, silent]:
        connection.close()
    wait_for(lambda: stats(node)['clients'] == 0, 'all are gone')
    assert stats(node)['total_prefixes'] == 0


def test_the_table_is_bounded(lab, workers):
    node = lab.node({'tracking-table-max-keys': 50}, workers=workers)
    reader = tracker(node)
    for i in range(200):
        reader.send('GET', 'key%d' % i)
    told, replies = set(), 0
    while replies < 200:
        message = reader.read()
        if message is None:
            replies += 1
        else:
            told.add(message[1][0])
    assert stats(node)['total_keys'] <= 50
    deadline = time.monotonic() + 10
    while len(told) < 150 and time.monotonic() < deadline:
        told.add(heard(reader)[1][0])
    assert len(told) == 150


def test_a_replica_tells_its_own_readers(lab, workers):
    primary, replica = lab.node({'repl-diskless-sync-delay': 0}, workers=workers), lab.node(workers=workers)
    replica.call('REPLICAOF', '127.0.0.1', primary.port)
    wait_for(lambda: b'master_link_status:up' in replica.call('INFO', 'replication'), 'the link is up')
    reader = tracker(replica)
    reader.call('GET', 'k')
    primary.call('SET', 'k', 1)
    assert heard(reader) == [INVALIDATE, [b'k']]
