// SPDX-License-Identifier: LGPL-2.1-or-later
//! Sends each line of standard input as a message and prints each answer: echo-client [DOMAIN/]NAME
use libmsg::{Context, SeqPacket};
use std::time::Duration;
use std::{env, io};

fn main() -> io::Result<()> {
    let address = env::args().nth(1).expect("usage: echo-client [DOMAIN/]NAME");
    // Wait for the server if it is not up yet, ten seconds at most.
    let channel: SeqPacket =
        Context::open(None, None)?.connect_wait(&address, Some(Duration::from_secs(10)))?;
    for line in io::stdin().lines() {
        let line = line?;
        channel.send(line.as_bytes())?;
        let answer = channel.recv()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        println!("sent {} bytes, got back: {}", line.len(), String::from_utf8_lossy(&answer));
    }
    Ok(())
}
