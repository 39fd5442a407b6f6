"""Real clients through a cluster that dunlin-cli created."""
import os
import re
import shutil

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster

from harness import REDIS_BENCHMARK, REDIS_CLI, DUNLIN_CLI, ROOT, run
from resp import slot_of

SYSTEM = os.path.join(ROOT, 'tests', 'system')


@pytest.fixture
def cluster(lab, workers):
    return lab.cluster(primaries=3, replicas=1, workers=workers)


def test_create_gives_three_primaries_with_a_replica_each(cluster):
    primaries = cluster.primaries()
    assert len(primaries) == 3
    assert len({cluster.replica_of(primary).port for primary in primaries}) == 3
    check = run(DUNLIN_CLI, '--cluster', 'check', cluster.nodes[0].address).stdout
    assert '[OK] All 16384 slots covered.' in check
    check = run(REDIS_CLI, '--cluster', 'check', cluster.nodes[0].address).stdout
    assert '[OK] All 16384 slots covered.' in check


def test_redis_py_works_through_the_cluster(cluster):
    client = RedisCluster(startup_nodes=[ClusterNode('127.0.0.1', cluster.ports[0])], decode_responses=True)
    try:
        for i in range(1000):
            assert client.set('py:%d' % i, 'value-%d' % i)
        for i in range(1000):
            assert client.get('py:%d' % i) == 'value-%d' % i
        assert client.hset('py:hash', mapping={'a': 1, 'b': 2}) == 2
        assert client.hgetall('py:hash') == {'a': '1', 'b': '2'}
        assert client.mset({'{py}x': '1', '{py}y': '2'})
        assert client.mget('{py}x', '{py}y') == ['1', '2']
        assert client.incr('py:counter') == 1
        assert client.expire('py:counter', 100) and 0 < client.ttl('py:counter') <= 100
        with pytest.raises(redis.exceptions.RedisClusterException):
            client.rename('py:0', 'py:1')
        assert sorted(client.scan_iter('py:[0-9]*', count=100)) == sorted('py:%d' % i for i in range(1000))
        assert client.dbsize(target_nodes=RedisCluster.PRIMARIES) == 1004
        with client.pipeline() as pipe:
            for i in range(100):
                pipe.get('py:%d' % i)
            assert pipe.execute() == ['value-%d' % i for i in range(100)]
        assert client.cluster_keyslot('py:0') == slot_of('py:0')
        assert client.delete('{py}x', '{py}y') == 2
    finally:
        client.close()


def test_redis_py_reads_from_replicas(cluster):
    client = RedisCluster(startup_nodes=[ClusterNode('127.0.0.1', cluster.ports[0])], read_from_replicas=True)
    try:
        for i in range(100):
            client.set('r:%d' % i, str(i))
        for primary in cluster.primaries():
            replica = cluster.replica_of(primary)
            with primary.connect() as connection:
                key = next('r:%d' % i for i in range(100) if cluster.owner_of(slot_of('r:%d' % i)) is primary)
                connection.call('SET', key, 'last')
                assert connection.call('WAIT', 1, 5000) == 1
            with replica.connect() as connection:
                assert connection.call('READONLY') == b'OK'
                assert connection.call('GET', key) == b'last'
        assert client.get('r:0') in (b'0', b'last')
    finally:
        client.close()


def test_ioredis_works_through_the_cluster(cluster):
    if not os.path.isdir(os.path.join(SYSTEM, 'node_modules', 'ioredis')):
        pytest.fail('ioredis is missing: run scripts/setup', pytrace=False)
    done = run(shutil.which('node') or 'node', os.path.join(SYSTEM, 'ioredis_client.js'), *cluster.ports)
    assert done.stdout.strip() == 'ok 500'


@pytest.mark.parametrize('cli', [REDIS_CLI, DUNLIN_CLI], ids=['redis-cli', 'dunlin-cli'])
def test_command_line_clients_follow_redirections(cluster, cli):
    port = cluster.ports[0]
    foreign = next('k%d' % i for i in range(100) if cluster.owner_of(slot_of('k%d' % i)).port != port)
    moved = run(cli, '-p', port, 'SET', foreign, 'x', check=False).stdout
    assert moved.startswith('MOVED %d ' % slot_of(foreign)), moved
    assert run(cli, '-c', '-p', port, 'SET', foreign, 'x').stdout.strip() == 'OK'
    assert run(cli, '-c', '-p', port, 'GET', foreign).stdout.strip() == 'x'
    words = ''.join('SET cli:%d %d\n' % (i, i) for i in range(200)) + \
        ''.join('GET cli:%d\n' % i for i in range(200))
    replies = run(cli, '-c', '-p', port, stdin=words).stdout.split()
    assert [r for r in replies if r.isdigit()] == [str(i) for i in range(200)]


@pytest.mark.parametrize('pipeline', [1, 16])
def test_redis_benchmark_runs_through_the_cluster(cluster, pipeline):
    done = run(REDIS_BENCHMARK, '--cluster', '-p', cluster.ports[0], '-t', 'set,get,incr,hset,mset', '-n', 20000,
               '-P', pipeline, '-r', 10000, '-q', timeout=120)
    text = done.stdout + done.stderr
    assert not re.search(r'error|warning', text, re.I), text[-2000:]
    for name in ('SET', 'GET', 'INCR', 'HSET', 'MSET'):
        assert re.search(r'\b%s.*requests per second' % name, text), text
