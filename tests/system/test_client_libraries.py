"""Programs of real client libraries run unchanged against a node and a cluster (clients/ has the programs)."""
import os
import subprocess

import pytest

from harness import ROOT

CLIENTS = os.path.join(ROOT, 'tests', 'system', 'clients')
PROGRAMS = ['node_redis.js', 'iovalkey.js', 'valkey_glide.js', 'connect_redis.js', 'socket_io.js', 'php_redis.php',
            'ruby_redis.rb']
INTERPRETERS = {'.js': 'node', '.php': 'php', '.rb': 'ruby'}


def run_program(program, mode, ports):
    words = [INTERPRETERS[os.path.splitext(program)[1]], os.path.join(CLIENTS, program), mode, *map(str, ports)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.endswith('ok\n'), done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize('program', PROGRAMS)
def test_library_works_with_a_node(lab, workers, program):
    run_program(program, 'node', [lab.node(workers=workers).port])


def test_libraries_work_with_a_cluster(lab, workers):
    cluster = lab.cluster(primaries=3, replicas=0, workers=workers)
    for program in PROGRAMS:
        run_program(program, 'cluster', cluster.ports)
