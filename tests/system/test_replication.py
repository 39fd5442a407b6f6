"""A real redis-server works as Dunlin's primary and as its replica, and Dunlin with itself."""
import random
import threading
import time

import pytest

from harness import REDIS_SERVER, require, wait_for
from resp import Connection, ReplyError


@pytest.fixture(autouse=True)
def needs_replication(lab):
    require(lab, 'REPLICAOF')

DEBUG = {'enable-debug-command': 'yes', 'repl-ping-replica-period': 1, 'repl-diskless-sync-delay': 0}


@pytest.fixture(params=['redis-to-dunlin', 'dunlin-to-redis', 'dunlin-to-dunlin'])
def pair(request, lab, workers):
    """(primary, a node that is to be its replica and is not yet)."""
    primary, replica = request.param.split('-to-')

    def make(kind):
        return lab.redis(DEBUG) if kind == 'redis' else lab.node(DEBUG, workers=workers)
    return make(primary), make(replica)


def digest(node):
    return node.call('DEBUG', 'DIGEST')


def link(primary, replica):
    assert replica.call('REPLICAOF', '127.0.0.1', primary.port) == b'OK'
    wait_linked(replica)


def wait_linked(replica, timeout=20):
    wait_for(lambda: replica.info('replication').get('master_link_status') == 'up', 'the link is up', timeout)


def wait_same(primary, replica, timeout=15):
    """The replica has applied everything and holds the same data."""
    wait_for(lambda: primary.call('WAIT', 1, 1000) >= 0 and
             int(replica.info('replication')['master_repl_offset']) >=
             int(primary.info('replication')['master_repl_offset']), 'offsets are equal', timeout)
    # Keys expire meanwhile, on either side of a look at both.
    wait_for(lambda: digest(primary) == digest(replica), 'digests are equal', timeout)
    wait_for(lambda: primary.call('DBSIZE') == replica.call('DBSIZE'), 'as many keys', timeout)


def fill(node):
    """Data of every type in every shape, in two databases."""
    chance = random.Random(5)
    with node.connect() as connection:
        def call(*words):
            return connection.call(*words)
        for i in range(2000):
            call('SET', 'k:%d' % i, 'v' * chance.randrange(60))
        for value in (0, -1, 12, 9223372036854775807, -9223372036854775808, 70000, 3000000000):
            call('SET', 'int:%d' % value, value)
        call('SET', 'binary\0\r\n\xff', bytes(range(256)))
        call('SET', 'empty', '')
        call('SET', 'compressible', 'abc' * 20000)
        call('SET', 'huge', bytes(chance.randrange(256) for _ in range(1 << 20)))
        for i in range(200):
            call('SET', 'ttl:%d' % i, i, 'PX', 3600000 + i)
        call('HSET', 'hash:small', *[str(word) for i in range(20) for word in (i, i * i)])
        call('HSET', 'hash:long', 'field', 'x' * 5000, 'f' * 300, 'y')
        call('HSET', 'hash:big', *[word for i in range(3000) for word in ('field-%d' % i, 'value-%d' % i)])
        call('PEXPIRE', 'hash:big', 7200000)
        call('RPUSH', 'list:small', 'a', 1, 'b' * 100)
        call('RPUSH', 'list:big', *['element %d' % i for i in range(3000)])
        call('SADD', 'set:numbers', *range(100))
        call('SADD', 'set:small', 'a', 'b', 3)
        call('SADD', 'set:big', *['member %d' % i for i in range(3000)])
        call('ZADD', 'zset:small', 1, 'a', 2.5, 'b', '-inf', 'c')
        call('ZADD', 'zset:big', *[word for i in range(3000) for word in (i / 7, 'member %d' % i)])
        call('GEOADD', 'places', 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania')
        call('PFADD', 'hll:small', 'a', 'b', 'c')
        call('PFADD', 'hll:big', *range(5000))
        for i in range(300):
            call('XADD', 'stream', '%d-1' % (i + 1), 'n', i, *(['other', 'x'] if i % 7 == 0 else []))
        call('XGROUP', 'CREATE', 'stream', 'readers', '0')
        call('XREADGROUP', 'GROUP', 'readers', 'one', 'COUNT', 50, 'STREAMS', 'stream', '>')
        call('SELECT', 9)
        call('MSET', *[word for i in range(100) for word in ('nine:%d' % i, str(i))])


def change(node, seed):
    """Writes of every kind whose effect depends on state, chance or time."""
    chance = random.Random(seed)
    with node.connect() as connection:
        for i in range(1500):
            key = 'k:%d' % chance.randrange(300)
            words = chance.choice([
                ('SET', key, chance.randrange(10 ** 6)), ('APPEND', key, 'tail'), ('SETRANGE', key, 7, 'mid'),
                ('DEL', key), ('UNLINK', key), ('SET', key, 'x', 'NX'), ('SET', key, 'y', 'XX', 'KEEPTTL'),
                ('SET', key, 'z', 'EX', 1000), ('GETEX', key, 'PX', 5000000), ('GETDEL', key), ('GETSET', key, 'n'),
                ('EXPIRE', key, 500), ('PERSIST', key), ('INCRBYFLOAT', 'float', '0.1'), ('INCR', 'count'),
                ('HINCRBYFLOAT', 'hash:small', 'float', '1.5'), ('HINCRBY', 'hash:small', 'count', 3),
                ('HSET', 'hash:big', 'field-%d' % chance.randrange(4000), i), ('HSETNX', 'hash:small', 'nx%d' % i, i),
                ('HDEL', 'hash:big', 'field-%d' % chance.randrange(4000)), ('HSET', key + 'h', 'f', 'v' * (i % 200)),
                ('RENAME', 'count', 'count2'), ('COPY', 'hash:small', 'copy:%d' % (i % 5), 'REPLACE'),
                ('MSET', key, 1, key + 'b', 2), ('MSETNX', key, 1, key + 'c', 2), ('MOVE', key, 9),
                ('SETBIT', key + 'bits', i % 100, i % 2), ('SET', key, 'short', 'PX', 1),
                ('BITFIELD', key + 'bits', 'INCRBY', 'u8', i % 50, 200, 'OVERFLOW', 'FAIL', 'SET', 'i5', '#3', -20),
                ('LPUSH', 'list:big', i), ('RPOP', 'list:big', 3), ('LMOVE', 'list:big', 'list:small', 'LEFT', 'RIGHT'),
                ('LINSERT', 'list:big', 'BEFORE', 'element 2000', i), ('LREM', 'list:big', 1, 'element %d' % (i * 2)),
                ('LSET', 'list:big', -5, i), ('LTRIM', 'list:small', 0, 40), ('LMPOP', 2, 'none', 'list:big', 'RIGHT', 'COUNT', 2),
                ('SADD', 'set:small', i % 150), ('SPOP', 'set:big'), ('SPOP', 'set:big', 5), ('SMOVE', 'set:numbers', 'set:small', i % 100),
                ('SREM', 'set:big', 'member %d' % i), ('SUNIONSTORE', 'set:all', 'set:small', 'set:numbers'),
                ('ZADD', 'zset:big', 'GT', 'CH', i / 3, 'member %d' % chance.randrange(4000)), ('ZINCRBY', 'zset:small', 0.1, 'b'),
                ('ZPOPMIN', 'zset:big', 2), ('ZREMRANGEBYSCORE', 'zset:big', 20, 20.5), ('ZMPOP', 1, 'zset:big', 'MAX'),
                ('ZUNIONSTORE', 'zset:all', 2, 'zset:small', 'set:small', 'WEIGHTS', 2, 3), ('ZRANGESTORE', 'zset:part', 'zset:big', 5, 90),
                ('GEOSEARCHSTORE', 'near', 'places', 'FROMLONLAT', 15, 37, 'BYRADIUS', 150, 'km', 'STOREDIST'),
                ('PFADD', 'hll:small', i), ('PFCOUNT', 'hll:small'), ('PFMERGE', 'hll:all', 'hll:small', 'hll:big'),
                ('XADD', 'stream', '*', 'n', i), ('XADD', 'stream', 'MAXLEN', '~', 250, '*', 'n', i), ('XTRIM', 'stream', 'MAXLEN', 280),
                ('XREADGROUP', 'GROUP', 'readers', 'one', 'COUNT', 3, 'STREAMS', 'stream', '>'),
                ('XREADGROUP', 'GROUP', 'readers', 'two', 'COUNT', 2, 'NOACK', 'STREAMS', 'stream', '>'),
                ('XAUTOCLAIM', 'stream', 'readers', 'two', 0, '-', 'COUNT', 4), ('XACK', 'stream', 'readers', '%d-1' % (i % 300)),
                ('XDEL', 'stream', '%d-1' % (i % 300)), ('SORT', 'set:small', 'ALPHA', 'STORE', 'sorted'),
            ])
            try:
                connection.call(*words)
            except ReplyError as error:
                if error.code == 'ERR' and 'unknown command' in str(error):
                    raise
        connection.call('MULTI')
        for i in range(10):
            connection.call('SET', 'tx:%d' % i, seed)
        connection.call('SELECT', 9)
        connection.call('INCR', 'nine:0')
        connection.call('SELECT', 0)
        assert len(connection.call('EXEC')) == 13


def test_full_synchronisation_and_stream_give_the_same_data(pair):
    primary, replica = pair
    fill(primary)
    replica.call('SET', 'old', 'data of the replica goes')
    link(primary, replica)
    wait_same(primary, replica)
    assert replica.call('GET', 'old') is None
    for seed in range(4):
        change(primary, seed)
    wait_same(primary, replica)
    info = primary.info('replication')
    assert info['role'] == 'master' and info['connected_slaves'] == '1' and 'state=online' in info['slave0']
    assert 'port=%d' % replica.port in info['slave0']
    assert replica.info('replication')['master_replid'] == info['master_replid']
    role = replica.call('ROLE')
    assert role[:4] == [b'slave', b'127.0.0.1', primary.port, b'connected'] and role[4] > 0
    assert primary.call('ROLE')[2][0][:2] == [b'127.0.0.1', b'%d' % replica.port]
    primary.call('FLUSHDB')
    wait_same(primary, replica)
    primary.call('FLUSHALL')
    wait_same(primary, replica)
    assert replica.call('DBSIZE') == 0


@pytest.mark.parametrize('diskless', ['yes', 'no'])
def test_writes_during_a_full_synchronisation_are_not_lost(pair, diskless):
    primary, replica = pair
    primary.call('CONFIG', 'SET', 'repl-diskless-sync', diskless)
    primary.call('CONFIG', 'SET', 'repl-diskless-sync-delay', 0)
    fill(primary)
    with primary.connect() as connection:
        for i in range(60000):
            connection.send('SET', 'bulk:%d' % i, 'x' * 100)
        for _ in range(60000):
            assert connection.read() == b'OK'
    stopping = threading.Event()
    written = [0]

    def write():
        with Connection(primary.port) as connection:
            while not stopping.is_set():
                i = written[0]
                connection.call('SET', 'bulk:%d' % (i * 17 % 60000), 'during %d' % i)
                connection.call('HSET', 'hash:big', 'field-%d' % (i % 3000), 'during %d' % i)
                connection.call('DEL', 'k:%d' % (i % 2000))
                written[0] += 1
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        wait_for(lambda: written[0] > 50, 'writes are under way')
        link(primary, replica)
        time.sleep(0.3)
    finally:
        stopping.set()
        writer.join(10)
    wait_same(primary, replica)


@pytest.mark.parametrize('cut', ['at-primary', 'at-replica'])
def test_a_cut_link_is_continued_with_a_partial_resynchronisation(pair, cut):
    primary, replica = pair
    fill(primary)
    link(primary, replica)
    wait_same(primary, replica)
    for round_number in range(3):
        if cut == 'at-primary':
            assert primary.call('CLIENT', 'KILL', 'TYPE', 'replica') == 1
        else:
            assert replica.call('CLIENT', 'KILL', 'TYPE', 'master') == 1
        change(primary, round_number)
        wait_for(lambda: int(primary.info('stats')['sync_partial_ok']) == round_number + 1, 'a partial resync')
        wait_linked(replica)
        wait_same(primary, replica)
    assert primary.info('stats')['sync_full'] == '1'


def test_a_replica_that_missed_too_much_synchronises_fully(pair):
    primary, replica = pair
    primary.call('CONFIG', 'SET', 'repl-backlog-size', 16384)
    link(primary, replica)
    replica.pause()
    try:
        primary.call('CLIENT', 'KILL', 'TYPE', 'replica')
        for i in range(100):
            primary.call('SET', 'k:%d' % i, 'x' * 2000)
    finally:
        replica.resume()
    wait_for(lambda: int(primary.info('stats')['sync_full']) == 2, 'a second full synchronisation')
    wait_linked(replica)
    wait_same(primary, replica)
    assert int(primary.info('stats')['sync_partial_err']) >= 1


def test_wait_counts_replicas_that_have_the_write(pair):
    primary, replica = pair
    assert primary.call('WAIT', 0, 100) == 0
    started = time.monotonic()
    assert primary.call('WAIT', 1, 200) == 0
    assert 0.19 <= time.monotonic() - started < 2
    link(primary, replica)
    with primary.connect() as connection:
        for i in range(50):
            connection.call('SET', 'k', i)
            assert connection.call('WAIT', 1, 5000) == 1
            assert replica.call('GET', 'k') == b'%d' % i
        replica.pause()
        try:
            connection.call('SET', 'k', 'unseen')
            started = time.monotonic()
            assert connection.call('WAIT', 1, 300) == 0
            assert time.monotonic() - started >= 0.29
        finally:
            replica.resume()
        assert connection.call('WAIT', 1, 5000) == 1
    with pytest.raises(ReplyError, match='WAIT cannot be used with replica instances'):
        replica.call('WAIT', 0, 100)


def test_keys_expire_on_both_and_by_the_primary_only(pair):
    primary, replica = pair
    link(primary, replica)
    primary.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0')
    deadline_ms = int(time.time() * 1000) + 1000
    for i in range(100):
        primary.call('SET', 'short:%d' % i, 'v', 'PXAT', deadline_ms)
    primary.call('SET', 'long', 'v', 'EX', 1000)
    wait_for(lambda: replica.call('DBSIZE') == 101, 'the replica has the keys', 5)
    assert 0 < replica.call('PTTL', 'long') <= 1000000
    assert abs(replica.call('PEXPIRETIME', 'long') - primary.call('PEXPIRETIME', 'long')) <= 0
    time.sleep(max(0.0, deadline_ms / 1000 + 0.05 - time.time()))
    # The time is over and no DEL has come yet: a reader does not see the key, the replica still has it.
    assert replica.call('GET', 'short:0') is None
    assert replica.call('EXISTS', 'short:1') == 0
    assert replica.call('DBSIZE') >= 1
    primary.call('DEBUG', 'SET-ACTIVE-EXPIRE', '1')
    wait_for(lambda: primary.call('DBSIZE') == 1 and replica.call('DBSIZE') == 1, 'expired keys are gone on both')
    wait_same(primary, replica)


def test_a_replica_refuses_writes_and_serves_reads(pair):
    primary, replica = pair
    primary.call('SET', 'k', 'v')
    link(primary, replica)
    assert replica.call('GET', 'k') == b'v'
    with pytest.raises(ReplyError, match="^READONLY You can't write against a read only replica."):
        replica.call('SET', 'k', 'w')
    primary.pause()
    try:
        assert replica.call('GET', 'k') == b'v'
    finally:
        primary.resume()


def test_a_replica_without_link_says_so_when_it_may_not_serve_stale_data(pair):
    primary, replica = pair
    link(primary, replica)
    replica.call('CONFIG', 'SET', 'replica-serve-stale-data', 'no')
    text = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'"
    with replica.connect() as harmless, replica.connect() as reading:
        for connection, words in ((harmless, ('ECHO', 'a')), (reading, ('GET', 'k'))):
            connection.call('MULTI')
            connection.call(*words)
        primary.kill()
        wait_for(lambda: replica.info('replication')['master_link_status'] == 'down', 'the link is down')
        with pytest.raises(ReplyError, match='^' + text):
            replica.call('GET', 'k')
        with pytest.raises(ReplyError, match='^EXECABORT Transaction discarded because of: ' + text):
            reading.call('EXEC')
        assert harmless.call('EXEC') == [b'a']


def test_a_promoted_replica_is_followed_without_a_full_synchronisation(pair):
    """The old primary continues from the shared history of the two (the second replication id)."""
    primary, replica = pair
    fill(primary)
    link(primary, replica)
    change(primary, 3)
    wait_same(primary, replica)
    primary.call('CLIENT', 'PAUSE', 10000, 'WRITE')
    wait_same(primary, replica)
    assert replica.call('REPLICAOF', 'NO', 'ONE') == b'OK'
    primary.call('CLIENT', 'UNPAUSE')
    info = replica.info('replication')
    assert info['role'] == 'master'
    assert info['master_replid2'] == primary.info('replication')['master_replid'] != info['master_replid']
    replica.call('SET', 'after', 'promotion')
    full = int(replica.info('stats')['sync_full'])
    link(replica, primary)
    wait_same(replica, primary)
    assert primary.call('GET', 'after') == b'promotion'
    assert int(replica.info('stats')['sync_full']) == full
    assert int(replica.info('stats')['sync_partial_ok']) == 1


def test_a_chain_carries_writes_to_its_end(lab, workers):
    """redis, then Dunlin, then redis: the one in the middle passes the stream on as it came."""
    first = lab.redis(DEBUG)
    middle = lab.node(DEBUG, workers=workers)
    last = lab.node(DEBUG, binary=REDIS_SERVER)
    fill(first)
    link(first, middle)
    link(middle, last)
    change(first, 1)
    wait_for(lambda: digest(first) == digest(middle) == digest(last), 'all three have the same data')
    assert first.call('CLIENT', 'KILL', 'TYPE', 'replica') == 1
    change(first, 2)
    wait_linked(middle)
    wait_for(lambda: digest(first) == digest(middle) == digest(last), 'all three have the same data again')
    assert middle.info('stats')['sync_full'] == '1', 'the last one had to synchronise anew'
    ids = {node.info('replication')['master_replid'] for node in (first, middle, last)}
    assert len(ids) == 1


def test_a_primary_with_a_password_is_followed(lab, workers):
    primary = lab.redis({**DEBUG, 'requirepass': 'secret'})
    replica = lab.node({**DEBUG, 'masterauth': 'secret'}, workers=workers)
    link(primary, replica)
    with primary.connect() as connection:
        connection.call('AUTH', 'secret')
        connection.call('SET', 'k', 'v')
        assert connection.call('WAIT', 1, 5000) == 1
    assert replica.call('GET', 'k') == b'v'


def test_too_few_good_replicas_refuse_writes(pair):
    primary, replica = pair
    primary.call('CONFIG', 'SET', 'min-replicas-to-write', '1')
    with pytest.raises(ReplyError, match='^NOREPLICAS Not enough good replicas to write.'):
        primary.call('SET', 'k', 'v')
    link(primary, replica)
    wait_for(lambda: primary.call('SET', 'k', 'v') == b'OK', 'a good replica is there')
