"""What took long is kept and shown, without the passwords in it."""


def words_of(node, count=1):
    return [entry[3] for entry in node.call('SLOWLOG', 'GET', count)]


def test_slow_commands_are_kept_newest_first(lab, workers):
    node = lab.node({'slowlog-log-slower-than': 0, 'slowlog-max-len': 3}, workers=workers)
    with node.connect() as connection:
        connection.call('CLIENT', 'SETNAME', 'probe')
        for i in range(5):
            connection.call('SET', 'key', i)
        connection.call('CONFIG', 'SET', 'slowlog-log-slower-than', '-1')
        log = connection.call('SLOWLOG', 'GET', '-1')
        assert [entry[3] for entry in log] == [[b'SET', b'key', b'%d' % i] for i in (4, 3, 2)]
        assert {entry[5] for entry in log} == {b'probe'}
        assert [entry[0] for entry in log] == sorted((entry[0] for entry in log), reverse=True)
        connection.call('CONFIG', 'SET', 'slowlog-max-len', 1)
        assert connection.call('SLOWLOG', 'LEN') == 1
        connection.call('SLOWLOG', 'RESET')
        assert connection.call('SLOWLOG', 'LEN') == 0


def test_commands_of_a_transaction_are_kept_by_themselves(lab):
    node = lab.node({'slowlog-log-slower-than': 0})
    with node.connect() as connection:
        for words in (['MULTI'], ['SET', 'a', 1], ['GET', 'a'], ['EXEC']):
            connection.call(*words)
        assert words_of(connection, 3)[:2] == [[b'GET', b'a'], [b'SET', b'a', b'1']]


def test_passwords_are_not_kept(lab):
    node = lab.node({'slowlog-log-slower-than': 0})
    hidden = b'(redacted)'
    with node.connect() as connection:
        connection.call('CONFIG', 'SET', 'requirepass', 'secret')
        assert words_of(connection) == [[b'CONFIG', b'SET', b'requirepass', hidden]]
        connection.call('AUTH', 'default', 'secret')
        assert words_of(connection) == [[b'AUTH', hidden, hidden]]
        connection.call('HELLO', 2, 'AUTH', 'default', 'secret', 'SETNAME', 'me')
        assert words_of(connection) == [[b'HELLO', b'2', b'AUTH', hidden, hidden, b'SETNAME', b'me']]
        connection.call('CONFIG', 'SET', 'requirepass', '')


def test_long_events_are_watched(lab):
    node = lab.node({'latency-monitor-threshold': 5, 'enable-debug-command': 'yes'})
    node.call('DEBUG', 'SLEEP', '0.02')
    (name, _, latest, longest), = node.call('LATENCY', 'LATEST')
    assert name == b'command' and latest >= 20 and longest == latest
    assert [sample[1] for sample in node.call('LATENCY', 'HISTORY', 'command')] == [latest]
    assert node.call('LATENCY', 'GRAPH', 'command').startswith(b'command - high %d ms' % latest)
    assert b'SLOWLOG' in node.call('LATENCY', 'DOCTOR')
    assert node.call('LATENCY', 'RESET', 'command') == 1
    assert node.call('LATENCY', 'LATEST') == []
