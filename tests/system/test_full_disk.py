"""A real file system that fills up or turns read-only under a server: what was answered is there after a kill, always."""
import os
import subprocess

import pytest

from harness import wait_for
from resp import Closed, ReplyError

DISK_MB = 16
VALUE = 'v' * 4096


@pytest.fixture
def disk(tmp_path):
    """A folder with a small file system of its own."""
    folder = str(tmp_path / 'disk')
    os.mkdir(folder)
    made = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=%dm' % DISK_MB, 'tmpfs', folder], capture_output=True, timeout=20)
    if made.returncode != 0:
        pytest.skip('no file system can be mounted here: %s' % made.stderr.decode().strip())
    yield folder
    subprocess.run(['umount', '-l', folder], check=True, timeout=20)


def remount(folder, mode):
    subprocess.run(['mount', '-o', 'remount,' + mode, folder], check=True, timeout=20)


def write_until_refused(node, answered, limit=20000):
    """Writes keys until one is refused; returns the refusal, or None when the node went away."""
    connection = node.connect()
    for i in range(len(answered), len(answered) + limit):
        try:
            assert connection.call('SET', 'key:%d' % i, VALUE) == b'OK'
        except ReplyError as error:
            return str(error)
        except (Closed, OSError):
            return None
        answered.append('key:%d' % i)
    raise AssertionError('%d MB of writes and no error' % (limit * len(VALUE) // 10 ** 6))


def check(node, answered):
    missing = [key for key in answered if node.call('STRLEN', key) != len(VALUE)]
    assert not missing, '%d of %d answered writes are gone, from %s on' % (len(missing), len(answered), missing[0])


@pytest.mark.parametrize('policy', ['everysec', 'no'])
def test_a_full_disk_refuses_writes_until_there_is_space(lab, disk, policy):
    node = lab.node({'appendonly': 'yes', 'appendfsync': policy, 'dir': disk})
    ballast = os.path.join(disk, 'ballast')
    with open(ballast, 'wb') as file:
        file.write(b'\0' * (DISK_MB - 6) * 10 ** 6)
    answered = []
    assert write_until_refused(node, answered) == 'MISCONF Errors writing to the AOF file: No space left on device'
    assert len(answered) > 100
    assert node.call('GET', answered[0]) == VALUE.encode()
    os.unlink(ballast)
    wait_for(lambda: node.call('SET', 'after', '1') == b'OK', 'writes are taken again')
    wait_for(lambda: node.info('persistence')['aof_buffer_length'] in ('0', 0), 'all of it is in the file')
    node.kill()
    node.start()
    check(node, answered)
    assert node.call('GET', 'after') == b'1'


def test_a_full_disk_ends_a_node_that_promised_always(lab, disk):
    node = lab.node({'appendonly': 'yes', 'appendfsync': 'always', 'dir': disk})
    answered = []
    assert write_until_refused(node, answered) is None
    assert node.process.wait(10) == 1
    assert 'No space left on device' in node.log_text()
    with open(os.path.join(disk, 'appendonlydir', 'appendonly.aof.1.incr.aof'), 'rb') as log:
        assert log.read(3) == b'*2\r'
    subprocess.run(['mount', '-o', 'remount,size=%dm' % (DISK_MB * 4), disk], check=True, timeout=20)
    node.start()
    check(node, answered)
    assert node.call('SET', 'after', '1') == b'OK'


def test_a_full_disk_fails_a_save_and_a_rewrite(lab, disk):
    node = lab.node({'appendonly': 'yes', 'appendfsync': 'everysec', 'dir': disk, 'rdbcompression': 'no', 'save': '3600 1',
                     'auto-aof-rewrite-percentage': 0})
    answered = []
    for i in range(1500):
        assert node.call('SET', 'key:%d' % i, VALUE) == b'OK'
        answered.append('key:%d' % i)
    with open(os.path.join(disk, 'ballast'), 'wb') as file:
        file.write(b'\0' * 6 * 10 ** 6)
    node.call('BGREWRITEAOF')
    wait_for(lambda: node.info('persistence')['aof_last_bgrewrite_status'] == 'err', 'the rewrite fails')
    node.call('BGSAVE')
    wait_for(lambda: node.info('persistence')['rdb_last_bgsave_status'] == 'err', 'the save fails')
    assert 'No space left on device' in node.log_text()
    with pytest.raises(ReplyError, match='MISCONF Redis is configured to save RDB snapshots'):
        node.call('SET', 'refused', '1')
    os.unlink(os.path.join(disk, 'ballast'))
    left = [name for name in os.listdir(disk) + os.listdir(os.path.join(disk, 'appendonlydir')) if name.startswith('temp-')]
    assert left == [], 'files of what failed'
    node.call('BGSAVE')
    wait_for(lambda: node.info('persistence')['rdb_last_bgsave_status'] == 'ok', 'the save succeeds')
    assert node.call('SET', 'taken', '1') == b'OK'
    wait_for(lambda: node.info('persistence')['aof_buffer_length'] in ('0', 0), 'all of it is in the file')
    node.kill()
    node.start()
    check(node, answered)


def test_a_folder_that_turns_read_only(lab, disk):
    node = lab.node({'appendonly': 'no', 'dir': disk, 'save': '3600 1'})
    answered = ['key:%d' % i for i in range(50)]
    for key in answered:
        assert node.call('SET', key, VALUE) == b'OK'
    assert node.call('SAVE') == b'OK'
    remount(disk, 'ro')
    with pytest.raises(ReplyError):
        node.call('SAVE')
    assert node.call('SET', answered[0], VALUE) == b'OK'  # Who asked for the save has heard of it; nobody else.
    node.call('BGSAVE')
    wait_for(lambda: node.info('persistence')['rdb_last_bgsave_status'] == 'err', 'the save fails')
    with pytest.raises(ReplyError, match='MISCONF'):
        node.call('SET', 'refused', '1')
    assert 'Read-only file system' in node.log_text()
    with pytest.raises(ReplyError):
        node.call('CONFIG', 'SET', 'appendonly', 'yes')
    assert node.call('GET', answered[0]) == VALUE.encode()
    remount(disk, 'rw')
    assert node.call('SAVE') == b'OK'
    assert node.call('SET', 'taken', '1') == b'OK'
    assert node.call('CONFIG', 'SET', 'appendonly', 'yes') == b'OK'
    node.call('CONFIG', 'REWRITE')
    wait_for(lambda: node.info('persistence')['aof_rewrite_in_progress'] in ('0', 0), 'the log has a base')
    node.kill()
    node.start()
    check(node, answered)
    assert node.call('GET', 'taken') == b'1'
