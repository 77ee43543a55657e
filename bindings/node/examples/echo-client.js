// SPDX-License-Identifier: LGPL-2.1-or-later
/* Sends each line of standard input as a message and prints each answer: echo-client.js [DOMAIN/]NAME */
'use strict';

const { once } = require('node:events');
const readline = require('node:readline');
const libmsg = require('libmsg');

async function main(address) {
  const context = await libmsg.open();
  // Wait for the server if it is not up yet, ten seconds at most.
  const channel = context.connect(address, { type: libmsg.SEQPACKET, wait: true, timeout: 10000 });
  const lines = readline.createInterface({ input: process.stdin });
  for await (const line of lines) {
    channel.write(line);
    const [answer] = await once(channel, 'data');
    console.log(`sent ${Buffer.byteLength(line)} bytes, got back: ${answer}`);
  }
  channel.end();
}

main(process.argv[2]);
