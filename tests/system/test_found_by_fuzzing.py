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
