"""While data is loaded at the start, clients are told so, and how far it is."""
import time

import pytest

from harness import wait_for
from resp import Closed, Connection, ReplyError


def asks(node, *words):
    """A reply, or an error, or None while nobody listens."""
    try:
        with Connection(node.port, timeout=5) as connection:
            connection.send(*words)
            return connection.read()
    except (OSError, Closed):
        return None


@pytest.mark.parametrize('kind', ['dump', 'log', 'log without base'])
def test_clients_hear_that_it_loads(lab, workers, kind):
    options = {'enable-debug-command': 'yes', 'save': '""', 'appendonly': 'no' if kind == 'dump' else 'yes'}
    node = lab.node(options, workers=workers)
    with node.connect() as connection:
        if kind == 'log without base':
            for begin in range(0, 200000, 1000):
                for i in range(begin, begin + 1000):
                    connection.send('SET', 'key:%d' % i, 'x' * 100)
                for _ in range(1000):
                    connection.read()
        else:
            connection.call('DEBUG', 'POPULATE', 700000, 'key', 50)
            connection.call('SADD', 'set', *range(1000))
            connection.call('SAVE' if kind == 'dump' else 'BGREWRITEAOF')
            wait_for(lambda: 'aof_rewrite_in_progress:1' not in node.call('INFO', 'persistence').decode(), 'it is written')
        digest, count = connection.call('DEBUG', 'DIGEST'), connection.call('DBSIZE')
    node.stop()
    node.spawn(node.conf_path)
    seen, switched = [], []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        reply = asks(node, 'PING')
        if reply == b'PONG':
            break
        if isinstance(reply, ReplyError):
            assert str(reply) == 'LOADING Redis is loading the dataset in memory'
            for words in (('GET', 'key:1'), ('DBSIZE',), ('KEYS', 'nothing'), ('EVAL', 'return 1', '0')):
                refused = asks(node, *words)
                assert not isinstance(refused, ReplyError) or refused.code == 'LOADING', (words, refused)
            switched.append(str(asks(node, 'CONFIG', 'SET', 'appendonly', options['appendonly'])))
            info = asks(node, 'INFO').decode()
            if 'loading:1' in info:
                seen.append(info)
        time.sleep(0.01)
    assert node.call('DEBUG', 'DIGEST') == digest and node.call('DBSIZE') == count
    assert seen, 'it was loaded before anybody could ask'
    assert switched[0] == 'LOADING Redis is loading the dataset in memory'
    fields = [dict(line.split(':', 1) for line in info.splitlines() if ':' in line) for info in seen]
    loaded = [int(each['loading_loaded_bytes']) for each in fields if 'loading_loaded_bytes' in each]
    assert loaded == sorted(loaded) and loaded
    assert all(0 <= float(each['loading_loaded_perc']) <= 100 for each in fields if 'loading_loaded_perc' in each)
    assert 'loading:0' in node.call('INFO', 'persistence').decode()
    assert 'loading_eta_seconds' not in node.call('INFO', 'persistence').decode()


def test_a_file_that_is_no_good_ends_the_start(lab, workers):
    node = lab.node({'save': '""'}, workers=workers)
    with node.connect() as connection:
        for i in range(1000):
            connection.call('SET', 'key:%d' % i, 'x' * 100)
        connection.call('SAVE')
    node.stop()
    path = node.folder + '/dump.rdb'
    with open(path, 'r+b') as dump:
        dump.seek(5000)
        dump.write(b'\xff' * 50)
    node.spawn(node.conf_path)
    assert node.process.wait(20) == 1
    assert 'The server does not start' in node.log_tail() or 'could not be loaded' in node.log_tail()


def test_values_of_every_size_are_loaded(lab, workers):
    """Tiny ones in thousands, some of a few megabytes, and some that no batch can hold; several databases, deadlines."""
    node = lab.node({'save': '""', 'enable-debug-command': 'yes', 'hash-max-listpack-entries': '4'}, workers=workers)
    with node.connect() as connection:
        connection.call('DEBUG', 'POPULATE', 50000, 'tiny', 8)
        for i in range(40):
            connection.call('SET', 'text:%d' % i, bytes([i]) * (i * 100003))
            connection.call('RPUSH', 'list:%d' % i, *['element:%d' % k for k in range(1 + i * 50)])
            connection.call('HSET', 'hash:%d' % i, *['field:%d' % k for k in range(2 + i * 2)])
        connection.call('SELECT', 5)
        connection.call('SET', 'huge text', b'x' * (17 << 20), 'EX', 100000)
        for begin in range(0, 18000, 1000):
            connection.call('SADD', 'huge set', *['%01000d' % k for k in range(begin, begin + 1000)])
        for i in range(1000):
            connection.call('SET', 'after:%d' % i, i, 'PX', 100000000 + i)
        digest, deadline = connection.call('DEBUG', 'DIGEST'), connection.call('PEXPIRETIME', 'after:7')
        assert connection.call('DEBUG', 'RELOAD') == b'OK'
        assert connection.call('DEBUG', 'DIGEST') == digest
        assert connection.call('PEXPIRETIME', 'after:7') == deadline
        assert connection.call('SCARD', 'huge set') == 18000
    node.stop()
    node.spawn(node.conf_path)
    wait_for(lambda: asks(node, 'PING') == b'PONG', 'it has loaded', 60)
    assert node.call('DEBUG', 'DIGEST') == digest


def test_damage_is_told_where_it_is(lab, workers):
    """However many threads meet it: the first place in the file, and nothing of it is kept."""
    node = lab.node({'save': '""', 'enable-debug-command': 'yes', 'rdbcompression': 'no', 'rdbchecksum': 'no',
                     'set-max-intset-entries': '1000'}, workers=workers)
    with node.connect() as connection:
        connection.call('DEBUG', 'POPULATE', 100000, 'key', 50)
        for i in range(200):
            connection.call('SADD', 'numbers:%d' % i, *range(100000, 100200))
        digest = connection.call('DEBUG', 'DIGEST')
        connection.call('SAVE')
        path = node.folder + '/dump.rdb'
        with open(path, 'rb') as dump:
            content = dump.read()
        places = []
        at = content.find(b'numbers:')
        while at >= 0:
            places.append(at)
            at = content.find(b'numbers:', at + 1)
        damaged = bytearray(content)
        for place in places[10:]:  # The width of the intset's numbers.
            width = damaged.index(b'\x04\x00\x00\x00\xc8\x00\x00\x00', place)
            damaged[width] = 7
        with open(path, 'wb') as dump:
            dump.write(damaged)
        connection.send('DEBUG', 'RELOAD', 'NOSAVE')
        reply = connection.read()
        assert isinstance(reply, ReplyError) and 'check server logs' in str(reply)
        assert connection.call('DEBUG', 'DIGEST') == digest
    said = [line for line in node.log_tail().splitlines() if 'at byte' in line]
    offset = int(said[-1].rsplit('(at byte ', 1)[1].split(')')[0])
    assert places[10] < offset < places[11]
