# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Named message channels between Xen domains, used like sockets.

    import libmsg

    with libmsg.Context() as ctx, ctx.connect('web/echo', timeout=5) as sock:
        sock.sendall(b'hello')
        print(sock.recv(100))

A Context attaches this process to msgd. Its sockets behave like those of the module socket, and
fail with the same subclasses of OSError: ConnectionResetError when the peer died, PermissionError
when policy refuses, TimeoutError when a time limit is over. The error's strerror is the sentence of
msg_reason(). libmsg(3) has the rules that all languages share.

A context belongs to the process that opened it: open it after os.fork(), not before. Any thread may
call anything; a blocking call lets other threads run, and a signal handler that raises ends it.
"""
import collections
import errno
import io
import uuid

from . import _libmsg
from ._libmsg import (  # the public constants  # noqa: F401
    CORK, DGRAM, DROPS, DROP_OLDEST, ERROR, EVENTS, LINGER, MAXMSG, MSG_DONTWAIT, MSG_EOR, MSG_MORE,
    MSG_PEEK, MSG_TRUNC, MSG_WAITALL, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, RCVBUF,
    SEQPACKET, SHUT_RD, SHUT_RDWR, SHUT_WR, SNDBUF, SPIN, STREAM, TRANSPORT, TRANSPORT_ANY,
    TRANSPORT_ARGO, TRANSPORT_ARGO_STRICT, TRANSPORT_GRANT, TYPE, version)

__version__ = version()

# The other end of a channel. name: the name that was connected to.
Peer = collections.namedtuple('Peer', 'domain domid name uuid transport')

# News of a watch. there: whether there is such a name now. address: "DOMAIN/NAME"; empty: all names
# that were there when the watch began have been told.
Name = collections.namedtuple('Name', 'there address')


class _File(io.RawIOBase):
    """A socket's bytes as a raw file, for makefile()."""

    def __init__(self, sock, mode):
        super().__init__()
        self._sock, self._mode = sock, mode

    def readable(self):
        return 'r' in self._mode

    def writable(self):
        return 'w' in self._mode

    @property
    def mode(self):
        return self._mode

    def readinto(self, buffer):
        try:
            return self._sock.recv_into(buffer)
        except BlockingIOError:
            return None

    def write(self, data):
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return None

    def close(self):
        if not self.closed:
            super().close()
            self._sock._file_closed()  # pylint: disable=protected-access


class Socket(_libmsg.Socket):
    """A listener, or one end of a channel. Made by a Context's listen() and connect()."""

    _files = 0
    _close_asked = False

    # ---- as of socket.socket

    def accept(self):
        """The next channel, and its Peer."""
        sock = self._accept(Socket)
        return sock, sock.getpeername()

    def getpeername(self):
        domain, domid, name, bits, transport = self._peer()
        return Peer(domain, domid, name, uuid.UUID(bytes=bits), transport)

    @property
    def timeout(self):
        return self.gettimeout()

    def setblocking(self, flag):
        self.settimeout(None if flag else 0)

    def getblocking(self):
        return self.gettimeout() != 0

    def fileno(self):
        """A socket has no descriptor: its context has one for all, see Context.fileno()."""
        raise io.UnsupportedOperation('a socket has no descriptor; its context has one for all')

    def makefile(self, mode='r', buffering=None, *, encoding=None, errors=None, newline=None):
        """A file of the bytes of a STREAM, as socket.makefile() makes it."""
        if not set(mode) <= set('rwb') or not set(mode) & set('rw'):
            raise ValueError('invalid mode %r (only r, w, b allowed)' % mode)
        raw = _File(self, ''.join(c for c in 'rw' if c in mode))
        self._files += 1
        if buffering is None or buffering < 0:
            buffering = io.DEFAULT_BUFFER_SIZE
        if buffering == 0:
            if 'b' not in mode:
                raise ValueError('unbuffered streams must be binary')
            return raw
        if raw.readable() and raw.writable():
            buffered = io.BufferedRWPair(raw, raw, buffering)
        elif raw.readable():
            buffered = io.BufferedReader(raw, buffering)
        else:
            buffered = io.BufferedWriter(raw, buffering)
        if 'b' in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding, errors, newline)

    def close(self):
        """
        Closes the socket once the files that makefile() made are closed, too. Waits until what was
        sent has left, for LINGER ms at most; raises if data was lost.
        """
        self._close_asked = True
        if self._files <= 0:
            super().close()

    def _file_closed(self):
        self._files -= 1
        if self._close_asked and self._files <= 0:
            super().close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- whole messages

    def __iter__(self):
        """The messages until the end, which an empty message is not; of a STREAM, what is there."""
        return iter(self._take, None)


class Watch:
    """
    The names that a pattern fits, as they come and go: an iterator of Name. The names that are there
    come first, then one with an empty address, then the changes.
    """

    def __init__(self, sock):
        self._sock = sock

    def __iter__(self):
        return self

    def __next__(self):
        text = self._sock.recv().decode()
        return Name(text[:1] != '-', text[1:])

    def settimeout(self, seconds):
        self._sock.settimeout(seconds)

    def close(self):
        self._sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Context(_libmsg.Context):
    """
    Attaches this process to msgd. hv: "xen", "sim:PATH", "sim:PATH#DOMAIN"; None: $MSG_HV, else Xen.
    timeout: seconds for msgd to answer; None: for ever.
    """

    driver = None  # of libmsg.asyncio

    def listen(self, name, type=STREAM, backlog=128, blocking=True):
        """A listener on a name of this domain."""
        sock = self._listen(Socket, name, type, backlog, 0 if blocking else _libmsg.NONBLOCK)
        if not blocking:
            sock.settimeout(0)
        return sock

    def connect(self, address, type=STREAM, timeout=None, wait=False, blocking=True):
        """
        A channel to "NAME" or "DOMAIN/NAME". timeout: seconds, for the connect alone. wait: also for
        a domain or a name that is not there yet. Without blocking it returns at once; the context's
        dispatch() reports POLLOUT when it is done, and check() raises if it failed.
        """
        flags = (_libmsg.WAIT_NAME if wait else 0) | (0 if blocking else _libmsg.NONBLOCK)
        sock = self._connect(Socket, address, type, flags, timeout)
        if not blocking:
            sock.settimeout(0)
        return sock

    def watch(self, pattern):
        """A Watch of the names that a pattern such as "web*/http" fits."""
        return Watch(self._watch_socket(pattern))

    def _watch_socket(self, pattern):
        return self._watch(Socket, pattern)

    def close(self):
        """Closes every socket of the context, without lingering, and detaches."""
        if self.driver:
            self.driver.detach()
            self.driver = None
        super().close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
