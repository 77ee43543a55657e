# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of AF_VSOCK, as Python's socket module has it, in two roles.

    vsock-programs.py CASE server|client ARGUMENT...
"""
import errno
import fcntl
import hashlib
import os
import select
import selectors
import signal
import socket
import struct
import sys
import threading

PORT = 5000
TOTAL = 8 << 20


def must(condition, what=''):
    if not condition:
        raise AssertionError(what)


def fails(error, fn, *args):
    try:
        fn(*args)
    except OSError as e:
        must(e.errno == error, '%s, and not %s' % (e, errno.errorcode[error]))
        return
    raise AssertionError('no %s' % errno.errorcode[error])


def vsock(kind=socket.SOCK_STREAM):
    return socket.socket(socket.AF_VSOCK, kind)


def listener(port=PORT, kind=socket.SOCK_STREAM, backlog=16):
    sock = vsock(kind)
    sock.bind((socket.VMADDR_CID_ANY, port))
    sock.listen(backlog)
    return sock


def ready():
    print('ready', flush=True)


def receive_all(sock):
    data = b''
    while True:
        part = sock.recv(65536)
        if not part:
            return data
        data += part


def cid_of_device():
    with open('/dev/vsock', 'rb') as device:
        return struct.unpack('I', fcntl.ioctl(device, socket.IOCTL_VM_SOCKETS_GET_LOCAL_CID, b'    '))[0]


# ---- addresses, and what a socket says of itself -------------------------------------------------

def names_server():
    sock = vsock()
    must(sock.family == socket.AF_VSOCK)
    must(sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_VSOCK)
    must(sock.getsockname() == (socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY), sock.getsockname())
    fails(errno.ENOTCONN, sock.getpeername)
    fails(errno.EINVAL, sock.listen)
    fails(errno.EADDRNOTAVAIL, sock.bind, (3, PORT))
    sock.bind((cid_of_device(), PORT))
    fails(errno.EINVAL, sock.bind, (socket.VMADDR_CID_ANY, PORT))
    must(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0)
    sock.listen()
    must(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1)
    must(sock.getsockname() == (cid_of_device(), PORT))
    fails(errno.EINVAL, sock.connect, (socket.VMADDR_CID_HOST, 1))
    other = vsock()
    other.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
    must(other.getsockname()[1] != socket.VMADDR_PORT_ANY)
    other.close()
    ready()
    conn, peer = sock.accept()
    must(not os.get_inheritable(conn.fileno()))
    must(peer == conn.getpeername() and conn.getsockname() == (cid_of_device(), PORT))
    conn.sendall(struct.pack('II', *peer))
    # A duplicate is the same, and so is what a child has.
    must(conn.dup().getpeername() == peer)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if conn.getpeername() == peer else 1)
    must(os.waitpid(pid, 0)[1] == 0)
    must(receive_all(conn) == b'end')
    for s in socket.socketpair() + (socket.socket(), socket.socket(socket.AF_UNIX)):
        must(s.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == s.family)
        must(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0)
    fails(errno.EINVAL, socket.socket(socket.AF_UNIX).accept)


def names_client(server_cid, own_cid):
    must(cid_of_device() == own_cid)  # before there is a socket
    fails(errno.ESOCKTNOSUPPORT, socket.socket, socket.AF_VSOCK, socket.SOCK_DGRAM)
    sock = vsock()
    fails(errno.EINVAL, sock.connect, (socket.VMADDR_CID_ANY, PORT))
    sock.connect((server_cid, PORT))
    must(sock.getpeername() == (server_cid, PORT))
    must(cid_of_device() == own_cid)
    fails(errno.EISCONN, sock.connect, (server_cid, PORT))
    cid, port = struct.unpack('II', sock.recv(8, socket.MSG_WAITALL))
    must(cid == own_cid and port == sock.getsockname()[1] or port != socket.VMADDR_PORT_ANY)
    must(sock.getsockname()[0] == own_cid)
    sock.sendall(b'end')


# ---- waiting in all ways -------------------------------------------------------------------------

def digest_one(conn):
    digest = hashlib.sha256()
    while True:
        part = conn.recv(65536)
        if not part:
            break
        digest.update(part)
    conn.sendall(digest.hexdigest().encode())
    conn.close()


def waits_server():
    """A selector; the listener is in it before it listens."""
    sock = vsock()
    selector = selectors.EpollSelector()
    selector.register(sock, selectors.EVENT_READ)
    sock.setblocking(False)
    sock.bind((socket.VMADDR_CID_ANY, PORT))
    sock.listen(16)  # as many as connect before one is accepted
    fails(errno.EAGAIN, sock.accept)
    ready()
    for _ in range(7):
        must(selector.select(60), 'no connection')
        conn, _ = sock.accept()
        conn.setblocking(True)
        threading.Thread(target=digest_one, args=(conn,)).start()


def send_and_compare(sock):
    data = os.urandom(TOTAL)
    sock.setblocking(True)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    must(receive_all(sock) == hashlib.sha256(data).hexdigest().encode(), 'another digest')


def connected_by(wait, server_cid):
    """A connect that does not block, with what waits for it."""
    sock = vsock()
    sock.setblocking(False)
    waits = wait(sock)
    fails(errno.EINPROGRESS, sock.connect, (server_cid, PORT))
    waits()
    must(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0)
    must(sock.getpeername() == (server_cid, PORT))
    return sock


def by_epoll(flags):
    def wait(sock):
        epoll = select.epoll()
        epoll.register(sock, flags)
        epoll.poll(0)

        def waits():
            must(epoll.poll(60) == [(sock.fileno(), select.EPOLLOUT)])
        return waits
    return wait


def by_select(sock):
    return lambda: must(select.select([], [sock], [], 60)[1] == [sock])


def by_poll_of_duplicate(sock):
    other = sock.dup()
    poll = select.poll()
    poll.register(other, select.POLLOUT)
    return lambda: must(poll.poll(60000) == [(other.fileno(), select.POLLOUT)])


def waits_client(server_cid, _):
    socks = [connected_by(wait, server_cid) for wait in (
        by_epoll(select.EPOLLOUT), by_epoll(select.EPOLLOUT | select.EPOLLET), by_select, by_poll_of_duplicate)]
    sock = vsock()
    sock.connect((server_cid, PORT))
    socks.append(sock)
    sock = vsock()
    sock.settimeout(60)
    sock.connect((server_cid, PORT))
    socks.append(sock)
    sock = vsock()
    sock.setblocking(False)
    must(sock.connect_ex((server_cid, PORT)) == errno.EINPROGRESS)
    must(sock.connect_ex((server_cid, PORT)) in (errno.EALREADY, errno.EISCONN))
    must(select.select([], [sock], [], 60)[1])
    socks.append(sock)
    for sock in socks:
        send_and_compare(sock)


# ---- messages ------------------------------------------------------------------------------------

def packets_server():
    sock = listener(kind=socket.SOCK_SEQPACKET)
    ready()
    conn, _ = sock.accept()
    must(conn.type == socket.SOCK_SEQPACKET)
    for n in range(1, 300):
        must(len(conn.recv(65536)) == n)
        conn.send(b'x' * n)
    must(conn.recv(10) == b'')


def packets_client(server_cid, _):
    wrong = vsock()
    fails(errno.ECONNRESET, wrong.connect, (server_cid, PORT))
    sock = vsock(socket.SOCK_SEQPACKET)
    sock.connect((server_cid, PORT))
    for n in range(1, 300):
        sock.send(b'y' * n)
    for n in range(1, 300):
        must(len(sock.recv(65536)) == n)


# ---- the end of a process ------------------------------------------------------------------------

# More than one end takes that is not read, and less than both.
MUCH = 700000


def exit_server():
    """Reads nothing before the client has closed and is about to exit."""
    sock = listener()
    sock.setsockopt(socket.AF_VSOCK, socket.SO_VM_SOCKETS_BUFFER_SIZE, 8192)
    ready()
    for _ in range(2):
        conn, _ = sock.accept()
        control, _ = sock.accept()
        must(control.recv(1) == b'c')
        must(len(receive_all(conn)) == MUCH)


def exit_client(server_cid, _):
    """Twice: it closes, or leaves that to the kernel."""
    for closes in True, False:
        pid = os.fork()
        if pid == 0:
            sock, control = vsock(), vsock()
            sock.connect((server_cid, PORT))
            control.connect((server_cid, PORT))
            sock.sendall(b'x' * MUCH)
            if closes:
                sock.close()
            else:
                os.dup(sock.fileno())  # which Python does not close
            control.sendall(b'c')
            sys.exit(0)
        must(os.waitpid(pid, 0)[1] == 0)


# ---- listeners -----------------------------------------------------------------------------------

def bound(port):
    sock = vsock()
    sock.bind((socket.VMADDR_CID_ANY, port))
    return sock


def listeners_server():
    """Names are given back; children accept; a shutdown ends it."""
    for _ in range(20):
        listener().close()
    first = listener()
    fails(errno.EADDRINUSE, vsock().bind, (socket.VMADDR_CID_ANY, PORT))
    # A port is free when its socket is closed, however many are.
    for sock in [bound(PORT + 1 + n) for n in range(100)]:
        sock.close()
    bound(PORT + 100).close()
    # That of a process which has the name, to one that has not: when it listens.
    pid = os.fork()
    if pid == 0:
        sock = bound(PORT)
        fails(errno.EADDRINUSE, sock.listen)
        os._exit(0)
    must(os.waitpid(pid, 0)[1] == 0)
    children = []
    ready()
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            conn, peer = first.accept()
            conn.sendall(conn.recv(100) + b' %d' % peer[0])
            conn.close()
            os._exit(0)
        children.append(pid)
    for pid in children:
        must(os.waitpid(pid, 0)[1] == 0)
    first.shutdown(socket.SHUT_RDWR)
    try:
        while True:  # the client may have been quick
            first.accept()[0].close()
    except OSError as e:
        must(e.errno == errno.EINVAL)
    first.close()  # and with it what it has accepted and nobody took
    second = listener()
    print('again', flush=True)
    second.settimeout(60)
    conn, _ = second.accept()
    must(conn.recv(10) == b'more')
    # A connection that waits, and was never accepted, is closed with the listener.
    conn.sendall(b'.')
    must(conn.recv(10) == b'waits')
    second.close()


def listeners_client(server_cid, own_cid):
    for n in range(3):
        sock = vsock()
        sock.connect((server_cid, PORT))
        sock.sendall(b'%d' % n)
        must(receive_all(sock) == b'%d %d' % (n, own_cid))
    while True:  # the first listener may still take it, and end
        sock = vsock()
        try:
            sock.connect((server_cid, PORT))
            sock.sendall(b'more')
            if sock.recv(1) == b'.':
                break
        except OSError as e:
            must(e.errno in (errno.ECONNRESET, errno.EPIPE))
    waits = vsock()
    waits.connect((server_cid, PORT))
    sock.sendall(b'waits')
    fails(errno.ECONNRESET, waits.recv, 1)


# ---- connections that nobody accepts -------------------------------------------------------------

# More than lie in the socket at once: the others wait in msgd's backlog.
QUEUED = 6
KINDS = socket.SOCK_STREAM, socket.SOCK_SEQPACKET
WAYS = 'close', 'exit', 'kill'


def queued_listen(port, kind, way):
    sock, control = listener(port, kind), listener(port + 1)
    print('ready', flush=True)
    conn, _ = control.accept()
    must(conn.recv(1) == b'q')
    if way == 'kill':
        os.kill(os.getpid(), signal.SIGKILL)
    if way == 'exit':
        sys.exit(0)
    sock.close()
    must(conn.recv(1) == b'')


def queued_each():
    return enumerate((kind, way) for kind in KINDS for way in WAYS)


def queued_server():
    """Each listener is a process of its own."""
    for n, (kind, way) in queued_each():
        pid = os.fork()
        if pid == 0:
            queued_listen(PORT + 2 * n, kind, way)
            sys.exit(0)
        must(os.waitpid(pid, 0)[1] == (signal.SIGKILL if way == 'kill' else 0))


def connect_at_last(address, kind=socket.SOCK_STREAM):
    """Also where nobody listens yet."""
    sock = vsock(kind)
    while sock.connect_ex(address):
        pass
    return sock


def queued_client(server_cid, _):
    """All of them see a reset, whatever they have sent; and none of those that were accepted does."""
    for n, (kind, way) in queued_each():
        socks = [connect_at_last((server_cid, PORT + 2 * n), kind) for _ in range(QUEUED)]
        for sock in socks[::2]:
            sock.sendall(b'unread')
        for sock in socks[1::3]:
            sock.shutdown(socket.SHUT_WR)
        control = connect_at_last((server_cid, PORT + 2 * n + 1))
        control.sendall(b'q')
        for sock in socks:
            fails(errno.ECONNRESET, sock.recv, 1)
        control.close()


# ---- names of other processes' sockets -----------------------------------------------------------

def abstract(name):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(name)
    return sock


def labels_of_kernel():
    with open('/proc/net/unix', encoding='latin-1') as lines:
        return [b'\0' + line.split()[-1][1:].encode() for line in lines if ' @msgd-vsock/' in line]


def cookie_of(sock):
    return struct.unpack('Q', sock.getsockopt(socket.SOL_SOCKET, 57, 8))[0]  # SO_COOKIE


def is_unix(sock, name):
    must(sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_UNIX)
    must(sock.getpeername() == name)


def labels_server():
    """Nobody who connects here, or whom this program connects to, can say that it is of AF_VSOCK."""
    sock = listener()
    ready()
    conn, peer = sock.accept()
    must(conn.getpeername() == peer)
    labels = labels_of_kernel()
    must(labels)
    server = socket.socket(socket.AF_UNIX)
    server.bind('')
    server.listen()
    for n, label in enumerate(labels):
        # Another number at its end: the whole name is taken.
        name = label[:-8] + b'%08x' % (os.getpid() + n)
        client = abstract(name)
        client.connect(server.getsockname())
        is_unix(server.accept()[0], name)
        client.close()
        # One that knows the cookie of the accepted socket.
        client = socket.socket(socket.AF_UNIX)
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        name = b'%s/%016x/%016x' % (label.rsplit(b'/', 2)[0], cookie_of(accepted), os.getpid())
        client.bind(name)
        is_unix(accepted, name)
        client.close()
        with abstract(name) as other:
            other.listen()
            client = socket.socket(socket.AF_UNIX)
            client.connect(name)
            is_unix(client, name)
    conn.sendall(b'done')


def labels_client(server_cid, _):
    sock = connect_at_last((server_cid, PORT))
    must(receive_all(sock) == b'done')


# ---- children ------------------------------------------------------------------------------------

def children_server():
    sock = listener()
    ready()
    for text in b'parent', b'child', b'grandchild':
        conn, _ = sock.accept()
        must(receive_all(conn) == text)


def children_client(server_cid, _):
    """Each has sockets of its own, and an unused one of the parent is of no use."""
    inherited = vsock()

    def send(text):
        sock = vsock()
        sock.connect((server_cid, PORT))
        sock.sendall(text)

    send(b'parent')
    pid = os.fork()
    if pid == 0:
        fails(errno.EINVAL, inherited.connect, (server_cid, PORT))
        send(b'child')
        pid = os.fork()
        if pid == 0:
            send(b'grandchild')
            sys.exit(0)
    must(os.waitpid(pid, 0)[1] == 0)


# ---- many ----------------------------------------------------------------------------------------

MANY = 200


def many_server():
    sock = listener(backlog=4)
    ready()
    conns = [sock.accept()[0] for _ in range(MANY)]
    for conn in conns:
        conn.sendall(conn.recv(4, socket.MSG_WAITALL))
    must(all(conn.recv(1) == b'' for conn in conns))
    for conn in conns:
        conn.close()
    # Nothing is left of them: each was two descriptors.
    while len(os.listdir('/proc/self/fd')) > 40:
        select.select([], [], [], 0.05)


def many_client(server_cid, _):
    """A backlog that is full refuses; sockets that failed may try again."""
    socks = []
    for _ in range(MANY):
        sock = vsock()
        while sock.connect_ex((server_cid, PORT)) == errno.ECONNRESET:
            pass
        sock.getpeername()
        socks.append(sock)
    for n, sock in enumerate(socks):
        sock.sendall(struct.pack('I', n))
    for n, sock in enumerate(socks):
        must(struct.unpack('I', sock.recv(4, socket.MSG_WAITALL))[0] == n)
    # Nor of sockets that were never connected.
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(MANY):
        vsock().close()
    must(len(os.listdir('/proc/self/fd')) < before + 10)


# ---- options -------------------------------------------------------------------------------------

def options_server():
    sock = listener()
    ready()
    conn, _ = sock.accept()
    must(receive_all(conn) == b'options')


def options_client(server_cid, _):
    level = socket.AF_VSOCK
    sock = vsock()
    # Of AF_VSOCK Python passes numbers only.
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=os.dup(sock.fileno()))
    for option in socket.SO_VM_SOCKETS_BUFFER_SIZE, socket.SO_VM_SOCKETS_BUFFER_MIN_SIZE, \
            socket.SO_VM_SOCKETS_BUFFER_MAX_SIZE:
        must(struct.unpack('Q', raw.getsockopt(level, option, 8))[0] > 0)
        sock.setsockopt(level, option, 100000)
        must(sock.getsockopt(level, option) == 100000)
        must(struct.unpack('Q', raw.getsockopt(level, option, 8))[0] == 100000)
        fails(errno.EINVAL, raw.setsockopt, level, option, b'four')
    fails(errno.ENOPROTOOPT, sock.getsockopt, level, 3)
    fails(errno.ENOPROTOOPT, raw.setsockopt, level, 77, b'12345678')
    timeout = 6  # SO_VM_SOCKETS_CONNECT_TIMEOUT
    must(struct.unpack('ll', raw.getsockopt(level, timeout, 16)) == (10, 0))
    fails(errno.ERANGE, raw.setsockopt, level, timeout, struct.pack('ll', 1, 1000000))
    raw.setsockopt(level, timeout, struct.pack('ll', 3, 500000))
    must(struct.unpack('ll', raw.getsockopt(level, timeout, 16)) == (3, 500000))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    raw.setsockopt(level, timeout, struct.pack('ll', 60, 0))
    sock.connect((server_cid, PORT))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    must(raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > 100000)
    raw.close()
    sock.sendall(b'options')
    # The options of other sockets are the kernel's.
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20000)
    must(other.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 40000)


# ---- errors --------------------------------------------------------------------------------------

def refused_server():
    socks = [listener(7)]
    fails(errno.EACCES, listener, 8)
    ready()
    socks[0].accept()


def later_error(address):
    sock = vsock()
    sock.setblocking(False)
    fails(errno.EINPROGRESS, sock.connect, address)
    must(select.select([], [sock], [], 60)[1] == [sock])
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    must(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0)
    fails(errno.ENOTCONN, sock.getpeername)
    return error


def refused_client(server_cid):
    for error, address in ((errno.ECONNRESET, (server_cid, 9)), (errno.EACCES, (server_cid, 7)),
                           (errno.ENODEV, (4000, 9))):
        fails(error, vsock().connect, address)
        must(later_error(address) == error)
    fails(errno.ENODEV, vsock().connect, (0, 9))
    # The same socket may try again.
    sock = vsock()
    for _ in range(3):
        fails(errno.ECONNRESET, sock.connect, (server_cid, 9))


# Others' calls while one call waits for msgd, which it does for seconds.
ROUNDS = 10
# A child may find a lock of a sanitizer's allocator held.
FORKS = 'san.so' not in os.environ.get('LD_PRELOAD', '')


def others_go_on(errors, call, *args):
    """The call of a thread fails with one of the errors; all that needs no msgd goes on meanwhile."""
    sock = vsock()
    sock.bind((socket.VMADDR_CID_ANY, 77))
    thread = Thread(call, args)
    rounds = 0
    while thread.is_alive():
        must(sock.getsockname()[1] == 77)
        vsock().bind((socket.VMADDR_CID_ANY, 78))
        if FORKS:
            pid = os.fork()
            if pid == 0:
                sock.getsockopt(socket.AF_VSOCK, socket.SO_VM_SOCKETS_BUFFER_SIZE)
                os._exit(0)
            must(os.waitpid(pid, 0)[1] == 0)
        rounds += 1
        yield rounds
    thread.join()
    must(thread.error in errors, thread.error)
    must(rounds >= ROUNDS, '%d rounds' % rounds)


class Thread(threading.Thread):
    def __init__(self, call, args):
        super().__init__()
        self.call, self.args, self.error = call, args, 0
        self.start()

    def run(self):
        try:
            self.call(*self.args)
        except OSError as e:
            self.error = e.errno


def alone(server_cid):
    for _ in others_go_on((errno.ENODEV,), vsock().connect, (server_cid, 9)):
        pass
    for _ in others_go_on((errno.ENODEV,), listener):
        pass
    # A signal is no answer: after EINTR a program would wait for a connect that goes on.
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    sock = vsock()
    sock.setblocking(False)
    must(sock.connect_ex((server_cid, 9)) == errno.ENODEV)
    fails(errno.ENODEV, listener)
    signal.setitimer(signal.ITIMER_REAL, 0)
    # Of several that wait, each has the one answer.
    threads = [Thread(listener, (9 + n,)) for n in range(4)]
    for thread in threads:
        thread.join()
        must(thread.error == errno.ENODEV)


# ---- an msgd that stands still -------------------------------------------------------------------

def hangs_server():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    first = listener()
    ready()
    conn, _ = first.accept()
    print('connected', flush=True)
    must(signal.sigwait({signal.SIGUSR1}))
    # Connections and listeners that are there go on, too.
    for rounds in others_go_on((errno.ENODEV,), listener, 6):
        conn.sendall(b'%d.' % rounds)
        must(conn.recv(100, socket.MSG_PEEK))
        while not conn.recv(100).endswith(b'.'):
            pass
    # One whose socket is closed while it waits; or before, if the thread is late.
    closed = vsock()
    closed.bind((socket.VMADDR_CID_ANY, 7))
    for rounds in others_go_on((errno.ENODEV, errno.EBADF), closed.listen):
        if rounds == ROUNDS:
            os.close(closed.detach())
    print('stood still', flush=True)
    must(signal.sigwait({signal.SIGUSR1}))
    # The names are free.
    again = listener(6), listener(7)
    must(again)
    conn.sendall(b'end')


def hangs_client(server_cid, _):
    sock = vsock()
    sock.connect((server_cid, PORT))
    while True:
        data = sock.recv(100)
        if data.endswith(b'end'):
            break
        sock.sendall(data)


# ---- the file ------------------------------------------------------------------------------------

def file_server():
    sock = listener()
    ready()
    conn, peer = sock.accept()
    must(peer[0] == 9 and conn.getsockname()[0] == 8 and cid_of_device() == 8)
    conn.sendall(b'mapped')


def file_client():
    sock = vsock()
    sock.connect((7, 80))
    must(sock.getpeername() == (7, 80))
    must(receive_all(sock) == b'mapped')


def wrong_file():
    fails(errno.EINVAL, vsock().connect, (7, 80))
    sock = vsock()
    sock.bind((socket.VMADDR_CID_ANY, PORT))
    fails(errno.EINVAL, sock.listen)


def main():
    name = '_'.join(arg for arg in sys.argv[1:] if not arg.isdigit()).replace('-', '_')
    globals()[name](*[int(arg) for arg in sys.argv[1:] if arg.isdigit()])


main()
