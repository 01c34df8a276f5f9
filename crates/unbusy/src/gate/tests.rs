//! Callers at the gate, in many of the orders in which their threads may run. One that waits for ever is a deadlock, which
//! `shuttle` reports together with what repeats it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use interleave::{Server, block_on, finish, pause, spawn};
use unbusy_core::command::Command;
use unbusy_core::{Cause, Company, Script, Sent};

use super::Gate;
use crate::running::{End, ScriptInFlight};
use crate::sync::{now, thread};
use crate::visit::{Admission, Visit};

const MS: Duration = Duration::from_millis(1);
/// No lease is longer until the threshold is known.
const LEASE: Duration = Duration::from_millis(5);
/// A leader that is not answered is joined by another after 100 ms, and so is a scout. Where no wait is that long there is
/// only one.
const ONE_LEADER: Duration = Duration::from_millis(90);
/// As long as nobody gives up on anybody.
const PATIENT: Duration = Duration::from_secs(9);

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
            Admission::Free if free => server.assert_leased(LEASE, at),
            Admission::Free | Admission::One => {}
        }
        if server.executes(visit.is_rejected(), sent) {
            visit.accepted(sent, true, true);
            return true;
        }
        visit.rejected(Cause::Script, sent, 1);
    }
}

/// A script of this process is sent.
fn script(gate: &Arc<Gate>) -> ScriptInFlight<'_> {
    let sent = Sent::new(Script::Function(b"slow"), now(), Company::Alone).unwrap();
    ScriptInFlight::new(gate, gate.running.line(), sent)
}

/// Tries what happens at a gate, until its thread has ended.
fn try_orders(longest: Duration, play: impl Fn(&Arc<Gate>, &Arc<Server>) + Send + Sync + 'static) {
    let start = move || {
        let (gate, server) = (Arc::new(Gate::new("server")), Arc::new(Server::default()));
        play(&gate, &server);
        gate
    };
    interleave::try_orders(longest, start, |gate| {
        while super::lock(&gate.inner).driven {
            thread::yield_now();
        }
    });
}

fn callers(
    gate: &Arc<Gate>,
    server: &Arc<Server>,
    count: usize,
    budget: Duration,
) -> Vec<thread::JoinHandle<bool>> {
    let (gate, server) = (Arc::clone(gate), Arc::clone(server));
    spawn(count, move |_| call(&gate, &server, budget))
}

#[test]
fn every_caller_is_executed_once_and_one_at_a_time_tries() {
    for rejected in [0, 1, 3, 6] {
        try_orders(ONE_LEADER, move |gate, server| {
            server.set_busy(true);
            let callers = callers(gate, server, 3, PATIENT);
            server.reject(rejected);
            assert_eq!(finish(callers), 3);
            assert_eq!(server.executed(), 3);
        });
    }
}

#[test]
fn nobody_is_free_without_a_lease() {
    try_orders(ONE_LEADER, |gate, server| {
        let (gate, server) = (Arc::clone(gate), Arc::clone(server));
        finish(spawn(2, move |_| {
            for round in 0..6 {
                call(&gate, &server, PATIENT);
                server.set_busy(round == 2);
                // Once in a while it is longer than a lease.
                pause(LEASE / 2 * (round % 4));
                server.set_busy(false);
            }
            true
        }));
    });
}

#[test]
fn with_a_script_of_our_own_its_end_is_enough() {
    // While it runs there is one try per second, for which there is no time.
    for (count, waiting) in [(1, 0), (2, 0), (1, 1), (2, 2)] {
        try_orders(ONE_LEADER, move |gate, server| {
            server.set_busy(true);
            let script = script(gate);
            let callers = callers(gate, server, count, PATIENT);
            server.reject(1);
            // Or the server is known to be open.
            while super::lock(&gate.inner).wakers.len() < waiting && server.executed() == 0 {
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
        let script = script(gate);
        let callers = callers(gate, server, 2, 30 * MS);
        assert_eq!(finish(callers), 0);
        assert_eq!(server.executed(), 0);
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

#[test]
fn an_episode_is_told_of_soon_though_two_scripts_may_be_at_fault() {
    try_orders(ONE_LEADER, |gate, _| {
        let scripts = [script(gate), script(gate)];
        pause(super::THRESHOLD_UNKNOWN);
        let began = now();
        gate.rejected(None, None, Cause::Function, began, 1);
        // Nobody waits, so nobody else moves the gate on.
        while super::lock(&gate.inner).untold.is_some() {
            thread::yield_now();
        }
        assert!(now() >= began + super::SUSPICION, "either might have been rejected yet");
        drop(scripts);
    });
}

#[test]
fn a_script_is_suspected_though_its_answer_was_read_before_busy() {
    try_orders(Duration::MAX, |gate, _| {
        let is_suspected = || {
            let suspect = gate.running.suspect(Cause::Function, gate.threshold(), now(), now());
            suspect.is_some_and(|suspect| suspect.is_only && !suspect.is_left)
        };
        gate.set_threshold(100 * MS);
        for (end, lasted, since_then, expected) in [
            (End::Executed, 100 * MS, 99 * MS, true),
            (End::Executed, 99 * MS, MS, false),
            (End::Executed, 100 * MS, 100 * MS, false),
            (End::Refused, 100 * MS, MS, false),
        ] {
            let script = script(gate);
            pause(lasted);
            script.ended(end);
            pause(since_then);
            assert_eq!(is_suspected(), expected, "{end:?} {lasted:?} {since_then:?}");
            pause(100 * MS);
        }
    });
}

/// Others that were sent with it, and waited for it, are answered with it.
#[test]
fn of_several_that_were_answered_at_once_the_first_is_suspected() {
    try_orders(Duration::MAX, |gate, _| {
        gate.set_threshold(100 * MS);
        let (first, began) = (script(gate), now());
        pause(MS);
        let second = script(gate);
        pause(100 * MS);
        first.ended(End::Executed);
        second.ended(End::Executed);
        let suspect = gate.running.suspect(Cause::Function, gate.threshold(), now(), now()).unwrap();
        assert_eq!(suspect.script.at, began);
    });
}
