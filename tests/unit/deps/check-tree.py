#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the tree to its own rules: which folder may include which, no cycles between folders,
licence lines, formatting.

    check-tree.py includes|cycles|licences|format ROOT
    check-tree.py selftest

Looks at the files that git knows of, or at all of them where there is no git. Exit 1 and a line
for each breach, 77 with a reason when it cannot look, 0 otherwise.
"""
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True  # the tree stays as it is
from tree import files_of, run, skip, text_of, with_files, wrong_cases  # pylint: disable=wrong-import-position

# Folder: the folders whose files its own files may include, besides the folder itself. The longest
# prefix of a path decides to which row a file belongs. "x/*" stands for x and every folder below it.
# Dependencies point one way: a folder may include only folders in rows that are lower layers.
# The emulator's lower layers, which its two ends of one socket share.
SIM_BELOW = ['base', 'hv', 'hv/sim/memory', 'hv/sim/hypervisor', 'hv/sim/guest', 'hv/sim/wire']
MAY_INCLUDE = {
    'base': [],
    'proto': ['base'],
    'hv': ['base'],
    'hv/sim': ['base', 'hv'],  # its door only
    'hv/sim/memory': ['base', 'hv'],
    'hv/sim/hypervisor': ['base', 'hv', 'hv/sim/memory'],
    'hv/sim/guest': ['base', 'hv', 'hv/sim/memory', 'hv/sim/hypervisor'],
    'hv/sim/wire': ['base', 'hv', 'hv/sim/memory'],
    'hv/sim/toolstack': SIM_BELOW,
    'hv/sim/process': SIM_BELOW + ['hv/sim'],
    'hv/sim/testing': ['base', 'hv', 'hv/sim/*'],
    'hv/xen': ['base', 'hv', 'kmod/include/uapi/xen/argodev.h'],
    'libmsg': ['base', 'proto', 'hv'],
    'libmsg/transport': ['base', 'proto', 'hv', 'libmsg'],
    'libmsg/channel': ['base', 'proto', 'hv', 'libmsg', 'libmsg/transport'],
    'libmsg/link': ['base', 'proto', 'hv', 'libmsg', 'libmsg/transport', 'libmsg/channel'],
    'libmsg/socket': ['base', 'proto', 'hv', 'libmsg', 'libmsg/transport', 'libmsg/channel'],
    'libmsg/control': ['base', 'proto', 'hv', 'libmsg', 'libmsg/transport', 'libmsg/channel',
                       'libmsg/link', 'libmsg/socket'],
    'libmsg/wait': ['base', 'proto', 'hv', 'libmsg', 'libmsg/transport', 'libmsg/channel',
                    'libmsg/link', 'libmsg/socket', 'libmsg/control'],
    'libmsg/api': ['base', 'proto', 'hv', 'libmsg/*'],
    # the agent's protocol is hv/xen's; it reads what a record names, and records go through hv.h
    'agent': ['base', 'proto', 'hv', 'hv/xen/agent-protocol.h'],
    'daemon/policy': ['base', 'proto'],
    'daemon/broker': ['base', 'proto', 'daemon/policy'],
    'daemon/shell': ['base', 'proto', 'hv', 'daemon/policy', 'daemon/broker'],
    'daemon/admin': ['base', 'proto', 'daemon/policy', 'daemon/broker', 'daemon/shell'],
    'daemon': ['base', 'proto', 'hv', 'agent', 'daemon/*'],
    'msgctl': ['base', 'proto', 'daemon/policy/policy.h', 'libmsg/libmsg.h'],
    'exporter': ['base', 'msgctl/admin-exchange.h'],
    # the words have libmsg's constants; the relay is a state machine, and knows none of its ends
    'msgio/options': ['base', 'proto', 'libmsg/libmsg.h'],
    'msgio/relay': ['base'],
    'msgio': ['base', 'proto', 'libmsg/libmsg.h', 'msgio/*'],
    'starter': ['base'],
    'examples': ['libmsg/libmsg.h'],
    'compat': ['libmsg/libmsg.h'],
    'bindings': ['libmsg/libmsg.h'],
    'bench': ['base', 'proto', 'hv', 'libmsg/*', 'daemon/policy/policy.h', 'kmod/include/uapi/xen/argodev.h'],
    'kmod': [],
    'tests': ['base', 'proto', 'hv/*', 'libmsg/*', 'agent', 'daemon/*', 'msgctl', 'exporter', 'msgio/*', 'compat',
              'kmod/include/uapi/xen/argodev.h', 'kmod/xen-argo/room.h'],
}

# Single files that may do what their folder may not, each with its reason. In the search for cycles
# such a file stands above its folder.
EXCEPTIONS = {
    # picks the backend at run time
    'hv/open.c': ['hv/sim', 'hv/xen'],
    # measures the emulator itself
    'bench/sim-scale.c': ['hv/sim/*'],
}

# These may include Xen's headers: hv, and the tests that speak to Xen at the level of its ABI.
XEN_USERS = ['bench/xen.c', 'bench/peer-vchan.c', 'hv', 'kmod', 'tests/conformance', 'tests/unit/hv',
             'tests/unit/compat', 'tests/e2e/compat', 'tests/random', 'tests/unit/sim', 'tests/xen', 'tests/listing', 'tests/kmod']

# An installed header stands alone.
ALONE = ['libmsg/libmsg.h', 'compat/xenvchan/libvchan.h']

XEN_HEADER = re.compile(r'^(xen/|xen[a-z]*\.h$|libxl|xen-)')
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
# A header that is not for everybody lists its users in its first comment: "Included by: " and then
# folders (with all that is below them) or files, divided by commas, ended by a full stop. The list
# may go on in the next lines. The header's own folder is always among its users. The table above
# still holds.
INCLUDED_BY = re.compile(r'^[ \t]*\*[ \t]*Included by:([^.]*(?:\.[a-z][^.]*)*)\.[ \t]*$', re.M)
INCLUDED_BY_ANY = re.compile(r'Included\s+by\s*:')

LICENCE = 'SPDX-License-Identifier: LGPL-2.1-or-later'
KMOD_LICENCE = 'SPDX-License-Identifier: GPL-2.0-only'
SOURCE = re.compile(r'(\.(c|h|py|sh|pml|map)|/meson\.build|^meson\.build)$')

FORMAT_VERSION = '14'  # Debian 12's; others format a little differently


def lines_of(root, path):
    return text_of(root, path).split('\n')


def is_under(path, prefix):
    return path == prefix or path.startswith(prefix + '/')


def part_of(path):
    """The part that a file belongs to, or None."""
    parts = [p for p in MAY_INCLUDE if is_under(path, p)]
    return max(parts, key=len) if parts else None


def row_holds(entry, target):
    """Whether a table's entry covers a file: a folder's row, a file, or "x/*"."""
    if entry.endswith('/*'):
        return is_under(target, entry[:-2])
    return target == entry or part_of(target) == entry


def is_allowed(path, target):
    part = part_of(path)
    allowed = [part] + MAY_INCLUDE.get(part, []) + EXCEPTIONS.get(path, [])
    return any(row_holds(entry, target) for entry in allowed)


def comments_of_head(root, path):
    """The licence line and the comment after it, up to the first line of code."""
    head = []
    for line in lines_of(root, path):
        if line.strip() and not line.lstrip().startswith(('/*', '*', '//')):
            break
        head.append(line)
    return '\n'.join(head)


def users_of(root, header):
    """The users that a header lists; None: it is for everybody. ValueError: the list is malformed."""
    match = INCLUDED_BY.search(comments_of_head(root, header))
    if not match:
        if INCLUDED_BY_ANY.search('\n'.join(lines_of(root, header))):
            raise ValueError('"Included by:" is not in the first comment, or has no full stop')
        return None
    users = [re.sub(r'[\s*]+', '', user).rstrip('/') for user in match[1].split(',')]
    for user in users:
        if not user or not os.path.exists(os.path.join(root, user)):
            raise ValueError('"Included by: %s": is not in the tree' % user)
    return users


def include_breach(root, path, bracket, target):
    """The breach of one include, or None."""
    if bracket == '<':
        if XEN_HEADER.match(target) and not any(is_under(path, user) for user in XEN_USERS):
            return 'only hv/ includes <%s>' % target
        return None
    if is_under(path, 'kmod'):
        return None  # built by the kernel's rules, includes its own headers only
    if path in ALONE:
        return 'is installed: must not include "%s"' % target
    if not os.path.isfile(os.path.join(root, target)):
        return '"%s" is no path from the root' % target
    if not is_allowed(path, target):
        return '%s/ must not include "%s"' % (part_of(path), target)
    try:
        users = users_of(root, target)
    except ValueError:
        return None  # said of the header itself
    if users is not None and not any(is_under(path, user)
                                     for user in users + [os.path.dirname(target)]):
        return '"%s" is not for this file (see its first comment)' % target
    return None


def check_includes(root):
    breaches = []
    for path in files_of(root):
        if not path.endswith(('.c', '.h')):
            continue
        if part_of(path) is None:
            breaches.append('%s: in no part that check-tree.py knows' % path)
            continue
        if path.endswith('.h'):
            try:
                users_of(root, path)
            except ValueError as error:
                breaches.append('%s: %s' % (path, error))
        for number, line in enumerate(lines_of(root, path), 1):
            match = INCLUDE.match(line)
            breach = match and include_breach(root, path, match[1], match[2])
            if breach:
                breaches.append('%s:%d: %s' % (path, number, breach))
    return breaches


def folder_of(path):
    """The node of a file in the graph of folders."""
    return path if path in EXCEPTIONS else os.path.dirname(path)


def check_cycles(root):
    """No folder includes, by whatever way round, a folder that includes it."""
    graph = {}
    for path in files_of(root):
        if not path.endswith(('.c', '.h')) or is_under(path, 'kmod'):
            continue
        for number, line in enumerate(lines_of(root, path), 1):
            match = INCLUDE.match(line)
            if not match or match[1] == '<' or not os.path.isfile(os.path.join(root, match[2])):
                continue
            source, target = folder_of(path), folder_of(match[2])
            if source != target:
                graph.setdefault(source, {}).setdefault(target, '%s:%d' % (path, number))
    breaches = []
    while True:
        cycle = find_cycle(graph)
        if not cycle:
            return breaches
        steps = list(zip(cycle, cycle[1:] + cycle[:1]))
        breaches.append('%s: a cycle of folders: %s' % (
            graph[cycle[0]][steps[0][1]],
            ', '.join('%s includes %s (%s)' % (a, b, graph[a][b]) for a, b in steps)))
        for source, target in steps:
            del graph[source][target]


def find_cycle(graph):
    """The folders of one shortest cycle, or None."""
    best = None
    for start in sorted(graph):
        # breadth first, back to the start
        ways, queue = {}, [[start]]
        while queue:
            way = queue.pop(0)
            for target in sorted(graph.get(way[-1], {})):
                if target == start and (best is None or len(way) < len(best)):
                    best = way
                if target not in ways and target != start:
                    ways[target] = way + [target]
                    queue.append(ways[target])
    return best


def check_licences(root):
    breaches = []
    for path in files_of(root):
        lines = lines_of(root, path)
        script = lines[0].startswith('#!')
        if not script and not SOURCE.search(path):
            continue
        first = lines[1] if script and len(lines) > 1 else lines[0]
        want = KMOD_LICENCE if is_under(path, 'kmod') else LICENCE
        # the kernel's build files and its header for user space may say more, not less
        if want not in first:
            breaches.append('%s: does not start with "%s"' % (path, want))
    return breaches


def check_format(root):
    if not shutil.which('clang-format'):
        skip('no clang-format here')
    version = subprocess.run(['clang-format', '--version'], check=True,
                             stdout=subprocess.PIPE).stdout.decode()
    if not re.search(r'version %s\.' % FORMAT_VERSION, version):
        skip('clang-format is not version %s: %s' % (FORMAT_VERSION, version.strip()))
    sources = [p for p in files_of(root) if p.endswith(('.c', '.h')) and not is_under(p, 'kmod')]
    run = subprocess.run(['clang-format', '--dry-run', '-Werror'] + sources, cwd=root,
                         stderr=subprocess.PIPE)
    heads = [l for l in run.stderr.decode(errors='replace').split('\n') if ': error: ' in l]
    return heads or (['clang-format failed'] if run.returncode else [])


# A breach: the check, a file, its text, and a piece of the line that must be said of it. None: no breach.
CASES = [
    ('includes', 'base/a.h', '#include "proto/p.h"', 'base/ must not'),
    ('includes', 'proto/a.c', '#include "hv/hv.h"', 'proto/ must not'),
    ('includes', 'proto/a.c', '#include "proto/p.h"\n#include <errno.h>', None),
    ('includes', 'hv/a.c', '#include "proto/p.h"', 'hv/ must not'),
    ('includes', 'hv/a.c', '#include "hv/sim/testing/sim.h"', 'hv/ must not'),
    ('includes', 'hv/open.c', '#include "hv/sim/open.h"', None),
    ('includes', 'hv/open.c', '#include "hv/sim/testing/sim.h"', 'hv/ must not'),
    ('includes', 'hv/sim/memory/a.c', '#include "hv/sim/guest/g.h"', 'hv/sim/memory/ must not'),
    ('includes', 'hv/sim/guest/a.c', '#include "hv/sim/hypervisor/h.h"', None),
    ('includes', 'hv/sim/guest/a.c', '#include "hv/sim/process/p.h"', 'hv/sim/guest/ must not'),
    ('includes', 'hv/sim/process/a.c', '#include "hv/sim/toolstack/t.h"', 'hv/sim/process/ must'),
    ('includes', 'hv/sim/a.c', '#include "hv/hv.h"\n#include <xen/xen.h>', None),
    ('includes', 'libmsg/a.c', '#include "hv/sim/testing/sim.h"', 'libmsg/ must not'),
    ('includes', 'libmsg/a.c', '#include "daemon/d.h"', 'libmsg/ must not'),
    ('includes', 'libmsg/a.c', '  #  include "hv/hv.h"', None),
    ('includes', 'libmsg/a.c', '#include <xen/argo.h>', 'only hv/'),
    ('includes', 'daemon/a.c', '#include <xenctrl.h>', 'only hv/'),
    ('includes', 'tests/unit/daemon/a.c', '#include <xen/xen.h>', 'only hv/'),
    ('includes', 'tests/conformance/a.c', '#include <xen/xen.h>', None),
    ('includes', 'daemon/a.c', '#include "libmsg/libmsg.h"', 'daemon/ must not'),
    ('includes', 'daemon/broker/a.c', '#include "daemon/shell/s.h"', 'daemon/broker/ must not'),
    ('includes', 'daemon/broker/a.c', '#include "daemon/policy/p.h"', None),
    ('includes', 'daemon/policy/a.c', '#include "daemon/broker/b.h"', 'daemon/policy/ must not'),
    ('includes', 'daemon/shell/a.c', '#include "daemon/admin/a.h"', 'daemon/shell/ must not'),
    ('includes', 'daemon/shell/a.c', '#include "daemon/d.h"', 'daemon/shell/ must not'),
    ('includes', 'daemon/a.c', '#include "daemon/admin/a.h"', None),
    ('includes', 'msgctl/a.c', '#include "libmsg/libmsg.h"', None),
    ('includes', 'msgctl/a.c', '#include "libmsg/private.h"', 'msgctl/ must not'),
    ('includes', 'examples/a.c', '#include "base/b.h"', 'examples/ must not'),
    ('includes', 'libmsg/libmsg.h', '#include "base/b.h"', 'is installed'),
    ('includes', 'tests/a.c', '#include "hv/sim/testing/sim.h"\n#include "daemon/d.h"', None),
    ('includes', 'tests/a.c', '#include "sim.h"', 'no path from the root'),
    ('includes', 'newpart/a.c', '', 'in no part'),
    ('includes', 'libmsg/transport/a.c', '#include "libmsg/link/l.h"', 'libmsg/transport/ must not'),
    ('includes', 'libmsg/link/a.c', '#include "libmsg/transport/t.h"', None),
    ('includes', 'libmsg/wait/a.c', '#include "libmsg/transport/t.h"', 'is not for this file'),
    ('includes', 'libmsg/api/a.c', '#include "libmsg/transport/t.h"', 'is not for this file'),
    ('includes', 'libmsg/api/take.c', '#include "libmsg/transport/t.h"', None),
    ('includes', 'libmsg/transport/a.c', '#include "libmsg/transport/t.h"', None),
    ('includes', 'tests/unit/a.c', '#include "libmsg/transport/t.h"', None),
    ('includes', 'libmsg/a.h', '/*\n * Why.\n * Included by: libmsg/wait\n */', 'no full stop'),
    ('includes', 'libmsg/a.h', '/*\n * Included by: libmsg/gone, base.\n */', 'libmsg/gone'),
    ('includes', 'libmsg/a.h', '#define A\n/* Included by: base. */', 'not in the first comment'),
    ('includes', 'libmsg/a.h', '/*\n * Included by: libmsg/link,\n * base/b.h.\n */', None),
    ('cycles', 'libmsg/transport/a.c', '#include "libmsg/link/l.h"', 'a cycle of folders'),
    ('cycles', 'proto/p.h', '#include "hv/hv.h"', None),
    ('cycles', 'base/b.h', '#include "libmsg/link/l.h"', 'base includes libmsg/link'),
    ('cycles', 'libmsg/transport/t.h', '#include "libmsg/link/l.h"', 'a cycle of folders'),
    ('cycles', 'hv/open.c', '#include "hv/sim/open.h"', None),
    ('cycles', 'hv/a.c', '#include "hv/sim/open.h"', 'hv includes hv/sim'),
    ('licences', 'base/a.c', '/* nothing */', 'does not start with'),
    ('licences', 'base/a.c', '/* SPDX-License-Identifier: MIT */', 'does not start with'),
    ('licences', 'base/a.c', '/* %s */' % LICENCE, None),
    ('licences', 'x/run', '#!/bin/sh\n# why', 'does not start with'),
    ('licences', 'x/run', '#!/bin/sh\n# ' + LICENCE, None),
    ('licences', 'x/notes.txt', 'free text', None),
    ('licences', 'kmod/a.c', '// ' + LICENCE, 'does not start with'),
    ('licences', 'kmod/a.c', '// ' + KMOD_LICENCE, None),
]
# The tree in which the cases stand.
PRESENT = {
    'base/b.h': '', 'proto/p.h': '', 'hv/hv.h': '', 'hv/open.c': '', 'daemon/d.h': '',
    'libmsg/libmsg.h': '', 'libmsg/private.h': '', 'libmsg/api/take.c': '',
    'daemon/admin/a.h': '', 'daemon/broker/b.h': '', 'daemon/policy/p.h': '', 'daemon/shell/s.h': '',
    'tests/t.h': '',
    'hv/sim/open.h': '#include "hv/hv.h"\n', 'hv/sim/guest/g.h': '', 'hv/sim/hypervisor/h.h': '',
    'hv/sim/process/p.h': '', 'hv/sim/testing/sim.h': '', 'hv/sim/toolstack/t.h': '',
    'libmsg/link/l.h': '#include "base/b.h"\n#include "libmsg/transport/t.h"\n',
    'libmsg/transport/t.h': '/*\n * Of frames.\n * Included by: libmsg/link, libmsg/api/take.c,\n'
                            ' * tests.\n */\n',
}


def case_breaches(check, path, text):
    licence = '/* %s */\n' % LICENCE
    files = {name: licence + content for name, content in PRESENT.items()}
    return with_files({**files, path: text}, CHECKS[check])


CHECKS = {'includes': check_includes, 'cycles': check_cycles, 'licences': check_licences, 'format': check_format}


def selftest():
    return wrong_cases([(c, p, t, want and [p, want]) for c, p, t, want in CASES], case_breaches)


run(__doc__, CHECKS, selftest)
