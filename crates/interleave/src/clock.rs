//! A clock that jumps from the end of one wait to that of the next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, LockResult};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use shuttle::sync::{Mutex, MutexGuard};
use shuttle::thread;
use unbusy_core::Time;

thread_local! {
    // Shuttle runs all threads of a try on one real thread.
    static CLOCK: RefCell<Arc<Clock>> = RefCell::default();
}

/// The time of one try. It may jump at any moment: a thread that could run may have been slow.
#[derive(Default)]
pub struct Clock {
    state: Mutex<State>,
    changed: shuttle::sync::Condvar,
}

struct State {
    now: Time,
    sleepers: BTreeMap<u64, Sleeper>,
    next: u64,
    longest: Duration,
    over: bool,
}

struct Sleeper {
    waker: Waker,
    until: Time,
    wait: Duration,
}

impl Default for State {
    fn default() -> Self {
        Self {
            now: Time::from_nanos(100_000_000_000),
            sleepers: BTreeMap::new(),
            next: 0,
            longest: Duration::ZERO,
            over: false,
        }
    }
}

impl Clock {
    /// Time begins anew. Waits that would take longer than this never end, as if nothing else could be awaited.
    pub(crate) fn start(longest: Duration) -> Arc<Self> {
        let clock = Arc::new(Self::default());
        clock.lock().longest = longest;
        CLOCK.set(Arc::clone(&clock));
        let running = Arc::clone(&clock);
        thread::spawn(move || running.run());
        clock
    }

    /// From now on every wait ends.
    pub(crate) fn let_all_end(&self) {
        self.lock().longest = Duration::MAX;
        self.changed.notify_all();
    }

    /// Time has an end.
    pub(crate) fn stop(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.over {
            let longest = state.longest;
            let ends = |sleeper: &&Sleeper| sleeper.wait <= longest;
            let Some(next) = state.sleepers.values().filter(ends).map(|sleeper| sleeper.until).min() else {
                state = self.changed.wait(state).expect("no thread of a test panics and goes on");
                continue;
            };
            state.now = state.now.max(next);
            let due = state.sleepers.values().filter(|sleeper| sleeper.until <= state.now);
            let due: Vec<_> = due.map(|sleeper| sleeper.waker.clone()).collect();
            drop(state);
            // One that is just about to wait does not hear it yet, and is told again.
            due.into_iter().for_each(Waker::wake);
            thread::yield_now();
            state = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread of a test panics and goes on")
    }

    fn fall_asleep(&self, waker: Waker, wait: impl FnOnce(Time) -> Duration) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        let wait = wait(state.now);
        let (id, until) = (state.next, state.now + wait);
        state.sleepers.insert(id, Sleeper { waker, until, wait });
        self.changed.notify_all();
        id
    }

    fn is_over(&self, id: u64) -> bool {
        let state = self.lock();
        state.sleepers.get(&id).is_some_and(|sleeper| sleeper.until <= state.now)
    }

    fn wake_up(&self, id: u64) {
        self.lock().sleepers.remove(&id);
    }
}

fn clock() -> Arc<Clock> {
    CLOCK.with_borrow(Arc::clone)
}

/// The clock's time.
pub fn now() -> Time {
    clock().lock().now
}

/// A condition variable whose waits end by the clock.
pub struct Condvar(Arc<Inner>);

#[derive(Default)]
struct Inner(shuttle::sync::Condvar);

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.0.notify_all();
    }
}

/// Whether the time was over.
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// As the standard library has it.
    pub const fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// Nobody waits.
    #[expect(clippy::new_without_default, reason = "nobody needs it")]
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// As the standard library has it.
    pub fn notify_one(&self) {
        self.0.0.notify_one();
    }

    /// As the standard library has it.
    #[expect(clippy::missing_errors_doc, reason = "it never fails")]
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        wait: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let clock = clock();
        let id = clock.fall_asleep(Arc::clone(&self.0).into(), |_| wait);
        let guard = self.0.0.wait(guard).expect("no thread of a test panics and goes on");
        let timed_out = clock.is_over(id);
        clock.wake_up(id);
        Ok((guard, WaitTimeoutResult(timed_out)))
    }
}

/// So much time passes.
pub fn pause(time: Duration) {
    crate::block_on(sleep_until(now() + time));
}

/// Waits until then, by the clock.
pub fn sleep_until(until: Time) -> impl Future<Output = ()> {
    Sleep { clock: clock(), until, id: None }
}

struct Sleep {
    clock: Arc<Clock>,
    until: Time,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let asleep = self.id.unwrap_or_else(|| self.clock.fall_asleep(cx.waker().clone(), |now| until - now));
        self.id = Some(asleep);
        if self.clock.is_over(asleep) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.clock.wake_up(id);
        }
    }
}
