#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients of the admin socket over restarts of msgd, by a service manager that keeps descriptors.

    admin-kept.py BUILD-DIRECTORY

This program is the service manager: it has the admin socket, starts msgd with it, keeps what msgd
hands over, and gives it to the next one, as systemd does.
"""
import array
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True  # the tree stays as it is
from results import end, failed, result  # pylint: disable=wrong-import-position

BUILD = os.path.abspath(sys.argv[1])
LIMIT_S = 60


def check(what, good, said=''):
    result(good, what if good else '%s %s' % (what, said))


def eventually(what, condition):
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            check(what, False, 'not within %d s' % LIMIT_S)
            return
        time.sleep(0.02)
    check(what, True)


class Manager:
    """msgd's service manager, and its emulated Xen."""

    def __init__(self, directory):
        self.xen = os.path.join(directory, 'xen')
        self.path = os.path.join(directory, 'admin')
        self.log = os.path.join(directory, 'msgd.log')
        self.policy = os.path.join(directory, 'test.policy')
        with open(self.policy, 'w', encoding='ascii') as file:
            file.write('allow listen * on any\nallow connect * from any to any\n')
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        self.listening.listen(200)
        notify = os.path.join(directory, 'notify')
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(notify)
        self.lock = threading.Lock()
        threading.Thread(target=self.hear, daemon=True).start()
        self.environ = dict(os.environ, NOTIFY_SOCKET=notify)
        self.store = {}
        self.processes = []
        self.most = 0
        self.ready = self.ended = False
        self.pid = 0

    def start(self):
        names, fds = ['msgd-admin.socket'], [self.listening.fileno()]
        for name, kept in self.store.items():
            names += [name] * len(kept)
            fds += kept
        self.ready = False
        self.pid = os.fork()
        if self.pid == 0:
            # Above all numbers that are given.
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3 + len(fds)) for fd in fds]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 2)
            self.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)),
                                LISTEN_FDNAMES=':'.join(names))
            os.execve(BUILD + '/daemon/msgd', ['msgd', '--hv=sim:' + self.xen, '--policy=' + self.policy],
                      self.environ)
        eventually('msgd is ready', lambda: self.ready)

    def hear(self):
        """Takes msgd's notifications."""
        while True:
            text, ancillary, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(64))
            with self.lock:
                self.heard(text, ancillary)

    def heard(self, text, ancillary):
        fds = array.array('i')
        for _, _, data in ancillary:
            fds.frombytes(data)
        words = dict(line.split('=', 1) for line in text.decode().splitlines())
        if 'FDSTORE' in words:
            self.store.setdefault(words['FDNAME'], []).extend(fds)
        if 'FDSTOREREMOVE' in words:
            for fd in self.store.pop(words['FDNAME'], []):
                os.close(fd)
        self.ready |= 'READY' in words
        self.ended |= 'ENDED' in words
        self.most = max(self.most, sum(len(kept) for kept in self.store.values()))

    def end(self, number):
        """All that it has said was heard, too."""
        self.ended = False
        os.kill(self.pid, number)
        os.waitpid(self.pid, 0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b'ENDED=1', self.environ['NOTIFY_SOCKET'])
        eventually('msgd has ended', lambda: self.ended)

    def restart(self, number=signal.SIGTERM):
        self.end(number)
        self.start()

    def stores(self, n):
        with self.lock:
            return len(self.store) == n

    def run(self, domain, *command):
        """A process of a domain, in a group of its own."""
        process = subprocess.Popen([BUILD + '/hv/sim/xen-sim', self.xen, 'run', domain, '--', *command],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   start_new_session=True)
        self.processes.append(process)
        return process

    def ctl(self, *words):
        return subprocess.Popen([BUILD + '/msgctl/msgctl', '--socket=' + self.path, *words],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def answers(self, *words):
        out, _ = self.ctl(*words).communicate(timeout=LIMIT_S)
        return out


class Client:
    def __init__(self, manager, **request):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT_S)
        self.sock.connect(manager.path)
        self.stream = self.sock.makefile()
        if request:
            self.say(json.dumps(request) + '\n')

    def say(self, text):
        try:
            self.sock.sendall(text.encode())
        except BrokenPipeError:  # it was refused: the answer says so
            pass

    def is_refused(self):
        self.sock.setblocking(False)
        try:
            return b'too many' in self.sock.recv(200)
        except BlockingIOError:
            return False

    def close(self):
        self.stream.close()
        self.sock.close()

    def line(self):
        line = self.stream.readline()
        return json.loads(line) if line else None


def guests(manager, name):
    """An application of web that listens on the name."""
    server = manager.run('web', BUILD + '/examples/echo-server', name)
    eventually('web/%s is there' % name, lambda: name in manager.answers('names'))
    return server


def signal_group(process, number):
    os.killpg(process.pid, number)


def test(manager):
    manager.start()
    server = guests(manager, 'echo')
    monitor = Client(manager, op='monitor', n=1)
    check('monitor begins with an event', 'serial' in monitor.line())
    wait = Client(manager, op='wait', domain='web', name='late', timeout_ms=600000)
    waiting = manager.ctl('wait', 'web/late', '--timeout=600')
    eventually('three are kept while they wait', lambda: manager.stores(3))
    half = Client(manager)
    half.say('{"op":"sta')
    idle = Client(manager)
    check('they are served', 'pid' in manager.answers('status'))

    former = manager.pid
    manager.restart()
    check('another msgd', manager.pid != former)
    check('monitor is told', monitor.line() == {'restarted': True})
    half.say('tus"}\n')
    check('half a line is kept', half.line().get('pid') == manager.pid)
    idle.say('{"op":"status"}\n')
    check('an idle client is kept', idle.line().get('pid') == manager.pid)
    eventually('those that wait are kept by this msgd as well', lambda: manager.stores(3))

    # However it ends.
    manager.restart(signal.SIGKILL)
    line = monitor.line()
    while 'restarted' not in line:
        line = monitor.line()
    check('monitor is told after a crash', line == {'restarted': True})
    manager.answers('reload')
    line = monitor.line()
    while line.get('kind') != 'reload' and 'restarted' not in line:
        line = monitor.line()
    check('once', line.get('kind') == 'reload', line)
    # Both have gone with the second msgd: they did not wait.
    check('an idle client ends with a crash', idle.line() is None and half.line() is None)

    guests(manager, 'late')
    check('wait is answered', wait.line().get('found') is True)
    out, _ = waiting.communicate(timeout=LIMIT_S)
    check('msgctl wait is answered', waiting.returncode == 0, out)
    eventually('only the monitor is kept', lambda: manager.stores(1))

    # An application that is stopped cannot confirm: the administrator waits, and so does the next msgd.
    signal_group(server, signal.SIGSTOP)
    quiesce = manager.ctl('quiesce', 'web', '--timeout=600')
    eventually('quiesce is kept', lambda: manager.stores(2))
    manager.restart()
    eventually('and again', lambda: manager.stores(2))
    check('quiesce goes on', quiesce.poll() is None, quiesce.poll() is not None and quiesce.communicate()[0])
    signal_group(server, signal.SIGCONT)
    out, _ = quiesce.communicate(timeout=LIMIT_S)
    check('quiesce is answered', quiesce.returncode == 0, out)
    manager.answers('resume', 'web')

    # A request's time limit counts from when it was first asked.
    brief = Client(manager, op='wait', domain='web', name='never', timeout_ms=1000)
    eventually('it is kept', lambda: manager.stores(2))
    manager.end(signal.SIGTERM)
    time.sleep(1.1)
    manager.start()
    check('its time has passed meanwhile', brief.line().get('found') is False)

    # One that goes, while msgd is there and while it is away.
    brief = Client(manager, op='wait', domain='web', name='never', timeout_ms=600000)
    away = Client(manager, op='wait', domain='web', name='never', timeout_ms=600000)
    eventually('both are kept', lambda: manager.stores(3))
    brief.close()
    eventually('one that goes is kept no more', lambda: manager.stores(2))
    manager.end(signal.SIGTERM)
    away.close()
    manager.start()
    eventually('nor is one that goes meanwhile', lambda: manager.stores(1))

    # These have had their answers.
    for client in wait, idle, half:
        client.close()
    # A user has 16 places, in this msgd as in that: no more is ever kept.
    many = []

    def another():
        many.append(Client(manager, op='wait', domain='web', name='never', timeout_ms=600000))
        return manager.stores(16)
    eventually('as many as have places are kept', another)
    for _ in range(4):
        another()
    manager.restart()
    eventually('and again', lambda: manager.stores(16))
    check('two descriptors for each', manager.most == 32, manager.most)
    refused = [client for client in many if client.is_refused()]
    check('others were refused', len(refused) == len(many) - 15, len(refused))
    for client in many:
        client.close()
    eventually('all are gone', lambda: manager.stores(1))

    # Without a request that was begun, what was kept says nothing that is believed.
    monitor.close()
    eventually('nobody is kept', lambda: manager.stores(0))
    mine, theirs = socket.socketpair(socket.AF_UNIX)
    bad = os.memfd_create('bad')
    os.write(bad, b'msgd-kept-1 0 7 4096\n{"op":"status"}\n')
    manager.end(signal.SIGTERM)
    manager.store['admin-1'] = [theirs.detach(), bad]
    manager.start()
    mine.settimeout(LIMIT_S)
    check('a file that is none is refused', mine.recv(100) == b'')
    with open(manager.log, encoding='utf-8') as file:
        check('and the log says so', 'what was kept of it' in file.read())
    manager.end(signal.SIGTERM)


with tempfile.TemporaryDirectory(prefix='msgd-kept') as work:
    msgd = Manager(work)
    try:
        test(msgd)
    finally:
        for child in msgd.processes:
            signal_group(child, signal.SIGCONT)
            signal_group(child, signal.SIGTERM)
            child.wait()
        subprocess.run([BUILD + '/hv/sim/xen-sim', msgd.xen, 'shutdown'], check=False)
        if failed() and os.path.exists(msgd.log):
            with open(msgd.log, encoding='utf-8') as lines:
                print(lines.read())
end()
