//! A server that is busy when a test says so, and sees to what it must never meet.

use std::time::Duration;

use shuttle::sync::Mutex;
use shuttle::thread;
use unbusy_core::Time;

/// It answers in the thread that asks.
#[derive(Default)]
pub struct Server(Mutex<State>);

#[derive(Default)]
struct State {
    busy: bool,
    /// Rejected commands that are tried again and not answered.
    tried: usize,
    executed: usize,
    rejected: usize,
    /// When the latest command was sent that was executed.
    proved: Option<Time>,
}

impl Server {
    /// From now on it is busy, or not.
    pub fn set_busy(&self, busy: bool) {
        self.0.lock().unwrap().busy = busy;
    }

    /// Is busy until it has rejected so many.
    pub fn reject(&self, count: usize) {
        while self.0.lock().unwrap().rejected < count {
            thread::yield_now();
        }
        self.set_busy(false);
    }

    /// What becomes of a command, which was rejected before or not; `false`: it is rejected. Of those that are sent again
    /// there may be one at a time.
    pub fn executes(&self, again: bool, sent: Time) -> bool {
        let mut state = self.0.lock().unwrap();
        let led = again && state.busy;
        state.tried += usize::from(led);
        assert!(state.tried <= 1, "more than one leader");
        drop(state);
        thread::yield_now();
        let mut state = self.0.lock().unwrap();
        state.tried -= usize::from(led);
        if state.busy {
            state.rejected += 1;
            return false;
        }
        state.executed += 1;
        state.proved = state.proved.max(Some(sent));
        true
    }

    /// How many commands were executed.
    pub fn executed(&self) -> usize {
        self.0.lock().unwrap().executed
    }

    /// A command may be sent freely now only if one was executed that was sent no longer ago than a lease.
    pub fn assert_leased(&self, lease: Duration, now: Time) {
        let proved = self.0.lock().unwrap().proved;
        assert!(proved.is_some_and(|proved| now < proved + lease), "free without a lease");
    }
}
