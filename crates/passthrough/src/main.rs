//! `passthrough PORT SERVER_PORT WORKERS`: what tokio's own `copy_bidirectional` makes of a proxy, for `cargo xtask bench`.
//!
//! Each worker has a single-threaded runtime and a listener of its own on the same port.

use std::{
    env,
    io::Result,
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use socket2::{Domain, Socket, Type};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

fn main() {
    let numbers: Vec<u16> = env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [port, server, workers] = numbers[..] else { panic!("passthrough PORT SERVER_PORT WORKERS") };
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let workers = (0..workers).map(|_| thread::spawn(move || work(address(port), address(server))));
    for worker in workers.collect::<Vec<_>>() {
        worker.join().expect("a worker panicked").expect("a worker failed");
    }
}

fn work(listen: SocketAddr, server: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = TcpListener::from_std(bind(listen)?.into())?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::task::spawn_local(async move { drop(copy(client, server).await) });
        }
    })
}

fn bind(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

async fn copy(mut client: TcpStream, server: SocketAddr) -> Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
