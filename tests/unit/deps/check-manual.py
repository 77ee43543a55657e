#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the manual pages of libmsg to libmsg/libmsg.h, which is the reference.

    check-manual.py functions|errors|constants|examples ROOT
    check-manual.py selftest

functions  Each public function is in the NAME of one page of calls (man/msg_*.3), in its SYNOPSIS
           and in that of libmsg(3), as it is declared; none besides is.
errors     For each function a page lists the errors that its comment in the header lists, and
           EBADFD, which the header leaves out; each with its meaning and what to do.
constants  Each option has an item in msg_setopt(3), each other constant is in a page of calls.
examples   Each page of calls, and libmsg-event-loop(7), has examples, which the build compiles. The
           lines of other loops that the latter shows stand in the programs that it names.

Exit 1 and a line for each breach, else 0.
"""
import os
import re
import sys

sys.dont_write_bytecode = True  # the tree stays as it is
from tree import run, text_of, wrong_edits  # pylint: disable=wrong-import-position

HEADER = 'libmsg/libmsg.h'
OVERVIEW = 'man/libmsg.3'
OPTIONS = 'man/msg_setopt.3'
LOOP = 'man/libmsg-event-loop.7'


# ---- the header ---------------------------------------------------------------------------------

class Function:
    """A declaration: its parameters, and the comment above it."""

    def __init__(self, parameters, comment):
        self.parameters = [' '.join(p.split()) for p in parameters.split(',')]
        before, self.has_errors, after = comment.partition('Errors:')
        self.errors = set(re.findall(r'^ \* {2,}(E[A-Z0-9]+) ', after, re.M))
        # errors of other functions: all of f's, and EINVAL as of g
        said = re.split(r'\n \*(?:\s*\n| {2,}E[A-Z])', after)[0]
        self.errors |= set(re.findall(r'\b(E[A-Z0-9]+) as of', said))
        self.others = re.findall(r'\bmsg_\w+', re.sub(r'\bE[A-Z0-9]+ as of msg_\w+', '', said))
        if self.has_errors and re.search(r'struct msg_(ctx|sock|pollfd) \*', parameters):
            self.errors.add('EBADFD')


def functions_of(header):
    """Name: Function. Declarations below each other share a comment."""
    found, comment = {}, ''
    for match in re.finditer(r'/\*.*?\*/|^(?!typedef)[a-z][^;{}()#"]*\b(msg_\w+)\(([^;{}]*)\);',
                             header, re.M | re.S):
        if match[1]:
            found[match[1]] = Function(match[2], comment)
        else:
            comment = match[0]
    return found


def errors_with_others(name, table, seen=()):
    """The errors of a function, and of the functions that it refers to. table: name: (errors, others)."""
    errors, others = table.get(name, (set(), []))
    for other in others:
        if other not in seen:
            errors = errors | errors_with_others(other, table, seen + (name,))
    return errors


def constants_of(header):
    code = re.sub(r'/\*.*?\*/', '', header, flags=re.S)
    return set(re.findall(r'\bLIBMSG_[A-Z0-9_]+\b', code)) - {'LIBMSG_H'}


def options_of(header):
    code = re.sub(r'/\*.*?\*/', '', header, flags=re.S)
    body = re.search(r'enum libmsg_option \{(.*?)\}', code, re.S)
    return set(re.findall(r'\bLIBMSG_[A-Z0-9_]+\b', body[1] if body else ''))


# ---- the pages ----------------------------------------------------------------------------------

def section(page, title):
    match = re.search(r'^\.Sh %s\n(.*?)(?=^\.Sh |\Z)' % title, page, re.M | re.S)
    return match[1] if match else ''


def pages_of(root):
    """Path: text of each page of calls."""
    names = sorted(os.listdir(os.path.join(root, 'man')))
    return {'man/' + n: text_of(root, 'man/' + n) for n in names if re.match(r'msg_\w+\.3$', n)}


def names_of(page):
    return re.findall(r'^\.Nm (\w+)', section(page, 'NAME'), re.M)


def synopsis_of(page):
    """Function: its parameters."""
    found = {}
    for name, rest in re.findall(r'^\.Fn (msg_\w+)(.*)', section(page, 'SYNOPSIS'), re.M):
        found[name] = re.findall(r'"([^"]*)"', rest) or rest.split()
    found.pop('msg_log_fn', None)
    return found


def blocks_of(page):
    """Function: the part of ERRORS that is about it."""
    parts = re.split(r'^\.Ss (msg_\w+)\n', section(page, 'ERRORS'), flags=re.M)
    if len(parts) == 1:
        return {name: parts[0] for name in names_of(page)}
    return dict(zip(parts[1::2], parts[2::2]))


def items_of(block):
    """Pairs: the errno, and the words about it."""
    return re.findall(r'^\.It Bq Er (\w+)\n(.*?)(?=^\.(?:It|El))', block, re.M | re.S)


def page_errors(pages):
    """Function: (errors, functions whose errors it has as well)."""
    table = {}
    for page in pages.values():
        for name, block in blocks_of(page).items():
            intro = block.split('.Bl')[0]
            table[name] = ({error for error, _ in items_of(block)},
                           re.findall(r'^\.(?:Fn|Xr) (msg_\w+)', intro, re.M))
    return table


# ---- checks -------------------------------------------------------------------------------------

def synopsis_breaches(path, page, functions):
    breaches = []
    for name, parameters in synopsis_of(page).items():
        if name not in functions:
            breaches.append('%s: the header has no %s' % (path, name))
        elif parameters != functions[name].parameters:
            breaches.append('%s: %s is declared otherwise: %s' %
                            (path, name, ', '.join(functions[name].parameters)))
    return breaches


def check_functions(root):
    functions, pages = functions_of(text_of(root, HEADER)), pages_of(root)
    breaches = []
    for path, page in list(pages.items()) + [(OVERVIEW, text_of(root, OVERVIEW))]:
        breaches += synopsis_breaches(path, page, functions)
    for name in functions:
        homes = [path for path, page in pages.items()
                 if name in names_of(page) and name in synopsis_of(page)]
        if len(homes) != 1:
            breaches.append('%s: %d pages of calls have it' % (name, len(homes)))
        if name not in synopsis_of(text_of(root, OVERVIEW)):
            breaches.append('%s: lacks %s' % (OVERVIEW, name))
    return breaches


def check_errors(root):
    functions, pages = functions_of(text_of(root, HEADER)), pages_of(root)
    listed, breaches = page_errors(pages), []
    declared = {name: (f.errors, f.others) for name, f in functions.items()}
    for name in functions:
        want, got = errors_with_others(name, declared), errors_with_others(name, listed)
        for word, errors in (('lacks', want - got), ('has besides', got - want)):
            if errors:
                breaches.append('%s: its page %s %s' % (name, word, ', '.join(sorted(errors))))
    for path, page in pages.items():
        for error, words in items_of(section(page, 'ERRORS')):
            # a meaning, and a remedy after it
            if len(re.findall(r'[.:;](?:\s|$)', words)) < 2:
                breaches.append('%s: %s: what is to be done?' % (path, error))
    return breaches


def check_constants(root):
    header, pages = text_of(root, HEADER), pages_of(root)
    options = options_of(header)
    items = set(re.findall(r'^\.It Dv (LIBMSG_\w+)', pages.get(OPTIONS, ''), re.M))
    text = '\n'.join(pages.values())
    return ['%s: no item for %s' % (OPTIONS, name) for name in sorted(options - items)] + \
        ['%s: an item for %s' % (OPTIONS, name) for name in sorted(items - options)] + \
        ['no page of calls has %s' % name for name in sorted(constants_of(header) - options)
         if not re.search(r'^\.(?:It )?Dv %s\b' % name, text, re.M)]


def check_examples(root):
    pages = dict(pages_of(root), **{LOOP: text_of(root, LOOP)})
    built, breaches = text_of(root, 'man/meson.build'), []
    for path, page in pages.items():
        examples = section(page, 'EXAMPLES')
        displays = len(re.findall(r'^\.Bd ', examples, re.M))
        if displays != 1 or len(re.findall(r'^\.\\" compiled\n\.Bd ', examples, re.M)) != 1:
            breaches.append('%s: one example, marked as compiled, is wanted' % path)
        name = os.path.basename(path)
        if "'%s'" % name not in built and "'%s':" % name[:-2] not in built:
            breaches.append('%s: the build does not know it' % path)
    return breaches + loop_breaches(root, pages[LOOP])


def loop_breaches(root, page):
    """Of the lines that are shown with a program's name, spaces do not count."""
    breaches = []
    for name, item in re.findall(r'^\.It Pa (\S+\.c)\n(.*?)(?=^\.It|^\.El)', page, re.M | re.S):
        program = ''.join(text_of(root, 'examples/' + name).split())
        for display in re.findall(r'^\.Bd .*?\n(.*?)^\.Ed', item, re.M | re.S):
            breaches += ['%s: %s has no "%s"' % (LOOP, name, line)
                         for line in ''.join(display.split()).split(';') if line not in program]
    return breaches


# ---- selftest -----------------------------------------------------------------------------------

SELF_HEADER = '''/* The head, msg_x(). */
typedef void msg_log_fn(void *arg);
enum libmsg_option {
	LIBMSG_A = 1, /* ms */
};
#define LIBMSG_B 1
/*
 * Opens it.
 *
 * Errors:
 *   ENOENT           it is not there
 */
struct msg_ctx *msg_open(const char *name);

/*
 * Puts.
 *
 * Errors: those of msg_open, and EINVAL as of msg_get.
 */
int msg_put(
	struct msg_sock *sock, int how);

/* Gets and looks. Errors:
 *   EINVAL           wrong; ENOENT is none
 *   EIO              broken
 */
int msg_get(struct msg_sock *sock);
int msg_look(struct msg_sock *sock);

/* Never fails. */
void msg_free(struct msg_sock *sock);
'''
SELF_OPEN = '''.Sh NAME
.Nm msg_open ,
.Nm msg_put
.Nd open
.Sh SYNOPSIS
.Fn msg_open "const char *name"
.Fn msg_put "struct msg_sock *sock" "int how"
.Sh DESCRIPTION
.Dv LIBMSG_B
.Sh EXAMPLES
.\\" compiled
.Bd -literal
.Ed
.Sh ERRORS
.Ss msg_open
.Bl
.It Bq Er ENOENT
It is not there.
Make it.
.El
.Ss msg_put
The errors of
.Fn msg_open ,
and
.Bl
.It Bq Er EINVAL
Wrong: mend it.
.It Bq Er EBADFD
Wrong: mend it.
.El
'''
SELF_SETOPT = '''.Sh NAME
.Nm msg_get ,
.Nm msg_look ,
.Nm msg_free
.Nd get
.Sh SYNOPSIS
.Fn msg_get "struct msg_sock *sock"
.Fn msg_look "struct msg_sock *sock"
.Fn msg_free "struct msg_sock *sock"
.Sh DESCRIPTION
.Bl
.It Dv LIBMSG_A
An option.
.El
.Sh EXAMPLES
.\\" compiled
.Bd -literal
.Ed
.Sh ERRORS
.Ss msg_get
.Bl
.It Bq Er EINVAL
Wrong.
Mend it.
.It Bq Er EIO
Broken.
Mend it.
.It Bq Er EBADFD
Wrong: mend it.
.El
.Ss msg_look
The errors of
.Fn msg_get .
'''
SELF_FILES = {
    HEADER: SELF_HEADER,
    'man/msg_open.3': SELF_OPEN,
    OPTIONS: SELF_SETOPT,
    OVERVIEW: '.Sh SYNOPSIS\n' + ''.join(re.findall(r'^\.Fn msg_\w+ ".*\n', SELF_OPEN + SELF_SETOPT, re.M)),
    LOOP: '.Bl\n.It Pa loop.c\n.Bd -literal\nadd(base,\n  fd);\n.Ed\n.El\n'
          '.Sh EXAMPLES\n.\\" compiled\n.Bd -literal\n.Ed\n',
    'examples/loop.c': 'check(add(base, fd));\n',
    'man/meson.build': "'msg_open': [], 'msg_setopt': [], 'libmsg-event-loop.7'",
}
# The check, a file, a text in it, what stands there instead, and a piece of the one breach; None: none.
CASES = [(check, HEADER, '', '', None) for check in ('functions', 'errors', 'constants', 'examples')] + [
    ('functions', HEADER, 'int msg_look(struct msg_sock *sock);', '', 'the header has no msg_look'),
    ('functions', 'man/msg_open.3', '"int how"', '"int why"', 'declared otherwise'),
    ('functions', 'man/msg_open.3', '.Nm msg_put\n', '', 'msg_put: 0 pages'),
    ('functions', OPTIONS, '.Nm msg_get ,', '.Nm msg_get ,\n.Nm msg_open ,', None),
    ('functions', OVERVIEW, '.Fn msg_get "struct msg_sock *sock"\n', '', 'lacks msg_get'),
    ('errors', HEADER, 'ENOENT  ', 'EPERM   ', 'lacks EPERM'),
    ('errors', HEADER, ', and EINVAL as of msg_get', '', 'msg_put: its page has besides EINVAL'),
    ('errors', HEADER, 'those of msg_open, and', '', 'msg_put: its page has besides ENOENT'),
    ('errors', 'man/msg_open.3', '.It Bq Er EBADFD\nWrong: mend it.\n', '', 'msg_put: its page lacks EBADFD'),
    ('errors', 'man/msg_open.3', '.Fn msg_open ,\nand', '', 'msg_put: its page lacks ENOENT'),
    ('errors', 'man/msg_open.3', 'Make it.\n', '', 'what is to be done'),
    ('errors', OPTIONS, '.Fn msg_get .\n', '', 'msg_look: its page lacks EBADFD, EINVAL, EIO'),
    ('constants', HEADER, 'LIBMSG_A = 1', 'LIBMSG_A = 1, LIBMSG_C', 'no item for LIBMSG_C'),
    ('constants', HEADER, 'LIBMSG_B', 'LIBMSG_C', 'has LIBMSG_C'),
    ('constants', OPTIONS, 'LIBMSG_A\n', 'LIBMSG_A\n.It Dv LIBMSG_C\n', 'an item for LIBMSG_C'),
    ('examples', LOOP, '.\\" compiled\n', '', LOOP),
    ('examples', 'examples/loop.c', 'base', 'loop', 'loop.c has no "add(base,fd)"'),
    ('examples', OPTIONS, '.Bd -literal\n.Ed\n', '.Bd -literal\n.Ed\n.Bd -literal\n.Ed\n', OPTIONS),
    ('examples', 'man/meson.build', "'msg_open': [], ", '', 'msg_open.3: the build'),
]
CHECKS = {'functions': check_functions, 'errors': check_errors, 'constants': check_constants,
          'examples': check_examples}


run(__doc__, CHECKS, lambda: wrong_edits(CASES, SELF_FILES, CHECKS))
