#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds comments and documents to the tree: the names in them exist, the sentences name their subject.

    check-words.py names|openings|columns ROOT [PREFIX...]
    check-words.py selftest

names     Each file, directory and function that a comment or a document names exists; each link in
          a document leads somewhere; no document outside the tree is cited.
openings  No sentence begins with What, Who, Whoever, Those, That which or He who.
columns   Prose in .md files has 100 columns at most; a ruler in a C file fits its line, and so
          does a comment of one line.

With PREFIX, only files below one of them are looked at. Exit 1 and a line for each breach, else 0.
"""
import bisect
import fnmatch
import io
import os
import re
import sys
import tokenize

sys.dont_write_bytecode = True  # the tree stays as it is
from tree import files_of, line_at, report, text_of, with_files, wrong_cases  # pylint: disable=wrong-import-position

COLUMNS = 100

# Names that are not ours: a comment says by them which code of others it speaks of.
FOREIGN_FILES = [
    'xen/common/*.c', 'xen/include/*.h', 'event_2l.c', 'event_fifo.c',  # Xen's hypervisor
    'docs/misc/xenstore.txt', 'SUPPORT.md', 'xs.c',  # Xen's documents and libraries
    'drivers/xen/*.c', 'hvc_console.c', 'xen/features.h',  # Linux
    '*NAME.c',  # any name
]
FOREIGN_NAMES = {
    'Xen': '''
        acquire_grant_for_copy active_evtchns active_grant_entry alloc_evtchn_bucket
        alloc_unbound_xen_event_channel complete_domain_destroy create_grant_host_mapping
        do_argo_op do_event_channel_op do_grant_table_op do_set_timer_op
        evtchn_2l_set_pending evtchn_2l_unmask evtchn_allocate_port evtchn_destroy
        evtchn_fifo_set_link evtchn_fifo_set_pending evtchn_fifo_unmask evtchn_free
        evtchn_from_port evtchn_init evtchn_is_busy evtchn_port_set_pending evtchn_usable
        fill_ring_data find_ring_info find_ring_info_by_match find_ring_mfns get_free_port
        get_paged_frame get_sanitized_ring gnttab_copy_claim_buf gnttab_copy_lock_domain
        gnttab_copy_one gnttab_prepare_for_transfer gnttab_release_mappings
        gnttab_set_version gnttab_transfer grant_entry_v1 grant_entry_v2 grant_map_exists
        grant_table_init guest_test_and_set_bit iov_count map_guest_page max_evtchns
        notify_check_pending notify_vcpu_id nr_grant_entries nr_grant_frames nr_pirqs
        num_evtchns p2m_add_page pending_cancel pending_requeue pirq_guest_bind
        rcu_lock_domain_by_any_id rcu_lock_domain_by_id reduce_status_for_pin ring_count
        ring_remove_info ringbuf_insert ringbuf_payload_space send_global_virq
        send_guest_global_virq send_guest_pirq send_guest_vcpu_virq set_timer_op setup_ports
        unmap_common valid_evtchns vcpu_mark_events_pending virq_to_evtchn
        wildcard_rings_pending_remove xen_argo_ring xen_evtchns
        ''',
    "Xen's libraries and tools": '''
        get_error libxl_domain_resume max_event_channels osdep_gntshr_open
        ''',
    'Linux': '''
        bind_virq_to_irqhandler evtchn_fifo_resume evtchn_get evtchn_interrupt evtchn_read evtchn_write
        gntdev_ioctl_notify gnttab_end_foreign_access kexec_load map_grant_pages
        payload_length payload_offset setup_sects
        ''',
    'GLib': 'g_source_attach g_unix_fd_source_new',
    'OpenXT': '''
        argo_accept argo_connect argo_listen argo_recv argo_recvfrom argo_sendto argo_socket xen_argo_addr_t
        ''',
    'Qubes': 'default_target',
}

# Documents outside the tree, and paths of one machine: absolute, and in none of Debian's directories,
# the lab's or the store's.
OUTSIDE = re.compile(
    r'\b(?:design|style)\.md\b|\bshared/[a-z]|'
    r'(?<![\w.${}"*/-])/(?!(?:bin|console|data|dev|etc|lab|lib|local|mnt|nonexistent|opt|proc|root|run|sbin|'
    r'sys|tmp|usr|var)/)[a-z]+/[a-z]')

KNOWN_FILE = r'(?:c|h|py|pml|md|sh|map)'
FILE = re.compile(r'(?<![\w/.*<-])(?:[\w*-][\w.*-]*/)*[\w*-]+\.%s\b(?![\w/*-]|\.\w|\()' % KNOWN_FILE)
CALL = re.compile(r'(?<![\w.>-])([a-z_]\w*)\(\)')
SNAKE = re.compile(r'(?<![\w.>/*$%@-])([a-z][a-z0-9]*(?:_[a-z0-9]+)+)(?![\w/*-]|\.\w)')
IDENTIFIER = re.compile(r'[A-Za-z_]\w*')
OPENING = re.compile(r'^(?:What|Who|Whoever|Those|That which|He who)\b')
# A comment, a paragraph or a table's cell may begin with a small letter.
FIRST_OPENING = re.compile(OPENING.pattern.replace('Wh', '[Ww]h').replace('Th', '[Tt]h'))
# A sentence begins after the end of another, or where a paragraph does.
SENTENCE = re.compile(r'(?:^|(?<=[.!?:])\s+|(?<=[.!?]["\')])\s+|\n\s*\n)')

C_TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', re.S)
RULER = re.compile(r'^/\* -{4} .* -+ \*/$')
# clang-format breaks a comment of one line so that is too long by a few columns.
BROKEN = re.compile(r'(?m)^[ \t]*/\* (?!-{4} )[^\n]*\n[ \t]*\*/')


class Text:
    """The words of a file: pieces, each with the line on which it begins."""

    def __init__(self, path):
        self.path = path
        self.pieces = []

    def add(self, line, text):
        self.pieces.append((line, text))


class Tree:
    """The files that git knows of, or all of them where there is no git."""

    def __init__(self, root):
        self.root = root
        self.files = files_of(root)
        self.directories = {''}
        for path in self.files:
            while path:
                path = os.path.dirname(path)
                self.directories.add(path)
        self.tops = {d for d in self.directories if d and '/' not in d}
        self.reversed = sorted(path[::-1] for path in self.files)
        self.contents = {}
        self.identifiers, self.included = self.read_code()

    def read(self, path):
        if path not in self.contents:
            self.contents[path] = text_of(self.root, path)
        return self.contents[path]

    def read_code(self):
        """All identifiers that code has outside its comments, and the headers that it includes."""
        identifiers, included = set(), set()
        for path in self.files:
            kind = kind_of(self, path)
            if kind in ('c', 'python', 'shell'):
                identifiers.update(IDENTIFIER.findall(code_of(kind, self.read(path))))
            if kind == 'c':
                included.update(re.findall(r'#\s*include\s+[<"]([^>"]+)[>"]', self.read(path)))
            stem = os.path.splitext(os.path.basename(path))[0]
            identifiers.add(stem.replace('-', '_'))
        return identifiers, included

    def has_file(self, name):
        """Whether a path in the tree ends with that name, which may have asterisks."""
        if '*' in name:
            return any(fnmatch.fnmatchcase(p, name) or fnmatch.fnmatchcase(p, '*/' + name)
                       for p in self.files)
        if name in self.included or any(i.endswith('/' + name) for i in self.included):
            return True
        return self.has_suffix(name)

    def has_suffix(self, name):
        name = name[::-1]
        at = bisect.bisect_left(self.reversed, name)
        while at < len(self.reversed) and self.reversed[at].startswith(name):
            if len(self.reversed[at]) == len(name) or self.reversed[at][len(name)] == '/':
                return True
            at += 1
        return False

    def has_path(self, name):
        """A file or directory by its path from the root; a number may stand for a decision's file."""
        name = name.rstrip('/')
        if '*' in name:
            return any(fnmatch.fnmatchcase(p, name) for p in self.files)
        return name in self.directories or name in self.files or \
            any(p.startswith(name + '-') for p in self.files if re.search(r'/\d{4}$', name))


def kind_of(tree, path):
    if path.endswith(('.c', '.h', '.pml')):
        return 'c'
    if path.endswith('.md'):
        return 'md'
    if re.match(r'man/.*\.\d$', path):
        return 'man'
    if path.endswith('.py'):
        return 'python'
    if path.endswith(('.sh', '.conf', '.policy', '.rules', '.in', '.socket', 'meson.build',
                      'meson_options.txt', 'Makefile', 'Kbuild')):
        return 'shell'
    if '.' in os.path.basename(path):
        return None
    first = tree.read(path).split('\n', 1)[0]
    if first.startswith('#!'):
        return 'python' if 'python' in first else 'shell' if 'sh' in first else None
    return None


# ---- reading --------------------------------------------------------------------------------

def code_of(kind, text):
    if kind == 'c':
        return C_TOKEN.sub(lambda m: m[0] if m[0][0] in '"\'' else ' ', text)
    if kind == 'python':
        text = re.sub(r'"""(.|\n)*?"""', ' ', text)
    return re.sub(r'(?m)(^|\s)#.*$', ' ', text)


def read_c(text, ret):
    for match in C_TOKEN.finditer(text):
        if match[0][0] in '"\'':
            continue
        body = match[0][2:-2] if match[0][1] == '*' else match[0][2:]
        ret.add(line_at(text, match.start()), re.sub(r'(?m)^[ \t]*\*(?: |$)', '', body))


def read_python(text, ret):
    block, last = None, 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.STRING and re.match('[rb]*"""', token.string) and \
                token.line.lstrip().startswith('"""'):
            ret.add(token.start[0], token.string[3:-3])
        elif token.type == tokenize.COMMENT and not token.string.startswith('#!'):
            alone = token.line.lstrip().startswith('#')
            if block and alone and token.start[0] == last + 1:
                block[1] += '\n' + token.string[1:]
            else:
                block = [token.start[0], token.string[1:]]
                ret.pieces.append(block)
            last = token.start[0] if alone else 0


def shell_comment(line):
    """Where a line's comment begins, or -1: # after a blank and outside quotes."""
    quote = ''
    for at, char in enumerate(line):
        if quote:
            quote = '' if char == quote else quote
        elif char in '"\'':
            quote = char
        elif char == '#' and (at == 0 or line[at - 1] in ' \t'):
            return at
    return -1


def read_shell(text, ret):
    block, last = None, 0
    for number, line in enumerate(text.split('\n'), 1):
        at = shell_comment(line)
        if at < 0 or line.startswith('#!'):
            continue
        alone = not line[:at].strip()
        if block and alone and number == last + 1:
            block[1] += '\n' + line[at + 1:]
        else:
            block = [number, line[at + 1:]]
            ret.pieces.append(block)
        last = number if alone else 0


def md_lines(text):
    """(number, line, whether it is code) of a document."""
    fenced = False
    before = ''
    for number, line in enumerate(text.split('\n'), 1):
        if line.startswith('```'):
            fenced = not fenced
            yield number, line, True
            continue
        indented = line.startswith('    ') and not in_list(before)
        yield number, line, fenced or indented
        if line.strip() and not indented:
            before = line


def in_list(line):
    return bool(re.match(r'\s*[-*] |\s{2,}\S', line))


def read_md(text, ret):
    block = None
    for number, line, code in md_lines(text):
        if code or not line.strip():
            block = None
        elif line.startswith('|'):
            for cell in re.split(r'(?<!\\)\|', line):
                ret.add(number, cell.strip())
        elif block and not re.match(r'\s*(?:[-*#]|\d+\.) ?', line):
            block[1] += '\n' + line
        else:
            block = [number, line]
            ret.pieces.append(block)


def read_man(text, ret):
    block, literal = None, False
    for number, line in enumerate(text.split('\n'), 1):
        literal = (literal or line.startswith('.Bd -literal')) and not line.startswith('.Ed')
        if literal or line.startswith(('.\\"', "'\\\"")):
            continue
        if re.match(r'\.(?:Sh|Ss|Pp|It|Bl|El|Bd|Ed)\b', line):
            block = None
        line = re.sub(r'^\.[A-Z][a-z]\b', '', line).replace('\\&', '')
        if block is None:
            block = [number, line]
            ret.pieces.append(block)
        else:
            block[1] += '\n' + line


READERS = {'c': read_c, 'python': read_python, 'shell': read_shell, 'md': read_md, 'man': read_man}


def texts_of(tree, prefixes):
    for path in tree.files:
        if prefixes and not path.startswith(tuple(prefixes)):
            continue
        kind = kind_of(tree, path)
        if kind:
            text = Text(path)
            READERS[kind](tree.read(path), text)
            yield kind, text


# ---- names ----------------------------------------------------------------------------------

def is_foreign_file(name):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in FOREIGN_FILES)


def is_foreign(name):
    return any(name in names.split() for names in FOREIGN_NAMES.values())


def names_in(tree, kind, text):
    """(offset, what is wrong) of each name in a piece of text that does not exist."""
    for match in OUTSIDE.finditer(text):
        yield match.start(), 'cites "%s", which is not in the tree' % match[0]
    for match in FILE.finditer(text):
        if not tree.has_file(match[0]) and not is_foreign_file(match[0]) and \
                not OUTSIDE.search(match[0]):
            yield match.start(), 'no file %s' % match[0]
    if tree.tops:
        path = re.compile(r'(?<![\w/.<-])(?:%s)/[\w*.-]*[\w*](?:/[\w*.-]*[\w*])*/?(?![\w(])' %
                          '|'.join(map(re.escape, sorted(tree.tops))))
        for match in path.finditer(text):
            if not FILE.fullmatch(match[0]) and not tree.has_path(match[0]) and \
                    not is_foreign_file(match[0]):
                yield match.start(), 'no %s' % match[0]
    spans = code_spans(text) if kind == 'md' else text
    for match in list(CALL.finditer(spans)) + list(SNAKE.finditer(spans)):
        if match[1] not in tree.identifiers and not is_foreign(match[1]):
            yield match.start(), 'no %s' % match[1]


def code_spans(text):
    """The text with everything outside backticks blanked."""
    out, inside = [], False
    for char in text:
        if char == '`':
            inside = not inside
            out.append(' ')
        else:
            out.append(char if inside or char == '\n' else ' ')
    return ''.join(out)


def anchors_of(text):
    heads = [line.lstrip('#').strip() for _, line, code in md_lines(text)
             if line.startswith('#') and not code]
    return {re.sub(r'[^\w -]', '', head.lower()).replace(' ', '-') for head in heads}


def links_in(tree, path, text):
    for match in re.finditer(r'\]\(([^)#\s]*)(?:#([^)\s]*))?\)', text):
        if match[1].startswith(('http:', 'https:')):
            continue
        target = os.path.normpath(os.path.join(os.path.dirname(path), match[1])) \
            if match[1] else path
        if target not in tree.files and target not in tree.directories:
            yield match.start(), 'no file %s' % target
        elif match[2] and match[2] not in anchors_of(tree.read(target)):
            yield match.start(), 'no heading #%s in %s' % (match[2], target)


def glossary_breaches(tree, path):
    """Words of the glossary that no product code has any more."""
    words, inside = set(), False
    for number, line, _ in md_lines(tree.read(path)):
        inside = line == '## Glossary' if line.startswith('#') else inside
        match = inside and re.match(r'\| ([a-z][a-z ,]*) \|', line)
        words.update((w, number) for w in (match[1].split(', ') if match else []) if w != 'word')
    product = ' '.join(tree.read(p) for p in tree.files if kind_of(tree, p) == 'c' and
                       not p.startswith(('tests/', 'bench/', 'examples/', 'kmod/')))
    return ['%s:%d: no code knows the word "%s"' % (path, number, word)
            for word, number in sorted(words, key=lambda w: w[1])
            if not re.search(r'(?<![a-zA-Z])%s' % word.replace(' ', '[ _]'), product)]


def check_names(tree, prefixes):
    breaches = []
    for kind, text in texts_of(tree, prefixes):
        found = set()
        for line, piece in text.pieces:
            wrong = list(names_in(tree, kind, piece))
            if kind == 'md':
                wrong += list(links_in(tree, text.path, piece))
            found.update((line + piece.count('\n', 0, at), what) for at, what in wrong)
        breaches += ['%s:%d: %s' % (text.path, line, what) for line, what in sorted(found)]
        if kind == 'md':
            breaches += glossary_breaches(tree, text.path)
    return breaches


# ---- openings and columns ---------------------------------------------------------------------

def plain(kind, sentence):
    """A sentence without what markup or a comment's form puts before its first word."""
    sentence = re.sub(r'^[\s*#>(\["\'`-]+|^\s*(?:[-*]|\d+\.)\s+', '', sentence)
    return re.sub(r'^[\s*"\'`(-]+', '', sentence) if kind in ('md', 'man') else sentence


def sentences_of(piece):
    at = 0
    for match in SENTENCE.finditer(piece):
        if match.start() > at:
            yield at, piece[at:match.start()]
        at = match.end()
    yield at, piece[at:]


def check_openings(tree, prefixes):
    breaches = []
    for kind, text in texts_of(tree, prefixes):
        for line, piece in text.pieces:
            for at, sentence in sentences_of(piece):
                words = plain(kind, sentence)
                if (OPENING if at else FIRST_OPENING).match(words):
                    breaches.append('%s:%d: begins "%s"' % (
                        text.path, line + piece.count('\n', 0, at), words.split('\n')[0][:50]))
    return breaches


def check_columns(tree, prefixes):
    breaches = []
    for path in tree.files:
        if not path.endswith(('.md', '.c', '.h')) or not path.startswith(tuple(prefixes or [''])):
            continue
        if path.endswith('.md'):
            lines = [(n, l) for n, l, code in md_lines(tree.read(path))
                     if not code and not l.startswith('|')]
        else:
            lines = [(n, l) for n, l in enumerate(tree.read(path).split('\n'), 1)
                     if l.startswith('/* ----')]
            breaches += ['%s:%d: a ruler that goes on in the next line' % (path, n)
                         for n, l in lines if not RULER.match(l)]
            breaches += ['%s:%d: a line with nothing but the end of a comment' % (
                path, line_at(tree.read(path), m.end())) for m in BROKEN.finditer(tree.read(path))]
        breaches += ['%s:%d: %d columns' % (path, n, len(l)) for n, l in lines
                     if len(l) > COLUMNS]
    return breaches


# ---- main -----------------------------------------------------------------------------------

CHECKS = {'names': check_names, 'openings': check_openings, 'columns': check_columns}

# A breach: the check, a file, its text, and a piece of the line that must be said of it. None: no breach.
CASES = [
    ('names', 'a/a.c', '/* see b.c */', 'no file b.c'),
    ('names', 'a/a.c', '/* see there.h, daemon/there.h and th*.h */', None),
    ('names', 'a/a.c', '/* see hv/there.h */', 'no file hv/there.h'),
    ('names', 'a/a.c', 'const char s[] = "gone.c"; // here', None),
    ('names', 'a/a.c', '#include <sys/x.h>\n/* as x.h says */', None),
    ('names', 'a/a.c', '/* daemon/gone does it */', 'no daemon/gone'),
    ('names', 'a/a.c', '/* daemon/ does it, and docs/0001 */', None),
    ('names', 'a/a.c', '/* is_there() does */', None),
    ('names', 'a/a.c', '/* one\n * is_gone does */', 'a/a.c:2: no is_gone'),
    ('names', 'a/a.c', '/* gone() does */', 'no gone'),
    ('names', 'a/a.c', '/* line 1\n * (design.md 2) */', 'design.md'),
    ('names', 'a/a.c', '/* see /house/room */', '/house'),
    ('names', 'a/a.c', '/* see /usr/lib and one/other */', None),
    ('names', 'a/run', '#!/bin/bash\ntrue # is_gone', 'no is_gone'),
    ('names', 'a/run', '#!/bin/bash\necho "# is_gone" ${#there}', None),
    ('names', 'a/a.py', '"""is_gone"""', 'no is_gone'),
    ('names', 'a/a.py', 'x = "is_gone"  # is_there', None),
    ('names', 'a.md', 'see `is_gone`', 'no is_gone'),
    ('names', 'a.md', 'see is_gone and `is_there`', None),
    ('names', 'a.md', '    is_gone\n\n```\ngone.c\n```', None),
    ('names', 'a.md', '[x](daemon/there.h)', None),
    ('names', 'a.md', '[x](gone)', 'no file gone'),
    ('names', 'a.md', '# A head\n[x](#a-head)', None),
    ('names', 'a.md', '# A head\n[x](#b-head)', 'no heading'),
    ('names', 'a.md', '## Glossary\n| word | meaning |\n|---|---|\n| is there | known |', None),
    ('names', 'a.md', '## Glossary\n\n| there, gone | known |', 'knows the word "gone"'),
    ('names', 'man/a.3', '.Fn is_gone', 'no is_gone'),
    ('openings', 'a/a.c', '/* Who does it is told. */', 'begins "Who'),
    ('openings', 'a/a.c', '/* A process that does it is told: who reads. */', None),
    ('openings', 'a/a.c', 'int a; /* what it is */', 'begins "what'),
    ('openings', 'a/a.c', '/*\n * One.\n * Those that do. */', 'a/a.c:3: begins "Those'),
    ('openings', 'a/a.c', '/* Whole. That which is. */', 'begins "That which'),
    ('openings', 'a/a.c', 'f("x. What"); /* Thus. */', None),
    ('openings', 'a/run', '#!/bin/sh\n# What it is.', 'begins "What'),
    ('openings', 'a/a.py', '# One.\n# Whoever it is.', 'a/a.py:2: begins "Whoever'),
    ('openings', 'a.md', '- **Who** does it', 'begins "Who'),
    ('openings', 'a.md', '## What is it', 'begins "What'),
    ('openings', 'a.md', '| a | What b |', 'begins "What'),
    ('openings', 'a.md', 'The rule\nWho', None),
    ('openings', 'man/a.3', '.Pp\nWhat is', 'begins "What'),
    ('columns', 'a.md', 'x' * 101, '101 columns'),
    ('columns', 'a.md', 'x' * 100 + '\n| ' + 'x' * 101, None),
    ('columns', 'a/a.c', '/* ---- x ' + '-' * 90 + ' */', 'columns'),
    ('columns', 'a/a.c', '/* ---- x -----\n */', 'next line'),
    ('columns', 'a/a.c', '/* ---- x ----- */', None),
    ('columns', 'a/a.c', 'int a;\n\t/* x\n\t */', 'a/a.c:3: a line with nothing'),
    ('columns', 'a/a.c', '/*\n * x\n */\n/* x\n * y */', None),
]
PRESENT = {'daemon/there.h': 'int is_there(void);\n', 'docs/0001-why.md': '', 'hv/hv.h': ''}


def case_breaches(check, path, text):
    return with_files({**PRESENT, path: text}, lambda root: CHECKS[check](Tree(root), [path]))


def main():
    if sys.argv[1:] == ['selftest']:
        report(wrong_cases(CASES, case_breaches))
    if len(sys.argv) < 3 or sys.argv[1] not in CHECKS:
        sys.exit(__doc__)
    report(CHECKS[sys.argv[1]](Tree(sys.argv[2]), sys.argv[3:]))


main()
