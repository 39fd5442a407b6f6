"""The append-only file: what it holds, what a restart brings back, and that real servers read it and write for it."""
import glob
import json
import os
import random
import re
import resource
import shutil
import subprocess
import time

import pytest

from harness import DUNLIN_SERVER, REDIS_SERVER, SHARED, StartFailed, is_stand_in, wait_for
from resp import ReplyError

SAMPLES = os.path.join(SHARED, 'spec', 'samples', 'aof', 'redis-7.0.15')
AOF = {'appendonly': 'yes', 'enable-debug-command': 'yes'}
POLICIES = ['always', 'everysec', 'no']

needs_redis = pytest.mark.skipif(not os.path.exists(REDIS_SERVER), reason='no redis-server')
pytestmark = pytest.mark.skipif(is_stand_in() and not os.path.exists(DUNLIN_SERVER), reason='no server')


def folder(node):
    return os.path.join(node.folder, 'appendonlydir')


def files(node, pattern='*'):
    return sorted(os.path.basename(path) for path in glob.glob(os.path.join(folder(node), pattern)))


def manifest(node):
    with open(os.path.join(folder(node), 'appendonly.aof.manifest')) as text:
        return text.read().splitlines()


def increment(node):
    """The bytes of the last increment."""
    name = [line.split()[1] for line in manifest(node) if line.endswith('type i')][-1]
    with open(os.path.join(folder(node), name), 'rb') as content:
        return content.read()


def words(log):
    """The commands of a log, a list of words each."""
    found, at = [], 0
    while at < len(log):
        if log[at:at + 1] == b'#':
            at = log.index(b'\n', at) + 1
            continue
        end = log.index(b'\r\n', at)
        count, at, command = int(log[at + 1:end]), end + 2, []
        for _ in range(count):
            end = log.index(b'\r\n', at)
            size = int(log[at + 1:end])
            command.append(log[end + 2:end + 2 + size])
            at = end + 2 + size + 2
        found.append(command)
    return found


def digest(node):
    return node.call('DEBUG', 'DIGEST')


def write_everything(connection, seed, count=400):
    """Commands of all types, in two databases, some in transactions, some without an effect."""
    draw = random.Random(seed)
    for index in range(count):
        key = 'key:%d' % draw.randrange(40)
        number = draw.randrange(1000)
        command = draw.choice([
            ('SET', 's' + key, number), ('APPEND', 's' + key, 'x' * draw.randrange(30)), ('INCR', 'n' + key),
            ('SETEX', 's' + key, 1000, number), ('INCRBYFLOAT', 'f' + key, '0.25'), ('DEL', 's' + key),
            ('RPUSH', 'l' + key, number, number + 1), ('LPOP', 'l' + key), ('SADD', 'e' + key, number),
            ('SPOP', 'e' + key), ('HSET', 'h' + key, number, index), ('HINCRBYFLOAT', 'h' + key, 'f', '1.5'),
            ('ZADD', 'z' + key, '%d.5' % number, number), ('ZPOPMIN', 'z' + key), ('EXPIRE', 'h' + key, 500),
            ('XADD', 'x' + key, '*', 'f', number), ('SETRANGE', 's' + key, 5, 'abc'), ('PERSIST', 'h' + key),
            ('RENAME', 's' + key, 's' + key + 'b'), ('COPY', 'l' + key, 'l' + key + 'c', 'REPLACE'),
            ('SELECT', draw.randrange(2)), ('MSET', 'a' + key, 1, 'b' + key, 2), ('GETEX', 's' + key, 'PX', 9999999),
        ])
        try:
            if draw.random() < 0.1:
                connection.call('MULTI')
                for _ in range(3):
                    connection.call(*command) if command[0] != 'SELECT' else None
                connection.call('EXEC')
            else:
                connection.call(*command)
        except ReplyError:
            pass


def crash(node):
    node.kill()
    return node.start()


@pytest.mark.parametrize('policy', POLICIES)
def test_what_was_answered_survives_a_kill(lab, policy, workers):
    node = lab.node({**AOF, 'appendfsync': policy}, workers=workers)
    with node.connect() as connection:
        write_everything(connection, 1)
    before = digest(node)
    crash(node)
    assert digest(node) == before
    assert node.info('persistence')['rdb_changes_since_last_save'] == '0'
    with node.connect() as connection:
        write_everything(connection, 2)
    before = digest(node)
    assert node.stop() == 0
    node.start()
    assert digest(node) == before


def test_the_log_has_effects_selects_and_whole_units(lab):
    node = lab.node(AOF)
    with node.connect() as connection:
        for command in [('SET', 'k', 'v', 'EX', '1000'), ('SELECT', '3'), ('SET', 'a', '1'), ('GET', 'a'),
                        ('PUBLISH', 'c', 'm'), ('MULTI',), ('INCR', 'a'), ('PUBLISH', 'c', 'm'), ('EXEC',),
                        ('MULTI',), ('SET', 'b', '1'), ('INCR', 'b'), ('EXEC',), ('SADD', 'e', 'm'), ('SPOP', 'e'),
                        ('FLUSHALL',)]:
            connection.call(*command)
    log = [b' '.join(command) for command in words(increment(node))]
    assert re.fullmatch(rb'SET k v PXAT \d{13}', log.pop(1))
    assert log == [b'SELECT 0', b'SELECT 3', b'SET a 1', b'INCR a', b'MULTI', b'SET b 1', b'INCR b', b'EXEC',
                   b'SADD e m', b'SREM e m', b'FLUSHALL']


def test_timestamps(lab):
    node = lab.node({**AOF, 'aof-timestamp-enabled': 'yes'})
    node.call('SET', 'k', 'v')
    assert re.match(rb'#TS:%d\d\r\n\*2\r\n\$6\r\nSELECT' % (int(time.time()) // 10), increment(node))
    before = digest(node)
    assert digest(crash(node)) == before


def test_expired_keys_go_from_the_log_as_well(lab):
    node = lab.node(AOF)
    node.call('SET', 'k', 'v', 'PX', '30')
    wait_for(lambda: words(increment(node))[-1] in ([b'DEL', b'k'], [b'UNLINK', b'k']), 'it is deleted in the log')
    assert crash(node).call('DBSIZE') == 0


# -- damaged files --

def prepared(lab, options=None, **kwargs):
    """A node that has ended, with a base and an increment."""
    node = lab.node({**AOF, **(options or {})}, **kwargs)
    for index in range(20):
        node.call('SET', 'k%d' % index, 'v' * 10)
    assert node.stop() == 0
    return node, os.path.join(folder(node), files(node, '*.incr.aof')[-1])


def refusal(node):
    with pytest.raises(StartFailed):
        node.start()
    assert node.process.wait(10) == 1
    return node.log_text()


def test_a_truncated_tail_is_cut_off_or_refused(lab):
    node, path = prepared(lab)
    whole = os.path.getsize(path)
    os.truncate(path, whole - 5)
    node.options['aof-load-truncated'] = 'no'
    node.write_conf()
    assert 'Unexpected end of file reading the append only file' in refusal(node)
    assert os.path.getsize(path) == whole - 5
    node.options['aof-load-truncated'] = 'yes'
    node.write_conf()
    node.start()
    assert node.call('DBSIZE') == 19
    assert 'loaded anyway because aof-load-truncated is enabled' in node.log_text()
    node.call('SET', 'more', 'v')
    assert crash(node).call('DBSIZE') == 20


def test_a_tail_before_an_empty_file_is_cut_off(lab):
    """The process ended while it began another file, amid a last write to the one before."""
    node, path = prepared(lab)
    os.truncate(path, os.path.getsize(path) - 1)
    manifest = os.path.join(folder(node), 'appendonly.aof.manifest')
    number = int(path.split('.')[-3]) + 1
    following = os.path.join(folder(node), 'appendonly.aof.%d.incr.aof' % number)
    with open(manifest, 'a') as lines:
        lines.write('file %s seq %d type i\n' % (os.path.basename(following), number))
    with open(following, 'w') as log:
        log.write('*1\r\n$4\r\nPING\r\n')
    assert 'the truncated file is not the last file' in refusal(node)
    open(following, 'w').close()
    node.start()
    assert node.call('DBSIZE') == 19
    node.call('SET', 'more', 'v')
    assert os.path.getsize(following) > 0
    assert crash(node).call('DBSIZE') == 20


def test_an_open_transaction_is_taken_back(lab):
    node, path = prepared(lab)
    whole = os.path.getsize(path)
    with open(path, 'ab') as log:
        log.write(b'*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nz\r\n$1\r\n1\r\n')
    node.start()
    assert node.call('EXISTS', 'z') == 0
    assert 'Revert incomplete MULTI/EXEC transaction' in node.log_text()
    assert os.path.getsize(path) == whole


def test_damage_in_the_middle_is_refused(lab):
    node, path = prepared(lab)
    with open(path, 'r+b') as log:
        log.seek(100)
        log.write(b'\0\0\0\0')
    assert 'Bad file format reading the append only file' in refusal(node)


def test_a_missing_file_or_manifest_is_refused(lab):
    node, path = prepared(lab)
    os.rename(path, path + '.aside')
    assert 'Unable to obtain the AOF file' in refusal(node)
    os.rename(path + '.aside', path)
    os.remove(os.path.join(folder(node), 'appendonly.aof.manifest'))
    assert 'is listed nowhere' in refusal(node)


def test_options_that_cannot_be(lab):
    node = lab.node({**AOF, 'appendfilename': 'a/b'}, start=False)
    assert "appendfilename can't be a path, just a filename" in refusal(node)


# -- real servers --

def sample_names():
    return sorted(os.path.basename(path) for path in glob.glob(os.path.join(SAMPLES, '*')))


def expected_keys(content):
    return {int(db): len(keys) for db, keys in content['dbs'].items() if keys}


@pytest.mark.parametrize('name', sample_names())
def test_samples(lab, name):
    source = os.path.join(SAMPLES, name)
    with open(os.path.join(source, 'expected.json')) as text:
        expected = json.load(text)
    node = lab.node(AOF, start=False)
    shutil.copytree(source, node.folder, dirs_exist_ok=True)
    outcome = expected.get('load_truncated_yes', expected)
    if outcome.get('starts', True) is False:
        log = refusal(node)
        reason = [line[2:] for line in outcome['log'] if line.startswith('# ')]
        if name != 'unknown-command':
            assert any(line in log for line in reason), '%s not in\n%s' % (reason, log)
        return
    content = outcome.get('content') or outcome
    node.start()
    if content.get('digest'):
        assert digest(node).decode() == content['digest']
    counts = {}
    for db in range(16):
        with node.connect() as connection:
            connection.call('SELECT', str(db))
            count = connection.call('DBSIZE')
        if count:
            counts[db] = count
    assert counts == expected_keys(content)


@needs_redis
@pytest.mark.parametrize('rewrites', [False, True])
def test_a_real_server_reads_our_files_and_we_read_its(lab, rewrites):
    ours = lab.node(AOF, workers=4)
    real = lab.redis(AOF, start=False)
    with ours.connect() as connection:
        write_everything(connection, 3)
        if rewrites:
            rewrite(ours)
            write_everything(connection, 4, count=100)
    before = digest(ours)
    assert ours.stop() == 0
    shutil.copytree(folder(ours), os.path.join(real.folder, 'appendonlydir'))
    real.start()
    assert digest(real) == before
    with real.connect() as connection:
        write_everything(connection, 5)
        if rewrites:
            rewrite(real)
            write_everything(connection, 6, count=100)
    before = digest(real)
    assert real.stop() == 0
    shutil.rmtree(folder(ours))
    shutil.copytree(folder(real), folder(ours))
    ours.start()
    assert digest(ours) == before


@needs_redis
def test_an_old_single_file_becomes_the_base(lab):
    real = lab.redis({**AOF, 'aof-use-rdb-preamble': 'no'})
    with real.connect() as connection:
        write_everything(connection, 7, count=100)
    before = digest(real)
    real.stop()
    node = lab.node(AOF, start=False)
    shutil.copy(os.path.join(folder(real), files(real, '*.incr.aof')[0]), os.path.join(node.folder, 'appendonly.aof'))
    node.start()
    assert digest(node) == before
    assert manifest(node) == ['file appendonly.aof seq 1 type b', 'file appendonly.aof.1.incr.aof seq 1 type i']
    node.call('SET', 'more', 'v')
    before = digest(node)
    assert digest(crash(node)) == before


@needs_redis
def test_switching_on_leaves_an_old_single_file_alone(lab):
    for node in [lab.redis({}, start=False), lab.node({}, start=False)]:
        old = os.path.join(node.folder, 'appendonly.aof')
        with open(old, 'w') as content:
            content.write('*3\r\n$3\r\nSET\r\n$3\r\nold\r\n$1\r\n1\r\n')
        node.start()
        rewrite(node)
        node.call('CONFIG', 'SET', 'appendonly', 'yes')
        wait_for(lambda: has_no_rewrite(node.info('persistence')), 'the first base')
        rewrite(node)
        assert os.path.getsize(old) > 0
        node.options['appendonly'] = 'yes'
        node.write_conf()
        assert crash(node).call('DBSIZE') == 0


# -- the first files --

FIRST_STEPS = [('rename', '*.manifest'), ('sync', 'temp-*.manifest'), ('open', '*.base.rdb'), ('sync', '*.base.rdb'),
               ('open', '*.incr.aof'), ('sync-folder', 'appendonlydir'), ('rename', '*.base.rdb'),
               ('rename', '*.incr.aof')]


def expect_good_start(node):
    node.start()
    node.call('SET', 'a', '1')
    assert crash(node).call('GET', 'a') == b'1'


@pytest.mark.parametrize('moment', ['kill-before', 'kill-after'])
@pytest.mark.parametrize('operation, name', FIRST_STEPS)
def test_a_crash_amid_the_first_files_is_no_lost_manifest(lab, monkeypatch, moment, operation, name):
    for nth in (1, 2):
        node = lab.node({**AOF, 'appendonly': 'no'})
        node.call('DEBUG', 'DISK-FAULT', moment, operation, str(nth), name)
        node.call('CONFIG', 'SET', 'appendonly', 'yes')
        wait_for(lambda: not node.is_running() or has_no_rewrite(node.info('persistence')), 'the first base, or the end')
        node.kill()
        node.options['appendonly'] = 'yes'
        node.write_conf()
        expect_good_start(node)
        node.kill()

        node = lab.node(AOF, start=False)
        monkeypatch.setenv('DUNLIN_DISK_FAULT', '%s %s %d %s' % (moment, operation, nth, name))
        try:
            node.start()
        except StartFailed:
            pass
        node.kill()
        monkeypatch.delenv('DUNLIN_DISK_FAULT')
        expect_good_start(node)
        node.kill()


# -- rewriting --

def rewrite(node):
    node.call('BGREWRITEAOF')
    wait_for(lambda: node.info('persistence')['aof_rewrite_in_progress'] == '0', 'the rewrite ends')
    assert node.info('persistence')['aof_last_bgrewrite_status'] == 'ok'


def test_a_rewrite_makes_one_base_and_one_increment(lab, workers):
    node = lab.node(AOF, workers=workers)
    for _ in range(200):
        node.call('INCR', 'n')
    size = int(node.info('persistence')['aof_current_size'])
    rewrite(node)
    assert files(node) == ['appendonly.aof.2.base.rdb', 'appendonly.aof.2.incr.aof', 'appendonly.aof.manifest']
    after = node.info('persistence')
    assert int(after['aof_current_size']) < size
    assert after['aof_current_size'] == after['aof_base_size']
    node.call('INCR', 'n')
    assert words(increment(node))[0] == [b'SELECT', b'0']
    assert crash(node).call('GET', 'n') == b'201'


def fill_streams(node):
    for index in range(1, 101):
        node.call('XADD', 'x', '%d-1' % index, 'f%d' % (index % 3), index, 'g', b'\r\n\0')
    node.call('XDEL', 'x', '50-1', '100-1')
    node.call('XGROUP', 'CREATE', 'x', 'g', '0')
    node.call('XREADGROUP', 'GROUP', 'g', 'alice', 'COUNT', '10', 'STREAMS', 'x', '>')
    node.call('XREADGROUP', 'GROUP', 'g', 'bob', 'COUNT', '5', 'STREAMS', 'x', '>')
    node.call('XACK', 'x', 'g', '1-1')
    node.call('XGROUP', 'CREATECONSUMER', 'x', 'g', 'idle')
    node.call('XGROUP', 'CREATE', 'none', 'g', '$', 'MKSTREAM')


def streams(node):
    """All of them, but for when a consumer was last seen."""
    def without_times(value):
        if not isinstance(value, list):
            return value
        return [without_times(one) for index, one in enumerate(value) if index == 0 or value[index - 1] != b'seen-time']
    full = [node.call('XINFO', 'STREAM', key, 'FULL', 'COUNT', '0') for key in ('x', 'none')]
    return [without_times([one for name, one in zip(items[::2], items[1::2]) if not name.startswith(b'radix')])
            for items in full]


@needs_redis
def test_a_base_of_commands(lab, workers):
    node = lab.node({**AOF, 'aof-use-rdb-preamble': 'no', 'aof-timestamp-enabled': 'yes'}, workers=workers)
    assert files(node, '*.base.*') == ['appendonly.aof.1.base.aof']
    with node.connect() as connection:
        write_everything(connection, 31, count=800)
    fill_streams(node)
    for start in range(0, 20000, 1000):
        node.call('RPUSH', 'long', *range(start, start + 1000))
        node.call('ZADD', 'wide', *[word for number in range(start, start + 1000) for word in (number / 7, number)])
    node.call('RPUSH', 'long', 'y' * 300000)
    node.call('SET', 'big', 'z' * 3000000)
    before, before_streams = digest(node), streams(node)
    rewrite(node)
    assert files(node) == ['appendonly.aof.2.base.aof', 'appendonly.aof.2.incr.aof', 'appendonly.aof.manifest']
    with open(os.path.join(folder(node), 'appendonly.aof.2.base.aof'), 'rb') as base:
        text = base.read()
    assert text.startswith(b'#TS:')
    assert max(len(command) for command in words(text)) == 2 + 2 * 64
    crash(node)
    assert digest(node) == before
    assert streams(node) == before_streams
    assert node.stop() == 0
    real = lab.redis(AOF, start=False)
    shutil.copytree(folder(node), folder(real))
    real.start()
    assert digest(real) == before
    assert streams(real) == before_streams
    node.start()
    node.call('CONFIG', 'SET', 'aof-use-rdb-preamble', 'yes')
    rewrite(node)
    assert files(node, '*.base.*') == ['appendonly.aof.3.base.rdb']
    assert digest(node) == before


@pytest.mark.parametrize('preamble', ['yes', 'no'])
def test_writes_during_rewrites_are_neither_lost_nor_done_twice(lab, preamble):
    node = lab.node({**AOF, 'aof-use-rdb-preamble': preamble}, workers=4)
    node.call('DEBUG', 'POPULATE', '50000')
    clients = [node.connect() for _ in range(4)]
    for round_ in range(5):
        node.call('BGREWRITEAOF')
        for index in range(300):
            for number, client in enumerate(clients):
                client.call('INCR', 'counter:%d' % number)
                client.call('RPUSH', 'list:%d' % (index % 7), index)
        wait_for(lambda: node.info('persistence')['aof_rewrite_in_progress'] == '0', 'the rewrite ends')
    before = digest(node)
    assert digest(crash(node)) == before
    assert node.call('GET', 'counter:3') == b'1500'


def test_it_rewrites_by_itself(lab):
    node = lab.node({**AOF, 'auto-aof-rewrite-min-size': '20kb'})
    for _ in range(1000):
        node.call('SET', 'k', 'v' * 50)
    wait_for(lambda: int(node.info('persistence')['aof_rewrites']) > 0, 'a rewrite')
    assert 'Starting automatic rewriting of AOF on' in node.log_text()


# -- on and off --

def has_no_rewrite(info):
    return info['aof_rewrite_in_progress'] == '0' and info['aof_rewrite_scheduled'] == '0'


def test_switching_on_and_off(lab):
    node = lab.node({'enable-debug-command': 'yes'}, workers=4)
    with node.connect() as connection:
        write_everything(connection, 8)
    node.call('CONFIG', 'SET', 'appendonly', 'yes')
    with node.connect() as connection:
        write_everything(connection, 9)
    wait_for(lambda: len(files(node, '*.base.rdb')) == 1, 'the first base')
    wait_for(lambda: node.info('persistence')['aof_rewrite_in_progress'] == '0', 'the rewrite ends')
    before = digest(node)
    node.options['appendonly'] = 'yes'
    node.write_conf()
    assert digest(crash(node)) == before
    node.call('CONFIG', 'SET', 'appendonly', 'no')
    node.call('SET', 'lost', '1')
    assert node.info('persistence')['aof_enabled'] == '0'
    for _ in range(3):
        node.call('CONFIG', 'SET', 'appendonly', 'yes')
        node.call('CONFIG', 'SET', 'appendonly', 'no')
    node.call('CONFIG', 'SET', 'appendonly', 'yes')
    wait_for(lambda: has_no_rewrite(node.info('persistence')), 'the rewrite ends')
    node.call('SET', 'kept', '1')
    before = digest(node)
    assert digest(crash(node)) == before
    assert files(node, 'temp*') == []


@needs_redis
def test_a_log_that_is_switched_on_lies_where_the_data_folder_is_then(lab):
    for node in [lab.redis(AOF, start=False), lab.node(AOF, start=False)]:
        node.options['enable-protected-configs'] = 'yes'
        node.write_conf()
        node.start()
        node.call('SET', 'a', '1')
        node.call('CONFIG', 'SET', 'appendonly', 'no')
        moved = os.path.join(node.folder, 'moved')
        os.mkdir(moved)
        node.call('CONFIG', 'SET', 'dir', moved)
        node.call('CONFIG', 'SET', 'appendonly', 'yes')
        wait_for(lambda: has_no_rewrite(node.info('persistence')), 'the first base')
        node.call('SET', 'b', '1')
        node.options['dir'] = moved
        node.write_conf()
        assert crash(node).call('DBSIZE') == 2
        # A folder that was removed meanwhile is made again.
        node.call('CONFIG', 'SET', 'appendonly', 'no')
        shutil.rmtree(os.path.join(moved, 'appendonlydir'))
        node.call('CONFIG', 'SET', 'appendonly', 'yes')
        wait_for(lambda: has_no_rewrite(node.info('persistence')), 'the first base')
        node.call('SET', 'c', '1')
        assert crash(node).call('DBSIZE') == 3


def test_policies_change_while_it_runs(lab):
    node = lab.node(AOF, workers=4)
    with node.connect() as connection:
        for round_ in range(6):
            for policy in POLICIES:
                connection.call('CONFIG', 'SET', 'appendfsync', policy)
                assert connection.call('INCR', 'n') == round_ * 3 + POLICIES.index(policy) + 1
                assert connection.call('GET', 'n')
    assert crash(node).call('GET', 'n') == b'18'


def test_always_answers_pipelines_in_order(lab):
    node = lab.node({**AOF, 'appendfsync': 'always'}, workers=4)
    with node.connect() as one, node.connect() as other:
        for index in range(500):
            one.send('INCR', 'n')
            other.send('GET', 'n')
            one.send('PING', str(index))
        for index in range(500):
            assert one.read() == index + 1
            assert one.read() == str(index).encode()
            other.read()


def test_debug_reload_and_loadaof(lab):
    node = lab.node(AOF)
    with node.connect() as connection:
        write_everything(connection, 10)
    before = digest(node)
    node.call('DEBUG', 'RELOAD')
    assert digest(node) == before
    node.call('DEBUG', 'LOADAOF')
    assert digest(node) == before
    node.call('SET', 'k', 'v')
    before = digest(node)
    assert digest(crash(node)) == before


# -- replicas --

def test_a_replica_logs_what_it_applies(lab, workers):
    primary = lab.node({**AOF, 'repl-diskless-sync-delay': 0}, workers=workers)
    with primary.connect() as connection:
        write_everything(connection, 11, count=100)
    replica = lab.node({**AOF, 'replicaof': '127.0.0.1 %d' % primary.port}, workers=workers)
    wait_for(lambda: replica.info('replication')['master_link_status'] == 'up', 'the link is up')
    with primary.connect() as connection:
        write_everything(connection, 12)
    primary.call('PUBLISH', 'c', 'm')
    wait_for(lambda: digest(replica) == digest(primary), 'the replica has it')
    wait_for(lambda: replica.info('persistence')['aof_rewrite_in_progress'] == '0', 'the first base')
    primary.call('INCR', 'last')
    primary.call('WAIT', '1', '5000')
    before = digest(primary)
    names = {command[0].upper() for command in words(increment(replica))}
    assert not names & {b'PING', b'REPLCONF', b'PUBLISH'} and b'INCR' in names
    primary.kill()
    assert digest(crash(replica)) == before


def test_waitaof(lab):
    off = lab.node()
    with pytest.raises(ReplyError, match='WAITAOF cannot be used when numlocal is set but appendonly is disabled'):
        off.call('WAITAOF', '1', '0', '0')
    assert off.call('WAITAOF', '0', '0', '0') == [0, 0]
    primary = lab.node({**AOF, 'repl-diskless-sync-delay': 0}, workers=4)
    with primary.connect() as client:
        client.call('SET', 'k', 'v')
        assert client.call('WAITAOF', '1', '0', '5000') == [1, 0]
        client.call('SET', 'k', 'w')
        began = time.monotonic()
        assert client.call('WAITAOF', '1', '1', '200')[1] == 0
        assert 0.15 < time.monotonic() - began < 5
        with pytest.raises(ReplyError, match='value is out of range, value must between 0 and 1'):
            client.call('WAITAOF', '2', '0', '0')
    replica = lab.node({**AOF, 'replicaof': '127.0.0.1 %d' % primary.port})
    wait_for(lambda: replica.info('replication')['master_link_status'] == 'up', 'the link is up')
    wait_for(lambda: replica.info('persistence')['aof_rewrite_in_progress'] == '0', 'the first base')
    with pytest.raises(ReplyError, match='WAITAOF cannot be used with replica instances'):
        replica.call('WAITAOF', '0', '0', '0')
    with primary.connect() as client:
        client.call('SET', 'k', 'x')
        assert client.call('WAITAOF', '1', '1', '8000') == [1, 1]
    replica.kill()
    replica.options.pop('replicaof')
    replica.write_conf()
    replica.start()
    assert replica.call('GET', 'k') == b'x'


# -- a disk that is full --

def limit_file_size(node, size):
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_refuses_writes_until_there_is_room(lab):
    node = lab.node(AOF)
    node.call('SET', 'k', 'v')
    limit_file_size(node, 4096)
    node.call('SET', 'big', 'x' * 10000)
    with pytest.raises(ReplyError, match='MISCONF Errors writing to the AOF file: File too large'):
        node.call('SET', 'more', 'v')
    with pytest.raises(ReplyError, match='MISCONF'):
        node.call('PING')
    assert node.call('GET', 'k') == b'v'
    assert node.info('persistence')['aof_last_write_status'] == 'err'
    assert b'big' not in increment(node)
    limit_file_size(node, resource.RLIM_INFINITY)
    wait_for(lambda: node.call('SET', 'more', 'v') == b'OK', 'writes go on')
    assert 'AOF write error looks solved' in node.log_text()
    before = digest(node)
    assert digest(crash(node)) == before


@pytest.fixture
def small_disk(lab):
    """A node whose log lies on a disk of 1 MB; a function makes it larger."""
    node = lab.node(AOF, start=False)
    os.makedirs(folder(node))
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder(node)],
                      capture_output=True, timeout=10).returncode != 0:
        pytest.skip('no right to mount')
    try:
        yield node, lambda: subprocess.run(['mount', '-o', 'remount,size=16m', folder(node)], check=True, timeout=10)
    finally:
        node.kill()
        subprocess.run(['umount', '-l', folder(node)], check=True, timeout=10)


def test_a_disk_without_room_refuses_writes_and_rewrites(small_disk):
    node, enlarge = small_disk
    node.start()
    for index in range(100):
        try:
            node.call('SET', 'k%d' % index, 'x' * 100000)
        except ReplyError as error:
            assert 'MISCONF Errors writing to the AOF file: No space left on device' in str(error)
            break
    else:
        pytest.fail('the disk has never been full')
    node.call('BGREWRITEAOF')
    wait_for(lambda: has_no_rewrite(node.info('persistence')), 'the rewrite ends')
    assert node.info('persistence')['aof_last_bgrewrite_status'] == 'err'
    enlarge()
    wait_for(lambda: node.call('SET', 'more', 'v') == b'OK', 'writes go on')
    before = digest(node)
    assert digest(crash(node)) == before
    rewrite(node)
    assert digest(crash(node)) == before


def test_a_full_disk_ends_a_server_that_always_fsyncs(lab):
    node = lab.node({**AOF, 'appendfsync': 'always'})
    node.call('SET', 'k', 'v')
    limit_file_size(node, 4096)
    with pytest.raises((OSError, AssertionError, EOFError, Exception)):
        node.call('SET', 'big', 'x' * 10000)
    assert node.process.wait(10) == 1
    assert "Can't recover from AOF write error when the AOF fsync policy is 'always'" in node.log_text()
    node.start()
    assert node.call('GET', 'k') == b'v'
