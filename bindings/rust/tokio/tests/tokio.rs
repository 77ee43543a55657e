// SPDX-License-Identifier: LGPL-2.1-or-later
//! The adapter on the emulator.
use libmsg::{Reason, SeqPacket};
use libmsg_tokio::{Context, Listener};
use std::future::Future;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(100);

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(LONG, future).await.expect("it hangs") })
}

async fn context(domain: &str) -> Context {
    let hv = std::env::var("LIBMSG_TEST_HV").expect("run this by meson test");
    Context::open(Some(&format!("{hv}#{domain}")), Some(LONG)).await.unwrap()
}

fn pattern(n: usize, seed: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 31 + (i >> 8) * 7 + seed) as u8).collect()
}

async fn echo(listener: Listener<libmsg::Stream>) {
    loop {
        let mut stream = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut data = vec![0; 65536];
            while let Ok(n @ 1..) = stream.read(&mut data).await {
                stream.write_all(&data[..n]).await.unwrap();
            }
        });
    }
}

#[test]
fn tokio_streams() {
    run(async {
        let (web, shop) = (context("web").await, context("shop").await);
        let server = tokio::spawn(echo(web.listen("tokio-streams", 128).await.unwrap()));
        let ask = |i: usize| {
            let shop = shop.clone();
            tokio::spawn(async move {
                let stream = shop.connect_stream("web/tokio-streams", false).await.unwrap();
                assert_eq!(stream.socket().peer().unwrap().domain, "web");
                let (mut reader, mut writer) = tokio::io::split(stream);
                let data = pattern(300_000 + i, i);
                let want = data.clone();
                tokio::spawn(async move {
                    writer.write_all(&data).await.unwrap();
                    writer.shutdown().await.unwrap();
                });
                let mut got = Vec::new();
                reader.read_to_end(&mut got).await.unwrap();
                assert!(got == want);
            })
        };
        for task in (0..60).map(ask).collect::<Vec<_>>() {
            task.await.unwrap();
        }
        server.abort();
    });
}

#[test]
fn tokio_messages() {
    run(async {
        let (web, shop) = (context("web").await, context("shop").await);
        let listener = web.listen::<SeqPacket>("tokio-messages", 1).await.unwrap();
        let client = shop.connect_messages::<1>("web/tokio-messages", true).await.unwrap();
        let server = listener.accept().await.unwrap();
        for n in [1, 0, 1_000_000] {
            let message = pattern(n, 1);
            let (sent, got) = (client.send(&message), server.recv());
            sent.await.unwrap();
            assert!(got.await.unwrap() == Some(message));
        }
        drop(client);
        assert_eq!(server.recv().await.unwrap(), None);
    });
}

#[test]
fn tokio_errors() {
    run(async {
        let shop = context("shop").await;
        let error = shop.connect_stream("web/secret", false).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let reason = error.get_ref().and_then(|e| e.downcast_ref::<Reason>()).unwrap();
        assert!(reason.text.contains("policy"), "{error}");
        let error = shop.connect_stream("web/nobody", false).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let never = shop.connect_stream("web/never", true);
        assert!(timeout(Duration::from_millis(20), never).await.is_err());
    });
}

/// The end of the peer's context is no end of the stream.
#[test]
fn tokio_peer_is_gone() {
    run(async {
        let (web, shop) = (context("web").await, context("shop").await);
        let listener = web.listen::<libmsg::Stream>("tokio-gone", 1).await.unwrap();
        let mut client = shop.connect_stream("web/tokio-gone", false).await.unwrap();
        let server = listener.accept().await.unwrap();
        client.write_all(b"unread").await.unwrap();
        // It closes without reading.
        while server.socket().poll(libmsg::POLLIN, Some(Duration::ZERO)).unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        drop(server);
        let error = client.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}
