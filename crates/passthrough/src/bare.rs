//! One loop over epoll: what has come is read once and written once.

use std::{
    io::{ErrorKind, Read as _, Result, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, epoll, poll},
    io::Errno,
};

const BUFFER_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1024;

/// A connection's socket, and the index of the one that what comes from it goes to.
struct End {
    socket: TcpStream,
    other: usize,
}

/// Ends by the number of their descriptor.
type Ends = Vec<Option<End>>;

pub(crate) fn work(listen: SocketAddr, server: SocketAddr) -> Result<()> {
    let listener = crate::bind(listen)?;
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let door = index(&listener);
    epoll::add(&poller, &listener, epoll::EventData::new_u64(door as u64), epoll::EventFlags::IN)?;
    let mut ends = Ends::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let from = event.data.u64() as usize;
            if from == door {
                // One that has gone again is no harm to the others.
                if let Ok((client, _)) = listener.accept() {
                    let _ = join(&poller, &mut ends, client, server);
                }
            } else if let Some(Some(End { other, .. })) = ends.get(from) {
                let other = *other;
                if copy(&ends, from, other, &mut buffer).is_err() {
                    (ends[from], ends[other]) = (None, None);
                }
            }
        }
    }
}

fn index(socket: &impl AsRawFd) -> usize {
    usize::try_from(socket.as_raw_fd()).expect("an open descriptor")
}

fn join(poller: &OwnedFd, ends: &mut Ends, client: TcpStream, server: SocketAddr) -> Result<()> {
    let server = TcpStream::connect(server)?;
    let pair = [index(&client), index(&server)];
    for (socket, other) in [(client, pair[1]), (server, pair[0])] {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let own = index(&socket);
        ends.resize_with(ends.len().max(own + 1), || None);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(poller, &socket, epoll::EventData::new_u64(own as u64), flags)?;
        ends[own] = Some(End { socket, other });
    }
    Ok(())
}

/// Fails when the connection has ended.
fn copy(ends: &Ends, from: usize, to: usize, buffer: &mut [u8]) -> Result<()> {
    let gone = || std::io::Error::from(ErrorKind::NotConnected);
    let socket = |at: usize| ends[at].as_ref().map(|end| &end.socket).ok_or_else(gone);
    let (mut from, to) = (socket(from)?, socket(to)?);
    loop {
        let count = match from.read(buffer) {
            Ok(0) => return Err(gone()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        write_all(to, &buffer[..count])?;
        // There is no more then, or the kernel tells.
        if count < buffer.len() {
            return Ok(());
        }
    }
}

/// Lets all others wait until it is done.
fn write_all(mut to: &TcpStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(to, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
