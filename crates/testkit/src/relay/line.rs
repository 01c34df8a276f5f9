//! One relayed connection: its two sockets and the threads that move its bytes.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Weak,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Shared, Way};

/// How long a blocked write may overlook that its connection was cut.
const CUT_POLL: Duration = Duration::from_millis(20);
const CHUNK: usize = 16 * 1024;
/// How many chunks may be under way in one direction; then the sender feels back-pressure.
const CHUNKS_UNDER_WAY: usize = 64;

/// The two sockets of a connection.
#[derive(Debug)]
pub(super) struct Pair {
    client: TcpStream,
    upstream: TcpStream,
}

impl Pair {
    /// The close that follows sends a reset instead of an orderly end. Ending only the reading side wakes the
    /// threads that read and says nothing to the peers.
    pub(super) fn reset(&self) {
        for stream in [&self.client, &self.upstream] {
            reset_on_close(stream);
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    fn ends(&self, way: Way) -> (&TcpStream, &TcpStream) {
        match way {
            Way::ToUpstream => (&self.client, &self.upstream),
            Way::ToClient => (&self.upstream, &self.client),
        }
    }
}

fn reset_on_close(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

/// Connects to the server and starts to move bytes.
pub(super) fn connect(client: TcpStream, upstream: &str, shared: &Arc<Shared>) {
    let Ok(upstream) = TcpStream::connect(upstream) else {
        reset_on_close(&client);
        shared.change(|s| s.pairs.push(Weak::new()));
        return;
    };
    for stream in [&client, &upstream] {
        stream.set_nodelay(true).expect("cannot set TCP_NODELAY");
        stream.set_write_timeout(Some(CUT_POLL)).expect("cannot set a time-out");
    }
    let pair = Arc::new(Pair { client, upstream });
    let mut state = shared.state();
    let n = state.pairs.len();
    state.pairs.push(Arc::downgrade(&pair));
    if state.cut.contains(&n) {
        pair.reset();
        return;
    }
    drop(state);
    for way in [Way::ToUpstream, Way::ToClient] {
        let (sender, receiver) = sync_channel(CHUNKS_UNDER_WAY);
        let reading = Pump { n, way, pair: Arc::clone(&pair), shared: Arc::clone(shared) };
        let writing = Pump { n, way, pair: Arc::clone(&pair), shared: Arc::clone(shared) };
        thread::spawn(move || reading.read(&sender));
        thread::spawn(move || writing.write(&receiver));
    }
}

/// Some bytes and when they are to arrive; no bytes are the end.
type Parcel = (Instant, Vec<u8>);

/// One direction of one connection: one thread reads and another writes, so that a delay does not narrow the line.
struct Pump {
    n: usize,
    way: Way,
    pair: Arc<Pair>,
    shared: Arc<Shared>,
}

impl Pump {
    fn read(&self, sender: &SyncSender<Parcel>) {
        let (mut source, _) = self.pair.ends(self.way);
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = source.read(&mut buffer).unwrap_or(0);
            let due = Instant::now() + self.shared.state().delays[self.way as usize];
            let lost = sender.send((due, buffer[..count].to_vec())).is_err();
            if lost || count == 0 {
                return;
            }
        }
    }

    fn write(&self, receiver: &Receiver<Parcel>) {
        let (_, target) = self.pair.ends(self.way);
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            drop(self.shared.wait_until(|s| s.passes(self.n)));
            if self.shared.is_cut(self.n) {
                return;
            }
            if bytes.is_empty() {
                let _ = target.shutdown(Shutdown::Write);
                return;
            }
            if !self.deliver(target, &bytes) {
                // The target is gone: the source hears of it as it would without a relay.
                self.pair.reset();
                return;
            }
        }
    }

    /// False if the connection is cut or its target is gone.
    fn deliver(&self, mut target: &TcpStream, bytes: &[u8]) -> bool {
        // Before they are written: who has received them must find them counted.
        self.shared.bytes[self.way as usize].fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let mut done = 0;
        while done < bytes.len() {
            match target.write(&bytes[done..]) {
                Ok(count) => done += count,
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) =>
                {
                    drop(self.shared.wait_until(|s| s.passes(self.n)));
                    if self.shared.is_cut(self.n) {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }
}
