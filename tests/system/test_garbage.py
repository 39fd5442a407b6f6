"""A hundred thousand damaged packets at a live node: it stays up, its memory stays bounded, its cluster stays ok.

The packets are recorded ones and valid commands, mutated from a fixed seed. They never name a host but 127.0.0.1:
whatever a bus packet asks a node to meet lies on this machine, at a port where nobody listens.
"""
import glob
import os
import random
import re
import socket
import time

import pytest

from harness import slots_picture
from resp import ClusterClient, Connection, encode, slot_of

SEED = 20240607
BUS_PACKETS = 50000
CLIENT_PACKETS = 50000
PER_CONNECTION = 40
GROWTH_LIMIT = 96 << 20
DEAD_PORT = 1
BUS_TYPE_AT, BUS_LENGTH_AT, BUS_PORT_AT = 12, 4, 10
BUS_MYIP_AT, BUS_MYIP_SIZE, BUS_PPORT_AT, BUS_CPORT_AT = 2168, 46, 2246, 2248
BUS_GOSSIP_AT, BUS_GOSSIP_SIZE, BUS_GOSSIP_IP_AT, BUS_GOSSIP_PORTS_AT = 2256, 104, 48, (94, 96, 100)


def load_samples(folder):
    packets = []
    for path in sorted(glob.glob(os.path.join(folder, 'bus-*.hex'))):
        data = bytearray()
        with open(path) as lines:
            for line in lines:
                if not line.startswith('#') and line.strip():
                    data += bytes.fromhex(re.split(r'\s{2,}', line.strip(), 1)[1].replace(' ', ''))
        assert data[:4] == b'RCmb' and int.from_bytes(data[4:8], 'big') == len(data), path
        packets.append(bytes(data))
    return packets


def mutate(chance, data):
    """One to eight changes: flipped bits, set bytes, numbers at their edges, cuts, repeats, insertions."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        if not data:
            break
        at = chance.randrange(len(data))
        kind = chance.randrange(8)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at] = chance.randrange(256)
        elif kind == 2:
            data[at:at + 2] = chance.choice([b'\x00\x00', b'\xff\xff', b'\x7f\xff', b'\x80\x00'])
        elif kind == 3:
            data[at:at + 4] = chance.choice([b'\x00' * 4, b'\xff' * 4, b'\x7f\xff\xff\xff', b'\x00\x01\x00\x00'])
        elif kind == 4:
            del data[at:at + chance.randint(1, 64)]
        elif kind == 5:
            data[at:at] = data[at:at + chance.randint(1, 64)]
        elif kind == 6:
            data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 16)))
        else:
            del data[at:]
    return data


def mutated_bus_packet(chance, samples):
    data = mutate(chance, chance.choice(samples))
    shape = chance.random()
    if shape < 0.5 and len(data) >= 8:  # The length is right, so that the damage is met further in.
        data[BUS_LENGTH_AT:BUS_LENGTH_AT + 4] = len(data).to_bytes(4, 'big')
    elif shape < 0.6 and len(data) >= 8:  # It promises much more than comes.
        data[BUS_LENGTH_AT:BUS_LENGTH_AT + 4] = chance.choice([0x7fffffff, 0xffffffff, 1 << 24]).to_bytes(4, 'big')
    return stay_at_home(data)


def stay_at_home(data):
    """Rewrites every address in the packet to a dead port of this machine."""
    if len(data) >= BUS_GOSSIP_AT:
        data[BUS_MYIP_AT:BUS_MYIP_AT + BUS_MYIP_SIZE] = b'127.0.0.1'.ljust(BUS_MYIP_SIZE, b'\0')
        for at in (BUS_PORT_AT, BUS_PPORT_AT, BUS_CPORT_AT):
            data[at:at + 2] = DEAD_PORT.to_bytes(2, 'big')
        at = BUS_GOSSIP_AT
        while at + BUS_GOSSIP_SIZE <= len(data):
            data[at + BUS_GOSSIP_IP_AT:at + BUS_GOSSIP_IP_AT + BUS_MYIP_SIZE] = \
                b'127.0.0.1'.ljust(BUS_MYIP_SIZE, b'\0')
            for port_at in BUS_GOSSIP_PORTS_AT:
                data[at + port_at:at + port_at + 2] = DEAD_PORT.to_bytes(2, 'big')
            at += BUS_GOSSIP_SIZE
    return bytes(data)


def commands(tag):
    """Valid commands, none of which could end or reconfigure a server however it is damaged."""
    key = '{%s}key' % tag
    return [encode(*words) for words in (
        ['PING'], ['PING', 'x' * 100], ['ECHO', 'hello'], ['SET', key, 'value'], ['SET', key, 'v', 'EX', 100],
        ['GET', key], ['GETRANGE', key, 0, -1], ['APPEND', key, 'more'], ['SETRANGE', key, 5, 'x'], ['STRLEN', key],
        ['MSET', key, '1', key + '2', '2'], ['MGET', key, key + '2'], ['INCRBY', key + 'n', 5], ['DEL', key + 'n'],
        ['HSET', key + 'h', 'f', 'v', 'g', 'w'], ['HGETALL', key + 'h'], ['HINCRBY', key + 'h', 'n', 1],
        ['HRANDFIELD', key + 'h', 3, 'WITHVALUES'], ['HSCAN', key + 'h', 0, 'COUNT', 10], ['HDEL', key + 'h', 'f'],
        ['EXPIRE', key, 1000], ['TTL', key], ['TYPE', key], ['OBJECT', 'ENCODING', key], ['EXISTS', key, key],
        ['SCAN', 0, 'MATCH', '*', 'COUNT', 10], ['HELLO', 3], ['HELLO', 2], ['CLIENT', 'ID'], ['CLIENT', 'GETNAME'],
        ['COMMAND', 'COUNT'], ['COMMAND', 'INFO', 'get'], ['INFO', 'server'], ['CLUSTER', 'SLOTS'],
        ['CLUSTER', 'KEYSLOT', key], ['MULTI'], ['EXEC'], ['WATCH', key], ['DUMP', key], ['WAIT', 0, 1],
        ['CONFIG', 'GET', 'max*'], ['SUBSCRIBE', 'c'],
    )] + [b'PING\r\n', b'SET {%s}i "quoted \\x41 text"\r\n' % tag.encode(), b'GET {%s}i\r\n' % tag.encode()]


OVERSIZED = [
    b'*1048577\r\n', b'*2147483647\r\n$1\r\n', b'*-2147483648\r\n', b'*1\r\n$536870913\r\n',
    b'*2\r\n$3\r\nGET\r\n$99999999999999999999\r\n', b'*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc',
    b'A' * 70000, b'*1\r\n$' + b'9' * 70000, b'*' + b'1' * 70000 + b'\r\n', b'GET "unbalanced\r\n', b'\0' * 4096,
    b'*1000000\r\n' + b'$1\r\nx\r\n' * 200, b'*1\r\n' * 5000,
]


def mutated_command(chance, valid):
    if chance.random() < 0.02:
        return chance.choice(OVERSIZED)
    return bytes(mutate(chance, chance.choice(valid)))


class Thrower:
    """Throws packets at a port over connections that are renewed, and reads (and drops) what comes back."""

    def __init__(self, port):
        self.port = port
        self.socket = None
        self.left = 0

    def close(self):
        if self.socket:
            self.socket.close()
            self.socket = None

    def throw(self, data):
        if self.left == 0:
            self.close()
            self.socket = socket.create_connection(('127.0.0.1', self.port), 10)
            self.left = PER_CONNECTION
        self.left -= 1
        try:
            self.socket.settimeout(2)
            self.socket.sendall(data)
            self.socket.setblocking(False)
            while self.socket.recv(1 << 16):
                pass
            self.left = 0
        except BlockingIOError:
            pass
        except OSError:  # The node closed the connection, as it should, or does not read on.
            self.left = 0


def throw_all(node, port, packets, sentry, watched):
    """Throws all packets; a sentry connection asks all the while whether the node still answers quickly."""
    thrower = Thrower(port)
    worst = 0.0
    peak = node.rss_bytes()
    for count, packet in enumerate(packets, 1):
        thrower.throw(packet)
        if count % 500 == 0:
            started = time.monotonic()
            assert sentry.call('GET', watched) == b'untouched'
            worst = max(worst, time.monotonic() - started)
            peak = max(peak, node.rss_bytes())
    thrower.close()
    return worst, peak


@pytest.mark.parametrize('target', ['bus', 'client'])
def test_damaged_packets_do_no_harm(lab, shared, workers, target):
    cluster = lab.cluster(primaries=3, replicas=1, workers=workers)
    node = cluster.primaries()[0]
    client = ClusterClient(cluster.ports)
    watched = next('w%d' % i for i in range(1000) if client.owners[slot_of('w%d' % i)] == node.port)
    tag = next('t%d' % i for i in range(1000) if client.owners[slot_of('t%d' % i)] == node.port)
    assert client.call('SET', watched, 'untouched') == b'OK'
    before = [slots_picture(n) for n in cluster.nodes]
    pid, ids = node.process.pid, sorted(n.id for n in cluster.nodes)
    chance = random.Random(SEED)
    rss = node.rss_bytes()
    with Connection(node.port) as sentry:
        if target == 'bus':
            samples = load_samples(os.path.join(shared, 'spec', 'samples'))
            packets = (mutated_bus_packet(chance, samples) for _ in range(BUS_PACKETS))
            worst, peak = throw_all(node, node.port + 10000, packets, sentry, watched)
        else:
            valid = commands(tag)
            packets = (mutated_command(chance, valid) for _ in range(CLIENT_PACKETS))
            worst, peak = throw_all(node, node.port, packets, sentry, watched)
    print('slowest answer %.0f ms, resident memory %d -> %d KB' % (worst * 1000, rss >> 10, peak >> 10))
    assert node.process.pid == pid and node.is_running()
    assert worst < 2.0
    assert peak - rss < GROWTH_LIMIT
    # Nodes that damaged MEETs brought in as candidates are forgotten after the handshake's time.
    cluster.wait_ok(timeout=30)
    assert [slots_picture(n) for n in cluster.nodes] == before
    assert sorted(n.id for n in cluster.nodes) == ids
    assert client.call('GET', watched) == b'untouched'
    assert client.call('SET', watched, 'again') == b'OK'
    client.close()


def test_damaged_commands_do_no_harm_to_a_node_alone(lab, workers):
    node = lab.node(workers=workers)
    node.call('SET', 'watched', 'untouched')
    chance = random.Random(SEED)
    valid = commands('t')
    rss = node.rss_bytes()
    with Connection(node.port) as sentry:
        packets = (mutated_command(chance, valid) for _ in range(CLIENT_PACKETS))
        worst, peak = throw_all(node, node.port, packets, sentry, 'watched')
    print('slowest answer %.0f ms, resident memory %d -> %d KB' % (worst * 1000, rss >> 10, peak >> 10))
    assert node.is_running()
    assert worst < 2.0
    assert peak - rss < GROWTH_LIMIT
    assert node.call('GET', 'watched') == b'untouched'


def test_slow_and_silent_connections_hold_nobody_up(lab, workers):
    """Half a packet, byte by byte, on many connections of both ports, while others are served."""
    cluster = lab.cluster(primaries=3, replicas=0, workers=workers)
    node = cluster.nodes[0]
    idle = []
    for port, half in ((node.port, b'*2\r\n$3\r\nGET\r\n$100\r\nab'), (node.port + 10000, b'RCmb\x00\x00')):
        for i in range(100):
            connection = socket.create_connection(('127.0.0.1', port), 10)
            connection.sendall(half[:1 + i % len(half)])
            idle.append(connection)
    with Connection(node.port) as sentry:
        started = time.monotonic()
        for _ in range(1000):
            assert sentry.call('PING') == b'PONG'
        assert time.monotonic() - started < 5
    cluster.wait_ok()
    for connection in idle:
        connection.close()
