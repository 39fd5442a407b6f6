"""A primary that sends nonsense at every stage of replication: the replica says so, tries again and stays up."""
import os
import random
import socket
import threading

import pytest

from harness import require, wait_for

ID = b'a' * 40
MARK = b'm' * 40
STAGES = ['ping', 'replconf', 'psync', 'header', 'snapshot', 'stream']


@pytest.fixture(autouse=True)
def needs_replication(lab):
    require(lab, 'REPLICAOF')


class FakePrimary:
    """Speaks the protocol well up to `stage`, then says what `mutate` makes of what belongs there."""

    def __init__(self, stage, seed, snapshot):
        self.stage, self.chance, self.snapshot = stage, random.Random(seed), snapshot
        self.tries = 0
        self.listener = socket.socket()
        self.listener.bind(('127.0.0.1', 0))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        self.is_open = True
        threading.Thread(target=self.serve, daemon=True).start()

    def mutate(self, right):
        kind = self.chance.randrange(6)
        if kind == 0:
            return os.urandom(self.chance.randrange(1, 4000))
        if kind == 1:
            return right[:self.chance.randrange(len(right) + 1)]
        if kind == 2:
            return b'\r\n' * self.chance.randrange(1, 2000)
        if kind == 3:
            return b'x' * 100000
        wrong = bytearray(right or b'+')
        for _ in range(self.chance.randrange(1, 8)):
            wrong[self.chance.randrange(len(wrong))] = self.chance.randrange(256)
        return bytes(wrong)

    def serve(self):
        while self.is_open:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.tries += 1
            with connection:
                connection.settimeout(2)
                try:
                    self.talk(connection)
                except OSError:
                    pass

    def say(self, connection, stage, right):
        connection.sendall(self.mutate(right) if stage == self.stage else right)
        return stage != self.stage

    def talk(self, connection):
        connection.recv(65536)
        if not self.say(connection, 'ping', b'+PONG\r\n'):
            return connection.recv(1)
        connection.recv(65536)
        if not self.say(connection, 'replconf', b'+OK\r\n+OK\r\n'):
            return connection.recv(1)
        connection.recv(65536)
        if not self.say(connection, 'psync', b'+FULLRESYNC ' + ID + b' 10\r\n'):
            return connection.recv(1)
        if not self.say(connection, 'header', b'$EOF:' + MARK + b'\r\n'):
            return connection.recv(1)
        if not self.say(connection, 'snapshot', self.snapshot + MARK):
            return connection.recv(1)
        connection.recv(65536)
        self.say(connection, 'stream', b'*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n'
                 b'$1\r\nv\r\n*1\r\n$4\r\nEXEC\r\n*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n')
        return connection.recv(65536)

    def close(self):
        self.is_open = False
        self.listener.close()


@pytest.mark.parametrize('stage', STAGES)
def test_a_replica_survives_what_a_primary_sends(lab, workers, stage):
    node = lab.node({'enable-debug-command': 'yes', 'repl-timeout': 2}, workers=workers)
    node.call('SET', 'a', '1')
    node.call('SAVE')
    with open(os.path.join(node.folder, 'dump.rdb'), 'rb') as dump:
        snapshot = dump.read()
    for seed in range(4):
        primary = FakePrimary(stage, seed, snapshot)
        assert node.call('REPLICAOF', '127.0.0.1', primary.port) == b'OK'
        wait_for(lambda tries=primary: tries.tries >= 1, 'the replica has tried', 10)
        wait_for(lambda: node.call('PING') == b'PONG', 'the replica answers', 10)
        # Refused while the snapshot of another try is being loaded, as in Redis.
        wait_for(lambda: node.call('REPLICAOF', 'NO', 'ONE') == b'OK', 'the replica stops following', 10)
        primary.close()
    assert node.is_running()
    assert node.call('SET', 'after', '1') == b'OK'
    assert node.info('replication')['role'] == 'master'
