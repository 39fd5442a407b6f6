"""Users: what rules allow and deny, who is closed when they change, and the files they are kept in."""
import os
import threading

import pytest

from harness import wait_for
from resp import Closed, ReplyError

KEY_DENIED = 'NOPERM this user has no permissions to access one of the keys used as arguments'
CHANNEL_DENIED = 'NOPERM this user has no permissions to access one of the channels used as arguments'
WRONG_PASSWORD = 'WRONGPASS invalid username-password pair or user is disabled.'


def command_denied(name):
    return "NOPERM this user has no permissions to run the '%s' command" % name


def error_of(connection, *words):
    with pytest.raises(ReplyError) as caught:
        connection.call(*words)
    return str(caught.value)


def is_closed(connection):
    try:
        connection.call('PING')
    except (Closed, OSError):
        return True
    return False


def log_in(node, user, password='pw'):
    connection = node.connect()
    assert connection.call('AUTH', user, password) == b'OK'
    return connection


def rules_of(node, user):
    return {line.split()[1]: line for line in (row.decode() for row in node.call('ACL', 'LIST'))}[user]


def test_rules_allow_and_deny(lab, workers):
    node = lab.node(workers=workers)
    node.call('ACL', 'SETUSER', 'bob', 'on', '>pw', '~a*', '%R~r*', '&news', '+@all', '-flushall', '-config|set')
    with log_in(node, 'bob') as bob:
        assert bob.call('ACL', 'WHOAMI') == b'bob'
        assert bob.call('SET', 'a1', 1) == b'OK'
        assert bob.call('GET', 'r1') is None
        assert error_of(bob, 'SET', 'r1', 1) == KEY_DENIED
        assert error_of(bob, 'MGET', 'a1', 'x') == KEY_DENIED
        assert error_of(bob, 'FLUSHALL') == command_denied('flushall')
        assert error_of(bob, 'CONFIG', 'SET', 'hz', 10) == command_denied('config|set')
        assert error_of(bob, 'SUBSCRIBE', 'other') == CHANNEL_DENIED
        assert bob.call('PUBLISH', 'news', 'x') == 0
        assert 'BY option of SORT denied due to insufficient ACL' in error_of(bob, 'SORT', 'a1', 'BY', 'x*')
        assert bob.call('RESET') == b'RESET'
        assert bob.call('ACL', 'WHOAMI') == b'default'
    stats = node.info('stats')
    assert (stats['acl_access_denied_cmd'], stats['acl_access_denied_key'], stats['acl_access_denied_channel']) == ('2', '2', '1')


def test_a_transaction_runs_by_the_rules_of_its_exec(lab, workers):
    node = lab.node(workers=workers)
    node.call('ACL', 'SETUSER', 'bob', 'on', '>pw', '~*', '&*', '+@all')
    with log_in(node, 'bob') as bob:
        for words in (['MULTI'], ['SET', 'k', 1], ['PUBLISH', 'c', 'x'], ['FLUSHALL'], ['PING']):
            bob.call(*words)
        node.call('ACL', 'SETUSER', 'bob', 'resetkeys', 'resetchannels', '-flushall')
        reasons = [str(reply).rsplit(': ', 1)[-1] for reply in bob.call('EXEC')[:3]]
        assert reasons == ['no permission to touch the specified keys',
                           'no permission to access one of the channels used as arguments',
                           'no permission to execute the command or subcommand']
        assert bob.call('MULTI') == b'OK'
        assert error_of(bob, 'GET', 'k') == KEY_DENIED
        assert error_of(bob, 'EXEC') == 'EXECABORT Transaction discarded because of previous errors.'
        node.call('ACL', 'SETUSER', 'bob', '-exec')
        bob.call('MULTI')
        assert error_of(bob, 'EXEC') == 'EXECABORT Transaction discarded because of: ' + command_denied('exec')
        assert error_of(bob, 'DISCARD') == 'ERR DISCARD without MULTI'
    assert node.call('GET', 'k') is None


def test_scripts_run_with_the_rights_of_their_caller(lab, workers):
    node = lab.node(workers=workers)
    node.call('ACL', 'SETUSER', 'bob', 'on', '>pw', '~a*', '+@all', '-flushall')
    with log_in(node, 'bob') as bob:
        assert bob.call('EVAL', "return redis.call('SET', KEYS[1], 'x')", 1, 'a') == b'OK'
        assert "can't access at least one of the keys" in error_of(bob, 'EVAL', "return redis.call('GET', 'b')", 0)
        assert "can't run this command or subcommand" in error_of(bob, 'EVAL', "return redis.call('FLUSHALL')", 0)
        assert "can't publish to the channel" in error_of(bob, 'EVAL', "return redis.call('PUBLISH', 'c', 'x')", 0)
        assert bob.call('EVAL', "return {redis.acl_check_cmd('GET', 'a') and 1 or 0, redis.acl_check_cmd('GET', 'b') and 1 "
                        "or 0, redis.acl_check_cmd('FLUSHALL') and 1 or 0}", 0) == [1, 0, 0]
        assert 'Invalid command passed to redis.acl_check_cmd()' in error_of(bob, 'EVAL', "redis.acl_check_cmd('no')", 0)
        assert 'BY option of SORT denied' in error_of(bob, 'EVAL', "return redis.call('SORT', 'a', 'BY', 'x*')", 0)
    entry = node.call('ACL', 'LOG')[0]
    fields = dict(zip(entry[::2], entry[1::2]))
    assert fields[b'context'] == b'lua' and fields[b'username'] == b'bob' and b'cmd=eval user=bob' in fields[b'client-info']


def test_who_loses_rights_is_closed(lab, workers):
    node = lab.node(workers=workers)
    for user in ('bob', 'carl'):
        node.call('ACL', 'SETUSER', user, 'on', '>pw', '~*', '&a*', '&b', '+@all')
    connections = [log_in(node, 'bob') for _ in range(4)]
    others = [log_in(node, 'carl') for _ in range(4)]
    listener, pattern = log_in(node, 'bob'), log_in(node, 'bob')
    listener.call('SUBSCRIBE', 'a1')
    pattern.call('PSUBSCRIBE', 'a*')
    node.call('ACL', 'SETUSER', 'bob', 'resetchannels', '&a1')
    assert is_closed(pattern) and not is_closed(listener)
    node.call('ACL', 'SETUSER', 'bob', 'resetchannels', '&b')
    assert is_closed(listener) and not any(is_closed(connection) for connection in connections)
    blocked = log_in(node, 'bob')
    blocked.send('BLPOP', 'list', 0)
    wait_for(lambda: node.info('clients')['blocked_clients'] == '1', 'it waits')
    assert node.call('ACL', 'DELUSER', 'bob', 'nobody') == 1
    assert all(is_closed(connection) for connection in connections)
    with pytest.raises((Closed, OSError)):
        blocked.read()
    assert not any(is_closed(connection) for connection in others)
    wait_for(lambda: node.info('clients')['blocked_clients'] == '0', 'nobody waits')
    assert node.call('CLIENT', 'KILL', 'USER', 'carl') == 4
    assert all(is_closed(connection) for connection in others)
    with node.connect() as connection:
        assert error_of(connection, 'CLIENT', 'KILL', 'USER', 'bob') == "ERR No such user 'bob'"


def test_who_deletes_its_own_user_hears_the_answer(lab, workers):
    node = lab.node(workers=workers)
    node.call('ACL', 'SETUSER', 'bob', 'on', '>pw', '~*', '+@all')
    bob = log_in(node, 'bob')
    for words in (['MULTI'], ['ACL', 'DELUSER', 'bob'], ['SET', 'k', 1]):
        bob.call(*words)
    replies = bob.call('EXEC')
    assert replies[0] == 1 and str(replies[1]).startswith('NOPERM')
    assert is_closed(bob)
    assert node.call('GET', 'k') is None


def test_what_was_denied_is_logged(lab, workers):
    node = lab.node({'acllog-max-len': 3}, workers=workers)
    node.call('ACL', 'SETUSER', 'bob', 'on', '>pw', '~a', '+get')
    with node.connect() as connection:
        assert error_of(connection, 'AUTH', 'bob', 'no') == WRONG_PASSWORD
        assert error_of(connection, 'AUTH', 'nobody', 'no') == WRONG_PASSWORD
        connection.call('AUTH', 'bob', 'pw')
        for words in (['GET', 'b'], ['SET', 'a', 1], ['GET', 'b']):
            error_of(connection, *words)

    def log(*words):
        return [dict(zip(entry[::2], entry[1::2])) for entry in node.call('ACL', 'LOG', *words)]
    shown = [(e[b'count'], e[b'reason'], e[b'context'], e[b'object'], e[b'username']) for e in log()]
    assert shown == [(2, b'key', b'toplevel', b'b', b'bob'), (1, b'command', b'toplevel', b'set', b'bob'),
                     (1, b'auth', b'toplevel', b'AUTH', b'nobody')]
    assert b'cmd=get user=bob' in log()[0][b'client-info'] and float(log()[0][b'age-seconds']) < 60
    assert len(log(2)) == 2 and log(0) == []
    node.call('CONFIG', 'SET', 'acllog-max-len', 1)
    assert len(log()) == 1
    assert node.call('ACL', 'LOG', 'RESET') == b'OK' and log() == []
    assert node.info('stats')['acl_access_denied_auth'] == '2'


def test_the_default_user_has_the_password_of_requirepass(lab, workers):
    node = lab.node(workers=workers)
    with node.connect() as before, node.connect() as admin:
        assert before.call('PING') == b'PONG'  # Its worker knows it now.
        admin.call('CONFIG', 'SET', 'requirepass', 'secret')
        assert before.call('PING') == b'PONG', 'who was there stays in'
        with node.connect() as after:
            assert error_of(after, 'PING') == 'NOAUTH Authentication required.'
            assert error_of(after, 'AUTH', 'no') == WRONG_PASSWORD
            admin.call('ACL', 'SETUSER', 'default', '>other')
            assert after.call('AUTH', 'other') == b'OK'
        with node.connect() as waits:
            assert error_of(waits, 'PING').startswith('NOAUTH')
            error_of(admin, 'CONFIG', 'SET', 'requirepass', '', 'dir', '/does/not/exist')
            assert error_of(waits, 'PING').startswith('NOAUTH'), 'a change that is taken back opens nothing'
            assert waits.call('AUTH', 'other') == b'OK'
        with node.connect() as waits:
            admin.call('CONFIG', 'SET', 'requirepass', '')
            assert waits.call('PING') == b'PONG', 'no password is asked for any more'


def test_users_stand_in_the_configuration(lab, workers):
    node = lab.node({'requirepass': 'secret', 'acl-pubsub-default': 'allchannels'}, workers=workers, start=False)
    with open(os.path.join(node.folder, 'users.conf'), 'w') as users:
        users.write('user bob on >pw ~a* +@all (~b +get)\nuser carl on nopass "~with\\"quote"\n')
    node.options['include'] = os.path.join(node.folder, 'users.conf')
    node.write_conf()
    node.start()
    with node.connect() as connection:
        connection.call('AUTH', 'secret')
        assert connection.call('ACL', 'USERS') == [b'bob', b'carl', b'default']
        connection.call('ACL', 'SETUSER', 'dora', 'on', '>pw', '+@read', '~"')
        connection.call('ACL', 'SETUSER', 'default', '>other')
        before = connection.call('ACL', 'LIST')
        connection.call('CONFIG', 'REWRITE')
    with open(os.path.join(node.folder, 'users.conf'), 'w') as users:
        users.write('# now in the main file\n')
    node.stop()
    node.start()
    with node.connect() as connection:
        connection.call('AUTH', 'other')
        assert connection.call('ACL', 'LIST') == before


def test_users_stand_in_a_file_of_their_own(lab, workers):
    node = lab.node({'aclfile': 'users.acl'}, workers=workers, start=False)
    path = os.path.join(node.folder, 'users.acl')

    def write(text):
        with open(path, 'w') as users:
            users.write(text)
    write('user bob on >pw ~* +@all &a*\n\n  user  carl on nopass +ping\nuser dora on nopass +ping\n')
    node.start()
    bob, carl, dora = (log_in(node, user) for user in ('bob', 'carl', 'dora'))
    write('user bob on bogus\nfoo\nuser bob off\nuser dora on (+get\n')
    with node.connect() as admin:
        error = error_of(admin, 'ACL', 'LOAD')
        assert error == ("ERR users.acl:1: Syntax error. users.acl:2 should start with user keyword followed by the "
                         "username. WARNING: Duplicate user 'bob' found on line 3. users.acl:4: Unmatched parenthesis in "
                         "acl selector starting at '(+get'. WARNING: ACL errors detected, no change to the previously "
                         "active ACL rules was performed")
        assert not any(is_closed(connection) for connection in (bob, carl, dora))
        write('user bob on >pw ~* +@all -flushall &a*\nuser carl on nopass +ping\n')
        assert admin.call('ACL', 'LOAD') == b'OK'
        assert is_closed(bob) and is_closed(dora) and not is_closed(carl), 'changed, gone, the same'
        admin.call('ACL', 'SETUSER', 'eve', 'on', '>pw')
        assert admin.call('ACL', 'SAVE') == b'OK'
        before = admin.call('ACL', 'LIST')
        with open(path) as users:
            assert users.read().splitlines() == [row.decode() for row in before]
        assert admin.call('CONFIG', 'REWRITE') == b'OK'
    with open(node.conf_path) as conf:
        assert 'user ' not in conf.read()
    node.restart()
    assert node.call('ACL', 'LIST') == before
    os.unlink(path)
    with node.connect() as admin:
        assert error_of(admin, 'ACL', 'LOAD') == "ERR Error loading ACLs, opening file 'users.acl': No such file or directory"


def test_files_are_exchanged_with_redis_server(lab):
    """What one wrote, the other reads, and means the same."""
    ours, theirs = lab.node({'aclfile': 'users.acl'}, start=False), lab.redis({'aclfile': 'users.acl'}, start=False)
    for node in (ours, theirs):
        with open(os.path.join(node.folder, 'users.acl'), 'w'):
            pass
        node.start()
    questions = [['GET', 'a1'], ['GET', 'x'], ['SET', 'r1', 'v'], ['CONFIG', 'GET', 'x'], ['CONFIG', 'SET', 'a', 'b'],
                 ['SUBSCRIBE', 'n1'], ['SUBSCRIBE', 'x'], ['SELECT', '0'], ['SELECT', '1'], ['LPUSH', 'l', 'x'], ['KEYS', '*']]
    rules = ['on', '>pw', '~a*', '%R~r*', '&n*', '+@all', '-@dangerous', '+config', '-config|set', '-select', '+select|0',
             '(-@all +@list ~l)']

    def verdicts(node):
        return [node.call('ACL', 'DRYRUN', 'bob', *question) for question in questions]
    for writer, reader in ((ours, theirs), (theirs, ours)):
        writer.call('ACL', 'SETUSER', 'bob', 'reset', *rules)
        writer.call('ACL', 'SAVE')
        with open(os.path.join(writer.folder, 'users.acl')) as source:
            text = source.read()
        with open(os.path.join(reader.folder, 'users.acl'), 'w') as target:
            target.write(text)
        assert reader.call('ACL', 'LOAD') == b'OK'
        assert verdicts(reader) == verdicts(writer)


def test_a_replica_logs_in_as_a_user(lab, workers):
    primary = lab.node(workers=workers)
    primary.call('ACL', 'SETUSER', 'copy', 'on', '>pw', '+psync', '+replconf', '+ping')
    primary.call('SET', 'k', 1)
    replica = lab.node({'masteruser': 'copy', 'masterauth': 'pw'}, workers=workers)
    replica.call('REPLICAOF', '127.0.0.1', primary.port)
    wait_for(lambda: replica.info('replication')['master_link_status'] == 'up', 'the link is up')
    primary.call('SET', 'k', 2)
    wait_for(lambda: replica.call('GET', 'k') == b'2', 'the write is there')
    primary.call('ACL', 'DELUSER', 'copy')
    wait_for(lambda: replica.info('replication')['master_link_status'] == 'down', 'its user is gone')


def test_rules_change_under_load(lab):
    """Nobody gets through by rules that were taken away before it asked."""
    node = lab.node(workers=4)
    node.call('ACL', 'SETUSER', 'bob', 'on', '>pw', '~*', '+@all')
    stop, failures = threading.Event(), []

    def work(index):
        with log_in(node, 'bob') as bob:
            while not stop.is_set():
                for words in (['SET', 'k%d' % index, 1], ['MSET', 'a', 1, 'b', 2, 'c', 3], ['FLUSHDB']):
                    try:
                        bob.call(*words)
                    except ReplyError as error:
                        if not str(error).startswith('NOPERM'):
                            failures.append(str(error))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    with node.connect() as admin:
        for _ in range(60):
            admin.call('ACL', 'SETUSER', 'bob', '-@write')
            admin.call('SET', 'mine', 1)
            for _ in range(10):
                if admin.call('GET', 'mine') != b'1':
                    failures.append('written without the right to')
            admin.call('ACL', 'SETUSER', 'bob', '+@write')
    stop.set()
    for thread in threads:
        thread.join(timeout=20)
    assert failures == [] and node.is_running()


def test_passwords_are_made(lab):
    node = lab.node()
    assert len(node.call('ACL', 'GENPASS')) == 64 and len(node.call('ACL', 'GENPASS', 5)) == 2
    assert node.call('ACL', 'GENPASS') != node.call('ACL', 'GENPASS')


