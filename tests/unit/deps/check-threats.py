#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds docs/THREATS.md to what there is: each defence that it names can be looked up, each test run.

    check-threats.py names ROOT BUILD
    check-threats.py selftest

NAME of "`NAME` in `PATH`" is a word there. Each GROUP-NAME is a test of meson's, perhaps with a transport
behind it. (check-words.py sees that names and paths exist at all.) Exit 1 and a line for each breach,
else 0.
"""
import json
import os
import re
import sys

sys.dont_write_bytecode = True  # the tree stays as it is
from tree import files_of, line_at, run, text_of, with_files, wrong_cases  # pylint: disable=wrong-import-position

DOCUMENT = 'docs/THREATS.md'
FOLDERS = ('base', 'proto', 'hv', 'libmsg', 'agent', 'daemon', 'msgctl', 'msgio', 'kmod', 'tests')
THERE = re.compile(r'`(\w+)` in `?((?:' + '|'.join(FOLDERS) + r')/[\w/.-]*\w)')
TEST = re.compile(r'(?<![\w/-])(?:hostile|msgd|daemon|libmsg|base|fuzz|e2e|msgio)-[a-z]+(?:-[a-z]+)*(?![\w/.-]*\.\w)')
TRANSPORTS = ('', '-argo', '-argo-strict', '-grant')


def breaches_of(root, tests):
    text, files = text_of(root, DOCUMENT), files_of(root)
    words = {f: set(re.findall(r'\w+', text_of(root, f))) for f in files
             if f.startswith(tuple(d + '/' for d in FOLDERS))}
    breaches = []

    def breach(match, what):
        breaches.append(f'{DOCUMENT}:{line_at(text, match.start())}: {what}')

    for match in THERE.finditer(text):
        if not any(match[1] in w for f, w in words.items() if f == match[2] or f.startswith(match[2] + '/')):
            breach(match, f'no {match[1]} in {match[2]}')
    for match in TEST.finditer(text):
        if not any(match[0] + t in tests for t in TRANSPORTS):
            breach(match, f'no test {match[0]}')
    return breaches


def tests_of(build):
    with open(os.path.join(build, 'meson-info', 'intro-tests.json'), encoding='utf-8') as file:
        return {test['name'] for test in json.load(file)}


HAD = {'daemon/a.c': 'int turn_cost = TURN_COST;', 'tests/unit/a-test.c': 'test_turn'}
CASES = [
    ('names', DOCUMENT, '`turn_cost` in `daemon/a.c`, TURN_COST; hostile-busy, hostile-flood: `test_turn` in tests/unit', None),
    ('names', DOCUMENT, '`test_turn` in `daemon/a.c`', 'no test_turn in daemon/a.c'),
    ('names', DOCUMENT, 'a tests/hostile/idle.sh; test_turn in tests/unit/b-test.c: hostile-idle', 'no test hostile-idle'),
]


def case_breaches(check, path, text):
    return with_files({path: text, **HAD}, lambda root: breaches_of(root, {'hostile-busy', 'hostile-flood-grant'}))


run(__doc__, {'names': lambda root, build: breaches_of(root, tests_of(build))},
    lambda: wrong_cases(CASES, case_breaches), n_arguments=2)
