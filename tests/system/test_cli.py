"""dunlin-cli against real Redis 7.0.15 nodes, compared with redis-cli 7.0.15.

Runs the tool through a link named redis-cli where texts are compared, since the name selects the wording.
"""
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import pytest

import harness

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLI = harness.DUNLIN_CLI
REDIS_SERVER = shutil.which('redis-server')
REDIS_CLI = shutil.which('redis-cli')
PORTS = range(20100, 20200)
WAIT_S = 20
ENVIRONMENT = {'PATH': os.environ['PATH'], 'TERM': 'dumb', 'HOME': '/nonexistent', 'LC_ALL': 'C'}

pytestmark = pytest.mark.skipif(not (REDIS_SERVER and REDIS_CLI), reason='no redis-server and redis-cli to compare with')


def cli_is_free(port):
    for candidate in (port, port + 10000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('127.0.0.1', candidate))
            except OSError:
                return False
    return True


class CliNodes:
    """Redis nodes in a temporary folder; stopped at the end."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = {}

    def start(self, *arguments, port=None):
        port = port or next(p for p in PORTS if p not in self.processes and cli_is_free(p))
        folder = os.path.join(str(self.folder), str(port))
        os.makedirs(folder)
        log = open(os.path.join(folder, 'log'), 'wb')
        self.processes[port] = subprocess.Popen(
            [REDIS_SERVER, '--port', str(port), '--dir', folder, '--save', '', '--bind', '127.0.0.1',
             '--enable-debug-command', 'yes', *arguments], stdout=log, stderr=log)
        log.close()
        cli_wait(lambda: cli_ask(port, 'ping').startswith(('PONG', 'NOAUTH')))
        return port

    def start_cluster_nodes(self, count):
        return [self.start('--cluster-enabled', 'yes', '--cluster-node-timeout', '3000') for _ in range(count)]

    def stop(self, port):
        process = self.processes[port]
        process.kill()
        process.wait(timeout=WAIT_S)

    def stop_all(self):
        for port in self.processes:
            self.stop(port)


def cli_wait(condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.05)


def cli_ask(port, *words):
    """Asks with the real redis-cli."""
    done = subprocess.run([REDIS_CLI, '-p', str(port), *words], capture_output=True, env=ENVIRONMENT, timeout=WAIT_S)
    return done.stdout.decode('latin1').rstrip('\n')


def cli_run(binary, arguments, stdin=b'', **environment):
    done = subprocess.run([binary, *arguments], input=stdin, capture_output=True, timeout=60,
                          env={**ENVIRONMENT, **environment})
    return done.returncode, done.stdout.decode('latin1'), done.stderr.decode('latin1')


@pytest.fixture(scope='module')
def cli_as_redis(tmp_path_factory):
    link = str(tmp_path_factory.mktemp('bin') / 'redis-cli')
    os.symlink(os.path.abspath(CLI), link)
    return link


@pytest.fixture(scope='module')
def cli_server(tmp_path_factory):
    nodes = CliNodes(tmp_path_factory.mktemp('server'))
    port = nodes.start()
    yield port
    nodes.stop_all()


@pytest.fixture
def cli_nodes(tmp_path):
    nodes = CliNodes(tmp_path)
    yield nodes
    nodes.stop_all()


# ---- replies ----

SCRIPT_NESTED = "return {1,{2,{},{3}},'x',false,{{},{'a'}},{'1','2','3','4','5','6','7','8','9','10',{'a','b'}}}"
SCRIPT_MAPS = "redis.setresp(3); return {map={a={map={b={1,2}}}}}"
SCRIPT_SETS = "redis.setresp(3); return {{map={a={map={}}}},{map={b={set={x=true}}}},{double=3.5},true,{big_number='12'}}"

COMMANDS = [
    (['ping'], b''),
    (['-x', 'set', 'bin'], b'a"\\\n\r\t\b\f\v\a\x01\x1f\x7f\xc3\xa9\xff/'),
    (['get', 'bin'], b''),
    (['get', 'nothing'], b''),
    (['incr', 'count'], b''),
    (['-r', '3', 'ping'], b''),
    (['-r', '2', '-i', '0.01', 'incr', 'count2'], b''),
    (['eval', SCRIPT_NESTED, '0'], b''),
    (['-n', '5', 'set', 'other', 'db'], b''),
    (['-X', 'tag', 'set', 'tagged', 'tag'], b'from stdin'),
    (['--quoted-input', 'set', '"a\\x00b"', "'x y'"], b''),
    (['--quoted-input', 'get', '"a\\x00b"'], b''),
    (['xinfo', 'help'], b''),
    (['lolwut', 'version', '1'], b''),
    (['config', 'get', 'maxmemory*'], b''),
    (['command', 'info', 'get'], b''),
    (['command', 'docs', 'get', 'set'], b''),
    (['-3', 'debug', 'protocol', 'string'], b''),
    (['-3', 'debug', 'protocol', 'integer'], b''),
    (['-3', 'debug', 'protocol', 'double'], b''),
    (['-3', 'debug', 'protocol', 'null'], b''),
    (['-3', 'debug', 'protocol', 'array'], b''),
    (['-3', 'debug', 'protocol', 'set'], b''),
    (['-3', 'debug', 'protocol', 'map'], b''),
    (['-3', 'debug', 'protocol', 'push'], b''),
    (['-3', 'debug', 'protocol', 'verbatim'], b''),
    (['-3', 'debug', 'protocol', 'true'], b''),
    (['-3', 'debug', 'protocol', 'false'], b''),
    (['-2', 'debug', 'protocol', 'map'], b''),
    (['-3', 'eval', SCRIPT_MAPS, '0'], b''),
]


@pytest.mark.parametrize('style', [[], ['--raw'], ['--no-raw'], ['--csv'], ['--json'], ['-d', ',', '-D', ';']],
                         ids=['default', 'raw', 'standard', 'csv', 'json', 'delimiters'])
def test_replies_look_as_in_redis_cli(cli_server, cli_as_redis, style):
    for arguments, stdin in COMMANDS:
        if style in (['--csv'], ['--json']) and arguments[0] == 'lolwut':
            continue  # redis-cli prints texts as they are even then; see test_json_is_always_json
        outputs = []
        for binary in (REDIS_CLI, cli_as_redis):
            cli_ask(cli_server, 'flushall')
            cli_ask(cli_server, 'set', 'bin', 'x"y\n')
            outputs.append(cli_run(binary, ['-p', str(cli_server), *style, *arguments], stdin))
        assert outputs[0] == outputs[1], arguments


@pytest.mark.parametrize('style', ['--raw', '--no-raw', '--csv'])
def test_error_replies_look_as_in_redis_cli(cli_server, cli_as_redis, style):
    texts = [] if style == '--csv' else [['cluster', 'info']]
    for arguments in (['nonsense'], ['-e', 'nonsense'], *texts,
                      ['eval', "return {redis.error_reply('ERR a\"b'),1}", '0'], ['-3', 'get']):
        expected = cli_run(REDIS_CLI, ['-p', str(cli_server), style, *arguments])
        assert cli_run(cli_as_redis, ['-p', str(cli_server), style, *arguments]) == expected, arguments


def test_json_is_always_json(cli_server):
    import json
    script = "return {redis.error_reply('ERR a\"b'), 'q\"\\\\', 1}"
    for style in ('--json', '--quoted-json'):
        _, out, _ = cli_run(CLI, ['-p', str(cli_server), style, 'eval', script, '0'])
        parsed = json.loads(out)
        assert parsed[0]['code'] == 'ERR' and parsed[2] == 1
        _, out, _ = cli_run(CLI, ['-p', str(cli_server), style, 'info', 'server'])
        assert 'redis_version' in json.loads(out)


def test_attributes_and_sets_and_big_numbers(cli_server):
    _, out, _ = cli_run(CLI, ['-p', str(cli_server), '-3', '--no-raw', '--show-attributes', 'yes', 'debug', 'protocol',
                              'attrib'])
    assert out == ('|1# "key-popularity" => \n    1) "key:123"\n    2) (integer) 90\n'
                   '"Some real reply following the attribute"\n')
    _, out, _ = cli_run(CLI, ['-p', str(cli_server), '-3', '--no-raw', 'debug', 'protocol', 'bignum'])
    assert out == '(big number) 1234567999999999999999999999999999999\n'


FAILURES = [
    ['-p', '1', 'ping'],
    ['-s', '/nonexistent/socket', 'ping'],
    ['--bogus'],
    ['-p'],
    ['-2', '-3', 'ping'],
    ['-c', '-s', '/x', 'ping'],
    ['-x', '-X', 't', 'ping'],
    ['-u', 'foo://x', 'ping'],
    ['-u', 'redis://%z1@x', 'ping'],
    ['-X', 'nope', 'set', 'a', 'b'],
    ['--cluster', 'nonsense'],
    ['--cluster', 'check'],
    ['--cluster', 'check', 'abc'],
    ['--cluster', 'check', '127.0.0.1:1'],
]


@pytest.mark.parametrize('arguments', FAILURES, ids=' '.join)
def test_failures_are_told_as_in_redis_cli(cli_as_redis, arguments):
    expected = cli_run(REDIS_CLI, arguments)
    actual = cli_run(cli_as_redis, arguments)
    assert actual == expected


def test_modes_that_come_later_say_so():
    for arguments in (['--tls', 'ping'], ['--scan'], ['--pipe'], ['--cluster', 'rebalance', 'a:1'],
                      ['--cluster', 'fix', 'a:1'], ['--cluster', 'backup', 'a:1', '/x']):
        status, out, err = cli_run(CLI, arguments)
        assert status == 1 and out == '' and 'this version' in err, arguments


def test_passwords_users_and_databases(cli_nodes, cli_as_redis):
    port = str(cli_nodes.start('--requirepass', 'secret', '--user', 'bob', 'on', '>pw', '+@all', '~*'))
    for arguments, environment in (
            (['ping'], {}),
            (['-a', 'secret', 'ping'], {}),
            (['-a', 'secret', '--no-auth-warning', 'ping'], {}),
            (['ping'], {'REDISCLI_AUTH': 'secret'}),
            (['--user', 'bob', '--pass', 'pw', 'acl', 'whoami'], {}),
            (['-a', 'secret', '-n', '99', 'ping'], {}),
    ):
        expected = cli_run(REDIS_CLI, ['-p', port, *arguments], **environment)
        assert cli_run(cli_as_redis, ['-p', port, *arguments], **environment) == expected, arguments
    status, out, err = cli_run(cli_as_redis, ['-p', port, '-a', 'wrong', '--no-auth-warning', 'ping'])
    assert (status, out) == (1, 'NOAUTH Authentication required.\n\n')
    assert err == 'AUTH failed: WRONGPASS invalid username-password pair or user is disabled.\n'
    assert cli_run(CLI, ['-u', 'redis://bob:pw@127.0.0.1:%s/3' % port, '--no-auth-warning', 'acl', 'whoami'])[1] == 'bob\n'
    assert cli_run(CLI, ['-p', port, 'ping'], REDISCLI_AUTH='secret\r\n')[1] == 'PONG\n'


def test_a_password_does_not_stay_in_the_process_list(cli_server):
    with subprocess.Popen([CLI, '-p', str(cli_server), '-a', 'verysecret', 'subscribe', 'x'], env=ENVIRONMENT,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            cli_wait(lambda: select.select([process.stdout], [], [], 0)[0])
            with open('/proc/%d/cmdline' % process.pid, 'rb') as file:
                assert b'verysecret' not in file.read()
        finally:
            process.kill()


LINES = (b'3 ping\nnonsense\n\n"a\n-1 ping\nget "a b\n set x "1 2"\nget x\nhelp get\nhelp @transactions\nhelp config\n'
         b':set hints\n:set foo\n:foo\nmulti\nselect 3\nexec\neval "return {1,{2}}" 0\nquit\nping\n')


@pytest.mark.parametrize('style', ['--raw', '--no-raw', '--csv', '--json'])
def test_commands_from_standard_input(cli_server, cli_as_redis, style):
    lines = LINES.replace(b'nonsense\n', b'') if style == '--json' else LINES
    expected = cli_run(REDIS_CLI, ['-p', str(cli_server), style], lines)
    assert cli_run(cli_as_redis, ['-p', str(cli_server), style], lines) == expected


def test_help_has_the_syntax_of_redis_cli(cli_server, cli_as_redis):
    names = cli_ask(cli_server, 'command', 'list').split('\n')
    lines = ''.join('help %s\n' % name for name in names if '|' not in name).encode()
    expected = cli_run(REDIS_CLI, ['-p', str(cli_server)], lines)[1].split('\r\n')
    actual = cli_run(cli_as_redis, ['-p', str(cli_server)], lines)[1].split('\r\n')
    assert sorted(expected) == sorted(actual)


@pytest.mark.parametrize('style', ['--raw', '--no-raw', '--csv', '--json'])
def test_subscriptions_and_monitor(cli_server, cli_as_redis, style):
    for command in (['subscribe', 'a', 'b'], ['psubscribe', '*'], ['monitor']):
        outputs = []
        for binary in (REDIS_CLI, cli_as_redis):
            process = subprocess.Popen([binary, '-p', str(cli_server), style, *command], env=ENVIRONMENT,
                                       stdout=subprocess.PIPE)
            cli_wait(lambda: command[0] in cli_ask(cli_server, 'client', 'list'))
            cli_ask(cli_server, 'publish', 'a', 'hello')
            if command == ['monitor']:
                cli_wait(lambda: select.select([process.stdout], [], [], 0)[0])
                time.sleep(0.1)
            cli_ask(cli_server, 'client', 'kill', 'type', 'pubsub')
            if command == ['monitor']:
                for line in cli_ask(cli_server, 'client', 'list').split('\n'):
                    if 'cmd=monitor' in line:
                        cli_ask(cli_server, 'client', 'kill', 'id', re.match(r'id=(\d+)', line).group(1))
            out, _ = process.communicate(timeout=WAIT_S)
            outputs.append(re.sub(rb'[0-9.]+ \[0 [0-9.:]+\]', b'AT', out))
        if command == ['monitor']:
            outputs = [out.split(b'AT "client"')[0] for out in outputs]
        assert outputs[0] == outputs[1], command


def test_shutdown_is_no_failure(cli_nodes):
    port = cli_nodes.start()
    assert cli_run(CLI, ['-p', str(port), 'shutdown', 'nosave']) == (0, '', '')


# ---- the terminal ----

class CliTerminal:
    def __init__(self, arguments, **environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(CLI, [CLI, *arguments], {**ENVIRONMENT, 'TERM': 'xterm', **environment})
        self.seen = b''

    def type(self, text, expected):
        self.seen = b''
        os.write(self.fd, text)
        self.expect(expected)

    def expect(self, expected):
        end = time.monotonic() + WAIT_S
        while expected not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 4096)

    def end(self):
        pid, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)

    def kill(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.fd)
        except (ProcessLookupError, ChildProcessError, OSError):
            pass


def test_a_conversation_at_the_terminal(cli_server, tmp_path):
    history = tmp_path / 'history'
    prompt = b'127.0.0.1:%d' % cli_server
    terminal = CliTerminal(['-p', str(cli_server)], DUNLINCLI_HISTFILE=str(history))
    try:
        terminal.expect(prompt + b'> ')
        terminal.type(b'set typed', b'\x1b[90m value [NX|XX]')
        terminal.type(b' 1\r', b'OK\r\n')
        terminal.type(b'get typed\r', b'"1"\r\n')
        terminal.type(b'\x1b[A\r', b'"1"\r\n')
        terminal.type(b'hge\t\t', b'hgetall')
        terminal.type(b'\x15select 3\r', prompt + b'[3]> ')
        terminal.type(b'multi\r', prompt + b'[3](TX)> ')
        terminal.type(b'discard\r', prompt + b'[3]> ')
        terminal.type(b'auth wrong\r', b'(error) ')
        terminal.type(b'subscribe news\r', b'Reading messages... (press Ctrl-C to quit or any key to type command)\r')
        cli_ask(cli_server, 'publish', 'news', 'hello')
        terminal.expect(b'3) "hello"\r\n')
        terminal.type(b'p', b'(subscribed mode)> ')
        terminal.type(b'ing\r', b'Reading messages...')
        assert b'1) "pong"' in terminal.seen
        terminal.type(b'\x03', prompt + b'[3]> ')
        terminal.type(b'debug sleep 0.6\r', b'(0.6')
        terminal.type(b'quit\r', b'quit')
        assert terminal.end() == 0
    finally:
        terminal.kill()
    lines = history.read_text().split('\n')
    assert 'get typed' in lines and lines.count('get typed') == 1
    assert not any('auth' in line for line in lines)
    assert history.stat().st_mode & 0o777 == 0o600


def test_a_lost_connection_is_made_anew(cli_server, tmp_path):
    terminal = CliTerminal(['-p', str(cli_server), '-n', '2'], DUNLINCLI_HISTFILE='/dev/null')
    try:
        terminal.expect(b'[2]> ')
        cli_ask(cli_server, 'client', 'kill', 'type', 'normal')
        terminal.type(b'client list\r', b'db=2')
        terminal.type(b'quit\r', b'quit')
        assert terminal.end() == 0
    finally:
        terminal.kill()


# ---- clusters ----

def cli_addresses(ports):
    return ['127.0.0.1:%d' % port for port in ports]


def cli_normal(text, ports):
    """Ids as letters in the order they appear, ports as numbers of nodes."""
    names = {}
    for port in ports:
        text = re.sub(r'\b%d\b' % port, 'P%d' % ports.index(port), text)
    text = re.sub(r'\b[0-9a-f]{40}\b', lambda m: names.setdefault(m.group(0), 'ID%d' % len(names)), text)
    return re.sub(r'\(([0-9a-f]{8})\.\.\.\)', '(ID...)', text)


def cli_steps(text):
    """The order in which a node lists the others is chance: lines about nodes are compared sorted."""
    text = re.sub(r'\.+\n', '\n', text)
    blocks, lines = [], []
    for line in text.split('\n'):
        if re.match(r'\s*[MS]: ', line):
            blocks.append(line)
        elif blocks and re.match(r'\s+(slots:|replicates|\d+ additional)', line):
            blocks[-1] += '\n' + line
        else:
            lines += sorted(blocks) + [line]
            blocks = []
    return lines + sorted(blocks)


def cli_wait_agree(ports):
    cli_wait(lambda: all('cluster_state:ok' in cli_ask(port, 'cluster', 'info') for port in ports))
    cli_wait(lambda: '[OK] All nodes agree' in cli_run(REDIS_CLI, ['--cluster', 'check', cli_addresses(ports)[0]])[1])


def cli_load_keys(port, count):
    lines = ''.join('set key:%d %d\n' % (i, i) for i in range(count)).encode()
    assert cli_run(REDIS_CLI, ['-c', '-p', str(port)], lines)[0] == 0


def cli_digest(ports, count):
    lines = ''.join('get key:%d\n' % i for i in range(count)).encode()
    return re.sub(r'-> Redirected.*\n', '', cli_run(REDIS_CLI, ['-c', '-p', str(ports[0])], lines)[1])


def test_create_check_info_and_call(cli_nodes, cli_as_redis):
    ports = cli_nodes.start_cluster_nodes(3)
    others = cli_nodes.start_cluster_nodes(3)
    outputs = []
    for binary, members in ((REDIS_CLI, ports), (cli_as_redis, others)):
        status, out, err = cli_run(binary, ['--cluster', 'create', *cli_addresses(members), '--cluster-yes'])
        assert (status, err) == (0, '')
        names = {cli_ask(port, 'cluster', 'myid'): 'ID%d' % i for i, port in enumerate(members)}
        for node_id, name in names.items():
            out = out.replace(node_id, name)
        outputs.append(cli_steps(cli_normal(out, members)))
        cli_wait_agree(members)
    assert outputs[0] == outputs[1]
    cli_load_keys(others[0], 50)
    entry = cli_addresses(others)[0]
    for arguments in (['check', entry], ['check', *entry.split(':')], ['check', entry, '--cluster-search-multiple-owners'],
                      ['info', entry], ['call', entry, 'ping'], ['call', entry, 'command', 'info', 'get'],
                      ['call', entry, 'nonsense'], ['call', '--cluster-only-masters', entry, 'dbsize'],
                      ['call', '--cluster-only-replicas', entry, 'dbsize']):
        expected = cli_run(REDIS_CLI, ['--cluster', *arguments])
        assert cli_run(cli_as_redis, ['--cluster', *arguments]) == expected, arguments
    status, out, err = cli_run(cli_as_redis, ['--cluster', 'create', *cli_addresses(others), '--cluster-yes'])
    assert (status, err) == (0, 'cluster already created\n') and out.count('[OK]') == 2
    assert cli_run(cli_as_redis, ['--cluster', 'create', *cli_addresses(ports[:2] + others[:1]), '--cluster-yes'])[0] == 1


def test_create_refuses_too_few_masters_and_a_no(cli_nodes, cli_as_redis):
    ports = cli_nodes.start_cluster_nodes(3)
    for arguments in (cli_addresses(ports[:2]), cli_addresses(ports) + ['--cluster-replicas', '1']):
        expected = cli_run(REDIS_CLI, ['--cluster', 'create', *arguments])
        assert cli_run(cli_as_redis, ['--cluster', 'create', *arguments]) == expected
    for answer in (b'no\n', b''):
        status, out, _ = cli_run(cli_as_redis, ['--cluster', 'create', *cli_addresses(ports)], answer)
        assert status == 1 and out.endswith("Can I set the above configuration? (type 'yes' to accept): ")
        assert 'cluster_slots_assigned:0' in cli_ask(ports[0], 'cluster', 'info')
    status, out, _ = cli_run(cli_as_redis, ['--cluster', 'create', *cli_addresses(ports)], b' YES \n')
    assert status == 0 and out.endswith('[OK] All 16384 slots covered.\n')


@pytest.fixture
def cli_cluster(cli_nodes):
    ports = cli_nodes.start_cluster_nodes(3)
    status, out, err = cli_run(CLI, ['--cluster', 'create', *cli_addresses(ports), '--cluster-yes'])
    assert status == 0, out + err
    cli_load_keys(ports[0], 300)
    return ports


def test_reshard_looks_and_works_as_in_redis_cli(cli_cluster, cli_as_redis):
    ports, entry = cli_cluster, cli_addresses(cli_cluster)[0]
    before = cli_digest(ports, 300)
    ids = [cli_ask(port, 'cluster', 'myid') for port in ports]
    outputs = []
    for binary, source, target in ((REDIS_CLI, 0, 1), (cli_as_redis, 0, 2)):
        status, out, err = cli_run(binary, ['--cluster', 'reshard', entry, '--cluster-from', ids[source], '--cluster-to',
                                            ids[target], '--cluster-slots', '60', '--cluster-yes'])
        assert (status, err) == (0, '')
        cli_wait_agree(ports)
        plan = out.split('Resharding plan:\n')[1].replace(ids[source], 'SOURCE').replace(str(ports[target]), 'TARGET')
        outputs.append([re.sub(r'slot \d+|\.+$', '', line) for line in plan.split('\n')])
    assert outputs[0] == outputs[1]
    answers = '7\n%s\nall\nyes\n' % ids[0]
    status, out, err = cli_run(cli_as_redis, ['--cluster', 'reshard', entry], answers.encode())
    assert (status, err) == (0, '') and out.count(' to 127.0.0.1:%d: ' % ports[0]) == 7
    assert out.split('How many')[1].startswith(
        ' slots do you want to move (from 1 to 16384)? What is the receiving node ID? '
        'Please enter all the source node IDs.\n'
        "  Type 'all' to use all the nodes as source nodes for the hash slots.\n"
        "  Type 'done' once you entered all the source nodes IDs.\n"
        'Source node #1: \nReady to move 7 slots.\n')
    status, out, _ = cli_run(CLI, ['--cluster', 'check', entry])
    assert status == 0 and out.count('[OK]') == 3
    assert cli_digest(ports, 300) == before


def test_reshard_stops_where_redis_cli_stops(cli_cluster, cli_as_redis):
    entry = cli_addresses(cli_cluster)[0]
    first, second = (cli_ask(port, 'cluster', 'myid') for port in cli_cluster[:2])
    for arguments, stdin in (
            (['--cluster-slots', '3', '--cluster-to', 'f' * 40], b''),
            (['--cluster-slots', '3', '--cluster-to', first, '--cluster-from', first], b''),
            (['--cluster-slots', '3', '--cluster-to', first, '--cluster-from', second], b'no\n'),
            (['--cluster-slots', '3', '--cluster-to', first], b'done\n'),
    ):
        expected = cli_run(REDIS_CLI, ['--cluster', 'reshard', entry, *arguments], stdin)
        assert cli_run(cli_as_redis, ['--cluster', 'reshard', entry, *arguments], stdin) == expected, arguments
    for stdin in (b'', b'99999\n', b'3\n'):
        assert cli_run(CLI, ['--cluster', 'reshard', entry], stdin)[0] == 1


def cli_key_on_both(source, target, target_id, source_id, slot_key, slot):
    """Puts the slot's key on its owner and, with another value, on the target."""
    cli_ask(source, 'set', slot_key, 'here')
    cli_ask(target, 'cluster', 'setslot', slot, 'importing', source_id)
    lines = ('asking\nset %s there\n' % slot_key).encode()
    assert 'OK' in cli_run(REDIS_CLI, ['-p', str(target)], lines)[1]
    cli_ask(target, 'cluster', 'setslot', slot, 'stable')


def test_reshard_meets_a_key_on_both_sides(cli_nodes, cli_as_redis):
    ports = cli_nodes.start_cluster_nodes(3)
    assert cli_run(CLI, ['--cluster', 'create', *cli_addresses(ports), '--cluster-yes'])[0] == 0
    ids = [cli_ask(port, 'cluster', 'myid') for port in ports]
    entry = cli_addresses(ports)[0]
    # The key's slot is moved to be the lowest one of its owner, so that a reshard of one slot moves it.
    key = next('k%d' % i for i in range(10 ** 6) if cli_keyslot('k%d' % i) == 0)
    arguments = ['--cluster', 'reshard', entry, '--cluster-from', ids[0], '--cluster-to', ids[1], '--cluster-slots', '1',
                 '--cluster-yes']
    outputs = []
    for binary in (REDIS_CLI, cli_as_redis):
        cli_key_on_both(ports[0], ports[1], ids[1], ids[0], key, '0')
        status, out, err = cli_run(binary, arguments)
        outputs.append((status, out.split('Resharding plan:')[1], err))
        cli_ask(ports[0], 'cluster', 'setslot', '0', 'stable')
        cli_ask(ports[1], 'cluster', 'setslot', '0', 'stable')
    assert outputs[0] == outputs[1] and outputs[1][0] == 1
    status, out, _ = cli_run(cli_as_redis, [*arguments, '--cluster-replace'])
    assert status == 0 and '\n*** Target key exists\n*** Replacing target keys...\n.\n' in out
    assert cli_ask(ports[1], 'get', key) == 'here'


def cli_keyslot(key):
    crc = 0
    for byte in key.encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xffff
    return crc % 16384


def test_clusters_with_passwords(cli_nodes, cli_as_redis):
    arguments = ['--cluster-enabled', 'yes', '--requirepass', 'pw', '--masterauth', 'pw']
    ports = [cli_nodes.start(*arguments) for _ in range(3)]
    entry = cli_addresses(ports)[0]
    status, out, err = cli_run(CLI, ['--cluster', 'create', *cli_addresses(ports), '--cluster-yes'], REDISCLI_AUTH='pw')
    assert (status, err) == (0, ''), out
    key = next('k%d' % i for i in range(10 ** 6) if cli_keyslot('k%d' % i) == 0)
    assert cli_run(CLI, ['-p', str(ports[0]), 'set', key, 'x'], REDISCLI_AUTH='pw')[1] == 'OK\n'
    target = cli_run(CLI, ['-p', str(ports[1]), 'cluster', 'myid'], REDISCLI_AUTH='pw')[1].strip()
    source = cli_run(CLI, ['-p', str(ports[0]), 'cluster', 'myid'], REDISCLI_AUTH='pw')[1].strip()
    for user in ([], ['--user', 'default']):
        status, out, err = cli_run(CLI, ['--cluster', 'reshard', entry, *user, '--cluster-from', source, '--cluster-to', target,
                                         '--cluster-slots', '1', '--cluster-yes'], REDISCLI_AUTH='pw')
        assert (status, err) == (0, ''), out
        source, target = target, source
    assert cli_run(CLI, ['-c', '-p', str(ports[2]), 'get', key], REDISCLI_AUTH='pw')[1] == 'x\n'
    for binary in (REDIS_CLI, cli_as_redis):
        assert cli_run(binary, ['--cluster', 'check', entry])[0] == 1


def test_open_slots_and_gaps_are_found(cli_cluster, cli_as_redis):
    ports, entry = cli_cluster, cli_addresses(cli_cluster)[0]
    ids = [cli_ask(port, 'cluster', 'myid') for port in ports]
    cli_ask(ports[0], 'cluster', 'setslot', '7', 'migrating', ids[1])
    cli_ask(ports[1], 'cluster', 'setslot', '7', 'importing', ids[0])
    for port in ports:
        cli_ask(port, 'cluster', 'delslots', '9')
    for arguments in (['check', entry], ['reshard', entry, '--cluster-yes'], ['add-node', '127.0.0.1:1', entry]):
        expected = cli_run(REDIS_CLI, ['--cluster', *arguments])
        assert cli_run(cli_as_redis, ['--cluster', *arguments]) == expected, arguments
        assert expected[0] == 1


def cli_is_listed_as(port, node_id, flag):
    lines = [line.split(' ') for line in cli_ask(port, 'cluster', 'nodes').split('\n')]
    return any(words[0] == node_id and flag in words[2] for words in lines)


def test_nodes_come_and_go(cli_nodes, cli_cluster, cli_as_redis):
    ports, entry = cli_cluster, cli_addresses(cli_cluster)[0]
    new = cli_nodes.start_cluster_nodes(4)
    steps = []
    for binary, first, second in ((REDIS_CLI, new[0], new[1]), (cli_as_redis, new[2], new[3])):
        outputs = []
        status, out, err = cli_run(binary, ['--cluster', 'add-node', '127.0.0.1:%d' % first, entry])
        assert (status, err) == (0, ''), out
        outputs.append(out)
        first_id = cli_ask(first, 'cluster', 'myid')
        cli_wait(lambda: all(first_id in cli_ask(port, 'cluster', 'nodes') for port in ports))
        cli_wait_agree(ports)
        status, out, err = cli_run(binary, ['--cluster', 'add-node', '127.0.0.1:%d' % second, entry, '--cluster-slave',
                                            '--cluster-master-id', first_id])
        assert (status, err) == (0, ''), out
        outputs.append(out)
        cli_wait_agree(ports)
        second_id = cli_ask(second, 'cluster', 'myid')
        # Of a node that another has not heard of yet, redis-cli's del-node makes an error.
        cli_wait(lambda: all(cli_is_listed_as(port, second_id, 'slave') for port in (*ports, first)))
        for node_id in (second_id, first_id, 'f' * 40, cli_ask(ports[1], 'cluster', 'myid')):
            status, out, err = cli_run(binary, ['--cluster', 'del-node', entry, node_id])
            outputs.append('%d %s%s' % (status, out, err))
        text = '\n'.join(outputs).replace(str(first), 'FIRST').replace(str(second), 'SECOND')
        text = text.replace(first_id, 'FIRST-ID').replace(second_id, 'SECOND-ID')
        steps.append(cli_steps(text))
        cli_wait_agree(ports)
    assert steps[0] == steps[1]
    assert 'node is a member' in cli_run(CLI, ['--cluster', 'add-node', cli_addresses(ports)[1], entry])[2]


def test_a_dead_node_can_be_removed(cli_nodes, cli_cluster):
    ports, entry = cli_cluster, cli_addresses(cli_cluster)[0]
    new = cli_nodes.start_cluster_nodes(1)[0]
    assert cli_run(CLI, ['--cluster', 'add-node', '127.0.0.1:%d' % new, entry])[0] == 0
    node_id = cli_ask(new, 'cluster', 'myid')
    cli_nodes.stop(new)
    status, out, _ = cli_run(CLI, ['--cluster', 'del-node', entry, node_id])
    assert status == 0 and 'is not reachable, CLUSTER RESET not sent.' in out
    assert node_id not in cli_ask(ports[0], 'cluster', 'nodes') + cli_ask(ports[1], 'cluster', 'nodes')


def test_redirections_are_followed(cli_cluster, cli_as_redis):
    for port in cli_cluster:
        for arguments in (['get', 'key:1'], ['--no-raw', 'get', 'key:2'], ['incr', 'key:none{%d}' % port]):
            expected = cli_run(REDIS_CLI, ['-c', '-p', str(port), *arguments])
            cli_ask(port, 'ping')
            actual = cli_run(cli_as_redis, ['-c', '-p', str(port), *arguments])
            if arguments[0] != 'incr':
                assert actual == expected
            else:
                assert int(actual[1]) == int(expected[1]) + 1
        lines = b'get key:1\nget key:2\nget key:3\n'
        assert (cli_run(cli_as_redis, ['-c', '-p', str(port)], lines) == cli_run(REDIS_CLI, ['-c', '-p', str(port)], lines))


def test_ask_redirections_are_followed(cli_cluster):
    ids = [cli_ask(port, 'cluster', 'myid') for port in cli_cluster]
    slot = str(cli_keyslot('moving'))
    owner = next(i for i, port in enumerate(cli_cluster) if 'MOVED' not in cli_ask(port, 'get', 'moving'))
    other = (owner + 1) % 3
    cli_ask(cli_cluster[other], 'cluster', 'setslot', slot, 'importing', ids[owner])
    cli_ask(cli_cluster[owner], 'cluster', 'setslot', slot, 'migrating', ids[other])
    assert cli_run(CLI, ['-c', '-p', str(cli_cluster[owner]), 'set', 'moving', 'x'])[1] == 'OK\n'
    assert cli_ask(cli_cluster[other], 'cluster', 'countkeysinslot', slot) == '1'
