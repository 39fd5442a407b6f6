"""The cluster of scripts/quickstart: starts, creates, loads, shows, stops. Python 3 standard library only."""
import binascii
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN = os.path.join(ROOT, 'run')
SERVER = os.environ.get('DUNLIN_SERVER', os.path.join(ROOT, 'build-release', 'server', 'dunlin-server'))
CLI = os.environ.get('DUNLIN_CLI', os.path.join(ROOT, 'build-release', 'tools', 'cli', 'dunlin-cli'))
WORDS = '/usr/share/dict/american-english'
BUS_OFFSET = 10000
NODES = 6
BATCH = 2000


def fail(text):
    sys.exit('quickstart: ' + text)


def base_port():
    text = os.environ.get('DUNLIN_QUICKSTART_PORT', '7000')
    if not text.isdigit() or not 1024 <= int(text) <= 65535 - BUS_OFFSET - NODES:
        fail('DUNLIN_QUICKSTART_PORT is %r; it must be a port from 1024 to %d' % (text, 65535 - BUS_OFFSET - NODES))
    return int(text)


def encode(*words):
    return b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words)


class Connection:
    def __init__(self, port, timeout=30):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout)
        self.replies = self.socket.makefile('rb')

    def read(self):
        line = self.replies.readline().rstrip(b'\r\n')
        kind, rest = line[:1], line[1:]
        if kind == b'-':
            raise RuntimeError(rest.decode())
        if kind == b'$':
            return None if rest == b'-1' else self.replies.read(int(rest) + 2)[:-2]
        if kind == b'*':
            return [self.read() for _ in range(int(rest))]
        if kind not in (b'+', b':'):
            raise OSError('the connection ended')
        return int(rest) if kind == b':' else rest

    def call(self, *words):
        self.socket.sendall(encode(*[w.encode() if isinstance(w, str) else w for w in words]))
        return self.read()

    def close(self):
        self.replies.close()
        self.socket.close()


def call(port, *words):
    connection = Connection(port)
    try:
        return connection.call(*words)
    finally:
        connection.close()


def folder_of(port):
    return os.path.join(RUN, str(port))


def pid_of(port):
    """The pid of our node at that port if it runs. A pid that now belongs to another program is not ours."""
    try:
        with open(os.path.join(folder_of(port), 'quickstart.pid')) as text:
            pid = int(text.read())
        with open('/proc/%d/cwd/node.conf' % pid):
            if os.path.realpath('/proc/%d/cwd' % pid) == os.path.realpath(folder_of(port)):
                return pid
    except (OSError, ValueError):
        pass
    return None


def started_ports():
    if not os.path.isdir(RUN):
        return []
    return sorted(int(name) for name in os.listdir(RUN) if name.isdigit())


def check_free(port):
    for number, what in ((port, 'port'), (port + BUS_OFFSET, 'cluster bus port')):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', number))
            except OSError as error:
                fail('%s %d is in use by another program (%s). Stop that, or choose others: '
                     'DUNLIN_QUICKSTART_PORT=7100 scripts/quickstart' % (what, number, error.strerror))


def start_node(port):
    folder = folder_of(port)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'node.conf'), 'w') as conf:
        conf.write('port %d\nbind 127.0.0.1\ndir %s\ncluster-enabled yes\ncluster-config-file nodes.conf\n'
                   'cluster-node-timeout 5000\nsave 3600 1\n' % (port, folder))
    with open(os.path.join(folder, 'server.log'), 'ab') as log:
        process = subprocess.Popen([SERVER, os.path.join(folder, 'node.conf')], cwd=folder, start_new_session=True,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    with open(os.path.join(folder, 'quickstart.pid'), 'w') as text:
        text.write('%d\n' % process.pid)
    return process


def wait_ready(port, process):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            break
        try:
            if call(port, 'PING') == b'PONG':
                return
        except (OSError, RuntimeError):
            pass
        time.sleep(0.05)
    path = os.path.join(folder_of(port), 'server.log')
    with open(path, errors='replace') as log:
        said = [line.strip() for line in log if line.strip()]
    fail('the node at port %d did not start; the last line of %s: %s' % (port, path, said[-1] if said else '(empty)'))


def cluster_info(port):
    return dict(line.split(':', 1) for line in call(port, 'CLUSTER', 'INFO').decode().splitlines() if ':' in line)


def is_whole(port):
    info = cluster_info(port)
    return (info['cluster_state'] == 'ok' and info['cluster_slots_assigned'] == '16384'
            and int(info['cluster_known_nodes']) == NODES)


def create(ports):
    """Creates the cluster unless it is there: nodes that were one before find each other by themselves."""
    if any(int(cluster_info(port)['cluster_known_nodes']) > 1 for port in ports):
        print('the nodes know each other already')
    else:
        words = [CLI, '--cluster', 'create', *['127.0.0.1:%d' % port for port in ports], '--cluster-replicas', '1',
                 '--cluster-yes']
        print('$ ' + ' '.join(['dunlin-cli', *words[1:]]), flush=True)
        if subprocess.run(words, timeout=120).returncode != 0:
            fail('the cluster could not be created (scripts/quickstart clean starts afresh)')
    deadline = time.monotonic() + 30
    while not all(is_whole(port) for port in ports):
        if time.monotonic() > deadline:
            fail('the cluster is not whole after 30 s (scripts/quickstart clean starts afresh)')
        time.sleep(0.1)


def load(ports):
    """Pipelines a SET a word to the owner of its slot, in batches, and reads the replies of each batch."""
    with open(WORDS, encoding='utf-8') as lines:
        words = [line.strip() for line in lines if line.strip()]
    owners = {}
    for first, last, primary, *_ in call(ports[0], 'CLUSTER', 'SLOTS'):
        owners.update(dict.fromkeys(range(first, last + 1), primary[1]))
    batches = {port: [] for port in set(owners.values())}
    for word in words:
        key = b'word:' + word.encode()
        batches[owners[binascii.crc_hqx(key, 0) & 16383]].append(encode(b'SET', key, b'%d' % len(word)))
    started, done = time.monotonic(), 0
    for port, commands in batches.items():
        connection = Connection(port)
        for at in range(0, len(commands), BATCH):
            batch = commands[at:at + BATCH]
            connection.socket.sendall(b''.join(batch))
            for _ in batch:
                connection.read()
            done += len(batch)
            if sys.stdout.isatty():
                print('\rloading words: %d of %d' % (done, len(words)), end='', flush=True)
        connection.close()
    print('%sloaded %d words with their lengths in %.1f s' % (
        '\r' if sys.stdout.isatty() else '', len(words), time.monotonic() - started))


def show(ports):
    print()
    subprocess.run([CLI, '--cluster', 'info', '127.0.0.1:%d' % ports[0]], timeout=30)
    cli = os.path.relpath(CLI, ROOT) if CLI.startswith(ROOT) else CLI
    print('''
The cluster runs on 127.0.0.1, ports %(first)d to %(last)d; configuration, logs and data are under run/.

  %(cli)s -c -p %(first)d GET word:puffin
  redis-cli -c -p %(first)d GET word:puffin
  python3 -c 'from redis.cluster import RedisCluster as C; print(C(host="127.0.0.1", port=%(first)d).get("word:puffin"))'

  %(cli)s --cluster check 127.0.0.1:%(first)d
  scripts/quickstart stop
''' % {'first': ports[0], 'last': ports[-1], 'cli': cli})


def start():
    for path in (SERVER, CLI):
        if not os.path.exists(path):
            fail('%s is missing' % path)
    if not os.path.exists(WORDS):
        fail('%s is missing (Debian package wamerican)' % WORDS)
    ports = [base_port() + i for i in range(NODES)]
    others = [port for port in started_ports() if port not in ports and pid_of(port)]
    if others:
        fail('a cluster of an earlier start runs at port %d; scripts/quickstart stop ends it' % others[0])
    missing = [port for port in ports if not pid_of(port)]
    for port in missing:
        check_free(port)
    if missing:
        print('starting %d nodes under %s' % (len(missing), RUN), flush=True)
    else:
        print('all %d nodes run already' % NODES)
    processes = {port: start_node(port) for port in missing}
    for port in ports:
        wait_ready(port, processes.get(port))
    create(ports)
    load(ports)
    show(ports)


def stop():
    """Ends the nodes by their pids, first kindly. Returns how many there were."""
    pids = {port: pid for port in started_ports() if (pid := pid_of(port))}
    for pid in pids.values():
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    for port, pid in pids.items():
        while pid_of(port) == pid and time.monotonic() < deadline:
            time.sleep(0.05)
        if pid_of(port) == pid:
            print('the node at port %d did not end, killing it' % port)
            os.kill(pid, signal.SIGKILL)
    for port in started_ports():
        path = os.path.join(folder_of(port), 'quickstart.pid')
        if os.path.exists(path):
            os.unlink(path)
    print('stopped %d nodes' % len(pids))


def main():
    action = sys.argv[1]
    if action == 'start':
        start()
    else:
        stop()
        if action == 'clean':
            shutil.rmtree(RUN, ignore_errors=True)
            print('removed %s' % RUN)


if __name__ == '__main__':
    main()
