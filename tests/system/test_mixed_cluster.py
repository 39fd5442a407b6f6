"""Dunlin and redis-server 7.0 nodes in one cluster: each is met, gossiped about, replicates, votes, is promoted."""
import pytest

from harness import NODE_TIMEOUT_MS, Cluster, wait_for
from resp import ClusterClient, slot_of

ELECTION_LIMIT_S = NODE_TIMEOUT_MS / 1000 * 10
CLUSTER = {'cluster-enabled': 'yes', 'cluster-node-timeout': NODE_TIMEOUT_MS}


def make(lab, kind, workers):
    return lab.redis(CLUSTER) if kind == 'redis' else lab.cluster_node(workers=workers)


def check_nodes_of(observer, others):
    """`observer` has a live link to each of `others` and knows their right addresses."""
    lines = {line.split()[0]: line.split() for line in observer.call('CLUSTER', 'NODES').decode().splitlines()}
    for node in others:
        words = lines[node.id]
        assert words[1].split('@')[0] == node.address and words[7] == 'connected', words
        assert int(words[1].split('@')[1].split(',')[0]) == node.port + 10000


@pytest.mark.parametrize('host,guest', [('redis', 'dunlin'), ('dunlin', 'redis')],
                         ids=['dunlin-among-redis', 'redis-among-dunlin'])
def test_a_guest_is_a_full_member(lab, workers, host, guest):
    primaries = [make(lab, host, workers) for _ in range(3)]
    cluster = Cluster(primaries).create(0)

    # Meets and gossips: only one node is told, all know each other.
    newcomer, second = make(lab, guest, workers), make(lab, host, workers)
    for node in (newcomer, second):
        assert node.call('CLUSTER', 'MEET', '127.0.0.1', primaries[0].port) == b'OK'
        cluster.nodes.append(node)
    cluster.wait_ok()
    for node in cluster.nodes:
        wait_for(lambda: check_nodes_of(node, [n for n in cluster.nodes if n is not node]) is None, 'links are up')

    # Replicates a primary of the other kind.
    client = ClusterClient([primaries[0].port])
    keys = ['k%d' % i for i in range(500)]
    for i, key in enumerate(keys):
        assert client.call('SET', key, str(i)) == b'OK'
    first, other = primaries[0], primaries[1]
    assert newcomer.call('CLUSTER', 'REPLICATE', first.id) == b'OK'
    assert second.call('CLUSTER', 'REPLICATE', other.id) == b'OK'
    cluster.wait_ok()
    cluster.wait_links()
    assert cluster.replica_of(first) is newcomer
    mine = [key for key in keys if client.owners[slot_of(key)] == first.port]
    theirs = [key for key in keys if client.owners[slot_of(key)] == other.port]
    with first.connect() as connection:
        for key in mine:
            connection.call('APPEND', key, '-more')
        assert connection.call('WAIT', 1, 5000) == 1
    assert newcomer.call('DBSIZE') == len(mine)
    client.close()

    # Is voted for: the other primaries elect it.
    first.kill()
    wait_for(lambda: newcomer.role() == 'master', 'the guest is promoted', ELECTION_LIMIT_S)
    cluster.wait_ok()
    client = ClusterClient([newcomer.port])
    for key in mine:
        assert client.call('GET', key) == b'%d-more' % keys.index(key)
        assert client.call('SET', key, 'new') == b'OK'

    # The old primary comes back as its replica.
    first.start()
    wait_for(lambda: first.role() == 'slave', 'the old primary follows the guest')
    cluster.wait_ok()
    cluster.wait_links()
    assert cluster.replica_of(newcomer) is first
    wait_for(lambda: first.call('DBSIZE') == len(mine), 'it has the keys')

    # Votes: of three primaries one is dead, so the candidate needs the guest's vote.
    with other.connect() as connection:
        connection.call('SET', theirs[0], 'last')
        assert connection.call('WAIT', 1, 5000) == 1
    epoch = int(second.cluster_info()['cluster_current_epoch'])
    other.kill()
    wait_for(lambda: second.role() == 'master', 'the guest gave its vote', ELECTION_LIMIT_S)
    cluster.wait_ok()
    assert int(second.cluster_info()['cluster_current_epoch']) > epoch
    assert ClusterClient([second.port]).call('GET', theirs[0]) == b'last'

    # A manual failover hands the slots back to the old primary.
    assert first.call('CLUSTER', 'FAILOVER') == b'OK'
    wait_for(lambda: first.role() == 'master' and newcomer.role() == 'slave', 'manual failover', ELECTION_LIMIT_S)
    cluster.wait_ok()
    client.refresh([first.port])
    for key in mine:
        assert client.call('GET', key) == b'new'
    client.close()


def test_slots_move_between_the_two_kinds(lab, workers):
    nodes = [make(lab, 'dunlin', workers), make(lab, 'redis', workers), make(lab, 'redis', workers)]
    cluster = Cluster(nodes).create(0)
    client = ClusterClient(cluster.ports)
    for source, target in ((nodes[0], nodes[1]), (nodes[1], nodes[0])):
        slot = next(r[0] for r in source.call('CLUSTER', 'SLOTS') if r[2][1] == source.port)
        tag = next('t%d' % i for i in range(200000) if slot_of('t%d' % i) == slot)
        keys = ['{%s}%d' % (tag, i) for i in range(50)]
        for key in keys:
            assert client.call('SET', key, key, 'EX', 1000) == b'OK'
        client.call('HSET', '{%s}h' % tag, *[str(word) for i in range(1000) for word in (i, 'x' * 80)])
        assert target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source.id) == b'OK'
        assert source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id) == b'OK'
        names = source.call('CLUSTER', 'GETKEYSINSLOT', slot, 1000)
        assert len(names) == source.call('CLUSTER', 'COUNTKEYSINSLOT', slot) == 51
        assert source.call('MIGRATE', '127.0.0.1', target.port, '', 0, 5000, 'KEYS', *names) == b'OK'
        for node in (target, source, nodes[2]):
            assert node.call('CLUSTER', 'SETSLOT', slot, 'NODE', target.id) == b'OK'
        cluster.wait_ok()
        for key in keys:
            assert client.call('GET', key) == key.encode()
            assert 900 < client.call('TTL', key) <= 1000
        assert client.call('HLEN', '{%s}h' % tag) == 1000
        assert source.call('CLUSTER', 'COUNTKEYSINSLOT', slot) == 0
    client.close()


@pytest.mark.parametrize('publisher,subscriber', [('redis', 'dunlin'), ('dunlin', 'redis')])
def test_published_messages_cross_the_bus(lab, workers, publisher, subscriber):
    nodes = {'redis': make(lab, 'redis', workers), 'dunlin': make(lab, 'dunlin', workers)}
    third = make(lab, 'redis', workers)
    commands = {word[0] for word in nodes['dunlin'].call('COMMAND')}
    if b'subscribe' not in commands:
        pytest.skip('the server has no SUBSCRIBE')
    Cluster([*nodes.values(), third]).create(0)
    with nodes[subscriber].connect() as listener:
        assert listener.call('SUBSCRIBE', 'news') == [b'subscribe', b'news', 1]
        for i in range(20):
            nodes[publisher].call('PUBLISH', 'news', 'message %d' % i)
        for i in range(20):
            assert listener.read() == [b'message', b'news', b'message %d' % i]
