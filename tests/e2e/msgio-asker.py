#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that ask `msgio serve` for descriptors, and link nothing.

    msgio-asker.py CASE PATH [ARGUMENT...]
"""
import array
import asyncio
import json
import os
import select
import socket
import ssl
import sys
import time


def must(condition, what=''):
    if not condition:
        raise AssertionError(what)


def door(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(path)
    return sock


def answer(sock):
    """One line, and the descriptors that came with it. None: the door was closed."""
    text, fds, flags, _ = socket.recv_fds(sock, 1, 4)
    must(not flags & socket.MSG_CTRUNC)
    while text and not text.endswith(b'\n'):
        text += sock.recv(1)
    return (json.loads(text) if text else None), fds


def ask(path, **line):
    sock = door(path)
    sock.sendall(json.dumps(line).encode() + b'\n')
    return sock, answer(sock)


def channel(path, **line):
    """The channel as a socket, and who is at its other end. The door is closed."""
    sock, (said, fds) = ask(path, **line)
    must(len(fds) == 1, said)
    must(answer(sock) == (None, []))
    return socket.socket(fileno=fds[0]), said['peer']


def refused(path, error, **line):
    sock, (said, fds) = ask(path, **line)
    must(said['error'] == error and said['reason'] and not fds, said)
    must(answer(sock) == (None, []))


def receive_all(sock):
    data = b''
    while part := sock.recv(65536):
        data += part
    return data


# ---- services --------------------------------------------------------------------------------------

def listening(path, name, **line):
    """The door, where channels come from now on."""
    listener, (said, fds) = ask(path, listen=name, **line)
    must(said == {'listening': True} and not fds, said)
    print('listening', flush=True)
    return listener


def serve(path, name, kind='stream', n='1'):
    """Sends back what it gets."""
    listener = listening(path, name, type=kind, backlog=10)
    for _ in range(int(n)):
        said, fds = answer(listener)
        sock = socket.socket(fileno=fds[0])
        must(sock.type == (socket.SOCK_STREAM if kind == 'stream' else socket.SOCK_SEQPACKET))
        print('peer', said['peer']['domain'], said['peer']['domid'], said['peer']['uuid'], flush=True)
        data = receive_all(sock) if kind == 'stream' else sock.recv(65536)
        sock.sendall(data)
        sock.close()


def tls(path, name, pem):
    """OpenSSL on the descriptor, blocking: sends back what it gets, to the peer's orderly end."""
    listener, (said, _) = ask(path, listen=name)
    must(said == {'listening': True}, said)
    print('listening', flush=True)
    _, fds = answer(listener)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with context.wrap_socket(socket.socket(fileno=fds[0]), server_side=True,
                             suppress_ragged_eofs=False) as sock:
        while part := sock.recv(65536):
            sock.sendall(part)
        sock.unwrap()


def slow(path, name, n):
    """Takes no descriptor before it is told to; then all that there are."""
    listener = listening(path, name, backlog=int(n))
    sys.stdin.readline()
    for _ in range(int(n)):
        _, fds = answer(listener)
        socket.socket(fileno=fds[0]).sendall(b'taken')


def leaves(path, name):
    """Takes the first channel, and goes without the second, which is there."""
    listener = listening(path, name)
    _, fds = answer(listener)
    socket.socket(fileno=fds[0]).sendall(b'taken')
    goes(listener)


def waits(path, name):
    """Takes no channel."""
    listener = listening(path, name)
    while listener:
        time.sleep(60)


def goes(sock):
    """Without its answer, which is there."""
    must(select.select([sock], [], [], 60)[0])
    sock.close()


def forgets(path, address):
    """Connects, and goes without its channel."""
    sock = door(path)
    sock.sendall(json.dumps({'connect': address}).encode() + b'\n')
    goes(sock)


def half(path, name):
    """Has the first byte of an answer, and with it the channel, which does not move yet."""
    listener = listening(path, name)
    _, fds, _, _ = socket.recv_fds(listener, 1, 4)
    listener.close()
    try:
        must(False, socket.socket(fileno=fds[0]).recv(1))
    except ConnectionResetError:
        print('reset', flush=True)


def call(path, address):
    sock, peer = channel(path, connect=address, wait=60)
    must(peer['domain'] == address.split('/')[0] and len(peer['uuid']) == 36, peer)
    data = os.urandom(3 << 20)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    must(receive_all(sock) == data)


def tls_call(path, address, pem):
    """asyncio on the descriptor, and OpenSSL above."""
    sock, peer = channel(path, connect=address, wait=60)
    data = os.urandom(3 << 20)

    async def exchange():
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=ssl.create_default_context(cafile=pem), server_hostname=peer['domain'])
        writer.write(data)
        must(await reader.readexactly(len(data)) == data)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    asyncio.run(asyncio.wait_for(exchange(), 60))


def packets(path, address):
    sock, _ = channel(path, connect=address, type='seqpacket', transport='grant')
    sock.send(b'a message')
    must(sock.recv(100) == b'a message')


def many(path, address, n):
    """All are there at once."""
    socks = [channel(path, connect=address, wait=True)[0] for _ in range(int(n))]
    must(all(receive_all(sock) == b'taken' for sock in socks))


def hold(path, address):
    """Until its channel is cut."""
    sock, _ = channel(path, connect=address)
    print('holds', flush=True)
    try:
        data = receive_all(sock)
        print('end after', len(data), flush=True)
    except ConnectionResetError:
        print('reset', flush=True)


def leave(path, name):
    """A listener's name goes with its connection to the door."""
    for _ in range(50):
        listener, (said, _) = ask(path, listen=name)
        must(said == {'listening': True}, said)
        refused(path, 'EADDRINUSE', listen=name)
        listener.close()


def crowd(path, name, n):
    """Listeners that go at once when they are told to; then the next one is answered."""
    listeners = [ask(path, listen='%s-%d' % (name, i)) for i in range(int(n))]
    must(all(said == {'listening': True} for _, (said, _) in listeners))
    print('listening', flush=True)
    sys.stdin.readline()
    for listener, _ in listeners:
        listener.close()
    says(path, b'\n', 'EINVAL')
    print('answered', flush=True)


# ---- lines that are wrong --------------------------------------------------------------------------

def says(path, data, error):
    sock = door(path)
    sock.sendall(data)
    said, fds = answer(sock)
    must(said['error'] == error and said['reason'] and not fds, (data[:80], said))
    must(answer(sock) == (None, []))


def errors(path):
    refused(path, 'ENOENT', connect='web/nobody')
    refused(path, 'EHOSTUNREACH', connect='nowhere/name')
    refused(path, 'EACCES', connect='web/secret')
    refused(path, 'EINVAL', connect='no name')
    refused(path, 'EINVAL', listen='web/name')
    refused(path, 'ETIMEDOUT', connect='web/nobody', wait=1)


def no_msgd(path):
    refused(path, 'EHOSTDOWN', listen='name')
    refused(path, 'EHOSTDOWN', connect='web/name', wait=1)


def hostile(path, pid):
    for line in ({}, {'connect': 1}, {'connect': ''}, {'connect': 'a' * 192}, {'connect': 'a', 'listen': 'a'},
                 {'listen': 'a', 'wait': 1}, {'connect': 'a', 'backlog': 1}, {'listen': 'a', 'backlog': 0},
                 {'listen': 'a', 'backlog': 4097}, {'listen': 'a', 'backlog': 2**63 - 1}, {'connect': 'a', 'wait': 0},
                 {'connect': 'a', 'wait': False}, {'connect': 'a', 'wait': 2**62}, {'connect': 'a', 'wait': 1.5},
                 {'connect': 'a', 'type': 'dgram'}, {'connect': 'a', 'type': None}, {'connect': 'a', 'transport': 'x'},
                 {'connect': 'a', 'more': 1}, {'connect': {'connect': 'a'}}, {'connect': ['a']}):
        refused(path, 'EINVAL', **line)
    for data in (b'\n', b'[]\n', b'"a"\n', b'{"connect":"a"\n', b'{"connect":"a"} x\n', b'\xff\xfe\n', b'\0\n',
                 b'{"connect":"a\\u0000b"}\n', b'{"connect":"a","connect":"b"}\n', b'[' * 1000 + b'\n',
                 b'{"a":' * 200 + b'\n', b'{"connect":"web/nobody"}\n{"connect":"web/nobody"}\n'):
        says(path, data, 'EINVAL')
    says(path, b'x' * 1025, 'EMSGSIZE')
    says(path, b'', 'ETIMEDOUT')
    # Descriptors that are sent are not kept.
    before = len(os.listdir('/proc/%s/fd' % pid))
    for _ in range(20):
        sock = door(path)
        rights = array.array('i', [0, 1])
        sock.sendmsg([b'{"connect":"web/nobody"'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        sock.sendmsg([b'}\n'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        must(answer(sock)[0]['error'] == 'ENOENT')
    # They go in the middle of a line, or while their connect waits.
    for data in b'{"conn', b'{"connect":"web/nobody","wait":true}\n', b'{"listen":"gone"}\n':
        for _ in range(20):
            sock = door(path)
            sock.sendall(data)
            sock.close()
    while len(os.listdir('/proc/%s/fd' % pid)) > before + 1:
        time.sleep(0.02)
    # A line that comes byte by byte is a line.
    sock = door(path)
    for byte in b'{"connect":"web/nobody"}\n':
        sock.sendall(bytes([byte]))
    must(answer(sock)[0]['error'] == 'ENOENT')


def places(path, n):
    """As many at once as there are places; the next one is served when one of them goes."""
    first = [door(path) for _ in range(int(n))]
    last = door(path)
    last.sendall(b'{"connect":"web/nobody"}\n')
    last.settimeout(0.2)
    try:
        must(False, answer(last))
    except TimeoutError:
        pass
    last.settimeout(60)
    first[0].close()
    must(answer(last)[0]['error'] == 'ENOENT')


globals()[sys.argv[1]](*sys.argv[2:])
