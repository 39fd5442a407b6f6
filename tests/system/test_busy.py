"""A script that runs for long: others are told, and may end it."""
import contextlib
import threading
import time

import pytest

from harness import is_stand_in, wait_for
from resp import Closed
from resp import ReplyError as Error

OPTIONS = {'busy-reply-threshold': 200, 'enable-debug-command': 'yes'}
SPIN = "while true do end"
FUNCTION = """#!lua name=lib
redis.register_function('spin', function() while true do end end)
redis.register_function('stubborn', function() while true do pcall(function() while true do end end) end end)"""
TEXT = 'BUSY Redis is busy running a script. You can only call %s KILL or SHUTDOWN NOSAVE.'


@contextlib.contextmanager
def running(node, *words):
    """The command runs in the background until the block is over; its outcome is in the list then."""
    outcome = []

    def run():
        with contextlib.suppress(OSError, EOFError), node.connect(timeout=30) as connection:
            try:
                outcome.append(connection.call(*words))
            except Error as error:
                outcome.append(str(error))
            except Exception as error:  # The server has gone.
                outcome.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for(lambda: ask(node, 'GET', 'k').startswith('BUSY'), 'others are told')
        yield outcome
    finally:
        thread.join(20)


def ask(node, *words):
    try:
        return str(node.call(*words))
    except Error as error:
        return str(error)


@pytest.mark.parametrize('words, name, killer', [
    (('EVAL', SPIN, 0), r'', 'SCRIPT'), (('FCALL', 'spin', 0), 'spin', 'FUNCTION'),
    (('FCALL', 'stubborn', 0), 'stubborn', 'FUNCTION'),
    (('EVAL', "while true do redis.pcall('PING') end", 0), '', 'SCRIPT'),
    (('EVAL', "coroutine.wrap(function() while true do end end)()", 0), '', 'SCRIPT'),
    (('EVAL_RO', "while true do redis.call('GET', 'k') end", 0), '', 'SCRIPT')])
def test_it_is_killed(lab, workers, words, name, killer):
    node = lab.node(OPTIONS, workers=workers)
    node.call('FUNCTION', 'LOAD', FUNCTION)
    other = 'FUNCTION' if killer == 'SCRIPT' else 'SCRIPT'
    with running(node, *words) as outcome:
        for command in (('GET', 'k'), ('PING',), ('INFO',), ('CONFIG', 'GET', 'port'), (other, 'KILL'), ('SHUTDOWN',),
                        ('SHUTDOWN', 'SAVE'), ('EVAL', 'return 1', 0), ('FCALL', 'spin', 0), ('FUNCTION', 'LIST')):
            assert ask(node, *command) == TEXT % killer, command
        assert ask(node, 'GET') == "ERR wrong number of arguments for 'get' command"
        assert ask(node, 'NOSUCH').startswith('ERR unknown command')
        assert ask(node, killer, 'KILL') == "b'OK'"
    assert outcome[0].startswith('ERR Script killed by user with SCRIPT KILL... script: ' + name), outcome
    assert ask(node, 'PING') == "b'PONG'"
    assert ask(node, killer, 'KILL') == 'NOTBUSY No scripts in execution right now.'


def test_what_runs_is_told(lab):
    node = lab.node(OPTIONS)
    node.call('FUNCTION', 'LOAD', FUNCTION)
    with running(node, 'FCALL', 'spin', 0, 'word'):
        stats = node.call('FUNCTION', 'STATS')
        node.call('FUNCTION', 'KILL')
    assert stats[1][:4] == [b'name', b'spin', b'command', [b'FCALL', b'spin', b'0', b'word']]
    assert stats[1][4] == b'duration_ms' and stats[1][5] >= 200
    with running(node, 'EVAL', SPIN, 0):
        assert ask(node, 'FUNCTION', 'STATS') == TEXT % 'SCRIPT'
        node.call('SCRIPT', 'KILL')
    if not is_stand_in():
        assert 'Slow script detected' in node.log_text()


def test_one_that_wrote_is_not_killed(lab, workers):
    node = lab.node(OPTIONS, workers=workers)
    script = "redis.call('SET', 'a', 1) for i = 1, 3e8 do end redis.call('SET', 'b', 2) return 'end'"
    with running(node, 'EVAL', script, 0) as outcome:
        assert ask(node, 'SCRIPT', 'KILL').startswith('UNKILLABLE Sorry the script already executed write commands')
        assert ask(node, 'GET', 'a') == TEXT % 'SCRIPT'
    assert outcome == [b'end']
    assert node.call('MGET', 'a', 'b') == [b'1', b'2']


def test_shutdown_ends_one_that_wrote(lab, workers):
    """What it wrote is gone, and what was there before it is not."""
    node = lab.node({**OPTIONS, 'appendonly': 'yes'}, workers=workers)
    node.call('SET', 'before', 1)
    with running(node, 'EVAL', "redis.call('SET', 'a', 1) " + SPIN, 0):
        connection = node.connect()
        connection.send('SHUTDOWN', 'NOSAVE')
        wait_for(lambda: not node.is_running(), 'it has ended')
    node.start()
    assert node.call('MGET', 'before', 'a') == [b'1', None]


def test_transactions_and_watches_meanwhile(lab, workers):
    node = lab.node(OPTIONS, workers=workers)
    with node.connect() as first, node.connect() as second, node.connect() as third:
        first.call('MULTI')
        first.call('SET', 'x', 1)
        with running(node, 'EVAL', SPIN, 0):
            assert second.call('MULTI') == b'OK' and second.call('DISCARD') == b'OK'
            for connection in (first, second):
                with pytest.raises(Error, match='BUSY'):
                    connection.call('SET', 'x', 2)
            with pytest.raises(Error, match='EXECABORT Transaction discarded because of: BUSY'):
                first.call('EXEC')
            assert third.call('WATCH', 'w') == b'OK' and third.call('MULTI') == b'OK'
            with pytest.raises(Error, match='BUSY'):
                third.call('SET', 'w', 1)
            node.call('SCRIPT', 'KILL')
        with pytest.raises(Error, match='EXECABORT Transaction discarded because of previous errors'):
            third.call('EXEC')
        assert first.call('PING') == b'PONG'
        assert first.call('GET', 'x') is None


def test_clients_come_and_go_meanwhile(lab, workers):
    node = lab.node(OPTIONS, workers=workers)
    pipelined = b'*1\r\n$4\r\nPING\r\n' * 3000
    with node.connect() as early, node.connect() as half:
        half.send_raw(b'*2\r\n$4\r\nECHO\r\n$5\r\nhe')
        with running(node, 'EVAL', SPIN, 0):
            early.send_raw(pipelined)
            assert sum('BUSY' in str(early.read()) for _ in range(3000)) > 0
            for _ in range(200):
                with node.connect() as passer:
                    with pytest.raises(Error, match='BUSY'):
                        passer.call('GET', 'k')
            with node.connect() as leaver:
                assert leaver.call('QUIT') == b'OK'
                with pytest.raises(Closed):
                    leaver.read()
            with node.connect() as late:
                late.send_raw(b'*1\r\n$4\r\nPI')
                half.send_raw(b'l')
                node.call('SCRIPT', 'KILL')
        half.send_raw(b'lo\r\n')
        assert half.read() == b'hello'
        assert node.call('PING') == b'PONG'
    wait_for(lambda: int(node.info('clients')['connected_clients']) == 1, 'those that left are gone')


def test_blocked_clients_and_subscribers_keep_waiting(lab, workers):
    node = lab.node(OPTIONS, workers=workers)
    with node.connect() as waiter, node.connect() as subscriber:
        waiter.send('BLPOP', 'list', 10)
        subscriber.call('SUBSCRIBE', 'ch')
        wait_for(lambda: node.info('clients')['blocked_clients'] == '1', 'it waits')
        with running(node, 'EVAL', SPIN, 0):
            node.call('SCRIPT', 'KILL')
        node.call('RPUSH', 'list', 'v')
        node.call('PUBLISH', 'ch', 'm')
        assert waiter.read() == [b'list', b'v']
        assert subscriber.read() == [b'message', b'ch', b'm']


def test_the_threshold_changes_at_run_time(lab):
    node = lab.node({})
    assert node.call('CONFIG', 'GET', 'lua-time-limit') == [b'lua-time-limit', b'5000']
    node.call('CONFIG', 'SET', 'lua-time-limit', '100')
    assert node.call('CONFIG', 'GET', 'busy-reply-threshold') == [b'busy-reply-threshold', b'100']
    began = time.monotonic()
    with running(node, 'EVAL', SPIN, 0):
        assert time.monotonic() - began < 4
        node.call('SCRIPT', 'KILL')
    node.call('CONFIG', 'SET', 'busy-reply-threshold', 0)
    assert node.call('EVAL', 'for i = 1, 1e8 do end return 1', 0, timeout=30) == 1


def test_under_load(lab):
    """Many clients on four workers while scripts are started and killed: every answer is an answer."""
    node = lab.node(OPTIONS, workers=4)
    stop, wrong = threading.Event(), []

    def hammer(number):
        with node.connect(timeout=30) as connection:
            count = 0
            while not stop.is_set():
                try:
                    connection.call('SET', 'key:%d' % number, count)
                    count += 1
                    if connection.call('GET', 'key:%d' % number) != b'%d' % (count - 1):
                        wrong.append(number)
                except Error as error:
                    if not str(error).startswith('BUSY'):
                        wrong.append(str(error))
    threads = [threading.Thread(target=hammer, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        with running(node, 'EVAL', SPIN, 0) as outcome:
            wait_for(lambda: ask(node, 'SCRIPT', 'KILL') == "b'OK'", 'killed')
        assert 'Script killed' in outcome[0]
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not wrong
