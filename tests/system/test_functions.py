"""Libraries of functions: what they see, how they are kept, and that redis-server understands them."""
import os
import random
import re
import shutil

import pytest

from harness import REDIS_CLI, REDIS_SERVER, run, wait_for
from resp import ReplyError as Error

DEBUG = {'enable-debug-command': 'yes', 'repl-diskless-sync-delay': 0}


def library(name, functions, extra=''):
    lines = ["redis.register_function('%s', function(keys, args) %s end)" % pair for pair in functions.items()]
    return '#!lua name=%s\n%s\n%s' % (name, extra, '\n'.join(lines))


COUNTER = library('counter', {'bump': 'return redis.call("INCR", keys[1])', 'shown': 'return n'}, 'local n = 7')
READER = """#!lua name=reader
redis.register_function{function_name='peek', callback=function(keys) return redis.call('GET', keys[1]) end,
                        flags={'no-writes', 'allow-stale'}, description='reads a key'}"""


def fill(node):
    for source in (COUNTER, READER, library('big', {'long_one': 'return 1'}, '--' + 'x' * 100000)):
        node.call('FUNCTION', 'LOAD', source)


def sources(node):
    """Library name -> source."""
    return {fields[1]: fields[-1] for fields in node.call('FUNCTION', 'LIST', 'WITHCODE')}


def link(primary, replica):
    replica.call('REPLICAOF', '127.0.0.1', primary.port)
    wait_for(lambda: replica.info('replication').get('master_link_status') == 'up', 'the link is up')


@pytest.fixture(params=['dunlin-dunlin', 'dunlin-redis', 'redis-dunlin'])
def pair(request, lab, workers):
    def make(kind):
        return lab.redis(DEBUG) if kind == 'redis' else lab.node(DEBUG, workers=workers)
    return [make(kind) for kind in request.param.split('-')]


def test_libraries_share_nothing(lab):
    node = lab.node({})
    node.call('FUNCTION', 'LOAD', library('a', {'a_next': 'n = n + 1 return n'}, 'local n = 0'))
    node.call('FUNCTION', 'LOAD', library('b', {'b_next': 'n = n + 1 return n', 'spoil': 'string.rep = nil'},
                                          'local n = 0'))
    assert [node.call('FCALL', name, 0) for name in ('a_next', 'a_next', 'b_next', 'a_next')] == [1, 2, 1, 3]
    with pytest.raises(Error, match='readonly table'):
        node.call('FCALL', 'spoil', 0)
    with pytest.raises(Error, match="nonexistent global variable 'KEYS'"):
        node.call('FUNCTION', 'LOAD', 'REPLACE', library('b', {'keys_of': 'return KEYS'}))
        node.call('FCALL', 'keys_of', 1, 'k')
    assert node.call('EVAL', "return type(rawget(_G, 'n'))", 0) == b'nil'


def test_a_library_that_fails_changes_nothing(lab):
    node = lab.node({})
    fill(node)
    before = sources(node)
    for source in ('#!lua name=counter\nredis.register_function("x", function() end) error()',
                   library('counter', {'peek': 'return 1'}), '#!lua name=other\nsyntax error',
                   '#!lua name=other\nwhile true do pcall(function() while true do end end) end',
                   library('other', {'bump': 'return 1'})):
        with pytest.raises(Error):
            node.call('FUNCTION', 'LOAD', 'REPLACE', source)
        assert sources(node) == before
    assert node.call('FCALL', 'bump', 1, 'k') == 1


def test_figures(lab):
    node = lab.node({})
    empty = node.info('memory')
    assert (empty['number_of_libraries'], empty['number_of_functions']) == ('0', '0')
    assert empty['used_memory_vm_functions'] == '0'
    fill(node)
    full = node.info('memory')
    assert (full['number_of_libraries'], full['number_of_functions']) == ('3', '4')
    assert int(full['used_memory_vm_functions']) > 30000
    assert int(full['used_memory_functions']) > 100000
    node.call('FUNCTION', 'FLUSH', 'ASYNC')
    wait_for(lambda: node.info('memory')['used_memory_vm_functions'] == '0', 'the interpreters are gone')


@pytest.mark.parametrize('save', [('SAVE',), ('BGSAVE',), ('DEBUG', 'RELOAD')])
def test_a_dump_file_keeps_libraries(lab, save):
    node = lab.node(DEBUG)
    fill(node)
    node.call('SET', 'k', 'v')
    before = sources(node)
    node.call(*save)
    wait_for(lambda: node.info('persistence')['rdb_bgsave_in_progress'] == '0', 'saved')
    node.call('FUNCTION', 'LOAD', library('late', {'late_one': 'return 1'}))
    if save[0] == 'DEBUG':
        node.call('DEBUG', 'RELOAD', 'NOSAVE')
    else:
        node.kill()
        node.start()
    assert sources(node) == before
    assert node.call('FCALL', 'peek', 1, 'k') == b'v'


@pytest.mark.parametrize('direction', ['ours', 'theirs'])
def test_dump_files_and_payloads_are_exchanged(lab, direction):
    nodes = [lab.node(DEBUG), lab.redis(DEBUG)]
    first, second = nodes if direction == 'ours' else reversed(nodes)
    fill(first)
    second.call('FUNCTION', 'RESTORE', first.call('FUNCTION', 'DUMP'))
    assert sources(second) == sources(first)
    assert second.call('FCALL', 'bump', 1, 'k') == 1
    second.call('FUNCTION', 'FLUSH')
    first.call('SAVE')
    second.stop()
    with open(first.folder + '/dump.rdb', 'rb') as source, open(second.folder + '/dump.rdb', 'wb') as target:
        target.write(source.read())
    second.start()
    assert sources(second) == sources(first)


@pytest.mark.parametrize('rewrites', [False, True])
def test_the_log_keeps_libraries(lab, rewrites):
    node = lab.node({**DEBUG, 'appendonly': 'yes'})
    fill(node)
    node.call('FUNCTION', 'DELETE', 'big')
    payload = node.call('FUNCTION', 'DUMP')
    node.call('FUNCTION', 'FLUSH')
    node.call('FUNCTION', 'RESTORE', payload)
    if rewrites:
        node.call('BGREWRITEAOF')
        wait_for(lambda: node.info('persistence')['aof_rewrite_in_progress'] == '0', 'rewritten')
    node.call('FUNCTION', 'LOAD', library('late', {'late_one': 'return 1'}))
    before = sources(node)
    assert set(before) == {b'counter', b'reader', b'late'}
    node.call('DEBUG', 'LOADAOF')
    assert sources(node) == before
    node.kill()
    node.start()
    assert sources(node) == before


def test_replicas_have_the_libraries(pair):
    primary, replica = pair
    replica.call('FUNCTION', 'LOAD', library('own', {'own_one': 'return 1'}))
    fill(primary)
    link(primary, replica)
    wait_for(lambda: sources(replica) == sources(primary), 'libraries of the snapshot')
    primary.call('FUNCTION', 'LOAD', library('late', {'late_one': 'return redis.call("SET", keys[1], args[1])'}))
    primary.call('FUNCTION', 'LOAD', 'REPLACE', library('counter', {'bump': 'return 5'}))
    primary.call('FUNCTION', 'DELETE', 'reader')
    primary.call('FCALL', 'late_one', 1, 'k', 'v')
    wait_for(lambda: replica.call('GET', 'k') == b'v', 'the effect of the function')
    assert sources(replica) == sources(primary)
    with pytest.raises(Error, match='READONLY'):
        replica.call('FCALL', 'late_one', 1, 'k', 'w')
    payload = primary.call('FUNCTION', 'DUMP')
    primary.call('FUNCTION', 'FLUSH')
    primary.call('FUNCTION', 'RESTORE', payload, 'APPEND')
    wait_for(lambda: sources(replica) == sources(primary), 'libraries of the stream')


@pytest.mark.skipif(not REDIS_SERVER, reason='no redis-server')
def test_random_sequences_end_as_redis_ends_them(lab):
    """Loads, replacements, deletions and restores of libraries whose names clash."""
    ours, oracle = lab.node({}), lab.redis()
    chance = random.Random(3)
    payloads = [[], []]

    def ask(node, *words):
        try:
            return node.call(*words)
        except Error as error:  # Which of several clashes is told is chance.
            return re.sub(r'(lib|f)\d', r'\1', str(error))

    def both(*words):
        assert ask(ours, *words) == ask(oracle, *words), words

    for step in range(400):
        name = 'lib%d' % chance.randrange(4)
        kind = chance.randrange(6)
        if kind <= 1:
            functions = {'f%d' % chance.randrange(6): 'return %d' % step for _ in range(chance.randrange(3))}
            both('FUNCTION', 'LOAD', *(['REPLACE'] * chance.randrange(2)), library(name, functions))
        elif kind == 2:
            both('FUNCTION', 'DELETE', name)
        elif kind == 3:
            for node, kept in zip((ours, oracle), payloads):
                kept.append(node.call('FUNCTION', 'DUMP'))
        elif kind == 4 and payloads[0]:
            index, policy = chance.randrange(len(payloads[0])), chance.choice(['FLUSH', 'APPEND', 'REPLACE'])
            giver = chance.randrange(2)
            both('FUNCTION', 'RESTORE', payloads[giver][index], policy)
        else:
            both('FCALL', 'f%d' % chance.randrange(6), 0)
        assert sources(ours) == sources(oracle)


def test_a_file_of_libraries_alone(lab, workers):
    """What redis-cli --functions-rdb asks for."""
    node = lab.node(DEBUG, workers=workers)
    fill(node)
    node.call('SET', 'k', 'v')
    target = os.path.join(lab.folder, 'functions.rdb')
    run(REDIS_CLI, '-p', node.port, '--functions-rdb', target)
    reader = lab.redis(DEBUG, start=False)
    shutil.copyfile(target, os.path.join(reader.folder, 'dump.rdb'))
    reader.start()
    assert sources(reader) == sources(node)
    assert reader.call('DBSIZE') == 0
    for words, error in (('keys', 'Unsupported rdb-filter-only option: keys'), ('"', 'Missing rdb-filter-only values')):
        with pytest.raises(Error, match=error):
            node.call('REPLCONF', 'rdb-filter-only', words)
