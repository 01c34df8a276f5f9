//! Those of `shuttle`. It knows no time, so there is a clock, which a test lets run.

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
pub(crate) use shuttle::thread;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, LockResult};
use std::time::Duration;

use unbusy_core::Time;

thread_local! {
    // Shuttle runs all threads of a try on one real thread.
    static CLOCK: RefCell<Arc<Clock>> = RefCell::default();
}

/// The time of one try. It jumps from the end of a wait to that of the next, at any moment: a thread that could run may
/// have been slow.
#[derive(Default)]
pub(crate) struct Clock {
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
    condvar: Arc<shuttle::sync::Condvar>,
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
            let due: Vec<_> = due.map(|sleeper| Arc::clone(&sleeper.condvar)).collect();
            drop(state);
            // One that is just about to wait does not hear it yet, and is told again.
            for condvar in &due {
                condvar.notify_all();
            }
            thread::yield_now();
            state = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread of a test panics and goes on")
    }

    fn fall_asleep(&self, condvar: &Arc<shuttle::sync::Condvar>, wait: Duration) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        let (id, until) = (state.next, state.now + wait);
        state.sleepers.insert(id, Sleeper { condvar: Arc::clone(condvar), until, wait });
        self.changed.notify_all();
        id
    }

    /// Whether the time is over.
    fn wake_up(&self, id: u64) -> bool {
        let mut state = self.lock();
        let sleeper = state.sleepers.remove(&id);
        sleeper.is_some_and(|sleeper| sleeper.until <= state.now)
    }
}

fn clock() -> Arc<Clock> {
    CLOCK.with_borrow(Arc::clone)
}

pub(crate) fn now() -> Time {
    clock().lock().now
}

/// A condition variable whose waits end by the clock.
pub(crate) struct Condvar(Arc<shuttle::sync::Condvar>);

pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) const fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the standard library has it")]
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        wait: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let id = clock().fall_asleep(&self.0, wait);
        let guard = self.0.wait(guard).expect("no thread of a test panics and goes on");
        let timed_out = clock().wake_up(id);
        Ok((guard, WaitTimeoutResult(timed_out)))
    }
}
