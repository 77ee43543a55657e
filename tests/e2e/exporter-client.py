#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients of msg-exporter, and what they hold of its answers.

    exporter-client.py CASE SOCKET [ARGUMENT...]
"""
import json
import re
import resource
import select
import socket
import sys
import threading
import time

LIMIT_S = 60
# As exporter/limits.h: connections, and different lists at a time.
PLACES = 128
LISTS = 32


def must(condition, what=''):
    if not condition:
        raise AssertionError(what)


def dial(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(LIMIT_S)
    sock.connect(path)
    return sock


def rest(sock):
    """All up to the end of the connection."""
    data = b''
    while True:
        try:
            more = sock.recv(1 << 16)
        except ConnectionResetError:
            more = b''
        if not more:
            return data
        data += more


def ask(path, target, *headers):
    """Status, head and body of one request."""
    return ask_by(dial(path), target, *headers)


def ask_by(sock, target, *headers):
    lines = ['GET %s HTTP/1.1' % target, 'Host: localhost', 'Connection: close', *headers]
    sock.sendall('\r\n'.join(lines + ['', '']).encode())
    head, _, body = rest(sock).partition(b'\r\n\r\n')
    return int(head.split()[1]), head.decode(), body


def samples(path, openmetrics=True):
    """All samples by name and labels."""
    accept = 'application/openmetrics-text' if openmetrics else 'text/plain'
    status, _, body = ask(path, '/metrics', 'Accept: ' + accept)
    must(status == 200, status)
    found = {}
    for line in body.decode().splitlines():
        if not line.startswith('#'):
            key, _, value = line.rpartition(' ')
            must(key not in found, 'twice: ' + key)
            found[key] = float(value)
    return found


def fresh(path):
    """Of now: what was asked before serves no longer than a second."""
    time.sleep(1.1)
    return samples(path)


# ---- cases --------------------------------------------------------------------------------------


def case_parse(path):
    """Another program's parser takes it, and finds as much in it."""
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
    except ImportError:
        print('no prometheus_client here: not parsed')
        return
    _, _, body = ask(path, '/metrics', 'Accept: application/openmetrics-text')
    families = list(text_string_to_metric_families(body.decode()))
    n = sum(len(family.samples) for family in families)
    must(n == sum(not line.startswith(b'#') for line in body.splitlines()), n)
    must(all(family.documentation for family in families))


def case_names(path, *names):
    """Every name is one that is served: for the dashboard."""
    served = {key.partition('{')[0] for key in samples(path, openmetrics=False)}
    for name in names:
        must(name in served, 'not served: ' + name)


# msgd's key, the counter's name, and labels beside those of the thing.
TRAFFIC = {
    'tx_messages': ('transmit_messages', ''), 'tx_bytes': ('transmit_bytes', ''),
    'rx_messages': ('receive_messages', ''), 'rx_bytes': ('receive_bytes', ''),
    'drops': ('dropped_datagrams', ''), 'no_credit': ('stalls', ',reason="credit"'),
    'no_room': ('stalls', ',reason="room"'),
}
COUNTS = {
    'attached': 'attaches', 'connected': 'connects', 'refused': 'refusals', 'failed': 'failures',
    'reset': 'link_resets', 'dropped': 'application_drops', 'links_made': 'links_made',
    'notifications': 'notifications', 'hypercalls': 'hypercalls',
}


def same_traffic(found, kind, labels, traffic):
    for key, (name, more) in TRAFFIC.items():
        sample = 'msgd_%s_%s_total{%s%s}' % (kind, name, labels, more)
        must(found[sample] == traffic[key], '%s: %s, not %s' % (sample, found[sample], traffic[key]))


def case_same(path, *answers):
    """As in `msgctl --json` of stats, names, links and channels, while nothing moves."""
    stats, names, links, channels = [json.loads(answer) for answer in answers]
    found = fresh(path)
    for row in stats['counts']:
        labels = 'domain="%s",domid="%d"' % (row['domain'], row['domid'])
        same_traffic(found, 'domain', labels, row['traffic'])
        for key, name in COUNTS.items():
            must(found['msgd_domain_%s_total{%s}' % (name, labels)] == row[key], name)
        must(found['msgd_domain_memory_bytes{%s}' % labels] == row['memory'])
    for row in names['names']:
        holder = row['holder']
        same_traffic(found, 'name', 'name="%s",domain="%s",domid="%d"' % (
            row['name'], holder['domain'], holder['domid']), row['traffic'])
    for row in links['links']:
        for end in 'creator', 'binder':
            same_traffic(found, 'link', 'link="%s",transport="%s",end="%s",domain="%s",domid="%d"' % (
                row['uid'], row['transport'], end, row[end]['domain'], row[end]['domid']),
                         row[end + '_traffic'])
    for row in channels['channels']:
        for end in 'from', 'to':
            same_traffic(
                found, 'channel',
                'link="%s",channel="%d",name="%s",transport="%s",end="%s",domain="%s",domid="%d"' % (
                    row['link'], row['channel'], row['name'], row['transport'], end,
                    row[end]['domain'], row[end]['domid']), row[end + '_traffic'])
    for row in stats['refusals']:
        must(found['msgd_rule_refusals_total{rule="%s"}' % row['rule']] == row['refused'], row)
    for stage, times in stats['latency'].items():
        labels = '{stage="%s"}' % stage
        must(found['msgd_connect_stage_seconds_count' + labels] == times['n'], stage)
        must(abs(found['msgd_connect_stage_seconds_sum' + labels] - times['sum'] / 1e6) < 1e-9, stage)
        buckets = [value for key, value in found.items()
                   if key.startswith('msgd_connect_stage_seconds_bucket{stage="%s"' % stage)]
        must(buckets == sorted(buckets) and buckets[-1] == times['n'], buckets)
    must(len(stats['counts']) > 2 and names['names'] and links['links'] and channels['channels'] and
         stats['refusals'], 'there is nothing to compare')


def case_watch(path, out):
    """Until it is told to end: no counter goes back unless its _created has changed."""
    last = {}
    n = 0
    while True:
        now = samples(path)
        for key, value in now.items():
            name, brace, labels = key.partition('{')
            created = None
            for suffix in '_total', '_count', '_bucket', '_sum':
                if name.endswith(suffix):
                    labels = ','.join(label for label in labels.rstrip('}').split(',')
                                      if not label.startswith('le='))
                    created = now.get(name[:-len(suffix)] + '_created' +
                                      (brace and '{' + labels + '}'), 0)
            if created is None:
                continue
            if key in last and created == last[key][1]:
                must(value >= last[key][0], '%s: %s after %s' % (key, value, last[key][0]))
            last[key] = value, created
        n += 1
        with open(out, 'a') as file:
            file.write('looked %d %d\n' % (n, now['msgd_up']))
        time.sleep(0.2)


def case_many(path, n, target):
    """So many connections at once: those that do not ask in time may be ended, the others are answered."""
    n = int(n)
    statuses = []
    ready = threading.Barrier(n)

    def one():
        try:
            sock = dial(path)
            ready.wait()
            statuses.append(ask_by(sock, target)[0])
        except (OSError, IndexError): # ended before it has asked, or before all of it was read
            statuses.append(0)

    threads = [threading.Thread(target=one) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print({status: statuses.count(status) for status in sorted(statuses)})
    must(set(statuses) <= ({0, 200, 503} if n > PLACES else {200, 503}) and len(statuses) == n, statuses)
    must(statuses.count(200) >= min(n, PLACES // 2), statuses)
    must(fresh(path)['msgd_up'] == 1)


def case_hoard(path, n):
    """However many connections are held that say nothing, one that asks is answered."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = []
    crowd = threading.Thread(target=lambda: [held.append(dial(path)) for _ in range(int(n))])
    crowd.start()
    while crowd.is_alive() and len(held) < int(n) // 2:
        time.sleep(0.05)
    begin = time.monotonic()
    status, _, _ = ask(path, '/metrics')
    print('%d connections before it: %.1f s' % (len(held), time.monotonic() - begin))
    must(status == 200, status)
    crowd.join()
    must(len(held) == int(n), len(held))
    # Nobody is ended while there are places: the last that was let in is one that still waits.
    if int(n) > PLACES:
        must(fresh(path)['msg_exporter_refusals_total{reason="crowded"}'] > 0)


def case_patient(path):
    """Where places are left, one that says nothing for a while is served all the same."""
    held = [dial(path) for _ in range(PLACES - 10)]
    time.sleep(1)
    must(samples(path)['msg_exporter_refusals_total{reason="crowded"}'] == 0)
    must(all(ask_by(sock, '/api/status')[0] == 200 for sock in held))


def wait_body(sock):
    """The head of an answer, of which nothing else is read."""
    head = b''
    while b'\r\n\r\n' not in head:
        more = sock.recv(1)
        must(more, 'no answer')
        head += more
    return int(head.split()[1]), head.decode()


def begin_ask(path, target):
    sock = dial(path)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(b'GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n' % target.encode())
    return sock


def case_places(path):
    """msgd stands still: whatever lists are asked, scrapes are answered after one of them."""
    lists = [begin_ask(path, '/api/channels?channel=%d' % i) for i in range(LISTS + 5)]
    many = [begin_ask(path, '/api/channels?channel=1') for _ in range(PLACES // 2)]
    refused = []
    while len(refused) < 5 + LISTS:
        ready, _, _ = select.select(
            [sock for sock in lists + many if sock not in refused], [], [], LIMIT_S)
        must(ready, 'not refused: %d' % len(refused))
        for sock in ready:
            status, head = wait_body(sock)
            if status != 503:
                continue
            must('Retry-After: 1' in head, head)
            words = sock.recv(200).decode()
            must(('too many different lists' if sock in lists else 'wait for lists') in words, words)
            refused.append(sock)
    for accept in 'text/plain', 'application/openmetrics-text':
        status, _, body = ask(path, '/metrics', 'Accept: ' + accept)
        must(status == 200 and b'msgd_up 0' in body, body)
        waiting = [sock for sock in lists if sock not in refused]
        answered, _, _ = select.select(waiting, [], [], 0)
        must(len(answered) < len(waiting) // 2, 'after %d lists' % len(answered))


def case_long(path):
    """Readers of the longest lists that do not read: what they hold has a limit."""
    held = []
    end = time.monotonic() + LIMIT_S
    while len(held) < 12:
        sock = begin_ask(path, '/api/channels?channel=%d' % len(held))
        status, head = wait_body(sock)
        if status == 504 and time.monotonic() < end:
            continue  # a busy machine: the answer came too late
        held.append((status, sock))
        if status == 503:
            must('Retry-After: 1' in head and b'answers that others still read' in sock.recv(200), head)
    n = [status for status, _ in held].count(200)
    must(n == 3 and [status for status, _ in held].count(503) == 9, [status for status, _ in held])
    must(fresh(path)['msgd_up'] == 1)
    # One that all read: it counts once.
    for _, sock in held:
        sock.close()
    end = time.monotonic() + LIMIT_S
    while True:
        held = [begin_ask(path, '/api/channels') for _ in range(20)]
        if {wait_body(sock)[0] for sock in held} == {200}:
            break
        must(time.monotonic() < end, 'what was held is not given back')
        time.sleep(0.3)


def case_deaf(path):
    """One that takes a part of a long answer and no more is ended."""
    sock = begin_ask(path, '/api/channels')
    status, head = wait_body(sock)
    must(status == 200)
    length = int(head.split('Content-Length: ')[1].split()[0])
    end = time.monotonic() + LIMIT_S
    while samples(path)['msg_exporter_refusals_total{reason="late"}'] < 1:
        must(time.monotonic() < end, 'it is kept')
        time.sleep(0.3)
    must(len(rest(sock)) < length, 'all of it was kept')


def case_long_metrics(path):
    """Readers of long metrics that do not read: they go, and others are answered."""
    held = []
    for _ in range(5):
        held.append(begin_ask(path, '/metrics'))
        status, head = wait_body(held[-1])
        must(status == 200, status)
        must(int(head.split('Content-Length: ')[1].split()[0]) > 5 << 20, head)
        time.sleep(1.1)
    must(samples(path)['msg_exporter_refusals_total{reason="crowded"}'] > 0)


def answer_to(path, request):
    """All that is answered on a connection, up to its end; the client says nothing more."""
    sock = dial(path)
    try:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass # it is refused before it is read
    return rest(sock)


def case_heads(path):
    """Requests that are too long, or not as RFC 9112 has them, and some that are odd and right."""
    host, next_one = b'Host: localhost\r\n', b'GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n'
    status = b'GET /api/status HTTP/1.1\r\n'
    cases = [
        (b'GET /%s HTTP/1.1\r\n' % (b'x' * 9000) + host, 414, b'the target is too long'),
        (status + host + b'X: ' + b'x' * 9000 + b'\r\n', 431, b'the headers are too long'),
        (b'GET /%s HTTP/1.1\r\n' % (b'x' * 20000) + host, 414, b'the target is too long'),
        (b'x' * 1000000, 414, b'the target is too long'),
        (status + host + b'X: ' + b'x' * 1000000 + b'\r\n', 431, b'the headers are too long'),
        (status + host + b':\r\n' * 200, 431, b'too many headers'),
        (status + host + b'X: y\r\n' * 100, 431, b'too many headers'),
        (status, 400, b'Host is missing'),
        (status + host + host, 400, b'Host is there twice'),
        (status + host + b'hOST: evil.example\r\n', 400, b'Host is there twice'),
        (status.replace(b'1.1', b'1.0') + host + host, 400, b'Host is there twice'),
        (status + host + b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', 400, b'Bad Request'),
        (status + host + b'Content-Length: %d\r\n' % len(next_one), 413, b' Too Large'),
        (status + host + b'Content-Length: 0\r\nContent-Length: 50\r\n', 413, b' Too Large'),
        (status + host + b'Content-Length: -1\r\n', 400, b'Bad Request'),
        (status + host + b'Transfer-Encoding: chunked\r\n', 413, b' Too Large'),
        (b'POST /api/status HTTP/1.1\r\n' + host + b'Transfer-Encoding: gzip, chunked\r\n', 413, b''),
        (b'GET /api/status HTTP/2.0\r\n' + host, 400, b'Bad Request'),
        (b'GET /api/status HTTP/0.9\r\n' + host, 505, b'version'),
        (b'GET /api/status HTTP/-1.1\r\n' + host, 505, b'version'),
        (b'GET /api\0/status HTTP/1.1\r\n' + host, 400, b'a request has no NUL'),
        (status + b'Host: localhost\0.evil\r\n', 400, b'a request has no NUL'),
        (b'HEAD /api/status HTTP/1.1\r\n' + host + b'Content-Length: %d\r\n' % len(next_one), 413, b''),
        (b'BREW /api/status HTTP/1.1\r\n' + host, 501, b'Not Implemented'),
    ]
    for head, code, words in cases:
        # The connection ends: another request on it is not answered, nor bytes of a body.
        data = answer_to(path, head + b'\r\n' + next_one)
        must(data.startswith(b'HTTP/1.1 %d ' % code) or
             b'1.0\r\n' in head and data.startswith(b'HTTP/1.0 %d ' % code), (head[:100], data))
        must(words in data and len(re.findall(rb'HTTP/1\.[01] \d', data)) == 1, (head[:100], data))
        must(b'\r\nConnection: close\r\n' in data, (head[:100], data))
    go_on = [
        (status + host + b'Content-Length: 0\r\n', 200, b'"op":"status"'),
        (status + host + b'X: ' + b'x' * 8000 + b'\r\n', 200, b'"op":"status"'),
        (status + host + b'X: y\r\n' * 99, 200, b'"op":"status"'),
        (status.replace(b'1.1', b'1.9') + host, 200, b'"op":"status"'),
        (b'GET http://localhost/api/status HTTP/1.1\r\n' + host, 200, b'"op":"status"'),
        (b'GET http://localhost HTTP/1.1\r\n' + host, 200, b'<html'),
        (b'GET /api/names?domain=%00 HTTP/1.1\r\n' + host, 400, b'a parameter is too long'),
        (b'GET /api%00/names HTTP/1.1\r\n' + host, 404, b'msg-exporter(8)'),
        (b'POST /api/status HTTP/1.1\r\n' + host, 405, b'\r\nAllow: GET, HEAD\r\n'),
        (b'OPTIONS * HTTP/1.1\r\n' + host, 405, b'\r\nAllow: GET, HEAD\r\n'),
        (status.replace(b'1.1', b'1.0') + b'Connection: keep-alive\r\n', 200, b'"op":"status"'),
    ]
    for head, code, words in go_on:
        data = answer_to(path, head + b'\r\n')
        must(re.match(rb'HTTP/1\.[01] %d ' % code, data) and words in data, (head[:100], data))
    # In pieces, and while another request waits for its answer.
    for pieces in ([status + host, b'X: y\r\n' * 60, b'X: y\r\n' * 60], [next_one, b'x' * 9000],
                   [status, host, b'X: ', b'x' * 9000]):
        sock = dial(path)
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(0.05)
        data = rest(sock)
        must(re.search(rb'HTTP/1\.1 4(14|31) ', data), (pieces[0], data))
        must(pieces[0] == next_one or b'"op":"status"' not in data, data)


def case_slow(path, timeout):
    """Requests that come byte by byte, or never, and answers that nobody reads."""
    timeout = int(timeout)
    begin = time.monotonic()
    silent, slow, half = dial(path), dial(path), dial(path)
    half.sendall(b'GET /metrics HTTP/1.1\r\nHost: localhost\r\n')
    for byte in b'GET /metrics HTTP/1.1\r\nX: ' + b'x' * 10000:
        try:
            slow.sendall(bytes([byte]))
        except OSError:
            break
        time.sleep(0.05)
    must(rest(slow) == b'' and rest(silent) == b'' and rest(half) == b'')
    took = time.monotonic() - begin
    must(timeout - 1 <= took, took)
    # One that reads nothing of very much.
    deaf = dial(path)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(20):
        try:
            deaf.sendall(b'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n' * 50)
        except OSError:
            break
    end = time.monotonic() + LIMIT_S
    while samples(path)['msg_exporter_refusals_total{reason="late"}'] < 4:
        must(time.monotonic() < end, 'a client that does not read is kept')
        time.sleep(0.3)
    # One that is quick is served meanwhile and afterwards, also twice on one connection.
    keep = dial(path)
    for _ in range(3):
        keep.sendall(b'GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n')
        head = b''
        while b'\r\n\r\n' not in head:
            head += keep.recv(1)
        length = int([line for line in head.decode().split('\r\n')
                      if line.startswith('Content-Length')][0].split()[1])
        body = b''
        while len(body) < length:
            body += keep.recv(length - len(body))
        must(json.loads(body)['op'] == 'status')
        time.sleep(timeout * 0.6)


def case_pipelined(path):
    """Requests that come at once are answered in their order."""
    sock = dial(path)
    sock.sendall(b''.join(b'GET /api/%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n' % (
        name, b'Connection: close\r\n' if name == b'limits' else b'')
                          for name in (b'status', b'names', b'limits')))
    data = rest(sock)
    must(data.count(b'HTTP/1.1 200') == 3, data)
    must(data.index(b'"op":"status"') < data.index(b'"op":"names"') < data.index(b'"op":"limits"'))


def case_head(path):
    """HEAD has no body: the next answer on the connection follows its head at once."""
    for target in ('/', '/metrics', '/api/status', '/none'):
        sock = dial(path)
        sock.sendall(b'HEAD %s HTTP/1.1\r\nHost: localhost\r\n\r\n' % target.encode())
        head = b''
        while b'\r\n\r\n' not in head:
            head += sock.recv(65536)
        sock.sendall(b'GET /api/limits HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
        data = (head + rest(sock)).split(b'\r\n\r\n', 1)
        must(int(data[0].lower().split(b'content-length: ')[1].split()[0]) > 0, data[0])
        must(data[1].startswith(b'HTTP/1.1 200'), data[1][:100])


def case_shared(path, n):
    """However many ask, at once or one after the other, msgd is scraped once a second."""
    before = fresh(path)['msg_exporter_scrapes_total']
    begin = time.monotonic()
    case_many(path, n, '/metrics')
    after = fresh(path)['msg_exporter_scrapes_total']
    # In either format.
    must(after - before <= 2 * (time.monotonic() - begin + 1), after - before)
    begin = time.monotonic()
    for _ in range(100):
        now = samples(path)['msg_exporter_scrapes_total']
    must(now - after <= time.monotonic() - begin + 1, now - after)


def long_rows(op):
    """As many channels as msgd may have, or so many names that their metrics are long."""
    holder = {'domain': 'd' * 100, 'domid': 1, 'pid': 12345}
    if op == 'channels':
        traffic = dict.fromkeys(TRAFFIC, 1234567890)
        return [{'link': '%032x' % i, 'channel': i, 'name': 'n' * 63, 'transport': 'argo', 'age_s': 99999,
                 'state': 'open', 'from': holder, 'to': holder, 'from_traffic': traffic,
                 'to_traffic': traffic} for i in range(16385)]
    return [{'name': 'n%d' % i, 'state': 'held', 'holder': holder, 'traffic': {}}
            for i in range(5000)] if op == 'names' else []


def case_fake_msgd(path, kind):
    """Answers as msgd; changed: its last status is another's; broken: a list fails; long: see there."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(5)
    rows = {op: long_rows(op) for op in ('channels', 'names')} if kind == 'long' else {}
    print('listens', flush=True)
    n = 0
    while True:
        sock, _ = listening.accept()
        op = json.loads(sock.makefile().readline())['op']
        n += op == 'status'
        answer = {'op': op, op: rows.get(op, []), 'pid': n if kind == 'changed' else 1, 'since_us': 5}
        if kind == 'broken' and op == 'names':
            answer = {'error': 'no'}
        try:
            sock.sendall(json.dumps(answer).encode() + b'\n')
        except OSError:
            pass
        sock.close()


globals()['case_' + sys.argv[1]](*sys.argv[2:])
