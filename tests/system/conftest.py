import os

import pytest

import harness

_PORTS = harness.Ports()


def pytest_addoption(parser):
    parser.addoption('--workers', default='1,4', help='values of worker-threads that parametrized tests run with')


def pytest_generate_tests(metafunc):
    if 'workers' in metafunc.fixturenames:
        counts = [int(count) for count in metafunc.config.getoption('--workers').split(',')]
        if harness.is_stand_in():
            counts = counts[:1]
        metafunc.parametrize('workers', counts, ids=['%d-workers' % count for count in counts])


@pytest.fixture(scope='session', autouse=True)
def binaries():
    for binary in (harness.DUNLIN_SERVER, harness.DUNLIN_CLI):
        if not os.path.exists(binary):
            pytest.fail('binary missing: %s (build it, or set DUNLIN_BUILD, DUNLIN_SERVER, DUNLIN_CLI)' % binary,
                        pytrace=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    lab = getattr(item, 'lab', None)
    if report.failed:
        item.has_failed = True
        if lab:
            for node in lab.nodes:
                ended = '' if node.is_running() or node.process is None else ', ended with %s' % node.process.returncode
                report.sections.append(('log of %s (%s%s)' % (node.name, node.folder, ended), node.log_tail()))


@pytest.fixture
def lab(request):
    lab = harness.Lab(_PORTS, request.node.name)
    request.node.lab = lab
    yield lab
    lab.close(getattr(request.node, 'has_failed', False))


@pytest.fixture
def shared():
    """The folder with recorded data of real servers, beside the project."""
    if not os.path.isdir(harness.SHARED):
        pytest.skip('no recorded data: %s is absent' % harness.SHARED)
    return harness.SHARED
