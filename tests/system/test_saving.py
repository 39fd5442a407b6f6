"""SAVE, BGSAVE and DEBUG RELOAD at their edges: failures, options that change meanwhile, and data that is on its way."""
import os
import signal
import time

import pytest

from harness import is_stand_in, wait_for
from resp import Closed, Connection, ReplyError

DEBUG = {'enable-debug-command': 'yes', 'enable-protected-configs': 'yes'}
MANY_KEYS = 600000  # Loading them takes long enough to be caught at it.

ours_only = pytest.mark.skipif(is_stand_in(), reason='a real server knows no faults on order, and loads more slowly')


def persistence(node, field):
    return node.info('persistence')[field]


def lose_folder(node):
    """From here on no save can succeed; gives back how to end that."""
    folder = os.path.join(node.folder, 'gone')
    os.mkdir(folder)
    node.call('CONFIG', 'SET', 'dir', folder)
    os.rmdir(folder)
    return lambda: node.call('CONFIG', 'SET', 'dir', node.folder)


def fail_in_background(node):
    node.call('BGSAVE')
    wait_for(lambda: persistence(node, 'rdb_last_bgsave_status') == 'err', 'the save has failed')


def test_who_asks_for_a_save_that_fails_hears_of_it_and_nobody_else(lab, workers):
    node = lab.node({**DEBUG, 'save': '3600 1000'}, workers=workers)
    lose_folder(node)
    with pytest.raises(ReplyError, match='^ERR$'):
        node.call('SAVE')
    assert persistence(node, 'rdb_last_bgsave_status') == 'ok'
    assert persistence(node, 'rdb_last_bgsave_time_sec') == '-1'
    assert persistence(node, 'rdb_saves') == '1'
    assert node.call('SET', 'key', 'value') == b'OK'


@ours_only
def test_only_who_asked_for_a_save_waits_for_it(lab, workers):
    node = lab.node(DEBUG, workers=workers)
    node.call('DEBUG', 'POPULATE', 2000)
    node.call('CONFIG', 'SET', 'rdb-key-save-delay', 1000)
    with node.connect() as asking:
        asking.send('SAVE')
        asking.send('GET', 'key:0')
        wait_for(lambda: persistence(node, 'rdb_bgsave_in_progress') == '1', 'the save has begun')
        for words in (('SAVE',), ('BGSAVE',)):
            with pytest.raises(ReplyError, match='^ERR Background save already in progress$'):
                node.call(*words)
        assert node.call('SET', 'key:0', 'changed') == b'OK'
        assert node.call('SET', 'new', 'key') == b'OK'
        assert node.info('clients')['blocked_clients'] == '1'
        assert persistence(node, 'rdb_bgsave_in_progress') == '1'
        assert asking.read() == b'OK'
        assert asking.read() == b'changed'
    # One that nobody waits for any more is finished all the same.
    with node.connect() as leaving:
        leaving.send('SAVE')
        wait_for(lambda: persistence(node, 'rdb_bgsave_in_progress') == '1', 'the save has begun')
    node.call('DEL', 'new')
    wait_for(lambda: persistence(node, 'rdb_bgsave_in_progress') == '0', 'the save has ended')
    node.kill()
    node.start()
    assert node.call('GET', 'key:0') == b'changed' and node.call('GET', 'new') == b'key'


def test_options_decide_at_once_whether_writes_are_refused(lab, workers):
    node = lab.node({**DEBUG, 'save': '3600 1000'}, workers=workers)
    restore = lose_folder(node)
    fail_in_background(node)
    for option, lifting, refusing in (('stop-writes-on-bgsave-error', 'no', 'yes'), ('save', '', '3600 1000')):
        with pytest.raises(ReplyError, match='^MISCONF Redis is configured to save RDB snapshots'):
            node.call('SET', 'key', 'value')
        with pytest.raises(ReplyError, match='^MISCONF'):
            node.call('PING')
        node.call('CONFIG', 'SET', option, lifting)
        assert node.call('SET', 'key', 'value') == b'OK' and node.call('PING') == b'PONG'
        node.call('CONFIG', 'SET', option, refusing)
    restore()
    assert node.call('SAVE') == b'OK'
    assert node.call('SET', 'key', 'value') == b'OK' and persistence(node, 'rdb_last_bgsave_status') == 'ok'


def test_a_reload_may_keep_what_is_there(lab, workers):
    node = lab.node({**DEBUG, 'save': '""'}, workers=workers)
    with node.connect() as connection:
        connection.call('FUNCTION', 'LOAD', "#!lua name=saved\nredis.register_function('f', function() return 1 end)")
        connection.call('HSET', 'both', *['field:%d' % i for i in range(2000)])
        connection.call('SET', 'saved', 'x')
        connection.call('SAVE')
        connection.call('FLUSHALL')
        connection.call('FUNCTION', 'FLUSH')
        connection.call('FUNCTION', 'LOAD', "#!lua name=kept\nredis.register_function('g', function() return 2 end)")
        connection.call('SET', 'kept', 'y')
        connection.call('SELECT', 5)
        connection.call('SET', 'elsewhere', 'z')
        connection.call('SELECT', 0)
        assert connection.call('DEBUG', 'RELOAD', 'NOSAVE', 'NOFLUSH') == b'OK'
        assert connection.call('DBSIZE') == 3 and connection.call('FCALL', 'f', 0) == 1 and connection.call('FCALL', 'g', 0) == 2
        connection.call('SET', 'both', 'changed')
        assert connection.call('DEBUG', 'RELOAD', 'MERGE', 'NOFLUSH', 'NOSAVE') == b'OK'
        assert connection.call('HLEN', 'both') == 1000 and connection.call('GET', 'kept') == b'y'
        with pytest.raises(ReplyError, match='^ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.$'):
            connection.call('DEBUG', 'RELOAD', 'SAVE')
        assert connection.call('DEBUG', 'RELOAD', 'NOSAVE') == b'OK'
        assert connection.call('KEYS', '*') == [b'both', b'saved'] or connection.call('KEYS', '*') == [b'saved', b'both']


@ours_only
def test_a_reload_that_would_find_a_key_twice_changes_nothing(lab, workers):
    node = lab.node({**DEBUG, 'save': '""'}, workers=workers)
    with node.connect() as connection:
        connection.call('MSET', 'a', '1', 'b', '2')
        connection.call('SAVE')
        connection.call('SET', 'a', 'changed')
        connection.call('DEL', 'b')
        with pytest.raises(ReplyError, match='check server logs'):
            connection.call('DEBUG', 'RELOAD', 'NOSAVE', 'NOFLUSH')
        assert connection.call('MGET', 'a', 'b') == [b'changed', None]


def test_a_reload_drops_what_has_expired(lab, workers):
    node = lab.node({**DEBUG, 'save': '""'}, workers=workers)
    with node.connect() as connection:
        connection.call('DEBUG', 'SET-ACTIVE-EXPIRE', 0)
        connection.call('SET', 'gone', 'x', 'PX', 1)
        connection.call('SET', 'here', 'x')
        time.sleep(0.05)
        assert connection.call('DBSIZE') == 2
        assert connection.call('DEBUG', 'RELOAD') == b'OK'
        assert connection.call('DBSIZE') == 1
    fields = node.info('persistence')
    assert (fields['rdb_last_load_keys_expired'], fields['rdb_last_load_keys_loaded']) == ('1', '1')


def test_what_was_flushed_does_not_come_back(lab, workers):
    node = lab.node({**DEBUG, 'save': '3600 1000000'}, workers=workers)
    node.call('DEBUG', 'POPULATE', 1000)
    node.call('SAVE')
    node.call('FLUSHALL')
    dump = os.path.join(node.folder, 'dump.rdb')
    wait_for(lambda: os.path.getsize(dump) < 200, 'the dump has nothing of it')
    wait_for(lambda: persistence(node, 'rdb_bgsave_in_progress') == '0', 'the save is over')
    assert persistence(node, 'rdb_changes_since_last_save') == '0'
    node.call('CONFIG', 'SET', 'save', '')
    node.call('DEBUG', 'POPULATE', 1000)
    node.call('SAVE')
    node.call('FLUSHALL')
    time.sleep(0.3)
    assert os.path.getsize(dump) > 200  # Nobody asked for saves.


def test_a_folder_that_is_none_leaves_the_one_before(lab, workers):
    node = lab.node({**DEBUG, 'save': '""'}, workers=workers)
    first = os.path.join(node.folder, 'first')
    os.mkdir(first)
    node.call('CONFIG', 'SET', 'dir', first)
    for path, reason in (('/nonexistent', 'No such file or directory'), (node.conf_path, 'Not a directory')):
        with pytest.raises(ReplyError, match="^ERR CONFIG SET failed .possibly related to argument 'dir'. - %s$" % reason):
            node.call('CONFIG', 'SET', 'dir', path)
    assert node.call('SAVE') == b'OK'
    assert os.listdir(first) == ['dump.rdb']


# -- while data is being loaded --


def while_loading(node, *words):
    """The reply to a command that arrives in the middle of a load at the start; Closed where the process ends of it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with Connection(node.port, timeout=10) as connection:
                if b'loading:1' not in connection.call('INFO', 'persistence'):
                    continue
                connection.send(*words)
                return connection.read()
        except Closed:
            return Closed
        except (OSError, ReplyError):
            time.sleep(0.001)
    raise AssertionError('it never said that it was loading')


def content_of(path):
    with open(path, 'rb') as file:
        return file.read()


@ours_only
@pytest.mark.parametrize('words', [('SHUTDOWN',), ('SHUTDOWN', 'SAVE'), ('DEBUG', 'RELOAD'), ('CONFIG', 'SET', 'appendonly', 'yes'),
                                   ('CONFIG', 'SET', 'hz', '20', 'dir', '/tmp')])
def test_what_is_half_loaded_never_takes_the_place_of_the_file(lab, words):
    node = lab.node({**DEBUG, 'save': '3600 1'}, workers=2)
    node.call('DEBUG', 'POPULATE', MANY_KEYS, 'key', 50, timeout=60)
    node.call('SAVE', timeout=60)
    node.kill()
    dump = os.path.join(node.folder, 'dump.rdb')
    before = content_of(dump)
    node.spawn(node.conf_path)
    reply = while_loading(node, *words)
    if words[0] == 'SHUTDOWN':
        assert reply is Closed
        assert node.process.wait(20) == 0
    else:
        assert str(reply) == 'LOADING Redis is loading the dataset in memory'
        wait_for(lambda: node.call('DBSIZE') == MANY_KEYS, 'it has loaded', 60)
        node.kill()
    assert content_of(dump) == before
    assert not os.path.exists(os.path.join(node.folder, 'appendonlydir'))


@ours_only
@pytest.mark.parametrize('way', ['disabled', 'swapdb'])
def test_a_replica_that_loads_says_how_far_it_is_and_saves_nothing(lab, way):
    primary = lab.node({**DEBUG, 'save': '""', 'repl-diskless-sync-delay': '0'}, workers=2)
    primary.call('DEBUG', 'POPULATE', MANY_KEYS, 'key', 50, timeout=60)
    replica = lab.node({**DEBUG, 'save': '3600 1', 'repl-diskless-load': way}, workers=2)
    replica.call('SET', 'own', 'x')
    replica.call('REPLICAOF', '127.0.0.1', primary.port)
    seen = wait_for(lambda: (lambda fields: fields if fields['loading'] == '1' and float(fields['loading_loaded_perc']) > 0 else None)(
        replica.info('persistence')), 'it is loading', 30, 0.001)
    assert int(seen['loading_loaded_bytes']) > 0 and int(seen['loading_start_time']) > 0
    assert float(seen['loading_loaded_perc']) <= 100 and seen['async_loading'] == '0'
    assert (int(seen['loading_total_bytes']) > 0) == (way == 'disabled')
    names = list(seen)
    assert names.index('loading_start_time') > names.index('aof_enabled')
    replica.process.send_signal(signal.SIGTERM)
    assert replica.process.wait(20) == 0
    dump = os.path.join(replica.folder, 'dump.rdb')
    if way == 'disabled':  # What was received stays what it was.
        replica.options.pop('replicaof', None)
        replica.start(timeout=60)
        wait_for(lambda: replica.call('DBSIZE') == MANY_KEYS, 'the file has everything', 60)
    else:
        assert not os.path.exists(dump)


def test_replicas_hear_of_what_expired_while_their_primary_was_away(lab, workers):
    primary = lab.node({**DEBUG, 'save': '3600 1', 'repl-diskless-sync-delay': '0'}, workers=workers)
    replica = lab.node({**DEBUG, 'save': '""', 'replicaof': '127.0.0.1 %d' % primary.port}, workers=workers)
    wait_for(lambda: replica.info('replication')['master_link_status'] == 'up', 'the link is up')
    primary.call('SET', 'here', 'x')
    for i in range(50):
        primary.call('SET', 'short:%d' % i, 'x', 'PX', 700)
    assert primary.call('WAIT', 1, 5000) == 1
    assert primary.stop() == 0
    time.sleep(0.8)
    primary.start()
    wait_for(lambda: replica.info('replication')['master_link_status'] == 'up', 'the link is up again')
    assert primary.info('stats')['sync_partial_ok'] == '1'
    assert persistence(primary, 'rdb_last_load_keys_expired') == '50'
    wait_for(lambda: replica.call('DEBUG', 'DIGEST') == primary.call('DEBUG', 'DIGEST') and primary.call('DBSIZE') == 1,
             'both have the same')
    assert replica.call('DBSIZE') == 1


# -- dump files of replication --


@pytest.mark.parametrize('is_late', [False, True], ids=['from the start', 'later'])
def test_nodes_that_keep_nothing_keep_no_files_of_replication(lab, is_late):
    option = {'rdb-del-sync-files': 'no' if is_late else 'yes', 'save': '""'}
    primary = lab.node({**DEBUG, **option, 'repl-diskless-sync': 'no'}, workers=2)
    primary.call('DEBUG', 'POPULATE', 1000)
    replica = lab.node({**DEBUG, **option, 'repl-diskless-load': 'disabled', 'replicaof': '127.0.0.1 %d' % primary.port})
    wait_for(lambda: replica.info('replication')['master_link_status'] == 'up', 'the link is up')
    assert replica.call('DBSIZE') == 1000
    dumps = [os.path.join(node.folder, 'dump.rdb') for node in (primary, replica)]
    if is_late:
        assert all(os.path.exists(dump) for dump in dumps)
        primary.call('SAVE')  # Asked for by somebody: it stays.
        primary.call('CONFIG', 'SET', 'rdb-del-sync-files', 'yes')
        time.sleep(1.5)
        assert all(os.path.exists(dump) for dump in dumps)
    else:
        wait_for(lambda: not any(os.path.exists(dump) for dump in dumps), 'the files are gone')


@ours_only
def test_a_replica_is_sent_the_file_that_was_made_for_it(lab):
    """Wherever `dir` is by then."""
    primary = lab.node({**DEBUG, 'save': '""', 'repl-diskless-sync': 'no', 'rdb-key-save-delay': '200'}, workers=2)
    other = os.path.join(primary.folder, 'other')
    os.mkdir(other)
    primary.call('CONFIG', 'SET', 'dir', other)
    primary.call('SET', 'old', 'x')
    primary.call('SAVE')
    primary.call('DEL', 'old')
    primary.call('CONFIG', 'SET', 'dir', primary.folder)
    primary.call('DEBUG', 'POPULATE', 5000)
    replica = lab.node({**DEBUG, 'replicaof': '127.0.0.1 %d' % primary.port})
    wait_for(lambda: persistence(primary, 'rdb_bgsave_in_progress') == '1', 'the save for the replica runs')
    primary.call('CONFIG', 'SET', 'dir', other)
    primary.call('CONFIG', 'SET', 'rdb-key-save-delay', '0')
    wait_for(lambda: replica.info('replication')['master_link_status'] == 'up', 'the link is up')
    assert replica.call('DEBUG', 'DIGEST') == primary.call('DEBUG', 'DIGEST')
