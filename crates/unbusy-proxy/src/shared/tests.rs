//! Connections of several workers at the gate, in many of the orders in which the workers and the main thread may run. A
//! connection that waits for ever is a deadlock, which `shuttle` reports together with what repeats it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use interleave::{Notify, Server, block_on, finish, pause, spawn, thread};
use unbusy_core::gate::{Answer, Ask, Outcome, Ticket};
use unbusy_core::{Cause, Policy};

use super::Shared;
use crate::sync::now;

const THRESHOLD: Duration = Duration::from_millis(20);
/// By the threshold.
const LEASE: Duration = Duration::from_millis(5);
/// A leader that is not answered is joined by another after 100 ms, and so is a scout. Where no wait is that long there is
/// only one.
const ONE_LEADER: Duration = Duration::from_millis(90);
const WORKERS: usize = 2;
const ASK: Ask = Ask { scout: true, pings: false, read: false, commands: 1 };

struct Proxy {
    shared: Shared,
    server: Server,
    over: Notify,
}

/// Tries what happens in a proxy while its main thread moves the gate on.
fn try_orders(longest: Duration, play: impl Fn(&Arc<Proxy>) + Send + Sync + 'static) {
    let start = move || {
        let shared = Shared::new(Policy::default(), Some(THRESHOLD), WORKERS);
        let proxy = Arc::new(Proxy { shared, server: Server::default(), over: Notify::new() });
        let main = Arc::clone(&proxy);
        let main = thread::spawn(move || {
            block_on(async {
                tokio::select! {
                    biased;
                    () = main.over.notified() => {}
                    () = main.shared.drive() => {}
                }
            });
        });
        play(&proxy);
        (proxy, main)
    };
    interleave::try_orders(longest, start, |(proxy, main)| {
        proxy.over.notify_one();
        main.join().unwrap();
    });
}

/// Waits until the gate lets one command go, or all of them.
async fn admit(shared: &Shared, mut ticket: Option<Ticket>) -> Answer {
    let ask = |cx: &mut std::task::Context<'_>| match shared.ask(ticket, ASK, now(), cx.waker()) {
        Answer::Wait(place) => {
            ticket = Some(place);
            Poll::Pending
        }
        answer => Poll::Ready(answer),
    };
    poll_fn(ask).await
}

/// Waits as one whose command was rejected, which asks again only when it is woken.
async fn wait_rejected(shared: &Shared, ticket: Option<Ticket>, sent: unbusy_core::Time) -> Option<Ticket> {
    let mut place = None;
    let wait = |cx: &mut std::task::Context<'_>| {
        if place.is_some() {
            return Poll::Ready(place);
        }
        place = shared.rejected(ticket, Some(ASK), (Cause::Script, sent), 1, now(), cx.waker());
        Poll::Pending
    };
    poll_fn(wait).await
}

/// One command of a connection.
fn call(proxy: &Proxy) -> bool {
    let Proxy { shared, server, .. } = proxy;
    let (mut ticket, mut again) = (None, false);
    loop {
        let at = now();
        let answer = if ticket.is_none() && shared.is_free(at) {
            server.assert_leased(LEASE, at);
            Answer::Free
        } else {
            block_on(admit(shared, ticket))
        };
        let sent = now();
        ticket = if let Answer::One(ticket) = answer { ticket } else { None };
        if server.executes(again, sent) {
            shared.answered(ticket, Outcome::Proof, sent, now());
            return true;
        }
        ticket = block_on(wait_rejected(shared, ticket, sent));
        again = true;
    }
}

fn callers(proxy: &Arc<Proxy>, count: usize) -> Vec<thread::JoinHandle<bool>> {
    let proxy = Arc::clone(proxy);
    spawn(count, move |_| call(&proxy))
}

/// Until so many wait, or the server is known to be open.
fn until_waiting(proxy: &Proxy, count: usize) {
    let waiting = |proxy: &Proxy| {
        let inner = proxy.shared.inner.lock().unwrap();
        inner.waiters.values().filter(|waiter| waiter.waker.is_some()).count()
    };
    while waiting(proxy) < count && proxy.server.executed() == 0 {
        thread::yield_now();
    }
}

/// The script's own connection has its answer.
fn end_script(shared: &Shared, worker: usize) {
    shared.remove_scripts(worker, 1);
    shared.script_answered(now());
}

#[test]
fn every_command_is_executed_once_and_one_at_a_time_is_tried() {
    for rejected in [0, 1, 3, 6] {
        try_orders(ONE_LEADER, move |proxy| {
            proxy.server.set_busy(true);
            let callers = callers(proxy, 3);
            proxy.server.reject(rejected);
            assert_eq!(finish(callers), 3);
            assert_eq!(proxy.server.executed(), 3);
        });
    }
}

#[test]
fn nobody_is_free_without_a_lease() {
    try_orders(ONE_LEADER, |proxy| {
        let proxy = Arc::clone(proxy);
        finish(spawn(WORKERS, move |_| {
            for round in 0..6 {
                call(&proxy);
                proxy.server.set_busy(round == 2);
                // Once in a while it is longer than a lease.
                pause(LEASE / 2 * (round % 4));
                proxy.server.set_busy(false);
            }
            true
        }));
    });
}

#[test]
fn with_a_script_of_our_own_its_end_is_enough() {
    // While it runs there is one try per second, for which there is no time.
    for (count, waiting) in [(1, 0), (2, 0), (1, 1), (2, 2)] {
        try_orders(ONE_LEADER, move |proxy| {
            proxy.server.set_busy(true);
            proxy.shared.add_scripts(1, 1);
            let callers = callers(proxy, count);
            proxy.server.reject(1);
            until_waiting(proxy, waiting);
            end_script(&proxy.shared, 1);
            assert_eq!(finish(callers), count);
        });
    }
}

#[test]
fn while_a_script_of_another_worker_runs_nobody_tries() {
    try_orders(ONE_LEADER, |proxy| {
        proxy.server.set_busy(true);
        proxy.shared.add_scripts(1, 1);
        let callers = callers(proxy, 1);
        proxy.server.reject(1);
        until_waiting(proxy, 1);
        pause(Duration::from_millis(50));
        assert_eq!(proxy.server.executed(), 0);
        end_script(&proxy.shared, 1);
        assert_eq!(finish(callers), 1);
    });
}

#[test]
fn of_two_scripts_the_last_one_to_end_is_enough() {
    try_orders(ONE_LEADER, |proxy| {
        proxy.server.set_busy(true);
        (0..WORKERS).for_each(|worker| proxy.shared.add_scripts(worker, 1));
        let callers = callers(proxy, 2);
        proxy.server.reject(1);
        until_waiting(proxy, 2);
        let ending = Arc::clone(proxy);
        spawn(WORKERS, move |worker| end_script(&ending.shared, worker));
        assert_eq!(finish(callers), 2);
    });
}

#[test]
fn who_leaves_hands_over() {
    try_orders(ONE_LEADER, |proxy| {
        proxy.server.set_busy(true);
        let leaving = Arc::clone(proxy);
        let leaving = thread::spawn(move || {
            let Proxy { shared, server, .. } = &*leaving;
            let sent = now();
            let ticket = block_on(poll_fn(|cx| {
                let rejected = !server.executes(false, sent);
                let ticket = rejected
                    .then(|| shared.rejected(None, Some(ASK), (Cause::Script, sent), 1, now(), cx.waker()))
                    .flatten();
                // Asks once, and is perhaps let go.
                Poll::Ready(match shared.ask(ticket, ASK, now(), cx.waker()) {
                    Answer::Free => None,
                    Answer::One(ticket) => ticket,
                    Answer::Wait(ticket) => Some(ticket),
                })
            }));
            if let Some(ticket) = ticket {
                shared.leave(ticket, now());
            }
        });
        let callers = callers(proxy, 2);
        proxy.server.reject(2);
        assert_eq!(finish(callers), 2);
        leaving.join().unwrap();
    });
}

#[test]
fn a_server_that_nobody_waits_for_any_more_is_asked_by_the_proxy() {
    try_orders(ONE_LEADER, |proxy| {
        proxy.server.set_busy(true);
        let leaving = Arc::clone(proxy);
        let leaving = spawn(2, move |_| {
            let sent = now();
            assert!(!leaving.server.executes(false, sent));
            let rejection = (Cause::Script, sent);
            let rejected = |cx: &mut std::task::Context<'_>| {
                Poll::Ready(leaving.shared.rejected(None, Some(ASK), rejection, 1, now(), cx.waker()))
            };
            let ticket = block_on(poll_fn(rejected)).expect("it waits");
            leaving.shared.leave(ticket, now());
            true
        });
        block_on(proxy.shared.deserted());
        finish(leaving);
        pause(Duration::from_millis(1));
        proxy.shared.observed(true, now());
        assert_eq!(proxy.shared.episode(), None);
    });
}
