# SPDX-License-Identifier: LGPL-2.1-or-later
"""
libmsg in asyncio's event loop.

    reader, writer = await libmsg.asyncio.open_connection('web/echo')
    server = await libmsg.asyncio.start_server(serve, 'echo')

give StreamReader and StreamWriter over channels of type STREAM; create_connection and create_server
take any asyncio.Protocol. Of all types, a Channel, a Listener and a Watch have coroutines:

    channel = await libmsg.asyncio.connect('web/log', type=libmsg.SEQPACKET)
    await channel.send(b'a message')
    async for message in channel: ...

All of them take ctx=, a libmsg.Context; without it they share one that is opened at first use. The
loop watches the one descriptor of the context. A protocol, or a task, that does not read is not
woken by what its peer sends.
"""
import asyncio
import functools

from . import (
    EVENTS, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, SEQPACKET, SHUT_WR, STREAM, Context, Name)

__all__ = ['connect', 'create_connection', 'create_server', 'listen', 'open_connection',
           'start_server', 'watch', 'Channel', 'Listener', 'Watch']

_LIMIT = 2 ** 16  # of a StreamReader, as asyncio has it
_CHUNK = 2 ** 18  # bytes that are read at once
_READABLE = POLLIN | POLLHUP | POLLERR | POLLRDHUP


class _Driver:
    """Has one loop call the handlers of one context's sockets."""

    def __init__(self, loop, ctx):
        self.loop, self.ctx, self.handlers = loop, ctx, {}
        self.fd = ctx.fileno()
        loop.add_reader(self.fd, self.run)

    @staticmethod
    def of(ctx):
        """The context's driver in the running loop."""
        loop = asyncio.get_running_loop()
        driver = ctx.driver
        if driver is None or driver.loop is not loop:
            ctx.driver = driver = _Driver(loop, ctx)
        return driver

    def run(self):
        # The descriptor stays readable while something is left.
        for sock, events in self.ctx.dispatch(64):
            handler = self.handlers.get(sock)
            if handler:
                handler(events)

    def detach(self):
        """The context is about to close."""
        if not self.loop.is_closed():
            self.loop.remove_reader(self.fd)

    def close(self, sock):
        """
        Closes a socket without blocking the loop. A socket that does not block leaves its last frame
        to later calls, which a program at its end does not make: where there is no room for the
        frame, a thread waits for it.
        """
        self.handlers.pop(sock, None)
        try:
            if sock.poll(POLLOUT):
                sock.close()
                return
            sock.setopt(EVENTS, 0)
            sock.settimeout(None)
        except OSError:
            sock.close()
            return
        self.loop.run_in_executor(None, _close_quietly, sock)


def _close_quietly(sock):
    try:
        sock.close()
    except OSError:
        pass  # the peer was told; nobody is left here who could be


_shared = []


def _open_shared():
    if not _shared or _shared[0].closed:
        _shared[:] = [Context()]
    return _shared[0]


async def _driver(ctx):
    if ctx is None and _shared and not _shared[0].closed:
        ctx = _shared[0]
    if ctx is None:
        ctx = await asyncio.get_running_loop().run_in_executor(None, _open_shared)
    return _Driver.of(ctx)


# ---- messages ---------------------------------------------------------------------------------

class _Waiter:
    """A non-blocking socket, and the tasks that wait for it."""

    def __init__(self, driver, sock):
        self._driver, self._sock = driver, sock
        self._waiting = {}  # a future for each kind of event
        driver.handlers[sock] = self._ready
        sock.settimeout(0)
        self._interest()

    def _interest(self):
        if not self._sock.closed:
            self._sock.setopt(EVENTS, POLLIN if POLLIN in self._waiting else 0)

    def _ready(self, events):
        failed = events & (POLLERR | POLLHUP)
        for kind, mask in ((POLLIN, _READABLE), (POLLOUT, POLLOUT)):
            future = self._waiting.get(kind) if events & mask or failed else None
            if future and not future.done():
                future.set_result(None)

    async def _wait(self, kind):
        """Until there may be such an event."""
        if kind not in self._waiting:
            self._waiting[kind] = self._driver.loop.create_future()
            self._interest()
        future = self._waiting[kind]
        try:
            await asyncio.shield(future)
        finally:
            if self._waiting.get(kind) is future and future.done():
                del self._waiting[kind]
                self._interest()

    async def _call(self, kind, call, *args):
        while True:
            try:
                return call(*args)
            except BlockingIOError:
                await self._wait(kind)

    async def _answer(self):
        """msgd's, to a non-blocking connect or listen."""
        try:
            if not self._sock.poll(POLLOUT):
                await self._wait(POLLOUT)
            self._sock.check()
        except BaseException:
            self.close()
            raise
        return self

    @property
    def sock(self):
        return self._sock

    def close(self):
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(OSError('closed'))
                future.exception()  # it may have nobody who waits
        if not self._sock.closed:
            self._driver.close(self._sock)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.close()


class Channel(_Waiter):
    """One end of a channel of any type. One task reads and one writes at a time."""

    async def send(self, data):
        """Sends a message, or all bytes of a stream."""
        view = memoryview(data)
        if self._sock.type != STREAM:
            return await self._call(POLLOUT, self._sock.send, view)
        while view:
            view = view[await self._call(POLLOUT, self._sock.send, view):]

    async def recv(self, bufsize=None):
        """A message, or what is there of a stream; b'' at the end."""
        return await self._call(POLLIN, self._sock.recv, bufsize)

    def getpeername(self):
        return self._sock.getpeername()

    def shutdown(self, how=SHUT_WR):
        self._sock.shutdown(how)

    def __aiter__(self):
        return self

    async def __anext__(self):
        message = await self._call(POLLIN, self._sock._take)  # pylint: disable=protected-access
        if message is None:
            raise StopAsyncIteration
        return message


class Listener(_Waiter):
    async def accept(self):
        """The next Channel. Its peer: getpeername()."""
        sock, _ = await self._call(POLLIN, self._sock.accept)
        return Channel(self._driver, sock)

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await self.accept()


class Watch(_Waiter):
    """As libmsg.Watch: async for (there, address)."""

    def __aiter__(self):
        return self

    async def __anext__(self):
        text = (await self._call(POLLIN, self._sock.recv)).decode()
        return Name(text[:1] != '-', text[1:])


async def connect(address, type=STREAM, *, ctx=None, timeout=None, wait=False):
    driver = await _driver(ctx)
    sock = driver.ctx.connect(address, type, timeout, wait, blocking=False)
    return await Channel(driver, sock)._answer()  # pylint: disable=protected-access


async def listen(name, type=STREAM, *, ctx=None, backlog=128):
    driver = await _driver(ctx)
    sock = driver.ctx.listen(name, type, backlog, blocking=False)
    return await Listener(driver, sock)._answer()  # pylint: disable=protected-access


async def watch(pattern, *, ctx=None):
    driver = await _driver(ctx)
    return Watch(driver, driver.ctx._watch_socket(pattern))  # pylint: disable=protected-access


# ---- streams ----------------------------------------------------------------------------------

class _Transport(asyncio.Transport):
    """A STREAM under an asyncio.Protocol."""

    def __init__(self, driver, sock, protocol):
        super().__init__({'socket': sock, 'peername': sock.getpeername()})
        self._driver, self._sock, self._protocol = driver, sock, protocol
        self._buffer = bytearray()  # found no room yet
        self._reading, self._closing, self._eof, self._ended = True, False, False, False
        self._write_paused = False
        self.set_write_buffer_limits()
        sock.settimeout(0)
        driver.handlers[sock] = self._ready
        driver.loop.call_soon(protocol.connection_made, self)

    # ---- events

    def _ready(self, events):
        if events & (POLLOUT | POLLERR) and self._buffer:
            self._flush()
        if events & _READABLE and self._reading and not self._closing:
            self._read()

    def _read(self):
        # One piece: the socket is reported again if there is more, after the others.
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        if data:
            self._protocol.data_received(data)
        else:
            self._set_reading(False)
            if not self._protocol.eof_received():
                self.close()

    def _flush(self):
        try:
            n = self._sock.send(self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        del self._buffer[:n]
        if self._write_paused and len(self._buffer) <= self._low:
            self._write_paused = False
            self._protocol.resume_writing()
        if not self._buffer:
            self._flushed()

    def _flushed(self):
        if self._closing:
            self._end(None)
        elif self._eof:
            self._sock.shutdown(SHUT_WR)

    def _end(self, error):
        self._closing = True
        if not self._ended:
            self._ended = True
            self._driver.loop.call_soon(self._lost, error)

    def _lost(self, error):
        try:
            self._protocol.connection_lost(error)
        finally:
            self._driver.close(self._sock)

    # ---- as of asyncio.Transport

    def get_protocol(self):
        return self._protocol

    def set_protocol(self, protocol):
        self._protocol = protocol

    def is_reading(self):
        return self._reading and not self._closing

    def _set_reading(self, reading):
        if reading != self._reading and not self._ended:
            self._reading = reading
            self._sock.setopt(EVENTS, POLLIN if reading else 0)

    def pause_reading(self):
        self._set_reading(False)

    def resume_reading(self):
        if not self._closing:
            self._set_reading(True)

    def set_write_buffer_limits(self, high=None, low=None):
        self._high = high if high is not None else 4 * low if low is not None else _LIMIT
        self._low = low if low is not None else self._high // 4

    def get_write_buffer_limits(self):
        return self._low, self._high

    def get_write_buffer_size(self):
        return len(self._buffer)

    def write(self, data):
        if self._eof:
            raise RuntimeError('Cannot call write() after write_eof()')
        if self._closing or not data:
            return
        if not self._buffer:
            try:
                data = memoryview(data)[self._sock.send(data):]
            except BlockingIOError:
                pass
            except OSError as error:
                self._end(error)
                return
        self._buffer += data
        if len(self._buffer) > self._high and not self._write_paused:
            self._write_paused = True
            self._protocol.pause_writing()

    def can_write_eof(self):
        return True

    def write_eof(self):
        if not self._eof and not self._closing:
            self._eof = True
            if not self._buffer:
                self._flushed()

    def is_closing(self):
        return self._closing

    def close(self):
        if not self._closing:
            self._set_reading(False)
            self._closing = True
            if not self._buffer:
                self._end(None)

    def abort(self):
        """Ends the channel without what still waits to be sent."""
        self._buffer.clear()
        self._end(None)


class Server(asyncio.AbstractServer):
    """Made by create_server and start_server."""

    def __init__(self, driver, sock, factory):
        self._driver, self._sock, self._factory = driver, sock, factory
        self._over = driver.loop.create_future()
        driver.handlers[sock] = self._ready

    @property
    def sockets(self):
        return () if self._sock.closed else (self._sock,)

    def get_loop(self):
        return self._driver.loop

    def is_serving(self):
        return not self._sock.closed

    def _ready(self, _):
        try:
            sock, _ = self._sock.accept()
        except BlockingIOError:
            return
        except OSError as error:  # the name is lost
            self._end(error)
            return
        _Transport(self._driver, sock, self._factory())

    def _end(self, error):
        self._driver.handlers.pop(self._sock, None)
        self._sock.close()
        if not self._over.done():
            self._over.set_result(error)

    def close(self):
        self._end(None)

    async def start_serving(self):
        """It does already."""

    async def serve_forever(self):
        """Returns when the server is closed; raises when its name is lost."""
        try:
            error = await asyncio.shield(self._over)
        except asyncio.CancelledError:
            self.close()
            raise
        if error:
            raise error

    async def wait_closed(self):
        await asyncio.shield(self._over)


async def create_connection(factory, address, *, ctx=None, timeout=None, wait=False):
    """(transport, protocol) of a channel of type STREAM."""
    channel = await connect(address, ctx=ctx, timeout=timeout, wait=wait)
    driver, sock, protocol = _Driver.of(channel.sock.context), channel.sock, factory()
    sock.setopt(EVENTS, POLLIN)
    return _Transport(driver, sock, protocol), protocol


async def create_server(factory, name, *, ctx=None, backlog=128):
    """A Server of channels of type STREAM."""
    listener = await listen(name, ctx=ctx, backlog=backlog)
    listener.sock.setopt(EVENTS, POLLIN)
    return Server(_Driver.of(listener.sock.context), listener.sock, factory)


async def open_connection(address, *, ctx=None, timeout=None, wait=False, limit=_LIMIT):
    """(StreamReader, StreamWriter), as asyncio.open_connection."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    transport, protocol = await create_connection(
        functools.partial(asyncio.StreamReaderProtocol, reader, loop=loop), address, ctx=ctx,
        timeout=timeout, wait=wait)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def start_server(client_connected_cb, name, *, ctx=None, backlog=128, limit=_LIMIT):
    """A Server that calls client_connected_cb(reader, writer), as asyncio.start_server."""
    loop = asyncio.get_running_loop()

    def factory():
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop)

    return await create_server(factory, name, ctx=ctx, backlog=backlog)
