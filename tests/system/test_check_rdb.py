"""dunlin-check-rdb against redis-check-rdb 7.0.15: recorded files as they are, and damaged ones."""
import collections
import glob
import json
import os
import random
import re
import shutil
import subprocess

import pytest

import harness

CHECK = os.environ.get('DUNLIN_CHECK_RDB') or harness.built('tools/check/dunlin-check-rdb')
REFERENCE = shutil.which('redis-check-rdb')
SAMPLES = os.path.join(harness.SHARED, 'spec', 'samples', 'rdb')
DAMAGED = 60
DAMAGED_SIZE_MAX = 20000
TIMEOUT_S = 20

needs_reference = pytest.mark.skipif(REFERENCE is None, reason='no redis-check-rdb to compare with')

Outcome = collections.namedtuple('Outcome', 'status text errors')


def run(binary, *arguments):
    done = subprocess.run([binary, *arguments], capture_output=True, timeout=TIMEOUT_S)
    return Outcome(done.returncode, readable(done.stdout), done.stderr.decode())


def readable(output):
    """Control characters and what is no UTF-8 as dunlin-check-rdb writes them."""
    def escape(character):
        return ''.join('\\x%02x' % byte for byte in character.encode('utf-8', 'surrogateescape'))
    text = output.decode('utf-8', 'surrogateescape')
    return ''.join(escape(c) if (c < ' ' and c != '\n') or '\x7f' <= c < '\xa0' or '\udc80' <= c <= '\udcff' else c
                   for c in text)


def comparable(outcome):
    """Without what only one of the tools says: the place in the reference's source, its log line, its two type names
    that its own list lacks, and our summary."""
    text = re.sub(r'Internal error in RDB reading offset \d+, function at \S+ -> ', '', outcome.text)
    text = re.sub(r'(?m)^\d+:C .*\n', '', text)
    text = re.sub(r'(?m)^\[summary\].*\n', '', text)
    text = re.sub(r'(?m)^\[additional info\] The value of this key has no elements\n', '', text)
    text = re.sub(r'Reading type (7|19) \(.*\)', r'Reading type \1', text)
    return outcome.status, text.split('\n')


def samples():
    if not os.path.isdir(SAMPLES):
        pytest.skip('no recorded files: %s is absent' % SAMPLES)
    return sorted(glob.glob(SAMPLES + '/*/*.rdb') + glob.glob(SAMPLES + '/*/*.aof'))


def is_readable_by_reference(content):
    return content[:5] == b'REDIS' and content[5:9] <= b'0010'


def content_of(path):
    with open(path, 'rb') as file:
        return file.read()


@pytest.fixture
def make_file(tmp_path):
    def make(content):
        path = tmp_path / 'made.rdb'
        path.write_bytes(content)
        return str(path)
    return make


@needs_reference
def test_recorded_files_give_the_same_lines():
    compared = 0
    for path in samples():
        # A library format that never was released is named differently.
        if 'function-pre-ga' in path or not is_readable_by_reference(content_of(path)):
            continue
        assert comparable(run(CHECK, path)) == comparable(run(REFERENCE, path)), path
        compared += 1
    assert compared > 30


def test_files_of_later_servers_are_good():
    for path in samples():
        if '/valkey-unstable/' in path or 'v11-' in path or 'v12-' in path or 'v80-' in path:
            outcome = run(CHECK, path)
            assert outcome.status == 0, (path, outcome.text)


@needs_reference
def test_cuts_of_a_file_gives_the_same_lines(make_file):
    content = content_of(os.path.join(SAMPLES, 'synthetic', 'v9-lru-lfu.rdb')) if samples() else b''
    for size in range(0, len(content), 2):
        path = make_file(content[:size])
        assert comparable(run(CHECK, path)) == comparable(run(REFERENCE, path)), size


def damage(rng, content):
    content = bytearray(content)
    at = rng.randrange(len(content))
    kind = rng.randrange(3)
    if kind == 0:
        return bytes(content[:at])
    content[at] = content[at] ^ 1 << rng.randrange(8) if kind == 1 else rng.randrange(256)
    return bytes(content)


def error_place(text):
    """The offset of the error and what was being done."""
    found = re.search(r'ERROR DETECTED ---\n\[offset (\d+)\].*\n(.*While doing: .*)\n', '\n'.join(text))
    return found.groups() if found else None


@needs_reference
def test_damaged_files_are_found_where_the_reference_finds_them(make_file):
    rng = random.Random(20151)
    # On module data that is cut the reference does not end.
    contents = [content_of(path) for path in samples() if 'module' not in path]
    contents = [c for c in contents if is_readable_by_reference(c) and len(c) <= DAMAGED_SIZE_MAX]
    same = same_place = missed = total = 0
    for _ in range(DAMAGED):
        path = make_file(damage(rng, rng.choice(contents)))
        ours = comparable(run(CHECK, path))
        theirs = comparable(run(REFERENCE, path))
        total += 1
        same += ours == theirs
        same_place += ours == theirs or error_place(ours[1]) == error_place(theirs[1])
        missed += ours[0] == 0 and theirs[0] == 1
    assert missed == 0
    assert same >= total * 0.8 and same_place >= total * 0.9, (same, same_place, total)


@needs_reference
@pytest.mark.parametrize('content', [b'', b'R', b'REDIS0010', b'\0' * 100], ids=['empty', 'letter', 'header', 'zeros'])
def test_what_is_no_file_is_refused_alike(make_file, content):
    path = make_file(content)
    assert comparable(run(CHECK, path)) == comparable(run(REFERENCE, path))


@needs_reference
def test_arguments_are_answered_alike():
    for arguments in ((), ('a', 'b')):
        ours, theirs = run(CHECK, *arguments), run(REFERENCE, *arguments)
        assert (ours.status, ours.text) == (theirs.status, theirs.text)
        assert ours.errors == theirs.errors.replace(REFERENCE, 'dunlin-check-rdb')
    ours, theirs = run(CHECK, '/nonexistent/x.rdb'), run(REFERENCE, '/nonexistent/x.rdb')
    assert (ours.status, ours.text) == (theirs.status, theirs.text)
    assert 'No such file' in ours.errors
    assert 'Reading failed: Is a directory' in run(CHECK, '/tmp').text
    assert run(CHECK, '--version').text.startswith('dunlin-check-rdb v=')


@pytest.mark.parametrize('name', ['dunlin-check-rdb', 'redis-check-rdb', 'valkey-check-rdb'])
def test_the_server_is_the_checker_when_it_is_called_so(tmp_path, name):
    if harness.is_stand_in():
        pytest.skip('a stand-in')
    link = tmp_path / name
    link.symlink_to(os.path.abspath(harness.DUNLIN_SERVER))
    path = os.path.join(SAMPLES, 'redis-7.0.15', 'hashes.rdb') if samples() else ''
    assert run(str(link), path) == run(CHECK, path)
    assert run(str(link)).errors == 'Usage: %s <rdb-file-name>\n' % name


def test_the_summary_names_the_biggest_keys(make_file):
    path = make_file(b'REDIS0003\x00\x05small\x01x\x00\x03big\x3f' + b'y' * 63 + b'\x02\x03set\x02\x01a\x01b\xff')
    lines = run(CHECK, path).text.split('\n')
    assert '[summary] string: 2 keys, 78 bytes in the file, 2 elements; the biggest:' in lines
    assert "[summary]   69 bytes, 1 elements: db 0 'big'" in lines
    assert "[summary] set: 1 keys, 10 bytes in the file, 2 elements; the biggest:" in lines


def test_json_holds_what_the_text_says(make_file):
    for path in samples():
        outcome = run(CHECK, path)
        report = json.loads(run(CHECK, '--json', path).text)
        assert report['ok'] == (outcome.status == 0) and bool(report['errors']) == (outcome.status == 1), path
        assert '[info] %d keys read' % report['keys'] in outcome.text
        assert '[info] %d expires' % report['expires'] in outcome.text
        assert sum(one['keys'] for one in report['types'].values()) == report['keys'] - len(
            [e for e in report['errors'] if 'key' in e])
    path = make_file(b'REDIS0009\xfe\x02\x00\x03k\xff"\x05abc')
    outcome = subprocess.run([CHECK, '--json', path], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert outcome.returncode == 1
    assert json.loads(outcome.stdout)['errors'] == [
        {'offset': 17, 'doing': 'read-object-value', 'key': 'k\\xff"', 'type': 'string',
         'text': 'Unexpected EOF reading RDB file'}]
