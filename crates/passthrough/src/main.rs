//! `passthrough tokio|bare PORT SERVER_PORT WORKERS`: proxies that only copy, for `cargo xtask bench`.
//!
//! `tokio` is what tokio's own `copy_bidirectional` makes of a proxy, `bare` is the least that any can do. Each worker is a thread
//! with a listener of its own on the same port.

#[cfg(target_os = "linux")]
mod bare;
mod on_tokio;

use std::{
    env,
    io::Result,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
};

use socket2::{Domain, Socket, Type};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

fn main() {
    let words: Vec<_> = env::args().skip(1).collect();
    let numbers: Vec<u16> = words.iter().skip(1).filter_map(|word| word.parse().ok()).collect();
    let work = match words.first().map(String::as_str) {
        Some("tokio") => on_tokio::work,
        #[cfg(target_os = "linux")]
        Some("bare") => bare::work,
        _ => panic!("passthrough tokio|bare PORT SERVER_PORT WORKERS"),
    };
    let [port, server, workers] = numbers[..] else { panic!("three numbers: PORT SERVER_PORT WORKERS") };
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let workers = (0..workers).map(|_| thread::spawn(move || work(address(port), address(server))));
    for worker in workers.collect::<Vec<_>>() {
        worker.join().expect("a worker panicked").expect("a worker failed");
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
