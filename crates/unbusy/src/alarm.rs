//! A time-out without a timer per call: a thread wakes the calls whose answer is overdue.
//!
//! It looks at all calls of the process, no oftener than one can be overdue: what is sent after it has looked is overdue a
//! whole limit later at the soonest. A timer costs more than everything else that a call does here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use unbusy_core::Time;

// Its tests wait in earnest.
use crate::sync::clock::now;

/// The alarm of one handle on a server connection, which has one call at a time. A clone is for another handle.
pub(crate) struct Alarm {
    connection: Arc<Connection>,
    call: Arc<Call>,
}

/// What the handles on a server connection share.
struct Connection {
    limit: Duration,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    all: Vec<Arc<Call>>,
    /// Those of handles that are gone, for the next handles.
    unused: Vec<Arc<Call>>,
}

struct Call {
    /// When the answer is overdue, or one of the two below.
    due: AtomicU64,
    waker: AtomicWaker,
}

/// Nothing is in flight.
const NEVER: u64 = u64::MAX;
/// The answer is overdue.
const OVERDUE: u64 = 0;

/// The answer to a call is overdue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overdue;

impl Alarm {
    /// An alarm for calls whose answer is overdue so long after their sending.
    pub(crate) fn new(limit: Duration) -> Self {
        let connection = Arc::new(Connection { limit, calls: Mutex::default() });
        watch(&connection);
        Self::of(connection)
    }

    fn of(connection: Arc<Connection>) -> Self {
        let mut calls = lock(&connection.calls);
        let call = calls.unused.pop().unwrap_or_else(|| {
            let call = Arc::new(Call { due: AtomicU64::new(NEVER), waker: AtomicWaker::new() });
            calls.all.push(Arc::clone(&call));
            call
        });
        drop(calls);
        Self { connection, call }
    }

    /// A call is sent at this time. One before it that was dropped is forgotten.
    pub(crate) fn set(&self, sent: Time) {
        self.call.due.store((sent + self.connection.limit).as_nanos(), Ordering::Relaxed);
    }

    /// What to return while the answer is not there.
    pub(crate) fn poll_overdue(&self, cx: &Context<'_>) -> Poll<Overdue> {
        self.call.waker.register(cx.waker());
        if self.call.due.load(Ordering::Acquire) == OVERDUE { Poll::Ready(Overdue) } else { Poll::Pending }
    }

    /// The answer is there.
    pub(crate) fn unset(&self) {
        self.call.due.store(NEVER, Ordering::Relaxed);
    }
}

impl Clone for Alarm {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.connection))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.unset();
        drop(self.call.waker.take());
        lock(&self.connection.calls).unused.push(Arc::clone(&self.call));
    }
}

impl Connection {
    /// Those whose calls are overdue, and when the next one can be.
    fn look(&self, now: Time, overdue: &mut Vec<Waker>) -> Time {
        let calls = lock(&self.calls);
        (calls.all.iter()).map(|call| call.look(now, overdue)).fold(now + self.limit, Ord::min)
    }
}

impl Call {
    fn look(&self, now: Time, overdue: &mut Vec<Waker>) -> Time {
        let due = self.due.load(Ordering::Relaxed);
        if due > now.as_nanos() {
            return Time::from_nanos(due);
        }
        // If it fails the call was answered just now, and perhaps the next one sent.
        if due != OVERDUE
            && self.due.compare_exchange(due, OVERDUE, Ordering::Release, Ordering::Relaxed).is_ok()
        {
            overdue.extend(self.waker.take());
        }
        Time::NEVER
    }
}

/// The connections of the process, and the thread that looks at them; it ends when there are none.
struct Watch {
    connections: Vec<Weak<Connection>>,
    /// With so many it is time to forget those that are gone.
    many: usize,
    is_kept: bool,
    /// When the thread looks again.
    next: Time,
}

static WATCH: Mutex<Watch> =
    Mutex::new(Watch { connections: Vec::new(), many: 0, is_kept: false, next: Time::NEVER });
static SOONER: Condvar = Condvar::new();

fn watch(connection: &Arc<Connection>) {
    let mut watch = lock(&WATCH);
    if watch.connections.len() >= watch.many {
        watch.connections.retain(|connection| connection.strong_count() > 0);
        watch.many = (2 * watch.connections.len()).max(64);
    }
    watch.connections.push(Arc::downgrade(connection));
    let due = now() + connection.limit;
    if watch.is_kept && due < watch.next {
        watch.next = due;
        SOONER.notify_one();
    } else if !watch.is_kept {
        let thread = thread::Builder::new().name("unbusy-alarm".into()).spawn(keep_watch);
        watch.is_kept = thread.is_ok();
        if let Err(error) = thread {
            tracing::error!(%error, "no thread can be started to end calls that a server never answers");
        }
    }
}

fn keep_watch() {
    let mut watch = lock(&WATCH);
    loop {
        let mut overdue = Vec::new();
        watch.next = Time::NEVER;
        let connections = std::mem::take(&mut watch.connections);
        for connection in connections.iter().filter_map(Weak::upgrade) {
            watch.next = watch.next.min(connection.look(now(), &mut overdue));
            watch.connections.push(Arc::downgrade(&connection));
        }
        if watch.connections.is_empty() {
            watch.is_kept = false;
            return;
        }
        // Whoever is woken may do anything, such as make a connection.
        drop(watch);
        overdue.into_iter().for_each(Waker::wake);
        watch = lock(&WATCH);
        let wait = watch.next - now();
        watch = SOONER.wait_timeout(watch, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Wake;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(20);

    struct Woken(Sender<Time>);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.send(now()).unwrap();
        }
    }

    fn waker() -> (Waker, Receiver<Time>) {
        let (sender, receiver) = channel();
        (Arc::new(Woken(sender)).into(), receiver)
    }

    fn send(alarm: &Alarm, waker: &Waker) -> Time {
        let sent = now();
        alarm.set(sent);
        assert_eq!(alarm.poll_overdue(&Context::from_waker(waker)), Poll::Pending);
        sent
    }

    #[test]
    fn a_call_is_woken_when_its_answer_is_overdue_and_not_before() {
        let _slower = Alarm::new(LONG);
        let alarm = Alarm::new(LIMIT);
        // The thread has looked, and found nothing in flight.
        thread::sleep(LIMIT / 2);
        let (waker, woken) = waker();
        let sent = send(&alarm, &waker);
        let woken_after = woken.recv_timeout(LONG).unwrap() - sent;
        assert!(woken_after >= LIMIT && woken_after < LONG / 2, "{woken_after:?}");
        assert_eq!(alarm.poll_overdue(&Context::from_waker(&waker)), Poll::Ready(Overdue));
    }

    #[test]
    fn a_call_that_is_answered_is_not_woken_nor_is_the_next_one_early() {
        let alarm = Alarm::new(LIMIT);
        let (waker, woken) = waker();
        let first = send(&alarm, &waker);
        thread::sleep(LIMIT / 2);
        alarm.unset();
        let second = send(&alarm, &waker);
        let time = woken.recv_timeout(LONG).unwrap();
        assert!(time - second >= LIMIT, "woken {:?} after the first call", time - first);
        alarm.unset();
        assert!(woken.recv_timeout(3 * LIMIT).is_err());
    }

    #[test]
    fn each_clone_has_a_call_of_its_own_and_leaves_it_to_the_next() {
        let alarm = Alarm::new(LIMIT);
        let calls = |alarm: &Alarm| lock(&alarm.connection.calls).all.len();
        for _ in 0..100 {
            drop(alarm.clone());
        }
        assert_eq!(calls(&alarm), 2);
        let (other, (waker, woken)) = (alarm.clone(), waker());
        send(&other, &waker);
        alarm.unset();
        assert!(woken.recv_timeout(LONG).is_ok());
    }

    #[test]
    fn connections_that_are_gone_are_forgotten() {
        for _ in 0..10_000 {
            drop(Alarm::new(LONG));
        }
        assert!(lock(&WATCH).connections.len() < 1_000);
    }
}
