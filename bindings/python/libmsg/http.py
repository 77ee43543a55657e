# SPDX-License-Identifier: LGPL-2.1-or-later
"""
HTTP over channels of type STREAM, by Python's own http.server and http.client.

    libmsg.http.ThreadingHTTPServer('web', Handler).serve_forever()
    connection = libmsg.http.HTTPConnection('web/web')

A handler's client_address is (the peer's domain, its domid).
"""
import errno
import http.client
import http.server
import socketserver
import threading

from . import SHUT_RDWR, Context


class HTTPServer(socketserver.TCPServer):
    """http.server.HTTPServer on a name. ctx: a libmsg.Context; None: one of its own."""

    request_queue_size = 128

    def __init__(self, name, handler, ctx=None):  # pylint: disable=super-init-not-called
        socketserver.BaseServer.__init__(self, name, handler)
        self._own = Context() if ctx is None else None
        self.socket = (ctx or self._own).listen(name, backlog=self.request_queue_size)
        self.server_name, self.server_port = name, 0
        self._over = threading.Event()
        self._stopped = False

    def get_request(self):
        sock, peer = self.socket.accept()
        return sock, (peer.domain, peer.domid)

    def handle_request(self):
        try:
            request, address = self.get_request()
        except TimeoutError:
            self.handle_timeout()
            return
        try:
            if self.verify_request(request, address):
                self.process_request(request, address)
            else:
                self.shutdown_request(request)
        except Exception:  # pylint: disable=broad-except
            self.handle_error(request, address)
            self.shutdown_request(request)

    def serve_forever(self, poll_interval=None):
        """Until shutdown(). It does not poll: the interval is not looked at."""
        self._over.clear()
        try:
            while not self._stopped:
                self.handle_request()
        except OSError as error:
            if error.errno != errno.EINVAL or not self._stopped:
                raise
        finally:
            self._over.set()

    def shutdown(self):
        """Ends serve_forever, which runs in another thread, and gives the name back."""
        self._stopped = True
        self.socket.shutdown(SHUT_RDWR)
        self._over.wait()

    def server_close(self):
        self.socket.close()
        if self._own:
            self._own.close()


class ThreadingHTTPServer(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True

    def server_close(self):
        socketserver.ThreadingMixIn.server_close(self)
        HTTPServer.server_close(self)


class HTTPConnection(http.client.HTTPConnection):
    """http.client.HTTPConnection to "NAME" or "DOMAIN/NAME". ctx: None: one of its own."""

    def __init__(self, address, ctx=None, timeout=None, wait=False):
        super().__init__('localhost', timeout=timeout)
        self._address, self._ctx, self._wait = address, ctx, wait

    def connect(self):
        # The socket holds one of its own: for longer than this connection, where an answer is read
        # after close(), as http.client does without keep-alive.
        ctx = self._ctx or Context(timeout=self.timeout)
        self.sock = ctx.connect(self._address, timeout=self.timeout, wait=self._wait)
        self.sock.settimeout(self.timeout)
