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
    seen = []
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
            info = asks(node, 'INFO').decode()
            if 'loading:1' in info:
                seen.append(info)
        time.sleep(0.01)
    assert node.call('DEBUG', 'DIGEST') == digest and node.call('DBSIZE') == count
    assert seen, 'it was loaded before anybody could ask'
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
