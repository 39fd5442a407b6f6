"""dunlin-check-aof against redis-check-aof: the same words, statuses and files, sound or damaged.

What the checkers of dump files say of a snapshot at the beginning is compared elsewhere.
"""
import glob
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import SHARED, built

CHECKER = os.environ.get('DUNLIN_CHECK_AOF') or built('tools/check/dunlin-check-aof')
REFERENCE = '/usr/bin/redis-check-aof'
NOBODY = 65534
SEEDS = int(os.environ.get('DUNLIN_SEEDS', 60))
SAMPLES = os.path.join(SHARED, 'spec', 'samples', 'aof', 'redis-7.0.15')

pytestmark = pytest.mark.skipif(not os.path.exists(REFERENCE), reason='no redis-check-aof')


def command(*words):
    return b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words)


def time_mark(second):
    return b'#TS:%d\r\n' % second


PING = command(b'PING')
MULTI = command(b'MULTI')
EXEC = command(b'exec')
SELECT = command(b'SELECT', b'0')
SET = command(b'SET', b'key', b'line\r\n*1\r\n$4\r\n')
RDB = b'REDIS0010\xfa\x08aof-base\xc0\x01\xff' + bytes(8)
LOG = (time_mark(10) + SELECT + SET + MULTI + SET + command(b'DEL', b'key') + EXEC + time_mark(20) +
       command(b'SET', b'big', b'x' * 1200) + PING + time_mark(30) + SET)

# Where a server would stumble at its next start this checker says so and the reference does not.
STRICTER = re.compile(rb'[*$](\r|[ +\t\v\f-])|\*0+\r|#[^\n]*\Z|#TS:[ +\t\v\f\r0]')
STRICTER_CASES = [
    ('no arguments', PING + b'*0\r\n'),
    ('a negative number of arguments', PING + b'*-1\r\n'),
    ('no number', PING + b'*\r\n'),
    ('a length that is no number', PING + b'*1\r\n$\r\n\r\n'),
    ('a blank before a number', PING + b'* 1\r\n$4\r\nPING\r\n'),
    ('a sign before a number', PING + b'*1\r\n$+4\r\nPING\r\n'),
    ('a torn annotation', PING + b'#TS:12'),
]


def readable(found):
    """The reference writes a byte that is no character as it is, and ends the line at a NUL."""
    byte = (found[1] or '\0').encode('latin1')
    return "'$', got: '%s'\n" % (byte.decode() if 0x20 <= byte[0] < 0x7f else '\\x%02x' % byte[0])


def run(tool, folder, words, answer=b''):
    """Status, comparable lines of the report, and contents of all files afterwards."""
    done = subprocess.run([tool, *words], input=answer, cwd=folder, capture_output=True, timeout=20)
    report = done.stdout.decode('latin1').replace(tool, 'TOOL')
    report = re.sub(r"'\$', got: '([^\0]?)'?\n", readable, report, flags=re.S)
    lines = []
    for line in report.split('\n'):
        line = re.sub(r'^\d+:C .{24} # ', '', line)
        # Behind the end of a line the reference prints what lies there, and a byte from 0x80 on as eight digits.
        line = re.sub(r'(Expected \\r\\n, got: )(.*)', lambda m: m[1] + m[2].replace('ffffff', ''), line)
        line = re.sub(r'(Expected \\r\\n, got: 00)..', r'\g<1>00', line)
        if line and not line.startswith(('[', '--- RDB', 'If you insist', 'To cut there')):
            lines.append(line)
    files = {name: open(os.path.join(folder, name), 'rb').read() for name in sorted(os.listdir(folder))}
    return done.returncode, lines, files


class Pair:
    """Runs both tools on equal folders."""

    def __init__(self, path):
        self.path = path
        self.folders = iter(range(1, 1 << 30))

    def run(self, files, words, answer=b''):
        outcomes = []
        folder = os.path.join(self.path, str(next(self.folders)))
        for tool in (CHECKER, REFERENCE):
            os.makedirs(folder)
            for name, content in files.items():
                with open(os.path.join(folder, name), 'wb') as file:
                    file.write(content)
            outcomes.append(run(tool, folder, words, answer))
            shutil.rmtree(folder)
        return outcomes

    def expect_same(self, files, words, answer=b''):
        ours, theirs = self.run(files, words, answer)
        assert ours == theirs, (files, words)
        return ours

    def expect_all_same(self, cases):
        """Each case is (files, words, answer); mostly this waits for processes to start."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda case: self.expect_same(*case), cases))


@pytest.fixture
def pair(tmp_path):
    return Pair(str(tmp_path))


SINGLE_CASES = [
    b'', PING, b'\n', b'*', b'*1', b'*1\r', b'*1\r\n', b'*1\n', b'*x\r\n', b'*1x\r\n', b'*01\r\n$04\r\nPING\r\n',
    b'*1\r\r\n$4\r\nPING\r\n', b'*1\r\n$4\r\nPINGxx', b'*1\r\n$4\r\nPING\r', b'*1\r\n$4\r\nPI', b'*1\r\n$4\r\n',
    b'*1\r\n$4\r', b'*1\r\n$4', b'*1\r\n$', b'*1\r\nx4\r\n', b'*1\r\n\r\n', b'*1\r\n$-1\r\n', b'*1\r\n$x\r\n',
    b'*1\r\n$99999999999\r\nabc', b'*1\r\n$9223372036854775806\r\n', b'*1\r\n$' + b'9' * 30 + b'\r\n',
    b'*99999999999\r\n$1\r\na\r\n', b'*2\r\n$1\r\na\r\n', b'*' + b'0' * 123 + b'1\r\n$4\r\nPING\r\n',
    b'*' + b'0' * 124 + b'1\r\n$4\r\nPING\r\n', b'*1\0\r\n', b'PING\r\n', b'#\r\n', b'#any\n', b'#TS:x\r\n',
    b'#' + b'a' * 1000 + b'\r\n', MULTI, MULTI + PING, MULTI + PING + EXEC, MULTI + MULTI + EXEC, EXEC,
    MULTI + EXEC + EXEC, command(b'MULTI', b'x') + PING, MULTI + b'*2\r\n$5\r\nMULTI\r\n$9\r\n',
    b'*2\r\n$4\r\nEXEC\r\n$9\r\n', MULTI + command(b'DISCARD'), MULTI + b'x\r\n', MULTI + b'*1\r\n',
    MULTI + b'#a\r\n', MULTI + PING + b'*1\r\n$4\r\nPI', MULTI + time_mark(5) + PING + EXEC, RDB, RDB + PING,
    RDB + PING + b'x', RDB[:-1], b'REDIS', b'REDIS00', b'REDIS000', b'fil', b'\xff\0',
]


def test_single_files_get_the_same_report(pair):
    pair.expect_all_same([({'a.aof': case if case[:5] == b'REDIS' or index % 3 == 0 else PING + case}, ['a.aof'])
                          for index, case in enumerate(SINGLE_CASES)])


def test_what_a_server_would_stumble_over_is_reported(pair):
    for what, case in STRICTER_CASES:
        assert STRICTER.search(case), what
        ours, theirs = pair.run({'a.aof': case}, ['a.aof'])
        assert (ours[0], theirs[0]) == (1, 0), what
        assert 'ok_up_to=%d,' % len(PING) in '\n'.join(ours[1]), what
        ours, _ = pair.run({'a.aof': case}, ['--fix', 'a.aof'], b'y\n')
        assert ours[0] == 0 and ours[2]['a.aof'] == PING, what


def test_fixing_asks_first(pair):
    damaged = {'a.aof': LOG + b'*3\r\n$3\r\nS'}
    pair.expect_all_same(
        [(damaged, ['--fix', 'a.aof'], answer) for answer in (b'y\n', b'Yes, do\n', b'Y', b'n\n', b'\n', b'', b' y\n')] +
        [({'a.aof': case}, ['--fix', 'a.aof'], b'y\n') for case in (LOG + MULTI + SET, RDB + LOG + b'x', RDB[:-1], LOG)])
    ours, _ = pair.run(damaged, ['--fix', '--yes', 'a.aof'])
    assert ours[0] == 0 and ours[2]['a.aof'] == LOG and 'Continue' not in '\n'.join(ours[1])


def test_cutting_at_a_time(pair):
    seconds = [(LOG, second) for second in (-3, 0, 5, 10, 15, 20, 29, 30)]
    seconds += [(case, second) for case in (PING + LOG, RDB + LOG, LOG + b'x', PING + b'#TS:x\r\n', PING, b'', LOG + MULTI)
                for second in (5, 35)]
    pair.expect_all_same([({'a.aof': case}, ['--truncate-to-timestamp', str(second), 'a.aof'])
                          for case, second in seconds])
    # Cut within a transaction the file would be damaged, so everything from the MULTI on goes.
    ours, _ = pair.run({'a.aof': PING + MULTI + time_mark(50) + PING + EXEC}, ['--truncate-to-timestamp', '20', 'a.aof'])
    assert ours[0] == 0 and ours[2]['a.aof'] == PING


MANIFEST = b'file b seq 1 type b\nfile old seq 1 type h\nfile i1 seq 1 type i\nfile i2 seq 2 type i\n'


def test_logs_of_several_files(pair):
    cases = [
        (RDB, LOG, LOG), (RDB, b'', LOG), (b'', LOG, b''), (LOG, LOG, PING), (RDB + LOG, PING, PING),
        (RDB + LOG + b'x', PING, PING), (RDB, LOG + b'x', PING), (RDB, PING, LOG + b'x'), (RDB, PING, LOG + MULTI),
        (LOG, LOG + MULTI, PING), (RDB[:-2], PING, PING), (RDB, RDB, PING), (RDB, PING, None), (RDB, None, PING),
        (None, PING, PING), (LOG, PING, MULTI + MULTI),
    ]
    runs = []
    for index, contents in enumerate(cases):
        files = {name: content for name, content in zip(('b', 'i1', 'i2'), contents) if content is not None}
        files['m'] = MANIFEST
        runs.append((files, ['m'] if index % 2 else ['./m']))
        runs.append((files, ['--fix', 'm'], b'y\n'))
        if index < 5:
            runs.append((files, ['--truncate-to-timestamp', '15', 'm']))
    for content in (RDB, LOG, RDB + LOG + b'x', LOG + b'x', b''):
        runs.append(({'m': b'#c\nfile b seq 1 type b\n', 'b': content}, ['--fix', 'm'], b'y\n'))
    pair.expect_all_same(runs)


def test_manifests_that_cannot_be_read(pair):
    texts = [
        b'file a seq 1\n', b'file d/a seq 1 type b\n', b'file a seq 1 type x\n', b'file\n', b'file', b'\n', b'#only\n',
        b'file a seq 0 type b\n', b'file "a seq 1 type i\n', b'file a seq 2 type i\nfile b seq 1 type i\n',
        b'file a seq 1 type b\nfile b seq 2 type b\n', b'file a seq 1 type h\n\n', b'#x\nfilename\n',
        b'file ' + b'n' * 2000 + b' seq 1 type b\n', b'file a seq 1 type h\n', b'x\nfile a seq 1 type h\n',
        b'seq 1 type h file a\n',
    ]
    pair.expect_all_same([({'m': text}, ['m']) for text in texts])


def test_a_line_in_a_value_makes_no_manifest(pair):
    ours, theirs = pair.run({'a.aof': command(b'SET', b'k', b'name\nfile x\n')}, ['a.aof'])
    assert (ours[0], theirs[0]) == (0, 1)


def test_words_that_make_no_sense(pair):
    lines = [[], ['a', 'b'], ['-x', 'a'], ['--fix', 'a', 'b'], ['--truncate-to-timestamp', 'x', 'a'],
             ['--truncate-to-timestamp', '12x', 'a'], ['--fix', '--truncate-to-timestamp', '5', 'a'],
             ['--truncate-to-timestamp', '9' * 30, 'a'], ['missing'], ['missing/a'], ['']]
    pair.expect_all_same([({'a': PING}, words) for words in lines])
    assert pair.run({'a': PING}, ['--version'])[0][1][0].startswith('dunlin-check-aof ')


def damage(rng, content):
    """One accident: an end that is missing, a byte that changed, bytes that came or went."""
    at = rng.randrange(len(content))
    kind = rng.choice(['cut', 'cut', 'byte', 'bit', 'insert', 'delete', 'repeat', 'zeros'])
    if kind == 'cut':
        return content[:at]
    if kind == 'byte':
        return content[:at] + bytes([rng.randrange(256)]) + content[at + 1:]
    if kind == 'bit':
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1:]
    if kind == 'insert':
        return content[:at] + rng.choice([b'\r\n', b'\0', b'*', b'$1\r\n', b'7', PING]) + content[at:]
    if kind == 'delete':
        return content[:at] + content[at + rng.randrange(1, 9):]
    if kind == 'repeat':
        return content[:at] + content[max(0, at - rng.randrange(1, 40)):]
    return content[:at] + bytes(rng.randrange(1, 600))


def expect_same_repair(pair, seed):
    rng = random.Random(seed)
    damaged = damage(rng, rng.choice([LOG, MULTI + SET + EXEC + PING, SELECT + SET * 3]))
    if STRICTER.search(damaged):
        return False
    words = rng.choice([[], ['--fix'], ['--fix'], ['--truncate-to-timestamp', '15']])
    files, target = {'a.aof': damaged}, 'a.aof'
    if rng.random() < 0.5:
        files, target = {'m': MANIFEST, 'b': RDB, 'i1': PING, 'i2': damaged}, 'm'
    ours, theirs = pair.run(files, [*words, target], b'y\n')
    last = 'i2' if target == 'm' else target
    if '--truncate-to-timestamp' in words and MULTI in theirs[2][last][len(ours[2][last]):]:
        theirs[2][last] = ours[2][last]  # It leaves half a transaction.
    assert ours == theirs, (seed, files, words)
    if words == ['--fix']:
        assert ours[0] == 0, seed
        assert pair.expect_same(ours[2], [target])[0] == 0, seed
    return True


def test_seeded_damage_gets_the_same_report_and_repair(pair):
    first = int(os.environ.get('DUNLIN_SEED', 0))
    with ThreadPoolExecutor(4) as pool:
        compared = list(pool.map(lambda seed: expect_same_repair(pair, seed), range(first, first + SEEDS)))
    assert sum(compared) > SEEDS / 2


@pytest.mark.skipif(not os.path.isdir(SAMPLES), reason='no samples')
def test_recorded_samples(pair):
    paths = (glob.glob(os.path.join(SAMPLES, '*', 'appendonlydir', '*.manifest')) +
             glob.glob(os.path.join(SAMPLES, '*', 'appendonly.aof')))
    assert paths
    runs = []
    for path in sorted(paths):
        folder = os.path.dirname(path)
        names = [n for n in os.listdir(folder) if os.path.isfile(os.path.join(folder, n)) and n != 'expected.json']
        files = {name: open(os.path.join(folder, name), 'rb').read() for name in names}
        runs.append((files, ['--fix', os.path.basename(path)], b'y\n'))
    pair.expect_all_same(runs)


def test_json_is_one_object(tmp_path):
    def ask(files, words):
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        done = subprocess.run([CHECKER, *words], cwd=tmp_path, capture_output=True, timeout=20)
        return done.returncode, json.loads(done.stdout)

    status, report = ask({'m': MANIFEST, 'b': RDB, 'i1': LOG, 'i2': PING}, ['--json', 'm'])
    assert status == 0 and report['ok']
    assert [(f['file'], f['type'], f['commands']) for f in report['files']] == [
        ('b', 'base', 0), ('i1', 'increment', 9), ('i2', 'increment', 1)]
    assert (report['commands'], report['transactions'], report['timestamps']) == (10, 1, 3)
    assert report['files'][0]['rdb_bytes'] == len(RDB)
    assert (report['files'][1]['first_timestamp'], report['files'][1]['last_timestamp']) == (10, 30)
    assert report['valid_up_to'] == len(PING)
    assert report['messages'][-1] == 'All AOF files and manifest are valid'

    status, report = ask({'a': LOG + b'*1\r\n$4\r\nPI'}, ['--json', 'a'])
    assert status == 1 and not report['ok'] and report['valid_up_to'] == len(LOG)
    assert report['files'][0]['damage'] == {'outcome': 'truncated', 'offset': len(LOG) + 8, 'in_transaction': False}
    status, report = ask({'m': b'file x\n'}, ['--json', 'm'])
    assert status == 1 and not report['ok'] and report['files'] == []


def test_a_pure_check_needs_no_right_to_write():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'a')
        with open(path, 'wb') as file:
            file.write(LOG)
        os.chmod(path, 0o444)
        os.chmod(folder, 0o755)
        try:
            done = subprocess.run([CHECKER, path], capture_output=True, timeout=20,
                                  user=NOBODY if os.geteuid() == 0 else None)
        except PermissionError:
            pytest.skip('the checker lies where only its owner can run it')
        assert done.returncode == 0, done


def test_long_arguments_take_no_memory(tmp_path):
    path = tmp_path / 'a'
    with open(path, 'wb') as file:
        file.write(b'*2\r\n$3\r\nGET\r\n$300000000\r\n')
        file.truncate(300000000)
    done = subprocess.run(['/bin/sh', '-c', 'ulimit -v 120000; exec "$0" "$1"', CHECKER, str(path)],
                          capture_output=True, timeout=20)
    assert done.returncode == 1, done
    assert b'Expected to read 300000002 bytes, got 299999975 bytes' in done.stdout
