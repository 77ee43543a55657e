#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sends each line of standard input as a message and prints each answer: echo-client.py [DOMAIN/]NAME"""
import sys

import libmsg

with libmsg.Context() as ctx, \
        ctx.connect(sys.argv[1], libmsg.SEQPACKET, timeout=10, wait=True) as sock:
    for line in sys.stdin.buffer:
        line = line.rstrip(b'\n')
        sock.sendall(line)
        print('sent %d bytes, got back: %s' % (len(line), sock.recv().decode()), flush=True)
