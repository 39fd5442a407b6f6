#!/usr/bin/python3
"""usage: scripts/tidy.py [--build FOLDER]

Checks what the compiler does not: that includes point down the floors of docs/architecture.md, that internal headers
stay in their folder, that libraries of others are included where they belong, that a source file includes its own
header first, that headers have `#pragma once`, and that the static libraries of FOLDER (default: the first of build,
build-test that is there) have no writable data outside the list below. Prints `file:line: what`; status 1 if any.
"""
import argparse
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCES = ('server', 'clusterbus', 'tools', 'tests')

# The floors of docs/architecture.md. A folder belongs to the longest prefix that is listed.
FLOORS = {
    'server/base': 0,
    'server/resp': 1, 'server/structs': 1, 'server/config': 1, 'clusterbus': 1,
    'server/keyspace': 2, 'server/journal': 2,
    'server/rdb': 3,
    'server/command': 4,
    'server/snapshot': 5, 'server/types': 5, 'server/script': 5, 'server/pubsub': 5, 'server/acl': 5,
    'server/net': 6,
    'server/aof': 7, 'server/replication': 7, 'server/cluster': 7, 'server/sentinel': 7,
    'server/observe': 8, 'server/admin': 8, 'server/lifecycle': 8, 'server': 8,
}
TOOL_FLOORS = ('server/base', 'server/resp')  # what tools may know of the server
TOOL_EXTRA = {
    ('tools/check', 'server/rdb'): 'the checker reads dump files with the decoder that loads them',
    ('tools/check', 'server/aof'): 'the checker reads logs with the decoder that loads them',
    ('tools/check', 'server/structs'): 'the decoder hands out listpacks',
}
# What of the tools the server may know.
SERVER_EXTRA = {
    ('server/main.c', 'tools/check/check_aof_program.h'): 'called by the name of the checker, the server is the checker',
    ('server/main.c', 'tools/check/check_rdb.h'): 'called by the name of the checker, the server is the checker',
}

# Includes between folders of one floor, with the reason. The other direction is not allowed by this.
SAME_FLOOR = {
    ('server/keyspace', 'server/journal'): 'a change is journaled while its slot is locked',
    ('server/replication', 'server/aof'): 'a replica whose data set is replaced begins its log anew',
    ('server/snapshot', 'server/script'): 'a snapshot holds the libraries of functions',
    ('server/types', 'server/pubsub'): 'keyspace notifications are published',
    ('server/acl', 'server/types'): 'its unit test asks about real commands',
    ('server/acl', 'server/pubsub'): 'its unit test asks about real commands',
    ('server/cluster', 'server/replication'): 'a node that becomes a replica or a primary turns its link',
    ('server/admin', 'server/observe'): 'INFO and CONFIG RESETSTAT read the counters',
    ('server', 'server/admin'): 'main wires every module',
    ('server', 'server/observe'): 'main wires every module',
    ('server', 'server/lifecycle'): 'main starts and ends the process with it',
}

# Headers of libraries that only some folders may include.
PLACES = {
    'ev.h': (('server/net', 'server/cluster'), 'loops belong to the workers and to the node thread'),
    'openssl/ssl.h': (('server/net', 'tools'), 'TLS belongs to the network'),
    'jemalloc/jemalloc.h': (('server/base', 'server/observe', 'server/admin'), 'others allocate through server/base/mem.h'),
    'lzf.h': (('server/rdb', 'server/types/list'), 'the value codec, and leaves far from the ends of a list'),
    'liblzf/lzf.h': (('server/rdb', 'server/types/list'), 'the value codec, and leaves far from the ends of a list'),
}

# Writable data that may exist: (library, symbol) -> why. A static of a function has a number behind a dot.
WRITABLE = {
    ('base', 'malloc_conf'): 'the allocator reads its settings there',
    ('base', 'counted'): 'the threads whose allocations are summed: an allocator is one a process',
    ('base', 'this_thread'): 'counters of the calling thread in the allocator',
    ('base', 'crc16_table'): 'filled once, before its first use',
    ('base', 'crc64_table'): 'filled once, before its first use',
    ('base', 'can_fold'): 'filled once, before its first use',
    ('base', 'fold_by_16'): 'filled once, before its first use',
    ('base', 'fold_by_64'): 'filled once, before its first use',
    ('base', 'once'): 'the word that lets the tables be filled once',
    ('lifecycle', 'signals_seen'): 'a signal handler has no argument to find its state by',
    ('lifecycle', 'starting'): 'a signal handler has no argument to find its state by',
    ('base', 'failure'): 'the condition that failed, for the report on the signal that follows',
    ('base', 'fault_stack'): 'a second stack for each thread, which goes with it',
    ('command', 'running'): 'the command of the calling thread: a crash report has no argument to find it by',
    ('check_rdb', 'way_back'): 'a signal handler has no argument to find its way back by',
    ('lifecycle', 'crash'): 'a signal handler has no argument to find its state by',
    ('base', 'disk_fault_is_ordered'): 'whether a test ordered a fault of the disk: looked at below all callers',
    ('base', 'disk_faults'): 'the fault that it ordered',
    ('base', 'first_ns'): 'when the process began to tell time: set once, before its first use',
    ('base', 'first_ticks'): 'the same, in ticks of the processor',
    ('base', 'logger'): 'where lines of the log go: set at start, and a crash report needs it from anywhere',
}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def folder_floor(path):
    folder = os.path.dirname(path)
    while folder:
        if folder in FLOORS:
            return folder, FLOORS[folder]
        folder = os.path.dirname(folder)
    return None, None


def is_test(path):
    return path.endswith(('_test.c', '_fuzz.c')) or path.startswith('tests/') or '/test_' in path


def direction_problem(path, target):
    """Why `path` may not include `target` (both from the root), or None."""
    if path.startswith('tests/'):
        return None
    if path.startswith('tools/'):
        if target.startswith('tools/') or target.startswith(TOOL_FLOORS):
            return None
        mine = '/'.join(path.split('/')[:2])
        theirs, _ = folder_floor(target)
        if (mine, theirs) in TOOL_EXTRA:
            return None
        return 'a tool includes %s: tools stand on server/base and server/resp' % target
    if target.startswith('tools/'):
        if (path, target) in SERVER_EXTRA:
            return None
        return 'the server includes a tool: %s' % target
    mine, floor = folder_floor(path)
    theirs, other = folder_floor(target)
    if mine is None:
        return 'the folder is not in the table of floors'
    if theirs is None:
        return '%s is in no folder of the table of floors' % target
    if other > floor:
        return 'includes upwards: %s (floor %d) includes %s (floor %d)' % (mine, floor, target, other)
    if other == floor and mine != theirs and (mine, theirs) not in SAME_FLOOR:
        return 'includes sideways: %s includes %s, and the pair is not in the table' % (mine, target)
    return None


def check_file(path):
    problems = []
    with open(os.path.join(ROOT, path), encoding='utf-8') as source:
        lines = source.read().split('\n')
    if path.endswith('.h') and '#pragma once' not in lines:
        problems.append((1, 'no #pragma once'))
    includes = [(number, *found.groups()) for number, line in enumerate(lines, 1)
                if (found := INCLUDE.match(line))]
    own = path[:-2] + '.h'
    if path.endswith('.c') and os.path.exists(os.path.join(ROOT, own)):
        if not includes or includes[0][2] != own:
            problems.append((includes[0][0] if includes else 1, 'its own header %s is not included first' % own))
    for number, kind, target in includes:
        for header, (places, why) in PLACES.items():
            if target == header and not path.startswith(places) and not is_test(path):
                problems.append((number, '<%s> is for %s: %s' % (header, ', '.join(places), why)))
        if kind == '<':
            continue
        if not os.path.exists(os.path.join(ROOT, target)):
            # A header that the build generates, or one that is not named from the root.
            if os.path.exists(os.path.join(ROOT, os.path.dirname(path), target)):
                problems.append((number, 'include it from the root: "%s"' % target))
            continue
        if target.endswith('_internal.h') and os.path.dirname(target) != os.path.dirname(path):
            problems.append((number, '%s is internal to its folder' % target))
        why = direction_problem(path, target)
        if why:
            problems.append((number, why))
    return [(path, number, text) for number, text in problems]


def check_sources():
    problems, count = [], 0
    for top in SOURCES:
        for folder, folders, names in os.walk(os.path.join(ROOT, top)):
            folders[:] = sorted(f for f in folders if f not in ('node_modules', '__pycache__'))
            for name in sorted(names):
                if name.endswith(('.c', '.h')):
                    count += 1
                    problems += check_file(os.path.relpath(os.path.join(folder, name), ROOT))
    return problems, count


def writable_symbols(archive):
    """Names of writable data in an archive: .data, .bss and their thread-local kind. What is only written by the
    loader (.data.rel.ro, tables of constants with addresses in them) is not among them."""
    listing = subprocess.run(['objdump', '-t', archive], capture_output=True, text=True, check=True).stdout
    found = set()
    for line in listing.splitlines():
        words = line.split()
        if len(words) < 4 or not re.fullmatch(r'[0-9a-f]{8,16}', words[0]):
            continue
        section = next((w for w in words[1:] if w.startswith('.') or w == '*COM*'), '')
        is_writable = section == '*COM*' or re.match(r'\.(data|bss|tdata|tbss)(\.|$)', section)
        if not is_writable or section.startswith('.data.rel.ro') or words[-1].startswith('.'):
            continue
        found.add(words[-1])
    return found


def check_archives(build):
    problems, count = [], 0
    for folder, folders, names in os.walk(os.path.join(ROOT, build)):
        folders[:] = sorted(f for f in folders if not f.endswith('.p'))
        for name in sorted(names):
            if not (name.startswith('lib') and name.endswith('.a')):
                continue
            count += 1
            library = name[3:-2]
            for symbol in sorted(writable_symbols(os.path.join(folder, name))):
                plain = symbol.split('.')[0]
                if (library, plain) not in WRITABLE:
                    path = os.path.relpath(os.path.join(folder, name), ROOT)
                    problems.append((path, 0, 'writable data: %s (state is passed, not reached for)' % symbol))
    return problems, count


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--build', help='build folder whose libraries are looked at')
    options = arguments.parse_args()
    problems, files = check_sources()
    build = options.build or next((b for b in ('build', 'build-test') if os.path.isdir(os.path.join(ROOT, b))), None)
    libraries = 0
    if build and os.path.isdir(os.path.join(ROOT, build)):
        more, libraries = check_archives(build)
        problems += more
    for path, number, text in problems:
        print('%s:%d: %s' % (path, number, text))
    print('tidy: %d files, %d libraries, %d problems' % (files, libraries, len(problems)))
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
