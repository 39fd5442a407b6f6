"""Slots move while clients write and read: no error but redirections, no key lost, none doubled."""
import threading
import time

import pytest
from redis.cluster import ClusterNode, RedisCluster

from harness import DUNLIN_CLI, REDIS_CLI, run, wait_for
from resp import ClusterClient, ReplyError, slot_of

CLIENT_COUNT = 4
KEYS_PER_CLIENT = 1500
MOVED_SLOTS = 1000
FOREIGN_KEYS = 20000


class RawSession:
    """Talks through the client that hides nothing; a test of two keys may meet TRYAGAIN, which is a redirection
    in spirit: one of them has moved and the other has not."""

    def __init__(self, ports):
        self.client = ClusterClient(ports)
        self.retries = 0

    def incr(self, key):
        return self.client.call('INCR', key)

    def get(self, key):
        return self.client.call('GET', key)

    def hset(self, key, field, value):
        return self.client.call('HSET', key, field, value)

    def mget(self, *keys):
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.client.call('MGET', *keys)
            except ReplyError as error:
                if error.code != 'TRYAGAIN' or time.monotonic() > deadline:
                    raise
                self.retries += 1

    def close(self):
        self.client.close()


class RedisPySession:
    def __init__(self, ports):
        self.client = RedisCluster(startup_nodes=[ClusterNode('127.0.0.1', ports[0])])
        self.incr, self.get, self.hset = self.client.incr, self.client.get, self.client.hset

    def mget(self, *keys):
        return self.client.mget(*keys)

    def close(self):
        self.client.close()


class Load(threading.Thread):
    """One client with keys of its own, so that it knows each reply beforehand."""

    def __init__(self, index, session):
        super().__init__(daemon=True)
        self.index, self.session = index, session
        self.counts = {}
        self.fields = 0
        self.operations = 0
        self.stopping = threading.Event()
        self.error = None

    def key(self, i):
        return 'load:%d:%d' % (self.index, i)

    def step(self, i):
        key = self.key(i)
        expected = self.counts.get(key, 0) + 1
        got = self.session.incr(key)
        assert got == expected, 'INCR %s is %r, not %d' % (key, got, expected)
        self.counts[key] = expected
        other = self.key((i * 7 + 3) % KEYS_PER_CLIENT)
        wanted = self.counts.get(other)
        got = self.session.get(other)
        assert got == (None if wanted is None else b'%d' % wanted), 'GET %s is %r, not %r' % (other, got, wanted)
        if i % 5 == 0:
            field = 'field-%d' % self.fields
            assert self.session.hset('hash:%d:%d' % (self.index, i % 50), field, i) == 1
            self.fields += 1
        if i % 7 == 0 and isinstance(self.session, RawSession):
            assert self.session.mget('{%s}' % key, '{%s}x' % key) == [None, None]
        self.operations += 1

    def run(self):
        i = 0
        try:
            while not self.stopping.is_set():
                self.step(i % KEYS_PER_CLIENT)
                i += 1
        except BaseException as error:
            self.error = error

    def finish(self):
        self.stopping.set()
        self.join(30)
        self.session.close()
        assert not self.is_alive(), 'client %d hangs' % self.index
        if self.error is not None:
            raise AssertionError('client %d after %d operations: %r' % (self.index, self.operations, self.error))


def keys_of(node):
    keys, cursor = set(), b'0'
    with node.connect() as connection:
        while True:
            cursor, page = connection.call('SCAN', cursor, 'COUNT', 1000)
            keys.update(page)
            if cursor == b'0':
                return keys


def owned_slot_count(cluster, node):
    return sum(last - first + 1 for first, last, primary, *_ in node.call('CLUSTER', 'SLOTS') if primary[1] == node.port)


def reshard(cli, source, target, count):
    done = run(cli, '--cluster', 'reshard', source.address, '--cluster-from', source.id, '--cluster-to', target.id,
               '--cluster-slots', count, '--cluster-yes', timeout=150)
    assert '[ERR]' not in done.stdout, done.stdout[-2000:]


def check_keys(cluster, expected):
    """Each key is on exactly one primary, the owner of its slot, and its replica has the same keys."""
    found = {}
    for primary in cluster.primaries():
        keys = keys_of(primary)
        for key in keys:
            assert key not in found, '%r is on %s and on %s' % (key, found[key].name, primary.name)
            found[key] = primary
        replica = cluster.replica_of(primary)
        wait_for(lambda: keys_of(replica) == keys, '%s has the keys of %s' % (replica.name, primary.name))
    assert len(found) == expected
    owners = {}
    for first, last, primary, *_ in cluster.nodes[0].call('CLUSTER', 'SLOTS'):
        owners.update(dict.fromkeys(range(first, last + 1), primary[1]))
    for key, node in found.items():
        assert owners[slot_of(key)] == node.port, '%r lies on %s' % (key, node.name)


def test_a_thousand_slots_move_forth_and_back_under_load(lab, workers):
    cluster = lab.cluster(primaries=3, replicas=1, workers=workers)
    fill = ClusterClient(cluster.ports)
    for port in {fill.owners[slot] for slot in range(16384)}:
        keys = [k for k in ('fill:%d' % i for i in range(FOREIGN_KEYS)) if fill.owners[slot_of(k)] == port]
        connection = fill.connection(port)
        for key in keys:
            connection.send('SET', key, 'value of ' + key)
        assert all(connection.read() == b'OK' for _ in keys)

    sessions = [RawSession(cluster.ports), RawSession(cluster.ports), RedisPySession(cluster.ports),
                RedisPySession(cluster.ports)]
    loads = [Load(index, session) for index, session in enumerate(sessions)]
    for load in loads:
        load.start()
    source, target = cluster.primaries()[:2]
    counts = {node: owned_slot_count(cluster, node) for node in (source, target)}
    try:
        wait_for(lambda: all(load.operations > 300 or load.error for load in loads), 'clients are running')
        reshard(REDIS_CLI, source, target, MOVED_SLOTS)
        cluster.wait_ok()
        assert owned_slot_count(cluster, source) == counts[source] - MOVED_SLOTS
        assert owned_slot_count(cluster, target) == counts[target] + MOVED_SLOTS
        reshard(DUNLIN_CLI, target, source, MOVED_SLOTS)
        cluster.wait_ok()
        assert owned_slot_count(cluster, source) == counts[source]
        assert owned_slot_count(cluster, target) == counts[target]
    finally:
        for load in loads:
            load.stopping.set()
    for load in loads:
        load.finish()
    assert all(load.operations > 300 for load in loads)
    assert sum(s.client.redirections for s in sessions[:2]) > 0, 'the clients met no move at all'

    reader = ClusterClient(cluster.ports)
    expected = FOREIGN_KEYS
    for load in loads:
        for key, count in load.counts.items():
            assert reader.call('GET', key) == b'%d' % count, key
        expected += len(load.counts)
        hashes = ['hash:%d:%d' % (load.index, i) for i in range(50)]
        sizes = [reader.call('HLEN', key) for key in hashes]
        assert sum(sizes) == load.fields
        expected += sum(1 for size in sizes if size)
    for i in range(0, FOREIGN_KEYS, 13):
        assert reader.call('GET', 'fill:%d' % i) == b'value of fill:%d' % i
    reader.close()
    fill.close()
    check_keys(cluster, expected)
    check = run(DUNLIN_CLI, '--cluster', 'check', source.address).stdout
    assert '[OK] All 16384 slots covered.' in check and 'open' not in check.replace('open slots...', ''), check


@pytest.mark.parametrize('cli', [DUNLIN_CLI, REDIS_CLI], ids=['dunlin-cli', 'redis-cli'])
def test_an_interrupted_move_is_repaired_by_fix(lab, cli):
    """A slot left migrating with half of its keys moved: `--cluster fix` brings the cluster back in order."""
    cluster = lab.cluster(primaries=3, replicas=0)
    client = ClusterClient(cluster.ports)
    tag = next('t%d' % i for i in range(1000) if client.owners[slot_of('t%d' % i)] == cluster.nodes[0].port)
    slot = slot_of(tag)
    keys = ['{%s}:%d' % (tag, i) for i in range(100)]
    for key in keys:
        client.call('SET', key, key)
    source, target = cluster.nodes[0], cluster.nodes[1]
    assert target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source.id) == b'OK'
    assert source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id) == b'OK'
    assert source.call('MIGRATE', '127.0.0.1', target.port, '', 0, 5000, 'KEYS', *keys[:50]) == b'OK'
    check = run(cli, '--cluster', 'check', source.address, check=False).stdout
    assert 'open' in check and str(slot) in check, check
    for key in keys:  # Everything stays reachable in the middle of a move.
        assert client.call('GET', key) == key.encode()
    fixed = run(cli, '--cluster', 'fix', source.address, '--cluster-yes', timeout=60, check=cli != DUNLIN_CLI)
    if 'not part of this version' in fixed.stderr:
        pytest.skip('dunlin-cli has no --cluster fix')
    cluster.wait_ok()
    for key in keys:
        assert client.call('GET', key) == key.encode()
    client.close()
