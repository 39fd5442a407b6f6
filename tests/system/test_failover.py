"""A primary dies or hangs: its replica takes over with every write that it acknowledged."""
import threading
import time

import pytest

from harness import NODE_TIMEOUT_MS, wait_for
from resp import Closed, ClusterClient, Connection, ReplyError, slot_of

WRITER_COUNT = 3
FAILOVER_LIMIT_S = NODE_TIMEOUT_MS / 1000 * 10


class Writer(threading.Thread):
    """Writes to one primary and notes what WAIT 1 has confirmed. A write whose connection broke is unknown."""

    def __init__(self, index, port, keys):
        super().__init__(daemon=True)
        self.index, self.port, self.keys = index, port, keys
        self.acknowledged = {}
        self.unknown = {}
        self.stopping = threading.Event()

    def run(self):
        connection = Connection(self.port, timeout=3)
        i = 0
        try:
            while not self.stopping.is_set():
                key, value = self.keys[i % len(self.keys)], b'%d:%d' % (self.index, i)
                self.unknown.setdefault(key, []).append(value)
                connection.send('SET', key, value)
                connection.send('WAIT', 1, 1000)
                reply, replicas = connection.read(), connection.read()
                if reply == b'OK' and replicas == 1:
                    self.acknowledged[key] = value
                    self.unknown[key] = []
                i += 1
        except (OSError, Closed):
            pass
        finally:
            connection.close()


def keys_on(cluster, primary, count):
    owner = {}
    for first, last, node, *_ in primary.call('CLUSTER', 'SLOTS'):
        owner.update(dict.fromkeys(range(first, last + 1), node[1]))
    found, i = [], 0
    while len(found) < count:
        key = 'k%d' % i
        if owner.get(slot_of(key)) == primary.port:
            found.append(key)
        i += 1
    return found


def write_until(cluster, primary, strike):
    """Runs writers against `primary`, strikes it in the middle, and returns (acknowledged, unknown)."""
    keys = keys_on(cluster, primary, 60)
    share = len(keys) // WRITER_COUNT
    writers = [Writer(i, primary.port, keys[i * share:(i + 1) * share]) for i in range(WRITER_COUNT)]
    for writer in writers:
        writer.start()
    wait_for(lambda: all(len(w.acknowledged) == share for w in writers), 'writes are acknowledged')
    time.sleep(0.5)
    strike()
    for writer in writers:
        writer.stopping.set()
        writer.join(10)
        assert not writer.is_alive()
    acknowledged, unknown = {}, {}
    for writer in writers:
        acknowledged.update(writer.acknowledged)
        unknown.update(writer.unknown)
    return acknowledged, unknown


def check_values(node, acknowledged, unknown):
    with node.connect() as connection:
        for key, value in acknowledged.items():
            got = connection.call('GET', key)
            assert got == value or got in unknown[key], \
                '%s: %r was acknowledged, %s has %r' % (key, value, node.name, got)


@pytest.mark.parametrize('how', ['kill', 'pause'])
def test_a_replica_takes_over_with_every_acknowledged_write(lab, workers, how):
    cluster = lab.cluster(primaries=3, replicas=1, workers=workers)
    old = cluster.primaries()[0]
    new = cluster.replica_of(old)
    slots = [r for r in old.call('CLUSTER', 'SLOTS') if r[2][1] == old.port]
    epoch = int(new.cluster_info()['cluster_current_epoch'])
    acknowledged, unknown = write_until(cluster, old, old.kill if how == 'kill' else old.pause)

    struck = time.monotonic()
    wait_for(lambda: new.role() == 'master', 'the replica is promoted', FAILOVER_LIMIT_S)
    cluster.wait_ok(known=6)
    print('failover took %.1f s' % (time.monotonic() - struck))
    assert int(new.cluster_info()['cluster_current_epoch']) > epoch
    mine = [r[:2] for r in new.call('CLUSTER', 'SLOTS') if r[2][1] == new.port]
    assert mine == [r[:2] for r in slots]
    check_values(new, acknowledged, unknown)
    client = ClusterClient([new.port])
    for key in acknowledged:
        assert client.call('SET', key, 'after') == b'OK'

    if how == 'kill':
        old.start()
    else:
        old.resume()
    wait_for(lambda: old.role() == 'slave', 'the old primary comes back as a replica', 20)
    cluster.wait_ok()
    cluster.wait_links()
    assert cluster.replica_of(new) is old
    with new.connect() as connection:
        connection.call('SET', next(iter(acknowledged)), 'last')
        assert connection.call('WAIT', 1, 5000) == 1
    with old.connect() as connection:
        connection.call('READONLY')
        assert connection.call('GET', next(iter(acknowledged))) == b'last'
        for key in list(acknowledged)[1:]:
            assert connection.call('GET', key) == b'after'
    with pytest.raises(ReplyError, match='^MOVED'):
        old.call('SET', next(iter(acknowledged)), 'x')
    client.close()


def test_a_manual_failover_loses_nothing(lab, workers):
    cluster = lab.cluster(primaries=3, replicas=1, workers=workers)
    old = cluster.primaries()[0]
    new = cluster.replica_of(old)
    keys = keys_on(cluster, old, 30)
    errors, stopping, written = [], threading.Event(), {}

    def write():
        client = ClusterClient(cluster.ports)
        i = 0
        try:
            while not stopping.is_set():
                key = keys[i % len(keys)]
                assert client.call('SET', key, str(i)) == b'OK'
                written[key] = str(i).encode()
                i += 1
        except BaseException as error:
            errors.append(error)
        finally:
            client.close()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    time.sleep(0.3)
    assert new.call('CLUSTER', 'FAILOVER') == b'OK'
    wait_for(lambda: new.role() == 'master' and old.role() == 'slave', 'the two have changed places', FAILOVER_LIMIT_S)
    time.sleep(0.5)
    stopping.set()
    writer.join(15)
    assert not writer.is_alive() and not errors, errors
    cluster.wait_ok()
    with new.connect() as connection:
        for key, value in written.items():
            assert connection.call('GET', key) == value


def test_a_cluster_without_majority_refuses_and_recovers(lab):
    cluster = lab.cluster(primaries=3, replicas=0)
    survivor = cluster.nodes[0]
    key = keys_on(cluster, survivor, 1)[0]
    assert survivor.call('SET', key, '1') == b'OK'
    for node in cluster.nodes[1:]:
        node.pause()

    def refused():
        try:
            survivor.call('GET', key)
        except ReplyError as error:
            return error.code == 'CLUSTERDOWN'
    wait_for(refused, 'a node without majority refuses', FAILOVER_LIMIT_S)
    for node in cluster.nodes[1:]:
        node.resume()
    cluster.wait_ok()
    wait_for(lambda: survivor.call('GET', key) == b'1', 'it serves again')


def test_a_restarted_cluster_finds_itself_again(lab, workers):
    cluster = lab.cluster(primaries=3, replicas=1, options={'appendonly': 'no', 'save': '3600 1000000'},
                          workers=workers)
    client = ClusterClient(cluster.ports)
    for i in range(300):
        client.call('SET', 'k%d' % i, 'v%d' % i)
    client.close()
    for node in cluster.nodes:
        assert node.stop() == 0, node.log_tail()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ok()
    cluster.wait_links()
    client = ClusterClient(cluster.ports)
    for i in range(300):
        assert client.call('GET', 'k%d' % i) == b'v%d' % i
    client.close()
