"""Chooses the recorded cases that a server can be asked: those whose commands it has.

A case is left out when it uses a command or an option that the recorded server knows and the server under test does
not, as its COMMAND and CONFIG GET replies say; what nobody knows stays (its error is the point of the case). A step that
only reads such options becomes a PING, and its case goes on. Beside that there is one short list of cases, with reasons,
in compat_exceptions.tsv. What is left out is printed, never dropped silently.
"""
import fnmatch
import json
import os
import shutil

EXCEPTIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'compat_exceptions.tsv')
RECORDED_SERVER = 'redis-7.0.15'


def recorded_commands(shared):
    """Names of commands, and `container|subcommand` names, of the recorded server."""
    with open(os.path.join(shared, 'compat', 'commands.json'), encoding='utf-8') as text:
        rows = json.load(text)
    if isinstance(rows, dict):
        rows = rows['commands']
    names = set()
    for row in rows:
        if RECORDED_SERVER in row['in'] and not row.get('sentinel_only'):
            container = row.get('container')
            name = row['name'].lower()
            names.add(('%s|%s' % (container.lower(), name.split('|')[-1].split(' ')[-1])) if container else name)
    return names


def server_commands(node):
    names = set()

    def walk(rows):
        for row in rows:
            names.add(row[0].decode().lower())
            if len(row) > 9 and row[9]:
                walk(row[9])
    walk(node.call('COMMAND'))
    return names


def missing_options(shared, node):
    """Names of options, aliases too, that the recorded server has and this one has not."""
    recorded = set()
    with open(os.path.join(shared, 'compat', 'configs.tsv'), encoding='utf-8') as rows:
        for row in rows:
            fields = row.rstrip('\n').split('\t')
            if fields[0] == 'param' and fields[10] != 'valkey':
                recorded.update([fields[1], *fields[2].replace(',', ' ').split()])
    with node.connect() as connection:
        have = {name.decode() for name in connection.call('CONFIG', 'GET', '*')[::2]}
    return recorded - have


def options_in(words):
    """The option names or patterns that a CONFIG GET or CONFIG SET names."""
    words = [word.lower() if isinstance(word, str) else '' for word in words]
    if words[:2] == ['config', 'get']:
        return words[2:]
    return words[2::2] if words[:2] == ['config', 'set'] else []


def without_absent_options(case, absent):
    """(case, [option names that it cannot do without]). Steps that only read absent ones are replaced."""
    lacking, steps = set(), []
    for words in case.get('setup', []) + case.get('teardown', []):
        lacking.update(name for name in options_in(words) if name in absent)
    for step in case['steps']:
        words = step.get('cmd') or []
        named = {option for name in options_in(words) for option in fnmatch.filter(absent, name)}
        if named and str(words[1]).lower() == 'get' and step['expect'][0] in '*%':
            kept = {'conn': step['conn']} if 'conn' in step else {}
            step = {'cmd': ['PING'], 'match': 'exact', 'expect': ['+', 'PONG'], **kept}
        else:
            lacking |= named
        steps.append(step)
    return {**case, 'steps': steps}, lacking


def names_in(words, containers):
    words = [word if isinstance(word, str) else '' for word in words]
    name = words[0].lower()
    if name in containers:
        return {'%s|%s' % (name, words[1].lower())} if len(words) > 1 else {name}
    return {name}


def inline_words(raw):
    """The command names in raw protocol bytes: each word that stands where a name can stand."""
    return {word.lower() for word in raw.replace('\r\n', ' ').split()}


def used_commands(case, containers):
    used = set()
    for step in [*({'cmd': words} for words in case.get('setup', []) + case.get('teardown', [])), *case['steps']]:
        words = step.get('cmd') or step.get('scan')
        if words:
            used |= names_in(words, containers)
            if words[0].lower() == 'command':  # COMMAND INFO of something that is not there.
                used |= {word.lower() for word in words[1:] if isinstance(word, str)}
        if 'raw' in step and isinstance(step['raw'], str):
            used |= inline_words(step['raw'])
    return used


def load_exceptions():
    """{(family, case): reason}"""
    found = {}
    with open(EXCEPTIONS) as lines:
        for line in lines:
            if line.strip() and not line.startswith('#'):
                family, case, reason = line.rstrip('\n').split('\t')
                found[family, case] = reason
    return found


def write_corpus(shared, node, families, folder):
    """Writes the chosen cases as a corpus of its own. Returns (kept, [(family, case, missing commands or reason)])."""
    recorded, present = recorded_commands(shared), server_commands(node)
    missing, absent = recorded - present, missing_options(shared, node)
    containers = {name.split('|')[0] for name in recorded if '|' in name}
    is_recorded = b'redis_version:7.0.15' in node.call('INFO', 'server')
    exceptions = {} if is_recorded else load_exceptions()
    source = os.path.join(shared, 'compat', 'replay')
    os.makedirs(folder, exist_ok=True)
    shutil.copyfile(os.path.join(source, 'alternatives.json'), os.path.join(folder, 'alternatives.json'))
    kept, left_out = 0, []
    for family in families:
        with open(os.path.join(source, family + '.jsonl'), encoding='utf-8') as cases, \
                open(os.path.join(folder, family + '.jsonl'), 'w', encoding='utf-8') as chosen:
            for line in cases:
                case, lacking = without_absent_options(json.loads(line), absent)
                lacking |= used_commands(case, containers) & missing
                if lacking:
                    left_out.append((family, case['name'], ' '.join(sorted(lacking))))
                elif (family, case['name']) in exceptions:
                    left_out.append((family, case['name'], exceptions[family, case['name']]))
                else:
                    chosen.write(json.dumps(case) + '\n')
                    kept += 1
    return kept, left_out
