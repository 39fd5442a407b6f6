"""EVAL: what scripts may do, what they leave behind, and that nothing reaches outside."""
import threading

import pytest

from harness import wait_for
from resp import ReplyError as Error


def test_a_script_is_one_unit(lab, workers):
    """Other clients see all of it or nothing."""
    node = lab.node({}, workers=workers)
    stop = threading.Event()
    seen = []

    def look():
        with node.connect() as connection:
            while not stop.is_set():
                pair = connection.call('MGET', 'a', 'b')
                if pair[0] != pair[1]:
                    seen.append(pair)
    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    with node.connect() as connection:
        for i in range(500):
            connection.call('EVAL', "redis.call('SET',KEYS[1],ARGV[1]) redis.call('SET','b',ARGV[1])", 1, 'a', i)
    stop.set()
    for looker in lookers:
        looker.join(10)
    assert not seen


def test_effects_reach_replicas_as_one_transaction(lab, workers):
    primary = lab.node({'enable-debug-command': 'yes'}, workers=workers)
    replica = lab.node({'replicaof': '127.0.0.1 %d' % primary.port, 'enable-debug-command': 'yes'},
                       workers=workers)
    redis = lab.node({'replicaof': '127.0.0.1 %d' % primary.port, 'enable-debug-command': 'yes'},
                     binary='/usr/bin/redis-server')
    for node in (replica, redis):
        wait_for(lambda: 'master_link_status:up' in node.call('INFO', 'replication').decode(), 'the link is up')
    with primary.connect() as connection:
        connection.call('SADD', 's', *range(100))
        connection.call('EVAL', """
            redis.call('SET', KEYS[1], redis.call('INCRBYFLOAT', 'f', '1.5'), 'EX', 1000)
            redis.call('SELECT', 3)
            redis.call('RPUSH', 'l', unpack(ARGV))
            redis.call('SELECT', 0)
            redis.call('SPOP', 's', 10)
            redis.call('XADD', 'x', '*', 'f', 'v')
            return redis.call('SCARD', 's')""", 1, 'k', *range(200))
        with pytest.raises(Error):
            connection.call('EVAL', "redis.call('SET','half','done') error('and then this')", 0)
        assert connection.call('EVAL', "return redis.call('GET', 'half')", 0) == b'done'
        assert connection.call('WAIT', 2, 5000) == 2
    for node in (replica, redis):
        assert node.call('DEBUG', 'DIGEST') == primary.call('DEBUG', 'DIGEST')
        assert node.call('GET', 'f') == b'1.5' and node.call('SCARD', 's') == 90
        assert node.call('GET', 'half') == b'done'
        assert 0 < node.call('TTL', 'k') <= 1000
        with node.connect() as connection:
            connection.call('SELECT', 3)
            assert connection.call('LLEN', 'l') == 200


def test_scripts_inside_a_transaction_and_waking_others(lab, workers):
    node = lab.node({}, workers=workers)
    with node.connect() as waiter, node.connect() as connection:
        waiter.send('BLPOP', 'q', 0)
        wait_for(lambda: 'blocked_clients:1' in node.call('INFO', 'clients').decode(), 'it waits')
        connection.send('MULTI')
        connection.send('SET', 'a', 1)
        connection.send('EVAL', "return redis.call('INCR', KEYS[1])", 1, 'a')
        connection.send('EVAL', "redis.call('RPUSH', 'q', 'x') return redis.call('LLEN', 'q')", 0)
        connection.send('EXEC')
        assert [connection.read() for _ in range(5)][-1] == [b'OK', 2, 1]
        assert waiter.read() == [b'q', b'x']
        connection.call('WATCH', 'a')
        node.call('EVAL', "return redis.call('SET', 'a', 'changed')", 0)
        connection.call('MULTI')
        connection.call('PING')
        assert connection.call('EXEC') is None


REACHING = [
    # Each either fails or changes nothing that the next script could see.
    "string.rep = 1", "redis.call = 1", "_G.x = 1", "x = 1", "KEYS = {}", "rawset(_G, 'x', 1)", "rawset(string, 'x', 1)",
    "setmetatable(_G, {})", "setmetatable(string, {__index = {x = 1}})", "getmetatable('').__index.x = 1",
    "getmetatable(string).__index.x = 1", "getmetatable(_G).__index.x = 1", "local f, t = pairs(string) t.x = 1",
    "for k, v in pairs(_G) do if type(v) == 'table' then v.x = 1 end end", "table.insert(string, 'x')",
    "table.insert(_G, 'x')", "local _, t = next({string}) t.x = 1", "coroutine.wrap(function() _G.x = 1 end)()",
    "loadstring('x = 1')()", "load(function() return nil end)() x = 1", "pcall(function() x = 1 end)",
    "math.random = 1", "cjson.encode = 1", "cjson.null = 1",
]


@pytest.mark.parametrize('script', REACHING)
def test_nothing_is_left_behind(lab, script):
    node = lab.node({})
    names = "local t = {} for _, m in ipairs({_G, string, table, math, redis, cjson}) do " \
            "for k, v in pairs(m) do t[#t + 1] = tostring(k) end end table.sort(t) return t"
    before = node.call('EVAL', names, 0)
    try:
        node.call('EVAL', script, 1, 'k')
    except Error as error:
        assert 'user_script' in str(error) or 'readonly' in str(error)
    assert node.call('EVAL', names, 0) == before
    assert node.call('EVAL', "return string.rep('x', 2)", 0) == b'xx'
    assert node.is_running()


HOSTILE = [
    'local function f() return f() + 1 end return f()',
    'local t = {} t[1] = t return t',
    'local t = {} for i = 1, 3000 do t = {t} end return t',
    "return loadstring('\\27Lua\\81\\0\\1\\4\\8\\4\\8\\0')",
    "return load(function() return '\\27Lua' end)",
    "return string.rep('x', 2^40)",
    "return redis.call('SET', string.rep('k', 100), string.rep('v', 1000000))",
    "error({})", "error({err = 5})", "error({err = 'a\\r\\nb'})", "return {err = 'a\\r\\nb'}", "return {ok = 'a\\r\\nb'}",
    "return {map = {[{}] = {}, [1.5] = true}}", "return {verbatim_string = {format = 'toolong', string = 'x'}}",
    "return {double = 0/0}", "return 0/0", "return 1/0", "return -1/0", "return 2^63", "return {big_number = '1\\r\\n'}",
    "return unpack({}, 1, 1e7)", "return string.format('%99999d', 1)", "return cjson.decode(string.rep('[', 2000))",
    "return redis.call(unpack({'MSET', 'a', 1, 'b', 2, 'c'}))", "return redis.pcall('EVAL', 'return 1', 0)",
    "return redis.call('MULTI')", "return redis.call('SUBSCRIBE', 'x')", "return redis.call('\\0\\0')",
    "return redis.sha1hex({})", "return redis.log(1, {})", "return xpcall(error, error)", "#!lua flags=no-writes",
    "return coroutine.wrap(function() return redis.call('PING') end)()",
    "local c = coroutine.wrap(function() coroutine.yield(1) error('x') end) c() return c()",
]


@pytest.mark.parametrize('resp', [2, 3])
def test_hostile_scripts_do_no_harm(lab, resp):
    node = lab.node({})
    with node.connect() as connection:
        connection.call('HELLO', resp)
        for script in HOSTILE:
            connection.send('EVAL', script, 0)
            connection.send('ECHO', 'that was it')
            raw = b''
            while not raw.endswith(b'that was it\r\n'):  # Some replies are nested too deeply to be read as such.
                got = connection.socket.recv(1 << 20)
                assert got, script
                raw += got
    assert node.is_running()


def test_kept_scripts(lab, workers):
    node = lab.node({}, workers=workers)
    sha1 = node.call('SCRIPT', 'LOAD', 'return ARGV[1]')
    assert node.call('EVALSHA', sha1, 0, 'x') == b'x' and node.call('EVALSHA', sha1.upper(), 0, 'y') == b'y'
    info = node.call('INFO', 'memory').decode()
    assert 'number_of_cached_scripts:1\r\n' in info
    for i in range(200):
        assert node.call('EVAL', 'return %d' % i, 0) == i
    assert 'number_of_cached_scripts:201\r\n' in node.call('INFO', 'memory').decode()
    assert node.call('SCRIPT', 'FLUSH') == b'OK'
    with pytest.raises(Error, match='NOSCRIPT'):
        node.call('EVALSHA', sha1, 0)
    info = node.call('INFO', 'memory').decode()
    assert 'number_of_cached_scripts:0\r\n' in info and 'used_memory_lua:0\r\n' in info


def test_what_a_script_calls_is_counted_and_seen(lab):
    """As redis-server counts and shows it."""
    seen = []
    for node in (lab.node({'slowlog-log-slower-than': 0}), lab.redis({'slowlog-log-slower-than': 0})):
        with node.connect() as connection:
            connection.call('SLOWLOG', 'RESET')
            connection.call('CONFIG', 'RESETSTAT')
            connection.call('EVAL', "for i = 1, 10 do redis.call('SET', 'k', i) end", 0)
            stats = connection.call('INFO', 'stats', 'commandstats').decode()
            entries = connection.call('SLOWLOG', 'GET', 20)
            sets = [(entry[3], entry[4], entry[5]) for entry in entries if entry[3][0] == b'SET']
            count = int(stats.split('total_commands_processed:')[1].split()[0])
            seen.append((sets, count, 'cmdstat_set:calls=10,' in stats, 'cmdstat_eval:calls=1,' in stats))
    assert seen[0] == seen[1] and len(seen[0][0]) == 10


def test_a_script_chooses_who_is_told(lab, workers):
    """redis.set_repl: to the log, to replicas, to nobody; what expires meanwhile goes to all."""
    options = {'enable-debug-command': 'yes', 'appendonly': 'yes', 'repl-diskless-sync-delay': 0}
    primary = lab.node(options, workers=workers)
    replica = lab.node({'replicaof': '127.0.0.1 %d' % primary.port}, workers=workers)
    wait_for(lambda: replica.info('replication')['master_link_status'] == 'up', 'linked')
    primary.call('SET', 'gone', 1, 'PX', 1)
    script = """local names = {'none', 'log', 'replicas', 'all'}
        local choices = {redis.REPL_NONE, redis.REPL_AOF, redis.REPL_REPLICA, redis.REPL_ALL}
        for i = 1, 4 do redis.set_repl(choices[i]) redis.call('SET', names[i], 1) redis.call('GET', 'gone') end"""
    wait_for(lambda: primary.call('PTTL', 'gone') <= 0, 'it is due')
    primary.call('EVAL', script, 0)
    primary.call('SET', 'mark', 1)
    names = ('none', 'log', 'replicas', 'all', 'mark')
    wait_for(lambda: replica.call('GET', 'mark') == b'1', 'all has arrived')
    assert [replica.call('EXISTS', name) for name in names] == [0, 0, 1, 1, 1]
    assert [primary.call('EXISTS', name) for name in names] == [1] * 5
    assert replica.call('DBSIZE') == 3
    primary.call('DEBUG', 'LOADAOF')
    assert [primary.call('EXISTS', name) for name in names] == [0, 1, 0, 1, 1]
    for flags in ('-1', '4'):
        with pytest.raises(Error):
            primary.call('EVAL', 'redis.set_repl(%s)' % flags, 0)
