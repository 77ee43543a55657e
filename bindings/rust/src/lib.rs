// SPDX-License-Identifier: LGPL-2.1-or-later
//! Named message channels between Xen domains, used like sockets.
//!
//! ```no_run
//! use libmsg::{Context, Stream};
//! use std::io::{Read, Write};
//!
//! # fn main() -> std::io::Result<()> {
//! let context = Context::open(None, None)?;
//! let mut stream: Stream = context.connect("web/echo", None)?;
//! stream.write_all(b"hello")?;
//! let mut answer = [0; 5];
//! stream.read_exact(&mut answer)?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Context`] attaches the process to msgd. It listens, connects and watches; what it makes keeps
//! it open. All of it may be used by several threads. libmsg(3) has the rules that all languages
//! share. Errors are `std::io::Error`, of the kind that sockets have, with a [`Reason`] in them: a
//! peer that died is `ConnectionReset`, policy's refusal `PermissionDenied`, a time limit `TimedOut`.
//!
//! A context belongs to the process that opened it: in a forked child every call fails.

mod error;
mod ffi;
mod sock;

pub use error::Reason;
pub use sock::{
    Channel, Dgram, Incoming, Listener, Messages, Name, Opt, Peer, SeqPacket, Socket, Stream, Watch,
};

use error::check;
use std::ffi::{CStr, CString};
use std::io;
use std::os::raw::{c_int, c_short, c_uint};
use std::os::unix::io::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// Events of [`Context::dispatch`] and [`Socket::poll`], as of poll(2).
pub const POLLIN: i16 = 1;
pub const POLLOUT: i16 = 4;
pub const POLLERR: i16 = 8;
pub const POLLHUP: i16 = 16;
pub const POLLRDHUP: i16 = 0x2000;

/// How payload travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Any = 0,
    Argo = 1,
    ArgoStrict = 2,
    Grant = 3,
}

/// A socket that is ready, by its [`Socket::id`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub id: usize,
    pub events: i16,
}

/// The version of the library that runs.
pub fn version() -> &'static str {
    // SAFETY: a constant.
    unsafe { CStr::from_ptr(ffi::msg_version()) }.to_str().unwrap_or("")
}

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Milliseconds, rounded up; None: for ever.
fn milliseconds(timeout: Option<Duration>) -> c_int {
    timeout.map_or(-1, |t| {
        c_int::try_from(t.as_millis() + u128::from(t.subsec_nanos() % 1_000_000 != 0)).unwrap_or(c_int::MAX)
    })
}

struct Inner(*mut ffi::msg_ctx);

// SAFETY: any thread may call any function of libmsg, for contexts that are opened as here.
unsafe impl Send for Inner {}
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: no socket of it is left: each holds a reference.
        unsafe { ffi::msg_ctx_close(self.0) }
    }
}

/// This process's connection to msgd. It closes when the last clone of it, and all that it made, are
/// dropped.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

impl Context {
    /// Attaches this process to msgd. hv is "xen", "sim:PATH" or "sim:PATH#DOMAIN"; None: $MSG_HV if
    /// that is set, else Xen. timeout: for msgd to answer; None: for ever.
    pub fn open(hv: Option<&str>, timeout: Option<Duration>) -> io::Result<Context> {
        let hv = hv.map(c_string).transpose()?;
        let hv = hv.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        // SAFETY: the string lives until the call is over.
        let ctx = unsafe { ffi::msg_ctx_open(hv, 0, milliseconds(timeout)) };
        if ctx.is_null() {
            return Err(error::last());
        }
        Ok(Context(Arc::new(Inner(ctx))))
    }

    fn own(&self, sock: *mut ffi::msg_sock) -> io::Result<Socket> {
        if sock.is_null() {
            return Err(error::last());
        }
        // SAFETY: it was just made, and is given to nobody else.
        Ok(unsafe { Socket::from_raw(self.clone(), sock) })
    }

    /// Listens on a name of this domain, with room for so many channels that wait to be accepted.
    pub fn listen<C: Channel>(&self, name: &str, backlog: i32) -> io::Result<Listener<C>> {
        self.listen_with(name, backlog, 0)
    }

    /// Listens without waiting for a msgd that is away: the socket is non-blocking, and POLLOUT says
    /// that it has its name.
    pub fn listen_nonblocking<C: Channel>(&self, name: &str, backlog: i32) -> io::Result<Listener<C>> {
        let listener = self.listen_with(name, backlog, ffi::LIBMSG_NONBLOCK)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    fn listen_with<C: Channel>(&self, name: &str, backlog: i32, flags: c_uint) -> io::Result<Listener<C>> {
        let name = c_string(name)?;
        // SAFETY: the string lives until the call is over.
        self.own(unsafe { ffi::msg_listen(self.0 .0, name.as_ptr(), C::TYPE, backlog, flags) })
            .map(Listener::from_socket)
    }

    /// Connects to "NAME" or "DOMAIN/NAME". timeout: None: for ever.
    pub fn connect<C: Channel>(&self, address: &str, timeout: Option<Duration>) -> io::Result<C> {
        self.connect_with(address, 0, milliseconds(timeout))
    }

    /// Connects, and waits for a domain or a name that is not there yet.
    pub fn connect_wait<C: Channel>(&self, address: &str, timeout: Option<Duration>) -> io::Result<C> {
        self.connect_with(address, ffi::LIBMSG_WAIT_NAME, milliseconds(timeout))
    }

    /// Begins to connect: the socket is non-blocking, POLLOUT of [`Context::dispatch`] says that it is
    /// done, and [`Socket::take_error`] how.
    pub fn connect_nonblocking<C: Channel>(&self, address: &str, wait: bool) -> io::Result<C> {
        let wait = if wait { ffi::LIBMSG_WAIT_NAME } else { 0 };
        let channel: C = self.connect_with(address, ffi::LIBMSG_NONBLOCK | wait, 0)?;
        channel.as_ref().set_nonblocking(true)?;
        Ok(channel)
    }

    fn connect_with<C: Channel>(&self, address: &str, flags: c_uint, timeout_ms: c_int) -> io::Result<C> {
        let address = c_string(address)?;
        // SAFETY: the string lives until the call is over.
        self.own(unsafe { ffi::msg_connect(self.0 .0, address.as_ptr(), C::TYPE, flags, timeout_ms) })
            .map(C::from_socket)
    }

    /// Watches for the names that a pattern such as "web*/http" fits.
    pub fn watch(&self, pattern: &str) -> io::Result<Watch> {
        let pattern = c_string(pattern)?;
        // SAFETY: the string lives until the call is over.
        self.own(unsafe { ffi::msg_watch(self.0 .0, pattern.as_ptr()) }).map(Watch::from_socket)
    }

    /// Demands a transport for later connects.
    pub fn set_transport(&self, transport: Transport) -> io::Result<()> {
        // SAFETY: the context is open.
        check(unsafe { ffi::msg_ctx_set_transport(self.0 .0, transport as c_int) }).map(drop)
    }

    /// The descriptor for event loops, made if it is not there yet: it is readable while
    /// [`Context::dispatch`] has something to do. The context owns it.
    pub fn fd(&self) -> io::Result<RawFd> {
        // SAFETY: the context is open.
        check(unsafe { ffi::msg_ctx_fd(self.0 .0) })
    }

    /// Does the work that waits, and says which sockets are ready, 64 at most; see msg_ctx_dispatch(3).
    /// The socket of an event may have been dropped meanwhile by another thread.
    pub fn dispatch(&self) -> io::Result<Vec<Event>> {
        let mut events = [ffi::msg_event { sock: std::ptr::null_mut(), revents: 0 }; 64];
        // SAFETY: there is room for so many.
        let n = check(unsafe { ffi::msg_ctx_dispatch(self.0 .0, events.as_mut_ptr(), 64) })?;
        let of = |e: &ffi::msg_event| Event { id: e.sock as usize, events: e.revents as c_short };
        Ok(events[..n as usize].iter().map(of).collect())
    }
}

/// The descriptor of [`Context::fd`]. Panics if there is none left: ask `fd` before.
impl AsFd for Context {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.fd().expect("a descriptor for event loops");
        // SAFETY: the context keeps it open.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}

impl AsRawFd for Context {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
