// SPDX-License-Identifier: LGPL-2.1-or-later
//! An echo server, with a thread for each client: echo-server NAME
use libmsg::{Context, SeqPacket};
use std::{env, io, thread};

fn serve(channel: &SeqPacket) -> io::Result<()> {
    println!("a client in domain {}", channel.peer()?.domain);
    while let Some(message) = channel.recv()? {
        channel.send(&message)?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let name = env::args().nth(1).expect("usage: echo-server NAME");
    let listener = Context::open(None, None)?.listen::<SeqPacket>(&name, 16)?;
    println!("listening on {name}");
    for channel in listener.incoming() {
        let channel = channel?;
        thread::spawn(move || serve(&channel).unwrap_or_else(|error| eprintln!("{error}")));
    }
    Ok(())
}
