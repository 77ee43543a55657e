#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the tree to CONTRIBUTING.md: each thing that there is has all the places that its section lists.

    check-contributing.py places ROOT
    check-contributing.py selftest

Below a heading of SOURCES a table has a place in each row: a file, or a folder of which one file will
do, and in its second cell a text in backticks that stands there, in which NAME is the thing's name in
whichever case, and with dashes or underscores. A row without such a text is for people.
(check-words.py sees that the paths exist.) Exit 1 and a line for each breach, else 0.
"""
import re
import sys

sys.dont_write_bytecode = True  # the tree stays as it is
from tree import files_of, run, text_of, with_files, wrong_cases  # pylint: disable=wrong-import-position

DOCUMENT = 'CONTRIBUTING.md'
# Heading: the file that has all of these things, and what each name stands in there.
SOURCES = {
    'A control message': ('proto/control.h', r'^\tCONTROL_([A-Z_]+)\b'),
    'A transport': ('proto/control.h', r'^\tTRANSPORT_((?!ANY\b|LIMIT\b)[A-Z_]+)\b'),
    'An operation of the admin socket': ('daemon/admin/request.c', r'^\t\[ADMIN_(?!KEY_)\w+\] = \{"([a-z-]+)"'),
    'A command of msgctl': ('msgctl/command.c', r'^\t\{"([a-z -]+)", "'),
    'A key of policy': ('daemon/policy/keys.c', r'^\t\{"([a-z-]+)", \w+_parse'),
    'A limit of a domain': ('daemon/config.c', r'^\tLIMIT\("([a-z-]+)"'),
    'A limit on the wire': ('proto/PROTOCOL.md', r'^\| ([A-Z_]{4,}) \| (?:0x)?[0-9a-f]+ \|'),
}
ROW = re.compile(r'^\| `([^`]+)` \| (.*) \|$', re.M)


def sections_of(text):
    """Heading: its text, up to the next one."""
    parts = re.split(r'^#+ (.*)\n', text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def places_of(section):
    """Pairs: path and form."""
    return [(path, form[1]) for path, cell in ROW.findall(section)
            for form in [re.search(r'``? ?(.*?) ?``?(?!`)', cell)] if form and 'NAME' in form[1]]


def pattern_of(form, name):
    """Of a form that is nothing but NAME each word will do by itself: completion has them apart."""
    def spelt(word):
        return re.sub(r'[-_]', '[-_]', word)

    if form == 'NAME':
        return [r'(?<![\w-])%s(?![\w-])' % spelt(word) for word in name.split()]
    before, after = form.split('NAME')
    # a word goes on in the form, or ends
    return [re.escape(before) + spelt(name) + (re.escape(after) or r'(?![\w-])')]


def lacking(root, files, path, patterns):
    """Whether no file there has them all."""
    texts = (text_of(root, f) for f in files if f == path or (path.endswith('/') and f.startswith(path)))
    return not any(all(re.search(p, text, re.I) for p in patterns) for text in texts)


def check_places(root):
    sections, files, breaches = sections_of(text_of(root, DOCUMENT)), files_of(root), []
    for heading, (source, pattern) in SOURCES.items():
        names = re.findall(pattern, text_of(root, source), re.M)
        places = places_of(sections.get(heading, ''))
        if not names or not places:
            breaches.append('%s: %d things in %s, %d places' % (heading, len(names), source, len(places)))
        breaches += ['%s: %s lacks "%s"' % (heading, path, form.replace('NAME', name))
                     for name in names for path, form in places
                     if lacking(root, files, path, pattern_of(form, name))]
    return breaches


# ---- selftest -----------------------------------------------------------------------------------

HAD = {
    'proto/control.h': '\tCONTROL_LINK_UP = 1,\n\tTRANSPORT_ANY,\n\tTRANSPORT_GRANT,\n',
    'daemon/admin/request.c': '\t[ADMIN_STATUS] = {"status"},\n',
    'msgctl/command.c': '\t{"policy list", "", "the rules"},\n',
    'daemon/policy/keys.c': '\t{"max-rate", max_rate_parse},\n',
    'daemon/config.c': '\tLIMIT("ends", 1)\n',
    'proto/PROTOCOL.md': '| NAME_SIZE | 64 | |\n',
    'proto/control.c': '[CONTROL_LINK_UP] = 1, [CONTROL_LINK_UPPER] = 2, "grant"\n',
    'tests/link-up.txt': 'policy x list, status, max-rate, ends, NAME_SIZE\n',
    DOCUMENT: ''.join('## %s\n| `%s` | %s |\n' % (heading, 'tests/', '`NAME`') for heading in SOURCES)
              .replace('`tests/` | `NAME`', '`proto/control.c` | has `[CONTROL_NAME]`', 1)
              .replace('`tests/` | `NAME`', '`proto/control.c` | `"NAME"`', 1),
}
CASES = [
    ('places', 'other.txt', '', None),
    ('places', 'proto/control.c', '[CONTROL_LINK_UPPER], "grant"', 'A control message: proto/control.c lacks "[CONTROL_LINK_UP]"'),
    ('places', 'proto/control.c', '[CONTROL_LINK_UP], "grants"', 'A transport: proto/control.c lacks'),
    ('places', 'tests/link-up.txt', 'policy, status, max-rate, ends, NAME_SIZE', 'tests/ lacks "policy list"'),
    ('places', 'tests/link-up.txt', 'policy list, status, max-rate-x, ends, NAME_SIZE', 'tests/ lacks "max-rate"'),
    ('places', 'daemon/config.c', '', 'A limit of a domain: 0 things'),
    ('places', DOCUMENT, HAD[DOCUMENT].replace('## A key of policy', '## Keys'), 'A key of policy: 1 things in daemon/policy/keys.c, 0 places'),
]


def case_breaches(_check, path, text):
    return with_files({**HAD, path: text}, check_places)


run(__doc__, {'places': check_places}, lambda: wrong_cases(CASES, case_breaches))
