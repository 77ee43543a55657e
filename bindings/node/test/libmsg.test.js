// SPDX-License-Identifier: LGPL-2.1-or-later
/* The binding on the emulator: tests/bindings/run sets $LIBMSG_TEST_HV, "sim:PATH". */
'use strict';

const assert = require('node:assert');
const { spawn } = require('node:child_process');
const crypto = require('node:crypto');
const { once } = require('node:events');
const http = require('node:http');
const { setTimeout: delay } = require('node:timers/promises');
const test = require('node:test');
const libmsg = require('libmsg');

const LONG = 100000; // ms that what works never takes
const TYPES = { stream: libmsg.STREAM, seqpacket: libmsg.SEQPACKET, dgram: libmsg.DGRAM };

const open = (domain) => libmsg.open({ hv: `${process.env.LIBMSG_TEST_HV}#${domain}`, timeout: LONG });
const pattern = (n, seed = 1) => crypto.createHash('shake128', { outputLength: Math.max(n, 1) })
  .update(String(seed)).digest().subarray(0, n);

/* By events: a loop over it would destroy a Duplex at its end, and with it the other direction. */
const all = (stream) => new Promise((resolve, reject) => {
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  stream.on('end', () => resolve(Buffer.concat(chunks)));
  stream.on('error', reject);
});

/* A test with a context in each of two domains, which it has to itself. */
function world(name, run) {
  test(name, { timeout: LONG }, async (t) => {
    const [web, shop] = [await open('web'), await open('shop')];
    try {
      await run({ web, shop, name: name.replace(/[^a-z]/g, '-'), t });
    } finally {
      web.close();
      shop.close();
    }
  });
}

async function pair({ web, shop, name }, options) {
  const server = web.listen(name, options);
  await once(server, 'listening');
  const client = shop.connect(`web/${name}`, options);
  const [[accepted]] = await Promise.all([once(server, 'connection'), once(client, 'connect')]);
  server.close();
  return [client, accepted];
}

const fails = (emitter) => once(emitter, 'never').then(() => assert.fail(), (error) => error);

world('echo of a stream, and its end', async (w) => {
  const [client, server] = await pair(w);
  assert.deepStrictEqual([client.peer.domain, server.peer.domain], ['web', 'shop']);
  server.pipe(server);
  client.write('question');
  client.end(pattern(100000));
  assert.deepStrictEqual(await all(client), Buffer.concat([Buffer.from('question'), pattern(100000)]));
});

for (const type of ['seqpacket', 'dgram']) {
  world(`echo of a ${type}`, async (w) => {
    const [client, server] = await pair(w, { type: TYPES[type] });
    server.pipe(server);
    const messages = [1, 0, 100, 5000].map((n) => pattern(n));
    for (const message of messages) client.write(message);
    const got = [];
    for await (const message of client) {
      got.push(message);
      if (got.length === messages.length) client.end();
    }
    assert.deepStrictEqual(got, messages);
  });
}

world('half close', async (w) => {
  const [client, server] = await pair(w, { allowHalfOpen: true });
  client.end('question');
  assert.strictEqual(String(await all(server)), 'question');
  server.end('answer');
  assert.strictEqual(String(await all(client)), 'answer');
});

world('an end before the connect is done', async ({ web, shop, name }) => {
  const server = web.listen(name);
  const client = shop.connect(`web/${name}`);
  client.resume().end();
  const [accepted] = await once(server, 'connection');
  assert.strictEqual((await all(accepted)).length, 0);
  await once(client, 'close');
});

/* Another process, which sends and then waits for its end. */
const child = (address, type) => spawn(process.execPath, [require.resolve('./send-and-wait.js'), address, type],
  { stdio: ['pipe', 'inherit', 'inherit'] });

for (const type of Object.keys(TYPES)) {
  world(`killed peer of a ${type}`, async ({ web, name }) => {
    const server = web.listen(name, { type: TYPES[type] });
    const other = child(`web/${name}`, type);
    const [channel] = await once(server, 'connection');
    channel.on('end', () => assert.fail('an end'));
    channel.once('data', (data) => {
      assert.strictEqual(String(data), 'abc');
      other.kill('SIGKILL');
    });
    const error = await fails(channel);
    assert.strictEqual(error.code, 'ECONNRESET');
    assert.ok(error.message.length > 5);
    assert.strictEqual(error.errno, -104);
  });
}

world('errors say why', async ({ web, shop, name }) => {
  let error = await fails(shop.connect('web/secret'));
  assert.strictEqual(error.code, 'EACCES');
  assert.match(error.message, /policy/);
  assert.strictEqual((await fails(shop.connect('web/nobody'))).code, 'ENOENT');
  error = await fails(shop.connect('web/never', { wait: true, timeout: 20 }));
  assert.strictEqual(error.code, 'ETIMEDOUT');
  assert.throws(() => web.listen('a bad name'), { code: 'EINVAL', syscall: 'listen' });
  await once(web.listen(name), 'listening');
  assert.throws(() => web.listen(name), { code: 'EADDRINUSE' });
  error = await fails(shop.connect(`web/${name}`, { type: libmsg.SEQPACKET }));
  assert.strictEqual(error.code, 'EPROTOTYPE');
  await assert.rejects(libmsg.open({ hv: 'nowhere' }), { code: 'EINVAL' });
});

world('idle timeout', async (w) => {
  const [client] = await pair(w);
  client.setTimeout(20);
  await once(client, 'timeout');
});

world('big transfer', async (w) => {
  const [client, server] = await pair(w);
  const data = pattern(32 << 20);
  client.end(data);
  const hash = crypto.createHash('sha256');
  for await (const chunk of server) hash.update(chunk);
  assert.strictEqual(hash.digest('hex'), crypto.createHash('sha256').update(data).digest('hex'));
});

world('many at once', async ({ web, shop, name }) => {
  web.listen(name, { allowHalfOpen: true }, (channel) => channel.pipe(channel));
  await Promise.all(Array.from({ length: 100 }, async (_, i) => {
    const channel = shop.connect(`web/${name}`, { allowHalfOpen: true });
    const data = pattern(200000 + i, i);
    channel.end(data);
    assert.ok((await all(channel)).equals(data));
  }));
});

world('what nobody reads wakes nobody', async (w) => {
  const [client, server] = await pair(w);
  let turns = 0;
  const dispatch = w.web._dispatch;
  w.web._dispatch = function counted() { turns++; return dispatch.call(this); };
  client.write(pattern(4 << 20));
  await delay(300);
  assert.ok(turns < 200, `${turns} turns`);
  assert.ok(client.writableLength > 0, 'no backpressure');
  client.resume().end();
  assert.strictEqual((await all(server)).length, 4 << 20);
});

world('watch', async ({ web, shop }) => {
  const watch = shop.watch('web/seen*');
  const next = async () => (await watch.next()).value;
  assert.deepStrictEqual(await next(), { there: true, address: '' });
  const server = web.listen('seen-node');
  assert.deepStrictEqual(await next(), { there: true, address: 'web/seen-node' });
  server.close();
  assert.deepStrictEqual(await next(), { there: false, address: 'web/seen-node' });
  watch.close();
});

world('http', async ({ web, shop, name }) => {
  const server = http.createServer(async (request, response) => {
    const body = await all(request);
    response.setHeader('X-Domain', request.socket.remoteAddress);
    response.end(Buffer.concat([body, body]));
  });
  web.listen(name, { allowHalfOpen: true }, (channel) => server.emit('connection', channel));
  const ask = (body) => new Promise((resolve, reject) => {
    const request = http.request({
      method: 'POST', path: '/', host: 'web', createConnection: () => shop.connect(`web/${name}`),
    }, (response) => all(response).then((data) => resolve([response, data]), reject));
    request.on('error', reject);
    request.end(body);
  });
  await Promise.all(Array.from({ length: 20 }, async (_, i) => {
    for (const n of [0, 100, 70000 + i, 300000]) {
      const body = pattern(n, i);
      const [response, data] = await ask(body);
      assert.deepStrictEqual([response.statusCode, response.headers['x-domain']], [200, 'shop']);
      assert.ok(data.equals(Buffer.concat([body, body])));
    }
  }));
});

world('http that is cut', async ({ web, shop, name }) => {
  web.listen(name, (channel) => {
    channel.once('data', () => channel.end('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegins'));
  });
  const cut = new Promise((resolve, reject) => {
    const createConnection = () => shop.connect(`web/${name}`);
    http.get({ host: 'web', createConnection }, (response) => all(response).then(resolve, reject))
      .on('error', reject);
  });
  await assert.rejects(cut, { code: 'ECONNRESET' });
});
