//! Opening listeners and taking connections from them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::config::Address;
use crate::{StartError, upstream};

/// As many connections may wait to be accepted; the system's own limit may be lower.
const BACKLOG: i32 = 4096;

/// An open listener, not yet served.
pub(crate) enum Listener {
    Tcp(std::net::TcpListener),
    Unix(SocketFile, std::os::unix::net::UnixListener),
}

/// The file of a unix socket, removed when this goes, unless another process has put its own there.
///
/// It must go before its listener: as long as that is open, no other file can have the same number.
pub(crate) struct SocketFile {
    path: PathBuf,
    id: FileId,
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), id: FileId::of(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if FileId::of(&self.path).is_ok_and(|found| found == self.id) {
            // It may have been removed by somebody else; then there is nothing left behind either.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Which file it is, whatever its name.
#[derive(Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self { device: found.dev(), inode: found.ino() })
    }
}

/// Opens a listener and tells the address it really has.
pub(crate) fn open(address: &Address, allow_remote: bool) -> Result<(Listener, Address), StartError> {
    let failed = |source| StartError::Listen { address: address.clone(), source };
    match address {
        Address::Unix(path) => {
            let listener = open_unix(path).map_err(failed)?;
            let file = SocketFile::new(path).map_err(failed)?;
            Ok((Listener::Unix(file, listener), address.clone()))
        }
        Address::Tcp { host, port } => {
            let resolved = (host.as_str(), *port).to_socket_addrs().map_err(failed)?.next();
            let resolved = resolved.ok_or_else(|| failed(io::Error::other("the name has no address")))?;
            if !allow_remote && !is_loopback(resolved.ip()) {
                return Err(StartError::Remote { address: address.clone() });
            }
            let listener = open_tcp(resolved).map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            Ok((Listener::Tcp(listener), Address::Tcp { host: bound.ip().to_string(), port: bound.port() }))
        }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    }
}

/// Whether who connects to `target` arrives at this open listener.
pub(crate) fn is_reached_by(listener: &Address, target: &Address) -> bool {
    match (listener, target) {
        (Address::Unix(listener), Address::Unix(target)) => {
            FileId::of(listener).is_ok_and(|own| FileId::of(target).is_ok_and(|other| own == other))
        }
        // A name is looked up only if the ports are the same, so that a start seldom waits for that.
        (Address::Tcp { host, port }, Address::Tcp { host: target, port: other }) if port == other => {
            let Ok(listening) = host.parse() else { return false };
            let found = (target.as_str(), *port).to_socket_addrs();
            found.is_ok_and(|mut found| found.any(|address| arrives_at(listening, address.ip())))
        }
        _ => false,
    }
}

fn arrives_at(listening: IpAddr, target: IpAddr) -> bool {
    // Systems take the address that is none for this machine.
    let target = match target.to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    match listening.to_canonical() {
        // Most systems let it take IPv4, too.
        IpAddr::V6(ip) if ip.is_unspecified() => is_of_this_machine(target),
        IpAddr::V4(ip) if ip.is_unspecified() => target.is_ipv4() && is_of_this_machine(target),
        ip => ip == target,
    }
}

fn is_of_this_machine(ip: IpAddr) -> bool {
    // Nothing is sent: whether it can be bound tells whether it is one of ours.
    UdpSocket::bind((ip, 0)).is_ok()
}

fn open_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // What is accepted has inherited it.
    upstream::tune(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket file that nobody listens on is left over from a process that was killed; it is replaced.
fn open_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && is_left_over(path)? {
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Whether no process has this socket any more. Only a refusal says so: other errors come from sockets that are of
/// another kind, full, or not for us.
fn is_left_over(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full one would keep us waiting.
    socket.set_nonblocking(true)?;
    let connected = socket.connect(&SockAddr::unix(path)?);
    Ok(connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn what_is_accepted_is_tuned_as_the_listener() -> io::Result<()> {
        let listener = open_tcp((Ipv4Addr::LOCALHOST, 0).into())?;
        listener.set_nonblocking(false)?;
        let _client = TcpStream::connect(listener.local_addr()?)?;
        let (accepted, _) = listener.accept()?;
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay()?);
        assert!(accepted.keepalive()?);
        assert_eq!(accepted.tcp_keepalive_time()?, upstream::KEEPALIVE);
        Ok(())
    }
}
