#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An echo server of many clients in one thread: echo-server.py NAME"""
import asyncio
import sys

import libmsg
import libmsg.asyncio


async def serve(channel):
    async with channel:
        print('a client in domain', channel.getpeername().domain, flush=True)
        async for message in channel:
            await channel.send(message)


async def main(name):
    tasks = set()
    async with await libmsg.asyncio.listen(name, libmsg.SEQPACKET) as listener:
        print('listening on', name, flush=True)
        async for channel in listener:
            task = asyncio.create_task(serve(channel))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


asyncio.run(main(sys.argv[1]))
