"""Where clients knock: CONFIG SET port and bind at run time."""
import socket

import pytest

from resp import Connection, ReplyError


def knocks(port, host='127.0.0.1'):
    try:
        with Connection(port, host) as connection:
            return connection.call('PING') == b'PONG'
    except OSError:
        return False


def error_of(connection, *words):
    with pytest.raises(ReplyError) as caught:
        connection.call(*words)
    return str(caught.value)


@pytest.fixture
def ports(lab):
    return [lab.ports.take() for _ in range(2)]


def test_the_port_changes_and_connections_stay(lab, workers, ports):
    node = lab.node(workers=workers)
    with node.connect() as connection:
        for port in ports:
            assert connection.call('CONFIG', 'SET', 'port', port) == b'OK'
            assert knocks(port) and connection.call('PING') == b'PONG'
            assert connection.call('CONFIG', 'GET', 'port') == [b'port', b'%d' % port]
        assert not knocks(node.port) and not knocks(ports[0])
        assert connection.call('CONFIG', 'SET', 'port', 0) == b'OK'
        assert not knocks(ports[1])
        assert connection.call('CONFIG', 'SET', 'port', node.port) == b'OK'
        assert knocks(node.port)


def test_a_port_that_is_taken_changes_nothing(lab, workers, ports):
    node = lab.node(workers=workers)
    with socket.socket() as taken, node.connect() as connection:
        taken.bind(('0.0.0.0', ports[0]))
        taken.listen(1)
        assert error_of(connection, 'CONFIG', 'SET', 'port', ports[0]) == (
            "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs.")
        assert connection.call('CONFIG', 'GET', 'port') == [b'port', b'%d' % node.port]
        assert knocks(node.port)
        assert 'Address already in use' in node.log_text()
        error_of(connection, 'CONFIG', 'SET', 'port', ports[1], 'dir', '/does/not/exist')
        assert knocks(node.port) and not knocks(ports[1]), 'a change that is taken back'


def test_addresses_come_and_go(lab, workers):
    node = lab.node({'bind': '127.0.0.1 127.0.0.2'}, workers=workers)
    with node.connect() as connection:
        assert connection.call('CONFIG', 'GET', 'bind') == [b'bind', b'127.0.0.1 127.0.0.2']
        assert knocks(node.port, '127.0.0.2') and not knocks(node.port, '127.0.0.3')
        assert connection.call('CONFIG', 'SET', 'bind', '127.0.0.1 127.0.0.3 -198.51.100.1') == b'OK'
        assert knocks(node.port) and knocks(node.port, '127.0.0.3') and not knocks(node.port, '127.0.0.2')
        for address in ('198.51.100.1', 'no such host', '127.0.0.1 198.51.100.1'):
            assert 'Failed to bind to specified addresses.' in error_of(connection, 'CONFIG', 'SET', 'bind', address)
        assert 'Too many bind addresses specified.' in error_of(connection, 'CONFIG', 'SET', 'bind', '127.0.0.1 ' * 16 + '::1')
        assert knocks(node.port) and knocks(node.port, '127.0.0.3')
        assert connection.call('CONFIG', 'SET', 'bind', '*') == b'OK', 'it covers what was there'
        assert knocks(node.port, '127.0.0.4')
        assert connection.call('CONFIG', 'SET', 'bind', '') == b'OK'
        assert not knocks(node.port)
        assert connection.call('CONFIG', 'SET', 'bind', '127.0.0.1') == b'OK'
        assert connection.call('CONFIG', 'REWRITE') == b'OK'
    node.restart()
    assert knocks(node.port) and not knocks(node.port, '127.0.0.2')


def test_a_node_of_a_cluster_keeps_its_port(lab, ports):
    node = lab.cluster_node()
    with node.connect() as connection:
        assert 'A node of a cluster keeps its port' in error_of(connection, 'CONFIG', 'SET', 'port', ports[0])
    assert knocks(node.port)
