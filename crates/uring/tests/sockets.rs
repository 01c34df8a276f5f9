//! Sockets on a ring beside sockets as usual. Where the system has no `io_uring` there is nothing to try, which is said.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a test that tries nothing says so")]

use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use unbusy_uring::{Socket, Waiting};

/// What is not told within this is not told.
const LIMIT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
const A_WHILE: Duration = Duration::from_millis(20);

/// The thread's ring, and an event loop for one task.
struct Loop {
    completions: OwnedFd,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Loop {
    fn start() -> Option<Self> {
        Self::start_waiting(Waiting::InLoop)
    }

    fn start_waiting(waiting: Waiting) -> Option<Self> {
        match unbusy_uring::start(waiting) {
            Ok(completions) => {
                let woken = Arc::default();
                let ring = Self { completions, woken };
                unbusy_uring::hand_over(&mut Context::from_waker(&ring.waker()));
                Some(ring)
            }
            Err(error) => {
                eprintln!("not tried, since there is no io_uring here: {error}");
                None
            }
        }
    }

    /// Tries it with each way of waiting.
    fn each(test: impl Fn(&Self)) {
        for waiting in [Waiting::InLoop, Waiting::OnRing] {
            let Some(ring) = Self::start_waiting(waiting) else { return };
            test(&ring);
            unbusy_uring::stop();
        }
    }

    fn waker(&self) -> Waker {
        Arc::clone(&self.woken).into()
    }

    /// Sleeps until there is something for a turn.
    fn sleep(&self) {
        let mut look = [PollFd::new(&self.completions, PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut look, Some(&LIMIT)), Ok(1), "nothing comes any more");
        assert!(self.has_rung(), "readable without a bell");
    }

    /// Whether the bell has rung since the last look.
    fn has_rung(&self) -> bool {
        rustix::io::read(&self.completions, &mut [0; 8]).is_ok()
    }

    /// Goes on until it is ready.
    fn until<T>(&self, mut task: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let waker = self.waker();
        loop {
            let before = self.woken.0.load(SeqCst);
            if let Poll::Ready(value) = task(&mut Context::from_waker(&waker)) {
                return value;
            }
            unbusy_uring::turn();
            while self.woken.0.load(SeqCst) == before {
                self.sleep();
                unbusy_uring::turn();
            }
        }
    }

    fn read(&self, socket: &Socket, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while bytes.len() < count {
            let read = self.until(|cx| socket.poll_read(cx, &mut buffer)).expect("bytes");
            assert!(read > 0, "ended after {} of {count}", bytes.len());
            bytes.extend_from_slice(&buffer[..read]);
        }
        bytes
    }

    fn write(&self, socket: &Socket, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let written = self.until(|cx| socket.poll_write(cx, &[IoSlice::new(bytes)])).expect("room");
            bytes = &bytes[written..];
        }
    }
}

/// A socket on the thread's ring, and its peer.
fn pair() -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    (unbusy_uring::adopt(ours.into()).expect("the thread has a ring"), theirs)
}

fn numbered(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

#[test]
fn small_things_go_to_and_fro() {
    Loop::each(|ring| {
        let (socket, mut peer) = pair();
        for round in 0..1000_u32 {
            peer.write_all(&round.to_le_bytes()).expect("room");
            let read = ring.read(&socket, 4);
            assert_eq!(read, round.to_le_bytes());
            ring.write(&socket, &read);
            unbusy_uring::turn();
            let mut echo = [0; 4];
            peer.read_exact(&mut echo).expect("the echo");
            assert_eq!(echo, round.to_le_bytes());
        }
    });
}

#[test]
fn several_slices_are_one_write() {
    let Some(ring) = Loop::start() else { return };
    let (socket, mut peer) = pair();
    let slices = [b"one ".as_slice(), b"two ", b"three"].map(IoSlice::new);
    assert_eq!(ring.until(|cx| socket.poll_write(cx, &slices)).expect("room"), 13);
    ring.until(|cx| socket.poll_flush(cx)).expect("sent");
    let mut bytes = [0; 13];
    peer.read_exact(&mut bytes).expect("all");
    assert_eq!(&bytes, b"one two three");
}

#[test]
fn what_must_not_wait_is_there_without_a_turn_and_behind_what_could_wait() {
    let Some(_ring) = Loop::start() else { return };
    let (socket, mut peer) = pair();
    peer.set_nonblocking(true).expect("a socket");
    let mut context = Context::from_waker(Waker::noop());
    assert!(socket.poll_write(&mut context, &[IoSlice::new(b"first ")]).is_ready());
    let mut bytes = [0; 32];
    assert_eq!(peer.read(&mut bytes).expect_err("gathered").kind(), ErrorKind::WouldBlock);
    assert!(socket.poll_write_now(&mut context, &[IoSlice::new(b"second")]).is_ready());
    assert_eq!(peer.read(&mut bytes).expect("both"), 12);
    assert_eq!(&bytes[..12], b"first second");
}

#[test]
fn what_was_written_reaches_the_peer_of_a_loop_that_never_rests() {
    let Some(ring) = Loop::start() else { return };
    let (socket, mut peer) = pair();
    let (other, _peer) = pair();
    peer.set_nonblocking(true).expect("a socket");
    let waker = ring.waker();
    let mut context = Context::from_waker(&waker);
    assert!(socket.poll_write(&mut context, &[IoSlice::new(b"x")]).is_ready());
    let mut reads = 0;
    while peer.read(&mut [0; 8]).is_err() {
        reads += 1;
        assert!(reads < 1000, "it waits for a turn");
        assert!(other.poll_read(&mut context, &mut [0; 8]).is_pending());
    }
}

#[test]
fn no_bell_is_rung_for_a_thread_that_waits_on_the_ring_and_one_for_a_thread_that_does_not() {
    let Some(ring) = Loop::start_waiting(Waiting::OnRing) else { return };
    let (socket, mut peer) = pair();
    let mut echo = || {
        peer.write_all(b"ping").expect("room");
        ring.read(&socket, 4);
    };
    // Until two come soon enough after each other.
    let brisk = (0..1000).any(|_| {
        echo();
        ring.has_rung();
        echo();
        !ring.has_rung()
    });
    assert!(brisk, "it never waits on the ring");
    let turned = ring.woken.0.load(SeqCst);
    unbusy_uring::turn();
    assert!(ring.woken.0.load(SeqCst) > turned, "the loop may sleep though nobody rings");
    std::iter::repeat_n((), 10).for_each(|()| unbusy_uring::turn());
    let turned = ring.woken.0.load(SeqCst);
    unbusy_uring::turn();
    assert_eq!(ring.woken.0.load(SeqCst), turned, "nothing comes, and the loop does not sleep");
    assert!(socket.poll_read(&mut Context::from_waker(&ring.waker()), &mut [0; 8]).is_pending());
    ring.has_rung();
    peer.write_all(b"ping").expect("room");
    ring.sleep();
    assert_eq!(ring.read(&socket, 4), b"ping");
}

#[test]
fn large_things_go_to_and_fro_whole() {
    Loop::each(|ring| {
        let (socket, mut peer) = pair();
        let sent = numbered(3_000_000);
        let expected = sent.clone();
        let echo = std::thread::spawn(move || {
            let mut seen = vec![0; expected.len()];
            // So that our writes find no room.
            std::thread::sleep(A_WHILE);
            peer.read_exact(&mut seen).expect("all of it");
            peer.write_all(&seen).expect("a reader");
            seen == expected
        });
        ring.write(&socket, &sent);
        assert!(ring.read(&socket, sent.len()) == sent, "came back changed");
        assert!(echo.join().expect("the peer"), "arrived changed");
    });
}

#[test]
fn large_and_small_follow_each_other_in_order() {
    Loop::each(|ring| {
        let (socket, mut peer) = pair();
        // Each reading changes its ways several times.
        for _ in 0..5 {
            for size in [1, 5000, 3, 2048, 2047, 2049].into_iter().chain(std::iter::repeat_n(10, 50)) {
                let sent = numbered(size);
                peer.write_all(&sent).expect("room");
                assert!(ring.read(&socket, size) == sent, "{size} bytes came changed");
            }
        }
    });
}

#[test]
fn what_is_not_read_is_kept_in_order_and_is_little() {
    let Some(ring) = Loop::start() else { return };
    let (socket, mut peer) = pair();
    peer.set_nonblocking(true).expect("a socket");
    assert!(socket.poll_read(&mut Context::from_waker(&ring.waker()), &mut [0; 8]).is_pending());
    unbusy_uring::turn();
    let block = numbered(64 * 1024);
    let mut sent = Vec::new();
    let mut full = 0;
    while full < 10 {
        match peer.write(&block) {
            Ok(count) => sent.extend_from_slice(&block[..count]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                full += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        unbusy_uring::turn();
    }
    assert!(sent.len() < 1_000_000, "{} bytes were taken that nobody read", sent.len());
    assert!(ring.read(&socket, sent.len()) == sent, "came changed");
    peer.write_all(b"more").expect("room");
    assert_eq!(ring.read(&socket, 4), b"more");
}

#[test]
fn more_sockets_have_something_than_there_are_buffers() {
    Loop::each(|ring| {
        let mut pairs: Vec<_> = (0..300).map(|_| pair()).collect();
        let waker = ring.waker();
        for (socket, _) in &pairs {
            assert!(socket.poll_read(&mut Context::from_waker(&waker), &mut [0; 8]).is_pending());
        }
        unbusy_uring::turn();
        let sent = numbered(5000);
        for (_, peer) in &mut pairs {
            peer.write_all(&sent).expect("room");
        }
        for (socket, _) in &pairs {
            assert!(ring.read(socket, sent.len()) == sent, "came changed");
        }
    });
}

#[test]
fn the_end_comes_behind_the_last_bytes() {
    Loop::each(|ring| {
        let (socket, mut peer) = pair();
        peer.write_all(b"last words").expect("room");
        drop(peer);
        assert_eq!(ring.read(&socket, 10), b"last words");
        assert_eq!(ring.until(|cx| socket.poll_read(cx, &mut [0; 8])).expect("no error"), 0);
        // Writing to one that is gone fails sooner or later, and breaks nothing.
        let failed = (0..3).any(|_| {
            let written = ring.until(|cx| socket.poll_write(cx, &[IoSlice::new(b"?")]));
            unbusy_uring::turn();
            written.is_err()
        });
        assert!(failed, "nobody said that the peer is gone");
    });
}

#[test]
fn whoever_does_not_read_hears_that_the_peer_leaves() {
    for size in [10, 100_000] {
        let Some(ring) = Loop::start() else { return };
        let (socket, mut peer) = pair();
        let waker = ring.waker();
        assert!(socket.poll_read(&mut Context::from_waker(&waker), &mut [0; 8]).is_pending());
        peer.write_all(&numbered(size)).expect("room");
        for _ in 0..3 {
            unbusy_uring::turn();
            std::thread::sleep(A_WHILE);
        }
        let before = ring.woken.0.load(SeqCst);
        drop(peer);
        std::thread::sleep(A_WHILE);
        unbusy_uring::turn();
        assert!(ring.woken.0.load(SeqCst) > before, "with {size} bytes unread");
        assert_eq!(ring.read(&socket, size), numbered(size));
        unbusy_uring::stop();
    }
}

#[test]
fn what_was_written_arrives_although_its_socket_is_dropped() {
    let Some(ring) = Loop::start() else { return };
    let (socket, mut peer) = pair();
    assert!(socket.poll_read(&mut Context::from_waker(&ring.waker()), &mut [0; 8]).is_pending());
    ring.write(&socket, b"+OK\r\n");
    drop(socket);
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).map(|_| bytes)
    });
    unbusy_uring::turn();
    while !reader.is_finished() {
        ring.sleep();
        unbusy_uring::turn();
        std::thread::sleep(A_WHILE);
    }
    assert_eq!(reader.join().expect("no panic").expect("closed"), b"+OK\r\n");
}

#[test]
fn flushing_waits_for_a_peer_that_takes_nothing() {
    Loop::each(|ring| {
        let (socket, mut peer) = pair();
        let mut context = Context::from_waker(Waker::noop());
        let mut sent = 0;
        while socket.poll_write(&mut context, &[IoSlice::new(&[7; 4000])]).is_ready() {
            sent += 4000;
            unbusy_uring::turn();
        }
        assert!(socket.poll_flush(&mut context).is_pending(), "there is no room for all of it");
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; sent];
            peer.read_exact(&mut bytes).map(|()| peer)
        });
        ring.until(|cx| socket.poll_flush(cx)).expect("sent");
        reader.join().expect("no panic").expect("all that was written");
    });
}

#[test]
fn an_ended_ring_closes_its_sockets() {
    Loop::each(|ring| {
        let (reading, mut peer) = pair();
        let (writing, _full) = pair();
        assert!(reading.poll_read(&mut Context::from_waker(&ring.waker()), &mut [0; 8]).is_pending());
        let mut context = Context::from_waker(Waker::noop());
        while writing.poll_write(&mut context, &[IoSlice::new(&[0; 4000])]).is_ready() {
            unbusy_uring::turn();
        }
        unbusy_uring::stop();
        peer.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
        assert_eq!(peer.read(&mut [0; 8]).expect("closed"), 0);
        let read = reading.poll_read(&mut context, &mut [0; 8]);
        assert!(matches!(read, Poll::Ready(Err(_))), "there is no ring any more");
    });
}

#[test]
fn a_socket_is_of_no_use_in_another_thread() {
    let Some(_ring) = Loop::start() else { return };
    let (socket, _peer) = pair();
    let read = std::thread::scope(|scope| {
        let elsewhere = || {
            unbusy_uring::start(Waiting::InLoop).expect("a second ring");
            socket.poll_read(&mut Context::from_waker(Waker::noop()), &mut [0; 8])
        };
        scope.spawn(elsewhere).join().expect("no panic")
    });
    assert!(matches!(read, Poll::Ready(Err(_))));
}
