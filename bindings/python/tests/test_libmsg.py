# SPDX-License-Identifier: LGPL-2.1-or-later
"""The binding on the emulator. Run by tests/bindings/run, which sets $LIBMSG_TEST_HV: "sim:PATH"."""
import asyncio
import contextlib
import errno
import faulthandler
import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
import unittest.mock

import libmsg
import libmsg.asyncio
import libmsg.http

HV = os.environ.get('LIBMSG_TEST_HV', '')
LONG = 100  # seconds that a working call never takes
TYPES = {'seqpacket': libmsg.SEQPACKET, 'stream': libmsg.STREAM, 'dgram': libmsg.DGRAM}
MIB = 1 << 20


def context(domain):
    return libmsg.Context('%s#%s' % (HV, domain), timeout=LONG)


def pattern(n, seed=1):
    return hashlib.shake_128(b'%d' % seed).digest(n)


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Threads:
    """Threads whose failures fail the test."""

    def __init__(self):
        self.threads, self.errors = [], []

    def start(self, function, *args):
        def run():
            try:
                function(*args)
            except BaseException as error:  # pylint: disable=broad-except
                self.errors.append(error)
        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()
        return self.threads[-1]

    def join(self):
        for thread in self.threads:
            thread.join(LONG)
            if thread.is_alive():
                raise AssertionError('a thread hangs')
        if self.errors:
            raise self.errors[0]


class Case(unittest.TestCase):
    def setUp(self):
        self.web, self.shop = context('web'), context('shop')
        self.addCleanup(self.web.close)
        self.addCleanup(self.shop.close)
        self.threads = Threads()
        self.name = self.id().rsplit('.', 1)[1].replace('_', '-')

    def pair(self, kind=libmsg.STREAM):
        """Connected by shop, accepted by web."""
        with self.web.listen(self.name, kind) as listener:
            accepted = []
            thread = self.threads.start(lambda: accepted.append(listener.accept()))
            client = self.shop.connect('web/' + self.name, kind, timeout=LONG)
            thread.join(LONG)
        return client, accepted[0][0]

    def child(self, *args):
        """This file in another process and domain, which has said a line when this returns."""
        child = subprocess.Popen([sys.executable, __file__, *args], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stdin.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child


class Blocking(Case):
    def echo(self, kind):
        listener = self.web.listen(self.name, kind)

        def serve():
            sock, peer = listener.accept()
            self.assertEqual((peer.domain, peer.name), ('shop', self.name))
            with sock:
                for message in sock:
                    sock.sendall(message)
        self.threads.start(serve)
        with self.shop.connect('web/' + self.name, kind, timeout=LONG) as sock:
            sock.settimeout(LONG)
            self.assertEqual(sock.getpeername().domain, 'web')
            for n in (1, 100, 5000):
                sock.sendall(pattern(n))
                self.assertEqual(sock.recv(n, libmsg.MSG_WAITALL), pattern(n))
            sock.shutdown(libmsg.SHUT_WR)
            self.assertEqual(sock.recv(1), b'')
        self.threads.join()
        listener.close()

    def test_echo_stream(self):
        self.echo(libmsg.STREAM)

    def test_echo_seqpacket(self):
        self.echo(libmsg.SEQPACKET)

    def test_echo_dgram(self):
        self.echo(libmsg.DGRAM)

    def test_empty_message_is_no_end(self):
        client, server = self.pair(libmsg.SEQPACKET)
        client.send(b'')
        client.sendmsg([b'one', bytearray(b' '), memoryview(b'two')])
        client.close()
        self.assertEqual(server.recvmsg(10), (b'', [], libmsg.MSG_EOR, None))
        data, _, flags, _ = server.recvmsg(3, 0)
        self.assertEqual((data, flags), (b'one', libmsg.MSG_EOR | libmsg.MSG_TRUNC))
        self.assertEqual(server.recvmsg(10), (b'', [], 0, None))

    def test_half_close(self):
        client, server = self.pair()
        client.sendall(b'question')
        client.shutdown(libmsg.SHUT_WR)
        self.assertEqual(b''.join(server), b'question')
        with self.assertRaises(BrokenPipeError):
            client.send(b'x')
        server.sendall(b'answer')
        server.close()
        self.assertEqual(client.recv(100, libmsg.MSG_WAITALL), b'answer')
        self.assertEqual(client.recv(100), b'')

    def test_killed_peer(self):
        for name, kind in TYPES.items():
            with self.subTest(name), self.web.listen('killed-' + name, kind) as listener:
                child = self.child('send-and-wait', 'web/killed-' + name, name)
                sock, _ = listener.accept()
                self.assertEqual(sock.recv(3, libmsg.MSG_WAITALL), b'abc')
                got = []

                def receive():
                    try:
                        got.append(sock.recv(100))
                    except OSError as error:
                        got.append(error)
                thread = self.threads.start(receive)
                child.kill()
                thread.join(LONG)
                self.assertIsInstance(got[0], ConnectionResetError)
                self.assertGreater(len(got[0].strerror), 5)
                for call in (lambda: sock.recv(1), lambda: sock.send(b'x'),
                             lambda: sock.recv_into(bytearray(3)), sock.flush):
                    self.assertRaises(ConnectionResetError, call)
                sock.close()

    def test_time_limits(self):
        client, server = self.pair()
        client.settimeout(0.05)
        self.assertEqual(client.timeout, 0.05)
        self.assertRaises(TimeoutError, client.recv, 1)
        client.settimeout(0)
        self.assertFalse(client.getblocking())
        self.assertRaises(BlockingIOError, client.recv, 1)
        client.settimeout(0.05)
        with self.assertRaises(TimeoutError):
            client.sendall(bytes(64 * MIB))
        with self.web.listen('limits') as listener:
            listener.settimeout(0.05)
            self.assertRaises(TimeoutError, listener.accept)
            listener.setblocking(False)
            self.assertRaises(BlockingIOError, listener.accept)
        with self.assertRaises(TimeoutError):
            self.shop.connect('web/never', timeout=0.05, wait=True)
        server.close()

    def test_errors_say_why(self):
        with self.assertRaisesRegex(PermissionError, 'policy'):
            self.shop.connect('web/secret', timeout=LONG)
        with self.assertRaisesRegex(FileNotFoundError, 'web/nobody'):
            self.shop.connect('web/nobody', timeout=LONG)
        with self.assertRaisesRegex(OSError, 'is no name') as caught:
            self.web.listen('a bad name')
        self.assertEqual(caught.exception.errno, errno.EINVAL)
        with self.web.listen('taken'), self.assertRaises(OSError) as caught:
            self.web.listen('taken')
        self.assertEqual(caught.exception.errno, errno.EADDRINUSE)
        with self.web.listen(self.name, libmsg.STREAM), self.assertRaises(OSError) as caught:
            self.shop.connect('web/' + self.name, libmsg.SEQPACKET, timeout=LONG)
        self.assertEqual(caught.exception.errno, errno.EPROTOTYPE)
        self.assertRaises(ValueError, self.shop.connect, 'web/x', timeout=-1)
        self.assertRaises(TypeError, libmsg.Socket)

    def test_big_transfer(self):
        client, server = self.pair()
        data = pattern(32 * MIB)
        self.threads.start(lambda: (client.sendall(data), client.close()))
        got, buffer = hashlib.sha256(), bytearray(300000)
        while n := server.recv_into(buffer):
            got.update(memoryview(buffer)[:n])
        self.assertEqual(got.hexdigest(), digest(data))
        self.threads.join()

    def test_files(self):
        client, server = self.pair()
        lines = ['line %d ä' % i for i in range(5000)]

        def write():
            with client, client.makefile('w', encoding='utf-8') as file:
                client.close()  # the file keeps it open
                file.writelines(line + '\n' for line in lines)
        self.threads.start(write)
        with server, server.makefile('r', encoding='utf-8') as file:
            self.assertEqual(file.read().splitlines(), lines)
        self.threads.join()

    def test_many_at_once(self):
        listener = self.web.listen(self.name)

        def serve(sock):
            with sock:
                sock.sendall(digest(b''.join(sock)).encode())

        def accept():
            for _ in range(60):
                self.threads.start(serve, listener.accept()[0])

        def ask(i):
            data = pattern(100000 + i, i)
            with self.shop.connect('web/' + self.name, timeout=LONG) as sock:
                sock.sendall(data)
                sock.shutdown(libmsg.SHUT_WR)
                self.assertEqual(sock.recv(100, libmsg.MSG_WAITALL).decode(), digest(data))
        self.threads.start(accept).join(0)
        for i in range(60):
            self.threads.start(ask, i)
        self.threads.join()

    def test_watch(self):
        with self.shop.watch('web/seen*') as watch:
            watch.settimeout(LONG)
            self.assertEqual(next(watch), libmsg.Name(True, ''))
            listener = self.web.listen('seen-1')
            self.assertEqual(next(watch), libmsg.Name(True, 'web/seen-1'))
            listener.close()
            self.assertEqual(next(watch), libmsg.Name(False, 'web/seen-1'))

    def test_options(self):
        client, server = self.pair()
        client.setopt(libmsg.RCVBUF, 100000)
        self.assertEqual(client.getopt(libmsg.RCVBUF), 100000)
        self.assertEqual(client.getopt(libmsg.TYPE), libmsg.STREAM)
        with self.assertRaises(OSError) as caught:
            client.setopt(libmsg.ERROR, 1)
        self.assertEqual(caught.exception.errno, errno.ENOPROTOOPT)
        client.setopt(libmsg.CORK, 1)
        client.send(b'held back')
        client.flush()
        self.assertEqual(server.recv(9, libmsg.MSG_WAITALL), b'held back')
        self.assertEqual(server.poll(libmsg.POLLIN | libmsg.POLLOUT), libmsg.POLLOUT)


class Signals(Case):
    def during(self, call, handler):
        """Calls, while SIGUSR1 comes to this thread again and again, until the handler says True."""
        over, main = threading.Event(), threading.get_ident()

        def send():
            while not over.wait(0.02):
                signal.pthread_kill(main, signal.SIGUSR1)

        def on_signal(*_):
            if not over.is_set() and handler():
                over.set()
                raise KeyboardInterrupt
        before = signal.signal(signal.SIGUSR1, on_signal)
        thread = threading.Thread(target=send)
        thread.start()
        try:
            return call()
        finally:
            over.set()
            thread.join()
            signal.signal(signal.SIGUSR1, before)

    def test_handler_that_raises(self):
        client, server = self.pair()
        for call in (lambda: client.recv(1), lambda: client.sendall(bytes(64 * MIB)),
                     self.web.listen(self.name).accept,
                     lambda: self.shop.connect('web/never', wait=True)):
            with self.assertRaises(KeyboardInterrupt):
                self.during(call, lambda: True)
        client.settimeout(LONG)
        with self.assertRaises(KeyboardInterrupt):
            self.during(lambda: client.recv(1), lambda: True)
        server.close()

    def test_handler_that_returns(self):
        client, server = self.pair()
        seen = []

        def count():
            seen.append(None)
            if len(seen) == 3:
                server.sendall(b'now')
        for timeout in (None, LONG):
            seen.clear()
            client.settimeout(timeout)
            self.assertEqual(self.during(lambda: client.recv(3, libmsg.MSG_WAITALL), count), b'now')
        client.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            self.during(lambda: client.recv(1), lambda: None)


class Lives(Case):
    def test_close_ends_calls(self):
        client, server = self.pair()
        for sock, call in ((client, lambda: client.recv(1)),
                           (listener := self.web.listen(self.name), lambda: listener.accept())):
            entered, failed = threading.Event(), []

            def receive():
                entered.set()
                try:
                    call()
                except OSError as error:
                    failed.append(error.errno)
            thread = self.threads.start(receive)
            entered.wait()
            sock.close()
            thread.join(LONG)
            self.assertEqual(failed, [errno.EBADF])
            self.assertTrue(sock.closed)
        server.close()

    def test_close_of_context_ends_calls(self):
        client, _ = self.pair()
        failed = []

        def receive():
            try:
                client.recv(1)
            except OSError as error:
                failed.append(error.errno)
        thread = self.threads.start(receive)
        self.shop.close()
        thread.join(LONG)
        self.assertEqual(failed, [errno.EBADF])
        for call in (lambda: client.send(b'x'), lambda: self.shop.connect('web/x')):
            with self.assertRaises(OSError) as caught:
                call()
            self.assertEqual(caught.exception.errno, errno.EBADF)

    def test_forgotten_sockets_close(self):
        client, server = self.pair()
        client.sendall(b'all')
        del client
        self.assertEqual(server.recv(10, libmsg.MSG_WAITALL), b'all')
        self.assertEqual(server.recv(10), b'')

    def test_forked_child(self):
        client, _ = self.pair()
        pid = os.fork()
        if pid == 0:
            try:
                client.send(b'x')
            except OSError as error:
                os._exit(error.errno)
            os._exit(0)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), errno.EBADFD)

    def test_no_descriptor(self):
        client, _ = self.pair()
        self.assertRaises(ValueError, client.fileno)
        self.assertRaises(OSError, client.fileno)


class Asyncio(Case):
    def run_async(self, coroutine):
        return asyncio.run(asyncio.wait_for(coroutine, LONG))

    def test_streams(self):
        async def serve(reader, writer):
            while data := await reader.read(100000):
                writer.write(data)
                await writer.drain()
            writer.close()

        async def ask(i):
            data = pattern(300000 + i, i)
            reader, writer = await libmsg.asyncio.open_connection('web/' + self.name, ctx=self.shop)
            self.assertEqual(writer.get_extra_info('peername').domain, 'web')
            writer.write(data)
            writer.write_eof()
            self.assertEqual(digest(await reader.read()), digest(data))
            writer.close()
            await writer.wait_closed()

        async def main():
            async with await libmsg.asyncio.start_server(serve, self.name, ctx=self.web):
                await asyncio.gather(*map(ask, range(40)))
        self.run_async(main())

    def test_backpressure(self):
        events, data, low = [], pattern(8 * MIB), 1 << 16

        class Sink(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport, self.got = transport, hashlib.sha256()
                self.over = asyncio.get_running_loop().create_future()
                transport.pause_reading()
                ready = transport._ready
                transport._driver.handlers[transport.get_extra_info('socket')] = \
                    lambda e: (events.append(e), ready(e))

            def data_received(self, data):
                self.got.update(data)

            def eof_received(self):
                self.over.set_result(self.got.hexdigest())

        async def main():
            sinks = []
            server = await libmsg.asyncio.create_server(
                lambda: sinks.append(Sink()) or sinks[0], self.name, ctx=self.web)
            _, writer = await libmsg.asyncio.open_connection('web/' + self.name, ctx=self.shop)
            writer.transport.set_write_buffer_limits(low)
            writer.write(data)
            drain = asyncio.ensure_future(writer.drain())
            # Turns of the loop, in which the writer sends all for which there is room.
            for _ in range(200):
                await asyncio.sleep(0.001)
            self.assertFalse(drain.done())
            self.assertLess(len(events), 3, 'a transport that does not read was woken')
            sinks[0].transport.resume_reading()
            await drain
            self.assertLessEqual(writer.transport.get_write_buffer_size(), low)
            writer.close()
            self.assertEqual(await sinks[0].over, digest(data))
            server.close()
        self.run_async(main())

    def test_messages(self):
        async def serve(channel):
            async with channel:
                async for message in channel:
                    await channel.send(message)

        async def main():
            async with await libmsg.asyncio.listen(
                    self.name, libmsg.SEQPACKET, ctx=self.web) as listener:
                address = 'web/' + self.name
                async with await libmsg.asyncio.connect(
                        address, libmsg.SEQPACKET, ctx=self.shop) as channel:
                    task = asyncio.ensure_future(serve(await listener.accept()))
                    for n in (0, 1, 1000000):
                        await channel.send(pattern(n))
                        self.assertEqual(await channel.recv(), pattern(n))
                    channel.shutdown()
                    self.assertEqual(await channel.recv(), b'')
                    await task
        self.run_async(main())

    def test_unread_wakes_nobody(self):
        async def main():
            listener = await libmsg.asyncio.listen(self.name, libmsg.SEQPACKET, ctx=self.web)
            client = await libmsg.asyncio.connect(
                'web/' + self.name, libmsg.SEQPACKET, ctx=self.shop)
            channel = await listener.accept()
            turns, run = [], channel._driver.ctx.dispatch
            channel._driver.ctx.dispatch = lambda n: turns.append(run(n)) or turns[-1]
            for i in range(20):
                await client.send(b'unread')
                await asyncio.sleep(0.01)
            client.close()
            await asyncio.sleep(0.2)
            self.assertLess(len(turns), 60)
            self.assertEqual([m async for m in channel], 20 * [b'unread'])
        self.run_async(main())

    def test_watch(self):
        async def main():
            async with libmsg.asyncio.Watch(
                    libmsg.asyncio._Driver.of(self.shop), self.shop._watch_socket('web/come*')) as w:
                news = w.__aiter__()
                self.assertEqual(await news.__anext__(), (True, ''))
                listener = self.web.listen('come')
                self.assertEqual(await news.__anext__(), (True, 'web/come'))
                listener.close()
        self.run_async(main())

    def test_errors(self):
        async def main():
            with self.assertRaisesRegex(PermissionError, 'policy'):
                await libmsg.asyncio.open_connection('web/secret', ctx=self.shop)
            with self.assertRaises(TimeoutError):
                await libmsg.asyncio.open_connection(
                    'web/never', ctx=self.shop, wait=True, timeout=0.05)
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(
                    libmsg.asyncio.open_connection('web/never', ctx=self.shop, wait=True), 0.05)
            with self.web.listen('async-taken'), self.assertRaises(OSError) as caught:
                await libmsg.asyncio.start_server(None, 'async-taken', ctx=self.web)
            self.assertEqual(caught.exception.errno, errno.EADDRINUSE)
        self.run_async(main())

    def test_killed_peer(self):
        async def main():
            over = asyncio.get_running_loop().create_future()

            async def serve(reader, writer):
                try:
                    await reader.readexactly(3)
                    child.kill()
                    over.set_result(await reader.read())
                except OSError as error:
                    over.set_exception(error)
                writer.close()
            async with await libmsg.asyncio.start_server(serve, self.name, ctx=self.web):
                child = self.child('send-and-wait', 'web/' + self.name, 'stream')
                with self.assertRaises(ConnectionResetError):
                    await over
        self.run_async(main())

    def test_end_of_a_program(self):
        """A program that closes many channels and ends, while the ring is full, loses nothing."""
        with self.web.listen(self.name, backlog=300) as listener:
            child = self.child('fill-and-end', 'web/' + self.name)
            socks = [listener.accept()[0] for _ in range(300)]
            # Until it has closed them, nothing is taken out of the ring.
            sent = sum(map(int, child.stdout.readline().split()))
            self.assertGreater(sent, 200000)
            # It waits for room, most likely. If it did not wait, it would have ended by now.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.5)
            self.assertEqual(sum(len(data) for sock in socks for data in sock), sent)
            self.assertEqual(child.wait(LONG), 0)


class Http(Case):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_GET(self):
            self.answer(pattern(int(self.path[1:])))

        def do_POST(self):
            self.answer(self.rfile.read(int(self.headers['Content-Length']))[::-1])

        def answer(self, data):
            self.send_response(200)
            self.send_header('Content-Length', str(len(data)))
            self.send_header('X-Domain', self.client_address[0])
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    def request(self, connection, method, path, body=None):
        connection.request(method, path, body)
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.headers['X-Domain']), (200, 'shop'))
        return answer.read()

    def ask(self, i):
        connection = libmsg.http.HTTPConnection('web/' + self.name, self.shop, LONG)
        for n in (0, 10, 70000 + i, MIB):
            self.assertEqual(self.request(connection, 'GET', '/%d' % n), pattern(n))
            self.assertEqual(self.request(connection, 'POST', '/', pattern(n)), pattern(n)[::-1])
        connection.close()

    def test_server_and_client(self):
        server = libmsg.http.ThreadingHTTPServer(self.name, self.Handler, self.web)
        self.threads.start(server.serve_forever)
        for i in range(20):
            self.threads.start(self.ask, i)
        for thread in self.threads.threads[1:]:
            thread.join(LONG * 2)
        server.shutdown()
        self.threads.join()
        server.server_close()

    def test_answer_without_keep_alive(self):
        class Handler(self.Handler):
            protocol_version = 'HTTP/1.0'
        server = libmsg.http.HTTPServer(self.name, Handler, self.web)
        self.threads.start(server.serve_forever)
        for ctx in (self.shop, None):
            with unittest.mock.patch.dict(os.environ, MSG_HV=HV + '#shop'):
                connection = libmsg.http.HTTPConnection('web/' + self.name, ctx, LONG)
                self.assertEqual(self.request(connection, 'GET', '/%d' % MIB), pattern(MIB))
                self.assertEqual(self.request(connection, 'POST', '/', b'ab'), b'ba')
                connection.close()
        server.shutdown()
        self.threads.join()
        server.server_close()

    def test_server_ends_in_the_middle(self):
        listener = self.web.listen(self.name)

        def serve():
            sock, _ = listener.accept()
            with sock:
                sock.recv()
                sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegins')
        self.threads.start(serve)
        connection = libmsg.http.HTTPConnection('web/' + self.name, self.shop, LONG)
        connection.request('GET', '/')
        self.assertRaises(http.client.IncompleteRead, connection.getresponse().read)
        connection.close()


# ---- other processes ---------------------------------------------------------------------------

def send_and_wait(address, kind):
    sock = context('shop').connect(address, TYPES[kind], timeout=LONG)
    sock.sendall(b'abc')
    sys.stdin.read()  # until it is killed


def fill(sock):
    n = 0
    try:
        while True:
            n += sock.send(pattern(1000))
    except BlockingIOError:
        return n


def fill_and_end(address):
    async def main():
        ctx = context('shop')
        channels = [await libmsg.asyncio.connect(address, ctx=ctx) for _ in range(300)]
        sent = [fill(channel.sock) for channel in channels]
        for channel in channels:
            channel.sock.setopt(libmsg.LINGER, 1000 * LONG)
            channel.close()
        print(*sent, flush=True)
    asyncio.run(main())


# ---- results as TAP ----------------------------------------------------------------------------

class TapResult(unittest.TestResult):
    def say(self, test, what, text=''):
        print('%s python: %s (%d ms)' % (
            what, test.id().split('.', 1)[1], 1000 * (time.monotonic() - self.began)), flush=True)
        for line in text.splitlines():
            print('# ' + line)

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def stopTest(self, test):
        failures = [text for failed, text in self.failures + self.errors
                    if test in (failed, getattr(failed, 'test_case', None))]
        self.say(test, 'not ok' if failures else 'ok', '\n'.join(failures))
        super().stopTest(test)


def main():
    tests = unittest.defaultTestLoader
    suite = tests.loadTestsFromNames(sys.argv[1:], sys.modules[__name__]) if sys.argv[1:] else \
        tests.loadTestsFromModule(sys.modules[__name__])
    result = TapResult()
    suite.run(result)
    sys.exit(not result.wasSuccessful())


if __name__ == '__main__':
    faulthandler.dump_traceback_later(380, exit=True)
    if sys.argv[1:2] == ['send-and-wait']:
        send_and_wait(*sys.argv[2:])
    elif sys.argv[1:2] == ['fill-and-end']:
        fill_and_end(*sys.argv[2:])
    else:
        main()
