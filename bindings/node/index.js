// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Named message channels between Xen domains, as Duplex streams.
 *
 *   const context = await libmsg.open({ hv, timeout });
 *   const channel = context.connect('web/echo');
 *   const server = context.listen('echo', channel => channel.pipe(channel));
 *
 * Errors are those of Node's own sockets: code is 'ECONNRESET' for a peer that died, 'EACCES' for
 * policy's refusal, 'ETIMEDOUT', and so on, and message is libmsg's reason. libmsg(3) has the rules
 * that all languages share.
 */
'use strict';

const { Duplex } = require('node:stream');
const EventEmitter = require('node:events');
const native = require('./libmsg.node');

const { POLLIN, POLLOUT, POLLERR, POLLHUP, POLLRDHUP } = native;
const READABLE = POLLIN | POLLERR | POLLHUP | POLLRDHUP;
const WRITABLE = POLLOUT | POLLERR | POLLHUP;

function failure(code, message) {
  return Object.assign(new Error(message), { code });
}

/*
 * A socket that does not block, under one of the objects below, whose _readable and _writable it
 * calls. What arrives is reported once, and then no more until `arm` asks for it again. An end is
 * reported once to those who do not ask: they must not say so twice.
 */
class Handle {
  constructor(context, [socket, id], owner) {
    Object.assign(this, { context, socket, id, owner, armed: true });
    context._add(this);
  }

  arm(armed) {
    if (this.socket && (armed || this.armed)) {
      this.armed = armed;
      native.setopt(this.socket, native.EVENTS, armed ? POLLIN : 0);
    }
  }

  ready(events) {
    if (events & WRITABLE) this.owner._writable();
    if (!(events & READABLE) || !this.socket) return;
    this.arm(false);
    this.owner._readable();
  }

  /*
   * Closes it. A socket that does not block leaves its last frame to later calls, which a program at
   * its end does not make: where there is no room for the frame, a thread waits for it.
   */
  close() {
    const { socket, context } = this;
    if (!socket) return;
    this.socket = null;
    let room = true;
    try {
      room = native.poll(socket, POLLOUT) !== 0;
    } catch { /* no channel stands */ }
    context._remove(this);
    if (room || !this.connected) {
      try { native.close(socket); } catch { /* the peer was told; nobody is left here who could be */ }
    } else {
      native.setopt(socket, native.EVENTS, 0);
      context._lingers(native.linger(socket));
    }
  }
}

/* ---- channels --------------------------------------------------------------------------------- */

/**
 * One end of a channel. Of STREAM a Duplex of bytes; of SEQPACKET and DGRAM one in object mode, each
 * of whose chunks is a message.
 */
class Channel extends Duplex {
  constructor(context, pair, { type, connecting, timeout, allowHalfOpen = false }) {
    const objectMode = type !== native.STREAM;
    super({ objectMode, allowHalfOpen, autoDestroy: true });
    Object.assign(this, { type, connecting, peer: null, _wants: false, _waiting: null, _ending: null });
    this._msg = new Handle(context, pair, this);
    if (timeout) this._limit = setTimeout(() => this.destroy(
      failure('ETIMEDOUT', 'nobody was there in time, or did not answer')), timeout);
    if (!connecting) this._stands();
  }

  get _sock() { return this._msg.socket; }
  get remoteAddress() { return this.peer ? this.peer.domain : undefined; }

  _stands() {
    clearTimeout(this._limit);
    this.connecting = false;
    this._msg.connected = true;
    this.peer = native.peer(this._sock);
    this.readyState = 'open';
  }

  /* What was asked for before the connect is done waits for it. */
  _connected() {
    try {
      native.check(this._sock);
      this._stands();
    } catch (error) {
      this.destroy(error);
      return;
    }
    this.emit('connect');
    if (this._wants) this._readSome();
    this._writable();
    if (this._ending) this._final(this._ending);
  }

  _readable() {
    if (this._wants) this._readSome();
  }

  _read() {
    this._wants = true;
    if (!this.connecting) this._readSome();
  }

  /* One piece: the stream asks again when it has dealt with it. */
  _readSome() {
    let data;
    try {
      data = native.recv(this._sock);
    } catch (error) {
      this.destroy(error);
      return;
    }
    if (data === undefined) {
      this._msg.arm(true);
      return;
    }
    this._wants = false;
    this._active();
    this.push(data);
  }

  _writable() {
    if (this.connecting) {
      this._connected();
      return;
    }
    const waiting = this._waiting;
    this._waiting = null;
    if (waiting) this._send(...waiting);
  }

  _write(chunk, encoding, callback) {
    this._send(Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk, encoding), 0, callback);
  }

  _send(data, offset, callback) {
    try {
      do {
        const n = this.connecting ? undefined : native.send(this._sock, data, offset);
        if (n === undefined) {
          this._waiting = [data, offset, callback];
          return;
        }
        offset += n;
      } while (offset < data.length);
    } catch (error) {
      callback(error);
      return;
    }
    this._active();
    callback();
  }

  _final(callback) {
    if (this.connecting) {
      this._ending = callback;
      return;
    }
    try {
      native.shutdown(this._sock, native.SHUT_WR);
      callback();
    } catch (error) {
      callback(error.code === 'ENOTCONN' ? null : error);
    }
  }

  _destroy(error, callback) {
    clearTimeout(this._limit);
    clearTimeout(this._timer);
    this._msg.close();
    if (this._waiting) this._waiting[2](error || failure('ECANCELED', 'the channel was destroyed'));
    this._waiting = null;
    if (this._ending && this.connecting) this._ending(error || failure('ECANCELED', 'the channel was destroyed'));
    callback(error);
  }

  setOption(option, value) { native.setopt(this._sock, option, value); }
  getOption(option) { return native.getopt(this._sock, option); }

  /* ---- as of net.Socket, for http */

  /** 'timeout' after so many ms without reading or writing; 0: never. */
  setTimeout(ms, callback) {
    this.timeout = ms;
    if (callback) this.once('timeout', callback);
    this._active();
    return this;
  }

  _active() {
    clearTimeout(this._timer);
    if (this.timeout && !this.destroyed) {
      this._timer = setTimeout(() => this.emit('timeout'), this.timeout).unref();
    }
  }

  destroySoon() {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', this.destroy);
  }

  setNoDelay() { return this; }
  setKeepAlive() { return this; }
  ref() { return this; }
  unref() { return this; }
}

/* ---- servers and watches ---------------------------------------------------------------------- */

/** Emits 'listening', 'connection' with a Channel, 'error' and 'close'. */
class Server extends EventEmitter {
  constructor(context, name, pair, options) {
    super();
    Object.assign(this, { name, options, listening: false });
    this._msg = new Handle(context, pair, this);
    if (native.poll(this._msg.socket, POLLOUT)) process.nextTick(() => this._writable());
  }

  _writable() {
    if (this.listening || !this._msg.socket) return;
    try {
      native.check(this._msg.socket);
    } catch (error) {
      this._fail(error);
      return;
    }
    this.listening = true;
    this.emit('listening');
  }

  _readable() {
    try {
      const pair = native.accept(this._msg.socket);
      this._msg.arm(true); // one at a time: it is reported again
      if (pair) this.emit('connection', new Channel(this._msg.context, pair, this.options));
    } catch (error) { // the name is lost
      this._fail(error);
    }
  }

  _fail(error) {
    this.close();
    this.emit('error', error);
  }

  close(callback) {
    if (callback) this.once('close', callback);
    if (!this._msg.socket) return this;
    this.listening = false;
    this._msg.close();
    process.nextTick(() => this.emit('close'));
    return this;
  }

  address() { return { name: this.name }; }
}

/**
 * The names that a pattern fits, as they come and go: an async iterator of { there, address }. The names
 * that are there come first, then one with an empty address, then the changes.
 */
class Watch {
  constructor(context, pair) {
    this._waiting = [];
    this._msg = new Handle(context, pair, this);
  }

  _writable() {}

  _readable() {
    while (this._waiting.length && this._msg.socket) {
      const [resolve, reject] = this._waiting[0];
      try {
        const text = native.recv(this._msg.socket);
        if (text === undefined) {
          this._msg.arm(true);
          return;
        }
        const [sign, address] = [text.toString('latin1', 0, 1), text.toString('utf8', 1)];
        resolve({ done: false, value: { there: sign !== '-', address } });
      } catch (error) {
        reject(error);
      }
      this._waiting.shift();
    }
  }

  next() {
    if (!this._msg.socket) return Promise.resolve({ done: true });
    return new Promise((resolve, reject) => {
      this._waiting.push([resolve, reject]);
      this._readable();
    });
  }

  close() {
    this._msg.close();
    for (const [resolve] of this._waiting.splice(0)) resolve({ done: true });
  }

  return() {
    this.close();
    return Promise.resolve({ done: true });
  }

  [Symbol.asyncIterator]() { return this; }
}

/* ---- the context ------------------------------------------------------------------------------ */

/** This process's connection to msgd. It keeps the process alive while something of it is open. */
class Context {
  constructor(external) {
    this._native = external;
    this._msgs = new Map();
    this._lingering = 0;
    native.start(external, () => this._dispatch());
  }

  _dispatch() {
    const events = native.dispatch(this._native);
    for (let i = 0; i < events.length; i += 2) {
      const handle = this._msgs.get(events[i]);
      if (handle) handle.ready(events[i + 1]);
      if (!this._native) return;
    }
  }

  _add(handle) {
    this._msgs.set(handle.id, handle);
    native.keep(this._native, 1);
  }

  _remove(handle) {
    this._msgs.delete(handle.id);
    if (!this._msgs.size && this._native) native.keep(this._native, 0);
  }

  _lingers(promise) {
    this._lingering++;
    promise.then(() => {
      this._lingering--;
      if (this._closed) this._end();
    });
  }

  /** A Server on a name of this domain. options: type, backlog, allowHalfOpen. */
  listen(name, options = {}, onConnection) {
    if (typeof options === 'function') [options, onConnection] = [{}, options];
    const { type = native.STREAM, backlog = 128, allowHalfOpen } = options;
    const pair = native.listen(this._native, name, type, backlog);
    const server = new Server(this, name, pair, { type, allowHalfOpen });
    if (onConnection) server.on('connection', onConnection);
    return server;
  }

  /**
   * A Channel to "NAME" or "DOMAIN/NAME", which emits 'connect'. options: type; wait: also for a name
   * that is not there yet; timeout: ms for the connect; allowHalfOpen.
   */
  connect(address, options = {}, onConnect) {
    if (typeof options === 'function') [options, onConnect] = [{}, options];
    const { type = native.STREAM, wait = false, timeout, allowHalfOpen } = options;
    const pair = native.connect(this._native, address, type, wait ? 1 : 0);
    const channel = new Channel(this, pair, { type, timeout, allowHalfOpen, connecting: true });
    if (onConnect) channel.once('connect', onConnect);
    return channel;
  }

  /** A Watch of the names that a pattern such as "web*\/http" fits. */
  watch(pattern) {
    return new Watch(this, native.watch(this._native, pattern));
  }

  /** Destroys all that is open, and detaches from msgd. */
  close() {
    this._closed = true;
    for (const { owner } of [...this._msgs.values()]) {
      if (owner.destroy) owner.destroy();
      else owner.close();
    }
    this._end();
  }

  _end() {
    if (this._lingering || !this._native) return;
    native.closeContext(this._native);
    this._native = null;
  }
}

/** Attaches this process to msgd. timeout: ms for msgd to answer; without it, for ever. */
async function open({ hv = '', timeout = -1 } = {}) {
  return new Context(await native.open(hv, timeout));
}

module.exports = {
  open, Context, Channel, Server, Watch, version: native.version,
};
for (const name of ['SEQPACKET', 'STREAM', 'DGRAM', 'LINGER', 'RCVBUF', 'SNDBUF', 'MAXMSG', 'CORK',
  'DROPS', 'DROP_OLDEST']) {
  module.exports[name] = native[name];
}
