"""The part of scripts/bench that measures a save: what it costs the clients and the machine while keys are overwritten."""
import json
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

VALUE_BYTES = 200
QUIET_SECONDS = 4


def fill(server, count):
    """Keys as redis-benchmark names them, values that do not compress away."""
    with socket.create_connection(('127.0.0.1', server.port), 120) as connection:
        answered = 0
        noise = os.urandom(VALUE_BYTES * 1000)
        for first in range(0, count, 2000):
            last = min(first + 2000, count)
            connection.sendall(b''.join(
                b'*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%s\r\n' % (
                    i, VALUE_BYTES, noise[i * 7919 % (VALUE_BYTES * 999):][:VALUE_BYTES]) for i in range(first, last)))
            while answered < last:
                got = connection.recv(1 << 16)
                if not got or b'-ERR' in got:
                    raise SystemExit('bench: loading keys failed: %r' % got[:200])
                answered += got.count(b'+OK')


class Probe:
    """A client that writes one key after the other and notes how long each took. A process of its own, before all others
    where that is allowed: what it measures are the server's pauses, not its own."""

    def __init__(self, port):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def end(self):
        written, _ = self.process.communicate(b'', timeout=60)
        return json.loads(written)


def run_probe(port):
    """The process of a Probe: writes until its input ends, then prints what it found."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        pass  # Not root: its own waits count too.
    connection = socket.create_connection(('127.0.0.1', port), 60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    while not select.select([sys.stdin], [], [], 0.0005)[0]:
        began = time.perf_counter()
        connection.sendall(b'SET probe:%d value\r\n' % (len(times) % 1000))
        connection.recv(100)
        times.append(time.perf_counter() - began)
    ordered = sorted(times)
    json.dump({'longest_ms': ordered[-1] * 1e3, 'p99_ms': ordered[len(ordered) * 99 // 100] * 1e3, 'probes': len(ordered)},
              sys.stdout)


class Watch(threading.Thread):
    """Resident memory and child processes, looked at every 20 ms."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.stopping = threading.Event()
        self.peak_bytes = 0
        self.children = set()

    def run(self):
        pid = self.server.process.pid
        while not self.stopping.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, self.server.rss_bytes())
            for task in os.listdir('/proc/%d/task' % pid):
                try:
                    with open('/proc/%d/task/%s/children' % (pid, task)) as children:
                        self.children.update(children.read().split())
                except OSError:
                    pass  # A thread that has ended.

    def end(self):
        self.stopping.set()
        self.join()


def probe_for(server, is_over, seconds):
    probe = Probe(server.port)
    end = time.monotonic() + seconds
    while not is_over() and time.monotonic() < end:
        time.sleep(0.02)
    return probe.end()


def measure(start_server, pinned, load_cpu, count):
    """`start_server(dump)` gives a server as a context; `dump` is the path of a file to load, or None."""
    found = {}
    if os.cpu_count() > 1:
        os.sched_setaffinity(0, [load_cpu])  # Who watches must not be what the server waits for.
    folder = tempfile.mkdtemp(prefix='dunlin-bench-save-')
    try:
        with start_server(None) as server:
            fill(server, count)
            words = ['redis-benchmark', '-p', str(server.port), '-t', 'set', '-d', str(VALUE_BYTES), '-r', str(count), '-n',
                     '2000000000', '-c', '50', '-P', '8', '-q']
            load = subprocess.Popen(pinned(load_cpu, words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                time.sleep(1)
                done = int(server.info('stats', 'total_commands_processed'))
                found['quiet'] = probe_for(server, lambda: False, QUIET_SECONDS)
                found['quiet_rate'] = (int(server.info('stats', 'total_commands_processed')) - done) / QUIET_SECONDS
                before = server.rss_bytes()
                done = int(server.info('stats', 'total_commands_processed'))
                watch = Watch(server)
                watch.start()
                began = time.monotonic()
                server.call(b'BGSAVE')
                found['saving'] = probe_for(server, lambda: server.info('persistence', 'rdb_bgsave_in_progress') == '0', 300)
                found['seconds'] = time.monotonic() - began
                watch.end()
                found['rate'] = (int(server.info('stats', 'total_commands_processed')) - done) / found['seconds']
                assert server.info('persistence', 'rdb_last_bgsave_status') == 'ok'
            finally:
                load.terminate()
                load.wait()
            try:
                copied = int(server.info('persistence', 'rdb_last_cow_size'))  # What a child held of its own.
            except KeyError:
                copied = 0
            found['extra_bytes'] = watch.peak_bytes - before + copied
            found['resident_bytes'] = before
            found['children'] = len(watch.children)
            for name in ('snapshot_preimage_max_us', 'snapshot_step_max_us'):
                try:
                    found[name] = int(server.info('persistence', name))
                except KeyError:
                    pass
            dump = os.path.join(folder, 'dump.rdb')
            shutil.copy(os.path.join(server.folder, 'dump.rdb'), dump)
            found['file_bytes'] = os.path.getsize(dump)
        began = time.monotonic()
        with start_server(dump) as server:
            found['load_seconds'] = time.monotonic() - began
            found['loaded'] = int(server.call(b'DBSIZE')[1:])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


ROWS = [
    ('save: seconds', lambda one: one['seconds'], '%.2f'),
    ('save: child processes', lambda one: one['children'], '%d'),
    ('save: extra memory MB', lambda one: one['extra_bytes'] / 1e6, '%.1f'),
    ('save: resident before MB', lambda one: one['resident_bytes'] / 1e6, '%.1f'),
    ('save: longest probe ms', lambda one: one['saving']['longest_ms'], '%.1f'),
    ('  without a save', lambda one: one['quiet']['longest_ms'], '%.1f'),
    ('save: p99 of probes ms', lambda one: one['saving']['p99_ms'], '%.2f'),
    ('  without a save', lambda one: one['quiet']['p99_ms'], '%.2f'),
    ('save: writes/s', lambda one: one['rate'], '%.0f'),
    ('  without a save', lambda one: one['quiet_rate'], '%.0f'),
    ('save: file MB', lambda one: one['file_bytes'] / 1e6, '%.1f'),
    ('load: seconds', lambda one: one['load_seconds'], '%.2f'),
]


def report(found, count):
    """`found`: lists of measurements by kind of server."""
    print('\na save of %d keys of %d bytes while they are overwritten at random; medians' % (count, VALUE_BYTES))
    print('%-28s %12s %12s' % ('', 'redis', 'dunlin'))
    for name, pick, form in ROWS:
        print('%-28s %12s %12s' % (name, *(form % statistics.median(pick(one) for one in found[kind])
                                           for kind in ('redis', 'dunlin'))))
    print('longest step of the pass %d us, longest pre-image %d us' % (
        max(one.get('snapshot_step_max_us', 0) for one in found['dunlin']),
        max(one.get('snapshot_preimage_max_us', 0) for one in found['dunlin'])))


if __name__ == '__main__':
    run_probe(int(sys.argv[1]))
