//! A pair on a ring, of which only the test takes a turn. Where the system has no `io_uring` there is nothing to try.

use std::future::Future as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use unbusy_core::Policy;

use super::Pair;
use crate::shared::Shared;
use crate::stream::Stream;
use crate::uring;

const THRESHOLD: Duration = Duration::from_secs(5);
const INCR: &[u8] = b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n";

fn on_ring() -> (Stream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    theirs.set_nonblocking(true).expect("a socket");
    (Stream::Ring(uring::Socket::on_ring(ours.into()).expect("there is a ring")), theirs)
}

fn drive(pair: &mut Pair) {
    let driven = Pin::new(pair).poll(&mut Context::from_waker(Waker::noop()));
    assert!(driven.is_pending(), "{driven:?}");
}

/// Until nothing moves any more.
fn go_on(pair: &mut Pair) {
    for _ in 0..4 {
        uring::turn();
        drive(pair);
    }
    uring::turn();
}

fn read(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut bytes = [0; 256];
    match stream.read(&mut bytes) {
        Ok(count) => Some(bytes[..count].to_vec()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            None
        }
    }
}

/// Between the look at the clock and the write nothing may lie that takes time: see A1 in ARCHITECTURE.md.
#[test]
fn what_needs_a_lease_is_written_when_the_lease_was_looked_at() {
    if unbusy_uring::Ring::new().is_err() {
        return;
    }
    interleave::try_orders(Duration::MAX, write_under_a_lease, |()| {});
}

fn write_under_a_lease() {
    let _completions = unbusy_uring::start(unbusy_uring::Waiting::InLoop).expect("a ring");
    let ((client, mut user), (upstream, mut server)) = (on_ring(), on_ring());
    let shared = Arc::new(Shared::new(Policy::default(), Some(THRESHOLD), 1));
    shared.set_threaded_reads(false);
    let mut pair = Pair::new(shared, 0, client, upstream);
    drive(&mut pair);

    user.write_all(INCR).expect("room");
    go_on(&mut pair);
    assert_eq!(read(&mut server).as_deref(), Some(INCR));
    server.write_all(b":1\r\n").expect("room");
    go_on(&mut pair);
    assert_eq!(read(&mut user).as_deref(), Some(&b":1\r\n"[..]));

    // One command alone may wait for the turn.
    user.write_all(INCR).expect("room");
    uring::turn();
    drive(&mut pair);
    assert_eq!(read(&mut server), None);
    // Another one behind it may not, and does not overtake it.
    user.write_all(INCR).expect("room");
    uring::turn();
    assert_eq!(read(&mut server).as_deref(), Some(INCR));
    drive(&mut pair);
    assert_eq!(read(&mut server).as_deref(), Some(INCR));
    user.write_all(&INCR.repeat(2)).expect("room");
    uring::turn();
    drive(&mut pair);
    assert_eq!(read(&mut server), Some(INCR.repeat(2)));
    drop(pair);
    uring::stop();
}
