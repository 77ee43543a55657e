// SPDX-License-Identifier: LGPL-2.1-or-later
//! libmsg in tokio's event loop.
//!
//! A [`Context`] has one task, which watches libmsg's one descriptor for all channels and wakes those
//! who wait. [`Stream`] is `AsyncRead` and `AsyncWrite`; [`Messages`] has messages, [`Listener`]
//! accepts either. What nobody reads wakes nobody.
use libmsg::{Channel, Event, Opt, Socket, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP};
use std::collections::HashMap;
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::io::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A socket of libmsg that does not block, and who waits for it.
struct Entry<T> {
    socket: T,
    waiting: Waiting,
}

/// Someone who waits in each direction. done: POLLOUT has come. disarmed: what arrives is not reported.
#[derive(Default)]
struct Waiting(Mutex<Wakers>);

#[derive(Default)]
struct Wakers {
    read: Option<Waker>,
    write: Option<Waker>,
    done: bool,
    disarmed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

trait Wake: Send + Sync {
    fn wake(&self, events: i16);
}

impl<T: AsRef<Socket> + Send + Sync> Wake for Entry<T> {
    fn wake(&self, events: i16) {
        let mut wakers = lock(&self.waiting.0);
        if events & (POLLOUT | POLLERR | POLLHUP) != 0 {
            wakers.done = true;
            wakers.write.take().map(Waker::wake);
        }
        if events & (POLLIN | POLLERR | POLLHUP | POLLRDHUP) != 0 {
            // Not again, until somebody waits for it. An end is reported once after that.
            if !std::mem::replace(&mut wakers.disarmed, true) {
                let _ = self.socket.as_ref().set_option(Opt::Events, 0);
            }
            wakers.read.take().map(Waker::wake);
        }
    }
}

impl<T: AsRef<Socket>> Entry<T> {
    /// Polls a call that does not block. The waker is known before the call is tried: no event is lost.
    fn poll<R>(
        &self,
        task: &Task<'_>,
        reads: bool,
        mut call: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        {
            let mut wakers = lock(&self.waiting.0);
            let waker = if reads { &mut wakers.read } else { &mut wakers.write };
            *waker = Some(task.waker().clone());
        }
        loop {
            return match call(&self.socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if reads {
                        let mut wakers = lock(&self.waiting.0);
                        wakers.disarmed = false;
                        self.socket.as_ref().set_option(Opt::Events, POLLIN.into())?;
                    }
                    Poll::Pending
                }
                result => Poll::Ready(result),
            };
        }
    }
}

/// What is known by the identity of its socket, under a lock that the dispatcher holds while it looks.
type Known = Mutex<HashMap<usize, Arc<dyn Wake>>>;

struct Fd(RawFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

struct Inner {
    context: libmsg::Context,
    known: Known,
}

/// A libmsg context in the runtime that opened it.
#[derive(Clone)]
pub struct Context(Arc<Inner>, Arc<Ending>);

/// Ends the dispatcher with the last context and the last of its sockets.
struct Ending(tokio::task::JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    /// False: there is nothing more to do.
    fn dispatch(&self) -> io::Result<bool> {
        let known = lock(&self.known);
        let events = self.context.dispatch()?;
        for Event { id, events } in &events {
            if let Some(entry) = known.get(id) {
                entry.wake(*events);
            }
        }
        Ok(!events.is_empty())
    }

    async fn run(&self, fd: AsyncFd<Fd>) -> io::Result<()> {
        loop {
            let mut ready = fd.readable().await?;
            self.dispatch()?;
            // Readiness is told once. While the descriptor is readable there is more to do.
            if !is_readable(fd.get_ref().0) {
                ready.clear_ready();
            }
        }
    }
}

/// As std::future::poll_fn of newer compilers.
struct PollFn<F>(F);

impl<T, F: FnMut(&mut Task<'_>) -> Poll<T> + Unpin> Future for PollFn<F> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<T> {
        (self.0)(task)
    }
}

fn poll_fn<T, F: FnMut(&mut Task<'_>) -> Poll<T> + Unpin>(call: F) -> PollFn<F> {
    PollFn(call)
}

#[repr(C)]
struct PollFd {
    fd: RawFd,
    events: i16,
    revents: i16,
}

extern "C" {
    fn poll(fds: *mut PollFd, n: std::os::raw::c_ulong, timeout_ms: i32) -> i32;
}

fn is_readable(fd: RawFd) -> bool {
    let mut entry = PollFd { fd, events: POLLIN, revents: 0 };
    // SAFETY: one entry.
    unsafe { poll(&mut entry, 1, 0) > 0 }
}

impl Context {
    /// Takes a context into the running runtime.
    pub fn new(context: libmsg::Context) -> io::Result<Context> {
        let fd = AsyncFd::with_interest(Fd(context.fd()?), Interest::READABLE)?;
        let inner = Arc::new(Inner { context, known: Known::default() });
        let running = inner.clone();
        let task = tokio::spawn(async move {
            let _ = running.run(fd).await;
        });
        Ok(Context(inner, Arc::new(Ending(task))))
    }

    /// Attaches this process to msgd, as [`libmsg::Context::open`], without blocking the runtime.
    pub async fn open(hv: Option<&str>, timeout: Option<Duration>) -> io::Result<Context> {
        let hv = hv.map(str::to_owned);
        let context =
            tokio::task::spawn_blocking(move || libmsg::Context::open(hv.as_deref(), timeout)).await??;
        Context::new(context)
    }

    /// Makes a socket known before the dispatcher can report it.
    fn own<T: AsRef<Socket> + Send + Sync + 'static>(
        &self,
        make: impl FnOnce(&libmsg::Context) -> io::Result<T>,
    ) -> io::Result<Own<T>> {
        let mut known = lock(&self.0.known);
        let socket = make(&self.0.context)?;
        let entry = Arc::new(Entry { socket, waiting: Waiting::default() });
        known.insert(entry.socket.as_ref().id(), entry.clone());
        Ok(Own { entry: Some(entry), context: self.clone() })
    }

    /// Listens on a name of this domain.
    pub async fn listen<C: Channel + Send + Sync + 'static>(
        &self,
        name: &str,
        backlog: i32,
    ) -> io::Result<Listener<C>> {
        let own = self.own(|context| context.listen_nonblocking::<C>(name, backlog))?;
        if own.entry().socket.as_ref().poll(POLLOUT, Some(Duration::ZERO))? == 0 {
            own.answer().await?;
        }
        check(own.entry().socket.as_ref())?;
        Ok(Listener(own))
    }

    async fn connect<C: Channel + Send + Sync + 'static>(
        &self,
        address: &str,
        wait: bool,
    ) -> io::Result<Own<C>> {
        let own = self.own(|context| context.connect_nonblocking::<C>(address, wait))?;
        own.answer().await?;
        check(own.entry().socket.as_ref())?;
        Ok(own)
    }

    /// Connects to "NAME" or "DOMAIN/NAME". wait: also for what is not there yet.
    pub async fn connect_stream(&self, address: &str, wait: bool) -> io::Result<Stream> {
        self.connect(address, wait).await.map(Stream)
    }

    /// The same for messages: [`libmsg::SeqPacket`] or [`libmsg::Dgram`].
    pub async fn connect_messages<const TYPE: i32>(
        &self,
        address: &str,
        wait: bool,
    ) -> io::Result<Messages<TYPE>> {
        self.connect(address, wait).await.map(Messages)
    }
}

fn check(socket: &Socket) -> io::Result<()> {
    socket.take_error()?.map_or(Ok(()), Err)
}

/// A socket that is known to the dispatcher until this is dropped.
struct Own<T: AsRef<Socket> + Send + Sync + 'static> {
    entry: Option<Arc<Entry<T>>>, // None: it is being dropped
    context: Context,
}

impl<T: AsRef<Socket> + Send + Sync + 'static> Own<T> {
    fn entry(&self) -> &Entry<T> {
        self.entry.as_ref().expect("it is not dropped")
    }

    /// Waits until POLLOUT was told of a listen or a connect.
    async fn answer(&self) -> io::Result<()> {
        poll_fn(|task| {
            let mut wakers = lock(&self.entry().waiting.0);
            if wakers.done {
                return Poll::Ready(Ok(()));
            }
            wakers.write = Some(task.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// A socket that does not block leaves its last frame to later calls, which a program at its end does
/// not make. Where there is no room for the frame, a thread waits for it.
impl<T: AsRef<Socket> + Send + Sync + 'static> Drop for Own<T> {
    fn drop(&mut self) {
        let entry = match self.entry.take() {
            Some(entry) => entry,
            None => return,
        };
        let socket = entry.socket.as_ref();
        lock(&self.context.0.known).remove(&socket.id());
        let _ = socket.set_option(Opt::Events, 0); // nobody is left who would hear of it
        let lacks_room = socket.peer().is_ok() && matches!(socket.poll(POLLOUT, Some(Duration::ZERO)), Ok(0));
        if !lacks_room {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || {
                let _ = entry.socket.as_ref().set_nonblocking(false);
                drop(entry);
            });
        }
    }
}

/// Accepts channels.
pub struct Listener<C: Channel + Send + Sync + 'static>(Own<libmsg::Listener<C>>);

impl<C: Channel + Send + Sync + 'static> Listener<C> {
    async fn next(&self) -> io::Result<Own<C>> {
        let Own { context, .. } = &self.0;
        let channel = poll_fn(|task| self.0.entry().poll(task, true, libmsg::Listener::accept)).await?;
        channel.as_ref().set_nonblocking(true)?;
        context.own(|_| Ok(channel))
    }
}

impl Listener<libmsg::Stream> {
    pub async fn accept(&self) -> io::Result<Stream> {
        self.next().await.map(Stream)
    }
}

impl<const TYPE: i32> Listener<libmsg::Messages<TYPE>> {
    pub async fn accept(&self) -> io::Result<Messages<TYPE>> {
        self.next().await.map(Messages)
    }
}

/// A channel of messages. One task reads and one writes at a time.
pub struct Messages<const TYPE: i32>(Own<libmsg::Messages<TYPE>>);

impl<const TYPE: i32> Messages<TYPE> {
    pub async fn send(&self, message: &[u8]) -> io::Result<()> {
        poll_fn(|task| self.0.entry().poll(task, false, |c| c.send(message))).await
    }

    /// None: the end.
    pub async fn recv(&self) -> io::Result<Option<Vec<u8>>> {
        poll_fn(|task| self.0.entry().poll(task, true, libmsg::Messages::recv)).await
    }

    /// The socket, for its options and its peer.
    pub fn socket(&self) -> &Socket {
        &self.0.entry().socket
    }
}

/// A channel of bytes.
pub struct Stream(Own<libmsg::Stream>);

impl Stream {
    /// The socket, for its options and its peer.
    pub fn socket(&self) -> &Socket {
        &self.0.entry().socket
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0
            .entry()
            .poll(task, true, |mut stream| stream.read(buffer.initialize_unfilled()))
            .map_ok(|n| buffer.advance(n))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, task: &mut Task<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.0.entry().poll(task, false, |mut stream| stream.write(data))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready((&self.0.entry().socket).flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket().shutdown(Shutdown::Write))
    }
}
