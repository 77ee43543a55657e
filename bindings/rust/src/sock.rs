// SPDX-License-Identifier: LGPL-2.1-or-later
//! Listeners, channels and watches.
use crate::error::{check, check_size, last, of_errno};
use crate::{ffi, milliseconds, Context, POLLIN};
use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::net::Shutdown;
use std::ops::Deref;
use std::os::raw::{c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Says who is at the other end of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub domain: String,
    pub domid: u32,
    /// The name that was connected to.
    pub name: String,
    pub uuid: [u8; 16],
    pub transport: u32,
}

/// Options: see msg_setopt(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opt {
    Linger = ffi::LIBMSG_LINGER as isize,
    RcvBuf = ffi::LIBMSG_RCVBUF as isize,
    SndBuf = ffi::LIBMSG_SNDBUF as isize,
    MaxMsg = ffi::LIBMSG_MAXMSG as isize,
    Cork = ffi::LIBMSG_CORK as isize,
    Spin = ffi::LIBMSG_SPIN as isize,
    Drops = ffi::LIBMSG_DROPS as isize,
    DropOldest = ffi::LIBMSG_DROP_OLDEST as isize,
    Events = ffi::LIBMSG_EVENTS as isize,
}

/// What listeners, channels and watches have in common. Dropping it closes it, and waits until what was
/// sent has left, for [`Opt::Linger`] ms at most; [`Socket::close`] says if data was lost.
pub struct Socket {
    raw: *mut ffi::msg_sock,
    nonblocking: AtomicBool,
    context: Context,
}

// SAFETY: any thread may call any function of libmsg on a socket that is open.
unsafe impl Send for Socket {}
unsafe impl Sync for Socket {}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody else has it.
        unsafe { ffi::msg_close(self.raw) };
    }
}

fn text_of(bytes: &[c_char]) -> String {
    // SAFETY: libmsg ends it with a NUL.
    unsafe { CStr::from_ptr(bytes.as_ptr()) }.to_string_lossy().into_owned()
}

impl Socket {
    /// # Safety
    /// `raw` is an open socket of the context that nobody else closes.
    pub(crate) unsafe fn from_raw(context: Context, raw: *mut ffi::msg_sock) -> Socket {
        Socket { raw, nonblocking: AtomicBool::new(false), context }
    }

    /// By which [`Context::dispatch`] names it, while it is open.
    pub fn id(&self) -> usize {
        self.raw as usize
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Closes it, and says if data was lost.
    pub fn close(self) -> io::Result<()> {
        let socket = std::mem::ManuallyDrop::new(self);
        // SAFETY: it is dropped nowhere else.
        let result = check(unsafe { ffi::msg_close(socket.raw) }).map(drop);
        // SAFETY: the field is read once, and the whole is not dropped.
        drop(unsafe { std::ptr::read(&socket.context) });
        result
    }

    pub fn set_option(&self, option: Opt, value: i64) -> io::Result<()> {
        self.set(option as c_int, value)
    }

    pub fn option(&self, option: Opt) -> io::Result<i64> {
        self.get(option as c_int)
    }

    fn set(&self, option: c_int, value: i64) -> io::Result<()> {
        // SAFETY: it is open.
        check(unsafe { ffi::msg_setopt(self.raw, option, value) }).map(drop)
    }

    fn get(&self, option: c_int) -> io::Result<i64> {
        let mut value = 0;
        // SAFETY: it is open.
        check(unsafe { ffi::msg_getopt(self.raw, option, &mut value) })?;
        Ok(value)
    }

    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
        self.set(ffi::LIBMSG_NONBLOCK_OPT, nonblocking.into())
    }

    /// How long a receive or accept may block; None: for ever.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set(ffi::LIBMSG_RCVTIMEO, milliseconds(timeout).into())
    }

    /// How long a send may block.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set(ffi::LIBMSG_SNDTIMEO, milliseconds(timeout).into())
    }

    /// The error of a non-blocking connect or listen.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let errno = self.get(ffi::LIBMSG_ERROR)?;
        Ok((errno != 0).then(|| of_errno(errno as i32)))
    }

    /// Which of the events hold, or become true within the time limit; None: for ever.
    pub fn poll(&self, events: i16, timeout: Option<Duration>) -> io::Result<i16> {
        let mut fd = ffi::msg_pollfd { sock: self.raw, events, revents: 0 };
        // SAFETY: one entry.
        check(unsafe { ffi::msg_poll(&mut fd, 1, milliseconds(timeout)) })?;
        Ok(fd.revents)
    }

    pub fn peer(&self) -> io::Result<Peer> {
        // SAFETY: all zero is a value of it.
        let mut peer: ffi::msg_peer = unsafe { std::mem::zeroed() };
        peer.size = std::mem::size_of::<ffi::msg_peer>() as u32;
        // SAFETY: the size is said.
        check(unsafe { ffi::msg_getpeer(self.raw, &mut peer) })?;
        Ok(Peer {
            domain: text_of(&peer.domain),
            domid: peer.domid,
            name: text_of(&peer.name),
            uuid: peer.uuid,
            transport: peer.transport,
        })
    }

    /// Ends one direction, or both, and with it the calls of other threads that wait for it.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => ffi::SHUT_RD,
            Shutdown::Write => ffi::SHUT_WR,
            Shutdown::Both => ffi::SHUT_RDWR,
        };
        // SAFETY: it is open.
        check(unsafe { ffi::msg_shutdown(self.raw, how) }).map(drop)
    }

    /// A call without success, of a socket that blocks, is over for its time limit.
    fn or_timeout<T>(&self, result: io::Result<T>) -> io::Result<T> {
        let nonblocking = self.nonblocking.load(Ordering::Relaxed);
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock if !nonblocking => {
                error.into_inner().map_or(io::ErrorKind::TimedOut.into(), |reason| {
                    io::Error::new(io::ErrorKind::TimedOut, reason)
                })
            }
            _ => error,
        })
    }

    fn send(&self, data: &[u8]) -> io::Result<usize> {
        // SAFETY: the slice lives until the call is over.
        self.or_timeout(check_size(unsafe { ffi::msg_send(self.raw, data.as_ptr().cast(), data.len(), 0) }))
    }

    fn recv(&self, data: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the slice lives until the call is over.
        self.or_timeout(check_size(unsafe {
            ffi::msg_recv(self.raw, data.as_mut_ptr().cast(), data.len(), 0)
        }))
    }

    fn take(&self) -> io::Result<Option<Vec<u8>>> {
        let (mut data, mut buf) = (std::ptr::null(), std::ptr::null_mut());
        // SAFETY: on success libmsg sets both.
        let n = check_size(unsafe { ffi::msg_recv_take(self.raw, 0, &mut data, &mut buf) });
        let n = self.or_timeout(n)?;
        if buf.is_null() {
            return Ok(None);
        }
        // SAFETY: n bytes, until the buffer is freed.
        let message = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), n) }.to_vec();
        // SAFETY: it is freed once.
        unsafe { ffi::msg_buf_free(buf) };
        Ok(Some(message))
    }
}

// ---- channels ---------------------------------------------------------------------------------

/// The types of channels: [`Stream`], [`SeqPacket`] and [`Dgram`].
pub trait Channel: Sized + AsRef<Socket> {
    const TYPE: c_int;
    fn from_socket(socket: Socket) -> Self;
}

/// Bytes, in order, reliable.
pub struct Stream(Socket);

/// Messages, whole and in order.
pub struct Messages<const TYPE: c_int>(Socket);

/// Reliable messages.
pub type SeqPacket = Messages<{ ffi::LIBMSG_SEQPACKET }>;

/// Messages that are dropped, and counted by [`Opt::Drops`], where they find no room.
pub type Dgram = Messages<{ ffi::LIBMSG_DGRAM }>;

macro_rules! is_socket {
    ($name:ident, [$($parameters:tt)*], [$($arguments:tt)*]) => {
        impl<$($parameters)*> Deref for $name<$($arguments)*> {
            type Target = Socket;
            fn deref(&self) -> &Socket {
                &self.0
            }
        }
        impl<$($parameters)*> AsRef<Socket> for $name<$($arguments)*> {
            fn as_ref(&self) -> &Socket {
                &self.0
            }
        }
        impl<$($parameters)*> From<$name<$($arguments)*>> for Socket {
            fn from(from: $name<$($arguments)*>) -> Socket {
                from.0
            }
        }
    };
}
is_socket!(Stream, [], []);
is_socket!(Messages, [const TYPE: c_int], [TYPE]);
is_socket!(Listener, [C: Channel], [C]);
is_socket!(Watch, [], []);

impl Channel for Stream {
    const TYPE: c_int = ffi::LIBMSG_STREAM;
    fn from_socket(socket: Socket) -> Stream {
        Stream(socket)
    }
}

impl<const TYPE: c_int> Channel for Messages<TYPE> {
    const TYPE: c_int = TYPE;
    fn from_socket(socket: Socket) -> Self {
        Messages(socket)
    }
}

impl Read for &Stream {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        self.0.recv(data)
    }
}

impl Write for &Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.send(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        // SAFETY: it is open.
        check(unsafe { ffi::msg_flush(self.0.raw) }).map(drop)
    }
}

impl Read for Stream {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        (&*self).read(data)
    }
}

impl Write for Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl<const TYPE: c_int> Messages<TYPE> {
    /// Sends one message; an empty one is legal.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        self.0.send(message).map(drop)
    }

    /// Receives one message, whole; None: the end.
    pub fn recv(&self) -> io::Result<Option<Vec<u8>>> {
        self.0.take()
    }
}

// ---- listeners --------------------------------------------------------------------------------

/// Accepts channels of one type.
pub struct Listener<C: Channel>(Socket, PhantomData<fn() -> C>);

impl<C: Channel> Listener<C> {
    pub(crate) fn from_socket(socket: Socket) -> Self {
        Listener(socket, PhantomData)
    }

    /// The next channel, which blocks. Its peer: [`Socket::peer`].
    pub fn accept(&self) -> io::Result<C> {
        // SAFETY: it is open.
        let raw = unsafe { ffi::msg_accept(self.0.raw, 0) };
        if raw.is_null() {
            return self.0.or_timeout(Err(last()));
        }
        // SAFETY: it was just made, and is given to nobody else.
        Ok(C::from_socket(unsafe { Socket::from_raw(self.0.context.clone(), raw) }))
    }

    /// Accepts for ever.
    pub fn incoming(&self) -> Incoming<'_, C> {
        Incoming(self)
    }
}

/// Made by [`Listener::incoming`].
pub struct Incoming<'a, C: Channel>(&'a Listener<C>);

impl<C: Channel> Iterator for Incoming<'_, C> {
    type Item = io::Result<C>;
    fn next(&mut self) -> Option<io::Result<C>> {
        Some(self.0.accept())
    }
}

// ---- watches ----------------------------------------------------------------------------------

/// Tells of the names that a pattern fits, as they come and go.
pub struct Watch(Socket);

/// News of a watch: whether there is such a name now. An empty address says that all names that were
/// there when the watch began have been told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub there: bool,
    /// "DOMAIN/NAME"
    pub address: String,
}

impl Watch {
    pub(crate) fn from_socket(socket: Socket) -> Watch {
        Watch(socket)
    }

    /// Waits for the next news.
    pub fn recv(&self) -> io::Result<Name> {
        let text = self.0.take()?.unwrap_or_default();
        let address = text.get(1..).unwrap_or_default();
        Ok(Name {
            there: text.first() != Some(&b'-'),
            address: String::from_utf8_lossy(address).into_owned(),
        })
    }

    /// Whether there is news.
    pub fn is_ready(&self) -> io::Result<bool> {
        Ok(self.0.poll(POLLIN, Some(Duration::ZERO))? != 0)
    }
}

impl Iterator for Watch {
    type Item = io::Result<Name>;
    fn next(&mut self) -> Option<io::Result<Name>> {
        Some(self.recv())
    }
}
