// SPDX-License-Identifier: LGPL-2.1-or-later
//! libmsg.h, as far as it is used here. Sizes and values are checked against the library by the tests.
#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_int, c_short, c_uint, c_void};

pub enum msg_ctx {}
pub enum msg_sock {}
pub enum msg_buf {}

pub const LIBMSG_SEQPACKET: c_int = 1;
pub const LIBMSG_STREAM: c_int = 2;
pub const LIBMSG_DGRAM: c_int = 3;

pub const LIBMSG_NONBLOCK: c_uint = 2;
pub const LIBMSG_WAIT_NAME: c_uint = 4;

pub const LIBMSG_RCVTIMEO: c_int = 1;
pub const LIBMSG_SNDTIMEO: c_int = 2;
pub const LIBMSG_LINGER: c_int = 3;
pub const LIBMSG_RCVBUF: c_int = 4;
pub const LIBMSG_SNDBUF: c_int = 5;
pub const LIBMSG_MAXMSG: c_int = 6;
pub const LIBMSG_NONBLOCK_OPT: c_int = 7;
pub const LIBMSG_CORK: c_int = 8;
pub const LIBMSG_SPIN: c_int = 9;
pub const LIBMSG_ERROR: c_int = 11;
pub const LIBMSG_DROPS: c_int = 13;
pub const LIBMSG_DROP_OLDEST: c_int = 14;
pub const LIBMSG_EVENTS: c_int = 15;

pub const SHUT_RD: c_int = 0;
pub const SHUT_WR: c_int = 1;
pub const SHUT_RDWR: c_int = 2;

#[repr(C)]
pub struct msg_peer {
    pub size: u32,
    pub domid: u32,
    pub transport: u32,
    pub flags: u32,
    pub uuid: [u8; 16],
    pub domain: [c_char; 128],
    pub name: [c_char; 64],
}

#[repr(C)]
pub struct msg_pollfd {
    pub sock: *mut msg_sock,
    pub events: c_short,
    pub revents: c_short,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct msg_event {
    pub sock: *mut msg_sock,
    pub revents: c_short,
}

#[link(name = "msg")]
extern "C" {
    pub fn msg_ctx_open(hv: *const c_char, flags: c_uint, timeout_ms: c_int) -> *mut msg_ctx;
    pub fn msg_ctx_close(ctx: *mut msg_ctx);
    pub fn msg_ctx_fd(ctx: *mut msg_ctx) -> c_int;
    pub fn msg_ctx_dispatch(ctx: *mut msg_ctx, ret_events: *mut msg_event, n: c_int) -> c_int;
    pub fn msg_ctx_set_transport(ctx: *mut msg_ctx, transport: c_int) -> c_int;
    pub fn msg_listen(
        ctx: *mut msg_ctx,
        name: *const c_char,
        kind: c_int,
        backlog: c_int,
        flags: c_uint,
    ) -> *mut msg_sock;
    pub fn msg_accept(listener: *mut msg_sock, flags: c_uint) -> *mut msg_sock;
    pub fn msg_connect(
        ctx: *mut msg_ctx,
        address: *const c_char,
        kind: c_int,
        flags: c_uint,
        timeout_ms: c_int,
    ) -> *mut msg_sock;
    pub fn msg_watch(ctx: *mut msg_ctx, addr_glob: *const c_char) -> *mut msg_sock;
    pub fn msg_shutdown(sock: *mut msg_sock, how: c_int) -> c_int;
    pub fn msg_close(sock: *mut msg_sock) -> c_int;
    pub fn msg_send(sock: *mut msg_sock, data: *const c_void, len: usize, flags: c_int) -> isize;
    pub fn msg_recv(sock: *mut msg_sock, data: *mut c_void, len: usize, flags: c_int) -> isize;
    pub fn msg_recv_take(
        sock: *mut msg_sock,
        flags: c_int,
        ret_data: *mut *const c_void,
        ret_buf: *mut *mut msg_buf,
    ) -> isize;
    pub fn msg_buf_free(buf: *mut msg_buf);
    pub fn msg_flush(sock: *mut msg_sock) -> c_int;
    pub fn msg_poll(fds: *mut msg_pollfd, n: usize, timeout_ms: c_int) -> c_int;
    pub fn msg_getpeer(sock: *mut msg_sock, ret_peer: *mut msg_peer) -> c_int;
    pub fn msg_setopt(sock: *mut msg_sock, option: c_int, value: i64) -> c_int;
    pub fn msg_getopt(sock: *mut msg_sock, option: c_int, ret_value: *mut i64) -> c_int;
    pub fn msg_reason() -> *const c_char;
    pub fn msg_version() -> *const c_char;
}
