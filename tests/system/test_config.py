"""Options and the life of a process: files, stdin, rewriting, signals, sockets, limits."""
import os
import re
import signal
import socket
import stat
import subprocess
import time

import pytest

from harness import run, wait_for, DUNLIN_CLI
from resp import Closed, Connection, ReplyError


def read(path):
    with open(path) as text:
        return text.read()


def config(node, name):
    return dict(zip(*[iter(node.call('CONFIG', 'GET', name))] * 2)).get(name.encode())


def test_options_come_from_file_include_and_command_line(lab):
    node = lab.node({'maxclients': 200, 'timeout': 33}, start=False)
    included = os.path.join(node.folder, 'more.conf')
    with open(included, 'w') as conf:
        conf.write('# a comment\n\nTIMEOUT 44\nproto-max-bulk-len 100mb\n')
    with open(node.conf_path, 'a') as conf:
        conf.write('include %s\n' % included)
    node.spawn(node.conf_path, '--maxclients', '300', '--loglevel', 'verbose')
    node.wait_ready()
    assert config(node, 'timeout') == b'44'
    assert config(node, 'proto-max-bulk-len') == b'104857600'
    assert config(node, 'maxclients') == b'300'
    assert config(node, 'loglevel') == b'verbose'
    assert node.info('server')['config_file'] == node.conf_path


def test_a_dash_reads_the_configuration_from_stdin(lab):
    node = lab.node(start=False)
    source, sink = os.pipe()
    node.spawn('-', stdin=source)
    os.close(source)
    with os.fdopen(sink, 'w') as conf:
        conf.write(read(node.conf_path) + 'timeout 55\n')
    node.wait_ready()
    assert config(node, 'timeout') == b'55'


def test_rewrite_keeps_comments_and_survives_a_restart(lab):
    node = lab.node({'maxclients': 200}, start=False)
    with open(node.conf_path, 'a') as conf:
        conf.write('# my own comment\n')
    node.start()
    assert node.call('CONFIG', 'SET', 'maxclients', 250, 'timeout', 77, 'proto-max-bulk-len', '50mb') == b'OK'
    assert node.call('CONFIG', 'SET', 'save', '900 1 300 10') == b'OK'
    assert node.call('CONFIG', 'REWRITE') == b'OK'
    text = read(node.conf_path)
    assert '# my own comment' in text
    assert re.search(r'^maxclients 250$', text, re.M) and re.search(r'^timeout 77$', text, re.M), text
    assert text.count('maxclients') == 1
    node.stop()
    node.start()
    assert config(node, 'maxclients') == b'250'
    assert config(node, 'timeout') == b'77'
    assert config(node, 'proto-max-bulk-len') == b'52428800'
    assert config(node, 'save') == b'900 1 300 10'
    assert node.call('CONFIG', 'REWRITE') == b'OK'
    assert read(node.conf_path).count('maxclients') == 1


def test_a_refused_set_changes_nothing(lab):
    node = lab.node({'timeout': 11})
    with pytest.raises(ReplyError, match='CONFIG SET failed'):
        node.call('CONFIG', 'SET', 'timeout', 22, 'maxclients', 'many')
    assert config(node, 'timeout') == b'11'
    with pytest.raises(ReplyError, match="can't set immutable config"):
        node.call('CONFIG', 'SET', 'databases', 5)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_with_status_0(lab, workers, number):
    node = lab.node({'save': '3600 1'}, workers=workers)
    node.call('SET', 'k', 'v')
    node.call('SET', 'k2', 'v', 'EX', 1000)
    node.call('HSET', 'h', 'f', 'v')
    node.process.send_signal(number)
    assert node.process.wait(15) == 0
    node.start()
    assert node.call('GET', 'k') == b'v' and node.call('HGET', 'h', 'f') == b'v'
    assert 900 < node.call('TTL', 'k2') <= 1000


def test_a_signal_right_after_the_first_write_saves_it(lab):
    for _ in range(5):
        node = lab.node({'save': '3600 1'}, start=False)
        node.spawn(node.conf_path)
        end = time.monotonic() + 15
        while True:  # No pause: the first client there is.
            try:
                with Connection(node.port) as first:
                    assert first.call('SET', 'k', 'v') == b'OK'
                break
            except OSError:
                assert time.monotonic() < end
        assert node.stop() == 0
        assert node.start().call('GET', 'k') == b'v'
        node.kill()


def test_shutdown_with_and_without_saving(lab):
    node = lab.node({'save': '3600 1'})
    node.call('SET', 'k', 'saved')
    with pytest.raises(Closed):
        node.call('SHUTDOWN', 'SAVE')
    assert node.process.wait(15) == 0
    node.start()
    node.call('SET', 'k', 'lost')
    with pytest.raises(Closed):
        node.call('SHUTDOWN', 'NOSAVE')
    assert node.process.wait(15) == 0
    node.start()
    assert node.call('GET', 'k') == b'saved'


def test_a_signal_ends_a_busy_server_too(lab, workers):
    node = lab.node(workers=workers)
    connections = [node.connect() for _ in range(50)]
    for i, connection in enumerate(connections):
        for j in range(200):
            connection.send('SET', 'k%d:%d' % (i, j), 'v' * 1000)
    assert node.stop() == 0


def test_the_pid_file_is_written_and_removed(lab):
    node = lab.node(start=False)
    path = os.path.join(node.folder, 'server.pid')
    node.options['pidfile'] = path
    node.write_conf()
    node.start()
    assert int(read(path)) == node.process.pid
    assert node.stop() == 0
    assert not os.path.exists(path)


def test_daemonize_leaves_the_terminal_and_logs_to_a_file(lab):
    node = lab.node(start=False)
    pid_path, log_path = os.path.join(node.folder, 'server.pid'), os.path.join(node.folder, 'server.log')
    node.options.update({'daemonize': 'yes', 'pidfile': pid_path, 'logfile': log_path})
    node.write_conf()
    done = subprocess.run([node.binary, node.conf_path], cwd=node.folder, timeout=10, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert done.returncode == 0
    pid = wait_for(lambda: os.path.exists(pid_path) and int(read(pid_path) or 0), 'the pid file is written')
    try:
        wait_for(lambda: node.call('PING') == b'PONG', 'the daemon answers')
        assert os.getsid(pid) != os.getsid(0)
        assert read(log_path)
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not os.path.exists('/proc/%d' % pid) or
             read('/proc/%d/stat' % pid).rsplit(')', 1)[1].split()[0] == 'Z', 'the daemon has ended')
    assert not os.path.exists(pid_path)


def test_a_unix_socket_serves_with_its_permissions(lab):
    node = lab.node(start=False)
    path = os.path.join(node.folder, 's')
    node.options.update({'unixsocket': path, 'unixsocketperm': '700'})
    node.write_conf()
    node.start()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    with Connection(0, path=path) as connection:
        assert connection.call('SET', 'k', 'v') == b'OK'
        assert connection.call('GET', 'k') == b'v'
    assert run(DUNLIN_CLI, '-s', path, 'GET', 'k').stdout.strip() == 'v'
    node.restart()  # A socket file that a killed server left does not stand in the way.
    with Connection(0, path=path) as connection:
        assert connection.call('PING') == b'PONG'


def test_port_0_listens_on_the_unix_socket_alone(lab):
    node = lab.node(start=False)
    path = os.path.join(node.folder, 's')
    node.options.update({'port': 0, 'unixsocket': path})
    node.write_conf()
    node.spawn(node.conf_path)

    def answers():
        with Connection(0, path=path) as connection:
            return connection.call('PING') == b'PONG'
    wait_for(answers, 'the socket answers')
    with pytest.raises(ConnectionRefusedError):
        node.connect()


def test_clients_beyond_maxclients_are_told_so(lab, workers):
    node = lab.node({'maxclients': 20}, workers=workers)
    clients = []
    try:
        for _ in range(20):
            client = node.connect()
            client.call('PING')
            clients.append(client)
        extra = node.connect()
        assert str(extra.read()) == 'ERR max number of clients reached'
        with pytest.raises(Closed):
            extra.read()
        extra.close()
        assert clients[0].call('PING') == b'PONG'
        clients.pop().close()
        wait_for(lambda: node.call('PING') == b'PONG', 'a place is free again')
        assert clients[0].call('INFO', 'stats').count(b'rejected_connections:') == 1
    finally:
        for client in clients:
            client.close()


def test_idle_clients_are_closed_after_timeout(lab, workers):
    node = lab.node({'timeout': 1}, workers=workers)
    with node.connect() as idle, node.connect() as busy:
        idle.call('PING')
        deadline = time.monotonic() + 6
        with pytest.raises(Closed):
            idle.socket.settimeout(0.3)
            while time.monotonic() < deadline:
                busy.call('PING')
                try:
                    idle.read()
                except socket.timeout:
                    pass
        assert busy.call('PING') == b'PONG'


def test_a_password_is_required(lab, workers):
    node = lab.node({'requirepass': 'secret word'.replace(' ', '-')}, workers=workers)
    with node.connect() as connection:
        with pytest.raises(ReplyError, match='^NOAUTH Authentication required.'):
            connection.call('GET', 'k')
        with pytest.raises(ReplyError, match='^WRONGPASS invalid username-password pair or user is disabled.'):
            connection.call('AUTH', 'wrong')
        assert connection.call('AUTH', 'secret-word') == b'OK'
        assert connection.call('SET', 'k', 'v') == b'OK'
    with node.connect() as connection:
        assert connection.call('AUTH', 'default', 'secret-word') == b'OK'
    assert run(DUNLIN_CLI, '-p', node.port, 'GET', 'k', env={'REDISCLI_AUTH': 'secret-word'}).stdout.strip() == 'v'


def test_maxmemory_refuses_writes_and_evicts(lab, workers):
    node = lab.node(workers=workers)
    if config(node, 'maxmemory') is None:
        pytest.skip('the server has no maxmemory')
    assert node.call('CONFIG', 'SET', 'maxmemory', '20mb', 'maxmemory-policy', 'noeviction') == b'OK'
    with node.connect() as connection:
        with pytest.raises(ReplyError, match="^OOM command not allowed when used memory > 'maxmemory'."):
            for i in range(40000):
                connection.call('SET', 'k%d' % i, 'v' * 1000)
        assert connection.call('GET', 'k0') == b'v' * 1000
        connection.call('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
        for i in range(40000, 60000):
            assert connection.call('SET', 'k%d' % i, 'v' * 1000) == b'OK'
    assert int(node.info('stats')['evicted_keys']) > 0
    assert int(node.info('memory')['used_memory']) < 21 << 20


def test_a_saved_file_is_loaded_by_redis_and_the_other_way_round(lab, workers):
    node = lab.node({'save': '3600 1'}, workers=workers)
    other = lab.redis({'save': '3600 1'}, start=False)
    with node.connect() as connection:
        for i in range(3000):
            connection.call('SET', 'k%d' % i, 'v%d' % i)
        connection.call('HSET', 'big', *[str(i) for i in range(2000)])
        connection.call('SET', 'soon', 'v', 'EX', 5000)
        connection.call('SELECT', 3)
        connection.call('SET', 'three', 'x' * 30000)
        assert connection.call('SAVE') == b'OK'
    os.rename(os.path.join(node.folder, 'dump.rdb'), os.path.join(other.folder, 'dump.rdb'))
    other.start()
    assert other.call('DBSIZE') == 3002 and other.call('HLEN', 'big') == 1000
    assert other.call('GET', 'k77') == b'v77' and 4000 < other.call('TTL', 'soon') <= 5000
    other.call('SET', 'from', 'redis')
    other.stop()
    node.kill()
    os.rename(os.path.join(other.folder, 'dump.rdb'), os.path.join(node.folder, 'dump.rdb'))
    node.start()
    assert node.call('DBSIZE') == 3003 and node.call('GET', 'from') == b'redis'
    assert node.client(db=3).get('three') == b'x' * 30000


def test_bgsave_writes_the_state_of_its_beginning_while_writes_go_on(lab, workers):
    node = lab.node(workers=workers)
    with node.connect() as connection:
        for i in range(50000):
            connection.send('SET', 'k%d' % i, 'before')
        for _ in range(50000):
            connection.read()
        saved = connection.call('LASTSAVE')
        time.sleep(1.1)
        assert connection.call('BGSAVE') == b'Background saving started'
        for i in range(0, 50000, 3):
            connection.call('SET', 'k%d' % i, 'after')
            if i % 9 == 0:
                connection.call('DEL', 'k%d' % (i + 1))
        wait_for(lambda: node.info('persistence')['rdb_bgsave_in_progress'] == '0' and
                 node.call('LASTSAVE') > saved, 'the save has ended')
    assert node.info('persistence')['rdb_last_bgsave_status'] == 'ok'
    dump = os.path.join(node.folder, 'dump.rdb')
    reader = lab.redis(start=False)
    os.link(dump, os.path.join(reader.folder, 'dump.rdb'))
    reader.start()
    assert reader.call('DBSIZE') == 50000
    with reader.connect() as connection:
        for i in range(49998):
            connection.send('GET', 'k%d' % i)
        assert {connection.read() for _ in range(49998)} == {b'before'}


def test_the_data_folder_changes_at_run_time(lab, tmp_path):
    node = lab.node({'enable-protected-configs': 'yes'})
    node.call('SET', 'key', 'value')
    assert node.call('CONFIG', 'SET', 'dir', str(tmp_path)) == b'OK'
    node.call('SAVE')
    saved = tmp_path / 'dump.rdb'
    assert saved.exists()
    with pytest.raises(ReplyError, match='No such file or directory'):
        node.call('CONFIG', 'SET', 'dir', '/no such folder')
    saved.unlink()
    node.call('SAVE')
    assert saved.exists()
