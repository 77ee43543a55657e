#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds every line of log that a guest or a client can cause to the one limiter (base/log-limit.h).

    check-log.py calls ROOT
    check-log.py selftest

Looks at what msgd, msg-agent, libmsg, msgio and xen-sim are made of. A call that writes to the log, or to
standard error or output, must be one of those below, each with the reason for which no guest and no
client can cause lines without end by it. All others go through domain_log, broker_log_about,
server_log, admin_log, agent_log or loop_log, which ask the limiter. Exit 1 and a line for each breach, else 0.
"""
import re
import sys

sys.dont_write_bytecode = True  # the tree stays as it is
from tree import files_of, line_at, run, text_of, with_files, wrong_cases  # pylint: disable=wrong-import-position

FOLDERS = ('base/', 'proto/', 'hv/', 'libmsg/', 'agent/', 'daemon/', 'msgio/')

WRITES = re.compile(
    r'\b(?:log_(?:write|record|error|warning|notice)|broker_log|put_line|ops->log|perror|v?syslog|sd_journal_\w+|'
    r'v?warnx?|v?errx?|v?printf|v?dprintf|puts|putchar|error|psignal|backtrace_symbols_fd)\s*\(|'
    r'\b(?:stderr|stdout|STDERR_FILENO|STDOUT_FILENO)\b')
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*', re.S)
# The first line of a function: behind its attributes, its name is the last one before a parenthesis.
HEAD = re.compile(r'^[A-Za-z_][^\n]*?(\w+)\((?![^\n]*\w\((?!\*))', re.M)
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')

START = 'once, at the start or at the end of the program'
# (file, function): (number of places, why no guest and no client can make more than a few lines by it).
MAY_WRITE = {
    # the log itself
    ('base/log.c', 'stderr_is_journal'): (1, 'writes nothing'),
    ('base/log.c', 'log_open_fd'): (2, 'writes nothing'),
    ('base/log.c', 'log_write'): (1, 'the log itself: its callers are what this test looks at'),
    ('base/log.h', 'log_record'): (6, 'likewise'),
    # the limiter's far side
    ('daemon/broker/broker.c', 'broker_put_line'): (1, 'the way of every line; its callers are below'),
    ('base/log-limit.c', 'put_about_lines'): (1, 'of a line that log_judge has let through'),
    ('base/log-limit.c', 'log_limited'): (1, 'asks the limiter, and pays for each line'),
    ('daemon/shell/server.c', 'on_log'): (1, "the way of the broker's lines, whose limiter has judged them"),
    ('daemon/admin/socket.c', 'admin_log'): (1, "the way to server_log, by admin/answer.c's on_log"),
    ('agent/agent.c', 'agent_put_line'): (1, 'of a line that log_judge has let through'),
    ('agent/main.c', 'on_log'): (1, "the way of the agent's lines, whose limiter has judged them"),
    # msgd
    ('daemon/broker/announce.c', 'broker_recover'): (1, START),
    ('daemon/broker/announce.c', 'recovery_end'): (1, 'once after each start'),
    ('daemon/shell/server.c', 'server_error'): (1, 'once: the loop ends'),
    ('daemon/main.c', 'sockets_check'): (1, START),
    ('daemon/main.c', 'socket_get'): (1, START),
    ('daemon/main.c', 'on_stop'): (1, 'once: the loop ends'),
    ('daemon/main.c', 'on_libevent_log'): (1, 'once: libevent ends the program behind it'),
    ('daemon/main.c', 'msgd_lock'): (3, START),
    ('daemon/main.c', 'msgd_open_hv'): (3, START),
    ('daemon/main.c', 'msgd_start'): (4, START),
    ('daemon/main.c', 'log_report'): (2, START),
    ('daemon/main.c', 'main'): (1, START),
    ('daemon/sim-start.c', 'sim_become'): (5, "writes nothing: makes xen-sim's descriptors"),
    ('daemon/sim-start.c', 'sim_log_copy'): (1, START),
    ('daemon/shell/program.c', 'spawn'): (3, "writes nothing: makes a program's descriptors"),
    ('daemon/shell/program.c', 'pipe_new'): (1, 'writes nothing, likewise'),
    # msg-agent
    ('agent/main.c', 'fail'): (1, START + ', since all its callers end it'),
    ('agent/main.c', 'daemon_start'): (1, START),
    ('agent/main.c', 'on_libevent_log'): (1, 'once: libevent ends the program behind it'),
    # libmsg
    ('libmsg/api/misuse.c', 'misuse'): (1, 'once: it ends the application, whose own stderr it is'),
    # msgio
    ('msgio/loop.c', 'put_line'): (1, 'of a line that log_judge has let through'),
    ('msgio/loop.c', 'loop_init'): (1, START),
    ('msgio/loop.c', 'loop_open_ctx'): (2, START),
    ('msgio/activator.c', 'activator_new'): (1, START),
    ('msgio/door.c', 'listen_channel'): (1, START),
    ('msgio/door.c', 'listen_socket'): (1, START),
    ('msgio/door.c', 'door_new'): (2, START),
    ('msgio/door.c', 'on_listener'): (1, 'once: the name is lost, and the loop ends'),
    ('msgio/program.c', 'become'): (2, 'in the child, for the standard output of an activated program'),
    ('msgio/serve.c', 'serve_door'): (2, START),
    ('msgio/serve.c', 'serve_start'): (2, START),
    ('msgio/service.c', 'check_program'): (1, START),
    ('msgio/service.c', 'out_of_memory'): (1, START),
    ('msgio/service.c', 'service_parts'): (1, START),
    ('msgio/talk.c', 'with_ctx'): (1, START),
    ('msgio/talk.c', 'converse'): (2, START),
    ('msgio/talk.c', 'failed'): (1, START),
    ('msgio/talk.c', 'broken'): (1, START),
    ('msgio/talk.c', 'status'): (1, START),
    ('msgio/stdio-end.c', 'stdout_prepare'): (4, 'writes nothing: looks at the descriptor'),
    ('msgio/stdio-end.c', 'stdio_end_new'): (1, 'writes nothing: hands the descriptor on'),
    ('msgio/program.c', 'program_start'): (1, "writes nothing: it becomes the program's"),
    ('msgio/main.c', 'open_standard'): (1, 'writes nothing: compares numbers'),
    # xen-sim: a development tool; it isolates nobody, and its log is a file
    ('hv/sim/toolstack/server.c', 'look_for_corruption'): (1, 'once: the loop ends'),
    ('hv/sim/toolstack/server.c', 'on_accepted'): (1, 'once for each time that its own descriptors run out'),
    ('hv/sim/toolstack/authority.c', 'authority_stuck'):
        (3, 'after LOCK_REPORT_MS of standstill, at which nobody else writes either; and as it kills'),
    ('hv/sim/process/client.c', 'client_stuck'): (1, 'likewise, by an application whose own stderr it is'),
}
# xen-sim's commands speak to the person that calls them; the emulator in one thread is for tests.
NOT_LOOKED_AT = re.compile(r'hv/sim/toolstack/tool(-\w+)?\.[ch]$|hv/sim/testing/')


def blank(match):
    return re.sub(r'[^\n]', ' ', match[0])


def writes_of(text):
    """(function, line) of each place that writes."""
    text = COMMENT.sub(blank, text)
    text = re.sub(r'^[ \t]*#[ \t]*include[^\n]*', blank, text, flags=re.M)
    text = STRING.sub(blank, text)
    heads = [(m.start(), m[1]) for m in HEAD.finditer(text)]
    found = []
    for match in WRITES.finditer(text):
        line = text.rfind('\n', 0, match.start()) + 1
        if not text[line].isspace() and text[line] != '#':
            continue  # a declaration or a definition of it
        before = [name for start, name in heads if start < match.start()]
        found.append((before[-1] if before else '', line_at(text, match.start())))
    return found


def check_calls(root, may_write=None):
    may_write = MAY_WRITE if may_write is None else may_write
    breaches, seen = [], {}
    for path in files_of(root):
        if not path.startswith(FOLDERS) or not path.endswith(('.c', '.h')) or NOT_LOOKED_AT.match(path):
            continue
        for function, line in writes_of(text_of(root, path)):
            seen.setdefault((path, function), []).append(line)
    for place, lines in sorted(seen.items()):
        path, function = place
        allowed = may_write.get(place, (0, ''))[0]
        if len(lines) > allowed:
            breaches.append('%s:%d: %s writes to the log past the limiter: %d places, of which %d may' % (
                path, lines[-1], function or 'the file', len(lines), allowed))
    for place, (number, _) in sorted(may_write.items()):
        if len(seen.get(place, [])) < number:
            breaches.append('%s: %s has not the %d places that check-log.py lists' % (*place, number))
    return breaches


LISTED = {('daemon/a.c', 'start'): (1, 'once')}
GOOD = 'static void start(void)\n{\n\tlog_error("x");\n}\n'
CASES = [
    ('calls', 'daemon/a.c', GOOD, None),
    ('calls', 'daemon/a.c', GOOD + 'static void other(int a,\n\tint b)\n{\n\tlog_error("x");\n}\n', 'other writes'),
    ('calls', 'daemon/a.c', GOOD.replace('log_error("x");', 'log_error("x");\n\tlog_notice("y");'), '2 places, of which 1'),
    ('calls', 'daemon/a.c', GOOD.replace('log_error("x");', ';'), 'has not the 1 places'),
    ('calls', 'daemon/a.c', GOOD.replace('"x"', '"stderr printf("') + '/* log_error(x) */\n', None),
    ('calls', 'daemon/a.c', GOOD + 'void f(void)\n{\n\t(void)fprintf(stderr, "x");\n}\n', 'f writes'),
    ('calls', 'daemon/a.c', GOOD + '__attribute__((format(printf, 1, 2))) void f(const char *a)\n{\n\tperror(a);\n}\n', 'f writes'),
    ('calls', 'daemon/a.c', GOOD + 'void f(void)\n{\n\tdomain_log(d, LOG_INFO, "x");\n\tserver_log(s, "y");\n}\n', None),
    ('calls', 'daemon/a.c', GOOD + 'void f(void)\n{\n\tbroker_log(b, LOG_INFO, "x");\n}\n', 'f writes'),
    ('calls', 'daemon/a.c', GOOD + 'void f(void)\n{\n\tthing->ops->log(b, "x");\n}\n', 'f writes'),
    ('calls', 'msgctl/a.c', GOOD, 'has not the 1 places'),
]


def case_breaches(check, path, text):
    return with_files({path: text}, lambda root: check_calls(root, LISTED))


run(__doc__, {'calls': check_calls}, lambda: wrong_cases(CASES, case_breaches))
