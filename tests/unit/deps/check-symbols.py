#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the product's names to two rules: each is defined once, and each is used.

    check-symbols.py unique|unused ROOT BUILD
    check-symbols.py selftest

unique: no two files of the product define one non-static function or object of the same name, and no
two of its headers one tag of a structure, union or enumeration.

unused: each of the product's non-static functions and objects is used by a file of the product other
than its own (else it should be static, or go), or exported by a version script; each inline function,
macro and enumeration's constant is used; each field of a structure is read. A use in tests, examples
or benchmarks does not count, except of a declaration whose comment, or whose header's first
comment, says that it is "for tests". Fields and constants are found by their names alone: a name
that two structures share hides the dead one of them.

Symbols are those of the object files that BUILD's compile_commands.json names. Exit 1 and a line for
each breach, 77 with a reason when it cannot look, 0 otherwise.
"""
import collections
import json
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True  # the tree stays as it is
from tree import files_of, line_at, objects_of, run, skip, text_of, with_files  # pylint: disable=wrong-import-position

PRODUCT = ('base', 'proto', 'hv', 'libmsg', 'agent', 'daemon', 'msgctl', 'msgio')
PRODUCT_FOLDERS = tuple(part + '/' for part in PRODUCT)

# Names that nothing in the product need use, each group with its reason.
EXCEPTIONS = {
    # the API's constants are for applications; uthash reads its own settings
    'constant': [r'^LIBMSG_', r'^HASH_(FUNCTION|NONFATAL_OOM)$'],
    'function': [r'^main$'],
    # places kept free in wire formats and in Xen's ABI; keys of hash tables, compared as bytes
    'field': [r'^reserved', r'^pad\d*$', r'^upcall_mask$', r'^(low|high|target)$'],
}

FOR_TESTS = re.compile(r'\bfor\s+(?:\*\s*)?tests?\b', re.I)
# Macros whose arguments name fields.
FIELD_MACROS = re.compile(r'\b(?:container_of|offsetof|HASH_\w+|(?:LIST|STAILQ|TAILQ|SLIST)_\w+)\s*\(')


def sources_of(root):
    """The product's sources, from the root, sorted."""
    return [n for n in files_of(root) if n.startswith(PRODUCT_FOLDERS) and n.endswith(('.c', '.h'))]


def blank(text):
    return re.sub(r'[^\n]', ' ', text)


def code_of(text):
    """Without comments and strings, which become blanks."""
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                  lambda m: blank(m[0]), text, flags=re.S)


def words_of(code):
    return collections.Counter(re.findall(r'[A-Za-z_]\w*', code))


def is_excepted(kind, name):
    return any(re.search(pattern, name) for pattern in EXCEPTIONS[kind])


# ---- symbols of object files --------------------------------------------------------------------

Symbols = collections.namedtuple('Symbols', 'defined used')


def symbols_of(root, build):
    """Source: its Symbols. A source that is compiled twice has those of one of its objects."""
    found = {}
    for source, path in objects_of(root, build).items():
        if source.split(os.sep)[0] not in PRODUCT:
            continue
        run = subprocess.run(['nm', '-P', '-g', path], check=True, stdout=subprocess.PIPE)
        defined, used = set(), set()
        for line in run.stdout.decode().split('\n'):
            words = line.split()
            if len(words) >= 2 and not words[0].startswith('__'):
                if words[1] in 'TDBRCSG':
                    defined.add(words[0])
                elif words[1] in 'Uw':
                    used.add(words[0])
        found[source] = Symbols(defined, used)
    return found


# ---- unique -------------------------------------------------------------------------------------


def twice_defined(symbols):
    homes = collections.defaultdict(list)
    for source, found in symbols.items():
        for name in found.defined - {'main'}:
            homes[name].append(source)
    return ['%s: defines %s, as does %s' % (sources[0], name, ', '.join(sources[1:]))
            for name, sources in sorted(homes.items()) if len(sources) > 1]


def twice_tagged(root):
    homes = collections.defaultdict(set)
    for path in sources_of(root):
        if path.endswith('.h'):
            for kind, name in re.findall(r'\b(struct|union|enum)\s+(\w+)\s*\{',
                                         code_of(text_of(root, path))):
                homes[kind, name].add(path)
    return ['%s: defines %s %s, as does %s' % (sorted(paths)[0], *tag, ', '.join(sorted(paths)[1:]))
            for tag, paths in sorted(homes.items()) if len(paths) > 1]


def check_unique(root, build):
    return twice_defined(symbols_of(root, build)) + twice_tagged(root)


# ---- unused -------------------------------------------------------------------------------------


def exported(root):
    names = set()
    for part in PRODUCT:
        for directory, _, files in os.walk(os.path.join(root, part)):
            for name in files:
                if name.endswith('.map'):
                    names.update(re.findall(r'\w+(?=;)', text_of(root, os.path.join(directory, name))))
    return names


def head_of(text):
    """The comments that a file begins with."""
    return re.match(r'(?:\s*/\*.*?\*/)*', text, re.S)[0]


def comment_before(text, offset):
    """The comment that ends right above the line at an offset; a run of declarations shares one."""
    above = text[:text.rfind('\n', 0, offset) + 1]
    match = re.search(r'/\*((?:(?!\*/).)*)\*/\s*(?:[^\n;{}]+\([^;{}]*\);[ \t]*(?:/\*[^\n]*\*/)?\n)*$',
                      above, re.S)
    return match[1] if match and '\n\n' not in above[match.end(1):] else ''


def is_for_tests(root, headers, name):
    for path in headers:
        text = text_of(root, path)
        match = re.search(r'\b%s\b\s*[(\[;]' % name, code_of(text))
        if match and (FOR_TESTS.search(head_of(text)) or
                      FOR_TESTS.search(comment_before(text, match.start()))):
            return True
    return False


def unused_symbols(root, symbols, words):
    """Functions and objects that no other file of the product refers to."""
    headers = [path for path in words if path.endswith('.h')]
    public, breaches = exported(root), []
    for source, found in sorted(symbols.items()):
        for name in sorted(found.defined - public):
            if is_excepted('function', name):
                continue
            used = any(name in other.used for path, other in symbols.items() if path != source)
            # uses in files that this build leaves out, and in inline functions of headers
            used = used or any(words[path][name] for path in words
                               if path.endswith('.c') and path not in symbols)
            used = used or any(words[path][name] > 1 for path in headers)
            if not used and not is_for_tests(root, headers, name):
                breaches.append('%s: no other file of the product uses %s' % (source, name))
    return breaches


def unused_inlines(root, codes, total):
    breaches = []
    for path, code in codes.items():
        if not path.endswith('.h'):
            continue
        for match in re.finditer(r'^static\s+(?:inline\s+)?[^;{}=]*?\b(\w+)\s*\([^;{}]*\)\s*\{', code, re.M):
            name = match[1]
            if total[name] < 2 and not is_for_tests(root, [path], name):
                breaches.append('%s:%d: nothing uses %s' % (path, line_at(code, match.start(1)), name))
    return breaches


def unused_constants(root, codes, total):
    breaches = []
    for path, code in codes.items():
        found = [(m[1], m.start(1)) for m in
                 re.finditer(r'^[ \t]*#[ \t]*define[ \t]+(\w+)', code, re.M)
                 if not re.match(r'^[ \t]*#[ \t]*ifndef[ \t]+%s\b' % m[1],
                                 code[:m.start()].rstrip().split('\n')[-1])]
        for body in re.finditer(r'\benum(?:\s+\w+)?\s*\{([^}]*)\}', code):
            # not the first: zero, it stands for what nothing was said of
            found += [(m[1], body.start(1) + m.start(1))
                      for m in re.finditer(r',\s*(\w+)', body[1])]
        for name, offset in found:
            if total[name] < 2 and not is_excepted('constant', name) and not name.startswith('_'):
                text = text_of(root, path)
                if not FOR_TESTS.search(head_of(text) + comment_before(text, offset)):
                    breaches.append('%s:%d: nothing uses %s' % (path, line_at(code, offset), name))
    return breaches


def body_end(code, start):
    depth = 0
    for i in range(start, len(code)):
        depth += {'{': 1, '}': -1}.get(code[i], 0)
        if depth == 0:
            return i
    return len(code)


def fields_of(code):
    """Pairs (name, offset) of all structures' fields; and the code without the structures."""
    found, rest = [], code
    for match in re.finditer(r'\b(?:struct|union)(?:\s+\w+)?\s*\{', code):
        start, end = match.end() - 1, body_end(code, match.end() - 1)
        if code[start + 1:end].count(';') == 0:
            continue
        body = code[start + 1:end]
        offset = start + 1
        for piece in re.finditer(r'[^;]*;', body):
            declaration = re.sub(r'__attribute__\s*\(\(.*?\)\)', lambda m: blank(m[0]), piece[0],
                                 flags=re.S)
            if '{' in declaration:  # of a structure within: found on its own
                continue
            pointer = re.search(r'\(\s*\*\s*(\w+)\s*\)\s*\(', declaration)
            names = [(pointer[1], pointer.start(1))] if pointer else [
                (m[1], m.start(1)) for m in
                re.finditer(r'(\w+)\s*(?:\[[^\]]*\]\s*)*(?::[^,;]*)?[,;]', declaration)]
            found += [(name, offset + piece.start() + at) for name, at in names
                      if not name.isdigit()]
        rest = rest[:start] + blank(rest[start:end]) + rest[end:]
    return found, rest


# A statement that only writes to a field: x->field = ..., x->field++, ++x->field, x.field[i] |= ...
WRITES = re.compile(r'(?:(?<=[;{}])|(?<=\belse)|(?<=\))|^)\s*(\+\+|--)?\(?\*?[A-Za-z_]\w*(?:(?:->|\.)\w+'
                    r'|\[[^\]=;]*\])*(?:->|\.)(\w+)((?:\[[^\]=;]*\])*\)?\s*(?:[-+|&^*]?=(?!=)|\+\+;|--;|(?(1);|(?!))))',
                    re.M)
INITIALISER = re.compile(r'(?<=[{,])(\s*)\.(\w+)(\s*(?:\[[^\]]*\]\s*)?=(?!=))')


def read_names(code):
    """Names that the code reads as fields."""
    # twice: a = b = 0 and the like are rare, a write after a write is not
    for pattern in (INITIALISER, WRITES):
        code = pattern.sub(lambda m: m[0].replace(m[2], ' ' * len(m[2])), code)
    names = set(re.findall(r'(?:->|\.)\s*(\w+)', code))
    for match in FIELD_MACROS.finditer(code):
        depth, end = 1, match.end()
        while end < len(code) and depth:
            depth += {'(': 1, ')': -1}.get(code[end], 0)
            end += 1
        names.update(re.findall(r'\w+', code[match.end():end]))
    return names


def unread_fields(root, codes):
    fields, read = [], set()
    for path, code in codes.items():
        found, rest = fields_of(code)
        fields += [(path, line_at(code, offset), name) for name, offset in found]
        read |= read_names(rest)
    breaches = []
    for path, line, name in fields:
        if name not in read and not is_excepted('field', name):
            text = text_of(root, path)
            if not FOR_TESTS.search(head_of(text) + text.split('\n')[line - 1]):
                breaches.append('%s:%d: nothing reads the field %s' % (path, line, name))
    return breaches


def check_unused(root, build):
    codes = {path: code_of(text_of(root, path)) for path in sources_of(root)}
    words = {path: words_of(code) for path, code in codes.items()}
    total = sum(words.values(), collections.Counter())
    return unused_symbols(root, symbols_of(root, build), words) + \
        unused_inlines(root, codes, total) + unused_constants(root, codes, total) + \
        unread_fields(root, codes)


# ---- selftest -----------------------------------------------------------------------------------

# The check, the tree's files, and a piece of each line that must be said, in any order.
USER = '#include "base/a.h"\nint main(void)\n{\n\treturn %s;\n}\n'
CASES = [
    ('unique', {'base/a.c': 'int f;', 'hv/b.c': 'int f;'}, ['defines f']),
    ('unique', {'base/a.c': 'static int f; int g(void) { return f; }', 'hv/b.c': 'int f;'}, []),
    ('unique', {'base/a.c': 'int main(void) { return 0; }', 'hv/b.c': 'int main(void) { return 1; }'},
     []),
    ('unique', {'base/a.h': 'struct s { int a; };', 'hv/b.h': 'struct s;\nstruct s { int b; };'},
     ['struct s']),
    ('unique', {'base/a.h': 'struct s { int a; };', 'hv/b.h': 'enum s { B };\nstruct s;'}, []),
    ('unused', {'base/a.c': 'int f(void) { return 0; }', 'hv/b.c': USER.replace('#include "base/a.h"',
     'int f(void);') % 'f()'}, []),
    ('unused', {'base/a.c': 'int f(void) { return 0; }\nint g(void) { return f(); }',
                'hv/b.c': 'int g(void);\nint main(void) { return g(); }'}, ['uses f']),
    ('unused', {'base/a.c': 'int f(void) { return 0; }', 'base/a.h': '/* For tests. */\nint f(void);'},
     []),
    ('unused', {'base/a.c': 'int f(void) { return 0; }',
                'base/a.h': '/* All of it. */\n\nint g;\n\n/* Used for\n * tests alone. */\nint f(void);\n'},
     []),
    ('unused', {'base/a.c': 'int f(void) { return 0; }',
                'base/a.h': '/* Of use. */\n/* For tests. */\nint g(void);\n\nint f(void);'}, []),
    ('unused', {'base/a.c': 'int f(void) { return 0; }',
                'base/a.h': '/* Of use. */\nint h;\n/* For tests. */\nint g(void);\n\nint f(void);'},
     ['uses f']),
    ('unused', {'base/a.c': 'int f(void) { return 0; }', 'libmsg/l.map': 'L {\nglobal:\n\tf;\n};'}, []),
    ('unused', {'base/a.h': 'static inline int f(void)\n{\n\treturn 0;\n}\n'}, ['uses f']),
    ('unused', {'base/a.h': 'static inline int f(void)\n{\n\treturn 0;\n}\n', 'base/a.c': USER % 'f()'},
     []),
    ('unused', {'base/a.h': '#ifndef A_H\n#define A_H\n#define A 1\n#endif\n'}, ['uses A']),
    ('unused', {'base/a.h': 'enum e { E_0, E_A, E_B = 4, };\n', 'base/a.c': USER % 'E_A'}, ['uses E_B']),
    ('unused', {'base/a.h': 'struct s {\n\tint a, b[2];\n\tint (*c)(int d);\n};\n',
                'base/a.c': USER % '((struct s *)0)->a'}, ['field b', 'field c']),
    ('unused', {'base/a.h': 'struct s {\n\tint a;\n\tstruct { int b; } in;\n};\n',
                'base/a.c': 'void f_(struct s *s);\n' + USER % '0; struct s s = {.a = 1}; s.in.b = 2; s.in.b++'},
     ['field a', 'field b']),
    ('unused', {'base/a.h': 'struct s {\n\tint a, b;\n};\n',
                'base/a.c': USER % '0; struct s s; ++s.b; return 0 + (long)s.a;'}, ['field b']),
    ('unused', {'base/a.h': 'struct s {\n\tint a;\n};\n',
                'base/a.c': USER % '0; struct s s; s.a = 1; return s.a == 2'}, []),
]


def compile_and_check(check, root, files):
    commands = []
    for name in files:
        if name.endswith('.c'):
            output = name.replace('/', '_') + '.o'
            subprocess.run(['cc', '-c', '-w', '-I.', name, '-o', output], cwd=root, check=True)
            commands.append({'directory': root, 'file': name, 'output': output})
    with open(os.path.join(root, 'compile_commands.json'), 'w', encoding='utf-8') as file:
        json.dump(commands, file)
    return CHECKS[check](root, root)


def selftest():
    wrong = []
    for check, files, want in CASES:
        got = with_files(files, lambda root: compile_and_check(check, root, files))
        if len(got) != len(want) or not all(any(w in g for g in got) for w in want):
            wrong.append('%s %r: want %r, got %r' % (check, files, want, got))
    return wrong


CHECKS = {'unique': check_unique, 'unused': check_unused}


if not shutil.which('nm'):
    skip('no nm here')
run(__doc__, CHECKS, selftest, n_arguments=2)
