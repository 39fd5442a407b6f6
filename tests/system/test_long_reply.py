"""Huge values are read and freed without holding others up, and without holding the whole reply."""
import socket
import threading
import time

import pytest

from harness import wait_for
from resp import Closed

MEMBERS = 100000  # Of 70 bytes each: more than the buffers of two sockets hold.
READS = {
    'set': [('SMEMBERS', 'big:set')],
    'hash': [('HGETALL', 'big:hash'), ('HKEYS', 'big:hash'), ('HVALS', 'big:hash')],
    'list': [('LRANGE', 'big:list', '0', '-1'), ('LRANGE', 'big:list', '1000', '-1000')],
    'zset': [('ZRANGE', 'big:zset', '0', '-1', 'WITHSCORES'), ('ZREVRANGE', 'big:zset', '0', '-1'),
             ('ZRANGEBYSCORE', 'big:zset', '5', '+inf')],
}


def name(i):
    return 'member:%057d' % i


def fill(connection, kind, count=MEMBERS):
    words = {'set': lambda i: [name(i)], 'hash': lambda i: [name(i), 'v%d' % i], 'list': lambda i: [name(i)],
             'zset': lambda i: [str(i), name(i)]}[kind]
    command = {'set': 'SADD', 'hash': 'HSET', 'list': 'RPUSH', 'zset': 'ZADD'}[kind]
    for begin in range(0, count, 1000):
        arguments = [word for i in range(begin, min(begin + 1000, count)) for word in words(i)]
        connection.call(command, 'big:' + kind, *arguments)


def expected(words):
    kind = words[1].split(':')[1]
    names = [name(i).encode() for i in range(MEMBERS)]
    if kind == 'set':
        return sorted(names)
    if kind == 'hash':
        values = [b'v%d' % i for i in range(MEMBERS)]
        return sorted({'HGETALL': names + values, 'HKEYS': names, 'HVALS': values}[words[0]])
    if kind == 'list':
        return names if words[2] == '0' else names[1000:MEMBERS - 999]
    if words[0] == 'ZREVRANGE':
        return names[::-1]
    if words[0] == 'ZRANGEBYSCORE':
        return names[5:]
    return [item for i in range(MEMBERS) for item in (names[i], b'%d' % i)]


def in_order(words, reply):
    return sorted(reply) if words[1] in ('big:set', 'big:hash') else reply


class SlowReader:
    """Has sent one command and reads its reply when it is told to."""

    def __init__(self, node, *words):
        self.connection = node.connect()
        self.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.connection.send(*words)

    def read(self):
        return self.connection.read()

    def close(self):
        self.connection.close()


def info(node, section, field):
    for line in node.call('INFO', section).decode().splitlines():
        if line.startswith(field + ':'):
            return int(line.split(':')[1])
    raise AssertionError(field)


@pytest.mark.parametrize('kind', sorted(READS))
def test_long_replies_are_whole(lab, workers, kind):
    node = lab.node({}, workers=workers)
    with node.connect() as connection:
        fill(connection, kind)
        for words in READS[kind]:
            wanted = expected(words)
            assert in_order(words, connection.call(*words)) == wanted
            # What comes behind it, on the same connection, comes behind it.
            for more in (words, ('PING',), words, ('GET', 'nothing')):
                connection.send(*more)
            assert in_order(words, connection.read()) == wanted
            assert connection.read() == b'PONG'
            assert in_order(words, connection.read()) == wanted
            assert connection.read() is None
            # And inside a transaction it is what it is.
            connection.send('MULTI')
            connection.send(*words)
            connection.send('DEL', 'nothing')
            connection.send('EXEC')
            assert [connection.read() for _ in range(3)] == [b'OK', b'QUEUED', b'QUEUED']
            both = connection.read()
            assert in_order(words, both[0]) == wanted and both[1] == 0


CHANGES = {
    'a write': [('SADD', 'big:set', 'one more')],
    'a delete': [('DEL', 'big:set')],
    'a rename': [('RENAME', 'big:set', 'other')],
    'another value': [('SET', 'big:set', 'text')],
    'a transaction': [('MULTI',), ('SPOP', 'big:set', '1000'), ('EXEC',)],
    'FLUSHALL': [('FLUSHALL',)],
    'SWAPDB': [('SWAPDB', '0', '1'), ('SELECT', '1'), ('SREM', 'big:set', name(7))],
    'a deadline': [('PEXPIRE', 'big:set', '1')],
}


@pytest.mark.parametrize('change', sorted(CHANGES))
def test_the_reply_is_what_was_there_when_it_was_asked_for(lab, workers, change):
    node = lab.node({}, workers=workers)
    with node.connect() as connection:
        fill(connection, 'set')
        before = connection.call('SCARD', 'big:set')
        readers = [SlowReader(node, 'SMEMBERS', 'big:set') for _ in range(3)]
        wait_for(lambda: node.call('CLIENT', 'LIST').decode().count('cmd=smembers') == 3, 'the readers have asked')
        for words in CHANGES[change]:
            connection.call(*words)
        if change == 'a deadline':
            wait_for(lambda: connection.call('EXISTS', 'big:set') == 0, 'the set has expired')
        for reader in readers:
            assert len(reader.read()) == before
            reader.close()
        assert connection.call('PING') == b'PONG'


def test_what_is_pushed_meanwhile_comes_behind(lab, workers):
    node = lab.node({}, workers=workers)
    with node.connect() as connection:
        fill(connection, 'set')
        reader = SlowReader(node, 'HELLO', '3')
        reader.read()
        reader.connection.send('SUBSCRIBE', 'news')
        reader.read()
        reader.connection.send('SMEMBERS', 'big:set')
        wait_for(lambda: 'cmd=smembers' in node.call('CLIENT', 'LIST').decode(), 'it has asked')
        assert connection.call('PUBLISH', 'news', 'hello') == 1
        replies = [reader.read(), reader.read()]
        sizes = sorted(len(reply) for reply in replies)
        assert sizes == [3, MEMBERS]
        reader.close()


def test_a_slow_reader_holds_little_memory_and_nobody_up(lab, workers):
    """Under an output limit that is far smaller than the reply."""
    node = lab.node({'client-output-buffer-limit': 'normal 2mb 0 0'}, workers=workers)
    with node.connect() as connection:
        fill(connection, 'set')
        used = info(node, 'memory', 'used_memory')
        readers = [SlowReader(node, 'SMEMBERS', 'big:set') for _ in range(5)]
        wait_for(lambda: node.call('CLIENT', 'LIST').decode().count('cmd=smembers') == 5, 'the readers have asked')
        for _ in range(100):
            assert connection.call('SISMEMBER', 'big:set', name(3)) == 1
        assert info(node, 'memory', 'used_memory') - used < 4 << 20
        for reader in readers:
            assert len(reader.read()) == MEMBERS
        # A write makes the rest be gathered, and that is over the limit: the writer goes on, the reader is closed.
        assert connection.call('SADD', 'big:set', 'one more') == 1
        last = SlowReader(node, 'SMEMBERS', 'big:set')
        wait_for(lambda: node.call('CLIENT', 'LIST').decode().count('cmd=smembers') == 6, 'it has asked')
        assert connection.call('SADD', 'big:set', 'another') == 1
        with pytest.raises(Closed):
            last.read()
        for reader in readers:
            reader.close()


def test_a_reader_that_leaves_leaves_nothing(lab, workers):
    node = lab.node({}, workers=workers)
    with node.connect() as connection:
        fill(connection, 'set')
        for _ in range(10):
            reader = SlowReader(node, 'SMEMBERS', 'big:set')
            wait_for(lambda: 'cmd=smembers' in node.call('CLIENT', 'LIST').decode(), 'it has asked')
            reader.close()
            assert connection.call('SADD', 'big:set', 'x') in (0, 1)
        readers = [SlowReader(node, 'SMEMBERS', 'big:set') for _ in range(3)]
        wait_for(lambda: node.call('CLIENT', 'LIST').decode().count('cmd=smembers') == 3, 'they have asked')
        connection.call('CLIENT', 'KILL', 'TYPE', 'normal')
        assert connection.call('DEL', 'big:set') == 1
        for reader in readers:
            reader.close()


def test_a_huge_set_goes_at_once(lab, workers):
    """DEL of ten million members returns at once; the memory comes back in the background."""
    node = lab.node({}, workers=workers)
    with node.connect() as connection:
        fill_ten_million = """
            for begin = 0, 9999000, 1000 do
                local members = {}
                for i = 1, 1000 do members[i] = begin + i .. 'm' end
                redis.call('SADD', KEYS[1], unpack(members))
            end
            return redis.call('SCARD', KEYS[1])"""
        connection.socket.settimeout(60)
        assert connection.call('EVAL', fill_ten_million, 1, 'big:set') == 10000000
        used = info(node, 'memory', 'used_memory')
        longest = [0.0]
        done = threading.Event()

        def probe():
            with node.connect() as prober:
                while not done.is_set():
                    began = time.monotonic()
                    prober.call('PING')
                    longest[0] = max(longest[0], time.monotonic() - began)
        prober = threading.Thread(target=probe)
        prober.start()
        began = time.monotonic()
        assert connection.call('DEL', 'big:set') == 1
        assert time.monotonic() - began < 0.1
        wait_for(lambda: info(node, 'memory', 'used_memory') < used / 4, 'the memory comes back')
        done.set()
        prober.join(10)
        assert longest[0] < 0.5
