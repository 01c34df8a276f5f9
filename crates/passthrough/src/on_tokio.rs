//! A task for each connection, which runs `copy_bidirectional`.

use std::{io::Result, net::SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

pub(crate) fn work(listen: SocketAddr, server: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = TcpListener::from_std(crate::bind(listen)?)?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::task::spawn_local(async move { drop(copy(client, server).await) });
        }
    })
}

async fn copy(mut client: TcpStream, server: SocketAddr) -> Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
