# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reading a tree, trying a check on a small tree, and saying what breaches it: for the checks here."""
import json
import os
import subprocess
import sys
import tempfile


def files_of(root):
    """The files that git knows of or would, or all of them where there is no git. Sorted."""
    if os.path.exists(os.path.join(root, '.git')):
        names = subprocess.run(['git', '-C', root, 'ls-files', '-z', '--cached', '--others',
                                '--exclude-standard'], check=True, stdout=subprocess.PIPE).stdout
        found = [n for n in names.decode().split('\0') if n]
    else:
        found = []
        for directory, subdirs, names in os.walk(root):
            subdirs[:] = [d for d in subdirs if not d.startswith(('.', 'build'))]
            found += [os.path.relpath(os.path.join(directory, n), root) for n in names]
    return sorted({n for n in found if os.path.isfile(os.path.join(root, n))})


def text_of(root, path):
    with open(os.path.join(root, path), encoding='utf-8', errors='replace') as file:
        return file.read()


def objects_of(root, build):
    """The object file of each source that the build has compiled, by the source's path below root."""
    with open(os.path.join(build, 'compile_commands.json'), encoding='utf-8') as file:
        commands = json.load(file)
    objects = {}
    for command in commands:
        source = os.path.relpath(os.path.join(command['directory'], command['file']), root)
        path = os.path.join(command['directory'], command['output'])
        if os.path.isfile(path):
            objects[source] = path
    return objects


def line_at(text, offset):
    return text.count('\n', 0, offset) + 1


def with_files(files, function):
    """Calls function with the root of a tree that has these files, by path, and nothing else."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w', encoding='utf-8') as file:
                file.write(text)
        return function(root)


def wrong_cases(cases, breaches_of):
    """
    The cases (check, path, text, want) that go wrong: want is a text, or a list of texts, all of them
    in the one breach that there must be; None: no breach.
    """
    wrong = []
    for check, path, text, want in cases:
        got = breaches_of(check, path, text)
        texts = [] if want is None else [want] if isinstance(want, str) else want
        if len(got) != (want is not None) or not all(t in got[0] for t in texts):
            wrong.append('%s %s %r: want %r, got %r' % (check, path, text, want, got))
    return wrong


def wrong_edits(cases, files, checks):
    """
    The cases (check, path, old, new, want) that go wrong, of a tree with these files in which new stands
    for the first old of path: want is a piece of one of the breaches; None: no breach.
    """
    wrong = []
    for check, path, old, new, want in cases:
        got = with_files({**files, path: files[path].replace(old, new, 1)}, checks[check])
        right = not got if want is None else any(want in breach for breach in got)
        if not right or old not in files[path]:
            wrong.append('%s, %r for %r: want %r, got %r' % (check, new, old, want, got))
    return wrong


def report(breaches):
    for breach in breaches:
        print(breach)
    sys.exit(1 if breaches else 0)


def skip(reason):
    print('skipped: ' + reason)
    sys.exit(77)


def run(doc, checks, selftest, n_arguments=1):
    """The program, as doc says: "selftest", or one of the checks by name and so many arguments of it."""
    if sys.argv[1:] == ['selftest']:
        report(selftest())
    if len(sys.argv) != 2 + n_arguments or sys.argv[1] not in checks:
        sys.exit(doc)
    report(checks[sys.argv[1]](*sys.argv[2:]))
