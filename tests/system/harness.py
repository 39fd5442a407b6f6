"""Processes for whole-process tests: `Node` is one server, `Cluster` several, `Lab` owns what a test starts.

Words: a *node* is a server process with a folder, a port and a log of its own; a *stand-in* is a real
redis-server used where Dunlin's binary is wanted (to develop a test, or to see that the test itself is right).

The binaries come from the build folder; the environment names others:
  DUNLIN_BUILD    build folder (default: the first of build-test, build that has a server)
  DUNLIN_SERVER   the server under test       DUNLIN_CLI     its command line client
  DUNLIN_PORTS    first-last, default 17000-17999; bus ports lie 10000 higher
Everything listens on 127.0.0.1 only. Every wait ends at a deadline, and a process outlives neither its test
nor the test run.
"""
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
import redis

from resp import Closed, Connection, ReplyError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.path.join(os.path.dirname(ROOT), 'shared')
REDIS_SERVER = os.environ.get('REDIS_SERVER', '/usr/bin/redis-server')
REDIS_CLI = os.environ.get('REDIS_CLI', '/usr/bin/redis-cli')
REDIS_BENCHMARK = os.environ.get('REDIS_BENCHMARK', '/usr/bin/redis-benchmark')
BUS_OFFSET = 10000
NODE_TIMEOUT_MS = 2000
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def built(path):
    folders = [os.environ['DUNLIN_BUILD']] if 'DUNLIN_BUILD' in os.environ else ['build-test', 'build']
    for folder in folders:
        found = os.path.join(ROOT, folder, path)
        if os.path.exists(found):
            return found
    return os.path.join(ROOT, folders[-1], path)


DUNLIN_SERVER = os.environ.get('DUNLIN_SERVER') or built('server/dunlin-server')
DUNLIN_CLI = os.environ.get('DUNLIN_CLI') or built('tools/cli/dunlin-cli')


def is_stand_in(binary=None):
    binary = binary or DUNLIN_SERVER
    if not os.path.exists(binary):
        return False
    version = subprocess.run([binary, '--version'], capture_output=True, text=True, timeout=10)
    return version.stdout.startswith('Redis server')


def wait_for(claim, what, timeout=20.0, every=0.05):
    """Returns the first true value of `claim()`; fails with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = claim()
            if value:
                return value
            last = value
        except (redis.exceptions.RedisError, ReplyError, Closed, OSError, AssertionError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError('after %.0f s still not: %s (last: %r)' % (timeout, what, last))
        time.sleep(every)


def die_with_parent():
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Ports:
    """Hands out ports whose bus port is free as well; goes round its range."""

    def __init__(self):
        first, last = os.environ.get('DUNLIN_PORTS', '17000-17999').split('-')
        self.first, self.last = int(first), int(last)
        # Two runs side by side (pytest -n 2) have a part of the range each.
        index = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])
        count = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1'))
        size = (self.last - self.first + 1) // count
        self.first += index * size
        self.last = self.first + size - 1
        self.next = self.first

    @staticmethod
    def is_free(port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                return False
        return True

    def take(self):
        for _ in range(self.last - self.first + 1):
            port = self.next
            self.next = self.first if port == self.last else port + 1
            if self.is_free(port) and self.is_free(port + BUS_OFFSET):
                return port
        raise AssertionError('no free port in %d-%d' % (self.first, self.last))


class StartFailed(AssertionError):
    pass


class Node:
    """A server process. `options` are lines of its configuration file: {name: value or list of values}."""

    def __init__(self, folder, port, binary, options, name):
        self.folder, self.port, self.binary, self.name = folder, port, binary, name
        self.options = dict(options)
        self.by_arguments = False
        self.process = None
        self.paused = False
        os.makedirs(folder, exist_ok=True)
        self.log_path = os.path.join(folder, 'output.log')
        self.conf_path = os.path.join(folder, 'node.conf')
        self.write_conf()

    def write_conf(self):
        lines = []
        for name, value in self.options.items():
            for one in value if isinstance(value, list) else [value]:
                lines.append('%s %s\n' % (name, one))
        with open(self.conf_path, 'w') as conf:
            conf.writelines(lines)

    def arguments(self):
        """The options as words of a command line: there is no configuration file then."""
        return [word for name, value in self.options.items() for word in ('--' + name, str(value).strip('"'))]

    def spawn(self, *arguments, **popen):
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(
                [self.binary, *arguments], cwd=self.folder, stdin=popen.pop('stdin', subprocess.DEVNULL),
                stdout=log, stderr=subprocess.STDOUT, preexec_fn=die_with_parent, **popen)
        self.paused = False
        return self.process

    def start(self, timeout=15.0):
        assert not self.is_running(), '%s runs already' % self.name
        self.spawn(*(self.arguments() if self.by_arguments else [self.conf_path]))
        self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=15.0):
        deadline = time.monotonic() + timeout
        while True:
            if self.process.poll() is not None:
                raise StartFailed('%s ended with %s:\n%s' % (self.name, self.process.returncode, self.log_tail()))
            try:
                with Connection(self.port, timeout=2.0) as connection:
                    if self.options.get('requirepass'):  # A stranger is not told that data is being loaded.
                        connection.send('AUTH', self.options['requirepass'])
                        connection.read()
                    connection.send('PING')
                    reply = connection.read()
                    if reply == b'PONG' or isinstance(reply, ReplyError) and reply.code in ('NOAUTH', 'MASTERDOWN'):
                        return
            except (OSError, Closed):
                pass
            if time.monotonic() > deadline:
                raise StartFailed('%s does not answer after %.0f s:\n%s' % (self.name, timeout, self.log_tail()))
            time.sleep(0.02)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, timeout=15.0):
        """Ends the process as an operator would (SIGTERM) and returns its exit status."""
        if not self.is_running():
            return self.process.returncode if self.process else None
        self.resume()
        self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError('%s ignored SIGTERM for %.0f s' % (self.name, timeout)) from None

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def pause(self):
        """Returns when every thread of it stands still: the signal alone is only on its way."""
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True
        wait_for(self.stands_still, '%s stands still' % self.name, every=0.001)

    def stands_still(self):
        tasks = '/proc/%d/task' % self.process.pid
        states = []
        for task in os.listdir(tasks):
            with open('%s/%s/stat' % (tasks, task)) as stat:
                states.append(stat.read().rsplit(')', 1)[1].split()[0])
        return all(state in 'Tt' for state in states)

    def resume(self):
        if self.paused:
            self.process.send_signal(signal.SIGCONT)
            self.paused = False

    def restart(self):
        self.kill()
        return self.start()

    @property
    def address(self):
        return '127.0.0.1:%d' % self.port

    def connect(self, **kwargs):
        return Connection(self.port, **kwargs)

    def call(self, *words, timeout=10.0):
        """One command on a connection of its own. An error reply is raised as ReplyError."""
        with Connection(self.port, timeout=timeout) as connection:
            return connection.call(*words)

    def client(self, **kwargs):
        kwargs.setdefault('socket_timeout', 10)
        return redis.Redis('127.0.0.1', self.port, **kwargs)

    def info(self, section='all'):
        fields = {}
        for line in self.call('INFO', section).decode('latin-1').splitlines():
            if line and not line.startswith('#'):
                name, _, value = line.partition(':')
                fields[name] = value
        return fields

    def cluster_info(self):
        lines = self.call('CLUSTER', 'INFO').decode().splitlines()
        return dict(line.split(':', 1) for line in lines if ':' in line)

    @property
    def id(self):
        return self.call('CLUSTER', 'MYID').decode()

    def role(self):
        return self.call('ROLE')[0].decode()

    def rss_bytes(self):
        with open('/proc/%d/status' % self.process.pid) as status:
            return int(re.search(r'VmRSS:\s+(\d+) kB', status.read()).group(1)) * 1024

    def log_text(self):
        try:
            with open(self.log_path, errors='replace') as log:
                return log.read()
        except OSError:
            return ''

    def log_tail(self, lines=30):
        return '\n'.join(self.log_text().splitlines()[-lines:])


class Cluster:
    """Nodes that form one cluster. `primaries` and `replicas` ask the nodes, so they are true after a failover."""

    def __init__(self, nodes):
        self.nodes = nodes

    @property
    def ports(self):
        return [node.port for node in self.nodes]

    def create(self, replicas):
        words = [DUNLIN_CLI, '--cluster', 'create', *[node.address for node in self.nodes],
                 '--cluster-replicas', str(replicas), '--cluster-yes']
        done = subprocess.run(words, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, 'cluster create: %s\n%s' % (done.stdout, done.stderr)
        self.wait_ok()
        self.wait_links()
        return self

    def running(self):
        return [node for node in self.nodes if node.is_running() and not node.paused]

    def wait_ok(self, timeout=40.0, known=None):
        """Every running node says that the cluster is ok, and all agree on who owns which slot."""
        def agreed():
            pictures = set()
            for node in self.running():
                info = node.cluster_info()
                if info['cluster_state'] != 'ok' or info['cluster_slots_ok'] != '16384':
                    return False
                if int(info['cluster_known_nodes']) != (known or len(self.nodes)):
                    return False
                pictures.add(slots_picture(node))
            return len(pictures) == 1
        wait_for(agreed, 'all nodes say ok and agree', timeout, 0.1)

    def wait_links(self, timeout=30.0):
        """Every running replica has its link up."""
        def up():
            for node in self.running():
                info = node.info('replication')
                if info['role'] == 'slave' and info['master_link_status'] != 'up':
                    return False
            return True
        wait_for(up, 'replicas are linked to their primaries', timeout, 0.1)

    def primaries(self):
        return [node for node in self.running() if node.role() == 'master' and serves_slots(node)]

    def replica_of(self, primary):
        for node in self.running():
            role = node.call('ROLE')
            if role[0] == b'slave' and int(role[2]) == primary.port:
                return node
        raise AssertionError('%s has no replica' % primary.name)

    def owner_of(self, slot):
        for first, last, primary, *_ in self.running()[0].call('CLUSTER', 'SLOTS'):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == primary[1])
        raise AssertionError('slot %d has no owner' % slot)


def slots_picture(node):
    """What a node thinks of the cluster, as one comparable value: each node's role, primary and slots."""
    picture = []
    for line in node.call('CLUSTER', 'NODES').decode().splitlines():
        words = line.split()
        flags = set(words[2].split(','))
        assert not flags & {'handshake', 'fail?'}, line
        role = 'fail' if 'fail' in flags else 'replica' if 'slave' in flags else 'primary'
        picture.append((words[0], role, words[3], *[w for w in words[8:] if not w.startswith('[')]))
    return tuple(sorted(picture))


def serves_slots(node):
    return any(primary[1] == node.port for _, _, primary, *_ in node.call('CLUSTER', 'SLOTS'))


_commands = {}


def require(lab, command):
    """Skips the test, visibly, when the server under test has no such command: its feature is not in this release."""
    if DUNLIN_SERVER not in _commands:
        node = lab.node(by_arguments=True)
        _commands[DUNLIN_SERVER] = {name.decode().upper() for name in node.call('COMMAND', 'LIST')}
        node.stop()
    if command not in _commands[DUNLIN_SERVER]:
        pytest.skip('this server has no %s command' % command)


class Lab:
    """What one test starts. Its folder goes when the test has passed and stays when it has failed."""

    def __init__(self, ports, name):
        self.ports = ports
        self.nodes = []
        self.folder = tempfile.mkdtemp(prefix='dunlin-%s-' % re.sub(r'\W+', '-', name)[:40])

    def node(self, options=None, *, workers=None, binary=None, start=True, port=None, name=None, folder=None,
             by_arguments=False):
        """A Dunlin node. `workers` sets worker-threads, which a stand-in does not know."""
        binary = binary or DUNLIN_SERVER
        port = port or self.ports.take()
        name = name or '%s-%d' % (os.path.basename(binary), port)
        folder = folder or os.path.join(self.folder, name)
        lines = {'port': port, 'bind': '127.0.0.1', 'dir': folder, 'save': '""'}
        if workers is not None and not is_stand_in(binary):
            lines['worker-threads'] = workers
        lines.update(options or {})
        node = Node(folder, port, binary, lines, name)
        node.by_arguments = by_arguments
        self.nodes.append(node)
        return node.start() if start else node

    def redis(self, options=None, **kwargs):
        """A real redis-server 7.0."""
        lines = {'enable-debug-command': 'yes', 'repl-diskless-sync-delay': 0}
        lines.update(options or {})
        return self.node(lines, binary=REDIS_SERVER, **kwargs)

    def cluster_node(self, options=None, **kwargs):
        require(self, 'CLUSTER')
        lines = {'cluster-enabled': 'yes', 'cluster-node-timeout': NODE_TIMEOUT_MS,
                 'repl-diskless-sync-delay': 0}
        lines.update(options or {})
        return self.node(lines, **kwargs)

    def cluster(self, primaries=3, replicas=1, options=None, **kwargs):
        nodes = [self.cluster_node(options, **kwargs) for _ in range(primaries * (1 + replicas))]
        return Cluster(nodes).create(replicas)

    def close(self, failed):
        for node in self.nodes:
            node.kill()
        if not failed:
            shutil.rmtree(self.folder, ignore_errors=True)


def run(*words, timeout=60.0, check=True, stdin=None, env=None):
    """Runs a command to its end and returns it (text output, bounded time)."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout,
                          input=stdin, env={**os.environ, **(env or {})}, errors='replace')
    if check:
        assert done.returncode == 0, '%s: status %d\n%s\n%s' % (
            ' '.join(str(w) for w in words), done.returncode, done.stdout[-4000:], done.stderr[-4000:])
    return done
