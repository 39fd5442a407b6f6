"""Sequences in which a random comparison with redis-server once found a difference, asked again of both."""
import pytest

SEQUENCES = {
    # seeds 102 and 104
    'a timeout that milliseconds cannot count': [
        ['MULTI'], ['BLPOP', 't0', '9223372036854775807'], ['EXEC'], ['BZPOPMAX', 'z0', '1e30'], ['BLPOP', 't0', 'inf'],
        ['BLMPOP', '9300000000000000', '1', 'l', 'LEFT'],
    ],
    # seed 201
    'an empty range of bits in an unknown unit': [
        ['SET', 's', 'hello'], ['BITCOUNT', 's', '-2', '-100', 'x'], ['BITCOUNT', 's', '-2', '-100', 'BIT'],
        ['BITCOUNT', 's', '5', '2', 'x'], ['BITCOUNT', 's', '-1', '-1', 'x'], ['BITCOUNT', 's', '-2', '-1', 'BIT'],
        ['BITPOS', 's', '1', '-2', '-100', 'x'], ['BITPOS', 's', '1', '-2', '-100', 'BIT'],
    ],
    # seed 303
    'a field that is set to what lies far below it': [
        ['BITFIELD', 'b', 'OVERFLOW', 'SAT', 'SET', 'i16', '91', str(-2 ** 63)], ['GET', 'b'],
        ['BITFIELD', 'b', 'OVERFLOW', 'SAT', 'SET', 'i16', '0', str(-2 ** 63 + 32767), 'GET', 'i16', '0'],
        ['BITFIELD', 'b', 'OVERFLOW', 'SAT', 'SET', 'i16', '0', str(-2 ** 63 + 32768), 'GET', 'i16', '0'],
        ['BITFIELD', 'b', 'OVERFLOW', 'SAT', 'SET', 'i16', '0', str(-2 ** 63 + 32766), 'GET', 'i16', '0'],
        ['BITFIELD', 'b', 'OVERFLOW', 'SAT', 'SET', 'i16', '0', str(2 ** 63 - 1), 'GET', 'i16', '0'],
        ['BITFIELD', 'b', 'OVERFLOW', 'SAT', 'SET', 'i16', '0', '-32769', 'GET', 'i16', '0'],
        ['BITFIELD', 'b', 'OVERFLOW', 'SAT', 'SET', 'u16', '0', str(-2 ** 63), 'GET', 'u16', '0'],
        ['BITFIELD', 'b', 'OVERFLOW', 'SAT', 'SET', 'i64', '0', str(-2 ** 63), 'GET', 'i64', '0'],
        ['BITFIELD', 'b', 'OVERFLOW', 'SAT', 'SET', 'i63', '0', str(-2 ** 63), 'GET', 'i63', '0'],
        ['BITFIELD', 'b', 'OVERFLOW', 'SAT', 'INCRBY', 'i16', '0', str(-2 ** 63), 'GET', 'i16', '0'],
        ['BITFIELD', 'b', 'SET', 'i16', '0', '5', 'OVERFLOW', 'SAT', 'INCRBY', 'i16', '0', str(-2 ** 63), 'GET', 'i16', '0'],
        ['BITFIELD', 'b', 'SET', 'i16', '0', '-5', 'OVERFLOW', 'SAT', 'INCRBY', 'i16', '0', str(-2 ** 63), 'GET', 'i16', '0'],
        ['BITFIELD', 'b', 'SET', 'i16', '0', '-5', 'OVERFLOW', 'SAT', 'INCRBY', 'i16', '0', str(2 ** 63 - 1), 'GET', 'i16', '0'],
        ['BITFIELD', 'b', 'SET', 'u16', '0', '5', 'OVERFLOW', 'SAT', 'INCRBY', 'u16', '0', str(-2 ** 63), 'GET', 'u16', '0'],
    ],
}


@pytest.mark.parametrize('name', sorted(SEQUENCES))
def test_the_replies_are_those_of_redis(lab, workers, name):
    with lab.node({}, workers=workers).connect() as ours, lab.redis().connect() as oracle:
        for words in SEQUENCES[name]:
            replies = []
            for connection in (ours, oracle):
                connection.send(*words)
                replies.append(repr(connection.read()))
            assert replies[0] == replies[1], words
