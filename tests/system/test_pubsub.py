"""Messages reach everybody who listens: across workers, replicas, and the nodes of a mixed cluster."""
import threading

import pytest

from harness import NODE_TIMEOUT_MS, Cluster, wait_for
from resp import slot_of

MESSAGES = 400
PUBLISHERS = 4
LISTENERS = 20
CLUSTER = {'cluster-enabled': 'yes', 'cluster-node-timeout': NODE_TIMEOUT_MS}


def listen(node, *words):
    connection = node.connect()
    connection.call(*words)
    return connection


def test_every_listener_hears_each_publisher_in_order(lab, workers):
    node = lab.node(workers=workers)
    by_name = [listen(node, 'SUBSCRIBE', 'news') for _ in range(LISTENERS)]
    by_pattern = [listen(node, 'PSUBSCRIBE', 'n?ws') for _ in range(LISTENERS)]
    assert node.call('PUBSUB', 'NUMSUB', 'news', 'none') == [b'news', LISTENERS, b'none', 0]
    assert node.call('PUBSUB', 'NUMPAT') == 1
    counts = []

    def publish(number):
        with node.connect() as connection:
            for i in range(MESSAGES):
                counts.append(connection.call('PUBLISH', 'news', '%d %d' % (number, i)))
    threads = [threading.Thread(target=publish, args=(number,)) for number in range(PUBLISHERS)]
    for thread in threads:
        thread.start()
    for connection, at in [(c, 2) for c in by_name] + [(c, 3) for c in by_pattern]:
        heard = [0] * PUBLISHERS
        for _ in range(MESSAGES * PUBLISHERS):
            message = connection.read()
            number, i = map(int, message[at].split())
            assert heard[number] == i, message
            heard[number] += 1
    for thread in threads:
        thread.join(30)
    assert set(counts) == {2 * LISTENERS}
    for connection in by_name + by_pattern:
        connection.close()
    wait_for(lambda: node.call('PUBLISH', 'news', 'x') == 0, 'nobody listens any more')
    assert node.call('PUBSUB', 'CHANNELS') == [] and node.call('PUBSUB', 'NUMPAT') == 0


def test_who_does_not_read_is_closed(lab, workers):
    node = lab.node({'client-output-buffer-limit': 'pubsub 1mb 0 0'}, workers=workers)
    deaf = listen(node, 'SUBSCRIBE', 'loud')
    with node.connect() as connection:
        def is_closed():
            for _ in range(100):
                count = connection.call('PUBLISH', 'loud', 'x' * 100000)
                if count == 0:
                    return True
            return False
        wait_for(is_closed, 'the listener was closed')
    assert node.is_running()
    deaf.close()


@pytest.mark.parametrize('primary,replica', [('redis', 'dunlin'), ('dunlin', 'redis'), ('dunlin', 'dunlin')])
def test_replicas_pass_messages_on(lab, workers, primary, replica):
    def make(kind):
        return lab.redis() if kind == 'redis' else lab.node(workers=workers)
    primary, replica = make(primary), make(replica)
    assert replica.call('REPLICAOF', '127.0.0.1', primary.port) == b'OK'
    wait_for(lambda: replica.info('replication').get('master_link_status') == 'up', 'the link is up')
    with listen(replica, 'SUBSCRIBE', 'news') as connection:
        primary.call('SET', 'k', 'v')
        primary.call('PUBLISH', 'news', 'hello')
        assert connection.read() == [b'message', b'news', b'hello']


def test_a_mixed_cluster_carries_messages(lab, workers):
    nodes = [lab.cluster_node(workers=workers), lab.redis(CLUSTER), lab.cluster_node(workers=workers)]
    cluster = Cluster(nodes).create(0)
    cluster.wait_ok()
    listeners = [listen(node, 'SUBSCRIBE', 'news') for node in nodes]
    for number, node in enumerate(nodes):
        assert node.call('PUBLISH', 'news', 'from %d' % number) == 1
        for connection in listeners:
            assert connection.read() == [b'message', b'news', b'from %d' % number]
    for connection in listeners:
        connection.close()

    owner = cluster.owner_of(slot_of('shard'))
    other = next(node for node in nodes if node is not owner)
    with listen(owner, 'SSUBSCRIBE', 'shard') as connection, other.connect() as stranger:
        stranger.send('SPUBLISH', 'shard', 'x')
        assert str(stranger.read()).startswith('MOVED %d' % slot_of('shard'))
        assert owner.call('SPUBLISH', 'shard', 'hello') == 1
        assert connection.read() == [b'smessage', b'shard', b'hello']


def test_shard_channels_end_when_their_slot_leaves(lab, workers):
    nodes = [lab.cluster_node(workers=workers) for _ in range(3)]
    cluster = Cluster(nodes).create(0)
    cluster.wait_ok()
    slot = slot_of('shard')
    owner = cluster.owner_of(slot)
    target = next(node for node in nodes if node is not owner)
    with listen(owner, 'SSUBSCRIBE', 'shard') as connection:
        for node in (target, owner):
            assert node.call('CLUSTER', 'SETSLOT', slot, 'NODE', target.id) == b'OK'
        assert connection.read() == [b'sunsubscribe', b'shard', 0]


def test_who_watches_is_shown_every_command(lab, workers):
    node = lab.node(workers=workers)
    watchers = [listen(node, 'MONITOR') for _ in range(5)]
    with node.connect() as connection:
        connection.call('SET', 'k', 'a "b"\n\x00')
        connection.call('MULTI')
        connection.call('INCR', 'n')
        connection.call('EXEC')
    for watcher in watchers:
        lines = [watcher.read().decode().split('] ', 1)[1] for _ in range(3)]
        assert lines == ['"SET" "k" "a \\"b\\"\\n\\x00"', '"MULTI"', '"INCR" "n"']
    watchers[0].close()
    node.call('SET', 'k', 'after')
    assert b'"after"' in [watchers[1].read() for _ in range(2)][-1]
    for watcher in watchers[1:]:
        watcher.close()


def test_keys_that_expire_are_told(lab, workers):
    node = lab.node({'notify-keyspace-events': 'KEA'}, workers=workers)
    with listen(node, 'PSUBSCRIBE', '__key*__:*') as connection:
        node.call('SET', 'brief', 'x', 'PX', 20)
        heard = [connection.read()[2:] for _ in range(6)]
    assert heard[:4] == [[b'__keyspace@0__:brief', b'set'], [b'__keyevent@0__:set', b'brief'],
                         [b'__keyspace@0__:brief', b'expire'], [b'__keyevent@0__:expire', b'brief']]
    assert heard[4:] == [[b'__keyspace@0__:brief', b'expired'], [b'__keyevent@0__:expired', b'brief']]
