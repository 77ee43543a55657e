#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the message catalog and msgd(8) to what msgd writes into the journal.

    check-records.py ids|fields|catalog ROOT
    check-records.py selftest

ids      Each MESSAGE_ID of daemon/broker/message-id.h is one id128, is used by msgd, has one entry in
         units/msgd.catalog and one row in msgd(8); neither has others.
fields   Each field that daemon/shell/fields.c adds is in msgd(8), and no other MSG_* is; the catalog
         speaks of no other.
catalog  journalctl --update-catalog takes the catalog without a word, and has all of its entries.

Exit 1 and a line for each breach, 77 with a reason when it cannot look, else 0.
"""
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True  # the tree stays as it is
from tree import files_of, run, skip, text_of, with_files, wrong_edits  # pylint: disable=wrong-import-position

HEADER = 'daemon/broker/message-id.h'
FIELDS = 'daemon/shell/fields.c'
CATALOG = 'units/msgd.catalog'
MANUAL = 'man/msgd.8'


def ids_of(root):
    """Name: id."""
    return dict(re.findall(r'^#define MESSAGE_ID_(\w+) "([^"]*)"$', text_of(root, HEADER), re.M))


def entries_of(root):
    return re.findall(r'^-- (\S+)$', text_of(root, CATALOG), re.M)


def check_ids(root):
    ids, breaches = ids_of(root), []
    sources = ''.join(text_of(root, f) for f in files_of(root)
                      if f.startswith('daemon/') and f.endswith('.c'))
    places = {CATALOG: entries_of(root),
              MANUAL: re.findall(r'^\.It Li ([0-9a-f]{32})$', text_of(root, MANUAL), re.M)}
    for name, value in ids.items():
        if not re.fullmatch('[0-9a-f]{32}', value) or list(ids.values()).count(value) > 1:
            breaches.append('%s: %s is not an id of its own' % (HEADER, name))
        if not re.search(r'\bMESSAGE_ID_%s\b' % name, sources):
            breaches.append('%s: msgd never writes %s' % (HEADER, name))
        for place, found in places.items():
            if found.count(value) != 1:
                breaches.append('%s: %u times %s, %s' % (place, found.count(value), name, value))
    for place, found in places.items():
        breaches += ['%s: %s is not in %s' % (place, i, HEADER) for i in found if i not in ids.values()]
    return breaches


def check_fields(root):
    written = set(re.findall(r'"((?:MSG_|ERRNO|MESSAGE_ID)\w*)"', text_of(root, FIELDS)))
    items = re.findall(r'^\.It Va (.*)$', text_of(root, MANUAL), re.M)
    listed = {w for item in items for w in item.split(' , ')} | {'MESSAGE_ID'}
    said = set(re.findall(r'@(\w+)@|\b(MSG_[A-Z_]+)\b', text_of(root, CATALOG)))
    breaches = ['%s: lacks the field %s' % (MANUAL, f) for f in sorted(written - listed)]
    breaches += ['%s: no field %s is written' % (MANUAL, f) for f in sorted(listed - written)]
    return breaches + ['%s: no field %s is written' % (CATALOG, f)
                       for f in sorted({a or b for a, b in said} - written)]


def check_catalog(root):
    if not shutil.which('journalctl'):
        skip('no journalctl here')
    entries = entries_of(root)

    def look(other):
        os.makedirs(other + '/var/lib/systemd/catalog')
        update = subprocess.run(['journalctl', '--root=' + other, '--update-catalog'],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        known = subprocess.run(['journalctl', '--root=' + other, '--list-catalog'],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
        breaches = ['journalctl --update-catalog: ' + line for line in update.stdout.splitlines()]
        if update.returncode and not breaches:
            breaches = ['journalctl --update-catalog: status %d' % update.returncode]
        return breaches + ['journalctl does not know %s' % e for e in entries
                           if not re.search('^%s msgd: .' % e, known, re.M)]

    return with_files({'usr/lib/systemd/catalog/msgd.catalog': text_of(root, CATALOG)}, look)


A, B = 'a' * 32, 'b' * 32
SELF_FILES = {
    HEADER: '#define MESSAGE_ID_A "%s"\n#define MESSAGE_ID_B "%s"\n' % (A, B),
    FIELDS: 'add("MESSAGE_ID");\nadd("MSG_X");\nadd("ERRNO");\n',
    'daemon/a.c': 'MESSAGE_ID_A MESSAGE_ID_B\n',
    CATALOG: '-- %s\nSubject: a\nDefined-By: msgd\n\n@MSG_X@\n\n-- %s\nSubject: b\nDefined-By: msgd\n\nMSG_X\n' % (A, B),
    MANUAL: '.It Li %s\n.It Li %s\n.It Va MSG_X , ERRNO\n' % (A, B),
}
CASES = [  # check, file, what in it, becomes what, a part of a breach
    ('ids', HEADER, '', '', None),
    ('ids', HEADER, B, A, 'B is not an id of its own'),
    ('ids', HEADER, B, 'b', 'B is not an id of its own'),
    ('ids', 'daemon/a.c', 'MESSAGE_ID_B', '', 'never writes B'),
    ('ids', CATALOG, B, 'c' * 32, '0 times B'),
    ('ids', CATALOG, B, 'c' * 32, 'c is not in'),
    ('ids', CATALOG, B, A, '2 times A'),
    ('ids', MANUAL, B, A, '0 times B'),
    ('ids', MANUAL, '', '.It Li %s\n' % ('c' * 32), 'c is not in'),
    ('fields', FIELDS, '', '', None),
    ('fields', FIELDS, 'MSG_X', 'MSG_Y', 'lacks the field MSG_Y'),
    ('fields', FIELDS, 'ERRNO', 'MSG_X', 'no field ERRNO is written'),
    ('fields', CATALOG, '@MSG_X@', '@MSG_Y@', 'no field MSG_Y is written'),
    ('fields', CATALOG, '\nMSG_X', '\nMSG_Z', 'no field MSG_Z is written'),
    ('catalog', CATALOG, '', '', None),
    ('catalog', CATALOG, '@MSG_X@\n\n--', '@MSG_X@\n--', 'journalctl'),
    ('catalog', CATALOG, '-- ' + B, '-- b', 'journalctl'),
]


def selftest():
    cases = [c for c in CASES if c[0] != 'catalog' or shutil.which('journalctl')]
    return wrong_edits(cases, SELF_FILES, CHECKS)


CHECKS = {'ids': check_ids, 'fields': check_fields, 'catalog': check_catalog}


run(__doc__, CHECKS, selftest)
