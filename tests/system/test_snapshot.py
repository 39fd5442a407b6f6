"""A snapshot is the data as it was when it began, whatever clients do meanwhile, and nobody waits for its disk.

What a save wrote is loaded by a second node, whose DEBUG DIGEST is compared with the one that was taken in the same
transaction as BGSAVE."""
import os
import random
import shutil
import threading
import time

import pytest

from harness import is_stand_in, wait_for

pytestmark = pytest.mark.skipif(is_stand_in(), reason='asks for figures and options of Dunlin')

DEBUG = {'enable-debug-command': 'yes'}
SMALL_KEYS = 1500
HUGE_ELEMENTS = 12000  # Of 40 bytes and more: each of the huge values is over half a megabyte.
KINDS = ('hash', 'list', 'set', 'zset', 'stream', 'string')


def element(i):
    return 'element:%032d' % i


def fill_huge(connection, key, kind, count=HUGE_ELEMENTS):
    if kind == 'string':
        connection.call('SET', key, random.Random(count).randbytes(count * 40))
        return
    for begin in range(0, count, 1000):
        part = range(begin, min(begin + 1000, count))
        if kind == 'hash':
            connection.call('HSET', key, *[word for i in part for word in (element(i), 'v%d' % i)])
        elif kind == 'list':
            connection.call('RPUSH', key, *[element(i) for i in part])
        elif kind == 'set':
            connection.call('SADD', key, *[element(i) for i in part])
        elif kind == 'zset':
            connection.call('ZADD', key, *[word for i in part for word in (str(i), element(i))])
        else:
            for i in part:
                connection.send('XADD', key, '%d-1' % (i + 1), 'field', element(i))
            for _ in part:
                connection.read()
    if kind == 'stream':
        connection.call('XGROUP', 'CREATE', key, 'group', '0')
        connection.call('XREADGROUP', 'GROUP', 'group', 'reader', 'COUNT', str(count), 'STREAMS', key, '>')


def fill_small(connection, rng):
    for i in range(SMALL_KEYS):
        kind = KINDS[i % len(KINDS)]
        key = 'small:%d' % i
        words = {'hash': ('HSET', key, 'f', i, 'g', 'x'), 'list': ('RPUSH', key, 'a', i), 'set': ('SADD', key, i, 'b'),
                 'zset': ('ZADD', key, i, 'm'), 'stream': ('XADD', key, '1-1', 'f', 'v'), 'string': ('SET', key, 'v' * rng.randrange(3000))}
        connection.send(*[str(word) for word in words[kind]])
        connection.send('PEXPIRE', key, str(rng.choice((1500, 100000000)))) if i % 7 == 0 else connection.send('PING')
    for _ in range(2 * SMALL_KEYS):
        connection.read()


def fill(node, rng):
    with node.connect() as connection:
        fill_small(connection, rng)
        for db in (0, 3):
            connection.call('SELECT', str(db))
            for kind in KINDS:
                fill_huge(connection, 'huge:' + kind, kind, rng.choice((3000, HUGE_ELEMENTS)))
                fill_huge(connection, 'other:' + kind, kind, 3000)


def begin_save(node):
    """The digest of what is there at the moment a save begins."""
    with node.connect() as connection:
        connection.call('MULTI')
        connection.call('DEBUG', 'DIGEST')
        connection.call('BGSAVE')
        digest, started = connection.call('EXEC')
    assert started == b'Background saving started', started
    return digest


def wait_saved(node, timeout=30.0):
    wait_for(lambda: node.info('persistence')['rdb_bgsave_in_progress'] == '0', 'the save to end', timeout)
    assert node.info('persistence')['rdb_last_bgsave_status'] == 'ok'


def digest_of_file(lab, node):
    """Loaded by a replica of nobody, which deletes nothing that has expired; nor does DEBUG RELOAD."""
    other = lab.node({**DEBUG, 'replicaof': '127.0.0.1 1'})
    shutil.copy(os.path.join(node.folder, 'dump.rdb'), other.folder)
    assert other.call('DEBUG', 'RELOAD', 'NOSAVE', timeout=30) == b'OK'
    digest = other.call('DEBUG', 'DIGEST', timeout=30)
    other.stop()
    return digest


def any_key(rng):
    return rng.choice(('huge:', 'other:')) + rng.choice(KINDS) if rng.random() < 0.4 else 'small:%d' % rng.randrange(SMALL_KEYS)


def change_inside(rng, key):
    kind = key.split(':')[1] if not key.startswith('small') else KINDS[int(key.split(':')[1]) % len(KINDS)]
    i = rng.randrange(HUGE_ELEMENTS)
    return {
        'hash': (('HSET', key, element(i), 'changed'), ('HDEL', key, element(i)), ('HINCRBY', key, 'n', '1')),
        'list': (('LPUSH', key, 'x'), ('RPOP', key), ('LSET', key, '0', 'y'), ('LTRIM', key, '1', '-2')),
        'set': (('SADD', key, 'n%d' % i), ('SREM', key, element(i)), ('SPOP', key, '3')),
        'zset': (('ZADD', key, str(i), 'n'), ('ZREM', key, element(i)), ('ZPOPMIN', key, '2')),
        'stream': (('XADD', key, '*', 'f', 'v'), ('XDEL', key, '%d-1' % (i + 1)), ('XACK', key, 'group', '%d-1' % (i + 1)),
                   ('XTRIM', key, 'MAXLEN', '100')),
        'string': (('APPEND', key, 'tail'), ('SETRANGE', key, '7', 'middle'), ('SETBIT', key, '9', '1')),
    }[kind]


def one_change(rng):
    key = any_key(rng)
    kind = rng.random()
    if kind < 0.55:
        return rng.choice(change_inside(rng, key))
    return rng.choice((
        ('DEL', key), ('UNLINK', key), ('SET', key, 'a string now'), ('RENAME', key, any_key(rng)),
        ('COPY', key, any_key(rng), 'REPLACE'), ('MOVE', key, str(rng.randrange(4))), ('EXPIRE', key, '1000'),
        ('PEXPIRE', key, '1'), ('PERSIST', key), ('SUNIONSTORE', key, 'huge:set', 'other:set'),
        ('ZUNIONSTORE', key, '1', 'huge:zset'), ('SORT', 'other:list', 'ALPHA', 'STORE', key), ('GETDEL', key),
        ('EVAL', "redis.call('DEL', KEYS[1]); return redis.call('RPUSH', KEYS[1], 'a')", '1', key),
        ('EVAL', "return redis.call('EXPIRE', KEYS[1], 500)", '1', key),
        ('EVAL', "if redis.call('TYPE', KEYS[1]).ok == 'hash' then redis.call('HSET', KEYS[1], 'by', 'script') end", '1', key),
        ('SELECT', str(rng.choice((0, 0, 3, 5))),), ('SET', 'new:%d' % rng.randrange(1000), 'x' * rng.randrange(20000)),
        ('MULTI',), ('EXEC',),
    ))


class Changer(threading.Thread):
    """Changes keys at random until it is told to stop."""

    def __init__(self, node, seed, is_rough):
        super().__init__(daemon=True)
        self.connection = node.connect()
        self.rng = random.Random(seed)
        self.is_rough = is_rough
        self.stopping = threading.Event()
        self.count = 0
        self.longest = 0.0
        self.error = None

    def run(self):
        try:
            while not self.stopping.is_set():
                words = one_change(self.rng)
                if self.is_rough and self.rng.random() < 0.01:
                    words = self.rng.choice((('SWAPDB', '0', '3'), ('SWAPDB', '0', '5'), ('FLUSHDB',), ('FLUSHALL',)))
                began = time.monotonic()
                self.connection.send(*words)
                self.connection.read()
                self.longest = max(self.longest, time.monotonic() - began)
                self.count += 1
        except Exception as error:  # Shown by the test.
            self.error = error

    def stop(self):
        self.stopping.set()
        self.join(20)
        assert not self.is_alive() and self.error is None, self.error


@pytest.mark.parametrize('seed', [1, 2])
def test_a_save_is_what_was_there_when_it_began(lab, workers, seed):
    rng = random.Random(seed)
    node = lab.node({**DEBUG, 'rdb-key-save-delay': 300, 'rdbcompression': rng.choice(('yes', 'no'))}, workers=workers)
    fill(node, rng)
    changers = [Changer(node, seed * 100 + i, is_rough=seed == 2) for i in range(4)]
    digest = begin_save(node)
    for changer in changers:
        changer.start()
    wait_saved(node)
    for changer in changers:
        changer.stop()
    assert sum(changer.count for changer in changers) > 100
    assert int(node.info('persistence')['snapshot_preimages']) > 0
    assert digest_of_file(lab, node) == digest
    # What was marked for that save is of no account for the next.
    digest = begin_save(node)
    wait_saved(node)
    assert digest_of_file(lab, node) == digest


@pytest.mark.parametrize('kind', KINDS)
def test_a_huge_value_is_written_first_when_a_client_would_change_it(lab, kind):
    node = lab.node({**DEBUG, 'rdb-key-save-delay': 2000}, workers=2)
    with node.connect() as connection:
        fill_small(connection, random.Random(1))
        fill_huge(connection, 'huge:' + kind, kind)
        digest = begin_save(node)
        began = time.monotonic()
        change = change_inside(random.Random(5), 'huge:' + kind)[0]
        connection.call(*change)
        took = time.monotonic() - began
        figures = node.info('persistence')
        assert figures['rdb_bgsave_in_progress'] == '1', 'the save was over too soon to see anything'
        assert took < 1.0, 'the writer waited for the whole pass'
        connection.call('CONFIG', 'SET', 'rdb-key-save-delay', '0')
    wait_saved(node)
    assert digest_of_file(lab, node) == digest


@pytest.mark.parametrize('change', [('DEL',), ('SET',), ('UNLINK',), ('PEXPIRE', '1'), ('FLUSHALL',), ('SCRIPT',), ('EXEC',)])
def test_a_huge_value_may_go_as_a_whole(lab, change):
    node = lab.node({**DEBUG, 'rdb-key-save-delay': 2000}, workers=1)
    with node.connect() as connection:
        fill_small(connection, random.Random(1))
        for kind in KINDS:
            fill_huge(connection, 'huge:' + kind, kind)
        digest = begin_save(node)
        for kind in KINDS:
            key = 'huge:' + kind
            if change[0] == 'FLUSHALL':
                connection.call('FLUSHALL')
            elif change[0] == 'SET':
                connection.call('SET', key, 'v')
            elif change[0] == 'SCRIPT':
                connection.call('EVAL', "return redis.call('RENAME', KEYS[1], KEYS[2])", '2', key, 'gone:' + kind)
            elif change[0] == 'EXEC':
                connection.call('MULTI')
                connection.call('PEXPIRE', key, '100000')
                connection.call('RENAME', key, 'gone:' + kind)
                connection.call('EXEC')
            else:
                connection.call(change[0], key, *change[1:])
        time.sleep(0.05)
        assert connection.call('EXISTS', *['huge:' + kind for kind in KINDS]) == (len(KINDS) if change[0] == 'SET' else 0)
        connection.call('CONFIG', 'SET', 'rdb-key-save-delay', '0')
    wait_saved(node)
    assert digest_of_file(lab, node) == digest


def test_writes_wait_when_too_much_is_held(lab):
    node = lab.node({**DEBUG, 'rdb-key-save-delay': 2000, 'snapshot-buffer-limit': '1mb', 'rdbcompression': 'no'}, workers=2)
    with node.connect() as connection:
        for i in range(400):
            connection.call('SET', 'k%d' % i, bytes(random.Random(i).randbytes(30000)))
        digest = begin_save(node)
        for i in range(400):
            connection.call('SET', 'k%d' % i, 'new')
    figures = node.info('persistence')
    wait_saved(node)
    assert int(figures['snapshot_held_bytes_max']) < 3 << 20, figures
    assert digest_of_file(lab, node) == digest


def test_a_dump_that_would_bring_back_what_was_flushed_is_followed_by_another(lab, workers):
    node = lab.node({**DEBUG, 'rdb-key-save-delay': 300, 'save': '3600 1000000'}, workers=workers)
    with node.connect() as connection:
        connection.call('DEBUG', 'POPULATE', 10000)
        begin_save(node)
        assert connection.call('FLUSHALL') == b'OK'
        empty = connection.call('DEBUG', 'DIGEST')
        connection.call('CONFIG', 'SET', 'rdb-key-save-delay', 0)
    wait_for(lambda: digest_of_file(lab, node) == empty, 'the next dump has nothing of it')


def test_a_dump_goes_where_it_was_to_go_when_it_began(lab):
    """Whatever `dir` and `dbfilename` have become; and never in the place of one that was made later."""
    node = lab.node({**DEBUG, 'rdb-key-save-delay': 300, 'enable-protected-configs': 'yes'})
    other = os.path.join(node.folder, 'other')
    os.mkdir(other)
    with node.connect() as connection:
        connection.call('DEBUG', 'POPULATE', 10000)
        begin_save(node)
        connection.call('CONFIG', 'SET', 'dir', other)
        connection.call('CONFIG', 'SET', 'dbfilename', 'other.rdb')
        connection.call('CONFIG', 'SET', 'rdb-key-save-delay', 0)
        wait_saved(node)
        assert os.path.exists(os.path.join(node.folder, 'dump.rdb')) and not os.listdir(other)
        connection.call('SAVE')
        assert os.listdir(other) == ['other.rdb']
