"""What the server tells of itself is there at any time and adds up."""
import pytest


@pytest.mark.parametrize('words', [['INFO', 'everything'], ['MEMORY', 'STATS'], ['MEMORY', 'DOCTOR'], ['DBSIZE']])
def test_figures_may_be_asked_within_a_transaction(lab, words):
    node = lab.node()
    with node.connect() as connection:
        connection.call('MULTI')
        connection.call('SET', 'key', 'value')
        connection.call(*words)
        assert len(connection.call('EXEC')) == 2


def test_memory_adds_up(lab, workers):
    node = lab.node(workers=workers)
    for db in (0, 3):
        with node.connect() as connection:
            connection.call('SELECT', db)
            for i in range(3000):
                connection.call('SET', 'key:%d' % i, 'v' * 500)
    with node.connect() as connection:
        connection.call('HELLO', 3)
        stats = connection.call('MEMORY', 'STATS')
    assert stats[b'keys.count'] == 6000
    assert stats[b'db.0'][b'overhead.hashtable.main'] > 0 and b'db.3' in stats and b'db.1' not in stats
    assert 6000 * 500 < stats[b'dataset.bytes'] < 6000 * 1000
    assert stats[b'overhead.total'] + stats[b'dataset.bytes'] == stats[b'total.allocated']
    assert stats[b'peak.allocated'] >= stats[b'total.allocated'] > stats[b'startup.allocated']
