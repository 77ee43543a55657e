#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the answers of a msgd that has all kinds of things to docs/msgctl.schema.json.

    admin-answers.py SOCKET SCHEMA DOMAIN NAME SERVER-DOMAIN SERVER-NAME

DOMAIN has an application that listens on NAME, with a channel; SERVER-DOMAIN one that goes on after
its end is kicked. The policy's files do not permit the one name and the other channel any more.
Each operation of the schema is asked, a list has rows, and each answer is as the schema says. The
steps that end things come last.
"""
import json
import socket
import sys

import jsonschema

PATH, SCHEMA, DOMAIN, NAME, SERVER_DOMAIN, SERVER = sys.argv[1:]
LIMIT_S = 60

with open(SCHEMA, encoding='utf-8') as file:
    schema = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
answers = schema['$defs']['answers']
whole = jsonschema.Draft202012Validator(schema)
failures = 0


def validate(op, answer):
    global failures  # pylint: disable=global-statement
    wanted = {'$ref': '#/$defs/answers/' + op, '$defs': schema['$defs']}
    errors = list(jsonschema.Draft202012Validator(wanted).iter_errors(answer)) + list(whole.iter_errors(answer))
    for error in errors:
        print('%s: %s: %s' % (op, '/'.join(str(p) for p in error.path), error.message))
    failures += bool(errors)


def lines_of(request, n):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(LIMIT_S)
        sock.connect(PATH)
        sock.sendall(json.dumps(request).encode() + b'\n')
        stream = sock.makefile()
        return [json.loads(stream.readline()) for _ in range(n)]


def ask(op, rows=False, **keys):
    """The answer, which is as its operation's; with rows, if it is to have some."""
    global failures  # pylint: disable=global-statement
    answer = lines_of({'op': op, **keys}, 1)[0]
    asked.add(op)
    validate(op, answer)
    if rows and not answer.get(op):
        print('%s: no rows' % op)
        failures += 1
    return answer


for wrong in 42, [], {}, {'op': 'status'}, {'op': 'none', 'done': True}:
    if whole.is_valid(wrong):
        print('the schema takes %s' % wrong)
        failures += 1
asked = {'error', 'monitor'}
for operation in 'domains', 'applications', 'names', 'links', 'channels', 'history', 'counts', 'refusals', 'limits', \
        'policy-list':
    ask(operation, rows=True)
for operation in 'status', 'latency', 'refresh':
    ask(operation)
ask('reload-dry-run', rows=True)
for more in {}, {'to': SERVER_DOMAIN}, {'to': 'nobody'}, {'listen': True}:
    ask('policy-test', rows=True, domain=DOMAIN, name=SERVER, **more)
validate('error', lines_of({'op': 'nothing'}, 1)[0])
for event in lines_of({'op': 'monitor', 'since': 0}, 5):
    validate('monitor', event)
# Of the traffic that is under way.
asked.add('capture')
for line in lines_of({'op': 'capture', 'domain': DOMAIN, 'payload': True}, 5):
    validate('capture', line)
ask('wait', domain=DOMAIN, name=NAME)
ask('wait', domain=DOMAIN, name='none', timeout_ms=0)
ask('ping', domain=SERVER_DOMAIN, name=SERVER)
ask('set-limit', domain=DOMAIN, limit='names', value=10)
ask('log-level', level='debug')
for operation in 'drain', 'undrain', 'block':
    ask(operation, domain=DOMAIN, name=NAME)
ask('blocks', rows=True)
ask('unblock', domain=DOMAIN, name=NAME)
channel = ask('channels', domain=DOMAIN, name=NAME)['channels'][0]
ask('close', link=channel['link'], channel=channel['channel'])
link = ask('links', domain=DOMAIN, link=channel['link'])['links'][0]
ask('kick-link', link=link['uid'])
ask('kick-name', domain=SERVER_DOMAIN, name=SERVER)
ask('wait', domain=SERVER_DOMAIN, name=SERVER)
pid = ask('applications', domain=SERVER_DOMAIN)['applications'][0]['pid']
ask('kick-application', domain=SERVER_DOMAIN, pid=pid)
ask('wait', domain=SERVER_DOMAIN, name=SERVER)
ask('kick-domain', domain=SERVER_DOMAIN)
ask('wait', domain=SERVER_DOMAIN, name=SERVER)
ask('quiesce', domain=SERVER_DOMAIN)
ask('resume', domain=SERVER_DOMAIN)
ask('resume', domain=SERVER_DOMAIN)
ask('history', rows=True)
ask('reload')
if asked != set(answers):
    print('not asked: %s' % ' '.join(set(answers) - asked))
    failures += 1
sys.exit(failures > 0)
