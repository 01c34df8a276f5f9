//! A session's fast path: commands come, go to the server at once under a lease, and are answered. Driven as the proxy's
//! `Pair::drive` does, without its sockets.

use std::{hint::black_box, time::Duration};

use unbusy_core::{
    Policy, Session, Time,
    session::{Out, Pass, Want},
};

const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$7\r\nuser:17\r\n";
const VALUE: &[u8] = b"$5\r\nvalue\r\n";
const PIPELINE: usize = 16;
const LEASE: Duration = Duration::from_secs(1);

/// One command, and its reply.
pub(crate) fn get(times: usize) -> usize {
    round_trips(times, GET, VALUE)
}

/// Sixteen commands that come in one read, and so do their replies.
pub(crate) fn pipeline(times: usize) -> usize {
    round_trips(times, &GET.repeat(PIPELINE), &VALUE.repeat(PIPELINE))
}

/// A value of 16 KiB.
pub(crate) fn set_large(times: usize) -> usize {
    let request = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16384\r\n", &[b'v'; 16_384][..], b"\r\n"].concat();
    round_trips(times, &request, b"+OK\r\n")
}

fn round_trips(times: usize, requests: &[u8], replies: &[u8]) -> usize {
    let (mut session, mut out) = (Session::new(Policy::default()), Out::default());
    let mut delivered = 0;
    for nanos in 1..=times as u64 {
        let now = Time::from_nanos(nanos);
        assert!(session.wants_read());
        out.clear();
        session.client_bytes(black_box(requests), now, &mut out).expect("well-formed");
        send(&mut session, &mut out, now);
        out.clear();
        session.server_bytes(black_box(replies), now, &mut out).expect("as expected");
        delivered += black_box(out.pieces()).len();
        assert!(out.proof.is_some() && session.doubt().is_none() && session.is_quiet());
    }
    delivered
}

/// Writes all that may be sent, under a lease.
fn send(session: &mut Session, out: &mut Out, now: Time) {
    session.set_one_read(false);
    loop {
        while !session.outgoing().is_empty() {
            assert!(!session.needs_lease() || session.may_join(LEASE, now));
            out.clear();
            session.wrote(black_box(session.outgoing()).len(), out);
        }
        match session.want() {
            Want::Nothing => return,
            Want::Gate(_) if session.may_join(LEASE, now) => session.send(Pass::Free, now),
            want => panic!("no reason for {want:?}"),
        }
    }
}
