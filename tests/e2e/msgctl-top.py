#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""msgctl top on a terminal: keys, sizes, msgd's end and return, and what is left of the terminal.

    msgctl-top.py MSGCTL HV MSGD-PID

There is a domain t-source that sends all the time, and a domain web that does nothing. msgd is
killed and started again.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pyte

MSGCTL, HV, MSGD = sys.argv[1], sys.argv[2], int(sys.argv[3])
LIMIT_S = 60


class Terminal:
    """A msgctl that runs in a pseudo terminal, and the screen as a terminal shows it."""

    def __init__(self, *words, rows=24, columns=110, leads=True, **environment):
        self.main, self.other = pty.openpty()
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.output = b''
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.other)
        self.program = subprocess.Popen(
            [MSGCTL, '--hv=' + HV, 'top', *words], stdin=self.other, stdout=self.other, stderr=self.other,
            preexec_fn=self.lead if leads else os.setsid, env={**os.environ, 'TERM': 'xterm', 'LC_ALL': 'C.UTF-8', **environment})

    def lead(self):
        os.setsid()
        fcntl.ioctl(self.other, termios.TIOCSCTTY, 0)

    def resize(self, rows, columns):
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def type(self, text):
        os.write(self.main, text.encode())

    def read(self, seconds):
        """Waits so long for output, and takes it."""
        if select.select([self.main], [], [], seconds)[0]:
            data = os.read(self.main, 65536)
            self.output += data
            self.stream.feed(data)

    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    def until(self, what, holds):
        """The lines, once this is true of them."""
        end = time.monotonic() + LIMIT_S
        while not holds(self.lines()):
            if time.monotonic() > end or self.program.poll() is not None:
                sys.exit('never: %s (%s); the screen:\n%s' % (what, self.program.poll(), '\n'.join(self.lines())))
            self.read(0.05)
        return self.lines()

    def says(self, pattern):
        return self.until(pattern, lambda lines: any(re.search(pattern, line) for line in lines))

    def ended(self, what, status):
        end = time.monotonic() + LIMIT_S
        while self.program.poll() is None and time.monotonic() < end:
            self.read(0.05)
        self.read(0)
        must(self.program.poll() == status, '%s: status %s, not %s' % (what, self.program.poll(), status))
        self.is_restored(what)

    def is_restored(self, what):
        must(termios.tcgetattr(self.other) == self.before, what + ': the terminal has other settings')
        must(self.output.rindex(b'\x1b[?1049l') > self.output.rindex(b'\x1b[?1049h'), what + ': the other screen')
        must(b'\x1b[?25h' in self.output[self.output.rindex(b'\x1b[?25l'):], what + ': no cursor')


def must(good, what):
    if not good:
        sys.exit(what)


def table(lines):
    """The rows: those below the heads."""
    heads = [i for i, line in enumerate(lines) if re.search(r'SENT/s', line) and ' by ' not in line]
    return [line for line in lines[heads[0] + 1:] if line] if heads else []


def busiest_is(word):
    return lambda lines: table(lines) and re.search(word, table(lines)[0]) and \
        re.search(r'\d[KMG] ', table(lines)[0])


def keys():
    top = Terminal('-i', '0.3')
    top.says('^msgd .* pid %d up .* domains' % MSGD)
    top.says(r'^domains by SENT/s, of all domains, every 0\.3 s')
    top.until('t-source first', busiest_is('t-source'))
    top.type('r')
    top.says('by SENT/s, reversed')
    top.until('t-source is not first', lambda lines: table(lines) and 't-source' not in table(lines)[0])
    top.type('r>')
    top.says('by RECEIVED/s,')
    top.until('t-sink first', busiest_is('t-sink'))
    top.type('\x1bOD')
    top.says('by SENT/s,')
    top.until('t-source first again', busiest_is('t-source'))
    top.type('\t')
    top.says('^applications by SENT/s')
    top.until('its application', busiest_is('t-source .* peer'))
    for letter, view in ('N', 'names'), ('L', 'links'), ('C', 'channels'):
        top.type(letter)
        top.says('^%s by SENT/s' % view)
        top.until('rows of ' + view, lambda lines: len(table(lines)) >= 1)
    top.until('the channel', busiest_is('t-source'))
    top.type('D/wex\x7fb\r')
    top.says('of domain web,')
    top.until('only web', lambda lines: len(table(lines)) == 1 and ' web ' in table(lines)[0])
    top.type('/domid:x\r')
    top.says('^msgd: a domain is a name')
    top.type('/\r')
    top.says('of all domains,')
    top.until('all', lambda lines: len(table(lines)) >= 3)
    top.type('d7.5\r')
    top.says(r'every 7\.5 s')
    top.type('d0.01\r')
    top.says('an interval is 0.1 to 3600 seconds')
    top.type('?')
    top.says('^q  *quit')
    top.type(' ')
    top.says('^domains by SENT/s')
    top.type('q')
    top.ended('q', 0)


def sizes():
    top = Terminal('-i', '0.2', 'domains')
    top.until('t-source', busiest_is('t-source'))
    top.resize(7, 40)
    top.until('few rows', lambda lines: len(table(lines)) == 2 and lines[0].startswith('msgd '))
    top.type('\x1bOF')
    top.until('the last row', lambda lines: len(table(lines)) == 2 and 't-source' not in table(lines)[0])
    for rows, columns in (1, 1), (3, 200), (2, 2), (30, 120):
        top.resize(rows, columns)
        for _ in range(5):
            top.read(0.1)
    top.until('all rows', lambda lines: len(table(lines)) >= 3)
    must(top.output.count(b'\x1b[?1049h') == 1, 'the screen was begun again')
    top.type('q')
    top.ended('q after sizes', 0)


def no_flicker():
    """Nothing but what differs is sent: idle rows are few bytes, and the screen is cleared once."""
    top = Terminal('-i', '0.2', '--domain=web')
    top.until('web', lambda lines: len(table(lines)) == 1)
    top.read(0.5)
    start = len(top.output)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        top.read(0.1)
    sent = top.output[start:]
    must(b'\x1b[2J' not in sent and b'\x1b[H\x1b[J' not in sent, 'the screen was cleared: %r' % sent)
    must(len(sent) < 2000, '%d bytes in two seconds' % len(sent))
    top.type('q')
    top.ended('q', 0)


def signals():
    for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1:
        top = Terminal()
        top.says('^domains by')
        top.program.send_signal(number)
        top.ended(number.name, -number)
    top = Terminal('-i', '0.2')
    top.says('^domains by')
    top.type('\x03')
    top.ended('^C', -signal.SIGINT)
    top = Terminal('-i', '0.2')
    top.says('^domains by')
    top.type('\x1a')
    while os.waitid(os.P_PID, top.program.pid, os.WSTOPPED | os.WNOWAIT | os.WNOHANG) is None:
        top.read(0.05)
    top.read(0)
    top.is_restored('^Z')
    top.screen.reset()
    top.program.send_signal(signal.SIGCONT)
    top.says('^domains by')
    top.type('q')
    top.ended('q after ^Z', 0)
    # Its terminal goes away: with SIGHUP, and without.
    for leads, status in (True, -signal.SIGHUP), (False, 1):
        top = Terminal('-i', '0.2', leads=leads)
        top.says('^domains by')
        os.close(top.other)
        os.close(top.main)
        must(top.program.wait(LIMIT_S) == status, 'without its terminal: %s' % top.program.returncode)


def colours():
    red = b'\x1b[31m'
    for environment, wanted in ({}, True), ({'NO_COLOR': '1'}, False):
        top = Terminal('-i', '0.2', **environment)
        top.says('^domains by')
        top.type('d0\r')
        top.says('an interval is')
        must((red in top.output) == wanted, 'red: %s' % environment)
        top.type('q')
        top.ended('q', 0)


def msgd_lives():
    """msgd stands still, dies, and another one serves: keys work meanwhile, and the rates begin anew."""
    with open('/proc/%d/cmdline' % MSGD, 'rb') as file:
        command = file.read().split(b'\0')[:-1]
    top = Terminal('-i', '0.2')
    top.until('t-source', busiest_is('t-source'))
    os.kill(MSGD, signal.SIGSTOP)
    top.read(1)
    top.type('h')
    top.says('^q  *quit')
    top.type('hr')
    top.says('reversed')
    top.says('no answer within 5 seconds')
    os.kill(MSGD, signal.SIGCONT)
    top.says('^domains by')
    top.type('r')
    os.kill(MSGD, signal.SIGKILL)
    top.says(r'^no msgd on .*\.msgd \(--hv\)')
    must(table(top.lines()), 'the table is gone')
    with open(os.path.join(os.path.dirname(HV.split(':')[1]), 'msgd.2.log'), 'wb') as log:
        again = subprocess.Popen(command, stdout=log, stderr=log)
    top.says('^msgd was started again')
    top.says('^msgd .* pid %d up ' % again.pid)
    top.until('t-source after all', busiest_is('t-source'))
    top.type('q')
    top.ended('q after msgd', 0)


keys()
sizes()
no_flicker()
signals()
colours()
msgd_lives()
