#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the tree to its own rules: which part may include which, licence lines, formatting.

    check-tree.py includes|licences|format ROOT
    check-tree.py selftest

Looks at the files that git knows of, or at all of them where there is no git. Exit 1 and a line
for each breach, 77 with a reason when it cannot look, 0 otherwise.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

# The emulator's folders: each may include those before it, but for its two ends of one socket.
SIM_BELOW = ['hv/sim/memory', 'hv/sim/hypervisor', 'hv/sim/guest', 'hv/sim/wire']
SIM = ['hv/sim', *SIM_BELOW, 'hv/sim/toolstack', 'hv/sim/process', 'hv/sim/testing']

# Part: the parts that its files may include besides itself. The longest prefix of a path decides.
# Dependencies point one way (design.md, section 2).
MAY_INCLUDE = {
    'base': [],
    'proto': ['base'],
    'hv': ['base'],
    'hv/sim': ['base', 'hv'],  # its door only
    'hv/sim/memory': ['base', 'hv'],
    'hv/sim/hypervisor': ['base', 'hv', 'hv/sim/memory'],
    'hv/sim/guest': ['base', 'hv', 'hv/sim/memory', 'hv/sim/hypervisor'],
    'hv/sim/wire': ['base', 'hv', 'hv/sim/memory'],
    'hv/sim/toolstack': ['base', 'hv', *SIM_BELOW],
    'hv/sim/process': ['base', 'hv', 'hv/sim', *SIM_BELOW],
    'hv/sim/testing': ['base', 'hv', *SIM],
    'hv/xen': ['base', 'hv', 'kmod/include/uapi/xen/argodev.h'],
    'libmsg': ['base', 'proto', 'hv'],
    # the agent's protocol is hv/xen's, its records go through hv.h
    'agent': ['base', 'hv', 'hv/xen/agent-protocol.h'],
    'daemon/policy': ['base', 'proto'],
    'daemon/broker': ['base', 'proto', 'daemon/policy'],
    'daemon/shell': ['base', 'proto', 'hv', 'daemon/policy', 'daemon/broker'],
    'daemon/admin': ['base', 'proto', 'daemon/policy', 'daemon/broker', 'daemon/shell'],
    'daemon': ['base', 'proto', 'hv', 'agent', 'daemon/policy', 'daemon/broker', 'daemon/shell',
               'daemon/admin'],
    'msgctl': ['base', 'libmsg/libmsg.h'],
    'examples': ['libmsg/libmsg.h'],
    'bench': ['base', 'proto', 'hv', 'libmsg', 'kmod/include/uapi/xen/argodev.h'],
    'kmod': [],
    'tests': ['base', 'proto', 'hv', *SIM, 'hv/xen', 'libmsg', 'agent', 'daemon', 'daemon/policy',
              'daemon/broker', 'daemon/shell', 'daemon/admin', 'msgctl',
              'kmod/include/uapi/xen/argodev.h'],
}

# Single files that may do what their part may not, each with its reason.
EXCEPTIONS = {
    # picks the backend at run time
    'hv/open.c': ['hv/sim', 'hv/xen'],
    # measures the emulator itself
    'bench/sim-scale.c': SIM,
}

# Who may include Xen's headers: hv, and the tests that speak to it at the level of its ABI.
XEN_USERS = ['bench/xen.c', 'bench/peer-vchan.c', 'hv', 'kmod', 'tests/conformance', 'tests/unit/hv',
             'tests/random', 'tests/unit/sim', 'tests/xen', 'tests/listing', 'tests/kmod']

# The installed header stands alone.
ALONE = ['libmsg/libmsg.h']

XEN_HEADER = re.compile(r'^(xen/|xen[a-z]*\.h$|libxl|xen-)')
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')

LICENCE = 'SPDX-License-Identifier: LGPL-2.1-or-later'
KMOD_LICENCE = 'SPDX-License-Identifier: GPL-2.0-only'
SOURCE = re.compile(r'(\.(c|h|py|sh|pml|map)|/meson\.build|^meson\.build)$')

FORMAT_VERSION = '14'  # Debian 12's; others format a little differently


def files_of(root):
    """Paths from the root, sorted."""
    if os.path.exists(os.path.join(root, '.git')):
        names = subprocess.run(['git', '-C', root, 'ls-files', '-z'], check=True,
                               stdout=subprocess.PIPE).stdout.decode().split('\0')
        return sorted(n for n in names if n and os.path.isfile(os.path.join(root, n)))
    found = []
    for directory, subdirs, names in os.walk(root):
        subdirs[:] = [d for d in subdirs if not d.startswith(('.', 'build'))]
        found += [os.path.relpath(os.path.join(directory, n), root) for n in names]
    return sorted(found)


def lines_of(root, path):
    with open(os.path.join(root, path), encoding='utf-8', errors='replace') as file:
        return file.read().split('\n')


def is_under(path, prefix):
    return path == prefix or path.startswith(prefix + '/')


def part_of(path):
    """The part that a file belongs to, or None."""
    parts = [p for p in MAY_INCLUDE if is_under(path, p)]
    return max(parts, key=len) if parts else None


def is_allowed(path, target):
    part, target_part = part_of(path), part_of(target)
    allowed = [part] + MAY_INCLUDE.get(part, []) + EXCEPTIONS.get(path, [])
    return target_part in allowed or target in allowed


def include_breach(root, path, bracket, target):
    """What is wrong with one include, or None."""
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
    return None


def check_includes(root):
    breaches = []
    for path in files_of(root):
        if not path.endswith(('.c', '.h')):
            continue
        if part_of(path) is None:
            breaches.append('%s: in no part that check-tree.py knows' % path)
            continue
        for number, line in enumerate(lines_of(root, path), 1):
            match = INCLUDE.match(line)
            breach = match and include_breach(root, path, match[1], match[2])
            if breach:
                breaches.append('%s:%d: %s' % (path, number, breach))
    return breaches


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
        print('skipped: no clang-format here')
        sys.exit(77)
    version = subprocess.run(['clang-format', '--version'], check=True,
                             stdout=subprocess.PIPE).stdout.decode()
    if not re.search(r'version %s\.' % FORMAT_VERSION, version):
        print('skipped: clang-format is not version %s: %s' % (FORMAT_VERSION, version.strip()))
        sys.exit(77)
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
    ('licences', 'base/a.c', '/* nothing */', 'does not start with'),
    ('licences', 'base/a.c', '/* SPDX-License-Identifier: MIT */', 'does not start with'),
    ('licences', 'base/a.c', '/* %s */' % LICENCE, None),
    ('licences', 'x/run', '#!/bin/sh\n# why', 'does not start with'),
    ('licences', 'x/run', '#!/bin/sh\n# ' + LICENCE, None),
    ('licences', 'x/notes.txt', 'free text', None),
    ('licences', 'kmod/a.c', '// ' + LICENCE, 'does not start with'),
    ('licences', 'kmod/a.c', '// ' + KMOD_LICENCE, None),
]
PRESENT = ['base/b.h', 'proto/p.h', 'hv/hv.h', 'hv/sim/open.h', 'hv/sim/guest/g.h', 'hv/sim/hypervisor/h.h',
           'hv/sim/process/p.h', 'hv/sim/testing/sim.h', 'hv/sim/toolstack/t.h', 'daemon/d.h',
           'daemon/admin/a.h', 'daemon/broker/b.h', 'daemon/policy/p.h', 'daemon/shell/s.h',
           'libmsg/libmsg.h', 'libmsg/private.h']


def case_breaches(check, path, text):
    with tempfile.TemporaryDirectory() as root:
        for name in PRESENT + [path]:
            os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
            with open(os.path.join(root, name), 'w', encoding='utf-8') as file:
                file.write(text if name == path else '/* %s */\n' % LICENCE)
        return CHECKS[check](root)


def selftest():
    wrong = []
    for check, path, text, want in CASES:
        got = case_breaches(check, path, text)
        if (want is None and got) or (want is not None and
                                      not (len(got) == 1 and path in got[0] and want in got[0])):
            wrong.append('%s %s %r: want %r, got %r' % (check, path, text, want, got))
    return wrong


CHECKS = {'includes': check_includes, 'licences': check_licences, 'format': check_format}


def main():
    if sys.argv[1:] == ['selftest']:
        breaches = selftest()
    elif len(sys.argv) == 3 and sys.argv[1] in CHECKS:
        breaches = CHECKS[sys.argv[1]](sys.argv[2])
    else:
        sys.exit(__doc__)
    for breach in breaches:
        print(breach)
    sys.exit(1 if breaches else 0)


main()
