#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the product to one rule: no function calls itself, by itself or by way of others.

    check-recursion.py calls ROOT BUILD
    check-recursion.py selftest

A peer that could choose the depth of a recursion could choose how much of the stack it takes. The
calls are read from the sources, not from object files: a compiler makes loops of some recursions, and
another compiler, or the same one with other options, does not. Macros that call are followed.

Calls by pointer (tables of operations, callbacks of libevent) are out of reach: a function that is
passed by name is not called there. For those, the layers stand in for this check: a lower one never
calls up (check-tree.py).

So that no function is overlooked, each one that an object file of BUILD defines has to be found in
its source. Exit 1 and a line for each breach, 77 with a reason when it cannot look, 0 otherwise.
"""
import collections
import json
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True  # the tree stays as it is
from tree import files_of, objects_of, run, skip, text_of, with_files  # pylint: disable=wrong-import-position

PRODUCT = ('base', 'proto', 'hv', 'libmsg', 'agent', 'daemon', 'msgctl')
PRODUCT_FOLDERS = tuple(part + '/' for part in PRODUCT)

# Cycles that stand, by the names of their functions, each with the reason why it has an end.
EXCEPTIONS = {
    # hv/sim: once, for the call's last argument says that it is the second, as in Xen
    ('end_acquire', 'transitive_acquire'),
}
# Inline functions of other people's headers, which object files define as well.
FOREIGN = re.compile(r'^json_')

Function = collections.namedtuple('Function', 'path name')

COMMENTS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
ATTRIBUTES = re.compile(r'__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)')
DEFINITION = re.compile(r'^ *[A-Za-z_][^;{}=#()]*?\b(\w+)\s*\([^;{}]*\)\s*^\{(.*?)^\}', re.M | re.S)
MACRO = re.compile(r'^[ \t]*#[ \t]*define[ \t]+(\w+)((?:\\\n|[^\n])*)', re.M)
# Not s.name(...) nor s->name(...), which are calls by pointer, nor a declaration's (*name)(...).
CALL = re.compile(r'(?<![.>\w])(\w+)\s*\(')


def code_of(text):
    """Without comments, strings and attributes."""
    return ATTRIBUTES.sub(' ', COMMENTS.sub(' ', text))


def bodies_of(path, text):
    """The functions and macros that a file defines, with their bodies."""
    code = code_of(text)
    macros = {Function(path, m[1]): m[2] for m in MACRO.finditer(code)}
    code = MACRO.sub('', code)
    return {**macros, **{Function(path, m[1]): m[2] for m in DEFINITION.finditer(code)}}


def calls_of(root):
    """Function: the functions that it calls. A name means a file's own function, else all others."""
    bodies = {}
    for path in files_of(root):
        if path.startswith(PRODUCT_FOLDERS) and path.endswith(('.c', '.h')):
            bodies.update(bodies_of(path, text_of(root, path)))
    homes = collections.defaultdict(list)
    for function in bodies:
        homes[function.name].append(function)
    calls = {}
    for function, body in bodies.items():
        calls[function] = set()
        for name in set(CALL.findall(body)):
            own = Function(function.path, name)
            calls[function].update([own] if own in bodies else homes[name])
    return calls


def cycles_of(calls):
    """The strongly connected parts of the graph that are cycles, each sorted (Tarjan's algorithm)."""
    index, low, stack, on_stack, found = {}, {}, [], set(), []

    def enter(function):
        index[function] = low[function] = len(index)
        stack.append(function)
        on_stack.add(function)
        return function, iter(sorted(calls[function]))

    def leave(function):
        if low[function] != index[function]:
            return
        part = []
        while not part or part[-1] != function:
            part.append(stack.pop())
            on_stack.discard(part[-1])
        if len(part) > 1 or function in calls[function]:
            found.append(sorted(part, key=lambda f: (f.name, f.path)))

    for start in sorted(calls):
        work = [] if start in index else [enter(start)]
        while work:
            function, rest = work[-1]
            callee = next(rest, None)
            if callee is None:
                work.pop()
                leave(function)
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[function])
            elif callee not in index:
                work.append(enter(callee))
            elif callee in on_stack:
                low[function] = min(low[function], index[callee])
    return found


def defined_in_objects(root, build):
    """The functions that object files of the product define, parts of functions left out."""
    sources = {path: source for source, path in objects_of(root, build).items()
               if source.startswith(PRODUCT_FOLDERS)}
    if not sources:
        return set()
    run = subprocess.run(['nm', '-P', '-A', *sources], check=True, stdout=subprocess.PIPE)
    defined = set()
    for path, name in re.findall(r'^(.*): ([A-Za-z]\w*) [Tt] ', run.stdout.decode(), re.M):
        if not FOREIGN.match(name):
            defined.add(Function(sources[path], name))
    return defined


def check_calls(root, build):
    calls = calls_of(root)
    breaches = ['%s: %s' % (cycle[0].path, ' and '.join(f.name for f in cycle) + (
        ' call each other' if len(cycle) > 1 else ' calls itself'))
        for cycle in cycles_of(calls) if tuple(f.name for f in cycle) not in EXCEPTIONS]
    names = {function.name for function in calls}
    return breaches + ['%s: %s is defined, and was not found in the source' % function
                       for function in sorted(defined_in_objects(root, build))
                       if function.name not in names]


# ---- selftest -----------------------------------------------------------------------------------

# The tree's files, and a piece of each line that must be said, in any order.
CASES = [
    ({'base/a.c': 'int f(int n)\n{\n\treturn n ? f(n - 1) + 1 : 0;\n}\n'}, ['f calls itself']),
    ({'base/a.c': 'static void f(int n)\n{\n\tif (n)\n\t\tf(n - 1);\n}\nvoid g(void)\n{\n\tf(3);\n}\n'},
     ['f calls itself']),
    ({'libmsg/a.c': 'void g(void);\nvoid f(void)\n{\n\tg();\n}\n',
      'daemon/b.c': 'void f(void);\nvoid g(void)\n{\n\tf();\n}\n'}, ['f and g call each other']),
    ({'proto/a.h': 'void g(void);\nstatic inline void h(void)\n{\n\tg();\n}\n#define H(x) \\\n\th()\n',
      'daemon/b.c': '#include "proto/a.h"\nvoid g(void)\n{\n\tH(1);\n}\n'}, ['H and g and h']),
    # a name of each file's own; a call by pointer; a name that is passed; the same beside a call
    ({'base/a.c': 'static int f(void)\n{\n\treturn 1;\n}\nint g(void)\n{\n\treturn f();\n}\n',
      'hv/b.c': 'int g(void);\nstatic int f(void)\n{\n\treturn g();\n}\nint h(void)\n{\n\treturn f();\n}\n'},
     []),
    ({'base/a.c': 'struct s {\n\tvoid (*f)(void);\n};\nvoid f(struct s *s)\n{\n\ts->f();\n\t(*s).f();\n}\n'},
     []),
    ({'base/a.c': 'void g(void (*f)(void))\n{\n}\nvoid f(void)\n{\n\tg(f); /* f() */\n}\n'}, []),
    ({'base/a.c': '__attribute__((format(printf, 1, 2))) static void f(const char *s, ...)\n{\n}\n'
                  'void g(void)\n{\n\tf("g()");\n}\n'}, []),
    ({'base/a.c': '#define D(n) void n(void) { }\nD(f)\n'}, ['f is defined']),
    ({'tests/a.c': 'void f(void)\n{\n\tf();\n}\n'}, []),
]


def compile_and_check(root, files):
    commands = []
    for name in files:
        if name.endswith('.c'):
            output = name.replace('/', '_') + '.o'
            subprocess.run(['cc', '-c', '-w', '-I.', name, '-o', output], cwd=root, check=True)
            commands.append({'directory': root, 'file': name, 'output': output})
    with open(os.path.join(root, 'compile_commands.json'), 'w', encoding='utf-8') as file:
        json.dump(commands, file)
    return check_calls(root, root)


def selftest():
    wrong = []
    for files, want in CASES:
        got = with_files(files, lambda root: compile_and_check(root, files))
        if len(got) != len(want) or not all(any(w in g for g in got) for w in want):
            wrong.append('%r: want %r, got %r' % (files, want, got))
    return wrong


if not shutil.which('nm'):
    skip('no nm here')
run(__doc__, {'calls': check_calls}, selftest, n_arguments=2)
