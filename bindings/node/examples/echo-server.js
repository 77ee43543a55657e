// SPDX-License-Identifier: LGPL-2.1-or-later
/* An echo server: echo-server.js NAME */
'use strict';

const libmsg = require('libmsg');

async function main(name) {
  const context = await libmsg.open();
  const server = context.listen(name, { type: libmsg.SEQPACKET }, (channel) => {
    console.log(`a client in domain ${channel.peer.domain}`);
    channel.on('error', (error) => console.error(error.message));
    channel.pipe(channel);
  });
  server.on('listening', () => console.log(`listening on ${name}`));
}

main(process.argv[2]);
