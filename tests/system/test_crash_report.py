"""The report in the log of a server that dies of a fault."""
import os
import re
import signal

import pytest
import redis

import harness

START = '=== DUNLIN CRASH REPORT START'
END = '=== DUNLIN CRASH REPORT END'


@pytest.fixture(autouse=True)
def not_a_stand_in():
    if harness.is_stand_in():
        pytest.skip('the report is our own')
    with open(harness.DUNLIN_SERVER, 'rb') as binary:
        content = binary.read()
    if b'__asan_init' in content or b'__tsan_init' in content:
        pytest.skip('a sanitizer takes the signals')


def start(lab, **options):
    options = {name.replace('_', '-'): value for name, value in options.items()}
    return lab.node({'enable-debug-command': 'yes', **options})


def die(node, *command):
    """Sends the command by a client named bob; the exit status of the server and its log."""
    client = redis.Redis(port=node.port, client_name='bob', socket_timeout=10, single_connection_client=True)
    address = client.client_info()['addr']
    with pytest.raises(redis.exceptions.ConnectionError):
        client.execute_command(*command)
    return ended(node), address


def ended(node):
    status = node.process.wait(timeout=15)
    with open(node.log_path) as log:
        return status, log.read()


def report_of(log):
    assert log.count(START) == 1 and log.count(END) == 1, log
    return log[log.index(START):log.index(END)]


def test_a_stray_pointer_is_reported(lab, workers):
    node = start(lab, worker_threads=workers)
    (status, log), address = die(node, 'DEBUG', 'SEGFAULT')
    assert status == -signal.SIGSEGV
    report = report_of(log)
    assert 'crashed by signal 11 (SIGSEGV)' in report
    assert re.search(r'^fault address: 0x[0-9a-f]{13}001$', report, re.M)
    assert re.search(r'^(rip|pc) 0x[0-9a-f]{16}$', report, re.M)
    assert re.search(r'^\S*dunlin-server\(dispatch_\w+\+0x', report, re.M), report
    assert re.search(r'^thread: worker-\d$', report, re.M)
    assert 'command: debug, 2 words' in report
    assert re.search(r'^client: id=\d+ addr=%s name=bob db=0$' % re.escape(address), report, re.M), report
    assert re.search(r'^word 1: \'SEGFAULT\'$', report, re.M | re.I)
    assert report.count('Ready to accept connections') == 1
    assert '# Server\n' in report.replace('\r', '') and 'process_id:%d' % node.process.pid in report


def test_a_broken_invariant_is_reported(lab):
    (status, log), _ = die(start(lab), 'DEBUG', 'PANIC')
    assert status == -signal.SIGABRT
    assert re.search(r'^failed assertion: \S+debug\.c:\d+: unreachable$', report_of(log), re.M)


def test_a_signal_from_outside_is_reported(lab):
    node = start(lab)
    os.kill(node.process.pid, signal.SIGILL)
    status, log = ended(node)
    assert status == -signal.SIGILL
    assert 'sent by pid: %d\n' % os.getpid() in report_of(log)


@pytest.mark.parametrize('when', ['at start', 'later'])
def test_the_report_can_be_switched_off(lab, when):
    node = start(lab, crash_log_enabled='no' if when == 'at start' else 'yes')
    if when == 'later':
        redis.Redis(port=node.port).config_set('crash-log-enabled', 'no')
    (status, log), _ = die(node, 'DEBUG', 'SEGFAULT')
    assert status == -signal.SIGSEGV
    assert START not in log
