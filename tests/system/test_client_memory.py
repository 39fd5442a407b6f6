"""maxmemory-clients: the heaviest clients are closed when all of them together take too much."""
import socket

from harness import wait_for
from resp import Closed, ReplyError

MB = 1 << 20


def send_part(node, size):
    """A client that has sent a part of a long command: the server holds it."""
    connection = node.connect()
    try:
        connection.send_raw(b'*2\r\n$4\r\nECHO\r\n$%d\r\n' % (16 * MB) + b'x' * size)
    except OSError:
        pass  # It was too much.
    return connection


def is_open(connection):
    connection.socket.settimeout(0.2)
    try:
        return connection.socket.recv(1) != b''
    except socket.timeout:
        return True
    except OSError:
        return False


def evicted(node):
    return int(node.info('stats')['evicted_clients'])


def memory_of(node, parts):
    """What the clients of these parts take, when all of each part has arrived."""
    def rows():
        rows = [dict(word.split('=', 1) for word in row.split()) for row in node.call('CLIENT', 'LIST').decode().splitlines()]
        return [row for row in rows if int(row['qbuf']) > 0]
    wait_for(lambda: sum(int(row['qbuf']) for row in rows()) >= sum(parts), 'the parts are there')
    return sum(int(row['tot-mem']) for row in rows())


def test_the_heaviest_go_first(lab, workers):
    node = lab.node(workers=workers)
    small = [send_part(node, MB) for _ in range(3)]
    small_memory = memory_of(node, [MB] * 3)
    heavy = [send_part(node, size * MB) for size in (3, 4)]
    all_memory = memory_of(node, [MB] * 3 + [3 * MB, 4 * MB])
    node.call('CONFIG', 'SET', 'maxmemory-clients', all_memory + 9 * MB)
    assert evicted(node) == 0 and all(map(is_open, small + heavy))
    heavy.append(send_part(node, 14 * MB))
    wait_for(lambda: evicted(node) == 1, 'a client is evicted')
    assert not is_open(heavy[2]) and all(map(is_open, small + heavy[:2]))
    assert 'Evicting client: id=' in node.log_text()
    node.call('CONFIG', 'SET', 'maxmemory-clients', small_memory + MB)
    wait_for(lambda: evicted(node) == 3, 'the others of the heavy ones go')
    assert not any(map(is_open, heavy)) and all(map(is_open, small))


def test_some_are_spared(lab, workers):
    node = lab.node(workers=workers)
    spared = node.connect()
    spared.call('CLIENT', 'NO-EVICT', 'on')
    spared.send_raw(b'*2\r\n$4\r\nECHO\r\n$%d\r\n' % (16 * MB) + b'x' * 6 * MB)
    other = send_part(node, MB)
    wait_for(lambda: b'qbuf=10' in node.call('CLIENT', 'LIST'), 'its part is there')
    admin = node.connect()
    admin.call('CLIENT', 'NO-EVICT', 'on')
    admin.call('CONFIG', 'SET', 'maxmemory-clients', '2mb')
    wait_for(lambda: b'evicted_clients:1' in admin.call('INFO', 'stats'), 'the other one goes')
    assert is_open(spared) and not is_open(other)
    assert admin.call('PING') == b'PONG', 'over the limit, with nobody left to close'
    admin.call('CONFIG', 'SET', 'maxmemory-clients', '50%')
    with node.connect() as late:
        assert late.call('PING') == b'PONG', 'a part of no maxmemory is no limit'


def test_replies_queues_and_subscriptions_count(lab, workers):
    node = lab.node({'maxmemory-clients': '6mb', 'client-output-buffer-limit': 'pubsub 0 0 0'}, workers=workers)
    node.call('SET', 'big', b'x' * MB)

    def queue(connection):
        connection.send('MULTI')
        for _ in range(20):
            connection.send('SET', 'key', b'x' * MB)

    def leave_unread(connection):
        for _ in range(40):
            connection.send('GET', 'big')

    def subscribe(connection):
        for start in range(0, 400000, 1000):
            connection.call('SUBSCRIBE', *('channel:%032d' % i for i in range(start, start + 1000)))
            for _ in range(999):
                connection.read()
    for count, work in enumerate((queue, leave_unread, subscribe), start=1):
        with node.connect() as connection:
            try:
                work(connection)
            except (Closed, OSError, ReplyError):
                pass
            wait_for(lambda wanted=count: evicted(node) >= wanted, work.__name__)
    assert node.call('PING') == b'PONG'


def test_the_limit_follows_maxmemory(lab):
    node = lab.node({'maxmemory-clients': '10%', 'maxmemory': '1gb'})
    part = send_part(node, 4 * MB)
    assert is_open(part)
    node.call('CONFIG', 'SET', 'maxmemory', '30mb')
    wait_for(lambda: evicted(node) == 1, 'a tenth is too little')
    assert not is_open(part)
