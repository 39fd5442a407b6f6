"""Disks that fill, turn read-only or fail: clear errors, nothing lost that was answered, and work goes on afterwards."""
import pytest

from harness import is_stand_in, wait_for
from resp import Closed, ReplyError

pytestmark = pytest.mark.skipif(is_stand_in(), reason='a real server knows no faults on order')

LOG = {'appendonly': 'yes', 'enable-debug-command': 'yes'}
RDB_TEXT = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."


def order(node, *words):
    node.call('DEBUG', 'DISK-FAULT', *words)


def refusal(node, *words):
    with pytest.raises(ReplyError) as caught:
        node.call(*words)
    return str(caught.value)


def persistence(node, field):
    return node.info('persistence')[field]


@pytest.mark.parametrize('operation, error', [('sync', 'EIO'), ('write', 'ENOSPC'), ('write', 'EROFS')])
def test_always_ends_the_process_rather_than_answer(lab, workers, operation, error):
    node = lab.node({**LOG, 'appendfsync': 'always'}, workers=workers)
    for _ in range(20):
        node.call('INCR', 'n')
    order(node, error, operation, 1, '*.incr.aof')
    with pytest.raises((Closed, OSError)):
        node.call('INCR', 'n')
    assert node.process.wait(10) == 1
    assert ("Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..." in node.log_text()
            or "Can't persist AOF for fsync error when the AOF fsync policy is 'always': " in node.log_text())
    node.start()
    assert node.call('GET', 'n') in (b'20', b'21')


@pytest.mark.parametrize('operation, error, text', [
    ('write', 'ENOSPC', 'No space left on device'), ('write', 'EROFS', 'Read-only file system'),
    ('sync', 'EIO', 'Input/output error')])
def test_everysec_refuses_writes_until_the_disk_is_back(lab, workers, operation, error, text):
    node = lab.node({**LOG, 'appendfsync': 'everysec'}, workers=workers)
    order(node, error, operation, 1, '*.incr.aof')
    assert node.call('INCR', 'n') == 1
    wait_for(lambda: persistence(node, 'aof_last_write_status') == 'err', 'the error is seen')
    assert refusal(node, 'INCR', 'n') == 'MISCONF Errors writing to the AOF file: ' + text
    assert node.call('GET', 'n') == b'1'
    order(node, 'OFF')
    wait_for(lambda: persistence(node, 'aof_last_write_status') == 'ok', 'the disk is back')
    assert node.call('INCR', 'n') == 2
    node.restart()
    assert node.call('GET', 'n') == b'2'


def test_every_way_to_write_is_refused(lab, workers):
    write = "return redis.call('SET', 'k', 'v')"
    node = lab.node(LOG, workers=workers)
    node.call('FUNCTION', 'LOAD', "#!lua name=l\nredis.register_function('w', function() %s end)" % write)
    with node.connect() as queued:
        queued.call('MULTI')
        queued.call('SET', 'k', 'v')
        order(node, 'ENOSPC', 'write', 1, '*.incr.aof')
        node.call('INCR', 'n')
        text = 'MISCONF Errors writing to the AOF file: No space left on device'
        wait_for(lambda: persistence(node, 'aof_last_write_status') == 'err', 'the error is seen')
        with pytest.raises(ReplyError) as caught:
            queued.call('EXEC')
        assert str(caught.value) == 'EXECABORT Transaction discarded because of: ' + text
    for words in [('SET', 'k', 'v'), ('PING',), ('EVAL', '#!lua\n' + write, '0'), ('FCALL', 'w', '0'),
                  ('EVAL', write.replace('call', 'pcall'), '0')]:
        assert refusal(node, *words) == text
    assert refusal(node, 'EVAL', write, '0').startswith(text + ' script: ')
    assert node.call('EVAL', "return redis.call('GET', 'n')", '0') == b'1'
    order(node, 'OFF')
    wait_for(lambda: persistence(node, 'aof_last_write_status') == 'ok', 'the disk is back')
    assert node.call('EVAL', write, '0') == b'OK'
    assert node.call('DBSIZE') == 2


@pytest.mark.parametrize('point', [
    'EROFS open 1 temp-*.rdb', 'ENOSPC write 1 temp-*.rdb', 'EIO sync 1 temp-*.rdb', 'EROFS rename 1 dump.rdb'])
def test_a_failed_bgsave_refuses_writes_until_one_succeeds(lab, point):
    node = lab.node({'save': '3600 1000', 'enable-debug-command': 'yes'})
    node.call('SET', 'k', 'v')
    order(node, *point.split())
    node.call('BGSAVE')
    wait_for(lambda: persistence(node, 'rdb_last_bgsave_status') == 'err', 'the save fails')
    assert refusal(node, 'SET', 'k', 'w').startswith(RDB_TEXT)
    assert node.call('GET', 'k') == b'v'
    order(node, 'OFF')
    node.call('BGSAVE')
    wait_for(lambda: persistence(node, 'rdb_last_bgsave_status') == 'ok', 'the save succeeds')
    node.call('SET', 'k', 'w')


@pytest.mark.parametrize('preamble', ['yes', 'no'])
@pytest.mark.parametrize('point', [
    'EROFS open 1 temp-*', 'ENOSPC write 1 temp-rewriteaof*', 'EIO sync 1 temp-rewriteaof*',
    'EROFS rename 1 *.manifest', 'ENOSPC write 2 temp-*.manifest'])
def test_a_failed_rewrite_leaves_a_whole_log(lab, point, preamble):
    node = lab.node({**LOG, 'aof-use-rdb-preamble': preamble})
    for _ in range(20):
        node.call('INCR', 'n')
    order(node, *point.split())
    node.call('BGREWRITEAOF')
    wait_for(lambda: persistence(node, 'aof_last_bgrewrite_status') == 'err', 'the rewrite fails')
    assert node.call('INCR', 'n') == 21
    order(node, 'OFF')
    assert node.restart().call('GET', 'n') == b'21'
    node.call('BGREWRITEAOF')
    wait_for(lambda: persistence(node, 'aof_rewrite_in_progress') == '0', 'the rewrite ends')
    assert persistence(node, 'aof_last_bgrewrite_status') == 'ok'
    assert node.restart().call('GET', 'n') == b'21'


def test_a_replica_on_a_full_disk_tries_again(lab):
    primary = lab.node({'enable-debug-command': 'yes', 'repl-diskless-sync-delay': 0, 'rdbcompression': 'no'})
    primary.call('DEBUG', 'POPULATE', '3000', 'key', '20000')  # Far more than a replica may hold of it.
    replica = lab.node({'enable-debug-command': 'yes'})
    order(replica, 'ENOSPC', 'write', 3, 'temp-*.rdb')
    before = replica.rss_bytes()
    replica.call('REPLICAOF', '127.0.0.1', primary.port)
    wait_for(lambda: replica.log_text().count('No space left on device') >= 2, 'it fails twice', 30)
    assert replica.rss_bytes() - before < 40 << 20
    order(replica, 'OFF')
    wait_for(lambda: replica.info('replication')['master_link_status'] == 'up', 'it is in step', 30)
    assert replica.call('DEBUG', 'DIGEST') == primary.call('DEBUG', 'DIGEST')
