// SPDX-License-Identifier: LGPL-2.1-or-later
/* The other process of the tests: sends to an address, and waits until it is killed. */
'use strict';

const libmsg = require('libmsg');

async function main([address, type]) {
  const context = await libmsg.open({ hv: `${process.env.LIBMSG_TEST_HV}#shop` });
  context.connect(address, { type: libmsg[type.toUpperCase()] }).write('abc');
  process.stdin.resume();
}

main(process.argv.slice(2));
