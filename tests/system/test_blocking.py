"""Clients that wait for keys: in order of arrival, across workers, and to the end of the wait, whatever it is."""
import threading
import time

import pytest

from harness import Cluster, wait_for
from resp import slot_of

WAITERS = 30


def wait_blocked(node, count):
    wait_for(lambda: int(node.info('clients')['blocked_clients']) == count, '%d clients wait' % count)


def begin(node, *words):
    connection = node.connect()
    connection.send(*words)
    return connection


def test_who_came_first_is_served_first(lab, workers):
    node = lab.node(workers=workers)
    waiting = []
    for _ in range(WAITERS):
        waiting.append(begin(node, 'BLPOP', 'q', '0'))
        wait_blocked(node, len(waiting))
    # In one command, in a transaction, and one by one.
    assert node.call('RPUSH', 'q', *range(10)) == 10
    with node.connect() as connection:
        connection.call('MULTI')
        connection.call('RPUSH', 'q', *range(10, 15))
        connection.call('RPUSH', 'q', *range(15, 20))
        assert connection.call('EXEC') == [5, 10]
    for i in range(20, WAITERS):
        assert node.call('RPUSH', 'q', i) == 1
    for i, connection in enumerate(waiting):
        assert connection.read() == [b'q', b'%d' % i]
        connection.close()
    assert node.call('EXISTS', 'q') == 0


def test_chains_of_moves_come_to_rest(lab, workers):
    """Each BLMOVE waits for what the one before it moves; the keys lie in different slots."""
    node = lab.node(workers=workers)
    chain = [begin(node, 'BLMOVE', 'chain:%d' % i, 'chain:%d' % (i + 1), 'LEFT', 'RIGHT', '0') for i in range(20)]
    wait_blocked(node, 20)
    node.call('RPUSH', 'chain:0', 'x')
    for connection in chain:
        assert connection.read() == b'x'
        connection.close()
    assert node.call('LRANGE', 'chain:20', 0, -1) == [b'x']


def test_pushes_and_waits_lose_and_double_nothing(lab, workers):
    node = lab.node(workers=workers)
    pushed, popped, total = [], [], 3000
    lock = threading.Lock()

    def push(number):
        with node.connect() as connection:
            for i in range(total // 3):
                value = b'%d:%d' % (number, i)
                connection.call('LPUSH', 'k%d' % (i % 7), value)
                pushed.append(value)

    def pop():
        with node.connect() as connection:
            while True:
                got = connection.call('BRPOP', *['k%d' % i for i in range(7)], '0.5')
                if got is None:
                    return
                with lock:
                    popped.append(got[1])
    threads = [threading.Thread(target=push, args=(n,)) for n in range(3)] + [threading.Thread(target=pop) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(popped) == sorted(pushed)


def test_waits_end_in_time_and_by_command(lab, workers):
    node = lab.node(workers=workers)
    began = time.monotonic()
    with begin(node, 'BLPOP', 'none', '0.1') as connection:
        assert connection.read() is None
    assert 0.09 < time.monotonic() - began < 1
    for how, expected in (('TIMEOUT', None), ('ERROR', 'UNBLOCKED client unblocked via CLIENT UNBLOCK')):
        with node.connect() as connection:
            number = connection.call('CLIENT', 'ID')
            connection.send('BZPOPMIN', 'none', '0')
            wait_blocked(node, 1)
            assert node.call('CLIENT', 'UNBLOCK', number, how) == 1
            reply = connection.read()
            assert reply is None if expected is None else str(reply) == expected
            assert connection.call('PING') == b'PONG'
    # A connection that ends while it waits takes nothing along.
    gone = begin(node, 'BLPOP', 'q', '0')
    wait_blocked(node, 1)
    gone.close()
    wait_blocked(node, 0)
    assert node.call('RPUSH', 'q', 'x') == 1
    assert node.call('LRANGE', 'q', 0, -1) == [b'x']


def test_groups_wait_for_their_stream(lab, workers):
    node = lab.node(workers=workers)
    node.call('XGROUP', 'CREATE', 's', 'g', '$', 'MKSTREAM')
    readers = [begin(node, 'XREADGROUP', 'GROUP', 'g', 'c%d' % i, 'BLOCK', '0', 'COUNT', '1', 'STREAMS', 's', '>')
               for i in range(5)]
    plain = begin(node, 'XREAD', 'BLOCK', '0', 'STREAMS', 's', '$')
    wait_blocked(node, 6)
    ids = [node.call('XADD', 's', '*', 'n', i) for i in range(5)]
    got = [reader.read()[0][1][0][0] for reader in readers]
    assert sorted(got) == ids
    assert plain.read()[0][1][0][0] == ids[0]
    with begin(node, 'XREADGROUP', 'GROUP', 'g', 'c9', 'BLOCK', '0', 'STREAMS', 's', '>') as late:
        wait_blocked(node, 1)
        node.call('DEL', 's')
        assert str(late.read()) == 'UNBLOCKED the stream key no longer exists'
    for connection in [*readers, plain]:
        connection.close()


@pytest.mark.parametrize('kind', ['redis', 'dunlin'])
def test_a_replica_gets_what_was_done(lab, workers, kind):
    primary = lab.node(workers=workers)
    replica = lab.redis() if kind == 'redis' else lab.node(workers=workers)
    replica.call('REPLICAOF', '127.0.0.1', primary.port)
    wait_for(lambda: replica.info('replication').get('master_link_status') == 'up', 'the link is up')
    primary.call('XGROUP', 'CREATE', 's', 'g', '$', 'MKSTREAM')
    waiting = [begin(primary, *words) for words in (
        ('BLPOP', 'l', '0'), ('BLMOVE', 'l', 'm', 'LEFT', 'LEFT', '0'), ('BZPOPMAX', 'z', '0'), ('BLMPOP', '0', '1', 'n', 'LEFT', 'COUNT', '2'),
        ('XREADGROUP', 'GROUP', 'g', 'c', 'BLOCK', '0', 'STREAMS', 's', '>'))]
    wait_blocked(primary, 5)
    primary.call('RPUSH', 'l', 'a', 'b', 'c')
    primary.call('ZADD', 'z', 1, 'x', 2, 'y')
    primary.call('RPUSH', 'n', 1, 2, 3)
    primary.call('XADD', 's', '*', 'f', 'v')
    for connection in waiting:
        assert connection.read() is not None
        connection.close()
    primary.call('WAIT', 1, 5000)
    for words in (('LRANGE', 'l', 0, -1), ('LRANGE', 'm', 0, -1), ('ZRANGE', 'z', 0, -1), ('LRANGE', 'n', 0, -1),
                  ('XPENDING', 's', 'g')):
        assert primary.call(*words) == replica.call(*words), words


def test_who_waits_for_a_slot_that_leaves_is_sent_after_it(lab, workers):
    nodes = [lab.cluster_node(workers=workers) for _ in range(3)]
    cluster = Cluster(nodes).create(0)
    cluster.wait_ok()
    slot = slot_of('q')
    owner = cluster.owner_of(slot)
    target = next(node for node in nodes if node is not owner)
    with begin(owner, 'BLPOP', 'q', '0') as connection:
        wait_blocked(owner, 1)
        for node in (target, owner):
            assert node.call('CLUSTER', 'SETSLOT', slot, 'NODE', target.id) == b'OK'
        assert str(connection.read()) == 'MOVED %d %s' % (slot, target.address)


def test_who_waits_in_a_cluster_that_goes_down_is_told(lab, workers):
    nodes = [lab.cluster_node(workers=workers) for _ in range(3)]
    cluster = Cluster(nodes).create(0)
    cluster.wait_ok()
    owner = cluster.owner_of(slot_of('q'))
    with begin(owner, 'BLPOP', 'q', '0') as one, begin(owner, 'XREAD', 'BLOCK', '0', 'STREAMS', '{q}s', '$') as other:
        wait_blocked(owner, 2)
        for node in nodes:
            if node is not owner:
                node.kill()
        for connection in (one, other):
            assert str(connection.read()) == 'CLUSTERDOWN The cluster is down'
    assert owner.info('clients')['blocked_clients'] == '0'


def test_a_new_replica_lets_go_of_its_clients(lab, workers):
    primary, node = lab.node(workers=workers), lab.node(workers=workers)
    with begin(node, 'BLPOP', 'q', '0') as connection:
        wait_blocked(node, 1)
        node.call('REPLICAOF', '127.0.0.1', primary.port)
        assert str(connection.read()).startswith('UNBLOCKED force unblock')
