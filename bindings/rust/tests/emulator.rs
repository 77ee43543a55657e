// SPDX-License-Identifier: LGPL-2.1-or-later
//! The binding on the emulator: tests/bindings/run sets $LIBMSG_TEST_HV, "sim:PATH".
use libmsg::{Channel, Context, Dgram, Listener, Messages, Name, Opt, Reason, SeqPacket, Stream};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::io::{AsFd, AsRawFd};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Never reached by what works.
const LONG: Option<Duration> = Some(Duration::from_secs(100));
const SHORT: Option<Duration> = Some(Duration::from_millis(20));

fn context(domain: &str) -> Context {
    let hv = std::env::var("LIBMSG_TEST_HV").expect("run this by meson test");
    Context::open(Some(&format!("{hv}#{domain}")), LONG).unwrap()
}

fn listen<C: Channel>(name: &str) -> Listener<C> {
    let listener = context("web").listen(name, 128).unwrap();
    listener.set_read_timeout(LONG).unwrap();
    listener
}

/// The end that shop connected, and the one that web accepted.
fn pair<C: Channel + Send + 'static>(name: &str) -> (C, C) {
    let listener = listen::<C>(name);
    let accepting = thread::spawn(move || listener.accept().unwrap());
    let client: C = context("shop").connect(&format!("web/{name}"), LONG).unwrap();
    let server = accepting.join().unwrap();
    client.as_ref().set_read_timeout(LONG).unwrap();
    server.as_ref().set_read_timeout(LONG).unwrap();
    (client, server)
}

fn pattern(n: usize, seed: u32) -> Vec<u8> {
    let mut x = seed | 1;
    (0..n)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x as u8
        })
        .collect()
}

fn hash(mut hash: u64, data: &[u8]) -> u64 {
    for byte in data {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

fn reason(error: &io::Error) -> &Reason {
    error.get_ref().and_then(|e| e.downcast_ref()).expect("a reason")
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn messages<const TYPE: std::os::raw::c_int>(name: &str) {
    let (client, server) = pair::<Messages<TYPE>>(name);
    assert_eq!((client.peer().unwrap().domain, server.peer().unwrap().domain), ("web".into(), "shop".into()));
    let echo = thread::spawn(move || {
        while let Some(message) = server.recv().unwrap() {
            server.send(&message).unwrap();
        }
    });
    for n in [1, 0, 100, 5000] {
        client.send(&pattern(n, 1)).unwrap();
        assert_eq!(client.recv().unwrap(), Some(pattern(n, 1)));
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.recv().unwrap(), None);
    echo.join().unwrap();
}

#[test]
fn echo_seqpacket() {
    messages::<{ SeqPacket::TYPE }>("rust-seqpacket");
}

#[test]
fn echo_dgram() {
    messages::<{ Dgram::TYPE }>("rust-dgram");
}

#[test]
fn stream_and_half_close() {
    let (client, server) = pair::<Stream>("rust-stream");
    (&client).write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(kind((&client).write(b"x")), ErrorKind::BrokenPipe);
    let mut text = String::new();
    (&server).read_to_string(&mut text).unwrap();
    assert_eq!(text, "question");
    (&server).write_all(b"answer").unwrap();
    libmsg::Socket::from(server).close().unwrap();
    text.clear();
    (&client).read_to_string(&mut text).unwrap();
    assert_eq!(text, "answer");
}

#[test]
fn big_transfer() {
    let (client, mut server) = pair::<Stream>("rust-big");
    let data = pattern(32 << 20, 2);
    let want = hash(0, &data);
    let sending = thread::spawn(move || (&client).write_all(&data).unwrap());
    let (mut got, mut buffer) = (0, vec![0; 100_000]);
    loop {
        let n = server.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        got = hash(got, &buffer[..n]);
    }
    assert_eq!(got, want);
    sending.join().unwrap();
}

#[test]
fn many_at_once() {
    let listener = listen::<Stream>("rust-many");
    let server = thread::spawn(move || {
        let serve = |stream: io::Result<Stream>| {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut data = Vec::new();
                stream.read_to_end(&mut data).unwrap();
                stream.write_all(&data).unwrap();
            })
        };
        let threads: Vec<_> = listener.incoming().take(50).map(serve).collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
    });
    let shop = context("shop");
    let ask = |i: u32| {
        let mut stream: Stream = shop.connect("web/rust-many", LONG).unwrap();
        thread::spawn(move || {
            let data = pattern(100_000 + i as usize, i);
            stream.write_all(&data).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            assert!(got == data);
        })
    };
    let threads: Vec<_> = (0..50).map(ask).collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    server.join().unwrap();
}

#[test]
fn time_limits() {
    let (client, server) = pair::<Stream>("rust-time");
    client.set_read_timeout(SHORT).unwrap();
    client.set_write_timeout(SHORT).unwrap();
    let error = (&client).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(reason(&error).text.len() > 5);
    assert_eq!(kind((&client).write_all(&vec![0; 64 << 20])), ErrorKind::TimedOut);
    client.set_nonblocking(true).unwrap();
    assert_eq!(kind((&client).read(&mut [0])), ErrorKind::WouldBlock);
    let listener = listen::<Stream>("rust-time-listen");
    listener.set_read_timeout(SHORT).unwrap();
    assert_eq!(kind(listener.accept().map(drop)), ErrorKind::TimedOut);
    let never = context("shop").connect_wait::<Stream>("web/never", SHORT);
    assert_eq!(kind(never.map(drop)), ErrorKind::TimedOut);
    drop(server);
}

#[test]
fn errors_say_why() {
    let shop = context("shop");
    let error = shop.connect::<Stream>("web/secret", LONG).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("policy"), "{error}");
    assert_eq!(kind(shop.connect::<Stream>("web/nobody", LONG).map(drop)), ErrorKind::NotFound);
    assert_eq!(kind(shop.listen::<Stream>("a bad name", 1).map(drop)), ErrorKind::InvalidInput);
    let _listener = listen::<Stream>("rust-taken");
    assert_eq!(kind(context("web").listen::<Stream>("rust-taken", 1).map(drop)), ErrorKind::AddrInUse);
    let error = shop.connect::<SeqPacket>("web/rust-taken", LONG).map(drop).unwrap_err();
    assert_eq!(reason(&error).errno, 91); // EPROTOTYPE
}

#[test]
fn options() {
    let (client, server) = pair::<Stream>("rust-options");
    client.set_option(Opt::RcvBuf, 100_000).unwrap();
    assert_eq!(client.option(Opt::RcvBuf).unwrap(), 100_000);
    assert_eq!(kind(client.set_option(Opt::Drops, 1)), io::Error::from_raw_os_error(92).kind());
    assert_eq!(server.poll(libmsg::POLLIN | libmsg::POLLOUT, LONG).unwrap(), libmsg::POLLOUT);
    assert_eq!(libmsg::version(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn watch() {
    let watch = context("shop").watch("web/rust-seen*").unwrap();
    watch.set_read_timeout(LONG).unwrap();
    let seen = |there: bool, address: &str| Name { there, address: address.into() };
    assert_eq!(watch.recv().unwrap(), seen(true, ""));
    let listener = listen::<Stream>("rust-seen");
    assert_eq!(watch.recv().unwrap(), seen(true, "web/rust-seen"));
    drop(listener);
    assert_eq!(watch.recv().unwrap(), seen(false, "web/rust-seen"));
}

/// One descriptor tells of all sockets.
#[test]
fn event_loop() {
    let (client, server) = pair::<Stream>("rust-loop");
    let context = server.context();
    assert_eq!(context.as_fd().as_raw_fd(), context.fd().unwrap());
    (&client).write_all(b"x").unwrap();
    let mut fd = PollFd { fd: context.as_raw_fd(), events: libmsg::POLLIN, revents: 0 };
    let event = loop {
        // SAFETY: one entry.
        assert!(unsafe { poll(&mut fd, 1, 100_000) } == 1);
        if let Some(event) = context.dispatch().unwrap().first() {
            break *event;
        }
    };
    assert_eq!(event, libmsg::Event { id: server.id(), events: libmsg::POLLIN });
}

#[repr(C)]
struct PollFd {
    fd: i32,
    events: i16,
    revents: i16,
}

extern "C" {
    fn poll(fds: *mut PollFd, n: std::os::raw::c_ulong, timeout: i32) -> i32;
}

// ---- a peer that is killed ----------------------------------------------------------------------

/// This program in another process, as the test of that name alone.
fn child(address: &str, kind: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_sends_and_waits", "--ignored", "--nocapture"])
        .env("LIBMSG_TEST_CHILD", format!("{address} {kind}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test, but the other process of `killed_peer`.
#[test]
#[ignore]
fn child_sends_and_waits() {
    let told = std::env::var("LIBMSG_TEST_CHILD").unwrap_or_default();
    if let Some((address, kind)) = told.split_once(' ') {
        let shop = context("shop");
        let _open: Box<dyn std::any::Any> = if kind == "stream" {
            let stream: Stream = shop.connect(address, LONG).unwrap();
            (&stream).write_all(b"abc").unwrap();
            Box::new(stream)
        } else {
            let channel: SeqPacket = shop.connect(address, LONG).unwrap();
            channel.send(b"abc").unwrap();
            Box::new(channel)
        };
        io::stdin().read_to_end(&mut Vec::new()).unwrap();
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn killed_peer() {
    let listener = listen::<Stream>("rust-killed-stream");
    let process = child("web/rust-killed-stream", "stream");
    let mut stream = listener.accept().unwrap();
    stream.read_exact(&mut [0; 3]).unwrap();
    let reading = thread::spawn(move || {
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(kind(stream.write(b"x")), ErrorKind::ConnectionReset);
        error
    });
    kill(process);
    let error = reading.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(reason(&error).text.len() > 5);

    let listener = listen::<SeqPacket>("rust-killed-packet");
    let process = child("web/rust-killed-packet", "seqpacket");
    let channel = listener.accept().unwrap();
    assert_eq!(channel.recv().unwrap().as_deref(), Some(&b"abc"[..]));
    kill(process);
    assert_eq!(kind(channel.recv()), ErrorKind::ConnectionReset);
}

// ---- HTTP -----------------------------------------------------------------------------------------

/// The first line of a message of HTTP/1.1, and its body. None: the end.
fn read_http(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first).unwrap() == 0 {
        return None;
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Some((first, body))
}

fn write_http(mut stream: &Stream, first: &str, body: &[u8]) {
    write!(stream, "{first}\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(body).unwrap();
}

/// Several requests over one channel, with bodies both ways.
#[test]
fn http() {
    let (client, server) = pair::<Stream>("rust-http");
    let serving = thread::spawn(move || {
        let mut reader = BufReader::new(&server);
        while let Some((first, mut body)) = read_http(&mut reader) {
            assert_eq!(first, "POST / HTTP/1.1\r\n");
            body.reverse();
            write_http(&server, "HTTP/1.1 200 OK", &body);
        }
    });
    let mut reader = BufReader::new(&client);
    for n in [0, 10, 70_000, 1 << 20] {
        let mut body = pattern(n, 3);
        write_http(&client, "POST / HTTP/1.1", &body);
        let (first, answer) = read_http(&mut reader).unwrap();
        body.reverse();
        assert_eq!(first, "HTTP/1.1 200 OK\r\n");
        assert!(answer == body);
    }
    client.shutdown(Shutdown::Write).unwrap();
    serving.join().unwrap();
}
