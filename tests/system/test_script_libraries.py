"""cmsgpack, bit and struct: the same scripts to us and to redis-server, with values made at random."""
import random

import pytest


def lua_value(rng, depth=0):
    kind = rng.randrange(10 if depth < 4 else 6)
    if kind == 0:
        return rng.choice(['nil', 'true', 'false'])
    if kind in (1, 2):
        bits = rng.choice([3, 5, 7, 8, 15, 16, 31, 32, 40, 53, 63])
        return str(rng.choice([-1, 1]) * (rng.getrandbits(bits)))
    if kind == 3:
        return repr(rng.choice([rng.uniform(-1e3, 1e3), 1.5, -0.25, 1e300, 2.0 ** 52 + 0.5, 1e-9]))
    if kind in (4, 5):
        return "string.rep('%s', %d)" % (rng.choice('ab\x7f'), rng.choice([0, 1, 5, 31, 32, 255, 256, 70000]))
    count = rng.choice([0, 1, 2, 3, 15, 16, 17])
    items = [lua_value(rng, depth + 1) for _ in range(min(count, 3 if depth else count))]
    if kind in (6, 7):
        return '{%s}' % ', '.join(item for item in items if item != 'nil')
    # One key alone: the order of several is chance.
    return '{[%s] = %s}' % (rng.choice(["'k'", '7', '1', '-1', '1.5', 'true']), items[0] if items and items[0] != 'nil' else '1')


PACKED = 'return cmsgpack.pack(%s)'
ROUND = 'return {cmsgpack.unpack(cmsgpack.pack(%s))}'


def ask(connection, script, *arguments):
    connection.send('EVAL', script, 0, *arguments)
    return repr(connection.read())


@pytest.fixture
def both(lab):
    with lab.node({}).connect() as ours, lab.redis().connect() as oracle:
        yield ours, oracle


def test_cmsgpack_packs_as_redis_does(both):
    rng = random.Random(1)
    for _ in range(1500):
        values = ', '.join(lua_value(rng) for _ in range(rng.choice([1, 1, 2, 5])))
        for form in (PACKED, ROUND):
            ours, oracle = (ask(connection, form % values) for connection in both)
            assert ours == oracle, form % values


def test_cmsgpack_unpacks_as_redis_does(both):
    rng = random.Random(2)
    for _ in range(3000):
        size = rng.choice([0, 1, 2, 3, 5, 9, 17])
        text = bytes(rng.choice([rng.randrange(256), rng.randrange(0x80, 0xe0)]) for _ in range(size))
        for script in ('return {cmsgpack.unpack(ARGV[1])}', 'return {cmsgpack.unpack_one(ARGV[1], %d)}' % rng.randrange(-1, 6),
                       'return {cmsgpack.unpack_limit(ARGV[1], %d, %d)}' % (rng.randrange(-1, 4), rng.randrange(0, 4))):
            ours, oracle = (ask(connection, script, text) for connection in both)
            assert ours == oracle, (script, text)


def test_bit_counts_as_redis_does(both):
    rng = random.Random(3)
    numbers = [0, 1, -1, 31, 32, 33, 2 ** 31 - 1, 2 ** 31, -2 ** 31, 2 ** 32, 2 ** 32 + 5, 1.5, 2.5, -1.5, 1e10, 2 ** 51 + 1]
    for _ in range(800):
        name = rng.choice(['tobit', 'bnot', 'band', 'bor', 'bxor', 'lshift', 'rshift', 'arshift', 'rol', 'ror', 'bswap', 'tohex'])
        count = 1 if name in ('tobit', 'bnot', 'bswap') else 2
        arguments = ', '.join(repr(rng.choice(numbers)) for _ in range(count))
        script = 'return bit.%s(%s)' % (name, arguments)
        ours, oracle = (ask(connection, script) for connection in both)
        assert ours == oracle, script


def layout(rng, count):
    """A format of `count` items, and a value for each that takes one."""
    text, values = '', []
    for _ in range(count):
        text += rng.choice(['', '', '', '<', '>', '!', '!4', '!2', '!16', ' ', 'x'])
        kind = rng.choice('bBhHiIlLTfdscxc')
        text += kind
        if kind in 'iI' and rng.randrange(2):
            text += str(rng.choice([1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 31, 32]))
        if kind in 'sc':
            size = rng.choice([0, 1, 2, 7])
            text += str(size) if kind == 'c' and rng.randrange(4) else ''
            values.append("string.rep('%s', %d)" % (rng.choice('ab'), max(size, 1)))
        elif kind in 'fd':
            values.append(repr(rng.choice([0.5, -1.25, 3e10, 1e-3, 7.0])))
        elif kind != 'x':
            bits = rng.choice([1, 7, 8, 15, 16, 31, 32, 40, 52])
            values.append(str(rng.choice([-1, 1]) * rng.getrandbits(bits)))
    return text, values


def test_struct_packs_and_unpacks_as_redis_does(both):
    rng = random.Random(4)
    for _ in range(3000):
        text, values = layout(rng, rng.choice([1, 1, 2, 3, 6]))
        packed = "struct.pack('%s'%s)" % (text, ''.join(', ' + value for value in values))
        for script in ('return ' + packed, "return struct.size('%s')" % text,
                       "local t = {struct.unpack('%s', %s)} for i = 1, #t do t[i] = tostring(t[i]) end return t" % (text, packed)):
            ours, oracle = (ask(connection, script) for connection in both)
            assert ours == oracle, script


def test_struct_reads_any_bytes_as_redis_does(both):
    rng = random.Random(5)
    for _ in range(3000):
        text = ''.join(rng.choice(['<', '>', '!', '!8', 'b', 'B', 'h', 'H', 'i', 'I3', 'i9', 'l', 'L', 'd', 'f', 's', 'c3', 'c0', 'x', 'z',
                                   '!3', 'i33', ' ']) for _ in range(rng.randrange(1, 6)))
        data = bytes(rng.choice([0, 1, 2, 65, 255, rng.randrange(256)]) for _ in range(rng.randrange(20)))
        script = "local t = {struct.unpack('%s', ARGV[1], %d)} for i = 1, #t do t[i] = tostring(t[i]) end return t" % (
            text, rng.choice([1, 1, 1, 2, 5, 0, -1]))
        ours, oracle = (ask(connection, script, data) for connection in both)
        assert ours == oracle, (script, data)
