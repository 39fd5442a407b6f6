"""Random data sets of all types go from redis-server to Dunlin and back, as RDB and as logs, with equal digests.

DUNLIN_DATA_SETS sets how many (24 by default; 1000 for a long look), DUNLIN_SEED the first seed.
"""
import os
import random
import shutil

import pytest

from harness import REDIS_SERVER, is_stand_in, wait_for

COUNT = int(os.environ.get('DUNLIN_DATA_SETS', 24))
SEED = int(os.environ.get('DUNLIN_SEED', 1))
LATER_MS = 4102444800000  # Nothing expires meanwhile.

pytestmark = pytest.mark.skipif(is_stand_in() or not os.path.exists(REDIS_SERVER), reason='needs both servers')


def word(draw):
    kind = draw.randrange(8)
    if kind == 0:
        return b'%d' % draw.choice([0, -1, 63, 127, 128, -129, 32767, 2 ** 31, -2 ** 31 - 1, 2 ** 63 - 1, -2 ** 63])
    if kind == 1:
        return b'%d' % draw.randrange(-10 ** 6, 10 ** 6)
    if kind == 2:
        return draw.randbytes(draw.randrange(0, 40))
    if kind == 3:
        return b'abc' * draw.choice([1, 7, 21, 22, 30, 300])
    if kind == 4:
        return draw.randbytes(draw.choice([63, 64, 65, 255, 256, 4096]))
    return b'w%d' % draw.randrange(10 ** 6)


def size(draw):
    return draw.choice([1, 2, 5, 20, 127, 128, 129, 400, 600])


def stream(draw, key):
    entries = draw.choice([0, 1, 5, 99, 101, 250])
    commands = [('XADD', key, '%d-%d' % (index + 1, index % 3), *[
        part for field in range(draw.choice([1, 2, 2])) for part in (b'f%d' % (field + index % 7 // 6), word(draw))])
        for index in range(entries)]
    commands.append(('XGROUP', 'CREATE', key, 'first', '0', 'MKSTREAM'))
    for consumer in range(draw.randrange(4)):
        commands.append(('XREADGROUP', 'GROUP', 'first', 'c%d' % consumer, 'COUNT', draw.randrange(1, 30), 'STREAMS',
                         key, '>'))
    commands += [('XACK', key, 'first', '%d-%d' % (index + 1, index % 3)) for index in range(0, entries, 4)]
    commands += [('XDEL', key, '%d-%d' % (index + 1, index % 3)) for index in range(entries // 2, entries, 5)]
    commands.append(('XGROUP', 'CREATECONSUMER', key, 'first', word(draw)))
    commands.append(('XGROUP', 'CREATE', key, word(draw), '$'))
    return commands


def commands_of(seed):
    draw = random.Random(seed)
    commands = []
    for index in range(draw.randrange(1, 25)):
        if draw.random() < 0.2:
            commands.append(('SELECT', draw.randrange(16)))
        key = b'%d:%s' % (index, word(draw)[:300])
        kind = draw.randrange(8)
        count = size(draw)
        if kind < 2:
            commands.append(('SET', key, word(draw)))
        elif kind == 2:
            commands.append(('RPUSH', key, *[word(draw) for _ in range(count)]))
        elif kind == 3:
            commands.append(('SADD', key, *[draw.randrange(-10 ** 9, 10 ** 9) for _ in range(count)]))
        elif kind == 4:
            commands.append(('SADD', key, *[word(draw) for _ in range(count)]))
        elif kind == 5:
            commands.append(('HSET', key, *[word(draw) for _ in range(count * 2)]))
        elif kind == 6:
            commands.append(('ZADD', key, *[part for _ in range(count) for part in (
                draw.choice(['inf', '-inf', draw.random(), draw.randrange(-99, 99), draw.random() * 1e300]), word(draw))]))
        else:
            commands += stream(draw, key)
        if draw.random() < 0.3:
            commands.append(('PEXPIREAT', key, LATER_MS + draw.randrange(10 ** 6)))
    return commands


def fill(node, commands):
    with node.connect(timeout=20.0) as connection:
        connection.call('FLUSHALL')
        for command in commands:
            connection.send(*command)
        for _ in commands:
            connection.read()


def digest(node):
    return node.call('DEBUG', 'DIGEST')


def pair(lab, options):
    common = {'enable-debug-command': 'yes', **options}
    return lab.redis(common), lab.node(common, workers=2)


def hand_over(source, target):
    """The dump of one is loaded by the other."""
    source.call('SAVE')
    shutil.copy(os.path.join(source.folder, 'dump.rdb'), os.path.join(target.folder, 'dump.rdb'))
    target.call('DEBUG', 'RELOAD', 'NOSAVE')


def test_dumps_go_both_ways(lab):
    real, ours = pair(lab, {})
    for seed in range(SEED, SEED + COUNT):
        commands = commands_of(seed)
        fill(real, commands)
        expected = digest(real)
        ours.call('FLUSHALL')
        hand_over(real, ours)
        assert digest(ours) == expected, 'seed %d: a dump of redis-server' % seed
        fill(ours, commands)
        assert digest(ours) == expected, 'seed %d: the commands' % seed
        real.call('FLUSHALL')
        hand_over(ours, real)
        assert digest(real) == expected, 'seed %d: a dump of Dunlin' % seed


def rewrite(node):
    node.call('BGREWRITEAOF')
    wait_for(lambda: node.info('persistence')['aof_rewrite_in_progress'] == '0', 'the rewrite ends', every=0.005)
    assert node.info('persistence')['aof_last_bgrewrite_status'] == 'ok'


def restart_with_log_of(source, target):
    folder = os.path.join(target.folder, 'appendonlydir')
    target.kill()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(os.path.join(source.folder, 'appendonlydir'), folder)
    target.start()


@pytest.mark.parametrize('preamble', ['yes', 'no'])
def test_logs_go_both_ways(lab, preamble):
    real, ours = pair(lab, {'appendonly': 'yes', 'appendfsync': 'no', 'aof-use-rdb-preamble': preamble})
    for seed in range(SEED, SEED + max(1, COUNT // 2)):
        commands = commands_of(seed)
        for source, target in ((real, ours), (ours, real)):
            fill(source, commands[:-1])
            rewrite(source)
            with source.connect() as connection:  # The last one comes behind the base.
                connection.call('SET', 'behind', seed)
            expected = digest(source)
            restart_with_log_of(source, target)
            assert digest(target) == expected, 'seed %d: a log of %s' % (seed, source.name)
