#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the manual pages of programs and files to the tables that parse what users say to them.

    check-usage.py options|commands|keys|statuses ROOT
    check-usage.py selftest

options   A program's page has its options, by "Fl", and no others.
commands  The pages of msgctl, msgio and xen-sim have their commands, by "It Cm".
keys      So with the keys of msgd.conf and of rules; msgd.conf(5) and units/msgd.conf have the same
          default of each limit. (daemon-config compares those of units/msgd.conf with the code's.)
statuses  The page of msgctl has an exit status for each command that has one of its own.

Exit 1 and a line for each breach, else 0.
"""
import re
import sys

sys.dont_write_bytecode = True  # the tree stays as it is
from tree import run, text_of, with_files, wrong_cases  # pylint: disable=wrong-import-position

# An entry of a table of options: argp's, which may be hidden, or getopt's.
LONG = r'^\t+\{"([a-z-]+)", (?:OPTION_(?!HIDDEN)|(?:no|required|optional)_argument)(?![^}]*OPTION_HIDDEN)'
SHORT = r"^\t\{NULL, '(\w)'"
PAGES = {
    'man/msgd.8': 'daemon/options.c',
    'man/msgctl.8': 'msgctl/main.c',
    'man/msgio.1': 'msgio/options/options.c',
    'man/msg-agent.8': 'agent/main.c',
    'man/msg-exporter.8': 'exporter/main.c',
    'man/xen-sim.8': 'hv/sim/toolstack/tool.c',
}
ALWAYS = {'version', 'help'}
COMMANDS = {
    'man/msgctl.8': ('msgctl/command.c', r'^\t\{"([a-z -]+)", "'),
    'man/msgio.1': ('msgio/options/options.c', r'^\t\{"([a-z]+)", COMMAND_'),
    'man/xen-sim.8': ('hv/sim/toolstack/tool-main.c', r'^\t\{"([a-z]+)",'),
}
BROKER_KEY = r'^\t\{"([a-z-]+)", \.(?:offset|set) = '


def compare(page, what, code, shown):
    return ['%s: lacks %s %s' % (page, what, name) for name in sorted(code - shown)] + \
        ['%s: there is no %s %s' % (page, what, name) for name in sorted(shown - code)]


def section(page, title):
    match = re.search(r'^\.Sh %s\n(.*?)(?=^\.Sh |\Z)' % title, page, re.M | re.S)
    return match[1] if match else ''


def check_options(root):
    breaches = []
    for path, source in PAGES.items():
        page, code = text_of(root, path), text_of(root, source)
        breaches += compare(path, 'option', set(re.findall(LONG, code, re.M)) | ALWAYS,
                            set(re.findall(r'\bFl Fl ([a-z-]+)', page)))
        breaches += compare(path, 'option', set(re.findall(SHORT, code, re.M)),
                            set(re.findall(r'^\.It Fl (?!Fl)(\w)\b', page, re.M)))
    return breaches


def items_of(text):
    """The commands of items: the words behind Cm, up to arguments. An item may have several, with commas."""
    parts = [part for item in re.findall(r'^\.It Cm (.*)', text, re.M) for part in item.split(' , ')]
    return {re.match(r'[a-z -]*', re.split(r' [A-Z]', part)[0])[0].strip() for part in parts}


def check_commands(root):
    breaches = []
    for path, (source, pattern) in COMMANDS.items():
        code = set(re.findall(pattern, text_of(root, source), re.M))
        # the first list of the description, and lists in it
        text = section(text_of(root, path), 'DESCRIPTION').split('options are:')[0]
        shown = items_of(text)
        breaches += ['%s: lacks command %s' % (path, name) for name in sorted(code)
                     if not any(s == name or s.startswith(name + ' ') for s in shown)]
    return breaches


def check_keys(root):
    breaches = []
    page, code = text_of(root, 'man/msgd.conf.5'), text_of(root, 'daemon/config.c')
    limits = set(re.findall(r'^\tLIMIT\("([a-z-]+)"', code, re.M))
    broker = set(re.findall(BROKER_KEY, code, re.M))
    shown = dict(re.findall(r'^\.It Cm ([a-z-]+) Ta (\d+) Ta', page, re.M))
    file = dict(re.findall(r'^#([a-z-]+) = (\d+)$', text_of(root, 'units/msgd.conf'), re.M))
    breaches += compare('man/msgd.conf.5', 'key', broker, set(re.findall(r'^\.It Cm ([a-z-]+)$', page, re.M)))
    breaches += compare('man/msgd.conf.5', 'limit', limits, set(shown))
    breaches += ['%s is %s in msgd.conf(5), %s in units/msgd.conf' % (name, shown[name], file.get(name))
                 for name in sorted(shown) if shown[name] != file.get(name)]
    keys = set(re.findall(r'^\t\{"([a-z-]+)", \w+_parse', text_of(root, 'daemon/policy/keys.c'), re.M))
    page = text_of(root, 'man/msgd.policy.5')
    breaches += compare('man/msgd.policy.5', 'key', keys, set(re.findall(r'^\.It Cm ([a-z-]+) Ns = ', page, re.M)))
    return breaches


def check_statuses(root):
    status = section(text_of(root, 'man/msgctl.8'), 'EXIT STATUS')
    entries = re.findall(r'^\t\{("[a-z -]+".*?)\},$', text_of(root, 'msgctl/command.c'), re.M | re.S)
    own = [re.match(r'"([a-z -]+)"', e)[1] for e in entries if re.search(r'\.(?:status|local|follow) =', e)]
    return ['man/msgctl.8: no exit status of %s' % name for name in own
            if not re.search(r'^\.(?:Cm|Ic) %s\b' % name, status, re.M)] + ['no command'] * (not own)


CHECKS = {'options': check_options, 'commands': check_commands, 'keys': check_keys, 'statuses': check_statuses}

# ---- selftest -----------------------------------------------------------------------------------

SELF_OPTIONS = '\t{"hv", OPTION_HV, "S", 0, "x"},\n\t{"n", OPTION_N, "N", OPTION_HIDDEN, NULL},\n'
SELF_FLAGS = '.Fl Fl version | Fl Fl help\n.It Fl Fl hv Ns = Ns Ar S\n'
HAD = {source: SELF_OPTIONS for source in PAGES.values()}
HAD.update({path: SELF_FLAGS for path in PAGES})
HAD.update({
    'man/msgctl.8': SELF_FLAGS + '.It Fl n Ar N\n.Sh DESCRIPTION\n.It Cm status\n.It Cm block , unblock\n'
                                 '.It Cm policy test Oo Fl Fl hv Oc\n.Sh EXIT STATUS\n.Cm policy test\n',
    'msgctl/main.c': SELF_OPTIONS + "\t{NULL, 'n', \"N\", 0, \"x\", 0},\n",
    'msgctl/command.c': '\t{"status", "", "x"},\n\t{"block", "", "x"},\n\t{"unblock", "", "x"},\n'
                        '\t{"policy test", "", "x",\n\t\t.status = t},\n',
    'man/xen-sim.8': SELF_FLAGS + '.Sh DESCRIPTION\n.It Cm run\n',
    'hv/sim/toolstack/tool.c': '\t\t{"hv", no_argument, NULL, 1},\n',
    'hv/sim/toolstack/tool-main.c': '\t{"run", f,\n',
    'man/msgd.conf.5': '.It Cm hv\n.It Cm names Ta 12 Ta x\n',
    'units/msgd.conf': '#names = 12\n',
    'daemon/config.c': '\tLIMIT("names", 1)\n\t{"hv", .offset = 0},\n',
    'man/msgd.policy.5': '.It Cm log Ns = Ns Cm yes\n',
    'daemon/policy/keys.c': '\t{"log", log_parse},\n',
})
CASES = [(check, 'x', '', None) for check in CHECKS] + [
    ('options', 'daemon/options.c', '', 'there is no option hv'),
    ('options', 'man/xen-sim.8', '.Fl Fl version | Fl Fl help\n', 'man/xen-sim.8: lacks option hv'),
    ('options', 'msgctl/main.c', SELF_OPTIONS, 'there is no option n'),
    ('commands', 'msgctl/command.c', '\t{"stat", "", "x"},\n', 'lacks command stat'),
    ('commands', 'hv/sim/toolstack/tool-main.c', '\t{"tag", f,\n', 'man/xen-sim.8: lacks command tag'),
    ('keys', 'units/msgd.conf', '#names = 13\n', 'names is 12 in msgd.conf(5), 13'),
    ('keys', 'daemon/config.c', '\tLIMIT("names", 1)\n', 'there is no key hv'),
    ('keys', 'man/msgd.conf.5', '.It Cm hv\n', 'lacks limit names'),
    ('keys', 'daemon/policy/keys.c', '\t{"log", log_parse},\n\t{"ask", ask_parse},\n', 'lacks key ask'),
    ('statuses', 'msgctl/command.c', '\t{"wait", "", "x", .status = w},\n', 'no exit status of wait'),
]


def case_breaches(check, path, text):
    return with_files({**HAD, path: text}, CHECKS[check])


run(__doc__, CHECKS, lambda: wrong_cases(CASES, case_breaches))
