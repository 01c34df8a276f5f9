//! Callers at the gate, in many of the orders in which their threads may run. One that waits for ever is a deadlock, which
//! `shuttle` reports together with what repeats it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use shuttle::future::block_on;
use unbusy_core::command::Command;
use unbusy_core::{Cause, Time};

use super::{Gate, ScriptInFlight};
use crate::sync::tried::Clock;
use crate::sync::{Condvar, Mutex, now, thread};
use crate::visit::{Admission, Visit};

/// Orders that are tried per test.
const ORDERS: usize = 1_000;
const MS: Duration = Duration::from_millis(1);
/// No lease is longer until the threshold is known.
const LEASE: Duration = Duration::from_millis(5);
/// A leader that is not answered is joined by another after 100 ms, and so is a scout. Where no wait is that long there is
/// only one.
const ONE_LEADER: Duration = Duration::from_millis(90);
/// As long as nobody gives up on anybody.
const PATIENT: Duration = Duration::from_secs(9);

#[derive(Default)]
struct Server(Mutex<State>);

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
    fn set_busy(&self, busy: bool) {
        self.0.lock().unwrap().busy = busy;
    }

    /// Is busy until it has rejected so many.
    fn reject(&self, count: usize) {
        while self.0.lock().unwrap().rejected < count {
            thread::yield_now();
        }
        self.set_busy(false);
    }

    /// What becomes of a command; `false`: it is rejected.
    fn executes(&self, again: bool, sent: Time) -> bool {
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

    fn assert_leased(&self, now: Time) {
        let proved = self.0.lock().unwrap().proved;
        assert!(proved.is_some_and(|proved| now < proved + LEASE), "free without a lease");
    }
}

/// One call. `false`: its budget was over.
fn call(gate: &Arc<Gate>, server: &Server, budget: Duration) -> bool {
    let mut visit = Visit::new(gate, budget);
    visit.ask_for(Command::read(b"INCR n\r\n"), 1);
    loop {
        let at = now();
        let free = gate.is_free(at);
        let admission = if free { Admission::Free } else { block_on(visit.admit()) };
        let sent = now();
        match admission {
            Admission::Over => return false,
            Admission::Free if free => server.assert_leased(at),
            Admission::Free | Admission::One => {}
        }
        if server.executes(visit.is_rejected(), sent) {
            visit.accepted(sent, true, true);
            return true;
        }
        visit.rejected(Cause::Script, sent, 1);
    }
}

/// Tries what happens at a gate, until its thread has ended.
fn try_orders(longest: Duration, play: impl Fn(&Arc<Gate>, &Arc<Server>) + Send + Sync + 'static) {
    let one = move || {
        let clock = Clock::start(longest);
        let (gate, server) = (Arc::new(Gate::new("server")), Arc::new(Server::default()));
        play(&gate, &server);
        clock.let_all_end();
        while super::lock(&gate.inner).driven {
            thread::yield_now();
        }
        clock.stop();
    };
    let mut config = shuttle::Config::new();
    config.silence_warnings = true;
    shuttle::Runner::new(shuttle::scheduler::RandomScheduler::new(ORDERS), config).run(one);
}

fn callers(
    gate: &Arc<Gate>,
    server: &Arc<Server>,
    count: usize,
    budget: Duration,
) -> Vec<thread::JoinHandle<bool>> {
    let start = || {
        let (gate, server) = (Arc::clone(gate), Arc::clone(server));
        thread::spawn(move || call(&gate, &server, budget))
    };
    (0..count).map(|_| start()).collect()
}

fn finish(callers: Vec<thread::JoinHandle<bool>>) -> usize {
    callers.into_iter().map(|caller| usize::from(caller.join().unwrap())).sum()
}

#[test]
fn every_caller_is_executed_once_and_one_at_a_time_tries() {
    for rejected in [0, 1, 3, 6] {
        try_orders(ONE_LEADER, move |gate, server| {
            server.set_busy(true);
            let callers = callers(gate, server, 3, PATIENT);
            server.reject(rejected);
            assert_eq!(finish(callers), 3);
            assert_eq!(server.0.lock().unwrap().executed, 3);
        });
    }
}

#[test]
fn nobody_is_free_without_a_lease() {
    try_orders(ONE_LEADER, |gate, server| {
        let busy_now_and_then = || {
            let (gate, server) = (Arc::clone(gate), Arc::clone(server));
            thread::spawn(move || {
                for round in 0..6 {
                    call(&gate, &server, PATIENT);
                    server.set_busy(round == 2);
                    // Once in a while it is longer than a lease.
                    pause(LEASE / 2 * (round % 4));
                    server.set_busy(false);
                }
                true
            })
        };
        finish(vec![busy_now_and_then(), busy_now_and_then()]);
    });
}

/// So much time passes.
fn pause(time: Duration) {
    let (nothing, never) = (Mutex::new(()), Condvar::new());
    drop(never.wait_timeout(nothing.lock().unwrap(), time));
}

#[test]
fn with_a_script_of_our_own_its_end_is_enough() {
    // While it runs there is one try per second, for which there is no time.
    for (count, waiting) in [(1, 0), (2, 0), (1, 1), (2, 2)] {
        try_orders(ONE_LEADER, move |gate, server| {
            server.set_busy(true);
            let script = ScriptInFlight::new(gate);
            let callers = callers(gate, server, count, PATIENT);
            server.reject(1);
            while super::lock(&gate.inner).wakers.len() < waiting {
                thread::yield_now();
            }
            drop(script);
            assert_eq!(finish(callers), count);
        });
    }
}

#[test]
fn who_leaves_hands_over() {
    try_orders(ONE_LEADER, |gate, server| {
        server.set_busy(true);
        let leaving = {
            let (gate, server) = (Arc::clone(gate), Arc::clone(server));
            thread::spawn(move || {
                let mut visit = Visit::new(&gate, PATIENT);
                visit.ask_for(Command::read(b"INCR n\r\n"), 1);
                let sent = now();
                if !server.executes(false, sent) {
                    visit.rejected(Cause::Script, sent, 1);
                }
                // Asked once, perhaps let go, and dropped in either case.
                let mut admitted = pin!(visit.admit());
                block_on(poll_fn(|cx| {
                    let _ = admitted.as_mut().poll(cx);
                    Poll::Ready(())
                }));
            })
        };
        let callers = callers(gate, server, 2, PATIENT);
        server.reject(2);
        assert_eq!(finish(callers), 2);
        leaving.join().unwrap();
    });
}

#[test]
fn who_cannot_wait_any_longer_is_woken() {
    try_orders(ONE_LEADER, |gate, server| {
        server.set_busy(true);
        // So nobody tries, and nothing else wakes.
        let script = ScriptInFlight::new(gate);
        let callers = callers(gate, server, 2, 30 * MS);
        assert_eq!(finish(callers), 0);
        assert_eq!(server.0.lock().unwrap().executed, 0);
        drop(script);
    });
}

#[test]
fn the_thread_that_ends_is_missed_by_nobody() {
    // Its idle waits end as well, so it ends and is started again while others come and go.
    try_orders(Duration::MAX, |gate, server| {
        server.set_busy(true);
        let callers = callers(gate, server, 2, Duration::from_secs(1000));
        server.reject(1);
        assert_eq!(finish(callers), 2);
    });
}
