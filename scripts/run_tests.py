"""The stages of scripts/test: builds, runs, counts. Run it through scripts/test, which installs what it needs."""
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TIME_LIMIT_S = 25 * 60 - 20
FUZZ_SECONDS = 20
FUZZ_SEED = 1  # A new finding belongs to who looks for one, not to whoever changes something else.
STARTED = time.monotonic()
CRITERION = re.compile(r'Tested: \D*(\d+)\D* \| Passing: \D*(\d+)\D* \| Failing: \D*(\d+)\D* \| Crashing: \D*(\d+)')
COLOUR = re.compile(r'\x1b\[[0-9;]*m')


class Tally:
    def __init__(self):
        self.passed = self.failed = 0
        self.lines = []

    def add(self, stage, passed, failed, note=''):
        self.passed += passed
        self.failed += failed
        self.lines.append('%-10s %5d passed %4d failed  %s' % (stage, passed, failed, note))
        print('== %s' % self.lines[-1], flush=True)


def run(words, env=None, limit_s=None):
    """Runs a command within what is left of the time. Returns its status; -1 when its time was over."""
    left = TIME_LIMIT_S - (time.monotonic() - STARTED)
    if left <= 0:
        print('no time left for: %s' % ' '.join(words), flush=True)
        return -1
    print('$ %s' % ' '.join(words), flush=True)
    process = subprocess.Popen(words, cwd=ROOT, env={**os.environ, **(env or {})}, start_new_session=True)
    try:
        return process.wait(min(left, limit_s or left))
    except subprocess.TimeoutExpired:
        print('time is over for: %s' % ' '.join(words), flush=True)
        return -1
    finally:
        if process.poll() is None:
            for kind in (signal.SIGTERM, signal.SIGKILL):
                os.killpg(process.pid, kind)
                try:
                    process.wait(10)
                    break
                except subprocess.TimeoutExpired:
                    continue


def build(folder, *options):
    if not os.path.exists(os.path.join(ROOT, folder, 'build.ninja')):
        if run(['meson', 'setup', folder, *options]) != 0:
            return False
    return run(['ninja', '-C', folder]) == 0


def count_meson(folder, name):
    """Counts from meson's log: Criterion's own numbers, or one for a test that prints none."""
    passed = failed = 0
    path = os.path.join(ROOT, folder, 'meson-logs', name + '.json')
    if not os.path.exists(path):
        return 0, 0
    with open(path) as log:
        for line in log:
            test = json.loads(line)
            good = test['result'] in ('OK', 'EXPECTEDFAIL')
            found = CRITERION.search(COLOUR.sub('', test.get('stdout', '') + test.get('stderr', '')))
            if found:
                tested, passing, failing, crashing = map(int, found.groups())
                passed += passing
                failed += failing + crashing if failing + crashing or good else 1
            elif test['result'] != 'SKIP':
                passed += good
                failed += not good
            if not good and test['result'] != 'SKIP':
                print('FAILED %s: %s\n%s' % (test['name'], test['result'],
                                             (test.get('stdout', '') + test.get('stderr', ''))[-6000:]))
    return passed, failed


def meson_stage(tally, stage, folder, suite, env=None):
    name = 'log-' + stage
    path = os.path.join(ROOT, folder, 'meson-logs', name + '.json')
    if os.path.exists(path):
        os.unlink(path)
    status = run(['meson', 'test', '-C', folder, '--no-rebuild', '--suite', suite, '--logbase', name], env)
    passed, failed = count_meson(folder, name)
    if status != 0 and failed == 0:
        failed = 1
    tally.add(stage, passed, failed)


def system_stage(tally):
    report = os.path.join(ROOT, 'build-test', 'system.xml')
    if os.path.exists(report):
        os.unlink(report)
    status = run(['/usr/bin/python3', '-m', 'pytest', 'tests/system', '-q', '-p', 'no:cacheprovider', '-n', '2',
                  '--dist', 'loadfile', '--junitxml', report], {'DUNLIN_BUILD': 'build-test'})
    passed = failed = skipped = 0
    if os.path.exists(report):
        for suite in xml.etree.ElementTree.parse(report).getroot().iter('testsuite'):
            bad = int(suite.get('failures')) + int(suite.get('errors'))
            skipped += int(suite.get('skipped'))
            failed += bad
            passed += int(suite.get('tests')) - bad - int(suite.get('skipped'))
    if status != 0 and failed == 0:
        failed = 1
    tally.add('system', passed, failed, '%d skipped' % skipped if skipped else '')


def fuzz_stage(tally):
    report = os.path.join(ROOT, 'build-fuzz', 'fuzz.json')
    if os.path.exists(report):
        os.unlink(report)
    status = run(['/usr/bin/python3', 'scripts/fuzz', '--seconds', str(FUZZ_SECONDS), '--seed', str(FUZZ_SEED), '--report', report])
    passed = failed = 0
    if os.path.exists(report):
        with open(report) as text:
            results = json.load(text)
        passed = sum(1 for good in results.values() if good)
        failed = len(results) - passed
    if status != 0 and failed == 0:
        failed = 1
    tally.add('fuzz', passed, failed)


def main(stages):
    known = ['unit', 'sim', 'tidy', 'sanitize', 'system', 'fuzz']
    stages = stages or known
    for stage in stages:
        if stage not in known:
            sys.exit('no such stage: %s (%s)' % (stage, ', '.join(known)))
    tally = Tally()
    if {'unit', 'sim', 'system', 'tidy'} & set(stages):
        if not build('build-test', '-Dunit-tests=enabled'):
            tally.add('build', 0, 1, 'build-test does not build')
    if 'unit' in stages:
        meson_stage(tally, 'unit', 'build-test', 'unit')
    if 'sim' in stages:
        meson_stage(tally, 'sim', 'build-test', 'sim')
    if 'tidy' in stages:
        good = run(['/usr/bin/python3', 'scripts/tidy.py', '--build', 'build-test']) == 0
        tally.add('tidy', int(good), int(not good))
    if 'sanitize' in stages:
        if build('build-asan', '-Dunit-tests=enabled', '-Db_sanitize=address,undefined', '-Db_lundef=false'):
            meson_stage(tally, 'sanitize', 'build-asan', 'unit',
                        {'ASAN_OPTIONS': 'detect_leaks=1', 'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1'})
        else:
            tally.add('sanitize', 0, 1, 'build-asan does not build')
    if 'system' in stages:
        system_stage(tally)
    if 'fuzz' in stages:
        fuzz_stage(tally)
    print()
    for line in tally.lines:
        print(line)
    print('%.0f s' % (time.monotonic() - STARTED))
    print('%d passed, %d failed' % (tally.passed, tally.failed), flush=True)
    return 1 if tally.failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
