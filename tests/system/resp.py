"""A small client of RESP2 and RESP3 over plain sockets, and a cluster client on top of it.

The tests use these beside the real client libraries because these hide nothing: there is no retry, no pool,
and every redirection is counted and visible.
"""
import binascii
import socket


class ReplyError(Exception):
    """An error reply; its first word is `code`."""

    @property
    def code(self):
        return str(self).split(' ', 1)[0]


class Closed(Exception):
    """The server closed the connection."""


def encode(*words):
    out = [b'*%d\r\n' % len(words)]
    for word in words:
        if isinstance(word, str):
            word = word.encode()
        elif not isinstance(word, bytes):
            word = str(word).encode()
        out.append(b'$%d\r\n%s\r\n' % (len(word), word))
    return b''.join(out)


class Connection:
    """One connection. Replies: bytes, int, list, None, and in RESP3 dict, bool, float; errors are raised by `call` and
    returned by `read`. RESP3's pushes are lists like any other."""

    def __init__(self, port, host='127.0.0.1', path=None, timeout=10.0):
        if path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(path)
        else:
            self.socket = socket.create_connection((host, port), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *words):
        self.socket.sendall(encode(*words))

    def send_raw(self, data):
        self.socket.sendall(data)

    def _fill(self):
        try:
            got = self.socket.recv(65536)
        except ConnectionResetError:
            got = b''
        if not got:
            raise Closed()
        self.buffer += got

    def _line(self):
        while True:
            end = self.buffer.find(b'\r\n')
            if end >= 0:
                line = bytes(self.buffer[:end])
                del self.buffer[:end + 2]
                return line
            self._fill()

    def _take(self, count):
        while len(self.buffer) < count:
            self._fill()
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def read(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b'+':
            return rest
        if kind == b'-':
            return ReplyError(rest.decode('latin-1'))
        if kind == b':':
            return int(rest)
        if kind == b'$':
            size = int(rest)
            return None if size < 0 else self._take(size + 2)[:-2]
        if kind == b'*':
            count = int(rest)
            return None if count < 0 else [self.read() for _ in range(count)]
        if kind in (b'~', b'>'):
            return [self.read() for _ in range(int(rest))]
        if kind == b'%':
            return {self.read(): self.read() for _ in range(int(rest))}
        if kind == b'_':
            return None
        if kind == b'#':
            return rest == b't'
        if kind == b',':
            return float(rest)
        if kind == b'=':
            return self._take(int(rest) + 2)[4:-2]
        raise ValueError('not RESP: %r' % line)

    def call(self, *words):
        self.send(*words)
        reply = self.read()
        if isinstance(reply, ReplyError):
            raise reply
        return reply


def slot_of(key):
    if isinstance(key, str):
        key = key.encode()
    start = key.find(b'{')
    if start >= 0:
        end = key.find(b'}', start + 1)
        if end > start + 1:
            key = key[start + 1:end]
    return binascii.crc_hqx(key, 0) & 16383


class ClusterClient:
    """Sends a command to the owner of its key and follows redirections. Anything else that is not a plain
    reply is raised, so a test that uses it sees every other error that a client would see."""

    def __init__(self, ports):
        self.connections = {}
        self.redirections = 0
        self.owners = {}
        self.refresh(ports)

    def close(self):
        for connection in self.connections.values():
            connection.close()

    def connection(self, port):
        if port not in self.connections:
            self.connections[port] = Connection(port)
        return self.connections[port]

    def refresh(self, ports=None):
        for port in ports or list(self.connections):
            for first, last, primary, *_ in self.connection(port).call('CLUSTER', 'SLOTS'):
                for slot in range(first, last + 1):
                    self.owners[slot] = primary[1]
            return

    def call(self, *words, key=None):
        slot = slot_of(words[1] if key is None else key)
        port, asking = self.owners[slot], False
        for _ in range(16):
            connection = self.connection(port)
            if asking:
                connection.call('ASKING')
            try:
                return connection.call(*words)
            except ReplyError as error:
                if error.code not in ('MOVED', 'ASK'):
                    raise
                self.redirections += 1
                asking = error.code == 'ASK'
                port = int(str(error).rsplit(':', 1)[1])
                if not asking:
                    self.owners[slot] = port
        raise ReplyError('redirected more than 16 times: %r' % (words,))
